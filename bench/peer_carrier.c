/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What carries the calls, without objd: a request of the size of a get's to another process, which answers at once with one of the
 * size of its reply.
 *
 *     peer_carrier unix     a connected pair of Unix sockets
 *     peer_carrier ipc      nanomsg's REQ and REP over ipc://
 *     peer_carrier tcp      the same over tcp:// on the loopback
 *     peer_carrier memcpy   a copy of 16 MiB
 *
 * Each end has a processor of its own.
 */

#include "bench.h"

#include <errno.h>
#include <nanomsg/nn.h>
#include <nanomsg/pair.h>
#include <nanomsg/reqrep.h>
#include <nanomsg/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES 112 /* head, key and what names the object */
#define REPLY_BYTES 160   /* head and a value of 100 bytes */
#define LARGE_BYTES ((size_t)16 << 20)
#define N_ONE 20000
#define N_REPS 9
#define N_ASLEEP 301
#define N_LARGE 9
#define N_WAKES 200
#define PAUSE_NS 2000000

/* How one end sends a message of so many bytes, and receives one. */
struct end {
        void (*send)(struct end *end, const void *bytes, size_t size);
        void (*receive)(struct end *end, void *bytes, size_t size);
        int fd;
        const char *
                url; /* nanomsg's: the socket is made by whoever uses it first, for it does not survive a fork */
        int protocol;
};

/* ---- Unix sockets ----------------------------------------------------------------------------------------- */

static void unix_send(struct end *end, const void *bytes, size_t size)
{
        if (write(end->fd, bytes, size) != (ssize_t)size)
                bench_die("write: %s", strerror(errno));
}

static void unix_receive(struct end *end, void *bytes, size_t size)
{
        if (read(end->fd, bytes, size) != (ssize_t)size)
                bench_die("read: %s", strerror(errno));
}

/* ---- nanomsg ---------------------------------------------------------------------------------------------- */

static void sp_open(struct end *end, bool listens)
{
        int one = 1, no_limit = -1;

        end->fd = nn_socket(AF_SP, end->protocol);
        if (end->fd < 0 ||
            nn_setsockopt(end->fd, NN_SOL_SOCKET, NN_RCVMAXSIZE, &no_limit, sizeof(no_limit)) ||
            nn_setsockopt(end->fd, NN_TCP, NN_TCP_NODELAY, &one, sizeof(one)))
                bench_die("nn_socket: %s", nn_strerror(nn_errno()));
        if (listens ? nn_bind(end->fd, end->url) < 0 : nn_connect(end->fd, end->url) < 0)
                bench_die("%s: %s", end->url, nn_strerror(nn_errno()));
}

static void sp_send(struct end *end, const void *bytes, size_t size)
{
        if (end->fd < 0)
                sp_open(end, true);
        if (nn_send(end->fd, bytes, size, 0) != (int)size)
                bench_die("nn_send: %s", nn_strerror(nn_errno()));
}

static void sp_receive(struct end *end, void *bytes, size_t size)
{
        if (end->fd < 0)
                sp_open(end, false);
        if (nn_recv(end->fd, bytes, size, 0) != (int)size)
                bench_die("nn_recv: %s", nn_strerror(nn_errno()));
}

/* ---- The two processes ------------------------------------------------------------------------------------ */

/* What is asked for: the size of the request and of the reply. A request begins with this. */
struct sizes {
        size_t request, reply;
};

static void answer(struct end *end, const struct sizes *all, size_t n, unsigned char *bytes)
{
        for (size_t i = 0; i < n; i++) {
                end->receive(end, bytes, all->request);
                end->send(end, bytes, all->reply);
        }
}

static double ask(struct end *end, const struct sizes *sizes, unsigned char *bytes)
{
        uint64_t begin = bench_now();

        end->send(end, bytes, sizes->request);
        end->receive(end, bytes, sizes->reply);
        return (double)(bench_now() - begin);
}

static const struct sizes one = { REQUEST_BYTES, REPLY_BYTES }, large_get = { REQUEST_BYTES, LARGE_BYTES },
                          large_set = { LARGE_BYTES, REPLY_BYTES };

static void answer_all(struct end *end, bool large)
{
        unsigned char *bytes = (unsigned char *)bench_shared(LARGE_BYTES);

        answer(end, &one, N_REPS * N_ONE + N_ASLEEP, bytes);
        if (large) {
                answer(end, &large_get, N_LARGE + 1, bytes);
                answer(end, &large_set, N_LARGE + 1, bytes);
        }
}

static void ask_large(struct end *end, const char *metric, const struct sizes *sizes, unsigned char *bytes)
{
        double samples[N_LARGE];

        (void)ask(end, sizes, bytes);
        for (size_t i = 0; i < N_LARGE; i++)
                samples[i] = ask(end, sizes, bytes);
        bench_emit(metric, "ns", samples, N_LARGE, "16 MiB one way");
}

static void ask_all(struct end *end, bool large)
{
        const struct timespec pause = { 0, PAUSE_NS };
        unsigned char *bytes = (unsigned char *)bench_shared(LARGE_BYTES);
        double samples[N_REPS], asleep[N_ASLEEP];

        for (size_t rep = 0; rep < N_REPS; rep++) {
                uint64_t begin = bench_now();

                for (size_t i = 0; i < N_ONE; i++)
                        (void)ask(end, &one, bytes);
                samples[rep] = (double)(bench_now() - begin) / N_ONE;
        }
        for (size_t i = 0; i < N_ASLEEP; i++) {
                nanosleep(&pause, NULL);
                asleep[i] = ask(end, &one, bytes);
        }
        bench_emit("one", "ns", samples, N_REPS, "there and back, 112 and 160 bytes");
        bench_emit("one_asleep", "ns", asleep, N_ASLEEP, "2 ms after the last one");
        if (large) {
                memset(bytes, 7, LARGE_BYTES);
                ask_large(end, "get_16M", &large_get, bytes);
                ask_large(end, "set_16M", &large_set, bytes);
        }
}

/* ---- The wake of a receiver -------------------------------------------------------------------------------- */

static void wake_receive(void *arg)
{
        unsigned char bytes[REPLY_BYTES];
        struct end *end = (struct end *)arg;

        end->receive(end, bytes, sizeof(bytes));
}

static void wake_send(void *arg)
{
        static const unsigned char bytes[REPLY_BYTES];
        struct end *ends = (struct end *)arg;

        ends[1].send(&ends[1], bytes, sizeof(bytes));
}

static void measure_wake(struct end ends[2])
{
        struct bench_way way = { "wake", wake_receive, wake_send, ends };

        bench_wake(&way, 1, N_WAKES);
}

/* ---- Rows -------------------------------------------------------------------------------------------------- */

static void run_unix(void)
{
        struct end ends[2] = { { unix_send, unix_receive, -1, NULL, 0 },
                               { unix_send, unix_receive, -1, NULL, 0 } };
        int fds[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
                bench_die("socketpair: %s", strerror(errno));
        ends[0].fd = fds[0];
        ends[1].fd = fds[1];
        pid = fork();
        if (pid < 0)
                bench_die("fork: %s", strerror(errno));
        if (!pid) {
                bench_pin(0);
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                answer_all(&ends[1], false);
                _exit(0);
        }
        bench_pin(1);
        ask_all(&ends[0], false);
        waitpid(pid, NULL, 0);
        measure_wake(ends);
}

static void run_sp(const char *url, const char *url_of_wake)
{
        struct end asker = { sp_send, sp_receive, -1, url, NN_REQ }, answerer = asker;
        struct end ends[2] = { { sp_send, sp_receive, -1, url_of_wake, NN_PAIR },
                               { sp_send, sp_receive, -1, url_of_wake, NN_PAIR } };
        pid_t pid = fork();

        if (pid < 0)
                bench_die("fork: %s", strerror(errno));
        bench_pin(pid ? 1 : 0);
        if (!pid) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                answerer.protocol = NN_REP;
                sp_open(&answerer, true);
                answer_all(&answerer, true);
                pause(); /* until the last answer has been read */
        }
        sp_open(&asker, false);
        ask_all(&asker, true);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        nn_close(asker.fd);
        measure_wake(ends);
}

static void run_ipc(void)
{
        char directory[] = "/dev/shm/objbench-carrier-XXXXXX", url[64], url_of_wake[64];

        if (!mkdtemp(directory))
                bench_die("no directory in /dev/shm: %s", strerror(errno));
        snprintf(url, sizeof(url), "ipc://%s/socket", directory);
        snprintf(url_of_wake, sizeof(url_of_wake), "ipc://%s/wake", directory);
        run_sp(url, url_of_wake);
        unlink(url + strlen("ipc://"));
        unlink(url_of_wake + strlen("ipc://"));
        rmdir(directory);
}

static void run_tcp(void)
{
        char url[64], url_of_wake[64];

        snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", bench_free_port());
        snprintf(url_of_wake, sizeof(url_of_wake), "tcp://127.0.0.1:%u", bench_free_port());
        run_sp(url, url_of_wake);
}

static void run_memcpy(void)
{
        unsigned char *from = (unsigned char *)bench_shared(LARGE_BYTES),
                      *to = (unsigned char *)bench_shared(LARGE_BYTES);
        double samples[N_LARGE];

        bench_pin(1);
        memset(from, 7, LARGE_BYTES);
        memcpy(to, from, LARGE_BYTES);
        for (size_t i = 0; i < N_LARGE; i++) {
                uint64_t begin = bench_now();

                memcpy(to, from, LARGE_BYTES);
                bench_consume(to);
                samples[i] = (double)(bench_now() - begin);
        }
        bench_emit("copy_16M", "ns", samples, N_LARGE, "16 MiB");
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*run)(void);
        } rows[] = { { "unix", run_unix }, { "ipc", run_ipc }, { "tcp", run_tcp }, { "memcpy", run_memcpy } };

        for (size_t i = 0; argc == 2 && i < sizeof(rows) / sizeof(*rows); i++) {
                if (strcmp(argv[1], rows[i].name))
                        continue;
                rows[i].run();
                return 0;
        }
        bench_die("usage: peer_carrier unix|ipc|tcp|memcpy");
}
