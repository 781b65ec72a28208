/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLIENT_ADDRESS_H
#define MR_TOOLS_CLIENT_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#define ADDRESS_HOST 256
#define ADDRESS_LIST 32
#define ADDRESS_PORT 9092 /* when none is given */

/* Where a broker is: a name or a number, without brackets. */
struct address {
	char host[ADDRESS_HOST];
	uint16_t port;
};

/*
 * Reads `host[:port],host[:port]...`; an IPv6 number stands in brackets. Fills up to ADDRESS_LIST
 * of out; how many, or -1 when the text is not such a list. Any thread.
 */
int address_list_parse(const char *text, struct address *out);

#endif
