/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * repair.h -- giving a damaged arena back a sound state
 *
 * Everything that can be worked out again is made anew from what the objects refer to, so it does not matter how
 * it was damaged: the block table, the pool's lists and counts, the lists of chunks, the bitmaps of slots. An object whose
 * own structure is broken is copied as far as it can be read. Nothing that is written is needed to work out what is
 * written later, so a repair that is killed is done again from the beginning by the next one.
 */

#include <objd.h>

#include "object/check.h"

enum repair_deed {
        REPAIR_MENDED,   /* nothing is lost */
        REPAIR_SALVAGED, /* what could be read of an object is kept, the rest is lost */
        REPAIR_DROPPED,  /* an object, or a name, is lost */
        REPAIR_LEFT      /* is still as it was */
};

/* "mended", "salvaged", "dropped", "left". */
const char *repair_deed_name(enum repair_deed deed);

/* Gets each thing that is done, when it has been done; object is as check_report_fn has it. */
typedef void (*repair_report_fn)(void *context, enum repair_deed deed, const char *object,
                                 const char *sentence);

struct repair_result {
        uint64_t n_mended, n_lost; /* salvaged with a loss, or dropped */
        uint64_t n_left;           /* faults that the checker finds at the end */
        uint64_t n_no_room;        /* objects that are left as they were for want of memory for a copy */
};

/*
 * Only for whom nobody else is there: no daemon, no client, no reader. Nobody can come until it is done.
 * @return OBJD_OK, also if something is left; OBJD_E_BUSY (with what to do), OBJD_E_NOMEM (of this process), OBJD_E_CORRUPT
 */
objd_status repair_arena(struct objd_conn *conn, repair_report_fn report, void *context,
                         struct repair_result *ret_result);

/* ---- Between the repair's own files -------------------------------------------------------------------- */

/* What a block is held to be, because something in it is in use: then it is nothing else. */
enum repair_held { HELD_NOT = 0, HELD_SLOTS, HELD_GROUPS, HELD_SLAB, HELD_RUN };

/* What the dict of names says, whatever becomes of it. */
struct repair_name {
        objd_ref ref;
        char *name;
};

/* An object that has a fault. */
struct repair_case {
        uint64_t place;
        bool is_broken; /* its structure cannot be put right where it is */
        char why[256];  /* the first of its faults */
};

struct repair {
        struct check
                check; /* first: what a kind's check gets is this as well. Its lines are those that objects have. */
        struct objd_conn *conn;
        struct arena *arena;
        repair_report_fn report;
        void *context;
        struct repair_result result;

        uint8_t *taken; /* a bit for every 64 bytes: heads of chunks that an object has */
        uint8_t *held;  /* enum repair_held, for each block */
        bool lenient;   /* the object under way may have what its own words and the table agree on */
        uint64_t *offs; /* chunks of the object under way */
        size_t n_offs, room_offs;
        bool no_memory;

        struct repair_case *cases;
        size_t n_cases, room_cases;
        struct repair_name *names; /* in the order of places */
        size_t n_names, room_names;
        bool names_are_noted; /* what is read of the dict of names from now on is what we have written */
        bool names_are_mixed; /* the dict of names is sound, but has entries that are no names */
};

void repair_say(struct repair *repair, enum repair_deed deed, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Room for one more entry of an array of the repair's; NULL (and no_memory) if there is none. */
void *repair_grow(struct repair *repair, void *array, size_t n, size_t *room, size_t size);

static inline uint64_t repair_block_of(const struct arena *arena, uint64_t off)
{
        return (off - arena->data_off) >> BLOCK_SHIFT;
}

static inline uint64_t repair_block_off(const struct arena *arena, uint64_t number)
{
        return arena->data_off + (number << BLOCK_SHIFT);
}

static inline struct object_shm *repair_object_at(const struct arena *arena, uint64_t place)
{
        return (struct object_shm *)(arena->base + place);
}

static inline bool repair_has_lines(const struct repair *repair, uint64_t off)
{
        return check_bit_get(repair->check.lines, check_bit(repair->arena, off));
}

/* ---- Lanes, clients, locks (repair_lanes.c) ---- */

/* Nobody is alive but us: what no recovery could finish or undo is given up, and no lock is held by anybody. */
void repair_lanes(struct repair *repair);
void repair_locks(struct repair *repair);
void repair_free_line(struct repair *repair, struct line_shm *line);

/* What dead clients had is deleted, or given back, as ever. With all structures sound. */
void repair_clients(struct repair *repair);

/* ---- What objects refer to (repair_mark.c) ---- */

/*
 * Finds all objects and what they have; what they say of it is made to agree. Those that are broken are in cases[], with
 * the chunks that say that they are theirs.
 */
objd_status repair_mark(struct repair *repair);

/* Forgets what has been found. */
void repair_forget(struct repair *repair);

/* An object is no more; its memory is found to be free by the next sweep. */
void repair_drop(struct repair *repair, uint64_t place);

/* ---- Chunks of an object (repair_chunk.c) ---- */

/* As check.find_chunk. */
struct chunk_shm *repair_find_chunk(struct check *check, uint64_t off);

/* The chunks that the walk of an object has found: forget them; take them for it, if nobody has them; make them its list. */
void repair_forget_chunks(struct repair *repair);
bool repair_take_chunks(struct repair *repair);            /* all of them, or none */
void repair_leave_chunks(struct repair *repair, size_t n); /* the first n of them */
bool repair_link_chunks(struct repair *repair,
                        struct object_shm *object); /* whether its list was another one */

/* What says that it belongs to an object that is broken stays its own. */
void repair_retain_chunks(struct repair *repair, uint64_t place);

/* Calls fn for each chunk that says that it belongs to the object at this place. */
typedef void (*repair_chunk_fn)(void *context, struct chunk_shm *chunk);
void repair_each_chunk(const struct arena *arena, uint64_t place, repair_chunk_fn fn, void *context);

/* ---- The pool's books (repair_pool.c) ---- */

/* After marking: what no object has is free, and all books say so. */
objd_status repair_sweep(struct repair *repair);

/* Blocks that have been used, though the header counts fewer. */
void repair_frontier(struct repair *repair);

/* ---- Names (repair_names.c) ---- */

/* The dict of names is made one that can be read, or an empty one, before all other objects. */
objd_status repair_names_first(struct repair *repair);

/* What it says of the object at this place; NULL: nothing. */
const struct repair_name *repair_name_of(const struct repair *repair, uint64_t place);

/* With all structures sound: names and objects belong to one another. */
objd_status repair_names(struct repair *repair);

/* Walks an object, strictly; for the dict of names. True if it is, or has been made, sound. */
bool repair_object(struct repair *repair, uint64_t place);
