/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: defaults, .properties text, --set. */
#include "control/config/config_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

/* A file larger than this is not a configuration. */
#define FILE_MAX_BYTES (1 << 20)

void config_defaults(struct config *c)
{
	memset(c, 0, sizeof(*c));
	char err[CONFIG_ERR_MAX];
	for (int i = 0; i < CONFIG_KEY_COUNT; i++)
		CHECK(config_value_parse(c, i, config_table[i].def, err, sizeof(err)) == 0);
}

/* Where a value came from, for messages. */
struct place {
	const char *name;
	unsigned line; /* 0: none */
};

static void place_text(const struct place *p, char *out, size_t size)
{
	if (p->line)
		snprintf(out, size, "%s:%u", p->name, p->line);
	else
		snprintf(out, size, "%s", p->name);
}

static bool has_control_char(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

#define BLANKS " \t\f\r\n"

/* Without the blanks around it, as Kafka reads values; in place. */
static char *trim(char *s)
{
	s += strspn(s, BLANKS);
	size_t n = strlen(s);
	while (n > 0 && strchr(BLANKS, s[n - 1]))
		n--;
	s[n] = 0;
	return s;
}

static int unknown_key(const struct place *p, const char *key, char *err, size_t size)
{
	char where[CONFIG_TEXT_MAX];
	place_text(p, where, sizeof(where));
	if (config_is_refused(key))
		snprintf(err, size,
			"%s: %s is not supported by this version, which serves plain text without "
			"authentication; ignoring it would leave the broker open",
			where, key);
	else
		snprintf(err, size, "%s: unknown key \"%.80s\"; did you mean \"%s\"?", where, key,
			config_nearest_key(key));
	return -1;
}

static int assign(struct config *c, const struct place *p, const char *key, char *value, char *err,
	size_t size)
{
	int k = config_find_key(key);
	int ig = k < 0 ? config_find_ignored(key) : -1;
	if (k < 0 && ig < 0)
		return unknown_key(p, key, err, size);
	if (ig >= 0) {
		c->ignored_seen[ig] = true;
		return 0;
	}
	value = trim(value);
	char why[256];
	int r = -1;
	if (has_control_char(value))
		snprintf(why, sizeof(why), "must not contain control characters");
	else
		r = config_value_parse(c, k, value, why, sizeof(why));
	if (r < 0) {
		char where[CONFIG_TEXT_MAX];
		place_text(p, where, sizeof(where));
		snprintf(err, size, "%s: %s=%.100s: %s", where, key, value, why);
		return -1;
	}
	c->given[k] = true;
	return 0;
}

/* ---- .properties ---- */

struct props {
	const char *p;
	const char *end;
	unsigned line; /* of p, from 1 */
};

static bool is_blank(char ch)
{
	return ch == ' ' || ch == '\t' || ch == '\f';
}
static bool is_eol(char ch)
{
	return ch == '\n' || ch == '\r';
}

static void skip_blanks(struct props *s)
{
	while (s->p < s->end && is_blank(*s->p))
		s->p++;
}

/* Over one line end: \n, \r or \r\n. */
static void skip_eol(struct props *s)
{
	if (s->p == s->end)
		return;
	if (*s->p == '\r' && s->end - s->p > 1 && s->p[1] == '\n')
		s->p++;
	s->p++;
	s->line++;
}

/* To the first character of a line that says something; false at the end. */
static bool next_line(struct props *s)
{
	for (;;) {
		skip_blanks(s);
		if (s->p == s->end)
			return false;
		if (*s->p == '#' || *s->p == '!')
			while (s->p < s->end && !is_eol(*s->p))
				s->p++;
		else if (!is_eol(*s->p))
			return true;
		skip_eol(s);
	}
}

/*
 * Copies one logical line, continuation lines joined and escapes kept. -1: longer than size - 1, or
 * it has a zero byte.
 */
static int logical_line(struct props *s, char *out, size_t size)
{
	size_t n = 0;
	while (s->p < s->end && !is_eol(*s->p)) {
		size_t take = 1;
		if (*s->p == '\\') {
			if (s->end - s->p == 1) {
				s->p++;
				break; /* a lone backslash at the very end says nothing */
			}
			if (is_eol(s->p[1])) {
				s->p++;
				skip_eol(s);
				skip_blanks(s);
				continue;
			}
			take = 2;
		}
		if (n + take >= size)
			return -1;
		for (; take > 0; take--) {
			if (*s->p == 0)
				return -1;
			out[n++] = *s->p++;
		}
	}
	out[n] = 0;
	return 0;
}

static int hex4(const char *p, unsigned *out)
{
	unsigned v = 0;
	for (int i = 0; i < 4; i++) {
		char ch = p[i];
		unsigned d;
		if (ch >= '0' && ch <= '9')
			d = (unsigned)(ch - '0');
		else if ((ch | 32) >= 'a' && (ch | 32) <= 'f')
			d = (unsigned)((ch | 32) - 'a') + 10;
		else
			return -1;
		v = v << 4 | d;
	}
	*out = v;
	return 0;
}

/* UTF-8 of a character of the basic plane; returns its length (at most 3, never more than \uXXXX
 * took). */
static size_t utf8_put(char *out, unsigned v)
{
	if (v < 0x80) {
		out[0] = (char)v;
		return 1;
	}
	if (v < 0x800) {
		out[0] = (char)(0xc0 | v >> 6);
		out[1] = (char)(0x80 | (v & 63));
		return 2;
	}
	out[0] = (char)(0xe0 | v >> 12);
	out[1] = (char)(0x80 | (v >> 6 & 63));
	out[2] = (char)(0x80 | (v & 63));
	return 3;
}

/* Replaces the escapes of [b, e) and terminates, in place. -1: a \u that is not one, or \u0000. */
static int unescape(char *b, const char *e)
{
	char *out = b;
	for (const char *p = b; p < e; p++) {
		if (*p != '\\' || p + 1 == e) {
			*out++ = *p;
			continue;
		}
		p++;
		if (*p == 'u') {
			unsigned v;
			if (e - p < 5 || hex4(p + 1, &v) < 0 || v == 0)
				return -1;
			p += 4;
			out += utf8_put(out, v);
			continue;
		}
		const char *at = strchr("tnrf", *p);
		*out++ = at ? "\t\n\r\f"[at - "tnrf"] : *p;
	}
	*out = 0;
	return 0;
}

/* Splits a logical line at the first unescaped `=`, `:` or blank. */
static void split(char *line, char **key_end, char **value)
{
	char *p = line;
	while (*p && *p != '=' && *p != ':' && !is_blank(*p))
		p += *p == '\\' && p[1] ? 2 : 1;
	*key_end = p;
	while (is_blank(*p))
		p++;
	if (*p == '=' || *p == ':')
		p++;
	while (is_blank(*p))
		p++;
	*value = p;
}

static int parse_line(
	struct config *c, const struct place *place, char *line, char *err, size_t size)
{
	char *key_end, *value;
	split(line, &key_end, &value);
	char *value_end = value + strlen(value);
	/* the value first: terminating the key may write over the separator only */
	if (unescape(value, value_end) < 0 || unescape(line, key_end) < 0) {
		char where[CONFIG_TEXT_MAX];
		place_text(place, where, sizeof(where));
		snprintf(err, size, "%s: \\u must be followed by four hexadecimal digits, not 0000",
			where);
		return -1;
	}
	return assign(c, place, line, value, err, size);
}

int config_parse(struct config *c, const char *name, const char *text, size_t len, char *err,
	size_t err_size)
{
	struct props s = {.p = text, .end = text + len, .line = 1};
	char line[CONFIG_VALUE_MAX];
	while (next_line(&s)) {
		struct place place = {.name = name, .line = s.line};
		if (logical_line(&s, line, sizeof(line)) < 0) {
			snprintf(err, err_size,
				"%s:%u: line has more than %d characters or a zero byte", name,
				place.line, CONFIG_VALUE_MAX - 1);
			return -1;
		}
		if (parse_line(c, &place, line, err, err_size) < 0)
			return -1;
	}
	return 0;
}

/* The whole file on the heap; NULL with a sentence. */
static char *read_file(const char *path, size_t *len, char *err, size_t size)
{
	char *text = NULL;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		goto fail_errno;
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX_BYTES) {
		snprintf(err, size, "%s: not a configuration file: %s", path,
			S_ISREG(st.st_mode) ? "larger than 1 MiB" : "not a regular file");
		goto fail;
	}
	size_t want = (size_t)st.st_size;
	text = malloc(want + 1);
	if (!text)
		goto fail_errno;
	size_t got = 0;
	while (got < want) {
		ssize_t n = read(fd, text + got, want - got);
		if (n < 0)
			goto fail_errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	close(fd);
	*len = got;
	return text;
fail_errno:
	snprintf(err, size, "cannot read the configuration file %s: %s", path, strerror(errno));
fail:
	free(text);
	if (fd >= 0)
		close(fd);
	return NULL;
}

int config_load_file(struct config *c, const char *path, char *err, size_t err_size)
{
	size_t len;
	char *text = read_file(path, &len, err, err_size);
	if (!text)
		return -1;
	int r = config_parse(c, path, text, len, err, err_size);
	free(text);
	return r;
}

int config_set(struct config *c, const char *assignment, char *err, size_t err_size)
{
	struct place place = {.name = "--set"};
	char line[CONFIG_VALUE_MAX];
	const char *eq = strchr(assignment, '=');
	if (!eq || eq == assignment || strlen(assignment) >= sizeof(line)) {
		snprintf(err, err_size, "--set: \"%.80s\" is not key=value", assignment);
		return -1;
	}
	memcpy(line, assignment, strlen(assignment) + 1);
	char *value = line + (eq - assignment);
	*value++ = 0;
	return assign(c, &place, trim(line), value, err, err_size);
}

void config_warn(const struct config *c, void (*fn)(void *arg, const char *sentence), void *arg)
{
	char text[CONFIG_TEXT_MAX];
	for (int i = 0; i < CONFIG_IGNORED_MAX; i++) {
		if (!c->ignored_seen[i])
			continue;
		snprintf(text, sizeof(text), "%s has no meaning here and is ignored",
			config_ignored_pattern(i));
		fn(arg, text);
	}
}
