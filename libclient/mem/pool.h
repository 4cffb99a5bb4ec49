/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * pool.h -- the arena's memory: blocks of 64 KiB, chunks of them for objects, slots for the objects themselves
 *
 * Every call is a small transaction of its own, with the lane's pool log, under the pool's lock, which comes last in the
 * lock order. Operations use txn.h, which is built on this.
 */

#include <objd.h>

#include "arena/arena.h"
#include "txn/lane.h"

#define CHUNK_MAGIC 0x6b43ULL

/* Which list a chunk is in. */
enum chunk_list {
        CHUNK_FREE = 0,
        CHUNK_OF_OBJECT = 1,
        CHUNK_TAKEN = 2,
        CHUNK_DOOMED = 3,
        CHUNK_OF_LOG = 4,
        CHUNK_IN_LIMBO = 5 /* free, but for somebody's pin */
};

/* info: magic 16 | pinnable 1 | fresh 1 | list 6 | class 8 (0xff: a run) | blocks or 0 32 */
static inline uint64_t chunk_info(enum chunk_list list, uint32_t size_class, uint32_t run)
{
        return CHUNK_MAGIC << 48 | (uint64_t)list << 40 | (uint64_t)(size_class & 0xff) << 32 | run;
}

#define CHUNK_CLASS_RUN 0xffu

/* The list that a chunk stands in; CHUNK_FREE also if its head is damaged. */
static inline enum chunk_list chunk_list_of(const struct chunk_shm *chunk)
{
        uint64_t info = word_get(&chunk->info);

        return info >> 48 == CHUNK_MAGIC ? (enum chunk_list)(info >> 40 & 0x3f) : CHUNK_FREE;
}

extern const uint32_t pool_class_size[N_CLASSES];

/* Usable bytes behind the chunk's head; 0 if the head is damaged. */
uint64_t chunk_size(const struct chunk_shm *chunk);

static inline void *chunk_data(struct chunk_shm *chunk)
{
        return (uint8_t *)chunk + CHUNK_HEAD;
}

/* Usable bytes that a chunk for `size` bytes will have: what to ask for to waste nothing. */
uint64_t pool_round(uint64_t size);

/*
 * A chunk with at least `size` bytes behind its head, into the lane's list of taken chunks; with object NULL, into its
 * list of chunks that a grown log lives in. @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_BUSY
 */
objd_status pool_take(struct lane *lane, struct object_shm *object, uint64_t size,
                      struct chunk_shm **ret_chunk);

/* Marks a chunk that the lane has just taken as one that may be pinned: it is looked for among pins before it is freed. */
void chunk_make_pinnable(struct chunk_shm *chunk);

/*
 * From one list to another: CHUNK_DOOMED, or CHUNK_OF_OBJECT (where a chunk that was taken and doomed by the same operation
 * is freed instead). Repeatable. @return OBJD_OK, OBJD_E_BUSY, OBJD_E_CORRUPT
 */
objd_status pool_move(struct lane *lane, struct chunk_shm *chunk, enum chunk_list to);

/* Frees a chunk, whichever list it is in; one that is pinned waits in limbo. @return as pool_move() */
objd_status pool_give(struct lane *lane, struct chunk_shm *chunk);

/*
 * A slot for an object (flags 0), one more for an object that has a slot already (SLOT_IS_PART), or a group of 32 (SLOT_IS_GROUP), entered into the lane's new_slots in the same transaction. Lines keep
 * their words; a slot has no chunks. @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_BUSY, OBJD_E_LIMIT
 */
#define SLOT_IS_GROUP 1ULL
#define SLOT_IS_PART 2ULL
#define SLOT_FLAGS 3ULL
objd_status pool_take_slots(struct lane *lane, uint64_t flags, uint64_t *ret_off);

/* Gives back the slot or group of this entry of the lane's lists, and takes the entry off *n_slots with it. */
objd_status pool_give_slots(struct lane *lane, uint64_t entry, uint32_t *n_slots);

/* Gives memory of free blocks back to the system, and retired blocks to the pool, as far as nobody can still look at them. */
void pool_trim(struct lane *lane);

/* Undoes a dead lane's pool transaction and gives the pool's lock back if it held it. */
void pool_recover(struct lane *lane);
