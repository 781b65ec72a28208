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
 *   <log dir>/lock                                    empty; locked while a broker runs
 *   <log dir>/journal-<worker>                        storage/format/jrnl.h
 *   <log dir>/checkpoint-<worker>.{a,b}               storage/format/ckpt.h
 *   <log dir>/<topic id, 32 hex>-<partition>/         one log, once a page of it has been filled
 *   <log dir>/<topic id, 32 hex>-<partition>.deleted/ being deleted
 *        log.meta                                     fmt_log_meta
 *        producers                                    fmt_note, then what the asker knows of
 * producers <base offset, 20 digits>.log                 segment: record batches, then zeros <base
 * offset, 20 digits>.index               storage/format/bidx.h
 *
 * Integers are little-endian (batches keep Kafka's big-endian). Meta, log.meta, journal
 * and checkpoint start with struct fmt_head and are valid if and only if fmt_check (fmt_check_in)
 * says so and their own rules hold.
 */
_Static_assert(
	__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structs below are the bytes on disk");

#define FMT_VERSION 1u
#define FMT_PAGE 4096u
#define FMT_TOPIC_MAX 249u

#define FMT_META_NAME "meta"
#define FMT_LOCK_NAME "lock"
#define FMT_LOG_META_NAME "log.meta"
#define FMT_DELETED_SUFFIX ".deleted"
#define FMT_TMP_SUFFIX ".tmp"
#define FMT_SPARE_NAME "spare"
#define FMT_NOTE_NAME "producers"

#define FMT_DIR_MAGIC "MRDIR\0\0"
#define FMT_LOG_MAGIC "MRLOG\0\0"
#define FMT_NOTE_MAGIC "MRPROD\0"

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

/* Followed by the asker's bytes; what they are is the asker's (partition/producers.h). */
struct fmt_note {
	struct fmt_head head;
	struct uuid topic_id;
	int32_t partition;
	uint32_t reserved; /* 0 */
};
_Static_assert(sizeof(struct fmt_note) == 48, "on disk");

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
/* Also damaged: the note of another log. */
enum fmt_verdict fmt_note_check(
	const void *p, uint64_t length, const struct uuid *topic_id, int32_t partition);

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
