/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c -- the client's side of a session, and the batches that a thread waits for
 */

#include "rpc/client_inside.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/status.h"
#include "base/sys.h"
#include "rpc/wire_check.h"

/* A batch is sent again when nothing has come for so long, then for twice as long, and so on. */
#define RESEND_MIN_NS 300000000LL
#define RESEND_MAX_NS 4000000000LL
#define RESEND_NS_PER_BYTE 20 /* what the daemon may take to work on it */

/* How long it is to be before a hello is said again; and between attempts to send where nobody takes it. */
#define HELLO_NS 300000000LL
#define RETRY_NS 2000000LL

#define CLOSE_PATIENCE_NS 300000000LL

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
                client->said_ns = now_ns();
        return r;
}

/* A frame without a message. If nobody takes it, that is no matter: it will be said again. */
static void say(struct rpc_client *client, enum frame_type type)
{
        void *data;

        if (carrier_reserve(client->carrier, FRAME_HEAD, &data))
                return;
        frame_bare(type, client->welcome.session, data);
        if (carrier_send(client->carrier, data, FRAME_HEAD) == OBJD_OK)
                client->said_ns = now_ns();
}

/* False: nobody takes the rest now. */
static bool send_rest(struct rpc_client *client, struct pending *p)
{
        while (frame_cut_size(&p->cutter))
                if (send_frame(client, &p->cutter))
                        return false;
        client->sender = NULL;
        p->sending = false;
        p->sent_ns = now_ns();
        if (p->cancelled)
                client_say_cancelled(client, p);
        return true;
}

/* Sends what can be sent of a batch, and says so in sent_ns when all of it has been. */
static void send_batch(struct rpc_client *client, struct pending *p)
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

/* If nobody takes it, it is said again with the batch. */
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

static void end_pending(struct rpc_client *client, struct pending *p, objd_status status,
                        const char *sentence)
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
                        end_pending(client, p, status, sentence);
        }
}

/* What the hello needs to be believed. False: there is none for us, and there will be none. */
static bool take_token(struct rpc_client *client, uint8_t token[TOKEN_SIZE_MAX], struct wire_hello *hello)
{
        objd_status r = client->token_fn(client->url, token, &hello->token_size);

        if (r == OBJD_E_ACCESS && !client->had_session) {
                end_all(client, r, objd_last_error());
                return false;
        }
        hello->token = token;
        if (r)
                hello->token_size = 0; /* the daemon says what it lacks */
        return true;
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
        };
        uint8_t token[TOKEN_SIZE_MAX];
        struct frame_cutter cutter;
        struct wire_out out;

        if (!take_token(client, token, &hello))
                return;
        memcpy(hello.session, client->welcome.session, sizeof(hello.session));
        wire_out_init(&out, 0);
        if (wire_pack_hello(&out, &hello) == OBJD_OK) {
                frame_cut(&cutter, FRAME_HELLO, nobody, &out, client->carrier->max_frame);
                if (send_frame(client, &cutter) == OBJD_OK)
                        client->hello_ns = client->said_ns;
        }
        wire_out_deinit(&out);
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
        p->bytes = sys.alloc(in->size ? in->size : 1);
        if (!p->bytes) {
                end_pending(client, p, OBJD_E_NOMEM, "no memory for a reply");
                return;
        }
        memcpy(p->bytes, in->data, in->size);
        p->in = (struct wire_in){ p->bytes, in->size, in->body_size };
        end_pending(client, p, OBJD_OK, NULL);
}

/* A session that is another one knows nothing of what is under way: whether it was done, nobody can tell any more. */
static void on_welcome(struct rpc_client *client, const struct wire_in *in)
{
        struct wire_welcome welcome;
        struct space space;

        space_init(&space, NULL, 0);
        if (!client->up && wire_unpack_welcome(in, &space, &welcome) == OBJD_OK) {
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
                        end_pending(client, p, refused.status, refused.sentence);
                } else if (client->up && refused.status == OBJD_E_NOTFOUND &&
                           memcmp(head->session, client->welcome.session, WIRE_SESSION_SIZE) == 0) {
                        client->up = false; /* another daemon, perhaps, that finds it in the store */
                        client->hello_ns = 0;
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
        bool whole;

        if (head->type != FRAME_REFUSED)
                client->heard_ns = now_ns();
        switch (head->type) {
        case FRAME_PING:
                say(client, FRAME_PONG);
                return;
        case FRAME_WELCOME:
        case FRAME_REPLY:
        case FRAME_REFUSED:
                break;
        default:
                return;
        }
        if (head->flags & FRAME_FIRST)
                frame_joiner_drop(&client->joiner); /* the daemon has given the last one up */
        if (frame_join(&client->joiner, head, piece, &whole, &in) || !whole)
                return;
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
                        say(client, FRAME_PONG);
                on_frames(client, &frames);
                carrier_release(client->carrier, &frames);
        }
}

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
                client->hello_ns = 0;
                frame_joiner_drop(&client->joiner);
        }
        if (r && r != OBJD_E_BUSY)
                end_all(client, r, objd_last_error());
        return r == OBJD_OK;
}

/* ---- Waiting ---------------------------------------------------------------------------------------------- */

static struct timespec as_timespec(int64_t ns)
{
        return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

void client_wait(struct rpc_client *client, int64_t until_ns)
{
        struct timespec time;

        if (client->reading) {
                time = as_timespec(until_ns);
                (void)pthread_cond_clockwait(&client->changed, &client->mutex, CLOCK_MONOTONIC, &time);
                return;
        }
        client->reading = true;
        (void)pthread_mutex_unlock(&client->mutex);
        carrier_wait(client->carrier, until_ns);
        (void)pthread_mutex_lock(&client->mutex);
        client_receive(client);
        client->reading = false;
        (void)pthread_cond_broadcast(&client->changed);
}

static int64_t at_most(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

int64_t client_come_up(struct rpc_client *client)
{
        int64_t now = now_ns(), again_ns = now + RETRY_NS;

        if (!is_linked(client, &again_ns))
                return again_ns;
        if (client->up)
                return 0;
        if (!client->hello_ns || now - client->hello_ns >= HELLO_NS)
                say_hello(client);
        return client->hello_ns ? client->hello_ns + HELLO_NS : again_ns;
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
                say(client, FRAME_PING);
                client->asked_ns = last = now;
        }
        return last + p->patience_ns / 4;
}

int64_t client_push(struct rpc_client *client, struct pending *p)
{
        int64_t now = now_ns(), again_ns = client_come_up(client);

        if (again_ns)
                return again_ns;
        if (p->sent_ns && now - p->sent_ns >= p->resend_ns) {
                p->resend_ns =
                        at_most(2 * p->resend_ns, RESEND_MAX_NS + (int64_t)p->out->size * RESEND_NS_PER_BYTE);
                p->sent_ns = 0;
                say(client, FRAME_PING);
        }
        if (!p->sent_ns)
                send_batch(client, p);
        return p->sent_ns ? at_most(p->sent_ns + p->resend_ns, ask(client, p, now)) : now + RETRY_NS;
}

/* Whether it is time to give up: the daemon has not been heard of for so long, though it was asked. */
static bool is_hopeless(const struct rpc_client *client, const struct pending *p)
{
        int64_t last = client->heard_ns > p->began_ns ? client->heard_ns : p->began_ns;

        return p->patience_ns != OBJD_FOREVER && now_ns() - last >= p->patience_ns;
}

bool client_gives_up(struct rpc_client *client, struct pending *p)
{
        char sentence[256];

        if (!is_hopeless(client, p))
                return false;
        snprintf(sentence, sizeof(sentence),
                 "no daemon has answered at %s for %lld ms; whether the call was made is not known",
                 client->url, (long long)(p->patience_ns / 1000000));
        end_pending(client, p, OBJD_E_NODAEMON, sentence);
        return true;
}

static objd_status await(struct rpc_client *client, struct pending *p)
{
        while (!p->done) {
                int64_t until = client_push(client, p);

                if (p->done || client_gives_up(client, p))
                        break;
                client_wait(client, p->patience_ns == OBJD_FOREVER
                                            ? until
                                            : at_most(until, now_ns() + p->patience_ns));
        }
        return p->status ? fail(p->status, "%s", p->sentence ? p->sentence : "") : OBJD_OK;
}

/* ---- After a fork ----------------------------------------------------------------------------------------- */

/* All that is the parent's is left where it is: its threads, its locks, its session. */
static objd_status make_anew(struct rpc_client *client)
{
        pthread_condattr_t attributes;
        objd_status r;

        tickets_deinit(client);
        carrier_close(client->carrier); /* before another is there: it must see that it is the parent's */
        client->carrier = NULL;
        r = carrier_open(client->url, &client->carrier);
        if (r)
                return r;
        client->link = client->carrier->link;
        (void)pthread_condattr_init(&attributes);
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void)pthread_mutex_init(&client->mutex, NULL);
        (void)pthread_cond_init(&client->changed, &attributes);
        (void)pthread_cond_init(&client->ending, &attributes);
        (void)pthread_condattr_destroy(&attributes);
        frame_joiner_init(&client->joiner, NULL, 0);
        memset(&client->welcome, 0, sizeof(client->welcome));
        client->welcome.max_frame = client->carrier->max_frame;
        client->reading = client->up = client->had_session = client->keeper_runs = client->ends = false;
        client->pending = client->sender = NULL;
        tickets_init(client);
        client->next_seq = 1;
        client->hello_ns = 0;
        client->heard_ns = client->asked_ns = client->said_ns = now_ns();
        rpc_threads_init(&client->threads);
        __atomic_store_n(&client->fork_generation, fork_generation(), __ATOMIC_RELEASE);
        return OBJD_OK;
}

static void *keep(void *context);

static objd_status start_keeper(struct rpc_client *client)
{
        sigset_t all, before;
        int error;

        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(&client->keeper, NULL, keep, client);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (error) {
                errno = error;
                return fail_errno("cannot start the thread that keeps the session alive");
        }
        client->keeper_runs = true;
        return OBJD_OK;
}

objd_status client_enter(struct rpc_client *client)
{
        objd_status r = OBJD_OK;

        if (__atomic_load_n(&client->fork_generation, __ATOMIC_ACQUIRE) != fork_generation()) {
                forklock_take(&client->anew_lock);
                if (client->fork_generation != fork_generation())
                        r = make_anew(client);
                forklock_give(&client->anew_lock);
        }
        if (r)
                return r;
        (void)pthread_mutex_lock(&client->mutex);
        if (!client->keeper_runs)
                r = start_keeper(client);
        if (r)
                (void)pthread_mutex_unlock(&client->mutex);
        return r;
}

/* ---- The thread that keeps the session alive --------------------------------------------------------------- */

/* Says that we are still there, if it is time, and gives when it will be. */
static int64_t beat(struct rpc_client *client)
{
        int64_t every = (int64_t)client->welcome.heartbeat_ns / 2;

        if (!every)
                every = HELLO_NS;
        if (now_ns() - client->said_ns >= every) {
                say(client, FRAME_PING);
                client->said_ns = now_ns();
        }
        return client->said_ns + every;
}

static void *keep(void *context)
{
        struct rpc_client *client = context;

        (void)pthread_mutex_lock(&client->mutex);
        while (!client->ends) {
                int64_t next = client_come_up(client);
                struct timespec time;

                if (!client->reading)
                        client_receive(client);
                if (!next)
                        next = beat(client);
                client->keeper_ns = at_most(next, tickets_push(client));
                time = as_timespec(client->keeper_ns);
                (void)pthread_cond_clockwait(&client->ending, &client->mutex, CLOCK_MONOTONIC, &time);
        }
        (void)pthread_mutex_unlock(&client->mutex);
        return NULL;
}

/* ---- Beginning and ending ---------------------------------------------------------------------------------- */

static void free_client(struct rpc_client *client)
{
        tickets_deinit(client);
        carrier_close(client->carrier);
        frame_joiner_deinit(&client->joiner);
        free(client->url);
        free(client);
}

static objd_status await_welcome(struct rpc_client *client, int64_t patience_ns)
{
        /* Nothing is sent of it: it only waits to be told that there is a session, or why not. */
        struct pending p = { .seq = UINT64_MAX, .patience_ns = OBJD_FOREVER };
        int64_t began = now_ns();
        objd_status r = OBJD_OK;

        client->pending = &p;
        while (!client->up && !p.done) {
                int64_t until = client_push(client, &p);

                if (p.done || (patience_ns != OBJD_FOREVER && now_ns() - began >= patience_ns))
                        break;
                client_wait(client,
                            patience_ns == OBJD_FOREVER ? until : at_most(until, began + patience_ns));
        }
        client->pending = NULL;
        if (p.status)
                r = fail(p.status, "cannot connect to \"%s\": %s", client->url, p.sentence ? p.sentence : "");
        else if (!client->up && client->holder[0])
                r = fail(OBJD_E_BUSY, "cannot connect to \"%s\": %s", client->url, client->holder);
        else if (!client->up)
                r = fail(OBJD_E_NODAEMON, "no daemon answers at \"%s\"", client->url);
        free(p.sentence);
        return r;
}

objd_status rpc_open(const char *url, rpc_token_fn token_fn, int64_t patience_ns,
                     struct rpc_client **ret_client)
{
        struct rpc_client *client = sys.alloc(sizeof(*client));
        objd_status r;

        if (!client)
                return fail(OBJD_E_NOMEM, "no memory for a connection");
        client->event = client->epoll = -1;
        client->token_fn = token_fn;
        client->url = strdup(url);
        if (!client->url) {
                free_client(client);
                return fail(OBJD_E_NOMEM, "no memory for a connection");
        }
        r = make_anew(client);
        if (r == OBJD_OK) {
                (void)pthread_mutex_lock(&client->mutex);
                r = await_welcome(client, patience_ns);
                if (r == OBJD_OK)
                        r = start_keeper(client);
                (void)pthread_mutex_unlock(&client->mutex);
        }
        if (r) {
                free_client(client);
                return r;
        }
        rpc_threads_enlist(&client->threads, client);
        *ret_client = client;
        return OBJD_OK;
}

static void end_session(struct rpc_client *client)
{
        struct call call = { .code = CALL_SESSION_END };
        struct call_batch batch = { .calls = &call, .n_calls = 1 };
        struct rpc_reply reply;

        if (rpc_send(client, &batch, CLOSE_PATIENCE_NS, &reply) == OBJD_OK)
                rpc_reply_free(&reply);
}

void rpc_close(struct rpc_client *client)
{
        rpc_threads_delist(&client->threads);
        if (client->fork_generation == fork_generation()) {
                end_session(client);
                (void)pthread_mutex_lock(&client->mutex);
                client->ends = true;
                (void)pthread_cond_signal(&client->ending);
                (void)pthread_mutex_unlock(&client->mutex);
                if (client->keeper_runs)
                        (void)pthread_join(client->keeper, NULL);
                (void)pthread_cond_destroy(&client->changed);
                (void)pthread_cond_destroy(&client->ending);
                (void)pthread_mutex_destroy(&client->mutex);
        }
        rpc_threads_deinit(&client->threads);
        free_client(client);
}

bool rpc_is_read_only(const struct rpc_client *client)
{
        return client->read_only;
}

void rpc_remember_thread(struct rpc_client *client)
{
        rpc_threads_add(&client->threads, rpc_thread());
}

/* ---- A batch ---------------------------------------------------------------------------------------------- */

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
        p->began_ns = now_ns();
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

objd_status client_pack(struct rpc_client *client, struct pending *p, struct call_batch *batch)
{
        objd_status r;

        batch->seq = p->seq;
        batch->acked = client->pending->seq - 1;
        wire_out_init(p->out, WIRE_BULK_FROM);
        r = wire_pack_batch(p->out, batch, client->welcome.max_message);
        p->resend_ns = RESEND_MIN_NS + (int64_t)p->out->size * RESEND_NS_PER_BYTE;
        return r;
}

objd_status client_unpack(struct pending *p, struct rpc_reply *ret_reply)
{
        objd_status r;

        space_init(&ret_reply->space, NULL, 0);
        ret_reply->bytes = p->bytes;
        r = wire_unpack_reply(&p->in, &(struct wire_limits){ 0 }, &ret_reply->space, &ret_reply->reply);
        if (r)
                rpc_reply_free(ret_reply);
        return r;
}

objd_status rpc_send(struct rpc_client *client, struct call_batch *batch, int64_t patience_ns,
                     struct rpc_reply *ret_reply)
{
        struct wire_out out;
        struct pending p = { .out = &out, .patience_ns = patience_ns };
        objd_status r = client_enter(client);

        if (r)
                return r;
        while (!client_queue_up(client, &p))
                client_wait(client, now_ns() + RESEND_MIN_NS);
        r = client_pack(client, &p, batch);
        if (r == OBJD_OK)
                r = await(client, &p);
        client_leave_queue(client, &p);
        (void)pthread_mutex_unlock(&client->mutex);
        wire_out_deinit(&out);
        free(p.sentence);
        if (r == OBJD_OK)
                return client_unpack(&p, ret_reply);
        free(p.bytes);
        return r;
}

void rpc_reply_free(struct rpc_reply *reply)
{
        space_deinit(&reply->space);
        free(reply->bytes);
}
