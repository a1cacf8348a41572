//! Values at the edges of every type, and random ones with a seed that failures print.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use transload_core::schema::{BigQueryType, Mode, TargetTable};

use crate::cell::{Cell, Float, Row, uuid_text};
use crate::fixture::{Done, Failure, SourceFixture};
use crate::table::{Kind, TestColumn, TestTable};

/// Days from 1970-01-01 to the first and last day that BigQuery knows.
const FIRST_DAY: i32 = -719_162;
const LAST_DAY: i32 = 2_932_896;
const DAY_MICROS: i64 = 86_400_000_000;

/// The seed of this run's random values: `TRANSLOAD_SEED`, `PROPTEST_RNG_SEED` (where a run shall try what another one
/// did), or a fresh one.
#[must_use]
pub fn seed() -> u64 {
    let named = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    named("TRANSLOAD_SEED").or_else(|| named("PROPTEST_RNG_SEED")).unwrap_or_else(rand::random)
}

/// A random generator with a [`seed`].
#[derive(Debug)]
pub struct Seeded {
    /// The seed, to be printed when something fails.
    pub seed: u64,
    /// The generator.
    pub rng: StdRng,
}

impl Seeded {
    /// From the environment, or fresh.
    #[must_use]
    pub fn from_env() -> Self {
        let seed = seed();
        Self { seed, rng: StdRng::seed_from_u64(seed) }
    }

    /// Adds the seed to a failure.
    ///
    /// # Errors
    /// The failure it was given.
    pub fn explain<T>(&self, result: Done<T>) -> Done<T> {
        result.map_err(|failure| failure.during(&format!("TRANSLOAD_SEED={}", self.seed)))
    }
}

/// Values at the edges of a kind, without NULL.
#[must_use]
pub fn edges(kind: Kind) -> Vec<Cell> {
    match kind {
        Kind::Bool => vec![Cell::Bool(true), Cell::Bool(false)],
        Kind::Int => [0, 1, -1, i64::MAX, i64::MIN, (1 << 53) + 1, 42].map(Cell::Int).to_vec(),
        Kind::Float => floats(),
        Kind::Decimal => decimals(14, 4),
        Kind::Text => texts().into_iter().map(Cell::Text).collect(),
        Kind::Bytes => bytes(),
        Kind::Date => dates(),
        Kind::DateTime => moments().into_iter().map(Cell::DateTime).collect(),
        Kind::Timestamp => moments().into_iter().map(Cell::Timestamp).collect(),
        Kind::Time => times(),
        Kind::Json => jsons(),
        Kind::Uuid => {
            [[0; 16], [0xff; 16], *b"0123456789abcdef"].map(|bytes| Cell::Text(uuid_text(&bytes))).to_vec()
        }
    }
}

/// Values at the edges of a target type, without NULL.
#[must_use]
pub fn target_edges(data_type: &BigQueryType) -> Vec<Cell> {
    match data_type {
        BigQueryType::String => edges(Kind::Text),
        BigQueryType::Bytes => bytes(),
        BigQueryType::Int64 => edges(Kind::Int),
        BigQueryType::Float64 => floats(),
        BigQueryType::Bool => edges(Kind::Bool),
        BigQueryType::Date => dates(),
        BigQueryType::DateTime => edges(Kind::DateTime),
        BigQueryType::Time => times(),
        BigQueryType::Timestamp => edges(Kind::Timestamp),
        BigQueryType::Json => jsons(),
        BigQueryType::Geography => vec![Cell::text("POINT(1 2)"), Cell::text("LINESTRING(0 0, 1 1)")],
        BigQueryType::Record(fields) => {
            let full = |i: usize| {
                let values = fields.iter().map(|field| {
                    let edges = target_edges(&field.data_type);
                    (field.name.clone(), edges.get(i % edges.len()).cloned().unwrap_or(Cell::Null))
                });
                Cell::Record(values.collect())
            };
            let empty = fields.iter().map(|field| (field.name.clone(), Cell::Null)).collect();
            vec![full(0), full(1), full(3), Cell::Record(empty)]
        }
        other => match other.precision_scale() {
            Some((precision, scale)) => {
                // NUMERIC without parameters has 38 digits, 9 of them behind the point.
                decimals(usize::from(precision - scale), usize::from(scale))
            }
            None => Vec::new(),
        },
    }
}

fn floats() -> Vec<Cell> {
    let values = [
        0.0,
        1.5,
        -1.5,
        0.1,
        1e300,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    values.map(|value| Cell::Float(Float(value))).to_vec()
}

fn decimals(integer_digits: usize, scale: usize) -> Vec<Cell> {
    let largest = format!("{}.{}", "9".repeat(integer_digits.max(1)), "9".repeat(scale));
    let largest = if integer_digits == 0 { format!("0.{}", "9".repeat(scale)) } else { largest };
    let smallest = format!("0.{}1", "0".repeat(scale.saturating_sub(1)));
    let mut texts = vec!["0".to_owned(), "1".to_owned(), "-1".to_owned(), format!("-{largest}"), largest];
    if scale > 0 {
        texts.extend(["0.5".to_owned(), format!("-{smallest}"), smallest]);
    }
    texts.into_iter().map(|text| Cell::Decimal(text.trim_end_matches('.').to_owned())).collect()
}

fn texts() -> Vec<String> {
    let fixed = [
        "",
        " ",
        "a",
        " blanks around ",
        "naïve ünïcode 表 🦀",
        "e\u{301} is not é",
        "two\nlines",
        "two\r\nlines",
        "a\ttab",
        "quote ' and \" and `",
        "back\\slash \\n \\N",
        "comma,semicolon;pipe|",
        "NULL",
        "null",
        "true",
        "0123",
        "1e5",
        "'; DROP TABLE x; --",
        "{\"not\": \"json\"",
        "\u{1}\u{7f}\u{85}\u{2028}",
    ];
    let mut texts: Vec<String> = fixed.map(str::to_owned).to_vec();
    texts.push("long ".repeat(4000));
    texts
}

fn bytes() -> Vec<Cell> {
    vec![
        Cell::Bytes(Vec::new()),
        Cell::Bytes(vec![0]),
        Cell::Bytes(b"text".to_vec()),
        Cell::Bytes((0..=255).collect()),
        Cell::Bytes(vec![0xff; 5000]),
    ]
}

fn dates() -> Vec<Cell> {
    [0, -1, 19_000, -25_567, FIRST_DAY, LAST_DAY].map(Cell::Date).to_vec()
}

fn moments() -> Vec<i64> {
    let (first, last) = (i64::from(FIRST_DAY) * DAY_MICROS, (i64::from(LAST_DAY) + 1) * DAY_MICROS - 1);
    vec![0, 1, -1, 1_700_000_000_123_456, 951_782_400_000_000, first, last]
}

fn times() -> Vec<Cell> {
    [0, 1, 43_200_000_000, DAY_MICROS - 1].map(Cell::Time).to_vec()
}

fn jsons() -> Vec<Cell> {
    ["{}", "[]", r#"{"a":[1,null,"x"],"ü":"表"}"#, r#""a \"text\"""#, "123456789012345678", "true", "-0.5"]
        .map(Cell::text)
        .to_vec()
}

/// A random value of a kind, without NULL.
pub fn random(kind: Kind, rng: &mut StdRng) -> Cell {
    match kind {
        Kind::Bool => Cell::Bool(rng.random()),
        Kind::Int => Cell::Int(rng.random::<i64>() >> rng.random_range(0..63)),
        Kind::Float => Cell::Float(Float(rng.random::<f64>() * 10f64.powi(rng.random_range(-30..30)))),
        Kind::Decimal => {
            let digits: i64 = rng.random_range(-999_999_999_999_999..=999_999_999_999_999);
            let sign = if digits < 0 { "-" } else { "" };
            Cell::Decimal(format!("{sign}{}.{:04}", digits.abs() / 10_000, digits.abs() % 10_000))
        }
        Kind::Text => {
            let length = rng.random_range(0..40);
            // No NUL, which PostgreSQL refuses; all else that is a character.
            Cell::Text((0..length).map(|_| rng.random_range('\u{1}'..='\u{2fff}')).collect())
        }
        Kind::Bytes => Cell::Bytes((0..rng.random_range(0..40)).map(|_| rng.random()).collect()),
        Kind::Date => Cell::Date(rng.random_range(FIRST_DAY..=LAST_DAY)),
        Kind::DateTime => Cell::DateTime(moment(rng)),
        Kind::Timestamp => Cell::Timestamp(moment(rng)),
        Kind::Time => Cell::Time(rng.random_range(0..DAY_MICROS)),
        Kind::Json => {
            let number: i32 = rng.random();
            Cell::Text(serde_json::json!({"n": number, "list": [number / 2, null, "x"]}).to_string())
        }
        Kind::Uuid => Cell::Text(uuid_text(&rng.random::<[u8; 16]>())),
    }
}

fn moment(rng: &mut StdRng) -> i64 {
    rng.random_range(i64::from(FIRST_DAY) * DAY_MICROS..i64::from(LAST_DAY) * DAY_MICROS)
}

/// A table with a column of every kind that a source holds, an `id` before them, and `extra` random rows
/// after those with edge values. Every fifth value of the random rows is NULL, and one row is all NULL.
pub fn all_kinds(name: &str, fixture: &dyn SourceFixture, seeded: &mut Seeded, extra: usize) -> TestTable {
    let kinds = fixture.facts().kinds;
    let accepted: Vec<Vec<Cell>> = kinds
        .iter()
        .map(|kind| edges(*kind).into_iter().filter(|cell| fixture.accepts(*kind, cell)).collect())
        .collect();
    let id_kind = if kinds.contains(&Kind::Int) { Kind::Int } else { Kind::Text };
    let mut columns = vec![TestColumn::new("id", id_kind).required()];
    columns.extend(kinds.iter().map(|kind| TestColumn::new(kind.name(), *kind)));
    let most = accepted.iter().map(Vec::len).max().unwrap_or_default();
    let mut rows: Vec<Row> = Vec::new();
    for i in 0..most {
        let edge = |cells: &Vec<Cell>| cells.get(i % cells.len().max(1)).cloned().unwrap_or(Cell::Null);
        rows.push(accepted.iter().map(edge).collect());
    }
    rows.push(kinds.iter().map(|_| Cell::Null).collect());
    for _ in 0..extra {
        let values = kinds.iter().map(|kind| {
            let value = random(*kind, &mut seeded.rng);
            let null = seeded.rng.random_range(0..5) == 0 || !fixture.accepts(*kind, &value);
            if null { Cell::Null } else { value }
        });
        rows.push(values.collect());
    }
    for (i, row) in (0..).zip(&mut rows) {
        row.insert(0, id_kind.nth(i));
    }
    TestTable::new(name, columns).key(&["id"]).rows(rows)
}

/// Rows for a target table: every edge value of every column, and a row of NULLs where modes allow it.
///
/// # Errors
/// A column without values: a defect of the suite.
pub fn target_rows(table: &TargetTable, accepts: impl Fn(&BigQueryType, &Cell) -> bool) -> Done<Vec<Row>> {
    let mut values: Vec<Vec<Cell>> = Vec::new();
    for column in &table.columns {
        let mut cells = target_edges(&column.data_type);
        cells.retain(|cell| accepts(&column.data_type, cell));
        if cells.is_empty() {
            return Err(Failure::new(format!("no values for column {} {}", column.name, column.data_type)));
        }
        if column.mode == Mode::Repeated {
            cells = vec![
                Cell::List(Vec::new()),
                Cell::List(cells.iter().take(3).cloned().collect()),
                Cell::List(cells),
            ];
        }
        if column.mode != Mode::Required {
            cells.push(Cell::Null);
        }
        values.push(cells);
    }
    let most = values.iter().map(Vec::len).max().unwrap_or_default();
    let pick = |i: usize, cells: &Vec<Cell>| cells.get(i % cells.len()).cloned().unwrap_or(Cell::Null);
    Ok((0..most).map(|i| values.iter().map(|cells| pick(i, cells)).collect()).collect())
}
