/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name.c -- an object's name, in the dict of names and in the object's slot
 */

#include "object/name.h"

#include <string.h>

#include "mem/pool.h"
#include "object/directory.h"
#include "object/op.h"

objd_status name_begin(struct objd_conn *conn, const char *text, struct name *ret_name)
{
        objd_value value = objd_cstr(text);
        objd_status r = directory_names(conn, &ret_name->names);

        return r ? r : key_make(conn->arena, ret_name->names.config, &value, &ret_name->key);
}

objd_status name_plan(struct lane *lane, struct name *name, struct plan *plan)
{
        objd_status r = dict_line_of(lane, &name->names, &name->key, &name->line);

        return r ? r : plan_add(plan, name->line);
}

objd_status name_verify(struct lane *lane, struct name *name)
{
        if (name->line->serial != name->names.serial || !dict_goes_by(&name->names, &name->key) ||
            dict_guard(lane->arena, name->names.shm, name->key.hash) != name->line)
                return OP_PLAN_AGAIN;
        return OBJD_OK;
}

objd_status name_find(struct lane *lane, struct name *name, objd_ref *ret_ref)
{
        struct entry_shm *entry;
        objd_status r = dict_find(lane, name->line, &name->key, &entry);

        *ret_ref = (objd_ref){ 0, 0 };
        if (r == OBJD_OK && entry && entry_value_type(entry->head) == OBJD_REF) {
                const uint64_t *words = entry_value(entry, entry->head);

                *ret_ref = (objd_ref){ words[0], words[1] };
        }
        return r;
}

objd_status name_put(struct lane *lane, struct name *name, objd_ref ref)
{
        objd_value value = objd_refer(ref);

        return dict_put(lane, name->names.shm, &name->key, &value);
}

objd_status name_store(struct lane *lane, struct object_shm *object, const char *name)
{
        uint64_t words[32] = { 0 }, old = object_name_chunk(object);
        size_t size = strlen(name);
        objd_status r = txn_reserve(lane, 64, 4);

        if (r == OBJD_OK && old)
                r = txn_free(lane, (struct chunk_shm *)(lane->arena->base + old));
        if (r)
                return r;
        memcpy(words, name, size);
        if (size > sizeof(object->name)) {
                struct chunk_shm *chunk;

                r = txn_take(lane, object, size, &chunk);
                if (r)
                        return r;
                words_in(chunk_data(chunk), words, size);
                words[0] = arena_off(lane->arena, chunk);
        }
        txn_write(lane, object->name, words, sizeof(object->name));
        txn_set(lane, (uint64_t *)(void *)&object->name_size, size);
        return OBJD_OK;
}
