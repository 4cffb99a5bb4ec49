/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_wire_check.c -- rpc/wire_check.c, rpc/space.c: what is refused before it is built, and what memory a message takes
 */

#include "support/messages.h"

#include "object/value.h"
#include "rpc/wire_check.h"

static const char *program;

/* ---- Helpers ------------------------------------------------------------------------------------------- */

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

static void fields_may_come_in_any_order_and_lists_of_numbers_unpacked(void **state)
{
        /* serial, a value (an array: data, then its shape in two fields, then its dtype), place, code */
        static const char append[] =
                "\x18\x05\x22\x0c\x3a\x0a\x1a\x02zz\x10\x01\x10\x02\x08\x02\x10\x07\x08\x46";
        uint8_t list[64], request[64], message[80];
        struct call_batch got;
        struct space space;
        struct bytes bytes;
        size_t n;

        (void)state;
        space_init(&space, NULL, 0);
        n = put_field(list, 5, append, sizeof(append) - 1);
        memcpy(list + n, "\x08\x03", 2); /* thread */
        n = put_field(request, 5, list, n + 2);
        memcpy(message, request, n);
        memcpy(message + n, "\x10\x04\x08\x09", 4); /* acked, seq */
        bytes = bytes_new(message, n + 4, n + 4);
        assert_ok(wire_unpack_batch(&bytes.in, NULL, &space, &got));
        assert_int_equal(got.seq, 9);
        assert_int_equal(got.acked, 4);
        assert_int_equal(got.calls[0].code, CALL_LIST_APPEND);
        assert_int_equal(got.calls[0].thread, 3);
        assert_int_equal(got.calls[0].object.place, 7);
        assert_int_equal(got.calls[0].object.serial, 5);
        assert_int_equal(got.calls[0].values[0].type, OBJD_ARRAY);
        assert_int_equal(got.calls[0].values[0].ndim, 2);
        assert_int_equal(got.calls[0].values[0].shape[1], 2);
        assert_int_equal(got.calls[0].values[0].size, 2);
        free(bytes.data);
        space_deinit(&space);
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
        assert_ok(wire_pack_batch(&out, &batch, 0));
        bytes = bytes_of(&out);
        assert_ok(wire_unpack_batch(&bytes.in, NULL, &space, &got));
        free(bytes.data);
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

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(whatever_is_cut_off_or_flipped_is_refused_or_another_message),
                cmocka_unit_test(each_kind_of_unsound_bytes_has_its_sentence),
                cmocka_unit_test(each_call_that_makes_no_sense_has_its_sentence),
                cmocka_unit_test(fields_may_come_in_any_order_and_lists_of_numbers_unpacked),
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
        };

        (void)argc;
        program = argv[0];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
