/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_tcp.c -- connections over TCP: who has no key gets nothing, who stands in between reads nothing and can change nothing, and each
 * change is made once, whatever is done to the frames
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <objd.h>

#include "base/sys.h"
#include "proxy/sp_link.h"
#include "rpc/carrier.h"
#include "rpc/frame.h"
#include "rpc/keyfile.h"
#include "rpc/wire.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/relay.h"
#include "support/test.h"

struct tcp {
        struct fixture *f;
        struct relay relay;
        char keys[96]; /* the daemon's file */
        objd_conn *near;
        objd_conn *far;
};

/* ---- Keys and addresses ----------------------------------------------------------------------------------- */

static void path_of(const struct tcp *t, const char *who, char ret[96])
{
        snprintf(ret, 96, "%s/%s.key", t->f->base, who);
}

/* Makes a key in a file of its own, and tells the daemon of it if it is to know it. */
static void make_key(const struct tcp *t, const char *who, const char *rights, bool known)
{
        char path[96], text[1024];
        struct rights parsed = { 0 };
        uint8_t id[KEY_ID_SIZE];
        int from, to;
        ssize_t n;

        path_of(t, who, path);
        assert_ok(rights_parse(rights, strlen(rights), &parsed));
        assert_ok(keyfile_add(path, &parsed, id));
        if (!known)
                return;
        from = open(path, O_RDONLY | O_CLOEXEC);
        to = open(t->keys, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        n = read(from, text, sizeof(text));
        assert_true(n > 0 && write(to, text, (size_t)n) == n);
        close(from);
        close(to);
}

/* By the relay, or straight to the daemon. */
static const char *url_of(const struct tcp *t, const char *who, bool by_relay)
{
        static char url[256];
        char path[96];

        path_of(t, who, path);
        snprintf(url, sizeof(url), "%s?key=%s", by_relay ? t->relay.url : t->relay.daemon_url, path);
        return url;
}

static void start_daemon(struct tcp *t)
{
        const char *options[] = { "--rpc", t->relay.daemon_url, "--keys", t->keys, NULL };

        fixture_start(t->f, options);
}

static objd_conn *connect_as(struct tcp *t, const char *who, bool by_relay)
{
        objd_conn *conn;

        assert_ok(objd_connect(url_of(t, who, by_relay), &conn));
        assert_ok(objd_set_timeout(conn, PATIENCE_NS));
        return conn;
}

static void begin(struct tcp *t, struct fixture *f)
{
        memset(t, 0, sizeof(*t));
        t->f = f;
        snprintf(t->keys, sizeof(t->keys), "%s/daemon.keys", f->base);
        relay_start(&t->relay);
        make_key(t, "all", "rw", true);
        make_key(t, "other", "rw", true);
        make_key(t, "reader", "ro", true);
        make_key(t, "team", "rw team/* jobs", true);
        make_key(t, "stranger", "rw", false);
        start_daemon(t);
        t->near = fixture_connect(f);
        t->far = connect_as(t, "all", true);
}

static void end(struct tcp *t)
{
        objd_close(t->far);
        objd_close(t->near);
        if (t->f->pid)
                (void)fixture_stop(t->f, SIGTERM);
        relay_stop(&t->relay);
}

static objd_object *make(objd_conn *conn, const char *name, objd_kind kind)
{
        objd_object *object;

        assert_ok(objd_open_or_create(conn, name, kind, NULL, &object));
        return object;
}

/* What "objctl stats --json" says has been refused for a reason. */
static long refused_for(const struct tcp *t, const char *reason)
{
        char command[256], text[4096], name[40];
        const char *at;
        FILE *f;
        size_t n;

        snprintf(command, sizeof(command), "\"$OBJD_TEST_BIN_OBJCTL\" --url %s stats --json", t->f->url);
        f = popen(command, "r");
        assert_non_null(f);
        n = fread(text, 1, sizeof(text) - 1, f);
        text[n] = '\0';
        assert_int_equal(pclose(f), 0);
        snprintf(name, sizeof(name), "\"%s\":", reason);
        at = strstr(text, "\"refused\":");
        at = at ? strstr(at, name) : NULL;
        assert_non_null(at);
        return strtol(at + strlen(name), NULL, 10);
}

/* A line of the log about a refusal for this reason says whose key it was, and which session. */
static void expect_logged(const struct tcp *t, const char *reason)
{
        const char *line = strstr(fixture_log(t->f), reason), *end;
        char text[512];

        assert_non_null(line);
        end = strchr(line, '\n');
        snprintf(text, sizeof(text), "%.*s", end ? (int)(end - line) : (int)strlen(line), line);
        assert_contains(text, "session ");
        assert_contains(text, "key ");
}

/* The line for this reason names this session, and the key that is in who's file. */
static void expect_logged_of(const struct tcp *t, const char *reason,
                             const uint8_t session[WIRE_SESSION_SIZE], const char *who)
{
        char path[96], hex[2 * WIRE_SESSION_SIZE + 1], id[KEY_ID_TEXT_SIZE], line[160];
        struct keyring *keyring;
        const struct seal_key *key;

        path_of(t, who, path);
        assert_ok(keyfile_load(path, &keyring));
        assert_ok(keyring_only(keyring, path, &key));
        for (size_t i = 0; i < WIRE_SESSION_SIZE; i++)
                snprintf(hex + 2 * i, 3, "%02x", session[i]);
        snprintf(line, sizeof(line), "refused (%s): session %s, key %s: ", reason, hex,
                 key_id_text(key->id, id));
        assert_contains(fixture_log(t->f), line);
        keyring_free(keyring);
}

/* ---- What can be read ------------------------------------------------------------------------------------- */

#define NAME "the-name-of-it"
#define KEY "the-key-within"
#define VALUE "the-value-there"

static void use(objd_conn *conn)
{
        objd_object *dict = make(conn, NAME, OBJD_DICT);
        objd_value key = objd_cstr(KEY), value = objd_cstr(VALUE), got;
        objd_buf buf = OBJD_BUF_INIT;

        assert_ok(objd_dict_set(dict, &key, &value));
        assert_ok(objd_dict_get(dict, &key, &got, &buf));
        assert_true(objd_value_equal(&got, &value));
        objd_buf_free(&buf);
        objd_release(dict);
}

static bool was_seen(struct tcp *t, const char *text)
{
        return relay_has_seen(&t->relay, text, strlen(text));
}

static void nothing_goes_in_the_clear(void **state)
{
        struct keyring *keyring;
        const struct seal_key *key;
        char path[96], hex[2 * KEY_SECRET_SIZE + 1];
        struct tcp t;

        begin(&t, *state);
        use(t.far);
        assert_false(was_seen(&t, NAME) || was_seen(&t, KEY) || was_seen(&t, VALUE));
        path_of(&t, "all", path);
        assert_ok(keyfile_load(path, &keyring));
        assert_ok(keyring_only(keyring, path, &key));
        for (size_t i = 0; i < KEY_SECRET_SIZE; i++)
                snprintf(hex + 2 * i, 3, "%02x", key->secret[i]);
        assert_false(was_seen(&t, hex));
        assert_false(relay_has_seen(&t.relay, key->secret, KEY_SECRET_SIZE));
        assert_true(relay_has_seen(&t.relay, key->id, KEY_ID_SIZE)); /* it was this key's */
        keyring_free(keyring);
        end(&t);
}

/* The test above finds what is there: without a seal, all of it. */
static void all_goes_in_the_clear_without_a_seal(void **state)
{
        struct tcp t = { .f = *state };
        const char *options[] = { "--insecure", "--rpc", NULL, NULL };
        char url[128];

        relay_start(&t.relay);
        options[2] = t.relay.daemon_url;
        fixture_start(t.f, options);
        snprintf(url, sizeof(url), "%s?insecure", t.relay.url);
        assert_ok(objd_connect(url, &t.far));
        assert_ok(objd_set_timeout(t.far, PATIENCE_NS));
        use(t.far);
        assert_true(was_seen(&t, NAME) && was_seen(&t, KEY) && was_seen(&t, VALUE));
        end(&t);
}

/* ---- What can be done in between --------------------------------------------------------------------------- */

static void add(objd_object *dict, int64_t *expected)
{
        objd_value key = objd_cstr("n");
        int64_t sum;

        assert_ok(objd_dict_add_int(dict, &key, 1, &sum));
        assert_int_equal(sum, ++*expected);
}

static const enum relay_act acts[] = { RELAY_FLIP,    RELAY_TRUNCATE, RELAY_REPEAT,
                                       RELAY_REFLECT, RELAY_DROP,     RELAY_CUT };

/*
 * Does that to frames until the daemon has refused one for this reason, and has had a line left for it in the log.
 * Which frame is changed, and where, is a matter of chance: a changed head is another fault than changed bytes.
 */
static void make_refused(struct tcp *t, objd_object *dict, const char *reason, enum relay_act act,
                         int64_t *expected)
{
        const struct relay_plan plan = {
                .act = act, .to_client = act == RELAY_REFLECT, .first = 4, .nth = 3, .times = 1
        };
        int64_t until = now_ns() + PATIENCE_NS;
        char logged[32];

        snprintf(logged, sizeof(logged), "refused (%s)", reason);
        while (refused_for(t, reason) <= 0 || !strstr(fixture_log(t->f), logged)) {
                assert_true(now_ns() < until);
                relay_set(&t->relay, &plan);
                while (relay_left(&t->relay))
                        add(dict, expected);
                add(dict, expected);
        }
}

static void changes_are_made_once_whatever_happens_to_frames(void **state)
{
        static const char *const refused[] = { "tampered", "repeated", "reflected", "missing", "size" };
        static const enum relay_act why[] = { RELAY_FLIP, RELAY_REPEAT, RELAY_REFLECT, RELAY_DROP,
                                              RELAY_TRUNCATE };
        char logged[32];
        int64_t expected = 0;
        objd_object *dict;
        struct tcp t;

        begin(&t, *state);
        dict = make(t.far, "dict", OBJD_DICT);
        for (size_t i = 0; i < 2 * sizeof(acts) / sizeof(acts[0]); i++) {
                const struct relay_plan plan = {
                        .act = acts[i / 2], .to_client = i % 2, .first = 4, .nth = 3, .times = 2
                };

                relay_set(&t.relay, &plan);
                while (relay_left(&t.relay))
                        add(dict, &expected);
                for (int n = 0; n < 3; n++)
                        add(dict, &expected);
        }
        for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
                make_refused(&t, dict, refused[i], why[i], &expected);
                snprintf(logged, sizeof(logged), "refused (%s)", refused[i]);
                expect_logged(&t, logged);
        }
        objd_release(dict);
        objd_close(t.far);
        t.far = NULL;
        (void)fixture_stop(t.f, SIGTERM);
        for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
                assert_contains(strstr(fixture_log(t.f), " channels, "), refused[i]);
        end(&t);
}

static void a_handshake_is_made_again_until_it_comes_through(void **state)
{
        int64_t expected = 0;
        struct tcp t;

        begin(&t, *state);
        for (size_t i = 0; i < 2 * sizeof(acts) / sizeof(acts[0]); i++) {
                const struct relay_plan plan = {
                        .act = acts[i / 2], .to_client = i % 2, .first = 1, .nth = 1, .times = 1
                };
                objd_object *dict;

                objd_close(t.far);
                relay_set(&t.relay, &plan);
                t.far = connect_as(&t, "all", true);
                dict = make(t.far, "dict", OBJD_DICT);
                add(dict, &expected);
                objd_release(dict);
                assert_int_equal(relay_left(&t.relay), 0);
        }
        end(&t);
}

/* ---- What has been recorded -------------------------------------------------------------------------------- */

static bool log_has_replay(void *context)
{
        const struct tcp *t = context;
        const char *log = fixture_log(t->f);

        return strstr(log, "(seen-before)") && strstr(log, "has no channel");
}

static bool log_has_wrong_proof(void *context)
{
        const struct tcp *t = context;

        return strstr(fixture_log(t->f), "(wrong-proof)") != NULL;
}

static void a_session_that_is_sent_again_does_nothing(void **state)
{
        objd_value key = objd_cstr("n");
        int64_t expected = 0, sum;
        objd_object *dict;
        struct tcp t;
        int fd;

        begin(&t, *state);
        dict = make(t.far, "dict", OBJD_DICT);
        for (int i = 0; i < 5; i++)
                add(dict, &expected);
        fd = relay_replay(&t.relay);
        wait_until(log_has_replay, &t, "a replay that is refused");
        close(fd);
        add(dict, &expected);

        /* The next daemon has not seen this hello, but expects another proof. */
        (void)fixture_stop(t.f, SIGKILL);
        start_daemon(&t);
        fd = relay_replay(&t.relay);
        wait_until(log_has_wrong_proof, &t, "a replay that is refused by the next daemon");
        close(fd);
        add(dict, &expected);
        objd_release(dict);
        dict = make(t.near, "dict", OBJD_DICT);
        assert_ok(objd_dict_add_int(dict, &key, 0, &sum));
        assert_int_equal(sum, expected);
        objd_release(dict);
        end(&t);
}

/* ---- Sessions belong to keys -------------------------------------------------------------------------------- */

static void await_link(struct carrier *carrier)
{
        int64_t until = now_ns() + PATIENCE_NS, again = 0;
        struct carrier_frames frames;
        objd_status r;

        while ((r = carrier_prepare(carrier, &again)) == OBJD_E_BUSY && now_ns() < until) {
                carrier_wait(carrier, again);
                while (carrier_receive(carrier, &frames) == OBJD_OK)
                        carrier_release(carrier, &frames);
        }
        assert_ok(r);
}

/* Sends a frame and waits for the next one that has a message; the caller releases it. */
static void ask(struct carrier *carrier, const void *frame, size_t size, struct carrier_frames *ret_frames,
                struct frame_head *ret_head)
{
        int64_t until = now_ns() + PATIENCE_NS;
        void *data;

        assert_ok(carrier_reserve(carrier, size, &data));
        memcpy(data, frame, size);
        assert_ok(carrier_send(carrier, data, size));
        while (carrier_receive(carrier, ret_frames)) {
                assert_true(now_ns() < until);
                carrier_wait(carrier, until);
        }
        assert_ok(frame_decode(ret_frames->data, ret_frames->size, carrier->max_frame, UINT32_MAX, ret_head));
}

/* With another key, says hello with that session's id, and then speaks as if it were its own. */
static void try_to_take(struct tcp *t, const uint8_t session[WIRE_SESSION_SIZE])
{
        static const uint8_t nobody[WIRE_SESSION_SIZE];
        struct wire_hello hello = { .version_from = WIRE_VERSION_MIN,
                                    .version_to = WIRE_VERSION_MAX,
                                    .name = "thief",
                                    .has_session = true };
        uint8_t frame[FRAME_HELLO_MAX];
        struct carrier *carrier;
        struct carrier_frames frames;
        struct frame_cutter cutter;
        struct wire_welcome welcome;
        struct wire_refused refused;
        struct frame_head head;
        struct space space;
        struct wire_out out;
        struct wire_in in;
        size_t size;

        space_init(&space, NULL, 0);
        assert_ok(carrier_open(url_of(t, "other", false), &carrier));
        await_link(carrier);
        memcpy(hello.session, session, WIRE_SESSION_SIZE);
        wire_out_init(&out, 0);
        assert_ok(wire_pack_hello(&out, &hello));
        frame_cut(&cutter, FRAME_HELLO, nobody, &out, FRAME_HELLO_MAX);
        size = frame_cut_size(&cutter);
        frame_cut_next(&cutter, frame);
        ask(carrier, frame, size, &frames, &head);
        wire_out_deinit(&out);
        assert_int_equal(head.type, FRAME_WELCOME);
        in = (struct wire_in){ (const uint8_t *)frames.data + FRAME_HEAD, head.message, head.body };
        assert_ok(wire_unpack_welcome(&in, &space, &welcome));
        assert_false(welcome.resumed);
        assert_memory_not_equal(welcome.session, session, WIRE_SESSION_SIZE);
        carrier_release(carrier, &frames);

        frame_bare(FRAME_PING, session, frame);
        ask(carrier, frame, FRAME_HEAD, &frames, &head);
        assert_int_equal(head.type, FRAME_REFUSED);
        in = (struct wire_in){ (const uint8_t *)frames.data + FRAME_HEAD, head.message, head.body };
        assert_ok(wire_unpack_refused(&in, &space, &refused));
        assert_int_equal(refused.status, OBJD_E_NOTFOUND);
        carrier_release(carrier, &frames);
        carrier_close(carrier);
        space_deinit(&space);
}

static void sessions_go_on_with_their_own_key_only(void **state)
{
        objd_value value = objd_int(1);
        uint8_t head[FRAME_HEAD];
        objd_object *list;
        uint64_t len;
        struct tcp t;

        begin(&t, *state);
        assert_ok(objd_create(t.far, NULL, OBJD_LIST, NULL, &list)); /* it goes with the session */
        assert_ok(objd_list_append(list, &value));
        assert_true(relay_find_frame(&t.relay, FRAME_BATCH, head));
        try_to_take(&t, head + FRAME_HEAD - WIRE_SESSION_SIZE);
        expect_logged_of(&t, "others-session", head + FRAME_HEAD - WIRE_SESSION_SIZE, "other");
        expect_logged_of(&t, "message", head + FRAME_HEAD - WIRE_SESSION_SIZE, "other");
        assert_ok(objd_list_append(list, &value));
        (void)fixture_stop(t.f, SIGKILL);
        start_daemon(&t);
        try_to_take(&t, head + FRAME_HEAD - WIRE_SESSION_SIZE);
        assert_ok(objd_list_append(list, &value));
        assert_ok(objd_list_len(list, &len));
        assert_int_equal(len, 3);
        objd_release(list);
        end(&t);
}

/* ---- Crowds ------------------------------------------------------------------------------------------------ */

#define CROWD (SP_CONNECTIONS_MAX + 50)

static bool log_has_crowd(void *context)
{
        const struct tcp *t = context;

        return strstr(fixture_log(t->f), "connections; all are closed") != NULL;
}

/* Who has a key goes on, and the daemon has descriptors left for others. */
static void a_crowd_of_strangers_is_sent_away(void **state)
{
        static int fds[CROWD];
        struct rlimit limit;
        int64_t expected = 0;
        objd_object *dict;
        objd_conn *conn;
        struct tcp t;
        int n = 0;

        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        if (limit.rlim_max < 2 * CROWD)
                skip(); /* neither we nor the daemon may have so many open */
        limit.rlim_cur = limit.rlim_cur > 2 * CROWD ? limit.rlim_cur : 2 * CROWD;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        begin(&t, *state);
        dict = make(t.far, "dict", OBJD_DICT);
        add(dict, &expected);
        /* It may happen before all are there, and then it does not listen for a moment. */
        while (n < (int)CROWD && (fds[n] = relay_dial()) >= 0)
                n++;
        wait_until(log_has_crowd, &t, "a crowd that is sent away");
        while (n)
                close(fds[--n]);
        add(dict, &expected);
        assert_ok(objd_connect(t.f->url, &conn));
        objd_close(conn);
        objd_release(dict);
        end(&t);
}

/* ---- Who gets in ------------------------------------------------------------------------------------------- */

static void without_the_right_key_nobody_gets_in(void **state)
{
        const char *no_keys[] = { "--rpc", NULL, NULL };
        struct fixture_output output;
        objd_conn *conn;
        struct tcp t;

        begin(&t, *state);
        assert_status(objd_connect(url_of(&t, "stranger", false), &conn), OBJD_E_ACCESS);
        assert_status(objd_connect(url_of(&t, "nobody", false), &conn), OBJD_E_NOTFOUND);
        (void)unsetenv("OBJD_KEY_FILE");
        assert_status(objd_connect(t.relay.daemon_url, &conn), OBJD_E_INVAL);
        assert_contains(objd_last_error(), "objctl keygen");
        expect_logged(&t, "refused (unknown-key)");
        assert_true(refused_for(&t, "unknown-key") > 0);
        assert_int_equal(refused_for(&t, "tampered"), 0);

        no_keys[1] = t.relay.daemon_url;
        fixture_run_here(t.f, no_keys, &output);
        assert_int_equal(output.status, 2);
        assert_contains(output.err, "objctl keygen");
        end(&t);
}

static void a_key_is_found_by_the_environment(void **state)
{
        objd_conn *conn;
        char path[96];
        struct tcp t;

        begin(&t, *state);
        path_of(&t, "all", path);
        (void)setenv("OBJD_KEY_FILE", path, 1);
        assert_ok(objd_connect(t.relay.daemon_url, &conn));
        (void)unsetenv("OBJD_KEY_FILE");
        use(conn);
        objd_close(conn);
        end(&t);
}

static void a_key_that_only_reads_changes_nothing(void **state)
{
        objd_value key = objd_cstr(KEY), value = objd_cstr("new"), got;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *dict;
        objd_conn *reader;
        struct tcp t;

        begin(&t, *state);
        use(t.far);
        reader = connect_as(&t, "reader", false);
        assert_true(objd_is_read_only(reader));
        assert_ok(objd_open(reader, NAME, OBJD_DICT, &dict));
        assert_ok(objd_dict_get(dict, &key, &got, &buf));
        assert_status(objd_dict_set(dict, &key, &value), OBJD_E_ACCESS);
        assert_status(objd_delete(reader, NAME), OBJD_E_ACCESS);
        objd_release(dict);
        assert_status(objd_create(reader, "new", OBJD_DICT, NULL, &dict), OBJD_E_ACCESS);
        objd_buf_free(&buf);
        objd_close(reader);
        end(&t);
}

static void other_names_are_refused(objd_conn *team, objd_ref other)
{
        objd_object *object;
        objd_info *infos;
        size_t n;

        assert_status(objd_open(team, "other", OBJD_DICT, &object), OBJD_E_ACCESS);
        assert_status(objd_open(team, "none", OBJD_DICT, &object), OBJD_E_ACCESS);
        assert_status(objd_create(team, "teamwork", OBJD_DICT, NULL, &object), OBJD_E_ACCESS);
        assert_status(objd_open_or_create(team, "other", OBJD_DICT, NULL, &object), OBJD_E_ACCESS);
        assert_status(objd_open_ref(team, other, OBJD_DICT, &object), OBJD_E_ACCESS);
        assert_status(objd_delete(team, "other"), OBJD_E_ACCESS);
        assert_ok(objd_list(team, "", &infos, &n));
        assert_int_equal(n, 1);
        assert_string_equal(infos[0].name, "team/a");
        objd_infos_free(infos);
}

static void a_key_for_some_names_reaches_no_others(void **state)
{
        objd_value key = objd_cstr("k"), value = objd_int(1), ref, got;
        objd_object *other, *mine, *same, *anonymous;
        objd_buf buf = OBJD_BUF_INIT;
        objd_batch *batch;
        objd_conn *team;
        size_t failed;
        struct tcp t;

        begin(&t, *state);
        other = make(t.near, "other", OBJD_DICT);
        team = connect_as(&t, "team", false);
        mine = make(team, "team/a", OBJD_DICT);
        assert_ok(objd_create(team, NULL, OBJD_DICT, NULL, &anonymous));
        other_names_are_refused(team, objd_ref_of(other));

        /* Nor by a ref that it makes up, or finds; its own anonymous objects it may refer to. */
        ref = objd_refer(objd_ref_of(other));
        assert_status(objd_dict_set(mine, &key, &ref), OBJD_E_ACCESS);
        same = make(t.near, "team/a", OBJD_DICT);
        assert_ok(objd_dict_set(same, &key, &ref));
        assert_ok(objd_dict_get(mine, &key, &got, &buf));
        assert_status(objd_open_ref(team, got.u.ref, OBJD_DICT, &anonymous), OBJD_E_ACCESS);
        ref = objd_refer(objd_ref_of(anonymous));
        assert_ok(objd_dict_set(mine, &key, &ref));
        assert_status(objd_set_name(anonymous, "other/b"), OBJD_E_ACCESS);

        /* What is given another name is out of reach, also in a batch. */
        assert_ok(objd_set_name(same, "secret"));
        assert_status(objd_dict_set(mine, &key, &value), OBJD_E_ACCESS);
        assert_status(objd_dict_get(mine, &key, &got, &buf), OBJD_E_ACCESS);
        assert_ok(objd_batch_new(team, &batch));
        assert_ok(objd_batch_dict_set(batch, anonymous, &key, &value));
        assert_ok(objd_batch_dict_set(batch, mine, &key, &value));
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_ACCESS);
        assert_int_equal(failed, 1);
        assert_status(objd_dict_get(anonymous, &key, &got, &buf), OBJD_E_NOTFOUND);
        objd_batch_free(batch);

        objd_buf_free(&buf);
        objd_release(same);
        objd_release(mine);
        objd_release(anonymous);
        objd_release(other);
        objd_close(team);
        end(&t);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(nothing_goes_in_the_clear),
                FIXTURE_TEST(all_goes_in_the_clear_without_a_seal),
                FIXTURE_TEST(changes_are_made_once_whatever_happens_to_frames),
                FIXTURE_TEST(a_handshake_is_made_again_until_it_comes_through),
                FIXTURE_TEST(a_session_that_is_sent_again_does_nothing),
                FIXTURE_TEST(sessions_go_on_with_their_own_key_only),
                FIXTURE_TEST(a_crowd_of_strangers_is_sent_away),
                FIXTURE_TEST(without_the_right_key_nobody_gets_in),
                FIXTURE_TEST(a_key_is_found_by_the_environment),
                FIXTURE_TEST(a_key_that_only_reads_changes_nothing),
                FIXTURE_TEST(a_key_for_some_names_reaches_no_others),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
