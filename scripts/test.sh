#!/usr/bin/env bash
# shellcheck disable=SC2317 # functions are called by name, through `timed`
# Runs every test there is, in Rust, Python and Node, against real servers. `make test` is this.
#
#   TRANSLOAD_ONLY=rust|python|node   run one language only
#   TRANSLOAD_RUN_DIR=DIR             use the services that run there (make services-up) and leave
#                                     them running; without it, services of our own are started
#   CI=true                           a skipped test is a failure
#   CARGO_TARGET_DIR, TRANSLOAD_CACHE where builds and installed things go; outside the clone
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
root=$PWD
services=$root/connectors/testkit/services
# shellcheck source=../connectors/testkit/services/lib.sh
source "$services/lib.sh"
# shellcheck source=counts.sh
source "$root/scripts/counts.sh"

only=${TRANSLOAD_ONLY:-}
[[ $only =~ ^(rust|python|node|)$ ]] || die "TRANSLOAD_ONLY is rust, python or node, not '$only'"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TRANSLOAD_CACHE/target}

work=$(mktemp -d "${TMPDIR:-/tmp}/transload-test.XXXXXX")
own_run_dir=$work/services
clean_up() {
  "$services/down.sh" "$own_run_dir" || true
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# timed NAME COMMAND...: run it and say how long it took. Its status is handed on.
timed() {
  local name=$1 start=$SECONDS status=0
  shift
  printf '\n== %s\n' "$name"
  "$@" || status=$?
  printf '== %s: %d s%s\n' "$name" $((SECONDS - start)) "$( ((status == 0)) || echo ", FAILED (exit $status)")"
  return "$status"
}

start_services() {
  if [[ -n ${TRANSLOAD_RUN_DIR:-} ]] && services_running "$TRANSLOAD_RUN_DIR"; then
    say "using the services in $TRANSLOAD_RUN_DIR"
    run=$TRANSLOAD_RUN_DIR
  else
    run=$own_run_dir
    TRANSLOAD_RUN_DIR=$run "$services/up.sh" >/dev/null
  fi
}

# --- the phases. `set -e` does not hold inside (they are run as conditions), hence the `&&`.

selection=(--workspace --exclude transload-python --exclude transload-node --all-features)

rust_tests() {
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run "${selection[@]}" --no-fail-fast
  else
    cargo test "${selection[@]}" --no-fail-fast --lib --bins --tests --examples
  fi
}

# Apart, because nextest does not run them.
rust_doc_tests() { cargo test "${selection[@]}" --no-fail-fast --doc; }

# The test server that stands in for SQL Server, as a program that Python and Node start.
tds_server() {
  export TRANSLOAD_TEST_TDS_SERVER=$CARGO_TARGET_DIR/debug/tds-server
  cargo build -p transload-tds-server --bin tds-server
}

python_install() {
  local venv=$TRANSLOAD_CACHE/venv-py
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || {
    rm -rf "$venv" && python3 -m venv "$venv" || return
  }
  tds_server || return
  retry "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    -r bindings-python/requirements-test.txt || return
  # The dev profile, so that what the Rust tests have compiled is used again.
  MATURIN_PEP517_ARGS='--profile dev' \
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ./bindings-python
}

python_tests() { "$TRANSLOAD_CACHE/venv-py/bin/python" -m pytest bindings-python/tests -q -rsx --color=no; }

# The control planes under examples/, against the real program.
python_examples() {
  local venv=$TRANSLOAD_CACHE/venv-py folder=examples/django-control-plane
  cargo build -p transload-job --no-default-features --features dataset,sqlite &&
    retry "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$folder/requirements.txt" &&
    TRANSLOAD_JOB=$CARGO_TARGET_DIR/debug/transload-job \
      "$venv/bin/python" -m pytest "$folder" -q -rsx --color=no
}

node_install() {
  local how=install
  [[ ! -f bindings-node/package-lock.json ]] || how=ci
  tds_server || return
  (cd bindings-node && retry npm "$how" --no-audit --no-fund && npm run build:debug)
}

node_tests() { (cd bindings-node && npm test); }

summaries=()
total=(0 0 0)

# record LANGUAGE PASSED FAILED SKIPPED NOTE
record() {
  summaries+=("$(printf '%-7s %d passed, %d failed, %d skipped%s' "$1:" "$2" "$3" "$4" "${5:+ ($5)}")")
  total=($((total[0] + $2)) $((total[1] + $3)) $((total[2] + $4)))
}

# run_language LANGUAGE COUNTER INSTALL|- TESTS...: what cannot be built or read counts as one failure.
run_language() {
  local language=$1 counter=$2 install=$3 tests name counts p f s passed=0 failed=0 skipped=0 note='' status log
  shift 3
  [[ -z $only || $only == "$language" ]] || return 0
  if [[ $install != - ]] && ! timed "$language: install" "$install"; then
    record "$language" 0 1 0 "the build failed"
    return 0
  fi
  for tests in "$@"; do
    name="$language: ${tests#*_}"
    log=$work/$tests.log
    status=0
    timed "${name//_/ }" "$tests" 2>&1 | tee "$log" || status=$?
    counts=$("$counter" <"$log")
    if [[ -z $counts ]]; then
      failed=$((failed + 1)) note="${tests//_/ } ended without a summary"
      continue
    fi
    read -r p f s <<<"$counts"
    if ((status != 0 && f == 0)); then
      f=1 note="${tests//_/ } ended with exit status $status"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  done
  record "$language" "$passed" "$failed" "$skipped" "$note"
}

need_rust
[[ -z $only || $only == python ]] && { have python3 || die "no python3: the Python tests need CPython >= 3.11 with venv"; }
[[ -z $only || $only == node ]] && { have npm || die "no npm: the Node tests need Node.js >= 18 with npm"; }

timed install "$services/install.sh"
timed services start_services
# shellcheck disable=SC1091 # written by up.sh
source "$run/env"

run_language rust count_rust - rust_tests rust_doc_tests
run_language python count_python python_install python_tests python_examples
run_language node count_node node_install node_tests

strict_note=
status=0
((total[1] == 0)) || status=1
if ((total[0] == 0)); then
  strict_note="no test passed, so this run proves nothing" status=1
elif ((total[2])) && [[ ${CI:-} == true ]]; then
  strict_note="skipped tests are failures here (CI=true)" status=1
fi

printf '\nTests took %d s.%s\n' "$SECONDS" "${strict_note:+ FAILED: $strict_note.}"
# For .ci/run, which repeats it as its own last lines.
{
  printf '%s\n' "${summaries[@]}"
  printf '%d passed, %d failed, %d skipped\n' "${total[@]}"
} | tee "${TRANSLOAD_SUMMARY:-/dev/null}"
exit "$status"
