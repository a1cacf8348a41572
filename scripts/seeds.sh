#!/usr/bin/env bash
# Runs a seeded test over many seeds, with fresh servers for every few of them, since the BigQuery emulator becomes
# slower with every statement: seeds.sh faults|crash [SEEDS]. `make test-faults` and `make test-crash` are this.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
services=$PWD/connectors/testkit/services
# shellcheck source=../connectors/testkit/services/lib.sh
source "$services/lib.sh"
case ${1:-} in
  faults) package=transload-bigquery variable=TRANSLOAD_FAULT seeds=${2:-200} shard=20 ;;
  crash) package=transload-crash variable=TRANSLOAD_CRASH seeds=${2:-300} shard=60 ;;
  *) die "usage: seeds.sh faults|crash [SEEDS]" ;;
esac
test=$1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TRANSLOAD_CACHE/target}
need_rust
"$services/install.sh"
cargo test -p "$package" --test "$test" --no-run
work=$(mktemp -d "${TMPDIR:-/tmp}/transload-$test.XXXXXX")
trap '"$services/down.sh" "$work/services" || true; rm -rf "$work"' EXIT
for ((first = 0; first < seeds; first += shard)); do
  count=$((seeds - first < shard ? seeds - first : shard))
  TRANSLOAD_RUN_DIR=$work/services "$services/up.sh" >/dev/null
  # shellcheck disable=SC1091
  (source "$work/services/env" && env "${variable}_FIRST=$first" "${variable}_SEEDS=$count" \
    cargo test -q -p "$package" --test "$test" -- --nocapture)
  "$services/down.sh" "$work/services"
done
