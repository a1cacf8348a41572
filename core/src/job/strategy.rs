//! Load strategies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::CursorStep;

/// Where a first `append` or `merge` load begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backfill {
    /// This many days before now; for date and timestamp cursors.
    Days(u32),
    /// At this cursor value, inclusive, as text in the cursor's form.
    Since(String),
}

/// What bounds the window of a run above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CursorBound {
    /// The highest cursor value that the run sees. Rows that a transaction commits later with a lower value are
    /// not loaded.
    #[default]
    Max,
    /// Also the start of the oldest transaction still open, so that a later run loads what it commits. For
    /// cursors that get the time of the server when their row is written.
    OldestTransaction,
}

/// What becomes of rows without a cursor value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NullCursors {
    /// They are read on every run, and loaded unless an earlier run has them: of `append` the same rows, of `merge`
    /// rows with the same content.
    Include,
    /// They are left out, counted and warned of.
    Warn,
    /// They are left out and counted.
    Skip,
    /// The run fails.
    Fail,
}

/// A part of a job whose table is loaded by several processes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard<'a> {
    /// Which part: 0 has the lowest cursor values.
    pub index: usize,
    /// The cursor values at which the job is cut, as text in the cursor's form: the first of the next part each.
    pub at: &'a [String],
}

/// How the rows of a run meet those of earlier runs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LoadStrategy {
    /// The target holds exactly one consistent snapshot of the source afterwards.
    Replace {
        /// Replace even if the source is empty and the target is not.
        allow_empty: bool,
        /// Stop when there are fewer rows than this share of those that the last load brought; `None` for
        /// half, and only after a load of 1,000 rows or more.
        min_ratio: Option<f64>,
    },
    /// Only rows past the watermark are added.
    Append {
        /// The column that grows.
        cursor: String,
        /// Where the first load begins; `None` for everything.
        backfill: Option<Backfill>,
        /// Leave the newest rows, this far below the highest cursor, to a later run.
        lag: Option<CursorStep>,
        /// What bounds the window above.
        bound: CursorBound,
        /// Rows at or past this cursor value, as text in the cursor's form, are never loaded.
        until: Option<String>,
        /// Length of the ranges that are read and committed one by one; `None` for one range.
        step: Option<CursorStep>,
        /// What becomes of rows without a cursor value.
        nulls: NullCursors,
    },
    /// Rows past the watermark are upserted by key.
    Merge {
        /// Key columns, named as at the source.
        key: Vec<String>,
        /// The column that grows with each change; `None` reads the whole table each run.
        cursor: Option<String>,
        /// Where the first load begins; `None` for everything.
        backfill: Option<Backfill>,
        /// As for `Append`.
        lag: Option<CursorStep>,
        /// As for `Append`.
        bound: CursorBound,
        /// As for `Append`.
        until: Option<String>,
        /// As for `Append`.
        step: Option<CursorStep>,
        /// As for `Append`.
        nulls: NullCursors,
        /// Read this far below the watermark again.
        lookback: Option<CursorStep>,
    },
}

impl LoadStrategy {
    /// The stable name.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Replace { .. } => "replace",
            Self::Append { .. } => "append",
            Self::Merge { .. } => "merge",
        }
    }

    /// The cursor column, if there is one.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        match self {
            Self::Replace { .. } => None,
            Self::Append { cursor, .. } => Some(cursor),
            Self::Merge { cursor, .. } => cursor.as_deref(),
        }
    }

    /// Key columns; empty unless merging.
    #[must_use]
    pub fn key(&self) -> &[String] {
        match self {
            Self::Merge { key, .. } => key,
            _ => &[],
        }
    }

    /// Where the first load begins.
    #[must_use]
    pub fn backfill(&self) -> Option<&Backfill> {
        match self {
            Self::Replace { .. } => None,
            Self::Append { backfill, .. } | Self::Merge { backfill, .. } => backfill.as_ref(),
        }
    }

    /// How far the window stays below the highest cursor.
    #[must_use]
    pub fn lag(&self) -> Option<&CursorStep> {
        match self {
            Self::Replace { .. } => None,
            Self::Append { lag, .. } | Self::Merge { lag, .. } => lag.as_ref(),
        }
    }

    /// What bounds the window above.
    #[must_use]
    pub fn cursor_bound(&self) -> CursorBound {
        match self {
            Self::Replace { .. } => CursorBound::Max,
            Self::Append { bound, .. } | Self::Merge { bound, .. } => *bound,
        }
    }

    /// Where loading ends, exclusive, as text in the cursor's form.
    #[must_use]
    pub fn until(&self) -> Option<&str> {
        match self {
            Self::Replace { .. } => None,
            Self::Append { until, .. } | Self::Merge { until, .. } => until.as_deref(),
        }
    }

    /// Length of the ranges that are committed one by one.
    #[must_use]
    pub fn step(&self) -> Option<&CursorStep> {
        match self {
            Self::Replace { .. } => None,
            Self::Append { step, .. } | Self::Merge { step, .. } => step.as_ref(),
        }
    }

    /// What becomes of rows without a cursor value.
    #[must_use]
    pub fn null_cursors(&self) -> NullCursors {
        match self {
            Self::Replace { .. } => NullCursors::Include,
            Self::Append { nulls, .. } | Self::Merge { nulls, .. } => *nulls,
        }
    }

    /// How far below the watermark is read again.
    #[must_use]
    pub fn lookback(&self) -> Option<&CursorStep> {
        match self {
            Self::Merge { lookback, .. } => lookback.as_ref(),
            _ => None,
        }
    }
}
