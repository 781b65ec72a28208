#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Client matrix: kafkajs."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import checks  # noqa: E402
import matrix  # noqa: E402


def main(t):
    matrix.main(t, matrix.node_program("kafkajs", os.path.join(matrix.ADAPTERS, "kafkajs")))


if __name__ == "__main__":
    checks.run(main)
