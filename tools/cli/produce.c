/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/prng.h"
#include "tools/cli/lines.h"
#include "tools/cli/producer.h"
#include "tools/cli/progress.h"

#define HEADERS_MAX 64
#define PROGRESS_EVERY 1000 /* records between two looks at the clock */

/* What is sent, and how a line becomes a record. */
struct producing_run {
	struct cli *c;
	struct producer *p;
	struct progress progress;
	struct batch_header headers[HEADERS_MAX];
	int32_t header_count;
	struct kbytes key;
	const char *separator;
	const char *null;
	int64_t records;
	int64_t bytes;
};

static struct kbytes bytes_of(const char *s, size_t n)
{
	return (struct kbytes){.p = (const uint8_t *)s, .len = (int32_t)n};
}

static int add(struct producing_run *r, struct kbytes key, struct kbytes value)
{
	if (r->null && value.len == (int32_t)strlen(r->null) &&
		memcmp(value.p, r->null, (size_t)value.len) == 0)
		value = KBYTES_NULL;
	int rc = producer_add(r->p, key, value, r->headers, r->header_count);
	r->records += rc == CLI_OK;
	r->bytes += rc == CLI_OK ? max_of(key.len, 0) + max_of(value.len, 0) : 0;
	if (r->records % PROGRESS_EVERY == 0)
		progress_show(&r->progress, r->records, r->bytes, clock_mono_ns());
	return rc;
}

/* A line as a record, its key before the separator. */
static int add_line(struct producing_run *r, const char *line, size_t n)
{
	size_t m = r->separator ? strlen(r->separator) : 0;
	const char *at = m ? memmem(line, n, r->separator, m) : NULL;
	if (m && !at)
		return cli_fail(r->c, CLI_FAILED, "record %lld has no separator %s",
			(long long)r->records + 1, r->separator);
	if (!at)
		return add(r, r->key, bytes_of(line, n));
	return add(r, bytes_of(line, (size_t)(at - line)),
		bytes_of(at + m, n - (size_t)(at - line) - m));
}

/* Sends what is open when the next input is not there yet. LINES_READY when it is. */
static int input_wait(struct producing_run *r, struct lines *in, int *rc)
{
	struct pollfd p[2] = {
		{.fd = in->fd, .events = POLLIN}, {.fd = r->c->stop_fd, .events = POLLIN}};
	if (producer_waits(r->p) && poll(p, 2, 0) == 0)
		*rc = producer_flush(r->p);
	while (!*rc && poll(p, 2, -1) < 0 && errno == EINTR)
		;
	return !*rc && !p[1].revents;
}

static int produce_lines(struct producing_run *r, int fd, bool whole)
{
	struct lines in;
	const char *line;
	size_t n;
	int rc = CLI_OK;
	lines_begin(&in, fd, whole);
	while (!rc) {
		int got = lines_next(&in, &line, &n);
		if (got == LINES_LINE)
			rc = add_line(r, line, n);
		else if (got == LINES_END)
			break;
		else if (got == LINES_LONG)
			rc = cli_fail(r->c, CLI_FAILED, "record %lld is larger than %u bytes",
				(long long)r->records + 1, LINES_MAX);
		else if (input_wait(r, &in, &rc)) {
			if (lines_read(&in) < 0)
				rc = cli_fail(r->c, CLI_FAILED, "cannot read the input: %s",
					strerror(errno));
		} else if (!rc) {
			cli_stop_take(r->c);
			break;
		}
	}
	lines_end(&in);
	return rc;
}

/* Records that are made up: a number, and letters that compress by about a quarter. */
static int produce_load(struct producing_run *r, int64_t count, size_t size)
{
	struct prng rng = {.s = 1};
	char *value = malloc(size + 32);
	int rc = value ? CLI_OK : cli_fail(r->c, CLI_FAILED, "no memory");
	for (size_t i = 0; value && i < size; i++)
		value[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
			[prng_next(&rng) & 63];
	for (int64_t i = 0; !rc && i < count && !cli_stopped(r->c); i++) {
		char number[24];
		int n = snprintf(number, sizeof(number), "%lld ", (long long)i);
		memcpy(value, number, min_of((size_t)n, size));
		rc = add(r, r->key, bytes_of(value, size));
	}
	cli_stop_take(r->c);
	free(value);
	return rc;
}

static bool headers_take(struct producing_run *r)
{
	int at = 0;
	for (const char *s, *value; (s = args_next(&r->c->args, "header", &at));) {
		size_t n = pair_split(s, &value);
		if (n == 0 || r->header_count == HEADERS_MAX)
			return false;
		r->headers[r->header_count++] = (struct batch_header){
			.key = {s, (int32_t)n}, .value = bytes_of(value, strlen(value))};
	}
	return true;
}

static enum codec codec_of(const char *name)
{
	for (int i = 0; i < CODEC_COUNT; i++)
		if (strcmp(codec_name((enum codec)i), name) == 0)
			return (enum codec)i;
	return CODEC_NONE;
}

static int produce_end(struct producing_run *r, uint64_t begun)
{
	struct cli *c = r->c;
	uint64_t ms = (clock_mono_ns() - begun) / NS_PER_MS;
	progress_end(&r->progress, r->records, r->bytes, clock_mono_ns());
	out_begin(&c->out, stdout, c->json);
	out_text(&c->out, "topic", c->args.operands[0]);
	out_int(&c->out, "records", r->records);
	out_int(&c->out, "bytes", r->bytes);
	out_uint(&c->out, "milliseconds", ms);
	return cli_end(c, CLI_OK);
}

/* Sends all of the input, or what is to be made up. */
static int produce_all(struct producing_run *r, const char *path)
{
	struct cli *c = r->c;
	int64_t count = args_int(&c->args, "count", 0);
	if (count)
		return produce_load(r, count, (size_t)args_int(&c->args, "size", 100));
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (fd < 0)
		return cli_fail(c, CLI_FAILED, "%s: %s", path, strerror(errno));
	int rc = produce_lines(r, fd, args_flag(&c->args, "whole"));
	if (path)
		close(fd);
	return rc;
}

int produce_run(struct cli *c)
{
	struct producing_run r = {.c = c,
		.separator = args_text(&c->args, "key-separator", NULL),
		.null = args_text(&c->args, "null", NULL)};
	const char *key = args_text(&c->args, "key", NULL),
		   *acks = args_text(&c->args, "acks", "all");
	const char *path = args_text(&c->args, "file", NULL);
	struct producer_options o = {
		.partition = (int32_t)args_int(&c->args, "partition", -1),
		.codec = codec_of(args_text(&c->args, "codec", "none")),
		.acks = acks[0] == '0'	 ? 0
			: acks[0] == '1' ? 1
					 : -1,
		.idempotent = args_flag(&c->args, "idempotent"),
		.batch_bytes = (uint32_t)args_int(&c->args, "batch-bytes", 256 << 10),
	};
	int rc;
	r.key = key ? bytes_of(key, strlen(key)) : KBYTES_NULL;
	if (o.idempotent && o.acks != -1)
		return cli_fail(c, CLI_USAGE, "--idempotent needs --acks all");
	if (path && args_flag(&c->args, "count"))
		return cli_fail(c, CLI_USAGE, "--file and --count do not go together");
	if (r.separator && (key || !*r.separator))
		return cli_fail(c, CLI_USAGE, "--key-separator wants a text, and no --key");
	if (!headers_take(&r))
		return cli_fail(
			c, CLI_USAGE, "--header wants KEY=VALUE, at most %d of them", HEADERS_MAX);
	r.p = producer_open(c, c->args.operands[0], &o, &rc);
	if (!r.p)
		return rc;
	uint64_t begun = clock_mono_ns();
	progress_begin(&r.progress, args_flag(&c->args, "progress"), args_int(&c->args, "count", 0),
		begun);
	rc = produce_all(&r, path);
	int flushed = producer_flush(r.p);
	producer_close(r.p);
	if (rc || flushed)
		return rc ? rc : flushed;
	return produce_end(&r, begun);
}
