/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * control_proto.h -- what a client and the daemon say to one another on the control socket
 *
 * A SOCK_SEQPACKET connection: the client sends one hello, the daemon answers with one reply and, if that is a
 * welcome, with the arena's descriptor: open for writing, or for reading only. Nothing more is said. Both keep the socket open:
 * its hang-up tells the daemon to look for the dead, and tells the client nothing that it needs to know.
 *
 * A thread of a read-only client that needs a hand opens a connection of its own for that, and asks for CONTROL_HELP. The welcome
 * then comes without a descriptor, and after it the thread sends requests. Each gets one answer, but for those that only
 * take something back.
 *
 * Who is to work through the daemon, or wants to, asks for CONTROL_RINGS. The welcome comes with two descriptors: the memory of a pair
 * of rings (rpc/ring.h), and an eventfd that is the daemon's bell. After it the daemon sends single bytes, the client's bell, and
 * the client nothing. The end of this connection is the end of the rings, and of the session if it was the client who hung up.
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
#define CONTROL_VERSION 2u

enum control_type {
        CONTROL_HELLO = 1,
        CONTROL_WELCOME = 2,
        CONTROL_REFUSED = 3,
        CONTROL_REQUEST = 4,
        CONTROL_ANSWER = 5,
        CONTROL_TOKEN_ISSUED = 6
};

/*
 * What a hello asks for, and a welcome grants: READ_WRITE may be answered with READ_ONLY, if that is all there is. HAS_IT: a client
 * of an earlier daemon, which has the arena: it gets no descriptor, and no welcome.
 */
enum control_access {
        CONTROL_READ_WRITE = 1,
        CONTROL_READ_ONLY = 2,
        CONTROL_HELP = 3,
        CONTROL_RINGS = 4,
        CONTROL_TOKEN = 5, /* no handle, but struct control_token for the proxy; then it hangs up */
        CONTROL_HAS_IT = 16
};

/* What a thread with CONTROL_HELP may ask for. */
enum control_help {
        CONTROL_FREEZE =
                1, /* args: offsets of lines; until THAW, or the next request, or some milliseconds have passed */
        CONTROL_THAW = 2,  /* no answer */
        CONTROL_PIN = 3,   /* args: place, chunk; until UNPIN, or the end of the connection */
        CONTROL_UNPIN = 4, /* args: place; no answer */
        CONTROL_JOIN =
                5, /* args: a queue's place, serial, milliseconds; answered when all its tasks are done */
};

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

#define CONTROL_SENTENCE_MAX 200

struct control_reply {
        struct control_head head;
        int64_t daemon_pid;    /* welcome; as the daemon sees itself: for people */
        uint64_t daemon_epoch; /* welcome; header.daemon_epoch */
        uint64_t arena_id[2];  /* welcome; header.id, as it is */
        uint32_t status;       /* refused, answer: an objd_status */
        uint32_t access;       /* welcome: enum control_access */
        union {
                char sentence[CONTROL_SENTENCE_MAX]; /* refused, answer; ends with a 0 */
                struct {
                        uint64_t dev, ino; /* of the arena's file, or 0: not said */
                } file;                    /* welcome */
                struct {
                        uint32_t size; /* bytes of one ring */
                        uint32_t max_frame;
                } rings; /* welcome to CONTROL_RINGS */
        };
};

#define CONTROL_TOKEN_MAX 1072u

struct control_token {
        struct control_head head;
        uint32_t n; /* bytes of the token */
        uint32_t pad[3];
        uint8_t token[CONTROL_TOKEN_MAX]; /* goes back as it is, in the hello to the proxy */
};

#define CONTROL_LINES_MAX 70u /* a large dict has 65 */

struct control_request {
        struct control_head head;
        uint32_t help;
        uint32_t n;
        uint64_t args[CONTROL_LINES_MAX];
};

static_assert(sizeof(struct control_head) == 16, "it goes over a socket");
static_assert(sizeof(struct control_hello) == 32, "it goes over a socket");
static_assert(sizeof(struct control_reply) == 256, "it goes over a socket");
static_assert(sizeof(struct control_token) == 1104, "it goes over a socket");
static_assert(sizeof(struct control_request) == 584, "it goes over a socket");

static inline struct control_head control_head_make(enum control_type type, uint32_t size)
{
        return (struct control_head){
                .magic = htole32(CONTROL_MAGIC),
                .version = htole16(CONTROL_VERSION),
                .type = htole16((uint16_t)type),
                .size = htole32(size),
        };
}
