"""A second set of generated columns, independent of `generated.py`: families of formats, each in several sizes and
with the noise of real data. The same in every run.

`type` is what the values are; `safe` what may be made of them without asking anybody (by default the same).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
import uuid

SIZES = (60, 400, 3000)
NEUTRAL = ("c", "value", "field7", "col_b", "x1")


def columns() -> list[dict]:
    return [column for seed, family in enumerate(FAMILIES) for column in family_columns(seed, *family)]


def family_columns(seed, names, kind, safe, codes, make):
    """A clean column of every size, and noisy ones where the type bears them."""
    for step, size in enumerate(SIZES):
        r = random.Random(1_000_003 * seed + step)
        name = names[step % len(names)] if names else r.choice(NEUTRAL)
        one = make(r)
        values = [one() for _ in range(size)]
        made = {"name": name, "label": kind, "safe": safe or kind, "codes": codes, "from": f"family {seed}"}
        yield made | {"values": values}
        if kind == "STRING" or size < 400:
            continue
        noise = step % 2 if size == 400 else 1 - seed % 2
        if noise == 0:  # Blanks around values and empty cells.
            yield made | {"values": [r.choice([v, f" {v}", f"{v}  ", v, v, v, v, v, ""]) for v in values]}
        else:  # A word for no value, now and then.
            token = r.choice(["NA", "N/A", "null", "#N/A", "-", "None", "NULL", "n/a", "?"])
            unsure = "STRING" if kind == "BOOL" and token in ("-", "None", "?") else made["safe"]
            with_tokens = [token if r.random() < 0.04 else v for v in values]
            takes = {"safe": unsure, "values": with_tokens}
            yield made | takes
        if size == 3000:  # One value in a thousand is something else: a person decides.
            dirty = [r.choice(["see note", "ERR", "12 approx", "TBD!"]) if r.random() < 0.001 else v for v in values]
            if dirty != values:
                yield made | {"safe": "STRING", "values": dirty, "label": "STRING" if kind in ("BOOL", "JSON") else kind}


FAMILIES: list[tuple] = []


def family(kind, make, names=(), safe=None, codes=False):
    FAMILIES.append((names, kind, safe, codes, make))


def digits(r, n):
    return "".join(r.choice("0123456789") for _ in range(n))


def day(r, start=1995, days=11_000):
    return dt.date(start, 1, 1) + dt.timedelta(r.randrange(days))


def moment(r):
    return dt.datetime(2001, 1, 1) + dt.timedelta(seconds=r.randrange(760_000_000))


def luhn(body):
    total = 0
    for i, c in enumerate(reversed(body)):
        d = int(c) * (2 if i % 2 == 0 else 1)
        total += d // 10 + d % 10
    return body + str(-total % 10)


def gtin(body):
    total = sum(int(c) * (3 if i % 2 == 0 else 1) for i, c in enumerate(reversed(body)))
    return body + str(-total % 10)


def isbn10(r):
    body = str(r.randrange(1, 10)) + digits(r, 8)
    rest = sum(int(c) * w for c, w in zip(body, range(10, 1, -1))) % 11
    return body + "0123456789X"[-rest % 11]


def grouped(number, comma, point):
    return f"{number:,.2f}".replace(",", "_").replace(".", point).replace("_", comma)


def few(r, make):
    """One of six values."""
    values = [make() for _ in range(6)]
    return lambda: r.choice(values)


def form(pattern):
    return lambda r: lambda: day(r).strftime(pattern)


def instant(pattern):
    return lambda r: lambda: moment(r).strftime(pattern)


def iban(r):
    body = digits(r, 18)
    check = 98 - int(body + "131400") % 97
    return f"DE{check:02}{body}"


# Codes with leading zeros.
family("STRING", lambda r: lambda: f"{r.randrange(100_000):05}", ("zip", "c", "plz"), codes=True)
family("STRING", lambda r: lambda: f"{r.randrange(1, 100):02}", ("dept", "x", "line"), codes=True)
family("STRING", lambda r: lambda: "0" + digits(r, 9), ("tel", "mobile", "contact"), codes=True)
family("STRING", lambda r: lambda: f"{r.randrange(10**8):010}", ("account", "c", "ref"), codes=True)
family("STRING", lambda r: lambda: str(r.randrange(1000, 10_000)) if r.random() < 0.9 else "0" + digits(r, 3), codes=True)
family("STRING", lambda r: lambda: f"{r.randrange(24):02}{r.randrange(60):02}", ("hhmm", "c", "slot"), codes=True)
family("STRING", lambda r: lambda: gtin("0" + digits(r, 11)), ("ean", "c", "article"), codes=True)
family("STRING", lambda r: lambda: "00" + digits(r, 6) + ".5", ("c",), codes=True)
family("STRING", lambda r: lambda: "-0" + digits(r, 3), ("c",), codes=True)
# Keys and codes without leading zeros.
family("STRING", lambda r: lambda: gtin("4" + digits(r, 11)))
family("STRING", lambda r: lambda: luhn("4" + digits(r, 14)))
family("STRING", lambda r: lambda: luhn(str(r.randrange(3, 9)) + digits(r, 7)))
family("STRING", lambda r: lambda: gtin(str(r.randrange(2, 9)) + digits(r, 6)))
family("STRING", lambda r: lambda: isbn10(r))
family("STRING", lambda r: lambda: "978-" + isbn10(r))
family("STRING", lambda r: lambda: str(r.randrange(1, 10)) + digits(r, 8), ("ssn", "tin", "account_number"))
family("STRING", lambda r: lambda: str(r.randrange(2, 10)) + digits(r, 9), ("phone", "mobile", "fax"))
family("STRING", lambda r: lambda: f"+{r.choice(['1', '41', '44', '49'])}{r.randrange(10**8, 10**9)}")
family("STRING", lambda r: lambda: f"({r.randrange(200, 999)}) {r.randrange(200, 999)}-{digits(r, 4)}")
family("STRING", lambda r: lambda: f"{r.randrange(200, 999)}-{r.randrange(200, 999)}-{digits(r, 4)}")
family("STRING", lambda r: lambda: f"{r.randrange(200, 999)}.{r.randrange(200, 999)}.{digits(r, 4)}")
family("STRING", lambda r: lambda: f"06 {digits(r, 2)} {digits(r, 2)} {digits(r, 2)} {digits(r, 2)}")
family("STRING", lambda r: lambda: f"{digits(r, 3)}-{digits(r, 2)}-{digits(r, 4)}")
family("STRING", lambda r: lambda: f"{digits(r, 2)}-{digits(r, 2)}-{digits(r, 2)}", ("sort_code",))
family("STRING", lambda r: lambda: iban(r))
family("STRING", lambda r: lambda: f"{r.randrange(1, 6)}.{r.randrange(0, 15)}")
family("STRING", lambda r: lambda: f"3.{r.randrange(6, 15)}", ("python", "c", "release"))
family("STRING", lambda r: lambda: f"{r.randrange(9)}.{r.randrange(20)}.{r.randrange(40)}")
family("STRING", lambda r: lambda: f"v{r.randrange(9)}.{r.randrange(20)}")
family("STRING", lambda r: lambda: f"{r.randrange(9)}.{r.randrange(20)}.{r.randrange(40)}.{r.randrange(999)}")
family("STRING", lambda r: lambda: ".".join(str(r.randrange(256)) for _ in range(4)))
family("STRING", lambda r: lambda: ":".join(f"{r.randrange(65536):x}" for _ in range(8)))
family("STRING", lambda r: lambda: ":".join(f"{r.randrange(256):02x}" for _ in range(6)))
family("STRING", lambda r: lambda: "-".join(f"{r.randrange(256):02X}" for _ in range(6)))
family("STRING", lambda r: lambda: hashlib.md5(digits(r, 9).encode()).hexdigest())
family("STRING", lambda r: lambda: hashlib.sha1(digits(r, 9).encode()).hexdigest()[:7])
family("STRING", lambda r: lambda: f"0x{r.randrange(1 << 32):X}")
family("STRING", lambda r: lambda: f"#{r.randrange(1 << 24):06x}")
family("STRING", lambda r: lambda: str(uuid.UUID(int=r.getrandbits(128), version=4)))
family("STRING", lambda r: lambda: str(uuid.UUID(int=r.getrandbits(128), version=4)).upper())
family("STRING", lambda r: lambda: "{" + str(uuid.UUID(int=r.getrandbits(128), version=4)) + "}")
family("STRING", lambda r: lambda: uuid.UUID(int=r.getrandbits(128), version=4).hex)
family("STRING", lambda r: lambda: "urn:uuid:" + str(uuid.UUID(int=r.getrandbits(128), version=4)))
family("STRING", lambda r: lambda: r.choice(["NO", "SE", "DK", "FI", "NA", "DE", "AT"]))
family("STRING", lambda r: lambda: r.choice(["NO", "SI", "NO", "HR"]))
family("STRING", lambda r: lambda: f"{r.choice('ABCDEF')}{r.randrange(100, 999)}")
family("STRING", lambda r: lambda: f"{r.randrange(1, 99)}{r.choice('ABC')}")
family("STRING", lambda r: lambda: f"{r.randrange(10)}E{r.randrange(10, 99)}-{digits(r, 3)}")
family("STRING", lambda r: few(r, lambda: f"{r.randrange(1, 9)}.{digits(r, 2)}E+11"), ("barcode", "c", "gtin"))
# Text of other kinds.
family("STRING", lambda r: lambda: r.choice(["red", "green", "blue", "black"]))
family("STRING", lambda r: lambda: " ".join(r.choice(["lorem", "ipsum", "dolor", "sit"]) for _ in range(r.randrange(1, 9))))
family("STRING", lambda r: lambda: r.choice(["Yes", "No", "Don't know"]))
family("STRING", lambda r: lambda: r.choice(["M", "F"]), ("sex", "c", "gender"))
family("STRING", lambda r: lambda: r.choice(["S", "M", "L", "XL"]))
family("STRING", lambda r: lambda: f"{r.randrange(1, 9)}-{r.randrange(10, 19)}")
family("STRING", lambda r: lambda: f"{r.randrange(0, 90, 10)}-{r.randrange(9, 99, 10)}", ("age_group",))
family("STRING", lambda r: lambda: f"{r.randrange(18, 90)}+" if r.random() < .1 else f"{r.randrange(18, 90)}", ("age",))
family("STRING", lambda r: lambda: f"<{r.randrange(9)}.{r.randrange(9)}" if r.random() < .2 else f"{r.randrange(9)}.{r.randrange(9)}", ("lab",))
family("STRING", lambda r: lambda: f"{r.randrange(99)}%")
family("STRING", lambda r: lambda: f"{r.randrange(999) / 10} %")
family("STRING", lambda r: lambda: f"${r.randrange(10**6) / 100:,.2f}")
family("STRING", lambda r: lambda: f"{r.randrange(10**6) / 100:.2f} \u20ac".replace(".", ","))
family("STRING", lambda r: lambda: f"CHF {r.randrange(10**6) / 100:.2f}")
family("STRING", lambda r: lambda: f"{r.randrange(500)} kg")
family("STRING", lambda r: lambda: f"({r.randrange(1, 999)}.00)" if r.random() < .3 else f"{r.randrange(999)}.00")
family("STRING", lambda r: lambda: f"{r.randrange(1, 999)}.50-" if r.random() < .3 else f"{r.randrange(999)}.50")
family("STRING", lambda r: lambda: f"{r.randrange(99)}/{r.randrange(1, 99)}", ("ratio", "c"))
family("STRING", lambda r: lambda: "".join(chr(0x660 + int(c)) for c in str(r.randrange(9999))))
family("STRING", lambda r: lambda: "".join(chr(0xFF10 + int(c)) for c in str(r.randrange(9999))))
family("STRING", lambda r: lambda: "\u2212" + str(r.randrange(1, 999)))
family("STRING", lambda r: lambda: f'"{r.randrange(999)}"')
family("STRING", lambda r: lambda: f"'{r.randrange(999)}")
family("STRING", lambda r: lambda: f"{r.randrange(1, 999)}_{digits(r, 3)}")
family("STRING", lambda r: lambda: f"user{r.randrange(999)}@example.com")
family("STRING", lambda r: lambda: f"https://example.com/{r.randrange(9999)}")
family("STRING", lambda r: lambda: f"{r.uniform(-90, 90):.5f},{r.uniform(-180, 180):.5f}", ("latlon",))
family("STRING", lambda r: lambda: f"POINT ({r.uniform(-180, 180):.4f} {r.uniform(-90, 90):.4f})")
family("STRING", lambda r: lambda: f"{{'a': {r.randrange(99)}, 'b': True}}")
family("STRING", lambda r: lambda: f"{{\"a\": {r.randrange(99)},}}")
family("STRING", lambda r: lambda: f"{{\"a\": NaN, \"b\": {r.randrange(99)}}}")
family("STRING", lambda r: lambda: f"{{\"id\": {10**20 + r.randrange(999)}}}")
family("STRING", lambda r: lambda: f"[{r.randrange(99)}; {r.randrange(99)}]")
family("STRING", lambda r: lambda: r.choice(["true", "false", "maybe"]))
family("STRING", lambda r: lambda: r.choice(["Y", "N", "U"]))
family("STRING", lambda r: lambda: r.choice(["ja", "nein", "vielleicht"]))
family("STRING", lambda r: lambda: "A1B2")  # A constant.
family("STRING", lambda r: lambda: "")  # Nothing.
# Numbers.
family("INT64", lambda r: lambda: str(r.randrange(10**9)))
family("INT64", lambda r: lambda: str(r.randrange(-500, 500)), ("delta", "c", "offset_m"))
family("INT64", lambda r: lambda: str(r.randrange(12)), ("grade", "c", "stars"))
family("INT64", lambda r: lambda: str(int(r.lognormvariate(3, 2))), ("views", "c", "quantity"))
family("INT64", lambda r: (lambda n: lambda: str(next(n)))(iter(range(1, 10**6))), ("position", "c", "row"))
family("INT64", lambda r: lambda: str(r.randrange(1900, 2026)), ("year", "c", "vintage"))
family("INT64", lambda r: lambda: str(r.randrange(10**15, 9 * 10**18)), ("hash_value", "c"))
family("INT64", lambda r: lambda: str(r.randrange(1, 20)) + "000", ("salary", "c"))
family("INT64", lambda r: lambda: "0" if r.random() < 0.9 else str(r.randrange(1, 400)), ("defects", "c"))
family("INT64", lambda r: lambda: str(r.randrange(100_000)), ("customer_id", "order_no", "id"), safe="STRING")
family("INT64", lambda r: lambda: r.choice("01"))
family("INT64", lambda r: lambda: r.choice("123"), ("rating", "c"))
family("INT64", lambda r: lambda: str(1_000_000_000 + r.randrange(700_000_000)), ("bytes", "c"))
family("INT64", lambda r: lambda: str(r.randrange(10**6)) if r.random() > .02 else "-1", ("visits", "c"))
family("DECIMAL", lambda r: lambda: f"{r.randrange(10**7) / 100:.2f}", ("amount", "c", "price"))
family("DECIMAL", lambda r: lambda: repr(round(r.uniform(-50, 120), 3)), ("temperature", "c"))
family("DECIMAL", lambda r: lambda: repr(round(r.random(), 12) + 0.001), ("score", "c"))
family("DECIMAL", lambda r: lambda: repr(r.gauss(0, 1)), ("z", "c"))
family("DECIMAL", lambda r: lambda: f"{r.uniform(-90, 90):.6f}", ("lat", "c"))
family("DECIMAL", lambda r: lambda: f"{r.randrange(200)}.0", ("count", "c"))
family("DECIMAL", lambda r: lambda: f"{r.randrange(2, 90)}.{r.choice('05')}", ("hours", "c"))
family("DECIMAL", lambda r: lambda: str(r.randrange(200)) if r.random() < .7 else f"{r.randrange(200)}.{r.randrange(1, 10)}", ("dose", "c"))
family("DECIMAL", lambda r: lambda: f"{r.uniform(1, 10):.6e}", ("flux", "c"))
family("DECIMAL", lambda r: lambda: f"{r.uniform(1e-9, 1e-3):.3E}", ("conc", "c"))
family("DECIMAL", lambda r: lambda: repr(10 ** r.uniform(-12, 12)), ("wide", "c"), safe="STRING")
family("DECIMAL", lambda r: lambda: digits(r, 1).replace("0", "5") + digits(r, 22), ("c",))
family("DECIMAL", lambda r: lambda: f"{r.randrange(10**15)}.{digits(r, 7)}1", ("c",))
family("DECIMAL", lambda r: lambda: f"0.{digits(r, 13)}7", ("c",))
family("DECIMAL", lambda r: lambda: r.choice([f"{r.random():.4f}"] * 20 + ["nan", "inf", "-inf"]), ("loss", "c"))
family("DECIMAL", lambda r: lambda: f"{r.randrange(10**7):,}", ("visitors", "c"), safe="STRING")
family("DECIMAL", lambda r: lambda: f"{r.uniform(0, 10**7):,.2f}", ("revenue", "c"), safe="STRING")
family("DECIMAL", lambda r: lambda: grouped(r.uniform(0, 10**7), "'", "."), ("umsatz", "c"), safe="STRING")
family("STRING", lambda r: lambda: grouped(r.uniform(0, 10**7), ".", ","), ("umsatz", "c"))
family("STRING", lambda r: lambda: grouped(r.uniform(0, 10**7), "\u202f", ","), ("total", "c"))
family("STRING", lambda r: lambda: f"{r.randrange(99)},{r.randrange(9)}", ("preis", "c"))
family("STRING", lambda r: lambda: f"{r.randrange(1, 999)}.{digits(r, 3)}", ("c", "menge"))
# Booleans.
for yes, no, safe in [("true", "false", None), ("True", "False", None), ("TRUE", "FALSE", None), ("yes", "no", None),
                      ("Yes", "No", None), ("Y", "N", None), ("t", "f", None), ("T", "F", None), ("on", "off", None),
                      ("ON", "OFF", None), ("ja", "nein", "STRING"), ("oui", "non", "STRING"), ("s\u00ed", "no", "STRING"),
                      ("sim", "n\u00e3o", "STRING"), ("ja", "nej", "STRING")]:
    family("BOOL", lambda r, a=yes, b=no: lambda: r.choice([a, b]), safe=safe)
    family("BOOL", lambda r, a=yes, b=no: lambda: a if r.random() < 0.06 else b, ("is_set", "c", "flag_ok"), safe=safe)
family("BOOL", lambda r: lambda: r.choice("01"), ("is_active", "has_children", "deleted_flag"))
# Dates.
for pattern in ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y",
                "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y", "%Y-%b-%d", "%d/%b/%Y"]:
    family("DATE", form(pattern), ("day", "c", "ship_date"))
for pattern in ["%m/%d/%y", "%d.%m.%y", "%d/%m/%y", "%d-%b-%y"]:
    family("DATE", form(pattern), ("day", "c", "due_date"), safe="STRING")
family("DATE", lambda r: lambda: (lambda d: f"{d.month}/{d.day}/{d.year}")(day(r)))
family("DATE", lambda r: lambda: (lambda d: f"{d.day}.{d.month}.{d.year}")(day(r)))
family("DATE", lambda r: lambda: (lambda d: f"{d.year}-{d.month}-{d.day}")(day(r)))
family("DATE", lambda r: lambda: day(r).strftime("%d %b %Y").upper(), safe="STRING")
family("DATE", lambda r: lambda: day(r).isoformat() if r.random() < .9 else "0000-00-00", ("c", "birthdate"))
family("DATE", lambda r: lambda: day(r).isoformat() if r.random() < .9 else "9999-12-31", ("valid_to", "c"))
family("DATE", lambda r: lambda: f"{r.randrange(1990, 2024)}-01-01", ("c", "period_start"))
family("DATE", lambda r: lambda: f"{r.randrange(2000, 2024)}-{r.randrange(1, 13):02}-01", ("month_start", "c"))
family("DATE", lambda r: lambda: day(r, 2020, 20).isoformat(), ("c", "trade_date"))
family("INT64", lambda r: lambda: day(r).strftime("%Y%m%d"))
family("DATE", lambda r: lambda: day(r).strftime("%Y%m%d"), ("order_date", "birthdate", "date"), safe="STRING")
for make in [lambda r: lambda: day(r).replace(day=r.randrange(1, 13)).strftime("%d/%m/%Y"),
             lambda r: lambda: day(r).replace(day=r.randrange(1, 13)).strftime("%m-%d-%Y"),
             lambda r: lambda: day(r).replace(day=1).strftime("%m/%d/%Y"),
             lambda r: lambda: day(r).strftime(r.choice(["%d/%m/%Y", "%m/%d/%Y"])),
             lambda r: lambda: day(r).isoformat() if r.random() < .9 else "2023-02-30",
             lambda r: lambda: day(r).strftime("%y-%m-%d"), lambda r: lambda: day(r).strftime("%Y-W%W-%u"),
             lambda r: lambda: day(r).strftime("%Y-%j"), lambda r: lambda: f"{day(r).year}Q{r.randrange(1, 5)}",
             lambda r: lambda: day(r).strftime("%Y-%m"), lambda r: lambda: day(r).strftime("%b %Y"),
             lambda r: lambda: day(r).strftime("%m/%Y"), lambda r: lambda: (lambda y: f"{y}-{y % 100 + 1:02}")(r.randrange(2001, 2019)),
             lambda r: lambda: day(r).strftime("%a, %d %b %Y"), lambda r: lambda: f"{r.randrange(1, 29)}. M\u00e4rz {r.randrange(1990, 2024)}",
             lambda r: lambda: f"{r.randrange(1, 29)} janvier {r.randrange(1990, 2024)}",
             lambda r: lambda: f"{r.randrange(4, 20)}th of May {r.randrange(1990, 2024)}",
             lambda r: lambda: r.choice([day(r).isoformat(), "unknown date", "ca. 1950"]),
             lambda r: lambda: r.choice([day(r).isoformat(), day(r).strftime("%d.%m.%Y")])]:
    family("STRING", make, ("c", "x1", "when"))
# Times of day.
for pattern in ["%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%H:%M:%S.%f"]:
    family("TIME", instant(pattern), ("opens", "c", "start_time"))
family("TIME", lambda r: lambda: (lambda m: f"{m.hour}:{m.minute:02}")(moment(r)))
for make in [lambda r: lambda: f"{r.randrange(100):02}:{r.randrange(60):02}:{r.randrange(60):02}",
             lambda r: lambda: f"{r.choice(['', '-'])}{r.randrange(12):02}:{r.randrange(60):02}",
             lambda r: lambda: "24:00" if r.random() < .2 else f"{r.randrange(24):02}:00", lambda r: lambda: f"{r.randrange(10):02}:{r.randrange(60):02}.{r.randrange(10)}",
             lambda r: lambda: f"{r.randrange(1, 12)}h{r.randrange(60):02}", lambda r: lambda: f"PT{r.randrange(9)}H{r.randrange(59)}M",
             lambda r: lambda: f"{r.randrange(1, 9)} days {moment(r):%H:%M:%S}", lambda r: lambda: moment(r).strftime("%H.%M"),
             lambda r: lambda: r.choice([f"{moment(r):%H:%M}", "noon", "closed"])]:
    family("STRING", make)
# Date and time.
for pattern in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S", "%d.%m.%Y %H:%M",
                "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %H:%M", "%d %b %Y %H:%M:%S", "%b %d, %Y %I:%M %p",
                "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S,%f", "%d-%b-%Y %H:%M"]:
    family("DATETIME", instant(pattern), ("created_at", "c", "stamp"))
family("DATETIME", lambda r: lambda: moment(r).isoformat(" ") + f".{digits(r, 3)}")
family("DATETIME", lambda r: lambda: moment(r).replace(hour=0, minute=0, second=0).isoformat(" "))
family("DATETIME", lambda r: lambda: moment(r).strftime("%m/%d/%y %H:%M"), safe="STRING")
# Instants.
for suffix in ["Z", "+00:00", "+00", "+0000", "+02:00", "-0500"]:
    family("TIMESTAMP", lambda r, s=suffix: lambda: moment(r).isoformat() + s, ("at", "c", "event_ts"))
    family("TIMESTAMP", lambda r, s=suffix: lambda: moment(r).isoformat(" ") + f".{digits(r, 6)}" + s)
family("TIMESTAMP", lambda r: lambda: moment(r).isoformat() + r.choice(["+02:00", "-05:00", "+05:30", "+00:00"]))
family("TIMESTAMP", lambda r: lambda: moment(r).isoformat(" ") + " UTC", safe="STRING")
family("TIMESTAMP", lambda r: lambda: moment(r).isoformat(" ") + " +0100")
family("TIMESTAMP", lambda r: lambda: moment(r).strftime("%d/%m/%Y %H:%M:%S") + "+01:00")
family("INT64", lambda r: lambda: str(1_500_000_000 + r.randrange(200_000_000)))
family("TIMESTAMP", lambda r: lambda: str(1_500_000_000 + r.randrange(200_000_000)), ("created_at", "updated", "event_time"), safe="STRING")
family("TIMESTAMP", lambda r: lambda: str(1_500_000_000_000 + r.randrange(200_000_000_000)), ("created_at", "modified", "event_ts"), safe="STRING")
for make in [lambda r: lambda: moment(r).isoformat() + r.choice(["", "Z"]), lambda r: lambda: moment(r).isoformat() + f".{digits(r, 8)}3",
             lambda r: lambda: moment(r).isoformat(" ") + " Europe/Zurich", lambda r: lambda: moment(r).isoformat(" ") + r.choice([" CET", " CEST"]),
             lambda r: lambda: moment(r).strftime("%a, %d %b %Y %H:%M:%S +0000"), lambda r: lambda: moment(r).strftime("%a %b %d %H:%M:%S %Y"),
             lambda r: lambda: moment(r).strftime("[%d/%b/%Y:%H:%M:%S +0000]"), lambda r: lambda: moment(r).strftime("%Y-%m-%dT24:00:00"),
             lambda r: lambda: moment(r).strftime("%Y%m%d%H%M%S") + "Z", lambda r: lambda: f"{moment(r):%Y-%m-%d %H:%M:60}"]:
    family("STRING", make)
# Documents.
family("JSON", lambda r: lambda: json.dumps({"id": r.randrange(9999), "tags": ["a", "b"]}), ("payload", "c"))
family("JSON", lambda r: lambda: json.dumps({"n": r.random()}, separators=(",", ":")))
family("JSON", lambda r: lambda: json.dumps([r.randrange(99) for _ in range(r.randrange(5))]))
family("JSON", lambda r: lambda: r.choice(["{}", json.dumps({"a": {"b": {"c": r.randrange(999)}}})]), ("settings", "c"))
family("JSON", lambda r: lambda: json.dumps({"name": "\u00fc\u4e2d", "x": None, "n": r.randrange(99)}, ensure_ascii=False))
