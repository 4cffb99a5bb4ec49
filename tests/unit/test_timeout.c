/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_timeout.c -- objd_next_timeout() is for the next call: for all of its steps, and for no other call
 *
 * Somebody lives and holds a line. The connection's time-out is long, so that a step which does not know of the next call's
 * own would wait for a minute.
 */

#include <setjmp.h>
#include <signal.h>

#include "support/hold.h"
#include "support/inside.h"
#include "support/test.h"

#define MINUTE 60000000000LL
#define SOON 100000000LL

static struct hold hold_of(objd_object *object)
{
        return (struct hold){ .arena = object->conn->arena, .line = &object->shm->line };
}

static objd_object *setup(void **state)
{
        assert_ok(objd_set_timeout(*state, MINUTE));
        return inside_dict(*state, "dict");
}

static objd_status set(objd_object *dict)
{
        objd_value key = objd_int(1);

        return objd_dict_set(dict, &key, &key);
}

/* The connection's own time-out holds again: who is held up for a moment waits for it. */
static void expect_patience(objd_object *dict)
{
        struct hold hold = hold_of(dict);

        hold.for_ns = SOON;
        hold_begin(&hold);
        assert_ok(set(dict));
        hold_end(&hold);
}

/* The call gives up at once, though what it needs is held in one of its later steps. */
#define EXPECT_BUSY(object, call)                                   \
        do {                                                        \
                struct hold hold = hold_of(object);                 \
                int64_t start_ns = test_now_ns();                   \
                                                                    \
                hold_begin(&hold);                                  \
                objd_next_timeout(OBJD_NOWAIT);                     \
                assert_status((call), OBJD_E_BUSY);                 \
                hold_end(&hold);                                    \
                assert_true(test_now_ns() - start_ns < MINUTE / 2); \
        } while (0)

static void it_covers_every_step_of_a_call(void **state)
{
        objd_object *dict = setup(state), *names = NULL, *other = NULL;
        struct objd_object of_names;
        objd_items *items = NULL;
        objd_value key = objd_int(1);
        objd_info *infos = NULL;
        objd_pin *pin = NULL;
        size_t n;

        of_names = *dict;
        of_names.shm = (struct object_shm *)(dict->conn->arena->base + dict->conn->arena->header->names);
        names = &of_names;
        assert_ok(set(dict));
        EXPECT_BUSY(dict, set(dict));
        EXPECT_BUSY(dict, objd_delete(*state, "dict"));
        EXPECT_BUSY(dict, objd_set_name(dict, "other"));
        EXPECT_BUSY(dict, objd_destroy(dict));
        EXPECT_BUSY(dict, objd_dict_copy(dict, &items));
        EXPECT_BUSY(dict, objd_dict_get_many(dict, &key, 1, &items));
        EXPECT_BUSY(dict, objd_dict_pin(dict, &key, &key, &pin));
        EXPECT_BUSY(names, objd_open(*state, "dict", OBJD_DICT, &other));
        EXPECT_BUSY(names, objd_open_or_create(*state, "new", OBJD_DICT, NULL, &other));
        EXPECT_BUSY(names, objd_create(*state, "new", OBJD_DICT, NULL, &other));
        EXPECT_BUSY(names, objd_list(*state, NULL, &infos, &n));
        expect_patience(dict);
        objd_release(dict);
}

static void a_call_that_needed_no_wait_uses_it_up(void **state)
{
        objd_object *dict = setup(state), *other = NULL;
        objd_items *items = NULL;
        objd_stats stats;
        uint64_t n;

        objd_next_timeout(OBJD_NOWAIT);
        assert_ok(set(dict));
        expect_patience(dict);
        objd_next_timeout(OBJD_NOWAIT);
        assert_ok(objd_dict_copy(dict, &items));
        objd_items_free(items);
        expect_patience(dict);
        objd_next_timeout(OBJD_NOWAIT);
        assert_ok(objd_open(*state, "dict", OBJD_DICT, &other));
        objd_release(other);
        expect_patience(dict);
        objd_next_timeout(OBJD_NOWAIT);
        assert_ok(objd_stats_get(*state, &stats));
        expect_patience(dict);
        objd_next_timeout(OBJD_NOWAIT);
        assert_ok(objd_dict_len(dict, &n));
        expect_patience(dict);
        objd_release(dict);
}

static void a_call_that_fails_for_its_arguments_uses_it_up(void **state)
{
        objd_object *dict = setup(state), *list, *other;
        objd_value key = objd_int(1), bad = objd_float(1.5);
        objd_items *items;

        assert_ok(objd_create(*state, "list", OBJD_LIST, NULL, &list));
        objd_next_timeout(OBJD_NOWAIT);
        assert_status(objd_dict_set(NULL, &key, &key), OBJD_E_INVAL);
        expect_patience(dict);
        objd_next_timeout(OBJD_NOWAIT);
        assert_status(objd_dict_set(list, &key, &key), OBJD_E_KIND);
        expect_patience(dict);
        objd_next_timeout(OBJD_NOWAIT);
        assert_status(objd_dict_set(dict, &bad, &key), OBJD_E_TYPE);
        expect_patience(dict);
        objd_next_timeout(OBJD_NOWAIT);
        assert_status(objd_open(*state, "", OBJD_DICT, &other), OBJD_E_INVAL);
        expect_patience(dict);
        objd_next_timeout(OBJD_NOWAIT);
        assert_status(objd_open(*state, "nobody", OBJD_DICT, &other), OBJD_E_NOTFOUND);
        expect_patience(dict);
        objd_next_timeout(OBJD_NOWAIT);
        assert_status(objd_dict_copy(NULL, &items), OBJD_E_INVAL);
        expect_patience(dict);
        objd_next_timeout(OBJD_NOWAIT);
        assert_status(objd_set_timeout(*state, -7), OBJD_E_INVAL);
        expect_patience(dict);
        objd_release(dict);
        objd_release(list);
}

static sigjmp_buf out;

static void jump(int signal_number)
{
        (void)signal_number;
        siglongjmp(out, 1);
}

/* A call of several steps that longjmp() has left is over. */
static void a_call_that_was_left_uses_it_up(void **state)
{
        objd_object *dict = setup(state);
        struct hold hold = hold_of(dict);
        objd_items *items;

        hold_begin(&hold);
        signal(SIGALRM, jump);
        if (sigsetjmp(out, 1) == 0) {
                objd_next_timeout(MINUTE / 2);
                alarm(1);
                (void)objd_dict_copy(dict, &items);
                fail_msg("the call came back");
        }
        signal(SIGALRM, SIG_DFL);
        hold_end(&hold);
        objd_next_timeout(OBJD_NOWAIT);
        assert_ok(set(dict));
        expect_patience(dict);
        objd_release(dict);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(it_covers_every_step_of_a_call),
                INSIDE_TEST(a_call_that_needed_no_wait_uses_it_up),
                INSIDE_TEST(a_call_that_fails_for_its_arguments_uses_it_up),
                INSIDE_TEST(a_call_that_was_left_uses_it_up),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
