/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * seal.h -- sealed frames: nobody between the two ends can read, change, repeat, reorder, turn round or leave
 * out one
 *
 * handshake.h makes a channel, one struct seal at each end. A sealed payload is
 *
 *     8 bytes   number of the frame in its direction, from 0; the highest bit says which direction
 *    16 bytes   tag
 *     n bytes   the payload, encrypted (ChaCha20-Poly1305, RFC 8439; the nonce is the number)
 *
 * and the frame's header, as it is sent, is authenticated with it. A frame is accepted only if it has the
 * next number. What is refused changes nothing: the frame that was due is still accepted when it comes. If it
 * was lost, nothing is accepted any more (SEAL_MISSING), and the two need a new handshake. Frames that are
 * thrown in cost the channel nothing, until there have been SEAL_REFUSALS_MAX of them.
 *
 * Sending and receiving are independent: two threads may do one each. A child after fork() may do neither,
 * since its numbers would be its parent's; it gets OBJD_E_ACCESS.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/keyring.h"

#define SEAL_OVERHEAD 24
#define SEAL_KEY_SIZE 32
#define SEAL_ID_SIZE 16
#define SEAL_SERVER_BIT (1ULL << 63)  /* in the number of a frame from the server */
#define SEAL_PAYLOAD_MAX (1ULL << 30) /* of one frame; the cipher could do 256 GiB */
#define SEAL_REKEY_FRAMES \
        (1ULL << 16)            /* each so many frames a direction's key is replaced by one derived from it */
#define SEAL_REFUSALS_MAX 65536 /* then the channel ends: a forger has had enough tries */

/*
 * Why something was refused. docs/protocol.md lists them; the daemon's statistics count them by these names.
 */
enum seal_reason {
        SEAL_SIZE,       /* not the size that such a message has */
        SEAL_MALFORMED,  /* not our magic, not the step that is due, reserved bytes that are not zero */
        SEAL_REFLECTED,  /* from our own side */
        SEAL_NO_VERSION, /* no version that both speak */
        SEAL_DOWNGRADED, /* a challenge with a version that was not offered, a proof with another than was chosen */
        SEAL_UNKNOWN_KEY,
        SEAL_WRONG_KEY,   /* the MAC of a hello: the key is another one, or the bytes were changed */
        SEAL_SEEN_BEFORE, /* a hello that was sent before */
        SEAL_WEAK_POINT,  /* an ephemeral key that makes the common secret known to all */
        SEAL_WRONG_PROOF, /* the MAC of a challenge or of a proof */
        SEAL_TURNED_AWAY, /* the server says no */
        SEAL_REPEATED,    /* a frame whose number was there already */
        SEAL_MISSING,     /* a frame that is not the next: one before it was lost, or held back */
        SEAL_TAMPERED,    /* a frame whose tag is wrong */
        SEAL_OVER,        /* the channel has ended: too many refusals, or its numbers are used up */
        SEAL_N_REASONS
};

struct seal_stats {
        uint64_t n_channels;                /* handshakes that succeeded */
        uint64_t n_refused[SEAL_N_REASONS]; /* each added to atomically, relaxed */
};

/* "wrong-key": for statistics and scripts. */
const char *seal_reason_name(enum seal_reason reason);

/* Of this thread's last refusal; means something only after a call of seal.h or handshake.h that failed. */
enum seal_reason seal_last_reason(void);

/* Counts a refusal, remembers its reason for seal_last_reason(), and gives status. stats may be NULL. */
objd_status seal_refused(struct seal_stats *stats, enum seal_reason reason, objd_status status);

/* One direction. */
struct seal_way {
        uint8_t key[SEAL_KEY_SIZE];
        uint64_t next; /* number of the frame that is due, with the direction's bit */
};

/* A channel's end. Has no pointers but stats; can be moved, not copied and used twice. */
struct seal {
        struct seal_way send, receive;
        uint8_t id[SEAL_ID_SIZE];    /* the same at both ends, no secret, never the same twice */
        uint8_t key_id[KEY_ID_SIZE]; /* of the key that was proven */
        uint8_t version;
        bool is_over;
        uint32_t n_refusals;
        uint64_t fork_generation;
        struct seal_stats *stats; /* NULL, or where refusals are counted */
};

/*
 * Seals size bytes of payload into SEAL_OVERHEAD + size bytes; payload may be the place where its sealed form
 * will stand (ret_sealed + SEAL_OVERHEAD), but may not overlap it otherwise. The header is only read: it must
 * be as it will be sent.
 *
 * @return OBJD_OK, OBJD_E_TOOBIG, OBJD_E_ACCESS (the channel is over; a child)
 */
objd_status seal_frame(struct seal *seal, const void *header, size_t header_size, const void *payload,
                       size_t size, void *ret_sealed);

/*
 * Opens what seal_frame() made of size - SEAL_OVERHEAD bytes. ret_payload may be sealed + SEAL_OVERHEAD. When
 * refused, ret_payload holds zeros or what it held before, never bytes that were not authenticated.
 *
 * @return OBJD_OK, OBJD_E_PROTO (any refusal; the sentence and seal_last_reason() say which),
 *         OBJD_E_ACCESS (over; a child)
 */
objd_status seal_open(struct seal *seal, const void *header, size_t header_size, const void *sealed,
                      size_t size, void *ret_payload);

/* Wipes the keys. Both calls above then answer OBJD_E_ACCESS. */
void seal_end(struct seal *seal);
