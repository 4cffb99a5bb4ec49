/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_tree.c -- the nodes of a list: from an index to a leaf, and what a leaf more or less means for the nodes above
 */

#include "object/list.h"

#include <string.h>

#include "mem/pool.h"

/* A leaf or node that is emptier than this looks for a neighbour to be joined with; the result is no fuller than that. */
#define SPARSE(max) ((max) / 4)
#define JOINED(max) ((max) / 4 * 3)

#define NODE_NOTES (sizeof(struct list_entry_shm) * NODE_MAX + 64)

/* A node in private memory: how many items are under each child, instead of where they start. */
struct image {
        uint32_t n;
        struct tree_leaf child[2 * NODE_MAX];
};

/* ---- Down -------------------------------------------------------------------------------------------- */

/* The first item under a child, and the first that is not, counted from the node's first. */
static void child_range(const struct list_node_shm *node, uint32_t n, uint32_t at, uint64_t total,
                        uint64_t *ret_from, uint64_t *ret_to)
{
        uint64_t zero = word_get(&node->entry[0].start);

        *ret_from = word_get(&node->entry[at].start) - zero;
        *ret_to = at + 1 < n ? word_get(&node->entry[at + 1].start) - zero : total;
}

objd_status tree_find(const struct list *list, uint64_t index, struct path *ret_path)
{
        uint64_t off = word_get(&list->root[LIST_TREE]), count = word_get(&list->root[LIST_LEN]);
        uint64_t height = word_get(&list->root[LIST_HEIGHT]);
        objd_status r;

        if (height > LIST_HEIGHT_MAX || (index >= count && (count || height)))
                return list_corrupt(list, "the root");
        ret_path->height = (uint32_t)height;
        for (uint32_t i = 0; i < height; i++) {
                struct list_node_shm *node;
                uint64_t from, to;
                uint32_t n, at;

                r = node_at(list, off, (uint32_t)height - i, &node, &n);
                if (r)
                        return r;
                at = node_search(node, n, index);
                child_range(node, n, at, count, &from, &to);
                if (index < from || index >= to || to > count)
                        return list_corrupt(list, "the counts of a node");
                ret_path->node[i] = node;
                ret_path->at[i] = at;
                ret_path->size[i] = count;
                index -= from;
                count = to - from;
                off = word_get(&node->entry[at].child);
        }
        ret_path->size[height] = count;
        ret_path->off = off;
        ret_path->k = (uint32_t)index;
        r = leaf_at(list, off, &ret_path->leaf, &ret_path->shape);
        if (r == OBJD_OK && ret_path->shape.n != count)
                return list_corrupt(list, "the count of a leaf");
        return r;
}

objd_status tree_shift(const struct list *list, const struct path *path, uint32_t height, uint64_t delta)
{
        struct list_entry_shm entry[NODE_MAX];
        objd_status r = OBJD_OK;

        if (!delta || !height)
                return OBJD_OK;
        r = txn_reserve(list->lane, (size_t)height * NODE_NOTES / 2, height);
        if (r)
                return r;
        while (height--) {
                struct list_node_shm *node = path->node[height];
                uint32_t n = node_n(word_get(&node->state), path->height - height), at = path->at[height];
                bool right = n - 1 - at <= at;
                uint32_t from = right ? at + 1 : 0, to = right ? n : at + 1;

                for (uint32_t i = from; i < to; i++) {
                        entry[i - from].start = word_get(&node->entry[i].start) + (right ? delta : -delta);
                        entry[i - from].child = word_get(&node->entry[i].child);
                }
                if (to == from + 1)
                        txn_set(list->lane, &node->entry[from].start, entry[0].start);
                else if (to > from)
                        txn_write(list->lane, &node->entry[from], entry, (to - from) * sizeof(*entry));
        }
        return OBJD_OK;
}

/* ---- Nodes in private memory ------------------------------------------------------------------------- */

static objd_status image_load(const struct list *list, const struct list_node_shm *node, uint32_t level,
                              uint64_t total, struct image *ret)
{
        uint32_t n = node_n(word_get(&node->state), level);
        uint64_t from, to;

        for (uint32_t i = 0; i < n; i++) {
                child_range(node, n, i, total, &from, &to);
                if (from >= to || to > total)
                        return list_corrupt(list, "the counts of a node");
                ret->child[i] = (struct tree_leaf){ word_get(&node->entry[i].child), to - from };
        }
        ret->n = n;
        return OBJD_OK;
}

static uint64_t image_total(const struct image *image)
{
        uint64_t total = 0;

        for (uint32_t i = 0; i < image->n; i++)
                total += image->child[i].count;
        return total;
}

static void image_splice(struct image *image, const struct change *change)
{
        struct tree_leaf *at = image->child + change->at;

        memmove(at + change->n_new, at + change->n_old,
                (image->n - change->at - change->n_old) * sizeof(*at));
        for (uint32_t i = 0; i < change->n_new; i++)
                at[i] = (struct tree_leaf){ change->put[i].off, change->put[i].count };
        image->n += change->n_new - change->n_old;
}

/* Writes the node's words that differ, as one stretch. */
static objd_status image_store(const struct list *list, struct list_node_shm *node, uint32_t level,
                               const struct image *image)
{
        struct list_entry_shm entry[NODE_MAX];
        uint64_t start = word_get(&node->entry[0].start), scale;
        uint32_t from = image->n, to = 0;
        objd_status r = txn_reserve(list->lane, NODE_NOTES, 3);

        if (r)
                return r;
        for (uint32_t i = 0; i < image->n; i++) {
                entry[i] = (struct list_entry_shm){ start, image->child[i].off };
                start += image->child[i].count;
                if (word_get(&node->entry[i].start) == entry[i].start &&
                    word_get(&node->entry[i].child) == entry[i].child)
                        continue;
                from = from < i ? from : i;
                to = i + 1;
        }
        if (from < to)
                txn_write(list->lane, &node->entry[from], entry + from, (to - from) * sizeof(*entry));
        if (word_get(&node->state) != node_state(level, image->n))
                txn_set(list->lane, &node->state, node_state(level, image->n));
        scale = node_scale(image->n, entry[image->n - 1].start - entry[0].start);
        if (word_get(&node->scale) != scale)
                txn_set(list->lane, &node->scale, scale);
        return OBJD_OK;
}

/* A new node, which nobody can reach yet. */
static objd_status node_new(const struct list *list, uint32_t level, const struct tree_leaf *child,
                            uint32_t n, uint64_t *ret_off)
{
        struct chunk_shm *chunk;
        struct list_node_shm *node;
        uint64_t start = 0;
        objd_status r = txn_take(list->lane, list->shm, sizeof(*node) - CHUNK_HEAD, &chunk);

        if (r)
                return r;
        node = (struct list_node_shm *)chunk;
        for (uint32_t i = 0; i < n; i++) {
                word_set(&node->entry[i].start, start);
                word_set(&node->entry[i].child, child[i].off);
                start += child[i].count;
        }
        word_set(&node->scale, node_scale(n, start - child[n - 1].count));
        word_set(&node->state, node_state(level, n));
        *ret_off = arena_off(list->arena, chunk);
        return OBJD_OK;
}

/* ---- Up ---------------------------------------------------------------------------------------------- */

/* A topmost node with one child has no purpose. */
static objd_status lower_root(const struct list *list)
{
        uint64_t off = word_get(&list->root[LIST_TREE]);
        uint32_t height = (uint32_t)word_get(&list->root[LIST_HEIGHT]), n;

        while (height) {
                struct list_node_shm *node;
                objd_status r = node_at(list, off, height, &node, &n);

                if (r)
                        return r;
                if (n > 1)
                        break;
                off = word_get(&node->entry[0].child);
                height--;
                r = txn_free(list->lane, &node->chunk);
                if (r)
                        return r;
        }
        if (off != word_get(&list->root[LIST_TREE])) {
                txn_set(list->lane, &list->root[LIST_TREE], off);
                txn_set(list->lane, &list->root[LIST_HEIGHT], height);
        }
        return OBJD_OK;
}

/* Brings the root's offset of the last leaf up to date. */
static objd_status find_last(const struct list *list)
{
        uint64_t off = word_get(&list->root[LIST_TREE]);

        for (uint32_t level = (uint32_t)word_get(&list->root[LIST_HEIGHT]); level; level--) {
                struct list_node_shm *node;
                uint32_t n;
                objd_status r = node_at(list, off, level, &node, &n);

                if (r)
                        return r;
                off = word_get(&node->entry[n - 1].child);
        }
        if (off != word_get(&list->root[LIST_LAST]))
                txn_set(list->lane, &list->root[LIST_LAST], off);
        return OBJD_OK;
}

static objd_status settle_root(const struct list *list)
{
        objd_status r = txn_reserve(list->lane, 64, 8);

        if (r == OBJD_OK)
                r = lower_root(list);
        return r ? r : find_last(list);
}

/* The change has come to the top: what is to be there now is nothing, something else, or two things. */
static objd_status change_root(const struct list *list, const struct change *change)
{
        uint64_t off = change->n_new ? change->put[0].off : 0, height = word_get(&list->root[LIST_HEIGHT]);
        objd_status r = txn_reserve(list->lane, 64, 8);

        if (r)
                return r;
        if (change->n_new == 2) {
                struct tree_leaf child[2] = { { change->put[0].off, change->put[0].count },
                                              { change->put[1].off, change->put[1].count } };

                if (++height > LIST_HEIGHT_MAX)
                        return list_corrupt(list, "the height");
                r = node_new(list, (uint32_t)height, child, 2, &off);
                if (r)
                        return r;
        }
        if (!off)
                height = 0;
        txn_set(list->lane, &list->root[LIST_TREE], off);
        txn_set(list->lane, &list->root[LIST_HEIGHT], height);
        return OBJD_OK;
}

/*
 * A full node gets a second one behind it. In the middle of the list both get half; at its ends the full one stays nearly
 * full, since a list that grows at one end would otherwise leave halves behind.
 */
static objd_status split_node(const struct list *list, struct list_node_shm *node, uint32_t level,
                              struct image *image, struct change *change)
{
        uint32_t n_left = image->n / 2, n_right;
        uint64_t off;
        objd_status r;

        if (change->at + change->n_new == image->n)
                n_left = NODE_MAX;
        else if (change->at == 0)
                n_left = image->n - NODE_MAX;
        n_right = image->n - n_left;
        r = node_new(list, level, image->child + n_left, n_right, &off);
        if (r)
                return r;
        *change = (struct change){ .n_old = 1, .n_new = 2, .delta = change->delta };
        change->put[1].off = off;
        change->put[1].count = image_total(image);
        image->n = n_left;
        change->put[0].off = arena_off(list->arena, node);
        change->put[0].count = image_total(image);
        change->put[1].count -= change->put[0].count;
        return image_store(list, node, level, image);
}

/*
 * A node with few children is joined with a neighbour under the same parent, if that has few enough. The right one
 * of them goes. parent_at is the node's place in its parent.
 */
static objd_status join_node(const struct list *list, const struct path *path, uint32_t i,
                             struct image *image, struct change *change, bool *ret_done)
{
        struct image left, parent;
        struct list_node_shm *sibling;
        uint32_t at = path->at[i - 1], level = path->height - i, other = at ? at - 1 : 1, n;
        objd_status r = image_load(list, path->node[i - 1], level + 1, path->size[i - 1], &parent);

        *ret_done = false;
        if (r || other >= parent.n)
                return r;
        r = node_at(list, parent.child[other].off, level, &sibling, &n);
        if (r || image->n + n > JOINED(NODE_MAX))
                return r;
        r = image_load(list, sibling, level, parent.child[other].count, &left);
        if (r)
                return r;
        if (other > at) {
                struct image swap = left;

                left = *image;
                *image = swap;
        }
        memcpy(left.child + left.n, image->child, image->n * sizeof(*left.child));
        left.n += image->n;
        r = image_store(list, other < at ? sibling : path->node[i], level, &left);
        if (r == OBJD_OK)
                r = txn_free(list->lane, &(other < at ? path->node[i] : sibling)->chunk);
        *change = (struct change){
                .at = other < at ? other : at, .n_old = 2, .n_new = 1, .delta = change->delta
        };
        change->put[0].off = arena_off(list->arena, other < at ? sibling : path->node[i]);
        change->put[0].count = image_total(&left);
        *ret_done = true;
        return r;
}

/* Applies the change to the path's i-th node. *ret_goes_on: it has become a change of the node above. */
static objd_status change_node(const struct list *list, const struct path *path, uint32_t i,
                               struct change *change, bool *ret_goes_on)
{
        struct list_node_shm *node = path->node[i];
        uint32_t level = path->height - i;
        bool fewer = change->n_new < change->n_old, done;
        struct image image;
        objd_status r = image_load(list, node, level, path->size[i], &image);

        if (r)
                return r;
        *ret_goes_on = true;
        image_splice(&image, change);
        if (!image.n) {
                *change = (struct change){ .n_old = 1, .delta = change->delta };
                r = txn_free(list->lane, &node->chunk);
        } else if (image.n > NODE_MAX) {
                r = split_node(list, node, level, &image, change);
        } else {
                if (fewer && i && image.n < SPARSE(NODE_MAX)) {
                        r = join_node(list, path, i, &image, change, &done);
                        if (r || done)
                                return r;
                }
                *ret_goes_on = false;
                return image_store(list, node, level, &image);
        }
        if (i)
                change->at = path->at[i - 1];
        return r;
}

objd_status tree_splice(const struct list *list, const struct path *path, struct change *change)
{
        uint32_t i = path->height;
        bool goes_on = true;
        objd_status r = OBJD_OK;

        while (i && goes_on && r == OBJD_OK)
                r = change_node(list, path, --i, change, &goes_on);
        if (r)
                return r;
        r = goes_on ? change_root(list, change) : tree_shift(list, path, i, change->delta);
        return r ? r : settle_root(list);
}

/* Makes one leaf of two neighbours under one parent. Without memory for it they stay as they are. */
static objd_status join_leaves(const struct list *list, const struct tree_leaf *child, uint32_t words,
                               uint64_t *ret_off, uint64_t *ret_count)
{
        struct list_leaf_shm *leaf, *from[2];
        struct leaf_shape shape, from_shape[2];
        objd_status r;

        *ret_off = 0;
        if (leaf_new(list, words, &leaf, &shape) != OBJD_OK)
                return OBJD_OK;
        for (uint32_t i = 0; i < 2; i++) {
                r = leaf_at(list, child[i].off, &from[i], &from_shape[i]);
                if (r == OBJD_OK)
                        r = leaf_put_all(list, leaf, &shape, from[i], &from_shape[i]);
                if (r == OBJD_OK)
                        r = txn_free(list->lane, &from[i]->chunk);
                if (r)
                        return r;
        }
        leaf_seal(leaf, &shape);
        *ret_off = arena_off(list->arena, leaf);
        *ret_count = shape.n;
        return OBJD_OK;
}

objd_status tree_merge_leaf(const struct list *list, const struct path *path, uint64_t delta, bool *ret_done)
{
        uint32_t i = path->height - 1, at, other;
        struct change change = { .n_old = 2, .n_new = 1, .delta = delta };
        struct leaf_shape shape;
        struct list_leaf_shm *leaf;
        struct image image;
        objd_status r;

        *ret_done = false;
        if (!path->height || leaf_live(&path->shape) >= SPARSE(LEAF_WORDS_MAX))
                return OBJD_OK;
        at = path->at[i];
        other = at ? at - 1 : 1;
        r = image_load(list, path->node[i], 1, path->size[i], &image);
        if (r || other >= image.n)
                return r;
        r = leaf_at(list, image.child[other].off, &leaf, &shape);
        if (r || leaf_live(&path->shape) + leaf_live(&shape) > JOINED(LEAF_WORDS_MAX))
                return r;
        change.at = at < other ? at : other;
        r = join_leaves(list, image.child + change.at, LEAF_WORDS_MAX - LEAF_TABLE, &change.put[0].off,
                        &change.put[0].count);
        if (r || !change.put[0].off)
                return r;
        *ret_done = true;
        return tree_splice(list, path, &change);
}

/* ---- Many -------------------------------------------------------------------------------------------- */

objd_status tree_free(const struct list *list, uint64_t off, uint32_t level, bool with_values)
{
        struct list_node_shm *node;
        uint32_t n;
        objd_status r;

        if (!level) {
                struct leaf_shape shape;
                struct list_leaf_shm *leaf;

                r = leaf_at(list, off, &leaf, &shape);
                if (r == OBJD_OK && with_values)
                        r = leaf_free_big(list, leaf, &shape, 0, shape.n);
                return r ? r : txn_free(list->lane, &leaf->chunk);
        }
        r = node_at(list, off, level, &node, &n);
        for (uint32_t i = 0; r == OBJD_OK && i < n; i++)
                r = tree_free(list, word_get(&node->entry[i].child), level - 1, with_values);
        return r ? r : txn_free(list->lane, &node->chunk);
}

static objd_status prune(const struct list *list, uint64_t off, uint32_t level, uint64_t total, uint64_t from,
                         uint64_t to);

/* Takes [from, to) out of a child that has `count` items; freed as a whole if that is everything. */
static objd_status prune_child(const struct list *list, struct tree_leaf *child, uint32_t level,
                               uint64_t from, uint64_t to)
{
        objd_status r;

        if (from == 0 && to == child->count)
                r = tree_free(list, child->off, level, true);
        else
                r = prune(list, child->off, level, child->count, from, to);
        child->count -= to - from;
        return r;
}

static objd_status prune_node(const struct list *list, uint64_t off, uint32_t level, uint64_t total,
                              uint64_t from, uint64_t to)
{
        struct list_node_shm *node;
        struct image image;
        uint64_t start = 0;
        uint32_t n, n_left = 0;
        objd_status r = node_at(list, off, level, &node, &n);

        if (r == OBJD_OK)
                r = image_load(list, node, level, total, &image);
        for (uint32_t i = 0; r == OBJD_OK && i < n; i++) {
                struct tree_leaf *child = &image.child[i];
                uint64_t end = start + child->count, a = from > start ? from : start, b = to < end ? to : end;

                if (a < b)
                        r = prune_child(list, child, level - 1, a - start, b - start);
                start = end;
                if (child->count)
                        image.child[n_left++] = *child;
        }
        if (r)
                return r;
        image.n = n_left;
        return image_store(list, node, level, &image);
}

/* At most two children of a node are cut, those at the ends; what is between them goes whole. */
static objd_status prune(const struct list *list, uint64_t off, uint32_t level, uint64_t total, uint64_t from,
                         uint64_t to)
{
        struct leaf_shape shape;
        struct list_leaf_shm *leaf;
        objd_status r;

        if (level)
                return prune_node(list, off, level, total, from, to);
        r = leaf_at(list, off, &leaf, &shape);
        if (r == OBJD_OK && shape.n != total)
                r = list_corrupt(list, "the count of a leaf");
        return r ? r : leaf_remove(list, leaf, &shape, (uint32_t)from, (uint32_t)(to - from));
}

objd_status tree_prune(const struct list *list, uint64_t from, uint64_t to)
{
        uint64_t height = word_get(&list->root[LIST_HEIGHT]);
        objd_status r = OBJD_OK;

        if (height > LIST_HEIGHT_MAX)
                r = list_corrupt(list, "the height");
        if (r == OBJD_OK)
                r = prune(list, word_get(&list->root[LIST_TREE]), (uint32_t)height,
                          word_get(&list->root[LIST_LEN]), from, to);
        return r ? r : settle_root(list);
}

static objd_status reverse(const struct list *list, uint64_t off, uint32_t level, uint64_t total)
{
        struct list_node_shm *node;
        struct image image;
        uint32_t n;
        objd_status r;

        if (!level) {
                struct leaf_shape shape;
                struct list_leaf_shm *leaf;

                r = leaf_at(list, off, &leaf, &shape);
                if (r == OBJD_OK)
                        r = txn_reserve(list->lane, 8, 1);
                if (r)
                        return r;
                shape.reversed = !shape.reversed;
                txn_set(list->lane, &leaf->state, leaf_state(&shape));
                return OBJD_OK;
        }
        r = node_at(list, off, level, &node, &n);
        if (r == OBJD_OK)
                r = image_load(list, node, level, total, &image);
        for (uint32_t i = 0; r == OBJD_OK && i < n; i++)
                r = reverse(list, image.child[i].off, level - 1, image.child[i].count);
        for (uint32_t i = 0; r == OBJD_OK && i < n / 2; i++) {
                struct tree_leaf swap = image.child[i];

                image.child[i] = image.child[n - 1 - i];
                image.child[n - 1 - i] = swap;
        }
        return r ? r : image_store(list, node, level, &image);
}

/* No item is moved: each node turns its children round, and each leaf reads its table from the other end. */
objd_status tree_reverse(const struct list *list)
{
        uint64_t height = word_get(&list->root[LIST_HEIGHT]), off = word_get(&list->root[LIST_TREE]);
        objd_status r = OBJD_OK;

        if (height > LIST_HEIGHT_MAX)
                r = list_corrupt(list, "the height");
        else if (off)
                r = reverse(list, off, (uint32_t)height, word_get(&list->root[LIST_LEN]));
        return r ? r : settle_root(list);
}

objd_status tree_build(const struct list *list, struct tree_leaf *leaf, size_t n)
{
        uint64_t last = leaf[n - 1].off;
        uint32_t level = 0;
        objd_status r;

        for (; n > 1; level++) {
                size_t n_nodes = (n + NODE_MAX - 1) / NODE_MAX, from = 0;

                for (size_t i = 0; i < n_nodes; i++) {
                        size_t to = n * (i + 1) / n_nodes;
                        struct tree_leaf node = { 0 };

                        r = node_new(list, level + 1, leaf + from, (uint32_t)(to - from), &node.off);
                        if (r)
                                return r;
                        for (; from < to; from++)
                                node.count += leaf[from].count;
                        leaf[i] = node;
                }
                n = n_nodes;
        }
        r = txn_reserve(list->lane, 64, 8);
        if (r)
                return r;
        txn_set(list->lane, &list->root[LIST_TREE], leaf[0].off);
        txn_set(list->lane, &list->root[LIST_HEIGHT], level);
        txn_set(list->lane, &list->root[LIST_LAST], last);
        return OBJD_OK;
}
