/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_CRC_H
#define MR_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

#include <isa-l/crc.h>

/*
 * CRC-32C (Castagnoli, RFC 3720 B.4), as Kafka's record batch and our own formats use it. Start
 * with crc = 0; feed the result back in to go on over more bytes.
 */
static inline uint32_t crc32c(uint32_t crc, const void *p, size_t len)
{
	return ~crc32_iscsi((unsigned char *)(uintptr_t)p, (int)len, ~crc);
}

#endif
