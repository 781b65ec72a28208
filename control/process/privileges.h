/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_PROCESS_PRIVILEGES_H
#define MR_PROCESS_PRIVILEGES_H

#include <stddef.h>
#include <stdint.h>

/*
 * Gives up what only the start needed. By the main thread, when ports are open and listeners bound,
 * before log directories are opened and before other threads of ours exist (they inherit).
 *
 * user: becomes that user, with its groups; needs root. "": stays who it is; if that is not root,
 * its capabilities go. Of the capabilities only those in keep (a mask of bits, capabilities(7))
 * stay. The limit of locked memory is raised first where that is allowed, and no exec can gain
 * anything any more. 0, or -1 and a sentence in err: no such user, not root.
 */
int privileges_drop(const char *user, uint64_t keep, char *err, size_t err_size);

#endif
