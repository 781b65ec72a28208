/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_KAFKA_COMPRESS_H
#define MR_KAFKA_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

/* Compression of the records of a batch. Lengths inside the data are never trusted. */

/* As in the low three bits of the batch's attributes. */
enum codec {
	CODEC_NONE = 0,
	CODEC_GZIP = 1,	  /* RFC 1952, several members allowed */
	CODEC_SNAPPY = 2, /* raw, or in snappy-java's ("xerial") framing */
	CODEC_LZ4 = 3,	  /* LZ4 frame */
	CODEC_ZSTD = 4,	  /* RFC 8878; KIP-110 */
};
#define CODEC_COUNT 5

enum codec_err {
	CODEC_E_CORRUPT = -1, /* not such data */
	CODEC_E_LARGE = -2,   /* more than the output can hold */
	CODEC_E_NOMEM = -3,   /* out of memory inside the library */
	CODEC_E_UNKNOWN = -4, /* no such codec */
};

/*
 * The states of the decompressors; one per thread. They keep their memory from one use to the next:
 * a few hundred KiB at start, and for lz4 up to 4.2 MiB when a frame of 4 MiB blocks has been seen.
 */
struct codec_ctx;

/* A context, or NULL: out of memory. Gives it to the caller. */
struct codec_ctx *codec_open(void);
void codec_close(struct codec_ctx *c);

/*
 * Decompresses src into at most dst_size bytes at dst (borrowed). All of src must be used. The
 * number of bytes, or a CODEC_E_ value. Work is bounded by len + dst_size.
 */
int64_t codec_decompress(struct codec_ctx *c, enum codec codec, const void *src, size_t len,
	void *dst, size_t dst_size);

/* Upper bound of what codec_compress writes for len bytes. */
size_t codec_compress_bound(enum codec codec, size_t len);
/*
 * Compresses as Kafka's Java client does (snappy in xerial framing); level 0 is the codec's own
 * default. For tools, tests and compaction: it allocates while it runs. The number of bytes, or
 * CODEC_E_.
 */
int64_t codec_compress(
	enum codec codec, int level, const void *src, size_t len, void *dst, size_t dst_size);

/* "none", "gzip", ... as in Kafka's configuration; "?" for an unknown codec. */
const char *codec_name(enum codec codec);

#endif
