/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_value_order.c -- object/value.c: which values are equal, and which come first
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include <objd.h>

#include "object/value.h"
#include "support/values.h"

static const char *program;

static void values_of_the_same_type_and_bytes_are_equal(void **state)
{
        static const uint64_t two[] = { 2 }, one_two[] = { 1, 2 };
        objd_value pairs[][2] = {
                { objd_nil(), objd_nil() },
                { objd_float(NAN), objd_float(NAN) },
                { objd_str(NULL, 0), objd_cstr("") },
                { objd_cstr("ab"), objd_str("abc", 2) },
                { objd_bytes("", 0), objd_bytes(NULL, 0) },
                { objd_message("a.B", NULL, 0), objd_message("a.B", "", 0) },
        };
        objd_value others[][2] = {
                { objd_nil(), objd_bool(false) },
                { objd_bool(false), objd_bool(true) },
                { objd_int(1), objd_float(1.0) },
                { objd_float(0.0), objd_float(-0.0) },
                { objd_cstr("ab"), objd_bytes("ab", 2) },
                { objd_cstr("ab"), objd_cstr("abc") },
                { objd_cstr("ab"), objd_cstr("ac") },
                { objd_array(OBJD_U8, 1, two, "ab"), objd_array(OBJD_I8, 1, two, "ab") },
                { objd_array(OBJD_U8, 1, two, "ab"), objd_array(OBJD_U8, 2, one_two, "ab") },
                { objd_array(OBJD_U8, 1, two, "ab"), objd_array(OBJD_U8, 1, two, "ac") },
                { objd_message("a.B", "x", 1), objd_message("a.C", "x", 1) },
                { objd_message("a.B", "x", 1), objd_message("a.B", "y", 1) },
                { objd_refer((objd_ref){ 1, 2 }), objd_refer((objd_ref){ 1, 3 }) },
                { objd_refer((objd_ref){ 1, 2 }), objd_refer((objd_ref){ 2, 2 }) },
        };
        objd_value none = { .type = OBJD_ANY };

        (void)state;
        for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
                assert_true(objd_value_equal(&pairs[i][0], &pairs[i][1]));
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
                assert_false(objd_value_equal(&others[i][0], &others[i][1]));
                assert_false(objd_value_equal(&others[i][1], &others[i][0]));
                assert_true(objd_value_equal(&others[i][0], &others[i][0]));
        }
        assert_false(objd_value_equal(&none, &none));
}

/* Each is smaller than all that follow; ties stand in one row. */
static void the_order_is_the_documented_one(void **state)
{
        static const uint64_t one[] = { 1 }, two[] = { 2 }, one_two[] = { 1, 2 };
        const objd_value rows[][2] = {
                { objd_nil(), objd_nil() },
                { objd_bool(false), objd_bool(false) },
                { objd_bool(true), objd_bool(true) },
                { objd_float(-INFINITY), objd_float(-INFINITY) },
                { objd_float(-0x1.8p63), objd_float(-0x1.8p63) },
                { objd_int(INT64_MIN), objd_float(-0x1p63) },
                { objd_int(INT64_MIN + 1), objd_int(INT64_MIN + 1) },
                { objd_int(-9007199254740993), objd_int(-9007199254740993) },
                { objd_int(-9007199254740992), objd_float(-9007199254740992.0) },
                { objd_float(-1.5), objd_float(-1.5) },
                { objd_int(-1), objd_float(-1.0) },
                { objd_float(-0.5), objd_float(-0.5) },
                { objd_int(0), objd_float(-0.0) },
                { objd_float(DBL_TRUE_MIN), objd_float(DBL_TRUE_MIN) },
                { objd_float(0.5), objd_float(0.5) },
                { objd_int(1), objd_float(1.0) },
                { objd_float(4503599627370495.5), objd_float(4503599627370495.5) },
                { objd_int(9007199254740992), objd_float(9007199254740992.0) },
                { objd_int(9007199254740993), objd_int(9007199254740993) },
                { objd_int(9007199254740994), objd_float(9007199254740994.0) },
                { objd_float(0x1.fffffffffffffp62), objd_int(0x7ffffffffffffc00) },
                { objd_int(INT64_MAX), objd_int(INT64_MAX) },
                { objd_float(0x1p63), objd_float(0x1p63) },
                { objd_float(INFINITY), objd_float(INFINITY) },
                { objd_float(NAN), objd_float(-NAN) },
                { objd_cstr(""), objd_str(NULL, 0) },
                { objd_str("\0", 1), objd_str("\0", 1) },
                { objd_cstr("a"), objd_cstr("a") },
                { objd_cstr("aa"), objd_cstr("aa") },
                { objd_cstr("b"), objd_cstr("b") },
                { objd_cstr("\xc3\xa9"), objd_cstr("\xc3\xa9") },
                { objd_bytes("", 0), objd_bytes(NULL, 0) },
                { objd_bytes("\x7f", 1), objd_bytes("\x7f", 1) },
                { objd_bytes("\xff", 1), objd_bytes("\xff", 1) },
                { objd_array(OBJD_I8, 1, two, "zz"), objd_array(OBJD_I8, 1, two, "zz") },
                { objd_array(OBJD_U8, 1, one, "z"), objd_array(OBJD_U8, 1, one, "z") },
                { objd_array(OBJD_U8, 1, two, "aa"), objd_array(OBJD_U8, 1, two, "aa") },
                { objd_array(OBJD_U8, 1, two, "ab"), objd_array(OBJD_U8, 1, two, "ab") },
                { objd_array(OBJD_U8, 2, one_two, "aa"), objd_array(OBJD_U8, 2, one_two, "aa") },
                { objd_message("a", "z", 1), objd_message("a", "z", 1) },
                { objd_message("b", "a", 1), objd_message("b", "a", 1) },
                { objd_message("b", "b", 1), objd_message("b", "b", 1) },
                { objd_refer((objd_ref){ 9, 1 }), objd_refer((objd_ref){ 9, 1 }) },
                { objd_refer((objd_ref){ 1, 2 }), objd_refer((objd_ref){ 1, 2 }) },
                { objd_refer((objd_ref){ 2, 2 }), objd_refer((objd_ref){ 2, 2 }) },
        };
        const size_t n = sizeof(rows) / sizeof(rows[0]);

        (void)state;
        for (size_t i = 0; i < 2 * n; i++)
                for (size_t j = 0; j < 2 * n; j++) {
                        int c = value_compare(&rows[i / 2][i % 2], &rows[j / 2][j % 2]);

                        if ((c > 0) - (c < 0) != (i / 2 > j / 2) - (i / 2 < j / 2))
                                fail_msg("row %zu against row %zu gives %d", i / 2, j / 2, c);
                }
}

static int sign(int c)
{
        return (c > 0) - (c < 0);
}

static void the_order_is_total_on_random_values(void **state)
{
        struct random random = random_begin(program);
        struct made made[3];

        (void)state;
        for (int i = 0; i < 100000; i++) {
                const objd_value *a = &made[0].value, *b = &made[1].value, *c = &made[2].value;

                make_value(&random, &made[0]);
                make_near(&random, &made[0], &made[1]);
                if (random_below(&random, 2))
                        make_near(&random, &made[1], &made[2]);
                else
                        make_value(&random, &made[2]);

                assert_int_equal(sign(value_compare(a, b)), -sign(value_compare(b, a)));
                if (objd_value_equal(a, b))
                        assert_int_equal(value_compare(a, b), 0);
                if (value_compare(a, b) <= 0 && value_compare(b, c) <= 0)
                        assert_true(value_compare(a, c) <= 0);
                if (value_compare(a, b) == 0)
                        assert_int_equal(sign(value_compare(a, c)), sign(value_compare(b, c)));
        }
}

/* The double whose bits are one more or one less: the next one up or down, but for the very ends. */
static double neighbour(double real, bool up)
{
        uint64_t bits;

        memcpy(&bits, &real, 8);
        bits += up ? 1 : UINT64_MAX;
        memcpy(&real, &bits, 8);
        return real;
}

/* long double has 64 bits of mantissa here, so both kinds of numbers fit it exactly. */
static void integers_and_doubles_are_compared_as_exactly_as_by_a_wider_type(void **state)
{
#if LDBL_MANT_DIG >= 64
        struct random random = random_begin(program);

        (void)state;
        for (int i = 0; i < 300000; i++) {
                int64_t integer = (int64_t)random_next(&random) >> random_below(&random, 64);
                double real = random_below(&random, 2) ? (double)integer : make_double(&random);
                objd_value a = objd_int(integer), b;
                int expected;

                if (random_below(&random, 2))
                        real = neighbour(real, random_below(&random, 2));
                if (isnan(real))
                        continue;
                b = objd_float(real);
                expected = ((long double)integer > real) - ((long double)integer < real);
                assert_int_equal(sign(value_compare(&a, &b)), expected);
                assert_int_equal(sign(value_compare(&b, &a)), -expected);
        }
#else
        (void)state;
        print_message("long double is no wider than double here: nothing to compare with\n");
#endif
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(values_of_the_same_type_and_bytes_are_equal),
                cmocka_unit_test(the_order_is_the_documented_one),
                cmocka_unit_test(the_order_is_total_on_random_values),
                cmocka_unit_test(integers_and_doubles_are_compared_as_exactly_as_by_a_wider_type),
        };

        program = argc ? argv[0] : "test-value-order";
        return cmocka_run_group_tests(tests, NULL, NULL);
}
