/* SPDX-License-Identifier: Apache-2.0 */

/*
 * control.c -- the control socket: who calls, may they, here is the arena
 *
 * A client is trusted as far as the policy says. Who is not let in, or not yet, can cost little: one session, for a few
 * seconds, among a few that are kept for such callers. Who is let in says nothing more, unless it asks for help (help.h): then what
 * it says is counted, and who says too much is heard again a tick later.
 * Descriptors that somebody passes to us are never received: without a buffer for them the kernel closes them.
 *
 * A read-only descriptor is made for each client, so that the mark on it (readers_mark()) lives as long as that client's mapping.
 * That is done by a child: closing a descriptor of the arena would drop the locks that say that this process lives.
 */

#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena/life.h"
#include "base/status.h"
#include "base/sys.h"
#include "client/control_proto.h"
#include "log.h"
#include "proxy/ring_link.h"

#define STORE_SOCKET_NEW STORE_SOCKET ".new"

/* A client says hello right after it has connected; this is for one that is stopped in between. */
#define HELLO_TIMEOUT_NS 5000000000LL

/* Callers that will be refused hear why, if they say hello soon and are not too many. */
#define STRANGER_TIMEOUT_NS 1000000000LL
#define STRANGERS_MAX 64u

/* Requests of one connection within a tick (100 ms); more have to wait for the next one. */
#define REQUESTS_PER_TICK 500u

/* Connections with pins that one user may have, of all that there can be. */
#define PINNERS_PER_UID (HELP_PINNERS_MAX / 4)

/* How many connections are accepted before others have their turn. */
#define ACCEPT_MAX 64

struct session {
        struct loop_source source;
        struct control *control;
        struct session *next;
        struct session **link; /* what points to this one */
        struct ucred peer;
        enum policy_access allowed;
        const struct rights *rights; /* through the daemon */
        enum control_access access;  /* what it has got; 0 before its hello */
        objd_status refusal;         /* OBJD_OK: welcome */
        bool is_paused;              /* has asked too much in this tick */
        uint32_t n_requests;         /* in this tick */
        struct helped helped;
        uint64_t rings;      /* of a client with CONTROL_RINGS */
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

        if (!session->is_paused)
                loop_remove(control->loop, &session->source);
        list_remove(session);
        help_forget(&control->help, &session->helped);
        if (session->access == CONTROL_RINGS)
                ring_link_dismiss(control->rings, session->rings);
        control->n_readers -= session->access == CONTROL_READ_ONLY;
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
        bool had_arena = session->access != 0;

        log_debug("client of uid %u, pid %d: gone", (unsigned)session->peer.uid, (int)session->peer.pid);
        session_free(session);
        if (had_arena)
                control->hang_up_fn(control->hang_up_context);
}

/* Ends a session that is not as it should be; nobody else notices. */
static void drop(struct session *session, const char *why)
{
        struct control *control = session->control;
        bool had_arena = session->access != 0;

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

/* With as many descriptors, at most two. */
static ssize_t send_with(const struct session *session, const struct control_reply *reply, const int *fds,
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
        return sendmsg(session->source.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void admit(struct session *session, enum control_access access, const char *how)
{
        struct control *control = session->control;

        session->access = access;
        control->n_readers += access == CONTROL_READ_ONLY;
        list_remove(session);
        list_add(&control->clients, session);
        control->stats.n_welcomed++;
        log_debug("client of uid %u, pid %d: %s", (unsigned)session->peer.uid, (int)session->peer.pid, how);
}

/* In the child: only system calls. Its exit status is an errno. */
static int give_read_only(const struct session *session, const struct control_reply *reply, int arena)
{
        char path[32];
        int fd;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", arena);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || !readers_mark(fd) || send_with(session, reply, &fd, 1) < 0)
                return errno ? errno : EIO;
        return 0;
}

/* Gives a descriptor that is only open for reading. @return 0, or an errno */
static int send_read_only(const struct session *session, const struct control_reply *reply)
{
        struct arena *arena = session->control->store->arena;
        int status;
        pid_t pid;

        /* Before anybody can have it: who punches looks at this first. */
        word_set_release(&arena->header->readers, 1);
        pid = fork();
        if (pid == 0)
                _exit(give_read_only(session, reply, arena->fd));
        if (pid < 0)
                return errno;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static int send_welcome(const struct session *session, const struct control_reply *reply)
{
        const struct arena *arena = session->control->store->arena;
        enum control_access access = le32toh(reply->access);

        if (access == CONTROL_READ_ONLY)
                return send_read_only(session, reply);
        return send_with(session, reply, &arena->fd, access == CONTROL_HELP ? 0 : 1) < 0 ? errno : 0;
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

static void welcome(struct session *session, enum control_access access)
{
        struct control *control = session->control;
        const struct header_shm *header = control->store->arena->header;
        const struct control_reply reply = {
                .head = control_head_make(CONTROL_WELCOME, sizeof(reply)),
                .daemon_pid = (int64_t)htole64((uint64_t)getpid()),
                .daemon_epoch = htole64(word_get(&header->daemon_epoch)),
                .arena_id = { header->id[0], header->id[1] },
                .access = htole32(access),
                .file = { htole64(control->store->arena->dev), htole64(control->store->arena->ino) },
        };
        int error = send_welcome(session, &reply);

        if (error) {
                drop(session, error == EPIPE ? "it left before it was answered" : strerror(error));
                return;
        }
        admit(session, access, access_name(access));
}

/* Another user than the daemon's own is known by its uid, as others are by their keys: no other one goes on with its session. */
static struct proxy_who make_who(const struct session *session)
{
        struct proxy_who who = { .rights = *session->rights };

        who.has_key = session->peer.uid != session->control->policy->own;
        if (who.has_key)
                memcpy(who.key, &session->peer.uid, sizeof(session->peer.uid));
        return who;
}

/* Whoever may read only gets a session that only reads, and who may use some names one that may use those. */
static void welcome_to_rings(struct session *session)
{
        struct control *control = session->control;
        const struct header_shm *header = control->store->arena->header;
        const struct control_reply reply = {
                .head = control_head_make(CONTROL_WELCOME, sizeof(reply)),
                .daemon_pid = (int64_t)htole64((uint64_t)getpid()),
                .daemon_epoch = htole64(word_get(&header->daemon_epoch)),
                .arena_id = { header->id[0], header->id[1] },
                .access = htole32(CONTROL_RINGS),
                .rings = { .size = htole32(RING_LINK_SIZE), .max_frame = htole32(RING_LINK_FRAME) },
        };
        const struct proxy_who who = make_who(session);
        struct ring_offer offer;
        objd_status r;

        r = ring_link_invite(control->rings, session->source.fd, &who, &offer);
        if (r) {
                refuse(session, r, objd_last_error());
                return;
        }
        session->rings = offer.handle;
        admit(session, CONTROL_RINGS, "welcome, through rings");
        if (send_with(session, &reply, (const int[]){ offer.memory, offer.bell }, 2) < 0)
                drop(session, strerror(errno));
        (void)close(offer.memory); /* it is mapped */
}

/* ---- Tokens ------------------------------------------------------------------------------------------ */

/* Enough to connect with; who connects again asks again. */
#define TOKEN_LIFE_NS 60000000000LL

static_assert(CONTROL_TOKEN_MAX >= TOKEN_SIZE_MAX, "an answer has room for a token");

/* What the proxy is to know of this peer: who the kernel says it is, and what the policy says of that user. */
static void send_token(struct session *session)
{
        struct control_token answer = { .head = control_head_make(CONTROL_TOKEN_ISSUED, sizeof(answer)) };
        size_t size = token_issue(session->control->tokens, session->peer.uid, session->rights,
                                  now_ns() + TOKEN_LIFE_NS, answer.token);

        answer.n = htole32((uint32_t)size);
        log_debug("client of uid %u, pid %d: has a token for the proxy", (unsigned)session->peer.uid,
                  (int)session->peer.pid);
        /* Who does not take its answer does without. */
        (void)send(session->source.fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
        session_free(session);
}

/* Who gets no handle may get one of these: so this is judged by itself. */
static void give_token(struct session *session)
{
        char sentence[CONTROL_SENTENCE_MAX];

        if (session->control->tokens && session->allowed >= POLICY_PROXIED) {
                send_token(session);
        } else if (session->control->tokens) {
                memcpy(sentence, session->sentence, sizeof(sentence));
                refuse(session, OBJD_E_ACCESS, sentence);
        } else {
                refuse(session, OBJD_E_ACCESS, "this daemon's proxy is for its own user only");
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

static void grant(struct session *session, uint32_t wanted)
{
        char sentence[CONTROL_SENTENCE_MAX];

        if (session->allowed == POLICY_PROXIED && wanted != CONTROL_RINGS) {
                memcpy(sentence, session->sentence, sizeof(sentence));
                refuse(session, OBJD_E_ACCESS, sentence);
        } else if (wanted == (CONTROL_HAS_IT | CONTROL_READ_WRITE) ||
                   wanted == (CONTROL_HAS_IT | CONTROL_READ_ONLY)) {
                admit(session, wanted & ~(uint32_t)CONTROL_HAS_IT, "has the arena from an earlier daemon");
        } else if (wanted < CONTROL_READ_WRITE || wanted > CONTROL_RINGS ||
                   (wanted == CONTROL_RINGS && !session->control->rings)) {
                refuse(session, OBJD_E_PROTO, "it asks for a kind of access that there is not");
        } else if (wanted == CONTROL_RINGS) {
                welcome_to_rings(session);
        } else {
                welcome(session, at_most(session->allowed, wanted));
        }
}

static void on_hello(struct session *session, const struct control_hello *hello, size_t size)
{
        const struct control_head *head = &hello->head;
        char sentence[CONTROL_SENTENCE_MAX];

        if (size < sizeof(*head) || le32toh(head->magic) != CONTROL_MAGIC) {
                drop(session, "it does not speak our protocol");
        } else if (asks_for_token(hello, size)) {
                give_token(session);
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
        } else {
                grant(session, le32toh(hello->access));
        }
}

/* Whether this user may have one more connection with pins. */
static bool may_pin(const struct control *control, uid_t uid)
{
        uint32_t n = 0;

        for (const struct session *session = control->clients; session; session = session->next)
                n += session->peer.uid == uid && session->helped.pins;
        return n < PINNERS_PER_UID;
}

/* Nothing is read from it until the next tick; meanwhile what it sends waits in its socket, and then the sender waits. */
static void pause_session(struct session *session)
{
        loop_remove(session->control->loop, &session->source);
        session->is_paused = true;
}

static void on_request(struct session *session, const struct control_request *request, size_t size)
{
        struct control *control = session->control;
        const char *why;

        if (size != sizeof(*request) || le32toh(request->head.magic) != CONTROL_MAGIC ||
            le16toh(request->head.version) != CONTROL_VERSION || le32toh(request->head.size) != size ||
            le16toh(request->head.type) != CONTROL_REQUEST) {
                drop(session, "its request is malformed");
                return;
        }
        if (++session->n_requests >= REQUESTS_PER_TICK)
                pause_session(session);
        why = help_serve(&control->help, &session->helped, request, may_pin(control, session->peer.uid));
        if (why)
                drop(session, why);
}

static void on_message(struct session *session)
{
        union {
                struct control_hello hello;
                struct control_request request;
        } said;
        struct iovec iov = { .iov_base = &said, .iov_len = sizeof(said) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n = recvmsg(session->source.fd, &message, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0)
                hang_up(session);
        else if (message.msg_flags & MSG_CTRUNC)
                drop(session, "it passed descriptors");
        else if (session->access && session->access != CONTROL_HELP)
                drop(session, "it went on after its hello");
        else if (message.msg_flags & MSG_TRUNC)
                drop(session, "its message is too long");
        else if (session->access)
                on_request(session, &said.request, (size_t)n);
        else
                on_hello(session, &said.hello, (size_t)n);
}

static void on_session(void *context, uint32_t events)
{
        if (events & EPOLLIN)
                on_message(context);
        else
                hang_up(context);
}

/* ---- New connections --------------------------------------------------------------------------------- */

static uint32_t count_sessions(const struct session *session, uid_t uid)
{
        uint32_t n = 0;

        for (; session; session = session->next)
                n += session->peer.uid == uid && !session->refusal;
        return n;
}

static objd_status check_limits(const struct control *control, uid_t uid)
{
        uint32_t n;

        if (control->n_clients >= control->max_clients)
                return fail(OBJD_E_LIMIT, "%u clients are connected, which is all that --max-clients allows",
                            control->n_clients);
        if (uid == control->policy->own)
                return OBJD_OK;
        n = count_sessions(control->clients, uid) + count_sessions(control->waiting, uid);
        if (n >= control->max_per_uid)
                return fail(OBJD_E_LIMIT, "uid %u has %u connections, which is all that --max-per-uid allows",
                            (unsigned)uid, n);
        return OBJD_OK;
}

/* Whether it will be let in; why not stands in the session. */
static void judge(struct control *control, struct session *session)
{
        objd_status r =
                policy_check(control->policy, session->source.fd, &session->allowed, &session->rights);

        /* Who may work through the daemon is told why it gets no handle only if it asks for one. */
        if (r)
                snprintf(session->sentence, sizeof(session->sentence), "%s", objd_last_error());
        if (r == OBJD_OK || session->allowed == POLICY_PROXIED) {
                r = check_limits(control, session->peer.uid);
                if (r)
                        snprintf(session->sentence, sizeof(session->sentence), "%s", objd_last_error());
        }
        session->refusal = r;
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
        session->helped.fd = fd;
        session->source = (struct loop_source){ .fd = fd, .fn = on_session, .context = session };
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &session->peer, &size) < 0) {
                free(session);
                return fail_errno("cannot tell who connects");
        }
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
                .max_per_uid = store->options->max_per_uid,
                .hang_up_fn = hang_up_fn,
                .hang_up_context = hang_up_context,
        };
        r = help_start(&control->help, loop, store->arena);
        if (r)
                return r;
        r = start_listening(control);
        if (r && control->listener.fd >= 0)
                (void)close(control->listener.fd);
        if (r)
                help_stop(&control->help);
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
        help_stop(&control->help);
}

/* What one has asked too much is forgotten. */
static void resume_session(struct session *session)
{
        session->n_requests = 0;
        if (!session->is_paused)
                return;
        if (loop_add(session->control->loop, &session->source, EPOLLIN))
                return; /* the next tick tries again */
        session->is_paused = false;
}

/* As long as somebody may read, nothing is punched; once the kernel knows of nobody, and nobody is about to get it, it may be. */
static void look_for_readers(struct control *control)
{
        struct arena *arena = control->store->arena;

        if (!control->n_readers && word_get(&arena->header->readers) && !readers_are_known_to_kernel(arena))
                word_set_release(&arena->header->readers, 0);
}

void control_tick(struct control *control)
{
        int64_t now = now_ns();

        if (control->is_paused)
                resume_listening(control);
        look_for_readers(control);
        for (struct session *session = control->clients; session; session = session->next)
                resume_session(session);
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
