/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's process: what a shard and a storage worker do around the pure cores, on one thread.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* The attempts of a run are fewer, so that none is forgotten. */
#define PRODUCERS_KNOWN 16384u

/* --- between partition and engine
 * ------------------------------------------------------------------- */

/* ack-before-flush: the partition gets its answer now, the engine works on a copy of the request.
 */
static bool ack_at_once(struct sim *s, struct st_req *r)
{
	struct st_req *copy = NULL;
	for (uint32_t i = 0; i < SIM_COPIES && !copy; i++)
		copy = s->copies[i].log ? NULL : &s->copies[i];
	if (!copy)
		return false;
	*copy = *r;
	copy->user = NULL;
	lspan_ref(copy->append.span);
	sim_api_ask(&s->api, copy);
	r->err = ST_OK;
	list_push_back(&s->from_engine, &r->node);
	return true;
}

static void to_engine(struct sim *s, struct st_req *r)
{
	s->stats.cold_reads += r->op == ST_READ;
	bool early = s->mutation == SIM_ACK_BEFORE_FLUSH && r->op == ST_APPEND;
	if (!early || !ack_at_once(s, r))
		sim_api_ask(&s->api, r);
}

static void mutate_answer(struct sim *s, struct st_req *r)
{
	if (s->mutation == SIM_ACK_FAILED && r->op == ST_APPEND)
		r->err = ST_OK;
	if (s->mutation == SIM_SWAP_READ && r->op == ST_READ && r->err == ST_OK &&
		sim_one_in(s, 20)) {
		struct lspan at = lspan_skip(r->read.span, sim_below(s, r->read.span.len));
		at.first->data[at.off] ^= 1;
	}
}

/* The engine's answers go into the ring; copies that only it knows end here. */
static void take_answers(struct sim *s, struct list *done)
{
	struct list *n;
	while ((n = list_pop_front(done))) {
		struct st_req *r = list_entry(n, struct st_req, node);
		if (r->user) {
			mutate_answer(s, r);
			list_push_back(&s->from_engine, n);
			continue;
		}
		lspan_unref(&s->pool, r->append.span);
		r->log = NULL;
	}
}

static void answer(struct sim *s, struct st_req *r)
{
	if (topics_answer(s, r))
		return;
	struct part *p = r->user;
	sim_event(s, "stored", p->part_id, r->op, r->err);
	part_stored(p, r, sim_now_ms(s), &s->out);
	part_check(p);
	if (s->lives_of[p->part_id] == PART_UP)
		chk_start(&s->check, p->part_id, p->log_start_offset);
}

static bool ring_moves(struct sim *s, uint64_t *at_us)
{
	if (*at_us > s->now_us)
		return false;
	*at_us = s->mix.ring_us && sim_one_in(s, 4) ? s->now_us + 1 + sim_below(s, s->mix.ring_us)
						    : 0;
	return true;
}

/* One round. True when something moved. */
static bool pump_once(struct sim *s)
{
	struct list *n;
	struct list done;
	bool moved = !list_empty(&s->out.store) || !list_empty(&s->out.done);
	list_init(&done);
	topics_step(s);
	list_splice(&s->to_engine, &s->out.store);
	while ((n = list_pop_front(&s->out.done)))
		clients_done(s, list_entry(n, struct part_op, node));
	if (!list_empty(&s->to_engine) && ring_moves(s, &s->to_engine_us)) {
		while ((n = list_pop_front(&s->to_engine)))
			to_engine(s, list_entry(n, struct st_req, node));
		moved = true;
	}
	sim_api_step(&s->api, sim_now_ms(s), s->now_us, &done);
	if (sim_disk_is_stopped(s->disk))
		return false; /* what the engine says now, nobody hears */
	moved |= !list_empty(&done);
	take_answers(s, &done);
	if (!list_empty(&s->from_engine) && ring_moves(s, &s->from_engine_us)) {
		while ((n = list_pop_front(&s->from_engine)))
			answer(s, list_entry(n, struct st_req, node));
		moved = true;
	}
	return moved;
}

void node_pump(struct sim *s)
{
	part_env_turn(&s->env, sim_now_ms(s), &s->out);
	for (uint32_t i = 0; i < s->mix.parts; i++) {
		if (part_is_stalled(&s->parts[i])) {
			s->stats.stalls++;
			part_kick(&s->parts[i], sim_now_ms(s), &s->out);
		}
	}
	while (!sim_disk_is_stopped(s->disk) && pump_once(s) && !sim_is_over(s)) {
	}
}

uint64_t node_next_us(const struct sim *s)
{
	uint64_t t = sim_disk_next_us(s->disk);
	if (!list_empty(&s->to_engine))
		t = min_of(t, max_of(s->to_engine_us, s->now_us));
	if (!list_empty(&s->from_engine))
		t = min_of(t, max_of(s->from_engine_us, s->now_us));
	if (sim_shim_has_done(&s->shim))
		t = s->now_us;
	if (part_env_is_waiting(&s->env))
		t = min_of(t, s->now_us + 1000);
	uint32_t wait_ms = sim_api_wait_ms(&s->api);
	return wait_ms ? min_of(t, s->now_us + wait_ms * 1000ull) : t;
}

uint64_t node_disk_failures(const struct sim *s)
{
	struct sim_disk_counts c = sim_disk_counts(s->disk);
	return c.failed_flushes + c.failed_writes;
}

/* --- start
 * ---------------------------------------------------------------------------------------------- */

static void memory_init(struct sim *s)
{
	size_t size = (size_t)s->mix.blocks * LBLOCK_SIZE;
	CHECK(lblock_pool_init(&s->pool, s->memory, size) == 0);
	part_env_init(&s->env, &s->pool, &s->scratch);
	CHECK(producer_pool_init(&s->producers_known, PRODUCERS_KNOWN, INT64_MAX) == 0);
	s->producers_known.unnoted_all = s->mix.note_bytes * s->mix.parts;
	s->producers_known.unnoted_least = s->producers_known.unnoted_most = s->mix.note_bytes;
	s->env.producers = &s->producers_known;
	memset(s->reqs, 0, s->mix.reqs * sizeof(*s->reqs));
	for (uint32_t i = 0; i < s->mix.reqs; i++)
		list_push_back(&s->env.free_reqs, &s->reqs[i].node);
	part_out_init(&s->out);
	list_init(&s->to_engine);
	list_init(&s->from_engine);
	s->to_engine_us = s->from_engine_us = 0;
}

static bool storage_start(struct sim *s)
{
	char err[512];
	const struct sim_api_config cfg = {
		.io = &s->shim.io,
		.dirs = s->dirs,
		.dir_count = (uint16_t)s->mix.dirs,
		.seed = s->seed,
		.max_logs = SIM_PARTS,
		.journal_bytes = s->mix.journal_bytes,
		.staging = s->staging,
	};
	bool ok = sim_api_start(&s->api, &cfg, err, sizeof(err));
	if (!ok && !sim_disk_is_stopped(s->disk))
		sim_broken(s, "the store does not open: %s", err);
	return ok;
}

void node_tick(struct sim *s)
{
	uint64_t t = node_next_us(s);
	if (sim_disk_is_stopped(s->disk))
		return;
	if (t == UINT64_MAX) {
		sim_broken(s, "nothing is under way, but something is waited for");
		return;
	}
	s->now_us = max_of(s->now_us, t);
	sim_disk_set_time(s->disk, s->now_us);
	node_pump(s);
}

/* Fetches the whole log: all that was known must be there, and what else is there is known from now
 * on. */
static bool reread(struct sim *s, uint32_t part)
{
	struct part *p = &s->parts[part];
	int64_t offset = p->log_start_offset;
	while (offset < p->high_watermark && !sim_is_over(s)) {
		struct call *c = &s->calls[0];
		*c = (struct call){.part = part, .client = &s->clients[0]};
		c->op = (struct part_op){.kind = PART_FETCH, .current_leader_epoch = -1, .user = c};
		c->op.fetch.offset = offset;
		c->op.fetch.max_bytes = 1u << 20;
		c->op.fetch.at_least_one = true;
		s->clients[0].in_flight++;
		part_start(p, &c->op, sim_now_ms(s), &s->out);
		node_pump(s);
		while (c->op.active && !sim_is_over(s) && !sim_disk_is_stopped(s->disk))
			node_tick(s);
		if (sim_is_over(s) || sim_disk_is_stopped(s->disk))
			return false;
		if (c->op.error || c->op.fetch.span.len == 0) {
			sim_broken(s,
				"partition %u: after a restart, a fetch at %lld gives error %d",
				part, (long long)offset, c->op.error);
			return false;
		}
		uint8_t head[BATCH_HEADER_SIZE];
		struct lspan span = c->op.fetch.span;
		for (offset = 0; span.len > 0; span = lspan_skip(span, batch_size(head))) {
			lspan_copy(span, 0, head, sizeof(head));
			offset = batch_next_offset(head);
		}
		clients_release(s, true);
	}
	chk_reread(&s->check, part);
	return !sim_is_over(s);
}

bool node_start(struct sim *s)
{
	const struct sim_disk_faults gentle = {
		.short_write = s->mix.faults.short_write, .delay_us = s->mix.faults.delay_us};
	s->up = true;
	s->stats.lives++;
	sim_event(s, "start", s->stats.lives, 0, 0);
	sim_disk_set_faults(s->disk, &gentle);
	s->shim.recovering = true;
	memory_init(s);
	bool ok = storage_start(s) && topics_start(s);
	s->shim.recovering = false;
	for (uint32_t i = 0; ok && i < s->mix.parts; i++)
		ok = reread(s, i);
	sim_disk_set_faults(s->disk, &s->mix.faults);
	s->disk_failures_before = node_disk_failures(s);
	return ok;
}

/* --- end
 * --------------------------------------------------------------------------------------------------
 */

void node_drain(struct sim *s)
{
	for (;;) {
		node_pump(s);
		clients_release(s, true);
		if (sim_is_over(s) || sim_disk_is_stopped(s->disk) ||
			(clients_are_idle(s) && topics_are_idle(s)))
			return;
		if (node_next_us(s) == UINT64_MAX && list_empty(&s->out.store)) {
			bool stalled = false;
			for (uint32_t i = 0; i < s->mix.parts; i++)
				stalled |= part_is_stalled(&s->parts[i]);
			if (stalled)
				sim_broken(s, "an operation never ends: all memory is free");
			return; /* only waits are left */
		}
		node_tick(s);
	}
}

/* Answers that are in the ring, on their way to a partition. */
static bool answers_are_out(const struct sim *s)
{
	for (uint32_t i = 0; i < s->mix.parts; i++)
		if (s->parts[i].reqs_out > 0)
			return true;
	return false;
}

/* Closes everything in order: all memory must be free then. */
static bool stop_cleanly(struct sim *s)
{
	clients_release(s, true);
	while (!topics_are_idle(s) && !sim_is_over(s) && !sim_disk_is_stopped(s->disk))
		node_tick(s);
	for (uint32_t i = 0; i < s->mix.parts; i++) {
		struct part *p = &s->parts[i];
		node_pump(s);
		while (!part_close(p, KE_NOT_LEADER_OR_FOLLOWER, &s->out)) {
			node_pump(s);
			if (!part_close(p, KE_NOT_LEADER_OR_FOLLOWER, &s->out))
				node_tick(s);
			clients_release(s, true);
			if (sim_is_over(s) || sim_disk_is_stopped(s->disk))
				return false;
		}
	}
	node_pump(s);
	clients_release(s, true);
	while ((!sim_api_is_idle(&s->api) || answers_are_out(s)) && !sim_is_over(s) &&
		!sim_disk_is_stopped(s->disk))
		node_tick(s);
	if (sim_is_over(s) || sim_disk_is_stopped(s->disk))
		return false;
	for (uint32_t i = 0; i < s->mix.parts; i++)
		part_fini(&s->parts[i]);
	if (s->pool.free_count != s->pool.count || s->env.cached_blocks != 0)
		sim_broken(s, "%u of %u blocks are free after a clean stop", s->pool.free_count,
			s->pool.count);
	sim_api_stop(&s->api);
	node_pump(s);
	while (!sim_api_is_stopped(&s->api)) {
		node_tick(s);
		if (sim_is_over(s) || sim_disk_is_stopped(s->disk))
			return false;
	}
	sim_api_close(&s->api);
	return true;
}

void node_end(struct sim *s, enum sim_end how)
{
	bool in_order = how == SIM_CLEAN && stop_cleanly(s);
	if (sim_is_over(s))
		return;
	bool power =
		how == SIM_POWER || (!in_order && how == SIM_CLEAN) || sim_disk_is_stopped(s->disk);
	sim_event(s, "end", how, power, in_order);
	*(in_order ? &s->stats.clean_stops : power ? &s->stats.crashes : &s->stats.kills) += 1;
	sim_disk_cut(s->disk, power && !in_order);
	sim_shim_cut(&s->shim);
	memset(s->copies, 0, sizeof(s->copies));
	clients_cut(s);
	sim_api_drop(&s->api);
	lblock_pool_fini(&s->pool);
	producer_pool_fini(&s->producers_known);
	sim_disk_restart(s->disk);
	s->up = false;
}
