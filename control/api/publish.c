/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of the topic table: draft, disk, then the image to every shard, then whoever waited. What
 * a client is told happened is on disk and served by every shard.
 */
#include "control/api/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/log.h"
#include "kafka/errcode.h"

void publish_init(struct ctl *c)
{
	c->publish = (struct ctl_publish){0};
	list_init(&c->publish.waits);
}

void publish_fini(struct ctl *c)
{
	free(c->publish.undeleted);
	image_free(c->publish.sent);
	image_free(c->publish.served);
	c->publish.sent = c->publish.served = NULL;
}

bool publish_is_quiet(const struct ctl *c)
{
	return !c->publish.sent && c->publish.served_epoch == c->publish.epoch;
}

static void count_topics(struct ctl *c)
{
	uint64_t partitions = 0;
	for (uint32_t i = 0; i < c->state.topics.count; i++)
		partitions += (uint64_t)c->state.topics.v[i]->partition_count;
	metric_set(&c->metrics.topics, c->state.topics.count);
	metric_set(&c->metrics.topic_partitions, partitions);
	metric_set(&c->metrics.topics_deleting, c->state.topics.gone_count);
}

void publish_changed(struct ctl *c)
{
	c->publish.epoch++;
	count_topics(c);
	publish_kick(c);
}

void publish_kick(struct ctl *c)
{
	struct ctl_publish *p = &c->publish;
	if (p->sent || p->sent_epoch == p->epoch)
		return;
	struct meta_image_args args = {
		.epoch = p->epoch,
		.cluster_id = c->state.cluster_id,
		.cfg = c->cfg,
		.host = c->host,
		.port = c->host_port,
		.shards = ctl_shards(c),
		.workers = c->workers,
		.quotas = &c->state.quotas,
	};
	struct image *im = meta_image_build(&c->state.topics, &args);
	if (im && im->gone_count > 0)
		p->undeleted = calloc((size_t)im->gone_count * ctl_shards(c), sizeof(bool));
	if (!im || (im->gone_count > 0 && !p->undeleted)) {
		image_free(im);
		return; /* no memory: tried again in the next turn */
	}
	p->sent = im;
	p->sent_epoch = p->epoch;
	p->failed = 0;
	p->acks_left = ctl_shards(c);
	for (uint16_t i = 0; i < ctl_shards(c); i++) {
		p->msgs[i] = (struct msg){.kind = MSG_IMAGE, .image = {.image = im}};
		if (p->undeleted)
			p->msgs[i].image.undeleted = p->undeleted + (size_t)i * im->gone_count;
		mesh_ask(&c->port, i, &p->msgs[i]);
	}
}

/* Whether every shard has deleted its logs of the topic that is image->gone[i]. */
static bool is_deleted(const struct ctl *c, const struct image *im, uint32_t i)
{
	for (uint16_t shard = 0; shard < ctl_shards(c); shard++)
		if (c->publish.undeleted[(size_t)shard * im->gone_count + i])
			return false;
	return true;
}

/*
 * Drops the tombstones of topics that have left nothing behind. Should this not be stored, the next
 * start finds nothing to delete for them.
 */
static void bury(struct ctl *c, const struct image *im)
{
	char err[CONFIG_ERR_MAX] = "the stored version is another one";
	uint32_t forgotten = 0;
	for (uint32_t i = 0; i < im->gone_count; i++)
		if (is_deleted(c, im, i))
			forgotten += topics_forget(&c->state.topics, &im->gone[i].id);
		else
			log_error("control",
				"topic %.*s is deleted, but not all of its logs: tried again later",
				im->gone[i].name.len, im->gone[i].name.p);
	free(c->publish.undeleted);
	c->publish.undeleted = NULL;
	if (forgotten == 0)
		return;
	count_topics(c);
	if (meta_update(c->meta, c->meta_version, &c->state, err, sizeof(err)) == META_OK) {
		c->meta_version++;
		return;
	}
	metric_add(&c->metrics.meta_failures_total, 1);
	log_warn("meta", "that the logs of deleted topics are gone was not stored: %s", err);
}

static void tell_waits(struct ctl *c)
{
	struct ctl_publish *p = &c->publish;
	struct list *n;
	while ((n = list_front(&p->waits))) {
		struct ctl_wait *w = list_entry(n, struct ctl_wait, node);
		if (w->epoch > p->served_epoch)
			return;
		list_remove(n);
		w->done(c, w);
	}
}

static void tell_modules(struct ctl *c)
{
	for (unsigned i = 0; ctl_modules[i]; i++)
		if (ctl_modules[i]->image)
			ctl_modules[i]->image(c, c->module_state[i]);
}

void publish_ack(struct ctl *c, struct msg *m)
{
	struct ctl_publish *p = &c->publish;
	CHECK(p->sent && p->acks_left > 0 && m->image.image == p->sent);
	p->failed += m->image.failed;
	if (--p->acks_left > 0)
		return;
	/* every shard has let go of the one before */
	image_free(p->served);
	p->served = p->sent;
	p->sent = NULL;
	p->served_epoch = p->sent_epoch;
	p->served_failed = p->failed;
	metric_add(&c->metrics.images_total, 1);
	bury(c, p->served);
	if (p->failed > 0)
		log_error("control", "%u partition(s) could not be opened and are offline",
			p->failed);
	tell_modules(c);
	tell_waits(c);
}

void publish_offline(struct ctl *c, struct msg *m)
{
	uint32_t changed = 0;
	for (uint32_t i = 0; i < m->offline.count; i++)
		changed += topics_set_offline(&c->state.topics, m->offline.part_ids[i]);
	mesh_answer(&c->port, m);
	if (changed == 0)
		return;
	log_error("control", "%u partition(s) are offline: their logs have failed", changed);
	publish_changed(c);
}

void ctl_when_served(struct ctl *c, struct ctl_wait *wait)
{
	wait->epoch = c->publish.epoch;
	list_init(&wait->node);
	if (c->publish.served_epoch >= wait->epoch && c->publish.served)
		wait->done(c, wait);
	else
		list_push_back(&c->publish.waits, &wait->node);
}

void ctl_wait_cancel(struct ctl_wait *wait)
{
	list_remove(&wait->node);
}

/* ---- changes ---- */

const struct config *ctl_config(const struct ctl *c)
{
	return c->cfg;
}

const struct image *ctl_image(const struct ctl *c)
{
	return c->publish.served;
}

const struct topics *ctl_topics(const struct ctl *c)
{
	return c->drafting ? &c->draft : &c->state.topics;
}

bool ctl_change_begin(struct ctl *c)
{
	CHECK(!c->drafting);
	if (topics_clone(&c->draft, &c->state.topics) < 0)
		return false;
	if (dynamic_clone(&c->draft_dynamic, &c->state.dynamic) < 0) {
		topics_fini(&c->draft);
		return false;
	}
	c->drafting = true;
	return true;
}

void ctl_change_drop(struct ctl *c)
{
	CHECK(c->drafting);
	topics_fini(&c->draft);
	dynamic_fini(&c->draft_dynamic);
	c->drafting = false;
}

/* A fresh topic id (random, version 4, as Kafka's). */
static void random_uuid(struct uuid *id)
{
	do {
		CHECK(getrandom(id->b, sizeof(id->b), 0) == sizeof(id->b));
		id->b[6] = (uint8_t)((id->b[6] & 0x0f) | 0x40);
		id->b[8] = (uint8_t)((id->b[8] & 0x3f) | 0x80);
	} while (id->b[0] >> 2 == 62); /* as text it would begin with '-', like an option */
}

int16_t ctl_create_topic(struct ctl *c, struct topic_spec *spec, char *err, size_t err_size)
{
	CHECK(c->drafting);
	random_uuid(&spec->id);
	int16_t e = topics_create(&c->draft, c->cfg, spec, err, err_size);
	if (!e)
		metric_add(&c->metrics.topics_created_total, 1);
	return e;
}

int16_t ctl_delete_topic(struct ctl *c, struct kstr name)
{
	CHECK(c->drafting);
	int16_t e = topics_delete(&c->draft, name);
	if (!e)
		metric_add(&c->metrics.topics_deleted_total, 1);
	return e;
}

int16_t ctl_alter_topic(struct ctl *c, const struct topic_alteration *a, char *err, size_t err_size)
{
	CHECK(c->drafting);
	return topics_alter(&c->draft, c->cfg, a, err, err_size);
}

int16_t ctl_grow_topic(struct ctl *c, const struct topic_growth *g, char *err, size_t err_size)
{
	CHECK(c->drafting);
	return topics_grow(&c->draft, c->cfg, g, err, err_size);
}

int16_t ctl_change_commit(struct ctl *c)
{
	char err[CONFIG_ERR_MAX] = "the stored version is another one";
	CHECK(c->drafting);
	struct meta_state next = c->state;
	next.topics = c->draft;
	next.dynamic = c->draft_dynamic;
	if (meta_update(c->meta, c->meta_version, &next, err, sizeof(err)) != META_OK) {
		log_error("meta", "a change of the topics was not stored: %s", err);
		metric_add(&c->metrics.meta_failures_total, 1);
		ctl_change_drop(c);
		return KE_KAFKA_STORAGE_ERROR;
	}
	topics_fini(&c->state.topics);
	dynamic_fini(&c->state.dynamic);
	c->state.topics = c->draft;
	c->state.dynamic = c->draft_dynamic;
	c->draft_dynamic = (struct dynamic){0};
	ctl_config_refresh(c);
	c->drafting = false;
	c->meta_version++;
	publish_changed(c);
	return KE_NONE;
}

/* ---- keys of the broker ---- */

void ctl_config_refresh(struct ctl *c)
{
	char err[CONFIG_ERR_MAX];
	struct config *next = malloc(sizeof(*next));
	if (next && dynamic_apply(&c->state.dynamic, c->base, next, err, sizeof(err)) == 0)
		c->effective = *next;
	else
		log_error("control", "what was configured at run time is not in force: %s",
			next ? err : "no memory");
	free(next);
}

static int16_t set_key(struct ctl *c, enum dynamic_scope scope, const struct topic_alter_arg *a,
	char *err, size_t err_size)
{
	char name[CONFIG_TEXT_MAX], value[CONFIG_TEXT_MAX];
	if (a->name.len < 0 || a->name.len >= CONFIG_TEXT_MAX || a->value.len >= CONFIG_TEXT_MAX) {
		snprintf(err, err_size, "A name or a value is too long.");
		return KE_INVALID_REQUEST;
	}
	kstr_copy(a->name, name, sizeof(name));
	int key = dynamic_key(name);
	if (key < 0 || !dynamic_allows(key)) {
		snprintf(err, err_size, "Cannot update these configs dynamically: %.100s", name);
		return KE_INVALID_REQUEST;
	}
	if (a->op != TOPIC_ALTER_SET && a->op != TOPIC_ALTER_DELETE) {
		snprintf(err, err_size, "%.100s can only be set or deleted.", name);
		return KE_INVALID_CONFIG;
	}
	bool set = a->op == TOPIC_ALTER_SET && a->value.len >= 0;
	if (set)
		kstr_copy(a->value, value, sizeof(value));
	if (dynamic_set(&c->draft_dynamic, scope, key, set ? value : NULL) == 0)
		return KE_NONE;
	snprintf(err, err_size, "There is no memory for it.");
	return KE_UNKNOWN_SERVER_ERROR;
}

int16_t ctl_alter_broker(struct ctl *c, bool all_brokers, const struct topic_alteration *a,
	char *err, size_t err_size)
{
	enum dynamic_scope scope = all_brokers ? DYNAMIC_DEFAULT : DYNAMIC_BROKER;
	struct dynamic before;
	int16_t e = KE_NONE;
	CHECK(c->drafting);
	struct config *next = malloc(sizeof(*next));
	if (!next || dynamic_clone(&before, &c->draft_dynamic) < 0) {
		free(next);
		return KE_UNKNOWN_SERVER_ERROR;
	}
	for (int key = 0; a->replace && key < CONFIG_KEY_COUNT; key++)
		dynamic_set(&c->draft_dynamic, scope, key, NULL);
	for (int32_t i = 0; !e && i < a->count; i++)
		e = set_key(c, scope, &a->args[i], err, err_size);
	if (!e && dynamic_apply(&c->draft_dynamic, c->base, next, err, err_size) < 0)
		e = KE_INVALID_CONFIG;
	if (e) {
		struct dynamic refused = c->draft_dynamic;
		c->draft_dynamic = before;
		before = refused;
	}
	dynamic_fini(&before);
	free(next);
	return e;
}

int16_t ctl_ensure_offsets_topic(struct ctl *c)
{
	char err[TOPIC_ERROR_MAX];
	struct topic_setting_arg settings[] = {
		{kstr_of("cleanup.policy"), kstr_of("compact")},
		{kstr_of("segment.bytes"), kstr_of("104857600")},
		{kstr_of("compression.type"), kstr_of("producer")},
	};
	struct topic_spec spec = {
		.name = kstr_of(TOPIC_OFFSETS),
		.partitions = c->cfg->offsets_partitions,
		.replication = 1,
		.settings = settings,
		.setting_count = array_size(settings),
		.internal = true,
	};
	if (topics_find(&c->state.topics, spec.name))
		return KE_NONE;
	if (!ctl_change_begin(c))
		return KE_UNKNOWN_SERVER_ERROR;
	int16_t e = ctl_create_topic(c, &spec, err, sizeof(err));
	if (e) {
		log_error("control", "%s cannot be created: %s", TOPIC_OFFSETS, err);
		ctl_change_drop(c);
		return e;
	}
	return ctl_change_commit(c);
}
