"""Times a whole job from PostgreSQL into the BigQuery emulator beside its two halves: extraction alone, and the
emulator's own time for loading the same rows from Parquet. Standard library only; see README.md."""

import glob, json, os, subprocess, sys, time, urllib.request
from urllib.parse import urlsplit

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
REPS = int(os.environ.get("BENCH_REPS", "3"))
BIN, WORK = os.environ["BENCH_BIN"], os.environ["BENCH_WORK"]
URL = os.environ["TRANSLOAD_TEST_POSTGRES_URL"]
BIGQUERY, PROJECT = os.environ["TRANSLOAD_TEST_BIGQUERY_URL"], os.environ["TRANSLOAD_TEST_BIGQUERY_PROJECT"]
DATASET, TABLE = "bench", f"bench_lineitem_{ROWS}"
# TPC-H's lineitem in shape: 16 columns; the values hang on the row's number.
MAKE = f"""create table {TABLE} as select
  (i / 4)::bigint l_orderkey, (i * 7919 % 200000)::bigint l_partkey, (i * 104729 % 10000)::bigint l_suppkey,
  (i % 4 + 1)::int l_linenumber, (i % 50 + 1)::numeric(15,2) l_quantity,
  ((i * 7919 % 9000000) / 100.0 + 900)::numeric(15,2) l_extendedprice, ((i % 11) / 100.0)::numeric(15,2) l_discount,
  ((i % 9) / 100.0)::numeric(15,2) l_tax, (array['A','N','R'])[(1 + i % 3)::int]::char(1) l_returnflag,
  (array['F','O'])[(1 + i % 2)::int]::char(1) l_linestatus, date '1992-01-02' + (i * 31 % 2520)::int l_shipdate,
  date '1992-02-01' + (i * 17 % 2460)::int l_commitdate, date '1992-01-04' + (i * 13 % 2540)::int l_receiptdate,
  (array['DELIVER IN PERSON','COLLECT COD','NONE','TAKE BACK RETURN'])[(1 + i % 4)::int]::char(25) l_shipinstruct,
  (array['AIR','FOB','MAIL','RAIL','REG AIR','SHIP','TRUCK'])[(1 + i % 7)::int]::char(10) l_shipmode,
  left(md5(i::text) || ' ' || md5((i * 3)::text), 10 + (i % 34)::int)::varchar(44) l_comment
from generate_series(1::bigint, {ROWS}) as n(i)"""


def psql(sql):
    done = subprocess.run(["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", URL, "-c", sql], check=True,
                          text=True, stdout=subprocess.PIPE)
    return done.stdout.strip()


def tool(*arguments):
    """The JSON that one of transload's example programs prints."""
    done = subprocess.run(arguments, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{arguments[0]} failed: {done.stdout}")
    return json.loads(done.stdout.splitlines()[-1])


def call(method, path, body=None, content_type="application/json", ok=(200,)):
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BIGQUERY + path, data, {"content-type": content_type}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        if error.code in ok:
            return None
        sys.exit(f"{method} {path}: {error.code} {error.read()[:500]}")


def job(name, destination):
    at = urlsplit(URL)
    os.environ["BENCH_PASSWORD"] = at.password or ""
    source = {"name": "source", "type": "postgresql", "host": at.hostname, "port": at.port, "database": "postgres",
              "username": at.username, "credentials": "env:BENCH_PASSWORD", "tls": "disable"}
    document = {"name": name, "source": {"connection": "source", "schema": "public", "table": TABLE},
                "destination": {"connection": destination["name"], "dataset": DATASET, "table": name},
                "mapping": {"detect_types": False}}
    path = f"{WORK}/{name}.json"
    with open(path, "w") as file:
        json.dump({"connections": [source, destination], "jobs": [document]}, file)
    report = tool(f"{BIN}/run", path)
    assert report["status"] == "succeeded" and report["rows"]["written"] == ROWS, report
    return report


def emulator_load(files):
    """Seconds that the emulator takes for one load job per file, one after the other, into a table made before."""
    base = f"/bigquery/v2/projects/{PROJECT}"
    schema = call("GET", f"{base}/datasets/{DATASET}/tables/whole")["schema"]
    call("DELETE", f"{base}/datasets/{DATASET}/tables/alone", ok=(404,))
    reference = {"projectId": PROJECT, "datasetId": DATASET, "tableId": "alone"}
    call("POST", f"{base}/datasets/{DATASET}/tables", {"tableReference": reference, "schema": schema})
    seconds = 0.0
    for path in files:
        with open(path, "rb") as file:
            content = file.read()
        load = {"configuration": {"load": {"destinationTable": reference, "sourceFormat": "PARQUET",
                                           "writeDisposition": "WRITE_APPEND"}}}
        body = (b"--limit\r\nContent-Type: application/json\r\n\r\n" + json.dumps(load).encode()
                + b"\r\n--limit\r\nContent-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--limit--\r\n")
        began = time.monotonic()
        done = call("POST", f"/upload{base}/jobs?uploadType=multipart", body, "multipart/related; boundary=limit")
        while done["status"]["state"] != "DONE":
            time.sleep(0.02)
            done = call("GET", f"{base}/jobs/{done['jobReference']['jobId']}")
        seconds += time.monotonic() - began
        assert "errorResult" not in done["status"], done["status"]
    return seconds


def main():
    os.makedirs(WORK, exist_ok=True)
    if psql(f"select to_regclass('{TABLE}') is null") == "t":
        psql(MAKE)
        psql(f"vacuum analyze {TABLE}")
    warehouse = {"name": "warehouse", "type": "bigquery", "project": PROJECT, "endpoint": BIGQUERY}
    parquet = {"name": "lake", "type": "dataset", "path": f"{WORK}/lake"}
    job("files", parquet)
    files = sorted(glob.glob(f"{WORK}/lake/{DATASET}/files/**/*.parquet", recursive=True))
    times = {"extraction": [], "emulator": [], "whole": []}
    phases = []
    for repetition in range(REPS + 1):
        whole = job("whole", warehouse)
        extraction = tool(f"{BIN}/read", f"{URL}?tls=disable", f"public.{TABLE}")["seconds"]
        emulator = emulator_load(files)
        if repetition:  # the first warms up
            times["extraction"].append(extraction)
            times["emulator"].append(emulator)
            times["whole"].append(whole["seconds"]["total"])
            phases.append(whole["seconds"])
    best = {name: min(seconds) for name, seconds in times.items()}
    bound = max(best["extraction"], best["emulator"])
    print(f"{ROWS:,} rows, {sum(map(os.path.getsize, files)) / 1e6:.1f} MB of Parquet, best of {REPS}")
    for name, seconds in times.items():
        print(f"{name:<12} {best[name]:7.2f} s   all: {' '.join(f'{s:.2f}' for s in seconds)}")
    best_phases = phases[times["whole"].index(best["whole"])]
    print("whole, by phase: " + ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in best_phases.items()))
    print(f"whole / max(extraction, emulator) = {best['whole'] / bound:.2f} (target 1.15)")
    print(f"whole / (extraction + emulator)   = {best['whole'] / (best['extraction'] + best['emulator']):.2f}")


main()
