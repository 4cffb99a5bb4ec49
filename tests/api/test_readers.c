/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_readers.c -- clients that may only read, and need the daemon's help: held lines, pins, joining, its death
 */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <objd.h>

#include "arena/life.h"
#include "object/object.h"
#include "rights_fixture.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"
#include "sync/lock.h"
#include "txn/lane.h"
#include "txn/txn.h"

/* ---- A line that is held ------------------------------------------------------------------------------- */

/* Holds the dict's line; a dead holder if it is told to go. */
static int hold_line(void *context)
{
        struct both *both = context;
        objd_conn *conn;
        objd_object *dict;
        struct lane *lane;

        child_ok(objd_connect(both->f->url, &conn));
        dict = find(conn, "numbers");
        child_ok(lane_enter(conn->arena, OBJD_FOREVER, &lane));
        txn_begin(lane, 0);
        child_ok(lock_take(lane, &dict->shm->line));
        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        _exit(0);
}

static int read_held_line(void *context)
{
        const struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = NULL;
        objd_value key = objd_cstr("k"), value;
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r;

        child_ok(objd_set_timeout(conn, both->step ? PATIENCE_NS : 50000000));
        /* Opening looks at the line as well. */
        r = objd_open(conn, "numbers", OBJD_DICT, &dict);
        if (!both->step)
                child_check(r == OBJD_E_BUSY && strstr(objd_last_error(), "holds the lock"));
        else
                child_ok(r);
        if (both->step) {
                child_ok(objd_dict_get(dict, &key, &value, &buf));
                child_check(value.u.integer == 5);
        }
        objd_buf_free(&buf);
        objd_release(dict);
        objd_close(conn);
        return 0;
}

static void a_reader_waits_for_the_living_and_has_the_dead_cleaned_up(void **state)
{
        struct both both;
        objd_conn *conn;
        pid_t holder;

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        assert_ok(numbers_set(conn, "k", 5));
        holder = child_start(hold_line, &both);
        gate_wait(&both.ready);
        child_expect_success(child_start(read_held_line, &both));
        child_kill(holder);
        both.step = 1;
        child_expect_success(child_start(read_held_line, &both));
        objd_close(conn);
        both_deinit(&both);
}

/* A child that has inherited its connection: the daemon does not hear of its death. */
static int hold_line_as_heir(void *context)
{
        struct both *both = context;
        objd_object *dict = find(both->conn, "numbers");
        struct lane *lane;

        child_ok(lane_enter(both->conn->arena, OBJD_FOREVER, &lane));
        txn_begin(lane, 0);
        child_ok(lock_take(lane, &dict->shm->line));
        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        return 0;
}

/* Under the reader's eyes, so that it is the reader who finds the dead one and asks the daemon to clean up. */
static void a_holder_dies_while_a_reader_waits_for_it(void **state)
{
        struct both both;
        pid_t holder, reader;

        both_init(&both, *state);
        start_for_readers(both.f);
        both.conn = fixture_connect(both.f);
        assert_ok(numbers_set(both.conn, "k", 5));
        holder = child_start(hold_line_as_heir, &both);
        gate_wait(&both.ready);
        both.step = 1;
        reader = child_start(read_held_line, &both);
        poll(NULL, 0, 50); /* it may wait by then; if it does not yet, it finds a dead holder */
        child_kill(holder);
        child_expect_success(reader);
        assert_number(both.conn, "k", 5);
        objd_close(both.conn);
        both_deinit(&both);
}

static bool is_free(void *context)
{
        const struct line_shm *line = context;

        return lock_lane(word_get(&line->word)) == 0;
}

/* The daemon freezes lines for a moment, but nothing else, and not for long. */
static int ask_for_freezes(void *context)
{
        const struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = find(conn, "numbers");
        struct line_shm *line = &dict->shm->line;
        struct line_shm *pool = &conn->arena->header->pool.line, *nowhere;
        bool was_held = false;
        struct lane *lane;

        child_ok(lane_enter_to_read(conn->arena, OBJD_FOREVER, &lane));
        txn_begin(lane, 0);
        /* On a loaded machine it may be over before we look. */
        for (int i = 0; i < 1000 && !was_held; i++) {
                child_ok(lock_freeze(lane, line));
                was_held = lock_lane(word_get(&line->word)) != 0;
        }
        child_check(was_held);
        wait_until(is_free, line, "the daemon has thawed what the reader has not"); /* by itself */
        lane_end_read(lane);
        child_check(lock_freeze_for_reader(lane, &pool, 1) == OBJD_E_GONE);
        nowhere = (struct line_shm *)(conn->arena->base + conn->arena->data_off);
        child_check(lock_freeze_for_reader(lane, &nowhere, 1) == OBJD_E_GONE);
        nowhere = (struct line_shm *)(conn->arena->base + conn->arena->mapped);
        child_check(lock_freeze_for_reader(lane, &nowhere, 1) == OBJD_E_GONE);
        lane_end_read(lane);
        lane_leave(lane);
        objd_release(dict);
        objd_close(conn);
        return 0;
}

static void the_daemon_freezes_lines_for_a_moment_only(void **state)
{
        struct both both = { .f = *state };
        objd_conn *conn;

        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        assert_ok(numbers_set(conn, "k", 5));
        child_expect_success(child_start(ask_for_freezes, &both));
        assert_contains(fixture_log(both.f), "welcome, to be helped");
        assert_number(conn, "k", 5);
        objd_close(conn);
}

static int freeze_without_end(void *context)
{
        const struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = find(conn, "numbers");
        struct lane *lane;

        child_ok(lane_enter_to_read(conn->arena, OBJD_FOREVER, &lane));
        for (;;) {
                struct line_shm *line = &dict->shm->line;

                child_ok(lock_freeze_for_reader(lane, &line, 1));
        }
}

/* A tenth of the time is theirs. How long the writer takes depends on the machine; what must not be is that it gets nowhere. */
static void readers_cannot_stop_writers(void **state)
{
        struct both both = { .f = *state };
        objd_conn *conn;
        pid_t readers[4];
        int64_t start;

        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        assert_ok(numbers_set(conn, "k", 0));
        for (int i = 0; i < 4; i++)
                readers[i] = child_start(freeze_without_end, &both);
        poll(NULL, 0, 100);
        start = test_now_ns();
        for (int i = 0; i < 2000; i++)
                assert_ok(numbers_set(conn, "k", i));
        assert_true(test_now_ns() - start < PATIENCE_NS);
        for (int i = 0; i < 4; i++)
                child_kill(readers[i]);
        objd_close(conn);
}

/* ---- The gate ------------------------------------------------------------------------------------------ */

/* Where record locks say who is in the gate; see arena/life.c. */
#define GATE_BYTE (1LL << 52)

/* On purpose: nothing in the library lays a lock on this byte for reading. */
static int shut_the_gate(void *context)
{
        struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = GATE_BYTE, .l_len = 1 };
        struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);

        child_check(fcntl(conn->arena->fd, F_SETLK, &lock) == 0);
        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        objd_close(conn);
        return 0;
}

static objd_status set_it(objd_conn *conn)
{
        objd_value key = objd_cstr("k"), value = objd_int(8);
        objd_object *dict;
        objd_status r = objd_open(conn, "d", OBJD_DICT, &dict);

        if (r)
                return r;
        objd_next_timeout(OBJD_NOWAIT);
        r = objd_dict_set(dict, &key, &value);
        objd_release(dict);
        return r;
}

/* A process that has never called into the arena: it has no lane yet, and gets one in the gate. */
static int come_to_a_shut_gate(void *context)
{
        objd_set_timeout(context, OBJD_NOWAIT);
        child_check(set_it(context) == OBJD_E_BUSY);
        child_check(strstr(objd_last_error(), "may only read the arena, and keeps its gate shut"));
        return 0;
}

static int come_to_an_open_gate(void *context)
{
        child_ok(set_it(context));
        return 0;
}

/* This is the limit of what readers cannot do: those who are in go on, whoever comes is told who it is, and it ends with him. */
static void a_reader_who_shuts_the_gate_stops_newcomers_only_and_is_named(void **state)
{
        struct fixture *f = *state;
        struct both both;
        objd_conn *conn, *far;
        char url[128];
        pid_t reader;

        start_for_readers(f);
        conn = fixture_connect(f);
        fill(conn);
        both_init(&both, f);
        reader = child_start(shut_the_gate, &both);
        gate_wait(&both.ready);
        assert_ok(set_it(conn));
        child_expect_success(child_start(come_to_a_shut_gate, conn));
        snprintf(url, sizeof(url), "local:%s/test", f->directory);
        assert_status(objd_connect(url, &far), OBJD_E_BUSY);
        assert_contains(objd_last_error(), "may only read the arena, and keeps its gate shut");
        gate_open(&both.go, 1);
        child_expect_success(reader);
        child_expect_success(child_start(come_to_an_open_gate, conn));
        both_deinit(&both);
        objd_close(conn);
}

/* ---- Pins ---------------------------------------------------------------------------------------------- */

static void set_big(objd_conn *conn, char letter)
{
        objd_value key = objd_cstr("big"), value;
        objd_object *dict;
        char *bytes = malloc(BIG);

        memset(bytes, letter, BIG);
        value = objd_bytes(bytes, BIG);
        assert_ok(objd_open_or_create(conn, "pins", OBJD_DICT, NULL, &dict));
        assert_ok(objd_dict_set(dict, &key, &value));
        objd_release(dict);
        free(bytes);
}

static void check_letters(const objd_value *value, char letter)
{
        const char *bytes = value->data;

        child_check(value->size == BIG);
        for (size_t i = 0; i < BIG; i++)
                child_check(bytes[i] == letter);
}

static int pin_and_look(void *context)
{
        struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = find(conn, "pins");
        objd_value key = objd_cstr("big"), value, values[LANE_PINS];
        objd_pin *pin, *pins[LANE_PINS];

        child_ok(objd_dict_pin(dict, &key, &value, &pin));
        check_letters(&value, 'a');
        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        check_letters(&value, 'a'); /* replaced many times by now */
        objd_unpin(pin);
        for (size_t i = 0; i < LANE_PINS; i++)
                child_ok(objd_dict_pin(dict, &key, &values[i], &pins[i]));
        child_check(objd_dict_pin(dict, &key, &value, &pin) == OBJD_E_LIMIT);
        for (size_t i = 0; i < LANE_PINS; i++)
                objd_unpin(pins[i]);
        child_ok(objd_dict_pin(dict, &key, &value, &pin));
        check_letters(&value, 'z');
        gate_open(&both->ready, 1);
        gate_wait(&both->go); /* is killed here */
        return 0;
}

static bool has_no_pins(void *context)
{
        return !word_get(&((objd_conn *)context)->arena->header->n_pins);
}

static void a_readers_pins_hold_and_end_with_it(void **state)
{
        struct both both;
        objd_conn *conn;
        pid_t reader;

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        set_big(conn, 'a');
        reader = child_start(pin_and_look, &both);
        gate_wait(&both.ready);
        assert_int_equal(word_get(&conn->arena->header->n_pins), 1);
        for (char letter = 'b'; letter <= 'z'; letter++)
                set_big(conn, letter);
        gate_open(&both.go, 1);
        gate_wait(&both.ready);
        child_kill(reader);
        wait_until(has_no_pins, conn, "the dead reader's pins are gone");
        objd_close(conn);
        both_deinit(&both);
}

/* ---- Joining ------------------------------------------------------------------------------------------- */

static int join_tasks(void *context)
{
        struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *queue = find(conn, "tasks");

        child_check(objd_queue_join(queue, OBJD_NOWAIT) == OBJD_E_TIMEOUT);
        child_check(objd_queue_join(queue, 30000000) == OBJD_E_TIMEOUT);
        gate_open(&both->ready, 1);
        child_ok(objd_queue_join(queue, OBJD_FOREVER));
        objd_release(queue);
        objd_close(conn);
        return 0;
}

static void a_reader_joins_a_queue(void **state)
{
        struct both both;
        objd_value value = objd_int(1);
        objd_object *queue;
        objd_conn *conn;
        pid_t readers[3];

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        queue = make(conn, "tasks", OBJD_QUEUE);
        assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
        for (int i = 0; i < 3; i++)
                readers[i] = child_start(join_tasks, &both);
        for (int i = 0; i < 3; i++)
                gate_wait(&both.ready);
        poll(NULL, 0, 20);
        assert_ok(objd_queue_task_done(queue));
        for (int i = 0; i < 3; i++)
                child_expect_success(readers[i]);
        objd_release(queue);
        objd_close(conn);
        both_deinit(&both);
}

/* ---- The daemon comes and goes ------------------------------------------------------------------------- */

/* Pins with the daemon's help, and then, when it is gone, reads, and cannot pin. */
static objd_object *lose_the_daemon(struct both *both, objd_conn *conn)
{
        objd_object *dict = find(conn, "pins");
        objd_value key = objd_cstr("big"), value;
        objd_pin *pin;

        child_ok(objd_dict_pin(dict, &key, &value, &pin));
        objd_unpin(pin);
        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        read_dict(conn);
        child_check(objd_dict_pin(dict, &key, &value, &pin) == OBJD_E_NODAEMON);
        return dict;
}

static int read_without_daemon(void *context)
{
        struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = lose_the_daemon(both, conn);
        objd_value key = objd_cstr("big"), value;
        objd_pin *pin;

        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        child_ok(objd_dict_pin(dict, &key, &value, &pin));
        check_letters(&value, 'a');
        objd_unpin(pin);
        objd_release(dict);
        objd_close(conn);
        return 0;
}

static void a_reader_goes_on_without_the_daemon_and_finds_the_next(void **state)
{
        struct both both;
        objd_conn *conn;
        pid_t reader;

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        fill(conn);
        set_big(conn, 'a');
        reader = child_start(read_without_daemon, &both);
        gate_wait(&both.ready);
        fixture_stop(both.f, SIGKILL);
        gate_open(&both.go, 1);
        gate_wait(&both.ready);
        start_for_readers(both.f);
        gate_open(&both.go, 1);
        child_expect_success(reader);
        objd_close(conn);
        both_deinit(&both);
}

static int pin_under_two_stores(void *context)
{
        struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);
        objd_object *dict = lose_the_daemon(both, conn);

        child_check(strstr(objd_last_error(), "serves another arena than this client has"));
        objd_release(dict);
        objd_close(conn);
        return 0;
}

static void the_daemon_of_another_store_does_not_help(void **state)
{
        struct both both;
        objd_conn *conn;
        char path[128];
        pid_t reader;

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        fill(conn);
        set_big(conn, 'a');
        reader = child_start(pin_under_two_stores, &both);
        gate_wait(&both.ready);
        fixture_stop(both.f, SIGTERM);
        fixture_path(both.f, ".arena", path);
        assert_int_equal(unlink(path), 0);
        start_for_readers(both.f);
        gate_open(&both.go, 1);
        child_expect_success(reader);
        objd_close(conn);
        both_deinit(&both);
}

/* ---- Nothing is punched -------------------------------------------------------------------------------- */

static int stay(void *context)
{
        struct both *both = context;
        objd_conn *conn = connect_as_reader(both->f);

        gate_open(&both->ready, 1);
        gate_wait(&both->go);
        read_dict(conn);
        objd_close(conn);
        return 0;
}

/* Takes 32 MiB and gives them back. */
static void come_and_go(objd_conn *conn)
{
        size_t size = 32u << 20;
        char *bytes = calloc(1, size);
        objd_value key = objd_cstr("x"), value = objd_bytes(bytes, size);
        objd_object *dict = make(conn, "large", OBJD_DICT);

        assert_ok(objd_dict_set(dict, &key, &value));
        assert_ok(objd_destroy(dict));
        objd_release(dict);
        free(bytes);
}

static bool has_given_back(void *context)
{
        return stats_of(context).arena_resident < 24u << 20;
}

static void nothing_is_punched_under_a_reader(void **state)
{
        struct both both;
        objd_conn *conn;
        pid_t reader;

        both_init(&both, *state);
        start_for_readers(both.f);
        conn = fixture_connect(both.f);
        fill(conn);
        come_and_go(conn);
        wait_until(has_given_back, conn, "the memory is given back");

        reader = child_start(stay, &both);
        gate_wait(&both.ready);
        come_and_go(conn);
        poll(NULL, 0, 300); /* the daemon would have trimmed it by now */
        assert_true(stats_of(conn).arena_resident > 32u << 20);
        /* The mark is the kernel's: the next daemon knows as well, though no reader has called it. */
        fixture_stop(both.f, SIGKILL);
        start_for_readers(both.f);
        come_and_go(conn);
        poll(NULL, 0, 300);
        assert_true(stats_of(conn).arena_resident > 32u << 20);
        gate_open(&both.go, 1);
        child_expect_success(reader);
        wait_until(has_given_back, conn, "the memory is given back once the reader has left");
        objd_close(conn);
        both_deinit(&both);
}

/* ---- A reader and a writer in one process --------------------------------------------------------------- */

static void a_process_may_be_both(void **state)
{
        struct fixture *f = *state;
        objd_conn *writer, *reader, *another;
        char url[160];
        uint64_t client;

        start_for_readers(f);
        snprintf(url, sizeof(url), "%s?read-only", f->url);
        writer = fixture_connect(f);
        assert_ok(objd_connect(url, &reader));
        assert_true(objd_is_read_only(reader) && !objd_is_read_only(writer));
        assert_ok(numbers_set(writer, "k", 1));
        assert_number(reader, "k", 1);
        assert_status(numbers_set(reader, "k", 2), OBJD_E_ACCESS);
        assert_ok(objd_connect(url, &another));
        assert_number(another, "k", 1);

        /* A descriptor of the file that is closed would take the locks with it that say that this process lives. */
        client = word_get(&writer->arena->client);
        objd_close(another);
        objd_close(reader);
        assert_int_equal(system("true"), 0);
        poll(NULL, 0, 300); /* for the daemon to look */
        assert_int_equal(word_get(&writer->arena->client), client);
        assert_int_equal(half_get(&arena_client(writer->arena, id_number(client))->claimed), 1);
        assert_ok(numbers_set(writer, "k", 3));
        assert_number(writer, "k", 3);
        objd_close(writer);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_reader_waits_for_the_living_and_has_the_dead_cleaned_up),
                FIXTURE_TEST(a_holder_dies_while_a_reader_waits_for_it),
                FIXTURE_TEST(the_daemon_freezes_lines_for_a_moment_only),
                FIXTURE_TEST(readers_cannot_stop_writers),
                FIXTURE_TEST(a_reader_who_shuts_the_gate_stops_newcomers_only_and_is_named),
                FIXTURE_TEST(a_readers_pins_hold_and_end_with_it),
                FIXTURE_TEST(a_reader_joins_a_queue),
                FIXTURE_TEST(a_reader_goes_on_without_the_daemon_and_finds_the_next),
                FIXTURE_TEST(the_daemon_of_another_store_does_not_help),
                FIXTURE_TEST(nothing_is_punched_under_a_reader),
                FIXTURE_TEST(a_process_may_be_both),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
