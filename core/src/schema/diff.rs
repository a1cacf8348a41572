//! What changed between two mappings, and whether BigQuery can follow without a new table.

use serde::Serialize;
use serde_json::{Value, json};

use super::bigquery::{BigQueryType, Mode};
use super::ddl;
use super::evolve::{Widening, widening};
use super::mapping::TableMapping;
use super::target::{TargetColumn, TargetRef, TargetTable};

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangeKind {
    /// The column is new.
    Added,
    /// The column is no longer loaded.
    Removed,
    /// It has another name at the destination.
    Renamed,
    /// It has another type.
    Type,
    /// It has another mode.
    Mode,
    /// It has another description.
    Description,
    /// The same type, but values are read in another way or from another type.
    Reading,
}

/// One change of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MappingChange {
    /// Name at the destination, after the change.
    pub column: String,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// What it was.
    pub from: Option<String>,
    /// What it is.
    pub to: Option<String>,
    /// Whether BigQuery applies it to the existing table.
    pub in_place: bool,
    /// The statement that applies it, where one is needed.
    pub ddl: Option<String>,
    /// One sentence.
    pub reason: String,
}

/// The changes from one mapping to another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MappingDiff {
    /// Hash of the mapping before.
    pub from_hash: String,
    /// Hash of the mapping after.
    pub to_hash: String,
    /// The changes, in the order of the columns after; removed ones last.
    pub changes: Vec<MappingChange>,
    /// Whether BigQuery applies all of them to the existing table.
    pub in_place: bool,
    /// A statement that rewrites the table with the new types, where not all changes go in place and every
    /// value has a cast. It keeps no partitioning.
    pub rebuild: Option<String>,
}

/// A column on one side: by what it is found on the other, and what it is.
struct Side {
    key: (bool, String),
    target: TargetColumn,
    reading: String,
}

impl MappingDiff {
    /// Compares two mappings of one table, which is `target` at BigQuery. Columns are the same if they have
    /// the same name at the source.
    #[must_use]
    pub fn between(from: &TableMapping, to: &TableMapping, target: &TargetRef) -> Self {
        let (before, after) = (sides(from), sides(to));
        let table = ddl::path(target);
        let mut changes = Vec::new();
        for new in &after {
            match before.iter().find(|old| old.key == new.key) {
                Some(old) => changed(&table, old, new, &mut changes),
                None => changes.push(added(&table, &new.target)),
            }
        }
        for old in before.iter().filter(|old| !after.iter().any(|new| new.key == old.key)) {
            changes.push(removed(&table, &old.target));
        }
        let in_place = changes.iter().all(|change| change.in_place);
        let rebuild = if in_place { None } else { rebuild(&before, &after, to.target_table(target.clone())) };
        Self { from_hash: from.hash(), to_hash: to.hash(), changes, in_place, rebuild }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "from_hash": self.from_hash,
            "to_hash": self.to_hash,
            "in_place": self.in_place,
            "changes": self.changes,
            "rebuild": self.rebuild,
        })
    }

    /// One line per change for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let line = |change: &MappingChange| {
            let place = if change.in_place { "in place" } else { "NOT in place" };
            let values = match (&change.from, &change.to) {
                (Some(from), Some(to)) => format!(" {from} -> {to}"),
                (one, other) => one.iter().chain(other).map(|value| format!(" {value}")).collect(),
            };
            let kind = format!("{:?}", change.kind).to_lowercase();
            let ddl = change.ddl.iter().map(|ddl| format!("    {ddl}\n")).collect::<String>();
            format!("{}: {kind}{values} ({place}): {}\n{ddl}", change.column, change.reason)
        };
        self.changes.iter().map(line).collect()
    }
}

fn sides(mapping: &TableMapping) -> Vec<Side> {
    let target = mapping.target_table(TargetRef::new("", ""));
    let own = mapping.columns.iter().map(|column| {
        ((false, column.source_name.clone()), format!("{} from {}", column.recipe, column.arrow_type))
    });
    let added = mapping
        .added
        .iter()
        .map(|column| ((true, column.target_name.clone()), format!("{:?}", column.value)));
    own.chain(added)
        .zip(target.columns)
        .map(|((key, reading), target)| Side { key, target, reading })
        .collect()
}

fn added(table: &str, column: &TargetColumn) -> MappingChange {
    let nullable = TargetColumn {
        mode: if column.mode == Mode::Required { Mode::Nullable } else { column.mode },
        ..column.clone()
    };
    let reason = match column.mode {
        Mode::Required => "added as NULLABLE: rows that are there have no value for it",
        _ => "rows that are there get NULL",
    };
    MappingChange {
        column: column.name.clone(),
        kind: ChangeKind::Added,
        from: None,
        to: Some(ddl::column_type(&column.data_type, column.mode)),
        in_place: true,
        ddl: Some(ddl::add_column(table, &nullable)),
        reason: reason.to_owned(),
    }
}

fn removed(table: &str, column: &TargetColumn) -> MappingChange {
    let required = column.mode == Mode::Required;
    MappingChange {
        column: column.name.clone(),
        kind: ChangeKind::Removed,
        from: Some(ddl::column_type(&column.data_type, column.mode)),
        to: None,
        in_place: true,
        ddl: required.then(|| ddl::alter_column(table, &column.name, "DROP NOT NULL")),
        reason: "the column stays with the values it has; new rows get NULL".to_owned(),
    }
}

fn changed(table: &str, old: &Side, new: &Side, changes: &mut Vec<MappingChange>) {
    let (was, is) = (&old.target, &new.target);
    let mut push = |kind, from: String, to: String, ddl: Option<String>, in_place, reason: &str| {
        let (from, to, reason) = (Some(from), Some(to), reason.to_owned());
        changes.push(MappingChange { column: is.name.clone(), kind, from, to, in_place, ddl, reason });
    };
    if was.name != is.name {
        let ddl =
            format!("ALTER TABLE {table} RENAME COLUMN {} TO {};", ddl::name(&was.name), ddl::name(&is.name));
        let reason = "not for columns of keys, partitions and clusters";
        push(ChangeKind::Renamed, was.name.clone(), is.name.clone(), Some(ddl), true, reason);
    }
    let repeats = |column: &TargetColumn| column.mode == Mode::Repeated;
    let retyped = was.data_type != is.data_type || repeats(was) != repeats(is);
    if retyped {
        let (from, to) =
            (ddl::column_type(&was.data_type, was.mode), ddl::column_type(&is.data_type, is.mode));
        let verdict = match repeats(was) || repeats(is) {
            true => Err("arrays cannot be changed in place"),
            false => retype(&was.data_type, &is.data_type),
        };
        match verdict {
            Ok(Some(reason)) => {
                let ddl = ddl::alter_column(table, &is.name, &format!("SET DATA TYPE {to}"));
                push(ChangeKind::Type, from, to, Some(ddl), true, reason);
            }
            Ok(None) => push(ChangeKind::Type, from, to, None, true, "fields are added through the API"),
            Err(reason) => push(ChangeKind::Type, from, to, None, false, reason),
        }
    }
    match (was.mode, is.mode) {
        (Mode::Required, Mode::Nullable) => {
            let ddl = ddl::alter_column(table, &is.name, "DROP NOT NULL");
            push(
                ChangeKind::Mode,
                "REQUIRED".into(),
                "NULLABLE".into(),
                Some(ddl),
                true,
                "NULL becomes possible",
            );
        }
        (Mode::Nullable, Mode::Required) => {
            let reason = "a column of an existing table cannot become REQUIRED";
            push(ChangeKind::Mode, "NULLABLE".into(), "REQUIRED".into(), None, false, reason);
        }
        _ => {}
    }
    if was.description != is.description {
        let (from, to) =
            (was.description.clone().unwrap_or_default(), is.description.clone().unwrap_or_default());
        let ddl =
            ddl::alter_column(table, &is.name, &format!("SET OPTIONS (description={})", ddl::text(&to)));
        push(ChangeKind::Description, from, to, Some(ddl), true, "for people only");
    }
    if old.reading != new.reading && !retyped {
        let reason = "rows that are there keep their values";
        push(ChangeKind::Reading, old.reading.clone(), new.reading.clone(), None, true, reason);
    }
}

/// Whether a column's type can be changed in place; `Some` with the reason where `SET DATA TYPE` does it, `None`
/// where only the API does.
fn retype(from: &BigQueryType, to: &BigQueryType) -> Result<Option<&'static str>, &'static str> {
    if let (BigQueryType::Record(old), BigQueryType::Record(new)) = (from, to) {
        let kept = old.iter().all(|field| new.iter().any(|other| other == field));
        let optional = new.iter().all(|field| field.mode != Mode::Required || old.contains(field));
        return if kept && optional { Ok(None) } else { Err("fields of a record can be added, not changed") };
    }
    match widening(from, to) {
        Widening::Exact => Ok(Some("a wider type; every value stays")),
        Widening::Rounds => Ok(Some("BigQuery allows it, but rounds values of more than 53 bits")),
        Widening::No(why) => Err(why),
    }
}

/// Rewrites the table; `None` where a value has no cast.
fn rebuild(before: &[Side], after: &[Side], mut table: TargetTable) -> Option<String> {
    let mut values = Vec::new();
    for new in after {
        let name = ddl::name(&new.target.name);
        let value = match before.iter().find(|old| old.key == new.key) {
            None => format!("CAST(NULL AS {})", ddl::column_type(&new.target.data_type, new.target.mode)),
            Some(old) => cast(&old.target, &new.target)?,
        };
        values.push(format!("  {value} AS {name}"));
    }
    // What is removed stays in place only; a new REQUIRED column has no values yet.
    for (column, new) in table.columns.iter_mut().zip(after) {
        if column.mode == Mode::Required && !before.iter().any(|old| old.key == new.key) {
            column.mode = Mode::Nullable;
        }
    }
    let create =
        ddl::create_table(&table).replacen("CREATE TABLE IF NOT EXISTS", "CREATE OR REPLACE TABLE", 1);
    let create = create.trim_end_matches(';');
    Some(format!("{create}\nAS SELECT\n{}\nFROM {};", values.join(",\n"), ddl::path(&table.target)))
}

/// A value of the old column as one of the new, by an expression that fails rather than lose something.
fn cast(old: &TargetColumn, new: &TargetColumn) -> Option<String> {
    use BigQueryType::{
        BigNumeric, Bool, Date, DateTime, Float64, Int64, Interval, Json, Numeric, Record, String, Time,
        Timestamp,
    };
    let name = ddl::name(&old.name);
    if old.data_type == new.data_type && (old.mode == Mode::Repeated) == (new.mode == Mode::Repeated) {
        return Some(name);
    }
    if old.mode == Mode::Repeated || new.mode == Mode::Repeated {
        return None;
    }
    match (&old.data_type, &new.data_type) {
        (Json | Record(_), String) => Some(format!("TO_JSON_STRING({name})")),
        (Record(_), Json) => Some(format!("TO_JSON({name})")),
        (String, Json) => Some(format!("PARSE_JSON({name})")),
        (from, to) if widening(from, to) == Widening::Exact => Some(format!("CAST({name} AS {to})")),
        (
            Int64 | Bool | Date | DateTime | Time | Timestamp | Float64 | Numeric(_) | BigNumeric(_)
            | Interval,
            String,
        )
        | (String, Int64 | Float64 | Bool | Date | DateTime | Time | Timestamp)
        | (Bool, Int64)
        | (BigNumeric(_), Float64)
        | (Date, DateTime | Timestamp)
        | (DateTime, Timestamp) => Some(format!("CAST({name} AS {})", new.data_type)),
        // BigQuery would round, or the time of day, the zone or the shape would be lost.
        _ => None,
    }
}
