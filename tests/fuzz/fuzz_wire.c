/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_wire.c -- messages and frames with any bytes
 *
 * An input is a byte that says what it is, one that says how much of its end is the bulk, in units of eight, and a message; or a row
 * of frames. A message is either refused with a reason, or what comes out is good to work with and survives
 * being sent on. The fuzzer's own changes of bytes are mostly refused early, so there is a mutator that changes calls: it unpacks,
 * changes, and packs again.
 */

#include <objd.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "object/value.h"
#include "rpc/frame.h"
#include "rpc/wire.h"
#include "rpc/wire_check.h"
#include "rpc/wire_short.h"
#include "rpc/wire_value.h"
#include "support/calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned int seed);
/* libFuzzer has it; where a corpus is only replayed there is none, and no need of it. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max) __attribute__((weak));

enum what { BATCH, REPLY, HELLO, WELCOME, REFUSED, FRAMES, N_WHAT };

static void must(bool condition)
{
        if (!condition)
                abort();
}

/* Refusals have reasons. */
static bool taken(objd_status r)
{
        if (r)
                must(strlen(objd_last_error()) > 10);
        return !r;
}

/* Where a value's data may lie: anywhere, but all of them must be there to be read. */
static void look_at(const objd_value *value)
{
        volatile uint8_t sum = 0;

        for (size_t i = 0; i < value->size; i++)
                sum = (uint8_t)(sum + ((const uint8_t *)value->data)[i]);
        must(value_check(value) == OBJD_OK || value->type == OBJD_STR);
}

/* ---- Messages ------------------------------------------------------------------------------------------ */

static struct wire_in packed(struct wire_out *out)
{
        uint8_t *bytes = malloc(out->size ? out->size : 1);

        must(bytes != NULL);
        wire_out_copy(out, 0, bytes, out->size);
        return (struct wire_in){ bytes, out->size, out->body_size };
}

/* The short way may take nothing that the general one refuses, and makes the same of it. */
static void try_both_ways(const struct wire_in *in, struct space *space)
{
        struct call_batch batch, batch_again;
        struct call_reply reply, reply_again;

        if (wire_short_unpack_batch(in, NULL, space, &batch)) {
                must(wire_general_unpack_batch(in, NULL, space, &batch_again) == OBJD_OK);
                must(batch.n_calls == batch_again.n_calls && batch.seq == batch_again.seq &&
                     batch.acked == batch_again.acked && batch.timeout_ns == batch_again.timeout_ns &&
                     batch.atomic == batch_again.atomic);
                for (size_t i = 0; i < batch.n_calls; i++)
                        must(calls_equal(&batch.calls[i], &batch_again.calls[i]));
        }
        if (wire_short_unpack_reply(in, NULL, space, &reply)) {
                must(wire_general_unpack_reply(in, NULL, space, &reply_again) == OBJD_OK);
                must(reply.n_answers == reply_again.n_answers && reply.seq == reply_again.seq &&
                     reply.status == reply_again.status && reply.failed == reply_again.failed);
                for (size_t i = 0; i < reply.n_answers; i++)
                        must(answers_equal(&reply.answers[i], &reply_again.answers[i]));
        }
        space_reset(space);
}

static void try_batch(const struct wire_in *in, struct space *space, struct wire_out *out)
{
        struct call_batch got, again;
        struct wire_in second;

        if (!taken(wire_unpack_batch(in, NULL, space, &got)))
                return;
        must(space->taken <= WIRE_BATCH_FACTOR * in->body_size + WIRE_MEMORY_BASE + 65536);
        for (size_t i = 0; i < got.n_calls; i++) {
                must(call_properties(got.calls[i].code)->name != NULL);
                for (size_t j = 0; j < got.calls[i].n_keys; j++)
                        look_at(&got.calls[i].keys[j]);
                for (size_t j = 0; j < got.calls[i].n_values; j++)
                        look_at(&got.calls[i].values[j]);
                if (got.calls[i].expected)
                        look_at(got.calls[i].expected);
        }
        must(wire_pack_batch(out, &got, 0) == OBJD_OK);
        second = packed(out);
        must(wire_unpack_batch(&second, NULL, space, &again) == OBJD_OK);
        must(again.n_calls == got.n_calls && again.seq == got.seq && again.atomic == got.atomic);
        for (size_t i = 0; i < got.n_calls; i++)
                must(again.calls[i].code == got.calls[i].code &&
                     again.calls[i].n_keys == got.calls[i].n_keys &&
                     again.calls[i].n_values == got.calls[i].n_values);
        free((void *)(uintptr_t)second.data);
}

static void try_reply(const struct wire_in *in, struct space *space)
{
        struct call_reply got;

        if (!taken(wire_unpack_reply(in, NULL, space, &got)))
                return;
        must(space->taken <= WIRE_REPLY_FACTOR * in->body_size + WIRE_MEMORY_BASE + 65536);
        for (size_t i = 0; i < got.n_answers; i++) {
                const struct answer *answer = &got.answers[i];

                must(strlen(answer->sentence) <= in->body_size);
                if (answer->value.type != OBJD_ANY)
                        look_at(&answer->value);
                if (answer->key.type != OBJD_ANY)
                        look_at(&answer->key);
                for (size_t j = 0; j < answer->n_items; j++)
                        look_at(&answer->items[j].value);
                for (size_t j = 0; j < answer->n_infos; j++)
                        must(strlen(answer->infos[j].name) <= OBJD_NAME_MAX);
        }
}

static void try_message(enum what what, const struct wire_in *in)
{
        struct wire_hello hello;
        struct wire_welcome welcome;
        struct wire_refused refused;
        struct wire_out out;
        struct space space;

        space_init(&space, NULL, 0);
        wire_out_init(&out, 64);
        try_both_ways(in, &space);
        switch (what) {
        case BATCH:
                try_batch(in, &space, &out);
                break;
        case REPLY:
                try_reply(in, &space);
                break;
        case HELLO:
                if (taken(wire_unpack_hello(in, &space, &hello)))
                        must(wire_pack_hello(&out, &hello) == OBJD_OK);
                break;
        case WELCOME:
                if (taken(wire_unpack_welcome(in, &space, &welcome)))
                        must(wire_pack_welcome(&out, &welcome) == OBJD_OK);
                break;
        default:
                if (taken(wire_unpack_refused(in, &space, &refused)))
                        must(wire_pack_refused(&out, &refused) == OBJD_OK);
        }
        wire_out_deinit(&out);
        space_deinit(&space);
}

/* ---- Frames -------------------------------------------------------------------------------------------- */

/* Each frame lies behind the one before it, as long as its head says. */
static void try_frames(const uint8_t *data, size_t size)
{
        struct frame_joiner joiner;
        struct frame_head head;

        frame_joiner_init(&joiner, NULL, 256);
        while (taken(frame_decode(data, size, 4096, 65536, &head)) && head.piece <= size - FRAME_HEAD) {
                struct wire_in in;
                bool whole = false;

                if (head.type <= FRAME_REFUSED &&
                    taken(frame_join(&joiner, &head, data + FRAME_HEAD, &whole, &in)) && whole) {
                        must(in.size == head.message && in.body_size <= in.size);
                        try_message((enum what)(head.type % FRAMES), &in);
                }
                data += FRAME_HEAD + head.piece;
                size -= FRAME_HEAD + head.piece;
        }
        must(joiner.room <= 2 * 65536);
        frame_joiner_deinit(&joiner);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        enum what what;
        uint8_t *bytes;
        size_t bulk;

        if (size < 2)
                return 0;
        what = (enum what)(data[0] % N_WHAT);
        bulk = (size_t)data[1] * 8;
        size -= 2;
        bytes = malloc(size ? size : 1); /* with the sanitizer's redzone right behind the last byte */
        must(bytes != NULL);
        memcpy(bytes, data + 2, size);
        if (what == FRAMES)
                try_frames(bytes, size);
        else
                try_message(what, &(struct wire_in){ bytes, size, bulk < size ? size - bulk : size });
        free(bytes);
        return 0;
}

/* ---- The mutator --------------------------------------------------------------------------------------- */

/* Writes an input of what is in `out`; 0 if it does not fit. */
static size_t put_input(enum what what, struct wire_out *out, uint8_t *data, size_t size_max)
{
        uint64_t bulk = (out->size - out->body_size) / 8;

        if (out->size + 2 > size_max || bulk > 255 || (bulk && out->body_size % 8))
                return 0;
        data[0] = (uint8_t)what;
        data[1] = (uint8_t)bulk;
        wire_out_copy(out, 0, data + 2, out->size);
        return out->size + 2;
}

/* The calls of an input, with one more, one less, or one replaced; a new batch, if it is none. */
static size_t change_calls(struct maker *maker, uint8_t *data, size_t size, size_t size_max)
{
        size_t bulk = (size_t)data[1] * 8;
        uint8_t *bytes = space_take(&maker->space, size); /* data will be written over */
        struct wire_in in = { bytes, size - 2, bulk < size - 2 ? size - 2 - bulk : size - 2 };
        struct call_batch batch = { .seq = 1 };
        struct wire_out out;
        struct call *calls;
        uint64_t place;
        size_t n = 0;

        must(bytes != NULL);
        memcpy(bytes, data + 2, size - 2);
        if (data[0] % N_WHAT != BATCH || wire_unpack_batch(&in, NULL, &maker->space, &batch))
                batch = (struct call_batch){ .seq = 1 };
        calls = space_take_array(&maker->space, batch.n_calls + 1, sizeof(*calls));
        must(calls != NULL);
        for (; n < batch.n_calls; n++)
                calls[n] = batch.calls[n];
        place = random_below(&maker->random, n + 1);
        if (n > 1 && random_below(&maker->random, 3) == 0) {
                n--;
                calls[place < n ? place : 0] = calls[n];
        } else {
                calls[place] = make_call(maker, make_code(maker));
                n += place == n;
        }
        batch.calls = calls;
        batch.n_calls = n;
        wire_out_init(&out, random_below(&maker->random, 2) ? 32 : 0);
        n = wire_pack_batch(&out, &batch, 0) ? 0 : put_input(BATCH, &out, data, size_max);
        wire_out_deinit(&out);
        return n;
}

static size_t new_reply(struct maker *maker, uint8_t *data, size_t size_max)
{
        struct answer answer = make_answer(maker, make_code(maker));
        struct call_reply reply = { .seq = 1, .answers = &answer, .n_answers = 1 };
        struct wire_out out;
        size_t n;

        wire_out_init(&out, random_below(&maker->random, 2) ? 32 : 0);
        n = wire_pack_reply(&out, &reply, 0) ? 0 : put_input(REPLY, &out, data, size_max);
        wire_out_deinit(&out);
        return n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned int seed)
{
        struct maker maker;
        size_t n = 0;

        maker_init(&maker, (struct random){ seed }, 60, 4);
        if (size >= 2 && random_below(&maker.random, 3) == 0)
                n = change_calls(&maker, data, size, size_max);
        else if (random_below(&maker.random, 8) == 0)
                n = new_reply(&maker, data, size_max);
        maker_deinit(&maker);
        return n ? n : LLVMFuzzerMutate(data, size, size_max);
}
