/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_held.c -- a living client that never lets go, or writes what it likes into lock words, stops neither the daemon nor the
 * tools: they wait for a while, say who it is, and go on with all else
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "arena/life.h"
#include "object/object.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"
#include "sync/lock.h"
#include "txn/lane.h"

enum held {
        HELD_POOL,    /* the lock of all memory */
        HELD_OBJECTS, /* the lines of every object, also of the dict of names */
        HELD_GATE,    /* nobody can join */
        HELD_NOBODY,  /* lines and the pool name a lane that nobody has */
        N_HELD
};

struct holder {
        struct fixture *f;
        enum held held;
        struct gate ready, go;
};

static void scribble(uint64_t *word, uint32_t lane)
{
        word_set(word,
                 (word_get(word) & LOCK_VERSION_MASK) | (uint64_t)lane << LOCK_LANE_SHIFT | LOCK_WRITING);
}

static void scribble_on_lines(struct arena *arena, uint32_t lane)
{
        uint64_t end = arena->data_off + arena_limit(arena);

        for (uint64_t off = arena->data_off; off < end; off += SLOT_SIZE) {
                struct object_shm *object = (struct object_shm *)(arena->base + off);
                uint64_t number = (off - arena->data_off) >> BLOCK_SHIFT;

                if (arena->blocks[number].state == BLOCK_SLOTS && (off - arena->data_off) % BLOCK_SIZE &&
                    word_get(&object->line.serial))
                        scribble(&object->line.word, lane);
        }
}

static int hold(void *context)
{
        struct holder *holder = context;
        struct lane *lane;
        objd_conn *conn;

        child_ok(objd_connect(holder->f->url, &conn));
        child_ok(lane_enter(conn->arena, OBJD_FOREVER, &lane));
        switch (holder->held) {
        case HELD_POOL:
                scribble(&conn->arena->header->pool.line.word, lane->number);
                break;
        case HELD_OBJECTS:
                scribble_on_lines(conn->arena, lane->number);
                break;
        case HELD_GATE:
                child_ok(gate_enter(conn->arena, INT64_MAX));
                break;
        default:
                scribble(&conn->arena->header->pool.line.word, 4000);
                scribble_on_lines(conn->arena, 4000);
        }
        gate_open(&holder->ready, 1);
        for (;;)
                pause(); /* for good: it is killed */
}

/* Leaves work for whoever looks for the dead: anonymous objects, and memory of them. */
static int make_and_die(void *context)
{
        struct holder *holder = context;
        objd_value key = objd_cstr("k"), value;
        objd_object *object;
        objd_conn *conn;
        char *bytes = calloc(1, 100000);

        value = objd_bytes(bytes, 100000);
        child_ok(objd_connect(holder->f->url, &conn));
        for (int i = 0; i < 20; i++) {
                child_ok(objd_create(conn, NULL, OBJD_DICT, NULL, &object));
                child_ok(objd_dict_set(object, &key, &value));
        }
        gate_open(&holder->ready, 1);
        gate_wait(&holder->go);
        return 0;
}

static pid_t start_tool(const struct fixture *f, const char *const *args)
{
        const char *objctl = getenv("OBJD_TEST_BIN_OBJCTL");
        const char *argv[12] = { objctl, "--url", f->url };
        size_t n = 3;
        pid_t pid;

        while (*args)
                argv[n++] = *args++;
        pid = fork();
        if (pid == 0) {
                int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

                dup2(fd, 1);
                dup2(fd, 2);
                execv(objctl, (char *const *)argv);
                _exit(127);
        }
        return pid;
}

/* It must come to an end by itself; what it says may be anything but a crash. */
static void expect_end(pid_t pid, const char *verb, int64_t deadline_ns)
{
        int status = 0;
        pid_t r;

        while ((r = waitpid(pid, &status, WNOHANG)) == 0 && test_now_ns() < deadline_ns)
                poll(NULL, 0, 5);
        if (r == 0) {
                kill(pid, SIGKILL);
                waitpid(pid, &status, 0);
        }
        if (r == 0 || !WIFEXITED(status) || WEXITSTATUS(status) > 3)
                fail_msg("objctl %s: %s, status %#x", verb, r == 0 ? "does not end" : "ended badly",
                         (unsigned)status);
}

/* The daemon answers: a caller that it refuses needs nothing of the arena. */
static void assert_daemon_answers(const struct fixture *f)
{
        for (int i = 0; i < 10; i++) {
                objd_conn *conn = fixture_connect(f);

                objd_close(conn);
        }
}

static const char *const tools[][5] = {
        { "stats", NULL },
        { "clients", NULL },
        { "locks", NULL },
        { "ls", NULL },
        { "get", "numbers", "k", NULL },
        { "dump", NULL },
        { "set", "numbers", "k", "7", NULL },
        { "create", "dict", "new", NULL },
        { "check", NULL },
};
#define N_TOOLS (sizeof(tools) / sizeof(tools[0]))

static void with_held(struct fixture *f, enum held held)
{
        struct holder holder = { .f = f, .held = held };
        objd_conn *conn;
        pid_t holder_pid, dead, pids[N_TOOLS];
        int64_t start;

        if (!getenv("OBJD_TEST_BIN_OBJCTL"))
                skip();
        gate_init(&holder.ready);
        gate_init(&holder.go);
        fixture_start(f, NULL);
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        objd_close(conn);
        dead = child_start(make_and_die, &holder);
        gate_wait(&holder.ready);
        holder_pid = child_start(hold, &holder);
        gate_wait(&holder.ready);
        child_kill(dead);
        poll(NULL, 0, 300); /* the daemon looks for the dead */
        assert_daemon_answers(f);
        start = test_now_ns();
        for (size_t i = 0; i < N_TOOLS; i++)
                pids[i] = start_tool(f, tools[i]);
        for (size_t i = 0; i < N_TOOLS; i++)
                expect_end(pids[i], tools[i][0], start + PATIENCE_NS);
        assert_daemon_answers(f);

        /* It ends when it is told to, and the next one begins, with the holder still there. */
        assert_int_equal(fixture_stop(f, SIGTERM), 0);
        fixture_start(f, NULL);
        assert_daemon_answers(f);
        child_kill(holder_pid);
        gate_deinit(&holder.ready);
        gate_deinit(&holder.go);
}

static void the_pool_is_held(void **state)
{
        with_held(*state, HELD_POOL);
}

static void all_objects_are_held(void **state)
{
        with_held(*state, HELD_OBJECTS);
}

static void the_gate_is_held(void **state)
{
        with_held(*state, HELD_GATE);
}

static void locks_name_nobody(void **state)
{
        with_held(*state, HELD_NOBODY);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(the_pool_is_held),
                FIXTURE_TEST(all_objects_are_held),
                FIXTURE_TEST(the_gate_is_held),
                FIXTURE_TEST(locks_name_nobody),
        };

        if (argc > 1)
                cmocka_set_test_filter(argv[1]);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
