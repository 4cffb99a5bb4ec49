/* SPDX-License-Identifier: Apache-2.0 */

/*
 * items.c -- several values that come out of one call
 *
 * While they are collected, the encoded bytes of all of them lie in one growing buffer, and each item's
 * values hold a type, an offset (in the place of the pointer) and a size. When all are there the offsets
 * become values, in place: nothing is copied a second time.
 */

#include "object/op.h"

#include <malloc.h>
#include <stdlib.h>

#include "arena/word.h"
#include "base/status.h"
#include "base/sys.h"
#include "object/value.h"

#define FIRST_ITEMS 16u
#define FIRST_BYTES 256u

/* What a caller gets: the public part, and the buffer that its values point into. */
struct items {
        objd_items items;
        uint8_t *bytes;
};

static objd_status no_memory(void)
{
        return fail(OBJD_E_NOMEM, "no memory for the items of an answer");
}

/* The size that a buffer of `have` grows to for `need`, at least doubled. */
static size_t grown(size_t have, size_t need, size_t first)
{
        size_t size = have > SIZE_MAX / 2 ? SIZE_MAX : 2 * have;

        if (size < first)
                size = first;
        return size < need ? need : size;
}

static objd_status reserve_item(struct items_builder *builder)
{
        size_t room;
        objd_item *item;

        if (builder->len < builder->room)
                return OBJD_OK;
        room = grown(builder->room, builder->len + 1, FIRST_ITEMS);
        if (room > SIZE_MAX / sizeof(*item))
                return no_memory();
        item = sys.resize(builder->item, room * sizeof(*item));
        if (!item)
                return no_memory();
        builder->item = item;
        builder->room = room;
        return OBJD_OK;
}

static objd_status reserve_bytes(struct items_builder *builder, size_t n)
{
        size_t size;
        uint8_t *bytes;

        /* Even an empty value points somewhere. */
        if (builder->bytes && n <= builder->size - builder->used)
                return OBJD_OK;
        if (n > SIZE_MAX - builder->used)
                return no_memory();
        size = grown(builder->size, builder->used + n, FIRST_BYTES);
        bytes = sys.resize(builder->bytes, size);
        if (!bytes)
                return no_memory();
        builder->bytes = bytes;
        builder->size = size;
        return OBJD_OK;
}

/* A value that still has an offset for its data. */
static objd_value copy_out(struct items_builder *builder, objd_type type, const void *src, size_t size)
{
        objd_value raw = { .type = type, .data = (const void *)(uintptr_t)builder->used, .size = size };

        if (size)
                words_out(builder->bytes + builder->used, src, size);
        builder->used += round8(size);
        return raw;
}

objd_status items_add(struct items_builder *builder, objd_type key_type, const void *key, uint64_t key_size,
                      objd_type value_type, const void *value, uint64_t value_size)
{
        objd_item *item;
        objd_status r;

        if (key_type == OBJD_ANY)
                key_size = 0;
        if (key_size > VALUE_ENCODED_MAX || value_size > VALUE_ENCODED_MAX)
                return fail(OBJD_E_CORRUPT, "an item's key or value is longer than any can be");
        r = reserve_item(builder);
        if (r)
                return r;
        r = reserve_bytes(builder, round8(key_size) + round8(value_size));
        if (r)
                return r;

        item = &builder->item[builder->len++];
        item->key = copy_out(builder, key_type, key, key_size);
        item->value = copy_out(builder, value_type, value, value_size);
        item->found = true;
        return OBJD_OK;
}

objd_status items_add_missing(struct items_builder *builder)
{
        objd_status r = items_add(builder, OBJD_ANY, NULL, 0, OBJD_NIL, NULL, 0);

        if (!r)
                builder->item[builder->len - 1].found = false;
        return r;
}

void items_cut(struct items_builder *builder, size_t len)
{
        if (len >= builder->len)
                return;
        builder->used = (size_t)(uintptr_t)builder->item[len].key.data;
        builder->len = len;
}

/* Turns a raw value into one that points into the bytes. */
static objd_status resolve(const struct items_builder *builder, objd_value *value)
{
        return value_decode(value->type, builder->bytes + (uintptr_t)value->data, value->size, value);
}

objd_status items_prepare(struct items_builder *builder)
{
        if (!builder->whole)
                builder->whole = sys.alloc(sizeof(struct items));
        return builder->whole ? OBJD_OK : no_memory();
}

objd_status items_finish(struct items_builder *builder, objd_items **ret_items)
{
        struct items *items;
        objd_status r = items_prepare(builder);

        for (size_t i = 0; !r && i < builder->len; i++) {
                objd_item *item = &builder->item[i];

                if (item->key.type == OBJD_ANY)
                        item->key.data = NULL;
                else
                        r = resolve(builder, &item->key);
                if (!r)
                        r = resolve(builder, &item->value);
        }
        if (r)
                return r;
        items = builder->whole;
        *items = (struct items){ .items = { builder->item, builder->len }, .bytes = builder->bytes };
        *builder = (struct items_builder){ 0 };
        *ret_items = &items->items;
        return OBJD_OK;
}

void items_discard(struct items_builder *builder)
{
        free(builder->item);
        free(builder->bytes);
        free(builder->whole);
        *builder = (struct items_builder){ 0 };
}

size_t items_memory(const objd_items *items)
{
        const struct items *all = (const struct items *)items;

        return all ? sizeof(*all) + malloc_usable_size(all->items.item) + malloc_usable_size(all->bytes) : 0;
}

void objd_items_free(objd_items *items)
{
        struct items *all = (struct items *)items;

        if (!all)
                return;
        free(all->items.item);
        free(all->bytes);
        free(all);
}
