/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_stats.c -- objctl stats: what the store holds and costs
 */

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "dumpload/json.h"
#include "object/object.h"
#include "text.h"

static void print_json(const objd_conn *conn, const objd_stats *s)
{
        const struct header_shm *header = conn->arena->header;
        struct json_object *o = json_object_new_object();

        json_object_object_add(o, "store", json_object_new_string(conn->name));
        json_object_object_add(o, "daemon", json_object_new_boolean(conn->control >= 0));
        json_object_object_add(o, "daemon_pid", json_object_new_int64(header->daemon_pid));
        json_object_object_add(o, "daemon_epoch", json_object_new_uint64(header->daemon_epoch));
        json_object_object_add(o, "created_ns", json_object_new_uint64(header->created_ns));
        json_object_object_add(o, "arena_size", json_object_new_uint64(s->arena_size));
        json_object_object_add(o, "arena_used", json_object_new_uint64(s->arena_used));
        json_object_object_add(o, "arena_resident", json_object_new_uint64(s->arena_resident));
        json_object_object_add(o, "arena_limit", json_object_new_uint64(s->arena_limit));
        json_object_object_add(o, "n_objects", json_object_new_uint64(s->n_objects));
        json_object_object_add(o, "n_clients", json_object_new_uint64(s->n_clients));
        json_object_object_add(o, "n_lanes", json_object_new_uint64(s->n_lanes));
        json_object_object_add(o, "n_reads", json_object_new_uint64(s->n_reads));
        json_object_object_add(o, "n_writes", json_object_new_uint64(s->n_writes));
        json_object_object_add(o, "n_recoveries", json_object_new_uint64(s->n_recoveries));
        json_write_line(stdout, o);
}

static void print_daemon(const objd_conn *conn)
{
        int64_t pid = conn->arena->header->daemon_pid;

        if (conn->control >= 0)
                printf("daemon      process %" PRId64 "\n", pid);
        else if (pid)
                printf("daemon      none; process %" PRId64 " was the last one, and died\n", pid);
        else
                printf("daemon      none\n");
}

static void print_text(const objd_conn *conn, const objd_stats *s)
{
        int64_t created_ns = (int64_t)conn->arena->header->created_ns;
        char a[TEXT_SHORT], b[TEXT_SHORT];

        printf("store       ");
        text_write_escaped(stdout, conn->name, strlen(conn->name));
        printf("\n");
        print_daemon(conn);
        printf("made        %s, %s ago\n", text_time(a, created_ns),
               text_duration(b, wall_ns() - created_ns));
        printf("objects     %" PRIu64 "\n", s->n_objects);
        printf("in use      %s\n", text_size(a, s->arena_used));
        printf("memory      %s of the system's\n", text_size(a, s->arena_resident));
        printf("left        %s of %s\n", text_size(a, s->arena_limit), text_size(b, s->arena_size));
        printf("processes   %" PRIu64 "\n", s->n_clients);
        printf("threads     %" PRIu64 "\n", s->n_lanes);
        printf("reads       %" PRIu64 "\n", s->n_reads);
        printf("writes      %" PRIu64 "\n", s->n_writes);
        printf("recoveries  %" PRIu64 "\n", s->n_recoveries);
}

static int run(const struct request *request, objd_conn *conn)
{
        objd_stats stats;
        objd_status r = objd_stats_get(conn, &stats);

        if (r)
                return answer(r);
        if (request->json)
                print_json(conn, &stats);
        else
                print_text(conn, &stats);
        return EXIT_OK;
}

const struct verb verb_stats = {
        .name = "stats",
        .args = "",
        .summary = "what the store holds and costs",
        .help = "Prints sizes and counters of the store. \"in use\" is what objects and the engine\n"
                "have; \"memory\" is what the system has given for it; \"left\" is what can still be\n"
                "taken.\n",
        .example = "  $ objctl stats --json | jq .arena_resident\n"
                   "  26083328\n",
        .options = "",
        .min_args = 0,
        .max_args = 0,
        .run = run,
};
