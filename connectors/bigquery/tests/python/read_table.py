"""Prints the rows of a table as Google's own client reads them, one JSON array a row, ordered by `id`.

Usage: read_table.py REST_URL PROJECT DATASET.TABLE
"""

import base64
import datetime
import decimal
import json
import sys

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery


def plain(value):
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    # An INTERVAL comes as a relativedelta, which makes days of 24 hours.
    if hasattr(value, "microseconds"):
        time = ((value.hours * 60 + value.minutes) * 60 + value.seconds) * 1_000_000 + value.microseconds
        return {"months": value.years * 12 + value.months, "days": value.days, "micros": time}
    return str(value)


def main():
    url, project, table = sys.argv[1:]
    client = bigquery.Client(
        project=project, credentials=AnonymousCredentials(), client_options=ClientOptions(api_endpoint=url)
    )
    schema = client.get_table(f"{project}.{table}").schema
    names = ", ".join(f"`{field.name}`" for field in schema)
    for row in client.query(f"SELECT {names} FROM `{project}.{table}` ORDER BY id").result():
        print(json.dumps([plain(value) for value in row.values()]))


main()
