/* SPDX-License-Identifier: Apache-2.0 */

/*
 * linear_lock.c -- calls on one lock from several processes and threads, as if they had come one after the other
 *
 * usage: test-linear-lock [WAY [SECONDS]]; the way is "handle" or "all" (support/way.h), the seed is OBJD_TEST_SEED. Plain, recursive
 * and ownerless locks take turns. Nobody waits: that somebody else has the lock is an answer, too.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "model/history.h"

#define N_EVENTS 60 /* of each worker in a round */

enum { TAKE, GIVE, OWNER, N_OPS };

static const char *const op_names[] = { "take", "give", "owner" };

static uint32_t flags; /* of this round's lock; also what the model goes by */

struct lock {
        int64_t owner; /* the thread, 0 is nobody; of an ownerless lock -1 */
        int64_t depth;
        int64_t token;
};

static void lock_init(void *state)
{
        memset(state, 0, sizeof(struct lock));
}

/* A lock whose owner has come to its end with it goes to the next one, who is told. */
static objd_status expected_of_take(const struct lock *lock, const struct linear_event *e)
{
        if (!lock->owner)
                return OBJD_OK;
        if (lock->owner == e->args[0])
                return flags & OBJD_LOCK_RECURSIVE ? OBJD_OK : OBJD_E_INVAL;
        return lock->owner > 0 && e->status == OBJD_E_OWNER_DIED ? OBJD_E_OWNER_DIED : OBJD_E_BUSY;
}

static bool take(struct lock *lock, const struct linear_event *e)
{
        objd_status expected = expected_of_take(lock, e);

        if ((objd_status)e->status != expected)
                return false;
        if (expected && expected != OBJD_E_OWNER_DIED)
                return true;
        if (lock->owner == e->args[0]) {
                lock->depth++;
        } else {
                lock->owner = flags & OBJD_LOCK_OWNERLESS ? -1 : e->args[0];
                lock->depth = 1;
                lock->token++;
        }
        return e->result == lock->token;
}

static bool give(struct lock *lock, const struct linear_event *e)
{
        bool may = flags & OBJD_LOCK_OWNERLESS ? lock->owner != 0 : lock->owner == e->args[0];

        if ((objd_status)e->status != (may ? OBJD_OK : OBJD_E_NOTOWNER))
                return false;
        if (may && --lock->depth == 0)
                lock->owner = 0;
        return true;
}

static bool lock_step(void *state, const struct linear_event *e)
{
        struct lock *lock = state;

        if (e->op == TAKE)
                return take(lock, e);
        if (e->op == GIVE)
                return give(lock, e);
        /* Of a dead owner it is said that nobody has the lock: only what is taken says something. */
        return e->status == OBJD_OK && (!e->result || lock->owner);
}

static const struct linear_model lock_model = { sizeof(struct lock), lock_init, lock_step };

static void call(objd_object *lock, struct random *random, objd_buf *buf, struct linear_event *e)
{
        uint64_t token = 0;
        bool taken = false;

        (void)buf;
        e->op = random_below(random, 6) ? (uint32_t)random_below(random, 2) : OWNER;
        e->args[0] = syscall(SYS_gettid);
        history_begin(e);
        if (e->op == TAKE)
                e->status = (int32_t)objd_lock_take(lock, OBJD_NOWAIT, &token);
        else if (e->op == GIVE)
                e->status = (int32_t)objd_lock_give(lock);
        else
                e->status = (int32_t)objd_lock_owner(lock, &taken, NULL, NULL);
        history_end(e);
        e->result = e->op == OWNER ? taken : (int64_t)token;
}

static void the_model_refuses_what_no_lock_does(void **state)
{
        struct linear_event events[] = { { 0, 10, TAKE, OBJD_OK, { 7, 0 }, 1 },
                                         { 20, 30, TAKE, OBJD_OK, { 8, 0 }, 2 },
                                         { 40, 50, GIVE, OBJD_OK, { 7, 0 }, 0 } };

        (void)state;
        flags = 0;
        assert_int_equal(linear_check(&lock_model, events, 3, 1000), LINEAR_NO);
        events[1].status = OBJD_E_BUSY;
        assert_int_equal(linear_check(&lock_model, events, 3, 1000), LINEAR_YES);
        events[2].args[0] = 8;
        assert_int_equal(linear_check(&lock_model, events, 3, 1000), LINEAR_NO);
}

static double seconds;

static void concurrent_histories_are_linearizable(void **state)
{
        static const uint32_t some[] = { 0, OBJD_LOCK_RECURSIVE, OBJD_LOCK_OWNERLESS };
        struct random random = random_begin("test-linear-lock");
        int64_t end_ns = test_now_ns() + (int64_t)((seconds > 0 ? seconds : (double)way_few(3, 2)) * 1e9);
        objd_config config = OBJD_CONFIG_INIT;
        uint64_t used = way_used(*state);
        size_t n = 0;

        do {
                struct linear_event *events;
                objd_object *lock;

                config.lock_flags = flags = some[n++ % 3];
                assert_ok(objd_create(*state, NULL, OBJD_LOCK, &config, &lock));
                events = history_record(lock, random_next(&random), N_EVENTS, call);
                history_judge(&lock_model, events, history_workers() * N_EVENTS, op_names);
                history_free(events, N_EVENTS);
                way_check(*state);
                assert_ok(objd_destroy(lock));
                objd_release(lock);
        } while (n < 3 || test_now_ns() < end_ns);
        assert_int_equal(way_used(*state), used);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_model_refuses_what_no_lock_does),
                WAY_TEST(concurrent_histories_are_linearizable),
        };

        if (argc > 2)
                seconds = atof(argv[2]);
        return way_run(argc, argv, tests);
}
