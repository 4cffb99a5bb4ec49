/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * blocks.h -- runs of 64 KiB blocks, and the pool's own small transactions
 *
 * Everything here is called between pool_begin() and pool_end(), and changes the pool's books through pool_set()
 * and pool_set32() only, so that a death or a failure undoes all of it.
 */

#include <objd.h>

#include "arena/arena.h"
#include "mem/pool.h"
#include "txn/log.h"

static inline struct pool_shm *pool_of(struct lane *lane)
{
        return &lane->arena->header->pool;
}

/* Numbers come from the table itself, which may be damaged: then they lead astray, but not outside. */
static inline uint32_t block_within(const struct arena *arena, uint32_t number)
{
        return number < arena->n_blocks ? number : 0;
}

static inline struct block_shm *block_at(struct lane *lane, uint32_t number)
{
        return &lane->arena->blocks[block_within(lane->arena, number)];
}

static inline uint8_t *block_data(struct lane *lane, uint32_t number)
{
        return lane->arena->data + ((uint64_t)block_within(lane->arena, number) << BLOCK_SHIFT);
}

static inline uint32_t block_of(const struct arena *arena, const void *p)
{
        return (uint32_t)((uint64_t)((const uint8_t *)p - arena->data) >> BLOCK_SHIFT);
}

/* Takes the pool's lock and begins its log. @return OBJD_OK, OBJD_E_BUSY */
objd_status pool_begin(struct lane *lane);

/* Commits, or with another status than OBJD_OK undoes; gives the lock back; returns r. */
objd_status pool_end(struct lane *lane, objd_status r);

/* Commits what has been done so far and begins anew, without giving the lock back. */
void pool_checkpoint(struct lane *lane);

static inline void pool_note(struct lane *lane, const void *p)
{
        log_note(lane->arena, &lane->shm->pool_log, (const void *)((uintptr_t)p & ~(uintptr_t)7), 8);
}

static inline void pool_set(struct lane *lane, uint64_t *p, uint64_t value)
{
        pool_note(lane, p);
        word_set(p, value);
}

static inline void pool_set32(struct lane *lane, uint32_t *p, uint32_t value)
{
        pool_note(lane, p);
        half_set(p, value);
}

static inline void pool_set8(struct lane *lane, uint8_t *p, uint8_t value)
{
        pool_note(lane, p);
        __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static inline void pool_add(struct lane *lane, uint64_t *p, uint64_t delta)
{
        pool_set(lane, p, *p + delta);
}

/* Doubly linked lists through block_shm.next and .prev; the heads and links are block number + 1. @return OBJD_OK, OBJD_E_CORRUPT */
objd_status block_link(struct lane *lane, uint32_t *head, uint32_t number);
objd_status block_unlink(struct lane *lane, uint32_t *head, uint32_t number);

/* The sentence for an entry of the block table that cannot be. */
objd_status block_damaged(uint32_t number);

/*
 * A run of n blocks, its first in state RUN; before anything else in a pool transaction, since extending the frontier is
 * committed at once. Its memory has not been allocated: run_commit(). @return OBJD_OK, OBJD_E_NOMEM
 */
objd_status run_take(struct lane *lane, uint32_t n, uint32_t *ret_number);
objd_status run_give(struct lane *lane, uint32_t number, uint32_t n);

/* Allocates the run's memory. Needs no lock, if the run is ours. @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_SYS */
objd_status run_commit(struct lane *lane, uint32_t number, uint32_t n);

/*
 * Whether nobody else can still look at what was unfindable when this was called. False if somebody might (a reader
 * that does not move), or if this is a recovery, whose own thread may still hold pointers.
 */
bool blocks_grace(struct lane *lane);

/*
 * Blocks of free runs that may keep their memory, to be used again without asking the system: as many as are in use, within these
 * bounds. To take a block's memory and give it back costs eight times as much as to write it, and whoever sets a large value
 * again and again would pay that each time. The daemon gives back what is kept, from time to time.
 */
#define KEEP_BLOCKS 8u
#define KEEP_BLOCKS_MAX 512u
bool blocks_keep_too_many(struct lane *lane);

/* Some of them, up to PUNCH_BLOCKS in a row. False: there are none, or so many looks have found none. */
bool blocks_find_kept(struct lane *lane, uint64_t n_looks, uint32_t *ret_first, uint32_t *ret_n);

/* Gives the memory of free blocks to the system, after blocks_grace(). At most PUNCH_BLOCKS at a time. */
#define PUNCH_BLOCKS 16u
bool blocks_punch(struct lane *lane, uint32_t first, uint32_t n);
