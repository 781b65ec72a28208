/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/client/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The port after the colon at p, up to end. */
static bool port_parse(const char *p, const char *end, uint16_t *port)
{
	uint32_t n = 0;
	if (p == end)
		return false;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9')
			return false;
		n = n * 10 + (uint32_t)(*p - '0');
		if (n > UINT16_MAX)
			return false;
	}
	*port = (uint16_t)n;
	return n > 0;
}

static bool address_parse(const char *p, const char *end, struct address *out)
{
	const char *host = p, *host_end;
	out->port = ADDRESS_PORT;
	if (p < end && *p == '[') {
		host = p + 1;
		host_end = memchr(host, ']', (size_t)(end - host));
		if (!host_end)
			return false;
		p = host_end + 1;
	} else {
		host_end = memchr(p, ':', (size_t)(end - p));
		p = host_end = host_end ? host_end : end;
	}
	if (p < end && (*p != ':' || !port_parse(p + 1, end, &out->port)))
		return false;
	size_t n = (size_t)(host_end - host);
	if (n == 0 || n >= sizeof(out->host) || memchr(host, ' ', n) || memchr(host, '/', n))
		return false;
	memcpy(out->host, host, n);
	out->host[n] = 0;
	return true;
}

int address_list_parse(const char *text, struct address *out)
{
	int n = 0;
	for (const char *p = text;; p++) {
		const char *end = strchrnul(p, ',');
		if (n == ADDRESS_LIST || !address_parse(p, end, &out[n++]))
			return -1;
		if (!*end)
			return n;
		p = end;
	}
}
