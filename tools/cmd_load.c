/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_load.c -- objctl load: the objects of a dump, into the store
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dumpload/load.h"
#include "objctl.h"
#include "dumpload/text.h"

static int say(const struct load_report *report)
{
        printf("%" PRIu64 " objects loaded", report->n_loaded);
        if (report->n_skipped)
                printf(", %" PRIu64 " skipped", report->n_skipped);
        fputc('\n', stdout);
        if (!report->n_damaged)
                return EXIT_OK;
        complain("%" PRIu64 " objects were damaged when the dump was made, and are not in it",
                 report->n_damaged);
        return EXIT_NO;
}

static int run(const struct request *request, objd_conn *conn)
{
        const char *path = request->n_args ? request->args[0] : "-";
        bool is_file = strcmp(path, "-") != 0;
        enum load_existing existing = request->replace         ? LOAD_REPLACE
                                      : request->skip_existing ? LOAD_SKIP
                                                               : LOAD_REFUSE;
        struct load_report report;
        objd_status r;
        FILE *f;

        if (request->replace && request->skip_existing)
                return bad_usage(request, "--replace and --skip-existing cannot both be");
        f = is_file ? fopen(path, "re") : stdin;
        if (!f) {
                complain("cannot open %s: %s", path, strerror(errno));
                return EXIT_NO;
        }
        r = load_read(conn, f, is_file ? path : "stdin", existing, &report);
        if (is_file)
                (void)fclose(f); /* nothing was written */
        return r ? answer(r) : say(&report);
}

const struct verb verb_load = {
        .name = "load",
        .args = "[FILE]",
        .summary = "makes the objects of a dump again",
        .help = "Reads a dump that \"objctl dump --json\" has written, from FILE or stdin, and makes its\n"
                "objects. They appear only when all of the file has been read and was right: if anything\n"
                "is wrong, the line is named and nothing is loaded. If there is an object with one of\n"
                "their names, nothing is loaded either, unless an option says which of the two stays.\n",
        .example = "  $ objctl dump --json --atomic > store.dump\n"
                   "  $ objctl -u shm:other load store.dump\n"
                   "  3 objects loaded\n",
        .options = "XS",
        .min_args = 0,
        .max_args = 1,
        .run = run,
};
