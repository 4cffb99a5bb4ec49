/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_dump_any.c -- dumps of anything, and files of anything: what is wrong is said, and nothing is loaded
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dump_stores.h"
#include "object/object.h"
#include "support/child.h"
#include "support/inside.h"
#include "support/test.h"

/* ---- Files that are wrong ----------------------------------------------------------------------------- */

#define HEAD "{\"objd_dump\":1}\n"
#define LIST HEAD "{\"object\":1,\"name\":\"l\",\"kind\":\"list\",\"len\":1}\n"
#define DICT \
        HEAD "{\"object\":1,\"name\":\"d\",\"kind\":\"dict\",\"key_type\":\"str\",\"value_type\":\"int\",\"len\":2}\n"
#define ENDED "{\"end\":1}\n{\"objects\":1}\n"

static void what_is_wrong_is_said_with_its_line(void **state)
{
        static const struct {
                const char *text, *sentence;
        } cases[] = {
                { "", "it:1: the file ends without its last line: it has been cut" },
                { "x\n", "it:1: byte 1: the line is no JSON (unexpected character)" },
                { "[1]\n", "it:1: this is no dump of objd: it does not begin with {\"objd_dump\":1}" },
                { "{\"objd_dump\":2}\n", "it:1: the dump is of format 2, and this objd reads format 1" },
                { HEAD, "it:2: the file ends without its last line: it has been cut" },
                { HEAD "{\"objects\":0}\n[1]\n", "it:3: there is more behind the end of the dump" },
                { HEAD "{\"objects\":1}\n", "it:2: the dump counts 1 objects and has 0" },
                { HEAD "{\"objects\":-1}\n", "it:2: field \"objects\" has a value that makes no sense" },
                { HEAD "{\"what\":1}\n", "it:2: the line is none that a dump has" },
                { HEAD "1\n", "it:2: the line is none that a dump has" },
                { HEAD "{\"object\":2,\"kind\":\"list\",\"len\":0}\n",
                  "it:2: object 2 comes where object 1 should" },
                { HEAD "{\"object\":1,\"kind\":\"tree\",\"len\":0}\n",
                  "it:2: field \"kind\" has a value that makes no sense" },
                { HEAD "{\"object\":1,\"len\":0}\n",
                  "it:2: the line does not say of which kind the object is" },
                { HEAD "{\"object\":1,\"kind\":\"list\"}\n", "it:2: the object's len is missing" },
                { HEAD "{\"object\":1,\"kind\":\"list\",\"len\":0,\"colour\":1}\n",
                  "it:2: there is no field \"colour\" in a line of this kind" },
                { HEAD "{\"object\":1,\"kind\":\"list\",\"len\":0,\"order\":\"lifo\"}\n",
                  "it:2: a list has a value type" },
                { HEAD "{\"object\":1,\"kind\":\"list\",\"len\":0,\"closed\":true}\n",
                  "it:2: only a queue is closed or poisoned, or has unfinished tasks" },
                { HEAD "{\"object\":1,\"kind\":\"dict\",\"len\":0,\"token\":1}\n",
                  "it:2: only a lock is taken, or has a token" },
                { HEAD "{\"object\":1,\"kind\":\"lock\",\"len\":0}\n", "it:2: a lock has no len" },
                { HEAD "{\"object\":1,\"name\":\"a\\u0001\",\"kind\":\"lock\"}\n",
                  "it:2: the name has a control character at byte 1" },
                { HEAD "{\"object\":1,\"name\":\"a\\u0000\",\"kind\":\"lock\"}\n",
                  "it:2: field \"name\" has a value that makes no sense" },
                { HEAD "{\"object\":1,\"name\":\"\xff\",\"kind\":\"lock\"}\n",
                  "it:2: byte 21: the line is no JSON (invalid utf-8 string)" },
                { LIST "[1]\n[2]\n" ENDED, "it:4: the object should have 1 entries and has more" },
                { LIST ENDED, "it:3: the object should have 1 entries and has 0" },
                { LIST "[1,2]\n" ENDED, "it:3: an entry of this object has 1 parts" },
                { LIST "[[]]\n" ENDED,
                  "it:3: a value makes no sense: a JSON list is no value; arrays of numbers are {\"array\":...}" },
                { LIST "[9223372036854775808]\n" ENDED,
                  "it:3: a value makes no sense: it is an integer of more than 64 bits" },
                { LIST "[-9223372036854775809]\n" ENDED, "it:3: a number has more than 64 bits" },
                { LIST "[18446744073709551616]\n" ENDED, "it:3: a number has more than 64 bits" },
                { LIST "[{\"ref\":2}]\n" ENDED, "it:3: object 2 has not been declared" },
                { LIST "[{\"ref\":\"1.1\"}]\n" ENDED,
                  "it:3: a ref in a dump is the number of an object, or null" },
                { LIST "\"part\"\n" ENDED, "it:3: a part of a value stands where there is none" },
                { LIST "[{\"parts\":{\"type\":\"int\",\"size\":3}}]\n" ENDED,
                  "it:3: the head of a value in parts makes no sense" },
                { LIST "[{\"parts\":{\"type\":\"bytes\",\"size\":3}}]\n" ENDED,
                  "it:4: the object ends in the middle of a value" },
                { LIST "[{\"parts\":{\"type\":\"bytes\",\"size\":3}}]\n\"AAAA\"\n\"AAAA\"\n" ENDED,
                  "it:5: a part of a value stands where there is none" },
                { LIST "[{\"parts\":{\"type\":\"bytes\",\"size\":3}}]\n\"AAAAAAAA\"\n" ENDED,
                  "it:4: the value has more bytes than its size says" },
                { LIST "[{\"parts\":{\"type\":\"bytes\",\"size\":3}}]\n\"A?==\"\n" ENDED,
                  "it:4: a part is no base64" },
                { LIST
                  "[{\"parts\":{\"type\":\"array\",\"dtype\":\"u8\",\"shape\":[2],\"size\":3}}]\n\"AAAA\"\n" ENDED,
                  "it:4: an array has 3 bytes, but its shape makes 2" },
                { LIST "{\"object\":2,\"kind\":\"lock\"}\n", "it:3: object 1 has not come to its end" },
                { LIST "[1]\n{\"end\":2}\n", "it:4: this is the end of an object that has not begun" },
                { LIST "[1]\n" ENDED "{\"object\":1,\"kind\":\"lock\"}\n",
                  "it:6: there is more behind the end of the dump" },
                { LIST "[1]\n{\"end\":1}\n{\"object\":1,\"name\":\"l\",\"kind\":\"list\",\"len\":0}\n",
                  "it:5: object 1 comes for the second time" },
                { LIST "[1]\n{\"end\":1}\n{\"declare\":2,\"kind\":\"list\"}\n{\"objects\":2}\n",
                  "it:6: object 2 was declared, and has not come" },
                { LIST
                  "[1]\n{\"end\":1}\n{\"declare\":2,\"kind\":\"list\"}\n{\"object\":2,\"kind\":\"dict\",\"len\":0}\n",
                  "it:6: object 2 was declared as something else" },
                { LIST
                  "[1]\n{\"end\":1}\n{\"object\":2,\"name\":\"l\",\"kind\":\"lock\"}\n{\"end\":2}\n{\"objects\":2}\n",
                  "it:8: two objects have the name \"l\"" },
                { DICT "[\"a\",1]\n[\"a\",2]\n" ENDED, "it:4: the dict has this key already" },
                { DICT "[\"a\",1]\n[\"a\",2]\n[x\n", "it:4: the dict has this key already" },
                { DICT "[1,1]\n" ENDED, "it:3: key is int, declared is str" },
                { DICT "[\"a\",1.5]\n" ENDED, "it:3: value is float, declared is int" },
                { HEAD "{\"object\":1,\"kind\":\"queue\",\"bound\":1,\"len\":2}\n[1]\n[2]\n" ENDED,
                  "it:4: the queue has more items than its bound" },
                { HEAD
                  "{\"object\":1,\"kind\":\"queue\",\"order\":\"priority\",\"len\":1}\n[\"a\",2]\n" ENDED,
                  "it:3: a priority is no integer of 64 bits" },
        };
        objd_conn *conn = *state;
        objd_stats before, after;

        assert_ok(objd_stats_get(conn, &before));
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                if (load(conn, cases[i].text, strlen(cases[i].text)) == OBJD_OK)
                        fail_msg("this was loaded:\n%s", cases[i].text);
                assert_contains(objd_last_error(), cases[i].sentence);
                assert_ok(objd_stats_get(conn, &after));
                assert_int_equal(after.n_objects, before.n_objects);
        }
}

static void a_file_cut_anywhere_loads_nothing(void **state)
{
        objd_conn *conn = *state, *copy = other_store();
        objd_object *dict = make(conn, "d", OBJD_DICT, NULL), *list = make(conn, NULL, OBJD_LIST, NULL);
        uint8_t data[60000] = { 1 };
        objd_stats before, after;
        struct text text;

        for (int64_t i = 0; i < 10; i++)
                set(dict, objd_int(i), objd_cstr("value"));
        set(dict, objd_cstr("list"), objd_refer(objd_ref_of(list)));
        append(list, objd_bytes(data, sizeof(data)));
        append(list, objd_nil());
        text = dump(conn, false);
        assert_ok(objd_stats_get(copy, &before));
        for (size_t n = 0; n<text.size; n += n> 800 && n + 300 < text.size ? 997 : 1) {
                if (load(copy, text.bytes, n) != OBJD_E_INVAL)
                        fail_msg("cut at byte %zu: %s", n, objd_last_error());
                assert_contains(objd_last_error(), "it has been cut");
        }
        assert_ok(objd_stats_get(copy, &after));
        assert_int_equal(after.n_objects, before.n_objects);
        assert_int_equal(after.arena_used, before.arena_used);
        assert_ok(load(copy, text.bytes, text.size));
        free(text.bytes);
        objd_release(dict);
        objd_release(list);
        end_store(copy);
}

static void a_full_arena_is_an_error_and_nothing_stays(void **state)
{
        objd_conn *conn = *state, *small;
        objd_object *list = make(conn, "l", OBJD_LIST, NULL);
        uint8_t data[100000] = { 0 };
        objd_stats before, after;
        struct text text;

        for (int i = 0; i < 60; i++)
                append(list, objd_bytes(data, sizeof(data)));
        for (int i = 0; i < 100; i++)
                append(list, objd_int(i));
        text = dump(conn, false);
        assert_ok(objd_connect("embedded:4M", &small));
        assert_ok(objd_stats_get(small, &before));
        assert_status(load(small, text.bytes, text.size), OBJD_E_NOMEM);
        assert_contains(objd_last_error(), "it:");
        assert_ok(objd_stats_get(small, &after));
        assert_int_equal(after.n_objects, before.n_objects);
        assert_int_equal(after.arena_used, before.arena_used);
        free(text.bytes);
        objd_release(list);
        end_store(small);
}

/* ---- Anything ----------------------------------------------------------------------------------------- */

#define N_OBJECTS 12

struct maker {
        struct random random;
        objd_conn *conn;
        objd_object *object[N_OBJECTS];
        void *memory;
};

/* A value of this type; what it points to lives until the next one. */
static objd_value random_value(struct maker *m, objd_type type)
{
        static const double reals[] = { 0.1, -0.0, 1e300, INFINITY, -INFINITY, 5e-324 };
        size_t size = random_below(&m->random, 20) ? random_below(&m->random, 40)
                                                   : random_below(&m->random, 120000);
        uint64_t shape[3] = { random_below(&m->random, 4), random_below(&m->random, 9),
                              random_below(&m->random, 3) };
        objd_dtype dtype = (objd_dtype)(1 + random_below(&m->random, 10));

        if (type == OBJD_ANY)
                type = (objd_type)(1 + random_below(&m->random, OBJD_REF));
        free(m->memory);
        m->memory = type == OBJD_STR ? random_text(&m->random, size) : calloc(1, size + 1024);
        if (type != OBJD_STR)
                random_fill(&m->random, m->memory, size + 1024);
        switch (type) {
        case OBJD_BOOL:
                return objd_bool(random_below(&m->random, 2));
        case OBJD_INT:
                return objd_int((int64_t)(random_next(&m->random) >> random_below(&m->random, 64)));
        case OBJD_FLOAT:
                return random_below(&m->random, 2) ? objd_float(bits(random_next(&m->random)))
                                                   : objd_float(reals[random_below(&m->random, 6)]);
        case OBJD_STR:
                return objd_cstr(m->memory);
        case OBJD_BYTES:
                return objd_bytes(m->memory, size);
        case OBJD_ARRAY:
                return objd_array(dtype, (uint32_t)random_below(&m->random, 4), shape, m->memory);
        case OBJD_MESSAGE:
                return objd_message("some.Message", m->memory, size);
        case OBJD_REF:
                return objd_refer(objd_ref_of(m->object[random_below(&m->random, N_OBJECTS)]));
        default:
                return objd_nil();
        }
}

static objd_config random_config(struct maker *m, objd_kind kind)
{
        static const objd_type keys[] = { OBJD_ANY, OBJD_ANY, OBJD_INT, OBJD_STR, OBJD_BYTES };
        objd_config config = OBJD_CONFIG_INIT;

        if (kind == OBJD_DICT)
                config.key_type = keys[random_below(&m->random, 5)];
        if (kind != OBJD_LOCK && random_below(&m->random, 3) == 0)
                config.value_type = (objd_type)(1 + random_below(&m->random, OBJD_REF));
        if (kind == OBJD_QUEUE) {
                config.order = (objd_order)random_below(&m->random, 3);
                config.bound = random_below(&m->random, 2) ? 500 : 0;
        }
        if (kind == OBJD_LOCK)
                config.lock_flags = (uint32_t)random_below(&m->random, 3);
        return config;
}

static void add_to_dict(struct maker *m, objd_object *dict)
{
        static const objd_type types[] = { OBJD_INT, OBJD_STR, OBJD_BYTES };
        objd_type type = object_key_type(dict->config);
        char key[64];
        objd_value k = objd_int((int64_t)random_next(&m->random)), v;

        if (type == OBJD_ANY)
                type = types[random_below(&m->random, 3)];
        random_fill(&m->random, key, sizeof(key));
        if (type == OBJD_BYTES)
                k = objd_bytes(key, random_below(&m->random, sizeof(key)));
        for (size_t i = 0; i < sizeof(key); i++)
                key[i] = type == OBJD_STR ? (char)(key[i] & 0x7f) : key[i];
        if (type == OBJD_STR)
                k = objd_str(key, random_below(&m->random, sizeof(key)));
        v = random_value(m, object_value_type(dict->config));
        set(dict, k, v);
}

static void add_to_queue(struct maker *m, objd_object *queue)
{
        objd_value value = random_value(m, object_value_type(queue->config));
        objd_buf buf = OBJD_BUF_INIT;
        uint64_t lease;

        if (object_order(queue->config) == OBJD_PRIORITY)
                assert_ok(objd_queue_put_priority(queue, &value, (int64_t)random_below(&m->random, 9) - 4,
                                                  OBJD_NOWAIT));
        else
                assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
        switch (random_below(&m->random, 6)) {
        case 0:
                assert_ok(objd_queue_get(queue, &value, &buf, OBJD_NOWAIT));
                break;
        case 1:
                assert_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &lease, OBJD_NOWAIT));
                assert_ok(objd_queue_give_back(queue, lease));
                break;
        case 2:
                (void)objd_queue_task_done(queue);
                break;
        default:
                break;
        }
        objd_buf_free(&buf);
}

static void fill(struct maker *m, objd_object *object)
{
        uint64_t n = random_below(&m->random, random_below(&m->random, 4) ? 20 : 300), token;
        objd_kind kind = object_kind(object->config);

        for (uint64_t i = 0; i < n; i++) {
                if (kind == OBJD_DICT)
                        add_to_dict(m, object);
                else if (kind == OBJD_LIST)
                        append(object, random_value(m, object_value_type(object->config)));
                else if (kind == OBJD_QUEUE)
                        add_to_queue(m, object);
                else if (objd_lock_take(object, OBJD_NOWAIT, &token) == OBJD_OK && i + 1 < n)
                        (void)objd_lock_give(object);
        }
        if (kind == OBJD_QUEUE && random_below(&m->random, 4) == 0)
                assert_ok(objd_queue_close(object));
}

static void make_anything(struct maker *m)
{
        char name[32];

        for (int i = 0; i < N_OBJECTS; i++) {
                objd_kind kind = (objd_kind)(1 + random_below(&m->random, 4));
                objd_config config = random_config(m, kind);

                snprintf(name, sizeof(name), "o%" PRIu64 "\xc3\xa9",
                         random_next(&m->random) % 1000 * 100 + (uint64_t)i);
                m->object[i] = make(m->conn, i % 3 ? name : NULL, kind, &config);
        }
        for (int i = 0; i < N_OBJECTS; i++)
                fill(m, m->object[i]);
        for (int i = 0; i < N_OBJECTS; i++)
                objd_release(m->object[i]);
        free(m->memory);
}

static void any_store_comes_back(void **state)
{
        struct random random = random_begin("test-dump-any");
        const char *rounds = getenv("OBJD_TEST_ROUNDS");
        int n = rounds ? atoi(rounds) : 25;

        (void)state;
        for (int i = 0; i < n; i++) {
                struct maker m = { .random = { random_next(&random) } };
                objd_conn *copy;

                assert_ok(objd_connect("embedded:256M", &m.conn));
                make_anything(&m);
                copy = loaded_copy(m.conn);
                compare_stores(m.conn, copy);
                end_store(copy);
                end_store(m.conn);
        }
}

/* ---- Damage ------------------------------------------------------------------------------------------- */

/* Changes some words of what is in use, but for the tables before the blocks. */
static void damage(struct random *random, objd_conn *conn)
{
        const struct arena *arena = conn->arena;
        uint64_t n_words = arena_limit(arena) / 8, n = 1 + random_below(random, 40);

        for (uint64_t i = 0; i < n; i++) {
                uint64_t *word = (uint64_t *)(arena->base + arena->data_off) + random_below(random, n_words);

                /* Mostly where there is something. */
                for (int k = 0; k < 200 && !*word; k++)
                        word = (uint64_t *)(arena->base + arena->data_off) + random_below(random, n_words);
                switch (random_below(random, 3)) {
                case 0:
                        *word ^= 1ULL << random_below(random, 64);
                        break;
                case 1:
                        *word += random_below(random, 64) * 8 - 256;
                        break;
                default:
                        *word = random_next(random);
                }
        }
}

static int dump_damaged(void *context)
{
        struct dump_options options = { .atomic = false };
        struct maker m = { .random = *(struct random *)context };
        struct dump_report report;
        FILE *f = tmpfile();

        child_check(f != NULL);
        child_ok(objd_connect("embedded:64M", &m.conn));
        make_anything(&m);
        damage(&m.random, m.conn);
        (void)alarm(PATIENCE_S); /* a loop without an end is killed, and fails the test */
        (void)objd_set_timeout(m.conn, 20000000);
        (void)dump_write(m.conn, f, &options, &report);
        options.atomic = true;
        (void)dump_write(m.conn, f, &options, &report);
        return 0;
}

/* Whatever it says: it says something, and does no harm. Under the address sanitizer it must not touch what is not its own. */
static void a_damaged_store_does_the_dumper_no_harm(void **state)
{
        struct random random = random_begin("test-dump-any");
        const char *rounds = getenv("OBJD_TEST_ROUNDS");
        int n = rounds ? 10 * atoi(rounds) : 40;

        (void)state;
        for (int i = 0; i < n; i++) {
                struct random seed = { random_next(&random) };
                int status = child_wait(child_start(dump_damaged, &seed));

                if (!WIFEXITED(status) || WEXITSTATUS(status))
                        fail_msg("round %d: wait status %#x; its seed is %" PRIu64, i, (unsigned)status,
                                 seed.state);
        }
}

/* ---- All of one moment -------------------------------------------------------------------------------- */

/* Too large to be copied in memory: small values over and over, and one that is larger than any buffer. */
static void make_large(objd_conn *conn)
{
        objd_object *list = make(conn, "large", OBJD_LIST, NULL);
        char *text = calloc(1, 700001);

        assert_non_null(text);
        memset(text, 'l', 700000);
        for (int i = 0; i < 30000; i++)
                append(list, i == 20000 ? objd_cstr(text) : objd_int(i));
        free(text);
        objd_release(list);
}

/* Written from a copy, from the store itself where there is no room for a copy, or object by object: it is the same. */
static void a_dump_needs_no_room_for_a_copy(void **state)
{
        struct maker m = { .random = random_begin("test-dump-any"), .conn = *state };
        const char *directory = getenv("TMPDIR");
        char *before = directory ? strdup(directory) : NULL;
        struct text by_object, from_copy, without_copy, without_file;

        make_large(m.conn);
        make_anything(&m);
        by_object = dump(m.conn, false);
        from_copy = dump(m.conn, true);
        setenv("TMPDIR", "/nowhere", 1);
        without_copy = dump(m.conn, true);
        without_file = dump(m.conn, false);
        if (before)
                setenv("TMPDIR", before, 1);
        else
                unsetenv("TMPDIR");
        free(before);
        assert_string_equal(from_copy.bytes, by_object.bytes);
        assert_string_equal(without_copy.bytes, by_object.bytes);
        assert_string_equal(without_file.bytes, by_object.bytes);
        free(by_object.bytes);
        free(from_copy.bytes);
        free(without_copy.bytes);
        free(without_file.bytes);
}

/* ---- From one object on ------------------------------------------------------------------------------- */

static void a_dump_of_one_object_has_what_can_be_reached_from_it(void **state)
{
        objd_conn *conn = *state, *copy = other_store();
        objd_object *a = make(conn, "a", OBJD_LIST, NULL), *b = make(conn, "b", OBJD_LIST, NULL);
        objd_object *c = make(conn, "c", OBJD_LIST, NULL), *inner = make(conn, NULL, OBJD_LIST, NULL);
        objd_ref root = objd_ref_of(b);
        struct dump_options options = { .root = &root };
        struct dump_report report;
        struct text text;
        objd_info *infos;
        size_t len;
        FILE *f;

        append(a, objd_refer(root));
        append(b, objd_refer(objd_ref_of(inner)));
        append(inner, objd_refer(objd_ref_of(c)));
        f = open_memstream(&text.bytes, &text.size);
        assert_non_null(f);
        assert_ok(dump_write(conn, f, &options, &report));
        assert_int_equal(report.n_objects, 3);
        (void)fclose(f);
        assert_ok(load(copy, text.bytes, text.size));
        assert_ok(objd_list(copy, NULL, &infos, &len));
        assert_int_equal(len, 2);
        assert_string_equal(infos[0].name, "b");
        assert_string_equal(infos[1].name, "c");
        objd_infos_free(infos);
        free(text.bytes);
        objd_release(a);
        objd_release(b);
        objd_release(c);
        objd_release(inner);
        end_store(copy);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(a_dump_needs_no_room_for_a_copy),
                INSIDE_TEST(what_is_wrong_is_said_with_its_line),
                INSIDE_TEST(a_file_cut_anywhere_loads_nothing),
                INSIDE_TEST(a_full_arena_is_an_error_and_nothing_stays),
                INSIDE_TEST(a_dump_of_one_object_has_what_can_be_reached_from_it),
                cmocka_unit_test(any_store_comes_back),
                cmocka_unit_test(a_damaged_store_does_the_dumper_no_harm),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
