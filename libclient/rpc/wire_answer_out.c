/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_answer_out.c -- replies to batches as messages
 *
 * Most answers to changes say no more than that they were done: they are empty messages of two bytes. An answer has its group's
 * message only if there is something in it.
 */

#include "rpc/wire_value.h"

#include "base/status.h"

static Objd__Rpc__Config config_made(const objd_config *config)
{
        Objd__Rpc__Config message = OBJD__RPC__CONFIG__INIT;

        message.key_type = (Objd__Rpc__Type)config->key_type;
        message.value_type = (Objd__Rpc__Type)config->value_type;
        message.order = (Objd__Rpc__Order)config->order;
        message.bound = config->bound;
        message.lock_flags = config->lock_flags;
        return message;
}

struct info_out {
        Objd__Rpc__Info info;
        Objd__Rpc__Config config;
};

static void info_out(const objd_info *info, struct info_out *message)
{
        objd__rpc__info__init(&message->info);
        message->config = config_made(&info->config);
        message->info.place = info->ref.place;
        message->info.serial = info->ref.serial;
        message->info.kind = (Objd__Rpc__Kind)info->kind;
        message->info.config = &message->config;
        message->info.len = info->len;
        message->info.memory = info->memory;
        message->info.poisoned = info->poisoned;
        message->info.name = (char *)(uintptr_t)info->name;
}

static objd_status infos_out(struct wire_out *out, const objd_info *infos, size_t n,
                             Objd__Rpc__Info ***ret_array)
{
        Objd__Rpc__Info **array;
        struct info_out *messages;

        if (!n)
                return OBJD_OK;
        array = wire_take(&out->space, n, sizeof(*array));
        messages = wire_take(&out->space, n, sizeof(*messages));
        if (!array || !messages)
                return OBJD_E_NOMEM;
        for (size_t i = 0; i < n; i++) {
                info_out(&infos[i], &messages[i]);
                array[i] = &messages[i].info;
        }
        *ret_array = array;
        return OBJD_OK;
}

static objd_status stats_out(struct wire_out *out, const objd_stats *stats, Objd__Rpc__Stats **ret_message)
{
        Objd__Rpc__Stats *message;

        if (!stats)
                return OBJD_OK;
        message = wire_out_take(out, sizeof(*message));
        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__stats__init(message);
        message->arena_size = stats->arena_size;
        message->arena_used = stats->arena_used;
        message->arena_resident = stats->arena_resident;
        message->arena_limit = stats->arena_limit;
        message->n_objects = stats->n_objects;
        message->n_clients = stats->n_clients;
        message->n_lanes = stats->n_lanes;
        message->n_reads = stats->n_reads;
        message->n_writes = stats->n_writes;
        message->n_recoveries = stats->n_recoveries;
        *ret_message = message;
        return OBJD_OK;
}

static objd_status store_out(struct wire_out *out, const struct answer *answer, Objd__Rpc__Answer *to)
{
        Objd__Rpc__StoreReply *message = wire_out_take(out, sizeof(*message));
        objd_status r;

        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__store_reply__init(message);
        message->n_infos = answer->n_infos;
        message->end = answer->truth;
        to->group_case = OBJD__RPC__ANSWER__GROUP_STORE;
        to->store = message;
        r = stats_out(out, answer->stats, &message->stats);
        if (!r)
                r = wire_value_out(out, &answer->value, &message->value);
        return r ? r : infos_out(out, answer->infos, answer->n_infos, &message->infos);
}

static objd_status object_out(struct wire_out *out, const struct answer *answer, Objd__Rpc__Answer *to)
{
        Objd__Rpc__ObjectReply *message;
        struct info_out *info;

        if (!answer->n_infos)
                return OBJD_OK;
        message = wire_out_take(out, sizeof(*message));
        info = wire_out_take(out, sizeof(*info));
        if (!message || !info)
                return OBJD_E_NOMEM;
        objd__rpc__object_reply__init(message);
        info_out(answer->infos, info);
        message->info = &info->info;
        to->group_case = OBJD__RPC__ANSWER__GROUP_OBJECT;
        to->object = message;
        return OBJD_OK;
}

/* An item that was not found has a value of type nil here, and none in the message. */
static objd_status item_out(struct wire_out *out, const objd_item *item, Objd__Rpc__Item *message)
{
        objd_status r;

        objd__rpc__item__init(message);
        r = wire_value_out(out, &item->key, &message->key);
        return r || !item->found ? r : wire_value_out(out, &item->value, &message->value);
}

static objd_status items_out(struct wire_out *out, const struct answer *answer, Objd__Rpc__Item ***ret_array)
{
        Objd__Rpc__Item **array, *messages;
        objd_status r = OBJD_OK;

        if (!answer->n_items)
                return OBJD_OK;
        array = wire_take(&out->space, answer->n_items, sizeof(*array));
        messages = wire_take(&out->space, answer->n_items, sizeof(*messages));
        if (!array || !messages)
                return OBJD_E_NOMEM;
        for (size_t i = 0; !r && i < answer->n_items; i++) {
                array[i] = &messages[i];
                r = item_out(out, &answer->items[i], &messages[i]);
        }
        if (!r)
                *ret_array = array;
        return r;
}

static objd_status dict_out(struct wire_out *out, const struct answer *answer, Objd__Rpc__Answer *to)
{
        Objd__Rpc__DictReply *message = wire_out_take(out, sizeof(*message));
        objd_status r;

        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__dict_reply__init(message);
        if (answer->code == CALL_DICT_CURSOR)
                message->end = answer->truth;
        else
                message->found = answer->truth;
        message->number = answer->number;
        if (answer->code == CALL_DICT_ADD_INT) {
                message->sum_case = OBJD__RPC__DICT_REPLY__SUM_INTEGER;
                message->integer = answer->integer;
        } else if (answer->code == CALL_DICT_ADD_FLOAT) {
                message->sum_case = OBJD__RPC__DICT_REPLY__SUM_REAL;
                message->real = answer->real;
        }
        message->position =
                (ProtobufCBinaryData){ answer->position_size, (uint8_t *)(uintptr_t)answer->position };
        message->n_items = answer->n_items;
        to->group_case = OBJD__RPC__ANSWER__GROUP_DICT;
        to->dict = message;
        r = wire_value_out(out, &answer->value, &message->value);
        if (!r)
                r = wire_value_out(out, &answer->key, &message->key);
        return r ? r : items_out(out, answer, &message->items);
}

/* The values of items, for groups whose items have no keys. */
static objd_status item_values_out(struct wire_out *out, const struct answer *answer,
                                   Objd__Rpc__Value ***ret_array)
{
        Objd__Rpc__Value **array;
        objd_status r = OBJD_OK;

        if (!answer->n_items)
                return OBJD_OK;
        array = wire_take(&out->space, answer->n_items, sizeof(*array));
        if (!array)
                return OBJD_E_NOMEM;
        for (size_t i = 0; !r && i < answer->n_items; i++)
                r = wire_value_out(out, &answer->items[i].value, &array[i]);
        if (!r)
                *ret_array = array;
        return r;
}

static objd_status list_out(struct wire_out *out, const struct answer *answer, Objd__Rpc__Answer *to)
{
        Objd__Rpc__ListReply *message = wire_out_take(out, sizeof(*message));
        objd_status r;

        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__list_reply__init(message);
        message->number = answer->number;
        message->n_values = answer->n_items;
        to->group_case = OBJD__RPC__ANSWER__GROUP_LIST;
        to->list = message;
        r = wire_value_out(out, &answer->value, &message->value);
        return r ? r : item_values_out(out, answer, &message->values);
}

static objd_status queue_out(struct wire_out *out, const struct answer *answer, Objd__Rpc__Answer *to)
{
        Objd__Rpc__QueueReply *message = wire_out_take(out, sizeof(*message));
        objd_status r;

        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__queue_reply__init(message);
        if (answer->code == CALL_QUEUE_GET_LEASE)
                message->lease = answer->number;
        else
                message->number = answer->number;
        message->n_values = answer->n_items;
        to->group_case = OBJD__RPC__ANSWER__GROUP_QUEUE;
        to->queue = message;
        r = wire_value_out(out, &answer->value, &message->value);
        return r ? r : item_values_out(out, answer, &message->values);
}

static objd_status lock_out(struct wire_out *out, const struct answer *answer, Objd__Rpc__Answer *to)
{
        Objd__Rpc__LockReply *message = wire_out_take(out, sizeof(*message));

        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__lock_reply__init(message);
        message->token = answer->number;
        message->taken = answer->truth;
        message->pid = answer->integer;
        to->group_case = OBJD__RPC__ANSWER__GROUP_LOCK;
        to->lock = message;
        return OBJD_OK;
}

static objd_status result_out(struct wire_out *out, const struct answer *answer, Objd__Rpc__Answer *message)
{
        switch (call_properties(answer->code)->group) {
        case GROUP_STORE:
                return store_out(out, answer, message);
        case GROUP_OBJECT:
                return object_out(out, answer, message);
        case GROUP_DICT:
                return dict_out(out, answer, message);
        case GROUP_LIST:
                return list_out(out, answer, message);
        case GROUP_QUEUE:
                return queue_out(out, answer, message);
        case GROUP_LOCK:
                return lock_out(out, answer, message);
        case GROUP_SESSION:
                return OBJD_OK;
        case GROUP_NONE:
                break;
        }
        return fail(OBJD_E_INVAL, "there is no call with code %d", (int)answer->code);
}

static objd_status answer_out(struct wire_out *out, const struct answer *answer, Objd__Rpc__Answer *message)
{
        objd_status r = OBJD_OK;

        objd__rpc__answer__init(message);
        message->status = (uint32_t)answer->status;
        if (answer->status)
                r = wire_text_out(out, answer->sentence, WIRE_SENTENCE_MAX, &message->sentence);
        return r || !wire_has_result(answer) ? r : result_out(out, answer, message);
}

objd_status wire_general_pack_reply(struct wire_out *out, const struct call_reply *reply, uint64_t max_size)
{
        Objd__Rpc__Reply message = OBJD__RPC__REPLY__INIT;
        Objd__Rpc__Answer *answers;
        objd_status r;

        wire_out_begin(out);
        message.seq = reply->seq;
        message.status = (uint32_t)reply->status;
        message.failed = reply->failed;
        message.n_answers = reply->n_answers;
        r = wire_text_out(out, reply->sentence, WIRE_SENTENCE_MAX, &message.sentence);
        if (r)
                return r;
        message.answers = wire_take(&out->space, reply->n_answers, sizeof(*message.answers));
        answers = wire_take(&out->space, reply->n_answers, sizeof(*answers));
        if (!message.answers || !answers)
                return OBJD_E_NOMEM;
        for (size_t i = 0; !r && i < reply->n_answers; i++) {
                message.answers[i] = &answers[i];
                r = answer_out(out, &reply->answers[i], &answers[i]);
        }
        return r ? r : wire_out_finish(out, &message.base, max_size);
}
