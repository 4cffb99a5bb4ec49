/* SPDX-License-Identifier: Apache-2.0 */

/*
 * sys.c -- the real system calls behind the table, and the clocks
 */

#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <objd.h>

#define NS_PER_S 1000000000LL

static void *real_alloc(size_t size)
{
        return calloc(1, size);
}

static void *real_resize(void *p, size_t size)
{
        return realloc(p, size);
}

static void *real_map(int fd, uint64_t size, bool writable)
{
        void *p = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);

        return p == MAP_FAILED ? NULL : p;
}

static int real_fallocate(int fd, int mode, int64_t off, int64_t size)
{
        return fallocate(fd, mode, off, size);
}

/*
 * Shared futexes: the word's page is looked up, not the address, since every process maps the arena
 * elsewhere.
 */
static long real_futex(const uint32_t *word, int op, uint32_t value, const int64_t *timeout_ns)
{
        int64_t ns = timeout_ns && *timeout_ns > 0 ? *timeout_ns : 0;
        struct timespec ts = { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };

        return syscall(SYS_futex, word, op, value, timeout_ns ? &ts : NULL, NULL, 0);
}

struct sys sys = {
        .alloc = real_alloc,
        .resize = real_resize,
        .map = real_map,
        .fallocate = real_fallocate,
        .futex = real_futex,
};

/* What a clock that does not answer is taken to have gone on by, each time that it is asked. */
#define STEP_NS 10000000LL

/*
 * Whoever waits asks again and again whether its time has come. A clock that fails (a filter of system calls may refuse it) goes
 * on from the last time that this thread has seen, by a little with each question: waits come to an end, and no time is
 * ever far from the true one because of it.
 */
static int64_t read_clock(clockid_t clock, int64_t *last)
{
        struct timespec ts;

        if (clock_gettime(clock, &ts) == 0)
                *last = ts.tv_sec * NS_PER_S + ts.tv_nsec;
        else
                *last += STEP_NS;
        return *last;
}

int64_t now_ns(void)
{
        static _Thread_local int64_t last;

        return read_clock(CLOCK_MONOTONIC, &last);
}

int64_t wall_ns(void)
{
        static _Thread_local int64_t last;

        return read_clock(CLOCK_REALTIME, &last);
}

int64_t deadline_after(int64_t timeout_ns)
{
        int64_t deadline_ns;

        if (timeout_ns < 0)
                return INT64_MAX;
        return __builtin_add_overflow(now_ns(), timeout_ns, &deadline_ns) ? INT64_MAX : deadline_ns;
}
