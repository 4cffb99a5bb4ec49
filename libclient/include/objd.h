/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJD_H
#define OBJD_H

/*
 * objd.h -- shared objects for the processes of one machine
 *
 * An arena holds typed objects: dicts, lists, queues and locks. Every process that connects maps the
 * arena and works on the objects in place; no call below goes through another process, except where it
 * says so. Each call is done whole or not at all, also when its process is killed in the middle; whoever
 * comes next finishes or undoes what a dead process left.
 *
 *     objd_conn *conn;
 *     objd_object *jobs;
 *     objd_value v = objd_cstr("hello");
 *
 *     if (objd_connect(NULL, &conn) || objd_open_or_create(conn, "jobs", OBJD_QUEUE, NULL, &jobs) ||
 *         objd_queue_put(jobs, &v, OBJD_FOREVER))
 *             fprintf(stderr, "%s\n", objd_last_error());
 *
 * Rules that hold for every call:
 *
 *  - Status. A call returns OBJD_OK (0) or one of the codes of objd_status; objd_last_error() has the
 *    sentence that goes with it. A call that fails has changed nothing, and its ret_ parameters are
 *    untouched, except where it says so. The library never prints, exits or aborts.
 *  - Memory. Values go in by reference and are copied before the call returns. Values come out by copy
 *    into an objd_buf, which the caller keeps and the library grows (as getline does); what an objd_value
 *    points to is valid until that buffer is used again or freed. Lengths are exact byte counts; nothing
 *    depends on a terminator, and names that are passed in as C strings are the only exception.
 *  - Threads. A connection and an object handle may be used by any number of threads at once. A buffer, a
 *    batch, a cursor and a pin belong to one thread at a time.
 *  - Fork. A child may go on with every connection and handle of its parent; it counts as a client of its
 *    own, holds none of its parent's locks, leases and pins, and owns none of its anonymous objects. Batches
 *    and cursors that are open at the fork may only be freed in the child, also batches that are submitted: they are
 *    the parent's, and only the parent collects them.
 *  - Signals. A call made by a signal handler that interrupted another call on the same arena is refused
 *    with OBJD_E_REENTERED. A call that is left by longjmp() is rolled back at the thread's next call.
 *  - Waiting. A call may wait for another process that is in the middle of a change: at most as long as
 *    objd_set_timeout() says, then it gives OBJD_E_BUSY and names the holder. A dead holder is no reason to
 *    wait: its change is finished or undone by the one who finds it. The timeout_ns of the blocking calls is
 *    another one: how long to wait for an item, for room, or for a lock that somebody owns.
 *  - The daemon. Only objd_connect() to a "shm:" url needs it. All other calls work on while there is none, at the same
 *    speed, and notice neither its death nor the next one, with which the connection registers by itself.
 *  - Read-only connections. The daemon decides which users may change the store; the others may get a connection
 *    that only reads (objd_is_read_only()). Calls that would change something give OBJD_E_ACCESS on it. Reads
 *    go straight to memory as everybody's; where one collides with writers again and again, waits for the end
 *    of tasks, or pins, it asks the daemon for a hand, and gives OBJD_E_NODAEMON if there is none. The daemon
 *    stops writers for at most a tenth of the time for all such readers together, so a read of much under
 *    many writers may give OBJD_E_BUSY. A pin of such a connection ends at the latest with the daemon.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OBJD_VERSION_MAJOR 0
#define OBJD_VERSION_MINOR 1
#define OBJD_VERSION_PATCH 0

#if defined(__GNUC__)
#define OBJD_PUBLIC __attribute__((visibility("default")))
#else
#define OBJD_PUBLIC
#endif

/* ---- Limits ------------------------------------------------------------------------------------------ */

#define OBJD_NAME_MAX 255           /* bytes in an object's name */
#define OBJD_KEY_MAX 1024           /* bytes in a dict's key */
#define OBJD_VALUE_MAX (1ULL << 30) /* bytes in a value */
#define OBJD_NDIM_MAX 8             /* dimensions of an array value */

#define OBJD_SUBMITTED_MAX 192 /* batches of a connection that are submitted and not yet collected */

#define OBJD_FOREVER ((int64_t)-1) /* timeout_ns: wait without end */
#define OBJD_NOWAIT ((int64_t)0)   /* timeout_ns: do not wait */

/* ---- Status ------------------------------------------------------------------------------------------ */

typedef enum objd_status {
        OBJD_OK = 0,
        OBJD_E_INVAL = 1,       /* an argument is outside what the call takes */
        OBJD_E_TYPE = 2,        /* a key or value is not of the container's type */
        OBJD_E_KIND = 3,        /* the object is of another kind (a list where a dict is needed) */
        OBJD_E_NOTFOUND = 4,    /* no such name, key or value */
        OBJD_E_EXISTS = 5,      /* the name or key is taken */
        OBJD_E_GONE = 6,        /* the object has been deleted */
        OBJD_E_NOMEM = 7,       /* the arena, the file system or the process has no memory left */
        OBJD_E_BUSY = 8,        /* a living process holds what is needed; the sentence names it */
        OBJD_E_TIMEOUT = 9,     /* timeout_ns has passed */
        OBJD_E_EMPTY = 10,      /* nothing there, and the call was not to wait */
        OBJD_E_FULL = 11,       /* no room in a bounded queue, and the call was not to wait */
        OBJD_E_CLOSED = 12,     /* the queue is closed (and, for a get, drained) */
        OBJD_E_POISONED = 13,   /* the queue has been poisoned with objd_queue_poison() */
        OBJD_E_RANGE = 14,      /* an index outside the list; an integer sum outside 64 bits */
        OBJD_E_TOOBIG = 15,     /* a name, key or value over the limits above */
        OBJD_E_LIMIT = 16,      /* a fixed table is full, or what a client may cost used up */
        OBJD_E_NOTOWNER = 17,   /* the caller does not hold this lock or lease */
        OBJD_E_OWNER_DIED = 18, /* the lock is now the caller's; its last owner died holding it */
        OBJD_E_MISMATCH = 19,   /* compare-and-set found another value */
        OBJD_E_CORRUPT = 20,    /* the object is damaged, and named in the sentence; it can be deleted */
        OBJD_E_FORMAT = 21,     /* the file is no arena, or one of another format or machine */
        OBJD_E_NODAEMON = 22,   /* no daemon answers at this address */
        OBJD_E_ACCESS = 23,     /* the daemon or the kernel refuses this user, or this change by a reader */
        OBJD_E_REENTERED = 24,  /* called from a signal handler inside another call */
        OBJD_E_SYS = 25,        /* a system call failed; the sentence has its error */
        OBJD_E_PROTO = 26,      /* the peer's answer makes no sense */
        OBJD_E_NOTSUP = 27      /* not on this kind of connection */
} objd_status;

/* The constant's name, as "OBJD_E_BUSY"; never NULL, valid for ever. */
OBJD_PUBLIC const char *objd_strerror(objd_status status);

/*
 * The sentence for the last call of this thread that failed: what was tried, on what, why not.
 * Never NULL; valid until the thread's next call. Any thread, any time.
 */
OBJD_PUBLIC const char *objd_last_error(void);

/* "0.1.0", of the library that runs, as opposed to the header's constants. */
OBJD_PUBLIC const char *objd_version(void);

/* ---- Values ------------------------------------------------------------------------------------------ */

typedef enum objd_type {
        OBJD_ANY = 0, /* only as a container's declared type: no restriction */
        OBJD_NIL = 1,
        OBJD_BOOL = 2,
        OBJD_INT = 3,   /* signed, 64 bits */
        OBJD_FLOAT = 4, /* double; kept bit for bit */
        OBJD_STR = 5,   /* UTF-8; checked on the way in */
        OBJD_BYTES = 6,
        OBJD_ARRAY = 7,   /* dense, row-major: dtype, shape, data */
        OBJD_MESSAGE = 8, /* a protobuf message: its full name and its bytes */
        OBJD_REF = 9      /* another object of the same arena */
} objd_type;

typedef enum objd_dtype {
        OBJD_I8 = 1,
        OBJD_U8 = 2,
        OBJD_I16 = 3,
        OBJD_U16 = 4,
        OBJD_I32 = 5,
        OBJD_U32 = 6,
        OBJD_I64 = 7,
        OBJD_U64 = 8,
        OBJD_F32 = 9,
        OBJD_F64 = 10
} objd_dtype;

/* Names one object for as long as the arena lives; a deleted object's ref is never given to another. */
typedef struct objd_ref {
        uint64_t place;
        uint64_t serial;
} objd_ref;

/*
 * A typed value. data points to size bytes for STR, BYTES, ARRAY and MESSAGE and is NULL for the others.
 * An ARRAY has ndim dimensions of shape[i] items each, and size is their product times the dtype's width.
 * A MESSAGE has its full protobuf name in name, name_size bytes. What a type does not use may be anything.
 */
typedef struct objd_value {
        objd_type type;
        objd_dtype dtype;
        uint32_t ndim;
        uint32_t name_size;
        union {
                bool boolean;
                int64_t integer;
                double real;
                objd_ref ref;
        } u;
        const void *data;
        size_t size;
        const char *name;
        uint64_t shape[OBJD_NDIM_MAX];
} objd_value;

/* Constructors. They copy no data: what they are given must live until the call that takes the value. */
OBJD_PUBLIC objd_value objd_nil(void);
OBJD_PUBLIC objd_value objd_bool(bool boolean);
OBJD_PUBLIC objd_value objd_int(int64_t integer);
OBJD_PUBLIC objd_value objd_float(double real);
OBJD_PUBLIC objd_value objd_str(const char *text, size_t size);
OBJD_PUBLIC objd_value objd_cstr(const char *text);
OBJD_PUBLIC objd_value objd_bytes(const void *data, size_t size);
OBJD_PUBLIC objd_value objd_array(objd_dtype dtype, uint32_t ndim, const uint64_t *shape, const void *data);
OBJD_PUBLIC objd_value objd_message(const char *name, const void *data, size_t size);
OBJD_PUBLIC objd_value objd_refer(objd_ref ref);

/* Whether a and b have the same type and bytes; floats are compared bit for bit. */
OBJD_PUBLIC bool objd_value_equal(const objd_value *a, const objd_value *b);

/* A buffer that reads copy into. Starts as OBJD_BUF_INIT, ends with objd_buf_free(). */
typedef struct objd_buf {
        void *data;
        size_t size; /* bytes allocated */
} objd_buf;

/* clang-format off */
#define OBJD_BUF_INIT { NULL, 0 }
/* clang-format on */

OBJD_PUBLIC void objd_buf_free(objd_buf *buf);

/*
 * Several values that came out of one call. key is only set by calls that give pairs. Everything that the
 * values point to belongs to the objd_items and goes with objd_items_free(), which takes NULL.
 */
typedef struct objd_item {
        objd_value key;
        objd_value value;
        bool found; /* objd_dict_get_many(): the key was there */
} objd_item;

typedef struct objd_items {
        objd_item *item;
        size_t len;
} objd_items;

OBJD_PUBLIC void objd_items_free(objd_items *items);

/* ---- Connections ------------------------------------------------------------------------------------- */

typedef struct objd_conn objd_conn;
typedef struct objd_object objd_object;
typedef struct objd_batch objd_batch;
typedef struct objd_cursor objd_cursor;
typedef struct objd_pin objd_pin;

/*
 * url says which arena:
 *
 *     NULL             $OBJD_URL if set, else the caller's default daemon, "shm:default"
 *     "shm:NAME"       the daemon NAME of this user; NAME is [A-Za-z0-9._-], 1 to 64 bytes
 *     "shm:/DIR/NAME"  the daemon NAME that runs with --dir /DIR
 *     "start:NAME", "start:/DIR/NAME"
 *                      the same, and if no daemon answers, one is started in the background ($OBJD_DAEMON, or
 *                      objd where it has been installed). It ends 10 s after its last client; the store stays
 *     "shm:...?read-only", "start:...?read-only"
 *                      any of them, for a connection that only reads, though more may be allowed
 *     "local:NAME", "local:/DIR/NAME"
 *                      the same store through its daemon, without a mapping: see below. Also for users who get no handle
 *                      (objd --proxy-uid)
 *     "ipc:///PATH"    through the daemon that listens there (objd --rpc), without a mapping: see below
 *     "tcp://HOST:PORT", "tcp://HOST:PORT?key=FILE"
 *                      the same from any machine, encrypted, with the one key in FILE, or else in $OBJD_KEY_FILE
 *                      (objctl keygen). "tcp://HOST:PORT?insecure" if the daemon has none (objd --insecure)
 *     "embedded:"      a new private arena without a daemon, shared with the children this process forks;
 *                      it ends with the last of them
 *     "embedded:SIZE"  the same with a size: bytes, or with a suffix K, M, G or T (default 1G)
 *
 * The arena is mapped whole, so its size counts against the address space, never against memory.
 *
 * While there is no daemon, a connection that is there goes on: every call on it and on its objects does what it
 * always does, also in children that are forked then. Only objd_connect() gives OBJD_E_NODAEMON. What a daemon does for
 * its clients, they do for one another then: who waits, connects or makes an object cleans up after the dead.
 *
 * On a connection without a mapping every call does the same and gives the same codes, but for these:
 *
 *  - A call is a message to the daemon and back. While there is no daemon it waits for the next one, for as long as
 *    objd_set_timeout() says (and a second at least), and then gives OBJD_E_NODAEMON; whether a change was made is then not known.
 *    Nor is it where this process has no memory for the answer (OBJD_E_NOMEM; what a call was to get is then lost), or can make no
 *    new connection (OBJD_E_SYS). Otherwise a change is made exactly once, also if the daemon dies in between.
 *  - The client is known by its session: what it holds is released when it closes the connection, or when nothing
 *    has been heard of it for a while (objd --session-expiry). A thread that takes a lock has to end before the connection is closed.
 *  - The answer to a change is kept in the store until the client has it. In a store that is full, what takes away works all the
 *    same, but for pops of values of more than some 1900 bytes (OBJD_E_NOMEM, and nothing has been changed): read and delete those.
 *  - Over TCP a key may allow less: to read only, or to use only some names (OBJD_E_ACCESS).
 *  - Nothing is read in place: pins are copies, which count against nobody's number and outlive everything. Other calls that
 *    differ in what they cost, or in how much they take at once, say so where they are declared ("without a mapping").
 *  - What goes to the daemon in one call or batch, and what comes back, is at most 1 GiB and 16 MiB; more is OBJD_E_TOOBIG, and
 *    has changed nothing.
 *  - Signal handlers make no calls on it, and none is left by longjmp(): calls take memory and locks. One that is made by a handler which
 *    interrupted another call on such a connection is refused with OBJD_E_REENTERED.
 *  - 256 of its calls and submitted batches can be under way at once. One more waits for the end of one of them, for as long as a call
 *    does for a living holder, and then gives OBJD_E_LIMIT, and has changed nothing.
 *  - It has threads of its own. For "ipc:" and "tcp:" it needs the library nanomsg, and loads it.
 *
 * @return OBJD_OK, OBJD_E_INVAL (no such url), OBJD_E_NODAEMON (none answers, or none can be started),
 *         OBJD_E_ACCESS, OBJD_E_FORMAT, OBJD_E_NOMEM, OBJD_E_LIMIT (too many clients), OBJD_E_BUSY (a living process keeps newcomers
 *         out), OBJD_E_PROTO, OBJD_E_SYS
 */
OBJD_PUBLIC objd_status objd_connect(const char *url, objd_conn **ret_conn);

/*
 * Ends the connection: what this client holds is released, its anonymous objects are deleted. Handles,
 * batches, cursors and pins of the connection must have been released. Takes NULL. Other threads must have
 * finished their calls on it.
 */
OBJD_PUBLIC void objd_close(objd_conn *conn);

/* Whether this connection only reads, because the daemon allows this user no more, or no more was asked for. */
OBJD_PUBLIC bool objd_is_read_only(const objd_conn *conn);

/*
 * How long a call waits for a living process that is in the middle of a change of the same object, before
 * it gives OBJD_E_BUSY. The default is 5 s; OBJD_FOREVER and OBJD_NOWAIT are taken.
 * objd_set_timeout() is for all calls of the connection, objd_next_timeout() for the next call of this
 * thread only, whatever comes of it; what only prepares or ends something (objd_batch_*() but for the commit,
 * objd_release() and its like) does not count as a call.
 */
OBJD_PUBLIC objd_status objd_set_timeout(objd_conn *conn, int64_t timeout_ns);
OBJD_PUBLIC void objd_next_timeout(int64_t timeout_ns);

/*
 * What the arena holds and costs. Sizes in bytes. For each client without a mapping there is an object with its last answers, which
 * is counted here, and which objd_list() does not show.
 */
typedef struct objd_stats {
        uint64_t arena_size;     /* of the file, sparse */
        uint64_t arena_used;     /* in chunks of living objects and of the engine */
        uint64_t arena_resident; /* memory that the arena takes from the system */
        uint64_t arena_limit;    /* bytes that can still be taken before OBJD_E_NOMEM */
        uint64_t n_objects;
        uint64_t n_clients;
        uint64_t n_lanes;
        uint64_t n_reads; /* operations since the arena was made */
        uint64_t n_writes;
        uint64_t n_recoveries; /* dead lanes that somebody cleaned up */
} objd_stats;

OBJD_PUBLIC objd_status objd_stats_get(objd_conn *conn, objd_stats *ret_stats);

/* ---- Objects and their names ------------------------------------------------------------------------- */

typedef enum objd_kind {
        OBJD_KIND_ANY = 0, /* only for opening: whatever it is */
        OBJD_DICT = 1,
        OBJD_LIST = 2,
        OBJD_QUEUE = 3,
        OBJD_LOCK = 4
} objd_kind;

typedef enum objd_order { OBJD_FIFO = 0, OBJD_LIFO = 1, OBJD_PRIORITY = 2 } objd_order;

/* Flags of a lock. */
#define OBJD_LOCK_RECURSIVE 1u /* its owner may take it again, and gives it as often */
#define OBJD_LOCK_OWNERLESS 2u /* belongs to nobody: anyone may give it, and a death does not free it */

/*
 * How an object is made. Start from OBJD_CONFIG_INIT; NULL in its place means the same. Fields that do not
 * concern the kind must be left 0.
 */
typedef struct objd_config {
        size_t struct_size;   /* sizeof(objd_config), set by OBJD_CONFIG_INIT */
        objd_type key_type;   /* dict: OBJD_INT, OBJD_STR, OBJD_BYTES, or OBJD_ANY for all three */
        objd_type value_type; /* dict, list, queue */
        objd_order order;     /* queue */
        uint64_t bound;       /* queue: how many items it holds at most; 0 is no bound */
        uint32_t lock_flags;  /* lock */
} objd_config;

/* clang-format off */
#define OBJD_CONFIG_INIT { sizeof(objd_config), OBJD_ANY, OBJD_ANY, OBJD_FIFO, 0, 0 }
/* clang-format on */

/*
 * objd_create() makes a new object, objd_open() finds one by name, objd_open_or_create() does what is
 * needed, as one step. With name NULL, objd_create() makes an anonymous object: it is deleted when the client
 * that made it leaves or dies, unless it has been given a name with objd_set_name() meanwhile.
 * A name is UTF-8, 1 to OBJD_NAME_MAX bytes, without control characters.
 * An object that is opened keeps the configuration it was made with; if config is given and its types,
 * order, bound or flags differ, the answer is OBJD_E_TYPE.
 * The handle is released with objd_release(); that does not touch the object.
 *
 * @return OBJD_OK, OBJD_E_INVAL, OBJD_E_TOOBIG (name), OBJD_E_EXISTS (objd_create), OBJD_E_NOTFOUND
 *         (objd_open), OBJD_E_KIND, OBJD_E_TYPE, OBJD_E_NOMEM, OBJD_E_BUSY
 */
OBJD_PUBLIC objd_status objd_create(objd_conn *conn, const char *name, objd_kind kind,
                                    const objd_config *config, objd_object **ret_object);
OBJD_PUBLIC objd_status objd_open(objd_conn *conn, const char *name, objd_kind kind,
                                  objd_object **ret_object);
OBJD_PUBLIC objd_status objd_open_or_create(objd_conn *conn, const char *name, objd_kind kind,
                                            const objd_config *config, objd_object **ret_object);

/* Releases a handle. Takes NULL. Pins taken through it stay good. */
OBJD_PUBLIC void objd_release(objd_object *object);

/* The object's ref, to be put into a container; and a handle from a ref that was found in one. */
OBJD_PUBLIC objd_ref objd_ref_of(const objd_object *object);
OBJD_PUBLIC objd_status objd_open_ref(objd_conn *conn, objd_ref ref, objd_kind kind,
                                      objd_object **ret_object);

/*
 * Deletes by name, and by handle. All memory of the object goes back to the arena; every handle to it gives
 * OBJD_E_GONE from now on, and whoever waits on it is woken with OBJD_E_GONE.
 */
OBJD_PUBLIC objd_status objd_delete(objd_conn *conn, const char *name);
OBJD_PUBLIC objd_status objd_destroy(objd_object *object);

/* Names an anonymous object, which from then on belongs to nobody; renames a named one. */
OBJD_PUBLIC objd_status objd_set_name(objd_object *object, const char *name);

typedef struct objd_info {
        objd_ref ref;
        objd_kind kind;
        objd_config config;
        uint64_t len;    /* entries, items; a lock: 1 while it is taken */
        uint64_t memory; /* bytes of arena */
        bool poisoned;
        char name[OBJD_NAME_MAX + 1]; /* "" is anonymous */
} objd_info;

OBJD_PUBLIC objd_status objd_info_get(objd_object *object, objd_info *ret_info);

/*
 * All objects that have a name with this prefix (NULL or "" for every object that has a name), sorted by
 * name. The array is freed with objd_infos_free(), which takes NULL.
 * A prefix that is not UTF-8, also one that ends inside a character, is OBJD_E_INVAL.
 */
OBJD_PUBLIC objd_status objd_list(objd_conn *conn, const char *prefix, objd_info **ret_infos,
                                  size_t *ret_len);
OBJD_PUBLIC void objd_infos_free(objd_info *infos);

/* ---- Dicts ------------------------------------------------------------------------------------------- */

/*
 * Keys are INT, STR or BYTES and at most OBJD_KEY_MAX bytes long. A STR and a BYTES key with the same bytes
 * are two keys. Reads take no lock and never hinder a writer. Writers of different keys go in parallel.
 *
 * Common to all: OBJD_E_KIND, OBJD_E_GONE, OBJD_E_TYPE, OBJD_E_TOOBIG, OBJD_E_BUSY, OBJD_E_NOMEM (also from reads,
 * for the caller's buffer), OBJD_E_CORRUPT. What is listed below comes on top.
 */

/* @return OBJD_E_NOTFOUND */
OBJD_PUBLIC objd_status objd_dict_get(objd_object *dict, const objd_value *key, objd_value *ret_value,
                                      objd_buf *buf);
OBJD_PUBLIC objd_status objd_dict_set(objd_object *dict, const objd_value *key, const objd_value *value);

/* Sets only if the key is new. @return OBJD_E_EXISTS */
OBJD_PUBLIC objd_status objd_dict_set_new(objd_object *dict, const objd_value *key, const objd_value *value);

/*
 * Sets value only if the key's value equals expected (NULL: only if there is no such key). value NULL
 * deletes the key. @return OBJD_E_MISMATCH
 */
OBJD_PUBLIC objd_status objd_dict_cas(objd_object *dict, const objd_value *key, const objd_value *expected,
                                      const objd_value *value);

/*
 * Adds to the key's number and gives the sum; a key that is not there counts as 0. ret_sum may be NULL.
 * @return OBJD_E_TYPE (the value is no INT, or no FLOAT), OBJD_E_RANGE (the sum needs more than 64 bits)
 */
OBJD_PUBLIC objd_status objd_dict_add_int(objd_object *dict, const objd_value *key, int64_t delta,
                                          int64_t *ret_sum);
OBJD_PUBLIC objd_status objd_dict_add_float(objd_object *dict, const objd_value *key, double delta,
                                            double *ret_sum);

/* @return OBJD_E_NOTFOUND */
OBJD_PUBLIC objd_status objd_dict_del(objd_object *dict, const objd_value *key);

/* Deletes the entry and gives its value. @return OBJD_E_NOTFOUND */
OBJD_PUBLIC objd_status objd_dict_pop(objd_object *dict, const objd_value *key, objd_value *ret_value,
                                      objd_buf *buf);

/* Deletes some entry and gives it; key and value both live in buf. @return OBJD_E_EMPTY */
OBJD_PUBLIC objd_status objd_dict_pop_any(objd_object *dict, objd_value *ret_key, objd_value *ret_value,
                                          objd_buf *buf);

OBJD_PUBLIC objd_status objd_dict_contains(objd_object *dict, const objd_value *key, bool *ret_found);
OBJD_PUBLIC objd_status objd_dict_len(objd_object *dict, uint64_t *ret_len);
OBJD_PUBLIC objd_status objd_dict_clear(objd_object *dict);

/*
 * set_many sets n pairs, all or none of them. get_many looks n keys up, each as of its own moment, and gives
 * an item for each, in order, with found set.
 */
OBJD_PUBLIC objd_status objd_dict_set_many(objd_object *dict, const objd_value *keys,
                                           const objd_value *values, size_t n);
OBJD_PUBLIC objd_status objd_dict_get_many(objd_object *dict, const objd_value *keys, size_t n,
                                           objd_items **ret_items);

/*
 * All pairs as of one moment, in the order in which the keys were first set. Writers wait for the copy. Without a mapping a copy of
 * more than fits into one answer is OBJD_E_TOOBIG: a cursor gives it in parts.
 */
OBJD_PUBLIC objd_status objd_dict_copy(objd_object *dict, objd_items **ret_items);

/* ---- Lists ------------------------------------------------------------------------------------------- */

/*
 * Indices count from 0; negative ones from the end, -1 being the last item. A slice [start, stop) is cut to
 * what is there. Insert, delete and get cost O(log n) anywhere, and O(1) at both ends.
 */
OBJD_PUBLIC objd_status objd_list_append(objd_object *list, const objd_value *value);
OBJD_PUBLIC objd_status objd_list_prepend(objd_object *list, const objd_value *value);

/* Appends n values, all or none. */
OBJD_PUBLIC objd_status objd_list_extend(objd_object *list, const objd_value *values, size_t n);

/* Puts value before the item at index; an index outside is cut to the list's ends. */
OBJD_PUBLIC objd_status objd_list_insert(objd_object *list, int64_t index, const objd_value *value);

/* @return OBJD_E_RANGE, all four */
OBJD_PUBLIC objd_status objd_list_get(objd_object *list, int64_t index, objd_value *ret_value, objd_buf *buf);
OBJD_PUBLIC objd_status objd_list_set(objd_object *list, int64_t index, const objd_value *value);
OBJD_PUBLIC objd_status objd_list_del(objd_object *list, int64_t index);
OBJD_PUBLIC objd_status objd_list_pop(objd_object *list, int64_t index, objd_value *ret_value, objd_buf *buf);

/* Deletes the first item that equals value. @return OBJD_E_NOTFOUND */
OBJD_PUBLIC objd_status objd_list_remove(objd_object *list, const objd_value *value);

/* The items [start, stop) as of one moment; OBJD_LIST_END is the end. Without a mapping OBJD_E_TOOBIG, as from objd_dict_copy(). */
#define OBJD_LIST_END INT64_MAX
OBJD_PUBLIC objd_status objd_list_slice(objd_object *list, int64_t start, int64_t stop,
                                        objd_items **ret_items);
OBJD_PUBLIC objd_status objd_list_slice_del(objd_object *list, int64_t start, int64_t stop);

OBJD_PUBLIC objd_status objd_list_len(objd_object *list, uint64_t *ret_len);
OBJD_PUBLIC objd_status objd_list_clear(objd_object *list);

/* The first index in [start, stop) whose item equals value. @return OBJD_E_NOTFOUND */
OBJD_PUBLIC objd_status objd_list_index(objd_object *list, const objd_value *value, int64_t start,
                                        int64_t stop, uint64_t *ret_index);
OBJD_PUBLIC objd_status objd_list_count(objd_object *list, const objd_value *value, uint64_t *ret_count);
OBJD_PUBLIC objd_status objd_list_reverse(objd_object *list);

/*
 * Sorts in place, stable, also with descending true. The order: by type first (NIL, BOOL, then INT and FLOAT
 * together by number with NaN last, STR, BYTES, ARRAY, MESSAGE, REF), then by value; STR and BYTES by bytes.
 */
OBJD_PUBLIC objd_status objd_list_sort(objd_object *list, bool descending);

/* ---- Cursors ----------------------------------------------------------------------------------------- */

/*
 * Goes through a dict or a list while others change it. In a dict an entry that is there from the cursor's
 * making to its end is given exactly once, in no order; one that comes or goes meanwhile, once or not at
 * all. A list's cursor counts positions: an insert or delete before it shifts what it sees next.
 * key is only set for dicts. What key and value point to lives until the next call on the cursor.
 * Next returns OBJD_E_NOTFOUND at the end. A cursor has fetched some entries in advance, without a mapping some hundred of them; what is
 * changed or deleted meanwhile is given as it was.
 */
OBJD_PUBLIC objd_status objd_cursor_new(objd_object *object, objd_cursor **ret_cursor);
OBJD_PUBLIC objd_status objd_cursor_next(objd_cursor *cursor, objd_value *ret_key, objd_value *ret_value);
OBJD_PUBLIC void objd_cursor_free(objd_cursor *cursor);

/* ---- Pins -------------------------------------------------------------------------------------------- */

/*
 * A read that does not copy: value points into the arena (or, if it is small, into the pin) and stays as it
 * is, though the entry may be replaced or deleted meanwhile, until objd_unpin(), the thread's end, or the
 * client's death. A thread holds at most 64 pins at once. Released by the thread that took it, with
 * objd_unpin(), which takes NULL. Do not write to it: others read it too. Without a mapping it is a copy: the value costs as much as
 * objd_dict_get(), any number may be held, and none ends before objd_unpin().
 * @return OBJD_E_NOTFOUND, OBJD_E_RANGE, OBJD_E_LIMIT
 */
OBJD_PUBLIC objd_status objd_dict_pin(objd_object *dict, const objd_value *key, objd_value *ret_value,
                                      objd_pin **ret_pin);
OBJD_PUBLIC objd_status objd_list_pin(objd_object *list, int64_t index, objd_value *ret_value,
                                      objd_pin **ret_pin);
OBJD_PUBLIC void objd_unpin(objd_pin *pin);

/* ---- Queues ------------------------------------------------------------------------------------------ */

/*
 * Any number of putters and getters. A FIFO queue gives items in the order of their puts, a LIFO queue the
 * newest first, a PRIORITY queue the smallest priority first and among equals the oldest.
 *
 * Common to the puts: OBJD_E_FULL (OBJD_NOWAIT only), OBJD_E_TIMEOUT, OBJD_E_CLOSED, OBJD_E_POISONED.
 * Common to the gets: OBJD_E_EMPTY (OBJD_NOWAIT only), OBJD_E_TIMEOUT, OBJD_E_CLOSED, OBJD_E_POISONED.
 */
OBJD_PUBLIC objd_status objd_queue_put(objd_object *queue, const objd_value *value, int64_t timeout_ns);

/* @return OBJD_E_INVAL (no PRIORITY queue); objd_queue_put() puts with priority 0 */
OBJD_PUBLIC objd_status objd_queue_put_priority(objd_object *queue, const objd_value *value, int64_t priority,
                                                int64_t timeout_ns);

/* Puts n items next to one another, all or none; OBJD_E_INVAL if n is over the bound. */
OBJD_PUBLIC objd_status objd_queue_put_many(objd_object *queue, const objd_value *values, size_t n,
                                            int64_t timeout_ns);

OBJD_PUBLIC objd_status objd_queue_get(objd_object *queue, objd_value *ret_value, objd_buf *buf,
                                       int64_t timeout_ns);

/* Waits for one item, then takes what is there, at most max; more than 1024 not as of one moment. */
OBJD_PUBLIC objd_status objd_queue_get_many(objd_object *queue, size_t max, objd_items **ret_items,
                                            int64_t timeout_ns);

/* The item that the next get would take; never waits. @return OBJD_E_EMPTY */
OBJD_PUBLIC objd_status objd_queue_peek(objd_object *queue, objd_value *ret_value, objd_buf *buf);

/* Items that can be taken; those under a lease are not counted. */
OBJD_PUBLIC objd_status objd_queue_len(objd_object *queue, uint64_t *ret_len);

/* No more puts; gets drain what is there and then give OBJD_E_CLOSED. Items under a lease may still come back. */
OBJD_PUBLIC objd_status objd_queue_close(objd_object *queue);

/* From now on every put, get, peek and join gives OBJD_E_POISONED at once, also those that wait already. */
OBJD_PUBLIC objd_status objd_queue_poison(objd_object *queue);

/*
 * Each put adds one unfinished task, each objd_queue_task_done() and each ack takes one away, join waits until
 * none is left. @return OBJD_E_INVAL from task_done if there is none
 */
OBJD_PUBLIC objd_status objd_queue_task_done(objd_object *queue);
OBJD_PUBLIC objd_status objd_queue_join(objd_object *queue, int64_t timeout_ns);

/*
 * A get under a lease: the item stays in the queue, out of sight, until objd_queue_ack() deletes it. If it is
 * given back, if the client dies or closes its connection, or if lease_ns passes (OBJD_FOREVER: never), it is
 * at the head of the queue again. The death of a client without a mapping is known when its session expires. ack and give_back of a lease that is over give OBJD_E_NOTOWNER.
 */
OBJD_PUBLIC objd_status objd_queue_get_lease(objd_object *queue, int64_t lease_ns, objd_value *ret_value,
                                             objd_buf *buf, uint64_t *ret_lease, int64_t timeout_ns);
OBJD_PUBLIC objd_status objd_queue_ack(objd_object *queue, uint64_t lease);
OBJD_PUBLIC objd_status objd_queue_give_back(objd_object *queue, uint64_t lease);

/* ---- Locks ------------------------------------------------------------------------------------------- */

/*
 * A lock belongs to the thread that took it, also without a mapping; there a death is known when the session expires. Its token is greater with each take; pass it along with what
 * the lock protects, so that a late writer can be told from the present owner.
 *
 * take: @return OBJD_OK or OBJD_E_OWNER_DIED (the lock is the caller's either way), OBJD_E_EMPTY (never),
 *       OBJD_E_BUSY (OBJD_NOWAIT; the sentence names the owner), OBJD_E_TIMEOUT, OBJD_E_INVAL (the caller
 *       owns it already and it is not recursive)
 * give: @return OBJD_E_NOTOWNER
 */
OBJD_PUBLIC objd_status objd_lock_take(objd_object *lock, int64_t timeout_ns, uint64_t *ret_token);
OBJD_PUBLIC objd_status objd_lock_give(objd_object *lock);

/* Who has it now: a pid as its owner sees it, 0 for nobody or an ownerless lock. Any pointer may be NULL. */
OBJD_PUBLIC objd_status objd_lock_owner(objd_object *lock, bool *ret_taken, int64_t *ret_pid,
                                        uint64_t *ret_token);

/* ---- Batches ----------------------------------------------------------------------------------------- */

/*
 * A list of operations over any objects of one connection that happen at one moment: all of them, or, if one
 * fails or the process dies, none. Adding an operation copies its values and does nothing else; later
 * operations see what the earlier ones do. Nothing in a batch that is committed waits for an item, room or an owner.
 * (A batch that is submitted can also be a mere list of operations, which may wait: see below.)
 *
 * objd_batch_commit() runs it. If an operation fails, its status is returned, ret_failed (may be NULL) is its
 * place in the batch, and nothing has changed; if it is no single operation's fault (a living process holds what one of
 * them needs, there is no memory for all of them) ret_failed stays as it was; the batch can be committed again. After a success results can
 * be fetched, and objd_batch_clear() makes it ready for new operations.
 */
OBJD_PUBLIC objd_status objd_batch_new(objd_conn *conn, objd_batch **ret_batch);
OBJD_PUBLIC void objd_batch_free(objd_batch *batch);
OBJD_PUBLIC void objd_batch_clear(objd_batch *batch);
OBJD_PUBLIC objd_status objd_batch_commit(objd_batch *batch, size_t *ret_failed);

/*
 * What the operation at this place gave: a popped or got value, a sum, a lock's token (INT). NIL if it gives none. Lives
 * with the batch. In a batch that was run OBJD_IN_TURN each operation has a status of its own, and that is the answer here.
 */
OBJD_PUBLIC objd_status objd_batch_result(const objd_batch *batch, size_t place, objd_value *ret_value);

OBJD_PUBLIC objd_status objd_batch_dict_set(objd_batch *batch, objd_object *dict, const objd_value *key,
                                            const objd_value *value);
OBJD_PUBLIC objd_status objd_batch_dict_set_new(objd_batch *batch, objd_object *dict, const objd_value *key,
                                                const objd_value *value);
OBJD_PUBLIC objd_status objd_batch_dict_cas(objd_batch *batch, objd_object *dict, const objd_value *key,
                                            const objd_value *expected, const objd_value *value);
OBJD_PUBLIC objd_status objd_batch_dict_add_int(objd_batch *batch, objd_object *dict, const objd_value *key,
                                                int64_t delta);
OBJD_PUBLIC objd_status objd_batch_dict_add_float(objd_batch *batch, objd_object *dict, const objd_value *key,
                                                  double delta);
OBJD_PUBLIC objd_status objd_batch_dict_get(objd_batch *batch, objd_object *dict, const objd_value *key);
OBJD_PUBLIC objd_status objd_batch_dict_del(objd_batch *batch, objd_object *dict, const objd_value *key);
OBJD_PUBLIC objd_status objd_batch_dict_pop(objd_batch *batch, objd_object *dict, const objd_value *key);
OBJD_PUBLIC objd_status objd_batch_list_append(objd_batch *batch, objd_object *list, const objd_value *value);
OBJD_PUBLIC objd_status objd_batch_list_prepend(objd_batch *batch, objd_object *list,
                                                const objd_value *value);
OBJD_PUBLIC objd_status objd_batch_list_insert(objd_batch *batch, objd_object *list, int64_t index,
                                               const objd_value *value);
OBJD_PUBLIC objd_status objd_batch_list_set(objd_batch *batch, objd_object *list, int64_t index,
                                            const objd_value *value);
OBJD_PUBLIC objd_status objd_batch_list_get(objd_batch *batch, objd_object *list, int64_t index);
OBJD_PUBLIC objd_status objd_batch_list_del(objd_batch *batch, objd_object *list, int64_t index);
OBJD_PUBLIC objd_status objd_batch_list_pop(objd_batch *batch, objd_object *list, int64_t index);
OBJD_PUBLIC objd_status objd_batch_queue_put(objd_batch *batch, objd_object *queue, const objd_value *value,
                                             int64_t priority);
OBJD_PUBLIC objd_status objd_batch_queue_get(objd_batch *batch, objd_object *queue);
OBJD_PUBLIC objd_status objd_batch_queue_ack(objd_batch *batch, objd_object *queue, uint64_t lease);
OBJD_PUBLIC objd_status objd_batch_queue_task_done(objd_batch *batch, objd_object *queue);

/* ---- Submitting -------------------------------------------------------------------------------------- */

/*
 * A batch can be handed over, and collected when it is done, so that one thread has many under way:
 *
 *     objd_submit(batch, OBJD_IN_TURN, my_request);
 *     ...
 *     while (objd_collect(conn, OBJD_FOREVER, &batch, &tag) == OBJD_OK)
 *             answer(tag, batch);
 *
 * OBJD_AT_ONCE is what objd_batch_commit() does: all operations at one moment, or none. OBJD_IN_TURN runs them one after the
 * other, each whole or not at all by itself, also after one that has failed; only such a batch may hold the operations below
 * that wait. They hold up the rest of their own batch and nothing else. Batches have no order among them: what is to
 * come after something stands behind it in the same batch, or is submitted when that has been collected.
 *
 * objd_submit() waits for no item, room or owner, and for no answer of a daemon. By handle it runs at once what need not wait, at
 * the same cost as a call; a thread of the library's own, started with the first batch that may have to, waits for all the
 * others together. On a connection without a mapping a batch is one message, and the reply is taken in by whichever thread calls the
 * library next, or waits in it; up to OBJD_SUBMITTED_MAX are on their way at once.
 *
 * Between the two calls the batch and its objects' handles must live, and the batch is the library's: only objd_cancel() and
 * objd_batch_free() take it. The tag is for the caller alone. A lock that a batch takes is the submitting thread's, which keeps
 * off that lock until it has collected the batch.
 *
 * submit: @return OBJD_OK, OBJD_E_LIMIT (OBJD_SUBMITTED_MAX are not collected: collect first), OBJD_E_INVAL (also an empty one), OBJD_E_TOOBIG (for one message),
 *         OBJD_E_NOMEM, OBJD_E_SYS (no thread). The batch has not been submitted then, and nothing of it been run
 */
typedef enum objd_how { OBJD_AT_ONCE = 0, OBJD_IN_TURN = 1 } objd_how;

OBJD_PUBLIC objd_status objd_submit(objd_batch *batch, objd_how how, void *tag);

/*
 * Gives a batch that is done, the first that was, and its tag (ret_tag may be NULL). Any thread collects what any other has
 * submitted; a batch is given once. How it went is for objd_batch_outcome() to say, and objd_batch_result().
 * @return OBJD_OK, OBJD_E_NOTFOUND (nothing is submitted), OBJD_E_EMPTY (OBJD_NOWAIT: none is done), OBJD_E_TIMEOUT
 */
OBJD_PUBLIC objd_status objd_collect(objd_conn *conn, int64_t timeout_ns, objd_batch **ret_batch,
                                     void **ret_tag);

/*
 * A descriptor for poll() and its like. It is readable while there is a batch to collect; now and then it is without one, so
 * collect with OBJD_NOWAIT until nothing is left, and then wait on it again. It belongs to the connection: nobody else reads,
 * writes or closes it. A child of a fork has to ask for its own.
 * @return OBJD_OK, OBJD_E_SYS, OBJD_E_NOMEM
 */
OBJD_PUBLIC objd_status objd_collect_fd(objd_conn *conn, int *ret_fd);

/*
 * Ends the waiting of a submitted batch: from now on its operations that wait time out at once (OBJD_E_TIMEOUT). It is to be collected
 * all the same, and tells what it has done. A batch that is done is no failure.
 * objd_batch_free() of a submitted batch gives it up: what of it has been done stays done, nobody is told, and an item that it got
 * is gone (unless it was under a lease, which comes back in its time). So it is with all batches of a connection that are not
 * collected when the connection is closed, before which they must be freed.
 */
OBJD_PUBLIC objd_status objd_cancel(objd_batch *batch);

/*
 * How a batch that was committed or has been collected went: what objd_batch_commit() would have returned, with its
 * ret_failed (may be NULL). For OBJD_IN_TURN it is OBJD_OK if each operation has a status; else nothing is known of any of them
 * (OBJD_E_NODAEMON), or none was run. After a failure the batch can be submitted again.
 */
OBJD_PUBLIC objd_status objd_batch_outcome(const objd_batch *batch, size_t *ret_failed);

/* What waits, for OBJD_IN_TURN only. timeout_ns counts from when it is the operation's turn. */
OBJD_PUBLIC objd_status objd_batch_queue_put_wait(objd_batch *batch, objd_object *queue,
                                                  const objd_value *value, int64_t priority,
                                                  int64_t timeout_ns);
OBJD_PUBLIC objd_status objd_batch_queue_get_wait(objd_batch *batch, objd_object *queue, int64_t timeout_ns);
OBJD_PUBLIC objd_status objd_batch_queue_get_lease(objd_batch *batch, objd_object *queue, int64_t lease_ns,
                                                   int64_t timeout_ns);
OBJD_PUBLIC objd_status objd_batch_lock_take(objd_batch *batch, objd_object *lock, int64_t timeout_ns);
OBJD_PUBLIC objd_status objd_batch_lock_give(objd_batch *batch, objd_object *lock);

/* The lease that objd_batch_queue_get_lease() at this place has taken. @return as objd_batch_result() */
OBJD_PUBLIC objd_status objd_batch_lease(const objd_batch *batch, size_t place, uint64_t *ret_lease);

#ifdef __cplusplus
}
#endif

#endif
