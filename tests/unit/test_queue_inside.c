/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_queue_inside.c -- object/queue*.c: what only those see who have the arena: walks, and operations that hold its lines
 */

#include "object/object.h"
#include "object/queue.h"
#include "support/queues.h"
#include "txn/txn.h"

struct walked {
        int64_t expected, step;
        uint64_t n;
        bool has_priority;
};

static objd_status walk_one(void *context, const objd_value *key, const objd_value *value)
{
        struct walked *walked = context;

        if (walked->has_priority)
                assert_int_equal(key->u.integer, walked->expected);
        else
                assert_null(key);
        assert_int_equal(value->u.integer, walked->expected);
        walked->expected += walked->step;
        walked->n++;
        return OBJD_OK;
}

static void a_walk_shows_the_items_in_the_order_they_would_be_taken(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        uint64_t lease;

        for (size_t q = 0; q < 3; q++) {
                for (int64_t i = 0; i < 2000; i++) {
                        objd_value value = objd_int(q == 2 ? i * 777 % 2000 : i);

                        if (q == 2)
                                assert_ok(objd_queue_put_priority(queues[q], &value, i * 777 % 2000,
                                                                  OBJD_NOWAIT));
                        else
                                assert_ok(objd_queue_put(queues[q], &value, OBJD_NOWAIT));
                }
                for (uint64_t limit = 7; limit <= UINT64_MAX / 2; limit += UINT64_MAX / 4) {
                        struct walked walked = { q == 1 ? 1999 : 0, q == 1 ? -1 : 1, 0, q == 2 };

                        assert_ok(queue_kind.walk(queues[q], limit, walk_one, &walked));
                        assert_int_equal(walked.n, limit < 2000 ? limit : 2000);
                }
        }
        lease = lease_int(env, env->fifo, OBJD_FOREVER, 0);
        (void)lease_int(env, env->fifo, OBJD_FOREVER, 1);
        assert_ok(objd_queue_give_back(env->fifo, lease));
        assert_ok(queue_kind.walk(env->fifo, 1, walk_one, &(struct walked){ .expected = 0 }));
}

/*
 * A block of objects is retired, or a daemon starts, between the two plans of an operation. The second plan, under the locks of
 * the first, once waited for the queue's line until its time-out, which the operation held itself; and everybody else with it.
 */
static void a_queue_is_found_by_an_operation_that_holds_its_lines(void **state)
{
        struct env *env = *state;
        struct queue queue;
        struct lane *lane;

        put_int(env->fifo, 1);
        assert_ok(lane_enter(env->conn->arena, 100000000, &lane));
        txn_begin(lane, OP_QUEUE_PUT);
        assert_ok(lock_take(lane, &env->fifo->shm->line));
        __atomic_fetch_add(&env->conn->arena->header->retire_count, 1, __ATOMIC_RELEASE);

        assert_ok(queue_find(lane, env->fifo, &queue));

        txn_abort(lane);
        lane_leave(lane);
        assert_int_equal(get_int(env, env->fifo), 1);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                QUEUES_TEST(a_walk_shows_the_items_in_the_order_they_would_be_taken),
                QUEUES_TEST(a_queue_is_found_by_an_operation_that_holds_its_lines),
        };

        return way_run(argc, argv, tests);
}
