/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_locks.c -- objctl locks: who holds what
 *
 * Two kinds of lock: the objects of kind lock that somebody has taken, for as long as he likes; and the
 * lines that an operation is changing right now, which are held for microseconds unless their holder has
 * been stopped. The second are read from the lanes, without a lock: what is shown was so a moment ago.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dumpload/json.h"
#include "dumpload/names.h"
#include "object/object.h"
#include "object/op.h"
#include "objects.h"
#include "text.h"

/* ---- Objects of kind lock ----------------------------------------------------------------------------- */

static void print_taken(const struct request *request, const char *label, int64_t pid, uint64_t token)
{
        if (request->json) {
                fputs("{\"lock\":", stdout);
                json_write_text(stdout, label);
                printf(",\"pid\":%" PRId64 ",\"token\":%" PRIu64 "}\n", pid, token);
                return;
        }
        fputs("lock ", stdout);
        text_write_escaped(stdout, label, strlen(label));
        if (pid)
                printf(": taken by process %" PRId64 ", token %" PRIu64 "\n", pid, token);
        else
                printf(": taken, token %" PRIu64 "\n", token);
}

static objd_status show_lock(const struct request *request, objd_conn *conn, objd_ref ref)
{
        AUTO_HANDLE *lock = NULL;
        char label[OBJD_NAME_MAX + 1];
        uint64_t token;
        int64_t pid;
        bool taken;
        objd_status r;

        r = objd_open_ref(conn, ref, OBJD_LOCK, &lock);
        if (!r)
                r = objd_lock_owner(lock, &taken, &pid, &token);
        if (!r && taken) {
                objects_label(conn, ref, label);
                print_taken(request, label, pid, token);
        }
        return r;
}

static int show_locks(const struct request *request, objd_conn *conn)
{
        int code = EXIT_OK;
        objd_ref *refs;
        objd_status r;
        size_t len;

        r = objects_list(conn, OBJD_LOCK, &refs, &len);
        if (r)
                return answer(r);
        for (size_t i = 0; i < len && !ferror(stdout); i++) {
                r = show_lock(request, conn, refs[i]);
                if (r && r != OBJD_E_KIND && r != OBJD_E_GONE && r != OBJD_E_NOTFOUND)
                        code |= answer(r);
        }
        free(refs);
        return code;
}

/* ---- Lines -------------------------------------------------------------------------------------------- */

struct held {
        uint64_t line; /* offset */
        uint32_t lane;
        uint64_t word;
};

static bool has_line(const struct arena *arena, uint64_t off)
{
        return arena_at(arena, off, LINE_SIZE) || off == arena_off(arena, &arena->header->pool.line);
}

/*
 * The object that a line belongs to: large dicts have lines besides their object's, and all say its serial.
 */
static objd_ref owner_of(objd_conn *conn, uint64_t off)
{
        const struct line_shm *line = (const struct line_shm *)(conn->arena->base + off);
        objd_ref owner = { .place = off, .serial = word_get(&line->serial) }, *refs;
        size_t len;

        if (objects_list(conn, OBJD_KIND_ANY, &refs, &len))
                return owner;
        for (size_t i = 0; i < len; i++)
                if (refs[i].serial == owner.serial)
                        owner = refs[i];
        free(refs);
        return owner;
}

static void name_line(objd_conn *conn, uint64_t off, char ret_name[OBJD_NAME_MAX + 1])
{
        if (off == arena_off(conn->arena, &conn->arena->header->pool.line))
                strcpy(ret_name, "(the pool)");
        else if (off == conn->arena->header->names)
                strcpy(ret_name, "(the names)");
        else
                objects_label(conn, owner_of(conn, off), ret_name);
}

static const char *operation_name(const struct lane_shm *lane)
{
        uint32_t operation = half_get(&lane->operation);

        return operation < N_OPS && op_name[operation] ? op_name[operation] : "?";
}

/* Pids of those who say that they wait for the line. */
static void print_waiters(const struct request *request, const struct arena *arena, uint64_t off)
{
        uint64_t high = word_get(&arena->header->lanes_high);
        int n = 0;

        for (uint32_t i = 1; i < high && i < N_LANES; i++) {
                const struct lane_shm *lane = arena_lane(arena, i);

                if (!half_get(&lane->claimed) || word_get(&lane->waits_for) != off)
                        continue;
                if (request->json)
                        printf("%s%" PRId64, n ? "," : "", lane->pid);
                else
                        printf("%s%" PRId64, n ? ", " : "; waiting: process ", lane->pid);
                n++;
        }
}

static void print_line(const struct request *request, objd_conn *conn, const struct held *held)
{
        const struct lane_shm *lane = arena_lane(conn->arena, held->lane);
        const bool writing = held->word & LOCK_WRITING;
        char name[OBJD_NAME_MAX + 1];

        name_line(conn, held->line, name);
        if (request->json) {
                fputs("{\"line\":", stdout);
                json_write_text(stdout, name);
                printf(",\"offset\":%" PRIu64 ",\"pid\":%" PRId64 ",\"tid\":%" PRId64
                       ",\"writing\":%s,\"operation\":\"%s\"",
                       held->line, lane->pid, lane->tid, writing ? "true" : "false", operation_name(lane));
                fputs(",\"waiting\":[", stdout);
                print_waiters(request, conn->arena, held->line);
                fputs("]}\n", stdout);
                return;
        }
        fputs("line of ", stdout);
        text_write_escaped(stdout, name, strlen(name));
        printf(": %s by process %" PRId64 " (%s)", writing ? "locked" : "frozen", lane->pid,
               operation_name(lane));
        print_waiters(request, conn->arena, held->line);
        fputc('\n', stdout);
}

/* The lines that this lane says it holds or is about to take, and whose words say that it does. */
static size_t collect(const struct arena *arena, uint32_t number, struct held held[LANE_LOCKS])
{
        const struct lane_shm *lane = arena_lane(arena, number);
        uint32_t n_locks = half_get(&lane->n_locks);
        size_t n = 0;

        for (uint32_t i = 0; i < n_locks && i < LANE_LOCKS; i++) {
                uint64_t off = word_get(&lane->locks[i]), word;

                if (!has_line(arena, off))
                        continue;
                word = word_get(&((const struct line_shm *)(arena->base + off))->word);
                if (lock_lane(word) == number)
                        held[n++] = (struct held){ .line = off, .lane = number, .word = word };
        }
        return n;
}

static void show_lines(const struct request *request, objd_conn *conn)
{
        uint64_t high = word_get(&conn->arena->header->lanes_high);
        struct held held[LANE_LOCKS];

        for (uint32_t i = 1; i < high && i < N_LANES; i++) {
                size_t n = collect(conn->arena, i, held);

                for (size_t j = 0; j < n && !ferror(stdout); j++)
                        print_line(request, conn, &held[j]);
        }
}

static int run(const struct request *request, objd_conn *conn)
{
        /* A line that is stuck is what one wants to see; waiting for it would be no help. */
        objd_status r = objd_set_timeout(conn, OBJD_NOWAIT);
        int code;

        if (r)
                return answer(r);
        code = show_locks(request, conn);
        show_lines(request, conn);
        return code;
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
