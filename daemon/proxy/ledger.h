/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ledger.h -- where a session's records are, and which of them are done with
 *
 * A session's records (record.h) stand in rows: the answers of one batch, one for each call that changed something. A batch gets a row
 * whose batch the client has the reply to, so a client that waits for each reply has one row, and no session has more than
 * batches may be unanswered. What is left over in rows that are done with (of longer batches, or of larger answers)
 * is dropped when it is much, or when the store has no memory.
 *
 * Besides there is the spare: an entry that has had its memory since the session began. Where the store has none for a record, answers go
 * there, in place. So what needs no memory itself, a deletion above all, can be made and answered in a full store.
 */

#include <objd.h>

/* How many batches of a session may be unanswered. */
#define RECORD_WINDOW 256u

/* What is done with and takes more than this is dropped. */
#define LEDGER_KEEP ((uint64_t)4 << 20)

/* The spare's bytes: for some 30 small answers, or one of nearly so many. */
#define LEDGER_SPARE 2048u
#define LEDGER_SPARE_SLOT (-1)

struct ledger_row {
        uint64_t seq;   /* of the batch that it belongs to, or did last; 0: none yet */
        uint64_t bytes; /* about what is in it, and at which places: below n */
        uint32_t n;
        uint32_t n_noted;         /* by the batch that it belongs to */
        uint32_t n_old, mean_old; /* what is left over from earlier ones */
        bool busy;                /* the batch is under way, whatever the client says */
};

struct ledger {
        uint64_t seen
                [RECORD_WINDOW]; /* by number modulo the window: the last batch that this daemon was sent */
        uint64_t acked;          /* the client has the replies up to this one, */
        uint64_t had[RECORD_WINDOW]; /* and to these, which it has told of by number */
        uint64_t limit;              /* bytes of answers that it may not have; 0: any */
        struct ledger_row *rows;     /* the first n_rows are in use */
        uint32_t n_rows, capacity;
        uint64_t bytes; /* in all rows */
};

void ledger_free(struct ledger *ledger);

/* In new records: the spare. */
objd_status ledger_make_spare(struct objd_object *records);

/* Of records that an earlier daemon has written. @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_BUSY, OBJD_E_GONE, OBJD_E_CORRUPT */
objd_status ledger_read(struct ledger *ledger, struct objd_object *records);

/* The client has said in its batch seq that it has all replies up to acked. */
void ledger_ack(struct ledger *ledger, uint64_t seq, uint64_t acked);

/* And that of all before it, it has no reply yet to these, of which there is one at least. */
void ledger_tell(struct ledger *ledger, uint64_t seq, const uint64_t *unanswered, size_t n);

/* Whether the client has the reply to this batch: it has said so, or has used the number a window later. */
bool ledger_is_answered(const struct ledger *ledger, uint64_t seq);

/* The row of a batch: the one that it has, if it may have been run before, or one for it. @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_LIMIT */
objd_status ledger_row(struct ledger *ledger, uint64_t seq, bool again, uint32_t *ret_row);

/* The batch is no longer under way. */
void ledger_rest(struct ledger *ledger, uint32_t row);

/* An answer of so many bytes stands, or may stand, at this place. */
void ledger_note(struct ledger *ledger, uint32_t row, size_t place, size_t size);

/* About how many bytes of answers the client may still ask for. */
uint64_t ledger_unanswered(const struct ledger *ledger);

/*
 * Whether an answer of so many bytes may be added: what the client may still ask for takes no more than the limit
 * together, unless it is one answer.
 */
bool ledger_has_room(const struct ledger *ledger, size_t size);

/*
 * Drops records that are done with, but not too many at once; all the same where it is not much (ledger_is_full()). Gives whether
 * there were any.
 */
bool ledger_drop(struct ledger *ledger, struct objd_object *records);
bool ledger_is_full(const struct ledger *ledger);

/* An entry's key. */
int64_t ledger_slot(uint32_t row, size_t place);

/*
 * What the spare has, without what is done with and without this record, which is to be written: LEDGER_SPARE bytes, of which *ret_used are used.
 * Outside of any transaction. @return OBJD_OK, OBJD_E_CORRUPT, and what objd_dict_get() says
 */
objd_status ledger_spare_read(const struct ledger *ledger, struct objd_object *records, uint64_t seq,
                              size_t place, uint8_t *ret_spare, size_t *ret_used);

/* Puts a record behind that. @return OBJD_OK, OBJD_E_NOMEM: there is no room for it */
objd_status ledger_spare_add(uint8_t *spare, size_t used, uint64_t seq, size_t place, const void *record,
                             size_t size);

/* What the spare has for a batch and place; it points into the buffer. @return OBJD_OK, OBJD_E_NOTFOUND, and so on */
objd_status ledger_spare_find(struct objd_object *records, uint64_t seq, size_t place, objd_buf *buf,
                              objd_value *ret_record);
