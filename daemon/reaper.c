/* SPDX-License-Identifier: Apache-2.0 */

/*
 * reaper.c -- cleaning up after the dead
 */

#include "reaper.h"

#include "arena/life.h"
#include "log.h"
#include "mem/pool.h"
#include "txn/lane.h"
#include "txn/recover.h"

static objd_status look_once(struct arena *arena)
{
        struct lane *lane;
        objd_status r;
        uint32_t n;

        r = lane_enter(arena, OBJD_NOWAIT, &lane);
        if (r)
                return r;
        n = recover_all(arena, lane);
        pool_trim(lane);
        lane_leave(lane);
        if (n)
                log_info("cleaned up after the dead: %u claims", n);
        return OBJD_OK;
}

void reaper_run(struct reaper *reaper)
{
        objd_status r = look_once(reaper->arena);

        if (r && r != reaper->last)
                log_warning("cannot look for the dead, and will try again: %s", objd_last_error());
        if (!r && reaper->last)
                log_info("can look for the dead again");
        reaper->last = r;
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
