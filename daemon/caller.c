/* SPDX-License-Identifier: Apache-2.0 */

/*
 * caller.c -- one connection of the control socket: what is said on it, and what is given
 *
 * Who is let in says nothing more, unless it asks for help (help.h): then what it says is counted, and who says too much is heard
 * again a tick later. Descriptors that somebody passes to us are never received: without a buffer for them the kernel closes them.
 *
 * A read-only descriptor is made for each client, so that the mark on it (readers_mark()) lives as long as that client's mapping.
 * That is done by a child: closing a descriptor of the arena would drop the locks that say that this process lives.
 */

#include "caller.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena/life.h"
#include "base/status.h"
#include "base/sys.h"
#include "log.h"
#include "proxy/ring_link.h"

/* Requests of one connection within a tick (100 ms); more have to wait for the next one. */
#define REQUESTS_PER_TICK 500u

/* Connections with pins that one user may have, of all that there can be. */
#define PINNERS_PER_UID (HELP_PINNERS_MAX / 4)

/* ---- Sessions ---------------------------------------------------------------------------------------- */

void caller_list_add(struct caller **head, struct caller *caller)
{
        caller->next = *head;
        caller->link = head;
        if (caller->next)
                caller->next->link = &caller->next;
        *head = caller;
}

static void list_remove(struct caller *caller)
{
        *caller->link = caller->next;
        if (caller->next)
                caller->next->link = caller->link;
}

void caller_end(struct caller *caller)
{
        struct control *control = caller->control;

        if (!caller->is_paused)
                loop_remove(control->loop, &caller->source);
        list_remove(caller);
        help_forget(&control->help, &caller->helped);
        if (caller->access == CONTROL_RINGS)
                ring_link_dismiss(control->rings, caller->rings);
        control->n_readers -= caller->access == CONTROL_READ_ONLY;
        if (caller->refusal)
                control->n_strangers--;
        else
                control->n_clients--;
        (void)close(caller->source.fd); /* what could be lost is the other side's concern */
        free(caller);
}

static void hang_up(struct caller *caller)
{
        struct control *control = caller->control;
        bool had_arena = caller->access != 0;

        log_debug("client of uid %u, pid %d: gone", (unsigned)caller->peer.uid, (int)caller->peer.pid);
        caller_end(caller);
        if (had_arena)
                control->hang_up_fn(control->hang_up_context);
}

void caller_drop(struct caller *caller, const char *why)
{
        struct control *control = caller->control;
        bool had_arena = caller->access != 0;

        control->stats.n_dropped++;
        log_limited("client of uid %u, pid %d: dropped, %s", (unsigned)caller->peer.uid,
                    (int)caller->peer.pid, why);
        caller_end(caller);
        if (had_arena)
                control->hang_up_fn(control->hang_up_context);
}

/* ---- Answers ----------------------------------------------------------------------------------------- */

static void refuse(struct caller *caller, objd_status status, const char *sentence)
{
        struct control *control = caller->control;
        struct control_reply reply = {
                .head = control_head_make(CONTROL_REFUSED, sizeof(reply)),
                .status = htole32((uint32_t)status),
        };

        snprintf(reply.sentence, sizeof(reply.sentence), "%s", sentence);
        control->stats.n_refused++;
        log_limited("client of uid %u, pid %d: refused, %s", (unsigned)caller->peer.uid,
                    (int)caller->peer.pid, reply.sentence);
        /* Who does not take its answer does without. */
        (void)send(caller->source.fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL);
        caller_end(caller);
}

/* With as many descriptors, at most two. */
static ssize_t send_with(const struct caller *caller, const struct control_reply *reply, const int *fds,
                         size_t n)
{
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(2 * sizeof(int))];
        } control = { 0 };
        struct iovec iov = { .iov_base = (void *)reply, .iov_len = sizeof(*reply) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (n) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n * sizeof(int));
                control.align.cmsg_level = SOL_SOCKET;
                control.align.cmsg_type = SCM_RIGHTS;
                control.align.cmsg_len = CMSG_LEN(n * sizeof(int));
                memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
        }
        return sendmsg(caller->source.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void admit(struct caller *caller, enum control_access access, const char *how)
{
        struct control *control = caller->control;

        caller->access = access;
        control->n_readers += access == CONTROL_READ_ONLY;
        list_remove(caller);
        caller_list_add(&control->clients, caller);
        control->stats.n_welcomed++;
        log_debug("client of uid %u, pid %d: %s", (unsigned)caller->peer.uid, (int)caller->peer.pid, how);
}

/* In the child: only system calls. Its exit status is an errno. */
static int give_read_only(const struct caller *caller, const struct control_reply *reply, int arena)
{
        char path[32];
        int fd;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", arena);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || !readers_mark(fd) || send_with(caller, reply, &fd, 1) < 0)
                return errno ? errno : EIO;
        return 0;
}

/* Gives a descriptor that is only open for reading. @return 0, or an errno */
static int send_read_only(const struct caller *caller, const struct control_reply *reply)
{
        struct arena *arena = caller->control->store->arena;
        int status;
        pid_t pid;

        /* Before anybody can have it: who punches looks at this first. */
        word_set_release(&arena->header->readers, 1);
        pid = fork();
        if (pid == 0)
                _exit(give_read_only(caller, reply, arena->fd));
        if (pid < 0)
                return errno;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static int send_welcome(const struct caller *caller, const struct control_reply *reply)
{
        const struct arena *arena = caller->control->store->arena;
        enum control_access access = le32toh(reply->access);

        if (access == CONTROL_READ_ONLY)
                return send_read_only(caller, reply);
        return send_with(caller, reply, &arena->fd, access == CONTROL_HELP ? 0 : 1) < 0 ? errno : 0;
}

static const char *access_name(enum control_access access)
{
        switch (access) {
        case CONTROL_READ_ONLY:
                return "welcome, to read only";
        case CONTROL_HELP:
                return "welcome, to be helped";
        default:
                return "welcome";
        }
}

static void welcome(struct caller *caller, enum control_access access)
{
        struct control *control = caller->control;
        const struct header_shm *header = control->store->arena->header;
        const struct control_reply reply = {
                .head = control_head_make(CONTROL_WELCOME, sizeof(reply)),
                .daemon_pid = (int64_t)htole64((uint64_t)getpid()),
                .daemon_epoch = htole64(word_get(&header->daemon_epoch)),
                .arena_id = { header->id[0], header->id[1] },
                .access = htole32(access),
                .file = { htole64(control->store->arena->dev), htole64(control->store->arena->ino) },
        };
        int error = send_welcome(caller, &reply);

        if (error) {
                caller_drop(caller, error == EPIPE ? "it left before it was answered" : strerror(error));
                return;
        }
        admit(caller, access, access_name(access));
}

/* Another user than the daemon's own is known by its uid, as others are by their keys: no other one goes on with its session. */
static struct proxy_who make_who(const struct caller *caller)
{
        struct proxy_who who = { .rights = *caller->rights, .uid = caller->peer.uid };

        who.has_key = who.has_uid = caller->peer.uid != caller->control->policy->own;
        if (who.has_key)
                memcpy(who.key, &caller->peer.uid, sizeof(caller->peer.uid));
        return who;
}

/* Whoever may read only gets a session that only reads, and who may use some names one that may use those. */
static void welcome_to_rings(struct caller *caller)
{
        struct control *control = caller->control;
        const struct header_shm *header = control->store->arena->header;
        const struct control_reply reply = {
                .head = control_head_make(CONTROL_WELCOME, sizeof(reply)),
                .daemon_pid = (int64_t)htole64((uint64_t)getpid()),
                .daemon_epoch = htole64(word_get(&header->daemon_epoch)),
                .arena_id = { header->id[0], header->id[1] },
                .access = htole32(CONTROL_RINGS),
                .rings = { .size = htole32(RING_LINK_SIZE), .max_frame = htole32(RING_LINK_FRAME) },
        };
        const struct proxy_who who = make_who(caller);
        struct ring_offer offer;
        objd_status r;

        r = ring_link_invite(control->rings, caller->source.fd, &who, &offer);
        if (r) {
                refuse(caller, r, objd_last_error());
                return;
        }
        caller->rings = offer.handle;
        admit(caller, CONTROL_RINGS, "welcome, through rings");
        if (send_with(caller, &reply, (const int[]){ offer.memory, offer.bell }, 2) < 0)
                caller_drop(caller, strerror(errno));
        (void)close(offer.memory); /* it is mapped */
}

/* ---- Tokens ------------------------------------------------------------------------------------------ */

/* Enough to connect with; who connects again asks again. */
#define TOKEN_LIFE_NS 60000000000LL

static_assert(CONTROL_TOKEN_MAX >= TOKEN_SIZE_MAX, "an answer has room for a token");

/* What the proxy is to know of this peer: who the kernel says it is, and what the policy says of that user. */
static void send_token(struct caller *caller)
{
        struct control_token answer = { .head = control_head_make(CONTROL_TOKEN_ISSUED, sizeof(answer)) };
        size_t size = token_issue(caller->control->tokens, caller->peer.uid, caller->rights,
                                  now_ns() + TOKEN_LIFE_NS, answer.token);

        answer.n = htole32((uint32_t)size);
        log_debug("client of uid %u, pid %d: has a token for the proxy", (unsigned)caller->peer.uid,
                  (int)caller->peer.pid);
        /* Who does not take its answer does without. */
        (void)send(caller->source.fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
        caller_end(caller);
}

/* Who gets no handle may get one of these: so this is judged by itself. */
static void give_token(struct caller *caller)
{
        char sentence[CONTROL_SENTENCE_MAX];

        if (caller->control->tokens && caller->allowed >= POLICY_PROXIED) {
                send_token(caller);
        } else if (caller->control->tokens) {
                memcpy(sentence, caller->sentence, sizeof(sentence));
                refuse(caller, caller->refusal, sentence);
        } else {
                refuse(caller, OBJD_E_ACCESS, "this daemon's proxy is for its own user only");
        }
}

static bool asks_for_token(const struct control_hello *hello, size_t size)
{
        return size == sizeof(*hello) && le16toh(hello->head.version) == CONTROL_VERSION &&
               le16toh(hello->head.type) == CONTROL_HELLO && le32toh(hello->access) == CONTROL_TOKEN;
}

/* ---- What clients say -------------------------------------------------------------------------------- */

/* Who asks for more than it may have gets what it may have. */
static enum control_access at_most(enum policy_access allowed, enum control_access wanted)
{
        return wanted == CONTROL_READ_WRITE && allowed == POLICY_READ_ONLY ? CONTROL_READ_ONLY : wanted;
}

static void grant(struct caller *caller, uint32_t wanted)
{
        char sentence[CONTROL_SENTENCE_MAX];

        if (caller->allowed == POLICY_PROXIED && wanted != CONTROL_RINGS) {
                memcpy(sentence, caller->sentence, sizeof(sentence));
                refuse(caller, OBJD_E_ACCESS, sentence);
        } else if (wanted == (CONTROL_HAS_IT | CONTROL_READ_WRITE) ||
                   wanted == (CONTROL_HAS_IT | CONTROL_READ_ONLY)) {
                admit(caller, wanted & ~(uint32_t)CONTROL_HAS_IT, "has the arena from an earlier daemon");
        } else if (wanted < CONTROL_READ_WRITE || wanted > CONTROL_RINGS ||
                   (wanted == CONTROL_RINGS && !caller->control->rings)) {
                refuse(caller, OBJD_E_PROTO, "it asks for a kind of access that there is not");
        } else if (wanted == CONTROL_RINGS) {
                welcome_to_rings(caller);
        } else {
                welcome(caller, at_most(caller->allowed, wanted));
        }
}

static void on_hello(struct caller *caller, const struct control_hello *hello, size_t size)
{
        const struct control_head *head = &hello->head;
        char sentence[CONTROL_SENTENCE_MAX];

        if (size < sizeof(*head) || le32toh(head->magic) != CONTROL_MAGIC) {
                caller_drop(caller, "it does not speak our protocol");
        } else if (asks_for_token(hello, size)) {
                give_token(caller);
        } else if (caller->refusal) {
                memcpy(sentence, caller->sentence, sizeof(sentence));
                refuse(caller, caller->refusal, sentence);
        } else if (le16toh(head->version) != CONTROL_VERSION) {
                snprintf(sentence, sizeof(sentence),
                         "it speaks version %u of the protocol and this daemon version %u",
                         le16toh(head->version), CONTROL_VERSION);
                refuse(caller, OBJD_E_PROTO, sentence);
        } else if (size != sizeof(*hello) || le32toh(head->size) != size ||
                   le16toh(head->type) != CONTROL_HELLO) {
                caller_drop(caller, "its hello is malformed");
        } else {
                grant(caller, le32toh(hello->access));
        }
}

/* Whether this user may have one more connection with pins. */
static bool may_pin(const struct control *control, uid_t uid)
{
        uint32_t n = 0;

        for (const struct caller *caller = control->clients; caller; caller = caller->next)
                n += caller->peer.uid == uid && caller->helped.pins;
        return n < PINNERS_PER_UID;
}

/* Nothing is read from it until the next tick; meanwhile what it sends waits in its socket, and then the sender waits. */
static void pause_caller(struct caller *caller)
{
        loop_remove(caller->control->loop, &caller->source);
        caller->is_paused = true;
}

void caller_resume(struct caller *caller)
{
        caller->n_requests = 0;
        if (!caller->is_paused)
                return;
        if (loop_add(caller->control->loop, &caller->source, EPOLLIN))
                return; /* the next tick tries again */
        caller->is_paused = false;
}

static void on_request(struct caller *caller, const struct control_request *request, size_t size)
{
        struct control *control = caller->control;
        const char *why;

        if (size != sizeof(*request) || le32toh(request->head.magic) != CONTROL_MAGIC ||
            le16toh(request->head.version) != CONTROL_VERSION || le32toh(request->head.size) != size ||
            le16toh(request->head.type) != CONTROL_REQUEST) {
                caller_drop(caller, "its request is malformed");
                return;
        }
        if (++caller->n_requests >= REQUESTS_PER_TICK)
                pause_caller(caller);
        why = help_serve(&control->help, &caller->helped, request, may_pin(control, caller->peer.uid));
        if (why)
                caller_drop(caller, why);
}

static void on_message(struct caller *caller)
{
        union {
                struct control_hello hello;
                struct control_request request;
        } said;
        struct iovec iov = { .iov_base = &said, .iov_len = sizeof(said) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n = recvmsg(caller->source.fd, &message, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0)
                hang_up(caller);
        else if (message.msg_flags & MSG_CTRUNC)
                caller_drop(caller, "it passed descriptors");
        else if (caller->access && caller->access != CONTROL_HELP)
                caller_drop(caller, "it went on after its hello");
        else if (message.msg_flags & MSG_TRUNC)
                caller_drop(caller, "its message is too long");
        else if (caller->access)
                on_request(caller, &said.request, (size_t)n);
        else
                on_hello(caller, &said.hello, (size_t)n);
}

void caller_on_event(void *context, uint32_t events)
{
        if (events & EPOLLIN)
                on_message(context);
        else
                hang_up(context);
}
