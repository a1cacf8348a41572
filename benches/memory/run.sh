#!/usr/bin/env bash
# Peak memory of many runs at once, each case in a process of its own: `make bench-memory`. Fails if one passes its limit.
set -euo pipefail
# shellcheck source=../setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../setup.sh"
bench_setup bench-memory postgres,dataset bench_memory
bin=$BENCH_BIN/bench_memory
"$bin" prepare
failed=0
for case in narrow wide wide-slow; do
  for budget in 64 256; do
    "$bin" "$case" "$budget" || failed=1
  done
done
exit "$failed"
