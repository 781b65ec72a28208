#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Own instructions per 100-byte record for parse + validate + append + answer, by callgrind: the
# difference of two runs, so that start and end do not count. Needs valgrind and build/release.
# usage: record_cost.sh [RECORDS_PER_BATCH]   (default 140: a batch of about 16 KiB)
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$top/build/release/record_cost
per=${1:-140}
# Valgrind counts `rep movsb` once per byte, which no CPU does: memcpy is kept to its vector loop.
export GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1073741824
count() {
	valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bin" "$1" "$per" 2>&1 |
		sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
a=$(count 50)
b=$(count 250)
echo "$per records of 100 bytes a batch: $(((b - a) / (200 * per))) instructions per record," \
	"$(((b - a) / 200)) per request"
