/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topics that a client asked for and that do not exist: created if auto.create.topics.enable, with
 * the broker's defaults. What cannot be created is simply not there when the shard looks again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "control/api/ctl.h"
#include "kafka/errcode.h"

struct wanted {
	struct ctl_wait wait;
	struct msg *m;
};

static void served(struct ctl *c, struct ctl_wait *wait)
{
	struct wanted *w = container_of(wait, struct wanted, wait);
	mesh_answer(&c->port, w->m);
	free(w);
}

/* Creates the names of m on the draft; how many. */
static uint32_t create_all(struct ctl *c, const struct msg *m)
{
	uint32_t created = 0;
	int32_t partitions = 0;
	const char *p = (const char *)m->wanted.names.p;
	const char *end = p + m->wanted.names.len;
	for (uint32_t i = 0; i < m->wanted.count; i++) {
		size_t n = strnlen(p, (size_t)(end - p));
		CHECK(p + n < end);
		char err[TOPIC_ERROR_MAX];
		struct topic_spec spec = {
			.name = {.p = p, .len = (int32_t)n}, .partitions = -1, .replication = -1};
		p += n + 1;
		partitions += c->cfg->num_partitions;
		if (partitions > TOPIC_REQUEST_MAX_PARTITIONS)
			break; /* the rest when it is asked for again */
		if (ctl_create_topic(c, &spec, err, sizeof(err)) != KE_NONE)
			continue;
		created++;
	}
	return created;
}

void ctl_topics_wanted(struct ctl *c, struct msg *m)
{
	struct wanted *w = malloc(sizeof(*w));
	if (c->stopping || !c->cfg->auto_create_topics || !w || !ctl_change_begin(c)) {
		free(w);
		mesh_answer(&c->port, m);
		return;
	}
	uint32_t created = create_all(c, m);
	if (created == 0)
		ctl_change_drop(c);
	else if (ctl_change_commit(c) ==
		 KE_NONE) /* a failure has been logged; the topics are not there */
		log_info("control",
			"%u topic(s) created on demand, with %d partition(s) each; asked for: %s",
			created, c->cfg->num_partitions, (const char *)m->wanted.names.p);
	*w = (struct wanted){.m = m, .wait = {.done = served}};
	ctl_when_served(c, &w->wait);
}
