"""transload beside its peers, interleaved in one run. See README.md.

usage: compare.py [--works pg-arrow,pg-parquet,wide-arrow,wide-parquet,small,text-parquet,maria-arrow,maria-parquet] [--peers substring,...] [--reps 3] [--json FILE]
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
MARIA = os.environ.get("TRANSLOAD_TEST_MARIADB_URL", "")  # needed by the works of MariaDB only
SF = float(os.environ.get("BENCH_SF", "1"))
CSV = f"{WORK}/lineitem-{SF:g}.csv"
OUT = f"{WORK}/out"
WIDE_ROWS = int(1_000_000 * SF)
MONEY = ["l_quantity", "l_extendedprice", "l_discount", "l_tax"]
DDL = """create table lineitem (
  l_orderkey bigint not null, l_partkey bigint not null, l_suppkey bigint not null, l_linenumber integer not null,
  l_quantity numeric(15,2) not null, l_extendedprice numeric(15,2) not null, l_discount numeric(15,2) not null,
  l_tax numeric(15,2) not null, l_returnflag char(1) not null, l_linestatus char(1) not null,
  l_shipdate date not null, l_commitdate date not null, l_receiptdate date not null,
  l_shipinstruct char(25) not null, l_shipmode char(10) not null, l_comment varchar(44) not null)"""


MARIA_DDL = """create table lineitem (
  l_orderkey bigint not null, l_partkey bigint not null, l_suppkey bigint not null, l_linenumber integer not null,
  l_quantity decimal(15,2) not null, l_extendedprice decimal(15,2) not null, l_discount decimal(15,2) not null,
  l_tax decimal(15,2) not null, l_returnflag char(1) not null, l_linestatus char(1) not null,
  l_shipdate date not null, l_commitdate date not null, l_receiptdate date not null,
  l_shipinstruct char(25) not null, l_shipmode char(10) not null, l_comment varchar(44) not null,
  primary key (l_orderkey, l_linenumber)) default charset = utf8mb4"""


# 40 columns: integers, decimals up to 38 digits, floats, booleans, dates, times, uuid, jsonb, text of 5 to 200
# characters; a fifth of each but the key is NULL. The server makes it: each value hangs on its row and column.
WIDE = {
    "i16": ("smallint", "({h} % 32000)"), "i32a": ("integer", "{h}"), "i32b": ("integer", "abs({h} % 1000)"), "i32c": ("integer", "abs({h} % 10)"),
    "i64a": ("bigint", "{l} / 2"), "i64b": ("bigint", "abs({l} % 100000000)"), "i64c": ("bigint", "i * 17 + 3"),
    "f32": ("real", "{h} / 1000.0"), "f64a": ("double precision", "{h} / 7.0"), "f64b": ("double precision", "exp({h} % 40 - 20)"),
    "n10_2": ("numeric(10,2)", "({l} % 9999999999) / 100.0"), "n18_4": ("numeric(18,4)", "({l} % 999999999999999) / 10000.0"),
    "n30_6": ("numeric(30,6)", "({l} % 1000000000000000)::numeric * 1000003"), "n38_10": ("numeric(38,10)", "({l} % 1000000000000000000)::numeric + 0.0123456789"),
    "b1": ("boolean", "{h} % 2 = 0"), "b2": ("boolean", "{h} % 10 = 0"), "b3": ("boolean", "{h} % 100 = 0"),
    "d1": ("date", "date '1950-01-01' + abs({h} % 36500)"), "d2": ("date", "date '2020-01-01' + abs({h} % 1500)"),
    "ts1": ("timestamp", "timestamp '2015-01-01' + {h} * interval '97 microseconds'"), "ts2": ("timestamp", "date_trunc('second', timestamp '2015-01-01' + {h} * interval '1 second')"),
    "ts3": ("timestamp", "date_trunc('milliseconds', timestamp '2015-01-01' + {h} * interval '97 microseconds')"),
    "tz1": ("timestamptz", "timestamptz '2015-01-01' + {h} * interval '97 microseconds'"), "tz2": ("timestamptz", "date_trunc('second', timestamptz '2015-01-01' + {h} * interval '1 second')"),
    "u1": ("uuid", "md5(i || 'u1')::uuid"), "u2": ("uuid", "md5(i || 'u2')::uuid"),
    "j1": ("jsonb", "jsonb_build_object('id', i, 'tag', left(md5(i::text), 6), 'score', abs({h} % 1000) / 10.0)"),
    "j2": ("jsonb", "jsonb_build_object('items', jsonb_build_array(abs({h} % 100), 7), 'nested', jsonb_build_object('on', {h} % 2 = 0, 'name', left(md5(i::text), 8)))"),
    "t_code": ("text", "upper(left(md5(i || 'code'), 8))"), "t_short": ("text", "left(md5(i || 's'), 5 + abs({h} % 12))"), "t_name": ("text", "initcap(left(md5(i || 'n'), 7) || ' ' || left(md5(i || 'm'), 6))"),
    "t_email": ("text", "left(md5(i || 'e'), 7) || '.' || abs({h} % 100000) || '@' || left(md5(i || 'f'), 6) || '.example'"),
    "t_city": ("text", "'City of ' || (array['Amber','Beacon','Cobalt','Delta','Ember','Falcon','Garnet','Harbor'])[1 + abs({h} % 8)]"),
    "t_country": ("text", "(array['NL','DE','FR','US','JP'])[1 + abs({h} % 5)] || '-XYZ'"), "t_status": ("text", "(array['active','closed','pending','on hold'])[1 + abs({h} % 4)]"),
    "t_uni": ("text", "(array['Größe ','日本語 ','naïve ','🚀 '])[1 + abs({h} % 4)] || left(md5(i || 'v'), 20)"),
    "t_mid": ("text", "left(repeat(md5(i || 'w') || ' ', 3), 15 + abs({h} % 60))"), "t_long1": ("text", "left(repeat(md5(i || 'x') || ' ', 7), 60 + abs({h} % 140))"), "t_long2": ("text", "left(repeat(md5(i || 'y') || ' ', 7), 60 + abs({h} % 140))"),
}


def psql(sql, **kw):
    return subprocess.run(["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", URL, "-c", sql], check=True, text=True, **kw)


def mariadb(sql):
    at = urlsplit(MARIA)
    client = ["mariadb", "--no-defaults", "--batch", "--skip-column-names", "--local-infile=1", f"--host={at.hostname}",
              f"--port={at.port}", f"--user={at.username}", at.path[1:], "-e", sql]
    return subprocess.run(client, check=True, text=True, stdout=subprocess.PIPE, env={**os.environ, "MYSQL_PWD": at.password}).stdout


def count(table):
    there = psql(f"select to_regclass('{table}') is not null", stdout=subprocess.PIPE).stdout.strip() == "t"
    return int(psql(f"select count(*) from {table}", stdout=subprocess.PIPE).stdout) if there else 0


def generate(with_mariadb):
    """The tables, where the server does not have them yet: lineitem by DuckDB's dbgen, also as CSV."""
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
    if not count("lineitem"):
        psql(DDL)
        psql(f"\\copy lineitem from '{CSV}' with (format csv, header true)")
    if not count("wide"):
        columns = ", ".join(f"{name} {kind}" for name, (kind, _) in WIDE.items())
        psql(f"create table wide (id bigint not null, {columns})")
        values = []
        for name, (kind, value) in WIDE.items():
            value = value.replace("{h}", f"hashint8extended(i, hashtext('{name}'))::int8::bit(31)::int").replace("{l}", f"hashint8extended(i, hashtext('{name}'))")
            values.append(f"case when hashint8extended(i, hashtext('null {name}')) % 5 <> 0 then ({value})::{kind} end")
        psql(f"insert into wide select i, {', '.join(values)} from generate_series(1::bigint, {WIDE_ROWS}) i")
    if not count("tiny"):
        psql("create table tiny as select * from lineitem limit 100")
    psql("vacuum (analyze, freeze)")
    if with_mariadb and not mariadb("show tables like 'lineitem'"):
        mariadb(f"set global innodb_buffer_pool_size = 2147483648; set global local_infile = 1; {MARIA_DDL}; set sql_log_bin = 0; "
                f"load data local infile '{CSV}' into table lineitem character set utf8mb4 fields terminated by ',' "
                "optionally enclosed by '\"' ignore 1 lines; analyze table lineitem")
    return {table: count(table) for table in ("lineitem", "wide", "tiny")}


# ---- peers: functions that run in a child process -------------------------------------------------------------

def duck(extension=None):
    import duckdb

    con = duckdb.connect(config={"extension_directory": f"{WORK}/duckdb"})
    if extension:
        con.execute(f"load {extension}")
        at = urlsplit(URL)
        con.execute(f"attach 'host={at.hostname} port={at.port} user={at.username} password={at.password} dbname=postgres' as db (type postgres, read_only)")
    return con


def duckdb_arrow(table):
    return len(duck("postgres_scanner").sql(f"select * from db.public.{table}").to_arrow_table())


def duckdb_parquet(table, codec):
    con = duck("postgres_scanner")
    con.execute(f"set preserve_insertion_order=false; copy (select * from db.public.{table}) to '{OUT}/duckdb.parquet' (format parquet, compression {codec})")


def connectorx_arrow(table, parts):
    import connectorx

    # It cannot read decimals of more than 28 digits.
    columns = [f"{c}::float8 as {c}" if c in ("n30_6", "n38_10") else c for c in ["id", *WIDE]] if table == "wide" else ["*"]
    more = {"partition_on": "id" if table == "wide" else "l_orderkey", "partition_num": parts} if parts > 1 else {}
    protocol = "cursor" if table == "lineitem" else "binary"  # the faster one, each
    return connectorx.read_sql(URL, f"select {', '.join(columns)} from {table}", return_type="arrow", protocol=protocol, **more)


def connectorx_parquet(table, parts, codec):
    import pyarrow.parquet as pq

    pq.write_table(connectorx_arrow(table, parts), f"{OUT}/connectorx.parquet", compression=codec)


def adbc_arrow(table):
    import adbc_driver_postgresql.dbapi as dbapi

    with dbapi.connect(URL) as con, con.cursor() as cursor:
        cursor.execute(f"select * from {table}")
        return cursor.fetch_arrow_table().num_rows


def adbc_parquet(table, codec):
    import adbc_driver_postgresql.dbapi as dbapi
    import pyarrow.parquet as pq

    with dbapi.connect(URL) as con, con.cursor() as cursor:
        cursor.execute(f"select * from {table}")
        reader = cursor.fetch_record_batch()
        with pq.ParquetWriter(f"{OUT}/adbc.parquet", reader.schema, compression=codec) as writer:
            for batch in reader:
                writer.write_batch(batch)


def dlt_parquet(table, backend):
    import dlt
    from dlt.sources.sql_database import sql_table

    os.environ.update({"DLT_DATA_DIR": f"{OUT}/dlt", "RUNTIME__DLTHUB_TELEMETRY": "false"})
    pipeline = dlt.pipeline("bench", destination=dlt.destinations.filesystem(f"file://{OUT}/lake"), dataset_name="raw", pipelines_dir=f"{OUT}/dlt")
    url = URL.replace("postgresql:", "postgresql+psycopg2:")
    pipeline.run(sql_table(url, table=table, schema="public", backend=backend), loader_file_format="parquet", write_disposition="replace")


def duckdb_text(codec):
    types = "{" + ", ".join(f"'{c}': 'DECIMAL(15,2)'" for c in MONEY) + "}"
    duck().execute(f"set preserve_insertion_order=false; copy (select * from read_csv('{CSV}', types={types})) to '{OUT}/duckdb.parquet' (format parquet, compression {codec})")


def polars_text(codec):
    import polars as pl

    overrides = {c: pl.Decimal(15, 2) for c in MONEY}
    pl.scan_csv(CSV, try_parse_dates=True, schema_overrides=overrides).sink_parquet(f"{OUT}/polars.parquet", compression=codec)


def connectorx_maria_arrow(parts):
    import connectorx

    more = {"partition_on": "l_orderkey", "partition_num": parts} if parts > 1 else {}
    return connectorx.read_sql(MARIA, "select * from lineitem", return_type="arrow", protocol="binary", **more)


def connectorx_maria_parquet(parts, codec):
    import pyarrow.parquet as pq

    pq.write_table(connectorx_maria_arrow(parts), f"{OUT}/connectorx.parquet", compression=codec)


def polars_maria_parquet(codec):
    import polars as pl

    pl.read_database_uri("select * from lineitem", MARIA, partition_on="l_orderkey", partition_num=2).write_parquet(f"{OUT}/polars.parquet", compression=codec)


def dlt_maria_parquet(backend):
    import dlt
    from dlt.sources.sql_database import sql_table

    os.environ.update({"DLT_DATA_DIR": f"{OUT}/dlt", "RUNTIME__DLTHUB_TELEMETRY": "false"})
    pipeline = dlt.pipeline("bench", destination=dlt.destinations.filesystem(f"file://{OUT}/lake"), dataset_name="raw", pipelines_dir=f"{OUT}/dlt")
    pipeline.run(sql_table(MARIA.replace("mysql:", "mysql+pymysql:"), table="lineitem", backend=backend), loader_file_format="parquet", write_disposition="replace")


def python(call):
    return [sys.executable, os.path.abspath(__file__), "--call", call]


def psql_copy(table, parts):
    pages = int(psql(f"select pg_relation_size('{table}') / 8192", stdout=subprocess.PIPE).stdout)
    one = "psql -X -q '{}' -c \"copy (select * from {}{}) to stdout (format binary)\" > /dev/null"
    if parts == 1:
        return ["bash", "-c", one.format(URL, table, "")]
    halves = (f" where ctid < '({pages // 2},0)'::tid", f" where ctid >= '({pages // 2},0)'::tid")
    return ["bash", "-c", " & ".join(one.format(URL, table, half) for half in halves) + " & wait"]


def transload_read(table, parts):
    return [f"{BIN}/read", f"{URL}?tls=disable", f"public.{table}", f"parallelism={parts}"]


def transload_run(source, codec, table, overrides=None, profile="off"):
    """Without a profile of the columns, since no peer makes one; one more run shows what it costs."""
    lake = {"name": "lake", "type": "dataset", "path": f"{OUT}/transload", "compression": codec}
    job = {
        "name": "bench", "source": {"connection": "source", **table},
        "destination": {"connection": "lake", "dataset": "raw", "table": "lineitem"},
        "mapping": {"overrides": overrides or {}}, "profile": profile,
    }
    path = f"{WORK}/job-{source['type']}-{table['table']}-{codec}-{profile}.json"
    with open(path, "w") as file:
        json.dump({"connections": [source, lake], "jobs": [job]}, file)
    return [f"{BIN}/run", path]


def postgres_source():
    at = urlsplit(URL)
    os.environ["BENCH_PASSWORD"] = at.password
    return {"name": "source", "type": "postgresql", "host": at.hostname, "port": at.port, "database": "postgres",
            "username": at.username, "credentials": "env:BENCH_PASSWORD", "tls": "disable"}


def arrow_peers(table):
    return {
        "limit: psql, 1 connection": psql_copy(table, 1), "limit: psql, 2 connections": psql_copy(table, 2),
        "transload, 1 connection": transload_read(table, 1), "transload, 2 connections": transload_read(table, 2),
        "duckdb": python(f"duckdb_arrow('{table}')"), "connectorx, 2 partitions": python(f"connectorx_arrow('{table}', 2)"),
        "connectorx": python(f"connectorx_arrow('{table}', 1)"), "adbc": python(f"adbc_arrow('{table}')"),
    }


def parquet_peers(table):
    at = {"schema": "public", "table": table}
    return {
        "transload, zstd": transload_run(postgres_source(), "zstd", at), "transload, snappy": transload_run(postgres_source(), "snappy", at),
        "transload, snappy, with a profile": transload_run(postgres_source(), "snappy", at, profile="values"),
        "duckdb, zstd": python(f"duckdb_parquet('{table}', 'zstd')"), "duckdb, snappy": python(f"duckdb_parquet('{table}', 'snappy')"),
        "connectorx, 2 partitions, snappy": python(f"connectorx_parquet('{table}', 2, 'snappy')"),
        "adbc, snappy": python(f"adbc_parquet('{table}', 'snappy')"),
        "dlt, connectorx": python(f"dlt_parquet('{table}', 'connectorx')"), "dlt, pyarrow": python(f"dlt_parquet('{table}', 'pyarrow')"),
    }


def maria_peers():
    """Rows to nowhere by the server's own client, into Arrow, and into Parquet."""
    at = urlsplit(MARIA)
    os.environ.update({"BENCH_MARIA_PASSWORD": at.password or "", "MYSQL_PWD": at.password or ""})
    client = f"mariadb --no-defaults -h {at.hostname} -P {at.port} -u {at.username} --quick --batch {at.path[1:]}"
    source = {"name": "source", "type": "mysql", "host": at.hostname, "port": at.port, "username": at.username,
              "credentials": "env:BENCH_MARIA_PASSWORD", "tls": "disable"}
    read = [f"{BIN}/read", f"{MARIA}?tls=disable", f"{at.path[1:]}.lineitem"]
    table = {"schema": at.path[1:], "table": "lineitem"}
    arrow = {
        "limit: mariadb --quick": ["bash", "-c", f"{client} -e 'select * from lineitem' > /dev/null"],
        "transload, 1 connection": [*read, "parallelism=1"], "transload, 2 connections": [*read, "parallelism=2"],
        "connectorx": python("connectorx_maria_arrow(1)"), "connectorx, 2 partitions": python("connectorx_maria_arrow(2)"),
    }
    parquet = {
        "transload, zstd": transload_run(source, "zstd", table), "transload, snappy": transload_run(source, "snappy", table),
        "connectorx, 2 partitions, snappy": python("connectorx_maria_parquet(2, 'snappy')"),
        "polars, 2 partitions, snappy": python("polars_maria_parquet('snappy')"),
        "dlt, connectorx": python("dlt_maria_parquet('connectorx')"), "dlt, pyarrow": python("dlt_maria_parquet('pyarrow')"),
    }
    return arrow, parquet


def works():
    """For each: the table, and the commands."""
    maria_arrow, maria_parquet = maria_peers()
    text = {"name": "source", "type": "files", "path": CSV}
    money = {c: {"type": "NUMERIC(15,2)"} for c in MONEY}
    file = {"table": os.path.basename(CSV)}
    return {
        "pg-arrow": ("lineitem", arrow_peers("lineitem")), "pg-parquet": ("lineitem", parquet_peers("lineitem")),
        "wide-arrow": ("wide", arrow_peers("wide")), "wide-parquet": ("wide", parquet_peers("wide")),
        "small": ("tiny", {name: peer for name, peer in parquet_peers("tiny").items() if "dlt" not in name}),
        "text-parquet": ("lineitem", {
            "transload, snappy": transload_run(text, "snappy", file, money), "transload, zstd": transload_run(text, "zstd", file, money),
            "duckdb, snappy": python("duckdb_text('snappy')"), "polars, snappy": python("polars_text('snappy')"),
        }),
        "maria-arrow": ("lineitem", maria_arrow), "maria-parquet": ("lineitem", maria_parquet),
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
    options.add_argument("--works", default="pg-arrow,pg-parquet,wide-arrow,wide-parquet,small,text-parquet,maria-arrow,maria-parquet")
    options.add_argument("--peers", default="")
    options.add_argument("--reps", type=int, default=3)
    options.add_argument("--json")
    options = options.parse_args()
    tables = generate("maria" in options.works)
    wanted = [p for p in options.peers.split(",") if p]
    results = []
    for work, (table, peers) in works().items():
        if work not in options.works.split(","):
            continue
        rows = tables[table]
        peers = {n: c for n, c in peers.items() if not wanted or any(w in n for w in wanted)}
        runs = {name: [] for name in peers}
        for _ in range(options.reps):
            for name, command in peers.items():
                try:
                    runs[name].append(measure(command))
                except RuntimeError as error:
                    print(f"{work}: {name} failed: {error}", file=sys.stderr)
        print(f"\n{work}: {table}, {rows:,} rows, medians of {options.reps}\n")
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
