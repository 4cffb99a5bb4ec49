/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * line.h -- the lines of a dump, read and taken apart; what they mean together is load.c's
 */

#include <stdbool.h>
#include <stdio.h>

#include <json-c/json.h>

#include <objd.h>

#include "object/kind.h"

enum line_kind {
        LINE_VERSION,
        LINE_DECLARE,
        LINE_OBJECT,
        LINE_GONE,
        LINE_END,
        LINE_COUNT,
        LINE_ENTRY,
        LINE_PART
};

/* A line; what its kind does not have is 0. */
struct line {
        enum line_kind kind;
        struct json_object *json; /* the whole; LINE_ENTRY is an array, LINE_PART a string */
        uint64_t number;          /* VERSION: of the format; COUNT: of objects; others: the object's */
        objd_kind object_kind;
        objd_config config;
        const char *name;    /* NULL: none */
        const char *damaged; /* NULL: it is not */
        struct object_state state;
        bool has_len;
};

/* A file of lines, read one at a time. */
struct lines {
        FILE *f;
        const char *file; /* what it is called in sentences */
        uint64_t n;       /* of the line that was read last, from 1 on */
        char *text;
        size_t size, room;
        struct json_tokener *tokener;
};

/* @return OBJD_OK, OBJD_E_NOMEM */
objd_status lines_init(struct lines *lines, FILE *f, const char *file);
void lines_deinit(struct lines *lines);

/*
 * The next line; *ret_end at the end of the file. The line is to be given back with line_free().
 * @return OBJD_OK, OBJD_E_INVAL (with the line's number in the sentence), OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status lines_next(struct lines *lines, struct line *ret_line, bool *ret_end);
void line_free(struct line *line);

/* "FILE:LINE: ", then this. The line is the one that was read last, or another one. */
objd_status lines_fail(const struct lines *lines, objd_status status, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
objd_status lines_fail_at(const struct lines *lines, uint64_t line, objd_status status, const char *format,
                          ...) __attribute__((format(printf, 4, 5)));
