/* SPDX-License-Identifier: Apache-2.0 */

/*
 * describe.c -- what an object is, in words and in JSON
 */

#include "describe.h"

#include <inttypes.h>

#include "dumpload/json.h"
#include "dumpload/names.h"
#include "dumpload/text.h"

const char *describe_kind(const objd_info *info)
{
        static char text[64];

        if (!info->poisoned)
                return kind_name(info->kind);
        snprintf(text, sizeof(text), "%s (poisoned)", kind_name(info->kind));
        return text;
}

static void describe_lock(struct table *table, uint32_t flags)
{
        table_cell(table, "%s%s%s", flags & OBJD_LOCK_RECURSIVE ? "recursive" : "",
                   flags & OBJD_LOCK_RECURSIVE && flags & OBJD_LOCK_OWNERLESS ? ", " : "",
                   flags & OBJD_LOCK_OWNERLESS ? "ownerless" : "");
}

static void describe_queue(struct table *table, const objd_config *config)
{
        const char *order = config->order == OBJD_FIFO ? "" : order_name(config->order);
        const char *type = config->value_type == OBJD_ANY ? "" : type_name(config->value_type);
        char bound[TEXT_SHORT] = "";

        if (config->bound)
                snprintf(bound, sizeof(bound), "at most %" PRIu64, config->bound);
        table_cell(table, "%s%s%s%s%s", type, *type && (*order || *bound) ? ", " : "", order,
                   *order && *bound ? ", " : "", bound);
}

void describe_config_cell(struct table *table, const objd_info *info)
{
        const objd_config *config = &info->config;

        if (info->kind == OBJD_LOCK)
                describe_lock(table, config->lock_flags);
        else if (info->kind == OBJD_QUEUE)
                describe_queue(table, config);
        else if (info->kind == OBJD_DICT && (config->key_type != OBJD_ANY || config->value_type != OBJD_ANY))
                table_cell(table, "%s -> %s", type_name(config->key_type), type_name(config->value_type));
        else
                table_cell(table, "%s", config->value_type == OBJD_ANY ? "" : type_name(config->value_type));
}

static void write_config(FILE *f, const objd_info *info)
{
        const objd_config *config = &info->config;

        if (info->kind == OBJD_LOCK) {
                fprintf(f, "{\"recursive\":%s,\"ownerless\":%s}",
                        config->lock_flags & OBJD_LOCK_RECURSIVE ? "true" : "false",
                        config->lock_flags & OBJD_LOCK_OWNERLESS ? "true" : "false");
                return;
        }
        fputc('{', f);
        if (info->kind == OBJD_DICT)
                fprintf(f, "\"key_type\":\"%s\",", type_name(config->key_type));
        fprintf(f, "\"value_type\":\"%s\"", type_name(config->value_type));
        if (info->kind == OBJD_QUEUE)
                fprintf(f, ",\"order\":\"%s\",\"bound\":%" PRIu64, order_name(config->order), config->bound);
        fputc('}', f);
}

void describe_json(FILE *f, const objd_info *info)
{
        fputs("{\"name\":", f);
        if (*info->name)
                json_write_text(f, info->name);
        else
                fputs("null", f);
        fprintf(f, ",\"ref\":\"%" PRIu64 ".%" PRIu64 "\",\"kind\":\"%s\",\"config\":", info->ref.place,
                info->ref.serial, kind_name(info->kind));
        write_config(f, info);
        fprintf(f, ",\"len\":%" PRIu64 ",\"memory\":%" PRIu64, info->len, info->memory);
        if (info->poisoned)
                fputs(",\"poisoned\":true", f);
}
