/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_items.c -- object/items.c
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <objd.h>

#include "object/op.h"
#include "object/value.h"
#include "support/fault.h"
#include "support/random.h"

static const char *program;

/* Adds a pair as an operation does: from encoded bytes, 8-byte aligned. NULL for no key. */
static objd_status add(struct items_builder *builder, const objd_value *key, const objd_value *value)
{
        uint64_t key_bytes[64], value_bytes[64];

        if (key)
                value_encode(key, key_bytes);
        value_encode(value, value_bytes);
        return items_add(builder, key ? key->type : OBJD_ANY, key ? key_bytes : NULL,
                         key ? value_encoded_size(key) : 0, value->type, value_bytes,
                         value_encoded_size(value));
}

static void no_items_become_an_empty_answer(void **state)
{
        struct items_builder builder = { 0 };
        objd_items *items = NULL;

        (void)state;
        assert_int_equal(items_finish(&builder, &items), OBJD_OK);
        assert_non_null(items);
        assert_int_equal(items->len, 0);
        objd_items_free(items);
        objd_items_free(NULL);
        items_discard(&builder);
}

static void pairs_come_out_in_the_order_they_went_in(void **state)
{
        struct items_builder builder = { 0 };
        objd_items *items;
        char text[32];

        (void)state;
        for (int i = 0; i < 1000; i++) {
                objd_value key = objd_int(i), value;

                (void)snprintf(text, sizeof(text), "value %d", i);
                value = objd_cstr(text);
                assert_int_equal(add(&builder, &key, &value), OBJD_OK);
        }
        assert_int_equal(items_finish(&builder, &items), OBJD_OK);

        assert_int_equal(items->len, 1000);
        for (int i = 0; i < 1000; i++) {
                objd_value key = objd_int(i), value;

                (void)snprintf(text, sizeof(text), "value %d", i);
                value = objd_cstr(text);
                assert_true(objd_value_equal(&items->item[i].key, &key));
                assert_true(objd_value_equal(&items->item[i].value, &value));
                assert_true(items->item[i].found);
                assert_true(((uintptr_t)items->item[i].value.data & 7) == 0);
        }
        objd_items_free(items);
}

static void items_without_keys_say_so(void **state)
{
        struct items_builder builder = { 0 };
        objd_value value = objd_bytes("abc", 3);
        objd_items *items;

        (void)state;
        assert_int_equal(add(&builder, NULL, &value), OBJD_OK);
        assert_int_equal(items_finish(&builder, &items), OBJD_OK);
        assert_int_equal(items->item[0].key.type, OBJD_ANY);
        assert_null(items->item[0].key.data);
        assert_int_equal(items->item[0].key.size, 0);
        assert_true(objd_value_equal(&items->item[0].value, &value));
        objd_items_free(items);
}

static void what_was_not_found_has_a_place_too(void **state)
{
        struct items_builder builder = { 0 };
        objd_value value = objd_int(5);
        objd_items *items;

        (void)state;
        assert_int_equal(items_add_missing(&builder), OBJD_OK);
        assert_int_equal(add(&builder, NULL, &value), OBJD_OK);
        assert_int_equal(items_add_missing(&builder), OBJD_OK);
        assert_int_equal(items_finish(&builder, &items), OBJD_OK);
        assert_int_equal(items->len, 3);
        assert_false(items->item[0].found);
        assert_int_equal(items->item[0].value.type, OBJD_NIL);
        assert_true(items->item[1].found);
        assert_false(items->item[2].found);
        objd_items_free(items);
}

static void empty_values_point_somewhere(void **state)
{
        struct items_builder builder = { 0 };
        objd_value empty = objd_cstr("");
        objd_items *items;

        (void)state;
        assert_int_equal(add(&builder, &empty, &empty), OBJD_OK);
        assert_int_equal(items_finish(&builder, &items), OBJD_OK);
        assert_non_null(items->item[0].key.data);
        assert_non_null(items->item[0].value.data);
        assert_int_equal(items->item[0].value.size, 0);
        objd_items_free(items);
}

static void cutting_forgets_the_last_and_keeps_the_first(void **state)
{
        struct items_builder builder = { 0 };
        objd_items *items;

        (void)state;
        for (int i = 0; i < 10; i++) {
                objd_value key = objd_int(i), value = objd_cstr("some text");

                assert_int_equal(add(&builder, &key, &value), OBJD_OK);
        }
        items_cut(&builder, 20); /* more than there are: nothing happens */
        assert_int_equal(builder.len, 10);
        items_cut(&builder, 3);
        assert_int_equal(builder.used, 3 * (8 + 16));
        for (int i = 3; i < 5; i++) {
                objd_value key = objd_int(i * 100), value = objd_cstr("other");

                assert_int_equal(add(&builder, &key, &value), OBJD_OK);
        }
        assert_int_equal(items_finish(&builder, &items), OBJD_OK);
        assert_int_equal(items->len, 5);
        for (int i = 0; i < 5; i++) {
                objd_value key = objd_int(i < 3 ? i : i * 100),
                           value = objd_cstr(i < 3 ? "some text" : "other");

                assert_true(objd_value_equal(&items->item[i].key, &key));
                assert_true(objd_value_equal(&items->item[i].value, &value));
        }
        objd_items_free(items);
}

static void cutting_all_begins_anew(void **state)
{
        struct items_builder builder = { 0 };
        objd_value value = objd_int(1);
        objd_items *items;

        (void)state;
        items_cut(&builder, 0);
        assert_int_equal(add(&builder, NULL, &value), OBJD_OK);
        items_cut(&builder, 0);
        assert_int_equal(builder.used, 0);
        assert_int_equal(items_finish(&builder, &items), OBJD_OK);
        assert_int_equal(items->len, 0);
        objd_items_free(items);
}

static void finishing_empties_the_builder(void **state)
{
        struct items_builder builder = { 0 };
        objd_value value = objd_int(1);
        objd_items *first, *second;

        (void)state;
        assert_int_equal(add(&builder, NULL, &value), OBJD_OK);
        assert_int_equal(items_finish(&builder, &first), OBJD_OK);
        value = objd_int(2);
        assert_int_equal(add(&builder, NULL, &value), OBJD_OK);
        assert_int_equal(items_finish(&builder, &second), OBJD_OK);
        assert_true(first->item[0].value.u.integer == 1);
        assert_true(second->item[0].value.u.integer == 2);
        objd_items_free(first);
        objd_items_free(second);
}

static void damaged_items_are_noticed_at_the_end(void **state)
{
        uint64_t junk[2] = { UINT64_MAX, UINT64_MAX };
        struct items_builder builder = { 0 };
        objd_value value = objd_int(1);
        objd_items *items = NULL;

        (void)state;
        assert_int_equal(add(&builder, &value, &value), OBJD_OK);
        assert_int_equal(items_add(&builder, OBJD_INT, junk, 8, OBJD_MESSAGE, junk, 16), OBJD_OK);
        assert_int_equal(items_finish(&builder, &items), OBJD_E_CORRUPT);
        assert_null(items);
        items_discard(&builder);

        assert_int_equal(items_add(&builder, OBJD_BOOL, junk, 8, OBJD_INT, junk, 8), OBJD_OK);
        assert_int_equal(items_finish(&builder, &items), OBJD_E_CORRUPT);
        items_discard(&builder);
        items_discard(&builder);
}

static void a_size_that_no_value_has_is_refused_unread(void **state)
{
        struct items_builder builder = { 0 };
        uint64_t word = 0;

        (void)state;
        assert_int_equal(items_add(&builder, OBJD_ANY, NULL, 0, OBJD_BYTES, &word, UINT64_MAX),
                         OBJD_E_CORRUPT);
        assert_int_equal(items_add(&builder, OBJD_BYTES, &word, UINT64_MAX - 7, OBJD_BYTES, &word, 8),
                         OBJD_E_CORRUPT);
        assert_int_equal(items_add(&builder, OBJD_ANY, NULL, 0, OBJD_BYTES, &word, VALUE_ENCODED_MAX + 1),
                         OBJD_E_CORRUPT);
        assert_int_equal(builder.len, 0);
        items_discard(&builder);
}

/* Everything an answer needs, with each allocation failing in turn: the call fails cleanly or the answer is whole. */
static void build_with_failures(enum fault_mode mode)
{
        for (unsigned n = 1; fault_begin(n, mode); n++) {
                struct items_builder builder = { 0 };
                objd_items *items = NULL;
                objd_status r = OBJD_OK;

                for (int i = 0; r == OBJD_OK && i < 100; i++) {
                        objd_value key = objd_int(i), value = objd_cstr("a value of some length");

                        r = add(&builder, &key, &value);
                }
                if (r == OBJD_OK)
                        r = items_finish(&builder, &items);
                fault_end();

                assert_int_equal(r, fault.n_failed ? OBJD_E_NOMEM : OBJD_OK);
                assert_true((items != NULL) == (r == OBJD_OK));
                if (items)
                        assert_int_equal(items->len, 100);
                items_discard(&builder);
                objd_items_free(items);
        }
}

static void each_allocation_may_fail(void **state)
{
        (void)state;
        build_with_failures(FAULT_ONCE);
        build_with_failures(FAULT_FROM_THEN_ON);
}

/* An add that has failed has added nothing, and the next one may succeed. */
static void adding_goes_on_after_a_failure(void **state)
{
        (void)state;
        for (unsigned n = 1; fault_begin(n, FAULT_ONCE); n++) {
                struct items_builder builder = { 0 };
                objd_items *items;

                for (int i = 0; i < 100; i++) {
                        objd_value value = objd_int(i);

                        if (add(&builder, NULL, &value) != OBJD_OK)
                                assert_int_equal(add(&builder, NULL, &value), OBJD_OK);
                }
                fault_end();
                assert_int_equal(items_finish(&builder, &items), OBJD_OK);
                assert_int_equal(items->len, 100);
                for (int i = 0; i < 100; i++)
                        assert_true(items->item[i].value.u.integer == i);
                objd_items_free(items);
        }
}

/* Random adds and cuts against a plain list of numbers and sizes. */
static void random_adds_and_cuts_agree_with_a_plain_list(void **state)
{
        struct random random = random_begin(program);
        struct {
                int64_t key;
                size_t size;
                uint8_t byte;
        } model[200];

        (void)state;
        for (int round = 0; round < 300; round++) {
                struct items_builder builder = { 0 };
                size_t len = 0;
                objd_items *items;

                for (int step = 0; step < 150; step++) {
                        uint8_t bytes[200];
                        objd_value key, value;

                        if (random_below(&random, 10) == 0) {
                                len = random_below(&random, len + 1);
                                items_cut(&builder, len);
                                continue;
                        }
                        model[len].key = (int64_t)random_next(&random);
                        model[len].size = random_below(&random, sizeof(bytes));
                        model[len].byte = (uint8_t)random_next(&random);
                        memset(bytes, model[len].byte, sizeof(bytes));
                        key = objd_int(model[len].key);
                        value = objd_bytes(bytes, model[len].size);
                        assert_int_equal(add(&builder, &key, &value), OBJD_OK);
                        len++;
                }
                assert_int_equal(items_finish(&builder, &items), OBJD_OK);
                assert_int_equal(items->len, len);
                for (size_t i = 0; i < len; i++) {
                        const objd_value *value = &items->item[i].value;

                        assert_true(items->item[i].key.u.integer == model[i].key);
                        assert_int_equal(value->size, model[i].size);
                        for (size_t j = 0; j < value->size; j++)
                                assert_int_equal(((const uint8_t *)value->data)[j], model[i].byte);
                }
                objd_items_free(items);
        }
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_items_become_an_empty_answer),
                cmocka_unit_test(pairs_come_out_in_the_order_they_went_in),
                cmocka_unit_test(items_without_keys_say_so),
                cmocka_unit_test(what_was_not_found_has_a_place_too),
                cmocka_unit_test(empty_values_point_somewhere),
                cmocka_unit_test(cutting_forgets_the_last_and_keeps_the_first),
                cmocka_unit_test(cutting_all_begins_anew),
                cmocka_unit_test(finishing_empties_the_builder),
                cmocka_unit_test(damaged_items_are_noticed_at_the_end),
                cmocka_unit_test(a_size_that_no_value_has_is_refused_unread),
                cmocka_unit_test(each_allocation_may_fail),
                cmocka_unit_test(adding_goes_on_after_a_failure),
                cmocka_unit_test(random_adds_and_cuts_agree_with_a_plain_list),
        };

        program = argc ? argv[0] : "test-items";
        return cmocka_run_group_tests(tests, NULL, NULL);
}
