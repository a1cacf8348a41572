//! Tables that the suite makes at sources and expects at destinations.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema, TimeUnit};
use transload_core::schema::{
    BigQueryType, ColumnSchema, Extension, Mode, RecordField, TargetColumn, TargetRef, TargetTable,
};

use crate::cell::{Cell, Form, Row, canonical};
use crate::fixture::{Done, Failure};

/// What a column of a source holds, apart from any system's own types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Boolean.
    Bool,
    /// 64-bit integer.
    Int,
    /// Double.
    Float,
    /// Decimal with 18 digits, 4 of them behind the point.
    Decimal,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// Calendar date.
    Date,
    /// Date and time without zone, microseconds.
    DateTime,
    /// Instant, microseconds.
    Timestamp,
    /// Time of day, microseconds.
    Time,
    /// JSON document.
    Json,
    /// UUID.
    Uuid,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Bool,
        Self::Int,
        Self::Float,
        Self::Decimal,
        Self::Text,
        Self::Bytes,
        Self::Date,
        Self::DateTime,
        Self::Timestamp,
        Self::Time,
        Self::Json,
        Self::Uuid,
    ];

    /// A name for columns of this kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "a_bool",
            Self::Int => "an_int",
            Self::Float => "a_float",
            Self::Decimal => "a_decimal",
            Self::Text => "a_text",
            Self::Bytes => "some_bytes",
            Self::Date => "a_date",
            Self::DateTime => "a_datetime",
            Self::Timestamp => "a_timestamp",
            Self::Time => "a_time",
            Self::Json => "a_json",
            Self::Uuid => "a_uuid",
        }
    }

    /// The Arrow type that a connector which is not constrained otherwise gives it.
    #[must_use]
    pub fn arrow_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Decimal => DataType::Decimal128(18, 4),
            Self::Text | Self::Json => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::DateTime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Uuid => DataType::FixedSizeBinary(16),
        }
    }

    /// How its values are compared.
    #[must_use]
    pub fn form(self) -> Form {
        match self {
            Self::Json => Form::Json,
            Self::Uuid => Form::Uuid,
            Self::Decimal => Form::Decimal,
            _ => Form::Plain,
        }
    }

    /// Whether a column of this kind can be a cursor.
    #[must_use]
    pub fn is_cursor(self) -> bool {
        matches!(self, Self::Int | Self::Decimal | Self::Text | Self::Date | Self::DateTime | Self::Timestamp)
    }

    /// The `n`-th value in ascending order, for cursor kinds (text for the others).
    #[must_use]
    pub fn nth(self, n: i32) -> Cell {
        match self {
            Self::Int => Cell::Int(n.into()),
            Self::Decimal => Cell::Decimal(format!("{n}.5")),
            Self::Date => Cell::Date(19_000 + n),
            // An odd number of microseconds: precision that is lost on the way moves the window.
            Self::DateTime => Cell::DateTime(1_700_000_000_000_001 + i64::from(n) * 1_001),
            Self::Timestamp => Cell::Timestamp(1_700_000_000_000_001 + i64::from(n) * 1_001),
            _ => Cell::Text(format!("k{n:09}")),
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether NULL may occur.
    pub nullable: bool,
}

impl TestColumn {
    /// A column that may be NULL.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind, nullable: true }
    }

    /// Declares it NOT NULL.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.nullable = false;
        self
    }

    fn schema(&self) -> ColumnSchema {
        let mut column = ColumnSchema::new(&self.name, format!("{:?}", self.kind), self.kind.arrow_type());
        column.nullable = self.nullable;
        column.extension = match self.kind {
            Kind::Json => Some(Extension::Json),
            Kind::Uuid => Some(Extension::Uuid),
            _ => None,
        };
        column
    }
}

/// A table with its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestTable {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<TestColumn>,
    /// Columns of its primary key, where the system has such.
    pub key: Vec<String>,
    /// Its rows.
    pub rows: Vec<Row>,
}

impl TestTable {
    /// A table without rows and key.
    pub fn new(name: impl Into<String>, columns: Vec<TestColumn>) -> Self {
        Self { name: name.into(), columns, key: Vec::new(), rows: Vec::new() }
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, columns: &[&str]) -> Self {
        self.key = columns.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Sets the rows.
    #[must_use]
    pub fn rows(mut self, rows: Vec<Row>) -> Self {
        self.rows = rows;
        self
    }

    /// The same table with other rows.
    #[must_use]
    pub fn with_rows(&self, rows: Vec<Row>) -> Self {
        Self { rows, ..self.clone() }
    }

    /// The rows as one batch.
    ///
    /// # Errors
    /// A row that does not fit the columns: a defect of the suite.
    pub fn to_batch(&self) -> Done<RecordBatch> {
        let fields: Vec<_> = self.columns.iter().map(|column| column.schema().to_field()).collect();
        to_batch(&Arc::new(Schema::new(fields)), &self.rows)
    }

    /// How values of each column are compared.
    #[must_use]
    pub fn forms(&self) -> Vec<Form> {
        self.columns.iter().map(|column| column.kind.form()).collect()
    }
}

/// Rows as a batch of a schema.
///
/// # Errors
/// A row that does not fit: a defect of the suite.
pub fn to_batch(schema: &Arc<Schema>, rows: &[Row]) -> Done<RecordBatch> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (i, field) in schema.fields().iter().enumerate() {
        let cells: Vec<Cell> = rows.iter().map(|row| row.get(i).cloned().unwrap_or(Cell::Null)).collect();
        let array = crate::arrow::array(field.data_type(), &cells);
        columns.push(array.map_err(|failure| failure.during(&format!("column {}", field.name())))?);
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Every target type without parameters that are interesting only to BigQuery.
#[must_use]
pub fn all_target_types() -> Vec<BigQueryType> {
    let field = |name: &str, data_type, mode| RecordField { name: name.to_owned(), data_type, mode };
    vec![
        BigQueryType::String,
        BigQueryType::Bytes,
        BigQueryType::Int64,
        BigQueryType::Float64,
        BigQueryType::Numeric(None),
        BigQueryType::Numeric(Some((12, 2))),
        BigQueryType::BigNumeric(None),
        BigQueryType::BigNumeric(Some((50, 20))),
        BigQueryType::Bool,
        BigQueryType::Date,
        BigQueryType::DateTime,
        BigQueryType::Time,
        BigQueryType::Timestamp,
        BigQueryType::Json,
        BigQueryType::Geography,
        BigQueryType::Record(vec![
            field("number", BigQueryType::Int64, Mode::Nullable),
            field("text", BigQueryType::String, Mode::Nullable),
        ]),
    ]
}

/// How values of a target column are compared.
#[must_use]
pub fn target_form(data_type: &BigQueryType, mode: Mode) -> Form {
    match data_type {
        _ if mode == Mode::Repeated => Form::List,
        BigQueryType::Json => Form::Json,
        BigQueryType::Numeric(_) | BigQueryType::BigNumeric(_) => Form::Decimal,
        _ => Form::Plain,
    }
}

/// A target table from columns.
#[must_use]
pub fn target(dataset: &str, table: &str, columns: &[(&str, BigQueryType, Mode)]) -> TargetTable {
    let column = |(name, data_type, mode): &(&str, BigQueryType, Mode)| TargetColumn {
        name: (*name).to_owned(),
        data_type: data_type.clone(),
        mode: *mode,
        description: None,
    };
    TargetTable::new(TargetRef::new(dataset, table), columns.iter().map(column).collect())
}

/// How values of each column of a target table are compared.
#[must_use]
pub fn target_forms(table: &TargetTable) -> Vec<Form> {
    table.columns.iter().map(|column| target_form(&column.data_type, column.mode)).collect()
}

/// Checks that two sets of rows are equal as multisets, in whatever order.
///
/// # Errors
/// A failure that shows rows that are missing and rows that are too many.
pub fn same_rows(actual: &[Row], expected: &[Row], forms: &[Form]) -> Done {
    let normal = |row: &Row| -> Row {
        let padded = forms.iter().chain(std::iter::repeat(&Form::Plain));
        row.iter().zip(padded).map(|(cell, form)| canonical(cell.clone(), *form)).collect()
    };
    let mut counts: BTreeMap<Row, i64> = BTreeMap::new();
    for row in expected {
        *counts.entry(normal(row)).or_default() += 1;
    }
    for row in actual {
        *counts.entry(normal(row)).or_default() -= 1;
    }
    let show = |sign: i64| {
        let rows: Vec<String> = counts
            .iter()
            .filter(|(_, count)| **count * sign > 0)
            .take(4)
            .map(|(row, count)| format!("\n    {}x {}", count.abs(), excerpt(row)))
            .collect();
        rows.concat()
    };
    if counts.values().all(|count| *count == 0) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} rows where {} are expected\n  missing:{}\n  too many:{}",
        actual.len(),
        expected.len(),
        show(1),
        show(-1)
    )))
}

fn excerpt(row: &Row) -> String {
    let text = format!("{row:?}");
    match text.char_indices().nth(400) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
