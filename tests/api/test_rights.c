/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_rights.c -- who may do what, and clients that may only read
 *
 * As root, readers are processes of another user. Otherwise they are of this user and ask for no more than to read, and what only another
 * user can show is skipped.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/falloc.h>

#include <objd.h>

#include "object/object.h"
#include "rights_fixture.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"
#include "sync/lock.h"

/* ---- Everything that reads, reads --------------------------------------------------------------------- */

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
        static const char *const wrong[][3] = {
                { "--proxy-uid", "7777:all",
                  "--proxy-uid: \"all\": the rights do not begin with \"rw\" or \"ro\"" },
                { "--proxy-uid", "7777:", "the rights do not begin" },
                { "--proxy-gid", "7777:rw *x", "a star can only be the last character" },
                { "--proxy-uid", ":rw", "\":rw\" is no number" },
                { "--proxy-uid", "00000000007777:rw", "is no number" },
                { "--read-only-uid", "7777:ro team/*", "only --proxy-uid and --proxy-gid take rights" },
        };
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
        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
                fixture_run(f, (const char *[]){ wrong[i][0], wrong[i][1], NULL }, &out);
                assert_int_equal(out.status, 2);
                assert_contains(out.err, wrong[i][2]);
        }
        fixture_run(f, (const char *[]){ "--proxy-uid", "7777:rw", "--proxy-uid", "7777:ro", NULL }, &out);
        assert_int_equal(out.status, 2);
        assert_contains(out.err, "--proxy-uid: another option says something else about uid 7777");
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
                FIXTURE_TEST(rules_say_who_may_do_what),
                FIXTURE_TEST(nobody_else_may_do_anything_by_default),
                FIXTURE_TEST(rules_that_make_no_sense_are_told_so),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
