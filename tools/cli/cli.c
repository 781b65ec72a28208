/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"

int cli_fail(const struct cli *c, int code, const char *format, ...)
{
	va_list args;
	fputs("millctl", stderr);
	if (c->command)
		fprintf(stderr, " %s%s%s", c->command->group, c->command->name ? " " : "",
			c->command->name ? c->command->name : "");
	fputs(": ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

int cli_client_failed(const struct cli *c, int rc)
{
	int code = rc == CLIENT_E_REACH || rc == CLIENT_E_STOPPED ? CLI_UNREACHABLE : CLI_FAILED;
	return cli_fail(c, code, "%s", client_error(c->client));
}

int cli_refused(const struct cli *c, struct kstr what, int16_t code, struct kstr message)
{
	const char *text = ke_text(code);
	return cli_fail(c, CLI_FAILED, "%.*s%s%s (%d): %.*s", max_of(what.len, 0), what.p,
		what.len > 0 ? ": " : "", ke_name(code), code,
		message.len > 0 ? message.len : (int)strlen(text),
		message.len > 0 ? message.p : text);
}

bool cli_stopped(const struct cli *c)
{
	struct pollfd p = {.fd = c->stop_fd, .events = POLLIN};
	return poll(&p, 1, 0) > 0;
}

void cli_stop_take(struct cli *c)
{
	struct signalfd_siginfo info;
	while (read(c->stop_fd, &info, sizeof(info)) > 0)
		;
}

/* How long a topic may be unknown that the broker has been asked to make. */
#define TOPIC_APPEARS_NS (2 * NS_PER_S)

int cli_topic(struct cli *c, const char *name, bool create, struct kp_metadata_response *out,
	struct reply *reply)
{
	const struct kstr topic = kstr_of(name);
	uint64_t begun = clock_mono_ns(), deadline = client_deadline(c->client);
	for (uint32_t n = 0;; n++) {
		int rc = client_metadata(c->client, &topic, 1, create, out, reply);
		if (rc)
			return cli_client_failed(c, rc);
		if (out->n_topics != 1)
			return cli_fail(c, CLI_FAILED, "%s: the broker says nothing of it", name);
		int16_t code = out->topics[0].error_code;
		if (code == KE_NONE && out->topics[0].n_partitions > 0)
			return CLI_OK;
		uint64_t now = clock_mono_ns();
		bool unknown = code == KE_UNKNOWN_TOPIC_OR_PARTITION;
		if (!ke_retriable(code) || now > deadline ||
			(unknown && (!create || now - begun > TOPIC_APPEARS_NS)))
			return cli_refused(c, topic, code, KSTR_NULL);
		rc = client_back_off(c->client, n);
		if (rc)
			return cli_client_failed(c, rc);
	}
}

int cli_written(const struct cli *c)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CLI_OK;
	return errno == EPIPE
		       ? CLI_OK
		       : cli_fail(c, CLI_FAILED, "cannot write the output: %s", strerror(errno));
}

int cli_end(struct cli *c, int rc)
{
	errno = 0;
	if (!out_end(&c->out) && errno != EPIPE)
		return cli_fail(c, CLI_FAILED, "cannot write the output: %s", strerror(errno));
	return rc;
}

/* SIGINT and SIGTERM become bytes to read; a pipe that breaks becomes an error of write. */
static int signals_take(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int command_run(struct cli *c)
{
	const char *from_environment = getenv("MILLRACE_BOOTSTRAP");
	struct client_options o = {
		.bootstrap = args_text(&c->args, "bootstrap",
			from_environment && *from_environment ? from_environment
							      : "127.0.0.1:9092"),
		.client_id = args_text(&c->args, "client-id", "millctl"),
		.timeout_ms = args_int(&c->args, "timeout", 30) * 1000,
		.stop_fd = c->stop_fd = signals_take(),
	};
	if (strlen(o.client_id) > 1000)
		return cli_fail(c, CLI_USAGE, "--client-id is too long");
	c->client = client_open(&o);
	if (!c->client)
		return cli_fail(c, CLI_USAGE, "%s is no list of host:port", o.bootstrap);
	c->json = args_flag(&c->args, "json");
	int rc = c->command->run(c);
	client_close(c->client);
	return rc;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

/* Runs a command; argv begins after its name. */
static int command_start(const struct command *command, int argc, char **argv)
{
	struct cli *c = calloc(1, sizeof(*c));
	if (!c)
		return CLI_FAILED;
	c->command = command;
	int rc = CLI_USAGE;
	if (!args_parse(&c->args, argc, argv, command->opts, cli_common))
		cli_fail(c, rc, "%s; see --help", c->args.error);
	else if (c->args.operand_count < command->least)
		cli_fail(c, rc, "it wants %s; see --help", command->operands);
	else if (command->most >= 0 && c->args.operand_count > command->most)
		cli_fail(c, rc, "%s is one too many; see --help", c->args.operands[command->most]);
	else
		rc = command_run(c);
	free(c);
	return rc;
}

/* Help or version for a command line without a command. */
static int program_main(int argc, char **argv)
{
	const char *first = argc > 1 ? argv[1] : "";
	if (strcmp(first, "--version") == 0)
		return printf("millctl %s\n", MR_VERSION) < 0 ? CLI_FAILED : CLI_OK;
	if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 ||
		strcmp(first, "help") == 0) {
		help_print(stdout, NULL, NULL);
		return fflush(stdout) ? CLI_FAILED : CLI_OK;
	}
	if (argc > 1)
		fprintf(stderr, "millctl: unknown command %s\n\n", first);
	help_print(stderr, NULL, NULL);
	return CLI_USAGE;
}

int cli_main(int argc, char **argv)
{
	const char *group = argc > 1 ? argv[1] : "", *name = argc > 2 ? argv[2] : "";
	bool known = false;
	for (const struct command *k = cli_commands; k->group; k++) {
		if (strcmp(k->group, group) != 0)
			continue;
		known = true;
		if (k->name && strcmp(k->name, name) != 0)
			continue;
		int used = k->name ? 3 : 2;
		if (k->main)
			return k->main(argc - used + 1, argv + used - 1);
		if (!asks_for_help(argc - used, argv + used))
			return command_start(k, argc - used, argv + used);
		help_print(stdout, k->group, k->name);
		return fflush(stdout) ? CLI_FAILED : CLI_OK;
	}
	if (!known)
		return program_main(argc, argv);
	if (asks_for_help(argc - 2, argv + 2)) {
		help_print(stdout, group, NULL);
		return fflush(stdout) ? CLI_FAILED : CLI_OK;
	}
	fprintf(stderr, "millctl: %s %s\n\n", group, *name ? "has no such command" : "what?");
	help_print(stderr, group, NULL);
	return CLI_USAGE;
}
