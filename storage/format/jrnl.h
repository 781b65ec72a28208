/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_FORMAT_JRNL_H
#define MR_STORAGE_FORMAT_JRNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "storage/format/format.h"

/*
 * The commit journal of a lane (one worker, one log directory): `journal-<worker>`, a preallocated,
 * pre-written file. Pure: bytes in, values out, and the other way round. docs/FORMAT.md in words.
 *
 *   page 0        struct fmt_jrnl_file, then zeros; written once
 *   page 1 ...    the ring: `ring_bytes` bytes, a multiple of a page
 *
 * A stream of groups runs through the ring: stream position S stands at file offset
 * FMT_PAGE + S % ring_bytes. A group begins on a page, and is padded with zeros to a page. It never
 * wraps: one that does not fit in front of the ring's end stands at the ring's beginning, at the
 * next stream position that is a multiple of ring_bytes. So the group after the one that ends at S
 * is looked for at S, and then at align_up(S, ring_bytes).
 *
 * A group at stream position S is valid if and only if magic and stream position are right, seq is
 * the expected one, the length fits the ring, both CRCs are right (they begin with the journal id),
 * and its entries fill it exactly (jrnl_next never fails). The zeros behind it are not looked at.
 */
#define FMT_JRNL_MAGIC "MRJRNL\0"
#define JRNL_GROUP_MAGIC 0x4752434du	    /* "MCRG" */
#define JRNL_GROUP_MAX (4u * 1024u * 1024u) /* bytes of one group, padding included */

struct fmt_jrnl_file {
	struct fmt_head head; /* length: sizeof(struct fmt_jrnl_file) */
	struct uuid dir_id;
	struct uuid journal_id; /* random: a recycled file never passes for this one */
	uint32_t worker;
	uint32_t reserved; /* 0 */
	uint64_t ring_bytes;
};
_Static_assert(sizeof(struct fmt_jrnl_file) == 72, "on disk");

struct fmt_jrnl_group {
	uint32_t magic;
	uint32_t crc; /* CRC-32C of [0, length) with this field taken as 0, begun with the CRC of
			 the journal id */
	uint64_t seq; /* one more than that of the group before it */
	uint64_t stream_pos;
	uint32_t length;     /* of header and entries; the rest of the last page is zeros */
	uint32_t count;	     /* entries */
	uint64_t checkpoint; /* stream position that the newest installed checkpoint of the lane
				begins at, when this was written */
	uint32_t head_crc;   /* CRC-32C of this header with crc and head_crc taken as 0, begun
				likewise: tells a   group whose body is torn from bytes that only look
				like one */
	uint32_t reserved;   /* 0 */
};
_Static_assert(sizeof(struct fmt_jrnl_group) == 48, "on disk");

enum jrnl_kind {
	JRNL_OPEN = 1, /* a log gets its number: struct fmt_jrnl_open behind the entry */
	JRNL_DATA,     /* `length` bytes of whole batches behind the entry */
	JRNL_DIRECT,   /* the bytes are in the segment file; `crc` is theirs. No bytes behind */
	JRNL_TRIM,     /* the log starts at `pos` (an offset) from now on */
	JRNL_DELETE,   /* the log is deleted */
};

/* Entries lie one behind the other, each begins at a multiple of 8. */
struct fmt_jrnl_entry {
	uint8_t kind;
	uint8_t reserved[3]; /* 0 */
	uint32_t log;	     /* number of the log */
	int64_t segment;     /* base offset of the segment; DATA and DIRECT */
	uint64_t pos;	     /* in the segment, of the first byte */
	uint32_t length;     /* DATA: bytes that follow (padded to 8); DIRECT: bytes in the segment;
				OPEN:     sizeof(struct fmt_jrnl_open) */
	uint32_t crc; /* DIRECT: CRC-32C of [pos - lead, pos + length), begun with 0; else 0 */
};
_Static_assert(sizeof(struct fmt_jrnl_entry) == 32, "on disk");

/* DIRECT is followed by this, by struct fmt_block[block_count] (storage/format/bidx.h: the blocks
 * that the run touches, from the one that holds `pos` on, as they are after it), and by tail_length
 * bytes: the ragged end of the run behind its last whole page, which is not in the segment yet. */
struct fmt_jrnl_direct {
	int64_t base_offset; /* of the first batch */
	int64_t end_offset;  /* one more than the last record's */
	int64_t max_timestamp;
	int32_t leader_epoch; /* of the last batch */
	uint32_t block_count;
	uint32_t tail_length; /* < FMT_PAGE */
	uint32_t lead; /* bytes in front of `pos` that were written with the run: `crc` covers them,
			  too */
};
_Static_assert(sizeof(struct fmt_jrnl_direct) == 40, "on disk");

struct fmt_jrnl_open {
	struct uuid topic_id;
	int32_t partition;
	uint16_t topic_length;
	uint16_t reserved;	  /* 0 */
	int64_t log_start_offset; /* of the empty log, which is also the base of its first segment
				   */
	char topic[256];
};
_Static_assert(sizeof(struct fmt_jrnl_open) == 288, "on disk");

/* --- writing a group --------------------------------------------------------------------- */

/* A group under construction in memory that the caller lends: page-aligned, `room` bytes. */
struct jrnl_builder {
	uint8_t *buf;
	uint32_t room;
	uint32_t used; /* 0: nothing begun */
	uint32_t count;
};
void jrnl_begin(struct jrnl_builder *b, uint8_t *buf, uint32_t room);
/* Bytes that an entry with a body of `length` bytes takes. */
uint32_t jrnl_entry_size(uint32_t length);
/* Appends an entry; the caller fills the `body` bytes that come back (undefined contents; the
 * padding behind is zeroed). NULL: no room. */
uint8_t *jrnl_add(struct jrnl_builder *b, const struct fmt_jrnl_entry *e, uint32_t body);
/* Seals the group: zeros up to the page, header, CRC. Returns its size on disk, a multiple of a
 * page. */
uint32_t jrnl_end(struct jrnl_builder *b, const struct uuid *journal_id, uint64_t seq,
	uint64_t stream_pos, uint64_t checkpoint);

/* --- reading ----------------------------------------------------------------------------- */

enum jrnl_verdict {
	JRNL_OK,
	JRNL_SHORT,   /* plausible, but longer than the `room` bytes at hand: read `need` bytes */
	JRNL_INVALID, /* not this group: torn, stale, or never written */
};
/* Checks the group that should be at p; *need: its size on disk when JRNL_OK or JRNL_SHORT. */
enum jrnl_verdict jrnl_check(const uint8_t *p, uint64_t room, const struct uuid *journal_id,
	uint64_t seq, uint64_t stream_pos, uint64_t ring_bytes, uint64_t *need);
/*
 * Whether the page at p (of FMT_PAGE bytes, at this ring offset) looks like the begin of a group of
 * this journal that is later than (seq, stream_pos): such a group behind an invalid one means that
 * acknowledged groups were damaged.
 */
bool jrnl_is_later(const uint8_t *page, const struct uuid *journal_id, uint64_t ring_offset,
	uint64_t ring_bytes, uint64_t seq, uint64_t stream_pos);

/* Walks the entries of a checked group. *at: 0 at first. False at the end. */
bool jrnl_next(const uint8_t *group, uint32_t *at, struct fmt_jrnl_entry *e, const uint8_t **body);

enum fmt_verdict fmt_jrnl_file_check(const void *p, uint64_t length);
/* "journal-<worker>" */
void fmt_jrnl_name(char out[FMT_NAME_SIZE], uint32_t worker);
bool fmt_jrnl_name_parse(const char *name, uint32_t *worker);

#endif
