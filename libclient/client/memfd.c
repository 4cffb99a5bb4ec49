/* SPDX-License-Identifier: Apache-2.0 */

/*
 * memfd.c -- an arena in anonymous memory
 */

#include "client/memfd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "client/leave.h"
#include "object/directory.h"

/*
 * A memfd is born with mode 0777, and whoever has a descriptor may reopen it through /proc with all that its mode allows;
 * so the mode comes first. Its size is fixed by seals, so that nobody can make the others' mappings fault.
 */
objd_status memfd_create_arena(const char *label, uint64_t size, bool by_process, struct arena **ret_arena)
{
        char name[80];
        struct arena *arena;
        objd_status r;
        int fd;

        snprintf(name, sizeof(name), "objd-%s", label);
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return fail_errno("cannot make a memfd");
        if (fchmod(fd, 0600) < 0) {
                r = fail_errno("cannot change the memfd's mode");
                (void)close(fd); /* nobody has seen it */
                return r;
        }
        r = directory_create_arena(fd, size, by_process, &arena);
        if (r)
                return r;
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
                r = fail_errno("cannot seal the memfd");
                leave_arena(arena, OBJD_NOWAIT);
                arena_unref(arena);
                return r;
        }
        *ret_arena = arena;
        return OBJD_OK;
}
