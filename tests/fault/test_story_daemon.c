/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_story_daemon.c -- calls of a daemon fail, one after the other, while it serves a client without a mapping, on each carrier
 *
 * For each kind of call: the nth one fails, once, or from then on, or is broken off by a signal, until a story (story.h) comes to its
 * end untouched. The error reaches the client, or the link recovers; what it was told is true; another client is served afterwards as
 * if nothing had been, by the same daemon, which keeps no descriptor and no memory. What nanomsg and jemalloc ask of the system is
 * not counted.
 *
 *   test-story-daemon          some n of each kind, in a few seconds
 *   test-story-daemon --all    all n, all modes
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "story.h"
#include "support/child.h"
#include "support/leaks.h"

static const char *const kinds[] = {
        "malloc",     "calloc",
        "realloc",    "strdup",
        "mmap",       "memfd_create",
        "ftruncate",  "fcntl",
        "accept4",    "recv",
        "recvmsg",    "send",
        "sendmsg",    "getsockopt",
        "epoll_ctl",  "epoll_wait",
        "eventfd",    "read",
        "fstat",      "clock_gettime",
        "getrandom",  "timerfd_settime",
        "futex",      "fallocate",
        "membarrier", "pthread_create",
        "syscall",
};

static bool all;

/* ---- One of them ------------------------------------------------------------------------------------------- */

/* Somebody else, who was there before anything failed. */
struct bystander {
        objd_conn *conn;
        objd_object *dict;
};

static void bystander_come(struct bystander *b)
{
        assert_ok(objd_connect(way_all()->urls[2], &b->conn));
        assert_ok(objd_set_timeout(b->conn, PATIENCE_NS));
        assert_ok(objd_open(b->conn, "dict", OBJD_DICT, &b->dict));
}

static void bystander_expect_service(struct bystander *b, int64_t number)
{
        objd_value key = objd_str("bystander", 9), value = objd_int(number), found;
        objd_buf buf = OBJD_BUF_INIT;

        assert_ok(objd_dict_set(b->dict, &key, &value));
        assert_ok(objd_dict_get(b->dict, &key, &found, &buf));
        assert_int_equal(found.u.integer, number);
        objd_buf_free(&buf);
        objd_release(b->dict);
        objd_close(b->conn);
}

/* When they were counted, it may not have closed yet what an earlier client had. */
static bool has_no_more_fds(void *context)
{
        return leaks_count_fds(way_daemon()->pid) <= *(size_t *)context;
}

static unsigned tell_with(struct story *story, const char *url, unsigned nth, enum fault_mode mode)
{
        size_t n_fds = leaks_count_fds(way_daemon()->pid);
        struct bystander bystander;
        unsigned n_failed;

        bystander_come(&bystander);
        faults_begin(nth, mode);
        story_tell(story, url);
        n_failed = faults_end();
        fixture_check_runs(way_daemon());
        bystander_expect_service(&bystander, story->chapter);
        story_compare(story);
        wait_until(has_no_more_fds, &n_fds, "the daemon has closed what it opened");
        return n_failed;
}

/* ---- All of them ------------------------------------------------------------------------------------------- */

static void stories(void **state, size_t way)
{
        const struct story_sweep sweep = { .tell = tell_with,
                                           .kinds = kinds,
                                           .n_kinds = sizeof(kinds) / sizeof(*kinds),
                                           .modes = 1u << FAULT_ONCE | 1u << FAULT_INTERRUPT |
                                                    (all ? 1u << FAULT_FROM_THEN_ON : 0),
                                           .all = all };

        story_sweep(state, way, &sweep);
}

static void calls_of_a_daemon_may_fail_that_serves_over_ipc(void **state)
{
        stories(state, 1);
}

static void calls_of_a_daemon_may_fail_that_serves_over_local(void **state)
{
        stories(state, 2);
}

static void calls_of_a_daemon_may_fail_that_serves_over_tcp(void **state)
{
        stories(state, 3);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                STORY_TEST(calls_of_a_daemon_may_fail_that_serves_over_ipc),
                STORY_TEST(calls_of_a_daemon_may_fail_that_serves_over_local),
                STORY_TEST(calls_of_a_daemon_may_fail_that_serves_over_tcp),
        };
        char *by_all[] = { argv[0], (char[]){ "all" }, NULL };
        char path[] = "/tmp/objd-test-faults-XXXXXX";
        int r;

        all = argc > 1 && strcmp(argv[1], "--all") == 0;
        setvbuf(stdout, NULL, _IOLBF, 0);
        if (mkstemp(path) < 0)
                return 2;
        faults_share(path);
        cmocka_set_test_filter(getenv("FILTER"));
        r = way_run(2, by_all, tests);
        if (faults->n_live) {
                fprintf(stderr, "the daemon left %u allocations\n", faults->n_live);
                r = 1;
        }
        faults_unshare();
        (void)unlink(path);
        return r;
}
