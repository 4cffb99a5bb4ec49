/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cursor.c -- exported: going through a dict or a list while others change it
 *
 * A dict's cursor is a position among hashes, and it takes the entries of one segment at a time; splits and
 * rebuilds do not change the order of hashes, so nothing that stays is missed or met twice. A list's is an index.
 */

#include <stdlib.h>

#include "base/status.h"
#include "base/sys.h"
#include "client/proxy.h"
#include "object/dict.h"

/* Items of a list that are fetched at once. */
#define LIST_STEP 64

struct objd_cursor {
        objd_object *object;
        struct dict_position position;
        uint8_t proxied[PROXY_POSITION_MAX]; /* the same as the daemon knows it */
        size_t proxied_size;
        int64_t index;
        objd_items *items; /* fetched and not all given yet */
        size_t next;
};

static objd_kind kind_of_cursor(const objd_object *object)
{
        return object_kind(object->config) & ~(objd_kind)OBJECT_PROXIED;
}

objd_status objd_cursor_new(objd_object *object, objd_cursor **ret_cursor)
{
        HOLD_NEXT_TIMEOUT;
        objd_cursor *cursor;

        if (!object || !ret_cursor)
                return fail(OBJD_E_INVAL, "objd_cursor_new: object and ret_cursor must be given");
        if (kind_of_cursor(object) != OBJD_DICT && kind_of_cursor(object) != OBJD_LIST)
                return fail(OBJD_E_KIND, "only dicts and lists have cursors; %s is neither",
                            object_is_proxied(object) ? "this object" : object_label(object));
        cursor = sys.alloc(sizeof(*cursor));
        if (!cursor)
                return fail(OBJD_E_NOMEM, "no memory for a cursor");
        cursor->object = object;
        *ret_cursor = cursor;
        return OBJD_OK;
}

static objd_status fetch_dict(objd_cursor *cursor)
{
        struct items_builder builder = { 0 };
        struct dict_position position = cursor->position;
        objd_status r;

        if (object_is_proxied(cursor->object))
                return proxy_dict_step(cursor->object, cursor->proxied, &cursor->proxied_size,
                                       &cursor->position.end, &cursor->items);
        r = dict_step(cursor->object, &position, &builder);

        if (r == OBJD_OK && builder.len)
                r = items_finish(&builder, &cursor->items);
        items_discard(&builder);
        if (r == OBJD_OK)
                cursor->position = position;
        return r;
}

static objd_status fetch_list(objd_cursor *cursor)
{
        objd_status r =
                objd_list_slice(cursor->object, cursor->index, cursor->index + LIST_STEP, &cursor->items);

        if (r == OBJD_OK)
                cursor->index += (int64_t)cursor->items->len;
        return r;
}

static objd_status fetch(objd_cursor *cursor)
{
        bool is_dict = kind_of_cursor(cursor->object) == OBJD_DICT;

        objd_items_free(cursor->items);
        cursor->items = NULL;
        cursor->next = 0;
        if (is_dict && cursor->position.end)
                return OBJD_OK;
        return is_dict ? fetch_dict(cursor) : fetch_list(cursor);
}

objd_status objd_cursor_next(objd_cursor *cursor, objd_value *ret_key, objd_value *ret_value)
{
        HOLD_NEXT_TIMEOUT;
        objd_status r;

        if (!cursor || !ret_value)
                return fail(OBJD_E_INVAL, "objd_cursor_next: cursor and ret_value must be given");
        if (!cursor->items || cursor->next == cursor->items->len) {
                r = fetch(cursor);
                if (r)
                        return r;
                if (!cursor->items || !cursor->items->len)
                        return fail(OBJD_E_NOTFOUND, "the cursor is at the end");
        }
        if (ret_key)
                *ret_key = cursor->items->item[cursor->next].key;
        *ret_value = cursor->items->item[cursor->next++].value;
        return OBJD_OK;
}

void objd_cursor_free(objd_cursor *cursor)
{
        if (!cursor)
                return;
        objd_items_free(cursor->items);
        free(cursor);
}
