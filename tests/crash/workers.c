/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workers.c -- the steps that tests of random deaths have in common
 */

#include "crash/workers.h"

#include <stdlib.h>

#include "support/child.h"
#include "support/test.h"

#define QUEUE_MANY 500
#define LIST_MANY 500
#define N_NAMES 8

static const char filler[4000];

/* ---- The objects --------------------------------------------------------------------------------------- */

static objd_object *make(objd_conn *conn, const char *name, objd_kind kind)
{
        objd_object *object;

        assert_ok(objd_create(conn, name, kind, NULL, &object));
        return object;
}

void common_make(struct common *store, objd_conn *conn)
{
        store->conn = conn;
        store->counters = make(conn, "counters", OBJD_DICT);
        store->queue = make(conn, "queue", OBJD_QUEUE);
        store->list = make(conn, "list", OBJD_LIST);
        store->lock = make(conn, "lock", OBJD_LOCK);
}

void common_open(struct common *store, objd_conn *conn)
{
        store->conn = conn;
        child_ok(objd_open(conn, "counters", OBJD_DICT, &store->counters));
        child_ok(objd_open(conn, "queue", OBJD_QUEUE, &store->queue));
        child_ok(objd_open(conn, "list", OBJD_LIST, &store->list));
        child_ok(objd_open(conn, "lock", OBJD_LOCK, &store->lock));
}

void delete_all_names(objd_conn *conn)
{
        objd_info *infos;
        size_t n;

        assert_ok(objd_list(conn, NULL, &infos, &n));
        for (size_t i = 0; i < n; i++)
                assert_ok(objd_delete(conn, infos[i].name));
        objd_infos_free(infos);
}

/* ---- Counting ------------------------------------------------------------------------------------------ */

void worker_set(uint64_t *word, uint64_t value)
{
        __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

bool worker_is_full(struct worker *w, objd_status r)
{
        if (r != OBJD_E_NOMEM || !w->may_be_full)
                return false;
        w->tallies->n_full++;
        return true;
}

void worker_begin(struct tally *tally)
{
        worker_set(&tally->begun, tally->begun + 1);
}

/* Where there is nothing to be taken, or no room, nothing has been done. */
void worker_end(struct worker *w, struct tally *tally, objd_status r)
{
        if (worker_is_full(w, r) || r == OBJD_E_RANGE || r == OBJD_E_EMPTY) {
                worker_set(&tally->begun, tally->begun - 1);
                return;
        }
        child_ok(r);
        worker_set(&tally->done, tally->done + 1);
}

/* ---- The steps ----------------------------------------------------------------------------------------- */

void worker_add(struct worker *w)
{
        objd_value own = objd_int(w->number), all = objd_cstr("all");
        objd_batch *batch;

        child_ok(objd_batch_new(w->store.conn, &batch));
        child_ok(objd_batch_dict_add_int(batch, w->store.counters, &own, 1));
        child_ok(objd_batch_dict_add_int(batch, w->store.counters, &all, 1));
        worker_begin(&w->tallies->add);
        worker_end(w, &w->tallies->add, objd_batch_commit(batch, NULL));
        objd_batch_free(batch);
}

void worker_put(struct worker *w)
{
        objd_value value = objd_bytes(filler, random_below(&w->random, 400));
        uint64_t len;

        child_ok(objd_queue_len(w->store.queue, &len));
        if (len > QUEUE_MANY)
                return;
        worker_begin(&w->tallies->put);
        worker_end(w, &w->tallies->put, objd_queue_put(w->store.queue, &value, OBJD_NOWAIT));
}

void worker_get(struct worker *w)
{
        objd_value value;

        worker_begin(&w->tallies->get);
        worker_end(w, &w->tallies->get, objd_queue_get(w->store.queue, &value, &w->buf, OBJD_NOWAIT));
}

void worker_list(struct worker *w)
{
        objd_value value = objd_bytes(filler, random_below(&w->random, 300));
        bool at_end = random_below(&w->random, 2);
        uint64_t len;

        child_ok(objd_list_len(w->store.list, &len));
        if (len > LIST_MANY || random_below(&w->random, 2)) {
                worker_begin(&w->tallies->pop);
                worker_end(w, &w->tallies->pop,
                           objd_list_pop(w->store.list, at_end ? -1 : 0, &value, &w->buf));
        } else {
                worker_begin(&w->tallies->append);
                worker_end(w, &w->tallies->append,
                           at_end ? objd_list_append(w->store.list, &value)
                                  : objd_list_prepend(w->store.list, &value));
        }
}

void worker_guarded(struct worker *w)
{
        objd_value key = objd_cstr("guarded"), value;
        objd_status r = objd_lock_take(w->store.lock, OBJD_FOREVER, NULL);

        child_check(r == OBJD_OK || r == OBJD_E_OWNER_DIED);
        r = objd_dict_get(w->store.counters, &key, &value, &w->buf);
        child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND);
        value = objd_int(r ? 1 : value.u.integer + 1);
        worker_begin(&w->tallies->guarded);
        worker_end(w, &w->tallies->guarded, objd_dict_set(w->store.counters, &key, &value));
        child_ok(objd_lock_give(w->store.lock));
}

/* Another worker may have deleted it meanwhile. */
static void put_something_into(struct worker *w, objd_object *object, objd_kind kind)
{
        objd_value key = objd_int(1), value = objd_bytes(filler, random_below(&w->random, 3000));
        objd_status r = OBJD_OK;

        if (kind == OBJD_DICT)
                r = objd_dict_set(object, &key, &value);
        else if (kind == OBJD_LIST)
                r = objd_list_append(object, &value);
        else if (kind == OBJD_QUEUE)
                r = objd_queue_put(object, &value, OBJD_NOWAIT);
        child_check(r == OBJD_OK || r == OBJD_E_GONE || worker_is_full(w, r));
}

void worker_objects(struct worker *w)
{
        static const objd_kind kinds[] = { OBJD_DICT, OBJD_LIST, OBJD_QUEUE, OBJD_LOCK };
        objd_kind kind = kinds[random_below(&w->random, 4)];
        bool named = random_below(&w->random, 2);
        objd_object *object;
        char name[300];
        objd_status r;

        /* A long name has a chunk of its own. */
        snprintf(name, sizeof(name), "%d-%0*d", (int)random_below(&w->random, N_NAMES),
                 random_below(&w->random, 2) ? 1 : 200, 0);
        r = objd_create(w->store.conn, named ? name : NULL, kind, NULL, &object);
        if (r == OBJD_OK) {
                put_something_into(w, object, kind);
                r = OBJD_OK;
                if (!named && random_below(&w->random, 2))
                        r = objd_destroy(object);
                child_check(r == OBJD_OK || (w->is_far && worker_is_full(w, r)));
                objd_release(object);
                return;
        }
        child_check(r == OBJD_E_EXISTS || worker_is_full(w, r));
        r = objd_delete(w->store.conn, name);
        child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND || worker_is_full(w, r));
}

/* ---- The sums ------------------------------------------------------------------------------------------ */

int64_t number_in(objd_object *dict, objd_value key)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        objd_status r = objd_dict_get(dict, &key, &value, &buf);
        int64_t n = r ? 0 : value.u.integer;

        assert_true(r == OBJD_OK || r == OBJD_E_NOTFOUND);
        objd_buf_free(&buf);
        return n;
}

/* A bound may be below zero: of what was taken, some may have been put by calls that died. */
void assert_between(const char *label, uint64_t least, uint64_t n, uint64_t most, const char *what)
{
        if ((int64_t)n < (int64_t)least || (int64_t)n > (int64_t)most)
                fail_msg("%s: %s: %" PRIi64 " is not between %" PRIi64 " and %" PRIi64, label, what,
                         (int64_t)n, (int64_t)least, (int64_t)most);
}

/* What must be left at least; nothing, if what has been begun could have taken all of it. */
static uint64_t at_least(uint64_t in, uint64_t out)
{
        return in > out ? in - out : 0;
}

static void add_to(struct tally *sum, const struct tally *one)
{
        sum->begun += one->begun;
        sum->done += one->done;
}

static struct tallies sum_of(const struct tallies *tallies, size_t n)
{
        struct tallies sum = { 0 };

        for (size_t i = 0; i < n; i++) {
                add_to(&sum.put, &tallies[i].put);
                add_to(&sum.get, &tallies[i].get);
                add_to(&sum.append, &tallies[i].append);
                add_to(&sum.pop, &tallies[i].pop);
                add_to(&sum.guarded, &tallies[i].guarded);
        }
        return sum;
}

void check_tallies(const char *label, const struct common *store, const struct tallies *tallies,
                   size_t n_workers)
{
        struct tallies sum = sum_of(tallies, n_workers);
        int64_t all = 0;
        uint64_t len;

        for (size_t i = 0; i < n_workers; i++) {
                int64_t n = number_in(store->counters, objd_int((int64_t)i));

                assert_between(label, tallies[i].add.done, (uint64_t)n, tallies[i].add.begun,
                               "adds of a worker");
                all += n;
        }
        assert_int_equal(number_in(store->counters, objd_cstr("all")), all);
        assert_between(label, sum.guarded.done, (uint64_t)number_in(store->counters, objd_cstr("guarded")),
                       sum.guarded.begun, "increments under the lock");
        assert_ok(objd_list_len(store->list, &len));
        assert_between(label, at_least(sum.append.done, sum.pop.begun), len, sum.append.begun - sum.pop.done,
                       "items in the list");
        printf("%s: %" PRIi64 " adds, %" PRIu64 " puts, %" PRIu64 " appends, %" PRIu64 " under the lock\n",
               label, all, sum.put.done, sum.append.done, sum.guarded.done);
}

void check_queue(const char *label, const struct tallies *tallies, size_t n_workers, uint64_t n_left)
{
        struct tallies sum = sum_of(tallies, n_workers);

        assert_between(label, at_least(sum.put.done, sum.get.begun), n_left, sum.put.begun - sum.get.done,
                       "items that were put and not taken");
}
