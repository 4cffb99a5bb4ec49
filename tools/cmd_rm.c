/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_rm.c -- objctl rm: deletes objects
 */

#include <limits.h>

#include "objctl.h"
#include "dumpload/objects.h"

static int remove_one(objd_conn *conn, const char *name)
{
        AUTO_HANDLE *object = NULL;
        objd_status r;

        if (name[0] != '#')
                return answer(objd_delete(conn, name));
        r = objects_open(conn, name, OBJD_KIND_ANY, &object);
        return answer(r ? r : objd_destroy(object));
}

static int run(const struct request *request, objd_conn *conn)
{
        int code = EXIT_OK;

        for (int i = 0; i < request->n_args; i++)
                code |= remove_one(conn, request->args[i]);
        return code;
}

const struct verb verb_rm = {
        .name = "rm",
        .args = "NAME...",
        .summary = "deletes objects",
        .help = "Deletes the objects with all that is in them. Those that are there are deleted also if\n"
                "others are not; then the exit status is 1.\n",
        .example = "  $ objctl rm ages urgent\n",
        .options = "",
        .min_args = 1,
        .max_args = INT_MAX,
        .run = run,
};
