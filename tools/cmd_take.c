/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_take.c -- objctl take: the next item of a queue
 */

#include "dumpload/objects.h"
#include "show.h"

static int run(const struct request *request, objd_conn *conn)
{
        AUTO_HANDLE *queue = NULL;
        AUTO_BUF buf = OBJD_BUF_INIT;
        objd_value value;
        objd_status r;

        r = objects_open(conn, request->args[0], OBJD_QUEUE, &queue);
        if (!r)
                r = objd_queue_get(queue, &value, &buf, request->timeout_ns);
        return r ? answer(r) : show_value(request, &value);
}

const struct verb verb_take = {
        .name = "take",
        .args = "QUEUE",
        .summary = "takes the next item of a queue",
        .help = "Takes the next item out of the queue and prints it. If there is none, and none comes\n"
                "within --timeout, the exit status is 1.\n",
        .example = "  $ objctl take urgent --timeout 2.5\n"
                   "  call home\n",
        .options = "wr",
        .min_args = 1,
        .max_args = 1,
        .run = run,
};
