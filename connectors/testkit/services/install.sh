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

# One apt transaction for all that is missing.
install_packages() {
  local packages=() postgres=()
  have gcc || have clang || packages+=(gcc libc6-dev)
  have make || packages+=(make)
  have pkg-config || packages+=(pkg-config)
  have openssl || packages+=(openssl)
  have git || packages+=(git)
  # Debian puts it where only root looks.
  have pgbouncer || [[ -x /usr/sbin/pgbouncer ]] || packages+=(pgbouncer)
  postgres_bin >/dev/null || postgres=(postgresql-15)
  have psql || postgres+=(postgresql-client-15)
  ((${#packages[@]} + ${#postgres[@]})) || return 0
  have apt-get || die "missing: ${packages[*]} ${postgres[*]}; there is no apt-get here, please install them by hand"

  say "installing ${packages[*]} ${postgres[*]}"
  as_root apt-get update -qq
  # A distribution that has left 15 behind offers its own (newer) one under the plain name.
  if ((${#postgres[@]})) && ! apt-cache show "${postgres[0]}" >/dev/null 2>&1; then
    postgres=("${postgres[@]%-15}")
  fi
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" "${postgres[@]}" >&2
  postgres_bin >/dev/null || die "PostgreSQL was installed, but no version >= 15 was found"
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
  "$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements"
  # DuckDB looks for extensions in $HOME/.duckdb, so the emulator gets a HOME of its own.
  HOME=$dir/home "$dir/venv/bin/python" - <<'PY'
import duckdb_extensions

for name in ("ducklake", "spatial", "avro"):
    duckdb_extensions.import_extension(name)
PY
  printf '%s\n' "$want" >"$dir/stamp"
}

install_packages
with_lock "$TRANSLOAD_CACHE/install.lock" install_emulator
