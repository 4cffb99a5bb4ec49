/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_connect.c -- connections: which arena a url means, who may have it, what happens at fork and close
 */

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"

#define NOBODY 65534

/* ---- Urls -------------------------------------------------------------------------------------------- */

static void a_bad_url_is_refused_with_what_is_wrong_with_it(void **state)
{
        static const struct {
                const char *url, *sentence;
        } cases[] = {
                { "",
                  "url \"\": begins with none of \"shm:\", \"start:\", \"local:\", \"ipc://\", \"tcp://\" and \"embedded:\"" },
                { "default",
                  "url \"default\": begins with none of \"shm:\", \"start:\", \"local:\", \"ipc://\", \"tcp://\" and \"embedded:\"" },
                { "udp://host:1",
                  "url \"udp://host:1\": begins with none of \"shm:\", \"start:\", \"local:\", \"ipc://\", \"tcp://\" and \"embedded:\"" },
                { "shm:", "url: the store's name is empty" },
                { "shm:/tmp/", "url: the store's name is empty" },
                { "shm:a b", "url: byte 2 of the store's name is none of A-Z a-z 0-9 . _ -" },
                { "shm:/tmp/caf\xc3\xa9", "url: byte 4 of the store's name is none of A-Z a-z 0-9 . _ -" },
                { "shm:tmp/a", "url \"shm:tmp/a\": the directory must begin with a /" },
                { "shm:0123456789012345678901234567890123456789012345678901234567890123x",
                  "url: the store's name has 65 bytes, at most 64 are allowed" },
                { "embedded:x", "url: \"x\" is no size: digits, and perhaps K, M, G or T" },
                { "embedded:K", "url: \"K\" is no size: digits, and perhaps K, M, G or T" },
                { "embedded:1KB", "url: \"1KB\" is no size: digits, and perhaps K, M, G or T" },
                { "embedded:-1", "url: \"-1\" is no size: digits, and perhaps K, M, G or T" },
                { "embedded:1 M", "url: \"1 M\" is no size: digits, and perhaps K, M, G or T" },
                { "embedded:0", "url: the size is 0 bytes, it may be from 1M to 1T" },
                { "embedded:1048575", "url: the size is 1048575 bytes, it may be from 1M to 1T" },
                { "embedded:1025G", "url: the size is 1100585369600 bytes, it may be from 1M to 1T" },
                { "embedded:18446744073709551616",
                  "url: the size \"18446744073709551616\" does not fit into 64 bits" },
                { "embedded:16777216T", "url: the size \"16777216T\" does not fit into 64 bits" },
        };
        objd_conn *conn = NULL;

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                assert_sentence(objd_connect(cases[i].url, &conn), OBJD_E_INVAL, cases[i].sentence);
                assert_null(conn);
        }
}

static void a_directory_that_is_too_long_is_refused(void **state)
{
        char url[8192] = "shm:/";
        objd_conn *conn = NULL;

        (void)state;
        memset(url + 5, 'd', 5000);
        strcpy(url + 5005, "/name");

        assert_sentence(objd_connect(url, &conn), OBJD_E_INVAL,
                        "url: the directory has 5001 bytes, at most 4095 are allowed");
        strcpy(url + 5005, "/name?read-only");
        assert_sentence(objd_connect(url, &conn), OBJD_E_INVAL, "url: it has 5016 bytes, which is too long");
}

static void null_arguments_are_refused(void **state)
{
        objd_stats stats;

        (void)state;
        assert_status(objd_connect("embedded:", NULL), OBJD_E_INVAL);
        assert_status(objd_stats_get(NULL, &stats), OBJD_E_INVAL);
        assert_status(objd_set_timeout(NULL, 1), OBJD_E_INVAL);
        objd_close(NULL);
}

static void without_a_daemon_the_sentence_says_where_it_should_be(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn = NULL;
        char sentence[512];

        snprintf(sentence, sizeof(sentence),
                 "cannot connect to \"%s\": no daemon answers at %s/test.sock: No such file or directory",
                 f->url, f->directory);
        assert_sentence(objd_connect(f->url, &conn), OBJD_E_NODAEMON, sentence);
        assert_null(conn);
}

static void no_url_means_objd_url_and_then_the_default(void **state)
{
        struct fixture *f = *state;
        char *saved = strdup(getenv("OBJD_URL") ? getenv("OBJD_URL") : ""), path[64];
        objd_conn *conn = NULL;

        fixture_start(f, NULL);
        setenv("OBJD_URL", f->url, 1);
        assert_ok(objd_connect(NULL, &conn));
        assert_ok(numbers_set(conn, "k", 1));
        objd_close(conn);

        setenv("OBJD_URL", "shm:no.such-store_", 1);
        snprintf(path, sizeof(path), "/dev/shm/objd-%d/no.such-store_.sock", (int)geteuid());
        assert_status(objd_connect(NULL, &conn), OBJD_E_NODAEMON);
        assert_contains(objd_last_error(), path);

        /* A user's own default store may well run: it is only looked at. */
        unsetenv("OBJD_URL");
        if (objd_connect(NULL, &conn) == OBJD_OK)
                objd_close(conn);
        else
                assert_contains(objd_last_error(), "cannot connect to \"shm:default\"");
        setenv("OBJD_URL", saved, 1);
        free(saved);
}

static void a_directory_beyond_the_length_of_socket_addresses_works(void **state)
{
        struct fixture *f = *state;
        char directory[256], url[300];
        struct fixture_output output;
        objd_conn *conn = NULL;

        /* The fixture's own daemon is told the longer directory last, and the last --dir counts. */
        snprintf(directory, sizeof(directory), "%s/%0120d", f->base, 0);
        snprintf(url, sizeof(url), "shm:%s/test", directory);
        fixture_start(f, (const char *[]){ "--dir", directory, NULL });
        assert_ok(objd_connect(url, &conn));
        assert_ok(numbers_set(conn, "k", 7));
        objd_close(conn);

        fixture_run(f, (const char *[]){ "--dir", directory, "--name", "test", NULL }, &output);
        assert_int_equal(output.status, 1);
        assert_contains(output.err, "runs already");
}

/* ---- Embedded ---------------------------------------------------------------------------------------- */

static void an_embedded_arena_is_private_to_its_connection(void **state)
{
        objd_conn *a = NULL, *b = NULL;
        int64_t number;

        (void)state;
        assert_ok(objd_connect("embedded:", &a));
        assert_ok(objd_connect("embedded:4M", &b));

        assert_ok(numbers_set(a, "k", 1));

        assert_number(a, "k", 1);
        assert_status(numbers_get(b, "k", &number), OBJD_E_NOTFOUND);
        objd_close(a);
        objd_close(b);
}

static void an_embedded_arena_has_the_size_it_was_asked_for(void **state)
{
        static const struct {
                const char *url;
                uint64_t size;
        } cases[] = {
                { "embedded:", 1ULL << 30 },      { "embedded:1048576", 1ULL << 20 },
                { "embedded:1024K", 1ULL << 20 }, { "embedded:64M", 64ULL << 20 },
                { "embedded:3G", 3ULL << 30 },    { "embedded:1T", 1ULL << 40 },
        };
        objd_conn *conn = NULL;
        objd_stats stats;

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                assert_ok(objd_connect(cases[i].url, &conn));
                assert_ok(numbers_set(conn, "k", 1));
                assert_ok(objd_stats_get(conn, &stats));

                assert_true(stats.arena_size > cases[i].size);
                assert_true(stats.arena_limit <= cases[i].size);
                assert_true(stats.arena_limit >= cases[i].size / 2);
                assert_true(stats.arena_used > 0);
                assert_true(stats.arena_resident >= stats.arena_used);
                assert_true(stats.arena_resident < 1 << 20);
                objd_close(conn);
        }
}

struct share {
        objd_conn *conn;
        int64_t number;
};

static int put_as_child(void *context)
{
        const struct share *share = context;
        char key[16];

        snprintf(key, sizeof(key), "%lld", (long long)share->number);
        child_ok(numbers_set(share->conn, key, share->number));
        child_ok(numbers_add(share->conn, "sum", share->number));
        objd_close(share->conn);
        return 0;
}

static void an_embedded_arena_is_shared_with_forked_children(void **state)
{
        struct share share = { .conn = NULL };
        pid_t pids[8];

        (void)state;
        assert_ok(objd_connect("embedded:16M", &share.conn));
        assert_ok(numbers_set(share.conn, "sum", 0));
        for (share.number = 0; share.number < 8; share.number++)
                pids[share.number] = child_start(put_as_child, &share);
        for (size_t i = 0; i < 8; i++)
                child_expect_success(pids[i]);

        assert_number(share.conn, "sum", 28);
        assert_number(share.conn, "0", 0);
        assert_number(share.conn, "7", 7);
        objd_close(share.conn);
}

static int fork_again(void *context)
{
        struct share *share = context;
        int status;
        pid_t pid;

        child_ok(numbers_set(share->conn, "child", 1));
        share->number = 99;
        pid = fork();
        child_check(pid >= 0);
        if (pid == 0)
                _exit(put_as_child(share));
        child_check(waitpid(pid, &status, 0) == pid && status == 0);
        return 0;
}

static void a_grandchild_has_the_arena_too(void **state)
{
        struct share share = { .conn = NULL };

        (void)state;
        assert_ok(objd_connect("embedded:16M", &share.conn));
        child_expect_success(child_start(fork_again, &share));

        assert_number(share.conn, "child", 1);
        assert_number(share.conn, "99", 99);
        objd_close(share.conn);
}

/* ---- Named stores ------------------------------------------------------------------------------------ */

static void connections_to_one_store_see_the_same(void **state)
{
        struct fixture *f = *state;
        objd_conn *a = NULL, *b = NULL;
        objd_stats stats;

        fixture_start(f, NULL);
        assert_ok(objd_connect(f->url, &a));
        assert_ok(objd_connect(f->url, &b));
        assert_ok(numbers_set(a, "k", 1));
        assert_number(b, "k", 1);

        assert_ok(objd_stats_get(a, &stats));
        assert_int_equal(stats.n_clients, 2); /* the daemon and this process */

        objd_close(a);
        assert_ok(numbers_set(b, "k", 2));
        assert_number(b, "k", 2);
        objd_close(b);
}

static size_t count_fds(void)
{
        DIR *dir = opendir("/proc/self/fd");
        size_t n = 0;

        assert_non_null(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

/* A child's arrival looks for the dead: this process must not be one of them. */
static int look_for_the_living(void *context)
{
        const struct fixture *f = context;
        objd_conn *conn;
        objd_stats stats;

        child_ok(objd_connect(f->url, &conn));
        child_ok(numbers_set(conn, "k", 8)); /* makes it a client of its own */
        child_ok(objd_stats_get(conn, &stats));
        child_check(stats.n_clients == 3);
        objd_close(conn);
        return 0;
}

static void connect_and_close(const char *url)
{
        objd_conn *conn = NULL;

        assert_ok(objd_connect(url, &conn));
        assert_number(conn, "k", 7);
        objd_close(conn);
}

static void further_connections_come_and_go_without_a_trace(void **state)
{
        static const char *const suffixes[] = { "", "?read-only" };
        struct fixture *f = *state;
        objd_conn *writer = NULL;

        fixture_start(f, NULL);
        assert_ok(objd_connect(f->url, &writer));
        assert_ok(numbers_set(writer, "k", 7));
        for (size_t i = 0; i < 2; i++) {
                objd_conn *first = NULL;
                char url[256];
                size_t n;

                snprintf(url, sizeof(url), "%s%s", f->url, suffixes[i]);
                assert_ok(objd_connect(url, &first));
                connect_and_close(url);
                n = count_fds();
                for (int turn = 0; turn < 50; turn++)
                        connect_and_close(url);
                assert_int_equal(count_fds(), n);
                objd_close(first);
        }
        child_expect_success(child_start(look_for_the_living, f));
        objd_close(writer);
}

static void the_last_close_gives_the_client_back(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn = NULL;
        objd_stats stats;

        fixture_start(f, NULL);
        for (int i = 0; i < 20; i++) {
                assert_ok(objd_connect(f->url, &conn));
                assert_ok(numbers_set(conn, "k", i));
                assert_ok(objd_stats_get(conn, &stats));
                assert_int_equal(stats.n_clients, 2);
                assert_int_equal(stats.n_lanes, 2);
                objd_close(conn);
        }
}

static void anonymous_objects_go_with_the_last_connection_of_their_process(void **state)
{
        struct fixture *f = *state;
        objd_object *object;
        objd_conn *a = NULL, *b = NULL;
        uint64_t n;

        fixture_start(f, NULL);
        assert_ok(objd_connect(f->url, &a));
        assert_ok(objd_connect(f->url, &b));
        assert_ok(numbers_set(a, "k", 1));
        n = stats_of(a).n_objects;
        assert_ok(objd_create(a, NULL, OBJD_DICT, NULL, &object));
        objd_release(object);
        assert_int_equal(stats_of(a).n_objects, n + 1);

        objd_close(a);
        assert_int_equal(stats_of(b).n_objects, n + 1);

        objd_close(b);
        assert_ok(objd_connect(f->url, &a));
        assert_int_equal(stats_of(a).n_objects, n);
        objd_close(a);
}

struct worker {
        objd_conn *conn;
        struct gate go, done;
};

/* Has a lane from its first call on, and owns an object from its second. */
static void *work(void *context)
{
        struct worker *worker = context;
        objd_object *object;

        child_ok(numbers_add(worker->conn, "k", 1));
        gate_open(&worker->done, 1);
        gate_wait(&worker->go);
        child_ok(objd_create(worker->conn, NULL, OBJD_DICT, NULL, &object));
        objd_release(object);
        gate_open(&worker->done, 1);
        gate_wait(&worker->go);
        return NULL;
}

static int make_anonymous_and_die(void *context)
{
        const struct share *share = context;
        objd_object *object;

        child_ok(objd_create(share->conn, NULL, OBJD_DICT, NULL, &object));
        raise(SIGKILL);
        return 0;
}

static bool has_one_client_more_than_the_daemon(void *context)
{
        return stats_of(context).n_clients == 2;
}

/*
 * The thread keeps its lane when the last connection ends; what it makes through a later one belongs to a living client,
 * also in the eyes of whoever looks for the dead.
 */
static void a_thread_may_outlive_its_connection_and_use_the_next(void **state)
{
        struct fixture *f = *state;
        struct worker worker;
        struct share share;
        pthread_t thread;
        uint64_t n;

        fixture_start(f, NULL);
        gate_init(&worker.go);
        gate_init(&worker.done);
        worker.conn = fixture_connect(f);
        assert_int_equal(pthread_create(&thread, NULL, work, &worker), 0);
        gate_wait(&worker.done);
        n = stats_of(worker.conn).n_objects;
        objd_close(worker.conn);

        worker.conn = fixture_connect(f);
        gate_open(&worker.go, 1);
        gate_wait(&worker.done);
        assert_int_equal(stats_of(worker.conn).n_objects, n + 1);

        /* When this child's entry is free again, somebody has looked at all clients. */
        share.conn = worker.conn;
        assert_true(WIFSIGNALED(child_wait(child_start(make_anonymous_and_die, &share))));
        wait_until(has_one_client_more_than_the_daemon, worker.conn, "the dead child is cleaned up after");
        assert_int_equal(stats_of(worker.conn).n_objects, n + 1);

        gate_open(&worker.go, 1);
        pthread_join(thread, NULL);
        objd_close(worker.conn);
        gate_deinit(&worker.go);
        gate_deinit(&worker.done);
}

static void a_forked_child_goes_on_with_its_parents_connection(void **state)
{
        struct fixture *f = *state;
        struct share share = { .number = 5 };

        fixture_start(f, NULL);
        assert_ok(objd_connect(f->url, &share.conn));
        assert_ok(numbers_set(share.conn, "k", 1));

        child_expect_success(child_start(put_as_child, &share));

        assert_number(share.conn, "5", 5);
        assert_ok(numbers_set(share.conn, "k", 2)); /* what the child closed was its own */
        assert_number(share.conn, "k", 2);
        objd_close(share.conn);
}

static void the_time_out_of_a_connection_has_limits(void **state)
{
        objd_conn *conn = NULL;

        (void)state;
        assert_ok(objd_connect("embedded:1M", &conn));
        assert_ok(objd_set_timeout(conn, OBJD_NOWAIT));
        assert_ok(objd_set_timeout(conn, OBJD_FOREVER));
        assert_ok(objd_set_timeout(conn, INT64_MAX));
        assert_sentence(objd_set_timeout(conn, -2), OBJD_E_INVAL, "objd_set_timeout: -2 ns is no time-out");
        objd_close(conn);
}

/* ---- Other users ------------------------------------------------------------------------------------- */

struct stranger {
        const char *url;
        gid_t group; /* a supplementary one; 0 for none */
        objd_status expected;
        const char *sentence;
};

static int connect_as_nobody(void *context)
{
        const struct stranger *stranger = context;
        objd_conn *conn;

        child_check(setgroups(stranger->group ? 1 : 0, &stranger->group) == 0);
        child_check(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
        child_check(objd_connect(stranger->url, &conn) == stranger->expected);
        if (stranger->expected) {
                child_check(strstr(objd_last_error(), stranger->sentence));
                return 0;
        }
        child_ok(numbers_set(conn, "k", 1));
        objd_close(conn);
        return 0;
}

static void a_foreign_user_is_refused_unless_the_daemon_allows_it(void **state)
{
        struct fixture *f = *state;
        struct stranger stranger = { .url = f->url, .expected = OBJD_E_ACCESS };
        char sentence[128];

        if (geteuid() != 0)
                skip();
        stranger.sentence = sentence;
        snprintf(sentence, sizeof(sentence), "this store is of uid %d, and uid %d (gid %d, pid ",
                 (int)geteuid(), NOBODY, NOBODY);
        fixture_start(f, NULL);
        child_expect_success(child_start(connect_as_nobody, &stranger));
        fixture_stop(f, SIGTERM);

        fixture_start(f, (const char *[]){ "--allow-uid", "1", "--allow-gid", "77", NULL });
        child_expect_success(child_start(connect_as_nobody, &stranger));
        stranger = (struct stranger){ .url = f->url, .group = 77, .expected = OBJD_OK };
        child_expect_success(child_start(connect_as_nobody, &stranger));
        fixture_stop(f, SIGTERM);

        stranger.group = 0;
        fixture_start(f, (const char *[]){ "--allow-uid", "1", "--allow-uid", "65534", NULL });
        child_expect_success(child_start(connect_as_nobody, &stranger));
        fixture_stop(f, SIGTERM);

        fixture_start(f, (const char *[]){ "--allow-gid", "65534", NULL });
        child_expect_success(child_start(connect_as_nobody, &stranger));
}

static void a_directory_that_cannot_be_entered_is_a_matter_of_access(void **state)
{
        struct fixture *f = *state;
        struct stranger stranger = { .url = f->url,
                                     .expected = OBJD_E_ACCESS,
                                     .sentence = "Permission denied" };

        if (geteuid() != 0)
                skip();
        fixture_start(f, NULL);
        assert_int_equal(chmod(f->directory, 0700), 0);

        child_expect_success(child_start(connect_as_nobody, &stranger));
}

/* ---- Many -------------------------------------------------------------------------------------------- */

#define N_CLIENTS 200

struct crowd {
        const char *url;
        struct gate here, go;
};

static int join_crowd(void *context)
{
        const struct crowd *crowd = context;
        objd_conn *conn;

        child_ok(objd_connect(crowd->url, &conn));
        child_ok(numbers_add(conn, "n", 1));
        gate_open(&crowd->here, 1);
        gate_wait(&crowd->go);
        child_ok(numbers_add(conn, "n", 1));
        objd_close(conn);
        return 0;
}

static void two_hundred_clients_at_once(void **state)
{
        struct fixture *f = *state;
        struct crowd crowd = { .url = f->url };
        pid_t pids[N_CLIENTS];
        objd_conn *conn = NULL;
        objd_stats stats;

        fixture_start(f, NULL);
        gate_init(&crowd.here);
        gate_init(&crowd.go);
        for (size_t i = 0; i < N_CLIENTS; i++)
                pids[i] = child_start(join_crowd, &crowd);
        for (size_t i = 0; i < N_CLIENTS; i++)
                gate_wait(&crowd.here);

        assert_ok(objd_connect(f->url, &conn));
        assert_number(conn, "n", N_CLIENTS);
        assert_ok(objd_stats_get(conn, &stats));
        assert_int_equal(stats.n_clients, N_CLIENTS + 2);

        gate_open(&crowd.go, N_CLIENTS);
        for (size_t i = 0; i < N_CLIENTS; i++)
                child_expect_success(pids[i]);
        assert_number(conn, "n", 2 * N_CLIENTS);
        objd_close(conn);
        gate_deinit(&crowd.here);
        gate_deinit(&crowd.go);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_bad_url_is_refused_with_what_is_wrong_with_it),
                FIXTURE_TEST(a_directory_that_is_too_long_is_refused),
                FIXTURE_TEST(null_arguments_are_refused),
                FIXTURE_TEST(without_a_daemon_the_sentence_says_where_it_should_be),
                FIXTURE_TEST(no_url_means_objd_url_and_then_the_default),
                FIXTURE_TEST(a_directory_beyond_the_length_of_socket_addresses_works),
                FIXTURE_TEST(an_embedded_arena_is_private_to_its_connection),
                FIXTURE_TEST(an_embedded_arena_has_the_size_it_was_asked_for),
                FIXTURE_TEST(an_embedded_arena_is_shared_with_forked_children),
                FIXTURE_TEST(a_grandchild_has_the_arena_too),
                FIXTURE_TEST(connections_to_one_store_see_the_same),
                FIXTURE_TEST(further_connections_come_and_go_without_a_trace),
                FIXTURE_TEST(the_last_close_gives_the_client_back),
                FIXTURE_TEST(anonymous_objects_go_with_the_last_connection_of_their_process),
                FIXTURE_TEST(a_thread_may_outlive_its_connection_and_use_the_next),
                FIXTURE_TEST(a_forked_child_goes_on_with_its_parents_connection),
                FIXTURE_TEST(the_time_out_of_a_connection_has_limits),
                FIXTURE_TEST(a_foreign_user_is_refused_unless_the_daemon_allows_it),
                FIXTURE_TEST(a_directory_that_cannot_be_entered_is_a_matter_of_access),
                FIXTURE_TEST(two_hundred_clients_at_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
