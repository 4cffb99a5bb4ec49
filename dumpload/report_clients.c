/* SPDX-License-Identifier: Apache-2.0 */

/*
 * report_clients.c -- the processes that use a store
 *
 * Looking needs no lane, so whoever looks is not among them for that.
 */

#include <inttypes.h>
#include <string.h>

#include "arena/life.h"
#include "dumpload/json.h"
#include "dumpload/report.h"
#include "object/object.h"

struct client {
        uint32_t number;
        uint32_t uid;
        uint32_t n_lanes;
        int64_t pid;
        int64_t since_ns;
        uint64_t n_anonymous;
        bool alive;
        bool is_session; /* works through the daemon, which says these of it: */
        uint64_t memory, memory_most, n_waiting;
        char comm[17];
};

static uint32_t count_lanes(const struct arena *arena, uint64_t client)
{
        uint64_t high = word_get(&arena->header->lanes_high);
        uint32_t n = 0;

        for (uint32_t i = 1; i < high && i < N_LANES; i++) {
                const struct lane_shm *lane = arena_lane(arena, i);

                n += half_get(&lane->claimed) && word_get(&lane->client) == client;
        }
        return n;
}

/* Fills in what there is to say of entry `number`; false if nobody has it. */
static bool look_at(struct arena *arena, uint32_t number, struct client *ret)
{
        const struct client_shm *shm = arena_client(arena, number);
        uint64_t id = id_make(number, word_get(&shm->generation));

        if (!half_get_acquire(&shm->claimed))
                return false;
        *ret = (struct client){
                .number = number,
                .uid = half_get(&shm->uid),
                .n_lanes = count_lanes(arena, id),
                .pid = shm->pid,
                .since_ns = shm->since_ns,
                .n_anonymous = word_get(&shm->n_anonymous),
                .alive = client_is_alive(arena, id),
                .is_session = word_get(&shm->flags) & CLIENT_IS_SESSION,
        };
        if (ret->is_session) {
                ret->memory = word_get(&shm->memory);
                ret->memory_most = word_get(&shm->memory_most);
                ret->n_waiting = word_get(&shm->n_waiting);
        }
        memcpy(ret->comm, shm->comm, sizeof(shm->comm));
        return true;
}

static void write_client(FILE *f, const struct client *c)
{
        fprintf(f, "{\"number\":%u,\"pid\":%" PRId64 ",\"uid\":%u,\"comm\":", c->number, c->pid, c->uid);
        json_write_text(f, c->comm);
        fprintf(f, ",\"since_ns\":%" PRId64 ",\"alive\":%s,\"lanes\":%u,\"anonymous\":%" PRIu64, c->since_ns,
                c->alive ? "true" : "false", c->n_lanes, c->n_anonymous);
        if (c->is_session)
                fprintf(f, ",\"memory\":%" PRIu64 ",\"memory_most\":%" PRIu64 ",\"waiting\":%" PRIu64,
                        c->memory, c->memory_most, c->n_waiting);
        fputs("}\n", f);
}

bool report_clients(struct objd_conn *conn, const struct report *report)
{
        uint64_t high = word_get(&conn->arena->header->clients_high);
        struct client client;

        for (uint32_t i = 1; i < high && i < N_CLIENTS && !report_is_over(report); i++)
                if (look_at(conn->arena, i, &client))
                        write_client(report->f, &client);
        return true;
}
