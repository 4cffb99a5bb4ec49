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
enum chunk_list { CHUNK_FREE = 0, CHUNK_OF_OBJECT = 1, CHUNK_TAKEN = 2, CHUNK_DOOMED = 3, CHUNK_OF_LOG = 4 };

/* info: magic 16 | list 8 | class 8 (0xff: a run) | blocks or 0 32 */
static inline uint64_t chunk_info(enum chunk_list list, uint32_t size_class, uint32_t run) {
        return CHUNK_MAGIC << 48 | (uint64_t)list << 40 | (uint64_t)(size_class & 0xff) << 32 | run;
}

#define CHUNK_CLASS_RUN 0xffu

extern const uint32_t pool_class_size[N_CLASSES];

/* Usable bytes behind the chunk's head; 0 if the head is damaged. */
uint64_t chunk_size(const struct chunk_shm *chunk);

static inline void *chunk_data(struct chunk_shm *chunk) {
        return (uint8_t *)chunk + CHUNK_HEAD;
}

/* Usable bytes that a chunk for `size` bytes will have: what to ask for to waste nothing. */
uint64_t pool_round(uint64_t size);

objd_status pool_take(struct lane *lane, struct object_shm *object, uint64_t size, struct chunk_shm **ret_chunk);
objd_status pool_move(struct lane *lane, struct chunk_shm *chunk, enum chunk_list to);
objd_status pool_give(struct lane *lane, struct chunk_shm *chunk);
objd_status pool_take_slots(struct lane *lane, bool group, uint64_t *ret_off);
objd_status pool_give_slots(struct lane *lane, uint64_t off, bool group);

/* Gives memory of free blocks back to the system as far as nobody can still look at it. */
void pool_trim(struct lane *lane);

/* Makes the books of a new arena. */
void pool_format(struct arena *arena);
