/* SPDX-License-Identifier: Apache-2.0 */
/*
 * survive.c -- going on when somebody cuts the arena's file short
 */

#include "arena/survive.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* What the handler works with; written before it is set up. */
static uint8_t *base;
static uint64_t mapped;
static int arena_fd;
static volatile sig_atomic_t was_cut;

/* Only what may be called in a handler. The page that is missing, and everything behind it if the file ends before it. */
static void on_bus_error(int signal_number, siginfo_t *info, void *context)
{
        uint64_t off = (uint64_t)((uint8_t *)info->si_addr - base) & ~(uint64_t)(PAGE_SIZE - 1),
                 size = PAGE_SIZE;
        struct stat st;

        (void)context;
        if ((uint8_t *)info->si_addr < base || off >= mapped) {
                (void)signal(signal_number, SIG_DFL); /* not ours: what is done again ends the process */
                return;
        }
        was_cut = 1;
        if (fstat(arena_fd, &st) == 0 && (uint64_t)st.st_size <= off)
                size = mapped - off;
        if (mmap(base + off, size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
                (void)signal(signal_number, SIG_DFL);
}

void survive_truncation(const struct arena *arena)
{
        struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER };

        base = arena->base;
        mapped = arena->mapped;
        arena_fd = arena->fd;
        (void)sigemptyset(&action.sa_mask);
        (void)sigaction(SIGBUS, &action, NULL); /* cannot fail with these arguments */
}

bool survive_was_cut(const struct arena *arena)
{
        struct stat st;

        return was_cut || (fstat(arena->fd, &st) == 0 && (uint64_t)st.st_size < arena->mapped);
}
