"""Times reading a table of the BigQuery emulator into Arrow: transload's example `read` beside Google's own client
(`to_arrow` through the Storage Read API), a process each, in turns. Standard library only; see README.md."""

import json, os, subprocess, sys, time, urllib.error, urllib.request

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
REPS = int(os.environ.get("BENCH_REPS", "3"))
HERE, BIN = os.path.dirname(os.path.abspath(__file__)), os.environ["BENCH_BIN"]
REST, STORAGE = os.environ["TRANSLOAD_TEST_BIGQUERY_URL"], os.environ["TRANSLOAD_TEST_BIGQUERY_GRPC"]
PROJECT, PYTHON = os.environ["TRANSLOAD_TEST_BIGQUERY_PROJECT"], os.environ["TRANSLOAD_TEST_BIGQUERY_PYTHON"]
TABLE = f"read_{ROWS}"
MAKE = f"""CREATE TABLE bench.{TABLE} AS SELECT
  i AS id, MOD(i * 7919, 200000) AS part, CAST(MOD(i, 50) AS NUMERIC) AS quantity, CAST(i AS FLOAT64) / 7 AS price,
  MOD(i, 3) = 0 AS flag, DATE_ADD(DATE '1992-01-02', INTERVAL MOD(i * 31, 2520) DAY) AS day,
  TIMESTAMP_ADD(TIMESTAMP '2024-01-01 00:00:00+00', INTERVAL i SECOND) AS at,
  CONCAT('comment ', CAST(i * 3 AS STRING), ' of some length') AS comment
FROM UNNEST(GENERATE_ARRAY(1, {ROWS})) AS i"""


def query(sql, ok=()):
    body = json.dumps({"query": sql, "useLegacySql": False, "timeoutMs": 600_000}).encode()
    request = urllib.request.Request(f"{REST}/bigquery/v2/projects/{PROJECT}/queries", body,
                                     {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            done = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        if error.code in ok:
            return
        sys.exit(f"{sql[:60]}: {error.code} {error.read()[:500]}")
    assert done["jobComplete"], done


def measure(arguments):
    """What a process prints, with the seconds and the memory (MB) that it took as a whole."""
    began = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{arguments[0]} failed: {text}")
    return json.loads(text.splitlines()[-1]) | {"process": time.monotonic() - began, "mb": usage.ru_maxrss / 1024}


def main():
    query("CREATE SCHEMA bench", ok=(409,))
    query(MAKE, ok=(409,))
    url = f"bigquery:?project={PROJECT}&endpoint={REST}&storage_endpoint={STORAGE}"
    readers = {"transload": [f"{BIN}/read", url, f"bench.{TABLE}"],
               "google": [PYTHON, "-I", f"{HERE}/google_read.py", REST, STORAGE, PROJECT, f"bench.{TABLE}"]}
    runs = {name: [] for name in readers}
    for repetition in range(REPS + 1):
        for name, arguments in readers.items():
            run = measure(arguments)
            assert run["rows"] == ROWS, run
            if repetition:  # the first warms up
                runs[name].append(run)
    print(f"{ROWS:,} rows, best of {REPS}; Arrow data: {runs['transload'][0]['bytes'] / 1e6:.1f} MB")
    best = {name: min(runs, key=lambda run: run["seconds"]) for name, runs in runs.items()}
    for name, run in best.items():
        print(f"{name:<10} read {run['seconds']:6.2f} s ({run['rows'] / run['seconds']:,.0f} rows/s), "
              f"process {run['process']:6.2f} s, {run['mb']:5.0f} MB")
    print(f"google / transload = {best['google']['seconds'] / best['transload']['seconds']:.2f} (reading), "
          f"{best['google']['process'] / best['transload']['process']:.2f} (whole process)")


main()
