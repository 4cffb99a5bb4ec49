/* SPDX-License-Identifier: Apache-2.0 */

/*
 * model_queue.c -- long random runs on queues
 *
 * Alone, a queue is compared with a plain model after every operation. With several processes and threads there is no
 * one order to compare with, but there are laws: each item that was put is taken once or still there; and as long as
 * nothing comes back, a getter of a FIFO queue sees each putter's items in the order of their puts. Under kills, what a
 * victim was in the middle of may have happened or not, and nothing else may be missing.
 */

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "object/check.h"
#include "object/object.h"
#include "support/child.h"
#include "support/random.h"
#include "support/test.h"

#define MS 1000000LL

static struct random seeds;

static void print_fault(void *context, const char *object, const char *sentence)
{
        (void)context;
        print_error("%s: %s\n", object, sentence);
}

static void assert_sound(objd_conn *conn)
{
        uint64_t n_errors = 0;

        assert_ok(check_arena(conn, print_fault, NULL, &n_errors));
        assert_int_equal(n_errors, 0);
}

static objd_object *make_queue(objd_conn *conn, objd_order order, uint64_t bound)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *queue = NULL;

        config.order = order;
        config.bound = bound;
        assert_ok(objd_create(conn, NULL, OBJD_QUEUE, &config, &queue));
        return queue;
}

/* ---- Alone, against a model ----------------------------------------------------------------------------- */

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

/* An id as a value of random length whose every byte follows from the id. */
static objd_value value_of(uint64_t id, uint64_t *words)
{
        size_t size = id * 2654435761u % 64 ? 8 + id * 40503 % 260 : 8 + id * 40503 % 9000;

        for (size_t i = 0; i < (size + 7) / 8; i++)
                words[i] = id + i;
        return objd_bytes(words, size);
}

#define VALUE_WORDS 1200

static uint64_t id_of(const objd_value *value)
{
        uint64_t words[VALUE_WORDS], id;

        assert_true(value->type == OBJD_BYTES && value->size >= 8);
        memcpy(&id, value->data, 8);
        {
                objd_value expected = value_of(id, words);

                assert_true(objd_value_equal(value, &expected));
        }
        return id;
}

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

/* ---- Many at once ------------------------------------------------------------------------------------- */

#define N_PROCESSES 3
#define N_THREADS 2
#define N_PUTTERS 16 /* processes times threads, those that replace the killed included */
#define N_ITEMS 6000 /* of each putter at most */

/* What everybody has done; shared, and outside of what is tested. */
struct board {
        objd_conn *conn;
        objd_object *queue;
        bool in_order; /* nothing comes back: each putter's items must be seen in order */
        uint64_t n_steps;
        uint64_t seed;
        uint32_t n_putters;                /* atomic: numbers given out */
        uint32_t begun[N_PUTTERS];         /* items that a putter has begun to put */
        uint32_t put[N_PUTTERS];           /* items whose put has returned */
        uint8_t taken[N_PUTTERS][N_ITEMS]; /* atomic: how often */
};

/* One thread of a run. */
struct player {
        struct board *board;
        struct random random;
        uint32_t putter;
        uint32_t last[N_PUTTERS]; /* in order: what was last seen of each putter, + 1 */
        objd_buf buf;
};

static uint64_t item_id(uint32_t putter, uint32_t number)
{
        return (uint64_t)putter << 32 | number;
}

static void saw(struct player *player, const objd_value *value)
{
        uint64_t words[VALUE_WORDS], id;
        objd_value expected;
        uint32_t putter, number;

        child_check(value->type == OBJD_BYTES && value->size >= 8);
        memcpy(&id, value->data, 8);
        expected = value_of(id, words);
        child_check(objd_value_equal(value, &expected));
        putter = (uint32_t)(id >> 32);
        number = (uint32_t)id;
        child_check(putter < N_PUTTERS && number < N_ITEMS);
        if (player->board->in_order)
                child_check(number >= player->last[putter]);
        player->last[putter] = number + 1;
}

static void took(struct player *player, const objd_value *value)
{
        uint64_t id;

        saw(player, value);
        memcpy(&id, value->data, 8);
        child_check(__atomic_fetch_add(&player->board->taken[id >> 32][(uint32_t)id], 1, __ATOMIC_RELAXED) ==
                    0);
}

static bool is_no_failure(objd_status r)
{
        return r == OBJD_E_EMPTY || r == OBJD_E_FULL || r == OBJD_E_TIMEOUT;
}

static int64_t random_timeout(struct player *player)
{
        return random_below(&player->random, 4) ? OBJD_NOWAIT
                                                : (int64_t)random_below(&player->random, (uint64_t)MS);
}

static void play_put(struct player *player)
{
        static _Thread_local uint64_t words[8][VALUE_WORDS];
        struct board *board = player->board;
        uint32_t first = board->put[player->putter];
        uint32_t n = random_below(&player->random, 4) ? 1 : 1 + (uint32_t)random_below(&player->random, 4);
        objd_value values[8];
        objd_status r;

        if (first + n > N_ITEMS)
                return;
        for (uint32_t i = 0; i < n; i++)
                values[i] = value_of(item_id(player->putter, first + i), words[i]);
        __atomic_store_n(&board->begun[player->putter], first + n, __ATOMIC_RELAXED);
        r = n > 1 ? objd_queue_put_many(board->queue, values, n, random_timeout(player))
                  : objd_queue_put(board->queue, values, random_timeout(player));
        child_check(r == OBJD_OK || is_no_failure(r));
        __atomic_store_n(&board->begun[player->putter], r ? first : first + n, __ATOMIC_RELAXED);
        __atomic_store_n(&board->put[player->putter], r ? first : first + n, __ATOMIC_RELAXED);
}

static void play_get(struct player *player)
{
        objd_value value;
        objd_status r = objd_queue_get(player->board->queue, &value, &player->buf, random_timeout(player));

        if (r == OBJD_OK)
                took(player, &value);
        else
                child_check(is_no_failure(r));
}

static void play_get_many(struct player *player)
{
        objd_items *items;
        objd_status r = objd_queue_get_many(player->board->queue, 1 + random_below(&player->random, 6),
                                            &items, random_timeout(player));

        child_check(r == OBJD_OK || is_no_failure(r));
        if (r)
                return;
        for (size_t i = 0; i < items->len; i++)
                took(player, &items->item[i].value);
        objd_items_free(items);
}

static void play_lease(struct player *player)
{
        int64_t lease_ns = random_below(&player->random, 2) ? OBJD_FOREVER : MS;
        objd_object *queue = player->board->queue;
        objd_value value;
        uint64_t lease;
        objd_status r =
                objd_queue_get_lease(queue, lease_ns, &value, &player->buf, &lease, random_timeout(player));

        if (r) {
                child_check(is_no_failure(r));
                return;
        }
        saw(player, &value);
        if (random_below(&player->random, 8) == 0)
                sched_yield();
        if (random_below(&player->random, 3)) {
                r = objd_queue_ack(queue, lease);
                if (r == OBJD_OK)
                        took(player, &value);
        } else {
                r = objd_queue_give_back(queue, lease);
        }
        /* A lease that ran out meanwhile is somebody else's item now. */
        child_check(r == OBJD_OK || (r == OBJD_E_NOTOWNER && lease_ns == MS));
}

static void play_batch(struct player *player)
{
        objd_batch *batch;
        objd_value value;
        objd_status r;

        child_ok(objd_batch_new(player->board->conn, &batch));
        child_ok(objd_batch_queue_get(batch, player->board->queue));
        child_ok(objd_batch_queue_get(batch, player->board->queue));
        r = objd_batch_commit(batch, NULL);
        child_check(r == OBJD_OK || is_no_failure(r));
        for (size_t i = 0; i < 2 && r == OBJD_OK; i++) {
                child_ok(objd_batch_result(batch, i, &value));
                took(player, &value);
        }
        objd_batch_free(batch);
}

static void play_look(struct player *player)
{
        objd_value value;
        uint64_t len;
        objd_status r = objd_queue_peek(player->board->queue, &value, &player->buf);

        child_check(r == OBJD_OK || r == OBJD_E_EMPTY);
        if (r == OBJD_OK) {
                uint64_t words[VALUE_WORDS], id;
                objd_value expected;

                memcpy(&id, value.data, 8);
                expected = value_of(id, words);
                child_check(objd_value_equal(&value, &expected));
        }
        child_ok(objd_queue_len(player->board->queue, &len));
        child_check(len <= (uint64_t)N_PUTTERS * N_ITEMS);
}

static void *play(void *context)
{
        struct player *player = context;

        for (uint64_t i = 0; i < player->board->n_steps; i++) {
                uint64_t dice = random_below(&player->random, 100);

                if (dice < 50)
                        play_put(player);
                else if (dice < 70)
                        play_get(player);
                else if (dice < 75)
                        play_get_many(player);
                else if (dice < 85 && !player->board->in_order)
                        play_lease(player);
                else if (dice < 90)
                        play_batch(player);
                else
                        play_look(player);
        }
        objd_buf_free(&player->buf);
        return NULL;
}

static int play_with_threads(void *context)
{
        struct board *board = context;
        struct player *players = calloc(N_THREADS, sizeof(*players));
        pthread_t threads[N_THREADS];

        child_check(players);
        for (size_t i = 0; i < N_THREADS; i++) {
                players[i].board = board;
                players[i].putter = __atomic_fetch_add(&board->n_putters, 1, __ATOMIC_RELAXED);
                players[i].random = (struct random){ board->seed + players[i].putter * 7919 };
                child_check(pthread_create(&threads[i], NULL, play, &players[i]) == 0);
        }
        for (size_t i = 0; i < N_THREADS; i++)
                pthread_join(threads[i], NULL);
        free(players);
        return 0;
}

static struct board *board_new(objd_order order, uint64_t bound, bool in_order, uint64_t n_steps)
{
        struct board *board =
                mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        assert_true(board != MAP_FAILED);
        assert_ok(objd_connect("embedded:256M", &board->conn));
        board->queue = make_queue(board->conn, order, bound);
        board->in_order = in_order;
        board->n_steps = n_steps;
        board->seed = random_next(&seeds);
        return board;
}

/* Takes what is left. Leases of the dead and late ones come back meanwhile. */
static void drain(struct board *board)
{
        struct player *player = calloc(1, sizeof(*player));
        objd_value value;

        assert_non_null(player);
        player->board = board;
        board->in_order = false;
        while (objd_queue_get(board->queue, &value, &player->buf, 50 * MS) == OBJD_OK)
                took(player, &value);
        objd_buf_free(&player->buf);
        free(player);
}

/* Every item whose put has returned was taken once. Of those under way at a kill, anything may have become. */
static uint64_t count_missing(const struct board *board)
{
        uint64_t missing = 0;

        for (uint32_t p = 0; p < N_PUTTERS; p++)
                for (uint32_t i = 0; i < N_ITEMS; i++) {
                        assert_true(board->taken[p][i] <= 1);
                        assert_true(!board->taken[p][i] || i < board->begun[p]);
                        missing += i < board->put[p] && !board->taken[p][i];
                }
        return missing;
}

static void board_free(struct board *board)
{
        uint64_t len;

        assert_ok(objd_queue_len(board->queue, &len));
        assert_int_equal(len, 0);
        assert_sound(board->conn);
        objd_release(board->queue);
        objd_close(board->conn);
        munmap(board, sizeof(*board));
}

static uint64_t progress(const struct board *board)
{
        uint64_t n = 0;

        for (uint32_t p = 0; p < N_PUTTERS; p++)
                n += __atomic_load_n(&board->put[p], __ATOMIC_RELAXED);
        return n;
}

static void run_many(objd_order order, uint64_t bound, bool in_order)
{
        struct board *board = board_new(order, bound, in_order, 4000);
        pid_t pids[N_PROCESSES];

        for (size_t i = 0; i < N_PROCESSES; i++)
                pids[i] = child_start(play_with_threads, board);
        for (size_t i = 0; i < N_PROCESSES; i++)
                child_expect_success(pids[i]);
        drain(board);
        assert_true(progress(board) >= 3000); /* or nothing was tested */
        assert_int_equal(count_missing(board), 0);
        board_free(board);
}

static void nothing_is_lost_or_given_twice_among_many_threads(void **state)
{
        (void)state;
        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                run_many(order, 0, false);
                run_many(order, 5, false);
        }
}

static void each_putters_items_are_seen_in_their_order(void **state)
{
        (void)state;
        run_many(OBJD_FIFO, 0, true);
        run_many(OBJD_FIFO, 5, true);
}

#define N_KILLS 5

/* A thread that is killed in the middle of a get may have taken what nobody will ever hear of. */
static void run_with_kills(objd_order order, uint64_t bound)
{
        struct board *board = board_new(order, bound, false, 2500);
        pid_t survivor = child_start(play_with_threads, board);

        for (int i = 0; i < N_KILLS; i++) {
                uint64_t start = progress(board), enough = 100 + random_below(&seeds, 500);
                pid_t victim = child_start(play_with_threads, board);
                int64_t end = test_now_ns() + 2000 * MS;

                while (progress(board) < start + enough && test_now_ns() < end)
                        sched_yield();
                child_kill(victim);
        }
        child_expect_success(survivor);
        drain(board);
        assert_true(count_missing(board) <= (uint64_t)N_KILLS * N_THREADS * 6);
        board_free(board);
}

static void nothing_but_what_a_victim_was_at_is_lost_under_kills(void **state)
{
        (void)state;
        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                run_with_kills(order, 0);
                run_with_kills(order, 20);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_queue_alone_behaves_as_its_model),
                cmocka_unit_test(nothing_is_lost_or_given_twice_among_many_threads),
                cmocka_unit_test(each_putters_items_are_seen_in_their_order),
                cmocka_unit_test(nothing_but_what_a_victim_was_at_is_lost_under_kills),
        };

        seeds = random_begin("test-model-queue");
        return cmocka_run_group_tests_name("queue model", tests, NULL, NULL);
}
