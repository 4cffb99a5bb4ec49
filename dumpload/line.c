/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line.c -- the lines of a dump, read and taken apart
 *
 * A line is never longer than FORMAT_LINE_MAX, so json-c's tree of one needs no more memory than some such pieces. Fields
 * that nobody knows are refused: what is not understood would be lost without a word.
 */

#include "dumpload/line.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "dumpload/format.h"
#include "dumpload/json.h"
#include "dumpload/names.h"

#define FIRST_ROOM 4096u

objd_status lines_init(struct lines *lines, FILE *f, const char *file)
{
        *lines = (struct lines){ .f = f, .file = file, .tokener = json_tokener_new() };
        if (!lines->tokener)
                return fail(OBJD_E_NOMEM, "no memory to read %s", file);
        json_tokener_set_flags(lines->tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        return OBJD_OK;
}

void lines_deinit(struct lines *lines)
{
        if (lines->tokener)
                json_tokener_free(lines->tokener);
        free(lines->text);
        *lines = (struct lines){ 0 };
}

static objd_status say(const struct lines *lines, uint64_t line, objd_status status, const char *format,
                       va_list args)
{
        char why[1024];

        vsnprintf(why, sizeof(why), format, args);
        return fail(status, "%s:%llu: %s", lines->file, (unsigned long long)line, why);
}

objd_status lines_fail(const struct lines *lines, objd_status status, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        (void)say(lines, lines->n, status, format, args);
        va_end(args);
        return status;
}

objd_status lines_fail_at(const struct lines *lines, uint64_t line, objd_status status, const char *format,
                          ...)
{
        va_list args;

        va_start(args, format);
        (void)say(lines, line, status, format, args);
        va_end(args);
        return status;
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

static objd_status add_byte(struct lines *lines, char byte)
{
        if (lines->size == lines->room) {
                size_t room = lines->room ? 2 * lines->room : FIRST_ROOM;
                char *text;

                if (lines->size >= FORMAT_LINE_MAX)
                        return lines_fail(lines, OBJD_E_INVAL,
                                          "the line has more than %u bytes, and no dump has",
                                          FORMAT_LINE_MAX);
                text = realloc(lines->text, room);
                if (!text)
                        return lines_fail(lines, OBJD_E_NOMEM, "no memory for the line");
                lines->text = text;
                lines->room = room;
        }
        lines->text[lines->size++] = byte;
        return OBJD_OK;
}

/* The text of a line, with a 0 in the place of its newline. */
static objd_status read_text(struct lines *lines, bool *ret_end)
{
        int byte;

        lines->size = 0;
        lines->n++;
        while ((byte = getc_unlocked(lines->f)) != EOF && byte != '\n') {
                objd_status r = add_byte(lines, (char)byte);

                if (r)
                        return r;
        }
        if (byte == EOF && ferror(lines->f))
                return lines_fail(lines, OBJD_E_SYS, "cannot read: %s", strerror(errno));
        if (byte == EOF && lines->size)
                return lines_fail(lines, OBJD_E_INVAL,
                                  "the file ends in the middle of this line: it has been cut");
        *ret_end = byte == EOF;
        return byte == EOF ? OBJD_OK : add_byte(lines, '\0');
}

/* ---- Fields ------------------------------------------------------------------------------------------- */

#define IN(kind) (1u << (kind))
#define HEADS (IN(LINE_DECLARE) | IN(LINE_OBJECT))

static bool take_number(struct json_object *json, uint64_t *ret)
{
        if (!json_object_is_type(json, json_type_int) || json_object_get_int64(json) < 0)
                return false;
        *ret = json_object_get_uint64(json);
        return true;
}

/* A field may only say yes: what is not so is left out. */
static bool take_true(struct json_object *json, bool *ret)
{
        *ret = json_object_is_type(json, json_type_boolean) && json_object_get_boolean(json);
        return *ret;
}

/* A text without a 0 in it. */
static bool take_text(struct json_object *json, const char **ret)
{
        if (!json_object_is_type(json, json_type_string))
                return false;
        *ret = json_object_get_string(json);
        return strlen(*ret) == (size_t)json_object_get_string_len(json);
}

static bool take_kind(struct json_object *json, objd_kind *ret)
{
        const struct kind *kind;
        const char *name;

        if (!take_text(json, &name))
                return false;
        kind = kind_by_name(name);
        if (kind)
                *ret = kind->kind;
        return kind;
}

static bool take_type(struct json_object *json, objd_type *ret)
{
        const char *name;

        return take_text(json, &name) && type_by_name(name, ret);
}

static bool take_order(struct json_object *json, objd_order *ret)
{
        const char *name;

        return take_text(json, &name) && order_by_name(name, ret);
}

static bool take_flag(struct json_object *json, uint32_t flag, struct line *line)
{
        bool yes;

        if (!take_true(json, &yes))
                return false;
        line->config.lock_flags |= flag;
        return true;
}

enum field {
        FIELD_NUMBER,
        FIELD_NAME,
        FIELD_KIND,
        FIELD_KEY_TYPE,
        FIELD_VALUE_TYPE,
        FIELD_ORDER,
        FIELD_BOUND,
        FIELD_RECURSIVE,
        FIELD_OWNERLESS,
        FIELD_LEN,
        FIELD_UNFINISHED,
        FIELD_CLOSED,
        FIELD_POISONED,
        FIELD_TOKEN,
        FIELD_TAKEN,
        FIELD_DAMAGED
};

/* The field that a line begins with says what it is: those with a kind of line of their own. */
static const struct {
        const char *name;
        enum field field;
        unsigned lines;
} fields[] = {
        { "objd_dump", FIELD_NUMBER, IN(LINE_VERSION) },
        { "declare", FIELD_NUMBER, IN(LINE_DECLARE) },
        { "object", FIELD_NUMBER, IN(LINE_OBJECT) },
        { "gone", FIELD_NUMBER, IN(LINE_GONE) },
        { "end", FIELD_NUMBER, IN(LINE_END) },
        { "objects", FIELD_NUMBER, IN(LINE_COUNT) },
        { "name", FIELD_NAME, HEADS },
        { "kind", FIELD_KIND, HEADS },
        { "key_type", FIELD_KEY_TYPE, HEADS },
        { "value_type", FIELD_VALUE_TYPE, HEADS },
        { "order", FIELD_ORDER, HEADS },
        { "bound", FIELD_BOUND, HEADS },
        { "recursive", FIELD_RECURSIVE, HEADS },
        { "ownerless", FIELD_OWNERLESS, HEADS },
        { "len", FIELD_LEN, IN(LINE_OBJECT) },
        { "unfinished", FIELD_UNFINISHED, IN(LINE_OBJECT) },
        { "closed", FIELD_CLOSED, IN(LINE_OBJECT) },
        { "poisoned", FIELD_POISONED, IN(LINE_OBJECT) },
        { "token", FIELD_TOKEN, IN(LINE_OBJECT) },
        { "taken", FIELD_TAKEN, IN(LINE_OBJECT) },
        { "damaged", FIELD_DAMAGED, IN(LINE_END) | IN(LINE_GONE) },
};

#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

static bool take_field(enum field field, struct json_object *json, struct line *line)
{
        switch (field) {
        case FIELD_NUMBER:
                return take_number(json, &line->number);
        case FIELD_NAME:
                return take_text(json, &line->name);
        case FIELD_KIND:
                return take_kind(json, &line->object_kind);
        case FIELD_KEY_TYPE:
                return take_type(json, &line->config.key_type);
        case FIELD_VALUE_TYPE:
                return take_type(json, &line->config.value_type);
        case FIELD_ORDER:
                return take_order(json, &line->config.order);
        case FIELD_BOUND:
                return take_number(json, &line->config.bound);
        case FIELD_RECURSIVE:
                return take_flag(json, OBJD_LOCK_RECURSIVE, line);
        case FIELD_OWNERLESS:
                return take_flag(json, OBJD_LOCK_OWNERLESS, line);
        case FIELD_LEN:
                return line->has_len = take_number(json, &line->state.len);
        case FIELD_UNFINISHED:
                return take_number(json, &line->state.unfinished);
        case FIELD_CLOSED:
                return take_true(json, &line->state.closed);
        case FIELD_POISONED:
                return take_true(json, &line->state.poisoned);
        case FIELD_TOKEN:
                return take_number(json, &line->state.token);
        case FIELD_TAKEN:
                return take_true(json, &line->state.taken);
        case FIELD_DAMAGED:
                return take_text(json, &line->damaged);
        }
        return false;
}

static objd_status take_named(const struct lines *lines, const char *name, struct json_object *json,
                              struct line *line)
{
        size_t i = 0;

        while (i < N_FIELDS && strcmp(fields[i].name, name) != 0)
                i++;
        if (i == N_FIELDS || !(fields[i].lines & IN(line->kind)))
                return lines_fail(lines, OBJD_E_INVAL, "there is no field \"%.64s\" in a line of this kind",
                                  name);
        if (!take_field(fields[i].field, json, line))
                return lines_fail(lines, OBJD_E_INVAL, "field \"%s\" has a value that makes no sense", name);
        return OBJD_OK;
}

static objd_status take_fields(const struct lines *lines, struct line *line)
{
        struct json_object_iterator at = json_object_iter_begin(line->json),
                                    end = json_object_iter_end(line->json);
        objd_status r = OBJD_OK;

        for (; r == OBJD_OK && !json_object_iter_equal(&at, &end); json_object_iter_next(&at))
                r = take_named(lines, json_object_iter_peek_name(&at), json_object_iter_peek_value(&at),
                               line);
        return r;
}

/* ---- Lines -------------------------------------------------------------------------------------------- */

static objd_status take_object(const struct lines *lines, struct line *line)
{
        size_t i = 0;
        objd_status r;

        while (i < N_FIELDS && !json_object_object_get_ex(line->json, fields[i].name, NULL))
                i++;
        if (i == N_FIELDS || fields[i].field != FIELD_NUMBER)
                return lines_fail(lines, OBJD_E_INVAL, "the line is none that a dump has");
        line->kind = (enum line_kind)__builtin_ctz(fields[i].lines);
        line->config = (objd_config)OBJD_CONFIG_INIT;
        r = take_fields(lines, line);
        if (r)
                return r;
        if ((IN(line->kind) & HEADS) && !line->object_kind)
                return lines_fail(lines, OBJD_E_INVAL, "the line does not say of which kind the object is");
        if (!json_object_object_get_ex(line->json, "unfinished", NULL))
                line->state.unfinished = line->state.len;
        return OBJD_OK;
}

static objd_status take_apart(const struct lines *lines, struct line *line)
{
        switch (json_object_get_type(line->json)) {
        case json_type_array:
                line->kind = LINE_ENTRY;
                return OBJD_OK;
        case json_type_string:
                line->kind = LINE_PART;
                return OBJD_OK;
        case json_type_object:
                return take_object(lines, line);
        default:
                return lines_fail(lines, OBJD_E_INVAL, "the line is none that a dump has");
        }
}

static objd_status parse(struct lines *lines, struct line *line)
{
        json_tokener_reset(lines->tokener);
        line->json = json_tokener_parse_ex(lines->tokener, lines->text, (int)lines->size);
        if (json_tokener_get_error(lines->tokener) != json_tokener_success ||
            json_tokener_get_parse_end(lines->tokener) != lines->size - 1)
                return lines_fail(lines, OBJD_E_INVAL, "byte %zu: the line is no JSON (%s)",
                                  json_tokener_get_parse_end(lines->tokener) + 1,
                                  json_tokener_error_desc(json_tokener_get_error(lines->tokener)));
        if (!json_check_numbers(lines->text, lines->size - 1))
                return lines_fail(lines, OBJD_E_INVAL, "a number has more than 64 bits");
        return take_apart(lines, line);
}

objd_status lines_next(struct lines *lines, struct line *ret_line, bool *ret_end)
{
        struct line line = { 0 };
        objd_status r = read_text(lines, ret_end);

        if (r || *ret_end)
                return r;
        r = parse(lines, &line);
        if (r) {
                line_free(&line);
                return r;
        }
        *ret_line = line;
        return OBJD_OK;
}

void line_free(struct line *line)
{
        json_object_put(line->json);
        *line = (struct line){ 0 };
}
