/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.c -- heads of frames, and messages in pieces
 */

#include "rpc/frame.h"

#include <endian.h>
#include <string.h>

#include "arena/word.h"
#include "base/status.h"

#define FLAGS (FRAME_FIRST | FRAME_LAST)
#define FIRST_ROOM 65536u

/* Places in the head. */
enum {
        AT_MAGIC = 0,
        AT_VERSION = 1,
        AT_TYPE = 2,
        AT_FLAGS = 3,
        AT_PIECE = 4,
        AT_MESSAGE = 8,
        AT_BODY = 12,
        AT_SESSION = 16,
};

_Static_assert(AT_SESSION + WIRE_SESSION_SIZE == FRAME_HEAD, "the head has no gaps");

static void put_u32(uint8_t *dst, uint32_t number)
{
        number = htole32(number);
        memcpy(dst, &number, sizeof(number));
}

static uint32_t get_u32(const uint8_t *src)
{
        uint32_t number;

        memcpy(&number, src, sizeof(number));
        return le32toh(number);
}

void frame_encode(const struct frame_head *head, uint8_t dst[FRAME_HEAD])
{
        dst[AT_MAGIC] = FRAME_MAGIC;
        dst[AT_VERSION] = FRAME_VERSION;
        dst[AT_TYPE] = head->type;
        dst[AT_FLAGS] = head->flags;
        put_u32(dst + AT_PIECE, head->piece);
        put_u32(dst + AT_MESSAGE, head->message);
        put_u32(dst + AT_BODY, head->body);
        memcpy(dst + AT_SESSION, head->session, WIRE_SESSION_SIZE);
}

/* ---- What a head may say ------------------------------------------------------------------------------- */

static bool has_message(uint8_t type)
{
        return type >= FRAME_HELLO && type <= FRAME_REFUSED;
}

static bool is_bare(uint8_t type)
{
        return type >= FRAME_BYE && type <= FRAME_PONG;
}

static bool is_seal(uint8_t type)
{
        return type >= FRAME_SEAL_FIRST && type <= FRAME_SEAL_LAST;
}

static objd_status check_bare(const struct frame_head *head)
{
        if (head->flags || head->piece || head->message || head->body)
                return fail(OBJD_E_PROTO, "a frame of type %u has a message, and should have none",
                            head->type);
        return OBJD_OK;
}

static objd_status check_seal(const struct frame_head *head)
{
        if (head->flags != FLAGS || !head->piece || head->piece != head->message || head->body)
                return fail(OBJD_E_PROTO, "a frame of type %u does not hold one whole message", head->type);
        return OBJD_OK;
}

static objd_status check_message(const struct frame_head *head)
{
        bool whole = (head->flags & FLAGS) == FLAGS;

        if (!head->body || head->body > head->message)
                return fail(OBJD_E_PROTO, "a frame says that its message has %u bytes, and a body of %u",
                            head->message, head->body);
        if (head->body < head->message && (head->message % 8 || round8(head->body) >= head->message))
                return fail(OBJD_E_PROTO,
                            "a frame says that its message has %u bytes and a body of %u, which "
                            "leaves no bulk that is a multiple of 8",
                            head->message, head->body);
        if (!head->piece || head->piece > head->message || (whole != (head->piece == head->message)))
                return fail(OBJD_E_PROTO, "a frame says that it has %u of %u bytes, but its flags are %u",
                            head->piece, head->message, head->flags);
        return OBJD_OK;
}

static objd_status check_sizes(const struct frame_head *head, uint32_t max_piece, uint32_t max_message)
{
        if (head->piece > max_piece)
                return fail(OBJD_E_TOOBIG, "a frame has a piece of %u bytes, the most is %u", head->piece,
                            max_piece);
        if (head->message > max_message)
                return fail(OBJD_E_TOOBIG, "a message has %u bytes, the most is %u", head->message,
                            max_message);
        return OBJD_OK;
}

static objd_status check_head(const struct frame_head *head)
{
        if (head->flags & ~FLAGS)
                return fail(OBJD_E_PROTO, "a frame has flags %u, which are not known here", head->flags);
        if (is_bare(head->type))
                return check_bare(head);
        if (is_seal(head->type))
                return check_seal(head);
        if (has_message(head->type))
                return check_message(head);
        return fail(OBJD_E_PROTO, "a frame has type %u, which is not known here", head->type);
}

objd_status frame_decode(const void *bytes, size_t size, uint32_t max_piece, uint32_t max_message,
                         struct frame_head *ret_head)
{
        const uint8_t *src = bytes;
        struct frame_head head;
        objd_status r;

        if (size < FRAME_HEAD)
                return fail(OBJD_E_PROTO, "a frame has %zu bytes, its head alone has %u", size, FRAME_HEAD);
        if (src[AT_MAGIC] != FRAME_MAGIC)
                return fail(OBJD_E_PROTO, "a frame begins with 0x%02x, not with 0x%02x", src[AT_MAGIC],
                            FRAME_MAGIC);
        if (src[AT_VERSION] != FRAME_VERSION)
                return fail(OBJD_E_PROTO, "a frame has version %u, known here is %u", src[AT_VERSION],
                            FRAME_VERSION);
        head = (struct frame_head){
                .type = src[AT_TYPE],
                .flags = src[AT_FLAGS],
                .piece = get_u32(src + AT_PIECE),
                .message = get_u32(src + AT_MESSAGE),
                .body = get_u32(src + AT_BODY),
        };
        memcpy(head.session, src + AT_SESSION, WIRE_SESSION_SIZE);
        r = check_head(&head);
        if (!r)
                r = check_sizes(&head, max_piece, max_message);
        if (!r)
                *ret_head = head;
        return r;
}

/* ---- Cutting ------------------------------------------------------------------------------------------- */

/* Fills in the head of the frame that begins at cutter->at. */
static void next_piece(struct frame_cutter *cutter)
{
        uint64_t left = cutter->head.message - cutter->at;
        uint32_t most = cutter->max_frame - FRAME_HEAD;

        cutter->head.piece = left < most ? (uint32_t)left : most;
        cutter->head.flags = 0;
        if (!cutter->at)
                cutter->head.flags |= FRAME_FIRST;
        if (cutter->head.piece == left)
                cutter->head.flags |= FRAME_LAST;
}

void frame_cut(struct frame_cutter *cutter, enum frame_type type, const uint8_t session[WIRE_SESSION_SIZE],
               struct wire_out *out, uint32_t max_frame)
{
        *cutter = (struct frame_cutter){
                .out = out,
                .head = { .type = (uint8_t)type,
                          .message = (uint32_t)out->size,
                          .body = (uint32_t)out->body_size },
                .max_frame = max_frame,
        };
        memcpy(cutter->head.session, session, WIRE_SESSION_SIZE);
        next_piece(cutter);
}

size_t frame_cut_size(const struct frame_cutter *cutter)
{
        return cutter->done ? 0 : FRAME_HEAD + (size_t)cutter->head.piece;
}

void frame_cut_limit(struct frame_cutter *cutter, uint32_t max_frame)
{
        cutter->max_frame = max_frame;
        if (!cutter->done)
                next_piece(cutter);
}

void frame_cut_next(struct frame_cutter *cutter, void *dst)
{
        frame_encode(&cutter->head, dst);
        wire_out_copy(cutter->out, cutter->at, (uint8_t *)dst + FRAME_HEAD, cutter->head.piece);
        cutter->at += cutter->head.piece;
        cutter->done = cutter->at == cutter->head.message;
        if (!cutter->done)
                next_piece(cutter);
}

void frame_bare(enum frame_type type, const uint8_t session[WIRE_SESSION_SIZE], uint8_t dst[FRAME_HEAD])
{
        struct frame_head head = { .type = (uint8_t)type };

        memcpy(head.session, session, WIRE_SESSION_SIZE);
        frame_encode(&head, dst);
}

/* ---- Joining ------------------------------------------------------------------------------------------- */

void frame_joiner_init(struct frame_joiner *joiner, const struct memory *memory, size_t keep)
{
        *joiner = (struct frame_joiner){ .memory = memory ? *memory : memory_plain, .keep = keep };
}

static void give_memory(struct frame_joiner *joiner)
{
        if (joiner->room)
                (void)joiner->memory.resize(joiner->memory.context, joiner->data, joiner->room, 0);
        joiner->data = NULL;
        joiner->room = 0;
}

void frame_joiner_deinit(struct frame_joiner *joiner)
{
        give_memory(joiner);
        joiner->begun = false;
}

void frame_joiner_drop(struct frame_joiner *joiner)
{
        if (joiner->room > joiner->keep)
                give_memory(joiner);
        joiner->used = 0;
        joiner->begun = false;
}

uint8_t *frame_joiner_take(struct frame_joiner *joiner, const uint8_t *data, size_t *ret_room)
{
        uint8_t *bytes = joiner->data;

        if (!bytes || data != bytes || joiner->begun)
                return NULL;
        *ret_room = joiner->room;
        joiner->data = NULL;
        joiner->room = joiner->used = 0;
        return bytes;
}

bool frame_joiner_give(struct frame_joiner *joiner, uint8_t *data, size_t room)
{
        if (joiner->data || room > joiner->keep)
                return false;
        joiner->data = data;
        joiner->room = room;
        return true;
}

/* Room for what has come and this piece. It doubles, so it is never more than twice of what has really arrived. */
static objd_status reserve(struct frame_joiner *joiner, size_t size, size_t message)
{
        size_t room = 2 * joiner->room;
        void *data;

        if (size <= joiner->room)
                return OBJD_OK;
        if (room < FIRST_ROOM)
                room = FIRST_ROOM;
        if (room < size)
                room = size;
        if (room > message)
                room = message;
        data = joiner->memory.resize(joiner->memory.context, joiner->data, joiner->room, room);
        if (!data)
                return fail(OBJD_E_NOMEM, "no memory for %zu bytes of a message of %zu", size, message);
        joiner->data = data;
        joiner->room = room;
        return OBJD_OK;
}

static objd_status add_piece(struct frame_joiner *joiner, const struct frame_head *head, const void *piece)
{
        objd_status r = reserve(joiner, joiner->used + head->piece, head->message);

        if (r)
                return r;
        memcpy(joiner->data + joiner->used, piece, head->piece);
        joiner->used += head->piece;
        return OBJD_OK;
}

/* Whether a piece that is not the first belongs to the message that is under way, and is the last one if it says so. */
static objd_status check_next(const struct frame_joiner *joiner, const struct frame_head *head)
{
        const struct frame_head *first = &joiner->head;
        size_t left = head->message - joiner->used;

        if (!joiner->begun)
                return fail(OBJD_E_PROTO, "a piece of a message comes without the first one");
        if (head->type != first->type || head->message != first->message || head->body != first->body ||
            memcmp(head->session, first->session, WIRE_SESSION_SIZE))
                return fail(OBJD_E_PROTO,
                            "a piece belongs to another message than the one that is under way");
        if (head->piece > left || (head->piece == left) != !!(head->flags & FRAME_LAST))
                return fail(OBJD_E_PROTO,
                            "a piece of %u bytes, with flags %u, comes where %zu bytes are missing",
                            head->piece, head->flags, left);
        return OBJD_OK;
}

static struct wire_in whole(const struct frame_head *head, const void *data)
{
        return (struct wire_in){ .data = data, .size = head->message, .body_size = head->body };
}

static objd_status join(struct frame_joiner *joiner, const struct frame_head *head, const void *piece)
{
        objd_status r;

        if (!(head->flags & FRAME_FIRST)) {
                r = check_next(joiner, head);
                return r ? r : add_piece(joiner, head, piece);
        }
        if (joiner->begun)
                return fail(OBJD_E_PROTO, "a message begins where %zu bytes of another are missing",
                            joiner->head.message - joiner->used);
        frame_joiner_drop(joiner);
        joiner->begun = true;
        joiner->head = *head;
        return add_piece(joiner, head, piece);
}

objd_status frame_join(struct frame_joiner *joiner, const struct frame_head *head, const void *piece,
                       bool *ret_whole, struct wire_in *ret_in)
{
        objd_status r;

        if ((head->flags & FLAGS) == FLAGS && !joiner->begun && !((uintptr_t)piece % 8)) {
                *ret_in = whole(head, piece);
                *ret_whole = true;
                return OBJD_OK;
        }
        r = join(joiner, head, piece);
        if (r) {
                frame_joiner_drop(joiner);
                return r;
        }
        *ret_whole = head->flags & FRAME_LAST;
        if (*ret_whole) {
                *ret_in = whole(head, joiner->data);
                joiner->begun = false;
        }
        return OBJD_OK;
}
