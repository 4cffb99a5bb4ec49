/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * salvage.h -- what can be read of an object whose structure is damaged
 *
 * The arena is this process's alone and stands still. A kind goes through whatever it can find of an object, and gives each
 * entry that makes sense to the visitor; what does not is left out. It is called twice, to count and to copy, and
 * gives the same both times.
 */

#include <objd.h>

#include "object/check.h"
#include "object/kind.h"

struct salvage {
        const struct arena *arena;
        struct lane *lane;
        struct object_shm *object;
        uint8_t *seen; /* a bit for every 64 bytes: chunks that the walk has been at */
        visit_fn fn;
        void *context;

        /* What the kind finds out: */
        uint64_t n_said;           /* how many entries the object says that it has; 0 if it cannot say */
        uint64_t bound;            /* as its configuration */
        struct object_state state; /* of a queue; len is not set */
};

/* The chunk at this place, if it is the object's and has that many bytes behind its head; else NULL. */
struct chunk_shm *salvage_chunk(const struct salvage *salvage, uint64_t off, uint64_t min_size);

/* The object's chunk that holds these bytes; NULL if there is none. */
struct chunk_shm *salvage_chunk_around(const struct salvage *salvage, uint64_t off, uint64_t size);

/* Whether the walk comes to this chunk for the first time. */
bool salvage_is_first(struct salvage *salvage, const struct chunk_shm *chunk);

/* Whether a value of this many encoded bytes lies in the object's chunk at this place, as big values do; where. */
const void *salvage_value(const struct salvage *salvage, uint64_t off, uint64_t size);

/* ---- The copy ------------------------------------------------------------------------------------------- */

struct salvaged {
        uint64_t n_kept, n_said;
        bool is_lost; /* nothing of it could be read, though there was something: nothing has been done */
};

/*
 * Copies what can be read of the object at this place into a new one, which then takes its place: by name and by ref it is the
 * same. The chunks that it had are nobody's after that. All structures but the object's own are sound.
 * @return OBJD_OK, OBJD_E_NOMEM (nothing has changed), OBJD_E_SYS
 */
objd_status salvage_object(struct objd_conn *conn, uint64_t place, struct salvaged *ret_salvaged);

/* Calls fn for what can be read of an object; seen as in struct salvage. */
objd_status salvage_visit(struct arena *arena, struct lane *lane, uint64_t place, visit_fn fn, void *context);
