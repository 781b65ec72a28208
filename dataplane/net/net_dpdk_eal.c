/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DPDK's environment (EAL): one per process, started once, by the main thread. The operator never
 * writes EAL arguments; they follow from the configuration here. Nothing is left on the machine: no
 * hugepage files, no shared configuration, no sockets.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_memzone.h>

#include "base/check.h"
#include "base/log.h"
#include "net/net_dpdk_int.h"

#define MIB (1024u * 1024u)
#define HEAP_SLACK_MIB 48u /* queues, driver's tables, rounding of the allocator */
#define CAUGHT_SIZE 16384u
#define ARGS_MAX 48
#define DPDK_ARG_MAX 272

/* What DPDK and the libraries under it write while a port is being opened. */
struct dlog {
	FILE *file;  /* DPDK's log stream; a memory file */
	int fd;	     /* of that file */
	int std_err; /* the real stderr, while ours is the file; -1 otherwise */
	char last[DPDK_ERR_SIZE];
};

int dpdk_fault(char *err, size_t err_size, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err, err_size, fmt, ap);
	va_end(ap);
	return -1;
}

/* ---- log ---- */

static void log_begin(struct net_dpdk *d)
{
	if (d->cfg.verbose || d->log)
		return;
	struct dlog *l = calloc(1, sizeof(*l));
	if (!l)
		return; /* then its lines are seen */
	l->std_err = -1;
	l->fd = memfd_create("dpdk-log", MFD_CLOEXEC);
	l->file = l->fd >= 0 ? fdopen(l->fd, "w+e") : NULL;
	if (!l->file) {
		if (l->fd >= 0)
			close(l->fd);
		free(l);
		return;
	}
	setvbuf(l->file, NULL, _IOLBF, 0);
	rte_openlog_stream(l->file);
	/* libbpf and libxdp know only stderr. */
	fflush(stderr);
	l->std_err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (l->std_err >= 0)
		dup2(l->fd, STDERR_FILENO);
	d->log = l;
}

void dpdk_log_end(struct net_dpdk *d)
{
	struct dlog *l = d->log;
	if (!l)
		return;
	fflush(stderr);
	if (l->std_err >= 0) {
		dup2(l->std_err, STDERR_FILENO);
		close(l->std_err);
	}
	/* From now on its lines go nowhere: a driver may say the same for every packet. */
	FILE *null = fopen("/dev/null", "we");
	rte_openlog_stream(null ? null : stderr);
	fclose(l->file);
	free(l);
	d->log = NULL;
}

/* The line with the cause: the last that is about a failure, else the last of all. */
static void pick_line(struct dlog *l, char *text)
{
	bool cause = false;
	char *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool bad = strcasestr(line, "fail") || strcasestr(line, "error") ||
			   strcasestr(line, "cannot") || strcasestr(line, "unable") ||
			   strcasestr(line, "not ");
		if (bad || !cause)
			snprintf(l->last, sizeof(l->last), "%s", line);
		cause |= bad;
	}
}

const char *dpdk_log_last(struct net_dpdk *d)
{
	struct dlog *l = d->log;
	if (!l)
		return d->cfg.verbose ? "see its lines above" : "";
	fflush(l->file);
	fflush(stderr);
	char *text = calloc(1, CAUGHT_SIZE);
	if (!text)
		return "";
	off_t end = lseek(l->fd, 0, SEEK_END);
	off_t from = end > (off_t)CAUGHT_SIZE - 1 ? end - (off_t)CAUGHT_SIZE + 1 : 0;
	if (pread(l->fd, text, CAUGHT_SIZE - 1, from) > 0)
		pick_line(l, text);
	free(text);
	return l->last;
}

/* ---- memory ---- */

/* What everything together takes from the heap. */
static uint32_t heap_needed_mib(const struct net_dpdk *d, bool huge)
{
	uint64_t bytes = d->shards * dport_pool_bytes(&d->spec, huge) + d->cfg.log_bytes;
	return (uint32_t)((bytes + MIB - 1) / MIB) + HEAP_SLACK_MIB;
}

static uint64_t read_number(const char *path)
{
	unsigned long long v = 0;
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &v) != 1)
		v = 0;
	fclose(f);
	return v;
}

static uint64_t free_hugepage_mib(void)
{
	return read_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") * 2 +
	       read_number("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages") * 1024;
}

/* Free pages may still be refused to us (a container's limit): ask for them once. */
static bool hugepages_usable(uint32_t mib)
{
	if (free_hugepage_mib() < mib)
		return false;
	void *p = mmap(NULL, (size_t)mib * MIB, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED)
		/* All of them may be 1 GiB pages, which this call does not take. */
		return read_number("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages") >
		       0;
	munmap(p, (size_t)mib * MIB);
	return true;
}

/* What is configured, or what is needed. */
static int heap_mib(struct net_dpdk *d, bool huge, uint32_t *mib, char *err, size_t err_size)
{
	uint32_t need = heap_needed_mib(d, huge);
	*mib = d->cfg.memory_mib ? d->cfg.memory_mib : need;
	if (*mib >= need)
		return 0;
	return dpdk_fault(err, err_size,
		"dpdk.memory is %u MiB, but %u shards with their log memory need %u MiB%s", *mib,
		d->shards, need, huge ? "" : " without hugepages");
}

/* auto: hugepages where there are enough of them. */
static int decide_memory(struct net_dpdk *d, uint32_t *mib, char *err, size_t err_size)
{
	const char *mode = d->cfg.hugepages;
	if (strcmp(mode, "off") == 0)
		return heap_mib(d, false, mib, err, err_size);
	if (heap_mib(d, true, mib, err, err_size) != 0)
		return -1;
	d->huge = hugepages_usable(*mib);
	if (d->huge)
		return 0;
	unsigned pages = (*mib + 1) / 2;
	unsigned long long there = free_hugepage_mib();
	if (strcmp(mode, "require") == 0)
		return dpdk_fault(err, err_size,
			"hugepages=require, but %u MiB are needed and %llu MiB are free: run "
			"sysctl -w vm.nr_hugepages=%u",
			*mib, there, pages);
	log_warn("net",
		"dpdk runs without hugepages, which is slower: %u MiB are needed and %llu MiB are "
		"free; sysctl -w vm.nr_hugepages=%u gives enough",
		*mib, there, pages);
	return heap_mib(d, false, mib, err, err_size);
}

static int take_log_memory(struct net_dpdk *d, char *err, size_t err_size)
{
	if (d->cfg.log_bytes == 0)
		return 0;
	const struct rte_memzone *mz = rte_memzone_reserve_aligned(
		"millrace_log", d->cfg.log_bytes, SOCKET_ID_ANY, 0, 4096);
	if (!mz)
		return dpdk_fault(err, err_size,
			"no room for %zu MiB of log memory in DPDK's heap (%s): raise "
			"dpdk.memory or lower memory.log.bytes",
			d->cfg.log_bytes / MIB, rte_strerror(rte_errno));
	d->log_mem = mz->addr;
	return 0;
}

/* ---- EAL ---- */

struct args {
	char text[ARGS_MAX][DPDK_ARG_MAX];
	char *v[ARGS_MAX + 1];
	int n;
};

__attribute__((format(printf, 2, 3))) static void arg(struct args *a, const char *fmt, ...)
{
	CHECK(a->n < ARGS_MAX);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(a->text[a->n], sizeof(a->text[0]), fmt, ap);
	va_end(ap);
	a->v[a->n] = a->text[a->n];
	a->v[++a->n] = NULL;
}

/* EAL pins the calling thread to this one; the caller's set is restored afterwards. */
static int first_cpu(const cpu_set_t *set)
{
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, set))
			return i;
	return 0;
}

/* The operator's; EAL takes the last of two that contradict each other. */
static void own_args(struct args *a, const char *text)
{
	while (*(text += strspn(text, " \t")) && a->n < ARGS_MAX) {
		size_t n = strcspn(text, " \t");
		arg(a, "%.*s", (int)n, text);
		text += n;
	}
}

static void build_args(struct net_dpdk *d, struct args *a, uint32_t mib, int cpu)
{
	arg(a, "millrace");
	arg(a, "--lcores=0@%d", cpu);
	arg(a, "--no-telemetry");
	/* Of a folder that EAL makes below /run/dpdk and in which nothing is put. */
	arg(a, "--file-prefix=millrace");
	arg(a, "-m");
	arg(a, "%u", mib);
	if (d->huge) {
		arg(a, "--in-memory");
	} else {
		/* --in-memory is refused together with --no-huge. */
		arg(a, "--no-huge");
		arg(a, "--no-shconf");
	}
	if (d->spec.kind == DPORT_PCI) {
		arg(a, "-a");
		arg(a, "%s%s", d->spec.name, d->spec.args);
	} else {
		arg(a, "--no-pci");
		arg(a, "--iova-mode=va");
	}
	arg(a, "--log-level=%s", d->cfg.verbose ? "lib.*:info" : "lib.*:warning");
	own_args(a, d->cfg.eal);
}

int dpdk_eal_open(struct net_dpdk *d, char *err, size_t err_size)
{
	struct args a = {.n = 0};
	cpu_set_t cpus;
	uint32_t mib;
	if (decide_memory(d, &mib, err, err_size) != 0)
		return -1;
	CHECK(pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus) == 0);
	build_args(d, &a, mib, first_cpu(&cpus));
	log_begin(d);
	int rc = rte_eal_init(a.n, a.v);
	int failed = rte_errno;
	(void)pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	if (rc < 0)
		return dpdk_fault(err, err_size, "DPDK does not start (%s): %s%s",
			rte_strerror(failed), dpdk_log_last(d),
			d->huge ? "; hugepages=off does without hugepages" : "");
	d->eal_up = true;
	return take_log_memory(d, err, err_size);
}

void dpdk_eal_close(struct net_dpdk *d)
{
	/*
	 * memif ends its control channel on EAL's interrupt thread, and rte_eal_cleanup takes the
	 * memory away without waiting for it. The process is about to end: nothing of EAL outlives
	 * it.
	 */
	if (d->eal_up && d->spec.kind != DPORT_MEMIF)
		(void)rte_eal_cleanup();
	d->eal_up = false;
}
