/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CONNECTIONS_H
#define MR_TOOLS_CONNECTIONS_H

/* `millctl connections`: the connections of a broker, from its admin port. Returns the exit code.
 */
int connections_main(int argc, char **argv);

#endif
