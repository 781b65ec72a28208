/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client quotas: what comes from producers is charged to its client when it is looked at, so that
 * what follows on the connection waits; all else just before it is answered. A client over its
 * quota is told for how long to be quiet, and its connection is not read for that time (KIP-219).
 * One list of muted connections, looked through when the first one is due: no timer for each.
 */
#include "shard/shard_int.h"

#include "kafka/messages.h"

/* When a connection is heard again, rounded up: many of them share a look through the list. */
#define MUTE_GRAIN_NS (16 * NS_PER_MS)
/* One response takes at most what the quota gives in so many seconds (Kafka: quota.window.num). */
#define FETCH_WINDOW_S 10

static const struct kstr anonymous = {"ANONYMOUS", 9};

static bool has_quotas(const struct shard *s)
{
	return s->image && s->image->quota_count > 0;
}

uint64_t throttle_clock_ns(const struct shard *s)
{
	return has_quotas(s) ? clock_mono_ns() : 0;
}

void throttle_note_client(struct session *se, struct kstr client_id)
{
	if (!has_quotas(se->shard))
		return;
	se->client_id_len = (uint8_t)min_of(max_of(client_id.len, 0), QUOTA_CLIENT_MAX);
	if (se->client_id_len > 0)
		memcpy(se->client_id, client_id.p, se->client_id_len);
}

static struct kstr client_of(const struct session *se)
{
	return (struct kstr){.p = se->client_id, .len = se->client_id_len};
}

static uint16_t shards_of(const struct shard *s)
{
	return mesh_control(s->cfg.mesh);
}

void throttle_limits(struct request *r)
{
	struct shard *s = r->shard;
	int level;
	if (!has_quotas(s) || !r->session || r->api.hdr.key != KP_FETCH)
		return;
	double rate =
		image_quota_find(s->image, anonymous, client_of(r->session), QUOTA_FETCH, &level);
	if (rate <= 0)
		return;
	double most = max_of(rate * FETCH_WINDOW_S / shards_of(s), 1.0);
	r->limits = s->limits;
	r->limits.fetch_max_bytes = (int32_t)min_of(most, (double)r->limits.fetch_max_bytes);
	r->api.limits = &r->limits;
}

/* ---- muting ---- */

static void mute(struct session *se, uint64_t ns)
{
	struct shard *s = se->shard;
	uint64_t until_ns = align_up(s->now_ns + ns, MUTE_GRAIN_NS);
	se->mute_until_ns = session_is_muted(se) ? max_of(se->mute_until_ns, until_ns) : until_ns;
	if (!list_linked(&se->mute_node))
		list_push_back(&s->muted, &se->mute_node);
	s->mute_next_ns = min_of(s->mute_next_ns, se->mute_until_ns);
}

void throttle_turn(struct shard *s)
{
	if (s->now_ns < s->mute_next_ns)
		return;
	struct list due, *n;
	list_init(&due);
	s->mute_next_ns = UINT64_MAX;
	list_for_each_safe (it, &s->muted) {
		struct session *se = list_entry(it, struct session, mute_node);
		if (se->mute_until_ns > s->now_ns) {
			s->mute_next_ns = min_of(s->mute_next_ns, se->mute_until_ns);
			continue;
		}
		list_remove(it);
		list_push_back(&due, it);
	}
	while ((n = list_pop_front(&due))) {
		session_pump(list_entry(n, struct session, mute_node));
		route_drain(s);
	}
}

/* ---- charging ---- */

static uint64_t fetched_bytes(const struct request *r)
{
	uint64_t bytes = 0;
	list_for_each (it, &r->ops) {
		const struct msg *m = list_entry(it, struct msg, asker);
		bytes +=
			m->op.kind == PART_FETCH && m->stage == MSG_BACK ? m->op.fetch.span.len : 0;
	}
	return bytes;
}

static uint64_t charge(struct request *r, enum image_quota_kind kind, uint64_t amount)
{
	struct shard *s = r->shard;
	return quota_use(s->quotas, s->image, shards_of(s), anonymous, client_of(r->session), kind,
		amount, s->now_ns);
}

/* So long has the client of r to be quiet. */
static void tell(struct request *r, uint64_t ns)
{
	if (ns < NS_PER_MS)
		return;
	r->api.throttle_ms = max_of(r->api.throttle_ms, (int32_t)(ns / NS_PER_MS));
	mute(r->session, ns);
}

void throttle_start(struct request *r)
{
	if (has_quotas(r->shard) && r->session && r->api.hdr.key == KP_PRODUCE)
		tell(r, charge(r, QUOTA_PRODUCE, r->frame_len));
}

void throttle_charge(struct request *r)
{
	struct shard *s = r->shard;
	struct session *se = r->session;
	if (!has_quotas(s) || !se)
		return;
	tell(r, charge(r, QUOTA_REQUEST, r->cost_ns));
	if (r->api.hdr.key == KP_FETCH)
		tell(r, charge(r, QUOTA_FETCH, fetched_bytes(r)));
	metric_add(&s->metrics.throttled_total, r->api.throttle_ms > 0);
}

/* ---- telling ---- */

void throttle_tell(const struct request *r, uint8_t *response, size_t len)
{
	const struct kp_api *api = r->api.hdr.api;
	int16_t version = r->api.hdr.version;
	size_t at = 4 + (kp_api_response_header(api, version) >= 1 ? 1 : 0);
	if (r->api.throttle_ms == 0 || len < at + 4)
		return;
	for (int i = 0; i < KP_MESSAGE_COUNT; i++) {
		const struct kp_message *m = &kp_messages[i];
		const struct kp_field *f = m->response.desc->fields;
		if (m->key == api->key && m->response.desc->n_fields > 0 &&
			strcmp(f->name, "throttle_time_ms") == 0 && version >= f->min &&
			version <= f->max)
			be32_put(response + at, (uint32_t)r->api.throttle_ms);
	}
}
