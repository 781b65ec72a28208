/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

const struct image_topic_config image_topic_config_default = {
	.max_message_bytes = 1048588,
	.cleanup_delete = true,
	.compression = IMAGE_COMPRESSION_PRODUCER,
	.min_insync_replicas = 1,
	.timestamp_before_max_ms = INT64_MAX,
	.timestamp_after_max_ms = 3600000,
	.segment_bytes = 1 << 30,
	.segment_ms = 604800000,
	.retention_ms = 604800000,
	.retention_bytes = -1,
	.delete_retention_ms = 86400000,
	.max_compaction_lag_ms = INT64_MAX,
	.min_dirty_ppm = 500000,
};

/* FNV-1a, and a final mix so that the low bits depend on all. */
static uint32_t hash_bytes(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint64_t h = 0xcbf29ce484222325ull;
	for (size_t i = 0; i < len; i++)
		h = (h ^ b[i]) * 0x100000001b3ull;
	return (uint32_t)(h ^ (h >> 32));
}

static size_t str_size(struct kstr s)
{
	return s.len > 0 ? (size_t)s.len : 0;
}

/* Where the parts lie in the one allocation. */
struct layout {
	size_t brokers, topics, gone, partitions, quotas, by_name, by_id, by_entity, strings, total;
	uint32_t hash_size, quota_size;
	uint32_t partition_count; /* of topics */
	uint32_t gone_partition_count;
};

/* Bytes of the topics' names; their partitions are added up in *partitions. */
static size_t measure_topics(const struct image_topic *t, uint32_t count, uint32_t *partitions)
{
	size_t strings = 0;
	for (uint32_t i = 0; i < count; i++) {
		CHECK(t[i].partition_count >= 0 && t[i].name.len > 0);
		strings += str_size(t[i].name);
		*partitions += (uint32_t)t[i].partition_count;
	}
	return strings;
}

static struct layout layout_of(const struct image_source *src)
{
	struct layout l = {.hash_size = 4, .quota_size = 4};
	while (l.hash_size < src->topic_count * 2)
		l.hash_size *= 2;
	while (l.quota_size < src->quota_count * 2)
		l.quota_size *= 2;
	size_t strings = str_size(src->cluster_id);
	for (uint32_t i = 0; i < src->broker_count; i++)
		strings += str_size(src->brokers[i].host) + str_size(src->brokers[i].rack);
	strings += measure_topics(src->topics, src->topic_count, &l.partition_count);
	strings += measure_topics(src->gone, src->gone_count, &l.gone_partition_count);
	for (uint32_t i = 0; i < src->quota_count; i++)
		strings += str_size(src->quotas[i].user) + str_size(src->quotas[i].client);
	size_t at = align_up(sizeof(struct image), 16);
	l.brokers = at;
	at = align_up(at + src->broker_count * sizeof(struct image_broker), 16);
	l.topics = at;
	at = align_up(at + src->topic_count * sizeof(struct image_topic), 16);
	l.gone = at;
	at = align_up(at + src->gone_count * sizeof(struct image_topic), 16);
	l.partitions = at;
	size_t partitions = (size_t)l.partition_count + l.gone_partition_count;
	at = align_up(at + partitions * sizeof(struct image_partition), 16);
	l.quotas = at;
	at = align_up(at + src->quota_count * sizeof(struct image_quota), 16);
	l.by_name = at;
	at += l.hash_size * sizeof(uint32_t);
	l.by_id = at;
	at += l.hash_size * sizeof(uint32_t);
	l.by_entity = at;
	at += l.quota_size * sizeof(uint32_t);
	l.strings = at;
	l.total = at + strings;
	return l;
}

static struct kstr copy_str(char **to, struct kstr s)
{
	if (s.len < 0)
		return KSTR_NULL;
	struct kstr out = {.p = *to, .len = s.len};
	if (s.len)
		memcpy(*to, s.p, (size_t)s.len);
	*to += s.len;
	return out;
}

static int name_order(struct kstr a, struct kstr b)
{
	int c = memcmp(a.p, b.p, (size_t)min_of(a.len, b.len));
	return c ? c : (a.len > b.len) - (a.len < b.len);
}

static int topic_order(const void *a, const void *b)
{
	const struct image_topic *x = a, *y = b;
	return name_order(x->name, y->name);
}

static void hash_add(uint32_t *table, uint32_t mask, uint32_t hash, uint32_t index)
{
	uint32_t slot = hash & mask;
	while (table[slot])
		slot = (slot + 1) & mask;
	table[slot] = index + 1;
}

/* Copies the partitions and the name of t behind each other; returns the end of the partitions. */
static struct image_partition *copy_inside(
	struct image_topic *t, struct image_partition *parts, char **strings)
{
	size_t n = (size_t)t->partition_count;
	if (n)
		memcpy(parts, t->partitions, n * sizeof(*parts));
	t->partitions = parts;
	t->name = copy_str(strings, t->name);
	return parts + n;
}

static void copy_topics(
	struct image *im, const struct image_source *src, const struct layout *l, char **strings)
{
	struct image_topic *topics = (void *)((char *)im + l->topics);
	struct image_topic *gone = (void *)((char *)im + l->gone);
	struct image_partition *parts = (void *)((char *)im + l->partitions);
	for (uint32_t i = 0; i < src->topic_count; i++)
		topics[i] = src->topics[i];
	if (src->topic_count)
		qsort(topics, src->topic_count, sizeof(*topics), topic_order);
	for (uint32_t i = 0; i < src->topic_count; i++) {
		struct image_topic *t = &topics[i];
		parts = copy_inside(t, parts, strings);
		for (int32_t k = 0; k < t->partition_count; k++)
			im->part_id_limit = max_of(im->part_id_limit, t->partitions[k].part_id + 1);
		CHECK(i == 0 || name_order(topics[i - 1].name, t->name) < 0); /* unique */
	}
	for (uint32_t i = 0; i < src->gone_count; i++) {
		gone[i] = src->gone[i];
		parts = copy_inside(&gone[i], parts, strings);
	}
	im->topics = topics;
	im->topic_count = src->topic_count;
	im->gone = gone;
	im->gone_count = src->gone_count;
}

static void index_topics(struct image *im, const struct layout *l)
{
	uint32_t *by_name = (void *)((char *)im + l->by_name);
	uint32_t *by_id = (void *)((char *)im + l->by_id);
	im->hash_mask = l->hash_size - 1;
	for (uint32_t i = 0; i < im->topic_count; i++) {
		const struct image_topic *t = &im->topics[i];
		hash_add(by_name, im->hash_mask, hash_bytes(t->name.p, (size_t)t->name.len), i);
		if (!uuid_is_zero(&t->id))
			hash_add(by_id, im->hash_mask, hash_bytes(t->id.b, sizeof(t->id.b)), i);
	}
	im->by_name = by_name;
	im->by_id = by_id;
}

/* ---- quotas ---- */

static uint32_t hash_entity(enum image_quota_part user_is, struct kstr user,
	enum image_quota_part client_is, struct kstr client)
{
	uint32_t u = user_is == QUOTA_NAMED ? hash_bytes(user.p, str_size(user)) : user_is;
	uint32_t c = client_is == QUOTA_NAMED ? hash_bytes(client.p, str_size(client)) : client_is;
	return u * 0x9e3779b1u ^ c;
}

static void copy_quotas(
	struct image *im, const struct image_source *src, const struct layout *l, char **strings)
{
	struct image_quota *quotas = (void *)((char *)im + l->quotas);
	uint32_t *by_entity = (void *)((char *)im + l->by_entity);
	im->quota_mask = l->quota_size - 1;
	im->quota_count = src->quota_count;
	im->quotas = quotas;
	im->by_entity = by_entity;
	for (uint32_t i = 0; i < src->quota_count; i++) {
		struct image_quota *q = &quotas[i];
		*q = src->quotas[i];
		q->user = copy_str(strings, q->user);
		q->client = copy_str(strings, q->client);
		hash_add(by_entity, im->quota_mask,
			hash_entity(q->user_is, q->user, q->client_is, q->client), i);
	}
}

static bool same_part(
	enum image_quota_part a_is, struct kstr a, enum image_quota_part b_is, struct kstr b)
{
	return a_is == b_is && (a_is != QUOTA_NAMED || kstr_equal(a, b));
}

double image_quota_find(const struct image *im, struct kstr user, struct kstr client,
	enum image_quota_kind kind, int *level)
{
	static const struct {
		enum image_quota_part user_is, client_is;
	} order[8] = {
		{QUOTA_NAMED, QUOTA_NAMED},
		{QUOTA_NAMED, QUOTA_DEFAULT},
		{QUOTA_NAMED, QUOTA_ABSENT},
		{QUOTA_DEFAULT, QUOTA_NAMED},
		{QUOTA_DEFAULT, QUOTA_DEFAULT},
		{QUOTA_DEFAULT, QUOTA_ABSENT},
		{QUOTA_ABSENT, QUOTA_NAMED},
		{QUOTA_ABSENT, QUOTA_DEFAULT},
	};
	for (*level = 0; im->quota_count > 0 && *level < 8; ++*level) {
		enum image_quota_part u = order[*level].user_is, c = order[*level].client_is;
		uint32_t slot = hash_entity(u, user, c, client) & im->quota_mask;
		for (; im->by_entity[slot]; slot = (slot + 1) & im->quota_mask) {
			const struct image_quota *q = &im->quotas[im->by_entity[slot] - 1];
			if (same_part(u, user, q->user_is, q->user) &&
				same_part(c, client, q->client_is, q->client) && q->rate[kind] >= 0)
				return q->rate[kind];
		}
	}
	return -1;
}

struct image *image_build(const struct image_source *src)
{
	struct layout l = layout_of(src);
	struct image *im = calloc(1, l.total);
	if (!im)
		return NULL;
	char *strings = (char *)im + l.strings;
	struct image_broker *brokers = (void *)((char *)im + l.brokers);
	im->epoch = src->epoch;
	im->cluster_id = copy_str(&strings, src->cluster_id);
	im->node_id = src->node_id;
	im->controller_id = src->controller_id;
	for (uint32_t i = 0; i < src->broker_count; i++) {
		brokers[i] = src->brokers[i];
		brokers[i].host = copy_str(&strings, src->brokers[i].host);
		brokers[i].rack = copy_str(&strings, src->brokers[i].rack);
	}
	im->brokers = brokers;
	im->broker_count = src->broker_count;
	im->partition_count = l.partition_count;
	copy_topics(im, src, &l, &strings);
	copy_quotas(im, src, &l, &strings);
	index_topics(im, &l);
	CHECK((size_t)(strings - (char *)im) == l.total);
	return im;
}

void image_free(struct image *im)
{
	free(im);
}

const struct image_topic *image_topic_by_name(const struct image *im, struct kstr name)
{
	if (name.len <= 0)
		return NULL;
	uint32_t slot = hash_bytes(name.p, (size_t)name.len) & im->hash_mask;
	for (; im->by_name[slot]; slot = (slot + 1) & im->hash_mask) {
		const struct image_topic *t = &im->topics[im->by_name[slot] - 1];
		if (kstr_equal(t->name, name))
			return t;
	}
	return NULL;
}

const struct image_topic *image_topic_by_id(const struct image *im, const struct uuid *id)
{
	uint32_t slot = hash_bytes(id->b, sizeof(id->b)) & im->hash_mask;
	for (; im->by_id[slot]; slot = (slot + 1) & im->hash_mask) {
		const struct image_topic *t = &im->topics[im->by_id[slot] - 1];
		if (uuid_equal(&t->id, id))
			return t;
	}
	return NULL;
}

const struct image_broker *image_broker_by_id(const struct image *im, int32_t node_id)
{
	for (uint32_t i = 0; i < im->broker_count; i++) {
		if (im->brokers[i].node_id == node_id)
			return &im->brokers[i];
	}
	return NULL;
}

static bool topic_char_valid(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

bool topic_name_valid(struct kstr name)
{
	if (name.len < 1 || name.len > IMAGE_TOPIC_NAME_MAX)
		return false;
	if (name.p[0] == '.' && (name.len == 1 || (name.len == 2 && name.p[1] == '.')))
		return false;
	for (int32_t i = 0; i < name.len; i++) {
		if (!topic_char_valid(name.p[i]))
			return false;
	}
	return true;
}

bool topic_name_collides(struct kstr a, struct kstr b)
{
	if (a.len != b.len)
		return false;
	for (int32_t i = 0; i < a.len; i++) {
		char x = a.p[i] == '.' ? '_' : a.p[i];
		char y = b.p[i] == '.' ? '_' : b.p[i];
		if (x != y)
			return false;
	}
	return true;
}
