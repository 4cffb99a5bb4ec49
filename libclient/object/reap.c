/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reap.c -- what dead processes owned: their anonymous objects, and their entries in the table of clients
 */

#include <string.h>

#include "base/plant.h"
#include "base/sys.h"
#include "mem/pool.h"
#include "object/directory.h"
#include "txn/recover.h"

#define CLIENTS_EVERY_NS 100000000LL

/*
 * Which clients have a lane: such a client is not done with, whatever its process is. One pass over the lanes spares a
 * question to the kernel for nearly every client; the kernel looks through all their record locks for each.
 */
static void mark_clients_with_lanes(struct arena *arena, bool marked[N_CLIENTS])
{
        uint64_t high = word_get(&arena->header->lanes_high);

        memset(marked, 0, N_CLIENTS * sizeof(*marked));
        for (uint32_t i = 1; i < high && i < N_LANES; i++) {
                const struct lane_shm *shm = arena_lane(arena, i);

                if (half_get(&shm->claimed))
                        marked[id_number(word_get(&shm->client))] = true;
        }
}

/* The slot is free again only after everything that was the client's is gone; inside the gate, so once. */
static void free_client(struct arena *arena, uint32_t number, uint64_t id)
{
        struct client_shm *client = arena_client(arena, number);

        if (gate_enter(arena, now_ns()))
                return;
        if (!PLANTED(CLIENT_KEPT) && id == id_make(number, word_get(&client->generation)) &&
            !client_is_alive(arena, id))
                half_set(&client->claimed, 0);
        gate_leave(arena);
}

uint32_t recover_clients(struct arena *arena)
{
        uint64_t high = word_get(&arena->header->clients_high);
        bool has_lane[N_CLIENTS];
        uint32_t n = 0;

        mark_clients_with_lanes(arena, has_lane);
        for (uint32_t number = 1; number < high && number < N_CLIENTS; number++) {
                const struct client_shm *client = arena_client(arena, number);
                uint64_t id = id_make(number, word_get(&client->generation));

                if (!half_get_acquire(&client->claimed) || has_lane[number] || client_is_alive(arena, id))
                        continue;
                /* The daemon's loop must not stand still for somebody who holds a lock: the next look will do. */
                if (directory_reap_client(arena, id, OBJD_NOWAIT) == OBJD_OK) {
                        free_client(arena, number, id);
                        n++;
                }
        }
        return n;
}

uint32_t recover_clients_in_turn(struct arena *arena)
{
        return recover_is_our_turn(&arena->header->clients_looked, CLIENTS_EVERY_NS) ? recover_clients(arena)
                                                                                     : 0;
}

/*
 * Calls are made in the middle of a call of this thread, whose lane is free for them meanwhile; afterwards it is as it was, with
 * the frame by which a signal handler's call is told from one that comes after a longjmp().
 */
void recover_clients_inside(struct lane *lane)
{
        const struct lane before = *lane;

        if (lane->read_only || !recover_is_our_turn(&lane->arena->header->clients_looked, CLIENTS_EVERY_NS))
                return;
        lane_leave(lane);
        (void)recover_clients(lane->arena);
        lane_begin_call(lane, before.timeout_ns, before.frame, before.caller);
        lane->deadline_ns = before.deadline_ns;
}

static bool has_dead_lanes(struct arena *arena)
{
        uint32_t high = arena_lanes_high(arena);

        for (uint32_t i = 1; i < high; i++)
                if (lane_is_dead(arena, arena_lane(arena, i)))
                        return true;
        return false;
}

/* Who only arrives has no lane yet, and claims none if nobody has died. A client is done with once none of its lanes is left. */
void recover_on_arrival(struct arena *arena)
{
        struct lane *lane;

        if (has_dead_lanes(arena) && lane_enter(arena, OBJD_NOWAIT, &lane) == OBJD_OK) {
                (void)recover_in_turn(arena, lane);
                lane_leave(lane);
        }
        (void)recover_clients_in_turn(arena);
}
