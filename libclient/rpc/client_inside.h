/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * client_inside.h -- the client's side of a session, for its parts: client.c has its life, client_frames.c what is said and heard,
 * client_batch.c a batch under way, and the thread that waits for it, ticket.c those that are submitted
 *
 * All of it is guarded by the client's mutex.
 */

#include <pthread.h>
#include <time.h>

#include "base/forklock.h"
#include "base/sys.h"
#include "rpc/carrier.h"
#include "rpc/client.h"
#include "rpc/frame.h"
#include "rpc/threads.h"
#include "rpc/wire.h"

/* Between attempts to send where nobody takes it. */
#define RETRY_NS 2000000LL

/* A reply of so many bytes or more stays where it is put together; and up to so much of such memory is kept for the next one. */
#define CLIENT_TAKE_FROM ((size_t)256 << 10)
#define CLIENT_KEEP ((size_t)32 << 20)

/* A batch under way: on the stack of the thread that waits for it, or part of a ticket. */
struct pending {
        struct pending *next;
        struct rpc_ticket *ticket; /* NULL: a thread waits for it */
        uint64_t seq;
        struct wire_out *out;
        struct frame_cutter cutter;
        bool sending; /* the cutter is at work */
        int64_t sent_ns, resend_ns;
        int64_t began_ns, patience_ns;
        bool cancelled; /* the daemon is told so each time that it has been sent */
        bool done;
        objd_status status; /* why there is no reply */
        char *sentence;
        uint8_t *few; /* room for a small reply, NULL: there is none */
        size_t few_size;
        void *bytes; /* where there was no room for it, */
        size_t room; /* and how much memory that is */
        struct wire_in in;
};

struct rpc_client {
        char *url;
        rpc_token_fn token_fn;
        uint64_t fork_generation;  /* atomic */
        struct forklock anew_lock; /* held by the first of a child's threads while it makes the rest anew */
        pthread_mutex_t mutex;
        pthread_cond_t changed; /* something has come, or nobody waits for it any more */
        pthread_cond_t ending;  /* for the keeper, which is not to wake with each reply */
        struct carrier *carrier;
        uint64_t link;    /* of the carrier, on which hello was said last */
        bool reading;     /* a thread waits for what comes, for all of them */
        bool up;          /* the session has been welcomed */
        bool had_session; /* there is an id to go on with */
        bool read_only;
        char holder[256]; /* while there is no welcome: who is in its way, as the daemon says; or empty */
        struct wire_welcome welcome;
        uint8_t nonce[WIRE_NONCE_SIZE]; /* of the hello, however often it is said: until there is a welcome */
        struct frame_joiner joiner;
        int64_t piece_ns;        /* when the last piece came of what is not whole yet */
        unsigned n_lacked;       /* what has come, and found no memory, since something did */
        struct pending *pending; /* the oldest one first */
        struct pending
                *sender; /* whose frames are going out: those of one message must not mix with another's */
        uint64_t next_seq;
        uint64_t untold;        /* bytes of replies that have come since the daemon was told which have */
        int64_t hello_again_ns; /* not before then; 0: now */
        int64_t now_ns;         /* as it was read last: to read the clock takes as long as to pack a call */
        int64_t heard_ns, asked_ns, said_ns;
        bool keeper_runs, ends;
        int64_t keeper_ns; /* until when the keeper sleeps */
        pthread_t keeper;
        struct rpc_threads threads;

        /* Those that are submitted (ticket.c). */
        struct rpc_ticket *finished, **finished_end;
        struct rpc_ticket *dropped; /* ended, and nobody collects them */
        uint32_t n_tickets;         /* not collected yet */
        int64_t push_ns;            /* when there is something to do for one of them; 0: now */
        int event;                  /* readable while there is a finished one, and */
        int epoll;                  /* while that is, or something has come; -1, both: nobody has asked */
};

/* The time. */
static inline int64_t client_clock(struct rpc_client *client)
{
        return client->now_ns = now_ns();
}

static inline int64_t at_most(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

static inline struct timespec as_timespec(int64_t ns)
{
        return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

/*
 * With the mutex held after OBJD_OK, until client_leave(); in a child all is made anew first.
 * @return OBJD_OK, OBJD_E_REENTERED, and why nothing could be made anew
 */
objd_status client_enter(struct rpc_client *client);
void client_leave(struct rpc_client *client);

/* ---- client_frames.c --------------------------------------------------------------------------------------- */

/* Does what is to be done for there to be a session. @return 0 if there is one, else the moment at which to look again */
int64_t client_come_up(struct rpc_client *client);

/* A frame without a message. If nobody takes it, that is no matter: it will be said again. */
void client_say(struct rpc_client *client, enum frame_type type);

/* Sends what can be sent of a batch, and says so in sent_ns when all of it has been. */
void client_send(struct rpc_client *client, struct pending *p);

/* Tells the daemon that a batch which has been sent is to wait for nothing more. If nobody takes it, it is said again with the batch. */
void client_say_cancelled(struct rpc_client *client, struct pending *p);

/* Takes in what has come; client_clock() has been called a moment ago. */
void client_receive(struct rpc_client *client);

/* A batch is over: its reply is there, or status and sentence say why there will be none. */
void client_end(struct rpc_client *client, struct pending *p, objd_status status, const char *sentence);

/* ---- client_batch.c ---------------------------------------------------------------------------------------- */

/* A number for a batch, and its place among those under way; 0: there are as many as the daemon remembers. */
uint64_t client_queue_up(struct rpc_client *client, struct pending *p);
void client_leave_queue(struct rpc_client *client, struct pending *p);

/* Packs it. @return OBJD_OK, OBJD_E_TOOBIG, OBJD_E_NOMEM */
objd_status client_pack(struct rpc_client *client, struct pending *p, struct call_batch *batch);
/* client NULL: what comes of the reply's memory is not its concern. */
objd_status client_unpack(struct rpc_client *client, struct pending *p, struct rpc_reply *ret_reply);

/* Sends it, if it can be sent, and then looks at the clock: who is to work on it does so meanwhile. Gives the time. */
int64_t client_begin(struct rpc_client *client, struct pending *p);

/* Does for one batch what is to be done now (at that moment, or a little later), and gives the moment at which there may be something to do again. */
int64_t client_push(struct rpc_client *client, struct pending *p, int64_t now);

/* Waits until something has come, as the one who takes it in for all, or for that one. */
void client_wait(struct rpc_client *client, int64_t until_ns);

/* Nobody answers, and it is no use to wait any more: the batch has been ended. */
bool client_gives_up(struct rpc_client *client, struct pending *p, int64_t now);

/* ---- ticket.c ---------------------------------------------------------------------------------------------- */

void tickets_init(struct rpc_client *client);

/* At the end of the client, or of its use by a parent process. */
void tickets_deinit(struct rpc_client *client);

/* The batch of a ticket has ended. */
void ticket_end(struct rpc_client *client, struct rpc_ticket *ticket);

/* Does what is to be done for all of them, if that is now, and gives the moment at which there may be something again. */
int64_t tickets_push(struct rpc_client *client);
