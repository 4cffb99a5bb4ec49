/* SPDX-License-Identifier: Apache-2.0 */

/*
 * linear.c -- is a concurrent history linearizable?
 *
 * Depth first: of the calls that are not yet in the order, any may be next that began before the first of them
 * ended. What has been tried is a set of calls together with the state they led to; reaching the same again
 * cannot end otherwise. Sets are kept as the number of calls at the front that are all in, and a ring of bits, one for each
 * of the WINDOW calls behind: as many as may begin while one call, whose thread was not running, goes on.
 */

#include "support/linear.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW 1024u

/* Which calls are in the order so far: all before front, and those whose bit is set. */
struct node {
        uint64_t front;
        uint64_t mask[WINDOW / 64];
        uint8_t state[LINEAR_STATE_MAX];
};

struct search {
        const struct linear_model *model;
        const struct linear_event *events;
        size_t n, steps, max_steps;
        struct node *stack;
        size_t depth, room;
        uint64_t *tried; /* hashes of nodes, open addressing; 0 is empty */
        size_t n_tried, n_slots;
};

static int compare_begin(const void *a, const void *b)
{
        const struct linear_event *x = a, *y = b;

        return x->begin_ns < y->begin_ns ? -1 : x->begin_ns > y->begin_ns;
}

static uint64_t mix(uint64_t h, uint64_t word)
{
        h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
        return h ^ h >> 29;
}

/* 64 bits are taken for the node: two that differ and share them would hide a proof once in 10^10 histories. */
static uint64_t hash_node(const struct search *s, const struct node *node)
{
        uint64_t h = mix(1, node->front);

        for (size_t i = 0; i < WINDOW / 64; i++)
                h = mix(h, node->mask[i]);
        for (size_t i = 0; i < s->model->state_size; i++)
                h = mix(h, node->state[i]);
        return h ? h : 1;
}

static bool insert(uint64_t *slots, size_t n_slots, uint64_t hash)
{
        size_t i = hash & (n_slots - 1);

        while (slots[i] && slots[i] != hash)
                i = (i + 1) & (n_slots - 1);
        if (slots[i] == hash)
                return false;
        slots[i] = hash;
        return true;
}

static bool grow_tried(struct search *s)
{
        size_t n_slots = s->n_slots ? 2 * s->n_slots : 4096;
        uint64_t *slots = calloc(n_slots, sizeof(*slots));

        if (!slots)
                return false;
        for (size_t i = 0; i < s->n_slots; i++)
                if (s->tried[i])
                        insert(slots, n_slots, s->tried[i]);
        free(s->tried);
        s->tried = slots;
        s->n_slots = n_slots;
        return true;
}

/* Puts a node on the stack unless it has been there before. False for want of memory. */
static bool push(struct search *s, const struct node *node)
{
        if (2 * s->n_tried >= s->n_slots && !grow_tried(s))
                return false;
        if (!insert(s->tried, s->n_slots, hash_node(s, node)))
                return true;
        s->n_tried++;
        if (s->depth == s->room) {
                size_t room = s->room ? 2 * s->room : 256;
                struct node *stack = realloc(s->stack, room * sizeof(*stack));

                if (!stack)
                        return false;
                s->stack = stack;
                s->room = room;
        }
        s->stack[s->depth++] = *node;
        return true;
}

static bool is_in(const struct node *node, uint64_t i)
{
        return node->mask[i / 64 % (WINDOW / 64)] >> (i % 64) & 1;
}

static void flip(struct node *node, uint64_t i)
{
        node->mask[i / 64 % (WINDOW / 64)] ^= 1ULL << (i % 64);
}

/* The node with call i added. */
static struct node with(const struct node *node, uint64_t i)
{
        struct node next = *node;

        flip(&next, i);
        for (; is_in(&next, next.front); next.front++)
                flip(&next, next.front);
        return next;
}

/* Every call that may be next is tried; those that began first end on top of the stack. */
static enum linear_result expand(struct search *s, const struct node *node)
{
        int64_t first_end_ns = INT64_MAX;
        uint64_t end = node->front;

        for (; end < s->n && s->events[end].begin_ns <= first_end_ns; end++) {
                if (end - node->front >= WINDOW)
                        return LINEAR_GAVE_UP;
                if (!is_in(node, end) && s->events[end].end_ns < first_end_ns)
                        first_end_ns = s->events[end].end_ns;
        }
        while (end-- > node->front) {
                struct node next;

                if (is_in(node, end) || s->events[end].begin_ns > first_end_ns)
                        continue;
                next = with(node, end);
                if (s->model->step(next.state, &s->events[end]) && !push(s, &next))
                        return LINEAR_GAVE_UP;
        }
        return LINEAR_NO;
}

static enum linear_result search(struct search *s)
{
        struct node node = { 0 };

        s->model->init(node.state);
        if (!push(s, &node))
                return LINEAR_GAVE_UP;
        while (s->depth) {
                node = s->stack[--s->depth];
                if (node.front == s->n)
                        return LINEAR_YES;
                if (s->steps++ >= s->max_steps || expand(s, &node) == LINEAR_GAVE_UP)
                        return LINEAR_GAVE_UP;
        }
        return LINEAR_NO;
}

enum linear_result linear_check(const struct linear_model *model, struct linear_event *events, size_t n,
                                size_t max_steps)
{
        struct search s = { .model = model, .events = events, .n = n, .max_steps = max_steps };
        enum linear_result result;

        if (n)
                qsort(events, n, sizeof(*events), compare_begin);
        result = search(&s);
        free(s.stack);
        free(s.tried);
        return result;
}
