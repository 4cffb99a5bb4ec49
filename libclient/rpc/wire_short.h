/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * wire_short.h -- the short way for batches and replies that have nothing out of the ordinary
 *
 * Most messages are a few gets, sets, puts and their answers, with small values. protobuf-c goes over all fields that a message may have,
 * three times, and builds a tree of it; here the few that there are go straight from the call to bytes and back. The bytes are the same, and so is
 * what comes of them (the tests and the fuzzer compare the two). Whatever else there is to be said, or is not sound, is left
 * to the general way, which has the sentences.
 */

#include <objd.h>

#include <stdbool.h>
#include <stdint.h>

#include "rpc/wire.h"

/*
 * Each says whether it could be done. If not, all is as if it had not been tried, but for memory of the space. What
 * is unpacked points into the message's body, which is not copied.
 */
bool wire_short_pack_batch(struct wire_out *out, const struct call_batch *batch);
bool wire_short_pack_reply(struct wire_out *out, const struct call_reply *reply);
bool wire_short_unpack_batch(const struct wire_in *in, const struct wire_limits *limits, struct space *space,
                             struct call_batch *ret_batch);
bool wire_short_unpack_reply(const struct wire_in *in, const struct wire_limits *limits, struct space *space,
                             struct call_reply *ret_reply);

/* First bytes of fields: number << 3 and the wire type. Field numbers over 15 are not on the short way. */
#define TAG_NUMBER(field) ((uint8_t)((field) << 3))
#define TAG_FIXED64(field) ((uint8_t)((field) << 3 | 1))
#define TAG_BYTES(field) ((uint8_t)((field) << 3 | 2))

/* Of Batch and Reply. */
#define TAG_SEQ TAG_NUMBER(1)
#define TAG_ACKED TAG_NUMBER(2)
#define TAG_ATOMIC TAG_NUMBER(3)
#define TAG_TIMEOUT TAG_NUMBER(4)
#define TAG_REQUEST TAG_BYTES(5)
#define TAG_REPLY_STATUS TAG_NUMBER(2)
#define TAG_FAILED TAG_NUMBER(4)
#define TAG_ANSWER TAG_BYTES(5)

/* Of Request and Answer. */
#define TAG_THREAD TAG_NUMBER(1)
#define TAG_ASK_DICT TAG_BYTES(4)
#define TAG_ASK_LIST TAG_BYTES(5)
#define TAG_ASK_QUEUE TAG_BYTES(6)
#define TAG_ASK_LOCK TAG_BYTES(7)
#define TAG_STATUS TAG_NUMBER(1)
#define TAG_SENTENCE TAG_BYTES(2)
#define TAG_SAY_DICT TAG_BYTES(5)
#define TAG_SAY_LIST TAG_BYTES(6)
#define TAG_SAY_QUEUE TAG_BYTES(7)
#define TAG_SAY_LOCK TAG_BYTES(8)

/* Of all groups' requests, in which values have field 4 (keys, in a dict's: then values have 5). */
#define TAG_CODE TAG_NUMBER(1)
#define TAG_PLACE TAG_NUMBER(2)
#define TAG_SERIAL TAG_NUMBER(3)

/* Of Value. */
#define TAG_NIL TAG_NUMBER(1)
#define TAG_BOOLEAN TAG_NUMBER(2)
#define TAG_INTEGER TAG_NUMBER(3)
#define TAG_REAL TAG_FIXED64(4)
#define TAG_STR TAG_BYTES(5)
#define TAG_DATA TAG_BYTES(6)

/* sint64: small numbers of either sign are short. */
static inline uint64_t zigzag(int64_t number)
{
        return (uint64_t)number << 1 ^ (uint64_t)(number >> 63);
}

static inline int64_t unzigzag(uint64_t number)
{
        return (int64_t)(number >> 1 ^ -(number & 1));
}
