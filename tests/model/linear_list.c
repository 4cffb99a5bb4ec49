/* SPDX-License-Identifier: Apache-2.0 */

/*
 * linear_list.c -- calls on one list from several processes and threads, as if they had come one after the other
 *
 * usage: test-linear-list [WAY [SECONDS]]; the way is "handle" or "all" (support/way.h), the seed is OBJD_TEST_SEED.
 */

#include <stdlib.h>
#include <string.h>

#include "model/history.h"
#include "support/way.h"

#define N_EVENTS 40 /* of each worker in a round */
#define ITEMS_MAX 240

enum { APPEND, PREPEND, GET, SET, INSERT, POP, LEN, N_OPS };

static const char *const op_names[] = { "append", "prepend", "get", "set", "insert", "pop", "len" };

/* Items are small numbers; unused places are 0. */
struct items {
        uint64_t n;
        uint8_t item[ITEMS_MAX];
};
_Static_assert(sizeof(struct items) <= LINEAR_STATE_MAX, "the model's state fits");

static void items_init(void *state)
{
        memset(state, 0, sizeof(struct items));
}

static void insert_at(struct items *items, uint64_t i, int64_t item)
{
        memmove(items->item + i + 1, items->item + i, items->n - i);
        items->item[i] = (uint8_t)item;
        items->n++;
}

static uint8_t take_at(struct items *items, uint64_t i)
{
        uint8_t item = items->item[i];

        items->n--;
        memmove(items->item + i, items->item + i + 1, items->n - i);
        items->item[items->n] = 0;
        return item;
}

static bool items_step(void *state, const struct linear_event *e)
{
        struct items *items = state;
        int64_t index = e->args[0] < 0 ? e->args[0] + (int64_t)items->n : e->args[0];
        bool is_inside = index >= 0 && index < (int64_t)items->n;

        if (e->op == GET || e->op == SET || e->op == POP) {
                if ((objd_status)e->status != (is_inside ? OBJD_OK : OBJD_E_RANGE))
                        return false;
                if (!is_inside)
                        return true;
        } else if (e->status) {
                return false;
        }
        switch (e->op) {
        case APPEND:
                insert_at(items, items->n, e->args[1]);
                return true;
        case PREPEND:
                insert_at(items, 0, e->args[1]);
                return true;
        case INSERT:
                insert_at(items, index < 0 ? 0 : is_inside ? (uint64_t)index : items->n, e->args[1]);
                return true;
        case SET:
                items->item[index] = (uint8_t)e->args[1];
                return true;
        case GET:
                return e->result == items->item[index];
        case POP:
                return e->result == take_at(items, (uint64_t)index);
        default:
                return e->result == (int64_t)items->n;
        }
}

static const struct linear_model items_model = { sizeof(struct items), items_init, items_step };

static void call(objd_object *list, struct random *random, objd_buf *buf, struct linear_event *e)
{
        objd_value value = objd_int((int64_t)random_below(random, 200) + 1), got = objd_nil();
        uint64_t len = 0;

        /* As many pops as items: lists stay short, and often empty. */
        e->op = random_below(random, 3) ? (uint32_t)random_below(random, N_OPS) : POP;
        e->args[0] = (int64_t)random_below(random, 5) - 2;
        e->args[1] = value.u.integer;
        history_begin(e);
        switch (e->op) {
        case APPEND:
                e->status = (int32_t)objd_list_append(list, &value);
                break;
        case PREPEND:
                e->status = (int32_t)objd_list_prepend(list, &value);
                break;
        case GET:
                e->status = (int32_t)objd_list_get(list, e->args[0], &got, buf);
                break;
        case SET:
                e->status = (int32_t)objd_list_set(list, e->args[0], &value);
                break;
        case INSERT:
                e->status = (int32_t)objd_list_insert(list, e->args[0], &value);
                break;
        case POP:
                e->status = (int32_t)objd_list_pop(list, e->args[0], &got, buf);
                break;
        default:
                e->status = (int32_t)objd_list_len(list, &len);
                break;
        }
        history_end(e);
        e->result = e->op == LEN ? (int64_t)len : got.u.integer;
}

static void the_model_refuses_what_no_list_does(void **state)
{
        struct linear_event twice[] = { { 0, 10, APPEND, 0, { 0, 7 }, 0 },
                                        { 20, 40, POP, 0, { 0, 1 }, 7 },
                                        { 25, 45, POP, 0, { 0, 1 }, 7 } };
        struct linear_event order[] = { { 0, 10, APPEND, 0, { 0, 7 }, 0 },
                                        { 20, 30, PREPEND, 0, { 0, 8 }, 0 },
                                        { 40, 50, GET, 0, { -1, 1 }, 8 } };

        (void)state;
        assert_int_equal(linear_check(&items_model, twice, 3, 1000), LINEAR_NO);
        assert_int_equal(linear_check(&items_model, order, 3, 1000), LINEAR_NO);
        order[2].result = 7;
        assert_int_equal(linear_check(&items_model, order, 3, 1000), LINEAR_YES);
}

static double seconds;

static void concurrent_histories_are_linearizable(void **state)
{
        struct random random = random_begin("test-linear-list");
        int64_t end_ns = test_now_ns() + (int64_t)((seconds > 0 ? seconds : (double)way_few(5, 2)) * 1e9);
        uint64_t used = way_used(*state);

        do {
                struct linear_event *events;
                objd_object *list;

                assert_ok(objd_create(*state, NULL, OBJD_LIST, NULL, &list));
                events = history_record(list, random_next(&random), N_EVENTS, call);
                history_judge(&items_model, events, history_workers() * N_EVENTS, op_names);
                history_free(events, N_EVENTS);
                way_check(*state);
                assert_ok(objd_destroy(list));
                objd_release(list);
        } while (test_now_ns() < end_ns);
        assert_int_equal(way_used(*state), used);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_model_refuses_what_no_list_does),
                WAY_TEST(concurrent_histories_are_linearizable),
        };

        if (argc > 2)
                seconds = atof(argv[2]);
        return way_run(argc, argv, tests);
}
