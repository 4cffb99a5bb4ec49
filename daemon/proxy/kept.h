/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * kept.h -- a reply with a large value on its way out, which its link has taken over: it is cut into frames as they are sent, and copied
 * nowhere else
 */

#include "proxy/account.h"
#include "rpc/frame.h"

struct kept_message {
        struct wire_out out;
        struct frame_cutter cutter;
        struct account *account; /* pays for what the message keeps */
        size_t charged;
};

/*
 * Takes over what is left of a message whose parts are kept. NULL: there is no memory, or it would be too much for the account (which
 * says so); then it stays as it is.
 */
struct kept_message *kept_new(struct account *account, const struct frame_cutter *cutter);

/* Takes NULL. */
void kept_free(struct kept_message *kept);

/* Bytes of all frames that are left. */
size_t kept_size(const struct kept_message *kept);
