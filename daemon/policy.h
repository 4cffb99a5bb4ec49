/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * policy.h -- who may do what
 *
 * Asked once: when a client connects, about the user that the kernel says it is. Whoever gets a descriptor that can be
 * written can change all of the arena, and keeps it for good; whoever gets one that can only be read sees all of it.
 */

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "rpc/rights.h"

#define POLICY_RULES_MAX 256

/* In the order of what they let somebody do. */
enum policy_access {
        POLICY_NOTHING = 0,
        POLICY_PROXIED = 1, /* through the daemon only: no handles */
        POLICY_READ_ONLY = 2,
        POLICY_READ_WRITE = 3
};

struct policy_rule {
        bool is_group;
        uint32_t id;
        enum policy_access access;
        struct rights rights; /* through the daemon */
};

struct policy {
        uid_t own; /* the daemon's; its clients may do everything. Root is a user like any other */
        struct policy_rule rules[POLICY_RULES_MAX];
        size_t n_rules;
};

/*
 * A rule for a user or a group. what is the option that says so, for sentences; rights are for POLICY_PROXIED, NULL is all.
 * @return OBJD_OK, OBJD_E_INVAL (another rule for the same id, or the daemon's own uid), OBJD_E_LIMIT
 */
objd_status policy_add(struct policy *policy, const char *what, bool is_group, uint32_t id,
                       enum policy_access access, const struct rights *rights);

/* Whether anybody but the daemon's own user may have anything. */
bool policy_is_open(const struct policy *policy);

/*
 * What the peer of this connected socket, of which the kernel has said who it is, may do: what the rule for its uid says; else nothing,
 * if a rule denies one of its groups; else the most that the rules for its groups allow. Of several that let it work through the
 * daemon, one that lets it do everything there counts, or else the first. *ret_rights is what it may do through the daemon, and lives
 * as long as the policy. Whether it may have a handle, and which kind, is the status: a refusal's sentence says who it is, and why not.
 * Whose groups cannot be learnt may do nothing: one of them might be denied.
 * @return OBJD_OK, OBJD_E_ACCESS, OBJD_E_NOMEM, OBJD_E_SYS (its groups cannot be learnt)
 */
objd_status policy_check(const struct policy *policy, int socket, const struct ucred *peer,
                         enum policy_access *ret_access, const struct rights **ret_rights);
