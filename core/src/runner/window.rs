//! The window of a run: which cursor values it loads, decided before anything is read.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::report_document::WindowDocument;
use crate::connector::{CursorFilter, CursorSummary, LoadRecord, Settled};
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Backfill, LoadStrategy};
use crate::schema::{ColumnSchema, CursorStep, CursorValue, Warning};

/// The range of cursor values one run loads.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The cursor column.
    pub cursor: String,
    /// Where it begins; `None` for the beginning of time.
    pub lo: Option<CursorValue>,
    /// Where it ends, inclusive; `None` if the source has no row with a cursor value.
    pub hi: Option<CursorValue>,
    /// `lo` is the watermark of an earlier load, so rows equal to it may be loaded already.
    pub continues: bool,
}

impl Window {
    /// The JSON form: values as texts at full precision.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(WindowDocument::from(self)).unwrap_or_default()
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decision {
    pub(super) window: Window,
    /// `None`: there is nothing to read.
    pub(super) filter: Option<CursorFilter>,
    pub(super) warnings: Vec<Warning>,
}

/// Decides the window of a job with a cursor.
///
/// `hi` is the highest cursor inside the read snapshot less `lag`, and not past what is `settled` where the
/// job asks for that; `lo` is the last watermark, or where a backfill begins. Rows equal to `lo` are always read again, since more of them may have arrived.
pub(super) fn decide(
    strategy: &LoadStrategy,
    cursor: &ColumnSchema,
    summary: &CursorSummary,
    settled: Option<&Settled>,
    last: Option<&LoadRecord>,
    now: Timestamp,
) -> Result<Decision> {
    let merge = matches!(strategy, LoadStrategy::Merge { .. });
    let mut warnings = Vec::new();
    if summary.nulls > 0 && !merge {
        warnings.push(Warning::new(
            "W_NULL_CURSOR",
            format!(
                "{} rows have no value in `{}`; append cannot tell whether they are new, so they are not loaded",
                summary.nulls, cursor.name
            ),
        ));
    }
    let watermark = last.and_then(|last| last.watermark.clone());
    let hi = match (&summary.max, strategy.lag()) {
        (Some(max), Some(lag)) => Some(max.minus(lag)?),
        (max, _) => max.clone(),
    };
    let (hi, held) = hold_below(hi, settled, &cursor.name)?;
    warnings.extend(held);
    let lo = match &watermark {
        Some(watermark) => Some(match strategy.lookback() {
            Some(step) => watermark.minus(step)?,
            None => watermark.clone(),
        }),
        None => backfill(strategy, cursor, summary.max.as_ref(), now)?,
    };
    let mut window = Window {
        cursor: cursor.name.clone(),
        lo: lo.clone(),
        hi: hi.clone(),
        continues: watermark.is_some(),
    };
    // Rows without a cursor are upserted on every run: that is idempotent and loses none.
    let include_nulls = merge && summary.nulls > 0;
    let Some(hi) = hi else {
        let filter = include_nulls.then(|| CursorFilter {
            column: cursor.name.clone(),
            lo: None,
            lo_inclusive: true,
            hi: None,
            include_nulls,
        });
        return Ok(Decision { window, filter, warnings });
    };
    if let Some(lo) = &lo {
        let order = hi.compare(lo).ok_or_else(|| changed_type(&cursor.name, lo, &hi))?;
        if order.is_lt() {
            if let (Some(watermark), Some(max)) = (&watermark, &summary.max)
                && max.compare(watermark).is_some_and(|order| order.is_lt())
            {
                warnings.push(Warning::new(
                    "W_CURSOR_BACKWARDS",
                    format!(
                        "the highest `{}` is {max}, below the watermark {watermark}: rows were deleted or the table \
                         was re-created; nothing was loaded",
                        cursor.name
                    ),
                ));
            }
            window.hi = watermark;
            return Ok(Decision { window, filter: None, warnings });
        }
    }
    let filter =
        CursorFilter { column: cursor.name.clone(), lo, lo_inclusive: true, hi: Some(hi), include_nulls };
    Ok(Decision { window, filter: Some(filter), warnings })
}

/// `hi`, or what is settled if that is lower; and a warning if an open transaction is the reason.
fn hold_below(
    hi: Option<CursorValue>,
    settled: Option<&Settled>,
    column: &str,
) -> Result<(Option<CursorValue>, Option<Warning>)> {
    let (Some(highest), Some(settled)) = (&hi, settled) else { return Ok((hi, None)) };
    let order = highest.compare(&settled.upto).ok_or_else(|| changed_type(column, &settled.upto, highest))?;
    if order.is_le() {
        return Ok((hi, None));
    }
    let warning = settled.waits_for.as_ref().map(|open| {
        let age = SignedDuration::from_secs(i64::try_from(open.age.as_secs()).unwrap_or(i64::MAX));
        Warning::new(
            "W_OPEN_TRANSACTION",
            format!(
                "rows with `{column}` past {} wait for a transaction that has been open for {age:#} ({}): they are \
                 loaded by the first run after its end",
                settled.upto, open.who
            ),
        )
    });
    Ok((Some(settled.upto.clone()), warning))
}

fn changed_type(column: &str, watermark: &CursorValue, value: &CursorValue) -> Error {
    Error::new(
        ErrorKind::SchemaChanged,
        format!(
            "cursor column `{column}` is of type {} now and the watermark {watermark} of type {}",
            value.type_name(),
            watermark.type_name()
        ),
    )
    .with("column", column)
    .hint("give the job a new name to start afresh, or restore the column's type")
}

fn backfill(
    strategy: &LoadStrategy,
    cursor: &ColumnSchema,
    max: Option<&CursorValue>,
    now: Timestamp,
) -> Result<Option<CursorValue>> {
    match strategy.backfill() {
        None => Ok(None),
        Some(Backfill::Since(text)) => CursorValue::parse(text, &cursor.data_type)
            .map(Some)
            .map_err(|error| error.operation("backfill_since").with("column", &cursor.name)),
        Some(Backfill::Days(days)) => {
            let back = CursorStep::Duration(SignedDuration::from_hours(i64::from(*days) * 24));
            let nanos = crate::schema::Nanos(now.as_nanosecond());
            let today = match max {
                None => return Ok(None),
                Some(CursorValue::Date(_)) => {
                    let days = now.as_second().div_euclid(86_400);
                    CursorValue::Date(i32::try_from(days).unwrap_or(i32::MAX))
                }
                Some(CursorValue::DateTime(_)) => CursorValue::DateTime(nanos),
                Some(CursorValue::Timestamp(_)) => CursorValue::Timestamp(nanos),
                Some(other) => {
                    return Err(Error::config(format!(
                        "`load.backfill_days` needs a date or time cursor and `{}` holds {}s",
                        cursor.name,
                        other.type_name()
                    ))
                    .hint("use `load.backfill_since` with a value of the column"));
                }
            };
            today.minus(&back).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::OpenTransaction;
    use crate::job::CursorBound;
    use arrow_schema::DataType;
    use std::time::Duration;

    fn append() -> LoadStrategy {
        LoadStrategy::Append { cursor: "id".into(), backfill: None, lag: None, bound: CursorBound::Max }
    }

    fn column() -> ColumnSchema {
        ColumnSchema::new("id", "bigint", DataType::Int64)
    }

    fn summary(max: Option<i64>) -> CursorSummary {
        CursorSummary { min: max.map(|_| CursorValue::Int(0)), max: max.map(CursorValue::Int), nulls: 0 }
    }

    fn last(watermark: i64) -> LoadRecord {
        LoadRecord { watermark: Some(CursorValue::Int(watermark)), ..LoadRecord::default() }
    }

    fn run(strategy: &LoadStrategy, max: Option<i64>, watermark: Option<i64>) -> Decision {
        let last = watermark.map(last);
        decide(strategy, &column(), &summary(max), None, last.as_ref(), Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn first_run_takes_everything_and_zero_is_a_watermark() {
        let first = run(&append(), Some(9), None);
        assert_eq!(first.window.lo, None);
        assert_eq!(first.filter.unwrap().hi, Some(CursorValue::Int(9)));
        let next = run(&append(), Some(9), Some(0));
        assert_eq!(next.filter.unwrap().lo, Some(CursorValue::Int(0)));
    }

    #[test]
    fn an_empty_source_reads_nothing() {
        assert_eq!(run(&append(), None, Some(5)).filter, None);
        assert_eq!(run(&append(), None, None).filter, None);
    }

    #[test]
    fn a_cursor_that_went_back_is_reported_and_loads_nothing() {
        let decision = run(&append(), Some(3), Some(5));
        assert_eq!(decision.filter, None);
        assert_eq!(decision.warnings[0].code, "W_CURSOR_BACKWARDS");
        assert_eq!(decision.window.hi, Some(CursorValue::Int(5)));
    }

    #[test]
    fn lag_holds_rows_back_and_lookback_reads_again() {
        let strategy = LoadStrategy::Merge {
            key: vec!["id".into()],
            cursor: Some("id".into()),
            backfill: None,
            lag: Some(CursorStep::Units(2)),
            bound: CursorBound::Max,
            lookback: Some(CursorStep::Units(4)),
        };
        let filter = run(&strategy, Some(20), Some(10)).filter.unwrap();
        assert_eq!((filter.lo, filter.hi), (Some(CursorValue::Int(6)), Some(CursorValue::Int(18))));
    }

    #[test]
    fn rows_past_an_open_transaction_are_held_back() {
        let open = OpenTransaction { age: Duration::from_millis(7_384_900), who: "process 7".into() };
        let held = |upto, waits_for: Option<&OpenTransaction>, max, watermark: Option<i64>| {
            let settled = Settled { upto: CursorValue::Int(upto), waits_for: waits_for.cloned() };
            let last = watermark.map(last);
            let now = Timestamp::UNIX_EPOCH;
            decide(&append(), &column(), &summary(max), Some(&settled), last.as_ref(), now).unwrap()
        };
        let codes =
            |decision: &Decision| decision.warnings.iter().map(|w| w.code.clone()).collect::<Vec<_>>();
        let some = held(7, Some(&open), Some(9), Some(5));
        assert_eq!(some.filter.as_ref().unwrap().hi, Some(CursorValue::Int(7)));
        assert_eq!(codes(&some), ["W_OPEN_TRANSACTION"]);
        assert!(some.warnings[0].text.contains("open for 2h 3m 4s (process 7)"), "{}", some.warnings[0]);
        // Only the clock: the next run is soon enough.
        assert_eq!(codes(&held(7, None, Some(9), Some(5))), [""; 0]);
        // Nothing is held back.
        let all = held(9, Some(&open), Some(9), Some(5));
        assert_eq!(
            (all.filter.as_ref().unwrap().hi.clone(), codes(&all).len()),
            (Some(CursorValue::Int(9)), 0)
        );
        // The watermark stays, and the cursor did not go back.
        let none = held(4, Some(&open), Some(9), Some(5));
        assert_eq!((none.filter.as_ref(), &none.window.hi), (None, &Some(CursorValue::Int(5))));
        assert_eq!(codes(&none), ["W_OPEN_TRANSACTION"]);
        assert_eq!(
            codes(&held(2, Some(&open), Some(4), Some(5))),
            ["W_OPEN_TRANSACTION", "W_CURSOR_BACKWARDS"]
        );
        assert_eq!(held(7, Some(&open), None, None).filter, None);
    }

    #[test]
    fn a_changed_type_is_an_error() {
        let last = LoadRecord { watermark: Some(CursorValue::Text("a".into())), ..LoadRecord::default() };
        let error = decide(&append(), &column(), &summary(Some(1)), None, Some(&last), Timestamp::UNIX_EPOCH)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    }

    #[test]
    fn backfill_days_needs_a_time() {
        let strategy = LoadStrategy::Append {
            cursor: "id".into(),
            backfill: Some(Backfill::Days(3)),
            lag: None,
            bound: CursorBound::Max,
        };
        let error =
            decide(&strategy, &column(), &summary(Some(1)), None, None, Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
