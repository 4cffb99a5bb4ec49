/* SPDX-License-Identifier: Apache-2.0 */

/*
 * parse.c -- keys, values and indices from the command line
 */

#include "parse.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "dumpload/names.h"

static int no_value(const char *text, const char *why)
{
        complain("\"%.80s\" is no value: %s", text, why);
        return EXIT_USAGE;
}

static int parse_bool(const char *text, struct given *given)
{
        bool yes = strcmp(text, "true") == 0;

        if (!yes && strcmp(text, "false") != 0)
                return no_value(text, "a bool is true or false");
        given->value = objd_bool(yes);
        return EXIT_OK;
}

static int parse_nil(const char *text, struct given *given)
{
        if (*text && strcmp(text, "null") != 0 && strcmp(text, "nil") != 0)
                return no_value(text, "nil is null, nil or an empty word");
        given->value = objd_nil();
        return EXIT_OK;
}

static int parse_int(const char *text, struct given *given)
{
        int64_t integer;
        char *end;

        errno = 0;
        integer = strtoll(text, &end, 10);
        if (end == text || *end)
                return no_value(text, "an int is decimal digits");
        if (errno)
                return no_value(text, "an int has 64 bits");
        given->value = objd_int(integer);
        return EXIT_OK;
}

static int parse_float(const char *text, struct given *given)
{
        double real;
        char *end;

        real = strtod(text, &end);
        if (end == text || *end)
                return no_value(text, "a float is a number, inf or nan");
        given->value = objd_float(real);
        return EXIT_OK;
}

/* Hex and base64 are both shorter as bytes than as text. */
static int parse_bytes(const char *text, struct given *given)
{
        bool hex = strncmp(text, "0x", 2) == 0, base64 = strncmp(text, "base64:", 7) == 0;
        const char *digits = hex ? text + 2 : text + 7, *end = "";
        size_t size = strlen(text), n = 0;
        int bad = 0;

        if (!hex && !base64) {
                given->value = objd_bytes(text, size);
                return EXIT_OK;
        }
        given->memory = malloc(size);
        if (!given->memory)
                return no_value(text, "there is no memory for it");
        if (hex)
                bad = sodium_hex2bin(given->memory, size, digits, strlen(digits), NULL, &n, &end);
        else
                bad = sodium_base642bin(given->memory, size, digits, strlen(digits), NULL, &n, &end,
                                        sodium_base64_VARIANT_ORIGINAL);
        if (bad || *end)
                return no_value(text, hex ? "its hex digits make no bytes" : "its base64 makes no bytes");
        given->value = objd_bytes(given->memory, n);
        return EXIT_OK;
}

static int parse_json(const char *text, struct given *given)
{
        const char *why;

        return json_read_value(text, given, &why) ? EXIT_OK : no_value(text, why);
}

/* Without a type: what is JSON is read as that, other words are text. */
static int guess(const char *text, struct given *given)
{
        const char *why;

        if (json_is_valid(text)) {
                if (json_read_value(text, given, &why))
                        return EXIT_OK;
                complain("\"%.80s\" is no value: %s; --type str takes the text itself", text, why);
                return EXIT_USAGE;
        }
        given->value = objd_cstr(text);
        return EXIT_OK;
}

static int parse_as(const char *text, objd_type type, struct given *given)
{
        switch (type) {
        case OBJD_ANY:
                return guess(text, given);
        case OBJD_NIL:
                return parse_nil(text, given);
        case OBJD_BOOL:
                return parse_bool(text, given);
        case OBJD_INT:
                return parse_int(text, given);
        case OBJD_FLOAT:
                return parse_float(text, given);
        case OBJD_STR:
                given->value = objd_cstr(text);
                return EXIT_OK;
        case OBJD_BYTES:
                return parse_bytes(text, given);
        case OBJD_ARRAY:
        case OBJD_MESSAGE:
        case OBJD_REF:
                return parse_json(text, given);
        }
        return no_value(text, "the object's declared type is unknown");
}

int parse_value(const char *text, const char *type, objd_type declared, struct given *ret_given)
{
        struct given given = { 0 };
        objd_type as = declared;
        int code;

        if (type && strcmp(type, "json") == 0) {
                code = parse_json(text, &given);
        } else if (type && !type_by_name(type, &as)) {
                complain("there is no type \"%s\"; there are nil, bool, int, float, str, bytes and json",
                         type);
                code = EXIT_USAGE;
        } else {
                code = parse_as(text, as, &given);
        }
        if (code) {
                given_free(&given);
                return code;
        }
        *ret_given = given;
        return EXIT_OK;
}

int parse_index(const char *text, int64_t *ret_index)
{
        int64_t index;
        char *end;

        errno = 0;
        index = strtoll(text, &end, 10);
        if (errno || end == text || *end) {
                complain("\"%.80s\" is no index: those are whole numbers, negative ones from the end", text);
                return EXIT_USAGE;
        }
        *ret_index = index;
        return EXIT_OK;
}
