/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_create.c -- objctl create: a new object
 */

#include "dumpload/names.h"
#include "object/kind.h"
#include "objctl.h"

static int read_types(const struct request *request, objd_config *config)
{
        if (request->key_type && !type_by_name(request->key_type, &config->key_type))
                return bad_usage(request, "there is no type \"%s\"", request->key_type);
        if (request->value_type && !type_by_name(request->value_type, &config->value_type))
                return bad_usage(request, "there is no type \"%s\"", request->value_type);
        if (request->order && !order_by_name(request->order, &config->order))
                return bad_usage(request, "there is no order \"%s\"", request->order);
        config->bound = request->bound;
        if (request->recursive)
                config->lock_flags |= OBJD_LOCK_RECURSIVE;
        if (request->ownerless)
                config->lock_flags |= OBJD_LOCK_OWNERLESS;
        return EXIT_OK;
}

static int run(const struct request *request, objd_conn *conn)
{
        const struct kind *kind = kind_by_name(request->args[0]);
        objd_config config = OBJD_CONFIG_INIT;
        AUTO_HANDLE *object = NULL;
        int code;

        if (!kind)
                return bad_usage(request, "there is no kind \"%s\"", request->args[0]);
        code = read_types(request, &config);
        if (code)
                return code;
        return answer(objd_create(conn, request->args[1], kind->kind, &config, &object));
}

const struct verb verb_create = {
        .name = "create",
        .args = "KIND NAME",
        .summary = "makes a new object",
        .help = "Makes an object. KIND is dict, list, queue or lock. Options that do not concern the\n"
                "kind are refused.\n",
        .example = "  $ objctl create dict ages --key-type str --value-type int\n"
                   "  $ objctl create queue urgent --order priority --bound 100\n",
        .options = "kvobRO",
        .min_args = 2,
        .max_args = 2,
        .run = run,
};
