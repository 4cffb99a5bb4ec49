/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_call.c -- batches of calls as messages, and back
 *
 * Each group of codes has a function that fills its message in, and one that reads it. What a code takes stands in call_table, and
 * is checked against that on the way in, so that who runs a call finds what the code needs.
 */

#include "rpc/wire_value.h"

#include <string.h>

#include "base/status.h"
#include "rpc/wire_check.h"

/* ---- Out ----------------------------------------------------------------------------------------------- */

static char *text_out(const char *text)
{
        return text ? (char *)(uintptr_t)text : (char *)(uintptr_t)protobuf_c_empty_string;
}

static objd_status config_out(struct wire_out *out, const objd_config *config,
                              Objd__Rpc__Config **ret_message)
{
        Objd__Rpc__Config *message;

        if (!config)
                return OBJD_OK;
        message = wire_out_take(out, sizeof(*message));
        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__config__init(message);
        message->key_type = (Objd__Rpc__Type)config->key_type;
        message->value_type = (Objd__Rpc__Type)config->value_type;
        message->order = (Objd__Rpc__Order)config->order;
        message->bound = config->bound;
        message->lock_flags = config->lock_flags;
        *ret_message = message;
        return OBJD_OK;
}

static objd_status report_out(struct wire_out *out, const struct call *call,
                              Objd__Rpc__ReportRequest **ret_message)
{
        Objd__Rpc__ReportRequest *message;

        if (!call->report)
                return OBJD_OK;
        message = wire_out_take(out, sizeof(*message));
        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__report_request__init(message);
        message->number = call->report->number;
        message->what = (Objd__Rpc__Report)call->report->what;
        message->limit = call->report->limit;
        message->atomic = call->report->atomic;
        message->position = call->report->position;
        message->timeout_ns = call->timeout_ns;
        *ret_message = message;
        return OBJD_OK;
}

static objd_status store_out(struct wire_out *out, const struct call *call, Objd__Rpc__Request *request)
{
        Objd__Rpc__StoreRequest *message = wire_out_take(out, sizeof(*message));

        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__store_request__init(message);
        message->code = (Objd__Rpc__Code)call->code;
        message->prefix = text_out(call->name);
        request->group_case = OBJD__RPC__REQUEST__GROUP_STORE;
        request->store = message;
        return report_out(out, call, &message->report);
}

static objd_status state_out(struct wire_out *out, const struct call_state *state,
                             Objd__Rpc__State **ret_message)
{
        Objd__Rpc__State *message;

        if (!state)
                return OBJD_OK;
        message = wire_out_take(out, sizeof(*message));
        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__state__init(message);
        message->unfinished = state->unfinished;
        message->taken = state->taken;
        message->token = state->token;
        *ret_message = message;
        return OBJD_OK;
}

static objd_status object_out(struct wire_out *out, const struct call *call, Objd__Rpc__Request *request)
{
        Objd__Rpc__ObjectRequest *message;
        objd_status r;

        if (call->name && !*call->name)
                return fail(OBJD_E_INVAL, "an object's name has at least one byte");
        message = wire_out_take(out, sizeof(*message));
        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__object_request__init(message);
        message->code = (Objd__Rpc__Code)call->code;
        message->place = call->object.place;
        message->serial = call->object.serial;
        message->name = text_out(call->name);
        message->kind = (Objd__Rpc__Kind)call->kind;
        request->group_case = OBJD__RPC__REQUEST__GROUP_OBJECT;
        request->object = message;
        r = config_out(out, call->config, &message->config);
        return r ? r : state_out(out, call->state, &message->state);
}

static objd_status dict_out(struct wire_out *out, const struct call *call, Objd__Rpc__Request *request)
{
        Objd__Rpc__DictRequest *message = wire_out_take(out, sizeof(*message));
        objd_status r;

        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__dict_request__init(message);
        message->code = (Objd__Rpc__Code)call->code;
        message->place = call->object.place;
        message->serial = call->object.serial;
        if (call->code == CALL_DICT_ADD_INT) {
                message->delta_case = OBJD__RPC__DICT_REQUEST__DELTA_INTEGER;
                message->integer = call->integer;
        } else if (call->code == CALL_DICT_ADD_FLOAT) {
                message->delta_case = OBJD__RPC__DICT_REQUEST__DELTA_REAL;
                message->real = call->real;
        }
        message->max = call->max;
        message->position =
                (ProtobufCBinaryData){ call->position_size, (uint8_t *)(uintptr_t)call->position };
        message->n_keys = call->n_keys;
        message->n_values = call->n_values;
        request->group_case = OBJD__RPC__REQUEST__GROUP_DICT;
        request->dict = message;
        r = wire_values_out(out, call->keys, call->n_keys, &message->keys);
        if (!r)
                r = wire_values_out(out, call->values, call->n_values, &message->values);
        return r ? r : wire_value_out(out, call->expected, &message->expected);
}

static objd_status list_out(struct wire_out *out, const struct call *call, Objd__Rpc__Request *request)
{
        Objd__Rpc__ListRequest *message = wire_out_take(out, sizeof(*message));

        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__list_request__init(message);
        message->code = (Objd__Rpc__Code)call->code;
        message->place = call->object.place;
        message->serial = call->object.serial;
        message->index = call->index;
        message->stop = call->stop;
        message->descending = call->descending;
        message->n_values = call->n_values;
        request->group_case = OBJD__RPC__REQUEST__GROUP_LIST;
        request->list = message;
        return wire_values_out(out, call->values, call->n_values, &message->values);
}

static objd_status queue_out(struct wire_out *out, const struct call *call, Objd__Rpc__Request *request)
{
        Objd__Rpc__QueueRequest *message = wire_out_take(out, sizeof(*message));

        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__queue_request__init(message);
        message->code = (Objd__Rpc__Code)call->code;
        message->place = call->object.place;
        message->serial = call->object.serial;
        message->timeout_ns = call->timeout_ns;
        message->max = call->max;
        message->lease = call->lease;
        if (call->code == CALL_QUEUE_GET_LEASE)
                message->lease_ns = call->integer;
        else
                message->priority = call->integer;
        message->n_values = call->n_values;
        request->group_case = OBJD__RPC__REQUEST__GROUP_QUEUE;
        request->queue = message;
        return wire_values_out(out, call->values, call->n_values, &message->values);
}

static objd_status lock_out(struct wire_out *out, const struct call *call, Objd__Rpc__Request *request)
{
        Objd__Rpc__LockRequest *message = wire_out_take(out, sizeof(*message));

        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__lock_request__init(message);
        message->code = (Objd__Rpc__Code)call->code;
        message->place = call->object.place;
        message->serial = call->object.serial;
        message->timeout_ns = call->timeout_ns;
        request->group_case = OBJD__RPC__REQUEST__GROUP_LOCK;
        request->lock = message;
        return OBJD_OK;
}

static objd_status session_out(struct wire_out *out, const struct call *call, Objd__Rpc__Request *request)
{
        Objd__Rpc__SessionRequest *message = wire_out_take(out, sizeof(*message));

        if (!message)
                return OBJD_E_NOMEM;
        objd__rpc__session_request__init(message);
        message->code = (Objd__Rpc__Code)call->code;
        request->group_case = OBJD__RPC__REQUEST__GROUP_SESSION;
        request->session = message;
        return OBJD_OK;
}

static objd_status call_out(struct wire_out *out, const struct call *call, Objd__Rpc__Request *request)
{
        objd__rpc__request__init(request);
        request->thread = call->thread;
        switch (call_properties(call->code)->group) {
        case GROUP_STORE:
                return store_out(out, call, request);
        case GROUP_OBJECT:
                return object_out(out, call, request);
        case GROUP_DICT:
                return dict_out(out, call, request);
        case GROUP_LIST:
                return list_out(out, call, request);
        case GROUP_QUEUE:
                return queue_out(out, call, request);
        case GROUP_LOCK:
                return lock_out(out, call, request);
        case GROUP_SESSION:
                return session_out(out, call, request);
        case GROUP_NONE:
                break;
        }
        return fail(OBJD_E_INVAL, "there is no call with code %d", (int)call->code);
}

objd_status wire_general_pack_batch(struct wire_out *out, const struct call_batch *batch, uint64_t max_size)
{
        Objd__Rpc__Batch message = OBJD__RPC__BATCH__INIT;
        Objd__Rpc__Request *requests;
        objd_status r = OBJD_OK;

        wire_out_begin(out);
        message.seq = batch->seq;
        message.acked = batch->acked;
        message.atomic = batch->atomic;
        message.cancel = batch->cancel;
        message.timeout_ns = batch->timeout_ns;
        message.unanswered = (uint64_t *)batch->unanswered; /* it is only read */
        message.n_unanswered = batch->n_unanswered;
        message.n_requests = batch->n_calls;
        message.requests = wire_take(&out->space, batch->n_calls, sizeof(*message.requests));
        requests = wire_take(&out->space, batch->n_calls, sizeof(*requests));
        if (!message.requests || !requests)
                return OBJD_E_NOMEM;
        for (size_t i = 0; !r && i < batch->n_calls; i++) {
                message.requests[i] = &requests[i];
                r = call_out(out, &batch->calls[i], &requests[i]);
        }
        return r ? r : wire_out_finish(out, &message.base, max_size);
}

/* ---- In ------------------------------------------------------------------------------------------------ */

static const char *text_in(const char *text)
{
        return text && *text ? text : NULL;
}

static objd_status config_in(struct space *space, const Objd__Rpc__Config *message,
                             const objd_config **ret_config)
{
        objd_config *config;

        if (!message)
                return OBJD_OK;
        config = wire_take(space, 1, sizeof(*config));
        if (!config)
                return OBJD_E_NOMEM;
        *config = (objd_config){
                .struct_size = sizeof(*config),
                .key_type = (objd_type)message->key_type,
                .value_type = (objd_type)message->value_type,
                .order = (objd_order)message->order,
                .bound = message->bound,
                .lock_flags = message->lock_flags,
        };
        *ret_config = config;
        return OBJD_OK;
}

static objd_status store_in(struct wire_source *source, const Objd__Rpc__StoreRequest *message,
                            struct call *call)
{
        const Objd__Rpc__ReportRequest *asked = message->report;
        struct call_report *report;

        call->code = (enum call_code)message->code;
        call->name = text_in(message->prefix);
        if (!asked)
                return call->code == CALL_STORE_REPORT ? fail(OBJD_E_PROTO, "a report does not say which")
                                                       : OBJD_OK;
        report = wire_take(source->space, 1, sizeof(*report));
        if (!report)
                return OBJD_E_NOMEM;
        *report = (struct call_report){
                .number = asked->number,
                .what = (uint32_t)asked->what,
                .limit = asked->limit,
                .atomic = asked->atomic,
                .position = asked->position,
        };
        call->report = report;
        call->timeout_ns = asked->timeout_ns;
        return OBJD_OK;
}

static objd_status state_in(struct space *space, const Objd__Rpc__State *message,
                            const struct call_state **ret_state)
{
        struct call_state *state;

        if (!message)
                return OBJD_OK;
        state = wire_take(space, 1, sizeof(*state));
        if (!state)
                return OBJD_E_NOMEM;
        *state = (struct call_state){ message->unfinished, message->taken, message->token };
        *ret_state = state;
        return OBJD_OK;
}

static objd_status object_in(struct wire_source *source, const Objd__Rpc__ObjectRequest *message,
                             struct call *call)
{
        objd_status r;

        call->code = (enum call_code)message->code;
        call->object = (objd_ref){ message->place, message->serial };
        call->name = text_in(message->name);
        call->kind = (objd_kind)message->kind;
        if (call->code == CALL_OBJECT_SET_STATE && !message->state)
                return fail(OBJD_E_PROTO, "a state is to be set, and there is none");
        r = config_in(source->space, message->config, &call->config);
        return r ? r : state_in(source->space, message->state, &call->state);
}

static objd_status expected_in(struct wire_source *source, const Objd__Rpc__Value *message, struct call *call)
{
        objd_value *expected;

        if (!message)
                return OBJD_OK;
        expected = wire_take(source->space, 1, sizeof(*expected));
        if (!expected)
                return OBJD_E_NOMEM;
        call->expected = expected;
        return wire_value_in(source, message, expected);
}

static objd_status dict_in(struct wire_source *source, const Objd__Rpc__DictRequest *message,
                           struct call *call)
{
        objd_status r;

        if (message->position.len > WIRE_POSITION_MAX)
                return fail(OBJD_E_PROTO, "a cursor's position has %zu bytes, the most is %u",
                            message->position.len, WIRE_POSITION_MAX);
        call->code = (enum call_code)message->code;
        call->object = (objd_ref){ message->place, message->serial };
        if (message->delta_case == OBJD__RPC__DICT_REQUEST__DELTA_INTEGER)
                call->integer = message->integer;
        else if (message->delta_case == OBJD__RPC__DICT_REQUEST__DELTA_REAL)
                call->real = message->real;
        call->max = message->max;
        call->position = message->position.data;
        call->position_size = message->position.len;
        call->n_keys = message->n_keys;
        call->n_values = message->n_values;
        r = wire_values_in(source, message->keys, message->n_keys, &call->keys);
        if (!r)
                r = wire_values_in(source, message->values, message->n_values, &call->values);
        return r ? r : expected_in(source, message->expected, call);
}

static objd_status list_in(struct wire_source *source, const Objd__Rpc__ListRequest *message,
                           struct call *call)
{
        call->code = (enum call_code)message->code;
        call->object = (objd_ref){ message->place, message->serial };
        call->index = message->index;
        call->stop = message->stop;
        call->descending = message->descending;
        call->n_values = message->n_values;
        return wire_values_in(source, message->values, message->n_values, &call->values);
}

static objd_status queue_in(struct wire_source *source, const Objd__Rpc__QueueRequest *message,
                            struct call *call)
{
        call->code = (enum call_code)message->code;
        call->object = (objd_ref){ message->place, message->serial };
        call->timeout_ns = message->timeout_ns;
        call->integer = call->code == CALL_QUEUE_GET_LEASE ? message->lease_ns : message->priority;
        call->max = message->max;
        call->lease = message->lease;
        call->n_values = message->n_values;
        return wire_values_in(source, message->values, message->n_values, &call->values);
}

static void lock_in(const Objd__Rpc__LockRequest *message, struct call *call)
{
        call->code = (enum call_code)message->code;
        call->object = (objd_ref){ message->place, message->serial };
        call->timeout_ns = message->timeout_ns;
}

static objd_status group_in(struct wire_source *source, const Objd__Rpc__Request *request, struct call *call,
                            enum call_group *ret_group)
{
        switch (request->group_case) {
        case OBJD__RPC__REQUEST__GROUP_STORE:
                *ret_group = GROUP_STORE;
                return store_in(source, request->store, call);
        case OBJD__RPC__REQUEST__GROUP_OBJECT:
                *ret_group = GROUP_OBJECT;
                return object_in(source, request->object, call);
        case OBJD__RPC__REQUEST__GROUP_DICT:
                *ret_group = GROUP_DICT;
                return dict_in(source, request->dict, call);
        case OBJD__RPC__REQUEST__GROUP_LIST:
                *ret_group = GROUP_LIST;
                return list_in(source, request->list, call);
        case OBJD__RPC__REQUEST__GROUP_QUEUE:
                *ret_group = GROUP_QUEUE;
                return queue_in(source, request->queue, call);
        case OBJD__RPC__REQUEST__GROUP_LOCK:
                *ret_group = GROUP_LOCK;
                lock_in(request->lock, call);
                return OBJD_OK;
        case OBJD__RPC__REQUEST__GROUP_SESSION:
                *ret_group = GROUP_SESSION;
                call->code = (enum call_code)request->session->code;
                return OBJD_OK;
        default:
                return fail(OBJD_E_PROTO, "a request has no group that is known here");
        }
}

/* That there are as many of something as the code takes. */
static objd_status check_count(const struct call_properties *is, const char *what, size_t n, uint32_t one,
                               uint32_t many, bool maybe)
{
        size_t least = one && !maybe ? 1 : 0, most = many ? SIZE_MAX : one ? 1 : 0;

        if (n < least || n > most)
                return fail(OBJD_E_PROTO, "a %s has %zu %s", is->name, n, what);
        return OBJD_OK;
}

objd_status wire_check_call(const struct call *call, enum call_group group, bool atomic)
{
        const struct call_properties *is = call_properties(call->code);
        objd_status r;

        if (!is->name || is->group != group)
                return fail(OBJD_E_PROTO, "a request has code %d, which is none of its group",
                            (int)call->code);
        r = check_count(is, "keys", call->n_keys, is->flags & CALL_KEY, is->flags & CALL_KEYS, false);
        if (!r)
                r = check_count(is, "values", call->n_values, is->flags & CALL_VALUE, is->flags & CALL_VALUES,
                                is->flags & CALL_MAYBE);
        if (r)
                return r;
        if (is->flags & CALL_KEYS && is->flags & CALL_VALUES && call->n_keys != call->n_values)
                return fail(OBJD_E_PROTO, "a %s has %zu keys and %zu values", is->name, call->n_keys,
                            call->n_values);
        if (is->flags & CALL_NAMED && !(is->flags & CALL_MAYBE_NAMED) && !call->name)
                return fail(OBJD_E_PROTO, "a %s has no name", is->name);
        if (atomic && !(is->flags & CALL_IN_ATOMIC))
                return fail(OBJD_E_INVAL, "a %s cannot be part of an atomic batch", is->name);
        return OBJD_OK;
}

static objd_status call_in(struct wire_source *source, const Objd__Rpc__Request *request, bool atomic,
                           struct call *call)
{
        enum call_group group = GROUP_NONE;
        objd_status r;

        *call = (struct call){ .thread = request->thread };
        r = group_in(source, request, call, &group);
        return r ? r : wire_check_call(call, group, atomic);
}

static objd_status calls_in(struct wire_source *source, const Objd__Rpc__Batch *message,
                            struct call_batch *batch)
{
        struct call *calls;
        objd_status r = OBJD_OK;

        if (message->cancel)
                return message->n_requests ? fail(OBJD_E_PROTO, "a batch that cancels has requests")
                                           : wire_close(source);
        if (!message->n_requests)
                return fail(OBJD_E_PROTO, "a batch has no requests");
        calls = wire_take(source->space, message->n_requests, sizeof(*calls));
        if (!calls)
                return OBJD_E_NOMEM;
        for (size_t i = 0; !r && i < message->n_requests; i++)
                r = call_in(source, message->requests[i], message->atomic, &calls[i]);
        if (r)
                return r;
        batch->calls = calls;
        batch->n_calls = message->n_requests;
        return wire_close(source);
}

objd_status wire_general_unpack_batch(const struct wire_in *in, const struct wire_limits *limits,
                                      struct space *space, struct call_batch *ret_batch)
{
        const Objd__Rpc__Batch *message;
        struct wire_source source;
        objd_status r = wire_open(in, &objd__rpc__batch__descriptor, limits, space, &source);

        *ret_batch = (struct call_batch){ .seq = wire_check_seq(in->data, in->body_size) };
        if (r)
                return r;
        message = (const Objd__Rpc__Batch *)source.message;
        ret_batch->seq = message->seq;
        ret_batch->acked = message->acked;
        ret_batch->atomic = message->atomic;
        ret_batch->cancel = message->cancel;
        ret_batch->timeout_ns = message->timeout_ns;
        ret_batch->unanswered = message->unanswered;
        ret_batch->n_unanswered = message->n_unanswered;
        return calls_in(&source, message, ret_batch);
}
