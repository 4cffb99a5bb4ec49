/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ops_pairs.c -- two operations on the same object, or on the same store: what two killed processes may have been doing
 *
 * Each pair is looked at in both orders: which of the two is left somewhere, and which goes on.
 */

#include "crash/sweep.h"

/* The store; one operation and its key; the other and its key. */
const struct pair_test pair_tests[] = {
        /* A dict under one lock. */
        { "dict: delete", "dict: set of a new key", 17000, "dict: delete", KEY_TARGET },
        { "dict: delete", "dict: replace by a larger value", KEY_TARGET, "dict: delete", KEY_TARGET },
        { "dict: add", "dict: add", KEY_TARGET, "dict: add", KEY_TARGET },
        { "dict: pop of any", "dict: pop of any", KEY_TARGET, "dict: pop of any", KEY_TARGET },
        { "dict: clear", "dict: clear", KEY_TARGET, "dict: set of a text key", KEY_TARGET },
        { "dict: replace of a big value by a small one", "dict: replace of a big value by a big one",
          KEY_TARGET, "dict: pop of a big value", KEY_TARGET },

        /* Growth. */
        { "dict: set that makes the segment larger", "dict: set that makes the segment larger", KEY_TARGET,
          "dict: set of the first key", 17000 },
        { "dict: set that makes the segment larger", "dict: set that makes the segment larger", KEY_TARGET,
          "dict: delete", 1 },
        { "dict: set that makes shards", "dict: set that makes shards", KEY_TARGET, "dict: delete", 1 },
        { "dict: set that splits a shard's segment", "dict: set that splits a shard's segment", KEY_TARGET,
          "dict: set in a shard", KEY_NEAR },
        { "dict: set that makes a shard's segment larger", "dict: set that makes a shard's segment larger",
          KEY_TARGET, "dict: set in a shard", KEY_FAR },

        /* A dict in shards: the same one, and two. */
        { "dict: delete in a shard", "dict: set in a shard", KEY_NEAR, "dict: delete in a shard",
          KEY_TARGET },
        { "dict: delete in a shard", "dict: set in a shard", KEY_FAR, "dict: delete in a shard", KEY_TARGET },
        { "dict: replace in a shard", "dict: set_many in shards", KEY_TARGET, "dict: replace in a shard",
          KEY_TARGET },
        { "dict: clear of a dict in shards", "dict: clear of a dict in shards", KEY_TARGET,
          "dict: set in a shard", KEY_NEAR },

        /* Memory alone: the pool is all that they have in common. */
        { "batch: two dicts", "dict: set of a big value", 17000, "create: a dict", KEY_TARGET },
        { "dict: delete that frees a slab", "dict: set of the last chunk of a slab", 17000,
          "dict: delete that frees a slab", KEY_TARGET },

        { "list: append", "list: append", KEY_TARGET, "list: delete in the middle", KEY_TARGET },
        { "list: append behind a full chunk", "list: append behind a full chunk", KEY_TARGET,
          "list: pop at the start", KEY_TARGET },
        { "list: insert that splits a chunk", "list: insert that splits a chunk", KEY_TARGET,
          "list: set of a larger value", KEY_TARGET },
        { "list: sort", "list: sort", KEY_TARGET, "list: prepend", KEY_TARGET },
        { "list: clear", "list: clear", KEY_TARGET, "list: extend", KEY_TARGET },

        { "FIFO queue: lease", "FIFO queue: put", KEY_TARGET, "FIFO queue: lease", KEY_TARGET },
        { "LIFO queue: lease", "LIFO queue: put", KEY_TARGET, "LIFO queue: lease", KEY_TARGET },
        { "PRIORITY queue: lease", "PRIORITY queue: put", KEY_TARGET, "PRIORITY queue: lease", KEY_TARGET },
        { "FIFO queue: get", "FIFO queue: get", KEY_TARGET, "FIFO queue: put of many", KEY_TARGET },
        { "FIFO queue: get", "FIFO queue: get", KEY_TARGET, "FIFO queue: get of many", KEY_TARGET },
        { "FIFO queue: get of the last item", "FIFO queue: get of the last item", KEY_TARGET,
          "FIFO queue: put", KEY_TARGET },
        { "FIFO queue: ack", "FIFO queue: ack", KEY_TARGET, "FIFO queue: give-back", KEY_TARGET },
        { "FIFO queue: close", "FIFO queue: close", KEY_TARGET, "FIFO queue: put", KEY_TARGET },
        { "FIFO queue: put into a bounded one", "FIFO queue: put into a bounded one", KEY_TARGET,
          "FIFO queue: put into a bounded one", KEY_TARGET },
        { "LIFO queue: get", "LIFO queue: get", KEY_TARGET, "LIFO queue: put", KEY_TARGET },
        { "PRIORITY queue: get", "PRIORITY queue: get", KEY_TARGET, "PRIORITY queue: put that needs a chunk",
          KEY_TARGET },

        { "lock: take", "lock: take", KEY_TARGET, "lock: take", KEY_TARGET },
        { "lock: take of one without owners", "lock: take of one without owners", KEY_TARGET,
          "lock: take of one without owners", KEY_TARGET },
        { "lock: give of one without owners", "lock: give of one without owners", KEY_TARGET,
          "lock: take of one without owners", KEY_TARGET },

        { "batch: two dicts", "batch: two dicts", KEY_TARGET, "dict: add", KEY_TARGET },
        { "batch: two dicts", "batch: two dicts", KEY_TARGET, "batch: two dicts", KEY_TARGET },
        { "batch: a dict, a list, two queues", "batch: a dict, a list, two queues", KEY_TARGET,
          "batch: two dicts", KEY_TARGET },

        /* The object itself. */
        { "create: a dict", "create: a dict", KEY_TARGET, "create: a dict", KEY_TARGET },
        { "create: a dict", "create: a dict", KEY_TARGET, "create: with a long name", KEY_TARGET },
        { "delete: a dict", "delete: a dict", KEY_TARGET, "dict: set of a new key", KEY_TARGET },
        { "delete: a dict", "delete: a dict", KEY_TARGET, "rename", KEY_TARGET },
        { "delete: a FIFO queue", "delete: a FIFO queue", KEY_TARGET, "FIFO queue: put", KEY_TARGET },
        { "reap: a dead client with an anonymous object", "reap: a dead client with an anonymous object",
          KEY_TARGET, "dict: set of a big value", KEY_TARGET },
};

const size_t n_pair_tests = sizeof(pair_tests) / sizeof(pair_tests[0]);
