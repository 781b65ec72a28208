/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_INSPECT_OUT_H
#define MR_TOOLS_INSPECT_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/uuid.h"

/*
 * One stream of named values, printed as JSON or for people: objects as indented `name: value`
 * lines, lists as tables whose rows are lines. A list inside a row is a table below that line.
 */
#define OUT_DEPTH 8
#define OUT_LINE 1024

enum out_kind { OUT_OBJECT, OUT_LIST, OUT_ROW };

struct out_level {
	enum out_kind kind;
	bool any;	  /* it has a member */
	bool flushed;	  /* a row whose line has been printed */
	bool uneven;	  /* a list whose rows differ in what they have */
	const char *list; /* its name */
};

struct out {
	FILE *f;
	bool json;
	uint32_t depth; /* levels that are open */
	struct out_level levels[OUT_DEPTH];
	const char *headed[OUT_DEPTH]; /* list whose header was printed last at this depth */
	char head[OUT_LINE];	       /* the row being made */
	char line[OUT_LINE];
	size_t head_len;
	size_t line_len;
};

/* Begins; the outermost object is open. */
void out_begin(struct out *o, FILE *f, bool json);
/* Ends. False when something could not be written. */
bool out_end(struct out *o);

void out_object(struct out *o, const char *name);
void out_object_end(struct out *o);
void out_list(struct out *o, const char *name);
/* A list whose rows differ in what they have: text shows `name value` pairs, not a table. */
void out_list_uneven(struct out *o, const char *name);
void out_list_end(struct out *o);
void out_row(struct out *o);
void out_row_end(struct out *o);

/* Values. Names are snake_case, and literals; text shows them as they are. */
void out_text(struct out *o, const char *name, const char *value);
void out_textn(struct out *o, const char *name, const char *value, size_t n);
void out_int(struct out *o, const char *name, int64_t value);
void out_uint(struct out *o, const char *name, uint64_t value);
/* Eight hexadecimal digits (a string in JSON). */
void out_hex(struct out *o, const char *name, uint32_t value);
void out_bool(struct out *o, const char *name, bool value);
/* Milliseconds since 1970: a number in JSON, a date in text. -1: none (null). */
void out_time(struct out *o, const char *name, int64_t ms);
void out_uuid(struct out *o, const char *name, const struct uuid *id);
/* Bytes of a record: printable ones as they are, others as \xNN (JSON: as \u00NN). NULL: null. */
void out_bytes(struct out *o, const char *name, const uint8_t *p, int32_t n);

#endif
