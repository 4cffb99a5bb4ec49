/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_objctl.c -- what objctl says of a store that others are using: locks, clients, objects without names
 *
 * What it says of a store of its own stands in the transcripts beside this file.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "object/op.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/test.h"
#include "txn/txn.h"

/* ---- Running objctl ---------------------------------------------------------------------------------- */

struct run {
        struct fixture *fixture;
        const char *args;   /* as in a shell */
        const char *expect; /* part of what it is to say */
        char output[8192];
        int status;
};

static const char *objctl_program(void)
{
        const char *path = getenv("OBJD_TEST_BIN_OBJCTL");

        return path ? path : "tools/objctl";
}

/* Runs it to its end, stdout and stderr together. */
static void run_objctl(struct run *run)
{
        char command[512];
        size_t n;
        FILE *f;

        snprintf(command, sizeof(command), "exec %s --url %s %s 2>&1", objctl_program(), run->fixture->url,
                 run->args);
        f = popen(command, "re");
        assert_non_null(f);
        n = fread(run->output, 1, sizeof(run->output) - 1, f);
        run->output[n] = '\0';
        run->status = WEXITSTATUS(pclose(f));
}

static bool says_so(void *context)
{
        struct run *run = context;

        run_objctl(run);
        return strstr(run->output, run->expect);
}

/* Runs it until it says what is expected: what others do takes a moment. */
static void expect_some_time(struct fixture *f, const char *args, const char *expect)
{
        struct run run = { .fixture = f, .args = args, .expect = expect };

        wait_until(says_so, &run, expect);
}

static void expect_now(struct fixture *f, const char *args, int status, const char *expect)
{
        struct run run = { .fixture = f, .args = args };

        run_objctl(&run);
        assert_contains(run.output, expect);
        assert_int_equal(run.status, status);
}

/* ---- Others ------------------------------------------------------------------------------------------ */

struct other {
        struct fixture *fixture;
        struct gate ready, end;
};

static void others_init(struct other *other, struct fixture *f)
{
        *other = (struct other){ .fixture = f };
        gate_init(&other->ready);
        gate_init(&other->end);
}

static void others_deinit(struct other *other)
{
        gate_deinit(&other->ready);
        gate_deinit(&other->end);
}

static objd_object *open_in_child(struct other *other, const char *name)
{
        objd_object *object;
        objd_conn *conn;

        child_ok(objd_connect(other->fixture->url, &conn));
        child_ok(objd_open(conn, name, OBJD_KIND_ANY, &object));
        return object;
}

static void make(struct fixture *f, const char *name, objd_kind kind)
{
        objd_conn *conn = fixture_connect(f);
        objd_object *object;

        assert_ok(objd_create(conn, name, kind, NULL, &object));
        objd_release(object);
        objd_close(conn);
}

static int take_lock(void *context)
{
        struct other *other = context;
        uint64_t token;

        child_ok(objd_lock_take(open_in_child(other, "m"), OBJD_NOWAIT, &token));
        gate_open(&other->ready, 1);
        gate_wait(&other->end);
        return 0;
}

/* Holds the line of "d" as somebody does who has been stopped in the middle of a change. */
static int hold_line(void *context)
{
        struct other *other = context;
        objd_object *dict = open_in_child(other, "d");
        struct lane *lane;

        child_ok(lane_enter(dict->conn->arena, OBJD_NOWAIT, &lane));
        txn_begin(lane, OP_DICT_SET);
        child_ok(lock_take(lane, &dict->shm->line));
        gate_open(&other->ready, 1);
        gate_wait(&other->end);
        txn_abort(lane);
        lane_leave(lane);
        return 0;
}

static int wait_for_line(void *context)
{
        objd_object *dict = open_in_child(context, "d");
        objd_value one = objd_int(1);

        child_ok(objd_set_timeout(dict->conn, OBJD_FOREVER));
        child_ok(objd_dict_set(dict, &one, &one));
        return 0;
}

/* ---- Tests ------------------------------------------------------------------------------------------- */

static void locks_names_the_owner_of_a_taken_lock(void **state)
{
        struct fixture *f = *state;
        struct other other;
        char expect[100];
        pid_t pid;

        fixture_start(f, NULL);
        make(f, "m", OBJD_LOCK);
        others_init(&other, f);
        pid = child_start(take_lock, &other);
        gate_wait(&other.ready);

        snprintf(expect, sizeof(expect), "lock m: taken by process %d, token 1\n", (int)pid);
        expect_now(f, "locks", 0, expect);
        snprintf(expect, sizeof(expect), "{\"lock\":\"m\",\"pid\":%d,\"token\":1}\n", (int)pid);
        expect_now(f, "locks --json", 0, expect);
        snprintf(expect, sizeof(expect), "taken by process %d, token 1\n", (int)pid);
        expect_now(f, "get m", 0, expect);
        expect_now(f, "dump m", 0, "m  lock  taken");

        child_kill(pid);
        expect_some_time(f, "get m", "free, last token 1\n");
        others_deinit(&other);
}

static void locks_names_who_holds_a_line_and_who_waits_for_it(void **state)
{
        struct fixture *f = *state;
        pid_t holder, waiter;
        struct other other;
        char expect[200];

        fixture_start(f, NULL);
        make(f, "d", OBJD_DICT);
        others_init(&other, f);
        holder = child_start(hold_line, &other);
        gate_wait(&other.ready);
        snprintf(expect, sizeof(expect), "line of d: locked by process %d (dict set)", (int)holder);
        expect_now(f, "locks", 0, expect);

        waiter = child_start(wait_for_line, &other);
        snprintf(expect, sizeof(expect), "; waiting: process %d\n", (int)waiter);
        expect_some_time(f, "locks", expect);
        snprintf(expect, sizeof(expect), "\"writing\":true,\"operation\":\"dict set\",\"waiting\":[%d]}\n",
                 (int)waiter);
        expect_some_time(f, "locks --json", expect);

        gate_open(&other.end, 1);
        child_expect_success(holder);
        child_expect_success(waiter);
        expect_now(f, "get d 1", 0, "1\n");
        expect_now(f, "check", 0, "no faults\n");
        others_deinit(&other);
}

static void a_line_whose_holder_is_killed_is_free(void **state)
{
        struct fixture *f = *state;
        struct other other;
        pid_t holder;

        fixture_start(f, NULL);
        make(f, "d", OBJD_DICT);
        others_init(&other, f);
        holder = child_start(hold_line, &other);
        gate_wait(&other.ready);
        child_kill(holder);

        expect_now(f, "set d k v", 0, "");
        expect_now(f, "check", 0, "no faults\n");
        others_deinit(&other);
}

static void clients_lists_processes_with_their_state(void **state)
{
        struct fixture *f = *state;
        struct other other;
        char expect[100];
        pid_t pid;

        fixture_start(f, NULL);
        make(f, "m", OBJD_LOCK);
        others_init(&other, f);
        pid = child_start(take_lock, &other);
        gate_wait(&other.ready);

        snprintf(expect, sizeof(expect), "\"pid\":%d,\"uid\":%u,\"comm\":\"test-objctl\"", (int)pid,
                 (unsigned)getuid());
        expect_now(f, "clients --json", 0, expect);
        expect_now(f, "clients", 0, "test-objctl");
        expect_now(f, "clients", 0, "  alive        1 ");
        expect_now(f, "clients", 0, "  objd");

        child_kill(pid);
        others_deinit(&other);
}

static void dump_shows_objects_without_names(void **state)
{
        struct fixture *f = *state;
        objd_object *named, *nameless;
        objd_value key = objd_cstr("inner"), ref;
        char expect[100], args[100];
        objd_conn *conn;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        assert_ok(objd_create(conn, "outer", OBJD_DICT, NULL, &named));
        assert_ok(objd_create(conn, NULL, OBJD_DICT, NULL, &nameless));
        ref = objd_refer(objd_ref_of(nameless));
        assert_ok(objd_dict_set(named, &key, &ref));
        assert_ok(objd_dict_set(nameless, &key, &key));

        snprintf(expect, sizeof(expect), "  \"inner\": -> #%" PRIu64 ".%" PRIu64 "\n(no name)  dict  1 entry",
                 ref.u.ref.place, ref.u.ref.serial);
        expect_now(f, "dump", 0, expect);
        expect_now(f, "dump --json", 0,
                   "{\"declare\":2,\"kind\":\"dict\"}\n[\"inner\",{\"ref\":2}]\n{\"end\":1}\n{\"object\":2,");
        snprintf(args, sizeof(args), "get '#%" PRIu64 ".%" PRIu64 "' inner", ref.u.ref.place,
                 ref.u.ref.serial);
        expect_now(f, args, 0, "inner\n");

        objd_release(named);
        objd_release(nameless);
        objd_close(conn);
        expect_now(f, args, 1, "objctl: ");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(locks_names_the_owner_of_a_taken_lock),
                FIXTURE_TEST(locks_names_who_holds_a_line_and_who_waits_for_it),
                FIXTURE_TEST(a_line_whose_holder_is_killed_is_free),
                FIXTURE_TEST(clients_lists_processes_with_their_state),
                FIXTURE_TEST(dump_shows_objects_without_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
