/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_locks.c -- locks: owners, tokens, deaths, waiting
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "object/lockobj.h"
#include "object/object.h"
#include "support/child.h"
#include "support/way.h"

#define MS 1000000LL
#define LONG PATIENCE_NS /* what must not take long gets this, so that a failure is no hang */

struct env {
        objd_conn *conn;
        objd_object *plain, *recursive, *ownerless;
        struct gate gate;
};

static objd_object *make_lock(objd_conn *conn, const char *name, uint32_t flags)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *lock = NULL;

        config.lock_flags = flags;
        assert_ok(objd_create(conn, name, OBJD_LOCK, &config, &lock));
        return lock;
}

static int setup(void **state)
{
        struct env *env = calloc(1, sizeof(*env));
        void *conn;

        assert_non_null(env);
        assert_int_equal(way_setup(&conn), 0);
        env->conn = conn;
        env->plain = make_lock(env->conn, "plain", 0);
        env->recursive = make_lock(env->conn, "recursive", OBJD_LOCK_RECURSIVE);
        env->ownerless = make_lock(env->conn, "ownerless", OBJD_LOCK_OWNERLESS);
        gate_init(&env->gate);
        *state = env;
        return 0;
}

static int teardown(void **state)
{
        struct env *env = *state;
        void *conn = env->conn;

        gate_deinit(&env->gate);
        objd_release(env->plain);
        objd_release(env->recursive);
        objd_release(env->ownerless);
        free(env);
        return way_teardown(&conn);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static uint64_t take(objd_object *lock)
{
        uint64_t token = 0;

        assert_ok(objd_lock_take(lock, OBJD_NOWAIT, &token));
        return token;
}

static void assert_owner(objd_object *lock, bool taken, int64_t pid)
{
        bool is_taken = !taken;
        int64_t owner = -1;
        objd_info info;

        assert_ok(objd_lock_owner(lock, &is_taken, &owner, NULL));
        assert_int_equal(is_taken, taken);
        assert_int_equal(owner, pid);
        assert_ok(objd_info_get(lock, &info));
        assert_int_equal(info.len, taken);
}

/* ---- Taking and giving -------------------------------------------------------------------------------- */

static void a_lock_is_taken_and_given(void **state)
{
        struct env *env = *state;

        assert_owner(env->plain, false, 0);
        (void)take(env->plain);
        assert_owner(env->plain, true, getpid());
        assert_ok(objd_lock_give(env->plain));
        assert_owner(env->plain, false, 0);
}

static void each_take_has_a_greater_token(void **state)
{
        struct env *env = *state;
        objd_object *locks[] = { env->plain, env->recursive, env->ownerless };

        for (size_t i = 0; i < 3; i++)
                for (uint64_t expected = 1; expected < (uint64_t)way_few(1000, 100); expected++) {
                        uint64_t token = take(locks[i]), seen = 0;

                        assert_int_equal(token, expected);
                        assert_ok(objd_lock_owner(locks[i], NULL, NULL, &seen));
                        assert_int_equal(seen, token);
                        assert_ok(objd_lock_give(locks[i]));
                }
}

/* The lock's word has 24 bits of the token; the rest is put together from what the last owner has written. */
static void the_token_goes_on_beyond_what_the_state_has_room_for(void **state)
{
        struct env *env = *state;
        struct lock_shm *lock = (struct lock_shm *)(void *)way_inside(env->plain)->shm;
        const uint64_t start = (5ULL << 24) - 10;

        word_set(&lock->token, start);
        word_set(&lock->state, (word_get(&lock->state) >> 56 << 56) | (start & 0xffffff) << 32);
        for (uint64_t i = 1; i < 20; i++) {
                assert_int_equal(take(env->plain), start + i);
                /* As if the owner were killed before it has written the token down. */
                if (i % 3)
                        word_set(&lock->token, start + i - 1);
                assert_ok(objd_lock_give(env->plain));
        }
}

static void a_lock_that_is_not_taken_cannot_be_given(void **state)
{
        struct env *env = *state;
        objd_object *locks[] = { env->plain, env->recursive, env->ownerless };

        for (size_t i = 0; i < 3; i++) {
                assert_status(objd_lock_give(locks[i]), OBJD_E_NOTOWNER);
                (void)take(locks[i]);
                assert_ok(objd_lock_give(locks[i]));
                assert_status(objd_lock_give(locks[i]), OBJD_E_NOTOWNER);
        }
}

static void an_owner_cannot_take_a_plain_lock_again(void **state)
{
        struct env *env = *state;
        uint64_t token;

        (void)take(env->plain);
        assert_status(objd_lock_take(env->plain, OBJD_FOREVER, &token), OBJD_E_INVAL);
        assert_ok(objd_lock_give(env->plain));
        assert_owner(env->plain, false, 0);
}

static void a_recursive_lock_is_given_as_often_as_taken(void **state)
{
        struct env *env = *state;
        uint64_t first = take(env->recursive);

        assert_int_equal(take(env->recursive), first);
        assert_int_equal(take(env->recursive), first);
        assert_ok(objd_lock_give(env->recursive));
        assert_ok(objd_lock_give(env->recursive));
        assert_owner(env->recursive, true, getpid());
        assert_ok(objd_lock_give(env->recursive));
        assert_owner(env->recursive, false, 0);
        assert_status(objd_lock_give(env->recursive), OBJD_E_NOTOWNER);
        assert_int_equal(take(env->recursive), first + 1);
        assert_ok(objd_lock_give(env->recursive));
}

static void configurations_that_make_no_sense_are_refused(void **state)
{
        struct env *env = *state;
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *lock;
        uint64_t token;

        config.lock_flags = OBJD_LOCK_RECURSIVE | OBJD_LOCK_OWNERLESS;
        assert_status(objd_create(env->conn, "wrong", OBJD_LOCK, &config, &lock), OBJD_E_INVAL);
        config.lock_flags = 4;
        assert_status(objd_create(env->conn, "wrong", OBJD_LOCK, &config, &lock), OBJD_E_INVAL);
        config.lock_flags = 0;
        config.bound = 1;
        assert_status(objd_create(env->conn, "wrong", OBJD_LOCK, &config, &lock), OBJD_E_INVAL);
        assert_status(objd_lock_take(NULL, OBJD_NOWAIT, &token), OBJD_E_INVAL);
        assert_status(objd_lock_take(env->plain, -5, &token), OBJD_E_INVAL);
        assert_ok(objd_lock_take(env->plain, OBJD_NOWAIT, NULL));
        assert_ok(objd_lock_give(env->plain));
}

static void a_queue_is_no_lock(void **state)
{
        struct env *env = *state;
        objd_object *queue;

        assert_ok(objd_create(env->conn, "queue", OBJD_QUEUE, NULL, &queue));
        assert_status(objd_lock_take(queue, OBJD_NOWAIT, NULL), OBJD_E_KIND);
        assert_status(objd_lock_give(queue), OBJD_E_KIND);
        objd_release(queue);
}

/* ---- Others ------------------------------------------------------------------------------------------- */

static int try_taken(void *context)
{
        struct env *env = context;

        child_check(objd_lock_take(env->plain, OBJD_NOWAIT, NULL) == OBJD_E_BUSY);
        child_check(strstr(objd_last_error(), "thread"));
        child_check(objd_lock_take(env->plain, 30 * MS, NULL) == OBJD_E_TIMEOUT);
        child_check(objd_lock_give(env->plain) == OBJD_E_NOTOWNER);
        child_check(objd_lock_take(env->ownerless, OBJD_NOWAIT, NULL) == OBJD_E_BUSY);
        return 0;
}

static void a_child_does_not_have_its_parents_lock(void **state)
{
        struct env *env = *state;

        (void)take(env->plain);
        (void)take(env->ownerless);
        child_expect_success(child_start(try_taken, env));
        assert_owner(env->plain, true, getpid());
        assert_ok(objd_lock_give(env->plain));
        assert_ok(objd_lock_give(env->ownerless));
}

static void *try_from_thread(void *context)
{
        objd_object *lock = context;

        assert_status(objd_lock_take(lock, OBJD_NOWAIT, NULL), OBJD_E_BUSY);
        assert_status(objd_lock_give(lock), OBJD_E_NOTOWNER);
        return NULL;
}

static void a_lock_belongs_to_the_thread(void **state)
{
        struct env *env = *state;
        pthread_t thread;

        (void)take(env->recursive);
        assert_int_equal(pthread_create(&thread, NULL, try_from_thread, env->recursive), 0);
        pthread_join(thread, NULL);
        assert_ok(objd_lock_give(env->recursive));
}

static int give_ownerless(void *context)
{
        struct env *env = context;

        child_ok(objd_lock_give(env->ownerless));
        return 0;
}

static int take_ownerless(void *context)
{
        struct env *env = context;

        child_ok(objd_lock_take(env->ownerless, OBJD_NOWAIT, NULL));
        return 0;
}

static void anybody_gives_a_lock_without_owner(void **state)
{
        struct env *env = *state;

        (void)take(env->ownerless);
        child_expect_success(child_start(give_ownerless, env));
        assert_owner(env->ownerless, false, 0);
}

static void a_lock_without_owner_stays_taken_when_its_taker_ends(void **state)
{
        struct env *env = *state;

        child_expect_success(child_start(take_ownerless, env));
        assert_owner(env->ownerless, true, 0);
        assert_status(objd_lock_take(env->ownerless, OBJD_NOWAIT, NULL), OBJD_E_BUSY);
        assert_status(objd_lock_take(env->ownerless, 30 * MS, NULL), OBJD_E_TIMEOUT);
        assert_ok(objd_lock_give(env->ownerless));
        (void)take(env->ownerless);
        assert_ok(objd_lock_give(env->ownerless));
}

/* ---- Deaths ------------------------------------------------------------------------------------------- */

static int take_and_die(void *context)
{
        struct env *env = context;

        child_ok(objd_lock_take(env->plain, OBJD_NOWAIT, NULL));
        child_ok(objd_lock_take(env->recursive, OBJD_NOWAIT, NULL));
        child_ok(objd_lock_take(env->recursive, OBJD_NOWAIT, NULL));
        gate_open(&env->gate, 1);
        pause();
        return 0;
}

static void the_next_taker_learns_that_the_owner_died(void **state)
{
        struct env *env = *state;
        pid_t pid = child_start(take_and_die, env);
        uint64_t token = 0;

        gate_wait(&env->gate);
        assert_owner(env->plain, true, pid);
        assert_status(objd_lock_take(env->plain, OBJD_NOWAIT, NULL), OBJD_E_BUSY);
        way_kill(pid);
        assert_owner(env->plain, false, 0);
        assert_status(objd_lock_take(env->plain, OBJD_NOWAIT, &token), OBJD_E_OWNER_DIED);
        assert_int_equal(token, 2);
        assert_owner(env->plain, true, getpid());
        assert_ok(objd_lock_give(env->plain));
        assert_int_equal(take(env->plain), 3);
        assert_ok(objd_lock_give(env->plain));

        assert_status(objd_lock_take(env->recursive, OBJD_NOWAIT, &token), OBJD_E_OWNER_DIED);
        assert_ok(objd_lock_give(env->recursive));
        assert_owner(env->recursive, false, 0);
}

/* A thread with one blocking take, and what came of it. */
struct waiter {
        pthread_t thread;
        objd_object *lock;
        objd_status r;
        uint64_t token;
};

static void *run_waiter(void *context)
{
        struct waiter *waiter = context;

        waiter->r = objd_lock_take(waiter->lock, LONG, &waiter->token);
        if (waiter->r == OBJD_OK || waiter->r == OBJD_E_OWNER_DIED)
                assert_ok(objd_lock_give(waiter->lock));
        return NULL;
}

static void waiter_start(struct waiter *waiter, objd_object *lock)
{
        *waiter = (struct waiter){ .lock = lock };
        assert_int_equal(pthread_create(&waiter->thread, NULL, run_waiter, waiter), 0);
}

static void waiter_expect(struct waiter *waiter, objd_status expected)
{
        assert_int_equal(pthread_join(waiter->thread, NULL), 0);
        assert_int_equal(waiter->r, expected);
}

static bool has_waiters(void *context)
{
        const objd_object *lock = context;

        return word_get(&((const struct lock_shm *)(const void *)lock->shm)->state) & LOCK_STATE_WAITERS;
}

static void wait_for_waiter(const objd_object *lock)
{
        wait_until(has_waiters, way_inside(lock), "a waiter");
}

static void a_sleeping_taker_notices_that_the_owner_died(void **state)
{
        struct env *env = *state;
        pid_t pid = child_start(take_and_die, env);
        struct waiter waiter;

        gate_wait(&env->gate);
        waiter_start(&waiter, env->plain);
        wait_for_waiter(env->plain);
        way_kill(pid);
        waiter_expect(&waiter, OBJD_E_OWNER_DIED);
        assert_owner(env->plain, false, 0);
        assert_status(objd_lock_take(env->recursive, OBJD_NOWAIT, NULL), OBJD_E_OWNER_DIED);
        assert_ok(objd_lock_give(env->recursive));
}

static void *take_and_end(void *context)
{
        assert_ok(objd_lock_take(context, OBJD_NOWAIT, NULL));
        return NULL;
}

static void a_thread_that_ends_with_a_lock_has_died_with_it(void **state)
{
        struct env *env = *state;
        pthread_t thread;

        for (uint64_t i = 1; i < 20; i += 2) {
                uint64_t token = 0;

                assert_int_equal(pthread_create(&thread, NULL, take_and_end, env->plain), 0);
                pthread_join(thread, NULL);
                assert_status(objd_lock_take(env->plain, OBJD_NOWAIT, &token), OBJD_E_OWNER_DIED);
                assert_int_equal(token, i + 1);
                assert_ok(objd_lock_give(env->plain));
        }
}

/* ---- Waiting ------------------------------------------------------------------------------------------ */

static void a_sleeping_taker_gets_the_lock_when_it_is_given(void **state)
{
        struct env *env = *state;
        objd_object *locks[] = { env->plain, env->recursive, env->ownerless };
        struct waiter waiters[4];

        for (size_t i = 0; i < 3; i++) {
                uint64_t token = take(locks[i]), sum = 0;

                for (size_t w = 0; w < 4; w++)
                        waiter_start(&waiters[w], locks[i]);
                wait_for_waiter(locks[i]);
                assert_ok(objd_lock_give(locks[i]));
                for (size_t w = 0; w < 4; w++) {
                        waiter_expect(&waiters[w], OBJD_OK);
                        sum += waiters[w].token - token;
                }
                assert_int_equal(sum, 1 + 2 + 3 + 4);
        }
}

static void deleting_a_lock_wakes_its_sleepers(void **state)
{
        struct env *env = *state;
        objd_object *lock = make_lock(env->conn, "short-lived", 0), *next;
        struct waiter waiters[3];

        (void)take(lock);
        for (size_t i = 0; i < 3; i++)
                waiter_start(&waiters[i], lock);
        wait_for_waiter(lock);
        assert_ok(objd_destroy(lock));
        for (size_t i = 0; i < 3; i++)
                waiter_expect(&waiters[i], OBJD_E_GONE);
        next = make_lock(env->conn, "short-lived", 0);
        (void)take(next);
        assert_status(objd_lock_take(lock, OBJD_NOWAIT, NULL), OBJD_E_GONE);
        assert_status(objd_lock_give(lock), OBJD_E_GONE);
        assert_status(objd_lock_owner(lock, NULL, NULL, NULL), OBJD_E_GONE);
        assert_ok(objd_lock_give(next));
        objd_release(lock);
        objd_release(next);
}

/* ---- Exclusion ---------------------------------------------------------------------------------------- */

#define N_PROCESSES 3
#define N_THREADS 2

/* What the lock guards: two counters that are equal whenever nobody has the lock. */
struct guarded {
        struct env *env;
        int64_t n_rounds; /* of each thread */
        uint64_t a, b, last_token;
        uint64_t n_died;
};

static void *count_under_lock(void *context)
{
        struct guarded *guarded = context;

        for (int64_t i = 0; i < guarded->n_rounds; i++) {
                uint64_t token = 0;
                objd_status r = objd_lock_take(guarded->env->plain, OBJD_FOREVER, &token);

                child_check(r == OBJD_OK || r == OBJD_E_OWNER_DIED);
                if (r == OBJD_E_OWNER_DIED) {
                        word_set(&guarded->a, word_get(&guarded->b));
                        guarded->n_died++;
                }
                child_check(word_get(&guarded->a) == word_get(&guarded->b));
                child_check(token > word_get(&guarded->last_token));
                word_set(&guarded->last_token, token);
                word_set(&guarded->a, word_get(&guarded->a) + 1);
                if (i % 64 == 0)
                        sched_yield();
                word_set(&guarded->b, word_get(&guarded->b) + 1);
                child_ok(objd_lock_give(guarded->env->plain));
        }
        return NULL;
}

static int count_with_threads(void *context)
{
        pthread_t threads[N_THREADS];

        for (size_t i = 0; i < N_THREADS; i++)
                child_check(pthread_create(&threads[i], NULL, count_under_lock, context) == 0);
        for (size_t i = 0; i < N_THREADS; i++)
                pthread_join(threads[i], NULL);
        return 0;
}

static struct guarded *guarded_new(struct env *env)
{
        struct guarded *guarded =
                mmap(NULL, sizeof(*guarded), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        assert_true(guarded != MAP_FAILED);
        guarded->env = env;
        guarded->n_rounds = way_few(3000, 150);
        return guarded;
}

static void only_one_thread_of_all_processes_has_the_lock(void **state)
{
        struct guarded *guarded = guarded_new(*state);
        pid_t pids[N_PROCESSES];

        for (size_t i = 0; i < N_PROCESSES; i++)
                pids[i] = child_start(count_with_threads, guarded);
        for (size_t i = 0; i < N_PROCESSES; i++)
                child_expect_success(pids[i]);
        assert_int_equal(guarded->a, N_PROCESSES * N_THREADS * guarded->n_rounds);
        assert_int_equal(guarded->b, guarded->a);
        assert_int_equal(guarded->last_token, guarded->a);
        assert_int_equal(guarded->n_died, 0);
        munmap(guarded, sizeof(*guarded));
}

static int count_for_ever(void *context)
{
        for (;;)
                count_under_lock(context);
        return 0;
}

static void exclusion_survives_kills(void **state)
{
        struct guarded *guarded = guarded_new(*state);
        pid_t survivor = child_start(count_with_threads, guarded), victim;

        for (int64_t i = 0; i < way_few(30, 5); i++) {
                uint64_t start = word_get(&guarded->a);

                victim = child_start(count_for_ever, guarded);
                while (word_get(&guarded->a) < start + (uint64_t)way_few(200, 20))
                        sched_yield();
                way_kill(victim);
        }
        child_expect_success(survivor);
        assert_true(guarded->a - guarded->b <= 1);
        munmap(guarded, sizeof(*guarded));
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                TEST(a_lock_is_taken_and_given),
                TEST(each_take_has_a_greater_token),
                TEST(the_token_goes_on_beyond_what_the_state_has_room_for),
                TEST(a_lock_that_is_not_taken_cannot_be_given),
                TEST(an_owner_cannot_take_a_plain_lock_again),
                TEST(a_recursive_lock_is_given_as_often_as_taken),
                TEST(configurations_that_make_no_sense_are_refused),
                TEST(a_queue_is_no_lock),
                TEST(a_child_does_not_have_its_parents_lock),
                TEST(a_lock_belongs_to_the_thread),
                TEST(anybody_gives_a_lock_without_owner),
                TEST(a_lock_without_owner_stays_taken_when_its_taker_ends),
                TEST(the_next_taker_learns_that_the_owner_died),
                TEST(a_sleeping_taker_notices_that_the_owner_died),
                TEST(a_thread_that_ends_with_a_lock_has_died_with_it),
                TEST(a_sleeping_taker_gets_the_lock_when_it_is_given),
                TEST(deleting_a_lock_wakes_its_sleepers),
                TEST(only_one_thread_of_all_processes_has_the_lock),
                TEST(exclusion_survives_kills),
        };

        return way_run(argc, argv, tests);
}
