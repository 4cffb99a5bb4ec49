/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill_daemon.c -- a daemon that is killed anywhere between its first instruction and its end
 *
 * Everything that others can see of a daemon's start and end happens in a system call or between two of them. So a
 * daemon is run under ptrace and killed when it enters its k-th system call, and when it leaves it, for each k, until it waits for
 * clients; then it is told to end, and killed on its way out in the same way. Other kills come some instructions later.
 *
 * There is a client all the while, which works and notices nothing, and a process that has died just before, whose traces the
 * daemon finds. Whoever is left behind must suit the next daemon: every few kills a whole one takes the store up.
 *
 * usage: test-kill-daemon [--all]     (OBJD_TEST_SEED=N repeats a run)
 *
 * Without --all every ninth of the places is looked at, beginning at a random one.
 */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/inside.h"
#include "support/numbers.h"
#include "support/random.h"
#include "support/test.h"

#define STRIDE 9
#define PLACES_MAX 100000u

static bool all;

/* ---- The victim ---------------------------------------------------------------------------------------- */

static pid_t start_victim(const struct fixture *f)
{
        pid_t pid;
        int status;

        fflush(NULL);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                int log = open(f->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

                prctl(PR_SET_PDEATHSIG, SIGKILL);
                dup2(log, STDERR_FILENO);
                ptrace(PTRACE_TRACEME, 0, NULL, NULL);
                execl(fixture_program(), "objd", "--dir", f->directory, "--name", "test", "--size", "2M",
                      (char *)NULL);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSTOPPED(status));
        assert_int_equal(
                ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)), 0);
        return pid;
}

/* Whether it enters the call in which a daemon waits for something to do. */
static bool is_waiting(pid_t pid)
{
        struct __ptrace_syscall_info info = { 0 };

        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) <= 0 ||
            info.op != PTRACE_SYSCALL_INFO_ENTRY)
                return false;
        return info.entry.nr == SYS_epoll_pwait
#ifdef SYS_epoll_wait
               || info.entry.nr == SYS_epoll_wait
#endif
                ;
}

/* Goes on to the next stop; false if the victim has come to its end. Signals are passed on. */
static bool go_on(pid_t pid, enum __ptrace_request how, bool *ended)
{
        int status, pass = 0;

        for (;;) {
                if (ptrace(how, pid, NULL, (void *)(intptr_t)pass) < 0 || waitpid(pid, &status, 0) != pid)
                        fail_msg("the victim cannot be traced");
                if (!WIFSTOPPED(status)) {
                        if (!WIFEXITED(status) || WEXITSTATUS(status))
                                fail_msg("the victim ended with wait status %#x", (unsigned)status);
                        *ended = true;
                        return false;
                }
                if (WSTOPSIG(status) == (SIGTRAP | 0x80) || WSTOPSIG(status) == SIGTRAP)
                        return true;
                pass = WSTOPSIG(status);
        }
}

/* Runs a daemon to this place and n_steps instructions further, and kills it there. False if it ended before. */
static bool run_victim(const struct fixture *f, unsigned place, unsigned n_steps)
{
        pid_t pid = start_victim(f);
        bool told = false, ended = false;

        for (unsigned i = 0; i < place && go_on(pid, PTRACE_SYSCALL, &ended); i++)
                if (!told && is_waiting(pid)) {
                        kill(pid, SIGTERM);
                        told = true;
                }
        for (unsigned i = 0; i < n_steps && !ended; i++)
                (void)go_on(pid, PTRACE_SINGLESTEP, &ended);
        if (ended)
                return false;
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        return true;
}

/* ---- What is left behind ------------------------------------------------------------------------------- */

static int make_anonymous_and_die(void *context)
{
        objd_object *object;

        child_ok(objd_create(context, NULL, OBJD_DICT, NULL, &object));
        raise(SIGKILL);
        return 0;
}

struct sweep {
        struct fixture *f;
        objd_conn *conn;
        struct random random;
        int64_t n;
        uint64_t n_objects, n_kills, n_whole;
};

static void a_whole_daemon_finds_everything(struct sweep *s)
{
        objd_conn *other;

        fixture_start(s->f, NULL);
        other = fixture_connect(s->f);
        assert_number(other, "n", s->n);
        assert_int_equal(stats_of(other).n_objects, s->n_objects);
        assert_int_equal(stats_of(other).n_clients, 2); /* the daemon, and both connections of this process */
        objd_close(other);
        assert_true(WIFSIGNALED(fixture_stop(s->f, SIGKILL)));
        s->n_whole++;
}

static void look(struct sweep *s)
{
        assert_ok(numbers_add(s->conn, "n", 1));
        s->n++;
        assert_number(s->conn, "n", s->n);
        if (s->n_kills % 3 == 0)
                inside_check(s->conn);
        if (s->n_kills % 5 == 0)
                a_whole_daemon_finds_everything(s);
        if (s->n_kills % 4 == 0)
                assert_true(WIFSIGNALED(child_wait(child_start(make_anonymous_and_die, s->conn))));
        s->n_kills++;
}

static void a_daemon_killed_on_its_way_leaves_a_store_that_the_next_one_takes_up(void **state)
{
        struct sweep s = { .f = *state, .random = random_begin("test-kill-daemon") };
        unsigned place = all ? 0 : (unsigned)random_below(&s.random, STRIDE);
        bool goes_on = true;

        fixture_start(s.f, (const char *[]){ "--size", "2M", NULL });
        s.conn = fixture_connect(s.f);
        assert_ok(numbers_set(s.conn, "n", 0));
        s.n_objects = stats_of(s.conn).n_objects;
        fixture_stop(s.f, SIGKILL);

        for (; goes_on && place < PLACES_MAX; place += all ? 1 : STRIDE) {
                goes_on = run_victim(s.f, place, 0);
                look(&s);
                if (goes_on && random_below(&s.random, 2)) {
                        (void)run_victim(s.f, place, (unsigned)random_below(&s.random, 3000));
                        look(&s);
                }
        }
        a_whole_daemon_finds_everything(&s);
        inside_check(s.conn);
        objd_close(s.conn);
        printf("%" PRIu64 " daemons killed at %u places, %" PRIu64 " whole ones in between\n", s.n_kills,
               place, s.n_whole);
}

static void a_daemon_killed_while_it_makes_a_store_leaves_room_for_the_next_one(void **state)
{
        struct random random = random_begin("test-kill-daemon");
        unsigned place = all ? 0 : (unsigned)random_below(&random, STRIDE), n = 0;
        struct fixture *f = *state;
        char path[128];

        fixture_path(f, ".arena", path);
        for (; run_victim(f, place, 0) && place < PLACES_MAX; place += all ? 1 : STRIDE, n++) {
                objd_conn *conn;

                fixture_start(f, NULL);
                conn = fixture_connect(f);
                assert_ok(numbers_set(conn, "n", 1));
                inside_check(conn);
                assert_int_equal(stats_of(conn).n_clients, 2);
                objd_close(conn);
                fixture_stop(f, SIGTERM);
                assert_false(fixture_has(f, ".arena.new"));
                assert_int_equal(unlink(path), 0);
        }
        printf("%u daemons killed at %u places\n", n, place);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_daemon_killed_on_its_way_leaves_a_store_that_the_next_one_takes_up),
                FIXTURE_TEST(a_daemon_killed_while_it_makes_a_store_leaves_room_for_the_next_one),
        };

        all = argc > 1 && strcmp(argv[1], "--all") == 0;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
