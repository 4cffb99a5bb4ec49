/* SPDX-License-Identifier: Apache-2.0 */

/*
 * help.c -- what the daemon does for clients that may only read
 *
 * Freezing: the daemon takes the lines that the client names, with a short wait for whoever holds them (a dead holder is cleaned
 * up after on the way), says so, and gives them back as soon as the client says anything, or after HELP_FREEZE_NS. The
 * loop stands still that long, which is why all freezes together get a tenth of the time. The client need not be trusted to
 * thaw, and need not trust us to wait: the versions of the lines tell it whether its read counts.
 *
 * Pinning: the chunk's offset goes into a lane that is the connection's. What the client says is believed, since a pin of a
 * chunk that is not there harms nobody.
 *
 * Joining: the question is parked, and looked at again every few milliseconds.
 */

#include "help.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/status.h"
#include "base/sys.h"
#include "object/directory.h"
#include "object/op.h"
#include "object/queue.h"
#include "txn/txn.h"

/* How long a freeze waits for the holder of a line. */
#define HOLDER_NS 1000000

/* How often joiners are looked at; less often if they are many. */
#define JOIN_EVERY_NS 5000000
#define JOINERS_AT_ONCE 200u

/* ---- Answers ----------------------------------------------------------------------------------------- */

/* A client that does not take its answers is dropped: NULL if it took this one. */
static const char *answer(const struct helped *helped, objd_status status)
{
        struct control_reply reply = {
                .head = control_head_make(CONTROL_ANSWER, sizeof(reply)),
                .status = htole32((uint32_t)status),
        };

        if (status)
                snprintf(reply.sentence, sizeof(reply.sentence), "%s", objd_last_error());
        if (send(helped->fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(reply))
                return NULL;
        return "it does not take its answers";
}

/* ---- Freezing ---------------------------------------------------------------------------------------- */

/* Whether a line is there: in a block of objects or of groups, and not in the block's head. */
static bool is_line(const struct arena *arena, uint64_t off)
{
        uint64_t in_block = (off - arena->data_off) % BLOCK_SIZE;
        const struct block_shm *block;

        if (off % LINE_SIZE || !arena_has(arena, off, LINE_SIZE))
                return false;
        block = &arena->blocks[(off - arena->data_off) >> BLOCK_SHIFT];
        switch (__atomic_load_n(&block->state, __ATOMIC_ACQUIRE)) {
        case BLOCK_SLOTS:
                return in_block >= SLOT_SIZE;
        case BLOCK_GROUPS:
                return in_block >= GROUP_SLOTS * SLOT_SIZE;
        default:
                return false;
        }
}

static objd_status plan_lines(const struct arena *arena, const struct control_request *request, uint32_t n,
                              struct plan *plan)
{
        objd_status r = OBJD_OK;

        plan->n = 0;
        for (uint32_t i = 0; i < n && r == OBJD_OK; i++) {
                uint64_t off = le64toh(request->args[i]);

                r = is_line(arena, off)
                            ? plan_add(plan, (struct line_shm *)(arena->base + off))
                            : fail(OBJD_E_GONE, "there is no object at %#llx", (unsigned long long)off);
        }
        return r;
}

/* Until the client says something, or is gone, or has had its time. */
static void wait_for_thaw(const struct helped *helped)
{
        struct pollfd pollfd = { .fd = helped->fd, .events = POLLIN };
        const struct timespec timeout = { .tv_nsec = HELP_FREEZE_NS };

        (void)ppoll(&pollfd, 1, &timeout, NULL); /* whatever it says, the freeze is over */
}

static objd_status check_budget(struct help *help)
{
        int64_t now = now_ns();

        if (now - help->window_ns >= HELP_WINDOW_NS) {
                help->window_ns = now;
                help->frozen_ns = 0;
        }
        if (help->frozen_ns >= HELP_WINDOW_FREEZE_NS)
                return fail(OBJD_E_BUSY, "writers have been stopped for readers long enough for now");
        return OBJD_OK;
}

static const char *freeze(struct help *help, const struct helped *helped,
                          const struct control_request *request, uint32_t n)
{
        const char *why = NULL;
        struct plan plan;
        struct lane *lane;
        int64_t start = now_ns();
        objd_status r = check_budget(help);

        if (r == OBJD_OK)
                r = lane_enter(help->arena, HOLDER_NS, &lane);
        if (r)
                return answer(helped, r);
        r = plan_lines(help->arena, request, n, &plan);
        if (r == OBJD_OK) {
                txn_begin(lane, OP_NONE);
                r = plan_freeze(lane, &plan);
                why = answer(helped, r);
                if (r == OBJD_OK && !why)
                        wait_for_thaw(helped);
                txn_abort(lane);
        } else {
                why = answer(helped, r);
        }
        lane_leave(lane);
        help->frozen_ns += now_ns() - start;
        return why;
}

/* ---- Pinning ----------------------------------------------------------------------------------------- */

static objd_status have_pins(struct help *help, struct helped *helped, bool may_pin)
{
        objd_status r;

        if (helped->pins)
                return OBJD_OK;
        if (!may_pin || help->n_pinners >= HELP_PINNERS_MAX)
                return fail(OBJD_E_LIMIT,
                            "there are as many threads with pins, of this user or of all readers, "
                            "as there can be");
        r = lane_claim_apart(help->arena, now_ns(), &helped->pins);
        if (r == OBJD_OK)
                help->n_pinners++;
        return r;
}

static void unpin(const struct help *help, const struct helped *helped, uint64_t place)
{
        struct lane_shm *shm = helped->pins ? helped->pins->shm : NULL;

        if (shm && place < LANE_PINS && shm->pins[place])
                lane_unpin(help->arena, shm, (uint32_t)place);
}

static const char *pin(struct help *help, struct helped *helped, uint64_t place, uint64_t chunk, bool may_pin)
{
        objd_status r = have_pins(help, helped, may_pin);

        if (r == OBJD_OK && (place >= LANE_PINS || !arena_has(help->arena, chunk, CHUNK_HEAD)))
                r = fail(OBJD_E_GONE, "there is nothing to be pinned there");
        if (r)
                return answer(helped, r);
        unpin(help, helped, place);
        /* The count comes first: whoever sees none of it does not look at the pins. */
        __atomic_fetch_add(&help->arena->header->n_pins, 1, __ATOMIC_SEQ_CST);
        word_set_release(&helped->pins->shm->pins[place], chunk);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return answer(helped, OBJD_OK);
}

/* ---- Joining ----------------------------------------------------------------------------------------- */

static void set_timer(struct help *help)
{
        uint32_t n = help->n_joiners;
        const struct timespec every = { .tv_nsec =
                                                n ? JOIN_EVERY_NS * (1 + (long)(n / JOINERS_AT_ONCE)) : 0 };
        const struct itimerspec spec = { .it_interval = every, .it_value = every };

        (void)timerfd_settime(help->timer.fd, 0, &spec, NULL); /* it fails only for a bad fd or a bad time */
}

static void stop_joining(struct help *help, struct helped *helped)
{
        if (!helped->joins)
                return;
        *helped->link = helped->next;
        if (helped->next)
                helped->next->link = helped->link;
        helped->joins = false;
        help->n_joiners--;
        set_timer(help);
}

/* OBJD_E_TIMEOUT: not yet. */
static objd_status look_at_queue(const struct help *help, objd_ref ref)
{
        struct objd_conn conn = { .arena = help->arena, .control = -1 };
        struct objd_object queue;
        struct lane *lane;
        bool done = false;
        objd_status r = directory_handle(&conn, ref, &queue);

        if (r == OBJD_OK && object_kind(queue.config) != OBJD_QUEUE)
                r = fail(OBJD_E_KIND, "it is no queue");
        if (r == OBJD_OK)
                r = lane_enter(help->arena, OBJD_NOWAIT, &lane);
        if (r)
                return r;
        r = queue_is_done(lane, &queue, &done);
        lane_leave(lane);
        if (r == OBJD_E_BUSY || (r == OBJD_OK && !done))
                return fail(OBJD_E_TIMEOUT, "the queue still has unfinished tasks");
        return r;
}

static const char *join(struct help *help, struct helped *helped, objd_ref ref, uint64_t ms)
{
        objd_status r = look_at_queue(help, ref);

        if (r != OBJD_E_TIMEOUT || !ms)
                return answer(helped, r);
        helped->ref = ref;
        helped->deadline_ns = deadline_after(ms < 1000000 ? (int64_t)ms * 1000000 : 1000000000000LL);
        helped->joins = true;
        helped->next = help->joiners;
        helped->link = &help->joiners;
        if (helped->next)
                helped->next->link = &helped->next;
        help->joiners = helped;
        help->n_joiners++;
        set_timer(help);
        return NULL;
}

static void on_timer(void *context, uint32_t events)
{
        struct help *help = context;
        int64_t now = now_ns();
        uint64_t n_ticks;

        (void)events;
        if (read(help->timer.fd, &n_ticks, sizeof(n_ticks)) != sizeof(n_ticks))
                return;
        for (struct helped *helped = help->joiners, *next; helped; helped = next) {
                objd_status r = look_at_queue(help, helped->ref);

                next = helped->next;
                if (r == OBJD_E_TIMEOUT && now < helped->deadline_ns)
                        continue;
                (void)answer(helped, r); /* one who does not take it hangs up, or asks again */
                stop_joining(help, helped);
        }
}

/* ---- A connection ------------------------------------------------------------------------------------ */

const char *help_serve(struct help *help, struct helped *helped, const struct control_request *request,
                       bool may_pin)
{
        uint32_t n = le32toh(request->n);
        uint64_t a = le64toh(request->args[0]), b = le64toh(request->args[1]);

        if (n > CONTROL_LINES_MAX)
                return "its request is malformed";
        stop_joining(help, helped);
        switch (le32toh(request->help)) {
        case CONTROL_FREEZE:
                return freeze(help, helped, request, n);
        case CONTROL_THAW:
                return NULL; /* the freeze ended when this came in */
        case CONTROL_PIN:
                return pin(help, helped, a, b, may_pin);
        case CONTROL_UNPIN:
                unpin(help, helped, a);
                return NULL;
        case CONTROL_JOIN:
                return join(help, helped, (objd_ref){ a, b }, le64toh(request->args[2]));
        default:
                return "its request is malformed";
        }
}

void help_forget(struct help *help, struct helped *helped)
{
        stop_joining(help, helped);
        if (!helped->pins)
                return;
        lane_release_apart(helped->pins);
        helped->pins = NULL;
        help->n_pinners--;
}

objd_status help_start(struct help *help, struct loop *loop, struct arena *arena)
{
        objd_status r;

        *help = (struct help){ .arena = arena, .loop = loop };
        help->timer = (struct loop_source){ .fd = -1, .fn = on_timer, .context = help };
        help->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (help->timer.fd < 0)
                return fail_errno("cannot make a timer");
        r = loop_add(loop, &help->timer, EPOLLIN);
        if (r) {
                (void)close(help->timer.fd); /* nothing is written to it */
                help->timer.fd = -1;
        }
        return r;
}

void help_stop(struct help *help)
{
        loop_remove(help->loop, &help->timer);
        (void)close(help->timer.fd); /* nothing is written to it */
}
