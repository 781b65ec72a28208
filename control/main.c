/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The composition root, the only file that sees every room: parse, size, open, start; and at the
 * end the same in reverse. What fails is said in one sentence; exit code 2 for a wrong command line
 * or configuration, 1 for anything that the machine refuses.
 */
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/config/config.h"
#include "control/loop/loop.h"
#include "control/process/privileges.h"
#include "net/ipstack.h"
#include "net/net.h"
#include "shard/shard.h"
#include "storage/storage.h"

#define EXIT_CONFIG 2
#define MAIN_ERR_MAX 1024
#define MAIN_MAX_SHARDS 64
#define MAIN_MAX_WORKERS 16
#define MAIN_RING 4096
#define MAIN_RECV_BUFFER 65536u
#define MAIN_RECV_MEMORY (16u << 20)
#define MAIN_SEND_QUEUE 4096u
#define MAIN_FETCH_MAX (8 << 20)
#define MAIN_FETCH_PART_MAX (1 << 20)
#define MAIN_MAX_CONNS 1000000

static const char usage_text[] =
	"usage: millrace [--config FILE] [--set key=value]... [--check] [--print-config] "
	"[--version]\n"
	"\n"
	"  --config FILE     read a server.properties file\n"
	"  --set key=value   set one key; wins over the file\n"
	"  --check           check the configuration, start nothing\n"
	"  --print-config    print the effective configuration with a comment on every key\n"
	"  --version         print the version\n";

/* Everything that is open; released by broker_close in reverse order. */
struct broker {
	struct config cfg;
	uint16_t shard_count;
	uint16_t worker_count;
	uint16_t port; /* the Kafka port in use */
	int signal_fd;
	struct st_dirs *dirs;
	uint32_t logs_found; /* in them, at the start */
	struct net_dpdk *dpdk;
	uint8_t *log_memory;
	size_t log_bytes;
	bool log_mapped;
	struct mesh mesh;
	bool mesh_made;
	struct st_worker *workers[MAIN_MAX_WORKERS];
	struct net *nets[MAIN_MAX_SHARDS];
	struct shard *shards[MAIN_MAX_SHARDS];
	uint16_t shards_started;
	struct ctl *ctl;
	char labels[MAIN_MAX_SHARDS + MAIN_MAX_WORKERS][24]; /* of metrics */
	char err[MAIN_ERR_MAX];
};

static int broker_fail(struct broker *b, const char *what)
{
	snprintf(b->err, sizeof(b->err), "%s", what);
	return -1;
}

/* ---- sizes ---- */

static int broker_size(struct broker *b)
{
	const struct config *c = &b->cfg;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	long shards = c->shards > 0 ? c->shards : max_of(cpus - 1, 1l);
	b->shard_count = (uint16_t)min_of(shards, (long)MAIN_MAX_SHARDS);
	int workers = c->storage_workers > 0 ? c->storage_workers : c->log_dirs.count;
	b->worker_count = (uint16_t)min_of(workers, MAIN_MAX_WORKERS);
	size_t share =
		align_down((size_t)c->memory_log_bytes / b->shard_count, (size_t)LBLOCK_SIZE);
	b->log_bytes = share * b->shard_count;
	if ((size_t)c->message_max_bytes * 4 <= share)
		return 0;
	snprintf(b->err, sizeof(b->err),
		"memory.log.bytes, shared by %u shards, gives each %zu bytes, but four batches of "
		"message.max.bytes must fit: raise memory.log.bytes or set shards=",
		b->shard_count, share);
	return -1;
}

/* Room for every connection's descriptor, as far as the hard limit goes. */
static void broker_raise_limits(const struct config *c)
{
	struct rlimit rl;
	rlim_t want = (rlim_t)min_of(c->max_connections, MAIN_MAX_CONNS) + 16384;
	if (getrlimit(RLIMIT_NOFILE, &rl) != 0 || rl.rlim_cur >= want)
		return;
	rl.rlim_cur = min_of(want, rl.rlim_max);
	if (setrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < want / 2)
		log_warn("main",
			"file descriptors are limited to %llu: fewer than max.connections and "
			"files may need; "
			"raise it with ulimit -n or LimitNOFILE=",
			(unsigned long long)rl.rlim_cur);
}

/* ---- opening, in order ---- */

static int broker_open_signals(struct broker *b)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL); /* inherited by every thread */
	signal(SIGPIPE, SIG_IGN);
	b->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return b->signal_fd >= 0 ? 0 : broker_fail(b, "signalfd is not available");
}

static uint8_t *log_memory_map(size_t size, enum config_hugepages huge)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	if (huge != CONFIG_HUGEPAGES_OFF) {
		void *p = mmap(NULL, align_up(size, (size_t)2 << 20), PROT_READ | PROT_WRITE,
			flags | MAP_HUGETLB, -1, 0);
		if (p != MAP_FAILED)
			return p;
		if (huge == CONFIG_HUGEPAGES_REQUIRE)
			return NULL;
	}
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (huge == CONFIG_HUGEPAGES_AUTO)
		madvise(p, size, MADV_HUGEPAGE);
	return p;
}

static int broker_open_dpdk(struct broker *b)
{
	const struct config *c = &b->cfg;
	static const char *const huge[] = {"auto", "off", "require"};
	struct net_dpdk_config d = {
		.shards = b->shard_count,
		.memory_mib = (uint32_t)(c->dpdk_memory >> 20),
		.log_bytes = b->log_bytes,
		.max_conns = (uint32_t)min_of(c->max_connections, MAIN_MAX_CONNS),
		.listen_port = c->listeners.v[0].port,
		.newreno = c->tcp_congestion == CONFIG_CONGESTION_NEWRENO,
		.no_ecn = !c->tcp_ecn,
		.vlan = (uint16_t)c->dpdk_vlan,
		.no_offloads = c->dpdk_offloads == CONFIG_OFFLOADS_OFF,
		.nap_max_ns = (uint64_t)c->poll_nap_max_us * NS_PER_US,
		.verbose = c->dpdk_verbose,
	};
	snprintf(d.port, sizeof(d.port), "%.255s", c->dpdk_port);
	snprintf(d.eal, sizeof(d.eal), "%.255s", c->dpdk_eal);
	snprintf(d.address, sizeof(d.address), "%.63s", c->dpdk_address);
	snprintf(d.gateway, sizeof(d.gateway), "%.63s", c->dpdk_gateway);
	snprintf(d.hugepages, sizeof(d.hugepages), "%s", huge[c->hugepages]);
	b->dpdk = net_dpdk_open(&d, b->err, sizeof(b->err));
	if (!b->dpdk)
		return -1;
	b->log_memory = net_dpdk_log_memory(b->dpdk);
	b->port = d.listen_port;
	return b->log_memory ? 0 : broker_fail(b, "the DPDK heap has no room for memory.log.bytes");
}

/* The one memory for NIC, log and disk: from the DPDK heap when there is one. */
static int broker_open_memory(struct broker *b)
{
	if (b->cfg.transport == CONFIG_TRANSPORT_DPDK)
		return broker_open_dpdk(b);
	b->log_memory = log_memory_map(b->log_bytes, (enum config_hugepages)b->cfg.hugepages);
	b->log_mapped = b->log_memory != NULL;
	if (b->log_memory)
		return 0;
	if (b->cfg.hugepages == CONFIG_HUGEPAGES_REQUIRE)
		return broker_fail(b,
			"hugepages=require, but there are not enough free huge pages for "
			"memory.log.bytes: raise vm.nr_hugepages or set hugepages=auto");
	return broker_fail(b, "no memory for memory.log.bytes: make it smaller");
}

static int broker_open_net(struct broker *b, uint16_t i)
{
	const struct config *c = &b->cfg;
	if (b->dpdk) {
		b->nets[i] = net_dpdk_shard(b->dpdk, i, b->err, sizeof(b->err));
		return b->nets[i] ? 0 : -1;
	}
	struct net_uring_config u = {
		.port = i == 0 ? c->listeners.v[0].port : b->port,
		.max_conns =
			(uint32_t)min_of(c->max_connections, MAIN_MAX_CONNS) / b->shard_count + 1,
		.recv_buffers = MAIN_RECV_MEMORY / MAIN_RECV_BUFFER,
		.recv_buffer_size = MAIN_RECV_BUFFER,
		.send_queue = MAIN_SEND_QUEUE,
	};
	snprintf(u.host, sizeof(u.host), "%.63s", c->listeners.v[0].host);
	if (b->shard_count > 1 && i == 0) {
		/* Shards share the port by SO_REUSEPORT, which would also share it with another
		   broker of this user: first see that it is free. */
		struct net *probe = net_uring_open(&u, b->err, sizeof(b->err));
		if (!probe)
			return -1;
		u.port = net_uring_port(probe);
		net_fini(probe);
	}
	u.reuse_port = b->shard_count > 1;
	b->nets[i] = net_uring_open(&u, b->err, sizeof(b->err));
	if (!b->nets[i])
		return -1;
	if (i == 0)
		b->port = net_uring_port(b->nets[0]);
	return 0;
}

static int cpu_of(const struct config_cpus *cpus, uint16_t i)
{
	return cpus->count > 0 ? cpus->id[i % cpus->count] : -1;
}

/* What a storage worker is made with; the directories are opened with that of worker 0. */
static struct st_config broker_storage(struct broker *b, uint16_t worker)
{
	const struct config *c = &b->cfg;
	bool any_rate = c->cleaner_io_bytes == INT64_MAX;
	uint64_t rate = (uint64_t)c->cleaner_io_bytes / b->worker_count;
	return (struct st_config){
		.dirs = b->cfg.log_dirs.path,
		.dir_count = c->log_dirs.count,
		.durability = c->durability == CONFIG_DURABILITY_FLUSH ? ST_FLUSH : ST_WRITTEN,
		.log_memory = b->log_memory,
		.log_bytes = b->log_bytes,
		.askers = (uint16_t)(b->shard_count + 1),
		.workers = b->worker_count,
		.index = worker,
		.max_logs = 1u << 20,
		.journal_bytes = (uint64_t)c->journal_bytes,
		.cleaner_bytes_per_s = any_rate ? UINT64_MAX : max_of(rate, (uint64_t)1),
		.cleaner_map_bytes = (uint64_t)c->cleaner_map_bytes / b->worker_count,
		.cpu = cpu_of(&c->storage_cpus, worker),
	};
}

static int broker_open_dirs(struct broker *b)
{
	struct st_config storage = broker_storage(b, 0);
	b->dirs = st_dirs_open(&storage, b->err, sizeof(b->err));
	if (!b->dirs)
		return -1;
	b->logs_found = st_dirs_log_count(b->dirs); /* before the workers take them over */
	return 0;
}

/*
 * Capabilities that stay: to lock memory, which io_uring's registered buffers and a card's mappings
 * are accounted as; and the af_xdp driver takes its program off the interface at the end.
 */
static uint64_t broker_capabilities(const struct broker *b)
{
	const uint64_t one = 1, bpf = one << 39; /* CAP_BPF is not in older headers */
	bool xdp = b->dpdk && strncmp(b->cfg.dpdk_port, "af_xdp:", 7) == 0;
	return one << CAP_IPC_LOCK | (xdp ? one << CAP_NET_ADMIN | bpf : 0);
}

static int broker_open_workers(struct broker *b)
{
	for (uint16_t i = 0; i < b->worker_count; i++) {
		struct st_config sc = broker_storage(b, i);
		b->workers[i] = st_worker_open(&sc, b->dirs, b->err, sizeof(b->err));
		if (!b->workers[i])
			return -1;
	}
	return 0;
}

/* Longer than a hundred years is a hundred years. */
static uint64_t ns_of_ms(int64_t ms)
{
	return (uint64_t)min_of(ms, (int64_t)100 * 365 * 86400 * 1000) * NS_PER_MS;
}

static int broker_open_shards(struct broker *b)
{
	const struct config *c = &b->cfg;
	size_t share = b->log_bytes / b->shard_count;
	int64_t request_bytes = c->memory_request_bytes;
	if (c->queued_max_request_bytes > 0)
		request_bytes = min_of(request_bytes, c->queued_max_request_bytes);
	uint64_t seed;
	CHECK(getrandom(&seed, sizeof(seed), 0) == sizeof(seed));
	for (uint16_t i = 0; i < b->shard_count; i++) {
		struct shard_config sc = {
			.index = i,
			.mesh = &b->mesh,
			.net = b->nets[i],
			.workers = b->workers,
			.worker_count = b->worker_count,
			.log_memory = b->log_memory + share * i,
			.log_bytes = share,
			.cold_blocks = (uint32_t)(share / LBLOCK_SIZE *
						  (size_t)c->memory_read_ratio_ppm / 1000000),
			.request_bytes = (size_t)request_bytes / b->shard_count,
			.store_reqs = ST_ASKER_REQS,
			.frame_max = (int32_t)c->request_max_bytes,
			.max_conns = (uint32_t)min_of(c->max_connections, MAIN_MAX_CONNS),
			.conn_idle_ns = c->connections_max_idle_ms > 0
						? (uint64_t)c->connections_max_idle_ms * NS_PER_MS
						: 0,
			.spin_ns = (uint64_t)c->poll_spin_us * NS_PER_US,
			.busy_poll = c->poll_mode == CONFIG_POLL_BUSY,
			.cpu = cpu_of(&c->shard_cpus, i),
			.retain_every_ns = ns_of_ms(max_of(c->retention_check_ms, (int64_t)1)),
			.clean_every_ns = c->cleaner_enable ? ns_of_ms(max_of(c->cleaner_backoff_ms,
								      (int64_t)1))
							    : 0,
			.upkeep_delay_ns = ns_of_ms(c->initial_task_delay_ms),
			.fetch_session_slots =
				((uint32_t)c->fetch_session_slots + b->shard_count - 1) /
				b->shard_count,
			.producer_expiration_ms = c->producer_expiration_ms,
			.quota_seed = seed,
			.limits =
				{
					.fetch_max_bytes = (int32_t)min_of(
						c->fetch_max_bytes, min_of((int64_t)MAIN_FETCH_MAX,
									    (int64_t)share / 4)),
					.fetch_part_max_bytes = (int32_t)min_of(
						(int64_t)MAIN_FETCH_PART_MAX, (int64_t)share / 8),
					.auto_create_topics = c->auto_create_topics,
				},
		};
		b->shards[i] = shard_create(&sc);
		if (!b->shards[i])
			return broker_fail(b, "no memory for a shard");
		b->nets[i] = NULL; /* the shard's now */
	}
	return 0;
}

/* ---- metrics ---- */

static const struct metric_desc net_rows[] = {
#define X(n, h) {.name = "net_" #n, .help = h, .offset = offsetof(struct net_metrics, n)},
	NET_METRICS(X)
#undef X
};
static const struct metric_desc port_rows[] = {
#define X(n, h) {.name = "port_" #n, .help = h, .offset = offsetof(struct net_dpdk_metrics, n)},
	NET_DPDK_METRICS(X)
#undef X
};
static const struct metric_desc shard_rows[] = {
#define X(n, h) {.name = #n, .help = h, .offset = offsetof(struct shard_metrics, n)},
	SHARD_METRICS(X)
#undef X
};
static const struct metric_desc st_rows[] = {
#define X(n, h) {.name = "storage_" #n, .help = h, .offset = offsetof(struct st_metrics, n)},
	ST_METRICS(X)
#undef X
};

static int broker_add_metrics(struct broker *b, struct net *const *nets)
{
	struct admin *a = ctl_admin(b->ctl);
	uint32_t stack_count;
	const struct metric_desc *stack_rows = ipstack_metric_table(&stack_count);
	int rc = 0;
	for (uint16_t i = 0; i < b->shard_count; i++) {
		char *label = b->labels[i];
		snprintf(label, sizeof(b->labels[i]), "shard=\"%u\"", i);
		rc |= admin_add_metrics(a, shard_rows, array_size(shard_rows),
			shard_metrics_of(b->shards[i]), label);
		rc |= admin_add_metrics(
			a, net_rows, array_size(net_rows), &nets[i]->metrics, label);
		if (!b->dpdk)
			continue;
		rc |= admin_add_metrics(
			a, port_rows, array_size(port_rows), net_dpdk_metrics_of(nets[i]), label);
		rc |= admin_add_metrics(
			a, stack_rows, stack_count, net_dpdk_stack_metrics_of(nets[i]), label);
	}
	for (uint16_t i = 0; i < b->worker_count; i++) {
		char *label = b->labels[MAIN_MAX_SHARDS + i];
		snprintf(label, sizeof(b->labels[0]), "worker=\"%u\"", i);
		rc |= admin_add_metrics(
			a, st_rows, array_size(st_rows), st_worker_metrics(b->workers[i]), label);
	}
	return rc ? broker_fail(b, "no memory for metrics") : 0;
}

/* ---- the whole ---- */

static int broker_open(struct broker *b)
{
	broker_raise_limits(&b->cfg);
	if (broker_size(b) != 0 || broker_open_signals(b) != 0)
		return -1;
	if (broker_open_memory(b) != 0)
		return -1;
	if (mesh_init(&b->mesh, (uint16_t)(b->shard_count + 1), MAIN_RING) != 0)
		return broker_fail(b, "no memory for the rings");
	b->mesh_made = true;
	for (uint16_t i = 0; i < b->shard_count; i++)
		if (broker_open_net(b, i) != 0)
			return -1;
	struct net *nets[MAIN_MAX_SHARDS];
	memcpy(nets, b->nets, sizeof(nets));
	/* What follows belongs to the user that the broker runs as. */
	if (privileges_drop(b->cfg.process_user, broker_capabilities(b), b->err, sizeof(b->err)) !=
			0 ||
		broker_open_dirs(b) != 0)
		return -1;
	if (broker_open_workers(b) != 0 || broker_open_shards(b) != 0)
		return -1;
	struct ctl_options opt = {
		.cfg = &b->cfg,
		.mesh = &b->mesh,
		.signal_fd = b->signal_fd,
		.workers = b->worker_count,
		.logs_found = b->logs_found,
		.listen_port = b->port,
	};
	b->ctl = ctl_create(&opt, b->err, sizeof(b->err));
	return b->ctl ? broker_add_metrics(b, nets) : -1;
}

static int broker_start(struct broker *b)
{
	for (uint16_t i = 0; i < b->worker_count; i++)
		if (st_worker_start(b->workers[i]) != 0)
			return broker_fail(b, "a storage thread cannot be started");
	for (uint16_t i = 0; i < b->shard_count; i++, b->shards_started++)
		if (shard_start(b->shards[i]) != 0)
			return broker_fail(b, "a shard thread cannot be started");
	return 0;
}

static void broker_say_ready(const struct broker *b)
{
	const struct config *c = &b->cfg;
	char addr[CONFIG_TEXT_MAX + 16];
	if (b->dpdk)
		snprintf(addr, sizeof(addr), "%.*s", (int)strcspn(c->dpdk_address, "/"),
			c->dpdk_address);
	else
		snprintf(addr, sizeof(addr), "%s",
			c->listeners.v[0].host[0] ? c->listeners.v[0].host : "*");
	printf("millrace ready on %s:%u (%s, %u shard%s, %u storage worker%s, admin on port %u)\n",
		addr, b->port, b->dpdk ? c->dpdk_port : "kernel sockets", b->shard_count,
		b->shard_count == 1 ? "" : "s", b->worker_count, b->worker_count == 1 ? "" : "s",
		admin_port(ctl_admin(b->ctl)));
	fflush(stdout);
}

/* Runs until a signal. True: a clean stop. */
static bool broker_run(struct broker *b)
{
	int rc = ctl_start(b->ctl, b->err, sizeof(b->err));
	if (rc < 0)
		fprintf(stderr, "millrace: %s\n", b->err);
	if (rc == 0) {
		log_info("main", "the last stop was %s",
			st_dirs_clean(b->dirs) ? "clean: there was nothing to recover"
					       : "not clean: the journal was played");
		if (ctl_failed_partitions(b->ctl) > 0)
			log_error("main", "%u partitions could not be opened and are offline",
				ctl_failed_partitions(b->ctl));
		broker_say_ready(b);
	}
	bool clean = ctl_run(b->ctl);
	return clean && rc >= 0;
}

/* True when every worker closed its logs. */
static bool broker_close(struct broker *b)
{
	bool clean = true;
	for (uint16_t i = 0; i < b->shards_started; i++)
		shard_join(b->shards[i]);
	for (uint16_t i = 0; i < b->worker_count; i++)
		if (b->workers[i])
			clean &= st_worker_stop(b->workers[i]);
	if (b->ctl)
		ctl_destroy(b->ctl);
	for (uint16_t i = 0; i < b->shard_count; i++) {
		shard_destroy(b->shards[i]);
		if (b->nets[i])
			net_fini(b->nets[i]);
	}
	if (b->mesh_made)
		mesh_fini(&b->mesh);
	if (b->dpdk)
		net_dpdk_close(b->dpdk);
	if (b->log_mapped)
		munmap(b->log_memory, b->log_bytes);
	if (b->dirs)
		st_dirs_close(b->dirs);
	if (b->signal_fd >= 0)
		close(b->signal_fd);
	return clean;
}

static int broker_main(struct broker *b)
{
	if (broker_open(b) != 0 || broker_start(b) != 0) {
		fprintf(stderr, "millrace: %s\n", b->err);
		if (b->shards_started > 0)
			_exit(EXIT_FAILURE); /* threads run; nothing was acknowledged yet */
		broker_close(b);
		return EXIT_FAILURE;
	}
	bool clean = broker_run(b);
	clean &= broker_close(b);
	log_info("main", clean ? "stopped cleanly"
			       : "stopped, not cleanly: the next start plays the journal");
	return clean ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- the command line ---- */

enum command { COMMAND_RUN, COMMAND_CHECK, COMMAND_PRINT, COMMAND_DONE, COMMAND_WRONG };

static enum command command_wrong(const char *what, const char *arg)
{
	fprintf(stderr, "millrace: %s%s\n\n%s", what, arg, usage_text);
	return COMMAND_WRONG;
}

static enum command command_parse(int argc, char **argv, struct config *c)
{
	enum command cmd = COMMAND_RUN;
	char err[CONFIG_ERR_MAX];
	const char *sets[256];
	size_t set_count = 0;
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		bool valued = strcmp(a, "--config") == 0 || strcmp(a, "--set") == 0;
		if (valued && i + 1 >= argc)
			return command_wrong("a value is missing after ", a);
		if (strcmp(a, "--config") == 0) {
			if (config_load_file(c, argv[++i], err, sizeof(err)) != 0) {
				fprintf(stderr, "millrace: %s\n", err);
				return COMMAND_WRONG;
			}
		} else if (strcmp(a, "--set") == 0) {
			if (set_count == array_size(sets))
				return command_wrong("too many --set", "");
			sets[set_count++] = argv[++i];
		} else if (strcmp(a, "--check") == 0) {
			cmd = COMMAND_CHECK;
		} else if (strcmp(a, "--print-config") == 0) {
			cmd = COMMAND_PRINT;
		} else if (strcmp(a, "--version") == 0) {
			printf("millrace %s\n", MR_VERSION);
			return COMMAND_DONE;
		} else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
			fputs(usage_text, stdout);
			return COMMAND_DONE;
		} else {
			return command_wrong("unknown argument ", a);
		}
	}
	char hostname[256] = "localhost";
	gethostname(hostname, sizeof(hostname) - 1);
	int rc = 0;
	for (size_t i = 0; i < set_count && rc == 0; i++)
		rc = config_set(c, sets[i], err, sizeof(err));
	if (rc == 0)
		rc = config_finish(c, hostname, err, sizeof(err));
	if (rc != 0) {
		fprintf(stderr, "millrace: %s\n", err);
		return COMMAND_WRONG;
	}
	return cmd;
}

static void warn_line(void *arg, const char *sentence)
{
	log_warn("config", "%s", sentence);
}

int main(int argc, char **argv)
{
	struct broker *b = calloc(1, sizeof(*b));
	if (!b)
		return EXIT_FAILURE;
	b->signal_fd = -1;
	config_defaults(&b->cfg);
	int rc = EXIT_SUCCESS;
	switch (command_parse(argc, argv, &b->cfg)) {
	case COMMAND_WRONG:
		rc = EXIT_CONFIG;
		break;
	case COMMAND_DONE:
		break;
	case COMMAND_CHECK:
		config_warn(&b->cfg, warn_line, NULL);
		puts("configuration ok");
		break;
	case COMMAND_PRINT:
		config_print(&b->cfg, stdout, true);
		break;
	case COMMAND_RUN:
		log_set_level((enum log_level)b->cfg.log_level);
		config_warn(&b->cfg, warn_line, NULL);
		rc = broker_main(b);
		break;
	}
	free(b);
	return rc;
}
