/* SPDX-License-Identifier: Apache-2.0 */
/*
 * directory.c -- objects as such: made, found by name, gone through, and the arena that they are in
 */

#include "object/directory.h"

#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "base/utf8.h"
#include "mem/pool.h"
#include "object/bundle.h"
#include "object/name.h"
#include "object/header.h"
#include "object/kind.h"
#include "object/rider.h"
#include "object/queue.h"
#include "object/value.h"
#include "txn/txn.h"

#define DIRECTORY_TIMEOUT_NS 5000000000LL

static uint64_t pack_config(objd_kind kind, const objd_config *config)
{
        return (uint64_t)kind | (uint64_t)config->key_type << 8 | (uint64_t)config->value_type << 16 |
               (uint64_t)config->order << 24 | (uint64_t)config->lock_flags << 32;
}

objd_status directory_check_name(const char *name)
{
        size_t size = strlen(name);

        if (!size)
                return fail(OBJD_E_INVAL, "an object's name has at least one byte");
        if (size > OBJD_NAME_MAX)
                return fail(OBJD_E_TOOBIG, "the name has %zu bytes; a name has at most %u", size,
                            OBJD_NAME_MAX);
        if (!utf8_is_valid(name, size))
                return fail(OBJD_E_INVAL, "the name is not UTF-8");
        for (size_t i = 0; i < size; i++)
                if ((unsigned char)name[i] < 32 || name[i] == 127)
                        return fail(OBJD_E_INVAL, "the name has a control character at byte %zu", i);
        return OBJD_OK;
}

objd_status directory_check_config(objd_kind number, const objd_config *config)
{
        const struct kind *kind = kind_of(number);

        if (!kind)
                return fail(OBJD_E_INVAL, "there is no kind %d of object", (int)number);
        if (config->struct_size < sizeof(*config))
                return fail(OBJD_E_INVAL, "struct_size is %zu; start from OBJD_CONFIG_INIT",
                            config->struct_size);
        if ((unsigned)config->key_type > OBJD_REF || (unsigned)config->value_type > OBJD_REF)
                return fail(OBJD_E_INVAL, "there is no such type for keys or values");
        return kind->check_config(config);
}

objd_status directory_find_handle(struct objd_conn *conn, objd_ref ref, struct objd_object *ret_handle)
{
        struct object_shm *object;
        struct lane *lane;
        objd_status r = lane_enter_to_read(conn->arena, conn_timeout(conn), &lane);

        if (r)
                return r;
        conn_look_for_daemon(conn);
        *ret_handle = (struct objd_object){ .conn = conn, .serial = ref.serial };
        ret_handle->retire_seen = word_get_acquire(&conn->arena->header->retire_count);
        r = object_find(conn->arena, ref, &object);
        while (r == OBJD_OK) {
                uint64_t version = lock_read_begin(&object->line);

                ret_handle->shm = object;
                ret_handle->config = word_get(&object->line.config) & ~(0xffULL << OBJECT_STATE_SHIFT);
                ret_handle->plain_key = object_plain_key(ret_handle->config);
                if (word_get(&object->line.serial) != ref.serial)
                        r = object_gone(ret_handle);
                if (lock_version_is_stable(version) && lock_read_valid(&object->line, version))
                        break;
                r = lock_wait_stable(lane, &object->line);
        }
        lane_leave(lane);
        return r;
}

objd_status directory_handle(struct objd_conn *conn, objd_ref ref, struct objd_object *ret_handle)
{
        objd_status r = directory_find_handle(conn, ref, ret_handle);

        if (r == OBJD_OK && !kind_of(object_kind(ret_handle->config)))
                return fail(OBJD_E_CORRUPT, "%s is damaged: it is of no kind", object_label(ret_handle));
        return r;
}

objd_status directory_names(struct objd_conn *conn, struct objd_object *ret_handle)
{
        const struct header_shm *header = conn->arena->header;
        struct object_shm *names = arena_at(conn->arena, header->names, SLOT_SIZE);

        if (!names)
                return fail(OBJD_E_CORRUPT, "the arena's dict of names is damaged");
        return directory_handle(conn, (objd_ref){ header->names, word_get(&names->line.serial) }, ret_handle);
}

/* ---- Making ------------------------------------------------------------------------------------------- */

/*
 * Takes the object's slot and locks all that making it needs. The slot comes first and stands in the plan, though nobody can
 * find it: somebody who has meant the object that was there before may be about to lock it, and holds other locks in
 * order.
 */
static objd_status lock_for_making(struct lane *lane, struct plan *plan, struct object_shm **ret_object)
{
        objd_status r = txn_take_slot(lane, ret_object);

        if (r == OBJD_OK)
                r = plan_add(plan, &(*ret_object)->line);
        return r ? r : plan_lock(lane, plan);
}

/* Fills a slot whose line is locked. */
static objd_status make_object(struct lane *lane, struct object_shm *object, const char *name, objd_kind kind,
                               const objd_config *config, objd_ref *ret_ref)
{
        struct arena *arena = lane->arena;
        uint64_t serial;
        objd_status r = txn_reserve(lane, 256, 24);

        if (r)
                return r;
        serial = __atomic_fetch_add(&arena->header->pool.next_serial, 1, __ATOMIC_RELAXED);
        txn_set(lane, &object->line.serial, serial);
        txn_set(lane, &object->line.config, pack_config(kind, config));
        txn_set(lane, &object->owner, name ? 0 : lane_client(lane));
        txn_set(lane, (uint64_t *)(void *)&object->name_size, 0);
        word_set(&object->sequence, 0);
        if (name)
                r = name_store(lane, object, name);
        else
                __atomic_fetch_add(&arena_client(arena, id_number(lane_client(lane)))->n_anonymous, 1,
                                   __ATOMIC_RELAXED);
        if (r == OBJD_OK)
                r = kind_of(kind)->create(lane, object, config);
        *ret_ref = (objd_ref){ arena_off(arena, object), serial };
        return r;
}

static objd_status create_attempt(struct lane *lane, const char *text, objd_kind kind,
                                  const objd_config *config, struct name *name, objd_ref *ret_ref)
{
        struct object_shm *object;
        struct plan plan;
        objd_ref ref;
        objd_status r = OBJD_OK;

        plan.n = 0;
        if (text)
                r = name_plan(lane, name, &plan);
        if (r == OBJD_OK)
                r = rider_plan(lane, &plan);
        if (r)
                return r;
        txn_begin(lane, OP_CREATE);
        r = lock_for_making(lane, &plan, &object);
        if (r == OBJD_OK)
                r = rider_verify(lane);
        if (r == OBJD_OK && text)
                r = name_verify(lane, name);
        if (r == OBJD_OK && text)
                r = name_find(lane, name, &ref);
        if (r == OBJD_OK && text && ref.serial)
                r = fail(OBJD_E_EXISTS, "there is an object named \"%s\" already", text);
        if (r == OBJD_OK)
                r = make_object(lane, object, text, kind, config, &ref);
        if (r == OBJD_OK && text)
                r = name_put(lane, name, ref);
        if (r == OBJD_OK && lane->rider)
                lane->rider->made = ref;
        if (r == OBJD_OK)
                r = rider_apply(lane);
        if (r) {
                txn_abort(lane);
                return r;
        }
        r = txn_commit(lane);
        if (r == OBJD_OK)
                *ret_ref = ref;
        return r;
}

/* Somebody may have deleted the object by now; then the handle is one to a deleted object, as any other. */
static struct objd_object handle_of_new(struct objd_conn *conn, objd_ref ref, objd_kind kind,
                                        const objd_config *config)
{
        return (struct objd_object){
                .conn = conn,
                .shm = (struct object_shm *)(conn->arena->base + ref.place),
                .serial = ref.serial,
                .config = pack_config(kind, config),
        };
}

objd_status directory_create(struct objd_conn *conn, const char *text, objd_kind kind,
                             const objd_config *config, struct objd_object *ret_handle)
{
        uint32_t n_plans = 0;
        struct name name;
        struct lane *lane;
        uint64_t retired;
        objd_ref ref;
        objd_status r = directory_check_config(kind, config);

        if (r == OBJD_OK && text)
                r = directory_check_name(text);
        if (r == OBJD_OK && text)
                r = name_begin(conn, text, &name);
        if (r == OBJD_OK)
                r = lane_enter(conn->arena, conn_timeout(conn), &lane);
        if (r)
                return r;
        retired = word_get_acquire(&conn->arena->header->retire_count);
        do
                r = create_attempt(lane, text, kind, config, &name, &ref);
        while (op_once_more(lane, &name.names, &n_plans, &r));
        lane_leave(lane);
        if (r)
                return r;
        *ret_handle = handle_of_new(conn, ref, kind, config);
        ret_handle->retire_seen = retired;
        ret_handle->plain_key = object_plain_key(ret_handle->config);
        return OBJD_OK;
}

objd_status directory_lookup(struct objd_conn *conn, const char *text, objd_ref *ret_ref)
{
        objd_value key = objd_cstr(text), value;
        objd_buf buf = OBJD_BUF_INIT;
        struct objd_object names;
        objd_status r = directory_check_name(text);

        if (r == OBJD_OK)
                r = directory_names(conn, &names);
        if (r == OBJD_OK)
                r = dict_read(&names, &key, &value, &buf);
        objd_buf_free(&buf);
        if (r == OBJD_E_NOTFOUND)
                return fail(r, "there is no object named \"%s\"", text);
        if (r == OBJD_OK && value.type != OBJD_REF)
                return fail(OBJD_E_CORRUPT, "the arena's dict of names is damaged at \"%s\"", text);
        if (r == OBJD_OK)
                *ret_ref = value.u.ref;
        return r;
}

/* ---- All objects -------------------------------------------------------------------------------------- */

/* The refs in one block of slots, as they are at this moment. */
static size_t refs_in_block(struct objd_conn *conn, uint64_t number, objd_ref *refs, uint64_t *owners)
{
        struct arena *arena = conn->arena;
        struct lane *lane;
        size_t n = 0;

        if (lane_enter(arena, conn_timeout(conn), &lane))
                return 0;
        if (__atomic_load_n(&arena->blocks[number].state, __ATOMIC_ACQUIRE) == BLOCK_SLOTS) {
                struct object_shm *slots = (struct object_shm *)(arena->data + (number << BLOCK_SHIFT));

                for (uint32_t slot = 1; slot < SLOTS_PER_BLOCK; slot++) {
                        uint64_t serial = word_get(&slots[slot].line.serial);

                        owners[n] = word_get(&slots[slot].owner);
                        /* Kind 0: the tail of a queue, which is no object of its own. */
                        if (serial && object_kind(word_get(&slots[slot].line.config)))
                                refs[n++] = (objd_ref){ arena_off(arena, &slots[slot]), serial };
                }
        }
        lane_leave(lane);
        return n;
}

objd_status directory_each(struct objd_conn *conn, directory_fn fn, void *context)
{
        struct arena *arena = conn->arena;
        objd_ref refs[SLOTS_PER_BLOCK];
        uint64_t owners[SLOTS_PER_BLOCK];
        objd_status r = OBJD_OK;

        for (uint64_t number = 0; number < arena_frontier(arena) && r == OBJD_OK; number++) {
                size_t n = 0;

                if (__atomic_load_n(&arena->blocks[number].state, __ATOMIC_RELAXED) == BLOCK_SLOTS)
                        n = refs_in_block(conn, number, refs, owners);
                for (size_t i = 0; i < n && r == OBJD_OK; i++)
                        if (refs[i].place != arena->header->names)
                                r = fn(context, refs[i], owners[i]);
        }
        return r;
}

struct reap {
        struct objd_conn *conn;
        uint64_t client;
};

static objd_status reap_object(void *context, objd_ref ref, uint64_t owner)
{
        struct reap *reap = context;
        struct objd_object handle;
        objd_status r;

        if (owner != reap->client)
                return OBJD_OK;
        r = directory_handle(reap->conn, ref, &handle);
        if (r == OBJD_OK)
                r = directory_destroy_own(&handle, owner);
        return r == OBJD_E_GONE || r == OBJD_E_CORRUPT ? OBJD_OK : r;
}

static objd_status reap_leases(void *context, objd_ref ref, uint64_t owner)
{
        struct reap *reap = context;
        struct object_shm *object;
        struct lane *lane;
        objd_status r = lane_enter(reap->conn->arena, conn_timeout(reap->conn), &lane);

        (void)owner;
        if (r)
                return r;
        r = object_find(reap->conn->arena, ref, &object);
        if (r == OBJD_OK && object_kind(word_get(&object->line.config)) == OBJD_QUEUE)
                r = queue_reap(lane, object, reap->client);
        lane_leave(lane);
        return r == OBJD_E_GONE || r == OBJD_E_CORRUPT ? OBJD_OK : r;
}

objd_status directory_reap_client(struct arena *arena, uint64_t client, int64_t timeout_ns)
{
        struct objd_conn conn = { .arena = arena, .timeout_ns = timeout_ns, .control = -1 };
        struct reap reap = { &conn, client };
        const struct client_shm *shm = arena_client(arena, id_number(client));
        const struct next_timeout next = next_timeout; /* of a call that we are not */
        objd_status r = OBJD_OK;

        next_timeout.set = false;
        if (word_get(&shm->n_anonymous))
                r = bundle_finish(&conn, client, NULL);
        if (r == OBJD_OK && word_get(&shm->n_anonymous))
                r = directory_each(&conn, reap_object, &reap);
        if (r == OBJD_OK && (word_get(&shm->flags) & CLIENT_HAS_LEASED))
                r = directory_each(&conn, reap_leases, &reap);
        next_timeout = next;
        return r;
}

/* ---- A new arena -------------------------------------------------------------------------------------- */

static objd_status make_names(struct arena *arena)
{
        objd_config config = OBJD_CONFIG_INIT;
        struct object_shm *object;
        struct plan plan = { .n = 0 };
        struct lane *lane;
        objd_ref ref;
        objd_status r = lane_enter(arena, DIRECTORY_TIMEOUT_NS, &lane);

        if (r)
                return r;
        config.key_type = OBJD_STR;
        config.value_type = OBJD_REF;
        txn_begin(lane, OP_CREATE);
        r = lock_for_making(lane, &plan, &object);
        if (r == OBJD_OK)
                r = make_object(lane, object, "", OBJD_DICT, &config, &ref);
        if (r == OBJD_OK)
                r = txn_commit(lane);
        else
                txn_abort(lane);
        lane_leave(lane);
        if (r)
                return r;
        arena->header->names = ref.place;
        header_seal(arena->header);
        __atomic_store_n(&arena->header->state, ARENA_READY, __ATOMIC_RELEASE);
        return OBJD_OK;
}

objd_status directory_create_arena(int fd, uint64_t size, bool by_process, struct arena **ret_arena)
{
        struct arena *arena;
        objd_status r = arena_create(fd, size, &arena);

        if (r) {
                close(fd);
                return r;
        }
        arena->by_process = by_process;
        r = make_names(arena);
        if (r) {
                lane_release_own(arena);
                arena_unref(arena); /* closes fd */
                return r;
        }
        *ret_arena = arena;
        return OBJD_OK;
}
