/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ring_link.c -- the daemon's side of local: urls
 */

#include "proxy/ring_link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/status.h"
#include "base/sys.h"
#include "log.h"
#include "proxy/account.h"
#include "proxy/kept.h"
#include "proxy/server.h"
#include "sync/wait.h"

/* After a client's last request. Who sends seldom is looked for less long, down to the shorter one. */
#define SPIN_MAX_NS 50000
#define SPIN_MIN_NS 2000

/* How long rings are looked at before it is other sources' turn, and how often before the clock is read. */
#define TURN_NS 20000
#define TURN_LOOKS 8

/* Frames of one client, and their bytes, before others have their turn; one frame in any case. */
#define FRAMES_PER_TURN 4
#define BYTES_PER_TURN (64u << 10)

/* A client that does not take its replies is not read from while so much waits for it. */
#define QUEUED_STOP (256u << 10)

/* Frames that did not fit the ring. */
struct ring_queued {
        struct ring_queued *next;
        struct kept_message *kept; /* whose frames they are, cut when there is room; NULL: here they are */
        size_t at, used, size;
        uint8_t bytes[];
};

struct ring_peer {
        struct proxy_source source; /* the bell */
        struct ring_link *link;
        struct proxy_route route;
        struct ring_pair pair;
        int socket; /* -1 once it is not ours to use; under the link's mutex */
        bool gone;  /* the same */
        struct proxy_who who;
        bool is_awake;
        bool is_cut;                      /* it has scribbled: nothing is read any more */
        uint8_t session[SESSION_ID_SIZE]; /* of its own, that it last named */
        int64_t heard_ns, spin_ns;
        struct ring_queued *first, **last;
        size_t queued;
};

/* ---- Who is who ------------------------------------------------------------------------------------------- */

static struct proxy_route make_route(uint32_t place, uint32_t generation)
{
        struct proxy_route route = { .size = 8 };

        memcpy(route.bytes, &place, 4);
        memcpy(route.bytes + 4, &generation, 4);
        return route;
}

static struct ring_peer *find_peer(struct ring_link *link, const struct proxy_route *route)
{
        struct ring_peer *peer;
        uint32_t place;

        memcpy(&place, route->bytes, 4);
        peer = __atomic_load_n(&link->peers[place % RING_LINK_PEERS_MAX], __ATOMIC_ACQUIRE);
        return peer && memcmp(peer->route.bytes, route->bytes, 8) == 0 ? peer : NULL;
}

/* NULL would be the daemon's own user: somebody who has left is nobody. */
static const struct proxy_who *who_is(struct proxy_link *proxy, const struct proxy_route *route)
{
        static const struct proxy_who nobody = { .has_key = true, .rights.read_only = true };
        const struct ring_peer *peer = find_peer((struct ring_link *)proxy, route);

        return peer ? &peer->who : &nobody;
}

/* ---- Bells ------------------------------------------------------------------------------------------------ */

/* If the socket is full, then the client has bells enough to wake up by. */
static void ring_bell(struct ring_peer *peer)
{
        (void)pthread_mutex_lock(&peer->link->mutex);
        if (peer->socket >= 0)
                (void)send(peer->socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)pthread_mutex_unlock(&peer->link->mutex);
}

/* The client is hung up on, and comes back with new rings if it can; its session goes on until then. */
static void cut(struct ring_peer *peer)
{
        log_limited("a client's rings are dropped: %s", objd_last_error());
        peer->is_cut = true;
        (void)pthread_mutex_lock(&peer->link->mutex);
        if (peer->socket >= 0)
                (void)shutdown(peer->socket, SHUT_RDWR);
        (void)pthread_mutex_unlock(&peer->link->mutex);
}

static void wake(struct ring_peer *peer)
{
        struct ring_link *link = peer->link;

        if (peer->is_awake || peer->is_cut)
                return;
        ring_reader_wakes(&peer->pair.up);
        peer->is_awake = true;
        link->awake[link->n_awake++] = peer;
}

static void on_bell(void *context)
{
        struct ring_peer *peer = context;
        int64_t now = peer->link->server->sessions.now_ns;

        if (!peer->is_awake) {
                peer->spin_ns = now - peer->heard_ns < 2 * SPIN_MAX_NS ? SPIN_MAX_NS : peer->spin_ns / 2;
                if (peer->spin_ns < SPIN_MIN_NS)
                        peer->spin_ns = SPIN_MIN_NS;
                peer->heard_ns = now;
        }
        wake(peer);
}

static size_t size_of_next(const struct ring_queued *queued)
{
        struct frame_head head;

        if (queued->kept)
                return frame_cut_size(&queued->kept->cutter);
        /* We have made it ourselves. */
        (void)frame_decode(queued->bytes + queued->at, queued->used - queued->at, RING_LINK_FRAME,
                           (uint32_t)WIRE_MESSAGE_MAX, &head);
        return FRAME_HEAD + (size_t)head.piece;
}

/* False: there is something to be done for it. */
static bool doze(struct ring_peer *peer)
{
        bool reads = peer->queued < QUEUED_STOP;

        if (peer->is_cut)
                return true;
        if (reads && !ring_reader_sleeps(&peer->pair.up))
                return false;
        if (!peer->first || ring_writer_sleeps(&peer->pair.down, size_of_next(peer->first)))
                return true;
        ring_reader_wakes(&peer->pair.up);
        return false;
}

/* ---- Sending ---------------------------------------------------------------------------------------------- */

static void free_queued(struct ring_queued *queued)
{
        kept_free(queued->kept);
        account_free(queued);
}

static void free_queue(struct ring_peer *peer)
{
        while (peer->first) {
                struct ring_queued *next = peer->first->next;

                free_queued(peer->first);
                peer->first = next;
        }
        peer->last = &peer->first;
        peer->queued = 0;
}

/* Whether any of what waits could be sent. */
static bool flush(struct ring_peer *peer)
{
        bool any = false;

        while (peer->first) {
                struct ring_queued *queued = peer->first;
                size_t size = size_of_next(queued);
                uint8_t *room;
                objd_status r = ring_reserve(&peer->pair.down, size, &room);

                if (r == OBJD_E_PROTO)
                        cut(peer);
                if (r)
                        break;
                if (queued->kept)
                        frame_cut_next(&queued->kept->cutter, room);
                else
                        memcpy(room, queued->bytes + queued->at, size);
                if (ring_put(&peer->pair.down, size))
                        ring_bell(peer);
                any = true;
                queued->at += size;
                peer->queued -= size;
                if (queued->at < queued->used)
                        continue;
                peer->first = queued->next;
                if (!peer->first)
                        peer->last = &peer->first;
                free_queued(queued);
        }
        return any;
}

/* Memory for the rest of a message: as many bytes, and their heads. */
static struct ring_queued *queue_room(struct ring_peer *peer, size_t size)
{
        struct ring_queued *queued = account_alloc(peer->link->link.account, sizeof(*queued) + size);

        if (!queued) {
                peer->link->n_dropped++;
                return NULL;
        }
        *queued = (struct ring_queued){ .size = size };
        *peer->last = queued;
        peer->last = &queued->next;
        peer->queued += size;
        return queued;
}

/* The message itself waits, if it can. */
static void keep_rest(struct ring_peer *peer, struct frame_cutter *cutter)
{
        struct kept_message *kept = kept_new(peer->link->link.account, cutter);
        struct ring_queued *queued = kept ? queue_room(peer, 0) : NULL;

        if (!queued) {
                peer->link->n_dropped += !kept;
                kept_free(kept);
                return;
        }
        queued->kept = kept;
        queued->used = kept_size(kept);
        peer->queued += queued->used;
        wake(peer);
}

static void queue_rest(struct ring_peer *peer, struct frame_cutter *cutter)
{
        uint64_t left = cutter->head.message - cutter->at;
        uint64_t n = left / (cutter->max_frame - FRAME_HEAD) + 1;
        struct ring_queued *queued;
        size_t size;

        if (cutter->out->kept) {
                keep_rest(peer, cutter);
                return;
        }
        queued = queue_room(peer, left + n * FRAME_HEAD);
        if (!queued)
                return;
        while ((size = frame_cut_size(cutter)) > 0) {
                frame_cut_next(cutter, queued->bytes + queued->used);
                queued->used += size;
        }
        peer->queued -= queued->size - queued->used;
        wake(peer); /* or nobody would notice that there is room */
}

static void send_bare(struct ring_peer *peer, enum frame_type type, const uint8_t session[WIRE_SESSION_SIZE])
{
        struct ring_queued *queued;
        uint8_t *room;

        if (!peer->first && ring_reserve(&peer->pair.down, FRAME_HEAD, &room) == OBJD_OK) {
                frame_bare(type, session, room);
                if (ring_put(&peer->pair.down, FRAME_HEAD))
                        ring_bell(peer);
                return;
        }
        queued = queue_room(peer, FRAME_HEAD);
        if (!queued)
                return;
        frame_bare(type, session, queued->bytes);
        queued->used = FRAME_HEAD;
        wake(peer);
}

static void send_frames(struct proxy_link *proxy, const struct proxy_route *route, enum frame_type type,
                        const uint8_t session[WIRE_SESSION_SIZE], struct wire_out *out)
{
        struct ring_peer *peer = find_peer((struct ring_link *)proxy, route);
        struct frame_cutter cutter;
        size_t size;

        if (!peer || peer->is_cut)
                return;
        if (!out) {
                send_bare(peer, type, session);
                return;
        }
        frame_cut(&cutter, type, session, out, proxy->max_frame);
        while (!peer->first && (size = frame_cut_size(&cutter)) > 0) {
                uint8_t *room;
                objd_status r = ring_reserve(&peer->pair.down, size, &room);

                if (r == OBJD_E_PROTO) {
                        cut(peer);
                        return;
                }
                if (r)
                        break;
                frame_cut_next(&cutter, room);
                if (ring_put(&peer->pair.down, size))
                        ring_bell(peer);
        }
        if (frame_cut_size(&cutter))
                queue_rest(peer, &cutter);
}

/* ---- Receiving -------------------------------------------------------------------------------------------- */

/* NULL if it is not this client's. */
static struct proxy_session *session_of(struct ring_link *link, const struct ring_peer *peer,
                                        const uint8_t id[SESSION_ID_SIZE])
{
        struct proxy_session *session = session_by_id(&link->server->sessions, id);

        return session && session->link == &link->link && find_peer(link, &session->route) == peer ? session
                                                                                                   : NULL;
}

/* Whether there was anything to do. */
static bool serve_now(struct ring_link *link, struct ring_peer *peer)
{
        bool any = peer->first && flush(peer);
        size_t n_bytes = 0;

        for (int i = 0;
             i < FRAMES_PER_TURN && n_bytes < BYTES_PER_TURN && !peer->is_cut && peer->queued < QUEUED_STOP;
             i++) {
                struct frame_head head;
                const void *piece;
                objd_status r = ring_next(&peer->pair.up, RING_LINK_FRAME, link->copy, &head, &piece);

                if (r == OBJD_E_EMPTY)
                        break;
                if (r) {
                        cut(peer);
                        break;
                }
                proxy_receive_frame(link->server, &link->link, &peer->route, &head, piece);
                if (memcmp(peer->session, head.session, SESSION_ID_SIZE) != 0 &&
                    session_of(link, peer, head.session))
                        memcpy(peer->session, head.session, SESSION_ID_SIZE);
                if (ring_take(&peer->pair.up, &head))
                        ring_bell(peer);
                n_bytes += head.piece;
                any = true;
        }
        return any;
}

/* The same beside other clients: some of them are waited for, and what is done for others is counted. */
static bool serve_in_turn(struct ring_link *link, struct ring_peer *peer)
{
        struct turns *turns = &link->server->turns;
        struct proxy_session *session = session_of(link, peer, peer->session);
        int64_t begun_ns;

        if (!session)
                return serve_now(link, peer);
        if (!turns_may_begin(turns, session))
                return false;
        begun_ns = turns_is_quick(turns, session) ? 0 : now_ns();
        if (!serve_now(link, peer))
                return false;
        if (ring_has_news(&peer->pair.up))
                pace_has_more(&session->pace);
        if (begun_ns)
                turns_count(turns, session, begun_ns);
        return true;
}

static bool serve(struct ring_link *link, struct ring_peer *peer)
{
        return link->n_awake > 1 && link->link.is_near ? serve_in_turn(link, peer) : serve_now(link, peer);
}

static bool serve_all(struct ring_link *link, int64_t now)
{
        bool any = false;

        for (uint32_t i = 0; i < link->n_awake; i++) {
                struct ring_peer *peer = link->awake[i];

                if ((!peer->first && !ring_has_news(&peer->pair.up)) || !serve(link, peer))
                        continue;
                peer->heard_ns = now;
                any = true;
        }
        turns_run(&link->server->turns);
        return any || turns_has_any(&link->server->turns);
}

static void sleep_who_is_silent(struct ring_link *link, int64_t now)
{
        for (uint32_t i = link->n_awake; i-- > 0;) {
                struct ring_peer *peer = link->awake[i];
                int64_t spin_ns = peer->spin_ns < link->spin_ns ? peer->spin_ns : link->spin_ns;

                if (!peer->is_cut && (now - peer->heard_ns < spin_ns || !doze(peer)))
                        continue;
                peer->is_awake = false;
                link->awake[i] = link->awake[--link->n_awake];
        }
}

/* ---- Coming and going ------------------------------------------------------------------------------------- */

static void free_peer(struct ring_peer *peer)
{
        ring_unmap(&peer->pair);
        free_queue(peer);
        if (peer->source.fd >= 0)
                (void)close(peer->source.fd);
        free(peer);
}

static void fall_asleep(struct ring_peer *peer)
{
        struct ring_link *link = peer->link;

        for (uint32_t i = 0; peer->is_awake && i < link->n_awake; i++)
                if (link->awake[i] == peer) {
                        link->awake[i] = link->awake[--link->n_awake];
                        peer->is_awake = false;
                }
}

/* The eventfd lives on with the client, so it has to be taken from epoll by hand. */
static void remove_peer(struct ring_link *link, struct ring_peer *peer)
{
        fall_asleep(peer);
        proxy_forget_source(link->server, &peer->source);
        if (!peer->is_cut)
                proxy_end_sessions_of(link->server, &link->link, &peer->route);
        free_peer(peer);
}

/* After the events that have been told: one of them may have been of somebody who has left. */
static void remove_who_has_left(struct ring_link *link)
{
        link->some_have_left = false;
        for (uint32_t i = 0; i < RING_LINK_PEERS_MAX; i++) {
                struct ring_peer *peer;

                (void)pthread_mutex_lock(&link->mutex);
                peer = link->peers[i];
                if (peer && peer->gone) {
                        __atomic_store_n(&link->peers[i], NULL, __ATOMIC_RELEASE);
                        link->n_peers--;
                } else {
                        peer = NULL;
                }
                (void)pthread_mutex_unlock(&link->mutex);
                if (peer)
                        remove_peer(link, peer);
        }
}

static void on_news(void *context)
{
        struct ring_link *link = context;
        eventfd_t n;

        (void)eventfd_read(link->news, &n);
        link->some_have_left = true;
}

/* Whether there was something to do, or may be if we look again. */
static bool serve_next(struct ring_link *link, int64_t now)
{
        for (int i = 0; i < TURN_LOOKS; i++) {
                if (serve_all(link, now))
                        return true;
                if (!link->spin_ns)
                        return false;
                wait_relax();
        }
        return true;
}

/* What the server does after the events. Whether it is to come back at once. */
static bool look(void *context)
{
        struct ring_link *link = context;
        int64_t *now = &link->server->sessions.now_ns, until = *now + TURN_NS;

        if (link->some_have_left)
                remove_who_has_left(link);
        if (!link->n_awake)
                return false;
        while (*now < until && serve_next(link, *now))
                *now = now_ns();
        sleep_who_is_silent(link, *now);
        return link->n_awake > 0;
}

static struct ring_peer *make_peer(struct ring_link *link, int socket, const struct proxy_who *who,
                                   int *ret_memory)
{
        struct ring_peer *peer = sys.alloc(sizeof(*peer));

        if (!peer) {
                (void)fail(OBJD_E_NOMEM, "no memory for a client");
                return NULL;
        }
        peer->link = link;
        peer->socket = socket;
        peer->who = *who;
        peer->last = &peer->first;
        peer->spin_ns = SPIN_MAX_NS;
        peer->source = (struct proxy_source){ eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), on_bell, peer };
        if (peer->source.fd < 0) {
                (void)fail_errno("cannot make a bell");
        } else if (ring_memory(RING_LINK_SIZE, ret_memory) == OBJD_OK) {
                if (ring_map(*ret_memory, RING_LINK_SIZE, &peer->pair) == OBJD_OK) {
                        (void)ring_reader_sleeps(&peer->pair.up);
                        (void)ring_reader_sleeps(&peer->pair.down); /* so that the first answer rings */
                        return peer;
                }
                (void)close(*ret_memory);
        }
        free_peer(peer);
        return NULL;
}

/* With the mutex held. RING_LINK_PEERS_MAX if there is none. */
static uint32_t find_place(const struct ring_link *link)
{
        uint32_t place = 0;

        while (place < RING_LINK_PEERS_MAX && link->peers[place])
                place++;
        return place;
}

static objd_status enter_peer(struct ring_link *link, struct ring_peer *peer)
{
        uint32_t place;
        objd_status r;

        (void)pthread_mutex_lock(&link->mutex);
        place = find_place(link);
        if (place == RING_LINK_PEERS_MAX) {
                r = fail(OBJD_E_LIMIT, "%u clients have rings, which is all there can be",
                         RING_LINK_PEERS_MAX);
        } else {
                peer->route = make_route(place, ++link->generation);
                r = proxy_watch_changes(link->server, &peer->source);
        }
        if (r == OBJD_OK) {
                __atomic_store_n(&link->peers[place], peer, __ATOMIC_RELEASE);
                link->n_peers++;
        }
        (void)pthread_mutex_unlock(&link->mutex);
        return r;
}

objd_status ring_link_invite(struct ring_link *link, int socket, const struct proxy_who *who,
                             struct ring_offer *ret_offer)
{
        int memory = -1;
        struct ring_peer *peer = make_peer(link, socket, who, &memory);
        objd_status r;

        if (!peer)
                return fail(OBJD_E_SYS, "%s", objd_last_error());
        r = enter_peer(link, peer);
        if (r) {
                (void)close(memory);
                free_peer(peer);
                return r;
        }
        ret_offer->memory = memory;
        ret_offer->bell = peer->source.fd;
        memcpy(&ret_offer->handle, peer->route.bytes, 8);
        return OBJD_OK;
}

void ring_link_dismiss(struct ring_link *link, uint64_t handle)
{
        struct proxy_route route = { .size = 8 };
        struct ring_peer *peer;

        if (!link)
                return;
        memcpy(route.bytes, &handle, 8);
        (void)pthread_mutex_lock(&link->mutex);
        peer = find_peer(link, &route);
        if (peer) {
                peer->socket = -1;
                peer->gone = true;
                (void)eventfd_write(link->news, 1);
        }
        (void)pthread_mutex_unlock(&link->mutex);
}

/* ---- The link --------------------------------------------------------------------------------------------- */

objd_status ring_link_open(struct proxy_server *server, struct ring_link **ret_link)
{
        struct ring_link *link = sys.alloc(sizeof(*link));
        objd_status r;

        if (!link)
                return fail(OBJD_E_NOMEM, "no memory for rings");
        link->link = (struct proxy_link){
                .url = "local:", .max_frame = RING_LINK_FRAME, .send = send_frames, .who = who_is
        };
        link->server = server;
        link->link.is_near = wait_processors() > 1;
        link->spin_ns = link->link.is_near ? SPIN_MAX_NS : 0;
        (void)pthread_mutex_init(&link->mutex, NULL); /* without attributes it cannot fail */
        link->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = link->news < 0 ? fail_errno("cannot make an eventfd")
                           : proxy_add_source(server, link->news, on_news, link);
        if (r) {
                ring_link_close(link);
                return r;
        }
        proxy_set_look(server, look, link);
        *ret_link = link;
        return OBJD_OK;
}

void ring_link_close(struct ring_link *link)
{
        if (!link)
                return;
        for (uint32_t i = 0; i < RING_LINK_PEERS_MAX; i++)
                if (link->peers[i])
                        free_peer(link->peers[i]);
        if (link->news >= 0)
                (void)close(link->news);
        (void)pthread_mutex_destroy(&link->mutex);
        free(link);
}
