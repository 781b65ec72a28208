/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_ARGS_H
#define MR_TOOLS_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Command lines, read by a table of what each command takes. */

#define ARGS_GIVEN 256
#define ARGS_TEXT 32000 /* bytes of an argument; Kafka's strings have at most 32767 */

enum opt_kind { OPT_FLAG, OPT_TEXT, OPT_INT, OPT_LIST /* text, may be given more than once */ };

/* One option of a command; `value` is how help shows what it takes. */
struct opt {
	const char *name; /* without its dashes */
	enum opt_kind kind;
	const char *value;
	const char *help;
	const char *choices; /* the only texts it takes, between spaces; NULL: any */
	int64_t min;	     /* OPT_INT */
	int64_t max;
};

struct args_given {
	const struct opt *opt;
	const char *text;
	int64_t number;
};

/* A command line that has been read. Texts are borrowed from argv. */
struct args {
	struct args_given given[ARGS_GIVEN];
	int given_count;
	char **operands;
	int operand_count;
	char error[200];
};

/*
 * Reads argv[0..argc): options of either list (NULL-named entries end them) in any place, `--name
 * value` or `--name=value`, all else is an operand; `--` ends the options. Moves the operands to
 * the front of argv. False: args->error says why.
 */
bool args_parse(
	struct args *a, int argc, char **argv, const struct opt *own, const struct opt *common);
bool args_flag(const struct args *a, const char *name);
/* The last text given; `otherwise` when there is none. */
const char *args_text(const struct args *a, const char *name, const char *otherwise);
int64_t args_int(const struct args *a, const char *name, int64_t otherwise);
/* The next text of an option from *at on, which begins at 0; NULL: no more. */
const char *args_next(const struct args *a, const char *name, int *at);

/* A decimal number, all of the text. */
bool number_parse(const char *text, int64_t *out);
/*
 * A point in time as milliseconds since 1970: `2026-01-31`, `2026-01-31T10:00:00Z` (UTC, with or
 * without fraction or Z), milliseconds, or a while before now: `-90s -15m -2h -7d`.
 */
bool time_parse(const char *text, int64_t now_ms, int64_t *out);
/*
 * `name=value` apart: *value is after the first '='. The length of the name, 0 when there is no '='
 * or no name.
 */
size_t pair_split(const char *text, const char **value);

#endif
