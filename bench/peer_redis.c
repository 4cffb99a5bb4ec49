/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Redis on a Unix socket: a private server without persistence, started here and stopped at the end.
 *
 *     peer_redis get N     HGET of random fields: one at a time ("get") and 100 in flight ("get_pipelined")
 *     peer_redis set N     HSET of fields that are there, likewise
 *     peer_redis start     from the server's start to the first HSET done
 */

#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIPELINE 100
#define N_SINGLE 10000     /* calls in a repetition, one at a time */
#define N_PIPELINED 100000 /* the same, 100 in flight */
#define START_NS UINT64_C(10000000000)

struct server {
        char dir[64];
        char socket[80];
        pid_t pid;
};

static void server_exec(const struct server *server)
{
        char *argv[] = { (char[]){ "redis-server" },
                         (char[]){ "--port" },
                         (char[]){ "0" },
                         (char[]){ "--save" },
                         (char[]){ "" },
                         (char[]){ "--appendonly" },
                         (char[]){ "no" },
                         (char[]){ "--dir" },
                         (char *)(uintptr_t)server->dir,
                         (char[]){ "--unixsocket" },
                         (char *)(uintptr_t)server->socket,
                         NULL };
        int null = open("/dev/null", O_RDWR);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, STDOUT_FILENO);
        execvp(argv[0], argv);
        _exit(127);
}

static void server_start(struct server *server)
{
        strcpy(server->dir, "/tmp/objbench-redis-XXXXXX");
        if (!mkdtemp(server->dir))
                bench_die("mkdtemp: %s", strerror(errno));
        snprintf(server->socket, sizeof(server->socket), "%s/socket", server->dir);
        server->pid = fork();
        if (server->pid < 0)
                bench_die("fork: %s", strerror(errno));
        if (!server->pid)
                server_exec(server);
}

static void server_stop(struct server *server)
{
        kill(server->pid, SIGTERM);
        waitpid(server->pid, NULL, 0);
        unlink(server->socket);
        rmdir(server->dir);
}

/* Tries until the server answers, with pauses that are short against its start. */
static redisContext *server_connect(const struct server *server)
{
        const struct timespec pause = { 0, 50000 };
        uint64_t begin = bench_now();

        while (bench_now() - begin < START_NS) {
                redisContext *context = redisConnectUnix(server->socket);

                if (context && !context->err)
                        return context;
                redisFree(context);
                if (waitpid(server->pid, NULL, WNOHANG) == server->pid)
                        break;
                nanosleep(&pause, NULL);
        }
        bench_die("redis-server does not start");
}

static redisReply *check(void *reply)
{
        redisReply *r = (redisReply *)reply;

        if (!r || r->type == REDIS_REPLY_ERROR)
                bench_die("redis: %s", r ? r->str : "no reply");
        return r;
}

static void send_get(redisContext *context, const struct bench_key *key)
{
        const char *argv[] = { "HGET", "h", (const char *)key->bytes };
        const size_t sizes[] = { 4, 1, BENCH_KEY_SIZE };

        if (redisAppendCommandArgv(context, 3, argv, sizes))
                bench_die("redis: %s", context->errstr);
}

static void send_set(redisContext *context, const struct bench_key *key, uint64_t index)
{
        struct bench_value value = { { 0 } };
        const char *argv[] = { "HSET", "h", (const char *)key->bytes, (const char *)value.bytes };
        const size_t sizes[] = { 4, 1, BENCH_KEY_SIZE, BENCH_VALUE_SIZE };

        bench_value_fill(&value, index);
        if (redisAppendCommandArgv(context, 4, argv, sizes))
                bench_die("redis: %s", context->errstr);
}

static redisReply *receive(redisContext *context)
{
        void *reply = NULL;

        if (redisGetReply(context, &reply))
                bench_die("redis: %s", context->errstr);
        return check(reply);
}

static void receive_get(redisContext *context, uint64_t index)
{
        redisReply *reply = receive(context);
        struct bench_value out;

        if (reply->type != REDIS_REPLY_STRING || reply->len != BENCH_VALUE_SIZE)
                bench_die("a key is missing");
        memcpy(&out, reply->str, sizeof(out));
        bench_consume(&out);
        if (bench_value_index(&out) != index)
                bench_die("wrong value");
        freeReplyObject(reply);
}

/* n operations, at most in_flight of them unanswered. */
static double time_ops(redisContext *context, const struct bench_keys *keys, bool set, size_t n,
                       size_t in_flight)
{
        uint64_t start = bench_now();

        for (size_t i = 0; i < n; i += in_flight) {
                for (size_t j = i; j < i + in_flight; j++) {
                        if (set)
                                send_set(context, &keys->ordered[j], keys->order[j]);
                        else
                                send_get(context, &keys->ordered[j]);
                }
                for (size_t j = i; j < i + in_flight; j++) {
                        if (set)
                                freeReplyObject(receive(context));
                        else
                                receive_get(context, keys->order[j]);
                }
        }
        return (double)(bench_now() - start) / (double)n;
}

static size_t at_most(size_t n, size_t limit)
{
        return (n < limit ? n : limit) / PIPELINE * PIPELINE;
}

static void run_ops(size_t n, bool set)
{
        double single[BENCH_MAX_REPS], pipelined[BENCH_MAX_REPS];
        size_t n_single = at_most(n, N_SINGLE), n_pipelined = at_most(n, N_PIPELINED), reps = 3;
        struct server server;
        struct bench_keys keys;
        redisContext *context;

        bench_keys_init(&keys, n, 1);
        server_start(&server);
        context = server_connect(&server);
        (void)time_ops(context, &keys, true, at_most(n, n), PIPELINE);
        (void)time_ops(context, &keys, set, n_single, 1);
        for (size_t rep = 0; rep < reps; rep++) {
                single[rep] = time_ops(context, &keys, set, n_single, 1);
                pipelined[rep] = time_ops(context, &keys, set, n_pipelined, PIPELINE);
        }
        redisFree(context);
        server_stop(&server);
        bench_emit(set ? "set" : "get", "ns", single, reps, "one at a time");
        bench_emit(set ? "set_pipelined" : "get_pipelined", "ns", pipelined, reps, "100 in flight");
}

static void run_start(void)
{
        double samples[BENCH_MAX_REPS];
        size_t reps = 5;

        for (size_t rep = 0; rep < reps; rep++) {
                struct server server;
                uint64_t start = bench_now();
                redisContext *context;

                server_start(&server);
                context = server_connect(&server);
                freeReplyObject(check(redisCommand(context, "HSET h k v")));
                samples[rep] = (double)(bench_now() - start);
                redisFree(context);
                server_stop(&server);
        }
        bench_emit("start", "ns", samples, reps, "to the first HSET");
}

int main(int argc, char **argv)
{
        if (argc == 3 && !strcmp(argv[1], "get"))
                run_ops(bench_count(argv[2]), false);
        else if (argc == 3 && !strcmp(argv[1], "set"))
                run_ops(bench_count(argv[2]), true);
        else if (argc == 2 && !strcmp(argv[1], "start"))
                run_start();
        else
                bench_die("usage: peer_redis get|set N, peer_redis start");
        return 0;
}
