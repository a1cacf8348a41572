"""Generated columns with the traps of real ones. The same in every run."""

from __future__ import annotations

import datetime as dt
import json
import random
import uuid

ROWS = 400


def columns() -> list[dict]:
    """Name, label, what is safe without asking (if something else), values, and whether they are codes with leading
    zeros."""
    r = random.Random(20261121)
    day = lambda: dt.date(2019, 1, 1) + dt.timedelta(r.randrange(2000))  # noqa: E731
    moment = lambda: dt.datetime(2022, 1, 1) + dt.timedelta(seconds=r.randrange(90_000_000))  # noqa: E731
    digits = lambda n: "".join(r.choice("0123456789") for _ in range(n))  # noqa: E731
    offset = lambda: r.choice(["+02:00", "-05:00", "+05:30", "Z"])  # noqa: E731
    made: list[dict] = []

    def add(name, label, make, codes=False, safe=None):
        values = [make() for _ in range(ROWS)]
        made.append({"name": name, "label": label, "safe": safe, "values": values, "codes": codes})

    def mixed(name, label, values):
        made.append({"name": name, "label": label, "values": values, "codes": False})

    # Codes.
    add("zip", "STRING", lambda: f"{r.randrange(100_000):05}", codes=True)
    add("c1", "STRING", lambda: f"{r.randrange(1000):03}", codes=True)
    add("phone", "STRING", lambda: "06" + digits(8), codes=True)
    add("gtin", "STRING", lambda: "00" + digits(11), codes=True)
    add("month", "STRING", lambda: f"{r.randrange(1, 13):02}", codes=True)
    add("iban", "STRING", lambda: "CH" + digits(19))
    add("card_number", "STRING", lambda: "4" + digits(15))
    add("sku", "STRING", lambda: f"{r.choice('ABC')}-{digits(4)}")
    add("version", "STRING", lambda: f"{r.randrange(1, 4)}.{r.choice(['1', '10', '9', '0', '100'])}")
    add("ip", "STRING", lambda: ".".join(str(r.randrange(256)) for _ in range(4)))
    add("colour", "STRING", lambda: f"0x{r.randrange(1 << 24):06X}")
    add("token", "STRING", lambda: str(uuid.UUID(int=r.getrandbits(128), version=4)))
    add("country", "STRING", lambda: r.choice(["NO", "SE", "DK", "FI", "NA", "DE"]))
    add("season", "STRING", lambda: (lambda y: f"{y}-{(y + 1) % 100:02}")(r.randrange(2001, 2012)))
    add("quarter", "STRING", lambda: f"{r.randrange(2010, 2025)}Q{r.randrange(1, 5)}")
    add("period", "STRING", lambda: f"{r.randrange(2010, 2025)}-{r.randrange(1, 13):02}")
    add("share", "STRING", lambda: f"{r.randrange(1000) / 10}%")
    add("price_text", "STRING", lambda: f"${r.randrange(100_000) / 100:.2f}")
    add("email", "STRING", lambda: f"user{r.randrange(10_000)}@example.com")
    # Numbers.
    add("count", "INT64", lambda: str(r.randrange(10_000)))
    add("balance", "INT64", lambda: str(r.randrange(-5000, 5000)))
    add("reading", "INT64", lambda: r.choice([str(r.randrange(100)), str(r.randrange(100)), "NA"]))
    add("big", "DECIMAL", lambda: "9" + digits(19))
    add("total", "DECIMAL", lambda: f"{r.randrange(10_000_000) / 100:.2f}")
    add("exact", "DECIMAL", lambda: f"{r.randrange(10**16)}.{digits(4)}1")
    add("signal", "DECIMAL", lambda: r.choice([f"{r.random():.6f}", f"{r.random():.6f}", "NaN", "inf"]))
    add("tiny", "DECIMAL", lambda: f"{r.random():.5e}")
    add("visitors", "DECIMAL", lambda: f"{r.randrange(10_000_000):,}", safe="STRING")
    mixed("late_fraction", "DECIMAL", [str(r.randrange(100)) for _ in range(ROWS - 1)] + ["1.5"])
    mixed("late_text", "STRING", [str(r.randrange(100)) for _ in range(ROWS - 30)] + ["see note"] * 30)
    # Yes and no.
    add("answer", "BOOL", lambda: r.choice(["true", "false"]))
    add("Flag", "BOOL", lambda: r.choice(["TRUE", "FALSE"]))
    add("paid", "BOOL", lambda: r.choice(["Y", "N"]))
    add("married", "BOOL", lambda: r.choice(["yes", "no"]))
    add("switch", "BOOL", lambda: r.choice(["on", "off"]))
    add("alive", "BOOL", lambda: r.choice(["t", "f"]))
    add("is_active", "BOOL", lambda: r.choice("01"))
    add("c2", "INT64", lambda: r.choice("01"))
    add("opinion", "STRING", lambda: r.choice(["Yes", "No", "Don't know"]))
    # Days and times.
    add("day", "DATE", lambda: day().isoformat())
    add("us_day", "DATE", lambda: day().strftime("%m/%d/%Y"))
    add("eu_day", "DATE", lambda: day().strftime("%d/%m/%Y"))
    add("de_day", "DATE", lambda: day().strftime("%d.%m.%Y"))
    add("long_day", "DATE", lambda: day().strftime("%d %b %Y"))
    add("english_day", "DATE", lambda: day().strftime("%b %d, %Y"))
    add("zero_day", "DATE", lambda: r.choice([day().isoformat()] * 9 + ["0000-00-00"]))
    add("first_of_month", "STRING", lambda: day().replace(day=1 + r.randrange(12)).strftime("%d/%m/%Y"))
    add("both_orders", "STRING", lambda: day().strftime(r.choice(["%d/%m/%Y", "%m/%d/%Y"])))
    add("short_day", "DATE", lambda: day().strftime("%m/%d/%y"), safe="STRING")
    add("no_day", "STRING", lambda: r.choice([day().isoformat()] * 9 + ["2024-02-30"]))
    add("created_at", "DATETIME", lambda: moment().isoformat(" "))
    add("changed", "DATETIME", lambda: moment().isoformat() + f".{digits(3)}")
    add("us_moment", "DATETIME", lambda: moment().strftime("%m/%d/%Y %I:%M %p"))
    add("at", "TIMESTAMP", lambda: moment().isoformat() + "Z")
    add("zoned", "TIMESTAMP", lambda: moment().isoformat() + offset())
    add("logged", "TIMESTAMP", lambda: moment().isoformat(" ") + f".{digits(6)}+00:00")
    add("nano", "STRING", lambda: moment().isoformat() + f".{digits(8)}1")
    add("half_zoned", "STRING", lambda: moment().isoformat() + r.choice(["", "Z"]))
    add("starts", "TIME", lambda: moment().strftime("%H:%M:%S"))
    add("opens", "TIME", lambda: moment().strftime("%H:%M"))
    add("duration", "STRING", lambda: f"{r.randrange(200):02}:{r.randrange(60):02}:{r.randrange(60):02}")
    # Documents.
    add("payload", "JSON", lambda: json.dumps({"a": r.randrange(100), "b": [True, None, "x"]}))
    add("tags", "JSON", lambda: json.dumps([r.choice("abc") for _ in range(3)]))
    add("almost_json", "STRING", lambda: "{'a': " + str(r.randrange(100)) + "}")
    return made
