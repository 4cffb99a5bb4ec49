/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_daemon_life.c -- clients without a daemon, and under the next one
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"

static const char *const debug[] = { "--log-level", "debug", NULL };

/* ---- Registering again ------------------------------------------------------------------------------- */

struct log_wait {
        const struct fixture *f;
        const char *text;
        int n; /* how often it must be there */
};

static int count_in_log(const struct fixture *f, const char *text)
{
        const char *p = fixture_log(f);
        int n = 0;

        while ((p = strstr(p, text))) {
                p += strlen(text);
                n++;
        }
        return n;
}

static bool is_in_log(void *context)
{
        const struct log_wait *wait = context;

        return count_in_log(wait->f, wait->text) >= wait->n;
}

static void wait_for_log(const struct fixture *f, const char *text, int n)
{
        struct log_wait wait = { f, text, n };

        wait_until(is_in_log, &wait, text);
}

/* What the daemon writes at debug level about a client of an earlier one. */
static const char *came_back(pid_t pid)
{
        static char text[64];

        snprintf(text, sizeof(text), "pid %d: has the arena from an earlier daemon", (int)pid);
        return text;
}

static objd_object *open_numbers(objd_conn *conn)
{
        objd_object *dict;

        assert_ok(objd_open(conn, "numbers", OBJD_DICT, &dict));
        return dict;
}

static void a_client_registers_with_the_next_daemon_by_its_next_call(void **state)
{
        objd_value key = objd_cstr("k"), value;
        objd_buf buf = OBJD_BUF_INIT;
        struct fixture *f = *state;
        objd_object *dict;
        objd_conn *conn;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        dict = open_numbers(conn);
        for (int i = 0; i < 3; i++) {
                fixture_stop(f, SIGKILL);
                assert_ok(objd_dict_get(dict, &key, &value, &buf));
                fixture_start(f, debug);
                assert_int_equal(count_in_log(f, came_back(getpid())), 0);

                /* A plain read by a handle that knows its object is enough. */
                assert_ok(objd_dict_get(dict, &key, &value, &buf));

                wait_for_log(f, came_back(getpid()), 1);
                assert_ok(objd_dict_get(dict, &key, &value, &buf));
        }
        objd_release(dict);
        objd_close(conn);
        wait_for_log(f, ": gone", 1);
        assert_int_equal(count_in_log(f, came_back(getpid())), 1);
        objd_buf_free(&buf);
}

static int wait_for_an_item(void *context)
{
        const struct fixture *f = context;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *queue;
        objd_value value;
        objd_conn *conn;

        child_ok(objd_connect(f->url, &conn));
        child_ok(objd_open(conn, "queue", OBJD_QUEUE, &queue));
        child_ok(numbers_add(conn, "ready", 1));
        child_ok(objd_queue_get(queue, &value, &buf, OBJD_FOREVER));
        objd_buf_free(&buf);
        objd_release(queue);
        objd_close(conn);
        return 0;
}

static bool is_ready(void *context)
{
        int64_t n;

        return numbers_get(context, "ready", &n) == OBJD_OK && n == 1;
}

static void a_client_that_sleeps_registers_as_well(void **state)
{
        objd_value value = objd_int(1);
        struct fixture *f = *state;
        objd_object *queue;
        objd_conn *conn;
        pid_t pid;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        assert_ok(objd_create(conn, "queue", OBJD_QUEUE, NULL, &queue));
        pid = child_start(wait_for_an_item, f);
        wait_until(is_ready, conn, "the child is about to sleep");
        fixture_stop(f, SIGKILL);

        fixture_start(f, debug);

        wait_for_log(f, came_back(pid), 1);
        assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
        child_expect_success(pid);
        objd_release(queue);
        objd_close(conn);
}

static int add_and_return(void *context)
{
        child_ok(numbers_add(context, "k", 1));
        return 0;
}

static void a_forked_child_registers_for_itself(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn;
        pid_t pid;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        fixture_stop(f, SIGKILL);
        fixture_start(f, debug);

        pid = child_start(add_and_return, conn);
        child_expect_success(pid);

        wait_for_log(f, came_back(pid), 1);
        assert_int_equal(count_in_log(f, came_back(getpid())), 0);
        assert_number(conn, "k", 2);
        wait_for_log(f, came_back(getpid()), 1);
        objd_close(conn);
}

static void a_new_store_of_the_same_name_is_none_of_an_old_clients_business(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn;

        fixture_start(f, (const char *[]){ "--memfd", NULL });
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        fixture_stop(f, SIGKILL);
        fixture_start(f, (const char *[]){ "--memfd", "--log-level", "debug", NULL });

        for (int i = 0; i < 10; i++)
                assert_ok(numbers_add(conn, "k", 1));

        objd_close(conn);
        objd_close(fixture_connect(f));
        wait_for_log(f, ": gone", 1);
        assert_int_equal(count_in_log(f, came_back(getpid())), 0);
}

/* ---- The dead of the gap ----------------------------------------------------------------------------- */

static int make_anonymous_and_die(void *context)
{
        objd_object *object;

        child_ok(objd_create(context, NULL, OBJD_DICT, NULL, &object));
        raise(SIGKILL);
        return 0;
}

static void those_who_died_in_the_gap_are_reaped(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn;
        uint64_t n;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        n = stats_of(conn).n_objects;
        fixture_stop(f, SIGKILL);
        assert_true(WIFSIGNALED(child_wait(child_start(make_anonymous_and_die, conn))));
        assert_int_equal(stats_of(conn).n_objects, n + 1);

        fixture_start(f, NULL); /* it is not ready before it has looked */

        assert_int_equal(stats_of(conn).n_objects, n);
        assert_int_equal(stats_of(conn).n_clients, 2);
        objd_close(conn);
}

struct sleeper {
        objd_conn *conn;
        objd_object *queue;
        uint64_t n_objects;
};

static int sleep_long(void *context)
{
        const struct sleeper *sleeper = context;
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        child_ok(objd_queue_get(sleeper->queue, &value, &buf, OBJD_FOREVER));
        objd_buf_free(&buf);
        return 0;
}

static bool has_as_many_objects(void *context)
{
        const struct sleeper *sleeper = context;

        return stats_of(sleeper->conn).n_objects == sleeper->n_objects;
}

/* Their objects were once only deleted when somebody made another one. */
static void without_a_daemon_sleepers_clean_up_after_dead_clients(void **state)
{
        objd_value value = objd_int(1);
        struct sleeper sleeper;
        pid_t pid;

        (void)state;
        assert_ok(objd_connect("embedded:16M", &sleeper.conn));
        assert_ok(objd_create(sleeper.conn, "queue", OBJD_QUEUE, NULL, &sleeper.queue));
        sleeper.n_objects = stats_of(sleeper.conn).n_objects;
        pid = child_start(sleep_long, &sleeper);
        assert_true(WIFSIGNALED(child_wait(child_start(make_anonymous_and_die, sleeper.conn))));

        wait_until(has_as_many_objects, &sleeper, "the sleeper has looked for the dead");

        assert_ok(objd_queue_put(sleeper.queue, &value, OBJD_NOWAIT));
        child_expect_success(pid);
        objd_release(sleeper.queue);
        objd_close(sleeper.conn);
}

/* ---- Started by the first client --------------------------------------------------------------------- */

/* "start:..." for the fixture's store, with the daemon that is to be tested. */
static const char *start_url(const struct fixture *f)
{
        static char url[160];

        snprintf(url, sizeof(url), "start:%s", strchr(f->url, '/'));
        setenv("OBJD_DAEMON", fixture_program(), 1);
        return url;
}

/* Who holds the store's lock file; 0 for nobody. */
static pid_t daemon_pid(const struct fixture *f)
{
        char path[128], text[64] = "";
        int fd;

        fixture_path(f, ".lock", path);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return 0;
        if (read(fd, text, sizeof(text) - 1) < 0)
                text[0] = 0;
        close(fd);
        return (pid_t)atoi(text);
}

static bool has_no_daemon(void *context)
{
        return !fixture_has(context, ".lock");
}

static void end_started_daemon(struct fixture *f)
{
        kill(daemon_pid(f), SIGTERM);
        wait_until(has_no_daemon, f, "the daemon that was started ends");
}

struct starter {
        const char *url;
        struct gate *go;
};

static int start_and_add(void *context)
{
        const struct starter *starter = context;
        objd_conn *conn = NULL;

        gate_wait(starter->go);
        /* So many at once may need more than the time that one client gives a daemon to start. */
        for (int64_t end_ns = test_now_ns() + PATIENCE_NS;
             objd_connect(starter->url, &conn) == OBJD_E_NODAEMON && test_now_ns() < end_ns;)
                continue;
        child_check(conn != NULL);
        child_ok(numbers_add(conn, "k", 1));
        objd_close(conn);
        return 0;
}

#define N_RACERS 24

static void of_many_clients_that_start_a_daemon_one_does(void **state)
{
        struct fixture *f = *state;
        struct gate go;
        struct starter starter = { start_url(f), &go };
        pid_t pids[N_RACERS];
        objd_conn *conn;

        gate_init(&go);
        for (int i = 0; i < N_RACERS; i++)
                pids[i] = child_start(start_and_add, &starter);
        gate_open(&go, N_RACERS);
        for (int i = 0; i < N_RACERS; i++)
                child_expect_success(pids[i]);

        /* They all came to one store, and nobody had to wait for a second daemon. */
        assert_ok(objd_connect(starter.url, &conn));
        assert_number(conn, "k", N_RACERS);
        assert_int_equal(stats_of(conn).n_clients, 2);
        objd_close(conn);
        gate_deinit(&go);
        end_started_daemon(f);
}

static void a_started_daemon_has_nothing_of_its_starters(void **state)
{
        struct pollfd pollfd = { .events = POLLIN };
        struct fixture *f = *state;
        const char *url = start_url(f);
        int fds[2], out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
        objd_conn *conn;
        objd_status r;

        /* The caller's own output is a pipe, as of a program in a pipeline. */
        assert_int_equal(pipe(fds), 0);
        fflush(NULL);
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        r = objd_connect(url, &conn);
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        close(out);
        close(err);
        close(fds[1]);
        assert_ok(r);

        pollfd.fd = fds[0];
        assert_int_equal(poll(&pollfd, 1, 0), 1);
        assert_int_equal(pollfd.revents, POLLHUP);  /* nobody has its other end, and nothing was written */
        assert_int_equal(waitpid(-1, NULL, 0), -1); /* the daemon is no child of ours */
        assert_int_equal(getsid(daemon_pid(f)), daemon_pid(f));
        close(fds[0]);
        objd_close(conn);
        end_started_daemon(f);
}

static void a_daemon_that_cannot_be_run_is_named(void **state)
{
        struct fixture *f = *state;
        const char *url = start_url(f);
        objd_conn *conn;

        setenv("OBJD_DAEMON", "/nowhere/objd", 1);
        assert_status(objd_connect(url, &conn), OBJD_E_NODAEMON);
        assert_contains(objd_last_error(), "no daemon answers, and /nowhere/objd cannot be run");
}

/* ---- Ends of a daemon -------------------------------------------------------------------------------- */

/* A client of a daemon that ends after a second without one; on a machine that is slow enough, before we have come. */
static objd_conn *start_idle_and_connect(struct fixture *f)
{
        objd_conn *conn = NULL;
        objd_status r;

        for (int64_t end_ns = test_now_ns() + PATIENCE_NS; test_now_ns() < end_ns;) {
                fixture_start(f, (const char *[]){ "--idle-exit", "1", NULL });
                r = objd_connect(f->url, &conn);
                if (r == OBJD_OK)
                        return conn;
                assert_status(r, OBJD_E_NODAEMON);
                assert_int_equal(fixture_wait(f), 0);
        }
        fail_msg("the daemon always ends before its first client comes");
        return NULL;
}

static void idle_exit_waits_for_the_last_client(void **state)
{
        struct fixture *f = *state;
        struct log_wait ended = { f, "ends: nobody has used the store for 1 s", 1 };
        objd_conn *conn;
        int status;

        conn = start_idle_and_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        poll(NULL, 0, 1300);
        fixture_check_runs(f); /* somebody is there */
        objd_close(conn);

        wait_until(is_in_log, &ended, ended.text);
        status = fixture_wait(f);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_true(fixture_has(f, ".arena"));
        assert_false(fixture_has(f, ".sock"));
}

/* A client that the daemon only knows from the arena, since it sleeps in no call of objd's, is a user too. */
static void idle_exit_waits_for_clients_of_an_earlier_daemon(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        fixture_stop(f, SIGKILL);
        fixture_start(f, (const char *[]){ "--idle-exit", "1", NULL });
        poll(NULL, 0, 1300);
        fixture_check_runs(f);
        objd_close(conn);
        assert_int_equal(fixture_wait(f), 0);
}

struct parent {
        struct fixture *f;
        const char *option;
        struct gate ready;
};

/* Is the parent of a daemon, and is killed as soon as that runs. */
static int be_parent(void *context)
{
        struct parent *parent = context;
        pid_t pid = fork();

        if (pid == 0) {
                int log = open(parent->f->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

                dup2(log, STDERR_FILENO);
                execl(fixture_program(), "objd", "--dir", parent->f->directory, "--name", "test",
                      parent->option, (char *)NULL);
                _exit(127);
        }
        child_check(pid > 0);
        poll(NULL, 0, 60000);
        return 0;
}

static void a_daemon_dies_with_its_parent(void **state)
{
        struct fixture *f = *state;
        struct parent parent = { .f = f, .option = "--die-with-parent" };
        struct log_wait runs = { f, "clients connect to", 1 },
                        ended = { f, "ends: the process that started it", 1 };
        pid_t pid = child_start(be_parent, &parent);
        objd_conn *conn;

        wait_until(is_in_log, &runs, runs.text);
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        child_kill(pid);

        wait_until(is_in_log, &ended, ended.text);
        wait_until(has_no_daemon, f, "it has cleaned up");
        assert_ok(numbers_add(conn, "k", 1));
        objd_close(conn);
}

static void a_parent_that_is_gone_already_is_noticed(void **state)
{
        struct fixture_output output;

        fixture_run_here(*state, (const char *[]){ "--die-with-parent=1", NULL }, &output);
        assert_int_equal(output.status, 1);
        assert_contains(output.err, "--die-with-parent: process 1 is not the parent, or is gone");
        fixture_run_here(*state, (const char *[]){ "--die-with-parent", "--background", NULL }, &output);
        assert_int_equal(output.status, 2);
}

static void background_returns_when_clients_can_connect(void **state)
{
        struct fixture *f = *state;
        struct fixture_output output;
        char log[128];
        objd_conn *conn;
        pid_t pid;

        snprintf(log, sizeof(log), "%s/background.log", f->base);
        fixture_run_here(f, (const char *[]){ "--background", "--log-file", log, NULL }, &output);
        assert_int_equal(output.status, 0);
        assert_string_equal(output.err, "");
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        pid = daemon_pid(f);

        fixture_run_here(f, (const char *[]){ "--background", NULL }, &output);
        assert_int_equal(output.status, 1);
        assert_contains(output.err, "runs already");
        assert_int_equal(daemon_pid(f), pid);
        assert_int_equal(access(log, R_OK), 0);
        objd_close(conn);
        end_started_daemon(f);
}

/* ---- One daemon after the other ---------------------------------------------------------------------- */

struct at_work {
        const char *url;
        struct gate ready;
        volatile int64_t *longest_ns;
        volatile int *stop;
};

static int work_without_pause(void *context)
{
        struct at_work *work = context;
        objd_conn *conn;

        child_ok(objd_connect(work->url, &conn));
        child_ok(numbers_add(conn, "n", 1));
        gate_open(&work->ready, 1);
        while (!*work->stop) {
                int64_t start = test_now_ns(), took;

                child_ok(numbers_add(conn, "n", 1));
                took = test_now_ns() - start;
                if (took > *work->longest_ns)
                        *work->longest_ns = took;
        }
        objd_close(conn);
        return 0;
}

static void copy_file(const char *from, const char *to)
{
        int in = open(from, O_RDONLY | O_CLOEXEC),
            out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
        char bytes[65536];
        ssize_t n;

        assert_true(in >= 0 && out >= 0);
        while ((n = read(in, bytes, sizeof(bytes))) > 0)
                assert_int_equal(write(out, bytes, (size_t)n), n);
        close(in);
        close(out);
}

static void another_build_takes_the_store_over_while_clients_work(void **state)
{
        static const int signals[] = { SIGTERM, SIGKILL, SIGTERM, SIGKILL };
        struct fixture *f = *state;
        struct {
                int64_t longest_ns;
                int stop;
        } *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        struct at_work work = { .url = f->url, .longest_ns = &shared->longest_ns, .stop = &shared->stop };
        char other[128];
        pid_t pids[2];

        assert_ptr_not_equal(shared, MAP_FAILED);
        snprintf(other, sizeof(other), "%s/objd-of-tomorrow", f->base);
        copy_file(fixture_program(), other);
        gate_init(&work.ready);
        fixture_start(f, NULL);
        for (int i = 0; i < 2; i++) {
                pids[i] = child_start(work_without_pause, &work);
                gate_wait(&work.ready);
        }
        for (size_t i = 0; i < 4; i++) {
                fixture_stop(f, signals[i]);
                fixture_use_program(f, i % 2 ? NULL : other);
                fixture_start(f, debug);
                wait_for_log(f, came_back(pids[0]), 1);
                wait_for_log(f, came_back(pids[1]), 1);
        }
        shared->stop = 1;
        for (int i = 0; i < 2; i++)
                child_expect_success(pids[i]);
        print_message("four daemons later: the longest call took %.1f ms\n",
                      (double)shared->longest_ns / 1e6);
        fixture_use_program(f, NULL);
        gate_deinit(&work.ready);
        munmap(shared, sizeof(*shared));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_client_registers_with_the_next_daemon_by_its_next_call),
                FIXTURE_TEST(a_client_that_sleeps_registers_as_well),
                FIXTURE_TEST(a_forked_child_registers_for_itself),
                FIXTURE_TEST(a_new_store_of_the_same_name_is_none_of_an_old_clients_business),
                FIXTURE_TEST(those_who_died_in_the_gap_are_reaped),
                FIXTURE_TEST(without_a_daemon_sleepers_clean_up_after_dead_clients),
                FIXTURE_TEST(of_many_clients_that_start_a_daemon_one_does),
                FIXTURE_TEST(a_started_daemon_has_nothing_of_its_starters),
                FIXTURE_TEST(a_daemon_that_cannot_be_run_is_named),
                FIXTURE_TEST(idle_exit_waits_for_the_last_client),
                FIXTURE_TEST(idle_exit_waits_for_clients_of_an_earlier_daemon),
                FIXTURE_TEST(a_daemon_dies_with_its_parent),
                FIXTURE_TEST(a_parent_that_is_gone_already_is_noticed),
                FIXTURE_TEST(background_returns_when_clients_can_connect),
                FIXTURE_TEST(another_build_takes_the_store_over_while_clients_work),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
