/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * status.h -- the sentence behind a status
 */

#include <objd.h>

/* Remembers the sentence for this thread and returns status, so that a failure is one statement. */
objd_status fail(objd_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a system call that failed: appends strerror(errno), and picks the status that fits errno. */
objd_status fail_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));
