/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * linear.h -- is a concurrent history linearizable?
 *
 * Each event is one call: when it began and ended, what it was asked and what it said. A history is linearizable
 * if the calls can be put into one order that a plain sequential object (the model) would have answered in the same
 * way, and in which no call comes before one that had ended before it began. The search is that of J. Wing and C. Gong
 * (1993) with G. Lowe's memory of states that have been tried (2017).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A call. op, args and result mean what the model says. */
struct linear_event {
        int64_t begin_ns, end_ns;
        uint32_t op;
        int32_t status;
        int64_t args[2];
        int64_t result;
};

#define LINEAR_STATE_MAX 256u /* bytes of a model's state */

struct linear_model {
        size_t state_size; /* compared and hashed byte by byte: no padding, unused parts are zeros */
        void (*init)(void *state);
        /* Whether the object in this state may answer so; changes the state to what it is then. */
        bool (*step)(void *state, const struct linear_event *event);
};

enum linear_result { LINEAR_YES, LINEAR_NO, LINEAR_GAVE_UP };

/* Sorts the events by their beginning. Gives up after max_steps, or for want of memory. */
enum linear_result linear_check(const struct linear_model *model, struct linear_event *events, size_t n,
                                size_t max_steps);
