/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_dict_entries.c -- what may be a dict's key and a dict's value, and what is refused
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/dicts.h"
#include "support/way.h"

#define N_SHARDED 3000 /* entries of a dict that has shards */

static uint8_t big[64 << 10];

/* ---- Values --------------------------------------------------------------------------------------------- */

static void every_type_of_value_comes_back_as_it_was(void **state)
{
        static const double reals[] = { 0.0, -0.0, 1.5, (double)INFINITY, (double)NAN };
        objd_object *dict = way_dict(*state, "d"), *other = way_dict(*state, "other");
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
        objd_object *dict = way_dict(*state, "d");
        objd_value key = objd_cstr("key"), other = objd_cstr("other");
        uint64_t empty = way_memory(dict);

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
        way_check(*state);
        assert_value(dict, other, key);
        assert_ok(objd_dict_del(dict, &key));
        assert_ok(objd_dict_del(dict, &other));
        assert_int_equal(way_memory(dict), empty);
        objd_release(dict);
}

static void big_values_have_chunks_and_give_them_back(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        uint64_t empty = way_memory(dict);
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
        assert_true(way_memory(dict) > 10 * (size - 10));
        for (int64_t i = 0; i < 10; i++) {
                objd_value key = key_of(i);

                assert_value(dict, key, objd_bytes(data + i, size - 10));
                assert_ok(objd_dict_pop(dict, &key, &value, &buf));
                assert_memory_equal(value.data, data + i, size - 10);
        }
        assert_int_equal(way_memory(dict), empty);
        objd_buf_free(&buf);
        free(data);
        objd_release(dict);
}

static void assert_got(objd_object *dict, int64_t n, objd_value expected, objd_buf *buf)
{
        objd_value key = objd_int(n), got;

        assert_ok(objd_dict_get(dict, &key, &got, buf));
        assert_true(objd_value_equal(&got, &expected));
        assert_in_range((uintptr_t)got.data, (uintptr_t)buf->data,
                        (uintptr_t)buf->data + buf->size - got.size);
}

/* By a proxy the memory of a large value goes to the buffer, and the buffer's is used for the next one: they must not meet. */
static void large_values_are_read_into_one_buffer_and_another(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        size_t sizes[] = { 800000, 100, 801000, 300000, 270000, 5000, 2 << 20, 2 << 20 };
        size_t n = sizeof(sizes) / sizeof(*sizes);
        uint64_t shape[] = { 0 };
        objd_value values[sizeof(sizes) / sizeof(*sizes)], got, key = objd_int(0);
        objd_buf one = OBJD_BUF_INIT, two = OBJD_BUF_INIT;

        for (size_t i = 0; i < n; i++) {
                uint8_t *bytes = malloc(sizes[i]);
                objd_value name = objd_int((int64_t)i);

                assert_non_null(bytes);
                for (size_t k = 0; k < sizes[i]; k++)
                        bytes[k] = (uint8_t)(k % 251 + i);
                shape[0] = sizes[i];
                values[i] = i % 3 == 0   ? objd_bytes(bytes, sizes[i])
                            : i % 3 == 1 ? objd_array(OBJD_U8, 1, shape, bytes)
                                         : objd_message("a.large.Message", bytes, sizes[i]);
                assert_ok(objd_dict_set(dict, &name, &values[i]));
        }
        for (size_t i = 0; i < n; i++)
                for (size_t k = 1; k < 4; k++) {
                        size_t next = (i + k) % n;

                        assert_ok(objd_dict_get(dict, &key, &got, &two)); /* stays as it is */
                        assert_got(dict, (int64_t)i, values[i], &one);
                        assert_got(dict, (int64_t)next, values[next], &one);
                        assert_true(objd_value_equal(&got, &values[0]));
                }
        for (size_t i = 0; i < n; i++)
                free((void *)(uintptr_t)values[i].data);
        objd_buf_free(&one);
        objd_buf_free(&two);
        objd_release(dict);
}

static void a_value_over_the_limit_is_refused(void **state)
{
        objd_object *dict = way_dict(*state, "d");
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
        objd_object *dict = way_dict(*state, "d");
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
        objd_object *dict = way_dict(*state, "d");
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
        objd_object *dict = way_dict(*state, "d");
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

        for (size_t i = 0; i < (size_t)way_few(2, 1); i++) {
                objd_object *dict = dict_with_keys_of(*state, types[i]), *other, *between = NULL;

                assert_ok(objd_open_ref(*state, objd_ref_of(dict), OBJD_DICT, &other));
                for (int turn = 0; turn < 3; turn++) {
                        int n = turn == 2 ? 20 : (int)way_few(200, turn ? 20 : 80);

                        fill_sizes(turn == 1 ? other : dict, types[i], n);
                        thin_out_sizes(turn == 1 ? dict : other, types[i], n);
                        assert_ok(objd_dict_clear(dict));
                        if (!between)
                                between = way_dict(*state, NULL);
                        fill(between, 0, turn ? way_few(N_SHARDED, 1000) : 10);
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
        memory = way_memory(dict);

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
        assert_int_equal(way_memory(dict), memory);
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
        objd_object *dict = way_dict(*state, "d");
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

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                WAY_TEST(every_type_of_value_comes_back_as_it_was),
                WAY_TEST(a_value_is_replaced_by_smaller_equal_and_larger_ones),
                WAY_TEST(big_values_have_chunks_and_give_them_back),
                WAY_TEST(large_values_are_read_into_one_buffer_and_another),
                WAY_TEST(a_value_over_the_limit_is_refused),
                WAY_TEST(keys_may_be_empty_or_long_but_not_too_long),
                WAY_TEST(keys_with_the_same_bytes_and_another_type_are_others),
                WAY_TEST(only_the_bytes_of_a_key_count),
                WAY_TEST(keys_of_one_declared_type_and_every_size),
                WAY_TEST(a_key_of_another_type_than_declared_is_refused_whatever_its_size),
                WAY_TEST(a_wrong_type_is_refused_and_changes_nothing),
                WAY_TEST(missing_arguments_are_refused),
        };

        for (size_t i = 0; i < sizeof(big); i++)
                big[i] = (uint8_t)(i * 31 >> 2);
        return way_run(argc, argv, tests);
}
