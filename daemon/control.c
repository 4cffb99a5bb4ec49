/* SPDX-License-Identifier: Apache-2.0 */

/*
 * control.c -- the control socket: who calls, may they, here is the arena
 *
 * A client is trusted as far as the policy says, which is all or nothing: who is let in has the arena. Who is not, or not
 * yet, can cost little: one session, for a few seconds, among a few that are kept for such callers.
 * Descriptors that somebody passes to us are never received: without a buffer for them the kernel closes them.
 */

#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/status.h"
#include "base/sys.h"
#include "client/control_proto.h"
#include "log.h"

#define STORE_SOCKET_NEW STORE_SOCKET ".new"

/* A client says hello right after it has connected; this is for one that is stopped in between. */
#define HELLO_TIMEOUT_NS 5000000000LL

/* Callers that will be refused hear why, if they say hello soon and are not too many. */
#define STRANGER_TIMEOUT_NS 1000000000LL
#define STRANGERS_MAX 64u

/* How many connections are accepted before others have their turn. */
#define ACCEPT_MAX 64

struct session {
        struct loop_source source;
        struct control *control;
        struct session *next;
        struct session **link; /* what points to this one */
        struct ucred peer;
        bool has_arena;
        objd_status refusal; /* OBJD_OK: welcome */
        int64_t deadline_ns; /* for its hello */
        char sentence[CONTROL_SENTENCE_MAX];
};

/* ---- Sessions ---------------------------------------------------------------------------------------- */

static void list_add(struct session **head, struct session *session)
{
        session->next = *head;
        session->link = head;
        if (session->next)
                session->next->link = &session->next;
        *head = session;
}

static void list_remove(struct session *session)
{
        *session->link = session->next;
        if (session->next)
                session->next->link = session->link;
}

static void session_free(struct session *session)
{
        struct control *control = session->control;

        loop_remove(control->loop, &session->source);
        list_remove(session);
        if (session->refusal)
                control->n_strangers--;
        else
                control->n_clients--;
        (void)close(session->source.fd); /* what could be lost is the other side's concern */
        free(session);
}

static void hang_up(struct session *session)
{
        struct control *control = session->control;
        bool had_arena = session->has_arena;

        log_debug("client of uid %u, pid %d: gone", (unsigned)session->peer.uid, (int)session->peer.pid);
        session_free(session);
        if (had_arena)
                control->hang_up_fn(control->hang_up_context);
}

/* Ends a session that is not as it should be; nobody else notices. */
static void drop(struct session *session, const char *why)
{
        struct control *control = session->control;
        bool had_arena = session->has_arena;

        control->stats.n_dropped++;
        log_limited("client of uid %u, pid %d: dropped, %s", (unsigned)session->peer.uid,
                    (int)session->peer.pid, why);
        session_free(session);
        if (had_arena)
                control->hang_up_fn(control->hang_up_context);
}

/* ---- Answers ----------------------------------------------------------------------------------------- */

static void refuse(struct session *session, objd_status status, const char *sentence)
{
        struct control *control = session->control;
        struct control_reply reply = {
                .head = control_head_make(CONTROL_REFUSED, sizeof(reply)),
                .status = htole32((uint32_t)status),
        };

        snprintf(reply.sentence, sizeof(reply.sentence), "%s", sentence);
        control->stats.n_refused++;
        log_limited("client of uid %u, pid %d: refused, %s", (unsigned)session->peer.uid,
                    (int)session->peer.pid, reply.sentence);
        /* Who does not take its answer does without. */
        (void)send(session->source.fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL);
        session_free(session);
}

static ssize_t send_arena(const struct session *session, const struct control_reply *reply)
{
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        struct iovec iov = { .iov_base = (void *)reply, .iov_len = sizeof(*reply) };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &session->control->store->arena->fd, sizeof(int));
        return sendmsg(session->source.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void admit(struct session *session, const char *how)
{
        struct control *control = session->control;

        session->has_arena = true;
        list_remove(session);
        list_add(&control->clients, session);
        control->stats.n_welcomed++;
        log_debug("client of uid %u, pid %d: %s", (unsigned)session->peer.uid, (int)session->peer.pid, how);
}

static void welcome(struct session *session)
{
        struct control *control = session->control;
        uint64_t epoch = word_get(&control->store->arena->header->daemon_epoch);
        const struct control_reply reply = {
                .head = control_head_make(CONTROL_WELCOME, sizeof(reply)),
                .daemon_pid = (int64_t)htole64((uint64_t)getpid()),
                .daemon_epoch = htole64(epoch),
        };

        if (send_arena(session, &reply) < 0) {
                drop(session, errno == EPIPE ? "it left before it was answered" : strerror(errno));
                return;
        }
        admit(session, "welcome");
}

/* ---- What clients say -------------------------------------------------------------------------------- */

static void on_hello(struct session *session, const struct control_hello *hello, size_t size)
{
        const struct control_head *head = &hello->head;
        char sentence[CONTROL_SENTENCE_MAX];

        if (size < sizeof(*head) || le32toh(head->magic) != CONTROL_MAGIC) {
                drop(session, "it does not speak our protocol");
        } else if (session->refusal) {
                memcpy(sentence, session->sentence, sizeof(sentence));
                refuse(session, session->refusal, sentence);
        } else if (le16toh(head->version) != CONTROL_VERSION) {
                snprintf(sentence, sizeof(sentence),
                         "it speaks version %u of the protocol and this daemon version %u",
                         le16toh(head->version), CONTROL_VERSION);
                refuse(session, OBJD_E_PROTO, sentence);
        } else if (size != sizeof(*hello) || le32toh(head->size) != size ||
                   le16toh(head->type) != CONTROL_HELLO) {
                drop(session, "its hello is malformed");
        } else if (le32toh(hello->access) == CONTROL_HAS_IT) {
                admit(session, "has the arena from an earlier daemon");
        } else if (le32toh(hello->access) != CONTROL_READ_WRITE) {
                refuse(session, OBJD_E_PROTO, "it asks for a kind of access that there is not");
        } else {
                welcome(session);
        }
}

static void on_message(struct session *session)
{
        struct control_hello hello;
        struct iovec iov = { .iov_base = &hello, .iov_len = sizeof(hello) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n = recvmsg(session->source.fd, &message, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0)
                hang_up(session);
        else if (message.msg_flags & MSG_CTRUNC)
                drop(session, "it passed descriptors");
        else if (session->has_arena)
                drop(session, "it went on after its hello");
        else if (message.msg_flags & MSG_TRUNC)
                drop(session, "its message is too long");
        else
                on_hello(session, &hello, (size_t)n);
}

static void on_session(void *context, uint32_t events)
{
        if (events & EPOLLIN)
                on_message(context);
        else
                hang_up(context);
}

/* ---- New connections --------------------------------------------------------------------------------- */

/* Whether it will be let in; why not stands in the session. */
static void judge(struct control *control, struct session *session)
{
        objd_status r = policy_check(control->policy, session->source.fd);

        if (r == OBJD_OK && control->n_clients >= control->max_clients)
                r = fail(OBJD_E_LIMIT, "%u clients are connected, which is all that --max-clients allows",
                         control->n_clients);
        session->refusal = r;
        if (r)
                snprintf(session->sentence, sizeof(session->sentence), "%s", objd_last_error());
        session->deadline_ns = now_ns() + (r ? STRANGER_TIMEOUT_NS : HELLO_TIMEOUT_NS);
}

static objd_status start_session(struct control *control, int fd)
{
        socklen_t size = sizeof(struct ucred);
        struct session *session;
        objd_status r;

        session = calloc(1, sizeof(*session));
        if (!session)
                return fail(OBJD_E_NOMEM, "no memory for a session");
        session->control = control;
        session->source = (struct loop_source){ .fd = fd, .fn = on_session, .context = session };
        (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &session->peer,
                         &size); /* for the log; judge() asks itself */
        judge(control, session);
        r = session->refusal && control->n_strangers >= STRANGERS_MAX
                    ? session->refusal
                    : loop_add(control->loop, &session->source, EPOLLIN);
        if (r) {
                free(session);
                return r;
        }
        list_add(&control->waiting, session);
        if (session->refusal)
                control->n_strangers++;
        else
                control->n_clients++;
        loop_set_ticking(control->loop, true);
        return OBJD_OK;
}

/* The system has no descriptor or memory for one more: who waits to be accepted waits for the next tick. */
static void pause_listening(struct control *control, const char *why)
{
        log_limited("cannot accept a client: %s", why);
        loop_remove(control->loop, &control->listener);
        control->is_paused = true;
        loop_set_ticking(control->loop, true);
}

static void resume_listening(struct control *control)
{
        control->is_paused = loop_add(control->loop, &control->listener, EPOLLIN) != OBJD_OK;
}

static void on_listener(void *context, uint32_t events)
{
        struct control *control = context;

        (void)events;
        for (int i = 0; i < ACCEPT_MAX; i++) {
                int fd = accept4(control->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd < 0) {
                        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                                pause_listening(control, strerror(errno));
                        return;
                }
                if (start_session(control, fd)) {
                        control->stats.n_dropped++;
                        log_debug("a connection was closed at once: %s", objd_last_error());
                        (void)close(fd); /* nothing was said */
                }
        }
}

/* ---- The socket -------------------------------------------------------------------------------------- */

/*
 * A path for bind() has at most 107 bytes, so the directory becomes the working directory for a moment; there is no
 * other thread that would mind.
 */
static objd_status bind_new(const struct control *control, const char *name)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        objd_status r = OBJD_OK;

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
        if (fchdir(control->store->directory) < 0)
                return fail_errno("cannot enter directory %s", control->store->options->directory);
        (void)unlink(name); /* of a daemon that was killed just here */
        /* Everybody may knock: the kernel says who it is, and the policy decides. */
        if (bind(control->listener.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                r = fail_errno("cannot bind the control socket %s/%s", control->store->options->directory,
                               name);
        else if (chmod(name, 0666) < 0 || listen(control->listener.fd, SOMAXCONN) < 0)
                r = fail_errno("cannot listen on the control socket %s/%s",
                               control->store->options->directory, name);
        if (chdir("/") < 0 && !r)
                r = fail_errno("cannot enter directory /");
        return r;
}

static objd_status start_listening(struct control *control)
{
        char name[STORE_FILE_NAME_MAX], new_name[STORE_FILE_NAME_MAX];
        const struct store *store = control->store;
        objd_status r;

        store_file_name(store, STORE_SOCKET, name);
        store_file_name(store, STORE_SOCKET_NEW, new_name);
        control->listener.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (control->listener.fd < 0)
                return fail_errno("cannot make the control socket");
        r = bind_new(control, new_name);
        if (r == OBJD_OK)
                r = loop_add(control->loop, &control->listener, EPOLLIN);
        /* The name of a killed daemon's socket changes over to ours, with nothing in between. */
        if (r == OBJD_OK && renameat(store->directory, new_name, store->directory, name) < 0)
                r = fail_errno("cannot make %s/%s", store->options->directory, name);
        if (r)
                (void)unlinkat(store->directory, new_name, 0);
        return r;
}

objd_status control_init(struct control *control, struct loop *loop, const struct store *store,
                         uint32_t max_clients, void (*hang_up_fn)(void *context), void *hang_up_context)
{
        objd_status r;

        *control = (struct control){
                .loop = loop,
                .store = store,
                .policy = &store->options->policy,
                .listener = { .fd = -1, .fn = on_listener, .context = control },
                .max_clients = max_clients,
                .hang_up_fn = hang_up_fn,
                .hang_up_context = hang_up_context,
        };
        r = start_listening(control);
        if (r && control->listener.fd >= 0)
                (void)close(control->listener.fd);
        return r;
}

void control_deinit(struct control *control)
{
        char name[STORE_FILE_NAME_MAX];

        store_file_name(control->store, STORE_SOCKET, name);
        if (unlinkat(control->store->directory, name, 0) < 0)
                log_warning("cannot remove %s/%s: %s", control->store->options->directory, name,
                            strerror(errno));
        loop_remove(control->loop, &control->listener);
        (void)close(control->listener.fd);
        while (control->waiting)
                session_free(control->waiting);
        while (control->clients)
                session_free(control->clients);
}

void control_tick(struct control *control)
{
        int64_t now = now_ns();

        if (control->is_paused)
                resume_listening(control);
        for (struct session *session = control->waiting, *next; session; session = next) {
                next = session->next;
                if (now >= session->deadline_ns)
                        drop(session, "it did not say hello in time");
        }
}

bool control_is_busy(const struct control *control)
{
        return control->waiting || control->clients || control->is_paused;
}
