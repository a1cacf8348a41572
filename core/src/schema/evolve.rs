//! What an existing table lacks of the wanted one, what of it can be changed in place, and under which policy.

use super::bigquery::{BigQueryType, Mode, RecordField};
use super::layout::{PartitionBy, TableLayout};
use super::target::{TargetColumn, TargetTable};
use crate::connector::{OnSchemaChange, PrepareOutcome};
use crate::error::{Error, ErrorKind, Result};

/// What a destination can change in a table that holds rows. Adding columns and relaxing REQUIRED ones at
/// the top level is what every destination can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evolvable {
    /// Types can be widened.
    pub widen: bool,
    /// Fields of records can be added and relaxed.
    pub nested: bool,
}

impl Evolvable {
    /// Columns only.
    pub const COLUMNS: Self = Self { widen: false, nested: false };
    /// All of it.
    pub const ALL: Self = Self { widen: true, nested: true };
}

/// How an existing column differs from the wanted one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnChange {
    /// The wanted column is not there; it can be added.
    Add(TargetColumn),
    /// The wanted field of a record (its path, with dots) is not there; it can be added at the record's end.
    AddField(String, RecordField),
    /// The existing column or field (its path, with dots) is REQUIRED and need not be.
    Relax(String),
    /// The existing column gets a wider type.
    Widen {
        /// The column.
        column: String,
        /// What it is.
        from: BigQueryType,
        /// What it becomes: it holds what is there and what comes.
        to: BigQueryType,
    },
    /// Cannot be changed in place; the text says why.
    Impossible(String, String),
}

impl ColumnChange {
    /// One sentence.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Add(column) => format!("column `{}` is missing", column.name),
            Self::AddField(record, field) => format!("record `{record}` lacks field `{}`", field.name),
            Self::Relax(name) => format!("column `{name}` is REQUIRED and the job may bring NULL"),
            Self::Widen { column, from, to } => format!("column `{column}` is {from} and must become {to}"),
            Self::Impossible(name, why) => format!("column `{name}`: {why}"),
        }
    }
}

/// How an existing table's layout differs from the wanted one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutChange {
    /// It is clustered by other columns.
    Clustering(Vec<String>),
    /// Queries need not name partitions, or must.
    RequirePartitionFilter(bool),
    /// A label is missing or has another value.
    Label(String, String),
    /// It has no description.
    Describe(String),
    /// A column has no description.
    DescribeColumn(String, String),
    /// Cannot be changed in place: which field of the job's destination, and why.
    Impossible(&'static str, String),
}

impl LayoutChange {
    /// One sentence.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Clustering(columns) if columns.is_empty() => "it must not be clustered".to_owned(),
            Self::Clustering(columns) => format!("it must be clustered by {}", columns.join(", ")),
            Self::RequirePartitionFilter(true) => "queries must be made to name partitions".to_owned(),
            Self::RequirePartitionFilter(false) => "queries must not be made to name partitions".to_owned(),
            Self::Label(name, value) => format!("label `{name}` must be `{value}`"),
            Self::Describe(_) => "it has no description".to_owned(),
            Self::DescribeColumn(column, _) => format!("column `{column}` has no description"),
            Self::Impossible(option, why) => format!("`{option}`: {why}"),
        }
    }

    /// Whether it is for people only: rows are stored and read the same.
    #[must_use]
    pub fn is_cosmetic(&self) -> bool {
        matches!(self, Self::Label(..) | Self::Describe(_) | Self::DescribeColumn(..))
    }
}

/// Whether a column's type can be changed in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Widening {
    /// Every value stays.
    Exact,
    /// BigQuery does it, but FLOAT64 rounds what has more than 53 bits: only where no value does.
    Rounds,
    /// No; the text says why.
    No(&'static str),
}

/// Whether BigQuery changes a type in place by `SET DATA TYPE`.
#[must_use]
pub fn widening(from: &BigQueryType, to: &BigQueryType) -> Widening {
    use BigQueryType::{BigNumeric, Float64, Int64, Numeric};
    match (from, to) {
        (Int64 | Numeric(_), Float64) => Widening::Rounds,
        (Int64, Numeric(_) | BigNumeric(_))
        | (Numeric(_), Numeric(_) | BigNumeric(_))
        | (BigNumeric(_), BigNumeric(_)) => {
            let ((digits, scale), (room, room_scale)) = (digits(from), digits(to));
            if room >= digits && room_scale >= scale {
                Widening::Exact
            } else {
                Widening::No("a decimal cannot get fewer digits")
            }
        }
        _ => Widening::No("BigQuery widens INT64 and NUMERIC only; this needs a new column or a new table"),
    }
}

/// Digits before and after the point that a number type holds.
fn digits(data_type: &BigQueryType) -> (u8, u8) {
    match data_type {
        // 19 digits are what 64 bits need.
        BigQueryType::Int64 => (19, 0),
        // Without parameters, the type's own limits, which are not those of one precision.
        BigQueryType::Numeric(None) => (29, 9),
        BigQueryType::BigNumeric(None) => (38, 38),
        other => other.precision_scale().map_or((0, 0), |(p, s)| (p.saturating_sub(s), s)),
    }
}

/// The type that a column of type `there` must get so that it holds what is in it and values of `wanted`.
fn widened(there: &BigQueryType, wanted: &BigQueryType) -> std::result::Result<BigQueryType, &'static str> {
    let to = match wanted {
        BigQueryType::Numeric(_) | BigQueryType::BigNumeric(_) => {
            let ((whole, scale), (wanted_whole, wanted_scale)) = (digits(there), digits(wanted));
            let (whole, scale) = (whole.max(wanted_whole), scale.max(wanted_scale));
            let big = matches!(wanted, BigQueryType::BigNumeric(_)) || whole > 29 || scale > 9;
            match big {
                _ if (whole, scale) == (wanted_whole, wanted_scale) => wanted.clone(),
                true => BigQueryType::BigNumeric(Some((whole + scale, scale))),
                false => BigQueryType::Numeric(Some((whole + scale, scale))),
            }
        }
        other => other.clone(),
    };
    match widening(there, &to) {
        // Values of `wanted` must go into it as they are.
        _ if !takes(&to, wanted) => Err("no type holds what is there and what comes"),
        Widening::No(why) => Err(why),
        Widening::Exact | Widening::Rounds => Ok(to),
    }
}

/// Whether a column of type `there` can hold every value of type `wanted` as it is.
fn takes(there: &BigQueryType, wanted: &BigQueryType) -> bool {
    if there == wanted {
        return true;
    }
    match (there, wanted) {
        (BigQueryType::Numeric(_), BigQueryType::Numeric(_))
        | (BigQueryType::BigNumeric(_), BigQueryType::BigNumeric(_)) => {
            let ((whole, scale), (wanted_whole, wanted_scale)) = (digits(there), digits(wanted));
            scale >= wanted_scale && whole >= wanted_whole
        }
        _ => false,
    }
}

/// A column or a field of a record: what both have.
struct Item<'a> {
    name: &'a str,
    data_type: &'a BigQueryType,
    mode: Mode,
}

impl<'a> From<&'a TargetColumn> for Item<'a> {
    fn from(column: &'a TargetColumn) -> Self {
        Self { name: &column.name, data_type: &column.data_type, mode: column.mode }
    }
}

impl<'a> From<&'a RecordField> for Item<'a> {
    fn from(field: &'a RecordField) -> Self {
        Self { name: &field.name, data_type: &field.data_type, mode: field.mode }
    }
}

/// What must change in `there` so that it takes values of `wanted`. `path` names `there`, `top` says that it is
/// a column and no field.
fn item_changes(
    path: &str,
    top: bool,
    there: &Item<'_>,
    wanted: &Item<'_>,
    can: Evolvable,
) -> Vec<ColumnChange> {
    let impossible = |why: String| vec![ColumnChange::Impossible(path.to_owned(), why)];
    let repeats = |item: &Item<'_>| item.mode == Mode::Repeated;
    if repeats(there) != repeats(wanted) {
        return impossible(format!(
            "it is {} and the job brings {}",
            there.mode.as_str(),
            wanted.mode.as_str()
        ));
    }
    let mut changes = match (there.data_type, wanted.data_type) {
        (BigQueryType::Record(own), BigQueryType::Record(fields)) if can.nested => {
            match record_changes(path, own, fields, can) {
                Ok(changes) => changes,
                Err(why) => return impossible(why),
            }
        }
        (own, other) if takes(own, other) => Vec::new(),
        (own, other) => {
            let plain = format!("it is {own} and the job brings {other}");
            if !can.widen || !top || repeats(there) {
                return impossible(plain);
            }
            match widened(own, other) {
                Ok(to) => {
                    vec![ColumnChange::Widen { column: there.name.to_owned(), from: own.clone(), to }]
                }
                Err(why) => return impossible(format!("{plain}; {why}")),
            }
        }
    };
    if there.mode == Mode::Required && wanted.mode == Mode::Nullable {
        changes.push(ColumnChange::Relax(path.to_owned()));
    }
    changes
}

/// Records are loaded by the position of their fields, so new fields can only follow those that are there.
fn record_changes(
    path: &str,
    there: &[RecordField],
    wanted: &[RecordField],
    can: Evolvable,
) -> std::result::Result<Vec<ColumnChange>, String> {
    let mut changes = Vec::new();
    for (index, own) in there.iter().enumerate() {
        match wanted.get(index) {
            Some(field) if field.name.eq_ignore_ascii_case(&own.name) => {
                let at = format!("{path}.{}", own.name);
                changes.extend(item_changes(&at, false, &own.into(), &field.into(), can));
            }
            other => {
                let comes = other.map_or("no field".to_owned(), |field| format!("field `{}`", field.name));
                return Err(format!(
                    "its field {} is `{}` and the job brings {comes}: fields of a record can be added at its \
                     end, not left out or moved",
                    index + 1,
                    own.name
                ));
            }
        }
    }
    for field in wanted.iter().skip(there.len()) {
        let mut field = field.clone();
        field.mode = optional(field.mode);
        changes.push(ColumnChange::AddField(path.to_owned(), field));
    }
    Ok(changes)
}

/// Rows that are there have no value for a new column.
fn optional(mode: Mode) -> Mode {
    if mode == Mode::Required { Mode::Nullable } else { mode }
}

impl TargetTable {
    /// What would have to change in `existing` so that it can take rows of this table, where only columns can
    /// be added and relaxed. Columns that only `existing` has are no difference, unless they are REQUIRED.
    #[must_use]
    pub fn changes_from(&self, existing: &Self) -> Vec<ColumnChange> {
        self.changes_within(existing, Evolvable::COLUMNS)
    }

    /// The same for a destination that can change more.
    #[must_use]
    pub fn changes_within(&self, existing: &Self, can: Evolvable) -> Vec<ColumnChange> {
        let mut changes: Vec<ColumnChange> =
            self.columns.iter().flat_map(|wanted| column_changes(wanted, existing, can)).collect();
        for there in &existing.columns {
            if there.mode == Mode::Required && self.column(&there.name).is_none() {
                changes.push(ColumnChange::Relax(there.name.clone()));
            }
        }
        changes
    }

    /// What would have to change in the layout of `existing` to make it as this table wants it. Wishes that
    /// only matter when a table is created are no difference, nor is what nobody wishes.
    #[must_use]
    pub fn layout_changes(&self, existing: &Self) -> Vec<LayoutChange> {
        let (wanted, there) = (&self.layout, &existing.layout);
        let mut changes: Vec<LayoutChange> = partitioning_change(wanted, there).into_iter().collect();
        if let Some(columns) = &wanted.cluster_by
            && !same_names(columns, there.cluster_by.as_deref().unwrap_or_default())
        {
            changes.push(LayoutChange::Clustering(columns.clone()));
        }
        if let Some(required) = wanted.require_partition_filter
            && required != there.require_partition_filter.unwrap_or(false)
            && !matches!(changes.first(), Some(LayoutChange::Impossible("partition_by", _)))
        {
            changes.push(LayoutChange::RequirePartitionFilter(required));
        }
        for (name, value) in &wanted.labels {
            if there.labels.get(name) != Some(value) {
                changes.push(LayoutChange::Label(name.clone(), value.clone()));
            }
        }
        if let (Some(text), None) = (&self.description, &existing.description) {
            changes.push(LayoutChange::Describe(text.clone()));
        }
        for column in &self.columns {
            if let (Some(text), Some(own)) = (&column.description, existing.column(&column.name))
                && own.description.as_deref().unwrap_or_default().is_empty()
            {
                changes.push(LayoutChange::DescribeColumn(own.name.clone(), text.clone()));
            }
        }
        changes
    }

    /// What `existing` becomes so that it takes rows of this table, under a policy, where only columns can be
    /// added and relaxed.
    ///
    /// # Errors
    /// `schema_changed` where that is impossible or not allowed.
    pub fn evolve(&self, existing: &Self, policy: OnSchemaChange) -> Result<(PrepareOutcome, Self)> {
        let changes = self.changes_from(existing);
        self.check_allowed(&changes, &[], policy)?;
        let mut evolved = existing.clone();
        let mut outcome = PrepareOutcome::default();
        for change in changes {
            match change {
                ColumnChange::Add(column) => {
                    outcome.added.push(column.name.clone());
                    evolved.columns.push(column);
                }
                ColumnChange::Relax(name) => {
                    for column in evolved.columns.iter_mut().filter(|column| column.name == name) {
                        column.mode = Mode::Nullable;
                    }
                    outcome.relaxed.push(name);
                }
                // Only answered to destinations that can do it.
                ColumnChange::AddField(..) | ColumnChange::Widen { .. } | ColumnChange::Impossible(..) => {}
            }
        }
        Ok((outcome, evolved))
    }

    /// Whether the policy lets these changes be made.
    ///
    /// # Errors
    /// `schema_changed`, naming what is impossible or not allowed.
    pub fn check_allowed(
        &self,
        columns: &[ColumnChange],
        layout: &[LayoutChange],
        policy: OnSchemaChange,
    ) -> Result<()> {
        let frozen = policy == OnSchemaChange::Freeze;
        let refused: Vec<String> = columns
            .iter()
            .filter(|change| frozen || matches!(change, ColumnChange::Impossible(..)))
            .map(ColumnChange::text)
            .chain(layout.iter().filter(|change| refuses(policy, change)).map(LayoutChange::text))
            .collect();
        if refused.is_empty() { Ok(()) } else { Err(self.cannot_take(&refused, policy)) }
    }

    /// The error for changes that are impossible or not allowed.
    #[must_use]
    pub fn schema_changed(&self, changes: &[ColumnChange]) -> Error {
        let texts: Vec<String> = changes.iter().map(ColumnChange::text).collect();
        self.cannot_take(&texts, OnSchemaChange::Freeze)
    }

    fn cannot_take(&self, texts: &[String], policy: OnSchemaChange) -> Error {
        let hint = match policy {
            OnSchemaChange::Freeze => {
                "change the job's overrides, load into a new table, or set mapping.on_schema_change to \"evolve\""
            }
            _ => "change the job's overrides or layout so that they fit the table, or load into a new table",
        };
        Error::new(
            ErrorKind::SchemaChanged,
            format!("table {} cannot take the rows of this job: {}", self.target, texts.join("; ")),
        )
        .with("target", &self.target)
        .hint(hint)
    }
}

/// Whether a policy lets a difference in the layout be an error.
fn refuses(policy: OnSchemaChange, change: &LayoutChange) -> bool {
    match policy {
        OnSchemaChange::Freeze => !change.is_cosmetic(),
        OnSchemaChange::Evolve => matches!(change, LayoutChange::Impossible(..)),
        OnSchemaChange::EvolveColumnsOnly => false,
    }
}

/// What must change in the column of `existing` that `wanted` goes into.
pub(super) fn column_changes(
    wanted: &TargetColumn,
    existing: &TargetTable,
    can: Evolvable,
) -> Vec<ColumnChange> {
    match existing.column(&wanted.name) {
        None => vec![ColumnChange::Add(TargetColumn { mode: optional(wanted.mode), ..wanted.clone() })],
        Some(there) => {
            let mut changes = item_changes(&there.name, true, &there.into(), &wanted.into(), can);
            let fixed = fixed_by_layout(&there.name, existing);
            if let (Some(fixed), true) =
                (fixed, changes.iter().any(|change| matches!(change, ColumnChange::Widen { .. })))
            {
                let why = format!(
                    "it is {} and the job brings {}, and the type of a column that the table is {fixed} by stays",
                    there.data_type, wanted.data_type
                );
                changes = vec![ColumnChange::Impossible(there.name.clone(), why)];
            }
            changes
        }
    }
}

/// Columns of partitions and clusters keep their types.
fn fixed_by_layout(name: &str, table: &TargetTable) -> Option<&'static str> {
    let is = |other: &str| other.eq_ignore_ascii_case(name);
    if table.layout.partition_by.as_ref().and_then(PartitionBy::column).is_some_and(is) {
        return Some("partitioned");
    }
    let clusters = table.layout.cluster_by.as_deref().unwrap_or_default();
    clusters.iter().any(|other| is(other)).then_some("clustered")
}

fn partitioning_change(wanted: &TableLayout, there: &TableLayout) -> Option<LayoutChange> {
    let by = wanted.partition_by.as_ref()?;
    if there.partition_by.as_ref().is_some_and(|own| same_partitions(own, by)) {
        return None;
    }
    let own = there
        .partition_by
        .as_ref()
        .map_or("not partitioned".to_owned(), |own| format!("partitioned by {own}"));
    let why = format!("the table is {own}, and partitions by {by} need a new table");
    Some(LayoutChange::Impossible("partition_by", why))
}

/// Names of columns have no case.
fn same_partitions(own: &PartitionBy, other: &PartitionBy) -> bool {
    let lower = |by: &PartitionBy| {
        let mut by = by.clone();
        match &mut by {
            PartitionBy::Time(partitioning) => partitioning.column.make_ascii_lowercase(),
            PartitionBy::Range(column, _) => column.make_ascii_lowercase(),
            PartitionBy::IngestionTime(_) => {}
        }
        by
    };
    lower(own) == lower(other)
}

fn same_names(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.eq_ignore_ascii_case(b))
}
