/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_async.c -- batches that are submitted and collected: what waits holds up nothing else, each is given once, and the descriptor
 * tells when
 *
 * usage: test-async [--ipc | --local]: on a connection that has the store mapped, or on one that has not
 */

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/test.h"

static bool by_ipc;
static const char *by; /* NULL: by handle */

struct way {
        struct fixture *f;
        char url[160];
        objd_conn *conn;  /* what is tested */
        objd_conn *other; /* somebody else */
        objd_object *dict, *queue, *lock;
};

static objd_object *make(objd_conn *conn, const char *name, objd_kind kind)
{
        objd_object *object;

        assert_ok(objd_open_or_create(conn, name, kind, NULL, &object));
        return object;
}

static void start_daemon(struct way *w)
{
        const char *options[] = { "--rpc", w->url, NULL };

        fixture_start(w->f, by_ipc ? options : NULL);
}

static void name_way(struct way *w)
{
        if (by_ipc)
                snprintf(w->url, sizeof(w->url), "ipc://%s/rpc.sock", w->f->base);
        else
                snprintf(w->url, sizeof(w->url), "%s:%s", by ? "local" : "shm", w->f->url + strlen("shm:"));
}

static void begin(struct way *w, void **state)
{
        w->f = *state;
        name_way(w);
        start_daemon(w);
        assert_ok(objd_connect(w->url, &w->conn));
        assert_ok(objd_set_timeout(w->conn, PATIENCE_NS));
        w->other = fixture_connect(w->f);
        w->dict = make(w->conn, "dict", OBJD_DICT);
        w->queue = make(w->conn, "queue", OBJD_QUEUE);
        w->lock = make(w->conn, "lock", OBJD_LOCK);
}

static void leave(struct way *w)
{
        objd_batch *batch;

        assert_status(objd_collect(w->conn, OBJD_FOREVER, &batch, NULL), OBJD_E_NOTFOUND);
        objd_release(w->dict);
        objd_release(w->queue);
        objd_release(w->lock);
        objd_close(w->other);
        objd_close(w->conn);
}

static void end(struct way *w)
{
        leave(w);
        (void)fixture_stop(w->f, SIGTERM);
}

static objd_batch *batch_of(objd_conn *conn)
{
        objd_batch *batch = NULL;

        assert_ok(objd_batch_new(conn, &batch));
        return batch;
}

/* A get that waits without end, submitted. */
static objd_batch *submit_get(objd_conn *conn, objd_object *queue, void *tag)
{
        objd_batch *batch = batch_of(conn);

        assert_ok(objd_batch_queue_get_wait(batch, queue, OBJD_FOREVER));
        assert_ok(objd_submit(batch, OBJD_IN_TURN, tag));
        return batch;
}

static void put(objd_object *queue, int64_t integer)
{
        objd_value value = objd_int(integer);

        assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
}

static objd_batch *collect(objd_conn *conn, void *tag)
{
        objd_batch *batch;
        void *got;

        assert_ok(objd_collect(conn, PATIENCE_NS, &batch, &got));
        assert_ptr_equal(got, tag);
        return batch;
}

static void expect_result(const objd_batch *batch, size_t place, int64_t integer)
{
        objd_value value;

        assert_ok(objd_batch_result(batch, place, &value));
        assert_int_equal(value.type, OBJD_INT);
        assert_int_equal(value.u.integer, integer);
}

static void expect_entry(objd_object *dict, int64_t key, int64_t integer)
{
        objd_value k = objd_int(key), value;
        objd_buf buf = OBJD_BUF_INIT;

        assert_ok(objd_dict_get(dict, &k, &value, &buf));
        assert_int_equal(value.u.integer, integer);
        objd_buf_free(&buf);
}

/* ---- Nothing to wait for ---------------------------------------------------------------------------------- */

static void a_batch_at_once_is_what_commit_does(void **state)
{
        objd_value key = objd_int(1), one = objd_int(1), value;
        struct way w = { 0 };
        objd_batch *batch;
        size_t failed = 9;
        int tag;

        begin(&w, state);
        batch = batch_of(w.conn);
        assert_ok(objd_batch_dict_add_int(batch, w.dict, &key, 5));
        assert_ok(objd_batch_dict_set_new(batch, w.dict, &key, &one));
        assert_ok(objd_submit(batch, OBJD_AT_ONCE, &tag));
        assert_ptr_equal(collect(w.conn, &tag), batch);
        assert_status(objd_batch_outcome(batch, &failed), OBJD_E_EXISTS);
        assert_int_equal(failed, 1);
        assert_status(objd_batch_result(batch, 0, &value), OBJD_E_INVAL);
        objd_batch_clear(batch);
        assert_ok(objd_batch_dict_add_int(batch, w.dict, &key, 7));
        assert_ok(objd_batch_dict_get(batch, w.dict, &key));
        assert_ok(objd_submit(batch, OBJD_AT_ONCE, NULL));
        assert_status(objd_batch_dict_get(batch, w.dict, &key), OBJD_E_INVAL);
        assert_status(objd_batch_commit(batch, NULL), OBJD_E_INVAL);
        (void)collect(w.conn, NULL);
        assert_ok(objd_batch_outcome(batch, NULL));
        expect_result(batch, 0, 7);
        expect_result(batch, 1, 7);
        objd_batch_free(batch);
        end(&w);
}

static void in_turn_each_operation_has_a_status(void **state)
{
        objd_value key = objd_int(1), none = objd_int(2), text = objd_cstr("text"), value;
        struct way w = { 0 };
        objd_batch *batch;

        begin(&w, state);
        batch = batch_of(w.conn);
        assert_ok(objd_batch_dict_add_int(batch, w.dict, &key, 5));
        assert_ok(objd_batch_dict_get(batch, w.dict, &none));
        assert_ok(objd_batch_queue_get(batch, w.queue));
        assert_ok(objd_batch_dict_add_int(batch, w.dict, &key, 1));
        assert_ok(objd_batch_queue_put(batch, w.queue, &text, 0));
        assert_ok(objd_batch_queue_get(batch, w.queue));
        assert_ok(objd_batch_list_append(batch, w.dict, &text));
        assert_ok(objd_submit(batch, OBJD_IN_TURN, NULL));
        (void)collect(w.conn, NULL);
        assert_ok(objd_batch_outcome(batch, NULL));
        expect_result(batch, 0, 5);
        assert_status(objd_batch_result(batch, 1, &value), OBJD_E_NOTFOUND);
        assert_status(objd_batch_result(batch, 2, &value), OBJD_E_EMPTY);
        expect_result(batch, 3, 6);
        assert_ok(objd_batch_result(batch, 5, &value));
        assert_true(objd_value_equal(&value, &text));
        assert_status(objd_batch_result(batch, 6, &value), OBJD_E_KIND);
        assert_status(objd_batch_result(batch, 7, &value), OBJD_E_RANGE);
        objd_batch_free(batch);
        end(&w);
}

static void what_waits_is_no_part_of_one_moment(void **state)
{
        struct way w = { 0 };
        objd_batch *batch;

        begin(&w, state);
        batch = batch_of(w.conn);
        assert_ok(objd_batch_queue_get_wait(batch, w.queue, OBJD_NOWAIT));
        assert_status(objd_batch_queue_get_wait(batch, w.queue, -2), OBJD_E_INVAL);
        assert_status(objd_batch_commit(batch, NULL), OBJD_E_INVAL);
        assert_status(objd_submit(batch, OBJD_AT_ONCE, NULL), OBJD_E_INVAL);
        assert_status(objd_cancel(batch), OBJD_E_INVAL);
        objd_batch_clear(batch);
        assert_status(objd_submit(batch, OBJD_AT_ONCE, NULL), OBJD_E_INVAL); /* empty */
        objd_batch_free(batch);
        end(&w);
}

/* ---- Waiting ---------------------------------------------------------------------------------------------- */

#define N_QUEUES 64

static void none_of_many_gets_holds_another_up(void **state)
{
        objd_object *queues[N_QUEUES], *far;
        objd_batch *batches[N_QUEUES], *batch;
        struct way w = { 0 };
        char name[16];

        begin(&w, state);
        for (int i = 0; i < N_QUEUES; i++) {
                snprintf(name, sizeof(name), "q%d", i);
                queues[i] = make(w.conn, name, OBJD_QUEUE);
                batches[i] = submit_get(w.conn, queues[i], &queues[i]);
        }
        assert_status(objd_collect(w.conn, OBJD_NOWAIT, &batch, NULL), OBJD_E_EMPTY);
        assert_status(objd_collect(w.conn, 20000000, &batch, NULL), OBJD_E_TIMEOUT);
        far = make(w.other, name, OBJD_QUEUE);
        put(far, 64);
        objd_release(far);
        batch = collect(w.conn, &queues[N_QUEUES - 1]);
        expect_result(batch, 0, 64);
        put(queues[7], 7);
        expect_result(collect(w.conn, &queues[7]), 0, 7);
        for (int i = 0; i < N_QUEUES - 1; i++)
                if (i != 7)
                        assert_ok(objd_cancel(batches[i]));
        for (int i = 0; i < N_QUEUES - 2; i++) {
                objd_value value;

                assert_ok(objd_collect(w.conn, PATIENCE_NS, &batch, NULL));
                assert_status(objd_batch_result(batch, 0, &value), OBJD_E_TIMEOUT);
        }
        for (int i = 0; i < N_QUEUES; i++) {
                objd_batch_free(batches[i]);
                objd_release(queues[i]);
        }
        end(&w);
}

static void gets_from_one_queue_are_served_in_their_order(void **state)
{
        objd_batch *batches[8];
        struct way w = { 0 };

        begin(&w, state);
        for (int i = 0; i < 8; i++)
                batches[i] = submit_get(w.conn, w.queue, batches + i);
        for (int64_t i = 0; i < 8; i++)
                put(w.queue, i);
        for (int i = 0; i < 8; i++) {
                expect_result(collect(w.conn, batches + i), 0, i);
                objd_batch_free(batches[i]);
        }
        end(&w);
}

static void a_put_waits_for_room_and_what_follows_it_too(void **state)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_value key = objd_int(1), two = objd_int(2), value;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *bounded;
        struct way w = { 0 };
        objd_batch *batch;
        bool found;

        begin(&w, state);
        config.bound = 1;
        assert_ok(objd_create(w.conn, "bounded", OBJD_QUEUE, &config, &bounded));
        put(bounded, 1);
        batch = batch_of(w.conn);
        assert_ok(objd_batch_queue_put_wait(batch, bounded, &two, 0, OBJD_FOREVER));
        assert_ok(objd_batch_dict_set(batch, w.dict, &key, &two));
        assert_ok(objd_submit(batch, OBJD_IN_TURN, NULL));
        assert_ok(objd_dict_contains(w.dict, &key, &found));
        assert_false(found);
        assert_ok(objd_queue_get(bounded, &value, &buf, OBJD_NOWAIT));
        assert_ok(objd_batch_outcome(collect(w.conn, NULL), NULL));
        expect_entry(w.dict, 1, 2);
        assert_ok(objd_queue_get(bounded, &value, &buf, OBJD_NOWAIT));
        assert_int_equal(value.u.integer, 2);
        objd_buf_free(&buf);
        objd_batch_free(batch);
        objd_release(bounded);
        end(&w);
}

static void a_timeout_ends_one_operation_and_not_the_batch(void **state)
{
        objd_value key = objd_int(1), one = objd_int(1), value;
        struct way w = { 0 };
        objd_batch *batch;

        begin(&w, state);
        batch = batch_of(w.conn);
        assert_ok(objd_batch_queue_get_wait(batch, w.queue, 1000000));
        assert_ok(objd_batch_dict_set(batch, w.dict, &key, &one));
        assert_ok(objd_submit(batch, OBJD_IN_TURN, NULL));
        assert_ok(objd_batch_outcome(collect(w.conn, NULL), NULL));
        assert_status(objd_batch_result(batch, 0, &value), OBJD_E_TIMEOUT);
        expect_entry(w.dict, 1, 1);
        objd_batch_free(batch);
        end(&w);
}

static void a_queue_that_is_deleted_ends_the_wait(void **state)
{
        struct way w = { 0 };
        objd_batch *batch;
        objd_value value;

        begin(&w, state);
        (void)submit_get(w.conn, w.queue, NULL);
        assert_ok(objd_delete(w.other, "queue"));
        batch = collect(w.conn, NULL);
        assert_status(objd_batch_result(batch, 0, &value), OBJD_E_GONE);
        objd_batch_free(batch);
        end(&w);
}

static void a_lease_is_taken_and_acknowledged(void **state)
{
        struct way w = { 0 };
        uint64_t lease, len;
        objd_batch *batch;

        begin(&w, state);
        batch = batch_of(w.conn);
        assert_ok(objd_batch_queue_get_lease(batch, w.queue, OBJD_FOREVER, OBJD_FOREVER));
        assert_ok(objd_submit(batch, OBJD_IN_TURN, NULL));
        put(w.queue, 5);
        (void)collect(w.conn, NULL);
        expect_result(batch, 0, 5);
        assert_ok(objd_batch_lease(batch, 0, &lease));
        assert_ok(objd_queue_ack(w.queue, lease));
        assert_ok(objd_queue_len(w.queue, &len));
        assert_int_equal(len, 0);
        objd_batch_free(batch);
        end(&w);
}

/* ---- Locks ------------------------------------------------------------------------------------------------ */

struct owner {
        objd_conn *conn;
        struct gate taken, give;
};

static void *own(void *context)
{
        struct owner *owner = context;
        objd_object *lock;

        assert_ok(objd_open(owner->conn, "lock", OBJD_LOCK, &lock));
        assert_ok(objd_lock_take(lock, OBJD_FOREVER, NULL));
        gate_open(&owner->taken, 1);
        gate_wait(&owner->give);
        assert_ok(objd_lock_give(lock));
        objd_release(lock);
        return NULL;
}

/* Taken by the batch, it is the submitting thread's: that gives it, and the one who had it cannot. */
static void a_lock_is_the_submitting_threads(void **state)
{
        objd_value key = objd_int(1), one = objd_int(1), value;
        struct way w = { 0 };
        struct owner owner;
        objd_batch *batch;
        pthread_t thread;
        bool found;

        begin(&w, state);
        owner.conn = w.other;
        gate_init(&owner.taken);
        gate_init(&owner.give);
        assert_int_equal(pthread_create(&thread, NULL, own, &owner), 0);
        gate_wait(&owner.taken);
        batch = batch_of(w.conn);
        assert_ok(objd_batch_lock_take(batch, w.lock, OBJD_FOREVER));
        assert_ok(objd_batch_dict_set(batch, w.dict, &key, &one));
        assert_ok(objd_submit(batch, OBJD_IN_TURN, NULL));
        assert_ok(objd_dict_contains(w.dict, &key, &found));
        assert_false(found);
        gate_open(&owner.give, 1);
        (void)collect(w.conn, NULL);
        assert_ok(objd_batch_result(batch, 0, &value));
        assert_int_equal(value.type, OBJD_INT);
        expect_entry(w.dict, 1, 1);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_ok(objd_lock_give(w.lock));
        objd_batch_clear(batch);
        assert_ok(objd_batch_lock_take(batch, w.lock, OBJD_NOWAIT));
        for (int i = 0; i < 2; i++)
                assert_ok(objd_batch_lock_give(batch, w.lock));
        assert_ok(objd_submit(batch, OBJD_IN_TURN, NULL));
        (void)collect(w.conn, NULL);
        assert_ok(objd_batch_result(batch, 1, &value));
        assert_status(objd_batch_result(batch, 2, &value), OBJD_E_NOTOWNER);
        gate_deinit(&owner.taken);
        gate_deinit(&owner.give);
        objd_batch_free(batch);
        end(&w);
}

/* ---- The descriptor --------------------------------------------------------------------------------------- */

static bool is_readable(int fd, int timeout_ms)
{
        return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, timeout_ms) == 1;
}

static void the_descriptor_is_readable_while_something_is_done(void **state)
{
        objd_batch *batch, *first, *second;
        struct way w = { 0 };
        int fd, same;

        begin(&w, state);
        assert_ok(objd_collect_fd(w.conn, &fd));
        assert_ok(objd_collect_fd(w.conn, &same));
        assert_int_equal(fd, same);
        first = submit_get(w.conn, w.queue, NULL);
        second = submit_get(w.conn, w.queue, NULL);
        /* It may be readable for nothing; whoever finds nothing then can wait. */
        while (is_readable(fd, 0))
                assert_status(objd_collect(w.conn, OBJD_NOWAIT, &batch, NULL), OBJD_E_EMPTY);
        put(w.queue, 1);
        do
                assert_true(is_readable(fd, PATIENCE_S * 1000));
        while (objd_collect(w.conn, OBJD_NOWAIT, &batch, NULL));
        assert_ptr_equal(batch, first);
        put(w.queue, 2);
        do
                assert_true(is_readable(fd, PATIENCE_S * 1000));
        while (objd_collect(w.conn, OBJD_NOWAIT, &batch, NULL));
        assert_ptr_equal(batch, second);
        assert_status(objd_collect(w.conn, OBJD_NOWAIT, &batch, NULL), OBJD_E_NOTFOUND);
        objd_batch_free(first);
        objd_batch_free(second);
        end(&w);
}

/* ---- Limits, giving up, forks ----------------------------------------------------------------------------- */

static void so_many_and_no_more_are_submitted(void **state)
{
        objd_batch *batches[OBJD_SUBMITTED_MAX], *more;
        struct way w = { 0 };

        begin(&w, state);
        for (int i = 0; i < OBJD_SUBMITTED_MAX; i++)
                batches[i] = submit_get(w.conn, w.queue, NULL);
        more = batch_of(w.conn);
        assert_ok(objd_batch_queue_get(more, w.queue));
        assert_status(objd_submit(more, OBJD_IN_TURN, NULL), OBJD_E_LIMIT);
        /* All other calls go on, however many. */
        for (int64_t i = 0; i < 400; i++) {
                objd_value key = objd_int(i);

                assert_ok(objd_dict_set(w.dict, &key, &key));
        }
        put(w.queue, 1);
        assert_ptr_equal(collect(w.conn, NULL), batches[0]);
        assert_ok(objd_submit(more, OBJD_IN_TURN, more));
        assert_ptr_equal(collect(w.conn, more), more);
        for (int i = 0; i < OBJD_SUBMITTED_MAX; i++)
                objd_batch_free(batches[i]);
        objd_batch_free(more);
        end(&w);
}

static void a_batch_that_is_given_up_takes_nothing(void **state)
{
        objd_buf buf = OBJD_BUF_INIT;
        struct way w = { 0 };
        objd_value value;

        begin(&w, state);
        objd_batch_free(submit_get(w.conn, w.queue, NULL));
        objd_batch_free(submit_get(w.conn, w.queue, NULL));
        put(w.queue, 5);
        assert_ok(objd_queue_get(w.queue, &value, &buf, OBJD_NOWAIT));
        assert_int_equal(value.u.integer, 5);
        /* One that is done is given up as well. */
        put(w.queue, 6);
        objd_batch_free(submit_get(w.conn, w.queue, NULL));
        objd_buf_free(&buf);
        end(&w);
}

struct family {
        struct way *w;
        objd_batch *batch;
        int fd;
};

static int be_a_child(void *context)
{
        struct family *family = context;
        struct way *w = family->w;
        objd_batch *batch;
        objd_value value;
        int fd;

        child_check(objd_collect(w->conn, OBJD_NOWAIT, &batch, NULL) == OBJD_E_NOTFOUND);
        child_check(objd_cancel(family->batch) == OBJD_E_INVAL);
        objd_batch_free(family->batch);
        child_ok(objd_collect_fd(w->conn, &fd));
        child_ok(objd_batch_new(w->conn, &batch));
        child_ok(objd_batch_queue_get_wait(batch, w->queue, 1000000));
        child_ok(objd_submit(batch, OBJD_IN_TURN, NULL));
        child_check(is_readable(fd, PATIENCE_S * 1000));
        child_ok(objd_collect(w->conn, PATIENCE_NS, &batch, NULL));
        child_check(objd_batch_result(batch, 0, &value) == OBJD_E_TIMEOUT);
        objd_batch_free(batch);
        value = objd_int(1);
        child_ok(objd_queue_put(w->queue, &value, OBJD_NOWAIT));
        return 0;
}

static void a_child_has_none_of_its_parents(void **state)
{
        struct way w = { 0 };
        struct family family = { .w = &w };
        objd_object *decoy;
        pid_t pid;

        begin(&w, state);
        decoy = make(w.conn, "decoy", OBJD_QUEUE);
        assert_ok(objd_collect_fd(w.conn, &family.fd));
        family.batch = submit_get(w.conn, decoy, NULL);
        pid = child_start(be_a_child, &family);
        child_expect_success(pid);
        assert_ok(objd_cancel(family.batch));
        assert_true(is_readable(family.fd, PATIENCE_S * 1000));
        objd_batch_free(collect(w.conn, NULL));
        objd_release(decoy);
        end(&w);
}

/* ---- Threads ---------------------------------------------------------------------------------------------- */

#define N_THREADS 4
#define N_EACH 200

struct worker {
        struct way *w;
        int64_t number;
};

/* Submits as many as it collects, whosever they are. */
static void *work(void *context)
{
        struct worker *worker = context;
        struct way *w = worker->w;
        objd_value one = objd_int(1);

        for (int64_t i = 0; i < N_EACH; i++) {
                objd_batch *batch = batch_of(w->conn), *done;
                objd_value key = objd_int(worker->number);

                assert_ok(objd_batch_dict_add_int(batch, w->dict, &key, 1));
                assert_ok(objd_batch_queue_put(batch, w->queue, &one, 0));
                assert_ok(objd_batch_queue_get_wait(batch, w->queue, OBJD_FOREVER));
                assert_ok(objd_submit(batch, OBJD_IN_TURN, NULL));
                assert_ok(objd_collect(w->conn, PATIENCE_NS, &done, NULL));
                assert_ok(objd_batch_outcome(done, NULL));
                expect_result(done, 2, 1);
                objd_batch_free(done);
        }
        return NULL;
}

static void any_thread_collects_what_any_other_has_submitted(void **state)
{
        struct worker workers[N_THREADS];
        pthread_t threads[N_THREADS];
        struct way w = { 0 };

        begin(&w, state);
        for (int64_t i = 0; i < N_THREADS; i++) {
                workers[i] = (struct worker){ &w, i };
                assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
        }
        for (int i = 0; i < N_THREADS; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        for (int64_t i = 0; i < N_THREADS; i++)
                expect_entry(w.dict, i, N_EACH);
        end(&w);
}

/* ---- Deaths of the daemon --------------------------------------------------------------------------------- */

#define N_KILLED 50

static void add_and_maybe_wait(struct way *w, int64_t number)
{
        objd_batch *batch = batch_of(w->conn);
        objd_value key = objd_int(number);

        assert_ok(objd_batch_dict_add_int(batch, w->dict, &key, 1));
        if (number % 2)
                assert_ok(objd_batch_queue_get_wait(batch, w->queue, OBJD_FOREVER));
        assert_ok(objd_batch_dict_add_int(batch, w->dict, &key, 1));
        assert_ok(objd_submit(batch, OBJD_IN_TURN, NULL));
}

/* Half of them wait when it dies, the others are anywhere. */
static void each_is_made_once_though_the_daemon_dies(void **state)
{
        objd_batch *batch;
        struct way w = { 0 };
        uint64_t len;

        begin(&w, state);
        for (int64_t round = 1; round <= 3; round++) {
                for (int64_t i = 0; i < N_KILLED; i++)
                        add_and_maybe_wait(&w, i);
                (void)fixture_stop(w.f, SIGKILL);
                start_daemon(&w);
                for (int64_t i = 0; i < N_KILLED / 2; i++)
                        put(w.queue, i);
                for (int i = 0; i < N_KILLED; i++) {
                        batch = collect(w.conn, NULL);
                        assert_ok(objd_batch_outcome(batch, NULL));
                        objd_batch_free(batch);
                }
                for (int64_t i = 0; i < N_KILLED; i++)
                        expect_entry(w.dict, i, 2 * round);
                assert_ok(objd_queue_len(w.queue, &len));
                assert_int_equal(len, 0);
        }
        end(&w);
}

/* There is nobody to tell, and nothing to wait for. */
static void a_batch_is_given_up_and_the_connection_closed_without_a_daemon(void **state)
{
        struct way w = { 0 };
        objd_batch *batch;

        begin(&w, state);
        batch = submit_get(w.conn, w.queue, NULL);
        assert_ok(objd_set_timeout(w.conn, OBJD_NOWAIT));
        (void)fixture_stop(w.f, SIGKILL);
        objd_batch_free(batch);
        leave(&w);
}

/* A wait may be longer than the time for which the daemon may say nothing: it is asked. */
static void a_wait_may_outlast_the_patience(void **state)
{
        struct way w = { 0 };
        objd_batch *batch;
        objd_value value;

        begin(&w, state);
        assert_ok(objd_set_timeout(w.conn, OBJD_NOWAIT));
        batch = batch_of(w.conn);
        assert_ok(objd_batch_queue_get_wait(batch, w.queue, 2200000000));
        assert_ok(objd_submit(batch, OBJD_IN_TURN, NULL));
        (void)collect(w.conn, NULL);
        assert_ok(objd_batch_outcome(batch, NULL));
        assert_status(objd_batch_result(batch, 0, &value), OBJD_E_TIMEOUT);
        objd_batch_free(batch);
        end(&w);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_batch_at_once_is_what_commit_does),
                FIXTURE_TEST(in_turn_each_operation_has_a_status),
                FIXTURE_TEST(what_waits_is_no_part_of_one_moment),
                FIXTURE_TEST(none_of_many_gets_holds_another_up),
                FIXTURE_TEST(gets_from_one_queue_are_served_in_their_order),
                FIXTURE_TEST(a_put_waits_for_room_and_what_follows_it_too),
                FIXTURE_TEST(a_timeout_ends_one_operation_and_not_the_batch),
                FIXTURE_TEST(a_queue_that_is_deleted_ends_the_wait),
                FIXTURE_TEST(a_lease_is_taken_and_acknowledged),
                FIXTURE_TEST(a_lock_is_the_submitting_threads),
                FIXTURE_TEST(the_descriptor_is_readable_while_something_is_done),
                FIXTURE_TEST(so_many_and_no_more_are_submitted),
                FIXTURE_TEST(a_batch_that_is_given_up_takes_nothing),
                FIXTURE_TEST(a_child_has_none_of_its_parents),
                FIXTURE_TEST(any_thread_collects_what_any_other_has_submitted),
                FIXTURE_TEST(each_is_made_once_though_the_daemon_dies),
                FIXTURE_TEST(a_batch_is_given_up_and_the_connection_closed_without_a_daemon),
                FIXTURE_TEST(a_wait_may_outlast_the_patience),
        };

        by = argc > 1 ? argv[1] : NULL;
        by_ipc = by && !strcmp(by, "--ipc");
        return cmocka_run_group_tests(tests, NULL, NULL);
}
