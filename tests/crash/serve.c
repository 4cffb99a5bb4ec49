/* SPDX-License-Identifier: Apache-2.0 */

/*
 * serve.c -- a daemon that has a client's request in hand, killed between any two of its instructions
 *
 * The victim is what serves in a daemon: server, sessions, rings and all that they call (served.h). Its clients have said hello, and the
 * request lies in a ring, when it begins to be counted; it goes on by the very rounds that the daemon's thread makes, until the reply is
 * in the other ring, and to the end of that round. Only the thread itself is missing: ptrace goes through one thread at a time, and which
 * of several goes on would not be ours to say. What a daemon has besides, its control socket's thread, does nothing meanwhile.
 * The threads that sleep for those who wait (waker.h) are there, and not counted: they only read the arena.
 *
 * Wherever the arena has changed it is looked at as the daemon would leave it if it died there, in four ways:
 *
 *   resumed      another daemon takes the store up, the client says hello with its session and asks again, with the same number: it gets the
 *                answer that it would have got, and the store holds what it holds when the request has been served once
 *   check first, write first, killed twice
 *                as after any death (aftermath.h), with the session ended, as it is if the client does not come back
 *
 * An answer that lies in the ring has been given, for the client takes it from there when the daemon is dead: it must be the right one,
 * and what it says has happened is never undone.
 */

#include "crash/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crash/aftermath.h"
#include "support/child.h"
#include "txn/lane.h"
#include "txn/recover.h"

/* With --all. */
#define RECOVERY_INSTRUCTIONS 50000
#define REAL_KILLS_OF_ALL 12

/* In a sample: at every how many instructions memory is compared. */
#define COMPARE_STRIDE 16
#define REAL_KILLS 1

struct sweep {
        const struct serve_test *test;
        struct serve_known *known;
        struct aftermath after;
        struct serving victim; /* as it is to be made; each is a copy in a process of its own */
        unsigned last;         /* outcome: all has been served */
        bool resumes;          /* those who come next are a daemon and the same clients */
        struct content served; /* when all has been served, with the sessions there */
        struct served_message answers[SERVED_CLIENTS];
        uint64_t n_resumed;
};

static uint32_t n_clients(const struct serve_test *test)
{
        return test->n_clients ? test->n_clients : 1;
}

/* ---- The victim ----------------------------------------------------------------------------------------- */

void serve_now(struct serving *serving, const struct call *calls, size_t n, struct serve_answer *ret_answer)
{
        static struct served_message message;
        struct call_reply reply;
        struct space space;

        served_ask(&serving->served, 0, calls, n, false);
        served_wait(&serving->served, 0, &message);
        space_init(&space, NULL, 0);
        must(wire_unpack_reply(
                     &(struct wire_in){ (const uint8_t *)message.bytes, message.size, message.body_size },
                     &(struct wire_limits){ 0 }, &space, &reply),
             "a reply");
        for (size_t i = 0; i < reply.n_answers; i++)
                must(reply.answers[i].status, reply.answers[i].sentence);
        if (ret_answer)
                *ret_answer = (struct serve_answer){ .number = reply.answers[0].number,
                                                     .made = reply.answers[0].n_infos
                                                                     ? reply.answers[0].infos[0].ref
                                                                     : (objd_ref){ 0 } };
        space_deinit(&space);
}

static objd_ref ref_of(struct objd_conn *conn, const char *name)
{
        objd_object *object;
        objd_ref ref;

        must(objd_open(conn, name, OBJD_KIND_ANY, &object), name);
        ref = objd_ref_of(object);
        objd_release(object);
        return ref;
}

static void begin_request(struct serving *s)
{
        for (uint32_t i = 0; i < s->served.n_clients; i++)
                s->sent[i] = served_sent(&s->served, i);
        s->test->ask(s);
}

static bool is_done(const struct serving *s)
{
        if (s->test->is_done)
                return s->test->is_done(s);
        for (uint32_t i = 0; i < s->served.n_clients; i++)
                if (served_sent(&s->served, i) == s->sent[i])
                        return false;
        return true;
}

/* Until the request lies in a ring. */
static objd_status prepare_daemon(struct objd_conn *conn, void *context)
{
        struct serving *s = context;
        struct serve_known *known = s->known;

        *known = (struct serve_known){ .pid = getpid(),
                                       .it = ref_of(conn, "it"),
                                       .other = ref_of(conn, "other") };
        served_begin(&s->served, conn, n_clients(s->test));
        for (uint32_t i = 0; i < s->served.n_clients && !s->test->no_session; i++)
                (void)served_enter(&s->served, i, false);
        if (s->test->prepare)
                s->test->prepare(s);
        for (uint32_t i = 0; i < s->served.n_clients; i++) {
                known->sessions[i] = s->served.clients[i].session;
                known->memory[i] = s->served.clients[i].memory;
        }
        begin_request(s);
        memcpy(known->sent, s->sent, sizeof(known->sent));
        return OBJD_OK;
}

static objd_status serve(struct objd_conn *conn, void *context)
{
        struct serving *s = context;

        (void)conn;
        while (!is_done(s))
                served_round(&s->served);
        return OBJD_OK;
}

/* ---- Those who come next -------------------------------------------------------------------------------- */

/* As if nothing were heard of any session for as long as that takes. */
static void end_sessions(struct objd_conn *conn)
{
        const struct arena *arena = conn->arena;

        for (uint32_t i = 1; i < word_get(&arena->header->clients_high); i++)
                if (word_get(&arena_client(arena, i)->flags) & CLIENT_IS_SESSION)
                        session_end(conn->arena, id_make(i, arena_client(arena, i)->generation));
}

static bool is_same_message(const struct served_message *a, const struct served_message *b)
{
        return a->type == b->type && a->size == b->size && a->body_size == b->body_size &&
               memcmp(a->bytes, b->bytes, a->size) == 0;
}

static objd_status status_of(const struct served_message *message)
{
        const struct wire_in in = { (const uint8_t *)message->bytes, message->size, message->body_size };
        objd_status r = OBJD_E_PROTO;
        struct call_reply reply;
        struct space space;

        space_init(&space, NULL, 0);
        if (message->type == FRAME_REPLY &&
            wire_unpack_reply(&in, &(struct wire_limits){ 0 }, &space, &reply) == OBJD_OK)
                r = reply.status ? reply.status : reply.answers[0].status;
        space_deinit(&space);
        return r;
}

/*
 * Whoever has found the dead daemon has gone on, or undone it: of what is gone the client cannot know which before it
 * looks, and what can no longer be done has not been. Gives the outcomes that may be; 0: it is none of these answers.
 */
static unsigned told_what_became(const struct sweep *sweep, const struct served_message *message)
{
        objd_status r = sweep->test->goes_on ? status_of(message) : OBJD_OK;

        return r == OBJD_E_GONE ? 1u | 1u << sweep->last : r == OBJD_E_INVAL ? 1u : 0;
}

/* The same answer as ever; but what was made, and not for good, may be another object the next time. */
static void expect_answer(struct sweep *sweep, uint32_t client, const struct served_message *message)
{
        const struct served_message *expected = &sweep->answers[client];

        if (is_same_message(message, expected))
                return;
        if (told_what_became(sweep, message))
                return;
        if (sweep->test->new_ref && status_of(message) == OBJD_OK && message->size == expected->size)
                return;
        fprintf(stderr, "client %u got a message of type %d with status %d and %zu bytes, not one of %zu\n",
                client, (int)message->type, (int)status_of(message), message->size, expected->size);
        aftermath_complain(&sweep->after, "it is answered otherwise when it is asked again");
}

static void expect_served(struct sweep *sweep, struct objd_conn *conn)
{
        struct content found;

        /* What the dead daemon was to free when it had committed is freed by whoever finds it. */
        sweep->after.faults += bare_check(conn, sweep->after.name);
        found = aftermath_content(&sweep->after, conn);
        if (found.store == sweep->served.store && found.used == sweep->served.used)
                return;
        fprintf(stderr, "%llu bytes are in use, there were %llu\n", (unsigned long long)found.used,
                (unsigned long long)sweep->served.used);
        aftermath_complain(&sweep->after, "asked for twice, it is not there once");
        print_store(conn);
}

/* As any daemon does before it is there for clients. */
static void clean_up(struct objd_conn *conn)
{
        struct lane *lane;

        must(lane_enter(conn->arena, OBJD_NOWAIT, &lane), "a lane");
        (void)recover_all(conn->arena, lane);
        lane_leave(lane);
        (void)recover_clients(conn->arena);
}

/* The clients come back to another daemon, and ask again what they have no answer to. */
static void resume(struct sweep *sweep, struct objd_conn *conn)
{
        static struct serving s;
        static struct served_message message;
        const struct serve_test *test = sweep->test;

        s = sweep->victim;
        if (test->goes_on)
                clean_up(conn);
        served_begin(&s.served, conn, n_clients(test));
        for (uint32_t i = 0; i < s.served.n_clients && !test->no_session; i++) {
                s.served.clients[i].session = sweep->known->sessions[i];
                if (!served_enter(&s.served, i, true) && !test->ends)
                        aftermath_complain(&sweep->after, "the session is gone");
        }
        begin_request(&s);
        while (!is_done(&s))
                served_round(&s.served);
        if (!test->no_session && !test->ends) {
                for (uint32_t i = 0; i < s.served.n_clients; i++) {
                        served_wait(&s.served, i, &message);
                        expect_answer(sweep, i, &message);
                }
                if (told_what_became(sweep, &message))
                        sweep->after.allowed = told_what_became(sweep, &message);
                else
                        expect_served(sweep, conn);
        }
        served_end(&s.served);
        sweep->n_resumed++;
}

static void come_next(struct aftermath *after, struct objd_conn *conn)
{
        struct sweep *sweep = (struct sweep *)(void *)((char *)after - offsetof(struct sweep, after));

        if (sweep->resumes)
                resume(sweep, conn);
        end_sessions(conn);
}

/* ---- The sweep ------------------------------------------------------------------------------------------ */

static void check_resumed(struct sweep *sweep, int fd)
{
        struct aftermath *after = &sweep->after;
        unsigned allowed = after->allowed, found = after->found;

        after->allowed = 1u << sweep->last;
        sweep->resumes = true;
        aftermath_check_first(after, fd);
        sweep->resumes = false;
        after->allowed = allowed;
        after->found = found;
}

/* What the victim's clients have been told is true from here on. */
static void look_into_rings(struct sweep *sweep)
{
        static struct served_message message;
        const struct serve_known *known = sweep->known;
        unsigned n_answered = 0;

        for (uint32_t i = 0; i < n_clients(sweep->test); i++) {
                if (!served_look_over(known->pid, known->memory[i], known->sent[i], &message))
                        continue;
                n_answered++;
                if (!sweep->test->no_session && !sweep->test->ends)
                        expect_answer(sweep, i, &message);
        }
        if (n_answered == n_clients(sweep->test) && !sweep->test->ends)
                sweep->after.allowed &= 1u << sweep->last;
}

static bool is_place_to_recover(const struct sweep *sweep)
{
        return sweep_options.all || ((strlen(sweep->test->op.name) + sweep_options.seed) % 3 == 0 &&
                                     sweep->after.states >= 1 + sweep_options.seed % 4);
}

static bool on_state(void *context, uint64_t step, const struct image *state)
{
        struct sweep *sweep = context;
        struct aftermath *after = &sweep->after;

        after->step = step;
        after->states++;
        look_into_rings(sweep);
        aftermath_check_first(after, image_make_file(state));
        check_resumed(sweep, image_make_file(state));
        aftermath_write_first(after, state);
        if (is_place_to_recover(sweep))
                aftermath_kill_the_next(after, state);
        aftermath_enter(after, TO_STEP, "stepping");
        return after->faults < FAULTS_MAX;
}

static void allow_all(struct sweep *sweep)
{
        sweep->after.allowed = (1u << (sweep->last + 1)) - 1;
}

/* Real deaths, over the whole request; those who come next are, in turn, of each sort. */
static void kill_really(struct sweep *sweep, const struct step_plan *plan, uint64_t n_steps, uint64_t n_kills)
{
        struct aftermath *after = &sweep->after;

        for (uint64_t i = 0; i < n_kills && after->faults < FAULTS_MAX; i++) {
                int fd;

                after->step = (n_steps * i + (sweep_options.seed + i) % 7 * n_steps / 7) / n_kills;
                allow_all(sweep);
                aftermath_enter(after, TO_STEP, "stepping");
                fd = step_and_kill(plan, after->step);
                if (fd < 0)
                        continue;
                if ((i + sweep_options.seed) % 3) {
                        aftermath_of_kill(after, fd, (i + sweep_options.seed) % 3 == 1);
                } else {
                        after->sums->kills++;
                        check_resumed(sweep, fd);
                }
        }
}

/* How it is when nobody dies: what the clients are told, and what is there while their sessions are. */
static void learn_answers(struct sweep *sweep, const struct image *start)
{
        static struct serving s;
        struct objd_conn conn;

        aftermath_enter(&sweep->after, TO_STEP, "whole");
        s = sweep->victim;
        bare_attach(&conn, image_make_file(start));
        must(prepare_daemon(&conn, &s), "preparing");
        must(serve(&conn, &s), "serving");
        for (uint32_t i = 0; i < s.served.n_clients && !sweep->test->ends; i++) {
                served_wait(&s.served, i, &sweep->answers[i]);
                if (!sweep->test->no_session)
                        must(status_of(&sweep->answers[i]), "a reply");
        }
        sweep->served =
                (struct content){ digest_store(&conn, sweep->test->op.any_order), digest_used(&conn) };
        served_end(&s.served);
        end_sessions(&conn);
        sweep->after.faults += bare_check(&conn, sweep->test->op.name);
        bare_leave(&conn);
}

static void learn_all(struct sweep *sweep, struct step_plan *plan)
{
        struct aftermath *after = &sweep->after;
        struct serving *victim = &sweep->victim;

        learn_answers(sweep, plan->start);
        aftermath_enter(after, TO_STEP, "whole");
        aftermath_learn(after, step_and_kill(plan, 0), step_and_kill(plan, 0), 0);
        for (unsigned i = 1; i <= sweep->last; i++) {
                victim->part = i;
                aftermath_learn(after, run_to_end(plan), run_to_end(plan), i);
        }
        for (unsigned i = 0; i <= sweep->last; i++)
                after->follows[i] = ((1u << (sweep->last + 1)) - 1) & ~((1u << i) - 1);
}

static void look_everywhere(struct sweep *sweep, struct step_plan *plan)
{
        struct aftermath *after = &sweep->after;
        uint64_t n_steps;

        plan->stride = sweep_options.all ? 1 : sweep_options.stride;
        plan->compare = sweep_options.all ? 1 : COMPARE_STRIDE;
        plan->first = sweep_options.from;
        allow_all(sweep);
        n_steps = step_through(plan, on_state, sweep);
        after->sums->instructions += n_steps;
        after->sums->states += after->states;
        if (!after->faults && !after->states)
                aftermath_complain(after, "it was never killed while it served");
        kill_really(sweep, plan, n_steps, sweep_options.all ? REAL_KILLS_OF_ALL : REAL_KILLS);
}

static void *share_memory(size_t size)
{
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (memory == MAP_FAILED)
                must(OBJD_E_SYS, "shared memory");
        return memory;
}

int sweep_serving(void *context)
{
        static struct sweep sweep;
        struct serve_job *job = context;
        struct sweep_sums *sums = job->job.sums, before = *sums;
        struct op_test op = job->test->op;
        struct step_plan plan = {
                .prepare = prepare_daemon, .fn = serve, .context = &sweep.victim, .stride = 1
        };
        struct image start;
        int64_t start_ns = test_now_ns();

        sweep.test = job->test;
        sweep.known = share_memory(sizeof(*sweep.known));
        sweep.last = job->test->n_parts ? job->test->n_parts : 1;
        sweep.victim = (struct serving){ .test = job->test, .known = sweep.known, .part = sweep.last };
        sweep.after = (struct aftermath){ .test = &op,
                                          .sums = sums,
                                          .name = op.name,
                                          .end_fn = come_next,
                                          .n_outcomes = sweep.last + 1,
                                          .recovery_instructions = RECOVERY_INSTRUCTIONS };
        aftermath_begin(&sweep.after);
        sweep_build(&op, &start);
        plan.start = &start;
        learn_all(&sweep, &plan);
        look_everywhere(&sweep, &plan);
        image_free(&start);
        sums->operations++;
        sums->faults += sweep.after.faults;
        printf("%-52s %7llu instructions, %6llu states, %5llu logs, %8llu of recovery, %6llu states, %5llu resumed, "
               "%5.1f s: %s\n",
               op.name, (unsigned long long)(sums->instructions - before.instructions),
               (unsigned long long)sweep.after.states, (unsigned long long)(sums->logs - before.logs),
               (unsigned long long)(sums->recovery_instructions - before.recovery_instructions),
               (unsigned long long)(sums->recovery_states - before.recovery_states),
               (unsigned long long)sweep.n_resumed, (double)(test_now_ns() - start_ns) / 1e9,
               sweep.after.faults ? "FAULTS" : "clean");
        return sweep.after.faults ? 1 : 0;
}
