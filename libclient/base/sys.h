/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * sys.h -- the system calls that can fail, behind one table
 *
 * Tests replace entries to make calls fail in turn; nothing else does.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sys {
        void *(*alloc)(size_t size);                        /* calloc(1, size) */
        void *(*resize)(void *p, size_t size);              /* realloc */
        void *(*map)(int fd, uint64_t size, bool writable); /* mmap shared, whole file; NULL and errno */
        int (*fallocate)(int fd, int mode, int64_t off, int64_t size);
        long (*futex)(const uint32_t *word, int op, uint32_t value, const int64_t *timeout_ns);
};

extern struct sys sys;

/* CLOCK_MONOTONIC and CLOCK_REALTIME in nanoseconds. They never fail: a clock that does is made up for. */
int64_t now_ns(void);
int64_t wall_ns(void);

/* The deadline that is timeout_ns from now; OBJD_FOREVER gives INT64_MAX. */
int64_t deadline_after(int64_t timeout_ns);
