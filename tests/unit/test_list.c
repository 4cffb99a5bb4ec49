/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_list.c -- object/list*.c: every operation, its limits, and what becomes of the memory
 */

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "object/list.h"
#include "support/inside.h"
#include "support/random.h"
#include "support/test.h"

static char text[4 << 20]; /* what large values are made of */

static objd_object *list_of_type(objd_conn *conn, objd_type type)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *list = NULL;

        config.value_type = type;
        assert_ok(objd_create(conn, NULL, OBJD_LIST, &config, &list));
        return list;
}

static objd_object *new_list(objd_conn *conn)
{
        return list_of_type(conn, OBJD_ANY);
}

static void free_list(objd_object *list)
{
        assert_ok(objd_destroy(list));
        objd_release(list);
}

static uint64_t len_of(objd_object *list)
{
        uint64_t len = UINT64_MAX;

        assert_ok(objd_list_len(list, &len));
        return len;
}

static void append(objd_object *list, objd_value value)
{
        assert_ok(objd_list_append(list, &value));
}

static void append_ints(objd_object *list, int64_t from, int64_t to)
{
        for (; from < to; from++)
                append(list, objd_int(from));
}

static void assert_item(objd_object *list, int64_t index, objd_value expected)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        assert_ok(objd_list_get(list, index, &value, &buf));
        assert_true(objd_value_equal(&value, &expected));
        objd_buf_free(&buf);
}

/* The whole list, as a slice and item by item. */
static void assert_items(objd_object *list, const objd_value *expected, size_t n)
{
        objd_items *items;

        assert_int_equal(len_of(list), n);
        assert_ok(objd_list_slice(list, 0, OBJD_LIST_END, &items));
        assert_int_equal(items->len, n);
        for (size_t i = 0; i < n; i++) {
                assert_true(objd_value_equal(&items->item[i].value, &expected[i]));
                assert_item(list, (int64_t)i, expected[i]);
                assert_item(list, (int64_t)i - (int64_t)n, expected[i]);
        }
        objd_items_free(items);
}

static void assert_ints(objd_object *list, const int64_t *expected, size_t n)
{
        objd_value *values = calloc(n + 1, sizeof(*values));

        assert_non_null(values);
        for (size_t i = 0; i < n; i++)
                values[i] = objd_int(expected[i]);
        assert_items(list, values, n);
        free(values);
}

#define INTS(list, ...)                                       \
        assert_ints((list), (const int64_t[]){ __VA_ARGS__ }, \
                    sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))

/* The items are from, from + step, and so on. */
static void assert_sequence(objd_object *list, int64_t from, int64_t step, size_t n)
{
        objd_items *items;

        assert_ok(objd_list_slice(list, 0, OBJD_LIST_END, &items));
        assert_int_equal(items->len, n);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(items->item[i].value.u.integer, from + step * (int64_t)i);
        objd_items_free(items);
}

static void new_list_is_empty(void **state)
{
        objd_object *list = new_list(*state);
        objd_value value = objd_int(1);
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;
        uint64_t n = 7;

        assert_int_equal(len_of(list), 0);
        assert_status(objd_list_get(list, 0, &value, &buf), OBJD_E_RANGE);
        assert_status(objd_list_get(list, -1, &value, &buf), OBJD_E_RANGE);
        assert_status(objd_list_pop(list, 0, &value, &buf), OBJD_E_RANGE);
        assert_status(objd_list_pop(list, -1, &value, &buf), OBJD_E_RANGE);
        assert_status(objd_list_del(list, 0), OBJD_E_RANGE);
        assert_status(objd_list_set(list, 0, &value), OBJD_E_RANGE);
        assert_status(objd_list_remove(list, &value), OBJD_E_NOTFOUND);
        assert_status(objd_list_index(list, &value, 0, OBJD_LIST_END, &n), OBJD_E_NOTFOUND);
        assert_int_equal(n, 7);
        assert_ok(objd_list_count(list, &value, &n));
        assert_int_equal(n, 0);
        assert_ok(objd_list_slice(list, 0, OBJD_LIST_END, &items));
        assert_int_equal(items->len, 0);
        objd_items_free(items);
        assert_ok(objd_list_slice_del(list, 0, OBJD_LIST_END));
        assert_ok(objd_list_extend(list, NULL, 0));
        assert_ok(objd_list_reverse(list));
        assert_ok(objd_list_sort(list, true));
        assert_ok(objd_list_clear(list));
        assert_int_equal(inside_memory(list), SLOT_SIZE);
        free_list(list);
}

static void values_of_all_types_come_back_as_they_were(void **state)
{
        static const int64_t data[6] = { 1, -2, 3, -4, 5, -6 };
        const uint64_t shape[2] = { 2, 3 };
        objd_object *list = new_list(*state);
        const objd_value values[] = {
                objd_nil(),
                objd_bool(true),
                objd_bool(false),
                objd_int(INT64_MIN),
                objd_float(-0.0),
                objd_float(NAN),
                objd_cstr(""),
                objd_cstr("\xc3\xa9t\xc3\xa9"),
                objd_str("nul\0inside", 10),
                objd_bytes("\xff\x00\xfe", 3),
                objd_bytes("", 0),
                objd_array(OBJD_I64, 2, shape, data),
                objd_array(OBJD_U8, 0, NULL, "x"),
                objd_message("some.Message", "\x08\x01", 2),
                objd_refer(objd_ref_of(list)),
        };
        size_t n = sizeof(values) / sizeof(*values);

        for (size_t i = 0; i < n; i++)
                append(list, values[i]);
        assert_items(list, values, n);
        assert_ok(objd_list_clear(list));
        assert_ok(objd_list_extend(list, values, n));
        assert_items(list, values, n);
        free_list(list);
}

static void both_ends_grow(void **state)
{
        objd_object *list = new_list(*state);

        for (int64_t i = 0; i < 5000; i++) {
                objd_value front = objd_int(-i - 1), back = objd_int(i);

                assert_ok(objd_list_prepend(list, &front));
                assert_ok(objd_list_append(list, &back));
        }
        assert_sequence(list, -5000, 1, 10000);
        free_list(list);
}

static void insert_goes_before_the_index_and_cuts_it_to_the_ends(void **state)
{
        static const int64_t at[] = { 0, 1, 1, -1, -100, 100, -6, INT64_MIN, INT64_MAX };
        objd_object *list = new_list(*state);

        for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
                objd_value value = objd_int((int64_t)i);

                assert_ok(objd_list_insert(list, at[i], &value));
        }
        INTS(list, 7, 6, 4, 0, 2, 3, 1, 5, 8);
        free_list(list);
}

static void negative_indices_count_from_the_end(void **state)
{
        objd_object *list = new_list(*state);
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value = objd_int(40);

        append_ints(list, 0, 6);
        assert_ok(objd_list_set(list, -2, &value));
        assert_ok(objd_list_del(list, -6));
        assert_ok(objd_list_pop(list, -2, &value, &buf));
        assert_int_equal(value.u.integer, 40);
        assert_ok(objd_list_pop(list, 1, &value, &buf));
        assert_int_equal(value.u.integer, 2);
        INTS(list, 1, 3, 5);
        objd_buf_free(&buf);
        free_list(list);
}

static void indices_outside_are_refused_and_change_nothing(void **state)
{
        static const int64_t outside[] = { 3, -4, INT64_MAX, INT64_MIN };
        objd_object *list;
        objd_value value = objd_int(9);
        objd_buf buf = OBJD_BUF_INIT;

        assert_ok(objd_create(*state, "numbers", OBJD_LIST, NULL, &list));
        append_ints(list, 0, 3);
        for (size_t i = 0; i < sizeof(outside) / sizeof(*outside); i++) {
                assert_status(objd_list_get(list, outside[i], &value, &buf), OBJD_E_RANGE);
                assert_status(objd_list_set(list, outside[i], &value), OBJD_E_RANGE);
                assert_status(objd_list_del(list, outside[i]), OBJD_E_RANGE);
                assert_status(objd_list_pop(list, outside[i], &value, &buf), OBJD_E_RANGE);
        }
        assert_sentence(objd_list_get(list, -4, &value, &buf), OBJD_E_RANGE,
                        "list \"numbers\": there is no item -4, it has 3");
        INTS(list, 0, 1, 2);
        objd_buf_free(&buf);
        free_list(list);
}

static void slices_are_cut_to_what_is_there(void **state)
{
        static const struct {
                int64_t start, stop;
                int64_t first, len;
        } some[] = {
                { 0, OBJD_LIST_END, 0, 10 },
                { 3, 5, 3, 2 },
                { -3, OBJD_LIST_END, 7, 3 },
                { -100, 2, 0, 2 },
                { 8, 100, 8, 2 },
                { 5, 5, 0, 0 },
                { 6, 2, 0, 0 },
                { 2, -2, 2, 6 },
                { -1, 0, 0, 0 },
                { INT64_MIN, INT64_MAX, 0, 10 },
                { 10, 20, 0, 0 },
                { -2, -1, 8, 1 },
        };
        objd_object *list = new_list(*state);
        objd_items *items;

        append_ints(list, 0, 10);
        for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
                assert_ok(objd_list_slice(list, some[i].start, some[i].stop, &items));
                assert_int_equal(items->len, some[i].len);
                for (size_t k = 0; k < items->len; k++)
                        assert_int_equal(items->item[k].value.u.integer, some[i].first + (int64_t)k);
                objd_items_free(items);
        }
        assert_ok(objd_list_slice_del(list, 6, 2));
        assert_ok(objd_list_slice_del(list, -2, 100));
        assert_ok(objd_list_slice_del(list, 1, 3));
        INTS(list, 0, 3, 4, 5, 6, 7);
        free_list(list);
}

static void wrong_types_are_refused_and_change_nothing(void **state)
{
        objd_object *list = list_of_type(*state, OBJD_INT);
        objd_value wrong = objd_float(1), values[] = { objd_int(1), objd_int(2), objd_cstr("three") };

        append(list, objd_int(0));
        assert_status(objd_list_append(list, &wrong), OBJD_E_TYPE);
        assert_status(objd_list_prepend(list, &wrong), OBJD_E_TYPE);
        assert_status(objd_list_insert(list, 0, &wrong), OBJD_E_TYPE);
        assert_status(objd_list_set(list, 0, &wrong), OBJD_E_TYPE);
        assert_status(objd_list_extend(list, values, 3), OBJD_E_TYPE);
        INTS(list, 0);
        assert_ok(objd_list_extend(list, values, 2));
        INTS(list, 0, 1, 2);
        free_list(list);
}

static void bad_arguments_are_refused(void **state)
{
        objd_object *list = new_list(*state), *dict = inside_dict(*state, NULL);
        objd_value good = objd_int(1), bad = objd_str("\xff", 1), none = { 0 }, values[2] = { good, bad };
        objd_buf buf = OBJD_BUF_INIT;
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *other;
        uint64_t n;

        assert_status(objd_list_append(NULL, &good), OBJD_E_INVAL);
        assert_status(objd_list_append(list, NULL), OBJD_E_INVAL);
        assert_status(objd_list_append(list, &bad), OBJD_E_INVAL);
        assert_status(objd_list_append(list, &none), OBJD_E_INVAL);
        assert_status(objd_list_extend(list, NULL, 1), OBJD_E_INVAL);
        assert_status(objd_list_extend(list, values, 2), OBJD_E_INVAL);
        assert_status(objd_list_get(list, 0, NULL, &buf), OBJD_E_INVAL);
        assert_status(objd_list_get(list, 0, &good, NULL), OBJD_E_INVAL);
        assert_status(objd_list_pop(list, 0, NULL, &buf), OBJD_E_INVAL);
        assert_status(objd_list_slice(list, 0, 1, NULL), OBJD_E_INVAL);
        assert_status(objd_list_len(list, NULL), OBJD_E_INVAL);
        assert_status(objd_list_index(list, NULL, 0, 1, &n), OBJD_E_INVAL);
        assert_status(objd_list_index(list, &good, 0, 1, NULL), OBJD_E_INVAL);
        assert_status(objd_list_count(list, &good, NULL), OBJD_E_INVAL);
        assert_status(objd_list_append(dict, &good), OBJD_E_KIND);
        assert_status(objd_list_len(dict, &n), OBJD_E_KIND);
        assert_int_equal(len_of(list), 0);
        config.bound = 5;
        assert_status(objd_create(*state, "x", OBJD_LIST, &config, &other), OBJD_E_INVAL);
        objd_buf_free(&buf);
        free_list(dict);
        free_list(list);
}

static void values_of_all_sizes_come_and_go(void **state)
{
        static const size_t sizes[] = { 0,    1,    7,    8,     9,     500,    2039,   2040, 2041,    2047,
                                        2048, 2049, 4096, 10000, 65536, 100000, 300000, 8000, 3 << 20, 1 };
        size_t n = sizeof(sizes) / sizeof(*sizes);
        uint64_t used = inside_used(*state);
        objd_object *list = new_list(*state);
        objd_value values[sizeof(sizes) / sizeof(*sizes)];

        for (size_t i = 0; i < n; i++) {
                values[i] = objd_bytes(text + i, sizes[i]);
                append(list, values[i]);
        }
        assert_items(list, values, n);
        /* Each size takes the place of each other one. */
        for (size_t turn = 1; turn < n; turn += 3) {
                for (size_t i = 0; i < n; i++) {
                        values[i] = objd_bytes(text + turn, sizes[(i + turn) % n]);
                        assert_ok(objd_list_set(list, (int64_t)i, &values[i]));
                }
                assert_items(list, values, n);
        }
        inside_check(*state);
        assert_ok(objd_list_sort(list, false));
        assert_ok(objd_list_slice_del(list, 1, -1));
        assert_int_equal(len_of(list), 2);
        assert_ok(objd_list_clear(list));
        assert_int_equal(inside_memory(list), SLOT_SIZE);
        free_list(list);
        assert_int_equal(inside_used(*state), used);
}

static void equality_is_by_type_and_bytes(void **state)
{
        objd_object *list = new_list(*state);
        objd_value needle = objd_int(1), nan = objd_float(NAN);
        uint64_t n;

        append(list, objd_float(1));
        append(list, objd_bool(true));
        append(list, objd_cstr("1"));
        append(list, objd_int(1));
        append(list, objd_float(0.0));
        append(list, objd_float(NAN));
        append(list, objd_bytes("1", 1));
        append(list, objd_int(1));
        assert_ok(objd_list_index(list, &needle, 0, OBJD_LIST_END, &n));
        assert_int_equal(n, 3);
        assert_ok(objd_list_index(list, &needle, 4, OBJD_LIST_END, &n));
        assert_int_equal(n, 7);
        assert_status(objd_list_index(list, &needle, 4, 7, &n), OBJD_E_NOTFOUND);
        assert_ok(objd_list_index(list, &needle, -1, OBJD_LIST_END, &n));
        assert_int_equal(n, 7);
        assert_ok(objd_list_count(list, &needle, &n));
        assert_int_equal(n, 2);
        assert_ok(objd_list_index(list, &nan, 0, OBJD_LIST_END, &n));
        assert_int_equal(n, 5);
        needle = objd_float(-0.0);
        assert_status(objd_list_remove(list, &needle), OBJD_E_NOTFOUND);
        needle = objd_int(1);
        assert_ok(objd_list_remove(list, &needle));
        assert_ok(objd_list_remove(list, &needle));
        assert_status(objd_list_remove(list, &needle), OBJD_E_NOTFOUND);
        assert_int_equal(len_of(list), 6);
        free_list(list);
}

static void big_values_are_found(void **state)
{
        objd_object *list = new_list(*state);
        objd_value almost = objd_bytes(text + 1, 50000), needle = objd_bytes(text, 50000);
        uint64_t n;

        append(list, almost);
        append(list, needle);
        append(list, needle);
        assert_ok(objd_list_index(list, &needle, 0, OBJD_LIST_END, &n));
        assert_int_equal(n, 1);
        assert_ok(objd_list_count(list, &needle, &n));
        assert_int_equal(n, 2);
        assert_ok(objd_list_remove(list, &needle));
        assert_items(list, (const objd_value[]){ almost, needle }, 2);
        free_list(list);
}

/* ---- Order -------------------------------------------------------------------------------------------- */

static void sort_orders_types_and_then_values(void **state)
{
        objd_object *list = new_list(*state);
        const objd_value sorted[] = {
                objd_nil(),
                objd_bool(false),
                objd_bool(true),
                objd_float(-INFINITY),
                objd_int(-3),
                objd_float(-2.5),
                objd_int(7),
                objd_float(1e300),
                objd_float(INFINITY),
                objd_float(NAN),
                objd_cstr(""),
                objd_cstr("a"),
                objd_cstr("abcdefgh"),
                objd_cstr("abcdefghi"),
                objd_cstr("b"),
                objd_bytes("", 0),
                objd_bytes("a", 1),
                objd_bytes("\xff", 1),
                objd_message("m", "x", 1),
                objd_refer((objd_ref){ 4, 1 }),
                objd_refer((objd_ref){ 1, 2 }),
        };
        size_t n = sizeof(sorted) / sizeof(*sorted);
        objd_value reversed[sizeof(sorted) / sizeof(*sorted)];

        for (size_t i = 0; i < n; i++) {
                append(list, sorted[i * 8 % n]); /* 8 and 21 have no common divisor */
                reversed[i] = sorted[n - 1 - i];
        }
        assert_ok(objd_list_sort(list, false));
        assert_items(list, sorted, n);
        assert_ok(objd_list_sort(list, true));
        assert_items(list, reversed, n);
        free_list(list);
}

/* 1 and 1.0 are equal for the sort, and can be told apart. */
static void sort_keeps_the_order_of_equals_both_ways(void **state)
{
        objd_object *list = new_list(*state);
        objd_value values[60];

        for (size_t i = 0; i < 60; i++) {
                values[i] = i % 3 ? objd_int((int64_t)(i / 20)) : objd_float((double)(i / 20));
                append(list, values[i]);
        }
        assert_ok(objd_list_sort(list, false));
        assert_items(list, values, 60);
        assert_ok(objd_list_sort(list, true));
        for (size_t i = 0; i < 60; i++)
                assert_item(list, (int64_t)i, values[(2 - i / 20) * 20 + i % 20]);
        free_list(list);
}

static void sort_of_many_is_right(void **state)
{
        objd_object *list = new_list(*state);
        struct random random = { 5 };

        for (size_t i = 0; i < 40000; i++)
                append(list, objd_int((int64_t)(i * 7919 % 40000)));
        assert_ok(objd_list_sort(list, false));
        assert_sequence(list, 0, 1, 40000);
        for (size_t i = 0; i < 1000; i++) {
                int64_t at = (int64_t)random_below(&random, 40000);

                assert_item(list, at, objd_int(at));
        }
        assert_ok(objd_list_sort(list, true));
        assert_sequence(list, 39999, -1, 40000);
        inside_check(*state);
        free_list(list);
}

static void reversed_list_grows_at_both_ends(void **state)
{
        objd_object *list = new_list(*state);
        objd_value value;

        append_ints(list, 0, 2000);
        assert_ok(objd_list_reverse(list));
        assert_sequence(list, 1999, -1, 2000);
        for (int64_t i = 0; i < 1500; i++) {
                value = objd_int(-1 - i);
                assert_ok(objd_list_append(list, &value));
                value = objd_int(2000 + i);
                assert_ok(objd_list_prepend(list, &value));
        }
        assert_sequence(list, 3499, -1, 5000);
        value = objd_int(7777);
        assert_ok(objd_list_insert(list, 2500, &value));
        assert_item(list, 2500, value);
        assert_ok(objd_list_del(list, 2500));
        assert_ok(objd_list_reverse(list));
        assert_sequence(list, -1500, 1, 5000);
        free_list(list);
}

/* ---- Many items, and memory --------------------------------------------------------------------------- */

static void small_list_costs_one_small_chunk(void **state)
{
        objd_object *list = new_list(*state);

        append(list, objd_int(1));
        append(list, objd_cstr("sixteen bytes ok"));
        append(list, objd_float(3));
        assert_int_equal(inside_memory(list), SLOT_SIZE + 256);
        free_list(list);
}

static void emptied_list_gives_its_memory_back(void **state)
{
        uint64_t used = inside_used(*state);
        objd_object *list = new_list(*state);
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        for (int turn = 0; turn < 4; turn++) {
                append_ints(list, 0, 100000);
                assert_true(inside_memory(list) < 100000 * 17 + 20000);
                for (int64_t i = 0; i < 100000; i++) {
                        bool front = turn == 0 || (turn == 2 && i % 2 == 0);

                        assert_ok(objd_list_pop(list,
                                                turn == 3 ? (int64_t)len_of(list) / 2
                                                : front   ? 0
                                                          : -1,
                                                &value, &buf));
                        if (turn < 2)
                                assert_int_equal(value.u.integer, turn ? 99999 - i : i);
                }
                assert_int_equal(len_of(list), 0);
                assert_true(inside_memory(list) <= SLOT_SIZE + 512);
        }
        objd_buf_free(&buf);
        free_list(list);
        assert_int_equal(inside_used(*state), used);
}

/* A list that is filled at one end and emptied at the other stays as small as what is in it. */
static void list_used_as_a_queue_stays_small(void **state)
{
        objd_object *list = new_list(*state);
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        for (int64_t i = 0; i < 200000; i++) {
                append(list, objd_int(i));
                if (i < 100)
                        continue;
                assert_ok(objd_list_pop(list, 0, &value, &buf));
                assert_int_equal(value.u.integer, i - 100);
        }
        assert_true(inside_memory(list) <= SLOT_SIZE + 3 * 8192);
        objd_buf_free(&buf);
        free_list(list);
}

/* Leaves and nodes that have become nearly empty are joined, whatever is deleted. */
static void thinned_out_list_shrinks(void **state)
{
        objd_object *list = new_list(*state);
        uint64_t full;
        size_t kept = 0;

        for (size_t i = 0; i < 4000; i++)
                append(list, objd_bytes(text + i, 1000));
        full = inside_memory(list);
        for (size_t i = 0; i < 4000; i++) {
                if (i % 16 == 5)
                        kept++;
                else
                        assert_ok(objd_list_del(list, (int64_t)kept));
        }
        assert_int_equal(len_of(list), kept);
        for (size_t i = 0; i < kept; i++)
                assert_item(list, (int64_t)i, objd_bytes(text + i * 16 + 5, 1000));
        assert_true(inside_memory(list) < full / 4);
        inside_check(*state);
        free_list(list);
}

static void slice_del_cuts_a_large_list_anywhere(void **state)
{
        static const int64_t cuts[][2] = { { 100, 200 },     { 0, 7000 },  { 50000, OBJD_LIST_END },
                                           { 20000, 49000 }, { 500, 501 }, { -300, -1 },
                                           { 1, 12000 } };
        objd_object *list = new_list(*state);
        int64_t *expected = malloc(100000 * sizeof(*expected));
        size_t len = 100000;

        assert_non_null(expected);
        for (int64_t i = 0; i < 100000; i++)
                expected[i] = i;
        append_ints(list, 0, 100000);
        for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
                size_t from = list_clip(cuts[i][0], len), to = list_clip(cuts[i][1], len);

                assert_ok(objd_list_slice_del(list, cuts[i][0], cuts[i][1]));
                memmove(expected + from, expected + to, (len - to) * sizeof(*expected));
                len -= to - from;
                assert_ints(list, expected, len);
                inside_check(*state);
        }
        free(expected);
        free_list(list);
}

static void inserts_in_the_middle_keep_the_order(void **state)
{
        objd_object *list = new_list(*state);
        objd_value value;

        for (int64_t i = 0; i < 30000; i++) {
                value = objd_int(i % 2 ? 60000 - i : i);
                assert_ok(objd_list_insert(list, (i + 1) / 2, &value));
        }
        for (int64_t i = 0; i < 15000; i++) {
                assert_item(list, i, objd_int(2 * i));
                assert_item(list, -1 - i, objd_int(60000 - 1 - 2 * i));
        }
        inside_check(*state);
        free_list(list);
}

static void extend_of_many_is_one_step(void **state)
{
        objd_object *list = new_list(*state);
        objd_value *values = calloc(50000, sizeof(*values));

        assert_non_null(values);
        for (int64_t i = 0; i < 50000; i++)
                values[i] = objd_int(i);
        assert_ok(objd_list_extend(list, values, 50000));
        assert_sequence(list, 0, 1, 50000);
        values[49999] = objd_str("\xff", 1);
        assert_status(objd_list_extend(list, values, 50000), OBJD_E_INVAL);
        assert_sequence(list, 0, 1, 50000);
        free(values);
        free_list(list);
}

static void full_arena_refuses_and_still_deletes(void **state)
{
        objd_value value = objd_bytes(text, 1500), values[100];
        objd_object *list;
        objd_conn *conn;
        uint64_t len;
        objd_status r;

        (void)state;
        for (size_t i = 0; i < 100; i++)
                values[i] = objd_bytes(text + i, 30000);
        assert_ok(objd_connect("embedded:2M", &conn));
        list = new_list(conn);
        do
                r = objd_list_append(list, &value);
        while (r == OBJD_OK);
        assert_int_equal(r, OBJD_E_NOMEM);
        len = len_of(list);
        assert_true(len > 1000);
        assert_status(objd_list_extend(list, values, 100), OBJD_E_NOMEM);
        assert_status(objd_list_insert(list, 0, &values[0]), OBJD_E_NOMEM);
        assert_status(objd_list_set(list, 5, &values[0]), OBJD_E_NOMEM);
        assert_int_equal(len_of(list), len);
        inside_check(conn);
        for (uint64_t i = 0; i < len; i++)
                assert_ok(objd_list_del(list, i % 2 ? -1 : (int64_t)len_of(list) / 2));
        append(list, value);
        free_list(list);
        inside_check(conn);
        objd_close(conn);
}

static void full_arena_still_cuts_and_clears(void **state)
{
        objd_value value = objd_bytes(text, 100);
        objd_object *list;
        objd_conn *conn;

        (void)state;
        assert_ok(objd_connect("embedded:4M", &conn));
        list = new_list(conn);
        for (int turn = 0; turn < 2; turn++) {
                while (objd_list_append(list, &value) == OBJD_OK)
                        ;
                if (turn)
                        assert_ok(objd_list_clear(list));
                else
                        assert_ok(objd_list_slice_del(list, 50, -50));
                assert_int_equal(len_of(list), turn ? 0 : 100);
        }
        free_list(list);
        inside_check(conn);
        objd_close(conn);
}

/* ---- Several operations as one ------------------------------------------------------------------------ */

/*
 * What one step of a batch takes off a leaf, the next may fill with something else; if a third one fails, the first
 * item must be there again, also its bytes.
 */
static void undone_batch_leaves_what_it_took_off_and_wrote_over(void **state)
{
        objd_object *list = new_list(*state);
        objd_value other = objd_cstr("something else, of the same size"), front = objd_int(-5);
        objd_batch *batch;
        size_t failed = 0;

        append_ints(list, 0, 3);
        append(list, objd_cstr("here since before the batch"));
        assert_ok(objd_batch_new(*state, &batch));
        for (int i = 0; i < 4; i++)
                assert_ok(objd_batch_list_pop(batch, list, i % 2 ? 0 : -1));
        for (int i = 0; i < 20; i++)
                assert_ok(objd_batch_list_append(batch, list, i % 3 ? &other : &front));
        assert_ok(objd_batch_list_prepend(batch, list, &front));
        assert_ok(objd_batch_list_set(batch, list, 500, &front));
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_RANGE);
        assert_int_equal(failed, 25);
        assert_items(list,
                     (const objd_value[]){ objd_int(0), objd_int(1), objd_int(2),
                                           objd_cstr("here since before the batch") },
                     4);
        inside_check(*state);
        objd_batch_free(batch);
        free_list(list);
}

static void batch_sees_what_it_has_done(void **state)
{
        objd_object *list = new_list(*state);
        objd_value value = objd_cstr("x"), big = objd_bytes(text, 100000), result;
        objd_batch *batch;

        assert_ok(objd_batch_new(*state, &batch));
        assert_ok(objd_batch_list_append(batch, list, &value));
        assert_ok(objd_batch_list_append(batch, list, &big));
        assert_ok(objd_batch_list_get(batch, list, 1));
        assert_ok(objd_batch_list_insert(batch, list, 1, &value));
        assert_ok(objd_batch_list_pop(batch, list, -1));
        assert_ok(objd_batch_list_del(batch, list, 0));
        assert_ok(objd_batch_commit(batch, NULL));
        assert_ok(objd_batch_result(batch, 2, &result));
        assert_true(objd_value_equal(&result, &big));
        assert_ok(objd_batch_result(batch, 4, &result));
        assert_true(objd_value_equal(&result, &big));
        assert_items(list, &value, 1);
        objd_batch_free(batch);
        free_list(list);
}

/* ---- Other ways to read ------------------------------------------------------------------------------- */

static void pinned_value_outlives_its_item(void **state)
{
        objd_object *list = new_list(*state);
        objd_value small, large, expected = objd_bytes(text, 200000);
        objd_pin *small_pin, *large_pin;

        append(list, objd_cstr("small"));
        append(list, expected);
        assert_ok(objd_list_pin(list, 0, &small, &small_pin));
        assert_ok(objd_list_pin(list, -1, &large, &large_pin));
        assert_status(objd_list_pin(list, 2, &large, &large_pin), OBJD_E_RANGE);
        free_list(list);
        list = new_list(*state);
        for (size_t i = 0; i < 20; i++)
                append(list, objd_bytes(text + 1000 + i, 200000));
        assert_true(objd_value_equal(&large, &expected));
        expected = objd_cstr("small");
        assert_true(objd_value_equal(&small, &expected));
        objd_unpin(small_pin);
        objd_unpin(large_pin);
        free_list(list);
}

static void cursor_goes_through_all_items(void **state)
{
        objd_object *list = new_list(*state);
        objd_cursor *cursor;
        objd_value value;

        append_ints(list, 0, 1000);
        assert_ok(objd_cursor_new(list, &cursor));
        for (int64_t i = 0; i < 1000; i++) {
                assert_ok(objd_cursor_next(cursor, NULL, &value));
                assert_int_equal(value.u.integer, i);
        }
        assert_status(objd_cursor_next(cursor, NULL, &value), OBJD_E_NOTFOUND);
        objd_cursor_free(cursor);
        free_list(list);
}

struct walked {
        int64_t n;
        int64_t stop; /* where the walk is to be ended; -1 nowhere */
};

static objd_status count_walked(void *context, const objd_value *key, const objd_value *value)
{
        struct walked *walked = context;

        assert_null(key);
        assert_int_equal(value->u.integer, walked->n);
        return walked->n++ == walked->stop ? OBJD_E_TIMEOUT : OBJD_OK;
}

static void walk_is_limited_and_can_be_ended(void **state)
{
        objd_object *list = new_list(*state);
        struct walked walked = { 0, -1 };

        append_ints(list, 0, 1000);
        assert_ok(list_kind.walk(list, UINT64_MAX, count_walked, &walked));
        assert_int_equal(walked.n, 1000);
        walked = (struct walked){ 0, -1 };
        assert_ok(list_kind.walk(list, 300, count_walked, &walked));
        assert_int_equal(walked.n, 300);
        walked = (struct walked){ 0, 200 };
        assert_status(list_kind.walk(list, UINT64_MAX, count_walked, &walked), OBJD_E_TIMEOUT);
        assert_int_equal(walked.n, 201);
        free_list(list);
}

static void deleted_list_is_gone_for_every_call(void **state)
{
        objd_object *list = new_list(*state), *after;
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value = objd_int(1);
        objd_items *items;
        uint64_t n;

        append_ints(list, 0, 10);
        assert_ok(objd_destroy(list));
        after = new_list(*state);
        append_ints(after, 0, 3);
        assert_status(objd_list_append(list, &value), OBJD_E_GONE);
        assert_status(objd_list_get(list, 0, &value, &buf), OBJD_E_GONE);
        assert_status(objd_list_pop(list, 0, &value, &buf), OBJD_E_GONE);
        assert_status(objd_list_len(list, &n), OBJD_E_GONE);
        assert_status(objd_list_slice(list, 0, 1, &items), OBJD_E_GONE);
        assert_status(objd_list_count(list, &value, &n), OBJD_E_GONE);
        assert_status(objd_list_sort(list, false), OBJD_E_GONE);
        INTS(after, 0, 1, 2);
        objd_buf_free(&buf);
        objd_release(list);
        free_list(after);
}

/* ---- Together with others ----------------------------------------------------------------------------- */

struct turner {
        objd_object *list;
        bool stop; /* atomic */
};

static void *turn_round(void *context)
{
        struct turner *turner = context;

        while (!__atomic_load_n(&turner->stop, __ATOMIC_RELAXED))
                if (objd_list_reverse(turner->list) != OBJD_OK)
                        return turner;
        return NULL;
}

/* A slice of a list that never stands still is still as of one moment, and comes to an end. */
static void long_read_is_not_starved(void **state)
{
        struct turner turner = { .list = new_list(*state) };
        pthread_t thread;
        void *failed;

        append_ints(turner.list, 0, 3000);
        assert_int_equal(pthread_create(&thread, NULL, turn_round, &turner), 0);
        for (int i = 0; i < 200; i++) {
                objd_items *items;
                uint64_t n = 0;
                objd_value value = objd_int(1500);

                assert_ok(objd_list_slice(turner.list, 0, OBJD_LIST_END, &items));
                assert_int_equal(items->len, 3000);
                for (int64_t k = 0; k < 3000; k++)
                        n += items->item[k].value.u.integer ==
                             (items->item[0].value.u.integer ? 2999 - k : k);
                assert_int_equal(n, 3000);
                objd_items_free(items);
                assert_ok(objd_list_count(turner.list, &value, &n));
                assert_int_equal(n, 1);
                assert_ok(objd_list_len(turner.list, &n));
                assert_int_equal(n, 3000);
        }
        __atomic_store_n(&turner.stop, true, __ATOMIC_RELAXED);
        assert_int_equal(pthread_join(thread, &failed), 0);
        assert_null(failed);
        free_list(turner.list);
}

struct holder {
        objd_object *list;
        pthread_barrier_t held, done;
        bool ok;
};

static void *hold(void *context)
{
        struct holder *holder = context;
        struct lane *lane;

        holder->ok = lane_enter(holder->list->conn->arena, 0, &lane) == OBJD_OK;
        txn_begin(lane, OP_LIST_APPEND);
        holder->ok &= lock_take(lane, &holder->list->shm->line) == OBJD_OK;
        (void)pthread_barrier_wait(&holder->held);
        (void)pthread_barrier_wait(&holder->done);
        txn_abort(lane);
        lane_leave(lane);
        return NULL;
}

static void calls_on_a_list_that_somebody_holds_give_up(void **state)
{
        struct holder holder = { .list = new_list(*state) };
        objd_value value = objd_int(1);
        objd_buf buf = OBJD_BUF_INIT;
        pthread_t thread;

        append_ints(holder.list, 0, 3);
        (void)pthread_barrier_init(&holder.held, NULL, 2);
        (void)pthread_barrier_init(&holder.done, NULL, 2);
        assert_int_equal(pthread_create(&thread, NULL, hold, &holder), 0);
        (void)pthread_barrier_wait(&holder.held);
        assert_true(holder.ok);
        objd_next_timeout(1000000);
        assert_status(objd_list_get(holder.list, 0, &value, &buf), OBJD_E_BUSY);
        objd_next_timeout(1000000);
        assert_status(objd_list_append(holder.list, &value), OBJD_E_BUSY);
        (void)pthread_barrier_wait(&holder.done);
        assert_int_equal(pthread_join(thread, NULL), 0);
        INTS(holder.list, 0, 1, 2);
        objd_buf_free(&buf);
        free_list(holder.list);
}

/* ---- Damage ------------------------------------------------------------------------------------------- */

/* Every call comes back, and those that meet the damage say so. */
static void call_everything(objd_object *list)
{
        objd_value value = objd_int(3), taken;
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;
        uint64_t n;

        (void)objd_list_len(list, &n);
        for (int64_t i = -2000; i < 2000; i += 37)
                (void)objd_list_get(list, i, &taken, &buf);
        if (objd_list_slice(list, 0, OBJD_LIST_END, &items) == OBJD_OK)
                objd_items_free(items);
        (void)objd_list_count(list, &value, &n);
        objd_buf_free(&buf);
}

/* Puts a wrong word into the list, sees that it is noticed, and puts the right one back. */
static void assert_noticed(objd_conn *conn, objd_object *list, uint64_t *word, uint64_t wrong)
{
        uint64_t right = *word, n = 0;
        objd_value value = objd_float(3);
        objd_status r;

        *word = wrong;
        call_everything(list);
        r = objd_list_remove(list, &value);
        assert_true(r == OBJD_E_CORRUPT || r == OBJD_E_NOTFOUND);
        r = objd_list_count(list, &value, &n);
        assert_true(r == OBJD_E_CORRUPT || r == OBJD_OK);
        assert_true(inside_faults(conn) > 0);
        *word = right;
}

static void damage_is_noticed_and_survived(void **state)
{
        objd_object *list = new_list(*state);
        struct arena *arena = list->conn->arena;
        uint64_t *root = list->shm->line.root;
        struct list_node_shm *node;
        struct list_leaf_shm *leaf;

        append_ints(list, 0, 2000);
        node = (struct list_node_shm *)(arena->base + root[LIST_TREE]);
        leaf = (struct list_leaf_shm *)(arena->base + root[LIST_LAST]);
        for (uint32_t i = LIST_LEN; i <= LIST_LAST; i++) {
                assert_noticed(*state, list, &root[i], root[i] + 1);
                assert_noticed(*state, list, &root[i], ~0ULL);
                assert_noticed(*state, list, &root[i], 1ULL << 40);
        }
        assert_noticed(*state, list, &root[LIST_TREE], root[LIST_LAST]);
        assert_noticed(*state, list, &root[LIST_TREE], 0);
        assert_noticed(*state, list, &node->state, node->state + 1);
        assert_noticed(*state, list, &node->state, node->state | 0xffff);
        assert_noticed(*state, list, &node->entry[1].start, node->entry[1].start + 1);
        assert_noticed(*state, list, &node->entry[1].start, ~0ULL);
        assert_noticed(*state, list, &node->entry[1].child, node->entry[0].child);
        assert_noticed(*state, list, &node->entry[1].child, root[LIST_TREE]);
        assert_noticed(*state, list, &node->entry[1].child, ~7ULL);
        assert_noticed(*state, list, &leaf->state, 0);
        assert_noticed(*state, list, &leaf->state, leaf->state - 1);
        assert_noticed(*state, list, &leaf->state, leaf->state | 0x7ff);
        assert_noticed(*state, list, &leaf->table[2], leaf->table[3]);
        assert_noticed(*state, list, &leaf->table[2], ~0ULL);
        assert_noticed(*state, list, &leaf->table[2], 0);
        assert_item(list, 1999, objd_int(1999));
        append(list, objd_int(2000));
        free_list(list);
}

/*
 * A word of the list: of its root, or of a leaf or node, but not of a chunk's head, which is the pool's. Chosen while the list
 * is sound.
 */
static uint64_t *random_word(objd_object *list, struct random *random)
{
        struct arena *arena = list->conn->arena;
        uint64_t *root = list->shm->line.root;

        switch (random_below(random, 4)) {
        case 0:
                return &root[random_below(random, 4)];
        case 1:
                return (uint64_t *)(arena->base + root[LIST_TREE]) + 4 +
                       random_below(random, random_below(random, 2) ? 2 : 20);
        default:
                return (uint64_t *)(arena->base + root[LIST_LAST]) + 4 +
                       random_below(random, random_below(random, 2) ? 6 : 1020);
        }
}

static uint64_t random_wrong(struct random *random, uint64_t right)
{
        switch (random_below(random, 4)) {
        case 0:
                return right ^ 1ULL << random_below(random, 64);
        case 1:
                return right + random_below(random, 64) - 32;
        case 2:
                return random_next(random) >> random_below(random, 64);
        default:
                return random_below(random, 2) ? 0 : ~0ULL;
        }
}

/* The operations that change a damaged list: whatever they say, they come back. */
static void change_everything(objd_object *list, struct random *random)
{
        objd_value value = objd_bytes(text, random_below(random, 3000)), taken;
        objd_buf buf = OBJD_BUF_INIT;

        for (int i = 0; i < 20; i++) {
                int64_t index = (int64_t)random_below(random, 2000);

                (void)objd_list_append(list, &value);
                (void)objd_list_prepend(list, &value);
                (void)objd_list_insert(list, index, &value);
                (void)objd_list_set(list, index, &value);
                (void)objd_list_del(list, index);
                (void)objd_list_pop(list, i % 2 ? -1 : 0, &taken, &buf);
                (void)objd_list_slice_del(list, index, index + 30);
        }
        (void)objd_list_sort(list, false);
        (void)objd_list_reverse(list);
        (void)objd_list_slice_del(list, 5, -5);
        (void)objd_list_clear(list);
        objd_buf_free(&buf);
}

static void random_damage_crashes_nothing(void **state)
{
        struct random random = random_begin("test-list");

        (void)state;
        for (int round = 0; round < 150; round++) {
                uint64_t *words[3];
                objd_object *list;
                objd_conn *conn;

                assert_ok(objd_connect("embedded:4M", &conn));
                list = new_list(conn);
                for (int64_t i = 0; i < 1600; i++)
                        append(list, i % 50 ? objd_int(i) : objd_bytes(text, 4000));
                for (size_t i = 0; i < 3; i++)
                        words[i] = random_word(list, &random);
                for (size_t i = random_below(&random, 3); i < 3; i++)
                        *words[i] = random_wrong(&random, *words[i]);
                call_everything(list);
                change_everything(list, &random);
                objd_release(list);
                objd_close(conn);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(new_list_is_empty),
                INSIDE_TEST(values_of_all_types_come_back_as_they_were),
                INSIDE_TEST(both_ends_grow),
                INSIDE_TEST(insert_goes_before_the_index_and_cuts_it_to_the_ends),
                INSIDE_TEST(negative_indices_count_from_the_end),
                INSIDE_TEST(indices_outside_are_refused_and_change_nothing),
                INSIDE_TEST(slices_are_cut_to_what_is_there),
                INSIDE_TEST(wrong_types_are_refused_and_change_nothing),
                INSIDE_TEST(bad_arguments_are_refused),
                INSIDE_TEST(values_of_all_sizes_come_and_go),
                INSIDE_TEST(equality_is_by_type_and_bytes),
                INSIDE_TEST(big_values_are_found),
                INSIDE_TEST(sort_orders_types_and_then_values),
                INSIDE_TEST(sort_keeps_the_order_of_equals_both_ways),
                INSIDE_TEST(sort_of_many_is_right),
                INSIDE_TEST(reversed_list_grows_at_both_ends),
                INSIDE_TEST(small_list_costs_one_small_chunk),
                INSIDE_TEST(emptied_list_gives_its_memory_back),
                INSIDE_TEST(list_used_as_a_queue_stays_small),
                INSIDE_TEST(thinned_out_list_shrinks),
                INSIDE_TEST(slice_del_cuts_a_large_list_anywhere),
                INSIDE_TEST(inserts_in_the_middle_keep_the_order),
                INSIDE_TEST(extend_of_many_is_one_step),
                INSIDE_TEST(full_arena_refuses_and_still_deletes),
                INSIDE_TEST(full_arena_still_cuts_and_clears),
                INSIDE_TEST(undone_batch_leaves_what_it_took_off_and_wrote_over),
                INSIDE_TEST(batch_sees_what_it_has_done),
                INSIDE_TEST(pinned_value_outlives_its_item),
                INSIDE_TEST(cursor_goes_through_all_items),
                INSIDE_TEST(walk_is_limited_and_can_be_ended),
                INSIDE_TEST(deleted_list_is_gone_for_every_call),
                INSIDE_TEST(long_read_is_not_starved),
                INSIDE_TEST(calls_on_a_list_that_somebody_holds_give_up),
                INSIDE_TEST(damage_is_noticed_and_survived),
                INSIDE_TEST(random_damage_crashes_nothing),
        };

        for (size_t i = 0; i < sizeof(text); i++)
                text[i] = (char)(i * 31 + i / 251);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
