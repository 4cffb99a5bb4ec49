/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_queue_lease.c -- queues: items under a lease, and what becomes of them when its owner dies
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/queues.h"

/* ---- Leases ------------------------------------------------------------------------------------------- */

static void an_item_under_a_lease_is_out_of_sight(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };

        for (size_t q = 0; q < 3; q++) {
                uint64_t lease;

                put_int(queues[q], 1);
                lease = lease_int(env, queues[q], OBJD_FOREVER, 1);
                assert_empty(env, queues[q]);
                assert_status(objd_queue_peek(queues[q], &env->value, &env->buf), OBJD_E_EMPTY);
                assert_ok(objd_queue_ack(queues[q], lease));
                assert_empty(env, queues[q]);
                assert_status(objd_queue_ack(queues[q], lease), OBJD_E_NOTOWNER);
                assert_status(objd_queue_give_back(queues[q], lease), OBJD_E_NOTOWNER);
                assert_status(objd_queue_ack(queues[q], 0), OBJD_E_NOTOWNER);
                assert_status(objd_queue_ack(queues[q], UINT64_MAX), OBJD_E_NOTOWNER);
        }
}

static void items_that_are_given_back_come_first_in_their_old_order(void **state)
{
        struct env *env = *state;
        uint64_t leases[5];

        for (int64_t i = 0; i < 10; i++)
                put_int(env->fifo, i);
        for (int64_t i = 0; i < 5; i++)
                leases[i] = lease_int(env, env->fifo, OBJD_FOREVER, i);
        assert_ok(objd_queue_give_back(env->fifo, leases[3]));
        assert_ok(objd_queue_give_back(env->fifo, leases[1]));
        assert_ok(objd_queue_peek(env->fifo, &env->value, &env->buf));
        assert_int_equal(env->value.u.integer, 1);
        assert_ok(objd_queue_give_back(env->fifo, leases[4]));
        assert_ok(objd_queue_give_back(env->fifo, leases[0]));
        assert_ok(objd_queue_give_back(env->fifo, leases[2]));
        assert_int_equal(len_of(env->fifo), 10);
        for (int64_t i = 0; i < 10; i++)
                assert_int_equal(get_int(env, env->fifo), i);
}

static void an_item_that_comes_back_keeps_its_priority_and_age(void **state)
{
        struct env *env = *state;
        uint64_t lease;

        for (int64_t i = 0; i < 3; i++) {
                objd_value value = objd_int(i);

                assert_ok(objd_queue_put_priority(env->priority, &value, 7, OBJD_NOWAIT));
        }
        lease = lease_int(env, env->priority, OBJD_FOREVER, 0);
        assert_ok(objd_queue_give_back(env->priority, lease));
        for (int64_t i = 0; i < 3; i++)
                assert_int_equal(get_int(env, env->priority), i);
}

static void a_lifo_item_that_comes_back_is_on_top(void **state)
{
        struct env *env = *state;
        uint64_t lease;

        put_int(env->lifo, 1);
        lease = lease_int(env, env->lifo, OBJD_FOREVER, 1);
        put_int(env->lifo, 2);
        assert_ok(objd_queue_give_back(env->lifo, lease));
        assert_int_equal(get_int(env, env->lifo), 1);
        assert_int_equal(get_int(env, env->lifo), 2);
}

static void leases_of_values_of_every_size_come_back_whole(void **state)
{
        static const size_t sizes[] = { 0, 8, 9, 100, 192, 193, 4096, 4097, 70000 };
        const size_t n = sizeof(sizes) / sizeof(*sizes);
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        uint8_t *data = malloc(70000);
        uint64_t lease;

        assert_non_null(data);
        memset(data, 'v', 70000);
        for (size_t q = 0; q < 3; q++)
                for (size_t i = 0; i < n; i++) {
                        objd_value value = objd_bytes(data, sizes[i]);

                        assert_ok(objd_queue_put(queues[q], &value, OBJD_NOWAIT));
                        assert_ok(objd_queue_get_lease(queues[q], OBJD_FOREVER, &env->value, &env->buf,
                                                       &lease, OBJD_NOWAIT));
                        assert_true(objd_value_equal(&env->value, &value));
                        assert_ok(objd_queue_give_back(queues[q], lease));
                        assert_ok(objd_queue_get_lease(queues[q], OBJD_FOREVER, &env->value, &env->buf,
                                                       &lease, OBJD_NOWAIT));
                        assert_true(objd_value_equal(&env->value, &value));
                        way_check(env->conn);
                        assert_ok(objd_queue_ack(queues[q], lease));
                }
        free(data);
}

static void many_leases_are_told_apart(void **state)
{
        struct env *env = *state;
        const int64_t n = way_few(3000, 400);
        static uint64_t leases[3000];

        for (int64_t i = 0; i < n; i++)
                put_int(env->fifo, i);
        for (int64_t i = 0; i < n; i++)
                leases[i] = lease_int(env, env->fifo, OBJD_FOREVER, i);
        for (int64_t i = 0; i < n; i += 2)
                assert_ok(objd_queue_ack(env->fifo, leases[i]));
        for (int64_t i = 1; i < n; i += 2)
                assert_ok(objd_queue_give_back(env->fifo, leases[i]));
        for (int64_t i = 0; i < n; i++)
                assert_status(objd_queue_ack(env->fifo, leases[i]), OBJD_E_NOTOWNER);
        for (int64_t i = 1; i < n; i += 2)
                assert_int_equal(get_int(env, env->fifo), i);
        assert_empty(env, env->fifo);
}

static void a_lease_ends_at_its_deadline(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };

        for (size_t q = 0; q < 3; q++) {
                uint64_t lease;

                put_int(queues[q], 1);
                lease = lease_int(env, queues[q], 30 * MS, 1);
                assert_ok(objd_queue_get(queues[q], &env->value, &env->buf, LONG));
                assert_int_equal(env->value.u.integer, 1);
                assert_status(objd_queue_ack(queues[q], lease), OBJD_E_NOTOWNER);
                assert_empty(env, queues[q]);
        }
}

static void a_lease_that_is_over_cannot_be_acked_though_nobody_has_looked(void **state)
{
        struct env *env = *state;
        uint64_t lease;

        put_int(env->fifo, 1);
        lease = lease_int(env, env->fifo, 1, 1);
        assert_status(objd_queue_ack(env->fifo, lease), OBJD_E_NOTOWNER);
        assert_int_equal(get_int(env, env->fifo), 1);
}

static void a_getter_that_finds_items_notices_that_a_lease_is_over(void **state)
{
        struct env *env = *state;
        int64_t got = 0, end = test_now_ns() + LONG;

        put_int(env->fifo, -1);
        (void)lease_int(env, env->fifo, 5 * MS, -1);
        while (got != -1) {
                put_int(env->fifo, 1);
                put_int(env->fifo, 1);
                got = get_int(env, env->fifo);
                assert_true(test_now_ns() < end);
        }
}

struct lease_child {
        struct env *env;
        objd_object *queue;
        struct gate gate;
        bool close;
};

static int lease_and_die(void *context)
{
        struct lease_child *child = context;
        struct env *env = child->env;
        uint64_t lease;

        child_ok(objd_queue_get_lease(child->queue, OBJD_FOREVER, &env->value, &env->buf, &lease,
                                      OBJD_NOWAIT));
        if (child->close)
                objd_close(env->conn);
        gate_open(&child->gate, 1);
        if (!child->close)
                pause();
        return 0;
}

static void the_item_of_a_killed_consumer_comes_back(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };

        for (size_t q = 0; q < 3; q++) {
                struct lease_child child = { .env = env, .queue = queues[q] };
                pid_t pid;

                gate_init(&child.gate);
                put_int(queues[q], 1);
                put_int(queues[q], 1);
                pid = child_start(lease_and_die, &child);
                gate_wait(&child.gate);
                assert_int_equal(get_int(env, queues[q]), 1);
                assert_empty(env, queues[q]);
                way_kill(pid);
                assert_int_equal(get_int(env, queues[q]), 1);
                assert_empty(env, queues[q]);
                gate_deinit(&child.gate);
        }
}

static void a_sleeping_getter_gets_the_item_of_a_killed_consumer(void **state)
{
        struct env *env = *state;
        struct lease_child child = { .env = env, .queue = env->fifo };
        struct waiter waiter;
        pid_t pid;

        gate_init(&child.gate);
        put_int(env->fifo, 42);
        pid = child_start(lease_and_die, &child);
        gate_wait(&child.gate);
        waiter_start(&waiter, env->fifo, wait_get);
        wait_for_sleepers(env->fifo, 1);
        way_kill(pid);
        waiter_expect(&waiter, OBJD_OK);
        assert_int_equal(waiter.got, 42);
        gate_deinit(&child.gate);
}

static void what_a_client_has_under_lease_comes_back_when_it_closes(void **state)
{
        struct env *env = *state;
        struct lease_child child = { .env = env, .queue = env->fifo, .close = true };
        pid_t pid;

        gate_init(&child.gate);
        put_int(env->fifo, 1);
        pid = child_start(lease_and_die, &child);
        gate_wait(&child.gate);
        assert_int_equal(get_int(env, env->fifo), 1);
        child_expect_success(pid);
        gate_deinit(&child.gate);
}

static int try_foreign_lease(void *context)
{
        struct env *env = context;
        uint64_t lease = (uint64_t)env->value.u.integer;

        child_check(objd_queue_ack(env->fifo, lease) == OBJD_E_NOTOWNER);
        child_check(objd_queue_give_back(env->fifo, lease) == OBJD_E_NOTOWNER);
        return 0;
}

static void a_child_has_none_of_its_parents_leases(void **state)
{
        struct env *env = *state;
        uint64_t lease;

        put_int(env->fifo, 1);
        lease = lease_int(env, env->fifo, OBJD_FOREVER, 1);
        env->value = objd_int((int64_t)lease);
        child_expect_success(child_start(try_foreign_lease, env));
        assert_ok(objd_queue_ack(env->fifo, lease));
}

static void a_sleeping_getter_gets_what_is_given_back(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        struct waiter waiter;

        for (size_t q = 0; q < 3; q++) {
                uint64_t lease;

                put_int(queues[q], 3);
                lease = lease_int(env, queues[q], OBJD_FOREVER, 3);
                waiter_start(&waiter, queues[q], wait_get);
                wait_for_sleepers(queues[q], 1);
                assert_ok(objd_queue_give_back(queues[q], lease));
                waiter_expect(&waiter, OBJD_OK);
                assert_int_equal(waiter.got, 3);
        }
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                QUEUES_TEST(an_item_under_a_lease_is_out_of_sight),
                QUEUES_TEST(items_that_are_given_back_come_first_in_their_old_order),
                QUEUES_TEST(an_item_that_comes_back_keeps_its_priority_and_age),
                QUEUES_TEST(a_lifo_item_that_comes_back_is_on_top),
                QUEUES_TEST(leases_of_values_of_every_size_come_back_whole),
                QUEUES_TEST(many_leases_are_told_apart),
                QUEUES_TEST(a_lease_ends_at_its_deadline),
                QUEUES_TEST(a_lease_that_is_over_cannot_be_acked_though_nobody_has_looked),
                QUEUES_TEST(a_getter_that_finds_items_notices_that_a_lease_is_over),
                QUEUES_TEST(the_item_of_a_killed_consumer_comes_back),
                QUEUES_TEST(a_sleeping_getter_gets_the_item_of_a_killed_consumer),
                QUEUES_TEST(what_a_client_has_under_lease_comes_back_when_it_closes),
                QUEUES_TEST(a_child_has_none_of_its_parents_leases),
                QUEUES_TEST(a_sleeping_getter_gets_what_is_given_back),
        };

        return way_run(argc, argv, tests);
}
