/* SPDX-License-Identifier: Apache-2.0 */

/*
 * report_text.c -- what is in a store, for people
 *
 * Entries are written as the kind's walk hands them over, so no more of an object is held than one
 * entry; first come the objects that have names, by name, then the others.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arena/session.h"
#include "base/status.h"
#include "dumpload/names.h"
#include "dumpload/objects.h"
#include "dumpload/report.h"
#include "dumpload/text.h"
#include "object/kind.h"

/* How much of a value is shown to people. */
#define SHOWN_BYTES 200

struct dump {
        const struct report *report;
        FILE *f;
        uint64_t n; /* entries of the object under way, so far */
};

/* A reader that has gone away ends the walk. */
static objd_status unless_over(const struct dump *dump)
{
        return report_is_over(dump->report) ? fail(OBJD_E_SYS, "cannot write the answer") : OBJD_OK;
}

static objd_status write_entry(void *context, const objd_value *key, const objd_value *value)
{
        struct dump *dump = context;

        fputs("  ", dump->f);
        if (key)
                text_write_value(dump->f, key, SHOWN_BYTES);
        else
                fprintf(dump->f, "%" PRIu64, dump->n);
        fputs(": ", dump->f);
        text_write_value(dump->f, value, SHOWN_BYTES);
        fputc('\n', dump->f);
        dump->n++;
        return unless_over(dump);
}

static const char *entries(const objd_info *info)
{
        if (info->kind == OBJD_DICT)
                return info->len == 1 ? "entry" : "entries";
        return info->len == 1 ? "item" : "items";
}

static void write_head(FILE *f, const objd_info *info)
{
        char size[TEXT_SHORT], ref[TEXT_SHORT + 16];

        if (*info->name)
                text_write_escaped(f, info->name, strlen(info->name));
        else
                fputs("(no name)", f);
        fprintf(f, "  %s%s", kind_name(info->kind), info->poisoned ? " (poisoned)" : "");
        if (info->kind == OBJD_LOCK)
                fputs(info->len ? "  taken" : "  free", f);
        else
                fprintf(f, "  %" PRIu64 " %s", info->len, entries(info));
        fprintf(f, "  %s  %s\n", text_size(size, info->memory), text_ref(ref, info->ref));
}

/* The entries of an object that can be looked at; a poisoned one has only its head. */
static objd_status walk(struct dump *dump, objd_object *object, const objd_info *info)
{
        const struct kind *kind = kind_of(info->kind);

        dump->n = 0;
        if (!kind || !kind->walk || info->poisoned)
                return OBJD_OK;
        return kind->walk(object, dump->report->limit, write_entry, dump);
}

static bool dump_object(struct dump *dump, objd_object *object, const objd_info *info)
{
        objd_status r;

        write_head(dump->f, info);
        r = walk(dump, object, info);
        if (!r && info->kind != OBJD_LOCK && dump->n >= dump->report->limit && info->len > dump->n)
                fprintf(dump->f, "  ... and %" PRIu64 " more\n", info->len - dump->n);
        return report_is_over(dump->report) || report_answer(dump->report, r);
}

/* One whose holder does not let go has been waited for; were it the same for all, it would take hours. */
#define PATIENCE_LEFT_NS 50000000

static bool answer_held(struct dump *dump, objd_conn *conn, objd_status r)
{
        if (r == OBJD_E_BUSY)
                (void)objd_set_timeout(conn, PATIENCE_LEFT_NS); /* it is a good time-out */
        return report_answer(dump->report, r);
}

/* An object that has gone since it was listed is no reason to complain. */
static bool dump_ref(struct dump *dump, objd_conn *conn, objd_ref ref, bool anonymous_only)
{
        objd_object *object = NULL;
        objd_info info;
        objd_status r = objd_open_ref(conn, ref, OBJD_KIND_ANY, &object);
        bool good = true;

        if (!r)
                r = objd_info_get(object, &info);
        if (r && r != OBJD_E_GONE && r != OBJD_E_NOTFOUND)
                good = answer_held(dump, conn, r);
        else if (!r && !(anonymous_only && (*info.name || session_has_records(conn->arena, ref))))
                good = dump_object(dump, object, &info);
        objd_release(object);
        return good;
}

static bool dump_named(struct dump *dump, objd_conn *conn)
{
        objd_info *infos;
        bool good = true;
        objd_status r;
        size_t len;

        r = objd_list(conn, NULL, &infos, &len);
        if (!report_answer(dump->report, r))
                return false;
        for (size_t i = 0; i < len && !report_is_over(dump->report); i++)
                good = dump_ref(dump, conn, infos[i].ref, false) && good;
        objd_infos_free(infos);
        return good;
}

static bool dump_anonymous(struct dump *dump, objd_conn *conn)
{
        bool good = true;
        objd_ref *refs;
        objd_status r;
        size_t len;

        r = objects_list(conn, OBJD_KIND_ANY, &refs, &len);
        if (!report_answer(dump->report, r))
                return false;
        for (size_t i = 0; i < len && !report_is_over(dump->report); i++)
                good = dump_ref(dump, conn, refs[i], true) && good;
        free(refs);
        return good;
}

static bool dump_one(struct dump *dump, objd_conn *conn, const char *name)
{
        objd_object *object = NULL;
        objd_info info;
        objd_status r = objects_open(conn, name, OBJD_KIND_ANY, &object);
        bool good;

        if (!r)
                r = objd_info_get(object, &info);
        good = report_answer(dump->report, r) && dump_object(dump, object, &info);
        objd_release(object);
        return good;
}

bool report_text(struct objd_conn *conn, const struct report *report)
{
        struct dump dump = { .report = report, .f = report->f };
        bool good;

        if (report->object)
                return dump_one(&dump, conn, report->object);
        good = dump_named(&dump, conn);
        return dump_anonymous(&dump, conn) && good;
}
