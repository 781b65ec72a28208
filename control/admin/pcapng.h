/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_ADMIN_PCAPNG_H
#define MR_ADMIN_PCAPNG_H

#include <stddef.h>
#include <stdint.h>

/*
 * The blocks of a pcapng file (draft-ietf-opsawg-pcapng) with one Ethernet interface, in this
 * machine's byte order, times in nanoseconds. Each function writes one piece of the file to p,
 * where there is room for PCAPNG_MAX(bytes of the frame), and returns its length.
 */
#define PCAPNG_MAX(frame_bytes) ((size_t)(frame_bytes) + 128)

enum pcapng_direction { PCAPNG_IN = 1, PCAPNG_OUT = 2 };

/* Section header and interface; name is cut after 63 bytes. */
size_t pcapng_begin(uint8_t *p, const char *interface_name, uint32_t snap_bytes);
/* len: of the frame as it was on the wire; kept: bytes of it at frame. wall_ns: since 1970. */
size_t pcapng_frame(uint8_t *p, uint64_t wall_ns, enum pcapng_direction direction,
	const uint8_t *frame, uint32_t kept, uint32_t len);
/* Statistics: frames that were asked for, and of them those that are missing. */
size_t pcapng_end(uint8_t *p, uint64_t wall_ns, uint64_t frames, uint64_t lost);

#endif
