/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * hold.h -- another thread that holds a line of an object, as one in the middle of a change does
 */

#include <pthread.h>
#include <unistd.h>

#include "object/object.h"
#include "support/child.h"
#include "txn/txn.h"

struct hold {
        struct arena *arena;
        struct line_shm *line;
        int64_t for_ns; /* hold_begin() gives it back by itself after so long; 0: hold_end() does */
        struct gate held, let_go;
        pthread_t thread;
};

static inline void *hold_run(void *context)
{
        struct hold *hold = context;
        struct lane *lane;

        child_ok(lane_enter(hold->arena, OBJD_FOREVER, &lane));
        txn_begin(lane, 1);
        child_ok(lock_take(lane, hold->line));
        gate_open(&hold->held, 1);
        if (hold->for_ns)
                usleep((useconds_t)(hold->for_ns / 1000));
        else
                gate_wait(&hold->let_go);
        txn_abort(lane);
        lane_leave(lane);
        return NULL;
}

static inline void hold_begin(struct hold *hold)
{
        gate_init(&hold->held);
        gate_init(&hold->let_go);
        child_check(pthread_create(&hold->thread, NULL, hold_run, hold) == 0);
        gate_wait(&hold->held);
}

static inline void hold_end(struct hold *hold)
{
        if (!hold->for_ns)
                gate_open(&hold->let_go, 1);
        pthread_join(hold->thread, NULL);
        gate_deinit(&hold->held);
        gate_deinit(&hold->let_go);
}
