/* SPDX-License-Identifier: Apache-2.0 */

/*
 * report_stream.c -- a report with its complaints and its end as one stream of bytes, and apart again
 */

#include "dumpload/report_stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

#define MARK_COMPLAINT 1
#define MARK_GOOD 2
#define MARK_BAD 3

/* ---- Out ------------------------------------------------------------------------------------------------- */

/* It is one line, whatever stands in it. */
static void write_complaint(const struct report *report, const char *sentence)
{
        fputc(MARK_COMPLAINT, report->f);
        for (; *sentence; sentence++)
                fputc((unsigned char)*sentence < 0x20 ? ' ' : *sentence, report->f);
        fputc('\n', report->f);
}

void report_stream(struct objd_conn *conn, struct report *report)
{
        bool good;

        report->complain = write_complaint;
        good = report_write(conn, report);
        fputc(good ? MARK_GOOD : MARK_BAD, report->f);
        fputc('\n', report->f);
}

/* ---- In -------------------------------------------------------------------------------------------------- */

void report_lines_init(struct report_lines *lines, report_line_fn fn, void *context)
{
        *lines = (struct report_lines){ .fn = fn, .context = context };
}

void report_lines_deinit(struct report_lines *lines)
{
        free(lines->line);
}

static objd_status grow(struct report_lines *lines, size_t more)
{
        size_t room = lines->room ? lines->room : 4096;
        char *line;

        while (room < lines->size + more + 1)
                room *= 2;
        if (room == lines->room)
                return OBJD_OK;
        line = realloc(lines->line, room);
        if (!line)
                return fail(OBJD_E_NOMEM, "no memory for a line of %zu bytes", lines->size + more);
        lines->line = line;
        lines->room = room;
        return OBJD_OK;
}

/* The line is whole, with its newline. */
static objd_status take_line(struct report_lines *lines)
{
        char *text = lines->line;
        size_t size = lines->size;

        lines->size = 0;
        text[size] = '\0';
        if (lines->is_complete)
                return fail(OBJD_E_PROTO, "there is more behind the end of the report");
        switch (text[0]) {
        case MARK_COMPLAINT:
                text[size - 1] = '\0';
                return lines->fn(lines->context, REPORT_COMPLAINT, text + 1, size - 2);
        case MARK_GOOD:
        case MARK_BAD:
                lines->is_complete = true;
                return lines->fn(lines->context, text[0] == MARK_GOOD ? REPORT_GOOD : REPORT_BAD, text, 0);
        default:
                return lines->fn(lines->context, REPORT_LINE, text, size);
        }
}

objd_status report_lines_add(struct report_lines *lines, const void *bytes, size_t size)
{
        const char *at = bytes;

        while (size) {
                const char *newline = memchr(at, '\n', size);
                size_t n = newline ? (size_t)(newline - at) + 1 : size;
                objd_status r = grow(lines, n);

                if (r)
                        return r;
                memcpy(lines->line + lines->size, at, n);
                lines->size += n;
                at += n;
                size -= n;
                r = newline ? take_line(lines) : OBJD_OK;
                if (r)
                        return r;
        }
        return OBJD_OK;
}
