/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/config/config.h"

static char err[CONFIG_ERR_MAX];

static int parse(struct config *c, const char *text)
{
	err[0] = 0;
	config_defaults(c);
	return config_parse(c, "t.properties", text, strlen(text), err, sizeof(err));
}

static int finish(struct config *c)
{
	err[0] = 0;
	return config_finish(c, "box.example", err, sizeof(err));
}

/* Parses and finishes; the sentence (in `err`) must contain `want`. */
static void refused(const char *text, const char *want)
{
	struct config c;
	int r = parse(&c, text);
	if (r == 0)
		r = finish(&c);
	if (r == 0)
		fail_msg("accepted: %s", text);
	if (!strstr(err, want))
		fail_msg("%s\n  says: %s\n  not:  %s", text, err, want);
}

static struct config accepted(const char *text)
{
	struct config c;
	if (parse(&c, text) < 0 || finish(&c) < 0)
		fail_msg("refused: %s\n%s", text, err);
	return c;
}

static void test_defaults_are_kafkas_but_bound_to_loopback(void **state)
{
	struct config c = accepted("");
	assert_int_equal(c.node_id, 1);
	assert_int_equal(c.listeners.count, 1);
	assert_string_equal(c.listeners.v[0].name, "PLAINTEXT");
	assert_string_equal(c.listeners.v[0].host, "127.0.0.1");
	assert_int_equal(c.listeners.v[0].port, 9092);
	assert_string_equal(c.advertised_listeners.v[0].host, "127.0.0.1");
	assert_int_equal(c.retention_ms, 604800000);
	assert_int_equal(c.roll_ms, 604800000);
	assert_int_equal(c.message_max_bytes, 1048588);
	assert_int_equal(c.memory_log_bytes, 256 << 20);
	assert_int_equal(c.offsets_partitions, 50);
	assert_true(c.auto_create_topics);
	assert_int_equal(c.cleanup_policy, CONFIG_CLEANUP_DELETE);
	assert_int_equal(c.admin_listener.v[0].port, 9644);
	assert_int_equal(c.durability, CONFIG_DURABILITY_FLUSH);
	assert_int_equal(c.log_dirs.count, 1);
	assert_int_equal(c.log_dirs.path[0][0], '/');
}

static void test_properties_syntax_is_javas(void **state)
{
	struct config c = accepted("# comment\n"
				   "! another = comment \\\n"
				   "   num.partitions = 3   \r\n"
				   "\t\f\n"
				   "node.id:7\r"
				   "log.dirs /a,\\\n"
				   "     /b\\\r\n"
				   "  ,/c\n"
				   "default.replication.factor=\\\n"
				   "1\n"
				   "dpdk.port \t=\t tap\\:m0\n"
				   "broker\\.rack = \\u0041\\u00e9\\u20ac\\\\\n"
				   "shards=2\\");
	assert_int_equal(c.num_partitions, 3);
	assert_int_equal(c.node_id, 7);
	assert_int_equal(c.log_dirs.count, 3);
	assert_string_equal(c.log_dirs.path[1], "/b");
	assert_string_equal(c.log_dirs.path[2], "/c");
	assert_string_equal(c.dpdk_port, "tap:m0");
	assert_string_equal(c.broker_rack, "A\xc3\xa9\xe2\x82\xac\\");
	assert_int_equal(c.shards, 2);
}

static void test_a_comment_line_does_not_continue(void **state)
{
	struct config c = accepted("# one \\\nnode.id=9\n");
	assert_int_equal(c.node_id, 9);
}

static void test_bad_properties_text_names_file_and_line(void **state)
{
	refused("\n\nnode.id=\\u12g4\n", "t.properties:3: \\u must be followed by");
	refused("node.id=\\u0000\n", "t.properties:1:");
	refused("broker.rack=a\\nb\n", "control characters");
	struct config c;
	config_defaults(&c);
	static char zero[] = "node.id=1\nshards=\0 2\n";
	assert_int_equal(config_parse(&c, "t", zero, sizeof(zero) - 1, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "t:2: line has more than"));
	char *big = malloc(20000);
	memset(big, 'x', 20000);
	assert_int_equal(config_parse(&c, "t", big, 20000, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "t:1: line has more than"));
	free(big);
}

static void test_later_values_win(void **state)
{
	struct config c;
	assert_int_equal(parse(&c, "num.partitions=3\nnum.partitions=4\n"), 0);
	assert_int_equal(c.num_partitions, 4);
	assert_int_equal(config_set(&c, "num.partitions=5", err, sizeof(err)), 0);
	assert_int_equal(config_set(&c, " num.partitions = 6 ", err, sizeof(err)), 0);
	assert_int_equal(c.num_partitions, 6);
	assert_true(c.given[CONFIG_KEY_num_partitions]);
	assert_false(c.given[CONFIG_KEY_node_id]);
}

static void test_aliases_set_the_key_they_stand_for(void **state)
{
	struct config c = accepted("broker.id=4\nlog.dir=/x\n");
	assert_int_equal(c.node_id, 4);
	assert_string_equal(c.log_dirs.path[0], "/x");
}

static void test_an_unknown_key_is_refused_with_the_nearest_known_one(void **state)
{
	refused("\nnum.partition=3\n",
		"t.properties:2: unknown key \"num.partition\"; did you mean "
		"\"num.partitions\"?");
	refused("borker.id=3\n", "did you mean \"broker.id\"?");
	refused("log.retention.second=3\n", "\"log.retention.");
	struct config c;
	config_defaults(&c);
	assert_int_equal(config_set(&c, "shard=3", err, sizeof(err)), -1);
	assert_string_equal(err, "--set: unknown key \"shard\"; did you mean \"shards\"?");
}

static void test_set_without_a_value_is_refused(void **state)
{
	struct config c;
	config_defaults(&c);
	assert_int_equal(config_set(&c, "shards", err, sizeof(err)), -1);
	assert_non_null(strstr(err, "is not key=value"));
	assert_int_equal(config_set(&c, "=3", err, sizeof(err)), -1);
}

static void test_bad_values_name_key_value_and_what_is_allowed(void **state)
{
	static const char *const cases[][2] = {
		{"num.partitions=abc",
			"num.partitions=abc: must be a whole number from 1 to 10000"},
		{"num.partitions=", "num.partitions=: must be a whole number"},
		{"num.partitions=0", "from 1 to 10000"},
		{"num.partitions=3k", "must be a whole number"},
		{"num.partitions=99999999999999999999", "must be a whole number"},
		{"default.replication.factor=3", "must be 1"},
		{"node.id=-1", "from 0 to"},
		{"auto.create.topics.enable=yes", "must be true or false"},
		{"network.transport=udp", "must be kernel or dpdk"},
		{"hugepages=on", "must be auto, off or require"},
		{"log.cleanup.policy=delete,compress", "must be delete or compact"},
		{"log.segment.bytes=1000", "must be a number of bytes"},
		{"log.retention.ms=soon", "must be a number of milliseconds"},
		{"log.retention.ms=-2", "of at least -1"},
		{"memory.log.bytes=9999999t", "must be a number of bytes"},
		{"listeners=", "at least one listener"},
		{"listeners=127.0.0.1:9092", "must be NAME://host:port"},
		{"listeners=PLAINTEXT://127.0.0.1", "must end in a port"},
		{"listeners=PLAINTEXT://:70000", "must have a port from 0 to 65535"},
		{"listeners=PLAINTEXT://a b:1", "must have a host name"},
		{"listeners=PLAINTEXT://[zz]:1", "must have a host name"},
		{"listeners=A B://h:1", "listener name"},
		{"listeners=A://:1,a://:2", "must name the listener A once"},
		{"log.dirs=/a,,/b", "must be 1 to 16 directories"},
		{"shard.cpus=1,x", "CPU numbers"},
		{"shard.cpus=3-1", "CPU numbers"},
		{"shard.cpus=1,0-2", "CPU numbers"},
		{"shard.cpus=0-100", "CPU numbers"},
		{"admin.listener=9644", "must end in a port"},
		{"log.cleaner.min.cleanable.ratio=1.01", "must be a number from 0 to 1"},
		{"log.cleaner.min.cleanable.ratio=half", "must be a number from 0 to 1"},
		{"log.cleaner.min.cleanable.ratio=", "must be a number from 0 to 1"},
		{"memory.read.ratio=nan", "must be a number from 0.01 to 0.75"},
		{"journal.bytes=1m", "from 16777216 to"},
		{"cluster.id=12345678901234567890123", "at most 22 characters"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		refused(cases[i][0], cases[i][1]);
		assert_non_null(strstr(err, "t.properties:1: "));
	}
}

static void test_a_refused_value_leaves_the_field_as_it_was(void **state)
{
	struct config c;
	config_defaults(&c);
	assert_int_equal(config_set(&c, "listeners=PLAINTEXT://:1,X://bad", err, sizeof(err)), -1);
	assert_int_equal(c.listeners.count, 1);
	assert_int_equal(c.listeners.v[0].port, 9092);
	assert_false(c.given[CONFIG_KEY_listeners]);
}

static void test_every_type_reads_its_values(void **state)
{
	struct config c = accepted("memory.log.bytes=64MiB\n"
				   "log.segment.bytes=16m\n"
				   "connections.max.idle.ms=5m\n"
				   "group.initial.rebalance.delay.ms=0\n"
				   "log.retention.bytes=-1\n"
				   "auto.create.topics.enable=FALSE\n"
				   "log.message.timestamp.type=LogAppendTime\n"
				   "log.cleanup.policy= compact , delete\n"
				   "poll.mode=busy\n"
				   "shard.cpus=0,2-3\n"
				   "log.cleaner.min.cleanable.ratio=0.125\n"
				   "memory.read.ratio=5e-1\n"
				   "journal.bytes=16MiB\n"
				   "admin.listener=\n");
	assert_int_equal(c.memory_log_bytes, 64 << 20);
	assert_int_equal(c.segment_bytes, 16 << 20);
	assert_int_equal(c.connections_max_idle_ms, 300000);
	assert_int_equal(c.retention_bytes, -1);
	assert_false(c.auto_create_topics);
	assert_int_equal(c.timestamp_type, CONFIG_TS_LOG_APPEND_TIME);
	assert_int_equal(c.cleanup_policy, CONFIG_CLEANUP_DELETE | CONFIG_CLEANUP_COMPACT);
	assert_int_equal(c.poll_mode, CONFIG_POLL_BUSY);
	assert_int_equal(c.shard_cpus.count, 3);
	assert_int_equal(c.shard_cpus.id[2], 3);
	assert_int_equal(c.shards, 3);
	assert_int_equal(c.admin_listener.count, 0);
	assert_int_equal(c.cleaner_min_ratio_ppm, 125000);
	assert_int_equal(c.memory_read_ratio_ppm, 500000);
	assert_int_equal(c.journal_bytes, 16 << 20);
}

static void test_the_finer_retention_key_wins(void **state)
{
	assert_int_equal(accepted("log.retention.hours=2").retention_ms, 7200000);
	assert_int_equal(
		accepted("log.retention.minutes=3\nlog.retention.hours=2").retention_ms, 180000);
	assert_int_equal(accepted("log.retention.ms=4\nlog.retention.minutes=3").retention_ms, 4);
	assert_int_equal(
		accepted("log.retention.ms=\nlog.retention.minutes=3").retention_ms, 180000);
	assert_int_equal(accepted("log.retention.ms=-1").retention_ms, -1);
	assert_int_equal(accepted("log.retention.hours=-1").retention_ms, -1);
	assert_int_equal(accepted("log.roll.ms=9").roll_ms, 9);
	assert_int_equal(accepted("log.roll.hours=1").roll_ms, 3600000);
}

struct warnings {
	unsigned count;
	char text[4096];
};

static void collect(void *arg, const char *sentence)
{
	struct warnings *w = arg;
	w->count++;
	strncat(w->text, sentence, sizeof(w->text) - strlen(w->text) - 1);
	strncat(w->text, "\n", sizeof(w->text) - strlen(w->text) - 1);
}

static void test_kafkas_own_server_properties_is_accepted(void **state)
{
	struct config c = accepted(
		"process.roles=broker,controller\n"
		"node.id=1\n"
		"controller.quorum.bootstrap.servers=localhost:9093\n"
		"listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n"
		"inter.broker.listener.name=PLAINTEXT\n"
		"advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n"
		"controller.listener.names=CONTROLLER\n"
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
		"SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n"
		"num.network.threads=3\n"
		"num.io.threads=8\n"
		"socket.send.buffer.bytes=102400\n"
		"socket.receive.buffer.bytes=102400\n"
		"socket.request.max.bytes=104857600\n"
		"log.dirs=/tmp/kraft-combined-logs\n"
		"num.partitions=1\n"
		"num.recovery.threads.per.data.dir=1\n"
		"offsets.topic.replication.factor=1\n"
		"share.coordinator.state.topic.replication.factor=1\n"
		"transaction.state.log.replication.factor=1\n"
		"transaction.state.log.min.isr=1\n"
		"log.flush.interval.messages=10000\n"
		"log.flush.interval.ms=1000\n"
		"log.retention.hours=168\n"
		"log.retention.check.interval.ms=300000\n");
	assert_int_equal(c.listeners.count, 1);
	assert_string_equal(c.listeners.v[0].host, "");
	assert_string_equal(c.advertised_listeners.v[0].host, "localhost");
	struct warnings w = {0};
	config_warn(&c, collect, &w);
	assert_non_null(strstr(w.text, "num.io.threads has no meaning here"));
	assert_non_null(strstr(w.text, "log.flush.interval.ms has no meaning here"));
	assert_null(strstr(w.text, "node.id"));
	/* share.coordinator.* and transaction.* are one warning each */
	assert_int_equal(w.count, 13);
	assert_int_equal(c.retention_check_ms, 300000);
}

static void test_each_ignored_key_warns_once(void **state)
{
	struct config c = accepted("num.io.threads=1\nnum.io.threads=2\n");
	struct warnings w = {0};
	config_warn(&c, collect, &w);
	assert_int_equal(w.count, 1);
}

static void test_security_keys_are_refused_not_ignored(void **state)
{
	refused("ssl.keystore.location=/x\n", "would leave the broker open");
	refused("authorizer.class.name=x\n", "would leave the broker open");
	refused("sasl.enabled.mechanisms=PLAIN\n", "would leave the broker open");
	refused("listeners=SSL://:9092\n", "would speak SSL");
	refused("listeners=IN://:9092\nlistener.security.protocol.map=IN:SASL_SSL\n",
		"would speak SASL_SSL");
}

static void test_a_named_plaintext_listener_is_accepted(void **state)
{
	struct config c =
		accepted("listeners=in://[::1]:9\nlistener.security.protocol.map=IN:PLAINTEXT\n");
	assert_string_equal(c.listeners.v[0].name, "IN");
	assert_string_equal(c.listeners.v[0].host, "::1");
	assert_string_equal(c.advertised_listeners.v[0].host, "::1");
}

static void test_cross_checks(void **state)
{
	static const char *const cases[][2] = {
		{"listeners=A://:1,B://:2\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT",
			"one listener, not 2"},
		{"listeners=PLAINTEXT://:1\ncontroller.listener.names=PLAINTEXT", "none is left"},
		{"listeners=PLAINTEXT://kafka.example:1", "not an address of this machine"},
		{"advertised.listeners=PLAINTEXT://0.0.0.0:9092", "clients cannot connect"},
		{"advertised.listeners=OTHER://h:9092", "must be the listener PLAINTEXT"},
		{"admin.listener=127.0.0.1:9092", "both want port 9092"},
		{"admin.listener=admin.example:1", "not an address of this machine"},
		{"shard.listeners=true", "not supported by this version"},
		{"shards=4\nshard.cpus=0,1", "names 2 CPUs for shards=4"},
		{"storage.workers=2\nstorage.cpus=0", "names 1 CPUs for storage.workers=2"},
		{"message.max.bytes=2m\nlog.segment.bytes=1m", "log.segment.bytes"},
		{"message.max.bytes=64m\nmemory.log.bytes=128m",
			"is too little for message.max.bytes"},
		{"shards=60\nmessage.max.bytes=2m", "each of 60 shards needs room"},
		{"socket.request.max.bytes=1m", "socket.request.max.bytes=1048576"},
		{"memory.request.bytes=10m", "memory.request.bytes"},
		{"cluster.id=abc", "must have 22 characters"},
		{"compression.type=brotli", "must be producer"},
		{"group.min.session.timeout.ms=10\ngroup.max.session.timeout.ms=9", "is more than"},
		{"log.cleaner.min.compaction.lag.ms=2\nlog.cleaner.max.compaction.lag.ms=1",
			"is more than log.cleaner.max.compaction.lag.ms=1"},
		{"log.dirs=/a,/a/", "names /a twice"},
		{"network.transport=dpdk", "needs dpdk.port"},
		{"network.transport=dpdk\ndpdk.port=eth0", "must be pci:ADDR"},
		{"network.transport=dpdk\ndpdk.port=tap:", "must be pci:ADDR"},
		{"network.transport=dpdk\ndpdk.port=tap:m0", "needs dpdk.address"},
		{"network.transport=dpdk\ndpdk.port=tap:m0\ndpdk.address=10.0.0.1",
			"must be A.B.C.D/len"},
		{"network.transport=dpdk\ndpdk.port=tap:m0\ndpdk.address=10.0.0.1/33",
			"must be A.B.C.D/len"},
		{"network.transport=dpdk\ndpdk.port=tap:m0\ndpdk.address=10.0.0.1/"
		 "24\ndpdk.gateway=x",
			"dpdk.gateway=x"},
		{"network.transport=dpdk\ndpdk.port=tap:m0\ndpdk.address=10.0.0.1/24\n"
		 "listeners=PLAINTEXT://127.0.0.1:9092",
			"must be the port's address 10.0.0.1"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(cases[i][0], cases[i][1]);
}

static void test_on_dpdk_the_listener_is_the_ports_address(void **state)
{
	struct config c =
		accepted("network.transport=dpdk\ndpdk.port=tap:m0\ndpdk.address=10.0.0.1/24\n");
	assert_string_equal(c.listeners.v[0].host, "10.0.0.1");
	assert_string_equal(c.advertised_listeners.v[0].host, "10.0.0.1");
	assert_int_equal(c.advertised_listeners.v[0].port, 9092);
}

static void test_a_listener_on_every_address_advertises_the_host_name(void **state)
{
	assert_string_equal(accepted("listeners=PLAINTEXT://:9092").advertised_listeners.v[0].host,
		"box.example");
	assert_string_equal(
		accepted("listeners=PLAINTEXT://0.0.0.0:9092").advertised_listeners.v[0].host,
		"box.example");
	assert_string_equal(
		accepted("listeners=PLAINTEXT://LocalHost:9092").listeners.v[0].host, "127.0.0.1");
}

/* What is printed reads back to the same values. */
static void test_printed_configuration_reads_back(void **state)
{
	struct config c = accepted("log.dirs=/a,/b\\\\c\nbroker.rack=r\\\\1\nshard.cpus=1,3\n"
				   "listeners=PLAINTEXT://[::1]:9\nlog.retention.ms=77\n"
				   "log.cleanup.policy=compact,delete\nadmin.listener=\n");
	char *text, *again;
	size_t len, again_len;
	FILE *f = open_memstream(&text, &len);
	config_print(&c, f, true);
	fclose(f);
	struct config d;
	config_defaults(&d);
	if (config_parse(&d, "printed", text, len, err, sizeof(err)) < 0)
		fail_msg("%s", err);
	assert_int_equal(finish(&d), 0);
	f = open_memstream(&again, &again_len);
	config_print(&d, f, true);
	fclose(f);
	assert_string_equal(text, again);
	assert_string_equal(d.log_dirs.path[1], "/b\\c");
	assert_int_equal(d.retention_ms, 77);
	assert_non_null(strstr(text, "# largest record batch\nmessage.max.bytes=1048588\n"));
	free(text);
	free(again);
}

static void test_json_has_every_key_even_with_odd_bytes(void **state)
{
	struct config c = accepted("log.dirs=/a\xff\n");
	char *json = config_json(&c);
	assert_non_null(strstr(json, "\"num.partitions\": \"1\""));
	assert_non_null(strstr(json, "\"log.dirs\": \"/a?\""));
	free(json);
}

static void test_a_file_is_loaded_and_a_missing_one_named(void **state)
{
	char path[] = "/tmp/test_config_XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "shards=5\n", 9), 9);
	close(fd);
	struct config c;
	config_defaults(&c);
	assert_int_equal(config_load_file(&c, path, err, sizeof(err)), 0);
	assert_int_equal(c.shards, 5);
	unlink(path);
	assert_int_equal(config_load_file(&c, path, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "cannot read the configuration file"));
	assert_int_equal(config_load_file(&c, "/tmp", err, sizeof(err)), -1);
	assert_non_null(strstr(err, "not a regular file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_are_kafkas_but_bound_to_loopback),
		cmocka_unit_test(test_properties_syntax_is_javas),
		cmocka_unit_test(test_a_comment_line_does_not_continue),
		cmocka_unit_test(test_bad_properties_text_names_file_and_line),
		cmocka_unit_test(test_later_values_win),
		cmocka_unit_test(test_aliases_set_the_key_they_stand_for),
		cmocka_unit_test(test_an_unknown_key_is_refused_with_the_nearest_known_one),
		cmocka_unit_test(test_set_without_a_value_is_refused),
		cmocka_unit_test(test_bad_values_name_key_value_and_what_is_allowed),
		cmocka_unit_test(test_a_refused_value_leaves_the_field_as_it_was),
		cmocka_unit_test(test_every_type_reads_its_values),
		cmocka_unit_test(test_the_finer_retention_key_wins),
		cmocka_unit_test(test_kafkas_own_server_properties_is_accepted),
		cmocka_unit_test(test_each_ignored_key_warns_once),
		cmocka_unit_test(test_security_keys_are_refused_not_ignored),
		cmocka_unit_test(test_a_named_plaintext_listener_is_accepted),
		cmocka_unit_test(test_cross_checks),
		cmocka_unit_test(test_on_dpdk_the_listener_is_the_ports_address),
		cmocka_unit_test(test_a_listener_on_every_address_advertises_the_host_name),
		cmocka_unit_test(test_printed_configuration_reads_back),
		cmocka_unit_test(test_json_has_every_key_even_with_odd_bytes),
		cmocka_unit_test(test_a_file_is_loaded_and_a_missing_one_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
