//! The server as the oracle of every type: values are written as text, read through transload, and compared with
//! what the server itself says of them.
//!
//! `TRANSLOAD_SEED` repeats the values of a failure, which prints it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use futures::FutureExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_postgres::Client;
use transload_core::connector::{ReadPlan, Source};
use transload_core::proof::{Fold, Measure, ProofLevel, SideProof, Verdict};
use transload_core::schema::{Extension, TableRef, TableSchema};
use transload_core::{Connection, Result};

use crate::support::{connect, open, read_plan, url};

type Generate = Box<dyn Fn(&mut StdRng) -> String + Send>;

/// Values of one type and how they are checked.
pub(crate) struct Case {
    /// As in `CREATE TABLE`.
    pub(crate) type_name: String,
    pub(crate) arrow: DataType,
    pub(crate) extension: Option<Extension>,
    pub(crate) edges: Vec<String>,
    pub(crate) generate: Option<Generate>,
    pub(crate) oracle: Oracle,
}

/// How what was read is compared with the server.
pub(crate) enum Oracle {
    /// SQL of `v` that gives the text that [`render`] makes of the Arrow value.
    Tells(&'static str),
    /// SQL of `got`, the text that [`render`] makes, that gives the value back: it must print as `v` does.
    Gives(String),
    /// An array: its JSON, written as a literal, gives it back, but for lower bounds.
    Array,
}

impl Case {
    pub(crate) fn new(type_name: &str, arrow: DataType, oracle: &'static str, edges: &[&str]) -> Self {
        Self {
            type_name: type_name.to_owned(),
            arrow,
            extension: None,
            edges: edges.iter().map(|edge| (*edge).to_owned()).collect(),
            generate: None,
            oracle: Oracle::Tells(oracle),
        }
    }

    /// A type that is read as the text that the server prints.
    pub(crate) fn text(type_name: &str, edges: &[&str]) -> Self {
        Self::new(type_name, DataType::Utf8, "v::text", edges)
    }

    /// A type that is read as JSON; `gives` makes the value of the text `got`.
    pub(crate) fn json(type_name: &str, gives: &str, edges: &[&str]) -> Self {
        Self {
            extension: Some(Extension::Json),
            oracle: Oracle::Gives(gives.to_owned()),
            ..Self::text(type_name, edges)
        }
    }

    /// An array, which is read as JSON.
    pub(crate) fn array(type_name: &str, edges: &[&str]) -> Self {
        Self { oracle: Oracle::Array, ..Self::json(type_name, "", edges) }
    }

    pub(crate) fn generated(mut self, generate: impl Fn(&mut StdRng) -> String + Send + 'static) -> Self {
        self.generate = Some(Box::new(generate));
        self
    }

    pub(crate) fn extension(self, extension: Extension) -> Self {
        Self { extension: Some(extension), ..self }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An Arrow value as text, by nothing that the connector has a part in.
pub(crate) fn render(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::Float32 => hex(&array.as_primitive::<Float32Type>().value(row).to_be_bytes()),
        DataType::Float64 => hex(&array.as_primitive::<Float64Type>().value(row).to_be_bytes()),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(16) => hex(array.as_fixed_size_binary().value(row)),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        DataType::Struct(_) => {
            let parts = array.as_struct().columns();
            let parts = parts.iter().map(|part| render(part, row).unwrap_or_else(|| "NULL".to_owned()));
            parts.collect::<Vec<_>>().join("|")
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let items = (0..items.len()).map(|item| render(&items, item).expect("no NULL"));
            items.collect::<Vec<_>>().join(",")
        }
        other => panic!("no rendering of {other}"),
    })
}

/// A JSON array as the literal of a PostgreSQL array. Numbers are kept as they are written.
fn array_literal(json: &str) -> String {
    let (mut literal, mut rest) = (String::new(), json);
    while let Some(first) = rest.chars().next() {
        let used = match first {
            '"' => {
                let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let text = strings.next().expect("a string").expect("valid JSON");
                literal.push_str(&format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")));
                strings.byte_offset()
            }
            'n' => {
                literal.push_str("NULL");
                "null".len()
            }
            other => {
                literal.push(match other {
                    '[' => '{',
                    ']' => '}',
                    other => other,
                });
                other.len_utf8()
            }
        };
        rest = &rest[used..];
    }
    literal
}

/// A database of one test, which is dropped whatever the test does.
pub(crate) struct Database {
    url: String,
    /// Its settings do not depend on those of the database.
    pub(crate) admin: Client,
}

impl Database {
    pub(crate) async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::from_url(&self.url).unwrap()
    }

    pub(crate) async fn source(&self) -> Arc<dyn Source> {
        open(&self.connection()).await.unwrap()
    }

    pub(crate) async fn describe(&self, table: &str) -> TableSchema {
        self.source().await.describe(&TableRef::new("place", table)).await.unwrap()
    }

    /// All rows of a table of schema `place`.
    pub(crate) async fn read(&self, table: &str) -> Result<RecordBatch> {
        let session = self.source().await.begin(&TableRef::new("place", table)).await?;
        let plan = ReadPlan::default();
        let batch = read_plan(session.as_ref(), &plan).await?;
        session.close().await?;
        Ok(batch)
    }

    pub(crate) async fn texts(&self, sql: &str) -> Vec<Option<String>> {
        let rows = self.admin.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Writes, reads and compares the values of each case, `rows` generated ones each.
    pub(crate) async fn check(&self, cases: Vec<Case>, rows: usize) {
        let seed = transload_testkit::generate::seed();
        let mut failed = Vec::new();
        for (i, case) in cases.into_iter().enumerate() {
            let name = case.type_name.clone();
            // Each type by itself, so that adding one changes no other.
            let mut random = StdRng::seed_from_u64(seed);
            let table = format!("t{i}");
            // A failure has printed what it is.
            let checked = AssertUnwindSafe(self.check_case(&table, case, rows, &mut random));
            if checked.catch_unwind().await.is_err() {
                failed.push(name);
            }
        }
        assert!(failed.is_empty(), "{failed:?} are not exact; repeat with TRANSLOAD_SEED={seed}");
    }

    async fn check_case(&self, table: &str, case: Case, rows: usize, random: &mut StdRng) {
        let Case { type_name, arrow, extension, mut edges, generate, oracle } = case;
        if let Some(generate) = generate {
            edges.extend((0..rows).map(|_| generate(random)));
        }
        let mut values: Vec<Option<String>> = edges.into_iter().map(Some).collect();
        values.insert(values.len() / 2, None);
        values.push(None);
        self.run(&format!(
            "DROP TABLE IF EXISTS place.{table}; CREATE TABLE place.{table} (id int, v {type_name})"
        ))
        .await;
        let insert = format!(
            "INSERT INTO place.{table} SELECT at, value::{type_name} FROM unnest($1::text[]) WITH ORDINALITY AS u(value, at)"
        );
        let inserted = self.admin.execute(&insert, &[&values]).await;
        inserted.unwrap_or_else(|error| panic!("{type_name}: {error:?}"));
        let described = self.describe(table).await;
        assert_eq!(described.columns[1].data_type, arrow, "{type_name}");
        assert_eq!(described.columns[1].extension, extension, "{type_name}");
        let batch = self.read(table).await.unwrap_or_else(|error| panic!("{type_name}: {error:?}"));
        assert_eq!(batch.column(1).data_type(), &arrow, "{type_name}");
        self.check_figures(table, &type_name, &batch).await;
        let ids = batch.column(0).as_primitive::<Int32Type>().values();
        assert_eq!(ids.len(), values.len(), "{type_name}");
        let mut got: Vec<(i32, Option<String>)> =
            ids.iter().copied().zip((0..ids.len()).map(|row| render(batch.column(1), row))).collect();
        got.sort_by_key(|(id, _)| *id);
        let got = got.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        match oracle {
            Oracle::Tells(sql) => {
                let told = format!(
                    "SELECT CASE WHEN v IS DISTINCT FROM NULL THEN {sql} END FROM place.{table} ORDER BY id"
                );
                let told = self.texts(&told).await;
                for ((got, told), value) in got.iter().zip(&told).zip(&values) {
                    assert_eq!(got, told, "{type_name}: {value:?}");
                }
                assert_eq!(got.len(), told.len(), "{type_name}");
            }
            Oracle::Gives(sql) => self.check_given(table, &type_name, &sql, got).await,
            Oracle::Array => {
                let got = got.into_iter().map(|text| text.map(|text| array_literal(&text))).collect();
                self.check_given(table, &type_name, &format!("got::{type_name}"), got).await;
            }
        }
    }

    /// The server's own figures of the column are those of the batch.
    async fn check_figures(&self, table: &str, type_name: &str, batch: &RecordBatch) {
        let session = self.source().await.begin(&TableRef::new("place", table)).await.unwrap();
        let there = session.figures(&ReadPlan::default(), ProofLevel::Values).await;
        let there = there.unwrap_or_else(|error| panic!("{type_name}: {error:?}"));
        session.close().await.unwrap();
        let mut fold = Fold::new(&batch.schema(), ProofLevel::Values);
        fold.add(batch).unwrap();
        let side = SideProof::compare(fold.finish(), &there, &["id".to_owned(), "v".to_owned()], 0.0);
        assert_eq!(side.verdict, Verdict::Equal, "{type_name}: {side:?}");
        let of = Measure::of(batch.column(1).data_type());
        if !matches!(of, Measure::Presence | Measure::Text) {
            assert!(side.columns[1].compared.contains(&"checksum"), "{type_name}: {side:?}");
        }
    }

    async fn check_given(&self, table: &str, type_name: &str, sql: &str, got: Vec<Option<String>>) {
        // Lower bounds are not kept: `[0:2]={...}`.
        let sql = format!(
            "SELECT format('%s: %s is not %s', id, got, v) FROM place.{table} t
             JOIN unnest($1::text[]) WITH ORDINALITY AS u(got, at) ON at = id
             WHERE regexp_replace(v::text, '^\\[[^=]*=', '') IS DISTINCT FROM CASE WHEN got IS NOT NULL THEN ({sql})::text END LIMIT 3"
        );
        let rows = self.admin.query(&sql, &[&got]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let different: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(different.is_empty(), "{type_name}: {}", different.join("\n"));
    }
}

/// Runs a test in a database of its own with a schema `place`. `options` are those of `CREATE DATABASE`, and
/// `settings` become the database's.
pub(crate) async fn in_database<F: Future<Output = ()> + Send + 'static>(
    options: &str,
    settings: &[(&str, &str)],
    test: impl FnOnce(Arc<Database>) -> F,
) {
    in_database_of(&url(), options, settings, test).await;
}

/// The same, at any server.
pub(crate) async fn in_database_of<F: Future<Output = ()> + Send + 'static>(
    server: &str,
    options: &str,
    settings: &[(&str, &str)],
    test: impl FnOnce(Arc<Database>) -> F,
) {
    let name = format!("transload_{:016x}", rand::rng().random::<u64>());
    let url = format!("{}/{name}", server.rsplit_once('/').expect("the address names a database").0);
    let server = connect(server).await;
    server.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0 {options}")).await.unwrap();
    let admin = connect(&url).await;
    admin
        .batch_execute(
            "CREATE SCHEMA place; SET search_path = place, pg_catalog; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD';
             SET intervalstyle = 'iso_8601'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmloption = 'content'",
        )
        .await
        .unwrap();
    // After the administrator has come in, so that they do not hold for it.
    for (setting, value) in settings {
        let sql = format!("ALTER DATABASE {name} SET {setting} = {value}");
        server.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let database = Arc::new(Database { url, admin });
    let outcome = tokio::spawn(test(database)).await;
    server.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}
