/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a configuration file: refused with a sentence, or printed text reads back the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "control/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const struct config *c, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);
	CHECK(f);
	config_print(c, f, false);
	fclose(f);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config c, d;
	char err[CONFIG_ERR_MAX] = "";
	config_defaults(&c);
	if (config_parse(&c, "fuzz", (const char *)data, size, err, sizeof(err)) < 0) {
		CHECK(err[0]);
		return 0;
	}
	size_t len, again_len;
	char *text = print(&c, &len);
	config_defaults(&d);
	CHECK(config_parse(&d, "printed", text, len, err, sizeof(err)) == 0);
	char *again = print(&d, &again_len);
	CHECK(len == again_len && memcmp(text, again, len) == 0);
	free(text);
	free(again);
	if (config_finish(&c, "host.example", err, sizeof(err)) < 0)
		CHECK(err[0]);
	return 0;
}
