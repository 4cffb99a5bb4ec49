/* SPDX-License-Identifier: Apache-2.0 */

/*
 * attach.c -- asking a daemon for its arena
 *
 * A socket's path says nothing about who listens there: /dev/shm can be written by all, so a stranger may have made our
 * directory before we did. The kernel says who listens, and only a daemon of this user, of root, or of the
 * owner of a directory that the user named is believed. What it answers is checked byte by byte all the same.
 */

#include "client/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "arena/arena.h"
#include "base/status.h"
#include "base/sys.h"
#include "client/control_proto.h"

/* A sender may pass more than the one descriptor that is due; there is room to see that, and to close them. */
#define DESCRIPTORS_MAX 8

struct call {
        const char *text; /* the url */
        const struct url *url;
        enum control_access access;
        int64_t deadline_ns;
        int socket;
        int directory; /* -1 unless the path is too long for an address */
        struct sockaddr_un address;
};

static objd_status no_daemon(const struct call *call, const char *why)
{
        return fail(OBJD_E_NODAEMON,
                    "cannot connect to \"%s\": no daemon answers at %s/%s" STORE_SOCKET ": %s", call->text,
                    call->url->directory, call->url->name, why);
}

static objd_status bad_answer(const struct call *call, const char *why)
{
        return fail(OBJD_E_PROTO, "cannot connect to \"%s\": the answer from %s/%s" STORE_SOCKET " %s",
                    call->text, call->url->directory, call->url->name, why);
}

static objd_status failed_step(const struct call *call, const char *step)
{
        switch (errno) {
        case ENOENT:
        case ENOTDIR:
        case ECONNREFUSED:
        case ECONNRESET:
        case EPIPE:
        case ENOTSOCK:
        case EPROTOTYPE:
                return no_daemon(call, strerror(errno));
        case EAGAIN:
                return no_daemon(call, "it does not respond");
        case EACCES:
        case EPERM:
                return fail(OBJD_E_ACCESS, "cannot connect to \"%s\": %s/%s" STORE_SOCKET ": %s", call->text,
                            call->url->directory, call->url->name, strerror(errno));
        default:
                return fail_errno("cannot connect to \"%s\": %s", call->text, step);
        }
}

/*
 * Makes the address. It has room for 107 bytes; a longer path is reached through a descriptor of its directory.
 */
static objd_status make_address(struct call *call)
{
        size_t room = sizeof(call->address.sun_path);
        int n;

        call->address.sun_family = AF_UNIX;
        n = snprintf(call->address.sun_path, room, "%s/%s" STORE_SOCKET, call->url->directory,
                     call->url->name);
        if (n >= 0 && (size_t)n < room)
                return OBJD_OK;

        call->directory = open(call->url->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (call->directory < 0)
                return failed_step(call, "its directory");
        snprintf(call->address.sun_path, room, "/proc/self/fd/%d/%s" STORE_SOCKET, call->directory,
                 call->url->name);
        return OBJD_OK;
}

static objd_status set_timeouts(const struct call *call)
{
        const struct timeval timeout = { .tv_sec = ATTACH_TIMEOUT_NS / 1000000000, .tv_usec = 0 };

        if (setsockopt(call->socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
            setsockopt(call->socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
                return failed_step(call, "setsockopt");
        return OBJD_OK;
}

/* Whether a call that a signal broke off may be made again. */
static bool once_more(const struct call *call)
{
        return errno == EINTR && now_ns() < call->deadline_ns;
}

/* Who listens, as the kernel noted it at the daemon's listen(). */
static objd_status check_daemon(const struct call *call)
{
        struct ucred peer;
        socklen_t size = sizeof(peer);
        struct stat st;

        if (getsockopt(call->socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return failed_step(call, "SO_PEERCRED");
        if (peer.uid == geteuid() || peer.uid == 0)
                return OBJD_OK;
        if (call->url->own_directory)
                return fail(OBJD_E_ACCESS,
                            "cannot connect to \"%s\": the daemon at %s/%s" STORE_SOCKET
                            " is of uid %u, not of uid %u",
                            call->text, call->url->directory, call->url->name, (unsigned)peer.uid,
                            (unsigned)geteuid());
        if (stat(call->url->directory, &st) < 0)
                return failed_step(call, "its directory");
        if (peer.uid != st.st_uid)
                return fail(OBJD_E_ACCESS,
                            "cannot connect to \"%s\": the daemon is of uid %u, but %s belongs to uid %u",
                            call->text, (unsigned)peer.uid, call->url->directory, (unsigned)st.st_uid);
        return OBJD_OK;
}

static objd_status send_hello(const struct call *call)
{
        struct control_hello hello = {
                .head = control_head_make(CONTROL_HELLO, sizeof(hello)),
                .access = htole32(call->access),
        };
        ssize_t n;

        do {
                n = send(call->socket, &hello, sizeof(hello), MSG_NOSIGNAL);
        } while (n < 0 && once_more(call));
        /* A daemon that has refused us already may have hung up; what it said can still be read. */
        if (n < 0 && errno != EPIPE)
                return failed_step(call, "its hello");
        return OBJD_OK;
}

/* Keeps the first two descriptors that came along; closes all others. Returns how many there were. */
static int take_descriptors(struct msghdr *message, int ret_fds[2])
{
        int n = 0;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
                size_t n_here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t i = 0; i < n_here; i++, n++) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
                        if (n < 2)
                                ret_fds[n] = fd;
                        else
                                (void)close(fd); /* nothing was written to it */
                }
        }
        return n;
}

static objd_status refused(const struct call *call, const struct control_reply *reply)
{
        objd_status status = (objd_status)le32toh(reply->status);

        if (reply->sentence[CONTROL_SENTENCE_MAX - 1] != '\0')
                return bad_answer(call, "has a sentence without an end");
        if (status != OBJD_E_ACCESS && status != OBJD_E_LIMIT && status != OBJD_E_PROTO &&
            status != OBJD_E_NOMEM && status != OBJD_E_SYS)
                return bad_answer(call, "has a status that makes no sense");
        return fail(status, "cannot connect to \"%s\": the daemon refuses: %s", call->text, reply->sentence);
}

static bool is_granted(const struct call *call, uint32_t access)
{
        return access == call->access || (access == CONTROL_READ_ONLY && call->access == CONTROL_READ_WRITE);
}

static int descriptors_due(enum control_access access)
{
        if (access == CONTROL_RINGS)
                return 2;
        return access == CONTROL_HELP ? 0 : 1;
}

static objd_status check_reply(const struct call *call, const struct control_reply *reply, size_t size,
                               int n_fds)
{
        const struct control_head *head = &reply->head;

        if (size < sizeof(*head) || le32toh(head->magic) != CONTROL_MAGIC)
                return bad_answer(call, "is not from an objd");
        if (le16toh(head->version) != CONTROL_VERSION)
                return bad_answer(call, "is of another version of the protocol");
        if (size != sizeof(*reply) || le32toh(head->size) != size)
                return bad_answer(call, "has the wrong size");
        if (le16toh(head->type) == CONTROL_REFUSED)
                return refused(call, reply);
        if (le16toh(head->type) != CONTROL_WELCOME)
                return bad_answer(call, "is of an unknown type");
        if (!is_granted(call, le32toh(reply->access)))
                return bad_answer(call, "grants what was not asked for");
        if (n_fds != descriptors_due(call->access))
                return bad_answer(call, "does not come with the descriptors that are due");
        return OBJD_OK;
}

/*
 * The arena that the welcome is about to bring, if this process has it mapped. Then its descriptor is left to the kernel: once we had it
 * we would have to keep it, since to close any descriptor of a file drops the record locks that say that we live.
 */
static struct arena *find_mapped(const struct call *call)
{
        struct control_reply reply;
        ssize_t n = recv(call->socket, &reply, sizeof(reply), MSG_PEEK);

        if (n != sizeof(reply) || call->access == CONTROL_HELP || check_reply(call, &reply, sizeof(reply), 1))
                return NULL;
        return arena_find(le64toh(reply.file.dev), le64toh(reply.file.ino),
                          le32toh(reply.access) == CONTROL_READ_ONLY);
}

/* What came with the answer. */
struct answer {
        struct control_reply reply;
        int n_fds;
        int fds[2]; /* -1 where there is none, or if the kernel was left with it */
};

/* Nothing has been written to them. */
static void close_descriptors(const struct answer *answer)
{
        for (int i = 0; i < 2; i++)
                if (answer->fds[i] >= 0)
                        (void)close(answer->fds[i]);
}

/* The message, with its descriptors or without. */
static objd_status receive(const struct call *call, bool with_descriptors, struct answer *answer)
{
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
        } control;
        struct iovec iov = { .iov_base = &answer->reply, .iov_len = sizeof(answer->reply) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        if (with_descriptors) {
                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
        }
        do {
                n = recvmsg(call->socket, &message, MSG_CMSG_CLOEXEC);
        } while (n < 0 && once_more(call));
        if (n < 0)
                return failed_step(call, "its answer");
        answer->n_fds = take_descriptors(&message, answer->fds);
        if (n == 0)
                return no_daemon(call, "it hung up without an answer");
        if (!with_descriptors && (message.msg_flags & MSG_CTRUNC))
                answer->n_fds = 1;
        else if (message.msg_flags & MSG_CTRUNC)
                return bad_answer(call, "is too long");
        if (message.msg_flags & MSG_TRUNC)
                return bad_answer(call, "is too long");
        return check_reply(call, &answer->reply, (size_t)n, answer->n_fds);
}

static objd_status receive_reply(const struct call *call, struct attachment *attachment)
{
        struct arena *mapped = find_mapped(call);
        struct answer answer = { .fds = { -1, -1 } };
        objd_status r = receive(call, !mapped, &answer);

        if (r) {
                close_descriptors(&answer);
                (void)arena_unref(mapped);
                return r;
        }

        attachment->mapped = mapped;
        attachment->fd = answer.fds[0];
        attachment->daemon_pid = (int64_t)le64toh((uint64_t)answer.reply.daemon_pid);
        attachment->daemon_epoch = le64toh(answer.reply.daemon_epoch);
        memcpy(attachment->arena_id, answer.reply.arena_id, sizeof(attachment->arena_id));
        return OBJD_OK;
}

/* Connects to a daemon that is to be believed. */
static objd_status reach(struct call *call)
{
        objd_status r;
        int error;

        r = make_address(call);
        if (r)
                return r;
        do {
                error = connect(call->socket, (struct sockaddr *)&call->address, sizeof(call->address));
        } while (error < 0 && once_more(call));
        return error < 0 ? failed_step(call, "connect") : check_daemon(call);
}

static objd_status reach_and_greet(struct call *call)
{
        objd_status r = reach(call);

        return r ? r : send_hello(call);
}

static objd_status talk(struct call *call, struct attachment *attachment)
{
        objd_status r = set_timeouts(call);

        if (r == OBJD_OK)
                r = reach_and_greet(call);
        return r ? r : receive_reply(call, attachment);
}

objd_status attach_to_daemon(const char *text, const struct url *url, enum control_access access,
                             struct attachment *ret_attachment)
{
        struct call call = {
                .text = text,
                .url = url,
                .access = access,
                .deadline_ns = now_ns() + ATTACH_TIMEOUT_NS,
                .directory = -1,
        };
        struct attachment attachment;
        objd_status r;

        call.socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (call.socket < 0)
                return failed_step(&call, "socket");
        r = talk(&call, &attachment);
        if (call.directory >= 0)
                (void)close(call.directory); /* O_PATH: there is nothing to lose */
        if (r) {
                (void)close(call.socket);
                return r;
        }
        attachment.control = call.socket;
        *ret_attachment = attachment;
        return OBJD_OK;
}

/* Does so without waiting, and gives the socket. */
static objd_status without_waiting(struct call *call, objd_status (*step)(struct call *call),
                                   int *ret_control)
{
        objd_status r;

        call->directory = -1;
        call->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (call->socket < 0)
                return failed_step(call, "socket");
        r = step(call);
        if (call->directory >= 0)
                (void)close(call->directory); /* O_PATH: there is nothing to lose */
        if (r)
                (void)close(call->socket);
        else
                *ret_control = call->socket;
        return r;
}

objd_status attach_again(const char *text, const struct url *url, enum control_access access,
                         int *ret_control)
{
        struct call call = { .text = text, .url = url, .access = CONTROL_HAS_IT | access };

        return without_waiting(&call, reach_and_greet, ret_control);
}

/* ---- Rings ------------------------------------------------------------------------------------------- */

objd_status attach_knock(const char *text, const struct url *url)
{
        struct call call = { .text = text, .url = url };
        int control = -1;
        objd_status r = without_waiting(&call, reach, &control);

        if (r == OBJD_OK)
                (void)close(control); /* nothing was said */
        return r;
}

objd_status attach_rings_begin(const char *text, const struct url *url, int *ret_control)
{
        struct call call = { .text = text, .url = url, .access = CONTROL_RINGS };

        return without_waiting(&call, reach_and_greet, ret_control);
}

objd_status attach_rings_end(const char *text, const struct url *url, int control,
                             struct attached_rings *ret_rings)
{
        const struct call call = { .text = text, .url = url, .access = CONTROL_RINGS, .socket = control };
        struct answer answer = { .fds = { -1, -1 } };
        char byte;
        objd_status r;

        if (recv(control, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR))
                return OBJD_E_BUSY;
        r = receive(&call, true, &answer);
        if (r) {
                close_descriptors(&answer);
                return r;
        }
        *ret_rings = (struct attached_rings){
                .memory = answer.fds[0],
                .bell = answer.fds[1],
                .size = le32toh(answer.reply.rings.size),
                .max_frame = le32toh(answer.reply.rings.max_frame),
        };
        return OBJD_OK;
}
