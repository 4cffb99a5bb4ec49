/* SPDX-License-Identifier: Apache-2.0 */

/*
 * report_locks.c -- who holds what
 *
 * Two kinds of lock: the objects of kind lock that somebody has taken, for as long as he likes; and the
 * lines that an operation is changing right now, which are held for microseconds unless their holder has
 * been stopped. The second are read from the lanes, without a lock: what is shown was so a moment ago.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dumpload/json.h"
#include "dumpload/names.h"
#include "dumpload/objects.h"
#include "dumpload/report.h"
#include "object/object.h"
#include "object/op.h"

/* ---- Objects of kind lock ----------------------------------------------------------------------------- */

static objd_status write_lock(objd_conn *conn, const struct report *report, objd_ref ref)
{
        char label[OBJD_NAME_MAX + 1];
        objd_object *lock = NULL;
        uint64_t token;
        int64_t pid;
        bool taken;
        objd_status r;

        r = objd_open_ref(conn, ref, OBJD_LOCK, &lock);
        if (!r)
                r = objd_lock_owner(lock, &taken, &pid, &token);
        if (!r && taken) {
                objects_label(conn, ref, label);
                fputs("{\"lock\":", report->f);
                json_write_text(report->f, label);
                fprintf(report->f, ",\"pid\":%" PRId64 ",\"token\":%" PRIu64 "}\n", pid, token);
        }
        objd_release(lock);
        return r;
}

static bool write_locks(objd_conn *conn, const struct report *report)
{
        objd_ref *refs;
        objd_status r;
        bool good = true;
        size_t len;

        r = objects_list(conn, OBJD_LOCK, &refs, &len);
        if (!report_answer(report, r))
                return false;
        for (size_t i = 0; i < len && !report_is_over(report); i++) {
                r = write_lock(conn, report, refs[i]);
                if (r && r != OBJD_E_KIND && r != OBJD_E_GONE && r != OBJD_E_NOTFOUND)
                        good = report_answer(report, r) && good;
        }
        free(refs);
        return good;
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
static void write_waiters(FILE *f, const struct arena *arena, uint64_t off)
{
        uint64_t high = word_get(&arena->header->lanes_high);
        int n = 0;

        for (uint32_t i = 1; i < high && i < N_LANES; i++) {
                const struct lane_shm *lane = arena_lane(arena, i);

                if (!half_get(&lane->claimed) || word_get(&lane->waits_for) != off)
                        continue;
                fprintf(f, "%s%" PRId64, n ? "," : "", lane->pid);
                n++;
        }
}

static void write_line(FILE *f, objd_conn *conn, const struct held *held)
{
        const struct lane_shm *lane = arena_lane(conn->arena, held->lane);
        const bool writing = held->word & LOCK_WRITING;
        char name[OBJD_NAME_MAX + 1];

        name_line(conn, held->line, name);
        fputs("{\"line\":", f);
        json_write_text(f, name);
        fprintf(f,
                ",\"offset\":%" PRIu64 ",\"pid\":%" PRId64 ",\"tid\":%" PRId64
                ",\"writing\":%s,\"operation\":\"%s\"",
                held->line, lane->pid, lane->tid, writing ? "true" : "false", operation_name(lane));
        fputs(",\"waiting\":[", f);
        write_waiters(f, conn->arena, held->line);
        fputs("]}\n", f);
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

static void write_lines(objd_conn *conn, const struct report *report)
{
        uint64_t high = word_get(&conn->arena->header->lanes_high);
        struct held held[LANE_LOCKS];

        for (uint32_t i = 1; i < high && i < N_LANES; i++) {
                size_t n = collect(conn->arena, i, held);

                for (size_t j = 0; j < n && !report_is_over(report); j++)
                        write_line(report->f, conn, &held[j]);
        }
}

bool report_locks(struct objd_conn *conn, const struct report *report)
{
        /* A line that is stuck is what one wants to see; waiting for it would be no help. */
        bool good = report_answer(report, objd_set_timeout(conn, OBJD_NOWAIT)) && write_locks(conn, report);

        write_lines(conn, report);
        return good;
}
