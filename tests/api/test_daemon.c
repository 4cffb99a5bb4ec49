/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_daemon.c -- objd as a program: its life, its files, and callers that do not behave
 */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"

/* From now on a shell runs these commands, of which the last is to be: exec "$objd" "$@" */
static void use_script(struct fixture *f, const char *commands)
{
        char path[128];
        FILE *script;

        snprintf(path, sizeof(path), "%s/script", f->base);
        script = fopen(path, "we");
        assert_non_null(script);
        fprintf(script, "#!/bin/sh\nobjd=%s\n%s\n", fixture_program(), commands);
        assert_int_equal(fchmod(fileno(script), 0755), 0);
        assert_int_equal(fclose(script), 0);
        fixture_use_program(f, path);
}

/* The daemon fails to start with status 1 and this in its log. */
static void assert_does_not_start(struct fixture *f, const char *const *options, const char *sentence)
{
        struct fixture_output output;

        fixture_run_here(f, options, &output);
        assert_int_equal(output.status, 1);
        assert_contains(output.err, sentence);
        assert_contains(output.err, " error   cannot start: ");
}

/* ---- The command line -------------------------------------------------------------------------------- */

static void help_and_version_are_answered_on_stdout(void **state)
{
        struct fixture_output output;

        fixture_run(*state, (const char *[]){ "--help", NULL }, &output);
        assert_int_equal(output.status, 0);
        assert_string_equal(output.err, "");
        assert_contains(output.out, "usage: objd [OPTION]...\n");
        assert_contains(output.out, "--remove-on-exit");

        fixture_run(*state, (const char *[]){ "--version", NULL }, &output);
        assert_int_equal(output.status, 0);
        assert_string_equal(output.out, "objd 0.1.0\n");
}

static void a_bad_command_line_is_refused_with_what_is_wrong(void **state)
{
        static const struct {
                const char *args[3];
                const char *sentence;
        } cases[] = {
                { { "--nmae", "x" }, "there is no option \"--nmae\"" },
                { { "-x" }, "there is no option \"-x\"" },
                { { "--memfd=1" }, "or it takes no value" },
                { { "--name" }, "option \"--name\" needs a value" },
                { { "start" }, "\"start\" is no option" },
                { { "a\x1b[2Jb\xc2\x9b\xc3\xa4" },
                  "\"a?[2Jb??\xc3\xa4\" is no option" }, /* nothing that steers a terminal */
                { { "--name", "a/b" }, "--name: byte 2 of the store's name is none of A-Z a-z 0-9 . _ -" },
                { { "--name", "" }, "--name: the store's name is empty" },
                { { "--dir", "here" }, "--dir: \"here\" does not begin with a /" },
                { { "--size", "1023K" }, "--size: the size is 1047552 bytes, it may be from 1M to 1T" },
                { { "--size", "2T" }, "--size: the size is 2199023255552 bytes" },
                { { "--size", "big" }, "--size: \"big\" is no size" },
                { { "--max-clients", "0" }, "--max-clients: \"0\" is no number from 1 to 4095" },
                { { "--max-clients", "4096" }, "--max-clients: \"4096\" is no number from 1 to 4095" },
                { { "--allow-uid", "root" }, "--allow-uid: \"root\" is no number from 0 to 4294967294" },
                { { "--allow-gid", "-1" }, "--allow-gid: \"-1\" is no number" },
                { { "--log-level", "loud" }, "--log-level: \"loud\" is none of error, warning, info, debug" },
        };
        struct fixture_output output;

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                fixture_run(*state, cases[i].args, &output);
                assert_int_equal(output.status, 2);
                assert_contains(output.err, cases[i].sentence);
                assert_string_equal(output.out, "");
        }
}

static void a_directory_that_is_too_long_is_refused(void **state)
{
        struct fixture_output output;
        char path[5000];

        memset(path, 'd', sizeof(path));
        path[0] = '/';
        path[sizeof(path) - 1] = '\0';
        fixture_run(*state, (const char *[]){ "--dir", path, NULL }, &output);
        assert_int_equal(output.status, 2);
        assert_contains(output.err, "--dir: the path has 4999 bytes, at most ");
}

static void there_are_at_most_256_rules(void **state)
{
        struct fixture *f = *state;
        struct fixture_output output;

        use_script(f, "for i in $(seq 256); do set -- \"$@\" --allow-uid $((100000 + i)); done\n"
                      "exec \"$objd\" \"$@\" --deny-gid 7");
        fixture_run_here(f, NULL, &output);
        assert_int_equal(output.status, 2);
        assert_contains(output.err, "--deny-gid: there are 256 rules already, which is all there can be");
}

static void slashes_behind_the_directory_and_foreground_change_nothing(void **state)
{
        struct fixture *f = *state;
        char directory[128];

        snprintf(directory, sizeof(directory), "%s///", f->directory);
        fixture_start(f, (const char *[]){ "--dir", directory, "--foreground", NULL });
        objd_close(fixture_connect(f));
        assert_false(strstr(fixture_log(f), "///") != NULL);
}

static void a_log_file_that_cannot_be_opened_is_told(void **state)
{
        struct fixture_output output;

        fixture_run_here(*state, (const char *[]){ "--log-file", "/nowhere/log", NULL }, &output);
        assert_int_equal(output.status, 1);
        assert_contains(output.err, "cannot open /nowhere/log: No such file or directory");
}

/* ---- Life -------------------------------------------------------------------------------------------- */

/* The hard limit is raised by who may, and lowers the number of clients of who may not. */
static void the_limit_of_open_files_limits_the_clients(void **state)
{
        static const struct {
                const char *commands, *sentence;
        } cases[] = {
                { "ulimit -n 200", "only 128 clients can connect: the limit of open files is 200" },
                { "ulimit -S -n 100; ulimit -H -n 600",
                  "only 472 clients can connect: the limit of open files is 600" },
        };
        struct fixture *f = *state;
        char script[256];

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                snprintf(script, sizeof(script), "%s\nexec %s \"$objd\" \"$@\"", cases[i].commands,
                         geteuid() == 0 ? "setpriv --bounding-set -sys_resource" : "");
                use_script(f, script);
                fixture_start(f, (const char *[]){ "--max-clients", "1000", NULL });
                assert_contains(fixture_log(f), cases[i].sentence);
                objd_close(fixture_connect(f));
                fixture_stop(f, SIGTERM);
        }
        use_script(f, "ulimit -S -n 100\nexec \"$objd\" \"$@\"");
        fixture_start(f, (const char *[]){ "--max-clients", "10", NULL });
        assert_false(strstr(fixture_log(f), "clients can connect") != NULL);
        objd_close(fixture_connect(f));
}

static void a_service_manager_is_told_of_start_and_end(void **state)
{
        struct fixture *f = *state;

        fixture_start(f, NULL); /* waits for READY=1 */
        fixture_stop(f, SIGTERM);

        fixture_expect_notice(f, "STOPPING=1");
}

static void term_and_int_end_it_cleanly_and_the_arena_stays(void **state)
{
        static const int signals[] = { SIGTERM, SIGINT };
        struct fixture *f = *state;
        objd_conn *conn;

        for (size_t i = 0; i < 2; i++) {
                fixture_start(f, NULL);
                assert_true(fixture_has(f, ".sock"));
                assert_true(fixture_has(f, ".lock"));
                conn = fixture_connect(f);
                assert_ok(numbers_add(conn, "k", 1));

                assert_int_equal(fixture_stop(f, signals[i]), 0);

                assert_false(fixture_has(f, ".sock"));
                assert_false(fixture_has(f, ".lock"));
                assert_true(fixture_has(f, ".arena"));
                assert_ok(numbers_add(conn, "k", 1)); /* without a daemon */
                assert_number(conn, "k", 2 * (int64_t)(i + 1));
                objd_close(conn);
        }
}

static void remove_on_exit_leaves_no_file(void **state)
{
        struct fixture *f = *state;

        fixture_start(f, (const char *[]){ "--remove-on-exit", NULL });
        assert_true(fixture_has(f, ".arena"));
        assert_int_equal(fixture_stop(f, SIGTERM), 0);

        assert_false(fixture_has(f, ".arena"));
        assert_int_equal(rmdir(f->directory), 0); /* it is empty */
}

/* ---- Out and in again -------------------------------------------------------------------------------- */

static void a_store_is_saved_at_the_end_and_loaded_at_the_start(void **state)
{
        struct fixture *f = *state;
        char path[128], new_path[140];

        snprintf(path, sizeof(path), "%s/store.dump", f->base);
        snprintf(new_path, sizeof(new_path), "%s.new", path);
        for (int64_t i = 0; i < 3; i++) {
                const char *const file[] = {
                        "--load", path, "--save-on-exit", path, "--remove-on-exit", NULL
                };
                const char *const memory[] = { "--load", path, "--save-on-exit", path, "--memfd", NULL };
                objd_conn *conn;

                fixture_start(f, i == 1 ? memory : file);
                conn = fixture_connect(f);
                assert_ok(numbers_add(conn, "k", 1));
                assert_number(conn, "k", i + 1);
                assert_int_equal(fixture_stop(f, SIGTERM), 0);
                objd_close(conn);
                assert_false(fixture_has(f, ".arena"));
                assert_int_equal(access(path, F_OK), 0);
                assert_int_not_equal(access(new_path, F_OK), 0);
        }
        assert_int_equal(unlink(path), 0);
}

static void a_store_that_is_there_is_not_loaded_over(void **state)
{
        struct fixture *f = *state;
        char path[128];
        objd_conn *conn;

        snprintf(path, sizeof(path), "%s/store.dump", f->base);
        for (int64_t i = 0; i < 3; i++) {
                fixture_start(f, (const char *[]){ i ? "--load" : "--save-on-exit", path, NULL });
                conn = fixture_connect(f);
                assert_ok(numbers_add(conn, "k", 1));
                assert_number(conn, "k", i + 1);
                objd_close(conn);
                assert_int_equal(fixture_stop(f, SIGTERM), 0);
        }
        assert_int_equal(unlink(path), 0);
}

static void a_dump_that_is_wrong_keeps_it_from_starting(void **state)
{
        struct fixture *f = *state;
        char path[128], sentence[200];
        FILE *file;

        snprintf(path, sizeof(path), "%s/store.dump", f->base);
        snprintf(sentence, sizeof(sentence), "cannot open %s: No such file or directory", path);
        assert_does_not_start(f, (const char *[]){ "--load", path, NULL }, sentence);
        file = fopen(path, "w");
        assert_non_null(file);
        fputs("{\"objd_dump\":1}\n{\"object\":1,\"name\":\"l\",\"kind\":\"list\",\"len\":2}\n[1]\n", file);
        assert_int_equal(fclose(file), 0);
        snprintf(sentence, sizeof(sentence), "%s:4: the file ends in the middle of object 1: it has been cut",
                 path);
        assert_does_not_start(f, (const char *[]){ "--load", path, NULL }, sentence);
        assert_does_not_start(f, (const char *[]){ "--load", path, "--memfd", NULL }, sentence);
        assert_false(fixture_has(f, ".arena"));
        assert_false(fixture_has(f, ".arena.new"));
        assert_int_equal(unlink(path), 0);
}

/* What could not be saved is still there. */
static void a_store_that_cannot_be_saved_stays(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn;
        char path[128];
        int status;

        snprintf(path, sizeof(path), "%s/none/store.dump", f->base);
        fixture_start(f, (const char *[]){ "--save-on-exit", path, "--remove-on-exit", NULL });
        conn = fixture_connect(f);
        assert_ok(numbers_add(conn, "k", 1));
        objd_close(conn);
        status = fixture_stop(f, SIGTERM);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        assert_contains(fixture_log(f), "cannot save the store: cannot make ");
        assert_true(fixture_has(f, ".arena"));
}

static void what_cannot_be_given_its_name_is_not_left_behind(void **state)
{
        struct fixture *f = *state;
        char path[128], new_path[140];
        int status;

        snprintf(path, sizeof(path), "%s/dump", f->base);
        snprintf(new_path, sizeof(new_path), "%s.new", path);
        assert_int_equal(mkdir(path, 0700), 0);
        fixture_start(f, (const char *[]){ "--save-on-exit", path, "--remove-on-exit", NULL });
        status = fixture_stop(f, SIGTERM);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        assert_contains(fixture_log(f), "cannot save the store: cannot rename ");
        assert_int_not_equal(access(new_path, F_OK), 0);
        assert_true(fixture_has(f, ".arena"));
        assert_int_equal(rmdir(path), 0);
}

static void a_hang_up_signal_does_not_end_it(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn;

        fixture_start(f, NULL);
        kill(f->pid, SIGHUP);

        conn = fixture_connect(f);
        objd_close(conn);
        fixture_check_runs(f);
}

static void a_second_daemon_is_told_who_runs(void **state)
{
        struct fixture *f = *state;
        char sentence[256];
        objd_conn *conn;

        fixture_start(f, NULL);
        snprintf(sentence, sizeof(sentence),
                 "a daemon for store \"test\" in %s runs already: pid %d, since 20", f->directory,
                 (int)f->pid);
        assert_does_not_start(f, NULL, sentence);
        assert_does_not_start(f, (const char *[]){ "--memfd", NULL }, sentence);

        conn = fixture_connect(f); /* the first one has not been disturbed */
        assert_ok(numbers_add(conn, "k", 1));
        objd_close(conn);
}

/* Whoever has the lock writes into the file who it is, a moment later. */
static void a_daemon_that_is_just_starting_is_one_already(void **state)
{
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        struct fixture *f = *state;
        char path[128];
        int fd;

        assert_int_equal(mkdir(f->directory, 0755), 0);
        fixture_path(f, ".lock", path);
        fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
        assert_does_not_start(f, NULL, "is just starting");
        close(fd);

        fixture_start(f, NULL); /* it was nobody's any more */
        objd_close(fixture_connect(f));
}

static bool has_two_clients(void *context)
{
        return stats_of(context).n_clients == 2;
}

static void a_killed_daemon_is_missed_by_nobody_and_the_next_one_goes_on(void **state)
{
        struct fixture *f = *state;
        objd_conn *old, *new;

        fixture_start(f, NULL);
        old = fixture_connect(f);
        assert_ok(numbers_add(old, "k", 1));
        fixture_stop(f, SIGKILL);
        assert_true(fixture_has(f, ".sock"));
        assert_true(fixture_has(f, ".lock"));
        assert_ok(numbers_add(old, "k", 1));
        assert_number(old, "k", 2);

        fixture_start(f, NULL);
        assert_contains(fixture_log(f), "took up the file");
        assert_contains(fixture_log(f), "daemon epoch 2");
        new = fixture_connect(f);
        assert_number(new, "k", 2);
        assert_ok(numbers_add(old, "k", 1));
        assert_number(new, "k", 3);
        wait_until(has_two_clients, new, "the killed daemon's entry is free again");
        objd_close(old);
        objd_close(new);
}

static void what_a_killed_daemon_left_half_made_is_replaced(void **state)
{
        static const char *const suffixes[] = { ".arena.new", ".sock.new", ".sock", ".lock" };
        struct fixture *f = *state;
        char path[128];
        int fd;

        assert_int_equal(mkdir(f->directory, 0755), 0);
        for (size_t i = 0; i < 4; i++) {
                fixture_path(f, suffixes[i], path);
                fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
                assert_int_equal(write(fd, "999999 1\n", 9), 9);
                close(fd);
        }

        fixture_start(f, NULL);

        objd_close(fixture_connect(f));
        assert_false(fixture_has(f, ".arena.new"));
        assert_false(fixture_has(f, ".sock.new"));
}

static void a_memfd_store_ends_with_its_last_user(void **state)
{
        struct fixture *f = *state;
        objd_conn *old, *new;
        int64_t number;

        fixture_start(f, (const char *[]){ "--memfd", NULL });
        assert_false(fixture_has(f, ".arena"));
        old = fixture_connect(f);
        new = fixture_connect(f);
        assert_ok(numbers_add(old, "k", 1));
        assert_number(new, "k", 1);
        objd_close(new);
        fixture_stop(f, SIGKILL);
        assert_ok(numbers_add(old, "k", 1));
        assert_number(old, "k", 2);

        fixture_start(f, (const char *[]){ "--memfd", NULL });
        new = fixture_connect(f);
        assert_ok(numbers_add(new, "other", 1));
        assert_status(numbers_get(new, "k", &number), OBJD_E_NOTFOUND);
        objd_close(old);
        objd_close(new);
}

static void memfd_and_a_file_of_that_name_do_not_go_together(void **state)
{
        struct fixture *f = *state;

        fixture_start(f, NULL);
        fixture_stop(f, SIGTERM);

        assert_does_not_start(f, (const char *[]){ "--memfd", NULL },
                              "--memfd: store \"test\" is there already, as the file");
}

static void sixty_four_gigabytes_are_ready_at_once(void **state)
{
        static const char *const ways[] = { NULL, "--memfd" };
        struct fixture *f = *state;
        objd_conn *conn;

        for (size_t i = 0; i < 2; i++) {
                fixture_start(f, (const char *[]){ "--size", "64G", "--remove-on-exit", ways[i], NULL });
                print_message("--size 64G %s: ready after %.1f ms\n", ways[i] ? ways[i] : "",
                              (double)f->ready_ns / 1e6);
                conn = fixture_connect(f);
                assert_ok(numbers_add(conn, "k", 1));
                assert_true(stats_of(conn).arena_size > 64ULL << 30);
                assert_true(stats_of(conn).arena_resident < 1 << 20);
                objd_close(conn);
                fixture_stop(f, SIGTERM);
        }
}

static void a_file_keeps_its_size(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn;
        uint64_t size;

        fixture_start(f, (const char *[]){ "--size", "8M", NULL });
        conn = fixture_connect(f);
        size = stats_of(conn).arena_size;
        objd_close(conn);
        fixture_stop(f, SIGTERM);

        fixture_start(f, (const char *[]){ "--size", "64M", NULL });
        conn = fixture_connect(f);
        assert_int_equal(stats_of(conn).arena_size, size);
        objd_close(conn);
        assert_contains(fixture_log(f), "the store keeps its size");
}

static void inherited_descriptors_are_closed(void **state)
{
        struct pollfd pollfd = { .events = POLLIN };
        struct fixture *f = *state;
        int fds[2];

        assert_int_equal(pipe(fds), 0); /* without O_CLOEXEC: the daemon inherits both ends */
        fixture_start(f, NULL);
        close(fds[1]);

        pollfd.fd = fds[0];
        assert_int_equal(poll(&pollfd, 1, 0), 1);
        assert_true(pollfd.revents & POLLHUP);
        close(fds[0]);
}

/* ---- The dead ---------------------------------------------------------------------------------------- */

static int make_anonymous_and_die(void *context)
{
        const struct fixture *f = context;
        objd_object *object;
        objd_conn *conn;

        child_ok(objd_connect(f->url, &conn));
        child_ok(numbers_add(conn, "k", 1));
        child_ok(objd_create(conn, NULL, OBJD_DICT, NULL, &object));
        raise(SIGKILL);
        return 0;
}

struct expectation {
        objd_conn *conn;
        uint64_t n_objects, n_clients;
};

static bool is_as_expected(void *context)
{
        const struct expectation *expected = context;
        objd_stats stats;

        return objd_stats_get(expected->conn, &stats) == OBJD_OK && stats.n_objects == expected->n_objects &&
               stats.n_clients == expected->n_clients;
}

static void the_daemon_cleans_up_after_the_dead(void **state)
{
        struct fixture *f = *state;
        struct expectation expected;

        fixture_start(f, NULL);
        expected.conn = fixture_connect(f);
        assert_ok(numbers_add(expected.conn, "k", 1));
        expected.n_objects = stats_of(expected.conn).n_objects;
        expected.n_clients = 2;

        for (int i = 0; i < 10; i++)
                assert_true(WIFSIGNALED(child_wait(child_start(make_anonymous_and_die, f))));

        wait_until(is_as_expected, &expected, "the dead clients' objects are gone");
        assert_number(expected.conn, "k", 11);
        objd_close(expected.conn);
}

struct orphan {
        const struct fixture *f;
        struct gate ready, die;
};

static int outlive_the_daemon(void *context)
{
        const struct orphan *orphan = context;
        objd_object *object;
        objd_conn *conn;

        child_ok(objd_connect(orphan->f->url, &conn));
        child_ok(objd_create(conn, NULL, OBJD_DICT, NULL, &object));
        gate_open(&orphan->ready, 1);
        gate_wait(&orphan->die);
        raise(SIGKILL);
        return 0;
}

static void a_new_daemon_spares_the_living_it_does_not_know_and_cleans_up_when_they_die(void **state)
{
        struct fixture *f = *state;
        struct orphan orphan = { .f = f };
        struct expectation expected;
        pid_t pid;

        gate_init(&orphan.ready);
        gate_init(&orphan.die);
        fixture_start(f, NULL);
        expected.conn = fixture_connect(f);
        expected.n_objects = stats_of(expected.conn).n_objects;
        pid = child_start(outlive_the_daemon, &orphan);
        gate_wait(&orphan.ready);
        fixture_stop(f, SIGKILL);

        fixture_start(f, NULL);
        assert_int_equal(stats_of(expected.conn).n_objects, expected.n_objects + 1);

        gate_open(&orphan.die, 1);
        assert_true(WIFSIGNALED(child_wait(pid)));
        expected.n_clients = 1; /* the daemon; this process has not called yet */
        wait_until(is_as_expected, &expected, "the orphan's object is gone");
        objd_close(expected.conn);
        gate_deinit(&orphan.ready);
        gate_deinit(&orphan.die);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(help_and_version_are_answered_on_stdout),
                FIXTURE_TEST(a_bad_command_line_is_refused_with_what_is_wrong),
                FIXTURE_TEST(a_directory_that_is_too_long_is_refused),
                FIXTURE_TEST(there_are_at_most_256_rules),
                FIXTURE_TEST(slashes_behind_the_directory_and_foreground_change_nothing),
                FIXTURE_TEST(a_log_file_that_cannot_be_opened_is_told),
                FIXTURE_TEST(the_limit_of_open_files_limits_the_clients),
                FIXTURE_TEST(a_service_manager_is_told_of_start_and_end),
                FIXTURE_TEST(term_and_int_end_it_cleanly_and_the_arena_stays),
                FIXTURE_TEST(remove_on_exit_leaves_no_file),
                FIXTURE_TEST(a_store_is_saved_at_the_end_and_loaded_at_the_start),
                FIXTURE_TEST(a_store_that_is_there_is_not_loaded_over),
                FIXTURE_TEST(a_dump_that_is_wrong_keeps_it_from_starting),
                FIXTURE_TEST(a_store_that_cannot_be_saved_stays),
                FIXTURE_TEST(what_cannot_be_given_its_name_is_not_left_behind),
                FIXTURE_TEST(a_hang_up_signal_does_not_end_it),
                FIXTURE_TEST(a_second_daemon_is_told_who_runs),
                FIXTURE_TEST(a_daemon_that_is_just_starting_is_one_already),
                FIXTURE_TEST(a_killed_daemon_is_missed_by_nobody_and_the_next_one_goes_on),
                FIXTURE_TEST(what_a_killed_daemon_left_half_made_is_replaced),
                FIXTURE_TEST(a_memfd_store_ends_with_its_last_user),
                FIXTURE_TEST(memfd_and_a_file_of_that_name_do_not_go_together),
                FIXTURE_TEST(sixty_four_gigabytes_are_ready_at_once),
                FIXTURE_TEST(a_file_keeps_its_size),
                FIXTURE_TEST(inherited_descriptors_are_closed),
                FIXTURE_TEST(the_daemon_cleans_up_after_the_dead),
                FIXTURE_TEST(a_new_daemon_spares_the_living_it_does_not_know_and_cleans_up_when_they_die),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
