/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_get.c -- objctl get: one value
 */

#include <inttypes.h>
#include <stdio.h>

#include "dumpload/names.h"
#include "dumpload/objects.h"
#include "parse.h"
#include "show.h"

static int get_from_dict(const struct request *request, objd_object *dict, const objd_info *info)
{
        AUTO_BUF buf = OBJD_BUF_INIT;
        AUTO_GIVEN key = { 0 };
        objd_value value;
        objd_status r;
        int code;

        code = parse_value(request->args[1], request->key_type, info->config.key_type, &key);
        if (code)
                return code;
        r = objd_dict_get(dict, &key.value, &value, &buf);
        return r ? answer(r) : show_value(request, &value);
}

static int get_from_list(const struct request *request, objd_object *list)
{
        AUTO_BUF buf = OBJD_BUF_INIT;
        objd_value value;
        int64_t index;
        objd_status r;
        int code;

        code = parse_index(request->args[1], &index);
        if (code)
                return code;
        r = objd_list_get(list, index, &value, &buf);
        return r ? answer(r) : show_value(request, &value);
}

static int get_from_queue(const struct request *request, objd_object *queue)
{
        AUTO_BUF buf = OBJD_BUF_INIT;
        objd_value value;
        objd_status r = objd_queue_peek(queue, &value, &buf);

        return r ? answer(r) : show_value(request, &value);
}

static int get_from_lock(const struct request *request, objd_object *lock)
{
        uint64_t token;
        int64_t pid;
        bool taken;
        objd_status r = objd_lock_owner(lock, &taken, &pid, &token);

        if (r)
                return answer(r);
        if (request->json)
                printf("{\"taken\":%s,\"pid\":%" PRId64 ",\"token\":%" PRIu64 "}\n", taken ? "true" : "false",
                       pid, token);
        else if (!taken)
                printf("free, last token %" PRIu64 "\n", token);
        else if (!pid)
                printf("taken, token %" PRIu64 "\n", token);
        else
                printf("taken by process %" PRId64 ", token %" PRIu64 "\n", pid, token);
        return EXIT_OK;
}

static int get_len(const objd_info *info)
{
        printf("%" PRIu64 "\n", info->len);
        return EXIT_OK;
}

static int run(const struct request *request, objd_conn *conn)
{
        AUTO_HANDLE *object = NULL;
        bool keyed = request->n_args > 1;
        objd_info info;
        objd_status r;

        r = objects_open(conn, request->args[0], OBJD_KIND_ANY, &object);
        if (!r)
                r = objd_info_get(object, &info);
        if (r)
                return answer(r);
        if (info.kind == OBJD_DICT)
                return keyed ? get_from_dict(request, object, &info) : get_len(&info);
        if (info.kind == OBJD_LIST)
                return keyed ? get_from_list(request, object) : get_len(&info);
        if (keyed)
                return bad_usage(request, "a %s has no keys", kind_name(info.kind));
        if (info.kind == OBJD_QUEUE)
                return get_from_queue(request, object);
        return get_from_lock(request, object);
}

const struct verb verb_get = {
        .name = "get",
        .args = "NAME [KEY|INDEX]",
        .summary = "one value",
        .help = "Prints the value of a dict's KEY, or the item at a list's INDEX (negative: from its\n"
                "end). Without KEY or INDEX: how many entries a dict or list has, the item that is next\n"
                "in a queue, who has a lock. A str is printed as it is, bytes as 0x and hex digits.\n",
        .example = "  $ objctl get wordcount.counts the\n"
                   "  1304433\n"
                   "  $ objctl get jobs -1 --json\n"
                   "  \"the last one\"\n",
        .options = "kr",
        .min_args = 1,
        .max_args = 2,
        .run = run,
};
