/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"

static const struct opt *opt_find(const struct opt *list, const char *name, size_t n)
{
	for (; list && list->name; list++)
		if (strlen(list->name) == n && memcmp(list->name, name, n) == 0)
			return list;
	return NULL;
}

/* Whether text is one of the words. */
static bool is_choice(const char *words, const char *text)
{
	size_t n = strlen(text);
	for (const char *p = words; n > 0 && *p;) {
		size_t word = strcspn(p, " ");
		if (word == n && memcmp(p, text, n) == 0)
			return true;
		p += word + strspn(p + word, " ");
	}
	return false;
}

/* Notes an option with its text. */
static bool args_take(struct args *a, const struct opt *o, const char *text)
{
	struct args_given g = {.opt = o, .text = text};
	if (o->kind == OPT_INT &&
		(!number_parse(text, &g.number) || g.number < o->min || g.number > o->max)) {
		snprintf(a->error, sizeof(a->error), "--%s wants a number from %lld to %lld",
			o->name, (long long)o->min, (long long)o->max);
		return false;
	}
	if (o->choices && !is_choice(o->choices, text)) {
		snprintf(a->error, sizeof(a->error), "--%s wants one of: %s", o->name, o->choices);
		return false;
	}
	if (a->given_count == ARGS_GIVEN) {
		snprintf(a->error, sizeof(a->error), "too many options");
		return false;
	}
	a->given[a->given_count++] = g;
	return true;
}

bool args_parse(
	struct args *a, int argc, char **argv, const struct opt *own, const struct opt *common)
{
	bool options = true;
	a->given_count = a->operand_count = 0;
	a->operands = argv;
	a->error[0] = 0;
	for (int i = 0; i < argc; i++) {
		const char *arg = argv[i];
		if (strlen(arg) > ARGS_TEXT) {
			snprintf(a->error, sizeof(a->error), "an argument is longer than %d bytes",
				ARGS_TEXT);
			return false;
		}
		if (!options || arg[0] != '-' || arg[1] != '-') {
			a->operands[a->operand_count++] = argv[i];
			continue;
		}
		if (!arg[2]) {
			options = false;
			continue;
		}
		size_t n = strcspn(arg + 2, "=");
		const struct opt *o = opt_find(own, arg + 2, n);
		o = o ? o : opt_find(common, arg + 2, n);
		const char *text = arg[2 + n] ? arg + 3 + n : NULL;
		if (!o)
			snprintf(
				a->error, sizeof(a->error), "unknown option %.*s", (int)n + 2, arg);
		else if (o->kind == OPT_FLAG && text)
			snprintf(a->error, sizeof(a->error), "--%s takes no value", o->name);
		else if (o->kind != OPT_FLAG && !text && i + 1 == argc)
			snprintf(a->error, sizeof(a->error), "--%s wants a value: %s", o->name,
				o->value);
		else if (args_take(a, o, o->kind == OPT_FLAG ? "" : text ? text : argv[++i]))
			continue;
		return false;
	}
	return true;
}

static const struct args_given *args_last(const struct args *a, const char *name)
{
	for (int i = a->given_count - 1; i >= 0; i--)
		if (strcmp(a->given[i].opt->name, name) == 0)
			return &a->given[i];
	return NULL;
}

bool args_flag(const struct args *a, const char *name)
{
	return args_last(a, name) != NULL;
}

const char *args_text(const struct args *a, const char *name, const char *otherwise)
{
	const struct args_given *g = args_last(a, name);
	return g ? g->text : otherwise;
}

int64_t args_int(const struct args *a, const char *name, int64_t otherwise)
{
	const struct args_given *g = args_last(a, name);
	return g ? g->number : otherwise;
}

const char *args_next(const struct args *a, const char *name, int *at)
{
	while (*at < a->given_count) {
		const struct args_given *g = &a->given[(*at)++];
		if (strcmp(g->opt->name, name) == 0)
			return g->text;
	}
	return NULL;
}

bool number_parse(const char *text, int64_t *out)
{
	char *end;
	if (text[0] != '-' && (text[0] < '0' || text[0] > '9'))
		return false;
	errno = 0;
	long long n = strtoll(text, &end, 10);
	*out = n;
	return !errno && end != text && !*end;
}

/* `-90s` and the like. */
static bool ago_parse(const char *text, int64_t now_ms, int64_t *out)
{
	static const struct {
		char unit;
		int64_t ms;
	} units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
	char *end;
	if (text[0] != '-' || text[1] < '0' || text[1] > '9')
		return false;
	errno = 0;
	long long n = strtoll(text + 1, &end, 10);
	int64_t ms;
	for (size_t i = 0; i < array_size(units) && !errno; i++)
		if (*end == units[i].unit && !end[1] &&
			!__builtin_mul_overflow((int64_t)n, units[i].ms, &ms) && ms <= now_ms) {
			*out = now_ms - ms;
			return true;
		}
	return false;
}

/* A fraction of a second and a Z, both optional, to the end. */
static bool time_tail(const char *p, int64_t *ms)
{
	int64_t unit = 100;
	*ms = 0;
	if (*p == '.') {
		for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
			*ms += (*p - '0') * unit;
	}
	return !*p || (*p == 'Z' && !p[1]);
}

bool time_parse(const char *text, int64_t now_ms, int64_t *out)
{
	struct tm tm = {0};
	int64_t ms = 0;
	if (ago_parse(text, now_ms, out))
		return true;
	if (number_parse(text, out))
		return *out >= 0;
	const char *p = strptime(text, "%Y-%m-%d", &tm);
	if (p && (*p == 'T' || *p == ' '))
		p = strptime(p + 1, "%H:%M:%S", &tm);
	if (!p || !time_tail(p, &ms))
		return false;
	*out = (int64_t)timegm(&tm) * 1000 + ms;
	return *out >= 0;
}

size_t pair_split(const char *text, const char **value)
{
	const char *equals = strchr(text, '=');
	if (!equals)
		return 0;
	*value = equals + 1;
	return (size_t)(equals - text);
}
