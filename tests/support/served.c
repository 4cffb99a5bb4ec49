/* SPDX-License-Identifier: Apache-2.0 */

/*
 * served.c -- what serves in a daemon, without its thread, and clients at the other ends of its rings
 */

#include "support/served.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/child.h"

/* Nobody's session is over for want of a sign of life, however long an instruction takes. */
#define EXPIRY_NS 36000000000000LL

/* ---- The daemon ----------------------------------------------------------------------------------------- */

static void connect_client(struct served *served, struct served_client *client)
{
        static const struct proxy_who own_user;
        struct ring_offer offer;

        child_check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, client->sockets) == 0);
        child_ok(ring_link_invite(served->rings, client->sockets[1], &own_user, &offer));
        client->memory = offer.memory;
        client->bell = offer.bell;
        child_ok(ring_map(offer.memory, RING_LINK_SIZE, &client->pair));
}

void served_begin(struct served *served, struct objd_conn *conn, uint32_t n_clients)
{
        memset(served, 0, sizeof(*served));
        served->conn = conn;
        conn->arena->by_process = true;
        child_ok(proxy_init(&served->server, conn->arena, "test", "shm:test", EXPIRY_NS));
        child_ok(ring_link_open(&served->server, &served->rings));
        served->n_clients = n_clients;
        for (uint32_t i = 0; i < n_clients; i++)
                connect_client(served, &served->clients[i]);
}

void served_end(struct served *served)
{
        proxy_stop(&served->server);
        ring_link_close(served->rings);
        for (uint32_t i = 0; i < served->n_clients; i++) {
                struct served_client *client = &served->clients[i];

                ring_unmap(&client->pair);
                (void)close(client->memory);
                (void)close(client->sockets[0]);
                (void)close(client->sockets[1]);
        }
}

void served_round(struct served *served)
{
        served->busy = proxy_round(&served->server, served->busy);
}

/* ---- What clients send ---------------------------------------------------------------------------------- */

static void send_message(struct served_client *client, enum frame_type type, struct wire_out *out)
{
        struct frame_cutter cutter;
        size_t size;

        frame_cut(&cutter, type, client->session.id, out, RING_LINK_FRAME);
        while ((size = frame_cut_size(&cutter)) > 0) {
                uint8_t *room;

                child_ok(ring_reserve(&client->pair.up, size, &room));
                frame_cut_next(&cutter, room);
                if (ring_put(&client->pair.up, size))
                        (void)eventfd_write(client->bell, 1);
        }
        wire_out_deinit(out);
}

void served_hello(struct served *served, uint32_t number, bool resumes)
{
        struct served_client *client = &served->clients[number];
        struct wire_hello hello = { .version_from = WIRE_VERSION_MIN,
                                    .version_to = WIRE_VERSION_MAX,
                                    .name = "client",
                                    .has_session = resumes };
        struct wire_out out;

        memcpy(hello.session, client->session.id, sizeof(hello.session));
        wire_out_init(&out, 0);
        child_ok(wire_pack_hello(&out, &hello));
        send_message(client, FRAME_HELLO, &out);
}

void served_ask(struct served *served, uint32_t number, const struct call *calls, size_t n, bool atomic)
{
        struct served_client *client = &served->clients[number];
        const struct call_batch batch = { .seq = ++client->session.seq,
                                          .atomic = atomic,
                                          .timeout_ns = EXPIRY_NS,
                                          .calls = calls,
                                          .n_calls = n };
        struct wire_out out;

        wire_out_init(&out, WIRE_BULK_FROM);
        child_ok(wire_pack_batch(&out, &batch, 0));
        send_message(client, FRAME_BATCH, &out);
}

/* ---- What they get -------------------------------------------------------------------------------------- */

uint64_t served_sent(const struct served *served, uint32_t client)
{
        return __atomic_load_n(&served->clients[client].pair.down.shm->put, __ATOMIC_ACQUIRE);
}

/* False: there is nothing more. */
static bool next_message(struct ring *ring, struct served_message *ret_message, struct frame_head *ret_head)
{
        const void *piece;
        objd_status r = ring_next(ring, RING_LINK_FRAME, ret_message->bytes, ret_head, &piece);

        if (r == OBJD_E_EMPTY)
                return false;
        child_ok(r);
        child_check(ret_head->flags == (FRAME_FIRST | FRAME_LAST));
        ret_message->type = (enum frame_type)ret_head->type;
        ret_message->size = ret_head->message;
        ret_message->body_size = ret_head->body;
        return true;
}

bool served_take(struct served *served, uint32_t number, struct served_message *ret_message)
{
        struct served_client *client = &served->clients[number];
        struct frame_head head;

        if (!next_message(&client->pair.down, ret_message, &head))
                return false;
        (void)ring_take(&client->pair.down, &head);
        return true;
}

bool served_look_over(pid_t pid, int memory, uint64_t from, struct served_message *ret_message)
{
        struct frame_head head;
        struct ring_pair pair;
        char path[64];
        bool any = false;
        int fd;

        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, memory);
        fd = open(path, O_RDWR | O_CLOEXEC);
        child_check(fd >= 0);
        child_ok(ring_map(fd, RING_LINK_SIZE, &pair));
        (void)close(fd);
        pair.down.own = pair.down.seen = from;
        /* What it has taken is the client's to say, not ours. */
        while (next_message(&pair.down, ret_message, &head)) {
                pair.down.own += ring_padded(FRAME_HEAD + (size_t)head.piece);
                any = true;
        }
        ring_unmap(&pair);
        return any;
}

void served_wait(struct served *served, uint32_t client, struct served_message *ret_message)
{
        while (!served_take(served, client, ret_message))
                served_round(served);
}

/* ---- Welcomes ------------------------------------------------------------------------------------------- */

static bool read_welcome(const struct served_message *message, uint8_t ret_session[WIRE_SESSION_SIZE],
                         bool *ret_resumed)
{
        const struct wire_in in = { (const uint8_t *)message->bytes, message->size, message->body_size };
        struct wire_welcome welcome;
        struct space space;
        bool is_sound;

        space_init(&space, NULL, 0);
        is_sound = message->type == FRAME_WELCOME && wire_unpack_welcome(&in, &space, &welcome) == OBJD_OK;
        if (is_sound) {
                memcpy(ret_session, welcome.session, sizeof(welcome.session));
                *ret_resumed = welcome.resumed;
        }
        space_deinit(&space);
        return is_sound;
}

bool served_is_welcome(const struct served_message *message, uint8_t ret_session[WIRE_SESSION_SIZE])
{
        bool unused;

        return read_welcome(message, ret_session, &unused);
}

bool served_enter(struct served *served, uint32_t client, bool resumes)
{
        static struct served_message message;
        bool resumed = false;

        served_hello(served, client, resumes);
        served_wait(served, client, &message);
        if (!read_welcome(&message, served->clients[client].session.id, &resumed))
                child_ok(OBJD_E_PROTO);
        return resumed;
}
