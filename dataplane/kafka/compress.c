/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/compress.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/bytes.h"

struct codec_ctx {
	z_stream gzip;
	LZ4F_dctx *lz4;
	ZSTD_DCtx *zstd;
};

struct codec_ctx *codec_open(void)
{
	struct codec_ctx *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	if (inflateInit2(&c->gzip, 16 + MAX_WBITS) != Z_OK) {
		free(c);
		return NULL;
	}
	c->zstd = ZSTD_createDCtx();
	if (!c->zstd || LZ4F_isError(LZ4F_createDecompressionContext(&c->lz4, LZ4F_VERSION))) {
		codec_close(c);
		return NULL;
	}
	return c;
}

void codec_close(struct codec_ctx *c)
{
	if (!c)
		return;
	inflateEnd(&c->gzip);
	LZ4F_freeDecompressionContext(c->lz4);
	ZSTD_freeDCtx(c->zstd);
	free(c);
}

const char *codec_name(enum codec codec)
{
	static const char *const names[CODEC_COUNT] = {"none", "gzip", "snappy", "lz4", "zstd"};
	return (unsigned)codec < CODEC_COUNT ? names[codec] : "?";
}

/* ---- decompress ---- */

static int64_t none_copy(const void *src, size_t len, void *dst, size_t dst_size)
{
	if (len > dst_size)
		return CODEC_E_LARGE;
	if (len)
		memcpy(dst, src, len);
	return (int64_t)len;
}

static int64_t gzip_decompress(
	struct codec_ctx *c, const uint8_t *src, size_t len, uint8_t *dst, size_t dst_size)
{
	z_stream *z = &c->gzip;
	uint8_t probe; /* where output goes when dst is full: one byte there is one too many */
	size_t done = 0;
	z->next_in = (Bytef *)(uintptr_t)src;
	z->avail_in = (uInt)len;
	do { /* one member; a file may be several of them */
		if (inflateReset(z) != Z_OK)
			return CODEC_E_NOMEM;
		int rc = Z_OK;
		while (rc != Z_STREAM_END) {
			bool room = done < dst_size;
			size_t want = room ? min_of(dst_size - done, (size_t)1 << 30) : 1;
			z->next_out = room ? dst + done : &probe;
			z->avail_out = (uInt)want;
			rc = inflate(z, Z_NO_FLUSH);
			size_t got = want - z->avail_out;
			if (got && !room)
				return CODEC_E_LARGE;
			done += got;
			if (rc == Z_MEM_ERROR)
				return CODEC_E_NOMEM;
			if (rc != Z_OK && rc != Z_STREAM_END)
				return CODEC_E_CORRUPT;
		}
	} while (z->avail_in > 0);
	return (int64_t)done;
}

/* One raw snappy block. */
static int64_t snappy_block(const uint8_t *src, size_t len, uint8_t *dst, size_t dst_size)
{
	size_t n = 0;
	if (snappy_uncompressed_length((const char *)src, len, &n) != SNAPPY_OK)
		return CODEC_E_CORRUPT;
	if (n > dst_size)
		/* a length that so few bytes cannot give is a lie, not a large block: at most 64
		 * for 3 */
		return n / 22 > len ? CODEC_E_CORRUPT : CODEC_E_LARGE;
	if (snappy_uncompress((const char *)src, len, (char *)dst, &n) != SNAPPY_OK)
		return CODEC_E_CORRUPT;
	return (int64_t)n;
}

/* snappy-java's stream: magic, version, compatible version, then blocks with an int32 length before
 * each. */
static const uint8_t xerial_magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
#define XERIAL_HEADER 16u
#define XERIAL_BLOCK 32768u /* bytes before compression, as snappy-java cuts them */

static int64_t snappy_decompress(const uint8_t *src, size_t len, uint8_t *dst, size_t dst_size)
{
	if (len < sizeof(xerial_magic) || memcmp(src, xerial_magic, sizeof(xerial_magic)) != 0)
		return snappy_block(src, len, dst, dst_size);
	if (len < XERIAL_HEADER)
		return CODEC_E_CORRUPT;
	struct rd r = rd_of(src + XERIAL_HEADER, len - XERIAL_HEADER);
	size_t done = 0;
	while (rd_left(&r) > 0) {
		uint32_t n = rd_be32(&r);
		const uint8_t *block = rd_take(&r, n);
		if (!block)
			return CODEC_E_CORRUPT;
		int64_t got = snappy_block(block, n, dst + done, dst_size - done);
		if (got < 0)
			return got;
		done += (size_t)got;
	}
	return (int64_t)done;
}

static int64_t lz4_decompress(
	struct codec_ctx *c, const uint8_t *src, size_t len, uint8_t *dst, size_t dst_size)
{
	const LZ4F_decompressOptions_t stay = {.stableDst = 1};
	uint8_t probe;
	size_t done = 0, used = 0, hint = 1;
	LZ4F_resetDecompressionContext(c->lz4);
	while (used < len) {
		bool room = done < dst_size;
		size_t in = len - used;
		size_t out = room ? dst_size - done : 1;
		hint = LZ4F_decompress(c->lz4, room ? dst + done : &probe, &out, src + used, &in,
			room ? &stay : NULL);
		if (LZ4F_isError(hint))
			return CODEC_E_CORRUPT;
		if (out && !room)
			return CODEC_E_LARGE;
		if (in == 0 && out == 0)
			return room ? CODEC_E_CORRUPT : CODEC_E_LARGE;
		done += out;
		used += in;
	}
	while (hint != 0 && done < dst_size) { /* what the decoder still holds back */
		size_t in = 0, out = dst_size - done;
		hint = LZ4F_decompress(c->lz4, dst + done, &out, src + len, &in, &stay);
		if (LZ4F_isError(hint) || out == 0)
			break;
		done += out;
	}
	return hint == 0 && len > 0 ? (int64_t)done : CODEC_E_CORRUPT;
}

static int64_t zstd_decompress(
	struct codec_ctx *c, const void *src, size_t len, void *dst, size_t dst_size)
{
	if (len == 0)
		return CODEC_E_CORRUPT;
	size_t n = ZSTD_decompressDCtx(c->zstd, dst, dst_size, src, len);
	if (!ZSTD_isError(n))
		return (int64_t)n;
	switch (ZSTD_getErrorCode(n)) {
	case ZSTD_error_dstSize_tooSmall:
		return CODEC_E_LARGE;
	case ZSTD_error_memory_allocation:
		return CODEC_E_NOMEM;
	default:
		return CODEC_E_CORRUPT;
	}
}

int64_t codec_decompress(struct codec_ctx *c, enum codec codec, const void *src, size_t len,
	void *dst, size_t dst_size)
{
	if (len > INT32_MAX)
		return CODEC_E_LARGE;
	switch (codec) {
	case CODEC_NONE:
		return none_copy(src, len, dst, dst_size);
	case CODEC_GZIP:
		return gzip_decompress(c, src, len, dst, dst_size);
	case CODEC_SNAPPY:
		return snappy_decompress(src, len, dst, dst_size);
	case CODEC_LZ4:
		return lz4_decompress(c, src, len, dst, dst_size);
	case CODEC_ZSTD:
		return zstd_decompress(c, src, len, dst, dst_size);
	}
	return CODEC_E_UNKNOWN;
}

/* ---- compress ---- */

static LZ4F_preferences_t lz4_preferences(int level)
{
	LZ4F_preferences_t p = LZ4F_INIT_PREFERENCES; /* 64 KiB blocks, as in Kafka's client */
	p.frameInfo.blockSizeID = LZ4F_max64KB;
	p.frameInfo.blockMode = LZ4F_blockIndependent;
	p.compressionLevel = level;
	return p;
}

size_t codec_compress_bound(enum codec codec, size_t len)
{
	switch (codec) {
	case CODEC_NONE:
		return len;
	case CODEC_GZIP:
		return compressBound(len) + 32; /* zlib's wrapper is 6 bytes, gzip's 18 */
	case CODEC_SNAPPY: {
		size_t blocks = len / XERIAL_BLOCK + 1;
		return XERIAL_HEADER + blocks * (4 + snappy_max_compressed_length(XERIAL_BLOCK));
	}
	case CODEC_LZ4: {
		LZ4F_preferences_t p = lz4_preferences(0);
		return LZ4F_compressFrameBound(len, &p);
	}
	case CODEC_ZSTD:
		return ZSTD_compressBound(len);
	}
	return 0;
}

static int64_t gzip_compress(int level, const void *src, size_t len, void *dst, size_t dst_size)
{
	z_stream z = {0};
	if (deflateInit2(&z, level ? level : Z_DEFAULT_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 8,
		    Z_DEFAULT_STRATEGY) != Z_OK)
		return CODEC_E_NOMEM;
	z.next_in = (Bytef *)(uintptr_t)src;
	z.avail_in = (uInt)len;
	z.next_out = dst;
	z.avail_out = (uInt)min_of(dst_size, (size_t)UINT32_MAX);
	int rc = deflate(&z, Z_FINISH);
	size_t n = z.total_out;
	deflateEnd(&z);
	return rc == Z_STREAM_END ? (int64_t)n : CODEC_E_LARGE;
}

static int64_t xerial_compress(const uint8_t *src, size_t len, uint8_t *dst, size_t dst_size)
{
	struct wr w = wr_of(dst, dst_size);
	wr_bytes(&w, xerial_magic, sizeof(xerial_magic));
	wr_be32(&w, 1);
	wr_be32(&w, 1);
	for (size_t at = 0; at < len; at += XERIAL_BLOCK) {
		size_t n = min_of(len - at, (size_t)XERIAL_BLOCK);
		size_t out = snappy_max_compressed_length(n);
		uint8_t *size = wr_claim(&w, 4);
		if (!size || out > (size_t)(w.end - w.p))
			return CODEC_E_LARGE;
		if (snappy_compress((const char *)src + at, n, (char *)w.p, &out) != SNAPPY_OK)
			return CODEC_E_CORRUPT;
		be32_put(size, (uint32_t)out);
		wr_claim(&w, out);
	}
	return w.full ? CODEC_E_LARGE : (int64_t)wr_len(&w);
}

static int64_t lz4_compress(int level, const void *src, size_t len, void *dst, size_t dst_size)
{
	LZ4F_preferences_t p = lz4_preferences(level);
	size_t n = LZ4F_compressFrame(dst, dst_size, src, len, &p);
	return LZ4F_isError(n) ? CODEC_E_LARGE : (int64_t)n;
}

static int64_t zstd_compress(int level, const void *src, size_t len, void *dst, size_t dst_size)
{
	size_t n = ZSTD_compress(dst, dst_size, src, len, level ? level : ZSTD_CLEVEL_DEFAULT);
	return ZSTD_isError(n) ? CODEC_E_LARGE : (int64_t)n;
}

int64_t codec_compress(
	enum codec codec, int level, const void *src, size_t len, void *dst, size_t dst_size)
{
	if (len > INT32_MAX)
		return CODEC_E_LARGE;
	switch (codec) {
	case CODEC_NONE:
		return none_copy(src, len, dst, dst_size);
	case CODEC_GZIP:
		return gzip_compress(level, src, len, dst, dst_size);
	case CODEC_SNAPPY:
		return xerial_compress(src, len, dst, dst_size);
	case CODEC_LZ4:
		return lz4_compress(level, src, len, dst, dst_size);
	case CODEC_ZSTD:
		return zstd_compress(level, src, len, dst, dst_size);
	}
	return CODEC_E_UNKNOWN;
}
