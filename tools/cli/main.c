/* SPDX-License-Identifier: Apache-2.0 */
/* millctl: tools for whoever runs millrace. The commands are in table.c. */
#include "tools/cli/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
