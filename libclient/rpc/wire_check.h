/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * wire_check.h -- a message's bytes are looked at once before protobuf-c builds anything of them
 *
 * protobuf-c has no limits of its own: it nests as deep as the bytes say, merges what comes twice, keeps what it does not
 * know, and cuts strings at a NUL. Bytes that pass here give it nothing to do of that kind, apart from a few
 * unknown fields, and how much memory it will take for them is known.
 */

#include <objd.h>

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_DEPTH_MAX 8u            /* the schema itself nests no deeper than 6 */
#define WIRE_UNKNOWN_MAX 16u         /* unknown fields in one (sub)message */
#define WIRE_ELEMENTS_MAX (1u << 24) /* elements of repeated fields, all of a message together */

/*
 * Most bytes of memory that an unpacked batch takes for each byte of its body, and those that it takes beside that: the worst are
 * values of type nil. WIRE_REPLY_FACTOR is the same for replies, where missing items are.
 */
#define WIRE_BATCH_FACTOR 96u
#define WIRE_REPLY_FACTOR 288u
#define WIRE_MEMORY_BASE 1024u

/* What a message is to be made of. */
struct wire_bounds {
        uint32_t n_calls; /* requests of a batch, answers of a reply */
        size_t memory;
};

/*
 * Whether these bytes are a message of this type, and nothing is wrong with them as such: tags, wire types, lengths, numbers in
 * their types' ranges, known enums, UTF-8, each single field at most once, the counts and memory that bounds allow.
 * *ret_memory is how much memory the message takes at most when it is unpacked into a space, with the calls or
 * answers that are made of it. @return OBJD_OK, OBJD_E_PROTO, OBJD_E_TOOBIG (a bound)
 */
objd_status wire_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size,
                       const struct wire_bounds *bounds, size_t *ret_memory);

/* The seq that a batch which is not sound otherwise begins with, as all encoders write it; 0 if it does not. */
uint64_t wire_check_seq(const uint8_t *bytes, size_t size);
