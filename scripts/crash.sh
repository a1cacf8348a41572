#!/usr/bin/env bash
# Kills runners while somebody writes to the source: crash.sh [SEEDS]. `make test-crash` is this.
# The emulator becomes slower with every statement, so each 60 seeds get fresh servers.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
services=$PWD/connectors/testkit/services
# shellcheck source=../connectors/testkit/services/lib.sh
source "$services/lib.sh"
seeds=${1:-300} shard=60
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TRANSLOAD_CACHE/target}
need_rust
"$services/install.sh"
cargo test -p transload-crash --test crash --no-run
work=$(mktemp -d "${TMPDIR:-/tmp}/transload-crash.XXXXXX")
trap '"$services/down.sh" "$work/services" || true; rm -rf "$work"' EXIT
for ((first = 0; first < seeds; first += shard)); do
  count=$((seeds - first < shard ? seeds - first : shard))
  TRANSLOAD_RUN_DIR=$work/services "$services/up.sh" >/dev/null
  # shellcheck disable=SC1091
  (source "$work/services/env" && TRANSLOAD_CRASH_FIRST=$first TRANSLOAD_CRASH_SEEDS=$count \
    cargo test -q -p transload-crash --test crash -- --nocapture)
  "$services/down.sh" "$work/services"
done
