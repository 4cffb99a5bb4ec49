/* SPDX-License-Identifier: Apache-2.0 */

/*
 * outcome.c -- an answer, with the memory of what it points to
 */

#include "proxy/outcome.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "object/kind.h"

bool outcome_has_more(enum call_code code)
{
        enum call_group group = call_properties(code)->group;

        return group == GROUP_STORE || group == GROUP_OBJECT || code == CALL_DICT_CURSOR;
}

void outcome_init(struct outcome *outcome, enum call_code code, struct answer *answer,
                  struct outcome_more *more)
{
        *outcome = (struct outcome){ .answer = answer, .more = more };
        answer_init(answer);
        answer->code = code;
}

void outcome_lend(struct outcome *outcome, struct outcome_spares *spares)
{
        bool reads = !(call_properties(outcome->answer->code)->flags & (CALL_VALUE | CALL_VALUES));

        if (reads && !outcome->buf.data && spares->n)
                outcome->buf = spares->bufs[--spares->n];
}

static void give_buf(objd_buf *buf, struct outcome_spares *spares)
{
        if (!buf->data)
                return;
        if (spares && buf->size <= OUTCOME_SPARE_BYTES && spares->n < OUTCOME_SPARES)
                spares->bufs[spares->n++] = *buf;
        else
                objd_buf_free(buf);
}

void outcome_free(struct outcome *outcome, struct outcome_spares *spares)
{
        give_buf(&outcome->buf, spares);
        objd_unpin(outcome->pin);
        if (outcome->items)
                objd_items_free(outcome->items);
        if (outcome->infos)
                objd_infos_free(outcome->infos);
        if (outcome->sentence)
                free(outcome->sentence);
}

void outcome_reset(struct outcome *outcome)
{
        enum call_code code = outcome->answer->code;
        size_t charged = outcome->charged;

        outcome_free(outcome, NULL);
        outcome_init(outcome, code, outcome->answer, outcome->more);
        outcome->charged = charged;
}

void outcome_spares_free(struct outcome_spares *spares)
{
        while (spares->n)
                objd_buf_free(&spares->bufs[--spares->n]);
}

size_t outcome_cost(const struct outcome *outcome)
{
        return outcome->buf.size + (outcome->pin ? outcome->answer->value.size : 0) +
               items_memory(outcome->items) +
               (outcome->infos ? outcome->answer->n_infos * sizeof(*outcome->infos) : 0) +
               (outcome->sentence ? strlen(outcome->sentence) : 0);
}

objd_status outcome_end(struct outcome *outcome, objd_status status)
{
        outcome->answer->status = status;
        if (status) {
                free(outcome->sentence);
                outcome->sentence = strdup(objd_last_error());
                outcome->answer->sentence = outcome->sentence; /* without memory the status has to do */
        }
        return status;
}

void outcome_from_ops(struct outcome *outcome, const struct op *ops)
{
        struct answer *answer = outcome->answer;

        switch (answer->code) {
        case CALL_DICT_ADD_INT:
                answer->integer = ops->result.u.integer;
                break;
        case CALL_DICT_ADD_FLOAT:
                answer->real = ops->result.u.real;
                break;
        case CALL_DICT_POP_ANY:
                answer->key = ops->result_key;
                answer->value = ops->result;
                break;
        case CALL_QUEUE_GET_LEASE:
                answer->number = ops->u.lease;
                answer->value = ops->result;
                break;
        case CALL_DICT_GET:
        case CALL_DICT_POP:
        case CALL_LIST_GET:
        case CALL_LIST_POP:
        case CALL_QUEUE_GET:
                answer->value = ops->result;
                break;
        default:
                break;
        }
}

static void set_info(struct outcome *outcome, objd_ref ref, objd_kind kind, const objd_config *config,
                     const char *name)
{
        objd_info *info = &outcome->more->info;

        memset(info, 0, sizeof(*info));
        info->ref = ref;
        info->kind = kind;
        info->config = *config;
        (void)snprintf(info->name, sizeof(info->name), "%s", name ? name : "");
        outcome->answer->infos = info;
        outcome->answer->n_infos = 1;
}

void outcome_of_handle(struct outcome *outcome, const struct objd_object *handle, const char *name)
{
        objd_config config = {
                .struct_size = sizeof(config),
                .key_type = object_key_type(handle->config),
                .value_type = object_value_type(handle->config),
                .order = object_order(handle->config),
                .lock_flags = object_lock_flags(handle->config),
        };

        kind_of(object_kind(handle->config))->get_config(handle->shm, &config);
        set_info(outcome, objd_ref_of(handle), object_kind(handle->config), &config, name);
}

void outcome_of_new(struct outcome *outcome, objd_ref ref, const struct call *call)
{
        objd_config standard = OBJD_CONFIG_INIT;

        set_info(outcome, ref, call->kind, call->config ? call->config : &standard, call->name);
}

void outcome_items(struct outcome *outcome, objd_items *items)
{
        outcome->items = items;
        outcome->answer->items = items->item;
        outcome->answer->n_items = items->len;
}
