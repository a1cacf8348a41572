//! What BigQuery's limits say about a table, before anything is asked of BigQuery. Pure.

use std::collections::BTreeMap;

use transload_core::connector::LoadPlan;
use transload_core::schema::{BigQueryType, RecordField, TargetRef, TargetTable, Warning, is_reserved_name};
use transload_core::{Error, ErrorKind, Result};

use crate::sql::LOADS_TABLE;

/// Columns of a table, fields of records included.
const MAX_COLUMNS: usize = 10_000;
/// Records inside records.
const MAX_DEPTH: usize = 15;
/// Characters of a column's name.
const MAX_NAME: usize = 300;
/// Characters of the description of a column and of a table.
const MAX_COLUMN_DESCRIPTION: usize = 1_024;
const MAX_TABLE_DESCRIPTION: usize = 16_384;
/// Labels of a table, and characters of a label's name and value.
const MAX_LABELS: usize = 64;
const MAX_LABEL: usize = 63;

/// Partitions of a table, and those that one job touches.
const MAX_PARTITIONS: u64 = 10_000;
const MAX_PARTITIONS_PER_JOB: u64 = 4_000;

/// Load jobs into one table on one day, those that fail included. Only staging tables are loaded by jobs, and each
/// has a name of its own, so a single load must keep to it.
const MAX_LOAD_JOBS: u64 = 1_500;
/// Files of a load from which on they grow, and the size that they grow to.
const MANY_FILES: u64 = 500;
const LARGEST_FILE: usize = 1 << 30;
/// `INSERT` statements into one table in 24 hours that run at once; of later ones BigQuery runs ten at a time and
/// keeps a hundred waiting.
const FREE_INSERTS: u64 = 1_500;

/// Characters that no name of a column may have.
const FORBIDDEN: &str = "!\"$()*,./;?@[\\]^`{}~";

/// Checks names, sizes and layout of a table.
///
/// # Errors
/// `type_mapping`, naming what is too much and what is possible.
pub(crate) fn check_table(target: &TargetTable) -> Result<()> {
    let refuse = |text: String, hint: &str| {
        Err(Error::new(ErrorKind::TypeMapping, format!("table {} cannot be made: {text}", target.target))
            .with("target", &target.target)
            .hint(hint.to_owned()))
    };
    if target.columns.is_empty() {
        return refuse("it has no columns".to_owned(), "load at least one column");
    }
    let leaves: usize = target.columns.iter().map(|column| column.data_type.leaves()).sum();
    if leaves > MAX_COLUMNS {
        let text = format!("it has {leaves} columns and fields, and BigQuery takes {MAX_COLUMNS}");
        return refuse(text, "load fewer columns, or map records to JSON");
    }
    let names = target.columns.iter().map(|column| column.name.as_str());
    check_names(names, "column").or_else(|why| refuse(why, "give it another name with an override"))?;
    for column in &target.columns {
        if let Err(why) = check_record(&column.data_type, 0) {
            return refuse(format!("in column `{}` {why}", column.name), "map the column to JSON");
        }
        let length = column.description.as_deref().map_or(0, |text| text.chars().count());
        if length > MAX_COLUMN_DESCRIPTION {
            let text = format!("the description of column `{}` has {length} characters", column.name);
            return refuse(text, &format!("BigQuery takes {MAX_COLUMN_DESCRIPTION}"));
        }
    }
    if target.description.as_deref().is_some_and(|text| text.chars().count() > MAX_TABLE_DESCRIPTION) {
        return refuse(
            "its description is too long".to_owned(),
            &format!("BigQuery takes {MAX_TABLE_DESCRIPTION} characters"),
        );
    }
    if let Err(why) = check_labels(&target.layout.labels) {
        return refuse(why, "labels have lower-case letters, digits, `_` and `-`, up to 63 of them");
    }
    target.layout.check(target)
}

/// Checks that the rows of a load lie in no more partitions than BigQuery takes.
///
/// # Errors
/// `config`, with what is possible.
pub(crate) fn check_partitions(plan: LoadPlan<'_>) -> Result<()> {
    let Some(count) = plan.partitions.filter(|count| *count > MAX_PARTITIONS_PER_JOB) else { return Ok(()) };
    let takes = match count {
        0..=MAX_PARTITIONS => format!("one job touches {MAX_PARTITIONS_PER_JOB}"),
        _ => format!("a table has {MAX_PARTITIONS} and one job touches {MAX_PARTITIONS_PER_JOB}"),
    };
    let by = plan.target.layout.partition_by.as_ref().map(ToString::to_string).unwrap_or_default();
    Err(Error::config(format!(
        "the rows of this load lie in up to {count} partitions of {} ({by}), and {takes} at most",
        plan.target.target
    ))
    .with("target", &plan.target.target)
    .with("partitions", count)
    .hint(
        "partition by MONTH or YEAR or a larger interval and cluster by the column, or load less at a time with \
         `load.backfill_since`",
    ))
}

/// Bytes at which the file of this number is closed, where the job allows `wanted`: a very large load grows its files
/// before it runs out of load jobs.
///
/// # Errors
/// `config` where there are no load jobs left.
pub(crate) fn file_bytes(number: u64, wanted: usize) -> Result<usize> {
    // Some are left for those that fail and are run again.
    if number > MAX_LOAD_JOBS - MAX_LOAD_JOBS / 20 {
        return Err(Error::config(format!(
            "the load needs more files than the {MAX_LOAD_JOBS} load jobs that BigQuery takes for a table on a day"
        ))
        .with("files", number)
        .hint(
            "let the files wait in Cloud Storage (`gcs_staging`, or `staging_prefix` of the job), where one job loads \
             10,000 of them; or raise `file_mib`",
        ));
    }
    let doublings = u32::try_from(number.saturating_sub(MANY_FILES) / 100).unwrap_or(u32::MAX);
    let grown = wanted.saturating_mul(1_usize.checked_shl(doublings.min(20)).unwrap_or(usize::MAX));
    Ok(grown.min(LARGEST_FILE.max(wanted)))
}

/// Loads that were committed in the last 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Recent {
    /// Into the target.
    pub(crate) target: u64,
    /// Into all tables of its dataset, and so into the table of load records.
    pub(crate) dataset: u64,
}

impl Recent {
    /// Warns of so many loads that BigQuery begins to queue them.
    pub(crate) fn warning(self, target: &TargetRef) -> Option<Warning> {
        let near = FREE_INSERTS - FREE_INSERTS / 5;
        let (count, table, hint) = if self.target >= near {
            (self.target, target.to_string(), "load it less often")
        } else if self.dataset >= near {
            let records = format!("{}.{LOADS_TABLE}", target.dataset);
            (self.dataset, records, "load less often, or spread the tables over several datasets")
        } else {
            return None;
        };
        Some(Warning::new(
            "W_MANY_LOADS",
            format!(
                "{count} loads were committed into {table} in the last 24 hours; from {FREE_INSERTS} INSERT statements \
                 on, BigQuery runs at most ten at a time on a table and refuses what would wait behind a hundred: {hint}"
            ),
        ))
    }
}

/// Names of the columns of a table or the fields of a record.
fn check_names<'a>(names: impl Iterator<Item = &'a str>, what: &str) -> std::result::Result<(), String> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        let why = if name.is_empty() {
            "it is empty".to_owned()
        } else if name.chars().count() > MAX_NAME {
            format!("it has more than {MAX_NAME} characters")
        } else if let Some(bad) = name.chars().find(|c| FORBIDDEN.contains(*c) || c.is_control()) {
            format!("{bad:?} is not possible")
        } else if is_reserved_name(name) {
            "BigQuery keeps this beginning for itself".to_owned()
        } else if !seen.insert(name.to_lowercase()) {
            "it is there twice, and BigQuery knows no case in names".to_owned()
        } else {
            continue;
        };
        return Err(format!("{what} `{name}` has a name that BigQuery does not take: {why}"));
    }
    Ok(())
}

fn check_record(data_type: &BigQueryType, depth: usize) -> std::result::Result<(), String> {
    let BigQueryType::Record(fields) = data_type else { return Ok(()) };
    if depth == MAX_DEPTH {
        return Err(format!("records are nested deeper than {MAX_DEPTH} levels"));
    }
    if fields.is_empty() {
        return Err("a record has no fields".to_owned());
    }
    check_names(fields.iter().map(|field| field.name.as_str()), "field")?;
    fields.iter().try_for_each(|RecordField { data_type, .. }| check_record(data_type, depth + 1))
}

/// Labels of tables and datasets.
pub(crate) fn check_labels(labels: &BTreeMap<String, String>) -> std::result::Result<(), String> {
    if labels.len() > MAX_LABELS {
        return Err(format!("{} labels are more than {MAX_LABELS}", labels.len()));
    }
    let fine = |text: &str| {
        text.chars().count() <= MAX_LABEL
            && text
                .chars()
                .all(|c| matches!(c, '_' | '-') || c.is_numeric() || c.is_alphabetic() && !c.is_uppercase())
    };
    for (name, value) in labels {
        if !fine(name) || !name.starts_with(|c: char| c.is_alphabetic()) {
            return Err(format!("`{name}` is not the name of a label"));
        }
        if !fine(value) {
            return Err(format!("label `{name}` cannot have the value `{value}`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_core::schema::{Mode, TargetColumn, TargetRef};

    fn table(columns: &[(&str, BigQueryType)]) -> TargetTable {
        let column = |(name, data_type): &(&str, BigQueryType)| TargetColumn {
            name: (*name).to_owned(),
            data_type: data_type.clone(),
            mode: Mode::Nullable,
            description: None,
        };
        TargetTable::new(TargetRef::new("d", "t"), columns.iter().map(column).collect())
    }

    fn record(name: &str, inner: BigQueryType) -> BigQueryType {
        BigQueryType::Record(vec![RecordField { name: name.into(), data_type: inner, mode: Mode::Nullable }])
    }

    fn refused(table: &TargetTable, part: &str) {
        let error = check_table(table).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TypeMapping);
        assert!(error.to_string().contains(part) && error.hint_text().is_some(), "{error}");
    }

    #[test]
    fn names() {
        for name in ["id", "Größe", "a b", "2nd", "a&b=c", "_private", "select", &"x".repeat(300)] {
            check_table(&table(&[(name, BigQueryType::Int64)])).unwrap();
        }
        for name in [
            "",
            "a.b",
            "a`b",
            "a\nb",
            "a;b",
            "(x)",
            "a/b",
            "_PARTITIONTIME",
            "_table_x",
            "__root__",
            "_field_a",
            "_CHANGE_TYPE",
            &"x".repeat(301),
        ] {
            refused(&table(&[(name, BigQueryType::Int64)]), "name that BigQuery does not take");
            refused(&table(&[("r", record(name, BigQueryType::Int64))]), "name that BigQuery does not take");
        }
        refused(&table(&[("Id", BigQueryType::Int64), ("ID", BigQueryType::Int64)]), "there twice");
        refused(&table(&[]), "no columns");
    }

    #[test]
    fn sizes() {
        let names: Vec<String> = (0..10_001).map(|i| format!("c{i}")).collect();
        let columns: Vec<(&str, BigQueryType)> =
            names.iter().map(|name| (name.as_str(), BigQueryType::Int64)).collect();
        check_table(&table(&columns[..10_000])).unwrap();
        refused(&table(&columns), "10001 columns and fields");
        // A record counts beside its fields.
        let mut nested = columns[..9_999].to_vec();
        nested.push(("r", record("x", BigQueryType::Int64)));
        refused(&table(&nested), "10001 columns and fields");

        let deep = |levels: usize| (0..levels).fold(BigQueryType::Int64, |inner, _| record("x", inner));
        check_table(&table(&[("r", deep(15))])).unwrap();
        refused(&table(&[("r", deep(16))]), "deeper than 15");
        refused(&table(&[("r", BigQueryType::Record(Vec::new()))]), "no fields");
    }

    #[test]
    fn partitions_of_a_load() {
        let target = table(&[("a", BigQueryType::Int64)]);
        for (partitions, fine) in
            [(None, true), (Some(4_000), true), (Some(4_001), false), (Some(10_001), false)]
        {
            let outcome = check_partitions(LoadPlan { target: &target, partitions });
            assert_eq!(outcome.is_ok(), fine, "{partitions:?}");
            if let Err(error) = outcome {
                assert!(error.kind() == ErrorKind::Config && error.hint_text().is_some());
                assert_eq!(
                    error.to_string().contains("a table has 10000"),
                    partitions > Some(10_000),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn files_grow_before_load_jobs_run_out() {
        let mib = |number, wanted: usize| file_bytes(number, wanted << 20).unwrap() >> 20;
        assert_eq!([mib(1, 128), mib(599, 128), mib(600, 128), mib(700, 128)], [128, 128, 256, 512]);
        assert_eq!([mib(1_425, 128), mib(1_425, 1), mib(1_425, 1024)], [1024, 512, 1024]);
        let error = file_bytes(1_426, 128 << 20).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.hint_text().unwrap().contains("gcs_staging"));
    }

    #[test]
    fn many_loads_are_warned_of() {
        let target = TargetRef::new("d", "t");
        let warning = |target_loads, dataset| Recent { target: target_loads, dataset }.warning(&target);
        assert_eq!(warning(1_199, 1_199), None);
        let own = warning(1_200, 9_000).unwrap();
        assert_eq!(own.code, "W_MANY_LOADS");
        assert!(own.text.starts_with("1200 loads were committed into d.t"), "{own}");
        let all = warning(24, 1_300).unwrap();
        assert!(all.text.starts_with("1300 loads were committed into d._transload_loads"), "{all}");
    }

    #[test]
    fn descriptions_and_labels() {
        let mut wide = table(&[("a", BigQueryType::Int64)]);
        wide.columns[0].description = Some("é".repeat(1024));
        wide.description = Some("é".repeat(16_384));
        check_table(&wide).unwrap();
        wide.columns[0].description = Some("é".repeat(1025));
        refused(&wide, "1025 characters");
        wide.columns[0].description = None;
        wide.description = Some("é".repeat(16_385));
        refused(&wide, "description is too long");

        for (name, value, fine) in [
            ("team", "data-eng_1", true),
            ("größe", "", true),
            ("Team", "x", false),
            ("1team", "x", false),
            ("", "x", false),
            ("team", "Has Space", false),
            (&"x".repeat(64), "x", false),
        ] {
            let mut labelled = table(&[("a", BigQueryType::Int64)]);
            labelled.layout.labels = [(name.to_owned(), value.to_owned())].into();
            assert_eq!(check_table(&labelled).is_ok(), fine, "{name}={value}");
        }
        let mut many = table(&[("a", BigQueryType::Int64)]);
        many.layout.labels = (0..65).map(|i| (format!("l{i}"), String::new())).collect();
        refused(&many, "65 labels");
    }
}
