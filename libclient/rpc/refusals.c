/* SPDX-License-Identifier: Apache-2.0 */

/*
 * refusals.c -- what the daemon refuses, by name
 */

#include "rpc/refusals.h"

const char *refusal_name(unsigned refusal)
{
        switch (refusal) {
        case REFUSAL_NO_CHANNEL:
                return "no-channel";
        case REFUSAL_BUSY:
                return "busy";
        case REFUSAL_OTHERS_SESSION:
                return "others-session";
        case REFUSAL_MESSAGE:
                return "message";
        default:
                return seal_reason_name((enum seal_reason)refusal);
        }
}
