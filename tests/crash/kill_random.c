/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill_random.c -- hundreds of workers, each killed at a random moment while others go on
 *
 * What must hold afterwards is known to the parent only: each worker counts, in memory that is not the arena's, what it is
 * about to do and what has been acknowledged. The store must lie between the two, and the totals that batches
 * conserve must be exact, the checker must find nothing, and deleting everything must give all memory back.
 *
 * usage: test-kill-random [WORKERS]     (OBJD_TEST_SEED=N repeats a run)
 */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "crash/workers.h"
#include "support/child.h"
#include "support/inside.h"
#include "support/random.h"
#include "support/test.h"

#define ALIVE 6
#define ACCOUNTS 64
#define START 1000
#define KEYS 3000

struct store {
        struct common common;
        objd_object *left, *right, *mixed;
};

static int n_workers = 300;

static void store_make(struct store *s, objd_conn *conn)
{
        common_make(&s->common, conn);
        s->left = inside_dict(conn, "left");
        s->right = inside_dict(conn, "right");
        s->mixed = inside_dict(conn, "mixed");
        for (int i = 0; i < ACCOUNTS; i++) {
                objd_value key = objd_int(i), value = objd_int(START);

                assert_ok(objd_dict_set(s->left, &key, &value));
                assert_ok(objd_dict_set(s->right, &key, &value));
        }
}

/* ---- The worker's steps, beyond those of workers.c ---------------------------------------------------- */

static void step_transfer(struct store *s, struct random *random)
{
        objd_value from = objd_int((int64_t)random_below(random, ACCOUNTS)),
                   to = objd_int((int64_t)random_below(random, ACCOUNTS));
        int64_t sum = (int64_t)random_below(random, 100);
        objd_batch *batch;

        child_ok(objd_batch_new(s->common.conn, &batch));
        child_ok(objd_batch_dict_add_int(batch, s->left, &from, -sum));
        child_ok(objd_batch_dict_add_int(batch, s->right, &to, sum));
        child_ok(objd_batch_commit(batch, NULL));
        objd_batch_free(batch);
}

static void step_mixed(struct store *s, struct worker *w)
{
        static const char bytes[9000];
        struct random *random = &w->random;
        objd_value key = objd_int((int64_t)random_below(random, KEYS));
        objd_value value =
                objd_bytes(bytes, random_below(random, random_below(random, 30) ? 200 : sizeof(bytes)));
        objd_value out;
        objd_status r;

        switch (random_below(random, 400) ? random_below(random, 4) : 4) {
        case 0:
                r = objd_dict_del(s->mixed, &key);
                break;
        case 1:
                r = objd_dict_pop(s->mixed, &key, &out, &w->buf);
                break;
        case 4:
                r = objd_dict_clear(s->mixed);
                break;
        default:
                r = objd_dict_set(s->mixed, &key, &value);
        }
        child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND);
}

static _Noreturn void work(struct store *s, struct tallies *tallies, int number, uint64_t seed)
{
        struct worker w = { .store = s->common, .tallies = tallies, .number = number, .random = { seed } };

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
                switch (random_below(&w.random, 9)) {
                case 0:
                        worker_add(&w);
                        break;
                case 1:
                        step_transfer(s, &w.random);
                        break;
                case 2:
                        worker_objects(&w);
                        break;
                case 3:
                        worker_put(&w);
                        break;
                case 4:
                        worker_get(&w);
                        break;
                case 5:
                        worker_list(&w);
                        break;
                case 6:
                        worker_guarded(&w);
                        break;
                default:
                        step_mixed(s, &w);
                }
}

/* ---- The parent --------------------------------------------------------------------------------------- */

static void check_sums(struct store *s, const struct tallies *tallies)
{
        int64_t money = 0;
        uint64_t len;

        check_tallies("store", &s->common, tallies, (size_t)n_workers);
        for (int i = 0; i < ACCOUNTS; i++)
                money += number_in(s->left, objd_int(i)) + number_in(s->right, objd_int(i));
        assert_int_equal(money, 2 * ACCOUNTS * START);
        assert_ok(objd_queue_len(s->common.queue, &len));
        check_queue("store", tallies, (size_t)n_workers, len);
}

static void delete_everything(struct store *s)
{
        objd_object *objects[] = {
                s->common.counters, s->common.queue, s->common.list, s->common.lock, s->left,
                s->right,           s->mixed
        };

        for (size_t i = 0; i < sizeof(objects) / sizeof(*objects); i++)
                objd_release(objects[i]);
        delete_all_names(s->common.conn);
}

static void workers_killed_at_random_leave_the_store_whole(void **state)
{
        struct random random = random_begin("test-kill-random");
        size_t size = sizeof(struct tallies) * (size_t)n_workers;
        struct tallies *tallies = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        uint64_t used = inside_used(*state);
        pid_t alive[ALIVE] = { 0 };
        struct store s;

        assert_ptr_not_equal(tallies, MAP_FAILED);
        store_make(&s, *state);
        for (int i = 0; i < n_workers + ALIVE; i++) {
                pid_t *slot = &alive[i % ALIVE];
                uint64_t seed = random_next(&random);
                int status;

                if (*slot) {
                        usleep((useconds_t)random_below(&random, 6000));
                        kill(*slot, SIGKILL);
                        assert_int_equal(waitpid(*slot, &status, 0), *slot);
                        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
                        *slot = 0;
                }
                if (i >= n_workers)
                        continue;
                *slot = fork();
                assert_true(*slot >= 0);
                if (!*slot)
                        work(&s, &tallies[i], i, seed);
        }
        inside_check(*state);
        check_sums(&s, tallies);
        delete_everything(&s);
        inside_check(*state);
        /* The dict of names has grown and shrunk; it may have kept a somewhat larger segment than it began with. */
        assert_between("store", used, inside_used(*state), used + 16384, "bytes in use");
        munmap(tallies, size);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = { INSIDE_TEST(workers_killed_at_random_leave_the_store_whole) };

        if (argc > 1)
                n_workers = atoi(argv[1]);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
