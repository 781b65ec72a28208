/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_CLI_H
#define MR_TOOLS_CLI_CLI_H

#include <stdio.h>

#include "tools/cli/args.h"
#include "tools/client/client.h"
#include "tools/inspect/out.h"

/* What the commands of millctl share. */

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,	     /* the broker refused, or something asked for is not so */
	CLI_USAGE = 2,	     /* the command line is wrong */
	CLI_UNREACHABLE = 3, /* no broker answered, or not in time */
};

struct cli;

/*
 * One command. Help, its check of the command line, shell completion and docs/MILLCTL.md come from
 * this. A command that reads its arguments itself has `main` instead of `run`.
 */
struct command {
	const char *group; /* "topic" */
	const char *name;  /* "create"; NULL: the group is the command */
	const char *operands;
	int least; /* operands */
	int most;
	const char *summary;
	const char *notes; /* more help, NULL: none */
	const struct opt *opts;
	int (*run)(struct cli *c);
	int (*main)(int argc, char **argv);
};

/* All commands; a NULL group ends the list. */
extern const struct command cli_commands[];
/* What every command with `run` takes. */
extern const struct opt cli_common[];

/* A command that is running. */
struct cli {
	const struct command *command;
	struct args args;
	struct client *client;
	bool json;
	int stop_fd; /* readable once SIGINT or SIGTERM has come */
	struct out out;
};

/* Finds the command of a command line and runs it: the program's exit code. */
int cli_main(int argc, char **argv);
/* Says on stderr what is wrong; returns code. */
__attribute__((format(printf, 3, 4))) int cli_fail(
	const struct cli *c, int code, const char *format, ...);
/* Says that the broker cannot be asked; rc is a client_err (or an error code of the broker). */
int cli_client_failed(const struct cli *c, int rc);
/* Says that the broker refused something about `what`; message may be null. CLI_FAILED. */
int cli_refused(const struct cli *c, struct kstr what, int16_t code, struct kstr message);
/*
 * Metadata of one topic whose partitions all have been told of; waits for one that is being made
 * (`create`: asks the broker to). An exit code.
 */
int cli_topic(struct cli *c, const char *name, bool create, struct kp_metadata_response *out,
	struct reply *reply);
/* Takes a SIGINT or SIGTERM that has come, so that what remains to be done is not cut short. */
void cli_stop_take(struct cli *c);
/* Whether SIGINT or SIGTERM has come. */
bool cli_stopped(const struct cli *c);
/* Ends the output: rc, or CLI_FAILED when stdout could not be written. A reader who has gone away
 * is no failure. */
int cli_end(struct cli *c, int rc);
/* What a finished write to stdout means: CLI_OK also for a reader who has gone away. */
int cli_written(const struct cli *c);

/* Prints help of a command, of a group (name NULL), or of all (group NULL). */
void help_print(FILE *f, const char *group, const char *name);
/* Prints the page of docs/MILLCTL.md. */
void help_markdown(FILE *f);
/* `completion bash|zsh|fish`. */
int complete_run(struct cli *c);
int markdown_run(struct cli *c);

int topic_list(struct cli *c);
int topic_create(struct cli *c);
int topic_describe(struct cli *c);
int topic_alter(struct cli *c);
int topic_delete(struct cli *c);
int produce_run(struct cli *c);
int consume_run(struct cli *c);
int group_list(struct cli *c);
int group_describe(struct cli *c);
int group_delete(struct cli *c);
int group_reset(struct cli *c);
int config_describe(struct cli *c);
int config_set(struct cli *c);
int config_delete(struct cli *c);
int cluster_describe(struct cli *c);
int cluster_health(struct cli *c);
int cluster_log_dirs(struct cli *c);
int cluster_quotas(struct cli *c);

#endif
