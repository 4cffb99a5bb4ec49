/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * record.h -- a session's last answers, in the store
 *
 * An answer to a change is written in the change's own transaction into the session's records, an anonymous dict of its own: from a
 * place (a row that the batch has, and the call's place in the batch: ledger.h) to the batch's number and the answer as it
 * would be sent. So a call that is sent again, because its answer or the daemon was lost, is found to have been run.
 */

#include "object/rider.h"
#include "proxy/ledger.h"
#include "proxy/outcome.h"
#include "rpc/wire.h"

/* Where a record is, or is to be. */
struct record_place {
        struct objd_object *records;
        struct ledger *ledger;
        uint64_t seq;
        uint32_t row;
        size_t place; /* the call's in its batch; for an atomic batch 0 */
};

/* Most answers to changes only say that it is done. */
#define RECORD_FEW 256u

/* An answer that is to be written with the change. */
struct recording {
        struct rider rider; /* first */
        struct record_place at;
        struct outcome *outcomes; /* of the call, or of all calls of an atomic batch */
        size_t n_outcomes;
        void (*collect)(struct recording *record); /* fills them from what has been applied */
        void *context;                             /* collect's */
        bool had_intent;                           /* it was begun by a daemon that died, which had written */
        uint64_t intent;                           /* this (record_intent()) */
        uint8_t *bytes;
        size_t size;
        bool is_due;       /* what it tells of has been done: it is not refused any more */
        uint8_t *spare;    /* NULL: it does not go there. Else what is to be in the spare, and */
        size_t spare_used; /* how much of that is used without it */

        /* Not cleared. */
        struct wire_out out;
        uint8_t few[RECORD_FEW]; /* room for a small record's bytes */
};

void record_init(struct recording *record, const struct record_place *at);

/* The record goes to the spare: the store has no memory for it. @return OBJD_OK, OBJD_E_NOMEM, and what ledger_spare_read() says */
objd_status record_use_spare(struct recording *record);
void record_deinit(struct recording *record);

/* Around the call that makes the change; NULL does nothing. The lane is the one that acts for the session. */
void record_begin(struct recording *record, struct lane *lane, struct outcome *outcomes, size_t n,
                  void (*collect)(struct recording *record), void *context);
void record_end(struct recording *record, struct lane *lane);

/*
 * For what cannot be done in a transaction: writes a word down before it is done, in a transaction of its own. There is no record
 * of the answer then: record_find() gives the word.
 */
objd_status record_intent(struct recording *record, uint64_t word);

/* Puts the answer in the intent's place, when it has been carried out. If that fails the intent has to do. */
void record_answer(struct recording *record, struct outcome *outcome, objd_status status);

/*
 * The answers that were written for this batch and place, as a reply that lives in the space. Without answers it is an intent,
 * whose word is *ret_intent.
 * @return OBJD_OK, OBJD_E_NOTFOUND, OBJD_E_GONE, OBJD_E_BUSY, OBJD_E_CORRUPT, OBJD_E_NOMEM
 */
objd_status record_find(const struct record_place *at, struct space *space, struct call_reply *ret_reply,
                        uint64_t *ret_intent);
