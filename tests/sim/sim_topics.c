/* SPDX-License-Identifier: Apache-2.0 */
/* The partitions' logs: opened at a start, deleted and created anew while the broker runs. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "sim.h"

static void ask_open(struct sim *s, uint32_t part)
{
	struct st_req *r = &s->opens[part];
	*r = (struct st_req){.op = ST_OPEN, .user = r};
	snprintf(r->open.topic, sizeof(r->open.topic), "topic");
	r->open.topic_id.b[0] = 7;
	memcpy(r->open.topic_id.b + 8, &s->incarnations[part], sizeof(s->incarnations[part]));
	r->open.partition = (int32_t)part;
	r->open.dir = (uint16_t)(part % s->mix.dirs);
	r->open.create = s->lives_of[part] != PART_DELETING;
	sim_api_ask(&s->api, r);
}

/* The log is gone; the next one of the partition is created. */
static void renew(struct sim *s, uint32_t part)
{
	sim_event(s, "deleted", part, s->incarnations[part], 0);
	chk_deleted(&s->check, part);
	s->stats.deleted++;
	s->incarnations[part]++;
	s->exists[part] = false;
	s->lives_of[part] = PART_COMING;
	ask_open(s, part);
}

static void opened(struct sim *s, struct st_req *r, uint32_t part)
{
	struct part *p = &s->parts[part];
	sim_event(s, "opened", part, r->err, (uint64_t)r->open.log_end_offset);
	if (s->lives_of[part] == PART_DELETING && r->err == ST_E_NOT_FOUND) {
		renew(s, part); /* the process died when it was being deleted, and it was */
		return;
	}
	if (r->err != ST_OK) {
		bool excused = s->lives_of[part] == PART_COMING;
		if (!excused)
			sim_broken(s, "partition %u does not open: error %d", part, (int)r->err);
	} else {
		s->exists[part] = true;
		chk_reopened(&s->check, part, r->open.log_start_offset, r->open.log_end_offset);
	}
	s->lives_of[part] = PART_UP;
	part_opened(p, r, sim_now_ms(s), &s->out);
}

bool topics_answer(struct sim *s, struct st_req *r)
{
	if (r < s->opens || r >= s->opens + SIM_PARTS)
		return false;
	uint32_t part = (uint32_t)(r - s->opens);
	if (r->op == ST_OPEN) {
		opened(s, r, part);
		return true;
	}
	struct part *p = &s->parts[part];
	part_fini(p);
	part_init(p, &s->env, part, 0, &s->mix.config, 1);
	if (r->err == ST_OK) {
		renew(s, part);
		return true;
	}
	/* it failed: the partition stays away until the next start, which finds it or not */
	*r = (struct st_req){.op = ST_OPEN, .err = ST_E_OFFLINE};
	part_opened(p, r, sim_now_ms(s), &s->out);
	return true;
}

void topics_delete(struct sim *s, uint32_t part)
{
	struct part *p = &s->parts[part];
	if (s->lives_of[part] == PART_UP && p->state == PART_LEADER)
		s->lives_of[part] = PART_ENDING;
}

void topics_step(struct sim *s)
{
	for (uint32_t i = 0; i < s->mix.parts; i++) {
		struct part *p = &s->parts[i];
		if (s->lives_of[i] != PART_ENDING ||
			!part_close(p, KE_NOT_LEADER_OR_FOLLOWER, &s->out) ||
			!list_empty(&s->out.store) || !list_empty(&s->out.done))
			continue;
		s->lives_of[i] = PART_DELETING;
		s->opens[i] = (struct st_req){.op = ST_DELETE, .log = p->log, .user = &s->opens[i]};
		list_push_back(&s->to_engine, &s->opens[i].node);
	}
}

bool topics_are_idle(const struct sim *s)
{
	for (uint32_t i = 0; i < s->mix.parts; i++)
		if (s->lives_of[i] != PART_UP && s->parts[i].state != PART_OFFLINE)
			return false;
	return true;
}

bool topics_start(struct sim *s)
{
	for (uint32_t i = 0; i < s->mix.parts; i++) {
		part_init(&s->parts[i], &s->env, i, 0, &s->mix.config, 1);
		if (s->lives_of[i] != PART_DELETING)
			s->lives_of[i] = PART_UP;
		ask_open(s, i);
	}
	node_pump(s);
	for (uint32_t i = 0; i < s->mix.parts; i++) {
		while (s->parts[i].state == PART_OPENING) {
			node_tick(s);
			if (sim_is_over(s) || sim_disk_is_stopped(s->disk))
				return false;
		}
		if (s->parts[i].state != PART_LEADER && !sim_is_over(s))
			sim_broken(s, "partition %u is not there after a start", i);
	}
	return !sim_is_over(s);
}
