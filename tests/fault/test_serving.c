/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_serving.c -- the daemon, and those who connect to it, while their calls fail one after the other
 *
 * A daemon that cannot start says why and leaves nothing behind; one that runs goes on, whatever failed, and serves the
 * next client, or ends with a sentence. Without a descriptor left it keeps those whom it has and burns no processor.
 */

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/faults.h"
#include "support/fixture.h"
#include "support/inside.h"
#include "support/test.h"

static const char *const mode_name[] = { "once", "from then on", "interrupted", "killed" };

static const char *const options[] = { "--size", "16M", NULL };

static void share(const struct fixture *f)
{
        char path[128];

        snprintf(path, sizeof(path), "%s/faults", f->base);
        faults_share(path);
}

/* ---- Starting -------------------------------------------------------------------------------------------- */

/* A healthy daemon takes up what is there, whatever happened to the one before it. */
static void expect_healthy(struct fixture *f)
{
        objd_object *dict;
        objd_conn *conn = fixture_connect(f);
        objd_value key = objd_int(1), value = objd_int(2);

        assert_ok(objd_open_or_create(conn, "dict", OBJD_DICT, NULL, &dict));
        assert_ok(objd_dict_set(dict, &key, &value));
        objd_release(dict);
        inside_check(conn);
        objd_close(conn);
}

/* Returns whether a call of the start failed. */
static bool start_once(struct fixture *f, unsigned nth, enum fault_mode mode)
{
        int status = 0;

        faults_begin(nth, mode);
        if (fixture_try_start(f, options, &status)) {
                (void)faults_end();
                expect_healthy(f);
                assert_int_equal(fixture_stop(f, SIGTERM), 0);
        } else {
                (void)faults_end();
                if (!WIFEXITED(status) || WEXITSTATUS(status) == 0 || !strstr(fixture_log(f), "error"))
                        fail_msg("call %u, %s (%s): status %#x; %s", nth, faults->first, mode_name[mode],
                                 (unsigned)status, fixture_log(f));
        }
        /* A lock file that could not be locked may be another daemon's, so it stays; the next daemon takes it. */
        if (strcmp(faults->first, "fcntl") != 0 && strcmp(faults->first, "fstat") != 0 &&
            strcmp(faults->first, "fstatat") != 0)
                fixture_check_tidy(f);
        return faults->n_failed > 0;
}

static void remove_arena(const struct fixture *f)
{
        char path[128];

        fixture_path(f, ".arena", path);
        (void)unlink(path);
}

static void sweep_starts(struct fixture *f, bool anew)
{
        share(f);
        for (enum fault_mode mode = FAULT_ONCE; mode <= FAULT_INTERRUPT; mode++) {
                unsigned nth = 1;

                while (start_once(f, nth, mode)) {
                        nth++;
                        if (anew)
                                remove_arena(f);
                }
                printf("%u calls of a start failed, %s\n", nth - 1, mode_name[mode]);
                assert_true(nth > 10);
        }
        fixture_start(f, options);
        expect_healthy(f);
        faults_unshare();
}

static void a_start_may_fail_at_every_call(void **state)
{
        sweep_starts(*state, true);
}

static void taking_up_an_arena_may_fail_at_every_call(void **state)
{
        struct fixture *f = *state;

        fixture_start(f, options);
        expect_healthy(f);
        assert_true(WIFSIGNALED(fixture_stop(f, SIGKILL)));
        sweep_starts(f, false);
}

/* ---- Serving --------------------------------------------------------------------------------------------- */

static int connect_and_leave(void *context)
{
        objd_conn *conn;

        if (objd_connect(context, &conn) == OBJD_OK)
                objd_close(conn);
        return 0;
}

static int connect_and_die(void *context)
{
        objd_object *anonymous;
        objd_conn *conn;

        if (objd_connect(context, &conn) == OBJD_OK)
                (void)objd_create(conn, NULL, OBJD_LIST, NULL, &anonymous);
        raise(SIGKILL);
        return 0;
}

/*
 * A daemon that cannot answer is not waited for. As long as nothing has failed it answers, however slow the machine is: who gave up
 * would take that for a run without a failure.
 */
static void end_soon(pid_t pid)
{
        const int64_t end_ns = test_now_ns() + PATIENCE_NS;

        for (int i = 0; i < 100 && test_now_ns() < end_ns; i++) {
                if (waitpid(pid, NULL, WNOHANG) == pid)
                        return;
                usleep(2000);
                if (!__atomic_load_n(&faults->n_failed, __ATOMIC_RELAXED))
                        i = 0;
        }
        kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
}

struct calm {
        struct fixture *f;
        objd_conn *conn;
        size_t n_fds;
};

/*
 * Nothing is left of those who came and went: no descriptor in the daemon, no client, no object. When descriptors were counted, it may not
 * have closed yet what an earlier client had.
 */
static bool is_calm(void *context)
{
        const struct calm *calm = context;
        objd_stats stats;

        assert_ok(objd_stats_get(calm->conn, &stats));
        return leaks_count_fds(calm->f->pid) <= calm->n_fds && stats.n_clients == 2 && stats.n_objects == 2;
}

static bool has_ended(const struct fixture *f)
{
        return kill(f->pid, 0) < 0 || fixture_has(f, ".sock") == false;
}

static bool can_connect(void *context)
{
        const struct fixture *f = context;
        objd_conn *conn;

        if (objd_connect(f->url, &conn))
                return false;
        objd_close(conn);
        return true;
}

/* Returns whether a call of the daemon's failed while clients came, went and died. */
static bool serve_once(struct calm *calm, unsigned nth, enum fault_mode mode)
{
        objd_value key = objd_int(1), value = objd_int((int64_t)nth);
        struct fixture *f = calm->f;
        objd_object *dict;
        unsigned n_failed;

        faults_begin(nth, mode);
        end_soon(child_start(connect_and_leave, f->url));
        end_soon(child_start(connect_and_die, f->url));
        usleep(5000); /* for what the daemon does of its own accord; not needed for the test to be right */
        n_failed = faults_end();
        /* Who had the arena before works on. */
        assert_ok(objd_open(calm->conn, "dict", OBJD_DICT, &dict));
        assert_ok(objd_dict_set(dict, &key, &value));
        objd_release(dict);
        if (has_ended(f))
                fail_msg("the daemon ended (call %u, %s, %s): %s", nth, faults->first, mode_name[mode],
                         fixture_log(f));
        wait_until(can_connect, f, "the daemon serves again");
        wait_until(is_calm, calm, "the daemon has closed what it opened, and has cleaned up after the dead");
        return n_failed > 0;
}

static void serving_may_fail_at_every_call(void **state)
{
        struct calm calm = { .f = *state };
        objd_object *dict;

        share(calm.f);
        fixture_start(calm.f, options);
        calm.conn = fixture_connect(calm.f);
        assert_ok(objd_create(calm.conn, "dict", OBJD_DICT, NULL, &dict));
        objd_release(dict);
        calm.n_fds = leaks_count_fds(calm.f->pid);
        for (enum fault_mode mode = FAULT_ONCE; mode <= FAULT_INTERRUPT; mode++) {
                unsigned nth = 1;

                while (serve_once(&calm, nth, mode))
                        nth++;
                printf("%u calls of a serving daemon failed, %s\n", nth - 1, mode_name[mode]);
                assert_true(nth > 5);
        }
        inside_check(calm.conn);
        objd_close(calm.conn);
        assert_int_equal(fixture_stop(calm.f, SIGTERM), 0);
        if (faults->n_live)
                fail_msg("the daemon left %u allocations", faults->n_live);
        faults_unshare();
}

/* ---- Who connects ---------------------------------------------------------------------------------------- */

#define GUEST 65534
#define GUEST_TEXT "65534"

/* Where it can, it is somebody whom the daemon must ask the kernel about twice: who it is, and of which groups. */
static int connect_as_guest(void *context)
{
        const gid_t groups[] = { GUEST - 2, GUEST - 1 };
        objd_conn *conn;
        objd_status r;

        if (geteuid() == 0)
                child_check(setgroups(2, groups) == 0 && setresgid(GUEST, GUEST, GUEST) == 0 &&
                            setresuid(GUEST, GUEST, GUEST) == 0);
        r = objd_connect(context, &conn);
        if (r)
                fprintf(stderr, "%s\n", objd_last_error());
        return (int)r;
}

static void let_guest_in(const char *url, const char *kind)
{
        unsigned nth = 0, n_failed;

        faults_only(kind);
        do {
                int status;

                faults_begin(++nth, FAULT_ONCE);
                status = child_wait(child_start(connect_as_guest, (char *)url));
                n_failed = faults_end();
                assert_true(WIFEXITED(status));
                assert_int_not_equal(WEXITSTATUS(status), OBJD_E_ACCESS);
                if (!n_failed)
                        assert_int_equal(WEXITSTATUS(status), OBJD_OK);
        } while (n_failed);
        printf("%u calls of %s failed for who came by %s\n", nth - 1, kind, url);
        faults_only(NULL);
}

/* A refusal is for those whom the policy refuses. */
static void who_cannot_be_told_apart_is_not_said_to_have_no_right(void **state)
{
        struct fixture *f = *state;
        char ipc[128];

        snprintf(ipc, sizeof(ipc), "ipc://%s/rpc", f->base);
        share(f);
        fixture_start(f, (const char *[]){ "--read-only-gid", GUEST_TEXT, "--rpc", ipc, NULL });
        let_guest_in(f->url, "getsockopt");
        let_guest_in(f->url, "malloc");
        let_guest_in(ipc, "getsockopt");
        assert_int_equal(fixture_stop(f, SIGTERM), 0);
        faults_unshare();
}

/* ---- Connecting ------------------------------------------------------------------------------------------ */

static bool connect_once(struct calm *calm, unsigned nth, enum fault_mode mode)
{
        size_t n_fds = leaks_count_fds(getpid());
        objd_conn *conn = NULL;
        objd_status r;
        unsigned n_failed;

        faults_begin(nth, mode);
        r = objd_connect(calm->f->url, &conn);
        n_failed = faults_end();
        if (r && !n_failed)
                fail_msg("objd_connect: %s", objd_last_error());
        assert_true((r == OBJD_OK) == (conn != NULL));
        if (r)
                assert_true(strlen(objd_last_error()) > 0);
        expect_healthy(calm->f);
        if (conn) {
                faults_begin(nth, mode == FAULT_INTERRUPT ? FAULT_ONCE : mode);
                objd_close(conn);
                n_failed += faults_end();
        }
        assert_int_equal(leaks_count_fds(getpid()), n_fds);
        if (faults->n_live)
                fail_msg("%u allocations are left (call %u, %s, %s)", faults->n_live, nth, faults->first,
                         mode_name[mode]);
        return n_failed > 0;
}

static void connecting_may_fail_at_every_call(void **state)
{
        struct calm calm = { .f = *state };

        fixture_start(calm.f, options);
        for (enum fault_mode mode = FAULT_ONCE; mode <= FAULT_INTERRUPT; mode++) {
                unsigned nth = 1;

                while (connect_once(&calm, nth, mode))
                        nth++;
                printf("%u calls of a connecting client failed, %s\n", nth - 1, mode_name[mode]);
                assert_true(nth > 3);
        }
        fixture_check_runs(calm.f);
}

/* ---- No descriptor left ---------------------------------------------------------------------------------- */

/* User and system time in clock ticks. */
static unsigned long cpu_ticks(pid_t pid)
{
        unsigned long user = 0, kernel = 0;
        char path[64];
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        file = fopen(path, "re");
        assert_non_null(file);
        assert_int_equal(
                fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel),
                2);
        fclose(file);
        return user + kernel;
}

static unsigned long ticks_in(int64_t ns)
{
        return (unsigned long)(ns / (1000000000LL / sysconf(_SC_CLK_TCK)));
}

static bool can_accept_nobody(void *context)
{
        return strstr(fixture_log(context), "cannot accept a client") != NULL;
}

/* Connects as soon as it is let in. */
static int connect_late(void *context)
{
        objd_status r = OBJD_OK;
        objd_conn *conn;

        for (int i = 0; i < 20; i++) {
                r = objd_connect(context, &conn);
                if (r == OBJD_OK) {
                        objd_close(conn);
                        return 0;
                }
        }
        fprintf(stderr, "%s\n", objd_last_error());
        return 1;
}

static void set_limit(pid_t pid, rlim_t n, struct rlimit *old)
{
        const struct rlimit limit = { .rlim_cur = n,
                                      .rlim_max = old->rlim_max ? old->rlim_max : RLIM_INFINITY };

        if (old->rlim_max == 0)
                assert_int_equal(prlimit(pid, RLIMIT_NOFILE, NULL, old), 0);
        assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &(struct rlimit){ limit.rlim_cur, old->rlim_max }, NULL),
                         0);
}

static void without_a_descriptor_left_the_daemon_keeps_those_it_has(void **state)
{
        objd_value key = objd_int(1), value = objd_int(2);
        struct fixture *f = *state;
        struct rlimit old = { 0 };
        objd_object *dict;
        objd_conn *conn;
        unsigned long ticks;
        int64_t start_ns;
        pid_t late[3];

        fixture_start(f, options);
        conn = fixture_connect(f);
        assert_ok(objd_create(conn, "dict", OBJD_DICT, NULL, &dict));
        set_limit(f->pid, leaks_count_fds(f->pid), &old);
        for (size_t i = 0; i < 3; i++)
                late[i] = child_start(connect_late, f->url);
        wait_until(can_accept_nobody, f, "somebody comes for whom there is no descriptor");
        ticks = cpu_ticks(f->pid);
        start_ns = test_now_ns();
        for (int i = 0; i < 100; i++, usleep(10000))
                assert_ok(objd_dict_set(dict, &key, &value));
        ticks = cpu_ticks(f->pid) - ticks;
        /* Of a second, a busy loop would have taken most; ten looks take next to nothing. */
        if (ticks > ticks_in(test_now_ns() - start_ns) / 4)
                fail_msg("the daemon used %lu ticks while it could accept nobody", ticks);

        set_limit(f->pid, old.rlim_cur, &old);
        for (size_t i = 0; i < 3; i++)
                child_expect_success(late[i]);
        objd_release(dict);
        objd_close(conn);
        fixture_check_runs(f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_start_may_fail_at_every_call),
                FIXTURE_TEST(taking_up_an_arena_may_fail_at_every_call),
                FIXTURE_TEST(serving_may_fail_at_every_call),
                FIXTURE_TEST(who_cannot_be_told_apart_is_not_said_to_have_no_right),
                FIXTURE_TEST(connecting_may_fail_at_every_call),
                FIXTURE_TEST(without_a_descriptor_left_the_daemon_keeps_those_it_has),
        };

        cmocka_set_test_filter(getenv("FILTER"));
        return cmocka_run_group_tests(tests, NULL, NULL);
}
