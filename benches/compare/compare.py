"""transload beside its peers, interleaved in one run. See README.md.

usage: compare.py [--works pg-arrow,pg-parquet,text-parquet] [--peers substring,...] [--reps 3] [--json FILE]
Every measured run is a process of its own: wall time, CPU seconds and peak memory come from the kernel.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from urllib.parse import urlsplit

WORK = os.environ["BENCH_WORK"]
BIN = os.environ["BENCH_BIN"]
URL = os.environ["TRANSLOAD_TEST_POSTGRES_URL"]
SF = float(os.environ.get("BENCH_SF", "1"))
CSV = f"{WORK}/lineitem-{SF:g}.csv"
OUT = f"{WORK}/out"
SQL = "select * from lineitem"
MONEY = ["l_quantity", "l_extendedprice", "l_discount", "l_tax"]
DDL = """create table lineitem (
  l_orderkey bigint not null, l_partkey bigint not null, l_suppkey bigint not null, l_linenumber integer not null,
  l_quantity numeric(15,2) not null, l_extendedprice numeric(15,2) not null, l_discount numeric(15,2) not null,
  l_tax numeric(15,2) not null, l_returnflag char(1) not null, l_linestatus char(1) not null,
  l_shipdate date not null, l_commitdate date not null, l_receiptdate date not null,
  l_shipinstruct char(25) not null, l_shipmode char(10) not null, l_comment varchar(44) not null)"""


def psql(sql, **kw):
    return subprocess.run(["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", URL, "-c", sql], check=True, text=True, **kw)


def generate():
    """lineitem by DuckDB's dbgen, as CSV and as a PostgreSQL table."""
    if not os.path.exists(CSV):
        import duckdb
        from duckdb_extensions import import_extension

        con = duckdb.connect(config={"extension_directory": f"{WORK}/duckdb"})
        import_extension("tpch", con=con)
        import_extension("postgres_scanner", con=con)
        con.execute("load tpch")
        con.execute(f"call dbgen(sf={SF})")
        con.execute(f"copy lineitem to '{CSV}.tmp' (format csv, header true)")
        os.rename(f"{CSV}.tmp", CSV)
    psql(DDL)
    psql(f"\\copy lineitem from '{CSV}' with (format csv, header true)")
    psql("vacuum (analyze, freeze) lineitem")
    return int(psql("select count(*) from lineitem", stdout=subprocess.PIPE).stdout)


# ---- peers: functions that run in a child process -------------------------------------------------------------

def duck(extension=None):
    import duckdb

    con = duckdb.connect(config={"extension_directory": f"{WORK}/duckdb"})
    if extension:
        con.execute(f"load {extension}")
        at = urlsplit(URL)
        con.execute(f"attach 'host={at.hostname} port={at.port} user={at.username} password={at.password} dbname=postgres' as db (type postgres, read_only)")
    return con


def duckdb_arrow():
    return len(duck("postgres_scanner").sql("select * from db.public.lineitem").to_arrow_table())


def duckdb_parquet(codec):
    con = duck("postgres_scanner")
    con.execute(f"set preserve_insertion_order=false; copy (select * from db.public.lineitem) to '{OUT}/duckdb.parquet' (format parquet, compression {codec})")


def connectorx_arrow(parts):
    import connectorx

    more = {"partition_on": "l_orderkey", "partition_num": parts} if parts > 1 else {}
    return connectorx.read_sql(URL, SQL, return_type="arrow", protocol="binary", **more).num_rows


def connectorx_parquet(parts, codec):
    import connectorx
    import pyarrow.parquet as pq

    more = {"partition_on": "l_orderkey", "partition_num": parts} if parts > 1 else {}
    table = connectorx.read_sql(URL, SQL, return_type="arrow", protocol="binary", **more)
    pq.write_table(table, f"{OUT}/connectorx.parquet", compression=codec)
    return table.num_rows


def adbc_arrow():
    import adbc_driver_postgresql.dbapi as dbapi

    with dbapi.connect(URL) as con, con.cursor() as cursor:
        cursor.execute(SQL)
        return cursor.fetch_arrow_table().num_rows


def adbc_parquet(codec):
    import adbc_driver_postgresql.dbapi as dbapi
    import pyarrow.parquet as pq

    with dbapi.connect(URL) as con, con.cursor() as cursor:
        cursor.execute(SQL)
        reader = cursor.fetch_record_batch()
        with pq.ParquetWriter(f"{OUT}/adbc.parquet", reader.schema, compression=codec) as writer:
            for batch in reader:
                writer.write_batch(batch)


def duckdb_text(codec):
    types = "{" + ", ".join(f"'{c}': 'DECIMAL(15,2)'" for c in MONEY) + "}"
    duck().execute(f"set preserve_insertion_order=false; copy (select * from read_csv('{CSV}', types={types})) to '{OUT}/duckdb.parquet' (format parquet, compression {codec})")


def polars_text(codec):
    import polars as pl

    overrides = {c: pl.Decimal(15, 2) for c in MONEY}
    pl.scan_csv(CSV, try_parse_dates=True, schema_overrides=overrides).sink_parquet(f"{OUT}/polars.parquet", compression=codec)


def python(call):
    return [sys.executable, os.path.abspath(__file__), "--call", call]


def psql_copy(parts):
    pages = f"$(psql -X -At '{URL}' -c \"select pg_relation_size('lineitem')/8192\")"
    one = "psql -X -q '{}' -c \"copy (select * from lineitem{}) to stdout (format binary)\" > /dev/null"
    if parts == 1:
        return ["bash", "-c", one.format(URL, "")]
    first = one.format(URL, " where ctid < '($half,0)'::tid")
    second = one.format(URL, " where ctid >= '($half,0)'::tid")
    return ["bash", "-c", f"half=$(({pages}/2)); {first} & {second} & wait"]


def transload_read(parts):
    return [f"{BIN}/read", URL, "public.lineitem", f"parallelism={parts}"]


def transload_run(source, codec, table, overrides=None):
    lake = {"name": "lake", "type": "dataset", "path": f"{OUT}/transload", "compression": codec}
    job = {
        "name": "bench", "source": {"connection": "source", **table},
        "destination": {"connection": "lake", "dataset": "raw", "table": "lineitem"},
        "mapping": {"overrides": overrides or {}},
    }
    path = f"{WORK}/job-{table['table']}-{codec}.json"
    with open(path, "w") as file:
        json.dump({"connections": [source, lake], "jobs": [job]}, file)
    return [f"{BIN}/run", path]


def postgres_source():
    at = urlsplit(URL)
    os.environ["BENCH_PASSWORD"] = at.password
    return {"name": "source", "type": "postgresql", "host": at.hostname, "port": at.port, "database": "postgres",
            "username": at.username, "credentials": "env:BENCH_PASSWORD"}


def works():
    pg, table = postgres_source(), {"schema": "public", "table": "lineitem"}
    text = {"name": "source", "type": "files", "path": CSV}
    money = {c: {"type": "NUMERIC(15,2)"} for c in MONEY}
    return {
        "pg-arrow": {
            "limit: psql, 1 connection": psql_copy(1), "limit: psql, 2 connections": psql_copy(2),
            "transload, 1 connection": transload_read(1), "transload, 2 connections": transload_read(2),
            "duckdb": python("duckdb_arrow()"), "connectorx, 2 partitions": python("connectorx_arrow(2)"),
            "connectorx": python("connectorx_arrow(1)"), "adbc": python("adbc_arrow()"),
        },
        "pg-parquet": {
            "transload, zstd": transload_run(pg, "zstd", table), "transload, snappy": transload_run(pg, "snappy", table),
            "duckdb, zstd": python("duckdb_parquet('zstd')"), "duckdb, snappy": python("duckdb_parquet('snappy')"),
            "connectorx, 2 partitions, snappy": python("connectorx_parquet(2, 'snappy')"), "adbc, snappy": python("adbc_parquet('snappy')"),
        },
        "text-parquet": {
            "transload, snappy": transload_run(text, "snappy", {"table": os.path.basename(CSV)}, money),
            "transload, zstd": transload_run(text, "zstd", {"table": os.path.basename(CSV)}, money),
            "duckdb, snappy": python("duckdb_text('snappy')"), "polars, snappy": python("polars_text('snappy')"),
        },
    }


def measure(command):
    """(seconds, CPU seconds, peak MB) of a command and its children."""
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    # A helper process waits for the command, so that the kernel's figures are of this command alone.
    program = ("import json,resource,subprocess,sys,time;t=time.perf_counter();"
               "c=subprocess.run(sys.argv[1:],stdout=subprocess.PIPE,stderr=subprocess.PIPE,text=True);s=time.perf_counter()-t;"
               "r=resource.getrusage(resource.RUSAGE_CHILDREN);"
               "print(json.dumps([c.returncode,s,r.ru_utime+r.ru_stime,r.ru_maxrss/1024,c.stderr[-400:]]))")
    done = subprocess.run([sys.executable, "-c", program, *command], stdout=subprocess.PIPE, text=True, check=True)
    code, seconds, cpu, peak, stderr = json.loads(done.stdout)
    if code:
        raise RuntimeError(stderr)
    return seconds, cpu, peak


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--works", default="pg-arrow,pg-parquet,text-parquet")
    options.add_argument("--peers", default="")
    options.add_argument("--reps", type=int, default=3)
    options.add_argument("--json")
    options = options.parse_args()
    rows = generate()
    wanted = [p for p in options.peers.split(",") if p]
    results = []
    for work, peers in works().items():
        if work not in options.works.split(","):
            continue
        peers = {n: c for n, c in peers.items() if not wanted or any(w in n for w in wanted)}
        runs = {name: [] for name in peers}
        for _ in range(options.reps):
            for name, command in peers.items():
                try:
                    runs[name].append(measure(command))
                except RuntimeError as error:
                    print(f"{work}: {name} failed: {error}", file=sys.stderr)
        print(f"\n{work}: lineitem, {rows:,} rows, medians of {options.reps}\n")
        print(f"{'':34}{'seconds':>9}{'rows/s':>12}{'CPU s':>8}{'peak MB':>9}{'ratio':>7}")
        medians = {n: [statistics.median(x) for x in zip(*r)] for n, r in runs.items() if r}
        best = min((m[0] for n, m in medians.items() if n.startswith("transload")), default=None)
        for name, (seconds, cpu, peak) in sorted(medians.items(), key=lambda item: item[1][0]):
            ratio = f"{seconds / best:7.2f}" if best else ""
            print(f"{name:34}{seconds:9.2f}{rows / seconds:12,.0f}{cpu:8.2f}{peak:9.0f}{ratio}")
            results.append({"work": work, "peer": name, "rows": rows, "seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak})
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"at": time.strftime("%F %T"), "results": results}, file, indent=1)


if len(sys.argv) == 3 and sys.argv[1] == "--call":
    eval(sys.argv[2])  # one of the calls that works() wrote
else:
    main()
