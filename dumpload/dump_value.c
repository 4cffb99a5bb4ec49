/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump_value.c -- values as they lie in a frozen object, in a dump
 *
 * The object stands still, but in an untrusted arena bytes may change all the same. So nothing is looked at twice in
 * place: small values are copied as a whole, large ones piece by piece.
 */

#include "dumpload/dump_value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arena/word.h"
#include "base/status.h"
#include "base/utf8.h"
#include "dumpload/format.h"
#include "dumpload/json.h"
#include "dumpload/names.h"
#include "object/value.h"

static_assert(sizeof(struct dump_value) > FORMAT_PART, "whatever is written whole fits");

/* Texts that are none could be written in some other form, but no store would take them back. */
static objd_status check_texts(const objd_value *value, bool large)
{
        if (value->type == OBJD_STR && !large && !utf8_is_valid(value->data, value->size))
                return fail(OBJD_E_CORRUPT, "a str is not UTF-8");
        if (value->type != OBJD_MESSAGE)
                return OBJD_OK;
        if (value->name_size > FORMAT_MESSAGE_NAME_MAX)
                return fail(OBJD_E_TOOBIG, "a message's name has %u bytes; in a dump it has at most %u",
                            value->name_size, FORMAT_MESSAGE_NAME_MAX);
        return utf8_is_valid(value->name, value->name_size)
                       ? OBJD_OK
                       : fail(OBJD_E_CORRUPT, "a message's name is not UTF-8");
}

objd_status dump_value_decode(struct dump_value *copy, objd_type type, const void *bytes, uint64_t size,
                              objd_value *ret_value, bool *ret_large)
{
        objd_status r;

        *ret_large = size > FORMAT_PART;
        if (!*ret_large)
                words_out(copy->words, bytes, size);
        r = value_decode(type, *ret_large ? bytes : copy->words, size, ret_value);
        return r ? r : check_texts(ret_value, *ret_large);
}

static objd_status write_message_name(FILE *f, const objd_value *value)
{
        char *name = malloc(value->name_size + 1);

        if (!name)
                return fail(OBJD_E_NOMEM, "no memory for a message's name");
        memcpy(name, value->name, value->name_size);
        fputs(",\"name\":", f);
        json_write_str(f, name, value->name_size);
        free(name);
        return OBJD_OK;
}

objd_status dump_value_head(FILE *f, const objd_value *value)
{
        objd_status r = OBJD_OK;

        fprintf(f, "{\"parts\":{\"type\":\"%s\"", type_name(value->type));
        if (value->type == OBJD_ARRAY) {
                fprintf(f, ",\"dtype\":\"%s\",\"shape\":[", dtype_name(value->dtype));
                for (uint32_t i = 0; i < value->ndim && i < OBJD_NDIM_MAX; i++)
                        fprintf(f, "%s%" PRIu64, i ? "," : "", value->shape[i]);
                fputc(']', f);
        }
        if (value->type == OBJD_MESSAGE)
                r = write_message_name(f, value);
        fprintf(f, ",\"size\":%zu}}", value->size);
        return r;
}

/* How much of the next `n` bytes of a text ends between two characters. */
static size_t whole_characters(const char *piece, size_t n)
{
        size_t back = 0;

        /* The last character's first byte is at most three bytes before its end. */
        while (back < n && back < 4 && ((uint8_t)piece[n - 1 - back] & 0xc0) == 0x80)
                back++;
        if (back < n && ((uint8_t)piece[n - 1 - back] & 0xc0) == 0xc0)
                return n - 1 - back;
        return n;
}

objd_status dump_value_parts(FILE *f, const objd_value *value)
{
        static _Thread_local char piece[FORMAT_PART];
        const char *data = value->data;

        for (size_t at = 0; at < value->size && !ferror(f);) {
                size_t left = value->size - at, n = left < sizeof(piece) ? left : sizeof(piece);

                memcpy(piece, data + at, n);
                if (value->type == OBJD_STR && n < left)
                        n = whole_characters(piece, n);
                if (value->type == OBJD_STR && (!n || !utf8_is_valid(piece, n)))
                        return fail(OBJD_E_CORRUPT, "a str is not UTF-8");
                if (value->type == OBJD_STR)
                        json_write_str(f, piece, n);
                else
                        json_write_base64(f, piece, n);
                fputc('\n', f);
                at += n;
        }
        return OBJD_OK;
}
