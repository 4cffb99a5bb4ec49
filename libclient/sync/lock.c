/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.c -- taking, waiting for and giving the lock word of a line
 */

#include "sync/lock.h"

#include <limits.h>
#include <linux/futex.h>
#include <time.h>

#include "arena/arena.h"
#include "base/plant.h"
#include "base/status.h"
#include "base/sys.h"
#include "sync/wait.h"
#include "txn/lane.h"
#include "txn/recover.h"

/* Turns of waiting before the first sleep: a few microseconds, longer than any lock is held by a running thread. */
#define SPIN_TURNS 200

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
}

static uint64_t lock_owner_bits(const struct lane *lane, uint64_t writing)
{
        return (uint64_t)lane->number << LOCK_LANE_SHIFT | writing;
}

static bool try_take(struct line_shm *line, uint64_t word, uint64_t bits)
{
        return __atomic_compare_exchange_n(&line->word, &word, word | bits, false, __ATOMIC_ACQUIRE,
                                           __ATOMIC_RELAXED);
}

/* The half of the word that says who holds it: what sleepers sleep on. */
static const uint32_t *sleep_half(const struct line_shm *line)
{
        return (const uint32_t *)&line->word;
}

static objd_status busy(struct lane *lane, uint32_t holder)
{
        const struct lane_shm *shm = arena_lane(lane->arena, holder);
        const struct client_shm *client = arena_client(lane->arena, id_number(word_get(&shm->client)));

        return fail(OBJD_E_BUSY, "process %lld (%.15s), thread %lld, holds the lock", (long long)shm->pid,
                    client->comm, (long long)shm->tid);
}

/* How long a reader that may not say that it waits sleeps between two looks. */
#define READER_NAP_NS 100000

/* Asks the daemon to take the lines for a moment, in place of this lane, which can lock nothing. */
static objd_status ask_to_freeze(struct lane *lane, const struct line_shm *const *lines, size_t n)
{
        uint64_t offs[LANE_LOCKS];

        for (size_t i = 0; i < n; i++)
                offs[i] = arena_off(lane->arena, lines[i]);
        return lane->arena->help->freeze(lane, offs, n);
}

/*
 * The same turn by a reader that cannot store anything in the arena: it looks again a little later, and if the holder is dead
 * lets the daemon, which must pass the lock to freeze the line, clean up.
 */
static objd_status wait_as_reader(struct lane *lane, const struct line_shm *line, uint64_t word)
{
        uint32_t holder = lock_lane(word);
        objd_status r;

        if (lane_is_dead(lane->arena, arena_lane(lane->arena, holder))) {
                r = ask_to_freeze(lane, &line, 1);
                lane_end_read(lane);
                return r;
        }
        if (now_ns() >= lane_deadline(lane))
                return busy(lane, holder);
        (void)nanosleep(&(struct timespec){ .tv_nsec = READER_NAP_NS }, NULL);
        return OBJD_OK;
}

/*
 * One turn of waiting for the holder in `word`: recovers it if it is dead, sleeps a while if it is not.
 * slept tells the caller that there may be other sleepers behind it.
 */
static objd_status wait_for_holder(struct lane *lane, struct line_shm *line, uint64_t word, bool *slept)
{
        uint32_t holder = lock_lane(word);
        int64_t slice = WAIT_SLICE_NS, left;

        if (lane->read_only)
                return wait_as_reader(lane, line, word);
        if (lane_is_dead(lane->arena, arena_lane(lane->arena, holder)) &&
            recover_lane(lane->arena, holder, lane->self))
                return OBJD_OK;
        left = lane_deadline(lane) - now_ns();
        if (left <= 0) {
                /* The one wake that was meant for a sleeper may have come to us: it must not end here. */
                if (*slept)
                        wait_wake(lane->arena, sleep_half(line), 1);
                return busy(lane, holder);
        }
        if (!(word & LOCK_WAITERS) && !__atomic_compare_exchange_n(&line->word, &word, word | LOCK_WAITERS,
                                                                   false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
                return OBJD_OK;
        if (left < slice)
                slice = left;
        word_set(&lane->shm->waits_for, arena_off(lane->arena, line));
        (void)sys.futex(sleep_half(line), FUTEX_WAIT, (uint32_t)(word | LOCK_WAITERS), &slice);
        word_set(&lane->shm->waits_for, 0);
        *slept = true;
        return OBJD_OK;
}

static objd_status take_slowly(struct lane *lane, struct line_shm *line, uint64_t bits)
{
        bool slept = false;
        int turns = 0;

        for (;;) {
                uint64_t word = word_get(&line->word);
                objd_status r;

                if (!(word & ~LOCK_VERSION_MASK)) {
                        /* One sleeper is woken at a time; who has slept vouches that the next one is, too. */
                        if (try_take(line, word, bits | (slept ? LOCK_WAITERS : 0)))
                                return OBJD_OK;
                        continue;
                }
                if (turns++ < SPIN_TURNS) {
                        relax();
                        continue;
                }
                r = wait_for_holder(lane, line, word, &slept);
                if (r)
                        return r;
        }
}

/* A lane without room for one more lock: one that holds as many as there can be, or one that cannot hold any. */
static __attribute__((noinline)) objd_status take_no_more(struct lane *lane, const struct line_shm *line)
{
        if (lane->read_only)
                return ask_to_freeze(lane, &line, 1);
        return fail(OBJD_E_LIMIT, "one operation cannot hold more than %u locks", LANE_LOCKS);
}

objd_status lock_freeze_for_reader(struct lane *lane, struct line_shm *const *lines, size_t n)
{
        return ask_to_freeze(lane, (const struct line_shm *const *)lines, n);
}

static objd_status take(struct lane *lane, struct line_shm *line, uint64_t bits)
{
        struct lane_shm *shm = lane->shm;
        uint32_t n = shm->n_locks;
        objd_status r = OBJD_OK;

        if (n >= LANE_LOCKS)
                return take_no_more(lane, line);
        shm->locks[n] = arena_off(lane->arena, line);
        order_for_death();
        if (!PLANTED(INTENT_AFTER_LOCK))
                half_set(&shm->n_locks, n + 1);
        order_for_death();
        if (!try_take(line, word_get(&line->word) & LOCK_VERSION_MASK, bits))
                r = take_slowly(lane, line, bits);
        if (PLANTED(INTENT_AFTER_LOCK))
                half_set(&shm->n_locks, n + 1);
        if (r)
                half_set(&shm->n_locks, n);
        else
                fence_release();
        return r;
}

objd_status lock_take(struct lane *lane, struct line_shm *line)
{
        return take(lane, line, lock_owner_bits(lane, LOCK_WRITING));
}

objd_status lock_freeze(struct lane *lane, struct line_shm *line)
{
        return take(lane, line, lock_owner_bits(lane, 0));
}

bool lock_try_freeze_unlisted(struct lane *lane, struct line_shm *line)
{
        return try_take(line, word_get(&line->word) & LOCK_VERSION_MASK, lock_owner_bits(lane, 0));
}

objd_status lock_freeze_unlisted(struct lane *lane, struct line_shm *line)
{
        return lock_try_freeze_unlisted(lane, line) ? OBJD_OK
                                                    : take_slowly(lane, line, lock_owner_bits(lane, 0));
}

bool lock_is_held(const struct lane *lane, const struct line_shm *line)
{
        return lock_lane(word_get(&line->word)) == lane->number;
}

void lock_release(struct arena *arena, struct line_shm *line, uint32_t lane_number)
{
        uint64_t word = word_get(&line->word);
        uint64_t next = (word & LOCK_VERSION_MASK) + (word & LOCK_WRITING ? LOCK_VERSION_ONE : 0);

        if (lock_lane(word) != lane_number)
                return;
        word = __atomic_exchange_n(&line->word, next, __ATOMIC_RELEASE);
        if (word & LOCK_WAITERS)
                wait_wake(arena, sleep_half(line), 1);
}

objd_status lock_wait_stable(struct lane *lane, struct line_shm *line)
{
        bool slept = false;

        for (int turns = 0;; turns++) {
                uint64_t word = word_get_acquire(&line->word);
                objd_status r;

                if (!(word & LOCK_WRITING)) {
                        /* A wake that was meant for one sleeper came here; a reader takes no lock, so it hands it on. */
                        if (slept)
                                wait_wake(lane->arena, sleep_half(line), 1);
                        return OBJD_OK;
                }
                if (turns < SPIN_TURNS) {
                        relax();
                        continue;
                }
                r = wait_for_holder(lane, line, word, &slept);
                if (r)
                        return r;
        }
}
