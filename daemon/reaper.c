/* SPDX-License-Identifier: Apache-2.0 */

/*
 * reaper.c -- cleaning up after the dead
 */

#include "reaper.h"

#include "arena/life.h"
#include "base/sys.h"
#include "log.h"
#include "mem/pool.h"
#include "txn/lane.h"
#include "txn/recover.h"

/*
 * How often memory of free blocks goes back to the system: seldom enough that who takes and gives it all the time mostly finds it,
 * and once at least while the daemon still looks after its last client has gone.
 */
#define TRIM_NS 500000000LL

static objd_status recover_lanes(struct reaper *reaper, uint32_t *n)
{
        int64_t now = now_ns();
        struct lane *lane;
        objd_status r;

        r = lane_enter(reaper->arena, OBJD_NOWAIT, &lane);
        if (r)
                return r;
        *n += recover_all(reaper->arena, lane);
        if (now - reaper->trimmed_ns >= TRIM_NS) {
                reaper->trimmed_ns = now;
                pool_trim(lane);
        }
        lane_leave(lane);
        return OBJD_OK;
}

static void run(struct reaper *reaper, uint32_t (*recover_clients_fn)(struct arena *arena))
{
        uint32_t n = 0;
        objd_status r = recover_lanes(reaper, &n);

        /* A client can be reaped once none of its lanes is left, so this comes second. */
        n += recover_clients_fn(reaper->arena);
        if (n)
                log_info("cleaned up after the dead: %u lanes and clients", n);
        if (r && r != reaper->last)
                log_warning("cannot look for the dead, and will try again: %s", objd_last_error());
        if (!r && reaper->last)
                log_info("can look for the dead again");
        reaper->last = r;
}

void reaper_begin(struct reaper *reaper, struct arena *arena)
{
        *reaper = (struct reaper){ .arena = arena };
        run(reaper, recover_clients);
}

void reaper_run(struct reaper *reaper)
{
        run(reaper, recover_clients_in_turn);
}

bool reaper_has_clients(const struct reaper *reaper)
{
        struct arena *arena = reaper->arena;
        uint64_t high = word_get(&arena->header->clients_high);
        uint32_t own = id_number(word_get(&arena->client));

        for (uint32_t i = 1; i < high && i < N_CLIENTS; i++)
                if (i != own && half_get(&arena_client(arena, i)->claimed))
                        return true;
        return false;
}
