"""How a mapping looks in a notebook."""

from __future__ import annotations

from html import escape
from typing import Any

_COLOURS = {"high": "#2e7d32", "medium": "#b26a00", "low": "#c62828"}
_HEADER = ("column", "source type", "BigQuery type", "mode", "confidence", "reason")


def mapping_html(mapping: dict[str, Any]) -> str:
    """The table of a mapping's JSON form. Every text in it is escaped: names and reasons are a source's."""
    head = "".join(f"<th style='text-align:left'>{title}</th>" for title in _HEADER)
    rows = "".join(_row(column) for column in mapping["columns"])
    advice = "".join(f"<div>{escape(line)}</div>" for line in _advice(mapping["advice"]))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{advice}"


def diff_html(diff: dict[str, Any]) -> str:
    """The table of a diff's JSON form; every text in it is escaped."""
    titles = ("column", "change", "from", "to", "in place", "reason")
    head = "".join(f"<th style='text-align:left'>{title}</th>" for title in titles)
    rows = "".join(_change(change) for change in diff["changes"])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _change(change: dict[str, Any]) -> str:
    plain = [change["column"], change["kind"], change["from"] or "", change["to"] or ""]
    cells = [escape(str(text)) for text in plain]
    colour = _COLOURS["high" if change["in_place"] else "low"]
    cells.append(f"<span style='color:{colour}'>&#9679; {'yes' if change['in_place'] else 'no'}</span>")
    statement = f"<br><code>{escape(change['ddl'])}</code>" if change["ddl"] else ""
    cells.append(escape(change["reason"]) + statement)
    return "<tr>" + "".join(f"<td style='text-align:left'>{cell}</td>" for cell in cells) + "</tr>"


def _advice(advice: dict[str, Any]) -> list[str]:
    lines = []
    if partitioning := advice["partitioning"]:
        where = f"{partitioning['column']} ({partitioning['granularity']})"
        lines.append(f"partition by {where}: {partitioning['reason']}")
        lines += [f"{warning['code']}: {warning['text']}" for warning in partitioning["warnings"]]
    lines += [f"cluster by {advised['column']}: {advised['reason']}" for advised in advice["clustering"]]
    return lines


def _row(column: dict[str, Any]) -> str:
    notes = [f"{warning['code']}: {warning['text']}" for warning in column["warnings"]]
    reason = "<br>".join(escape(text) for text in [column["reason"], *notes])
    plain = (column[key] for key in ("target_name", "source_type", "bigquery_type", "mode"))
    cells = [escape(str(text)) for text in plain]
    colour = _COLOURS.get(column["confidence"], "inherit")
    sure = f"{column['confidence']} {column['score']:.2f}"
    cells.append(f"<span style='color:{colour}'>&#9679; {escape(sure)}</span>")
    cells.append(reason)
    return "<tr>" + "".join(f"<td style='text-align:left'>{cell}</td>" for cell in cells) + "</tr>"
