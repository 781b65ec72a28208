/* SPDX-License-Identifier: Apache-2.0 */
/* Storage requests of one shard: their supply, their way out and back. */
#include "shard/shard_int.h"

struct st_req *store_req_new(struct shard *s)
{
	struct list *n = list_pop_front(&s->env.free_reqs);
	if (!n)
		return NULL;
	struct st_req *r = list_entry(n, struct st_req, node);
	*r = (struct st_req){0};
	list_init(&r->node);
	return r;
}

void store_req_free(struct shard *s, struct st_req *r)
{
	list_push_front(&s->env.free_reqs, &r->node);
}

/* The ring to a worker holds all requests that a shard has, so it is never full. */
void store_send(struct shard *s, struct st_req *r)
{
	r->asker = s->cfg.index;
	list_init(&r->node);
	CHECK(r->worker < s->cfg.worker_count);
	upkeep_sent(s, r);
	CHECK(st_push(s->cfg.workers[r->worker], s->cfg.index, r));
	s->st_dirty[r->worker] = true;
}

uint32_t store_collect(struct shard *s)
{
	struct st_req *got[64];
	uint32_t total = 0;
	for (uint16_t w = 0; w < s->cfg.worker_count; w++) {
		uint32_t n = st_pop(s->cfg.workers[w], s->cfg.index, got, array_size(got));
		total += n;
		for (uint32_t i = 0; i < n; i++) {
			struct st_req *r = got[i];
			if (r->op == ST_OPEN || r->op == ST_DELETE || r->op == ST_CLOSE) {
				shard_topics_stored(s, r);
				continue;
			}
			upkeep_answered(s, r);
			struct part *p = r->user;
			bool failed = r->err != ST_OK;
			part_stored(p, r, s->now_ms, &s->out);
			if (failed)
				shard_topics_failed(s, p);
			route_note_stall(s, p);
		}
	}
	return total;
}

void store_notify(struct shard *s)
{
	for (uint16_t w = 0; w < s->cfg.worker_count; w++) {
		if (s->st_dirty[w]) {
			s->st_dirty[w] = false;
			st_notify(s->cfg.workers[w]);
		}
	}
}
