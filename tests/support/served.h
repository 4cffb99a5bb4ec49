/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * served.h -- what serves in a daemon, in this process and in this thread, and clients at the other ends of its rings
 *
 * The parts are the daemon's own: the server, its rings, its loop; only the thread is missing, and whoever wants it to go on
 * calls its rounds. A client here is what carries its frames, and no more: a socket, a pair of rings and the numbers that say which session
 * it has and what it has asked for.
 */

#include "proxy/ring_link.h"
#include "proxy/server.h"

#define SERVED_CLIENTS 2

/* What a client knows of its session. It outlives the daemon. */
struct served_session {
        uint8_t id[WIRE_SESSION_SIZE];
        uint64_t seq; /* of its last batch */
};

struct served_client {
        struct served_session session;
        int sockets[2]; /* its own end, and the daemon's */
        int memory;     /* of the rings */
        int bell;
        struct ring_pair pair;
};

struct served {
        struct objd_conn *conn;
        struct proxy_server server;
        struct ring_link *rings;
        struct served_client clients[SERVED_CLIENTS];
        uint32_t n_clients;
        bool busy;
};

/* A message that the daemon has sent, in one frame. */
struct served_message {
        enum frame_type type;
        size_t size, body_size;
        uint64_t bytes[RING_LINK_FRAME / 8];
};

/* A daemon for the arena of this connection, which lives and dies with the process, as daemons do, and rings for so many clients. */
void served_begin(struct served *served, struct objd_conn *conn, uint32_t n_clients);

/* The daemon ends, and its sessions stay. */
void served_end(struct served *served);

void served_round(struct served *served);

/* Puts it into the client's ring and rings its bell; nothing is served by that. */
void served_hello(struct served *served, uint32_t client, bool resumes);
void served_ask(struct served *served, uint32_t client, const struct call *calls, size_t n, bool atomic);

/* How much the daemon has put into the client's ring since that was made. */
uint64_t served_sent(const struct served *served, uint32_t client);

/* Takes the next message for the client; false if there is none. */
bool served_take(struct served *served, uint32_t client, struct served_message *ret_message);

/*
 * The last message that another process's daemon has sent through the rings in this descriptor of its; false if there is none since it
 * had sent `from` bytes.
 */
bool served_look_over(pid_t pid, int memory, uint64_t from, struct served_message *ret_message);

/* Serves until there is a message for the client, and takes it. */
void served_wait(struct served *served, uint32_t client, struct served_message *ret_message);

/* Says hello and is welcome; true if its session goes on, else it has a new one. */
bool served_enter(struct served *served, uint32_t client, bool resumes);

/* What a welcome says. */
bool served_is_welcome(const struct served_message *message, uint8_t ret_session[WIRE_SESSION_SIZE]);
