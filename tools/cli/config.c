/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tools/cli/settings.h"

/* `topic:NAME`, `broker:ID`, `broker:`. False: it has been said that it is neither. */
static bool entity_parse(struct cli *c, enum settings_of *of, struct kstr *name)
{
	const char *text = c->args.operands[0];
	if (strncmp(text, "topic:", 6) == 0 && text[6]) {
		*of = SETTINGS_TOPIC;
		*name = kstr_of(text + 6);
		return true;
	}
	int64_t id;
	if (strncmp(text, "broker:", 7) == 0 && (!text[7] || number_parse(text + 7, &id))) {
		*of = SETTINGS_BROKER;
		*name = kstr_of(text + 7);
		return true;
	}
	cli_fail(c, CLI_USAGE, "%s is not topic:NAME, broker:ID or broker:", text);
	return false;
}

int config_describe(struct cli *c)
{
	enum settings_of of;
	struct kstr name;
	unsigned show = SETTINGS_FULL;
	if (!entity_parse(c, &of, &name))
		return CLI_USAGE;
	if (args_flag(&c->args, "all"))
		show |= SETTINGS_ALL;
	if (args_flag(&c->args, "documentation"))
		show |= SETTINGS_DOCUMENTATION;
	out_begin(&c->out, stdout, c->json);
	out_text(&c->out, "of", c->args.operands[0]);
	return cli_end(c, settings_list(c, of, name, show));
}

/* Changes what the operands after the first say, each read by `take`. */
static int config_change(struct cli *c, bool (*take)(struct settings_change *out, const char *text),
	const char *wants)
{
	struct settings_change changes[ARGS_GIVEN];
	enum settings_of of;
	struct kstr name;
	int count = c->args.operand_count - 1;
	if (!entity_parse(c, &of, &name))
		return CLI_USAGE;
	if (count > ARGS_GIVEN)
		return cli_fail(c, CLI_USAGE, "at most %d at a time", ARGS_GIVEN);
	for (int i = 0; i < count; i++)
		if (!take(&changes[i], c->args.operands[i + 1]))
			return cli_fail(
				c, CLI_USAGE, "%s is no %s", c->args.operands[i + 1], wants);
	int rc = settings_alter(c, of, name, changes, count);
	if (rc)
		return rc;
	out_begin(&c->out, stdout, c->json);
	out_text(&c->out, "of", c->args.operands[0]);
	out_int(&c->out, "changed", count);
	out_bool(&c->out, "dry_run", args_flag(&c->args, "dry-run"));
	return cli_end(c, CLI_OK);
}

int config_set(struct cli *c)
{
	return config_change(c, settings_set, "KEY=VALUE");
}

int config_delete(struct cli *c)
{
	return config_change(c, settings_delete, "KEY");
}
