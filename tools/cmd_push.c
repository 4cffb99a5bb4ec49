/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_push.c -- objctl push: one more item at an end of a list
 */

#include "dumpload/objects.h"
#include "parse.h"

static int run(const struct request *request, objd_conn *conn)
{
        AUTO_HANDLE *list = NULL;
        AUTO_GIVEN value = { 0 };
        objd_info info;
        objd_status r;
        int code;

        r = objects_open(conn, request->args[0], OBJD_LIST, &list);
        if (!r)
                r = objd_info_get(list, &info);
        if (r)
                return answer(r);
        code = parse_value(request->args[1], request->type, info.config.value_type, &value);
        if (code)
                return code;
        return answer(request->front ? objd_list_prepend(list, &value.value)
                                     : objd_list_append(list, &value.value));
}

const struct verb verb_push = {
        .name = "push",
        .args = "LIST VALUE",
        .summary = "adds an item to a list",
        .help = "Appends VALUE to the list, or puts it before all others.\n\n" PARSE_HELP,
        .example = "  $ objctl push jobs 'the last one'\n",
        .options = "tf",
        .min_args = 2,
        .max_args = 2,
        .run = run,
};
