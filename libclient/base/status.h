/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * status.h -- the sentence behind a status
 */

#include <stdbool.h>
#include <stdint.h>

#include <objd.h>

/*
 * What objd_next_timeout() has said about this thread's next call. It ends with that call: with its first step that may wait (object.h,
 * conn_timeout()), with its end if it has several, or with its failure before that.
 */
struct next_timeout {
        bool set;
        const void *holder; /* the frame of a call with several steps, all of which it is for; NULL: none */
        int64_t timeout_ns;
};
extern _Thread_local struct next_timeout next_timeout;

/* Remembers the sentence for this thread and returns status, so that a failure is one statement. */
objd_status fail(objd_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a system call that failed: appends strerror(errno), and picks the status that fits errno. */
objd_status fail_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));
