#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Topics: the client's script, with the broker on dpdk over a tap port with two shards and two queues."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "clients")]

import on_tap  # noqa: E402
import test_topics  # noqa: E402

if __name__ == "__main__":
    on_tap.run(test_topics.main)
