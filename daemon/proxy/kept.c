/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kept.c -- a reply with a large value on its way out
 */

#include "proxy/kept.h"

struct kept_message *kept_new(struct account *account, const struct frame_cutter *cutter)
{
        size_t size = cutter->out->kept_size;
        struct kept_message *kept;

        if (!account || !account_charge(account, size))
                return NULL;
        kept = account_alloc(account, sizeof(*kept));
        if (!kept) {
                account_give(account, size);
                return NULL;
        }
        wire_out_move(cutter->out, &kept->out);
        kept->cutter = *cutter;
        kept->cutter.out = &kept->out;
        kept->account = account; /* its own memory holds a reference */
        kept->charged = size;
        return kept;
}

void kept_free(struct kept_message *kept)
{
        if (!kept)
                return;
        wire_out_deinit(&kept->out);
        account_give(kept->account, kept->charged);
        account_free(kept);
}

size_t kept_size(const struct kept_message *kept)
{
        uint64_t left = kept->cutter.head.message - kept->cutter.at,
                 most = kept->cutter.max_frame - FRAME_HEAD;

        return left + (left + most - 1) / most * FRAME_HEAD;
}
