/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of a note of producers over any bytes. What it takes, it writes again as it was.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "partition/producers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > PRODUCER_NOTE_MAX)
		return 0;
	uint8_t *exact = malloc(size ? size : 1); /* so that a read behind it is seen */
	uint8_t *again = malloc(PRODUCER_NOTE_MAX);
	struct producer_note n;
	struct producer_note_entry e;
	CHECK(exact && again);
	if (size)
		memcpy(exact, data, size);
	if (producer_note_open(&n, exact, (uint32_t)size)) {
		uint32_t count = n.left;
		uint32_t at = producer_note_begin(again, n.offset, count);
		int more;
		while ((more = producer_note_next(&n, &e)) > 0) {
			CHECK(e.window.count > 0 && e.window.count <= PRODUCER_WINDOW);
			CHECK(producer_next_sequence(&e.window) >= 0);
			at = producer_note_add(again, at, &e);
			count--;
		}
		if (more == 0)
			CHECK(count == 0 && at == size && memcmp(again, exact, size) == 0);
	}
	free(again);
	free(exact);
	return 0;
}
