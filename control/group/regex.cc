/* SPDX-License-Identifier: Apache-2.0 */
#include "control/group/regex.h"

#include <re2/re2.h>

#include <new>

/* What one compiled expression may take. */
static const int64_t memory_max = 1 << 20;

struct regex {
	RE2 re;
	regex(const re2::StringPiece &text, const RE2::Options &options) : re(text, options)
	{
	}
};

static RE2::Options options()
{
	RE2::Options o(RE2::Quiet);
	o.set_max_mem(memory_max);
	return o;
}

struct regex *regex_new(const char *text, size_t len)
{
	struct regex *r = new (std::nothrow) regex(re2::StringPiece(text, len), options());
	if (r && !r->re.ok()) {
		delete r;
		return nullptr;
	}
	return r;
}

void regex_free(struct regex *r)
{
	delete r;
}

bool regex_matches(const struct regex *r, const char *text, size_t len)
{
	return RE2::FullMatch(re2::StringPiece(text, len), r->re);
}
