/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_check.c -- objctl check: whether everything in the store is as it should be, and making it so
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dumpload/json.h"
#include "dumpload/text.h"
#include "object/repair.h"
#include "inspect.h"

/* A line: what was done, if anything was, to which object, and why. */
static void say(const struct request *request, const char *deed, const char *object, const char *sentence)
{
        if (request->json) {
                fputs("{\"object\":", stdout);
                json_write_text(stdout, object);
                if (deed)
                        printf(",\"deed\":\"%s\"", deed);
                fputs(",\"fault\":", stdout);
                json_write_text(stdout, sentence);
                fputs("}\n", stdout);
                return;
        }
        text_write_escaped(stdout, object, strlen(object));
        fputs(": ", stdout);
        if (deed)
                printf("%s: ", deed);
        text_write_escaped(stdout, sentence, strlen(sentence));
        fputc('\n', stdout);
}

static void print(void *context, struct json_object *fault)
{
        int64_t n = inspect_number(fault, "faults");

        if (json_object_object_get(fault, "fault"))
                say(context, NULL, inspect_text(fault, "object"), inspect_text(fault, "fault"));
        else if (n)
                printf("%" PRId64 " fault%s\n", n, n == 1 ? "" : "s");
        else
                printf("no faults\n");
}

static int check(const struct request *request, objd_conn *conn)
{
        const struct report report = { .what = REPORT_CHECK };

        return request->json ? inspect(conn, &report) : inspect_each(conn, &report, print, (void *)request);
}

/* ---- Repair --------------------------------------------------------------------------------------------- */

static bool header_was_mended;

void check_say_header(void *context, const char *sentence)
{
        header_was_mended = true;
        say(context, repair_deed_name(REPAIR_MENDED), "(header)", sentence);
}

static void report_deed(void *context, enum repair_deed deed, const char *object, const char *sentence)
{
        say(context, repair_deed_name(deed), object, sentence);
}

static int repair(struct request *request, objd_conn *conn)
{
        struct repair_result result = { 0 };
        objd_status r = repair_arena(conn, report_deed, request, &result);

        if (r)
                return answer(r);
        if (request->json)
                printf("{\"mended\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"faults\":%" PRIu64 "}\n",
                       result.n_mended, result.n_lost, result.n_left);
        else if (result.n_left)
                printf("%" PRIu64 " fault%s left\n", result.n_left, result.n_left == 1 ? " is" : "s are");
        else if (result.n_lost)
                printf("no faults any more, but something is lost\n");
        else
                printf("no faults%s\n", result.n_mended || header_was_mended ? " any more" : "");
        return result.n_left ? EXIT_NO : result.n_lost ? EXIT_LOST : EXIT_OK;
}

static int run(const struct request *request, objd_conn *conn)
{
        struct request copy = *request;

        return request->repair ? repair(&copy, conn) : check(&copy, conn);
}

const struct verb verb_check = {
        .name = "check",
        .args = "[--repair]",
        .summary = "looks for damage in the whole store",
        .help = "Finishes what dead processes left, then walks every structure of the store, and says\n"
                "what is wrong, one fault a line. The store may be in use; each object is kept from\n"
                "changing while it is looked at. The exit status is 1 if there is a fault.\n"
                "\n"
                "With --repair, what is wrong is put right, and each thing that was done is said: what was\n"
                "mended without a loss, of which object only a part could be kept (salvaged), and what had\n"
                "to be dropped. Nobody else may have the store meanwhile: stop its daemon and its clients\n"
                "first. A repair that is killed is finished by the next one. The exit status is 0 if\n"
                "nothing is lost, 4 if something is, 1 if faults are left or the store is in use.\n",
        .example = "  $ objctl check\n"
                   "  no faults\n",
        .options = "P",
        .min_args = 0,
        .max_args = 0,
        .run = run,
};
