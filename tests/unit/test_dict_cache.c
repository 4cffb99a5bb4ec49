/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_dict_cache.c -- what a handle remembers of a large dict, and threads that write it down too late
 *
 * A thread looks where a dict's shards are, and is stopped before it has written down what it saw. Meanwhile the dict is cleared
 * and filled again, its old shards become another dict's, and other threads of the process go on with the handle. Then
 * the thread goes on, and may be stopped again after each word. So here each word that handles remember gets its old value, alone
 * and with the others, and the handle must still lead to its own dict.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "object/object.h"
#include "support/inside.h"
#include "support/test.h"

#define N_KEYS 2000 /* enough for shards */

#define N_WORDS (sizeof(((struct objd_object *)NULL)->cache) / 8)

static objd_object *make(objd_conn *conn, const char *name)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *dict;

        config.key_type = OBJD_STR;
        assert_ok(objd_create(conn, name, OBJD_DICT, &config, &dict));
        return dict;
}

static objd_value key_of(int i, char text[17])
{
        snprintf(text, 17, "%016d", i);
        return objd_str(text, 16);
}

static void fill(objd_object *dict, int64_t number)
{
        char text[17];

        for (int i = 0; i < N_KEYS; i++) {
                objd_value key = key_of(i, text), value = objd_int(number + i);

                assert_ok(objd_dict_set(dict, &key, &value));
        }
}

static void expect(objd_object *dict, int64_t number)
{
        objd_buf buf = OBJD_BUF_INIT;
        char text[17];

        for (int i = 0; i < N_KEYS; i++) {
                objd_value key = key_of(i, text), value;

                assert_ok(objd_dict_get(dict, &key, &value, &buf));
                assert_int_equal(value.u.integer, number + i);
        }
        objd_buf_free(&buf);
}

static void get_one(objd_object *dict)
{
        objd_buf buf = OBJD_BUF_INIT;
        char text[17];
        objd_value key = key_of(1, text), value;

        assert_ok(objd_dict_get(dict, &key, &value, &buf));
        objd_buf_free(&buf);
}

/* Some words as they were, the others as they are: each call begins like this, for it puts right what it finds wrong. */
static void be_late(objd_object *dict, const uint64_t *old, unsigned words)
{
        for (size_t i = 0; i < N_WORDS; i++)
                if (words >> i & 1)
                        word_set(&dict->cache[i], old[i]);
}

static void a_thread_that_is_late_leads_nobody_to_another_dict(void **state)
{
        objd_conn *conn = *state;
        objd_object *late = make(conn, "it"), *it, *taker;
        uint64_t old[N_WORDS], group = 0;

        assert_ok(objd_open(conn, "it", OBJD_DICT, &it));
        fill(late, 0);
        get_one(late);
        memcpy(old, late->cache, sizeof(old));
        assert_int_not_equal(old[0], 0);
        group = late->shm->line.root[0];
        assert_ok(objd_dict_clear(it));
        taker = make(conn, "taker");
        fill(taker, 1000000);
        fill(it, 2000000);
        assert_int_equal(taker->shm->line.root[0], group); /* or there would be nothing to be seen */
        assert_int_not_equal(it->shm->line.root[0], group);
        for (unsigned words = 1; words < 1u << N_WORDS; words++) {
                char text[17];

                for (int i = 0; i < N_KEYS; i += 50) {
                        objd_value key = key_of(i, text), value = objd_int(2000000 + i);
                        objd_buf buf = OBJD_BUF_INIT;

                        get_one(late); /* remembers where it is */
                        be_late(late, old, words);
                        assert_ok(objd_dict_get(late, &key, &value, &buf));
                        assert_int_equal(value.u.integer, 2000000 + i);
                        objd_buf_free(&buf);
                        get_one(late);
                        be_late(late, old, words);
                        assert_ok(objd_dict_set(late, &key, &value));
                }
                expect(it, 2000000);
                expect(taker, 1000000);
        }
        objd_release(late);
        objd_release(it);
        objd_release(taker);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(a_thread_that_is_late_leads_nobody_to_another_dict),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
