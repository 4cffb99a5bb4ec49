/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pin.c -- exported: reads that do not copy
 *
 * A pin is a word in the thread's lane with the offset of the value's chunk; whoever frees a chunk looks at these words
 * (pool.c). A thread's death clears its lane, and with it the pins. Values that are small enough to stand in their
 * container have no chunk; they are copied into the pin.
 */

#include <stdlib.h>

#include "base/fork.h"
#include "base/status.h"
#include "base/sys.h"
#include "mem/pool.h"
#include "object/dict.h"
#include "object/list.h"

struct objd_pin {
        struct arena *arena;
        uint64_t lane_id; /* whose claim the pin is in */
        uint64_t fork_generation;
        uint32_t place;
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

static objd_status take_pin(objd_object *object, const void *where, pin_fn fn, objd_value *ret_value,
                            objd_pin **ret_pin)
{
        struct arena *arena = object->conn->arena;
        objd_pin *pin = sys.alloc(sizeof(*pin));
        struct lane_shm *shm;
        struct lane *lane;
        objd_status r;

        if (!pin)
                return fail(OBJD_E_NOMEM, "no memory for a pin");
        r = lane_enter(arena, conn_timeout(object->conn), &lane);
        if (r == OBJD_OK) {
                shm = lane->shm;
                *pin = (objd_pin){ .arena = arena,
                                   .lane_id = lane_id(lane),
                                   .fork_generation = fork_generation() };
                r = find_place(lane, &pin->place);
                lane_leave(lane);
        }
        if (r) {
                free(pin);
                return r;
        }
        /* The count comes first: whoever sees none of it does not look at the pins. */
        __atomic_fetch_add(&arena->header->n_pins, 1, __ATOMIC_SEQ_CST);
        r = fn(object, where, shm, pin->place, ret_value, &pin->buf);
        if (r || !shm->pins[pin->place]) {
                lane_unpin(arena, shm, pin->place);
                pin->lane_id = 0;
        }
        if (r) {
                objd_buf_free(&pin->buf);
                free(pin);
                return r;
        }
        *ret_pin = pin;
        return OBJD_OK;
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

objd_status objd_dict_pin(objd_object *dict, const objd_value *key, objd_value *ret_value, objd_pin **ret_pin)
{
        if (!dict || !key || !ret_value || !ret_pin)
                return fail(OBJD_E_INVAL, "objd_dict_pin: an argument is NULL");
        if (object_kind(dict->config) != OBJD_DICT)
                return fail(OBJD_E_KIND, "objd_dict_pin: %s is no dict", object_label(dict));
        return take_pin(dict, key, pin_in_dict, ret_value, ret_pin);
}

objd_status objd_list_pin(objd_object *list, int64_t index, objd_value *ret_value, objd_pin **ret_pin)
{
        if (!list || !ret_value || !ret_pin)
                return fail(OBJD_E_INVAL, "objd_list_pin: an argument is NULL");
        if (object_kind(list->config) != OBJD_LIST)
                return fail(OBJD_E_KIND, "objd_list_pin: %s is no list", object_label(list));
        return take_pin(list, &index, pin_in_list, ret_value, ret_pin);
}

/* In a forked child the pin is the parent's, and only the description is freed. */
void objd_unpin(objd_pin *pin)
{
        if (!pin)
                return;
        if (pin->lane_id && pin->fork_generation == fork_generation()) {
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
