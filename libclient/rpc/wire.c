/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.c -- batches and replies: the short way if they are plain, else the general one
 */

#include "rpc/wire.h"

#include "rpc/wire_short.h"
#include "rpc/wire_value.h"

static bool fits(const struct wire_out *out, uint64_t max_size)
{
        return out->size <= (max_size && max_size < WIRE_MESSAGE_MAX ? max_size : WIRE_MESSAGE_MAX);
}

objd_status wire_pack_batch(struct wire_out *out, const struct call_batch *batch, uint64_t max_size)
{
        wire_out_begin(out);
        if (!batch->cancel && !batch->n_unanswered && wire_short_pack_batch(out, batch) &&
            fits(out, max_size))
                return OBJD_OK;
        return wire_general_pack_batch(out, batch, max_size);
}

objd_status wire_pack_reply(struct wire_out *out, const struct call_reply *reply, uint64_t max_size)
{
        wire_out_begin(out);
        if (wire_short_pack_reply(out, reply) && fits(out, max_size))
                return OBJD_OK;
        return wire_general_pack_reply(out, reply, max_size);
}

objd_status wire_unpack_batch(const struct wire_in *in, const struct wire_limits *limits, struct space *space,
                              struct call_batch *ret_batch)
{
        if (wire_short_unpack_batch(in, limits, space, ret_batch))
                return OBJD_OK;
        return wire_general_unpack_batch(in, limits, space, ret_batch);
}

objd_status wire_unpack_reply(const struct wire_in *in, const struct wire_limits *limits, struct space *space,
                              struct call_reply *ret_reply)
{
        if (wire_short_unpack_reply(in, limits, space, ret_reply))
                return OBJD_OK;
        return wire_general_unpack_reply(in, limits, space, ret_reply);
}
