/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_META_QUOTA_H
#define MR_META_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "kafka/image.h"

/* The table of client quotas (KIP-546): who may produce, fetch and ask how much. PURE. */

#define QUOTA_NAME_MAX 255 /* bytes of a user or a client id */
#define QUOTAS_MAX 4096

struct quota_entity {
	enum image_quota_part user_is, client_is;
	char user[QUOTA_NAME_MAX + 1]; /* where named */
	char client[QUOTA_NAME_MAX + 1];
};
struct quota {
	struct quota_entity entity;
	double value[QUOTA_KINDS]; /* < 0: not set */
};
/* Zeroes are an empty one. */
struct quotas {
	struct quota *v;
	uint32_t count;
};

/* Kafka's name of a kind ("producer_byte_rate"). Static text. */
const char *quota_key(enum image_quota_kind kind);
/* The kind of a name; QUOTA_KINDS: none. */
enum image_quota_kind quota_kind(struct kstr key);
bool quota_entity_equal(const struct quota_entity *a, const struct quota_entity *b);
/* The entity's quota, made without values where there is none. NULL: too many, or no memory. */
struct quota *quotas_put(struct quotas *q, const struct quota_entity *e);
/* Drops entities that have no value left. */
void quotas_prune(struct quotas *q);
/* -1: no memory. */
int quotas_clone(struct quotas *to, const struct quotas *from);
void quotas_fini(struct quotas *q);

#endif
