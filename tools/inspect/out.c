/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/inspect/out.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/check.h"

#define BYTES_SHOWN 200 /* of a record's key or value, in text */

void out_begin(struct out *o, FILE *f, bool json)
{
	*o = (struct out){.f = f, .json = json, .depth = 1};
	if (json)
		fputc('{', f);
}

bool out_end(struct out *o)
{
	CHECK(o->depth == 1);
	if (o->json)
		fputs("}\n", o->f);
	return fflush(o->f) == 0 && !ferror(o->f);
}

static struct out_level *out_level(struct out *o)
{
	return &o->levels[o->depth - 1];
}

static void out_push(struct out *o, enum out_kind kind, const char *name)
{
	CHECK(o->depth < OUT_DEPTH);
	struct out_level *l = &o->levels[o->depth++];
	*l = (struct out_level){.kind = kind, .list = name};
}

static void out_pop(struct out *o, enum out_kind kind)
{
	CHECK(o->depth > 1 && out_level(o)->kind == kind);
	o->depth--;
}

/* --- JSON -------------------------------------------------------------------------------- */

static void json_string(FILE *f, const uint8_t *p, size_t n)
{
	fputc('"', f);
	for (size_t i = 0; i < n; i++) {
		uint8_t c = p[i];
		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(f, "\\u%04x", c);
		else
			fputc(c, f);
	}
	fputc('"', f);
}

/* A comma where one is due, and the name of what follows. */
static void json_name(struct out *o, const char *name)
{
	struct out_level *l = out_level(o);
	if (l->any)
		fputc(',', o->f);
	l->any = true;
	if (l->kind == OUT_LIST) {
		fputc('\n', o->f);
		return;
	}
	json_string(o->f, (const uint8_t *)name, strlen(name));
	fputc(':', o->f);
}

/* --- text -------------------------------------------------------------------------------- */

/* Lists and the rows in them stand at the same place. */
static int text_indent(const struct out *o)
{
	int n = 0;
	for (uint32_t i = 1; i < o->depth; i++)
		n += o->levels[i].kind != OUT_ROW ? 2 : 0;
	return n;
}

/* Prints a line without the spaces at its end. */
static void text_line(struct out *o, const char *line)
{
	size_t n = strlen(line);
	while (n > 0 && line[n - 1] == ' ')
		n--;
	fprintf(o->f, "%*s%.*s\n", text_indent(o), "", (int)n, line);
}

/* Prints the line of the innermost row, if that has not been done. */
static void text_flush(struct out *o)
{
	struct out_level *l = out_level(o);
	if (o->json || l->kind != OUT_ROW || l->flushed)
		return;
	const struct out_level *above = &o->levels[o->depth - 2];
	const char **headed = &o->headed[o->depth - 2];
	if (!above->uneven && *headed != above->list) {
		text_line(o, o->head);
		*headed = above->list;
	}
	text_line(o, o->line);
	l->flushed = true;
}

/* Appends value to the line, and its name to the header, at one width. */
static void text_cell(struct out *o, const char *name, const char *value, int least, bool left)
{
	if (o->levels[o->depth - 2].uneven) {
		int n = snprintf(o->line + o->line_len, sizeof(o->line) - o->line_len, "%s%s %s",
			o->line_len ? "  " : "", name, value);
		o->line_len = min_of(o->line_len + (size_t)max_of(n, 0), sizeof(o->line) - 1);
		return;
	}
	int width = max_of((int)strlen(name), least);
	const char *gap = o->line_len ? "  " : "";
	char *head = o->head + o->head_len, *line = o->line + o->line_len;
	size_t head_room = sizeof(o->head) - o->head_len, line_room = sizeof(o->line) - o->line_len;
	int h = left ? snprintf(head, head_room, "%s%-*s", gap, width, name)
		     : snprintf(head, head_room, "%s%*s", gap, width, name);
	int n = left ? snprintf(line, line_room, "%s%-*s", gap, width, value)
		     : snprintf(line, line_room, "%s%*s", gap, width, value);
	o->head_len = min_of(o->head_len + (size_t)max_of(h, 0), sizeof(o->head) - 1);
	o->line_len = min_of(o->line_len + (size_t)max_of(n, 0), sizeof(o->line) - 1);
}

static void text_value(struct out *o, const char *name, const char *value, int least, bool left)
{
	if (out_level(o)->kind == OUT_ROW)
		text_cell(o, name, value, least, left);
	else
		fprintf(o->f, "%*s%s: %s\n", text_indent(o), "", name, value);
}

/* --- structure --------------------------------------------------------------------------- */

void out_object(struct out *o, const char *name)
{
	if (o->json) {
		json_name(o, name);
		fputc('{', o->f);
	} else {
		text_flush(o);
		fprintf(o->f, "%*s%s:\n", text_indent(o), "", name);
	}
	out_push(o, OUT_OBJECT, name);
}

void out_object_end(struct out *o)
{
	out_pop(o, OUT_OBJECT);
	if (o->json)
		fputc('}', o->f);
}

void out_list(struct out *o, const char *name)
{
	bool in_row = out_level(o)->kind == OUT_ROW;
	if (o->json) {
		json_name(o, name);
		fputc('[', o->f);
	} else {
		text_flush(o);
		if (!in_row)
			fprintf(o->f, "%*s%s:\n", text_indent(o), "", name);
	}
	if (!in_row)
		o->headed[o->depth] = NULL;
	out_push(o, OUT_LIST, name);
}

void out_list_uneven(struct out *o, const char *name)
{
	out_list(o, name);
	out_level(o)->uneven = true;
}

void out_list_end(struct out *o)
{
	if (!o->json && !out_level(o)->any && o->levels[o->depth - 2].kind != OUT_ROW)
		fprintf(o->f, "%*snone\n", text_indent(o), "");
	out_pop(o, OUT_LIST);
	if (o->json)
		fputc(']', o->f);
}

void out_row(struct out *o)
{
	if (o->json) {
		json_name(o, "");
		fputc('{', o->f);
	}
	out_level(o)->any = true;
	out_push(o, OUT_ROW, "");
	o->head_len = o->line_len = 0;
	o->head[0] = o->line[0] = 0;
}

void out_row_end(struct out *o)
{
	text_flush(o);
	out_pop(o, OUT_ROW);
	if (o->json)
		fputc('}', o->f);
}

/* --- values ------------------------------------------------------------------------------ */

void out_textn(struct out *o, const char *name, const char *value, size_t n)
{
	if (o->json) {
		json_name(o, name);
		json_string(o->f, (const uint8_t *)value, n);
		return;
	}
	char buf[OUT_LINE];
	n = min_of(n, sizeof(buf) - 1);
	for (size_t i = 0; i < n; i++)
		buf[i] = value[i] >= 0x20 && value[i] < 0x7f ? value[i] : '?';
	buf[n] = 0;
	text_value(o, name, buf, 14, true);
}

void out_text(struct out *o, const char *name, const char *value)
{
	out_textn(o, name, value, strlen(value));
}

/* A value that JSON shows like text does. */
__attribute__((format(printf, 4, 5))) static void out_plain(
	struct out *o, const char *name, int least, const char *format, ...)
{
	char buf[64];
	va_list args;
	va_start(args, format);
	vsnprintf(buf, sizeof(buf), format, args);
	va_end(args);
	if (o->json) {
		json_name(o, name);
		fputs(buf, o->f);
	} else {
		text_value(o, name, buf, least, false);
	}
}

void out_int(struct out *o, const char *name, int64_t value)
{
	out_plain(o, name, 10, "%" PRId64, value);
}

void out_uint(struct out *o, const char *name, uint64_t value)
{
	out_plain(o, name, 10, "%" PRIu64, value);
}

void out_hex(struct out *o, const char *name, uint32_t value)
{
	char buf[9];
	snprintf(buf, sizeof(buf), "%08x", value);
	out_text(o, name, buf);
}

void out_bool(struct out *o, const char *name, bool value)
{
	if (o->json)
		out_plain(o, name, 0, "%s", value ? "true" : "false");
	else
		text_value(o, name, value ? "yes" : "no", 3, true);
}

void out_time(struct out *o, const char *name, int64_t ms)
{
	char buf[64] = "-";
	struct tm tm;
	if (o->json) {
		if (ms == -1)
			out_plain(o, name, 0, "null");
		else
			out_int(o, name, ms);
		return;
	}
	time_t s = (time_t)(ms / 1000 - (ms % 1000 < 0));
	int rest = (int)(((ms % 1000) + 1000) % 1000);
	if (ms != -1 && gmtime_r(&s, &tm) && tm.tm_year <= 9999 - 1900 && tm.tm_year >= 0)
		snprintf(buf, sizeof(buf), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
			tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, rest);
	else if (ms != -1)
		snprintf(buf, sizeof(buf), "%" PRId64, ms);
	text_value(o, name, buf, 24, true);
}

void out_uuid(struct out *o, const char *name, const struct uuid *id)
{
	char buf[2 * sizeof(id->b) + 1];
	for (size_t i = 0; i < sizeof(id->b); i++)
		snprintf(buf + 2 * i, 3, "%02x", id->b[i]);
	if (o->json)
		out_text(o, name, buf);
	else
		text_value(o, name, buf, 2 * sizeof(id->b), true);
}

void out_bytes(struct out *o, const char *name, const uint8_t *p, int32_t n)
{
	if (o->json) {
		json_name(o, name);
		if (p && n >= 0)
			json_string(o->f, p, (size_t)n);
		else
			fputs("null", o->f);
		return;
	}
	char buf[4 * BYTES_SHOWN + 4];
	size_t at = 0;
	for (int32_t i = 0; p && i < min_of(n, BYTES_SHOWN); i++) {
		bool plain = p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\';
		at += (size_t)snprintf(buf + at, sizeof(buf) - at, plain ? "%c" : "\\x%02x", p[i]);
	}
	snprintf(buf + at, sizeof(buf) - at, "%s", !p ? "null" : n > BYTES_SHOWN ? "..." : "");
	text_value(o, name, buf, 16, true);
}
