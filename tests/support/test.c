/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test.c -- checks that say the library's sentence
 */

#include "support/test.h"

#include <string.h>

void check_status(objd_status got, objd_status expected, const char *call, const char *file, int line)
{
        if (got == expected)
                return;
        print_error("%s: %s instead of %s (%s)\n", call, objd_strerror(got), objd_strerror(expected),
                    got ? objd_last_error() : "no error");
        _fail(file, line);
}

void check_contains(const char *text, const char *part, const char *file, int line)
{
        if (strstr(text, part))
                return;
        print_error("\"%s\" is not in \"%s\"\n", part, text);
        _fail(file, line);
}
