/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admin/pcapng.h"

#include <string.h>

#include "base/check.h"

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_STATISTICS 5u
#define BLOCK_PACKET 6u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_ETHERNET 1u
#define OPT_END 0u
#define OPT_IF_NAME 2u
#define OPT_IF_TSRESOL 9u
#define OPT_EPB_FLAGS 2u
#define OPT_ISB_IFRECV 4u
#define OPT_ISB_IFDROP 5u
#define NAME_MAX_BYTES 63u

/* A block under construction. */
struct block {
	uint8_t *p;
	size_t len;
};

static void put(struct block *b, const void *p, size_t n)
{
	memcpy(b->p + b->len, p, n);
	b->len += n;
}

static void put16(struct block *b, uint32_t v)
{
	uint16_t x = (uint16_t)v;
	put(b, &x, sizeof(x));
}

static void put32(struct block *b, uint32_t v)
{
	put(b, &v, sizeof(v));
}

/* To the next multiple of four. */
static void pad(struct block *b)
{
	while (b->len % 4)
		b->p[b->len++] = 0;
}

static void put_option(struct block *b, uint32_t code, const void *p, uint32_t n)
{
	put16(b, code);
	put16(b, n);
	put(b, p, n);
	pad(b);
}

/* Times are in two halves, the upper one first. */
static void put_time(struct block *b, uint64_t wall_ns)
{
	put32(b, (uint32_t)(wall_ns >> 32));
	put32(b, (uint32_t)wall_ns);
}

static struct block block_begin(uint8_t *p, uint32_t type)
{
	struct block b = {.p = p};
	put32(&b, type);
	put32(&b, 0); /* the length; block_end */
	return b;
}

static size_t block_end(struct block *b)
{
	uint32_t total = (uint32_t)b->len + 4;
	CHECK(total % 4 == 0);
	memcpy(b->p + 4, &total, sizeof(total));
	put32(b, total);
	return b->len;
}

size_t pcapng_begin(uint8_t *p, const char *interface_name, uint32_t snap_bytes)
{
	const uint8_t nanoseconds = 9; /* 10^-9 */
	const uint64_t unknown = UINT64_MAX;
	struct block s = block_begin(p, BLOCK_SECTION);
	put32(&s, BYTE_ORDER_MAGIC);
	put16(&s, 1); /* version 1.0 */
	put16(&s, 0);
	put(&s, &unknown, sizeof(unknown)); /* length of the section */
	size_t n = block_end(&s);
	struct block i = block_begin(p + n, BLOCK_INTERFACE);
	put16(&i, LINKTYPE_ETHERNET);
	put16(&i, 0);
	put32(&i, snap_bytes);
	put_option(&i, OPT_IF_NAME, interface_name,
		(uint32_t)min_of(strlen(interface_name), (size_t)NAME_MAX_BYTES));
	put_option(&i, OPT_IF_TSRESOL, &nanoseconds, 1);
	put_option(&i, OPT_END, "", 0);
	return n + block_end(&i);
}

size_t pcapng_frame(uint8_t *p, uint64_t wall_ns, enum pcapng_direction direction,
	const uint8_t *frame, uint32_t kept, uint32_t len)
{
	const uint32_t flags = direction;
	struct block b = block_begin(p, BLOCK_PACKET);
	put32(&b, 0); /* interface */
	put_time(&b, wall_ns);
	put32(&b, kept);
	put32(&b, len);
	put(&b, frame, kept);
	pad(&b);
	put_option(&b, OPT_EPB_FLAGS, &flags, sizeof(flags));
	put_option(&b, OPT_END, "", 0);
	return block_end(&b);
}

size_t pcapng_end(uint8_t *p, uint64_t wall_ns, uint64_t frames, uint64_t lost)
{
	struct block b = block_begin(p, BLOCK_STATISTICS);
	put32(&b, 0); /* interface */
	put_time(&b, wall_ns);
	put_option(&b, OPT_ISB_IFRECV, &frames, sizeof(frames));
	put_option(&b, OPT_ISB_IFDROP, &lost, sizeof(lost));
	put_option(&b, OPT_END, "", 0);
	return block_end(&b);
}
