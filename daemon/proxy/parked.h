/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * parked.h -- batches that wait, in groups by what they wait for
 *
 * A group says in the arena that there is somebody who waits, once for all of its batches, and its word is watched by the waker.
 * When the word changes, the batches are tried in the order in which they came, until one has to go on waiting. Where no word can be
 * watched (a living process in the middle of a change, or more words than the waker has room for), and to find what the
 * dead have left (a lease that is over, an owner that died), every group is tried from time to time as well.
 *
 * Nothing that is done for one batch or group goes through all of them: thousands may wait.
 */

#include "proxy/job.h"
#include "proxy/waker.h"

/* How often a group is tried whose word is not watched, and one whose word is; if there are many, less often. */
#define PARKED_POLL_NS 2000000LL
#define PARKED_LOOK_NS 20000000LL

/* How many groups of either sort are tried at once, and how long nobody is tried after so many. */
#define PARKED_TRIES 32u
#define PARKED_PAUSE_POLL_NS 2000000LL
#define PARKED_PAUSE_LOOK_NS 10000000LL

#define PARKED_BUCKETS 1024u

/* What a batch that has waited may run of its calls before others have their turn again. */
#define PARKED_TURN 16u

/* Groups that are looked at in turn, the one that has waited longest first. */
struct parked_round {
        struct group *first, **last;
        int64_t next_ns; /* not before then */
};

struct parked {
        struct proxy_sessions *sessions;
        struct waker *waker;
        struct group *buckets[PARKED_BUCKETS]; /* by object and what is waited for */
        struct parked_round polled, looked;
        struct group *empty; /* groups that nobody may be in any more */
        struct job **heap;   /* those that have a deadline, the earliest one first */
        uint32_t n_heap, heap_room;
        uint32_t n_jobs, n_groups;
        uint64_t n_tries; /* so often was a batch tried that had to go on waiting, or not */

        /* A batch is done, or could go on (JOB_RUNS): takes it, and frees no other. */
        void (*take_fn)(void *context, struct job *job);
        void *take_context;
};

void parked_init(struct parked *parked, struct proxy_sessions *sessions, struct waker *waker,
                 void (*take_fn)(void *context, struct job *job), void *take_context);

/* When no job is parked any more. */
void parked_deinit(struct parked *parked);

/* The job has to wait. It is tried again at once, lest what it waits for has come just now. */
void parked_add(struct parked *parked, struct job *job);

/* The job is to be freed; if it is not parked that is no matter. */
void parked_remove(struct parked *parked, struct job *job);

/* The job may have to wait no more: tries it, whoever stands before it. If it is not parked that is no matter. */
void parked_try(struct parked *parked, struct job *job);

/* The waker has news. */
void parked_wake(struct parked *parked);

/* Tries what is to be tried by now, and ends what is too late. Gives how long it need not be called again, -1: for ever. */
int64_t parked_look(struct parked *parked);
