/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_hello.c -- the messages that begin a session, and which version is spoken in it
 */

#include "rpc/wire_value.h"

#include <string.h>

#include "base/status.h"

static ProtobufCBinaryData bytes_out(const void *data, size_t size)
{
        return (ProtobufCBinaryData){ size, (uint8_t *)(uintptr_t)data };
}

/* A field of bytes that has a limit. */
static objd_status check_size(const char *what, size_t size, size_t size_max)
{
        if (size > size_max)
                return fail(OBJD_E_TOOBIG, "%s has %zu bytes, the most is %zu", what, size, size_max);
        return OBJD_OK;
}

objd_status wire_pack_hello(struct wire_out *out, const struct wire_hello *hello)
{
        Objd__Rpc__Hello message = OBJD__RPC__HELLO__INIT;
        objd_status r;

        wire_out_begin(out);
        message.version_from = hello->version_from;
        message.version_to = hello->version_to;
        message.pid = hello->pid;
        message.session = bytes_out(hello->session, hello->has_session ? WIRE_SESSION_SIZE : 0);
        message.token = bytes_out(hello->token, hello->token_size);
        message.key_id = bytes_out(hello->key_id, hello->key_id_size);
        message.bulk_from = hello->bulk_from;
        message.max_message = hello->max_message;
        message.nonce = bytes_out(hello->nonce, hello->has_nonce ? WIRE_NONCE_SIZE : 0);
        r = check_size("a token", hello->token_size, WIRE_TOKEN_MAX);
        if (!r)
                r = check_size("a key's id", hello->key_id_size, WIRE_KEY_ID_MAX);
        if (!r)
                r = wire_text_out(out, hello->name, WIRE_CLIENT_NAME_MAX, &message.name);
        return r ? r : wire_out_finish(out, &message.base, 0);
}

objd_status wire_pack_welcome(struct wire_out *out, const struct wire_welcome *welcome)
{
        Objd__Rpc__Welcome message = OBJD__RPC__WELCOME__INIT;
        objd_status r;

        wire_out_begin(out);
        message.version = welcome->version;
        message.session = bytes_out(welcome->session, WIRE_SESSION_SIZE);
        message.resumed = welcome->resumed;
        message.read_only = welcome->read_only;
        message.heartbeat_ns = welcome->heartbeat_ns;
        message.expiry_ns = welcome->expiry_ns;
        message.max_frame = welcome->max_frame;
        message.max_message = welcome->max_message;
        message.max_requests = welcome->max_requests;
        message.window = welcome->window;
        message.epoch = welcome->epoch;
        message.pid = welcome->pid;
        message.last_seq = welcome->last_seq;
        r = wire_text_out(out, welcome->store, OBJD_NAME_MAX, &message.store);
        return r ? r : wire_out_finish(out, &message.base, 0);
}

objd_status wire_pack_refused(struct wire_out *out, const struct wire_refused *refused)
{
        Objd__Rpc__Refused message = OBJD__RPC__REFUSED__INIT;
        objd_status r;

        wire_out_begin(out);
        message.status = (uint32_t)refused->status;
        message.version_from = refused->version_from;
        message.version_to = refused->version_to;
        message.seq = refused->seq;
        r = wire_text_out(out, refused->sentence, WIRE_SENTENCE_MAX, &message.sentence);
        return r ? r : wire_out_finish(out, &message.base, 0);
}

/* Opens a message that has no values, and so no bulk. */
static objd_status open_plain(const struct wire_in *in, const ProtobufCMessageDescriptor *type,
                              struct space *space, ProtobufCMessage **ret_message)
{
        struct wire_source source;
        objd_status r = wire_open(in, type, NULL, space, &source);

        if (!r)
                r = wire_close(&source);
        if (!r)
                *ret_message = source.message;
        return r;
}

objd_status wire_unpack_hello(const struct wire_in *in, struct space *space, struct wire_hello *ret_hello)
{
        const Objd__Rpc__Hello *message;
        ProtobufCMessage *opened;
        objd_status r = open_plain(in, &objd__rpc__hello__descriptor, space, &opened);

        if (r)
                return r;
        message = (const Objd__Rpc__Hello *)opened;
        r = check_size("a client's name", strlen(message->name), WIRE_CLIENT_NAME_MAX);
        if (!r)
                r = check_size("a token", message->token.len, WIRE_TOKEN_MAX);
        if (!r)
                r = check_size("a key's id", message->key_id.len, WIRE_KEY_ID_MAX);
        if (r)
                return r;
        if (message->session.len && message->session.len != WIRE_SESSION_SIZE)
                return fail(OBJD_E_PROTO, "a session's id has %zu bytes, not %u", message->session.len,
                            WIRE_SESSION_SIZE);
        if (message->nonce.len && message->nonce.len != WIRE_NONCE_SIZE)
                return fail(OBJD_E_PROTO, "a hello's nonce has %zu bytes, not %u", message->nonce.len,
                            WIRE_NONCE_SIZE);
        if (message->version_from > message->version_to)
                return fail(OBJD_E_PROTO, "a hello speaks versions %u to %u, which are none",
                            message->version_from, message->version_to);
        *ret_hello = (struct wire_hello){
                .version_from = message->version_from,
                .version_to = message->version_to,
                .name = message->name,
                .pid = message->pid,
                .has_session = message->session.len,
                .token = message->token.data,
                .token_size = message->token.len,
                .key_id = message->key_id.data,
                .key_id_size = message->key_id.len,
                .bulk_from = message->bulk_from,
                .max_message = message->max_message,
                .has_nonce = message->nonce.len,
        };
        if (message->session.len)
                memcpy(ret_hello->session, message->session.data, WIRE_SESSION_SIZE);
        if (message->nonce.len)
                memcpy(ret_hello->nonce, message->nonce.data, WIRE_NONCE_SIZE);
        return OBJD_OK;
}

objd_status wire_unpack_welcome(const struct wire_in *in, struct space *space,
                                struct wire_welcome *ret_welcome)
{
        const Objd__Rpc__Welcome *message;
        ProtobufCMessage *opened;
        objd_status r = open_plain(in, &objd__rpc__welcome__descriptor, space, &opened);

        if (r)
                return r;
        message = (const Objd__Rpc__Welcome *)opened;
        if (message->session.len != WIRE_SESSION_SIZE)
                return fail(OBJD_E_PROTO, "a session's id has %zu bytes, not %u", message->session.len,
                            WIRE_SESSION_SIZE);
        *ret_welcome = (struct wire_welcome){
                .version = message->version,
                .resumed = message->resumed,
                .read_only = message->read_only,
                .heartbeat_ns = message->heartbeat_ns,
                .expiry_ns = message->expiry_ns,
                .max_frame = message->max_frame,
                .max_message = message->max_message,
                .max_requests = message->max_requests,
                .window = message->window,
                .epoch = message->epoch,
                .pid = message->pid,
                .last_seq = message->last_seq,
                .store = message->store,
        };
        memcpy(ret_welcome->session, message->session.data, WIRE_SESSION_SIZE);
        return OBJD_OK;
}

objd_status wire_unpack_refused(const struct wire_in *in, struct space *space,
                                struct wire_refused *ret_refused)
{
        const Objd__Rpc__Refused *message;
        ProtobufCMessage *opened;
        objd_status r = open_plain(in, &objd__rpc__refused__descriptor, space, &opened);

        if (r)
                return r;
        message = (const Objd__Rpc__Refused *)opened;
        *ret_refused = (struct wire_refused){
                .status = (objd_status)message->status,
                .sentence = message->sentence,
                .version_from = message->version_from,
                .version_to = message->version_to,
                .seq = message->seq,
        };
        return OBJD_OK;
}

objd_status wire_agree(uint32_t version_from, uint32_t version_to, uint32_t *ret_version)
{
        if (version_from > WIRE_VERSION_MAX || version_to < WIRE_VERSION_MIN)
                return fail(OBJD_E_PROTO,
                            "the peer speaks versions %u to %u of the protocol, this side %u to %u",
                            version_from, version_to, WIRE_VERSION_MIN, WIRE_VERSION_MAX);
        *ret_version = version_to < WIRE_VERSION_MAX ? version_to : WIRE_VERSION_MAX;
        return OBJD_OK;
}
