/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_rights.c -- who may do what, and clients that may only read
 *
 * As root, readers are processes of another user. Otherwise they are of this user and ask for no more than to read, and what only another
 * user can show is skipped.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/falloc.h>

#include <objd.h>

#include "arena/life.h"
#include "object/object.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"
#include "sync/lock.h"
#include "txn/lane.h"
#include "txn/txn.h"

#define NOBODY 65534
#define NOBODY_TEXT "65534"
#define BIG 200000

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_SEAL_WRITE 8
#endif

/* What a test and its reader share. */
struct both {
        struct fixture *f;
        struct gate ready, go;
        objd_conn *conn; /* the test's, for children that inherit it */
        int step;
};

static void both_init(struct both *both, struct fixture *f)
{
        *both = (struct both){ .f = f };
        gate_init(&both->ready);
        gate_init(&both->go);
}

static void both_deinit(struct both *both)
{
        gate_deinit(&both->ready);
        gate_deinit(&both->go);
}

/* In a child: becomes another user, who may look at itself in /proc as any program started by that user. */
static void become(uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups)
{
        child_check(setgroups(n_groups, groups) == 0);
        child_check(setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0);
        child_check(prctl(PR_SET_DUMPABLE, 1) == 0);
}

static objd_conn *connect_as_reader(const struct fixture *f)
{
        objd_conn *conn;
        char url[160];

        if (geteuid() == 0)
                become(NOBODY, NOBODY, NULL, 0);
        snprintf(url, sizeof(url), "%s%s", f->url, geteuid() == NOBODY ? "" : "?read-only");
        child_ok(objd_connect(url, &conn));
        child_check(objd_is_read_only(conn));
        return conn;
}

static void start_for_readers(struct fixture *f)
{
        fixture_start(f, (const char *[]){ "--read-only-uid", NOBODY_TEXT, "--log-level", "debug", NULL });
}

static objd_object *make(objd_conn *conn, const char *name, objd_kind kind)
{
        objd_object *object;

        assert_ok(objd_create(conn, name, kind, NULL, &object));
        return object;
}

static objd_object *find(objd_conn *conn, const char *name)
{
        objd_object *object;

        child_ok(objd_open(conn, name, OBJD_KIND_ANY, &object));
        return object;
}

static void fill(objd_conn *conn)
{
        objd_value key = objd_cstr("k"), value = objd_int(7), item;
        objd_object *dict = make(conn, "d", OBJD_DICT), *list = make(conn, "l", OBJD_LIST);
        objd_object *queue = make(conn, "q", OBJD_QUEUE), *lock = make(conn, "lock", OBJD_LOCK);

        assert_ok(objd_dict_set(dict, &key, &value));
        for (int64_t i = 0; i < 2000; i++) {
                item = objd_int(i);
                assert_ok(objd_dict_set(dict, &item, &item));
                assert_ok(objd_list_append(list, &item));
        }
        assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
        objd_release(dict);
        objd_release(list);
        objd_release(queue);
        objd_release(lock);
}

/* ---- Everything that reads, reads --------------------------------------------------------------------- */

static void read_dict(objd_conn *conn)
{
        objd_object *dict = find(conn, "d");
        objd_value key = objd_cstr("k"), value, other;
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;
        objd_cursor *cursor;
        uint64_t len;
        size_t n = 0;
        bool found;

        child_ok(objd_dict_get(dict, &key, &value, &buf));
        child_check(value.type == OBJD_INT && value.u.integer == 7);
        child_ok(objd_dict_len(dict, &len));
        child_check(len == 2001);
        child_ok(objd_dict_contains(dict, &key, &found));
        child_check(found);
        other = objd_cstr("no such key");
        child_check(objd_dict_get(dict, &other, &value, &buf) == OBJD_E_NOTFOUND);
        child_ok(objd_dict_copy(dict, &items));
        child_check(items->len == 2001 && items->item[2000].value.u.integer == 1999);
        objd_items_free(items);
        child_ok(objd_dict_get_many(dict, &key, 1, &items));
        child_check(items->len == 1 && items->item[0].found);
        objd_items_free(items);
        child_ok(objd_cursor_new(dict, &cursor));
        while (objd_cursor_next(cursor, &key, &value) == OBJD_OK)
                n++;
        child_check(n == 2001);
        objd_cursor_free(cursor);
        objd_buf_free(&buf);
        objd_release(dict);
}

static void read_others(objd_conn *conn)
{
        objd_object *list = find(conn, "l"), *queue = find(conn, "q"), *lock = find(conn, "lock");
        objd_value value, wanted = objd_int(1234);
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;
        objd_info *infos;
        objd_info info;
        objd_stats stats;
        uint64_t n;
        size_t len;
        bool taken;

        child_ok(objd_list_get(list, -1, &value, &buf));
        child_check(value.u.integer == 1999);
        child_ok(objd_list_index(list, &wanted, 0, OBJD_LIST_END, &n));
        child_check(n == 1234);
        child_ok(objd_list_slice(list, 0, OBJD_LIST_END, &items));
        child_check(items->len == 2000);
        objd_items_free(items);
        child_ok(objd_queue_peek(queue, &value, &buf));
        child_check(value.u.integer == 7);
        child_ok(objd_queue_len(queue, &n));
        child_check(n == 1);
        child_ok(objd_lock_owner(lock, &taken, NULL, NULL));
        child_check(!taken);
        child_ok(objd_info_get(list, &info));
        child_check(info.len == 2000 && strcmp(info.name, "l") == 0);
        child_ok(objd_list(conn, NULL, &infos, &len));
        child_check(len == 4);
        objd_infos_free(infos);
        child_ok(objd_stats_get(conn, &stats));
        child_check(stats.n_clients >= 1);
        objd_buf_free(&buf);
        objd_release(list);
        objd_release(queue);
        objd_release(lock);
}

#define refused(call) child_check((call) == OBJD_E_ACCESS && strstr(objd_last_error(), "only reads"))

static void try_to_change(objd_conn *conn)
{
        objd_object *dict = find(conn, "d"), *list = find(conn, "l"), *queue = find(conn, "q"),
                    *lock = find(conn, "lock"), *object = NULL;
        objd_value key = objd_cstr("k"), value = objd_int(8), out;
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;
        objd_batch *batch;
        uint64_t lease;

        refused(objd_create(conn, "new", OBJD_DICT, NULL, &object));
        refused(objd_create(conn, NULL, OBJD_QUEUE, NULL, &object));
        refused(objd_open_or_create(conn, "new", OBJD_LIST, NULL, &object));
        refused(objd_delete(conn, "d"));
        refused(objd_destroy(list));
        refused(objd_set_name(list, "m"));
        refused(objd_dict_set(dict, &key, &value));
        refused(objd_dict_set_new(dict, &key, &value));
        refused(objd_dict_cas(dict, &key, &value, NULL));
        refused(objd_dict_add_int(dict, &key, 1, NULL));
        refused(objd_dict_del(dict, &key));
        refused(objd_dict_pop(dict, &key, &out, &buf));
        refused(objd_dict_pop_any(dict, &out, &out, &buf));
        refused(objd_dict_clear(dict));
        refused(objd_dict_set_many(dict, &key, &value, 1));
        refused(objd_list_append(list, &value));
        refused(objd_list_set(list, 0, &value));
        refused(objd_list_pop(list, 0, &out, &buf));
        refused(objd_list_sort(list, false));
        refused(objd_list_clear(list));
        refused(objd_queue_put(queue, &value, OBJD_FOREVER));
        refused(objd_queue_put_many(queue, &value, 1, OBJD_NOWAIT));
        refused(objd_queue_get(queue, &out, &buf, OBJD_FOREVER));
        refused(objd_queue_get_many(queue, 3, &items, OBJD_FOREVER));
        refused(objd_queue_get_lease(queue, 1000, &out, &buf, &lease, OBJD_FOREVER));
        refused(objd_queue_ack(queue, 1));
        refused(objd_queue_close(queue));
        refused(objd_queue_poison(queue));
        refused(objd_queue_task_done(queue));
        refused(objd_lock_take(lock, OBJD_FOREVER, NULL));
        refused(objd_lock_give(lock));
        child_ok(objd_batch_new(conn, &batch));
        child_ok(objd_batch_dict_set(batch, dict, &key, &value));
        refused(objd_batch_commit(batch, NULL));
        objd_batch_free(batch);
        objd_buf_free(&buf);
        objd_release(dict);
        objd_release(list);
        objd_release(queue);
        objd_release(lock);
}

static int read_all(void *context)
{
        const struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);

        read_dict(conn);
        read_others(conn);
        try_to_change(conn);
        objd_close(conn);
        return 0;
}

static void a_reader_reads_everything_and_changes_nothing(void **state)
{
        struct both both = { .f = *state };
        uint64_t n_objects;
        objd_conn *conn;

        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        fill(conn);
        n_objects = stats_of(conn).n_objects;
        child_expect_success(child_start(read_all, &both));
        assert_int_equal(stats_of(conn).n_objects, n_objects);
        objd_close(conn);
}

static int read_in_a_grandchild(void *context)
{
        const struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        int status;
        pid_t pid;

        read_dict(conn);
        pid = fork();
        if (pid == 0) {
                read_dict(conn);
                read_others(conn);
                objd_close(conn);
                _exit(0);
        }
        child_check(waitpid(pid, &status, 0) == pid && status == 0);
        read_others(conn);
        objd_close(conn);
        return 0;
}

static void a_readers_child_reads_on(void **state)
{
        struct both both = { .f = *state };
        objd_conn *conn;

        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        fill(conn);
        child_expect_success(child_start(read_in_a_grandchild, &both));
        objd_close(conn);
}

/* ---- No way to write ---------------------------------------------------------------------------------- */

static bool can_open(const char *path)
{
        int fd = open(path, O_RDWR | O_CLOEXEC);

        if (fd >= 0)
                close(fd);
        return fd >= 0;
}

static void try_the_descriptor(const struct arena *arena)
{
        char byte = 'x';

        errno = 0;
        child_check(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd, 0) == MAP_FAILED &&
                    errno == EACCES);
        child_check(mprotect(arena->base, 4096, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
        child_check(ftruncate(arena->fd, 4096) < 0);
        child_check(fallocate(arena->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0);
        child_check(fallocate(arena->fd, 0, 0, (off_t)arena->mapped + 4096) < 0);
        child_check(pwrite(arena->fd, &byte, 1, 0) < 0);
        child_check(madvise(arena->base, 4096, MADV_REMOVE) < 0);
        child_check(fchmod(arena->fd, 0666) < 0);
        child_check(fchown(arena->fd, NOBODY, NOBODY) < 0);
        child_check(fcntl(arena->fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
}

static void try_paths(const struct fixture *f, const struct arena *arena)
{
        char path[160];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", arena->fd);
        child_check(!can_open(path));
        child_check(truncate(path, 4096) < 0);
        child_check(chmod(path, 0666) < 0);
        snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)(uintptr_t)arena->base,
                 (unsigned long)((uintptr_t)arena->base + arena->mapped));
        child_check(!can_open(path));
        for (int fd = 0; fd < 32; fd++) {
                snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)f->pid, fd);
                child_check(!can_open(path));
        }
        snprintf(path, sizeof(path), "/proc/%d/mem", (int)f->pid);
        child_check(!can_open(path));
        fixture_path(f, ".arena", path);
        child_check(!can_open(path));
        child_check(open(path, O_RDONLY | O_CLOEXEC) < 0);
        child_check(unlink(path) < 0);
}

/* The store of a signal handler's own. */
static int store_into(void *context)
{
        struct arena *arena = context;

        word_set(&arena->header->magic, 1);
        return 0;
}

static int try_to_write(void *context)
{
        const struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        pid_t pid;

        try_the_descriptor(conn->arena);
        try_paths(both->f, conn->arena);
        pid = child_start(store_into, conn->arena);
        child_check(WIFSIGNALED(child_wait(pid)));
        read_dict(conn);
        objd_close(conn);
        return 0;
}

static void try_with(struct fixture *f, const char *option)
{
        struct both both = { .f = f };
        objd_conn *conn;

        if (geteuid() != 0)
                skip();
        fixture_start(f, (const char *[]){ "--read-only-uid", NOBODY_TEXT, option, NULL });
        conn = fixture_connect(f);
        fill(conn);
        child_expect_success(child_start(try_to_write, &both));
        objd_close(conn);
}

static void a_reader_of_a_file_gets_no_writable_mapping(void **state)
{
        try_with(*state, NULL);
}

static void a_reader_of_a_memfd_gets_no_writable_mapping(void **state)
{
        try_with(*state, "--memfd");
}

/* The same through programs: setpriv is how people do it. */
static void a_program_of_another_user_reads_and_cannot_write(void **state)
{
        struct fixture *f = *state;
        const char *objctl = getenv("OBJD_TEST_BIN_OBJCTL");
        char command[700];
        objd_conn *conn;

        if (geteuid() != 0 || !objctl)
                skip();
        start_for_readers(f);
        conn = fixture_connect(f);
        fill(conn);
        /* The build folder may be one that other users cannot enter. */
        snprintf(
                command, sizeof(command),
                "cp %s %s/objctl && cd / && set -- setpriv --reuid=" NOBODY_TEXT " --regid=" NOBODY_TEXT
                " --clear-groups %s/objctl --url %s && test \"$(\"$@\" get d k)\" = 7 && ! \"$@\" set d k 8 2>%s/said; "
                "r=$?; rm %s/objctl; exit $r",
                objctl, f->base, f->base, f->url, f->base, f->base);
        assert_int_equal(system(command), 0);
        objd_close(conn);
}

/* ---- Among writers ------------------------------------------------------------------------------------- */

static int churn(void *context)
{
        const struct both *both = context;
        char text[3000];
        objd_conn *conn;
        objd_object *dict, *list, *queue;
        objd_value key = objd_cstr("hot"), value, out;
        objd_buf buf = OBJD_BUF_INIT;

        child_ok(objd_connect(both->f->url, &conn));
        dict = find(conn, "d");
        list = find(conn, "l");
        queue = find(conn, "q");
        for (unsigned i = 0;; i++) {
                size_t size = 1 + i * 37 % sizeof(text);

                memset(text, 'a' + (int)(i % 26), size);
                value = objd_str(text, size);
                child_ok(objd_dict_set(dict, &key, &value));
                child_ok(objd_list_set(list, 0, &value));
                child_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
                child_ok(objd_queue_get(queue, &out, &buf, OBJD_NOWAIT));
        }
}

static bool is_whole(const objd_value *value)
{
        const char *text = value->data;

        if (value->type != OBJD_STR)
                return value->type == OBJD_INT;
        for (size_t i = 0; i < value->size; i++)
                if (text[i] != text[0])
                        return false;
        return value->size > 0;
}

static int read_what_changes(void *context)
{
        const struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = find(conn, "d"), *list = find(conn, "l"), *queue = find(conn, "q");
        objd_value key = objd_cstr("hot"), value;
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;
        objd_status r;

        for (int i = 0; i < 3000; i++) {
                r = objd_dict_get(dict, &key, &value, &buf);
                child_check(r == OBJD_E_NOTFOUND || (r == OBJD_OK && is_whole(&value)));
                child_ok(objd_list_get(list, 0, &value, &buf));
                child_check(is_whole(&value));
                r = objd_queue_peek(queue, &value, &buf);
                child_check(r == OBJD_E_EMPTY || (r == OBJD_OK && is_whole(&value)));
        }
        for (int i = 0; i < 20; i++) {
                child_ok(objd_list_slice(list, 0, OBJD_LIST_END, &items));
                child_check(items->len == 2000 && is_whole(&items->item[0].value));
                objd_items_free(items);
                r = objd_dict_copy(dict, &items);
                child_check(r == OBJD_OK && items->len >= 2001);
                for (size_t k = 0; k < items->len; k++)
                        child_check(is_whole(&items->item[k].value));
                objd_items_free(items);
        }
        objd_buf_free(&buf);
        objd_release(dict);
        objd_release(list);
        objd_release(queue);
        objd_close(conn);
        return 0;
}

static void a_reader_among_writers_sees_whole_values(void **state)
{
        struct both both = { .f = *state };
        objd_conn *conn;
        pid_t writers[2];

        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        fill(conn);
        for (int i = 0; i < 2; i++)
                writers[i] = child_start(churn, &both);
        child_expect_success(child_start(read_what_changes, &both));
        for (int i = 0; i < 2; i++)
                child_kill(writers[i]);
        objd_close(conn);
}

/* ---- A line that is held ------------------------------------------------------------------------------- */

/* Holds the dict's line; a dead holder if it is told to go. */
static int hold_line(void *context)
{
        struct both *both = context;
        objd_conn *conn;
        objd_object *dict;
        struct lane *lane;

        child_ok(objd_connect(both->f->url, &conn));
        dict = find(conn, "numbers");
        child_ok(lane_enter(conn->arena, OBJD_FOREVER, &lane));
        txn_begin(lane, 0);
        child_ok(lock_take(lane, &dict->shm->line));
        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        _exit(0);
}

static int read_held_line(void *context)
{
        const struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = NULL;
        objd_value key = objd_cstr("k"), value;
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r;

        child_ok(objd_set_timeout(conn, both->step ? PATIENCE_NS : 50000000));
        /* Opening looks at the line as well. */
        r = objd_open(conn, "numbers", OBJD_DICT, &dict);
        if (!both->step)
                child_check(r == OBJD_E_BUSY && strstr(objd_last_error(), "holds the lock"));
        else
                child_ok(r);
        if (both->step) {
                child_ok(objd_dict_get(dict, &key, &value, &buf));
                child_check(value.u.integer == 5);
        }
        objd_buf_free(&buf);
        objd_release(dict);
        objd_close(conn);
        return 0;
}

static void a_reader_waits_for_the_living_and_has_the_dead_cleaned_up(void **state)
{
        struct both both;
        objd_conn *conn;
        pid_t holder;

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        assert_ok(numbers_set(conn, "k", 5));
        holder = child_start(hold_line, &both);
        gate_wait(&both.ready);
        child_expect_success(child_start(read_held_line, &both));
        child_kill(holder);
        both.step = 1;
        child_expect_success(child_start(read_held_line, &both));
        objd_close(conn);
        both_deinit(&both);
}

/* A child that has inherited its connection: the daemon does not hear of its death. */
static int hold_line_as_heir(void *context)
{
        struct both *both = context;
        objd_object *dict = find(both->conn, "numbers");
        struct lane *lane;

        child_ok(lane_enter(both->conn->arena, OBJD_FOREVER, &lane));
        txn_begin(lane, 0);
        child_ok(lock_take(lane, &dict->shm->line));
        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        return 0;
}

/* Under the reader's eyes, so that it is the reader who finds the dead one and asks the daemon to clean up. */
static void a_holder_dies_while_a_reader_waits_for_it(void **state)
{
        struct both both;
        pid_t holder, reader;

        both_init(&both, *state);
        start_for_readers(both.f);
        both.conn = fixture_connect(both.f);
        assert_ok(numbers_set(both.conn, "k", 5));
        holder = child_start(hold_line_as_heir, &both);
        gate_wait(&both.ready);
        both.step = 1;
        reader = child_start(read_held_line, &both);
        poll(NULL, 0, 50); /* it may wait by then; if it does not yet, it finds a dead holder */
        child_kill(holder);
        child_expect_success(reader);
        assert_number(both.conn, "k", 5);
        objd_close(both.conn);
        both_deinit(&both);
}

static bool is_free(void *context)
{
        const struct line_shm *line = context;

        return lock_lane(word_get(&line->word)) == 0;
}

/* The daemon freezes lines for a moment, but nothing else, and not for long. */
static int ask_for_freezes(void *context)
{
        const struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = find(conn, "numbers");
        struct line_shm *line = &dict->shm->line;
        struct line_shm *pool = &conn->arena->header->pool.line, *nowhere;
        bool was_held = false;
        struct lane *lane;

        child_ok(lane_enter_to_read(conn->arena, OBJD_FOREVER, &lane));
        txn_begin(lane, 0);
        /* On a loaded machine it may be over before we look. */
        for (int i = 0; i < 1000 && !was_held; i++) {
                child_ok(lock_freeze(lane, line));
                was_held = lock_lane(word_get(&line->word)) != 0;
        }
        child_check(was_held);
        wait_until(is_free, line, "the daemon has thawed what the reader has not"); /* by itself */
        lane_end_read(lane);
        child_check(lock_freeze_for_reader(lane, &pool, 1) == OBJD_E_GONE);
        nowhere = (struct line_shm *)(conn->arena->base + conn->arena->data_off);
        child_check(lock_freeze_for_reader(lane, &nowhere, 1) == OBJD_E_GONE);
        nowhere = (struct line_shm *)(conn->arena->base + conn->arena->mapped);
        child_check(lock_freeze_for_reader(lane, &nowhere, 1) == OBJD_E_GONE);
        lane_end_read(lane);
        lane_leave(lane);
        objd_release(dict);
        objd_close(conn);
        return 0;
}

static void the_daemon_freezes_lines_for_a_moment_only(void **state)
{
        struct both both = { .f = *state };
        objd_conn *conn;

        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        assert_ok(numbers_set(conn, "k", 5));
        child_expect_success(child_start(ask_for_freezes, &both));
        assert_contains(fixture_log(both.f), "welcome, to be helped");
        assert_number(conn, "k", 5);
        objd_close(conn);
}

static int freeze_without_end(void *context)
{
        const struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = find(conn, "numbers");
        struct lane *lane;

        child_ok(lane_enter_to_read(conn->arena, OBJD_FOREVER, &lane));
        for (;;) {
                struct line_shm *line = &dict->shm->line;

                child_ok(lock_freeze_for_reader(lane, &line, 1));
        }
}

/* A tenth of the time is theirs. How long the writer takes depends on the machine; what must not be is that it gets nowhere. */
static void readers_cannot_stop_writers(void **state)
{
        struct both both = { .f = *state };
        objd_conn *conn;
        pid_t readers[4];
        int64_t start;

        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        assert_ok(numbers_set(conn, "k", 0));
        for (int i = 0; i < 4; i++)
                readers[i] = child_start(freeze_without_end, &both);
        poll(NULL, 0, 100);
        start = test_now_ns();
        for (int i = 0; i < 2000; i++)
                assert_ok(numbers_set(conn, "k", i));
        assert_true(test_now_ns() - start < PATIENCE_NS);
        for (int i = 0; i < 4; i++)
                child_kill(readers[i]);
        objd_close(conn);
}

/* ---- Pins ---------------------------------------------------------------------------------------------- */

static void set_big(objd_conn *conn, char letter)
{
        objd_value key = objd_cstr("big"), value;
        objd_object *dict;
        char *bytes = malloc(BIG);

        memset(bytes, letter, BIG);
        value = objd_bytes(bytes, BIG);
        assert_ok(objd_open_or_create(conn, "pins", OBJD_DICT, NULL, &dict));
        assert_ok(objd_dict_set(dict, &key, &value));
        objd_release(dict);
        free(bytes);
}

static void check_letters(const objd_value *value, char letter)
{
        const char *bytes = value->data;

        child_check(value->size == BIG);
        for (size_t i = 0; i < BIG; i++)
                child_check(bytes[i] == letter);
}

static int pin_and_look(void *context)
{
        struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = find(conn, "pins");
        objd_value key = objd_cstr("big"), value, values[LANE_PINS];
        objd_pin *pin, *pins[LANE_PINS];

        child_ok(objd_dict_pin(dict, &key, &value, &pin));
        check_letters(&value, 'a');
        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        check_letters(&value, 'a'); /* replaced many times by now */
        objd_unpin(pin);
        for (size_t i = 0; i < LANE_PINS; i++)
                child_ok(objd_dict_pin(dict, &key, &values[i], &pins[i]));
        child_check(objd_dict_pin(dict, &key, &value, &pin) == OBJD_E_LIMIT);
        for (size_t i = 0; i < LANE_PINS; i++)
                objd_unpin(pins[i]);
        child_ok(objd_dict_pin(dict, &key, &value, &pin));
        check_letters(&value, 'z');
        gate_open(&both->ready, 1);
        gate_wait(&both->go); /* is killed here */
        return 0;
}

static bool has_no_pins(void *context)
{
        return !word_get(&((objd_conn *)context)->arena->header->n_pins);
}

static void a_readers_pins_hold_and_end_with_it(void **state)
{
        struct both both;
        objd_conn *conn;
        pid_t reader;

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        set_big(conn, 'a');
        reader = child_start(pin_and_look, &both);
        gate_wait(&both.ready);
        assert_int_equal(word_get(&conn->arena->header->n_pins), 1);
        for (char letter = 'b'; letter <= 'z'; letter++)
                set_big(conn, letter);
        gate_open(&both.go, 1);
        gate_wait(&both.ready);
        child_kill(reader);
        wait_until(has_no_pins, conn, "the dead reader's pins are gone");
        objd_close(conn);
        both_deinit(&both);
}

/* ---- Joining ------------------------------------------------------------------------------------------- */

static int join_tasks(void *context)
{
        struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *queue = find(conn, "tasks");

        child_check(objd_queue_join(queue, OBJD_NOWAIT) == OBJD_E_TIMEOUT);
        child_check(objd_queue_join(queue, 30000000) == OBJD_E_TIMEOUT);
        gate_open(&both->ready, 1);
        child_ok(objd_queue_join(queue, OBJD_FOREVER));
        objd_release(queue);
        objd_close(conn);
        return 0;
}

static void a_reader_joins_a_queue(void **state)
{
        struct both both;
        objd_value value = objd_int(1);
        objd_object *queue;
        objd_conn *conn;
        pid_t readers[3];

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        queue = make(conn, "tasks", OBJD_QUEUE);
        assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
        for (int i = 0; i < 3; i++)
                readers[i] = child_start(join_tasks, &both);
        for (int i = 0; i < 3; i++)
                gate_wait(&both.ready);
        poll(NULL, 0, 20);
        assert_ok(objd_queue_task_done(queue));
        for (int i = 0; i < 3; i++)
                child_expect_success(readers[i]);
        objd_release(queue);
        objd_close(conn);
        both_deinit(&both);
}

/* ---- The daemon comes and goes ------------------------------------------------------------------------- */

static int read_without_daemon(void *context)
{
        struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = find(conn, "pins");
        objd_value key = objd_cstr("big"), value;
        objd_pin *pin;

        child_ok(objd_dict_pin(dict, &key, &value, &pin));
        objd_unpin(pin);
        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        read_dict(conn);
        child_check(objd_dict_pin(dict, &key, &value, &pin) == OBJD_E_NODAEMON);
        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        child_ok(objd_dict_pin(dict, &key, &value, &pin));
        check_letters(&value, 'a');
        objd_unpin(pin);
        objd_release(dict);
        objd_close(conn);
        return 0;
}

static void a_reader_goes_on_without_the_daemon_and_finds_the_next(void **state)
{
        struct both both;
        objd_conn *conn;
        pid_t reader;

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        fill(conn);
        set_big(conn, 'a');
        reader = child_start(read_without_daemon, &both);
        gate_wait(&both.ready);
        fixture_stop(both.f, SIGKILL);
        gate_open(&both.go, 1);
        gate_wait(&both.ready);
        start_for_readers(both.f);
        gate_open(&both.go, 1);
        child_expect_success(reader);
        objd_close(conn);
        both_deinit(&both);
}

static int pin_under_two_stores(void *context)
{
        struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = find(conn, "pins");
        objd_value key = objd_cstr("big"), value;
        objd_pin *pin;

        child_ok(objd_dict_pin(dict, &key, &value, &pin));
        objd_unpin(pin);
        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        read_dict(conn);
        child_check(objd_dict_pin(dict, &key, &value, &pin) == OBJD_E_NODAEMON);
        child_check(strstr(objd_last_error(), "serves another arena than this client has"));
        objd_release(dict);
        objd_close(conn);
        return 0;
}

static void the_daemon_of_another_store_does_not_help(void **state)
{
        struct both both;
        objd_conn *conn;
        char path[128];
        pid_t reader;

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        fill(conn);
        set_big(conn, 'a');
        reader = child_start(pin_under_two_stores, &both);
        gate_wait(&both.ready);
        fixture_stop(both.f, SIGTERM);
        fixture_path(both.f, ".arena", path);
        assert_int_equal(unlink(path), 0);
        start_for_readers(both.f);
        gate_open(&both.go, 1);
        child_expect_success(reader);
        objd_close(conn);
        both_deinit(&both);
}

/* ---- Nothing is punched -------------------------------------------------------------------------------- */

static int stay(void *context)
{
        struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);

        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        read_dict(conn);
        objd_close(conn);
        return 0;
}

/* Takes 32 MiB and gives them back. */
static void come_and_go(objd_conn *conn)
{
        size_t size = 32u << 20;
        char *bytes = calloc(1, size);
        objd_value key = objd_cstr("x"), value = objd_bytes(bytes, size);
        objd_object *dict = make(conn, "large", OBJD_DICT);

        assert_ok(objd_dict_set(dict, &key, &value));
        assert_ok(objd_destroy(dict));
        objd_release(dict);
        free(bytes);
}

static bool has_given_back(void *context)
{
        return stats_of(context).arena_resident < 24u << 20;
}

static void nothing_is_punched_under_a_reader(void **state)
{
        struct both both;
        objd_conn *conn;
        pid_t reader;

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        fill(conn);
        come_and_go(conn);
        wait_until(has_given_back, conn, "the memory is given back");

        reader = child_start(stay, &both);
        gate_wait(&both.ready);
        come_and_go(conn);
        poll(NULL, 0, 300); /* the daemon would have trimmed it by now */
        assert_true(stats_of(conn).arena_resident > 32u << 20);
        /* The mark is the kernel's: the next daemon knows as well, though no reader has called it. */
        fixture_stop(both.f, SIGKILL);
        start_for_readers(both.f);
        come_and_go(conn);
        poll(NULL, 0, 300);
        assert_true(stats_of(conn).arena_resident > 32u << 20);
        gate_open(&both.go, 1);
        child_expect_success(reader);
        wait_until(has_given_back, conn, "the memory is given back once the reader has left");
        objd_close(conn);
        both_deinit(&both);
}

/* ---- A reader and a writer in one process --------------------------------------------------------------- */

static void a_process_may_be_both(void **state)
{
        struct fixture *f = *state;
        objd_conn *writer, *reader, *another;
        char url[160];
        uint64_t client;

        start_for_readers(f);
        snprintf(url, sizeof(url), "%s?read-only", f->url);
        writer = fixture_connect(f);
        assert_ok(objd_connect(url, &reader));
        assert_true(objd_is_read_only(reader) && !objd_is_read_only(writer));
        assert_ok(numbers_set(writer, "k", 1));
        assert_number(reader, "k", 1);
        assert_status(numbers_set(reader, "k", 2), OBJD_E_ACCESS);
        assert_ok(objd_connect(url, &another));
        assert_number(another, "k", 1);

        /* A descriptor of the file that is closed would take the locks with it that say that this process lives. */
        client = word_get(&writer->arena->client);
        objd_close(another);
        objd_close(reader);
        assert_int_equal(system("true"), 0);
        poll(NULL, 0, 300); /* for the daemon to look */
        assert_int_equal(word_get(&writer->arena->client), client);
        assert_int_equal(half_get(&arena_client(writer->arena, id_number(client))->claimed), 1);
        assert_ok(numbers_set(writer, "k", 3));
        assert_number(writer, "k", 3);
        objd_close(writer);
}

/* ---- Who may do what ----------------------------------------------------------------------------------- */

struct caller {
        const struct fixture *f;
        uid_t uid;
        gid_t gid;
        gid_t group; /* one more; 0 is none */
        objd_status status;
        bool read_only;
        const char *says;
};

static int call_as(void *context)
{
        const struct caller *caller = context;
        objd_conn *conn;
        objd_status r;

        become(caller->uid, caller->gid, &caller->group, caller->group ? 1 : 0);
        r = objd_connect(caller->f->url, &conn);
        child_check(r == caller->status);
        if (r) {
                child_check(strstr(objd_last_error(), caller->says));
                return 0;
        }
        child_check(objd_is_read_only(conn) == caller->read_only);
        child_check(numbers_set(conn, "k", 1) == (caller->read_only ? OBJD_E_ACCESS : OBJD_OK));
        objd_close(conn);
        return 0;
}

static void rules_say_who_may_do_what(void **state)
{
        struct fixture *f = *state;
        static const char closed[] = "is not among those it is open to", proxied[] = "gets no handle to it";
        const struct caller callers[] = {
                { f, 1001, 9, 0, OBJD_OK, false, NULL },
                { f, 1002, 9, 0, OBJD_OK, true, NULL },
                { f, 1003, 9, 0, OBJD_E_ACCESS, false, proxied },
                { f, 1004, 9, 0, OBJD_E_ACCESS, false, closed },
                { f, 1005, 9, 0, OBJD_E_ACCESS, false, closed }, /* no rule */
                { f, 1005, 2001, 0, OBJD_OK, false, NULL },
                { f, 1005, 2002, 0, OBJD_OK, true, NULL },
                { f, 1005, 2003, 0, OBJD_E_ACCESS, false, proxied },
                { f, 1005, 2004, 0, OBJD_E_ACCESS, false, closed },
                { f, 1005, 9, 2001, OBJD_OK, false, NULL },            /* not its first group */
                { f, 1005, 2002, 2001, OBJD_OK, false, NULL },         /* the most of both */
                { f, 1005, 2003, 2002, OBJD_OK, true, NULL },          /* the same */
                { f, 1005, 2001, 2004, OBJD_E_ACCESS, false, closed }, /* denied outweighs */
                { f, 1004, 2001, 0, OBJD_E_ACCESS, false, closed },    /* a user's rule outweighs a group's */
                { f, 1002, 2001, 0, OBJD_OK, true, NULL },             /* also if it says less */
                { f, 1001, 2004, 0, OBJD_OK, false, NULL },            /* or more */
        };
        objd_conn *conn;

        if (geteuid() != 0)
                skip();
        fixture_start(f, (const char *[]){ "--allow-uid", "1001", "--read-only-uid", "1002", "--proxy-uid",
                                           "1003", "--deny-uid", "1004", "--allow-gid", "2001",
                                           "--read-only-gid", "2002", "--proxy-gid", "2003", "--deny-gid",
                                           "2004", NULL });
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 0));
        for (size_t i = 0; i < sizeof(callers) / sizeof(callers[0]); i++) {
                struct caller caller = callers[i];

                child_expect_success(child_start(call_as, &caller));
        }
        objd_close(conn);
}

static void nobody_else_may_do_anything_by_default(void **state)
{
        struct fixture *f = *state;
        struct caller caller = { f, 1001, 9, 0, OBJD_E_ACCESS, false, "is not among those it is open to" };

        if (geteuid() != 0)
                skip();
        fixture_start(f, NULL);
        child_expect_success(child_start(call_as, &caller));
}

static void rules_that_make_no_sense_are_told_so(void **state)
{
        struct fixture *f = *state;
        struct fixture_output out;
        char own[16], said[120];

        snprintf(own, sizeof(own), "%u", (unsigned)geteuid());
        fixture_run(f, (const char *[]){ "--deny-uid", own, NULL }, &out);
        assert_int_equal(out.status, 2);
        snprintf(said, sizeof(said), "--deny-uid: %s is the daemon's own uid, which may always do everything",
                 own);
        assert_contains(out.err, said);
        fixture_run(f, (const char *[]){ "--allow-uid", "7777", "--read-only-uid", "7777", NULL }, &out);
        assert_int_equal(out.status, 2);
        assert_contains(out.err, "--read-only-uid: another option says something else about uid 7777");
        fixture_run(f, (const char *[]){ "--proxy-gid", "-1", NULL }, &out);
        assert_int_equal(out.status, 2);
        assert_contains(out.err, "--proxy-gid: \"-1\" is no number from 0 to 4294967294");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_reader_reads_everything_and_changes_nothing),
                FIXTURE_TEST(a_readers_child_reads_on),
                FIXTURE_TEST(a_reader_of_a_file_gets_no_writable_mapping),
                FIXTURE_TEST(a_reader_of_a_memfd_gets_no_writable_mapping),
                FIXTURE_TEST(a_program_of_another_user_reads_and_cannot_write),
                FIXTURE_TEST(a_reader_among_writers_sees_whole_values),
                FIXTURE_TEST(a_reader_waits_for_the_living_and_has_the_dead_cleaned_up),
                FIXTURE_TEST(a_holder_dies_while_a_reader_waits_for_it),
                FIXTURE_TEST(the_daemon_freezes_lines_for_a_moment_only),
                FIXTURE_TEST(readers_cannot_stop_writers),
                FIXTURE_TEST(a_readers_pins_hold_and_end_with_it),
                FIXTURE_TEST(a_reader_joins_a_queue),
                FIXTURE_TEST(a_reader_goes_on_without_the_daemon_and_finds_the_next),
                FIXTURE_TEST(the_daemon_of_another_store_does_not_help),
                FIXTURE_TEST(nothing_is_punched_under_a_reader),
                FIXTURE_TEST(a_process_may_be_both),
                FIXTURE_TEST(rules_say_who_may_do_what),
                FIXTURE_TEST(nobody_else_may_do_anything_by_default),
                FIXTURE_TEST(rules_that_make_no_sense_are_told_so),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
