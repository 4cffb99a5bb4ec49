/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_lease.c -- items under a lease: out of sight until they are acknowledged or come back
 *
 * The leases of a queue are a table of entries, free ones in a list. An id is the entry's index and a number that grows with
 * each lease of the queue, so an id is never used twice.
 *
 * Nobody is woken when a lease is over; getters look. One that finds nothing looks before it says so or sleeps, and again
 * after each slice of sleep. One that finds items looks when the first deadline has passed, or a second after the last
 * look. And whoever reaps a dead client calls queue_reap(). A look freezes the head for one page of leases at a
 * time, asks the kernel about their clients without holding anything, and returns what is over by id: a client that
 * is dead stays dead, and a lease that is late stays late, so nothing can have become wrong meanwhile.
 */

#include "object/queue.h"

#include "base/status.h"
#include "base/sys.h"
#include "sync/wait.h"

#define INDEX_BITS 20
#define INDEX_MASK ((1ULL << INDEX_BITS) - 1)
#define NUMBER_MAX (1ULL << (64 - INDEX_BITS))
#define PAGE_LEASES (QUEUE_PAGE / sizeof(struct queue_lease_shm))
#define NEVER UINT64_MAX

/* Leases that go back in one transaction. */
#define RETURN_AT_ONCE 32u

/* Up to so many leases a getter that finds nothing always looks: a few microseconds. */
#define FEW_LEASES 1024u

/* How long a look among n leases is good for, so that looking costs less than half a percent of a processor. */
static int64_t look_interval(uint64_t n)
{
        return WAIT_SLICE_NS + (int64_t)(n < 1000000 ? n : 1000000) * 1000;
}

#define LOOK_AT_LATEST_NS 1000000000LL

static struct queue_lease_shm *lease_at(const struct queue *queue, uint64_t index)
{
        return table_at(queue->arena, &queue->shm->leases, index, sizeof(struct queue_lease_shm));
}

/* ---- Taking ------------------------------------------------------------------------------------------- */

/* An entry for one more lease: a free one, or the one behind the last. */
static objd_status new_entry(struct queue *queue, uint64_t *ret_index)
{
        struct queue_shm *shm = queue->shm;
        uint64_t free = word_get(&shm->free_lease), n = word_get(&shm->leases.n);
        const struct queue_lease_shm *lease;
        objd_status r;

        if (free) {
                lease = free <= n ? lease_at(queue, free - 1) : NULL;
                if (!lease)
                        return queue_corrupt(queue, "its table of leases");
                txn_set(queue->lane, &shm->free_lease, word_get(&lease->next_free));
                *ret_index = free - 1;
                return OBJD_OK;
        }
        if (n > INDEX_MASK)
                return fail(OBJD_E_LIMIT, "queue %s has %llu items under a lease, and cannot have more",
                            queue_label(queue), (unsigned long long)n);
        r = table_reserve(queue, &shm->leases, sizeof(*lease));
        if (r)
                return r;
        txn_set(queue->lane, &shm->leases.n, n + 1);
        *ret_index = n;
        return OBJD_OK;
}

/* Getters look again when the first deadline is over; with the first lease of all, after a while at the latest. */
static void plan_look(struct queue *queue, uint64_t deadline_ns, int64_t now)
{
        uint64_t look = word_get(&queue->shm->look_ns);

        if (!word_get(&queue->shm->n_leases))
                look = (uint64_t)(now + LOOK_AT_LATEST_NS);
        if (deadline_ns < look)
                look = deadline_ns;
        if (look != word_get(&queue->shm->look_ns))
                txn_set(queue->lane, &queue->shm->look_ns, look);
}

/* Whoever reaps this client has to look through the queues. Before the first lease is there. */
static void tell_reaper(const struct queue *queue)
{
        struct client_shm *client = arena_client(queue->arena, id_number(lane_client(queue->lane)));

        if (!(word_get(&client->flags) & CLIENT_HAS_LEASED))
                (void)__atomic_fetch_or(&client->flags, CLIENT_HAS_LEASED, __ATOMIC_RELAXED);
}

static objd_status enter(struct queue *queue, const struct queue_item_shm *item, int64_t lease_ns,
                         uint64_t *ret_id)
{
        struct queue_shm *shm = queue->shm;
        int64_t now = now_ns();
        struct queue_lease_shm lease = { .client = lane_client(queue->lane), .item = *item };
        uint64_t index = 0, number = word_get(&shm->next_lease) + 1;
        objd_status r = new_entry(queue, &index);

        if (r)
                return r;
        if (number >= NUMBER_MAX)
                return fail(OBJD_E_LIMIT, "queue %s has given all leases that it can give",
                            queue_label(queue));
        lease.id = number << INDEX_BITS | index;
        lease.deadline_ns =
                lease_ns == OBJD_FOREVER || lease_ns > INT64_MAX - now ? NEVER : (uint64_t)(now + lease_ns);
        plan_look(queue, lease.deadline_ns, now);
        tell_reaper(queue);
        txn_write(queue->lane, lease_at(queue, index), &lease, sizeof(lease));
        txn_set(queue->lane, &shm->next_lease, number);
        txn_set(queue->lane, &shm->n_leases, word_get(&shm->n_leases) + 1);
        if (!(word_get(&queue->head->ctl) & QUEUE_LEASED))
                txn_set(queue->lane, &queue->head->ctl, word_get(&queue->head->ctl) | QUEUE_LEASED);
        *ret_id = lease.id;
        return OBJD_OK;
}

objd_status lease_take(struct queue *queue, struct op *op)
{
        struct queue_item_shm item;
        const void *bytes;
        objd_status r = queue_take_item(queue, op, &item);

        if (r)
                return r;
        bytes = item_bytes(queue->arena, &item);
        if (!bytes)
                return queue_corrupt(queue, "an item");
        r = queue_deliver(op, item.head, bytes);
        return r ? r : enter(queue, &item, op->u.integer, &op->u.lease);
}

/* ---- Ending ------------------------------------------------------------------------------------------- */

/* The entry with this id; NULL if there is none. */
static struct queue_lease_shm *find(const struct queue *queue, uint64_t id)
{
        uint64_t index = id & INDEX_MASK;
        struct queue_lease_shm *lease;

        if (!id || index >= word_get(&queue->shm->leases.n))
                return NULL;
        lease = lease_at(queue, index);
        return lease && word_get(&lease->id) == id ? lease : NULL;
}

/* The entry with this id, if the lease is the caller's and not over. */
static objd_status find_own(const struct queue *queue, uint64_t id, struct queue_lease_shm **ret_lease)
{
        struct queue_lease_shm *lease = find(queue, id);
        uint64_t deadline;

        if (!lease || word_get(&lease->client) != lane_client(queue->lane))
                return fail(OBJD_E_NOTOWNER, "queue %s: this client has no lease %llu, or has none any more",
                            queue_label(queue), (unsigned long long)id);
        deadline = word_get(&lease->deadline_ns);
        if (deadline != NEVER && (uint64_t)now_ns() >= deadline)
                return fail(OBJD_E_NOTOWNER, "queue %s: the time of lease %llu is over", queue_label(queue),
                            (unsigned long long)id);
        *ret_lease = lease;
        return OBJD_OK;
}

/* The entry is free; what was its item is the caller's to deal with. */
static void leave(struct queue *queue, struct queue_lease_shm *lease)
{
        uint64_t index = word_get(&lease->id) & INDEX_MASK, n = word_get(&queue->shm->n_leases) - 1;

        txn_set(queue->lane, &lease->next_free, word_get(&queue->shm->free_lease));
        txn_set(queue->lane, &lease->id, 0);
        txn_set(queue->lane, &queue->shm->free_lease, index + 1);
        txn_set(queue->lane, &queue->shm->n_leases, n);
        if (!n)
                txn_set(queue->lane, &queue->head->ctl, word_get(&queue->head->ctl) & ~QUEUE_LEASED);
}

objd_status lease_ack(struct queue *queue, uint64_t id)
{
        struct queue_lease_shm *lease;
        struct queue_item_shm item;
        objd_status r = queue_reserve(queue);

        if (r == OBJD_OK)
                r = find_own(queue, id, &lease);
        if (r)
                return r;
        words_out(&item, &lease->item, sizeof(item));
        leave(queue, lease);
        /* Only short of it if somebody has called task_done for this item as well. */
        if (word_get(&queue->shm->done) < word_get(&queue->head->pushed))
                queue_count_done(queue);
        queue_made_room(queue, 1);
        return item_drop(queue, &item);
}

static objd_status return_lease(struct queue *queue, struct queue_lease_shm *lease)
{
        struct queue_item_shm item;

        words_out(&item, &lease->item, sizeof(item));
        leave(queue, lease);
        return queue_put_back(queue, &item);
}

objd_status lease_give_back(struct queue *queue, uint64_t id)
{
        struct queue_lease_shm *lease;
        objd_status r = queue_reserve(queue);

        if (r == OBJD_OK)
                r = find_own(queue, id, &lease);
        return r ? r : return_lease(queue, lease);
}

/* ---- Looking ------------------------------------------------------------------------------------------ */

/* One look through all leases of a queue. */
struct look {
        struct lane *lane;
        struct object_shm *object;
        const struct objd_object *handle;
        uint64_t serial;
        uint64_t dead_client; /* look for this client's only; 0: for all that are over */
        int64_t now;
        uint64_t n_leases, newest; /* when it began */
        uint64_t first_deadline;   /* of those that go on */
        uint64_t known[16];        /* clients that are known to live */
};

struct seen_lease {
        uint64_t id, client, deadline_ns;
};

/* Begins a transaction with the queue's lines locked, or only its head frozen, and sees that it is still the same queue. */
static objd_status open_locked(struct look *look, bool freeze, struct queue *ret_queue)
{
        struct line_shm *line = &look->object->line;
        objd_status r = queue_open_unlocked(look->lane, look->object, look->serial, ret_queue);

        if (r)
                return r;
        txn_begin(look->lane, OP_QUEUE_REAP);
        r = freeze ? lock_freeze(look->lane, line) : queue_lock(ret_queue);
        if (r == OBJD_OK &&
            (word_get(&line->serial) != look->serial || object_kind(word_get(&line->config)) != OBJD_QUEUE))
                r = OBJD_E_GONE;
        if (r == OBJD_OK)
                r = queue_open(look->lane, look->object, ret_queue);
        ret_queue->handle = look->handle;
        if (r)
                txn_abort(look->lane);
        return r;
}

/* Copies one page of leases. *ret_n is 0 behind the last one. */
static objd_status see_page(struct look *look, uint64_t start, struct seen_lease *seen, uint64_t *ret_n)
{
        struct queue queue;
        uint64_t n = 0, end;
        objd_status r = open_locked(look, true, &queue);

        if (r)
                return r;
        look->n_leases = word_get(&queue.shm->n_leases);
        if (!start)
                look->newest = word_get(&queue.shm->next_lease);
        end = look->n_leases ? word_get(&queue.shm->leases.n) : 0;
        if (end > start + PAGE_LEASES)
                end = start + PAGE_LEASES;
        for (uint64_t i = start; i < end; i++) {
                const struct queue_lease_shm *lease = lease_at(&queue, i);

                if (!lease)
                        break;
                seen[n++] = (struct seen_lease){ word_get(&lease->id), word_get(&lease->client),
                                                 word_get(&lease->deadline_ns) };
        }
        txn_abort(look->lane);
        *ret_n = n;
        return OBJD_OK;
}

static bool client_lives(struct look *look, uint64_t client)
{
        uint64_t *known = &look->known[id_number(client) % (sizeof(look->known) / sizeof(*look->known))];

        if (*known == client || client == lane_client(look->lane))
                return true;
        if (!client_is_alive(look->lane->arena, client))
                return false;
        *known = client;
        return true;
}

static bool is_over(struct look *look, const struct seen_lease *lease)
{
        if (!lease->id)
                return false;
        if (look->dead_client)
                return lease->client == look->dead_client;
        if (lease->deadline_ns <= (uint64_t)look->now || !client_lives(look, lease->client))
                return true;
        if (lease->deadline_ns < look->first_deadline)
                look->first_deadline = lease->deadline_ns;
        return false;
}

static objd_status return_some(struct look *look, const uint64_t *ids, uint64_t n)
{
        struct queue queue;
        objd_status r = open_locked(look, false, &queue);

        if (r)
                return r;
        for (uint64_t i = 0; i < n && r == OBJD_OK; i++) {
                struct queue_lease_shm *lease = find(&queue, ids[i]);

                if (!lease)
                        continue;
                r = queue_reserve(&queue);
                if (r == OBJD_OK)
                        r = return_lease(&queue, lease);
        }
        if (r == OBJD_OK)
                return txn_commit(look->lane);
        txn_abort(look->lane);
        return r;
}

/* Looks through a page and returns what is over. */
static objd_status look_at_page(struct look *look, const struct seen_lease *seen, uint64_t n)
{
        uint64_t ids[RETURN_AT_ONCE], n_ids = 0;
        objd_status r = OBJD_OK;

        for (uint64_t i = 0; i < n && r == OBJD_OK; i++) {
                if (is_over(look, &seen[i]))
                        ids[n_ids++] = seen[i].id;
                if (n_ids == RETURN_AT_ONCE || (n_ids && i + 1 == n)) {
                        r = return_some(look, ids, n_ids);
                        n_ids = 0;
                }
        }
        return r;
}

static objd_status look_at_all(struct look *look)
{
        struct seen_lease seen[PAGE_LEASES];
        uint64_t n;

        for (uint64_t start = 0;; start += PAGE_LEASES) {
                objd_status r = see_page(look, start, seen, &n);

                if (r == OBJD_OK && n)
                        r = look_at_page(look, seen, n);
                if (r || n < PAGE_LEASES)
                        return r;
        }
}

/* Says when the next look is due. If leases were taken meanwhile, their deadlines have not been seen: soon. */
static objd_status set_next_look(struct look *look)
{
        uint64_t next = (uint64_t)(look->now + LOOK_AT_LATEST_NS);
        uint64_t soon = (uint64_t)(look->now + look_interval(look->n_leases));
        struct queue queue;
        objd_status r = open_locked(look, false, &queue);

        if (r)
                return r;
        if (word_get(&queue.shm->next_lease) != look->newest)
                next = soon;
        if (look->first_deadline < next)
                next = look->first_deadline;
        txn_set(look->lane, &queue.shm->look_ns, next);
        return txn_commit(look->lane);
}

bool lease_look_is_due(const struct queue *queue)
{
        return (uint64_t)now_ns() >= word_get(&queue->shm->look_ns);
}

/* Whether a getter that has found nothing looks now: always if it is quickly done, else if nobody has for a while. */
static bool empty_look_is_due(struct lane *lane, struct objd_object *object)
{
        struct queue_head_shm *head = queue_head_of(object->shm);
        struct line_shm *line = &object->shm->line;
        uint64_t version = lock_read_begin(line), ctl = word_get(&head->ctl), n;
        int64_t now = now_ns(), looked;
        struct queue_shm *shm;

        if (word_get(&line->serial) != object->serial || !lock_version_is_stable(version) ||
            !lock_read_valid(line, version))
                return true; /* it has just changed: worth a look */
        if (!(ctl & QUEUE_LEASED))
                return false;
        shm = arena_at(lane->arena, (ctl & ~QUEUE_FLAGS) + CHUNK_HEAD, sizeof(*shm));
        if (!shm)
                return false;
        n = word_get(&shm->n_leases);
        looked = (int64_t)word_get(&shm->looked_ns);
        if (!lock_read_valid(line, version) || n <= FEW_LEASES)
                return true;
        return now - looked >= look_interval(n) &&
               __atomic_compare_exchange_n(&shm->looked_ns, (uint64_t *)&looked, (uint64_t)now, false,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

objd_status lease_look(struct lane *lane, struct objd_object *object, bool empty)
{
        struct look look = {
                .lane = lane,
                .object = object->shm,
                .handle = object,
                .serial = object->serial,
                .now = now_ns(),
                .first_deadline = NEVER,
        };
        objd_status r;

        if (empty && !empty_look_is_due(lane, object))
                return OBJD_OK;
        r = look_at_all(&look);
        if (r == OBJD_OK && look.n_leases)
                r = set_next_look(&look);
        return r == OBJD_E_GONE ? object_gone(object) : r;
}

/* If the queue is just being changed, it is the next getter who looks. */
objd_status lease_look_if_due(struct lane *lane, struct objd_object *object)
{
        struct queue_head_shm *head = queue_head_of(object->shm);
        struct line_shm *line = &object->shm->line;
        uint64_t version = lock_read_begin(line), ctl = word_get(&head->ctl), look_ns;
        struct queue_shm *shm;

        if (object_kind(object->config) != OBJD_QUEUE || word_get(&line->serial) != object->serial ||
            !(ctl & QUEUE_LEASED) || !lock_version_is_stable(version) || !lock_read_valid(line, version))
                return OBJD_OK;
        shm = arena_at(lane->arena, (ctl & ~QUEUE_FLAGS) + CHUNK_HEAD, sizeof(*shm));
        if (!shm)
                return OBJD_OK;
        look_ns = word_get(&shm->look_ns);
        if (!lock_read_valid(line, version) || (uint64_t)now_ns() < look_ns)
                return OBJD_OK;
        return lease_look(lane, object, false);
}

objd_status queue_reap(struct lane *lane, struct object_shm *object, uint64_t dead_client)
{
        struct look look = {
                .lane = lane,
                .object = object,
                .serial = word_get(&object->line.serial),
                .dead_client = dead_client,
                .first_deadline = NEVER,
        };
        objd_status r;

        if (!(word_get(&queue_head_of(object)->ctl) & QUEUE_LEASED))
                return OBJD_OK;
        r = look_at_all(&look);
        return r == OBJD_E_GONE ? OBJD_OK : r;
}
