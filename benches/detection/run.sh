#!/usr/bin/env bash
# Prints how well types hidden in text are detected, beside other tools: `make detection-report`.
#   DETECTION_VENV  Python environment (default: <cache>/detection)
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd -- "$here/../.."
# shellcheck source=../../connectors/testkit/services/lib.sh
source connectors/testkit/services/lib.sh
need_rust
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TRANSLOAD_CACHE/target}
venv=${DETECTION_VENV:-$TRANSLOAD_CACHE/detection}
stamp=$venv/.ok-$(sha256sum "$here/requirements.txt" | cut -c1-16)
if [[ ! -e $stamp ]]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" -q install -r "$here/requirements.txt"
  touch "$stamp"
fi
cargo build -q -p transload-core --example detect_columns
"$venv/bin/python" "$here/report.py" "$CARGO_TARGET_DIR/debug/examples/detect_columns"
