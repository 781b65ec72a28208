/* SPDX-License-Identifier: Apache-2.0 */
/* Values: text to field and back, by type. */
#include "control/config/config_int.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

int config_choice_index(const char *choices, const char *text, size_t len)
{
	int i = 0;
	for (const char *p = choices; p; i++) {
		const char *bar = strchr(p, '|');
		size_t n = bar ? (size_t)(bar - p) : strlen(p);
		if (n == len && memcmp(p, text, n) == 0)
			return i;
		p = bar ? bar + 1 : NULL;
	}
	return -1;
}

void config_choice_text(const char *choices, int i, char *out, size_t size)
{
	const char *p = choices;
	for (; i > 0; i--)
		p = strchr(p, '|') + 1;
	const char *bar = strchr(p, '|');
	snprintf(out, size, "%.*s", (int)(bar ? bar - p : (long)strlen(p)), p);
}

/* "a|b|c" as "a, b or c". */
static void choices_sentence(const char *choices, char *out, size_t size)
{
	size_t at = 0;
	out[0] = 0;
	for (const char *p = choices; p;) {
		const char *bar = strchr(p, '|');
		int n = (int)(bar ? bar - p : (long)strlen(p));
		const char *glue = p == choices ? "" : bar ? ", " : " or ";
		at += (size_t)snprintf(out + at, size - at, "%s%.*s", glue, n, p);
		if (at >= size)
			return;
		p = bar ? bar + 1 : NULL;
	}
}

struct unit {
	const char *suffix;
	int64_t factor;
};

static const struct unit byte_units[] = {
	{"", 1},
	{"k", 1ll << 10},
	{"kib", 1ll << 10},
	{"m", 1ll << 20},
	{"mib", 1ll << 20},
	{"g", 1ll << 30},
	{"gib", 1ll << 30},
	{"t", 1ll << 40},
	{"tib", 1ll << 40},
};

static const struct unit time_units[] = {
	{"", 1},
	{"ms", 1},
	{"s", 1000},
	{"m", 60000},
	{"h", 3600000},
	{"d", 86400000},
};

/* A whole number with one of the units; false when it is not one or does not fit. */
static bool number_parse(
	const char *text, const struct unit *units, size_t unit_count, int64_t *out)
{
	const char *digits = text + (*text == '-' || *text == '+');
	if (!isdigit((unsigned char)*digits))
		return false;
	char *end;
	errno = 0;
	long long v = strtoll(text, &end, 10);
	if (errno)
		return false;
	for (size_t i = 0; i < unit_count; i++) {
		if (strcasecmp(end, units[i].suffix) != 0)
			continue;
		long long scaled;
		if (__builtin_mul_overflow(v, (long long)units[i].factor, &scaled))
			return false;
		*out = scaled;
		return true;
	}
	return false;
}

static int number_error(const struct config_desc *d, char *err, size_t size)
{
	const char *what = d->type == CONFIG_TYPE_BYTES ? "a number of bytes (k, m, g allowed)"
			   : d->type == CONFIG_TYPE_MS
				   ? "a number of milliseconds (s, m, h, d allowed)"
				   : "a whole number";
	if (d->min == d->max)
		snprintf(err, size, "must be %lld", (long long)d->min);
	else if (d->max == INT64_MAX)
		snprintf(err, size, "must be %s of at least %lld", what, (long long)d->min);
	else
		snprintf(err, size, "must be %s from %lld to %lld", what, (long long)d->min,
			(long long)d->max);
	return -1;
}

static int number_value(
	const struct config_desc *d, const char *text, int64_t *v, char *err, size_t size)
{
	if (*text == 0 && *d->def == 0) {
		*v = CONFIG_UNSET;
		return 0;
	}
	const struct unit *units = d->type == CONFIG_TYPE_MS ? time_units : byte_units;
	size_t n = d->type == CONFIG_TYPE_MS	  ? array_size(time_units)
		   : d->type == CONFIG_TYPE_BYTES ? array_size(byte_units)
						  : 1;
	int64_t got;
	if (!number_parse(text, units, n, &got) || got < d->min || got > d->max)
		return number_error(d, err, size);
	*v = got;
	return 0;
}

/* A number between 0 and 1, as millionths. */
static int ratio_parse(
	const struct config_desc *d, const char *text, int32_t *out, char *err, size_t size)
{
	char *end;
	double v = strtod(text, &end) * 1e6 + 0.5;
	bool plain = text[0] && strspn(text, "0123456789.eE+-") == strlen(text) && !*end;
	if (!plain || v < (double)d->min || v >= (double)d->max + 1) {
		snprintf(err, size, "must be a number from %g to %g", (double)d->min / 1e6,
			(double)d->max / 1e6);
		return -1;
	}
	*out = (int32_t)v;
	return 0;
}

static bool host_char(char ch)
{
	return isalnum((unsigned char)ch) || ch == '.' || ch == '-' || ch == '_';
}

/* host:port, [v6]:port, :port. */
static int host_port_parse(const struct config_desc *d, const char *text, struct config_listener *l,
	char *err, size_t size)
{
	const char *colon = strrchr(text, ':');
	if (!colon || colon[1] == 0) {
		snprintf(err, size, "must end in a port, such as 127.0.0.1:9092");
		return -1;
	}
	int64_t port;
	if (!number_parse(colon + 1, byte_units, 1, &port) || port < d->min || port > 65535) {
		snprintf(err, size, "must have a port from %d to 65535", (int)d->min);
		return -1;
	}
	size_t n = (size_t)(colon - text);
	bool bracketed = n >= 2 && text[0] == '[' && text[n - 1] == ']';
	if (bracketed) {
		text++;
		n -= 2;
	}
	if (n >= sizeof(l->host)) {
		snprintf(err, size, "must have a host of at most %zu characters",
			sizeof(l->host) - 1);
		return -1;
	}
	memcpy(l->host, text, n);
	l->host[n] = 0;
	l->port = (uint16_t)port;
	struct in6_addr v6;
	bool ok = true;
	for (size_t i = 0; i < n && !bracketed; i++)
		ok = ok && host_char(l->host[i]);
	if (bracketed)
		ok = inet_pton(AF_INET6, l->host, &v6) == 1;
	if (!ok) {
		snprintf(err, size,
			"must have a host name, an IPv4 address, or an IPv6 address in [ ]");
		return -1;
	}
	return 0;
}

/* NAME://host:port */
static int listener_parse(const struct config_desc *d, const char *text, struct config_listener *l,
	char *err, size_t size)
{
	const char *sep = strstr(text, "://");
	size_t n = sep ? (size_t)(sep - text) : 0;
	if (n == 0 || n >= sizeof(l->name)) {
		snprintf(err, size, "must be NAME://host:port, such as PLAINTEXT://127.0.0.1:9092");
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)text[i]) && text[i] != '_' && text[i] != '-') {
			snprintf(
				err, size, "must have a listener name of letters, digits, _ and -");
			return -1;
		}
		l->name[i] = (char)toupper((unsigned char)text[i]);
	}
	l->name[n] = 0;
	return host_port_parse(d, sep + 3, l, err, size);
}

/* The next element of a comma separated list, trimmed, into out; false at the end. */
static bool list_next(const char **p, char *out, size_t size)
{
	if (!*p)
		return false;
	const char *comma = strchr(*p, ',');
	const char *b = *p, *e = comma ? comma : b + strlen(b);
	while (b < e && isspace((unsigned char)*b))
		b++;
	while (e > b && isspace((unsigned char)e[-1]))
		e--;
	size_t n = min_of((size_t)(e - b), size - 1);
	memcpy(out, b, n);
	out[n] = 0;
	*p = comma ? comma + 1 : NULL;
	return true;
}

static int listeners_parse(const struct config_desc *d, const char *text,
	struct config_listeners *out, char *err, size_t size)
{
	struct config_listeners got = {0};
	char item[CONFIG_VALUE_MAX];
	const char *p = *text ? text : NULL;
	while (list_next(&p, item, sizeof(item))) {
		if (got.count == CONFIG_MAX_LISTENERS) {
			snprintf(err, size, "must have at most %d listeners", CONFIG_MAX_LISTENERS);
			return -1;
		}
		struct config_listener *l = &got.v[got.count++];
		if (listener_parse(d, item, l, err, size) < 0)
			return -1;
		for (uint32_t i = 0; i + 1 < got.count; i++) {
			if (strcmp(got.v[i].name, l->name) == 0) {
				snprintf(err, size, "must name the listener %s once", l->name);
				return -1;
			}
		}
	}
	if (got.count == 0 && *d->def) {
		snprintf(err, size, "must have at least one listener");
		return -1;
	}
	*out = got;
	return 0;
}

static int admin_listener_parse(const struct config_desc *d, const char *text,
	struct config_listeners *out, char *err, size_t size)
{
	struct config_listeners got = {0};
	if (*text) {
		got.count = 1;
		if (host_port_parse(d, text, &got.v[0], err, size) < 0)
			return -1;
	}
	*out = got;
	return 0;
}

static int dirs_parse(const char *text, struct config_dirs *out, char *err, size_t size)
{
	struct config_dirs got = {0};
	char item[CONFIG_VALUE_MAX];
	const char *p = text;
	while (list_next(&p, item, sizeof(item))) {
		size_t n = strlen(item);
		if (n == 0 || n >= CONFIG_TEXT_MAX || got.count == CONFIG_MAX_DIRS) {
			snprintf(err, size,
				"must be 1 to %d directories, comma separated, each of at most %d "
				"characters",
				CONFIG_MAX_DIRS, CONFIG_TEXT_MAX - 1);
			return -1;
		}
		memcpy(got.path[got.count++], item, n + 1);
	}
	*out = got;
	return 0;
}

/* "2" or "2-5": adds the CPUs; false when it is not that or does not fit. */
static bool cpu_range(const char *text, struct config_cpus *out)
{
	int64_t from, to;
	char low[16];
	const char *dash = strchr(text, '-');
	size_t n = dash ? (size_t)(dash - text) : strlen(text);
	if (n >= sizeof(low))
		return false;
	memcpy(low, text, n);
	low[n] = 0;
	if (!number_parse(low, byte_units, 1, &from))
		return false;
	to = from;
	if (dash && !number_parse(dash + 1, byte_units, 1, &to))
		return false;
	if (from < 0 || to < from || to > 1023)
		return false;
	for (int64_t cpu = from; cpu <= to; cpu++) {
		for (uint32_t i = 0; i < out->count; i++)
			if (out->id[i] == cpu)
				return false;
		if (out->count == CONFIG_MAX_CPUS)
			return false;
		out->id[out->count++] = (uint16_t)cpu;
	}
	return true;
}

static int cpus_parse(const char *text, struct config_cpus *out, char *err, size_t size)
{
	struct config_cpus got = {0};
	char item[CONFIG_VALUE_MAX];
	const char *p = *text ? text : NULL;
	while (list_next(&p, item, sizeof(item))) {
		if (!cpu_range(item, &got)) {
			snprintf(err, size,
				"must be up to %d different CPU numbers (0 to 1023) such as 0,2-5",
				CONFIG_MAX_CPUS);
			return -1;
		}
	}
	*out = got;
	return 0;
}

static int flags_parse(
	const struct config_desc *d, const char *text, uint32_t *out, char *err, size_t size)
{
	uint32_t got = 0;
	char item[CONFIG_VALUE_MAX], all[128];
	const char *p = text;
	while (list_next(&p, item, sizeof(item))) {
		int i = config_choice_index(d->choices, item, strlen(item));
		if (i < 0) {
			choices_sentence(d->choices, all, sizeof(all));
			snprintf(err, size, "must be %s, or several, comma separated", all);
			return -1;
		}
		got |= 1u << i;
	}
	*out = got;
	return 0;
}

static int enum_parse(
	const struct config_desc *d, const char *text, int *out, char *err, size_t size)
{
	int i = config_choice_index(d->choices, text, strlen(text));
	if (i < 0) {
		char all[128];
		choices_sentence(d->choices, all, sizeof(all));
		snprintf(err, size, "must be %s", all);
		return -1;
	}
	*out = i;
	return 0;
}

static int bool_parse(const char *text, bool *out, char *err, size_t size)
{
	if (strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0) {
		snprintf(err, size, "must be true or false");
		return -1;
	}
	*out = strcasecmp(text, "true") == 0;
	return 0;
}

static int string_parse(
	const struct config_desc *d, const char *text, char *out, char *err, size_t size)
{
	if (strlen(text) > (size_t)d->max) {
		snprintf(err, size, "must have at most %d characters", (int)d->max);
		return -1;
	}
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

int config_value_parse(
	struct config *c, enum config_key key, const char *text, char *err, size_t err_size)
{
	const struct config_desc *d = &config_table[key];
	void *field = config_field(c, d);
	int64_t v;
	switch (d->type) {
	case CONFIG_TYPE_STRING:
		return string_parse(d, text, field, err, err_size);
	case CONFIG_TYPE_BOOL:
		return bool_parse(text, field, err, err_size);
	case CONFIG_TYPE_INT32:
		if (number_value(d, text, &v, err, err_size) < 0)
			return -1;
		*(int32_t *)field = (int32_t)v;
		return 0;
	case CONFIG_TYPE_INT64:
	case CONFIG_TYPE_BYTES:
	case CONFIG_TYPE_MS:
		return number_value(d, text, field, err, err_size);
	case CONFIG_TYPE_RATIO:
		return ratio_parse(d, text, field, err, err_size);
	case CONFIG_TYPE_ENUM:
		return enum_parse(d, text, field, err, err_size);
	case CONFIG_TYPE_FLAGS:
		return flags_parse(d, text, field, err, err_size);
	case CONFIG_TYPE_LISTENERS:
		return listeners_parse(d, text, field, err, err_size);
	case CONFIG_TYPE_LISTENER:
		return admin_listener_parse(d, text, field, err, err_size);
	case CONFIG_TYPE_DIRS:
		return dirs_parse(text, field, err, err_size);
	case CONFIG_TYPE_CPUS:
		return cpus_parse(text, field, err, err_size);
	}
	return -1;
}

__attribute__((format(printf, 4, 5))) static void append(
	char *out, size_t size, size_t *at, const char *fmt, ...)
{
	if (*at >= size)
		return;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(out + *at, size - *at, fmt, ap);
	va_end(ap);
	*at = min_of(*at + (size_t)max_of(n, 0), size);
}

static void listeners_text(const struct config_listeners *l, bool named, char *out, size_t size)
{
	size_t at = 0;
	for (uint32_t i = 0; i < l->count; i++) {
		bool v6 = strchr(l->v[i].host, ':') != NULL;
		append(out, size, &at, "%s%s%s%s%s%s:%u", i ? "," : "", named ? l->v[i].name : "",
			named ? "://" : "", v6 ? "[" : "", l->v[i].host, v6 ? "]" : "",
			l->v[i].port);
	}
}

static void flags_text(const struct config_desc *d, uint32_t flags, char *out, size_t size)
{
	size_t at = 0;
	char one[32];
	for (int i = 0; flags; i++, flags >>= 1) {
		if (!(flags & 1))
			continue;
		config_choice_text(d->choices, i, one, sizeof(one));
		append(out, size, &at, "%s%s", at ? "," : "", one);
	}
}

static void cpus_text(const struct config_cpus *v, char *out, size_t size)
{
	size_t at = 0;
	for (uint32_t i = 0; i < v->count; i++)
		append(out, size, &at, "%s%u", i ? "," : "", v->id[i]);
}

static void dirs_text(const struct config_dirs *v, char *out, size_t size)
{
	size_t at = 0;
	for (uint16_t i = 0; i < v->count; i++)
		append(out, size, &at, "%s%s", i ? "," : "", v->path[i]);
}

void config_value_text(const struct config *c, enum config_key key, char *out, size_t size)
{
	const struct config_desc *d = &config_table[key];
	const void *field = config_field(c, d);
	out[0] = 0;
	switch (d->type) {
	case CONFIG_TYPE_STRING:
		snprintf(out, size, "%s", (const char *)field);
		break;
	case CONFIG_TYPE_BOOL:
		snprintf(out, size, "%s", *(const bool *)field ? "true" : "false");
		break;
	case CONFIG_TYPE_INT32:
		snprintf(out, size, "%d", *(const int32_t *)field);
		break;
	case CONFIG_TYPE_INT64:
	case CONFIG_TYPE_BYTES:
	case CONFIG_TYPE_MS:
		if (*(const int64_t *)field != CONFIG_UNSET)
			snprintf(out, size, "%lld", (long long)*(const int64_t *)field);
		break;
	case CONFIG_TYPE_RATIO:
		snprintf(out, size, "%g", (double)*(const int32_t *)field / 1e6);
		break;
	case CONFIG_TYPE_ENUM:
		config_choice_text(d->choices, *(const int *)field, out, size);
		break;
	case CONFIG_TYPE_FLAGS:
		flags_text(d, *(const uint32_t *)field, out, size);
		break;
	case CONFIG_TYPE_LISTENERS:
	case CONFIG_TYPE_LISTENER:
		listeners_text(field, d->type == CONFIG_TYPE_LISTENERS, out, size);
		break;
	case CONFIG_TYPE_DIRS:
		dirs_text(field, out, size);
		break;
	case CONFIG_TYPE_CPUS:
		cpus_text(field, out, size);
		break;
	}
}
