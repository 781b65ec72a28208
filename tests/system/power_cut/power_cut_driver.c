/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storage under a power cut: `run` writes logs on a device that records every write and flush
 * (dm-log-writes), and marks in that record what has been acknowledged so far; `check` holds a log
 * directory, recovered from a prefix of the record, to that. tools/dev/power-cut puts them
 * together.
 *
 * A line of the history is SEQ KIND PARTITION OFFSET. SEQ is the number of a mark: of the one that
 * follows, for what has been acknowledged; of the last one, for what has been asked for.
 *
 *   O, o   a log is to be made; has been made
 *   D, d   to be deleted; has been deleted
 *   a      everything below the offset is acknowledged
 *   T, t   the log may from now on start at up to this offset; starts there or later
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/prng.h"
#include "check.h"
#include "content.h"
#include "lib/asker.h"

#define LOGS_MAX 64u
#define LOGS_LEAST 8u
#define LOGS_USUAL 40u
#define MEMORY (48u << 20)
#define SEGMENT_BYTES (192u << 10)
#define RETENTION_BYTES (256 << 10)
#define IN_FLIGHT_MAX 3u /* appends of a log */
#define PHASES 6u

struct slot {
	int32_t partition; /* -1: none */
	int64_t acked;	   /* what the history says */
	int64_t start_most;
};

/* What outlives a phase, which is a process. */
struct shared {
	uint64_t seq;	/* of the last mark */
	uint64_t bytes; /* appended */
	uint64_t flushes;
	int32_t next_partition;
	bool no_trim; /* the engine has none */
	struct slot slots[LOGS_MAX];
};

struct options {
	const char *dir, *history, *device, *expect;
	uint64_t seed, flushes, bytes;
	enum st_durability durability;
	bool go_on;
};

struct run {
	const struct options *o;
	struct shared *s;
	struct asker a;
	struct asker_log logs[LOGS_MAX];
	struct prng rnd;
	FILE *history;
	int dm;
	bool to_mark;
	uint8_t *batch;
	struct st_req upkeep; /* a trim, a deletion by size or a compaction, one at a time */
	uint32_t upkeep_slot;
	bool upkeep_out, upkeep_done;
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "power_cut_driver: %s\n", what);
	exit(1);
}

/* ---- history and marks ---- */

static void note(struct run *r, uint64_t seq, char kind, int32_t partition, int64_t offset)
{
	fprintf(r->history, "%" PRIu64 " %c %d %" PRId64 "\n", seq, kind, partition, offset);
}

static void note_asked(struct run *r, char kind, int32_t partition, int64_t offset)
{
	note(r, r->s->seq, kind, partition, offset);
	fflush(r->history);
}

static void note_done(struct run *r, char kind, int32_t partition, int64_t offset)
{
	note(r, r->s->seq + 1, kind, partition, offset);
	r->to_mark = true;
}

/* Puts the next mark into the record of the device. */
static void mark(struct run *r)
{
	uint64_t room[64] = {0};
	struct dm_ioctl *d = (struct dm_ioctl *)room;
	struct dm_target_msg *m = (struct dm_target_msg *)(d + 1);
	r->to_mark = false;
	r->s->seq++;
	fflush(r->history);
	if (r->dm < 0)
		return;
	d->version[0] = DM_VERSION_MAJOR;
	d->data_size = sizeof(room);
	d->data_start = sizeof(*d);
	snprintf(d->name, sizeof(d->name), "%s", r->o->device);
	snprintf(m->message, 64, "mark %" PRIu64, r->s->seq);
	if (ioctl(r->dm, DM_TARGET_MSG, d) != 0)
		die("cannot mark the device");
}

/* ---- logs ---- */

static struct asker_log *log_of(struct run *r, uint32_t i)
{
	return r->s->slots[i].partition >= 0 ? &r->logs[i] : NULL;
}

static void append_done(struct asker *a, struct asker_log *l, const struct st_req *q)
{
	struct run *r = a->user;
	if (q->err != ST_OK)
		die("an append failed");
	note_done(r, 'a', l->partition, l->durable_offset);
	r->s->bytes += q->append.span.len;
}

static void make_log(struct run *r, uint32_t i)
{
	struct slot *s = &r->s->slots[i];
	int32_t partition = r->s->next_partition++;
	note_asked(r, 'O', partition, 0);
	if (asker_open(&r->a, &r->logs[i], partition, true) != ST_OK)
		die("cannot make a log");
	*s = (struct slot){.partition = partition};
	note_done(r, 'o', partition, 0);
	mark(r);
}

/* What the storage says it has, it must still have after the next cut. */
static void open_again(struct run *r, uint32_t i)
{
	struct slot *s = &r->s->slots[i];
	if (asker_open(&r->a, &r->logs[i], s->partition, false) != ST_OK)
		die("cannot open a log again");
	note_done(r, 'a', s->partition, r->logs[i].durable_offset);
	note_done(r, 't', s->partition, r->logs[i].start_offset);
}

static void delete_log(struct run *r, uint32_t i)
{
	struct asker_log *l = &r->logs[i];
	if ((r->upkeep_out && r->upkeep_slot == i))
		return;
	while (l->in_flight > 0)
		asker_poll(&r->a, true);
	note_asked(r, 'D', l->partition, 0);
	if (asker_end(&r->a, l, ST_DELETE) != ST_OK)
		die("cannot delete a log");
	r->s->slots[i].partition = -1;
	note_done(r, 'd', l->partition, 0);
	mark(r);
}

static void append_some(struct run *r, struct asker_log *l)
{
	uint64_t n = 1 + prng_below(&r->rnd, IN_FLIGHT_MAX);
	for (; n > 0 && l->in_flight < IN_FLIGHT_MAX; n--) {
		uint32_t len = content_batch(r->o->seed, l->partition, l->next_offset, r->batch);
		while (!asker_append(&r->a, l, r->batch, len))
			asker_poll(&r->a, true);
	}
}

/* ---- upkeep ---- */

static const struct st_policy policy = {
	.remove = true,
	.retention_ms = -1,
	.retention_bytes = RETENTION_BYTES,
};
static const struct st_policy policy_compact = {
	.compact = true,
	.retention_ms = -1,
	.retention_bytes = -1,
	.delete_retention_ms = INT64_MAX / 4,
	.max_compaction_lag_ms = INT64_MAX / 4,
	.segment_bytes = SEGMENT_BYTES,
};

static void upkeep_begin(struct run *r, uint32_t i)
{
	struct asker_log *l = log_of(r, i);
	if (r->upkeep_out || !l || l->durable_offset == 0)
		return;
	struct st_req *q = &r->upkeep;
	bool compacted = content_is_compacted(l->partition);
	*q = (struct st_req){.asker = ASKER_INDEX, .log = l->log, .user = &r->upkeep_done};
	list_init(&q->node);
	if (!compacted && !r->s->no_trim && prng_chance(&r->rnd, 1, 2)) {
		uint64_t span = (uint64_t)(l->durable_offset - l->start_offset) + 1;
		q->op = ST_TRIM;
		q->trim.offset = l->start_offset + (int64_t)prng_below(&r->rnd, span);
		r->s->slots[i].start_most = max_of(r->s->slots[i].start_most, q->trim.offset);
	} else {
		q->op = compacted ? ST_CLEAN : ST_RETAIN;
		q->retain.policy = compacted ? policy_compact : policy;
		q->retain.limit = l->durable_offset;
		q->retain.now_ms = clock_wall_ms();
		if (!compacted)
			r->s->slots[i].start_most = l->durable_offset;
	}
	note_asked(r, 'T', l->partition, r->s->slots[i].start_most);
	r->upkeep_out = true;
	r->upkeep_done = false;
	r->upkeep_slot = i;
	CHECK(st_push(r->a.worker, ASKER_INDEX, q));
}

static void upkeep_end(struct run *r)
{
	struct st_req *q = &r->upkeep;
	struct asker_log *l = &r->logs[r->upkeep_slot];
	if (!r->upkeep_out || !r->upkeep_done)
		return;
	r->upkeep_out = false;
	if (q->op == ST_TRIM && q->err == ST_E_LIMIT) {
		r->s->no_trim = true;
		return;
	}
	if (q->err != ST_OK)
		die("a trim, retention or compaction failed");
	if (q->op == ST_CLEAN)
		return;
	l->start_offset = q->op == ST_TRIM ? q->trim.log_start_offset : q->retain.log_start_offset;
	note_done(r, 't', l->partition, l->start_offset);
}

/* ---- a phase ---- */

static void phase_start(struct run *r)
{
	char err[512] = "";
	const struct asker_config cfg = {.dir = r->o->dir,
		.memory = MEMORY,
		.journal_bytes = POWER_CUT_JOURNAL_BYTES,
		.max_logs = LOGS_MAX,
		.durability = r->o->durability};
	if (!asker_start(&r->a, &cfg, err, sizeof(err)))
		die(err[0] ? err : "the worker does not start");
	r->a.segment_bytes = SEGMENT_BYTES;
	r->a.done = append_done;
	r->a.user = r;
	r->a.logs = r->logs;
	r->a.log_count = LOGS_MAX;
	for (uint32_t i = 0; i < LOGS_MAX; i++) {
		list_init(&r->logs[i].blocks);
		if (r->s->slots[i].partition >= 0)
			open_again(r, i);
	}
	mark(r);
}

static uint32_t log_count(const struct run *r)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < LOGS_MAX; i++)
		n += r->s->slots[i].partition >= 0;
	return n;
}

/* The next one from slot i on that has large batches; i: there is none. */
static uint32_t some_heavy_log(const struct run *r, uint32_t i)
{
	for (uint32_t k = 0; k < LOGS_MAX; k++) {
		uint32_t at = (i + k) % LOGS_MAX;
		if (r->s->slots[at].partition >= 0 && content_is_heavy(r->s->slots[at].partition))
			return at;
	}
	return i;
}

static void turn(struct run *r)
{
	uint32_t i = (uint32_t)prng_below(&r->rnd, LOGS_MAX), have = log_count(r);
	if (!log_of(r, i) && have < LOGS_USUAL &&
		prng_chance(&r->rnd, 1, have < LOGS_LEAST ? 1 : 4))
		make_log(r, i);
	else if (log_of(r, i) && have > LOGS_LEAST && prng_chance(&r->rnd, 1, 60))
		delete_log(r, i);
	upkeep_end(r);
	if (prng_chance(&r->rnd, 1, 4))
		upkeep_begin(r, prng_chance(&r->rnd, 1, 2) ? i : some_heavy_log(r, i));
	for (uint64_t n = 1 + prng_below(&r->rnd, 16); n > 0; n--) {
		struct asker_log *l = log_of(r, (uint32_t)prng_below(&r->rnd, LOGS_MAX));
		if (l)
			append_some(r, l);
	}
	while (asker_poll(&r->a, r->a.in_flight > 0) > 0)
		;
	if (r->to_mark)
		mark(r);
}

static void phase_stop(struct run *r)
{
	while (r->a.in_flight > 0 || (r->upkeep_out && !r->upkeep_done))
		asker_poll(&r->a, true);
	upkeep_end(r);
	mark(r);
	for (uint32_t i = 0; i < LOGS_MAX; i++)
		if (log_of(r, i) && asker_end(&r->a, &r->logs[i], ST_CLOSE) != ST_OK)
			die("cannot close a log");
	if (!asker_stop(&r->a))
		die("the stop was not clean");
}

/* In a process of its own. Ends by a clean stop or in the middle of everything. */
static void phase(const struct options *o, struct shared *s, uint32_t number)
{
	struct run *r = calloc(1, sizeof(*r));
	CHECK(r && (r->batch = malloc(CONTENT_BATCH_MAX)));
	r->o = o;
	r->s = s;
	r->rnd.s = o->seed + number;
	r->history = fopen(o->history, "a");
	r->dm = o->device ? open("/dev/mapper/control", O_RDWR | O_CLOEXEC) : -1;
	if (!r->history || (o->device && r->dm < 0))
		die("cannot open the history or the device mapper");
	setvbuf(r->history, NULL, _IOFBF, 1 << 20); /* so that no kill cuts a line */
	phase_start(r);
	const struct st_metrics *m = st_worker_metrics(r->a.worker);
	uint64_t flushes = s->flushes, bytes = s->bytes;
	while (s->flushes - flushes < o->flushes / PHASES && s->bytes - bytes < o->bytes / PHASES) {
		turn(r);
		s->flushes = flushes + metric_get(&m->flushes_total);
	}
	bool clean = number % 3 == 2;
	fprintf(stderr,
		"phase %u: %u logs, %" PRIu64 " flushes, %" PRIu64 " bytes, mark %" PRIu64
		", %" PRIu64 " segments recycled, ends by %s\n",
		number, log_count(r), s->flushes, s->bytes, s->seq, metric_get(&m->recycled_total),
		clean ? "a stop" : "a kill");
	if (clean)
		phase_stop(r);
	_exit(0);
}

static int run(const struct options *o)
{
	struct shared *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(s != MAP_FAILED);
	for (uint32_t i = 0; i < LOGS_MAX; i++)
		s->slots[i].partition = -1;
	for (uint32_t n = 0; n < PHASES; n++) {
		int status;
		pid_t pid = fork();
		if (pid == 0)
			phase(o, s, n);
		if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
			die("a phase failed");
	}
	fputs("done\n", stderr);
	return 0;
}

__attribute__((noreturn)) static void usage(void)
{
	fputs("usage: power_cut_driver run --dir DIR --history FILE --seed N --flushes N --bytes N"
	      " [--device NAME] [--no-flush]\n"
	      "       power_cut_driver check --dir DIR --expect FILE --seed N [--go-on]\n",
		stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
		{"dir", required_argument, NULL, 'd'},
		{"history", required_argument, NULL, 'h'},
		{"device", required_argument, NULL, 'v'},
		{"expect", required_argument, NULL, 'x'},
		{"seed", required_argument, NULL, 's'},
		{"flushes", required_argument, NULL, 'f'},
		{"bytes", required_argument, NULL, 'b'},
		{"no-flush", no_argument, NULL, 'n'},
		{"go-on", no_argument, NULL, 'g'},
		{0},
	};
	struct options o = {0};
	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
		switch (c) {
		case 'd':
			o.dir = optarg;
			break;
		case 'h':
			o.history = optarg;
			break;
		case 'v':
			o.device = optarg;
			break;
		case 'x':
			o.expect = optarg;
			break;
		case 's':
			o.seed = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			o.flushes = strtoull(optarg, NULL, 10);
			break;
		case 'b':
			o.bytes = strtoull(optarg, NULL, 10);
			break;
		case 'n':
			o.durability = ST_WRITTEN;
			break;
		case 'g':
			o.go_on = true;
			break;
		default:
			usage();
		}
	}
	if (optind + 1 != argc || !o.dir)
		usage();
	if (strcmp(argv[optind], "run") == 0 && o.history && o.flushes && o.bytes)
		return run(&o);
	if (strcmp(argv[optind], "check") == 0 && o.expect)
		return power_cut_check(o.dir, o.seed, o.expect, o.go_on) ? 0 : 1;
	usage();
}
