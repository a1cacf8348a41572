//! BigQuery's SQL for datasets, tables and columns: the only place that quotes its names and texts.

use jiff::SignedDuration;

use super::advice::Granularity;
use super::bigquery::{BigQueryType, Mode, RecordField};
use super::evolve::{ColumnChange, LayoutChange};
use super::layout::{DatasetOptions, IntegerRange, PartitionBy};
use super::target::{TargetColumn, TargetRef, TargetTable};

/// `CREATE SCHEMA IF NOT EXISTS`: BigQuery's DDL calls a dataset so.
#[must_use]
pub fn create_dataset(dataset: &str, with: &DatasetOptions) -> String {
    let mut options = Vec::new();
    options.extend(with.location.as_ref().map(|place| format!("location={}", text(place))));
    options.extend(with.description.as_ref().map(|words| format!("description={}", text(words))));
    options
        .extend(with.tables_expire_after.map(|life| format!("default_table_expiration_days={}", days(life))));
    options.extend(labels(with.labels.iter()));
    format!("CREATE SCHEMA IF NOT EXISTS {}{};", name(dataset), options_clause(&options))
}

/// `CREATE TABLE IF NOT EXISTS` with everything that the table wants.
#[must_use]
pub fn create_table(table: &TargetTable) -> String {
    let columns: Vec<String> =
        table.columns.iter().map(|column| format!("  {}", definition(column))).collect();
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {} (\n{}\n)", path(&table.target), columns.join(",\n"));
    let layout = &table.layout;
    if let Some(partition_by) = &layout.partition_by {
        sql.push_str(&format!("\nPARTITION BY {}", partition(table, partition_by)));
    }
    let clustering = layout.cluster_by.as_deref().unwrap_or_default();
    if !clustering.is_empty() {
        let names: Vec<String> = clustering.iter().map(|column| name(column)).collect();
        sql.push_str(&format!("\nCLUSTER BY {}", names.join(", ")));
    }
    let mut options = Vec::new();
    options.extend(table.description.as_ref().map(|words| format!("description={}", text(words))));
    options.extend(
        layout.partition_expires_after.map(|life| format!("partition_expiration_days={}", days(life))),
    );
    options.extend(layout.require_partition_filter.map(|on| format!("require_partition_filter={on}")));
    options.extend(layout.expires_after.map(|life| {
        let hours = life.as_hours();
        format!("expiration_timestamp=TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {hours} HOUR)")
    }));
    options.extend(labels(layout.labels.iter()));
    if !options.is_empty() {
        sql.push('\n');
        sql.push_str(options_clause(&options).trim_start());
    }
    sql.push(';');
    sql
}

fn options_clause(options: &[String]) -> String {
    if options.is_empty() { String::new() } else { format!(" OPTIONS ({})", options.join(", ")) }
}

fn labels<'a>(labels: impl Iterator<Item = (&'a String, &'a String)>) -> Option<String> {
    let pairs: Vec<String> = labels.map(|(key, value)| format!("({}, {})", text(key), text(value))).collect();
    (!pairs.is_empty()).then(|| format!("labels=[{}]", pairs.join(", ")))
}

/// Days with a fraction where it has hours.
fn days(life: SignedDuration) -> f64 {
    life.as_secs_f64() / 86_400.0
}

fn partition(table: &TargetTable, by: &PartitionBy) -> String {
    match by {
        PartitionBy::IngestionTime(Granularity::Day) => "_PARTITIONDATE".to_owned(),
        PartitionBy::IngestionTime(granularity) => format!("TIMESTAMP_TRUNC(_PARTITIONTIME, {granularity})"),
        PartitionBy::Range(column, IntegerRange { start, end, interval }) => {
            format!("RANGE_BUCKET({}, GENERATE_ARRAY({start}, {end}, {interval}))", name(column))
        }
        PartitionBy::Time(partitioning) => {
            let own = name(&partitioning.column);
            let data_type = table.column(&partitioning.column).map(|column| &column.data_type);
            match (data_type, partitioning.granularity) {
                (None | Some(BigQueryType::Date), Granularity::Day) => own,
                (data_type, granularity) => {
                    let data_type = data_type.map_or("DATE", BigQueryType::name);
                    format!("{data_type}_TRUNC({own}, {granularity})")
                }
            }
        }
    }
}

/// The statement that makes a change of a column; `None` where only the API does: for fields of records.
#[must_use]
pub fn change_column(target: &TargetRef, change: &ColumnChange) -> Option<String> {
    let table = path(target);
    match change {
        ColumnChange::Add(column) => Some(add_column(&table, column)),
        ColumnChange::Relax(column) if !column.contains('.') => {
            Some(alter_column(&table, column, "DROP NOT NULL"))
        }
        ColumnChange::Widen { column, to, .. } => Some(set_data_type(&table, column, to)),
        ColumnChange::Relax(_) | ColumnChange::AddField(..) | ColumnChange::Impossible(..) => None,
    }
}

/// The statement that makes a change of the layout; `None` where only the API does: for clustering.
#[must_use]
pub fn change_layout(target: &TargetRef, change: &LayoutChange) -> Option<String> {
    let table = path(target);
    let set = |option: String| Some(format!("ALTER TABLE {table} SET OPTIONS ({option});"));
    match change {
        LayoutChange::RequirePartitionFilter(on) => set(format!("require_partition_filter={on}")),
        LayoutChange::Describe(words) => set(format!("description={}", text(words))),
        LayoutChange::DescribeColumn(column, words) => {
            Some(alter_column(&table, column, &format!("SET OPTIONS (description={})", text(words))))
        }
        // `SET OPTIONS (labels=...)` would drop the labels that it does not name.
        LayoutChange::Label(..) | LayoutChange::Clustering(_) | LayoutChange::Impossible(..) => None,
    }
}

/// `ALTER TABLE ... ADD COLUMN`; the table's path is quoted.
#[must_use]
pub fn add_column(table: &str, column: &TargetColumn) -> String {
    format!("ALTER TABLE {table} ADD COLUMN {};", definition(column))
}

/// `ALTER TABLE ... ALTER COLUMN ... SET DATA TYPE`; the table's path is quoted.
#[must_use]
pub fn set_data_type(table: &str, column: &str, to: &BigQueryType) -> String {
    alter_column(table, column, &format!("SET DATA TYPE {}", column_type(to, Mode::Nullable)))
}

/// `ALTER TABLE ... ALTER COLUMN` with an action; the table's path is quoted.
pub(super) fn alter_column(table: &str, column: &str, action: &str) -> String {
    format!("ALTER TABLE {table} ALTER COLUMN {} {action};", name(column))
}

/// A column as `CREATE TABLE` and `ADD COLUMN` take it.
pub(super) fn definition(column: &TargetColumn) -> String {
    let required = if column.mode == Mode::Required { " NOT NULL" } else { "" };
    let options = match &column.description {
        Some(description) => format!(" OPTIONS (description={})", text(description)),
        None => String::new(),
    };
    format!("{} {}{required}{options}", name(&column.name), column_type(&column.data_type, column.mode))
}

/// A type with its mode: arrays and the fields of records are written out.
pub(super) fn column_type(data_type: &BigQueryType, mode: Mode) -> String {
    let own = match data_type {
        BigQueryType::Record(fields) => {
            let field = |field: &RecordField| {
                let required = if field.mode == Mode::Required { " NOT NULL" } else { "" };
                format!("{} {}{required}", name(&field.name), column_type(&field.data_type, field.mode))
            };
            format!("STRUCT<{}>", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    };
    if mode == Mode::Repeated { format!("ARRAY<{own}>") } else { own }
}

/// Dataset and table, quoted.
#[must_use]
pub fn path(target: &TargetRef) -> String {
    format!("{}.{}", name(&target.dataset), name(&target.table))
}

/// A quoted name.
#[must_use]
pub fn name(name: &str) -> String {
    format!("`{}`", escape(name))
}

/// A quoted text.
#[must_use]
pub fn text(text: &str) -> String {
    format!("'{}'", escape(text))
}

/// Quoted names and texts share one set of escapes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '\'' | '`' | '"' => escaped.extend(['\\', character]),
            // Line ends would end a text; the others could be changed on their way.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::LayoutDocument;
    use serde_json::json;

    /// Reads an escaped text back by BigQuery's lexical rules, written apart from `escape`.
    fn unescape(quoted: &str, mark: char) -> String {
        let inner = quoted.strip_prefix(mark).unwrap().strip_suffix(mark).unwrap();
        let mut text = String::new();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            assert!(c != mark && c != '\n' && c != '\r', "{quoted:?} ends early");
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next().unwrap() {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    text.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                }
                c @ ('\\' | '\'' | '`' | '"') => text.push(c),
                other => panic!("\\{other} is no escape that the encoder uses"),
            }
        }
        text
    }

    #[test]
    fn hostile_texts_survive_quoting() {
        let alphabet: Vec<char> =
            "ab'\"`\\\n\r\t\0;-/*%@?{}$é漢😀\u{2028}\u{feff}\u{7f}u0027".chars().collect();
        for seed in 0..20_000_u32 {
            let random = blake3::hash(&seed.to_le_bytes());
            let random = random.as_bytes();
            let one = |byte: &u8| alphabet[usize::from(*byte) % alphabet.len()];
            let text: String = random[1..].iter().take(usize::from(random[0] % 12)).map(one).collect();
            assert_eq!(unescape(&super::text(&text), '\''), text);
            assert_eq!(unescape(&name(&text), '`'), text);
        }
    }

    #[test]
    fn tables_and_datasets_with_everything() {
        let column = |name: &str, data_type: &str| TargetColumn {
            name: name.to_owned(),
            data_type: data_type.parse().unwrap(),
            mode: Mode::Nullable,
            description: None,
        };
        let mut table = TargetTable::new(
            TargetRef::new("sales", "orders"),
            vec![column("id", "INT64"), column("at", "TIMESTAMP"), column("day", "DATE")],
        );
        table.description = Some("it's `all`".to_owned());
        let partitioned = |table: &mut TargetTable, by: serde_json::Value| {
            let document: LayoutDocument = serde_json::from_value(json!({"partition_by": by})).unwrap();
            table.layout = document.resolve(None).unwrap();
            create_table(table).lines().find(|line| line.starts_with("PARTITION")).unwrap().to_owned()
        };
        for (by, line) in [
            (json!({"column": "day"}), "PARTITION BY `day`"),
            (json!({"column": "day", "granularity": "YEAR"}), "PARTITION BY DATE_TRUNC(`day`, YEAR)"),
            (json!({"column": "at", "granularity": "HOUR"}), "PARTITION BY TIMESTAMP_TRUNC(`at`, HOUR)"),
            (json!({"ingestion_time": "DAY"}), "PARTITION BY _PARTITIONDATE"),
            (json!({"ingestion_time": "MONTH"}), "PARTITION BY TIMESTAMP_TRUNC(_PARTITIONTIME, MONTH)"),
            (
                json!({"column": "id", "range": {"start": 0, "end": 100, "interval": 10}}),
                "PARTITION BY RANGE_BUCKET(`id`, GENERATE_ARRAY(0, 100, 10))",
            ),
        ] {
            assert_eq!(partitioned(&mut table, by), line);
        }
        let document: LayoutDocument = serde_json::from_value(json!({
            "partition_by": {"column": "at"}, "cluster_by": ["id", "day"], "labels": {"team": "x", "tier": "1"},
            "expires_after": "30d", "partition_expires_after": "36h", "require_partition_filter": true,
        }))
        .unwrap();
        table.layout = document.resolve(None).unwrap();
        assert_eq!(
            create_table(&table),
            "CREATE TABLE IF NOT EXISTS `sales`.`orders` (\n  `id` INT64,\n  `at` TIMESTAMP,\n  `day` DATE\n)\n\
             PARTITION BY TIMESTAMP_TRUNC(`at`, DAY)\nCLUSTER BY `id`, `day`\n\
             OPTIONS (description='it\\'s \\`all\\`', partition_expiration_days=1.5, \
             require_partition_filter=true, expiration_timestamp=TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 720 \
             HOUR), labels=[('team', 'x'), ('tier', '1')]);"
        );
        let options = DatasetOptions {
            location: Some("EU".into()),
            tables_expire_after: Some(SignedDuration::from_hours(48)),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            ..DatasetOptions::default()
        };
        assert_eq!(
            create_dataset("sales", &options),
            "CREATE SCHEMA IF NOT EXISTS `sales` OPTIONS (location='EU', default_table_expiration_days=2, \
             labels=[('a', 'b')]);"
        );
        assert_eq!(create_dataset("d", &DatasetOptions::default()), "CREATE SCHEMA IF NOT EXISTS `d`;");
    }
}
