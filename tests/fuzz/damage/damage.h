/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * damage.h -- the parts of the damage fuzzer: arenas to be damaged, changes to them, and what is then done with them
 */

#include <objd.h>

#include "object/object.h"
#include "support/random.h"

/* ---- Arenas (images.c) --------------------------------------------------------------------------------- */

#define MAX_HANDLES 20u

/* A handle that was opened before the damage, with what it remembered then. */
struct held {
        objd_object *object;
        struct objd_object before;
};

/* A piece of the arena as it was before the damage. */
struct piece {
        uint64_t off, size;
        uint8_t *bytes;
        bool *blank; /* by page: nothing but zeros */
};

#define MAX_PIECES 8u

struct subject {
        const char *name;
        struct objd_conn conn;
        struct held handles[MAX_HANDLES];
        size_t n_handles;
        uint64_t lease; /* of this process, in the queue "leased" */

        /* what has been changed: something of these objects, a bit a handle; something that is no object's */
        uint32_t struck;
        bool struck_common;

        /* what restoring needs */
        struct arena arena_before;
        struct lane lane_before;
        struct piece pieces[MAX_PIECES];
        size_t n_pieces;

        struct targets *targets; /* strike.c */
};

#define N_SUBJECTS 11u

/* Makes the arenas, each with this process attached to it as a tool would be. */
void subjects_make(struct subject subjects[N_SUBJECTS]);
void subjects_free(struct subject subjects[N_SUBJECTS]);

/* The one that is damaged in this case. */
struct subject *subject_of(struct subject subjects[N_SUBJECTS], uint64_t number);

/* Puts the arena, this process's lane in it and the handles back to what they were. */
void subject_restore(struct subject *subject);

/* ---- Changes (strike.c) -------------------------------------------------------------------------------- */

/* Finds what there is to change; once, before the first change. */
void strike_prepare(struct subject *subject);
void strike_free(struct subject *subject);

/* Changes one or a few words; says which if `print`. */
void strike(struct subject *subject, struct random *random, bool print);

/* ---- Repair (mend.c) ------------------------------------------------------------------------------------ */

/* Repairs the arena; ends the process if the checker finds anything then. Says what is done if `print`. */
void mend(struct subject *subject, bool print);

/* ---- What is done with a damaged arena (session.c) ------------------------------------------------------ */

/* Gets the name of each step before it is done. */
typedef void (*step_fn)(const char *name);

/*
 * If `all`, every operation that there is, on every object, in an order that `random` chooses; else on the objects that have
 * been struck and one or two others, and of what is done with the whole arena a part.
 */
void session(struct subject *subject, struct random *random, bool all, step_fn step);
