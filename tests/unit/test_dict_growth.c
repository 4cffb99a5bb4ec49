/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_dict_growth.c -- object/dict*.c: how a dict grows, and gives its memory back
 *
 * By handle only: the tests look at the segments and shards of the arena, and make some hundred thousand calls each.
 */

#include "object/dict.h"
#include "support/dicts.h"
#include "support/inside.h"
#include "support/test.h"

#define N_SHARDED 3000 /* entries of a dict that has shards */
#define N_SPLIT 120000 /* entries of a dict whose shards have directories of more than two segments */

static uint8_t big[64 << 10];

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

/* A walk goes by how many hashes a segment says that it covers: one that says too few would make it endless. */
static void a_walk_ends_at_a_segment_deeper_than_its_directory(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, NULL);
        objd_value key = objd_int(1), value;
        struct segment_shm *segment;
        objd_cursor *cursor;

        assert_ok(objd_dict_set(dict, &key, &key));
        segment = arena_at(conn->arena, table_off(word_get(&dict->shm->line.root[0])) + CHUNK_HEAD,
                           sizeof(*segment));
        segment->shape += 36ULL << 16;
        assert_ok(objd_cursor_new(dict, &cursor));
        assert_status(objd_cursor_next(cursor, &key, &value), OBJD_E_CORRUPT);
        objd_cursor_free(cursor);
        segment->shape -= 36ULL << 16;
        assert_ok(objd_cursor_new(dict, &cursor));
        assert_ok(objd_cursor_next(cursor, &key, &value));
        assert_status(objd_cursor_next(cursor, &key, &value), OBJD_E_NOTFOUND);
        objd_cursor_free(cursor);
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
                INSIDE_TEST(growth_and_shards_keep_the_order),
                INSIDE_TEST(a_walk_ends_at_a_segment_deeper_than_its_directory),
        };

        for (size_t i = 0; i < sizeof(big); i++)
                big[i] = (uint8_t)(i * 31 >> 2);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
