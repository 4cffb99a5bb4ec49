/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * report.h -- what can be said of a store that is mapped: its costs, its clients, its locks, its faults, all that is in it
 *
 * objctl makes a report itself where it has the mapping, and otherwise the daemon makes it, by the same functions, and sends what
 * they write. So a report is lines: of JSON, but for REPORT_TEXT, which is for people. Complaints are apart from them: what is not
 * in the report, and why.
 */

#include <stdbool.h>
#include <stdio.h>

#include <objd.h>

/* The numbers go over the wire, and never change: schema/objd.proto has the same. */
enum report_what {
        REPORT_STATS = 1,   /* one object of JSON */
        REPORT_CLIENTS = 2, /* one for each process that uses the store */
        REPORT_LOCKS = 3,   /* one for each lock that is taken, and each line that is held */
        REPORT_CHECK = 4,   /* one for each fault, and one with their number */
        REPORT_DUMP = 5,    /* docs/dump-format.md */
        REPORT_TEXT = 6     /* objects with their entries, for people */
};

struct report {
        enum report_what what;
        const char *object;       /* DUMP, TEXT: its name, or "#place.serial"; NULL: all */
        uint64_t limit;           /* TEXT: of entries of an object */
        bool atomic;              /* DUMP */
        const char *store;        /* STATS: the url by which clients of this machine reach it */
        bool has_daemon;          /* STATS */
        const bool *is_cancelled; /* nobody wants it any more; NULL: somebody does */
        FILE *f;
        void (*complain)(const struct report *report, const char *sentence);
        void *context; /* complain's */
};

/* Whether somebody on the other side may ask for such a report. */
bool report_is_one(uint32_t what);

/*
 * Writes the report to its file, which the caller flushes and closes. The connection's time-out may be another one afterwards. False: the
 * store's answer is no (a fault, no such object); then there has been a complaint, except for faults, or the file has an error.
 */
bool report_write(struct objd_conn *conn, const struct report *report);

/* ---- Between the reports' own files --------------------------------------------------------------------- */

/* True for OBJD_OK; else complains with the library's sentence. */
bool report_answer(const struct report *report, objd_status status);
void report_complain(const struct report *report, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Nobody reads on, or nobody is there any more. */
bool report_is_over(const struct report *report);

bool report_clients(struct objd_conn *conn, const struct report *report);
bool report_locks(struct objd_conn *conn, const struct report *report);
bool report_text(struct objd_conn *conn, const struct report *report);
