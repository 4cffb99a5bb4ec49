/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_shared.c -- lists that several change: one where whatever is put in must come out exactly once, one whose items are only ever put
 * into another order
 */

#include "model/model_list.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* An item of the list where nothing is lost: a number, and bytes that follow from it. */
static objd_value token(uint64_t number, uint64_t bytes[64])
{
        size_t n = 1 + number % (number % 11 ? 8 : 64);

        for (size_t i = 0; i < n; i++)
                bytes[i] = number * (i + 1);
        return objd_bytes(bytes, n * 8);
}

static uint64_t token_number(const objd_value *value)
{
        uint64_t bytes[64], number;
        objd_value want;

        expect(value->type == OBJD_BYTES && value->size >= 8);
        memcpy(&number, value->data, 8);
        want = token(number, bytes);
        expect(objd_value_equal(&want, value));
        return number;
}

static void put_token(objd_object *list, struct random *random, uint64_t number, struct tally *tally)
{
        uint64_t bytes[64];
        objd_value value = token(number, bytes);

        switch (random_below(random, 3)) {
        case 0:
                expect_ok(objd_list_append(list, &value));
                break;
        case 1:
                expect_ok(objd_list_prepend(list, &value));
                break;
        default:
                expect_ok(objd_list_insert(list, (int64_t)random_below(random, 2000), &value));
        }
        tally->n_put++;
        tally->sum_put += number;
}

static void get_token(objd_object *list, struct random *random, objd_buf *buf, struct tally *tally)
{
        static const int64_t at[] = { 0, -1, 7, -50, 500 };
        objd_value value;
        objd_status r = objd_list_pop(list, at[random_below(random, 5)], &value, buf);

        if (r == OBJD_E_RANGE)
                return;
        expect_ok(r);
        tally->n_got++;
        tally->sum_got += token_number(&value);
}

static void look_at_tokens(objd_object *list, struct random *random, objd_buf *buf)
{
        int64_t start = (int64_t)random_below(random, 3000);
        objd_items *items;
        objd_value value;
        objd_status r = objd_list_get(list, start, &value, buf);

        expect(r == OBJD_OK || r == OBJD_E_RANGE);
        if (r == OBJD_OK)
                (void)token_number(&value);
        expect_ok(objd_list_slice(list, start, start + 40, &items));
        for (size_t i = 0; i < items->len; i++)
                (void)token_number(&items->item[i].value);
        objd_items_free(items);
}

void look_at_fixed(objd_object *list)
{
        unsigned char seen[FIXED_ITEMS] = { 0 };
        objd_items *items;

        expect_ok(objd_list_slice(list, 0, OBJD_LIST_END, &items));
        expect(items->len == FIXED_ITEMS);
        for (size_t i = 0; i < items->len; i++) {
                int64_t number = items->item[i].value.u.integer;

                expect(number >= 0 && number < FIXED_ITEMS && !seen[number]);
                seen[number] = 1;
        }
        objd_items_free(items);
}

static void reorder_fixed(objd_object *list, struct random *random)
{
        uint64_t choice = random_below(random, 3);

        expect_ok(choice ? objd_list_sort(list, choice == 1) : objd_list_reverse(list));
}

void *run_shared(void *context)
{
        const struct shared_run *run = context;
        struct random random = { run->seed };
        struct tally tally = { 0 };
        objd_buf buf = OBJD_BUF_INIT;

        for (step = 0; step < run->n_steps; step++) {
                /* The list swings between nothing and a few thousand items. */
                bool fill = step / 3000 % 2 == 0;
                uint64_t choice = random_below(&random, 100);

                if (choice < (fill ? 60u : 20u))
                        put_token(run->tokens, &random, step * N_SHARED + run->who, &tally);
                else if (choice < 80)
                        get_token(run->tokens, &random, &buf, &tally);
                else if (choice < 98)
                        look_at_tokens(run->tokens, &random, &buf);
                else if (choice < 99)
                        look_at_fixed(run->fixed);
                else
                        reorder_fixed(run->fixed, &random);
        }
        objd_buf_free(&buf);
        *run->tally = tally;
        return NULL;
}

void run_shared_pair(struct shared_run run[2])
{
        pthread_t other;

        expect(pthread_create(&other, NULL, run_shared, &run[1]) == 0);
        run_shared(&run[0]);
        expect(pthread_join(other, NULL) == 0);
}

void expect_conserved(objd_object *tokens, const struct tally *tally)
{
        uint64_t n_put = 0, n_got = 0, sum_put = 0, sum_got = 0;
        objd_items *items;

        for (int i = 0; i < N_SHARED; i++) {
                n_put += tally[i].n_put;
                n_got += tally[i].n_got;
                sum_put += tally[i].sum_put;
                sum_got += tally[i].sum_got;
        }
        expect_ok(objd_list_slice(tokens, 0, OBJD_LIST_END, &items));
        for (size_t i = 0; i < items->len; i++)
                sum_got += token_number(&items->item[i].value);
        expect(n_put == n_got + items->len);
        expect(sum_put == sum_got);
        printf("%" PRIu64 " items put, %" PRIu64 " got, %zu left\n", n_put, n_got, items->len);
        objd_items_free(items);
}
