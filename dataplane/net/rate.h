/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_NET_RATE_H
#define MR_NET_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* So many per second: a budget that is refilled at each full second of the time it is given. */
struct rate {
	uint64_t second;
	uint32_t left;
};

/* Takes one of per_s; false when this second's budget is used up. */
static inline bool rate_take(struct rate *r, uint64_t now_ns, uint32_t per_s)
{
	uint64_t second = now_ns / 1000000000ull + 1;
	if (r->second != second) {
		r->second = second;
		r->left = per_s;
	}
	if (r->left == 0)
		return false;
	r->left--;
	return true;
}

#endif
