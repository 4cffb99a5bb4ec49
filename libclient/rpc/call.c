/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call.c -- what is known about each code of a call
 */

#include "rpc/call.h"

#define OBJECT CALL_ON_OBJECT
#define MUTATES (CALL_MUTATES | CALL_ON_OBJECT)
#define IN_BATCH (MUTATES | CALL_IN_ATOMIC)

const struct call_properties call_table[CALL_CODES] = {
        [CALL_STORE_STATS] = { "store stats", GROUP_STORE, 0 },
        [CALL_STORE_LIST] = { "store list", GROUP_STORE, CALL_NAMED | CALL_MAYBE_NAMED },
        [CALL_STORE_REPORT] = { "store report", GROUP_STORE, CALL_NAMED | CALL_MAYBE_NAMED | CALL_BLOCKS },

        [CALL_OBJECT_CREATE] = { "object create", GROUP_OBJECT,
                                 CALL_MUTATES | CALL_NAMED | CALL_MAYBE_NAMED },
        [CALL_OBJECT_OPEN] = { "object open", GROUP_OBJECT, CALL_NAMED },
        [CALL_OBJECT_OPEN_OR_CREATE] = { "object open_or_create", GROUP_OBJECT, CALL_MUTATES | CALL_NAMED },
        [CALL_OBJECT_OPEN_REF] = { "object open_ref", GROUP_OBJECT, OBJECT },
        [CALL_OBJECT_DELETE] = { "object delete", GROUP_OBJECT, CALL_MUTATES | CALL_NAMED },
        [CALL_OBJECT_DESTROY] = { "object destroy", GROUP_OBJECT, MUTATES },
        [CALL_OBJECT_SET_NAME] = { "object set_name", GROUP_OBJECT, MUTATES | CALL_NAMED },
        [CALL_OBJECT_INFO] = { "object info", GROUP_OBJECT, OBJECT },
        [CALL_OBJECT_SET_STATE] = { "object set_state", GROUP_OBJECT, MUTATES },
        [CALL_OBJECT_NAME_ALL] = { "object name_all", GROUP_OBJECT, MUTATES },
        [CALL_OBJECT_REPLACE_ALL] = { "object replace_all", GROUP_OBJECT, MUTATES },

        [CALL_DICT_GET] = { "dict get", GROUP_DICT, OBJECT | CALL_IN_ATOMIC | CALL_KEY },
        [CALL_DICT_SET] = { "dict set", GROUP_DICT, IN_BATCH | CALL_KEY | CALL_VALUE },
        [CALL_DICT_SET_NEW] = { "dict set_new", GROUP_DICT, IN_BATCH | CALL_KEY | CALL_VALUE },
        [CALL_DICT_CAS] = { "dict cas", GROUP_DICT, IN_BATCH | CALL_KEY | CALL_VALUE | CALL_MAYBE },
        [CALL_DICT_ADD_INT] = { "dict add_int", GROUP_DICT, IN_BATCH | CALL_KEY },
        [CALL_DICT_ADD_FLOAT] = { "dict add_float", GROUP_DICT, IN_BATCH | CALL_KEY },
        [CALL_DICT_DEL] = { "dict del", GROUP_DICT, IN_BATCH | CALL_KEY },
        [CALL_DICT_POP] = { "dict pop", GROUP_DICT, IN_BATCH | CALL_KEY },
        [CALL_DICT_POP_ANY] = { "dict pop_any", GROUP_DICT, MUTATES },
        [CALL_DICT_CONTAINS] = { "dict contains", GROUP_DICT, OBJECT | CALL_KEY },
        [CALL_DICT_LEN] = { "dict len", GROUP_DICT, OBJECT },
        [CALL_DICT_CLEAR] = { "dict clear", GROUP_DICT, MUTATES },
        [CALL_DICT_SET_MANY] = { "dict set_many", GROUP_DICT, MUTATES | CALL_KEYS | CALL_VALUES },
        [CALL_DICT_GET_MANY] = { "dict get_many", GROUP_DICT, OBJECT | CALL_KEYS },
        [CALL_DICT_COPY] = { "dict copy", GROUP_DICT, OBJECT },
        [CALL_DICT_CURSOR] = { "dict cursor", GROUP_DICT, OBJECT },

        [CALL_LIST_APPEND] = { "list append", GROUP_LIST, IN_BATCH | CALL_VALUE },
        [CALL_LIST_PREPEND] = { "list prepend", GROUP_LIST, IN_BATCH | CALL_VALUE },
        [CALL_LIST_EXTEND] = { "list extend", GROUP_LIST, MUTATES | CALL_VALUES },
        [CALL_LIST_INSERT] = { "list insert", GROUP_LIST, IN_BATCH | CALL_VALUE },
        [CALL_LIST_GET] = { "list get", GROUP_LIST, OBJECT | CALL_IN_ATOMIC },
        [CALL_LIST_SET] = { "list set", GROUP_LIST, IN_BATCH | CALL_VALUE },
        [CALL_LIST_DEL] = { "list del", GROUP_LIST, IN_BATCH },
        [CALL_LIST_POP] = { "list pop", GROUP_LIST, IN_BATCH },
        [CALL_LIST_REMOVE] = { "list remove", GROUP_LIST, MUTATES | CALL_VALUE },
        [CALL_LIST_SLICE] = { "list slice", GROUP_LIST, OBJECT },
        [CALL_LIST_SLICE_DEL] = { "list slice_del", GROUP_LIST, MUTATES },
        [CALL_LIST_LEN] = { "list len", GROUP_LIST, OBJECT },
        [CALL_LIST_CLEAR] = { "list clear", GROUP_LIST, MUTATES },
        [CALL_LIST_INDEX] = { "list index", GROUP_LIST, OBJECT | CALL_VALUE },
        [CALL_LIST_COUNT] = { "list count", GROUP_LIST, OBJECT | CALL_VALUE },
        [CALL_LIST_REVERSE] = { "list reverse", GROUP_LIST, MUTATES },
        [CALL_LIST_SORT] = { "list sort", GROUP_LIST, MUTATES },

        [CALL_QUEUE_PUT] = { "queue put", GROUP_QUEUE, IN_BATCH | CALL_BLOCKS | CALL_VALUE },
        [CALL_QUEUE_PUT_PRIORITY] = { "queue put_priority", GROUP_QUEUE, MUTATES | CALL_BLOCKS | CALL_VALUE },
        [CALL_QUEUE_PUT_MANY] = { "queue put_many", GROUP_QUEUE, MUTATES | CALL_BLOCKS | CALL_VALUES },
        [CALL_QUEUE_GET] = { "queue get", GROUP_QUEUE, IN_BATCH | CALL_BLOCKS },
        [CALL_QUEUE_GET_MANY] = { "queue get_many", GROUP_QUEUE, MUTATES | CALL_BLOCKS },
        [CALL_QUEUE_PEEK] = { "queue peek", GROUP_QUEUE, OBJECT },
        [CALL_QUEUE_LEN] = { "queue len", GROUP_QUEUE, OBJECT },
        [CALL_QUEUE_CLOSE] = { "queue close", GROUP_QUEUE, MUTATES },
        [CALL_QUEUE_POISON] = { "queue poison", GROUP_QUEUE, MUTATES },
        [CALL_QUEUE_TASK_DONE] = { "queue task_done", GROUP_QUEUE, IN_BATCH },
        [CALL_QUEUE_JOIN] = { "queue join", GROUP_QUEUE, OBJECT | CALL_BLOCKS },
        [CALL_QUEUE_GET_LEASE] = { "queue get_lease", GROUP_QUEUE, MUTATES | CALL_BLOCKS },
        [CALL_QUEUE_ACK] = { "queue ack", GROUP_QUEUE, IN_BATCH },
        [CALL_QUEUE_GIVE_BACK] = { "queue give_back", GROUP_QUEUE, MUTATES },

        [CALL_LOCK_TAKE] = { "lock take", GROUP_LOCK, MUTATES | CALL_BLOCKS },
        [CALL_LOCK_GIVE] = { "lock give", GROUP_LOCK, MUTATES },
        [CALL_LOCK_OWNER] = { "lock owner", GROUP_LOCK, OBJECT },

        [CALL_SESSION_PING] = { "session ping", GROUP_SESSION, 0 },
        [CALL_SESSION_END] = { "session end", GROUP_SESSION, CALL_MUTATES },
        [CALL_SESSION_THREAD_GONE] = { "session thread_gone", GROUP_SESSION, CALL_MUTATES },
};
