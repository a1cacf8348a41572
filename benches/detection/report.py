"""How well types are detected in labelled text columns, beside other tools: `make detection-report`.

Every tool reads the same column from the same CSV file with its own defaults. Decimals and doubles count as one
class, because most tools know doubles only.

Two answers of transload are counted. *Proposed* is its best candidate from 0.70, as a person sees it, against what
the values are. *Applied* is what a load does without asking, against what may be done without asking: an identifier,
a year of two digits or a number with separators of thousands stays text there. The peers ask nobody, so each has one
answer, which is counted against both.
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
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow.csv
from families import columns as families
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
            found.append({"name": label["column"], "label": label["label"], "safe": label["safe"], "values": values, "from": origin})
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


class Score:
    """Precision, recall and F1 of one type."""

    def __init__(self, labels: list[str], given: list[str], kind: str):
        hits = sum(1 for label, answer in zip(labels, given) if label == answer == kind)
        self.precision = hits / given.count(kind) if given.count(kind) else None
        self.recall = hits / labels.count(kind) if labels.count(kind) else None
        both = given.count(kind) + labels.count(kind)
        self.f1 = 2 * hits / both if both else None


def show(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"


def print_types(title: str, columns: list[dict], labels: list[str], answers: dict[str, list[str]]) -> None:
    print(f"\n{title}: {len(columns)} columns; precision / recall / F1\n")
    print("type       columns" + "".join(f"{tool:>22}" for tool in answers) + "   transload is")
    ours = next(iter(answers))
    for kind in TYPES:
        scores = {tool: Score(labels, given, kind) for tool, given in answers.items()}
        line = f"{kind:<10} {labels.count(kind):>7}"
        for score in scores.values():
            line += f"{show(score.precision):>10}/{show(score.recall):>5}/{show(score.f1):>5}"
        own_f1, others = scores[ours].f1, [score.f1 or 0 for tool, score in scores.items() if tool != ours]
        best = max(others)
        verdict = "better" if own_f1 > best else "perfect, as a peer" if own_f1 == best == 1 else "equal" if own_f1 == best else "worse"
        print(f"{line}   {verdict}")
    right = {t: sum(a == b for a, b in zip(labels, given)) for t, given in answers.items()}
    print(f"right      {len(labels):>7}" + "".join(f"{n / len(labels):>22.3f}" for n in right.values()))
    codes = [index for index, column in enumerate(columns) if column.get("codes")]
    typed = {t: sum(given[i] != "STRING" for i in codes) for t, given in answers.items()}
    print(f"codes lost {len(codes):>7}" + "".join(f"{n:>22}" for n in typed.values()))


def print_calibration(columns: list[dict], found: list[dict]) -> None:
    print("\ncalibration of the score: of the columns whose best candidate has it, how many are of that type\n")
    print("score          columns  right")
    for low, high in [(0.95, 1.0), (0.9, 0.95), (0.85, 0.9), (0.7, 0.85), (0.5, 0.7), (0.0001, 0.5)]:
        scored = [(c, f) for c, f in zip(columns, found) if low <= f["score"] < high]
        right = sum(own(f["best"]) == c["label"] for c, f in scored)
        print(f"{low:.2f} to {high:.2f}   {len(scored):>7}  {show(right / len(scored) if scored else None)}")


def report(title: str, columns: list[dict], program: str) -> int:
    """Prints the tables of one set; gives the codes with leading zeros that were lost."""
    found = transload(columns, program)
    offered = [own(f["best"]) if f["score"] >= 0.7 else "STRING" for f in found]
    applied = [own(f["applied"]) for f in found]
    with tempfile.TemporaryDirectory() as folder:
        asked = [ask(column, Path(folder)) for column in columns]
    peers = {peer: [given[peer] for given in asked] for peer in PEERS}
    labels = [column["label"] for column in columns]
    safe = [column.get("safe") or column["label"] for column in columns]
    print_types(f"{title}, proposed", columns, labels, {"transload": offered} | peers)
    print_types(f"{title}, applied", columns, safe, {"transload": applied} | peers)
    print_calibration(columns, found)
    print("\ncolumns that transload types otherwise than their label\n")
    for column, f, offer, done, want in zip(columns, found, offered, applied, safe):
        if offer != column["label"] or done != want:
            where = column.get("from", "generated")
            print(f"{column['name'][:20]:<20} {column['label']:<9} applied {done:<9} best {own(f['best']):<9} "
                  f"{f['score']:.2f}  {len(column['values'])} rows, {where}, e.g. {column['values'][0]!r}: {f['reason']}")
    wrong = sum(want == "STRING" != done for want, done in zip(safe, applied))
    lost = sum(c.get("codes", False) and done != "STRING" for c, done in zip(columns, applied))
    print(f"\n{wrong} text columns typed by themselves, {lost} codes with leading zeros turned into something else")
    return lost


def main() -> None:
    lost = report("data of packages and traps", real() + generated(), sys.argv[1])
    lost += report("families of formats", list(families()), sys.argv[1])
    if lost:
        sys.exit("a code with leading zeros was turned into something else")


main()
