/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * model_list.h -- what the parts of the test of lists share: model_list.c has the model and the run, list_codes.c the values,
 * list_shared.c what is done to lists that several change
 */

#include <objd.h>

#include "support/random.h"

#define N_SHARED 3 /* threads on the shared lists: two in one process, the others in one each */
#define FIXED_ITEMS 3000

/* For the reader of a failure. */
extern uint64_t seed;
extern _Thread_local uint64_t step;

void die(const char *file, int line, const char *format, ...) __attribute__((noreturn, format(printf, 3, 4)));

#define expect(condition)                                                  \
        do {                                                               \
                if (!(condition))                                          \
                        die(__FILE__, __LINE__, "not so: %s", #condition); \
        } while (0)

#define expect_status(call, status)                                                           \
        do {                                                                                  \
                objd_status r_ = (call);                                                      \
                if (r_ != (status))                                                           \
                        die(__FILE__, __LINE__, "%s gives %s (%s)", #call, objd_strerror(r_), \
                            objd_last_error());                                               \
        } while (0)

#define expect_ok(call) expect_status(call, OBJD_OK)

/* ---- list_codes.c: values, each made from a number, which is all that the model keeps ------------------------ */

void make_bytes(void); /* once, before any other */
objd_value value_from(uint64_t code);

/* As objd_list_sort() has to order the values of these two. */
int order(uint64_t a_code, uint64_t b_code);

/* ---- list_shared.c ------------------------------------------------------------------------------------------- */

/* What each process says it has done; in memory that all share, and written once, at its end. */
struct tally {
        uint64_t n_put, n_got, sum_put, sum_got;
};

struct shared_run {
        objd_object *tokens, *fixed;
        uint64_t who, seed, n_steps;
        struct tally *tally;
};

void *run_shared(void *context);

/* The first two in threads of one process, which the thread sanitizer can watch. */
void run_shared_pair(struct shared_run run[2]);

/* What was put in came out, or is there still. */
void expect_conserved(objd_object *tokens, const struct tally *tally);

/* Every slice of the list that is only sorted and turned round has all numbers from 0 on. */
void look_at_fixed(objd_object *list);
