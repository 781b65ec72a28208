/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/cli/fetcher.h"
#include "tools/cli/commits.h"
#include "tools/cli/format.h"
#include "tools/cli/member.h"

#define FETCH_WAIT_MS 500
#define TOPIC_NAME 249

struct consuming {
	struct cli *c;
	struct fetcher f;
	struct member m; /* of --group */
	struct position from;
	const char *format;
	int64_t left; /* records still to be printed */
	bool follow;
	bool broken; /* stdout cannot be written */
};

static bool print_record(void *arg, int32_t partition, const struct batch_record *rec)
{
	struct consuming *r = arg;
	if (r->c->json)
		format_json(stdout, r->f.topic, partition, rec);
	else
		format_print(stdout, r->format, r->f.topic, partition, rec);
	r->broken = ferror(stdout);
	return --r->left > 0 && !r->broken;
}

/* Which partitions: those of the command line, or all; with --group those that are assigned. */
static bool wanted(const struct consuming *r, int32_t index)
{
	const struct cli *c = r->c;
	int at = 0, n = 0;
	int64_t number;
	if (r->m.group) {
		for (int32_t i = 0; i < r->m.count; i++)
			if (r->m.partitions[i] == index)
				return true;
		return false;
	}
	for (const char *s; (s = args_next(&c->args, "partition", &at)); n++)
		if (number_parse(s, &number) && number == index)
			return true;
	return n == 0;
}

/* Every partition that is asked for must be there. An exit code. */
static int check_wanted(const struct cli *c, const struct offsets *o)
{
	int at = 0;
	int64_t number;
	for (const char *s; (s = args_next(&c->args, "partition", &at));) {
		if (!number_parse(s, &number) || number < 0 || number > INT32_MAX)
			return cli_fail(c, CLI_USAGE, "--partition wants a number");
		if (!offsets_find(o, (int32_t)number))
			return cli_fail(
				c, CLI_FAILED, "%s has no partition %s", c->args.operands[0], s);
	}
	return CLI_OK;
}

/* Sets up what is to be read, from positions that have been looked up. */
static int begin_at(struct consuming *r, const struct offsets *o)
{
	struct fetcher *f = &r->f;
	free(f->of);
	f->count = 0;
	f->of = calloc((size_t)max_of(o->count, 1), sizeof(*f->of));
	if (!f->of)
		return cli_fail(r->c, CLI_FAILED, "no memory");
	for (int32_t i = 0; i < o->count; i++) {
		const struct offset_of *p = &o->of[i];
		if (!wanted(r, p->partition))
			continue;
		if (p->error)
			return cli_refused(r->c, o->topic, p->error, KSTR_NULL);
		f->of[f->count++] = (struct fetching){.index = p->partition,
			.leader = p->leader,
			.position = p->at,
			.committed = -1,
			.end = r->follow ? -1 : p->end};
	}
	return CLI_OK;
}

static int look_up(struct consuming *r)
{
	struct kp_metadata_response m;
	struct reply reply = {0};
	struct offsets o = {0};
	int rc = cli_topic(r->c, r->f.topic, false, &m, &reply), err = CLIENT_OK;
	if (!rc) {
		err = offsets_load(r->c->client, &m.topics[0], &o);
		rc = check_wanted(r->c, &o);
	}
	if (!rc && !err)
		err = offsets_at(r->c->client, &o, &r->from);
	if (!rc)
		rc = err ? cli_client_failed(r->c, err) : begin_at(r, &o);
	offsets_free(&o);
	reply_free(&reply);
	return rc;
}

static int consume_all(struct consuming *r)
{
	bool enough = false;
	int rc = look_up(r);
	while (!rc && !enough && fetcher_waits(&r->f) && !cli_stopped(r->c)) {
		rc = fetcher_round(&r->f, FETCH_WAIT_MS, &enough);
		if (fflush(stdout))
			break;
	}
	return rc;
}

/* --- as a member of a group -------------------------------------------------------------- */

/* Joins, and begins where the group has been. An exit code. */
static int join(struct consuming *r)
{
	struct commits k = {0};
	int rc = member_join(&r->m);
	if (!rc)
		rc = look_up(r);
	if (!rc)
		rc = commits_load(r->c, r->m.node, r->m.group, &k);
	for (int32_t i = 0; !rc && i < k.count; i++)
		for (int32_t j = 0; j < r->f.count; j++)
			if (r->f.of[j].index == k.of[i].partition &&
				kstr_equal(k.of[i].topic, kstr_of(r->m.topic)))
				r->f.of[j].position = r->f.of[j].committed = k.of[i].committed;
	commits_free(&k);
	return rc;
}

/* Prints, then commits what has been printed, and keeps in touch with the group. */
static int group_round(struct consuming *r, bool *enough)
{
	int rc = fetcher_round(&r->f, r->f.count ? FETCH_WAIT_MS : 0, enough);
	if (!rc && r->f.count == 0 && client_back_off(r->c->client, 2) == CLIENT_E_STOPPED)
		return rc;
	if (fflush(stdout))
		r->broken = true;
	if (!rc && !r->broken && !cli_stopped(r->c))
		rc = member_commit(&r->m, r->f.of, r->f.count);
	if (!rc)
		rc = member_beat(&r->m, clock_mono_ns());
	return rc;
}

static int consume_as_member(struct consuming *r)
{
	bool enough = false;
	int rc = join(r);
	while (!rc && !enough && !r->broken && !cli_stopped(r->c) &&
		(r->follow || fetcher_waits(&r->f))) {
		rc = r->m.again ? join(r) : group_round(r, &enough);
	}
	bool interrupted = cli_stopped(r->c);
	cli_stop_take(r->c); /* what is printed is committed, and the group is left, all the same */
	if (interrupted)
		rc = CLI_OK;
	if (!rc && !r->broken && !r->m.again && !fflush(stdout))
		rc = member_commit(&r->m, r->f.of, r->f.count);
	member_leave(&r->m);
	return rc;
}

int consume_run(struct cli *c)
{
	const char *bad;
	struct consuming r = {.c = c,
		.f = {.c = c, .topic = c->args.operands[0], .record = print_record, .arg = &r},
		.m = {.c = c,
			.group = args_text(&c->args, "group", NULL),
			.topic = c->args.operands[0]},
		.format = args_text(&c->args, "format", "%v\\n"),
		.left = args_int(&c->args, "count", INT64_MAX),
		.follow = args_flag(&c->args, "follow")};
	const char *from = args_text(&c->args, "offset", "beginning");
	if (!position_parse(from, clock_wall_ms(), &r.from))
		return cli_fail(c, CLI_USAGE, "--offset %s is no position; see --help", from);
	if (!format_check(r.format, &bad))
		return cli_fail(c, CLI_USAGE, "--format cannot use %.4s; see --help", bad);
	if (r.m.group && args_text(&c->args, "partition", NULL))
		return cli_fail(c, CLI_USAGE, "--group and --partition do not go together");
	if (strlen(r.m.topic) > TOPIC_NAME)
		return cli_fail(
			c, CLI_USAGE, "a topic's name has at most %d characters", TOPIC_NAME);
	int rc = fetcher_begin(&r.f);
	errno = 0;
	if (!rc)
		rc = r.m.group ? consume_as_member(&r) : consume_all(&r);
	fetcher_end(&r.f);
	return rc ? rc : cli_written(c);
}
