#!/usr/bin/env bash
# Runs transload beside its peers on generated TPC-H lineitem: `make bench`, or run.sh [options of compare.py].
#   BENCH_SF      scale factor, 1 = 6,001,215 rows (default 1)
#   BENCH_WORK    data and Python environment (default: <cache>/bench, about 4 GB at scale 1)
# A PostgreSQL of its own is started on 127.0.0.1 and stopped at the end.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd -- "$here/../.."
# shellcheck source=../../connectors/testkit/services/lib.sh
source connectors/testkit/services/lib.sh
need_rust
export BENCH_WORK=${BENCH_WORK:-$TRANSLOAD_CACHE/bench}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TRANSLOAD_CACHE/target}
mkdir -p "$BENCH_WORK"

requirements=$here/requirements.txt
stamp=$BENCH_WORK/venv/.ok-$(sha256sum "$requirements" | cut -c1-16)
if [[ ! -e $stamp ]]; then
  python3 -m venv "$BENCH_WORK/venv"
  "$BENCH_WORK/venv/bin/pip" -q install -r "$requirements"
  touch "$stamp"
fi
cargo build --profile "${BENCH_PROFILE:-dist}" --no-default-features --features postgres,files,sqlite,dataset --example run --example read

connectors/testkit/services/install.sh
export TRANSLOAD_RUN_DIR=$BENCH_WORK/services
# Tables stay in memory, and nobody encrypts.
export TRANSLOAD_POSTGRES_SETTINGS='shared_buffers = 2GB'
export PGSSLMODE=disable
trap 'connectors/testkit/services/down.sh "$TRANSLOAD_RUN_DIR" >/dev/null || true' EXIT
connectors/testkit/services/up.sh >/dev/null
# shellcheck disable=SC1091
source "$TRANSLOAD_RUN_DIR/env"
BENCH_BIN=$CARGO_TARGET_DIR/${BENCH_PROFILE:-dist}/examples "$BENCH_WORK/venv/bin/python" "$here/compare.py" "$@"
