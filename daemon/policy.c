/* SPDX-License-Identifier: Apache-2.0 */

/*
 * policy.c -- who may have the arena
 */

#include "policy.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/status.h"

static bool has_uid(const struct policy *policy, uid_t uid)
{
        if (uid == policy->own)
                return true;
        for (size_t i = 0; i < policy->n_uids; i++)
                if (policy->uids[i] == uid)
                        return true;
        return false;
}

static bool has_gid(const struct policy *policy, gid_t gid)
{
        for (size_t i = 0; i < policy->n_gids; i++)
                if (policy->gids[i] == gid)
                        return true;
        return false;
}

/* The groups that the peer is a member of besides its own, as they were when it connected. */
static bool has_peer_group(const struct policy *policy, int socket)
{
        socklen_t size = 0;
        bool found = false;
        gid_t *gids;

        if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
                return false; /* none, or none that the kernel would tell */
        gids = malloc(size);
        if (!gids)
                return false;
        if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, gids, &size) == 0)
                for (size_t i = 0; i < size / sizeof(*gids) && !found; i++)
                        found = has_gid(policy, gids[i]);
        free(gids);
        return found;
}

objd_status policy_check(const struct policy *policy, int socket)
{
        struct ucred peer;
        socklen_t size = sizeof(peer);

        if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return fail_errno("cannot tell who connects");
        if (has_uid(policy, peer.uid) || has_gid(policy, peer.gid))
                return OBJD_OK;
        if (policy->n_gids && has_peer_group(policy, socket))
                return OBJD_OK;
        return fail(OBJD_E_ACCESS,
                    "this store is of uid %u, and uid %u (gid %u, pid %d) is not among those it is open to",
                    (unsigned)policy->own, (unsigned)peer.uid, (unsigned)peer.gid, (int)peer.pid);
}
