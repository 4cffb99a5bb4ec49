/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_set.c -- objctl set: an entry of a dict, an item of a list
 */

#include "dumpload/names.h"
#include "dumpload/objects.h"
#include "parse.h"

static int set_in_dict(const struct request *request, objd_object *dict, const objd_info *info)
{
        AUTO_GIVEN key = { 0 }, value = { 0 };
        int code;

        code = parse_value(request->args[1], request->key_type, info->config.key_type, &key);
        if (!code)
                code = parse_value(request->args[2], request->type, info->config.value_type, &value);
        return code ? code : answer(objd_dict_set(dict, &key.value, &value.value));
}

static int set_in_list(const struct request *request, objd_object *list, const objd_info *info)
{
        AUTO_GIVEN value = { 0 };
        int64_t index;
        int code;

        code = parse_index(request->args[1], &index);
        if (!code)
                code = parse_value(request->args[2], request->type, info->config.value_type, &value);
        return code ? code : answer(objd_list_set(list, index, &value.value));
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
                return set_in_dict(request, object, &info);
        if (info.kind == OBJD_LIST)
                return set_in_list(request, object, &info);
        return bad_usage(request, "nothing can be set in a %s", kind_name(info.kind));
}

const struct verb verb_set = {
        .name = "set",
        .args = "NAME KEY|INDEX VALUE",
        .summary = "sets an entry or an item",
        .help = "Sets the value of a dict's KEY, or the item at a list's INDEX, which must be there.\n\n" PARSE_HELP,
        .example = "  $ objctl set config retries 3\n"
                   "  $ objctl set config zip 00123 --type str\n"
                   "  $ objctl set jobs -1 '\"42\"'\n",
        .options = "tk",
        .min_args = 3,
        .max_args = 3,
        .run = run,
};
