/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_put.c -- objctl put: an item into a queue
 */

#include "dumpload/objects.h"
#include "parse.h"

static int run(const struct request *request, objd_conn *conn)
{
        AUTO_HANDLE *queue = NULL;
        AUTO_GIVEN value = { 0 };
        objd_info info;
        objd_status r;
        int code;

        r = objects_open(conn, request->args[0], OBJD_QUEUE, &queue);
        if (!r)
                r = objd_info_get(queue, &info);
        if (r)
                return answer(r);
        code = parse_value(request->args[1], request->type, info.config.value_type, &value);
        if (code)
                return code;
        if (request->has_priority)
                r = objd_queue_put_priority(queue, &value.value, request->priority, request->timeout_ns);
        else
                r = objd_queue_put(queue, &value.value, request->timeout_ns);
        return answer(r);
}

const struct verb verb_put = {
        .name = "put",
        .args = "QUEUE VALUE",
        .summary = "puts an item into a queue",
        .help = "Puts VALUE into the queue. If it is full and stays full for --timeout, the exit status\n"
                "is 1.\n\n" PARSE_HELP,
        .example = "  $ objctl put urgent 'call home' --priority -5\n",
        .options = "tpw",
        .min_args = 2,
        .max_args = 2,
        .run = run,
};
