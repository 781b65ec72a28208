/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_KAFKA_BATCH_INT_H
#define MR_KAFKA_BATCH_INT_H

#include "kafka/batch.h"

/* Private to batch*.c. */

/*
 * The bytes of the records of a batch of `size` bytes: in place, or inflated into the scratch
 * buffer. KE_NONE, or the error as batch_iter_init has it. *why is a constant text on error.
 */
int16_t batch_records(const uint8_t *p, uint32_t size, const struct batch_scratch *scratch,
	struct rd *out, const char **why);

#endif
