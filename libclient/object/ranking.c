/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ranking.c -- the entries of an object in an order of their own, some at a time
 */

#include "object/ranking.h"

#include <stdlib.h>

#include "base/status.h"
#include "base/sys.h"

static bool is_before(const struct rank *a, const struct rank *b)
{
        if (a->major != b->major)
                return a->major < b->major;
        return a->minor != b->minor ? a->minor < b->minor : a->place < b->place;
}

static int compare(const void *a, const void *b)
{
        const struct rank *x = a, *y = b;

        return is_before(x, y) ? -1 : is_before(y, x);
}

objd_status ranking_init(struct ranking *ranking, uint64_t n, size_t max_room)
{
        size_t room = n < max_room ? (size_t)n : max_room;

        *ranking = (struct ranking){ .room = room ? room : 1 };
        ranking->ranks = sys.alloc(ranking->room * sizeof(*ranking->ranks));
        return ranking->ranks ? OBJD_OK : fail(OBJD_E_NOMEM, "no memory to put entries in order");
}

void ranking_deinit(struct ranking *ranking)
{
        free(ranking->ranks);
        *ranking = (struct ranking){ 0 };
}

void ranking_begin_turn(struct ranking *ranking)
{
        ranking->len = 0;
        ranking->more = false;
}

/* Puts rank to place `at` of the heap, or as far down as it belongs. */
static void sink(struct ranking *ranking, size_t at, struct rank rank)
{
        struct rank *ranks = ranking->ranks;
        size_t child;

        while ((child = 2 * at + 1) < ranking->len) {
                if (child + 1 < ranking->len && is_before(&ranks[child], &ranks[child + 1]))
                        child++;
                if (!is_before(&rank, &ranks[child]))
                        break;
                ranks[at] = ranks[child];
                at = child;
        }
        ranks[at] = rank;
}

void ranking_offer(struct ranking *ranking, struct rank rank)
{
        if (ranking->begun && !is_before(&ranking->last, &rank))
                return;
        if (ranking->len < ranking->room) {
                ranking->ranks[ranking->len++] = rank;
                /* As long as all fit, nothing needs an order. */
                if (ranking->len == ranking->room)
                        for (size_t i = ranking->len / 2; i--;)
                                sink(ranking, i, ranking->ranks[i]);
                return;
        }
        ranking->more = true;
        if (is_before(&rank, &ranking->ranks[0]))
                sink(ranking, 0, rank);
}

void ranking_end_turn(struct ranking *ranking)
{
        if (!ranking->len)
                return;
        qsort(ranking->ranks, ranking->len, sizeof(*ranking->ranks), compare);
        ranking->last = ranking->ranks[ranking->len - 1];
        ranking->begun = true;
}
