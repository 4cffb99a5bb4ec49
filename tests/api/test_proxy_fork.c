/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_proxy_fork.c -- several connections without a mapping in a child of the process that made them
 */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <objd.h>

#include "rpc/threads.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/test.h"

#define N 4 /* connections */

/* The first argument: "local", or "ipc" without any. */
static bool is_local;

struct parent {
        struct fixture *f;
        char url[192];
        objd_conn *conns[N];
        objd_object *dicts[N]; /* the same for all */
};

static void begin(struct parent *p, struct fixture *f)
{
        const char *const options[] = { "--rpc", p->url, NULL };

        p->f = f;
        if (is_local)
                snprintf(p->url, sizeof(p->url), "local:%s/test", f->directory);
        else
                snprintf(p->url, sizeof(p->url), "ipc://%s/rpc.sock", f->base);
        fixture_start(f, is_local ? NULL : options);
        for (int i = 0; i < N; i++) {
                assert_ok(objd_connect(p->url, &p->conns[i]));
                assert_ok(objd_set_timeout(p->conns[i], PATIENCE_NS));
                assert_ok(objd_open_or_create(p->conns[i], "dict", OBJD_DICT, NULL, &p->dicts[i]));
        }
}

static void end(struct parent *p)
{
        for (int i = 0; i < N; i++) {
                objd_release(p->dicts[i]);
                objd_close(p->conns[i]);
        }
        (void)fixture_stop(p->f, SIGTERM);
}

static void add_one(struct parent *p, int conn)
{
        objd_value key = objd_cstr("n");

        child_ok(objd_dict_add_int(p->dicts[conn], &key, 1, NULL));
}

static void leave(struct parent *p, int conn)
{
        objd_release(p->dicts[conn]);
        objd_close(p->conns[conn]);
}

/* Each connection is made anew when it is first used, or never: what becomes of one is nothing to the others. */
static int use_in_any_order(void *context)
{
        struct parent *p = context;

        add_one(p, 3);
        leave(p, 0);
        add_one(p, 3);
        add_one(p, 2);
        add_one(p, 1);
        leave(p, 1);
        add_one(p, 2);
        add_one(p, 3);
        leave(p, 3);
        add_one(p, 2);
        leave(p, 2);
        return 0;
}

static void a_child_uses_and_leaves_connections_in_any_order(void **state)
{
        objd_value key = objd_cstr("n");
        struct parent p = { 0 };
        int64_t sum;
        pid_t pid;

        begin(&p, *state);
        pid = child_start(use_in_any_order, &p);
        for (int i = 0; i < N; i++)
                assert_ok(objd_dict_add_int(p.dicts[i], &key, 100, NULL));
        child_expect_success(pid);
        for (int i = 0; i < N; i++)
                assert_ok(objd_dict_add_int(p.dicts[i], &key, 100, &sum));
        assert_int_equal(sum, 2 * N * 100 + 7);
        end(&p);
}

/* ---- Threads that end --------------------------------------------------------------------------------------- */

static int delist(void *threads)
{
        rpc_threads_delist(threads);
        return 0;
}

/* A thread of the parent's that is just saying so is none of the child's, which waits for nobody. */
static void a_child_waits_for_no_thread_of_its_parents(void **state)
{
        struct rpc_threads threads = { 0 };

        (void)state;
        rpc_threads_init(&threads);
        rpc_threads_enlist(&threads, NULL);
        threads.n_telling = 1;
        child_expect_success(child_start(delist, &threads));
        threads.n_telling = 0;
        rpc_threads_delist(&threads);
        rpc_threads_deinit(&threads);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_child_waits_for_no_thread_of_its_parents),
                FIXTURE_TEST(a_child_uses_and_leaves_connections_in_any_order),
        };

        is_local = argc > 1 && strcmp(argv[1], "local") == 0;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
