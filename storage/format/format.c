/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/format/format.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/crc.h"

static uint32_t fmt_crc(const void *p, uint64_t length)
{
	static const uint32_t zero;
	const uint8_t *b = p;
	size_t at = offsetof(struct fmt_head, crc);
	uint32_t crc = crc32c(0, b, at);
	crc = crc32c(crc, &zero, sizeof(zero));
	at += sizeof(zero);
	while (at < length) { /* in pieces: the library's length is an int */
		size_t n = min_of((size_t)(length - at), (size_t)1 << 30);
		crc = crc32c(crc, b + at, n);
		at += n;
	}
	return crc;
}

void fmt_seal(void *p, uint64_t length, const char magic[8])
{
	CHECK(length >= sizeof(struct fmt_head));
	struct fmt_head head = {.version = FMT_VERSION, .length = length};
	memcpy(head.magic, magic, sizeof(head.magic));
	memcpy(p, &head, sizeof(head));
	head.crc = fmt_crc(p, length);
	memcpy(p, &head, sizeof(head));
}

enum fmt_verdict fmt_check(const void *p, uint64_t length, const char magic[8])
{
	struct fmt_head head;
	if (length < sizeof(head))
		return FMT_DAMAGED;
	memcpy(&head, p, sizeof(head));
	if (memcmp(head.magic, magic, sizeof(head.magic)) != 0 || head.length != length ||
		head.crc != fmt_crc(p, length))
		return FMT_DAMAGED;
	return head.version == FMT_VERSION ? FMT_OK : FMT_FOREIGN;
}

enum fmt_verdict fmt_check_in(const void *p, uint64_t length, const char magic[8])
{
	struct fmt_head head;
	if (length < sizeof(head))
		return FMT_DAMAGED;
	memcpy(&head, p, sizeof(head));
	return head.length <= length ? fmt_check(p, head.length, magic) : FMT_DAMAGED;
}

enum fmt_verdict fmt_dir_meta_check(const void *p, uint64_t length)
{
	enum fmt_verdict v = fmt_check(p, length, FMT_DIR_MAGIC);
	if (v != FMT_OK)
		return v;
	struct fmt_dir_meta m;
	if (length != sizeof(m))
		return FMT_DAMAGED;
	memcpy(&m, p, sizeof(m));
	return m.reserved == 0 && !uuid_is_zero(&m.dir_id) ? FMT_OK : FMT_DAMAGED;
}

enum fmt_verdict fmt_log_meta_check(const void *p, uint64_t length)
{
	enum fmt_verdict v = fmt_check(p, length, FMT_LOG_MAGIC);
	if (v != FMT_OK)
		return v;
	struct fmt_log_meta m;
	if (length != sizeof(m))
		return FMT_DAMAGED;
	memcpy(&m, p, sizeof(m));
	if (m.partition < 0 || m.topic_length > FMT_TOPIC_MAX || m.reserved != 0 ||
		m.log_start_offset < 0)
		return FMT_DAMAGED;
	for (size_t i = 0; i < sizeof(m.topic); i++)
		if ((i < m.topic_length) != (m.topic[i] != 0))
			return FMT_DAMAGED;
	return FMT_OK;
}

enum fmt_verdict fmt_note_check(
	const void *p, uint64_t length, const struct uuid *topic_id, int32_t partition)
{
	enum fmt_verdict v = fmt_check(p, length, FMT_NOTE_MAGIC);
	if (v != FMT_OK)
		return v;
	struct fmt_note m;
	if (length < sizeof(m))
		return FMT_DAMAGED;
	memcpy(&m, p, sizeof(m));
	bool ours = uuid_equal(&m.topic_id, topic_id) && m.partition == partition;
	return ours && m.reserved == 0 ? FMT_OK : FMT_DAMAGED;
}

void fmt_log_name(char out[FMT_NAME_SIZE], const struct uuid *topic_id, int32_t partition)
{
	size_t n = 0;
	for (size_t i = 0; i < sizeof(topic_id->b); i++)
		n += (size_t)snprintf(out + n, FMT_NAME_SIZE - n, "%02x", topic_id->b[i]);
	snprintf(out + n, FMT_NAME_SIZE - n, "-%d", partition);
}

static int fmt_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool fmt_log_name_parse(const char *name, struct uuid *topic_id, int32_t *partition)
{
	struct uuid id;
	for (size_t i = 0; i < sizeof(id.b); i++) {
		int hi = fmt_hex(name[2 * i]);
		int lo = hi < 0 ? -1 : fmt_hex(name[2 * i + 1]);
		if (lo < 0)
			return false;
		id.b[i] = (uint8_t)(hi * 16 + lo);
	}
	if (name[32] != '-')
		return false;
	int64_t n = 0;
	for (const char *p = name + 33; *p && n <= INT32_MAX; p++) {
		if (*p < '0' || *p > '9')
			return false;
		n = n * 10 + (*p - '0');
	}
	if (n > INT32_MAX)
		return false;
	char again[FMT_NAME_SIZE];
	fmt_log_name(again, &id, (int32_t)n);
	if (strcmp(again, name) != 0)
		return false;
	*topic_id = id;
	*partition = (int32_t)n;
	return true;
}

bool fmt_is_deleted_name(const char *name)
{
	char stem[FMT_NAME_SIZE];
	size_t n = strlen(name), suffix = strlen(FMT_DELETED_SUFFIX);
	if (n <= suffix || n - suffix >= sizeof(stem) ||
		strcmp(name + n - suffix, FMT_DELETED_SUFFIX) != 0)
		return false;
	memcpy(stem, name, n - suffix);
	stem[n - suffix] = 0;
	struct uuid id;
	int32_t partition;
	return fmt_log_name_parse(stem, &id, &partition);
}

void fmt_segment_name(char out[FMT_NAME_SIZE], int64_t base_offset, const char *suffix)
{
	CHECK(base_offset >= 0);
	snprintf(out, FMT_NAME_SIZE, "%020lld.%s", (long long)base_offset, suffix);
}

bool fmt_segment_name_parse(const char *name, const char *suffix, int64_t *base_offset)
{
	int64_t n = 0;
	for (int i = 0; i < 20; i++) {
		if (name[i] < '0' || name[i] > '9' || __builtin_mul_overflow(n, 10, &n) ||
			__builtin_add_overflow(n, name[i] - '0', &n))
			return false;
	}
	if (name[20] != '.' || strcmp(name + 21, suffix) != 0)
		return false;
	*base_offset = n;
	return true;
}

bool fmt_number_parse(const char *name, const char *prefix, const char *suffix, uint32_t *n)
{
	size_t skip = strlen(prefix);
	if (strncmp(name, prefix, skip) != 0)
		return false;
	const char *p = name + skip;
	bool padded = p[0] == '0' && p[1] >= '0' && p[1] <= '9';
	uint64_t v = 0;
	for (; *p >= '0' && *p <= '9' && v <= UINT32_MAX; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	if (p == name + skip || padded || v > UINT32_MAX || strcmp(p, suffix) != 0)
		return false;
	*n = (uint32_t)v;
	return true;
}
