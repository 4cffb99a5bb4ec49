/* SPDX-License-Identifier: Apache-2.0 */

/*
 * objctl.c -- looks into a live store, and edits it: the table of verbs, reaching the store, the exit code
 */

#include "objctl.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arena/survive.h"
#include "object/object.h"
#include "options.h"
#include "reach.h"

const struct verb *const verbs[] = {
        &verb_ls,    &verb_dump,    &verb_load,  &verb_get,   &verb_set,    &verb_del,
        &verb_push,  &verb_pop,     &verb_put,   &verb_take,  &verb_create, &verb_rm,
        &verb_stats, &verb_clients, &verb_locks, &verb_check, &verb_keygen, NULL,
};

void complain(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        fputs("objctl: ", stderr);
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
        va_end(args);
}

int answer(objd_status status)
{
        if (!status)
                return EXIT_OK;
        complain("%s", objd_last_error());
        return EXIT_NO;
}

int bad_usage(const struct request *request, const char *format, ...)
{
        char sentence[512];
        va_list args;

        va_start(args, format);
        vsnprintf(sentence, sizeof(sentence), format, args);
        va_end(args);
        complain("%s; see objctl %s%s--help", sentence, request->verb ? request->verb->name : "",
                 request->verb ? " " : "");
        return EXIT_USAGE;
}

static void set_signals(void)
{
        struct sigaction ignore = { .sa_handler = SIG_IGN };

        /*
         * "objctl dump | head": the dump ends at the first write that fails, and leaves the store properly.
         */
        (void)sigaction(SIGPIPE, &ignore, NULL);
}

/* What was said must have arrived; a pipe that nobody reads any more needs no sentence. */
static int flush_output(int code)
{
        bool failed = ferror(stdout) != 0;

        if (fflush(stdout) || failed) {
                if (errno != EPIPE)
                        complain("cannot write the answer: %s", strerror(errno));
                return code ? code : EXIT_NO;
        }
        return code;
}

int main(int argc, char **argv)
{
        struct request request;
        objd_conn *conn;
        objd_status r;
        int code;

        set_signals();
        code = options_parse(argc, argv, &request);
        if (code >= 0)
                return flush_output(code);

        if (request.verb->without_store)
                return flush_output(request.verb->run(&request, NULL));

        r = request.repair ? reach_alone(request.url, check_say_header, &request, &conn)
                           : reach(request.url, &conn);
        if (r) {
                complain("%s", objd_last_error());
                return flush_output(r == OBJD_E_INVAL                    ? EXIT_USAGE
                                    : request.repair && r == OBJD_E_BUSY ? EXIT_NO
                                                                         : EXIT_UNREACHED);
        }
        if (conn->arena)
                survive_truncation(conn->arena);
        code = request.verb->run(&request, conn);
        code = flush_output(code);
        if (conn->arena && survive_was_cut(conn->arena)) {
                complain("somebody has cut the arena's file short; the store is damaged");
                code = EXIT_NO;
        }
        objd_close(conn);
        return code;
}
