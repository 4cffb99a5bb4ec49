/* SPDX-License-Identifier: Apache-2.0 */

/*
 * fork.c -- the page that the kernel wipes in children
 *
 * There is no lock here: a child may be made by a thread while another one is in the middle of this file, and
 * would inherit the lock without its owner. Each step is one atomic operation on a word.
 *
 * `highest` is ordinary memory, which a child inherits. It is raised before the page's word is set from it,
 * so that at any moment of a fork it is at least as high as every generation that anything in the child's
 * memory names.
 */

#include "base/fork.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t never;   /* stays 0: where fork_word points when there is no page */
static uint64_t highest; /* atomic */

/*
 * Without a page: the generation and the pid it belongs to, atomic. Only when the kernel refused us the page.
 */
static uint64_t fallback;

uint64_t *fork_word = &never;

static uint64_t *make_page(void)
{
        size_t size = (size_t)sysconf(_SC_PAGESIZE);
        uint64_t *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        uint64_t *expected = &never;

        if (page == MAP_FAILED)
                return NULL;
        if (madvise(page, size, MADV_WIPEONFORK) == 0 &&
            __atomic_compare_exchange_n(&fork_word, &expected, page, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
                return page;

        /* Refused, or another thread was first. */
        (void)munmap(page, size);
        return expected != &never ? expected : NULL;
}

/* The next generation goes into the word, unless another thread of this process has put one there. */
static uint64_t set_generation(uint64_t *word)
{
        uint64_t next = __atomic_add_fetch(&highest, 1, __ATOMIC_SEQ_CST);
        uint64_t expected = 0;

        if (__atomic_compare_exchange_n(word, &expected, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                return next;
        return expected;
}

/*
 * What is left without a page: another pid than last time is another process. A system call each time, and
 * blind to a child in a new pid namespace that has its parent's number.
 */
static uint64_t compare_pid(void)
{
        uint64_t pid = (uint64_t)getpid();
        uint64_t seen = __atomic_load_n(&fallback, __ATOMIC_SEQ_CST);

        while ((seen & 0xffffffff) != pid) {
                uint64_t next = __atomic_add_fetch(&highest, 1, __ATOMIC_SEQ_CST) << 32 | pid;

                if (__atomic_compare_exchange_n(&fallback, &seen, next, false, __ATOMIC_SEQ_CST,
                                                __ATOMIC_SEQ_CST))
                        return next >> 32;
        }
        return seen >> 32;
}

uint64_t fork_notice(void)
{
        uint64_t *word = __atomic_load_n(&fork_word, __ATOMIC_ACQUIRE);

        /*
         * Once generations have been told apart by pid it stays so: a page would start a new one for the same
         * process.
         */
        if (word == &never && !__atomic_load_n(&fallback, __ATOMIC_SEQ_CST))
                word = make_page();
        return word && word != &never ? set_generation(word) : compare_pid();
}
