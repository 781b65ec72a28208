/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_LIB_SHARD_WORLD_H
#define MR_TESTS_LIB_SHARD_WORLD_H

/*
 * A whole shard, turned by hand: a scripted transport in front, a scripted storage behind, the time
 * an argument. For one .c file a program: the storage's functions are defined here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kafka/batch.h"
#include "kafka/messages.h"
#include "shard/shard_int.h"

/* ---- a scripted transport ---- */

#define OUT_MAX (4 << 20)

struct fconn {
	bool open;
	bool closed_by_us;
	bool paused;
	void *user;
	uint8_t *out;
	size_t out_len;
	uint64_t cookies[256];
	uint32_t cookie_count;
};

struct fnet {
	struct net net;
	struct fconn conns[8];
	struct net_event events[1024];
	uint32_t event_count;
	bool hold_sent; /* cookies are kept back */
};

static struct fnet *fnet_of(struct net *n)
{
	return container_of(n, struct fnet, net);
}

static void fnet_push(struct fnet *f, struct net_event ev)
{
	assert_true(f->event_count < array_size(f->events));
	f->events[f->event_count++] = ev;
}

static void fnet_report_sent(struct fnet *f, uint32_t c)
{
	struct fconn *fc = &f->conns[c];
	for (uint32_t i = 0; i < fc->cookie_count; i++)
		fnet_push(f, (struct net_event){.kind = NET_EV_SENT,
				     .conn = c,
				     .user = fc->user,
				     .sent = {.cookie = fc->cookies[i], .ok = fc->open}});
	fc->cookie_count = 0;
}

static uint32_t fnet_poll(struct net *n, uint64_t now_ns, struct net_event *ev, uint32_t max)
{
	struct fnet *f = fnet_of(n);
	if (!f->hold_sent)
		for (uint32_t c = 1; c < array_size(f->conns); c++)
			fnet_report_sent(f, c);
	uint32_t got = min_of(max, f->event_count);
	for (uint32_t i = 0; i < got; i++) {
		ev[i] = f->events[i];
		ev[i].user = f->conns[ev[i].conn].user;
	}
	memmove(f->events, f->events + got, (f->event_count - got) * sizeof(f->events[0]));
	f->event_count -= got;
	return got;
}

static int fnet_send(
	struct net *n, net_conn_t c, const struct net_iov *iov, uint32_t count, uint64_t cookie)
{
	struct fconn *fc = &fnet_of(n)->conns[c];
	if (fc->cookie_count == array_size(fc->cookies))
		return -ENOBUFS;
	for (uint32_t i = 0; i < count; i++) {
		assert_true(fc->out_len + iov[i].len <= OUT_MAX);
		memcpy(fc->out + fc->out_len, iov[i].p, iov[i].len);
		fc->out_len += iov[i].len;
	}
	fc->cookies[fc->cookie_count++] = cookie;
	return 0;
}

static void fnet_flush(struct net *n, uint64_t now_ns)
{
}

static void fnet_set_user(struct net *n, net_conn_t c, void *user)
{
	fnet_of(n)->conns[c].user = user;
}

static void fnet_pause(struct net *n, net_conn_t c, bool on)
{
	fnet_of(n)->conns[c].paused = on;
}

static void fnet_end(struct fnet *f, uint32_t c)
{
	if (!f->conns[c].open)
		return;
	f->conns[c].open = false;
	fnet_report_sent(f, c);
	fnet_push(f, (struct net_event){.kind = NET_EV_CLOSED, .conn = c});
}

static void fnet_close(struct net *n, net_conn_t c, bool abort)
{
	fnet_of(n)->conns[c].closed_by_us = true;
	fnet_end(fnet_of(n), (uint32_t)c);
}

static void fnet_stop(struct net *n)
{
}

static void fnet_wait(struct net *n, uint64_t now_ns, uint64_t until_ns)
{
}

static void fnet_end_all(struct net *n)
{
}

static void fnet_fini(struct net *n)
{
	waker_fini(&n->waker);
}

static const struct net_ops fnet_ops = {
	.poll = fnet_poll,
	.send = fnet_send,
	.flush = fnet_flush,
	.set_user = fnet_set_user,
	.pause = fnet_pause,
	.close = fnet_close,
	.stop_listening = fnet_stop,
	.wait = fnet_wait,
	.stop = fnet_end_all,
	.fini = fnet_fini,
};

/* ---- a scripted storage: requests wait in `held` until the test lets them go ---- */

struct st_worker {
	struct list held;
	struct list done;
	struct st_log *fake_log;
	bool hold; /* appends stay under way */
	enum st_err append_err;
	enum st_err open_err;
	enum st_err delete_err;
	uint32_t created;	       /* ST_OPEN with create */
	bool hold_trims;	       /* so do ST_TRIMs */
	bool hold_cleans;	       /* compactions stay under way */
	uint32_t pushed[ST_CLOSE + 1]; /* by enum st_op */
};

bool st_push(struct st_worker *w, uint16_t asker, struct st_req *r)
{
	w->pushed[r->op]++;
	list_init(&r->node);
	list_push_back(&w->held, &r->node);
	return true;
}

void st_notify(struct st_worker *w)
{
}

void st_set_waker(struct st_worker *w, uint16_t asker, struct waker *waker)
{
}

static void storage_answer(struct st_worker *w, struct st_req *r)
{
	r->err = ST_OK;
	if (r->op == ST_OPEN) {
		r->err = w->open_err;
		w->created += r->open.create;
		r->log = r->err ? NULL : (struct st_log *)w;
		r->open.segment_created_ms = -1;
		r->open.max_timestamp = -1;
	} else if (r->op == ST_APPEND) {
		r->err = w->append_err;
		r->append.released =
			(struct st_pos){r->append.segment, r->append.pos + r->append.span.len};
	} else if (r->op == ST_FILL) {
		r->fill.released = r->fill.wanted;
	} else if (r->op == ST_DELETE) {
		r->err = w->delete_err;
	} else if (r->op == ST_TRIM) {
		r->trim.log_start_offset = r->trim.offset;
	}
	list_remove(&r->node);
	list_push_back(&w->done, &r->node);
}

uint32_t st_pop(struct st_worker *w, uint16_t asker, struct st_req **out, uint32_t max)
{
	list_for_each_safe (it, &w->held) {
		struct st_req *r = list_entry(it, struct st_req, node);
		bool held = (r->op == ST_APPEND && w->hold) ||
			    (r->op == ST_CLEAN && w->hold_cleans) ||
			    (r->op == ST_TRIM && w->hold_trims);
		if (!held)
			storage_answer(w, r);
	}
	uint32_t n = 0;
	struct list *it;
	while (n < max && (it = list_pop_front(&w->done)))
		out[n++] = list_entry(it, struct st_req, node);
	return n;
}

/* ---- the world ---- */

#define PARTS 3
#define LOG_BYTES (LBLOCK_SIZE * 64)

struct world {
	struct fnet net;
	struct st_worker worker, *workers[1];
	struct mesh mesh;
	struct mesh_port control;
	struct shard *shard;
	struct image *image;
	struct msg image_msg;
	uint8_t *log;
	uint64_t now_ns;
};

static void turn(struct world *w, int times)
{
	for (int i = 0; i < times; i++) {
		w->now_ns += NS_PER_US;
		shard_turn(w->shard, w->now_ns, 1700000000000 + (int64_t)(w->now_ns / NS_PER_MS));
	}
}

static struct image *world_image_with(const struct image_quota *quotas, uint32_t quota_count)
{
	static const struct image_broker broker = {
		.node_id = 1, .port = 9092, .host = {"h", 1}, .rack = {NULL, -1}};
	static struct image_partition parts[PARTS];
	for (uint32_t i = 0; i < PARTS; i++)
		parts[i] = (struct image_partition){.part_id = i, .leader = 1};
	struct image_topic topic = {.name = {"t", 1},
		.id = {{1}},
		.config = image_topic_config_default,
		.partition_count = PARTS,
		.partitions = parts};
	struct image_source src = {.epoch = 1,
		.cluster_id = {"c", 1},
		.node_id = 1,
		.controller_id = 1,
		.brokers = &broker,
		.broker_count = 1,
		.topics = &topic,
		.topic_count = 1,
		.quotas = quotas,
		.quota_count = quota_count};
	return image_build(&src);
}

static struct image *world_image(void)
{
	return world_image_with(NULL, 0);
}

static void world_serve(struct world *w)
{
	w->image_msg.kind = MSG_IMAGE;
	w->image_msg.image.image = w->image;
	mesh_ask(&w->control, 0, &w->image_msg);
	mesh_flush(&w->control);
	turn(w, 12);
	struct msg *back[2];
	assert_int_equal(mesh_recv(&w->control, back, 2), 1);
	assert_ptr_equal(back[0], &w->image_msg);
	assert_int_equal(back[0]->image.failed, 0);
}

/* On a transport of the caller's (taken), or, when it is NULL, on a scripted one. */
static int world_setup_on(void **state, struct net *net, uint64_t now_ns)
{
	struct world *w = calloc(1, sizeof(*w));
	w->now_ns = now_ns;
	w->net.net.ops = &fnet_ops;
	assert_int_equal(waker_init(&w->net.net.waker), 0);
	for (unsigned i = 0; i < array_size(w->net.conns); i++)
		w->net.conns[i].out = malloc(OUT_MAX);
	list_init(&w->worker.held);
	list_init(&w->worker.done);
	w->workers[0] = &w->worker;
	assert_int_equal(mesh_init(&w->mesh, 2, 64), 0);
	mesh_port_init(&w->control, &w->mesh, 1);
	w->log = aligned_alloc(4096, LOG_BYTES);
	struct shard_config cfg = {.mesh = &w->mesh,
		.net = net ? net : &w->net.net,
		.workers = w->workers,
		.worker_count = 1,
		.log_memory = w->log,
		.log_bytes = LOG_BYTES,
		.request_bytes = 1 << 20,
		.store_reqs = 64,
		.frame_max = 4 << 20,
		.max_conns = 8,
		.conn_idle_ns = 600 * NS_PER_S,
		.fetch_session_slots = 2,
		.cpu = -1,
		.limits = {.fetch_max_bytes = 1 << 20, .fetch_part_max_bytes = 1 << 20}};
	w->shard = shard_create(&cfg);
	assert_non_null(w->shard);
	w->image = world_image();
	*state = w;
	return 0;
}

static int world_setup_without_image(void **state)
{
	return world_setup_on(state, NULL, 1000 * NS_PER_S);
}

static int world_setup(void **state)
{
	world_setup_without_image(state);
	world_serve(*state);
	return 0;
}

/* Ends every connection and stops the shard: whatever a test did, all memory must be back then. */
static int world_teardown(void **state)
{
	struct world *w = *state;
	struct msg stop = {.kind = MSG_STOP};
	w->worker.hold = w->worker.hold_cleans = w->worker.hold_trims = false;
	w->net.hold_sent = false;
	struct msg disconnect = {.kind = MSG_DISCONNECT};
	struct msg *back[2];
	mesh_ask(&w->control, 0, &disconnect);
	mesh_flush(&w->control);
	turn(w, 10);
	assert_int_equal(mesh_recv(&w->control, back, 2), 1);
	assert_ptr_equal(back[0], &disconnect);
	mesh_ask(&w->control, 0, &stop);
	mesh_flush(&w->control);
	turn(w, 10);
	assert_int_equal(mesh_recv(&w->control, back, 2), 1);
	assert_ptr_equal(back[0], &stop);
	assert_int_equal(w->shard->request_slab.used, 0);
	assert_int_equal(w->shard->session_slab.used, 0);
	assert_int_equal(w->shard->msgs.used, 0);
	assert_int_equal(w->shard->bufs.used, 0);
	assert_int_equal(w->shard->blocks.free_count, w->shard->blocks.count);
	shard_destroy(w->shard);
	image_free(w->image);
	mesh_fini(&w->mesh);
	for (unsigned i = 0; i < array_size(w->net.conns); i++)
		free(w->net.conns[i].out);
	free(w->log);
	free(w);
	return 0;
}

static void connect_client(struct world *w, uint32_t c)
{
	w->net.conns[c].open = true;
	fnet_push(&w->net, (struct net_event){.kind = NET_EV_ACCEPTED, .conn = c});
	turn(w, 1);
}

static void receive(struct world *w, uint32_t c, const uint8_t *p, uint32_t len)
{
	fnet_push(&w->net, (struct net_event){.kind = NET_EV_DATA, .conn = c, .data = {p, len}});
	turn(w, 1);
}

/* ---- requests ---- */

static uint32_t batch_of(uint8_t *buf, uint32_t size, const char *value)
{
	struct batch_build b;
	batch_build_begin(&b, buf, size);
	struct kbytes v = {(const uint8_t *)value, (int32_t)strlen(value)};
	struct kbytes key = {(const uint8_t *)"k", 1};
	batch_build_add(&b, 1700000000000, key, v, NULL, 0);
	return batch_build_finish(&b);
}

static uint32_t produce_frame(
	uint8_t *buf, uint32_t size, int32_t corr, int32_t part, const char *value)
{
	uint8_t batch[16384];
	struct kp_produce_request_partition p = {.index = part};
	p.records = (struct kbytes){batch, (int32_t)batch_of(batch, sizeof(batch), value)};
	struct kp_produce_request_topic t = {.name = {"t", 1}, .partitions = &p, .n_partitions = 1};
	struct kp_produce_request q;
	kp_default_produce_request(&q);
	q.topics = &t;
	q.n_topics = 1;
	struct kwr k = kwr_of(buf, size);
	kp_request_begin(&k, kp_api_find(KP_PRODUCE), 7, corr, (struct kstr){"x", 1});
	kp_encode_produce_request(&k, 7, &q);
	assert_true(kp_request_end(&k));
	return (uint32_t)kwr_len(&k);
}

static uint32_t fetch_frame(
	uint8_t *buf, uint32_t size, int32_t corr, int32_t part, int32_t wait_ms)
{
	struct kp_fetch_request_partition p;
	kp_default_fetch_request_partition(&p);
	p.index = part;
	p.max_bytes = 1 << 20;
	struct kp_fetch_request_topic t = {.name = {"t", 1}, .partitions = &p, .n_partitions = 1};
	struct kp_fetch_request q;
	kp_default_fetch_request(&q);
	q.max_wait_ms = wait_ms;
	q.min_bytes = 1;
	q.topics = &t;
	q.n_topics = 1;
	struct kwr k = kwr_of(buf, size);
	kp_request_begin(&k, kp_api_find(KP_FETCH), 4, corr, (struct kstr){"x", 1});
	kp_encode_fetch_request(&k, 4, &q);
	assert_true(kp_request_end(&k));
	return (uint32_t)kwr_len(&k);
}

/* Takes the next response off what was sent; returns its correlation id, -1: none. */
static int32_t next_response(struct world *w, uint32_t c, struct rd *body)
{
	static uint8_t copy[OUT_MAX];
	struct fconn *fc = &w->net.conns[c];
	if (fc->out_len < 8)
		return -1;
	uint32_t len = be32_get(fc->out);
	assert_true(fc->out_len >= len + 4);
	memcpy(copy, fc->out, len + 4);
	memmove(fc->out, fc->out + len + 4, fc->out_len - len - 4);
	fc->out_len -= len + 4;
	*body = rd_of(copy + 8, len - 4);
	return (int32_t)be32_get(copy + 4);
}

static void expect_produced(
	struct world *w, uint32_t c, int32_t corr, int16_t error, int64_t offset)
{
	static uint8_t mem[8192];
	struct arena a;
	struct rd body;
	struct kp_produce_response resp;
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, c, &body), corr);
	assert_int_equal(kp_decode_produce_response(&body, 7, &resp, &a), 0);
	assert_int_equal(resp.topics[0].partitions[0].error_code, error);
	assert_int_equal(resp.topics[0].partitions[0].base_offset, offset);
}

static uint32_t expect_fetched(struct world *w, uint32_t c, int32_t corr)
{
	static uint8_t mem[8192];
	struct arena a;
	struct rd body;
	struct kp_fetch_response resp;
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(next_response(w, c, &body), corr);
	assert_int_equal(kp_decode_fetch_response(&body, 4, &resp, &a), 0);
	assert_int_equal(resp.topics[0].partitions[0].error_code, 0);
	return resp.topics[0].partitions[0].records.len;
}

/* All functions of this file are used by one program or the other. */
__attribute__((unused)) static void world_uses(void)
{
	(void)expect_produced;
	(void)expect_fetched;
	(void)produce_frame;
	(void)fetch_frame;
	(void)world_setup_on;
	(void)world_setup_without_image;
	(void)world_setup;
	(void)connect_client;
	(void)receive;
	(void)next_response;
}

#endif
