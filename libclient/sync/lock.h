/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * lock.h -- the lock word at the head of a line, and reads under its version
 *
 *     63                    16 15        4  3 2  1        0
 *     | version              | lane       |  0 | waiters | writing |
 *
 * A free word has only its version. Taking it is one compare-and-swap that names the taker's lane, so there
 * is no moment at which a lock is held and nobody knows by whom; giving it is one exchange that raises the
 * version. A word with a lane but without WRITING is frozen: nobody may change what it guards, everybody
 * may read it, and its version stays.
 *
 * Readers: lock_read_begin(), relaxed loads, lock_read_valid(). The memory order is Boehm's seqlock: the
 * writer's compare-and-swap is followed by a release fence, so that nobody can see what it writes without
 * seeing WRITING; the reader's acquire fence stands between its loads and its second look at the word.
 * (H.-J. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012.)
 */

#include <objd.h>

#include "arena/layout.h"
#include "arena/word.h"

struct arena;
struct lane;

#define LOCK_WRITING 1ULL
#define LOCK_WAITERS 2ULL
#define LOCK_LANE_SHIFT 4
#define LOCK_LANE_MASK (0xfffULL << LOCK_LANE_SHIFT)
#define LOCK_VERSION_SHIFT 16
#define LOCK_VERSION_ONE (1ULL << LOCK_VERSION_SHIFT)
#define LOCK_VERSION_MASK (~(LOCK_VERSION_ONE - 1))

/* What a reader compares: who waits and who freezes is no change. */
#define LOCK_READ_MASK (LOCK_VERSION_MASK | LOCK_WRITING)

static inline uint32_t lock_lane(uint64_t word)
{
        return (uint32_t)((word & LOCK_LANE_MASK) >> LOCK_LANE_SHIFT);
}

static inline uint64_t lock_read_begin(const struct line_shm *line)
{
        return word_get_acquire(&line->word) & LOCK_READ_MASK;
}

/* Whether a read that began with this version may begin at all: nobody was writing. */
static inline bool lock_version_is_stable(uint64_t version)
{
        return !(version & LOCK_WRITING);
}

/* Whether everything loaded since lock_read_begin() belongs to one moment. */
static inline bool lock_read_valid(const struct line_shm *line, uint64_t version)
{
        fence_acquire();
        return (word_get(&line->word) & LOCK_READ_MASK) == version;
}

/*
 * Takes a line's lock for the lane's operation, to write or only to freeze. The intent is written first, so
 * that whoever recovers the lane knows where to look. Waits for a living holder until the lane's deadline,
 * recovers a dead one. Lines of one operation are taken in ascending order of their offsets (new lines, which
 * nobody else can reach, at any time), the pool's last: that is the whole lock order.
 * @return OBJD_OK, OBJD_E_BUSY (the sentence names the holder), OBJD_E_LIMIT (too many locks)
 */
objd_status lock_take(struct lane *lane, struct line_shm *line);
objd_status lock_freeze(struct lane *lane, struct line_shm *line);

/*
 * All lines that a read-only lane needs at once, by the daemon's hand, for a few milliseconds at most: their versions say afterwards
 * whether that was long enough. Ended by lane_end_read(). @return OBJD_OK, OBJD_E_BUSY, OBJD_E_NODAEMON
 */
objd_status lock_freeze_for_reader(struct lane *lane, struct line_shm *const *lines, size_t n);

/*
 * The same without an intent, for a lane that has said that it may hold lines anywhere (txn_hold_anything()). Only to
 * freeze: nothing that is undone may hang on it. try: false if somebody holds it.
 */
objd_status lock_freeze_unlisted(struct lane *lane, struct line_shm *line);
bool lock_try_freeze_unlisted(struct lane *lane, struct line_shm *line);

/* Whether the lane's operation holds this line already. */
bool lock_is_held(const struct lane *lane, const struct line_shm *line);

/*
 * Gives one lock back, raising the version unless it was only frozen, and wakes who waits for it. The word must
 * name this lane (which may be a dead one that is being recovered). Does not touch the intents.
 */
void lock_release(struct arena *arena, struct line_shm *line, uint32_t lane_number);

/*
 * Waits, as a reader, until nobody is writing: spins, then sleeps; recovers a dead writer. The line stays a line
 * meanwhile; what was read under its old version must be read again.
 * @return OBJD_OK, OBJD_E_BUSY
 */
objd_status lock_wait_stable(struct lane *lane, struct line_shm *line);

/* How often a read may collide with writers before it takes the lock itself. */
#define LOCK_READ_RETRIES 8
