/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * sp_flow.h -- how much is on its way to a peer of nanomsg's
 *
 * Each message has a number, and the peer tells the last one that it got. Numbers have 31 bits and begin again after the last: a
 * connection may live for years.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SP_MESSAGES_UNDER_WAY 64u

/* What else the peer's word for the number has; it is always set. */
#define SP_FLOW_BIT (1u << 31)

struct sp_flow {
        uint32_t n_sent;  /* as many as there were so far; its lower 31 bits are the last one's number */
        uint32_t n_acked; /* the last one that the peer has told to have got */
        size_t sizes[SP_MESSAGES_UNDER_WAY]; /* of those in between, by number */
        size_t under_way;                    /* their sum */
};

/* How many messages are under way. */
static inline uint32_t sp_flow_count(const struct sp_flow *flow)
{
        return flow->n_sent - flow->n_acked;
}

/* Whether so many bytes may be sent where `most` may be under way; one message always may. */
static inline bool sp_flow_has_room(const struct sp_flow *flow, size_t size, size_t most)
{
        return !sp_flow_count(flow) ||
               (sp_flow_count(flow) < SP_MESSAGES_UNDER_WAY && flow->under_way + size <= most);
}

/* The word that says what was sent last. */
static inline uint32_t sp_flow_word(const struct sp_flow *flow)
{
        return flow->n_sent | SP_FLOW_BIT;
}

static inline void sp_flow_sent(struct sp_flow *flow, size_t size)
{
        flow->n_sent++;
        flow->sizes[flow->n_sent % SP_MESSAGES_UNDER_WAY] = size;
        flow->under_way += size;
}

/* The peer has got what that word says, and all before it. Numbers that are not under way are from before this connection. */
static inline void sp_flow_acked(struct sp_flow *flow, uint32_t word)
{
        uint32_t n = (word - flow->n_acked) & ~SP_FLOW_BIT;

        if (n > sp_flow_count(flow))
                return;
        while (n--)
                flow->under_way -= flow->sizes[++flow->n_acked % SP_MESSAGES_UNDER_WAY];
}
