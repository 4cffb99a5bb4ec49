/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_list_together.c -- lists in batches, under pins, and with others at work on them
 */

#include <pthread.h>

#include "object/list.h"
#include "support/lists.h"
#include "support/way.h"

static char text[4 << 20]; /* what large values are made of */

/* ---- Several operations as one ------------------------------------------------------------------------ */

/*
 * What one step of a batch takes off a leaf, the next may fill with something else; if a third one fails, the first
 * item must be there again, also its bytes.
 */
static void undone_batch_leaves_what_it_took_off_and_wrote_over(void **state)
{
        objd_object *list = new_list(*state);
        objd_value other = objd_cstr("something else, of the same size"), front = objd_int(-5);
        objd_batch *batch;
        size_t failed = 0;

        append_ints(list, 0, 3);
        append(list, objd_cstr("here since before the batch"));
        assert_ok(objd_batch_new(*state, &batch));
        for (int i = 0; i < 4; i++)
                assert_ok(objd_batch_list_pop(batch, list, i % 2 ? 0 : -1));
        for (int i = 0; i < 20; i++)
                assert_ok(objd_batch_list_append(batch, list, i % 3 ? &other : &front));
        assert_ok(objd_batch_list_prepend(batch, list, &front));
        assert_ok(objd_batch_list_set(batch, list, 500, &front));
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_RANGE);
        assert_int_equal(failed, 25);
        assert_items(list,
                     (const objd_value[]){ objd_int(0), objd_int(1), objd_int(2),
                                           objd_cstr("here since before the batch") },
                     4);
        way_check(*state);
        objd_batch_free(batch);
        free_list(list);
}

static void batch_sees_what_it_has_done(void **state)
{
        objd_object *list = new_list(*state);
        objd_value value = objd_cstr("x"), big = objd_bytes(text, 100000), result;
        objd_batch *batch;

        assert_ok(objd_batch_new(*state, &batch));
        assert_ok(objd_batch_list_append(batch, list, &value));
        assert_ok(objd_batch_list_append(batch, list, &big));
        assert_ok(objd_batch_list_get(batch, list, 1));
        assert_ok(objd_batch_list_insert(batch, list, 1, &value));
        assert_ok(objd_batch_list_pop(batch, list, -1));
        assert_ok(objd_batch_list_del(batch, list, 0));
        assert_ok(objd_batch_commit(batch, NULL));
        assert_ok(objd_batch_result(batch, 2, &result));
        assert_true(objd_value_equal(&result, &big));
        assert_ok(objd_batch_result(batch, 4, &result));
        assert_true(objd_value_equal(&result, &big));
        assert_items(list, &value, 1);
        objd_batch_free(batch);
        free_list(list);
}

/* ---- Other ways to read ------------------------------------------------------------------------------- */

static void pinned_value_outlives_its_item(void **state)
{
        objd_object *list = new_list(*state);
        objd_value small, large, expected = objd_bytes(text, 200000);
        objd_pin *small_pin, *large_pin;

        append(list, objd_cstr("small"));
        append(list, expected);
        assert_ok(objd_list_pin(list, 0, &small, &small_pin));
        assert_ok(objd_list_pin(list, -1, &large, &large_pin));
        assert_status(objd_list_pin(list, 2, &large, &large_pin), OBJD_E_RANGE);
        free_list(list);
        list = new_list(*state);
        for (size_t i = 0; i < 20; i++)
                append(list, objd_bytes(text + 1000 + i, 200000));
        assert_true(objd_value_equal(&large, &expected));
        expected = objd_cstr("small");
        assert_true(objd_value_equal(&small, &expected));
        objd_unpin(small_pin);
        objd_unpin(large_pin);
        free_list(list);
}

/* ---- Together with others ----------------------------------------------------------------------------- */

struct turner {
        objd_object *list;
        bool stop; /* atomic */
};

static void *turn_round(void *context)
{
        struct turner *turner = context;

        while (!__atomic_load_n(&turner->stop, __ATOMIC_RELAXED))
                if (objd_list_reverse(turner->list) != OBJD_OK)
                        return turner;
        return NULL;
}

/* A slice of a list that never stands still is still as of one moment, and comes to an end. */
static void long_read_is_not_starved(void **state)
{
        struct turner turner = { .list = new_list(*state) };
        pthread_t thread;
        void *failed;

        append_ints(turner.list, 0, 3000);
        assert_int_equal(pthread_create(&thread, NULL, turn_round, &turner), 0);
        for (int i = 0; i < way_few(200, 20); i++) {
                objd_items *items;
                uint64_t n = 0;
                objd_value value = objd_int(1500);

                assert_ok(objd_list_slice(turner.list, 0, OBJD_LIST_END, &items));
                assert_int_equal(items->len, 3000);
                for (int64_t k = 0; k < 3000; k++)
                        n += items->item[k].value.u.integer ==
                             (items->item[0].value.u.integer ? 2999 - k : k);
                assert_int_equal(n, 3000);
                objd_items_free(items);
                assert_ok(objd_list_count(turner.list, &value, &n));
                assert_int_equal(n, 1);
                assert_ok(objd_list_len(turner.list, &n));
                assert_int_equal(n, 3000);
        }
        __atomic_store_n(&turner.stop, true, __ATOMIC_RELAXED);
        assert_int_equal(pthread_join(thread, &failed), 0);
        assert_null(failed);
        free_list(turner.list);
}

struct holder {
        objd_object *list;
        pthread_barrier_t held, done;
        bool ok;
};

static void *hold(void *context)
{
        struct holder *holder = context;
        struct lane *lane;

        holder->ok = lane_enter(holder->list->conn->arena, 0, &lane) == OBJD_OK;
        txn_begin(lane, OP_LIST_APPEND);
        holder->ok &= lock_take(lane, &holder->list->shm->line) == OBJD_OK;
        (void)pthread_barrier_wait(&holder->held);
        (void)pthread_barrier_wait(&holder->done);
        txn_abort(lane);
        lane_leave(lane);
        return NULL;
}

static void calls_on_a_list_that_somebody_holds_give_up(void **state)
{
        objd_object *list = new_list(*state);
        struct holder holder = { .list = way_inside(list) };
        objd_value value = objd_int(1);
        objd_buf buf = OBJD_BUF_INIT;
        pthread_t thread;

        append_ints(list, 0, 3);
        (void)pthread_barrier_init(&holder.held, NULL, 2);
        (void)pthread_barrier_init(&holder.done, NULL, 2);
        assert_int_equal(pthread_create(&thread, NULL, hold, &holder), 0);
        (void)pthread_barrier_wait(&holder.held);
        assert_true(holder.ok);
        objd_next_timeout(1000000);
        assert_status(objd_list_get(list, 0, &value, &buf), OBJD_E_BUSY);
        objd_next_timeout(1000000);
        assert_status(objd_list_append(list, &value), OBJD_E_BUSY);
        (void)pthread_barrier_wait(&holder.done);
        assert_int_equal(pthread_join(thread, NULL), 0);
        INTS(list, 0, 1, 2);
        objd_buf_free(&buf);
        free_list(list);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                WAY_TEST(undone_batch_leaves_what_it_took_off_and_wrote_over),
                WAY_TEST(batch_sees_what_it_has_done),
                WAY_TEST(pinned_value_outlives_its_item),
                WAY_TEST(long_read_is_not_starved),
                WAY_TEST(calls_on_a_list_that_somebody_holds_give_up),
        };

        for (size_t i = 0; i < sizeof(text); i++)
                text[i] = (char)(i * 31 + i / 251);
        return way_run(argc, argv, tests);
}
