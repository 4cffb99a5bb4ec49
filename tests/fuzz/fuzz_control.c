/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_control.c -- what anybody may say on the daemon's control socket
 *
 * The daemon runs in a thread; each input is one connection. The input is a row of messages: a byte says what kind of message it
 * is, another how long, and then come its bytes. Most kinds have a sound head, so that what is behind it is looked at;
 * one passes a descriptor along. However it goes, the daemon serves the next one.
 */

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/control_proto.h"
#include "server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Kinds of messages in an input. */
enum said { RAW, HELLO, REQUEST, DESCRIPTOR, WAIT, N_SAID };

static struct server server;
static char directory[] = "/tmp/objd-fuzz-XXXXXX";

static void must(bool condition)
{
        if (!condition)
                abort();
}

static void *serve(void *context)
{
        (void)context;
        must(server_run(&server) == OBJD_OK);
        return NULL;
}

static void remove_directory(void)
{
        char path[sizeof(directory) + 32];

        for (size_t i = 0; i < 3; i++) {
                snprintf(path, sizeof(path), "%s/fuzz.%s", directory,
                         (const char *[]){ "sock", "lock", "arena" }[i]);
                (void)unlink(path);
        }
        (void)rmdir(directory);
}

static void start(void)
{
        static struct options options;
        char *argv[] = { "objd",        "--dir", directory, "--memfd", "--size", "4M",
                         "--log-level", "error", "--name",  "fuzz",    NULL };
        pthread_t thread;

        must(mkdtemp(directory) != NULL);
        atexit(remove_directory);
        must(options_parse(10, argv, &options) == OBJD_OK);
        log_set_level(options.log_level);
        must(server_start(&server, &options) == OBJD_OK);
        must(pthread_create(&thread, NULL, serve, NULL) == 0);
}

static int connect_to_it(void)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        must(fd >= 0);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/fuzz.sock", directory);
        must(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        return fd;
}

static void send_with_descriptor(int fd, const void *bytes, size_t size)
{
        union {
                struct cmsghdr head;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
                                .cmsg_level = SOL_SOCKET,
                                .cmsg_type = SCM_RIGHTS } };
        struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = size };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };

        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
        (void)sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* Takes what the daemon answers, and closes what it passes; false if it has hung up. */
static bool listen_a_while(int fd, int milliseconds)
{
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

        while (poll(&poll_fd, 1, milliseconds) > 0) {
                char bytes[1024], control[256];
                struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
                struct msghdr message = { .msg_iov = &iov,
                                          .msg_iovlen = 1,
                                          .msg_control = control,
                                          .msg_controllen = sizeof(control) };
                ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
                struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
                size_t n_passed = head ? (head->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

                if (n <= 0)
                        return false;
                for (size_t i = 0; i < n_passed; i++) {
                        int passed;

                        memcpy(&passed, CMSG_DATA(head) + i * sizeof(passed), sizeof(passed));
                        close(passed);
                }
                milliseconds = 0;
        }
        return true;
}

/* The message of that kind whose bytes, or those behind its head, are these. */
static size_t make_message(enum said said, const uint8_t *bytes, size_t size, uint8_t message[700])
{
        bool is_hello = said == HELLO, is_request = said == REQUEST;
        struct control_head head =
                control_head_make(is_hello ? CONTROL_HELLO : CONTROL_REQUEST,
                                  is_hello ? sizeof(struct control_hello) : sizeof(struct control_request));
        size_t at = is_hello || is_request ? sizeof(head) : 0;

        memset(message, 0, 700);
        memcpy(message, &head, at);
        memcpy(message + at, bytes, size);
        if (is_hello)
                return sizeof(struct control_hello);
        return is_request ? sizeof(struct control_request) : size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static bool started;
        int fd;

        if (!started)
                start();
        started = true;
        fd = connect_to_it();
        while (size >= 2) {
                enum said said = data[0] % N_SAID;
                size_t length = data[1] < size - 2 ? data[1] : size - 2;
                uint8_t message[700];
                size_t n = make_message(said, data + 2, length, message);

                if (said == DESCRIPTOR)
                        send_with_descriptor(fd, message, n);
                else if (said != WAIT)
                        (void)send(fd, message, n, MSG_NOSIGNAL);
                if (!listen_a_while(fd, said == WAIT ? 5 : 0))
                        break;
                data += 2 + length;
                size -= 2 + length;
        }
        (void)listen_a_while(fd, 1);
        close(fd);
        return 0;
}
