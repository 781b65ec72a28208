/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_INSPECT_INSPECT_H
#define MR_TOOLS_INSPECT_INSPECT_H

/*
 * `millctl inspect`: reads a log directory as it stands on disk, and says what is in it and whether
 * it is whole. Plain reads; takes no lock, writes nothing.
 */

/* argv[0] is "inspect". The exit code: 0, 1 (something is corrupt) or 2 (it could not be done). */
int inspect_main(int argc, char **argv);

#endif
