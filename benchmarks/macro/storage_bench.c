/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storage engine against what the filesystem gives to a program that only writes, in one run,
 * the contestants taking turns (A B C, C B A, ...), so that a noisy machine hits all alike:
 *
 *   ingest   64 KiB and 256 KiB batches into 1 and 100 partitions, many in flight
 *   small    1 KiB batches over 1,000 partitions, one in flight in each
 *   latency  one batch of 1 KiB in flight
 *
 * Every append counts when it is acknowledged, which means flushed. See benchmarks/README.md.
 */
#include <getopt.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/asker.h"
#include "raw_disk.h"

#define MIB (1u << 20)
#define MEMORY_DEFAULT 512u
#define JOURNAL_BYTES (256ull * MIB)
#define INGEST_SEGMENT (16ull * MIB)
#define INGEST_WARM 4u /* segments of each log before the count begins */
#define RAW_UNIT MIB
#define RAW_DEPTH 16u
#define RAW_FLUSH_EVERY (64u * MIB)
#define INGEST_WINDOW RAW_FLUSH_EVERY /* bytes not acknowledged yet: the raw writer has as many */
#define SMALL_UNIT 1024u
#define SMALL_LOGS 1000u
/* Batches of each log before the count begins: each has its segment by then. */
#define SMALL_WARM 80u
#define SMALL_RAW_BYTES (256u << 10) /* of each of its files */
#define ROUNDS_MAX 32u

struct options {
	char dir[200];
	uint64_t ingest_bytes; /* of one contestant and turn */
	uint64_t small_bytes;  /* at most, of the engine in one turn */
	uint64_t ns;	       /* of one contestant and turn, where it is not bytes */
	uint32_t samples;      /* latency: of one contestant and turn */
	uint32_t rounds;
	size_t memory;
	const char *only;
	FILE *json;
};

/* Retention of a log, one request at a time. */
struct upkeep {
	struct st_req req;
	int64_t segment; /* that was active when it was last asked for */
	bool done;
};

/* The engine of one measurement. */
struct bench {
	const struct options *o;
	struct asker a;
	struct asker_log *logs;
	struct upkeep *upkeep;
	uint32_t log_count;
	int32_t next_partition; /* every turn has logs of its own */
	uint8_t *batch;
	uint32_t unit;
	uint64_t acked;
};

/* What one turn of one contestant gave. */
struct turn {
	uint64_t units;
	double wall_s;
	struct usage used; /* all of it, background work that it left behind included */
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "storage_bench: %s\n", what);
	exit(1);
}

static void count_ack(struct asker *a, struct asker_log *l, const struct st_req *r)
{
	struct bench *b = a->user;
	if (r->err != ST_OK)
		die("an append failed");
	b->acked++;
}

static void bench_open(struct bench *b, const struct options *o, uint32_t unit, uint32_t logs)
{
	char err[512] = "", dir[256];
	uint8_t *value = malloc(unit);
	memset(b, 0, sizeof(*b));
	b->o = o;
	b->unit = unit;
	b->log_count = logs;
	b->logs = calloc(logs, sizeof(*b->logs));
	b->batch = malloc(unit);
	b->upkeep = calloc(logs, sizeof(*b->upkeep));
	CHECK(b->logs && b->upkeep && b->batch && value);
	for (uint32_t i = 0; i < unit; i++)
		value[i] = (uint8_t)(i * 2654435761u >> 11);
	asker_batch(b->batch, unit, clock_wall_ms(), value);
	free(value);
	snprintf(dir, sizeof(dir), "%s/engine", o->dir);
	const struct asker_config cfg = {
		.dir = dir, .memory = o->memory, .max_logs = 4096, .journal_bytes = JOURNAL_BYTES};
	if (!asker_start(&b->a, &cfg, err, sizeof(err)))
		die(err[0] ? err : "the worker does not start");
	b->a.done = count_ack;
	b->a.user = b;
	b->a.logs = b->logs;
	b->a.log_count = logs;
}

static void bench_close(struct bench *b)
{
	if (!asker_stop(&b->a))
		die("the engine did not stop cleanly");
	free(b->logs);
	free(b->upkeep);
	free(b->batch);
}

static void open_logs(struct bench *b)
{
	for (uint32_t i = 0; i < b->log_count; i++)
		if (asker_open(&b->a, &b->logs[i], b->next_partition++, true) != ST_OK)
			die("cannot open a log");
}

/* Closes the logs, so that all that waits in the background is written, and opens them again. */
static void settle_logs(struct bench *b)
{
	for (uint32_t i = 0; i < b->log_count; i++) {
		struct asker_log *l = &b->logs[i];
		if (asker_end(&b->a, l, ST_CLOSE) != ST_OK ||
			asker_open(&b->a, l, l->partition, false) != ST_OK)
			die("cannot close and open a log");
	}
}

static void delete_logs(struct bench *b)
{
	for (uint32_t i = 0; i < b->log_count; i++)
		if (asker_end(&b->a, &b->logs[i], ST_DELETE) != ST_OK)
			die("cannot delete a log");
}

static void drain(struct bench *b)
{
	while (b->a.in_flight > 0)
		asker_poll(&b->a, true);
}

/* One append to log i, waiting for room where it is short. */
static void append(struct bench *b, uint32_t i)
{
	while (!asker_append(&b->a, &b->logs[i], b->batch, b->unit))
		asker_poll(&b->a, true);
}

/* ---- the engine's turns ---- */

/* Retention by size, of one segment, for a log that has rolled. */
static void ingest_retain(struct bench *b, uint32_t i)
{
	static const struct st_policy policy = {
		.remove = true, .retention_ms = -1, .retention_bytes = 1};
	struct upkeep *u = &b->upkeep[i];
	struct asker_log *l = &b->logs[i];
	if (u->segment == l->segment || !u->done || l->segment == 0)
		return;
	u->segment = l->segment;
	u->done = false;
	u->req = (struct st_req){.op = ST_RETAIN,
		.asker = ASKER_INDEX,
		.log = l->log,
		.user = &u->done,
		.retain = {
			.policy = policy, .limit = l->durable_offset, .now_ms = clock_wall_ms()}};
	list_init(&u->req.node);
	CHECK(st_push(b->a.worker, ASKER_INDEX, &u->req));
}

static void ingest_units(struct bench *b, uint64_t count)
{
	uint32_t window = INGEST_WINDOW / b->unit;
	for (uint64_t n = 0; n < count; n++) {
		while (b->a.in_flight >= window)
			asker_poll(&b->a, true);
		append(b, (uint32_t)(n % b->log_count));
		ingest_retain(b, (uint32_t)(n % b->log_count));
	}
	drain(b);
}

/* Of logs that retention by size has been at for a while, as those of a running broker. */
static struct turn engine_ingest(struct bench *b)
{
	uint64_t count = b->o->ingest_bytes / b->unit;
	b->a.segment_bytes = max_of(INGEST_SEGMENT, b->o->ingest_bytes / b->log_count / 8);
	open_logs(b);
	for (uint32_t i = 0; i < b->log_count; i++)
		b->upkeep[i] = (struct upkeep){.done = true};
	ingest_units(b, INGEST_WARM * b->a.segment_bytes / b->unit * b->log_count);
	struct usage before = usage_now(b->o->dir);
	ingest_units(b, count);
	struct turn t = {
		.units = count, .wall_s = (double)(clock_mono_ns() - before.wall_ns) / 1e9};
	for (uint32_t i = 0; i < b->log_count; i++)
		while (!b->upkeep[i].done)
			asker_poll(&b->a, true);
	settle_logs(b);
	t.used = usage_between(before, usage_now(b->o->dir));
	delete_logs(b);
	return t;
}

static bool small_goes_on(const struct bench *b, uint64_t end)
{
	return clock_mono_ns() < end && b->acked * b->unit < b->o->small_bytes;
}

static struct turn engine_small(struct bench *b)
{
	open_logs(b);
	for (uint32_t n = 0; n < SMALL_WARM; n++) { /* makes the files: not counted */
		for (uint32_t i = 0; i < b->log_count; i++)
			append(b, i);
		drain(b);
	}
	b->acked = 0;
	struct usage before = usage_now(b->o->dir);
	uint64_t end = before.wall_ns + b->o->ns;
	for (uint32_t i = 0; i < b->log_count; i++)
		append(b, i);
	for (uint32_t i = 0; small_goes_on(b, end); asker_poll(&b->a, true))
		for (uint32_t n = 0; n < b->log_count; n++, i++)
			if (b->logs[i % b->log_count].in_flight == 0)
				append(b, i % b->log_count);
	drain(b);
	struct turn t = {
		.units = b->acked, .wall_s = (double)(clock_mono_ns() - before.wall_ns) / 1e9};
	settle_logs(b);
	t.used = usage_between(before, usage_now(b->o->dir));
	delete_logs(b);
	return t;
}

static void engine_latency(struct bench *b, uint32_t n, uint64_t *out)
{
	open_logs(b);
	append(b, 0);
	drain(b);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t start = clock_mono_ns();
		append(b, 0);
		drain(b);
		out[i] = clock_mono_ns() - start;
	}
	delete_logs(b);
}

/* ---- figures ---- */

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static double median(double *v, uint32_t n)
{
	qsort(v, n, sizeof(*v), compare_double);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Runs contestants 0..count-1 `rounds` times, every second time backwards. */
static void take_turns(
	const struct options *o, uint32_t count, void (*run)(void *ctx, uint32_t who), void *ctx)
{
	for (uint32_t r = 0; r < o->rounds; r++)
		for (uint32_t i = 0; i < count; i++)
			run(ctx, r % 2 ? count - 1 - i : i);
}

/* ---- ingest ---- */

enum { IN_ENGINE, IN_WRITTEN, IN_ALLOCATED, IN_COUNT };

struct ingest {
	struct bench b;
	struct raw_files written;
	double wall_s[IN_COUNT][ROUNDS_MAX];
	uint32_t turns[IN_COUNT];
	struct usage engine; /* sums */
	struct usage raw;
	uint64_t engine_bytes;
	uint64_t raw_bytes;
};

static void usage_add(struct usage *to, struct usage u)
{
	to->wall_ns += u.wall_ns;
	to->cpu_ns += u.cpu_ns;
	to->thread_ns += u.thread_ns;
	to->process_bytes += u.process_bytes;
	to->device_bytes += u.device_bytes;
}

static double raw_ingest(struct ingest *x, struct raw_files *f)
{
	const struct options *o = x->b.o;
	struct usage before = usage_now(o->dir);
	uint64_t ns = raw_stream(f, o->ingest_bytes, RAW_UNIT, RAW_DEPTH, RAW_FLUSH_EVERY);
	usage_add(&x->raw, usage_between(before, usage_now(o->dir)));
	x->raw_bytes += o->ingest_bytes;
	return (double)ns / 1e9;
}

static void ingest_turn(void *ctx, uint32_t who)
{
	struct ingest *x = ctx;
	double s;
	if (who == IN_ENGINE) {
		struct turn t = engine_ingest(&x->b);
		usage_add(&x->engine, t.used);
		x->engine_bytes += t.units * x->b.unit;
		s = t.wall_s;
	} else if (who == IN_WRITTEN) {
		s = raw_ingest(x, &x->written);
	} else {
		struct raw_files f =
			raw_open(x->b.o->dir, 1, x->b.o->ingest_bytes, RAW_ALLOCATED, true);
		s = raw_ingest(x, &f);
		raw_close(&f);
	}
	x->wall_s[who][x->turns[who]++] = s;
}

static void ingest_report(struct ingest *x)
{
	const struct options *o = x->b.o;
	double engine = median(x->wall_s[IN_ENGINE], o->rounds);
	double written = median(x->wall_s[IN_WRITTEN], o->rounds);
	double allocated = median(x->wall_s[IN_ALLOCATED], o->rounds);
	double bytes = (double)x->engine_bytes;
	double process = (double)x->engine.process_bytes / bytes;
	double device = (double)x->engine.device_bytes / bytes;
	double storage_cpu = (double)(x->engine.cpu_ns - x->engine.thread_ns) / bytes;
	double raw_cpu = (double)x->raw.cpu_ns / (double)x->raw_bytes;
	printf("ingest %u KiB x %u partitions: wall %.2fx of the raw writer, %.2fx of one into"
	       " fallocated space;\n    %.3f bytes written per byte (whole device %.3f);"
	       " CPU %.3f ns/byte, raw %.3f; %.0f MB/s, raw %.0f\n",
		x->b.unit >> 10, x->b.log_count, engine / written, engine / allocated, process,
		device, storage_cpu, raw_cpu, (double)o->ingest_bytes / engine / 1e6,
		(double)o->ingest_bytes / written / 1e6);
	fprintf(o->json,
		"{\"bench\":\"ingest\",\"unit\":%u,\"partitions\":%u,\"bytes\":%llu,"
		"\"wall_ratio\":%.4f,\"wall_ratio_fallocated\":%.4f,\"written_per_byte\":%.4f,"
		"\"device_per_byte\":%.4f,\"cpu_ns_per_byte\":%.4f,\"raw_cpu_ns_per_byte\":%.4f,"
		"\"engine_s\":%.4f,\"raw_s\":%.4f,\"raw_fallocated_s\":%.4f}\n",
		x->b.unit, x->b.log_count, (unsigned long long)o->ingest_bytes, engine / written,
		engine / allocated, process, device, storage_cpu, raw_cpu, engine, written,
		allocated);
	fflush(stdout);
}

static void ingest(const struct options *o, uint32_t unit, uint32_t logs)
{
	struct ingest *x = calloc(1, sizeof(*x));
	CHECK(x);
	bench_open(&x->b, o, unit, logs);
	x->written = raw_open(o->dir, 1, o->ingest_bytes, RAW_WRITTEN, true);
	take_turns(o, IN_COUNT, ingest_turn, x);
	ingest_report(x);
	raw_close(&x->written);
	bench_close(&x->b);
	free(x);
}

/* ---- small ---- */

enum { SM_ENGINE, SM_FDATASYNC, SM_DSYNC, SM_DSYNC_WRITTEN, SM_JOURNAL, SM_COUNT };

struct small {
	struct bench b;
	double rate[SM_COUNT][ROUNDS_MAX]; /* units a second */
	uint32_t turns[SM_COUNT];
	struct usage engine;
	uint64_t engine_bytes;
};

static double small_raw(const struct options *o, uint32_t who)
{
	bool journal = who == SM_JOURNAL, direct = who != SM_FDATASYNC;
	enum raw_kind kind = who == SM_FDATASYNC ? RAW_SPARSE
			     : who == SM_DSYNC	 ? RAW_ALLOCATED
						 : RAW_WRITTEN;
	struct raw_files f = raw_open(o->dir, journal ? 1 : SMALL_LOGS,
		journal ? 64u * MIB : SMALL_RAW_BYTES, kind, direct);
	uint64_t start = clock_mono_ns();
	uint64_t n = journal		   ? raw_journal(&f, SMALL_UNIT, SMALL_LOGS, o->ns)
		     : who == SM_FDATASYNC ? raw_each_fdatasync(&f, SMALL_UNIT, o->ns)
					   : raw_each_dsync(&f, SMALL_UNIT, o->ns);
	double s = (double)(clock_mono_ns() - start) / 1e9;
	raw_close(&f);
	return (double)n / s;
}

static void small_turn(void *ctx, uint32_t who)
{
	struct small *x = ctx;
	double rate;
	if (who == SM_ENGINE) {
		struct turn t = engine_small(&x->b);
		usage_add(&x->engine, t.used);
		x->engine_bytes += t.units * x->b.unit;
		rate = (double)t.units / t.wall_s;
	} else {
		rate = small_raw(x->b.o, who);
	}
	x->rate[who][x->turns[who]++] = rate;
}

static void small(const struct options *o)
{
	struct small *x = calloc(1, sizeof(*x));
	double rate[SM_COUNT];
	CHECK(x);
	bench_open(&x->b, o, SMALL_UNIT, SMALL_LOGS);
	take_turns(o, SM_COUNT, small_turn, x);
	bench_close(&x->b);
	for (uint32_t i = 0; i < SM_COUNT; i++)
		rate[i] = median(x->rate[i], o->rounds);
	double e = rate[SM_ENGINE], bytes = (double)x->engine_bytes;
	double process = (double)x->engine.process_bytes / bytes;
	double device = (double)x->engine.device_bytes / bytes;
	double cpu = (double)(x->engine.cpu_ns - x->engine.thread_ns) / bytes * SMALL_UNIT;
	printf("small 1 KiB x 1,000 partitions: %.0f acked batches/s;\n    %.1fx of pwrite +"
	       " fdatasync per file (%.0f/s); %.1fx of O_DIRECT + RWF_DSYNC per file (%.0f/s),"
	       " %.1fx into\n    written extents (%.0f/s); %.2fx of a bare journal (%.0f/s);"
	       " %.3f bytes written per byte (whole device %.3f);\n    CPU %.0f ns/batch\n",
		e, e / rate[SM_FDATASYNC], rate[SM_FDATASYNC], e / rate[SM_DSYNC], rate[SM_DSYNC],
		e / rate[SM_DSYNC_WRITTEN], rate[SM_DSYNC_WRITTEN], e / rate[SM_JOURNAL],
		rate[SM_JOURNAL], process, device, cpu);
	fprintf(o->json,
		"{\"bench\":\"small\",\"batches_per_s\":%.0f,\"x_fdatasync\":%.3f,\"x_dsync\":%.3f,"
		"\"x_dsync_written\":%.3f,\"x_journal\":%.4f,\"written_per_byte\":%.4f,"
		"\"device_per_byte\":%.4f,\"cpu_ns_per_batch\":%.1f}\n",
		e, e / rate[SM_FDATASYNC], e / rate[SM_DSYNC], e / rate[SM_DSYNC_WRITTEN],
		e / rate[SM_JOURNAL], process, device, cpu);
	fflush(stdout);
	free(x);
}

/* ---- latency ---- */

struct latency {
	struct bench b;
	struct raw_files f;
	uint64_t *ns[2]; /* engine, raw */
	uint32_t count[2];
};

static void latency_turn(void *ctx, uint32_t who)
{
	struct latency *x = ctx;
	uint32_t n = x->b.o->samples;
	uint64_t *out = x->ns[who] + x->count[who];
	if (who == 0)
		engine_latency(&x->b, n, out);
	else
		raw_latency(&x->f, n, out);
	x->count[who] += n;
}

static void latency(const struct options *o)
{
	struct latency *x = calloc(1, sizeof(*x));
	double us[2][2]; /* [engine, raw][p50, p99] */
	CHECK(x);
	bench_open(&x->b, o, SMALL_UNIT, 1);
	x->f = raw_open(o->dir, 1, 16u * MIB, RAW_WRITTEN, true);
	for (int i = 0; i < 2; i++) {
		x->ns[i] = calloc((size_t)o->samples * o->rounds, sizeof(uint64_t));
		CHECK(x->ns[i]);
	}
	take_turns(o, 2, latency_turn, x);
	for (int i = 0; i < 2; i++) {
		qsort(x->ns[i], x->count[i], sizeof(uint64_t), compare_u64);
		us[i][0] = (double)x->ns[i][x->count[i] / 2] / 1e3;
		us[i][1] = (double)x->ns[i][(uint64_t)x->count[i] * 99 / 100] / 1e3;
		free(x->ns[i]);
	}
	printf("latency 1 KiB: p50 %.0f us, p99 %.0f us; %.2fx and %.2fx of one page written +"
	       " fdatasync (%.0f, %.0f us)\n",
		us[0][0], us[0][1], us[0][0] / us[1][0], us[0][1] / us[1][1], us[1][0], us[1][1]);
	fprintf(o->json,
		"{\"bench\":\"latency\",\"p50_us\":%.1f,\"p99_us\":%.1f,\"p50_ratio\":%.3f,"
		"\"p99_ratio\":%.3f,\"raw_p50_us\":%.1f,\"raw_p99_us\":%.1f}\n",
		us[0][0], us[0][1], us[0][0] / us[1][0], us[0][1] / us[1][1], us[1][0], us[1][1]);
	raw_close(&x->f);
	bench_close(&x->b);
	free(x);
}

/* ---- the program ---- */

__attribute__((noreturn)) static void usage(void)
{
	fputs("usage: storage_bench --dir DIR [--only ingest|small|latency] [--rounds N]"
	      " [--ingest-mib N]\n    [--small-mib N] [--seconds S] [--samples N] [--memory-mib N]"
	      " [--json FILE]\n"
	      "DIR is made and should be on the disk in question; what is left in it is deleted"
	      " by the caller.\n",
		stderr);
	exit(2);
}

static uint64_t number(const char *s)
{
	char *end;
	uint64_t n = strtoull(s, &end, 10);
	if (*end || n == 0)
		usage();
	return n;
}

static struct options parse(int argc, char **argv)
{
	static const struct option names[] = {
		{"dir", required_argument, NULL, 'd'},
		{"only", required_argument, NULL, 'o'},
		{"rounds", required_argument, NULL, 'r'},
		{"ingest-mib", required_argument, NULL, 'i'},
		{"small-mib", required_argument, NULL, 'm'},
		{"seconds", required_argument, NULL, 's'},
		{"samples", required_argument, NULL, 'n'},
		{"memory-mib", required_argument, NULL, 'b'},
		{"json", required_argument, NULL, 'j'},
		{0},
	};
	struct options o = {.ingest_bytes = 1024ull * MIB,
		.small_bytes = 512ull * MIB,
		.ns = 2 * NS_PER_S,
		.samples = 1000,
		.rounds = 4,
		.memory = (size_t)MEMORY_DEFAULT * MIB};
	const char *json = "/dev/null";
	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
		switch (c) {
		case 'd':
			snprintf(o.dir, sizeof(o.dir), "%s", optarg);
			break;
		case 'o':
			o.only = optarg;
			break;
		case 'r':
			o.rounds = (uint32_t)min_of(number(optarg), (uint64_t)ROUNDS_MAX);
			break;
		case 'i':
			o.ingest_bytes = number(optarg) * MIB;
			break;
		case 'm':
			o.small_bytes = number(optarg) * MIB;
			break;
		case 's':
			o.ns = number(optarg) * NS_PER_S;
			break;
		case 'n':
			o.samples = (uint32_t)number(optarg);
			break;
		case 'b':
			o.memory = number(optarg) * MIB;
			break;
		case 'j':
			json = optarg;
			break;
		default:
			usage();
		}
	}
	if (!o.dir[0] || optind != argc)
		usage();
	o.json = fopen(json, "w");
	if (!o.json)
		die("cannot write the JSON file");
	return o;
}

static bool wanted(const struct options *o, const char *what)
{
	return !o->only || strcmp(o->only, what) == 0;
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	mkdir(o.dir, 0755);
	if (wanted(&o, "latency"))
		latency(&o);
	if (wanted(&o, "small"))
		small(&o);
	if (wanted(&o, "ingest")) {
		ingest(&o, 64u << 10, 1);
		ingest(&o, 64u << 10, 100);
		ingest(&o, 256u << 10, 1);
		ingest(&o, 256u << 10, 100);
	}
	fclose(o.json);
	return 0;
}
