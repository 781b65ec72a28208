/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_SETTINGS_H
#define MR_TOOLS_CLI_SETTINGS_H

#include "tools/cli/cli.h"

/* Configurations of topics and brokers, as DescribeConfigs and IncrementalAlterConfigs have them.
 */

enum settings_of { SETTINGS_TOPIC = 2, SETTINGS_BROKER = 4 };

enum settings_show {
	SETTINGS_CHANGED = 0,	    /* only what somebody has set */
	SETTINGS_ALL = 1,	    /* also defaults */
	SETTINGS_DOCUMENTATION = 2, /* with what each is for */
	SETTINGS_FULL = 4,	    /* with type, sensitivity and synonyms */
};

/* One change: a key and its new value; null deletes. Slices of the command line. */
struct settings_change {
	struct kstr key;
	struct kstr value;
};

/* From `key=value`; false: it is not that. */
bool settings_set(struct settings_change *out, const char *text);
/* From `key`. */
bool settings_delete(struct settings_change *out, const char *text);
/* A list `configs` into c->out. An exit code. */
int settings_list(struct cli *c, enum settings_of of, struct kstr name, unsigned show);
/* Makes the changes (or has them checked, with --dry-run). An exit code. */
int settings_alter(struct cli *c, enum settings_of of, struct kstr name,
	const struct settings_change *changes, int count);

#endif
