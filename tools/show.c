/* SPDX-License-Identifier: Apache-2.0 */

/*
 * show.c -- the answer of verbs that give one value
 */

#include "show.h"

#include <stdio.h>

#include "dumpload/json.h"
#include "dumpload/text.h"

static bool has_bytes(const objd_value *value)
{
        return value->type == OBJD_STR || value->type == OBJD_BYTES || value->type == OBJD_ARRAY ||
               value->type == OBJD_MESSAGE;
}

int show_value(const struct request *request, const objd_value *value)
{
        if (request->raw && has_bytes(value)) {
                fwrite(value->data, 1, value->size, stdout);
                return EXIT_OK;
        }
        if (request->json)
                json_write_value(stdout, value);
        else
                text_write_plain(stdout, value);
        fputc('\n', stdout);
        return EXIT_OK;
}
