# shellcheck shell=bash
# What the process benchmarks share. Meant to be sourced by benches/*/run.sh, which then call bench_setup.
#   BENCH_PROFILE       cargo profile (default: release)
#   TRANSLOAD_RUN_DIR   services that run already; without it, services of our own are started

benches_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd -- "$benches_dir/.." || exit
# shellcheck source=../connectors/testkit/services/lib.sh
source connectors/testkit/services/lib.sh

# bench_setup NAME FEATURES EXAMPLE...: builds the examples and starts the services; sets BENCH_WORK and BENCH_BIN.
bench_setup() {
  local name=$1 features=$2 example profile=${BENCH_PROFILE:-release} examples=()
  shift 2
  need_rust
  export BENCH_WORK=${BENCH_WORK:-$TRANSLOAD_CACHE/$name}
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TRANSLOAD_CACHE/target}
  mkdir -p "$BENCH_WORK"
  for example in "$@"; do examples+=(--example "$example"); done
  cargo build --profile "$profile" --no-default-features --features "$features" "${examples[@]}"
  # The profile `dev` builds into `debug`.
  export BENCH_BIN=$CARGO_TARGET_DIR/${profile/#dev/debug}/examples
  if [[ -z ${TRANSLOAD_RUN_DIR:-} ]]; then
    connectors/testkit/services/install.sh
    export TRANSLOAD_RUN_DIR=$BENCH_WORK/services
    trap 'connectors/testkit/services/down.sh "$TRANSLOAD_RUN_DIR" >/dev/null || true' EXIT
    connectors/testkit/services/up.sh >/dev/null
  fi
  # shellcheck disable=SC1091
  source "$TRANSLOAD_RUN_DIR/env"
}
