/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_limits.c -- one user's callers harm nobody else: many of them, loud ones, and those that ask for help and talk nonsense
 */

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <objd.h>

#include "arena/layout.h"
#include "client/control_proto.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"

#define NOBODY 65534
#define NOBODY_TEXT "65534"
#define CROWD 1000

static int call_daemon(const struct fixture *f)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s/test.sock", f->directory);
        child_check(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        return fd;
}

static struct control_hello hello_for(enum control_access access)
{
        return (struct control_hello){
                .head = control_head_make(CONTROL_HELLO, sizeof(struct control_hello)),
                .access = htole32(access),
        };
}

static struct control_request request_for(enum control_help help, uint32_t n)
{
        return (struct control_request){
                .head = control_head_make(CONTROL_REQUEST, sizeof(struct control_request)),
                .help = htole32(help),
                .n = htole32(n),
        };
}

static struct control_reply hear(int fd)
{
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };
        struct control_reply reply;

        child_check(poll(&pollfd, 1, (int)(PATIENCE_NS / 1000000)) == 1);
        child_check(recv(fd, &reply, sizeof(reply), MSG_DONTWAIT) == sizeof(reply));
        return reply;
}

/* A line on which help may be asked for. */
static int help_line(const struct fixture *f)
{
        struct control_hello hello = hello_for(CONTROL_HELP);
        struct control_reply reply;
        int fd = call_daemon(f);

        child_check(send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) == sizeof(hello));
        reply = hear(fd);
        child_check(le16toh(reply.head.type) == CONTROL_WELCOME && le32toh(reply.access) == CONTROL_HELP);
        return fd;
}

static objd_status ask(int fd, const struct control_request *request)
{
        struct control_reply reply;

        child_check(send(fd, request, sizeof(*request), MSG_NOSIGNAL) == sizeof(*request));
        reply = hear(fd);
        child_check(le16toh(reply.head.type) == CONTROL_ANSWER);
        return (objd_status)le32toh(reply.status);
}

static bool is_dropped(int fd)
{
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };
        char bytes[1024];
        ssize_t n;

        do {
                child_check(poll(&pollfd, 1, (int)(PATIENCE_NS / 1000000)) == 1);
                n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        } while (n > 0);
        close(fd);
        return n == 0 || errno == ECONNRESET;
}

static void become_nobody(void)
{
        if (geteuid() == 0)
                child_check(setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
                            setresuid(NOBODY, NOBODY, NOBODY) == 0);
}

static void start(struct fixture *f)
{
        fixture_start(f, (const char *[]){ "--read-only-uid", NOBODY_TEXT, "--max-per-uid", "100", NULL });
}

static void assert_serves_others(const struct fixture *f)
{
        objd_conn *conn = fixture_connect(f);

        assert_ok(numbers_add(conn, "k", 1));
        objd_close(conn);
}

/* ---- A crowd ------------------------------------------------------------------------------------------ */

struct crowd {
        const struct fixture *f;
        struct gate ready, go;
};

/* Some are silent, some say hello and stay; all but a hundred are sent away. */
static int come_in_crowds(void *context)
{
        struct crowd *crowd = context;
        struct control_hello hello = hello_for(CONTROL_READ_ONLY);
        static int fds[CROWD];
        uint32_t n_welcome = 0, n_limit = 0;

        become_nobody();
        for (int i = 0; i < CROWD; i++) {
                fds[i] = call_daemon(crowd->f);
                if (i % 4) /* one that has been sent away already does not take it */
                        (void)send(fds[i], &hello, sizeof(hello), MSG_NOSIGNAL);
        }
        for (int i = 0; i < CROWD; i++) {
                struct pollfd pollfd = { .fd = fds[i], .events = POLLIN };
                struct control_reply reply;

                if (i % 4 == 0)
                        continue;
                child_check(poll(&pollfd, 1, (int)(PATIENCE_NS / 1000000)) == 1);
                if (recv(fds[i], &reply, sizeof(reply), MSG_DONTWAIT) != sizeof(reply))
                        continue;
                n_welcome += le16toh(reply.head.type) == CONTROL_WELCOME;
                n_limit += le16toh(reply.head.type) == CONTROL_REFUSED &&
                           le32toh(reply.status) == OBJD_E_LIMIT &&
                           strstr(reply.sentence, "which is all that --max-per-uid allows");
        }
        child_check(n_welcome > 0 && n_welcome <= 100 && n_limit > 0);
        gate_open(&crowd->ready, 1);
        gate_wait(&crowd->go);
        return 0;
}

static void a_thousand_connections_of_one_user_leave_room_for_others(void **state)
{
        struct crowd crowd = { .f = *state };
        pid_t pid;

        if (geteuid() != 0)
                skip();
        gate_init(&crowd.ready);
        gate_init(&crowd.go);
        start(*state);
        pid = child_start(come_in_crowds, &crowd);
        for (int i = 0; i < 20; i++)
                assert_serves_others(crowd.f);
        gate_wait(&crowd.ready);
        assert_serves_others(crowd.f);
        gate_open(&crowd.go, 1);
        child_expect_success(pid);
        gate_deinit(&crowd.ready);
        gate_deinit(&crowd.go);
}

/* ---- Loud ones ---------------------------------------------------------------------------------------- */

/* Sends requests as fast as the daemon takes them, and never listens. */
static int flood(void *context)
{
        const struct fixture *f = context;
        struct control_request thaw = request_for(CONTROL_THAW, 0);

        become_nobody();
        for (int i = 0; i < 1000000; i++) { /* it is killed long before */
                int fd = help_line(f);

                while (send(fd, &thaw, sizeof(thaw), MSG_NOSIGNAL) == sizeof(thaw))
                        continue;
                close(fd);
        }
        return 0;
}

static int ask_and_never_listen(void *context)
{
        const struct fixture *f = context;
        struct control_request join = request_for(CONTROL_JOIN, 3);
        int fd;

        become_nobody();
        fd = help_line(f);
        while (send(fd, &join, sizeof(join), MSG_NOSIGNAL) == sizeof(join))
                continue;
        child_check(errno == EPIPE || errno == ECONNRESET);
        close(fd);
        return 0;
}

static void loud_callers_do_not_drown_others(void **state)
{
        struct fixture *f = *state;
        pid_t loud[3];

        start(f);
        for (int i = 0; i < 3; i++)
                loud[i] = child_start(flood, f);
        for (int i = 0; i < 100; i++)
                assert_serves_others(f);
        for (int i = 0; i < 3; i++)
                child_kill(loud[i]);
        child_expect_success(child_start(ask_and_never_listen, f));
        assert_contains(fixture_log(f), "dropped, it does not take its answers");
        assert_serves_others(f);
}

/* ---- Nonsense on a line for help ---------------------------------------------------------------------- */

static void send_badly(const struct fixture *f, const void *bytes, size_t size)
{
        int fd = help_line(f);

        child_check(send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size);
        child_check(is_dropped(fd));
}

static void pass_descriptor(const struct fixture *f)
{
        struct control_request request = request_for(CONTROL_THAW, 0);
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        struct iovec iov = { .iov_base = &request, .iov_len = sizeof(request) };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        int fd = help_line(f);

        control.align = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS,
                                          .cmsg_len = CMSG_LEN(sizeof(int)) };
        memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
        child_check(sendmsg(fd, &message, MSG_NOSIGNAL) == sizeof(request));
        child_check(is_dropped(fd));
}

static int talk_nonsense(void *context)
{
        const struct fixture *f = context;
        struct control_request request = request_for(CONTROL_FREEZE, 1);
        struct control_hello hello = hello_for(CONTROL_HELP);
        char zeros[4096] = { 0 };

        become_nobody();
        for (size_t size = 1; size < sizeof(request); size += 31)
                send_badly(f, &request, size);
        send_badly(f, zeros, sizeof(zeros));
        send_badly(f, zeros, sizeof(request));
        send_badly(f, &hello, sizeof(hello));
        request.n = htole32(CONTROL_LINES_MAX + 1);
        send_badly(f, &request, sizeof(request));
        request.n = htole32(UINT32_MAX);
        send_badly(f, &request, sizeof(request));
        request = request_for(99, 0);
        send_badly(f, &request, sizeof(request));
        request = request_for(CONTROL_FREEZE, 0);
        request.head.version = htole16(1);
        send_badly(f, &request, sizeof(request));
        request = request_for(CONTROL_FREEZE, 0);
        request.head.type = htole16(CONTROL_ANSWER);
        send_badly(f, &request, sizeof(request));
        pass_descriptor(f);
        return 0;
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

static void nonsense_on_a_line_for_help_ends_it_and_nothing_else(void **state)
{
        struct fixture *f = *state;
        struct fd_count count;
        objd_conn *conn;

        start(f);
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        count = (struct fd_count){ .pid = f->pid, .max = leaks_count_fds(f->pid) };
        child_expect_success(child_start(talk_nonsense, f));
        assert_contains(fixture_log(f), "dropped, its request is malformed");
        assert_number(conn, "k", 1);
        wait_until(has_few_fds, &count, "the daemon has no more descriptors than before");
        objd_close(conn);
}

/* Well-formed requests about things that are not there; numbers near the ends, and any. */
static int ask_for_what_is_not_there(void *context)
{
        const struct fixture *f = context;
        static const uint64_t ends[] = { 0,         1, 63, 64, 65536, 1ULL << 52, UINT64_MAX, UINT64_MAX - 63,
                                         1ULL << 63 };
        struct control_request request;
        uint64_t x = 88172645463325252ULL;
        int fd;

        become_nobody();
        fd = help_line(f);
        for (int i = 0; i < 3000; i++) {
                enum control_help what = i % 3 == 0   ? CONTROL_FREEZE
                                         : i % 3 == 1 ? CONTROL_PIN
                                                      : CONTROL_JOIN;
                objd_status r;

                request = request_for(what, 1 + (uint32_t)i % CONTROL_LINES_MAX);
                for (uint32_t k = 0; k < CONTROL_LINES_MAX; k++) {
                        x ^= x << 13;
                        x ^= x >> 7;
                        x ^= x << 17;
                        request.args[k] = i % 2 ? ends[x % (sizeof(ends) / sizeof(ends[0]))] : x >> (x & 31);
                }
                r = ask(fd, &request);
                child_check(r == OBJD_OK || r == OBJD_E_GONE || r == OBJD_E_BUSY || r == OBJD_E_LIMIT ||
                            r == OBJD_E_KIND);
        }
        close(fd);
        return 0;
}

static void asking_for_what_is_not_there_harms_nobody(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn;

        start(f);
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        child_expect_success(child_start(ask_for_what_is_not_there, f));
        assert_number(conn, "k", 1);
        assert_ok(numbers_set(conn, "k", 2));
        objd_close(conn);
}

/* ---- Pins of one user --------------------------------------------------------------------------------- */

static int pin_with_many_lines(void *context)
{
        struct crowd *crowd = context;
        struct control_request request = request_for(CONTROL_PIN, 2);
        objd_conn *conn;
        objd_status r;
        char url[160];
        uint32_t n;

        become_nobody();
        snprintf(url, sizeof(url), "%s?read-only", crowd->f->url);
        child_ok(objd_connect(url, &conn));
        objd_close(conn);
        request.args[1] = htole64(80u << 20); /* some place of the arena, as likely as not in use */
        for (n = 0; n < 90; n++) {
                int fd = help_line(crowd->f);

                r = ask(fd, &request);
                if (r == OBJD_E_LIMIT)
                        break;
                child_check(r == OBJD_OK || r == OBJD_E_GONE);
        }
        child_check(n == 64); /* a lane each, also if there was nothing to pin */
        gate_open(&crowd->ready, 1);
        gate_wait(&crowd->go);
        return 0;
}

static void the_pins_of_one_user_leave_lanes_for_others(void **state)
{
        struct crowd crowd = { .f = *state };
        objd_conn *conn;
        uint64_t n_lanes;
        pid_t pid;

        gate_init(&crowd.ready);
        gate_init(&crowd.go);
        start(*state);
        conn = fixture_connect(crowd.f);
        assert_ok(numbers_set(conn, "k", 1));
        n_lanes = stats_of(conn).n_lanes;
        pid = child_start(pin_with_many_lines, &crowd);
        gate_wait(&crowd.ready);
        assert_int_equal(stats_of(conn).n_lanes, n_lanes + 64);
        gate_open(&crowd.go, 1);
        child_expect_success(pid);
        for (int64_t end = test_now_ns() + PATIENCE_NS;
             stats_of(conn).n_lanes > n_lanes && test_now_ns() < end;)
                poll(NULL, 0, 10);
        assert_int_equal(stats_of(conn).n_lanes, n_lanes);
        objd_close(conn);
        gate_deinit(&crowd.ready);
        gate_deinit(&crowd.go);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_thousand_connections_of_one_user_leave_room_for_others),
                FIXTURE_TEST(loud_callers_do_not_drown_others),
                FIXTURE_TEST(nonsense_on_a_line_for_help_ends_it_and_nothing_else),
                FIXTURE_TEST(asking_for_what_is_not_there_harms_nobody),
                FIXTURE_TEST(the_pins_of_one_user_leave_lanes_for_others),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
