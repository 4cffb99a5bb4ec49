/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_frames.c -- what the client's side of a session says, and what it hears: frames go out, frames come in
 */

#include "rpc/client_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/status.h"
#include "base/sys.h"
#include "rpc/wire_check.h"

/* How long it is to be before a hello is said again. */
#define HELLO_NS 300000000LL

/* How often in a row what has come finds no memory, before those who wait for it are told. */
#define LACKS_MAX 4u

/* ---- Sending ---------------------------------------------------------------------------------------------- */

static objd_status send_frame(struct rpc_client *client, struct frame_cutter *cutter)
{
        size_t size = frame_cut_size(cutter);
        struct frame_cutter before = *cutter;
        void *data;
        objd_status r = carrier_reserve(client->carrier, size, &data);

        if (r)
                return r;
        frame_cut_next(cutter, data);
        r = carrier_send(client->carrier, data, size);
        if (r)
                *cutter = before;
        else
                client->said_ns = client->now_ns;
        return r;
}

void client_say(struct rpc_client *client, enum frame_type type)
{
        void *data;

        if (carrier_reserve(client->carrier, FRAME_HEAD, &data))
                return;
        frame_bare(type, client->welcome.session, data);
        if (carrier_send(client->carrier, data, FRAME_HEAD) == OBJD_OK)
                client->said_ns = client->now_ns;
}

/* False: nobody takes the rest now. */
static bool send_rest(struct rpc_client *client, struct pending *p)
{
        while (frame_cut_size(&p->cutter))
                if (send_frame(client, &p->cutter))
                        return false;
        client->sender = NULL;
        p->sending = false;
        p->sent_ns = client->said_ns; /* a moment ago */
        if (p->cancelled)
                client_say_cancelled(client, p);
        return true;
}

void client_send(struct rpc_client *client, struct pending *p)
{
        if (client->sender && client->sender != p && !send_rest(client, client->sender))
                return;
        if (!p->sending) {
                frame_cut(&p->cutter, FRAME_BATCH, client->welcome.session, p->out,
                          client->welcome.max_frame);
                p->sending = true;
        }
        client->sender = p;
        (void)send_rest(client, p);
}

void client_say_cancelled(struct rpc_client *client, struct pending *p)
{
        const struct call_batch batch = { .seq = p->seq, .cancel = true };
        struct frame_cutter cutter;
        struct wire_out out;

        if (client->sender)
                return;
        wire_out_init(&out, 0);
        if (wire_pack_batch(&out, &batch, client->welcome.max_message) == OBJD_OK) {
                frame_cut(&cutter, FRAME_BATCH, client->welcome.session, &out, client->welcome.max_frame);
                (void)send_frame(client, &cutter);
        }
        wire_out_deinit(&out);
}

/* ---- What has come ---------------------------------------------------------------------------------------- */

static struct pending *find_pending(struct rpc_client *client, uint64_t seq)
{
        for (struct pending *p = client->pending; p; p = p->next)
                if (p->seq == seq && !p->done)
                        return p;
        return NULL;
}

void client_end(struct rpc_client *client, struct pending *p, objd_status status, const char *sentence)
{
        p->status = status;
        p->sentence = status ? strdup(sentence) : NULL;
        p->done = true;
        if (client->sender == p)
                client->sender = NULL;
        if (p->ticket)
                ticket_end(client, p->ticket);
        (void)pthread_cond_broadcast(&client->changed);
}

static void end_all(struct rpc_client *client, objd_status status, const char *sentence)
{
        struct pending *next;

        for (struct pending *p = client->pending; p; p = next) {
                next = p->next;
                if (!p->done)
                        client_end(client, p, status, sentence);
        }
}

/*
 * There was no memory for what has come. It comes again, since it is sent again until it is answered; but not for ever. A session that there
 * is none of yet is not waited for.
 */
static void lack_memory(struct rpc_client *client)
{
        if (client->had_session && ++client->n_lacked < LACKS_MAX)
                return;
        client->n_lacked = 0;
        end_all(client, OBJD_E_NOMEM,
                client->had_session
                        ? "no memory for what the daemon answers; whether the call was made is not known"
                        : "no memory for a session");
}

/*
 * What the hello needs to be believed. False: it is not said now. Without it the daemon would take us for somebody who has no right, so who
 * cannot be told now asks again; but who is refused, or fails before there is anything that is waited for, is told so.
 */
static bool take_token(struct rpc_client *client, uint8_t token[TOKEN_SIZE_MAX], struct wire_hello *hello)
{
        objd_status r = client->token_fn(client->url, token, &hello->token_size);

        hello->token = token;
        if (r == OBJD_OK)
                return true;
        if (r == OBJD_E_ACCESS || (r != OBJD_E_NODAEMON && !client->had_session))
                end_all(client, r, objd_last_error());
        client->hello_again_ns = now_ns() + HELLO_NS;
        return false;
}

/* If nobody takes it, it is as if it had not been said. */
static void say_hello(struct rpc_client *client)
{
        static const uint8_t nobody[WIRE_SESSION_SIZE];
        struct wire_hello hello = {
                .version_from = WIRE_VERSION_MIN,
                .version_to = WIRE_VERSION_MAX,
                .name = program_invocation_short_name,
                .pid = (uint64_t)getpid(),
                .has_session = client->had_session,
                .bulk_from = WIRE_BULK_FROM,
                .has_nonce = true,
        };
        uint8_t token[TOKEN_SIZE_MAX];
        struct frame_cutter cutter;
        struct wire_out out;

        if (!take_token(client, token, &hello))
                return;
        memcpy(hello.session, client->welcome.session, sizeof(hello.session));
        memcpy(hello.nonce, client->nonce, sizeof(hello.nonce));
        wire_out_init(&out, 0);
        if (wire_pack_hello(&out, &hello) == OBJD_OK) {
                frame_cut(&cutter, FRAME_HELLO, nobody, &out, client->carrier->max_frame);
                if (send_frame(client, &cutter) == OBJD_OK)
                        client->hello_again_ns = client->said_ns + HELLO_NS;
        } else {
                lack_memory(client);
        }
        wire_out_deinit(&out);
}

/* Keeps what has come, in the waiter's own memory if it is small; a long reply stays where it has been put together. */
static bool keep_bytes(struct rpc_client *client, struct pending *p, const struct wire_in *in)
{
        void *bytes = NULL;

        p->room = in->size;
        if (in->size >= CLIENT_TAKE_FROM)
                bytes = frame_joiner_take(&client->joiner, in->data, &p->room);
        if (!bytes) {
                bytes = in->size <= p->few_size ? p->few : sys.resize(NULL, in->size);
                if (!bytes)
                        return false;
                memcpy(bytes, in->data, in->size);
        }
        p->bytes = bytes != p->few ? bytes : NULL;
        p->in = (struct wire_in){ bytes, in->size, in->body_size };
        return true;
}

/* Only its number is read here; the one who waits for it reads the rest. */
static void on_reply(struct rpc_client *client, const struct wire_in *in)
{
        struct pending *p = NULL;
        uint64_t seq = wire_check_seq(in->data, in->body_size);

        if (seq)
                p = find_pending(client, seq);
        if (!p)
                return; /* an answer to what has been answered, or given up */
        if (!keep_bytes(client, p, in)) {
                lack_memory(client);
                return;
        }
        client->n_lacked = 0;
        client->untold += in->size;
        client_end(client, p, OBJD_OK, NULL);
}

/* A session that is another one knows nothing of what is under way: whether it was done, nobody can tell any more. */
static void on_welcome(struct rpc_client *client, const struct wire_in *in)
{
        struct wire_welcome welcome;
        struct space space;
        objd_status r;

        space_init(&space, NULL, 0);
        r = client->up ? OBJD_E_INVAL : wire_unpack_welcome(in, &space, &welcome);
        if (r == OBJD_E_NOMEM)
                lack_memory(client);
        if (r == OBJD_OK) {
                if (client->had_session && !welcome.resumed) {
                        end_all(client, OBJD_E_NODAEMON,
                                "the session was over before the daemon answered; whether the call was made is not "
                                "known");
                        client->next_seq = 1;
                }
                client->welcome = welcome;
                client->welcome.store = NULL;
                if (!welcome.max_frame || welcome.max_frame > client->carrier->max_frame)
                        client->welcome.max_frame = client->carrier->max_frame;
                client->read_only = welcome.read_only;
                client->had_session = client->up = true;
                randombytes_buf(client->nonce, sizeof(client->nonce)); /* the next session is another one */
                client->holder[0] = '\0';
                for (struct pending *p = client->pending; p; p = p->next) {
                        p->sending = false;
                        p->sent_ns = 0;
                }
                client->sender = NULL;
                client->push_ns = 0;
                (void)pthread_cond_broadcast(&client->changed);
        }
        space_deinit(&space);
}

/*
 * A batch is refused, or a frame because nobody knows its session, or the hello, which has no session. Several frames may
 * have been on their way to a daemon that does not know the session: after the first we are not up any more, and the others say nothing new.
 */
static void on_refused(struct rpc_client *client, const struct frame_head *head, const struct wire_in *in)
{
        static const uint8_t nobody[WIRE_SESSION_SIZE];
        struct wire_refused refused;
        struct pending *p = NULL;
        struct space space;

        space_init(&space, NULL, 0);
        if (wire_unpack_refused(in, &space, &refused) == OBJD_OK) {
                if (refused.seq)
                        p = find_pending(client, refused.seq);
                if (p) {
                        client_end(client, p, refused.status, refused.sentence);
                } else if (client->up && refused.status == OBJD_E_NOTFOUND &&
                           memcmp(head->session, client->welcome.session, WIRE_SESSION_SIZE) == 0) {
                        client->up = false; /* another daemon, perhaps, that finds it in the store */
                        client->hello_again_ns = 0;
                } else if (!client->up && refused.status == OBJD_E_BUSY) {
                        /* Somebody living is in the hello's way: it will be said again. */
                        snprintf(client->holder, sizeof(client->holder), "%s", refused.sentence);
                } else if (!client->up && memcmp(head->session, nobody, WIRE_SESSION_SIZE) == 0) {
                        end_all(client, refused.status, refused.sentence);
                }
        }
        space_deinit(&space);
}

static void on_frame(struct rpc_client *client, const struct frame_head *head, const void *piece)
{
        struct wire_in in;
        objd_status r;
        bool whole;

        if (head->type != FRAME_REFUSED)
                client->heard_ns = client->now_ns;
        switch (head->type) {
        case FRAME_PING:
                client_say(client, FRAME_PONG);
                return;
        case FRAME_REPLY:
                /* Another session's batches have the same numbers. */
                if (memcmp(head->session, client->welcome.session, WIRE_SESSION_SIZE) != 0)
                        return;
                break;
        case FRAME_WELCOME:
        case FRAME_REFUSED:
                break;
        default:
                return;
        }
        if (head->flags & FRAME_FIRST)
                frame_joiner_drop(&client->joiner); /* the daemon has given the last one up */
        r = frame_join(&client->joiner, head, piece, &whole, &in);
        if (r == OBJD_E_NOMEM)
                lack_memory(client);
        if (r)
                return;
        if (!whole) {
                client->piece_ns = client->heard_ns;
                return;
        }
        if (head->type == FRAME_WELCOME)
                on_welcome(client, &in);
        else if (head->type == FRAME_REPLY)
                on_reply(client, &in);
        else
                on_refused(client, head, &in);
}

static void on_frames(struct rpc_client *client, const struct carrier_frames *frames)
{
        const uint8_t *at = frames->data, *end = at + frames->size;
        struct frame_head head;

        if (frames->head) {
                on_frame(client, frames->head, frames->piece);
                return;
        }
        while (at < end &&
               frame_decode(at, (size_t)(end - at), client->carrier->max_frame, (uint32_t)WIRE_MESSAGE_MAX,
                            &head) == OBJD_OK &&
               head.piece <= (size_t)(end - at) - FRAME_HEAD) {
                on_frame(client, &head, at + FRAME_HEAD);
                at += FRAME_HEAD + head.piece;
        }
}

void client_receive(struct rpc_client *client)
{
        struct carrier_frames frames;

        while (carrier_receive(client->carrier, &frames) == OBJD_OK) {
                /* First: what is to come next may be on its way while we copy this. */
                if (client->carrier->owes_answer)
                        client_say(client, FRAME_PONG);
                on_frames(client, &frames);
                carrier_release(client->carrier, &frames);
        }
        if (client->carrier->owes_answer)
                client_say(client, FRAME_PONG); /* before, nobody took it */
}

/* ---- The link --------------------------------------------------------------------------------------------- */

/*
 * Whether frames can be sent now; if not, *ret_again_ns is when to look again. What had come of a message on an earlier link is of no
 * use, and the daemon knows the new one by our hello.
 */
static bool is_linked(struct rpc_client *client, int64_t *ret_again_ns)
{
        objd_status r = carrier_prepare(client->carrier, ret_again_ns);

        if (client->link != client->carrier->link) {
                client->link = client->carrier->link;
                client->up = false;
                client->hello_again_ns = 0;
                frame_joiner_drop(&client->joiner);
        }
        if (r && r != OBJD_E_BUSY)
                end_all(client, r, objd_last_error());
        return r == OBJD_OK;
}

int64_t client_come_up(struct rpc_client *client)
{
        int64_t now, again_ns = 0;

        if (!is_linked(client, &again_ns))
                return again_ns ? again_ns : client_clock(client) + RETRY_NS;
        if (client->up)
                return 0;
        now = client_clock(client);
        again_ns = now + RETRY_NS;
        if (now >= client->hello_again_ns)
                say_hello(client);
        return client->hello_again_ns > now ? client->hello_again_ns : again_ns;
}
