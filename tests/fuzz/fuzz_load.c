/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_load.c -- dumps with any bytes: either refused, and nothing is left, or loaded, and then the dump of what was loaded
 * can be loaded as well and is the same again
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dumpload/dump.h"
#include "dumpload/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
        if (!condition)
                abort();
}

/* A store of its own for each input would take most of the time: a new one only after something was loaded. */
static objd_conn *store(void)
{
        objd_conn *conn = NULL;

        must(objd_connect("embedded:8M", &conn) == OBJD_OK);
        return conn;
}

static objd_status load(objd_conn *conn, const void *bytes, size_t size)
{
        FILE *f = fmemopen((void *)(uintptr_t)bytes, size, "r");
        struct load_report report;
        objd_status r;

        must(f != NULL);
        r = load_read(conn, f, "it", LOAD_REFUSE, &report);
        (void)fclose(f);
        return r;
}

static char *dump(objd_conn *conn, size_t *ret_size)
{
        const struct dump_options options = { .atomic = true };
        struct dump_report report;
        FILE *f = tmpfile();
        char *bytes;

        must(f != NULL && dump_write(conn, f, &options, &report) == OBJD_OK && !report.n_damaged);
        *ret_size = (size_t)ftello(f);
        bytes = malloc(*ret_size);
        rewind(f);
        must(bytes != NULL && fread(bytes, 1, *ret_size, f) == *ret_size);
        (void)fclose(f);
        return bytes;
}

static void once_more(objd_conn *conn)
{
        objd_conn *copy = store();
        size_t size, size_again;
        char *bytes = dump(conn, &size), *again;

        must(load(copy, bytes, size) == OBJD_OK);
        again = dump(copy, &size_again);
        must(size == size_again && memcmp(bytes, again, size) == 0);
        free(bytes);
        free(again);
        objd_close(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static objd_conn *conn;
        static uint64_t n_objects, used;
        objd_stats stats;

        if (!size)
                return 0;
        if (!conn) {
                conn = store();
                must(objd_stats_get(conn, &stats) == OBJD_OK);
                n_objects = stats.n_objects;
                used = stats.arena_used;
        }
        if (load(conn, data, size) == OBJD_OK) {
                once_more(conn);
                objd_close(conn);
                conn = NULL;
        } else {
                must(objd_stats_get(conn, &stats) == OBJD_OK);
                must(stats.n_objects == n_objects && stats.arena_used == used);
        }
        return 0;
}
