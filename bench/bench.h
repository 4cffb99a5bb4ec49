/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_H
#define BENCH_H

/*
 * What every program of the speed table shares: the clock, the keys and their random access order, the
 * output line, and the harness for two processes at once. Both objbench and the peers are built on it, so
 * that a row differs in nothing but the store it measures.
 *
 * A program measures one thing per run and prints one JSON line per metric:
 *
 *     {"metric": "get", "unit": "ns", "median": 61.2, "min": 59.9, "max": 70.3, "reps": 15, "note": ""}
 *
 * The median is that of the repetitions; ns are for one operation. bench/run starts the programs in turns
 * and takes the medians of the rounds.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_KEY_SIZE 16
#define BENCH_VALUE_SIZE 100
#define BENCH_ITEM_SIZE 64     /* a queue's item */
#define BENCH_QUEUE_BOUND 1024 /* the depth of every bounded queue that may choose it */
#define BENCH_MAX_REPS 64

struct bench_key {
        unsigned char bytes[BENCH_KEY_SIZE];
};

struct bench_value {
        unsigned char bytes[BENCH_VALUE_SIZE];
};

/*
 * n different random keys. order is a random permutation of 0 .. n-1 and ordered[i] is key[order[i]], so that
 * a timed loop that goes through ordered touches the store in random order and reads its keys in a row.
 */
struct bench_keys {
        size_t n;
        struct bench_key *key;
        struct bench_key *ordered;
        uint32_t *order;
};

/* The same seed gives the same keys in every program. The memory is mapped: the heap stays untouched. */
void bench_keys_init(struct bench_keys *keys, size_t n, uint64_t seed);

void bench_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Monotonic nanoseconds. */
uint64_t bench_now(void);

/* A mixing step with a period of 2^64. */
uint64_t bench_random(uint64_t *state);

/* Binds this thread to the first (0) or last (1) processor that the program may run on. */
void bench_pin(unsigned side);

/* A TCP port of the loopback that was free a moment ago. */
unsigned bench_free_port(void);

/* Zeroed memory that forked children share. */
void *bench_shared(size_t size);

/* Parses a count such as "100000" from the command line; dies if it is none. */
size_t bench_count(const char *text);

/* How often to repeat a loop of n operations: often enough for a median, seldom enough for a run to end. */
size_t bench_reps(size_t n);

/* The same for bench_pair(), whose ratios want more of them. */
size_t bench_passes(size_t n);

/* Sorts the samples and prints the metric's line. unit is ns, x (a ratio), B, KiB or MiB. */
void bench_emit(const char *metric, const char *unit, double *samples, size_t n, const char *note);

/*
 * A private hash for the peers that need one. The keys are random, so two multiplications are enough, and it
 * is as cheap as a hash can be.
 */
static inline uint64_t bench_hash(const struct bench_key *key)
{
        uint64_t a, b;

        memcpy(&a, key->bytes, sizeof(a));
        memcpy(&b, key->bytes + sizeof(a), sizeof(b));
        return ((a + b * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9)) >> 32;
}

/* A value that carries its key's index, so that what is read can be checked by a sum. */
static inline void bench_value_fill(struct bench_value *value, uint64_t index)
{
        memcpy(value->bytes, &index, sizeof(index));
}

static inline uint64_t bench_value_index(const void *value)
{
        uint64_t index;

        memcpy(&index, value, sizeof(index));
        return index;
}

/* Makes the compiler believe that all of this memory is read here. */
static inline void bench_consume(const void *memory)
{
        __asm__ volatile("" : : "r"(memory) : "memory");
}

/* The sum of 0 .. n-1: what the values of n entries add up to. */
static inline uint64_t bench_sum(uint64_t n)
{
        return n * (n - 1) / 2;
}

/*
 * Two processes. Each is bound to a processor of its own and runs work(arg, side, pass), which does n_ops
 * operations; in each pass first side 0 alone (the other one sleeps), then side 1 alone, then both from a
 * common start. Prints, for side 0 and 1, "alone0", "both0", "kept0" and so on, where kept is alone/both: the
 * part of its speed that is left; and "together", the sum of the two: how many times the work of one is done.
 * setup may be NULL; each child calls it once before all.
 */
typedef void (*bench_work)(void *arg, unsigned side, size_t pass);
typedef void (*bench_setup)(void *arg, unsigned side);

void bench_pair(bench_setup setup, bench_work work, void *arg, size_t n_ops, size_t n_passes);

/*
 * A stream from one process (on one processor) to another (on the other): produce(arg, n) and consume(arg, n)
 * run from a common start, and the time until the consumer has its last item counts. Prints "stream".
 */
typedef void (*bench_stream_end)(void *arg, size_t n);

void bench_stream(bench_stream_end produce, bench_stream_end consume, void *arg, size_t n, size_t reps,
                  const char *note);

/*
 * The wake of a sleeper. For each of the ways in turn a process calls wait(arg), which must block; once the
 * kernel shows it asleep and another 200 us have passed, the other one, on its own processor, calls
 * wake(arg). The time from before wake() to after wait() counts, if the sleeper has really slept. Prints one
 * line per way.
 */
struct bench_way {
        const char *metric;
        void (*wait)(void *arg);
        void (*wake)(void *arg);
        void *arg;
};

void bench_wake(const struct bench_way *ways, size_t n_ways, size_t n_samples);

/* The way that all others are compared with: a word, FUTEX_WAIT and FUTEX_WAKE, and nothing else. */
struct bench_way bench_bare_futex(void);

#ifdef __cplusplus
}
#endif

#endif
