/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_proxy_flood.c -- clients of a daemon that ask for too much, read nothing, or only hold connections: what they may take is
 * bounded, and others are served
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "arena/arena.h"
#include "object/object.h"
#include "proxy/sp_link.h"
#include "rpc/frame.h"
#include "rpc/sp.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/test.h"

#define MIB ((size_t)1 << 20)
#define CLIENT_MEMORY (16 * MIB)

/* A client of ours, frame by frame. */
struct raw {
        struct sp sp;
        uint8_t session[WIRE_SESSION_SIZE];
        uint64_t next_seq;
        size_t n_fill;        /* bytes of large values that have come */
        struct sp_count told; /* what it says to have got: at first, and perhaps for ever, nothing */
};

static char url[160];

static void start(struct fixture *f)
{
        const char *options[] = { "--rpc", url, "--client-memory", "16M", "--proxy-memory", "32M", NULL };

        snprintf(url, sizeof(url), "ipc://%s/rpc.sock", f->base);
        fixture_start(f, options);
}

/* ---- Frames ----------------------------------------------------------------------------------------------- */

struct attempt {
        struct raw *raw;
        void *data;
};

static bool is_sent(void *context)
{
        struct attempt *attempt = context;

        return sp_count_send(&attempt->raw->told, &attempt->raw->sp, attempt->data) == OBJD_OK;
}

static void send_message(struct raw *raw, enum frame_type type, struct wire_out *out)
{
        struct frame_cutter cutter;
        size_t size;

        frame_cut(&cutter, type, raw->session, out, 1u << 20);
        while ((size = frame_cut_size(&cutter)) > 0) {
                struct attempt attempt = { raw, sp_alloc(&raw->sp, size) };

                assert_non_null(attempt.data);
                frame_cut_next(&cutter, attempt.data);
                wait_until(is_sent, &attempt, "nanomsg takes a frame");
        }
}

struct arrival {
        struct raw *raw;
        struct sp_message message;
};

static bool has_come(void *context)
{
        struct arrival *arrival = context;

        return sp_receive(&arrival->raw->sp, &arrival->message) == OBJD_OK;
}

/* A session, and it is all that the client ever reads. */
static void raw_begin(struct raw *raw)
{
        const struct wire_hello hello = { .version_from = WIRE_VERSION_MIN,
                                          .version_to = WIRE_VERSION_MAX,
                                          .name = "raw" };
        struct arrival arrival = { .raw = raw };
        struct wire_welcome welcome;
        struct frame_head head;
        struct space space;
        struct wire_out out;

        *raw = (struct raw){ .next_seq = 1 };
        assert_ok(sp_open(SP_CLIENT, 2 * MIB, &raw->sp));
        assert_ok(sp_connect(&raw->sp, url));
        wire_out_init(&out, 0);
        assert_ok(wire_pack_hello(&out, &hello));
        send_message(raw, FRAME_HELLO, &out);
        wire_out_deinit(&out);
        wait_until(has_come, &arrival, "the welcome comes");
        assert_ok(frame_decode(arrival.message.data, arrival.message.size, 1u << 20, 1u << 20, &head));
        assert_int_equal(head.type, FRAME_WELCOME);
        space_init(&space, NULL, 0);
        assert_ok(wire_unpack_welcome(
                &(struct wire_in){ (uint8_t *)arrival.message.data + FRAME_HEAD, head.piece, head.body },
                &space, &welcome));
        memcpy(raw->session, welcome.session, sizeof(raw->session));
        space_deinit(&space);
        sp_free(&raw->sp, arrival.message.data);
}

static void raw_send(struct raw *raw, const struct call *call)
{
        const struct call_batch batch = { .seq = raw->next_seq++, .calls = call, .n_calls = 1 };
        struct wire_out out;

        wire_out_init(&out, WIRE_BULK_FROM);
        assert_ok(wire_pack_batch(&out, &batch, 0));
        send_message(raw, FRAME_BATCH, &out);
        wire_out_deinit(&out);
}

static void raw_say(struct raw *raw, enum frame_type type)
{
        struct attempt attempt = { raw, sp_alloc(&raw->sp, FRAME_HEAD) };

        assert_non_null(attempt.data);
        frame_bare(type, raw->session, attempt.data);
        wait_until(is_sent, &attempt, "nanomsg takes a frame");
}

/* What large values are made of. */
#define FILL 7

/* Takes the next message, which has one frame of that type, and gives its flags; *ret_size is the size of the frame. */
static uint8_t raw_take(struct raw *raw, enum frame_type type, size_t *ret_size)
{
        const uint8_t *bytes;
        struct arrival arrival = { .raw = raw };
        uint32_t before = raw->told.number;
        struct frame_head head;

        wait_until(has_come, &arrival, "a frame comes");
        (void)sp_count_came(&raw->told, &arrival.message);
        assert_int_equal(raw->told.number, before + 1); /* none has been dropped on the way */
        assert_ok(frame_decode(arrival.message.data, arrival.message.size, 1u << 20, 1u << 30, &head));
        assert_int_equal(head.type, type);
        *ret_size = FRAME_HEAD + (size_t)head.piece;
        assert_int_equal(arrival.message.size, *ret_size);
        bytes = arrival.message.data;
        for (size_t i = FRAME_HEAD; i < *ret_size; i++)
                raw->n_fill += bytes[i] == FILL;
        sp_free(&raw->sp, arrival.message.data);
        return head.flags;
}

/* ---- What the daemon says ---------------------------------------------------------------------------------- */

/* The number behind "name": in the line of the client that is called so; 0 if there is none. */
static unsigned long long said_of(const struct fixture *f, const char *comm, const char *name)
{
        char command[256], line[1024], client[64], key[64];
        unsigned long long number = 0;
        FILE *pipe;

        snprintf(command, sizeof(command), "\"$OBJD_TEST_BIN_OBJCTL\" --url %s clients --json", f->url);
        snprintf(client, sizeof(client), "\"comm\":\"%s\"", comm);
        snprintf(key, sizeof(key), "\"%s\":", name);
        pipe = popen(command, "re"); /* NOLINT: the command is ours */
        assert_non_null(pipe);
        while (fgets(line, sizeof(line), pipe)) {
                const char *at = strstr(line, client) ? strstr(line, key) : NULL;

                if (at)
                        number = strtoull(at + strlen(key), NULL, 10);
        }
        assert_int_equal(pclose(pipe), 0);
        return number;
}

static objd_object *make_value(objd_conn *conn, const char *key, size_t size)
{
        char *bytes = malloc(size);
        objd_value k = objd_cstr(key), v = objd_bytes(bytes, size);
        objd_object *dict;

        assert_non_null(bytes);
        memset(bytes, FILL, size);
        assert_ok(objd_open_or_create(conn, "dict", OBJD_DICT, NULL, &dict));
        assert_ok(objd_dict_set(dict, &k, &v));
        free(bytes);
        return dict;
}

/* An ordinary client does what it always does. */
static void expect_service(objd_object *far)
{
        objd_value key = objd_cstr("n");
        int64_t before, after;

        assert_ok(objd_dict_add_int(far, &key, 1, &before));
        for (int i = 0; i < 50; i++)
                assert_ok(objd_dict_add_int(far, &key, 1, &after));
        assert_int_equal(after - before, 50);
}

struct expectation {
        const struct fixture *f;
        unsigned long long size;
};

static bool has_taken(void *context)
{
        struct expectation *expectation = context;

        return said_of(expectation->f, "raw", "memory") >= expectation->size;
}

static bool has_taken_less(void *context)
{
        struct expectation *expectation = context;

        return said_of(expectation->f, "raw", "memory") < expectation->size;
}

/* The one client's get. */
static bool is_parked(void *context)
{
        char comm[32] = "";
        FILE *file = fopen("/proc/self/comm", "re");

        assert_non_null(file);
        assert_non_null(fgets(comm, sizeof(comm), file));
        (void)fclose(file);
        comm[strcspn(comm, "\n")] = '\0';
        return said_of(context, comm, "waiting") == 1;
}

/* ---- Tests -------------------------------------------------------------------------------------------------- */

static void who_reads_nothing_is_bounded(void **state)
{
        struct fixture *f = *state;
        objd_object *near, *far;
        objd_conn *conn, *proxied;
        struct call get = { .code = CALL_DICT_GET };
        objd_value key = objd_cstr("large");
        struct raw raw;

        start(f);
        conn = fixture_connect(f);
        near = make_value(conn, "large", MIB);
        assert_ok(objd_connect(url, &proxied));
        assert_ok(objd_set_timeout(proxied, PATIENCE_NS));
        assert_ok(objd_open(proxied, "dict", OBJD_DICT, &far));
        raw_begin(&raw);
        get.object = objd_ref_of(near);
        get.keys = &key;
        get.n_keys = 1;
        for (int i = 0; i < 100; i++)
                raw_send(&raw, &get);
        wait_until(has_taken, &(struct expectation){ f, 10 * MIB }, "replies wait to be read");
        expect_service(far);
        assert_true(said_of(f, "raw", "memory_most") <= CLIENT_MEMORY);
        assert_true(said_of(f, "raw", "memory") <= CLIENT_MEMORY);
        sp_close(&raw.sp);
        objd_release(far);
        objd_release(near);
        objd_close(proxied);
        objd_close(conn);
        assert_int_equal(fixture_stop(f, SIGTERM), 0);
}

/* A store with a large value, and a client that is frames and has its welcome. */
static objd_object *begin_with_large(struct fixture *f, objd_conn **ret_conn, struct raw *ret_raw)
{
        objd_object *large;

        start(f);
        *ret_conn = fixture_connect(f);
        large = make_value(*ret_conn, "large", 5 * MIB);
        raw_begin(ret_raw);
        ret_raw->told.number = 1; /* the welcome */
        return large;
}

/*
 * A large frame goes when all before it is known to have come. Where something small is in its way, of which a client would not tell by itself, there is
 * a frame of the size that it tells of.
 */
static void large_frames_go_one_by_one(void **state)
{
        struct fixture *f = *state;
        struct call get = { .code = CALL_DICT_GET };
        objd_value key = objd_cstr("large");
        size_t size, n_large = 0;
        objd_object *near;
        objd_conn *conn;
        struct raw raw;
        uint8_t flags;

        near = begin_with_large(f, &conn, &raw);
        raw_say(&raw, FRAME_PING);
        (void)raw_take(&raw, FRAME_PONG, &size);
        raw.told.number--; /* it keeps that to itself */
        get.object = objd_ref_of(near);
        get.keys = &key;
        get.n_keys = 1;
        raw_send(&raw, &get);
        raw.told.number++;
        flags = raw_take(&raw, FRAME_REPLY, &size);
        assert_int_equal(flags, FRAME_FIRST);
        assert_true(size >= SP_TELL_BYTES && size <= 96u << 10);
        while (!(flags & FRAME_LAST)) {
                raw_say(&raw, FRAME_PONG);
                flags = raw_take(&raw, FRAME_REPLY, &size);
                n_large += size == MIB;
        }
        assert_int_equal(n_large, 4);
        raw_say(&raw, FRAME_PONG);
        wait_until(has_taken_less, &(struct expectation){ f, MIB / 2 }, "nobody pays for what was sent");
        sp_close(&raw.sp);
        objd_release(near);
        objd_close(conn);
        assert_int_equal(fixture_stop(f, SIGTERM), 0);
}

static uint64_t n_pins(const objd_object *near)
{
        return word_get_acquire(&near->conn->arena->header->n_pins);
}

static bool nothing_is_pinned(void *context)
{
        return n_pins(context) == 0;
}

/* Reads a reply to its end. */
static void raw_take_reply(struct raw *raw, uint8_t flags)
{
        size_t size;

        while (!(flags & FRAME_LAST)) {
                raw_say(raw, FRAME_PONG);
                flags = raw_take(raw, FRAME_REPLY, &size);
        }
        raw_say(raw, FRAME_PONG);
}

/* A value that is on its way is the one that was there, whatever becomes of it; and its memory is free when it has gone. */
static void large_values_are_sent_from_where_they_lie(void **state)
{
        struct fixture *f = *state;
        struct call get = { .code = CALL_DICT_GET };
        objd_value key = objd_cstr("large"), other = objd_cstr("other");
        objd_object *near;
        objd_conn *conn;
        struct raw raw;
        uint8_t flags;
        size_t size;

        near = begin_with_large(f, &conn, &raw);
        get.object = objd_ref_of(near);
        get.keys = &key;
        get.n_keys = 1;
        raw_send(&raw, &get);
        raw_take_reply(&raw, raw_take(&raw, FRAME_REPLY, &size));
        assert_in_range(raw.n_fill, 5 * MIB, 5 * MIB + 100);

        /* Now it is known to read large values. */
        raw.n_fill = 0;
        raw_send(&raw, &get);
        flags = raw_take(&raw, FRAME_REPLY, &size);
        assert_int_equal(n_pins(near), 1);
        assert_ok(objd_dict_set(near, &key, &other));
        assert_ok(objd_dict_del(near, &key));
        for (int i = 0; i < 20; i++) { /* nor is its memory another one's */
                char *bytes = calloc(1, 5 * MIB);
                objd_value zeros = objd_bytes(bytes, 5 * MIB);

                assert_non_null(bytes);
                assert_ok(objd_dict_set(near, &other, &zeros));
                free(bytes);
        }
        raw_take_reply(&raw, flags);
        assert_in_range(raw.n_fill, 5 * MIB, 5 * MIB + 100);
        wait_until(nothing_is_pinned, near, "the value is let go");
        sp_close(&raw.sp);
        objd_release(near);
        objd_close(conn);
        assert_int_equal(fixture_stop(f, SIGTERM), 0);
}

static void large_values_go_as_far_as_the_limit(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn;
        objd_object *dict;
        char *bytes = calloc(1, CLIENT_MEMORY);
        objd_value key = objd_cstr("v"), value = objd_bytes(bytes, CLIENT_MEMORY), got;
        objd_buf buf = OBJD_BUF_INIT;

        start(f);
        assert_non_null(bytes);
        assert_ok(objd_connect(url, &conn));
        assert_ok(objd_set_timeout(conn, PATIENCE_NS));
        assert_ok(objd_create(conn, "dict", OBJD_DICT, NULL, &dict));
        assert_status(objd_dict_set(dict, &key, &value), OBJD_E_LIMIT);
        assert_contains(objd_last_error(), "--client-memory");
        value.size = 7 * MIB;
        assert_ok(objd_dict_set(dict, &key, &value));
        assert_ok(objd_dict_get(dict, &key, &got, &buf));
        assert_int_equal(got.size, 7 * MIB);
        assert_ok(objd_dict_pop(dict, &key, &got, &buf));
        value.size = 12 * MIB;
        assert_ok(objd_dict_set(dict, &key, &value));
        assert_status(objd_dict_get(dict, &key, &got, &buf), OBJD_E_LIMIT);
        assert_ok(objd_dict_del(dict, &key));
        objd_buf_free(&buf);
        objd_release(dict);
        objd_close(conn);
        free(bytes);
        assert_int_equal(fixture_stop(f, SIGTERM), 0);
}

static void *wait_for_item(void *context)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value item;
        objd_status r = objd_queue_get(context, &item, &buf, OBJD_FOREVER);

        objd_buf_free(&buf);
        return (void *)(uintptr_t)r;
}

/* While one answer has not come, those to what was asked for after it do not add up: they have been taken. */
static void who_waits_for_long_is_told_more_than_the_limit(void **state)
{
        enum { N = 40 };
        struct fixture *f = *state;
        objd_value key = objd_cstr("v"), value = objd_bytes(calloc(1, MIB), MIB), got;
        objd_object *dict, *queue;
        objd_buf buf = OBJD_BUF_INIT;
        objd_conn *conn;
        pthread_t thread;
        void *result;

        start(f);
        assert_ok(objd_connect(url, &conn));
        assert_ok(objd_set_timeout(conn, PATIENCE_NS));
        assert_ok(objd_create(conn, "dict", OBJD_DICT, NULL, &dict));
        assert_ok(objd_create(conn, "queue", OBJD_QUEUE, NULL, &queue));
        assert_int_equal(pthread_create(&thread, NULL, wait_for_item, queue), 0);
        wait_until(is_parked, f, "the get waits");
        for (int i = 0; i < N; i++) {
                assert_ok(objd_dict_set(dict, &key, &value));
                assert_ok(objd_dict_pop(dict, &key, &got, &buf));
        }
        assert_ok(objd_queue_put(queue, &key, PATIENCE_NS));
        assert_int_equal(pthread_join(thread, &result), 0);
        assert_ok((objd_status)(uintptr_t)result);
        free((void *)(uintptr_t)value.data);
        objd_buf_free(&buf);
        objd_release(queue);
        objd_release(dict);
        objd_close(conn);
        assert_int_equal(fixture_stop(f, SIGTERM), 0);
}

/* Connections that say nothing, as many as this process may have, up to a thousand. */
static void who_only_connects_costs_little(void **state)
{
        enum { N = 1000 };
        struct fixture *f = *state;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct rlimit limit;
        objd_conn *conn;
        objd_object *dict;
        int fds[N], n = 0;

        start(f);
        assert_ok(objd_connect(url, &conn));
        assert_ok(objd_set_timeout(conn, PATIENCE_NS));
        assert_ok(objd_create(conn, "dict", OBJD_DICT, NULL, &dict));
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_true(strlen(url) - strlen("ipc://") < sizeof(address.sun_path));
        memcpy(address.sun_path, url + strlen("ipc://"), strlen(url) - strlen("ipc://"));
        while (n < N && (rlim_t)n + 100 < limit.rlim_cur) {
                fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                assert_true(fds[n] >= 0);
                if (connect(fds[n], (struct sockaddr *)&address, sizeof(address)) < 0) {
                        assert_true(errno == EAGAIN || errno == ECONNREFUSED);
                        (void)close(fds[n]);
                        break;
                }
                n++;
        }
        assert_true(n > 100);
        expect_service(dict);
        while (n > 0)
                (void)close(fds[--n]);
        expect_service(dict);
        objd_release(dict);
        objd_close(conn);
        assert_int_equal(fixture_stop(f, SIGTERM), 0);
}

/* ---- Many who come and go ----------------------------------------------------------------------------------- */

#define AT_ONCE 100

/* What is read in a loop that may be given less than it asks for. */
static void read_all(int fd, void *bytes, size_t size)
{
        size_t n = 0;

        while (n < size) {
                ssize_t got = recv(fd, (char *)bytes + n, size - n, 0);

                if (got <= 0)
                        fail_msg("the daemon does not answer: %s", got ? strerror(errno) : "it hangs up");
                n += (size_t)got;
        }
}

/* A connection of nanomsg's protocol REQ, that says one thing: a ping for a session that there is not. */
static int say_something(void)
{
        static const uint8_t greeting[8] = { 0, 'S', 'P', 0, 0, 0x30, 0, 0 };
        const struct timeval patience = { .tv_sec = PATIENCE_NS / 1000000000 };
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        uint8_t message[9 + 4 + FRAME_HEAD] = { 1, [8] = 4 + FRAME_HEAD, [9] = 0x80 }, theirs[8];
        uint8_t session[WIRE_SESSION_SIZE] = { 1 };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0 && strlen(url) - strlen("ipc://") < sizeof(address.sun_path));
        memcpy(address.sun_path, url + strlen("ipc://"), strlen(url) - strlen("ipc://"));
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        frame_bare(FRAME_PING, session, message + 9 + 4);
        assert_int_equal(send(fd, greeting, sizeof(greeting), MSG_NOSIGNAL), sizeof(greeting));
        read_all(fd, theirs, sizeof(theirs));
        assert_int_equal(send(fd, message, sizeof(message), MSG_NOSIGNAL), sizeof(message));
        return fd;
}

/* That it is refused, as it is. */
static void hear_answer(int fd)
{
        uint8_t head[9 + 4 + FRAME_HEAD];

        read_all(fd, head, sizeof(head));
        assert_int_equal(head[9 + 4 + 2], FRAME_REFUSED);
}

/* More of them than the daemon remembers, and each is answered. Who has a session goes on, and there is room for more. */
static void who_comes_and_goes_leaves_room(void **state)
{
        struct fixture *f = *state;
        objd_conn *conn, *late;
        objd_object *dict;
        int fds[AT_ONCE];

        start(f);
        assert_ok(objd_connect(url, &conn));
        assert_ok(objd_set_timeout(conn, PATIENCE_NS));
        assert_ok(objd_create(conn, "dict", OBJD_DICT, NULL, &dict));
        for (int n = 0; n < (int)SP_PEERS_MAX + AT_ONCE; n += AT_ONCE) {
                for (int i = 0; i < AT_ONCE; i++)
                        fds[i] = say_something();
                for (int i = 0; i < AT_ONCE; i++) {
                        hear_answer(fds[i]);
                        (void)close(fds[i]);
                }
        }
        expect_service(dict);
        assert_ok(objd_connect(url, &late));
        objd_close(late);
        objd_release(dict);
        objd_close(conn);
        assert_int_equal(fixture_stop(f, SIGTERM), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(who_reads_nothing_is_bounded),
                FIXTURE_TEST(large_frames_go_one_by_one),
                FIXTURE_TEST(large_values_are_sent_from_where_they_lie),
                FIXTURE_TEST(large_values_go_as_far_as_the_limit),
                FIXTURE_TEST(who_waits_for_long_is_told_more_than_the_limit),
                FIXTURE_TEST(who_only_connects_costs_little),
                FIXTURE_TEST(who_comes_and_goes_leaves_room),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
