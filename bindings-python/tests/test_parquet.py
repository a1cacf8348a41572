"""Files of a dataset as readers see them that share no code with their writer."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import job
from transload import Connection, Runner

# Row groups of several pages, in which dictionaries become too large.
ROWS = 130_000
ROW_GROUP_ROWS = 70_000


def every_type() -> pa.Table:
    """Columns of all types whose values are few, many, or no two the same; most with NULLs."""
    numbers = range(ROWS)
    some = [n if n % 7 else None for n in numbers]
    day = dt.date(1970, 1, 1)
    moment = dt.datetime(2024, 1, 1)

    def column(of: object, type_: pa.DataType, values: list[int | None] = some) -> pa.Array:
        return pa.array([None if n is None else of(n) for n in values], type_)  # type: ignore[operator]

    cents = [decimal.Decimal(n - 500).scaleb(-2) for n in range(1000)]
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "few": column(lambda n: n * 7919 % 5000 - 2500, pa.int64()),
            "grows": column(lambda n: n * 7919 % 3000 if n < 20_000 else n, pa.int64()),
            "words_grow": column(lambda n: f"w{n * 7919 % 3000 if n < 20_000 else n}", pa.string()),
            "ones": column(lambda n: b"\xff" * (70 if n % 5 == 0 else 3), pa.binary()),
            "nothing": pa.nulls(ROWS, pa.int64()),
            "one": pa.array(["x"] * ROWS, pa.string()),
            "word": column(lambda n: "é" * (n % 20) + "w", pa.string()),
            "long": column(lambda n: "a" * 70 + str(n % 300), pa.string()),
            "note": column(lambda n: f"note {n * 7919}", pa.string()),
            "raw": column(lambda n: bytes([n % 256]) * (n % 5), pa.binary()),
            "day": column(lambda n: day + dt.timedelta(n % 3000 - 1500), pa.date32()),
            "moment": column(lambda n: moment + dt.timedelta(seconds=n % 1000), pa.timestamp("us")),
            "instant": column(lambda n: moment + dt.timedelta(seconds=n), pa.timestamp("us", "UTC")),
            "clock": column(lambda n: dt.time(n % 24, n % 60), pa.time64("us")),
            "small": column(lambda n: cents[n % 1000], pa.decimal128(9, 2)),
            "money": column(lambda n: cents[n % 1000] * 10**9, pa.decimal128(18, 2)),
            "wide": column(lambda n: cents[n % 1000] * 10**20, pa.decimal128(38, 2)),
            "ratio": column(lambda n: n % 100 / 8, pa.float64()),
            "flag": column(lambda n: n % 3 == 0, pa.bool_()),
            "list": pa.array([[n, n + 1] if n % 3 else [] for n in numbers], pa.list_(pa.int64())),
        }
    )


def check(files: list[Path], source: pa.Table) -> None:
    """The files hold the rows of `source`, and each row group's statistics are those of its rows."""
    groups = 0
    tables = []
    for file in files:
        read = pq.ParquetFile(file)
        table = read.read()
        tables.append(table)
        start = 0
        for index in range(read.num_row_groups):
            group = read.metadata.row_group(index)
            rows = table.slice(start, group.num_rows)
            start += group.num_rows
            groups += 1
            for leaf in range(group.num_columns):
                chunk = group.column(leaf)
                if "." in chunk.path_in_schema or chunk.path_in_schema == "wide":
                    continue  # pyarrow gives no statistics of lists as values, nor of wide decimals
                check_statistics(chunk.statistics, rows[chunk.path_in_schema], chunk.path_in_schema)
                if rows["id"][0].as_py() == 0 and "grow" in chunk.path_in_schema:
                    # The dictionary had become too large, and the chunk went on without it.
                    assert {"PLAIN", "RLE_DICTIONARY"} <= set(chunk.encodings)
    assert groups > len(files), "several row groups in a file"
    back = pa.concat_tables(tables).sort_by("id")
    for name in source.column_names:
        assert back[name].cast(source[name].type).equals(source[name]), name

    # pyarrow leaves out row groups by their statistics.
    ones = pq.read_table([str(file) for file in files][0], filters=[("ones", "=", b"\xff" * 70)])
    assert ones.num_rows == sum(n % 5 == 0 and n % 7 != 0 for n in tables[0]["id"].to_pylist())

    names = [str(file) for file in files]
    original = source  # noqa: F841  # duckdb finds it by its name
    columns = ", ".join(f'"{name}"' for name in source.column_names)
    differences = f"""SELECT count(*) FROM (
        (SELECT {columns} FROM read_parquet($files) EXCEPT ALL SELECT {columns} FROM original)
        UNION ALL (SELECT {columns} FROM original EXCEPT ALL SELECT {columns} FROM read_parquet($files)))"""
    assert duckdb.execute(differences, {"files": names}).fetchone() == (0,)
    # By statistics and by pages that are skipped.
    few = "SELECT count(*), sum(id) FROM read_parquet($files) WHERE note = $note OR (day > $day AND few = -2500)"
    wanted = {"note": "note 7919", "day": dt.date(1970, 1, 2)}
    expected = duckdb.execute(few.replace("read_parquet($files)", "original"), wanted).fetchone()
    assert duckdb.execute(few, wanted | {"files": names}).fetchone() == expected


def check_statistics(statistics: pq.Statistics, values: pa.ChunkedArray, name: str) -> None:
    assert statistics.null_count == values.null_count, name
    if statistics.has_distinct_count:
        assert statistics.distinct_count == pc.count_distinct(values).as_py(), name
    lowest, highest = pc.min_max(values).as_py().values()
    if lowest is None:
        assert not statistics.has_min_max, name
    elif name == "ones":
        assert not statistics.has_min_max, "there is no short bound above it, and one alone misleads readers"
    elif name == "long":
        assert lowest.startswith(statistics.min) and statistics.max > highest
        assert len(statistics.max.encode()) <= 64
    else:
        assert (statistics.min, statistics.max) == (lowest, highest), name


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
def test_other_readers_find_every_type_and_true_statistics(tmp_path: Path, compression: str) -> None:
    shop = Connection("memory:parquet", name="shop")
    source = every_type()
    shop.put("public.orders", source)
    path = tmp_path / "lake"
    lake = Connection(type="dataset", name="lake", path=path, compression=compression, row_group_rows=ROW_GROUP_ROWS)
    report = Runner([shop, lake]).run(job(mapping={"overrides": {"wide": {"type": "BIGNUMERIC(38,2)"}}}))
    assert report.rows["written"] == ROWS
    check(sorted(path.glob("raw/orders/*/*.parquet")), source)
