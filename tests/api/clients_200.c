/* SPDX-License-Identifier: Apache-2.0 */

/*
 * clients_200.c -- two hundred processes with two threads each, all at once, on one store
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"

#define N_PROCESSES 200
#define N_THREADS 2
#define N_ROUNDS 50

struct worker {
        const struct fixture *fixture;
        const struct gate *start;
        int number;
        objd_conn *conn;
        objd_object *counters, *own;
};

/* Each round: one more in the common counter, one more in one of a few, and a pair moved within the worker's own dict. */
static void *hammer(void *context)
{
        struct worker *w = context;

        for (int i = 0; i < N_ROUNDS; i++) {
                objd_value common = objd_cstr("all"), few = objd_int(w->number % 10), mine = objd_int(i);
                objd_value value = objd_cstr("a value");

                child_ok(objd_dict_add_int(w->counters, &common, 1, NULL));
                child_ok(objd_dict_add_int(w->counters, &few, 1, NULL));
                child_ok(objd_dict_set(w->own, &mine, &value));
        }
        return NULL;
}

static int work(void *context)
{
        struct worker *w = context;
        pthread_t threads[N_THREADS];
        uint64_t len;
        char name[32];

        gate_wait(w->start);
        child_ok(objd_connect(w->fixture->url, &w->conn));
        child_ok(objd_set_timeout(w->conn, OBJD_FOREVER));
        snprintf(name, sizeof(name), "worker %d", w->number);
        child_ok(objd_open_or_create(w->conn, "counters", OBJD_DICT, NULL, &w->counters));
        child_ok(objd_create(w->conn, name, OBJD_DICT, NULL, &w->own));
        for (int i = 0; i < N_THREADS; i++)
                child_check(pthread_create(&threads[i], NULL, hammer, w) == 0);
        for (int i = 0; i < N_THREADS; i++)
                child_check(pthread_join(threads[i], NULL) == 0);
        child_ok(objd_dict_len(w->own, &len));
        child_check(len == N_ROUNDS);
        objd_release(w->own);
        if (w->number % 2)
                child_ok(objd_delete(w->conn, name));
        objd_release(w->counters);
        objd_close(w->conn);
        return 0;
}

/* Two hundred on a few processors take their time: what hangs is killed by the test's own time-out. */
static void expect_success(pid_t pid)
{
        int status;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

static int64_t number_at(objd_conn *conn, const objd_value *key)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        objd_object *dict;

        assert_ok(objd_open(conn, "counters", OBJD_DICT, &dict));
        assert_ok(objd_dict_get(dict, key, &value, &buf));
        objd_release(dict);
        objd_buf_free(&buf);
        return value.u.integer;
}

/* As many clients as before, when there were ours and perhaps the daemon itself. */
struct before {
        objd_conn *conn;
        uint64_t n_clients;
};

static bool others_are_gone(void *context)
{
        struct before *before = context;

        return stats_of(before->conn).n_clients == before->n_clients;
}

static void two_hundred_clients_lose_nothing(void **state)
{
        struct fixture *f = *state;
        struct worker workers[N_PROCESSES];
        pid_t pids[N_PROCESSES];
        objd_value all = objd_cstr("all");
        struct before before;
        struct gate start;
        objd_conn *conn;
        int64_t sum = 0;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "ours", 1));
        before = (struct before){ conn, stats_of(conn).n_clients };
        gate_init(&start);
        for (int i = 0; i < N_PROCESSES; i++) {
                workers[i] = (struct worker){ .fixture = f, .start = &start, .number = i };
                pids[i] = child_start(work, &workers[i]);
        }
        gate_open(&start, N_PROCESSES);
        for (int i = 0; i < N_PROCESSES; i++)
                expect_success(pids[i]);

        assert_int_equal(number_at(conn, &all), N_PROCESSES * N_THREADS * N_ROUNDS);
        for (int64_t i = 0; i < 10; i++)
                sum += number_at(conn, &(objd_value){ .type = OBJD_INT, .u.integer = i });
        assert_int_equal(sum, N_PROCESSES * N_THREADS * N_ROUNDS);
        wait_until(others_are_gone, &before, "all clients but ours are gone");
        assert_int_equal(stats_of(conn).n_objects, 3 + N_PROCESSES / 2);
        objd_close(conn);
        gate_deinit(&start);
}

int main(void)
{
        const struct CMUnitTest tests[] = { FIXTURE_TEST(two_hundred_clients_lose_nothing) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
