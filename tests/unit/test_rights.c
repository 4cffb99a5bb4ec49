/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_rights.c -- rpc/rights.c and rpc/token.c
 */

#include "support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/rights.h"
#include "rpc/token.h"

#define NOW_NS 1000000000000LL
#define SECOND_NS 1000000000LL

static struct rights parse(const char *text)
{
        struct rights rights;

        assert_ok(rights_parse(text, strlen(text), &rights));
        return rights;
}

static void check_not_parsed(const char *text, objd_status status, const char *sentence)
{
        struct rights rights;

        assert_sentence(rights_parse(text, strlen(text), &rights), status, sentence);
}

static void without_patterns_everything_is_allowed(void **state)
{
        struct rights rights = parse("rw"), zeros = { .read_only = false };

        (void)state;
        assert_true(rights_allow_change(&rights));
        assert_true(rights_allow_all_names(&rights));
        assert_true(rights_allow_name(&rights, "anything"));
        assert_true(rights_allow_name(&rights, NULL));
        assert_true(rights_allow_name(&zeros, "anything"));
        assert_true(rights_allow_change(&zeros));
}

static void read_only_is_no_change(void **state)
{
        struct rights rights = parse("ro");

        (void)state;
        assert_false(rights_allow_change(&rights));
        assert_true(rights_allow_name(&rights, "anything"));
}

static void patterns_allow_names_and_beginnings_of_names(void **state)
{
        struct rights rights = parse("  ro \t jobs   team/*  ");

        (void)state;
        assert_false(rights_allow_change(&rights));
        assert_false(rights_allow_all_names(&rights));
        assert_true(rights_allow_name(&rights, "jobs"));
        assert_true(rights_allow_name(&rights, "team/"));
        assert_true(rights_allow_name(&rights, "team/a"));
        assert_true(rights_allow_name(&rights, "team/a/b"));
        assert_false(rights_allow_name(&rights, "team"));
        assert_false(rights_allow_name(&rights, "jobs2"));
        assert_false(rights_allow_name(&rights, "job"));
        assert_false(rights_allow_name(&rights, "Team/a"));
        assert_false(rights_allow_name(&rights, "a/team/"));
        assert_false(rights_allow_name(&rights, ""));
        assert_false(rights_allow_name(&rights, NULL));
}

static void a_star_alone_is_all_names(void **state)
{
        struct rights rights = parse("rw *");

        (void)state;
        assert_true(rights_allow_name(&rights, "anything"));
        assert_false(rights_allow_name(&rights, NULL));
}

static void bytes_may_be_written_in_hex(void **state)
{
        struct rights rights = parse("rw two%20words 100%25 %c3%A4%2a");

        (void)state;
        assert_true(rights_allow_name(&rights, "two words"));
        assert_true(rights_allow_name(&rights, "100%"));
        assert_true(rights_allow_name(&rights, "\xc3\xa4pfel"));
        assert_false(rights_allow_name(&rights, "two"));
}

static void nonsense_is_refused(void **state)
{
        char longest[OBJD_NAME_MAX + 8] = "rw ";

        (void)state;
        check_not_parsed("", OBJD_E_INVAL, "the rights do not begin with \"rw\" or \"ro\"");
        check_not_parsed("r", OBJD_E_INVAL, "the rights do not begin with \"rw\" or \"ro\"");
        check_not_parsed("rwx", OBJD_E_INVAL, "the rights do not begin with \"rw\" or \"ro\"");
        check_not_parsed("team/* rw", OBJD_E_INVAL, "the rights do not begin with \"rw\" or \"ro\"");
        check_not_parsed("rw a*b", OBJD_E_INVAL,
                         "in a pattern for names a star can only be the last character");
        check_not_parsed("rw **", OBJD_E_INVAL,
                         "in a pattern for names a star can only be the last character");
        check_not_parsed("rw a%2", OBJD_E_INVAL,
                         "in a pattern for names a % is not followed by two hex digits");
        check_not_parsed("rw a%", OBJD_E_INVAL,
                         "in a pattern for names a % is not followed by two hex digits");
        check_not_parsed("rw %g0", OBJD_E_INVAL,
                         "in a pattern for names a % is not followed by two hex digits");
        check_not_parsed("rw %00", OBJD_E_INVAL,
                         "a pattern for names is no UTF-8, or has a control character");
        check_not_parsed("rw a\r", OBJD_E_INVAL,
                         "a pattern for names is no UTF-8, or has a control character");
        check_not_parsed("rw %ff", OBJD_E_INVAL,
                         "a pattern for names is no UTF-8, or has a control character");

        memset(longest + 3, 'n', OBJD_NAME_MAX);
        (void)parse(longest);
        longest[OBJD_NAME_MAX + 3] = '*';
        (void)parse(longest);
        longest[OBJD_NAME_MAX + 3] = 'n';
        check_not_parsed(longest, OBJD_E_TOOBIG,
                         "a pattern for names is longer than any name, which has at most 255 bytes");
}

static void there_is_room_for_so_many_patterns(void **state)
{
        struct rights rights = { .read_only = false };

        (void)state;
        for (int i = 0; i < RIGHTS_NAMES_MAX / 4; i++)
                assert_ok(rights_add_name(&rights, "abc", 3));
        assert_sentence(rights_add_name(&rights, "a", 1), OBJD_E_LIMIT,
                        "the patterns for names have more than 1024 bytes together");
        assert_sentence(rights_add_name(&rights, "", 0), OBJD_E_INVAL,
                        "an empty text is no pattern for names");
        assert_true(rights_allow_name(&rights, "abc"));
        assert_false(rights_allow_name(&rights, "ab"));
}

static void check_written(const char *text)
{
        struct rights rights = parse(text), again;
        char written[RIGHTS_TEXT_MAX];

        assert_string_equal(rights_write(&rights, written), text);
        again = parse(written);
        assert_memory_equal(&again, &rights, sizeof(rights));
}

static void what_is_written_is_read_as_the_same(void **state)
{
        struct rights rights = { .read_only = true };
        char written[RIGHTS_TEXT_MAX];

        (void)state;
        check_written("rw");
        check_written("ro");
        check_written("ro *");
        check_written("rw team/* jobs two%20words 100%25* \xc3\xa4");

        /* The longest text there can be. */
        for (int i = 0; i < RIGHTS_NAMES_MAX / 256; i++) {
                char blanks[255];

                memset(blanks, ' ', sizeof(blanks));
                assert_ok(rights_add_name(&rights, blanks, sizeof(blanks)));
        }
        check_written(rights_write(&rights, written));
}

/* ---- Tokens ------------------------------------------------------------------------------------------- */

static void tokens_carry_uid_and_rights(void **state)
{
        static const char *const texts[] = { "rw", "ro", "ro team/*", "rw jobs team/* x" };
        struct token_key key;

        (void)state;
        assert_ok(token_key_make(&key));
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
                struct rights rights = parse(texts[i]), got;
                uint8_t token[TOKEN_SIZE_MAX];
                uid_t uid = 0;
                size_t size = token_issue(&key, 4294967294u, &rights, NOW_NS + SECOND_NS, token);

                memset(&got, 0xff, sizeof(got));
                assert_ok(token_check(&key, NOW_NS, token, size, &uid, &got));
                assert_int_equal(uid, 4294967294u);
                assert_memory_equal(&got, &rights, sizeof(rights));
        }
}

static void a_token_with_all_patterns_fits(void **state)
{
        struct rights rights = { .read_only = true }, got;
        uint8_t token[TOKEN_SIZE_MAX];
        struct token_key key;
        size_t size;
        uid_t uid;

        (void)state;
        assert_ok(token_key_make(&key));
        while (rights_add_name(&rights, "aaa", 3) == OBJD_OK)
                ;
        size = token_issue(&key, 1, &rights, NOW_NS, token);
        assert_int_equal(size, TOKEN_SIZE_MAX);
        assert_ok(token_check(&key, NOW_NS - 1, token, size, &uid, &got));
        assert_memory_equal(&got, &rights, sizeof(rights));
}

static void a_token_ends(void **state)
{
        struct rights rights = parse("rw");
        uint8_t token[TOKEN_SIZE_MAX];
        struct token_key key;
        size_t size;
        uid_t uid;

        (void)state;
        assert_ok(token_key_make(&key));
        size = token_issue(&key, 1000, &rights, NOW_NS, token);
        assert_ok(token_check(&key, NOW_NS - 1, token, size, &uid, &rights));
        assert_sentence(token_check(&key, NOW_NS, token, size, &uid, &rights), OBJD_E_ACCESS,
                        "the token of uid 1000 has ended");
}

static void a_changed_token_is_refused(void **state)
{
        struct rights rights = parse("ro team/*"), got = parse("ro nothing");
        uint8_t token[TOKEN_SIZE_MAX + 1] = { 0 };
        struct token_key key, other;
        size_t size;
        uid_t uid = 17;

        (void)state;
        assert_ok(token_key_make(&key));
        assert_ok(token_key_make(&other));
        size = token_issue(&key, 1000, &rights, NOW_NS + SECOND_NS, token);
        for (size_t bit = 0; bit < 8 * size; bit++) {
                token[bit / 8] ^= (uint8_t)(1 << bit % 8);
                assert_sentence(token_check(&key, NOW_NS, token, size, &uid, &got), OBJD_E_ACCESS,
                                "the token is not one of this daemon's");
                token[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t n = 0; n <= sizeof(token); n++)
                if (n != size)
                        assert_status(token_check(&key, NOW_NS, token, n, &uid, &got), OBJD_E_ACCESS);
        assert_status(token_check(&other, NOW_NS, token, size, &uid, &got), OBJD_E_ACCESS);
        assert_int_equal(uid, 17);
        assert_true(rights_allow_name(&got, "nothing"));
        assert_ok(token_check(&key, NOW_NS, token, size, &uid, &got));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(without_patterns_everything_is_allowed),
                cmocka_unit_test(read_only_is_no_change),
                cmocka_unit_test(patterns_allow_names_and_beginnings_of_names),
                cmocka_unit_test(a_star_alone_is_all_names),
                cmocka_unit_test(bytes_may_be_written_in_hex),
                cmocka_unit_test(nonsense_is_refused),
                cmocka_unit_test(there_is_room_for_so_many_patterns),
                cmocka_unit_test(what_is_written_is_read_as_the_same),
                cmocka_unit_test(tokens_carry_uid_and_rights),
                cmocka_unit_test(a_token_with_all_patterns_fits),
                cmocka_unit_test(a_token_ends),
                cmocka_unit_test(a_changed_token_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
