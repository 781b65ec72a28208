/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bad wire between two network interfaces of this namespace, for tests/net.
 *
 *	net_lossy IFACE IFACE LOSS REORDER DELAY_US SEED
 *
 * Carries Ethernet frames in both directions. LOSS and REORDER are frames in 10,000; a frame that
 * is reordered comes two milliseconds after those that were behind it. Prints "ready", and one line
 * of counters at the end (SIGTERM, SIGINT). The interfaces need no address.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/prng.h"

#define FRAMES 4096u
#define FRAME_MAX 2048u
#define BURST 64u
#define LATE_NS (2 * NS_PER_MS)

struct frame {
	uint64_t due_ns;
	uint32_t len;
	uint8_t bytes[FRAME_MAX];
};

/* Frames on their way in one direction: two queues, each in order of time. */
struct queue {
	struct frame *frames;
	uint32_t head, count;
};

struct direction {
	int from, to;
	struct queue on_time, late;
	uint64_t carried, lost, reordered, full;
};

struct wire {
	struct direction dir[2];
	uint32_t loss, reorder;
	uint64_t delay_ns;
	struct prng prng;
};

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	(void)sig;
	stopping = 1;
}

static int open_interface(const char *name)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
	struct sockaddr_ll a = {.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(name)};
	int size = 16 << 20, on = 1;
	struct packet_mreq all = {.mr_ifindex = a.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
	if (fd < 0 || a.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		fprintf(stderr, "net_lossy: %s: %s\n", name, strerror(errno));
		exit(1);
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all));
	return fd;
}

static void queue_init(struct queue *q)
{
	q->frames = malloc(FRAMES * sizeof(*q->frames));
	CHECK(q->frames);
}

static bool chance(struct wire *w, uint32_t of_10000)
{
	return of_10000 && prng_below(&w->prng, 10000) < of_10000;
}

/* Takes frames in; true when there was one. */
static bool take(struct wire *w, struct direction *d, uint64_t now_ns)
{
	for (uint32_t i = 0; i < BURST; i++) {
		bool late = chance(w, w->reorder);
		struct queue *q = late ? &d->late : &d->on_time;
		struct frame *f = &q->frames[(q->head + q->count) % FRAMES];
		ssize_t n = recv(d->from, f->bytes, sizeof(f->bytes), 0);
		if (n <= 0)
			return i > 0;
		if (chance(w, w->loss)) {
			d->lost++;
			continue;
		}
		if (q->count == FRAMES - 1) {
			d->full++;
			continue;
		}
		d->reordered += late;
		f->len = (uint32_t)n;
		f->due_ns = now_ns + w->delay_ns + (late ? LATE_NS : 0);
		q->count++;
	}
	return true;
}

/* Sends what is due; returns when the next one is. */
static uint64_t give(struct direction *d, struct queue *q, uint64_t now_ns)
{
	while (q->count > 0) {
		struct frame *f = &q->frames[q->head];
		if (f->due_ns > now_ns)
			return f->due_ns;
		if (send(d->to, f->bytes, f->len, 0) < 0)
			d->full++;
		else
			d->carried++;
		q->head = (q->head + 1) % FRAMES;
		q->count--;
	}
	return UINT64_MAX;
}

static void run(struct wire *w)
{
	while (!stopping) {
		uint64_t now_ns = clock_mono_ns(), next_ns = UINT64_MAX;
		bool busy = false;
		for (int i = 0; i < 2; i++) {
			struct direction *d = &w->dir[i];
			busy |= take(w, d, now_ns);
			uint64_t a = give(d, &d->on_time, now_ns), b = give(d, &d->late, now_ns);
			next_ns = a < next_ns ? a : next_ns;
			next_ns = b < next_ns ? b : next_ns;
		}
		if (busy)
			continue;
		struct pollfd p[2] = {{.fd = w->dir[0].from, .events = POLLIN},
			{.fd = w->dir[1].from, .events = POLLIN}};
		uint64_t wait = next_ns == UINT64_MAX ? NS_PER_S : next_ns - now_ns;
		struct timespec ts = {
			.tv_sec = (time_t)(wait / NS_PER_S), .tv_nsec = (long)(wait % NS_PER_S)};
		ppoll(p, 2, &ts, NULL);
	}
}

int main(int argc, char **argv)
{
	struct wire w = {0};
	if (argc != 7) {
		fprintf(stderr, "usage: net_lossy IFACE IFACE LOSS REORDER DELAY_US SEED\n");
		return 2;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	int a = open_interface(argv[1]), b = open_interface(argv[2]);
	w.dir[0] = (struct direction){.from = a, .to = b};
	w.dir[1] = (struct direction){.from = b, .to = a};
	for (int i = 0; i < 2; i++) {
		queue_init(&w.dir[i].on_time);
		queue_init(&w.dir[i].late);
	}
	w.loss = (uint32_t)strtoul(argv[3], NULL, 10);
	w.reorder = (uint32_t)strtoul(argv[4], NULL, 10);
	w.delay_ns = strtoul(argv[5], NULL, 10) * NS_PER_US;
	w.prng.s = strtoul(argv[6], NULL, 10);
	printf("ready\n");
	fflush(stdout);
	run(&w);
	for (int i = 0; i < 2; i++)
		printf("carried%d=%llu lost%d=%llu reordered%d=%llu full%d=%llu ", i,
			(unsigned long long)w.dir[i].carried, i, (unsigned long long)w.dir[i].lost,
			i, (unsigned long long)w.dir[i].reordered, i,
			(unsigned long long)w.dir[i].full);
	printf("\n");
	return 0;
}
