/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * report_stream.h -- a report with its complaints and its end as one stream of bytes, and apart again
 *
 * Complaints and the end are lines, too, that begin with a byte which no other line begins with (docs/protocol.md).
 */

#include <stddef.h>

#include "dumpload/report.h"

enum report_line_kind { REPORT_LINE, REPORT_COMPLAINT, REPORT_GOOD, REPORT_BAD };

/* Writes the report, whose complain is set here, to its file, with all that belongs to it. */
void report_stream(struct objd_conn *conn, struct report *report);

/* text has a NUL behind it, which size does not count; a LINE has its newline. A status other than OBJD_OK is handed on. */
typedef objd_status (*report_line_fn)(void *context, enum report_line_kind kind, char *text, size_t size);

/* Bytes in any pieces, as lines. */
struct report_lines {
        report_line_fn fn;
        void *context;
        char *line;
        size_t size, room;
        bool is_complete; /* the last line has come */
};

void report_lines_init(struct report_lines *lines, report_line_fn fn, void *context);
void report_lines_deinit(struct report_lines *lines);

/* @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_PROTO, and what fn says */
objd_status report_lines_add(struct report_lines *lines, const void *bytes, size_t size);
