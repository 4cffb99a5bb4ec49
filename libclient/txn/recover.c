/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover.c -- finishing or undoing what a dead thread left in its lane
 *
 * The recoverer works as the dead lane: with its logs and in the name of its locks. So if the recoverer dies as
 * well, the lane is what it was, a dead lane with a part of the work done, and the next one goes on.
 */

#include "txn/recover.h"

#include "base/crash.h"
#include "base/plant.h"
#include "base/sys.h"
#include "mem/pool.h"
#include "txn/log.h"
#include "txn/txn.h"

/* How long a recoverer waits for the pool's living holder before it leaves the lane for later. */
#define PATIENCE_NS 100000000LL

/* How often somebody in the arena looks for dead lanes. */
#define LANES_EVERY_NS 5000000LL

/* Wins the right to recover, which is held until the lane is clean; replaces a recoverer that has died. */
static bool win(struct arena *arena, struct lane_shm *shm, uint64_t by)
{
        uint64_t recoverer = __atomic_load_n(&shm->recoverer, __ATOMIC_ACQUIRE);

        if (recoverer == by || (recoverer && lane_id_is_alive(arena, recoverer)))
                return false;
        return __atomic_compare_exchange_n(&shm->recoverer, &recoverer, by, false, __ATOMIC_ACQ_REL,
                                           __ATOMIC_RELAXED);
}

static void lose(struct lane_shm *shm, uint64_t by)
{
        (void)__atomic_compare_exchange_n(&shm->recoverer, &by, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

/* The pool first: the lane's own lists are part of what its log protects. */
static objd_status settle(struct lane *dead)
{
        pool_recover(dead);
        if (PLANTED(LANE_NOT_ROLLED_BACK))
                dead->shm->log.state = TXN_IDLE;
        switch (dead->shm->log.state) {
        case TXN_ACTIVE:
                return txn_undo(dead);
        case TXN_COMMITTED:
                return txn_complete(dead);
        default:
                txn_unlock(dead);
                return OBJD_OK;
        }
}

static void clear(struct arena *arena, struct lane_shm *shm)
{
        for (uint32_t i = 0; i < LANE_PINS; i++)
                if (word_get(&shm->pins[i]) && !PLANTED(PIN_KEPT))
                        lane_unpin(arena, shm, i);
        word_set(&shm->waits_for, 0);
        word_set_release(&shm->epoch, (word_get(&shm->epoch) + 1) & ~1ULL);
        __atomic_store_n(&shm->claimed, 0, __ATOMIC_RELEASE);
}

static bool recover_within(struct arena *arena, uint32_t number, uint64_t by_lane_id, int64_t patience_ns)
{
        struct lane_shm *shm = arena_lane(arena, number), *by = arena_lane(arena, id_number(by_lane_id));
        struct lane dead;
        objd_status r;

        if (!win(arena, shm, by_lane_id))
                return false;
        if (!lane_is_dead(arena, shm)) { /* somebody else was faster, and it may have a new owner by now */
                lose(shm, by_lane_id);
                return true;
        }
        CRASH_POINT("recover.won"); /* nothing is done yet; the next one takes the right over */
        lane_impersonate(&dead, arena, number, by_lane_id);
        dead.timeout_ns = patience_ns;
        r = settle(&dead);
        CRASH_POINT(
                "recover.settled"); /* all is done, but the lane still counts as dead: it is settled once more */
        if (r == OBJD_OK) {
                clear(arena, shm);
                word_set(&by->n_recoveries, by->n_recoveries + 1);
        }
        lose(shm, by_lane_id);
        return r == OBJD_OK;
}

bool recover_lane(struct arena *arena, uint32_t number, uint64_t by_lane_id)
{
        return recover_within(arena, number, by_lane_id, PATIENCE_NS);
}

void recover_forget(struct arena *arena, uint64_t by_lane_id)
{
        uint32_t high = arena_lanes_high(arena);

        for (uint32_t i = 1; i <= high; i++)
                lose(arena_lane(arena, i < high ? i : RESERVE_LANE), by_lane_id);
}

uint32_t recover_all(struct arena *arena, struct lane *lane)
{
        uint32_t high = arena_lanes_high(arena);
        int64_t patience_ns = PATIENCE_NS;
        uint32_t n = 0;

        for (uint32_t i = 1; i <= high; i++) {
                uint32_t number = i < high ? i : RESERVE_LANE;

                if (!lane_is_dead(arena, arena_lane(arena, number)))
                        continue;
                if (recover_within(arena, number, lane->self, patience_ns))
                        n++;
                else
                        patience_ns =
                                0; /* whoever sits on the pool is waited for once, not for every dead lane */
        }
        return n;
}

/*
 * Everybody who waits looks for the dead, but not everybody each time: one look every few milliseconds is enough for the whole
 * arena, whoever takes it.
 */
bool recover_is_our_turn(uint64_t *last, int64_t every_ns)
{
        uint64_t then = word_get(last), now = (uint64_t)now_ns();

        /* A time that lies ahead is another boot's, or another time namespace's. */
        if (now >= then && now - then < (uint64_t)every_ns)
                return false;
        return __atomic_compare_exchange_n(last, &then, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

uint32_t recover_in_turn(struct arena *arena, struct lane *lane)
{
        return recover_is_our_turn(&arena->header->lanes_looked, LANES_EVERY_NS) ? recover_all(arena, lane)
                                                                                 : 0;
}
