/* SPDX-License-Identifier: Apache-2.0 */

/*
 * job.c -- a batch under way
 */

#include "proxy/job.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/sys.h"

/* The most that a batch takes when it is unpacked, its own bytes not counted. */
#define SPACE_MAX (256u << 20)

/* A call is not begun where there is not even room for this much. */
#define RESULT_ROOM (192u << 10)

/* Calls are not equally dear: so many bytes, or keys and values, count as much as a call. */
#define TURN_BYTES (16u << 10)
#define TURN_VALUES 8u

/*
 * The account's memory, and how much of its arena it is. What is on everybody's desk comes first, where it is for more than a hand holds. A
 * space takes pieces and gives them back, and never asks for another size of one.
 */
static void *job_resize(void *context, void *old, size_t old_size, size_t new_size)
{
        struct job *job = context;
        struct account *account = job->session->account;
        size_t before = account->in_arena;
        void *piece = NULL;

        if (!old && new_size > ACCOUNT_HAND)
                piece = account_take_desk(account, new_size);
        if (piece || (old && !new_size && account_give_desk(account, old, old_size)))
                return piece;
        piece = account_resize(account, old, old_size, new_size);
        job->in_arena += account->in_arena - before;
        return piece;
}

/* Where the batch's bytes are to stay: where they are, if they came in pieces, or in a copy. */
static objd_status keep_bytes(struct job *job, struct wire_in *in)
{
        void *bytes;

        job->message = frame_joiner_take(&job->session->joiner, in->data, &job->message_room);
        if (job->message) {
                job->in_arena += account_arena_part(job->message_room);
                return OBJD_OK;
        }
        bytes = space_take(&job->space, in->size);
        if (!bytes)
                return fail(OBJD_E_NOMEM, "no memory for a batch of %zu bytes", in->size);
        memcpy(bytes, in->data, in->size);
        in->data = bytes;
        return OBJD_OK;
}

/* The few that need more than an answer get that, too. */
static objd_status make_outcomes(struct job *job)
{
        size_t n = job->batch.n_calls;

        job->answers = space_take_array(&job->space, n, sizeof(*job->answers));
        job->outcomes = space_take_array(&job->space, n, sizeof(*job->outcomes));
        if (!job->answers || !job->outcomes)
                return fail(OBJD_E_NOMEM, "no memory for a batch");
        for (size_t i = 0; i < n; i++) {
                enum call_code code = job->batch.calls[i].code;
                struct outcome_more *more = NULL;

                if (outcome_has_more(code)) {
                        more = space_take(&job->space, sizeof(*more));
                        if (!more)
                                return fail(OBJD_E_NOMEM, "no memory for a batch");
                        memset(more, 0, sizeof(*more));
                }
                outcome_init(&job->outcomes[i], code, &job->answers[i], more);
        }
        return OBJD_OK;
}

static objd_status unpack(struct job *job, const struct wire_in *in, const struct wire_limits *limits)
{
        struct wire_in kept = *in;
        objd_status r = keep_bytes(job, &kept);

        if (r == OBJD_OK)
                r = wire_unpack_batch(&kept, limits, &job->space, &job->batch);
        if (r)
                return r;
        return make_outcomes(job);
}

/* Cleared. */
static struct job *take_job(struct proxy_session *session)
{
        struct job *job = session->spare_job;

        if (!job)
                return sys.alloc(sizeof(*job));
        session->spare_job = NULL;
        memset(job, 0, sizeof(*job));
        return job;
}

static void give_job(struct job *job)
{
        struct proxy_session *session = job->session;

        if (session->spare_job)
                free(job);
        else
                session->spare_job = job;
}

static void take_memory(struct job *job, size_t limit)
{
        void *hand = account_take_hand(job->session->account);

        space_init(&job->space, &(struct memory){ .resize = job_resize, .context = job }, limit);
        job->has_hand = hand != NULL;
        if (hand)
                space_lend(&job->space, hand, ACCOUNT_HAND);
}

objd_status job_new(struct proxy_session *session, const struct wire_in *in, const struct wire_limits *limits,
                    struct job **ret_job)
{
        struct job *job = account_charge(session->account, sizeof(*job)) ? take_job(session) : NULL;
        objd_status r;

        *ret_job = NULL;
        if (!job)
                return account_fail(session->account, fail(OBJD_E_NOMEM, "no memory for a batch"));
        job->session = session;
        take_memory(job, SPACE_MAX + in->size);
        r = unpack(job, in, limits);
        if (r) {
                job->batch.n_calls = 0;
                job_free(job);
                return account_fail(session->account, r);
        }
        *ret_job = job;
        return OBJD_OK;
}

void job_add(struct job *job)
{
        struct proxy_session *session = job->session;

        job->next = session->jobs;
        job->link = &session->jobs;
        if (job->next)
                job->next->link = &job->next;
        session->jobs = job;
        session->n_jobs++;
}

/* If nothing else is in the client's arena, it is reset, and nothing of it need be given back piece by piece. */
static void give_memory(struct job *job)
{
        struct account *account = job->session->account;
        bool alone;

        if (job->message)
                (void)job_resize(job, job->message, job->message_room, 0);
        alone = job->in_arena && job->in_arena == account->in_arena;
        if (alone)
                account_begin_reset(account);
        space_deinit(&job->space);
        if (alone)
                account_end_reset(account);
        if (job->has_hand)
                account_give_hand(account);
        account_give(account, job->charged + sizeof(*job));
}

void job_free(struct job *job)
{
        if (job->has_row)
                ledger_rest(&job->session->ledger, job->row);
        if (job->link) {
                *job->link = job->next;
                if (job->next)
                        job->next->link = job->link;
                job->session->n_jobs--;
        }
        for (size_t i = 0; i < job->batch.n_calls; i++)
                outcome_free(&job->outcomes[i], job->session->spares);
        give_memory(job);
        give_job(job);
}

objd_ref job_object(const struct job *job)
{
        if (job->waits == JOB_WAITS_REPORT)
                return (objd_ref){ 0, job->session->client };
        return job->batch.calls[job->n_done].object;
}

/* ---- What there is to wait for --------------------------------------------------------------------------- */

static int64_t end_of(int64_t from_ns, int64_t timeout_ns)
{
        return timeout_ns == OBJD_FOREVER || timeout_ns > INT64_MAX - from_ns ? INT64_MAX
                                                                              : from_ns + timeout_ns;
}

static enum job_waits waits_for(const struct job *job, const struct call *call, objd_status r)
{
        bool blocks = (call_properties(call->code)->flags & CALL_BLOCKS) && call->timeout_ns != OBJD_NOWAIT;

        if (blocks && r == OBJD_E_EMPTY)
                return call->code == CALL_STORE_REPORT ? JOB_WAITS_REPORT : JOB_WAITS_ITEM;
        if (blocks && r == OBJD_E_FULL)
                return JOB_WAITS_ROOM;
        if (blocks && r == OBJD_E_TIMEOUT && call->code == CALL_QUEUE_JOIN)
                return JOB_WAITS_TASKS;
        if (blocks && r == OBJD_E_BUSY && call->code == CALL_LOCK_TAKE)
                return JOB_WAITS_LOCK;
        if (r == OBJD_E_BUSY && job->batch.timeout_ns != OBJD_NOWAIT && call->code != CALL_LOCK_TAKE)
                return JOB_WAITS_HOLDER;
        return JOB_RUNS;
}

int64_t job_deadline(const struct job *job)
{
        const struct call *call = &job->batch.calls[job->n_done];

        if (job->cancelled)
                return 0;
        return end_of(job->call_ns,
                      job->waits == JOB_WAITS_HOLDER ? job->batch.timeout_ns : call->timeout_ns);
}

/* It is too late: what has been a reason to wait becomes the answer. */
static objd_status give_up(const struct caller *caller, const struct job *job, const struct call *call,
                           objd_status r)
{
        long long ms = (long long)(call->timeout_ns / 1000000);
        struct objd_object queue;
        const char *label = "";

        switch (job->waits) {
        case JOB_WAITS_ITEM:
        case JOB_WAITS_ROOM:
                if (run_find(caller, call->object, &queue) == OBJD_OK)
                        label = object_label(&queue);
                return fail(OBJD_E_TIMEOUT, "queue %s has been %s for %lld ms", label,
                            job->waits == JOB_WAITS_ITEM ? "empty" : "full", ms);
        case JOB_WAITS_LOCK:
                return fail(OBJD_E_TIMEOUT, "%s", objd_last_error());
        default:
                return r;
        }
}

/* ---- Running --------------------------------------------------------------------------------------------- */

/*
 * Whether this call has been run before; then its outcome is what was answered. An intent is left in the record. Where that cannot be
 * found out the call is not run, lest it be run twice. @return OBJD_OK, OBJD_E_BUSY, OBJD_E_NOMEM, OBJD_E_CORRUPT, OBJD_E_GONE
 */
static objd_status look_back(struct job *job, struct recording *record, struct outcome *outcomes, size_t n,
                             bool *ret_was_run)
{
        struct call_reply reply;
        uint64_t intent;
        objd_status r;

        *ret_was_run = false;
        if (!job->asks_records)
                return OBJD_OK;
        r = record_find(&record->at, &job->space, &reply, &intent);
        if (r)
                return r == OBJD_E_NOTFOUND ? OBJD_OK : r;
        if (!reply.n_answers) {
                record->had_intent = true;
                record->intent = intent;
                return OBJD_OK;
        }
        for (size_t i = 0; i < n && i < reply.n_answers; i++) {
                enum call_code code = outcomes[i].answer->code;

                *outcomes[i].answer = reply.answers[i];
                outcomes[i].answer->code = code;
        }
        *ret_was_run = true;
        return OBJD_OK;
}

/*
 * What the calls have read is charged twice: the reply is made of it. Where there is no room for that, a call that has only
 * read has read for nothing; one that has changed something has had to have room for its record, which is as large.
 */
static size_t owed(const struct outcome *outcome)
{
        size_t cost = 2 * outcome_cost(outcome);

        return cost > outcome->charged ? cost - outcome->charged : 0;
}

static void charge_all(struct job *job, struct outcome *outcome)
{
        size_t cost = owed(outcome);

        account_note(job->session->account, cost);
        outcome->charged += cost;
        job->charged += cost;
}

static objd_status charge_outcome(struct job *job, struct outcome *outcome, objd_status r)
{
        struct account *account = job->session->account;
        size_t cost = owed(outcome);

        if (cost > account_room(account) && !(call_properties(outcome->answer->code)->flags & CALL_MUTATES)) {
                account->refused = true;
                outcome_reset(outcome);
                return outcome_end(outcome, account_fail(account, OBJD_E_NOMEM));
        }
        charge_all(job, outcome);
        return r;
}

/* Before a call is run: whether there is room for a small result of it. Sessions may always end. */
static objd_status may_begin(const struct job *job, const struct call *call)
{
        struct account *account = job->session->account;

        if (account_room(account) >= RESULT_ROOM || call_properties(call->code)->group == GROUP_SESSION)
                return OBJD_OK;
        account->refused = true;
        return account_fail(account, OBJD_E_NOMEM);
}

/* Where the answer is written, or has been. */
static objd_status find_place(struct job *job, size_t place, struct record_place *ret_at)
{
        struct proxy_session *session = job->session;
        objd_status r = OBJD_OK;

        if (!job->has_row)
                r = ledger_row(&session->ledger, job->batch.seq, job->asks_records, &job->row);
        job->has_row = r == OBJD_OK;
        *ret_at =
                (struct record_place){ &session->records, &session->ledger, job->batch.seq, job->row, place };
        return r;
}

/* What is run with a record: a call, or an atomic batch. */
struct recorded {
        const struct caller *caller;
        struct job *job;
        struct record_place at;
        struct outcome *outcomes;
        size_t n;
        size_t failed;
};

static objd_status run_it(struct recorded *it, struct recording *record)
{
        struct job *job = it->job;

        return job->batch.atomic
                       ? run_atomic(it->caller, &job->batch, &job->memory, record, it->outcomes, &it->failed)
                       : run_call(it->caller, &job->batch.calls[it->at.place], record, it->outcomes);
}

static objd_status run_unless_run(struct recorded *it, bool in_spare)
{
        struct recording record;
        bool was_run = false;
        objd_status r = OBJD_OK;

        record_init(&record, &it->at);
        if (in_spare)
                r = record_use_spare(&record);
        if (r == OBJD_OK)
                r = look_back(it->job, &record, it->outcomes, it->n, &was_run);
        if (r && !it->job->batch.atomic)
                (void)outcome_end(it->outcomes, r);
        if (r == OBJD_OK && !was_run)
                r = run_it(it, &record);
        if (record.size && !in_spare)
                ledger_note(it->at.ledger, it->at.row, it->at.place, record.size);
        record_deinit(&record);
        return r;
}

/* It has been undone, and may be run again. */
static void undo_outcomes(struct recorded *it)
{
        for (size_t i = 0; i < it->n; i++)
                outcome_reset(&it->outcomes[i]);
}

/*
 * Where the store has no memory, that may be for want of a record: then what is done with makes room, and the answer goes to the
 * spare if that does not help.
 */
static objd_status run_recorded(struct recorded *it)
{
        struct account *account = it->job->session->account;
        objd_status r = run_unless_run(it, false);

        if (r == OBJD_E_NOMEM && !account->refused && ledger_drop(it->at.ledger, it->at.records)) {
                undo_outcomes(it);
                r = run_unless_run(it, false);
        }
        if (r == OBJD_E_NOMEM && !account->refused) {
                undo_outcomes(it);
                r = run_unless_run(it, true);
        }
        return r;
}

/* Runs the call that is next, unless it has been. */
static objd_status run_once(const struct caller *caller, struct job *job, struct outcome *outcome)
{
        const struct call *call = &job->batch.calls[job->n_done];
        struct recorded it = { .caller = caller, .job = job, .outcomes = outcome, .n = 1 };
        objd_status r;

        if (!(call_properties(call->code)->flags & CALL_MUTATES))
                return run_call(caller, call, NULL, outcome);
        r = find_place(job, job->n_done, &it.at);
        return r ? outcome_end(outcome, r) : run_recorded(&it);
}

/* "No memory" that is for want of room in the account is said as such. */
static objd_status explain(struct job *job, struct outcome *outcome, objd_status r)
{
        struct account *account = job->session->account;

        if (r == OBJD_E_NOMEM && account->refused)
                return outcome_end(outcome, account_fail(account, r));
        account->refused = false;
        return r;
}

/* A call, or an atomic batch, that this daemon has run before, and that failed then. */
static bool has_failed_before(const struct job *job, size_t place, objd_status *ret_status,
                              uint32_t *ret_failed)
{
        if (!job->asks_records ||
            !past_find(&job->session->past, job->batch.seq, place, ret_status, ret_failed))
                return false;
        (void)fail(*ret_status, "%s failed when it was run; this is its answer once more",
                   job->batch.atomic ? "the batch" : call_properties(job->batch.calls[place].code)->name);
        return true;
}

/* What the call waits for now, if anything; its time runs from when it first had to. */
static void note_wait(struct job *job, enum job_waits waits)
{
        if (waits && !job->waits)
                job->call_ns = now_ns();
        job->waits = waits;
}

static void step_call(const struct caller *caller, struct job *job)
{
        const struct call *call = &job->batch.calls[job->n_done];
        struct outcome *outcome = &job->outcomes[job->n_done];
        uint32_t failed;
        objd_status r;

        if (has_failed_before(job, job->n_done, &r, &failed)) {
                (void)outcome_end(outcome, r);
                job->waits = JOB_RUNS;
                job->n_done++;
                return;
        }
        r = may_begin(job, call);
        if (r) {
                (void)outcome_end(outcome, r);
        } else {
                outcome_lend(outcome, job->session->spares);
                account_begin(job->session->account);
                r = run_once(caller, job, outcome);
                account_end(job->session->account);
                r = explain(job, outcome, r);
                r = charge_outcome(job, outcome, r);
        }
        note_wait(job, waits_for(job, call, r));
        if (job->waits && now_ns() >= job_deadline(job)) {
                (void)outcome_end(outcome, give_up(caller, job, call, r));
                job->waits = JOB_RUNS;
        }
        if (!job->waits)
                job->n_done++;
}

static void end_atomic(struct job *job, objd_status r, size_t failed)
{
        for (size_t i = 0; i < job->batch.n_calls; i++)
                job->answers[i].status = OBJD_OK;
        if (r && failed < job->batch.n_calls)
                (void)outcome_end(&job->outcomes[failed], r);
        else if (r && job->batch.n_calls)
                (void)outcome_end(&job->outcomes[0], r);
        job->status = r;
        job->failed = r && failed < job->batch.n_calls ? (uint32_t)failed + 1 : 0;
        job->waits = JOB_DONE;
}

/* Whether it changes the store. One that does not is run again if it comes again, as single reads are. */
static bool mutates(const struct call_batch *batch)
{
        for (size_t i = 0; i < batch->n_calls; i++)
                if (call_properties(batch->calls[i].code)->flags & CALL_MUTATES)
                        return true;
        return false;
}

/* Once, however often it is tried. */
static objd_status prepare_atomic(struct job *job)
{
        size_t n = job->batch.n_calls;

        if (job->memory.ops)
                return OBJD_OK;
        job->memory.objects = space_take_array(&job->space, n, sizeof(*job->memory.objects));
        job->memory.ops = space_take_array(&job->space, n, sizeof(*job->memory.ops));
        if (!job->memory.objects || !job->memory.ops)
                return fail(OBJD_E_NOMEM, "no memory for %zu operations", n);
        for (size_t i = 0; i < n; i++)
                outcome_lend(&job->outcomes[i], job->session->spares);
        return OBJD_OK;
}

static objd_status run_atomic_once(struct recorded *it)
{
        objd_status r = prepare_atomic(it->job);

        if (r)
                return r;
        if (!mutates(&it->job->batch))
                return run_it(it, NULL);
        r = find_place(it->job, 0, &it->at);
        return r ? r : run_recorded(it);
}

static void step_atomic(const struct caller *caller, struct job *job)
{
        size_t n = job->batch.n_calls;
        struct recorded it = { .caller = caller, .job = job, .outcomes = job->outcomes, .n = n, .failed = n };
        uint32_t past_failed;
        objd_status r;

        if (has_failed_before(job, 0, &r, &past_failed)) {
                end_atomic(job, r, past_failed ? past_failed - 1 : n);
                return;
        }
        account_begin(job->session->account);
        r = run_atomic_once(&it);
        account_end(job->session->account);
        if (r == OBJD_E_NOMEM)
                r = account_fail(job->session->account, r);
        job->session->account->refused = false;
        for (size_t i = 0; i < job->batch.n_calls; i++)
                charge_all(job, &job->outcomes[i]);
        note_wait(job,
                  r == OBJD_E_BUSY && job->batch.timeout_ns != OBJD_NOWAIT ? JOB_WAITS_HOLDER : JOB_RUNS);
        if (job->waits && now_ns() < job_deadline(job))
                return;
        end_atomic(job, r, it.failed);
}

/* What a call takes of its session's turn: 1 for itself, and for so many bytes or further values 1 more each. */
static void charge_turn(const struct job *job, size_t at, uint32_t *left)
{
        const struct call *call = &job->batch.calls[at];
        uint64_t cost = 1 + (call->n_keys + call->n_values) / TURN_VALUES;

        for (size_t i = 0; i < call->n_values && i < TURN_VALUES; i++)
                cost += call->values[i].size / TURN_BYTES;
        cost += job->answers[at].value.type == OBJD_ANY ? 0 : job->answers[at].value.size / TURN_BYTES;
        *left = cost < *left ? *left - (uint32_t)cost : 0;
}

static void step_calls(const struct caller *caller, struct job *job, uint32_t *left)
{
        while (job->n_done < job->batch.n_calls) {
                size_t at = job->n_done;

                if (!*left) {
                        job->waits = JOB_RUNS;
                        return;
                }
                step_call(caller, job);
                charge_turn(job, at, left);
                if (job->waits)
                        return;
        }
        job->waits = JOB_DONE;
}

void job_step(struct proxy_sessions *sessions, struct job *job, uint32_t *left)
{
        const struct caller caller = { .conn = sessions->conn,
                                       .client = job->session->client,
                                       .read_only = job->session->read_only,
                                       .rights = &job->session->who.rights,
                                       .handles = &sessions->handles,
                                       .reports = &sessions->reports,
                                       .report = &job->session->report,
                                       .account = job->session->account,
                                       .publication = &sessions->publication,
                                       .reads_large = &job->session->reads_large,
                                       .may_pin = job->batch.n_calls == 1 && !job->batch.atomic };

        if (!job->batch.atomic || !job->batch.n_calls) {
                step_calls(&caller, job, left);
        } else {
                step_atomic(&caller, job);
                for (size_t i = 0; i < job->batch.n_calls && *left; i++)
                        charge_turn(job, i, left);
        }
        if (job->waits == JOB_DONE)
                past_keep(&job->session->past, job);
}

bool job_has_changed(const struct job *job)
{
        for (size_t i = 0; i < job->batch.n_calls; i++)
                if ((call_properties(job->batch.calls[i].code)->flags & CALL_MUTATES) && !job->status &&
                    (!job->answers[i].status || job->answers[i].status == OBJD_E_OWNER_DIED))
                        return true;
        return false;
}

void job_begin_reply(struct job *job)
{
        account_give(job->session->account, job->charged / 2);
        job->charged -= job->charged / 2;
}

static void unpin(void *pin)
{
        objd_unpin(pin);
}

/* A large value that is all of the bulk goes with the reply, so that a link need not copy what it cannot send at once. */
static void keep_value(struct job *job, struct wire_out *out)
{
        struct outcome *outcome = &job->outcomes[0];
        objd_buf *buf = &outcome->buf;
        const uint8_t *bytes = buf->data, *part = out->n_parts == 1 ? out->parts[0].data : NULL;

        if (job->batch.n_calls != 1 || !part)
                return;
        if (outcome->pin) {
                out->kept = outcome->pin;
                out->free_kept = unpin;
                out->kept_size = outcome->answer->value.size;
                outcome->pin = NULL;
        } else if (bytes && part >= bytes && part < bytes + buf->size) {
                out->kept = buf->data;
                out->free_kept = free;
                out->kept_size = buf->size;
                *buf = (objd_buf)OBJD_BUF_INIT;
        }
}

objd_status job_reply(struct job *job, struct wire_out *out, uint64_t max_size)
{
        objd_status r;

        struct call_reply reply = { .seq = job->batch.seq,
                                    .status = job->status,
                                    .failed = job->failed,
                                    .answers = job->answers,
                                    .n_answers = job->batch.n_calls };

        if (job->status)
                reply.sentence = job->answers[job->failed ? job->failed - 1 : 0].sentence;
        r = wire_pack_reply(out, &reply, max_size);
        if (r == OBJD_OK)
                keep_value(job, out);
        return r;
}
