/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/inspect/inspect.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tools/inspect/command.h"

static const char usage_text[] =
	"usage: millctl inspect COMMAND [OPTION]... ARGUMENT...\n"
	"\n"
	"Reads a log directory of millrace as it stands on disk. Never writes, takes no lock;\n"
	"best used while no broker runs on it.\n"
	"\n"
	"  inspect dir DIR                what is in a log directory: lanes, checkpoints, logs\n"
	"  inspect journal DIR            groups and entries of the commit journals, and where\n"
	"                                 and why their valid part ends\n"
	"  inspect checkpoint DIR         both checkpoints of each lane, and the logs in the "
	"newest\n"
	"  inspect log DIR LOG            one log: its segments, offsets, epochs. LOG is\n"
	"                                 TOPIC-PARTITION or TOPICID-PARTITION\n"
	"  inspect segment FILE           the batches of a segment (<base offset>.log)\n"
	"  inspect index FILE             the blocks of an index (<base offset>.index)\n"
	"  inspect verify DIR             reads everything and checks everything: checkpoints,\n"
	"                                 journals, index pages, block sums, batch CRCs, offsets\n"
	"\n"
	"  --json        print JSON\n"
	"  --worker N    journal, checkpoint: only this worker's\n"
	"  --records     segment: print the records, too\n"
	"  --help        print this\n"
	"\n"
	"Exit code: 0: all that was read is whole; 1: something is corrupt; 2: it could not be "
	"done.\n"
	"What a crash leaves (a torn end of the journal, files of a compaction that was cut off) "
	"is\n"
	"not corrupt: the next start takes care of it.\n";

static const struct {
	const char *name;
	int arguments;
	int (*run)(struct command *c);
} commands[] = {
	{"dir", 1, inspect_dir},
	{"journal", 1, inspect_journal},
	{"checkpoint", 1, inspect_checkpoint},
	{"log", 2, inspect_log},
	{"segment", 1, inspect_segment},
	{"index", 1, inspect_index},
	{"verify", 1, inspect_verify},
};

int cannot(const char *format, ...)
{
	va_list args;
	fputs("millctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return INSPECT_CANNOT;
}

void command_found(void *arg, enum found_kind kind, const char *where, const char *what)
{
	struct command *c = arg;
	if (kind == FOUND_CORRUPT)
		c->corrupt++;
	else
		c->notes++;
	fprintf(stderr, "%s: %s: %s\n", kind == FOUND_CORRUPT ? "corrupt" : "note", where, what);
}

int command_open(const struct command *c, struct state *s, const struct finder *f)
{
	if (dir_is_locked(c->path))
		fprintf(stderr,
			"millctl: a broker runs on %s: what is shown may be in motion, and look "
			"damaged where it is not\n",
			c->path);
	int rc = state_open(s, c->path, f);
	if (rc == 0 && s->lane_count == 0 && s->meta_error == ENOENT) {
		state_close(s);
		return cannot("%s is not a log directory: it has no meta, journal or checkpoint",
			c->path);
	}
	if (rc == 0)
		return INSPECT_OK;
	state_close(s);
	return cannot("cannot read %s: %s", c->path, strerror(-rc));
}

int command_end(struct command *c)
{
	if (!out_end(&c->out))
		return cannot("cannot write the output: %s", strerror(errno));
	return c->corrupt ? INSPECT_CORRUPT : INSPECT_OK;
}

static bool worker_parse(const char *text, int64_t *worker)
{
	char *end;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < 0 || n > UINT16_MAX)
		return false;
	*worker = n;
	return true;
}

static int usage_error(const char *what)
{
	return cannot("%s; see millctl inspect --help", what);
}

int inspect_main(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
		{"worker", required_argument, NULL, 'w'}, {"records", no_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'}, {0}};
	struct command c = {.worker = -1};
	int o;
	opterr = 0;
	while ((o = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (o == 'j')
			c.json = true;
		else if (o == 'r')
			c.records = true;
		else if (o == 'h')
			return fputs(usage_text, stdout) < 0 ? INSPECT_CANNOT : INSPECT_OK;
		else if (o != 'w')
			return usage_error("unknown option, or one without its value");
		else if (!worker_parse(optarg, &c.worker))
			return usage_error("--worker wants a number");
	}
	if (optind == argc)
		return usage_error("which command?");
	c.what = argv[optind];
	for (size_t i = 0; i < array_size(commands); i++) {
		if (strcmp(commands[i].name, c.what) != 0)
			continue;
		if (argc - optind - 1 != commands[i].arguments)
			return usage_error(commands[i].arguments == 2 ? "it wants DIR and LOG"
								      : "it wants one path");
		if (c.records && commands[i].run != inspect_segment)
			return usage_error("--records goes with segment");
		if (c.worker >= 0 && commands[i].run != inspect_journal &&
			commands[i].run != inspect_checkpoint)
			return usage_error("--worker goes with journal and checkpoint");
		c.path = argv[optind + 1];
		c.log = commands[i].arguments == 2 ? argv[optind + 2] : NULL;
		return commands[i].run(&c);
	}
	return cannot("unknown command %s; see millctl inspect --help", c.what);
}
