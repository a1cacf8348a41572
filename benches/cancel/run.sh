#!/usr/bin/env bash
# Cancels runs at random moments: `make bench-cancel`. Fails if one takes more than a second to stop.
#   BENCH_ROUNDS        cancelled runs (default 60)
#   BENCH_ROWS          of the table (default 1000000)
#   BENCH_SEED          of the moments (default: the time)
#   TRANSLOAD_RUN_DIR   services that run already; without it, services of our own are started
#   BENCH_PROFILE       cargo profile (default: release)
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd -- "$here/../.."
# shellcheck source=../../connectors/testkit/services/lib.sh
source connectors/testkit/services/lib.sh
need_rust
export BENCH_WORK=${BENCH_WORK:-$TRANSLOAD_CACHE/bench-cancel}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TRANSLOAD_CACHE/target}
profile=${BENCH_PROFILE:-release}
cargo build --profile "$profile" --no-default-features --features postgres,dataset --example bench_cancel
if [[ -z ${TRANSLOAD_RUN_DIR:-} ]]; then
  connectors/testkit/services/install.sh
  export TRANSLOAD_RUN_DIR=$BENCH_WORK/services
  trap 'connectors/testkit/services/down.sh "$TRANSLOAD_RUN_DIR" >/dev/null || true' EXIT
  connectors/testkit/services/up.sh >/dev/null
fi
# shellcheck disable=SC1091
source "$TRANSLOAD_RUN_DIR/env"
mkdir -p "$BENCH_WORK"
# The profile `dev` builds into `debug`.
bin=$CARGO_TARGET_DIR/${profile/#dev/debug}/examples/bench_cancel
"$bin"
