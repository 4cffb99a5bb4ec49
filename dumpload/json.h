/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * json.h -- values as JSON, and back, without loss
 *
 *     nil          null                        bool   true, false
 *     int          1                           float  1.0  2.5e-300 (17 digits, never an integer's form)
 *     str          "text"
 *     a float that is no number                {"float":"inf"} "-inf" "nan", or "0x" and 16 digits
 *     bytes        {"bytes":"<base64>"}
 *     array        {"array":{"dtype":"f64","shape":[2,3],"data":"<base64>"}}     (little-endian)
 *     message      {"message":{"name":"package.Name","data":"<base64>"}}
 *     ref          {"ref":"place.serial"}
 *     a str of a damaged store that is not UTF-8      {"str":"<base64>"}
 */

#include <stdbool.h>
#include <stdio.h>

#include <json-c/json.h>

#include <objd.h>

/* A value and the memory that it points into. */
struct given {
        objd_value value;
        void *memory;
        struct json_object *json;
};

void given_free(struct given *given);
#define AUTO_GIVEN __attribute__((cleanup(given_free))) struct given

/* Writes a value, in pieces if it is large. A write that fails is seen by ferror(). */
void json_write_value(FILE *f, const objd_value *value);

/* Writes text as a JSON string; bytes that are no UTF-8 become U+FFFD. */
void json_write_text(FILE *f, const char *text);

/* Writes a whole JSON object on a line of its own, and releases it. */
void json_write_line(FILE *f, struct json_object *object);

/*
 * Makes a value of JSON text in one of the forms above. On failure *ret_why is why not. Numbers that are
 * integers beyond 64 bits are refused.
 */
bool json_read_value(const char *text, struct given *ret_given, const char **ret_why);

/*
 * The same of JSON that has been parsed, and is kept for as long as the value. The text was looked through by
 * json_check_numbers().
 */
bool json_value_of(struct json_object *object, struct given *ret_given, const char **ret_why);

/* The parts of a large value: the inside of a JSON string, and base64 with its quotation marks. size is any. */
void json_write_str(FILE *f, const char *text, size_t size);
void json_write_base64(FILE *f, const void *data, size_t size);

/*
 * Whether every integer in a JSON text fits 64 bits, signed or not; json-c takes the nearest one for those that do not.
 */
bool json_check_numbers(const char *text, size_t size);

/* Whether the text is JSON at all. */
bool json_is_valid(const char *text);
