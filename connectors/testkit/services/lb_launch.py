"""Start local-bigquery on a DuckDB that works without the network.

local-bigquery 0.4.0 declares DuckDB 2.0, where every request fails offline: its `icu` extension
would have to be downloaded, and the extension packages on PyPI stop at 1.5.5. DuckDB 1.5.5 has icu
built in, but local-bigquery passes `TimeZone` in the connect configuration, which is read before
icu is active, and expects `ducklake` to be loaded by itself. So `duckdb.connect` is wrapped: it
takes the time zone out, opens the database, loads ducklake, and only then sets the zone.

The extensions are read from `$HOME/.duckdb`; up.sh sets HOME to the folder install.sh filled.
"""

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


if __name__ == "__main__":
    # Before the import: local_bigquery looks `duckdb.connect` up when it is imported.
    duckdb.connect = connect

    from local_bigquery.cli import main

    main()
