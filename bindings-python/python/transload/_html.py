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
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


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
