/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ops_lock.c -- locks as objects: what a killed process may have been doing to one
 */

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/sweep.h"

static objd_status take(objd_object *lock)
{
        objd_status r = objd_lock_take(lock, OBJD_NOWAIT, NULL);

        return r == OBJD_E_OWNER_DIED ? OBJD_OK : r;
}

static void build(struct objd_conn *conn, const struct op_test *test)
{
        objd_config config = OBJD_CONFIG_INIT;

        config.lock_flags = test->flags;
        objd_release(open_it(conn, "it", OBJD_LOCK, &config));
}

/* Its owner has died. */
static void build_dead(struct objd_conn *conn, const struct op_test *test)
{
        pid_t pid;
        int status;

        build(conn, test);
        pid = fork();
        if (pid == 0)
                _exit((int)take(open_it(conn, "it", OBJD_LOCK, NULL)));
        if (waitpid(pid, &status, 0) != pid || status)
                must(OBJD_E_SYS, "somebody who dies with the lock");
}

/* Taken by nobody in particular. */
static void build_taken(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *lock;

        build(conn, test);
        lock = open_it(conn, "it", OBJD_LOCK, NULL);
        must(take(lock), "taking a lock");
        objd_release(lock);
}

static objd_status prepare_taken(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return take(v->it);
}

static objd_status prepare_taken_twice(struct objd_conn *conn, struct victim *v)
{
        objd_status r = prepare_taken(conn, v);

        return r ? r : prepare_taken(conn, v);
}

static objd_status run_take(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return take(v->it);
}

static objd_status run_give(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_lock_give(v->it);
}

/* Nobody owns it: whoever comes next gives it, if it is taken, and takes it. */
static objd_status write_ownerless(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *lock = open_it(conn, target_of(test), OBJD_LOCK, NULL);
        objd_status r = objd_lock_give(lock);

        if (r == OBJD_OK || r == OBJD_E_NOTOWNER)
                r = objd_lock_take(lock, OBJD_NOWAIT, NULL);
        objd_release(lock);
        return r;
}

#define LOCK .kind = OBJD_LOCK, .build = build

static struct op_test tests[] = {
        { "lock: take", LOCK, .run = run_take },
        { "lock: take after the owner died", .kind = OBJD_LOCK, .build = build_dead, .run = run_take },
        { "lock: give", LOCK, .prepare = prepare_taken, .run = run_give,
          .silent = true }, /* its owner dies, too */
        { "lock: take again of a recursive one", LOCK, .flags = OBJD_LOCK_RECURSIVE, .prepare = prepare_taken,
          .run = run_take, .silent = true },
        { "lock: give of a recursive one", LOCK, .flags = OBJD_LOCK_RECURSIVE, .prepare = prepare_taken_twice,
          .run = run_give, .silent = true },
        { "lock: last give of a recursive one", LOCK, .flags = OBJD_LOCK_RECURSIVE, .prepare = prepare_taken,
          .run = run_give, .silent = true },
        { "lock: take of one without owners", LOCK, .flags = OBJD_LOCK_OWNERLESS, .run = run_take,
          .write = write_ownerless },
        { "lock: give of one without owners", .kind = OBJD_LOCK, .build = build_taken,
          .flags = OBJD_LOCK_OWNERLESS, .run = run_give, .write = write_ownerless },
};

const struct op_table lock_ops = OP_TABLE(tests);
