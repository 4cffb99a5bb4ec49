/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * op.h -- an operation as plain data, and how a list of them becomes one atomic step
 *
 * A kind describes its operations by three functions (kind.h): plan says which lines an operation needs, apply changes the
 * object with those lines locked, and a read has its own function without locks. op_run() sorts the lines
 * of all operations, locks them, plans once more, since what a plan was read from may have changed, applies
 * and commits.
 */

#include <objd.h>

#include <string.h>

#include "object/object.h"

enum op_code {
        OP_NONE = 0,
        OP_CREATE,
        OP_DESTROY,
        OP_RENAME,
        OP_DUMP,
        OP_DICT_SET,
        OP_DICT_SET_NEW,
        OP_DICT_CAS,
        OP_DICT_ADD_INT,
        OP_DICT_ADD_FLOAT,
        OP_DICT_GET,
        OP_DICT_DEL,
        OP_DICT_POP,
        OP_DICT_POP_ANY,
        OP_DICT_CLEAR,
        OP_DICT_REHASH,
        OP_LIST_APPEND,
        OP_LIST_PREPEND,
        OP_LIST_EXTEND,
        OP_LIST_INSERT,
        OP_LIST_SET,
        OP_LIST_GET,
        OP_LIST_DEL,
        OP_LIST_POP,
        OP_LIST_REMOVE,
        OP_LIST_SLICE_DEL,
        OP_LIST_CLEAR,
        OP_LIST_REVERSE,
        OP_LIST_SORT,
        OP_QUEUE_PUT,
        OP_QUEUE_GET,
        OP_QUEUE_CLOSE,
        OP_QUEUE_POISON,
        OP_QUEUE_TASK_DONE,
        OP_QUEUE_LEASE,
        OP_QUEUE_ACK,
        OP_QUEUE_GIVE_BACK,
        OP_QUEUE_REAP,
        OP_LOCK_TAKE,
        OP_LOCK_GIVE,
        N_OPS
};

extern const char *const op_name[N_OPS];

/* A dict's key: its bytes, which are somebody else's, and what is made of them. */
struct key {
        const uint8_t *data;
        uint32_t size;
        uint32_t type;
        uint64_t hash;
        bool keyed; /* the hash is that of a dict with a hash of its own */
};

struct op {
        enum op_code code;
        struct objd_object *object;
        const objd_value *key;
        const objd_value *value;    /* one, or the first of n */
        const objd_value *expected; /* OP_DICT_CAS; NULL is "no such key" */
        size_t n;                   /* OP_LIST_EXTEND, OP_QUEUE_PUT: how many values; OP_QUEUE_GET: at most */
        int64_t index;              /* list index; slice start */
        int64_t stop;               /* slice stop */
        union {
                int64_t integer; /* OP_DICT_ADD_INT; OP_QUEUE_PUT: priority; OP_QUEUE_LEASE: lease_ns */
                double real;     /* OP_DICT_ADD_FLOAT */
                uint64_t
                        lease; /* OP_QUEUE_ACK, GIVE_BACK; set by OP_QUEUE_LEASE. OP_LOCK_TAKE: sets the token */
                bool descending; /* OP_LIST_SORT */
        } u;

        /* From plan to apply. */
        struct key made; /* of a dict: the key, checked and hashed */
        struct line_shm
                *line; /* the line that plan chose, if it is one; when plan is called again, it is locked */
        uint64_t seen; /* of a queue: what a refused operation saw of the line that it would wait on */

        /* Results. value points into buf, key (OP_DICT_POP_ANY) too. items is for operations that give several. */
        objd_buf *buf;
        struct items_builder *items;
        objd_value result_key; /* these two last: op_init() leaves them as they are */
        objd_value result;
};

/* An operation without arguments yet. The results are not cleared: they are a third of its size, and few have any. */
static inline void op_init(struct op *op, enum op_code code, struct objd_object *object)
{
        memset(op, 0, offsetof(struct op, result_key));
        op->code = code;
        op->object = object;
}

/*
 * What plan may answer when it is called for the second time, with the lines locked: what it went by has changed.
 * Everything is given back, and planned anew.
 */
#define OP_PLAN_AGAIN ((objd_status)-1)

/*
 * What a dict may answer when it is to store a key: too many of its keys have the same hash. Nothing has been changed; the
 * dict is given a hash of its own (op_once_more()), and all is planned anew.
 */
#define OP_REHASH ((objd_status)-4)

/*
 * How often one call plans anew. Each time somebody else must have changed just what was planned from, so this is never met,
 * unless the object contradicts itself.
 */
#define OP_PLANS_MAX 2000u

#define PLAN_LINES (LANE_LOCKS - 2)

/* The lines that a list of operations needs. Sorted and without doubles when they are locked. */
struct plan {
        struct line_shm *lines[PLAN_LINES];
        size_t n;
};

/* @return OBJD_OK, OBJD_E_LIMIT */
objd_status plan_add(struct plan *plan, struct line_shm *line);

/* Locks (or freezes) all of it in the order of offsets; asks whether the lane holds all of it. */
void plan_sort(struct plan *plan);
objd_status plan_lock(struct lane *lane, struct plan *plan);
objd_status plan_freeze(struct lane *lane, struct plan *plan);
bool plan_is_held(const struct lane *lane, const struct plan *plan);

/*
 * Runs n operations on objects of one connection as one step. On failure nothing has changed, and *ret_failed (may be
 * NULL) is the operation that said no.
 */
objd_status op_run(struct objd_conn *conn, struct op *ops, size_t n, size_t *ret_failed);

/*
 * Inside a call: whether what an attempt has answered means that there is to be another one. If a dict asks for a hash of
 * its own, it is given one first, in an operation by itself, which may fail: then *r says how. So it does, with OBJD_E_CORRUPT,
 * when that has been so too often; *n_plans begins as 0.
 */
bool op_once_more(struct lane *lane, struct objd_object *dict, uint32_t *n_plans, objd_status *r);

/* The same for a single one on its own object's connection; the common case is a single line. */
objd_status op_run_one(struct op *op);

/* What is collected by operations that give several items; becomes an objd_items. Begins as all zeros. */
struct items_builder {
        objd_item *item;
        size_t len, room;
        uint8_t *
                bytes; /* encoded keys and values, 8-byte aligned; items hold offsets into it until items_finish() */
        size_t used, size;
        void *whole; /* what items_finish() gives out, if it was allocated ahead */
};

/*
 * Appends an item that was found; the encoded bytes are copied out of the arena by words_out(), and looked at only by
 * items_finish(): a caller that reads without a lock may find out afterwards that they were no good, and cut
 * them off again. key_type OBJD_ANY: no key. @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_CORRUPT (size)
 */
objd_status items_add(struct items_builder *builder, objd_type key_type, const void *key, uint64_t key_size,
                      objd_type value_type, const void *value, uint64_t value_size);

/* Appends an item that was not found: NIL, without a key. @return OBJD_OK, OBJD_E_NOMEM */
objd_status items_add_missing(struct items_builder *builder);

/* Forgets all items but the first len. */
void items_cut(struct items_builder *builder, size_t len);

/* After this items_finish() needs no memory: for callers that cannot undo what they collected. @return OBJD_OK, OBJD_E_NOMEM */
objd_status items_prepare(struct items_builder *builder);

/*
 * Hands everything over to *ret_items and empties the builder; after a failure it is only good for items_discard().
 * @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_CORRUPT
 */
objd_status items_finish(struct items_builder *builder, objd_items **ret_items);

/* Frees what is in it; harmless on one that is empty. */
void items_discard(struct items_builder *builder);

/* Bytes of memory that they take; NULL takes none. */
size_t items_memory(const objd_items *items);
