/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * workers.h -- what workers do that are killed at random, and how it is counted
 *
 * Each worker counts, in memory that is not the arena's and that outlives it, what it is about to do and what has been acknowledged.
 * What is in the store must lie between the two. The steps are for children; the sums are for the parent.
 */

#include <objd.h>

#include "support/random.h"

/* A kind of step: how often it was begun, and how often it was acknowledged. */
struct tally {
        uint64_t begun, done;
};

struct tallies {
        struct tally add, put, get, append, pop, guarded;
        uint64_t n_full; /* steps that found the store full, and changed nothing */
};

/* The objects that the steps work on. */
struct common {
        objd_conn *conn;
        objd_object *counters, *queue, *list, *lock;
};

struct worker {
        struct common store;
        struct tallies *tallies;
        int number; /* the key of its own counter */
        bool may_be_full;
        bool is_far; /* has no mapping: also a deletion takes memory, for the record of its answer */
        struct random random;
        objd_buf buf;
};

void common_make(struct common *store, objd_conn *conn);
void common_open(struct common *store, objd_conn *conn); /* in a child */

/* The word is looked at by others, or by the parent after the death of who wrote it. */
void worker_set(uint64_t *word, uint64_t value);

/* Whether the store is just full, where it may be; the step has then changed nothing. */
bool worker_is_full(struct worker *w, objd_status r);

/* About to do it; done, or found to be impossible. */
void worker_begin(struct tally *tally);
void worker_end(struct worker *w, struct tally *tally, objd_status r);

void worker_add(struct worker *w);     /* its own counter and the common one go up together */
void worker_put(struct worker *w);     /* an item into the queue, unless it has very many */
void worker_get(struct worker *w);     /* an item from the queue */
void worker_list(struct worker *w);    /* an item to or from an end of the list */
void worker_guarded(struct worker *w); /* a number read, raised and written under the lock */
void worker_objects(
        struct worker *w); /* objects that come and go, with names that others use as well, and without */

/* What a dict has under the key; 0 if that is nothing. */
int64_t number_in(objd_object *dict, objd_value key);

void assert_between(const char *label, uint64_t least, uint64_t n, uint64_t most, const char *what);

/* Counters, list and what went through the lock lie between what was begun and what was acknowledged. */
void check_tallies(const char *label, const struct common *store, const struct tallies *tallies,
                   size_t n_workers);

/* Items that were put and that no `get` took. */
void check_queue(const char *label, const struct tallies *tallies, size_t n_workers, uint64_t n_left);

/* All objects with a name. */
void delete_all_names(objd_conn *conn);
