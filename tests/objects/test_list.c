/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_list.c -- each operation on lists, the values they hold, their order
 */

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "object/list.h"
#include "support/lists.h"
#include "support/random.h"
#include "support/way.h"

static char text[4 << 20]; /* what large values are made of */

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
        assert_int_equal(way_memory(list), SLOT_SIZE);
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
        const int64_t n = way_few(5000, 1000);

        for (int64_t i = 0; i < n; i++) {
                objd_value front = objd_int(-i - 1), back = objd_int(i);

                assert_ok(objd_list_prepend(list, &front));
                assert_ok(objd_list_append(list, &back));
        }
        assert_sequence(list, -n, 1, (size_t)(2 * n));
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
        objd_object *list = new_list(*state), *dict = way_dict(*state, NULL);
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
        uint64_t used = way_used(*state);
        objd_object *list = new_list(*state);
        objd_value values[sizeof(sizes) / sizeof(*sizes)];

        for (size_t i = 0; i < n; i++) {
                values[i] = objd_bytes(text + i, sizes[i]);
                append(list, values[i]);
        }
        assert_items(list, values, n);
        /* Each size takes the place of each other one. */
        for (size_t turn = 1; turn < n; turn += (size_t)way_few(3, 9)) {
                for (size_t i = 0; i < n; i++) {
                        values[i] = objd_bytes(text + turn, sizes[(i + turn) % n]);
                        assert_ok(objd_list_set(list, (int64_t)i, &values[i]));
                }
                assert_items(list, values, n);
        }
        way_check(*state);
        assert_ok(objd_list_sort(list, false));
        assert_ok(objd_list_slice_del(list, 1, -1));
        assert_int_equal(len_of(list), 2);
        assert_ok(objd_list_clear(list));
        assert_int_equal(way_memory(list), SLOT_SIZE);
        free_list(list);
        assert_int_equal(way_used(*state), used);
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
        const int64_t n = way_few(40000, 2000);
        struct random random = { 5 };

        for (int64_t i = 0; i < n; i++)
                append(list, objd_int(i * 7919 % n));
        assert_ok(objd_list_sort(list, false));
        assert_sequence(list, 0, 1, (size_t)n);
        for (size_t i = 0; i < 1000; i++) {
                int64_t at = (int64_t)random_below(&random, (uint64_t)n);

                assert_item(list, at, objd_int(at));
        }
        assert_ok(objd_list_sort(list, true));
        assert_sequence(list, n - 1, -1, (size_t)n);
        way_check(*state);
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

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                WAY_TEST(new_list_is_empty),
                WAY_TEST(values_of_all_types_come_back_as_they_were),
                WAY_TEST(both_ends_grow),
                WAY_TEST(insert_goes_before_the_index_and_cuts_it_to_the_ends),
                WAY_TEST(negative_indices_count_from_the_end),
                WAY_TEST(indices_outside_are_refused_and_change_nothing),
                WAY_TEST(slices_are_cut_to_what_is_there),
                WAY_TEST(wrong_types_are_refused_and_change_nothing),
                WAY_TEST(bad_arguments_are_refused),
                WAY_TEST(values_of_all_sizes_come_and_go),
                WAY_TEST(equality_is_by_type_and_bytes),
                WAY_TEST(big_values_are_found),
                WAY_TEST(sort_orders_types_and_then_values),
                WAY_TEST(sort_keeps_the_order_of_equals_both_ways),
                WAY_TEST(sort_of_many_is_right),
                WAY_TEST(reversed_list_grows_at_both_ends),
                WAY_TEST(extend_of_many_is_one_step),
                WAY_TEST(cursor_goes_through_all_items),
                WAY_TEST(deleted_list_is_gone_for_every_call),
        };

        for (size_t i = 0; i < sizeof(text); i++)
                text[i] = (char)(i * 31 + i / 251);
        return way_run(argc, argv, tests);
}
