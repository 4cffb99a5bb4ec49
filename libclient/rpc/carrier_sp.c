/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carrier_sp.c -- the carrier behind ipc:// urls, and tcp:// urls that are not sealed: messages of nanomsg's, with the counts that both sides keep of them
 *
 * The header of a message is a number with its highest bit set: that of the last message that has come from the daemon, which
 * sends no more than so much ahead of it (see docs/protocol.md). nanomsg connects again by itself and does not
 * say so; a session that the new daemon does not know, it refuses, and that tells us.
 */

#include "rpc/carrier.h"

#include <poll.h>
#include <stdlib.h>

#include "base/status.h"
#include "base/sys.h"
#include "rpc/sp.h"

/* Longest message that is taken: the largest frame, and others in the same message. */
#define RECEIVE_MAX ((1u << 20) + (64u << 10))

/* Before a frame of so many bytes is written, it is asked whether it would be taken: else it would be written in vain, again and again. */
#define ASK_FROM (64u << 10)

struct carrier_sp {
        struct carrier carrier;
        struct sp sp;
        struct sp_count count;
        bool full; /* atomic: something could not be sent; who waits wants to know when it can be */
};

static struct carrier_sp *as_sp(struct carrier *carrier)
{
        return (struct carrier_sp *)carrier;
}

static void sp_kind_close(struct carrier *carrier)
{
        sp_close(&as_sp(carrier)->sp);
        free(carrier);
}

static objd_status sp_kind_prepare(struct carrier *carrier, int64_t *ret_again_ns)
{
        (void)carrier;
        (void)ret_again_ns;
        return OBJD_OK;
}

static objd_status sp_kind_reserve(struct carrier *carrier, size_t size, void **ret_data)
{
        struct carrier_sp *c = as_sp(carrier);

        if (size >= ASK_FROM && !sp_takes(&c->sp)) {
                __atomic_store_n(&c->full, true, __ATOMIC_RELAXED);
                return OBJD_E_BUSY;
        }
        *ret_data = sp_alloc(&c->sp, size);
        return *ret_data ? OBJD_OK : fail(OBJD_E_NOMEM, "no memory for a message of %zu bytes", size);
}

static objd_status sp_kind_send(struct carrier *carrier, void *data, size_t size)
{
        struct carrier_sp *c = as_sp(carrier);
        objd_status r = sp_count_send(&c->count, &c->sp, data);

        (void)size; /* the library knows */
        __atomic_store_n(&c->full, r == OBJD_E_BUSY, __ATOMIC_RELAXED);
        if (r) {
                sp_free(&c->sp, data);
                return r;
        }
        carrier->owes_answer = false;
        return OBJD_OK;
}

static objd_status sp_kind_receive(struct carrier *carrier, struct carrier_frames *ret_frames)
{
        struct carrier_sp *c = as_sp(carrier);
        struct sp_message message;
        objd_status r = sp_receive(&c->sp, &message);

        if (r)
                return r;
        carrier->owes_answer = sp_count_came(&c->count, &message);
        *ret_frames = (struct carrier_frames){ .data = message.data, .size = message.size };
        return OBJD_OK;
}

static void sp_kind_release(struct carrier *carrier, struct carrier_frames *frames)
{
        sp_free(&as_sp(carrier)->sp, frames->data);
}

static int64_t sp_kind_wait(struct carrier *carrier, int64_t until_ns)
{
        struct carrier_sp *c = as_sp(carrier);
        struct pollfd fds[] = { { .fd = c->sp.readable, .events = POLLIN },
                                { .fd = c->sp.writable, .events = POLLIN } };
        nfds_t n = __atomic_load_n(&c->full, __ATOMIC_RELAXED) ? 2 : 1;
        int64_t left_ns = until_ns - now_ns();
        struct timespec time = { 0 };

        if (left_ns > 0)
                time = (struct timespec){ .tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000 };
        /* Said once: whoever has something to send tries again now. */
        if (ppoll(fds, n, &time, NULL) > 0 && n == 2 && fds[1].revents)
                __atomic_store_n(&c->full, false, __ATOMIC_RELAXED);
        return now_ns();
}

static const struct carrier_kind sp_kind = {
        .close = sp_kind_close,
        .prepare = sp_kind_prepare,
        .reserve = sp_kind_reserve,
        .send = sp_kind_send,
        .receive = sp_kind_receive,
        .release = sp_kind_release,
        .wait = sp_kind_wait,
};

objd_status carrier_sp_open(const char *url, struct carrier **ret_carrier)
{
        struct carrier_sp *c = sys.alloc(sizeof(*c));
        objd_status r;

        if (!c)
                return fail(OBJD_E_NOMEM, "no memory for a connection");
        c->carrier.kind = &sp_kind;
        c->carrier.max_frame = RECEIVE_MAX;
        c->sp.socket = -1;
        r = sp_open(SP_CLIENT, RECEIVE_MAX, &c->sp);
        if (r == OBJD_OK)
                r = sp_connect(&c->sp, url);
        if (r) {
                sp_kind_close(&c->carrier);
                return r;
        }
        c->carrier.readable = c->sp.readable;
        *ret_carrier = &c->carrier;
        return OBJD_OK;
}
