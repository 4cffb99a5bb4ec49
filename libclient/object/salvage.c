/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage.c -- copying what can be read of a damaged object into a new one that takes its place
 *
 * The new object is filled by the operations that everybody uses, while it is anonymous and this process's own. Then, in one
 * transaction, the damaged object's line becomes the new one's, and so do its chunks and further lines; its serial, its name
 * and its place stay, so that who refers to it finds it. What it had until then is swept up afterwards (repair_pool.c).
 */

#include "object/salvage.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/sys.h"
#include "mem/pool.h"
#include "object/dict.h"
#include "object/directory.h"
#include "object/queue.h"
#include "object/repair.h"
#include "object/value.h"
#include "txn/txn.h"

/* ---- What kinds ask ----------------------------------------------------------------------------------- */

struct chunk_shm *salvage_chunk(const struct salvage *salvage, uint64_t off, uint64_t min_size)
{
        struct chunk_shm *chunk = check_chunk_at(salvage->arena, off);

        return chunk && chunk_list_of(chunk) == CHUNK_OF_OBJECT &&
                               chunk->owner == arena_off(salvage->arena, salvage->object) &&
                               chunk_size(chunk) >= min_size
                       ? chunk
                       : NULL;
}

struct chunk_shm *salvage_chunk_around(const struct salvage *salvage, uint64_t off, uint64_t size)
{
        return check_chunk_around(salvage->arena, arena_off(salvage->arena, salvage->object), off, size);
}

bool salvage_is_first(struct salvage *salvage, const struct chunk_shm *chunk)
{
        uint64_t bit = check_bit(salvage->arena, arena_off(salvage->arena, chunk));

        if (check_bit_get(salvage->seen, bit))
                return false;
        check_bit_set(salvage->seen, bit);
        return true;
}

const void *salvage_value(const struct salvage *salvage, uint64_t off, uint64_t size)
{
        if (size > VALUE_ENCODED_MAX ||
            !salvage_chunk(salvage, off, VALUE_CHUNK_DATA - CHUNK_HEAD + round8(size)))
                return NULL;
        return salvage->arena->base + off + VALUE_CHUNK_DATA;
}

static objd_status run(struct salvage *salvage, visit_fn fn, void *context)
{
        salvage->fn = fn;
        salvage->context = context;
        memset(salvage->seen, 0, check_bits_size(salvage->arena));
        return kind_of(object_kind(salvage->object->line.config))->salvage(salvage);
}

objd_status salvage_visit(struct arena *arena, struct lane *lane, uint64_t place, visit_fn fn, void *context)
{
        struct salvage salvage = { .arena = arena,
                                   .lane = lane,
                                   .object = (struct object_shm *)(arena->base + place) };
        objd_status r = OBJD_E_NOMEM;

        salvage.seen = sys.alloc(check_bits_size(arena));
        if (salvage.seen)
                r = run(&salvage, fn, context);
        free(salvage.seen);
        return r;
}

/* ---- Copying ------------------------------------------------------------------------------------------ */

struct copy {
        struct objd_conn *conn;
        struct salvage salvage;
        struct objd_object from; /* the damaged one, as a handle */
        struct objd_object to;
        uint64_t n; /* entries that make sense */
};

/* Whether an entry is one that the object can have. */
static bool decode(const struct copy *copy, const struct visit *visit, objd_value *ret_key,
                   objd_value *ret_value)
{
        uint64_t config = copy->from.config;
        struct key key;

        if (value_decode(visit->type, visit->bytes, visit->size, ret_value) || value_check(ret_value) ||
            value_check_type(ret_value, object_value_type(config), "value"))
                return false;
        if (visit->key_type == OBJD_ANY)
                return true;
        return value_decode(visit->key_type, visit->key, visit->key_size, ret_key) == OBJD_OK &&
               key_make(copy->from.conn->arena, config, ret_key, &key) == OBJD_OK;
}

static objd_status count(void *context, const struct visit *visit)
{
        struct copy *copy = context;
        objd_value key, value;

        copy->n += decode(copy, visit, &key, &value);
        return OBJD_OK;
}

static objd_status run_on_queue(struct copy *copy, struct op *op)
{
        struct lane *lane;
        objd_status r = lane_enter(copy->conn->arena, conn_timeout(copy->conn), &lane);

        if (r)
                return r;
        r = queue_run(lane, op);
        lane_leave(lane);
        return r;
}

static objd_status put(void *context, const struct visit *visit)
{
        struct copy *copy = context;
        objd_kind kind = object_kind(copy->from.config);
        objd_value key, value;
        struct op op;

        if (!decode(copy, visit, &key, &value))
                return OBJD_OK;
        op_init(&op,
                kind == OBJD_DICT   ? OP_DICT_SET
                : kind == OBJD_LIST ? OP_LIST_APPEND
                                    : OP_QUEUE_PUT,
                &copy->to);
        op.key = &key;
        op.value = &value;
        op.n = 1;
        if (kind != OBJD_QUEUE)
                return op_run_one(&op);
        op.u.integer = visit->has_priority ? visit->priority : 0;
        return run_on_queue(copy, &op);
}

static objd_status make(struct copy *copy)
{
        uint64_t config = copy->from.config;
        objd_config public = OBJD_CONFIG_INIT;

        public.key_type = object_key_type(config);
        public.value_type = object_value_type(config);
        public.order = object_order(config);
        public.lock_flags = object_lock_flags(config);
        public.bound = copy->salvage.bound;
        if (public.bound && public.bound < copy->n)
        public.bound = copy->n;
        return directory_create(copy->conn, NULL, object_kind(config), &public, &copy->to);
}

static objd_status set_state(struct copy *copy)
{
        const struct kind *kind = kind_of(object_kind(copy->from.config));
        struct object_state state = copy->salvage.state;
        struct lane *lane;
        objd_status r;

        if (!kind->set_state)
                return OBJD_OK;
        state.len = copy->n;
        if (state.unfinished < copy->n || state.unfinished > 1ULL << 62)
                state.unfinished = copy->n;
        r = lane_enter(copy->conn->arena, conn_timeout(copy->conn), &lane);
        if (r)
                return r;
        r = kind->set_state(lane, &copy->to, &state);
        lane_leave(lane);
        return r;
}

static objd_status close_queue(struct copy *copy, enum op_code code, bool wanted)
{
        struct op op;

        if (!wanted)
                return OBJD_OK;
        op_init(&op, code, &copy->to);
        return run_on_queue(copy, &op);
}

static objd_status fill(struct copy *copy)
{
        objd_status r = make(copy);

        if (r == OBJD_OK)
                r = set_state(copy);
        if (r == OBJD_OK)
                r = run(&copy->salvage, put, copy);
        if (r == OBJD_OK)
                r = close_queue(copy, OP_QUEUE_CLOSE, copy->salvage.state.closed);
        return r ? r : close_queue(copy, OP_QUEUE_POISON, copy->salvage.state.poisoned);
}

/* ---- Taking its place --------------------------------------------------------------------------------- */

static size_t count_chunks(const struct arena *arena, const struct object_shm *object)
{
        size_t n = 0;

        for (uint64_t off = object->chunks; off; off = ((struct chunk_shm *)(arena->base + off))->next)
                n++;
        return n;
}

static objd_status move_lines(struct lane *lane, const struct copy *copy, struct object_shm *from)
{
        struct plan plan = { .n = 0 };
        objd_status r = kind_of(object_kind(copy->to.config))->plan_destroy(lane, from, &plan);

        for (size_t i = 0; i < plan.n && r == OBJD_OK; i++)
                txn_set(lane, &plan.lines[i]->serial, copy->from.serial);
        return r;
}

/* Nobody else is there, so nothing is locked; but a death in the middle is undone as that of any operation. */
static objd_status change_places(struct lane *lane, const struct copy *copy)
{
        struct arena *arena = lane->arena;
        struct object_shm *to = copy->from.shm, *from = copy->to.shm;
        size_t n = count_chunks(arena, from) + PLAN_LINES + 32;
        objd_status r = txn_reserve(lane, n * 8, n);

        if (r == OBJD_OK)
                r = move_lines(lane, copy, from);
        if (r)
                return r;
        for (uint64_t off = from->chunks; off; off = ((struct chunk_shm *)(arena->base + off))->next)
                txn_set(lane, &((struct chunk_shm *)(arena->base + off))->owner, arena_off(arena, to));
        for (int i = 0; i < 5; i++)
                txn_set(lane, &to->line.root[i], from->line.root[i]);
        txn_set(lane, &to->line.config, from->line.config);
        txn_set(lane, &to->chunks, from->chunks);
        txn_set(lane, &to->memory, from->memory);
        txn_set(lane, &to->sequence, from->sequence);
        txn_set(lane, &from->chunks, 0);
        txn_set(lane, &from->memory, 0);
        txn_set(lane, &from->line.serial, 0);
        txn_set(lane, &from->line.config, 0);
        txn_set(lane, &from->owner, 0);
        return OBJD_OK;
}

static objd_status take_place(struct copy *copy)
{
        struct lane *lane;
        objd_status r = lane_enter(copy->conn->arena, conn_timeout(copy->conn), &lane);

        if (r)
                return r;
        txn_begin(lane, OP_RENAME);
        r = change_places(lane, copy);
        if (r)
                txn_abort(lane);
        else
                r = txn_commit(lane);
        lane_leave(lane);
        return r;
}

/* ---- All of it ---------------------------------------------------------------------------------------- */

static objd_status copy_object(struct copy *copy, struct salvaged *ret_salvaged)
{
        objd_status r = run(&copy->salvage, count, copy);

        if (r)
                return r;
        *ret_salvaged = (struct salvaged){ .n_kept = copy->n, .n_said = copy->salvage.n_said };
        if (!copy->n && ret_salvaged->n_said) {
                ret_salvaged->is_lost = true;
                return OBJD_OK;
        }
        r = fill(copy);
        if (r == OBJD_OK)
                r = take_place(copy);
        if (r && copy->to.shm)
                (void)directory_destroy(&copy->to);
        return r;
}

objd_status salvage_object(struct objd_conn *conn, uint64_t place, struct salvaged *ret_salvaged)
{
        struct arena *arena = conn->arena;
        struct object_shm *object = (struct object_shm *)(arena->base + place);
        struct copy copy = {
                .conn = conn,
                .from = { .conn = conn,
                          .shm = object,
                          .serial = object->line.serial,
                          .config = object->line.config & 0xffffffffffULL },
                .salvage = { .arena = arena, .object = object },
        };
        objd_status r;

        copy.salvage.seen = sys.alloc(check_bits_size(arena));
        if (!copy.salvage.seen)
                return fail(OBJD_E_NOMEM, "no memory to copy an object");
        r = copy_object(&copy, ret_salvaged);
        free(copy.salvage.seen);
        return r;
}
