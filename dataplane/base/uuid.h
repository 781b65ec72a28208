/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_UUID_H
#define MR_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Kafka's Uuid: 16 bytes, big-endian on the wire; all zero means none. */
struct uuid {
	uint8_t b[16];
};

static inline bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, 16) == 0;
}
static inline bool uuid_is_zero(const struct uuid *a)
{
	static const struct uuid zero = {{0}};
	return uuid_equal(a, &zero);
}

#endif
