/* SPDX-License-Identifier: Apache-2.0 */
/* The effective values as .properties text and as JSON. */
#include "control/config/config_int.h"

#include <jansson.h>
#include <string.h>

/* A backslash begins an escape in .properties text; nothing else in a value needs one. */
static void print_value(FILE *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\\')
			fputc('\\', out);
		fputc(*value, out);
	}
}

void config_print(const struct config *c, FILE *out, bool comments)
{
	char value[CONFIG_VALUE_MAX], choices[128];
	for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
		const struct config_desc *d = &config_table[i];
		if (comments) {
			choices[0] = 0;
			if (d->choices)
				snprintf(choices, sizeof(choices), " (%s)", d->choices);
			fprintf(out, "%s# %s%s\n", i ? "\n" : "", d->help, choices);
		}
		config_value_text(c, i, value, sizeof(value));
		fprintf(out, "%s=", d->name);
		print_value(out, value);
		fputc('\n', out);
	}
}

/* Text that is not UTF-8 (a directory's name may be anything) goes out with ? for its odd bytes. */
static json_t *json_text(char *value)
{
	json_t *v = json_string(value);
	if (v)
		return v;
	for (char *p = value; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(value);
}

char *config_json(const struct config *c)
{
	char value[CONFIG_VALUE_MAX];
	char *text = NULL;
	json_t *all = json_object();
	if (!all)
		return NULL;
	for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
		config_value_text(c, i, value, sizeof(value));
		if (json_object_set_new(all, config_table[i].name, json_text(value)) < 0)
			goto out;
	}
	text = json_dumps(all, JSON_INDENT(2));
out:
	json_decref(all);
	return text;
}
