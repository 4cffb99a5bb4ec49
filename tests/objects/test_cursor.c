/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_cursor.c -- client/cursor.c: an entry that stays is seen exactly once, whatever others do meanwhile
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "support/child.h"
#include "support/random.h"
#include "support/way.h"

#define N_STAY 1500   /* keys 0 .. */
#define N_OTHER 60000 /* keys that come and go: behind those that stay */

static objd_cursor *cursor_of(objd_object *object)
{
        objd_cursor *cursor = NULL;

        assert_ok(objd_cursor_new(object, &cursor));
        return cursor;
}

static void set(objd_object *dict, int64_t i)
{
        objd_value key = objd_int(i), value = objd_int(3 * i);

        child_ok(objd_dict_set(dict, &key, &value));
}

/* Goes through it once; counts how often each key below n is seen. Gives how many entries were seen in all. */
static uint64_t walk(objd_object *dict, uint8_t *seen, int64_t n)
{
        objd_cursor *cursor = cursor_of(dict);
        objd_value key, value;
        uint64_t met = 0;
        objd_status r;

        memset(seen, 0, (size_t)n);
        while ((r = objd_cursor_next(cursor, &key, &value)) == OBJD_OK) {
                assert_int_equal(value.u.integer, 3 * key.u.integer);
                if (key.u.integer < n)
                        seen[key.u.integer]++;
                met++;
        }
        assert_status(r, OBJD_E_NOTFOUND);
        assert_status(objd_cursor_next(cursor, &key, &value), OBJD_E_NOTFOUND);
        objd_cursor_free(cursor);
        return met;
}

static void a_quiet_dict_is_seen_whole(void **state)
{
        const int64_t sizes[] = { 0, 1, 500, way_few(5000, 2000), way_few(50000, 10) };
        uint8_t *seen = malloc(50000);

        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
                objd_object *dict = way_dict(*state, NULL);

                for (int64_t k = 0; k < sizes[i]; k++)
                        set(dict, k);
                assert_int_equal(walk(dict, seen, sizes[i]), (uint64_t)sizes[i]);
                for (int64_t k = 0; k < sizes[i]; k++)
                        assert_int_equal(seen[k], 1);
                assert_ok(objd_destroy(dict));
                objd_release(dict);
        }
        free(seen);
}

/* It gives what it has fetched already, and then says that the dict is gone. */
static void a_deleted_dict_ends_its_cursors(void **state)
{
        objd_object *dict = way_dict(*state, NULL);
        objd_cursor *cursor = cursor_of(dict);
        objd_value key, value;
        objd_status r;

        for (int64_t k = 0; k < way_few(5000, 2000); k++)
                set(dict, k);
        assert_ok(objd_cursor_next(cursor, &key, &value));
        assert_ok(objd_destroy(dict));
        while ((r = objd_cursor_next(cursor, &key, &value)) == OBJD_OK)
                ;
        assert_status(r, OBJD_E_GONE);
        objd_cursor_free(cursor);
        objd_release(dict);
}

static void a_dict_that_is_cleared_has_no_more(void **state)
{
        objd_object *dict = way_dict(*state, NULL);
        objd_cursor *cursor = cursor_of(dict);
        objd_value key, value;
        int n = 0;

        for (int64_t k = 0; k < way_few(5000, 2000); k++)
                set(dict, k);
        assert_ok(objd_cursor_next(cursor, &key, &value));
        assert_ok(objd_dict_clear(dict));
        while (objd_cursor_next(cursor, &key, &value) == OBJD_OK)
                n++;
        assert_in_range(n, 0, 900); /* of the segment that was fetched */
        objd_cursor_free(cursor);
        objd_release(dict);
}

static void bad_arguments_are_refused(void **state)
{
        objd_object *dict = way_dict(*state, NULL);
        objd_cursor *cursor = NULL;
        objd_value value;

        assert_status(objd_cursor_new(NULL, &cursor), OBJD_E_INVAL);
        assert_status(objd_cursor_new(dict, NULL), OBJD_E_INVAL);
        assert_status(objd_cursor_next(NULL, &value, &value), OBJD_E_INVAL);
        cursor = cursor_of(dict);
        assert_status(objd_cursor_next(cursor, &value, NULL), OBJD_E_INVAL);
        objd_cursor_free(cursor);
        objd_cursor_free(NULL);
        objd_release(dict);
}

/* ---- While others change it ----------------------------------------------------------------------------- */

struct disturber {
        objd_object *dict;
        int *stop; /* shared with the child */
        uint64_t seed;
        int64_t first;
};

/* Grows the dict by many entries and shrinks it again, until told to stop. Each disturber has keys of its own. */
static void *disturb(void *context)
{
        struct disturber *d = context;
        struct random random = { d->seed };

        while (!__atomic_load_n(d->stop, __ATOMIC_RELAXED)) {
                int64_t n = (int64_t)random_below(&random, N_OTHER / 2) /
                            (random_below(&random, 2) ? way_few(1, 20) : 50);

                for (int64_t i = d->first; i < d->first + n && !__atomic_load_n(d->stop, __ATOMIC_RELAXED);
                     i++)
                        set(d->dict, i);
                for (int64_t i = d->first; i < d->first + n; i++) {
                        objd_value key = objd_int(i);
                        objd_status r = objd_dict_del(d->dict, &key);

                        child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND);
                }
        }
        return NULL;
}

static int disturb_in_child(void *context)
{
        disturb(context);
        return 0;
}

/* Small at first, so that the dict gets its shards, and they their directories, while it is walked. */
static void entries_that_stay_are_seen_once(void **state)
{
        struct random random = random_begin("test-cursor");
        int *stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        static const int64_t stays[] = { 20, N_STAY };
        uint8_t seen[N_STAY];

        assert_ptr_not_equal(stop, MAP_FAILED);
        for (size_t i = 0; i < sizeof(stays) / sizeof(*stays); i++) {
                objd_object *dict = way_dict(*state, NULL);
                struct disturber own = { dict, stop, random_next(&random), N_STAY };
                struct disturber other = { dict, stop, random_next(&random), N_STAY + N_OTHER / 2 };
                pthread_t thread;
                pid_t pid;

                for (int64_t k = 0; k < stays[i]; k++)
                        set(dict, k);
                *stop = 0;
                pid = child_start(disturb_in_child, &other);
                assert_int_equal(pthread_create(&thread, NULL, disturb, &own), 0);
                for (int n = 0; n < way_few(60, 10); n++) {
                        walk(dict, seen, stays[i]);
                        for (int64_t k = 0; k < stays[i]; k++)
                                assert_int_equal(seen[k], 1);
                }
                __atomic_store_n(stop, 1, __ATOMIC_RELAXED);
                pthread_join(thread, NULL);
                child_expect_success(pid);
                way_check(*state);
                assert_ok(objd_destroy(dict));
                objd_release(dict);
        }
        munmap(stop, 4096);
}

/* Many leaves, in order, each once; and positions that shift when the list is changed before the cursor. */
static void a_cursor_goes_through_a_list_by_position(void **state)
{
        const int64_t n = way_few(5000, 1500);
        objd_object *list;
        objd_cursor *cursor;
        objd_value value, key;

        assert_ok(objd_create(*state, "list", OBJD_LIST, NULL, &list));
        for (int64_t i = 0; i < n; i++) {
                value = objd_int(i);
                assert_ok(objd_list_append(list, &value));
        }
        assert_ok(objd_cursor_new(list, &cursor));
        for (int64_t i = 0; i < n; i++) {
                assert_ok(objd_cursor_next(cursor, &key, &value));
                assert_int_equal(value.u.integer, i);
        }
        assert_status(objd_cursor_next(cursor, &key, &value), OBJD_E_NOTFOUND);
        assert_status(objd_cursor_next(cursor, NULL, &value), OBJD_E_NOTFOUND);
        value = objd_int(n);
        assert_ok(objd_list_append(list, &value)); /* an end may be followed by more */
        assert_ok(objd_cursor_next(cursor, NULL, &value));
        assert_int_equal(value.u.integer, n);
        objd_cursor_free(cursor);

        assert_ok(objd_cursor_new(list, &cursor));
        assert_ok(objd_cursor_next(cursor, NULL, &value));
        assert_ok(objd_list_clear(list));
        while (objd_cursor_next(cursor, NULL, &value) == OBJD_OK)
                ; /* what it has fetched already */
        assert_ok(objd_destroy(list));
        assert_status(objd_cursor_next(cursor, NULL, &value), OBJD_E_GONE);
        objd_cursor_free(cursor);
        objd_release(list);
}

static void only_dicts_and_lists_have_cursors(void **state)
{
        objd_object *queue;
        objd_cursor *cursor;

        assert_ok(objd_create(*state, "queue", OBJD_QUEUE, NULL, &queue));
        assert_status(objd_cursor_new(queue, &cursor), OBJD_E_KIND);
        assert_status(objd_cursor_new(NULL, &cursor), OBJD_E_INVAL);
        assert_status(objd_cursor_next(NULL, NULL, NULL), OBJD_E_INVAL);
        objd_cursor_free(NULL);
        objd_release(queue);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                WAY_TEST(a_cursor_goes_through_a_list_by_position),
                WAY_TEST(only_dicts_and_lists_have_cursors),
                WAY_TEST(a_quiet_dict_is_seen_whole),
                WAY_TEST(a_deleted_dict_ends_its_cursors),
                WAY_TEST(a_dict_that_is_cleared_has_no_more),
                WAY_TEST(bad_arguments_are_refused),
                WAY_TEST(entries_that_stay_are_seen_once),
        };

        return way_run(argc, argv, tests);
}
