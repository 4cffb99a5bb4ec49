/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ledger.c -- where a session's records are, and which of them are done with
 */

#include "proxy/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/sys.h"
#include "object/freeze.h"
#include "rpc/wire.h"

/* What an entry takes beside its bytes, about. */
#define ENTRY_COST 48u

/* Records that are dropped at once: others are served meanwhile. */
#define DROP_AT_ONCE 1024u

#define FIRST_ROWS 4u

void ledger_free(struct ledger *ledger)
{
        free(ledger->rows);
}

int64_t ledger_slot(uint32_t row, size_t place)
{
        return (int64_t)((size_t)row * WIRE_CALLS_MAX + place);
}

/* ---- Batches ---------------------------------------------------------------------------------------------- */

void ledger_ack(struct ledger *ledger, uint64_t seq, uint64_t acked)
{
        if (acked >= seq)
                acked = seq - 1; /* nobody has a reply to what he is about to ask for */
        if (acked > ledger->acked)
                ledger->acked = acked;
}

void ledger_tell(struct ledger *ledger, uint64_t seq, const uint64_t *unanswered, size_t n)
{
        uint64_t first = seq > RECORD_WINDOW ? seq - RECORD_WINDOW + 1 : 1;
        bool is_out[RECORD_WINDOW] = { false };

        if (!n || n > RECORD_WINDOW)
                return;
        if (first <= ledger->acked)
                first = ledger->acked + 1;
        for (size_t i = 0; i < n; i++)
                if (unanswered[i] >= first && unanswered[i] < seq)
                        is_out[unanswered[i] % RECORD_WINDOW] = true;
        for (uint64_t number = first; number < seq; number++)
                if (!is_out[number % RECORD_WINDOW])
                        ledger->had[number % RECORD_WINDOW] = number;
}

bool ledger_is_answered(const struct ledger *ledger, uint64_t seq)
{
        size_t place = seq % RECORD_WINDOW;

        return seq <= ledger->acked || ledger->seen[place] > seq || ledger->had[place] == seq;
}

/* ---- Rows ------------------------------------------------------------------------------------------------- */

static objd_status make_rows(struct ledger *ledger, uint32_t n)
{
        uint32_t capacity = ledger->capacity ? ledger->capacity : FIRST_ROWS;
        struct ledger_row *rows;

        while (capacity < n)
                capacity *= 2;
        if (capacity > ledger->capacity) {
                rows = sys.resize(ledger->rows, capacity * sizeof(*rows));
                if (!rows)
                        return fail(OBJD_E_NOMEM, "no memory for a session");
                ledger->rows = rows;
                ledger->capacity = capacity;
        }
        memset(&ledger->rows[ledger->n_rows], 0, (n - ledger->n_rows) * sizeof(*rows));
        ledger->n_rows = n;
        return OBJD_OK;
}

static bool is_done_with(const struct ledger *ledger, const struct ledger_row *row)
{
        return !row->busy && ledger_is_answered(ledger, row->seq);
}

static uint32_t find_free(const struct ledger *ledger)
{
        uint32_t i = 0;

        while (i < ledger->n_rows && !is_done_with(ledger, &ledger->rows[i]))
                i++;
        return i;
}

objd_status ledger_row(struct ledger *ledger, uint64_t seq, bool again, uint32_t *ret_row)
{
        struct ledger_row *row;
        objd_status r = OBJD_OK;

        for (uint32_t i = 0; again && i < ledger->n_rows; i++)
                if (ledger->rows[i].seq == seq) {
                        ledger->rows[i].busy = true;
                        *ret_row = i;
                        return OBJD_OK;
                }
        *ret_row = find_free(ledger);
        if (*ret_row == RECORD_WINDOW)
                return fail(OBJD_E_LIMIT, "the client has %u batches to which it has had no reply",
                            RECORD_WINDOW);
        if (*ret_row == ledger->n_rows)
                r = make_rows(ledger, ledger->n_rows + 1);
        if (r)
                return r;
        row = &ledger->rows[*ret_row];
        row->seq = seq;
        row->busy = true;
        row->n_noted = 0;
        row->n_old = row->n;
        row->mean_old = row->n ? (uint32_t)(row->bytes / row->n) : 0;
        return OBJD_OK;
}

void ledger_rest(struct ledger *ledger, uint32_t row)
{
        ledger->rows[row].busy = false;
}

static void count_out(struct ledger *ledger, struct ledger_row *row, uint64_t bytes)
{
        if (bytes > row->bytes)
                bytes = row->bytes;
        row->bytes -= bytes;
        ledger->bytes -= bytes;
}

void ledger_note(struct ledger *ledger, uint32_t number, size_t place, size_t size)
{
        struct ledger_row *row = &ledger->rows[number];

        if (place < row->n_noted)
                return; /* written once more */
        row->n_noted = (uint32_t)place + 1;
        if (place < row->n_old)
                count_out(ledger, row, row->mean_old);
        if (place >= row->n)
                row->n = (uint32_t)place + 1;
        row->bytes += size + ENTRY_COST;
        ledger->bytes += size + ENTRY_COST;
}

/* What it has been answered by the batch that it belongs to. */
static uint64_t bytes_of_batch(const struct ledger_row *row)
{
        uint64_t old = row->n_old > row->n_noted ? (uint64_t)(row->n_old - row->n_noted) * row->mean_old : 0;

        return row->bytes > old ? row->bytes - old : 0;
}

uint64_t ledger_unanswered(const struct ledger *ledger)
{
        uint64_t bytes = 0;

        for (uint32_t i = 0; i < ledger->n_rows; i++)
                if (!is_done_with(ledger, &ledger->rows[i]))
                        bytes += bytes_of_batch(&ledger->rows[i]);
        return bytes;
}

bool ledger_has_room(const struct ledger *ledger, size_t size)
{
        uint64_t bytes;

        if (!ledger->limit || ledger->bytes + size <= ledger->limit)
                return true;
        bytes = ledger_unanswered(ledger);
        return !bytes || bytes + size <= ledger->limit;
}

/* ---- Dropping --------------------------------------------------------------------------------------------- */

bool ledger_is_full(const struct ledger *ledger)
{
        return ledger->bytes > LEDGER_KEEP;
}

/* From the end, so that what is left of a row is still below its n. Gives how many entries were looked for. */
static uint32_t drop_row(struct ledger *ledger, struct objd_object *records, uint32_t number, uint32_t most)
{
        struct ledger_row *row = &ledger->rows[number];
        uint64_t mean = row->n ? row->bytes / row->n : 0;
        uint32_t n = 0;

        while (row->n && n < most) {
                objd_value key = objd_int(ledger_slot(number, row->n - 1));
                objd_status r = objd_dict_del(records, &key);

                if (r && r != OBJD_E_NOTFOUND)
                        break; /* another time */
                row->n--;
                n++;
                count_out(ledger, row, row->n ? mean : row->bytes);
        }
        if (row->n_old > row->n)
                row->n_old = row->n;
        return n;
}

bool ledger_drop(struct ledger *ledger, struct objd_object *records)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < ledger->n_rows && n < DROP_AT_ONCE; i++)
                if (is_done_with(ledger, &ledger->rows[i]))
                        n += drop_row(ledger, records, i, DROP_AT_ONCE - n);
        return n;
}

/* ---- What an earlier daemon has written ------------------------------------------------------------------- */

static objd_status read_record(void *context, const struct visit *visit)
{
        struct ledger *ledger = context;
        uint64_t row, place, seq;
        struct ledger_row *at;
        int64_t slot;
        objd_status r = OBJD_OK;

        if (visit->key_type != OBJD_INT || visit->key_size < sizeof(slot) || visit->size < sizeof(seq))
                return OBJD_OK; /* damaged: whoever needs it will say so */
        memcpy(&slot, visit->key, sizeof(slot));
        memcpy(&seq, visit->bytes, sizeof(seq));
        row = (uint64_t)slot / WIRE_CALLS_MAX;
        place = (uint64_t)slot % WIRE_CALLS_MAX;
        if (slot < 0 || row >= RECORD_WINDOW)
                return OBJD_OK;
        if (row >= ledger->n_rows)
                r = make_rows(ledger, (uint32_t)row + 1);
        if (r)
                return r;
        at = &ledger->rows[row];
        if (seq > at->seq)
                at->seq = seq;
        if (place >= at->n)
                at->n = (uint32_t)place + 1;
        at->bytes += visit->size + ENTRY_COST;
        ledger->bytes += visit->size + ENTRY_COST;
        return OBJD_OK;
}

static objd_status read_frozen(struct lane *lane, struct objd_object *records, void *context)
{
        return kind_of(OBJD_DICT)->visit(lane, records, read_record, context);
}

objd_status ledger_read(struct ledger *ledger, struct objd_object *records)
{
        if (object_kind(records->config) != OBJD_DICT)
                return fail(OBJD_E_CORRUPT, "the records of a session are damaged: %s",
                            object_label(records));
        return freeze_one(records->conn, objd_ref_of(records), read_frozen, ledger);
}

/* ---- The spare -------------------------------------------------------------------------------------------- */

/* Before each record in the spare; a size of 0 is the end. */
struct spare_head {
        uint64_t seq;
        uint32_t place;
        uint32_t size;
};

objd_status ledger_make_spare(struct objd_object *records)
{
        static const uint8_t zeros[LEDGER_SPARE];
        objd_value key = objd_int(LEDGER_SPARE_SLOT), value = objd_bytes(zeros, sizeof(zeros));

        return objd_dict_set(records, &key, &value);
}

static objd_status spare_get(struct objd_object *records, objd_buf *buf, const uint8_t **ret_bytes)
{
        objd_value key = objd_int(LEDGER_SPARE_SLOT), value;
        objd_status r = objd_dict_get(records, &key, &value, buf);

        if (r == OBJD_OK && (value.type != OBJD_BYTES || value.size != LEDGER_SPARE))
                return fail(OBJD_E_CORRUPT, "the records of a session are damaged");
        *ret_bytes = r ? NULL : value.data;
        return r;
}

/* The next record behind *at; false: there are no more. */
static bool spare_next(const uint8_t *spare, size_t *at, struct spare_head *ret_head)
{
        if (LEDGER_SPARE - *at <= sizeof(*ret_head))
                return false;
        memcpy(ret_head, spare + *at, sizeof(*ret_head));
        if (!ret_head->size || ret_head->size > LEDGER_SPARE - *at - sizeof(*ret_head))
                return false;
        *at += sizeof(*ret_head) + ret_head->size;
        return true;
}

/* Those whose answers may still be asked for, but for the one that is to be written. Gives how long they are. */
static size_t keep_unanswered(const struct ledger *ledger, const uint8_t *spare,
                              const struct spare_head *but_for, uint8_t *ret_spare)
{
        struct spare_head head;
        size_t from = 0, end = 0, size = 0;

        while (spare_next(spare, &end, &head)) {
                bool is_replaced = head.seq == but_for->seq && head.place == but_for->place;

                if (!is_replaced && !ledger_is_answered(ledger, head.seq)) {
                        memcpy(ret_spare + size, spare + from, end - from);
                        size += end - from;
                }
                from = end;
        }
        return size;
}

objd_status ledger_spare_read(const struct ledger *ledger, struct objd_object *records, uint64_t seq,
                              size_t place, uint8_t *ret_spare, size_t *ret_used)
{
        const struct spare_head but_for = { .seq = seq, .place = (uint32_t)place };
        objd_buf buf = OBJD_BUF_INIT;
        const uint8_t *spare;
        objd_status r = spare_get(records, &buf, &spare);

        memset(ret_spare, 0, LEDGER_SPARE);
        *ret_used = r ? 0 : keep_unanswered(ledger, spare, &but_for, ret_spare);
        objd_buf_free(&buf);
        return r;
}

objd_status ledger_spare_add(uint8_t *spare, size_t used, uint64_t seq, size_t place, const void *record,
                             size_t size)
{
        const struct spare_head head = { seq, (uint32_t)place, (uint32_t)size };

        if (size > LEDGER_SPARE || used + sizeof(head) + size > LEDGER_SPARE)
                return fail(OBJD_E_NOMEM, "the store has no memory for the record of an answer");
        memcpy(spare + used, &head, sizeof(head));
        memcpy(spare + used + sizeof(head), record, size);
        used += sizeof(head) + size;
        memset(spare + used, 0, LEDGER_SPARE - used); /* it may have been tried before */
        return OBJD_OK;
}

objd_status ledger_spare_find(struct objd_object *records, uint64_t seq, size_t place, objd_buf *buf,
                              objd_value *ret_record)
{
        struct spare_head head;
        const uint8_t *spare;
        size_t at = 0;
        objd_status r = spare_get(records, buf, &spare);

        while (r == OBJD_OK && spare_next(spare, &at, &head))
                if (head.seq == seq && head.place == place) {
                        *ret_record = objd_bytes(spare + at - head.size, head.size);
                        return OBJD_OK;
                }
        return r ? r : OBJD_E_NOTFOUND;
}
