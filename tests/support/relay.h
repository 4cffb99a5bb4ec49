/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * relay.h -- somebody between a client and a daemon's TCP port, who reads everything and can do what he likes with it
 *
 * A thread passes the messages of nanomsg's transport on, one by one, and keeps a copy. As often as it is told to, it does
 * something else with one of them. Ports are on a loopback address of this process's own, so that tests do not meet.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum relay_act {
        RELAY_PASS,
        RELAY_FLIP,     /* a bit of the message */
        RELAY_TRUNCATE, /* its last byte is left out */
        RELAY_REPEAT,   /* it is sent twice */
        RELAY_REFLECT,  /* it goes on, and comes back as well */
        RELAY_DROP,
        RELAY_CUT, /* the connection ends in the middle of it */
};

/* What is done to which messages: of those from the client, or those to it, from the first'th of a connection on each n'th, `times` of them. */
struct relay_plan {
        enum relay_act act;
        bool to_client;
        unsigned first, nth, times;
};

struct relay_bytes {
        uint8_t *data;
        size_t size;
};

struct relay {
        char url[64];        /* where the clients connect, */
        char daemon_url[64]; /* and where the daemon listens */
        int listener;
        int stop[2];
        pthread_t thread;
        pthread_mutex_t mutex;
        struct relay_plan plan; /* under the mutex, as all below */
        struct relay_bytes from_client, to_client;
        unsigned n_connections;
};

void relay_start(struct relay *relay);
void relay_stop(struct relay *relay);

/* What is done from now on, and how often that is still to be done. */
void relay_set(struct relay *relay, const struct relay_plan *plan);
unsigned relay_left(struct relay *relay);

/* Whether these bytes have gone through. */
bool relay_has_seen(struct relay *relay, const void *bytes, size_t size);

/* A stranger's connection to the daemon, which has said no more than nanomsg's greeting; negative if it does not listen. */
int relay_dial(void);

/* Sends to the daemon, on a connection of its own, what all clients have sent. Gives that connection, for the caller to close. */
int relay_replay(struct relay *relay);

/* The head of the first frame of this type that a client has sent at the beginning of a message. */
bool relay_find_frame(struct relay *relay, uint8_t type, uint8_t ret_head[32]);

/* A tcp:// url on the loopback address of this process's own; which is which of its ports. */
void relay_make_url(unsigned which, char ret_url[64]);
