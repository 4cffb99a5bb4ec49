/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * call.h -- a call of objd.h as plain data, and its answer
 *
 * What the proxied functions fill in and what the daemon runs. Nothing here knows how it travels (wire.h), and nothing
 * here owns memory: whoever made a call or an answer keeps what it points to until it is done with.
 */

#include <objd.h>

#include <string.h>

/* The numbers go over the wire, and never change: schema/objd.proto has the same. */
enum call_code {
        CALL_NONE = 0,

        CALL_STORE_STATS = 1,
        CALL_STORE_LIST = 2,   /* name: the prefix */
        CALL_STORE_REPORT = 3, /* report, timeout_ns; name: of which object (NULL: of all) */

        CALL_OBJECT_CREATE = 20, /* name (NULL: anonymous), kind, config */
        CALL_OBJECT_OPEN = 21,   /* name, kind */
        CALL_OBJECT_OPEN_OR_CREATE = 22,
        CALL_OBJECT_OPEN_REF = 23, /* object, kind */
        CALL_OBJECT_DELETE = 24,   /* name */
        CALL_OBJECT_DESTROY = 25,  /* object */
        CALL_OBJECT_SET_NAME = 26, /* object, name */
        CALL_OBJECT_INFO = 27,     /* object */

        /* Of anonymous objects of the session's own, for those who load a dump. */
        CALL_OBJECT_SET_STATE = 28, /* object, state */
        CALL_OBJECT_NAME_ALL =
                29, /* object: a dict with all of them, by the names that they are to have, or a number */
        CALL_OBJECT_REPLACE_ALL = 30, /* the same; what has such a name is deleted */

        CALL_DICT_GET = 40,
        CALL_DICT_SET = 41,
        CALL_DICT_SET_NEW = 42,
        CALL_DICT_CAS = 43,       /* expected or NULL; one value, or none to delete */
        CALL_DICT_ADD_INT = 44,   /* integer */
        CALL_DICT_ADD_FLOAT = 45, /* real */
        CALL_DICT_DEL = 46,
        CALL_DICT_POP = 47,
        CALL_DICT_POP_ANY = 48,
        CALL_DICT_CONTAINS = 49,
        CALL_DICT_LEN = 50,
        CALL_DICT_CLEAR = 51,
        CALL_DICT_SET_MANY = 52, /* as many keys as values */
        CALL_DICT_GET_MANY = 53,
        CALL_DICT_COPY = 54,
        CALL_DICT_CURSOR = 55, /* position (none: the beginning), max */

        CALL_LIST_APPEND = 70,
        CALL_LIST_PREPEND = 71,
        CALL_LIST_EXTEND = 72,
        CALL_LIST_INSERT = 73, /* index */
        CALL_LIST_GET = 74,
        CALL_LIST_SET = 75,
        CALL_LIST_DEL = 76,
        CALL_LIST_POP = 77,
        CALL_LIST_REMOVE = 78,
        CALL_LIST_SLICE = 79, /* index, stop */
        CALL_LIST_SLICE_DEL = 80,
        CALL_LIST_LEN = 81,
        CALL_LIST_CLEAR = 82,
        CALL_LIST_INDEX = 83, /* index, stop, value */
        CALL_LIST_COUNT = 84,
        CALL_LIST_REVERSE = 85,
        CALL_LIST_SORT = 86, /* descending */

        CALL_QUEUE_PUT = 100, /* timeout_ns, here and in all that may wait */
        CALL_QUEUE_PUT_PRIORITY = 101,
        CALL_QUEUE_PUT_MANY = 102,
        CALL_QUEUE_GET = 103,
        CALL_QUEUE_GET_MANY = 104, /* max */
        CALL_QUEUE_PEEK = 105,
        CALL_QUEUE_LEN = 106,
        CALL_QUEUE_CLOSE = 107,
        CALL_QUEUE_POISON = 108,
        CALL_QUEUE_TASK_DONE = 109,
        CALL_QUEUE_JOIN = 110,
        CALL_QUEUE_GET_LEASE = 111, /* integer: lease_ns */
        CALL_QUEUE_ACK = 112,       /* lease */
        CALL_QUEUE_GIVE_BACK = 113,

        CALL_LOCK_TAKE = 130,
        CALL_LOCK_GIVE = 131,
        CALL_LOCK_OWNER = 132,

        CALL_SESSION_PING = 150,
        CALL_SESSION_END = 151,         /* the last call of a session: what it holds is released */
        CALL_SESSION_THREAD_GONE = 152, /* thread: what it holds is released */

        CALL_CODES = 160 /* above all of them */
};

/* Which pair of messages a code travels in. */
enum call_group {
        GROUP_NONE = 0,
        GROUP_STORE,
        GROUP_OBJECT,
        GROUP_DICT,
        GROUP_LIST,
        GROUP_QUEUE,
        GROUP_LOCK,
        GROUP_SESSION
};

/* Items that one CALL_QUEUE_GET_MANY gives at most; then there may be more. */
#define CALL_GET_AT_ONCE 1024u

/* Properties of a code. */
#define CALL_MUTATES 1u     /* changes the store, so it must not be run twice, and not by who may only read */
#define CALL_BLOCKS 2u      /* may wait for as long as timeout_ns says */
#define CALL_IN_ATOMIC 4u   /* may stand in an atomic batch */
#define CALL_KEY 8u         /* takes one key, */
#define CALL_KEYS 16u       /* or any number of them */
#define CALL_VALUE 32u      /* takes one value, */
#define CALL_VALUES 64u     /* or any number of them; with CALL_KEYS, one for each key */
#define CALL_MAYBE 128u     /* the value may be missing */
#define CALL_ON_OBJECT 256u /* `object` says which */
#define CALL_NAMED 512u     /* takes a name, which may only be missing with CALL_MAYBE_NAMED */
#define CALL_MAYBE_NAMED 1024u

struct call_properties {
        const char *name; /* "dict get", for sentences and logs; NULL: there is no such code */
        enum call_group group;
        uint32_t flags;
};

extern const struct call_properties call_table[CALL_CODES];

/* What is known about a code, also one from a stranger; for one that is none, name is NULL. */
static inline const struct call_properties *call_properties(uint32_t code)
{
        /* CALL_NONE has no name: the answer for every number that is none. */
        return &call_table[code < CALL_CODES ? code : CALL_NONE];
}

/* What an object has beyond its entries; 0 where that makes no sense for its kind. */
struct call_state {
        uint64_t unfinished; /* beyond those of its items */
        bool taken;
        uint64_t token;
};

/* A piece of a report on the store. What there are reports on is the daemon's business. */
struct call_report {
        uint64_t number; /* of the session's reports; it is begun by asking for its first piece */
        uint32_t what;
        uint64_t limit;
        bool atomic;
        uint64_t position; /* how much of it has come */
};

/* Which fields a code uses stands above; the others are 0. */
struct call {
        enum call_code code;
        uint32_t thread; /* which of the client's threads calls: locks belong to threads */
        objd_ref object;
        const char *name; /* ends with a NUL */
        objd_kind kind;
        const objd_config *config; /* NULL: none was given */
        const objd_value *keys;
        const objd_value *values;
        const objd_value *expected;
        size_t n_keys, n_values;
        int64_t index, stop;
        int64_t integer; /* what is added; the priority; lease_ns */
        double real;
        uint64_t lease;
        uint64_t max;
        int64_t timeout_ns;
        const void *position;
        size_t position_size;
        const struct call_report *report;
        const struct call_state *state;
        bool descending;
};

/*
 * Results. Each is only there if the code has it, and may be there beside a status that is not OBJD_OK (a lock whose owner
 * died). value and key have type OBJD_ANY if there is none.
 */
struct answer {
        enum call_code code; /* of the call; CALL_NONE in what has come over the wire: who called knows */
        objd_status status;
        const char *sentence;   /* of a status that is not OBJD_OK */
        uint64_t number;        /* length, count, index; a lock's token; the lease */
        int64_t integer;        /* a sum; the pid of a lock's owner */
        double real;            /* a sum */
        bool truth;             /* contained; taken; a cursor or a report that is at its end */
        const objd_info *infos; /* one of an object that was made, opened or asked about; all of a list */
        const objd_stats *stats;
        const objd_item *items; /* of a list's and queue's items only the values are set */
        size_t n_infos, n_items;
        const void *position; /* of a cursor, for the next call; opaque */
        size_t position_size;
        objd_value value, key; /* last: answer_init() clears no more of them than the type */
};

static inline void answer_init(struct answer *answer)
{
        memset(answer, 0, offsetof(struct answer, value));
        answer->value.type = OBJD_ANY;
        answer->key.type = OBJD_ANY;
}

/* Calls that are sent together, and run in order. */
struct call_batch {
        uint64_t seq;   /* place among the session's batches */
        uint64_t acked; /* all replies up to this one have arrived */
        bool atomic;
        bool cancel; /* without calls: the batch of this number, which has been sent, is to wait for nothing more */
        int64_t timeout_ns; /* how long to wait for a living process in the middle of a change (objd_set_timeout()) */
        const uint64_t *
                unanswered; /* if n_unanswered is not 0: all before this one, of which there is no reply yet */
        size_t n_unanswered;
        const struct call *calls;
        size_t n_calls;
};

struct call_reply {
        uint64_t seq;
        objd_status status;   /* of the batch as a whole: if it is not OBJD_OK there may be no answers */
        const char *sentence; /* NULL: none */
        uint32_t failed; /* atomic: 1 + the place of the call that failed, 0 if it is none in particular */
        const struct answer *answers;
        size_t n_answers;
};
