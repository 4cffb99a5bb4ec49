/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_pace.c -- who is quick, and what others may take of the time beside him: by a clock of the test's own
 */

#include "proxy/pace.h"
#include "support/test.h"

#define BEGIN_NS 1000000000
#define CALL_NS 700

struct scene {
        int64_t now_ns;
        struct pace pace;
        struct pace_of asker, other;
};

static void asks(struct scene *s, struct pace_of *who, int64_t gap_ns)
{
        s->now_ns += gap_ns;
        pace_asked(&s->pace, who, s->now_ns, true);
}

static struct scene begin(void)
{
        struct scene s = { .now_ns = BEGIN_NS };

        asks(&s, &s.asker, 0);
        return s;
}

static struct scene begin_beside_quick(void)
{
        struct scene s = begin();

        asks(&s, &s.asker, PACE_QUICK_NS - 1);
        assert_true(s.asker.is_quick);
        return s;
}

/* Whether the other one may, and does. */
static bool does(struct scene *s, int64_t took_ns)
{
        if (!pace_may_begin(&s->pace, &s->other, s->now_ns))
                return false;
        s->now_ns += took_ns;
        pace_count(&s->pace, &s->other, s->now_ns, took_ns);
        return true;
}

static void who_comes_back_soon_is_quick(void **state)
{
        struct scene s = begin();

        (void)state;
        assert_false(s.asker.is_quick);
        asks(&s, &s.asker, PACE_QUICK_NS);
        assert_false(s.asker.is_quick);
        asks(&s, &s.asker, PACE_QUICK_NS - 1);
        assert_true(s.asker.is_quick);
        asks(&s, &s.asker, PACE_QUICK_NS);
        assert_false(s.asker.is_quick);
}

/* Calls that come together, or while others wait, and a client that the daemon does not look for. */
static void who_does_not_wait_for_his_answer_is_not_quick(void **state)
{
        struct scene s = begin_beside_quick();

        (void)state;
        asks(&s, &s.asker, 0);
        assert_false(s.asker.is_quick);
        asks(&s, &s.asker, 1000);
        assert_true(s.asker.is_quick);
        pace_has_more(&s.asker);
        assert_false(s.asker.is_quick);
        asks(&s, &s.asker, 1000);
        assert_false(s.asker.is_quick);
        asks(&s, &s.asker, 1000);
        assert_true(s.asker.is_quick);
        pace_asked(&s.pace, &s.asker, s.now_ns + 1000, false);
        assert_false(s.asker.is_quick);
}

/* It asked twice in a moment, and now sends something large in pieces. */
static void who_asks_no_more_is_quick_no_more(void **state)
{
        struct scene s = begin_beside_quick();

        (void)state;
        assert_true(pace_is_quick(&s.pace, &s.asker, s.now_ns + PACE_QUICK_NS - 1));
        assert_false(pace_is_quick(&s.pace, &s.asker, s.now_ns + PACE_QUICK_NS));
}

/* What the daemon did for others meanwhile is no time of his. */
static void who_was_let_wait_is_quick_all_the_same(void **state)
{
        struct scene s = begin_beside_quick();

        (void)state;
        assert_true(does(&s, 10 * PACE_QUICK_NS));
        asks(&s, &s.asker, PACE_QUICK_NS - 1);
        assert_true(s.asker.is_quick);

        /* He may have slept, and comes back as late as he was let wait. */
        asks(&s, &s.asker, 11 * PACE_QUICK_NS - 1);
        assert_true(s.asker.is_quick);
        asks(&s, &s.asker, PACE_QUICK_NS);
        assert_false(s.asker.is_quick);
}

/* Large values one after the other, with no time between: what took long was for itself. */
static void who_asks_for_much_is_not_quick(void **state)
{
        struct scene s = begin();

        (void)state;
        asks(&s, &s.other, 0);
        for (int i = 0; i < 10; i++) {
                assert_true(does(&s, PACE_QUICK_NS));
                asks(&s, &s.other, 1);
                assert_false(s.other.is_quick);
        }
}

/* Calls of the other one beside one who asks every 2 us, for a second. */
static void the_share_beside_a_quick_one_is_small(void **state)
{
        struct scene s = begin_beside_quick();
        int64_t took_ns = 0, end_ns = s.now_ns + 1000000000;

        (void)state;
        while (s.now_ns < end_ns) {
                while (does(&s, CALL_NS)) {
                        pace_has_more(&s.other);
                        asks(&s, &s.other, 0);
                        took_ns += CALL_NS;
                }
                asks(&s, &s.asker, 2000);
                assert_true(s.asker.is_quick);
        }
        assert_in_range(took_ns, 1000000000 / PACE_SHARE,
                        1000000000 / PACE_SHARE + PACE_BURST_NS + 2 * CALL_NS);
}

/* A batch that takes half a burst, and the next one when it has its answer; or calls that are not quick. */
static void who_waits_for_his_answers_needs_no_share(void **state)
{
        struct scene s = begin_beside_quick();

        (void)state;
        for (int batch = 0; batch < 100; batch++) {
                asks(&s, &s.other, 1);
                for (int64_t took_ns = 0; took_ns < PACE_BURST_NS / 2; took_ns += CALL_NS) {
                        assert_true(does(&s, CALL_NS));
                        asks(&s, &s.asker, 2000);
                }
                assert_true(s.other.used_ns <= PACE_BURST_NS / 2);
        }
        for (int i = 0; i < PACE_BURST_NS / 1000; i++) {
                asks(&s, &s.other, 1);
                assert_true(does(&s, PACE_LONG_NS - 1));
                asks(&s, &s.asker, 2000);
        }
}

/* It cannot be cut, whoever waits for it. */
static void what_is_long_is_of_the_share(void **state)
{
        struct scene s = begin_beside_quick();
        int64_t took_ns = 0, end_ns = s.now_ns + 1000000000;

        (void)state;
        while (s.now_ns < end_ns) {
                while (does(&s, PACE_LONG_NS)) {
                        asks(&s, &s.other, 1);
                        assert_false(s.other.is_quick);
                        took_ns += PACE_LONG_NS;
                }
                asks(&s, &s.asker, 2000);
        }
        assert_in_range(took_ns, 1000000000 / PACE_SHARE,
                        1000000000 / PACE_SHARE + PACE_BURST_NS + PACE_LONG_NS);
}

/* It is not there any more, or never was. */
static void there_are_no_shares_without_a_quick_one(void **state)
{
        struct scene s = begin(), beside = begin_beside_quick();

        (void)state;
        for (int i = 0; i < 10; i++)
                assert_true(does(&s, PACE_BURST_NS));
        assert_int_equal(s.other.used_ns, 0);

        assert_true(does(&beside, PACE_BURST_NS));
        assert_false(does(&beside, 1));
        beside.now_ns += 2 * PACE_QUICK_NS;
        assert_true(does(&beside, PACE_BURST_NS));
        assert_int_equal(beside.other.used_ns, PACE_BURST_NS);
}

/* Whatever he used when he was not. */
static void a_quick_one_waits_for_nobody(void **state)
{
        struct scene s = begin_beside_quick();

        (void)state;
        s.asker.used_ns = PACE_USED_MAX_NS;
        s.asker.used_at_ns = s.now_ns;
        assert_true(pace_may_begin(&s.pace, &s.asker, s.now_ns));
        assert_false(pace_is_beside(&s.pace, &s.asker, s.now_ns));
}

/* A value of a gigabyte is copied in one go. */
static void what_took_very_long_is_not_waited_for_as_long(void **state)
{
        struct scene s = begin_beside_quick();
        int64_t free_ns;

        (void)state;
        assert_true(does(&s, INT64_C(10000000000)));
        free_ns = s.now_ns + PACE_WAIT_MAX_NS;
        while (s.now_ns < free_ns) {
                assert_false(does(&s, 1));
                asks(&s, &s.asker, 2000);
                assert_true(s.asker.is_quick);
        }
        asks(&s, &s.asker, 2000);
        assert_true(s.asker.is_quick);
        assert_true(does(&s, 1));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(who_comes_back_soon_is_quick),
                cmocka_unit_test(who_does_not_wait_for_his_answer_is_not_quick),
                cmocka_unit_test(who_asks_no_more_is_quick_no_more),
                cmocka_unit_test(who_was_let_wait_is_quick_all_the_same),
                cmocka_unit_test(who_asks_for_much_is_not_quick),
                cmocka_unit_test(the_share_beside_a_quick_one_is_small),
                cmocka_unit_test(who_waits_for_his_answers_needs_no_share),
                cmocka_unit_test(what_is_long_is_of_the_share),
                cmocka_unit_test(there_are_no_shares_without_a_quick_one),
                cmocka_unit_test(a_quick_one_waits_for_nobody),
                cmocka_unit_test(what_took_very_long_is_not_waited_for_as_long),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
