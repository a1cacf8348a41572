#!/usr/bin/env bash
# Fuzzes the decoders: scripts/fuzz.sh [SECONDS [INPUTS]] (default: 30 seconds for each target, however many inputs that
# are), from the seed TRANSLOAD_FUZZ_SEED (default: another one each time). With a seed and a number of inputs,
# every machine that is through with them in time tries the same. The exit status is 0 if nothing was found. What was found is in the folder
# `artifacts` beside the targets; run a target with such a file to see it again.
#
# libFuzzer comes with the crate libfuzzer-sys and needs a C++ compiler and nothing else: its instrumentation is a set
# of stable compiler flags. `cargo fuzz run copy` in connectors/postgres, or `rows` in connectors/mysql and
# connectors/mssql, works too, with a nightly toolchain.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=../connectors/testkit/services/lib.sh
source connectors/testkit/services/lib.sh
need_rust
have c++ || have g++ || have clang++ || die "no C++ compiler: libFuzzer is built with one"

seconds=${1:-30} inputs=${2:--1}
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TRANSLOAD_CACHE/target}/fuzz
export CARGO_TARGET_DIR
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
host=$(rustc -vV | sed -n 's/^host: //p')
found=$(mktemp -d "${TMPDIR:-/tmp}/transload-fuzz.XXXXXX")
trap 'rm -rf "$found"' EXIT
# fuzz FOLDER TARGET...
fuzz() {
  local fuzz=$1 target new status
  shift
  # With --target the flags do not reach build scripts and macros.
  cargo build --quiet --release --manifest-path "$fuzz/Cargo.toml" --target "$host"
  for target in "$@"; do
    mkdir -p "$fuzz/artifacts/$target"
    printf '== %s of %s, at most %d s\n' "$target" "$fuzz" "$seconds"
    # New inputs go to the first folder, which is thrown away; the corpus is only read.
    new=$(mktemp -d "$found/$target.XXXXXX")
    status=0
    "$CARGO_TARGET_DIR/$host/release/$target" "$new" "$fuzz/corpus/$target" \
      -max_total_time="$seconds" -runs="$inputs" -timeout=10 -seed="${TRANSLOAD_FUZZ_SEED:-0}" -rss_limit_mb=1024 -print_final_stats=1 \
      -artifact_prefix="$fuzz/artifacts/$target/" >"$found/log" 2>&1 || status=$?
    tail -n "$((status ? 60 : 6))" "$found/log"
    ((status == 0)) || die "$target: something was found (exit $status)"
  done
}
fuzz connectors/postgres/fuzz copy answers
fuzz connectors/mysql/fuzz rows
fuzz connectors/mssql/fuzz rows answers
