/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_session.c -- every call of a whole session fails, one after the other
 *
 * In the nth run the nth call that the engine makes of the system fails: once, or from then on, or it is broken off by a
 * signal; until a run comes to its end untouched. Whatever a call of the API answers must be true: after OBJD_OK the
 * change is there, after anything else it is not. At the end nothing is left: no descriptor, mapping, allocation or child.
 * Then the same with what a killed process has left behind: recovery fails at each of its calls, and is made up for later.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/faults.h"
#include "support/inside.h"
#include "support/leaks.h"
#include "support/test.h"

#define BIG 70000
#define HUGE (3 << 20) /* giving it back means punching holes */
#define N_KEYS 40
#define ROOM 64
#define MILLISECOND 1000000LL

static const char *const mode_name[] = { "once", "from then on", "interrupted", "killed" };

/* ---- What there must be ---------------------------------------------------------------------------------- */

struct sequence {
        int64_t item[ROOM];
        size_t len;
};

/* What the answers so far say. */
struct session {
        objd_conn *conn;
        objd_object *dict, *list, *queue, *lock;
        int64_t entry[N_KEYS]; /* an integer; -1: none; above 0 for a size of bytes as -size - 1 */
        struct sequence items, waiting;
        bool taken;
        uint64_t lease;
        unsigned n_left; /* objects that could not be deleted */
        unsigned n_refused;
};

static char bytes[HUGE];

/* Whether a call did what it was to do. What else it may say is that it could not. */
static bool went(struct session *s, objd_status r)
{
        if (r == OBJD_OK)
                return true;
        s->n_refused++;
        if (r == OBJD_E_NOMEM || r == OBJD_E_SYS || r == OBJD_E_BUSY || r == OBJD_E_TIMEOUT ||
            r == OBJD_E_NOTFOUND || r == OBJD_E_EMPTY)
                return false;
        fail_msg("%s: %s (call %u, %s, %s)", objd_strerror(r), objd_last_error(), faults->nth, faults->first,
                 mode_name[faults->mode]);
        return false;
}

static void insert(struct sequence *q, size_t at, int64_t item)
{
        memmove(q->item + at + 1, q->item + at, (q->len - at) * sizeof(q->item[0]));
        q->item[at] = item;
        q->len++;
}

static void drop(struct sequence *q, size_t at)
{
        q->len--;
        memmove(q->item + at, q->item + at + 1, (q->len - at) * sizeof(q->item[0]));
}

/* ---- The steps ------------------------------------------------------------------------------------------- */

static void set_bytes(struct session *s, int64_t i, size_t size)
{
        objd_value key = objd_int(i), value = objd_bytes(bytes, size);

        if (went(s, objd_dict_set(s->dict, &key, &value)))
                s->entry[i] = -(int64_t)size - 1;
}

static void work_on_dict(struct session *s)
{
        objd_value keys[3] = { objd_int(30), objd_int(31), objd_int(32) }, value = objd_int(7), key, found;
        objd_buf buf = OBJD_BUF_INIT;
        int64_t sum;

        for (int64_t i = 0; i < 30; i++)
                set_bytes(s, i, i % 10 == 7 ? BIG : 10 + (size_t)i * 100);
        for (int64_t i = 0; i < 30; i += 3) {
                key = objd_int(i);
                if (went(s, objd_dict_del(s->dict, &key)))
                        s->entry[i] = -1;
        }
        for (int64_t i = 0; i < 30; i += 4)
                set_bytes(s, i, 5000);
        if (went(s, objd_dict_set_many(s->dict, keys, (objd_value[]){ value, value, value }, 3)))
                s->entry[30] = s->entry[31] = s->entry[32] = 7;
        if (went(s, objd_dict_add_int(s->dict, &keys[0], 5, &sum)))
                s->entry[30] = sum;
        if (went(s, objd_dict_pop(s->dict, &keys[1], &found, &buf)))
                s->entry[31] = -1;
        key = objd_int(17);
        if (went(s, objd_dict_get(s->dict, &key, &found, &buf)))
                assert_memory_equal(found.data, bytes, found.size);
        objd_buf_free(&buf);
}

static void look_at_dict(struct session *s)
{
        objd_items *items = NULL;
        objd_cursor *cursor = NULL;
        objd_value key = objd_int(17), value;
        objd_pin *pin = NULL;
        objd_status r;

        if (went(s, objd_dict_copy(s->dict, &items)))
                objd_items_free(items);
        if (went(s, objd_dict_get_many(s->dict, &key, 1, &items)))
                objd_items_free(items);
        if (went(s, objd_cursor_new(s->dict, &cursor))) {
                do
                        r = objd_cursor_next(cursor, &key, &value);
                while (r == OBJD_OK);
                (void)went(s, r);
                objd_cursor_free(cursor);
        }
        key = objd_int(17);
        if (went(s, objd_dict_pin(s->dict, &key, &value, &pin)))
                objd_unpin(pin);
}

static void append(struct session *s, int64_t i)
{
        objd_value value = objd_int(i);

        if (went(s, objd_list_append(s->list, &value)))
                insert(&s->items, s->items.len, i);
}

static int descending(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

        return (x < y) - (x > y);
}

static void work_on_list(struct session *s)
{
        objd_value value = objd_int(100), found, many[3] = { objd_int(5), objd_int(1), objd_int(9) };
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;

        for (int64_t i = 0; i < 10; i++)
                append(s, i);
        if (went(s, objd_list_prepend(s->list, &value)))
                insert(&s->items, 0, 100);
        if (went(s, objd_list_insert(s->list, 1, &value)))
                insert(&s->items, s->items.len ? 1 : 0, 100);
        if (went(s, objd_list_extend(s->list, many, 3)))
                for (int i = 0; i < 3; i++)
                        insert(&s->items, s->items.len, many[i].u.integer);
        if (s->items.len > 3 && went(s, objd_list_set(s->list, 3, &value)))
                s->items.item[3] = 100;
        if (s->items.len > 2 && went(s, objd_list_pop(s->list, 2, &found, &buf)))
                drop(&s->items, 2);
        if (s->items.len && went(s, objd_list_del(s->list, 0)))
                drop(&s->items, 0);
        if (went(s, objd_list_sort(s->list, true)))
                qsort(s->items.item, s->items.len, sizeof(s->items.item[0]), descending);
        if (went(s, objd_list_slice_del(s->list, 0, 2)))
                for (int i = 0; i < 2 && s->items.len; i++)
                        drop(&s->items, 0);
        if (went(s, objd_list_slice(s->list, 0, OBJD_LIST_END, &items)))
                objd_items_free(items);
        objd_buf_free(&buf);
}

static void put(struct session *s, int64_t i)
{
        objd_value value = objd_int(i);

        if (went(s, objd_queue_put(s->queue, &value, MILLISECOND)))
                insert(&s->waiting, s->waiting.len, i);
}

static void lease(struct session *s, bool keep)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        uint64_t id;

        if (went(s, objd_queue_get_lease(s->queue, OBJD_FOREVER, &value, &buf, &id, MILLISECOND))) {
                if (keep)
                        (void)went(s, objd_queue_give_back(s->queue,
                                                           id)); /* if not now, then when the client leaves */
                else if (went(s, objd_queue_ack(s->queue, id)))
                        drop(&s->waiting, 0);
                else
                        assert_ok(objd_queue_give_back(s->queue, id));
        }
        objd_buf_free(&buf);
}

static void work_on_queue(struct session *s)
{
        objd_value value, many[2] = { objd_int(50), objd_int(51) };
        objd_buf buf = OBJD_BUF_INIT;

        for (int64_t i = 0; i < 6; i++)
                put(s, i);
        if (went(s, objd_queue_put_many(s->queue, many, 2, MILLISECOND)))
                for (int i = 0; i < 2; i++)
                        insert(&s->waiting, s->waiting.len, many[i].u.integer);
        if (went(s, objd_queue_get(s->queue, &value, &buf, MILLISECOND)))
                drop(&s->waiting, 0);
        if (went(s, objd_queue_peek(s->queue, &value, &buf)))
                assert_int_equal(value.u.integer, s->waiting.item[0]);
        lease(s, false);
        objd_buf_free(&buf);
}

static void work_on_lock(struct session *s)
{
        uint64_t token;

        s->taken = went(s, objd_lock_take(s->lock, MILLISECOND, &token));
        if (s->taken && went(s, objd_lock_give(s->lock)))
                s->taken = false;
}

/* A change of three objects, and one that is refused. */
static void work_in_batch(struct session *s)
{
        objd_value key = objd_int(35), value = objd_bytes(bytes, 3000), item = objd_int(77);
        objd_batch *batch;

        if (!went(s, objd_batch_new(s->conn, &batch)))
                return;
        if (went(s, objd_batch_dict_set(batch, s->dict, &key, &value)) &&
            went(s, objd_batch_list_append(batch, s->list, &item)) &&
            went(s, objd_batch_queue_put(batch, s->queue, &item, 0)) &&
            went(s, objd_batch_commit(batch, NULL))) {
                s->entry[35] = -3001;
                insert(&s->items, s->items.len, 77);
                insert(&s->waiting, s->waiting.len, 77);
        }
        objd_batch_free(batch);
}

/* Objects that come and go. */
static void work_on_names(struct session *s)
{
        objd_object *object;
        objd_info *infos, info;
        objd_stats stats;
        size_t n;

        if (went(s, objd_create(s->conn, "passing", OBJD_QUEUE, NULL, &object))) {
                (void)went(s, objd_set_name(object, "passed"));
                (void)went(s, objd_destroy(object));
                objd_release(object);
        }
        if (went(s, objd_create(s->conn, NULL, OBJD_LIST, NULL, &object)))
                objd_release(object);
        if (went(s, objd_list(s->conn, NULL, &infos, &n)))
                objd_infos_free(infos);
        (void)went(s, objd_stats_get(s->conn, &stats));
        (void)went(s, objd_info_get(s->dict, &info));
}

/* Waits that end without what they wait for. */
static void wait_in_vain(struct session *s)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *empty;
        objd_value value;

        if (!went(s, objd_create(s->conn, NULL, OBJD_QUEUE, NULL, &empty)))
                return;
        assert_false(went(s, objd_queue_get(empty, &value, &buf, 2 * MILLISECOND)));
        objd_release(empty);
        objd_buf_free(&buf);
}

static bool open_all(struct session *s)
{
        return went(s, objd_open_or_create(s->conn, "dict", OBJD_DICT, NULL, &s->dict)) &&
               went(s, objd_open_or_create(s->conn, "list", OBJD_LIST, NULL, &s->list)) &&
               went(s, objd_open_or_create(s->conn, "queue", OBJD_QUEUE, NULL, &s->queue)) &&
               went(s, objd_open_or_create(s->conn, "lock", OBJD_LOCK, NULL, &s->lock));
}

static void work(struct session *s)
{
        if (!open_all(s))
                return;
        work_on_dict(s);
        look_at_dict(s);
        work_on_list(s);
        work_on_queue(s);
        work_on_lock(s);
        work_in_batch(s);
        work_on_names(s);
        wait_in_vain(s);
}

/* ---- What there is --------------------------------------------------------------------------------------- */

static void compare_entry(struct session *s, int64_t i, objd_buf *buf)
{
        objd_value key = objd_int(i), value;
        objd_status r = objd_dict_get(s->dict, &key, &value, buf);

        if (s->entry[i] == -1) {
                assert_status(r, OBJD_E_NOTFOUND);
        } else if (s->entry[i] >= 0) {
                assert_ok(r);
                assert_int_equal(value.u.integer, s->entry[i]);
        } else {
                assert_ok(r);
                assert_int_equal(value.size, -s->entry[i] - 1);
                assert_memory_equal(value.data, bytes, value.size);
        }
}

static void compare(struct session *s)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        bool taken;
        uint64_t n;

        if (s->dict)
                for (int64_t i = 0; i < N_KEYS; i++)
                        compare_entry(s, i, &buf);
        if (s->list) {
                assert_ok(objd_list_len(s->list, &n));
                assert_int_equal(n, s->items.len);
                for (size_t i = 0; i < n; i++) {
                        assert_ok(objd_list_get(s->list, (int64_t)i, &value, &buf));
                        assert_int_equal(value.u.integer, s->items.item[i]);
                }
        }
        for (size_t i = 0; s->queue && i < s->waiting.len; i++) {
                assert_ok(objd_queue_get(s->queue, &value, &buf, OBJD_NOWAIT));
                assert_int_equal(value.u.integer, s->waiting.item[i]);
        }
        if (s->queue)
                assert_status(objd_queue_get(s->queue, &value, &buf, OBJD_NOWAIT), OBJD_E_EMPTY);
        if (s->lock) {
                assert_ok(objd_lock_owner(s->lock, &taken, NULL, NULL));
                assert_int_equal(taken, s->taken);
        }
        objd_buf_free(&buf);
}

static void release_all(struct session *s)
{
        objd_release(s->dict);
        objd_release(s->list);
        objd_release(s->queue);
        objd_release(s->lock);
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

/* ---- Whole sessions -------------------------------------------------------------------------------------- */

static void session_init(struct session *s)
{
        *s = (struct session){ 0 };
        for (int i = 0; i < N_KEYS; i++)
                s->entry[i] = -1;
}

/* Returns whether any call failed. */
static bool run_session(unsigned nth, enum fault_mode mode)
{
        struct session s;
        struct leaks leaks;
        unsigned n_failed;

        session_init(&s);
        leaks_begin(&leaks);
        faults_begin(nth, mode);
        if (went(&s, objd_connect("embedded:4M", &s.conn)))
                work(&s);
        n_failed = faults_end();
        if (s.conn) {
                compare(&s);
                inside_check(s.conn);
                release_all(&s);
                faults_begin(nth,
                             mode == FAULT_INTERRUPT ? FAULT_ONCE : mode); /* leaving has faults of its own */
                objd_close(s.conn);
                n_failed += faults_end();
        }
        leaks_end(&leaks);
        expect_unmapped();
        if (faults->n_live)
                fail_msg("%u allocations are left (call %u, %s, %s)", faults->n_live, nth, faults->first,
                         mode_name[mode]);
        return n_failed > 0;
}

static void sweep(enum fault_mode mode)
{
        unsigned nth = 1;

        while (run_session(nth, mode))
                nth++;
        printf("%u calls fail, %s\n", nth - 1, mode_name[mode]);
        assert_true(nth > 20);
}

static void every_call_of_a_session_may_fail_once(void **state)
{
        (void)state;
        sweep(FAULT_ONCE);
}

static void every_call_of_a_session_may_fail_from_some_point_on(void **state)
{
        (void)state;
        sweep(FAULT_FROM_THEN_ON);
}

static void every_call_of_a_session_may_be_interrupted(void **state)
{
        (void)state;
        sweep(FAULT_INTERRUPT);
}

/* One kind of call at a time, so that failing from then on leaves all others as they are. */
static void each_kind_of_call_may_fail_for_good(void **state)
{
        static const char *const kinds[] = { "calloc",    "realloc",   "mmap",          "madvise",
                                             "fallocate", "futex",     "clock_gettime", "membarrier",
                                             "fcntl",     "getrandom", "nanosleep",     "pthread_mutex_lock",
                                             "open",      "fstat",     "ftruncate" };

        (void)state;
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
                unsigned nth = 1;

                faults_only(kinds[i]);
                while (run_session(nth, FAULT_FROM_THEN_ON))
                        nth++;
                printf("%s: %u calls\n", kinds[i], nth - 1);
        }
        faults_only(NULL);
}

/* ---- After a death --------------------------------------------------------------------------------------- */

/*
 * Has an object of its own and a lease, and is in the middle of a change that takes and gives memory, which does not come to
 * its end.
 */
static int die_at_work(void *context)
{
        objd_conn *conn = context;
        objd_value key = objd_int(1), value = objd_bytes(bytes, HUGE), item = objd_int(1), leased;
        objd_object *dict, *list, *queue, *anonymous;
        objd_buf buf = OBJD_BUF_INIT;
        objd_batch *batch;
        uint64_t lease;

        child_ok(objd_create(conn, NULL, OBJD_LIST, NULL, &anonymous));
        child_ok(objd_open(conn, "queue", OBJD_QUEUE, &queue));
        child_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &leased, &buf, &lease, OBJD_NOWAIT));

        child_ok(objd_open(conn, "dict", OBJD_DICT, &dict));
        child_ok(objd_open(conn, "list", OBJD_LIST, &list));
        child_ok(objd_batch_new(conn, &batch));
        child_ok(objd_batch_list_append(batch, list, &item));
        child_ok(objd_batch_dict_set(batch, dict, &key, &value));
        faults_begin(faults->nth, FAULT_KILL);
        (void)objd_batch_commit(batch, NULL);
        (void)faults_end();
        return 0;
}

/* Both or neither: the new value and one more item. */
static void compare_after_death(objd_object *dict, objd_object *list, size_t n_before)
{
        objd_value key = objd_int(1), value;
        objd_buf buf = OBJD_BUF_INIT;
        uint64_t n;

        assert_ok(objd_list_len(list, &n));
        assert_ok(objd_dict_get(dict, &key, &value, &buf));
        assert_true(n == n_before || n == n_before + 1);
        assert_int_equal(value.size, n == n_before ? HUGE - 1 : HUGE);
        objd_buf_free(&buf);
}

/* What the dead had becomes free: its object goes and its lease ends. Whether all of it is done. */
static bool take_up(struct session *s)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *object;
        objd_value value;
        objd_status r;

        r = objd_create(s->conn, NULL, OBJD_LIST, NULL, &object);
        if (r == OBJD_OK) {
                r = objd_destroy(object);
                s->n_left += r != OBJD_OK;
                objd_release(object);
        }
        (void)went(s, r);
        if (r == OBJD_OK && s->lease)
                r = objd_queue_give_back(s->queue, s->lease);
        if (r == OBJD_OK)
                r = objd_queue_get_lease(s->queue, OBJD_FOREVER, &value, &buf, &s->lease, OBJD_NOWAIT);
        objd_buf_free(&buf);
        return went(s, r);
}

/* There are the names, three objects, and what we could not delete ourselves; the dead client's own is gone. */
static bool is_taken_up(void *context)
{
        struct session *s = context;
        objd_stats stats;

        if (!take_up(s))
                return false;
        assert_ok(objd_stats_get(s->conn, &stats));
        return stats.n_objects == 4 + s->n_left;
}

/*
 * A child dies at its dying'th call; then what it left is recovered, while the nth call of that fails. Returns
 * whether one failed, and in *ret_died whether the child died at all.
 */
static bool run_recovery(unsigned dying, unsigned nth, enum fault_mode mode, bool *ret_died)
{
        objd_value key = objd_int(1), value = objd_bytes(bytes, HUGE - 1), item = objd_int(1);
        objd_object *dict, *list;
        unsigned n_failed, n_refused;
        struct session s;
        int status;

        session_init(&s);
        assert_ok(objd_connect("embedded:16M", &s.conn));
        assert_ok(objd_create(s.conn, "queue", OBJD_QUEUE, NULL, &s.queue));
        assert_ok(objd_queue_put(s.queue, &item, OBJD_NOWAIT));
        dict = inside_dict(s.conn, "dict");
        assert_ok(objd_create(s.conn, "list", OBJD_LIST, NULL, &list));
        assert_ok(objd_dict_set(dict, &key, &value));
        faults->nth = dying;
        status = child_wait(child_start(die_at_work, s.conn));
        *ret_died = WIFSIGNALED(status);
        if (!*ret_died)
                assert_int_equal(status, 0);

        faults_begin(nth, mode);
        (void)went(&s, objd_list_append(list, &item));
        n_refused = s.n_refused;
        (void)take_up(&s);
        n_failed = faults_end();
        /* Whoever comes next finishes what that one could not. */
        wait_until(is_taken_up, &s, "what the dead client had becomes free");
        compare_after_death(dict, list, n_refused ? 0 : 1);
        inside_check(s.conn);
        objd_release(dict);
        objd_release(list);
        objd_release(s.queue);
        objd_close(s.conn);
        return n_failed > 0;
}

static void recovery_may_fail_at_every_call(void **state)
{
        bool died = true;
        unsigned n = 0;

        (void)state;
        for (unsigned dying = 1; died; dying++)
                for (enum fault_mode mode = FAULT_ONCE; mode <= FAULT_INTERRUPT; mode++)
                        for (unsigned nth = 1; run_recovery(dying, nth, mode, &died) && died; nth++)
                                n++;
        printf("%u recoveries met a failure\n", n);
        assert_true(n > 20);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_call_of_a_session_may_fail_once),
                cmocka_unit_test(every_call_of_a_session_may_fail_from_some_point_on),
                cmocka_unit_test(every_call_of_a_session_may_be_interrupted),
                cmocka_unit_test(each_kind_of_call_may_fail_for_good),
                cmocka_unit_test(recovery_may_fail_at_every_call),
        };

        memset(bytes, 'x', sizeof(bytes));
        cmocka_set_test_filter(getenv("FILTER"));
        return cmocka_run_group_tests(tests, NULL, NULL);
}
