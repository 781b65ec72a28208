/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_DOCTOR_H
#define MR_TOOLS_DOCTOR_H

/* `millctl doctor`: is this machine ready for the broker? Returns the process's exit code. */
int doctor_main(int argc, char **argv);

#endif
