/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/cli.h"
#include "tools/connections/connections.h"
#include "tools/doctor/doctor.h"
#include "tools/inspect/inspect.h"

const struct opt cli_common[] = {
	{"bootstrap", OPT_TEXT, "HOST:PORT,...",
		"brokers to begin with (MILLRACE_BOOTSTRAP; 127.0.0.1:9092)", NULL, 0, 0},
	{"timeout", OPT_INT, "SECONDS", "for each request with all its retries (30)", NULL, 1,
		3600},
	{"client-id", OPT_TEXT, "NAME", "how the broker's log and quotas call us (millctl)", NULL,
		0, 0},
	{"json", OPT_FLAG, NULL, "print JSON", NULL, 0, 0},
	{"help", OPT_FLAG, NULL, "print this", NULL, 0, 0},
	{0},
};

#define CONFIG_OPT                                                                                 \
	{                                                                                          \
		"config", OPT_LIST, "KEY=VALUE", "a setting of the topic; repeat for more", NULL,  \
			0, 0                                                                       \
	}

static const struct opt topic_list_opts[] = {
	{"internal", OPT_FLAG, NULL, "also the broker's own topics", NULL, 0, 0}, {0}};
static const struct opt topic_create_opts[] = {
	{"partitions", OPT_INT, "N", "how many (the broker's num.partitions)", NULL, 1, 1000000},
	{"replication-factor", OPT_INT, "N", "copies (the broker's default)", NULL, 1, 1000},
	CONFIG_OPT, {"if-not-exists", OPT_FLAG, NULL, "no error when it exists", NULL, 0, 0},
	{"dry-run", OPT_FLAG, NULL, "let the broker check it only", NULL, 0, 0}, {0}};
static const struct opt topic_alter_opts[] = {
	{"partitions", OPT_INT, "N", "so many from now on; more than before", NULL, 1, 1000000},
	CONFIG_OPT,
	{"delete-config", OPT_LIST, "KEY", "back to the broker's value; repeat for more", NULL, 0,
		0},
	{"dry-run", OPT_FLAG, NULL, "let the broker check it only", NULL, 0, 0}, {0}};
static const struct opt topic_delete_opts[] = {
	{"if-exists", OPT_FLAG, NULL, "no error when it does not exist", NULL, 0, 0}, {0}};

static const struct opt produce_opts[] = {
	{"file", OPT_TEXT, "PATH", "read this instead of standard input", NULL, 0, 0},
	{"whole", OPT_FLAG, NULL, "all of the input is one record", NULL, 0, 0},
	{"key", OPT_TEXT, "KEY", "key of every record", NULL, 0, 0},
	{"key-separator", OPT_TEXT, "TEXT", "a line is KEY, TEXT, VALUE", NULL, 0, 0},
	{"header", OPT_LIST, "KEY=VALUE", "a header of every record; repeat for more", NULL, 0, 0},
	{"null", OPT_TEXT, "TEXT", "a value of just this is null", NULL, 0, 0},
	{"partition", OPT_INT, "N", "all to this one (by key as Java does, else in turns)", NULL, 0,
		INT32_MAX},
	{"codec", OPT_TEXT, "NAME", "compression (none)", "none gzip snappy lz4 zstd", 0, 0},
	{"acks", OPT_TEXT, "WHO", "who has it when the broker answers (all)", "0 1 all -1", 0, 0},
	{"idempotent", OPT_FLAG, NULL, "a retry stores nothing twice; needs acks all", NULL, 0, 0},
	{"batch-bytes", OPT_INT, "N", "size of a batch before compression (262144)", NULL, 1024,
		64 << 20},
	{"count", OPT_INT, "N", "make up N records instead of reading", NULL, 1, INT64_MAX},
	{"size", OPT_INT, "BYTES", "of each value that is made up (100)", NULL, 0, 16 << 20},
	{"progress", OPT_FLAG, NULL, "say how far it is, also when stderr is no terminal", NULL, 0,
		0},
	{0}};

static const struct opt consume_opts[] = {
	{"partition", OPT_LIST, "N", "only this one; repeat for more (all)", NULL, 0, 0},
	{"offset", OPT_TEXT, "WHERE", "where to begin, see above (beginning)", NULL, 0, 0},
	{"group", OPT_TEXT, "GROUP", "as a member of this consumer group", NULL, 0, 0},
	{"count", OPT_INT, "N", "stop after so many records", NULL, 1, INT64_MAX},
	{"follow", OPT_FLAG, NULL, "wait for more at the end", NULL, 0, 0},
	{"format", OPT_TEXT, "TEXT", "how to print a record, see above (%v\\n)", NULL, 0, 0}, {0}};

static const char consume_notes[] =
	"Stops where the partitions ended when it began, unless --follow is given.\n"
	"\n"
	"WHERE: beginning, end, an offset, -N (N before the end), or a time: "
	"time:2026-01-31T10:00:00Z,\n"
	"time:-15m, time:MILLISECONDS. With --group it is for partitions without a committed "
	"offset;\n"
	"offsets are committed after their records have been printed.\n"
	"\n"
	"--format: %t topic, %p partition, %o offset, %T timestamp, %k key, %K its length, %v "
	"value,\n"
	"%V its length, %h headers, %% percent; \\n \\t \\0 \\\\ and \\xNN. Null is printed as "
	"nothing, its\n"
	"length as -1. With --json each record is an object on its own line; what is not UTF-8 is\n"
	"written as base64 in key_base64 or value_base64.\n";

static const struct opt group_reset_opts[] = {
	{"topic", OPT_LIST, "TOPIC[:N,...]", "these partitions; repeat for more (all that it has)",
		NULL, 0, 0},
	{"to", OPT_TEXT, "WHERE", "earliest, latest, an offset, or a time: time:-15m", NULL, 0, 0},
	{"execute", OPT_FLAG, NULL, "do it; otherwise it is only shown", NULL, 0, 0}, {0}};

#define ENTITY "WHAT is topic:NAME, broker:ID, or broker: for what all brokers have.\n"

static const struct opt config_describe_opts[] = {
	{"all", OPT_FLAG, NULL, "also what is as the broker's program has it", NULL, 0, 0},
	{"documentation", OPT_FLAG, NULL, "what each is for", NULL, 0, 0}, {0}};
static const struct opt config_change_opts[] = {
	{"dry-run", OPT_FLAG, NULL, "let the broker check it only", NULL, 0, 0}, {0}};
static const struct opt none[] = {{0}};

const struct command cli_commands[] = {
	{"topic", "list", "", 0, 0, "the topics", NULL, topic_list_opts, topic_list, NULL},
	{"topic", "create", "TOPIC", 1, 1, "make a topic", NULL, topic_create_opts, topic_create,
		NULL},
	{"topic", "describe", "TOPIC...", 1, -1, "partitions, leaders, offsets, settings", NULL,
		none, topic_describe, NULL},
	{"topic", "alter", "TOPIC", 1, 1, "add partitions, change settings", NULL, topic_alter_opts,
		topic_alter, NULL},
	{"topic", "delete", "TOPIC...", 1, -1, "delete topics with all their records", NULL,
		topic_delete_opts, topic_delete, NULL},
	{"produce", NULL, "TOPIC", 1, 1, "send records: each line of the input is one", NULL,
		produce_opts, produce_run, NULL},
	{"consume", NULL, "TOPIC", 1, 1, "print records", consume_notes, consume_opts, consume_run,
		NULL},
	{"group", "list", "", 0, 0, "the consumer groups", NULL, none, group_list, NULL},
	{"group", "describe", "GROUP...", 1, -1, "members, offsets, lag", NULL, none,
		group_describe, NULL},
	{"group", "reset", "GROUP", 1, 1, "move the offsets of a group without members",
		"Only shows what it would do, unless --execute is given.\n", group_reset_opts,
		group_reset, NULL},
	{"group", "delete", "GROUP...", 1, -1, "forget groups without members, and their offsets",
		NULL, none, group_delete, NULL},
	{"config", "describe", "WHAT", 1, 1, "settings, where they come from",
		"Shows what has been set; --all shows defaults, too. " ENTITY, config_describe_opts,
		config_describe, NULL},
	{"config", "set", "WHAT KEY=VALUE...", 2, -1, "change settings", ENTITY, config_change_opts,
		config_set, NULL},
	{"config", "delete", "WHAT KEY...", 2, -1, "settings go back to their default", ENTITY,
		config_change_opts, config_delete, NULL},
	{"cluster", "describe", "", 0, 0, "brokers, features, APIs", NULL, none, cluster_describe,
		NULL},
	{"cluster", "health", "", 0, 0, "whether all is well; exit code 1 when not",
		"All brokers answer, all partitions have a leader and all their replicas in "
		"sync.\n",
		none, cluster_health, NULL},
	{"cluster", "log-dirs", "", 0, 0, "the brokers' log directories and their room", NULL, none,
		cluster_log_dirs, NULL},
	{"cluster", "quotas", "", 0, 0, "the quotas of clients", NULL, none, cluster_quotas, NULL},
	{"completion", NULL, "SHELL", 1, 1, "print completion for bash, zsh or fish", NULL, none,
		complete_run, NULL},
	{"markdown", NULL, "", 0, 0, "print all of this help as a page", NULL, none, markdown_run,
		NULL},
	{"connections", NULL, "...", 0, -1,
		"the client connections of a broker, as its TCP sees them", NULL, NULL, NULL,
		connections_main},
	{"doctor", NULL, "...", 0, -1,
		"is this machine ready for the broker, and what to do where it is not", NULL, NULL,
		NULL, doctor_main},
	{"inspect", NULL, "...", 0, -1, "what is in a log directory, and whether it is whole", NULL,
		NULL, NULL, inspect_main},
	{0},
};
