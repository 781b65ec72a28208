/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_CONTROL_DIR_SPACE_H
#define MR_CONTROL_DIR_SPACE_H

#include <stdint.h>

/* Size of the filesystem below a directory, and how much of it this user may still take; bytes.
   Both unchanged when it cannot be asked. Any thread. */
void dir_space(const char *path, int64_t *total, int64_t *usable);

#endif
