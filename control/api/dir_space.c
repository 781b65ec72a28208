/* SPDX-License-Identifier: Apache-2.0 */
/* Apart from the rest: <sys/statvfs.h> has names that storage.h has too. */
#include "control/api/dir_space.h"

#include <sys/statvfs.h>

void dir_space(const char *path, int64_t *total, int64_t *usable)
{
	struct statvfs v;
	if (statvfs(path, &v) < 0)
		return;
	*total = (int64_t)((uint64_t)v.f_blocks * v.f_frsize);
	*usable = (int64_t)((uint64_t)v.f_bavail * v.f_frsize);
}
