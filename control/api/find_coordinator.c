/* SPDX-License-Identifier: Apache-2.0 */
/* The coordinator of every group is this broker; the first question makes __consumer_offsets. */
#include "control/api/group_shell.h"
#include "control/api/pending.h"
#include "kafka/errcode.h"

#define CREATE_TIMEOUT_MS 5000

enum key_type { KEY_GROUP = 0, KEY_TRANSACTION = 1 };

static bool have_offsets_topic(struct ctl *c)
{
	const struct image *im = ctl_image(c);
	return im && image_topic_by_name(im, kstr_of(TOPIC_OFFSETS));
}

/* Transactions have no coordinator here; other kinds of keys are not known. */
static int16_t error_of(struct ctl *c, int8_t key_type)
{
	if (key_type == KEY_GROUP)
		return have_offsets_topic(c) ? KE_NONE : KE_COORDINATOR_NOT_AVAILABLE;
	return key_type == KEY_TRANSACTION ? KE_COORDINATOR_NOT_AVAILABLE : KE_INVALID_REQUEST;
}

static struct kp_find_coordinator_response_coordinator coordinator(
	struct ctl *c, struct kstr key, int16_t error)
{
	struct kp_find_coordinator_response_coordinator k;
	kp_default_find_coordinator_response_coordinator(&k);
	const struct image *im = ctl_image(c);
	const struct image_broker *b = im ? image_broker_by_id(im, im->node_id) : NULL;
	k.key = key;
	k.error_code = error || b ? error : KE_COORDINATOR_NOT_AVAILABLE;
	k.host = kstr_of("");
	if (k.error_code) {
		k.error_message = kstr_of(ke_text(k.error_code));
		return k;
	}
	k.node_id = b->node_id;
	k.host = b->host;
	k.port = b->port;
	return k;
}

static void respond(struct ctl *c, struct pending *p, bool timed_out)
{
	const struct kp_find_coordinator_request *req = p->response;
	struct kp_find_coordinator_response res;
	kp_default_find_coordinator_response(&res);
	int16_t error = error_of(c, req->key_type);
	if (p->m->request.api_version < 4) {
		struct kp_find_coordinator_response_coordinator k = coordinator(c, req->key, error);
		res.error_code = k.error_code;
		res.error_message = k.error_message;
		res.node_id = k.node_id;
		res.host = k.host;
		res.port = k.port;
		ctl_respond(c, p->m, &res);
		return;
	}
	uint32_t n = (uint32_t)req->n_coordinator_keys;
	res.coordinators = arena_array(&p->arena, n, sizeof(*res.coordinators));
	if (!res.coordinators) {
		ctl_hang_up(c, p->m);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		res.coordinators[i] = coordinator(c, req->coordinator_keys[i], error);
	res.n_coordinators = (int32_t)n;
	ctl_respond(c, p->m, &res);
}

void ctl_handle_find_coordinator(struct ctl *c, struct msg *m)
{
	struct pending *p = pending_new(c, m, respond);
	if (!p)
		return;
	struct kp_find_coordinator_request *req = arena_alloc(&p->arena, sizeof(*req));
	p->response = req;
	if (!ctl_decode_in(c, m, req, &p->arena)) {
		pending_free(p);
		return;
	}
	if (req->key_type != KEY_GROUP || have_offsets_topic(c) ||
		ctl_ensure_offsets_topic(c) != KE_NONE)
		pending_finish(c, p, false);
	else
		pending_wait(c, p, CREATE_TIMEOUT_MS);
}
