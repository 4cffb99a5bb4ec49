/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ticket.c -- the client's side of a session: batches that are submitted, which nobody waits for until they are collected
 *
 * Their replies are taken in by whoever receives for all: a thread that waits for a reply of its own, one that collects, or, once in a while, the
 * keeper. The descriptor is an epoll instance, readable when the carrier has something to be taken in, by whoever it is that waits
 * on it, and while an eventfd says that something has been finished by others.
 */

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/status.h"
#include "base/sys.h"
#include "rpc/client_inside.h"

/* When nothing has come of a cancellation for so long, it is said again, with the batch. */
#define CANCEL_NS 300000000LL

struct rpc_ticket {
        struct pending p;
        struct wire_out out;
        struct rpc_ticket *next; /* among those that have ended */
        void *context;
        bool given_up;
        void (*free_fn)(void *context); /* of one that is given up */
};

void tickets_init(struct rpc_client *client)
{
        client->finished = NULL;
        client->finished_end = &client->finished;
        client->dropped = NULL;
        client->n_tickets = 0;
        client->push_ns = INT64_MAX;
        client->event = client->epoll = -1;
}

static void close_descriptor(struct rpc_client *client)
{
        if (client->event >= 0)
                (void)close(client->event);
        if (client->epoll >= 0)
                (void)close(client->epoll);
        client->event = client->epoll = -1;
}

/* Frees those that were given up and have ended: here, where nobody goes through a list that they stand in. */
static void free_dropped(struct rpc_client *client)
{
        while (client->dropped) {
                struct rpc_ticket *ticket = client->dropped;

                client->dropped = ticket->next;
                ticket->free_fn(ticket->context);
                rpc_ticket_free(ticket);
        }
}

/* In a child what is under way is the parent's, whose copies go with the process. */
void tickets_deinit(struct rpc_client *client)
{
        struct pending *next;

        close_descriptor(client);
        if (client->fork_generation != fork_generation())
                return;
        for (struct pending *p = client->pending; p; p = next) {
                next = p->next;
                if (p->ticket && p->ticket->given_up)
                        ticket_end(client, p->ticket);
        }
        free_dropped(client);
}

/* ---- In ---------------------------------------------------------------------------------------------------- */

/* There will be something to do then. The keeper sees to it, and only has to be woken if it would be too late. */
static void look_by(struct rpc_client *client, int64_t ns)
{
        if (ns < client->push_ns)
                client->push_ns = ns;
        if (ns < client->keeper_ns) {
                client->keeper_ns = ns;
                (void)pthread_cond_signal(&client->ending);
        }
}

static objd_status send_ticket(struct rpc_client *client, struct rpc_ticket *ticket, struct call_batch *batch)
{
        objd_status r;

        if (client->n_tickets >= OBJD_SUBMITTED_MAX || !client_queue_up(client, &ticket->p))
                return fail(OBJD_E_LIMIT,
                            "%u batches are submitted, which is all there can be; collect some first",
                            client->n_tickets);
        r = client_pack(client, &ticket->p, batch);
        if (r) {
                client_leave_queue(client, &ticket->p);
                return r;
        }
        ticket->p.ticket = ticket;
        client->n_tickets++;
        look_by(client, client_push(client, &ticket->p, client_begin(client, &ticket->p)));
        return OBJD_OK;
}

objd_status rpc_submit(struct rpc_client *client, struct call_batch *batch, int64_t patience_ns,
                       void *context, struct rpc_ticket **ret_ticket)
{
        struct rpc_ticket *ticket = sys.alloc(sizeof(*ticket));
        objd_status r = ticket ? client_enter(client) : fail(OBJD_E_NOMEM, "no memory for a batch");

        if (r) {
                free(ticket);
                return r;
        }
        ticket->context = context;
        ticket->p.out = &ticket->out;
        ticket->p.patience_ns = patience_ns;
        wire_out_init(&ticket->out, 0);
        *ret_ticket = ticket;
        r = send_ticket(client, ticket, batch);
        client_leave(client);
        if (r)
                rpc_ticket_free(ticket);
        return r;
}

int64_t tickets_push(struct rpc_client *client)
{
        struct pending *next;
        int64_t now;

        free_dropped(client);
        now = client_clock(client);
        if (!client_come_up(client) && now < client->push_ns)
                return client->push_ns;
        client->push_ns = INT64_MAX;
        for (struct pending *p = client->pending; p; p = next) {
                int64_t until;

                next = p->next;
                if (!p->ticket || p->done)
                        continue;
                until = client_push(client, p, now);
                if (!p->done && !client_gives_up(client, p, now) && until < client->push_ns)
                        client->push_ns = until;
        }
        return client->push_ns;
}

/* ---- Out --------------------------------------------------------------------------------------------------- */

void ticket_end(struct rpc_client *client, struct rpc_ticket *ticket)
{
        client_leave_queue(client, &ticket->p);
        if (ticket->given_up) {
                ticket->next = client->dropped;
                client->dropped = ticket;
                return;
        }
        if (!client->finished && client->event >= 0)
                (void)eventfd_write(client->event, 1);
        ticket->next = NULL;
        *client->finished_end = ticket;
        client->finished_end = &ticket->next;
}

static void take_from_finished(struct rpc_client *client, struct rpc_ticket *ticket)
{
        struct rpc_ticket **p = &client->finished;
        eventfd_t n;

        while (*p && *p != ticket)
                p = &(*p)->next;
        if (!*p)
                return;
        *p = ticket->next;
        if (!*p)
                client->finished_end = p;
        if (!client->finished && client->event >= 0)
                (void)eventfd_read(client->event, &n);
}

/* Looks whether something has come, and if not, waits for it once. */
static objd_status look(struct rpc_client *client, int64_t timeout_ns, int64_t deadline_ns)
{
        int64_t until;

        if (!client->n_tickets)
                return fail(OBJD_E_NOTFOUND, "there is nothing to collect: no batch is submitted");
        (void)client_clock(client);
        if (!client->reading)
                client_receive(client);
        until = tickets_push(client);
        if (client->finished)
                return OBJD_OK;
        if (timeout_ns == OBJD_NOWAIT)
                return fail(OBJD_E_EMPTY, "none of %u batches is done", client->n_tickets);
        if (now_ns() >= deadline_ns)
                return fail(OBJD_E_TIMEOUT, "none of %u batches has been done for %lld ms", client->n_tickets,
                            (long long)(timeout_ns / 1000000));
        client_wait(client, until < deadline_ns ? until : deadline_ns);
        return OBJD_OK;
}

objd_status rpc_collect(struct rpc_client *client, int64_t timeout_ns, struct rpc_ticket **ret_ticket)
{
        int64_t deadline_ns = timeout_ns == OBJD_NOWAIT ? 0 : deadline_after(timeout_ns);
        objd_status r = client_enter(client);

        if (r)
                return r;
        while (r == OBJD_OK && !client->finished)
                r = look(client, timeout_ns, deadline_ns);
        if (r == OBJD_OK) {
                *ret_ticket = client->finished;
                take_from_finished(client, *ret_ticket);
                /* Others who wait for the last one would wait for nothing. */
                if (!--client->n_tickets)
                        (void)pthread_cond_broadcast(&client->changed);
        }
        client_leave(client);
        return r;
}

void *rpc_ticket_context(const struct rpc_ticket *ticket)
{
        return ticket->context;
}

objd_status rpc_ticket_reply(struct rpc_ticket *ticket, struct rpc_reply *ret_reply)
{
        struct pending *p = &ticket->p;
        objd_status r;

        if (p->status)
                return fail(p->status, "%s", p->sentence ? p->sentence : "");
        r = client_unpack(NULL, p, ret_reply);
        p->bytes = NULL; /* the reply's, or gone */
        return r;
}

void rpc_ticket_free(struct rpc_ticket *ticket)
{
        wire_out_deinit(&ticket->out);
        free(ticket->p.sentence);
        free(ticket->p.bytes);
        free(ticket);
}

/* ---- The descriptor ---------------------------------------------------------------------------------------- */

static objd_status watch(struct rpc_client *client, int fd)
{
        struct epoll_event event = { .events = EPOLLIN };

        return epoll_ctl(client->epoll, EPOLL_CTL_ADD, fd, &event) == 0
                       ? OBJD_OK
                       : fail_errno("cannot watch for replies");
}

static objd_status make_descriptor(struct rpc_client *client)
{
        objd_status r;

        client->event = eventfd(client->finished ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK);
        client->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (client->event < 0 || client->epoll < 0)
                r = fail_errno("cannot make a descriptor for submitted batches");
        else
                r = watch(client, client->event);
        if (r == OBJD_OK)
                r = watch(client, client->carrier->readable);
        if (r == OBJD_OK) {
                client->carrier->watched = true;
                (void)client_clock(client);
                if (!client->reading)
                        client_receive(client);
                return OBJD_OK;
        }
        close_descriptor(client);
        return r;
}

objd_status rpc_collect_fd(struct rpc_client *client, int *ret_fd)
{
        objd_status r = client_enter(client);

        if (r)
                return r;
        if (client->epoll < 0)
                r = make_descriptor(client);
        if (r == OBJD_OK)
                *ret_fd = client->epoll;
        client_leave(client);
        return r;
}

/* ---- Giving up --------------------------------------------------------------------------------------------- */

static void cancel(struct rpc_client *client, struct rpc_ticket *ticket)
{
        struct pending *p = &ticket->p;

        if (p->done || p->cancelled)
                return;
        p->cancelled = true;
        if (!client->up || !p->sent_ns)
                return;
        client_say_cancelled(client, p);
        p->resend_ns = now_ns() - p->sent_ns + CANCEL_NS;
        look_by(client, p->sent_ns + p->resend_ns);
}

void rpc_cancel(struct rpc_client *client, struct rpc_ticket *ticket)
{
        if (client_enter(client))
                return;
        cancel(client, ticket);
        client_leave(client);
}

void rpc_give_up(struct rpc_client *client, struct rpc_ticket *ticket, void (*free_fn)(void *context))
{
        if (client_enter(client))
                return; /* who is at work on it may not lose it */
        if (!--client->n_tickets)
                (void)pthread_cond_broadcast(&client->changed);
        if (ticket->p.done) {
                take_from_finished(client, ticket);
                free_fn(ticket->context);
                rpc_ticket_free(ticket);
        } else {
                ticket->given_up = true;
                ticket->free_fn = free_fn;
                cancel(client, ticket);
        }
        client_leave(client);
}
