/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Own instructions per record: frames of 100-byte records through a whole shard (parse, validate,
 * append, answer) with a transport and a storage that cost next to nothing. For callgrind, by
 * record_cost.sh, which runs it twice and takes the difference, so that set-up does not count.
 *
 *   record_cost BATCHES RECORDS_PER_BATCH
 */
#include <stdio.h>

#include "lib/shard_world.h"

#define RECORD_VALUE 100
#define FRAME_MAX (4u << 20)

static uint32_t many_frame(uint8_t *buf, uint32_t size, long records)
{
	static uint8_t batch[FRAME_MAX];
	static const uint8_t value[RECORD_VALUE] = "millrace";
	struct batch_build b;
	batch_build_begin(&b, batch, sizeof(batch));
	for (long i = 0; i < records; i++)
		batch_build_add(&b, 1700000000000, KBYTES_NULL,
			(struct kbytes){value, RECORD_VALUE}, NULL, 0);
	struct kp_produce_request_partition p = {.index = 0};
	p.records = (struct kbytes){batch, (int32_t)batch_build_finish(&b)};
	struct kp_produce_request_topic t = {.name = {"t", 1}, .partitions = &p, .n_partitions = 1};
	struct kp_produce_request q;
	kp_default_produce_request(&q);
	q.topics = &t;
	q.n_topics = 1;
	struct kwr k = kwr_of(buf, size);
	kp_request_begin(&k, kp_api_find(KP_PRODUCE), 7, 1, (struct kstr){"x", 1});
	kp_encode_produce_request(&k, 7, &q);
	CHECK(kp_request_end(&k));
	return (uint32_t)kwr_len(&k);
}

int main(int argc, char **argv)
{
	static uint8_t frame[FRAME_MAX];
	void *state;
	if (argc != 3) {
		fputs("usage: record_cost BATCHES RECORDS_PER_BATCH\n", stderr);
		return 2;
	}
	long batches = strtol(argv[1], NULL, 10);
	long records = strtol(argv[2], NULL, 10);
	uint32_t len = many_frame(frame, sizeof(frame), records);
	world_setup(&state);
	struct world *w = state;
	connect_client(w, 1);
	for (long i = 0; i < batches; i++) {
		receive(w, 1, frame, len);
		turn(w, 1);
		w->net.conns[1].out_len = 0;
	}
	turn(w, 3);
	CHECK(w->shard->parts[0]->part.high_watermark == batches * records);
	world_teardown(&state);
	return 0;
}
