/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_GROUP_REGEX_H
#define MR_GROUP_REGEX_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Regular expressions of subscriptions: RE2's syntax, as KIP-848 says, matched in time linear in
 * the text. PURE. Any thread.
 */
#ifdef __cplusplus
extern "C" {
#endif

struct regex;
/* NULL: not a regular expression, or one that would take too much memory. */
struct regex *regex_new(const char *text, size_t len);
void regex_free(struct regex *r);
/* Whether it matches the whole of the text. */
bool regex_matches(const struct regex *r, const char *text, size_t len);

#ifdef __cplusplus
}
#endif

#endif
