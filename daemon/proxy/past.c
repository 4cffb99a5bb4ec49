/* SPDX-License-Identifier: Apache-2.0 */

/*
 * past.c -- how changes have failed that may be asked for again
 */

#include "proxy/past.h"

#include <stdlib.h>

#include "base/sys.h"
#include "proxy/job.h"

struct past_batch {
        uint64_t seq;
        size_t n;
        uint32_t failed;
        uint8_t status[]; /* OBJD_OK: look into the records, or run it again */
};

static size_t size_of(const struct past_batch *batch)
{
        return sizeof(*batch) + batch->n;
}

static void forget(struct past *past, size_t place)
{
        struct past_batch *batch = past->batches[place];

        if (!batch)
                return;
        past->bytes -= size_of(batch);
        past->batches[place] = NULL;
        free(batch);
}

static void forget_oldest(struct past *past)
{
        size_t oldest = RECORD_WINDOW;

        for (size_t i = 0; i < RECORD_WINDOW; i++)
                if (past->batches[i] &&
                    (oldest == RECORD_WINDOW || past->batches[i]->seq < past->batches[oldest]->seq))
                        oldest = i;
        if (oldest < RECORD_WINDOW)
                forget(past, oldest);
}

/* How a call is remembered. A lock that came from a dead owner has been taken. */
static uint8_t status_of(const struct job *job, size_t place)
{
        const struct call_properties *properties = call_properties(job->batch.calls[place].code);
        objd_status status = job->answers[place].status;

        if (!(properties->flags & CALL_MUTATES) || properties->group == GROUP_SESSION ||
            status == OBJD_E_OWNER_DIED)
                return OBJD_OK;
        return (uint8_t)status;
}

static bool has_failed(const struct job *job)
{
        if (job->batch.atomic)
                return job->status;
        for (size_t i = 0; i < job->batch.n_calls; i++)
                if (status_of(job, i))
                        return true;
        return false;
}

void past_keep(struct past *past, const struct job *job)
{
        size_t n = job->batch.atomic ? 1 : job->batch.n_calls, place = job->batch.seq % RECORD_WINDOW;
        struct past_batch *batch;

        forget(past, place);
        if (!has_failed(job))
                return;
        batch = sys.alloc(sizeof(*batch) + n);
        if (!batch)
                return; /* it will be run again, if it comes again */
        batch->seq = job->batch.seq;
        batch->n = n;
        batch->failed = job->failed;
        for (size_t i = 0; i < n; i++)
                batch->status[i] = job->batch.atomic ? (uint8_t)job->status : status_of(job, i);
        past->batches[place] = batch;
        past->bytes += size_of(batch);
        while (past->bytes > PAST_BYTES_MAX)
                forget_oldest(past);
}

bool past_find(const struct past *past, uint64_t seq, size_t place, objd_status *ret_status,
               uint32_t *ret_failed)
{
        const struct past_batch *batch = past->batches[seq % RECORD_WINDOW];

        if (!batch || batch->seq != seq || place >= batch->n || !batch->status[place])
                return false;
        *ret_status = (objd_status)batch->status[place];
        *ret_failed = batch->failed;
        return true;
}

void past_free(struct past *past)
{
        for (size_t i = 0; i < RECORD_WINDOW; i++)
                forget(past, i);
}
