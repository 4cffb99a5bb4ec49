/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_wire.c -- rpc/wire*.c: calls and answers as messages, and what is refused before it is built
 */

#include "support/test.h"

#include <objd.pb-c.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "object/value.h"
#include "rpc/wire.h"
#include "rpc/wire_check.h"
#include "rpc/wire_short.h"
#include "rpc/wire_value.h"
#include "support/calls.h"
#include "support/random.h"

#define N_CALLS 20

static const char *program;

/* ---- Helpers ------------------------------------------------------------------------------------------- */

/* Bytes that lie in memory of their own, no larger than they are, so that the address sanitizer sees the end. */
struct bytes {
        struct wire_in in;
        uint8_t *data;
};

static struct bytes bytes_new(const void *data, size_t size, size_t body_size)
{
        struct bytes bytes = { .data = malloc(size ? size : 1) };

        assert_non_null(bytes.data);
        if (size)
                memcpy(bytes.data, data, size);
        bytes.in = (struct wire_in){ bytes.data, size, body_size };
        return bytes;
}

static struct bytes bytes_of(struct wire_out *out)
{
        struct bytes bytes = { .data = malloc(out->size ? out->size : 1) };

        assert_non_null(bytes.data);
        wire_out_copy(out, 0, bytes.data, out->size);
        bytes.in = (struct wire_in){ bytes.data, out->size, out->body_size };
        return bytes;
}

static struct call_batch make_batch(struct maker *maker, enum call_code code, size_t n)
{
        struct call *calls = space_take_array(&maker->space, n, sizeof(*calls));
        struct call_batch batch = { .seq = random_next(&maker->random),
                                    .acked = random_below(&maker->random, 1000),
                                    .timeout_ns = (int64_t)random_next(&maker->random),
                                    .calls = calls,
                                    .n_calls = n };

        assert_non_null(calls);
        for (size_t i = 0; i < n; i++)
                calls[i] = make_call(maker, code ? code : make_code(maker));
        return batch;
}

static struct call_reply make_reply(struct maker *maker, enum call_code code, size_t n)
{
        struct answer *answers = space_take_array(&maker->space, n, sizeof(*answers));
        struct call_reply reply = { .seq = random_next(&maker->random),
                                    .status = (objd_status)random_below(&maker->random, 2),
                                    .failed = (uint32_t)random_below(&maker->random, n + 1),
                                    .answers = answers,
                                    .n_answers = n };

        assert_non_null(answers);
        reply.sentence = reply.status ? "the second key: no \xe2\x82\xac" : NULL;
        for (size_t i = 0; i < n; i++)
                answers[i] = make_answer(maker, code ? code : make_code(maker));
        return reply;
}

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

/* Unpacks any bytes; if they are taken, what comes out must be good to work with. */
static objd_status unpack_any(const struct wire_in *in, bool reply)
{
        struct space space;
        objd_status r;

        space_init(&space, NULL, 0);
        if (reply) {
                struct call_reply got;

                r = wire_unpack_reply(in, NULL, &space, &got);
                for (size_t i = 0; !r && i < got.n_answers; i++)
                        for (size_t j = 0; j < got.answers[i].n_items; j++)
                                (void)value_check(&got.answers[i].items[j].value);
        } else {
                struct call_batch got;

                r = wire_unpack_batch(in, NULL, &space, &got);
                for (size_t i = 0; !r && i < got.n_calls; i++) {
                        assert_non_null(call_properties(got.calls[i].code)->name);
                        for (size_t j = 0; j < got.calls[i].n_values; j++)
                                (void)value_check(&got.calls[i].values[j]);
                }
        }
        if (r && strlen(objd_last_error()) < 10)
                fail_msg("it was refused without a reason");
        space_deinit(&space);
        return r;
}

/* A field's tag and what is behind it, for messages that are made by hand. */
static size_t put_field(uint8_t *dst, uint32_t number, const void *data, size_t size)
{
        size_t n = 0;

        assert_true(number < 16 && size < 16384);
        dst[n++] = (uint8_t)(number << 3 | 2);
        if (size >= 128)
                dst[n++] = (uint8_t)(size | 128);
        dst[n++] = (uint8_t)(size >= 128 ? size >> 7 : size);
        if (size)
                memmove(dst + n, data, size);
        return n + size;
}

/* Batch { requests { dict { <bytes> } } } */
static struct bytes dict_request(const void *data, size_t size)
{
        uint8_t request[512], field[600], message[700];
        size_t n = put_field(request, 4, data, size);

        n = put_field(field, 5, request, n);
        memcpy(message, field, n);
        return bytes_new(message, n, n);
}

static void check_refused(struct bytes bytes, const char *part)
{
        struct space space;
        struct call_batch got;

        space_init(&space, NULL, 0);
        assert_status(wire_unpack_batch(&bytes.in, NULL, &space, &got), OBJD_E_PROTO);
        assert_contains(objd_last_error(), part);
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
        static const size_t sizes[] = { 0, 1, 7, 8, 1023, 1024, 1025, 70000, 3000000 };
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

        /* After this the values may go. */
        assert_ok(wire_out_settle(&out));
        data[0] = 7;
        memset(bytes.data, 1, out.size);
        wire_out_copy(&out, 0, bytes.data, out.size);
        assert_int_equal(bytes.data[out.size - sizeof(data)], 0);
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

/* ---- What is refused ----------------------------------------------------------------------------------- */

static void whatever_is_cut_off_or_flipped_is_refused_or_another_message(void **state)
{
        size_t n_refused = 0, n_taken = 0;
        struct wire_out out;
        struct maker maker;

        (void)state;
        maker_init(&maker, random_begin(program), 40, 3);
        for (uint32_t round = 0; round < 2 * CALL_CODES; round++) {
                enum call_code code = (enum call_code)(round / 2);
                bool is_reply = round % 2;
                struct bytes bytes;

                if (!call_properties(code)->name)
                        continue;
                wire_out_init(&out, is_reply ? 16 : 0);
                if (is_reply) {
                        struct call_reply reply = make_reply(&maker, code, 2);

                        assert_ok(wire_pack_reply(&out, &reply, 0));
                } else {
                        struct call_batch batch = make_batch(&maker, code, 2);

                        assert_ok(wire_pack_batch(&out, &batch, 0));
                }
                bytes = bytes_of(&out);
                for (size_t size = 0; size < out.size; size++) {
                        struct bytes cut =
                                bytes_new(bytes.data, size, size < out.body_size ? size : out.body_size);

                        (void)unpack_any(&cut.in, is_reply);
                        free(cut.data);
                }
                for (size_t bit = 0; bit < 8 * out.body_size; bit++) {
                        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
                        if (unpack_any(&bytes.in, is_reply))
                                n_refused++;
                        else
                                n_taken++;
                        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
                }
                assert_ok(unpack_any(&bytes.in, is_reply));
                free(bytes.data);
                wire_out_deinit(&out);
                space_reset(&maker.space);
        }
        assert_true(n_refused > 1000 && n_taken > 1000);
        maker_deinit(&maker);
}

static void each_kind_of_unsound_bytes_has_its_sentence(void **state)
{
        static const struct {
                const char *bytes;
                size_t size;
                const char *part;
        } cases[] = {
                { "\x00\x01", 2, "number 0" },
                { "\xff\xff\xff\xff\xff", 5, "a tag is none" },
                { "\x08", 1, "does not end" },
                { "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, "over 64 bits" },
                { "\x08\x13", 2, "code of a DictRequest is out of range" },
                { "\x08\xa8\x80\x80\x80\x10", 6, "out of range" },
                { "\x08\x28\x08\x28", 4, "is there twice" },
                { "\x09\x28", 2, "another wire type" },
                { "\x0a\x01\x28", 3, "another wire type" },
                { "\x22\x05\x01", 3, "a length leads outside" },
                { "\x22\xff\xff\xff\xff\x0f", 6, "a length is none" },
                { "\x22\x00", 2, "in a Value, there is nothing" },
                { "\x22\x04\x08\x01\x10\x01", 6, "one too many of those that exclude one another" },
                { "\x22\x02\x10\x02", 4, "boolean of a Value is out of range" },
                { "\x41\x00\x00", 3, "a number is cut off" },
                { "\xf3\x01", 2, "a group" },
                { "\x38\x02\x41\x00\x00\x00\x00\x00\x00\x00\x00", 11, "exclude one another" },
                { "\x22\x0d\x3a\x0b\x12\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01", 15, "too many numbers" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                check_refused(dict_request(cases[i].bytes, cases[i].size), cases[i].part);
}

static void each_call_that_makes_no_sense_has_its_sentence(void **state)
{
        static const struct {
                const char *bytes;
                size_t size;
                const char *part;
        } cases[] = {
                { "", 0, "code 0" },
                { "\x08\x46", 2, "which is none of its group" },
                { "\x08\x28", 2, "a dict get has 0 keys" },
                { "\x08\x28\x22\x02\x08\x01\x22\x02\x08\x01", 10, "a dict get has 2 keys" },
                { "\x08\x32\x22\x02\x08\x01", 6, "a dict len has 1 keys" },
                { "\x08\x28\x22\x02\x08\x01\x2a\x02\x08\x01", 10, "a dict get has 1 values" },
                { "\x08\x34\x22\x02\x08\x01", 6, "1 keys and 0 values" },
                { "\x08\x28\x22\x04\x08\x01\x50\x08", 8, "without data has some in the bulk" },
                { "\x08\x28\x22\x06\x32\x02\x61\x62\x50\x08", 10, "both in the body and in the bulk" },
                { "\x08\x28\x22\x04\x32\x00\x50\x08", 8, "where only 0 are left" },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                check_refused(dict_request(cases[i].bytes, cases[i].size), cases[i].part);
}

static void text_must_be_utf8_and_without_nul(void **state)
{
        static const char *const names[] = { "a\0b", "a\xff"
                                                     "b" };

        (void)state;
        for (size_t i = 0; i < 2; i++) {
                uint8_t field[64], object[64], request[64], message[64] = { 0 };
                size_t n = put_field(field, 4, names[i], 3);

                object[0] = 8;
                object[1] = CALL_OBJECT_OPEN;
                memcpy(object + 2, field, n);
                n = put_field(request, 3, object, n + 2);
                n = put_field(message, 5, request, n);
                check_refused(bytes_new(message, n, n), i ? "is not UTF-8" : "has a NUL");
        }
}

static void a_bulk_belongs_to_its_values_to_the_last_byte(void **state)
{
        static const uint8_t body[] = { 0x2a, 0x0c, 0x22, 0x0a, 0x08, 0x28, 0x22,
                                        0x04, 0x32, 0x00, 0x50, 0x05, 0,    0 };
        uint8_t message[64] = { 0 };
        struct call_batch got;
        struct space space;
        struct wire_in in = { message, 24, 14 };

        (void)state;
        memcpy(message, body, sizeof(body));
        message[1] = 10; /* of the request */
        message[3] = 8;  /* of the DictRequest */
        space_init(&space, NULL, 0);
        in.body_size = 12;
        assert_ok(wire_unpack_batch(&in, NULL, &space, &got));
        assert_int_equal(got.calls[0].keys[0].size, 5);
        assert_ptr_equal(got.calls[0].keys[0].data, message + 16);

        in.size = 32;
        assert_status(wire_unpack_batch(&in, NULL, &space, &got), OBJD_E_PROTO);
        assert_contains(objd_last_error(), "belong to no value");
        in.size = 16;
        assert_status(wire_unpack_batch(&in, NULL, &space, &got), OBJD_E_PROTO);
        in.size = 21;
        assert_status(wire_unpack_batch(&in, NULL, &space, &got), OBJD_E_PROTO);
        in.size = 8;
        assert_status(wire_unpack_batch(&in, NULL, &space, &got), OBJD_E_PROTO);
        space_deinit(&space);
}

static void unknown_fields_are_skipped_but_not_any_number_of_them(void **state)
{
        /* DICT_LEN, then fields 20 (a number), 21 (bytes), 22 (64 bits), 23 (32 bits) */
        static const char known[] = "\x08\x32\xa0\x01\x05\xaa\x01\x03zzz\xb1\x01"
                                    "12345678\xbd\x01"
                                    "1234";
        uint8_t many[256] = "\x08\x32";
        struct bytes bytes = dict_request(known, sizeof(known) - 1);

        (void)state;
        assert_ok(unpack_any(&bytes.in, false));
        free(bytes.data);
        for (size_t i = 0; i <= WIRE_UNKNOWN_MAX; i++)
                memcpy(many + 2 + 3 * i, "\xa0\x01\x05", 3);
        bytes = dict_request(many, 2 + 3 * WIRE_UNKNOWN_MAX);
        assert_ok(unpack_any(&bytes.in, false));
        free(bytes.data);
        check_refused(dict_request(many, 2 + 3 * (WIRE_UNKNOWN_MAX + 1)), "too many unknown fields");
}

/* A field in a field in a field, as deep as the bytes last. Lengths are right, so only the schema says how deep it may go. */
static struct bytes make_bomb(uint32_t field, size_t depth)
{
        size_t room = 6 * depth + 2, at = room, size;
        uint8_t *message = malloc(room);
        struct bytes bytes;

        assert_non_null(message);
        while (depth--) {
                size = room - at;
                for (int shift = 28; shift >= 0; shift -= 7)
                        if (size >> shift || !shift)
                                at--; /* as many bytes as the length needs */
                for (size_t left = size, i = at;; left >>= 7, i++) {
                        message[i] = (uint8_t)(left < 128 ? left : (left & 127) | 128);
                        if (left < 128)
                                break;
                }
                message[--at] = (uint8_t)(field << 3 | 2);
        }
        bytes = bytes_new(message + at, room - at, room - at);
        free(message);
        return bytes;
}

static void nothing_nests_deeper_than_the_schema(void **state)
{
        (void)state;
        for (uint32_t field = 1; field < 16; field++) {
                struct bytes bomb = make_bomb(field, 20000);
                objd_status batch = unpack_any(&bomb.in, false), reply = unpack_any(&bomb.in, true);

                /* What is unknown is stepped over and not entered; the rest is refused. */
                assert_true(batch == OBJD_E_PROTO);
                assert_true(reply == OBJD_E_PROTO || reply == OBJD_OK);
                free(bomb.data);
        }
}

static void a_batch_has_no_more_calls_than_the_limit(void **state)
{
        struct wire_limits limits = { .n_calls = 10 };
        struct call calls[11];
        struct call_batch batch = { .seq = 77, .calls = calls, .n_calls = 10 }, got;
        struct wire_out out;
        struct space space;
        struct bytes bytes;

        (void)state;
        for (size_t i = 0; i < 11; i++)
                calls[i] = (struct call){ .code = CALL_SESSION_PING };
        wire_out_init(&out, 0);
        space_init(&space, NULL, 0);
        for (; batch.n_calls <= 11; batch.n_calls++) {
                assert_ok(wire_pack_batch(&out, &batch, 0));
                bytes = bytes_of(&out);
                assert_status(wire_unpack_batch(&bytes.in, &limits, &space, &got),
                              batch.n_calls == 10 ? OBJD_OK : OBJD_E_TOOBIG);
                assert_int_equal(got.seq, 77);
                free(bytes.data);
        }
        assert_contains(objd_last_error(), "more than 10 requests");
        batch.n_calls = 0;
        assert_ok(wire_pack_batch(&out, &batch, 0));
        check_refused(bytes_of(&out), "no requests");
        space_deinit(&space);
        wire_out_deinit(&out);
}

static void only_some_calls_may_be_atomic(void **state)
{
        struct call call = { .code = CALL_DICT_CLEAR };
        struct call_batch batch = { .seq = 1, .atomic = true, .calls = &call, .n_calls = 1 }, got;
        struct wire_out out;
        struct space space;
        struct bytes bytes;

        (void)state;
        wire_out_init(&out, 0);
        space_init(&space, NULL, 0);
        assert_ok(wire_pack_batch(&out, &batch, 0));
        bytes = bytes_of(&out);
        assert_status(wire_unpack_batch(&bytes.in, NULL, &space, &got), OBJD_E_INVAL);
        assert_contains(objd_last_error(), "a dict clear cannot be part of an atomic batch");
        free(bytes.data);
        call.code = CALL_QUEUE_GET;
        check_batch(&batch, &out);
        space_deinit(&space);
        wire_out_deinit(&out);
}

/* ---- Memory -------------------------------------------------------------------------------------------- */

struct counted {
        size_t now, most;
        long left; /* calls that succeed */
};

static void *counted_resize(void *context, void *old, size_t old_size, size_t new_size)
{
        struct counted *counted = context;

        if (new_size && counted->left-- == 0) {
                counted->left = 0;
                return NULL;
        }
        counted->now += new_size - old_size;
        if (counted->now > counted->most)
                counted->most = counted->now;
        if (new_size)
                return realloc(old, new_size);
        free(old);
        return NULL;
}

/* How much memory it takes to unpack what is in `out`, at most and at the end. */
static void check_memory(struct wire_out *out, bool reply, size_t factor)
{
        struct counted counted = { .left = -1 };
        struct memory memory = { counted_resize, &counted };
        struct bytes bytes = bytes_of(out);
        struct space space;

        space_init(&space, &memory, 0);
        if (reply)
                assert_ok(wire_unpack_reply(&bytes.in, NULL, &space, &(struct call_reply){ 0 }));
        else
                assert_ok(wire_unpack_batch(&bytes.in, NULL, &space, &(struct call_batch){ 0 }));
        if (counted.most > factor * out->body_size + WIRE_MEMORY_BASE)
                fail_msg("%zu bytes took %zu bytes of memory", out->body_size, counted.most);
        space_deinit(&space);
        assert_int_equal(counted.now, 0);
        free(bytes.data);
}

static void the_memory_of_a_message_is_bounded_by_its_size(void **state)
{
        static objd_value nils[50000];
        static struct call calls[50000];
        static struct answer answers[50000];
        static objd_item items[50000];
        struct call extend = { .code = CALL_LIST_EXTEND, .values = nils, .n_values = 50000 };
        struct call_batch batch = { .seq = 1, .calls = &extend, .n_calls = 1 };
        struct call_reply reply = { .seq = 1, .answers = answers, .n_answers = 50000 };
        struct wire_out out;

        (void)state;
        wire_out_init(&out, 0);
        for (size_t i = 0; i < 50000; i++) {
                nils[i] = objd_nil();
                calls[i] = (struct call){ .code = CALL_SESSION_PING };
                answer_init(&answers[i]);
                answers[i].code = CALL_DICT_SET;
        }
        assert_ok(wire_pack_batch(&out, &batch, 0));
        check_memory(&out, false, WIRE_BATCH_FACTOR);
        batch = (struct call_batch){ .seq = 1, .calls = calls, .n_calls = 50000 };
        assert_ok(wire_pack_batch(&out, &batch, 0));
        check_memory(&out, false, WIRE_BATCH_FACTOR);
        assert_ok(wire_pack_reply(&out, &reply, 0));
        check_memory(&out, true, WIRE_REPLY_FACTOR);
        answers[0] = (struct answer){ .code = CALL_DICT_GET_MANY, .items = items, .n_items = 50000 };
        reply.n_answers = 1;
        assert_ok(wire_pack_reply(&out, &reply, 0));
        check_memory(&out, true, WIRE_REPLY_FACTOR);
        wire_out_deinit(&out);
}

static void the_limit_of_memory_is_looked_at_before_any_is_taken(void **state)
{
        struct counted counted = { .left = 0 };
        struct memory memory = { counted_resize, &counted };
        struct wire_limits limits = { .memory = 5000 };
        static objd_value nils[100];
        struct call extend = { .code = CALL_LIST_EXTEND, .values = nils, .n_values = 100 };
        struct call_batch batch = { .seq = 9, .calls = &extend, .n_calls = 1 }, got;
        struct wire_out out;
        struct space space;
        struct bytes bytes;

        (void)state;
        for (size_t i = 0; i < 100; i++)
                nils[i] = objd_nil();
        wire_out_init(&out, 0);
        assert_ok(wire_pack_batch(&out, &batch, 0));
        bytes = bytes_of(&out);
        space_init(&space, &memory, 0);
        assert_status(wire_unpack_batch(&bytes.in, &limits, &space, &got), OBJD_E_TOOBIG);
        assert_contains(objd_last_error(), "the most is 5000");
        assert_int_equal(counted.most, 0);
        assert_int_equal(got.seq, 9);
        free(bytes.data);
        space_deinit(&space);
        wire_out_deinit(&out);
}

static void a_lack_of_memory_is_said_and_leaves_nothing_behind(void **state)
{
        struct maker maker;
        struct wire_out out;
        struct call_batch batch;
        struct bytes bytes;
        objd_status r = OBJD_E_NOMEM;

        (void)state;
        maker_init(&maker, random_begin(program), 5000, 30);
        wire_out_init(&out, 0);
        batch = make_batch(&maker, CALL_NONE, 200);
        assert_ok(wire_pack_batch(&out, &batch, 0));
        bytes = bytes_of(&out);
        for (long n = 0; r; n++) {
                struct counted counted = { .left = n };
                struct memory memory = { counted_resize, &counted };
                struct call_batch got;
                struct space space;

                space_init(&space, &memory, 0);
                r = wire_unpack_batch(&bytes.in, NULL, &space, &got);
                assert_true(!r || r == OBJD_E_NOMEM);
                space_deinit(&space);
                assert_int_equal(counted.now, 0);
        }
        free(bytes.data);
        wire_out_deinit(&out);
        maker_deinit(&maker);
}

static void a_space_is_used_again_and_keeps_its_limit(void **state)
{
        struct counted counted = { .left = -1 };
        struct memory memory = { counted_resize, &counted };
        struct space space;
        void *large;

        (void)state;
        space_init(&space, &memory, 200000);
        for (int round = 0; round < 3; round++) {
                for (size_t i = 1; i < 300; i++) {
                        uint8_t *piece = space_take(&space, i);

                        assert_non_null(piece);
                        assert_int_equal((uintptr_t)piece % 16, 0);
                        memset(piece, (int)i, i);
                }
                assert_true(space.taken < 100000);
                space_reset(&space);
                assert_int_equal(space.taken, 4096);
        }
        large = space_take(&space, 150000);
        assert_non_null(large);
        assert_null(space_take(&space, 150000));
        space.allocator.free(&space, large);
        large = space_take(&space, 150000);
        assert_non_null(large);
        assert_null(space_take_array(&space, SIZE_MAX / 2, 16));
        assert_null(space_take(&space, SIZE_MAX));
        assert_non_null(space_take(&space, 0));
        space_deinit(&space);
        assert_int_equal(counted.now, 0);
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
                                    .max_message = 1 << 20 },
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
                cmocka_unit_test(each_code_has_its_number_and_name_in_the_schema),
                cmocka_unit_test(each_code_goes_there_and_back),
                cmocka_unit_test(each_type_of_value_goes_there_and_back_empty_and_large),
                cmocka_unit_test(a_batch_of_many_calls_goes_there_and_back),
                cmocka_unit_test(large_data_are_not_copied_and_lie_aligned),
                cmocka_unit_test(a_message_is_the_same_in_pieces_of_any_size),
                cmocka_unit_test(the_short_way_makes_the_same_bytes_and_the_same_of_them),
                cmocka_unit_test(the_common_calls_go_the_short_way),
                cmocka_unit_test(what_is_too_big_or_no_value_is_not_sent),
                cmocka_unit_test(whatever_is_cut_off_or_flipped_is_refused_or_another_message),
                cmocka_unit_test(each_kind_of_unsound_bytes_has_its_sentence),
                cmocka_unit_test(each_call_that_makes_no_sense_has_its_sentence),
                cmocka_unit_test(text_must_be_utf8_and_without_nul),
                cmocka_unit_test(a_bulk_belongs_to_its_values_to_the_last_byte),
                cmocka_unit_test(unknown_fields_are_skipped_but_not_any_number_of_them),
                cmocka_unit_test(nothing_nests_deeper_than_the_schema),
                cmocka_unit_test(a_batch_has_no_more_calls_than_the_limit),
                cmocka_unit_test(only_some_calls_may_be_atomic),
                cmocka_unit_test(the_memory_of_a_message_is_bounded_by_its_size),
                cmocka_unit_test(the_limit_of_memory_is_looked_at_before_any_is_taken),
                cmocka_unit_test(a_lack_of_memory_is_said_and_leaves_nothing_behind),
                cmocka_unit_test(a_space_is_used_again_and_keeps_its_limit),
                cmocka_unit_test(a_hello_and_its_answers_go_there_and_back),
                cmocka_unit_test(sentences_are_cut_and_made_utf8),
                cmocka_unit_test(versions_are_agreed_on_or_refused_in_words),
        };

        (void)argc;
        program = argv[0];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
