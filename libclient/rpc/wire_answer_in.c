/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_answer_in.c -- replies to batches that have come in
 */

#include "rpc/wire_value.h"

#include <string.h>

#include "base/status.h"

static objd_status info_in(const Objd__Rpc__Info *message, objd_info *info)
{
        const Objd__Rpc__Config *config = message->config;
        size_t size = strlen(message->name);

        if (size > OBJD_NAME_MAX)
                return fail(OBJD_E_PROTO, "an object's name has %zu bytes, the most is %d", size,
                            OBJD_NAME_MAX);
        *info = (objd_info){
                .ref = { message->place, message->serial },
                .kind = (objd_kind)message->kind,
                .config = OBJD_CONFIG_INIT,
                .len = message->len,
                .memory = message->memory,
                .poisoned = message->poisoned,
        };
        memcpy(info->name, message->name, size);
        if (config) {
                info->config.key_type = (objd_type)config->key_type;
                info->config.value_type = (objd_type)config->value_type;
                info->config.order = (objd_order)config->order;
                info->config.bound = config->bound;
                info->config.lock_flags = config->lock_flags;
        }
        return OBJD_OK;
}

static objd_status infos_in(struct space *space, Objd__Rpc__Info *const *messages, size_t n,
                            struct answer *answer)
{
        objd_info *infos;
        objd_status r = OBJD_OK;

        if (!n)
                return OBJD_OK;
        infos = wire_take(space, n, sizeof(*infos));
        if (!infos)
                return OBJD_E_NOMEM;
        for (size_t i = 0; !r && i < n; i++)
                r = info_in(messages[i], &infos[i]);
        answer->infos = infos;
        answer->n_infos = n;
        return r;
}

static objd_status stats_in(struct space *space, const Objd__Rpc__Stats *message, struct answer *answer)
{
        objd_stats *stats;

        if (!message)
                return OBJD_OK;
        stats = wire_take(space, 1, sizeof(*stats));
        if (!stats)
                return OBJD_E_NOMEM;
        *stats = (objd_stats){
                .arena_size = message->arena_size,
                .arena_used = message->arena_used,
                .arena_resident = message->arena_resident,
                .arena_limit = message->arena_limit,
                .n_objects = message->n_objects,
                .n_clients = message->n_clients,
                .n_lanes = message->n_lanes,
                .n_reads = message->n_reads,
                .n_writes = message->n_writes,
                .n_recoveries = message->n_recoveries,
        };
        answer->stats = stats;
        return OBJD_OK;
}

static objd_status store_in(struct wire_source *source, const Objd__Rpc__StoreReply *message,
                            struct answer *answer)
{
        objd_status r = stats_in(source->space, message->stats, answer);

        answer->truth = message->end;
        if (!r && message->value)
                r = wire_value_in(source, message->value, &answer->value);
        return r ? r : infos_in(source->space, message->infos, message->n_infos, answer);
}

static objd_status object_in(struct wire_source *source, const Objd__Rpc__ObjectReply *message,
                             struct answer *answer)
{
        return infos_in(source->space, &message->info, message->info ? 1 : 0, answer);
}

static objd_status item_in(struct wire_source *source, const Objd__Rpc__Item *message, objd_item *item)
{
        objd_status r = OBJD_OK;

        item->key.type = OBJD_ANY;
        item->key.data = NULL;
        item->found = message->value;
        item->value = objd_nil();
        if (message->key)
                r = wire_value_in(source, message->key, &item->key);
        return r || !message->value ? r : wire_value_in(source, message->value, &item->value);
}

static objd_status items_in(struct wire_source *source, Objd__Rpc__Item *const *messages, size_t n,
                            struct answer *answer)
{
        objd_item *items;
        objd_status r = OBJD_OK;

        if (!n)
                return OBJD_OK;
        items = wire_take(source->space, n, sizeof(*items));
        if (!items)
                return OBJD_E_NOMEM;
        for (size_t i = 0; !r && i < n; i++)
                r = item_in(source, messages[i], &items[i]);
        answer->items = items;
        answer->n_items = n;
        return r;
}

static objd_status dict_in(struct wire_source *source, const Objd__Rpc__DictReply *message,
                           struct answer *answer)
{
        objd_status r = OBJD_OK;

        if (message->position.len > WIRE_POSITION_MAX)
                return fail(OBJD_E_PROTO, "a cursor's position has %zu bytes, the most is %u",
                            message->position.len, WIRE_POSITION_MAX);
        answer->truth = message->found || message->end;
        answer->number = message->number;
        if (message->sum_case == OBJD__RPC__DICT_REPLY__SUM_INTEGER)
                answer->integer = message->integer;
        else if (message->sum_case == OBJD__RPC__DICT_REPLY__SUM_REAL)
                answer->real = message->real;
        answer->position = message->position.data;
        answer->position_size = message->position.len;
        if (message->value)
                r = wire_value_in(source, message->value, &answer->value);
        if (!r && message->key)
                r = wire_value_in(source, message->key, &answer->key);
        return r ? r : items_in(source, message->items, message->n_items, answer);
}

/* Items that have only values. */
static objd_status item_values_in(struct wire_source *source, Objd__Rpc__Value *const *messages, size_t n,
                                  struct answer *answer)
{
        objd_item *items;
        objd_status r = OBJD_OK;

        if (!n)
                return OBJD_OK;
        items = wire_take(source->space, n, sizeof(*items));
        if (!items)
                return OBJD_E_NOMEM;
        for (size_t i = 0; !r && i < n; i++) {
                items[i].key.type = OBJD_ANY;
                items[i].key.data = NULL;
                items[i].found = true;
                r = wire_value_in(source, messages[i], &items[i].value);
        }
        answer->items = items;
        answer->n_items = n;
        return r;
}

static objd_status list_in(struct wire_source *source, const Objd__Rpc__ListReply *message,
                           struct answer *answer)
{
        objd_status r = OBJD_OK;

        answer->number = message->number;
        if (message->value)
                r = wire_value_in(source, message->value, &answer->value);
        return r ? r : item_values_in(source, message->values, message->n_values, answer);
}

static objd_status queue_in(struct wire_source *source, const Objd__Rpc__QueueReply *message,
                            struct answer *answer)
{
        objd_status r = OBJD_OK;

        answer->number = message->lease ? message->lease : message->number;
        if (message->value)
                r = wire_value_in(source, message->value, &answer->value);
        return r ? r : item_values_in(source, message->values, message->n_values, answer);
}

static objd_status answer_in(struct wire_source *source, const Objd__Rpc__Answer *message,
                             struct answer *answer)
{
        answer_init(answer);
        answer->status = (objd_status)message->status;
        answer->sentence = message->sentence;
        switch (message->group_case) {
        case OBJD__RPC__ANSWER__GROUP_STORE:
                return store_in(source, message->store, answer);
        case OBJD__RPC__ANSWER__GROUP_OBJECT:
                return object_in(source, message->object, answer);
        case OBJD__RPC__ANSWER__GROUP_DICT:
                return dict_in(source, message->dict, answer);
        case OBJD__RPC__ANSWER__GROUP_LIST:
                return list_in(source, message->list, answer);
        case OBJD__RPC__ANSWER__GROUP_QUEUE:
                return queue_in(source, message->queue, answer);
        case OBJD__RPC__ANSWER__GROUP_LOCK:
                answer->number = message->lock->token;
                answer->truth = message->lock->taken;
                answer->integer = message->lock->pid;
                return OBJD_OK;
        default:
                return OBJD_OK; /* nothing but a status; or something that is newer than we are */
        }
}

static objd_status answers_in(struct wire_source *source, const Objd__Rpc__Reply *message,
                              struct call_reply *reply)
{
        struct answer *answers;
        objd_status r = OBJD_OK;

        answers = wire_take(source->space, message->n_answers, sizeof(*answers));
        if (!answers)
                return OBJD_E_NOMEM;
        for (size_t i = 0; !r && i < message->n_answers; i++)
                r = answer_in(source, message->answers[i], &answers[i]);
        if (r)
                return r;
        reply->answers = answers;
        reply->n_answers = message->n_answers;
        return wire_close(source);
}

objd_status wire_general_unpack_reply(const struct wire_in *in, const struct wire_limits *limits,
                                      struct space *space, struct call_reply *ret_reply)
{
        const Objd__Rpc__Reply *message;
        struct wire_source source;
        objd_status r = wire_open(in, &objd__rpc__reply__descriptor, limits, space, &source);

        *ret_reply = (struct call_reply){ 0 };
        if (r)
                return r;
        message = (const Objd__Rpc__Reply *)source.message;
        ret_reply->seq = message->seq;
        ret_reply->status = (objd_status)message->status;
        ret_reply->sentence = *message->sentence ? message->sentence : NULL;
        ret_reply->failed = message->failed;
        return answers_in(&source, message, ret_reply);
}
