/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c -- the objects of a dump, into a store: which line may follow which
 */

#include "dumpload/load.h"

#include "base/status.h"
#include "dumpload/format.h"
#include "dumpload/load_object.h"

static objd_status check_version(const struct lines *lines, const struct line *line)
{
        if (line->kind != LINE_VERSION)
                return lines_fail(lines, OBJD_E_INVAL,
                                  "this is no dump of objd: it does not begin with {\"objd_dump\":%d}",
                                  FORMAT_VERSION);
        if (line->number != FORMAT_VERSION)
                return lines_fail(lines, OBJD_E_INVAL,
                                  "the dump is of format %llu, and this objd reads format %d",
                                  (unsigned long long)line->number, FORMAT_VERSION);
        return OBJD_OK;
}

/* The line at the end, which tells a whole file from one that has been cut between two lines. */
static objd_status check_count(const struct load *load, const struct line *line)
{
        if (line->number != load->len)
                return lines_fail(load->lines, OBJD_E_INVAL, "the dump counts %llu objects and has %zu",
                                  (unsigned long long)line->number, load->len);
        for (size_t i = 0; i < load->len; i++)
                if (load->objects[i].state == LOADED_DECLARED)
                        return lines_fail(load->lines, OBJD_E_INVAL,
                                          "object %zu was declared, and has not come", i + 1);
        return OBJD_OK;
}

static objd_status take_line(struct load *load, const struct line *line, bool *ret_complete)
{
        switch (line->kind) {
        case LINE_DECLARE:
                return load_declare(load, line);
        case LINE_OBJECT:
                return load_begin(load, line);
        case LINE_ENTRY:
                return load_entry(load, line);
        case LINE_PART:
                return load_part(load, line);
        case LINE_END:
                return load_end(load, line);
        case LINE_GONE:
                return load_gone(load, line);
        case LINE_COUNT:
                if (load->number)
                        break;
                *ret_complete = true;
                return check_count(load, line);
        case LINE_VERSION:
                break;
        }
        return lines_fail(load->lines, OBJD_E_INVAL, "a line of this kind cannot stand here");
}

static objd_status cut(const struct load *load)
{
        if (load->number)
                return lines_fail(load->lines, OBJD_E_INVAL,
                                  "the file ends in the middle of object %u: it has been cut", load->number);
        return lines_fail(load->lines, OBJD_E_INVAL, "the file ends without its last line: it has been cut");
}

static objd_status read_all(struct load *load, struct lines *lines)
{
        bool end = false, complete = false;
        objd_status r = OBJD_OK;

        while (r == OBJD_OK) {
                struct line line = { 0 };

                r = lines_next(lines, &line, &end);
                if (r || end)
                        break;
                if (lines->n == 1)
                        r = check_version(lines, &line);
                else if (complete)
                        r = lines_fail(lines, OBJD_E_INVAL, "there is more behind the end of the dump");
                else
                        r = take_line(load, &line, &complete);
                line_free(&line);
        }
        if (r == OBJD_OK && !complete)
                r = cut(load);
        return r;
}

/* Of two faults the first one counts, also if the store has not yet been asked about it when the second one is read. */
static objd_status read_until_fault(struct load *load, struct lines *lines)
{
        objd_status r = read_all(load, lines), first;
        char why[1024];

        if (r == OBJD_OK)
                return r;
        snprintf(why, sizeof(why), "%s", objd_last_error());
        first = load_flush(load);
        return first ? first : fail(r, "%s", why);
}

objd_status load_read(struct objd_conn *conn, FILE *f, const char *file, enum load_existing existing,
                      struct load_report *ret_report)
{
        struct load load = { .conn = conn, .existing = existing, .report = ret_report };
        struct lines lines;
        char why[1024] = "";
        objd_status r = lines_init(&lines, f, file);

        *ret_report = (struct load_report){ 0 };
        if (r)
                return r;
        if (objd_is_read_only(conn)) {
                lines_deinit(&lines);
                return fail(
                        OBJD_E_ACCESS,
                        "%s: nothing can be loaded by who only reads; connect as a user, or with a key, that may write",
                        file);
        }
        load.lines = &lines;
        r = read_until_fault(&load, &lines);
        if (r == OBJD_OK)
                r = load_publish(&load);
        if (r)
                snprintf(why, sizeof(why), "%s", objd_last_error());
        load_deinit(&load);
        lines_deinit(&lines);
        return r ? fail(r, "%s", why) : OBJD_OK;
}
