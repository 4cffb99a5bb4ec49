/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pin.c -- exported: reads that do not copy
 *
 * A pin is a word in the thread's lane with the offset of the value's chunk; whoever frees a chunk looks at these words
 * (pool.c). A thread's death clears its lane, and with it the pins. Values that are small enough to stand in their
 * container have no chunk; they are copied into the pin.
 *
 * A read-only client's lane is private. There the daemon pins, and the value is looked up once more: if it is still where it was
 * then, whoever frees it later sees the pin.
 */

#include <stdlib.h>

#include "base/fork.h"
#include "base/status.h"
#include "base/sys.h"
#include "client/help.h"
#include "mem/pool.h"
#include "client/proxy.h"
#include "object/dict.h"
#include "object/list.h"

struct objd_pin {
        struct arena *arena;
        uint64_t lane_id; /* whose claim the pin is in */
        uint64_t fork_generation;
        uint32_t place;
        bool helped;  /* it is the daemon's pin, in our place */
        objd_buf buf; /* a small value */
};

typedef objd_status (*pin_fn)(objd_object *object, const void *where, struct lane_shm *lane, uint32_t place,
                              objd_value *ret_value, objd_buf *buf);

static objd_status find_place(struct lane *lane, uint32_t *ret_place)
{
        for (uint32_t i = 0; i < LANE_PINS; i++)
                if (!lane->shm->pins[i]) {
                        *ret_place = i;
                        return OBJD_OK;
                }
        return fail(OBJD_E_LIMIT, "this thread has %u pins already, which is all it can have; unpin some",
                    LANE_PINS);
}

/* Whether the lane still has this claim's pin: at a thread's end its pins are cleared and counted off with its lane. */
static bool is_in_place(const struct objd_pin *pin, const struct lane_shm *lane)
{
        return half_get_acquire(&lane->claimed) &&
               word_get(&lane->generation) == id_generation(pin->lane_id) &&
               word_get(&lane->pins[pin->place]);
}

/* How often a read-only client follows a value that is replaced again and again while the daemon pins it. */
#define HELPED_TRIES 100

static objd_status pin_with_help(objd_object *object, const void *where, struct lane_shm *shm, pin_fn fn,
                                 objd_value *ret_value, objd_pin *pin)
{
        struct lane *lane;
        objd_status r = fn(object, where, shm, pin->place, ret_value, &pin->buf);

        for (int i = 0; r == OBJD_OK && shm->pins[pin->place]; i++) {
                uint64_t chunk = shm->pins[pin->place];

                r = i < HELPED_TRIES
                            ? lane_enter_to_read(pin->arena, conn_timeout(object->conn), &lane)
                            : fail(OBJD_E_BUSY, "%s changes too fast to be pinned", object_label(object));
                if (r)
                        break;
                r = help_pin(lane, pin->place, chunk);
                lane_leave(lane);
                if (r)
                        break;
                pin->helped = true;
                r = fn(object, where, shm, pin->place, ret_value, &pin->buf);
                if (r == OBJD_OK && shm->pins[pin->place] == chunk)
                        return OBJD_OK;
        }
        return r;
}

/* Its place may be used again. */
static void unpin_with_help(struct objd_pin *pin)
{
        struct lane *lane;

        if (lane_enter_to_read(pin->arena, 0, &lane))
                return;
        if (pin->helped)
                help_unpin(lane, pin->place);
        word_set(&lane->shm->pins[pin->place], 0);
        lane_leave(lane);
}

static objd_status hand_out(objd_status r, objd_pin *pin, objd_pin **ret_pin)
{
        if (r) {
                objd_buf_free(&pin->buf);
                free(pin);
        } else {
                *ret_pin = pin;
        }
        return r;
}

static objd_status take_pin(objd_object *object, const void *where, pin_fn fn, objd_value *ret_value,
                            objd_pin **ret_pin)
{
        HOLD_NEXT_TIMEOUT;
        struct arena *arena = object->conn->arena;
        objd_pin *pin = sys.alloc(sizeof(*pin));
        struct lane_shm *shm;
        struct lane *lane;
        objd_status r;

        if (!pin)
                return fail(OBJD_E_NOMEM, "no memory for a pin");
        r = lane_enter_to_read(arena, conn_timeout(object->conn), &lane);
        if (r == OBJD_OK) {
                shm = lane->shm;
                *pin = (objd_pin){ .arena = arena,
                                   .lane_id = arena->read_only ? 1 : lane_id(lane),
                                   .fork_generation = fork_generation() };
                r = find_place(lane, &pin->place);
                lane_leave(lane);
        }
        if (r) {
                free(pin);
                return r;
        }
        if (arena->read_only) {
                r = pin_with_help(object, where, shm, fn, ret_value, pin);
                if (r || !shm->pins[pin->place]) {
                        unpin_with_help(pin);
                        pin->lane_id = 0;
                }
                return hand_out(r, pin, ret_pin);
        }
        /* The count comes first: whoever sees none of it does not look at the pins. */
        __atomic_fetch_add(&arena->header->n_pins, 1, __ATOMIC_SEQ_CST);
        r = fn(object, where, shm, pin->place, ret_value, &pin->buf);
        if (r || !shm->pins[pin->place]) {
                lane_unpin(arena, shm, pin->place);
                pin->lane_id = 0;
        }
        return hand_out(r, pin, ret_pin);
}

static objd_status pin_in_dict(objd_object *dict, const void *key, struct lane_shm *lane, uint32_t place,
                               objd_value *ret_value, objd_buf *buf)
{
        return dict_pin(dict, key, lane, place, ret_value, buf);
}

static objd_status pin_in_list(objd_object *list, const void *index, struct lane_shm *lane, uint32_t place,
                               objd_value *ret_value, objd_buf *buf)
{
        return list_pin(list, *(const int64_t *)index, lane, place, ret_value, buf);
}

/* Without a mapping there is nothing to pin: it is a copy. */
static objd_status pin_copy(objd_object *object, const objd_value *key, int64_t index, objd_value *ret_value,
                            objd_pin **ret_pin)
{
        objd_pin *pin = sys.alloc(sizeof(*pin));
        objd_status r;

        if (!pin)
                return fail(OBJD_E_NOMEM, "no memory for a pin");
        r = key ? proxy_dict_get(object, key, ret_value, &pin->buf)
                : proxy_list_get(object, index, ret_value, &pin->buf);
        if (r)
                objd_unpin(pin);
        else
                *ret_pin = pin;
        return r;
}

objd_status objd_dict_pin(objd_object *dict, const objd_value *key, objd_value *ret_value, objd_pin **ret_pin)
{
        if (!dict || !key || !ret_value || !ret_pin)
                return fail(OBJD_E_INVAL, "objd_dict_pin: an argument is NULL");
        if (object_is_proxied(dict)) {
                objd_status r = proxy_check_kind(dict, OBJD_DICT, "objd_dict_pin");

                return r ? r : pin_copy(dict, key, 0, ret_value, ret_pin);
        }
        if (object_kind(dict->config) != OBJD_DICT)
                return fail(OBJD_E_KIND, "objd_dict_pin: %s is no dict", object_label(dict));
        return take_pin(dict, key, pin_in_dict, ret_value, ret_pin);
}

objd_status objd_list_pin(objd_object *list, int64_t index, objd_value *ret_value, objd_pin **ret_pin)
{
        if (!list || !ret_value || !ret_pin)
                return fail(OBJD_E_INVAL, "objd_list_pin: an argument is NULL");
        if (object_is_proxied(list)) {
                objd_status r = proxy_check_kind(list, OBJD_LIST, "objd_list_pin");

                return r ? r : pin_copy(list, NULL, index, ret_value, ret_pin);
        }
        if (object_kind(list->config) != OBJD_LIST)
                return fail(OBJD_E_KIND, "objd_list_pin: %s is no list", object_label(list));
        return take_pin(list, &index, pin_in_list, ret_value, ret_pin);
}

/* In a forked child the pin is the parent's, and only the description is freed. */
void objd_unpin(objd_pin *pin)
{
        if (!pin)
                return;
        if (pin->helped && pin->lane_id && pin->fork_generation == fork_generation()) {
                unpin_with_help(pin);
        } else if (pin->lane_id && pin->fork_generation == fork_generation()) {
                struct lane_shm *shm = arena_lane(pin->arena, id_number(pin->lane_id));
                struct lane *lane;

                if (is_in_place(pin, shm))
                        lane_unpin(pin->arena, shm, pin->place);
                if (word_get(&pin->arena->header->pool.limbo) &&
                    lane_enter(pin->arena, 0, &lane) == OBJD_OK) {
                        pool_trim(lane);
                        lane_leave(lane);
                }
        }
        objd_buf_free(&pin->buf);
        free(pin);
}
