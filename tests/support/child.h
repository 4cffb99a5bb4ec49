/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * child.h -- forked children of a test
 */

#include <stdbool.h>
#include <sys/types.h>

#include <objd.h>

/*
 * No test waits for longer for anything that must happen. It is far more than anything takes, even on a slow machine with much else
 * to do; only a test that fails waits for so long.
 */
#define PATIENCE_S 120
#define PATIENCE_NS (PATIENCE_S * 1000000000LL)

/* In a child: ends it, with a message, if the condition does not hold. cmocka's checks are for the parent only. */
#define child_check(condition)                                      \
        do {                                                        \
                if (!(condition))                                   \
                        child_fail(#condition, __FILE__, __LINE__); \
        } while (0)
#define child_ok(call) child_check((call) == OBJD_OK)

void child_fail(const char *what, const char *file, int line) __attribute__((noreturn));

/* Runs fn in a child that dies with this process; what fn returns is its exit status. */
pid_t child_start(int (*fn)(void *context), void *context);

/* Waits for its end and gives the wait status. Fails the test if it does not end. */
int child_wait(pid_t pid);

/* Waits for an exit with status 0; anything else fails the test. */
void child_expect_success(pid_t pid);

/* Kills it, as kill -9 does, and waits. */
void child_kill(pid_t pid);

/* A pipe as a barrier: one side waits until the other has said so, or is gone. */
struct gate {
        int fds[2];
};

void gate_init(struct gate *gate);
void gate_deinit(struct gate *gate);
void gate_open(const struct gate *gate, size_t n); /* lets n waiters through */
void gate_wait(const struct gate *gate); /* in parent or child; ends the process after PATIENCE_NS */

/* CLOCK_MONOTONIC */
int64_t test_now_ns(void);

/*
 * Until fn says so; it is asked every few milliseconds, for what gives nothing to wait on. what is for the message if it never
 * does.
 */
void wait_until(bool (*fn)(void *context), void *context, const char *what);
