/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * messages.h -- batches and replies made by chance, and the bytes of messages, for tests
 */

#include "support/test.h"

#include <stdlib.h>
#include <string.h>

#include "rpc/wire.h"
#include "support/calls.h"
#include "support/random.h"

/* Bytes that lie in memory of their own, no larger than they are, so that the address sanitizer sees the end. */
struct bytes {
        struct wire_in in;
        uint8_t *data;
};

static inline struct bytes bytes_new(const void *data, size_t size, size_t body_size)
{
        struct bytes bytes = { .data = malloc(size ? size : 1) };

        assert_non_null(bytes.data);
        if (size)
                memcpy(bytes.data, data, size);
        bytes.in = (struct wire_in){ bytes.data, size, body_size };
        return bytes;
}

static inline struct bytes bytes_of(struct wire_out *out)
{
        struct bytes bytes = { .data = malloc(out->size ? out->size : 1) };

        assert_non_null(bytes.data);
        wire_out_copy(out, 0, bytes.data, out->size);
        bytes.in = (struct wire_in){ bytes.data, out->size, out->body_size };
        return bytes;
}

static inline struct call_batch make_batch(struct maker *maker, enum call_code code, size_t n)
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

static inline struct call_reply make_reply(struct maker *maker, enum call_code code, size_t n)
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
