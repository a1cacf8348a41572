"""Start local-bigquery on a DuckDB that works without the network.

local-bigquery 0.4.0 declares DuckDB 2.0, where every request fails offline: its `icu` extension
would have to be downloaded, and the extension packages on PyPI stop at 1.5.5. DuckDB 1.5.5 has icu
built in, but local-bigquery passes `TimeZone` in the connect configuration, which is read before
icu is active, and expects `ducklake` to be loaded by itself. So `duckdb.connect` is wrapped: it
takes the time zone out, opens the database, loads ducklake, and only then sets the zone.

Of a read session, local-bigquery takes the table and forgets the snapshot time, so that a session sees
rows that come later. Its SQL does travel in time, so the wrapper asks for the table as of that time.

It looks at what is there and then changes it, with nothing between that keeps others out, where BigQuery lets one of two
requests go first. So these take turns: submissions (two jobs of one id would both run, and exactly-once loads rest on the
promise that they do not), changes of tables (two of one etag would both begin, and one fail in the middle), and appends
to and commits of write streams (a commit that is asked for again while it runs would bring its rows twice).

`tables.delete` waits until no job writes the table.

It takes every token. The wrapper refuses the token `refused` in all gRPC requests, and `refused for rows` in those that
read rows.

The extensions are read from `$HOME/.duckdb`; up.sh sets HOME to the folder install.sh filled.
"""

import functools
import threading

import duckdb
import grpc

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


def one_at_a_time(module, name):
    """Lets a function of a module run once at a time."""
    function, turn = getattr(module, name), threading.Lock()

    @functools.wraps(function)
    def in_turn(*args, **kwargs):
        with turn:
            return function(*args, **kwargs)

    setattr(module, name, in_turn)


def with_turns_of_writers(tables, database):
    """Lets `tables.delete` wait for jobs that write the table."""
    delete = tables.delete

    def delete_in_turn(*table):
        with database.writing(*table):
            return delete(*table)

    tables.delete = delete_in_turn


class Refusing(grpc.ServerInterceptor):
    """Answers UNAUTHENTICATED to some tokens."""

    def intercept_service(self, continuation, details):
        handler = continuation(details)
        token = dict(details.invocation_metadata).get("authorization", "")
        for_rows = token == "Bearer refused for rows" and details.method.endswith("/ReadRows")
        if handler is None or not (for_rows or token == "Bearer refused"):
            return handler

        def refuse(_, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Request had invalid authentication credentials.")

        def refuse_stream(_, context):
            refuse(_, context)
            yield

        make, behaviour = {
            (False, False): (grpc.unary_unary_rpc_method_handler, refuse),
            (False, True): (grpc.unary_stream_rpc_method_handler, refuse_stream),
            (True, True): (grpc.stream_stream_rpc_method_handler, refuse_stream),
        }[handler.request_streaming, handler.response_streaming]
        return make(behaviour, handler.request_deserializer, handler.response_serializer)


if __name__ == "__main__":
    # Before the import: local_bigquery looks `duckdb.connect` up when it is imported.
    duckdb.connect = connect

    from local_bigquery.catalog import tables
    from local_bigquery.cli import main
    from local_bigquery.engine import database
    from local_bigquery.grpc import read, write
    from local_bigquery.jobs import runner

    with_snapshot_time(read)
    for module, name in [(runner, "submit"), (tables, "update"), (write, "_append"), (write, "commit")]:
        one_at_a_time(module, name)
    with_turns_of_writers(tables, database)
    server = grpc.server
    grpc.server = lambda pool: server(pool, interceptors=[Refusing()])

    main()
