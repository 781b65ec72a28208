/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delete_records BROKERS TOPIC PARTITION OFFSET: librdkafka's DeleteRecords. Prints the error's
 * name and the offset that the log begins with since; for test_delete_records.py.
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 30000

static int print_result(rd_kafka_event_t *ev)
{
	const rd_kafka_DeleteRecords_result_t *r = rd_kafka_event_DeleteRecords_result(ev);
	if (!r || rd_kafka_event_error(ev)) {
		printf("%s -1\n", rd_kafka_err2name(rd_kafka_event_error(ev)));
		return EXIT_SUCCESS;
	}
	const rd_kafka_topic_partition_list_t *l = rd_kafka_DeleteRecords_result_offsets(r);
	for (int i = 0; i < l->cnt; i++)
		printf("%s %lld\n", rd_kafka_err2name(l->elems[i].err),
			(long long)l->elems[i].offset);
	return l->cnt == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	char err[256];
	if (argc != 5) {
		fputs("usage: delete_records BROKERS TOPIC PARTITION OFFSET\n", stderr);
		return 2;
	}
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], err, sizeof(err)) !=
		RD_KAFKA_CONF_OK) {
		fprintf(stderr, "%s\n", err);
		return EXIT_FAILURE;
	}
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof(err));
	if (!rk) {
		fprintf(stderr, "%s\n", err);
		return EXIT_FAILURE;
	}
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	int32_t partition = (int32_t)strtol(argv[3], NULL, 10);
	rd_kafka_topic_partition_list_add(list, argv[2], partition)->offset =
		strtoll(argv[4], NULL, 10);
	rd_kafka_DeleteRecords_t *ask = rd_kafka_DeleteRecords_new(list);
	rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
	rd_kafka_DeleteRecords(rk, &ask, 1, NULL, q);
	rd_kafka_event_t *ev = rd_kafka_queue_poll(q, TIMEOUT_MS);
	int rc = ev ? print_result(ev) : EXIT_FAILURE;
	if (ev)
		rd_kafka_event_destroy(ev);
	rd_kafka_DeleteRecords_destroy(ask);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_queue_destroy(q);
	rd_kafka_destroy(rk);
	return rc;
}
