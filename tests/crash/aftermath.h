/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * aftermath.h -- what those find who come after a death, and what they must find
 *
 * A sweep (sweep.c: one victim; pairs.c: two) says what the store holds after each way in which it may all have come out, and shows
 * the arena as it is at each place where victims die. Whoever checks first, whoever writes first, and whoever recovers and
 * dies of it, must find one of these, and never one that has been ruled out before.
 */

#include <stdbool.h>
#include <stdint.h>

#include "crash/sweep.h"

#define FAULTS_MAX 5

/* Seconds; stepping through an operation may take a while on a machine with other things to do. */
#define TO_STEP 600

/* What a store holds. */
struct content {
        uint64_t store, used;
};

/* Digests that have been met. */
struct seen {
        uint64_t *slots, n, room;
};

/* For each victim: its operation has not happened (0) or it has (1), as a number; the first victim's is the higher bit. */
#define OUTCOMES_MAX 4u

struct aftermath {
        const struct op_test *test; /* says what who comes next writes, and how contents are compared */
        struct sweep_sums *sums;
        const char *name;
        const char *mode;        /* what is being done, */
        uint64_t before;         /* how far the first of two victims is, */
        uint64_t step;           /* how far the last is, */
        uint64_t recovery_step;  /* and how far recovery: for who reads of a fault */
        uint64_t faults, states; /* so far */
        bool two;                /* there are two victims */
        bool real;               /* they were killed by SIGKILL */

        unsigned n_outcomes;
        struct content content[OUTCOMES_MAX];     /* by outcome */
        struct content after_write[OUTCOMES_MAX]; /* the same, after who comes next has written */
        unsigned follows[OUTCOMES_MAX];           /* by outcome: the set of those that may be found later */
        unsigned allowed;                         /* the set of those that may be found now */
        unsigned found; /* the set of those that look like what check_first() has found */

        /* Those who would live on, such as sessions, come to their end before anything is looked at; NULL: nobody would. */
        void (*end_fn)(struct aftermath *after, struct objd_conn *conn);

        /*
         * With --all: recovery is killed from every state of the log, until so many of its instructions have been counted; of the
         * states beyond that, from ever fewer.
         */
        uint64_t recovery_instructions;
        int depth;                      /* how many recoverers there are */
        struct seen logs[2], recovered; /* by depth */
        uint64_t n_recovered[2];        /* likewise: instructions of recovery so far */
};

/* Signals that end a process say where it was. */
void aftermath_begin(struct aftermath *after);

/* From here on this is being done, which takes no longer than this. */
void aftermath_enter(struct aftermath *after, unsigned seconds, const char *mode);

void aftermath_complain(struct aftermath *after, const char *what);

/* Whether this digest is new; it is remembered. */
bool seen_add(struct seen *seen, uint64_t digest);
void seen_empty(struct seen *seen);

/* What the store holds now. */
struct content aftermath_content(const struct aftermath *after, struct objd_conn *conn);

/*
 * What the victims have left in this file, as one of the outcomes; then what they have left in the same way in another one, once who
 * comes next has written.
 */
void aftermath_learn(struct aftermath *after, int fd, int fd_to_write, unsigned outcome);

/* Whoever comes next checks first, in this file; what was found is in after->found, and rules out what may not follow. */
void aftermath_check_first(struct aftermath *after, int fd);

/* Whoever comes next writes first: soon enough, at the best of some times. */
void aftermath_write_first(struct aftermath *after, const struct image *state);

/* Checks first or writes first in a file that real deaths have left. */
void aftermath_of_kill(struct aftermath *after, int fd, bool check);

/* Kills recovery from this state at each of its instructions, and the recovery after that, if the log says what it has not said yet. */
void aftermath_kill_the_next(struct aftermath *after, const struct image *state);
