/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/errcode.h"

struct ke_entry {
	const char *name;
	const char *text;
	bool retriable;
};

/* Index: code + 1. */
static const struct ke_entry ke_table[] = {
#define X(n, code, r, t) [(code) + 1] = {.name = #n, .text = t, .retriable = r},
	KE_ERRORS(X)
#undef X
};

static const struct ke_entry *ke_find(int16_t code)
{
	static const struct ke_entry unknown = {.name = "?", .text = "?", .retriable = false};
	if (code < -1 || code > KE_CONTROLLER_ID_NOT_REGISTERED)
		return &unknown;
	return &ke_table[code + 1];
}

const char *ke_name(int16_t code)
{
	return ke_find(code)->name;
}

const char *ke_text(int16_t code)
{
	return ke_find(code)->text;
}

bool ke_retriable(int16_t code)
{
	return ke_find(code)->retriable;
}
