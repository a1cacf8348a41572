#!/usr/bin/env bash
# Runs the BigQuery tests against a real project: `make test-bigquery-live`. Tables are made and dropped in datasets
# named transload_*, load_* and table_*; load jobs are free, queries bill a few megabytes each.
#   TRANSLOAD_LIVE_BIGQUERY_PROJECT   the project
#   GOOGLE_APPLICATION_CREDENTIALS    a key file; or log in with `gcloud auth application-default login`
# A dry run takes the emulator for Google, to prove this script and the way that tests take; nothing about Google:
#   TRANSLOAD_RUN_DIR=DIR scripts/bigquery_live.sh --dry-run     (services that run there)
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=../connectors/testkit/services/lib.sh
source connectors/testkit/services/lib.sh

case ${1:-} in
  --dry-run)
    [[ -r ${TRANSLOAD_RUN_DIR:-}/env ]] || die "no services for a dry run: set TRANSLOAD_RUN_DIR (see make services-up)"
    # shellcheck disable=SC1091
    source "$TRANSLOAD_RUN_DIR/env"
    TRANSLOAD_TEST_BIGQUERY_TOKEN=dry-run
    ;;
  '')
    [[ -n ${TRANSLOAD_LIVE_BIGQUERY_PROJECT:-} ]] ||
      die "no real project: set TRANSLOAD_LIVE_BIGQUERY_PROJECT (and GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud)"
    have gcloud || die "no gcloud: the tests ask it for access tokens"
    TRANSLOAD_TEST_BIGQUERY_TOKEN=$(gcloud auth application-default print-access-token) ||
      die "no credentials: set GOOGLE_APPLICATION_CREDENTIALS or run gcloud auth application-default login"
    export TRANSLOAD_TEST_BIGQUERY_URL=https://bigquery.googleapis.com
    export TRANSLOAD_TEST_BIGQUERY_PROJECT=$TRANSLOAD_LIVE_BIGQUERY_PROJECT
    ;;
  *) die "usage: bigquery_live.sh [--dry-run]" ;;
esac
export TRANSLOAD_TEST_BIGQUERY_TOKEN
need_rust
# What needs a proxy, a Cloud Storage of our own or a Python client at the emulator's address stays out.
local_only=(--skip cloud_storage --skip storage_write --skip googles_own_client)
cargo test -p transload-bigquery --test behaviour
cargo test -p transload-bigquery --test ways --test table --test source -- "${local_only[@]}"
