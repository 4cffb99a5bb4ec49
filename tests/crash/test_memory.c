/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_memory.c -- what entries and objects cost, and that all of it comes back
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <objd.h>

#include "support/inside.h"
#include "support/numbers.h"
#include "support/test.h"

#define N_ENTRIES 200000
#define N_DICTS 100000
#define KEY_SIZE 16
#define VALUE_SIZE 100

/* What is promised: bytes of arena for each, and how much of the system's memory may stay behind. */
#define ENTRY_COST_MAX 209
#define DICT_COST_MAX 512
#define LEFT_MAX ((uint64_t)1 << 20)

static int setup(void **state)
{
        objd_conn *conn = NULL;

        assert_ok(objd_connect("embedded:1G", &conn));
        *state = conn;
        return 0;
}

static objd_value key_of(uint32_t n, char text[KEY_SIZE + 1])
{
        snprintf(text, KEY_SIZE + 1, "key-%012u", n);
        return objd_str(text, KEY_SIZE);
}

static void fill(objd_object *dict)
{
        char text[KEY_SIZE + 1], bytes[VALUE_SIZE] = { 0 };
        objd_value value = objd_bytes(bytes, sizeof(bytes));
        uint64_t len = 0;

        for (uint32_t n = 0; n < N_ENTRIES; n++) {
                objd_value key = key_of(n, text);

                memset(bytes, (int)(n & 0xff), sizeof(bytes));
                assert_ok(objd_dict_set(dict, &key, &value));
        }
        assert_ok(objd_dict_len(dict, &len));
        assert_int_equal(len, N_ENTRIES);
}

/* What the system gave for the store is back, but for a little; what is for the message. */
static void assert_given_back(objd_conn *conn, const objd_stats *empty, const char *what)
{
        objd_stats now = stats_of(conn);

        if (now.arena_resident > empty->arena_resident + LEFT_MAX)
                fail_msg("%s: %llu KiB of memory stay behind, and %llu KiB in use", what,
                         (unsigned long long)(now.arena_resident - empty->arena_resident) / 1024,
                         (unsigned long long)(now.arena_used - empty->arena_used) / 1024);
}

static void an_entry_costs_what_is_promised(void **state)
{
        objd_object *dict = inside_dict(*state, "dict");
        uint64_t cost;

        fill(dict);

        cost = stats_of(*state).arena_used / N_ENTRIES;
        if (cost > ENTRY_COST_MAX)
                fail_msg("an entry costs %llu bytes", (unsigned long long)cost);
        objd_release(dict);
}

static void deleting_every_key_gives_the_memory_back(void **state)
{
        objd_stats empty = stats_of(*state);
        objd_object *dict = inside_dict(*state, "dict");
        char text[KEY_SIZE + 1];

        fill(dict);
        assert_true(stats_of(*state).arena_resident >
                    empty.arena_resident + (uint64_t)N_ENTRIES * VALUE_SIZE);
        for (uint32_t n = 0; n < N_ENTRIES; n++) {
                objd_value key = key_of(n, text);

                assert_ok(objd_dict_del(dict, &key));
        }
        assert_given_back(*state, &empty, "every key deleted");
        objd_release(dict);
}

static void clearing_a_dict_gives_the_memory_back(void **state)
{
        objd_stats empty = stats_of(*state);
        objd_object *dict = inside_dict(*state, "dict");

        fill(dict);
        assert_ok(objd_dict_clear(dict));
        assert_given_back(*state, &empty, "cleared");
        objd_release(dict);
}

static void deleting_a_dict_gives_the_memory_back(void **state)
{
        objd_stats empty = stats_of(*state);
        objd_object *dict = inside_dict(*state, "dict");

        fill(dict);
        assert_ok(objd_delete(*state, "dict"));
        assert_given_back(*state, &empty, "deleted");
        objd_release(dict);
}

/* It would also show if what comes back were a little less each time. */
static void filling_and_clearing_again_needs_no_more(void **state)
{
        objd_object *dict = inside_dict(*state, "dict");
        uint64_t first = 0;

        for (int round = 0; round < 3; round++) {
                uint64_t used;

                fill(dict);
                used = inside_used(*state);
                first = round ? first : used;
                assert_true(used <= first + LEFT_MAX);
                assert_ok(objd_dict_clear(dict));
        }
        objd_release(dict);
}

/* ---- Many objects ------------------------------------------------------------------------------------ */

static objd_object **make_dicts(objd_conn *conn)
{
        static const char *const names[] = { "k1", "k2", "k3" };
        objd_object **dicts = calloc(N_DICTS, sizeof(objd_object *));

        assert_non_null(dicts);
        for (size_t i = 0; i < N_DICTS; i++) {
                dicts[i] = inside_dict(conn, NULL);
                for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
                        objd_value key = objd_cstr(names[k]), value = objd_int((int64_t)i);

                        assert_ok(objd_dict_set(dicts[i], &key, &value));
                }
        }
        return dicts;
}

static void small_dicts_are_small_and_give_their_memory_back(void **state)
{
        objd_stats empty = stats_of(*state);
        objd_object **dicts = make_dicts(*state);
        uint64_t cost = (stats_of(*state).arena_used - empty.arena_used) / N_DICTS;

        if (cost >= DICT_COST_MAX)
                fail_msg("a dict of three entries costs %llu bytes", (unsigned long long)cost);
        for (size_t i = 0; i < N_DICTS; i++) {
                assert_ok(objd_destroy(dicts[i]));
                objd_release(dicts[i]);
        }
        assert_given_back(*state, &empty, "all dicts destroyed");
        assert_int_equal(stats_of(*state).n_objects, empty.n_objects);
        free(dicts);
}

#define MEMORY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, inside_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                MEMORY_TEST(an_entry_costs_what_is_promised),
                MEMORY_TEST(deleting_every_key_gives_the_memory_back),
                MEMORY_TEST(clearing_a_dict_gives_the_memory_back),
                MEMORY_TEST(deleting_a_dict_gives_the_memory_back),
                MEMORY_TEST(filling_and_clearing_again_needs_no_more),
                MEMORY_TEST(small_dicts_are_small_and_give_their_memory_back),
        };

        return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
