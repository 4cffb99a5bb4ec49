/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_json.c -- tools/json.c: every value comes back from JSON as it was, and what is no value is refused
 */

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dumpload/json.h"
#include "support/test.h"

/* The value's JSON, in memory that the caller frees. */
static char *to_json(const objd_value *value)
{
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        json_write_value(f, value);
        assert_int_equal(fclose(f), 0);
        return text;
}

static void comes_back(objd_value value)
{
        char *text = to_json(&value);
        const char *why = "";
        struct given given;

        if (!json_read_value(text, &given, &why))
                fail_msg("%.200s is not read back: %s", text, why);
        if (!objd_value_equal(&value, &given.value))
                fail_msg("%.200s is read back as something else", text);
        given_free(&given);
        free(text);
}

static void is_written_as(objd_value value, const char *expected)
{
        char *text = to_json(&value);

        assert_string_equal(text, expected);
        free(text);
}

static objd_value float_of_bits(uint64_t bits)
{
        double real;

        memcpy(&real, &bits, sizeof(real));
        return objd_float(real);
}

static uint64_t next_random(uint64_t *state)
{
        *state += 0x9e3779b97f4a7c15ULL; /* splitmix64 */
        uint64_t z = *state;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
        return z ^ z >> 31;
}

static void plain_values_come_back(void **state)
{
        static const int64_t integers[] = { 0, 1, -1, INT64_MAX, INT64_MIN, 1LL << 53, (1LL << 53) + 1 };

        (void)state;
        comes_back(objd_nil());
        comes_back(objd_bool(true));
        comes_back(objd_bool(false));
        for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++)
                comes_back(objd_int(integers[i]));
        comes_back(objd_refer((objd_ref){ 1ULL << 40, UINT64_MAX }));
}

static void floats_come_back_bit_for_bit(void **state)
{
        static const double reals[] = { 0.0, -0.0, 1.0, -1.0, 0.1, 1e300, 5e-324, 1e16, 123456789012345680.0,
                                        M_PI };
        uint64_t random = 1;

        (void)state;
        for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++)
                comes_back(objd_float(reals[i]));
        comes_back(objd_float(INFINITY));
        comes_back(objd_float(-INFINITY));
        comes_back(float_of_bits(0x7ff8000000000000ULL));
        comes_back(float_of_bits(0xfff8000000000000ULL));
        comes_back(float_of_bits(0x7ff0000000000001ULL));
        for (int i = 0; i < 10000; i++)
                comes_back(float_of_bits(next_random(&random)));
}

static void floats_are_no_integers(void **state)
{
        (void)state;
        is_written_as(objd_float(1), "1.0");
        is_written_as(objd_float(-0.0), "-0.0");
        is_written_as(objd_float(1e300), "1.0000000000000001e+300");
        is_written_as(objd_float(INFINITY), "{\"float\":\"inf\"}");
        is_written_as(objd_int(1), "1");
}

static void text_comes_back(void **state)
{
        static const char mixed[] = "\"\\/\b\f\n\r\t\0\x01\x1f\x7f \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
        size_t size = 3 * 100000;
        char *large = malloc(size);

        (void)state;
        comes_back(objd_cstr(""));
        comes_back(objd_str(mixed, sizeof(mixed) - 1));
        comes_back(objd_cstr("{\"bytes\":\"AA==\"}"));
        assert_non_null(large);
        for (size_t i = 0; i < size; i += 3)
                memcpy(large + i, "\xe2\x82\xac", 3);
        for (size_t cut = 0; cut < 30; cut += 3) /* however the pieces fall, no character is split */
                comes_back(objd_str(large, size - cut));
        large[0] = large[1] = 'x';
        large[2] = 'y';
        comes_back(objd_str(large + 1, size - 1));
        comes_back(objd_str(large + 2, size - 2));
        free(large);
}

static void text_that_is_no_utf8_keeps_its_bytes(void **state)
{
        (void)state;
        comes_back(objd_str("\xff\xfe", 2));
        is_written_as(objd_str("\xff\xfe", 2), "{\"str\":\"//4=\"}");
}

static void bytes_and_what_is_made_of_them_come_back(void **state)
{
        uint64_t shape[OBJD_NDIM_MAX] = { 2, 3, 1, 1, 1, 1, 1, 2 };
        static uint8_t data[100000];
        uint64_t random = 2;

        (void)state;
        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (uint8_t)next_random(&random);
        for (size_t size = 0; size < 20; size++)
                comes_back(objd_bytes(data, size));
        comes_back(objd_bytes(data, sizeof(data)));
        comes_back(objd_message("package.Name", data, 777));
        comes_back(objd_message("N", data, 0));
        for (objd_dtype dtype = OBJD_I8; dtype <= OBJD_F64; dtype++)
                comes_back(objd_array(dtype, OBJD_NDIM_MAX, shape, data));
        shape[3] = 0;
        comes_back(objd_array(OBJD_F64, 4, shape, data));
        comes_back(objd_array(OBJD_I32, 0, shape, data));
        is_written_as(objd_array(OBJD_U8, 2, (uint64_t[]){ 1, 2 }, "ab"),
                      "{\"array\":{\"dtype\":\"u8\",\"shape\":[1,2],\"data\":\"YWI=\"}}");
}

static void what_is_no_value_is_refused(void **state)
{
        static const char *const texts[] = {
                "",
                "nul",
                "1 2",
                "'a'",
                "\"a",
                "[1]",
                "{}",
                "{\"a\":1}",
                "{\"bytes\":\"A\"}",
                "{\"bytes\":\"AA==\",\"more\":1}",
                "{\"bytes\":1}",
                "{\"float\":\"1.5\"}",
                "{\"float\":\"0x7ff\"}",
                "{\"ref\":\"1\"}",
                "{\"ref\":\"1.2x\"}",
                "{\"message\":{\"name\":\"a\"}}",
                "{\"array\":{\"dtype\":\"u8\",\"shape\":[3],\"data\":\"YWI=\"}}",
                "{\"array\":{\"dtype\":\"u7\",\"shape\":[2],\"data\":\"YWI=\"}}",
                "{\"array\":{\"dtype\":\"u8\",\"shape\":[-2],\"data\":\"YWI=\"}}",
                "{\"array\":{\"dtype\":\"u8\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data\":\"YWI=\"}}",
                "9223372036854775808",
                "-9223372036854775809",
                "\"\xff\"",
        };
        struct given given;
        const char *why;

        (void)state;
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
                why = NULL;
                if (json_read_value(texts[i], &given, &why))
                        fail_msg("%s counts as a value", texts[i]);
                assert_non_null(why);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(plain_values_come_back),
                cmocka_unit_test(floats_come_back_bit_for_bit),
                cmocka_unit_test(floats_are_no_integers),
                cmocka_unit_test(text_comes_back),
                cmocka_unit_test(text_that_is_no_utf8_keeps_its_bytes),
                cmocka_unit_test(bytes_and_what_is_made_of_them_come_back),
                cmocka_unit_test(what_is_no_value_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
