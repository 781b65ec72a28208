/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc.h"
#include "control/meta/meta.h"
#include "kafka/errcode.h"

struct env {
	char dir[64];
	char file[128];
	char tmp[128];
	struct config cfg;
	char err[CONFIG_ERR_MAX];
};

static int setup(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	snprintf(e->dir, sizeof(e->dir), "/tmp/test_meta_XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	snprintf(e->file, sizeof(e->file), "%s/millrace.meta.json", e->dir);
	snprintf(e->tmp, sizeof(e->tmp), "%s/millrace.meta.json.tmp", e->dir);
	config_defaults(&e->cfg);
	assert_int_equal(config_finish(&e->cfg, "h", e->err, sizeof(e->err)), 0);
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;
	unlink(e->file);
	unlink(e->tmp);
	rmdir(e->dir);
	free(e);
	return 0;
}

static void add(struct env *e, struct meta_state *s, const char *name, int32_t partitions)
{
	struct topic_setting_arg args[] = {{kstr_of("cleanup.policy"), kstr_of("compact")},
		{kstr_of("leader.replication.throttled.replicas"), kstr_of("a\"\\b")}};
	struct topic_spec spec = {.name = kstr_of(name),
		.partitions = partitions,
		.replication = -1,
		.settings = args,
		.setting_count = 2};
	spec.id.b[0] = (uint8_t)(s->topics.count + 1);
	spec.id.b[7] = 0xab;
	assert_int_equal(
		topics_create(&s->topics, &e->cfg, &spec, e->err, sizeof(e->err)), KE_NONE);
}

static void write_file(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static void store(struct env *e, uint64_t versions)
{
	struct meta_state s;
	uint64_t v;
	struct meta *m = meta_file_open(e->dir, e->err, sizeof(e->err));
	assert_int_equal(meta_load(m, &s, &v, e->err, sizeof(e->err)), 0);
	if (v == 0)
		snprintf(s.cluster_id, sizeof(s.cluster_id), "abcdefghijklmnopqrstuv");
	for (uint64_t i = 0; i < versions; i++) {
		char name[16];
		snprintf(name, sizeof(name), "t%d", (int)(v + i));
		add(e, &s, name, 3);
		assert_int_equal(meta_update(m, v + i, &s, e->err, sizeof(e->err)), META_OK);
	}
	topics_fini(&s.topics);
	meta_close(m);
}

static int load(struct env *e, struct meta_state *s, uint64_t *v)
{
	struct meta *m = meta_file_open(e->dir, e->err, sizeof(e->err));
	assert_non_null(m);
	int r = meta_load(m, s, v, e->err, sizeof(e->err));
	meta_close(m);
	return r;
}

static void test_nothing_stored_is_version_zero_and_empty(void **state)
{
	struct env *e = *state;
	struct meta_state s;
	uint64_t v = 9;
	assert_int_equal(load(e, &s, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(s.topics.count, 0);
	topics_fini(&s.topics);
}

static void test_what_was_stored_comes_back_the_same(void **state)
{
	struct env *e = *state;
	struct meta_state s;
	uint64_t v;
	store(e, 3);
	assert_int_equal(load(e, &s, &v), 0);
	assert_int_equal(v, 3);
	assert_string_equal(s.cluster_id, "abcdefghijklmnopqrstuv");
	assert_int_equal(s.topics.count, 3);
	const struct topic *t = topics_find(&s.topics, kstr_of("t1"));
	assert_int_equal(t->partition_count, 3);
	assert_int_equal(t->part_ids[0], 3);
	assert_int_equal(t->part_ids[2], 5);
	assert_int_equal(t->id.b[0], 2);
	assert_int_equal(t->id.b[7], 0xab);
	assert_int_equal(t->setting_count, 2);
	char text[64];
	uint32_t n;
	const struct topic_setting_desc *d = topic_settings(&n);
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(d[i].name, "leader.replication.throttled.replicas") == 0)
			topic_setting_value(t, &d[i], &e->cfg, text, sizeof(text));
	assert_string_equal(text, "a\"\\b");
	size_t len, again_len;
	char *a = meta_encode(&s, 3, &len);
	topics_fini(&s.topics);
	assert_int_equal(meta_decode(a, len, &s, &v, e->err, sizeof(e->err)), 0);
	char *b = meta_encode(&s, 3, &again_len);
	assert_string_equal(a, b);
	topics_fini(&s.topics);
	free(a);
	free(b);
}

static void test_deleted_topics_are_remembered_until_they_are_forgotten(void **state)
{
	struct env *e = *state;
	struct meta_state s;
	uint64_t v;
	store(e, 3);
	struct meta *m = meta_file_open(e->dir, e->err, sizeof(e->err));
	assert_int_equal(meta_load(m, &s, &v, e->err, sizeof(e->err)), 0);
	struct uuid id = topics_find(&s.topics, kstr_of("t1"))->id;
	assert_int_equal(topics_delete(&s.topics, kstr_of("t1")), KE_NONE);
	add(e, &s, "t1", 2); /* the name is free, the part ids are not */
	assert_int_equal(meta_update(m, 3, &s, e->err, sizeof(e->err)), META_OK);
	topics_fini(&s.topics);
	meta_close(m);
	assert_int_equal(load(e, &s, &v), 0);
	assert_int_equal(s.topics.count, 3);
	assert_int_equal(topics_find(&s.topics, kstr_of("t1"))->part_ids[0], 9);
	assert_int_equal(s.topics.gone_count, 1);
	const struct topic *gone = s.topics.gone[0];
	assert_string_equal(gone->name, "t1");
	assert_true(uuid_equal(&gone->id, &id));
	assert_int_equal(gone->partition_count, 3);
	assert_int_equal(gone->part_ids[2], 5);
	add(e, &s, "new", 1);
	assert_int_equal(topics_find(&s.topics, kstr_of("new"))->part_ids[0], 11);
	assert_true(topics_forget(&s.topics, &id));
	add(e, &s, "newer", 1);
	assert_int_equal(topics_find(&s.topics, kstr_of("newer"))->part_ids[0], 3);
	topics_fini(&s.topics);
}

/* What this version wrote before it knew of them. */
static void test_a_document_without_deleted_topics_is_read(void **state)
{
	struct env *e = *state;
	struct meta_state s;
	uint64_t v;
	static const char doc[] = "{\"crc32c\":\"%08x\",%s";
	static const char body[] = "\"format\":1,\"state\":{\"cluster_id\":\"x\",\"topics\":[]},"
				   "\"version\":1}";
	char text[256];
	snprintf(text, sizeof(text), "{%s", body);
	uint32_t crc = crc32c(0, text, strlen(text));
	int n = snprintf(text, sizeof(text), doc, crc, body);
	assert_int_equal(meta_decode(text, (size_t)n, &s, &v, e->err, sizeof(e->err)), 0);
	assert_int_equal(s.topics.gone_count, 0);
	topics_fini(&s.topics);
}

/* Everything but the rename went well. */
static void test_a_file_that_cannot_be_put_in_its_place_fails_the_update_only(void **state)
{
	struct env *e = *state;
	struct meta_state s;
	uint64_t v;
	char inside[160];
	struct meta *m = meta_file_open(e->dir, e->err, sizeof(e->err));
	assert_int_equal(meta_load(m, &s, &v, e->err, sizeof(e->err)), 0);
	add(e, &s, "a", 1);
	assert_int_equal(mkdir(e->file, 0755), 0);
	snprintf(inside, sizeof(inside), "%s/x", e->file);
	assert_int_equal(mkdir(inside, 0755), 0);
	assert_int_equal(meta_update(m, 0, &s, e->err, sizeof(e->err)), META_FAILED);
	assert_non_null(strstr(e->err, "in its place"));
	assert_int_equal(access(e->tmp, F_OK), -1);
	assert_int_equal(rmdir(inside), 0);
	assert_int_equal(rmdir(e->file), 0);
	assert_int_equal(meta_update(m, 0, &s, e->err, sizeof(e->err)), META_OK);
	topics_fini(&s.topics);
	meta_close(m);
}

static void test_an_update_from_another_version_is_refused(void **state)
{
	struct env *e = *state;
	struct meta_state s;
	uint64_t v;
	store(e, 2);
	struct meta *m = meta_file_open(e->dir, e->err, sizeof(e->err));
	assert_int_equal(meta_load(m, &s, &v, e->err, sizeof(e->err)), 0);
	add(e, &s, "late", 1);
	assert_int_equal(meta_update(m, 1, &s, e->err, sizeof(e->err)), META_CONFLICT);
	topics_fini(&s.topics);
	meta_close(m);
	assert_int_equal(load(e, &s, &v), 0);
	assert_int_equal(v, 2);
	assert_null(topics_find(&s.topics, kstr_of("late")));
	topics_fini(&s.topics);
}

static void test_a_temporary_file_left_by_a_crash_never_counts(void **state)
{
	struct env *e = *state;
	struct meta_state s;
	uint64_t v;
	store(e, 1);
	write_file(e->tmp, "{\"half", 6);
	assert_int_equal(load(e, &s, &v), 0);
	assert_int_equal(v, 1);
	topics_fini(&s.topics);
	assert_int_equal(access(e->tmp, F_OK), -1);
	store(e, 1);
	assert_int_equal(load(e, &s, &v), 0);
	assert_int_equal(v, 2);
	topics_fini(&s.topics);
}

/* Every bit that flips and every cut is noticed, and nothing is taken for empty. */
static void test_a_damaged_file_is_refused(void **state)
{
	struct env *e = *state;
	struct meta_state s;
	uint64_t v;
	store(e, 1);
	char text[4096];
	int fd = open(e->file, O_RDONLY);
	ssize_t len = read(fd, text, sizeof(text));
	close(fd);
	assert_true(len > 100 && len < (ssize_t)sizeof(text));
	unsigned undone = 0;
	for (ssize_t i = 0; i < len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			text[i] ^= (char)(1 << bit);
			if (meta_decode(text, (size_t)len, &s, &v, e->err, sizeof(e->err)) == 0)
				undone++;
			text[i] ^= (char)(1 << bit);
		}
	}
	assert_int_equal(undone, 0);
	for (ssize_t i = 0; i < len; i++)
		assert_int_equal(meta_decode(text, (size_t)i, &s, &v, e->err, sizeof(e->err)), -1);
	write_file(e->file, text, (size_t)len - 7);
	assert_int_equal(load(e, &s, &v), -1);
	assert_non_null(strstr(e->err, "millrace.meta.json cannot be used"));
	write_file(e->file, "", 0);
	assert_int_equal(load(e, &s, &v), -1);
}

static void test_a_newer_format_is_refused_with_advice(void **state)
{
	struct env *e = *state;
	struct meta_state s;
	uint64_t v;
	static const char text[] = "{\"format\":2,\"crc32c\":\"00000000\",\"version\":1}";
	write_file(e->file, text, sizeof(text) - 1);
	assert_int_equal(load(e, &s, &v), -1);
	assert_non_null(strstr(e->err, "it has format 2 and this version reads format 1"));
}

/* The checksum is right, the content is not. */
static void expect_refused(struct env *e, const char *gone, const char *topics)
{
	struct meta_state s;
	uint64_t v;
	char body[1024], doc[2048];
	snprintf(body, sizeof(body),
		"\"format\":1,\"state\":{\"cluster_id\":\"x\",\"gone\":%s,\"topics\":%s},"
		"\"version\":1}",
		gone, topics);
	snprintf(doc, sizeof(doc), "{%s", body);
	uint32_t crc = crc32c(0, doc, strlen(doc));
	snprintf(doc, sizeof(doc), "{\"crc32c\":\"%08x\",%s", crc, body);
	e->err[0] = 0;
	assert_int_equal(meta_decode(doc, strlen(doc), &s, &v, e->err, sizeof(e->err)), -1);
	assert_null(strstr(e->err, "checksum"));
	assert_true(strlen(e->err) > 0);
}

static void test_a_wrong_document_is_refused(void **state)
{
	struct env *e = *state;
	static const char *const topics[] = {
		"{}",
		"[1]",
		"[{\"name\":\"a\"}]",
		"[{\"id\":\"zz\",\"internal\":false,\"name\":\"a\",\"part_ids\":[0],\"settings\":{}"
		"}]",
		"[{\"id\":\"00000000000000000000000000000000\",\"internal\":false,\"name\":\"a\","
		"\"part_ids\":[0],\"settings\":{}}]",
		"[{\"id\":\"00000000000000000000000000000001\",\"internal\":false,\"name\":\"a/b\","
		"\"part_ids\":[0],\"settings\":{}}]",
		"[{\"id\":\"00000000000000000000000000000001\",\"internal\":false,\"name\":\"a\","
		"\"part_ids\":[],\"settings\":{}}]",
		"[{\"id\":\"00000000000000000000000000000001\",\"internal\":false,\"name\":\"a\","
		"\"part_ids\":[0,0],\"settings\":{}}]",
		"[{\"id\":\"00000000000000000000000000000001\",\"internal\":false,\"name\":\"a\","
		"\"part_ids\":[-1],\"settings\":{}}]",
		"[{\"id\":\"00000000000000000000000000000001\",\"internal\":false,\"name\":\"a\","
		"\"part_ids\":[4000000000],\"settings\":{}}]",
		"[{\"id\":\"00000000000000000000000000000001\",\"internal\":false,\"name\":\"a\","
		"\"part_ids\":[0],\"settings\":{\"x\":\"1\"}}]",
		"[{\"id\":\"00000000000000000000000000000001\",\"internal\":false,\"name\":\"a\","
		"\"part_ids\":[0],\"settings\":{\"retention.ms\":1}}]",
	};
	static const char *const gone[] = {
		"{}",
		"[{\"name\":\"a\"}]",
		"[{\"id\":\"00000000000000000000000000000002\",\"name\":\"a\",\"part_ids\":[0,0]}]",
		"[{\"id\":\"00000000000000000000000000000000\",\"name\":\"a\",\"part_ids\":[0]}]",
	};
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
		expect_refused(e, "[]", topics[i]);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		expect_refused(e, gone[i], "[]");
}

static void test_a_directory_that_cannot_be_written_fails_the_update_and_keeps_the_old(void **state)
{
	struct env *e = *state;
	struct meta_state s;
	uint64_t v;
	store(e, 1);
	struct meta *m = meta_file_open(e->dir, e->err, sizeof(e->err));
	assert_int_equal(meta_load(m, &s, &v, e->err, sizeof(e->err)), 0);
	add(e, &s, "more", 1);
	/* a directory stands where the temporary file would be */
	assert_int_equal(mkdir(e->tmp, 0755), 0);
	assert_int_equal(meta_update(m, 1, &s, e->err, sizeof(e->err)), META_FAILED);
	assert_non_null(strstr(e->err, "cannot write"));
	assert_int_equal(rmdir(e->tmp), 0);
	assert_int_equal(meta_update(m, 1, &s, e->err, sizeof(e->err)), META_OK);
	topics_fini(&s.topics);
	meta_close(m);
	assert_int_equal(load(e, &s, &v), 0);
	assert_int_equal(v, 2);
	topics_fini(&s.topics);
}

static void test_a_missing_directory_is_named(void **state)
{
	struct env *e = *state;
	assert_null(meta_file_open("/nonexistent/x", e->err, sizeof(e->err)));
	assert_non_null(strstr(e->err, "/nonexistent/x"));
}

static void test_a_cluster_id_is_base64url_of_sixteen_bytes(void **state)
{
	char id[META_CLUSTER_ID_LEN + 1];
	uint8_t bytes[16] = {0};
	meta_cluster_id(bytes, id);
	assert_string_equal(id, "AAAAAAAAAAAAAAAAAAAAAA");
	memset(bytes, 0xff, 16);
	meta_cluster_id(bytes, id);
	assert_string_equal(id, "_____________________w");
	for (int i = 0; i < 16; i++)
		bytes[i] = (uint8_t)i;
	meta_cluster_id(bytes, id);
	assert_string_equal(id, "AAECAwQFBgcICQoLDA0ODw");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_nothing_stored_is_version_zero_and_empty),
		T(test_what_was_stored_comes_back_the_same),
		T(test_deleted_topics_are_remembered_until_they_are_forgotten),
		T(test_a_document_without_deleted_topics_is_read),
		T(test_a_file_that_cannot_be_put_in_its_place_fails_the_update_only),
		T(test_an_update_from_another_version_is_refused),
		T(test_a_temporary_file_left_by_a_crash_never_counts),
		T(test_a_damaged_file_is_refused),
		T(test_a_newer_format_is_refused_with_advice),
		T(test_a_wrong_document_is_refused),
		T(test_a_directory_that_cannot_be_written_fails_the_update_and_keeps_the_old),
		T(test_a_missing_directory_is_named),
		cmocka_unit_test(test_a_cluster_id_is_base64url_of_sixteen_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
