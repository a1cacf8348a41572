"""Start local-bigquery on a DuckDB that works without the network.

local-bigquery 0.4.0 declares DuckDB 2.0, where every request fails offline: its `icu` extension
would have to be downloaded, and the extension packages on PyPI stop at 1.5.5. DuckDB 1.5.5 has icu
built in, but local-bigquery passes `TimeZone` in the connect configuration, which is read before
icu is active, and expects `ducklake` to be loaded by itself. So `duckdb.connect` is wrapped: it
takes the time zone out, opens the database, loads ducklake, and only then sets the zone.

Of a read session, local-bigquery takes the table and forgets the snapshot time, so that a session sees
rows that come later. Its SQL does travel in time, so the wrapper asks for the table as of that time.

It looks whether a job's id is taken and then puts the job down, with nothing between that keeps others out: two requests at
once with one id both run, which BigQuery promises not to do and exactly-once loads rest on. So submissions take turns.

The extensions are read from `$HOME/.duckdb`; up.sh sets HOME to the folder install.sh filled.
"""

import threading

import duckdb

_connect = duckdb.connect


def connect(*args, config=None, **kwargs):
    options = dict(config or {})
    time_zone = options.pop("TimeZone", None)
    connection = _connect(*args, config=options, **kwargs)
    connection.execute("LOAD ducklake")
    if time_zone:
        quoted = time_zone.replace("'", "''")
        connection.execute(f"SET GLOBAL TimeZone = '{quoted}'")
    return connection


def with_snapshot_time(read):
    """Lets `read.create_session` keep to the snapshot time that was asked for."""
    create_session, parse = read.create_session, read.parse
    asked = threading.local()

    def parse_as_of(sql):
        if getattr(asked, "micros", None) is not None:
            at = f" FOR SYSTEM_TIME AS OF TIMESTAMP_MICROS({asked.micros})"
            # `_query` builds "SELECT * FROM `project.dataset.table`", then perhaps a WHERE.
            end = sql.index("`", sql.index("`") + 1) + 1
            sql = sql[:end] + at + sql[end:]
        return parse(sql)

    def create(request):
        modifiers = request.read_session.table_modifiers
        if "snapshot_time" in modifiers:
            time = modifiers.snapshot_time
            asked.micros = int(time.timestamp()) * 1_000_000 + time.microsecond
        try:
            return create_session(request)
        finally:
            asked.micros = None

    read.parse, read.create_session = parse_as_of, create


def one_at_a_time(runner):
    """Lets a job's id be taken once."""
    submit, turn = runner.submit, threading.Lock()

    def submit_in_turn(*args, **kwargs):
        with turn:
            return submit(*args, **kwargs)

    runner.submit = submit_in_turn


if __name__ == "__main__":
    # Before the import: local_bigquery looks `duckdb.connect` up when it is imported.
    duckdb.connect = connect

    from local_bigquery.cli import main
    from local_bigquery.grpc import read
    from local_bigquery.jobs import runner

    with_snapshot_time(read)
    one_at_a_time(runner)

    main()
