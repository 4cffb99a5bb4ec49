/* SPDX-License-Identifier: Apache-2.0 */

/* Keys, clock, output: what the programs of the speed table share. The processes are in bench_process.c. */

#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

void bench_die(const char *format, ...)
{
        va_list args;

        fprintf(stderr, "%s: ", program_invocation_short_name);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
        exit(1);
}

uint64_t bench_now(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t bench_random(uint64_t *state)
{
        uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

void *bench_shared(size_t size)
{
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (memory == MAP_FAILED)
                bench_die("no memory for %zu shared bytes: %s", size, strerror(errno));
        return memory;
}

/* The state takes a step per call, so two words never repeat within a run, and the keys are all different. */
void bench_keys_init(struct bench_keys *keys, size_t n, uint64_t seed)
{
        uint64_t state = seed;

        keys->n = n;
        keys->key = (struct bench_key *)bench_shared(n * sizeof(*keys->key));
        keys->ordered = (struct bench_key *)bench_shared(n * sizeof(*keys->ordered));
        keys->order = (uint32_t *)bench_shared(n * sizeof(*keys->order));

        for (size_t i = 0; i < n; i++) {
                uint64_t words[2] = { bench_random(&state), bench_random(&state) };

                memcpy(keys->key[i].bytes, words, sizeof(words));
                keys->order[i] = (uint32_t)i;
        }
        for (size_t i = n - 1; i > 0; i--) {
                size_t j = bench_random(&state) % (i + 1);
                uint32_t swapped = keys->order[i];

                keys->order[i] = keys->order[j];
                keys->order[j] = swapped;
        }
        for (size_t i = 0; i < n; i++)
                keys->ordered[i] = keys->key[keys->order[i]];
}

size_t bench_count(const char *text)
{
        char *end;
        unsigned long long count;

        errno = 0;
        count = strtoull(text, &end, 10);
        if (errno || *end || end == text || count < 2 || count > UINT32_MAX)
                bench_die("\"%s\" is no count from 2 to %" PRIu32, text, UINT32_MAX);
        return (size_t)count;
}

size_t bench_reps(size_t n)
{
        return n <= 200000 ? 15 : 5;
}

size_t bench_passes(size_t n)
{
        return n <= 200000 ? 41 : 11;
}

static int compare_doubles(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

void bench_emit(const char *metric, const char *unit, double *samples, size_t n, const char *note)
{
        double median;

        qsort(samples, n, sizeof(*samples), compare_doubles);
        median = n % 2 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2;
        printf("{\"metric\": \"%s\", \"unit\": \"%s\", \"median\": %.4g, \"min\": %.4g, \"max\": %.4g, "
               "\"reps\": %zu, \"note\": \"%s\"}\n",
               metric, unit, median, samples[0], samples[n - 1], n, note);
        fflush(stdout);
}
