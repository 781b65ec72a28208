/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and freeing of the kernel transport: listener, ring, memory. Runs on the composition
 * root's thread before the shard's exists. Whatever can go wrong here is the machine's or the
 * operator's: it becomes a sentence that says what to do.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "net/net_uring_int.h"

#define SQ_ENTRIES_LEAST 64u
#define RING_RETRIES 50u
#define BIND_RETRIES 300u
#define RETRY_NS 10000000
#define CQ_ENTRIES_MIN 8192u
#define CQ_ENTRIES_MAX 65536u
#define LISTEN_BACKLOG 4096
#define KEEPALIVE_IDLE_S 120
#define KEEPALIVE_INTERVAL_S 30
#define KEEPALIVE_COUNT 4

struct fault {
	char *text;
	size_t size;
};

/* Always -1, so that a caller can return it. */
__attribute__((format(printf, 2, 3))) static int fault_say(struct fault *f, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(f->text, f->size, fmt, ap);
	va_end(ap);
	return -1;
}

/* ---- listener ---- */

static const char *host_name(const struct net_uring_config *cfg)
{
	return cfg->host[0] ? cfg->host : "all addresses";
}

/* "" is both families on one socket, or IPv4 alone where there is no IPv6. */
static int listen_address(const struct net_uring_config *cfg, struct sockaddr_storage *sa,
	socklen_t *len, struct fault *f)
{
	struct sockaddr_in *in = (struct sockaddr_in *)sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)sa;
	memset(sa, 0, sizeof(*sa));
	if (inet_pton(AF_INET, cfg->host, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(cfg->port);
		*len = sizeof(*in);
		return 0;
	}
	if (cfg->host[0] == 0 || inet_pton(AF_INET6, cfg->host, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(cfg->port);
		*len = sizeof(*in6);
		return 0;
	}
	return fault_say(
		f, "'%s' is not an IPv4 or IPv6 address: give one in listeners=", cfg->host);
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET) {
		const struct sockaddr_in *x = (const void *)a, *y = (const void *)b;
		return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
	}
	const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;
	return x->sin6_port == y->sin6_port &&
	       memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
}

static bool fd_listens_on(int fd, const struct sockaddr_storage *sa)
{
	struct sockaddr_storage own = {0};
	socklen_t len = sizeof(own);
	int listening = 0;
	socklen_t size = sizeof(listening);
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening &&
	       getsockname(fd, (struct sockaddr *)&own, &len) == 0 && same_address(&own, sa);
}

/* Does another shard of this process listen on the address? */
static bool shared_with_us(const struct sockaddr_storage *sa)
{
	DIR *d = opendir("/proc/self/fd");
	bool found = false;
	if (!d)
		return false;
	for (struct dirent *e; !found && (e = readdir(d)) != NULL;)
		found = e->d_name[0] != '.' && fd_listens_on((int)strtol(e->d_name, NULL, 10), sa);
	closedir(d);
	return found;
}

static int bind_fault(const struct net_uring_config *cfg, int err, struct fault *f)
{
	switch (err) {
	case EADDRINUSE:
		return fault_say(f,
			"port %u on %s is already in use: stop the other process or set listeners= "
			"to another port",
			cfg->port, host_name(cfg));
	case EADDRNOTAVAIL:
		return fault_say(f,
			"address %s does not belong to this machine: set listeners= to one of its "
			"addresses",
			host_name(cfg));
	case EACCES:
		return fault_say(f,
			"no permission to listen on port %u: use a port from 1024 up, or give the "
			"process CAP_NET_BIND_SERVICE",
			cfg->port);
	default:
		return fault_say(f, "cannot listen on port %u of %s: %s", cfg->port, host_name(cfg),
			strerror(err));
	}
}

static void set_opt(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

/* Accepted sockets inherit these. */
void unet_conn_options(int fd)
{
	set_opt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_opt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_opt(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_opt(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_opt(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
}

/*
 * A broker that was killed keeps its port until the kernel has wound up its rings, which waits for
 * what they have at the disk: its successor tries for three seconds. 0, or -1 and errno.
 */
static int bind_patiently(int fd, const struct sockaddr *sa, socklen_t len)
{
	const struct timespec pause = {.tv_nsec = RETRY_NS};
	for (unsigned tried = 0; bind(fd, sa, len) != 0; tried++) {
		if (errno != EADDRINUSE || tried == BIND_RETRIES)
			return -1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/*
 * SO_REUSEPORT before bind would let a second broker of the same user share our connections without
 * a word. So only those that find a shard of their own process there bind with it; the first binds
 * alone and sets it afterwards.
 */
static int bind_and_listen(struct unet *n, const struct net_uring_config *cfg,
	struct sockaddr_storage *sa, socklen_t len)
{
	bool join = cfg->reuse_port && cfg->port && shared_with_us(sa);
	set_opt(n->listen_fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (join)
		set_opt(n->listen_fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (sa->ss_family == AF_INET6)
		set_opt(n->listen_fd, IPPROTO_IPV6, IPV6_V6ONLY, cfg->host[0] != 0);
	unet_conn_options(n->listen_fd);
	if (bind_patiently(n->listen_fd, (struct sockaddr *)sa, len) != 0)
		return errno;
	if (cfg->reuse_port && !join)
		set_opt(n->listen_fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (listen(n->listen_fd, LISTEN_BACKLOG) != 0)
		return errno;
	len = sizeof(*sa);
	if (getsockname(n->listen_fd, (struct sockaddr *)sa, &len) != 0)
		return errno;
	n->port = ntohs(sa->ss_family == AF_INET6 ? ((struct sockaddr_in6 *)sa)->sin6_port
						  : ((struct sockaddr_in *)sa)->sin_port);
	n->listening = true;
	return 0;
}

static int open_listener(struct unet *n, const struct net_uring_config *cfg, struct fault *f)
{
	struct sockaddr_storage sa;
	socklen_t len = 0;
	if (listen_address(cfg, &sa, &len, f) != 0)
		return -1;
	n->listen_fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (n->listen_fd < 0 && cfg->host[0] == 0) {
		struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(cfg->port)};
		memset(&sa, 0, sizeof(sa));
		memcpy(&sa, &any, sizeof(any));
		len = sizeof(any);
		n->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	}
	if (n->listen_fd < 0)
		return fault_say(f, "cannot create a socket: %s", strerror(errno));
	int err = bind_and_listen(n, cfg, &sa, len);
	return err ? bind_fault(cfg, err, f) : 0;
}

/* ---- ring ---- */

/* The value of sysctl kernel.io_uring_disabled; 0 where it does not exist. */
static int uring_disabled(void)
{
	FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
	int v = 0;
	if (!f)
		return 0;
	if (fscanf(f, "%d", &v) != 1)
		v = 0;
	fclose(f);
	return v;
}

static int ring_fault(int err, struct fault *f)
{
	int disabled = uring_disabled();
	if (err == EPERM && disabled)
		return fault_say(f,
			"io_uring is forbidden on this machine (sysctl "
			"kernel.io_uring_disabled=%d): run sysctl -w kernel.io_uring_disabled=0%s",
			disabled,
			disabled == 1 ? ", or add the user's group to kernel.io_uring_group" : "");
	if (err == EPERM || err == EACCES)
		return fault_say(f, "io_uring is forbidden for this process, probably by the "
				    "container's seccomp profile: allow io_uring_setup, "
				    "io_uring_enter and io_uring_register");
	if (err == ENOSYS)
		return fault_say(f, "io_uring is missing: the kernel must be 6.0 or newer, and a "
				    "container's seccomp profile must allow io_uring_setup, "
				    "io_uring_enter and io_uring_register");
	if (err == ENOMEM)
		return fault_say(f, "no memory for io_uring: raise the limit of locked memory "
				    "(ulimit -l, LimitMEMLOCK=)");
	if (err == EMFILE || err == ENFILE)
		return fault_say(
			f, "too many open files: raise the limit (ulimit -n, LimitNOFILE=)");
	return fault_say(
		f, "cannot set up io_uring: %s; the kernel must be 6.0 or newer", strerror(err));
}

/*
 * Completions wait for us, so that no system call of the shard is interrupted; older kernels get
 * less. 0 or -errno.
 */
static int try_ring(struct unet *n, uint32_t sqs, uint32_t cqs)
{
	static const unsigned tries[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int err = -EINVAL;
	for (size_t i = 0; err == -EINVAL && i < array_size(tries); i++) {
		struct io_uring_params p = {
			.flags = tries[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE |
				 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP,
			.cq_entries = cqs,
		};
		err = io_uring_queue_init_params(sqs, &n->ring, &p);
	}
	return err;
}

/* What a ring of the same user that has just ended had locked is given back a little later. */
static bool may_retry(unsigned tried)
{
	const struct timespec pause = {.tv_nsec = RETRY_NS};
	nanosleep(&pause, NULL);
	return tried < RING_RETRIES;
}

/*
 * The ring counts as locked memory. Where little of that is allowed, a smaller one does, with more
 * system calls: the kernel keeps completions that find no room.
 */
static int open_ring(struct unet *n, struct fault *f)
{
	uint32_t sqs = UNET_SQ_ENTRIES, cqs = CQ_ENTRIES_MIN;
	while (cqs < CQ_ENTRIES_MAX && cqs < n->max_conns * 2)
		cqs *= 2;
	int err = try_ring(n, sqs, cqs);
	while (err == -ENOMEM && sqs > SQ_ENTRIES_LEAST) {
		sqs /= 4;
		cqs = sqs * 4;
		err = try_ring(n, sqs, cqs);
	}
	/* What a process of the same user that has just ended had locked is given back a little
	 * later. */
	const struct timespec pause = {.tv_nsec = RETRY_NS};
	for (unsigned i = 0; err == -ENOMEM && i < RING_RETRIES; i++) {
		nanosleep(&pause, NULL);
		err = try_ring(n, sqs, cqs);
	}
	if (err)
		return ring_fault(-err, f);
	n->ring_ready = true;
	n->events_max = sqs / 2;
	return 0;
}

/* ---- memory ---- */

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static int open_buffers(struct unet *n, const struct net_uring_config *cfg, struct fault *f)
{
	n->buf_count = cfg->recv_buffers;
	n->buf_size = cfg->recv_buffer_size;
	/* An eighth of all, four at least: what one connection may fill before the others' turn. */
	n->buf_share = max_of(n->buf_count / 8, min_of(n->buf_count, 4u)) * n->buf_size;
	n->recv_limited = true;
	n->buf_ring_size = align_up(n->buf_count * sizeof(struct io_uring_buf), (size_t)4096);
	n->buf_ring = map(n->buf_ring_size);
	n->buf_mem = map((size_t)n->buf_count * n->buf_size);
	n->bufs = calloc(n->buf_count, sizeof(*n->bufs));
	n->lent = calloc(n->buf_count, sizeof(*n->lent));
	if (!n->buf_ring || !n->buf_mem || !n->bufs || !n->lent)
		return fault_say(f, "no memory for %u receive buffers of %u bytes", n->buf_count,
			n->buf_size);
	struct io_uring_buf_reg reg = {
		.ring_addr = (uintptr_t)n->buf_ring,
		.ring_entries = n->buf_count,
		.bgid = UNET_BUF_GROUP,
	};
	int err = io_uring_register_buf_ring(&n->ring, &reg, 0);
	for (unsigned i = 0; err == -ENOMEM && may_retry(i); i++)
		err = io_uring_register_buf_ring(&n->ring, &reg, 0);
	if (err == -ENOMEM)
		return ring_fault(ENOMEM, f);
	if (err)
		return fault_say(f,
			"the kernel has no buffer rings in io_uring (%s): it must be 6.0 or newer",
			strerror(-err));
	n->buf_ring_ready = true;
	io_uring_buf_ring_init(n->buf_ring);
	for (uint32_t i = 0; i < n->buf_count; i++)
		io_uring_buf_ring_add(n->buf_ring, n->buf_mem + (size_t)i * n->buf_size,
			n->buf_size, (unsigned short)i, (int)n->buf_count - 1, (int)i);
	io_uring_buf_ring_advance(n->buf_ring, (int)n->buf_count);
	return 0;
}

static int open_conns(struct unet *n, const struct net_uring_config *cfg, struct fault *f)
{
	n->queue = 1;
	while (n->queue < cfg->send_queue)
		n->queue *= 2;
	/* Pages that no connection uses are never touched. */
	size_t per_conn = n->queue * (sizeof(struct iovec) + sizeof(struct umsg));
	n->queue_mem_size = per_conn * n->max_conns;
	n->queue_mem = map(n->queue_mem_size);
	n->conns = calloc(n->max_conns, sizeof(*n->conns));
	n->copy_mem = map((size_t)UCN_COPY_COUNT * UCN_COPY_SIZE);
	if (!n->queue_mem || !n->conns || !n->copy_mem)
		return fault_say(
			f, "no memory for %u connections: lower max.connections", n->max_conns);
	for (uint32_t i = 0; i < n->max_conns; i++) {
		struct ucn *c = &n->conns[i];
		uint8_t *mem = n->queue_mem + per_conn * i;
		c->gen = 1;
		c->fd = -1;
		c->iov = (struct iovec *)mem;
		c->msg = (struct umsg *)(mem + n->queue * sizeof(struct iovec));
		list_init(&c->work);
		list_init(&c->tosend);
		list_init(&c->starved);
		list_push_back(&n->free, &c->starved);
	}
	for (uint32_t i = 0; i < UCN_COPY_COUNT; i++)
		n->copy_free[i] = i;
	n->copy_free_count = UCN_COPY_COUNT;
	return 0;
}

static void unmap(void *p, size_t size)
{
	if (p)
		munmap(p, size);
}

void unet_stop(struct unet *n)
{
	for (uint32_t i = 0; n->conns && i < n->max_conns; i++)
		if (n->conns[i].fd >= 0)
			close(n->conns[i].fd);
	if (n->listen_fd >= 0)
		close(n->listen_fd);
	if (n->buf_ring_ready)
		(void)io_uring_unregister_buf_ring(&n->ring, UNET_BUF_GROUP);
	if (n->ring_ready)
		io_uring_queue_exit(&n->ring);
	n->listen_fd = -1;
	n->buf_ring_ready = n->ring_ready = false;
	unmap(n->buf_ring, n->buf_ring_size);
	unmap(n->buf_mem, (size_t)n->buf_count * n->buf_size);
	unmap(n->queue_mem, n->queue_mem_size);
	unmap(n->copy_mem, (size_t)UCN_COPY_COUNT * UCN_COPY_SIZE);
	n->buf_ring = NULL;
	n->buf_mem = NULL;
	n->queue_mem = NULL;
	n->copy_mem = NULL;
	free(n->bufs);
	free(n->lent);
	free(n->conns);
	n->bufs = NULL;
	n->lent = NULL;
	n->conns = NULL;
}

void unet_free(struct unet *n)
{
	unet_stop(n);
	waker_fini(&n->net.waker);
	free(n);
}

struct net *net_uring_open(const struct net_uring_config *cfg, char *err, size_t err_size)
{
	struct fault f = {.text = err, .size = err_size};
	CHECK(cfg->max_conns > 0 && cfg->max_conns <= UCN_SLOTS_MAX);
	CHECK(cfg->recv_buffers > 0 && cfg->recv_buffers <= 32768 &&
		(cfg->recv_buffers & (cfg->recv_buffers - 1)) == 0);
	CHECK(cfg->recv_buffer_size > 0 && cfg->send_queue > 0);
	struct unet *n = calloc(1, sizeof(*n));
	if (!n) {
		fault_say(&f, "no memory for the kernel transport");
		return NULL;
	}
	n->net.ops = &net_uring_ops;
	n->net.waker.fd = -1;
	n->listen_fd = -1;
	n->max_conns = cfg->max_conns;
	list_init(&n->free);
	list_init(&n->work);
	list_init(&n->tosend);
	list_init(&n->starved);
	if (waker_init(&n->net.waker) != 0) {
		ring_fault(EMFILE, &f);
		goto fail;
	}
	if ((!cfg->no_listener && open_listener(n, cfg, &f) != 0) || open_ring(n, &f) != 0 ||
		open_buffers(n, cfg, &f) != 0 || open_conns(n, cfg, &f) != 0)
		goto fail;
	return &n->net;
fail:
	unet_free(n);
	return NULL;
}

uint16_t net_uring_port(const struct net *n)
{
	return ((const struct unet *)n)->port;
}
