//! Figures of a table by queries of BigQuery; see `transload_core::proof`. No I/O but [`figures`].

use arrow_schema::DataType;
use transload_core::Result;
use transload_core::proof::{ProofLevel, TableFigures};
use transload_core::schema::{BigQueryType, Mode};
use transload_sql::figures::{
    COLUMNS_PER_QUERY, FigureDialect, Measured, Order, inner_list, outer_list, parse,
};

use crate::connect::Client;
use crate::sql;

const FIGURES: FigureDialect = FigureDialect {
    text: |aggregate| format!("CAST({aggregate} AS STRING)"),
    modulus: |code, modulus| format!("CAST(MOD({code}, {modulus}) AS INT64)"),
    left: |text, characters| format!("LEFT({text}, {characters})"),
};

/// How a column is measured whose values have this Arrow type in batches.
pub(crate) fn measured(
    name: &str,
    data_type: &BigQueryType,
    mode: Mode,
    arrow: &DataType,
    level: ProofLevel,
) -> Measured {
    let c = sql::quote(name);
    if mode == Mode::Repeated {
        // A NULL list is stored as an empty one.
        return Measured::default();
    }
    let mut measured = Measured { value: Some(c.clone()), ..Measured::default() };
    if level < ProofLevel::Values {
        return measured;
    }
    let md5 = |bytes: &str| format!("CAST(CONCAT('0x', SUBSTR(TO_HEX(MD5({bytes})), 1, 15)) AS INT64)");
    let code = |code: String| (Some(code), Some(Order::Code));
    (measured.code, measured.order) = match data_type {
        BigQueryType::Int64 => code(c),
        BigQueryType::Bool => code(format!("CAST({c} AS INT64)")),
        BigQueryType::Date => code(format!("UNIX_DATE({c})")),
        BigQueryType::Timestamp => code(format!("UNIX_MICROS({c})")),
        BigQueryType::DateTime => code(format!("DATETIME_DIFF({c}, DATETIME '1970-01-01', MICROSECOND)")),
        BigQueryType::Time => code(format!("TIME_DIFF({c}, TIME '00:00:00', MICROSECOND)")),
        // Times a power of ten, wide ones pass even BIGNUMERIC, so both sides of the point are taken apart.
        BigQueryType::Numeric(_) => match arrow {
            DataType::Decimal128(_, scale @ 0..=9) => {
                let digits = scale.unsigned_abs();
                let power = 10_i64.pow(u32::from(digits));
                measured.fraction = Some((format!("CAST(({c} - TRUNC({c})) * {power} AS INT64)"), digits));
                (Some(format!("TRUNC({c})")), Some(Order::Decimal(c, digits)))
            }
            _ => (None, None),
        },
        // Its bits cannot be asked for.
        BigQueryType::Float64 => (None, Some(Order::Float(c))),
        BigQueryType::String => (Some(md5(&c)), Some(Order::Text(c))),
        BigQueryType::Bytes => (Some(md5(&c)), None),
        _ => (None, None),
    };
    measured
}

/// The figures of the rows of `from` (a table and its conditions).
pub(crate) async fn figures(
    client: &Client,
    location: &str,
    from: &str,
    columns: &[Measured],
) -> Result<TableFigures> {
    let mut figures = TableFigures::default();
    for part in columns.chunks(COLUMNS_PER_QUERY) {
        let (inner, outer) = (inner_list(part).join(", "), outer_list(FIGURES, part).join(", "));
        let answer =
            client.select(location, &format!("SELECT {outer} FROM (SELECT {inner} FROM {from})")).await?;
        let (rows, of_part) = parse(answer.first().map(Vec::as_slice).unwrap_or_default(), part)?;
        figures.rows = rows;
        figures.columns.extend(of_part);
    }
    Ok(figures)
}
