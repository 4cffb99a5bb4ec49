/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_dict.c -- object/dict*.c: every operation, the limits, and how a dict grows and gives its memory back
 */

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "object/dict.h"
#include "support/inside.h"
#include "support/test.h"

#define N_SHARDED 3000 /* entries of a dict that has shards */
#define N_SPLIT 120000 /* entries of a dict whose shards have directories of more than two segments */

static uint8_t big[64 << 10];

static objd_value key_of(int64_t i)
{
        return objd_int(i);
}

static void set_int(objd_object *dict, int64_t key, int64_t value)
{
        objd_value k = key_of(key), v = objd_int(value);

        assert_ok(objd_dict_set(dict, &k, &v));
}

static void fill(objd_object *dict, int64_t from, int64_t to)
{
        for (int64_t i = from; i < to; i++)
                set_int(dict, i, 7 * i);
}

static void del(objd_object *dict, int64_t key)
{
        objd_value k = key_of(key);

        assert_ok(objd_dict_del(dict, &k));
}

static uint64_t len_of(objd_object *dict)
{
        uint64_t len = UINT64_MAX;

        assert_ok(objd_dict_len(dict, &len));
        return len;
}

static void assert_value(objd_object *dict, objd_value key, objd_value expected)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        assert_ok(objd_dict_get(dict, &key, &value, &buf));
        assert_true(objd_value_equal(&value, &expected));
        objd_buf_free(&buf);
}

static void assert_no_key(objd_object *dict, objd_value key)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        bool found = true;

        assert_status(objd_dict_get(dict, &key, &value, &buf), OBJD_E_NOTFOUND);
        assert_ok(objd_dict_contains(dict, &key, &found));
        assert_false(found);
        objd_buf_free(&buf);
}

static void assert_filled(objd_object *dict, int64_t from, int64_t to)
{
        for (int64_t i = from; i < to; i++)
                assert_value(dict, key_of(i), objd_int(7 * i));
}

/* ---- White box ------------------------------------------------------------------------------------------ */

static bool is_sharded(const objd_object *dict)
{
        return dict->shm->line.root[0] & DICT_SHARDED;
}

static uint32_t groups_of(const objd_object *dict)
{
        return table_groups(dict->shm->line.root[0]);
}

static uint32_t deepest_shard(const objd_object *dict)
{
        const struct line_shm *shards = dict_shards(dict->conn->arena, dict->shm);
        uint32_t deepest = 0;

        for (uint32_t i = 0; i < DICT_SHARDS; i++)
                if (table_depth(shards[i].root[0]) > deepest)
                        deepest = table_depth(shards[i].root[0]);
        return deepest;
}

/* ---- Growing and shrinking ------------------------------------------------------------------------------ */

static void one_segment_grows_and_at_the_limit_becomes_64_shards(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        uint32_t groups = 0, n_growths = 0;
        int64_t n = 0;

        assert_int_equal(dict->shm->line.root[0], 0);
        for (; n < 2000 && !is_sharded(dict); n++) {
                set_int(dict, n, 7 * n);
                if (!is_sharded(dict) && groups_of(dict) > groups) {
                        groups = groups_of(dict);
                        n_growths++;
                }
        }
        assert_in_range(n, 400, 900);
        assert_in_range(n_growths, 4, 30);
        assert_int_equal(groups, DICT_GROUPS_MAX);
        assert_filled(dict, 0, n);
        assert_int_equal(len_of(dict), (uint64_t)n);
        inside_check(*state);

        fill(dict, n, N_SHARDED);
        assert_filled(dict, 0, N_SHARDED);
        assert_no_key(dict, key_of(-1));
        assert_no_key(dict, key_of(N_SHARDED));
        objd_release(dict);
}

static void shards_split_and_their_directories_double(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        int64_t n = 0;

        for (uint32_t depth = 1; depth <= 2; depth++) {
                do {
                        fill(dict, n, n + 5000);
                        n += 5000;
                } while (deepest_shard(dict) < depth && n < N_SPLIT);
                assert_int_equal(deepest_shard(dict), depth);
                assert_int_equal(len_of(dict), (uint64_t)n);
        }
        inside_check(*state);
        assert_filled(dict, 0, n);
        objd_release(dict);
}

static void deleting_everything_gives_all_memory_back(void **state)
{
        static const int64_t sizes[] = { 1, 8, 100, 585, N_SHARDED, N_SPLIT };
        uint64_t before = inside_used(*state), empty;
        objd_object *dict;

        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
                int64_t n = sizes[i];

                dict = inside_dict(*state, "d");
                empty = inside_memory(dict);
                fill(dict, 0, n);
                assert_true(inside_memory(dict) > empty);
                for (int64_t key = 0; key < n; key += 2)
                        del(dict, key);
                for (int64_t key = n - 1; key >= 0; key--)
                        if (key % 2)
                                del(dict, key);
                assert_int_equal(len_of(dict), 0);
                assert_int_equal(inside_memory(dict), empty);
                inside_check(*state);
                assert_ok(objd_destroy(dict));
                objd_release(dict);
                assert_int_equal(inside_used(*state), before);
        }
}

static void a_dict_that_shrinks_gives_memory_back_on_the_way(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        objd_value value = objd_bytes(big, 500);
        uint64_t full;

        for (int64_t i = 0; i < 20000; i++) {
                objd_value key = key_of(i);

                assert_ok(objd_dict_set(dict, &key, &value));
        }
        full = inside_memory(dict);
        for (int64_t i = 0; i < 20000; i++)
                if (i % 10)
                        del(dict, i);
        assert_true(inside_memory(dict) < full / 2);
        for (int64_t i = 0; i < 20000; i += 10)
                assert_value(dict, key_of(i), value);
        objd_release(dict);
}

/* Overwriting and deleting for ever must not take more and more memory. */
static void churn_does_not_leak(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        uint64_t most = 0;

        for (int64_t round = 0; round < 60; round++) {
                for (int64_t i = 0; i < 400; i++) {
                        objd_value key = key_of(round * 400 + i),
                                   value = objd_bytes(big, (size_t)(i * round) % 300);

                        assert_ok(objd_dict_set(dict, &key, &value));
                        if (round)
                                del(dict, round * 400 + i - 400);
                }
                if (round == 10)
                        most = inside_memory(dict);
        }
        assert_true(inside_memory(dict) <= 3 * most);
        assert_int_equal(len_of(dict), 400);
        objd_release(dict);
}

static void large_entries_split_a_segment_by_their_bytes(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        objd_value value = objd_bytes(big, 4096);
        uint64_t empty = inside_memory(dict);
        int64_t n = 0;

        for (; n < 500 && !is_sharded(dict); n++) {
                objd_value key = key_of(n);

                assert_ok(objd_dict_set(dict, &key, &value));
        }
        assert_in_range(n, 25, 80);
        for (; n < 6000; n++) {
                objd_value key = key_of(n);

                assert_ok(objd_dict_set(dict, &key, &value));
        }
        assert_true(deepest_shard(dict) >= 1);
        inside_check(*state);
        for (int64_t i = 0; i < n; i++)
                assert_value(dict, key_of(i), value);
        for (int64_t i = 0; i < n; i++)
                del(dict, i);
        assert_int_equal(inside_memory(dict), empty);
        objd_release(dict);
}

static void clear_empties_small_and_large_dicts(void **state)
{
        static const int64_t sizes[] = { 0, 1, 300, N_SHARDED, 30000 };
        uint64_t before = inside_used(*state);

        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
                objd_object *dict = inside_dict(*state, "a name that is too long for the slot of an object");
                uint64_t empty = inside_memory(dict);

                for (int again = 0; again < 2; again++) {
                        fill(dict, 0, sizes[i]);
                        assert_ok(objd_dict_clear(dict));
                        assert_int_equal(len_of(dict), 0);
                        assert_int_equal(inside_memory(dict), empty);
                        assert_no_key(dict, key_of(0));
                        inside_check(*state);
                }
                fill(dict, 0, 10);
                assert_filled(dict, 0, 10);
                assert_ok(objd_destroy(dict));
                objd_release(dict);
                assert_int_equal(inside_used(*state), before);
        }
}

/* ---- Values --------------------------------------------------------------------------------------------- */

static void every_type_of_value_comes_back_as_it_was(void **state)
{
        static const double reals[] = { 0.0, -0.0, 1.5, (double)INFINITY, (double)NAN };
        objd_object *dict = inside_dict(*state, "d"), *other = inside_dict(*state, "other");
        uint64_t shape[OBJD_NDIM_MAX] = { 2, 3, 1, 1, 1, 1, 1, 2 }, nothing[1] = { 0 };
        float data[12] = { 1, 2, 3 };
        objd_value values[] = {
                objd_nil(),
                objd_bool(true),
                objd_bool(false),
                objd_int(INT64_MIN),
                objd_int(INT64_MAX),
                objd_float(reals[0]),
                objd_float(reals[1]),
                objd_float(reals[3]),
                objd_float(reals[4]),
                objd_str("", 0),
                objd_str("a\0b", 3),
                objd_cstr("gr\xc3\xbc\xc3\x9f"),
                objd_bytes("", 0),
                objd_bytes("\xff\0\xfe", 3),
                objd_array(OBJD_F32, OBJD_NDIM_MAX, shape, data),
                objd_array(OBJD_U8, 1, nothing, NULL),
                objd_array(OBJD_F64, 0, NULL, "12345678"),
                objd_message("a.b.Message", "\0\1\2", 3),
                objd_message("m", NULL, 0),
                objd_refer(objd_ref_of(other)),
        };
        size_t n = sizeof(values) / sizeof(*values);
        objd_value key = objd_cstr("k");

        for (size_t i = 0; i < n; i++) {
                assert_ok(objd_dict_set(dict, &key, &values[i]));
                assert_value(dict, key, values[i]);
                for (size_t k = 0; k < n; k++) {
                        /* expected: compare-and-set sees the same equality */
                        assert_status(objd_dict_cas(dict, &key, &values[k], &values[i]),
                                      objd_value_equal(&values[i], &values[k]) ? OBJD_OK : OBJD_E_MISMATCH);
                }
        }
        assert_int_equal(len_of(dict), 1);
        objd_release(dict);
        objd_release(other);
}

static void a_value_is_replaced_by_smaller_equal_and_larger_ones(void **state)
{
        static const size_t sizes[] = { 0, 1, 7, 8, 9, 100, 4095, 4096, 4097, 5000, 20000, 64 << 10 };
        size_t n = sizeof(sizes) / sizeof(*sizes);
        objd_object *dict = inside_dict(*state, "d");
        objd_value key = objd_cstr("key"), other = objd_cstr("other");
        uint64_t empty = inside_memory(dict);

        assert_ok(objd_dict_set(dict, &other, &key));
        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < n; k++) {
                        objd_value a = objd_bytes(big, sizes[i]),
                                   b = objd_bytes(big + 1, sizes[k] ? sizes[k] - 1 : 0);

                        assert_ok(objd_dict_set(dict, &key, &a));
                        assert_value(dict, key, a);
                        assert_ok(objd_dict_set(dict, &key, &b));
                        assert_value(dict, key, b);
                        assert_int_equal(len_of(dict), 2);
                }
        inside_check(*state);
        assert_value(dict, other, key);
        assert_ok(objd_dict_del(dict, &key));
        assert_ok(objd_dict_del(dict, &other));
        assert_int_equal(inside_memory(dict), empty);
        objd_release(dict);
}

static void big_values_have_chunks_and_give_them_back(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        uint64_t empty = inside_memory(dict);
        size_t size = 3 << 20;
        uint8_t *data = malloc(size);
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        for (size_t i = 0; i < size; i++)
                data[i] = (uint8_t)(i * 7 >> 3);
        for (int64_t i = 0; i < 10; i++) {
                objd_value key = key_of(i);

                value = objd_bytes(data + i, size - 10);
                assert_ok(objd_dict_set(dict, &key, &value));
        }
        assert_true(inside_memory(dict) > 10 * (size - 10));
        for (int64_t i = 0; i < 10; i++) {
                objd_value key = key_of(i);

                assert_value(dict, key, objd_bytes(data + i, size - 10));
                assert_ok(objd_dict_pop(dict, &key, &value, &buf));
                assert_memory_equal(value.data, data + i, size - 10);
        }
        assert_int_equal(inside_memory(dict), empty);
        objd_buf_free(&buf);
        free(data);
        objd_release(dict);
}

static void a_value_over_the_limit_is_refused(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        objd_value key = objd_int(1), value = objd_bytes(big, OBJD_VALUE_MAX + 1);

        assert_status(objd_dict_set(dict, &key, &value), OBJD_E_TOOBIG);
        value = objd_str("\xff", 1);
        assert_status(objd_dict_set(dict, &key, &value), OBJD_E_INVAL);
        value = objd_bytes(NULL, 1);
        assert_status(objd_dict_set(dict, &key, &value), OBJD_E_INVAL);
        value.type = OBJD_ANY;
        assert_status(objd_dict_set(dict, &key, &value), OBJD_E_INVAL);
        assert_int_equal(len_of(dict), 0);
        objd_release(dict);
}

/* ---- Keys ----------------------------------------------------------------------------------------------- */

static void keys_may_be_empty_or_long_but_not_too_long(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        static const size_t sizes[] = { 0, 1, 7, 8, 9, 15, 16, 17, 1023, OBJD_KEY_MAX };
        size_t n = sizeof(sizes) / sizeof(*sizes);
        objd_value value = objd_int(0), key;

        memset(big, 'k', OBJD_KEY_MAX + 1);
        for (size_t i = 0; i < n; i++)
                for (int str = 0; str < 2; str++) {
                        key = str ? objd_str((char *)big, sizes[i]) : objd_bytes(big, sizes[i]);
                        value = objd_int((int64_t)(2 * i) + str);
                        assert_ok(objd_dict_set(dict, &key, &value));
                }
        assert_int_equal(len_of(dict), 2 * n);
        for (size_t i = 0; i < n; i++) {
                assert_value(dict, objd_bytes(big, sizes[i]), objd_int((int64_t)(2 * i)));
                assert_value(dict, objd_str((char *)big, sizes[i]), objd_int((int64_t)(2 * i) + 1));
        }
        key = objd_bytes(big, OBJD_KEY_MAX + 1);
        assert_status(objd_dict_set(dict, &key, &value), OBJD_E_TOOBIG);
        assert_status(objd_dict_del(dict, &key), OBJD_E_TOOBIG);
        key = objd_str("\xc3", 1);
        assert_status(objd_dict_set(dict, &key, &value), OBJD_E_INVAL);
        key = objd_bytes(NULL, 3);
        assert_status(objd_dict_set(dict, &key, &value), OBJD_E_INVAL);
        key = objd_str(NULL, 3);
        assert_status(objd_dict_set(dict, &key, &value), OBJD_E_INVAL);
        assert_int_equal(len_of(dict), 2 * n);
        memset(big, 0, OBJD_KEY_MAX + 1);
        objd_release(dict);
}

static void keys_with_the_same_bytes_and_another_type_are_others(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        int64_t number = 0x6162636465666768;
        objd_value keys[] = { objd_int(number), objd_bytes(&number, 8), objd_str((char *)&number, 8) };

        for (int i = 0; i < 3; i++) {
                objd_value value = objd_int(i);

                assert_ok(objd_dict_set_new(dict, &keys[i], &value));
        }
        for (int i = 0; i < 3; i++)
                assert_value(dict, keys[i], objd_int(i));
        assert_ok(objd_dict_del(dict, &keys[1]));
        assert_no_key(dict, keys[1]);
        assert_value(dict, keys[0], objd_int(0));
        assert_value(dict, keys[2], objd_int(2));
        objd_release(dict);
}

/* Bytes behind the key's end, which stand in its last word, are no part of it. */
static void only_the_bytes_of_a_key_count(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        objd_value a = objd_bytes("abcX", 3), b = objd_bytes("abcY", 3), zero = objd_bytes("abc\0", 4);
        objd_value value = objd_int(1);

        assert_ok(objd_dict_set(dict, &a, &value));
        assert_value(dict, b, value);
        assert_no_key(dict, zero);
        objd_release(dict);
}

static objd_object *dict_with_keys_of(objd_conn *conn, objd_type type)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *dict;

        config.key_type = type;
        assert_ok(objd_create(conn, NULL, OBJD_DICT, &config, &dict));
        return dict;
}

/* The n-th key of a size: digits, which no two numbers below 10^size have in common. */
static objd_value key_of_size(objd_type type, size_t size, int n, char room[64])
{
        snprintf(room, 64, "%0*d", (int)size, n);
        return type == OBJD_STR ? objd_str(room, size) : objd_bytes(room, size);
}

static const size_t key_sizes[] = { 4, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48 };

#define N_KEY_SIZES (sizeof(key_sizes) / sizeof(*key_sizes))

static void fill_sizes(objd_object *dict, objd_type type, int n)
{
        char room[64];

        for (size_t i = 0; i < N_KEY_SIZES; i++)
                for (int k = 0; k < n; k++) {
                        objd_value key = key_of_size(type, key_sizes[i], k, room);
                        objd_value value = k % 3 ? objd_int(k) : objd_float(k);

                        assert_ok(objd_dict_set(dict, &key, &value));
                        assert_ok(objd_dict_set(dict, &key, &key));
                        assert_value(dict, key, key);
                        assert_ok(objd_dict_set(dict, &key, &value));
                }
        assert_int_equal(len_of(dict), N_KEY_SIZES * (size_t)n);
}

/* Deletes every other key of a dict that fill_sizes() has made, and looks at all of them. */
static void thin_out_sizes(objd_object *dict, objd_type type, int n)
{
        char room[64];

        for (size_t i = 0; i < N_KEY_SIZES; i++)
                for (int k = 0; k < n; k += 2) {
                        objd_value key = key_of_size(type, key_sizes[i], k, room);

                        assert_ok(objd_dict_del(dict, &key));
                        assert_status(objd_dict_del(dict, &key), OBJD_E_NOTFOUND);
                }
        for (size_t i = 0; i < N_KEY_SIZES; i++)
                for (int k = 0; k < n; k++) {
                        objd_value key = key_of_size(type, key_sizes[i], k, room);

                        if (k % 2)
                                assert_value(dict, key, k % 3 ? objd_int(k) : objd_float(k));
                        else
                                assert_no_key(dict, key);
                }
}

/*
 * A handle remembers where a large dict's shards are: from small to large, through a clear to small again, and to large with other
 * shards in the same place or elsewhere. A second handle finds all that changed behind its back.
 */
static void keys_of_one_declared_type_and_every_size(void **state)
{
        static const objd_type types[] = { OBJD_BYTES, OBJD_STR };

        for (size_t i = 0; i < 2; i++) {
                objd_object *dict = dict_with_keys_of(*state, types[i]), *other, *between = NULL;

                assert_ok(objd_open_ref(*state, objd_ref_of(dict), OBJD_DICT, &other));
                for (int turn = 0; turn < 3; turn++) {
                        fill_sizes(turn == 1 ? other : dict, types[i], turn == 2 ? 20 : 200);
                        thin_out_sizes(turn == 1 ? dict : other, types[i], turn == 2 ? 20 : 200);
                        assert_ok(objd_dict_clear(dict));
                        if (!between)
                                between = inside_dict(*state, NULL);
                        fill(between, 0, turn ? N_SHARDED : 10);
                }
                objd_release(other);
                assert_ok(objd_destroy(dict));
                objd_release(dict);
                assert_ok(objd_destroy(between));
                objd_release(between);
        }
}

static void a_key_of_another_type_than_declared_is_refused_whatever_its_size(void **state)
{
        objd_object *bytes = dict_with_keys_of(*state, OBJD_BYTES),
                    *text = dict_with_keys_of(*state, OBJD_STR);
        objd_object *list;
        objd_value str16 = objd_cstr("0123456789abcdef"), bytes16 = objd_bytes(str16.data, 16);
        objd_value bad = objd_str("0123456789abcd\xc3(", 16), none = bytes16, value;
        objd_buf buf = OBJD_BUF_INIT;

        none.type = OBJD_ANY;
        assert_ok(objd_create(*state, NULL, OBJD_LIST, NULL, &list));
        assert_status(objd_dict_set(bytes, &str16, &str16), OBJD_E_TYPE);
        assert_status(objd_dict_set(text, &bytes16, &str16), OBJD_E_TYPE);
        assert_status(objd_dict_set(text, &bad, &str16), OBJD_E_INVAL);
        assert_status(objd_dict_get(bytes, &none, &value, &buf), OBJD_E_TYPE);
        assert_status(objd_dict_get(list, &none, &value, &buf), OBJD_E_KIND);
        assert_status(objd_dict_get(list, &bytes16, &value, &buf), OBJD_E_KIND);
        assert_status(objd_dict_set(list, &none, &str16), OBJD_E_KIND);
        assert_status(objd_dict_del(list, &none), OBJD_E_KIND);
        assert_int_equal(len_of(bytes) + len_of(text), 0);
        objd_buf_free(&buf);
        objd_release(list);
        objd_release(bytes);
        objd_release(text);
}

/* ---- Types ---------------------------------------------------------------------------------------------- */

static void a_wrong_type_is_refused_and_changes_nothing(void **state)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_value str = objd_cstr("s"), num = objd_int(5), real = objd_float(1), nil = objd_nil();
        objd_object *dict;
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        uint64_t memory;
        bool found;

        config.key_type = OBJD_STR;
        config.value_type = OBJD_INT;
        assert_ok(objd_create(*state, "typed", OBJD_DICT, &config, &dict));
        assert_ok(objd_dict_set(dict, &str, &num));
        memory = inside_memory(dict);

        assert_status(objd_dict_set(dict, &num, &num), OBJD_E_TYPE);
        assert_status(objd_dict_set(dict, &nil, &num), OBJD_E_TYPE);
        assert_status(objd_dict_set(dict, &real, &num), OBJD_E_TYPE);
        assert_status(objd_dict_set(dict, &str, &str), OBJD_E_TYPE);
        assert_status(objd_dict_set_new(dict, &str, &real), OBJD_E_TYPE);
        assert_status(objd_dict_cas(dict, &str, &num, &real), OBJD_E_TYPE);
        assert_status(objd_dict_add_float(dict, &str, 1, NULL), OBJD_E_TYPE);
        assert_status(objd_dict_get(dict, &num, &value, &buf), OBJD_E_TYPE);
        assert_status(objd_dict_contains(dict, &num, &found), OBJD_E_TYPE);
        assert_status(objd_dict_del(dict, &num), OBJD_E_TYPE);
        assert_status(objd_dict_set_many(dict, (objd_value[]){ str, num }, (objd_value[]){ num, num }, 2),
                      OBJD_E_TYPE);
        assert_int_equal(len_of(dict), 1);
        assert_value(dict, str, num);
        assert_int_equal(inside_memory(dict), memory);
        objd_release(dict);

        config.key_type = OBJD_FLOAT;
        assert_status(objd_create(*state, "other", OBJD_DICT, &config, &dict), OBJD_E_INVAL);
        config.key_type = OBJD_ANY;
        config.bound = 3;
        assert_status(objd_create(*state, "other", OBJD_DICT, &config, &dict), OBJD_E_INVAL);
        assert_status(objd_open(*state, "other", OBJD_DICT, &dict), OBJD_E_NOTFOUND);
        objd_buf_free(&buf);
}

static void missing_arguments_are_refused(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        objd_value key = objd_int(1), value;
        objd_buf buf = OBJD_BUF_INIT;

        assert_status(objd_dict_get(NULL, &key, &value, &buf), OBJD_E_INVAL);
        assert_status(objd_dict_get(dict, NULL, &value, &buf), OBJD_E_INVAL);
        assert_status(objd_dict_get(dict, &key, NULL, &buf), OBJD_E_INVAL);
        assert_status(objd_dict_get(dict, &key, &value, NULL), OBJD_E_INVAL);
        assert_status(objd_dict_set(dict, &key, NULL), OBJD_E_INVAL);
        assert_status(objd_dict_cas(dict, NULL, NULL, NULL), OBJD_E_INVAL);
        assert_status(objd_dict_pop_any(dict, NULL, &value, &buf), OBJD_E_INVAL);
        assert_status(objd_dict_set_many(dict, NULL, NULL, 1), OBJD_E_INVAL);
        assert_ok(objd_dict_set_many(dict, NULL, NULL, 0));
        assert_status(objd_dict_copy(dict, NULL), OBJD_E_INVAL);
        assert_status(objd_dict_len(dict, NULL), OBJD_E_INVAL);
        objd_release(dict);
}

/* ---- Operations ----------------------------------------------------------------------------------------- */

static void set_new_sets_once(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
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
        objd_object *dict = inside_dict(*state, "d");
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
        objd_object *dict = inside_dict(*state, "d");
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
        objd_object *dict = inside_dict(*state, "d");
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
                objd_object *dict = inside_dict(*state, NULL);
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
        objd_object *dict = inside_dict(*state, "d");
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
        objd_object *dict = inside_dict(*state, "d");
        static objd_value keys[N_SHARDED], values[N_SHARDED];
        uint64_t empty = inside_memory(dict), used = inside_used(*state);

        for (int64_t i = 0; i < N_SHARDED; i++) {
                keys[i] = key_of(i);
                values[i] = objd_int(7 * i);
        }
        keys[N_SHARDED - 1] = objd_nil();
        assert_status(objd_dict_set_many(dict, keys, values, N_SHARDED), OBJD_E_TYPE);
        assert_int_equal(len_of(dict), 0);
        assert_int_equal(inside_memory(dict), empty);
        assert_int_equal(inside_used(*state), used);

        keys[N_SHARDED - 1] = key_of(0); /* the last of two with the same key counts */
        assert_ok(objd_dict_set_many(dict, keys, values, N_SHARDED));
        assert_int_equal(len_of(dict), N_SHARDED - 1);
        assert_value(dict, key_of(0), objd_int(7 * (N_SHARDED - 1)));
        assert_filled(dict, 1, N_SHARDED - 1);
        objd_release(dict);
}

static void get_many_gives_an_item_for_each_key(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
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
        objd_object *dict = inside_dict(*state, "d");
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

static void growth_and_shards_keep_the_order(void **state)
{
        objd_object *dict = inside_dict(*state, "d");
        objd_items *items = NULL;

        for (int64_t i = 0; i < 70000; i++)
                set_int(dict, (i * 7919) % 70001, i);
        for (int64_t i = 0; i < 70000; i += 3)
                set_int(dict, (i * 7919) % 70001, i);
        assert_ok(objd_dict_copy(dict, &items));
        assert_int_equal(items->len, 70000);
        for (int64_t i = 0; i < 70000; i++)
                assert_int_equal(items->item[i].value.u.integer, i);
        objd_items_free(items);
        objd_release(dict);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(one_segment_grows_and_at_the_limit_becomes_64_shards),
                INSIDE_TEST(shards_split_and_their_directories_double),
                INSIDE_TEST(deleting_everything_gives_all_memory_back),
                INSIDE_TEST(a_dict_that_shrinks_gives_memory_back_on_the_way),
                INSIDE_TEST(churn_does_not_leak),
                INSIDE_TEST(large_entries_split_a_segment_by_their_bytes),
                INSIDE_TEST(clear_empties_small_and_large_dicts),
                INSIDE_TEST(every_type_of_value_comes_back_as_it_was),
                INSIDE_TEST(a_value_is_replaced_by_smaller_equal_and_larger_ones),
                INSIDE_TEST(big_values_have_chunks_and_give_them_back),
                INSIDE_TEST(a_value_over_the_limit_is_refused),
                INSIDE_TEST(keys_may_be_empty_or_long_but_not_too_long),
                INSIDE_TEST(keys_with_the_same_bytes_and_another_type_are_others),
                INSIDE_TEST(only_the_bytes_of_a_key_count),
                INSIDE_TEST(keys_of_one_declared_type_and_every_size),
                INSIDE_TEST(a_key_of_another_type_than_declared_is_refused_whatever_its_size),
                INSIDE_TEST(a_wrong_type_is_refused_and_changes_nothing),
                INSIDE_TEST(missing_arguments_are_refused),
                INSIDE_TEST(set_new_sets_once),
                INSIDE_TEST(compare_and_set_makes_changes_and_deletes),
                INSIDE_TEST(add_counts_and_refuses_overflow),
                INSIDE_TEST(pop_gives_the_value_and_deletes),
                INSIDE_TEST(pop_any_gives_each_entry_once_until_there_is_none),
                INSIDE_TEST(pop_any_gives_long_keys_and_values),
                INSIDE_TEST(set_many_sets_all_or_nothing),
                INSIDE_TEST(get_many_gives_an_item_for_each_key),
                INSIDE_TEST(a_copy_is_in_the_order_of_first_setting),
                INSIDE_TEST(growth_and_shards_keep_the_order),
        };

        for (size_t i = 0; i < sizeof(big); i++)
                big[i] = (uint8_t)(i * 31 >> 2);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
