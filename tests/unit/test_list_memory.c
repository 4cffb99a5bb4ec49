/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_list_memory.c -- object/list*.c: what becomes of the memory, with many items and in a full arena
 *
 * By handle only: some hundred thousand calls each, and arenas that are full.
 */

#include <stdlib.h>
#include <string.h>

#include "object/list.h"
#include "support/inside.h"
#include "support/lists.h"
#include "support/test.h"

static char text[4 << 20]; /* what large values are made of */

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

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(small_list_costs_one_small_chunk),
                INSIDE_TEST(emptied_list_gives_its_memory_back),
                INSIDE_TEST(list_used_as_a_queue_stays_small),
                INSIDE_TEST(thinned_out_list_shrinks),
                INSIDE_TEST(slice_del_cuts_a_large_list_anywhere),
                INSIDE_TEST(inserts_in_the_middle_keep_the_order),
                INSIDE_TEST(full_arena_refuses_and_still_deletes),
                INSIDE_TEST(full_arena_still_cuts_and_clears),
        };

        for (size_t i = 0; i < sizeof(text); i++)
                text[i] = (char)(i * 31 + i / 251);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
