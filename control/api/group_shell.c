/* SPDX-License-Identifier: Apache-2.0 */
/* The module around the group coordinator: its life, its time, its answers. */
#include "control/api/group_shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/log.h"

/* A batch of __consumer_offsets: what the topic takes, without the batch header. */
#define WRITE_MIN (16 << 10)
#define WRITE_MAX (1 << 20)

struct groups *groups_of(struct ctl *c)
{
	return ctl_module_state(c, &ctl_groups);
}

struct grp_now groups_now(const struct groups *g)
{
	return (struct grp_now){.ns = ctl_now_ns(g->c), .wall_ms = ctl_wall_ms(g->c)};
}

static void set_metrics(struct groups *g)
{
	struct grp_stats s = grp_core_stats(g->core);
	struct ctl_metrics *m = &g->c->metrics;
	metric_set(&m->groups, s.groups);
	metric_set(&m->group_members, s.members);
	metric_set(&m->group_offsets, s.offsets);
	metric_set(&m->group_parked_requests, s.parked);
	metric_set(&m->group_memory_bytes, s.bytes);
	metric_set(&m->group_rebalances_total, s.rebalances);
	metric_set(&m->group_members_expired_total, s.expired_members);
	metric_set(&m->group_offsets_expired_total, s.expired_offsets);
	metric_set(&m->group_writes_failed_total, s.failed_writes);
	metric_set(&m->group_refused_total, s.refused);
}

void groups_after(struct groups *g)
{
	uint64_t next_ns = grp_next_ns(g->core);
	set_metrics(g);
	if (next_ns == UINT64_MAX || g->draining)
		ctl_timer_cancel(g->c, &g->timer);
	else
		ctl_timer_arm(g->c, &g->timer, next_ns);
}

static void on_timer(struct ctl *c, struct ctl_timer *timer)
{
	struct groups *g = container_of(timer, struct groups, timer);
	grp_tick(g->core, groups_now(g));
	groups_after(g);
}

static void on_reply(void *ctx, void *token, const void *response)
{
	struct groups *g = ctx;
	ctl_respond(g->c, token, response);
}

void groups_client(const struct msg *m, char host[GROUPS_HOST_SIZE], struct grp_client *client)
{
	_Static_assert(sizeof(m->request.client_host) < GROUPS_HOST_SIZE, "a slash more");
	snprintf(host, GROUPS_HOST_SIZE, "/%s",
		m->request.client_host); /* as Java prints addresses */
	*client = (struct grp_client){
		.id = {.p = m->request.client_id, .len = max_of(m->request.client_id_len, 0)},
		.host = kstr_of(host),
	};
}

static void on_append(void *ctx, struct grp_write *w)
{
	offsets_append(ctx, w);
}

static struct grp_config core_config(const struct config *cfg)
{
	struct grp_config g;
	grp_config_defaults(&g);
	g.min_session_ms = (int32_t)cfg->group_min_session_timeout_ms;
	g.max_session_ms = (int32_t)cfg->group_max_session_timeout_ms;
	g.initial_delay_ms = (int32_t)cfg->group_initial_rebalance_delay_ms;
	g.max_size = cfg->group_max_size;
	g.consumer_session_ms = (int32_t)cfg->group_consumer_session_timeout_ms;
	g.consumer_heartbeat_ms = (int32_t)cfg->group_consumer_heartbeat_interval_ms;
	g.consumer_max_size = cfg->group_consumer_max_size;
	g.offset_metadata_max = cfg->offset_metadata_max_bytes;
	g.offsets_retention_ms = cfg->offsets_retention_minutes * 60000;
	g.max_write_bytes = (uint32_t)min_of(
		max_of(cfg->message_max_bytes - 64, (int64_t)WRITE_MIN), (int64_t)WRITE_MAX);
	CHECK(getrandom(&g.hash_seed, sizeof(g.hash_seed), 0) == sizeof(g.hash_seed));
	return g;
}

static void *groups_open(struct ctl *c, char *err, size_t err_size)
{
	struct groups *g = calloc(1, sizeof(*g));
	if (!g) {
		snprintf(err, err_size, "no memory for the group coordinator");
		return NULL;
	}
	struct grp_config cfg = core_config(ctl_config(c));
	struct grp_sink sink = {.ctx = g, .reply = on_reply, .append = on_append};
	g->c = c;
	ctl_timer_init(&g->timer, on_timer);
	g->core = grp_core_open(&cfg, &sink, groups_now(g));
	if (!g->core) {
		snprintf(err, err_size, "no memory for the group coordinator");
		free(g);
		return NULL;
	}
	groups_after(g);
	return g;
}

/* A topic of the same name with another id is another topic. */
static void groups_image(struct ctl *c, void *state)
{
	struct groups *g = state;
	const struct image *im = ctl_image(c);
	const struct image_topic *t = image_topic_by_name(im, kstr_of(TOPIC_OFFSETS));
	grp_set_image(g->core, im); /* the one before is gone */
	if (g->draining)
		return;
	if (g->parts && (!t || memcmp(&t->id, &g->topic_id, sizeof(t->id)) != 0)) {
		log_warn("groups", "%s is gone: all groups are forgotten", TOPIC_OFFSETS);
		offsets_close(g);
	}
	if (t && !g->parts && !offsets_open(g, t))
		log_error("groups", "no memory to load %s", TOPIC_OFFSETS);
	groups_see_topics(g, im);
	groups_after(g);
}

static bool groups_stop(struct ctl *c, void *state)
{
	struct groups *g = state;
	if (!g->draining) {
		g->draining = true;
		for (uint32_t i = 0; i < g->part_count; i++)
			ctl_timer_cancel(c, &g->parts[i]->retry);
		grp_drain(g->core, groups_now(g));
		groups_after(g);
	}
	for (uint32_t i = 0; i < g->part_count; i++)
		if (g->parts[i]->state != OFFSETS_READY && g->parts[i]->state != OFFSETS_WAIT)
			return false;
	return grp_core_stats(g->core).writes == 0;
}

static void groups_close(struct ctl *c, void *state)
{
	struct groups *g = state;
	g->draining = true;
	ctl_timer_cancel(c, &g->timer);
	offsets_close(g);
	grp_drain(g->core, groups_now(g));
	grp_core_close(g->core);
	free(g->known);
	free(g->known_names);
	free(g);
}

const struct ctl_module ctl_groups = {
	.name = "groups",
	.open = groups_open,
	.image = groups_image,
	.stop = groups_stop,
	.close = groups_close,
};
