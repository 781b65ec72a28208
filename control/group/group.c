/* SPDX-License-Identifier: Apache-2.0 */
/* The coordinator: its groups, its memory, its timers. Everything else is in the files beside. */
#include "control/group/con.h"

#include <stdlib.h>

#define TICK_NS GRP_NS_PER_MS

void grp_config_defaults(struct grp_config *cfg)
{
	*cfg = (struct grp_config){
		.min_session_ms = 6000,
		.max_session_ms = 1800000,
		.initial_delay_ms = 3000,
		.new_member_ms = 300000,
		.max_size = 10000,
		.offset_metadata_max = 4096,
		.offsets_retention_ms = 10080ll * 60000,
		.expiry_interval_ms = 600000,
		.max_write_bytes = 1000000,
		.max_groups = 100000,
		.max_bytes = (size_t)256 << 20,
		.consumer_session_ms = 45000,
		.consumer_heartbeat_ms = 5000,
		.consumer_max_size = 10000,
	};
}

/* ---- memory: counted, and bounded by max_bytes ---- */

struct mem {
	size_t size;
	size_t pad; /* keeps what follows aligned */
};

void *grp_mem_get(struct grp_core *c, size_t n)
{
	if (n > c->cfg.max_bytes || c->stats.bytes > c->cfg.max_bytes - n) {
		c->stats.refused++;
		return NULL;
	}
	struct mem *m = calloc(1, sizeof(*m) + n);
	if (!m)
		return NULL;
	m->size = n;
	c->stats.bytes += n;
	return m + 1;
}

void grp_mem_put(struct grp_core *c, void *p)
{
	if (!p)
		return;
	struct mem *m = (struct mem *)p - 1;
	CHECK(c->stats.bytes >= m->size);
	c->stats.bytes -= m->size;
	free(m);
}

bool grp_str_dup(struct grp_core *c, struct kstr s, struct kstr *out)
{
	*out = KSTR_NULL;
	if (s.len < 0)
		return true;
	char *p = grp_mem_get(c, (size_t)s.len + 1);
	if (!p)
		return false;
	if (s.len > 0)
		memcpy(p, s.p, (size_t)s.len);
	*out = (struct kstr){.p = p, .len = s.len};
	return true;
}

void grp_str_free(struct grp_core *c, struct kstr *s)
{
	if (s->len >= 0)
		grp_mem_put(c, (void *)s->p);
	*s = KSTR_NULL;
}

/* ---- states ---- */

const char *grp_state_name(enum grp_state s)
{
	static const char *const names[GRP_STATES] = {
		[GRP_EMPTY] = "Empty",
		[GRP_PREPARING] = "PreparingRebalance",
		[GRP_COMPLETING] = "CompletingRebalance",
		[GRP_STABLE] = "Stable",
		[GRP_DEAD] = "Dead",
		[GRP_CONSUMER] = "Consumer",
	};
	return names[s];
}

/* The picture in group.h; while the log is replayed a group also goes between Empty and Stable. */
static bool may_become(const struct grp *g, enum grp_state to)
{
	static const uint8_t allowed[GRP_STATES] = {
		[GRP_EMPTY] = 1 << GRP_PREPARING | 1 << GRP_DEAD | 1 << GRP_CONSUMER,
		[GRP_PREPARING] =
			1 << GRP_COMPLETING | 1 << GRP_EMPTY | 1 << GRP_DEAD | 1 << GRP_CONSUMER,
		[GRP_COMPLETING] =
			1 << GRP_STABLE | 1 << GRP_PREPARING | 1 << GRP_DEAD | 1 << GRP_CONSUMER,
		[GRP_STABLE] = 1 << GRP_PREPARING | 1 << GRP_DEAD | 1 << GRP_CONSUMER,
		[GRP_DEAD] = 0,
		[GRP_CONSUMER] = 1 << GRP_EMPTY | 1 << GRP_DEAD | 1 << GRP_STABLE,
	};
	if (allowed[g->state] & 1 << to)
		return true;
	return !grp_is_loaded(g->core, g->partition) && g->state != GRP_DEAD &&
	       (to == GRP_EMPTY || to == GRP_STABLE);
}

void grp_set_state(struct grp *g, enum grp_state to, struct grp_now now)
{
	CHECK(may_become(g, to));
	g->state = to;
	g->state_ms = now.wall_ms;
	if (to == GRP_COMPLETING)
		g->core->stats.rebalances++;
}

/* ---- groups ---- */

bool grp_is_loaded(const struct grp_core *c, uint32_t partition)
{
	return partition < c->partitions && c->loaded[partition];
}

int16_t grp_admit(const struct grp_core *c, struct kstr id)
{
	if (id.len < 0)
		return KE_INVALID_GROUP_ID;
	if (c->draining)
		return KE_COORDINATOR_NOT_AVAILABLE;
	if (c->partitions == 0)
		return KE_NOT_COORDINATOR;
	if (!c->loaded[grp_partition_of(id, c->partitions)])
		return KE_COORDINATOR_LOAD_IN_PROGRESS;
	const struct grp *g = grp_get(c, id);
	if (g && g->deletion)
		return KE_COORDINATOR_LOAD_IN_PROGRESS; /* soon it is another group */
	return KE_NONE;
}

struct grp *grp_get(const struct grp_core *c, struct kstr id)
{
	struct map_node *n = map_find(&c->groups_by_id, id);
	return n ? container_of(n, struct grp, by_id) : NULL;
}

static void group_free(struct grp *g)
{
	struct grp_core *c = g->core;
	CHECK(g->state == GRP_DEAD && g->writes == 0 && list_empty(&g->members));
	list_remove(&g->node);
	map_fini(&g->members_by_id);
	map_fini(&g->members_by_instance);
	map_fini(&g->pending_by_id);
	map_fini(&g->topics_by_name);
	grp_str_free(c, &g->id);
	grp_str_free(c, &g->protocol_type);
	grp_str_free(c, &g->protocol);
	grp_mem_put(c, g);
}

struct grp *grp_new(struct grp_core *c, struct kstr id, struct grp_now now)
{
	if (c->stats.groups >= c->cfg.max_groups) {
		c->stats.refused++;
		return NULL;
	}
	struct grp *g = grp_mem_get(c, sizeof(*g));
	struct kstr own = KSTR_NULL, type = KSTR_NULL;
	if (!g || !grp_str_dup(c, id, &own) || !grp_str_dup(c, kstr_of(""), &type)) {
		grp_str_free(c, &own);
		grp_mem_put(c, g);
		return NULL;
	}
	*g = (struct grp){
		.core = c,
		.id = own,
		.partition = grp_partition_of(own, c->partitions),
		.state = GRP_EMPTY,
		.state_ms = now.wall_ms,
		.protocol_type = type,
		.protocol = KSTR_NULL,
	};
	list_init(&g->members);
	list_init(&g->pending);
	list_init(&g->topics);
	map_init(&g->members_by_id, c->cfg.hash_seed);
	map_init(&g->members_by_instance, c->cfg.hash_seed);
	map_init(&g->pending_by_id, c->cfg.hash_seed);
	map_init(&g->topics_by_name, c->cfg.hash_seed);
	grp_timer_init(&g->join_timer, GRP_T_JOIN);
	grp_timer_init(&g->sync_timer, GRP_T_SYNC);
	list_push_back(&c->groups, &g->node);
	map_insert(&c->groups_by_id, &g->by_id, g->id);
	c->stats.groups++;
	return g;
}

void grp_kill(struct grp *g, int16_t error, struct grp_now now)
{
	struct grp_core *c = g->core;
	grp_set_state(g, GRP_DEAD, now);
	grp_disarm(c, &g->join_timer);
	grp_disarm(c, &g->sync_timer);
	if (g->con)
		con_end(g, error);
	grp_deletion_end(g, error);
	while (!list_empty(&g->members))
		grp_member_drop(
			list_entry(list_front(&g->members), struct grp_member, node), error, now);
	while (!list_empty(&g->pending))
		grp_pending_drop(g, list_entry(list_front(&g->pending), struct grp_pending, node));
	grp_offsets_clear(g);
	g->sync_write = NULL;
	map_remove(&c->groups_by_id, &g->by_id);
	c->stats.groups--;
	list_remove(&g->node);
	list_push_back(&c->dead, &g->node);
	if (g->writes == 0)
		group_free(g);
}

static void kill_all(struct grp_core *c, int16_t error, struct grp_now now)
{
	while (!list_empty(&c->groups))
		grp_kill(list_entry(list_front(&c->groups), struct grp, node), error, now);
}

/* ---- timers ---- */

void grp_timer_init(struct grp_timer *t, enum grp_timer_kind kind)
{
	wheel_timer_init(&t->t);
	t->kind = kind;
}

void grp_arm(struct grp_core *c, struct grp_timer *t, struct grp_now now, int32_t ms)
{
	wheel_arm(&c->wheel, &t->t, now.ns + (uint64_t)max_of(ms, 0) * GRP_NS_PER_MS);
}

void grp_disarm(struct grp_core *c, struct grp_timer *t)
{
	wheel_cancel(&c->wheel, &t->t);
}

static void timer_fired(struct grp_core *c, struct grp_timer *t, struct grp_now now)
{
	switch (t->kind) {
	case GRP_T_EXPIRY:
		grp_expire_all(c, now);
		grp_arm(c, t, now, c->cfg.expiry_interval_ms);
		return;
	case GRP_T_JOIN:
		grp_join_timer_fired(container_of(t, struct grp, join_timer), now);
		return;
	case GRP_T_SYNC:
		grp_sync_timer_fired(container_of(t, struct grp, sync_timer), now);
		return;
	case GRP_T_PENDING:
		grp_pending_expired(container_of(t, struct grp_pending, timer), now);
		return;
	case GRP_T_SESSION:
		grp_session_expired(container_of(t, struct grp_member, session), now);
		return;
	case GRP_T_CON_SESSION:
		con_session_expired(container_of(t, struct con_member, session), now);
		return;
	case GRP_T_CON_REVOKE:
		con_revoke_expired(container_of(t, struct con_member, revoke), now);
		return;
	case GRP_T_CON_REJOIN:
		con_revoke_expired(container_of(t, struct con_member, rejoin), now);
		return;
	}
}

void grp_tick(struct grp_core *c, struct grp_now now)
{
	struct list fired, *n;
	list_init(&fired);
	wheel_advance(&c->wheel, now.ns, &fired);
	while ((n = list_pop_front(&fired)))
		timer_fired(c,
			container_of(list_entry(n, struct wheel_timer, node), struct grp_timer, t),
			now);
}

uint64_t grp_next_ns(const struct grp_core *c)
{
	return wheel_next_ns(&c->wheel);
}

/* ---- the coordinator ---- */

struct grp_core *grp_core_open(
	const struct grp_config *cfg, const struct grp_sink *sink, struct grp_now now)
{
	struct grp_core *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->cfg = *cfg;
	c->sink = *sink;
	list_init(&c->groups);
	list_init(&c->dead);
	map_init(&c->groups_by_id, cfg->hash_seed);
	wheel_init(&c->wheel, now.ns, TICK_NS);
	grp_timer_init(&c->expiry, GRP_T_EXPIRY);
	grp_arm(c, &c->expiry, now, cfg->expiry_interval_ms);
	return c;
}

void grp_core_close(struct grp_core *c)
{
	CHECK(list_empty(&c->groups) && list_empty(&c->dead));
	CHECK(c->stats.bytes == 0 && c->stats.writes == 0 && c->stats.parked == 0);
	grp_disarm(c, &c->expiry);
	CHECK(c->wheel.armed == 0);
	map_fini(&c->groups_by_id);
	free(c->loaded);
	free(c);
}

int grp_set_partitions(struct grp_core *c, uint32_t n, struct grp_now now)
{
	uint8_t *loaded = n > 0 ? calloc(n, 1) : NULL;
	if (n > 0 && !loaded)
		return -1;
	kill_all(c, KE_NOT_COORDINATOR, now);
	free(c->loaded);
	c->loaded = loaded;
	c->partitions = n;
	return 0;
}

void grp_loaded(struct grp_core *c, uint32_t partition, struct grp_now now)
{
	CHECK(partition < c->partitions && !c->loaded[partition]);
	c->loaded[partition] = 1;
	list_for_each_safe (it, &c->groups) {
		struct grp *g = list_entry(it, struct grp, node);
		if (g->partition != partition)
			continue;
		list_for_each (m, &g->members)
			grp_session_restart(list_entry(m, struct grp_member, node), now);
		if (g->con)
			con_loaded(g, now);
		else if (g->unled)
			grp_rebalance_maybe(g, now);
		if (!g->stored && !g->con && g->offsets == 0)
			grp_kill(g, KE_NONE, now); /* all that it had was dropped */
	}
}

void grp_set_image(struct grp_core *c, const struct image *image)
{
	c->image = image;
}

void grp_drain(struct grp_core *c, struct grp_now now)
{
	c->draining = true;
	kill_all(c, KE_COORDINATOR_NOT_AVAILABLE, now);
}

void grp_written(struct grp_core *c, struct grp_now now, struct grp_write *w, int16_t error)
{
	struct grp *g = w->group;
	CHECK(g->writes > 0 && c->stats.writes > 0);
	g->writes--;
	c->stats.writes--;
	c->stats.failed_writes += error != KE_NONE;
	switch ((enum grp_write_kind)w->kind) {
	case GRP_W_COMMIT:
		grp_commit_written(g, w, error);
		break;
	case GRP_W_SYNC:
		grp_sync_written(g, w, error, now);
		break;
	case GRP_W_STATIC:
		grp_static_written(g, w, error, now);
		break;
	case GRP_W_CON:
		con_written(g, w, error);
		break;
	case GRP_W_DELETE_OFFSETS:
		grp_delete_offsets_written(g, w, error);
		break;
	case GRP_W_DELETE_GROUP:
		grp_delete_group_written(g, w, error);
		break;
	case GRP_W_EMPTY:
	case GRP_W_DROP:
		break;
	}
	grp_write_free(c, w);
	if (g->deletion && g->writes == 0)
		grp_deletion_step(g, now);
	else if (g->state == GRP_DEAD && g->writes == 0)
		group_free(g);
}

struct grp_stats grp_core_stats(const struct grp_core *c)
{
	return c->stats;
}

/* ---- which partition ---- */

/* Next code point of UTF-8; what is not UTF-8 reads as U+FFFD, byte by byte. */
static uint32_t utf8_next(const uint8_t *p, size_t left, size_t *taken)
{
	static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
	uint8_t b = p[0];
	size_t n = b < 0x80 ? 0 : b >= 0xf0 && b < 0xf8 ? 3 : b >= 0xe0 && b < 0xf0 ? 2 : 1;
	*taken = 1;
	if (n == 0)
		return b;
	if (b < 0xc0 || b >= 0xf8 || n >= left)
		return 0xfffd;
	uint32_t v = b & (0x3fu >> n);
	for (size_t i = 1; i <= n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0xfffd;
		v = v << 6 | (p[i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return 0xfffd;
	*taken = n + 1;
	return v;
}

int32_t grp_java_hash(struct kstr s)
{
	uint32_t h = 0;
	size_t left = s.len > 0 ? (size_t)s.len : 0, taken;
	for (const uint8_t *p = (const uint8_t *)s.p; left > 0; p += taken, left -= taken) {
		uint32_t v = utf8_next(p, left, &taken);
		if (v >= 0x10000) {
			h = h * 31 + (0xd7c0 + (v >> 10));
			v = 0xdc00 | (v & 0x3ff);
		}
		h = h * 31 + v;
	}
	return (int32_t)h;
}

uint32_t grp_partition_of(struct kstr group_id, uint32_t partitions)
{
	int32_t h = grp_java_hash(group_id);
	/* Utils.abs: the one number without a positive counterpart gives 0 */
	uint32_t positive = h == INT32_MIN ? 0 : (uint32_t)(h < 0 ? -h : h);
	return positive % partitions;
}
