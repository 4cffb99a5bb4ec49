/* SPDX-License-Identifier: Apache-2.0 */

/*
 * peer.c -- a server without its thread, and clients that are frames
 */

#include "support/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/wire.h"
#include "support/test.h"

/* ---- What the server sends -------------------------------------------------------------------------------- */

static void keep_sentence(struct peer *peer, const char *sentence)
{
        snprintf(peer->sentence, sizeof(peer->sentence), "%s", sentence ? sentence : "");
}

static void on_reply(struct peer *peer, const struct wire_in *in, struct space *space)
{
        struct call_reply reply;
        objd_status status;

        assert_true(peer->n_replies < PEER_REPLIES);
        assert_ok(wire_unpack_reply(in, &(struct wire_limits){ 0 }, space, &reply));
        status = reply.status;
        if (!status && reply.n_answers)
                status = reply.answers[0].status;
        if (status)
                keep_sentence(peer, reply.n_answers ? reply.answers[0].sentence : reply.sentence);
        peer->integer = reply.n_answers ? reply.answers[0].integer : 0;
        peer->truth = reply.n_answers && reply.answers[0].truth;
        peer->value_size = reply.n_answers ? reply.answers[0].value.size : 0;
        peer->order[peer->n_replies] = peer->bench->n_sent;
        peer->statuses[peer->n_replies++] = status;
}

static void on_message(struct peer *peer, enum frame_type type, const struct wire_in *in, struct space *space)
{
        struct wire_welcome welcome;
        struct wire_refused refused;

        switch (type) {
        case FRAME_WELCOME:
                assert_ok(wire_unpack_welcome(in, space, &welcome));
                memcpy(peer->session, welcome.session, sizeof(peer->session));
                peer->n_welcomes++;
                break;
        case FRAME_REFUSED:
                assert_ok(wire_unpack_refused(in, space, &refused));
                peer->refused = refused.status;
                peer->refused_seq = refused.seq;
                keep_sentence(peer, refused.sentence);
                peer->n_refused++;
                break;
        default:
                assert_int_equal(type, FRAME_REPLY);
                on_reply(peer, in, space);
                break;
        }
}

static void on_send(struct proxy_link *link, const struct proxy_route *route, enum frame_type type,
                    const uint8_t session[WIRE_SESSION_SIZE], struct wire_out *out)
{
        struct bench *bench = (struct bench *)link;
        struct peer *peer = &bench->peers[route->bytes[0]];
        struct space space;
        uint8_t *bytes;

        (void)session;
        if (!out) {
                peer->n_bare++;
                return;
        }
        bytes = malloc(out->size);
        assert_non_null(bytes);
        wire_out_copy(out, 0, bytes, out->size);
        space_init(&space, NULL, 0);
        on_message(peer, type, &(struct wire_in){ bytes, out->size, out->body_size }, &space);
        space_deinit(&space);
        free(bytes);
        if (out->size > peer->largest)
                peer->largest = out->size;
        bench->n_sent++;
}

/* ---- What a client sends ---------------------------------------------------------------------------------- */

void peer_send_bytes(struct peer *peer, const void *bytes, size_t size)
{
        const struct proxy_route route = { .size = 1, .bytes = { (uint8_t)peer->number } };

        proxy_receive(&peer->bench->server, &peer->bench->link, &route, bytes, size);
}

void peer_send_frames(struct peer *peer, enum frame_type type, struct wire_out *out, uint32_t max_frame)
{
        struct frame_cutter cutter;
        size_t size;

        frame_cut(&cutter, type, peer->session, out, max_frame ? max_frame : peer->bench->link.max_frame);
        while ((size = frame_cut_size(&cutter)) > 0) {
                uint8_t *memory = malloc(size + 4),
                        *frame = memory + 4; /* as nanomsg has it: not aligned to 8 */

                assert_non_null(memory);
                frame_cut_next(&cutter, frame);
                peer_send_bytes(peer, frame, size);
                free(memory);
        }
}

uint64_t peer_send(struct peer *peer, const struct call *calls, size_t n, uint32_t max_frame)
{
        const struct call_batch batch = { .seq = ++peer->next_seq,
                                          .acked = peer->acked,
                                          .unanswered = peer->unanswered,
                                          .n_unanswered = peer->n_unanswered,
                                          .timeout_ns = 1000000000,
                                          .calls = calls,
                                          .n_calls = n };
        struct wire_out out;

        wire_out_init(&out, WIRE_BULK_FROM);
        assert_ok(wire_pack_batch(&out, &batch, 0));
        peer_send_frames(peer, FRAME_BATCH, &out, max_frame);
        wire_out_deinit(&out);
        return batch.seq;
}

void peer_say_hello(struct peer *peer)
{
        struct wire_hello hello = { .version_from = WIRE_VERSION_MIN,
                                    .version_to = WIRE_VERSION_MAX,
                                    .name = "peer" };
        static const uint8_t none[WIRE_SESSION_SIZE];
        struct wire_out out;

        hello.has_nonce = peer->has_nonce;
        memcpy(hello.nonce, peer->nonce, sizeof(hello.nonce));
        hello.has_session = memcmp(peer->session, none, sizeof(none)) != 0;
        memcpy(hello.session, peer->session, sizeof(hello.session));
        memset(peer->session, 0, sizeof(peer->session));
        wire_out_init(&out, 0);
        assert_ok(wire_pack_hello(&out, &hello));
        peer_send_frames(peer, FRAME_HELLO, &out, 0);
        wire_out_deinit(&out);
}

struct peer *peer_begin(struct bench *bench, uint32_t number)
{
        struct peer *peer = &bench->peers[number];

        *peer = (struct peer){ .bench = bench, .number = number };
        peer_say_hello(peer);
        assert_int_equal(peer->n_welcomes, 1);
        return peer;
}

struct peer *peer_go_on(struct bench *bench, const struct peer *before)
{
        struct peer *peer = &bench->peers[before->number];

        *peer = *before;
        peer->bench = bench;
        peer->n_welcomes = 0;
        peer_say_hello(peer);
        assert_int_equal(peer->n_welcomes, 1);
        return peer;
}

/* ---- The server ------------------------------------------------------------------------------------------- */

void bench_run(struct bench *bench)
{
        while (turns_has_any(&bench->server.turns))
                turns_run(&bench->server.turns);
}

void bench_begin(struct bench *bench, objd_conn *conn)
{
        memset(bench, 0, sizeof(*bench));
        bench->link = (struct proxy_link){ .url = "test:", .max_frame = PROXY_MAX_FRAME, .send = on_send };
        assert_ok(proxy_init(&bench->server, conn->arena, "test", "test:", 3600000000000LL));
}

void bench_die(struct bench *bench)
{
        proxy_stop(&bench->server);
}

/* The sessions' entries are left to the arena's end, as after a daemon's death. */
void bench_end(struct bench *bench)
{
        struct proxy_sessions *sessions = &bench->server.sessions;

        for (struct proxy_session *session = sessions->list; session; session = session->next)
                session_end(sessions->conn->arena, session->client);
        bench_die(bench);
        sessions_recover(sessions);
}
