#!/usr/bin/env bash
# Runs seeded fault runs against the BigQuery emulator: faults.sh [SEEDS]. `make test-faults` is this.
# The emulator becomes slower with every statement, so each 20 seeds get a fresh one.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
services=$PWD/connectors/testkit/services
# shellcheck source=../connectors/testkit/services/lib.sh
source "$services/lib.sh"
seeds=${1:-200} shard=20
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TRANSLOAD_CACHE/target}
need_rust
"$services/install.sh"
cargo test -p transload-bigquery --test faults --no-run
work=$(mktemp -d "${TMPDIR:-/tmp}/transload-faults.XXXXXX")
trap '"$services/down.sh" "$work/services" || true; rm -rf "$work"' EXIT
for ((first = 0; first < seeds; first += shard)); do
  count=$((seeds - first < shard ? seeds - first : shard))
  TRANSLOAD_RUN_DIR=$work/services "$services/up.sh" >/dev/null
  # shellcheck disable=SC1091
  (source "$work/services/env" && TRANSLOAD_FAULT_FIRST=$first TRANSLOAD_FAULT_SEEDS=$count \
    cargo test -q -p transload-bigquery --test faults -- --nocapture)
  "$services/down.sh" "$work/services"
done
