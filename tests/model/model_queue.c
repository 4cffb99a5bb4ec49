/* SPDX-License-Identifier: Apache-2.0 */

/*
 * model_queue.c -- long random runs on a queue that nobody else has, compared with a plain model after every operation
 */

#include "model/queues.h"

#include <stdlib.h>
#include <string.h>

#include "support/random.h"
#include "support/test.h"

static struct random seeds;

#define MODEL_MAX 600

struct model_item {
        int64_t priority;
        uint64_t sequence; /* of its put */
        uint64_t stacked;  /* LIFO: when it was last put on top */
        uint64_t id;
        uint64_t lease; /* 0: it can be taken */
};

struct model {
        struct model_item items[MODEL_MAX];
        size_t n, n_leased;
        uint64_t puts, time, done;
        objd_order order;
        uint64_t bound;
};

static size_t model_next(const struct model *model)
{
        size_t best = SIZE_MAX;

        for (size_t i = 0; i < model->n; i++) {
                const struct model_item *a = &model->items[i],
                                        *b = best == SIZE_MAX ? NULL : &model->items[best];

                if (a->lease)
                        continue;
                if (!b || (model->order == OBJD_LIFO    ? a->stacked > b->stacked
                           : a->priority != b->priority ? a->priority < b->priority
                                                        : a->sequence < b->sequence))
                        best = i;
        }
        return best;
}

static void model_put(struct model *model, uint64_t id, int64_t priority)
{
        model->items[model->n++] = (struct model_item){ priority, model->puts++, ++model->time, id, 0 };
}

static void model_remove(struct model *model, size_t i)
{
        model->items[i] = model->items[--model->n];
}

static size_t model_find_lease(const struct model *model, struct random *random)
{
        for (size_t k = 0; k < model->n; k++) {
                size_t i = (k + random_below(random, model->n)) % model->n;

                if (model->items[i].lease)
                        return i;
        }
        return SIZE_MAX;
}

/* A run on one queue. */
struct solo {
        objd_conn *conn;
        objd_object *queue;
        struct model model;
        struct random random;
        objd_buf buf;
        uint64_t next_id;
};

static int64_t random_priority(struct solo *solo)
{
        return solo->model.order == OBJD_PRIORITY ? (int64_t)random_below(&solo->random, 5) - 2 : 0;
}

static bool has_room(const struct model *model, size_t n)
{
        return !model->bound || model->n + n <= model->bound;
}

static void solo_put(struct solo *solo)
{
        uint64_t words[VALUE_WORDS];
        objd_value value = value_of(solo->next_id, words);
        int64_t priority = random_priority(solo);
        objd_status r;

        if (solo->model.order == OBJD_PRIORITY)
                r = objd_queue_put_priority(solo->queue, &value, priority, OBJD_NOWAIT);
        else
                r = objd_queue_put(solo->queue, &value, OBJD_NOWAIT);
        assert_int_equal(r, has_room(&solo->model, 1) ? OBJD_OK : OBJD_E_FULL);
        if (r == OBJD_OK)
                model_put(&solo->model, solo->next_id, priority);
        solo->next_id++;
}

static void solo_put_many(struct solo *solo)
{
        static uint64_t words[20][VALUE_WORDS];
        objd_value values[20] = { 0 };
        size_t n = random_below(&solo->random, 20);
        objd_status r;

        for (size_t i = 0; i < n; i++)
                values[i] = value_of(solo->next_id + i, words[i]);
        r = objd_queue_put_many(solo->queue, values, n, OBJD_NOWAIT);
        if (solo->model.bound && n > solo->model.bound)
                assert_int_equal(r, OBJD_E_INVAL);
        else
                assert_int_equal(r, has_room(&solo->model, n) || !n ? OBJD_OK : OBJD_E_FULL);
        for (size_t i = 0; i < n && r == OBJD_OK; i++)
                model_put(&solo->model, solo->next_id + i, 0);
        solo->next_id += n;
}

static void solo_get(struct solo *solo)
{
        size_t next = model_next(&solo->model);
        objd_value value;
        objd_status r = objd_queue_get(solo->queue, &value, &solo->buf, OBJD_NOWAIT);

        assert_int_equal(r, next == SIZE_MAX ? OBJD_E_EMPTY : OBJD_OK);
        if (r)
                return;
        assert_int_equal(id_of(&value), solo->model.items[next].id);
        model_remove(&solo->model, next);
}

static void solo_get_many(struct solo *solo)
{
        size_t max = 1 + random_below(&solo->random, 30), n = 0;
        objd_items *items = NULL;
        objd_status r = objd_queue_get_many(solo->queue, max, &items, OBJD_NOWAIT);

        for (size_t next; n < max && (next = model_next(&solo->model)) != SIZE_MAX; n++) {
                assert_true(r == OBJD_OK && n < items->len);
                assert_int_equal(id_of(&items->item[n].value), solo->model.items[next].id);
                model_remove(&solo->model, next);
        }
        assert_int_equal(r, n ? OBJD_OK : OBJD_E_EMPTY);
        assert_int_equal(items ? items->len : 0, n);
        objd_items_free(items);
}

static void solo_lease(struct solo *solo)
{
        size_t next = model_next(&solo->model);
        objd_value value;
        uint64_t lease = 0;
        objd_status r =
                objd_queue_get_lease(solo->queue, OBJD_FOREVER, &value, &solo->buf, &lease, OBJD_NOWAIT);

        assert_int_equal(r, next == SIZE_MAX ? OBJD_E_EMPTY : OBJD_OK);
        if (r)
                return;
        assert_int_equal(id_of(&value), solo->model.items[next].id);
        assert_true(lease);
        solo->model.items[next].lease = lease;
        solo->model.n_leased++;
}

static void solo_end_lease(struct solo *solo)
{
        size_t i = solo->model.n ? model_find_lease(&solo->model, &solo->random) : SIZE_MAX;
        struct model_item *item;

        if (i == SIZE_MAX)
                return;
        item = &solo->model.items[i];
        solo->model.n_leased--;
        if (random_below(&solo->random, 2)) {
                assert_ok(objd_queue_ack(solo->queue, item->lease));
                solo->model.done += solo->model.done < solo->model.puts;
                model_remove(&solo->model, i);
        } else {
                assert_ok(objd_queue_give_back(solo->queue, item->lease));
                item->lease = 0;
                item->stacked = ++solo->model.time;
        }
}

static void solo_look(struct solo *solo)
{
        size_t next = model_next(&solo->model);
        objd_value value;
        uint64_t len = 0;
        objd_status r = objd_queue_peek(solo->queue, &value, &solo->buf);

        assert_int_equal(r, next == SIZE_MAX ? OBJD_E_EMPTY : OBJD_OK);
        if (r == OBJD_OK)
                assert_int_equal(id_of(&value), solo->model.items[next].id);
        assert_ok(objd_queue_len(solo->queue, &len));
        assert_int_equal(len, solo->model.n - solo->model.n_leased);
}

static void solo_done(struct solo *solo)
{
        bool can = solo->model.done < solo->model.puts;

        assert_int_equal(objd_queue_task_done(solo->queue), can ? OBJD_OK : OBJD_E_INVAL);
        solo->model.done += can;
        assert_int_equal(objd_queue_join(solo->queue, OBJD_NOWAIT),
                         solo->model.done == solo->model.puts ? OBJD_OK : OBJD_E_TIMEOUT);
}

/* Puts and gets in one batch, of which one may fail, and with it all. */
static void solo_batch(struct solo *solo)
{
        struct model before = solo->model;
        uint64_t words[VALUE_WORDS], expected[24] = { 0 };
        size_t n = 1 + random_below(&solo->random, 24), failed = SIZE_MAX;
        objd_batch *batch;
        objd_status r;

        assert_ok(objd_batch_new(solo->conn, &batch));
        for (size_t i = 0; i < n; i++) {
                if (random_below(&solo->random, 2)) {
                        objd_value value = value_of(solo->next_id, words);
                        int64_t priority = random_priority(solo);

                        assert_ok(objd_batch_queue_put(batch, solo->queue, &value, priority));
                        if (failed == SIZE_MAX && !has_room(&solo->model, 1))
                                failed = i;
                        else if (failed == SIZE_MAX)
                                model_put(&solo->model, solo->next_id, priority);
                        solo->next_id++;
                } else {
                        size_t next = model_next(&solo->model);

                        assert_ok(objd_batch_queue_get(batch, solo->queue));
                        if (failed == SIZE_MAX && next == SIZE_MAX)
                                failed = i;
                        else if (failed == SIZE_MAX) {
                                expected[i] = solo->model.items[next].id + 1;
                                model_remove(&solo->model, next);
                        }
                }
        }
        r = objd_batch_commit(batch, &n);
        if (failed == SIZE_MAX) {
                assert_ok(r);
                for (size_t i = 0; i < 24; i++)
                        if (expected[i]) {
                                objd_value value;

                                assert_ok(objd_batch_result(batch, i, &value));
                                assert_int_equal(id_of(&value) + 1, expected[i]);
                        }
        } else {
                assert_true(r == OBJD_E_EMPTY || r == OBJD_E_FULL);
                assert_int_equal(n, failed);
                solo->model = before;
        }
        objd_batch_free(batch);
}

static void solo_step(struct solo *solo)
{
        uint64_t dice = random_below(&solo->random, 100);

        if (dice < 30 && solo->model.n < MODEL_MAX - 50)
                solo_put(solo);
        else if (dice < 35 && solo->model.n < MODEL_MAX - 50)
                solo_put_many(solo);
        else if (dice < 55)
                solo_get(solo);
        else if (dice < 60)
                solo_get_many(solo);
        else if (dice < 72)
                solo_lease(solo);
        else if (dice < 84)
                solo_end_lease(solo);
        else if (dice < 90)
                solo_look(solo);
        else if (dice < 94)
                solo_done(solo);
        else if (solo->model.n < MODEL_MAX - 50)
                solo_batch(solo);
}

static void run_solo(objd_order order, uint64_t bound)
{
        struct solo *solo = calloc(1, sizeof(*solo));

        assert_non_null(solo);
        solo->random = (struct random){ random_next(&seeds) };
        solo->model.order = order;
        solo->model.bound = bound;
        assert_ok(objd_connect("embedded:64M", &solo->conn));
        solo->queue = make_queue(solo->conn, order, bound);
        for (int i = 0; i < 20000; i++) {
                solo_step(solo);
                if (i % 2000 == 0)
                        assert_sound(solo->conn);
        }
        while (solo->model.n_leased)
                solo_end_lease(solo);
        while (solo->model.n)
                solo_get(solo);
        assert_sound(solo->conn);
        objd_release(solo->queue);
        objd_close(solo->conn);
        objd_buf_free(&solo->buf);
        free(solo);
}

static void a_queue_alone_behaves_as_its_model(void **state)
{
        (void)state;
        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                run_solo(order, 0);
                run_solo(order, 13);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_queue_alone_behaves_as_its_model),
        };

        seeds = random_begin("test-model-queue");
        return cmocka_run_group_tests_name("queue model", tests, NULL, NULL);
}
