/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * frame.h -- what stands around a message on every carrier
 *
 * A frame is a head of FRAME_HEAD bytes and a piece of one message, or all of it. The pieces of a message come in order; a
 * session has one message under way in each direction, and frames without a message may stand between its
 * pieces. A head is believed for as much as it can be checked: a message's memory grows with what has
 * arrived of it, not with what its first head promises.
 */

#include <objd.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/space.h"
#include "rpc/wire.h"

#define FRAME_HEAD 32u
#define FRAME_MAGIC 0x6fu
#define FRAME_VERSION 1u
#define FRAME_HELLO_MAX 4096u /* bytes of a frame, head included, before there is a welcome */

enum frame_type {
        FRAME_HELLO = 1,
        FRAME_WELCOME = 2,
        FRAME_BATCH = 3,
        FRAME_REPLY = 4,
        FRAME_REFUSED = 5,
        FRAME_BYE = 6, /* these three have no message */
        FRAME_PING = 7,
        FRAME_PONG = 8,

        FRAME_SEAL_FIRST = 16, /* of the sealed layer, with whatever it puts in; never in pieces, no body */
        FRAME_SEAL_LAST = 31
};

#define FRAME_FIRST 1u /* the first piece of its message */
#define FRAME_LAST 2u  /* the last one; a message in one piece has both */

/* In the order in which they are written; all numbers are little-endian. */
struct frame_head {
        uint8_t type; /* behind magic and version */
        uint8_t flags;
        uint32_t piece;   /* bytes behind the head, in this frame */
        uint32_t message; /* bytes of the whole message */
        uint32_t body;    /* bytes of its protobuf part */
        uint8_t session[WIRE_SESSION_SIZE];
};

void frame_encode(const struct frame_head *head, uint8_t dst[FRAME_HEAD]);

/*
 * Reads the head of a frame that `size` bytes have come of (at least FRAME_HEAD, or it is refused); max_piece and max_message are
 * what this side takes. Whether the piece has come whole is the carrier's to see. @return OBJD_OK, OBJD_E_PROTO (the sentence says
 * what is wrong), OBJD_E_TOOBIG
 */
objd_status frame_decode(const void *bytes, size_t size, uint32_t max_piece, uint32_t max_message,
                         struct frame_head *ret_head);

/* For who says what was refused: the session in what should be a head, sound or not; NULL if the bytes are too few. */
static inline const uint8_t *frame_session(const void *bytes, size_t size)
{
        return size < FRAME_HEAD ? NULL : (const uint8_t *)bytes + FRAME_HEAD - WIRE_SESSION_SIZE;
}

/* ---- Cutting ------------------------------------------------------------------------------------------ */

/* A message on its way out. */
struct frame_cutter {
        struct wire_out *out;
        struct frame_head head; /* of the next frame */
        uint64_t at;            /* where in the message its piece begins */
        uint32_t max_frame;
        bool done;
};

/* max_frame is the most that a frame may have, its head included: over FRAME_HEAD. */
void frame_cut(struct frame_cutter *cutter, enum frame_type type, const uint8_t session[WIRE_SESSION_SIZE],
               struct wire_out *out, uint32_t max_frame);

/* Bytes of the next frame, 0 if there is none. */
size_t frame_cut_size(const struct frame_cutter *cutter);

/* From now on frames have at most so many bytes. */
void frame_cut_limit(struct frame_cutter *cutter, uint32_t max_frame);

/* Writes the next frame, of as many bytes, and goes on to the one after it. */
void frame_cut_next(struct frame_cutter *cutter, void *dst);

/* Writes a frame that has no message: BYE, PING, PONG. */
void frame_bare(enum frame_type type, const uint8_t session[WIRE_SESSION_SIZE], uint8_t dst[FRAME_HEAD]);

/* ---- Joining ------------------------------------------------------------------------------------------ */

/* The message that is under way in one direction of a session. */
struct frame_joiner {
        struct memory memory;
        uint8_t *data;
        size_t used, room;
        size_t keep; /* memory that is kept from message to message */
        struct frame_head head;
        bool begun;
};

/* `memory` NULL is memory_plain. */
void frame_joiner_init(struct frame_joiner *joiner, const struct memory *memory, size_t keep);
void frame_joiner_deinit(struct frame_joiner *joiner);

/* Forgets what has come of an unfinished message. */
void frame_joiner_drop(struct frame_joiner *joiner);

/* The memory of a message that is whole, if `data` lies there; it belongs to the caller then, and is to be given back with size *ret_room. */
uint8_t *frame_joiner_take(struct frame_joiner *joiner, const uint8_t *data, size_t *ret_room);

/* Memory like that for the messages to come, which is the joiner's then; false: it has some, or keeps no so much. */
bool frame_joiner_give(struct frame_joiner *joiner, uint8_t *data, size_t room);

/*
 * Takes a frame's piece. If the message is whole, *ret_whole is true and *ret_in is it: at `piece` itself if it came in one
 * frame and is aligned, else in the joiner, where it stays until the next call. After a failure the unfinished
 * message is forgotten, and further pieces of it are refused. @return OBJD_OK, OBJD_E_PROTO, OBJD_E_NOMEM
 */
objd_status frame_join(struct frame_joiner *joiner, const struct frame_head *head, const void *piece,
                       bool *ret_whole, struct wire_in *ret_in);
