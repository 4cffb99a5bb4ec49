/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_pin.c -- client/pin.c: what is pinned stays as it is, and nothing stays for longer than that
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "object/object.h"
#include "support/child.h"
#include "support/way.h"

#define BIG 50000
#define LARGE (3 << 20)

static uint8_t *bytes_of(uint8_t fill, size_t size)
{
        uint8_t *bytes = malloc(size);

        memset(bytes, fill, size);
        return bytes;
}

static void set(objd_object *dict, int64_t k, uint8_t fill, size_t size)
{
        uint8_t *bytes = bytes_of(fill, size);
        objd_value key = objd_int(k), value = objd_bytes(bytes, size);

        child_ok(objd_dict_set(dict, &key, &value));
        free(bytes);
}

static objd_pin *pin(objd_object *dict, int64_t k, objd_value *ret_value)
{
        objd_value key = objd_int(k);
        objd_pin *p = NULL;

        assert_ok(objd_dict_pin(dict, &key, ret_value, &p));
        return p;
}

static bool is_filled(const objd_value *value, uint8_t fill)
{
        const uint8_t *bytes = value->data;

        for (size_t i = 0; i < value->size; i++)
                if (bytes[i] != fill)
                        return false;
        return true;
}

/* Pins that stand in the arena; without a mapping they are copies. */
static void assert_pins(objd_object *dict, uint64_t n)
{
        if (way_is_handle())
                assert_int_equal(word_get(&dict->conn->arena->header->n_pins), n);
}

static bool points_into_arena(const objd_object *dict, const objd_value *value)
{
        const struct arena *arena = dict->conn->arena;

        return (const uint8_t *)value->data >= arena->base &&
               (const uint8_t *)value->data < arena->base + arena->mapped;
}

/* Takes what is free and fills it, so that memory that was given back too early is overwritten. */
static void use_free_memory(objd_conn *conn)
{
        objd_object *dict = way_dict(conn, NULL);

        for (int64_t i = 0; i < way_few(60, 8); i++)
                set(dict, i, 0xee, i % 4 ? BIG : LARGE);
        assert_ok(objd_destroy(dict));
        objd_release(dict);
}

static void big_values_are_not_copied_and_small_ones_are(void **state)
{
        objd_object *dict;
        objd_value value;
        objd_pin *p;

        way_needs_handle("without a mapping a pin is a copy");
        dict = way_dict(*state, NULL);
        set(dict, 1, 0x11, BIG);
        set(dict, 2, 0x22, 100);
        p = pin(dict, 1, &value);
        assert_true(points_into_arena(dict, &value));
        assert_int_equal((uintptr_t)value.data % 64, 0);
        assert_int_equal(value.size, BIG);
        assert_true(is_filled(&value, 0x11));
        objd_unpin(p);
        p = pin(dict, 2, &value);
        assert_false(points_into_arena(dict, &value));
        assert_int_equal(value.size, 100);
        assert_true(is_filled(&value, 0x22));
        assert_pins(dict, 0);
        set(dict, 2, 0x33, 100);
        assert_true(is_filled(&value, 0x22));
        objd_unpin(p);
        objd_unpin(NULL);
        objd_release(dict);
}

static void what_is_pinned_survives_all_that_happens_to_its_entry(void **state)
{
        static const size_t sizes[] = { BIG, LARGE };
        uint64_t before = way_used(*state);

        for (size_t i = 0; i < 2; i++)
                for (int how = 0; how < 4; how++) {
                        objd_object *dict = way_dict(*state, NULL);
                        objd_value key = objd_int(1), value;
                        objd_pin *p;

                        set(dict, 1, 0x11, sizes[i]);
                        p = pin(dict, 1, &value);
                        if (how == 0)
                                set(dict, 1, 0x22, sizes[i]);
                        else if (how == 1)
                                assert_ok(objd_dict_del(dict, &key));
                        else if (how == 2)
                                assert_ok(objd_dict_clear(dict));
                        else
                                assert_ok(objd_destroy(dict));
                        way_check(*state);
                        use_free_memory(*state);
                        assert_int_equal(value.size, sizes[i]);
                        assert_true(is_filled(&value, 0x11));
                        objd_unpin(p);
                        if (how < 3)
                                assert_ok(objd_destroy(dict));
                        objd_release(dict);
                        assert_int_equal(way_used(*state), before);
                }
}

static void two_pins_of_one_value_are_two(void **state)
{
        objd_object *dict = way_dict(*state, NULL);
        uint64_t before = way_used(*state);
        objd_value key = objd_int(1), a, b;
        objd_pin *p, *q;

        set(dict, 1, 0x11, BIG);
        p = pin(dict, 1, &a);
        q = pin(dict, 1, &b);
        if (way_is_handle())
                assert_ptr_equal(a.data, b.data);
        assert_ok(objd_dict_del(dict, &key));
        objd_unpin(p);
        use_free_memory(*state);
        assert_true(is_filled(&b, 0x11));
        objd_unpin(q);
        assert_int_equal(way_used(*state), before);
        assert_pins(dict, 0);
        objd_release(dict);
}

static void a_thread_has_64_pins(void **state)
{
        objd_object *dict = way_dict(*state, NULL);
        objd_value key = objd_int(1), value, nobody = objd_int(2);
        objd_pin *pins[LANE_PINS], *one = NULL;

        set(dict, 1, 0x11, BIG);
        assert_status(objd_dict_pin(dict, &nobody, &value, &one), OBJD_E_NOTFOUND);
        for (uint32_t i = 0; i < LANE_PINS; i++)
                pins[i] = pin(dict, 1, &value);
        if (way_is_handle()) /* copies are not counted */
                assert_status(objd_dict_pin(dict, &key, &value, &one), OBJD_E_LIMIT);
        assert_null(one);
        objd_unpin(pins[7]);
        pins[7] = pin(dict, 1, &value);
        assert_pins(dict, LANE_PINS);
        for (uint32_t i = 0; i < LANE_PINS; i++)
                objd_unpin(pins[i]);
        assert_pins(dict, 0);
        assert_status(objd_dict_pin(dict, NULL, &value, &one), OBJD_E_INVAL);
        assert_status(objd_dict_pin(NULL, &key, &value, &one), OBJD_E_INVAL);
        assert_ok(objd_destroy(dict));
        assert_status(objd_dict_pin(dict, &key, &value, &one), OBJD_E_GONE);
        assert_pins(dict, 0);
        objd_release(dict);
}

/* ---- Ends ----------------------------------------------------------------------------------------------- */

struct holder {
        objd_object *dict;
        struct gate pinned;
        objd_pin *pin;
};

static int pin_and_wait(void *context)
{
        struct holder *holder = context;
        objd_value key = objd_int(1), value;

        child_ok(objd_dict_pin(holder->dict, &key, &value, &holder->pin));
        gate_open(&holder->pinned, 1);
        pause();
        return 0;
}

static void pins_of_a_killed_process_are_released(void **state)
{
        struct holder holder = { .dict = way_dict(*state, NULL) };
        uint64_t before = way_used(*state);
        objd_value key = objd_int(1);
        pid_t pid;

        gate_init(&holder.pinned);
        set(holder.dict, 1, 0x11, LARGE);
        pid = child_start(pin_and_wait, &holder);
        gate_wait(&holder.pinned);
        assert_pins(holder.dict, 1);
        assert_ok(objd_dict_del(holder.dict, &key));
        if (way_is_handle())
                assert_true(way_used(*state) > before);
        way_kill(pid);
        way_check(*state); /* which recovers the dead first */
        assert_pins(holder.dict, 0);
        objd_unpin(
                pin((set(holder.dict, 2, 1, BIG), holder.dict), 2, &key)); /* the next unpin empties limbo */
        key = objd_int(2);
        assert_ok(objd_dict_del(holder.dict, &key));
        assert_int_equal(way_used(*state), before);
        gate_deinit(&holder.pinned);
        objd_release(holder.dict);
}

static void *pin_and_end(void *context)
{
        struct holder *holder = context;
        objd_value key = objd_int(1), value;

        child_ok(objd_dict_pin(holder->dict, &key, &value, &holder->pin));
        return NULL;
}

/* The pin ends with its thread; somebody else may free what is left of it, and that counts nothing off again. */
static void pins_end_with_their_thread(void **state)
{
        struct holder holder = { .dict = way_dict(*state, NULL) };
        objd_value value;
        pthread_t thread;
        objd_pin *own;

        set(holder.dict, 1, 0x11, BIG);
        own = pin(holder.dict, 1, &value);
        assert_int_equal(pthread_create(&thread, NULL, pin_and_end, &holder), 0);
        pthread_join(thread, NULL);
        assert_pins(holder.dict, 1);
        objd_unpin(holder.pin);
        assert_pins(holder.dict, 1);
        objd_unpin(own);
        assert_pins(holder.dict, 0);
        objd_release(holder.dict);
}

static int unpin_in_child(void *context)
{
        struct holder *holder = context;
        objd_unpin(holder->pin);
        return 0;
}

static void a_child_does_not_release_its_parents_pins(void **state)
{
        struct holder holder = { .dict = way_dict(*state, NULL) };
        objd_value value, key = objd_int(1);

        set(holder.dict, 1, 0x11, BIG);
        holder.pin = pin(holder.dict, 1, &value);
        child_expect_success(child_start(unpin_in_child, &holder));
        assert_pins(holder.dict, 1);
        assert_ok(objd_dict_del(holder.dict, &key));
        use_free_memory(*state);
        assert_true(is_filled(&value, 0x11));
        objd_unpin(holder.pin);
        objd_release(holder.dict);
}

/* ---- Races ---------------------------------------------------------------------------------------------- */

struct race {
        objd_object *dict;
        int stop;
};

/* Big and small values in turn, each filled with one byte. */
static void *replace(void *context)
{
        struct race *race = context;
        objd_value key = objd_int(1);

        for (uint8_t fill = 1; !__atomic_load_n(&race->stop, __ATOMIC_RELAXED); fill++) {
                if (fill % 8 == 0) {
                        objd_status r = objd_dict_del(race->dict, &key);

                        child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND);
                }
                set(race->dict, 1, fill, fill % 3 ? 4097 + 8 * (size_t)fill : fill % 2 ? 100 : 3000);
        }
        return NULL;
}

static void what_is_pinned_while_it_changes_is_one_value(void **state)
{
        struct race race = { .dict = way_dict(*state, NULL) };
        objd_value key = objd_int(1), value;
        int64_t end_ns = test_now_ns() + way_few(2000, 500) * 1000000;
        pthread_t threads[2];

        set(race.dict, 1, 0, 8);
        for (int i = 0; i < 2; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, replace, &race), 0);
        while (test_now_ns() < end_ns) {
                objd_pin *p;
                objd_status r = objd_dict_pin(race.dict, &key, &value, &p);
                uint8_t first;

                if (r == OBJD_E_NOTFOUND)
                        continue;
                assert_ok(r);
                assert_int_equal(value.type, OBJD_BYTES);
                first = *(const uint8_t *)value.data;
                for (int look = 0; look < 3; look++)
                        assert_true(is_filled(&value, first));
                objd_unpin(p);
        }
        __atomic_store_n(&race.stop, 1, __ATOMIC_RELAXED);
        for (int i = 0; i < 2; i++)
                pthread_join(threads[i], NULL);
        assert_pins(race.dict, 0);
        objd_release(race.dict);
}

/* Items of a list, by index from both ends; what is pinned stays though the item is replaced, popped, and the list sorted. */
static void items_of_a_list_are_pinned(void **state)
{
        static uint8_t big[50000];
        objd_value value = objd_bytes(big, sizeof(big)), small = objd_int(5), pinned[3], found;
        objd_pin *pin[3] = { NULL };
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *list;

        memset(big, 7, sizeof(big));
        assert_ok(objd_create(*state, "list", OBJD_LIST, NULL, &list));
        assert_ok(objd_list_append(list, &value));
        assert_ok(objd_list_append(list, &small));
        assert_ok(objd_list_append(list, &value));
        assert_ok(objd_list_pin(list, 0, &pinned[0], &pin[0]));
        assert_ok(objd_list_pin(list, 1, &pinned[1], &pin[1]));
        assert_ok(objd_list_pin(list, -1, &pinned[2], &pin[2]));
        assert_status(objd_list_pin(list, 3, &found, &pin[0]), OBJD_E_RANGE);
        assert_status(objd_list_pin(list, -4, &found, &pin[0]), OBJD_E_RANGE);

        assert_ok(objd_list_set(list, 0, &small));
        assert_ok(objd_list_pop(list, 2, &found, &buf));
        memset(big, 9, sizeof(big));
        for (int i = 0; i < 20; i++)
                assert_ok(objd_list_append(list, &value));
        assert_ok(objd_list_sort(list, true));
        assert_ok(objd_list_clear(list));
        memset(big, 7, sizeof(big));
        for (int i = 0; i < 3; i += 2) {
                assert_int_equal(pinned[i].size, sizeof(big));
                assert_memory_equal(pinned[i].data, big, sizeof(big));
        }
        assert_int_equal(pinned[1].u.integer, 5);
        for (int i = 0; i < 3; i++)
                objd_unpin(pin[i]);
        objd_buf_free(&buf);
        objd_release(list);
}

static void what_has_no_such_entries_cannot_be_pinned(void **state)
{
        objd_object *dict = way_dict(*state, "dict"), *list;
        objd_value key = objd_int(1), value;
        objd_pin *pin = NULL;

        assert_ok(objd_create(*state, "list", OBJD_LIST, NULL, &list));
        assert_sentence(objd_dict_pin(list, &key, &value, &pin), OBJD_E_KIND,
                        "objd_dict_pin: \"list\" is no dict");
        assert_sentence(objd_list_pin(dict, 0, &value, &pin), OBJD_E_KIND,
                        "objd_list_pin: \"dict\" is no list");
        assert_sentence(objd_dict_pin(dict, NULL, &value, &pin), OBJD_E_INVAL,
                        "objd_dict_pin: an argument is NULL");
        assert_sentence(objd_list_pin(list, 0, NULL, &pin), OBJD_E_INVAL,
                        "objd_list_pin: an argument is NULL");
        assert_null(pin);
        objd_release(dict);
        objd_release(list);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                WAY_TEST(items_of_a_list_are_pinned),
                WAY_TEST(what_has_no_such_entries_cannot_be_pinned),
                WAY_TEST(big_values_are_not_copied_and_small_ones_are),
                WAY_TEST(what_is_pinned_survives_all_that_happens_to_its_entry),
                WAY_TEST(two_pins_of_one_value_are_two),
                WAY_TEST(a_thread_has_64_pins),
                WAY_TEST(pins_of_a_killed_process_are_released),
                WAY_TEST(pins_end_with_their_thread),
                WAY_TEST(a_child_does_not_release_its_parents_pins),
                WAY_TEST(what_is_pinned_while_it_changes_is_one_value),
        };

        return way_run(argc, argv, tests);
}
