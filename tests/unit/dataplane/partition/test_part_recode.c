/* SPDX-License-Identifier: Apache-2.0 */
/* compression.type: batches are stored by the topic's codec, whatever the producer's was. */
#include "unit/dataplane/partition/fixture.h"

#include "kafka/compress.h"

#define ROOM (1u << 20)

struct recoder {
	struct fx *f;
	struct batch_scratch scratch;
	uint8_t recode[ROOM];
};

static struct recoder *begin(int recode)
{
	struct recoder *r = calloc(1, sizeof(*r));
	struct part_config config = fx_config();
	config.recode = (uint8_t)recode;
	r->f = fx_new(64, 4, config);
	r->scratch =
		(struct batch_scratch){.buf = malloc(ROOM), .size = ROOM, .codec = codec_open()};
	r->f->part.env->scratch = &r->scratch;
	r->f->part.env->recode = r->recode;
	r->f->part.env->recode_size = ROOM;
	return r;
}

static void end(struct recoder *r)
{
	fx_free(r->f);
	codec_close(r->scratch.codec);
	free(r->scratch.buf);
	free(r);
}

/* Records whose values compress well. */
static struct fx_batch even_batch(uint32_t count, enum codec codec)
{
	size_t size = 256 + (size_t)count * 1200;
	uint8_t *mem = malloc(size), *packed = malloc(size * 2);
	char value[1000];
	struct batch_build b;
	memset(value, 'v', sizeof(value));
	batch_build_begin(&b, mem, size);
	batch_build_set_producer(&b, 7, 1, 5, false);
	for (uint32_t i = 0; i < count; i++) {
		struct kbytes v = {.p = (const uint8_t *)value, .len = (int32_t)(500 + i % 500)};
		assert_true(batch_build_add(
			&b, FX_NOW + i, (struct kbytes){.p = v.p, .len = 3}, v, NULL, 0));
	}
	assert_true(batch_build_finish(&b) > 0);
	uint32_t len = batch_compress(mem, codec, 0, packed, (uint32_t)size * 2);
	assert_true(len > 0);
	free(mem);
	return (struct fx_batch){packed, len};
}

/* What a consumer gets at offset; its length. */
static uint32_t stored(struct fx *f, int64_t offset, uint8_t *out)
{
	struct part_op op = fx_fetch_op(offset, ROOM, true);
	fx_start(f, &op);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_int_equal(op.error, KE_NONE);
	uint32_t len = op.fetch.span.len;
	lspan_copy(op.fetch.span, 0, out, len);
	part_release(f->part.env, op.fetch.span);
	return len;
}

static int16_t append(struct fx *f, struct fx_batch b, int64_t *offset)
{
	struct part_op op = fx_append_op(b);
	fx_start(f, &op);
	fx_run(f);
	assert_ptr_equal(fx_done(f), &op);
	assert_ptr_equal(op.append.data, b.data); /* the asker's own again */
	assert_int_equal(op.append.len, b.len);
	*offset = op.append.base_offset;
	return op.error;
}

static void same_records(struct recoder *r, const uint8_t *a, const uint8_t *b)
{
	uint8_t *room = malloc(ROOM);
	struct batch_scratch other = {.buf = room, .size = ROOM, .codec = codec_open()};
	struct batch_iter x, y;
	struct batch_record p, q;
	assert_int_equal(batch_iter_init(&x, a, batch_size(a), &r->scratch), 0);
	assert_int_equal(batch_iter_init(&y, b, batch_size(b), &other), 0);
	while (batch_iter_next(&x, &p) > 0) {
		assert_int_equal(batch_iter_next(&y, &q), 1);
		assert_int_equal(p.timestamp, q.timestamp);
		assert_int_equal(p.value.len, q.value.len);
		assert_memory_equal(p.value.p, q.value.p, (size_t)p.value.len);
		assert_memory_equal(p.key.p, q.key.p, 3);
	}
	assert_int_equal(batch_iter_next(&y, &q), 0);
	codec_close(other.codec);
	free(room);
}

static void every_codec_becomes_the_topics_own(void **state)
{
	uint8_t *got = malloc(ROOM);
	for (int to = 0; to < CODEC_COUNT; to++) {
		struct recoder *r = begin(1 + to);
		uint64_t recoded = 0;
		for (int from = 0; from < CODEC_COUNT; from++) {
			int64_t offset;
			struct fx_batch b = even_batch(40, from);
			assert_int_equal(append(r->f, b, &offset), KE_NONE);
			assert_int_equal(offset, 40 * from);
			uint32_t len = stored(r->f, offset, got);
			assert_int_equal(len, batch_size(got));
			assert_true(batch_crc_ok(got));
			assert_int_equal(batch_codec(got), to);
			assert_int_equal(batch_producer_id(got), 7);
			assert_int_equal(batch_base_sequence(got), 5);
			assert_int_equal(batch_count(got), 40);
			assert_true(to == CODEC_NONE ? len > 20000 : len < 6000);
			same_records(r, b.data, got);
			recoded += from != to;
			assert_int_equal(r->f->part.env->recoded, recoded); /* equal: as it is */
			free(b.data);
		}
		end(r);
	}
	free(got);
}

static void what_is_too_large_afterwards_is_refused(void **state)
{
	struct recoder *r = begin(1 + CODEC_NONE);
	struct part_config config = r->f->part.config;
	struct fx_batch b = even_batch(40, CODEC_ZSTD);
	int64_t offset;
	config.max_message_bytes = (int32_t)b.len + 1000;
	part_configure(&r->f->part, &config);
	assert_int_equal(append(r->f, b, &offset), KE_MESSAGE_TOO_LARGE);
	assert_int_equal(offset, -1);
	assert_int_equal(r->f->part.log_end_offset, 0);
	free(b.data);
	end(r);
}

static void what_is_bad_is_refused_before_it_is_compressed(void **state)
{
	struct recoder *r = begin(1 + CODEC_LZ4);
	struct fx_batch b = even_batch(40, CODEC_ZSTD);
	int64_t offset;
	b.data[b.len - 1] ^= 1;
	assert_int_equal(append(r->f, b, &offset), KE_CORRUPT_MESSAGE);
	assert_int_equal(r->f->part.env->recoded, 0);
	free(b.data);
	end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_codec_becomes_the_topics_own),
		cmocka_unit_test(what_is_too_large_afterwards_is_refused),
		cmocka_unit_test(what_is_bad_is_refused_before_it_is_compressed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
