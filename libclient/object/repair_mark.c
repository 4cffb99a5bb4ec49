/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_mark.c -- which objects there are, and what each of them has
 *
 * First all objects are walked as the checker walks them; what a sound one refers to is its own from then on. Then those
 * that had a fault are walked again, and may have what nobody else has, if it is said twice that it is theirs. Those that
 * still have a fault are broken, and keep what says that it is theirs until they have been copied (salvage.c).
 */

#include "object/repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "mem/pool.h"
#include "sync/lock.h"
#include "txn/lane.h"

/* ---- Lines -------------------------------------------------------------------------------------------- */

/* The block that a further line of an object is in must be, or become, one of lines. */
static bool hold_block(struct repair *repair, uint64_t number, enum repair_held held)
{
        struct block_shm *block = &repair->arena->blocks[number];

        if (repair->held[number] != HELD_NOT && repair->held[number] != held)
                return false;
        repair->held[number] = (uint8_t)held;
        block->state = held == HELD_SLOTS ? BLOCK_SLOTS : BLOCK_GROUPS;
        return true;
}

static bool take_line(struct repair *repair, uint64_t off, enum repair_held held)
{
        uint64_t number = repair_block_of(repair->arena, off);
        struct line_shm *line;

        if (off - repair_block_off(repair->arena, number) < SLOT_SIZE || repair_has_lines(repair, off) ||
            !hold_block(repair, number, held))
                return false;
        line = (struct line_shm *)(repair->arena->base + off);
        repair_free_line(repair, line);
        if (!object_kind(line->config)) /* it goes by the object's own, which is sound */
                word_set(&line->config, line->config & ~LINE_POISONED);
        check_bit_set(repair->check.lines, check_bit(repair->arena, off));
        return true;
}

static void leave_line(struct repair *repair, uint64_t off)
{
        check_bit_clear(repair->check.lines, check_bit(repair->arena, off));
}

/* Its own, and those of the kind: a tail is a slot of its own, shards are a group. All of them, or none. */
static bool take_lines(struct repair *repair, struct object_shm *object, const struct kind *kind)
{
        uint64_t place = arena_off(repair->arena, object);
        struct plan plan = { .n = 0 };
        size_t n = 0;

        if (kind->plan_destroy(repair->check.lane, object, &plan) || !take_line(repair, place, HELD_SLOTS))
                return false;
        while (n < plan.n && take_line(repair, arena_off(repair->arena, plan.lines[n]),
                                       plan.n > 1 ? HELD_GROUPS : HELD_SLOTS))
                n++;
        if (n == plan.n)
                return true;
        while (n--)
                leave_line(repair, arena_off(repair->arena, plan.lines[n]));
        leave_line(repair, place);
        return false;
}

static void retain_slots(struct repair *repair, uint64_t number, uint64_t serial)
{
        const struct arena *arena = repair->arena;
        bool groups = arena->blocks[number].state == BLOCK_GROUPS;
        uint32_t step = groups ? 1 : 2; /* lines */

        for (uint32_t i = groups ? GROUP_LINES : 2; i < BLOCK_SIZE / LINE_SIZE; i += step) {
                uint64_t off = repair_block_off(arena, number) + i * LINE_SIZE;
                const struct line_shm *line = (const struct line_shm *)(arena->base + off);

                if (line->serial == serial && (groups || !object_kind(line->config)) &&
                    !repair_has_lines(repair, off))
                        (void)take_line(repair, off, groups ? HELD_GROUPS : HELD_SLOTS);
        }
}

/* What has the serial of an object that is broken stays as well. */
static void retain_lines(struct repair *repair, uint64_t place)
{
        const struct arena *arena = repair->arena;
        uint64_t serial = repair_object_at(arena, place)->line.serial;

        (void)take_line(repair, place, HELD_SLOTS);
        for (uint64_t number = 0; number < arena_frontier(arena); number++)
                if (arena->blocks[number].state == BLOCK_SLOTS || arena->blocks[number].state == BLOCK_GROUPS)
                        retain_slots(repair, number, serial);
}

/* ---- One object --------------------------------------------------------------------------------------- */

static const char *first_fault(const struct repair *repair)
{
        return repair->check.n_faults ? repair->check.faults[0].sentence
                                      : "what it refers to, others have as well";
}

static void begin_walk(struct repair *repair, uint64_t place)
{
        repair_forget_chunks(repair);
        repair->check.object = repair_object_at(repair->arena, place);
        repair->check.n_faults = 0;
        repair->check.n_chunks = 0;
        /* Its block may not have been known for one of lines when all locks were freed. */
        repair_free_line(repair, &repair->check.object->line);
}

/* A name that cannot be read is given back by the dict of names, if that knows it. */
static void forget_name(struct repair *repair, uint64_t place)
{
        struct object_shm *object = repair_object_at(repair->arena, place);

        repair_say(repair, REPAIR_MENDED, "%s; what is said of it was wrong", first_fault(repair));
        object->name_size = 0;
        word_set(&object->owner, 0);
        begin_walk(repair, place);
        check_own_name(&repair->check);
}

/* Whether the object has no fault; then everything that it has is taken for it. */
static bool walk(struct repair *repair, uint64_t place)
{
        struct check *check = &repair->check;
        const struct kind *kind;

        begin_walk(repair, place);
        check_own_name(check);
        if (check->n_faults && repair->lenient)
                forget_name(repair, place);
        check_structure(check);
        kind = kind_of(object_kind(check->object->line.config));
        if (check->n_faults || !kind || repair->no_memory)
                return false;
        if (!repair_take_chunks(repair))
                return false;
        if (!take_lines(repair, check->object, kind)) {
                repair_leave_chunks(repair, repair->n_offs);
                return false;
        }
        if (repair_link_chunks(repair, check->object))
                repair_say(repair, REPAIR_MENDED, "the list of its chunks was not that of what it refers to");
        return true;
}

/* ---- Configurations ----------------------------------------------------------------------------------- */

static uint64_t with_config(uint64_t word, objd_kind kind, const objd_config *config)
{
        return (word & ~0xffffffffffULL) | (uint64_t)kind | (uint64_t)config->key_type << 8 |
               (uint64_t)config->value_type << 16 | (uint64_t)config->order << 24 |
               (uint64_t)config->lock_flags << 32;
}

static objd_type known_type(objd_type type)
{
        return (unsigned)type > OBJD_REF ? OBJD_ANY : type;
}

/*
 * What is left of a configuration that makes sense for a kind: types that there are not become any type. False if
 * there is nothing that does.
 */
static bool sensible_config(const struct kind *kind, objd_order order, uint64_t word, uint64_t *ret_word)
{
        for (uint32_t turn = 0; turn < 4; turn++) {
                objd_config config = OBJD_CONFIG_INIT;

                config.value_type = known_type(object_value_type(word));
                config.key_type = turn & 1 ? OBJD_ANY : known_type(object_key_type(word));
                config.lock_flags = turn & 2 ? 0 : object_lock_flags(word);
                config.order = order;
                *ret_word = with_config(word, kind->kind, &config);
                if (kind->check_config(&config) == OBJD_OK)
                        return true;
        }
        return false;
}

/* Whether the object has a sound structure as one of this kind, and there is enough of it to tell. */
static bool is_sound_as(struct repair *repair, uint64_t word)
{
        struct check *check = &repair->check;

        begin_walk(repair, arena_off(repair->arena, check->object));
        check->object->line.config = word;
        check_structure(check);
        return !check->n_faults && repair->n_offs;
}

/* Of all kinds and orders that there are, the only one that the object's structure is sound as. */
static bool find_config(struct repair *repair)
{
        static const objd_kind kinds[] = { OBJD_DICT, OBJD_LIST, OBJD_QUEUE };
        struct line_shm *line = &repair->check.object->line;
        uint64_t old = line->config & ~OBJECT_POISONED, word, found = 0;
        uint32_t n = 0;

        repair->lenient = false;
        for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
                for (int order = OBJD_FIFO; order <= OBJD_PRIORITY; order++)
                        if (sensible_config(kind_of(kinds[i]), (objd_order)order, old, &word) &&
                            is_sound_as(repair, word)) {
                                found = word;
                                n++;
                        }
        repair->lenient = true;
        line->config = n == 1 ? found : old;
        return n == 1;
}

/* What can be put right without looking at what the object refers to. */
static void mend_line(struct repair *repair, struct object_shm *object)
{
        const struct kind *kind = kind_of(object_kind(object->line.config));
        uint64_t word;

        object->line.config &= ~OBJECT_POISONED;
        if (!kind)
                return;
        if (sensible_config(kind, object_order(object->line.config), object->line.config, &word))
                word_set(&object->line.config, word);
        if (kind->mend) {
                struct objd_object handle = { .conn = repair->conn,
                                              .shm = object,
                                              .serial = object->line.serial,
                                              .config = object->line.config };

                kind->mend(repair->check.lane, &handle);
        }
}

/* ---- Objects with a fault ----------------------------------------------------------------------------- */

static void add_case(struct repair *repair, uint64_t place)
{
        struct repair_case *cases = repair_grow(repair, repair->cases, repair->n_cases, &repair->room_cases,
                                                sizeof(*repair->cases));

        if (!cases)
                return;
        repair->cases = cases;
        cases[repair->n_cases] = (struct repair_case){ .place = place };
        (void)snprintf(cases[repair->n_cases].why, sizeof(cases->why), "%s", first_fault(repair));
        repair->n_cases++;
        (void)hold_block(repair, repair_block_of(repair->arena, place), HELD_SLOTS);
}

/* Anew, leniently; then as whatever kind it might be. */
static void look_again(struct repair *repair, struct repair_case *c)
{
        struct object_shm *object = repair_object_at(repair->arena, c->place);

        repair->check.object = object;
        mend_line(repair, object);
        if (walk(repair, c->place) || (find_config(repair) && walk(repair, c->place)))
                repair_say(repair, REPAIR_MENDED, "%s", c->why);
        else
                c->is_broken = true;
}

static void look_again_at_all(struct repair *repair)
{
        repair->lenient = true;
        for (size_t i = 0; i < repair->n_cases; i++)
                look_again(repair, &repair->cases[i]);
        repair->lenient = false;
        repair_forget_chunks(repair);
        for (size_t i = 0; i < repair->n_cases; i++)
                if (repair->cases[i].is_broken) {
                        retain_lines(repair, repair->cases[i].place);
                        repair_retain_chunks(repair, repair->cases[i].place);
                }
}

/* The dict of names: there is nobody else yet. */
bool repair_object(struct repair *repair, uint64_t place)
{
        char why[256];
        bool sound;

        if (walk(repair, place))
                return true;
        (void)snprintf(why, sizeof(why), "%s", first_fault(repair));
        repair->lenient = true;
        sound = walk(repair, place);
        repair->lenient = false;
        if (sound)
                repair_say(repair, REPAIR_MENDED, "%s", why);
        else
                repair_forget_chunks(repair);
        return sound;
}

/* ---- All of them -------------------------------------------------------------------------------------- */

/* The name in the slot, if it stands there itself. */
static bool has_name(const struct object_shm *object, const char *name)
{
        size_t size = strlen(name);

        return object->name_size == size &&
               (size > sizeof(object->name) || !memcmp(object->name, name, size));
}

/* A serial that was never given, in a slot of which the dict of names has another: that one is right. */
static void mend_serial(struct repair *repair, struct object_shm *object, const struct repair_name *name)
{
        uint64_t serial = object->line.serial, next = word_get(&repair->arena->header->pool.next_serial);

        if (serial == name->ref.serial || !has_name(object, name->name) || (serial && serial < next) ||
            !kind_of(object_kind(object->line.config)))
                return;
        word_set(&object->line.serial, name->ref.serial);
        check_label(&repair->check, "%s", name->name);
        repair_say(repair, REPAIR_MENDED, "its serial was %" PRIu64 "; it is %" PRIu64 ", as its name says",
                   serial, name->ref.serial);
}

static void look_at_slot(struct repair *repair, uint64_t place)
{
        struct object_shm *object = repair_object_at(repair->arena, place);
        const struct repair_name *name = repair_name_of(repair, place);
        bool is_used = check_slot_is_used(repair->arena, place);
        uint64_t *next = &repair->arena->header->pool.next_serial;

        if (place == repair->arena->header->names)
                return;
        if (name)
                mend_serial(repair, object, name);
        if (name && name->ref.serial != object->line.serial)
                name = NULL;
        if (!object->line.serial || (check_is_further_line(object) && !name))
                return;
        if (walk(repair, place)) {
                /* A bitmap that says that the slot is free is outdone by an object that has something. */
                if (!is_used && !name && !repair->n_offs)
                        leave_line(repair, place);
        } else if (is_used || name) {
                add_case(repair, place);
        }
        if (repair_has_lines(repair, place) && object->line.serial >= word_get(next) &&
            object->line.serial < UINT64_MAX >> 1)
                word_set(next, object->line.serial + 1);
}

/* A bitmap that agrees with its count, and an object in each slot that it says is in use. */
static bool looks_like_slots(const struct arena *arena, uint64_t number)
{
        const struct slot_block_shm *head =
                (const struct slot_block_shm *)(arena->base + repair_block_off(arena, number));
        const struct object_shm *slots = (const struct object_shm *)head;
        uint32_t n = 0;

        if (!(head->used[0] & 1))
                return false;
        for (uint32_t slot = 1; slot < SLOTS_PER_BLOCK; slot++) {
                if (!(head->used[slot / 64] >> slot % 64 & 1))
                        continue;
                n++;
                if (!slots[slot].line.serial ||
                    slots[slot].line.serial >= word_get(&arena->header->pool.next_serial))
                        return false;
        }
        return n && n == head->n_used;
}

static bool is_inside_run(uint8_t state)
{
        return state == BLOCK_FREE_IN || state == BLOCK_RUN_IN;
}

/* Blocks of objects that the table does not know as such. */
static void find_slots(struct repair *repair)
{
        const struct arena *arena = repair->arena;

        for (uint64_t number = 0; number < arena_frontier(arena); number++) {
                struct block_shm *block = &arena->blocks[number];

                if (repair->held[number] != HELD_NOT || block->state == BLOCK_SLOTS ||
                    is_inside_run(block->state) || block->memory == MEMORY_NONE ||
                    !looks_like_slots(arena, number))
                        continue;
                block->state = BLOCK_SLOTS;
        }
        for (size_t i = 0; i < repair->n_names; i++) {
                const struct repair_name *name = &repair->names[i];
                uint64_t number = repair_block_of(arena, name->ref.place);
                const struct object_shm *object = arena_at(arena, name->ref.place, SLOT_SIZE);

                if (object && arena->blocks[number].state != BLOCK_SLOTS &&
                    repair->held[number] == HELD_NOT && name->ref.place % SLOT_SIZE == 0 &&
                    object->line.serial == name->ref.serial && has_name(object, name->name))
                        arena->blocks[number].state = BLOCK_SLOTS;
        }
}

static void look_at_block(struct repair *repair, uint64_t number)
{
        uint64_t off = repair_block_off(repair->arena, number);

        for (uint32_t slot = 1; slot < SLOTS_PER_BLOCK; slot++)
                if (!repair_has_lines(repair, off + slot * SLOT_SIZE))
                        look_at_slot(repair, off + slot * SLOT_SIZE);
}

objd_status repair_mark(struct repair *repair)
{
        struct arena *arena = repair->arena;
        objd_status r = lane_enter(arena, conn_timeout(repair->conn), &repair->check.lane);

        if (r)
                return r;
        r = repair_names_first(repair);
        if (r == OBJD_OK) {
                find_slots(repair);
                for (uint64_t number = 0; number < arena_frontier(arena); number++)
                        if (arena->blocks[number].state == BLOCK_SLOTS)
                                look_at_block(repair, number);
                look_again_at_all(repair);
        }
        repair_forget_chunks(repair);
        lane_leave(repair->check.lane);
        return repair->no_memory ? fail(OBJD_E_NOMEM, "no memory to repair the store") : r;
}

void repair_forget(struct repair *repair)
{
        memset(repair->taken, 0, check_bits_size(repair->arena));
        memset(repair->check.lines, 0, check_bits_size(repair->arena));
        memset(repair->check.seen, 0, check_bits_size(repair->arena));
        memset(repair->held, HELD_NOT, repair->arena->n_blocks);
        repair->n_offs = 0;
        repair->n_cases = 0;
}

void repair_drop(struct repair *repair, uint64_t place)
{
        struct object_shm *object = repair_object_at(repair->arena, place);

        word_set(&object->line.serial, 0);
        word_set(&object->line.config, 0);
        word_set(&object->owner, 0);
        object->name_size = 0;
}
