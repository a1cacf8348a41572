# shellcheck shell=bash
# Shared by the scripts here and in scripts/. Meant to be sourced.

# shellcheck disable=SC2034 # used by those who source this
services_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
TRANSLOAD_CACHE=${TRANSLOAD_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/transload}
export TRANSLOAD_CACHE

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Registries and mirrors fail now and then, and none of these tools begins a download again that broke off.
export PIP_RETRIES=${PIP_RETRIES:-10} PIP_DEFAULT_TIMEOUT=${PIP_DEFAULT_TIMEOUT:-60}
export CARGO_NET_RETRY=${CARGO_NET_RETRY:-10} npm_config_fetch_retries=${npm_config_fetch_retries:-5}

# retry COMMAND...: up to three times. For one command; `set -e` does not hold within a function that is run so.
retry() {
  local try
  for try in 1 2; do
    "$@" && return
    say "try $try of 3 failed: $*"
    sleep $((try * 10))
  done
  "$@"
}

# The Rust toolchain is the one thing we do not install: a project should not choose it for you.
need_rust() {
  have cargo || PATH=$PATH:$HOME/.cargo/bin
  export PATH
  have cargo || die "no Rust toolchain: install one with rustup (https://rustup.rs), then run this again"
  cargo --version >/dev/null || die "cargo is there but does not run (see above)"
}

# with_lock FILE COMMAND...: one holder at a time, where flock(1) exists (it does on Linux).
with_lock() {
  local file=$1
  shift
  mkdir -p "$(dirname "$file")"
  if have flock; then
    (
      flock -w 1800 9 || die "waited half an hour for $file"
      "$@" 9>&-
    ) 9>"$file"
  else
    "$@"
  fi
}

# postgres_bin: print the folder of the newest PostgreSQL >= 15, or fail.
postgres_bin() {
  local dir version best='' best_version=0
  for dir in "${TRANSLOAD_POSTGRES_BIN:-}" \
    "$(dirname "$(command -v initdb || echo /nonexistent/x)")" \
    /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
    /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
    [[ -n $dir && -x $dir/initdb ]] || continue
    # The real folder: pg_ctl, postgres and psql live beside the real initdb, not beside a link to it.
    dir=$(dirname "$(readlink -f "$dir/initdb")")
    [[ -x $dir/pg_ctl && -x $dir/postgres ]] || continue
    version=$("$dir/initdb" --version | sed -E 's/[^0-9]*([0-9]+).*/\1/')
    if [[ -n ${TRANSLOAD_POSTGRES_BIN:-} ]] || ((version >= 15 && version > best_version)); then
      best=$dir best_version=$version
      [[ -z ${TRANSLOAD_POSTGRES_BIN:-} ]] || break
    fi
  done
  [[ -n $best ]] || return 1
  printf '%s\n' "$best"
}

# mariadb_bin: print the folder of mariadbd, or fail. Debian puts it where only root looks.
mariadb_bin() {
  local dir
  for dir in "${TRANSLOAD_MARIADB_BIN:-}" "$(dirname "$(command -v mariadbd || echo /nonexistent/x)")" \
    /usr/sbin /usr/libexec /usr/local/bin /opt/homebrew/bin; do
    [[ -n $dir && -x $dir/mariadbd ]] || continue
    have mariadb-install-db || return 1
    printf '%s\n' "$dir"
    return
  done
  return 1
}

# process_identity PID: what tells this process from a later one that got the same number.
# Fails if there is no such process.
process_identity() {
  local pid=$1 stat
  if [[ -r /proc/self/stat ]]; then
    stat=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
    # The second field is the command in brackets and may hold anything, even brackets; what
    # follows the last one is field 3 (the state, Z for a dead one), and 22 is the start time.
    read -r -a stat <<<"${stat##*) }"
    [[ ${stat[0]} != Z ]] || return 1
    printf '%s %s\n' "$(cat /proc/sys/kernel/random/boot_id)" "${stat[19]}"
  else
    ps -o lstart= -p "$pid" | grep .
  fi
}

# record_process RUN_DIR NAME PID: what down.sh needs to stop exactly this process.
record_process() {
  printf '%s\n%s\n' "$3" "$(process_identity "$3")" >"$1/$2.pid"
}

# recorded_pid RUN_DIR NAME: print the pid if the process that was recorded is still running.
recorded_pid() {
  local pid identity
  [[ -r $1/$2.pid ]] || return 1
  { read -r pid && read -r identity; } <"$1/$2.pid" || return 1
  [[ $pid =~ ^[0-9]+$ && -n $identity && $(process_identity "$pid") == "$identity" ]] || return 1
  printf '%s\n' "$pid"
}

# services_running RUN_DIR: the servers that up.sh recorded there are alive.
services_running() {
  local name
  [[ -r $1/env ]] || return 1
  for name in postgres mariadb bigquery bigquery_1; do
    recorded_pid "$1" "$name" >/dev/null || return 1
  done
}
