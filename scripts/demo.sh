#!/usr/bin/env bash
# Builds and runs the demonstration (`make demo`): no server, no account, no network once built.
# Arguments are handed to it.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=../connectors/testkit/services/lib.sh
source connectors/testkit/services/lib.sh

need_rust
have cc || have gcc || have clang || die "no C compiler (SQLite is compiled from source): apt-get install gcc libc6-dev"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TRANSLOAD_CACHE/target}
exec cargo run --release -p transload-demo -- "$@"
