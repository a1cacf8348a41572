//! The window of a run: which cursor values it loads, decided before anything is read.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::report_document::WindowDocument;
use crate::connector::{CursorFilter, CursorInterval, CursorSummary, Gap, LoadRecord, Settled, gaps, order};
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Backfill, LoadStrategy, NullCursors};
use crate::schema::{ColumnSchema, CursorStep, CursorValue, Warning};

/// Most ranges that one run may be cut into.
const MOST_RANGES: usize = 100_000;

/// The range of cursor values one run loads.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The cursor column.
    pub cursor: String,
    /// Where it begins; `None` for the beginning of time.
    pub lo: Option<CursorValue>,
    /// Where it ends, inclusive (but for `load.until`); `None` if the source has no row with a cursor value.
    pub hi: Option<CursorValue>,
    /// The job has loaded before, so rows at or above `lo` may be loaded already.
    pub continues: bool,
    /// Rows of the source that have no cursor value.
    pub null_cursors: u64,
}

impl Window {
    /// The JSON form: values as texts at full precision.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(WindowDocument::from(self)).unwrap_or_default()
    }
}

/// What a range is to the ledger of intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It continues the highest interval, or is the first: its end is the next watermark.
    Top,
    /// It lies below the highest interval; the watermark stays.
    Gap,
    /// It holds no cursor values, only rows without one.
    Nulls,
}

/// A part of the window that is read and committed by itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    pub(super) place: Place,
    /// Where it begins; `None` for the beginning of time.
    pub(super) lo: Option<CursorValue>,
    /// Rows equal to `lo` belong to it.
    pub(super) lo_inclusive: bool,
    /// Where it ends; `None` only where the source has no row with a cursor value.
    pub(super) hi: Option<CursorValue>,
    /// Rows equal to `hi` belong to it.
    pub(super) hi_inclusive: bool,
    /// Rows equal to `hi` do not belong to it because they are loaded already.
    pub(super) hi_loaded: bool,
    /// Rows without a cursor value belong to it.
    pub(super) nulls: bool,
}

impl Range {
    /// What the source is asked for: it reads rows equal to `hi` in any case.
    pub(super) fn filter(&self, cursor: &str) -> CursorFilter {
        CursorFilter {
            column: cursor.to_owned(),
            lo: self.lo.clone(),
            lo_inclusive: self.lo_inclusive,
            hi: self.hi.clone(),
            include_nulls: self.nulls,
        }
    }

    /// What the ledger gains by it.
    pub(super) fn interval(&self) -> Option<CursorInterval> {
        match (self.place, &self.hi) {
            (Place::Nulls, _) | (_, None) => None,
            (_, Some(hi)) => {
                Some(CursorInterval { lo: self.lo.clone(), hi: hi.clone(), hi_open: !self.hi_inclusive })
            }
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decision {
    pub(super) window: Window,
    /// What to load, oldest first; empty if there is nothing to read.
    pub(super) ranges: VecDeque<Range>,
    pub(super) warnings: Vec<Warning>,
}

/// What is known when the window of a job is decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) strategy: &'a LoadStrategy,
    pub(super) cursor: &'a ColumnSchema,
    /// Of the read snapshot.
    pub(super) summary: &'a CursorSummary,
    pub(super) settled: Option<&'a Settled>,
    pub(super) last: Option<&'a LoadRecord>,
    /// The run is a trial: it reads one range, and claims nothing.
    pub(super) trial: bool,
    pub(super) now: Timestamp,
}

/// An end of a range, and whether rows equal to it belong to the range.
type End = (CursorValue, bool);

/// Decides the window of a job with a cursor.
///
/// It ends at the highest cursor inside the read snapshot less `lag`, not past what is `settled` where the job asks
/// for that, and before `until`. Wanted is everything from where the backfill begins; what earlier loads have covered is
/// left out. Rows equal to the watermark are always read again, since more of them may have arrived.
pub(super) fn decide(known: Known<'_>) -> Result<Decision> {
    let Known { strategy, cursor, summary, last, .. } = known;
    let mut warnings = Vec::new();
    let nulls = nulls(known, &mut warnings)?;
    let start = backfill(strategy, cursor, summary.max.as_ref(), known.now)?;
    let until = until(strategy, cursor, start.as_ref())?;
    let end = end(known, until, &mut warnings)?;
    let covered = last.map(LoadRecord::covered_intervals).unwrap_or_default();
    let watermark = last.and_then(|last| last.watermark.clone());
    let mut window = Window {
        cursor: cursor.name.clone(),
        lo: None,
        hi: end.as_ref().map(|(hi, _)| hi.clone()),
        continues: watermark.is_some(),
        null_cursors: summary.nulls,
    };
    let mut ranges = VecDeque::new();
    let lowest = summary.min.as_ref();
    let cutter = Cutter { cursor: &cursor.name, step: strategy.step().filter(|_| !known.trial), lowest };
    window.lo = match &watermark {
        Some(watermark) => Some(again(strategy, watermark, &covered)?),
        None => start.clone(),
    };
    if let Some(end) = &end {
        if !known.trial {
            for gap in gaps(&covered, start.as_ref()).map_err(|error| error.with("column", &cursor.name))? {
                let Some(range) = fill(gap, end)? else { continue };
                warnings.push(gap_filled(&cursor.name, &range));
                cutter.cut(range, None, &mut ranges)?;
            }
        }
        let top = top(window.lo.clone(), end, &cursor.name)?;
        match top {
            Some(top) => cutter.cut(top, watermark.as_ref(), &mut ranges)?,
            None => {
                warnings.extend(went_backwards(known, watermark.as_ref()));
                window.hi = watermark;
            }
        }
    }
    if let Some(first) = ranges.front().filter(|range| range.place == Place::Gap) {
        window.lo.clone_from(&first.lo);
    }
    if nulls {
        match ranges.back_mut().filter(|range| range.place == Place::Top) {
            Some(top) => top.nulls = true,
            None => ranges.push_back(only_nulls(summary)),
        }
    }
    Ok(Decision { window, ranges, warnings })
}

/// Whether rows without a cursor are read.
fn nulls(known: Known<'_>, warnings: &mut Vec<Warning>) -> Result<bool> {
    let (count, cursor) = (known.summary.nulls, &known.cursor.name);
    if count == 0 {
        return Ok(false);
    }
    match known.strategy.null_cursors() {
        NullCursors::Include => Ok(true),
        NullCursors::Skip => Ok(false),
        NullCursors::Warn => {
            warnings.push(Warning::new(
                "W_NULL_CURSOR",
                format!(
                    "{count} rows have no value in `{cursor}`, which does not tell whether they are new: they are not \
                     loaded (`load.on_null_cursor`)"
                ),
            ));
            Ok(false)
        }
        NullCursors::Fail => {
            Err(Error::data(format!("{count} rows have no value in the cursor column `{cursor}`"))
                .with("column", cursor)
                .with("rows", count)
                .hint("give them a value, or set `load.on_null_cursor` to \"include\" or \"warn\""))
        }
    }
}

/// A range without cursor values. Of a table that has some it is an empty one.
fn only_nulls(summary: &CursorSummary) -> Range {
    Range {
        place: Place::Nulls,
        lo: summary.max.clone(),
        lo_inclusive: false,
        hi: summary.max.clone(),
        hi_inclusive: true,
        hi_loaded: false,
        nulls: true,
    }
}

/// Refuses the ends of a job that is cut unless each is past the one before: the shards between others would overlap,
/// and each would load the rows there. Every shard looks at all of them, since it may be the only one that runs.
pub(super) fn check_shards(ends: &[&str], cursor: &ColumnSchema) -> Result<()> {
    let parse = |text: &&str| {
        let value = CursorValue::parse(text, &cursor.data_type);
        value.map_err(|error| error.operation("shard_at").with("column", &cursor.name))
    };
    let values = ends.iter().map(parse).collect::<Result<Vec<_>>>()?;
    for (pair, texts) in values.windows(2).zip(ends.windows(2)) {
        if let ([before, after], [first, second]) = (pair, texts)
            && order(before, after)?.is_ge()
        {
            return Err(Error::config(format!("{second} follows {first} in the cuts of the job and is not past it"))
                .with("column", &cursor.name)
                .hint(
                    "`load.backfill_since`, the values of `load.shard_at` and `load.until` must ascend, in this order",
                ));
        }
    }
    Ok(())
}

/// Where loading ends for good.
fn until(
    strategy: &LoadStrategy,
    cursor: &ColumnSchema,
    start: Option<&CursorValue>,
) -> Result<Option<CursorValue>> {
    let Some(text) = strategy.until() else { return Ok(None) };
    let until = CursorValue::parse(text, &cursor.data_type)
        .map_err(|error| error.operation("until").with("column", &cursor.name))?;
    if let (Some(Backfill::Since(since)), Some(start)) = (strategy.backfill(), start)
        && order(start, &until)?.is_ge()
    {
        return Err(Error::config(format!("`load.until` {text} is not past `load.backfill_since` {since}"))
            .hint("`until` is the first value that is not loaded"));
    }
    Ok(Some(until))
}

/// Where the window ends.
fn end(known: Known<'_>, until: Option<CursorValue>, warnings: &mut Vec<Warning>) -> Result<Option<End>> {
    let Known { strategy, cursor, summary, .. } = known;
    let hi = match (&summary.max, strategy.lag()) {
        (Some(max), Some(lag)) => Some(max.minus(lag)?),
        (max, _) => max.clone(),
    };
    let (hi, held) = hold_below(hi, known.settled, &cursor.name)?;
    warnings.extend(held);
    let Some(hi) = hi else { return Ok(None) };
    let Some(until) = until else { return Ok(Some((hi, true))) };
    // Rows equal to `until` belong to whatever begins there.
    if order(&hi, &until)?.is_lt() { Ok(Some((hi, true))) } else { Ok(Some((until, false))) }
}

/// Where a run reads again: at the watermark, or below it by `lookback`, but nothing that was never wanted.
fn again(
    strategy: &LoadStrategy,
    watermark: &CursorValue,
    covered: &[CursorInterval],
) -> Result<CursorValue> {
    let Some(step) = strategy.lookback() else { return Ok(watermark.clone()) };
    let lo = watermark.minus(step)?;
    match covered.last().and_then(|top| top.lo.as_ref()) {
        Some(first) if order(&lo, first)?.is_lt() => Ok(first.clone()),
        _ => Ok(lo),
    }
}

/// From `lo` to the end of the window; `None` if that is below `lo`.
fn top(lo: Option<CursorValue>, end: &End, cursor: &str) -> Result<Option<Range>> {
    if let Some(lo) = &lo {
        let order = end.0.compare(lo).ok_or_else(|| changed_type(cursor, lo, &end.0))?;
        if order.is_lt() || (order.is_eq() && !end.1) {
            return Ok(None);
        }
    }
    Ok(Some(Range {
        place: Place::Top,
        lo,
        lo_inclusive: true,
        hi: Some(end.0.clone()),
        hi_inclusive: end.1,
        hi_loaded: false,
        nulls: false,
    }))
}

/// A gap as far as the window reaches.
fn fill(gap: Gap, end: &End) -> Result<Option<Range>> {
    let reach = order(&end.0, &gap.hi)?.is_lt();
    let (hi, hi_inclusive) = if reach { end.clone() } else { (gap.hi, false) };
    if let Some(lo) = &gap.lo {
        let order = order(&hi, lo)?;
        if order.is_lt() || (order.is_eq() && !(hi_inclusive && gap.lo_inclusive)) {
            return Ok(None);
        }
    }
    let Gap { lo, lo_inclusive, .. } = gap;
    let (place, hi, hi_loaded) = (Place::Gap, Some(hi), !reach);
    Ok(Some(Range { place, lo, lo_inclusive, hi, hi_inclusive, hi_loaded, nulls: false }))
}

fn gap_filled(cursor: &str, range: &Range) -> Warning {
    let text =
        |value: &Option<CursorValue>| value.as_ref().map_or("the lowest".to_owned(), ToString::to_string);
    Warning::new(
        "W_GAP_FILLED",
        format!(
            "rows with `{cursor}` from {} to {} lie before what the job has loaded until now: they are loaded by this \
             run",
            text(&range.lo),
            text(&range.hi)
        ),
    )
}

fn went_backwards(known: Known<'_>, watermark: Option<&CursorValue>) -> Option<Warning> {
    let (watermark, max) = (watermark?, known.summary.max.as_ref()?);
    max.compare(watermark).is_some_and(|order| order.is_lt()).then(|| {
        Warning::new(
            "W_CURSOR_BACKWARDS",
            format!(
                "the highest `{}` is {max}, below the watermark {watermark}: rows were deleted or the table was \
                 re-created; nothing was loaded",
                known.cursor.name
            ),
        )
    })
}

/// Cuts ranges into pieces of the length of `backfill_step`.
struct Cutter<'a> {
    cursor: &'a str,
    step: Option<&'a CursorStep>,
    /// The lowest cursor value of the source.
    lowest: Option<&'a CursorValue>,
}

impl Cutter<'_> {
    /// `from`: where the first piece begins to count, if not where the range begins.
    fn cut(&self, range: Range, from: Option<&CursorValue>, ranges: &mut VecDeque<Range>) -> Result<()> {
        let (Some(step), Some(hi)) = (self.step, range.hi.clone()) else {
            ranges.push_back(range);
            return Ok(());
        };
        let mut rest = range;
        let mut at = match from.or(rest.lo.as_ref()).or(self.lowest) {
            Some(at) => at.clone(),
            None => hi.clone(),
        };
        loop {
            let next = at
                .plus(step)
                .map_err(|error| error.operation("backfill_step").with("column", self.cursor))?;
            if !order(&next, &hi)?.is_lt() || !order(&next, &at)?.is_gt() {
                ranges.push_back(rest);
                return Ok(());
            }
            if ranges.len() >= MOST_RANGES {
                return Err(Error::config(format!(
                    "`load.backfill_step` {step} cuts `{}` from {at} to {hi} into more than {MOST_RANGES} loads",
                    self.cursor
                ))
                .hint("choose a larger step"));
            }
            // Rows at the end of a piece belong to it. The next one meets them again only where it can tell which
            // of them are loaded: at the watermark.
            let lo_inclusive = rest.place == Place::Top;
            let after = Range { lo: Some(next.clone()), lo_inclusive, ..rest.clone() };
            ranges.push_back(Range { hi: Some(next.clone()), hi_inclusive: true, hi_loaded: false, ..rest });
            (rest, at) = (after, next);
        }
    }
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
    use crate::job::{EtlJob, EtlJobBuilder, StepDocument};
    use arrow_schema::DataType;
    use std::time::Duration;

    fn job() -> EtlJobBuilder {
        EtlJob::builder("j").from("a", "t").into("b", "d", "t")
    }

    fn append() -> EtlJobBuilder {
        job().append("id")
    }

    fn merge() -> EtlJobBuilder {
        job().merge(["id"], Some("id"))
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

    /// A record that covers these ends.
    fn covers(ends: &[(Option<i64>, i64)]) -> LoadRecord {
        let covered: Vec<_> = ends
            .iter()
            .map(|(lo, hi)| CursorInterval {
                lo: lo.map(CursorValue::Int),
                hi: CursorValue::Int(*hi),
                hi_open: false,
            })
            .collect();
        LoadRecord { watermark: covered.last().map(|top| top.hi.clone()), covered, ..LoadRecord::default() }
    }

    fn decided(
        job: EtlJobBuilder,
        summary: &CursorSummary,
        settled: Option<&Settled>,
        last: Option<&LoadRecord>,
    ) -> Result<Decision> {
        let (job, cursor) = (job.build().unwrap(), column());
        let (strategy, trial) = (job.strategy(), job.row_limit().is_some());
        let now = Timestamp::UNIX_EPOCH;
        decide(Known { strategy, cursor: &cursor, summary, settled, last, trial, now })
    }

    fn run(job: EtlJobBuilder, max: Option<i64>, last: Option<&LoadRecord>) -> Decision {
        decided(job, &summary(max), None, last).unwrap()
    }

    /// The ranges as people write them.
    fn text(decision: &Decision) -> String {
        let one = |range: &Range| {
            let value =
                |value: &Option<CursorValue>| value.as_ref().map(ToString::to_string).unwrap_or_default();
            let (from, to) =
                (if range.lo_inclusive { '[' } else { '(' }, if range.hi_inclusive { ']' } else { ')' });
            let place = match range.place {
                Place::Top => "",
                Place::Gap => "gap",
                Place::Nulls => "only",
            };
            let nulls = if range.nulls { "+nulls" } else { "" };
            format!("{place}{from}{},{}{to}{nulls}", value(&range.lo), value(&range.hi))
        };
        decision.ranges.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn codes(decision: &Decision) -> Vec<&str> {
        decision.warnings.iter().map(|warning| warning.code.as_str()).collect()
    }

    #[test]
    fn first_run_takes_everything_and_zero_is_a_watermark() {
        let first = run(append(), Some(9), None);
        assert_eq!((text(&first).as_str(), first.window.lo.clone()), ("[,9]", None));
        let next = run(append(), Some(9), Some(&last(0)));
        assert_eq!(text(&next), "[0,9]");
        assert!(next.window.continues && !first.window.continues);
    }

    #[test]
    fn an_empty_source_reads_nothing() {
        assert_eq!(text(&run(append(), None, Some(&last(5)))), "");
        assert_eq!(text(&run(append(), None, None)), "");
        assert_eq!(text(&run(append().backfill_since("3"), None, Some(&covers(&[(Some(4), 5)])))), "");
    }

    #[test]
    fn a_cursor_that_went_back_is_reported_and_loads_nothing() {
        let decision = run(append(), Some(3), Some(&last(5)));
        assert_eq!((text(&decision).as_str(), codes(&decision)), ("", vec!["W_CURSOR_BACKWARDS"]));
        assert_eq!(decision.window.hi, Some(CursorValue::Int(5)));
    }

    #[test]
    fn lag_holds_rows_back_and_lookback_reads_again() {
        let job = || merge().lag(StepDocument::Units(2)).lookback(StepDocument::Units(4));
        assert_eq!(text(&run(job(), Some(20), Some(&last(10)))), "[6,18]");
        // What was never wanted is not read either.
        assert_eq!(
            text(&run(job().backfill_since("8"), Some(20), Some(&covers(&[(Some(8), 10)])))),
            "[8,18]"
        );
    }

    #[test]
    fn rows_without_a_cursor_follow_the_policy() {
        let summary = |max| CursorSummary { nulls: 3, ..summary(max) };
        let five = last(5);
        let decide = |job, max, last| decided(job, &summary(max), None, last);
        let plain = decide(append(), Some(9), None).unwrap();
        assert_eq!((text(&plain).as_str(), codes(&plain)), ("[,9]", vec!["W_NULL_CURSOR"]));
        assert_eq!(plain.window.null_cursors, 3);
        let include = || append().on_null_cursor(NullCursors::Include);
        assert_eq!(text(&decide(include(), Some(9), None).unwrap()), "[,9]+nulls");
        assert_eq!(text(&decide(merge(), Some(9), None).unwrap()), "[,9]+nulls");
        assert_eq!(text(&decide(merge().on_null_cursor(NullCursors::Warn), Some(9), None).unwrap()), "[,9]");
        // Also where no cursor value is new, and where there is none at all.
        assert_eq!(text(&decide(include(), Some(3), Some(&five)).unwrap()), "only(3,3]+nulls");
        assert_eq!(text(&decide(include(), None, Some(&five)).unwrap()), "only(,]+nulls");
        let cut = include().backfill_step(StepDocument::Units(5));
        assert_eq!(text(&decide(cut, Some(9), None).unwrap()), "[,5] [5,9]+nulls");
        let error = decide(append().on_null_cursor(NullCursors::Fail), Some(9), None).unwrap_err();
        assert_eq!((error.kind(), error.context_value("rows")), (ErrorKind::Data, Some("3")));
        run(append().on_null_cursor(NullCursors::Fail), Some(9), None);
    }

    #[test]
    fn until_is_exclusive() {
        assert_eq!(text(&run(append().until("7"), Some(9), None)), "[,7)");
        assert_eq!(text(&run(append().until("9"), Some(9), None)), "[,9)");
        assert_eq!(text(&run(append().until("10"), Some(9), None)), "[,9]");
        // Moved on, it begins with the rows at the old one.
        assert_eq!(text(&run(append().until("8"), Some(9), Some(&last(7)))), "[7,8)");
        assert_eq!(text(&run(append().until("7"), Some(9), Some(&last(7)))), "");
        assert_eq!(text(&run(append().until("3"), Some(9), Some(&last(7)))), "");
        let error =
            decided(append().backfill_since("7").until("7"), &summary(Some(9)), None, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[test]
    fn a_backfill_is_cut_into_ranges() {
        let cut = |job: EtlJobBuilder| job.backfill_step(StepDocument::Units(4));
        assert_eq!(text(&run(cut(append()), Some(9), None)), "[,4] [4,8] [8,9]");
        assert_eq!(text(&run(cut(append()), Some(8), None)), "[,4] [4,8]");
        assert_eq!(text(&run(cut(append()), Some(4), None)), "[,4]");
        assert_eq!(text(&run(cut(append()).backfill_since("2").until("9"), Some(9), None)), "[2,6] [6,9)");
        assert_eq!(text(&run(cut(append()), Some(9), Some(&last(4)))), "[4,8] [8,9]");
        assert_eq!(
            text(&run(cut(merge()).lookback(StepDocument::Units(3)), Some(9), Some(&last(4)))),
            "[1,8] [8,9]"
        );
        // A trial is one range.
        assert_eq!(text(&run(cut(append()).row_limit(5), Some(9), None)), "[,9]");
        let tiny = append().backfill_step(StepDocument::Units(1));
        let error = decided(tiny, &summary(Some(1 << 40)), None, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let days = append().backfill_step(StepDocument::Duration("1d".into()));
        assert_eq!(decided(days, &summary(Some(9)), None, None).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn what_lies_before_the_first_load_is_a_gap() {
        let from = |since: &str| append().backfill_since(since);
        let ledger = covers(&[(Some(5), 9)]);
        let gap = run(from("2"), Some(12), Some(&ledger));
        assert_eq!((text(&gap).as_str(), codes(&gap)), ("gap[2,5) [9,12]", vec!["W_GAP_FILLED"]));
        assert_eq!(gap.window.lo, Some(CursorValue::Int(2)));
        assert_eq!(text(&run(append(), Some(12), Some(&ledger))), "gap[,5) [9,12]");
        assert_eq!(text(&run(from("5"), Some(12), Some(&ledger))), "[9,12]");
        // A later start leaves no hole above the watermark.
        assert_eq!(text(&run(from("11"), Some(12), Some(&ledger))), "[9,12]");
        let part = covers(&[(Some(2), 3), (Some(5), 9)]);
        assert_eq!(text(&run(from("0"), Some(12), Some(&part))), "gap[0,2) gap(3,5) [9,12]");
        assert_eq!(text(&run(from("2").until("4"), Some(12), Some(&part))), "gap(3,4)");
        assert_eq!(text(&run(from("2").until("3"), Some(12), Some(&part))), "");
        let cut = from("0").backfill_step(StepDocument::Units(2));
        assert_eq!(text(&run(cut, Some(10), Some(&ledger))), "gap[0,2] gap(2,4] gap(4,5) [9,10]");
        // The source holds nothing there any more.
        assert_eq!(text(&run(from("2"), Some(4), Some(&ledger))), "gap[2,4]");
        assert_eq!(text(&run(append().row_limit(5), Some(12), Some(&ledger))), "[9,12]");
    }

    #[test]
    fn rows_past_an_open_transaction_are_held_back() {
        let open = OpenTransaction { age: Duration::from_millis(7_384_900), who: "process 7".into() };
        let held = |upto, waits_for: Option<&OpenTransaction>, max, watermark: Option<i64>| {
            let settled = Settled { upto: CursorValue::Int(upto), waits_for: waits_for.cloned() };
            let last = watermark.map(last);
            decided(append(), &summary(max), Some(&settled), last.as_ref()).unwrap()
        };
        let some = held(7, Some(&open), Some(9), Some(5));
        assert_eq!((text(&some).as_str(), codes(&some)), ("[5,7]", vec!["W_OPEN_TRANSACTION"]));
        assert!(some.warnings[0].text.contains("open for 2h 3m 4s (process 7)"), "{}", some.warnings[0]);
        // Only the clock: the next run is soon enough.
        assert_eq!(codes(&held(7, None, Some(9), Some(5))), [""; 0]);
        // Nothing is held back.
        let all = held(9, Some(&open), Some(9), Some(5));
        assert_eq!((text(&all).as_str(), codes(&all).len()), ("[5,9]", 0));
        // The watermark stays, and the cursor did not go back.
        let none = held(4, Some(&open), Some(9), Some(5));
        assert_eq!((text(&none).as_str(), &none.window.hi), ("", &Some(CursorValue::Int(5))));
        assert_eq!(codes(&none), ["W_OPEN_TRANSACTION"]);
        assert_eq!(
            codes(&held(2, Some(&open), Some(4), Some(5))),
            ["W_OPEN_TRANSACTION", "W_CURSOR_BACKWARDS"]
        );
        assert_eq!(text(&held(7, Some(&open), None, None)), "");
    }

    #[test]
    fn a_changed_type_is_an_error() {
        let last = LoadRecord { watermark: Some(CursorValue::Text("a".into())), ..LoadRecord::default() };
        let error = decided(append(), &summary(Some(1)), None, Some(&last)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    }

    #[test]
    fn backfill_days_needs_a_time() {
        let error = decided(append().backfill_days(3), &summary(Some(1)), None, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
