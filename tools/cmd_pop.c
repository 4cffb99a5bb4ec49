/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_pop.c -- objctl pop: an item out of a list
 */

#include "dumpload/objects.h"
#include "parse.h"
#include "show.h"

static int run(const struct request *request, objd_conn *conn)
{
        AUTO_HANDLE *list = NULL;
        AUTO_BUF buf = OBJD_BUF_INIT;
        int64_t index = request->front ? 0 : -1;
        objd_value value;
        objd_status r;
        int code;

        if (request->n_args > 1) {
                if (request->front)
                        return bad_usage(request, "pop takes an INDEX or --front, not both");
                code = parse_index(request->args[1], &index);
                if (code)
                        return code;
        }
        r = objects_open(conn, request->args[0], OBJD_LIST, &list);
        if (!r)
                r = objd_list_pop(list, index, &value, &buf);
        return r ? answer(r) : show_value(request, &value);
}

const struct verb verb_pop = {
        .name = "pop",
        .args = "LIST [INDEX]",
        .summary = "takes an item out of a list",
        .help = "Deletes the list's last item, its first one, or the one at INDEX, and prints it.\n",
        .example = "  $ objctl pop jobs\n"
                   "  the last one\n",
        .options = "fr",
        .min_args = 1,
        .max_args = 2,
        .run = run,
};
