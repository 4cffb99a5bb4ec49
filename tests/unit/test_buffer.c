/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_buffer.c -- object/value.c: the buffers that values are copied to
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <objd.h>

#include "object/value.h"
#include "support/fault.h"

static void a_buffer_grows_in_steps_of_64_and_keeps_its_bytes(void **state)
{
        objd_buf buf = OBJD_BUF_INIT;

        (void)state;
        assert_int_equal(buf_grow(&buf, 0), OBJD_OK);
        assert_int_equal(buf_grow(&buf, 1), OBJD_OK);
        assert_non_null(buf.data);
        assert_int_equal(buf.size % 64, 0);
        memcpy(buf.data, "keep", 5);
        for (size_t size = 1; size < 100000; size = size * 2 + 1) {
                assert_int_equal(buf_grow(&buf, size), OBJD_OK);
                assert_true(buf.size > size && buf.size % 64 == 0);
                assert_string_equal(buf.data, "keep");
                ((char *)buf.data)[buf.size - 1] = 0; /* is really ours */
        }
        objd_buf_free(&buf);
        assert_null(buf.data);
        assert_int_equal(buf.size, 0);
        objd_buf_free(&buf);
        objd_buf_free(NULL);
}

static void a_buffer_that_is_large_enough_stays(void **state)
{
        objd_buf buf = OBJD_BUF_INIT;
        void *data;

        (void)state;
        assert_int_equal(buf_grow(&buf, 1000), OBJD_OK);
        data = buf.data;
        for (size_t size = 0; size < buf.size; size++)
                assert_int_equal(buf_grow(&buf, size), OBJD_OK);
        assert_ptr_equal(buf.data, data);
        objd_buf_free(&buf);
}

/* As with getline(): the caller may bring memory of its own, of any size. */
static void a_callers_own_memory_is_grown_to_whole_steps(void **state)
{
        objd_buf buf = { malloc(50), 50 };

        (void)state;
        assert_non_null(buf.data);
        assert_int_equal(buf_grow(&buf, 40), OBJD_OK);
        assert_true(buf.size >= 64);
        objd_buf_free(&buf);

        buf = (objd_buf){ NULL, 1000 }; /* no memory, whatever the size says */
        assert_int_equal(buf_grow(&buf, 10), OBJD_OK);
        assert_non_null(buf.data);
        objd_buf_free(&buf);
}

static void slow_growth_does_not_allocate_each_time(void **state)
{
        objd_buf buf = OBJD_BUF_INIT;
        unsigned n_grown = 0;

        (void)state;
        for (size_t size = 1; size < 100000; size += 32) {
                size_t before = buf.size;

                assert_int_equal(buf_grow(&buf, size), OBJD_OK);
                n_grown += buf.size != before;
        }
        assert_in_range(n_grown, 1, 40);
        objd_buf_free(&buf);
}

static void a_size_beyond_all_memory_is_refused(void **state)
{
        objd_buf buf = OBJD_BUF_INIT;

        (void)state;
        assert_int_equal(buf_grow(&buf, SIZE_MAX), OBJD_E_NOMEM);
        assert_int_equal(buf_grow(&buf, SIZE_MAX - 31), OBJD_E_NOMEM);
        assert_int_equal(buf_grow(&buf, (size_t)PTRDIFF_MAX + 1), OBJD_E_NOMEM);
        assert_null(buf.data);
        assert_int_equal(buf.size, 0);
}

static void growth_that_fails_leaves_the_buffer_as_it_was(void **state)
{
        (void)state;
        for (unsigned n = 1; fault_begin(n, FAULT_ONCE); n++) {
                objd_buf buf = OBJD_BUF_INIT;
                unsigned n_refused = 0;

                for (size_t size = 1; size < 5000; size += 100) {
                        objd_buf before = buf;

                        if (buf_grow(&buf, size) == OBJD_OK)
                                continue;
                        n_refused++;
                        assert_ptr_equal(buf.data, before.data);
                        assert_int_equal(buf.size, before.size);
                        assert_int_equal(buf_grow(&buf, size), OBJD_OK);
                }
                fault_end();
                assert_int_equal(n_refused, fault.n_failed);
                objd_buf_free(&buf);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_buffer_grows_in_steps_of_64_and_keeps_its_bytes),
                cmocka_unit_test(a_buffer_that_is_large_enough_stays),
                cmocka_unit_test(a_callers_own_memory_is_grown_to_whole_steps),
                cmocka_unit_test(slow_growth_does_not_allocate_each_time),
                cmocka_unit_test(a_size_beyond_all_memory_is_refused),
                cmocka_unit_test(growth_that_fails_leaves_the_buffer_as_it_was),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
