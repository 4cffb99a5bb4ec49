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
#include <sys/stat.h>
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

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_client_registers_with_the_next_daemon_by_its_next_call),
                FIXTURE_TEST(a_client_that_sleeps_registers_as_well),
                FIXTURE_TEST(a_forked_child_registers_for_itself),
                FIXTURE_TEST(a_new_store_of_the_same_name_is_none_of_an_old_clients_business),
                FIXTURE_TEST(those_who_died_in_the_gap_are_reaped),
                FIXTURE_TEST(without_a_daemon_sleepers_clean_up_after_dead_clients),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
