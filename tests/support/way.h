/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * way.h -- a store for the suites that run by every way that leads to one, from one source
 *
 *     static void a_dict_does_this(void **state)
 *     {
 *             objd_object *dict = way_dict(*state, "d");
 *             ...
 *
 *     int main(int argc, char **argv)
 *     {
 *             const struct CMUnitTest tests[] = { WAY_TEST(a_dict_does_this) };
 *
 *             return way_run(argc, argv, tests);
 *     }
 *
 * The state is a connection to an empty store, by the way that the program's argument names. "handle", or no argument, is an
 * embedded arena. Each other way leads to a daemon of the program's own; besides there is a connection by handle to the same
 * store, with which a test looks into the arena, and ends what nobody would hear of otherwise. After each test the checker must
 * find no fault, and once the connection is closed nothing may be left of it.
 */

#include <stdbool.h>
#include <sys/types.h>

#include <objd.h>

#include "support/fixture.h"
#include "support/test.h"

#define WAY_TEST(name) cmocka_unit_test_setup_teardown(name, way_setup, way_teardown)
int way_setup(void **state);
int way_teardown(void **state);

#define way_run(argc, argv, tests) way_run_tests(argc, argv, #tests, tests, sizeof(tests) / sizeof(*(tests)))
int way_run_tests(int argc, char **argv, const char *name, const struct CMUnitTest *tests, size_t n);

/* How this program runs. */
bool way_is_handle(void);
const char *way_name(void);

/* For what holds by handle only: says why the test does not run, and skips it. */
void way_needs_handle(const char *why);

/* How often, in loops that only make much: n by handle, and less where each call goes through another process. */
int64_t way_few(int64_t n, int64_t less);

/* A connection of one's own by this way. */
objd_conn *way_connect(void);

/* The same object by handle, to look at what is in the arena; it belongs to the test until its end. For one thread. */
objd_object *way_inside(const objd_object *object);

/* Fails the test if the checker finds anything. */
void way_check(objd_conn *conn);

/* Bytes in chunks and slots that are given out, but for the records of sessions; and bytes of one object. */
uint64_t way_used(objd_conn *conn);
uint64_t way_objects(objd_conn *conn); /* how many there are, without those records */
uint64_t way_memory(objd_object *object);

/* An object made with no configuration; "d" and the like, or NULL for an anonymous one. */
objd_object *way_dict(objd_conn *conn, const char *name);

/*
 * Kills a child. The kernel tells of the death of those who have a mapping; for others a while must pass without a sign of
 * them (objd --session-expiry), which this takes for passed.
 */
void way_kill(pid_t pid);

/* ---- All ways at once ------------------------------------------------------------------------------------- */

/*
 * A program that runs by the way "all" has a connection by handle as its tests' state, and a daemon that every way leads to:
 * way_all() says how they are called, the first one being by handle. NULL: the program runs by one way.
 */
#define WAYS_MAX 8
struct ways {
        size_t n;
        const char *names[WAYS_MAX];
        char urls[WAYS_MAX][256];
};
const struct ways *way_all(void);

/* NULL by handle. Once it has been stopped, the next one is started as it was. */
struct fixture *way_daemon(void);
void way_start_again(void);
