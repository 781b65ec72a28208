#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""All of millctl, and librdkafka at the other end, dpdk transport over a tap port."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import checks  # noqa: E402
import millctl  # noqa: E402
import netns  # noqa: E402


def main(t):
    millctl.everything(t, netns.Tap(t, sets=millctl.SETS).start())


if __name__ == "__main__":
    checks.run(main)
