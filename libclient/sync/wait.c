/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.c -- spinning for a while, then sleeping on a futex in slices
 *
 * A wake across processors costs some 20 us, seeing a word change while spinning 0.1. So a waiter spins first if that
 * is likely to be enough: if what the lane has waited for lately came soon. Each lane learns this for itself.
 * A spin that met the change makes the next one as long as twice what it took; one that did not makes it a
 * quarter as long, so that after three of them nobody spins any more. A sleep that turned out to be short
 * turns spinning on again.
 */

#include "sync/wait.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>

#include "base/sys.h"
#include "txn/recover.h"

/* The longest spin: about twice what a sleep and its wake cost both sides together. */
#define SPIN_MAX_NS 50000u
#define SPIN_MIN_NS 500u

/* Looks at the word between two looks at the clock, and rests between two looks at the word. */
#define SPIN_LOOKS 16
#define SPIN_RESTS 4

int wait_processors(void)
{
        static int known;
        int n = __atomic_load_n(&known, __ATOMIC_RELAXED);
        cpu_set_t set;

        if (n)
                return n;
        n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 2;
        __atomic_store_n(&known, n, __ATOMIC_RELAXED);
        return n;
}

static uint32_t at_most_max(int64_t ns)
{
        return ns < (int64_t)SPIN_MAX_NS ? (uint32_t)ns : SPIN_MAX_NS;
}

bool wait_spin(struct lane *lane, const uint32_t *word, uint32_t seen, int64_t deadline_ns)
{
        int64_t start, now, end;

        if (!lane->spin || wait_processors() < 2)
                return half_get(word) != seen;
        start = now = now_ns();
        end = start + lane->spin;
        if (end > deadline_ns)
                end = deadline_ns;
        while (now < end) {
                for (int look = 0; look < SPIN_LOOKS; look++) {
                        if (half_get(word) != seen) {
                                uint32_t enough = at_most_max(2 * (now - start) + SPIN_MIN_NS);

                                /* Shrinks slowly towards what was needed: waits of one kind differ among themselves. */
                                lane->spin = enough > lane->spin ? enough
                                                                 : lane->spin - (lane->spin - enough) / 16;
                                return true;
                        }
                        for (int rest = 0; rest < SPIN_RESTS; rest++)
                                wait_relax();
                }
                now = now_ns();
        }
        lane->spin = lane->spin / 4 < SPIN_MIN_NS ? 0 : lane->spin / 4;
        return false;
}

objd_status wait_sleep(struct lane *lane, const uint32_t *word, uint32_t seen, int64_t deadline_ns,
                       bool *ret_woken)
{
        int64_t start = now_ns(), slice = deadline_ns - start, end;
        bool woken;

        if (slice <= 0)
                return OBJD_E_TIMEOUT;
        if (slice > WAIT_SLICE_NS)
                slice = WAIT_SLICE_NS;
        lane_rest(lane);
        woken = sys.futex(word, FUTEX_WAIT, seen, &slice) == 0 || errno == EAGAIN;
        lane_resume(lane);
        end = now_ns();
        if (woken && end - start < 2 * (int64_t)SPIN_MAX_NS)
                lane->spin = at_most_max(2 * (end - start) + lane->spin);
        if (!woken)
                (void)recover_in_turn(lane->arena, lane);
        *ret_woken = woken;
        return OBJD_OK;
}

/* The result tells how many were woken, which changes nothing for anybody. */
void wait_wake(struct arena *arena, const uint32_t *word, int n)
{
        (void)arena;
        (void)sys.futex(word, FUTEX_WAKE, (uint32_t)n, NULL);
}
