#!/usr/bin/env bash
# Starts the test services on 127.0.0.1 and prints the run folder, whose `env` file has their
# addresses: source "$(connectors/testkit/services/up.sh)/env"
# Run install.sh once before. README.md lists the variables that are read and written.
set -euo pipefail
umask 077
# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

project=transload-test
deadline=${TRANSLOAD_SERVICES_DEADLINE:-300}
emulator=$TRANSLOAD_CACHE/emulator
python=$emulator/venv/bin/python
[[ -f $emulator/stamp ]] || die "the services are not installed: run $services_dir/install.sh first"
pg=$(postgres_bin) || die "no PostgreSQL >= 15: run $services_dir/install.sh first"
maria=$(mariadb_bin) || die "no MariaDB: run $services_dir/install.sh first"

probe() { "$python" -I "$services_dir/probe.py" "$@"; }

# PostgreSQL refuses to run as root.
as_postgres() {
  if [[ $(id -u) == 0 ]]; then
    runuser -u postgres -- "$@"
  else
    "$@"
  fi
}

give_to_postgres() { [[ $(id -u) != 0 ]] || chown -R postgres "$@"; }

if [[ -n ${TRANSLOAD_RUN_DIR:-} ]]; then
  run=$TRANSLOAD_RUN_DIR
  [[ $run == /* ]] || run=$PWD/$run
  if [[ -d $run ]] && services_running "$run"; then
    say "already running"
    printf '%s\n' "$run"
    exit
  fi
  # What is left of a run that died; refuses a folder that is not ours.
  [[ ! -d $run || -z $(ls -A "$run") ]] || "$services_dir/down.sh" "$run"
  mkdir -p "$run"
else
  run=$(mktemp -d "${TMPDIR:-/tmp}/transload-run.XXXXXX")
fi
: >"$run/transload-services"
cd / # user postgres may not be allowed where the caller stands

started=0
stop_unless_started() {
  ((started)) || "$services_dir/down.sh" "$run" || true
}
trap stop_unless_started EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The data lives apart from the run folder, which may be anywhere: user postgres must get there.
data=$(mktemp -d "${TMPDIR:-/tmp}/transload-data.XXXXXX")
: >"$data/transload-services"
printf '%s\n' "$data" >"$run/data"
chmod 711 "$data"
mkdir "$data/postgres" "$data/mariadb" "$data/mariadb-tmp" "$data/tls" "$data/gcs"

# fail_with_log NAME MESSAGE: the end of a server's log says more than we can.
fail_with_log() {
  say "--- last lines of the $1 log"
  tail -n 30 "$data/$1.log" >&2 || true
  die "$2"
}

# A certificate authority of our own and a server certificate, so that tests can ask for verify-full.
make_certificates() {
  local tls=$data/tls
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
      -subj '/CN=transload test CA' -keyout "$tls/ca.key" -out "$tls/ca.crt" \
      -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign'
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
      -subj '/CN=localhost' -keyout "$tls/server.key" -out "$tls/server.csr"
    printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' \
      'extendedKeyUsage=serverAuth' 'subjectAltName=DNS:localhost,IP:127.0.0.1' >"$tls/server.ext"
    openssl x509 -req -in "$tls/server.csr" -CA "$tls/ca.crt" -CAkey "$tls/ca.key" -CAcreateserial \
      -days 30 -extfile "$tls/server.ext" -out "$tls/server.crt"
  } >"$tls/openssl.log" 2>&1 || {
    cat "$tls/openssl.log" >&2
    die "openssl could not make the certificates"
  }
  cp "$tls/ca.crt" "$run/ca.crt"
}

start_postgres() {
  local password limited_password port attempt settings
  password=$(probe password)
  limited_password=$(probe password)
  printf '%s\n' "$password" >"$data/postgres.password"
  : >"$data/postgres.log"
  give_to_postgres "$data/postgres" "$data/tls" "$data/postgres.password" "$data/postgres.log"
  as_postgres "$pg/initdb" -D "$data/postgres" -U postgres -A scram-sha-256 --encoding=UTF8 \
    --no-locale --no-sync --pwfile="$data/postgres.password" >"$data/initdb.log" 2>&1 || {
    cat "$data/initdb.log" >&2
    die "initdb failed"
  }
  rm -f "$data/postgres.password"

  # Tests may lose their data in a power cut; they may not lose time to the disk.
  # max_connections: the test processes run side by side and each opens several sessions.
  settings="
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
ssl = on
ssl_cert_file = '$data/tls/server.crt'
ssl_key_file = '$data/tls/server.key'
ssl_ca_file = '$data/tls/ca.crt'
wal_level = logical
fsync = off
synchronous_commit = off
full_page_writes = off
timezone = 'UTC'
log_timezone = 'UTC'
${TRANSLOAD_POSTGRES_SETTINGS:-}"
  as_postgres tee -a "$data/postgres/postgresql.conf" <<<"$settings" >/dev/null

  port=${TRANSLOAD_POSTGRES_PORT:-55431}
  for attempt in 1 2 3 4 5; do
    port=$(probe free-port "$port")
    if as_postgres "$pg/pg_ctl" start -w -t "$deadline" -D "$data/postgres" -o "-p $port" \
      -l "$data/postgres.log" </dev/null >/dev/null 2>&1; then
      break
    fi
    # Someone may have taken the port since we looked.
    if ((attempt == 5)) || ! grep -q 'Address already in use' "$data/postgres.log"; then
      fail_with_log postgres "PostgreSQL did not start within $deadline s"
    fi
    : >"$data/postgres.log"
    port=$((port + 1))
  done
  record_process "$run" postgres "$(head -n 1 "$data/postgres/postmaster.pid")"

  # A role that logs in and owns nothing and is granted nothing, for tests of refusal.
  PGPASSWORD=$password "$pg/psql" -X -q -v ON_ERROR_STOP=1 \
    "host=127.0.0.1 port=$port user=postgres dbname=postgres sslmode=verify-full sslrootcert=$run/ca.crt connect_timeout=60" \
    <<<"create role limited login password '$limited_password';" ||
    fail_with_log postgres "PostgreSQL started but refused the first connection"

  cat >>"$run/env.new" <<ENV
export TRANSLOAD_TEST_POSTGRES_URL='postgresql://postgres:$password@127.0.0.1:$port/postgres'
export TRANSLOAD_TEST_POSTGRES_LIMITED_URL='postgresql://limited:$limited_password@127.0.0.1:$port/postgres'
export TRANSLOAD_TEST_POSTGRES_CA='$run/ca.crt'
ENV
}

# launch_mariadb PORT: in the background. Its own defaults stay (latin1 as character set of databases, for one); tests
# may lose their data in a power cut. The `tmpdir` is its own: a server that starts removes all temporary tables there.
launch_mariadb() {
  local detach=()
  ! have setsid || detach=(setsid)
  nohup "${detach[@]}" "$maria/mariadbd" --no-defaults --user="$(id -un)" --datadir="$data/mariadb" \
    --bind-address=127.0.0.1 --port="$1" --socket="$data/mariadb/s.sock" --tmpdir="$data/mariadb-tmp" \
    --skip-name-resolve --max-connections=200 \
    --ssl-ca="$data/tls/ca.crt" --ssl-cert="$data/tls/server.crt" --ssl-key="$data/mariadb/server.key" \
    --log-bin=bin --server-id=1 --binlog-format=ROW --sync-binlog=0 --innodb-flush-log-at-trx-commit=0 \
    --innodb-buffer-pool-size=128M --innodb-doublewrite=0 --performance-schema=off --max-allowed-packet=256M \
    --plugin-load-add=auth_ed25519 --default-time-zone=+05:30 --local-infile=0 \
    </dev/null >>"$data/mariadb.log" 2>&1 &
  record_process "$run" mariadb $!
}

# ask_mariadb: runs the statements of the standard input as root, who has no password yet.
ask_mariadb() { mariadb --no-defaults --user=root --socket="$data/mariadb/s.sock" --batch; }

await_mariadb() {
  local until=$((SECONDS + deadline))
  while ((SECONDS < until)); do
    recorded_pid "$run" mariadb >/dev/null || return 1
    ! ask_mariadb <<<"SELECT 1" >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  fail_with_log mariadb "MariaDB did not answer within $deadline s"
}

start_mariadb() {
  local password limited_password port=${TRANSLOAD_MARIADB_PORT:-33061} attempt=1
  password=$(probe password)
  limited_password=$(probe password)
  # PostgreSQL owns the other one by now.
  cp "$data/tls/server.key" "$data/mariadb/server.key"
  mariadb-install-db --no-defaults --datadir="$data/mariadb" --user="$(id -un)" --skip-test-db \
    --tmpdir="$data/mariadb-tmp" --auth-root-authentication-method=normal --innodb-fast-shutdown=0 \
    >"$data/mariadb-install.log" 2>&1 || {
    tail -n 30 "$data/mariadb-install.log" >&2
    die "mariadb-install-db failed"
  }
  port=$(probe free-port "$port")
  launch_mariadb "$port"
  until await_mariadb; do
    if ((attempt++ == 5)) || ! grep -q 'Address already in use' "$data/mariadb.log"; then
      fail_with_log mariadb "MariaDB ended while starting"
    fi
    : >"$data/mariadb.log"
    port=$(probe free-port $((port + 1)))
    launch_mariadb "$port"
  done
  # A user who may do all, and one who logs in and is granted nothing, for tests of refusal.
  ask_mariadb <<SQL >/dev/null || fail_with_log mariadb "MariaDB started but refused to make users"
DELETE FROM mysql.global_priv WHERE User = '';
FLUSH PRIVILEGES;
CREATE USER transload@'%' IDENTIFIED BY '$password';
GRANT ALL ON *.* TO transload@'%' WITH GRANT OPTION;
CREATE USER limited@'%' IDENTIFIED BY '$limited_password';
CREATE DATABASE transload;
ALTER USER root@localhost IDENTIFIED BY '$password';
SQL

  cat >>"$run/env.new" <<ENV
export TRANSLOAD_TEST_MARIADB_URL='mysql://transload:$password@127.0.0.1:$port/transload'
export TRANSLOAD_TEST_MARIADB_LIMITED_URL='mysql://limited:$limited_password@127.0.0.1:$port'
export TRANSLOAD_TEST_MARIADB_CA='$run/ca.crt'
export TRANSLOAD_TEST_MARIADB_SOCKET='$data/mariadb/s.sock'
ENV
}

# launch_emulator NAME PORT GRPC_PORT: in the background, out of reach of the terminal's Ctrl-C (the
# tests that are being interrupted stop it through down.sh).
launch_emulator() {
  local detach=()
  ! have setsid || detach=(setsid)
  HOME=$emulator/home GCS_LOCAL_ROOT=$data/gcs PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    nohup "${detach[@]}" "$python" "$services_dir/lb_launch.py" --host 127.0.0.1 --port "$2" --grpc-port "$3" \
    --project "$project" --data-dir "$data/$1" serve </dev/null >"$data/$1.log" 2>&1 &
  record_process "$run" "$1" $!
}

# await_emulator NAME PORT GRPC_PORT
await_emulator() {
  local until=$((SECONDS + deadline))
  while ((SECONDS < until)); do
    recorded_pid "$run" "$1" >/dev/null || return 1
    if probe http-ok "http://127.0.0.1:$2/bigquery/v2/projects/$project/datasets" && probe tcp-open "$3"; then
      # Alive after it answered: it was our process that did.
      recorded_pid "$run" "$1" >/dev/null
      return
    fi
    sleep 0.3
  done
  fail_with_log "$1" "the BigQuery emulator did not answer within $deadline s"
}

choose_emulator_ports() {
  port=$(probe free-port "$port")
  ((grpc_port != port)) || grpc_port=$((grpc_port + 1))
  grpc_port=$(probe free-port "$grpc_port")
}

# start_emulator NAME PORT GRPC_PORT [SUFFIX]: the suffix is that of its variables.
start_emulator() {
  local name=$1 port=$2 grpc_port=$3 suffix=${4:-} attempt
  mkdir "$data/$name"
  choose_emulator_ports
  launch_emulator "$name" "$port" "$grpc_port"
  attempt=1
  until await_emulator "$name" "$port" "$grpc_port"; do
    if ((attempt++ == 5)) || ! grep -qi 'address already in use\|failed to bind' "$data/$name.log"; then
      fail_with_log "$name" "the BigQuery emulator ended while starting"
    fi
    port=$((port + 1)) grpc_port=$((grpc_port + 1))
    choose_emulator_ports
    launch_emulator "$name" "$port" "$grpc_port"
  done

  cat >>"$run/env.new" <<ENV
export TRANSLOAD_TEST_BIGQUERY_URL$suffix='http://127.0.0.1:$port'
export TRANSLOAD_TEST_BIGQUERY_GRPC$suffix='http://127.0.0.1:$grpc_port'
ENV
}

start_emulators() {
  local port=${TRANSLOAD_BIGQUERY_PORT:-9251} grpc_port=${TRANSLOAD_BIGQUERY_GRPC_PORT:-9261}
  start_emulator bigquery "$port" "$grpc_port"
  # It answers one request at a time, so the tests of a second core have one of their own.
  start_emulator bigquery_1 "$((port + 20))" "$((grpc_port + 20))" _1
  cat >>"$run/env.new" <<ENV
export TRANSLOAD_TEST_BIGQUERY_PROJECT='$project'
export TRANSLOAD_TEST_BIGQUERY_GCS_ROOT='$data/gcs'
export TRANSLOAD_TEST_BIGQUERY_PYTHON='$python'
ENV
}

start_services() {
  make_certificates
  start_postgres
  start_mariadb
  start_emulators
}

printf "export TRANSLOAD_RUN_DIR='%s'\n" "$run" >"$run/env.new"
# The lock keeps two starts from choosing the same ports. The servers inherit no lock (9>&-).
with_lock "$TRANSLOAD_CACHE/up.lock" start_services
mv "$run/env.new" "$run/env"
started=1
printf '%s\n' "$run"
