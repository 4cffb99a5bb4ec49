/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * sealed.h -- what stands on a sealed link: frames of a handshake, and sealed frames, one behind the other
 *
 * A sealed frame is its head as it is, SEAL_OVERHEAD bytes, and the piece encrypted. Nothing but heads and the sizes in them is
 * looked at before a frame's tag has been checked.
 */

#include "rpc/frame.h"
#include "rpc/handshake.h"

/* Of a frame of a handshake. Whatever is longer is none. */
#define SEALED_HANDSHAKE_MAX (FRAME_HEAD + SEAL_HANDSHAKE_SIZE_MAX)

/* The largest frame on a sealed link: what a stranger can make the other side wait for is bounded by it. */
#define SEALED_FRAME_MAX (64u << 10)

/* Writes the frame that carries a message of a handshake, and gives its size. */
size_t sealed_handshake(enum seal_frame_type type, const void *message, size_t size,
                        uint8_t ret_frame[SEALED_HANDSHAKE_MAX]);

/* Whether these bytes are one frame of a handshake; its message is behind its head. */
bool sealed_is_handshake(const void *bytes, size_t size, enum seal_frame_type *ret_type);

/*
 * Seals a frame in place: its head stands at `frame`, its piece of `size` bytes behind the head and SEAL_OVERHEAD bytes of room.
 * @return as seal_frame()
 */
objd_status sealed_close(struct seal *seal, uint8_t *frame, size_t size);

/*
 * Opens the frames of a message in place, up to the first that is refused: *ret_size bytes are then whole plain frames. The
 * bytes behind them mean nothing.
 * @return OBJD_OK, and what frame_decode() and seal_open() say about the one that is refused
 */
objd_status sealed_open(struct seal *seal, uint8_t *bytes, size_t size, size_t *ret_size);
