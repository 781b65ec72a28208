/* SPDX-License-Identifier: Apache-2.0 */
/*
 * InitProducerId (key 22, versions 0 to 5; KIP-98) for idempotent producers. Ids are reserved in
 * blocks: the metadata says durably up to where they may have been given away, before the first one
 * of a block is. So no id is given twice, and a restart skips the rest of a block.
 */
#include "base/log.h"
#include "control/api/ctl.h"
#include "kafka/errcode.h"

#define PRODUCER_ID_BLOCK 1000

/* Reserves the next block of ids. False: it could not be stored, and nothing has changed. */
static bool reserve_block(struct ctl *c)
{
	char err[CONFIG_ERR_MAX] = "the stored version is another one, or no id is left";
	struct meta_state next = c->state;
	bool left = next.next_producer_id <= INT64_MAX - PRODUCER_ID_BLOCK;
	next.next_producer_id += left ? PRODUCER_ID_BLOCK : 0;
	if (!left || meta_update(c->meta, c->meta_version, &next, err, sizeof(err)) != META_OK) {
		log_error("meta", "producer ids could not be reserved: %s", err);
		metric_add(&c->metrics.meta_failures_total, 1);
		return false;
	}
	c->meta_version++;
	c->producer_id = c->state.next_producer_id;
	c->state.next_producer_id = next.next_producer_id;
	return true;
}

/* There are no transactions; an empty id is none (Kafka: InvalidRequestException). */
static int16_t check_transactional_id(struct kstr id)
{
	if (id.len < 0)
		return KE_NONE;
	return id.len == 0 ? KE_INVALID_REQUEST : KE_COORDINATOR_NOT_AVAILABLE;
}

void ctl_handle_init_producer_id(struct ctl *c, struct msg *m)
{
	struct kp_init_producer_id_request req;
	struct kp_init_producer_id_response res;
	if (!ctl_decode(c, m, &req))
		return;
	kp_default_init_producer_id_response(&res);
	res.producer_epoch = -1;
	res.error_code = check_transactional_id(req.transactional_id);
	bool none_left = c->producer_id == 0 || c->producer_id == c->state.next_producer_id;
	if (!res.error_code && none_left && !reserve_block(c))
		res.error_code = KE_COORDINATOR_NOT_AVAILABLE; /* clients try again */
	if (!res.error_code) {
		res.producer_id = c->producer_id++;
		res.producer_epoch = 0;
	}
	ctl_respond(c, m, &res);
}
