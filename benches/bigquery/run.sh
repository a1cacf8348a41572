#!/usr/bin/env bash
# A job from PostgreSQL into the BigQuery emulator beside its halves: `make bench-bigquery`.
# `run.sh read`: reading from the emulator instead, beside Google's own client.
#   BENCH_ROWS, BENCH_REPS   rows (1000000) and repetitions (3)
#   TRANSLOAD_RUN_DIR        services that run already; without it, services of our own are started
#   BENCH_PROFILE            cargo profile (default: release)
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd -- "$here/../.."
# shellcheck source=../../connectors/testkit/services/lib.sh
source connectors/testkit/services/lib.sh
need_rust
export BENCH_WORK=${BENCH_WORK:-$TRANSLOAD_CACHE/bench-bigquery}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TRANSLOAD_CACHE/target}
profile=${BENCH_PROFILE:-release}
cargo build --profile "$profile" --no-default-features --features postgres,bigquery,dataset --example run --example read
if [[ -z ${TRANSLOAD_RUN_DIR:-} ]]; then
  connectors/testkit/services/install.sh
  export TRANSLOAD_RUN_DIR=$BENCH_WORK/services
  trap 'connectors/testkit/services/down.sh "$TRANSLOAD_RUN_DIR" >/dev/null || true' EXIT
  connectors/testkit/services/up.sh >/dev/null
fi
# shellcheck disable=SC1091
source "$TRANSLOAD_RUN_DIR/env"
case ${1:-load} in
  load) program=bench.py ;;
  read) program=read.py ;;
  *) die "usage: run.sh [load|read]" ;;
esac
BENCH_BIN=$CARGO_TARGET_DIR/$profile/examples python3 "$here/$program"
