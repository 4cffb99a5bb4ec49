/* SPDX-License-Identifier: Apache-2.0 */

/*
 * relay.c -- somebody between a client and a daemon's TCP port
 */

#include "support/relay.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/child.h"
#include "support/test.h"

/* Of nanomsg's transport: a greeting on each connection, then messages with 8 bytes of length before each, big-endian. */
#define GREETING 8u
#define LENGTH 8u
#define MESSAGE_MAX (8u << 20)

#define LINKS_MAX 64
#define PORT 20000u

/* One direction of a connection. */
struct way {
        bool to_client;
        int from, to;
        bool greeted;
        unsigned n_messages;
        uint8_t *data;
        size_t used;
};

struct link {
        struct way ways[2];
};

/* ---- Addresses -------------------------------------------------------------------------------------------- */

/* No two processes have the same one, and no port that the kernel gives out is among them. */
static struct sockaddr_in address_of(unsigned which)
{
        uint32_t pid = (uint32_t)getpid();

        return (struct sockaddr_in){
                .sin_family = AF_INET,
                .sin_port = htons((uint16_t)(PORT + 16 * (pid >> 16 & 255) + which)),
                .sin_addr.s_addr = htonl(127u << 24 | 77u << 16 | (pid & 0xffff)),
        };
}

void relay_make_url(unsigned which, char ret_url[64])
{
        struct sockaddr_in address = address_of(which);
        char text[INET_ADDRSTRLEN];

        (void)inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text));
        snprintf(ret_url, 64, "tcp://%s:%u", text, ntohs(address.sin_port));
}

static int dial(unsigned which)
{
        struct sockaddr_in address = address_of(which);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
                return fd;
        if (fd >= 0)
                close(fd);
        return -1;
}

/* ---- Passing on ------------------------------------------------------------------------------------------- */

static void send_all(int fd, const void *data, size_t size)
{
        const uint8_t *at = data;

        while (size) {
                ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

                if (n <= 0)
                        return; /* the other side has gone; the next read from it says so */
                at += n;
                size -= (size_t)n;
        }
}

static void keep(struct relay_bytes *bytes, const void *data, size_t size)
{
        bytes->data = realloc(bytes->data, bytes->size + size);
        if (!bytes->data)
                abort();
        memcpy(bytes->data + bytes->size, data, size);
        bytes->size += size;
}

/* What is to be done with this message. */
static enum relay_act choose(struct relay *relay, const struct way *way)
{
        struct relay_plan *plan = &relay->plan;

        if (plan->act == RELAY_PASS || !plan->times || plan->to_client != way->to_client ||
            way->n_messages < plan->first || (way->n_messages - plan->first) % plan->nth)
                return RELAY_PASS;
        plan->times--;
        return plan->act;
}

static void put_length(uint8_t *at, uint64_t length)
{
        length = htobe64(length);
        memcpy(at, &length, sizeof(length));
}

/* A whole message, with its length. False: the connection is to end. */
static bool pass_message(struct relay *relay, struct way *way, uint8_t *message, size_t size)
{
        enum relay_act act;

        (void)pthread_mutex_lock(&relay->mutex);
        keep(way->to_client ? &relay->to_client : &relay->from_client, message, size);
        way->n_messages++;
        act = choose(relay, way);
        (void)pthread_mutex_unlock(&relay->mutex);
        switch (act) {
        case RELAY_FLIP: /* behind the number that nanomsg's header is */
                message[LENGTH + 4 + (size_t)rand() % (size - LENGTH - 4)] ^= (uint8_t)(1 << rand() % 8);
                break;
        case RELAY_TRUNCATE:
                put_length(message, --size - LENGTH);
                break;
        case RELAY_REPEAT:
                send_all(way->to, message, size);
                break;
        case RELAY_REFLECT:
                send_all(way->from, message, size);
                break;
        case RELAY_DROP:
                return true;
        case RELAY_CUT:
                send_all(way->to, message, size / 2);
                return false;
        case RELAY_PASS:
                break;
        }
        send_all(way->to, message, size);
        return true;
}

/* How much of what has come is whole: a greeting or a message. 0: not yet. */
static size_t whole_size(const struct way *way)
{
        uint64_t length;

        if (way->used < LENGTH)
                return 0;
        if (!way->greeted)
                return GREETING;
        memcpy(&length, way->data, sizeof(length));
        length = be64toh(length);
        if (length > MESSAGE_MAX - LENGTH)
                abort(); /* we pass on what objd's own sides have sent, and they send no such thing */
        return way->used >= LENGTH + length ? LENGTH + (size_t)length : 0;
}

/* False: this connection has come to its end. */
static bool pass(struct relay *relay, struct way *way)
{
        ssize_t n = recv(way->from, way->data + way->used, MESSAGE_MAX - way->used, 0);
        size_t size;

        if (n <= 0)
                return false;
        way->used += (size_t)n;
        while ((size = whole_size(way))) {
                if (!way->greeted) {
                        way->greeted = true;
                        send_all(way->to, way->data, size);
                } else if (!pass_message(relay, way, way->data, size)) {
                        return false;
                }
                way->used -= size;
                memmove(way->data, way->data + size, way->used);
        }
        return true;
}

/* ---- The thread ------------------------------------------------------------------------------------------- */

static void drop_link(struct link *links, int *n, int i)
{
        for (int w = 0; w < 2; w++) {
                close(links[i].ways[w].from);
                free(links[i].ways[w].data);
        }
        links[i] = links[--*n];
}

static void add_link(struct relay *relay, struct link *links, int *n)
{
        int client = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC), daemon = dial(1);

        if (client < 0 || daemon < 0 || *n == LINKS_MAX) {
                if (client >= 0)
                        close(client);
                if (daemon >= 0)
                        close(daemon);
                return;
        }
        (void)pthread_mutex_lock(&relay->mutex);
        relay->n_connections++;
        (void)pthread_mutex_unlock(&relay->mutex);
        links[*n] = (struct link){ .ways = { { .from = client, .to = daemon },
                                             { .from = daemon, .to = client, .to_client = true } } };
        for (int w = 0; w < 2; w++) {
                links[*n].ways[w].data = malloc(MESSAGE_MAX);
                if (!links[*n].ways[w].data)
                        abort();
        }
        ++*n;
}

static void *run(void *context)
{
        struct relay *relay = context;
        struct link links[LINKS_MAX];
        struct pollfd fds[2 + 2 * LINKS_MAX];
        int n = 0;

        for (;;) {
                fds[0] = (struct pollfd){ .fd = relay->stop[0], .events = POLLIN };
                fds[1] = (struct pollfd){ .fd = relay->listener, .events = POLLIN };
                for (int i = 0; i < 2 * n; i++)
                        fds[2 + i] = (struct pollfd){ .fd = links[i / 2].ways[i % 2].from, .events = POLLIN };
                if (poll(fds, (nfds_t)(2 + 2 * n), -1) < 0 && errno != EINTR)
                        abort();
                if (fds[0].revents)
                        break;
                for (int i = n - 1; i >= 0; i--)
                        for (int w = 0; w < 2; w++)
                                if (fds[2 + 2 * i + w].revents && !pass(relay, &links[i].ways[w])) {
                                        drop_link(links, &n, i);
                                        break;
                                }
                if (fds[1].revents)
                        add_link(relay, links, &n);
        }
        while (n)
                drop_link(links, &n, n - 1);
        return NULL;
}

void relay_start(struct relay *relay)
{
        struct sockaddr_in address = address_of(0);
        int on = 1;

        memset(relay, 0, sizeof(*relay));
        relay_make_url(0, relay->url);
        relay_make_url(1, relay->daemon_url);
        (void)pthread_mutex_init(&relay->mutex, NULL);
        relay->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void)setsockopt(relay->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (relay->listener < 0 || bind(relay->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
            listen(relay->listener, LINKS_MAX) < 0 || pipe(relay->stop) < 0)
                fail_msg("%s: %s", relay->url, strerror(errno));
        if (pthread_create(&relay->thread, NULL, run, relay))
                fail_msg("cannot start a thread");
}

void relay_stop(struct relay *relay)
{
        close(relay->stop[1]);
        (void)pthread_join(relay->thread, NULL);
        close(relay->stop[0]);
        close(relay->listener);
        free(relay->from_client.data);
        free(relay->to_client.data);
        (void)pthread_mutex_destroy(&relay->mutex);
}

void relay_set(struct relay *relay, const struct relay_plan *plan)
{
        (void)pthread_mutex_lock(&relay->mutex);
        relay->plan = *plan;
        (void)pthread_mutex_unlock(&relay->mutex);
}

bool relay_has_seen(struct relay *relay, const void *bytes, size_t size)
{
        bool seen;

        (void)pthread_mutex_lock(&relay->mutex);
        seen = memmem(relay->from_client.data, relay->from_client.size, bytes, size) ||
               memmem(relay->to_client.data, relay->to_client.size, bytes, size);
        (void)pthread_mutex_unlock(&relay->mutex);
        return seen;
}

int relay_dial(void)
{
        static const uint8_t greeting[GREETING] = { 0, 'S', 'P', 0, 0, 0x30, 0, 0 };
        int fd = dial(1);

        if (fd >= 0)
                send_all(fd, greeting, sizeof(greeting));
        return fd;
}

int relay_replay(struct relay *relay)
{
        int fd = relay_dial();

        if (fd < 0)
                fail_msg("%s: %s", relay->daemon_url, strerror(errno));
        (void)pthread_mutex_lock(&relay->mutex);
        send_all(fd, relay->from_client.data, relay->from_client.size);
        (void)pthread_mutex_unlock(&relay->mutex);
        return fd;
}

unsigned relay_left(struct relay *relay)
{
        unsigned left;

        (void)pthread_mutex_lock(&relay->mutex);
        left = relay->plan.times;
        (void)pthread_mutex_unlock(&relay->mutex);
        return left;
}

bool relay_find_frame(struct relay *relay, uint8_t type, uint8_t ret_head[32])
{
        const size_t before = LENGTH + 4;
        bool found = false;
        uint64_t length;

        (void)pthread_mutex_lock(&relay->mutex);
        for (size_t at = 0; !found && at + before + 32 <= relay->from_client.size;) {
                const uint8_t *message = relay->from_client.data + at;

                memcpy(&length, message, sizeof(length));
                at += LENGTH + (size_t)be64toh(length);
                found = message[before + 2] == type;
                if (found)
                        memcpy(ret_head, message + before, 32);
        }
        (void)pthread_mutex_unlock(&relay->mutex);
        return found;
}
