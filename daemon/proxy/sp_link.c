/* SPDX-License-Identifier: Apache-2.0 */

/*
 * sp_link.c -- an address that the daemon listens on with nanomsg
 */

#include "proxy/sp_link.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/status.h"
#include "base/sys.h"
#include "log.h"
#include "proxy/account.h"
#include "proxy/kept.h"
#include "proxy/server.h"

/* Frames of a message together, and one frame at least. */
#define MESSAGE_BYTES (32u << 10)

/* What may wait for a peer that does not take it, and that no account pays for: refusals, and answers to pings. */
#define FREE_MAX (64u << 10)

/* How long a peer is remembered of which nothing is heard. */
#define FORGET_NS 60000000000LL

/* Where there is no room for more peers, one that is as new as this is not the first to go. */
#define NEW_NS 1000000000LL

_Static_assert(SESSIONS_MAX < SP_PEERS_MAX, "some peers are of no session");

/* A message that waits to be sent. */
struct sp_queued {
        struct sp_queued *next;
        struct account *account;   /* who pays for it; NULL: the peer, of what it has for nothing */
        struct kept_message *kept; /* whose frames are to be sent, one each time; NULL: here is what is */
        size_t used, size;
        uint8_t bytes[];
};

/* A connection of nanomsg's, known by the number that it gives it. */
struct sp_peer {
        struct sp_peer *next;
        uint32_t key;
        struct sp_flow flow;
        struct account *payer; /* of the large frame under way, NULL: there is none, */
        size_t paid;           /* and what it has paid */
        struct sp_queued *first, **last, *newest;
        size_t n_free; /* bytes that nobody pays for */
        int64_t heard_ns;
        bool is_used;           /* while room is made: a session is answered there */
        struct guarded guarded; /* where everything is sealed */
};

static uint32_t get32(const uint8_t *bytes)
{
        return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void put32(uint8_t *bytes, uint32_t value)
{
        bytes[0] = (uint8_t)(value >> 24);
        bytes[1] = (uint8_t)(value >> 16);
        bytes[2] = (uint8_t)(value >> 8);
        bytes[3] = (uint8_t)value;
}

/* ---- Peers ------------------------------------------------------------------------------------------------ */

static struct sp_queued *new_queued(struct sp_peer *peer, struct account *account, size_t room)
{
        size_t size = sizeof(struct sp_queued) + room;
        struct sp_queued *queued;

        if (!account && peer->n_free + size > FREE_MAX)
                return NULL;
        queued = account_alloc(account, size);
        if (!queued)
                return NULL;
        *queued = (struct sp_queued){ .account = account, .size = room };
        peer->n_free += account ? 0 : size;
        return queued;
}

static void free_queued(struct sp_peer *peer, struct sp_queued *queued)
{
        if (!queued->account)
                peer->n_free -= sizeof(*queued) + queued->size;
        kept_free(queued->kept);
        account_free(queued);
}

static void free_queue(struct sp_peer *peer)
{
        while (peer->first) {
                struct sp_queued *next = peer->first->next;

                free_queued(peer, peer->first);
                peer->first = next;
        }
        peer->last = &peer->first;
        peer->newest = NULL;
}

/* The large frame is not under way any more. */
static void end_large(struct sp_peer *peer)
{
        if (!peer->payer)
                return;
        account_give(peer->payer, peer->paid);
        account_unref(peer->payer);
        peer->payer = NULL;
}

static void free_peer(struct sp_link *link, struct sp_peer *peer)
{
        end_large(peer);
        if (link->guard)
                guard_forget(link->guard, &peer->guarded);
        free_queue(peer);
        free(peer);
}

/* Those that have not been heard of since then; but for those in use, unless it is about them, too. */
static void forget_silent(struct sp_link *link, int64_t since_ns, bool also_used)
{
        for (uint32_t i = 0; i < SP_PEER_BUCKETS; i++) {
                struct sp_peer **p = &link->peers[i];

                while (*p) {
                        struct sp_peer *peer = *p;

                        if (peer->heard_ns > since_ns || (peer->is_used && !also_used)) {
                                p = &peer->next;
                                continue;
                        }
                        *p = peer->next;
                        link->n_peers--;
                        free_peer(link, peer);
                }
        }
}

/* nanomsg counts its keys up. */
static struct sp_peer **bucket_of(struct sp_link *link, uint32_t key)
{
        return &link->peers[key % SP_PEER_BUCKETS];
}

static struct sp_peer *find_peer(struct sp_link *link, uint32_t key)
{
        for (struct sp_peer *peer = *bucket_of(link, key); peer; peer = peer->next)
                if (peer->key == key)
                        return peer;
        return NULL;
}

static void mark_used(struct sp_link *link, bool used)
{
        for (struct proxy_session *session = link->server->sessions.list; session; session = session->next) {
                struct sp_peer *peer =
                        session->link == &link->link ? find_peer(link, get32(session->route.bytes)) : NULL;

                if (peer)
                        peer->is_used = used;
        }
}

/*
 * nanomsg does not say when a connection ends, so many of those that are known may be gone. There are fewer sessions
 * than places, so there are always some where none is answered; whoever is there all the same is known again by the
 * next message.
 */
static void make_room(struct sp_link *link)
{
        mark_used(link, true);
        forget_silent(link, now_ns() - NEW_NS, false);
        if (link->n_peers >= SP_PEERS_MAX)
                forget_silent(link, INT64_MAX, false);
        mark_used(link, false);
}

static struct sp_peer *know_peer(struct sp_link *link, uint32_t key)
{
        struct sp_peer *peer = find_peer(link, key);

        if (!peer && link->n_peers >= SP_PEERS_MAX)
                make_room(link);
        if (!peer)
                peer = sys.alloc(sizeof(*peer));
        if (peer && !peer->last) {
                peer->key = key;
                peer->last = &peer->first;
                peer->next = *bucket_of(link, key);
                *bucket_of(link, key) = peer;
                link->n_peers++;
        }
        if (peer)
                peer->heard_ns = now_ns();
        return peer;
}

/* ---- Sending ---------------------------------------------------------------------------------------------- */

static void acked(struct sp_peer *peer, uint32_t word)
{
        sp_flow_acked(&peer->flow, word);
        if (!sp_flow_count(&peer->flow))
                end_large(peer);
}

static bool has_room(const struct sp_link *link, const struct sp_peer *peer, size_t size)
{
        return sp_flow_has_room(&peer->flow, size, link->guard ? SP_SEALED_UNDER_WAY : SP_UNDER_WAY);
}

static size_t size_of_next(const struct sp_queued *queued)
{
        return queued->kept ? frame_cut_size(&queued->kept->cutter) : queued->used;
}

/* Who pays for the message pays for a copy of this frame of it, too. */
static bool pay_large(struct sp_peer *peer, struct account *account, size_t size)
{
        end_large(peer);
        if (size > account_room(account))
                return false;
        account_note(account, size);
        peer->payer = account_ref(account);
        peer->paid = size;
        return true;
}

/*
 * How large the next frame of a message is; false: not now. A large one goes alone. Where something is under way that the peer has not told of,
 * a small one goes before it if that is what it takes for the peer to tell by itself.
 */
static bool choose_frame(const struct sp_link *link, struct sp_peer *peer, struct kept_message *kept)
{
        struct frame_cutter *cutter = &kept->cutter;
        uint32_t n_under_way = sp_flow_count(&peer->flow);

        frame_cut_limit(cutter, SP_LARGE_FRAME);
        if (frame_cut_size(cutter) <= SP_FRAME)
                return has_room(link, peer, frame_cut_size(cutter));
        if (n_under_way || !pay_large(peer, kept->account, frame_cut_size(cutter)))
                frame_cut_limit(cutter, SP_FRAME);
        return !n_under_way || (peer->flow.under_way < SP_TELL_BYTES && n_under_way < SP_TELL_MESSAGES);
}

/* Sends it, or its next frame. Whether that was all. */
static bool send_now(struct sp_link *link, struct sp_peer *peer, struct sp_queued *queued)
{
        size_t size = size_of_next(queued);
        void *data = sp_alloc(&link->sp, size);
        uint8_t head[8];

        if (!data)
                return true;
        if (queued->kept)
                frame_cut_next(&queued->kept->cutter, data);
        else
                memcpy(data, queued->bytes, size);
        sp_flow_sent(&peer->flow, size);
        put32(head, peer->key);
        put32(head + 4, sp_flow_word(&peer->flow));
        if (sp_send(&link->sp, head, sizeof(head), data))
                sp_free(&link->sp, data);
        return !queued->kept || !frame_cut_size(&queued->kept->cutter);
}

static void send_what_fits(struct sp_link *link, struct sp_peer *peer)
{
        while (peer->first) {
                struct sp_queued *queued = peer->first;

                if (queued->kept ? !choose_frame(link, peer, queued->kept)
                                 : !has_room(link, peer, queued->used))
                        break;
                if (!send_now(link, peer, queued))
                        continue;
                peer->first = queued->next;
                if (!peer->first) {
                        peer->last = &peer->first;
                        peer->newest = NULL;
                }
                free_queued(peer, queued);
        }
}

/* Room at the end of the queue for a frame: in the last message that waits, if it fits there and the same one pays. */
static uint8_t *queue_room(struct sp_peer *peer, struct account *account, size_t size)
{
        struct sp_queued *queued = peer->newest;

        if (!queued || queued->account != account || queued->size - queued->used < size) {
                size_t room = size > MESSAGE_BYTES ? size : peer->first ? MESSAGE_BYTES : size;

                queued = new_queued(peer, account, room);
                if (!queued)
                        return NULL;
                *peer->last = queued;
                peer->last = &queued->next;
                peer->newest = queued;
        }
        queued->used += size;
        return queued->bytes + queued->used - size;
}

/*
 * Queues the next frame: of a message, or one without (cutter NULL). It is sealed as it is queued, so that frames go out in the order
 * of their numbers. False: there was no room, or no channel.
 */
static bool queue_frame(struct sp_link *link, struct sp_peer *peer, struct account *account,
                        struct frame_cutter *cutter, enum frame_type type,
                        const uint8_t session[WIRE_SESSION_SIZE])
{
        size_t size = cutter ? frame_cut_size(cutter) : FRAME_HEAD, extra = link->guard ? SEAL_OVERHEAD : 0;
        uint8_t *room = queue_room(peer, account, size + extra);

        if (!room)
                return false;
        if (cutter)
                frame_cut_next(cutter, room + extra);
        else
                frame_bare(type, session, room + extra);
        if (!link->guard)
                return true;
        memmove(room, room + extra, FRAME_HEAD);
        if (sealed_close(&peer->guarded.seal, room, size - FRAME_HEAD) == OBJD_OK)
                return true;
        free_queue(peer); /* it must not go out as it is, and nothing goes on this channel any more */
        peer->guarded.is_open = false;
        return false;
}

/* The message itself waits. Nothing is put behind it in the same message of nanomsg's. */
static bool queue_kept(struct sp_peer *peer, struct account *account, const struct frame_cutter *cutter)
{
        struct kept_message *kept = kept_new(account, cutter);
        struct sp_queued *queued = kept ? new_queued(peer, account, 0) : NULL;

        if (!queued) {
                kept_free(kept);
                return false;
        }
        queued->kept = kept;
        *peer->last = queued;
        peer->last = &queued->next;
        peer->newest = NULL;
        return true;
}

/*
 * Nothing of a message is queued if there is no room for all of it, as near as that can be said. What is cut short all the same is
 * seen by the other side, where the rest is missing.
 */
static bool queue_message(struct sp_link *link, struct sp_peer *peer, struct frame_cutter *cutter,
                          uint64_t size)
{
        struct account *account = link->link.account;

        if (account && size > account_room(account)) {
                account->refused = true;
                return false;
        }
        if (cutter->out->kept && account &&
            !link->guard) /* what is sealed has its number when it is queued */
                return queue_kept(peer, account, cutter);
        while (frame_cut_size(cutter) > 0)
                if (!queue_frame(link, peer, account, cutter, 0, NULL))
                        return false;
        return true;
}

static void send_frames(struct proxy_link *proxy, const struct proxy_route *route, enum frame_type type,
                        const uint8_t session[WIRE_SESSION_SIZE], struct wire_out *out)
{
        struct sp_link *link = (struct sp_link *)proxy;
        struct sp_peer *peer = find_peer(link, get32(route->bytes));
        struct frame_cutter cutter;

        if (!peer || (link->guard && !peer->guarded.is_open))
                return;
        if (out) {
                frame_cut(&cutter, type, session, out, link->guard ? proxy->max_frame : SP_FRAME);
                link->n_dropped += !queue_message(link, peer, &cutter, out->size);
        } else {
                (void)queue_frame(link, peer, NULL, NULL, type, session);
        }
        send_what_fits(link, peer);
}

/* ---- Sealed links ----------------------------------------------------------------------------------------- */

/* What belongs to no channel is not queued or counted: if nanomsg has no room for it, it is asked for again. */
static void send_answer(struct sp_link *link, uint32_t key, const struct sp_peer *peer,
                        const struct guard_answer *answer)
{
        void *data = answer->size ? sp_alloc(&link->sp, answer->size) : NULL;
        uint8_t head[8];

        if (!data)
                return;
        memcpy(data, answer->bytes, answer->size);
        put32(head, key);
        put32(head + 4, peer ? sp_flow_word(&peer->flow) : SP_FLOW_BIT);
        if (sp_send(&link->sp, head, sizeof(head), data))
                sp_free(&link->sp, data);
}

/* Only who says a right hello is remembered. */
static void on_hello(struct sp_link *link, uint32_t key, const void *hello, size_t size,
                     struct guard_answer *answer)
{
        struct seal_pending pending;
        struct sp_peer *peer;

        if (!guard_hello(link->guard, hello, size, &pending, answer))
                return;
        peer = know_peer(link, key);
        if (peer) {
                guard_expect(link->guard, &peer->guarded, &pending);
        } else {
                (void)fail(OBJD_E_NOMEM, "no memory for one more connection");
                guard_turn_away(link->guard, hello, size, answer);
        }
        seal_pending_forget(&pending);
}

static void on_handshake(struct sp_link *link, uint32_t key, struct sp_peer *peer, enum seal_frame_type type,
                         const struct sp_message *message)
{
        const uint8_t *behind = (const uint8_t *)message->data + FRAME_HEAD;
        struct guard_answer answer = { 0 };

        if (type == SEAL_TYPE_PROOF && peer) {
                /* What waits was sealed for the channel before, if there was one. */
                if (guard_proof(link->guard, &peer->guarded, behind, message->size - FRAME_HEAD, &answer))
                        free_queue(peer);
        } else {
                on_hello(link, key, behind, message->size - FRAME_HEAD, &answer);
        }
        send_answer(link, key, peer, &answer);
}

static void on_sealed(struct sp_link *link, const struct sp_message *message)
{
        uint32_t key = get32(message->head);
        struct sp_peer *peer = find_peer(link, key);
        struct proxy_route route = { .size = 4 };
        struct guard_answer answer = { 0 };
        enum seal_frame_type type;
        size_t size;

        if (sealed_is_handshake(message->data, message->size, &type)) {
                on_handshake(link, key, peer, type, message);
                return;
        }
        guard_open(link->guard, peer ? &peer->guarded : NULL, message->data, message->size, &size, &answer);
        if (size) {
                memcpy(route.bytes, message->head, 4);
                peer->heard_ns = now_ns();
                acked(peer, get32(message->head + 4));
                send_what_fits(link, peer);
                proxy_receive(link->server, &link->link, &route, message->data, size);
        }
        send_answer(link, key, peer, &answer);
}

/* NULL would be the daemon's own user: somebody who has left is nobody. */
static const struct proxy_who *who_speaks(struct proxy_link *proxy, const struct proxy_route *route)
{
        static const struct proxy_who nobody = { .has_key = true, .rights.read_only = true };
        struct sp_peer *peer = find_peer((struct sp_link *)proxy, get32(route->bytes));

        return peer && peer->guarded.is_open ? &peer->guarded.who : &nobody;
}

/* ---- Receiving -------------------------------------------------------------------------------------------- */

static void on_plain(struct sp_link *link, const struct sp_message *message)
{
        struct proxy_route route = { .size = 4 };
        struct sp_peer *peer = know_peer(link, get32(message->head));

        if (!peer)
                return;
        memcpy(route.bytes, message->head, 4);
        acked(peer, get32(message->head + 4));
        send_what_fits(link, peer);
        proxy_receive(link->server, &link->link, &route, message->data, message->size);
}

static void on_readable(void *context)
{
        struct sp_link *link = context;
        struct sp_message message;
        int64_t now = now_ns();

        if (now - link->forgot_ns > FORGET_NS / 8) {
                forget_silent(link, now - FORGET_NS, true);
                link->forgot_ns = now;
        }
        for (uint32_t i = 0; i < PROXY_RECEIVES && sp_receive(&link->sp, &message) == OBJD_OK; i++) {
                /* Through devices of nanomsg's there would be more: we have none. */
                if (message.head_size == 8) {
                        if (link->guard)
                                on_sealed(link, &message);
                        else
                                on_plain(link, &message);
                }
                sp_free(&link->sp, message.data);
        }
}

/* ---- Too many --------------------------------------------------------------------------------------------- */

static void on_timer(void *context)
{
        struct sp_link *link = context;
        uint64_t n_ticks;

        if (read(link->timer, &n_ticks, sizeof(n_ticks)) < 0)
                return;
        if (!link->is_deaf && sp_n_connections(&link->sp) <= SP_CONNECTIONS_MAX)
                return;
        if (!link->is_deaf)
                log_warning("%s: more than %u connections; all are closed, and may be made again", link->url,
                            SP_CONNECTIONS_MAX);
        forget_silent(link, INT64_MAX, true);
        link->is_deaf = sp_bind_again(&link->sp, link->url) != OBJD_OK;
}

static objd_status start_timer(struct sp_link *link)
{
        const struct itimerspec each_second = { .it_interval.tv_sec = 1, .it_value.tv_sec = 1 };

        link->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (link->timer < 0 || timerfd_settime(link->timer, 0, &each_second, NULL) < 0)
                return fail_errno("cannot make a timer");
        return proxy_add_source(link->server, link->timer, on_timer, link);
}

/* ---- Listening -------------------------------------------------------------------------------------------- */

/*
 * Others find the control socket, where they get tokens, beside the proxy's own. Without it they cannot come, which is said; nobody
 * else's is replaced but a link.
 */
static objd_status point_to_control(const struct sp_link *link)
{
        char path[PATH_MAX];
        struct stat st;

        snprintf(path, sizeof(path), "%s" TOKEN_POINTER, link->url + strlen("ipc://"));
        if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
                (void)unlink(path); /* of a daemon that was killed */
        if (symlink(link->server->control, path) < 0)
                return fail_errno("cannot make %s, by which other users find the control socket", path);
        return OBJD_OK;
}

/* The file is made with the mode that the umask leaves; nobody else's files are made at this time. */
static objd_status listen_on(struct sp_link *link)
{
        mode_t before = umask(link->link.needs_token ? 0111 : 0177);
        objd_status r = sp_bind(&link->sp, link->url);

        (void)umask(before);
        link->bound = r == OBJD_OK && strncmp(link->url, "ipc://", 6) == 0;
        return r == OBJD_OK && link->link.needs_token ? point_to_control(link) : r;
}

static objd_status set_guard(struct sp_link *link, const struct keyring *keys)
{
        link->guard = sys.alloc(sizeof(*link->guard));
        if (!link->guard)
                return fail(OBJD_E_NOMEM, "no memory for a listener");
        link->link.max_frame = SEALED_FRAME_MAX;
        link->link.who = who_speaks;
        return guard_init(link->guard, keys, link->url, link->server->conn.arena->header->n_refused);
}

objd_status sp_link_open(struct proxy_server *server, const char *url, const struct keyring *keys,
                         struct sp_link **ret_link)
{
        struct sp_link *link = sys.alloc(sizeof(*link));
        objd_status r = OBJD_OK;

        if (!link)
                return fail(OBJD_E_NOMEM, "no memory for a listener");
        link->url = strdup(url);
        if (!link->url) {
                free(link);
                return fail(OBJD_E_NOMEM, "no memory for a listener");
        }
        link->server = server;
        link->link =
                (struct proxy_link){ .url = link->url, .max_frame = PROXY_MAX_FRAME, .send = send_frames };
        link->sp.socket = link->timer = -1;
        link->link.needs_token = server->tokens && strncmp(url, "ipc://", 6) == 0;
        if (keys)
                r = set_guard(link, keys);
        if (r == OBJD_OK)
                r = sp_open(SP_SERVER, link->link.max_frame + MESSAGE_BYTES, &link->sp);
        if (r == OBJD_OK)
                r = listen_on(link);
        if (r == OBJD_OK)
                r = proxy_add_source(server, link->sp.readable, on_readable, link);
        if (r == OBJD_OK && strncmp(url, "tcp://", 6) == 0)
                r = start_timer(link);
        if (r) {
                sp_link_close(link);
                return r;
        }
        *ret_link = link;
        return OBJD_OK;
}

static void remove_pointer(const struct sp_link *link)
{
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%s" TOKEN_POINTER, link->url + strlen("ipc://"));
        (void)unlink(path);
}

void sp_link_close(struct sp_link *link)
{
        sp_close(&link->sp);
        if (link->timer >= 0)
                (void)close(link->timer);
        if (link->bound)
                (void)unlink(link->url + strlen("ipc://"));
        if (link->bound && link->link.needs_token)
                remove_pointer(link);
        forget_silent(link, INT64_MAX, true);
        if (link->guard)
                guard_deinit(link->guard);
        free(link->guard);
        free(link->url);
        free(link);
}
