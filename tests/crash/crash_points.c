/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash_points.c -- an operation killed at every crash point of the engine, and its recoverer as well
 *
 * A victim runs one operation after another until it comes to the point for the Nth time, and dies. A first process then looks
 * for the dead with a crash point of the recovery set, and may die in turn. A last one finds the lock free, a store
 * without faults, and each operation done or not done.
 */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "support/child.h"
#include "support/inside.h"
#include "support/test.h"

static const char *const points[] = {
        "commit.before", "commit.idle", "commit.owed", "complete.chunks", "complete.unlocked",
        "txn.unlocked",  "pool.before", "pool.idle",   "pool.done",
};

static const char *const recovery_points[] = {
        "recover.won",     "recover.settled",   "undo.words",  "undo.chunks", "undo.unlocked",
        "complete.chunks", "complete.unlocked", "pool.before", "pool.done",   "txn.unlocked",
};

#define N_TIMES 12
#define N(array) (sizeof(array) / sizeof(*(array)))

struct victim {
        objd_conn *conn;
        objd_object *left, *right;
};

/* Both dicts get the key, with values that grow into chunks of their own, and an object comes and goes. */
static void step(struct victim *v, int64_t i)
{
        static const char bytes[6000];
        objd_value key = objd_int(i % 40),
                   value = objd_bytes(bytes, i % 3 ? (size_t)(i % 200) : sizeof(bytes));
        objd_object *object;
        objd_batch *batch;

        child_ok(objd_batch_new(v->conn, &batch));
        child_ok(objd_batch_dict_set(batch, v->left, &key, &value));
        child_ok(objd_batch_dict_set(batch, v->right, &key, &value));
        child_ok(objd_batch_commit(batch, NULL));
        objd_batch_free(batch);
        child_ok(objd_open_or_create(v->conn, "comes and goes", OBJD_DICT, NULL, &object));
        child_ok(objd_dict_set(object, &key, &key));
        objd_release(object);
        child_ok(objd_delete(v->conn, "comes and goes"));
}

static int run_victim(void *context)
{
        struct victim *v = context;

        for (int64_t i = 0; i < 1000; i++)
                step(v, i);
        return 0;
}

static int run_recoverer(void *context)
{
        struct victim *v = context;

        return inside_faults(v->conn) != 0;
}

/* Runs fn in a child with this crash point set. Returns whether it died there. */
static bool dies(int (*fn)(void *context), struct victim *v, const char *point, int times)
{
        char text[64];
        int status;

        snprintf(text, sizeof(text), "%s:%d", point, times);
        setenv("OBJD_CRASH_POINT", text, 1);
        status = child_wait(child_start(fn, v));
        unsetenv("OBJD_CRASH_POINT");
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
                return true;
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        return false;
}

/* A batch sets both or none. */
static void assert_same(struct victim *v)
{
        for (int64_t i = 0; i < 40; i++) {
                objd_value key = objd_int(i), a, b;
                objd_buf left = OBJD_BUF_INIT, right = OBJD_BUF_INIT;
                objd_status r = objd_dict_get(v->left, &key, &a, &left);

                assert_int_equal(objd_dict_get(v->right, &key, &b, &right), r);
                if (r == OBJD_OK)
                        assert_true(objd_value_equal(&a, &b));
                objd_buf_free(&left);
                objd_buf_free(&right);
        }
}

static void every_crash_point_leaves_the_store_whole(void **state)
{
        struct victim v = { .conn = *state };
        int n_deaths = 0, n_second = 0;

        v.left = inside_dict(v.conn, "left");
        v.right = inside_dict(v.conn, "right");
        for (size_t point = 0; point < N(points); point++)
                for (int times = 1; times <= N_TIMES; times++) {
                        size_t second = (point * N_TIMES + (size_t)times) % N(recovery_points);

                        /* Every point must be on the way of the victim, or it proves nothing. */
                        assert_true(dies(run_victim, &v, points[point], times * 3 - 2));
                        n_deaths++;
                        n_second += dies(run_recoverer, &v, recovery_points[second], 1);
                        inside_check(v.conn);
                        assert_same(&v);
                }
        printf("%d deaths at %zu points, %d of them with the recoverer's after it\n", n_deaths, N(points),
               n_second);
        assert_true(n_second > n_deaths / 4);
        objd_release(v.left);
        objd_release(v.right);
}

int main(void)
{
        const struct CMUnitTest tests[] = { INSIDE_TEST(every_crash_point_leaves_the_store_whole) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
