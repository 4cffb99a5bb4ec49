/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * sp.h -- the carrier behind ipc:// and tcp:// urls: a socket of nanomsg's, in raw mode
 *
 * nanomsg's REQ and REP allow one request at a time and re-send it by themselves. In raw mode the protocol's header is ours: it
 * says where an answer goes, and its last four bytes are a number that both sides use to tell how much has arrived (see
 * docs/protocol.md).
 *
 * The library is loaded when it is first needed: who works by handle only has none of it. Its threads do not survive a fork, and its
 * state cannot be made anew, so a child that needs it loads a second copy.
 */

#include <objd.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SP_HEAD_MAX 32u

enum sp_side { SP_CLIENT, SP_SERVER };

struct sp_library;

struct sp {
        const struct sp_library *library;
        uint64_t fork_generation; /* of the process that made it; to another one it is only a number */
        int socket;
        int readable; /* a descriptor that is readable while there is something to receive */
        int writable; /* of a client: another one that is readable while something would be taken */

        int endpoint; /* what it is connected to, or listens on; negative: nothing */

        /* Of one that connects. */
        char *url;
        int64_t connected_ns; /* when it was last told to connect, */
        int64_t pause_ns;     /* and how long that is given */
};

struct sp_message {
        void *data; /* the library's: sp_free() */
        size_t size;
        uint8_t head[SP_HEAD_MAX];
        size_t head_size;
};

/* max_receive is the largest message that is taken; a peer that sends a larger one is cut off. @return OBJD_OK, OBJD_E_SYS */
objd_status sp_open(enum sp_side side, size_t max_receive, struct sp *ret_sp);
void sp_close(struct sp *sp);

/* Whether this process has made it. */
bool sp_is_own(const struct sp *sp);

/*
 * What happens to the connection afterwards, nobody is told: the library connects again by itself, or, where it does not come to
 * that, sp_send() makes it. @return OBJD_OK, OBJD_E_INVAL (no such address), OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status sp_bind(struct sp *sp, const char *url);
objd_status sp_connect(struct sp *sp, const char *url);

/* How many are connected; and the end of them all: listens anew, perhaps only when it is tried again. @return as sp_bind() */
uint64_t sp_n_connections(const struct sp *sp);
objd_status sp_bind_again(struct sp *sp, const char *url);

/* A message to be sent; NULL without memory. sp_send() takes it, except when it says that it could not. */
void *sp_alloc(const struct sp *sp, size_t size);
void sp_free(const struct sp *sp, void *data);

/*
 * Neither waits. @return OBJD_OK, OBJD_E_BUSY (no peer takes it now; no sentence), OBJD_E_EMPTY (nothing there; no sentence),
 * OBJD_E_SYS
 */
objd_status sp_send(struct sp *sp, const void *head, size_t head_size, void *data);
objd_status sp_receive(const struct sp *sp, struct sp_message *ret_message);

/* Of a client: whether a message would be taken now. To be asked before a large one is made. */
bool sp_takes(struct sp *sp);

/* A client says by itself that so much has come, in bytes or in messages. */
#define SP_TELL_BYTES (32u << 10)
#define SP_TELL_MESSAGES 16u

/*
 * What a client has to tell the daemon: the number of the last message that has come from it, soon after much has come (see
 * docs/protocol.md).
 */
struct sp_count {
        uint32_t number;
        uint32_t n_owed; /* messages and bytes that the daemon does not know to have come */
        size_t bytes_owed;
};

/* Notes that a message has come. Whether the daemon is to be told soon. */
bool sp_count_came(struct sp_count *count, const struct sp_message *message);

/* Sends a message of a client's, with the number; sp_send() otherwise. */
objd_status sp_count_send(struct sp_count *count, struct sp *sp, void *data);
