/* SPDX-License-Identifier: Apache-2.0 */

/*
 * linear_queue.c -- calls on one queue from several processes and threads, as if they had come one after the other
 *
 * usage: test-linear-queue [WAY [SECONDS]]; the way is "handle" or "all" (support/way.h), the seed is OBJD_TEST_SEED.
 * Rounds with FIFO, LIFO and PRIORITY queues take turns; all are bounded, and nobody waits, so that full and empty queues
 * are answers, too.
 */

#include <stdlib.h>
#include <string.h>

#include "model/history.h"
#include "support/way.h"

#define N_EVENTS 60 /* of each worker in a round */
#define BOUND 6

enum { PUT, GET, PEEK, LEN, N_OPS };

static const char *const op_names[] = { "put", "get", "peek", "len" };

static objd_order order; /* of this round's queue; also what the model goes by */

/* In the order in which they will come out. */
struct items {
        uint64_t n;
        int64_t item[BOUND + 1], priority[BOUND + 1];
};
_Static_assert(sizeof(struct items) <= LINEAR_STATE_MAX, "the model's state fits");

static void items_init(void *state)
{
        memset(state, 0, sizeof(struct items));
}

static void put(struct items *items, int64_t item, int64_t priority)
{
        uint64_t i = items->n;

        while (i && (order == OBJD_LIFO || (order == OBJD_PRIORITY && items->priority[i - 1] > priority))) {
                items->item[i] = items->item[i - 1];
                items->priority[i] = items->priority[i - 1];
                i--;
        }
        items->item[i] = item;
        items->priority[i] = priority;
        items->n++;
}

static void take(struct items *items)
{
        items->n--;
        memmove(items->item, items->item + 1, items->n * sizeof(*items->item));
        memmove(items->priority, items->priority + 1, items->n * sizeof(*items->priority));
        items->item[items->n] = 0;
        items->priority[items->n] = 0;
}

static bool items_step(void *state, const struct linear_event *e)
{
        struct items *items = state;
        objd_status expected = OBJD_OK;
        int64_t first = items->item[0];

        if (e->op == PUT && items->n == BOUND)
                expected = OBJD_E_FULL;
        if ((e->op == GET || e->op == PEEK) && !items->n)
                expected = OBJD_E_EMPTY;
        if ((objd_status)e->status != expected || expected)
                return (objd_status)e->status == expected;
        switch (e->op) {
        case PUT:
                put(items, e->args[0], order == OBJD_PRIORITY ? e->args[1] : 0);
                return true;
        case GET:
                take(items);
                return e->result == first;
        case PEEK:
                return e->result == first;
        default:
                return e->result == (int64_t)items->n;
        }
}

static const struct linear_model items_model = { sizeof(struct items), items_init, items_step };

static void call(objd_object *queue, struct random *random, objd_buf *buf, struct linear_event *e)
{
        objd_value value = objd_int((int64_t)random_below(random, 1000) + 1), got = objd_nil();
        uint64_t len = 0;

        e->op = random_below(random, 3) ? (uint32_t)random_below(random, 2)
                                        : (uint32_t)random_below(random, N_OPS);
        e->args[0] = value.u.integer;
        e->args[1] = (int64_t)random_below(random, 3) - 1;
        history_begin(e);
        switch (e->op) {
        case PUT:
                e->status =
                        (int32_t)(order == OBJD_PRIORITY
                                          ? objd_queue_put_priority(queue, &value, e->args[1], OBJD_NOWAIT)
                                          : objd_queue_put(queue, &value, OBJD_NOWAIT));
                break;
        case GET:
                e->status = (int32_t)objd_queue_get(queue, &got, buf, OBJD_NOWAIT);
                break;
        case PEEK:
                e->status = (int32_t)objd_queue_peek(queue, &got, buf);
                break;
        default:
                e->status = (int32_t)objd_queue_len(queue, &len);
                break;
        }
        history_end(e);
        e->result = e->op == LEN ? (int64_t)len : got.u.integer;
}

static void the_model_refuses_what_no_queue_does(void **state)
{
        struct linear_event events[] = { { 0, 10, PUT, 0, { 7, 0 }, 0 },
                                         { 20, 30, PUT, 0, { 8, 0 }, 0 },
                                         { 40, 50, GET, 0, { 0, 0 }, 8 } };

        (void)state;
        order = OBJD_FIFO;
        assert_int_equal(linear_check(&items_model, events, 3, 1000), LINEAR_NO);
        order = OBJD_LIFO;
        assert_int_equal(linear_check(&items_model, events, 3, 1000), LINEAR_YES);
        order = OBJD_FIFO;
        events[2].status = OBJD_E_EMPTY;
        assert_int_equal(linear_check(&items_model, events, 3, 1000), LINEAR_NO);
}

static double seconds;

static void run_round(objd_conn *conn, uint64_t seed)
{
        objd_config config = OBJD_CONFIG_INIT;
        struct linear_event *events;
        objd_object *queue;

        config.order = order;
        config.bound = BOUND;
        assert_ok(objd_create(conn, NULL, OBJD_QUEUE, &config, &queue));
        events = history_record(queue, seed, N_EVENTS, call);
        history_judge(&items_model, events, history_workers() * N_EVENTS, op_names);
        history_free(events, N_EVENTS);
        way_check(conn);
        assert_ok(objd_destroy(queue));
        objd_release(queue);
}

static void concurrent_histories_are_linearizable(void **state)
{
        struct random random = random_begin("test-linear-queue");
        int64_t end_ns = test_now_ns() + (int64_t)((seconds > 0 ? seconds : (double)way_few(5, 2)) * 1e9);
        uint64_t used = way_used(*state);

        do
                for (int i = OBJD_FIFO; i <= OBJD_PRIORITY; i++) {
                        order = (objd_order)i;
                        run_round(*state, random_next(&random));
                }
        while (test_now_ns() < end_ns);
        assert_int_equal(way_used(*state), used);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_model_refuses_what_no_queue_does),
                WAY_TEST(concurrent_histories_are_linearizable),
        };

        if (argc > 2)
                seconds = atof(argv[2]);
        return way_run(argc, argv, tests);
}
