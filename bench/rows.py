# SPDX-License-Identifier: Apache-2.0
"""The rows of the speed table: which programs are run for each, and what is expected of their ratios."""

import collections

SIZES = [("100000", "100k"), ("1000000", "1M")]
# The forms of khash that are measured for gets and sets.
KHASH = ["khash.map", "khash.entry", "khash.malloc"]

Side = collections.namedtuple("Side", "name command")
Row = collections.namedtuple("Row", "key title sides goals rounds", defaults=(None,))
# ours and peers are "side.metric"; of several peers the smallest counts, of several of ours the worst.
Goal = collections.namedtuple("Goal", "text how ours peers limit", defaults=(None, None))


def at_most(text, ours, peers, limit):
    """ours / peer <= limit"""
    return Goal(text, "at most", [ours], peers, limit)


def at_most_the_sum(text, ours, peers, limit):
    """ours / (one peer + another) <= limit"""
    return Goal(text, "at most the sum", [ours], peers, limit)


def faster(text, ours, peers, limit):
    """peer / ours >= limit"""
    return Goal(text, "at least", [ours], peers, limit)


def no_less(text, ours, limit):
    """Each of these values >= limit."""
    return Goal(text, "no less", ours, None, limit)


def no_more(text, ours, limit):
    """Each of these values <= limit."""
    return Goal(text, "no more", ours, None, limit)


def best_no_more(text, ours, limit):
    """This time <= limit in at least one round: what a program does by itself it does in every one."""
    return Goal(text, "best no more", [ours], None, limit)


def dict_get_row(n, size, khash_limit, boost_limit):
    """One process reads."""
    return Row(f"get-{size}", f"dict get, {size} keys", [
        Side("objd", ["objbench", "get", n]),
        Side("khash", ["peer_khash", "get", n]),
        Side("boost", ["peer_boost", "get", n]),
        Side("lmdb", ["peer_lmdb", "get", n]),
        Side("manager", ["peer_manager.py", "get", n]),
        Side("redis", ["peer_redis", "get", n]),
    ], [
        at_most("a private khash", "objd.get", KHASH, khash_limit),
        faster("Boost.Interprocess unordered_map", "objd.get", ["boost.get"], boost_limit),
        faster("LMDB", "objd.get", ["lmdb.get"], 6),
        faster("multiprocessing.Manager", "objd.get", ["manager.get"], 500),
        faster("Redis, one at a time", "objd.get", ["redis.get"], 500),
        faster("Redis, pipelined by 100", "objd.get", ["redis.get_pipelined"], 20),
    ])


def dict_set_row(n, size):
    """One process writes."""
    return Row(f"set-{size}", f"dict set of an existing key, and delete, {size} keys", [
        Side("objd", ["objbench", "set", n]),
        Side("khash", ["peer_khash", "set", n]),
        Side("boost", ["peer_boost", "set", n]),
        Side("lmdb", ["peer_lmdb", "set", n]),
        Side("manager", ["peer_manager.py", "set", n]),
        Side("redis", ["peer_redis", "set", n]),
    ], [
        at_most("set: a private khash", "objd.set", KHASH, 2.5),
        faster("set: Boost.Interprocess insert", "objd.set", ["boost.insert"], 5),
        faster("set: LMDB put, WRITEMAP", "objd.set", ["lmdb.set"], 6),
        at_most("delete: our own set", "objd.delete", ["objd.set"], 1.2),
    ])


def dict_insert_row(n, size):
    """One process fills an empty dict."""
    return Row(f"insert-{size}", f"dict insert, {size} keys", [
        Side("objd", ["objbench", "insert", n]),
        Side("khash", ["peer_khash", "insert", n]),
    ], [
        at_most("pages present: khash plus malloc, its memory reused",
                "objd.insert_present", ["khash.insert_present"], 1.6),
        at_most("fresh arena: khash plus malloc, a fresh heap",
                "objd.insert_fresh", ["khash.insert_fresh"], 2.2),
    ])


def dict_pair_rows(n, size):
    """Two processes on one dict."""
    return [
        Row(f"pair-get-{size}", f"dict get from 2 processes at once, {size} keys", [
            Side("objd", ["objbench", "pair-get", n]),
            Side("boost", ["peer_boost", "pair", n]),
            Side("khash", ["peer_khash", "pair", n]),
        ], [no_less("its speed alone, the slower of the two", ["objd.kept0", "objd.kept1"], 0.95)]),
        Row(f"pair-set-{size}", f"dict set from 2 processes, different keys, {size} keys", [
            Side("objd", ["objbench", "pair-set", n]),
        ], [no_less("together, times one", ["objd.together"], 1.6)]),
    ]


def list_rows(n, size):
    """The list."""
    return [
        Row(f"append-{size}", f"list append, {size} items", [
            Side("objd", ["objbench", "append", n]),
            Side("vector", ["peer_vector", "append", n]),
        ], [at_most("growable array under a robust mutex", "objd.append", ["vector.append"], 4)]),
        Row(f"list-get-{size}", f"list get by index, {size} items, random order", [
            Side("objd", ["objbench", "list-get", n]),
            Side("vector", ["peer_vector", "get", n]),
        ], [at_most("growable array under a robust mutex", "objd.get", ["vector.get"], 2.5)]),
    ]


def queue_rows():
    """The queue."""
    return [
        Row("putget", "queue put + get in one process, 64 bytes", [
            Side("objd", ["objbench", "putget"]),
            Side("boost", ["peer_boost", "putget"]),
            Side("posix", ["peer_posix", "putget"]),
        ], [faster("Boost message_queue", "objd.putget", ["boost.putget"], 1)]),
        Row("stream", "queue stream between 2 processes, 64 bytes", [
            Side("objd", ["objbench", "stream"]),
            Side("boost", ["peer_boost", "stream"]),
            Side("posix", ["peer_posix", "stream"]),
            Side("mp.Queue", ["peer_manager.py", "stream"]),
        ], [
            faster("Boost message_queue", "objd.stream", ["boost.stream"], 1),
            faster("POSIX mq", "objd.stream", ["posix.stream"], 5),
            faster("multiprocessing.Queue", "objd.stream", ["mp.Queue.stream"], 15),
        ]),
        Row("wake", "queue: wake of a sleeping getter", [
            Side("objd", ["objbench", "wake"]),
        ], [at_most("a bare futex, in turns with it", "objd.wake", ["objd.futex"], 1.15)]),
    ]


def lock_and_start_rows():
    """The lock, and the daemon's start."""
    return [
        Row("lock", "lock take + give with its token, uncontended", [
            Side("objd", ["objbench", "lock"]),
            Side("posix", ["peer_posix", "mutex"]),
        ], [faster("robust pthread mutex", "objd.lock", ["posix.mutex"], 1)]),
        Row("start", "start to the first operation done", [
            Side("objd", ["objbench", "start", "OBJD"]),
            Side("redis", ["peer_redis", "start"]),
            Side("manager", ["peer_manager.py", "start"]),
        ], [
            faster("Redis", "objd.start", ["redis.start"], 1),
            faster("multiprocessing.Manager", "objd.start", ["manager.start"], 1),
        ]),
    ]


def growth_rows():
    """What growth costs. Memory needs one round; pauses of the machine are told from ours by several."""
    return [
        Row("memory", "memory of 1M entries, and of 1M dicts of three short entries", [
            Side("objd", ["objbench", "memory"]),
        ], [
            no_more("1M entries, MiB of arena", ["objd.entries_resident"], 200),
            no_more("a small dict, bytes", ["objd.dict_resident"], 511),
            no_more("left when all is deleted, MiB", ["objd.entries_left", "objd.dicts_left"], 1),
        ], 1),
        Row("hist", "each of 10M inserts into one dict", [
            Side("objd", ["objbench", "hist"]),
        ], [
            best_no_more("the slowest, each insert in its fastest of 5 runs", "objd.slowest_insert_own", 1e6),
        ], 1),
    ]


def rpc_sides(way):
    """objd through its daemon by one way, and what that way costs without objd."""
    return [
        Side("objd", ["objbench", "rpc", way, "OBJD"]),
        Side("bare", ["peer_carrier", "unix" if way == "local" else way]),
        Side("redis get", ["peer_redis", "get", "100000"]),
        Side("redis set", ["peer_redis", "set", "100000"]),
    ]


def rpc_rows():
    """The same objects through the daemon."""
    local, ipc, tcp = (rpc_sides(way) for way in ("local", "ipc", "tcp"))
    manager = [Side("manager get", ["peer_manager.py", "get", "100000"]),
               Side("manager set", ["peer_manager.py", "set", "100000"])]
    memcpy = [Side("memcpy", ["peer_carrier", "memcpy"])]
    single = ["redis get.get", "redis set.set"]
    return [
        Row("rpc-local", "dict through the daemon, local:", local + manager + memcpy, [
            no_more("get, one at a time, the daemon awake, ns", ["objd.get"], 2000),
            no_more("set, one at a time, the daemon awake, ns", ["objd.set"], 2000),
            faster("get: multiprocessing.Manager", "objd.get", ["manager get.get"], 15),
            faster("set: multiprocessing.Manager", "objd.set", ["manager set.set"], 15),
            faster("get: Redis, one at a time", "objd.get", single[:1], 15),
            faster("set: Redis, one at a time", "objd.set", single[1:], 15),
            at_most("get, the daemon asleep: a bare Unix socket's round trip", "objd.get_asleep", ["bare.one_asleep"],
                    1.2),
            at_most("set, the daemon asleep: a bare Unix socket's round trip", "objd.set_asleep", ["bare.one_asleep"],
                    1.2),
            faster("get in a batch of 100: Redis pipelined by 100", "objd.get_batch", ["redis get.get_pipelined"], 3),
            faster("set in a batch of 100: Redis pipelined by 100", "objd.set_batch", ["redis set.set_pipelined"], 3),
            at_most("get of 16 MiB: memcpy", "objd.get_16M", ["memcpy.copy_16M"], 2),
            at_most("set of 16 MiB: memcpy", "objd.set_16M", ["memcpy.copy_16M"], 2),
        ]),
        Row("rpc-ipc", "dict through the daemon, ipc://", ipc, [
            at_most("get, one at a time: bare nanomsg's round trip", "objd.get", ["bare.one"], 1.15),
            at_most("set, one at a time: bare nanomsg's round trip", "objd.set", ["bare.one"], 1.15),
            faster("get in a batch of 100: Redis pipelined by 100", "objd.get_batch", ["redis get.get_pipelined"], 1.5),
            faster("set in a batch of 100: Redis pipelined by 100", "objd.set_batch", ["redis set.set_pipelined"], 1.5),
            at_most("get of 16 MiB: bare nanomsg", "objd.get_16M", ["bare.get_16M"], 1 / 0.9),
            at_most("set of 16 MiB: bare nanomsg", "objd.set_16M", ["bare.set_16M"], 1 / 0.9),
        ]),
        Row("rpc-tcp", "dict through the daemon, tcp:// sealed", tcp, [
            at_most("get, one at a time: bare nanomsg's round trip", "objd.get", ["bare.one"], 1.15),
            at_most("set, one at a time: bare nanomsg's round trip", "objd.set", ["bare.one"], 1.15),
            faster("get in a batch of 100: Redis pipelined by 100", "objd.get_batch", ["redis get.get_pipelined"], 1),
            faster("set in a batch of 100: Redis pipelined by 100", "objd.set_batch", ["redis set.set_pipelined"], 1),
        ]),
    ] + [
        Row(f"rpc-wake-{way}", f"wake of a getter behind the daemon, {way}", [
            Side("objd", ["objbench", "rpc-wake", way, "OBJD"]),
            Side("bare", ["peer_carrier", "unix" if way == "local" else way]),
        ], [at_most_the_sum("a bare futex's wake, and the carrier's", "objd.wake", ["objd.futex", "bare.wake"], 1.2)])
        for way in ("local", "ipc", "tcp")
    ]


def others_rows():
    """What other clients of the daemon cost one that asks for one thing at a time."""
    return [
        Row(f"rpc-others-{way}", f"get through the daemon, {way}, beside others", [
            Side("objd", ["objbench", "rpc-others", way, "OBJD"]),
        ], [
            no_more("one that sends all it can, by the thousand: the same alone, x", ["objd.get_flood_ratio"], 1.05),
            no_more("one that sends all it can, one by one: the same alone, x", ["objd.get_singles_ratio"], 1.05),
            no_more("one that never reads its answers: the same alone, x", ["objd.get_mute_ratio"], 1.05),
            no_more("a thousand idle sessions: the same alone, x", ["objd.get_idle_ratio"], 1.05),
        ])
        for way in ("local", "ipc")
    ]


def table():
    """All rows, in the order in which they are run."""
    table_rows = [dict_get_row("100000", "100k", 1.5, 4), dict_get_row("1000000", "1M", 1.7, 3)]
    table_rows += [dict_set_row(n, size) for n, size in SIZES]
    table_rows += [dict_insert_row(n, size) for n, size in SIZES]
    for rows_of in (dict_pair_rows, list_rows):
        table_rows += [row for n, size in SIZES for row in rows_of(n, size)]
    return table_rows + queue_rows() + lock_and_start_rows() + rpc_rows() + others_rows() + growth_rows()
