/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread's loop. Sources: the mesh (waker eventfd), the signalfd, libmicrohttpd's epoll
 * fd, and time. Called by the control thread only.
 */
#include "control/loop/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/api/ctl.h"

#define RECV_BATCH 256u
/* A signal that comes this long after the first one means: do not wait for an orderly end. */
#define IMPATIENCE_NS (2 * NS_PER_S)

enum source { SOURCE_WAKER, SOURCE_SIGNAL, SOURCE_ADMIN };

struct loop {
	struct ctl c;
	enum ctl_state state;
	struct waker waker;
	int epoll_fd;
	int signal_fd;
	const char *meta_dir;
	uint32_t logs_found;
	struct admin *admin;
	bool modules_open;
	bool modules_done[CTL_MAX_MODULES];
	uint64_t asked_ns; /* when the stop was asked for */
	struct msg stops[MESH_MAX_NODES];
	struct msg connections;		      /* while admin_is_asking */
	struct msg orders[2][MESH_MAX_NODES]; /* of a capture: to begin, to end */
	uint16_t stops_left;
	bool clean;
};

static struct loop *loop_of(struct ctl *c)
{
	return container_of(c, struct loop, c);
}

static void set_state(struct loop *l, enum ctl_state to)
{
	static const uint8_t allowed[] = {
		[CTL_STARTING] = 1 << CTL_SERVING | 1 << CTL_DRAINING,
		[CTL_SERVING] = 1 << CTL_DRAINING,
		[CTL_DRAINING] = 1 << CTL_STOPPING,
		[CTL_STOPPING] = 1 << CTL_STOPPED,
		[CTL_STOPPED] = 0,
	};
	CHECK(allowed[l->state] & 1 << to);
	l->state = to;
	l->c.stopping = to >= CTL_DRAINING;
	admin_set_ready(l->admin, to == CTL_SERVING    ? NULL
				  : to == CTL_STARTING ? "starting"
						       : "stopping");
}

/* ---- making and ending ---- */

static int watch(struct loop *l, int fd, enum source source)
{
	struct epoll_event ev = {.events = EPOLLIN, .data = {.u32 = source}};
	return fd < 0 ? 0 : epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

static const struct metric_desc ctl_rows[] = {
#define X(n, h) {.name = "control_" #n, .help = h, .offset = offsetof(struct ctl_metrics, n)},
	CTL_METRICS(X)
#undef X
};

/* For /connections. */
static void ask_connections(void *arg, uint16_t shard, const struct conn_page *page)
{
	struct loop *l = arg;
	l->connections = (struct msg){.kind = MSG_CONNECTIONS, .page = *page};
	mesh_ask(&l->c.port, shard, &l->connections);
}

/* For /capture. Its end is ordered once its begin was, and nothing more until both are answered. */
static void order_capture(void *arg, uint16_t shard, const struct capture_order *order)
{
	struct loop *l = arg;
	struct msg *m = &l->orders[order->tape == NULL][shard];
	*m = (struct msg){.kind = MSG_CAPTURE, .capture = *order};
	mesh_ask(&l->c.port, shard, m);
}

struct ctl *ctl_create(const struct ctl_options *opt, char *err, size_t err_size)
{
	struct loop *l = calloc(1, sizeof(*l));
	if (!l) {
		snprintf(err, err_size, "memory is short");
		return NULL;
	}
	const struct config_listener *adv = &opt->cfg->advertised_listeners.v[0];
	l->signal_fd = opt->signal_fd;
	l->meta_dir = opt->meta_dir ? opt->meta_dir : opt->cfg->log_dirs.path[0];
	l->logs_found = opt->logs_found;
	l->clean = true;
	l->c.workers = opt->workers;
	l->c.host = adv->host;
	l->c.host_port = adv->port ? adv->port : opt->listen_port;
	ctl_core_init(&l->c, opt->cfg, opt->mesh);
	ctl_set_time(&l->c, clock_mono_ns(), clock_wall_ms());
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int e = l->epoll_fd < 0 ? -errno : waker_init(&l->waker);
	if (e < 0) {
		snprintf(err, err_size, "the control thread cannot start: %s", strerror(-e));
		goto fail;
	}
	l->admin = admin_open(opt->cfg, err, err_size);
	if (!l->admin)
		goto fail_waker;
	if (watch(l, l->waker.fd, SOURCE_WAKER) < 0 || watch(l, l->signal_fd, SOURCE_SIGNAL) < 0 ||
		watch(l, admin_fd(l->admin), SOURCE_ADMIN) < 0 ||
		admin_add_metrics(l->admin, ctl_rows, array_size(ctl_rows), &l->c.metrics, "") <
			0) {
		snprintf(err, err_size, "the control thread cannot start: %s", strerror(errno));
		goto fail_admin;
	}
	admin_set_shards(l->admin, ctl_shards(&l->c), ask_connections, order_capture, l);
	opt->mesh->waker[mesh_control(opt->mesh)] = &l->waker;
	return &l->c;
fail_admin:
	admin_close(l->admin);
fail_waker:
	waker_fini(&l->waker);
fail:
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	ctl_core_fini(&l->c);
	free(l);
	return NULL;
}

void ctl_destroy(struct ctl *c)
{
	struct loop *l = loop_of(c);
	for (unsigned i = 0; l->modules_open && ctl_modules[i]; i++)
		if (ctl_modules[i]->close && c->module_state[i])
			ctl_modules[i]->close(c, c->module_state[i]);
	c->port.mesh->waker[c->port.self] = NULL;
	admin_close(l->admin);
	waker_fini(&l->waker);
	close(l->epoll_fd);
	ctl_core_fini(c);
	free(l);
}

struct admin *ctl_admin(struct ctl *c)
{
	return loop_of(c)->admin;
}

enum ctl_state ctl_state_of(const struct ctl *c)
{
	return container_of(c, struct loop, c)->state;
}

uint32_t ctl_failed_partitions(const struct ctl *c)
{
	return c->publish.served_failed;
}

/* ---- stopping ---- */

void ctl_shutdown(struct ctl *c)
{
	struct loop *l = loop_of(c);
	if (l->state >= CTL_DRAINING)
		return;
	l->asked_ns = c->now_ns;
	set_state(l, CTL_DRAINING);
}

static bool modules_stopped(struct loop *l)
{
	bool all = true;
	for (unsigned i = 0; l->modules_open && ctl_modules[i]; i++) {
		if (!l->modules_done[i])
			l->modules_done[i] = !ctl_modules[i]->stop ||
					     ctl_modules[i]->stop(&l->c, l->c.module_state[i]);
		all &= l->modules_done[i];
	}
	return all;
}

static void tell_shards(struct loop *l, enum msg_kind kind)
{
	l->stops_left = ctl_shards(&l->c);
	for (uint16_t i = 0; i < ctl_shards(&l->c); i++) {
		l->stops[i] = (struct msg){.kind = kind};
		mesh_ask(&l->c.port, i, &l->stops[i]);
	}
}

/* Everything that control has begun is finished: then the shards may go. */
static void drain(struct loop *l)
{
	struct ctl *c = &l->c;
	if (!modules_stopped(l) || ctl_ops_out(c) > 0 || !publish_is_quiet(c) ||
		!list_empty(&c->publish.waits) || admin_is_asking(l->admin) ||
		admin_has_ordered(l->admin))
		return;
	set_state(l, CTL_STOPPING);
	tell_shards(l, MSG_DISCONNECT);
}

/* Logs are closed when no shard has a request any more that could ask another for its own. */
static void disconnect_answered(struct loop *l)
{
	CHECK(l->state == CTL_STOPPING && l->stops_left > 0);
	if (--l->stops_left == 0)
		tell_shards(l, MSG_STOP);
}

static void stop_answered(struct loop *l, const struct msg *m)
{
	CHECK(l->state == CTL_STOPPING && l->stops_left > 0);
	l->clean &= m->stop.clean;
	if (--l->stops_left == 0)
		set_state(l, CTL_STOPPED);
}

static void on_signal(struct loop *l)
{
	struct signalfd_siginfo si;
	while (read(l->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (l->state < CTL_DRAINING) {
			log_info("control", "stopping on signal %u", si.ssi_signo);
			ctl_shutdown(&l->c);
		} else if (l->c.now_ns - l->asked_ns > IMPATIENCE_NS) {
			/* a device may never answer; what was acknowledged is safe all the same */
			log_error("control", "asked to stop again: ending at once, the next start "
					     "checks the logs");
			_exit(EXIT_FAILURE);
		}
	}
}

/* ---- a turn ---- */

/* How long to sleep, in milliseconds rounded up; -1: until something happens. */
static int sleep_ms(struct loop *l, int limit_ms)
{
	struct ctl *c = &l->c;
	int ms = limit_ms;
	uint64_t next = ctl_next_ns(c);
	uint64_t now = clock_mono_ns();
	if (next != UINT64_MAX) {
		uint64_t in = next > now ? (next - now + NS_PER_MS - 1) / NS_PER_MS : 0;
		int bounded = (int)min_of(in, 60000ull);
		ms = ms < 0 ? bounded : min_of(ms, bounded);
	}
	int admin_ms = admin_timeout_ms(l->admin);
	if (admin_ms >= 0)
		ms = ms < 0 ? admin_ms : min_of(ms, admin_ms);
	bool retry = c->port.backlog_count > 0 || (!c->publish.sent && !publish_is_quiet(c));
	if (retry) /* a full ring, or no memory for an image: soon again */
		ms = ms < 0 ? 1 : min_of(ms, 1);
	return ms;
}

/* Messages that came after the last look, so that sleeping would miss them. */
static bool has_messages(const struct loop *l)
{
	const struct mesh_port *p = &l->c.port;
	for (uint16_t i = 0; i < p->self; i++)
		if (!ring_is_empty(p->mesh->ring[i][p->self]))
			return true;
	return false;
}

static void wait_for_work(struct loop *l, int timeout_ms)
{
	struct epoll_event ev[8];
	waker_arm(&l->waker);
	int n = epoll_wait(
		l->epoll_fd, ev, array_size(ev), has_messages(l) ? 0 : sleep_ms(l, timeout_ms));
	waker_disarm(&l->waker);
	ctl_set_time(&l->c, clock_mono_ns(), clock_wall_ms());
	for (int i = 0; i < n; i++)
		if (ev[i].data.u32 == SOURCE_SIGNAL)
			on_signal(l);
	admin_run(l->admin); /* cheap when there is nothing; its timeouts count too */
}

static void receive(struct loop *l)
{
	struct msg *in[RECV_BATCH];
	uint32_t n = mesh_recv(&l->c.port, in, RECV_BATCH);
	for (uint32_t i = 0; i < n; i++) {
		if (in[i]->answer && in[i]->kind == MSG_STOP)
			stop_answered(l, in[i]);
		else if (in[i]->answer && in[i]->kind == MSG_DISCONNECT)
			disconnect_answered(l);
		else if (in[i]->answer && in[i]->kind == MSG_CONNECTIONS)
			admin_connections(l->admin, &in[i]->page);
		else if (in[i]->answer && in[i]->kind == MSG_CAPTURE)
			admin_ordered(l->admin);
		else
			ctl_message(&l->c, in[i]);
	}
}

static void serve(struct loop *l)
{
	set_state(l, CTL_SERVING);
	log_info("control", "cluster %s, %u topic(s)", l->c.state.cluster_id,
		l->c.state.topics.count);
}

void ctl_turn(struct ctl *c, int timeout_ms)
{
	struct loop *l = loop_of(c);
	metric_add(&c->metrics.turns_total, 1);
	if (l->state == CTL_DRAINING)
		drain(l); /* there may be nothing to wait for */
	mesh_flush(&c->port);
	wait_for_work(l, timeout_ms);
	receive(l);
	ctl_work(c);
	if (l->state == CTL_STARTING && c->publish.served && publish_is_quiet(c))
		serve(l);
	if (l->state == CTL_DRAINING)
		drain(l);
	mesh_flush(&c->port);
}

/* ---- starting and running ---- */

static int random_cluster_id(struct ctl *c, char *err, size_t err_size)
{
	uint8_t bytes[16];
	do {
		if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) {
			snprintf(err, err_size, "no random bytes for a cluster id: %s",
				strerror(errno));
			return -1;
		}
		meta_cluster_id(bytes, c->state.cluster_id);
	} while (c->state.cluster_id[0] == '-'); /* it would look like an option */
	return 0;
}

/* The cluster id: configured, stored, or new; a new document is stored at once. */
static int settle_cluster_id(struct ctl *c, char *err, size_t err_size)
{
	const char *want = c->cfg->cluster_id;
	char *have = c->state.cluster_id;
	if (want[0] && have[0] && strcmp(want, have) != 0) {
		snprintf(err, err_size,
			"cluster.id=%s, but the data in %s belong to the cluster %s: correct "
			"cluster.id "
			"or log.dirs",
			want, loop_of(c)->meta_dir, have);
		return -1;
	}
	if (have[0])
		return 0;
	if (want[0])
		snprintf(have, sizeof(c->state.cluster_id), "%.*s", META_CLUSTER_ID_LEN, want);
	else if (random_cluster_id(c, err, err_size) < 0)
		return -1;
	if (meta_update(c->meta, c->meta_version, &c->state, err, err_size) != META_OK)
		return -1;
	c->meta_version++;
	return 0;
}

static int open_modules(struct loop *l, char *err, size_t err_size)
{
	l->modules_open = true;
	for (unsigned i = 0; ctl_modules[i]; i++) {
		if (!ctl_modules[i]->open)
			continue;
		l->c.module_state[i] = ctl_modules[i]->open(&l->c, err, err_size);
		if (l->c.module_state[i])
			continue;
		for (; ctl_modules[i]; i++)
			l->modules_done[i] = true; /* never opened: nothing to stop */
		return -1;
	}
	return 0;
}

/* Logs that no topic explains: the metadata is lost, and to begin with none would hide them all. */
static int check_lost_metadata(struct loop *l, char *err, size_t err_size)
{
	const struct topics *t = &l->c.state.topics;
	if (l->logs_found == 0 || t->count > 0 || t->gone_count > 0)
		return 0;
	snprintf(err, err_size,
		"log.dirs hold %u logs, but %s/millrace.meta.json %s: restore that file from a "
		"backup, or correct log.dirs (the file is in the first of them); to begin with no "
		"topics, move the logs away",
		l->logs_found, l->meta_dir,
		l->c.meta_version == 0 ? "is missing" : "knows of no topic");
	return -1;
}

static int begin(struct loop *l, char *err, size_t err_size)
{
	struct ctl *c = &l->c;
	c->meta = meta_file_open(l->meta_dir, err, err_size);
	if (!c->meta || meta_load(c->meta, &c->state, &c->meta_version, err, err_size) < 0 ||
		check_lost_metadata(l, err, err_size) < 0 ||
		settle_cluster_id(c, err, err_size) < 0)
		return -1;
	ctl_config_refresh(c);
	if (open_modules(l, err, err_size) < 0)
		return -1;
	publish_changed(c);
	return 0;
}

int ctl_begin(struct ctl *c, char *err, size_t err_size)
{
	struct loop *l = loop_of(c);
	CHECK(l->state == CTL_STARTING && !c->meta);
	int r = begin(l, err, err_size);
	l->clean = r == 0;
	return r;
}

int ctl_start(struct ctl *c, char *err, size_t err_size)
{
	if (ctl_begin(c, err, err_size) < 0)
		return -1;
	while (ctl_state_of(c) == CTL_STARTING)
		ctl_turn(c, -1);
	return ctl_state_of(c) == CTL_SERVING ? 0 : 1;
}

bool ctl_run(struct ctl *c)
{
	struct loop *l = loop_of(c);
	if (l->state == CTL_STARTING)
		ctl_shutdown(c); /* the start failed */
	while (l->state != CTL_STOPPED)
		ctl_turn(c, -1);
	return l->clean;
}
