/* SPDX-License-Identifier: Apache-2.0 */

/*
 * token_ask.c -- a token for the daemon's proxy, from its control socket
 *
 * nanomsg does not tell the daemon who we are, and the control socket does. What comes back means nothing to us.
 */

#include "client/token_ask.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/status.h"
#include "client/control_proto.h"

#define TIMEOUT_S 2

static objd_status no_answer(const char *path, const char *why)
{
        return fail(OBJD_E_NODAEMON, "no token from %s: %s", path, why);
}

/* The link need not be short enough for an address; what it leads to is. */
static objd_status connect_to(const char *path, int socket)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        const struct timeval timeout = { .tv_sec = TIMEOUT_S };
        ssize_t n = strlen(path) < sizeof(address.sun_path)
                            ? snprintf(address.sun_path, sizeof(address.sun_path), "%s", path)
                            : readlink(path, address.sun_path, sizeof(address.sun_path) - 1);

        if (n < 0)
                return no_answer(path, strerror(errno));
        (void)setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        (void)setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        if (connect(socket, (struct sockaddr *)&address, sizeof(address)) < 0)
                return no_answer(path, strerror(errno));
        return OBJD_OK;
}

/* Why, and whether to ask again may help. */
static objd_status refused(const struct control_reply *reply)
{
        objd_status status = (objd_status)le32toh(reply->status);

        if (status != OBJD_E_NOMEM && status != OBJD_E_SYS)
                status = OBJD_E_ACCESS;
        return fail(status, "the daemon refuses: %s", reply->sentence);
}

static objd_status take_answer(const char *path, const void *bytes, size_t size, uint8_t *ret_token,
                               size_t *ret_size)
{
        const struct control_token *token = bytes;
        const struct control_reply *reply = bytes;
        bool is_ours = size >= sizeof(token->head) && le32toh(token->head.magic) == CONTROL_MAGIC &&
                       le16toh(token->head.version) == CONTROL_VERSION;

        if (is_ours && size == sizeof(*token) && le16toh(token->head.type) == CONTROL_TOKEN_ISSUED &&
            le32toh(token->n) <= TOKEN_SIZE_MAX) {
                memcpy(ret_token, token->token, le32toh(token->n));
                *ret_size = le32toh(token->n);
                return OBJD_OK;
        }
        if (is_ours && size == sizeof(*reply) && le16toh(reply->head.type) == CONTROL_REFUSED &&
            !reply->sentence[CONTROL_SENTENCE_MAX - 1])
                return refused(reply);
        return no_answer(path, "what came makes no sense");
}

static objd_status talk(const char *path, int socket, uint8_t *ret_token, size_t *ret_size)
{
        const struct control_hello hello = {
                .head = control_head_make(CONTROL_HELLO, sizeof(hello)),
                .access = htole32(CONTROL_TOKEN),
        };
        union {
                struct control_token token;
                struct control_reply reply;
        } answer;
        objd_status r = connect_to(path, socket);
        ssize_t n;

        if (r)
                return r;
        if (send(socket, &hello, sizeof(hello), MSG_NOSIGNAL) < 0)
                return no_answer(path, strerror(errno));
        n = recv(socket, &answer, sizeof(answer), 0);
        if (n <= 0)
                return no_answer(path, n ? strerror(errno) : "it hung up");
        return take_answer(path, &answer, (size_t)n, ret_token, ret_size);
}

objd_status token_ask(const char *url, uint8_t ret_token[TOKEN_SIZE_MAX], size_t *ret_size)
{
        char path[PATH_MAX];
        struct stat st;
        objd_status r;
        int fd;

        *ret_size = 0;
        if (strncmp(url, "ipc://", 6) != 0)
                return OBJD_OK;
        snprintf(path, sizeof(path), "%s" TOKEN_POINTER, url + 6);
        if (lstat(path, &st) < 0)
                return OBJD_OK;
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return fail_errno("cannot ask for a token");
        r = talk(path, fd, ret_token, ret_size);
        (void)close(fd); /* nothing that could be lost */
        return r;
}
