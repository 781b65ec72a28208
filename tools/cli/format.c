/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/format.h"

#include <inttypes.h>

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* The byte of an escape whose backslash is at p; *used is its length. -1: there is no such one. */
static int escape(const char *p, int *used)
{
	*used = 2;
	switch (p[1]) {
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case 'r':
		return '\r';
	case '0':
		return 0;
	case '\\':
		return '\\';
	case 'x':
		*used = 4;
		return hex_digit(p[2]) < 0 || hex_digit(p[3]) < 0
			       ? -1
			       : 16 * hex_digit(p[2]) + hex_digit(p[3]);
	default:
		return -1;
	}
}

bool format_check(const char *format, const char **bad)
{
	for (const char *p = format; *p; p++) {
		int used;
		*bad = p;
		if (*p == '\\') {
			if (escape(p, &used) < 0)
				return false;
			p += used - 1;
		} else if (*p == '%') {
			if (!p[1] || !strchr("tpoTkKvVh%", p[1]))
				return false;
			p++;
		}
	}
	return true;
}

static void put(FILE *f, const void *p, int32_t n)
{
	if (n > 0)
		fwrite(p, 1, (size_t)n, f);
}

/* key=value,key=value */
static void print_headers(FILE *f, const struct batch_record *rec)
{
	struct batch_record r = *rec;
	struct kstr key;
	struct kbytes value;
	for (int i = 0; batch_header_next(&r, &key, &value) == 1; i++) {
		if (i)
			fputc(',', f);
		put(f, key.p, key.len);
		fputc('=', f);
		put(f, value.p, value.len);
	}
}

static void print_field(
	FILE *f, char what, const char *topic, int32_t partition, const struct batch_record *rec)
{
	switch (what) {
	case 't':
		fputs(topic, f);
		break;
	case 'p':
		fprintf(f, "%" PRId32, partition);
		break;
	case 'o':
		fprintf(f, "%" PRId64, rec->offset);
		break;
	case 'T':
		fprintf(f, "%" PRId64, rec->timestamp);
		break;
	case 'k':
		put(f, rec->key.p, rec->key.len);
		break;
	case 'K':
		fprintf(f, "%" PRId32, rec->key.len);
		break;
	case 'v':
		put(f, rec->value.p, rec->value.len);
		break;
	case 'V':
		fprintf(f, "%" PRId32, rec->value.len);
		break;
	case 'h':
		print_headers(f, rec);
		break;
	default:
		fputc('%', f);
	}
}

void format_print(FILE *f, const char *format, const char *topic, int32_t partition,
	const struct batch_record *rec)
{
	for (const char *p = format; *p; p++) {
		int used;
		if (*p == '\\') {
			fputc(escape(p, &used), f);
			p += used - 1;
		} else if (*p == '%') {
			print_field(f, *++p, topic, partition, rec);
		} else {
			fputc(*p, f);
		}
	}
}

/* --- JSON -------------------------------------------------------------------------------- */

/* Length of the UTF-8 sequence at p (RFC 3629), 0: it is none. */
static int utf8_len(const uint8_t *p, int32_t left)
{
	int n = p[0] < 0x80   ? 1
		: p[0] < 0xc2 ? 0
		: p[0] < 0xe0 ? 2
		: p[0] < 0xf0 ? 3
		: p[0] < 0xf5 ? 4
			      : 0;
	if (n > left)
		return 0;
	for (int i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if (n > 2 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
			     (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)))
		return 0;
	return n;
}

static bool is_utf8(const uint8_t *p, int32_t n)
{
	for (int32_t i = 0; i < n;) {
		int len = utf8_len(p + i, n - i);
		if (!len)
			return false;
		i += len;
	}
	return true;
}

static void json_text(FILE *f, const uint8_t *p, int32_t n)
{
	fputc('"', f);
	for (int32_t i = 0; i < n; i++) {
		if (p[i] == '"' || p[i] == '\\')
			fprintf(f, "\\%c", p[i]);
		else if (p[i] < 0x20 || p[i] == 0x7f)
			fprintf(f, "\\u%04x", p[i]);
		else
			fputc(p[i], f);
	}
	fputc('"', f);
}

/* RFC 4648, with padding. */
static void json_base64(FILE *f, const uint8_t *p, int32_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	fputc('"', f);
	for (int32_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
			     (i + 2 < n ? p[i + 2] : 0);
		fputc(digits[v >> 18], f);
		fputc(digits[v >> 12 & 63], f);
		fputc(i + 1 < n ? digits[v >> 6 & 63] : '=', f);
		fputc(i + 2 < n ? digits[v & 63] : '=', f);
	}
	fputc('"', f);
}

/* A member of an object, after a comma. */
static void json_bytes(FILE *f, const char *name, const uint8_t *p, int32_t n)
{
	if (n < 0) {
		fprintf(f, ",\"%s\":null", name);
	} else if (is_utf8(p, n)) {
		fprintf(f, ",\"%s\":", name);
		json_text(f, p, n);
	} else {
		fprintf(f, ",\"%s_base64\":", name);
		json_base64(f, p, n);
	}
}

void format_json(FILE *f, const char *topic, int32_t partition, const struct batch_record *rec)
{
	struct batch_record r = *rec;
	struct kstr key;
	struct kbytes value;
	fputs("{\"topic\":", f);
	json_text(f, (const uint8_t *)topic, (int32_t)strlen(topic));
	fprintf(f, ",\"partition\":%" PRId32 ",\"offset\":%" PRId64 ",\"timestamp\":%" PRId64,
		partition, rec->offset, rec->timestamp);
	json_bytes(f, "key", rec->key.p, rec->key.len);
	json_bytes(f, "value", rec->value.p, rec->value.len);
	fputs(",\"headers\":[", f);
	for (int i = 0; batch_header_next(&r, &key, &value) == 1; i++) {
		fprintf(f, "%s{\"index\":%d", i ? "," : "", i);
		json_bytes(f, "key", (const uint8_t *)key.p, key.len);
		json_bytes(f, "value", value.p, value.len);
		fputc('}', f);
	}
	fputs("]}\n", f);
}
