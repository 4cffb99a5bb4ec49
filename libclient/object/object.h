/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * object.h -- handles, and what every kind of object has in common
 */

#include <objd.h>

#include "arena/arena.h"
#include "base/next_timeout.h"
#include "sync/lock.h"
#include "txn/lane.h"

struct url;
struct rpc_client;

struct objd_conn {
        struct arena *arena;
        int64_t timeout_ns; /* atomic */
        int control;        /* atomic: the daemon's socket, -1 for none */
        uint64_t fork_generation;
        struct url *url; /* where the daemon listens, to register again; NULL when embedded */
        char *name;      /* the url as it was written, for sentences */

        /* A new daemon has taken the arena up (client/register.c); NULL where there is nobody to register with. */
        void (*new_daemon_fn)(struct objd_conn *conn);
        uint64_t daemon_epoch; /* atomic: of the daemon that `control` leads to */
        uint64_t retry_ns;     /* atomic: no sooner than then, if the last attempt failed */

        struct near *near;      /* batches that are submitted (client/near.h); NULL: none yet */
        struct rpc_client *rpc; /* without a mapping, all goes through the daemon: arena is NULL then */
};

struct objd_object {
        struct objd_conn *conn;
        struct object_shm *shm;
        uint64_t serial;
        uint64_t config;      /* constant for the object's life: OBJECT_* below */
        uint64_t retire_seen; /* header.retire_count when shm was last known to be a slot; atomic */
        uint64_t cache[2];    /* the kind's own hints; atomic */
        objd_type plain_key; /* of a dict: keys of this type may take the shortest way; constant, 0 is none */
};

/* line.config: kind 8 | key type 8 | value type 8 | order 8 | lock flags 8 | state 8. State is the only part that changes. */
#define OBJECT_STATE_SHIFT 40
#define OBJECT_POISONED LINE_POISONED /* damaged; every call but a deletion gives OBJD_E_CORRUPT */
static_assert(OBJECT_POISONED == 1ULL << OBJECT_STATE_SHIFT, "the first bit of the state");

#define OBJECT_KEYED (2ULL << OBJECT_STATE_SHIFT) /* of a dict: it has a hash of its own; dict_hash.h */

static inline objd_kind object_kind(uint64_t config)
{
        return (objd_kind)(config & 0xff);
}

static inline objd_type object_key_type(uint64_t config)
{
        return (objd_type)(config >> 8 & 0xff);
}

static inline objd_type object_value_type(uint64_t config)
{
        return (objd_type)(config >> 16 & 0xff);
}

/* What objd_object.plain_key is for this config; 0 is the key type of no key. */
static inline uint32_t object_plain_key(uint64_t config)
{
        objd_type type = object_key_type(config);

        return object_kind(config) == OBJD_DICT && (type == OBJD_STR || type == OBJD_BYTES) ? type + 1U : 0;
}

static inline objd_order object_order(uint64_t config)
{
        return (objd_order)(config >> 24 & 0xff);
}

static inline uint32_t object_lock_flags(uint64_t config)
{
        return (uint32_t)(config >> 32 & 0xff);
}

/*
 * In the kind's byte: the handle is one of a connection without a mapping. So no function that asks for the kind it
 * knows takes it for its own. Its shm is NULL, and cache[0] the object's place.
 */
#define OBJECT_PROXIED 0x80ULL

static inline bool object_is_proxied(const struct objd_object *object)
{
        return object && __builtin_expect(object->config & OBJECT_PROXIED, 0);
}

/* The chunk that holds the object's name if it is too long for the slot, 0 if it is not. */
uint64_t object_name_chunk(const struct object_shm *object);

/*
 * For a call with several steps that may wait: at its beginning, before all else. What objd_next_timeout() has said is for each of
 * the steps, and ends with the call.
 */
#define HOLD_NEXT_TIMEOUT                                                                  \
        const void *held_next_timeout __attribute__((cleanup(next_timeout_end), unused)) = \
                next_timeout_hold(__builtin_frame_address(0))
const void *next_timeout_hold(const void *frame);
void next_timeout_end(const void **held);

int64_t next_timeout_use(int64_t otherwise_ns);

/* What a call on this connection may wait for living holders; objd_next_timeout() once, else the connection's. */
static inline int64_t conn_timeout(const struct objd_conn *conn)
{
        if (__builtin_expect(next_timeout.set, 0))
                return next_timeout_use((int64_t)word_get((const uint64_t *)&conn->timeout_ns));
        return (int64_t)word_get((const uint64_t *)&conn->timeout_ns);
}

/*
 * Whether a new daemon has taken the arena up since this connection was made. It raises retire_count, so handles come here
 * with their next call; what else is slow enough to ask asks as well. Never waits.
 */
static inline void conn_look_for_daemon(struct objd_conn *conn)
{
        if (conn->new_daemon_fn &&
            word_get(&conn->daemon_epoch) != word_get(&conn->arena->header->daemon_epoch))
                conn->new_daemon_fn(conn);
}

objd_status object_touch_again(struct objd_object *object, uint64_t retired);

/* Inside an epoch: as long as no block has been retired since the last look, this object's block has not been. */
static inline bool object_is_known(const struct objd_object *object)
{
        return word_get(&object->retire_seen) == word_get_acquire(&object->conn->arena->header->retire_count);
}

/*
 * Inside an epoch: whether the handle's slot is still a slot, so that its line may be locked and read. Says nothing
 * about the object in it: compare the line's serial after taking the lock or under its version.
 * @return OBJD_OK, OBJD_E_GONE
 */
static inline objd_status object_touch(struct objd_object *object)
{
        uint64_t retired = word_get_acquire(&object->conn->arena->header->retire_count);

        /* As long as no block has been retired since the last look, this one has not been. */
        return __builtin_expect(word_get(&object->retire_seen) == retired, 1)
                       ? OBJD_OK
                       : object_touch_again(object, retired);
}

/* The sentence and status for a handle whose object is no longer there. */
objd_status object_gone(const struct objd_object *object);

/* Inside an epoch: the slot that a ref names, if that is a slot. Compare its serial. @return OBJD_OK, OBJD_E_GONE */
objd_status object_find(struct arena *arena, objd_ref ref, struct object_shm **ret_object);

/* With the line locked, or before its version is looked at again. @return OBJD_OK, OBJD_E_GONE, OBJD_E_CORRUPT (poisoned) */
objd_status object_verify(const struct objd_object *object);

/* The object's name, "" if it has none; false if it is gone or being changed. Takes no lock. */
bool object_name(const struct arena *arena, struct object_shm *object, uint64_t serial,
                 char ret_name[OBJD_NAME_MAX + 1]);

/* The object's name, or "#place.serial" if it has none, for sentences; in a buffer of the thread. */
const char *object_label(const struct objd_object *object);
