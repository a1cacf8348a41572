//! Cutting a table into ranges of a key that an index leads with, for servers that cannot be asked for a table's pages.

use serde_json::{Value, json};
use transload_core::connector::{CursorSummary, ReadPlan, Split};
use transload_core::schema::{CursorValue, Nanos};
use transload_core::{Error, Result};

/// Fewer bytes than this are not worth a second connection.
pub const BYTES_WORTH_A_SPLIT: u64 = 16 << 20;

/// Rows that one statement reads, about: a longer read is a chain of statements, so that none runs for hours.
const ROWS_OF_A_STATEMENT: u64 = 8_000_000;

/// Most ranges of a table.
const MOST_RANGES: u64 = 1000;

/// Into how many ranges, one for each statement, a table of about so many rows is cut.
#[must_use]
pub fn statements(rows: Option<u64>) -> u64 {
    rows.unwrap_or(0).div_ceil(ROWS_OF_A_STATEMENT).clamp(1, MOST_RANGES)
}

/// A value of a key as a number in the same order: days of a date, microseconds of a time, units of a decimal's last
/// digit. `None` for values that have no distance, such as text.
#[must_use]
pub fn ordinal(value: &CursorValue) -> Option<i128> {
    match value {
        CursorValue::Int(value) => Some((*value).into()),
        CursorValue::UInt(value) => Some((*value).into()),
        CursorValue::Decimal(unscaled, _) => unscaled.parse().ok(),
        CursorValue::Date(days) => Some((*days).into()),
        CursorValue::DateTime(Nanos(nanos)) | CursorValue::Timestamp(Nanos(nanos)) => {
            Some(nanos.div_euclid(1000))
        }
        _ => None,
    }
}

/// Lowest and highest value of a key that a plan may have, as [`ordinal`]s; `None` where there is nothing to cut.
#[must_use]
pub fn span(key: &str, summary: &CursorSummary, plan: &ReadPlan) -> Option<(i128, i128)> {
    let filter = plan.filter.as_ref().filter(|filter| filter.column == key);
    let lo = filter.and_then(|filter| filter.lo.as_ref()).and_then(ordinal);
    let hi = filter.and_then(|filter| filter.hi.as_ref()).and_then(ordinal);
    let low = ordinal(summary.min.as_ref()?)?;
    let high = ordinal(summary.max.as_ref()?)?;
    let low = lo.map_or(low, |lo| lo.max(low));
    let high = hi.map_or(high, |hi| hi.min(high));
    (low < high).then_some((low, high))
}

/// Numbers at even distances between two, without the ends.
#[must_use]
pub fn even((low, high): (i128, i128), pieces: u64) -> Vec<i128> {
    let step = (high - low) / i128::from(pieces.max(1));
    if step == 0 { Vec::new() } else { (1..pieces).map(|at| low + step * i128::from(at)).collect() }
}

/// Ranges of a key: `cuts[i]` (inclusive) to `cuts[i + 1]`; the first begins, and the last ends, where nothing bounds
/// it, so that keys which the session's estimates do not know are read too.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranges {
    column: Option<String>,
    cuts: Vec<Option<CursorValue>>,
}

impl Ranges {
    /// Of a whole table.
    pub const ALL: Self = Self { column: None, cuts: Vec::new() };

    /// The ranges between inner cuts, which are put in order. `value` is the reverse of [`ordinal`] for this key.
    pub fn between(key: &str, mut cuts: Vec<i128>, value: impl Fn(i128) -> Option<CursorValue>) -> Self {
        cuts.sort_unstable();
        cuts.dedup();
        let inner = cuts.into_iter().filter_map(value).map(Some);
        Self {
            column: Some(key.to_owned()),
            cuts: std::iter::once(None).chain(inner).chain([None]).collect(),
        }
    }

    /// How many ranges there are, the whole table counted as one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.cuts.len().saturating_sub(1).max(1)
    }

    /// The key; `None` for the whole table.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        self.column.as_deref()
    }

    /// The ranges as so many parts of consecutive ones, as even as they go.
    #[must_use]
    pub fn parts(&self, count: usize) -> Vec<Self> {
        let ranges = self.count();
        let count = count.clamp(1, ranges);
        let bounds: Vec<usize> = (0..=count).map(|part| part * ranges / count).collect();
        let part = |pair: &[usize]| match pair {
            [from, upto] => {
                Self { cuts: self.cuts.get(*from..=*upto).unwrap_or_default().to_vec(), ..self.clone() }
            }
            _ => self.clone(),
        };
        bounds.windows(2).map(part).collect()
    }

    /// The ranges as splits of a plan, so many at most.
    #[must_use]
    pub fn splits(&self, count: usize, plan: &ReadPlan) -> Vec<Split> {
        let split = |(index, part): (usize, Self)| Split {
            index,
            plan: plan.clone(),
            part: json!({"column": part.column, "cuts": part.cuts}),
        };
        self.parts(count).into_iter().enumerate().map(split).collect()
    }

    /// The ranges of a split's part.
    ///
    /// # Errors
    /// `config` for a part that [`Self::splits`] did not make.
    pub fn of(part: &Value) -> Result<Self> {
        let wrong = || Error::config("a split without its ranges");
        let column = part.get("column").ok_or_else(wrong)?.as_str().map(str::to_owned);
        let cuts = part.get("cuts").cloned().ok_or_else(wrong)?;
        let cuts: Vec<_> = serde_json::from_value(cuts).map_err(|error| wrong().source_error(error))?;
        if column.is_some() && cuts.len() < 2 {
            return Err(wrong());
        }
        Ok(Self { column, cuts })
    }

    /// The conditions of each range: of none for the whole table. The key is `quoted`; rows without one are in the first
    /// range.
    ///
    /// # Errors
    /// Those of `literal`, which prints a value of the key.
    pub fn conditions(
        &self,
        quoted: &str,
        nullable: bool,
        literal: impl Fn(&CursorValue) -> Result<String>,
    ) -> Result<Vec<Vec<String>>> {
        if self.column.is_none() {
            return Ok(vec![Vec::new()]);
        }
        let mut all = Vec::new();
        for pair in self.cuts.windows(2) {
            let [lo, hi] = pair else { continue };
            let mut conditions = Vec::new();
            if let Some(lo) = lo {
                conditions.push(format!("{quoted} >= {}", literal(lo)?));
            }
            if let Some(hi) = hi {
                let below = format!("{quoted} < {}", literal(hi)?);
                conditions.push(match lo.is_none() && nullable {
                    true => format!("({below} OR {quoted} IS NULL)"),
                    false => below,
                });
            }
            all.push(conditions);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(cuts: &[i128]) -> Ranges {
        let value = |cut| i64::try_from(cut).ok().map(CursorValue::Int);
        Ranges::between("id", cuts.to_vec(), value)
    }

    #[test]
    fn parts_hold_every_range_once() {
        for cuts in 0..12 {
            let all = ranges(&(0..cuts).collect::<Vec<_>>());
            for count in 1..15 {
                let parts = all.parts(count);
                assert_eq!(parts.iter().map(Ranges::count).sum::<usize>(), all.count());
                assert!(parts.len() == count.min(all.count()));
                assert!(
                    parts.first().unwrap().cuts[0].is_none()
                        && parts.last().unwrap().cuts.last().unwrap().is_none()
                );
                for pair in parts.windows(2) {
                    assert_eq!(pair[0].cuts.last(), pair[1].cuts.first());
                }
            }
        }
        assert_eq!(Ranges::ALL.parts(4), [Ranges::ALL]);
    }

    #[test]
    fn splits_survive_their_json() {
        let plan = ReadPlan::default();
        for all in [ranges(&[-1, 5]), Ranges::ALL] {
            assert_eq!(Ranges::of(&all.splits(1, &plan)[0].part).unwrap(), all);
        }
        assert!(
            Ranges::of(&json!({})).is_err() && Ranges::of(&json!({"column": "a", "cuts": [null]})).is_err()
        );
    }

    #[test]
    fn conditions_leave_no_row_out() {
        let print = |value: &CursorValue| Ok(format!("{}", ordinal(value).unwrap()));
        let of = |ranges: &Ranges, nullable| ranges.conditions("k", nullable, print).unwrap();
        assert_eq!(of(&Ranges::ALL, true), [[""; 0]]);
        assert_eq!(of(&ranges(&[]), true), [[""; 0]]);
        assert_eq!(of(&ranges(&[1]), false), [["k < 1"], ["k >= 1"]]);
        let three = of(&ranges(&[5, 1, 5]), true);
        assert_eq!(three, [vec!["(k < 1 OR k IS NULL)"], vec!["k >= 1", "k < 5"], vec!["k >= 5"]]);
    }

    #[test]
    fn even_cuts_lie_between() {
        assert_eq!(even((0, 8), 4), [2, 4, 6]);
        assert!(even((0, 3), 8).is_empty());
        assert_eq!(even((i64::MIN.into(), u64::MAX.into()), 2).len(), 1);
    }

    #[test]
    fn a_window_bounds_the_span() {
        use transload_core::connector::CursorFilter;

        let summary = CursorSummary {
            min: Some(CursorValue::Int(3)),
            max: Some(CursorValue::Int(90)),
            ..CursorSummary::default()
        };
        let within = |column: &str, lo, hi| {
            let filter = CursorFilter {
                column: column.to_owned(),
                lo: Some(CursorValue::Int(lo)),
                lo_inclusive: true,
                hi: Some(CursorValue::Int(hi)),
                include_nulls: false,
            };
            span("id", &summary, &ReadPlan { filter: Some(filter), ..ReadPlan::default() })
        };
        assert_eq!(span("id", &summary, &ReadPlan::default()), Some((3, 90)));
        assert_eq!((within("id", 5, 20), within("id", 0, 100)), (Some((5, 20)), Some((3, 90))));
        assert_eq!((within("id", 95, 99), within("other", 5, 20)), (None, Some((3, 90))));
        assert_eq!(span("id", &CursorSummary::default(), &ReadPlan::default()), None);
    }
}
