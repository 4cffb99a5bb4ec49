/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_control.c -- the control socket: callers that do not behave, and daemons that are none
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "arena/layout.h"
#include "client/control_proto.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"

#define NOBODY 65534

/* ---- Callers that do not behave ---------------------------------------------------------------------- */

static int call_daemon(const struct fixture *f)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s/test.sock", f->directory);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

/* The daemon hangs up without a word. */
static void assert_is_dropped(int fd)
{
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };
        char byte;
        ssize_t n;

        assert_int_equal(poll(&pollfd, 1, (int)(PATIENCE_NS / 1000000)), 1);
        n = recv(fd, &byte, 1, MSG_DONTWAIT);
        assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
        close(fd);
}

static struct control_hello good_hello(void)
{
        return (struct control_hello){
                .head = control_head_make(CONTROL_HELLO, sizeof(struct control_hello)),
                .access = htole32(CONTROL_READ_WRITE),
        };
}

static void assert_serves_others(const struct fixture *f)
{
        objd_conn *conn = fixture_connect(f);

        assert_ok(numbers_add(conn, "k", 1));
        objd_close(conn);
}

static void send_bytes(int fd, const void *bytes, size_t size)
{
        assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Says hello and closes the descriptor of the arena that it gets. */
static int call_and_be_welcome(const struct fixture *f)
{
        struct control_hello hello = good_hello();
        struct control_reply reply;
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec iov = { .iov_base = &reply, .iov_len = sizeof(reply) };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        int fd = call_daemon(f), arena;

        send_bytes(fd, &hello, sizeof(hello));
        assert_int_equal(recvmsg(fd, &message, MSG_CMSG_CLOEXEC), sizeof(reply));
        assert_int_equal(le16toh(reply.head.type), CONTROL_WELCOME);
        assert_int_equal(le64toh((uint64_t)reply.daemon_pid), f->pid);
        assert_true(CMSG_FIRSTHDR(&message) != NULL);
        assert_int_equal(CMSG_FIRSTHDR(&message)->cmsg_len, CMSG_LEN(sizeof(int)));
        memcpy(&arena, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
        close(arena);
        return fd;
}

static void a_caller_of_nonsense_is_dropped_alone(void **state)
{
        struct fixture *f = *state;
        struct control_hello hello = good_hello();
        char zeros[4096] = { 0 };
        objd_conn *conn;
        int fd;

        fixture_start(f, NULL);
        conn = fixture_connect(f);

        fd = call_daemon(f);
        send_bytes(fd, "hello?", 6);
        assert_is_dropped(fd);
        fd = call_daemon(f);
        send_bytes(fd, zeros, sizeof(zeros));
        assert_is_dropped(fd);
        fd = call_daemon(f);
        send_bytes(fd, "", 0);
        assert_is_dropped(fd);
        for (size_t size = 1; size < sizeof(hello); size++) {
                fd = call_daemon(f);
                send_bytes(fd, &hello, size);
                assert_is_dropped(fd);
        }
        hello.head.size = htole32(31);
        fd = call_daemon(f);
        send_bytes(fd, &hello, sizeof(hello));
        assert_is_dropped(fd);
        hello = good_hello();
        hello.head.type = htole16(CONTROL_WELCOME);
        fd = call_daemon(f);
        send_bytes(fd, &hello, sizeof(hello));
        assert_is_dropped(fd);

        assert_ok(numbers_add(conn, "k", 1));
        objd_close(conn);
        assert_serves_others(f);
}

static void assert_is_refused(const struct fixture *f, const struct control_hello *hello, objd_status status,
                              const char *sentence)
{
        struct control_reply reply;
        int fd = call_daemon(f);

        send_bytes(fd, hello, sizeof(*hello));
        assert_int_equal(recv(fd, &reply, sizeof(reply), 0), sizeof(reply));
        assert_int_equal(le16toh(reply.head.type), CONTROL_REFUSED);
        assert_int_equal(le32toh(reply.status), status);
        assert_string_equal(reply.sentence, sentence);
        assert_is_dropped(fd);
}

static void another_version_of_the_protocol_is_told_so(void **state)
{
        struct fixture *f = *state;
        struct control_hello hello = good_hello();

        fixture_start(f, NULL);
        hello.head.version = htole16(7);
        assert_is_refused(f, &hello, OBJD_E_PROTO,
                          "it speaks version 7 of the protocol and this daemon version 2");
        hello = good_hello();
        hello.access = htole32(9);
        assert_is_refused(f, &hello, OBJD_E_PROTO, "it asks for a kind of access that there is not");
        assert_serves_others(f);
}

static void who_goes_on_talking_is_dropped(void **state)
{
        struct fixture *f = *state;
        struct control_hello hello = good_hello();
        int fd, n;

        fixture_start(f, NULL);
        fd = call_and_be_welcome(f);
        for (n = 0; n < 10000; n++)
                if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                        break;
        assert_is_dropped(fd);
        assert_serves_others(f);
        assert_contains(fixture_log(f), "dropped, it went on after its hello");
}

static void who_says_nothing_is_dropped(void **state)
{
        struct fixture *f = *state;
        int fds[20];

        fixture_start(f, NULL);
        for (size_t i = 0; i < 20; i++)
                fds[i] = call_daemon(f);
        assert_serves_others(f);

        for (size_t i = 0; i < 20; i++)
                assert_is_dropped(fds[i]);
        assert_contains(fixture_log(f), "dropped, it did not say hello in time");
        assert_serves_others(f);
}

static void send_descriptors(int fd, const struct control_hello *hello, size_t n)
{
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(100 * sizeof(int))];
        } control = { 0 };
        struct iovec iov = { .iov_base = (void *)hello, .iov_len = sizeof(*hello) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
        struct cmsghdr *c = &control.align;
        int passed[100];

        for (size_t i = 0; i < n; i++)
                passed[i] = fd;
        message.msg_controllen = CMSG_SPACE(n * sizeof(int));
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), passed, n * sizeof(int));
        assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), sizeof(*hello));
}

struct fd_count {
        int pid;
        size_t max;
};

static bool has_few_fds(void *context)
{
        const struct fd_count *count = context;

        return leaks_count_fds(count->pid) <= count->max;
}

static void descriptors_that_are_passed_to_it_are_closed(void **state)
{
        struct fixture *f = *state;
        struct control_hello hello = good_hello();
        struct fd_count count;
        int fd;

        fixture_start(f, NULL);
        count = (struct fd_count){ .pid = f->pid, .max = leaks_count_fds(f->pid) };
        for (size_t n = 1; n <= 100; n += 33) {
                fd = call_daemon(f);
                send_descriptors(fd, &hello, n);
                assert_is_dropped(fd);
                fd = call_and_be_welcome(f);
                send_descriptors(fd, &hello, n);
                assert_is_dropped(fd);
        }

        wait_until(has_few_fds, &count, "the daemon has no more descriptors than before");
        assert_contains(fixture_log(f), "dropped, it passed descriptors");
        assert_serves_others(f);
}

static void more_clients_than_allowed_are_told_so(void **state)
{
        struct fixture *f = *state;
        objd_conn *conns[3], *conn = NULL;
        char sentence[256];

        fixture_start(f, (const char *[]){ "--max-clients", "3", NULL });
        for (size_t i = 0; i < 3; i++)
                conns[i] = fixture_connect(f);
        snprintf(
                sentence, sizeof(sentence),
                "cannot connect to \"%s\": the daemon refuses: 3 clients are connected, which is all that --max-clients "
                "allows",
                f->url);
        assert_sentence(objd_connect(f->url, &conn), OBJD_E_LIMIT, sentence);
        objd_close(conns[2]);

        /* The daemon may hear of the end a little later than it sees the next one come. */
        for (int64_t end_ns = test_now_ns() + PATIENCE_NS;
             objd_connect(f->url, &conn) && test_now_ns() < end_ns;)
                poll(NULL, 0, 2);
        assert_non_null(conn);
        objd_close(conn);
        objd_close(conns[0]);
        objd_close(conns[1]);
}

static int flood_as_nobody(void *context)
{
        const struct fixture *f = context;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fds[500];

        child_check(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/test.sock", f->directory);
        for (size_t i = 0; i < 500; i++) {
                fds[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
                child_check(connect(fds[i], (struct sockaddr *)&address, sizeof(address)) == 0);
        }
        for (size_t i = 0; i < 500; i++) {
                struct pollfd pollfd = { .fd = fds[i], .events = POLLIN };

                child_check(poll(&pollfd, 1, (int)(PATIENCE_NS / 1000000)) == 1);
        }
        return 0;
}

static void a_foreign_user_cannot_take_the_places_of_others(void **state)
{
        struct fixture *f = *state;
        pid_t pid;

        if (geteuid() != 0)
                skip();
        fixture_start(f, (const char *[]){ "--max-clients", "10", NULL });
        pid = child_start(flood_as_nobody, f);
        for (int i = 0; i < 50; i++)
                assert_serves_others(f);
        child_expect_success(pid);
        assert_serves_others(f);
}

/* ---- A daemon that is none, seen from the client ----------------------------------------------------- */

enum trick {
        TRICK_HANG_UP,
        TRICK_NOISE,
        TRICK_VERSION,
        TRICK_SIZE,
        TRICK_TYPE,
        TRICK_ACCESS,
        TRICK_NO_DESCRIPTOR,
        TRICK_TWO_DESCRIPTORS,
        TRICK_NO_ARENA,
        TRICK_STATUS,
        TRICK_SENTENCE,
        N_TRICKS
};

static const struct {
        objd_status status;
        const char *sentence;
} trick_answers[N_TRICKS] = {
        [TRICK_HANG_UP] = { OBJD_E_NODAEMON, "it hung up without an answer" },
        [TRICK_NOISE] = { OBJD_E_PROTO, "is not from an objd" },
        [TRICK_VERSION] = { OBJD_E_PROTO, "is of another version of the protocol" },
        [TRICK_SIZE] = { OBJD_E_PROTO, "has the wrong size" },
        [TRICK_TYPE] = { OBJD_E_PROTO, "is of an unknown type" },
        [TRICK_ACCESS] = { OBJD_E_PROTO, "grants what was not asked for" },
        [TRICK_NO_DESCRIPTOR] = { OBJD_E_PROTO, "does not come with the descriptors that are due" },
        [TRICK_TWO_DESCRIPTORS] = { OBJD_E_PROTO, "does not come with the descriptors that are due" },
        [TRICK_NO_ARENA] = { OBJD_E_FORMAT, "the file is no arena" },
        [TRICK_STATUS] = { OBJD_E_PROTO, "has a status that makes no sense" },
        [TRICK_SENTENCE] = { OBJD_E_PROTO, "has a sentence without an end" },
};

static struct control_reply trick_reply(enum trick trick)
{
        struct control_reply reply = {
                .head = control_head_make(CONTROL_WELCOME, sizeof(reply)),
                .access = htole32(CONTROL_READ_WRITE),
        };

        if (trick == TRICK_ACCESS)
                reply.access = htole32(CONTROL_HELP);
        if (trick == TRICK_NOISE)
                memset(&reply, 'x', sizeof(reply));
        if (trick == TRICK_VERSION)
                reply.head.version = htole16(9);
        if (trick == TRICK_SIZE)
                reply.head.size = htole32(255);
        if (trick == TRICK_TYPE)
                reply.head.type = htole16(9);
        if (trick == TRICK_STATUS || trick == TRICK_SENTENCE)
                reply.head.type = htole16(CONTROL_REFUSED);
        if (trick == TRICK_SENTENCE)
                memset(reply.sentence, 'x', sizeof(reply.sentence));
        return reply;
}

static size_t trick_descriptors(enum trick trick)
{
        if (trick == TRICK_NO_DESCRIPTOR)
                return 0;
        return trick == TRICK_TWO_DESCRIPTORS ? 2 : 1;
}

static void play_trick(int fd, enum trick trick)
{
        struct control_reply reply = trick_reply(trick);
        struct iovec iov = { .iov_base = &reply, .iov_len = sizeof(reply) };
        size_t n = trick_descriptors(trick);
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(2 * sizeof(int))];
        } control = { 0 };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
        const int passed[2] = { fd, fd };

        if (trick == TRICK_HANG_UP)
                return;
        if (n) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n * sizeof(int));
                control.align = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                                  .cmsg_type = SCM_RIGHTS,
                                                  .cmsg_len = CMSG_LEN(n * sizeof(int)) };
                memcpy(CMSG_DATA(&control.align), passed, n * sizeof(int));
        }
        child_check(sendmsg(fd, &message, MSG_NOSIGNAL) == sizeof(reply));
}

static int impersonate_daemon(void *context)
{
        const int listener = *(int *)context;

        for (enum trick trick = 0; trick < N_TRICKS; trick++) {
                char hello[64];
                int fd = accept(listener, NULL, NULL);

                child_check(recv(fd, hello, sizeof(hello), 0) == sizeof(struct control_hello));
                play_trick(fd, trick);
                close(fd);
        }
        return 0;
}

static int listen_as_daemon(const struct fixture *f)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        assert_int_equal(mkdir(f->directory, 0755), 0);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/test.sock", f->directory);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 4), 0);
        return fd;
}

static void a_client_believes_no_daemon_byte_by_byte(void **state)
{
        struct fixture *f = *state;
        int listener = listen_as_daemon(f);
        objd_conn *conn = NULL;
        pid_t pid = child_start(impersonate_daemon, &listener);

        for (enum trick trick = 0; trick < N_TRICKS; trick++) {
                assert_status(objd_connect(f->url, &conn), trick_answers[trick].status);
                assert_contains(objd_last_error(), trick_answers[trick].sentence);
                assert_null(conn);
        }
        child_expect_success(pid);
        close(listener);
}

static void a_client_does_not_wait_for_ever_for_a_daemon_that_is_stopped(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn = NULL;

        fixture_start(f, NULL);
        kill(f->pid, SIGSTOP);
        assert_status(objd_connect(f->url, &conn), OBJD_E_NODAEMON);
        assert_contains(objd_last_error(), "it does not respond");
        kill(f->pid, SIGCONT);

        assert_serves_others(f);
}

struct stranger {
        const struct fixture *f;
        struct gate ready, done;
};

static int listen_as_nobody(void *context)
{
        const struct stranger *stranger = context;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        child_check(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/test.sock", stranger->f->directory);
        child_check(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        child_check(listen(fd, 4) == 0);
        gate_open(&stranger->ready, 1);
        gate_wait(&stranger->done);
        return 0;
}

static void a_client_does_not_talk_to_a_strangers_daemon(void **state)
{
        struct fixture *f = *state;
        struct stranger stranger = { .f = f };
        objd_conn *conn = NULL;
        char sentence[400];
        pid_t pid;

        if (geteuid() != 0)
                skip();
        gate_init(&stranger.ready);
        gate_init(&stranger.done);
        assert_int_equal(mkdir(f->directory, 0755), 0);
        assert_int_equal(chmod(f->directory, 0777), 0);
        pid = child_start(listen_as_nobody, &stranger);
        gate_wait(&stranger.ready);

        snprintf(sentence, sizeof(sentence),
                 "cannot connect to \"%s\": the daemon is of uid 65534, but %s belongs to uid 0", f->url,
                 f->directory);
        assert_sentence(objd_connect(f->url, &conn), OBJD_E_ACCESS, sentence);
        gate_open(&stranger.done, 1);
        child_expect_success(pid);
        gate_deinit(&stranger.ready);
        gate_deinit(&stranger.done);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_caller_of_nonsense_is_dropped_alone),
                FIXTURE_TEST(another_version_of_the_protocol_is_told_so),
                FIXTURE_TEST(who_goes_on_talking_is_dropped),
                FIXTURE_TEST(who_says_nothing_is_dropped),
                FIXTURE_TEST(descriptors_that_are_passed_to_it_are_closed),
                FIXTURE_TEST(more_clients_than_allowed_are_told_so),
                FIXTURE_TEST(a_foreign_user_cannot_take_the_places_of_others),
                FIXTURE_TEST(a_client_believes_no_daemon_byte_by_byte),
                FIXTURE_TEST(a_client_does_not_wait_for_ever_for_a_daemon_that_is_stopped),
                FIXTURE_TEST(a_client_does_not_talk_to_a_strangers_daemon),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
