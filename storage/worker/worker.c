/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storage worker's thread: carries requests and answers between the rings and the engine, lets
 * the io_uring work, and sleeps when there is nothing to do.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "storage/worker/dirs.h"
#include "storage/worker/engine.h"
#include "storage/worker/io_uring.h"

#define BURST 64u
#define SPIN_MAX_NS (20 * NS_PER_US)
#define SPIN_MIN_NS (1 * NS_PER_US)
#define BACKLOG_WAIT_NS (1 * NS_PER_MS)

struct worker_asker {
	struct ring *in;
	struct ring *out;
	struct list answers; /* st_req: not yet in `out` */
	struct waker *waker; /* borrowed; may be NULL */
};

struct st_worker {
	struct st_config cfg;
	struct st_dirs *dirs;
	struct io_ring *ring;
	struct engine *engine;
	struct worker_asker *askers;
	struct waker waker;
	uint8_t *staging;
	struct st_metrics metrics;
	pthread_t thread;
	bool started;
	bool closed_clean;
	int stop; /* atomic */
	uint64_t spin_ns;
	uint64_t wakes; /* system calls of going to sleep */
	bool backlog;
};

/* --- the thread -------------------------------------------------------------------------- */

static uint32_t worker_take(struct st_worker *w)
{
	uint32_t total = 0;
	for (uint16_t a = 0; a < w->cfg.askers; a++) {
		void *msgs[BURST];
		uint32_t n = ring_pop(w->askers[a].in, msgs, BURST);
		for (uint32_t i = 0; i < n; i++) {
			struct st_req *r = msgs[i];
			r->asker = a;
			engine_request(w->engine, r);
		}
		total += n;
	}
	return total;
}

static bool worker_has_requests(const struct st_worker *w)
{
	for (uint16_t a = 0; a < w->cfg.askers; a++)
		if (!ring_is_empty(w->askers[a].in))
			return true;
	return false;
}

/* Gives the answers to their askers, in order. */
static uint32_t worker_answer(struct st_worker *w, struct list *done)
{
	uint32_t total = 0;
	struct list *n;
	while ((n = list_pop_front(done))) {
		struct st_req *r = list_entry(n, struct st_req, node);
		list_push_back(&w->askers[r->asker].answers, n);
		total++;
	}
	if (total == 0 && !w->backlog)
		return 0;
	w->backlog = false;
	for (uint16_t i = 0; i < w->cfg.askers; i++) {
		struct worker_asker *a = &w->askers[i];
		bool gave = false;
		while ((n = list_pop_front(&a->answers))) {
			if (!ring_push(a->out, list_entry(n, struct st_req, node))) {
				list_push_front(&a->answers, n);
				w->backlog = true;
				break;
			}
			gave = true;
		}
		if (gave && a->waker)
			waker_notify(a->waker);
	}
	return total;
}

/* Looks for work for a short while; the while adapts to whether that has been worth it. */
static bool worker_spin(struct st_worker *w)
{
	if (w->spin_ns < SPIN_MIN_NS)
		return false;
	uint64_t until = clock_mono_ns() + w->spin_ns;
	do {
		for (int i = 0; i < 16; i++) {
			if (io_ring_is_ready(w->ring) || worker_has_requests(w)) {
				w->spin_ns = min_of(w->spin_ns * 2, (uint64_t)SPIN_MAX_NS);
				return true;
			}
			__builtin_ia32_pause();
		}
	} while (clock_mono_ns() < until);
	w->spin_ns /= 2;
	return false;
}

static void worker_sleep(struct st_worker *w)
{
	/* With operations to start, starting them and waiting is one system call. */
	if (!io_ring_has_pending(w->ring) && worker_spin(w))
		return;
	uint64_t before = clock_mono_ns();
	waker_arm(&w->waker);
	bool soon = w->backlog || __atomic_load_n(&w->stop, __ATOMIC_SEQ_CST);
	if (!worker_has_requests(w))
		io_ring_wait(
			w->ring, soon ? BACKLOG_WAIT_NS : engine_wait_ms(w->engine) * NS_PER_MS);
	waker_disarm(&w->waker);
	w->wakes++;
	if (clock_mono_ns() - before < SPIN_MAX_NS)
		w->spin_ns = max_of(w->spin_ns, (uint64_t)SPIN_MIN_NS * 2);
}

/* Everything into the segments, and a last checkpoint. */
static void worker_stop(struct st_worker *w)
{
	struct list done;
	list_init(&done);
	engine_stop(w->engine);
	for (;;) {
		engine_step(w->engine, clock_wall_ms(), &done);
		if (engine_is_stopped(w->engine))
			break;
		uint32_t wait_ms = engine_wait_ms(w->engine);
		io_ring_wait(w->ring, wait_ms ? wait_ms * NS_PER_MS : BACKLOG_WAIT_NS);
	}
	w->closed_clean = engine_is_clean(w->engine);
}

static void *worker_main(void *arg)
{
	struct st_worker *w = arg;
	CHECK(io_ring_enable(w->ring) == 0);
	for (;;) {
		struct list done;
		list_init(&done);
		uint32_t work = worker_take(w);
		engine_step(w->engine, clock_wall_ms(), &done);
		work += worker_answer(w, &done);
		metric_set(&w->metrics.syscalls_total, io_ring_syscalls(w->ring) + w->wakes);
		if (work > 0 && worker_has_requests(w)) {
			io_ring_kick(w->ring);
			continue;
		}
		if (__atomic_load_n(&w->stop, __ATOMIC_SEQ_CST) && engine_is_idle(w->engine) &&
			!worker_has_requests(w))
			break;
		worker_sleep(w);
	}
	worker_stop(w);
	return NULL;
}

/* --- life -------------------------------------------------------------------------------- */

static void worker_free(struct st_worker *w)
{
	engine_destroy(w->engine);
	io_ring_close(w->ring);
	for (uint16_t a = 0; w->askers && a < w->cfg.askers; a++) {
		ring_destroy(w->askers[a].in);
		ring_destroy(w->askers[a].out);
	}
	free(w->askers);
	if (w->staging)
		munmap(w->staging, engine_staging_size(w->cfg.dir_count));
	waker_fini(&w->waker);
	free(w);
}

static bool worker_open_rings(struct st_worker *w)
{
	w->askers = calloc(w->cfg.askers, sizeof(*w->askers));
	if (!w->askers)
		return false;
	for (uint16_t a = 0; a < w->cfg.askers; a++) {
		w->askers[a].in = ring_create(ST_ASKER_REQS);
		w->askers[a].out = ring_create(ST_ASKER_REQS);
		list_init(&w->askers[a].answers);
		if (!w->askers[a].in || !w->askers[a].out)
			return false;
	}
	void *p = mmap(NULL, engine_staging_size(w->cfg.dir_count), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return false;
	w->staging = p;
	return true;
}

static bool worker_open_engine(struct st_worker *w, char *err, size_t err_size)
{
	const struct iovec memory[] = {
		{.iov_base = w->cfg.log_memory, .iov_len = w->cfg.log_bytes},
		{.iov_base = w->staging, .iov_len = engine_staging_size(w->cfg.dir_count)},
	};
	const struct io_ring_config ring = {
		.memory = memory,
		.memory_count = array_size(memory),
		.lock_fds = w->dirs->lock_fds,
		.lock_count = w->dirs->count,
		.wake_fd = w->waker.fd,
	};
	bool registered;
	w->ring = io_ring_open(&ring, &registered, err, err_size);
	if (!w->ring)
		return false;
	metric_set(&w->metrics.registered_buffers, registered);
	if (!registered && w->cfg.index == 0)
		log_warn("storage",
			"log memory is not registered with io_uring: RLIMIT_MEMLOCK is too low "
			"for %zu MiB; it works, with more CPU per write (see ulimit -l)",
			w->cfg.log_bytes >> 20);
	struct engine_config cfg = {
		.durability = w->cfg.durability,
		.max_logs = w->cfg.max_logs,
		.cleaner_bytes_per_s = w->cfg.cleaner_bytes_per_s,
		.cleaner_map_bytes = w->cfg.cleaner_map_bytes,
		.metrics = &w->metrics,
		.staging = w->staging,
		.worker = w->cfg.index,
	};
	if (getrandom(cfg.cleaner_seed, sizeof(cfg.cleaner_seed), 0) < 0)
		memcpy(cfg.cleaner_seed, &(uint64_t){clock_mono_ns()}, sizeof(uint64_t));
	w->engine = engine_create(io_ring_io(w->ring), w->dirs->store, &cfg);
	if (!w->engine)
		snprintf(err, err_size, "out of memory");
	return w->engine != NULL;
}

struct st_worker *st_worker_open(
	const struct st_config *cfg, struct st_dirs *dirs, char *err, size_t err_size)
{
	struct st_worker *w = calloc(1, sizeof(*w));
	if (!w) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	w->cfg = *cfg;
	w->dirs = dirs;
	w->spin_ns = SPIN_MIN_NS;
	int rc = waker_init(&w->waker);
	if (rc < 0 || !worker_open_rings(w)) {
		snprintf(err, err_size, "storage worker: %s",
			rc < 0 ? strerror(-rc) : "out of memory");
		worker_free(w);
		return NULL;
	}
	if (!worker_open_engine(w, err, err_size)) {
		worker_free(w);
		return NULL;
	}
	return w;
}

int st_worker_start(struct st_worker *w)
{
	CHECK(!w->started);
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
	int rc = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0)
		return -rc;
	w->started = true;
	char name[16];
	snprintf(name, sizeof(name), "storage-%u", w->cfg.index);
	pthread_setname_np(w->thread, name);
	if (w->cfg.cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((unsigned)w->cfg.cpu, &set);
		rc = pthread_setaffinity_np(w->thread, sizeof(set), &set);
		if (rc != 0)
			log_warn("storage", "worker %u cannot run on CPU %d: %s", w->cfg.index,
				w->cfg.cpu, strerror(rc));
	}
	return 0;
}

void st_set_waker(struct st_worker *w, uint16_t asker, struct waker *waker)
{
	CHECK(asker < w->cfg.askers && !w->started);
	w->askers[asker].waker = waker;
}

bool st_push(struct st_worker *w, uint16_t asker, struct st_req *r)
{
	CHECK(asker < w->cfg.askers);
	return ring_push(w->askers[asker].in, r);
}

void st_notify(struct st_worker *w)
{
	waker_notify(&w->waker);
}

uint32_t st_pop(struct st_worker *w, uint16_t asker, struct st_req **out, uint32_t max)
{
	CHECK(asker < w->cfg.askers);
	return ring_pop(w->askers[asker].out, (void **)out, max);
}

const struct st_metrics *st_worker_metrics(const struct st_worker *w)
{
	return &w->metrics;
}

bool st_worker_stop(struct st_worker *w)
{
	if (!w)
		return true;
	bool clean = true;
	if (w->started) {
		__atomic_store_n(&w->stop, 1, __ATOMIC_SEQ_CST);
		waker_notify(&w->waker);
		pthread_join(w->thread, NULL);
		clean = w->closed_clean;
	}
	worker_free(w);
	return clean;
}
