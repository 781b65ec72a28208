/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/client/client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "kafka/header.h"

/* Arrays take more memory than bytes on the wire, but not more than this many times. */
#define REPLY_GROWTH 96u
#define REPLY_LEAST (64u << 10)
#define BACK_OFF_FIRST_MS 50
#define BACK_OFF_MAX_MS 1000

struct client_broker {
	int32_t node; /* CLIENT_ANY: the connection to a bootstrap address */
	struct conn conn;
};

struct client {
	struct client_options options;
	struct address bootstrap[ADDRESS_LIST];
	int bootstrap_count;
	struct client_broker *brokers; /* [0] is the one for CLIENT_ANY */
	uint32_t broker_count;
	int32_t controller;
	bool asked; /* metadata has been had */
	uint8_t *out;
	size_t out_size;
	char error[CONN_ERROR];
};

struct client *client_open(const struct client_options *options)
{
	struct client *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->options = *options;
	c->controller = CLIENT_ANY;
	c->bootstrap_count = address_list_parse(options->bootstrap, c->bootstrap);
	c->brokers = calloc(CLIENT_BROKERS, sizeof(*c->brokers));
	if (c->bootstrap_count < 0 || !c->brokers) {
		free(c->brokers);
		free(c);
		return NULL;
	}
	c->broker_count = 1;
	c->brokers[0] = (struct client_broker){
		.node = CLIENT_ANY, .conn = {.fd = -1, .stop_fd = options->stop_fd}};
	return c;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; i < c->broker_count; i++)
		conn_close(&c->brokers[i].conn);
	free(c->brokers);
	free(c->out);
	free(c);
}

void reply_free(struct reply *r)
{
	free(r->bytes);
	if (r->memory)
		munmap(r->memory, r->memory_size);
	*r = (struct reply){0};
}

const char *client_error(const struct client *c)
{
	return c->error;
}

static int client_fail(struct client *c, int err, const char *text)
{
	snprintf(c->error, sizeof(c->error), "%s", text);
	return err;
}

uint64_t client_deadline(const struct client *c)
{
	return clock_mono_ns() + (uint64_t)c->options.timeout_ms * NS_PER_MS;
}

int client_back_off(struct client *c, uint32_t n)
{
	int ms = n > 4 ? BACK_OFF_MAX_MS : min_of(BACK_OFF_FIRST_MS << n, BACK_OFF_MAX_MS);
	struct pollfd p = {.fd = c->options.stop_fd, .events = POLLIN};
	if (poll(&p, 1, ms) > 0)
		return client_fail(c, CLIENT_E_STOPPED, "interrupted");
	return CLIENT_OK;
}

static const struct kp_message *message_of(enum kp_api_key key)
{
	for (uint32_t i = 0; i < KP_MESSAGE_COUNT; i++)
		if (kp_messages[i].key == (int16_t)key)
			return &kp_messages[i];
	CHECK(!"an api that the codec has");
	return NULL;
}

/* The last version that names topics. */
static int16_t version_cap(enum kp_api_key key)
{
	switch (key) {
	case KP_PRODUCE:
	case KP_FETCH:
		return 12;
	case KP_OFFSET_COMMIT:
	case KP_OFFSET_FETCH:
		return 9;
	default:
		return INT16_MAX;
	}
}

int client_version_pick(const struct kp_message *message, struct conn_range broker, int16_t cap)
{
	int16_t high = min_of(min_of(message->max, broker.max), cap);
	return high >= max_of(message->min, broker.min) ? high : CLIENT_E_VERSION;
}

/* Encodes into c->out. The length of the frame, 0: no memory. */
static size_t encode(struct client *c, const struct kp_message *m, int16_t version,
	int32_t correlation_id, const void *request)
{
	const struct kp_api api = {.key = m->key, .flexible = m->flexible};
	struct kwr k = kwr_counter();
	kp_request_begin(&k, &api, version, correlation_id, kstr_of(c->options.client_id));
	m->request.encode(&k, version, request);
	if (k.w.need > c->out_size) {
		free(c->out);
		c->out = malloc(k.w.need);
		c->out_size = c->out ? k.w.need : 0;
		if (!c->out)
			return 0;
	}
	k = kwr_of(c->out, c->out_size);
	kp_request_begin(&k, &api, version, correlation_id, kstr_of(c->options.client_id));
	m->request.encode(&k, version, request);
	return kp_request_end(&k) ? kwr_len(&k) : 0;
}

/* Memory for what `len` bytes decode to. */
static bool reply_memory(struct reply *r, uint32_t len, struct arena *a)
{
	size_t need = (size_t)len * REPLY_GROWTH + REPLY_LEAST;
	if (need > r->memory_size) {
		if (r->memory)
			munmap(r->memory, r->memory_size);
		r->memory = mmap(NULL, need, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		r->memory_size = r->memory == MAP_FAILED ? 0 : need;
		if (r->memory == MAP_FAILED)
			r->memory = NULL;
	}
	arena_init(a, r->memory, r->memory_size);
	return r->memory != NULL;
}

static int decode(struct conn *conn, const struct kp_message *m, int16_t version, uint32_t len,
	void *response, struct reply *reply)
{
	const struct kp_api api = {.key = m->key, .flexible = m->flexible};
	struct rd r = rd_of(reply->bytes, len);
	struct arena a;
	int32_t correlation_id;
	if (!reply_memory(reply, len, &a))
		return conn_fail(conn, CLIENT_E_NOMEM, "no memory for the answer");
	if (kp_response_header_decode(&r, &api, version, &correlation_id) ||
		correlation_id != conn->correlation_id)
		return conn_fail(conn, CLIENT_E_PROTOCOL, "%s:%u: the answer is not to our request",
			conn->at.host, conn->at.port);
	/* KIP-511: a broker that does not know our version of ApiVersions answers in version 0. */
	if (m->key == KP_API_VERSIONS && rd_left(&r) >= 2 &&
		(int16_t)be16_get(r.p) == KE_UNSUPPORTED_VERSION)
		version = 0;
	if (m->response.decode(&r, version, response, &a))
		return conn_fail(conn, CLIENT_E_PROTOCOL, "%s:%u: the answer to %s cannot be read",
			conn->at.host, conn->at.port, m->name);
	reply->version = version;
	conn->used = true;
	return CLIENT_OK;
}

/* One request over a connection that is open. */
static int exchange(struct client *c, struct conn *conn, const struct kp_message *m,
	int16_t version, const void *request, void *response, struct reply *reply,
	uint64_t deadline_ns)
{
	size_t n = encode(c, m, version, ++conn->correlation_id, request);
	uint32_t len;
	if (n == 0)
		return conn_fail(conn, CLIENT_E_NOMEM, "no memory for the request");
	int rc = conn_send(conn, c->out, n, deadline_ns);
	if (rc == CLIENT_OK && response) {
		rc = conn_receive(conn, &reply->bytes, &reply->size, &len, deadline_ns);
		if (rc == CLIENT_OK)
			rc = decode(conn, m, version, len, response, reply);
	}
	if (rc)
		conn_close(conn);
	return rc;
}

/* Learns which versions the broker serves. */
static int negotiate(struct client *c, struct conn *conn, uint64_t deadline_ns)
{
	const struct kp_message *m = message_of(KP_API_VERSIONS);
	struct reply reply = {0};
	struct kp_api_versions_response rs;
	struct kp_api_versions_request rq;
	kp_default_api_versions_request(&rq);
	rq.client_software_name = kstr_of("millctl");
	rq.client_software_version = kstr_of(MR_VERSION);
	int rc = exchange(c, conn, m, 3, &rq, &rs, &reply, deadline_ns);
	if (rc == CLIENT_OK && rs.error_code == KE_UNSUPPORTED_VERSION)
		rc = exchange(c, conn, m, 0, &rq, &rs, &reply, deadline_ns);
	if (rc == CLIENT_OK && rs.error_code)
		rc = conn_fail(conn, CLIENT_E_PROTOCOL, "%s:%u: ApiVersions: %s", conn->at.host,
			conn->at.port, ke_name(rs.error_code));
	for (int i = 0; i < CONN_KEYS; i++)
		conn->versions[i] = (struct conn_range){.min = 0, .max = -1};
	for (int32_t i = 0; rc == CLIENT_OK && i < rs.n_api_keys; i++) {
		const struct kp_api_versions_response_api_key *k = &rs.api_keys[i];
		if (k->key >= 0 && k->key < CONN_KEYS)
			conn->versions[k->key] =
				(struct conn_range){k->min_version, k->max_version};
	}
	reply_free(&reply);
	if (rc)
		conn_close(conn);
	return rc;
}

/* Opens the connection if it is not; `fresh` tells whether it was not. */
static int ready(struct client *c, struct client_broker *b, uint64_t deadline_ns, bool *fresh)
{
	*fresh = b->conn.fd < 0;
	if (!*fresh)
		return CLIENT_OK;
	int addresses = b->node == CLIENT_ANY ? c->bootstrap_count : 1;
	int rc = CLIENT_E_REACH;
	for (int i = 0; i < addresses && rc != CLIENT_OK && rc != CLIENT_E_STOPPED; i++) {
		if (b->node == CLIENT_ANY)
			b->conn.at = c->bootstrap[i];
		uint64_t now = clock_mono_ns();
		uint64_t share =
			deadline_ns > now ? (deadline_ns - now) / (uint64_t)(addresses - i) : 0;
		rc = conn_open(&b->conn, now + share);
		if (rc == CLIENT_OK)
			rc = negotiate(c, &b->conn, now + share);
	}
	return rc;
}

static struct client_broker *broker_of(struct client *c, int32_t node)
{
	for (uint32_t i = 0; i < c->broker_count; i++)
		if (c->brokers[i].node == node)
			return &c->brokers[i];
	return NULL;
}

static int call(struct client *c, int32_t node, enum kp_api_key key, const void *request,
	void *response, struct reply *reply, uint64_t deadline_ns)
{
	struct client_broker *b = broker_of(c, node);
	const struct kp_message *m = message_of(key);
	bool fresh;
	if (!b)
		return client_fail(c, CLIENT_E_REACH, "the broker that is needed is not known");
	for (;;) {
		int rc = ready(c, b, deadline_ns, &fresh);
		if (rc)
			return client_fail(c, rc, b->conn.error);
		int version = client_version_pick(m, b->conn.versions[key], version_cap(key));
		if (version < 0) {
			snprintf(c->error, sizeof(c->error),
				"the broker has no version of %s that millctl knows", m->name);
			return version;
		}
		rc = exchange(
			c, &b->conn, m, (int16_t)version, request, response, reply, deadline_ns);
		if (rc == CLIENT_OK)
			return rc;
		if (rc != CLIENT_E_REACH || fresh || key == KP_PRODUCE ||
			clock_mono_ns() >= deadline_ns)
			return client_fail(c, rc, b->conn.error);
	}
}

int client_call(struct client *c, int32_t node, enum kp_api_key key, const void *request,
	void *response, struct reply *reply)
{
	return call(c, node, key, request, response, reply, client_deadline(c));
}

int client_call_waiting(struct client *c, int32_t node, enum kp_api_key key, const void *request,
	void *response, struct reply *reply, int64_t extra_ms)
{
	uint64_t deadline = client_deadline(c) + (uint64_t)extra_ms * NS_PER_MS;
	return call(c, node, key, request, response, reply, deadline);
}

int client_tell(struct client *c, int32_t node, enum kp_api_key key, const void *request)
{
	return call(c, node, key, request, NULL, NULL, client_deadline(c));
}

int client_version(struct client *c, int32_t node, enum kp_api_key key)
{
	const struct conn_range *ranges = client_ranges(c, node);
	return ranges ? client_version_pick(message_of(key), ranges[key], version_cap(key))
		      : CLIENT_E_REACH;
}

const struct conn_range *client_ranges(struct client *c, int32_t node)
{
	struct client_broker *b = broker_of(c, node);
	bool fresh;
	if (!b)
		return NULL;
	int rc = ready(c, b, client_deadline(c), &fresh);
	if (rc) {
		client_fail(c, rc, b->conn.error);
		return NULL;
	}
	return b->conn.versions;
}

/* Notes where a broker is. What does not fit into the list is not reachable. */
static void learn(struct client *c, int32_t node, struct kstr host, int32_t port)
{
	struct client_broker *b = broker_of(c, node);
	struct address at = {.port = (uint16_t)port};
	kstr_copy(host, at.host, sizeof(at.host));
	if (node < 0 || port <= 0 || port > UINT16_MAX || host.len <= 0)
		return;
	if (!b && c->broker_count == CLIENT_BROKERS)
		return;
	if (b && b->conn.at.port == at.port && strcmp(b->conn.at.host, at.host) == 0)
		return;
	if (b)
		conn_close(&b->conn);
	else
		b = &c->brokers[c->broker_count++];
	*b = (struct client_broker){
		.node = node, .conn = {.fd = -1, .stop_fd = c->options.stop_fd, .at = at}};
}

int client_metadata(struct client *c, const struct kstr *names, int32_t count, bool create,
	struct kp_metadata_response *out, struct reply *reply)
{
	struct kp_metadata_request rq;
	struct kp_metadata_request_topic *topics = calloc((size_t)count + 1, sizeof(*topics));
	if (!topics)
		return client_fail(c, CLIENT_E_NOMEM, "no memory");
	kp_default_metadata_request(&rq);
	for (int32_t i = 0; names && i < count; i++)
		topics[i].name = names[i];
	rq.topics = topics;
	rq.n_topics = names ? count : -1;
	rq.allow_auto_topic_creation = create;
	int rc = client_call(c, CLIENT_ANY, KP_METADATA, &rq, out, reply);
	free(topics);
	if (rc)
		return rc;
	for (int32_t i = 0; i < out->n_brokers; i++)
		learn(c, out->brokers[i].node_id, out->brokers[i].host, out->brokers[i].port);
	c->controller = broker_of(c, out->controller_id) ? out->controller_id : CLIENT_ANY;
	c->asked = true;
	return CLIENT_OK;
}

int32_t client_controller(struct client *c)
{
	if (!c->asked) {
		static const struct kstr none = {.p = "", .len = 0};
		struct kp_metadata_response rs;
		struct reply reply = {0};
		client_metadata(c, &none, 0, false, &rs, &reply);
		reply_free(&reply);
	}
	return c->controller;
}

/* Error code of the answer; 0 with *node. */
static int16_t coordinator_answer(
	struct client *c, const struct kp_find_coordinator_response *rs, int32_t *node)
{
	if (rs->n_coordinators > 0) {
		const struct kp_find_coordinator_response_coordinator *k = &rs->coordinators[0];
		learn(c, k->node_id, k->host, k->port);
		*node = k->node_id;
		return k->error_code;
	}
	learn(c, rs->node_id, rs->host, rs->port);
	*node = rs->node_id;
	return rs->error_code;
}

int client_coordinator(struct client *c, const char *group, int32_t *node)
{
	struct kp_find_coordinator_request rq;
	struct kp_find_coordinator_response rs;
	struct reply reply = {0};
	struct kstr key = kstr_of(group);
	uint64_t deadline = client_deadline(c);
	int rc;
	kp_default_find_coordinator_request(&rq);
	rq.key = key;
	rq.coordinator_keys = &key;
	rq.n_coordinator_keys = 1;
	for (uint32_t n = 0;; n++) {
		rc = client_call(c, CLIENT_ANY, KP_FIND_COORDINATOR, &rq, &rs, &reply);
		if (rc == CLIENT_OK)
			rc = coordinator_answer(c, &rs, node);
		if (rc <= 0 || !ke_retriable((int16_t)rc) || clock_mono_ns() > deadline)
			break;
		int stopped = client_back_off(c, n);
		if (stopped) {
			rc = stopped;
			break;
		}
	}
	if (rc > 0)
		snprintf(c->error, sizeof(c->error), "%s: %s", ke_name((int16_t)rc),
			ke_text((int16_t)rc));
	reply_free(&reply);
	return rc;
}
