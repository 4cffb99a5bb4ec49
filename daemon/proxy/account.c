/* SPDX-License-Identifier: Apache-2.0 */

/*
 * account.c -- what a client costs the daemon
 */

#include "proxy/account.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if OBJD_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "base/status.h"
#include "base/sys.h"

/* From here on pieces are the kernel's. */
#define MAP_FROM (1u << 20)

/* What of the kernel's is kept for the next piece: no more than this. */
#define SPARE_MAX (32u << 20)

/* A call's smaller allocations are not counted: there are never many of them that grow with what it reads. */
#define COUNT_FROM (64u << 10)

/* ---- Arenas of jemalloc's --------------------------------------------------------------------------------- */

#if OBJD_JEMALLOC

/*
 * Read by jemalloc when the daemon begins. Arenas of its own are few, so that there is room for one a session (4094 in all); what
 * was freed is kept for a second, not for ten, and accounts_rest() sees to it that somebody looks. That goes for pieces of 8 MiB and more, too, which
 * jemalloc would else give back at once: to take new pages for a large value costs more than to copy it, several times.
 */
__attribute__((visibility("default"))) const char *malloc_conf =
        "narenas:4,dirty_decay_ms:1000,muzzy_decay_ms:0,oversize_threshold:0";

/* mallctl() of one arena. */
static void control(const char *name, unsigned arena)
{
        size_t mib[3], n = 3;

        if (mallctlnametomib(name, mib, &n) == 0) {
                mib[1] = arena;
                (void)mallctlbymib(mib, n, NULL, NULL, NULL, 0); /* it is there, and nobody else uses it */
        }
}

/* Only while nothing of the account's is in any arena: a reset must find all of it. */
static void make_arena(struct account *account)
{
        size_t size = sizeof(account->arena);

        if (account->has_arena || account->in_arena)
                return;
        account->has_arena = mallctl("arenas.create", &account->arena, &size, NULL, 0) == 0;
        account->all->n_arenas += account->has_arena;
}

static int flags_of(const struct account *account)
{
        return account->has_arena ? MALLOCX_ARENA(account->arena) | MALLOCX_TCACHE_NONE : 0;
}

static void *take_small(struct account *account, void *old, size_t size)
{
        make_arena(account);
        return old ? rallocx(old, size, flags_of(account)) : mallocx(size, flags_of(account));
}

static void give_small(struct account *account, void *piece)
{
        if (!account->lets_go)
                dallocx(piece, flags_of(account));
}

static bool can_reset(const struct account *account)
{
        return account->has_arena;
}

static void reset_arena(struct account *account)
{
        control("arena.0.reset", account->arena);
        account->all->n_resets++;
}

static void free_arena(struct account *account)
{
        if (!account->has_arena)
                return;
        control("arena.0.destroy", account->arena);
        account->all->n_arenas--;
}

static void give_back_free(const struct accounts *all)
{
        control(all->used ? "arena.0.decay" : "arena.0.purge", MALLCTL_ARENAS_ALL);
}

#else /* a build for tools that bring a malloc() of their own */

static void *take_small(struct account *account, void *old, size_t size)
{
        (void)account;
        return realloc(old, size);
}

static void give_small(struct account *account, void *piece)
{
        (void)account;
        free(piece);
}

static bool can_reset(const struct account *account)
{
        (void)account;
        return false;
}

static void reset_arena(struct account *account)
{
        (void)account;
}

static void free_arena(struct account *account)
{
        (void)account;
}

static void give_back_free(const struct accounts *all)
{
        (void)all;
        (void)malloc_trim(0);
}

#endif

/* ---- Counting --------------------------------------------------------------------------------------------- */

/* What an account with so much in use has of the reserve. */
static size_t beyond(size_t used)
{
        return used > ACCOUNT_FREE ? used - ACCOUNT_FREE : 0;
}

size_t account_room(const struct account *account)
{
        const struct accounts *all = account->all;
        size_t own = SIZE_MAX, common = SIZE_MAX;

        if (all->limit)
                own = account->used < all->limit ? all->limit - account->used : 0;
        if (all->reserve) {
                common = all->reserve_used < all->reserve ? all->reserve - all->reserve_used : 0;
                if (account->used < ACCOUNT_FREE)
                        common += ACCOUNT_FREE - account->used;
        }
        return own < common ? own : common;
}

void account_note(struct account *account, size_t size)
{
        struct accounts *all = account->all;

        all->reserve_used += beyond(account->used + size) - beyond(account->used);
        all->used += size;
        account->used += size;
        if (account->used > account->most)
                account->most = account->used;
}

bool account_charge(struct account *account, size_t size)
{
        if (size > account_room(account)) {
                account->refused = true;
                return false;
        }
        account_note(account, size);
        return true;
}

void account_give(struct account *account, size_t size)
{
        struct accounts *all = account->all;

        all->reserve_used -= beyond(account->used) - beyond(account->used - size);
        all->used -= size;
        account->used -= size;
        all->is_dirty |= size > ACCOUNT_HAND;
}

objd_status account_fail(struct account *account, objd_status status)
{
        const struct accounts *all = account->all;

        if (!account->refused)
                return status;
        account->refused = false;
        account->all->n_refused++;
        if (all->limit && account->used + ACCOUNT_FREE >= all->limit)
                return fail(
                        OBJD_E_LIMIT,
                        "the client takes %zu KiB of the daemon's memory, and may take %zu (--client-memory)",
                        account->used >> 10, all->limit >> 10);
        return fail(
                OBJD_E_LIMIT,
                "for this the client would need more of the daemon's memory: it takes %zu KiB and may take %zu "
                "(--client-memory); all clients together take %zu and may take %zu (--proxy-memory)",
                account->used >> 10, all->limit >> 10, all->reserve_used >> 10, all->reserve >> 10);
}

/* ---- Memory that is malloc()'s ------------------------------------------------------------------------------ */

/* What stands before it; the size of it keeps what follows aligned. */
struct paid {
        struct account *account;
        size_t size;
};

void *account_alloc(struct account *account, size_t size)
{
        struct paid *paid;

        size += sizeof(*paid);
        if (account && !account_charge(account, size))
                return NULL;
        paid = malloc(size);
        if (!paid) {
                if (account)
                        account_give(account, size);
                return NULL;
        }
        *paid = (struct paid){ account ? account_ref(account) : NULL, size };
        return paid + 1;
}

void account_free(void *memory)
{
        struct paid *paid = (struct paid *)memory - 1;

        if (paid->account) {
                account_give(paid->account, paid->size);
                account_unref(paid->account);
        }
        free(paid);
}

/* ---- Pieces ----------------------------------------------------------------------------------------------- */

size_t account_arena_part(size_t size)
{
        return size >= MAP_FROM ? 0 : size;
}

static void *map(size_t size)
{
        void *piece =
                mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        return piece == MAP_FAILED ? NULL : piece;
}

static void *remap(void *old, size_t old_size, size_t new_size)
{
        void *piece = mremap(old, old_size, new_size, MREMAP_MAYMOVE);

        return piece == MAP_FAILED ? NULL : piece;
}

/* A piece that lies in the spare may have less than all of it, and grows there. */
static void *change_large(struct accounts *all, void *old, size_t old_size, size_t new_size)
{
        struct account_spare *spare = &all->spare;
        void *piece;

        if (!old || old != spare->memory)
                return remap(old, old_size, new_size);
        if (new_size <= spare->size)
                return old;
        piece = remap(old, spare->size, new_size);
        if (piece)
                *spare = (struct account_spare){ piece, new_size, .is_taken = spare->is_taken };
        return piece;
}

static void *take_large(struct accounts *all, size_t size)
{
        struct account_spare *spare = &all->spare;
        void *piece;

        if (!spare->memory || spare->is_taken)
                return map(size);
        piece = change_large(all, spare->memory, 0, size);
        spare->is_taken = piece != NULL;
        return piece;
}

/* The first that is given back becomes the spare, where there is none. */
static void give_large(struct accounts *all, void *piece, size_t size)
{
        struct account_spare *spare = &all->spare;

        if (piece == spare->memory) {
                size = spare->size;
                *spare = (struct account_spare){ 0 };
        }
        if (!spare->memory && size <= SPARE_MAX)
                *spare = (struct account_spare){ piece, size, .was_taken = true };
        else
                (void)munmap(piece, size); /* as it was mapped */
}

static void give_back_spare(struct account_spare *spare)
{
        if (spare->memory && !spare->is_taken) {
                (void)munmap(spare->memory, spare->size);
                *spare = (struct account_spare){ 0 };
        }
}

void accounts_rest(struct accounts *all)
{
        if (!all->spare.was_taken)
                give_back_spare(&all->spare);
        all->spare.was_taken = false;
        if (!all->is_dirty)
                return;
        all->is_dirty = false;
        give_back_free(all);
}

static void *take(struct account *account, size_t size)
{
        void *piece;

        if (size >= MAP_FROM)
                return take_large(account->all, size);
        piece = take_small(account, NULL, size);
        account->in_arena += piece ? size : 0;
        return piece;
}

static void give(struct account *account, void *piece, size_t size)
{
        if (size >= MAP_FROM) {
                give_large(account->all, piece, size);
        } else {
                give_small(account, piece);
                account->in_arena -= size;
        }
}

/* To another size; the old piece is there as before if there is no memory. */
static void *change(struct account *account, void *old, size_t old_size, size_t new_size)
{
        void *piece;

        if (old_size >= MAP_FROM && new_size >= MAP_FROM)
                return change_large(account->all, old, old_size, new_size);
        if (old_size < MAP_FROM && new_size < MAP_FROM) {
                piece = take_small(account, old, new_size);
                if (piece)
                        account->in_arena += new_size - old_size;
                return piece;
        }
        piece = take(account, new_size);
        if (piece) {
                memcpy(piece, old, old_size < new_size ? old_size : new_size);
                give(account, old, old_size);
        }
        return piece;
}

void *account_resize(void *context, void *old, size_t old_size, size_t new_size)
{
        struct account *account = context;
        size_t more = new_size > old_size ? new_size - old_size : 0;
        void *piece;

        if (!new_size) {
                give(account, old, old_size);
                account_give(account, old_size);
                return NULL;
        }
        if (!account_charge(account, more))
                return NULL;
        piece = old ? change(account, old, old_size, new_size) : take(account, new_size);
        if (!piece)
                account_give(account, more);
        else if (old_size > new_size)
                account_give(account, old_size - new_size);
        return piece;
}

/* ---- What is there already --------------------------------------------------------------------------------------------- */

void *account_take_hand(struct account *account)
{
        if (account->hand_is_taken || !account_charge(account, ACCOUNT_HAND))
                return NULL;
        account->hand_is_taken = true;
        return account->hand;
}

void account_give_hand(struct account *account)
{
        account->hand_is_taken = false;
        account_give(account, ACCOUNT_HAND);
}

void *account_take_desk(struct account *account, size_t size)
{
        struct accounts *all = account->all;
        uint32_t i = 0;

        while (i < ACCOUNT_DESK && all->desk_taken >> i & 1)
                i++;
        if (size > ACCOUNT_DESK_PIECE || i == ACCOUNT_DESK || !account_charge(account, size))
                return NULL;
        if (!all->desk[i])
                all->desk[i] = malloc(ACCOUNT_DESK_PIECE);
        if (!all->desk[i]) {
                account_give(account, size);
                return NULL;
        }
        all->desk_taken |= 1u << i;
        return all->desk[i];
}

bool account_give_desk(struct account *account, const void *piece, size_t size)
{
        for (uint32_t i = 0; i < ACCOUNT_DESK; i++)
                if (piece == account->all->desk[i]) {
                        account->all->desk_taken &= ~(1u << i);
                        account_give(account, size);
                        return true;
                }
        return false;
}

/* ---- Resets ----------------------------------------------------------------------------------------------- */

void account_begin_reset(struct account *account)
{
        account->lets_go = can_reset(account);
}

void account_end_reset(struct account *account)
{
        if (account->lets_go)
                reset_arena(account);
        account->lets_go = false;
}

/* ---- What a call takes ------------------------------------------------------------------------------------- */

static __thread struct account *at_work;
static void *(*plain_alloc)(size_t size);
static void *(*plain_resize)(void *p, size_t size);

static bool may_take(size_t size)
{
        if (!at_work || size < COUNT_FROM)
                return true;
        if (at_work->working + size > account_room(at_work)) {
                at_work->refused = true;
                return false;
        }
        at_work->working += size;
        return true;
}

static void *counted_alloc(size_t size)
{
        return may_take(size) ? plain_alloc(size) : NULL;
}

static void *counted_resize(void *p, size_t size)
{
        size_t old = at_work && p ? malloc_usable_size(p) : 0;

        return size <= old || may_take(size - old) ? plain_resize(p, size) : NULL;
}

/* The table is the process's; threads that are not between account_begin() and account_end() see no difference. */
static void stand_between(void)
{
        plain_alloc = sys.alloc;
        plain_resize = sys.resize;
        sys.alloc = counted_alloc;
        sys.resize = counted_resize;
}

void account_begin(struct account *account)
{
        account->working = 0;
        at_work = account;
}

void account_end(struct account *account)
{
        account->all->is_dirty |= account->working > 0;
        at_work = NULL;
}

/* ---- Accounts ---------------------------------------------------------------------------------------------- */

void accounts_init(struct accounts *all, size_t limit, size_t reserve)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void)pthread_once(&once, stand_between);
        *all = (struct accounts){ .limit = limit, .reserve = reserve };
}

void accounts_deinit(struct accounts *all)
{
        give_back_spare(&all->spare);
        for (uint32_t i = 0; i < ACCOUNT_DESK; i++) {
                free(all->desk[i]);
                all->desk[i] = NULL;
        }
}

struct account *account_new(struct accounts *all)
{
        struct account *account = sys.alloc(sizeof(*account));

        if (!account)
                return NULL;
        account->all = all;
        account->n_refs = 1;
        return account;
}

struct account *account_ref(struct account *account)
{
        account->n_refs++;
        return account;
}

void account_unref(struct account *account)
{
        if (!account || --account->n_refs)
                return;
        account_give(account, account->used);
        free_arena(account);
        free(account);
}
