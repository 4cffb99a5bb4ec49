/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_list_damage.c -- object/list*.c: what is read of a damaged list, and walks
 */

#include "object/list.h"
#include "support/inside.h"
#include "support/lists.h"
#include "support/random.h"
#include "support/test.h"

static char text[4 << 20]; /* what large values are made of */

struct walked {
        int64_t n;
        int64_t stop; /* where the walk is to be ended; -1 nowhere */
};

static objd_status count_walked(void *context, const objd_value *key, const objd_value *value)
{
        struct walked *walked = context;

        assert_null(key);
        assert_int_equal(value->u.integer, walked->n);
        return walked->n++ == walked->stop ? OBJD_E_TIMEOUT : OBJD_OK;
}

static void walk_is_limited_and_can_be_ended(void **state)
{
        objd_object *list = new_list(*state);
        struct walked walked = { 0, -1 };

        append_ints(list, 0, 1000);
        assert_ok(list_kind.walk(list, UINT64_MAX, count_walked, &walked));
        assert_int_equal(walked.n, 1000);
        walked = (struct walked){ 0, -1 };
        assert_ok(list_kind.walk(list, 300, count_walked, &walked));
        assert_int_equal(walked.n, 300);
        walked = (struct walked){ 0, 200 };
        assert_status(list_kind.walk(list, UINT64_MAX, count_walked, &walked), OBJD_E_TIMEOUT);
        assert_int_equal(walked.n, 201);
        free_list(list);
}

/* ---- Damage ------------------------------------------------------------------------------------------- */

/* Every call comes back, and those that meet the damage say so. */
static void call_everything(objd_object *list)
{
        objd_value value = objd_int(3), taken;
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;
        uint64_t n;

        (void)objd_list_len(list, &n);
        for (int64_t i = -2000; i < 2000; i += 37)
                (void)objd_list_get(list, i, &taken, &buf);
        if (objd_list_slice(list, 0, OBJD_LIST_END, &items) == OBJD_OK)
                objd_items_free(items);
        (void)objd_list_count(list, &value, &n);
        objd_buf_free(&buf);
}

/* Puts a wrong word into the list, sees that it is noticed, and puts the right one back. */
static void assert_noticed(objd_conn *conn, objd_object *list, uint64_t *word, uint64_t wrong)
{
        uint64_t right = *word, n = 0;
        objd_value value = objd_float(3);
        objd_status r;

        *word = wrong;
        call_everything(list);
        r = objd_list_remove(list, &value);
        assert_true(r == OBJD_E_CORRUPT || r == OBJD_E_NOTFOUND);
        r = objd_list_count(list, &value, &n);
        assert_true(r == OBJD_E_CORRUPT || r == OBJD_OK);
        assert_true(inside_faults(conn) > 0);
        *word = right;
}

static void damage_is_noticed_and_survived(void **state)
{
        objd_object *list = new_list(*state);
        struct arena *arena = list->conn->arena;
        uint64_t *root = list->shm->line.root;
        struct list_node_shm *node;
        struct list_leaf_shm *leaf;

        append_ints(list, 0, 2000);
        node = (struct list_node_shm *)(arena->base + root[LIST_TREE]);
        leaf = (struct list_leaf_shm *)(arena->base + root[LIST_LAST]);
        for (uint32_t i = LIST_LEN; i <= LIST_LAST; i++) {
                assert_noticed(*state, list, &root[i], root[i] + 1);
                assert_noticed(*state, list, &root[i], ~0ULL);
                assert_noticed(*state, list, &root[i], 1ULL << 40);
        }
        assert_noticed(*state, list, &root[LIST_TREE], root[LIST_LAST]);
        assert_noticed(*state, list, &root[LIST_TREE], 0);
        assert_noticed(*state, list, &node->state, node->state + 1);
        assert_noticed(*state, list, &node->state, node->state | 0xffff);
        assert_noticed(*state, list, &node->entry[1].start, node->entry[1].start + 1);
        assert_noticed(*state, list, &node->entry[1].start, ~0ULL);
        assert_noticed(*state, list, &node->entry[1].child, node->entry[0].child);
        assert_noticed(*state, list, &node->entry[1].child, root[LIST_TREE]);
        assert_noticed(*state, list, &node->entry[1].child, ~7ULL);
        assert_noticed(*state, list, &leaf->state, 0);
        assert_noticed(*state, list, &leaf->state, leaf->state - 1);
        assert_noticed(*state, list, &leaf->state, leaf->state | 0x7ff);
        assert_noticed(*state, list, &leaf->table[2], leaf->table[3]);
        assert_noticed(*state, list, &leaf->table[2], ~0ULL);
        assert_noticed(*state, list, &leaf->table[2], 0);
        assert_item(list, 1999, objd_int(1999));
        append(list, objd_int(2000));
        free_list(list);
}

/*
 * A word of the list: of its root, or of a leaf or node, but not of a chunk's head, which is the pool's. Chosen while the list
 * is sound.
 */
static uint64_t *random_word(objd_object *list, struct random *random)
{
        struct arena *arena = list->conn->arena;
        uint64_t *root = list->shm->line.root;

        switch (random_below(random, 4)) {
        case 0:
                return &root[random_below(random, 4)];
        case 1:
                return (uint64_t *)(arena->base + root[LIST_TREE]) + 4 +
                       random_below(random, random_below(random, 2) ? 2 : 20);
        default:
                return (uint64_t *)(arena->base + root[LIST_LAST]) + 4 +
                       random_below(random, random_below(random, 2) ? 6 : 1020);
        }
}

static uint64_t random_wrong(struct random *random, uint64_t right)
{
        switch (random_below(random, 4)) {
        case 0:
                return right ^ 1ULL << random_below(random, 64);
        case 1:
                return right + random_below(random, 64) - 32;
        case 2:
                return random_next(random) >> random_below(random, 64);
        default:
                return random_below(random, 2) ? 0 : ~0ULL;
        }
}

/* The operations that change a damaged list: whatever they say, they come back. */
static void change_everything(objd_object *list, struct random *random)
{
        objd_value value = objd_bytes(text, random_below(random, 3000)), taken;
        objd_buf buf = OBJD_BUF_INIT;

        for (int i = 0; i < 20; i++) {
                int64_t index = (int64_t)random_below(random, 2000);

                (void)objd_list_append(list, &value);
                (void)objd_list_prepend(list, &value);
                (void)objd_list_insert(list, index, &value);
                (void)objd_list_set(list, index, &value);
                (void)objd_list_del(list, index);
                (void)objd_list_pop(list, i % 2 ? -1 : 0, &taken, &buf);
                (void)objd_list_slice_del(list, index, index + 30);
        }
        (void)objd_list_sort(list, false);
        (void)objd_list_reverse(list);
        (void)objd_list_slice_del(list, 5, -5);
        (void)objd_list_clear(list);
        objd_buf_free(&buf);
}

static void random_damage_crashes_nothing(void **state)
{
        struct random random = random_begin("test-list");

        (void)state;
        for (int round = 0; round < 150; round++) {
                uint64_t *words[3];
                objd_object *list;
                objd_conn *conn;

                assert_ok(objd_connect("embedded:4M", &conn));
                list = new_list(conn);
                for (int64_t i = 0; i < 1600; i++)
                        append(list, i % 50 ? objd_int(i) : objd_bytes(text, 4000));
                for (size_t i = 0; i < 3; i++)
                        words[i] = random_word(list, &random);
                for (size_t i = random_below(&random, 3); i < 3; i++)
                        *words[i] = random_wrong(&random, *words[i]);
                call_everything(list);
                change_everything(list, &random);
                objd_release(list);
                objd_close(conn);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(walk_is_limited_and_can_be_ended),
                INSIDE_TEST(damage_is_noticed_and_survived),
                INSIDE_TEST(random_damage_crashes_nothing),
        };

        for (size_t i = 0; i < sizeof(text); i++)
                text[i] = (char)(i * 31 + i / 251);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
