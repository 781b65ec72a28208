/* SPDX-License-Identifier: Apache-2.0 */
/* From the topic table to the image that the shards serve by. PURE. */
#include "control/meta/meta.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "storage/storage.h"

static void fill_partitions(const struct topics *topics, const struct topic *topic,
	const struct meta_image_args *args, struct image_partition *out)
{
	for (int32_t i = 0; i < topic->partition_count; i++) {
		uint32_t id = topic->part_ids[i];
		out[i] = (struct image_partition){
			.part_id = id,
			.shard = (uint16_t)(id % args->shards),
			.worker = st_worker_of(&topic->id, i, args->workers),
			.leader = topics_is_offline(topics, id) ? -1 : args->cfg->node_id,
			.leader_epoch = 0,
		};
	}
}

static size_t count_partitions(struct topic *const *v, uint32_t count)
{
	size_t partitions = 0;
	for (uint32_t i = 0; i < count; i++)
		partitions += (size_t)v[i]->partition_count;
	return partitions;
}

/* v of the table. Their partitions go to `at`; returns the end of them. */
static struct image_partition *fill_topics(const struct topics *topics, struct topic *const *v,
	uint32_t count, const struct meta_image_args *args, struct image_topic *out,
	struct image_partition *at)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct topic *topic = v[i];
		fill_partitions(topics, topic, args, at);
		out[i] = (struct image_topic){
			.name = kstr_of(topic->name),
			.id = topic->id,
			.internal = topic->internal,
			.config = topic_image_config(topic, args->cfg),
			.partition_count = topic->partition_count,
			.partitions = at,
		};
		at += topic->partition_count;
	}
	return at;
}

static void fill_quotas(const struct quotas *quotas, struct image_quota *out)
{
	for (uint32_t i = 0; quotas && i < quotas->count; i++) {
		const struct quota *q = &quotas->v[i];
		out[i] = (struct image_quota){
			.user_is = q->entity.user_is,
			.client_is = q->entity.client_is,
			.user = kstr_of(q->entity.user),
			.client = kstr_of(q->entity.client),
		};
		memcpy(out[i].rate, q->value, sizeof(out[i].rate));
	}
}

struct image *meta_image_build(const struct topics *topics, const struct meta_image_args *args)
{
	CHECK(args->shards > 0 && args->workers > 0);
	struct image *im = NULL;
	size_t partitions = count_partitions(topics->v, topics->count) +
			    count_partitions(topics->gone, topics->gone_count);
	struct image_topic *t = calloc((size_t)topics->count + topics->gone_count + 1, sizeof(*t));
	struct image_partition *p = calloc(partitions + 1, sizeof(*p));
	uint32_t quota_count = args->quotas ? args->quotas->count : 0;
	struct image_quota *quotas = calloc((size_t)quota_count + 1, sizeof(*quotas));
	if (!t || !p || !quotas)
		goto out;
	struct image_topic *gone = t + topics->count;
	struct image_partition *at = fill_topics(topics, topics->v, topics->count, args, t, p);
	fill_topics(topics, topics->gone, topics->gone_count, args, gone, at);
	fill_quotas(args->quotas, quotas);
	const char *rack = args->cfg->broker_rack;
	struct image_broker broker = {
		.node_id = args->cfg->node_id,
		.host = kstr_of(args->host),
		.port = args->port,
		.rack = rack[0] ? kstr_of(rack) : KSTR_NULL,
	};
	struct image_source src = {
		.epoch = args->epoch,
		.cluster_id = kstr_of(args->cluster_id),
		.node_id = args->cfg->node_id,
		.controller_id = args->cfg->node_id,
		.brokers = &broker,
		.broker_count = 1,
		.topics = t,
		.topic_count = topics->count,
		.gone = gone,
		.gone_count = topics->gone_count,
		.quotas = quotas,
		.quota_count = quota_count,
	};
	im = image_build(&src);
out:
	free(t);
	free(p);
	free(quotas);
	return im;
}
