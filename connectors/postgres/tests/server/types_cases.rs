//! Edge values and generators of every built-in type.

use arrow_schema::{DataType, Field, TimeUnit};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use transload_core::schema::Extension;

use crate::types_oracle::Case;

/// Which characters the encoding of a database has.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Letters {
    Ascii,
    Latin1,
    All,
}

impl Letters {
    pub(crate) fn any(self, random: &mut StdRng) -> char {
        const MARKS: &[char] =
            &['"', '\'', '\\', '{', '}', ',', ' ', '\n', '\t', '\r', ';', '$', '%', ':', '<', '\u{1}'];
        match (self, random.random_range(0..4)) {
            (_, 0) => *MARKS.choose(random).unwrap(),
            (Self::Latin1, 1) => char::from(random.random_range(0xa0..=0xff_u8)),
            (Self::All, 1) => loop {
                if let Some(letter) = char::from_u32(random.random_range(0x80..0x0011_0000)) {
                    break letter;
                }
            },
            _ => char::from(random.random_range(b' '..=b'~')),
        }
    }

    pub(crate) fn text(self, random: &mut StdRng, most: usize) -> String {
        let length = random.random_range(0..=most);
        (0..length).map(|_| self.any(random)).collect()
    }

    /// A text with what the encoding has.
    fn sample(self) -> &'static str {
        match self {
            Self::Ascii => "plain",
            Self::Latin1 => "äß ÿ\u{a0}",
            Self::All => "naïve 🦀 \u{10ffff} \u{feff}",
        }
    }
}

fn digits(random: &mut StdRng, count: usize) -> String {
    // Runs of zeros and nines are where base-10000 digits go wrong.
    let pick = |random: &mut StdRng| match random.random_range(0..4) {
        0 => '0',
        1 => '9',
        _ => char::from(random.random_range(b'0'..=b'9')),
    };
    (0..count).map(|_| pick(random)).collect()
}

fn sign(random: &mut StdRng) -> &'static str {
    if random.random() { "-" } else { "" }
}

fn decimal(precision: usize, scale: usize) -> impl Fn(&mut StdRng) -> String {
    move |random| {
        let (whole, fraction) = (random.random_range(0..=precision - scale), random.random_range(0..=scale));
        format!("{}0{}.{}", sign(random), digits(random, whole), digits(random, fraction))
    }
}

fn unbounded(random: &mut StdRng) -> String {
    let (whole, fraction) = (random.random_range(0..60), random.random_range(0..60));
    let number = format!("{}0{}.0{}", sign(random), digits(random, whole), digits(random, fraction));
    match random.random_range(0..8) {
        0 => "NaN".to_owned(),
        1 => format!("{}Infinity", sign(random)),
        2 => format!("{number}e{}", random.random_range(-200..200)),
        _ => number,
    }
}

fn float(random: &mut StdRng) -> f64 {
    loop {
        let float = f64::from_bits(random.random());
        if float.is_finite() {
            break float;
        }
    }
}

fn single(random: &mut StdRng) -> f32 {
    loop {
        let float = f32::from_bits(random.random());
        if float.is_finite() {
            break float;
        }
    }
}

fn date(random: &mut StdRng, last: i32) -> (String, &'static str) {
    let year = match random.random_range(0..4) {
        0 => random.random_range(-4711..=last),
        1 => random.random_range(-4711..=10),
        _ => random.random_range(1..=9999),
    };
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{:02}-{:02}", random.random_range(1..=12), random.random_range(1..=28)), era)
}

fn time(random: &mut StdRng) -> String {
    let mut within = |most: u32| random.random_range(0..most);
    format!("{:02}:{:02}:{:02}.{:06}", within(24), within(60), within(60), within(1_000_000))
}

fn timestamp(random: &mut StdRng) -> String {
    let (date, era) = date(random, 294_246);
    format!("{date} {}{era}", time(random))
}

fn zoned(random: &mut StdRng) -> String {
    let (date, era) = date(random, 294_245);
    let offset = format!("{:+03}:{:02}", random.random_range(-15..=15), random.random_range(0..60));
    format!("{date} {}{offset}{era}", time(random))
}

fn interval(random: &mut StdRng) -> String {
    let mut part = |most: i64| random.random_range(-most..=most);
    format!("{} months {} days {} microseconds", part(2_000_000), part(2_000_000_000), part(1 << 60))
}

/// `[` and `]` in their order, or unbounded.
fn range(random: &mut StdRng, low: String, high: String) -> String {
    let (open, close) = (["[", "("][random.random_range(0..2)], ["]", ")"][random.random_range(0..2)]);
    let bound =
        |random: &mut StdRng, value: String| if random.random_bool(0.15) { String::new() } else { value };
    match random.random_range(0..12) {
        0 => "empty".to_owned(),
        _ => format!("{open}{},{}{close}", bound(random, low), bound(random, high)),
    }
}

fn int_range(random: &mut StdRng, most: i64) -> String {
    let (a, b) = (random.random_range(-most..most), random.random_range(-most..most));
    range(random, a.min(b).to_string(), a.max(b).to_string())
}

fn address(random: &mut StdRng) -> String {
    if random.random() {
        let bytes: [u8; 4] = random.random();
        format!("{}/{}", bytes.map(|byte| byte.to_string()).join("."), random.random_range(0..=32))
    } else {
        let words: [u16; 8] = random.random();
        let words = words.map(|word| format!("{:x}", if word & 3 == 0 { 0 } else { word }));
        format!("{}/{}", words.join(":"), random.random_range(0..=128))
    }
}

fn hex(random: &mut StdRng, bytes: usize) -> String {
    (0..bytes).map(|_| format!("{:02x}", random.random::<u8>())).collect()
}

/// JSON of some depth.
fn json(random: &mut StdRng, letters: Letters, depth: u32) -> String {
    let string = |random: &mut StdRng| serde_json::to_string(&letters.text(random, 8)).unwrap();
    match random.random_range(0..if depth == 0 { 5 } else { 8 }) {
        0 => "null".to_owned(),
        1 => random.random::<bool>().to_string(),
        2 => random.random::<i64>().to_string(),
        3 => format!(
            "{}{}.{}e{}",
            sign(random),
            random.random_range(0..9),
            digits(random, 25),
            random.random_range(-30..30)
        ),
        4 => string(random),
        5 | 6 => {
            let count = random.random_range(0..4);
            let members: Vec<_> = (0..count)
                .map(|_| format!("{}: {}", string(random), json(random, letters, depth - 1)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        _ => {
            let count = random.random_range(0..4);
            let items: Vec<_> = (0..count).map(|_| json(random, letters, depth - 1)).collect();
            format!("[{}]", items.join(" ,"))
        }
    }
}

/// An array literal of one to three dimensions with NULLs, and sometimes a lower bound.
pub(crate) fn array(element: impl Fn(&mut StdRng) -> String) -> impl Fn(&mut StdRng) -> String {
    fn level(random: &mut StdRng, sizes: &[usize], element: &impl Fn(&mut StdRng) -> String) -> String {
        let Some((size, deeper)) = sizes.split_first() else {
            if random.random_bool(0.2) {
                return "NULL".to_owned();
            }
            return format!("\"{}\"", element(random).replace('\\', "\\\\").replace('"', "\\\""));
        };
        let items: Vec<_> = (0..*size).map(|_| level(random, deeper, element)).collect();
        format!("{{{}}}", items.join(","))
    }
    move |random| {
        if random.random_bool(0.05) {
            return "{}".to_owned();
        }
        let sizes: Vec<usize> = (0..random.random_range(1..=3)).map(|_| random.random_range(1..=3)).collect();
        let literal = level(random, &sizes, &element);
        if random.random_bool(0.2) {
            let from = random.random_range(-3..3_i32);
            let bounds: String = sizes
                .iter()
                .map(|size| format!("[{from}:{}]", from + i32::try_from(*size).unwrap() - 1))
                .collect();
            return format!("{bounds}={literal}");
        }
        literal
    }
}

fn range_type(bound: DataType) -> DataType {
    let bounds = ["lower", "upper"].map(|name| Field::new(name, bound.clone(), true));
    let flags = ["lower_inc", "upper_inc", "empty"].map(|name| Field::new(name, DataType::Boolean, true));
    DataType::Struct(bounds.into_iter().chain(flags).collect())
}

fn numbers() -> Vec<Case> {
    use DataType::{Decimal128, Decimal256, Utf8};
    let big38 = "99999999999999999999999999999999999999";
    vec![
        Case::new("boolean", DataType::Boolean, "v::text", &["true", "false"]),
        Case::new("smallint", DataType::Int16, "v::text", &["-32768", "0", "32767"])
            .generated(|random| random.random::<i16>().to_string()),
        Case::new("integer", DataType::Int32, "v::text", &["-2147483648", "-1", "2147483647"])
            .generated(|random| random.random::<i32>().to_string()),
        Case::new(
            "bigint",
            DataType::Int64,
            "v::text",
            &["-9223372036854775808", "9007199254740993", "9223372036854775807"],
        )
        .generated(|random| random.random::<i64>().to_string()),
        Case::new("oid", DataType::UInt32, "v::text", &["0", "4294967295"])
            .generated(|random| random.random::<u32>().to_string()),
        Case::new("xid", DataType::UInt32, "v::text", &["0", "4294967295"]),
        Case::new("cid", DataType::UInt32, "v::text", &["0", "4294967295"]),
        Case::new(
            "real",
            DataType::Float32,
            "encode(float4send(v), 'hex')",
            &["0.1", "-0", "NaN", "Infinity", "-Infinity", "1.4e-45", "3.4028235e38"],
        )
        .generated(|random| single(random).to_string()),
        Case::new(
            "double precision",
            DataType::Float64,
            "encode(float8send(v), 'hex')",
            &["0.1", "-0", "NaN", "Infinity", "-Infinity", "5e-324", "1.7976931348623157e308"],
        )
        .generated(|random| float(random).to_string()),
        Case::new("numeric(5)", Decimal128(5, 0), "v::text", &["-99999", "0", "10000", "20000", "99999"])
            .generated(decimal(5, 0)),
        Case::new(
            "numeric(15,2)",
            Decimal128(15, 2),
            "v::text",
            &["0", "0.01", "-0.01", "10000", "-9999999999999.99"],
        )
        .generated(decimal(15, 2)),
        Case::new("numeric(10,5)", Decimal128(10, 5), "v::text", &["0.00001", "99999.99999", "10000.00001"])
            .generated(decimal(10, 5)),
        Case::new("numeric(5,5)", Decimal128(5, 5), "v::text", &["0.99999", "-0.99999", "-0.00001"])
            .generated(decimal(5, 5)),
        Case::new("numeric(3,5)", Decimal128(5, 5), "v::text", &["0.00999", "-0.00001"]),
        Case::new("numeric(3,-2)", Decimal128(5, 0), "v::text", &["99900", "-100", "0"]),
        Case::new(
            "numeric(28,-10)",
            Decimal128(38, 0),
            "v::text",
            &["99999999999999999999999999990000000000", "-1e10"],
        ),
        Case::text("numeric(38,-1)", &["999999999999999999999999999999999999990", "-10", "0"]),
        Case::new("numeric(38,0)", Decimal128(38, 0), "v::text", &[big38, "-1", "10000000000000000"])
            .generated(decimal(38, 0)),
        Case::new(
            "numeric(38,2)",
            Decimal128(38, 2),
            "v::text",
            &["999999999999999999999999999999999999.99"],
        )
        .generated(decimal(38, 2)),
        Case::new(
            "numeric(38,37)",
            Decimal128(38, 37),
            "v::text",
            &["-9.9999999999999999999999999999999999999", "0.0000000000000000000000000000000000001"],
        )
        .generated(decimal(38, 37)),
        Case::new(
            "numeric(39,1)",
            Decimal256(39, 1),
            "v::text",
            &["99999999999999999999999999999999999999.9", "-0.1"],
        )
        .generated(decimal(39, 1)),
        Case::new(
            "numeric(76,38)",
            Decimal256(76, 38),
            "v::text",
            &["99999999999999999999999999999999999999.99999999999999999999999999999999999999", "-1e-38", "0"],
        )
        .generated(decimal(76, 38)),
        Case::text("numeric(76)", &["-1", "0", "NaN"]).generated(decimal(76, 0)),
        Case::text("numeric(1000,500)", &["1.5", "-1e499", "1e-500", "NaN"]).generated(decimal(200, 100)),
        Case::new(
            "numeric",
            Utf8,
            "v::text",
            &[
                "0",
                "0.00",
                "-0.000001",
                "1.10",
                "1e-130",
                "1e300",
                "-1e-300",
                "NaN",
                "Infinity",
                "-Infinity",
                "9999",
                "10000",
                "99999999.99990000",
                "1e131071",
                "1e-16383",
            ],
        )
        .generated(unbounded),
        Case::new(
            "money",
            Decimal128(19, 2),
            "v::numeric::text",
            &["-92233720368547758.08", "0.01", "92233720368547758.07"],
        )
        .generated(|random| {
            format!("{}.{:02}", random.random_range(-1_i64 << 53..1 << 53), random.random_range(0..100))
        }),
    ]
}

fn texts(letters: Letters) -> Vec<Case> {
    let sample = letters.sample();
    let text = move |most: usize| move |random: &mut StdRng| letters.text(random, most);
    // format() prints char(n) with its blanks.
    let printed = "format('%s', v)";
    let like_text = |type_name: &str, edges: &[&str]| Case::new(type_name, DataType::Utf8, printed, edges);
    vec![
        like_text("text", &["", " ", sample, "NULL", "\\N", "back\\slash", "quote'\"", "line\nbreak\ttab\r"])
            .generated(text(200)),
        like_text("varchar", &["", sample]).generated(text(20)),
        like_text("varchar(12)", &["", "twelve chars"])
            .generated(move |random| Letters::Ascii.text(random, 12)),
        like_text("char(8)", &["ab", "", "  a"]).generated(move |random| Letters::Ascii.text(random, 8)),
        like_text("bpchar", &["ab ", ""]).generated(text(8)),
        like_text("name", &["a name", "63 bytes 63 bytes 63 bytes 63 bytes 63 bytes 63 bytes 63 bytes."]),
        Case::text("\"char\"", &["x", "", " ", "\\"]),
        Case::text(
            "xml",
            &["<a>u</a>", "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a/>", "no <b>document</b>", ""],
        ),
        Case::text("mood", &["ok", "very 'good'", "", "{a,b}"]),
        Case::new("bytea", DataType::Binary, "encode(v, 'hex')", &["", "\\x00ff5c", "\\xdeadbeef"])
            .generated(|random| {
                let bytes = random.random_range(0..60);
                format!("\\x{}", hex(random, bytes))
            }),
        Case::new(
            "uuid",
            DataType::FixedSizeBinary(16),
            "replace(v::text, '-', '')",
            &["00112233-4455-6677-8899-aabbccddeeff"],
        )
        .extension(Extension::Uuid)
        .generated(|random| hex(random, 16)),
        Case::text(
            "json",
            &["{\"b\": 1,  \"a\":1e400, \"a\": \"\\u00fc\"}", "null", " [ ] ", "0.10000000000000000555"],
        )
        .extension(Extension::Json)
        .generated(move |random| json(random, letters, 4)),
        Case::text(
            "jsonb",
            &["{\"b\": 1, \"a\": [1, null, \"\"]}", "null", "18446744073709551616", "-0.0", "1e400"],
        )
        .extension(Extension::Json)
        .generated(move |random| json(random, letters, 4)),
        Case::text("jsonpath", &["$.a[*] ? (@ > 1)", "strict $.\"b c\"", "lax $"]),
        Case::text("tsvector", &["", "'a':1A 'b':2B,3", "'it''s' 'b\\\\c'"]),
        Case::text("tsquery", &["", "'a' & ( 'b' | !'c':AB* )", "a <-> b"]),
    ]
}

fn times() -> Vec<Case> {
    let micros = || DataType::Timestamp(TimeUnit::Microsecond, None);
    let instants = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let of_day = || DataType::Time64(TimeUnit::Microsecond);
    let of_midnight = "(extract(epoch FROM v) * 1000000)::bigint::text";
    // Not extract(epoch FROM v), which rounds far from the present.
    let epoch = "((v::date - date '1970-01-01')::numeric * 86400000000 + extract(epoch FROM v::time) * 1000000)::bigint::text";
    let days = "(v - date '1970-01-01')::text";
    vec![
        Case::new(
            "date",
            DataType::Date32,
            days,
            &[
                "1970-01-01",
                "0001-01-01",
                "0001-12-31 BC",
                "9999-12-31",
                "4713-01-01 BC",
                "5874897-12-31",
                "2024-02-29",
            ],
        )
        .generated(|random| {
            let (date, era) = date(random, 5_874_897);
            format!("{date}{era}")
        }),
        Case::new("time", of_day(), of_midnight, &["00:00", "23:59:59.999999", "12:34:56.5"]).generated(time),
        Case::new("time(0)", of_day(), of_midnight, &["00:00", "23:59:59"]),
        Case::text(
            "timetz",
            &["00:00+15:59:59", "24:00-15:59:59", "12:34:56.789-08", "00:00:00.000001+00:19:32"],
        )
        .generated(|random| format!("{}{:+03}", time(random), random.random_range(-15..=15))),
        Case::new(
            "timestamp",
            micros(),
            epoch,
            &[
                "1970-01-01",
                "0001-01-01",
                "9999-12-31 23:59:59.999999",
                "1969-12-31 23:59:59.999999",
                "4713-01-01 BC",
                "294246-12-31 23:59:59.999999",
                "294247-01-10 04:00:54.775807",
                "2000-01-01 00:00:00.000001",
            ],
        )
        .generated(timestamp),
        Case::new("timestamp(0)", micros(), epoch, &["2000-01-01 00:00:01"]),
        Case::new(
            "timestamptz",
            instants(),
            epoch,
            &[
                "1970-01-01 00:00+02",
                "0001-01-01 00:00+00",
                "9999-12-31 23:59:59.999999+00",
                "4713-01-01 00:00+00 BC",
                "1890-01-01 00:00:00+00:19:32",
                "2024-03-31 02:30:00 Europe/Berlin",
            ],
        )
        .generated(zoned),
        Case::text(
            "interval",
            &[
                "0",
                "1 mon -1 day",
                "-1 mon 1 day",
                "720 hours",
                "30 days",
                "1 month",
                "-0.000001 seconds",
                "178000000 years",
                "-178000000 years",
                "2147483647 days 2562047788 hours",
            ],
        )
        .generated(interval),
        Case::text("interval day to second(3)", &["1 day 02:03:04.567"]),
    ]
}

fn others() -> Vec<Case> {
    let bits = |random: &mut StdRng, count: usize| -> String {
        (0..count).map(|_| if random.random() { '1' } else { '0' }).collect()
    };
    let parts = "concat_ws('|', coalesce(lower(v)::text, 'NULL'), coalesce(upper(v)::text, 'NULL'), lower_inc(v)::text,
        upper_inc(v)::text, isempty(v)::text)";
    vec![
        Case::text("bit(1)", &["0", "1"]),
        Case::text("bit(70)", &[]).generated(move |random| bits(random, 70)),
        Case::text("varbit", &["", "1", "0000"]).generated(move |random| {
            let count = random.random_range(0..80);
            bits(random, count)
        }),
        Case::text("inet", &["10.0.0.1/8", "::1", "0.0.0.0/0", "::ffff:1.2.3.4"]).generated(address),
        Case::text("cidr", &["10.0.0.0/8", "2001:db8::/32", "::/0", "1.2.3.4/32"]),
        Case::text("macaddr", &["08:00:2b:01:02:03"]).generated(|random| hex(random, 6)),
        Case::text("macaddr8", &["08:00:2b:01:02:03:04:05"]).generated(|random| hex(random, 8)),
        Case::new(
            "int4range",
            range_type(DataType::Int32),
            parts,
            &["[1,5)", "empty", "(,)", "[1,1]", "(1,2]", "[-2147483648,2147483646]", "(,5]", "[7,)"],
        )
        .generated(|random| int_range(random, 2_000_000_000)),
        Case::new(
            "int8range",
            range_type(DataType::Int64),
            parts,
            &["empty", "(,)", "[-9223372036854775808,9223372036854775806]"],
        )
        .generated(|random| int_range(random, 1 << 62)),
        Case::new(
            "numrange",
            range_type(DataType::Utf8),
            parts,
            &["empty", "(,)", "[1.10,1.1]", "(1.5,2.50]", "[0,Infinity]", "[-Infinity,)", "(1e-130,1e130)"],
        )
        .generated(|random| {
            let (a, b) = (random.random_range(-1000..0), random.random_range(0..1000));
            let (a, b) = (format!("{a}.{}", digits(random, 20)), format!("{b}.{}", digits(random, 30)));
            range(random, a, b)
        }),
        Case::text(
            "daterange",
            &["empty", "(,)", "[2024-01-01,2024-02-01]", "[-infinity,today)", "(,infinity]"],
        ),
        Case::text("tsrange", &["[2024-01-01,infinity]", "(2024-01-01 00:00:00.000001,)", "empty"]),
        Case::text("tstzrange", &["[2024-01-01 00:00+02,2024-01-02 00:00+02)", "(,)"]),
        Case::text("floatrange", &["[0.1,1e300)", "empty"]),
        Case::text("int4multirange", &["{}", "{[1,2),[5,9)}", "{(,)}"]),
        Case::text("tstzmultirange", &["{}", "{[2024-01-01 00:00+02,2024-01-02 00:00+02)}"]),
        Case::text("point", &["(1,2.5)", "(NaN,-Infinity)", "(0.1,-0)"])
            .generated(|random| format!("({},{})", float(random), float(random))),
        Case::text("line", &["{1,-1,0}", "{0.1,2,3}"]),
        Case::text("lseg", &["[(0,0),(1,0.1)]"]),
        Case::text("box", &["(1,1),(0,0)"]),
        Case::text("path", &["[(0,0),(1,1)]", "((0,0),(1,1),(1,0))"]),
        Case::text("polygon", &["((0,0),(1,1),(1,0))"]),
        Case::text("circle", &["<(0.1,0),1e-300>"]),
        Case::text("pg_lsn", &["16/B374D848", "FFFFFFFF/FFFFFFFF", "0/0"]),
        Case::text("xid8", &["18446744073709551615", "0"]),
        Case::text("pg_snapshot", &["10:20:10,14,15"]),
        Case::text("txid_snapshot", &["10:20:10,14,15"]),
        Case::text("tid", &["(0,1)", "(4294967295,65535)"]),
        Case::text("int2vector", &["1 2 3", ""]),
        Case::text("oidvector", &["1 4294967295", ""]),
        Case::text("aclitem", &["postgres=r/postgres"]),
        Case::text("regclass", &["pg_class"]),
        Case::text("regtype", &["int4", "timestamptz"]),
        Case::text("regproc", &["now"]),
        Case::text("regprocedure", &["now()"]),
        Case::text("regnamespace", &["pg_catalog"]),
        Case::text("refcursor", &["a cursor"]),
    ]
}

fn made(letters: Letters) -> Vec<Case> {
    use DataType::Decimal128;
    let text = move |random: &mut StdRng| letters.text(random, 8);
    vec![
        Case::new("positive", Decimal128(10, 2), "v::text", &["12.30"]),
        Case::new("positive_of_positive", Decimal128(10, 2), "v::text", &["99999999.99", "0.01"]),
        // Like built-in types by name only.
        Case::text("other.date", &["ok"]),
        Case::json("other.uuid", "json_populate_record(NULL::other.uuid, got::json)", &["(1)", "()"]),
        Case::array("integer[]", &["{1,NULL,3}", "{}", "{{1,2},{3,4}}", "[0:2]={1,2,3}", "{NULL}", "[-1:0][5:5]={{1},{2}}"])
            .generated(array(|random| random.random::<i32>().to_string())),
        Case::array("bool[]", &["{t,f,NULL}"]),
        Case::array("bigint[]", &["{9223372036854775807,-9223372036854775808,9007199254740993}"])
            .generated(array(|random| random.random::<i64>().to_string())),
        Case::array("numeric[]", &["{NaN,Infinity,1.10,1e-130,1e300}"]).generated(array(unbounded)),
        Case::array("numeric(12,4)[]", &["{1.10}"]).generated(array(decimal(12, 4))),
        Case::array("real[]", &["{NaN,-0,0.1,1.4e-45,Infinity}"]).generated(array(|random| single(random).to_string())),
        Case::array("double precision[]", &["{NaN,-0,5e-324,-Infinity,1e300}"])
            .generated(array(|random| float(random).to_string())),
        Case::array("text[]", &["{a,\"b,\\\"c\",NULL,\"NULL\",\"\",\"{}\"}"]).generated(array(text)),
        Case::array("char(3)[]", &["{a,\"\"}"]),
        Case::array("\"char\"[]", &["{a,NULL}"]),
        Case::array("name[]", &["{a}"]),
        Case::array("bytea[]", &["{\"\\\\x00ff\",NULL,\"\"}"]).generated(array(|random| format!("\\x{}", hex(random, 5)))),
        Case::array("money[]", &["{-92233720368547758.08,NULL,\"1,000.50\"}"]),
        Case::array("date[]", &["{infinity,2024-01-01,\"0044-03-15 BC\",5874897-12-31}"]).generated(array(|random| {
            let (date, era) = date(random, 5_874_897);
            format!("{date}{era}")
        })),
        Case::array("time[]", &["{24:00,00:00:00.000001}"]).generated(array(time)),
        Case::array("timestamp[]", &["{infinity,-infinity,\"4713-01-01 BC\",\"294276-12-31 23:59:59.999999\"}"])
            .generated(array(timestamp)),
        Case::array("timestamptz[]", &["{infinity,\"0044-03-15 00:00+00 BC\",\"2024-01-01 00:00+02\"}"])
            .generated(array(zoned)),
        Case::array("interval[]", &["{\"1 mon -1 day\"}"]).generated(array(interval)),
        Case::array("uuid[]", &[]).generated(array(|random| hex(random, 16))),
        Case::array("json[]", &["{NULL,\"null\",\"{\\\"b\\\": 1,  \\\"a\\\":1e400}\"}"])
            .generated(array(move |random| json(random, letters, 2))),
        Case::array("jsonb[]", &["{NULL,\"null\",18446744073709551616}"])
            .generated(array(move |random| json(random, letters, 2))),
        Case::array("inet[]", &["{10.0.0.1/8}"]).generated(array(address)),
        Case::array("int4range[]", &["{\"[1,5)\",empty,NULL}"]),
        Case::array("mood[]", &["{ok,NULL,\"very 'good'\"}"]),
        Case::array("positive[]", &["{1.10,NULL}"]),
        Case::array("xml[]", &["{<a/>,NULL}"]),
        Case::array("bit(3)[]", &["{101,NULL}"]),
        Case::array("point[]", &["{\"(1,2)\",NULL}"]),
        Case::array("ints", &["{1,2}", "{{1,NULL}}"]),
        Case::json("pair", "json_populate_record(NULL::pair, got::json)", &["(1,\"a b\")", "(,)", "(-1,\"\")"])
            .generated(move |random| {
                let text = letters.text(random, 8).replace('\\', "\\\\").replace('"', "\"\"");
                format!("({},\"{text}\")", random.random::<i32>())
            }),
        Case::json(
            "wide",
            "json_populate_record(NULL::wide, got::json)",
            &[
                "(9223372036854775807,1.10,\"{NaN,1.50,NULL}\",\"2024-01-01 00:00:00+00\",\"\\\\x00ff\",\"(1,\"\"a b\"\")\",\"{\"\"(2,b)\"\",NULL}\",12.34,infinity)",
                "(,,,,,,,,)",
                "(,NaN,{},,,\"(,)\",{},,)",
            ],
        ),
        Case::json(
            "pair[]",
            "(SELECT coalesce(array_agg(CASE WHEN json_typeof(e) <> 'null' THEN json_populate_record(NULL::pair, e) END), '{}')
              FROM json_array_elements(got::json) e)",
            &["{}", "{\"(1,a)\",NULL,\"(,)\"}", "[3:3]={\"(1,a)\"}"],
        ),
        Case::json(
            "wide[]",
            "(SELECT coalesce(array_agg(CASE WHEN json_typeof(e) <> 'null' THEN json_populate_record(NULL::wide, e) END), '{}')
              FROM json_array_elements(got::json) e)",
            &["{}", "{NULL,\"(1,1.10,,,,,,,)\"}"],
        ),
    ]
}

/// Every built-in type, and the types of [`CREATE_TYPES`].
pub(crate) fn built_in(letters: Letters) -> Vec<Case> {
    let mut cases = numbers();
    cases.extend(texts(letters));
    cases.extend(times());
    cases.extend(others());
    cases.extend(made(letters));
    cases
}

pub(crate) const CREATE_TYPES: &str = "
    CREATE TYPE mood AS ENUM ('ok', 'very ''good''', '', '{a,b}'); CREATE TYPE pair AS (a int, \"b \"\" r\" text);
    CREATE DOMAIN positive AS numeric(10,2) CHECK (VALUE > 0); CREATE DOMAIN ints AS int[];
    CREATE DOMAIN positive_of_positive AS positive DEFAULT 1;
    CREATE DOMAIN pair_domain AS pair;
    CREATE TYPE wide AS (r bigint, x numeric(10,2), numerics numeric[], at timestamptz, bytes bytea, inner_pair pair_domain,
        pairs pair[], amount money, day date);
    CREATE TYPE floatrange AS RANGE (subtype = float8);
    CREATE SCHEMA other; CREATE TYPE other.date AS ENUM ('ok'); CREATE TYPE other.uuid AS (a int)";
