/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * proxy.h -- the exported calls on connections that have no mapping: each becomes a message to the daemon and back
 *
 * The functions have the parameters of those in objd.h that call them, and look at them as those do.
 */

#include "object/object.h"
#include "rpc/client.h"

/* ---- What they are made of (proxy.c) ----------------------------------------------------------------------- */

struct items_builder;

/* A call that has been answered. answer is NULL if it has not been; the other parts are only valid with it. */
struct proxied {
        struct rpc_reply reply;
        const struct answer *answer;
};

/*
 * Runs a call and gives its status, with the daemon's sentence. ret is to be ended in any case: a status other than OBJD_OK may have
 * an answer, too.
 */
objd_status proxy_run(objd_conn *conn, struct call *call, struct proxied *ret);
void proxied_end(struct proxied *proxied);

/* The same on an object of that kind, without an answer to be looked at. */
objd_status proxy_do(objd_object *object, objd_kind kind, struct call *call);

/* How long to wait for a sign of the daemon, where calls may wait so long for living holders. */
int64_t proxy_patience(int64_t timeout_ns);

/* @return OBJD_OK, OBJD_E_KIND, with the sentence that a handle gives; and OBJD_E_INVAL, always */
objd_status proxy_check_kind(const objd_object *object, objd_kind kind, const char *function);
objd_status proxy_no_argument(enum call_code code);

/* The call's object, if it is of that kind, and takes keys and values of these types. @return OBJD_OK, OBJD_E_KIND, OBJD_E_TYPE */
objd_status proxy_of(const objd_object *object, objd_kind kind, struct call *call);

/* One value comes back, into the caller's buffer. */
objd_status proxy_get_value(objd_object *object, objd_kind kind, struct call *call, objd_value *ret_value,
                            objd_buf *buf, uint64_t *ret_number);
objd_status proxy_get_number(objd_object *object, objd_kind kind, struct call *call, uint64_t *ret_number);
objd_status proxy_get_items(objd_object *object, objd_kind kind, struct call *call, objd_items **ret_items);

/* Copies values that came back to where the caller wants them. */
objd_status proxy_copy_values(const objd_value *from, size_t n, objd_value *const *ret, objd_buf *buf);
objd_status proxy_copy_items(const struct answer *answer, objd_items **ret_items);
objd_status proxy_add_items(struct items_builder *builder, const struct answer *answer);

/* ---- Connections and objects ------------------------------------------------------------------------------- */

/* Whether this url is one that leads to the daemon's proxy. */
bool proxy_is_url(const char *url);
objd_status proxy_connect(const char *url, objd_conn **ret_conn);
void proxy_close(objd_conn *conn);
objd_status proxy_stats(objd_conn *conn, objd_stats *ret_stats);

objd_status proxy_create(objd_conn *conn, const char *name, objd_kind kind, const objd_config *config,
                         objd_object **ret_object);
objd_status proxy_open(objd_conn *conn, const char *name, objd_kind kind, objd_object **ret_object);
objd_status proxy_open_or_create(objd_conn *conn, const char *name, objd_kind kind, const objd_config *config,
                                 objd_object **ret_object);
objd_status proxy_open_ref(objd_conn *conn, objd_ref ref, objd_kind kind, objd_object **ret_object);
objd_status proxy_delete(objd_conn *conn, const char *name);
objd_status proxy_destroy(objd_object *object);
objd_status proxy_set_name(objd_object *object, const char *name);
objd_status proxy_info(objd_object *object, objd_info *ret_info);
objd_status proxy_list(objd_conn *conn, const char *prefix, objd_info **ret_infos, size_t *ret_len);
objd_ref proxy_ref_of(const objd_object *object);

/* For who loads a dump: of anonymous objects of this session's own. */
objd_status proxy_set_state(objd_object *object, const struct call_state *state);

/*
 * They come to stay, all of them or none: list is a dict, likewise of this session's, with their refs by the names that they are to have, or
 * by numbers where they are to have none. It is gone then. replaces: what has such a name is deleted; else it is OBJD_E_EXISTS.
 * @return OBJD_OK, OBJD_E_EXISTS, OBJD_E_ACCESS, OBJD_E_BUSY; OBJD_E_GONE: it has been done, or all of them are gone
 */
objd_status proxy_publish(objd_object *list, bool replaces);

/* ---- Reports ----------------------------------------------------------------------------------------------- */

/* Gets the report piece by piece. */
typedef objd_status (*proxy_report_fn)(void *context, const void *bytes, size_t size);

/*
 * A report that the daemon makes on the store, of the object with that name (or "#place.serial", NULL: all): what there are, and
 * what they look like, is its business and the caller's. Of asked, number and position are set here.
 * @return OBJD_OK, OBJD_E_GONE (the daemon has been replaced meanwhile), OBJD_E_LIMIT, OBJD_E_ACCESS, OBJD_E_NODAEMON, and what
 *         fn says
 */
objd_status proxy_report(objd_conn *conn, const struct call_report *asked, const char *object,
                         proxy_report_fn fn, void *context);

/* ---- Dicts ------------------------------------------------------------------------------------------------- */

objd_status proxy_dict_get(objd_object *dict, const objd_value *key, objd_value *ret_value, objd_buf *buf);
objd_status proxy_dict_set(objd_object *dict, const objd_value *key, const objd_value *value);
objd_status proxy_dict_set_new(objd_object *dict, const objd_value *key, const objd_value *value);
objd_status proxy_dict_cas(objd_object *dict, const objd_value *key, const objd_value *expected,
                           const objd_value *value);
objd_status proxy_dict_add_int(objd_object *dict, const objd_value *key, int64_t delta, int64_t *ret_sum);
objd_status proxy_dict_add_float(objd_object *dict, const objd_value *key, double delta, double *ret_sum);
objd_status proxy_dict_del(objd_object *dict, const objd_value *key);
objd_status proxy_dict_pop(objd_object *dict, const objd_value *key, objd_value *ret_value, objd_buf *buf);
objd_status proxy_dict_pop_any(objd_object *dict, objd_value *ret_key, objd_value *ret_value, objd_buf *buf);
objd_status proxy_dict_contains(objd_object *dict, const objd_value *key, bool *ret_found);
objd_status proxy_dict_len(objd_object *dict, uint64_t *ret_len);
objd_status proxy_dict_clear(objd_object *dict);
objd_status proxy_dict_set_many(objd_object *dict, const objd_value *keys, const objd_value *values,
                                size_t n);
objd_status proxy_dict_get_many(objd_object *dict, const objd_value *keys, size_t n, objd_items **ret_items);
objd_status proxy_dict_copy(objd_object *dict, objd_items **ret_items);

/* The next entries of a cursor. position is what the last call left there, ret_size bytes of it, none at the beginning. */
#define PROXY_POSITION_MAX 64
objd_status proxy_dict_step(objd_object *dict, void *position, size_t *size, bool *ret_end,
                            objd_items **ret_items);

/* ---- Lists ------------------------------------------------------------------------------------------------- */

objd_status proxy_list_append(objd_object *list, const objd_value *value);
objd_status proxy_list_prepend(objd_object *list, const objd_value *value);
objd_status proxy_list_extend(objd_object *list, const objd_value *values, size_t n);
objd_status proxy_list_insert(objd_object *list, int64_t index, const objd_value *value);
objd_status proxy_list_get(objd_object *list, int64_t index, objd_value *ret_value, objd_buf *buf);
objd_status proxy_list_set(objd_object *list, int64_t index, const objd_value *value);
objd_status proxy_list_del(objd_object *list, int64_t index);
objd_status proxy_list_pop(objd_object *list, int64_t index, objd_value *ret_value, objd_buf *buf);
objd_status proxy_list_remove(objd_object *list, const objd_value *value);
objd_status proxy_list_slice(objd_object *list, int64_t start, int64_t stop, objd_items **ret_items);
objd_status proxy_list_slice_del(objd_object *list, int64_t start, int64_t stop);
objd_status proxy_list_len(objd_object *list, uint64_t *ret_len);
objd_status proxy_list_clear(objd_object *list);
objd_status proxy_list_index(objd_object *list, const objd_value *value, int64_t start, int64_t stop,
                             uint64_t *ret_index);
objd_status proxy_list_count(objd_object *list, const objd_value *value, uint64_t *ret_count);
objd_status proxy_list_reverse(objd_object *list);
objd_status proxy_list_sort(objd_object *list, bool descending);

/* ---- Queues ------------------------------------------------------------------------------------------------ */

objd_status proxy_queue_put(objd_object *queue, const objd_value *value, int64_t timeout_ns);
objd_status proxy_queue_put_priority(objd_object *queue, const objd_value *value, int64_t priority,
                                     int64_t timeout_ns);
objd_status proxy_queue_put_many(objd_object *queue, const objd_value *values, size_t n, int64_t timeout_ns);
objd_status proxy_queue_get(objd_object *queue, objd_value *ret_value, objd_buf *buf, int64_t timeout_ns);
objd_status proxy_queue_get_many(objd_object *queue, size_t max, objd_items **ret_items, int64_t timeout_ns);
objd_status proxy_queue_get_lease(objd_object *queue, int64_t lease_ns, objd_value *ret_value, objd_buf *buf,
                                  uint64_t *ret_lease, int64_t timeout_ns);
objd_status proxy_queue_peek(objd_object *queue, objd_value *ret_value, objd_buf *buf);
objd_status proxy_queue_len(objd_object *queue, uint64_t *ret_len);
objd_status proxy_queue_close(objd_object *queue);
objd_status proxy_queue_poison(objd_object *queue);
objd_status proxy_queue_task_done(objd_object *queue);
objd_status proxy_queue_join(objd_object *queue, int64_t timeout_ns);
objd_status proxy_queue_ack(objd_object *queue, uint64_t lease);
objd_status proxy_queue_give_back(objd_object *queue, uint64_t lease);

/* ---- Locks ------------------------------------------------------------------------------------------------- */

objd_status proxy_lock_take(objd_object *lock, int64_t timeout_ns, uint64_t *ret_token);
objd_status proxy_lock_give(objd_object *lock);
objd_status proxy_lock_owner(objd_object *lock, bool *ret_taken, int64_t *ret_pid, uint64_t *ret_token);

/* ---- Batches ----------------------------------------------------------------------------------------------- */

/* Runs it as one step. Values that come back are copied into the operations' buffers. */
objd_status proxy_commit(objd_batch *batch, size_t *ret_failed);

objd_status proxy_submit(objd_batch *batch);
objd_status proxy_collect(objd_conn *conn, int64_t timeout_ns, objd_batch **ret_batch);
objd_status proxy_collect_fd(objd_conn *conn, int *ret_fd);
void proxy_cancel(objd_batch *batch);
void proxy_give_up(objd_batch *batch);
