/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * check.h -- walking every structure of an arena, trusting nothing
 */

#include <objd.h>

#include "object/kind.h"

/*
 * Gets each fault: the object that it is of ("(blocks)" and the like for what belongs to no object), and a
 * sentence.
 */
typedef void (*check_report_fn)(void *context, const char *object, const char *sentence);

/* Faults of one piece of the work; more are only counted. */
#define CHECK_FAULTS 64u

struct check_fault {
        char label[OBJD_NAME_MAX + 1];
        char sentence[256];
};

struct check {
        struct objd_conn *conn;
        struct lane *lane;
        struct arena *arena;
        int64_t patience_ns; /* for living holders; little, once one has been waited for in vain */
        struct object_shm *object;
        char label[OBJD_NAME_MAX + 1];
        uint64_t n_chunks; /* of this object: met while walking its structure */
        uint64_t n_errors;
        uint8_t *seen;  /* a bit for every 64 bytes of the arena: chunk heads that this object refers to */
        uint8_t *lines; /* the same for lines: those that the plan of an object has named so far */
        check_report_fn report;
        void *context;
        const bool *is_cancelled; /* NULL: never */

        /* A repair's own idea of which chunk the object may mean with an offset (repair_mark.c); NULL for the checker. */
        struct chunk_shm *(*find_chunk)(struct check *check, uint64_t off);

        /* Found while a lock is held; reported once it has been given back, since a reporter may be slow. */
        struct check_fault *faults;
        uint32_t n_faults;
};

/* Says what is wrong with the object that is being checked. */
void check_fail(struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * A kind calls this for each chunk that its structure refers to. False (and a report) if there is no chunk
 * of this object with that many bytes behind its head at this offset, or if it was met before.
 */
bool check_chunk(struct check *check, uint64_t off, uint64_t min_size);

/*
 * Checks the whole arena: blocks and bins, slabs, slots, lanes, names, each object by its kind; every chunk
 * must belong to one structure, once. Recovers the dead first. Objects are locked one at a time. @return
 * OBJD_OK, with the number of faults in *ret_errors; OBJD_E_BUSY, OBJD_E_NOMEM
 */
objd_status check_arena(struct objd_conn *conn, check_report_fn report, void *context, uint64_t *ret_errors);

/* The same, but OBJD_E_CLOSED soon after somebody has set *is_cancelled; NULL: nobody will. */
objd_status check_arena_until(struct objd_conn *conn, const bool *is_cancelled, check_report_fn report,
                              void *context, uint64_t *ret_errors);

/* ---- Between the checker's own files ------------------------------------------------------------------ */

/*
 * Around each piece of the work: a call of its own, so that no piece waits, or keeps memory from being
 * given back, for all.
 */
objd_status check_enter(struct check *check);

/* Ends the piece, and reports what it has found. */
void check_leave(struct check *check);

/* Sets what faults are said of: "(blocks)", an object's name. */
void check_label(struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * The chunk whose head is at off, if the block table says that a chunk may begin there and its head says
 * the same; else NULL. Asks nothing of the lists.
 */
struct chunk_shm *check_chunk_at(const struct arena *arena, uint64_t off);

/* The chunk of the object at `place` that holds these bytes; NULL if there is none. */
struct chunk_shm *check_chunk_around(const struct arena *arena, uint64_t place, uint64_t off, uint64_t size);

/* Whether the slot at this place of a block of slots is given out. */
bool check_slot_is_used(const struct arena *arena, uint64_t place);

/* Whether the slot is no object, but holds further lines of one: then it is of no kind. */
bool check_is_further_line(const struct object_shm *object);

/*
 * Of check->object, with every line frozen: its name, which becomes the label; its configuration, and its structure by its kind.
 * Whether the list of its chunks agrees is another question.
 */
void check_own_name(struct check *check);
void check_structure(struct check *check);

/* The bits of `seen` and `lines`. */
#define CHECK_UNIT 64u

static inline uint64_t check_bit(const struct arena *arena, uint64_t off)
{
        return (off - arena->data_off) / CHECK_UNIT;
}

static inline bool check_bit_get(const uint8_t *bits, uint64_t bit)
{
        return bits[bit / 8] >> bit % 8 & 1;
}

static inline void check_bit_set(uint8_t *bits, uint64_t bit)
{
        bits[bit / 8] = (uint8_t)(bits[bit / 8] | 1u << bit % 8);
}

static inline void check_bit_clear(uint8_t *bits, uint64_t bit)
{
        bits[bit / 8] = (uint8_t)(bits[bit / 8] & ~(1u << bit % 8));
}

static inline size_t check_bits_size(const struct arena *arena)
{
        return (size_t)(arena->n_blocks * (BLOCK_SIZE / CHECK_UNIT) / 8);
}

/* The block table with its lists; the chunks of each block with theirs (check_pool.c). */
objd_status check_blocks(struct check *check);
objd_status check_chunks(struct check *check);

/*
 * Whether anything is missing: slots and groups that are given out and belong to nobody, memory in no list
 * (check_leaks.c).
 */
objd_status check_unnamed_slot(struct check *check, uint64_t place); /* with the lane entered */
objd_status check_further_lines(struct check *check);
objd_status check_sum(struct check *check);

/* That names and objects belong to one another (check_names.c). */
objd_status check_names(struct check *check);
