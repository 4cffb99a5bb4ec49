/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * test.h -- cmocka with what it needs, and checks that say the library's sentence
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <objd.h>

/* The call gives this status; if not, its sentence is part of the message. */
#define assert_status(call, expected) check_status((call), (expected), #call, __FILE__, __LINE__)
#define assert_ok(call) assert_status(call, OBJD_OK)

/* The call fails with this status and this very sentence. */
#define assert_sentence(call, expected, sentence)                 \
        do {                                                      \
                assert_status(call, expected);                    \
                assert_string_equal(objd_last_error(), sentence); \
        } while (0)

/* Fails the test if the text does not contain the part. */
#define assert_contains(text, part) check_contains((text), (part), __FILE__, __LINE__)

void check_status(objd_status got, objd_status expected, const char *call, const char *file, int line);
void check_contains(const char *text, const char *part, const char *file, int line);
