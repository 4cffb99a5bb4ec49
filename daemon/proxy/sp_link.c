/* SPDX-License-Identifier: Apache-2.0 */

/*
 * sp_link.c -- an address that the daemon listens on with nanomsg
 */

#include "proxy/sp_link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "base/sys.h"
#include "log.h"
#include "proxy/server.h"

/* Frames of a message together, and one frame at least. */
#define MESSAGE_BYTES (32u << 10)

/* What may wait for a peer that does not take it. */
#define QUEUED_MAX ((1ULL << 30) + (64ULL << 20))

/* How long a peer is remembered of which nothing is heard. */
#define FORGET_NS 60000000000LL

/* A message that waits to be sent. */
struct sp_queued {
        struct sp_queued *next;
        size_t used, size;
        uint8_t bytes[];
};

/* A connection of nanomsg's, known by the number that it gives it. */
struct sp_peer {
        struct sp_peer *next;
        uint32_t key;
        uint32_t n_sent;                     /* the number of the last message */
        uint32_t n_acked;                    /* the last one that it has told to have got */
        size_t sizes[SP_MESSAGES_UNDER_WAY]; /* of those in between, by number */
        size_t under_way;                    /* their sum */
        struct sp_queued *first, **last;
        size_t queued;
        int64_t heard_ns;
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

static void free_queue(struct sp_peer *peer)
{
        while (peer->first) {
                struct sp_queued *next = peer->first->next;

                free(peer->first);
                peer->first = next;
        }
        peer->last = &peer->first;
        peer->queued = 0;
}

static void forget_old(struct sp_link *link, int64_t now)
{
        for (uint32_t i = 0; i < SP_PEER_BUCKETS; i++) {
                struct sp_peer **p = &link->peers[i];

                while (*p) {
                        struct sp_peer *peer = *p;

                        if (now - peer->heard_ns < FORGET_NS) {
                                p = &peer->next;
                                continue;
                        }
                        *p = peer->next;
                        link->n_peers--;
                        free_queue(peer);
                        free(peer);
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

static struct sp_peer *know_peer(struct sp_link *link, uint32_t key)
{
        struct sp_peer *peer = find_peer(link, key);

        if (!peer && link->n_peers >= SP_PEERS_MAX)
                forget_old(link, now_ns());
        if (!peer && link->n_peers < SP_PEERS_MAX)
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

static void acked(struct sp_peer *peer, uint32_t number)
{
        if (number > peer->n_sent)
                return; /* from before this connection */
        while (peer->n_acked < number)
                peer->under_way -= peer->sizes[++peer->n_acked % SP_MESSAGES_UNDER_WAY];
}

static bool has_room(const struct sp_peer *peer, size_t size)
{
        return peer->n_sent == peer->n_acked || (peer->n_sent - peer->n_acked < SP_MESSAGES_UNDER_WAY &&
                                                 peer->under_way + size <= SP_UNDER_WAY);
}

static void send_now(struct sp_link *link, struct sp_peer *peer, const struct sp_queued *queued)
{
        void *data = sp_alloc(&link->sp, queued->used);
        uint8_t head[8];

        if (!data)
                return;
        memcpy(data, queued->bytes, queued->used);
        peer->n_sent++;
        peer->sizes[peer->n_sent % SP_MESSAGES_UNDER_WAY] = queued->used;
        peer->under_way += queued->used;
        put32(head, peer->key);
        put32(head + 4, peer->n_sent | 1u << 31);
        if (sp_send(&link->sp, head, sizeof(head), data))
                sp_free(&link->sp, data);
}

static void send_what_fits(struct sp_link *link, struct sp_peer *peer)
{
        while (peer->first && has_room(peer, peer->first->used)) {
                struct sp_queued *queued = peer->first;

                peer->first = queued->next;
                if (!peer->first)
                        peer->last = &peer->first;
                peer->queued -= queued->used;
                send_now(link, peer, queued);
                free(queued);
        }
}

/* Room at the end of the queue for a frame: in the last message that waits, if it fits there. */
static uint8_t *queue_room(struct sp_peer *peer, size_t size)
{
        struct sp_queued *queued = NULL;

        for (struct sp_queued *q = peer->first; q; q = q->next)
                queued = q;
        if (!queued || queued->size - queued->used < size) {
                size_t room = size > MESSAGE_BYTES ? size : peer->first ? MESSAGE_BYTES : size;

                queued = malloc(sizeof(*queued) + room);
                if (!queued)
                        return NULL;
                queued->next = NULL;
                queued->used = 0;
                queued->size = room;
                *peer->last = queued;
                peer->last = &queued->next;
        }
        queued->used += size;
        peer->queued += size;
        return queued->bytes + queued->used - size;
}

static void queue_bare(struct sp_peer *peer, enum frame_type type, const uint8_t session[WIRE_SESSION_SIZE])
{
        struct frame_head head = { .type = (uint8_t)type };
        uint8_t *room = queue_room(peer, FRAME_HEAD);

        memcpy(head.session, session, sizeof(head.session));
        if (room)
                frame_encode(&head, room);
}

static void send_frames(struct proxy_link *proxy, const struct proxy_route *route, enum frame_type type,
                        const uint8_t session[WIRE_SESSION_SIZE], struct wire_out *out)
{
        struct sp_link *link = (struct sp_link *)proxy;
        struct sp_peer *peer = find_peer(link, get32(route->bytes));
        struct frame_cutter cutter;
        size_t size;

        if (!peer)
                return;
        if (!out) {
                queue_bare(peer, type, session);
                send_what_fits(link, peer);
                return;
        }
        if (peer->queued + out->size > QUEUED_MAX) {
                link->n_dropped++;
                return;
        }
        frame_cut(&cutter, type, session, out, proxy->max_frame);
        while ((size = frame_cut_size(&cutter)) > 0) {
                uint8_t *room = queue_room(peer, size);

                if (!room) {
                        link->n_dropped++;
                        return;
                }
                frame_cut_next(&cutter, room);
        }
        send_what_fits(link, peer);
}

/* ---- Receiving -------------------------------------------------------------------------------------------- */

static void on_readable(void *context)
{
        struct sp_link *link = context;
        struct sp_message message;

        for (uint32_t i = 0; i < PROXY_RECEIVES && sp_receive(&link->sp, &message) == OBJD_OK; i++) {
                struct proxy_route route = { .size = 4 };
                struct sp_peer *peer = NULL;

                /* Through devices of nanomsg's there would be more: we have none. */
                if (message.head_size == 8)
                        peer = know_peer(link, get32(message.head));
                if (peer) {
                        memcpy(route.bytes, message.head, 4);
                        acked(peer, get32(message.head + 4) & ~(1u << 31));
                        send_what_fits(link, peer);
                        proxy_receive(link->server, &link->link, &route, message.data, message.size);
                }
                sp_free(&link->sp, message.data);
        }
}

/* ---- Listening -------------------------------------------------------------------------------------------- */

/* The file is made with the mode that the umask leaves; nobody else's files are made at this time. */
static objd_status listen_on(struct sp_link *link)
{
        mode_t before = umask(0177);
        objd_status r = sp_bind(&link->sp, link->url);

        (void)umask(before);
        link->bound = r == OBJD_OK;
        return r;
}

objd_status sp_link_open(struct proxy_server *server, const char *url, struct sp_link **ret_link)
{
        struct sp_link *link = sys.alloc(sizeof(*link));
        objd_status r;

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
        link->sp.socket = -1;
        r = sp_open(SP_SERVER, PROXY_MAX_FRAME + MESSAGE_BYTES, &link->sp);
        if (r == OBJD_OK)
                r = listen_on(link);
        if (r == OBJD_OK)
                r = proxy_add_source(server, link->sp.readable, on_readable, link);
        if (r) {
                sp_link_close(link);
                return r;
        }
        *ret_link = link;
        return OBJD_OK;
}

void sp_link_close(struct sp_link *link)
{
        sp_close(&link->sp);
        if (link->bound)
                (void)unlink(link->url + strlen("ipc://"));
        forget_old(link, INT64_MAX);
        free(link->url);
        free(link);
}
