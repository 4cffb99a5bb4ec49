/* SPDX-License-Identifier: Apache-2.0 */

/*
 * help.c -- what a read-only client asks of the daemon
 *
 * A line to the daemon belongs to one thread, so questions and answers do not mix, and a child of a fork, whose lanes are new, gets
 * lines of its own. It is opened at the first question and again when a daemon has ended: the next one takes up the same
 * arena, which its welcome says by the arena's number.
 */

#include "client/help.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"
#include "base/sys.h"
#include "client/attach.h"

/* A daemon has only so much time for all freezes; whoever is told to come back later does so after this. */
#define LATER_NS 5000000

/* How much longer than it was asked to wait a daemon may take for its answer. */
#define ANSWER_NS 5000000000LL

/* JOIN is asked again and again, so that a new daemon is asked as well. */
#define JOIN_MS 1000

struct help {
        struct arena_help fns; /* first: this is what the arena points to */
        char *text;
        struct url url;
};

struct help_line {
        int socket;
};

static struct help *help_of(const struct lane *lane)
{
        return (struct help *)(void *)lane->arena->help;
}

/* ---- The line ---------------------------------------------------------------------------------------- */

static void hang_up(struct lane *lane)
{
        if (lane->help && lane->help->socket >= 0) {
                (void)close(lane->help->socket);
                lane->help->socket = -1;
        }
}

static void forget(struct lane *lane)
{
        hang_up(lane);
        free(lane->help);
        lane->help = NULL;
}

static objd_status call(struct lane *lane)
{
        const struct help *help = help_of(lane);
        struct attachment attachment;
        objd_status r;

        if (!lane->help) {
                lane->help = sys.alloc(sizeof(*lane->help));
                if (!lane->help)
                        return fail(OBJD_E_NOMEM, "no memory for a line to the daemon");
                lane->help->socket = -1;
        }
        if (lane->help->socket >= 0)
                return OBJD_OK;
        r = attach_to_daemon(help->text, &help->url, CONTROL_HELP, &attachment);
        if (r)
                return fail(r == OBJD_E_LIMIT ? OBJD_E_BUSY : r,
                            "a read-only client needs the daemon for this: %s", objd_last_error());
        if (memcmp(attachment.arena_id, lane->arena->header->id, sizeof(attachment.arena_id)) != 0) {
                (void)close(attachment.control);
                return fail(OBJD_E_NODAEMON, "the daemon at \"%s\" serves another arena than this client has",
                            help->text);
        }
        lane->help->socket = attachment.control;
        return OBJD_OK;
}

static bool say(struct lane *lane, enum control_help what, const uint64_t *args, size_t n)
{
        struct control_request request = {
                .head = control_head_make(CONTROL_REQUEST, sizeof(request)),
                .help = htole32(what),
                .n = htole32((uint32_t)n),
        };
        ssize_t sent;

        for (size_t i = 0; i < n; i++)
                request.args[i] = htole64(args[i]);
        do
                sent = send(lane->help->socket, &request, sizeof(request), MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        return sent == sizeof(request);
}

static bool hear(struct lane *lane, int64_t patience_ns, struct control_reply *ret_answer)
{
        int64_t deadline_ns = deadline_after(patience_ns), left;
        struct pollfd pollfd = { .fd = lane->help->socket, .events = POLLIN };
        ssize_t n = -1;

        do {
                left = deadline_ns - now_ns();
                if (left <= 0)
                        return false;
                if (poll(&pollfd, 1, (int)(left / 1000000) + 1) > 0)
                        n = recv(lane->help->socket, ret_answer, sizeof(*ret_answer), MSG_DONTWAIT);
        } while (n < 0 && (errno == EINTR || errno == EAGAIN || !pollfd.revents));
        return n == sizeof(*ret_answer) && le32toh(ret_answer->head.magic) == CONTROL_MAGIC &&
               le16toh(ret_answer->head.type) == CONTROL_ANSWER &&
               ret_answer->sentence[CONTROL_SENTENCE_MAX - 1] == '\0';
}

/*
 * One question and its answer. A line that is dead (its daemon has ended, or has hung up on us) is opened again, once: then
 * there is no daemon.
 */
static objd_status ask(struct lane *lane, enum control_help what, const uint64_t *args, size_t n,
                       int64_t patience_ns)
{
        struct control_reply answer;

        for (int attempt = 0; attempt < 2; attempt++) {
                objd_status r = call(lane);

                if (r)
                        return r;
                if (say(lane, what, args, n) && hear(lane, patience_ns, &answer)) {
                        r = (objd_status)le32toh(answer.status);
                        return r ? fail(r, "the daemon says: %s", answer.sentence) : OBJD_OK;
                }
                hang_up(lane);
        }
        return fail(OBJD_E_NODAEMON, "a read-only client needs the daemon for this, and it does not answer");
}

/* ---- Freezing ---------------------------------------------------------------------------------------- */

static objd_status freeze(struct lane *lane, const uint64_t *lines, size_t n)
{
        for (;;) {
                objd_status r;

                if (n > CONTROL_LINES_MAX)
                        return fail(OBJD_E_LIMIT, "a read-only client cannot have %zu places frozen at once",
                                    n);
                r = ask(lane, CONTROL_FREEZE, lines, n, ANSWER_NS);
                lane->frozen = r == OBJD_OK;
                if (r != OBJD_E_BUSY)
                        return r;
                if (now_ns() >= lane_deadline(lane))
                        return r;
                (void)nanosleep(&(struct timespec){ .tv_nsec = LATER_NS }, NULL);
        }
}

static void thaw(struct lane *lane)
{
        if (lane->help && lane->help->socket >= 0 && !say(lane, CONTROL_THAW, NULL, 0))
                hang_up(lane);
}

/* ---- Pins and waiting -------------------------------------------------------------------------------- */

objd_status help_pin(struct lane *lane, uint32_t place, uint64_t chunk)
{
        return ask(lane, CONTROL_PIN, (const uint64_t[]){ place, chunk }, 2, ANSWER_NS);
}

void help_unpin(struct lane *lane, uint32_t place)
{
        if (lane->help && lane->help->socket >= 0 &&
            !say(lane, CONTROL_UNPIN, (const uint64_t[]){ place }, 1))
                hang_up(lane);
}

objd_status help_join(struct lane *lane, objd_object *queue, int64_t timeout_ns)
{
        int64_t deadline_ns = deadline_after(timeout_ns);
        objd_ref ref = objd_ref_of(queue);

        for (;;) {
                int64_t left = deadline_ns - now_ns();
                uint64_t ms =
                        left < JOIN_MS * 1000000LL ? (uint64_t)(left > 0 ? left : 0) / 1000000 : JOIN_MS;
                objd_status r = ask(lane, CONTROL_JOIN, (const uint64_t[]){ ref.place, ref.serial, ms }, 3,
                                    (int64_t)ms * 1000000 + ANSWER_NS);

                if (r != OBJD_E_TIMEOUT || now_ns() >= deadline_ns)
                        return r;
        }
}

/* ---- The arena's helper ------------------------------------------------------------------------------ */

static void help_free(struct arena_help *fns)
{
        struct help *help = (struct help *)(void *)fns;

        free(help->text);
        free(help);
}

objd_status help_init(struct arena *arena, const char *text, const struct url *url)
{
        struct help *help;

        if (arena->help)
                return OBJD_OK;
        help = sys.alloc(sizeof(*help));
        if (help)
                help->text = sys.alloc(strlen(text) + 1);
        if (!help || !help->text) {
                free(help);
                return fail(OBJD_E_NOMEM, "no memory for what a read-only client needs");
        }
        strcpy(help->text, text);
        help->url = *url;
        help->fns =
                (struct arena_help){ .freeze = freeze, .thaw = thaw, .forget = forget, .free = help_free };
        arena->help = &help->fns;
        return OBJD_OK;
}
