/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of a journal group over any bytes. The input is taken three ways: as it is, where the
 * checks must say something and read nothing else; with its checksums made right, so that the
 * entries are reached, which then must be in bounds; and as a recipe for a group that is built, and
 * must come back.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"
#include "storage/format/jrnl.h"

#define RING (256u * FMT_PAGE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct uuid JOURNAL = {{1}};

/* Walks a group that was found to be valid: every body lies in it. */
static void walk(const uint8_t *p, uint64_t room)
{
	struct fmt_jrnl_group g;
	struct fmt_jrnl_entry e;
	const uint8_t *body;
	uint32_t at = 0, count = 0, before = sizeof(g);
	memcpy(&g, p, sizeof(g));
	CHECK(g.length <= room);
	while (jrnl_next(p, &at, &e, &body)) {
		CHECK(body == p + before + sizeof(e) && at > before && at <= g.length);
		CHECK(e.kind != JRNL_DATA || before + sizeof(e) + e.length <= at);
		before = at;
		count++;
	}
	CHECK(count == g.count && before == g.length);
}

static void fuzz_bytes(const uint8_t *p, size_t size)
{
	struct fmt_jrnl_group g = {0};
	uint64_t need;
	fmt_jrnl_file_check(p, size);
	memcpy(&g, p, min_of(size, sizeof(g)));
	enum jrnl_verdict v = jrnl_check(p, size, &JOURNAL, g.seq, g.stream_pos, RING, &need);
	CHECK(v != JRNL_SHORT || (need > size && need <= JRNL_GROUP_MAX));
	if (v == JRNL_OK)
		walk(p, size);
	if (size >= FMT_PAGE)
		jrnl_is_later(p, &JOURNAL, g.stream_pos % RING, RING, 0, 0);
}

/* Makes the head and the checksums right, and leaves the entries. */
static void fuzz_sealed(const uint8_t *data, size_t size)
{
	size_t length = align_down(size, (size_t)8), room = align_up(length, (size_t)FMT_PAGE);
	struct fmt_jrnl_group g;
	if (length < sizeof(g) || length > JRNL_GROUP_MAX)
		return;
	uint8_t *p = calloc(1, room);
	CHECK(p);
	memcpy(p, data, length);
	memcpy(&g, p, sizeof(g));
	g.magic = JRNL_GROUP_MAGIC;
	g.crc = g.reserved = 0;
	g.stream_pos = g.checkpoint = 0;
	g.length = (uint32_t)length;
	uint32_t crc = crc32c(0, JOURNAL.b, sizeof(JOURNAL.b));
	g.head_crc = crc32c(crc, &g, offsetof(struct fmt_jrnl_group, head_crc));
	memcpy(p, &g, sizeof(g));
	g.crc = crc32c(crc, p, length);
	memcpy(p, &g, sizeof(g));
	fuzz_bytes(p, room);
	free(p);
}

static void fuzz_built(const uint8_t *data, size_t size)
{
	struct jrnl_builder b;
	uint8_t *p = aligned_alloc(FMT_PAGE, 16 * FMT_PAGE);
	uint64_t need;
	CHECK(p);
	jrnl_begin(&b, p, 16 * FMT_PAGE);
	while (size > 1) {
		uint32_t n = min_of((uint32_t)(data[0] * 16u + data[1] % 16u + 1), (uint32_t)size);
		struct fmt_jrnl_entry e = {.kind = JRNL_DATA, .log = data[0], .length = n};
		uint8_t *out = jrnl_add(&b, &e, n);
		if (!out)
			break;
		memcpy(out, data, n);
		data += n;
		size -= n;
	}
	uint32_t length = b.used, on_disk = jrnl_end(&b, &JOURNAL, 9, RING, FMT_PAGE);
	CHECK(on_disk == align_up(length, FMT_PAGE));
	CHECK(jrnl_check(p, on_disk, &JOURNAL, 9, RING, RING, &need) == JRNL_OK && need == on_disk);
	CHECK(jrnl_is_later(p, &JOURNAL, 0, RING, 8, 0));
	walk(p, on_disk);
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1); /* so that a read behind it is seen */
	CHECK(exact);
	if (size)
		memcpy(exact, data, size);
	fuzz_bytes(exact, size);
	fuzz_sealed(exact, size);
	fuzz_built(exact, size);
	free(exact);
	return 0;
}
