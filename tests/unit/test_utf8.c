/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_utf8.c -- base/utf8.c, and the sums of base/arith.h
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/utf8.h"
#include "support/random.h"

#define LAST_CHARACTER 0x10ffffu

static const char *program;

/* Any number below 2^21 in the form that has `size` bytes; the number may be too small or too large for it. */
static size_t put_form(uint32_t number, size_t size, uint8_t *dst)
{
        static const uint8_t marks[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

        for (size_t i = size - 1; i > 0; i--, number >>= 6)
                dst[i] = (uint8_t)(0x80 | (number & 0x3f));
        dst[0] = (uint8_t)(size == 1 ? number : marks[size] | number);
        return size;
}

static size_t shortest_form(uint32_t number)
{
        return number < 0x80 ? 1 : number < 0x800 ? 2 : number < 0x10000 ? 3 : 4;
}

static bool is_character(uint32_t number)
{
        return number <= LAST_CHARACTER && (number < 0xd800 || number > 0xdfff);
}

/* The same question answered slowly, by decoding: what the fast one is compared with. */
static bool decodes(const uint8_t *p, size_t size)
{
        while (size) {
                size_t n = *p < 0x80 ? 1 : *p < 0xc0 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf8 ? 4 : 0;
                uint32_t number = n == 1 ? *p : n ? *p & (0x7fu >> n) : 0;

                if (!n || n > size)
                        return false;
                for (size_t i = 1; i < n; i++) {
                        if ((p[i] & 0xc0) != 0x80)
                                return false;
                        number = number << 6 | (p[i] & 0x3f);
                }
                if (!is_character(number) || shortest_form(number) != n)
                        return false;
                p += n;
                size -= n;
        }
        return true;
}

static void no_bytes_are_valid(void **state)
{
        (void)state;
        assert_true(utf8_is_valid("", 0));
        assert_true(utf8_is_valid(NULL, 0));
}

static void every_character_is_valid_in_its_shortest_form_only(void **state)
{
        uint8_t bytes[4];

        (void)state;
        for (uint32_t number = 0; number < 1u << 21; number++)
                for (size_t size = shortest_form(number); size <= 4; size++) {
                        bool expected = is_character(number) && size == shortest_form(number);

                        if (utf8_is_valid(bytes, put_form(number, size, bytes)) != expected)
                                fail_msg("U+%04X in %zu bytes", number, size);
                }
}

static void every_string_of_two_bytes_is_judged_as_by_decoding(void **state)
{
        (void)state;
        for (uint32_t i = 0; i < 1u << 16; i++) {
                uint8_t bytes[2] = { (uint8_t)i, (uint8_t)(i >> 8) };

                if (utf8_is_valid(bytes, 2) != decodes(bytes, 2))
                        fail_msg("%02x %02x", bytes[0], bytes[1]);
        }
}

static void a_character_that_is_cut_off_is_not_valid(void **state)
{
        static const uint32_t characters[] = { 0x80, 0x7ff, 0x800, 0xffff, 0x10000, LAST_CHARACTER };
        uint8_t bytes[4];

        (void)state;
        for (size_t i = 0; i < sizeof(characters) / sizeof(characters[0]); i++) {
                size_t size = put_form(characters[i], shortest_form(characters[i]), bytes);

                for (size_t cut = 1; cut < size; cut++)
                        assert_false(utf8_is_valid(bytes, cut));
        }
}

/* Wherever one bad byte stands in ASCII, at any alignment: the fast path must not jump over it. */
static void one_bad_byte_in_ascii_is_found_anywhere(void **state)
{
        uint8_t bytes[64];

        (void)state;
        memset(bytes, 'a', sizeof(bytes));
        for (size_t start = 0; start < 8; start++)
                for (size_t size = 0; size + start <= 40; size++) {
                        assert_true(utf8_is_valid(bytes + start, size));
                        for (size_t bad = 0; bad < size; bad++) {
                                bytes[start + bad] = 0xff;
                                assert_false(utf8_is_valid(bytes + start, size));
                                bytes[start + bad] = 'a';
                        }
                }
}

static void bytes_behind_the_end_are_not_looked_at(void **state)
{
        uint8_t *bytes;

        (void)state;
        /* A block of its own, so that the address sanitizer and valgrind see a read past it. */
        for (size_t size = 1; size < 32; size++) {
                bytes = malloc(size);
                assert_non_null(bytes);
                memset(bytes, 'a', size);
                assert_true(utf8_is_valid(bytes, size));
                bytes[size - 1] = 0xf0;
                assert_false(utf8_is_valid(bytes, size));
                free(bytes);
        }
}

/* Mostly good text with now and then a damaged byte. */
static size_t random_text(struct random *random, uint8_t *bytes, size_t room)
{
        size_t size = 0, limit = random_below(random, room - 3);

        while (size < limit) {
                uint32_t number = (uint32_t)random_below(random, LAST_CHARACTER + 1);

                if (random_below(random, 2))
                        number &= 0x7f;
                if (!is_character(number))
                        continue;
                size += put_form(number, shortest_form(number), bytes + size);
        }
        return size;
}

static void random_text_is_judged_as_by_decoding(void **state)
{
        struct random random = random_begin(program);
        uint8_t bytes[64];
        size_t n_valid = 0;

        (void)state;
        for (int i = 0; i < 300000; i++) {
                size_t size = random_text(&random, bytes, sizeof(bytes));

                if (size && random_below(&random, 2))
                        bytes[random_below(&random, size)] ^= (uint8_t)(1u << random_below(&random, 8));
                if (utf8_is_valid(bytes, size) != decodes(bytes, size))
                        fail_msg("text %d is judged wrong", i);
                n_valid += decodes(bytes, size);
        }
        assert_in_range(n_valid, 30000, 299999); /* both answers were met */
}

static void a_sum_or_product_over_64_bits_is_refused(void **state)
{
        uint64_t result = 7;

        (void)state;
        assert_false(add_u64(UINT64_MAX, 1, &result));
        assert_false(mul_u64(1ULL << 32, 1ULL << 32, &result));
        assert_true(result == 7);
        assert_true(add_u64(UINT64_MAX - 1, 1, &result));
        assert_true(result == UINT64_MAX);
        assert_true(mul_u64((1ULL << 32) - 1, (1ULL << 32) + 1, &result));
        assert_true(result == UINT64_MAX);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_bytes_are_valid),
                cmocka_unit_test(every_character_is_valid_in_its_shortest_form_only),
                cmocka_unit_test(every_string_of_two_bytes_is_judged_as_by_decoding),
                cmocka_unit_test(a_character_that_is_cut_off_is_not_valid),
                cmocka_unit_test(one_bad_byte_in_ascii_is_found_anywhere),
                cmocka_unit_test(bytes_behind_the_end_are_not_looked_at),
                cmocka_unit_test(random_text_is_judged_as_by_decoding),
                cmocka_unit_test(a_sum_or_product_over_64_bits_is_refused),
        };

        program = argc ? argv[0] : "test-utf8";
        return cmocka_run_group_tests(tests, NULL, NULL);
}
