/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_dump.c -- objctl dump: what is in the store
 */

#include "inspect.h"

static int run(const struct request *request, objd_conn *conn)
{
        const struct report report = {
                .what = request->json ? REPORT_DUMP : REPORT_TEXT,
                .object = request->n_args ? request->args[0] : NULL,
                .limit = request->limit,
                .atomic = request->atomic,
        };

        if (request->json && request->limit != UINT64_MAX)
                return bad_usage(request, "--limit is for a dump that people read");
        if (!request->json && request->atomic)
                return bad_usage(request, "--atomic is for a dump in JSON");
        return inspect(conn, &report);
}

const struct verb verb_dump = {
        .name = "dump",
        .args = "[NAME]",
        .summary = "what is in the store, or in one object",
        .help = "Prints an object, or all of them, with its entries. NAME may be #PLACE.SERIAL, as a\n"
                "dump shows it, for an object that has no name. \n"
                "With --json, everything that \"objctl load\" needs to make the same objects again,\n"
                "exactly: all that have names and what they refer to, or NAME and what it refers to.\n"
                "Each object is as of one moment; with --atomic all of them are as of the same one.\n"
                "Writers wait meanwhile, and readers go on; how long is said on stderr.\n",
        .example = "  $ objctl dump wordcount.counts --limit 2\n"
                   "  wordcount.counts  dict  197334 entries  24.4 MiB  #4259904.3\n"
                   "    \"the\": 1304433\n"
                   "    \"license\": 20713\n"
                   "    ... and 197332 more\n",
        .options = "lA",
        .min_args = 0,
        .max_args = 1,
        .run = run,
};
