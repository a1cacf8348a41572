//! Figures of a table by queries of the server; see `transload_core::proof`.

use transload_core::Result;
use transload_core::connector::ReadPlan;
use transload_core::proof::ProofLevel;
use transload_core::schema::ColumnSchema;
use transload_sql::figures::{FigureDialect, Measured, Order, inner_list, outer_list};
use transload_sql::quote_bracketed;

use crate::catalog::Described;
use crate::filter::utf8_of;
use crate::select::selected;
use crate::types::{ReadAs, Select, Wire};

const FIGURES: FigureDialect = FigureDialect {
    // An `int` would be too small for counts. Every digit comes as it is, so that nothing needs to become a text.
    text: |aggregate| aggregate.replacen("count(", "count_big(", 1),
    modulus: |code, modulus| format!("{code} % {modulus}"),
    left: |text, characters| format!("LEFT({text}, {characters})"),
};

/// Digits behind the point up to which a fraction can be made an integer within the server's 38 digits.
const FRACTION: u8 = 18;

impl Described {
    /// How the columns of a plan are measured, in its order.
    pub(crate) fn measured(&self, plan: &ReadPlan, level: ProofLevel) -> Result<Vec<Measured>> {
        let columns = self.columns(&plan.columns)?.into_iter();
        columns.map(|(column, read)| measured(column, read, level, self.utf8)).collect()
    }

    /// What asks for the figures of some columns, as one row of texts.
    pub(crate) fn figures_sql(&self, plan: &ReadPlan, columns: &[Measured]) -> Result<String> {
        let condition = self.where_sql(plan, Vec::new())?;
        let (inner, outer) = (inner_list(columns).join(", "), outer_list(FIGURES, columns));
        let outer: Vec<_> =
            outer.into_iter().enumerate().map(|(at, value)| format!("{value} AS r{at}")).collect();
        Ok(format!("SELECT {} FROM (SELECT {inner} FROM {}{condition}) AS s", outer.join(", "), self.quoted))
    }
}

/// The first 60 bits of the MD5 of bytes.
fn md5(bytes: &str) -> String {
    let hash = format!("HASHBYTES('MD5', {bytes})");
    format!("CAST(SUBSTRING({hash}, 1, 7) AS bigint) * 16 + CAST(SUBSTRING({hash}, 8, 1) AS int) / 16")
}

/// Microseconds between two moments, as many as their boundaries.
fn micros(from: &str, to: &str) -> String {
    format!("DATEDIFF_BIG(microsecond, {from}, {to})")
}

const EPOCH: &str = "CAST('1970-01-01T00:00:00' AS datetime2(7))";

fn measured(column: &ColumnSchema, read: &ReadAs, level: ProofLevel, utf8: bool) -> Result<Measured> {
    let c = quote_bracketed(&column.name)?;
    // Not every type can be counted.
    let value = Some(format!("CASE WHEN {c} IS NULL THEN NULL ELSE 1 END"));
    let mut measured = Measured { value, ..Measured::default() };
    if level < ProofLevel::Values {
        return Ok(measured);
    }
    // Before SQL Server 2019 nothing makes UTF-8, and before 2016 hashes are of 8000 bytes at most.
    let text = |c: &str| utf8.then(|| md5(&utf8_of(c, "max")));
    let printed = |c: &str| md5(&format!("CAST({c} AS varchar(60))"));
    let (code, order) = match read.wire {
        Wire::Bool | Wire::Tiny | Wire::Int16 | Wire::Int32 | Wire::Int64 => {
            (Some(format!("CAST({c} AS bigint)")), Some(Order::Code))
        }
        // No function gives the bits of a double.
        Wire::Float4 | Wire::Float8 => (None, Some(Order::Float(format!("CAST({c} AS float)")))),
        Wire::Decimal(..) | Wire::Money(_) => {
            let scale = match read.wire {
                Wire::Decimal(_, scale) => scale.unsigned_abs(),
                _ => 4,
            };
            let c =
                if matches!(read.wire, Wire::Money(_)) { format!("CAST({c} AS decimal(19,4))") } else { c };
            if scale > 0 && scale <= FRACTION {
                // A difference would be cut to 38 digits, a remainder is not.
                let rest = format!("CAST({c} % 1 AS decimal({},{scale}))", scale + 1);
                let power = 10_u64.saturating_pow(scale.into());
                measured.fraction = Some((format!("CAST({rest} * {power} AS bigint)"), scale));
            }
            let whole = format!("CAST(ROUND({c}, 0, 1) AS decimal(38,0))");
            ((scale <= FRACTION).then_some(whole), Some(Order::Decimal(c, scale)))
        }
        Wire::Text | Wire::Coded if read.select == Select::Column && column.source_type != "xml" => {
            let large = matches!(column.source_type.as_str(), "text" | "ntext");
            (text(&if large { format!("CAST({c} AS nvarchar(max))") } else { c }), None)
        }
        Wire::Text if matches!(read.select, Select::ToText | Select::Cast) => {
            (text(&selected(&c, read)), None)
        }
        Wire::Guid => (Some(md5(&format!("LOWER(CAST({c} AS char(36)))"))), None),
        Wire::TimeText(_) | Wire::DateTime2Text(_) => (Some(printed(&c)), None),
        Wire::Bytes if column.source_type == "image" => {
            (utf8.then(|| md5(&format!("CAST({c} AS varbinary(max))"))), None)
        }
        Wire::Bytes if column.source_type.contains("binary") => (utf8.then(|| md5(&c)), None),
        Wire::RowVersion => (Some(md5(&format!("CAST({c} AS binary(8))"))), None),
        Wire::Date => (
            Some(format!("CAST(DATEDIFF(day, CAST('1970-01-01' AS date), {c}) AS bigint)")),
            Some(Order::Code),
        ),
        Wire::Time => (Some(micros("CAST('00:00:00' AS time(7))", &c)), Some(Order::Code)),
        Wire::DateTime2 => (Some(micros(EPOCH, &c)), Some(Order::Code)),
        Wire::DateTime => (Some(micros(EPOCH, &format!("CAST({c} AS datetime2(3))"))), Some(Order::Code)),
        Wire::SmallDateTime => {
            (Some(micros(EPOCH, &format!("CAST({c} AS datetime2(0))"))), Some(Order::Code))
        }
        Wire::DateTimeOffset => {
            let utc = format!("CAST(SWITCHOFFSET({c}, '+00:00') AS datetime2(7))");
            (Some(micros(EPOCH, &utc)), Some(Order::Code))
        }
        Wire::Text | Wire::Coded | Wire::Bytes | Wire::Variant | Wire::Geometry => (None, None),
    };
    (measured.code, measured.order) = (code, order);
    Ok(measured)
}
