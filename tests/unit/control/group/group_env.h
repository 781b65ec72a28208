/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_GROUP_ENV_H
#define MR_TESTS_GROUP_ENV_H

/*
 * A group coordinator in virtual time, with named clients, a log that is kept in memory, and a
 * transcript: one line per answer. Member ids are shown by the name of who has them; "?" is an id
 * that its member has not been told yet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/check.h"
#include "control/group/group.h"
#include "kafka/errcode.h"

#define PARTS 4
#define MAX_CLIENTS 64
#define WALL0 1700000000000ll

struct client {
	const char *name;
	char id[128];
	char old_id[128]; /* the one before */
	const char *instance;
	int16_t version; /* of JoinGroup */
	int32_t session_ms;
	int32_t rebalance_ms;
	const char *type;
	const char *protocols[4]; /* NULL-terminated; metadata is the client's name and `meta` */
	const char *meta;
	int32_t generation;
	bool leads;
	bool skip;
	char assignment[128];
	char metadata[64];
};

enum api { JOIN, SYNC, HEARTBEAT, LEAVE, COMMIT, DELETE_OFFSETS, DELETE_GROUPS };

struct token {
	struct env *e;
	struct client *cl;
	enum api api;
	bool answered;
	int16_t error;
	/* of the client when it asked */
	char id[128];
	int32_t generation;
};

struct record {
	uint32_t partition;
	struct kbytes key, value; /* owned */
};

struct env {
	struct grp_config cfg;
	struct grp_core *core;
	struct grp_now now;
	struct client *clients[MAX_CLIENTS];
	uint32_t client_count;
	uint32_t next_random;
	struct list writes; /* grp_write that are out, oldest first */
	bool hold_writes;
	int16_t fail_writes;
	struct record *log;
	uint32_t log_count, log_room;
	struct token **tokens;
	uint32_t token_count, token_room;
	/* NULL: not watched */
	void (*joined)(struct env *e, struct client *cl, void *arg);
	void (*synced)(struct env *e, struct token *t, void *arg);
	void *watch_arg;
	char text[16384];
	size_t text_len;
};

/* ---- transcript ---- */

__attribute__((format(printf, 2, 3))) static inline void say(struct env *e, const char *f, ...)
{
	va_list ap;
	va_start(ap, f);
	e->text_len +=
		(size_t)vsnprintf(e->text + e->text_len, sizeof(e->text) - e->text_len, f, ap);
	va_end(ap);
	assert_true(e->text_len < sizeof(e->text));
}

/* Compares what was said since the last time. */
static inline void expect(struct env *e, const char *text)
{
	assert_string_equal(e->text, text);
	e->text_len = 0;
	e->text[0] = 0;
}

static inline const char *name_of(struct env *e, struct kstr id)
{
	for (uint32_t i = 0; i < e->client_count; i++) {
		if (id.len > 0 && kstr_equal(id, kstr_of(e->clients[i]->id)))
			return e->clients[i]->name;
		if (id.len > 0 && kstr_equal(id, kstr_of(e->clients[i]->old_id)))
			return "old";
	}
	return id.len > 0 ? "?" : "none";
}

/* ---- the sink ---- */

static inline void told_join(struct env *e, struct token *t, const struct kp_join_group_response *r)
{
	struct client *cl = t->cl;
	t->error = r->error_code;
	if (r->error_code == KE_NONE || r->error_code == KE_MEMBER_ID_REQUIRED) {
		if (!kstr_equal(r->member_id, kstr_of(cl->id))) {
			snprintf(cl->old_id, sizeof(cl->old_id), "%s", cl->id);
			kstr_copy(r->member_id, cl->id, sizeof(cl->id));
		}
	}
	if (r->error_code) {
		say(e, "%s join: %s\n", cl->name, ke_name(r->error_code));
		return;
	}
	cl->generation = r->generation_id;
	cl->leads = kstr_equal(r->leader, r->member_id);
	cl->skip = r->skip_assignment;
	if (e->joined)
		e->joined(e, cl, e->watch_arg);
	say(e, "%s joined %d %.*s leader %s%s", cl->name, r->generation_id, r->protocol_name.len,
		r->protocol_name.p, name_of(e, r->leader), r->skip_assignment ? " skip" : "");
	for (int32_t i = 0; i < r->n_members; i++)
		say(e, "%s %s=%.*s", i == 0 ? " of" : "", name_of(e, r->members[i].member_id),
			r->members[i].metadata.len, r->members[i].metadata.p);
	say(e, "\n");
}

static inline void told_commit(
	struct env *e, struct token *t, const struct kp_offset_commit_response *r)
{
	say(e, "%s commit:", t->cl->name);
	for (int32_t i = 0; i < r->n_topics; i++)
		for (int32_t p = 0; p < r->topics[i].n_partitions; p++) {
			t->error = r->topics[i].partitions[p].error_code;
			say(e, " %.*s-%d %s", r->topics[i].name.len, r->topics[i].name.p,
				r->topics[i].partitions[p].index, ke_name(t->error));
		}
	say(e, "\n");
}

static inline void told_leave(
	struct env *e, struct token *t, const struct kp_leave_group_response *r)
{
	t->error = r->error_code;
	say(e, "%s leave: %s", t->cl->name, ke_name(r->error_code));
	for (int32_t i = 0; i < r->n_members; i++)
		say(e, " %s", ke_name(r->members[i].error_code));
	say(e, "\n");
}

static inline void told_sync(struct env *e, struct token *t, const struct kp_sync_group_response *r)
{
	struct client *cl = t->cl;
	t->error = r->error_code;
	if (r->error_code) {
		say(e, "%s sync: %s\n", cl->name, ke_name(r->error_code));
		return;
	}
	snprintf(cl->assignment, sizeof(cl->assignment), "%.*s", r->assignment.len,
		r->assignment.p ? (const char *)r->assignment.p : "");
	if (e->synced)
		e->synced(e, t, e->watch_arg);
	say(e, "%s synced \"%s\"\n", cl->name, cl->assignment);
}

static inline void told_offsets_gone(
	struct env *e, struct token *t, const struct kp_offset_delete_response *r)
{
	t->error = r->error_code;
	say(e, "%s delete offsets: %s", t->cl->name, ke_name(r->error_code));
	for (int32_t i = 0; i < r->n_topics; i++)
		for (int32_t p = 0; p < r->topics[i].n_partitions; p++)
			say(e, " %.*s-%d %s", r->topics[i].name.len, r->topics[i].name.p,
				r->topics[i].partitions[p].index,
				ke_name(r->topics[i].partitions[p].error_code));
	say(e, "\n");
}

static inline void told_groups_gone(
	struct env *e, struct token *t, const struct kp_delete_groups_response *r)
{
	say(e, "%s delete:", t->cl->name);
	for (int32_t i = 0; i < r->n_results; i++)
		say(e, " %.*s %s", r->results[i].group_id.len, r->results[i].group_id.p,
			ke_name(t->error = r->results[i].error_code));
	say(e, "\n");
}

static inline void on_reply(void *ctx, void *token, const void *response)
{
	struct env *e = ctx;
	struct token *t = token;
	assert_false(t->answered);
	t->answered = true;
	switch (t->api) {
	case JOIN:
		told_join(e, t, response);
		return;
	case SYNC:
		told_sync(e, t, response);
		return;
	case HEARTBEAT:
		t->error = ((const struct kp_heartbeat_response *)response)->error_code;
		say(e, "%s heartbeat: %s\n", t->cl->name, ke_name(t->error));
		return;
	case LEAVE:
		told_leave(e, t, response);
		return;
	case COMMIT:
		told_commit(e, t, response);
		return;
	case DELETE_OFFSETS:
		told_offsets_gone(e, t, response);
		return;
	case DELETE_GROUPS:
		told_groups_gone(e, t, response);
		return;
	}
}

static inline void on_append(void *ctx, struct grp_write *w)
{
	struct env *e = ctx;
	list_push_back(&e->writes, &w->node);
}

static inline struct kbytes keep(struct kbytes b)
{
	uint8_t *p = NULL;
	if (b.len >= 0) {
		p = malloc((size_t)b.len + 1);
		memcpy(p, b.p, (size_t)b.len);
	}
	return (struct kbytes){.p = p, .len = b.len};
}

static inline void log_add(
	struct env *e, uint32_t partition, struct kbytes key, struct kbytes value)
{
	if (e->log_count == e->log_room) {
		e->log_room = e->log_room * 2 + 64;
		e->log = realloc(e->log, e->log_room * sizeof(*e->log));
	}
	e->log[e->log_count++] = (struct record){partition, keep(key), keep(value)};
}

/* The oldest write is over. False: none is out. */
static inline bool write_one(struct env *e, int16_t error)
{
	struct list *n = list_pop_front(&e->writes);
	struct kbytes key, value;
	uint32_t at = 0, count = 0;
	if (!n)
		return false;
	struct grp_write *w = list_entry(n, struct grp_write, node);
	while (grp_write_next(w, &at, &key, &value)) {
		if (!error)
			log_add(e, w->partition, key, value);
		count++;
	}
	assert_int_equal(count, w->count);
	grp_written(e->core, e->now, w, error);
	return true;
}

static inline void after(struct env *e)
{
	while (!e->hold_writes && write_one(e, e->fail_writes))
		;
	grp_check(e->core);
}

/* ---- time ---- */

static inline void pass_ms(struct env *e, int32_t ms)
{
	uint64_t end = e->now.ns + (uint64_t)ms * 1000000;
	int64_t wall_end = e->now.wall_ms + ms;
	while (e->now.ns < end) {
		uint64_t next = grp_next_ns(e->core);
		next = next < end ? max_of(next, e->now.ns) : end;
		e->now.wall_ms = wall_end - (int64_t)((end - next) / 1000000);
		e->now.ns = next;
		grp_tick(e->core, e->now);
		after(e);
	}
}

/* ---- requests ---- */

static inline struct client *client_new(struct env *e, const char *name)
{
	struct client *cl = calloc(1, sizeof(*cl));
	*cl = (struct client){.name = name,
		.version = 5,
		.session_ms = 10000,
		.rebalance_ms = 60000,
		.type = "consumer",
		.protocols = {"range"},
		.meta = "",
		.generation = -1};
	assert_true(e->client_count < MAX_CLIENTS);
	e->clients[e->client_count++] = cl;
	return cl;
}

static inline struct token *token_new(struct env *e, struct client *cl, enum api api)
{
	struct token *t = calloc(1, sizeof(*t));
	*t = (struct token){.e = e, .cl = cl, .api = api, .generation = cl->generation};
	snprintf(t->id, sizeof(t->id), "%s", cl->id);
	if (e->token_count == e->token_room) {
		e->token_room = e->token_room * 2 + 64;
		e->tokens = realloc(e->tokens, e->token_room * sizeof(struct token *));
	}
	e->tokens[e->token_count++] = t;
	return t;
}

static inline struct kstr instance_of(const struct client *cl)
{
	return kstr_of(cl->instance); /* NULL: null */
}

static inline struct token *join_group(struct env *e, struct client *cl, const char *group)
{
	struct kp_join_group_request req;
	struct kp_join_group_request_protocol p[4];
	uint8_t random[GRP_RANDOM_SIZE] = {0};
	kp_default_join_group_request(&req);
	snprintf(cl->metadata, sizeof(cl->metadata), "%s%s", cl->name, cl->meta);
	req.group_id = kstr_of(group);
	req.session_timeout_ms = cl->session_ms;
	req.rebalance_timeout_ms = cl->rebalance_ms;
	req.member_id = kstr_of(cl->id);
	req.group_instance_id = instance_of(cl);
	req.protocol_type = kstr_of(cl->type);
	req.protocols = p;
	for (int i = 0; cl->protocols[i]; i++) {
		p[i].name = kstr_of(cl->protocols[i]);
		p[i].metadata = (struct kbytes){
			.p = (const uint8_t *)cl->metadata, .len = (int32_t)strlen(cl->metadata)};
		req.n_protocols++;
	}
	be32_put(random + 12, e->next_random++);
	struct grp_client client = {.id = kstr_of(cl->name), .host = kstr_of("/10.0.0.1")};
	struct token *t = token_new(e, cl, JOIN);
	grp_join(e->core, e->now, t, cl->version, &client, random, &req);
	after(e);
	return t;
}
static inline struct token *join(struct env *e, struct client *cl)
{
	return join_group(e, cl, "g");
}

/* Version 4 and later: gets an id and comes back with it; says nothing of the first step. */
static inline struct token *join_twice(struct env *e, struct client *cl)
{
	size_t len = e->text_len;
	struct token *t = join(e, cl);
	assert_int_equal(t->error, KE_MEMBER_ID_REQUIRED);
	e->text_len = len;
	e->text[len] = 0;
	return join(e, cl);
}

/* others: the members that a leader assigns "<name>!" to, NULL-terminated; NULL: a follower. */
static inline struct token *sync_group(
	struct env *e, struct client *cl, const char *group, struct client **others)
{
	struct kp_sync_group_request req;
	struct kp_sync_group_request_assignment a[MAX_CLIENTS];
	static char texts[MAX_CLIENTS][64];
	kp_default_sync_group_request(&req);
	req.group_id = kstr_of(group);
	req.generation_id = cl->generation;
	req.member_id = kstr_of(cl->id);
	req.group_instance_id = instance_of(cl);
	req.assignments = a;
	for (; others && others[req.n_assignments]; req.n_assignments++) {
		struct client *o = others[req.n_assignments];
		snprintf(texts[req.n_assignments], 64, "%s!", o->name);
		a[req.n_assignments].member_id = kstr_of(o->id);
		a[req.n_assignments].assignment =
			(struct kbytes){.p = (const uint8_t *)texts[req.n_assignments],
				.len = (int32_t)strlen(texts[req.n_assignments])};
	}
	struct token *t = token_new(e, cl, SYNC);
	grp_sync(e->core, e->now, t, &req);
	after(e);
	return t;
}
static inline struct token *follow(struct env *e, struct client *cl)
{
	return sync_group(e, cl, "g", NULL);
}
#define lead(e, cl, ...) sync_group(e, cl, "g", (struct client *[]){__VA_ARGS__, NULL})

static inline struct token *heartbeat_group(struct env *e, struct client *cl, const char *group)
{
	struct kp_heartbeat_request req;
	kp_default_heartbeat_request(&req);
	req.group_id = kstr_of(group);
	req.generation_id = cl->generation;
	req.member_id = kstr_of(cl->id);
	req.group_instance_id = instance_of(cl);
	struct token *t = token_new(e, cl, HEARTBEAT);
	grp_heartbeat(e->core, e->now, t, &req);
	after(e);
	return t;
}
static inline struct token *heartbeat(struct env *e, struct client *cl)
{
	return heartbeat_group(e, cl, "g");
}

static inline struct token *leave_version(
	struct env *e, struct client *cl, const char *group, int16_t version)
{
	struct kp_leave_group_request req;
	struct kp_leave_group_request_member m;
	kp_default_leave_group_request(&req);
	kp_default_leave_group_request_member(&m);
	req.group_id = kstr_of(group);
	req.member_id = m.member_id = kstr_of(cl->id);
	m.group_instance_id = instance_of(cl);
	req.members = &m;
	req.n_members = version >= 3;
	struct token *t = token_new(e, cl, LEAVE);
	grp_leave(e->core, e->now, t, version, &req);
	after(e);
	return t;
}
static inline struct token *leave(struct env *e, struct client *cl)
{
	return leave_version(e, cl, "g", 1);
}

struct commit_args {
	int16_t version;
	const char *group;
	const char *topic;
	int32_t partition;
	int64_t offset;
	const char *metadata;
	int64_t keep_ms; /* 0: by the broker */
	int32_t epoch;
	const struct grp_topic_check *check;
};
static inline struct token *commit_with(struct env *e, struct client *cl, struct commit_args a)
{
	struct kp_offset_commit_request req;
	struct kp_offset_commit_request_topic t;
	struct kp_offset_commit_request_partition p;
	kp_default_offset_commit_request(&req);
	kp_default_offset_commit_request_topic(&t);
	kp_default_offset_commit_request_partition(&p);
	p.index = a.partition;
	p.committed_offset = a.offset;
	p.committed_leader_epoch = a.epoch;
	p.committed_metadata = kstr_of(a.metadata);
	t.name = kstr_of(a.topic ? a.topic : "t");
	t.partitions = &p;
	t.n_partitions = 1;
	req.group_id = kstr_of(a.group ? a.group : "g");
	req.generation_id = cl->generation;
	req.member_id = kstr_of(cl->id);
	req.group_instance_id = instance_of(cl);
	req.retention_time_ms = a.keep_ms > 0 ? a.keep_ms : -1;
	req.topics = &t;
	req.n_topics = 1;
	struct token *k = token_new(e, cl, COMMIT);
	grp_commit(e->core, e->now, k, a.version ? a.version : 7, &req, a.check);
	after(e);
	return k;
}
static inline struct token *commit(
	struct env *e, struct client *cl, int32_t partition, int64_t offset)
{
	return commit_with(e, cl, (struct commit_args){.partition = partition, .offset = offset});
}

static inline struct token *delete_offsets(struct env *e, struct client *cl, const char *group,
	const char *topic, int32_t partition, const struct grp_partition_check *check)
{
	struct kp_offset_delete_request req;
	struct kp_offset_delete_request_partition p[2] = {
		{.index = partition}, {.index = partition + 1}};
	struct kp_offset_delete_request_topic t = {
		.name = kstr_of(topic), .partitions = p, .n_partitions = 2};
	kp_default_offset_delete_request(&req);
	req.group_id = kstr_of(group);
	req.topics = &t;
	req.n_topics = 1;
	struct token *k = token_new(e, cl, DELETE_OFFSETS);
	grp_delete_offsets(e->core, e->now, k, &req, check);
	after(e);
	return k;
}

/* groups: NULL-terminated. */
static inline struct token *delete_groups(struct env *e, struct client *cl, const char **groups)
{
	struct kstr names[8];
	struct kp_delete_groups_request req;
	kp_default_delete_groups_request(&req);
	req.groups_names = names;
	for (; groups[req.n_groups_names]; req.n_groups_names++)
		names[req.n_groups_names] = kstr_of(groups[req.n_groups_names]);
	struct token *k = token_new(e, cl, DELETE_GROUPS);
	grp_delete_groups(e->core, e->now, k, &req);
	after(e);
	return k;
}

/* The committed offset; -1: none; -100 - error. */
static inline int64_t fetch_offset(struct env *e, const char *group, const char *topic, int32_t p)
{
	const struct grp *g;
	int16_t error = grp_find(e->core, kstr_of(group), &g);
	if (error)
		return -100 - error;
	const struct grp_offset *o = g ? grp_offset_find(g, kstr_of(topic), p) : NULL;
	return o ? o->offset : -1;
}

/* ---- life ---- */

static inline void open_core(struct env *e)
{
	struct grp_sink sink = {.ctx = e, .reply = on_reply, .append = on_append};
	e->core = grp_core_open(&e->cfg, &sink, e->now);
	assert_non_null(e->core);
	assert_int_equal(grp_set_partitions(e->core, PARTS, e->now), 0);
}

static inline void replay_all(struct env *e, struct grp_core *core)
{
	for (uint32_t i = 0; i < e->log_count; i++)
		assert_true(grp_replay(core, e->log[i].partition, e->log[i].key, e->log[i].value));
	for (uint32_t p = 0; p < PARTS; p++)
		grp_loaded(core, p, e->now);
}

/* Every request was answered, and nothing is left in memory. */
static inline void close_core(struct env *e)
{
	grp_drain(e->core, e->now);
	grp_check(e->core);
	while (write_one(e, KE_NONE))
		;
	struct grp_stats s = grp_core_stats(e->core);
	assert_int_equal(s.bytes, 0);
	assert_int_equal(s.parked, 0);
	grp_core_close(e->core);
	e->core = NULL;
	for (uint32_t i = 0; i < e->token_count; i++)
		assert_true(e->tokens[i]->answered);
}

/* As after kill -9: what was not in the log is lost. */
static inline void restart(struct env *e)
{
	while (write_one(e, KE_KAFKA_STORAGE_ERROR))
		;
	close_core(e);
	e->text_len = 0;
	e->text[0] = 0;
	open_core(e);
	replay_all(e, e->core);
	grp_check(e->core);
}

static inline int setup_env(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	grp_config_defaults(&e->cfg);
	e->cfg.hash_seed = 1;
	e->now = (struct grp_now){.ns = 1000000000ull, .wall_ms = WALL0};
	list_init(&e->writes);
	open_core(e);
	replay_all(e, e->core);
	*state = e;
	return 0;
}

static inline void log_clear(struct env *e)
{
	for (uint32_t i = 0; i < e->log_count; i++) {
		free((void *)e->log[i].key.p);
		free((void *)e->log[i].value.p);
	}
	e->log_count = 0;
}

static inline int teardown_env(void **state)
{
	struct env *e = *state;
	close_core(e);
	log_clear(e);
	for (uint32_t i = 0; i < e->token_count; i++)
		free(e->tokens[i]);
	for (uint32_t i = 0; i < e->client_count; i++)
		free(e->clients[i]);
	free(e->tokens);
	free(e->log);
	free(e);
	return 0;
}

#define group_test(f) cmocka_unit_test_setup_teardown(f, setup_env, teardown_env)

#endif
