/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <inttypes.h>
#include <stdarg.h>

#include "content.h"
#include "lib/asker.h"

#define MEMORY (16u << 20)
#define READ_BLOCKS 80u /* more than the largest batch */
#define READ_BYTES (512u << 10)

struct check {
	struct asker a;
	uint64_t seed;
	int64_t start;		       /* of the log */
	int64_t next;		       /* offset that comes next */
	int64_t present[CONTENT_KEYS]; /* last offset with this key that is there */
	int64_t absent[CONTENT_KEYS];  /* last one that is not */
	int32_t partition;
	uint32_t wrong;
	uint64_t records;
	uint8_t *bytes;
};

struct expected {
	int32_t partition;
	char fate[8];
	int64_t end, start_least, start_most;
};

__attribute__((format(printf, 2, 3))) static void wrong(struct check *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	printf("partition %d: ", c->partition);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	c->wrong++;
}

/* Offsets [c->next, offset) are not there. */
static void check_gap(struct check *c, int64_t offset)
{
	if (c->next == offset)
		return;
	if (!content_is_compacted(c->partition) || offset < c->next) {
		wrong(c, "offset %" PRId64 " where %" PRId64 " belongs", offset, c->next);
		return;
	}
	for (int64_t o = c->next; o < offset; o++)
		c->absent[content_key(c->seed, c->partition, o)] = o;
}

static void check_batch(struct check *c, const uint8_t *p, uint32_t len)
{
	struct batch_iter it;
	struct batch_record rec;
	int rc = 0;
	if (len < BATCH_HEADER_SIZE || batch_size(p) > len || !batch_crc_ok(p) ||
		batch_leader_epoch(p) != CONTENT_EPOCH || batch_iter_init(&it, p, len, NULL)) {
		wrong(c, "not a batch at offset %" PRId64, c->next);
		return;
	}
	bool first = c->next == c->start && batch_next_offset(p) > c->start;
	if (!first || batch_base_offset(p) > c->start) /* a log may start within a batch */
		check_gap(c, batch_base_offset(p));
	c->next = batch_base_offset(p);
	if (!content_is_compacted(c->partition) &&
		batch_count(p) != content_count(c->seed, c->partition, c->next))
		wrong(c, "%d records in the batch at %" PRId64, batch_count(p), c->next);
	while ((rc = batch_iter_next(&it, &rec)) == 1) {
		check_gap(c, rec.offset);
		if (!content_is_right(c->seed, c->partition, &rec))
			wrong(c, "the record at %" PRId64 " is not what was written", rec.offset);
		c->present[content_key(c->seed, c->partition, rec.offset)] = rec.offset;
		c->next = rec.offset + 1;
		c->records++;
	}
	if (rc < 0)
		wrong(c, "the batch before %" PRId64 " does not parse", c->next);
	check_gap(c, batch_next_offset(p));
	c->next = batch_next_offset(p);
}

/* Reads on from c->next; false at an error. */
static bool check_read(struct check *c, struct asker_log *l)
{
	struct lblock *chain = lblock_get_chain(&c->a.pool, READ_BLOCKS);
	struct st_req r = {.op = ST_READ, .log = l->log};
	CHECK(chain);
	r.read.offset = c->next;
	r.read.limit = l->next_offset;
	r.read.max_bytes = READ_BYTES;
	r.read.blocks = chain;
	r.read.block_count = READ_BLOCKS;
	enum st_err err = asker_ask(&c->a, &r);
	uint32_t len = err == ST_OK ? r.read.span.len : 0;
	if (len > 0)
		lspan_copy(r.read.span, 0, c->bytes, len);
	for (struct lblock *b = chain, *next; b; b = next) {
		next = b->next;
		lblock_unref(&c->a.pool, b);
	}
	int64_t before = c->next;
	for (uint32_t at = 0; at < len && c->wrong < 10; at += batch_size(c->bytes + at))
		check_batch(c, c->bytes + at, len - at);
	if (err == ST_OK && c->wrong == 0 && (c->next != r.read.next_offset || c->next <= before))
		wrong(c, "read from %" PRId64 " ends at %" PRId64 " and says %" PRId64, before,
			c->next, r.read.next_offset);
	if (err != ST_OK)
		wrong(c, "reading at %" PRId64 ": error %d", c->next, err);
	return c->wrong == 0;
}

static void check_log(struct check *c, struct asker_log *l, const struct expected *x)
{
	if (l->next_offset < x->end)
		wrong(c, "ends at %" PRId64 ", %" PRId64 " had been acknowledged", l->next_offset,
			x->end);
	if (l->start_offset < x->start_least || l->start_offset > x->start_most)
		wrong(c, "starts at %" PRId64 ", not from %" PRId64 " to %" PRId64, l->start_offset,
			x->start_least, x->start_most);
	for (uint32_t k = 0; k < CONTENT_KEYS; k++)
		c->present[k] = c->absent[k] = -1;
	c->start = c->next = l->start_offset;
	while (c->next < l->next_offset && check_read(c, l))
		;
	for (uint32_t k = 0; k < CONTENT_KEYS; k++)
		if (c->absent[k] > c->present[k])
			wrong(c, "the last record with key %u, at %" PRId64 ", is gone", k,
				c->absent[k]);
}

static void append_more(struct check *c, struct asker_log *l)
{
	for (int i = 0; i < 2; i++) {
		uint32_t n = content_batch(c->seed, l->partition, l->next_offset, c->bytes);
		while (!asker_append(&c->a, l, c->bytes, n))
			asker_poll(&c->a, true);
	}
	while (l->in_flight > 0)
		asker_poll(&c->a, true);
	if (l->failed)
		wrong(c, "an append after recovery fails");
}

static void check_one(struct check *c, const struct expected *x, bool go_on)
{
	struct asker_log l;
	c->partition = x->partition;
	enum st_err err = asker_open(&c->a, &l, x->partition, false);
	if (err == ST_E_NOT_FOUND) {
		if (strcmp(x->fate, "there") == 0)
			wrong(c, "is not there");
		return;
	}
	if (err != ST_OK) {
		wrong(c, "does not open: error %d", err);
		return;
	}
	if (strcmp(x->fate, "gone") == 0)
		wrong(c, "is there, and had been deleted");
	check_log(c, &l, x);
	c->a.logs = &l;
	c->a.log_count = 1;
	if (go_on && c->wrong == 0)
		append_more(c, &l);
	if (asker_end(&c->a, &l, ST_CLOSE) != ST_OK)
		wrong(c, "does not close");
}

bool power_cut_check(const char *dir, uint64_t seed, const char *expect, bool go_on)
{
	char err[512] = "";
	struct check *c = calloc(1, sizeof(*c));
	struct expected x;
	uint32_t logs = 0;
	CHECK(c && (c->bytes = malloc((size_t)READ_BLOCKS * LBLOCK_SIZE)));
	c->seed = seed;
	const struct asker_config cfg = {.dir = dir,
		.memory = MEMORY,
		.journal_bytes = POWER_CUT_JOURNAL_BYTES,
		.max_logs = 4096};
	FILE *f = fopen(expect, "r");
	if (!f || !asker_start(&c->a, &cfg, err, sizeof(err))) {
		printf("%s\n", err[0] ? err : "cannot start");
		return false;
	}
	while (fscanf(f, "%d %7s %" SCNd64 " %" SCNd64 " %" SCNd64, &x.partition, x.fate, &x.end,
		       &x.start_least, &x.start_most) == 5) {
		check_one(c, &x, go_on);
		logs++;
	}
	fclose(f);
	if (!asker_stop(&c->a)) {
		c->partition = -1;
		wrong(c, "the stop was not clean");
	}
	bool ok = c->wrong == 0;
	printf("%u logs, %" PRIu64 " records, %u wrong\n", logs, c->records, c->wrong);
	free(c->bytes);
	free(c);
	return ok;
}
