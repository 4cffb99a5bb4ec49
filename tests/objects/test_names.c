/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_names.c -- objects and their handles: names, deleting, renaming, anonymous objects, what an object costs
 */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "object/object.h"
#include "support/child.h"
#include "support/way.h"

#define N_SMALL 20000 /* dicts of three entries */

static void put(objd_object *dict, int64_t i, int64_t n)
{
        objd_value key = objd_int(i), value = objd_int(n);

        assert_ok(objd_dict_set(dict, &key, &value));
}

/* Every call on a handle whose object has been deleted says so. */
static void assert_gone(objd_object *dict)
{
        objd_value key = objd_int(1), value;
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;
        objd_info info;
        uint64_t len;
        bool found;

        assert_status(objd_dict_get(dict, &key, &value, &buf), OBJD_E_GONE);
        assert_status(objd_dict_contains(dict, &key, &found), OBJD_E_GONE);
        assert_status(objd_dict_len(dict, &len), OBJD_E_GONE);
        assert_status(objd_dict_copy(dict, &items), OBJD_E_GONE);
        assert_status(objd_dict_get_many(dict, &key, 1, &items), OBJD_E_GONE);
        assert_status(objd_dict_set(dict, &key, &key), OBJD_E_GONE);
        assert_status(objd_dict_cas(dict, &key, NULL, &key), OBJD_E_GONE);
        assert_status(objd_dict_add_int(dict, &key, 1, NULL), OBJD_E_GONE);
        assert_status(objd_dict_del(dict, &key), OBJD_E_GONE);
        assert_status(objd_dict_pop(dict, &key, &value, &buf), OBJD_E_GONE);
        assert_status(objd_dict_pop_any(dict, &key, &value, &buf), OBJD_E_GONE);
        assert_status(objd_dict_clear(dict), OBJD_E_GONE);
        assert_status(objd_info_get(dict, &info), OBJD_E_GONE);
        assert_status(objd_set_name(dict, "again"), OBJD_E_GONE);
        assert_status(objd_destroy(dict), OBJD_E_GONE);
        objd_buf_free(&buf);
}

/* ---- Names ---------------------------------------------------------------------------------------------- */

static void names_have_limits(void **state)
{
        static const size_t sizes[] = { 1, 23, 24, 25, 254, OBJD_NAME_MAX };
        static const char *const bad[] = { "a\nb", "\x1f", "\x7f", "tab\t", "\xff", "\xc3", "\xed\xa0\x80" };
        objd_object *dict = NULL, *same;
        char name[OBJD_NAME_MAX + 2];
        objd_info info;

        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
                memset(name, 'a', sizes[i]);
                name[sizes[i]] = 0;
                dict = way_dict(*state, name);
                assert_ok(objd_info_get(dict, &info));
                assert_string_equal(info.name, name);
                assert_ok(objd_open(*state, name, OBJD_DICT, &same));
                assert_int_equal(objd_ref_of(same).serial, objd_ref_of(dict).serial);
                objd_release(same);
                objd_release(dict);
        }
        dict = NULL;
        memset(name, 'a', OBJD_NAME_MAX + 1);
        name[OBJD_NAME_MAX + 1] = 0;
        assert_status(objd_create(*state, name, OBJD_DICT, NULL, &dict), OBJD_E_TOOBIG);
        assert_status(objd_open(*state, name, OBJD_DICT, &dict), OBJD_E_TOOBIG);
        assert_status(objd_delete(*state, name), OBJD_E_TOOBIG);
        assert_status(objd_create(*state, "", OBJD_DICT, NULL, &dict), OBJD_E_INVAL);
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
                assert_status(objd_create(*state, bad[i], OBJD_DICT, NULL, &dict), OBJD_E_INVAL);
                assert_status(objd_open_or_create(*state, bad[i], OBJD_DICT, NULL, &dict), OBJD_E_INVAL);
        }
        assert_null(dict);
        assert_int_equal(way_objects(*state), 1 + sizeof(sizes) / sizeof(*sizes));
        dict = way_dict(*state, "gr\xc3\xbc\xc3\x9f / \"quoted\" %s");
        assert_status(objd_set_name(dict, ""), OBJD_E_INVAL);
        assert_status(objd_set_name(dict, name), OBJD_E_TOOBIG);
        assert_ok(objd_info_get(dict, &info));
        assert_string_equal(info.name, "gr\xc3\xbc\xc3\x9f / \"quoted\" %s");
        objd_release(dict);
}

static void a_name_is_taken_once(void **state)
{
        objd_object *dict = way_dict(*state, "taken"), *other = NULL;
        uint64_t used = way_used(*state);

        assert_status(objd_create(*state, "taken", OBJD_DICT, NULL, &other), OBJD_E_EXISTS);
        assert_contains(objd_last_error(), "\"taken\"");
        assert_int_equal(way_used(*state), used);
        assert_int_equal(way_objects(*state), 2);
        assert_null(other);
        objd_release(dict);
}

static void open_or_create_compares_kind_and_configuration(void **state)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *dict = NULL, *same = NULL;

        config.key_type = OBJD_STR;
        assert_ok(objd_open_or_create(*state, "d", OBJD_DICT, &config, &dict));
        assert_ok(objd_open_or_create(*state, "d", OBJD_DICT, &config, &same));
        assert_int_equal(objd_ref_of(same).serial, objd_ref_of(dict).serial);
        objd_release(same);
        assert_ok(objd_open_or_create(*state, "d", OBJD_DICT, NULL, &same));
        objd_release(same);
        assert_ok(objd_open(*state, "d", OBJD_KIND_ANY, &same));
        objd_release(same);
        same = NULL;
        config.value_type = OBJD_INT;
        assert_status(objd_open_or_create(*state, "d", OBJD_DICT, &config, &same), OBJD_E_TYPE);
        config.struct_size = 8;
        assert_status(objd_create(*state, "e", OBJD_DICT, &config, &same), OBJD_E_INVAL);
        assert_status(objd_open(*state, "d", OBJD_QUEUE, &same), OBJD_E_KIND);
        assert_status(objd_create(*state, "e", (objd_kind)77, NULL, &same), OBJD_E_INVAL);
        assert_status(objd_open(*state, "e", OBJD_DICT, &same), OBJD_E_NOTFOUND);
        assert_null(same);
        objd_release(dict);
}

static void renaming_keeps_the_object(void **state)
{
        static const char *const names[] = {
                "a",
                "a name that is too long for the slot of an object",
                "b",
                "another name, which is too long as well",
                "yet another name that is too long for the slot it is in",
                "a",
        };
        objd_object *dict = way_dict(*state, "first"), *other = way_dict(*state, "other"), *found = NULL;
        objd_info info;
        uint64_t memory;

        put(dict, 1, 10);
        memory = way_memory(dict);
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
                assert_ok(objd_set_name(dict, names[i]));
                assert_ok(objd_info_get(dict, &info));
                assert_string_equal(info.name, names[i]);
                assert_ok(objd_open(*state, names[i], OBJD_DICT, &found));
                assert_int_equal(objd_ref_of(found).serial, objd_ref_of(dict).serial);
                objd_release(found);
                assert_status(objd_open(*state, i ? names[i - 1] : "first", OBJD_DICT, &found),
                              OBJD_E_NOTFOUND);
        }
        assert_ok(objd_set_name(dict, "a")); /* its own */
        assert_status(objd_set_name(dict, "other"), OBJD_E_EXISTS);
        assert_ok(objd_info_get(dict, &info));
        assert_string_equal(info.name, "a");
        assert_int_equal(info.len, 1);
        assert_true(way_memory(dict) == memory);
        objd_release(other);
        objd_release(dict);
}

static void all_named_objects_are_listed_by_name(void **state)
{
        const int n_names = (int)way_few(2000, 1200);
        objd_object *dict;
        objd_info *infos;
        char name[32];
        size_t n;

        assert_ok(objd_list(*state, NULL, &infos, &n));
        assert_int_equal(n, 0);
        objd_infos_free(infos);
        for (int i = 0; i < n_names; i++) {
                snprintf(name, sizeof(name), "%s%04d", i % 2 ? "odd" : "even", i);
                dict = way_dict(*state, name);
                objd_release(dict);
        }
        dict = way_dict(*state, NULL);
        objd_release(dict);
        assert_ok(objd_list(*state, "", &infos, &n));
        assert_int_equal(n, n_names);
        for (size_t i = 1; i < n; i++)
                assert_true(strcmp(infos[i - 1].name, infos[i].name) < 0);
        objd_infos_free(infos);
        assert_ok(objd_list(*state, "odd1", &infos, &n));
        assert_int_equal(n, n_names / 2 - 500);
        assert_string_equal(infos[0].name, "odd1001");
        objd_infos_free(infos);
        assert_ok(objd_list(*state, "none", &infos, &n));
        assert_int_equal(n, 0);
        objd_infos_free(infos);
}

/* ---- Deleting ------------------------------------------------------------------------------------------- */

static void delete_works_by_name_and_by_handle(void **state)
{
        uint64_t used = way_used(*state);

        for (int by_name = 0; by_name < 2; by_name++)
                for (int large = 0; large < 2; large++) {
                        objd_object *dict = way_dict(*state, "d"), *handle;

                        assert_ok(objd_open(*state, "d", OBJD_DICT, &handle));
                        for (int64_t i = 0; i < (large ? 5000 : 5); i++)
                                put(dict, i, i);
                        assert_ok(by_name ? objd_delete(*state, "d") : objd_destroy(dict));
                        assert_gone(dict);
                        assert_gone(handle);
                        assert_status(objd_delete(*state, "d"), OBJD_E_NOTFOUND);
                        assert_int_equal(way_used(*state), used);
                        objd_release(dict);
                        objd_release(handle);
                }
        assert_int_equal(way_objects(*state), 1);
}

static void an_old_handle_stays_gone_when_its_slot_is_used_again(void **state)
{
        objd_object *old[50], *new;
        objd_ref ref;
        int same_place = 0;

        for (int i = 0; i < 50; i++) {
                old[i] = way_dict(*state, NULL);
                put(old[i], 1, 1);
                assert_ok(objd_destroy(old[i]));
        }
        for (int i = 0; i < 50; i++) {
                new = way_dict(*state, NULL);
                put(new, 1, i);
                for (int k = 0; k < 50; k++)
                        same_place += objd_ref_of(new).place == objd_ref_of(old[k]).place;
                objd_release(new);
        }
        assert_true(same_place > 0);
        for (int i = 0; i < 50; i++) {
                assert_gone(old[i]);
                ref = objd_ref_of(old[i]);
                assert_status(objd_open_ref(*state, ref, OBJD_DICT, &new), OBJD_E_GONE);
                objd_release(old[i]);
        }
}

/* When all objects of a block are deleted, its memory becomes entries and big values; handles must not look at those. */
static void an_old_handle_stays_gone_when_its_block_is_other_memory(void **state)
{
        enum { N = 3 * SLOTS_PER_BLOCK };
        static objd_object *old[N];
        static uint8_t bytes[50000];
        objd_object *dict;
        uint64_t retired;

        way_needs_handle("it looks at what the arena says of retired blocks");
        for (int i = 0; i < N; i++)
                old[i] = way_dict(*state, NULL);
        retired = old[0]->conn->arena->header->retire_count;
        for (int i = 0; i < N; i++)
                assert_ok(objd_destroy(old[i]));
        assert_true(old[0]->conn->arena->header->retire_count > retired);
        memset(bytes, 0xff, sizeof(bytes));
        dict = way_dict(*state, "d");
        for (int64_t i = 0; i < 200; i++) {
                objd_value key = objd_int(i), value = objd_bytes(bytes, i % 2 ? sizeof(bytes) : 3000);

                assert_ok(objd_dict_set(dict, &key, &value));
        }
        for (int i = 0; i < N; i += 7)
                assert_gone(old[i]);
        for (int i = 0; i < N; i++)
                objd_release(old[i]);
        objd_release(dict);
}

static void refs_that_name_nothing_are_gone(void **state)
{
        objd_object *dict = way_dict(*state, "d"), *found = NULL;
        objd_ref good = objd_ref_of(dict);
        objd_ref bad[] = {
                { 0, 0 },
                { 0, 1 },
                { good.place, 0 },
                { good.place, good.serial + 1 },
                { good.place + 8, good.serial },
                { good.place + SLOT_SIZE, good.serial },
                { good.place & ~(uint64_t)(BLOCK_SIZE - 1), good.serial },
                { UINT64_MAX, good.serial },
                { UINT64_MAX - 127, good.serial },
                { 1ULL << 40, good.serial },
        };

        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
                assert_status(objd_open_ref(*state, bad[i], OBJD_KIND_ANY, &found), OBJD_E_GONE);
        assert_status(objd_open_ref(*state, good, OBJD_LIST, &found), OBJD_E_KIND);
        assert_null(found);
        assert_ok(objd_open_ref(*state, good, OBJD_DICT, &found));
        objd_release(found);
        objd_release(dict);
}

/* ---- Anonymous objects ---------------------------------------------------------------------------------- */

struct maker {
        objd_conn *conn;
        objd_object *shelf; /* where refs are left */
        bool dies;
};

/* Three anonymous dicts, the third of which gets a name; their refs go to the shelf. */
static int make_anonymous(void *context)
{
        struct maker *maker = context;

        for (int64_t i = 0; i < 3; i++) {
                objd_object *dict;
                objd_value key = objd_int(i), ref;

                child_ok(objd_create(maker->conn, NULL, OBJD_DICT, NULL, &dict));
                child_ok(objd_dict_set(dict, &key, &key));
                if (i == 2)
                        child_ok(objd_set_name(dict, "kept"));
                ref = objd_refer(objd_ref_of(dict));
                child_ok(objd_dict_set(maker->shelf, &key, &ref));
                objd_release(dict);
        }
        if (maker->dies)
                pause();
        objd_release(maker->shelf);
        objd_close(maker->conn);
        return 0;
}

static bool shelf_is_full(void *context)
{
        uint64_t len = 0;

        return objd_dict_len(context, &len) == OBJD_OK && len == 3;
}

/* Any call may be the one that looks for the dead, but somebody has to make one. */
static bool only_two_are_left(void *context)
{
        objd_conn *conn = context;
        objd_object *dict;

        assert_ok(objd_create(conn, NULL, OBJD_DICT, NULL, &dict));
        assert_ok(objd_destroy(dict));
        objd_release(dict);
        way_check(conn);
        return way_objects(conn) == 3; /* the names, the shelf, the one that was named */
}

static void check_what_is_left(objd_conn *conn, objd_object *shelf)
{
        objd_buf buf = OBJD_BUF_INIT;

        for (int64_t i = 0; i < 3; i++) {
                objd_value key = objd_int(i), value;
                objd_object *dict;

                assert_ok(objd_dict_get(shelf, &key, &value, &buf));
                assert_status(objd_open_ref(conn, value.u.ref, OBJD_DICT, &dict),
                              i == 2 ? OBJD_OK : OBJD_E_GONE);
                if (i == 2) {
                        assert_ok(objd_dict_get(dict, &key, &value, &buf));
                        objd_release(dict);
                }
        }
        objd_buf_free(&buf);
}

static void anonymous_objects_go_with_their_client(void **state)
{
        for (int dies = 0; dies < 2; dies++) {
                struct maker maker = { *state, way_dict(*state, "shelf"), dies };
                objd_object *own = way_dict(*state, NULL);
                pid_t pid = child_start(make_anonymous, &maker);

                wait_until(shelf_is_full, maker.shelf, "three dicts");
                if (dies)
                        way_kill(pid);
                else
                        child_expect_success(pid);
                put(own, 1, 1); /* ours is not the child's */
                assert_ok(objd_destroy(own));
                objd_release(own);
                if (!dies)
                        assert_int_equal(way_objects(*state), 3);
                wait_until(only_two_are_left, *state, "the dead child's objects are deleted");
                check_what_is_left(*state, maker.shelf);
                assert_ok(objd_delete(*state, "kept"));
                assert_ok(objd_destroy(maker.shelf));
                objd_release(maker.shelf);
        }
}

/* ---- What they cost ------------------------------------------------------------------------------------- */

static void a_dict_of_three_short_entries_takes_under_512_bytes(void **state)
{
        static objd_object *dicts[N_SMALL];
        uint64_t before = way_used(*state), resident;
        objd_value keys[3] = { objd_cstr("first"), objd_cstr("second"), objd_cstr("third") };
        objd_value values[3] = { objd_int(1), objd_cstr("short"), objd_float(1.5) };
        objd_stats stats;

        way_needs_handle("it makes very many objects, and looks at the memory of all");
        assert_ok(objd_stats_get(*state, &stats));
        resident = stats.arena_resident;
        for (int i = 0; i < N_SMALL; i++) {
                dicts[i] = way_dict(*state, NULL);
                for (int k = 0; k < 3; k++)
                        assert_ok(objd_dict_set(dicts[i], &keys[k], &values[k]));
        }
        assert_true((way_used(*state) - before) / N_SMALL < 512);
        assert_ok(objd_stats_get(*state, &stats));
        assert_true((stats.arena_resident - resident) / N_SMALL < 512);
        for (int i = 0; i < N_SMALL; i++) {
                assert_ok(objd_destroy(dicts[i]));
                objd_release(dicts[i]);
        }
        assert_int_equal(way_used(*state), before);
        assert_ok(objd_stats_get(*state, &stats));
        assert_true(stats.arena_resident < resident + (1 << 20));
}

static void missing_arguments_are_refused(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        objd_info *infos;
        size_t n;

        assert_status(objd_create(NULL, "a", OBJD_DICT, NULL, &dict), OBJD_E_INVAL);
        assert_status(objd_create(*state, "a", OBJD_DICT, NULL, NULL), OBJD_E_INVAL);
        assert_status(objd_open(*state, NULL, OBJD_DICT, &dict), OBJD_E_INVAL);
        assert_status(objd_open_or_create(*state, NULL, OBJD_DICT, NULL, &dict), OBJD_E_INVAL);
        assert_status(objd_delete(*state, NULL), OBJD_E_INVAL);
        assert_status(objd_destroy(NULL), OBJD_E_INVAL);
        assert_status(objd_set_name(dict, NULL), OBJD_E_INVAL);
        assert_status(objd_info_get(dict, NULL), OBJD_E_INVAL);
        assert_status(objd_list(*state, NULL, NULL, &n), OBJD_E_INVAL);
        assert_status(objd_list(*state, NULL, &infos, NULL), OBJD_E_INVAL);
        objd_release(NULL);
        objd_infos_free(NULL);
        objd_release(dict);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                WAY_TEST(names_have_limits),
                WAY_TEST(a_name_is_taken_once),
                WAY_TEST(open_or_create_compares_kind_and_configuration),
                WAY_TEST(renaming_keeps_the_object),
                WAY_TEST(all_named_objects_are_listed_by_name),
                WAY_TEST(delete_works_by_name_and_by_handle),
                WAY_TEST(an_old_handle_stays_gone_when_its_slot_is_used_again),
                WAY_TEST(an_old_handle_stays_gone_when_its_block_is_other_memory),
                WAY_TEST(refs_that_name_nothing_are_gone),
                WAY_TEST(anonymous_objects_go_with_their_client),
                WAY_TEST(a_dict_of_three_short_entries_takes_under_512_bytes),
                WAY_TEST(missing_arguments_are_refused),
        };

        return way_run(argc, argv, tests);
}
