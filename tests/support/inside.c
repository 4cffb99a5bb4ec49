/* SPDX-License-Identifier: Apache-2.0 */

/*
 * inside.c -- for tests that link the engine: an arena of the test's own, with the checker at its end
 */

#include "support/inside.h"

#include <stdio.h>

#include "arena/life.h"
#include "arena/session.h"
#include "object/check.h"
#include "object/object.h"
#include "support/test.h"

static void print_fault(void *context, const char *object, const char *sentence)
{
        (void)context;
        fprintf(stderr, "checker: %s: %s\n", object, sentence);
}

uint64_t inside_faults(objd_conn *conn)
{
        uint64_t n = 0;
        objd_status r = check_arena(conn, print_fault, NULL, &n);

        if (r)
                fprintf(stderr, "checker: %s: %s\n", objd_strerror(r), objd_last_error());
        return r ? UINT64_MAX : n;
}

void inside_check(objd_conn *conn)
{
        assert_int_equal(inside_faults(conn), 0);
}

int inside_setup(void **state)
{
        objd_conn *conn = NULL;

        assert_ok(objd_connect("embedded:2G", &conn));
        *state = conn;
        return 0;
}

int inside_teardown(void **state)
{
        inside_check(*state);
        objd_close(*state);
        return 0;
}

uint64_t inside_used(objd_conn *conn)
{
        objd_stats stats;

        assert_ok(objd_stats_get(conn, &stats));
        return stats.arena_used;
}

uint64_t inside_memory(objd_object *object)
{
        objd_info info;

        assert_ok(objd_info_get(object, &info));
        return info.memory;
}

objd_object *inside_dict(objd_conn *conn, const char *name)
{
        objd_object *dict = NULL;

        assert_ok(objd_create(conn, name, OBJD_DICT, NULL, &dict));
        return dict;
}

size_t inside_sessions(objd_conn *conn, pid_t pid, bool ends)
{
        struct arena *arena = conn->arena;
        uint64_t high = word_get(&arena->header->clients_high);
        size_t n = 0;

        for (uint32_t i = 1; i < high; i++) {
                struct client_shm *client = arena_client(arena, i);

                if (!half_get_acquire(&client->claimed) || !(word_get(&client->flags) & CLIENT_IS_SESSION) ||
                    (pid && client->pid != pid))
                        continue;
                n++;
                if (ends)
                        session_end(arena, id_make(i, client->generation));
        }
        return n;
}
