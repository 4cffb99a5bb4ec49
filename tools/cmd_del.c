/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_del.c -- objctl del: an entry of a dict, an item of a list
 */

#include "dumpload/names.h"
#include "dumpload/objects.h"
#include "parse.h"

static int del_from_dict(const struct request *request, objd_object *dict, const objd_info *info)
{
        AUTO_GIVEN key = { 0 };
        int code;

        code = parse_value(request->args[1], request->key_type, info->config.key_type, &key);
        return code ? code : answer(objd_dict_del(dict, &key.value));
}

static int del_from_list(const struct request *request, objd_object *list)
{
        int64_t index;
        int code;

        code = parse_index(request->args[1], &index);
        return code ? code : answer(objd_list_del(list, index));
}

static int run(const struct request *request, objd_conn *conn)
{
        AUTO_HANDLE *object = NULL;
        objd_info info;
        objd_status r;

        r = objects_open(conn, request->args[0], OBJD_KIND_ANY, &object);
        if (!r)
                r = objd_info_get(object, &info);
        if (r)
                return answer(r);
        if (info.kind == OBJD_DICT)
                return del_from_dict(request, object, &info);
        if (info.kind == OBJD_LIST)
                return del_from_list(request, object);
        return bad_usage(request, "a %s has no keys; objctl rm deletes whole objects", kind_name(info.kind));
}

const struct verb verb_del = {
        .name = "del",
        .args = "NAME KEY|INDEX",
        .summary = "deletes an entry or an item",
        .help = "Deletes a dict's KEY with its value, or the item at a list's INDEX.\n",
        .example = "  $ objctl del config retries\n",
        .options = "k",
        .min_args = 2,
        .max_args = 2,
        .run = run,
};
