#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Real text through stock clients, dpdk transport over a tap port with two shards and two queues."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import checks  # noqa: E402
import netns  # noqa: E402
import real_input  # noqa: E402


def main(t):
    real_input.everything(t, netns.Tap(t, sets={"shards": "2"}).start())


if __name__ == "__main__":
    checks.run(main)
