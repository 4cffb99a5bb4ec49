/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * history.h -- several processes and threads call one object, and what they saw is recorded
 */

#include <objd.h>

#include "support/child.h"
#include "support/linear.h"
#include "support/random.h"
#include "support/way.h"

#define HISTORY_THREADS 2
#define HISTORY_PROCESSES_MAX WAYS_MAX
#define HISTORY_WORKERS_MAX (HISTORY_PROCESSES_MAX * HISTORY_THREADS)

/* Three; in a program that runs by all ways at least one for each way, which comes to the object by it. */
size_t history_processes(void);
size_t history_workers(void);

/* In such a process: the object by its own way, and the end of that. */
objd_object *history_open(objd_object *object, size_t process, objd_conn **ret_conn);
void history_close(objd_object *object, objd_conn *conn);

/*
 * One call: chooses op and arguments, makes it, fills in status and result. Stamps it with history_begin() and history_end(),
 * as close to the call as can be.
 */
typedef void (*history_call)(objd_object *object, struct random *random, objd_buf *buf,
                             struct linear_event *event);

static inline void history_begin(struct linear_event *event)
{
        event->begin_ns = test_now_ns();
}

static inline void history_end(struct linear_event *event)
{
        event->end_ns = test_now_ns();
}

/*
 * Lets every worker make n calls on the object, all at once, and gives all events: history_workers() * n, in shared
 * memory that history_free() unmaps.
 */
struct linear_event *history_record(objd_object *object, uint64_t seed, size_t n, history_call call);
void history_free(struct linear_event *events, size_t n);

/* Fails the test, and prints the history, if it is not linearizable. */
void history_judge(const struct linear_model *model, struct linear_event *events, size_t n,
                   const char *const *op_names);
