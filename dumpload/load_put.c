/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_put.c -- the entries of an object that is loaded go in many at once
 *
 * By the calls that everybody uses, so whatever the engine refuses is refused here: wrong types, keys that are there already,
 * more items than a queue's bound.
 */

#include "dumpload/load_put.h"

#include "base/status.h"
#include "dumpload/load_object.h"

/* A batch keeps copies; a value of so many bytes goes in by itself, from where it is. */
#define ALONE_FROM (16u << 10)

/* The entry in this line, or, with 0, nothing in particular, has not gone in. The object has no name yet that could be said. */
static objd_status refused(const struct load *load, uint64_t line, objd_status r)
{
        if (!line)
                line = load->lines->n;
        if (r == OBJD_E_EXISTS)
                return lines_fail_at(load->lines, line, r, "the dict has this key already");
        if (r == OBJD_E_FULL)
                return lines_fail_at(load->lines, line, r, "the queue has more items than its bound");
        return load_here_at(load, line, r);
}

static objd_status put_alone(const struct load *load, const objd_value *key, int64_t priority,
                             const objd_value *value)
{
        if (load->kind == OBJD_DICT)
                return objd_dict_set_new(load->object, key, value);
        if (load->kind == OBJD_LIST)
                return objd_list_append(load->object, value);
        if (load->config.order == OBJD_PRIORITY)
                return objd_queue_put_priority(load->object, value, priority, OBJD_NOWAIT);
        return objd_queue_put(load->object, value, OBJD_NOWAIT);
}

static objd_status add(struct load *load, const objd_value *key, int64_t priority, const objd_value *value)
{
        objd_batch *batch = load->pending.batch;

        if (load->kind == OBJD_DICT)
                return objd_batch_dict_set_new(batch, load->object, key, value);
        if (load->kind == OBJD_LIST)
                return objd_batch_list_append(batch, load->object, value);
        return objd_batch_queue_put(batch, load->object, value,
                                    load->config.order == OBJD_PRIORITY ? priority : 0);
}

void load_forget_pending(struct load *load)
{
        objd_batch_clear(load->pending.batch);
        load->pending.n = load->pending.bytes = 0;
}

objd_status load_flush(struct load *load)
{
        struct pending *pending = &load->pending;
        size_t failed = pending->n;
        objd_status r;

        if (!pending->n)
                return OBJD_OK;
        r = objd_batch_commit(pending->batch, &failed);
        r = refused(load, failed < pending->n ? pending->lines[failed] : 0, r);
        load_forget_pending(load);
        return r;
}

objd_status load_put(struct load *load, const objd_value *key, int64_t priority, const objd_value *value)
{
        struct pending *pending = &load->pending;
        size_t size = value->size + (load->kind == OBJD_DICT ? key->size : 0);
        objd_status r = OBJD_OK;

        if (pending->n == LOAD_AT_ONCE || pending->bytes + size > LOAD_BYTES || size >= ALONE_FROM)
                r = load_flush(load);
        if (r)
                return r;
        if (size >= ALONE_FROM)
                return refused(load, 0, put_alone(load, key, priority, value));
        if (!pending->batch)
                r = objd_batch_new(load->conn, &pending->batch);
        if (r == OBJD_OK)
                r = add(load, key, priority, value);
        if (r)
                return refused(load, 0, r);
        pending->lines[pending->n++] = load->lines->n;
        pending->bytes += size;
        return OBJD_OK;
}

void load_put_deinit(struct load *load)
{
        objd_batch_free(load->pending.batch);
        load->pending.batch = NULL;
}
