/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash.c -- being killed at a named place; empty in builds without crash points
 */

#include "base/crash.h"

#ifdef OBJD_CRASH_POINTS

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void crash_point(const char *name)
{
        static unsigned long n_hits;
        const char *wanted = getenv("OBJD_CRASH_POINT");
        size_t size = strlen(name);

        if (!wanted || strncmp(wanted, name, size) != 0 || wanted[size] != ':')
                return;
        if (__atomic_add_fetch(&n_hits, 1, __ATOMIC_RELAXED) == strtoul(wanted + size + 1, NULL, 10))
                (void)kill(getpid(), SIGKILL);
}

#else

/* ISO C forbids an empty file. */
typedef int crash_points_are_off;

#endif
