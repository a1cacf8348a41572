#!/usr/bin/env bash
# Runs transload beside its peers on generated TPC-H lineitem: `make bench`, or run.sh [options of compare.py].
#   BENCH_SF      scale factor, 1 = 6,001,215 rows (default 1)
#   BENCH_WORK    data and Python environment (default: <cache>/bench, about 4 GB at scale 1)
# A PostgreSQL and a MariaDB of its own are started on 127.0.0.1 and stopped at the end.
set -euo pipefail
# shellcheck source=../setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../setup.sh"
# What is published is built like this.
export BENCH_PROFILE=${BENCH_PROFILE:-dist}
# Tables stay in memory, and nobody encrypts.
export TRANSLOAD_POSTGRES_SETTINGS='shared_buffers = 2GB' PGSSLMODE=disable
bench_setup bench postgres,mysql,files,sqlite,dataset run read

requirements=benches/compare/requirements.txt
stamp=$BENCH_WORK/venv/.ok-$(sha256sum "$requirements" | cut -c1-16)
if [[ ! -e $stamp ]]; then
  python3 -m venv "$BENCH_WORK/venv"
  "$BENCH_WORK/venv/bin/pip" -q install -r "$requirements"
  touch "$stamp"
fi
"$BENCH_WORK/venv/bin/python" benches/compare/compare.py "$@"
