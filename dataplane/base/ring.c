/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The C11 flavour of rte_ring uses __atomic builtins, which ThreadSanitizer understands. */
#define RTE_USE_C11_MEM_MODEL 1
#include <rte_config.h>
#include <rte_ring.h>

#include "base/check.h"

struct ring {
	struct rte_ring *r;
};

struct ring *ring_create(uint32_t count)
{
	uint32_t size = 2;
	while (size < count + 1) /* rte_ring holds size - 1 */
		size *= 2;
	struct ring *ring = calloc(1, sizeof(*ring));
	if (!ring)
		return NULL;
	ssize_t mem = rte_ring_get_memsize(size);
	if (mem > 0)
		ring->r = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL((size_t)mem, 128));
	if (!ring->r || rte_ring_init(ring->r, "mr", size, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0) {
		free(ring->r);
		free(ring);
		return NULL;
	}
	return ring;
}

void ring_destroy(struct ring *ring)
{
	if (!ring)
		return;
	free(ring->r);
	free(ring);
}

bool ring_push(struct ring *ring, void *msg)
{
	return rte_ring_sp_enqueue(ring->r, msg) == 0;
}

uint32_t ring_pop(struct ring *ring, void **out, uint32_t max)
{
	return rte_ring_sc_dequeue_burst(ring->r, out, max, NULL);
}

bool ring_is_empty(const struct ring *ring)
{
	return ring_count(ring) == 0;
}

/* rte_ring_count reads the tails as plain variables: a data race by C's rules. The other side may
 * move between the two loads, so the difference is bounded by hand. */
uint32_t ring_count(const struct ring *ring)
{
	const struct rte_ring *r = ring->r;
	uint32_t popped = __atomic_load_n(&r->cons.tail, __ATOMIC_ACQUIRE);
	uint32_t pushed = __atomic_load_n(&r->prod.tail, __ATOMIC_ACQUIRE);
	return min_of((pushed - popped) & r->mask, r->capacity);
}

int waker_init(struct waker *w)
{
	w->asleep = 0;
	w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return w->fd < 0 ? -errno : 0;
}

void waker_fini(struct waker *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

/* Pairs with waker_notify: either the notifier sees asleep == 1, or the sleeper sees its push. */
void waker_arm(struct waker *w)
{
	__atomic_exchange_n(&w->asleep, 1, __ATOMIC_SEQ_CST);
}

void waker_disarm(struct waker *w)
{
	__atomic_store_n(&w->asleep, 0, __ATOMIC_SEQ_CST);
	uint64_t n;
	ssize_t got = read(w->fd, &n, sizeof(n));
	(void)got; /* EAGAIN: nobody had written */
}

void waker_notify(struct waker *w)
{
	/* A read-modify-write, so that it is ordered after the pushes before it on every CPU. */
	if (__atomic_fetch_and(&w->asleep, 1, __ATOMIC_SEQ_CST) == 0)
		return;
	uint64_t one = 1;
	ssize_t put = write(w->fd, &one, sizeof(one));
	(void)put; /* EAGAIN: the counter is at its limit, so it is readable */
}
