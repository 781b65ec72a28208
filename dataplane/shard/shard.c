/* SPDX-License-Identifier: Apache-2.0 */
/* The shard's thread: all that it looks at, in one visible order. */
#include "shard/shard.h"

#include <stdlib.h>
#include <sys/mman.h>

#include <rte_pause.h>

#include "shard/shard_int.h"

#define SHARD_EVENTS 256
#define SHARD_MESSAGES 256
#define SHARD_TICK_NS (1 * NS_PER_MS)
#define SHARD_HOUSEKEEPING_NS (1 * NS_PER_S)
#define SHARD_SCRATCH (64u << 20) /* decompressed records of one batch */
#define SHARD_FETCH_LEAST (16 << 10)
#define SHARD_MAX_MSGS (1u << 20)

/* ---- making and unmaking ---- */

static bool shard_alloc_store(struct shard *s)
{
	s->reqs = calloc(s->cfg.store_reqs, sizeof(*s->reqs));
	if (!s->reqs)
		return false;
	for (uint32_t i = 0; i < s->cfg.store_reqs; i++)
		list_push_back(&s->env.free_reqs, &s->reqs[i].node);
	return true;
}

/* Address space for what a batch may inflate to; little of it is ever touched. */
static bool shard_alloc_scratch(struct shard *s)
{
	void *p = mmap(NULL, SHARD_SCRATCH, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	s->scratch.buf = p;
	s->scratch.size = SHARD_SCRATCH;
	s->scratch.codec = codec_open();
	p = mmap(NULL, SHARD_SCRATCH, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!s->scratch.codec || p == MAP_FAILED)
		return false;
	s->env.recode = p;
	s->env.recode_size = SHARD_SCRATCH;
	return true;
}

struct shard *shard_create(const struct shard_config *cfg)
{
	struct shard *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->cfg = *cfg;
	s->net = cfg->net;
	s->limits = cfg->limits;
	part_env_init(&s->env, &s->blocks, &s->scratch);
	s->env.cold_limit = cfg->cold_blocks;
	s->env.producers = &s->producers;
	part_out_init(&s->out);
	list_init(&s->opening);
	list_init(&s->closing);
	list_init(&s->sessions);
	list_init(&s->muted);
	s->mute_next_ns = UINT64_MAX;
	list_init(&s->runnable);
	bufs_init(&s->bufs, cfg->request_bytes);
	fetch_sessions_init(&s->fetch_sessions, cfg->fetch_session_slots);
	slab_init(&s->session_slab, sizeof(struct session), 64, cfg->max_conns);
	slab_init(&s->request_slab, sizeof(struct request), 16,
		cfg->max_conns + SESSION_MAX_INFLIGHT * 64);
	slab_init(&s->msgs, sizeof(struct msg), 64, SHARD_MAX_MSGS);
	wheel_init(&s->wheel, 0, SHARD_TICK_NS);
	request_host_init(&s->host);
	mesh_port_init(&s->port, cfg->mesh, cfg->index);
	s->quotas = calloc(1, sizeof(*s->quotas));
	if (s->quotas)
		s->quotas->seed = cfg->quota_seed;
	if (!s->quotas || lblock_pool_init(&s->blocks, cfg->log_memory, cfg->log_bytes) != 0 ||
		producer_pool_init(
			&s->producers, PRODUCERS_PER_SHARD, cfg->producer_expiration_ms) != 0 ||
		!shard_alloc_store(s) || !shard_alloc_scratch(s)) {
		shard_destroy(s);
		return NULL;
	}
	cfg->mesh->waker[cfg->index] = &s->net->waker;
	for (uint16_t w = 0; w < cfg->worker_count; w++)
		st_set_waker(cfg->workers[w], cfg->index, &s->net->waker);
	return s;
}

void shard_destroy(struct shard *s)
{
	if (!s)
		return;
	net_fini(s->net);
	shard_topics_fini(s);
	slab_fini(&s->msgs);
	slab_fini(&s->request_slab);
	fetch_sessions_fini(&s->fetch_sessions);
	slab_fini(&s->session_slab);
	bufs_fini(&s->bufs);
	if (s->scratch.codec)
		codec_close(s->scratch.codec);
	if (s->scratch.buf)
		munmap(s->scratch.buf, SHARD_SCRATCH);
	if (s->env.recode)
		munmap(s->env.recode, SHARD_SCRATCH);
	free(s->reqs);
	free(s->quotas);
	producer_pool_fini(&s->producers);
	lblock_pool_fini(&s->blocks);
	free(s);
}

const struct shard_metrics *shard_metrics_of(const struct shard *s)
{
	return &s->metrics;
}

/* ---- one turn ---- */

static void shard_handle_event(struct shard *s, const struct net_event *ev)
{
	struct session *se = ev->user;
	switch (ev->kind) {
	case NET_EV_ACCEPTED:
		session_accepted(s, ev);
		return;
	case NET_EV_CONNECTED: /* nothing here connects */
		return;
	case NET_EV_DATA:
		if (se && !se->closing)
			session_data(se, ev->data.p, ev->data.len);
		return;
	case NET_EV_SENT:
		session_sent(se, (struct request *)(uintptr_t)ev->sent.cookie);
		return;
	case NET_EV_CLOSED:
		if (se)
			session_closed(se);
		return;
	}
}

static uint32_t shard_poll_net(struct shard *s)
{
	struct net_event ev[SHARD_EVENTS];
	uint32_t n = net_poll(s->net, s->now_ns, ev, SHARD_EVENTS);
	for (uint32_t i = 0; i < n; i++) {
		shard_handle_event(s, &ev[i]);
		route_drain(s);
	}
	return n;
}

static uint32_t shard_poll_mesh(struct shard *s)
{
	struct msg *got[SHARD_MESSAGES];
	uint32_t n = mesh_recv(&s->port, got, SHARD_MESSAGES);
	for (uint32_t i = 0; i < n; i++) {
		route_message(s, got[i]);
		route_drain(s);
	}
	return n;
}

static void shard_run_timers(struct shard *s)
{
	struct list fired;
	list_init(&fired);
	wheel_advance(&s->wheel, s->now_ns, &fired);
	struct list *n;
	while ((n = list_pop_front(&fired))) {
		struct wheel_timer *t = list_entry(n, struct wheel_timer, node);
		request_timer_fired(container_of(t, struct request, timer));
		route_drain(s);
	}
}

/* Operations stalled for want of blocks: retried each turn; reading goes on when none is left. Cold
 * reads that wait do not stop the reading. */
static void shard_relieve(struct shard *s)
{
	if (part_env_is_waiting(&s->env)) {
		part_env_turn(&s->env, s->now_ms, &s->out);
		route_drain(s);
	}
	if (!s->memory_short)
		return;
	bool still = false;
	for (uint32_t i = 0; i < s->part_cap; i++) {
		struct shard_part *sp = s->parts[i];
		if (!sp || sp->part.state != PART_LEADER || !part_is_stalled(&sp->part))
			continue;
		part_kick(&sp->part, s->now_ms, &s->out);
		still |= part_is_stalled(&sp->part);
	}
	route_drain(s);
	s->memory_short = still;
	if (!still || !s->pausing)
		session_pause_all(s);
	s->pausing = still;
}

/*
 * A consumer that does not take what it is sent pins log blocks. The more are pinned, the less a
 * response may hold; when producers stall for want of blocks, the slowest consumer goes.
 */
static void shard_adapt_limits(struct shard *s)
{
	unsigned shift = s->pinned_bytes > s->cfg.log_bytes / 2	  ? 5
			 : s->pinned_bytes > s->cfg.log_bytes / 4 ? 2
								  : 0;
	s->limits.fetch_max_bytes =
		max_of(s->cfg.limits.fetch_max_bytes >> shift, SHARD_FETCH_LEAST);
	s->limits.fetch_part_max_bytes =
		max_of(s->cfg.limits.fetch_part_max_bytes >> shift, SHARD_FETCH_LEAST);
	if (s->memory_short && s->pinned_bytes > s->cfg.log_bytes / 4)
		session_shed_slow(s);
}

static void shard_housekeeping(struct shard *s)
{
	if (s->now_ns < s->housekeeping_ns)
		return;
	s->housekeeping_ns = s->now_ns + SHARD_HOUSEKEEPING_NS;
	if (s->cfg.conn_idle_ns > 0)
		session_reap_idle(s);
	session_pump_blocked(s);
	metric_set(&s->metrics.log_blocks, s->blocks.count);
	metric_set(&s->metrics.log_blocks_free, s->blocks.free_count);
	metric_set(&s->metrics.request_memory_bytes, s->bufs.used);
	metric_set(&s->metrics.producers, s->producers.count);
	metric_set(&s->metrics.recoded_batches_total, s->env.recoded);
	metric_set(&s->metrics.producers_forgotten_total, s->producers.forgotten);
}

/* No new connections, end of all sessions. True when no request is left. */
static bool shard_disconnect(struct shard *s)
{
	if (!s->stopping) {
		s->stopping = true;
		net_stop_listening(s->net);
		list_for_each_safe (it, &s->sessions)
			session_close(list_entry(it, struct session, node), true);
	}
	return s->session_count == 0 && s->request_slab.used == 0;
}

/* First the connections of all shards, then their logs: a shard that is gone answers nobody. */
static void shard_stop_turn(struct shard *s)
{
	if (s->disconnect_msg && shard_disconnect(s)) {
		mesh_answer(&s->port, s->disconnect_msg);
		s->disconnect_msg = NULL;
	}
	if (!s->stop_msg || !shard_topics_stop(s))
		return;
	route_drain(s);
	struct msg *m = s->stop_msg;
	s->stop_msg = NULL;
	m->stop.clean = !s->failed;
	s->done = true;
	mesh_answer(&s->port, m);
}

uint32_t shard_turn(struct shard *s, uint64_t now_ns, int64_t now_ms)
{
	s->now_ns = now_ns;
	s->now_ms = now_ms;
	uint32_t work = shard_poll_net(s);
	work += store_collect(s);
	route_drain(s);
	work += shard_poll_mesh(s);
	shard_run_timers(s);
	throttle_turn(s);
	shard_relieve(s);
	shard_adapt_limits(s);
	shard_topics_turn(s);
	upkeep_turn(s);
	shard_stop_turn(s);
	route_drain(s);
	shard_housekeeping(s);
	store_notify(s);
	mesh_flush(&s->port);
	net_flush(s->net, s->now_ns);
	metric_add(&s->metrics.turns_total, 1);
	if (work == 0)
		metric_add(&s->metrics.idle_turns_total, 1);
	return work;
}

/* Sleeps until something can happen. Armed first, then one more look, so that no wake-up is lost.
 */
static void shard_sleep(struct shard *s)
{
	waker_arm(&s->net->waker);
	uint64_t until = min_of(wheel_next_ns(&s->wheel), s->now_ns + SHARD_HOUSEKEEPING_NS);
	until = min_of(until, upkeep_next_ns(s));
	until = min_of(until, s->mute_next_ns);
	if (s->memory_short || part_env_is_waiting(&s->env))
		until = min_of(until, s->now_ns + NS_PER_MS);
	if (mesh_is_quiet(&s->port) && store_collect(s) == 0)
		net_wait(s->net, s->now_ns, until);
	waker_disarm(&s->net->waker);
}

static void *shard_main(void *arg)
{
	struct shard *s = arg;
	uint64_t idle_since = 0;
	while (!s->done) {
		if (shard_turn(s, clock_mono_ns(), clock_wall_ms()) > 0) {
			idle_since = 0;
			continue;
		}
		rte_pause(); /* the other thread of the core has the more */
		if (s->cfg.busy_poll)
			continue;
		if (idle_since == 0)
			idle_since = s->now_ns;
		if (s->now_ns - idle_since >= s->cfg.spin_ns)
			shard_sleep(s);
	}
	/* Its waker and metrics stay: a worker may still be on its way out of waker_notify. */
	net_stop(s->net);
	return NULL;
}

int shard_start(struct shard *s)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	if (s->cfg.cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((unsigned)s->cfg.cpu, &set);
		pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	}
	int rc = pthread_create(&s->thread, &attr, shard_main, s);
	pthread_attr_destroy(&attr);
	if (rc != 0)
		return -rc;
	s->started = true;
	char name[16];
	snprintf(name, sizeof(name), "shard-%u", s->cfg.index);
	pthread_setname_np(s->thread, name);
	return 0;
}

void shard_join(struct shard *s)
{
	if (s->started)
		pthread_join(s->thread, NULL);
}
