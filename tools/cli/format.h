/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLI_FORMAT_H
#define MR_TOOLS_CLI_FORMAT_H

#include <stdio.h>

#include "kafka/batch.h"

/* How `consume` prints a record. Pure but for the stream. */

/* Whether the text is a format; *bad is what is wrong with it. */
bool format_check(const char *format, const char **bad);
/* Prints a record by a format that has been checked. */
void format_print(FILE *f, const char *format, const char *topic, int32_t partition,
	const struct batch_record *rec);
/* Prints a record as one line of JSON. */
void format_json(FILE *f, const char *topic, int32_t partition, const struct batch_record *rec);

#endif
