/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_story_client.c -- calls of a client without a mapping fail, one after the other, on each carrier
 *
 * For each kind of call: the nth one fails, once, or from then on, or is broken off by a signal, until a story (story.h) comes to its
 * end untouched. What nanomsg asks of the system is not counted. The error reaches the caller, or the link recovers; what was told is true; nothing is left of the connection, and
 * others are served.
 *
 *   test-story-client          some n of each kind, in a few seconds
 *   test-story-client --all    all n, all modes
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "story.h"
#include "support/child.h"
#include "support/leaks.h"

/* What the client's side of a session asks of the system. */
static const char *const kinds[] = {
        "calloc",     "realloc", "strdup",  "mmap",          "epoll_create1", "epoll_ctl",
        "epoll_wait", "ppoll",   "eventfd", "socket",        "connect",       "recv",
        "recvmsg",    "send",    "open",    "clock_gettime", "fstat",         "pthread_create",
};

static bool all;

/* ---- One of them ------------------------------------------------------------------------------------------- */

static unsigned tell_with(struct story *story, const char *url, unsigned nth, enum fault_mode mode)
{
        size_t n_fds = leaks_count_fds(getpid());
        unsigned n_failed;

        faults_begin(nth, mode);
        story_tell(story, url);
        n_failed = faults_end();
        story_compare(story);
        if (leaks_count_fds(getpid()) != n_fds)
                fail_msg("descriptors are left (%s, call %u, %s, %s)", url, nth, faults->first,
                         story_mode_name[mode]);
        if (faults->n_live)
                fail_msg("%u allocations are left (%s, call %u, %s, %s)", faults->n_live, url, nth,
                         faults->first, story_mode_name[mode]);
        return n_failed;
}

/* ---- All of them ------------------------------------------------------------------------------------------- */

static void stories(void **state, size_t way)
{
        const struct story_sweep sweep = { .tell = tell_with,
                                           .kinds = kinds,
                                           .n_kinds = sizeof(kinds) / sizeof(*kinds),
                                           .modes = 1u << FAULT_ONCE | 1u << FAULT_FROM_THEN_ON |
                                                    1u << FAULT_INTERRUPT,
                                           .all = all };

        story_sweep(state, way, &sweep);
}

static void calls_of_a_client_over_ipc_may_fail(void **state)
{
        stories(state, 1);
}

static void calls_of_a_client_over_local_may_fail(void **state)
{
        stories(state, 2);
}

static void calls_of_a_client_over_tcp_may_fail(void **state)
{
        stories(state, 3);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                STORY_TEST(calls_of_a_client_over_ipc_may_fail),
                STORY_TEST(calls_of_a_client_over_local_may_fail),
                STORY_TEST(calls_of_a_client_over_tcp_may_fail),
        };
        char *by_all[] = { argv[0], (char[]){ "all" }, NULL };

        all = argc > 1 && strcmp(argv[1], "--all") == 0;
        setvbuf(stdout, NULL, _IOLBF, 0);
        cmocka_set_test_filter(getenv("FILTER"));
        return way_run(2, by_all, tests);
}
