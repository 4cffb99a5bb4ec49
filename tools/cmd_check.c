/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_check.c -- objctl check: whether everything in the store is as it should be
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dumpload/json.h"
#include "object/check.h"
#include "text.h"

static void report(void *context, const char *object, const char *sentence)
{
        const struct request *request = context;

        if (request->json) {
                fputs("{\"object\":", stdout);
                json_write_text(stdout, object);
                fputs(",\"fault\":", stdout);
                json_write_text(stdout, sentence);
                fputs("}\n", stdout);
                return;
        }
        text_write_escaped(stdout, object, strlen(object));
        fputs(": ", stdout);
        text_write_escaped(stdout, sentence, strlen(sentence));
        fputc('\n', stdout);
}

static int run(const struct request *request, objd_conn *conn)
{
        struct request copy = *request;
        uint64_t n_errors;
        objd_status r;

        r = check_arena(conn, report, &copy, &n_errors);
        if (r)
                return answer(r);
        if (request->json)
                printf("{\"faults\":%" PRIu64 "}\n", n_errors);
        else if (n_errors)
                printf("%" PRIu64 " fault%s\n", n_errors, n_errors == 1 ? "" : "s");
        else
                printf("no faults\n");
        return n_errors ? EXIT_NO : EXIT_OK;
}

const struct verb verb_check = {
        .name = "check",
        .args = "",
        .summary = "looks for damage in the whole store",
        .help = "Finishes what dead processes left, then walks every structure of the store, and says\n"
                "what is wrong, one fault a line. The store may be in use; each object is kept from\n"
                "changing while it is looked at. The exit status is 1 if there is a fault.\n",
        .example = "  $ objctl check\n"
                   "  no faults\n",
        .options = "",
        .min_args = 0,
        .max_args = 0,
        .run = run,
};
