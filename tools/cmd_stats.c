/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_stats.c -- objctl stats: what the store holds and costs
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "dumpload/text.h"
#include "inspect.h"

static void print_daemon(struct json_object *s)
{
        int64_t pid = inspect_number(s, "daemon_pid");

        if (inspect_truth(s, "daemon"))
                printf("daemon      process %" PRId64 "\n", pid);
        else if (pid)
                printf("daemon      none; process %" PRId64 " was the last one, and died\n", pid);
        else
                printf("daemon      none\n");
}

static void print_size(struct json_object *s, const char *what, const char *name, const char *behind)
{
        char size[TEXT_SHORT];

        printf("%-12s%s%s\n", what, text_size(size, (uint64_t)inspect_number(s, name)), behind);
}

static void print_count(struct json_object *s, const char *what, const char *name)
{
        printf("%-12s%" PRIu64 "\n", what, (uint64_t)inspect_number(s, name));
}

/* One line, with what there has been. */
static void print_refused(struct json_object *s)
{
        struct json_object_iterator at, end;
        struct json_object *refused;
        uint64_t n_all = 0;

        if (!json_object_object_get_ex(s, "refused", &refused))
                return; /* a daemon that does not count them */
        end = json_object_iter_end(refused);
        for (at = json_object_iter_begin(refused); !json_object_iter_equal(&at, &end);
             json_object_iter_next(&at)) {
                uint64_t n = json_object_get_uint64(json_object_iter_peek_value(&at));

                if (n)
                        printf("%s%" PRIu64 " %s", n_all ? ", " : "refused     ", n,
                               json_object_iter_peek_name(&at));
                n_all += n;
        }
        if (n_all)
                printf("\n");
}

static void print(void *context, struct json_object *s)
{
        int64_t created_ns = inspect_number(s, "created_ns");
        const char *store = inspect_text(s, "store");
        char a[TEXT_SHORT], b[TEXT_SHORT];

        (void)context;
        printf("store       ");
        text_write_escaped(stdout, store, strlen(store));
        printf("\n");
        print_daemon(s);
        printf("made        %s, %s ago\n", text_time(a, created_ns),
               text_duration(b, wall_ns() - created_ns));
        print_count(s, "objects", "n_objects");
        print_size(s, "in use", "arena_used", "");
        print_size(s, "memory", "arena_resident", " of the system's");
        printf("left        %s of %s\n", text_size(a, (uint64_t)inspect_number(s, "arena_limit")),
               text_size(b, (uint64_t)inspect_number(s, "arena_size")));
        print_count(s, "processes", "n_clients");
        print_count(s, "threads", "n_lanes");
        if (inspect_number(s, "n_proxied"))
                printf("proxied     %" PRIu64 ", with %s of the daemon's memory; %" PRIu64 " requests wait\n",
                       (uint64_t)inspect_number(s, "n_proxied"),
                       text_size(a, (uint64_t)inspect_number(s, "proxied_memory")),
                       (uint64_t)inspect_number(s, "proxied_waiting"));
        print_refused(s);
        print_count(s, "reads", "n_reads");
        print_count(s, "writes", "n_writes");
        print_count(s, "recoveries", "n_recoveries");
}

static int run(const struct request *request, objd_conn *conn)
{
        const struct report report = { .what = REPORT_STATS };

        return request->json ? inspect(conn, &report) : inspect_each(conn, &report, print, NULL);
}

const struct verb verb_stats = {
        .name = "stats",
        .args = "",
        .summary = "what the store holds and costs",
        .help = "Prints sizes and counters of the store. \"in use\" is what objects and the engine\n"
                "have; \"memory\" is what the system has given for it; \"left\" is what can still be\n"
                "taken. \"proxied\" are clients that work through the daemon, if there are any;\n"
                "\"refused\" is what was refused of such, by reason, since the store was made.\n",
        .example = "  $ objctl stats --json | jq .arena_resident\n"
                   "  26083328\n",
        .options = "",
        .min_args = 0,
        .max_args = 0,
        .run = run,
};
