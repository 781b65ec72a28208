/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_TAPE_H
#define MR_BASE_TAPE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Records of bytes from one thread to another, copied: for what is told by the way and may be lost
 * (a capture of packets), never for messages. A bounded ring with one writer and one reader; what
 * does not fit is counted and gone, and nobody waits.
 */
struct tape;

struct tape_record {
	uint64_t at_ns; /* monotonic */
	uint32_t len;	/* as it was */
	uint32_t kept;	/* bytes of it on the tape; at most TAPE_RECORD_MAX */
	uint32_t tag;	/* the writer's */
};

#define TAPE_RECORD_MAX 16384u

/* Frames to be captured. */
struct capture_order {
	struct tape *tape;   /* borrowed until the next order; NULL: none */
	uint32_t snap_bytes; /* of each frame */
	bool one_peer;	     /* only frames from or to peer_ip */
	uint8_t peer_ip[16]; /* IPv4 as ::ffff:a.b.c.d */
};

/* Room for about `bytes`, a power of two and at least 64 KiB. NULL: memory is short. */
struct tape *tape_create(uint32_t bytes);
/* When neither thread uses it any more. */
void tape_destroy(struct tape *t);
/* Writer. p has r->kept bytes. False: there was no room. */
bool tape_put(struct tape *t, const struct tape_record *r, const uint8_t *p);
/* Reader. Looks at the oldest record without taking it; false: there is none. */
bool tape_peek(const struct tape *t, struct tape_record *r);
/* Reader. Takes the record that tape_peek has shown; p has room for its `kept` bytes. */
void tape_take(struct tape *t, uint8_t *p);
/* Anyone. Records that found no room. */
uint64_t tape_lost(const struct tape *t);

#endif
