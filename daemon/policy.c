/* SPDX-License-Identifier: Apache-2.0 */

/*
 * policy.c -- who may do what
 */

#include "policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/status.h"

static const struct rights everything, reading = { .read_only = true };

static const struct policy_rule *find_rule(const struct policy *policy, bool is_group, uint32_t id)
{
        for (size_t i = 0; i < policy->n_rules; i++)
                if (policy->rules[i].is_group == is_group && policy->rules[i].id == id)
                        return &policy->rules[i];
        return NULL;
}

objd_status policy_add(struct policy *policy, const char *what, bool is_group, uint32_t id,
                       enum policy_access access, const struct rights *rights)
{
        const struct policy_rule *rule = find_rule(policy, is_group, id);
        struct policy_rule added = { .is_group = is_group, .id = id, .access = access };

        if (rights)
                added.rights = *rights;
        if (!is_group && id == policy->own)
                return fail(OBJD_E_INVAL, "%s: %u is the daemon's own uid, which may always do everything",
                            what, id);
        if (rule && (rule->access != access || !rights_are_equal(&rule->rights, &added.rights)))
                return fail(OBJD_E_INVAL, "%s: another option says something else about %s %u", what,
                            is_group ? "gid" : "uid", id);
        if (policy->n_rules == POLICY_RULES_MAX)
                return fail(OBJD_E_LIMIT, "%s: there are %d rules already, which is all there can be", what,
                            POLICY_RULES_MAX);
        if (!rule)
                policy->rules[policy->n_rules++] = added;
        return OBJD_OK;
}

/* What the groups that were looked at so far amount to. A group that is denied outweighs all others. */
struct sum {
        bool denied;
        enum policy_access access;
        const struct policy_rule
                *proxied; /* the one that counts of those that let it work through the daemon */
};

static bool is_everything(const struct rights *rights)
{
        return rights_allow_all_names(rights) && rights_allow_change(rights);
}

static void add_group(const struct policy *policy, gid_t gid, struct sum *sum)
{
        const struct policy_rule *rule = find_rule(policy, true, gid);

        if (!rule)
                return;
        sum->denied |= rule->access == POLICY_NOTHING;
        if (rule->access == POLICY_PROXIED &&
            (!sum->proxied || is_everything(&rule->rights) ||
             (!is_everything(&sum->proxied->rights) && rule < sum->proxied)))
                sum->proxied = rule;
        if (rule->access > sum->access)
                sum->access = rule->access;
}

/*
 * The groups that the peer is a member of besides its own, as they were when it connected. If they cannot be learnt, it counts as
 * denied: one of them might be.
 */
static void add_other_groups(const struct policy *policy, int socket, struct sum *sum)
{
        socklen_t size = 0;
        gid_t *gids;

        if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0)
                return;
        gids = errno == ERANGE ? malloc(size) : NULL;
        if (gids && getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, gids, &size) == 0)
                for (size_t i = 0; i < size / sizeof(*gids); i++)
                        add_group(policy, gids[i], sum);
        else
                sum->denied = true;
        free(gids);
}

static const struct rights *rights_of(enum policy_access access, const struct policy_rule *proxied)
{
        if (access == POLICY_PROXIED)
                return &proxied->rights;
        return access == POLICY_READ_WRITE ? &everything : &reading;
}

enum policy_access policy_of(const struct policy *policy, int socket, const struct rights **ret_rights)
{
        struct sum sum = { .access = POLICY_NOTHING };
        const struct policy_rule *rule;
        struct ucred peer;
        socklen_t size = sizeof(peer);

        *ret_rights = &reading;
        if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return POLICY_NOTHING;
        rule = find_rule(policy, false, peer.uid);
        if (peer.uid == policy->own) {
                sum.access = POLICY_READ_WRITE;
        } else if (rule) {
                sum.access = rule->access;
                sum.proxied = rule;
        } else if (policy->n_rules) {
                add_group(policy, peer.gid, &sum);
                add_other_groups(policy, socket, &sum);
        }
        if (sum.denied)
                sum.access = POLICY_NOTHING;
        *ret_rights = rights_of(sum.access, sum.proxied);
        return sum.access;
}

bool policy_is_open(const struct policy *policy)
{
        for (size_t i = 0; i < policy->n_rules; i++)
                if (policy->rules[i].access >= POLICY_PROXIED)
                        return true;
        return false;
}

objd_status policy_check(const struct policy *policy, int socket, enum policy_access *ret_access,
                         const struct rights **ret_rights)
{
        struct ucred peer = { .uid = (uid_t)-1, .gid = (gid_t)-1 };
        socklen_t size = sizeof(peer);

        (void)getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size); /* for the sentence only */
        *ret_access = policy_of(policy, socket, ret_rights);
        if (*ret_access >= POLICY_READ_ONLY)
                return OBJD_OK;
        if (*ret_access == POLICY_PROXIED)
                return fail(
                        OBJD_E_ACCESS,
                        "uid %u (gid %u, pid %d) may use this store only through the daemon (proxied), and "
                        "gets no handle to it",
                        (unsigned)peer.uid, (unsigned)peer.gid, (int)peer.pid);
        return fail(OBJD_E_ACCESS,
                    "this store is of uid %u, and uid %u (gid %u, pid %d) is not among those it is open to",
                    (unsigned)policy->own, (unsigned)peer.uid, (unsigned)peer.gid, (int)peer.pid);
}
