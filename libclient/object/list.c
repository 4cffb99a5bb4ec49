/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list.c -- the list kind: its entry in the table of kinds, and its operations
 *
 * A list is a tree that counts: leaves of up to 8 KiB hold the items in order (list_leaf.c), nodes above them say at
 * which item each child starts (list_tree.c). The object's own line is the only lock; its root words hold the length, the top of
 * the tree, its height, and the last leaf. A short list is one leaf of 256 bytes, which is made anew and
 * larger as it fills.
 *
 *   get        interpolates in each node, then reads the leaf's table: O(log n), three levels at ten million items
 *   append     fills the last leaf's gap and notes two words; the nodes do not count their last child, so they stay
 *   prepend    the same in the first leaf, whose table is filled from behind, and one word in each node
 *   insert     moves half of a leaf's table at most, and half of each node's numbers on the way; never a value
 *   delete     the same; a leaf that is nearly empty is joined with its neighbour
 *   slice_del  cuts two leaves, and frees whatever is between them whole
 *   reverse    turns the children of each node round and flips a bit in each leaf
 *   sort       fills new leaves beside the old ones
 *
 * A value over LIST_INLINE_MAX has a chunk of its own, and its leaf that chunk's offset.
 *
 * Readers (list_read.c) take no lock. Everything they follow they check against the version first.
 */

#include "object/list.h"

#include <stdlib.h>

#include "object/check.h"

objd_status list_corrupt(const struct list *list, const char *what)
{
        return fail(OBJD_E_CORRUPT, "list %s: %s is damaged", object_label(list->object), what);
}

objd_status list_out_of_range(const struct objd_object *object, int64_t index, uint64_t len)
{
        return fail(OBJD_E_RANGE, "list %s: there is no item %lld, it has %llu", object_label(object),
                    (long long)index, (unsigned long long)len);
}

void list_open(struct list *list, struct lane *lane, struct objd_object *object)
{
        *list = (struct list){
                .lane = lane,
                .arena = lane->arena,
                .object = object,
                .shm = object->shm,
                .root = object->shm->line.root,
                .gap_is_fresh = !lane->shm->log.used,
        };
}

static objd_status check_config(const objd_config *config)
{
        if (config->key_type || config->order || config->bound || config->lock_flags)
                return fail(OBJD_E_INVAL,
                            "a list has a value type, and no key type, order, bound or lock flags");
        return OBJD_OK;
}

static objd_status create(struct lane *lane, struct object_shm *object, const objd_config *config)
{
        (void)lane;
        (void)config;
        for (uint32_t i = 0; i < 5; i++)
                word_set(&object->line.root[i], 0);
        return OBJD_OK;
}

static objd_status plan_destroy(struct lane *lane, struct object_shm *object, struct plan *plan)
{
        (void)lane;
        (void)object;
        (void)plan;
        return OBJD_OK;
}

/* All of a list is in its chunks, which go with its slot. */
static objd_status destroy(struct lane *lane, struct object_shm *object)
{
        (void)lane;
        (void)object;
        return OBJD_OK;
}

static void get_config(const struct object_shm *object, objd_config *ret_config)
{
        (void)object;
        (void)ret_config;
}

static objd_status plan(struct lane *lane, struct op *op, struct plan *plan)
{
        (void)lane;
        return plan_add(plan, &op->object->shm->line);
}

/* ---- Operations -------------------------------------------------------------------------------------- */

static objd_status resolve(const struct list *list, int64_t index, uint64_t *ret_index)
{
        uint64_t len = word_get(&list->root[LIST_LEN]);
        objd_status r = list_resolve(index, len, ret_index);

        return r ? list_out_of_range(list->object, index, len) : OBJD_OK;
}

static objd_status apply_insert(struct list *list, struct op *op)
{
        return list_insert(list, list_clip(op->index, word_get(&list->root[LIST_LEN])), op->value);
}

static objd_status apply_at_index(struct list *list, struct op *op)
{
        uint64_t index = 0;
        objd_status r = resolve(list, op->index, &index);

        if (r)
                return r;
        if (op->code == OP_LIST_SET)
                return list_replace(list, index, op->value);
        if (op->code == OP_LIST_GET || op->code == OP_LIST_POP) {
                r = list_locked_get(list, index, &op->result, op->buf);
                if (r)
                        return r;
        }
        return op->code == OP_LIST_GET ? OBJD_OK : list_delete(list, index);
}

static objd_status apply_remove(struct list *list, struct op *op)
{
        uint64_t index;
        objd_status r = list_locked_index(list, op->value, &index);

        return r ? r : list_delete(list, index);
}

static objd_status apply_slice_del(struct list *list, struct op *op)
{
        uint64_t len = word_get(&list->root[LIST_LEN]);
        uint64_t start = list_clip(op->index, len), stop = list_clip(op->stop, len);

        return start < stop ? list_slice_del(list, start, stop) : OBJD_OK;
}

static objd_status apply(struct lane *lane, struct op *op)
{
        struct list list;

        list_open(&list, lane, op->object);
        /* Each item has a word in a table, so more items than words are a sign of damage, and would be loops without end. */
        if (word_get(&list.root[LIST_LEN]) > list.arena->n_blocks << (BLOCK_SHIFT - 3))
                return list_corrupt(&list, "its length");
        switch (op->code) {
        case OP_LIST_APPEND:
                return list_insert(&list, word_get(&list.root[LIST_LEN]), op->value);
        case OP_LIST_PREPEND:
                return list_insert(&list, 0, op->value);
        case OP_LIST_EXTEND:
                return list_extend(&list, op->value, op->n);
        case OP_LIST_INSERT:
                return apply_insert(&list, op);
        case OP_LIST_SET:
        case OP_LIST_GET:
        case OP_LIST_DEL:
        case OP_LIST_POP:
                return apply_at_index(&list, op);
        case OP_LIST_REMOVE:
                return apply_remove(&list, op);
        case OP_LIST_SLICE_DEL:
                return apply_slice_del(&list, op);
        case OP_LIST_CLEAR:
                return list_clear(&list);
        case OP_LIST_REVERSE:
                return tree_reverse(&list);
        case OP_LIST_SORT:
                return list_sort(&list, op->u.descending);
        default:
                return fail(OBJD_E_KIND, "list %s: no operation of a list", object_label(op->object));
        }
}

static objd_status get_state(struct lane *lane, struct objd_object *object, struct object_state *ret_state)
{
        (void)lane;
        *ret_state = (struct object_state){ .len = word_get(&object->shm->line.root[LIST_LEN]) };
        return OBJD_OK;
}

const struct kind list_kind = {
        .kind = OBJD_LIST,
        .name = "list",
        .check_config = check_config,
        .create = create,
        .plan_destroy = plan_destroy,
        .destroy = destroy,
        .plan = plan,
        .apply = apply,
        .len = list_len,
        .get_config = get_config,
        .walk = list_walk,
        .get_state = get_state,
        .visit = list_visit,
        .check = list_check,
        .salvage = list_salvage,
};
