#!/usr/bin/env bash
# A job from PostgreSQL into the BigQuery emulator beside its halves: `make bench-bigquery`.
# `run.sh read`: reading from the emulator instead, beside Google's own client.
#   BENCH_ROWS, BENCH_REPS   rows (1000000) and repetitions (3)
set -euo pipefail
# shellcheck source=../setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../setup.sh"
case ${1:-load} in
  load) program=bench.py ;;
  read) program=read.py ;;
  *) die "usage: run.sh [load|read]" ;;
esac
bench_setup bench-bigquery postgres,bigquery,dataset run read
python3 "benches/bigquery/$program"
