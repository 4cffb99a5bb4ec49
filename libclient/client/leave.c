/* SPDX-License-Identifier: Apache-2.0 */

/*
 * leave.c -- a process gives back what it has in an arena
 */

#include "client/leave.h"

#include "arena/life.h"
#include "base/fork.h"
#include "base/sys.h"
#include "object/directory.h"
#include "txn/lane.h"

/* How many lanes say that they belong to this client. Given a new client, they are told. */
static uint32_t visit_lanes(struct arena *arena, uint64_t client, uint64_t new_client)
{
        uint64_t high = word_get(&arena->header->lanes_high);
        uint32_t n = 0;

        for (uint32_t i = 1; i < high && i < N_LANES; i++) {
                struct lane_shm *shm = arena_lane(arena, i);

                if (!half_get_acquire(&shm->claimed) || word_get(&shm->client) != client)
                        continue;
                n++;
                if (new_client)
                        word_set(&shm->client, new_client);
        }
        return n;
}

/*
 * Other threads keep their lanes until they end, and may use them again with a later connection: the
 * process gets a new name and keeps its entry and its record lock. What was the old one's is nobody's from now on.
 */
static void rename_client(struct arena *arena, uint64_t client)
{
        struct client_shm *shm = arena_client(arena, id_number(client));
        uint64_t new_client = id_make(id_number(client), id_generation(client) + 1);

        word_set(&shm->generation, id_generation(new_client));
        (void)visit_lanes(arena, client, new_client);
        word_set_release(&arena->client, new_client);
}

static void give_client_back(struct arena *arena, uint64_t client, int64_t deadline_ns)
{
        /* If somebody stands in the gate for that long, our death will have to do what we cannot. */
        if (gate_enter(arena, deadline_ns))
                return;
        if (visit_lanes(arena, client, 0)) {
                rename_client(arena, client);
        } else {
                word_set(&arena->client, 0);
                client_release(arena, client);
        }
        gate_leave(arena);
}

void leave_arena(struct arena *arena, int64_t timeout_ns)
{
        bool has_client = word_get(&arena->client_fork) == fork_generation();
        uint64_t client = has_client ? word_get(&arena->client) : 0;

        /* What cannot be deleted now, since somebody holds it, is deleted by whoever looks for the dead. */
        if (client)
                (void)directory_reap_client(arena, client, timeout_ns);
        lane_release_own(arena);
        if (client)
                give_client_back(arena, client, deadline_after(timeout_ns));
}
