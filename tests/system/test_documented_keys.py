#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/OPERATING.md lists exactly the keys that the broker has."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import re  # noqa: E402
import subprocess  # noqa: E402

import broker  # noqa: E402
import checks  # noqa: E402


def main(t):
    out = subprocess.run([broker.BINARY, "--print-config"], stdin=subprocess.DEVNULL, text=True, capture_output=True,
                         check=True, timeout=60).stdout
    keys = set(re.findall(r"^([a-z][a-z0-9.]+)\s*=", out, re.M))
    with open(os.path.join(checks.TOP, "docs", "OPERATING.md"), encoding="utf-8") as f:
        documented = set(re.findall(r"^\| `([a-z][a-z0-9.]+)` \|", f.read(), re.M))
    with t.check("every key of the broker is documented"):
        assert keys, "--print-config prints no key"
        assert keys <= documented, f"not documented: {sorted(keys - documented)}"
    with t.check("every documented key exists"):
        assert documented <= keys, f"documented, but unknown: {sorted(documented - keys)}"


if __name__ == "__main__":
    checks.run(main)
