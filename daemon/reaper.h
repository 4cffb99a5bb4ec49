/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * reaper.h -- cleaning up after the dead
 *
 * Anybody who meets a dead process's traces cleans them up; the daemon only looks more often. It judges by what the
 * kernel says of each claim in the arena, so it does right by clients that it has never seen.
 */

#include "arena/arena.h"

struct reaper {
        struct arena *arena;
        objd_status last;   /* so that a lasting failure is said once */
        int64_t trimmed_ns; /* when memory of free blocks was given back last */
};

/* Cleans up after all who died before we came. */
void reaper_begin(struct reaper *reaper, struct arena *arena);

/* Looks at all claims once. Cheap when nobody has died. Waits for nobody. */
void reaper_run(struct reaper *reaper);

/* Whether there are clients besides this process, so that somebody may die. */
bool reaper_has_clients(const struct reaper *reaper);
