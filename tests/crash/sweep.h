/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * sweep.h -- an operation, and what must hold wherever its process dies
 *
 * A test says how the store is built, what the victim does before its instructions are counted, and what the operation is.
 * The rest is the same for all: what a store holds before and after the operation is learnt from two victims that
 * die right before and right after it; whatever a victim leaves that dies in between must be one of the two.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <objd.h>

#include "crash/step.h"

#define TARGET 1000000 /* the key that operations on dicts work on; others are smaller */
#define MIB (1ULL << 20)

struct op_test;

enum op_edge {
        EDGE_NONE,
        EDGE_TAKES,  /* it needs more memory than its object has */
        EDGE_GIVES,  /* it gives some of it back */
        EDGE_SHARDS, /* dict: it makes shards */
        EDGE_DEEPER  /* dict: a shard gets a directory, or a deeper one */
};

/* What a victim has opened. */
struct victim {
        const struct op_test *test;
        objd_object *it, *other;
        objd_batch *batch;
        objd_value key, value;
        objd_buf buf;
        objd_items *items;
        objd_pin *pin;
        uint64_t lease;
};

typedef objd_status (*victim_fn)(struct objd_conn *conn, struct victim *v);

struct op_test {
        const char *name;
        objd_kind kind;     /* of the object "it", for which a writer that comes next looks */
        const char *target; /* another name than "it" */
        uint64_t size;      /* of the arena; 0: 2 MiB */
        int64_t fill;       /* entries or items */
        enum op_edge edge;  /* the operation is done so often before that the next time is on this edge */
        size_t fill_value;  /* bytes of their values; 8: a number */
        size_t old_value;   /* dict: bytes of the target's value before, 0: it is not there */
        size_t new_value;   /* bytes of the value that the operation brings */
        int64_t at;         /* list: an index; queue: how many; others: as the operation likes */
        objd_order order;   /* queue */
        uint64_t bound;     /* queue */
        uint32_t flags;     /* lock */
        bool one_shard;     /* dict: all keys above 1000 are in the same shard */
        bool silent;        /* before and after look the same, for the operation is undone or shows nothing */
        bool large;         /* so many instructions that a sample's deaths are at random moments */
        bool any_order;     /* items may be in another order, depending on when whose lease is given back */
        enum step_victim victim;

        void (*build)(struct objd_conn *conn, const struct op_test *test);
        victim_fn prepare; /* on top of what all do: it opens "it" and "other" */
        victim_fn run;
        objd_status (*write)(struct objd_conn *conn,
                             const struct op_test *test); /* NULL: to whatever kind "it" is of */

        int64_t again; /* how often that is; found out before the sweep */
        int64_t key;   /* dict: of the target; TARGET, but on an edge the next one */
};

struct op_table {
        struct op_test *tests;
        size_t n;
};

#define OP_TABLE(array)                                                   \
        {                                                                 \
                .tests = (array), .n = sizeof(array) / sizeof((array)[0]) \
        }

extern const struct op_table dict_ops, list_ops, queue_ops, lock_ops, object_ops, batch_ops, life_ops,
        session_ops, load_ops;

/* Keys of a pair's operations; others are taken as they stand. */
enum {
        KEY_TARGET = -1, /* the store's own */
        KEY_NEAR = -2,   /* one that is not there, in the same shard */
        KEY_FAR = -3     /* one that is not there, in another shard */
};

/* Two operations that two victims are in at once, in one store. */
struct pair_test {
        const char *store;     /* an operation's name: its store, as it is before that operation */
        const char *operation; /* by name */
        int64_t key;           /* dict: of it */
        const char *other;
        int64_t other_key;
};

extern const struct pair_test pair_tests[];
extern const size_t n_pair_tests;

struct sweep_options {
        bool all;        /* everywhere */
        bool recovery;   /* kills recovery as well */
        bool large;      /* steps through large operations in a sample, too */
        uint64_t stride; /* of a sample: at which of the places where memory has changed */
        uint64_t from;   /* the first instruction to look at, to see a failure again */
        uint64_t seed;   /* of hashes and places */
        bool show; /* what the store holds after a write that comes next, before the operation and after it */
};
extern struct sweep_options sweep_options;

/* What sweeps have done, added up over all of them; lives in memory that processes share. */
struct sweep_sums {
        uint64_t operations;
        uint64_t instructions;   /* of operations at which they could be killed */
        uint64_t states;         /* different memory at them, each looked at by two that come next */
        uint64_t kills;          /* of these, by SIGKILL */
        uint64_t logs;           /* different states of a log, with nobody and with one recoverer before */
        uint64_t logs_recovered; /* of these, from which recovery was killed */
        uint64_t recovery_instructions; /* of recoveries, at which they could be killed */
        uint64_t recovery_states;       /* different memory at them, each looked at */
        uint64_t faults;
        uint64_t pairs;       /* of operations, in their order; likewise with two victims: */
        uint64_t pair_places; /* instructions of the second, for each of those that the first was left at */
        uint64_t pair_first;  /* states of the first that there are */
        uint64_t pair_looked; /* of these, at which the second was stepped */
        uint64_t pair_states; /* different memory of both, each looked at */
        uint64_t pair_waits;  /* how often the second came to wait for the first */
        uint64_t longest_ns;  /* that anybody who came next took for its write, at the best of three times */
};

/* Looks at one operation, or at two, wherever their processes may die. In a process of its own, which is its parameter's. */
struct sweep_job {
        struct op_test *test;
        const struct pair_test *pair;
        struct sweep_sums *sums;
};
int sweep_operation(void *job);
int sweep_pair(void *job);
int sweep_adoption(void *job); /* needs no test of the job */
#define ADOPTION_NAME "daemon: takes a store up"

/* The operation of this name; ends the process if there is none. */
const struct op_test *find_operation(const char *name);

/* The image of a store in which the operation can begin, and nobody has a lane. */
void sweep_build(struct op_test *test, struct image *ret_image);

/* ---- What operations share (ops.c) ---------------------------------------------------------------------- */

/* The value of this size: bytes that begin with their own size; 8 is the number 10. Two of them may be used at once. */
objd_value value_of(size_t size);

/* Opens "it" or another object, made with this configuration if it is not there; ends the process if that fails. */
objd_object *open_it(struct objd_conn *conn, const char *name, objd_kind kind, const objd_config *config);

/* Builders end the process if something fails. */
void must(objd_status r, const char *what);

/* Builds the store: what the test says, and so many times the operation as bring it to its edge. */
void build_store(struct objd_conn *conn, struct op_test *test);

/* Everything that the store holds, as a number, and the bytes that it has given out. */
uint64_t digest_store(struct objd_conn *conn, bool any_order);
uint64_t digest_used(struct objd_conn *conn);

/* The same for people: the first objects with their first entries. */
void print_store(struct objd_conn *conn);

/* Opens what the victim works on; then the test's own preparations. */
objd_status prepare_victim(struct objd_conn *conn, void *victim);
objd_status run_victim(struct objd_conn *conn, void *victim);

/* Writes to "it", whatever its kind, and to "other". */
objd_status write_next(struct objd_conn *conn, const struct op_test *test);

const char *target_of(const struct op_test *test);

/* The next key after this one in the same shard, or in another. */
int64_t key_beside(struct objd_conn *conn, int64_t key, bool same_shard);
