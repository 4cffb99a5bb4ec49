/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * story.h -- what a client without a mapping does while calls fail, in itself or in the daemon, and whether what it was told is true
 *
 * A story connects, does something of everything, and closes. What it has been told is then held against the store, which is looked at
 * by handle: after OBJD_OK a change is there, once. After OBJD_E_NODAEMON, OBJD_E_NOMEM and OBJD_E_SYS it may be there or not, but once,
 * and whole; after anything else it is not.
 */

#include <stdbool.h>
#include <stdint.h>

#include <objd.h>

#include "support/faults.h"
#include "support/test.h"
#include "support/way.h"

/* Numbers that the store may have at one place: what is certain is low == high. */
struct range {
        int64_t low, high;
};

struct story {
        const char *url;
        objd_conn *near; /* by handle */
        objd_object *near_dict, *near_queue, *near_lock;
        int64_t patience_ns; /* of each call */

        /* of the one that is told: */
        objd_conn *conn;
        objd_object *dict, *queue, *lock;
        int64_t chapter; /* what it writes; grows with each story */
        bool is_over;    /* there is no daemon, so nothing more is asked of it */
        bool is_slow;    /* a call has waited in vain */
        unsigned n_refused;
        struct range sum, pair, big, len;
};

/* Makes its objects. */
void story_init(struct story *story, objd_conn *near);
void story_deinit(struct story *story);

/* From connecting to closing. Fails the test if a call answers what it must not. */
void story_tell(struct story *story, const char *url);

/* Without failures from here on: ends the sessions that are left, and looks whether it was true. */
void story_compare(struct story *story);

/* ---- Calls that fail in turn ------------------------------------------------------------------------------- */

/* Tells one while the nth call fails, compares, and gives how many calls have failed. */
typedef unsigned (*story_fn)(struct story *story, const char *url, unsigned nth, enum fault_mode mode);

/*
 * For each kind of call, until a story comes to its end untouched: every nth one; or, if not all are wanted, some of them. If all are,
 * several in a row must be untouched. A story without a failure in which something is refused, but that the machine was too slow,
 * fails the test.
 */
struct story_sweep {
        story_fn tell;
        const char *const *kinds;
        size_t n_kinds;
        unsigned modes; /* 1 << FAULT_ONCE and so on */
        bool all;
};

/* On this one of way_all(), in each of the modes. */
void story_sweep(void **state, size_t way, const struct story_sweep *sweep);

/* After a test that may have failed in the middle of a story. */
int story_teardown(void **state);

#define STORY_TEST(name) cmocka_unit_test_setup_teardown(name, way_setup, story_teardown)

/* "once" and so on. */
extern const char *const story_mode_name[];
