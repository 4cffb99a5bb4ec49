/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_clients.c -- objctl clients: the processes that use the store
 *
 * Looking needs no lane, so this process is not among them.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arena/life.h"
#include "dumpload/json.h"
#include "object/object.h"
#include "text.h"

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

static void print_json(const struct client *c)
{
        printf("{\"number\":%u,\"pid\":%" PRId64 ",\"uid\":%u,\"comm\":", c->number, c->pid, c->uid);
        json_write_text(stdout, c->comm);
        printf(",\"since_ns\":%" PRId64 ",\"alive\":%s,\"lanes\":%u,\"anonymous\":%" PRIu64, c->since_ns,
               c->alive ? "true" : "false", c->n_lanes, c->n_anonymous);
        if (c->is_session)
                printf(",\"memory\":%" PRIu64 ",\"memory_most\":%" PRIu64 ",\"waiting\":%" PRIu64, c->memory,
                       c->memory_most, c->n_waiting);
        printf("}\n");
}

/* comm comes from a stranger; a cell of a table has no control characters. */
static void clean(char *text)
{
        for (; *text; text++)
                if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
                        *text = '?';
}

static void add_line(struct table *table, struct client *c)
{
        char since[TEXT_SHORT], size[TEXT_SHORT];

        clean(c->comm);
        table_cell(table, "%u", c->number);
        table_cell(table, "%" PRId64, c->pid);
        table_cell(table, "%u", c->uid);
        table_cell(table, "%s", c->comm);
        table_cell(table, "%s", text_time(since, c->since_ns));
        table_cell(table, "%s", c->alive ? "alive" : "dead");
        table_cell(table, "%u", c->n_lanes);
        if (c->is_session) {
                table_cell(table, "%s", text_size(size, c->memory));
                table_cell(table, "%s", text_size(size, c->memory_most));
                table_cell(table, "%" PRIu64, c->n_waiting);
        } else {
                for (int i = 0; i < 3; i++)
                        table_cell(table, "-");
        }
}

static void add_head(struct table *table)
{
        static const char *const heads[] = { "CLIENT", "PID",     "UID",    "COMMAND", "SINCE",
                                             "STATE",  "THREADS", "MEMORY", "MOST",    "WAITING" };

        for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
                table_cell(table, "%s", heads[i]);
}

static int run(const struct request *request, objd_conn *conn)
{
        struct table table = { .n_columns = 10, .right = "rrrlllrrrr" };
        uint64_t high = word_get(&conn->arena->header->clients_high);
        struct client client;

        if (!request->json)
                add_head(&table);
        for (uint32_t i = 1; i < high && i < N_CLIENTS; i++) {
                if (!look_at(conn->arena, i, &client))
                        continue;
                if (request->json)
                        print_json(&client);
                else
                        add_line(&table, &client);
        }
        return request->json ? EXIT_OK : table_print(&table, stdout);
}

const struct verb verb_clients = {
        .name = "clients",
        .args = "",
        .summary = "the processes that use the store",
        .help = "Lists the processes that have used the store and not left it: pids as the processes\n"
                "themselves see them, whether the kernel says that they live, and how many of their\n"
                "threads have used it. A process that has only connected is not among them. Of those that\n"
                "work through the daemon (objd --rpc) it says how much of the daemon's memory they take,\n"
                "the most that they have taken, and how many of their requests wait for an item, for room\n"
                "or for a lock.\n",
        .example =
                "  $ objctl clients\n"
                "  CLIENT    PID   UID  COMMAND    SINCE                STATE  THREADS   MEMORY     MOST  WAITING\n"
                "       1  40513  1000  objd       2026-01-31 12:00:00  alive        1        -        -        -\n"
                "       2  40519  1000  wordcount  2026-01-31 12:00:02  alive        1        -        -        -\n"
                "       3  40520  1000  worker     2026-01-31 12:00:03  alive        0  8.1 KiB  2.3 MiB        1\n",
        .options = "",
        .min_args = 0,
        .max_args = 0,
        .run = run,
};
