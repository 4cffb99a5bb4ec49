/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * txn.h -- the one write path
 *
 * An operation is: txn_begin(), locks (lock.h), changes, txn_commit() or txn_abort(). Whatever others can
 * reach is changed only by txn_set(), txn_set32() and txn_write(), which save the old words in the lane's
 * log first. Memory that nobody else can reach yet (a chunk from txn_take()) is filled with plain words_in()
 * or word_set(). The commit is a single store; what is owed after it (memory to free, sleepers to wake, locks to
 * give) stands in the lane before it, and is done by the owner or by whoever finds it dead.
 */

#include <objd.h>

#include "base/plant.h"
#include "sync/lock.h"
#include "txn/lane.h"
#include "txn/log.h"

static inline void txn_begin(struct lane *lane, uint32_t operation)
{
        struct lane_shm *shm = lane->shm;

        half_set(&shm->operation, operation);
        /* Said anew each time: whoever scribbles in the arena must not lead our notes out of it. */
        shm->log.used = 0;
        shm->log.off = arena_off(lane->arena, shm->log_bytes);
        shm->log.capacity = LANE_LOG;
        lane->starved = false;
        order_for_death();
        word_set(&shm->log.state, TXN_ACTIVE);
        order_for_death();
}

/*
 * Makes room for notes of `size` bytes of old data in all, and `n` notes. Call it before the first change with
 * what the operation can need at most. @return OBJD_OK, OBJD_E_NOMEM
 */
objd_status txn_reserve(struct lane *lane, size_t size, size_t n);

/* Saves [p, p + size); p is 8-byte aligned, size is rounded up to 8 and at most 512 KiB. */
static inline void txn_note(struct lane *lane, const void *p, size_t size)
{
        if (PLANTED(NOTE_SKIPPED) && lane->shm->log.used)
                return;
        if (__builtin_expect(!log_has_room(&lane->shm->log, round8(size), 1), 0))
                lane->starved = true;
        else
                log_note(lane->arena, &lane->shm->log, p, size);
}

/* Changes shared memory after noting it. If the log has no room they change nothing and the commit fails. */
static inline void txn_set(struct lane *lane, uint64_t *p, uint64_t value)
{
        txn_note(lane, p, 8);
        if (__builtin_expect(!lane->starved, 1))
                word_set(p, value);
}
void txn_write(struct lane *lane, void *dst, const void *src, size_t size);

/*
 * A chunk for an object, of at least `size` bytes behind its head (which chunk_size() tells). It is the lane's until
 * the commit and goes back if the operation is undone. Its content is undefined.
 * @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_BUSY
 */
objd_status txn_take(struct lane *lane, struct object_shm *object, uint64_t size,
                     struct chunk_shm **ret_chunk);

/* Frees a chunk when, and only when, the operation commits. @return OBJD_OK, OBJD_E_BUSY, OBJD_E_CORRUPT */
objd_status txn_free(struct lane *lane, struct chunk_shm *chunk);

/*
 * A slot for an object, or a group of 64 lines (the slots' 128 bytes each are 2 lines). Their words keep their
 * versions; all else is undefined. The caller locks the lines it uses before it publishes them.
 */
objd_status txn_take_slot(struct lane *lane, struct object_shm **ret_object);
objd_status txn_take_part(struct lane *lane, struct object_shm **ret_part); /* a further slot of an object */
objd_status txn_take_group(struct lane *lane, struct line_shm **ret_lines);

/* Frees a slot with all chunks of its list, or a group, when the operation commits. @return OBJD_OK, OBJD_E_LIMIT */
objd_status txn_free_slot(struct lane *lane, struct object_shm *object);
objd_status txn_free_part(struct lane *lane, struct object_shm *part);
objd_status txn_free_group(struct lane *lane, struct line_shm *lines);

/*
 * Owes a wake to everybody who sleeps on this 32-bit word (wait.h); given after the commit and after the locks.
 * @return OBJD_OK, OBJD_E_LIMIT
 */
objd_status txn_wake(struct lane *lane, const uint32_t *futex);

/* The same to one sleeper only; owed twice on the same word, to everybody. */
objd_status txn_wake_one(struct lane *lane, const uint32_t *futex);

/* Commits, frees what is to be freed, gives all locks back, wakes. @return OBJD_OK, OBJD_E_NOMEM (undone) */
objd_status txn_commit(struct lane *lane);

/* Undoes every change and gives all locks back. */
void txn_abort(struct lane *lane);

/*
 * The parts of both that recovery shares (recover.c). Each may be killed and begun again.
 * @return OBJD_OK, OBJD_E_BUSY (the pool, from recovery only), OBJD_E_CORRUPT
 */
objd_status txn_undo(struct lane *lane);
objd_status txn_complete(struct lane *lane);
void txn_unlock(struct lane *lane);

/*
 * From here to the end of the operation the lane may freeze lines without intents (lock_freeze_unlisted()): whoever gives its
 * locks back looks at all lines that there are.
 */
static inline void txn_hold_anything(struct lane *lane)
{
        half_set(&lane->shm->anywhere, 1);
        order_for_death();
}

/* ---- The shortest way through --------------------------------------------------------------------------- */

/*
 * For an operation that needs one line, a few notes, and owes nothing at its end: no memory taken or freed, nobody to wake.
 * Lock, look whether that is so, and either begin with txn_begin(), change and commit, or give the lock back
 * and go the long way. While the log is idle a lock that is found in a dead lane is simply given back.
 */

/* Takes the line's lock if it is free. The lane holds no other. */
static inline bool txn_lock_one(struct lane *lane, struct line_shm *line)
{
        struct lane_shm *shm = lane->shm;
        uint64_t word = word_get(&line->word) & LOCK_VERSION_MASK;

        shm->locks[0] = arena_off(lane->arena, line);
        order_for_death();
        half_set(&shm->n_locks, 1);
        order_for_death();
        if (__builtin_expect(!__atomic_compare_exchange_n(&line->word, &word,
                                                          word | (uint64_t)lane->number << LOCK_LANE_SHIFT |
                                                                  LOCK_WRITING,
                                                          false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED),
                             0)) {
                half_set(&shm->n_locks, 0);
                return false;
        }
        fence_release();
        return true;
}

void txn_wake_waiter(struct lane *lane, struct line_shm *line);

static inline void txn_unlock_one(struct lane *lane, struct line_shm *line)
{
        uint64_t next = (word_get(&line->word) & LOCK_VERSION_MASK) + LOCK_VERSION_ONE;

        order_for_death();
        if (__builtin_expect(__atomic_exchange_n(&line->word, next, __ATOMIC_RELEASE) & LOCK_WAITERS, 0))
                txn_wake_waiter(lane, line);
        order_for_death();
        half_set(&lane->shm->n_locks, 0);
}

static inline void txn_commit_one(struct lane *lane, struct line_shm *line)
{
        struct lane_shm *shm = lane->shm;

        word_set(&shm->n_writes, shm->n_writes + 1);
        order_for_death();
        word_set(&shm->log.state, TXN_IDLE);
        order_for_death();
        txn_unlock_one(lane, line);
}
