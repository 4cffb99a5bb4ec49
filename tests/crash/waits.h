/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * waits.h -- how long calls wait, and for what: a thread that looks at those who wait every two milliseconds
 *
 * A call waits *because of a death* while the chain of who waits for whom leads from it over somebody dead, or to somebody who
 * cleans up after the dead, or while it sleeps for a lock that is free (whoever gave it may have died before the
 * wake). Not counted is time in which whoever is the last of the chain, and so the one to do something about it, is ready to run and
 * gets no processor: that is the machine's. All times of one call are added up, whichever deaths they come from.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct arena;

/* What somebody is doing just now, in memory that the looking process sees, too. */
struct call {
        int64_t start_ns; /* 0: nothing; written last */
        int64_t delay_ns;
        const char *name;
};

/* The longest calls of somebody, by its own measure, without the time in which it got no processor. */
struct longest {
        int64_t ns;
        const char *name;
        uint64_t n_over;
};

#define WAIT_LIMIT_NS 100000000LL

void call_begin(struct call *call, const char *name);
void call_end(struct call *call, struct longest *longest);

/* Its caller has died in it. */
void call_forget(struct call *call);

/* Before waits_start(): look at the calls of the process *pid, which may be another one from time to time. */
void waits_watch(struct arena *arena, const char *label, const pid_t *pid, const struct call *call);

void waits_start(void);
void waits_stop(void);

/* Prints what has been seen, and gives the longest time that one call waited because of deaths. */
int64_t waits_report(void);
