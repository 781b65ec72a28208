/* SPDX-License-Identifier: Apache-2.0 */
#include "api/api.h"

static const struct api_handler *const api_handlers[] = {
	&api_produce_handler,
	&api_fetch_handler,
	&api_list_offsets_handler,
	&api_delete_records_handler,
	&api_offset_for_leader_epoch_handler,
	&api_metadata_handler,
	&api_versions_handler,
	&api_describe_cluster_handler,
	&api_describe_producers_handler,
	&api_describe_topic_partitions_handler,
};

const struct api_handler *api_handler_of(int16_t key)
{
	for (size_t i = 0; i < array_size(api_handlers); i++)
		if (api_handlers[i]->key == key)
			return api_handlers[i];
	return NULL;
}

bool api_keep(struct api_req *r, struct kstr *s)
{
	if (s->len <= 0)
		return true;
	char *p = arena_alloc(r->arena, (size_t)s->len);
	if (!p)
		return false;
	memcpy(p, s->p, (size_t)s->len);
	s->p = p;
	return true;
}

const struct image_topic *api_topic(
	const struct api_req *r, bool by_id, struct kstr name, const struct uuid *id)
{
	return by_id ? image_topic_by_id(r->image, id) : image_topic_by_name(r->image, name);
}

struct part_op *api_op(struct api_req *r, enum part_op_kind kind, const struct image_partition *ip)
{
	struct part_op *op = r->host->op_new(r->host, r);
	if (!op)
		return NULL;
	op->kind = kind;
	op->part_id = ip->part_id;
	op->shard = ip->shard;
	return op;
}

enum api_step api_decode_failed(int err)
{
	return err == KP_E_NOMEM ? API_TOO_LARGE : API_CLOSE;
}
