#!/usr/bin/env bash
# Runs the BigQuery tests against a real project: `make test-bigquery-live`. Tables are made and dropped in datasets
# named transload_* and load_*; load jobs are free, queries bill a few megabytes.
#   TRANSLOAD_LIVE_BIGQUERY_PROJECT   the project
#   GOOGLE_APPLICATION_CREDENTIALS    a key file; or log in with `gcloud auth application-default login`
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
source connectors/testkit/services/lib.sh
[[ -n ${TRANSLOAD_LIVE_BIGQUERY_PROJECT:-} ]] ||
  die "no real project: set TRANSLOAD_LIVE_BIGQUERY_PROJECT (and GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud)"
have gcloud || die "no gcloud: the tests ask it for access tokens to look at tables by themselves"
TRANSLOAD_TEST_BIGQUERY_TOKEN=$(gcloud auth application-default print-access-token) ||
  die "no credentials: set GOOGLE_APPLICATION_CREDENTIALS or run gcloud auth application-default login"
export TRANSLOAD_TEST_BIGQUERY_TOKEN
export TRANSLOAD_TEST_BIGQUERY_URL=https://bigquery.googleapis.com
export TRANSLOAD_TEST_BIGQUERY_PROJECT=$TRANSLOAD_LIVE_BIGQUERY_PROJECT
need_rust
cargo test -p transload-bigquery --test behaviour
