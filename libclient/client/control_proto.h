/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * control_proto.h -- what a client and the daemon say to one another on the control socket
 *
 * A SOCK_SEQPACKET connection: the client sends one hello, the daemon answers with one reply and, if that is a
 * welcome, with the arena's descriptor. Nothing more is said. Both keep the socket open: its hang-up tells the
 * daemon to look for the dead, and tells the client nothing that it needs to know.
 *
 * A client whose daemon has died says hello to the next one too, but does not wait for an answer: it has the arena, and
 * the descriptor of a file that it has locks on is not to be closed (arena/life.h). It gets none unless it is refused.
 *
 * All numbers are little-endian. The structs have a fixed size, which together with the version says how to
 * read them; a field that is not used is 0.
 */

#include <assert.h>
#include <endian.h>
#include <stdint.h>

#define CONTROL_MAGIC 0x74636a6fu /* "ojct" */
#define CONTROL_VERSION 1u

enum control_type { CONTROL_HELLO = 1, CONTROL_WELCOME = 2, CONTROL_REFUSED = 3 };
/* HAS_IT: a client of an earlier daemon, which has the arena: it gets no descriptor, and no welcome. */
enum control_access { CONTROL_READ_WRITE = 1, CONTROL_HAS_IT = 16 };

struct control_head {
        uint32_t magic;
        uint16_t version;
        uint16_t type;
        uint32_t size; /* of the whole message, this head included */
        uint32_t pad;
};

struct control_hello {
        struct control_head head;
        uint32_t access;
        uint32_t pad[3];
};

#define CONTROL_SENTENCE_MAX 216

struct control_reply {
        struct control_head head;
        int64_t daemon_pid;    /* welcome; as the daemon sees itself: for people */
        uint64_t daemon_epoch; /* welcome; header.daemon_epoch */
        uint32_t status;       /* refused: an objd_status */
        uint32_t pad;
        char sentence[CONTROL_SENTENCE_MAX]; /* refused; ends with a 0 */
};

static_assert(sizeof(struct control_head) == 16, "it goes over a socket");
static_assert(sizeof(struct control_hello) == 32, "it goes over a socket");
static_assert(sizeof(struct control_reply) == 256, "it goes over a socket");

static inline struct control_head control_head_make(enum control_type type, uint32_t size)
{
        return (struct control_head){
                .magic = htole32(CONTROL_MAGIC),
                .version = htole16(CONTROL_VERSION),
                .type = htole16((uint16_t)type),
                .size = htole32(size),
        };
}
