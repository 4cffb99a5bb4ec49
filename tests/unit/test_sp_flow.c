/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_sp_flow.c -- the count of what is on its way to a client of ipc: and tcp:, also where its numbers begin again
 */

#include "proxy/sp_flow.h"
#include "support/test.h"

#define MOST 1000u

/* Sends as much as there is room for, in messages of that size, and gives how many there were. */
static uint32_t fill(struct sp_flow *flow, size_t size)
{
        uint32_t n = 0;

        while (sp_flow_has_room(flow, size, MOST)) {
                sp_flow_sent(flow, size);
                n++;
        }
        return n;
}

static void room_comes_back_with_what_was_got(void **state)
{
        struct sp_flow flow = { 0 };

        (void)state;
        assert_int_equal(fill(&flow, 300), 3);
        assert_int_equal(flow.under_way, 900);
        sp_flow_acked(&flow, SP_FLOW_BIT | 2);
        assert_int_equal(flow.under_way, 300);
        sp_flow_acked(&flow, SP_FLOW_BIT | 1); /* late */
        sp_flow_acked(&flow, SP_FLOW_BIT | 4); /* of another connection */
        assert_int_equal(flow.under_way, 300);
        assert_int_equal(fill(&flow, 300), 2);
        sp_flow_acked(&flow, sp_flow_word(&flow));
        assert_int_equal(flow.under_way, 0);
        assert_int_equal(fill(&flow, MOST + 1), 1); /* however large, one goes */
        sp_flow_acked(&flow, sp_flow_word(&flow));
        assert_int_equal(fill(&flow, 0), SP_MESSAGES_UNDER_WAY);
}

/* A client has the lower 31 bits of what it got last, whatever came before. */
static void numbers_begin_again(uint32_t n_sent)
{
        struct sp_flow flow = { .n_sent = n_sent, .n_acked = n_sent };

        for (int i = 0; i < 4; i++) {
                assert_int_equal(fill(&flow, 10), SP_MESSAGES_UNDER_WAY);
                sp_flow_acked(&flow, (sp_flow_word(&flow) - 24) | SP_FLOW_BIT);
                assert_int_equal(flow.under_way, 240);
                sp_flow_acked(&flow, (sp_flow_word(&flow) + 1) | SP_FLOW_BIT);
                assert_int_equal(flow.under_way, 240);
                sp_flow_acked(&flow, sp_flow_word(&flow));
                assert_int_equal(flow.under_way, 0);
        }
        assert_int_equal(flow.n_sent, n_sent + 4 * SP_MESSAGES_UNDER_WAY);
}

static void numbers_begin_again_after_31_bits(void **state)
{
        (void)state;
        numbers_begin_again((1u << 31) - 100);
}

static void counts_begin_again_after_32_bits(void **state)
{
        (void)state;
        numbers_begin_again(UINT32_MAX - 100);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(room_comes_back_with_what_was_got),
                cmocka_unit_test(numbers_begin_again_after_31_bits),
                cmocka_unit_test(counts_begin_again_after_32_bits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
