/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * parked.h -- batches that wait, in groups by what they wait for
 *
 * A group says in the arena that there is somebody who waits, once for all of its batches, and its word is watched by the waker.
 * When the word changes, the batches are tried in the order in which they came, until one has to go on waiting. Where no word can be
 * watched (a living process in the middle of a change, or more words than the waker has room for), and to find what the
 * dead have left (a lease that is over, an owner that died), every group is tried from time to time as well.
 */

#include "proxy/job.h"
#include "proxy/waker.h"

/* How often a group is tried whose word is not watched; and one whose word is. */
#define PARKED_POLL_NS 2000000LL
#define PARKED_LOOK_NS 20000000LL

struct parked {
        struct proxy_sessions *sessions;
        struct waker *waker;
        struct group *groups;
        uint32_t n_jobs;

        /* A batch is done: answers it and frees it, and frees no other. */
        void (*done_fn)(void *context, struct job *job);
        void *done_context;
};

/* The job has to wait. It is tried again at once, lest what it waits for has come just now. */
void parked_add(struct parked *parked, struct job *job);

/* The job is to be freed; if it is not parked that is no matter. */
void parked_remove(struct parked *parked, struct job *job);

/* The waker has news. */
void parked_wake(struct parked *parked);

/* Tries what is to be tried by now, and ends what is too late. Gives how long it need not be called again, -1: for ever. */
int64_t parked_look(struct parked *parked);
