/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reap.c -- looking for the dead: lanes whose thread has died, clients whose process has
 *
 * Everybody who waits looks, but not everybody each time: a look at all lanes is a few microseconds, and one look every few
 * milliseconds is enough for the whole arena, whoever takes it.
 */

#include <unistd.h>

#include "base/sys.h"
#include "mem/pool.h"
#include "object/directory.h"
#include "txn/recover.h"

#define LANES_EVERY_NS 5000000LL
#define CLIENTS_EVERY_NS 100000000LL

/* Whether the last look is old enough, and it is we who look now. */
static bool is_our_turn(uint64_t *last, int64_t every_ns)
{
        uint64_t then = word_get(last), now = (uint64_t)now_ns();

        /* A time that lies ahead is another boot's, or another time namespace's. */
        if (now >= then && now - then < (uint64_t)every_ns)
                return false;
        return __atomic_compare_exchange_n(last, &then, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

uint32_t recover_lanes(struct arena *arena, struct lane *lane)
{
        uint64_t high = word_get(&arena->header->lanes_high);
        uint32_t n = 0;

        for (uint32_t i = 1; i <= high; i++) {
                uint32_t number = i < high ? i : RESERVE_LANE;

                if (lane_is_dead(arena, arena_lane(arena, number)))
                        n += recover_lane(arena, number, lane->self);
        }
        return n;
}

/* Whether a thread of this client still has a lane: then the client is not done with, whatever its process is. */
static bool has_lane(struct arena *arena, uint64_t client)
{
        uint64_t high = word_get(&arena->header->lanes_high);

        for (uint32_t i = 1; i < high; i++) {
                const struct lane_shm *shm = arena_lane(arena, i);

                if (half_get(&shm->claimed) && word_get(&shm->client) == client)
                        return true;
        }
        return false;
}

/* The slot is free again only after everything that was the client's is gone; inside the gate, so once. */
static void free_client(struct arena *arena, uint32_t number, uint64_t id)
{
        struct client_shm *client = arena_client(arena, number);

        if (gate_enter(arena, now_ns()))
                return;
        if (id == id_make(number, word_get(&client->generation)) && !client_is_alive(arena, id))
                half_set(&client->claimed, 0);
        gate_leave(arena);
}

uint32_t recover_clients_now(struct arena *arena)
{
        uint64_t high = word_get(&arena->header->clients_high);
        uint32_t n = 0;

        for (uint32_t number = 1; number < high; number++) {
                const struct client_shm *client = arena_client(arena, number);
                uint64_t id = id_make(number, word_get(&client->generation));

                if (!half_get_acquire(&client->claimed) || client_is_alive(arena, id) || has_lane(arena, id))
                        continue;
                /* The daemon's loop must not stand still for somebody who holds a lock: the next look will do. */
                if (directory_reap_client(arena, id, OBJD_NOWAIT) == OBJD_OK) {
                        free_client(arena, number, id);
                        n++;
                }
        }
        return n;
}

uint32_t recover_all(struct arena *arena, struct lane *lane)
{
        uint32_t n = 0;

        if (is_our_turn(&arena->header->lanes_looked, LANES_EVERY_NS))
                n += recover_lanes(arena, lane);
        return n;
}

uint32_t recover_clients(struct arena *arena)
{
        return is_our_turn(&arena->header->clients_looked, CLIENTS_EVERY_NS) ? recover_clients_now(arena) : 0;
}
