/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJBENCH_H
#define OBJBENCH_H

/*
 * objbench: the rows of the speed table on objd itself. It uses objd.h and libobjd.so and nothing of the
 * library's inside, as any program would.
 */

#include "bench.h"

#include <objd.h>

#include <sys/types.h>

/* Ends the program with the library's sentence. */
void fail(objd_status r, const char *what) __attribute__((noreturn));

/* Inline, for it stands in timed loops. */
static inline void check(objd_status r, const char *what)
{
        if (r)
                fail(r, what);
}

/* A private arena of so many bytes, shared with the children that are forked from here. */
objd_conn *arena_new(uint64_t size);

/* An anonymous object; value_type BYTES, and for a dict key_type BYTES. bound is for queues. */
objd_object *object_new(objd_conn *conn, objd_kind kind, uint64_t bound);

/* A daemon of the program's own. Its directory is gone with daemon_stop(); it dies with the program. */
struct daemon {
        pid_t pid;
        char directory[64];
        char url[512]; /* of its store by handle */
};

/* extra: further words of its command line, NULL behind the last one; NULL: none. */
void daemon_start(struct daemon *daemon, const char *objd, const char *const *extra);

/* Tries until the daemon answers at this url, with pauses that are short against its start. */
objd_conn *daemon_connect(const struct daemon *daemon, const char *url);
void daemon_stop(struct daemon *daemon);

/* A daemon that listens, and a connection that goes through it. */
struct proxied {
        struct daemon daemon;
        char url[128];
        objd_conn *conn;
};

/* Starts the daemon; its url for this way (local, ipc, tcp) is in *p, and the connection is the caller's to make. */
void proxied_listen(struct proxied *p, const char *way, const char *objd);
void proxied_stop(struct proxied *p);

/* A dict whose entries are as those of the other rows, filled by handle and opened by the proxied way; and a get, which is checked. */
objd_object *make_dict(struct proxied *p, const struct bench_keys *keys);
void get_one(objd_object *dict, const struct bench_keys *keys, size_t i, objd_buf *buf);

/* A call, with a hundred single ones of its kind under way. */
void measure_flight(const char *metric, objd_conn *conn, objd_object *dict, const struct bench_keys *keys,
                    bool set);

/* One row each. What comes in argv[0] is the row's first argument; argc has been checked. */
void run_dict_get(int argc, char **argv);
void run_dict_set(int argc, char **argv);
void run_dict_insert(int argc, char **argv);
void run_dict_pair_get(int argc, char **argv);
void run_dict_pair_set(int argc, char **argv);
void run_list_append(int argc, char **argv);
void run_list_get(int argc, char **argv);
void run_queue_putget(int argc, char **argv);
void run_queue_stream(int argc, char **argv);
void run_queue_wake(int argc, char **argv);
void run_lock(int argc, char **argv);
void run_start(int argc, char **argv);
void run_rpc(int argc, char **argv);
void run_rpc_others(int argc, char **argv);
void run_rpc_wake(int argc, char **argv);
void run_hist(int argc, char **argv);
void run_memory(int argc, char **argv);

#endif
