/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ring.h -- frames through memory that two processes share: the carrier behind local: urls
 *
 * A pair of rings lies in one memfd, which the daemon makes for one client and seals, so that its size stays what it is. In each
 * direction one side writes whole frames, each padded to 8 bytes, and the other one reads them. Positions count the bytes since the
 * beginning and never go back. Each process maps the bytes of a ring twice, one behind the other, so that what begins in it
 * lies in one piece.
 *
 * A writer that finds all of its frames read and is past RING_REWIND_FROM goes to the ring's beginning with its next frame, if that is small: it
 * leaves RING_REWIND in the eight bytes where it is. So the memory of a ring is only used up to there, and stays near, unless there is more
 * under way at once.
 *
 * Neither side trusts the other one with more than its frames: of what the other side has written, a position is read once and
 * checked against our own, which we keep to ourselves; a head is copied before it is looked at, and so is a message that lies in one
 * frame. Whoever scribbles on a ring spoils that ring.
 *
 * Who has nothing to do looks at the other side's position for a moment, and then says that it sleeps. Who finds that said after it has moved
 * its position rings a bell; which one, is the carrier's business. A word that says so is written and the other side's position read after it,
 * and there the same the other way round, both in one total order: one of the two sees the other.
 */

#include <objd.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/frame.h"

#define RING_SIZE_MIN (64u << 10)
#define RING_SIZE_MAX (16u << 20)
#define RING_REWIND_FROM (64u << 10)
#define RING_REWIND 0x646e69776572UL /* in these bytes no frame begins */

/* The bytes of a frame with what pads it. */
static inline size_t ring_padded(size_t size)
{
        return (size + 7) & ~(size_t)7;
}

/* One direction. Each line has one writer, but for the last, in which either side may take back what it finds said. */
struct ring_shm {
        _Alignas(64) uint64_t put;   /* the writer's: bytes that are whole frames */
        _Alignas(64) uint64_t taken; /* the reader's */
        _Alignas(64) uint32_t reader_sleeps;
        uint32_t writer_sleeps;
};

/* The first page of the memfd; the rings' bytes stand behind it, in the same order. */
struct ring_pair_shm {
        struct ring_shm up;   /* from the client to the daemon */
        struct ring_shm down; /* from the daemon to the client */
};

/* One direction as one side has it. */
struct ring {
        struct ring_shm *shm;
        uint8_t *data;
        uint32_t size;
        uint64_t own;  /* our position, */
        uint64_t seen; /* and the other side's, as we have last found it good */
};

struct ring_pair {
        void *map;
        size_t map_size;
        struct ring up, down;
};

/* A memfd for a pair of rings of that size each (a power of two), sealed. @return OBJD_OK, OBJD_E_SYS */
objd_status ring_memory(uint32_t size, int *ret_fd);

/*
 * Maps the pair that lies in fd, which may be closed afterwards. Whoever gets the fd from elsewhere learns here whether it
 * is what it should be. @return OBJD_OK, OBJD_E_PROTO, OBJD_E_SYS
 */
objd_status ring_map(int fd, uint32_t size, struct ring_pair *ret_pair);
void ring_unmap(struct ring_pair *pair);

/* ---- Writing ------------------------------------------------------------------------------------------ */

/* Where a frame of that size (its padding not counted) can be written. @return OBJD_OK, OBJD_E_BUSY (no room; no sentence), OBJD_E_PROTO */
objd_status ring_reserve(struct ring *ring, size_t size, uint8_t **ret_data);

/* What has been written there is a frame. True: the reader sleeps, and is to be woken. */
bool ring_put(struct ring *ring, size_t size);

/* Before sleeping for room for so many bytes. False: there is some, or the position is bad; reserve again. */
bool ring_writer_sleeps(struct ring *ring, size_t size);

/* ---- Reading ------------------------------------------------------------------------------------------ */

/* Whether there is something new, good or bad; no more than a look. */
static inline bool ring_has_news(const struct ring *ring)
{
        return __atomic_load_n(&ring->shm->put, __ATOMIC_ACQUIRE) != ring->own;
}

/*
 * The next frame: its head, and its piece. The piece of a message in several frames lies where the writer may still change it; that of
 * a message in one frame is copied to `copy`, which has room for max_frame bytes and is 8-byte aligned.
 * @return OBJD_OK, OBJD_E_EMPTY (no sentence), OBJD_E_PROTO and OBJD_E_TOOBIG: there is nothing more to be had from this ring
 */
objd_status ring_next(struct ring *ring, uint32_t max_frame, void *copy, struct frame_head *ret_head,
                      const void **ret_piece);

/*
 * Done with the frame that ring_next() has given. True: the writer sleeps, and is to be woken. That is so when half of the ring is free:
 * who was woken for each frame would write one, and sleep again. So whoever has more than that to read goes on reading.
 */
bool ring_take(struct ring *ring, const struct frame_head *head);

/* Before sleeping for news. False: there are some already. */
bool ring_reader_sleeps(struct ring *ring);
void ring_reader_wakes(struct ring *ring);
