"""How well types are detected in labelled text columns, beside other tools: `make detection-report`.

Every tool reads the same column from the same CSV file with its own defaults. Decimals and doubles count as one
class, because most tools know doubles only.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow.csv
from generated import columns as generated

HERE = Path(__file__).parent
ROWS = 3000
TYPES = ["INT64", "DECIMAL", "BOOL", "DATE", "DATETIME", "TIMESTAMP", "TIME", "JSON", "STRING"]


def text_of(path: Path) -> str:
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes()).decode()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.read(archive.namelist()[0]).decode()
    return path.read_text(encoding="utf-8")


def real() -> list[dict]:
    """The labelled columns of data sets that Python packages ship."""
    found = []
    with open(HERE / "labels.csv", newline="") as labels:
        for label in csv.DictReader(labels):
            package = importlib.util.find_spec(label["package"])
            folder = Path(package.submodule_search_locations[0])
            rows = csv.DictReader(io.StringIO(text_of(folder / label["file"])))
            values = [row[label["column"]] for row, _ in zip(rows, range(ROWS))]
            origin = f"{label['package']}/{label['file']}"
            found.append({"name": label["column"], "label": label["label"], "values": values, "from": origin})
    return found


def transload(columns: list[dict], program: str) -> list[dict]:
    given = [{"name": column["name"], "values": [value or None for value in column["values"]]} for column in columns]
    done = subprocess.run([program], input=json.dumps(given), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def own(name: str) -> str:
    plain = name.split("(")[0]
    return "DECIMAL" if plain in ("NUMERIC", "BIGNUMERIC", "FLOAT64") else plain


def by_duckdb(path: str) -> str:
    query = "SELECT typeof(v) FROM read_csv(?, delim=',', quote='\"', header=true) LIMIT 1"
    kind = duckdb.execute(query, [path]).fetchone()[0]
    return {
        "BIGINT": "INT64", "INTEGER": "INT64", "DOUBLE": "DECIMAL", "HUGEINT": "DECIMAL", "BIGNUM": "DECIMAL",
        "BOOLEAN": "BOOL", "DATE": "DATE", "TIME": "TIME", "TIMESTAMP": "DATETIME", "JSON": "JSON",
        "TIMESTAMP_NS": "DATETIME", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "VARCHAR": "STRING",
    }.get(kind, "DECIMAL" if kind.startswith("DECIMAL") else kind)


def by_polars(path: str) -> str:
    kind = polars.read_csv(path, try_parse_dates=True)["v"].dtype
    if kind.is_integer():
        return "DECIMAL" if kind.is_unsigned_integer() or "128" in str(kind) else "INT64"
    if kind.is_float() or kind.is_decimal():
        return "DECIMAL"
    if isinstance(kind, polars.Datetime):
        return "TIMESTAMP" if kind.time_zone else "DATETIME"
    return {"Boolean": "BOOL", "Date": "DATE", "Time": "TIME"}.get(str(kind), "STRING")


def by_pandas(path: str) -> str:
    kind = str(pandas.read_csv(path)["v"].dtype)
    if kind == "int64":
        return "INT64"
    if kind.startswith(("float", "uint")):
        return "DECIMAL"
    return "BOOL" if kind == "bool" else "STRING"


def by_pyarrow(path: str) -> str:
    kind = str(pyarrow.csv.read_csv(path)["v"].type)
    if kind.startswith("timestamp"):
        return "TIMESTAMP" if "tz=" in kind else "DATETIME"
    known = {"int64": "INT64", "double": "DECIMAL", "bool": "BOOL", "date32[day]": "DATE"}
    return known.get(kind, "TIME" if kind.startswith("time") else "STRING")


PEERS = {"DuckDB": by_duckdb, "polars": by_polars, "pandas": by_pandas, "pyarrow": by_pyarrow}


def ask(column: dict, folder: Path) -> dict[str, str]:
    path = str(folder / "column.csv")
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "v"])
        writer.writerows(enumerate(column["values"]))
    answers = {}
    for name, peer in PEERS.items():
        try:
            answers[name] = peer(path)
        except Exception as error:  # What a tool cannot read, it did not type.
            answers[name] = f"error: {type(error).__name__}"
    return answers


def share(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else "   -"


def print_types(columns: list[dict], answers: dict[str, list[str]]) -> None:
    labels = [column["label"] for column in columns]
    counts = Counter(labels)
    print(f"\n{len(columns)} columns; precision / recall / F1 per type\n")
    print("type       columns  " + "".join(f"{tool:>20}" for tool in answers))
    for kind in TYPES:
        line = f"{kind:<10} {counts[kind]:>7}  "
        for given in answers.values():
            hits = sum(1 for label, answer in zip(labels, given) if label == answer == kind)
            f1 = share(2 * hits, given.count(kind) + counts[kind])
            line += f"{share(hits, given.count(kind)):>8}/{share(hits, counts[kind])} {f1:>6}"
        print(line)
    right = {t: sum(a == b for a, b in zip(labels, given)) for t, given in answers.items()}
    print("right      " + f"{len(labels):>7}  " + "".join(f"{share(n, len(labels)):>20}" for n in right.values()))
    codes = [index for index, column in enumerate(columns) if column.get("codes")]
    typed = {t: sum(given[i] != "STRING" for i in codes) for t, given in answers.items()}
    print(f"codes lost {len(codes):>7}  " + "".join(f"{n:>20}" for n in typed.values()))


def print_calibration(columns: list[dict], found: list[dict]) -> None:
    print("\ncalibration of the score: of the columns whose best candidate has it, how many are of that type\n")
    print("score          columns  right")
    for low, high in [(0.9, 1.0), (0.7, 0.9), (0.5, 0.7), (0.0001, 0.5)]:
        scored = [(c, f) for c, f in zip(columns, found) if low <= f["score"] < high]
        right = sum(own(f["best"]) == c["label"] for c, f in scored)
        print(f"{low:.2f} to {high:.2f}   {len(scored):>7}  {share(right, len(scored))}")


def main() -> None:
    columns = real() + generated()
    found = transload(columns, sys.argv[1])
    offered = [own(f["best"]) if f["score"] >= 0.7 else "STRING" for f in found]
    answers = {"transload applied": [own(f["applied"]) for f in found], "transload offered": offered}
    with tempfile.TemporaryDirectory() as folder:
        asked = [ask(column, Path(folder)) for column in columns]
    for peer in PEERS:
        answers[peer] = [given[peer] for given in asked]
    print_types(columns, answers)
    print_calibration(columns, found)
    print("\ncolumns that transload types otherwise than their label\n")
    for column, f, offer in zip(columns, found, offered):
        if {own(f["applied"]), offer} != {column["label"]}:
            where = column.get("from", "generated")
            print(f"{column['name'][:24]:<24} {column['label']:<9} applied {own(f['applied']):<9} "
                  f"best {own(f['best']):<9} {f['score']:.2f}  {where}: {f['reason']}")
    wrong = sum(c["label"] == "STRING" != own(f["applied"]) for c, f in zip(columns, found))
    lost = sum(c.get("codes", False) and own(f["applied"]) != "STRING" for c, f in zip(columns, found))
    print(f"\n{wrong} text columns typed by themselves, {lost} codes with leading zeros turned into something else")
    if lost:
        sys.exit("a code with leading zeros was turned into something else")


main()
