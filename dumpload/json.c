/* SPDX-License-Identifier: Apache-2.0 */

/*
 * json.c -- values as JSON, and back
 *
 * json-c writes strings and reads everything. Large strings and bytes are handed to it, or to libsodium's
 * base64, in pieces, so that a value of a gigabyte needs no second and third gigabyte here.
 */

#include "dumpload/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "dumpload/names.h"

#define FLOAT_NAN_BITS 0x7ff8000000000000ULL
#define BASE64 sodium_base64_VARIANT_ORIGINAL

/* A piece of base64 is a whole number of groups of three bytes, so pieces can be joined. */
#define PIECE (3u * 4096u)

void given_free(struct given *given)
{
        free(given->memory);
        json_object_put(given->json);
        *given = (struct given){ 0 };
}

/* ---- Writing ------------------------------------------------------------------------------------------ */

/* The inside of a JSON string. */
static void write_escaped(FILE *f, const char *text, size_t size)
{
        struct json_object *piece = json_object_new_string_len(text, (int)size);
        size_t length;
        const char *quoted;

        if (!piece)
                return;
        quoted = json_object_to_json_string_length(
                piece, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);
        if (quoted && length >= 2)
                fwrite(quoted + 1, 1, length - 2, f);
        json_object_put(piece);
}

/* text is UTF-8; a piece must not end within a character. */
void json_write_str(FILE *f, const char *text, size_t size)
{
        fputc('"', f);
        while (size) {
                size_t n = size < PIECE ? size : PIECE;

                while (n > 1 && n < size && ((uint8_t)text[n] & 0xc0) == 0x80)
                        n--;
                write_escaped(f, text, n);
                text += n;
                size -= n;
        }
        fputc('"', f);
}

void json_write_base64(FILE *f, const void *data, size_t size)
{
        const uint8_t *p = data;
        char text[PIECE / 3 * 4 + 1];

        fputc('"', f);
        while (size) {
                size_t n = size < PIECE ? size : PIECE;

                sodium_bin2base64(text, sizeof(text), p, n, BASE64);
                fputs(text, f);
                p += n;
                size -= n;
        }
        fputc('"', f);
}

static void write_tagged(FILE *f, const char *tag, const void *data, size_t size)
{
        fprintf(f, "{\"%s\":", tag);
        json_write_base64(f, data, size);
        fputc('}', f);
}

static void write_float(FILE *f, double real)
{
        char text[40];
        uint64_t bits;

        memcpy(&bits, &real, sizeof(bits));
        if (isnan(real) && bits != FLOAT_NAN_BITS) {
                fprintf(f, "{\"float\":\"0x%016" PRIx64 "\"}", bits);
        } else if (!isfinite(real)) {
                fprintf(f, "{\"float\":\"%s\"}", isnan(real) ? "nan" : real > 0 ? "inf" : "-inf");
        } else {
                snprintf(text, sizeof(text), "%.17g", real);
                fprintf(f, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
        }
}

static void write_array(FILE *f, const objd_value *value)
{
        uint32_t ndim = value->ndim < OBJD_NDIM_MAX ? value->ndim : OBJD_NDIM_MAX;

        fprintf(f, "{\"array\":{\"dtype\":\"%s\",\"shape\":[", dtype_name(value->dtype));
        for (uint32_t i = 0; i < ndim; i++)
                fprintf(f, "%s%" PRIu64, i ? "," : "", value->shape[i]);
        fputs("],\"data\":", f);
        json_write_base64(f, value->data, value->size);
        fputs("}}", f);
}

static void write_message(FILE *f, const objd_value *value)
{
        fputs("{\"message\":{\"name\":", f);
        if (utf8_is_valid(value->name, value->name_size))
                json_write_str(f, value->name, value->name_size);
        else
                fputs("null", f);
        fputs(",\"data\":", f);
        json_write_base64(f, value->data, value->size);
        fputs("}}", f);
}

void json_write_value(FILE *f, const objd_value *value)
{
        switch (value->type) {
        case OBJD_NIL:
        case OBJD_ANY:
                fputs("null", f);
                return;
        case OBJD_BOOL:
                fputs(value->u.boolean ? "true" : "false", f);
                return;
        case OBJD_INT:
                fprintf(f, "%" PRId64, value->u.integer);
                return;
        case OBJD_FLOAT:
                write_float(f, value->u.real);
                return;
        case OBJD_STR:
                if (utf8_is_valid(value->data, value->size))
                        json_write_str(f, value->data, value->size);
                else
                        write_tagged(f, "str", value->data, value->size);
                return;
        case OBJD_BYTES:
                write_tagged(f, "bytes", value->data, value->size);
                return;
        case OBJD_ARRAY:
                write_array(f, value);
                return;
        case OBJD_MESSAGE:
                write_message(f, value);
                return;
        case OBJD_REF:
                fprintf(f, "{\"ref\":\"%" PRIu64 ".%" PRIu64 "\"}", value->u.ref.place, value->u.ref.serial);
                return;
        }
        fputs("null", f);
}

void json_write_text(FILE *f, const char *text)
{
        const char *replacement = "\xef\xbf\xbd";
        size_t size = strlen(text);

        if (utf8_is_valid(text, size)) {
                json_write_str(f, text, size);
                return;
        }
        fputc('"', f);
        for (; *text; text++) {
                bool ascii = !((uint8_t)*text & 0x80);

                write_escaped(f, ascii ? text : replacement, ascii ? 1 : strlen(replacement));
        }
        fputc('"', f);
}

void json_write_line(FILE *f, struct json_object *object)
{
        fprintf(f, "%s\n",
                json_object_to_json_string_ext(object,
                                               JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(object);
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

/* The whole text as one JSON value; false if it is none. null gives a NULL object and true. */
static bool parse(const char *text, struct json_object **ret_object)
{
        struct json_tokener *tokener = json_tokener_new();
        struct json_object *object;
        size_t size = strlen(text);
        bool ok;

        if (!tokener)
                return false;
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        /* The terminator is part of what it reads: only it says that a number is over. */
        object = size < INT32_MAX ? json_tokener_parse_ex(tokener, text, (int)size + 1) : NULL;
        ok = size < INT32_MAX && json_tokener_get_error(tokener) == json_tokener_success &&
             json_tokener_get_parse_end(tokener) == size;
        json_tokener_free(tokener);
        if (!ok) {
                json_object_put(object);
                return false;
        }
        *ret_object = object;
        return true;
}

bool json_is_valid(const char *text)
{
        struct json_object *object;

        if (!parse(text, &object))
                return false;
        json_object_put(object);
        return true;
}

static bool read_base64(struct json_object *object, struct given *given, const char **ret_why)
{
        size_t size, n = 0;
        const char *end;

        *ret_why = "its data is no base64";
        if (!json_object_is_type(object, json_type_string))
                return false;
        size = (size_t)json_object_get_string_len(object);
        given->memory = malloc(size / 4 * 3 + 1);
        if (!given->memory) {
                *ret_why = "there is no memory for it";
                return false;
        }
        if (sodium_base642bin(given->memory, size / 4 * 3 + 1, json_object_get_string(object), size, NULL, &n,
                              &end, BASE64) ||
            end != json_object_get_string(object) + size)
                return false;
        given->value.data = given->memory;
        given->value.size = n;
        return true;
}

static bool read_bytes(struct json_object *object, struct given *given, const char **ret_why)
{
        if (!read_base64(object, given, ret_why))
                return false;
        given->value = objd_bytes(given->memory, given->value.size);
        return true;
}

static bool read_tagged_str(struct json_object *object, struct given *given, const char **ret_why)
{
        if (!read_base64(object, given, ret_why))
                return false;
        given->value = objd_str(given->memory, given->value.size);
        return true;
}

static bool read_tagged_float(struct json_object *object, struct given *given, const char **ret_why)
{
        const char *text = json_object_get_string(object);
        uint64_t bits;
        double real;
        int end = 0;

        *ret_why = "the float is none of \"inf\", \"-inf\", \"nan\" and \"0x\" with 16 digits";
        if (!json_object_is_type(object, json_type_string))
                return false;
        if (strcmp(text, "nan") == 0)
                bits = FLOAT_NAN_BITS;
        else if (strcmp(text, "inf") == 0)
                bits = 0x7ff0000000000000ULL;
        else if (strcmp(text, "-inf") == 0)
                bits = 0xfff0000000000000ULL;
        else if (sscanf(text, "0x%16" SCNx64 "%n", &bits, &end) != 1 || end != 18 || text[end])
                return false;
        memcpy(&real, &bits, sizeof(real));
        given->value = objd_float(real);
        return true;
}

static bool read_ref(struct json_object *object, struct given *given, const char **ret_why)
{
        const char *text = json_object_get_string(object);
        objd_ref ref;
        int end = 0;

        *ret_why = "a ref is \"place.serial\"";
        if (!json_object_is_type(object, json_type_string) ||
            sscanf(text, "%" SCNu64 ".%" SCNu64 "%n", &ref.place, &ref.serial, &end) != 2 || text[end])
                return false;
        given->value = objd_refer(ref);
        return true;
}

static bool read_message(struct json_object *object, struct given *given, const char **ret_why)
{
        struct json_object *name, *data;

        *ret_why = "a message has a \"name\" and \"data\"";
        if (!json_object_object_get_ex(object, "name", &name) ||
            !json_object_object_get_ex(object, "data", &data) || !json_object_is_type(name, json_type_string))
                return false;
        if (!read_base64(data, given, ret_why))
                return false;
        given->value = objd_message("", given->memory, given->value.size);
        given->value.name = json_object_get_string(name);
        given->value.name_size = (uint32_t)json_object_get_string_len(name);
        return true;
}

static bool read_shape(struct json_object *list, uint64_t shape[OBJD_NDIM_MAX], uint32_t *ret_ndim)
{
        size_t ndim;

        if (!json_object_is_type(list, json_type_array))
                return false;
        ndim = json_object_array_length(list);
        if (ndim > OBJD_NDIM_MAX)
                return false;
        for (size_t i = 0; i < ndim; i++) {
                struct json_object *n = json_object_array_get_idx(list, i);

                if (!json_object_is_type(n, json_type_int) || json_object_get_int64(n) < 0)
                        return false;
                shape[i] = json_object_get_uint64(n);
        }
        *ret_ndim = (uint32_t)ndim;
        return true;
}

static bool read_array(struct json_object *object, struct given *given, const char **ret_why)
{
        struct json_object *dtype_text, *shape_list, *data;
        uint64_t shape[OBJD_NDIM_MAX] = { 0 };
        objd_dtype dtype;
        uint32_t ndim;
        size_t size;

        *ret_why = "an array has a \"dtype\", a \"shape\" and \"data\"";
        if (!json_object_object_get_ex(object, "dtype", &dtype_text) ||
            !json_object_object_get_ex(object, "shape", &shape_list) ||
            !json_object_object_get_ex(object, "data", &data) ||
            !json_object_is_type(dtype_text, json_type_string) ||
            !dtype_by_name(json_object_get_string(dtype_text), &dtype) ||
            !read_shape(shape_list, shape, &ndim))
                return false;
        if (!read_base64(data, given, ret_why))
                return false;
        size = given->value.size;
        given->value = objd_array(dtype, ndim, shape, given->memory);
        *ret_why = "the array's data has another size than its shape says";
        return given->value.size == size;
}

static bool read_tagged(struct json_object *object, struct given *given, const char **ret_why)
{
        static const struct {
                const char *tag;
                bool (*read)(struct json_object *object, struct given *given, const char **ret_why);
        } tags[] = {
                { "bytes", read_bytes }, { "array", read_array },        { "message", read_message },
                { "ref", read_ref },     { "float", read_tagged_float }, { "str", read_tagged_str },
        };
        struct json_object *inside;

        *ret_why =
                "an object stands for a value only as {\"bytes\":...}, {\"array\":...}, {\"message\":...}, "
                "{\"ref\":...} or {\"float\":...}";
        if (json_object_object_length(object) != 1)
                return false;
        for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
                if (json_object_object_get_ex(object, tags[i].tag, &inside))
                        return tags[i].read(inside, given, ret_why);
        return false;
}

/* Behind a string that begins at `at`; size if it does not end. */
static size_t skip_string(const char *text, size_t size, size_t at)
{
        for (at++; at < size && text[at] != '"'; at++)
                if (text[at] == '\\')
                        at++;
        return at + 1;
}

static bool fits(const char *text, size_t n)
{
        char digits[24];

        /* No integer of 64 bits has more characters, and JSON knows no leading zeros. */
        if (n >= sizeof(digits))
                return false;
        memcpy(digits, text, n);
        digits[n] = '\0';
        errno = 0;
        if (*digits == '-')
                (void)strtoll(digits, NULL, 10);
        else
                (void)strtoull(digits, NULL, 10);
        return !errno;
}

bool json_check_numbers(const char *text, size_t size)
{
        for (size_t at = 0; at < size;) {
                size_t n = 0;

                if (text[at] == '"') {
                        at = skip_string(text, size, at);
                        continue;
                }
                while (at + n < size && text[at + n] && strchr("+-.0123456789eE", text[at + n]))
                        n++;
                if (n && !memchr(text + at, '.', n) && !memchr(text + at, 'e', n) &&
                    !memchr(text + at, 'E', n) && !fits(text + at, n))
                        return false;
                at += n ? n : 1;
        }
        return true;
}

static bool read_int(struct json_object *object, struct given *given, const char **ret_why)
{
        *ret_why = "it is an integer of more than 64 bits";
        if (json_object_get_int64(object) == INT64_MAX && json_object_get_uint64(object) != INT64_MAX)
                return false;
        given->value = objd_int(json_object_get_int64(object));
        return true;
}

static bool read_parsed(struct given *given, const char **ret_why)
{
        struct json_object *object = given->json;

        switch (json_object_get_type(object)) {
        case json_type_null:
                given->value = objd_nil();
                return true;
        case json_type_boolean:
                given->value = objd_bool(json_object_get_boolean(object));
                return true;
        case json_type_int:
                return read_int(object, given, ret_why);
        case json_type_double:
                given->value = objd_float(json_object_get_double(object));
                return true;
        case json_type_string:
                given->value =
                        objd_str(json_object_get_string(object), (size_t)json_object_get_string_len(object));
                return true;
        case json_type_object:
                return read_tagged(object, given, ret_why);
        case json_type_array:
                *ret_why = "a JSON list is no value; arrays of numbers are {\"array\":...}";
                return false;
        }
        return false;
}

bool json_read_value(const char *text, struct given *ret_given, const char **ret_why)
{
        struct given given = { 0 };

        if (!parse(text, &given.json)) {
                *ret_why = "it is no JSON";
                return false;
        }
        if (!json_check_numbers(text, strlen(text))) {
                *ret_why = "it is an integer of more than 64 bits";
                given_free(&given);
                return false;
        }
        if (!read_parsed(&given, ret_why)) {
                given_free(&given);
                return false;
        }
        *ret_given = given;
        return true;
}

bool json_value_of(struct json_object *object, struct given *ret_given, const char **ret_why)
{
        struct given given = { .json = json_object_get(object) };

        if (!read_parsed(&given, ret_why)) {
                given_free(&given);
                return false;
        }
        *ret_given = given;
        return true;
}
