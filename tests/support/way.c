/* SPDX-License-Identifier: Apache-2.0 */

/*
 * way.c -- a store for the suites that run by every way that leads to one
 */

#include "support/way.h"

#include <arpa/inet.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arena/life.h"
#include "arena/session.h"
#include "object/object.h"
#include "rpc/keyfile.h"
#include "support/child.h"
#include "support/inside.h"

#define OPTIONS_MAX 24
#define INSIDE_MAX 16
#define TRIES 20 /* to start a daemon, where others may take the port that it is to have */

/* The daemon's options of one or of all ways, and what they point to. */
struct plan {
        const char *options[OPTIONS_MAX];
        size_t n_options;
        char texts[WAYS_MAX][256];
        size_t n_texts;
};

/* A way to a daemon: adds the options that open it, and gives the url. */
struct way {
        const char *name;
        void (*open)(const struct fixture *f, struct plan *plan, char ret_url[256]);
};

static void add_option(struct plan *plan, const char *name, const char *value)
{
        assert_in_range(plan->n_options, 0, OPTIONS_MAX - 3);
        plan->options[plan->n_options++] = name;
        plan->options[plan->n_options++] = value;
}

static void open_handle(const struct fixture *f, struct plan *plan, char ret_url[256])
{
        (void)plan;
        (void)snprintf(ret_url, 256, "%s", f->url);
}

static void open_ipc(const struct fixture *f, struct plan *plan, char ret_url[256])
{
        char *listen = plan->texts[plan->n_texts++];

        (void)snprintf(listen, 256, "ipc://%s/rpc.sock", f->base);
        (void)snprintf(ret_url, 256, "%s", listen);
        add_option(plan, "--rpc", listen);
}

/* An address of this machine that is this process's alone, so its ports are there for one daemon after the other. */
static struct in_addr own_address(void)
{
        return (struct in_addr){ .s_addr = htonl(127u << 24 | ((uint32_t)getpid() & 0x7fffff)) };
}

/* One that nobody has at this moment; until the daemon has it, somebody else may take it. */
static uint16_t free_port(struct in_addr at)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = at };
        socklen_t size = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
        (void)close(fd);
        return ntohs(address.sin_port);
}

/* With a key for everything; daemon and client have it in one file. */
static void open_tcp(const struct fixture *f, struct plan *plan, char ret_url[256])
{
        char *listen = plan->texts[plan->n_texts++], *keys = plan->texts[plan->n_texts++];
        struct in_addr at = own_address();
        struct rights all_rights = { 0 };
        uint8_t id[KEY_ID_SIZE];
        char text[INET_ADDRSTRLEN];

        assert_non_null(inet_ntop(AF_INET, &at, text, sizeof(text)));
        (void)snprintf(listen, 256, "tcp://%s:%u", text, free_port(at));
        (void)snprintf(keys, 256, "%s/tcp.key", f->base);
        (void)snprintf(ret_url, 256, "%s?key=%s", listen, keys);
        (void)unlink(keys);
        assert_ok(rights_parse("rw", 2, &all_rights));
        assert_ok(keyfile_add(keys, &all_rights, id));
        add_option(plan, "--rpc", listen);
        add_option(plan, "--keys", keys);
}

static void open_local(const struct fixture *f, struct plan *plan, char ret_url[256])
{
        (void)plan;
        (void)snprintf(ret_url, 256, "local:%s/test", f->directory);
}

/* The first one is what a program runs by if it is not told. */
static const struct way ways[] = {
        { "handle", open_handle },
        { "ipc", open_ipc },
        { "local", open_local },
        { "tcp", open_tcp },
};

#define N_WAYS (sizeof(ways) / sizeof(*ways))

static struct ways all;

static void open_all(const struct fixture *f, struct plan *plan, char ret_url[256])
{
        for (; all.n < N_WAYS; all.n++) {
                all.names[all.n] = ways[all.n].name;
                ways[all.n].open(f, plan, all.urls[all.n]);
        }
        (void)strcpy(ret_url, all.urls[0]);
}

static const struct way all_ways = { "all", open_all };

/* What all tests of this program have in common. */
static const struct way *way = ways;
static struct fixture *fixture;
static struct plan plan; /* of its daemon */
static char url[256];
static objd_conn *near;     /* by handle to the same store */
static uint64_t n_at_first; /* objects in an empty store */

/* And what one of them has. */
static objd_object *insides[INSIDE_MAX];
static size_t n_insides;

bool way_is_handle(void)
{
        return way == ways;
}

const char *way_name(void)
{
        return way->name;
}

void way_needs_handle(const char *why)
{
        if (way_is_handle())
                return;
        print_message("not by %s: %s\n", way->name, why);
        skip();
}

int64_t way_few(int64_t n, int64_t less)
{
        return way_is_handle() ? n : less;
}

objd_conn *way_connect(void)
{
        objd_conn *conn = NULL;

        assert_ok(objd_connect(url, &conn));
        assert_ok(objd_set_timeout(conn, PATIENCE_NS));
        return conn;
}

static uint64_t count_objects(void)
{
        objd_stats stats;

        assert_ok(objd_stats_get(near, &stats));
        return stats.n_objects;
}

/* ---- The program ------------------------------------------------------------------------------------------ */

static int begin(void **state)
{
        int n_tries = 0, status;

        (void)state;
        if (way_is_handle())
                return 0;
        fixture = fixture_new();
        do {
                plan = (struct plan){ 0 };
                all.n = 0;
                way->open(fixture, &plan, url);
        } while (!fixture_try_start(fixture, plan.options, &status) && ++n_tries < TRIES);
        if (n_tries == TRIES)
                fail_msg("the daemon does not start: %s", fixture_log(fixture));
        near = fixture_connect(fixture);
        n_at_first = count_objects();
        return 0;
}

static int end(void **state)
{
        (void)state;
        objd_close(near);
        near = NULL;
        return fixture_free(fixture);
}

static const struct way *find_way(const char *name)
{
        for (size_t i = 0; i < N_WAYS; i++)
                if (strcmp(ways[i].name, name) == 0)
                        return &ways[i];
        return strcmp(name, all_ways.name) == 0 ? &all_ways : NULL;
}

int way_run_tests(int argc, char **argv, const char *name, const struct CMUnitTest *tests, size_t n)
{
        if (argc > 1)
                way = find_way(argv[1]);
        if (!way) {
                (void)fprintf(stderr, "there is no way \"%s\"\n", argv[1]);
                return 2;
        }
        return _cmocka_run_group_tests(name, tests, n, begin, end);
}

struct fixture *way_daemon(void)
{
        return fixture;
}

void way_start_again(void)
{
        fixture_start(fixture, plan.options);
}

const struct ways *way_all(void)
{
        return way == &all_ways ? &all : NULL;
}

/* ---- A test ----------------------------------------------------------------------------------------------- */

int way_setup(void **state)
{
        if (way_is_handle()) {
                int r = inside_setup(state);

                near = *state;
                return r;
        }
        fixture_check_runs(fixture);
        *state = way_connect();
        return 0;
}

/* What is still there of sessions is of children that have died. */
static bool is_empty(void *context)
{
        (void)context;
        return inside_sessions(near, 0, true) == 0 && count_objects() == n_at_first;
}

static void empty_the_store(void)
{
        objd_info *infos = NULL;
        size_t n;

        assert_ok(objd_list(near, NULL, &infos, &n));
        for (size_t i = 0; i < n; i++)
                assert_ok(objd_delete(near, infos[i].name));
        objd_infos_free(infos);
        wait_until(is_empty, NULL, "the store is empty again");
}

int way_teardown(void **state)
{
        inside_check(near);
        while (n_insides)
                objd_release(insides[--n_insides]);
        objd_close(*state);
        if (way_is_handle()) {
                near = NULL;
                return 0;
        }
        empty_the_store();
        inside_check(near);
        fixture_check_runs(fixture);
        return 0;
}

/* ---- What a test may ask ---------------------------------------------------------------------------------- */

objd_object *way_inside(const objd_object *object)
{
        objd_ref ref = objd_ref_of(object);

        for (size_t i = 0; i < n_insides; i++)
                if (insides[i]->serial == ref.serial)
                        return insides[i];
        assert_in_range(n_insides, 0, INSIDE_MAX - 1);
        assert_ok(objd_open_ref(near, ref, OBJD_KIND_ANY, &insides[n_insides]));
        return insides[n_insides++];
}

void way_check(objd_conn *conn)
{
        (void)conn;
        inside_check(near);
}

static uint64_t memory_of_records(uint32_t number)
{
        struct arena *arena = near->arena;
        const struct client_shm *client = arena_client(arena, number);
        objd_object *records;
        objd_ref ref;
        uint64_t memory;

        if (!half_get_acquire(&client->claimed) || !(word_get(&client->flags) & CLIENT_IS_SESSION))
                return 0;
        ref = session_records(arena, id_make(number, client->generation));
        assert_ok(objd_open_ref(near, ref, OBJD_DICT, &records));
        memory = inside_memory(records);
        objd_release(records);
        return memory;
}

uint64_t way_used(objd_conn *conn)
{
        uint64_t high = word_get(&near->arena->header->clients_high), used = inside_used(near);

        (void)conn;
        for (uint32_t i = 1; i < high; i++)
                used -= memory_of_records(i);
        return used;
}

uint64_t way_objects(objd_conn *conn)
{
        (void)conn;
        return count_objects() - inside_sessions(near, 0, false);
}

uint64_t way_memory(objd_object *object)
{
        return inside_memory(object);
}

objd_object *way_dict(objd_conn *conn, const char *name)
{
        return inside_dict(conn, name);
}

void way_kill(pid_t pid)
{
        child_kill(pid);
        if (!way_is_handle())
                (void)inside_sessions(near, pid, true);
}
