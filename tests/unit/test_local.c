/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_local.c -- the daemon's side of local: urls, against clients that do what they like with their rings, die, or are of another user
 */

#include "support/test.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/attach.h"
#include "rpc/ring.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/random.h"

/* A client that has its rings in its own hands. */
struct raw {
        int control, bell;
        uint32_t max_frame;
        struct ring_pair pair;
        void *frame;
};

static void url_of(const struct fixture *f, char url[160])
{
        snprintf(url, 160, "local:%s/test", f->directory);
}

static void raw_open(struct raw *raw, const struct fixture *f)
{
        static struct url url;
        struct attached_rings rings;
        char text[160];

        url_of(f, text);
        assert_ok(url_parse_local(text, &url));
        assert_ok(attach_rings_begin(text, &url, &raw->control));
        assert_int_equal(poll(&(struct pollfd){ .fd = raw->control, .events = POLLIN }, 1, PATIENCE_S * 1000),
                         1);
        assert_ok(attach_rings_end(text, &url, raw->control, &rings));
        assert_ok(ring_map(rings.memory, rings.size, &raw->pair));
        assert_int_equal(close(rings.memory), 0);
        raw->bell = rings.bell;
        raw->max_frame = rings.max_frame;
        raw->frame = malloc(rings.max_frame);
        assert_non_null(raw->frame);
}

static void raw_close(struct raw *raw)
{
        ring_unmap(&raw->pair);
        assert_int_equal(close(raw->control), 0);
        assert_int_equal(close(raw->bell), 0);
        free(raw->frame);
}

static void raw_ring(const struct raw *raw)
{
        assert_int_equal(eventfd_write(raw->bell, 1), 0);
}

/* The daemon hangs up; bells may come before. */
static void raw_expect_hang_up(const struct raw *raw)
{
        char byte;

        do {
                assert_int_equal(
                        poll(&(struct pollfd){ .fd = raw->control, .events = POLLIN }, 1, PATIENCE_S * 1000),
                        1);
        } while (recv(raw->control, &byte, 1, 0) > 0);
}

/* The next frame from the daemon. */
static struct frame_head raw_receive(struct raw *raw)
{
        struct frame_head head;
        const void *piece;
        objd_status r;

        while ((r = ring_next(&raw->pair.down, raw->max_frame, raw->frame, &head, &piece)) == OBJD_E_EMPTY) {
                char byte;

                if (!ring_reader_sleeps(&raw->pair.down))
                        continue;
                assert_int_equal(
                        poll(&(struct pollfd){ .fd = raw->control, .events = POLLIN }, 1, PATIENCE_S * 1000),
                        1);
                assert_int_equal(recv(raw->control, &byte, 1, 0), 1);
        }
        assert_ok(r);
        if (ring_take(&raw->pair.down, &head))
                raw_ring(raw);
        return head;
}

static void expect_served(objd_conn *conn)
{
        objd_value key = objd_cstr("k"), value = objd_int(1), got;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *dict;

        assert_ok(objd_open_or_create(conn, "dict", OBJD_DICT, NULL, &dict));
        assert_ok(objd_dict_set(dict, &key, &value));
        assert_ok(objd_dict_get(dict, &key, &got, &buf));
        assert_int_equal(got.u.integer, 1);
        objd_buf_free(&buf);
        objd_release(dict);
}

struct counted {
        pid_t pid;
        int n;
};

static int count_descriptors(pid_t pid)
{
        char path[64];
        DIR *folder;
        int n = 0;

        snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
        folder = opendir(path);
        assert_non_null(folder);
        while (readdir(folder))
                n++;
        closedir(folder);
        return n;
}

/* It may have had one more at that moment: what it has sent to the one who connected it closes afterwards. */
static bool has_no_more(void *context)
{
        const struct counted *counted = context;

        return count_descriptors(counted->pid) <= counted->n;
}

/* ---- Scribblers ------------------------------------------------------------------------------------------- */

static void who_scribbles_loses_its_rings_and_nobody_else_notices(void **state)
{
        struct fixture *f = *state;
        struct random random = { 11 };
        struct counted before;
        objd_conn *conn;
        char url[160];

        fixture_start(f, NULL);
        url_of(f, url);
        assert_ok(objd_connect(url, &conn));
        expect_served(conn);
        before = (struct counted){ f->pid, count_descriptors(f->pid) };
        for (int i = 0; i < 24; i++) {
                struct raw raw;

                raw_open(&raw, f);
                for (uint32_t j = 0; j < raw.pair.up.size; j++)
                        raw.pair.up.data[j] = (uint8_t)random_below(&random, i % 2 ? 256 : 4);
                raw.pair.up.shm->taken = random_below(&random, UINT64_MAX);
                raw.pair.down.shm->put = random_below(&random, UINT64_MAX);
                raw.pair.down.shm->taken = random_below(&random, UINT64_MAX);
                __atomic_store_n(&raw.pair.up.shm->put,
                                 i % 3 ? 8 * (1 + random_below(&random, 1000)) : UINT64_MAX,
                                 __ATOMIC_SEQ_CST);
                raw_ring(&raw);
                raw_expect_hang_up(&raw);
                raw_close(&raw);
                expect_served(conn);
        }
        wait_until(has_no_more, &before,
                   "the daemon has given up the bells and sockets of those who scribbled");
        objd_close(conn);
}

/* Frames that are sound, from somebody who has said no hello, and pings without end whose answers nobody takes. */
static void who_does_not_take_its_answers_is_not_read_from(void **state)
{
        struct fixture *f = *state;
        struct frame_head head = { 0 };
        struct raw raw;
        objd_conn *conn;
        char url[160];
        uint8_t *at;
        int n = 0;

        fixture_start(f, NULL);
        url_of(f, url);
        assert_ok(objd_connect(url, &conn));
        raw_open(&raw, f);
        /* The ring down holds 1 MiB of refusals, and 256 KiB more may wait: then the ring up stays full. */
        while (n < 100000) {
                objd_status r = ring_reserve(&raw.pair.up, FRAME_HEAD, &at);

                if (r == OBJD_E_BUSY) {
                        uint64_t taken = __atomic_load_n(&raw.pair.up.shm->taken, __ATOMIC_ACQUIRE);

                        expect_served(conn); /* the daemon has had its turn, */
                        expect_served(conn);
                        if (__atomic_load_n(&raw.pair.up.shm->taken, __ATOMIC_ACQUIRE) == taken)
                                break; /* and took nothing */
                        continue;
                }
                assert_ok(r);
                frame_bare(FRAME_PING, head.session, at);
                if (ring_put(&raw.pair.up, FRAME_HEAD))
                        raw_ring(&raw);
                n++;
        }
        assert_true(n < 100000);
        /* Once it takes them, it is served again: an answer to each. */
        for (int i = 0; i < n; i++) {
                head = raw_receive(&raw);
                assert_int_equal(head.type, FRAME_REFUSED);
        }
        raw_close(&raw);
        objd_close(conn);
}

/* ---- Deaths ----------------------------------------------------------------------------------------------- */

static int lock_and_wait(void *context)
{
        const struct fixture *f = context;
        objd_object *lock;
        objd_conn *conn;
        char url[160];

        url_of(f, url);
        child_ok(objd_connect(url, &conn));
        child_ok(objd_open(conn, "lock", OBJD_LOCK, &lock));
        child_ok(objd_lock_take(lock, OBJD_NOWAIT, NULL));
        for (;;)
                pause(); /* it is killed */
}

static bool is_taken(void *lock)
{
        bool taken = false;

        return objd_lock_owner(lock, &taken, NULL, NULL) == OBJD_OK && taken;
}

/* The session has an hour yet: it is the socket's hang-up that tells. */
static void a_dead_clients_session_ends_and_its_rings_go(void **state)
{
        struct fixture *f = *state;
        struct counted before;
        objd_object *lock;
        objd_conn *conn;
        pid_t pid;

        fixture_start(f, (const char *[]){ "--session-expiry", "3600", NULL });
        conn = fixture_connect(f);
        assert_ok(objd_open_or_create(conn, "lock", OBJD_LOCK, NULL, &lock));
        before = (struct counted){ f->pid, count_descriptors(f->pid) };
        pid = child_start(lock_and_wait, f);
        wait_until(is_taken, lock, "the child has the lock");
        child_kill(pid);
        assert_status(objd_lock_take(lock, PATIENCE_NS, NULL), OBJD_E_OWNER_DIED);
        assert_ok(objd_lock_give(lock));
        wait_until(has_no_more, &before, "the daemon has given up the dead client's bell and socket");
        objd_release(lock);
        objd_close(conn);
}

static void a_session_goes_on_with_the_next_daemon(void **state)
{
        struct fixture *f = *state;
        objd_object *lock;
        objd_conn *conn;
        char url[160];

        fixture_start(f, NULL);
        url_of(f, url);
        assert_ok(objd_connect(url, &conn));
        assert_ok(objd_set_timeout(conn, PATIENCE_NS));
        assert_ok(objd_open_or_create(conn, "lock", OBJD_LOCK, NULL, &lock));
        assert_ok(objd_lock_take(lock, OBJD_NOWAIT, NULL));
        for (int i = 0; i < 2; i++) {
                (void)fixture_stop(f, i ? SIGTERM : SIGKILL);
                fixture_start(f, NULL);
                expect_served(conn);
        }
        assert_ok(objd_lock_give(lock)); /* it is still ours */
        objd_release(lock);
        objd_close(conn);
}

/* ---- Users ------------------------------------------------------------------------------------------------ */

struct other {
        const struct fixture *f;
        uid_t uid;
        objd_status status;
        bool read_only;
};

static int call_as(void *context)
{
        const struct other *other = context;
        objd_value key = objd_cstr("k"), value = objd_int(2), got;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *dict;
        objd_conn *conn;
        char url[160];
        objd_status r;

        child_check(setresuid(other->uid, other->uid, other->uid) == 0);
        url_of(other->f, url);
        r = objd_connect(url, &conn);
        child_check(r == other->status);
        if (r)
                return 0;
        child_check(objd_is_read_only(conn) == other->read_only);
        child_ok(objd_open(conn, "dict", OBJD_DICT, &dict));
        child_ok(objd_dict_get(dict, &key, &got, &buf));
        child_check(objd_dict_set(dict, &key, &value) == (other->read_only ? OBJD_E_ACCESS : OBJD_OK));
        objd_buf_free(&buf);
        objd_release(dict);
        objd_close(conn);
        return 0;
}

static void who_may_not_map_the_store_works_through_its_daemon(void **state)
{
        struct fixture *f = *state;
        const struct other others[] = {
                { f, 1001, OBJD_OK, false },       { f, 1002, OBJD_OK, true },
                { f, 1003, OBJD_OK, false },       { f, 1004, OBJD_E_ACCESS, false },
                { f, 1005, OBJD_E_ACCESS, false }, /* no rule */
        };
        objd_conn *conn;

        if (geteuid() != 0)
                skip();
        fixture_start(f, (const char *[]){ "--allow-uid", "1001", "--read-only-uid", "1002", "--proxy-uid",
                                           "1003", "--deny-uid", "1004", NULL });
        conn = fixture_connect(f);
        expect_served(conn);
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
                struct other other = others[i];

                child_expect_success(child_start(call_as, &other));
        }
        objd_close(conn);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(who_scribbles_loses_its_rings_and_nobody_else_notices),
                FIXTURE_TEST(who_does_not_take_its_answers_is_not_read_from),
                FIXTURE_TEST(a_dead_clients_session_ends_and_its_rings_go),
                FIXTURE_TEST(a_session_goes_on_with_the_next_daemon),
                FIXTURE_TEST(who_may_not_map_the_store_works_through_its_daemon),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
