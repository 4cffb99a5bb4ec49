/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * queues.h -- a queue of each order, small steps with queues, and threads that wait for them
 *
 * The state of a QUEUES_TEST is a struct env. Any status but the expected one fails the test.
 */

#include <pthread.h>

#include "support/child.h"
#include "support/way.h"

#define MS 1000000LL
#define LONG PATIENCE_NS /* what must not take long gets this, so that a failure is no hang */

struct env {
        objd_conn *conn;
        objd_object *fifo, *lifo, *priority;
        objd_buf buf;
        objd_value value;
};

#define QUEUES_TEST(name) cmocka_unit_test_setup_teardown(name, queues_setup, queues_teardown)
int queues_setup(void **state);
int queues_teardown(void **state);

objd_object *make_queue(objd_conn *conn, const char *name, objd_order order, uint64_t bound);
void put_int(objd_object *queue, int64_t i);
void put_many(objd_object *queue, int64_t first, size_t n, objd_status expected);
int64_t get_int(struct env *env, objd_object *queue);
uint64_t lease_int(struct env *env, objd_object *queue, int64_t lease_ns, int64_t expected);
uint64_t len_of(objd_object *queue);
void assert_empty(struct env *env, objd_object *queue);

/* A thread with one blocking call, and what came of it. */
struct waiter {
        pthread_t thread;
        objd_object *queue;
        objd_status (*call)(struct waiter *waiter);
        int64_t timeout_ns;
        objd_status r;
        int64_t got;
};

objd_status wait_get(struct waiter *waiter);
objd_status wait_put(struct waiter *waiter);
objd_status wait_join(struct waiter *waiter);
void waiter_start(struct waiter *waiter, objd_object *queue, objd_status (*call)(struct waiter *waiter));
void waiter_expect(struct waiter *waiter, objd_status expected);

/*
 * Until n sleep. Those who have no mapping do so in the daemon, which counts as one of each kind however many they are: then it is until
 * one does, or none.
 */
void wait_for_sleepers(const objd_object *queue, uint32_t n);
