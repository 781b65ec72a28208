#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The storage engine against raw writers on one directory's disk, taking turns: storage_bench.c.
# usage: storage_bench.sh [--dir DIR] [arguments of storage_bench]   (default: below build/)
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=${STORAGE_BENCH:-$top/build/release/storage_bench}
under=$top/build
if [[ ${1:-} == --dir ]]; then
	under=$2
	shift 2
fi
dir=$(mktemp -d "$under/storage-bench-XXXXXX")
trap 'rm -rf "$dir"' EXIT
"$bin" --dir "$dir" "$@"
