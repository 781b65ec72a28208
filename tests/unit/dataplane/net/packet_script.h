/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_NET_PACKET_SCRIPT_H
#define TESTS_UNIT_NET_PACKET_SCRIPT_H

/*
 * The words of a packet script (tests/packets/README.md): one line into one step. Pure text work;
 * test_packets.c plays the steps against a stack.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/tcp.h"

#define PKT_SACKS 4

struct pkt_ts {
	bool given, any_val;
	int64_t val, ecr;
};

/* Options of a packet line; for `>` what has to be there. */
struct pkt_opts {
	bool given; /* <...> was there */
	uint32_t mss;
	int wscale; /* -1: none */
	bool sack_ok;
	struct pkt_ts ts;
	uint32_t nsack;
	uint32_t sack[PKT_SACKS][2];
	uint8_t raw[40]; /* `raw XX XX`: bytes as they are */
	uint32_t nraw;
};

enum step_kind { STEP_NONE, STEP_IN, STEP_OUT, STEP_CALL };

struct step {
	enum step_kind kind;
	bool any_time;
	uint64_t wait_ns; /* after the step before */
	uint64_t slack_ns;
	/* packets */
	uint8_t flags;
	uint32_t seq, len, ack;
	bool has_ack, has_win;
	uint32_t win, fill;
	struct pkt_opts opts;
	/* calls */
	char word[4][64];
	uint32_t nwords;
};

static inline bool script_word(const char **p, char *out, size_t size)
{
	while (isspace((unsigned char)**p))
		(*p)++;
	size_t n = 0;
	while (**p && !isspace((unsigned char)**p) && n + 1 < size)
		out[n++] = *(*p)++;
	out[n] = 0;
	return n > 0;
}

static inline bool script_uint(const char *s, uint32_t *v)
{
	char *end;
	*v = 0;
	if (!isdigit((unsigned char)*s))
		return false;
	unsigned long long x = strtoull(s, &end, 0);
	*v = (uint32_t)x;
	return *end == 0 && x <= UINT32_MAX;
}

/* +0, +.25, +1.5~+2: seconds; *: whenever. */
static inline bool script_time(const char *s, struct step *st)
{
	char *end;
	st->slack_ns = 1500 * NS_PER_US; /* timers go by the millisecond */
	if (strcmp(s, "*") == 0)
		return st->any_time = true;
	if (*s++ != '+')
		return false;
	double from = strtod(s, &end);
	if (end == s || from < 0)
		return false;
	st->wait_ns = (uint64_t)llround(from * 1e9);
	if (*end == '~' && end[1] == '+') {
		s = end + 2;
		double to = strtod(s, &end);
		if (end == s || to < from)
			return false;
		st->slack_ns = (uint64_t)llround((to - from) * 1e9);
	}
	return *end == 0;
}

static inline bool script_flags(const char *s, uint8_t *flags)
{
	static const char letters[] = "FSRP.";
	*flags = 0;
	if (strcmp(s, "-") == 0)
		return true;
	for (; *s; s++) {
		const char *at = strchr(letters, *s);
		if (!at)
			return false;
		*flags |= (uint8_t)(1u << (at - letters));
	}
	return true;
}

static inline bool script_sack(const char *s, struct pkt_opts *o)
{
	unsigned from, to;
	int n;
	while (o->nsack < PKT_SACKS && sscanf(s, " %u:%u%n", &from, &to, &n) == 2) {
		o->sack[o->nsack][0] = from;
		o->sack[o->nsack++][1] = to;
		s += n;
	}
	return o->nsack > 0 && *s == 0;
}

static inline bool script_raw(const char *s, struct pkt_opts *o)
{
	unsigned byte;
	int n;
	while (o->nraw < sizeof(o->raw) && sscanf(s, " %2x%n", &byte, &n) == 1) {
		o->raw[o->nraw++] = (uint8_t)byte;
		s += n;
	}
	return o->nraw > 0 && o->nraw % 4 == 0 && *s == 0;
}

static inline bool script_ts(const char *s, struct pkt_ts *ts)
{
	long long val, ecr;
	int n = 0;
	ts->given = true;
	if (sscanf(s, " val * ecr %lld%n", &ecr, &n) == 1 && s[n] == 0) {
		ts->any_val = true;
		ts->ecr = ecr;
		return true;
	}
	if (sscanf(s, " val %lld ecr %lld%n", &val, &ecr, &n) != 2 || s[n] != 0)
		return false;
	ts->val = val;
	ts->ecr = ecr;
	return true;
}

/* One option of those between < and >. */
static inline bool script_option(const char *s, struct pkt_opts *o)
{
	if (strcmp(s, "nop") == 0)
		return true;
	if (strcmp(s, "sackOK") == 0)
		return o->sack_ok = true;
	if (strncmp(s, "mss ", 4) == 0)
		return script_uint(s + 4, &o->mss);
	if (strncmp(s, "wscale ", 7) == 0) {
		uint32_t shift;
		bool good = script_uint(s + 7, &shift);
		o->wscale = (int)shift;
		return good;
	}
	if (strncmp(s, "sack", 4) == 0)
		return script_sack(s + 4, o);
	if (strncmp(s, "raw", 3) == 0)
		return script_raw(s + 3, o);
	return strncmp(s, "TS", 2) == 0 && script_ts(s + 2, &o->ts);
}

static inline bool script_options(const char *s, struct pkt_opts *o)
{
	char one[128];
	o->given = true;
	while (*s && *s != '>') {
		while (*s == ' ' || *s == ',')
			s++;
		size_t n = strcspn(s, ",>");
		if (n >= sizeof(one))
			return false;
		memcpy(one, s, n);
		one[n] = 0;
		s += n;
		if (n > 0 && !script_option(one, o))
			return false;
	}
	return *s == '>';
}

/* FLAGS SEQ:END(LEN) [ack N] [win N] [fill N] [<options>] */
static inline bool script_packet(const char *p, struct step *st)
{
	char w[64];
	unsigned from, to, len;
	int n = 0;
	st->opts.wscale = -1;
	if (!script_word(&p, w, sizeof(w)) || !script_flags(w, &st->flags))
		return false;
	if (!script_word(&p, w, sizeof(w)) || sscanf(w, "%u:%u(%u)%n", &from, &to, &len, &n) != 3 ||
		w[n] != 0)
		return false;
	if (to - from != len)
		return false;
	st->seq = from;
	st->len = len;
	while (script_word(&p, w, sizeof(w))) {
		char v[64];
		if (w[0] == '<')
			return script_options(p - strlen(w) + 1, &st->opts);
		uint32_t *to_field = strcmp(w, "ack") == 0    ? &st->ack
				     : strcmp(w, "win") == 0  ? &st->win
				     : strcmp(w, "fill") == 0 ? &st->fill
							      : NULL;
		if (!to_field || !script_word(&p, v, sizeof(v)) || !script_uint(v, to_field))
			return false;
		st->has_ack |= to_field == &st->ack;
		st->has_win |= to_field == &st->win;
	}
	return st->has_ack == !!(st->flags & TCP_ACK);
}

/* A line of a script; false: it makes no sense. Comments and empty lines are STEP_NONE. */
static inline bool script_line(char *line, struct step *st)
{
	char w[64];
	const char *p = line;
	memset(st, 0, sizeof(*st));
	char *comment = strstr(line, "//");
	if (comment)
		*comment = 0;
	if (!script_word(&p, w, sizeof(w)))
		return true;
	if (strcmp(w, "config") == 0) {
		p = line;
	} else {
		if (!script_time(w, st))
			return false;
		while (isspace((unsigned char)*p))
			p++;
		if (*p == '<' || *p == '>') {
			st->kind = *p == '<' ? STEP_IN : STEP_OUT;
			return script_packet(p + 1, st);
		}
	}
	st->kind = STEP_CALL;
	while (st->nwords < 4 && script_word(&p, st->word[st->nwords], sizeof(st->word[0])))
		st->nwords++;
	return st->nwords > 0 && !script_word(&p, w, sizeof(w));
}

#endif
