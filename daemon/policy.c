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

/* The groups that the peer is a member of besides its own, as they were when it connected. */
static objd_status add_other_groups(const struct policy *policy, int socket, struct sum *sum)
{
        objd_status r = OBJD_OK;
        socklen_t size = 0;
        gid_t *gids;

        if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0)
                return OBJD_OK;
        if (errno != ERANGE)
                return fail_errno("cannot tell the groups of who connects");
        gids = malloc(size);
        if (!gids)
                return fail(OBJD_E_NOMEM, "no memory for the groups of who connects");
        if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, gids, &size) < 0)
                r = fail_errno("cannot tell the groups of who connects");
        for (size_t i = 0; r == OBJD_OK && i < size / sizeof(*gids); i++)
                add_group(policy, gids[i], sum);
        free(gids);
        return r;
}

static const struct rights *rights_of(enum policy_access access, const struct policy_rule *proxied)
{
        if (access == POLICY_PROXIED)
                return &proxied->rights;
        return access == POLICY_READ_WRITE ? &everything : &reading;
}

static objd_status add_up(const struct policy *policy, int socket, const struct ucred *peer, struct sum *sum)
{
        const struct policy_rule *rule = find_rule(policy, false, peer->uid);
        objd_status r = OBJD_OK;

        if (peer->uid == policy->own) {
                sum->access = POLICY_READ_WRITE;
        } else if (rule) {
                sum->access = rule->access;
                sum->proxied = rule;
        } else if (policy->n_rules) {
                add_group(policy, peer->gid, sum);
                r = add_other_groups(policy, socket, sum);
        }
        if (r || sum->denied)
                sum->access = POLICY_NOTHING;
        return r;
}

bool policy_is_open(const struct policy *policy)
{
        for (size_t i = 0; i < policy->n_rules; i++)
                if (policy->rules[i].access >= POLICY_PROXIED)
                        return true;
        return false;
}

objd_status policy_check(const struct policy *policy, int socket, const struct ucred *peer,
                         enum policy_access *ret_access, const struct rights **ret_rights)
{
        struct sum sum = { .access = POLICY_NOTHING };
        objd_status r = add_up(policy, socket, peer, &sum);

        *ret_access = sum.access;
        *ret_rights = rights_of(sum.access, sum.proxied);
        if (r || sum.access >= POLICY_READ_ONLY)
                return r;
        if (sum.access == POLICY_PROXIED)
                return fail(
                        OBJD_E_ACCESS,
                        "uid %u (gid %u, pid %d) may use this store only through the daemon (proxied), and "
                        "gets no handle to it",
                        (unsigned)peer->uid, (unsigned)peer->gid, (int)peer->pid);
        return fail(OBJD_E_ACCESS,
                    "this store is of uid %u, and uid %u (gid %u, pid %d) is not among those it is open to",
                    (unsigned)policy->own, (unsigned)peer->uid, (unsigned)peer->gid, (int)peer->pid);
}
