/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * peer.h -- for tests of the daemon's proxy: a server without its thread, and clients that are frames
 *
 * What a client would send is handed to the server by peer_*(), and all that the server sends is counted and kept. Nothing happens
 * in between: what is served, and in which order, the test says.
 */

#include "proxy/server.h"

#define PEERS_MAX 8
#define PEER_REPLIES 4096

struct peer {
        struct bench *bench;
        uint32_t number;
        uint8_t session[WIRE_SESSION_SIZE];
        bool has_nonce;
        uint8_t nonce[WIRE_NONCE_SIZE]; /* of its hellos */
        uint64_t next_seq;
        uint64_t acked; /* what it says with its next batch, and */
        const uint64_t *unanswered;
        size_t n_unanswered;
        uint32_t n_welcomes, n_replies, n_refused, n_bare;
        uint64_t order[PEER_REPLIES];       /* of each reply: how many the server had sent before, to all */
        objd_status statuses[PEER_REPLIES]; /* of each reply's first answer, or of the whole */
        int64_t integer;                    /* of the last reply's first answer, */
        bool truth;                         /* and these of it, too */
        uint64_t value_size;
        objd_status refused;                  /* of the last refusal, */
        uint64_t refused_seq;                 /* and which batch it was of */
        char sentence[WIRE_SENTENCE_MAX + 1]; /* of the last that was refused, or did not go well */
        size_t largest;                       /* bytes of the largest message that it was sent */
};

struct bench {
        struct proxy_link link; /* first */
        struct proxy_server server;
        struct peer peers[PEERS_MAX];
        uint64_t n_sent;
};

void bench_begin(struct bench *bench, objd_conn *conn);
void bench_end(struct bench *bench);

/* The daemon dies: what it had in its memory is gone, and the sessions are as they were. */
void bench_die(struct bench *bench);

/* Says hello, with the session that it has, if it has one. */
void peer_say_hello(struct peer *peer);

/* Says hello and expects a welcome. */
struct peer *peer_begin(struct bench *bench, uint32_t number);

/* The same client with the next server on the store: it asks for its session. */
struct peer *peer_go_on(struct bench *bench, const struct peer *before);

/* Sends a batch, cut into frames of this size; 0: as large as the link takes. Gives its number. */
uint64_t peer_send(struct peer *peer, const struct call *calls, size_t n, uint32_t max_frame);

/* The frames of a message, to be sent one after the other. */
void peer_send_frames(struct peer *peer, enum frame_type type, struct wire_out *out, uint32_t max_frame);
void peer_send_bytes(struct peer *peer, const void *bytes, size_t size);

/* What the server's thread does besides: turns until nobody has anything to do. */
void bench_run(struct bench *bench);
