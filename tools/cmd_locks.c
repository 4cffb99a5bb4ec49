/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_locks.c -- objctl locks: who holds what
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dumpload/text.h"
#include "inspect.h"

static void print_lock(const char *label, int64_t pid, uint64_t token)
{
        fputs("lock ", stdout);
        text_write_escaped(stdout, label, strlen(label));
        if (pid)
                printf(": taken by process %" PRId64 ", token %" PRIu64 "\n", pid, token);
        else
                printf(": taken, token %" PRIu64 "\n", token);
}

static void print_waiters(struct json_object *pids)
{
        size_t n = json_object_is_type(pids, json_type_array) ? json_object_array_length(pids) : 0;

        for (size_t i = 0; i < n; i++)
                printf("%s%" PRId64, i ? ", " : "; waiting: process ",
                       json_object_get_int64(json_object_array_get_idx(pids, i)));
}

static void print_line(struct json_object *line)
{
        const char *name = inspect_text(line, "line");

        fputs("line of ", stdout);
        text_write_escaped(stdout, name, strlen(name));
        printf(": %s by process %" PRId64 " (", inspect_truth(line, "writing") ? "locked" : "frozen",
               inspect_number(line, "pid"));
        text_write_escaped(stdout, inspect_text(line, "operation"), strlen(inspect_text(line, "operation")));
        fputc(')', stdout);
        print_waiters(json_object_object_get(line, "waiting"));
        fputc('\n', stdout);
}

static void print(void *context, struct json_object *held)
{
        (void)context;
        if (json_object_object_get(held, "lock"))
                print_lock(inspect_text(held, "lock"), inspect_number(held, "pid"),
                           (uint64_t)inspect_number(held, "token"));
        else
                print_line(held);
}

static int run(const struct request *request, objd_conn *conn)
{
        const struct report report = { .what = REPORT_LOCKS };

        return request->json ? inspect(conn, &report) : inspect_each(conn, &report, print, NULL);
}

const struct verb verb_locks = {
        .name = "locks",
        .args = "",
        .summary = "who holds what, and who waits for it",
        .help = "Lists the lock objects that are taken, with their owners and tokens, and the lines of\n"
                "objects that an operation has locked at this moment, with their holders and who waits\n"
                "for them. The second are held for microseconds, unless the holder has been stopped.\n"
                "Pids are as the processes themselves see them.\n",
        .example = "  $ objctl locks\n"
                   "  lock printer: taken by process 40519, token 17\n"
                   "  line of jobs: locked by process 40520 (list_append); waiting: process 40521\n",
        .options = "",
        .min_args = 0,
        .max_args = 0,
        .run = run,
};
