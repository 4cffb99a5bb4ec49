/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_clients.c -- objctl clients: the processes that use the store
 */

#include <inttypes.h>
#include <stdio.h>

#include "dumpload/text.h"
#include "inspect.h"
#include "table.h"

/* comm comes from a stranger; a cell of a table has no control characters. */
static void clean(char *text)
{
        for (; *text; text++)
                if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
                        *text = '?';
}

static void add_line(void *context, struct json_object *client)
{
        struct table *table = context;
        bool is_session = json_object_object_get(client, "memory") != NULL;
        char since[TEXT_SHORT], size[TEXT_SHORT], comm[64];

        snprintf(comm, sizeof(comm), "%s", inspect_text(client, "comm"));
        clean(comm);
        table_cell(table, "%" PRId64, inspect_number(client, "number"));
        table_cell(table, "%" PRId64, inspect_number(client, "pid"));
        table_cell(table, "%" PRId64, inspect_number(client, "uid"));
        table_cell(table, "%s", comm);
        table_cell(table, "%s", text_time(since, inspect_number(client, "since_ns")));
        table_cell(table, "%s", inspect_truth(client, "alive") ? "alive" : "dead");
        table_cell(table, "%" PRId64, inspect_number(client, "lanes"));
        table_cell(table, "%s",
                   is_session ? text_size(size, (uint64_t)inspect_number(client, "memory")) : "-");
        table_cell(table, "%s",
                   is_session ? text_size(size, (uint64_t)inspect_number(client, "memory_most")) : "-");
        if (is_session)
                table_cell(table, "%" PRId64, inspect_number(client, "waiting"));
        else
                table_cell(table, "-");
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
        const struct report report = { .what = REPORT_CLIENTS };
        struct table table = { .n_columns = 10, .right = "rrrlllrrrr" };
        int code;

        if (request->json)
                return inspect(conn, &report);
        add_head(&table);
        code = inspect_each(conn, &report, add_line, &table);
        return code | table_print(&table, stdout);
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
