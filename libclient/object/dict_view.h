/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dict_view.h -- what a reader without a lock may follow and load of a dict; for dict_read.c and dict_whole.c
 *
 * Everything that is loaded here may be changing. Two rules keep that harmless: an offset is followed only if the version
 * is still what it was when the offset was loaded, so that it leads to memory that was the dict's a moment ago and
 * has not been given back to the system (see the epoch in lane.h); and what was copied counts only if the
 * version is still the same after the copy.
 */

#include "object/dict.h"

#include "base/status.h"
#include "object/value.h"

/* A get is a hundred nanoseconds, of which calls and the saving of registers would be a third. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Inside these files: the version has changed; read again. */
#define READ_AGAIN ((objd_status)-2)

/* A read in progress: what it hangs on to. */
struct view {
        struct lane *lane;
        struct line_shm *line;
        uint64_t version;
        uint64_t outer; /* of a shard: the version of the object's line under which it was found */
        uint64_t
                limit; /* arena_limit(), loaded after the version: what that version leads to lies below it */
        bool locked;   /* the line is held by the lane: nothing changes */
};

ALWAYS_INLINE bool view_is_valid(const struct view *view)
{
        return view->locked || lock_read_valid(view->line, view->version);
}

/* What is wrong: a writer was faster, or, if the version has not changed, the arena is damaged. */
ALWAYS_INLINE objd_status view_again_or(const struct view *view, const char *what)
{
        return view_is_valid(view) ? fail(OBJD_E_CORRUPT, "the dict is damaged: %s", what) : READ_AGAIN;
}

/* As arena_at(). */
ALWAYS_INLINE void *view_at(const struct view *view, uint64_t off, uint64_t size)
{
        const struct arena *arena = view->lane->arena;

        return arena_has_below(arena, view->limit, off, size) && !(off & 7) ? arena->base + off : NULL;
}

/* As segment_at(). */
ALWAYS_INLINE struct segment_shm *view_segment(const struct view *view, uint64_t word)
{
        uint64_t groups = table_groups(word);

        return groups - 1 < DICT_GROUPS_MAX ? view_at(view, table_off(word) + CHUNK_HEAD,
                                                      sizeof(struct segment_shm) + groups * DICT_GROUP * 8)
                                            : NULL;
}

/* The table word for this hash, 0 if nothing is there; the depth is that of the directory. */
ALWAYS_INLINE objd_status view_table_word(const struct view *view, uint64_t hash, uint64_t *ret_word,
                                          uint32_t *ret_depth)
{
        uint64_t root = word_get(&view->line->root[0]);
        uint32_t depth = table_depth(root);
        const uint64_t *words;

        *ret_word = root;
        *ret_depth = depth;
        if (!depth)
                return view_is_valid(view) ? OBJD_OK : READ_AGAIN;
        words = depth < 48 ? view_at(view, table_off(root) + CHUNK_HEAD, 8ULL << depth) : NULL;
        if (!words || !view_is_valid(view))
                return view_again_or(view, "its directory lies outside the arena");
        *ret_word = word_get(&words[hash_index(hash, depth)]);
        return view_is_valid(view) ? OBJD_OK : READ_AGAIN;
}

/* The entry in this slot and its head, if it lies in the arena. The version is checked before the head is loaded. */
ALWAYS_INLINE struct entry_shm *view_entry(const struct view *view, uint64_t slot, uint64_t *ret_head)
{
        struct entry_shm *entry = view_at(view, slot_off_of(slot), sizeof(*entry));

        if (!entry || !view_is_valid(view))
                return NULL;
        *ret_head = word_get(&entry->head);
        if (!view_is_valid(view) ||
            !arena_has_below(view->lane->arena, view->limit, slot_off_of(slot), entry_size(*ret_head)))
                return NULL;
        return entry;
}

/* Where an entry's value is: in the entry, or in a chunk of its own. */
ALWAYS_INLINE objd_status view_value(const struct view *view, struct entry_shm *entry, uint64_t head,
                                     const void **ret_from)
{
        uint64_t *value = entry_value(entry, head);

        *ret_from = value;
        if (!entry_is_big(head))
                return OBJD_OK;
        *ret_from = view_at(view, word_get(value) + VALUE_CHUNK_DATA, round8(entry_value_size(head)));
        return *ret_from && view_is_valid(view) ? OBJD_OK
                                                : view_again_or(view, "a big value lies outside the arena");
}

/*
 * Under the lock a read has to be done again only if the dict has just got shards, or been deleted: a matter of twice. Where it
 * goes on like that, the lines say different things for ever.
 */
#define READ_ATTEMPTS 1000

objd_status dict_lines_do_not_fit(const struct objd_object *dict);

/* Adds a segment's entries to the items, those from the position on, if one is given. */
objd_status dict_add_entries(const struct view *view, const struct objd_object *dict, uint64_t word,
                             const struct dict_position *position, struct items_builder *items);
