/* SPDX-License-Identifier: Apache-2.0 */
/* The log of __consumer_offsets, and the lives of its coordinator. */
#include <stdlib.h>
#include <string.h>

#include "gs.h"

static struct kbytes copy_of(struct kbytes b)
{
	if (b.len < 0)
		return KBYTES_NULL;
	uint8_t *p = malloc((size_t)b.len + 1);
	CHECK(p);
	if (b.len > 0)
		memcpy(p, b.p, (size_t)b.len);
	return (struct kbytes){.p = p, .len = b.len};
}

static void store(struct gs *w, const struct grp_write *write)
{
	struct kbytes key, value;
	uint32_t at = 0;
	while (grp_write_next(write, &at, &key, &value)) {
		if (w->n_log == w->room_log) {
			w->room_log = w->room_log * 2 + 64;
			w->log = realloc(w->log, w->room_log * sizeof(*w->log));
			CHECK(w->log);
		}
		w->log[w->n_log++] = (struct gs_record){.partition = write->partition,
			.key = copy_of(key),
			.value = copy_of(value)};
		if (value.len < 0)
			gs_book_dropped(w, key);
	}
}

static void record_free(struct gs_record *r)
{
	free((void *)r->key.p);
	free((void *)r->value.p);
}

void gs_log_free(struct gs *w)
{
	for (uint32_t i = 0; i < w->n_log; i++)
		record_free(&w->log[i]);
	free(w->log);
}

static bool same_key(const struct gs_record *a, const struct gs_record *b)
{
	return a->partition == b->partition && a->key.len == b->key.len &&
	       memcmp(a->key.p, b->key.p, (size_t)a->key.len) == 0;
}

/* Only the last record of each key stays, as compaction leaves it. */
static void compact(struct gs *w)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < w->n_log; i++) {
		bool last = true;
		for (uint32_t k = i + 1; k < w->n_log && last; k++)
			last = !same_key(&w->log[i], &w->log[k]);
		if (last)
			w->log[kept++] = w->log[i];
		else
			record_free(&w->log[i]);
	}
	w->n_log = kept;
}

/* ---- writes ---- */

struct landing {
	uint64_t life;
	uint32_t partition;
};

/* The oldest write of the partition is through. */
static void land(struct gs *w, void *arg)
{
	struct landing l = *(struct landing *)arg;
	free(arg);
	if (!w->core || l.life != w->life)
		return;
	struct list *n = list_pop_front(&w->writes[l.partition]);
	CHECK(n);
	struct grp_write *write = list_entry(n, struct grp_write, node);
	int16_t error = gs_one_in(w, w->healed ? 0 : w->fail_in) ? KE_KAFKA_STORAGE_ERROR : KE_NONE;
	if (!error)
		store(w, write);
	grp_written(w->core, w->now, write, error);
}

void gs_append(void *ctx, struct grp_write *write)
{
	struct gs *w = ctx;
	struct landing *l = malloc(sizeof(*l));
	CHECK(l);
	*l = (struct landing){.life = w->life, .partition = write->partition};
	list_push_back(&w->writes[write->partition], &write->node);
	gs_at(w, gs_some_ms(w, gs_one_in(w, w->healed ? 0 : 8) ? 1000 : 5), land, l, free);
}

/* ---- lives ---- */

static void load(struct gs *w, void *arg)
{
	struct landing l = *(struct landing *)arg;
	free(arg);
	if (!w->core || l.life != w->life)
		return;
	for (uint32_t i = 0; i < w->n_log; i++)
		if (w->log[i].partition == l.partition)
			GS_MUST(w, grp_replay(w->core, l.partition, w->log[i].key, w->log[i].value),
				"a record of the log is not understood");
	grp_loaded(w->core, l.partition, w->now);
	gs_book_loaded(w, l.partition);
}

void gs_core_start(struct gs *w)
{
	struct grp_sink sink = {.ctx = w, .reply = gs_reply, .append = gs_append};
	w->core = grp_core_open(&w->cfg, &sink, w->now);
	CHECK(w->core && grp_set_partitions(w->core, GS_OFFSETS_PARTS, w->now) == 0);
	w->life++;
	grp_set_image(w->core, w->image);
	if (gs_one_in(w, 2))
		compact(w);
	for (uint32_t p = 0; p < GS_OFFSETS_PARTS; p++) {
		struct landing *l = malloc(sizeof(*l));
		CHECK(l);
		*l = (struct landing){.life = w->life, .partition = p};
		gs_at(w, gs_some_ms(w, 500), load, l, free);
	}
}

void gs_core_kill(struct gs *w)
{
	struct list *n;
	w->rebalances += grp_core_stats(w->core).rebalances;
	w->muted = true;
	for (uint32_t p = 0; p < GS_OFFSETS_PARTS; p++) {
		bool durable = true;
		list_for_each (it, &w->writes[p]) {
			struct grp_write *write = list_entry(it, struct grp_write, node);
			durable &= !gs_one_in(w, 3);
			if (!durable)
				break;
			store(w, write);
			const struct gs_call *call = write->token;
			if (call && gs_consumer_asked(w, call))
				gs_consumer_write_survives(w, call);
			else if (call && gs_old_asked(w, call))
				gs_old_write_survives(w, call);
			else if (call && call->api == GS_COMMIT)
				gs_book_committed(w, call);
		}
	}
	grp_drain(w->core, w->now);
	for (uint32_t p = 0; p < GS_OFFSETS_PARTS; p++)
		while ((n = list_pop_front(&w->writes[p])))
			grp_written(w->core, w->now, list_entry(n, struct grp_write, node),
				KE_NOT_COORDINATOR);
	grp_core_close(w->core); /* CHECKs that no memory is left */
	w->core = NULL;
	w->muted = false;
	gs_calls_lost(w);
	gs_beats_lost(w);
	gs_old_asks_lost(w);
}
