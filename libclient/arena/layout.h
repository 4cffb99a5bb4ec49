/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * layout.h -- every structure that lives in shared memory
 *
 * The file: header | client table | lane table | block table | blocks. All but the first block of the
 * header is sparse; pages are allocated before they are first touched (pool.c). Everything is little-endian
 * and 64-bit; a machine that differs finds another `abi` word and refuses.
 *
 * Who may write what is said at each field: "line" is the lock word at the head of the same cache line,
 * "pool" is the pool's lock, "owner" is the thread whose lane it is (or whoever recovers it). Fields that
 * are read without their lock are only ever accessed through the helpers of word.h.
 */

#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_MAGIC 0x0a616e657261646fULL /* "odarena\n" */
#define ARENA_FORMAT 1u
#define ARENA_ABI 0x0807060504030201ULL /* read back in another byte order it is another number */

#define LINE_SIZE 64u
#define PAGE_SIZE 4096u
#define BLOCK_SHIFT 16
#define BLOCK_SIZE (1u << BLOCK_SHIFT)
#define ARENA_SIZE_MIN (1ULL << 20) /* of the blocks, without the tables before them */
#define ARENA_SIZE_MAX (1ULL << 40)
#define N_LANES 4096u   /* lane 0 is nobody: lock words name lanes in 12 bits */
#define N_CLIENTS 4096u /* client 0 is nobody */

/*
 * Offsets from the start of the arena, a type for each kind of target, so that mixing them does not compile.
 * 0 is none.
 */
typedef struct {
        uint64_t o;
} chunk_off; /* a struct chunk_shm */
typedef struct {
        uint64_t o;
} line_off; /* a struct line_shm */
typedef struct {
        uint64_t o;
} slot_off; /* a struct object_shm */

/*
 * A cache line that is guarded by the lock word at its head (lock.h). The memory of lines is type-stable:
 * as long as its block is not retired, a line is never used for anything else and the word's version only
 * grows. Both lines of an object, and the 64 shards of a large dict, have this form.
 *
 * serial says whose line it is; a reader or writer who has loaded the word compares it with its handle.
 */
struct line_shm {
        uint64_t word;    /* lock.h */
        uint64_t serial;  /* line: of the object it belongs to, 0 is none */
        uint64_t config;  /* line: object.h, OBJECT_CONFIG_* */
        uint64_t root[5]; /* line: the kind's own */
};

/*
 * An object. line is the object's lock, its identity and its root. The fields after it are its account.
 */
struct object_shm {
        struct line_shm line;
        uint64_t chunks;    /* pool: first of the list of its chunks, a chunk_off */
        uint64_t memory;    /* pool: bytes in these chunks */
        uint64_t sequence;  /* anybody, by atomic add: numbers a dict's inserts; gaps are harmless */
        uint64_t owner;     /* line: client_id of an anonymous object's client, 0 is none */
        uint16_t name_size; /* line: 0 is anonymous */
        uint16_t pad[3];
        char name[24]; /* line: the name if it fits, else its first 8 bytes are a chunk_off to it */
};

/* In config: the object is damaged beyond repair, and can only be deleted. */
#define LINE_POISONED (1ULL << 40)

#define SLOT_SIZE 128u
#define SLOTS_PER_BLOCK (BLOCK_SIZE / SLOT_SIZE)
#define GROUP_SLOTS 32u /* 64 lines: the shards of a large dict */
#define GROUP_LINES 64u

/* Head of a block of object slots; stands in the place of its slot 0. */
struct slot_block_shm {
        uint64_t used[8]; /* pool: a bit a slot, or a bit for every slot of a group */
        uint64_t n_used;  /* pool */
        uint64_t pad[7];
};

/*
 * Head of every chunk that the pool gives out. A chunk is in exactly one list: its object's, or one of the
 * two of the lane that is about to add it to the object (taken) or to free it (doomed).
 */
struct chunk_shm {
        uint64_t next;  /* pool */
        uint64_t prev;  /* pool; 0 for the first */
        uint64_t owner; /* pool: slot_off of its object; 0 for a lane's log */
        uint64_t info;  /* pool: pool.h, CHUNK_* : magic, list, class, size */
};

#define CHUNK_HEAD 32u

/* What a block is, in struct block_shm.state. */
enum block_state {
        BLOCK_UNUSED = 0,  /* never used yet: beyond the frontier */
        BLOCK_FREE = 1,    /* first (and last) block of a free run */
        BLOCK_FREE_IN = 2, /* inside a free run */
        BLOCK_RUN = 3,     /* first block of a large chunk */
        BLOCK_RUN_IN = 4,  /* inside one: nothing else in the entry is valid */
        BLOCK_SLAB = 5,    /* chunks of one size class */
        BLOCK_SLOTS = 6,   /* objects */
        BLOCK_GROUPS = 7,  /* groups of 32 slots */
        BLOCK_RETIRED = 8  /* was SLOTS or GROUPS, all free; waits until nobody can still look at it */
};

/* What is known of a block's memory. Unknown is always true; the others are only said once they are. */
enum block_memory { MEMORY_NONE = 0, MEMORY_UNKNOWN = 1, MEMORY_ALL = 2 };

/* One entry of the block table. All fields: pool. */
struct block_shm {
        uint8_t state;
        uint8_t size_class; /* SLAB */
        uint8_t memory;     /* enum block_memory; written without a note, see pool.c */
        uint8_t pad;
        uint32_t run;  /* FREE, RUN: blocks in the run; last block of a free run: the same */
        uint32_t next; /* FREE: in its bin; SLAB, SLOTS, GROUPS: among those with room; RETIRED: waiting */
        uint32_t prev;
        uint32_t n_used; /* SLAB: chunks given out */
        uint32_t carved; /* SLAB: chunks that have been given out at least once */
        uint32_t free;   /* SLAB: first free chunk's number + 1 */
        uint32_t pad2;
};

#define N_BINS 25u
#define N_CLASSES 16u

/* The pool's books. Everything: pool (the lock in line.word). */
struct pool_shm {
        struct line_shm line;

        /* a line that every call reads and few write */
        uint64_t n_blocks;    /* constant: data blocks in the arena */
        uint64_t frontier;    /* blocks that have been in use so far; read without the lock, only grows */
        uint64_t table_ready; /* entries of the block table that have memory */
        uint64_t pad3[5];

        uint64_t n_used_blocks; /* blocks that are no free run */
        uint64_t n_kept;    /* blocks in free runs that are not MEMORY_NONE; a death may leave it too low */
        uint64_t used;      /* bytes in chunks and slots that are given out */
        uint64_t n_objects; /* slots that are objects */
        uint64_t version_floor; /* what lines of a new slot block start from */
        uint64_t next_serial;   /* anybody, by atomic add: of the next object; never 0, never used twice */
        uint64_t limbo;         /* list of chunks that are free but for somebody's pin */
        uint32_t retired;       /* list of BLOCK_RETIRED */
        uint32_t slots;         /* blocks of slots with room */
        uint32_t groups;        /* blocks of groups with room */
        uint32_t pad;
        uint32_t bins[N_BINS];     /* free runs by floor(log2(length)); block number + 1 */
        uint32_t slabs[N_CLASSES]; /* slabs with room; block number + 1 */
        uint32_t pad2;
        uint64_t n_parts; /* slots that are part of another slot's object, as a queue's tail */
};

/*
 * An undo log: records of old bytes, newest last. A record is its old words followed by one header word,
 * offset << 16 | number of words, so that it can be read backwards. used is raised after the record is
 * complete and before the words it saves are changed.
 */
struct log_shm {
        uint64_t state;    /* owner: enum txn_state */
        uint64_t used;     /* owner: bytes */
        uint64_t off;      /* owner: where the log's bytes are; the lane's own, or a chunk's */
        uint64_t capacity; /* owner: bytes */
};

enum txn_state { TXN_IDLE = 0, TXN_ACTIVE = 1, TXN_COMMITTED = 2 };

#define LANE_LOCKS 256u
#define LANE_WAKES 64u
#define LANE_SLOTS 64u
#define LANE_PINS 64u
#define LANE_POOL_LOG 2048u
#define LANE_LOG 9728u

/*
 * A lane: what one thread is doing to the arena. Written by its owner, or, once that is dead, by the one
 * process that `recoverer` names. Others read life, identity and epoch.
 */
struct lane_shm {
        union {
                pthread_mutex_t mutex; /* robust; see life.h. Others only look at its first word */
                uint32_t word;
                uint8_t pad[64];
        } life;

        /* identity; lane_claim() writes it */
        uint32_t claimed;    /* 1 from claim to release */
        uint32_t by_process; /* its life is that of its client (daemon, tools), not of the mutex */
        uint64_t generation; /* grows with each claim */
        uint64_t client;     /* client_id */
        int64_t pid;         /* as the owner sees it: for people, never for decisions */
        int64_t tid;
        uint64_t recoverer; /* anybody, by compare-and-swap: lane_id of who recovers this lane, 0 nobody */
        uint64_t waits_for; /* line_off of the lock that the owner waits for; for people */
        uint64_t pad0;

        /* a line of its own: readers raise epoch twice in every call */
        uint64_t epoch; /* odd while the owner looks at the arena */
        uint64_t n_reads;
        uint64_t n_writes;
        uint64_t n_recoveries;
        uint64_t pad1[4];

        struct log_shm log;      /* the operation's */
        struct log_shm pool_log; /* of the one pool transaction within it */

        uint64_t taken;  /* pool: list of chunks that the operation took */
        uint64_t doomed; /* pool: list of chunks that go back when it commits */
        uint32_t n_locks;
        uint32_t n_wakes;
        uint32_t n_new_slots;
        uint32_t n_dead_slots;
        uint32_t operation; /* for people: an OP_* code */
        uint32_t anywhere;  /* 1: lines that are in no list of intents may be frozen by it, anywhere */
        uint64_t log_chunk; /* the chunk that a grown log lives in */
        uint64_t pad3[2];

        uint64_t locks[LANE_LOCKS];      /* line_off, written before the lock is taken */
        uint64_t wakes[LANE_WAKES];      /* offset of a futex word | 1: one sleeper, 0: all */
        uint64_t new_slots[LANE_SLOTS];  /* slot_off | SLOT_IS_*: freed if the operation is undone */
        uint64_t dead_slots[LANE_SLOTS]; /* the same: freed once it has committed */
        uint64_t pins[LANE_PINS];        /* chunk_off of a pinned value; read by whoever frees chunks */

        uint8_t pool_log_bytes[LANE_POOL_LOG];
        uint8_t log_bytes[LANE_LOG];
};

#define LANE_SIZE 16384u

/* A process that is connected. Written by it under the gate (life.h), or by whoever reaps it. */
struct client_shm {
        uint32_t claimed;
        uint32_t uid;
        uint64_t generation;
        int64_t pid;          /* as the client sees it: for people */
        int64_t since_ns;     /* CLOCK_REALTIME */
        uint64_t n_anonymous; /* anybody, atomic: objects to look for when it dies; may be too high */
        uint64_t flags;       /* anybody, atomic: CLIENT_* */
        char comm[16];

        /* Of a session only (arena/session.h). */
        uint64_t expires_ns;    /* anybody, atomic: CLOCK_MONOTONIC, or SESSION_OVER */
        uint64_t session_id[2]; /* random; what its requests name */

        /*
         * Of a session: slot_off and serial of the dict of its last replies, 0 for none yet; the daemon's. Of a process: of the
         * list of what is to stay, and a flag (object/bundle.h); its own, but that anybody may set the serial back to 0.
         */
        union {
                uint64_t records;
                uint64_t bundle;
        };
        union {
                uint64_t records_serial;
                uint64_t bundle_serial;
        };
        uint64_t memory;      /* daemon: bytes of its own memory that the session takes; for people */
        uint64_t memory_most; /* daemon: the most that it has taken */
        uint64_t n_waiting;   /* daemon: its batches that are parked */
};

#define CLIENT_SIZE 128u
#define CLIENT_HAS_LEASED 1ULL /* items of some queue may be under a lease of it */
#define CLIENT_IS_SESSION 2ULL /* no process of this machine: the daemon acts for it */
#define SESSION_OVER 0ULL

/* The first block of the file. Constant after creation, except where it says so. */
#define N_REFUSALS 32u

struct header_shm {
        uint64_t magic;
        uint32_t format;
        uint32_t state; /* enum arena_state; CREATING until all else is written */
        uint64_t abi;
        uint64_t file_size;
        uint64_t id[2]; /* random: tells this arena from all others */
        uint64_t hash_key[2];
        uint64_t clients_off;
        uint64_t lanes_off;
        uint64_t table_off;
        uint64_t blocks_off;
        uint64_t size;         /* blocks_off .. file_size */
        uint64_t daemon_epoch; /* daemon: raised each time one starts on this arena, before retire_count is */
        int64_t daemon_pid;    /* daemon: for people */
        uint64_t created_ns;   /* CLOCK_REALTIME */

        /*
         * Anybody, by atomic add; read by every call. Grows with each block of lines that is retired and with each
         * daemon that starts, and tells handles to look again; too high is harmless.
         */
        uint64_t retire_count;
        uint64_t lanes_high;   /* gate: lanes from here on have never been claimed */
        uint64_t clients_high; /* gate: the same for clients */
        uint64_t names;        /* slot_off of the dict that maps names to objects */
        uint64_t pad[4];

        uint64_t n_pins;       /* anybody, atomic: pins there may be; too high after a death, never too low */
        uint64_t lanes_looked; /* anybody, atomic: CLOCK_MONOTONIC when somebody last looked for dead lanes */
        uint64_t clients_looked;
        uint64_t readers; /* daemon: 1 if there may be read-only mappings; see readers_are_there() */
        uint64_t pad2[4];

        struct pool_shm pool;

        /* daemon, atomic add: what daemons have refused on the way to this arena, by reason (rpc/refusals.h) */
        uint64_t n_refused[N_REFUSALS];
};

enum arena_state { ARENA_CREATING = 0, ARENA_READY = 1, ARENA_DAMAGED = 2 };

static_assert(sizeof(struct line_shm) == LINE_SIZE, "a line is a cache line");
static_assert(sizeof(struct object_shm) == SLOT_SIZE, "slots are packed");
static_assert(sizeof(struct slot_block_shm) == SLOT_SIZE, "the head takes slot 0");
static_assert(sizeof(struct chunk_shm) == CHUNK_HEAD, "chunk heads are packed");
static_assert(sizeof(struct block_shm) == 32, "the block table is indexed");
static_assert(sizeof(struct client_shm) == CLIENT_SIZE, "the client table is indexed");
static_assert(sizeof(struct lane_shm) <= LANE_SIZE, "the lane table is indexed");
static_assert(offsetof(struct lane_shm, epoch) % LINE_SIZE == 0, "the epoch has a line of its own");
static_assert(offsetof(struct lane_shm, log) % LINE_SIZE == 0, "nothing shares the epoch's line");
static_assert(offsetof(struct header_shm, pool) % LINE_SIZE == 0, "the pool's lock is a line");
static_assert(offsetof(struct header_shm, retire_count) % LINE_SIZE == 0, "read by every call");
static_assert(offsetof(struct pool_shm, n_blocks) % LINE_SIZE == 0,
              "the frontier is read by every call, too");
static_assert(sizeof(struct header_shm) <= PAGE_SIZE, "the header is one page");

/* ---- Dicts (dict.c) ------------------------------------------------------------------------------------ */

/*
 * root[0] of a dict's line, or of one of its shards, is where its entries are, as a table word: 0 (none), a segment,
 * or a directory of table words. A table word has the chunk's offset (a multiple of 64) in bits 6..47, the segment's
 * number of groups in bits 48..63, and the directory's depth in bits 0..5 (0: it is a segment).
 * root[1] is the number of entries. Of a dict in shards, root[0] of the object's own line is DICT_SHARDED | the group.
 */
#define DICT_SHARDED (1ULL << 63)

/*
 * A segment is a chunk: its head, this, then n groups of eight slots, each group a cache line; in a small one the entries
 * follow. A slot is 0 (never used), SLOT_GONE, or 27 bits of the key's hash and the entry's offset / 8. Further
 * entries are in extents, chunks whose first word is the offset of the extent before.
 * Everything: the lock of the line that the segment hangs from.
 */
struct segment_shm {
        uint64_t shape;  /* groups 16 | depth 16 | slots that are not 0 16 | entries 16 */
        uint64_t fill;   /* bytes used in the last extent 32 | its size 32, both with the chunk's head */
        uint64_t extent; /* the last extent; the segment's own chunk, if entries are in it */
        uint64_t bytes;  /* of living entries 32 | of dead ones 32 */
        uint64_t slots[];
};

/* An entry: these, the key padded to 8, the value padded to 8 (or the offset of its chunk). */
struct entry_shm {
        uint64_t head; /* key type 4 | key size 12 | value type 4 | is in a chunk 1 | 3 | value size 40 */
        uint64_t sequence;
        uint64_t data[];
};

/* ---- Lists (list.c) ------------------------------------------------------------------------------------ */

/* root[] of a list's line. An empty list may have a leaf without items. Everything: the line's lock. */
enum list_root {
        LIST_LEN = 0,    /* items */
        LIST_TREE = 1,   /* chunk_off of the topmost node, or of the only leaf; 0 is none */
        LIST_HEIGHT = 2, /* levels of nodes above the leaves */
        LIST_LAST = 3    /* chunk_off of the last leaf */
};

/*
 * A leaf: a table of items that grows upwards, and their values, which grow downwards from the end. Everything is
 * counted in words of 8 bytes from the chunk's start. What lies between the table and the values, and before the
 * table's first item, belongs to nobody and may be filled without notes: one store to `state` makes it part of
 * the list. An item is type 8 | first word of the value 16 | bytes 40; a big value's word is its chunk's offset.
 */
struct list_leaf_shm {
        struct chunk_shm chunk;
        uint64_t
                state; /* items 11 | first of the table 11 | low 11 | dead 11 | size 11 | reversed 1 | big 1 | mark 7 */
        uint64_t table[]; /* from word LEAF_TABLE on */
};

#define LEAF_TABLE 5u

/*
 * A node: where the items under each child start. Only differences count: start[0] is any number, so that one more
 * item is a step to the right for those behind it, or a step to the left for those before it, whichever are fewer.
 * How many items are under the last child is not written down: whoever comes from above knows it. So an append
 * changes no node, and a prepend one word of each on the way.
 */
struct list_entry_shm {
        uint64_t start;
        uint64_t child; /* chunk_off */
};

#define NODE_MAX 125u

struct list_node_shm {
        struct chunk_shm chunk;
        uint64_t state; /* children 16 | level 16 | 25 | mark 7 */
        uint64_t
                scale; /* children an item, as a fraction of 2^32: where to begin a search; may be outdated */
        struct list_entry_shm entry[NODE_MAX];
};

static_assert(sizeof(struct list_node_shm) == 2048, "a node fills a chunk of 2 KiB");
static_assert(offsetof(struct list_leaf_shm, table) == (size_t)LEAF_TABLE * 8, "the table is found by words");

/* ---- Queues (queue.c) ---------------------------------------------------------------------------------- */

/*
 * A queue's own line, the getters' end. `sequence` of its slot is the bound (constant).
 * A wake word counts sleepers: calls that have slept on it so far 32 (the futex) | sleepers nobody has woken 32.
 */
struct queue_head_shm {
        uint64_t word;
        uint64_t serial;
        uint64_t config;
        uint64_t
                popped; /* items taken so far; FIFO: off the chain, so that it is also the next one's number */
        union {
                uint64_t pos;     /* FIFO: where the next item is, or will be */
                uint64_t getters; /* others: wake word of those who wait for an item */
        };
        uint64_t pushed;  /* items put so far; FIFO: as far as this end has heard */
        uint64_t putters; /* wake word of those who wait for room */
        uint64_t ctl;     /* chunk of a queue_shm | QUEUE_RETURNED | QUEUE_LEASED */
};

#define QUEUE_RETURNED 1ULL /* FIFO: there are items that came back */
#define QUEUE_LEASED 2ULL   /* there are items under a lease */
#define QUEUE_BOUNDED 4ULL  /* tail: puts have to ask for room */
#define QUEUE_FLAGS 63ULL

/*
 * FIFO: the line of a second slot, the putters' end. Its serial is the queue's; the kind in its config is 0, so that nobody
 * takes the slot for an object. Closed and poisoned stand in both lines.
 */
struct queue_tail_shm {
        uint64_t word;
        uint64_t serial;
        uint64_t config;
        uint64_t pushed;  /* items put so far */
        uint64_t pos;     /* where the next item goes */
        uint64_t end;     /* where the room for items in this chunk ends */
        uint64_t getters; /* wake word of those who wait for an item */
        uint64_t ctl;     /* the same chunk | QUEUE_BOUNDED */
};

/* An item that is not in the chain: in a heap, a stack, or under a lease. Guarded like the table it is in. */
struct queue_item_shm {
        uint64_t head;  /* type 8 | enum queue_place 8 | size of the encoded value 48 */
        uint64_t place; /* the value itself, a cell (number 16 | page 48), or a chunk */
        int64_t priority;
        uint64_t sequence; /* the number of its put: older is smaller */
};

enum queue_place {
        QUEUE_HERE = 1, /* in place, or, in the chain, right behind the head */
        QUEUE_CELL = 2, /* in a cell (queue_cells.c) */
        QUEUE_CHUNK =
                3, /* in a chunk of its own, VALUE_CHUNK_DATA behind its start; in the chain, the next word is its offset */
        QUEUE_LINK = 4 /* only in the chain: next word is the next chunk, the one after that this chunk */
};

/* A row of equal entries in pages of QUEUE_PAGE bytes (the first may be smaller), found through a directory chunk. */
struct queue_table_shm {
        uint64_t n;     /* entries in use; leases: ever used */
        uint64_t dir;   /* chunk of page offsets */
        uint64_t pages; /* how many there are */
};

#define QUEUE_PAGE 8160u

struct queue_lease_shm {
        uint64_t id; /* number 44 | index in the table 20; 0 is free */
        uint64_t client;
        uint64_t deadline_ns; /* CLOCK_MONOTONIC; UINT64_MAX is never */
        uint64_t next_free;   /* index + 1 */
        struct queue_item_shm item;
};

/* A page of cells of one size, the start of a chunk's data; the cells follow. */
struct queue_cells_shm {
        uint64_t cell; /* bytes of each */
        uint64_t n;    /* cells in use 32 | ever used 32 */
        uint64_t
                free; /* number + 1 of the first that is free again; each holds the next one's in its first word */
        uint64_t next; /* page with room of the same size */
        uint64_t prev;
};

#define QUEUE_CELL_SIZES 6u

/* What does not fit the lines: the data of a chunk that lives as long as the queue. */
struct queue_shm {
        uint64_t bound; /* constant; 0 is none */
        uint64_t tail;  /* constant: slot_off of the tail; 0 if the queue is not FIFO */
        uint64_t pad[2];

        /* the head's line */
        uint64_t done;    /* unfinished tasks that have been finished */
        uint64_t joiners; /* wake word */
        uint64_t n_leases;
        uint64_t look_ns; /* when getters look at the leases next, though there are items */
        uint64_t next_lease;
        uint64_t free_lease; /* index + 1 */
        struct queue_table_shm leases;
        struct queue_table_shm items;     /* PRIORITY: heap; LIFO: stack; FIFO: heap of what came back */
        uint64_t cells[QUEUE_CELL_SIZES]; /* first page with room for each size */

        /* the tail's line */
        uint64_t chunk;   /* the last of the chain */
        uint64_t removed; /* items that are no longer in the queue, as far as this end has heard */

        uint64_t
                looked_ns; /* anybody, atomic: when somebody has last looked at the leases because there was nothing else */
};

static_assert(sizeof(struct queue_head_shm) == LINE_SIZE, "the head is a line");
static_assert(sizeof(struct queue_tail_shm) == LINE_SIZE, "the tail is a line");
static_assert(sizeof(struct queue_item_shm) == 32, "items are packed");
static_assert(sizeof(struct queue_lease_shm) == 64, "leases are packed");
static_assert(sizeof(struct queue_shm) <= 224, "fits the smallest chunk");

/* ---- Locks (lockobj.c) --------------------------------------------------------------------------------- */

/*
 * What an owner writes is guarded by `state`, not by the line's lock word; see lockobj.c. Other kinds never have a number
 * with the highest bit in root[1], where state is.
 */
struct lock_shm {
        uint64_t word;
        uint64_t serial;
        uint64_t config;
        uint64_t token;   /* owner: of its take */
        uint64_t state;   /* anybody, by compare-and-swap: LOCK_STATE_* */
        uint64_t owner;   /* owner: its lane_id */
        uint64_t n_takes; /* owner: how often it has yet to give it */
        uint64_t pad;
};

/* tag 8 (highest bit, and 7 of the serial) | token 24 | generation 17 | lane 12 | poke | waiters | taken */
#define LOCK_STATE_TAKEN 1ULL
#define LOCK_STATE_WAITERS 2ULL
#define LOCK_STATE_POKE 4ULL /* changes when the object is deleted, so that nobody falls asleep on it */

static_assert(sizeof(struct lock_shm) == LINE_SIZE, "a lock is a line");
