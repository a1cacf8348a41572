//! Figures of a table by queries of the server; see `transload_core::proof`.

use transload_core::Result;
use transload_core::connector::ReadPlan;
use transload_core::proof::ProofLevel;
use transload_core::schema::ColumnSchema;
use transload_sql::figures::{FigureDialect, Measured, Order, inner_list, outer_list};
use transload_sql::quote_backquoted;

use crate::catalog::Described;
use crate::filter::bytes_of_text;
use crate::types::{ReadAs, Wire};

const FIGURES: FigureDialect = FigureDialect {
    text: |aggregate| format!("CAST({aggregate} AS CHAR)"),
    modulus: |code, modulus| format!("{code} % {modulus}"),
    left: |text, characters| format!("LEFT(CONVERT({text} USING utf8mb4), {characters})"),
};

/// Digits that a decimal of the server has at most.
const DIGITS: u8 = 65;

impl Described {
    /// How the columns of a plan are measured, in its order.
    pub(crate) fn measured(
        &self,
        plan: &ReadPlan,
        level: ProofLevel,
        lenient: bool,
    ) -> Result<Vec<Measured>> {
        let columns = self.columns(&plan.columns)?.into_iter();
        columns.map(|(column, read)| measured(column, read, level, lenient)).collect()
    }

    /// What asks for the figures of some columns, as one row of texts.
    pub(crate) fn figures_sql(&self, plan: &ReadPlan, columns: &[Measured]) -> Result<String> {
        let condition = self.where_sql(plan, Vec::new())?;
        let (inner, outer) = (inner_list(columns).join(", "), outer_list(FIGURES, columns).join(", "));
        Ok(format!("SELECT {outer} FROM (SELECT {inner} FROM {}{condition}) AS s", self.quoted))
    }
}

/// Days since 1970. The server's own count of days has no 29 February in the year 0.
fn days(c: &str) -> String {
    format!("(TO_DAYS({c}) - 719528 - ({c} < '0000-03-01'))")
}

/// The first 60 bits of the MD5 of bytes.
fn md5(bytes: &str) -> String {
    format!("CAST(CONV(LEFT(MD5({bytes}), 15), 16, 10) AS SIGNED)")
}

fn measured(column: &ColumnSchema, read: &ReadAs, level: ProofLevel, lenient: bool) -> Result<Measured> {
    let name = quote_backquoted(&column.name)?;
    // Days that no calendar has are NULL if the connection says so.
    let is_day = matches!(read.wire, Wire::Date | Wire::DateTime | Wire::Timestamp);
    let c = match lenient && is_day {
        true => format!("IF(DAY({name}) BETWEEN 1 AND DAY(LAST_DAY({name})), {name}, NULL)"),
        false => name,
    };
    let mut measured = Measured { value: Some(c.clone()), ..Measured::default() };
    if level < ProofLevel::Values {
        return Ok(measured);
    }
    let printed = || format!("CONVERT(CAST({c} AS CHAR) USING utf8mb4)");
    let (code, order) = match read.wire {
        Wire::Int8 | Wire::Int16 | Wire::Int32 | Wire::Int64 | Wire::Unsigned(_) | Wire::Unsigned64 => {
            (Some(c), Some(Order::Code))
        }
        Wire::Bool | Wire::Bits | Wire::Bits64 | Wire::Year => {
            (Some(format!("CAST({c} + 0 AS UNSIGNED)")), Some(Order::Code))
        }
        // No function gives the bits of a double.
        Wire::Float4 | Wire::Float8 => (None, Some(Order::Float(format!("({c} + 0.0E0)")))),
        Wire::Decimal128(precision, scale) | Wire::Decimal256(precision, scale) => {
            let digits = scale.unsigned_abs();
            let code = format!("TRUNCATE({c} * 1{}, 0)", "0".repeat(usize::from(digits)));
            ((precision + digits <= DIGITS).then_some(code), Some(Order::Decimal(c, digits)))
        }
        Wire::Text => {
            let text = format!("CONVERT({c} USING utf8mb4)");
            let ordered = read.ordered.then(|| Order::Text(bytes_of_text(&c)));
            (Some(md5(&text)), ordered)
        }
        Wire::TimeText(_) | Wire::DateText | Wire::DateTimeText(_) => (Some(md5(&printed())), None),
        Wire::Bytes => (Some(md5(&c)), None),
        Wire::Date => (Some(days(&c)), Some(Order::Code)),
        Wire::DateTime | Wire::Timestamp => {
            // TIME_TO_SEC would be one call, but MariaDB's keeps the microseconds.
            let seconds = format!("(HOUR({c}) * 3600 + MINUTE({c}) * 60 + SECOND({c}))");
            let of_day = format!("{seconds} * 1000000 + MICROSECOND({c})");
            (Some(format!("({} * 86400000000 + {of_day})", days(&c))), Some(Order::Code))
        }
        Wire::WellKnownText | Wire::Geometry | Wire::Vector => (None, None),
    };
    (measured.code, measured.order) = (code, order);
    Ok(measured)
}
