#!/usr/bin/env bash
# Cancels runs at random moments: `make bench-cancel`. Fails if one takes more than a second to stop.
#   BENCH_ROUNDS        cancelled runs (default 60)
#   BENCH_ROWS          of the table (default 1000000)
#   BENCH_SEED          of the moments (default: the time)
set -euo pipefail
# shellcheck source=../setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../setup.sh"
bench_setup bench-cancel postgres,dataset bench_cancel
"$BENCH_BIN/bench_cancel"
