/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_queue_wait.c -- queues: who waits, and what ends it: items, room, time, closing, poison, deletion, the last task
 */

#include <stdlib.h>
#include <unistd.h>

#include "support/queues.h"

static void get_from_an_empty_queue_times_out_at_the_deadline(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };

        for (size_t q = 0; q < 3; q++) {
                int64_t start = test_now_ns();

                assert_status(objd_queue_get(queues[q], &env->value, &env->buf, 50 * MS), OBJD_E_TIMEOUT);
                assert_true(test_now_ns() - start >= 50 * MS);
                wait_for_sleepers(queues[q], 0);
        }
}

static void a_sleeping_getter_gets_what_is_put(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        struct waiter waiter;

        for (size_t q = 0; q < 3; q++)
                for (int64_t i = 0; i < 20; i++) {
                        waiter_start(&waiter, queues[q], wait_get);
                        wait_for_sleepers(queues[q], 1);
                        put_int(queues[q], i);
                        waiter_expect(&waiter, OBJD_OK);
                        assert_int_equal(waiter.got, i);
                        assert_empty(env, queues[q]);
                        wait_for_sleepers(queues[q], 0);
                }
}

static void each_item_wakes_one_of_many_sleepers(void **state)
{
        struct env *env = *state;
        struct waiter waiters[8];
        int64_t sum = 0;

        for (size_t i = 0; i < 8; i++)
                waiter_start(&waiters[i], env->fifo, wait_get);
        wait_for_sleepers(env->fifo, 8);
        for (int64_t i = 0; i < 5; i++)
                put_int(env->fifo, (int64_t)1 << i);
        put_many(env->fifo, 32, 3, OBJD_OK);
        for (size_t i = 0; i < 8; i++) {
                waiter_expect(&waiters[i], OBJD_OK);
                sum += waiters[i].got;
        }
        assert_int_equal(sum, 31 + 32 + 33 + 34);
        assert_empty(env, env->fifo);
}

static void a_sleeping_putter_goes_on_when_there_is_room(void **state)
{
        struct env *env = *state;
        struct waiter waiter;

        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                objd_object *queue = make_queue(env->conn, NULL, order, 1);
                uint64_t lease;

                put_int(queue, 1);
                waiter_start(&waiter, queue, wait_put);
                wait_for_sleepers(queue, 1);
                assert_int_equal(get_int(env, queue), 1);
                waiter_expect(&waiter, OBJD_OK);

                waiter_start(&waiter, queue, wait_put);
                wait_for_sleepers(queue, 1);
                lease = lease_int(env, queue, OBJD_FOREVER, 77);
                assert_ok(objd_queue_ack(queue, lease));
                waiter_expect(&waiter, OBJD_OK);
                assert_int_equal(get_int(env, queue), 77);
                objd_release(queue);
        }
}

static void a_getter_without_time_leaves_no_sleeper_behind(void **state)
{
        struct env *env = *state;

        for (int i = 0; i < 50; i++)
                assert_status(objd_queue_get(env->fifo, &env->value, &env->buf, MS / 10), OBJD_E_TIMEOUT);
        wait_for_sleepers(env->fifo, 0);
}

static int sleep_and_die(void *context)
{
        struct env *env = context;

        (void)objd_queue_get(env->fifo, &env->value, &env->buf, OBJD_FOREVER);
        return 1;
}

static void killed_sleepers_keep_nobody_else_from_waking(void **state)
{
        struct env *env = *state;
        struct waiter waiter;
        pid_t pids[3];

        for (size_t i = 0; i < 3; i++)
                pids[i] = child_start(sleep_and_die, env);
        wait_for_sleepers(env->fifo, 3);
        for (size_t i = 0; i < 3; i++)
                way_kill(pids[i]);
        if (!way_is_handle()) /* what the daemon waits for in their name ends with their sessions */
                wait_for_sleepers(env->fifo, 0);
        for (int64_t i = 0; i < 10; i++) {
                waiter_start(&waiter, env->fifo, wait_get);
                put_int(env->fifo, i);
                waiter_expect(&waiter, OBJD_OK);
                assert_int_equal(waiter.got, i);
        }
        /* A put takes one off the count. Where each waiter slept when its item came, the dead are still counted. */
        for (int64_t i = 0; i < 3; i++) {
                put_int(env->fifo, i);
                assert_int_equal(get_int(env, env->fifo), i);
        }
        wait_for_sleepers(env->fifo, 0);
}

static int put_from_child(void *context)
{
        struct env *env = context;
        objd_value value = objd_int(5);

        wait_for_sleepers(env->fifo, 1);
        child_ok(objd_queue_put(env->fifo, &value, OBJD_NOWAIT));
        return 0;
}

static void another_process_wakes_a_sleeper(void **state)
{
        struct env *env = *state;
        pid_t pid = child_start(put_from_child, env);

        assert_ok(objd_queue_get(env->fifo, &env->value, &env->buf, LONG));
        assert_int_equal(env->value.u.integer, 5);
        child_expect_success(pid);
}

/* ---- Closing, poison, deletion -------------------------------------------------------------------------- */

static void a_closed_queue_takes_nothing_and_gives_what_it_has(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        objd_value value = objd_int(1);
        objd_items *items;

        for (size_t q = 0; q < 3; q++) {
                put_int(queues[q], 1);
                put_int(queues[q], 1);
                assert_ok(objd_queue_close(queues[q]));
                assert_ok(objd_queue_close(queues[q]));
                assert_status(objd_queue_put(queues[q], &value, OBJD_FOREVER), OBJD_E_CLOSED);
                assert_int_equal(get_int(env, queues[q]), 1);
                assert_ok(objd_queue_get_many(queues[q], 9, &items, OBJD_FOREVER));
                assert_int_equal(items->len, 1);
                objd_items_free(items);
                assert_status(objd_queue_get(queues[q], &env->value, &env->buf, OBJD_FOREVER), OBJD_E_CLOSED);
                assert_status(objd_queue_peek(queues[q], &env->value, &env->buf), OBJD_E_EMPTY);
        }
}

static void an_item_may_still_come_back_to_a_closed_queue(void **state)
{
        struct env *env = *state;
        uint64_t lease;

        put_int(env->fifo, 1);
        lease = lease_int(env, env->fifo, OBJD_FOREVER, 1);
        assert_ok(objd_queue_close(env->fifo));
        assert_status(objd_queue_get(env->fifo, &env->value, &env->buf, OBJD_NOWAIT), OBJD_E_CLOSED);
        assert_ok(objd_queue_give_back(env->fifo, lease));
        assert_int_equal(get_int(env, env->fifo), 1);
}

static void closing_wakes_all_sleepers(void **state)
{
        struct env *env = *state;
        objd_object *full = make_queue(env->conn, NULL, OBJD_FIFO, 1);
        struct waiter getters[3], putters[2];

        put_int(full, 1);
        for (size_t i = 0; i < 3; i++)
                waiter_start(&getters[i], env->fifo, wait_get);
        for (size_t i = 0; i < 2; i++)
                waiter_start(&putters[i], full, wait_put);
        wait_for_sleepers(env->fifo, 3);
        wait_for_sleepers(full, 2);
        assert_ok(objd_queue_close(env->fifo));
        assert_ok(objd_queue_close(full));
        for (size_t i = 0; i < 3; i++)
                waiter_expect(&getters[i], OBJD_E_CLOSED);
        for (size_t i = 0; i < 2; i++)
                waiter_expect(&putters[i], OBJD_E_CLOSED);
        objd_release(full);
}

static void poison_stops_everybody_at_once(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        struct waiter getter, joiner;
        objd_value value = objd_int(1);
        uint64_t lease;

        for (size_t q = 0; q < 3; q++) {
                put_int(queues[q], 1);
                lease = lease_int(env, queues[q], OBJD_FOREVER, 1);
                waiter_start(&getter, queues[q], wait_get);
                waiter_start(&joiner, queues[q], wait_join);
                wait_for_sleepers(queues[q], 2);
                assert_ok(objd_queue_poison(queues[q]));
                waiter_expect(&getter, OBJD_E_POISONED);
                waiter_expect(&joiner, OBJD_E_POISONED);
                assert_ok(objd_queue_give_back(queues[q], lease));

                assert_status(objd_queue_put(queues[q], &value, OBJD_NOWAIT), OBJD_E_POISONED);
                assert_status(objd_queue_get(queues[q], &env->value, &env->buf, OBJD_NOWAIT),
                              OBJD_E_POISONED);
                assert_status(objd_queue_peek(queues[q], &env->value, &env->buf), OBJD_E_POISONED);
                assert_status(objd_queue_join(queues[q], OBJD_NOWAIT), OBJD_E_POISONED);
                assert_int_equal(len_of(queues[q]), 1);
        }
}

static void deleting_a_queue_wakes_its_sleepers(void **state)
{
        struct env *env = *state;

        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                objd_object *queue = make_queue(env->conn, NULL, order, 1);
                struct waiter getter, putter, joiner;
                objd_object *other = make_queue(env->conn, NULL, order, 1);

                put_int(other, 1);
                waiter_start(&getter, queue, wait_get);
                waiter_start(&putter, other, wait_put);
                waiter_start(&joiner, other, wait_join);
                wait_for_sleepers(queue, 1);
                wait_for_sleepers(other, 2);
                assert_ok(objd_destroy(queue));
                assert_ok(objd_destroy(other));
                waiter_expect(&getter, OBJD_E_GONE);
                waiter_expect(&putter, OBJD_E_GONE);
                waiter_expect(&joiner, OBJD_E_GONE);
                objd_release(queue);
                objd_release(other);
        }
}

static void a_handle_of_a_deleted_queue_is_gone(void **state)
{
        struct env *env = *state;
        objd_value value = objd_int(1);
        uint64_t len;

        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                objd_object *queue = make_queue(env->conn, "short-lived", order, 0), *next;

                put_int(queue, 1);
                assert_ok(objd_destroy(queue));
                next = make_queue(env->conn, "short-lived", order, 0);
                assert_status(objd_queue_put(queue, &value, OBJD_FOREVER), OBJD_E_GONE);
                assert_status(objd_queue_get(queue, &value, &env->buf, OBJD_FOREVER), OBJD_E_GONE);
                assert_status(objd_queue_len(queue, &len), OBJD_E_GONE);
                assert_status(objd_queue_peek(queue, &value, &env->buf), OBJD_E_GONE);
                assert_status(objd_queue_close(queue), OBJD_E_GONE);
                assert_status(objd_queue_join(queue, OBJD_FOREVER), OBJD_E_GONE);
                assert_empty(env, next);
                assert_ok(objd_destroy(next));
                objd_release(queue);
                objd_release(next);
        }
}

static void deleting_a_queue_frees_all_its_memory(void **state)
{
        struct env *env = *state;
        uint64_t before = way_used(env->conn);
        char text[5000] = { 0 };
        uint64_t lease;

        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                objd_object *queue = make_queue(env->conn, NULL, order, 0);

                for (size_t i = 0; i < 3000; i++) {
                        objd_value value = objd_bytes(text, i % 100 ? i % 300 : 5000);

                        assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
                }
                for (int i = 0; i < 100; i++)
                        assert_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &env->value, &env->buf, &lease,
                                                       OBJD_NOWAIT));
                assert_ok(objd_queue_give_back(queue, lease));
                way_check(env->conn);
                assert_ok(objd_destroy(queue));
                objd_release(queue);
        }
        assert_int_equal(way_used(env->conn), before);
}

/* ---- Tasks -------------------------------------------------------------------------------------------- */

static void join_waits_for_the_last_task(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        struct waiter joiner;

        for (size_t q = 0; q < 3; q++) {
                assert_ok(objd_queue_join(queues[q], OBJD_NOWAIT));
                put_int(queues[q], 1);
                put_int(queues[q], 2);
                assert_status(objd_queue_join(queues[q], OBJD_NOWAIT), OBJD_E_TIMEOUT);
                (void)get_int(env, queues[q]);
                (void)get_int(env, queues[q]);
                assert_status(objd_queue_join(queues[q], MS), OBJD_E_TIMEOUT);
                waiter_start(&joiner, queues[q], wait_join);
                wait_for_sleepers(queues[q], 1);
                assert_ok(objd_queue_task_done(queues[q]));
                assert_status(objd_queue_join(queues[q], OBJD_NOWAIT), OBJD_E_TIMEOUT);
                assert_ok(objd_queue_task_done(queues[q]));
                waiter_expect(&joiner, OBJD_OK);
                assert_status(objd_queue_task_done(queues[q]), OBJD_E_INVAL);
        }
}

static void a_task_may_be_done_before_its_item_is_taken(void **state)
{
        struct env *env = *state;

        for (int64_t i = 0; i < 3; i++)
                put_int(env->fifo, i);
        for (int64_t i = 0; i < 3; i++)
                assert_ok(objd_queue_task_done(env->fifo));
        assert_status(objd_queue_task_done(env->fifo), OBJD_E_INVAL);
        assert_ok(objd_queue_join(env->fifo, OBJD_NOWAIT));
        assert_int_equal(len_of(env->fifo), 3);
}

static void an_ack_is_a_task_done(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        struct waiter joiner;

        for (size_t q = 0; q < 3; q++) {
                uint64_t lease;

                put_int(queues[q], 1);
                lease = lease_int(env, queues[q], OBJD_FOREVER, 1);
                waiter_start(&joiner, queues[q], wait_join);
                wait_for_sleepers(queues[q], 1);
                assert_ok(objd_queue_ack(queues[q], lease));
                waiter_expect(&joiner, OBJD_OK);
        }
}

static void a_batch_wakes_sleepers(void **state)
{
        struct env *env = *state;
        struct waiter waiters[3];
        objd_value value = objd_int(1);
        objd_batch *batch;

        assert_ok(objd_batch_new(env->conn, &batch));
        for (size_t i = 0; i < 3; i++) {
                waiter_start(&waiters[i], env->fifo, wait_get);
                assert_ok(objd_batch_queue_put(batch, env->fifo, &value, 0));
        }
        wait_for_sleepers(env->fifo, 3);
        assert_ok(objd_batch_commit(batch, NULL));
        for (size_t i = 0; i < 3; i++)
                waiter_expect(&waiters[i], OBJD_OK);
        objd_batch_free(batch);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                QUEUES_TEST(get_from_an_empty_queue_times_out_at_the_deadline),
                QUEUES_TEST(a_sleeping_getter_gets_what_is_put),
                QUEUES_TEST(each_item_wakes_one_of_many_sleepers),
                QUEUES_TEST(a_sleeping_putter_goes_on_when_there_is_room),
                QUEUES_TEST(a_getter_without_time_leaves_no_sleeper_behind),
                QUEUES_TEST(killed_sleepers_keep_nobody_else_from_waking),
                QUEUES_TEST(another_process_wakes_a_sleeper),
                QUEUES_TEST(a_closed_queue_takes_nothing_and_gives_what_it_has),
                QUEUES_TEST(an_item_may_still_come_back_to_a_closed_queue),
                QUEUES_TEST(closing_wakes_all_sleepers),
                QUEUES_TEST(poison_stops_everybody_at_once),
                QUEUES_TEST(deleting_a_queue_wakes_its_sleepers),
                QUEUES_TEST(a_handle_of_a_deleted_queue_is_gone),
                QUEUES_TEST(deleting_a_queue_frees_all_its_memory),
                QUEUES_TEST(join_waits_for_the_last_task),
                QUEUES_TEST(a_task_may_be_done_before_its_item_is_taken),
                QUEUES_TEST(an_ack_is_a_task_done),
                QUEUES_TEST(a_batch_wakes_sleepers),
        };

        return way_run(argc, argv, tests);
}
