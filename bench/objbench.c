/* SPDX-License-Identifier: Apache-2.0 */

/* The table of rows, and the few lines that all of them begin with. */

#include "objbench.h"

#include <inttypes.h>
#include <stdio.h>

static const struct row {
        const char *name;
        const char *args;
        int min_args, max_args;
        void (*run)(int argc, char **argv);
        const char *help;
} rows[] = {
        { "get", "N", 1, 1, run_dict_get, "dict: random gets, the value copied out" },
        { "set", "N", 1, 1, run_dict_set, "dict: random sets of keys that are there, and deletes" },
        { "insert", "N", 1, 1, run_dict_insert, "dict: inserts from empty, in a used and in a fresh arena" },
        { "pair-get", "N", 1, 1, run_dict_pair_get, "dict: gets, alone and from two processes" },
        { "pair-set", "N", 1, 1, run_dict_pair_set,
          "dict: sets of different keys, alone and from two processes" },
        { "append", "N", 1, 1, run_list_append, "list: appends from empty" },
        { "list-get", "N", 1, 1, run_list_get, "list: gets by index in random order" },
        { "putget", "", 0, 0, run_queue_putget, "queue: put and get in one process" },
        { "stream", "", 0, 0, run_queue_stream, "queue: from one process to another" },
        { "wake", "", 0, 0, run_queue_wake, "queue: wake of a sleeping getter, beside a bare futex" },
        { "lock", "", 0, 0, run_lock, "lock: take and give" },
        { "start", "OBJD", 1, 1, run_start, "from the start of the daemon OBJD to the first set done" },
        { "rpc", "WAY OBJD", 2, 2, run_rpc,
          "a dict through the daemon OBJD, by the carrier WAY (local, ipc, tcp): one at a time, batches, large values" },
        { "rpc-wake", "WAY OBJD", 2, 2, run_rpc_wake,
          "wake of a getter behind the daemon, by a put of a process that has the store mapped" },
        { "rpc-others", "WAY OBJD", 2, 2, run_rpc_others,
          "gets through the daemon OBJD, alone and beside clients that ask for too much" },
        { "hist", "[N]", 0, 1, run_hist, "dict: the time of each of N inserts, 10000000 without N" },
        { "memory", "[N]", 0, 1, run_memory,
          "bytes of arena an entry, and a small dict; N of each, 1000000 without" },
};

#define N_ROWS (sizeof(rows) / sizeof(*rows))

void fail(objd_status r, const char *what)
{
        bench_die("%s: %s: %s", what, objd_strerror(r), objd_last_error());
}

objd_conn *arena_new(uint64_t size)
{
        objd_conn *conn;
        char url[64];

        snprintf(url, sizeof(url), "embedded:%" PRIu64, size);
        check(objd_connect(url, &conn), url);
        return conn;
}

objd_object *object_new(objd_conn *conn, objd_kind kind, uint64_t bound)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *object;

        if (kind == OBJD_DICT)
                config.key_type = OBJD_BYTES;
        if (kind != OBJD_LOCK)
                config.value_type = OBJD_BYTES;
        config.bound = bound;
        check(objd_create(conn, NULL, kind, &config, &object), "objd_create");
        return object;
}

static void usage(void)
{
        fprintf(stderr, "usage: objbench ROW [ARGUMENT]\n\n");
        for (size_t i = 0; i < N_ROWS; i++)
                fprintf(stderr, "  %-9s %-8s %s\n", rows[i].name, rows[i].args, rows[i].help);
}

int main(int argc, char **argv)
{
        for (size_t i = 0; argc > 1 && i < N_ROWS; i++) {
                const struct row *row = &rows[i];

                if (strcmp(argv[1], row->name) || argc - 2 < row->min_args || argc - 2 > row->max_args)
                        continue;
                row->run(argc - 2, argv + 2);
                return 0;
        }
        usage();
        return 2;
}
