/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ranking.h -- the entries of an object in an order of their own, in memory that does not grow with the object
 *
 * Of all that are offered in a turn, the first `room` that come after those of the turns before are kept. Whoever
 * wants all of them goes through the object again and again:
 *
 *     do {
 *             ranking_begin_turn(&ranking);
 *             ... ranking_offer() for each entry of the object
 *             ranking_end_turn(&ranking);
 *             ... ranking.ranks[0 .. ranking.len)
 *     } while (ranking.more);
 */

#include <objd.h>

struct rank {
        uint64_t major, minor; /* the order; what is equal in both goes by place */
        uint64_t place;        /* where the caller finds it again: no two have the same */
};

struct ranking {
        struct rank *ranks; /* in a turn a heap with the last one at its top, afterwards in order */
        size_t len, room;
        struct rank last; /* of the turns before */
        bool begun;
        bool more; /* there were more than room */
};

/* At 24 bytes each, 48 MiB. */
#define RANKING_ROOM (2u << 20)

/* n is how many there will be, as far as one knows. @return OBJD_OK, OBJD_E_NOMEM */
objd_status ranking_init(struct ranking *ranking, uint64_t n, size_t max_room);
void ranking_deinit(struct ranking *ranking);

void ranking_begin_turn(struct ranking *ranking);
void ranking_offer(struct ranking *ranking, struct rank rank);
void ranking_end_turn(struct ranking *ranking);
