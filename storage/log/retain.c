/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retention (cleanup.policy=delete): which segments have had their time. Kafka's rules: whole
 * segments, oldest first; by time when the largest timestamp in one is older than retention.ms; by
 * size as long as the rest still is retention.bytes. The active segment only when all of the log
 * has expired.
 */
#include "base/check.h"
#include "base/log.h"
#include "storage/log/log.h"

/* A segment without timestamps is as old as its first append. */
static int64_t segment_time_ms(const struct segment *s)
{
	return s->max_timestamp >= 0 ? s->max_timestamp : s->created_ms;
}

static bool retain_expired(const struct segment *s, const struct st_policy *p, int64_t now_ms)
{
	return p->retention_ms >= 0 && s->end_pos > 0 &&
	       now_ms - segment_time_ms(s) > p->retention_ms;
}

enum st_err log_retain(struct log_env *env, struct log *l, const struct st_policy *policy,
	int64_t limit, int64_t now_ms, int64_t *log_start)
{
	*log_start = l->log_start_offset;
	spare_grow_old(env, l);
	if (!policy->remove)
		return ST_OK;
	enum st_err err = log_list(env, l);
	uint64_t size = 0;
	for (uint32_t i = 0; err == ST_OK && i < l->segment_count; i++) {
		struct segment *s = l->segments[i];
		if (s->sealed)
			err = segment_know(env, l, s);
		if (s->end_offset > l->log_start_offset)
			size += s->end_pos;
	}
	if (err != ST_OK)
		return err;
	for (uint32_t i = 0; i < l->segment_count; i++) {
		const struct segment *s = l->segments[i];
		bool active = i + 1 == l->segment_count;
		if (s->end_offset <= l->log_start_offset)
			continue;
		bool over = !active && policy->retention_bytes >= 0 &&
			    size >= s->end_pos + (uint64_t)policy->retention_bytes;
		if (s->end_offset > limit || !(over || retain_expired(s, policy, now_ms)))
			break;
		size -= s->end_pos;
		*log_start = s->end_offset;
	}
	return ST_OK;
}

enum st_err log_size(struct log_env *env, struct log *l, struct st_req *r)
{
	enum st_err err = log_list(env, l);
	r->size.bytes = 0;
	for (uint32_t i = 0; err == ST_OK && i < l->segment_count; i++) {
		struct segment *s = l->segments[i];
		if (s->sealed)
			err = segment_know(env, l, s);
		r->size.bytes += s->end_pos;
	}
	return err;
}

bool log_drop_oldest(struct log_env *env, struct log *l, uint64_t *freed)
{
	char path[IO_PATH_MAX];
	if (log_list(env, l) != ST_OK || l->segment_count < 2)
		return false;
	struct segment *s = l->segments[0];
	if (s->end_offset > l->log_start_offset)
		return false;
	if (!s->sealed || s->end_offset > l->checkpoint_segment || s->reads > 0 || s->file_dirty ||
		s->index_dirty)
		return true; /* later */
	segment_path(env, l, s->base_offset, "log", path);
	if (!spare_keep(env, l, s) && env->io->api->unlink(env->io, path) < 0)
		log_warn("storage", "cannot remove %s", path);
	segment_path(env, l, s->base_offset, "index", path);
	env->io->api->unlink(env->io, path);
	*freed += s->end_pos;
	l->names_dirty = true;
	segment_free(env, s);
	l->segment_count--;
	for (uint32_t i = 0; i < l->segment_count; i++)
		l->segments[i] = l->segments[i + 1];
	return l->segment_count > 1 && l->segments[0]->end_offset <= l->log_start_offset;
}
