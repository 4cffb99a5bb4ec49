/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * arena.h -- one mapped arena in this process: create, attach, detach; from offsets to pointers
 */

#include <objd.h>

#include "arena/layout.h"
#include "arena/word.h"

struct arena_help;
struct lane;

/*
 * The process's side of an arena. Shared by all connections of the process to the same file; counted, since
 * a thread that has a lane keeps the mapping until it has given the lane back.
 */
struct arena {
        uint8_t *base;
        uint64_t mapped;    /* bytes */
        uint64_t plain_end; /* a block less; plain.h */
        int fd;
        int n_refs;      /* under the list's lock */
        int n_spare_fds; /* further descriptors of the same file, closed with the first */
        int *spare_fds;
        uint32_t n_conns;   /* connections of this process; under the lock of client/store.c */
        uint64_t dev, ino;  /* which file; two connections to one file share this struct */
        struct arena *next; /* in the list of the process's arenas */
        struct header_shm *header;
        struct client_shm *clients;
        struct lane_shm *lanes; /* indexed through arena_lane(): their size is LANE_SIZE */
        struct block_shm *blocks;
        uint8_t *data;     /* block 0 */
        uint64_t data_off; /* its offset */
        uint64_t n_blocks;
        uint64_t client;      /* this process's client_id here; atomic, set inside the gate */
        uint64_t client_fork; /* the fork generation in which it is valid */
        bool alone;           /* nobody else is there, nor can come: life_begin_alone() */
        bool by_process;      /* lanes live and die with the process: daemon and tools */
        bool read_only; /* mapped so; lanes are private, and whatever else needs a store is asked of the daemon */
        struct arena_help *help; /* who asks it; set once, by the first connection of a read-only arena */
};

/*
 * What a read-only mapping cannot do for itself (client/help.c). freeze keeps writers away from the lines at these offsets, for
 * a short while, so that a read has a chance; what was read counts only if their versions are the same afterwards.
 * thaw ends that. forget is called at the end of a lane.
 */
struct arena_help {
        objd_status (*freeze)(struct lane *lane, const uint64_t *lines, size_t n);
        void (*thaw)(struct lane *lane);
        void (*forget)(struct lane *lane);
        void (*free)(struct arena_help *help);
};

/*
 * Makes an arena in fd, an empty file that nobody else uses yet; size is that of the blocks, in bytes.
 * On success the arena owns fd. @return OBJD_OK, OBJD_E_INVAL (size), OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status arena_create(int fd, uint64_t size, struct arena **ret_arena);

/*
 * Maps the arena in fd, or finds that this process has it mapped already. Takes fd over, also when it fails. A descriptor
 * that is only open for reading makes a read-only mapping.
 * @return OBJD_OK, OBJD_E_FORMAT (no arena, another format or machine, truncated), OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status arena_attach(int fd, struct arena **ret_arena);

/* A reference to the arena in this file, if this process has it mapped in this way; or NULL. */
struct arena *arena_find(uint64_t dev, uint64_t ino, bool read_only);

struct arena *arena_ref(struct arena *arena);
struct arena *arena_unref(struct arena *arena);

/* Allocates the file's memory for [off, off + size). @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_SYS */
objd_status arena_commit(struct arena *arena, uint64_t off, uint64_t size);

/* Maps pages that have just been committed into this process at once. A hint; failure is harmless. */
void arena_populate(struct arena *arena, uint64_t off, uint64_t size);

/* Gives the file's memory for [off, off + size), whole pages, back to the system. */
objd_status arena_punch(struct arena *arena, uint64_t off, uint64_t size);

/* Bytes of memory that the file takes from the system. */
uint64_t arena_resident(const struct arena *arena);

static inline uint64_t arena_off(const struct arena *arena, const void *p)
{
        return (uint64_t)((const uint8_t *)p - arena->base);
}

/* Blocks that have been in use. The header may be damaged. */
static inline uint64_t arena_frontier(const struct arena *arena)
{
        uint64_t n = word_get(&arena->header->pool.frontier);

        return n < arena->n_blocks ? n : arena->n_blocks;
}

/* Bytes of blocks that have been in use; what lies beyond has no memory. */
static inline uint64_t arena_limit(const struct arena *arena)
{
        return arena_frontier(arena) << BLOCK_SHIFT;
}

/* Whether [off, off + size) lies in the first `limit` bytes of the blocks. */
static inline bool arena_has_below(const struct arena *arena, uint64_t limit, uint64_t off, uint64_t size)
{
        off -= arena->data_off; /* what lies before the blocks becomes very large */
        return off <= limit && size <= limit - off;
}

static inline bool arena_has(const struct arena *arena, uint64_t off, uint64_t size)
{
        return arena_has_below(arena, arena_limit(arena), off, size);
}

/* The pointer for an offset into the blocks; NULL if [off, off + size) is not inside or off is no multiple of 8. */
static inline void *arena_at(const struct arena *arena, uint64_t off, uint64_t size)
{
        return arena_has(arena, off, size) && !(off & 7) ? arena->base + off : NULL;
}

static inline struct lane_shm *arena_lane(const struct arena *arena, uint32_t number)
{
        return (struct lane_shm *)((uint8_t *)arena->lanes + (size_t)(number % N_LANES) * LANE_SIZE);
}

/* The last lane is kept for the thread that needs one to recover dead lanes when all others are taken. */
#define RESERVE_LANE (N_LANES - 1)

/* The first lane that has never been claimed; the reserve is not counted. The header may be damaged. */
static inline uint32_t arena_lanes_high(const struct arena *arena)
{
        uint64_t high = word_get_acquire(&arena->header->lanes_high);

        return (uint32_t)(high < RESERVE_LANE ? high : RESERVE_LANE);
}

/* Whether this lane has memory: it has been claimed at least once. */
static inline bool arena_has_lane(const struct arena *arena, uint32_t number)
{
        return number && (number < arena_lanes_high(arena) || number == RESERVE_LANE);
}

static inline struct client_shm *arena_client(const struct arena *arena, uint32_t number)
{
        return arena->clients + number % N_CLIENTS;
}
