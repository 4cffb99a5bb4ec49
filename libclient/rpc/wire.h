/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * wire.h -- calls and answers as messages of schema/objd.proto, and back
 *
 * A message is a body, which is protobuf, and may have a bulk behind it, 8-byte aligned: the data of large values, which
 * protobuf would copy. The body says how long each of them is; they stand in the order in which the
 * values do, each padded to 8. Who is not to get a bulk says so in the hello.
 *
 * What comes in is looked at (wire_check.h) before protobuf-c gets it: nothing is built from bytes that are not
 * sound, and how much memory it takes is known before. What comes out points into the message and into the space
 * that it was unpacked into; both must stay until it is done with. The bytes must not change meanwhile: what lies in memory that a
 * peer can write to is copied first.
 */

#include <objd.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/call.h"
#include "rpc/space.h"

#define WIRE_VERSION_MIN 1u
#define WIRE_VERSION_MAX 1u

#define WIRE_BULK_FROM \
        8192u /* smaller data are copied into the body: that is cheaper than to go the general way */
#define WIRE_MESSAGE_MAX ((1ULL << 30) + (16ULL << 20)) /* a value of full size and what stands around it */
#define WIRE_CALLS_MAX 65536u                           /* in a batch, if the limits say nothing else */
#define WIRE_SENTENCE_MAX 1000u
#define WIRE_POSITION_MAX 64u
#define WIRE_TOKEN_MAX 1072u /* with all the names that it can carry */
#define WIRE_KEY_ID_MAX 64u
#define WIRE_CLIENT_NAME_MAX 64u
#define WIRE_SESSION_SIZE 16u
#define WIRE_NONCE_SIZE 16u

/* ---- Out --------------------------------------------------------------------------------------------- */

struct wire_part {
        const void *data;
        size_t size;
};

/* Where the last copy ended: a part, and how much of the message stands before it. */
struct wire_seek {
        uint64_t at;
        size_t part;
};

#define WIRE_OUT_SMALL 1024u

/*
 * A message to be sent; used again and again. Parts are not copied: what the values point to must stay until the message is
 * sent.
 */
struct wire_out {
        uint8_t *body; /* somewhere in the room for it */
        size_t body_size;
        uint8_t *room;
        size_t room_size;
        struct wire_part *parts; /* the bulk, without its padding */
        size_t n_parts, parts_room;
        uint64_t
                size; /* of the whole message: the body alone, or padded to 8 and the bulk, with its padding */
        uint32_t bulk_from;
        struct space space;
        struct wire_seek seek;
        void *kept; /* what all parts lie in; it goes with the message. NULL: the parts are somebody else's, */
        void (*free_kept)(void *kept);
        size_t kept_size; /* and this is its size */
        uint8_t small
                [WIRE_OUT_SMALL]; /* the room, while that is enough. So a wire_out must stay where it is */
};

/* bulk_from: data of so many bytes or more go to the bulk, 0: none do. */
void wire_out_init(struct wire_out *out, uint32_t bulk_from);
void wire_out_deinit(struct wire_out *out);

/* A message whose parts are kept, or that has none, to another place; `from` is empty afterwards. */
void wire_out_move(struct wire_out *from, struct wire_out *to);

/* Copies size bytes of the whole message, beginning at `from`, to dst: a piece of it for a carrier. */
void wire_out_copy(struct wire_out *out, uint64_t from, void *dst, size_t size);

/*
 * Each replaces what was in `out`. The calls' values must have passed value_check(), or be refused by the other side.
 * @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_TOOBIG (over max_size; 0: WIRE_MESSAGE_MAX), OBJD_E_INVAL (no such code or type)
 */
objd_status wire_pack_batch(struct wire_out *out, const struct call_batch *batch, uint64_t max_size);
objd_status wire_pack_reply(struct wire_out *out, const struct call_reply *reply, uint64_t max_size);

/* ---- In ---------------------------------------------------------------------------------------------- */

/* What is accepted; 0 is the largest that this side takes at all. */
struct wire_limits {
        uint32_t n_calls; /* or answers */
        size_t memory;    /* that the message takes when it is unpacked, its own bytes not counted */
};

/* A message that has come in. data is 8-byte aligned. */
struct wire_in {
        const uint8_t *data;
        size_t size;
        size_t body_size; /* the frame says so */
};

/*
 * Both take memory from the space and leave it there, also when they fail. If a batch is refused, its seq is set all the same, 0
 * if it cannot be read. Every call that comes out has a code, the keys and values that the code takes, no more and no less, and
 * values that value_check() takes, except that nobody has looked whether a STR is UTF-8: who runs the call does.
 * @return OBJD_OK, OBJD_E_PROTO, OBJD_E_INVAL (a value), OBJD_E_TOOBIG (a name, a limit), OBJD_E_NOMEM
 */
objd_status wire_unpack_batch(const struct wire_in *in, const struct wire_limits *limits, struct space *space,
                              struct call_batch *ret_batch);
objd_status wire_unpack_reply(const struct wire_in *in, const struct wire_limits *limits, struct space *space,
                              struct call_reply *ret_reply);

/* ---- The beginning of a session ---------------------------------------------------------------------- */

struct wire_hello {
        uint32_t version_from, version_to;
        const char *name;
        uint64_t pid;
        bool has_session;
        uint8_t session[WIRE_SESSION_SIZE];
        const void *token;
        size_t token_size;
        const void *key_id;
        size_t key_id_size;
        uint32_t bulk_from;
        uint32_t max_message;
        bool has_nonce;
        uint8_t nonce[WIRE_NONCE_SIZE];
};

struct wire_welcome {
        uint32_t version;
        uint8_t session[WIRE_SESSION_SIZE];
        bool resumed, read_only;
        uint64_t heartbeat_ns, expiry_ns;
        uint32_t max_frame, max_message, max_requests, window;
        uint64_t epoch, pid, last_seq;
        const char *store;
};

struct wire_refused {
        objd_status status;
        const char *sentence;
        uint32_t version_from, version_to;
        uint64_t seq;
};

objd_status wire_pack_hello(struct wire_out *out, const struct wire_hello *hello);
objd_status wire_pack_welcome(struct wire_out *out, const struct wire_welcome *welcome);
objd_status wire_pack_refused(struct wire_out *out, const struct wire_refused *refused);

objd_status wire_unpack_hello(const struct wire_in *in, struct space *space, struct wire_hello *ret_hello);
objd_status wire_unpack_welcome(const struct wire_in *in, struct space *space,
                                struct wire_welcome *ret_welcome);
objd_status wire_unpack_refused(const struct wire_in *in, struct space *space,
                                struct wire_refused *ret_refused);

/*
 * The newest version that both speak. @return OBJD_OK, OBJD_E_PROTO: there is none, and the sentence says who speaks what
 */
objd_status wire_agree(uint32_t version_from, uint32_t version_to, uint32_t *ret_version);
