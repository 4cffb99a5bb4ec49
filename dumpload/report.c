/* SPDX-License-Identifier: Apache-2.0 */

/*
 * report.c -- what can be said of a store: costs, faults, a dump
 */

#include "dumpload/report.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdarg.h>

#include "arena/session.h"
#include "dumpload/dump.h"
#include "dumpload/json.h"
#include "dumpload/objects.h"
#include "object/check.h"
#include "object/object.h"
#include "rpc/refusals.h"

/* ---- What they share ------------------------------------------------------------------------------------- */

bool report_is_one(uint32_t what)
{
        return what >= REPORT_STATS && what <= REPORT_TEXT;
}

void report_complain(const struct report *report, const char *format, ...)
{
        char sentence[1024];
        va_list args;

        va_start(args, format);
        vsnprintf(sentence, sizeof(sentence), format, args);
        va_end(args);
        report->complain(report, sentence);
}

bool report_answer(const struct report *report, objd_status status)
{
        if (status)
                report->complain(report, objd_last_error());
        return status == OBJD_OK;
}

bool report_is_over(const struct report *report)
{
        return ferror(report->f) ||
               (report->is_cancelled && __atomic_load_n(report->is_cancelled, __ATOMIC_RELAXED));
}

/* ---- Costs ----------------------------------------------------------------------------------------------- */

/* Clients that work through the daemon, and what it says in the store that they cost it. */
static void add_proxied(struct arena *arena, struct json_object *o)
{
        uint64_t high = word_get(&arena->header->clients_high), n = 0, memory = 0, n_waiting = 0;

        for (uint32_t i = 1; i < high && i < N_CLIENTS; i++) {
                struct client_shm *client = arena_client(arena, i);

                if (!half_get_acquire(&client->claimed) || !(word_get(&client->flags) & CLIENT_IS_SESSION) ||
                    !session_is_alive(arena, client))
                        continue;
                n++;
                memory += word_get(&client->memory);
                n_waiting += word_get(&client->n_waiting);
        }
        json_object_object_add(o, "n_proxied", json_object_new_uint64(n));
        json_object_object_add(o, "proxied_memory", json_object_new_uint64(memory));
        json_object_object_add(o, "proxied_waiting", json_object_new_uint64(n_waiting));
}

/* What daemons have refused of those who work through them, since the store was made. */
static void add_refused(const struct arena *arena, struct json_object *o)
{
        struct json_object *refused = json_object_new_object();

        for (unsigned i = 0; i < REFUSALS; i++)
                json_object_object_add(refused, refusal_name(i),
                                       json_object_new_uint64(word_get(&arena->header->n_refused[i])));
        json_object_object_add(o, "refused", refused);
}

static bool report_stats(struct objd_conn *conn, const struct report *report)
{
        const struct header_shm *header = conn->arena->header;
        struct json_object *o;
        objd_stats s;

        if (!report_answer(report, objd_stats_get(conn, &s)))
                return false;
        o = json_object_new_object();
        json_object_object_add(o, "store", json_object_new_string(report->store));
        json_object_object_add(o, "daemon", json_object_new_boolean(report->has_daemon));
        json_object_object_add(o, "daemon_pid", json_object_new_int64(header->daemon_pid));
        json_object_object_add(o, "daemon_epoch", json_object_new_uint64(header->daemon_epoch));
        json_object_object_add(o, "created_ns", json_object_new_uint64(header->created_ns));
        json_object_object_add(o, "arena_size", json_object_new_uint64(s.arena_size));
        json_object_object_add(o, "arena_used", json_object_new_uint64(s.arena_used));
        json_object_object_add(o, "arena_resident", json_object_new_uint64(s.arena_resident));
        json_object_object_add(o, "arena_limit", json_object_new_uint64(s.arena_limit));
        json_object_object_add(o, "n_objects", json_object_new_uint64(s.n_objects));
        json_object_object_add(o, "n_clients", json_object_new_uint64(s.n_clients));
        json_object_object_add(o, "n_lanes", json_object_new_uint64(s.n_lanes));
        json_object_object_add(o, "n_reads", json_object_new_uint64(s.n_reads));
        json_object_object_add(o, "n_writes", json_object_new_uint64(s.n_writes));
        json_object_object_add(o, "n_recoveries", json_object_new_uint64(s.n_recoveries));
        add_proxied(conn->arena, o);
        add_refused(conn->arena, o);
        json_write_line(report->f, o);
        return true;
}

/* ---- Faults ---------------------------------------------------------------------------------------------- */

static void write_fault(void *context, const char *object, const char *sentence)
{
        const struct report *report = context;

        fputs("{\"object\":", report->f);
        json_write_text(report->f, object);
        fputs(",\"fault\":", report->f);
        json_write_text(report->f, sentence);
        fputs("}\n", report->f);
        (void)fflush(report->f); /* a large store takes its time; what fails is seen at the end */
}

static bool report_check(struct objd_conn *conn, const struct report *report)
{
        uint64_t n_errors;
        objd_status r = check_arena_until(conn, report->is_cancelled, write_fault, (void *)report, &n_errors);

        if (!report_answer(report, r))
                return false;
        fprintf(report->f, "{\"faults\":%" PRIu64 "}\n", n_errors);
        return n_errors == 0;
}

/* ---- A dump ---------------------------------------------------------------------------------------------- */

/* What of it is not for the dump's reader. */
static bool say_how_it_went(const struct report *report, const struct dump_report *done)
{
        if (report->atomic)
                report_complain(report, "all objects stood still for %.1f ms while they were copied",
                                (double)done->pause_ns / 1e6);
        if (done->n_damaged)
                report_complain(report, "%" PRIu64 " damaged objects are not in the dump; of the first: %s",
                                done->n_damaged, done->why);
        return done->n_damaged == 0;
}

static bool report_dump(struct objd_conn *conn, const struct report *report)
{
        struct dump_options options = { .atomic = report->atomic };
        objd_object *root = NULL;
        struct dump_report done;
        objd_status r = OBJD_OK;
        objd_ref ref;

        if (report->object) {
                r = objects_open(conn, report->object, OBJD_KIND_ANY, &root);
                if (!report_answer(report, r))
                        return false;
                ref = objd_ref_of(root);
                options.root = &ref;
        }
        r = dump_write(conn, report->f, &options, &done);
        objd_release(root);
        if (r && ferror(report->f))
                return false; /* whoever has the file knows why */
        return report_answer(report, r) && say_how_it_went(report, &done);
}

bool report_write(struct objd_conn *conn, const struct report *report)
{
        switch (report->what) {
        case REPORT_STATS:
                return report_stats(conn, report);
        case REPORT_CLIENTS:
                return report_clients(conn, report);
        case REPORT_LOCKS:
                return report_locks(conn, report);
        case REPORT_CHECK:
                return report_check(conn, report);
        case REPORT_DUMP:
                return report_dump(conn, report);
        case REPORT_TEXT:
                return report_text(conn, report);
        }
        report_complain(report, "there is no report %d", (int)report->what);
        return false;
}
