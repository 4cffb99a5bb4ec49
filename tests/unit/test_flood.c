/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_flood.c -- keys that are made to collide: a dict takes them, stays what it was, and does not get slow
 *
 * The keys are made from the arena's seed, as whoever has mapped the arena can do: XXH3 multiplies two halves of 16 bytes,
 * each of which is added to a constant and the seed, so a key whose first half makes a zero may have any second half.
 */

#include <string.h>

#include "object/dict.h"
#include "object/dict_hash.h"
#include "support/inside.h"
#include "support/test.h"

#define N_FLOOD 5000
#define KEY_SIZE 32

struct flood_key {
        uint64_t words[KEY_SIZE / 8];
};

/* The n-th of many keys of that type with the same hash. */
static struct flood_key flood_key(objd_conn *conn, objd_type type, uint64_t n)
{
        uint64_t seed = conn->arena->header->hash_key[0] + type, secret;
        struct flood_key key = { { 0, n * 0x9e3779b97f4a7c15, 1, 2 } };

        memcpy(&secret, XXH3_kSecret, sizeof(secret));
        key.words[0] = secret + seed;
        return key;
}

static void set_flood(objd_object *dict, uint64_t n, int64_t number)
{
        struct flood_key bytes = flood_key(dict->conn, OBJD_BYTES, n);
        objd_value key = objd_bytes(&bytes, sizeof(bytes)), value = objd_int(number);

        assert_ok(objd_dict_set(dict, &key, &value));
}

static void set_plain(objd_object *dict, int64_t i)
{
        objd_value key = objd_int(i), value = objd_int(i);

        assert_ok(objd_dict_set(dict, &key, &value));
}

static void assert_int(objd_object *dict, const objd_value *key, int64_t expected, objd_buf *buf)
{
        objd_value value;

        assert_ok(objd_dict_get(dict, key, &value, buf));
        assert_int_equal(value.type, OBJD_INT);
        assert_int_equal(value.u.integer, expected);
}

static void assert_all(objd_object *dict, int64_t n_plain, uint64_t n_flood)
{
        objd_buf buf = OBJD_BUF_INIT;
        uint64_t len;

        assert_ok(objd_dict_len(dict, &len));
        assert_int_equal(len, (uint64_t)n_plain + n_flood);
        for (int64_t i = 0; i < n_plain; i++) {
                objd_value key = objd_int(i);

                assert_int(dict, &key, i, &buf);
        }
        for (uint64_t n = 0; n < n_flood; n++) {
                struct flood_key bytes = flood_key(dict->conn, OBJD_BYTES, n);
                objd_value key = objd_bytes(&bytes, sizeof(bytes));

                assert_int(dict, &key, -(int64_t)n, &buf);
        }
        objd_buf_free(&buf);
}

static bool is_keyed(const objd_object *dict)
{
        return dict->shm->line.config & OBJECT_KEYED;
}

/* The most slots of one segment that look the same, in any line of the dict. */
static uint32_t most_alike(const objd_object *dict)
{
        struct arena *arena = dict->conn->arena;
        struct line_shm *shards = dict_shards(arena, dict->shm);
        uint32_t most = 0;

        for (uint32_t line = 0; line < (shards ? DICT_SHARDS : 1); line++) {
                uint64_t root = shards ? shards[line].root[0] : dict->shm->line.root[0];
                uint32_t depth = table_depth(root);
                const uint64_t *words =
                        depth ? arena_at(arena, table_off(root) + CHUNK_HEAD, 8ULL << depth) : &root;

                for (uint64_t i = 0; i < 1ULL << depth; i++) {
                        const struct segment_shm *segment = words[i] ? segment_at(arena, words[i]) : NULL;
                        uint32_t n_slots = table_groups(words[i]) * DICT_GROUP;

                        for (uint32_t a = 0; segment && a < n_slots; a++) {
                                uint32_t alike = 0;

                                for (uint32_t b = 0; b < n_slots; b++)
                                        alike += segment->slots[a] > SLOT_GONE &&
                                                 segment->slots[b] > SLOT_GONE &&
                                                 segment->slots[a] >> 37 == segment->slots[b] >> 37;
                                most = alike > most ? alike : most;
                        }
                }
        }
        return most;
}

static void the_keys_do_collide(void **state)
{
        objd_conn *conn = *state;
        struct flood_key first = flood_key(conn, OBJD_BYTES, 0);

        for (uint64_t n = 1; n < 100; n++) {
                struct flood_key key = flood_key(conn, OBJD_BYTES, n);

                assert_memory_not_equal(&key, &first, sizeof(key));
                assert_int_equal(key_hash(conn->arena, OBJD_BYTES, &key, sizeof(key)),
                                 key_hash(conn->arena, OBJD_BYTES, &first, sizeof(first)));
        }
}

/* Dicts of no entries, of one segment, of shards, and of shards with directories. */
static void a_flooded_dict_takes_all_keys_under_another_hash(void **state)
{
        static const int64_t sizes[] = { 0, 300, 3000, 60000 };

        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
                objd_object *dict = inside_dict(*state, NULL);

                for (int64_t k = 0; k < sizes[i]; k++)
                        set_plain(dict, k);
                assert_false(is_keyed(dict));
                for (uint64_t n = 0; n < N_FLOOD; n++)
                        set_flood(dict, n, -(int64_t)n);
                assert_true(is_keyed(dict));
                assert_in_range(most_alike(dict), 1, 4);
                assert_all(dict, sizes[i], N_FLOOD);
                for (uint64_t n = 0; n < N_FLOOD; n++)
                        set_flood(dict, n, -(int64_t)n);
                assert_all(dict, sizes[i], N_FLOOD);
                inside_check(*state);
                objd_release(dict);
        }
}

static void all_operations_go_by_the_new_hash(void **state)
{
        objd_object *dict = inside_dict(*state, NULL);
        struct flood_key bytes;
        objd_value key = objd_bytes(&bytes, sizeof(bytes)), value = objd_int(5), popped_key;
        objd_buf buf = OBJD_BUF_INIT;
        objd_pin *pin;
        int64_t sum;

        for (uint64_t n = 0; n < 200; n++)
                set_flood(dict, n, -(int64_t)n);
        assert_true(is_keyed(dict));
        bytes = flood_key(dict->conn, OBJD_BYTES, 7);
        assert_ok(objd_dict_add_int(dict, &key, 1, &sum));
        assert_int_equal(sum, -6);
        assert_int_equal(objd_dict_set_new(dict, &key, &value), OBJD_E_EXISTS);
        assert_ok(objd_dict_pin(dict, &key, &value, &pin));
        assert_int_equal(value.u.integer, -6);
        objd_unpin(pin);
        assert_ok(objd_dict_pop(dict, &key, &value, &buf));
        assert_int_equal(objd_dict_del(dict, &key), OBJD_E_NOTFOUND);
        for (int i = 0; i < 199; i++)
                assert_ok(objd_dict_pop_any(dict, &popped_key, &value, &buf));
        assert_int_equal(objd_dict_pop_any(dict, &popped_key, &value, &buf), OBJD_E_EMPTY);
        for (uint64_t n = 0; n < 2000; n++)
                set_flood(dict, n, -(int64_t)n);
        assert_ok(objd_dict_clear(dict));
        set_flood(dict, 3, 33);
        bytes = flood_key(dict->conn, OBJD_BYTES, 3);
        assert_int(dict, &key, 33, &buf);
        objd_buf_free(&buf);
        objd_release(dict);
}

/* Values of all places, and the order of the keys, survive the change. */
static void values_and_their_order_are_what_they_were(void **state)
{
        static uint8_t big[9000];
        objd_object *dict = inside_dict(*state, NULL);
        objd_items *items;

        for (int64_t i = 0; i < 500; i++) {
                objd_value key = objd_int(i), value = objd_bytes(big, i % 5 ? (size_t)i : 4500 + (size_t)i);

                memset(big, (int)i, sizeof(big));
                assert_ok(objd_dict_set(dict, &key, &value));
        }
        for (uint64_t n = 0; n < 100; n++)
                set_flood(dict, n, -(int64_t)n);
        assert_true(is_keyed(dict));
        assert_ok(objd_dict_copy(dict, &items));
        assert_int_equal(items->len, 600);
        for (int64_t i = 0; i < 500; i++) {
                const objd_value *value = &items->item[i].value;

                assert_int_equal(items->item[i].key.u.integer, i);
                assert_int_equal(value->size, i % 5 ? (size_t)i : 4500 + (size_t)i);
                memset(big, (int)i, sizeof(big));
                assert_memory_equal(value->data, big, value->size);
        }
        for (int64_t n = 0; n < 100; n++)
                assert_int_equal(items->item[500 + n].value.u.integer, -n);
        objd_items_free(items);
        objd_release(dict);
}

/* A cursor that is on its way meanwhile gives each entry that stays exactly once. */
static void a_cursor_survives_the_change(void **state)
{
        static uint8_t seen[20000];

        for (int64_t before = 0; before < 20000; before = 3 * before + 1) {
                objd_object *dict = inside_dict(*state, NULL);
                objd_value key, value;
                objd_cursor *cursor;
                objd_status r;

                memset(seen, 0, sizeof(seen));
                for (int64_t i = 0; i < 20000; i++)
                        set_plain(dict, i);
                assert_ok(objd_cursor_new(dict, &cursor));
                for (int64_t i = 0; (r = objd_cursor_next(cursor, &key, &value)) == OBJD_OK; i++) {
                        if (key.type == OBJD_INT)
                                seen[key.u.integer]++;
                        if (i == before)
                                for (uint64_t n = 0; n < 50; n++)
                                        set_flood(dict, n, 0);
                }
                assert_int_equal(r, OBJD_E_NOTFOUND);
                assert_true(is_keyed(dict));
                for (int64_t i = 0; i < 20000; i++)
                        assert_int_equal(seen[i], 1);
                objd_cursor_free(cursor);
                objd_release(dict);
        }
}

/* A handle that was opened before, and one that is opened after, see the same; so do batches. */
static void other_handles_and_batches_notice(void **state)
{
        objd_conn *conn = *state;
        objd_object *mine = inside_dict(conn, "flooded"), *other;
        struct flood_key bytes;
        objd_value key = objd_bytes(&bytes, sizeof(bytes)), value = objd_int(1);
        objd_buf buf = OBJD_BUF_INIT;
        objd_batch *batch;

        assert_ok(objd_open(conn, "flooded", OBJD_DICT, &other));
        set_flood(other, 0, 10);
        assert_ok(objd_batch_new(conn, &batch));
        for (uint64_t n = 1; n < 40; n++) {
                bytes = flood_key(conn, OBJD_BYTES, n);
                assert_ok(objd_batch_dict_set(batch, mine, &key, &value));
        }
        assert_ok(objd_batch_commit(batch, NULL));
        objd_batch_free(batch);
        assert_true(is_keyed(mine));
        bytes = flood_key(conn, OBJD_BYTES, 0);
        assert_int(other, &key, 10, &buf);
        bytes = flood_key(conn, OBJD_BYTES, 39);
        assert_int(other, &key, 1, &buf);
        objd_release(other);
        assert_ok(objd_open(conn, "flooded", OBJD_DICT, &other));
        assert_int(other, &key, 1, &buf);
        objd_buf_free(&buf);
        objd_release(other);
        objd_release(mine);
}

/* Names are text, so the zero has to be made of letters: the arena is given a seed with which it can be. */
static void choose_seed_for_letters(objd_conn *conn)
{
        uint64_t secret, letters;

        memcpy(&secret, XXH3_kSecret, sizeof(secret));
        memset(&letters, 'a', sizeof(letters));
        conn->arena->header->hash_key[0] = letters - secret - OBJD_STR;
}

static void name_of(int i, char name[KEY_SIZE + 1])
{
        memset(name, 'a', KEY_SIZE);
        name[KEY_SIZE] = 0;
        name[8] = (char)('a' + i % 26);
        name[9] = (char)('a' + i / 26);
}

/* The dict of names is flooded like any other. */
static void names_may_collide(void **state)
{
        objd_conn *conn = *state;
        struct arena *arena = conn->arena;
        const struct object_shm *names = arena_at(arena, arena->header->names, sizeof(*names));
        char name[KEY_SIZE + 1];
        objd_object *object;

        choose_seed_for_letters(conn);
        for (int i = 0; i < 60; i++) {
                name_of(i, name);
                assert_ok(objd_create(conn, name, OBJD_DICT, NULL, &object));
                objd_release(object);
        }
        assert_true(names->line.config & OBJECT_KEYED);
        for (int i = 0; i < 60; i++) {
                name_of(i, name);
                assert_ok(objd_open(conn, name, OBJD_DICT, &object));
                objd_release(object);
                assert_ok(objd_delete(conn, name));
        }
}

/* What collides elsewhere, or for other seeds, does not collide here. */
static void keys_that_collide_under_other_hashes_and_seeds(void **state)
{
        static const uint64_t wyhash_secrets[] = { 0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3,
                                                   0x589965cc75374cc3 };
        objd_object *dict = inside_dict(*state, NULL);
        struct flood_key bytes;
        objd_value key = objd_bytes(&bytes, sizeof(bytes)), value = objd_nil();
        uint64_t secret;
        char text[33];

        memcpy(&secret, XXH3_kSecret, sizeof(secret));
        for (uint64_t n = 0; n < 2000; n++) {
                /* XXH3: without a seed, with each of the first few thousand, and with the seeds of the other types */
                bytes = (struct flood_key){ { secret, n, 1, 2 } };
                assert_ok(objd_dict_set(dict, &key, &value));
                bytes = (struct flood_key){ { secret + n, n, 1, 3 } };
                assert_ok(objd_dict_set(dict, &key, &value));
                bytes = flood_key(dict->conn, OBJD_STR, n);
                assert_ok(objd_dict_set(dict, &key, &value));
                /* wyhash: whose multiplications are made to give zero for every seed that it mixes in later */
                bytes = (struct flood_key){ { wyhash_secrets[n % 4], n, wyhash_secrets[(n + 1) % 4], n } };
                assert_ok(objd_dict_set(dict, &key, &value));
                /* times 33 and add: "Ez" and "FY" are the same */
                for (int bit = 0; bit < 16; bit++)
                        memcpy(text + 2 * bit, n >> bit & 1 ? "Ez" : "FY", 2);
                key = objd_bytes(text, 32);
                assert_ok(objd_dict_set(dict, &key, &value));
                key = objd_bytes(&bytes, sizeof(bytes));
        }
        assert_false(is_keyed(dict));
        assert_in_range(most_alike(dict), 1, 4);
        objd_release(dict);
}

/* What is not made to collide never brings a dict to another hash, in whatever pattern it comes. */
static void honest_keys_keep_the_fast_hash(void **state)
{
        static const uint64_t steps[] = { 1, 8, 4096, 1ULL << 20, 1ULL << 32, 1ULL << 40 };
        char text[40];

        for (size_t s = 0; s < sizeof(steps) / sizeof(*steps); s++) {
                objd_object *dict = inside_dict(*state, NULL);

                for (uint64_t i = 0; i < 20000; i++) {
                        objd_value key = objd_int((int64_t)(i * steps[s])), value = objd_nil();

                        assert_ok(objd_dict_set(dict, &key, &value));
                        snprintf(text, sizeof(text), "%032llx", (unsigned long long)(i * steps[s]));
                        key = objd_cstr(text);
                        assert_ok(objd_dict_set(dict, &key, &value));
                }
                assert_false(is_keyed(dict));
                objd_release(dict);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(the_keys_do_collide),
                INSIDE_TEST(a_flooded_dict_takes_all_keys_under_another_hash),
                INSIDE_TEST(all_operations_go_by_the_new_hash),
                INSIDE_TEST(values_and_their_order_are_what_they_were),
                INSIDE_TEST(a_cursor_survives_the_change),
                INSIDE_TEST(other_handles_and_batches_notice),
                INSIDE_TEST(names_may_collide),
                INSIDE_TEST(keys_that_collide_under_other_hashes_and_seeds),
                INSIDE_TEST(honest_keys_keep_the_fast_hash),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
