/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_FORMAT_FORMAT_H
#define MR_STORAGE_FORMAT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"

/*
 * What the files of a log directory look like; docs/FORMAT.md is the same in words. Pure: bytes in,
 * values out, and the other way round.
 *
 *   <log dir>/meta                                    fmt_dir_meta
 *   <log dir>/clean                                   fmt_clean: only between a clean stop and the
 * next start <log dir>/lock                                    empty; locked while a broker runs
 *   <log dir>/<topic id, 32 hex>-<partition>/         one log
 *   <log dir>/<topic id, 32 hex>-<partition>.deleted/ being deleted
 *        log.meta                                     fmt_log_meta
 *        <base offset, 20 digits>.log                 segment: record batches, then zeros
 *        <base offset, 20 digits>.index               fmt_index: of a sealed segment, or at a clean
 * close
 *
 * Integers are little-endian (batches keep Kafka's big-endian). Every file but a segment starts
 * with struct fmt_head and is valid if and only if fmt_check says so and its own rules hold.
 */
_Static_assert(
	__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structs below are the bytes on disk");

#define FMT_VERSION 1u
#define FMT_PAGE 4096u
#define FMT_TOPIC_MAX 249u

#define FMT_META_NAME "meta"
#define FMT_CLEAN_NAME "clean"
#define FMT_LOCK_NAME "lock"
#define FMT_LOG_META_NAME "log.meta"
#define FMT_DELETED_SUFFIX ".deleted"
#define FMT_TMP_SUFFIX ".tmp"

#define FMT_DIR_MAGIC "MRDIR\0\0"
#define FMT_LOG_MAGIC "MRLOG\0\0"
#define FMT_CLEAN_MAGIC "MRCLEAN"
#define FMT_INDEX_MAGIC "MRINDEX"

struct fmt_head {
	uint8_t magic[8];
	uint32_t version;
	uint32_t crc;	 /* CRC-32C of the whole file, with this field taken as 0 */
	uint64_t length; /* of the whole file, this head included */
};
_Static_assert(sizeof(struct fmt_head) == 24, "on disk");

struct fmt_dir_meta {
	struct fmt_head head;
	struct uuid dir_id;
	uint64_t reserved; /* 0 */
};
_Static_assert(sizeof(struct fmt_dir_meta) == 48, "on disk");

struct fmt_log_meta {
	struct fmt_head head;
	struct uuid topic_id;
	int32_t partition;
	uint16_t topic_length;
	uint16_t reserved; /* 0 */
	int64_t log_start_offset;
	char topic[256]; /* topic_length bytes, then zeros */
};
_Static_assert(sizeof(struct fmt_log_meta) == 312, "on disk");

struct fmt_clean_log {
	struct uuid topic_id;
	int32_t partition;
	int32_t leader_epoch;
	int64_t end_offset;
	int64_t segment;
	uint64_t segment_pos;
	int64_t segment_created_ms;
	int64_t max_timestamp;
};
_Static_assert(sizeof(struct fmt_clean_log) == 64, "on disk");

struct fmt_clean {
	struct fmt_head head;
	struct uuid dir_id;
	uint32_t count;
	uint32_t reserved; /* 0 */
			   /* struct fmt_clean_log[count], ascending by (topic_id, partition) */
};
_Static_assert(sizeof(struct fmt_clean) == 48, "on disk");

struct fmt_index_entry {
	int64_t offset;	       /* base offset of a batch */
	uint64_t pos;	       /* where it begins in the segment */
	int64_t max_timestamp; /* the largest in the batches from here up to the next entry */
};
_Static_assert(sizeof(struct fmt_index_entry) == 24, "on disk");

struct fmt_index {
	struct fmt_head head;
	int64_t base_offset;
	int64_t end_offset;
	uint64_t end_pos;
	int64_t created_ms;
	int64_t max_timestamp;
	int32_t leader_epoch; /* of the last batch */
	uint32_t count;
	/* struct fmt_index_entry[count], ascending; the first one is {base_offset, 0, ..} */
};
_Static_assert(sizeof(struct fmt_index) == 72, "on disk");

/* Fills in the head of a file of `length` bytes at p, which begins with struct fmt_head. */
void fmt_seal(void *p, uint64_t length, const char magic[8]);

enum fmt_verdict {
	FMT_OK,
	FMT_DAMAGED, /* wrong length, magic or checksum, or a rule of the file is broken */
	FMT_FOREIGN, /* whole, but of another version */
};
/* Whether the `length` bytes at p are one file with this magic, this version and a right checksum.
 */
enum fmt_verdict fmt_check(const void *p, uint64_t length, const char magic[8]);

/* The same of a file that may have bytes behind it, which are not looked at: its length is the one
 * that its head says, and at most `length`. */
enum fmt_verdict fmt_check_in(const void *p, uint64_t length, const char magic[8]);

enum fmt_verdict fmt_dir_meta_check(const void *p, uint64_t length);
enum fmt_verdict fmt_log_meta_check(const void *p, uint64_t length);
enum fmt_verdict fmt_clean_check(const void *p, uint64_t length);
enum fmt_verdict fmt_index_check(const void *p, uint64_t length);

/* Order of entries in the clean-stop marker: memcmp of the topic id, then the partition. */
int fmt_clean_compare(
	const struct uuid *id_a, int32_t partition_a, const struct uuid *id_b, int32_t partition_b);

/* Size of a name below, with its zero. */
#define FMT_NAME_SIZE 64u
void fmt_log_name(char out[FMT_NAME_SIZE], const struct uuid *topic_id, int32_t partition);
/* False unless fmt_log_name makes this very name. */
bool fmt_log_name_parse(const char *name, struct uuid *topic_id, int32_t *partition);
/* True for fmt_log_name plus FMT_DELETED_SUFFIX. */
bool fmt_is_deleted_name(const char *name);
/* suffix: "log" or "index". base_offset >= 0. */
void fmt_segment_name(char out[FMT_NAME_SIZE], int64_t base_offset, const char *suffix);
bool fmt_segment_name_parse(const char *name, const char *suffix, int64_t *base_offset);
/* Whether name is prefix, a number as "%u" writes it, and suffix; then *n is the number. */
bool fmt_number_parse(const char *name, const char *prefix, const char *suffix, uint32_t *n);

#endif
