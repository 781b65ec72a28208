/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "tools/cli/cli.h"

/* Shell completion from the table of commands. */

/* Whether k is the first command of its group. */
static bool is_first(const struct command *k)
{
	return k == cli_commands || strcmp(k[-1].group, k->group) != 0;
}

static void print_groups(FILE *f)
{
	for (const struct command *k = cli_commands; k->group; k++)
		if (is_first(k))
			fprintf(f, "%s ", k->group);
}

static void print_options(FILE *f, const struct opt *o)
{
	for (; o && o->name; o++)
		fprintf(f, "--%s ", o->name);
}

/* `group)` or `"group name")` with the words that may follow. */
static void bash_case(const struct command *k)
{
	if (k->name && is_first(k)) {
		printf("\t\"%s \") words=\"", k->group);
		for (const struct command *i = k; i->group && !strcmp(i->group, k->group); i++)
			printf("%s ", i->name);
		puts("\" ;;");
	}
	if (k->main)
		return;
	printf("\t\"%s %s\") words=\"", k->group, k->name ? k->name : "");
	print_options(stdout, k->opts);
	print_options(stdout, cli_common);
	puts("\" ;;");
}

/* What an option takes that has choices. */
static void bash_choices(void)
{
	for (const struct command *k = cli_commands; k->group; k++)
		for (const struct opt *o = k->opts; o && o->name; o++)
			if (o->choices)
				printf("\t--%s) words=\"%s\" ;;\n", o->name, o->choices);
}

static void bash_script(void)
{
	puts("# bash completion of millctl; also for zsh with bashcompinit\n"
	     "_millctl() {\n"
	     "\tlocal cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" "
	     "words=\"\"\n"
	     "\tlocal command=\"${COMP_WORDS[1]} \"\n"
	     "\tCOMPREPLY=()\n"
	     "\tif [ \"$COMP_CWORD\" -eq 1 ]; then");
	fputs("\t\twords=\"", stdout);
	print_groups(stdout);
	puts("--help --version\"\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\tcase \"$prev\" in\n"
	     "\t--file) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;");
	bash_choices();
	puts("\tesac\n"
	     "\tif [ -n \"$words\" ]; then\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\tcase \"${COMP_WORDS[1]}\" in");
	fputs("\t", stdout);
	const char *bar = "";
	for (const struct command *k = cli_commands; k->group; k++)
		if (k->name && is_first(k)) {
			printf("%s%s", bar, k->group);
			bar = "|";
		}
	puts(") [ \"$COMP_CWORD\" -gt 2 ] && command=\"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" ;;\n"
	     "\tesac\n"
	     "\tcase \"$command\" in");
	for (const struct command *k = cli_commands; k->group; k++)
		bash_case(k);
	puts("\tesac\n"
	     "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	     "}\n"
	     "complete -F _millctl millctl");
}

static void zsh_script(void)
{
	puts("autoload -U +X compinit && compinit\n"
	     "autoload -U +X bashcompinit && bashcompinit");
	bash_script();
}

/* A help text between single quotes. */
static void fish_text(const char *text)
{
	putchar('\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('\'');
}

static void fish_options(const char *condition, const struct opt *o)
{
	for (; o && o->name; o++) {
		printf("complete -c millctl -n '%s' -l %s", condition, o->name);
		if (o->kind != OPT_FLAG)
			printf(o->choices ? " -x -a '%s'" : " -r%s", o->choices ? o->choices : "");
		fputs(" -d ", stdout);
		fish_text(o->help);
		putchar('\n');
	}
}

static void fish_script(void)
{
	puts("# fish completion of millctl\ncomplete -c millctl -f");
	for (const struct command *k = cli_commands; k->group; k++) {
		char condition[160];
		if (is_first(k)) {
			printf("complete -c millctl -n __fish_use_subcommand -a %s", k->group);
			fputs(k->name ? "\n" : " -d ", stdout);
			if (!k->name) {
				fish_text(k->summary);
				putchar('\n');
			}
		}
		if (k->name) {
			printf("complete -c millctl -n '__fish_seen_subcommand_from %s; and test "
			       "(count (commandline -opc)) -eq 2' -a %s -d ",
				k->group, k->name);
			fish_text(k->summary);
			putchar('\n');
		}
		snprintf(condition, sizeof(condition), "__fish_seen_subcommand_from %s%s%s",
			k->group, k->name ? "; and __fish_seen_subcommand_from " : "",
			k->name ? k->name : "");
		if (!k->main) {
			fish_options(condition, k->opts);
			fish_options(condition, cli_common);
		}
	}
}

int complete_run(struct cli *c)
{
	const char *shell = c->args.operands[0];
	if (strcmp(shell, "bash") == 0)
		bash_script();
	else if (strcmp(shell, "zsh") == 0)
		zsh_script();
	else if (strcmp(shell, "fish") == 0)
		fish_script();
	else
		return cli_fail(c, CLI_USAGE, "bash, zsh or fish?");
	return cli_written(c);
}
