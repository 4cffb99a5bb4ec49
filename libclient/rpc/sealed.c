/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sealed.c -- frames of a handshake, and sealed frames
 */

#include "rpc/sealed.h"

#include <string.h>

#include "base/status.h"

size_t sealed_handshake(enum seal_frame_type type, const void *message, size_t size,
                        uint8_t ret_frame[SEALED_HANDSHAKE_MAX])
{
        const struct frame_head head = {
                .type = (uint8_t)type,
                .flags = FRAME_FIRST | FRAME_LAST,
                .piece = (uint32_t)size,
                .message = (uint32_t)size,
        };

        frame_encode(&head, ret_frame);
        memcpy(ret_frame + FRAME_HEAD, message, size);
        return FRAME_HEAD + size;
}

bool sealed_is_handshake(const void *bytes, size_t size, enum seal_frame_type *ret_type)
{
        struct frame_head head;

        if (size > SEALED_HANDSHAKE_MAX ||
            frame_decode(bytes, size, SEAL_HANDSHAKE_SIZE_MAX, SEAL_HANDSHAKE_SIZE_MAX, &head) ||
            head.piece != size - FRAME_HEAD || head.type < SEAL_TYPE_HELLO || head.type > SEAL_TYPE_REFUSAL)
                return false;
        *ret_type = (enum seal_frame_type)head.type;
        return true;
}

objd_status sealed_close(struct seal *seal, uint8_t *frame, size_t size)
{
        uint8_t *sealed = frame + FRAME_HEAD;

        return seal_frame(seal, frame, FRAME_HEAD, sealed + SEAL_OVERHEAD, size, sealed);
}

/* What is not even a head is counted as the channel's other refusals are. */
static objd_status open_one(struct seal *seal, uint8_t *bytes, size_t size, uint32_t *ret_piece)
{
        struct frame_head head;
        objd_status r = frame_decode(bytes, size, SEALED_FRAME_MAX, (uint32_t)WIRE_MESSAGE_MAX, &head);

        if (r)
                return seal_refused(seal->stats, SEAL_MALFORMED, r);
        if (size - FRAME_HEAD < SEAL_OVERHEAD || head.piece > size - FRAME_HEAD - SEAL_OVERHEAD)
                return seal_refused(seal->stats, SEAL_SIZE,
                                    fail(OBJD_E_PROTO, "a sealed frame has been cut short"));
        *ret_piece = head.piece;
        bytes += FRAME_HEAD;
        return seal_open(seal, bytes - FRAME_HEAD, FRAME_HEAD, bytes, SEAL_OVERHEAD + head.piece,
                         bytes + SEAL_OVERHEAD);
}

objd_status sealed_open(struct seal *seal, uint8_t *bytes, size_t size, size_t *ret_size)
{
        size_t at = 0, out = 0;
        uint32_t piece = 0;
        objd_status r = OBJD_OK;

        while (at < size) {
                r = open_one(seal, bytes + at, size - at, &piece);
                if (r)
                        break;
                memmove(bytes + out, bytes + at, FRAME_HEAD);
                memmove(bytes + out + FRAME_HEAD, bytes + at + FRAME_HEAD + SEAL_OVERHEAD, piece);
                at += FRAME_HEAD + SEAL_OVERHEAD + piece;
                out += FRAME_HEAD + piece;
        }
        *ret_size = out;
        return r;
}
