/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_wire.c -- rpc/wire*.c: calls and answers as messages, and back
 */

#include "support/messages.h"

#include <objd.pb-c.h>

#include <ctype.h>

#include "rpc/wire_short.h"
#include "rpc/wire_value.h"

#define N_CALLS 20

static const char *program;

/* ---- Helpers ------------------------------------------------------------------------------------------- */

static void check_batch(const struct call_batch *batch, struct wire_out *out)
{
        struct call_batch got;
        struct space space;
        struct bytes bytes;

        assert_ok(wire_pack_batch(out, batch, 0));
        bytes = bytes_of(out);
        space_init(&space, NULL, 0);
        assert_ok(wire_unpack_batch(&bytes.in, NULL, &space, &got));
        assert_int_equal(got.seq, batch->seq);
        assert_int_equal(got.acked, batch->acked);
        assert_int_equal(got.atomic, batch->atomic);
        assert_int_equal(got.timeout_ns, batch->timeout_ns);
        assert_int_equal(got.n_unanswered, batch->n_unanswered);
        for (size_t i = 0; i < got.n_unanswered; i++)
                assert_int_equal(got.unanswered[i], batch->unanswered[i]);
        assert_int_equal(got.n_calls, batch->n_calls);
        for (size_t i = 0; i < got.n_calls; i++)
                if (!calls_equal(&got.calls[i], &batch->calls[i]))
                        fail_msg("a %s is another one on the other side",
                                 call_properties(batch->calls[i].code)->name);
        space_deinit(&space);
        free(bytes.data);
}

static void check_reply(const struct call_reply *reply, struct wire_out *out)
{
        struct call_reply got;
        struct space space;
        struct bytes bytes;

        assert_ok(wire_pack_reply(out, reply, 0));
        bytes = bytes_of(out);
        space_init(&space, NULL, 0);
        assert_ok(wire_unpack_reply(&bytes.in, NULL, &space, &got));
        assert_int_equal(got.seq, reply->seq);
        assert_int_equal(got.status, reply->status);
        assert_int_equal(got.failed, reply->failed);
        if (reply->sentence)
                assert_string_equal(got.sentence, reply->sentence);
        else
                assert_null(got.sentence);
        assert_int_equal(got.n_answers, reply->n_answers);
        for (size_t i = 0; i < got.n_answers; i++)
                if (!answers_equal(&got.answers[i], &reply->answers[i]))
                        fail_msg("an answer to a %s is another one on the other side",
                                 call_properties(reply->answers[i].code)->name);
        space_deinit(&space);
        free(bytes.data);
}

/* ---- There and back ------------------------------------------------------------------------------------ */

static void each_code_has_its_number_and_name_in_the_schema(void **state)
{
        size_t n = 0;

        (void)state;
        for (uint32_t code = 0; code < CALL_CODES; code++) {
                const ProtobufCEnumValue *value =
                        protobuf_c_enum_descriptor_get_value(&objd__rpc__code__descriptor, (int)code);
                const char *name = call_properties(code)->name;

                assert_int_equal(!name, !value || !code);
                if (!name)
                        continue;
                for (const char *p = name, *q = value->name; *p || *q; p++, q++)
                        assert_int_equal(*p == ' ' ? '_' : toupper(*p), *q);
                n++;
        }
        assert_int_equal(n + 1, objd__rpc__code__descriptor.n_values);
        assert_null(call_properties(CALL_CODES)->name);
        assert_null(call_properties(UINT32_MAX)->name);
}

static void each_code_goes_there_and_back(void **state)
{
        uint32_t bulk_from[] = { 0, 8, WIRE_BULK_FROM };
        struct maker maker;
        struct wire_out out;

        (void)state;
        maker_init(&maker, random_begin(program), 3000, 20);
        for (uint32_t code = 1; code < CALL_CODES; code++) {
                if (!call_properties(code)->name)
                        continue;
                for (size_t i = 0; i < 3 * N_CALLS; i++) {
                        struct call_batch batch = make_batch(&maker, (enum call_code)code, 1 + i % 3);
                        struct call_reply reply = make_reply(&maker, (enum call_code)code, i % 3);

                        wire_out_init(&out, bulk_from[i % 3]);
                        check_batch(&batch, &out);
                        check_reply(&reply, &out);
                        wire_out_deinit(&out);
                        space_reset(&maker.space);
                }
        }
        maker_deinit(&maker);
}

static void each_type_of_value_goes_there_and_back_empty_and_large(void **state)
{
        static const size_t sizes[] = { 0, 1, 7, 8, 8191, 8192, 8193, 70000, 3000000 };
        struct wire_out out;
        struct maker maker;

        (void)state;
        maker_init(&maker, random_begin(program), 0, 1);
        wire_out_init(&out, WIRE_BULK_FROM);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
                for (objd_type type = OBJD_NIL; type <= OBJD_REF; type++) {
                        struct call call = make_call(&maker, CALL_LIST_APPEND);
                        struct call_batch batch = { .seq = 1, .calls = &call, .n_calls = 1 };
                        objd_value value;

                        maker.size_max = sizes[i];
                        value = make_value(&maker, type);
                        call.values = &value;
                        check_batch(&batch, &out);
                        space_reset(&maker.space);
                }
        wire_out_deinit(&out);
        maker_deinit(&maker);
}

static void a_batch_of_many_calls_goes_there_and_back(void **state)
{
        struct wire_out out;
        struct maker maker;
        struct call_batch batch;
        struct call_reply reply;

        (void)state;
        maker_init(&maker, random_begin(program), 200, 10);
        wire_out_init(&out, 64);
        batch = make_batch(&maker, CALL_NONE, 2000);
        check_batch(&batch, &out);
        reply = make_reply(&maker, CALL_NONE, 2000);
        check_reply(&reply, &out);
        wire_out_deinit(&out);
        maker_deinit(&maker);
}

static void large_data_are_not_copied_and_lie_aligned(void **state)
{
        static uint64_t data[4000];
        uint64_t shape = 4000;
        objd_value value = objd_array(OBJD_U64, 1, &shape, data);
        struct call call = { .code = CALL_QUEUE_PUT, .values = &value, .n_values = 1 };
        struct call_batch batch = { .seq = 1, .calls = &call, .n_calls = 1 }, got;
        struct wire_out out;
        struct space space;
        struct bytes bytes;

        (void)state;
        wire_out_init(&out, WIRE_BULK_FROM);
        space_init(&space, NULL, 0);
        assert_ok(wire_pack_batch(&out, &batch, 0));
        assert_ptr_equal(out.parts[0].data, data);
        assert_true(out.body_size < 100);

        bytes = bytes_of(&out);
        assert_ok(wire_unpack_batch(&bytes.in, NULL, &space, &got));
        assert_ptr_equal(got.calls[0].values[0].data, bytes.data + (out.size - sizeof(data)));
        assert_int_equal((uintptr_t)got.calls[0].values[0].data % 8, 0);
        assert_true(space.taken <= 8192);

        free(bytes.data);
        space_deinit(&space);
        wire_out_deinit(&out);
}

static void a_message_is_the_same_in_pieces_of_any_size(void **state)
{
        struct wire_out out;
        struct maker maker;
        struct call_batch batch;
        struct bytes bytes;

        (void)state;
        maker_init(&maker, random_begin(program), 300, 5);
        wire_out_init(&out, 16);
        batch = make_batch(&maker, CALL_DICT_SET_MANY, 20);
        assert_ok(wire_pack_batch(&out, &batch, 0));
        bytes = bytes_of(&out);
        for (size_t step = 1; step < 400; step += 1 + step / 8) {
                uint8_t *again = malloc(out.size);

                assert_non_null(again);
                for (size_t at = 0; at < out.size; at += step)
                        wire_out_copy(&out, at, again + at, out.size - at < step ? out.size - at : step);
                assert_memory_equal(again, bytes.data, out.size);
                free(again);
        }
        free(bytes.data);
        wire_out_deinit(&out);
        maker_deinit(&maker);
}

/* ---- The short way ------------------------------------------------------------------------------------- */

static void a_batch_tells_what_has_not_come(void **state)
{
        static const uint64_t unanswered[] = { 7, 300, UINT64_MAX };
        const struct call ping = { .code = CALL_SESSION_PING };
        struct call_batch batch = { .seq = 301, .acked = 6, .calls = &ping, .n_calls = 1 };
        struct wire_out out;

        (void)state;
        wire_out_init(&out, 0);
        batch.unanswered = unanswered;
        for (batch.n_unanswered = 0; batch.n_unanswered <= 3; batch.n_unanswered++)
                check_batch(&batch, &out);
        wire_out_deinit(&out);
}

/* However many calls it has, and however many there are. */
static void a_batch_of_many_calls_tells_of_many(void **state)
{
        struct call calls[100];
        uint64_t unanswered[255];
        struct call_batch batch = { .seq = 1000, .calls = calls, .n_calls = 100, .unanswered = unanswered };
        struct wire_out out;

        (void)state;
        for (size_t i = 0; i < 100; i++)
                calls[i] = (struct call){ .code = CALL_SESSION_PING };
        for (size_t i = 0; i < 255; i++)
                unanswered[i] = i + 700;
        wire_out_init(&out, 0);
        for (batch.n_unanswered = 1; batch.n_unanswered <= 255; batch.n_unanswered += 127)
                check_batch(&batch, &out);
        wire_out_deinit(&out);
}

/* Makes an unpacked batch of these bytes in both ways; what the short way makes must be what the general one does. */
static bool unpack_both_ways(const struct wire_in *in)
{
        struct call_batch general, quick;
        struct space space;
        bool done;

        space_init(&space, NULL, 0);
        done = wire_short_unpack_batch(in, NULL, &space, &quick);
        if (done) {
                assert_ok(wire_general_unpack_batch(in, NULL, &space, &general));
                assert_int_equal(quick.seq, general.seq);
                assert_int_equal(quick.acked, general.acked);
                assert_int_equal(quick.atomic, general.atomic);
                assert_int_equal(quick.timeout_ns, general.timeout_ns);
                assert_int_equal(quick.n_calls, general.n_calls);
                for (size_t i = 0; i < quick.n_calls; i++)
                        assert_true(calls_equal(&quick.calls[i], &general.calls[i]));
        }
        space_deinit(&space);
        return done;
}

static bool unpack_reply_both_ways(const struct wire_in *in)
{
        struct call_reply general, quick;
        struct space space;
        bool done;

        space_init(&space, NULL, 0);
        done = wire_short_unpack_reply(in, NULL, &space, &quick);
        if (done) {
                assert_ok(wire_general_unpack_reply(in, NULL, &space, &general));
                assert_int_equal(quick.seq, general.seq);
                assert_int_equal(quick.status, general.status);
                assert_int_equal(quick.failed, general.failed);
                assert_int_equal(quick.n_answers, general.n_answers);
                for (size_t i = 0; i < quick.n_answers; i++)
                        assert_true(answers_equal(&quick.answers[i], &general.answers[i]));
        }
        space_deinit(&space);
        return done;
}

/* The two ways of packing, each into a message of its own; the shorter of them may not be possible. */
static bool pack_both_ways(const struct call_batch *batch, const struct call_reply *reply,
                           struct wire_out *quick, struct wire_out *general)
{
        if (batch) {
                assert_ok(wire_general_pack_batch(general, batch, 0));
                return wire_short_pack_batch(quick, batch);
        }
        assert_ok(wire_general_pack_reply(general, reply, 0));
        return wire_short_pack_reply(quick, reply);
}

static void the_short_way_makes_the_same_bytes_and_the_same_of_them(void **state)
{
        size_t n_packed = 0, n_unpacked = 0, n_rounds = 20000;
        struct wire_out quick, general;
        struct maker maker;

        (void)state;
        maker_init(&maker, random_begin(program), 60, 2);
        wire_out_init(&quick, 50);
        wire_out_init(&general, 50);
        for (size_t i = 0; i < n_rounds; i++) {
                struct call_batch batch = make_batch(&maker, CALL_NONE, 1 + i % 2);
                struct call_reply reply = make_reply(&maker, CALL_NONE, 1 + i % 2);
                bool is_reply = i / 2 % 2;
                struct bytes bytes;

                if (pack_both_ways(is_reply ? NULL : &batch, &reply, &quick, &general)) {
                        n_packed++;
                        assert_int_equal(quick.size, general.size);
                        assert_memory_equal(quick.body, general.body, general.size);
                }
                bytes = bytes_of(&general);
                n_unpacked += is_reply ? unpack_reply_both_ways(&bytes.in) : unpack_both_ways(&bytes.in);
                /* And of bytes that are not quite right. */
                for (size_t flips = 0; flips < 10; flips++) {
                        bytes.data[random_below(&maker.random, bytes.in.size)] ^=
                                (uint8_t)(1 << random_below(&maker.random, 8));
                        (void)(is_reply ? unpack_reply_both_ways(&bytes.in) : unpack_both_ways(&bytes.in));
                }
                free(bytes.data);
                space_reset(&maker.space);
        }
        assert_true(n_packed > n_rounds / 20 && n_unpacked > n_rounds / 20);
        wire_out_deinit(&quick);
        wire_out_deinit(&general);
        maker_deinit(&maker);
}

static void the_common_calls_go_the_short_way(void **state)
{
        static const enum call_code codes[] = { CALL_DICT_GET,    CALL_DICT_SET, CALL_DICT_ADD_INT,
                                                CALL_LIST_APPEND, CALL_LIST_GET, CALL_QUEUE_PUT,
                                                CALL_QUEUE_GET,   CALL_LOCK_TAKE };
        objd_value key = objd_cstr("a key"), value = objd_float(-0.0);
        struct wire_out out;

        (void)state;
        wire_out_init(&out, WIRE_BULK_FROM);
        for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
                uint32_t flags = call_properties(codes[i])->flags;
                struct call call = { .code = codes[i],
                                     .thread = 3,
                                     .object = { 1 << 20, 5 },
                                     .keys = &key,
                                     .values = &value,
                                     .n_keys = !!(flags & CALL_KEY),
                                     .n_values = !!(flags & CALL_VALUE),
                                     .timeout_ns = -1 };
                struct call_batch batch = { .seq = 1, .calls = &call, .n_calls = 1 };
                struct answer answer;
                struct call_reply reply = { .seq = 1, .answers = &answer, .n_answers = 1 };
                struct bytes bytes;

                assert_true(wire_short_pack_batch(&out, &batch));
                bytes = bytes_of(&out);
                assert_true(unpack_both_ways(&bytes.in));
                free(bytes.data);
                answer_init(&answer);
                answer.code = codes[i];
                if (i % 3 == 0)
                        answer.value = value;
                if (i % 3 == 1) {
                        answer.status = OBJD_E_NOTFOUND;
                        answer.sentence = "no such key";
                }
                assert_true(wire_short_pack_reply(&out, &reply));
                bytes = bytes_of(&out);
                assert_true(unpack_reply_both_ways(&bytes.in));
                free(bytes.data);
        }
        wire_out_deinit(&out);
}

/* ---- What is not sent ---------------------------------------------------------------------------------- */

static void what_is_too_big_or_no_value_is_not_sent(void **state)
{
        uint64_t shape[2] = { UINT64_MAX, UINT64_MAX };
        objd_value values[] = {
                objd_bytes("", OBJD_VALUE_MAX + 1), objd_bytes(NULL, 5),  objd_cstr(NULL),
                objd_array(OBJD_F64, 2, shape, ""), { .type = OBJD_ANY }, { .type = (objd_type)77 }
        };
        struct call call = { .code = CALL_LIST_APPEND, .values = values, .n_values = 1 };
        struct call_batch batch = { .seq = 1, .calls = &call, .n_calls = 1 };
        struct wire_out out;
        char text[100] = { 0 };
        objd_value fits = objd_bytes(text, sizeof(text));

        (void)state;
        wire_out_init(&out, WIRE_BULK_FROM);
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
                objd_status r;

                call.values = &values[i];
                r = wire_pack_batch(&out, &batch, 0);
                assert_true(r == OBJD_E_TOOBIG || r == OBJD_E_INVAL);
        }
        call.values = &fits;
        assert_ok(wire_pack_batch(&out, &batch, 200));
        assert_status(wire_pack_batch(&out, &batch, 100), OBJD_E_TOOBIG);
        assert_contains(objd_last_error(), "the most is 100");

        call.code = (enum call_code)19;
        assert_status(wire_pack_batch(&out, &batch, 0), OBJD_E_INVAL);
        call = (struct call){ .code = CALL_OBJECT_CREATE, .name = "" };
        assert_status(wire_pack_batch(&out, &batch, 0), OBJD_E_INVAL);
        wire_out_deinit(&out);
}

/* ---- The beginning of a session ------------------------------------------------------------------------ */

static void a_hello_and_its_answers_go_there_and_back(void **state)
{
        struct wire_hello hello = { .version_from = 1,
                                    .version_to = 3,
                                    .name = "worker",
                                    .pid = 77,
                                    .has_session = true,
                                    .session = "0123456789abcde",
                                    .token = "tok\0en",
                                    .token_size = 6,
                                    .key_id = "k",
                                    .key_id_size = 1,
                                    .bulk_from = 1024,
                                    .max_message = 1 << 20,
                                    .has_nonce = true,
                                    .nonce = "nonce of a hello" },
                          got_hello;
        struct wire_welcome welcome = { .version = 1,
                                        .session = "fedcba987654321",
                                        .resumed = true,
                                        .read_only = true,
                                        .heartbeat_ns = 1,
                                        .expiry_ns = 2,
                                        .max_frame = 3,
                                        .max_message = 4,
                                        .max_requests = 5,
                                        .window = 6,
                                        .epoch = 7,
                                        .pid = 8,
                                        .last_seq = 9,
                                        .store = "default" },
                            got_welcome;
        struct wire_refused refused = { .status = OBJD_E_ACCESS,
                                        .sentence = "no",
                                        .version_from = 1,
                                        .version_to = 1,
                                        .seq = 4 },
                            got_refused;
        struct wire_out out;
        struct space space;
        struct bytes bytes;

        (void)state;
        wire_out_init(&out, WIRE_BULK_FROM);
        space_init(&space, NULL, 0);
        assert_ok(wire_pack_hello(&out, &hello));
        bytes = bytes_of(&out);
        assert_ok(wire_unpack_hello(&bytes.in, &space, &got_hello));
        assert_int_equal(got_hello.version_to, 3);
        assert_string_equal(got_hello.name, "worker");
        assert_memory_equal(got_hello.session, hello.session, WIRE_SESSION_SIZE);
        assert_true(got_hello.has_session);
        assert_int_equal(got_hello.token_size, 6);
        assert_memory_equal(got_hello.token, "tok\0en", 6);
        assert_int_equal(got_hello.max_message, 1 << 20);
        assert_true(got_hello.has_nonce);
        assert_memory_equal(got_hello.nonce, hello.nonce, WIRE_NONCE_SIZE);
        free(bytes.data);

        assert_ok(wire_pack_welcome(&out, &welcome));
        bytes = bytes_of(&out);
        assert_ok(wire_unpack_welcome(&bytes.in, &space, &got_welcome));
        assert_memory_equal(got_welcome.session, welcome.session, WIRE_SESSION_SIZE);
        assert_string_equal(got_welcome.store, "default");
        assert_int_equal(got_welcome.expiry_ns, 2);
        assert_int_equal(got_welcome.last_seq, 9);
        free(bytes.data);

        assert_ok(wire_pack_refused(&out, &refused));
        bytes = bytes_of(&out);
        assert_ok(wire_unpack_refused(&bytes.in, &space, &got_refused));
        assert_int_equal(got_refused.status, OBJD_E_ACCESS);
        assert_string_equal(got_refused.sentence, "no");
        assert_int_equal(got_refused.seq, 4);
        free(bytes.data);

        hello.token_size = WIRE_TOKEN_MAX + 1;
        assert_status(wire_pack_hello(&out, &hello), OBJD_E_TOOBIG);
        space_deinit(&space);
        wire_out_deinit(&out);
}

static void sentences_are_cut_and_made_utf8(void **state)
{
        struct wire_refused refused = { .status = OBJD_E_INVAL }, got;
        char sentence[2 * WIRE_SENTENCE_MAX];
        struct wire_out out;
        struct space space;
        struct bytes bytes;

        (void)state;
        for (size_t i = 0; i < sizeof(sentence); i++)
                sentence[i] = "\xc3\xa9"[(i + 1) % 2];
        sentence[0] = 'x'; /* so that a character lies across the limit */
        sentence[1] = '\xc3';
        for (size_t i = 1; i + 1 < sizeof(sentence); i++)
                sentence[i] = "\xc3\xa9"[(i + 1) % 2];
        sentence[sizeof(sentence) - 1] = 0;
        refused.sentence = sentence;
        wire_out_init(&out, 0);
        space_init(&space, NULL, 0);
        assert_ok(wire_pack_refused(&out, &refused));
        bytes = bytes_of(&out);
        assert_ok(wire_unpack_refused(&bytes.in, &space, &got));
        assert_int_equal(strlen(got.sentence), WIRE_SENTENCE_MAX - 1);
        free(bytes.data);

        refused.sentence = "no \xff";
        assert_ok(wire_pack_refused(&out, &refused));
        bytes = bytes_of(&out);
        assert_ok(wire_unpack_refused(&bytes.in, &space, &got));
        assert_string_equal(got.sentence, "no ?");
        free(bytes.data);
        space_deinit(&space);
        wire_out_deinit(&out);
}

static void versions_are_agreed_on_or_refused_in_words(void **state)
{
        uint32_t version = 0;

        (void)state;
        assert_ok(wire_agree(1, 1, &version));
        assert_int_equal(version, 1);
        assert_ok(wire_agree(0, 7, &version));
        assert_int_equal(version, WIRE_VERSION_MAX);
        assert_sentence(wire_agree(2, 3, &version), OBJD_E_PROTO,
                        "the peer speaks versions 2 to 3 of the protocol, this side 1 to 1");
        assert_status(wire_agree(0, 0, &version), OBJD_E_PROTO);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_batch_tells_what_has_not_come),
                cmocka_unit_test(a_batch_of_many_calls_tells_of_many),
                cmocka_unit_test(each_code_has_its_number_and_name_in_the_schema),
                cmocka_unit_test(each_code_goes_there_and_back),
                cmocka_unit_test(each_type_of_value_goes_there_and_back_empty_and_large),
                cmocka_unit_test(a_batch_of_many_calls_goes_there_and_back),
                cmocka_unit_test(large_data_are_not_copied_and_lie_aligned),
                cmocka_unit_test(a_message_is_the_same_in_pieces_of_any_size),
                cmocka_unit_test(the_short_way_makes_the_same_bytes_and_the_same_of_them),
                cmocka_unit_test(the_common_calls_go_the_short_way),
                cmocka_unit_test(what_is_too_big_or_no_value_is_not_sent),
                cmocka_unit_test(a_hello_and_its_answers_go_there_and_back),
                cmocka_unit_test(sentences_are_cut_and_made_utf8),
                cmocka_unit_test(versions_are_agreed_on_or_refused_in_words),
        };

        (void)argc;
        program = argv[0];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
