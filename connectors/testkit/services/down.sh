#!/usr/bin/env bash
# down.sh RUN_DIR: stops what up.sh started there, and nothing else, then removes its folders.
# Does nothing, successfully, if there is nothing left to stop.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

run=${1:-${TRANSLOAD_RUN_DIR:-}}
[[ -n $run ]] || die "usage: down.sh RUN_DIR"
[[ -d $run ]] || exit 0
[[ -f $run/transload-services ]] || die "$run was not made by up.sh; leaving it alone"

# stop NAME SIGNAL...: each signal in turn, ten seconds apart, until the process is gone.
stop() {
  local name=$1 pid signal i
  shift
  for signal in "$@"; do
    pid=$(recorded_pid "$run" "$name") || return 0
    kill "-$signal" "$pid" 2>/dev/null || return 0
    for ((i = 0; i < 100; i++)); do
      recorded_pid "$run" "$name" >/dev/null || return 0
      sleep 0.1
    done
  done
  die "$name (process $pid) does not end"
}

data=
[[ ! -r $run/data ]] || data=$(cat "$run/data")

# A start that was cut short may have left a PostgreSQL that nobody recorded. It has written its
# pid itself; the data folder in its command line says that it is ours.
if [[ ! -e $run/postgres.pid && -r $data/postgres/postmaster.pid ]]; then
  pid=$(head -n 1 "$data/postgres/postmaster.pid")
  if [[ $(ps -ww -o args= -p "$pid" || true) == *"-D $data/postgres"* ]]; then
    record_process "$run" postgres "$pid"
  fi
fi

# INT is PostgreSQL's fast shutdown (sessions are ended), QUIT its immediate one. Not KILL: that
# would leave its children and shared memory behind.
stop postgres INT QUIT
stop mariadb TERM KILL
stop bigquery TERM KILL
stop bigquery_1 TERM KILL

[[ ! -f $data/transload-services ]] || rm -rf "$data"
rm -rf "$run"
