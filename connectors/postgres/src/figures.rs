//! Figures of a table by queries of the server; see `transload_core::proof`.

use std::sync::Arc;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_schema::{Field, Schema, SchemaRef};
use futures::TryStreamExt as _;
use transload_core::batch::BatchStream;
use transload_core::connector::ReadPlan;
use transload_core::proof::ProofLevel;
use transload_core::schema::ColumnSchema;
use transload_core::{Error, Result};
use transload_sql::figures::{FigureDialect, Measured, Order, inner_list, outer_list};

use crate::catalog::Described;
use crate::dialect::Dialect;
use crate::filter::select;
use crate::types::{ReadAs, Select, Wire};

const FIGURES: FigureDialect = FigureDialect {
    text: |aggregate| format!("({aggregate})::pg_catalog.text"),
    modulus: |code, modulus| format!("{code} % {modulus}"),
    left: |text, characters| format!("pg_catalog.left({text}, {characters})"),
};

impl Described {
    /// How the columns of a plan are measured, in its order.
    pub(crate) fn measured(&self, plan: &ReadPlan, level: ProofLevel) -> Result<Vec<Measured>> {
        self.columns(&plan.columns)?.into_iter().map(|(column, read)| measured(column, read, level)).collect()
    }

    /// What asks for the figures of some columns, as one JSON array of texts, and how the answer is decoded.
    pub(crate) fn figures_sql(
        &self,
        plan: &ReadPlan,
        columns: &[Measured],
    ) -> Result<(String, SchemaRef, [Wire; 1])> {
        let condition = self.where_sql(Dialect::Postgres, plan, Vec::new())?;
        let inner = inner_list(columns).join(", ");
        let outer = outer_list(FIGURES, columns).join(", ");
        // OFFSET keeps the planner from computing every expression once for each aggregate.
        let sql = format!(
            "SELECT pg_catalog.array_to_json(ARRAY[{outer}])::pg_catalog.text \
             FROM (SELECT {inner} FROM {}{condition} OFFSET 0) AS s",
            self.quoted
        );
        let schema = Schema::new(vec![Field::new("figures", Wire::Text.arrow(), true)]);
        Ok((sql, Arc::new(schema), [Wire::Text]))
    }
}

/// The answer to [`Described::figures_sql`].
pub(crate) async fn figures(mut reading: BatchStream) -> Result<Vec<Option<String>>> {
    let row = reading.try_next().await?.ok_or_else(|| Error::internal("an aggregate without a row"))?;
    while reading.try_next().await?.is_some() {}
    let texts = row.column(0).as_string_opt::<i32>().filter(|texts| !texts.is_empty());
    let text = texts.map(|texts| texts.value(0)).unwrap_or_default();
    serde_json::from_str(text)
        .map_err(|error| Error::internal("the server's figures could not be read").source_error(error))
}

fn measured(column: &ColumnSchema, read: &ReadAs, level: ProofLevel) -> Result<Measured> {
    let c = select(&column.name, &read.select)?;
    let name = transload_sql::quote_identifier(&column.name)?;
    let mut measured = Measured { value: Some(name), ..Measured::default() };
    if level < ProofLevel::Values {
        return Ok(measured);
    }
    let md5 = |bytes: &str| {
        format!(
            "('x' || pg_catalog.substr(pg_catalog.md5({bytes}), 1, 15))::pg_catalog.bit(60)::pg_catalog.int8"
        )
    };
    // What the type prints, as it is sent; a cast to text cuts blanks off char(n). Of NULL it would be empty.
    let text = format!("(CASE WHEN {c} IS NOT NULL THEN pg_catalog.concat({c}) END)");
    let utf8 = || md5(&format!("pg_catalog.convert_to({text}, 'UTF8')"));
    let bits = || {
        format!(
            "('x' || pg_catalog.encode(pg_catalog.float8send(({c})::float8), 'hex'))::pg_catalog.bit(64)::pg_catalog.int8"
        )
    };
    // Exact since PostgreSQL 14 (before that a double, which is exact enough between the years 1900 and 2100), but
    // not at the far end of the calendar, where the server divides with too few digits.
    let micros = || {
        format!(
            "(CASE WHEN {c} < '200000-01-01' THEN EXTRACT(epoch FROM {c}) * 1000000 \
             ELSE EXTRACT(epoch FROM pg_catalog.date_trunc('second', {c})) * 1000000 \
             + EXTRACT(microseconds FROM {c}) % 1000000 END)::pg_catalog.int8"
        )
    };
    let of_day = || format!("(EXTRACT(epoch FROM {c}) * 1000000)::pg_catalog.int8");
    let (code, order) = match read.wire {
        Wire::Bool => (format!("({c})::pg_catalog.int4::pg_catalog.int8"), Some(Order::Code)),
        Wire::Int2 | Wire::Int4 | Wire::Int8 => (format!("({c})::pg_catalog.int8"), Some(Order::Code)),
        // Not all of these types have a cast to a number, but all print one.
        Wire::Oid => (format!("{text}::pg_catalog.int8"), Some(Order::Code)),
        Wire::Float4 | Wire::Float8 => (bits(), Some(Order::Float(format!("({c})::float8")))),
        Wire::Decimal128(_, scale) | Wire::Decimal256(_, scale) => (unscaled(&c, scale), Some(Order::Code)),
        Wire::Text if matches!(read.select, Select::Unchecked(_)) => (md5(&c), None),
        Wire::Text => (utf8(), Some(Order::Text(format!("{text} COLLATE \"C\"")))),
        Wire::NumericText | Wire::Jsonb => (utf8(), None),
        // PostGIS has a cast of its own, so the type must be said.
        Wire::Bytes => (md5(&format!("({c})::pg_catalog.bytea")), None),
        Wire::Uuid => (md5(&format!("pg_catalog.uuid_send({c})")), None),
        Wire::Date => (format!("({c} - '1970-01-01'::date)::pg_catalog.int8"), Some(Order::Code)),
        Wire::Time => (of_day(), Some(Order::Code)),
        Wire::DateTime | Wire::Timestamp => (micros(), Some(Order::Code)),
        Wire::Char | Wire::Range(_) | Wire::Vector | Wire::HalfVector => return Ok(measured),
    };
    (measured.code, measured.order) = (Some(code), order);
    Ok(measured)
}

/// A numeric as the integer that Arrow holds.
fn unscaled(numeric: &str, scale: i8) -> String {
    let power = format!("1{}", "0".repeat(usize::from(scale.unsigned_abs())));
    let operator = if scale < 0 { '/' } else { '*' };
    format!("pg_catalog.trunc({numeric} {operator} {power}::numeric)")
}
