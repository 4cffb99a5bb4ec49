/* SPDX-License-Identifier: Apache-2.0 */

/*
 * model_queue_many.c -- long random runs of several processes and threads on one queue
 *
 * There is no one order to compare with, but there are laws: each item that was put is taken once or still there; and as long as
 * nothing comes back, a getter of a FIFO queue sees each putter's items in the order of their puts. Under kills, what a
 * victim was in the middle of may have happened or not, and nothing else may be missing.
 */

#include "model/queues.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "support/child.h"
#include "support/random.h"
#include "support/test.h"

#define MS 1000000LL

static struct random seeds;

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
                cmocka_unit_test(nothing_is_lost_or_given_twice_among_many_threads),
                cmocka_unit_test(each_putters_items_are_seen_in_their_order),
                cmocka_unit_test(nothing_but_what_a_victim_was_at_is_lost_under_kills),
        };

        seeds = random_begin("test-model-queue-many");
        return cmocka_run_group_tests_name("queue laws", tests, NULL, NULL);
}
