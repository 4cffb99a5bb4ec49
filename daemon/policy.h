/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * policy.h -- who may have the arena
 *
 * Whoever has the descriptor can read and write all of it, so this is the only question, and it is asked once: when a
 * client connects, about the user that the kernel says it is.
 */

#include <sys/types.h>

#include <objd.h>

#define POLICY_MAX 64 /* --allow-uid and --allow-gid: how many of each */

struct policy {
        uid_t own; /* the daemon's; its clients are always welcome. Root is a user like any other */
        uid_t uids[POLICY_MAX];
        gid_t gids[POLICY_MAX];
        size_t n_uids;
        size_t n_gids;
};

/* Whether the peer of this connected socket may have the arena. @return OBJD_OK, OBJD_E_ACCESS, OBJD_E_SYS */
objd_status policy_check(const struct policy *policy, int socket);
