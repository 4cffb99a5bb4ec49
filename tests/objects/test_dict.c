/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_dict.c -- each operation on dicts, alone and on many keys at once
 */

#include <stdlib.h>

#include "support/dicts.h"
#include "support/way.h"

#define N_SHARDED 3000 /* entries of a dict that has shards */

static uint8_t big[64 << 10];

/* ---- Operations ----------------------------------------------------------------------------------------- */

static void set_new_sets_once(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        objd_value key = objd_int(1), one = objd_int(1), two = objd_int(2);

        assert_ok(objd_dict_set_new(dict, &key, &one));
        assert_status(objd_dict_set_new(dict, &key, &two), OBJD_E_EXISTS);
        assert_value(dict, key, one);
        assert_ok(objd_dict_del(dict, &key));
        assert_status(objd_dict_del(dict, &key), OBJD_E_NOTFOUND);
        assert_ok(objd_dict_set_new(dict, &key, &two));
        assert_value(dict, key, two);
        objd_release(dict);
}

static void compare_and_set_makes_changes_and_deletes(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        objd_value key = objd_int(1), a = objd_cstr("a"), b = objd_bytes("a", 1),
                   large = objd_bytes(big, 20000);

        assert_status(objd_dict_cas(dict, &key, &a, &b), OBJD_E_MISMATCH);
        assert_ok(objd_dict_cas(dict, &key, NULL, NULL)); /* it is not there, and stays so */
        assert_no_key(dict, key);
        assert_ok(objd_dict_cas(dict, &key, NULL, &a));
        assert_status(objd_dict_cas(dict, &key, NULL, &b), OBJD_E_MISMATCH);
        assert_status(objd_dict_cas(dict, &key, &b, &large), OBJD_E_MISMATCH);
        assert_value(dict, key, a);
        assert_ok(objd_dict_cas(dict, &key, &a, &large));
        assert_ok(objd_dict_cas(dict, &key, &large, &b));
        assert_value(dict, key, b);
        assert_status(objd_dict_cas(dict, &key, &a, NULL), OBJD_E_MISMATCH);
        assert_ok(objd_dict_cas(dict, &key, &b, NULL));
        assert_no_key(dict, key);
        objd_release(dict);
}

static void add_counts_and_refuses_overflow(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        objd_value key = objd_int(1), other = objd_int(2), text = objd_cstr("t");
        int64_t sum = 0;
        double real = 0;

        assert_ok(objd_dict_add_int(dict, &key, 5, &sum));
        assert_int_equal(sum, 5);
        assert_ok(objd_dict_add_int(dict, &key, -7, NULL));
        assert_value(dict, key, objd_int(-2));
        assert_ok(objd_dict_add_int(dict, &key, INT64_MAX, &sum));
        assert_true(sum == INT64_MAX - 2);
        assert_status(objd_dict_add_int(dict, &key, 3, &sum), OBJD_E_RANGE);
        assert_true(sum == INT64_MAX - 2);
        assert_value(dict, key, objd_int(INT64_MAX - 2));
        assert_ok(objd_dict_add_int(dict, &other, INT64_MIN, NULL));
        assert_status(objd_dict_add_int(dict, &other, -1, NULL), OBJD_E_RANGE);
        assert_status(objd_dict_add_float(dict, &key, 1, NULL), OBJD_E_TYPE);

        assert_ok(objd_dict_del(dict, &key));
        assert_ok(objd_dict_add_float(dict, &key, 0.5, &real));
        assert_ok(objd_dict_add_float(dict, &key, 0.25, &real));
        assert_true(real == 0.75);
        assert_value(dict, key, objd_float(0.75));
        assert_status(objd_dict_add_int(dict, &key, 1, NULL), OBJD_E_TYPE);
        assert_ok(objd_dict_set(dict, &key, &text));
        assert_status(objd_dict_add_int(dict, &key, 1, NULL), OBJD_E_TYPE);
        assert_value(dict, key, text);
        objd_release(dict);
}

static void pop_gives_the_value_and_deletes(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        objd_value key = objd_int(1), value = objd_cstr("text"), got = objd_nil();
        objd_buf buf = OBJD_BUF_INIT;

        assert_status(objd_dict_pop(dict, &key, &got, &buf), OBJD_E_NOTFOUND);
        assert_int_equal(got.type, OBJD_NIL);
        assert_ok(objd_dict_set(dict, &key, &value));
        assert_ok(objd_dict_pop(dict, &key, &got, &buf));
        assert_true(objd_value_equal(&got, &value));
        assert_no_key(dict, key);
        objd_buf_free(&buf);
        objd_release(dict);
}

static void pop_any_gives_each_entry_once_until_there_is_none(void **state)
{
        static const int64_t sizes[] = { 0, 1, 200, N_SHARDED };
        objd_buf buf = OBJD_BUF_INIT;

        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
                objd_object *dict = way_dict(*state, NULL);
                int64_t n = sizes[i];
                bool *seen = calloc((size_t)n + 1, 1);
                objd_value key, value;

                fill(dict, 0, n);
                for (int64_t left = n; left; left--) {
                        assert_ok(objd_dict_pop_any(dict, &key, &value, &buf));
                        assert_int_equal(key.type, OBJD_INT);
                        assert_in_range(key.u.integer, 0, n - 1);
                        assert_int_equal(value.u.integer, 7 * key.u.integer);
                        assert_false(seen[key.u.integer]);
                        seen[key.u.integer] = true;
                }
                assert_status(objd_dict_pop_any(dict, &key, &value, &buf), OBJD_E_EMPTY);
                assert_int_equal(len_of(dict), 0);
                free(seen);
                assert_ok(objd_destroy(dict));
                objd_release(dict);
        }
        objd_buf_free(&buf);
}

static void pop_any_gives_long_keys_and_values(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        objd_value key = objd_str("kkkkkkkkkkk", 11), value = objd_bytes(big, 20001), got_key, got_value;
        objd_buf buf = OBJD_BUF_INIT;

        assert_ok(objd_dict_set(dict, &key, &value));
        assert_ok(objd_dict_pop_any(dict, &got_key, &got_value, &buf));
        assert_true(objd_value_equal(&got_key, &key));
        assert_true(objd_value_equal(&got_value, &value));
        objd_buf_free(&buf);
        objd_release(dict);
}

static void set_many_sets_all_or_nothing(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        static objd_value keys[N_SHARDED], values[N_SHARDED];
        uint64_t empty = way_memory(dict), used = way_used(*state);

        for (int64_t i = 0; i < N_SHARDED; i++) {
                keys[i] = key_of(i);
                values[i] = objd_int(7 * i);
        }
        keys[N_SHARDED - 1] = objd_nil();
        assert_status(objd_dict_set_many(dict, keys, values, N_SHARDED), OBJD_E_TYPE);
        assert_int_equal(len_of(dict), 0);
        assert_int_equal(way_memory(dict), empty);
        assert_int_equal(way_used(*state), used);

        keys[N_SHARDED - 1] = key_of(0); /* the last of two with the same key counts */
        assert_ok(objd_dict_set_many(dict, keys, values, N_SHARDED));
        assert_int_equal(len_of(dict), N_SHARDED - 1);
        assert_value(dict, key_of(0), objd_int(7 * (N_SHARDED - 1)));
        assert_filled(dict, 1, N_SHARDED - 1);
        objd_release(dict);
}

static void get_many_gives_an_item_for_each_key(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        objd_value keys[] = { objd_int(3), objd_int(-1), objd_int(3), objd_cstr("big"), objd_int(1) };
        objd_value value = objd_bytes(big, 30000);
        objd_items *items;

        fill(dict, 0, 5);
        assert_ok(objd_dict_set(dict, &keys[3], &value));
        assert_ok(objd_dict_get_many(dict, keys, 5, &items));
        assert_int_equal(items->len, 5);
        assert_true(items->item[0].found && items->item[0].value.u.integer == 21);
        assert_false(items->item[1].found);
        assert_int_equal(items->item[1].value.type, OBJD_NIL);
        assert_true(items->item[2].found && items->item[2].value.u.integer == 21);
        assert_true(objd_value_equal(&items->item[3].value, &value));
        assert_true(items->item[4].found && items->item[4].value.u.integer == 7);
        objd_items_free(items);

        assert_ok(objd_dict_get_many(dict, keys, 0, &items));
        assert_int_equal(items->len, 0);
        objd_items_free(items);
        keys[4] = objd_nil();
        assert_status(objd_dict_get_many(dict, keys, 5, &items), OBJD_E_TYPE);
        objd_release(dict);
}

/* ---- Copies --------------------------------------------------------------------------------------------- */

static void assert_copy(objd_object *dict, const int64_t *keys, size_t n)
{
        objd_items *items = NULL;

        assert_ok(objd_dict_copy(dict, &items));
        assert_int_equal(items->len, n);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(items->item[i].key.u.integer, keys[i]);
        objd_items_free(items);
}

static void a_copy_is_in_the_order_of_first_setting(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        objd_value key = key_of(3), value = objd_bytes(big, 9000);

        assert_copy(dict, NULL, 0);
        for (int64_t i = 9; i >= 0; i--)
                set_int(dict, i, i);
        assert_copy(dict, (int64_t[]){ 9, 8, 7, 6, 5, 4, 3, 2, 1, 0 }, 10);
        set_int(dict, 5, 0);                          /* in place */
        assert_ok(objd_dict_set(dict, &key, &value)); /* in a new entry */
        assert_copy(dict, (int64_t[]){ 9, 8, 7, 6, 5, 4, 3, 2, 1, 0 }, 10);
        del(dict, 7);
        assert_copy(dict, (int64_t[]){ 9, 8, 6, 5, 4, 3, 2, 1, 0 }, 9);
        set_int(dict, 7, 0);
        assert_copy(dict, (int64_t[]){ 9, 8, 6, 5, 4, 3, 2, 1, 0, 7 }, 10);
        objd_release(dict);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                WAY_TEST(set_new_sets_once),
                WAY_TEST(compare_and_set_makes_changes_and_deletes),
                WAY_TEST(add_counts_and_refuses_overflow),
                WAY_TEST(pop_gives_the_value_and_deletes),
                WAY_TEST(pop_any_gives_each_entry_once_until_there_is_none),
                WAY_TEST(pop_any_gives_long_keys_and_values),
                WAY_TEST(set_many_sets_all_or_nothing),
                WAY_TEST(get_many_gives_an_item_for_each_key),
                WAY_TEST(a_copy_is_in_the_order_of_first_setting),
        };

        for (size_t i = 0; i < sizeof(big); i++)
                big[i] = (uint8_t)(i * 31 >> 2);
        return way_run(argc, argv, tests);
}
