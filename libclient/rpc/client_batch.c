/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_batch.c -- a batch on its way: it gets its number, is packed, sent again for as long as it is not answered, and waited for
 */

#include "rpc/client_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fork.h"
#include "base/status.h"
#include "base/sys.h"

/* A batch is sent again when nothing has come for so long, then for twice as long, and so on. */
#define RESEND_MIN_NS 300000000LL
#define RESEND_MAX_NS 4000000000LL
#define RESEND_NS_PER_BYTE 20 /* what the daemon may take to work on it */

/* After so many bytes of replies the daemon is told which have not come, if they are not too many. */
#define TELL_FROM ((uint64_t)1 << 20)
#define TELL_MAX 255u

/* ---- Its number, and its bytes ---------------------------------------------------------------------------------------------- */

/* Whether a batch under way has its place in the daemon's memory where the one with this number would have its own. */
static bool is_taken(const struct rpc_client *client, uint64_t seq, uint64_t window)
{
        if (!client->pending || seq - client->pending->seq < window)
                return false;
        for (const struct pending *p = client->pending; p; p = p->next)
                if (p->seq % window == seq % window)
                        return true;
        return false;
}

/* Numbers are left out whose places are taken by what waits for long. */
uint64_t client_queue_up(struct rpc_client *client, struct pending *p)
{
        struct pending **end = &client->pending;
        uint64_t window = client->welcome.window, seq = client->next_seq;

        while (window && seq - client->next_seq < window && is_taken(client, seq, window))
                seq++;
        if (window && seq - client->next_seq >= window)
                return 0;
        client->next_seq = seq + 1;
        p->seq = seq;
        while (*end)
                end = &(*end)->next;
        *end = p;
        return seq;
}

void client_leave_queue(struct rpc_client *client, struct pending *p)
{
        struct pending **q = &client->pending;

        while (*q && *q != p)
                q = &(*q)->next;
        if (*q)
                *q = p->next;
        if (client->sender == p)
                client->sender = NULL;
}

/*
 * All replies before it have come. What has ended may still stand in the list: of an earlier session, where its number says nothing of
 * this one's.
 */
static uint64_t first_unanswered(const struct rpc_client *client)
{
        const struct pending *p = client->pending;

        while (p->done)
                p = p->next;
        return p->seq;
}

/*
 * What waits for long keeps `acked` back, and the daemon keeps all answers since then. So from time to time it is told
 * which have not come. Gives how many: 0 if it is not to be told, or if all have come.
 */
static size_t find_unanswered(struct rpc_client *client, const struct pending *last,
                              uint64_t ret_numbers[TELL_MAX])
{
        size_t n = 0;

        if (first_unanswered(client) == last->seq)
                client->untold = 0;
        if (client->untold < TELL_FROM)
                return 0;
        for (const struct pending *p = client->pending; p != last; p = p->next) {
                if (p->done)
                        continue;
                if (n == TELL_MAX)
                        return 0;
                ret_numbers[n++] = p->seq;
        }
        client->untold = 0;
        return n;
}

objd_status client_pack(struct rpc_client *client, struct pending *p, struct call_batch *batch)
{
        uint64_t unanswered[TELL_MAX];
        objd_status r;

        batch->seq = p->seq;
        batch->acked = first_unanswered(client) - 1;
        batch->unanswered = unanswered;
        batch->n_unanswered = find_unanswered(client, p, unanswered);
        wire_out_init(p->out, WIRE_BULK_FROM);
        r = wire_pack_batch(p->out, batch, client->welcome.max_message);
        batch->unanswered = NULL;
        batch->n_unanswered = 0;
        p->resend_ns = RESEND_MIN_NS + (int64_t)p->out->size * RESEND_NS_PER_BYTE;
        return r;
}

objd_status client_unpack(struct rpc_client *client, struct pending *p, struct rpc_reply *ret_reply)
{
        objd_status r;

        space_init(&ret_reply->space, NULL, 0);
        space_lend(&ret_reply->space, ret_reply->answers, sizeof(ret_reply->answers));
        ret_reply->client = client;
        ret_reply->bytes = p->bytes;
        ret_reply->room = p->room;
        r = wire_unpack_reply(&p->in, &(struct wire_limits){ 0 }, &ret_reply->space, &ret_reply->reply);
        if (r)
                rpc_reply_free(ret_reply);
        return r;
}

/* ---- Under way ---------------------------------------------------------------------------------------------- */

void client_wait(struct rpc_client *client, int64_t until_ns)
{
        struct timespec time;
        int64_t now;

        if (client->reading) {
                time = as_timespec(until_ns);
                (void)pthread_cond_clockwait(&client->changed, &client->mutex, CLOCK_MONOTONIC, &time);
                return;
        }
        client->reading = true;
        (void)pthread_mutex_unlock(&client->mutex);
        now = carrier_wait(client->carrier, until_ns);
        (void)pthread_mutex_lock(&client->mutex);
        if (now > client->now_ns)
                client->now_ns = now;
        client_receive(client);
        client->reading = false;
        (void)pthread_cond_broadcast(&client->changed);
}

/*
 * Before patience ends for want of a sign, the daemon is asked for one, however long it is until the batch is sent again. Gives when to
 * look again.
 */
static int64_t ask(struct rpc_client *client, const struct pending *p, int64_t now)
{
        int64_t last = client->heard_ns > client->asked_ns ? client->heard_ns : client->asked_ns;

        if (p->patience_ns == OBJD_FOREVER)
                return INT64_MAX;
        if (p->began_ns > last)
                last = p->began_ns;
        if (now - last >= p->patience_ns / 4) {
                client_say(client, FRAME_PING);
                client->asked_ns = last = now;
        }
        return last + p->patience_ns / 4;
}

/*
 * From when on the daemon has been silent about a batch that was sent. While a long reply comes in, piece by piece, its own or
 * another one before it, nothing is lost; who asked for it again would have it sent twice, the more so the slower it comes.
 */
static int64_t last_sign(const struct rpc_client *client, const struct pending *p)
{
        return client->piece_ns > p->sent_ns ? client->piece_ns : p->sent_ns;
}

int64_t client_push(struct rpc_client *client, struct pending *p, int64_t now)
{
        int64_t again_ns = client_come_up(client);

        if (again_ns)
                return again_ns;
        if (p->sent_ns && now - last_sign(client, p) >= p->resend_ns) {
                p->resend_ns =
                        at_most(2 * p->resend_ns, RESEND_MAX_NS + (int64_t)p->out->size * RESEND_NS_PER_BYTE);
                p->sent_ns = 0;
                client_say(client, FRAME_PING);
        }
        if (!p->sent_ns)
                client_send(client, p);
        return p->sent_ns ? at_most(last_sign(client, p) + p->resend_ns, ask(client, p, now))
                          : now + RETRY_NS;
}

/* Whether it is time to give up: the daemon has not been heard of for so long, though it was asked. */
static bool is_hopeless(const struct rpc_client *client, const struct pending *p, int64_t now)
{
        int64_t last = client->heard_ns > p->began_ns ? client->heard_ns : p->began_ns;

        return p->patience_ns != OBJD_FOREVER && now - last >= p->patience_ns;
}

bool client_gives_up(struct rpc_client *client, struct pending *p, int64_t now)
{
        char sentence[256];

        if (!is_hopeless(client, p, now))
                return false;
        snprintf(sentence, sizeof(sentence),
                 "no daemon has answered at %s for %lld ms; whether the call was made is not known",
                 client->url, (long long)(p->patience_ns / 1000000));
        client_end(client, p, OBJD_E_NODAEMON, sentence);
        return true;
}

int64_t client_begin(struct rpc_client *client, struct pending *p)
{
        if (!client_come_up(client))
                client_send(client, p);
        p->began_ns = client_clock(client);
        if (p->sent_ns)
                p->sent_ns = client->said_ns = p->began_ns;
        return p->began_ns;
}

static objd_status await(struct rpc_client *client, struct pending *p)
{
        int64_t now = client_begin(client, p);

        while (!p->done) {
                int64_t until = client_push(client, p, now);

                if (p->done || client_gives_up(client, p, now))
                        break;
                client_wait(client,
                            p->patience_ns == OBJD_FOREVER ? until : at_most(until, now + p->patience_ns));
                if (!p->done)
                        now = client_clock(client);
        }
        return p->status ? fail(p->status, "%s", p->sentence ? p->sentence : "") : OBJD_OK;
}

/* A number, when one of as many batches as the daemon remembers has ended; they may all wait for long. */
static objd_status await_place(struct rpc_client *client, struct pending *p)
{
        int64_t until_ns = INT64_MAX;

        while (!client_queue_up(client, p)) {
                int64_t now = now_ns();

                if (until_ns == INT64_MAX && p->patience_ns != OBJD_FOREVER)
                        until_ns = now + p->patience_ns;
                if (now >= until_ns)
                        return fail(OBJD_E_LIMIT,
                                    "%u calls of this connection are under way, which is all there can be",
                                    client->welcome.window);
                client_wait(client, at_most(until_ns, now + RESEND_MIN_NS));
        }
        return OBJD_OK;
}

objd_status rpc_send(struct rpc_client *client, struct call_batch *batch, int64_t patience_ns,
                     struct rpc_reply *ret_reply)
{
        struct wire_out out;
        struct pending p = { .out = &out,
                             .patience_ns = patience_ns,
                             .few = ret_reply->few,
                             .few_size = sizeof(ret_reply->few) };
        objd_status r = client_enter(client);

        if (r)
                return r;
        r = await_place(client, &p);
        if (r) {
                client_leave(client);
                return r;
        }
        r = client_pack(client, &p, batch);
        if (r == OBJD_OK)
                r = await(client, &p);
        client_leave_queue(client, &p);
        client_leave(client);
        wire_out_deinit(&out);
        free(p.sentence);
        if (r == OBJD_OK)
                return client_unpack(client, &p, ret_reply);
        free(p.bytes);
        return r;
}

/* The next long reply is put together in this one's memory. Of a batch of its parent's a child only frees it. */
static bool give_to_joiner(const struct rpc_reply *reply)
{
        struct rpc_client *client = reply->client;
        bool given;

        if (!client || reply->room < CLIENT_TAKE_FROM ||
            __atomic_load_n(&client->fork_generation, __ATOMIC_ACQUIRE) != fork_generation())
                return false;
        if (client_enter(client))
                return false;
        given = frame_joiner_give(&client->joiner, reply->bytes, reply->room);
        client_leave(client);
        return given;
}

void rpc_reply_free(struct rpc_reply *reply)
{
        space_deinit(&reply->space);
        if (!give_to_joiner(reply))
                free(reply->bytes);
}
