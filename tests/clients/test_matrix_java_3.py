#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Client matrix: Apache Kafka's own client, the last of the 3 series."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import checks  # noqa: E402
import matrix  # noqa: E402

VERSION = "3.9.2"


def main(t):
    matrix.main(t, matrix.java_program("java-" + VERSION, os.path.join(matrix.ADAPTERS, "java"), VERSION))


if __name__ == "__main__":
    checks.run(main)
