/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DescribeClientQuotas (key 48) and AlterClientQuotas (49), versions 0 to 1 (KIP-546). Quotas are
 * part of the metadata: durable before the answer, and every shard enforces them then.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "control/api/pending.h"
#include "kafka/errcode.h"

#define TIMEOUT_MS 30000
#define ENTRIES_MAX 10000 /* in one request */

static const struct kstr user_type = {"user", 4}, client_type = {"client-id", 9},
			 ip_type = {"ip", 2};

/* ---- describe ---- */

typedef struct kp_describe_client_quotas_response_entry entry_t;
typedef struct kp_describe_client_quotas_response_entity entity_t;
typedef struct kp_describe_client_quotas_response_value value_t;

enum match { MATCH_EXACT = 0, MATCH_DEFAULT = 1, MATCH_ANY = 2 };

/* What is asked of one part of an entity. */
struct filter {
	bool given;
	int8_t match;
	struct kstr name;
};
struct filters {
	struct filter user, client;
	bool strict;
	bool nothing; /* entities of a type that has none here */
};

static bool passes(const struct filter *f, bool strict, enum image_quota_part is, const char *name)
{
	if (!f->given)
		return !strict || is == QUOTA_ABSENT;
	switch (f->match) {
	case MATCH_EXACT:
		return is == QUOTA_NAMED && kstr_equal(f->name, kstr_of(name));
	case MATCH_DEFAULT:
		return is == QUOTA_DEFAULT;
	default:
		return is != QUOTA_ABSENT;
	}
}

/* NULL, or why it cannot be answered. */
static const char *read_filters(
	const struct kp_describe_client_quotas_request *req, struct filters *out)
{
	*out = (struct filters){.strict = req->strict};
	bool ip = false;
	for (int32_t i = 0; i < req->n_components; i++) {
		const struct kp_describe_client_quotas_request_component *k = &req->components[i];
		struct filter *f = kstr_equal(k->entity_type, user_type)     ? &out->user
				   : kstr_equal(k->entity_type, client_type) ? &out->client
									     : NULL;
		if (!f && !kstr_equal(k->entity_type, ip_type))
			return "The entity type is not known.";
		if (f ? f->given : ip)
			return "An entity type is there more than once.";
		if (k->match_type < MATCH_EXACT || k->match_type > MATCH_ANY)
			return "The match type is not known.";
		if ((k->match_type == MATCH_EXACT) != (k->match.len >= 0))
			return "A name must be given for an exact match, and only for it.";
		ip |= !f;
		if (f)
			*f = (struct filter){
				.given = true, .match = k->match_type, .name = k->match};
	}
	out->nothing = ip;
	return NULL;
}

static void tell_part(entry_t *e, struct kstr type, enum image_quota_part is, const char *name)
{
	if (is == QUOTA_ABSENT)
		return;
	e->entity[e->n_entity++] = (entity_t){
		.entity_type = type, .entity_name = is == QUOTA_NAMED ? kstr_of(name) : KSTR_NULL};
}

static void tell(const struct quota *q, entry_t *e, entity_t *entities, value_t *values)
{
	*e = (entry_t){.entity = entities, .values = values};
	tell_part(e, user_type, q->entity.user_is, q->entity.user);
	tell_part(e, client_type, q->entity.client_is, q->entity.client);
	for (int k = 0; k < QUOTA_KINDS; k++)
		if (q->value[k] >= 0)
			e->values[e->n_values++] =
				(value_t){.key = kstr_of(quota_key(k)), .value = q->value[k]};
}

/* False: no memory. What it takes (res->entries) is freed by the caller. */
static bool tell_all(const struct quotas *q, const struct filters *f,
	struct kp_describe_client_quotas_response *res)
{
	size_t n = q->count;
	res->n_entries = 0;
	res->entries = malloc(
		(n + 1) * (sizeof(entry_t) + 2 * sizeof(entity_t) + QUOTA_KINDS * sizeof(value_t)));
	if (!res->entries)
		return false;
	entity_t *entities = (entity_t *)(res->entries + n + 1);
	value_t *values = (value_t *)(entities + 2 * (n + 1));
	for (uint32_t i = 0; i < n && !f->nothing; i++) {
		const struct quota *at = &q->v[i];
		if (!passes(&f->user, f->strict, at->entity.user_is, at->entity.user) ||
			!passes(&f->client, f->strict, at->entity.client_is, at->entity.client))
			continue;
		tell(at, &res->entries[res->n_entries++], entities, values);
		entities += 2;
		values += QUOTA_KINDS;
	}
	return true;
}

void ctl_handle_describe_client_quotas(struct ctl *c, struct msg *m)
{
	struct kp_describe_client_quotas_request req;
	struct kp_describe_client_quotas_response res;
	struct filters f;
	if (!ctl_decode(c, m, &req))
		return;
	kp_default_describe_client_quotas_response(&res);
	const char *why = read_filters(&req, &f);
	res.entries = NULL;
	if (why) {
		res.error_code = KE_INVALID_REQUEST;
		res.error_message = kstr_of(why);
		res.n_entries = -1;
	} else if (!tell_all(&c->state.quotas, &f, &res)) {
		ctl_hang_up(c, m);
		return;
	}
	ctl_respond(c, m, &res);
	free(res.entries);
}

/* ---- alter ---- */

typedef struct kp_alter_client_quotas_request_entry change_t;
typedef struct kp_alter_client_quotas_response_entry result_t;

struct alter_state {
	struct kp_alter_client_quotas_request req;
	struct kp_alter_client_quotas_response res;
};

static const char *read_part(const struct kp_alter_client_quotas_request_entity *from,
	enum image_quota_part *is, char *name)
{
	if (*is != QUOTA_ABSENT)
		return "An entity type is there more than once.";
	if (from->entity_name.len > QUOTA_NAME_MAX || from->entity_name.len == 0 ||
		(from->entity_name.len > 0 &&
			memchr(from->entity_name.p, 0, (size_t)from->entity_name.len)))
		return "A name must have 1 to 255 bytes.";
	*is = from->entity_name.len < 0 ? QUOTA_DEFAULT : QUOTA_NAMED;
	if (*is == QUOTA_NAMED)
		kstr_copy(from->entity_name, name, QUOTA_NAME_MAX + 1);
	return NULL;
}

/* NULL, or why it is none. */
static const char *read_entity(const change_t *from, struct quota_entity *e)
{
	*e = (struct quota_entity){0};
	const char *why = from->n_entity > 0 ? NULL : "The entity is empty.";
	for (int32_t i = 0; !why && i < from->n_entity; i++) {
		struct kstr type = from->entity[i].entity_type;
		if (kstr_equal(type, user_type))
			why = read_part(&from->entity[i], &e->user_is, e->user);
		else if (kstr_equal(type, client_type))
			why = read_part(&from->entity[i], &e->client_is, e->client);
		else
			why = kstr_equal(type, ip_type) ? "This broker has no quotas by address."
							: "The entity type is not known.";
	}
	return why;
}

static const char *check_value(enum image_quota_kind kind, double value)
{
	if (!isfinite(value) || value <= 0)
		return "A quota must be more than 0.";
	if (kind != QUOTA_REQUEST && (value != floor(value) || value > 9e15))
		return "A byte rate must be a whole number.";
	return NULL;
}

static const char *apply(struct quotas *quotas, const change_t *from)
{
	struct quota_entity e;
	const char *why = read_entity(from, &e);
	struct quota *q = why ? NULL : quotas_put(quotas, &e);
	if (!why && !q)
		why = "There are too many quotas.";
	struct quota next = q ? *q : (struct quota){0};
	for (int32_t i = 0; !why && i < from->n_ops; i++) {
		enum image_quota_kind kind = quota_kind(from->ops[i].key);
		if (kind == QUOTA_KINDS)
			why = "This broker does not have a quota of this name.";
		else if (from->ops[i].remove)
			next.value[kind] = -1;
		else if (!(why = check_value(kind, from->ops[i].value)))
			next.value[kind] = from->ops[i].value;
	}
	if (!why)
		*q = next;
	return why;
}

/* Whether anything was changed. */
static bool apply_all(struct alter_state *k, struct quotas *quotas)
{
	bool changed = false;
	for (int32_t i = 0; i < k->res.n_entries; i++) {
		const char *why = apply(quotas, &k->req.entries[i]);
		result_t *r = &k->res.entries[i];
		r->error_code = why ? KE_INVALID_REQUEST : KE_NONE;
		r->error_message = why ? kstr_of(why) : KSTR_NULL;
		changed |= !why;
	}
	quotas_prune(quotas);
	return changed;
}

static int16_t store(struct ctl *c, struct quotas *quotas)
{
	char err[CONFIG_ERR_MAX] = "the stored version is another one";
	struct meta_state next = c->state;
	next.quotas = *quotas;
	if (meta_update(c->meta, c->meta_version, &next, err, sizeof(err)) != META_OK) {
		log_error("meta", "a change of the quotas was not stored: %s", err);
		metric_add(&c->metrics.meta_failures_total, 1);
		return KE_KAFKA_STORAGE_ERROR;
	}
	c->meta_version++;
	struct quotas before = c->state.quotas;
	c->state.quotas = *quotas;
	*quotas = before;
	publish_changed(c);
	return KE_NONE;
}

static void respond(struct ctl *c, struct pending *p, bool timed_out)
{
	struct alter_state *k = p->response;
	for (int32_t i = 0; timed_out && i < k->res.n_entries; i++)
		if (!k->res.entries[i].error_code)
			k->res.entries[i].error_code = KE_REQUEST_TIMED_OUT;
	ctl_respond(c, p->m, &k->res);
	free(k->res.entries);
}

/* The answer names every entity as the request did. */
static bool answer_alloc(struct alter_state *k)
{
	size_t n = (size_t)max_of(k->req.n_entries, 0), parts = 0;
	for (size_t i = 0; i < n; i++)
		parts += (size_t)max_of(k->req.entries[i].n_entity, 0);
	struct kp_alter_client_quotas_response_entity *at;
	k->res.entries = n <= ENTRIES_MAX
				 ? calloc(1, (n + 1) * sizeof(result_t) + parts * sizeof(*at))
				 : NULL;
	if (!k->res.entries)
		return false;
	at = (void *)(k->res.entries + n + 1);
	k->res.n_entries = (int32_t)n;
	for (size_t i = 0; i < n; i++) {
		k->res.entries[i].entity = at;
		for (int32_t e = 0; e < k->req.entries[i].n_entity; e++)
			k->res.entries[i].entity[k->res.entries[i].n_entity++] =
				(struct kp_alter_client_quotas_response_entity){
					.entity_type = k->req.entries[i].entity[e].entity_type,
					.entity_name = k->req.entries[i].entity[e].entity_name};
		at += k->res.entries[i].n_entity;
	}
	return true;
}

static void run(struct ctl *c, struct pending *p)
{
	struct alter_state *k = p->response;
	struct quotas quotas;
	kp_default_alter_client_quotas_response(&k->res);
	if (!answer_alloc(k) || quotas_clone(&quotas, &c->state.quotas) < 0) {
		free(k->res.entries);
		ctl_hang_up(c, p->m);
		pending_free(p);
		return;
	}
	bool changed = apply_all(k, &quotas) && !k->req.validate_only;
	int16_t e = changed ? store(c, &quotas) : KE_NONE;
	quotas_fini(&quotas);
	for (int32_t i = 0; e && i < k->res.n_entries; i++)
		if (!k->res.entries[i].error_code) {
			k->res.entries[i].error_code = e;
			k->res.entries[i].error_message = kstr_of(ke_text(e));
		}
	if (changed && !e)
		pending_wait(c, p, TIMEOUT_MS);
	else
		pending_finish(c, p, false);
}

void ctl_handle_alter_client_quotas(struct ctl *c, struct msg *m)
{
	struct pending *p = pending_new(c, m, respond);
	if (!p)
		return;
	struct alter_state *k = arena_alloc(&p->arena, sizeof(*k));
	CHECK(k); /* the arena has slack */
	p->response = k;
	if (ctl_decode_in(c, m, &k->req, &p->arena))
		run(c, p);
	else
		pending_free(p);
}
