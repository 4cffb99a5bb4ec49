/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * kind.h -- the table of kinds
 *
 * The daemon, the tools and the checker know kinds only through this table: a new kind is a new file and a line in
 * kind.c.
 */

#include <stdio.h>

#include "object/op.h"

struct check;
struct salvage;

/* Gets each entry or item of a walk; key is NULL where there is none. A status other than OBJD_OK ends the walk. */
typedef objd_status (*walk_fn)(void *context, const objd_value *key, const objd_value *value);

/*
 * What a visit sees: one entry or item. The bytes lie in the arena and stand still while the object is frozen, but whoever
 * scribbles may change them all the same: what is read of them twice may differ.
 */
struct visit {
        objd_type key_type; /* OBJD_ANY: there is no key */
        const void *key;    /* encoded */
        uint64_t key_size;
        bool has_priority;
        int64_t priority;
        bool leased; /* a queue's item that is under a lease */
        objd_type type;
        const void *bytes; /* encoded, size bytes */
        uint64_t size;
};

typedef objd_status (*visit_fn)(void *context, const struct visit *visit);

/* What an object is beyond its configuration and its entries. What a kind does not have is 0. */
struct object_state {
        uint64_t len;        /* entries or items, those under a lease too */
        uint64_t unfinished; /* queue: tasks */
        bool closed;         /* queue */
        bool poisoned;       /* queue */
        bool taken;          /* lock */
        uint64_t token;      /* lock */
};

#define FETCH_STEPS 2u

struct kind {
        objd_kind kind;
        const char *name;

        /* Whether this configuration makes sense. @return OBJD_OK, OBJD_E_INVAL */
        objd_status (*check_config)(const objd_config *config);

        /* Fills root[] of a new object whose line is locked and whose config is set. */
        objd_status (*create)(struct lane *lane, struct object_shm *object, const objd_config *config);

        /* Adds every line that must be locked to delete the object (its own is added already). */
        objd_status (*plan_destroy)(struct lane *lane, struct object_shm *object, struct plan *plan);

        /* With these lines locked: frees what txn_free_slot() does not know of (slots, groups), owes wakes to sleepers. */
        objd_status (*destroy)(struct lane *lane, struct object_shm *object);

        /* Adds the lines that the operation needs; called again with them locked, to see whether they are the same. */
        objd_status (*plan)(struct lane *lane, struct op *op, struct plan *plan);

        /*
         * Of several operations, a moment before they are applied, and FETCH_STEPS times: asks the processor for memory that this one
         * will need, as far as what was asked for in the step before leads to it. May be NULL.
         */
        void (*fetch)(struct lane *lane, const struct op *op, unsigned step);

        /* Does it. All planned lines are locked and belong to the object. */
        objd_status (*apply)(struct lane *lane, struct op *op);

        /* Entries or items, for people and objd_info; a lock: 1 while it is taken. By handle, without locks. */
        objd_status (*len)(struct objd_object *object, uint64_t *ret_len);

        /* Rest of the config that is not in line.config (a queue's bound). */
        void (*get_config)(const struct object_shm *object, objd_config *ret_config);

        /* Every entry as of one moment each, in the kind's natural order, at most `limit`; dump and copies use it. */
        objd_status (*walk)(struct objd_object *object, uint64_t limit, walk_fn fn, void *context);

        /* With the object frozen by this lane (freeze.h). @return OBJD_OK, OBJD_E_CORRUPT */
        objd_status (*get_state)(struct lane *lane, struct objd_object *object,
                                 struct object_state *ret_state);

        /*
         * The other way round, for an object that is new and empty and that nobody else knows; a queue's len is how many items
         * will be put into it. It is closed and poisoned later, since nothing can be put into it then.
         */
        objd_status (*set_state)(struct lane *lane, struct objd_object *object,
                                 const struct object_state *state);

        /*
         * Every entry, in the order in which putting them into an empty object gives the same object: with the object frozen, so
         * all of one moment, and without a copy. @return OBJD_OK, OBJD_E_CORRUPT, OBJD_E_NOMEM, what fn says
         */
        objd_status (*visit)(struct lane *lane, struct objd_object *object, visit_fn fn, void *context);

        /* Walks the whole structure with its lines locked, trusting nothing; reports through check_fail(). */
        void (*check)(struct check *check, struct object_shm *object);

        /*
         * Of an object whose structure is damaged (salvage.h): gives what can be read of it, in the order in which putting it
         * into an empty object gives the same. NULL: there is nothing in it, and mend() puts the rest right where it is.
         * @return OBJD_OK, OBJD_E_NOMEM, what the visitor says
         */
        objd_status (*salvage)(struct salvage *salvage);
        void (*mend)(struct lane *lane, struct objd_object *object);
};

extern const struct kind dict_kind, list_kind, queue_kind, lock_kind;

/* NULL if there is no such kind. */
const struct kind *kind_of(objd_kind kind);
const struct kind *kind_by_name(const char *name);
