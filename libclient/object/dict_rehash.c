/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dict_rehash.c -- giving a dict a hash of its own
 *
 * A dict comes here once, if at all, when more of its keys have the same hash than chance makes. Everything is built again
 * in one operation: the old segments are freed first, but keep what is in them until the commit, so that
 * their entries can be read from them and stored anew. Nobody else meets the new ones before it, since all lines
 * that they could be found through are locked.
 */

#include <sys/random.h>

#include "base/status.h"
#include "base/sys.h"
#include "object/dict.h"
#include "object/dict_hash.h"

struct rehash {
        struct lane *lane;
        struct object_shm *object;
};

static objd_status put_again(void *context, const struct entry_shm *entry, uint64_t hash)
{
        struct rehash *rehash = context;

        (void)hash;
        return dict_put_again(rehash->lane, rehash->object, entry);
}

static objd_status move_segment(struct rehash *rehash, uint64_t word)
{
        struct segment_shm *segment = segment_at(rehash->lane->arena, word);
        objd_status r;

        if (!segment)
                return fail(OBJD_E_CORRUPT, "the dict is damaged: a segment lies outside the arena");
        r = dict_each_entry(rehash->lane, rehash->object, segment, table_groups(word), put_again, rehash);
        return r ? r : dict_free_segment(rehash->lane, segment);
}

/* Everything that hangs from a root: one segment, or a directory of them, in which each stands once or several times. */
static objd_status move_root(struct rehash *rehash, uint64_t root)
{
        uint32_t depth = table_depth(root);
        uint64_t *words, last = 0;
        objd_status r = OBJD_OK;

        if (!root || !depth)
                return root ? move_segment(rehash, root) : OBJD_OK;
        words = depth < 48 ? arena_at(rehash->lane->arena, table_off(root) + CHUNK_HEAD, 8ULL << depth)
                           : NULL;
        if (!words)
                return fail(OBJD_E_CORRUPT, "the dict is damaged: its directory lies outside the arena");
        for (uint64_t i = 0; i < 1ULL << depth && r == OBJD_OK; i++) {
                uint64_t word = words[i];

                if (word && word != last)
                        r = move_segment(rehash, word);
                last = word;
        }
        return r ? r : txn_free(rehash->lane, (struct chunk_shm *)((uint8_t *)words - CHUNK_HEAD));
}

static objd_status new_key(struct lane *lane, struct object_shm *object)
{
        struct line_shm *line = &object->line;
        uint64_t key[2];
        objd_status r = txn_reserve(lane, 8 * 8, 8);

        if (r)
                return r;
        if (getrandom(key, sizeof(key), 0) != sizeof(key))
                return fail_errno("no random numbers for the hash of a dict");
        txn_set(lane, &line->root[DICT_HASH_KEY], key[0]);
        txn_set(lane, &line->root[DICT_HASH_KEY + 1], key[1]);
        txn_set(lane, &line->config, line->config | OBJECT_KEYED);
        txn_set(lane, &line->root[0], 0);
        txn_set(lane, &line->root[1], 0);
        return OBJD_OK;
}

objd_status dict_rehash(struct lane *lane, struct object_shm *object)
{
        struct line_shm *shards = dict_shards(lane->arena, object);
        uint64_t root = object->line.root[0];
        struct rehash rehash = { .lane = lane, .object = object };
        objd_status r;

        if (object->line.config & OBJECT_KEYED)
                return OBJD_OK;
        if (!dict_owns_shards(lane->arena, object))
                return fail(OBJD_E_CORRUPT, "a dict is damaged: its shards are not where it says");
        r = new_key(lane, object);
        if (r == OBJD_OK && !shards)
                r = move_root(&rehash, root);
        for (uint32_t i = 0; shards && r == OBJD_OK && i < DICT_SHARDS; i++)
                r = move_root(&rehash, shards[i].root[0]);
        return r == OBJD_OK && shards ? dict_drop_shards(lane, shards) : r;
}
