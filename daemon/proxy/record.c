/* SPDX-License-Identifier: Apache-2.0 */

/*
 * record.c -- a session's last answers, in the store
 */

#include "proxy/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/sys.h"

/* What stands before an answer in its record. */
struct record_head {
        uint64_t seq;
        uint64_t body_size; /* 0: an intent */
        uint64_t intent;
};

/* Answers that the client does not take are not gathered for ever. @return OBJD_OK, OBJD_E_LIMIT */
static objd_status may_add(const struct recording *record, size_t size)
{
        const struct ledger *ledger = record->at.ledger;

        if (record->is_due || record->spare || ledger_has_room(ledger, size))
                return OBJD_OK;
        return fail(
                OBJD_E_LIMIT,
                "the client has not said to have got %llu bytes of answers, and with one of %zu more they would "
                "be over the limit of %llu (--client-memory)",
                (unsigned long long)ledger_unanswered(ledger), size, (unsigned long long)ledger->limit);
}

/* What is written: the record, or the spare with it. */
static objd_status place_bytes(struct recording *record, objd_value *ret_bytes)
{
        if (!record->spare) {
                *ret_bytes = objd_bytes(record->bytes, record->size);
                return OBJD_OK;
        }
        *ret_bytes = objd_bytes(record->spare, LEDGER_SPARE);
        return ledger_spare_add(record->spare, record->spare_used, record->at.seq, record->at.place,
                                record->bytes, record->size);
}

static void drop_bytes(struct recording *record)
{
        if (record->bytes && record->bytes != record->few)
                free(record->bytes);
        record->bytes = NULL;
}

/* What was there is forgotten. @return OBJD_OK, OBJD_E_NOMEM */
static objd_status take_bytes(struct recording *record, size_t size)
{
        drop_bytes(record);
        record->bytes = size <= sizeof(record->few) ? record->few : sys.resize(NULL, size);
        return record->bytes ? OBJD_OK : fail(OBJD_E_NOMEM, "no memory for an answer");
}

/* As the last step of the transaction: the answers, packed. */
static objd_status pack(struct rider *rider, objd_value *ret_bytes)
{
        struct recording *record = (struct recording *)rider;
        const struct call_reply reply = { .seq = record->at.seq,
                                          .answers = record->outcomes->answer, /* and those behind it */
                                          .n_answers = record->n_outcomes };
        struct record_head head = { .seq = record->at.seq };
        objd_status r;

        record->collect(record);
        r = wire_pack_reply(&record->out, &reply, OBJD_VALUE_MAX - sizeof(head));
        if (r)
                return r;
        record->size = sizeof(head) + record->out.size;
        r = may_add(record, record->size);
        if (r == OBJD_OK)
                r = take_bytes(record, record->size);
        if (r) {
                record->size = 0; /* the change is undone, and nothing of it is written */
                return r;
        }
        head.body_size = record->out.body_size;
        memcpy(record->bytes, &head, sizeof(head));
        wire_out_copy(&record->out, 0, record->bytes + sizeof(head), record->out.size);
        return place_bytes(record, ret_bytes);
}

void record_init(struct recording *record, const struct record_place *at)
{
        memset(record, 0, offsetof(struct recording, out));
        record->rider.records = at->records;
        record->rider.slot = ledger_slot(at->row, at->place);
        record->rider.answer = pack;
        record->at = *at;
        wire_out_init(&record->out, WIRE_BULK_FROM);
}

objd_status record_use_spare(struct recording *record)
{
        const struct record_place *at = &record->at;

        record->spare = sys.alloc(LEDGER_SPARE);
        if (!record->spare)
                return fail(OBJD_E_NOMEM, "no memory for an answer");
        record->rider.slot = LEDGER_SPARE_SLOT;
        return ledger_spare_read(at->ledger, at->records, at->seq, at->place, record->spare,
                                 &record->spare_used);
}

void record_deinit(struct recording *record)
{
        wire_out_deinit(&record->out);
        drop_bytes(record);
        if (record->spare)
                free(record->spare);
}

void record_begin(struct recording *record, struct lane *lane, struct outcome *outcomes, size_t n,
                  void (*collect)(struct recording *record), void *context)
{
        if (!record)
                return;
        record->outcomes = outcomes;
        record->n_outcomes = n;
        record->collect = collect;
        record->context = context;
        rider_begin(lane, &record->rider);
}

void record_end(struct recording *record, struct lane *lane)
{
        if (record)
                rider_end(lane);
}

static objd_status write_alone(struct recording *record)
{
        objd_value key = objd_int(record->rider.slot), value;
        objd_status r = place_bytes(record, &value);

        return r ? r : objd_dict_set(record->rider.records, &key, &value);
}

objd_status record_intent(struct recording *record, uint64_t word)
{
        struct record_head head = { .seq = record->at.seq, .intent = word };
        objd_status r = may_add(record, sizeof(head));

        if (r == OBJD_OK)
                r = take_bytes(record, sizeof(head));
        if (r)
                return r;
        record->size = sizeof(head);
        memcpy(record->bytes, &head, sizeof(head));
        return write_alone(record);
}

static void collect_nothing(struct recording *record)
{
        (void)record;
}

void record_answer(struct recording *record, struct outcome *outcome, objd_status status)
{
        objd_value key = objd_int(record->rider.slot), value;

        (void)outcome_end(outcome, status);
        record->outcomes = outcome;
        record->n_outcomes = 1;
        record->collect = collect_nothing;
        record->is_due = true;
        if (pack(&record->rider, &value) == OBJD_OK)
                (void)objd_dict_set(record->rider.records, &key, &value);
}

static objd_status unpack(const objd_value *value, uint64_t seq, struct space *space,
                          struct call_reply *ret_reply, uint64_t *ret_intent)
{
        struct record_head head;
        struct wire_in in;
        uint64_t *words;

        if (value->type != OBJD_BYTES || value->size < sizeof(head))
                return fail(OBJD_E_CORRUPT, "a session's record is damaged");
        memcpy(&head, value->data, sizeof(head));
        if (head.seq != seq)
                return OBJD_E_NOTFOUND;
        *ret_intent = head.intent;
        *ret_reply = (struct call_reply){ .seq = seq };
        if (!head.body_size)
                return OBJD_OK;
        in.size = value->size - sizeof(head);
        words = space_take(space, in.size);
        if (!words)
                return fail(OBJD_E_NOMEM, "no memory for an answer of %zu bytes", in.size);
        memcpy(words, (const uint8_t *)value->data + sizeof(head), in.size);
        in.data = (const uint8_t *)words;
        in.body_size = head.body_size;
        if (head.body_size > in.size)
                return fail(OBJD_E_CORRUPT, "a session's record is damaged");
        return wire_unpack_reply(&in, &(struct wire_limits){ 0 }, space, ret_reply);
}

/* In the usual place; then, unless the answer is there, in the spare. */
objd_status record_find(const struct record_place *at, struct space *space, struct call_reply *ret_reply,
                        uint64_t *ret_intent)
{
        objd_value key = objd_int(ledger_slot(at->row, at->place)), value;
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r = objd_dict_get(at->records, &key, &value, &buf), in_spare;

        if (r == OBJD_OK)
                r = unpack(&value, at->seq, space, ret_reply, ret_intent);
        if (r == OBJD_E_NOTFOUND || (r == OBJD_OK && !ret_reply->n_answers)) {
                in_spare = ledger_spare_find(at->records, at->seq, at->place, &buf, &value);
                if (in_spare == OBJD_OK)
                        r = unpack(&value, at->seq, space, ret_reply, ret_intent);
                else if (in_spare != OBJD_E_NOTFOUND)
                        r = in_spare;
        }
        objd_buf_free(&buf);
        return r;
}
