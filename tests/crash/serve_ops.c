/* SPDX-License-Identifier: Apache-2.0 */

/*
 * serve_ops.c -- requests at which a daemon dies
 *
 * "it" is what they are about, "other" what some of them change as well.
 */

#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "crash/serve.h"
#include "object/directory.h"

/* Nothing ends for want of time, however long an instruction takes. */
#define LONG_NS 3600000000000LL

#define OLD_KEY 3 /* of an entry that is there */

/* ---- Stores --------------------------------------------------------------------------------------------- */

static void fill_object(objd_object *object, const struct op_test *test)
{
        objd_kind kind = object_kind(object->config);
        objd_value value = value_of(test->fill_value);

        for (int64_t i = 0; i < test->fill; i++) {
                objd_value key = objd_int(i);

                if (kind == OBJD_DICT)
                        must(objd_dict_set(object, &key, &value), "building a dict");
                else if (kind == OBJD_QUEUE)
                        must(objd_queue_put(object, &value, OBJD_NOWAIT), "building a queue");
        }
        objd_release(object);
}

static void build_with(struct objd_conn *conn, const struct op_test *test, objd_kind other)
{
        fill_object(open_it(conn, "it", test->kind, NULL), test);
        fill_object(open_it(conn, "other", other, NULL), test);
}

static void build(struct objd_conn *conn, const struct op_test *test)
{
        build_with(conn, test, OBJD_DICT);
}

static void build_with_queue(struct objd_conn *conn, const struct op_test *test)
{
        build_with(conn, test, OBJD_QUEUE);
}

/* "old" is what somebody loads another one for, and nobody writes to it. */
static void build_with_old(struct objd_conn *conn, const struct op_test *test)
{
        build(conn, test);
        fill_object(open_it(conn, "old", OBJD_QUEUE, NULL), test);
}

static void build_recursive(struct objd_conn *conn, const struct op_test *test)
{
        objd_config config = OBJD_CONFIG_INIT;

        config.lock_flags = OBJD_LOCK_RECURSIVE;
        objd_release(open_it(conn, "it", OBJD_LOCK, &config));
        fill_object(open_it(conn, "other", OBJD_QUEUE, NULL), test);
}

/* ---- Who comes next ------------------------------------------------------------------------------------- */

static objd_status write_other(struct objd_conn *conn, const struct op_test *test)
{
        objd_value key = objd_int(1), value = objd_cstr("written by whoever came next");
        objd_object *other;
        objd_status r = objd_open(conn, "other", OBJD_DICT, &other);

        (void)test;
        if (r)
                return r;
        r = objd_dict_set(other, &key, &value);
        objd_release(other);
        return r;
}

/* The session lives, and may have the lock. */
static objd_status try_lock(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *it;
        objd_status r = objd_open(conn, "it", OBJD_LOCK, &it);

        (void)test;
        if (r)
                return r;
        r = objd_lock_take(it, OBJD_NOWAIT, NULL);
        if (r == OBJD_OK || r == OBJD_E_OWNER_DIED)
                r = objd_lock_give(it);
        objd_release(it);
        return r == OBJD_E_BUSY ? OBJD_OK : r;
}

/* ---- Calls ---------------------------------------------------------------------------------------------- */

/* What calls point to lives until they are made. */
static objd_value key, value;

static void ask(struct serving *s, struct call call)
{
        call.thread = 1;
        served_ask(&s->served, 0, &call, 1, false);
}

static struct call with_key(const struct serving *s, enum call_code code, int64_t number)
{
        key = objd_int(number);
        return (struct call){ .code = code, .object = s->known->it, .keys = &key, .n_keys = 1 };
}

static struct call with_value(const struct serving *s, enum call_code code, size_t size)
{
        value = value_of(size);
        return (struct call){
                .code = code, .object = s->known->it, .values = &value, .n_values = 1, .timeout_ns = LONG_NS
        };
}

static struct call set_of(const struct serving *s)
{
        struct call call = with_key(s, CALL_DICT_SET, TARGET);

        value = value_of(s->test->op.new_value);
        call.values = &value;
        call.n_values = 1;
        return call;
}

static void ask_set(struct serving *s)
{
        ask(s, set_of(s));
}

static void ask_add(struct serving *s)
{
        struct call call = with_key(s, CALL_DICT_ADD_INT, OLD_KEY);

        call.integer = 5;
        ask(s, call);
}

static void ask_pop(struct serving *s)
{
        ask(s, with_key(s, CALL_DICT_POP, OLD_KEY));
}

static void ask_put(struct serving *s)
{
        ask(s, with_value(s, CALL_QUEUE_PUT, s->test->op.new_value));
}

static struct call get_of(const struct serving *s)
{
        return (struct call){ .code = CALL_QUEUE_GET, .object = s->known->it, .timeout_ns = LONG_NS };
}

static void ask_get(struct serving *s)
{
        ask(s, get_of(s));
}

static struct call lease_of(objd_ref queue)
{
        return (struct call){
                .code = CALL_QUEUE_GET_LEASE, .object = queue, .integer = LONG_NS, .timeout_ns = LONG_NS
        };
}

static void ask_lease(struct serving *s)
{
        ask(s, lease_of(s->known->it));
}

static void prepare_lease(struct serving *s)
{
        struct call call = lease_of(s->known->it);
        struct serve_answer answer;

        serve_now(s, &call, 1, &answer);
        s->known->lease = answer.number;
}

static void ask_ack(struct serving *s)
{
        ask(s, (struct call){ .code = CALL_QUEUE_ACK, .object = s->known->it, .lease = s->known->lease });
}

static struct call take_of(const struct serving *s)
{
        return (struct call){
                .code = CALL_LOCK_TAKE, .object = s->known->it, .thread = 1, .timeout_ns = LONG_NS
        };
}

static void ask_take(struct serving *s)
{
        ask(s, take_of(s));
}

static void prepare_taken(struct serving *s)
{
        struct call call = take_of(s);

        serve_now(s, &call, 1, NULL);
}

static void ask_give(struct serving *s)
{
        ask(s, (struct call){ .code = CALL_LOCK_GIVE, .object = s->known->it });
}

static void ask_create(struct serving *s)
{
        ask(s, (struct call){ .code = CALL_OBJECT_CREATE, .name = "new", .kind = OBJD_LIST });
}

static void ask_anonymous(struct serving *s)
{
        ask(s, (struct call){ .code = CALL_OBJECT_CREATE, .kind = OBJD_DICT });
}

static void ask_delete(struct serving *s)
{
        ask(s, (struct call){ .code = CALL_OBJECT_DELETE, .name = "it" });
}

static void ask_rename(struct serving *s)
{
        ask(s, (struct call){ .code = CALL_OBJECT_SET_NAME, .object = s->known->it, .name = "new" });
}

/* ---- Loads ---------------------------------------------------------------------------------------------- */

static objd_ref make_own(struct serving *s, objd_kind kind)
{
        struct call call = { .code = CALL_OBJECT_CREATE, .kind = kind };
        struct serve_answer answer;

        serve_now(s, &call, 1, &answer);
        return answer.made;
}

/* A dict that is to have a name refers to a list that is to have none; another list has a name, too. */
static void prepare_load(struct serving *s)
{
        objd_ref dict = make_own(s, OBJD_DICT), inside = make_own(s, OBJD_LIST),
                 list = make_own(s, OBJD_LIST);
        objd_value refs[] = { objd_refer(dict), objd_refer(inside), objd_refer(list) };
        objd_value names[] = { objd_cstr(s->test->op.at ? "old" : "loaded"), objd_int(0), objd_cstr("list") };
        objd_value number = objd_int(1), text = objd_cstr("loaded");
        struct call calls[] = {
                { .code = CALL_DICT_SET,
                  .object = dict,
                  .keys = &number,
                  .n_keys = 1,
                  .values = &refs[1],
                  .n_values = 1 },
                { .code = CALL_LIST_APPEND, .object = inside, .values = &text, .n_values = 1 },
                { .code = CALL_LIST_APPEND, .object = list, .values = &text, .n_values = 1 },
        };

        serve_now(s, calls, 3, NULL);
        s->known->list = make_own(s, OBJD_DICT);
        for (int i = 0; i < 3; i++) {
                struct call call = { .code = CALL_DICT_SET,
                                     .object = s->known->list,
                                     .keys = &names[i],
                                     .n_keys = 1,
                                     .values = &refs[i],
                                     .n_values = 1 };

                serve_now(s, &call, 1, NULL);
        }
}

static void ask_publish(struct serving *s)
{
        ask(s, (struct call){ .code = s->test->op.at ? CALL_OBJECT_REPLACE_ALL : CALL_OBJECT_NAME_ALL,
                              .object = s->known->list });
}

/* ---- Batches -------------------------------------------------------------------------------------------- */

/* An entry of "it", a number in it, and an item of "other": the last for atomic batches is not there without the first. */
static void ask_three(struct serving *s)
{
        objd_value number = objd_int(OLD_KEY), item = objd_cstr("an item");
        const struct call calls[] = {
                set_of(s),
                { .code = CALL_DICT_ADD_INT,
                  .object = s->known->it,
                  .keys = &number,
                  .n_keys = 1,
                  .integer = 5 },
                { .code = CALL_QUEUE_PUT, .object = s->known->other, .values = &item, .n_values = 1 },
        };
        bool atomic = s->test->n_parts == 0;

        served_ask(&s->served, 0, calls, atomic ? 3 : s->part, atomic);
}

/* ---- Who waits ------------------------------------------------------------------------------------------ */

/* The second client waits for an item. Its request is a part of what is asked for again, and is taken in the order in which it came. */
static void ask_both(struct serving *s)
{
        struct call get = get_of(s);

        served_ask(&s->served, 1, &get, 1, false);
        while (!s->served.server.parked.n_jobs && served_sent(&s->served, 1) == s->sent[1])
                served_round(&s->served);
        ask_put(s);
}

static bool is_woken(const struct serving *s)
{
        return served_sent(&s->served, 0) != s->sent[0] &&
               (s->part == 1 || served_sent(&s->served, 1) != s->sent[1]);
}

/* ---- Beginnings and ends -------------------------------------------------------------------------------- */

static void ask_hello(struct serving *s)
{
        served_hello(&s->served, 0, false);
}

/* A session that has something of everything. */
static void prepare_owner(struct serving *s)
{
        const struct call calls[] = {
                take_of(s),
                lease_of(s->known->other),
                { .code = CALL_OBJECT_CREATE, .kind = OBJD_DICT },
        };

        serve_now(s, calls, 3, NULL);
}

static void ask_end(struct serving *s)
{
        ask(s, (struct call){ .code = CALL_SESSION_END });
}

/* Its time is over: nothing has been heard of it for as long as that. */
static void ask_expiry(struct serving *s)
{
        struct proxy_server *server = &s->served.server;

        for (struct proxy_session *session = server->sessions.list; session; session = session->next) {
                session->is_heard = false;
                session->heard_ns -= server->sessions.expiry_ns;
        }
        server->swept_ns -= server->sessions.expiry_ns;
        s->served.busy = true; /* it need not sleep for that */
}

/* The client dies, and its socket says so. */
static void ask_hang_up(struct serving *s)
{
        const struct proxy_session *session = s->served.server.sessions.list;
        uint64_t handle;

        if (!session)
                return;
        memcpy(&handle, session->route.bytes, sizeof(handle));
        ring_link_dismiss(s->served.rings, handle);
}

static bool is_ended(const struct serving *s)
{
        return !s->served.server.sessions.list;
}

/* ---- The table ------------------------------------------------------------------------------------------ */

#define DICT .build = build, .kind = OBJD_DICT, .fill = 12, .fill_value = 60
#define NUMBERS .build = build, .kind = OBJD_DICT, .fill = 12, .fill_value = 8
#define LOAD .build = build_with_old, .kind = OBJD_DICT, .fill = 12, .fill_value = 60
#define QUEUE .build = build, .kind = OBJD_QUEUE, .fill = 12, .fill_value = 60
#define LOCK .build = build_with_queue, .kind = OBJD_LOCK, .fill = 4, .fill_value = 60, .write = try_lock

struct serve_test serve_tests[] = {
        { { "serve: dict set", DICT, .new_value = 100 }, .ask = ask_set },
        { { "serve: dict add", NUMBERS }, .ask = ask_add },
        { { "serve: dict pop", DICT }, .ask = ask_pop },
        { { "serve: queue put", QUEUE, .new_value = 100 }, .ask = ask_put },
        { { "serve: queue get", QUEUE }, .ask = ask_get },
        { { "serve: queue put that somebody waits for", .build = build, .kind = OBJD_QUEUE,
            .new_value = 100 },
          .n_clients = 2,
          .n_parts = 2,
          .ask = ask_both,
          .is_done = is_woken },
        { { "serve: queue lease", QUEUE, .any_order = true }, .ask = ask_lease },
        { { "serve: queue ack", QUEUE, .any_order = true }, .prepare = prepare_lease, .ask = ask_ack },
        { { "serve: lock take", LOCK }, .ask = ask_take },
        { { "serve: lock take again", .build = build_recursive, .kind = OBJD_LOCK, .write = try_lock },
          .prepare = prepare_taken,
          .ask = ask_take },
        { { "serve: lock give", LOCK }, .prepare = prepare_taken, .ask = ask_give },
        { { "serve: create", DICT }, .new_ref = true, .ask = ask_create },
        { { "serve: create without a name", DICT }, .new_ref = true, .ask = ask_anonymous },
        { { "serve: delete", DICT, .write = write_other }, .ask = ask_delete },
        { { "serve: rename", DICT, .write = write_other }, .ask = ask_rename },
        { { "serve: load", LOAD }, .goes_on = true, .prepare = prepare_load, .ask = ask_publish },
        { { "serve: load that replaces", LOAD, .at = 1 },
          .goes_on = true,
          .prepare = prepare_load,
          .ask = ask_publish },
        { { "serve: batch, atomic", .build = build_with_queue, .kind = OBJD_DICT, .fill = 12, .fill_value = 8,
            .new_value = 100 },
          .ask = ask_three },
        { { "serve: batch, in turn", .build = build_with_queue, .kind = OBJD_DICT, .fill = 12,
            .fill_value = 8, .new_value = 100 },
          .n_parts = 3,
          .ask = ask_three },
        { { "serve: hello", DICT }, .no_session = true, .ask = ask_hello },
        { { "serve: goodbye of an owner", LOCK, .any_order = true },
          .ends = true,
          .prepare = prepare_owner,
          .ask = ask_end,
          .is_done = is_ended },
        { { "serve: expiry of an owner", LOCK, .any_order = true },
          .ends = true,
          .prepare = prepare_owner,
          .ask = ask_expiry,
          .is_done = is_ended },
        { { "serve: hang-up of an owner", LOCK, .any_order = true },
          .ends = true,
          .prepare = prepare_owner,
          .ask = ask_hang_up,
          .is_done = is_ended },
};

const size_t n_serve_tests = sizeof(serve_tests) / sizeof(serve_tests[0]);
