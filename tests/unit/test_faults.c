/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_faults.c -- every system call and allocation of a whole session fails, one after the other
 *
 * In the nth run the nth call fails, or all from there on, until a run comes to its end untouched. Whatever a call of the
 * API answers must be true: after OBJD_OK the change is there, after anything else it is not.
 */

#include <errno.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "support/inside.h"
#include "support/leaks.h"
#include "support/test.h"

#define N_KEYS 60
#define BIG 70000

/* ---- Calls that fail --------------------------------------------------------------------------------------- */

enum mode { ONCE, FROM_THEN_ON };

static struct {
        struct sys real;
        unsigned nth, n_seen, n_failed;
        enum mode mode;
} fault;

static bool fails(int error)
{
        fault.n_seen++;
        if (fault.n_seen != fault.nth && !(fault.mode == FROM_THEN_ON && fault.n_seen > fault.nth))
                return false;
        fault.n_failed++;
        errno = error;
        return true;
}

static void *faulty_alloc(size_t size)
{
        return fails(ENOMEM) ? NULL : fault.real.alloc(size);
}

static void *faulty_resize(void *p, size_t size)
{
        return fails(ENOMEM) ? NULL : fault.real.resize(p, size);
}

static void *faulty_map(int fd, uint64_t size, bool writable)
{
        return fails(ENOMEM) ? NULL : fault.real.map(fd, size, writable);
}

static int faulty_fallocate(int fd, int mode, int64_t off, int64_t size)
{
        return fails(mode & FALLOC_FL_PUNCH_HOLE ? EOPNOTSUPP : ENOSPC)
                       ? -1
                       : fault.real.fallocate(fd, mode, off, size);
}

static long faulty_futex(const uint32_t *word, int op, uint32_t value, const int64_t *timeout_ns)
{
        return fails(op == FUTEX_WAIT ? EINTR : ENOMEM) ? -1 : fault.real.futex(word, op, value, timeout_ns);
}

static void faults_begin(unsigned nth, enum mode mode)
{
        fault.nth = nth;
        fault.n_seen = fault.n_failed = 0;
        fault.mode = mode;
        fault.real = sys;
        sys = (struct sys){ faulty_alloc, faulty_resize, faulty_map, faulty_fallocate, faulty_futex };
}

static void faults_end(void)
{
        sys = fault.real;
}

/* ---- A session ---------------------------------------------------------------------------------------------- */

/* What the answers so far say that there is. */
struct expected {
        size_t size[N_KEYS]; /* of the value; 0: no entry */
        uint64_t n_items;
        unsigned n_refused;
};

static bool went(struct expected *expected, objd_status r)
{
        if (r)
                expected->n_refused++;
        if (r && r != OBJD_E_NOMEM && r != OBJD_E_NOTFOUND) {
                print_error("%s: %s (call %u failed)\n", objd_strerror(r), objd_last_error(), fault.nth);
                fail();
        }
        return r == OBJD_OK;
}

static char bytes[BIG];

static void set(objd_object *dict, struct expected *expected, int64_t i, size_t size)
{
        objd_value key = objd_int(i), value = objd_bytes(bytes, size);

        if (went(expected, objd_dict_set(dict, &key, &value)))
                expected->size[i] = size;
}

static void del(objd_object *dict, struct expected *expected, int64_t i)
{
        objd_value key = objd_int(i);

        if (went(expected, objd_dict_del(dict, &key)))
                expected->size[i] = 0;
}

/* Two sets that happen both or not at all. */
static void set_both(objd_conn *conn, objd_object *dict, struct expected *expected)
{
        objd_value first = objd_int(1), second = objd_int(N_KEYS - 1), value = objd_bytes(bytes, 500);
        objd_batch *batch;

        if (!went(expected, objd_batch_new(conn, &batch)))
                return;
        if (went(expected, objd_batch_dict_set(batch, dict, &first, &value)) &&
            went(expected, objd_batch_dict_set(batch, dict, &second, &value)) &&
            went(expected, objd_batch_commit(batch, NULL)))
                expected->size[1] = expected->size[N_KEYS - 1] = 500;
        objd_batch_free(batch);
}

static void work(objd_conn *conn, struct expected *expected)
{
        objd_value item = objd_bytes(bytes, 3000);
        objd_object *dict, *list;

        if (went(expected, objd_open_or_create(conn, "dict", OBJD_DICT, NULL, &dict))) {
                for (int64_t i = 0; i < N_KEYS; i++)
                        set(dict, expected, i, i % 20 == 7 ? BIG : 10 + (size_t)i * 30);
                for (int64_t i = 0; i < N_KEYS; i += 3)
                        del(dict, expected, i);
                for (int64_t i = 0; i < N_KEYS; i += 4)
                        set(dict, expected, i, 5000);
                set_both(conn, dict, expected);
                objd_release(dict);
        }
        if (went(expected, objd_create(conn, "list", OBJD_LIST, NULL, &list))) {
                for (int i = 0; i < 20; i++)
                        expected->n_items += went(expected, objd_list_append(list, &item));
                objd_release(list);
        }
}

static void compare_dict(objd_conn *conn, const struct expected *expected)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *dict;
        objd_status r = objd_open(conn, "dict", OBJD_DICT, &dict);

        if (r == OBJD_E_NOTFOUND)
                return;
        assert_ok(r);
        for (int64_t i = 0; i < N_KEYS; i++) {
                objd_value key = objd_int(i), value;

                r = objd_dict_get(dict, &key, &value, &buf);
                assert_int_equal(r, expected->size[i] ? OBJD_OK : OBJD_E_NOTFOUND);
                if (r == OBJD_OK) {
                        assert_int_equal(value.size, expected->size[i]);
                        assert_memory_equal(value.data, bytes, value.size);
                }
        }
        objd_buf_free(&buf);
        objd_release(dict);
}

static void compare_list(objd_conn *conn, const struct expected *expected)
{
        objd_object *list;
        uint64_t len;
        objd_status r = objd_open(conn, "list", OBJD_LIST, &list);

        if (r == OBJD_E_NOTFOUND) {
                assert_int_equal(expected->n_items, 0);
                return;
        }
        assert_ok(r);
        assert_ok(objd_list_len(list, &len));
        assert_int_equal(len, expected->n_items);
        objd_release(list);
}

/* No mapping of an arena is left. */
static void expect_unmapped(void)
{
        FILE *maps = fopen("/proc/self/maps", "re");
        char line[512];

        assert_non_null(maps);
        while (fgets(line, sizeof(line), maps))
                if (strstr(line, "objd-"))
                        fail_msg("a mapping is left: %s", line);
        fclose(maps);
}

/* Returns whether any call failed. */
static bool run_session(unsigned nth, enum mode mode)
{
        struct expected expected = { .n_items = 0 };
        objd_conn *conn = NULL;
        struct leaks leaks;

        leaks_begin(&leaks);
        faults_begin(nth, mode);
        if (went(&expected, objd_connect("embedded:4M", &conn)))
                work(conn, &expected);
        faults_end();
        if (conn) {
                compare_dict(conn, &expected);
                compare_list(conn, &expected);
                inside_check(conn);
                objd_close(conn);
        }
        leaks_end(&leaks);
        expect_unmapped();
        return fault.n_failed > 0;
}

static void every_call_may_fail_once(void **state)
{
        unsigned nth = 1;

        (void)state;
        while (run_session(nth, ONCE))
                nth++;
        printf("%u calls\n", nth - 1);
        assert_true(nth > 20);
}

static void every_call_may_fail_from_some_point_on(void **state)
{
        unsigned nth = 1;

        (void)state;
        while (run_session(nth, FROM_THEN_ON))
                nth++;
        printf("%u calls\n", nth - 1);
        assert_true(nth > 20);
}

/* Deleting and closing need no memory: they succeed though nothing else does. */
static void what_frees_memory_needs_none(void **state)
{
        objd_conn *conn = NULL;
        objd_object *dict;
        uint64_t used;
        struct leaks leaks;

        (void)state;
        leaks_begin(&leaks);
        assert_ok(objd_connect("embedded:8M", &conn));
        used = inside_used(conn);
        dict = inside_dict(conn, "dict");
        for (int64_t i = 0; i < 5000; i++) {
                objd_value key = objd_int(i), value = objd_bytes(bytes, i % 100 ? 100 : 9000);

                assert_ok(objd_dict_set(dict, &key, &value));
        }
        faults_begin(1, FROM_THEN_ON);
        for (int64_t i = 0; i < 4000; i++) {
                objd_value key = objd_int(i);

                assert_ok(objd_dict_del(dict, &key));
        }
        assert_ok(objd_destroy(dict));
        objd_release(dict);
        faults_end();
        assert_int_equal(inside_used(conn), used);
        inside_check(conn);
        faults_begin(1, FROM_THEN_ON);
        objd_close(conn);
        faults_end();
        leaks_end(&leaks);
        expect_unmapped();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_call_may_fail_once),
                cmocka_unit_test(every_call_may_fail_from_some_point_on),
                cmocka_unit_test(what_frees_memory_needs_none),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
