/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * inside.h -- for tests that link the engine: an arena of the test's own, with the checker at its end
 *
 *     const struct CMUnitTest tests[] = { INSIDE_TEST(a_dict_does_this) };
 *
 * The state is a connection to an embedded arena. After the test the checker must find no fault.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <objd.h>

#define INSIDE_TEST(name) cmocka_unit_test_setup_teardown(name, inside_setup, inside_teardown)
int inside_setup(void **state);
int inside_teardown(void **state);

/* Prints what the checker finds; how many faults, or UINT64_MAX if it could not run. For children too. */
uint64_t inside_faults(objd_conn *conn);

/* Fails the test if the checker finds anything. */
void inside_check(objd_conn *conn);

/* Bytes in chunks and slots that are given out, and bytes of one object. */
uint64_t inside_used(objd_conn *conn);
uint64_t inside_memory(objd_object *object);

/* An object made with no configuration; "dict" and the like, or NULL for an anonymous one. */
objd_object *inside_dict(objd_conn *conn, const char *name);

/*
 * How many sessions of clients without a mapping there are in the store, of that process or, if pid is 0, of all. Ends them, if they are to
 * end, as if nobody had heard of them for long enough.
 */
size_t inside_sessions(objd_conn *conn, pid_t pid, bool ends);
