/* SPDX-License-Identifier: Apache-2.0 */

/*
 * carrier_local.c -- the carrier behind local: urls: a pair of rings, asked for on the daemon's control socket
 *
 * The socket stays open: the daemon rings by a byte on it, and its hang-up says that the rings lead nowhere any more. Then the next
 * daemon is asked for new ones, and the session goes on along those.
 *
 * Whoever waits looks at the ring for a while before it sleeps, for as long as that has paid lately: see sync/wait.c, which does the
 * same for words of the arena.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/status.h"
#include "base/sys.h"
#include "client/attach.h"
#include "rpc/carrier.h"
#include "rpc/ring.h"
#include "sync/wait.h"

/* How long it is to be before a daemon that was not there is looked for again. */
#define RETRY_NS 10000000LL

#define SPIN_MAX_NS 200000 /* as long as it takes a sleeping daemon to wake and answer */
#define SHORT_SLEEP_NS (2 * SPIN_MAX_NS)
#define SPIN_MIN_NS 500
#define SPIN_LOOKS 16

#define NOT_BLOCKED UINT64_MAX

enum state { DOWN, ASKED, UP };

struct carrier_local {
        struct carrier carrier;
        char *text;
        struct url url;
        uint64_t fork_generation;
        enum state state; /* atomic, for whoever waits without the session's lock */
        int64_t retry_ns; /* DOWN: when the daemon is asked next; ASKED: until when it may take to answer */
        int epoll;        /* with the control socket in it */
        int control;      /* -1 while DOWN */
        int bell;         /* these two are only there while UP */
        struct ring_pair pair;
        uint8_t *frame;             /* of max_frame bytes: the piece that has been received last, */
        struct frame_head received; /* and its head */
        int64_t spin_ns;
        bool is_hung_up; /* atomic; and so are these: a thread that waits has no lock */
        bool is_waiting; /* a thread looks at the rings */
        uint64_t
                blocked_at; /* the daemon's position when there was no room for a frame; NOT_BLOCKED: there was */
};

static struct carrier_local *as_local(struct carrier *carrier)
{
        return (struct carrier_local *)carrier;
}

static bool get_flag(const bool *flag)
{
        return __atomic_load_n(flag, __ATOMIC_SEQ_CST);
}

static void set_flag(bool *flag, bool value)
{
        __atomic_store_n(flag, value, __ATOMIC_SEQ_CST);
}

static enum state get_state(const struct carrier_local *c)
{
        return __atomic_load_n(&c->state, __ATOMIC_SEQ_CST);
}

static void set_state(struct carrier_local *c, enum state state)
{
        __atomic_store_n(&c->state, state, __ATOMIC_SEQ_CST);
}

/* ---- The link --------------------------------------------------------------------------------------------- */

/* Also in a child of the process that made it: nothing here changes what the parent has. */
static void drop(struct carrier_local *c)
{
        if (c->state == UP) {
                ring_unmap(&c->pair);
                (void)close(c->bell);
                free(c->frame);
        }
        if (c->control >= 0) {
                /* A child of ours may have it too, and then closing it would not do. */
                if (c->fork_generation == fork_generation())
                        (void)epoll_ctl(c->epoll, EPOLL_CTL_DEL, c->control, NULL);
                (void)close(c->control);
        }
        c->frame = NULL;
        c->control = c->bell = -1;
        set_state(c, DOWN);
        c->retry_ns = now_ns() + RETRY_NS;
}

static objd_status ask(struct carrier_local *c)
{
        struct epoll_event event = { .events = EPOLLIN };
        objd_status r = attach_rings_begin(c->text, &c->url, &c->control);

        if (r)
                return r;
        if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->control, &event) < 0) {
                r = fail_errno("cannot watch a socket");
                drop(c);
                return r;
        }
        set_state(c, ASKED);
        c->retry_ns = now_ns() + ATTACH_TIMEOUT_NS;
        return OBJD_OK;
}

static objd_status use(struct carrier_local *c, const struct attached_rings *rings)
{
        objd_status r = OBJD_OK;

        if (rings->max_frame < FRAME_HELLO_MAX || rings->max_frame > rings->size)
                return fail(OBJD_E_PROTO, "\"%s\": the daemon's rings cannot be of use", c->text);
        c->frame = sys.alloc(rings->max_frame);
        if (!c->frame)
                return fail(OBJD_E_NOMEM, "no memory for a connection");
        r = ring_map(rings->memory, rings->size, &c->pair);
        if (r) {
                free(c->frame);
                c->frame = NULL;
                return r;
        }
        c->bell = rings->bell;
        set_state(c, UP);
        c->blocked_at = NOT_BLOCKED;
        set_flag(&c->is_hung_up, false);
        c->carrier.max_frame = rings->max_frame;
        c->carrier.link++;
        return OBJD_OK;
}

static objd_status take_answer(struct carrier_local *c)
{
        struct attached_rings rings;
        objd_status r = attach_rings_end(c->text, &c->url, c->control, &rings);

        if (r)
                return r;
        r = use(c, &rings);
        (void)close(rings.memory); /* it is mapped */
        if (r)
                (void)close(rings.bell);
        return r;
}

/* One step of what is to be done. A daemon that is not there may come. */
static objd_status step(struct carrier_local *c)
{
        objd_status r = OBJD_OK;

        if (c->state == DOWN && now_ns() >= c->retry_ns)
                r = ask(c);
        if (r == OBJD_OK && c->state == ASKED)
                r = take_answer(c);
        if (r == OBJD_OK)
                return c->state == UP ? OBJD_OK : OBJD_E_BUSY;
        if (r == OBJD_E_BUSY && now_ns() < c->retry_ns)
                return r;
        drop(c);
        return r == OBJD_E_NODAEMON ? OBJD_E_BUSY : r;
}

static objd_status local_prepare(struct carrier *carrier, int64_t *ret_again_ns)
{
        struct carrier_local *c = as_local(carrier);
        objd_status r;

        if (c->state == UP && !get_flag(&c->is_hung_up))
                return OBJD_OK;
        if (c->state == UP) {
                if (get_flag(&c->is_waiting)) { /* not for long: the hang-up ends it */
                        *ret_again_ns = now_ns() + RETRY_NS;
                        return OBJD_E_BUSY;
                }
                drop(c);
                c->retry_ns = 0;
        }
        r = step(c);
        if (r == OBJD_E_BUSY)
                *ret_again_ns = c->retry_ns;
        return r;
}

/* ---- Sending ---------------------------------------------------------------------------------------------- */

/* What cannot be is the end of this link. */
static objd_status hang_up(struct carrier_local *c)
{
        (void)shutdown(c->control, SHUT_RDWR);
        set_flag(&c->is_hung_up, true);
        return OBJD_E_BUSY;
}

static objd_status local_reserve(struct carrier *carrier, size_t size, void **ret_data)
{
        struct carrier_local *c = as_local(carrier);
        uint8_t *at;
        objd_status r;

        if (c->state != UP || get_flag(&c->is_hung_up))
                return OBJD_E_BUSY;
        r = ring_reserve(&c->pair.up, size, &at);
        __atomic_store_n(&c->blocked_at, r == OBJD_E_BUSY ? c->pair.up.seen : NOT_BLOCKED, __ATOMIC_RELAXED);
        if (r)
                return r == OBJD_E_BUSY ? r : hang_up(c);
        *ret_data = at;
        return OBJD_OK;
}

static objd_status local_send(struct carrier *carrier, void *data, size_t size)
{
        struct carrier_local *c = as_local(carrier);

        (void)data; /* it lies where it was reserved */
        if (ring_put(&c->pair.up, size))
                (void)eventfd_write(c->bell, 1);
        return OBJD_OK;
}

/* ---- Receiving -------------------------------------------------------------------------------------------- */

/* Takes the bytes that have rung, and sees whether the daemon has hung up. */
static void listen_to_bell(struct carrier_local *c)
{
        char bytes[16];
        ssize_t n;

        do {
                n = recv(c->control, bytes, sizeof(bytes), MSG_DONTWAIT);
        } while (n > 0 || (n < 0 && errno == EINTR));
        if (n == 0 || errno != EAGAIN)
                set_flag(&c->is_hung_up, true);
}

/* A piece of a long message stays in the ring until it is released: it is only copied to where it is put together. */
static objd_status next_frame(struct carrier_local *c, struct carrier_frames *ret_frames)
{
        *ret_frames = (struct carrier_frames){ .head = &c->received };
        return ring_next(&c->pair.down, c->carrier.max_frame, c->frame, &c->received, &ret_frames->piece);
}

static objd_status receive_now(struct carrier_local *c, struct carrier_frames *ret_frames)
{
        objd_status r = next_frame(c, ret_frames);

        if (r == OBJD_OK || r == OBJD_E_EMPTY)
                return r;
        (void)hang_up(c);
        return OBJD_E_EMPTY;
}

/* Who polls the descriptor sleeps, for all that we know, whenever there is nothing. */
static objd_status local_receive(struct carrier *carrier, struct carrier_frames *ret_frames)
{
        struct carrier_local *c = as_local(carrier);
        objd_status r;

        if (c->state != UP || get_flag(&c->is_hung_up))
                return OBJD_E_EMPTY;
        r = receive_now(c, ret_frames);
        if (r != OBJD_E_EMPTY || !carrier->watched || get_flag(&c->is_hung_up))
                return r;
        listen_to_bell(c);
        return ring_reader_sleeps(&c->pair.down) ? OBJD_E_EMPTY : receive_now(c, ret_frames);
}

static void local_release(struct carrier *carrier, struct carrier_frames *frames)
{
        struct carrier_local *c = as_local(carrier);

        (void)frames; /* its head's memory is used again */
        if (ring_take(&c->pair.down, &c->received))
                (void)eventfd_write(c->bell, 1);
}

/* ---- Waiting ---------------------------------------------------------------------------------------------- */

/* Whether it is worth coming back: a frame has come, or there is room for one that found none. */
static bool has_something(struct carrier_local *c)
{
        uint64_t blocked_at = __atomic_load_n(&c->blocked_at, __ATOMIC_RELAXED);

        return ring_has_news(&c->pair.down) ||
               (blocked_at != NOT_BLOCKED &&
                __atomic_load_n(&c->pair.up.shm->taken, __ATOMIC_SEQ_CST) != blocked_at);
}

static int64_t at_most_max(int64_t ns)
{
        return ns < SPIN_MAX_NS ? ns : SPIN_MAX_NS;
}

/* *now is read again meanwhile. */
static bool spin(struct carrier_local *c, int64_t *now, int64_t until_ns)
{
        int64_t start = *now, end = start + c->spin_ns < until_ns ? start + c->spin_ns : until_ns;

        if (has_something(c))
                return true;
        if (!c->spin_ns || wait_processors() < 2)
                return false;
        while (*now < end) {
                for (int i = 0; i < SPIN_LOOKS; i++) {
                        if (has_something(c)) {
                                int64_t enough = at_most_max(2 * (*now - start) + SPIN_MIN_NS);

                                c->spin_ns = enough > c->spin_ns ? enough
                                                                 : c->spin_ns - (c->spin_ns - enough) / 16;
                                return true;
                        }
                        wait_relax();
                }
                *now = now_ns();
        }
        c->spin_ns = c->spin_ns / 4 < SPIN_MIN_NS ? 0 : c->spin_ns / 4;
        return false;
}

/* Says that we sleep, and looks once more. */
static bool may_sleep(struct carrier_local *c)
{
        __atomic_store_n(&c->pair.up.shm->writer_sleeps,
                         __atomic_load_n(&c->blocked_at, __ATOMIC_RELAXED) != NOT_BLOCKED, __ATOMIC_SEQ_CST);
        return ring_reader_sleeps(&c->pair.down) && !has_something(c);
}

/* Whether anything has rung. */
static bool sleep_until(struct carrier_local *c, int64_t until_ns)
{
        int64_t left_ns = until_ns - now_ns();
        struct epoll_event event;
        int ms = 0;

        if (left_ns > 0)
                ms = left_ns > 1000000000LL * 1000 ? 1000000 : (int)((left_ns + 999999) / 1000000);
        return epoll_wait(c->epoll, &event, 1, ms) > 0;
}

static void sleep_on_rings(struct carrier_local *c, int64_t until_ns)
{
        int64_t start = now_ns();
        bool rung = sleep_until(c, until_ns);

        ring_reader_wakes(&c->pair.down);
        if (!rung)
                return;
        listen_to_bell(c);
        if (now_ns() - start < SHORT_SLEEP_NS)
                c->spin_ns =
                        SPIN_MAX_NS; /* else both would sleep at each call: our wake takes longer than the daemon looks */
}

/* While it is_waiting, rings that are up stay where they are. Without rings, the daemon's answer is waited for, or time. */
static int64_t local_wait(struct carrier *carrier, int64_t until_ns)
{
        struct carrier_local *c = as_local(carrier);
        int64_t now = now_ns();

        set_flag(&c->is_waiting, true);
        if (get_state(c) != UP) {
                (void)sleep_until(c, until_ns);
                now = now_ns();
        } else if (!get_flag(&c->is_hung_up) && !spin(c, &now, until_ns) && may_sleep(c)) {
                sleep_on_rings(c, until_ns);
                now = now_ns();
        }
        set_flag(&c->is_waiting, false);
        return now;
}

/* ---- Beginning and ending --------------------------------------------------------------------------------- */

static void local_close(struct carrier *carrier)
{
        struct carrier_local *c = as_local(carrier);

        drop(c);
        if (c->epoll >= 0)
                (void)close(c->epoll);
        free(c->text);
        free(c);
}

static const struct carrier_kind local_kind = {
        .close = local_close,
        .prepare = local_prepare,
        .reserve = local_reserve,
        .send = local_send,
        .receive = local_receive,
        .release = local_release,
        .wait = local_wait,
};

objd_status carrier_local_open(const char *url, struct carrier **ret_carrier)
{
        struct carrier_local *c = sys.alloc(sizeof(*c));
        objd_status r;

        if (!c)
                return fail(OBJD_E_NOMEM, "no memory for a connection");
        c->carrier.kind = &local_kind;
        c->carrier.max_frame = FRAME_HELLO_MAX;
        c->fork_generation = fork_generation();
        c->control = c->bell = -1;
        c->spin_ns = SPIN_MAX_NS;
        c->text = strdup(url);
        c->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (!c->text)
                r = fail(OBJD_E_NOMEM, "no memory for a connection");
        else if (c->epoll < 0)
                r = fail_errno("cannot make a descriptor to wait with");
        else
                r = url_parse_local(url, &c->url);
        if (r) {
                local_close(&c->carrier);
                return r;
        }
        c->carrier.readable = c->epoll;
        *ret_carrier = &c->carrier;
        return OBJD_OK;
}
