/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * word.h -- how shared words are read and written
 *
 * Words that somebody may read while somebody else writes them are accessed with C11 atomics, relaxed unless
 * the name says otherwise; the order between them comes from the fences of lock.h. Copies go word by word
 * for the same reason: a reader that loses the race gets a mixture, which it then throws away, but never
 * undefined behaviour. Shared copies are therefore 8-byte aligned and their sizes rounded up to 8.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* gcc says so by a macro, clang by a feature. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define UNDER_THREAD_SANITIZER 1
#endif

static inline uint64_t word_get(const uint64_t *p)
{
        return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint64_t word_get_acquire(const uint64_t *p)
{
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void word_set(uint64_t *p, uint64_t value)
{
        __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static inline void word_set_release(uint64_t *p, uint64_t value)
{
        __atomic_store_n(p, value, __ATOMIC_RELEASE);
}

/*
 * Adds to a word that only this thread writes, though others may read it meanwhile. x86 does it in one instruction, and
 * keeps it behind all loads and stores before it.
 */
static inline void word_add_own_release(uint64_t *p, uint64_t n)
{
#if defined(__x86_64__) && !defined(UNDER_THREAD_SANITIZER)
        __asm__ volatile("addq %1, %0" : "+m"(*p) : "er"(n) : "cc", "memory");
#else
        word_set_release(p, word_get(p) + n);
#endif
}

static inline uint32_t half_get(const uint32_t *p)
{
        return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint32_t half_get_acquire(const uint32_t *p)
{
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void half_set(uint32_t *p, uint32_t value)
{
        __atomic_store_n(p, value, __ATOMIC_RELAXED);
}

/*
 * Keeps the compiler from moving stores across. Enough where the other side is only ever somebody who has
 * learnt from the kernel that this thread is dead.
 */
static inline void order_for_death(void)
{
        atomic_signal_fence(memory_order_seq_cst);
}

/*
 * The thread sanitizer does not know fences (and warns of them). Every access they order is atomic, so
 * nothing is lost by hiding them from it: on the machines that it runs on, loads stay in order among
 * loads and stores among stores.
 */
static inline void fence_acquire(void)
{
#ifdef UNDER_THREAD_SANITIZER
        atomic_signal_fence(memory_order_seq_cst);
#else
        atomic_thread_fence(memory_order_acquire);
#endif
}

static inline void fence_release(void)
{
#ifdef UNDER_THREAD_SANITIZER
        atomic_signal_fence(memory_order_seq_cst);
#else
        atomic_thread_fence(memory_order_release);
#endif
}

/*
 * Two words out of the arena. x86 has a load of both, of which each is as whole as by itself; volatile, because the compiler
 * may neither split it further nor do it twice.
 */
static inline void pair_copy_out(uint64_t *to, const uint64_t *from)
{
#if defined(__SSE2__) && !defined(UNDER_THREAD_SANITIZER)
        typedef uint64_t pair __attribute__((vector_size(16), aligned(8), may_alias));

        *(pair *)to = *(const volatile pair *)from;
#else
        uint64_t first = word_get(from), second = word_get(from + 1);

        to[0] = first;
        to[1] = second;
#endif
}

static inline size_t round8(size_t size)
{
        return (size + 7) & ~(size_t)7;
}

/*
 * Out of the arena into private memory, and the other way round. Both ends are 8-byte aligned; size is
 * rounded up to 8, so both ends must have that much.
 */
static inline void words_out(void *dst, const void *src, size_t size)
{
        uint64_t *to = dst;
        const uint64_t *from = src;
        size_t n = round8(size) / 8;

        for (; n >= 4; n -= 4, to += 4, from += 4) {
                uint64_t a = word_get(from), b = word_get(from + 1), c = word_get(from + 2),
                         d = word_get(from + 3);

                to[0] = a;
                to[1] = b;
                to[2] = c;
                to[3] = d;
        }
        for (; n; n--)
                *to++ = word_get(from++);
}

static inline void words_in(void *dst, const void *src, size_t size)
{
        uint64_t *to = dst;
        const uint64_t *from = src;
        size_t n = round8(size) / 8;

        for (; n >= 4; n -= 4, to += 4, from += 4) {
                word_set(to, from[0]);
                word_set(to + 1, from[1]);
                word_set(to + 2, from[2]);
                word_set(to + 3, from[3]);
        }
        for (; n; n--)
                word_set(to++, *from++);
}

/* From one place of the arena to another that nobody can reach yet. */
static inline void words_across(void *dst, const void *src, size_t size)
{
        uint64_t *to = dst;
        const uint64_t *from = src;

        for (size_t n = round8(size) / 8; n; n--)
                word_set(to++, word_get(from++));
}
