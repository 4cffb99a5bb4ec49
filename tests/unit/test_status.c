/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_status.c -- base/status.c
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#undef fail /* cmocka has a macro of that name */
#include "base/status.h"
#include "base/utf8.h"

/* Longer than any sentence that is kept. */
#define LONG 2000

static void every_status_has_its_constants_name(void **state)
{
        (void)state;
        assert_string_equal(objd_strerror(OBJD_OK), "OBJD_OK");
        assert_string_equal(objd_strerror(OBJD_E_BUSY), "OBJD_E_BUSY");
        assert_string_equal(objd_strerror(OBJD_E_NOTSUP), "OBJD_E_NOTSUP");
        for (int i = OBJD_OK; i <= OBJD_E_NOTSUP; i++) {
                assert_non_null(objd_strerror((objd_status)i));
                assert_memory_equal(objd_strerror((objd_status)i), "OBJD_", 5);
        }
}

static void a_number_that_is_no_status_has_a_name_too(void **state)
{
        (void)state;
        assert_string_equal(objd_strerror((objd_status)28), "unknown status");
        assert_string_equal(objd_strerror((objd_status)-1), "unknown status");
        assert_string_equal(objd_strerror((objd_status)INT32_MAX), "unknown status");
}

static void the_version_is_the_headers(void **state)
{
        char expected[32];

        (void)state;
        (void)snprintf(expected, sizeof(expected), "%d.%d.%d", OBJD_VERSION_MAJOR, OBJD_VERSION_MINOR,
                       OBJD_VERSION_PATCH);
        assert_string_equal(objd_version(), expected);
}

static void fail_returns_the_status_and_keeps_the_sentence(void **state)
{
        (void)state;
        assert_int_equal(fail(OBJD_E_TYPE, "dict \"%s\": key is %s", "jobs", "str"), OBJD_E_TYPE);
        assert_string_equal(objd_last_error(), "dict \"jobs\": key is str");
}

static void fail_leaves_errno_alone(void **state)
{
        (void)state;
        errno = EINTR;
        (void)fail(OBJD_E_INVAL, "something %d", 1);
        assert_int_equal(errno, EINTR);
        errno = EXDEV;
        (void)fail_errno("something %d", 2);
        assert_int_equal(errno, EXDEV);
}

static void fail_errno_adds_the_systems_reason(void **state)
{
        (void)state;
        errno = ENOENT;
        assert_int_equal(fail_errno("cannot open %s", "/x"), OBJD_E_SYS);
        assert_string_equal(objd_last_error(), "cannot open /x: No such file or directory");
}

static void fail_errno_picks_the_status_that_fits(void **state)
{
        static const struct {
                int error;
                objd_status status;
        } cases[] = {
                { ENOMEM, OBJD_E_NOMEM }, { ENOSPC, OBJD_E_NOMEM }, { EACCES, OBJD_E_ACCESS },
                { EPERM, OBJD_E_ACCESS }, { EIO, OBJD_E_SYS },      { EINVAL, OBJD_E_SYS },
                { EMFILE, OBJD_E_SYS },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                errno = cases[i].error;
                assert_int_equal(fail_errno("x"), cases[i].status);
        }
}

static void a_sentence_may_quote_the_one_before(void **state)
{
        (void)state;
        (void)fail(OBJD_E_INVAL, "the second cause");
        (void)fail(OBJD_E_SYS, "the first: %s", objd_last_error());
        assert_string_equal(objd_last_error(), "the first: the second cause");
}

static void an_empty_sentence_is_no_failure_to_speak_of(void **state)
{
        static const char *const empty = "";

        (void)state;
        (void)fail(OBJD_E_INVAL, "%s", empty);
        assert_string_equal(objd_last_error(), "no call of this thread has failed");
}

static void a_long_sentence_is_cut_and_ends(void **state)
{
        char text[LONG];

        (void)state;
        memset(text, 'a', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        (void)fail(OBJD_E_INVAL, "%s", text);
        assert_in_range(strlen(objd_last_error()), 300, 1000);

        errno = ENOENT;
        (void)fail_errno("%s", text);
        assert_in_range(strlen(objd_last_error()), 300, 1000);
}

static void a_name_of_full_length_fits_with_what_is_said_about_it(void **state)
{
        char name[OBJD_NAME_MAX + 1];

        (void)state;
        memset(name, 'n', sizeof(name) - 1);
        name[sizeof(name) - 1] = 0;
        (void)fail(OBJD_E_TYPE, "dict \"%s\": key is str, declared is int, and some more words than that",
                   name);
        assert_non_null(strstr(objd_last_error(), "than that"));
}

/* Wherever the cut falls, what is left is still text; a reason that does not fit any more is cut as well. */
static void a_cut_sentence_never_ends_in_half_a_character(void **state)
{
        static const char euro[] = "\xe2\x82\xac";
        char text[LONG];

        (void)state;
        for (size_t shift = 0; shift < 6; shift++) {
                size_t n = shift;

                memset(text, 'a', shift);
                while (n + sizeof(euro) <= sizeof(text)) {
                        memcpy(text + n, euro, 3);
                        n += 3;
                }
                text[n] = 0;
                (void)fail(OBJD_E_INVAL, "%s", text);
                assert_true(utf8_is_valid(objd_last_error(), strlen(objd_last_error())));
                assert_in_range(strlen(objd_last_error()), 300, 1000);
                errno = ENOENT;
                (void)fail_errno("%s", text);
                assert_true(utf8_is_valid(objd_last_error(), strlen(objd_last_error())));
        }
}

static void *fail_elsewhere(void *ret_first)
{
        *(const char **)ret_first = objd_last_error();
        (void)fail(OBJD_E_INVAL, "of another thread");
        return NULL;
}

static void each_thread_has_a_sentence_of_its_own(void **state)
{
        const char *first = NULL;
        pthread_t thread;

        (void)state;
        (void)fail(OBJD_E_INVAL, "of this thread");
        assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, &first), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);

        assert_string_equal(first, "no call of this thread has failed");
        assert_string_equal(objd_last_error(), "of this thread");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_status_has_its_constants_name),
                cmocka_unit_test(a_number_that_is_no_status_has_a_name_too),
                cmocka_unit_test(the_version_is_the_headers),
                cmocka_unit_test(fail_returns_the_status_and_keeps_the_sentence),
                cmocka_unit_test(fail_leaves_errno_alone),
                cmocka_unit_test(fail_errno_adds_the_systems_reason),
                cmocka_unit_test(fail_errno_picks_the_status_that_fits),
                cmocka_unit_test(a_sentence_may_quote_the_one_before),
                cmocka_unit_test(an_empty_sentence_is_no_failure_to_speak_of),
                cmocka_unit_test(a_long_sentence_is_cut_and_ends),
                cmocka_unit_test(a_name_of_full_length_fits_with_what_is_said_about_it),
                cmocka_unit_test(a_cut_sentence_never_ends_in_half_a_character),
                cmocka_unit_test(each_thread_has_a_sentence_of_its_own),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
