/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * parse.h -- keys, values and indices from the command line
 */

#include "dumpload/json.h"
#include "objctl.h"

/*
 * Makes a value of a word. type is the --type that was given, or NULL; then `declared`, the container's
 * type, decides how the word is read. If that is OBJD_ANY, the word is JSON if it looks like it (null,
 * true, a number, "quoted" or {...}), else a str. Says what is wrong and gives EXIT_USAGE, or gives
 * EXIT_OK.
 */
int parse_value(const char *text, const char *type, objd_type declared, struct given *ret_given);

/* A list's index. The same. */
int parse_index(const char *text, int64_t *ret_index);

/* What --help of every verb that takes a value says. */
#define PARSE_HELP                                                                                  \
        "How a VALUE is read: as the object's declared type if it has one, else null, true,\n"      \
        "false, numbers and \"quoted text\" as in JSON, {...} in the forms that --json prints,\n"   \
        "as {\"bytes\":\"<base64>\"}, and everything else as a str. --type says it outright; for\n" \
        "bytes, 0x... is hex, base64:... is base64, and everything else the word's own bytes.\n"
