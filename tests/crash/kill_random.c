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
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "support/child.h"
#include "support/inside.h"
#include "support/random.h"
#include "support/test.h"

#define ALIVE 6
#define ACCOUNTS 64
#define START 1000
#define NAMES 12
#define KEYS 3000

/* A kind of step: how often it was begun, and how often it was acknowledged. */
struct tally {
        uint64_t begun, done;
};

/* One worker's, in shared memory that outlives it. */
struct account {
        struct tally add, put, get, append, pop, guarded;
};

struct store {
        objd_conn *conn;
        objd_object *counters, *left, *right, *mixed, *queue, *list, *lock;
};

static int n_workers = 300;

static objd_object *make(objd_conn *conn, const char *name, objd_kind kind)
{
        objd_object *object;

        assert_ok(objd_create(conn, name, kind, NULL, &object));
        return object;
}

static void store_make(struct store *s, objd_conn *conn)
{
        s->conn = conn;
        s->counters = make(conn, "counters", OBJD_DICT);
        s->left = make(conn, "left", OBJD_DICT);
        s->right = make(conn, "right", OBJD_DICT);
        s->mixed = make(conn, "mixed", OBJD_DICT);
        s->queue = make(conn, "queue", OBJD_QUEUE);
        s->list = make(conn, "list", OBJD_LIST);
        s->lock = make(conn, "lock", OBJD_LOCK);
        for (int i = 0; i < ACCOUNTS; i++) {
                objd_value key = objd_int(i), value = objd_int(START);

                assert_ok(objd_dict_set(s->left, &key, &value));
                assert_ok(objd_dict_set(s->right, &key, &value));
        }
}

/* ---- The worker's steps ------------------------------------------------------------------------------- */

static bool is_fine(objd_status r)
{
        return r == OBJD_OK || r == OBJD_E_NOTFOUND || r == OBJD_E_EXISTS || r == OBJD_E_GONE ||
               r == OBJD_E_EMPTY || r == OBJD_E_RANGE;
}

/* The worker's own counter and the common one go up together. */
static void step_add(struct store *s, struct account *a, int number)
{
        objd_value own = objd_int(number), all = objd_cstr("all");
        objd_batch *batch;

        child_ok(objd_batch_new(s->conn, &batch));
        child_ok(objd_batch_dict_add_int(batch, s->counters, &own, 1));
        child_ok(objd_batch_dict_add_int(batch, s->counters, &all, 1));
        a->add.begun++;
        child_ok(objd_batch_commit(batch, NULL));
        a->add.done++;
        objd_batch_free(batch);
}

static void step_transfer(struct store *s, struct random *random)
{
        objd_value from = objd_int((int64_t)random_below(random, ACCOUNTS)),
                   to = objd_int((int64_t)random_below(random, ACCOUNTS));
        int64_t sum = (int64_t)random_below(random, 100);
        objd_batch *batch;

        child_ok(objd_batch_new(s->conn, &batch));
        child_ok(objd_batch_dict_add_int(batch, s->left, &from, -sum));
        child_ok(objd_batch_dict_add_int(batch, s->right, &to, sum));
        child_ok(objd_batch_commit(batch, NULL));
        objd_batch_free(batch);
}

static void step_mixed(struct store *s, struct random *random)
{
        static const char bytes[9000];
        objd_value key = objd_int((int64_t)random_below(random, KEYS));
        objd_value value =
                objd_bytes(bytes, random_below(random, random_below(random, 30) ? 200 : sizeof(bytes)));
        objd_buf buf = OBJD_BUF_INIT;
        objd_value out;

        switch (random_below(random, 400) ? random_below(random, 4) : 4) {
        case 0:
                child_check(is_fine(objd_dict_del(s->mixed, &key)));
                break;
        case 1:
                child_check(is_fine(objd_dict_pop(s->mixed, &key, &out, &buf)));
                break;
        case 4:
                child_ok(objd_dict_clear(s->mixed));
                break;
        default:
                child_ok(objd_dict_set(s->mixed, &key, &value));
        }
        objd_buf_free(&buf);
}

static void step_objects(struct store *s, struct random *random)
{
        objd_kind kind = (objd_kind)(OBJD_DICT + random_below(random, 4));
        objd_value one = objd_int(1);
        objd_object *object;
        char name[300];

        /* A long name has a chunk of its own. */
        snprintf(name, sizeof(name), "%d-%0*d", (int)random_below(random, NAMES),
                 random_below(random, 2) ? 1 : 200, 0);
        if (random_below(random, 2)) {
                child_check(is_fine(objd_delete(s->conn, name)));
                return;
        }
        if (objd_create(s->conn, random_below(random, 4) ? name : NULL, kind, NULL, &object))
                return;
        if (kind == OBJD_DICT)
                child_check(is_fine(objd_dict_set(object, &one, &one)));
        else if (kind == OBJD_LIST)
                child_check(is_fine(objd_list_append(object, &one)));
        else if (kind == OBJD_QUEUE)
                child_check(is_fine(objd_queue_put(object, &one, OBJD_NOWAIT)));
        objd_release(object);
}

static void step_queue(struct store *s, struct account *a, struct random *random)
{
        static const char bytes[300];
        objd_value value = objd_bytes(bytes, random_below(random, sizeof(bytes)));
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r;

        if (random_below(random, 2)) {
                a->put.begun++;
                child_ok(objd_queue_put(s->queue, &value, OBJD_NOWAIT));
                a->put.done++;
                return;
        }
        a->get.begun++;
        r = objd_queue_get(s->queue, &value, &buf, OBJD_NOWAIT);
        child_check(is_fine(r));
        if (r)
                a->get.begun--;
        else
                a->get.done++;
        objd_buf_free(&buf);
}

static void step_list(struct store *s, struct account *a, struct random *random)
{
        static const char bytes[300];
        objd_value value = objd_bytes(bytes, random_below(random, sizeof(bytes)));
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r;

        if (random_below(random, 2)) {
                a->append.begun++;
                child_ok(random_below(random, 2) ? objd_list_append(s->list, &value)
                                                 : objd_list_prepend(s->list, &value));
                a->append.done++;
                return;
        }
        a->pop.begun++;
        r = objd_list_pop(s->list, random_below(random, 2) ? 0 : -1, &value, &buf);
        child_check(is_fine(r));
        if (r)
                a->pop.begun--;
        else
                a->pop.done++;
        objd_buf_free(&buf);
}

/* Read, add one, write: what the lock is for. */
static void step_guarded(struct store *s, struct account *a)
{
        objd_value key = objd_cstr("guarded"), value = objd_int(0);
        objd_buf buf = OBJD_BUF_INIT;
        uint64_t token;
        objd_status r = objd_lock_take(s->lock, OBJD_FOREVER, &token);

        child_check(r == OBJD_OK || r == OBJD_E_OWNER_DIED);
        r = objd_dict_get(s->counters, &key, &value, &buf);
        child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND);
        value = objd_int(r ? 1 : value.u.integer + 1);
        a->guarded.begun++;
        child_ok(objd_dict_set(s->counters, &key, &value));
        a->guarded.done++;
        child_ok(objd_lock_give(s->lock));
        objd_buf_free(&buf);
}

static _Noreturn void work(struct store *s, struct account *a, int number, uint64_t seed)
{
        struct random random = { seed };

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
                switch (random_below(&random, 8)) {
                case 0:
                        step_add(s, a, number);
                        break;
                case 1:
                        step_transfer(s, &random);
                        break;
                case 2:
                        step_objects(s, &random);
                        break;
                case 3:
                        step_queue(s, a, &random);
                        break;
                case 4:
                        step_list(s, a, &random);
                        break;
                case 5:
                        step_guarded(s, a);
                        break;
                default:
                        step_mixed(s, &random);
                }
}

/* ---- The parent --------------------------------------------------------------------------------------- */

static int64_t number_in(objd_object *dict, objd_value key)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        objd_status r = objd_dict_get(dict, &key, &value, &buf);
        int64_t n = r ? 0 : value.u.integer;

        assert_true(r == OBJD_OK || r == OBJD_E_NOTFOUND);
        objd_buf_free(&buf);
        return n;
}

/* What must be left at least; nothing, if what has been begun could have taken all of it. */
static uint64_t at_least(uint64_t in, uint64_t out)
{
        return in > out ? in - out : 0;
}

static void assert_between(uint64_t least, uint64_t n, uint64_t most, const char *what)
{
        if (n < least || n > most)
                fail_msg("%s: %" PRIu64 " is not between %" PRIu64 " and %" PRIu64, what, n, least, most);
}

static void check_sums(struct store *s, const struct account *accounts)
{
        struct account sum = { 0 };
        int64_t total = 0, money = 0;
        uint64_t len;

        for (int i = 0; i < n_workers; i++) {
                const struct account *a = &accounts[i];
                int64_t n = number_in(s->counters, objd_int(i));

                assert_between(a->add.done, (uint64_t)n, a->add.begun, "adds of a worker");
                total += n;
                sum.put.begun += a->put.begun;
                sum.put.done += a->put.done;
                sum.get.begun += a->get.begun;
                sum.get.done += a->get.done;
                sum.append.begun += a->append.begun;
                sum.append.done += a->append.done;
                sum.pop.begun += a->pop.begun;
                sum.pop.done += a->pop.done;
                sum.guarded.begun += a->guarded.begun;
                sum.guarded.done += a->guarded.done;
        }
        assert_int_equal(number_in(s->counters, objd_cstr("all")), total);
        for (int i = 0; i < ACCOUNTS; i++)
                money += number_in(s->left, objd_int(i)) + number_in(s->right, objd_int(i));
        assert_int_equal(money, 2 * ACCOUNTS * START);
        assert_between(sum.guarded.done, (uint64_t)number_in(s->counters, objd_cstr("guarded")),
                       sum.guarded.begun, "increments under the lock");
        assert_ok(objd_queue_len(s->queue, &len));
        assert_between(at_least(sum.put.done, sum.get.begun), len, sum.put.begun - sum.get.done,
                       "items in the queue");
        assert_ok(objd_list_len(s->list, &len));
        assert_between(at_least(sum.append.done, sum.pop.begun), len, sum.append.begun - sum.pop.done,
                       "items in the list");
        printf("%" PRIi64 " adds, %" PRIu64 " puts, %" PRIu64 " appends, %" PRIu64 " under the lock\n", total,
               sum.put.done, sum.append.done, sum.guarded.done);
}

static void delete_everything(struct store *s)
{
        objd_object *objects[] = { s->counters, s->left, s->right, s->mixed, s->queue, s->list, s->lock };
        objd_info *infos;
        size_t n;

        for (size_t i = 0; i < sizeof(objects) / sizeof(*objects); i++)
                objd_release(objects[i]);
        assert_ok(objd_list(s->conn, NULL, &infos, &n));
        for (size_t i = 0; i < n; i++)
                assert_ok(objd_delete(s->conn, infos[i].name));
        objd_infos_free(infos);
}

static void workers_killed_at_random_leave_the_store_whole(void **state)
{
        struct random random = random_begin("test-kill-random");
        size_t size = sizeof(struct account) * (size_t)n_workers;
        struct account *accounts =
                mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        uint64_t used = inside_used(*state);
        pid_t alive[ALIVE] = { 0 };
        struct store s;

        assert_ptr_not_equal(accounts, MAP_FAILED);
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
                        work(&s, &accounts[i], i, seed);
        }
        inside_check(*state);
        check_sums(&s, accounts);
        delete_everything(&s);
        inside_check(*state);
        /* The dict of names has grown and shrunk; it may have kept a somewhat larger segment than it began with. */
        assert_between(used, inside_used(*state), used + 16384, "bytes in use");
        munmap(accounts, size);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = { INSIDE_TEST(workers_killed_at_random_leave_the_store_whole) };

        if (argc > 1)
                n_workers = atoi(argv[1]);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
