/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * fixture.h -- a private daemon for a test, and what a test may not leave behind
 *
 *     static void a_store_does_this(void **state)
 *     {
 *             struct fixture *f = *state;
 *             objd_conn *conn;
 *
 *             fixture_start(f, NULL);
 *             conn = fixture_connect(f);
 *             ...
 *
 *     const struct CMUnitTest tests[] = { FIXTURE_TEST(a_store_does_this) };
 *
 * The daemon keeps its store in a directory of the test's own. It is ready when fixture_start() returns. If it
 * dies while the test runs, that is reported with its log, whatever else the test says. fixture_free() ends it and
 * checks that no descriptor, no child and no file is left.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <objd.h>

#include "support/leaks.h"

#define FIXTURE_ARGS_MAX 32

struct fixture {
        char base[64];      /* the test's own directory, on a tmpfs */
        char directory[96]; /* the daemon's --dir, within */
        char url[128];      /* "shm:DIRECTORY/test" */
        char log[96];       /* the file that the daemon's stderr goes to */
        char program[128];  /* the daemon's, if it is not the one of this build */
        pid_t pid;          /* of the daemon; 0 while none runs */
        int pidfd;
        int notify;       /* the socket of the service manager that we play */
        int64_t ready_ns; /* how long the last start took */
        struct leaks leaks;
};

struct fixture *fixture_new(void);

/* Returns 0 or fails the test. Takes NULL. */
int fixture_free(struct fixture *f);

/* A test of cmocka's with a fixture as its state. */
#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Starts the daemon with these options besides --dir and --name test; NULL ends them, and may stand for none. */
void fixture_start(struct fixture *f, const char *const *options);

/* The same, but a daemon that ends before it is ready is no failure: gives whether it runs, and if not, its wait status. */
bool fixture_try_start(struct fixture *f, const char *const *options, int *ret_status);

/* After a daemon has ended: fails the test if it left anything but its arena. */
void fixture_check_tidy(const struct fixture *f);

/* A connection to it; fails the test if it cannot be made. */
objd_conn *fixture_connect(const struct fixture *f);

/* Ends it with this signal and gives its wait status. */
int fixture_stop(struct fixture *f, int signal_number);

/* Waits for the end that it comes to by itself, and gives its wait status. */
int fixture_wait(struct fixture *f);

/* The daemon of this build, and another one that is to be started from now on; NULL: this build's again. */
const char *fixture_program(void);
void fixture_use_program(struct fixture *f, const char *program);

/* Fails the test, with the daemon's log, if it does not run. */
void fixture_check_runs(struct fixture *f);

/*
 * Runs the daemon with exactly these arguments to its end. Gives its exit status, what it printed in stdout and stderr.
 */
struct fixture_output {
        int status;
        char out[8192];
        char err[8192];
};
void fixture_run(struct fixture *f, const char *const *args, struct fixture_output *ret_output);

/* The same for a daemon that is expected not to start on this fixture's store: --dir and --name are added. */
void fixture_run_here(struct fixture *f, const char *const *options, struct fixture_output *ret_output);

/* Waits for a message to the service manager that contains this text. */
void fixture_expect_notice(struct fixture *f, const char *text);

/* "DIRECTORY/test" and what stands behind it, as ".sock". */
void fixture_path(const struct fixture *f, const char *suffix, char ret_path[128]);
bool fixture_has(const struct fixture *f, const char *suffix);

/* The daemon's log so far; a static buffer. */
const char *fixture_log(const struct fixture *f);
