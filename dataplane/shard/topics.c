/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Partitions come and go with the metadata image. A partition new to the image is opened (ST_OPEN
 * with create); one that it has no more finishes its operations and is closed. Logs are deleted
 * (ST_DELETE) when the image has their topic as gone, and for no other reason; those that are not
 * open, because the broker was restarted since, are opened for that. MSG_IMAGE is answered when
 * nothing of this is left to do.
 */
#include "shard/shard_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "kafka/errcode.h"

struct shard_part *shard_topics_part(struct shard *s, uint32_t part_id)
{
	return part_id < s->part_cap ? s->parts[part_id] : NULL;
}

static bool shard_topics_reserve(struct shard *s, uint32_t part_id)
{
	if (part_id < s->part_cap)
		return true;
	uint32_t cap = max_of(s->part_cap, 64u);
	while (cap <= part_id)
		cap *= 2;
	struct shard_part **parts = realloc(s->parts, cap * sizeof(struct shard_part *));
	if (!parts)
		return false;
	for (uint32_t i = s->part_cap; i < cap; i++)
		parts[i] = NULL;
	s->parts = parts;
	s->part_cap = cap;
	return true;
}

static struct part_config shard_topics_config(const struct image_topic *t)
{
	const struct image_topic_config *c = &t->config;
	return (struct part_config){
		.max_message_bytes = (int32_t)c->max_message_bytes,
		.segment_bytes = (uint64_t)c->segment_bytes,
		.segment_ms = c->segment_ms,
		.log_append_time = c->log_append_time,
		.recode = (uint8_t)(c->compression + 1),
		.recode_level = c->compression_level,
		.timestamp_before_max_ms = c->timestamp_before_max_ms,
		.timestamp_after_max_ms = c->timestamp_after_max_ms,
		.policy =
			{
				.remove = c->cleanup_delete,
				.compact = c->cleanup_compact,
				.retention_ms = c->retention_ms,
				.retention_bytes = c->retention_bytes,
				.delete_retention_ms = c->delete_retention_ms,
				.min_compaction_lag_ms = c->min_compaction_lag_ms,
				.max_compaction_lag_ms = c->max_compaction_lag_ms,
				.min_dirty_ppm = c->min_dirty_ppm,
				.segment_bytes = (uint64_t)c->segment_bytes,
			},
	};
}

static struct shard_part *shard_topics_add(struct shard *s, const struct image_topic *t,
	const struct image_partition *ip, int32_t index)
{
	struct shard_part *sp = NULL;
	if (shard_topics_reserve(s, ip->part_id))
		sp = calloc(1, sizeof(*sp));
	if (!sp) {
		log_error(
			"shard", "no memory for partition %.*s-%d", t->name.len, t->name.p, index);
		return NULL;
	}
	struct part_config config = shard_topics_config(t);
	part_init(&sp->part, &s->env, ip->part_id, ip->worker, &config, ip->leader_epoch);
	sp->topic_id = t->id;
	sp->partition = index;
	CHECK(t->name.len <= ST_TOPIC_MAX);
	memcpy(sp->topic, t->name.p, (size_t)t->name.len);
	s->parts[ip->part_id] = sp;
	s->part_count++;
	list_init(&sp->node);
	list_push_back(&s->opening, &sp->node);
	return sp;
}

/* The index of the partition's topic in image->gone; -1: it is not gone. */
static int64_t shard_topics_gone(const struct shard *s, const struct uuid *topic_id)
{
	for (uint32_t i = 0; i < s->image->gone_count; i++)
		if (uuid_equal(&s->image->gone[i].id, topic_id))
			return i;
	return -1;
}

/* Logs of the deleted topic are still there: control keeps it in mind. */
static void shard_topics_undeleted(struct shard *s, const struct uuid *topic_id)
{
	int64_t i = s->image_msg ? shard_topics_gone(s, topic_id) : -1;
	if (i >= 0)
		s->image_msg->image.undeleted[i] = true;
}

/* True when the image still has this very partition here. */
static bool shard_topics_keeps(const struct shard *s, const struct shard_part *sp)
{
	const struct image_topic *t = image_topic_by_id(s->image, &sp->topic_id);
	return t && sp->partition < t->partition_count &&
	       t->partitions[sp->partition].part_id == sp->part.part_id &&
	       t->partitions[sp->partition].shard == s->cfg.index;
}

/* Clients that were quicker than the first image have waited for it. */
static void start_sessions(struct shard *s)
{
	list_for_each_safe (it, &s->sessions)
		session_pump(list_entry(it, struct session, node));
}

/* Partitions that the image has no more. */
static void shard_topics_apply_closed(struct shard *s)
{
	for (uint32_t i = 0; i < s->part_cap; i++) {
		struct shard_part *sp = s->parts[i];
		if (!sp || sp->part.state == PART_CLOSING || shard_topics_keeps(s, sp))
			continue;
		list_remove(&sp->node);
		list_push_back(&s->closing, &sp->node);
		part_close(&sp->part, KE_UNKNOWN_TOPIC_OR_PARTITION, &s->out);
	}
}

static void shard_topics_apply_topic(struct shard *s, const struct image_topic *t)
{
	for (int32_t i = 0; i < t->partition_count; i++) {
		const struct image_partition *ip = &t->partitions[i];
		if (ip->shard != s->cfg.index)
			continue;
		struct shard_part *sp = shard_topics_part(s, ip->part_id);
		if (sp) {
			struct part_config config = shard_topics_config(t);
			part_configure(&sp->part, &config);
		} else if (!shard_topics_add(s, t, ip, i)) {
			s->open_failed++;
		}
	}
}

/* What a deleted topic has left here from before the start, or from a deletion that failed. */
static void shard_topics_apply_gone(struct shard *s, const struct image_topic *t)
{
	for (int32_t i = 0; i < t->partition_count; i++) {
		const struct image_partition *ip = &t->partitions[i];
		if (ip->shard != s->cfg.index || shard_topics_part(s, ip->part_id))
			continue;
		struct shard_part *sp = shard_topics_add(s, t, ip, i);
		if (!sp) {
			shard_topics_undeleted(s, &t->id);
			continue;
		}
		sp->gone = true;
		part_close(&sp->part, KE_UNKNOWN_TOPIC_OR_PARTITION, &s->out);
	}
}

void shard_topics_apply(struct shard *s, struct msg *m)
{
	CHECK(!s->image_msg);
	bool first = !s->image;
	s->image_msg = m;
	s->image = m->image.image;
	s->open_failed = 0;
	shard_topics_apply_closed(s);
	for (uint32_t i = 0; i < s->image->topic_count; i++)
		shard_topics_apply_topic(s, &s->image->topics[i]);
	for (uint32_t i = 0; i < s->image->gone_count; i++)
		shard_topics_apply_gone(s, &s->image->gone[i]);
	shard_topics_turn(s);
	if (first) {
		upkeep_begin(s);
		start_sessions(s);
	}
}

/* ---- partitions whose log has failed ---- */

static void shard_topics_set_offline(struct shard *s, struct shard_part *sp)
{
	sp->offline = true;
	s->untold = true;
	metric_add(&s->metrics.partitions_offline, 1);
}

void shard_topics_failed(struct shard *s, struct part *p)
{
	struct shard_part *sp = container_of(p, struct shard_part, part);
	if (p->state != PART_OFFLINE || sp->offline)
		return;
	log_error("shard", "partition %s-%d is offline: its log has failed", sp->topic,
		sp->partition);
	shard_topics_set_offline(s, sp);
}

/* Tells control about all that it does not know of; one message at a time. */
static void shard_topics_tell(struct shard *s)
{
	if (!s->untold || s->offline_msg || s->stopping)
		return;
	struct msg *m = shard_msg_new(s, MSG_OFFLINE, NULL);
	uint32_t *ids = m ? malloc(s->part_count * sizeof(*ids)) : NULL;
	if (!ids) { /* tried again in the next turn */
		if (m)
			shard_msg_free(s, m);
		return;
	}
	s->untold = false;
	m->offline.part_ids = ids;
	m->offline.count = 0;
	for (uint32_t i = 0; i < s->part_cap; i++) {
		struct shard_part *sp = s->parts[i];
		if (!sp || !sp->offline || sp->told)
			continue;
		sp->told = true;
		ids[m->offline.count++] = i;
	}
	s->offline_msg = m;
	mesh_ask(&s->port, mesh_control(s->cfg.mesh), m);
}

void shard_topics_told(struct shard *s, struct msg *m)
{
	CHECK(s->offline_msg == m);
	s->offline_msg = NULL;
	free(m->offline.part_ids);
	shard_msg_free(s, m);
}

/* ---- to the storage and back ---- */

static bool shard_topics_send_open(struct shard *s, struct shard_part *sp)
{
	struct st_req *r = store_req_new(s);
	if (!r)
		return false;
	r->op = ST_OPEN;
	r->worker = sp->part.worker;
	r->user = sp;
	memcpy(r->open.topic, sp->topic, sizeof(r->open.topic));
	r->open.topic_id = sp->topic_id;
	r->open.partition = sp->partition;
	r->open.create = !sp->gone;
	list_remove(&sp->node);
	sp->open_sent = true;
	s->opens_out++;
	store_send(s, r);
	return true;
}

static void shard_topics_forget(struct shard *s, struct shard_part *sp)
{
	part_fini(&sp->part);
	if (sp->offline)
		metric_add(&s->metrics.partitions_offline, (uint64_t)-1);
	list_remove(&sp->node);
	s->parts[sp->part.part_id] = NULL;
	s->part_count--;
	free(sp);
}

/* A closing partition with nothing in flight: deletes its log when its topic is gone, closes it
 * otherwise. */
static bool shard_topics_send_end(struct shard *s, struct shard_part *sp)
{
	if (!sp->part.log) { /* it could not be opened */
		shard_topics_undeleted(s, &sp->topic_id);
		shard_topics_forget(s, sp);
		return true;
	}
	struct st_req *r = store_req_new(s);
	if (!r)
		return false;
	bool gone = !s->stopping && shard_topics_gone(s, &sp->topic_id) >= 0;
	r->op = gone ? ST_DELETE : ST_CLOSE;
	r->worker = sp->part.worker;
	r->log = sp->part.log;
	r->user = sp;
	sp->end_sent = true;
	store_send(s, r);
	return true;
}

void shard_topics_turn(struct shard *s)
{
	struct list *n;
	while ((n = list_front(&s->opening)) &&
		shard_topics_send_open(s, list_entry(n, struct shard_part, node)))
		;
	list_for_each_safe (it, &s->closing) {
		struct shard_part *sp = list_entry(it, struct shard_part, node);
		if (!sp->end_sent && (sp->opened || !sp->open_sent) &&
			part_close(&sp->part, KE_UNKNOWN_TOPIC_OR_PARTITION, &s->out) &&
			!shard_topics_send_end(s, sp))
			break;
	}
	shard_topics_tell(s);
	metric_set(&s->metrics.partitions, s->part_count);
	if (!s->image_msg || !list_empty(&s->opening) || !list_empty(&s->closing) ||
		s->opens_out > 0)
		return;
	struct msg *m = s->image_msg;
	s->image_msg = NULL;
	m->image.failed = s->open_failed;
	mesh_answer(&s->port, m);
}

/* An answer to what was opened in order to be deleted. */
static void shard_topics_gone_opened(struct shard *s, struct shard_part *sp, struct st_req *r)
{
	if (r->err == ST_OK) {
		part_opened(&sp->part, r, s->now_ms, &s->out);
		list_push_back(&s->closing, &sp->node);
		return;
	}
	if (r->err != ST_E_NOT_FOUND) {
		log_error("shard",
			"partition %s-%d of a deleted topic cannot be opened (storage error %d)",
			sp->topic, sp->partition, r->err);
		shard_topics_undeleted(s, &sp->topic_id);
	}
	shard_topics_forget(s, sp);
}

static void shard_topics_opened(struct shard *s, struct shard_part *sp, struct st_req *r)
{
	s->opens_out--;
	sp->opened = true;
	if (sp->gone) {
		shard_topics_gone_opened(s, sp, r);
		return;
	}
	if (r->err != ST_OK) {
		log_error("shard",
			"partition %s-%d cannot be opened (storage error %d): it is offline",
			sp->topic, sp->partition, r->err);
		s->open_failed++;
		shard_topics_set_offline(s, sp);
	} else if (r->open.recovered && r->open.cut_bytes > 0) {
		log_info("shard",
			"partition %s-%d: recovery cut %llu bytes that were never acknowledged",
			sp->topic, sp->partition, (unsigned long long)r->open.cut_bytes);
	}
	part_opened(&sp->part, r, s->now_ms, &s->out);
}

static void shard_topics_ended(struct shard *s, struct shard_part *sp, const struct st_req *r)
{
	if (r->op == ST_DELETE && r->err != ST_OK) {
		log_error("shard", "the log of partition %s-%d is not deleted (storage error %d)",
			sp->topic, sp->partition, r->err);
		shard_topics_undeleted(s, &sp->topic_id);
	}
	shard_topics_forget(s, sp);
}

void shard_topics_stored(struct shard *s, struct st_req *r)
{
	struct shard_part *sp = r->user;
	if (r->op == ST_OPEN)
		shard_topics_opened(s, sp, r);
	else
		shard_topics_ended(s, sp, r);
	store_req_free(s, r);
}

bool shard_topics_stop(struct shard *s)
{
	for (uint32_t i = 0; i < s->part_cap; i++) {
		struct shard_part *sp = s->parts[i];
		if (!sp || sp->part.state == PART_CLOSING || list_linked(&sp->node))
			continue;
		s->failed |= sp->offline;
		list_push_back(&s->closing, &sp->node);
		part_close(&sp->part, KE_NOT_LEADER_OR_FOLLOWER, &s->out);
	}
	shard_topics_turn(s);
	return s->part_count == 0 && !s->offline_msg;
}

void shard_topics_fini(struct shard *s)
{
	free(s->parts);
	s->parts = NULL;
	s->part_cap = 0;
}
