#!/usr/bin/env bash
# Tests of counts.sh: a wrong count would make a failed run look like a good one.
set -euo pipefail
# shellcheck source=counts.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/counts.sh"

wrong=0
expect() {
  local reader=$1 want=$2 got
  got=$("$reader")
  [[ $got == "$want" ]] && return
  printf '%s: want "%s", got "%s"\n' "$reader" "$want" "$got" >&2
  wrong=1
}

expect count_rust '6 3 3' <<<'     Summary [   1.234s] 9 tests run: 6 passed (1 slow, 1 leaky), 2 failed, 1 timed out, 3 skipped'
expect count_rust '1 0 0' <<<$'\e[32;1m     Summary\e[0m [   0.1s] \e[1m1\e[0m test run: \e[1m1\e[0m \e[32;1mpassed\e[0m, \e[1m0\e[0m \e[33;1mskipped\e[0m'
expect count_rust '2 1 0' <<<'     Summary [   0.010s] 3/9 tests run: 2 passed, 1 failed, 0 skipped'
expect count_rust '5 1 2' <<<'running 4 tests
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s'
expect count_rust '' <<<'error: could not compile transload'
expect count_python '5 3 3' <<<'FAILED tests/test_x.py::test_y - assert 1 failed in 2.0s
1 deselected, 2 failed, 5 passed, 2 skipped, 1 xfailed, 4 warnings, 1 error in 0.12s'
expect count_python '7 0 0' <<<'======= 7 passed in 75.12s (0:01:15) ======='
expect count_python '0 0 0' <<<'no tests ran in 0.01s'
expect count_python '0 2 0' <<<'2 errors in 0.31s'
expect count_python '' <<<'ImportError: no module named transload'
expect count_node '3 2 1' <<<'# tests 6
# suites 0
# pass 3
# fail 1
# cancelled 1
# skipped 1
# todo 0
# duration_ms 55.1'
expect count_node '2 0 0' <<<$'\e[34mℹ pass 2\e[39m\n\e[34mℹ fail 0\e[39m'
expect count_node '' <<<'npm error Missing script: "test"'
exit "$wrong"
