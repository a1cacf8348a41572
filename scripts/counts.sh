# shellcheck shell=bash
# Reads how many tests passed, failed and were skipped out of what the test runners print.
# Each function reads a log on stdin and prints "PASSED FAILED SKIPPED", or nothing when the log
# has no summary (the caller takes that for a failure). Meant to be sourced; see counts_test.sh.

plain() { sed -E $'s/\x1b\\[[0-9;]*[A-Za-z]//g; s/\r$//'; }

# cargo-nextest: "Summary [ 1.2s] 9 tests run: 6 passed (1 slow), 2 failed, 1 timed out, 3 skipped",
# and "test result: ok. 3 passed; 0 failed; 1 ignored; ..." once per binary from cargo test.
count_rust() {
  plain | awk '
    function add(line, list, n, i, item, word) {
      gsub(/\([^)]*\)/, "", line)
      n = split(line, list, /[,;]/)
      for (i = 1; i <= n; i++) {
        item = list[i] + 0
        word = list[i]
        sub(/^[ \t]*[0-9]+[ \t]*/, "", word)
        if (word ~ /^passed/) passed += item
        else if (word ~ /^(failed|timed out|exec failed)/) failed += item
        else if (word ~ /^(skipped|ignored)/) skipped += item
      }
    }
    /^[ \t]*Summary \[.*\].*tests? run:/ { seen = 1; sub(/.*tests? run:/, ""); add($0) }
    /^test result: / { seen = 1; sub(/^test result: [A-Za-z]+\./, ""); add($0) }
    END { if (seen) print passed + 0, failed + 0, skipped + 0 }'
}

# pytest: "2 failed, 5 passed, 1 skipped, 1 xfailed, 1 warning, 1 error in 0.12s", the last such line.
# An expected failure proves nothing yet, so it counts as skipped.
count_python() {
  plain | awk '
    / in [0-9.]+s( \([0-9:]+\))?[ =]*$/ && /(passed|failed|skipped|error|xfailed|xpassed|no tests ran)/ { last = $0 }
    END {
      if (last == "") exit
      sub(/ in [0-9.]+s.*$/, "", last)
      gsub(/=/, "", last)
      n = split(last, list, ",")
      for (i = 1; i <= n; i++) {
        if (list[i] ~ / (passed|xpassed)/) passed += list[i]
        else if (list[i] ~ / (failed|errors?)( |$)/) failed += list[i]
        else if (list[i] ~ / (skipped|xfailed)/) skipped += list[i]
      }
      print passed + 0, failed + 0, skipped + 0
    }'
}

# node --test: "# pass 3" (TAP) or "ℹ pass 3" (spec), once per run.
count_node() {
  plain | awk '
    $1 == "#" || $1 == "ℹ" {
      if (NF != 3 || $3 !~ /^[0-9]+$/) next
      if ($2 == "pass") { seen = 1; passed += $3 }
      else if ($2 == "fail" || $2 == "cancelled") failed += $3
      else if ($2 == "skipped" || $2 == "todo") skipped += $3
    }
    END { if (seen) print passed + 0, failed + 0, skipped + 0 }'
}
