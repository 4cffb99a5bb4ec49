/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_ranking.c -- entries in order, some at a time
 */

#include <stdlib.h>

#include "object/ranking.h"
#include "support/random.h"
#include "support/test.h"

/* Goes through n ranks with this much room; they must come in order, each once. */
static void go_through(struct random *random, size_t n, size_t room)
{
        struct rank *ranks = calloc(n + 1, sizeof(*ranks)), last = { 0, 0, 0 };
        struct ranking ranking;
        size_t met = 0, turns = 0;

        assert_non_null(ranks);
        for (size_t i = 0; i < n; i++)
                ranks[i] = (struct rank){ random_below(random, 3), random_below(random, 1 + n / 2), i + 1 };
        assert_ok(ranking_init(&ranking, n, room));
        do {
                ranking_begin_turn(&ranking);
                for (size_t i = 0; i < n; i++)
                        ranking_offer(&ranking, ranks[i]);
                ranking_end_turn(&ranking);
                assert_true(ranking.len <= room);
                for (size_t i = 0; i < ranking.len; i++, met++) {
                        const struct rank *rank = &ranking.ranks[i];

                        assert_true(last.major < rank->major ||
                                    (last.major == rank->major &&
                                     (last.minor < rank->minor ||
                                      (last.minor == rank->minor && last.place < rank->place))));
                        last = *rank;
                }
                assert_true(++turns <= n / room + 1);
        } while (ranking.more);
        assert_int_equal(met, n);
        ranking_deinit(&ranking);
        free(ranks);
}

static void everything_comes_once_and_in_order_whatever_the_room(void **state)
{
        struct random random = random_begin("test-ranking");

        (void)state;
        for (size_t room = 1; room < 40; room++)
                for (int i = 0; i < 5; i++)
                        go_through(&random, random_below(&random, 100), room);
        go_through(&random, 5000, 1000);
}

/* A damaged object has other numbers of entries than it says. */
static void more_entries_than_were_announced_come_as_well(void **state)
{
        struct ranking ranking;
        size_t met = 0;

        (void)state;
        assert_ok(ranking_init(&ranking, 0, 1000));
        do {
                ranking_begin_turn(&ranking);
                for (uint64_t i = 0; i < 10; i++)
                        ranking_offer(&ranking, (struct rank){ .minor = 10 - i, .place = i });
                ranking_end_turn(&ranking);
                for (size_t i = 0; i < ranking.len; i++)
                        assert_int_equal(ranking.ranks[i].minor, ++met);
        } while (ranking.more);
        assert_int_equal(met, 10);
        ranking_deinit(&ranking);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(everything_comes_once_and_in_order_whatever_the_room),
                cmocka_unit_test(more_entries_than_were_announced_come_as_well),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
