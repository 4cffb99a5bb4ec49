/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * wire_value.h -- values in messages: what the packing and the unpacking of calls and answers share
 */

#include <objd.h>

#include <objd.pb-c.h>

#include "rpc/wire.h"

/* ---- Out --------------------------------------------------------------------------------------------- */

/* Begins a new message. */
void wire_out_begin(struct wire_out *out);

/* Memory of the message that is being built; NULL, with a sentence, if there is none. */
void *wire_out_take(struct wire_out *out, size_t size);

/*
 * Makes n values for a message; large data become parts. ret_array is an array of n pointers, NULL if n is 0.
 * @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_INVAL (a type that no value has)
 */
objd_status wire_values_out(struct wire_out *out, const objd_value *values, size_t n,
                            Objd__Rpc__Value ***ret_array);

/* The same for one value, that is not there if it is NULL, or of type OBJD_ANY. */
objd_status wire_value_out(struct wire_out *out, const objd_value *value, Objd__Rpc__Value **ret_message);

/*
 * Text for people: cut to what fits, never in the middle of a character, and what is not UTF-8 in it made to be. NULL is "".
 * @return OBJD_OK, OBJD_E_NOMEM
 */
objd_status wire_text_out(struct wire_out *out, const char *text, size_t size_max, char **ret_text);

/* Room for so many bytes in out->room, whose content is lost. @return OBJD_OK, OBJD_E_NOMEM */
objd_status wire_out_reserve(struct wire_out *out, size_t size);

/* Whether there is anything in an answer beside its status. */
static inline bool wire_has_result(const struct answer *answer)
{
        return answer->value.type != OBJD_ANY || answer->key.type != OBJD_ANY || answer->number ||
               answer->integer || answer->truth || answer->n_infos || answer->stats || answer->n_items ||
               answer->position_size || (answer->code == CALL_DICT_ADD_FLOAT && !answer->status);
}

/* Writes the body and adds everything up. @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_TOOBIG */
objd_status wire_out_finish(struct wire_out *out, const ProtobufCMessage *message, uint64_t max_size);

/* ---- In ---------------------------------------------------------------------------------------------- */

/* A message whose body has been unpacked, and what has not been claimed of its bulk. */
struct wire_source {
        struct space *space;
        ProtobufCMessage *message;
        const uint8_t *bulk, *end;
};

/*
 * Checks a message's bytes and unpacks its body. @return OBJD_OK, OBJD_E_PROTO, OBJD_E_TOOBIG, OBJD_E_NOMEM
 */
objd_status wire_open(const struct wire_in *in, const ProtobufCMessageDescriptor *type,
                      const struct wire_limits *limits, struct space *space, struct wire_source *ret_source);

/* After all values have been read: that nothing of the bulk is left. @return OBJD_OK, OBJD_E_PROTO */
objd_status wire_close(const struct wire_source *source);

/*
 * The values must be read in the order in which they stand in the message. ret_values gets an array, NULL if n is 0.
 * @return OBJD_OK, OBJD_E_PROTO, OBJD_E_NOMEM, and what value_check() says
 */
objd_status wire_value_in(struct wire_source *source, const Objd__Rpc__Value *message, objd_value *ret_value);
objd_status wire_values_in(struct wire_source *source, Objd__Rpc__Value *const *messages, size_t n,
                           const objd_value **ret_values);

/* Memory for n pieces; NULL, with a sentence, if there is none. */
void *wire_take(struct space *space, size_t n, size_t size);

/* Whether a call of a group has a code of it, and the keys and values that the code takes. @return OBJD_OK, OBJD_E_PROTO, OBJD_E_INVAL */
objd_status wire_check_call(const struct call *call, enum call_group group, bool atomic);

/* The general way, which takes whatever there is. */
objd_status wire_general_pack_batch(struct wire_out *out, const struct call_batch *batch, uint64_t max_size);
objd_status wire_general_pack_reply(struct wire_out *out, const struct call_reply *reply, uint64_t max_size);
objd_status wire_general_unpack_batch(const struct wire_in *in, const struct wire_limits *limits,
                                      struct space *space, struct call_batch *ret_batch);
objd_status wire_general_unpack_reply(const struct wire_in *in, const struct wire_limits *limits,
                                      struct space *space, struct call_reply *ret_reply);
