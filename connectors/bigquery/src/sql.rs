//! SQL text: names, literals and the statements of a commit. No I/O.

use std::fmt::Write as _;

use transload_core::schema::{TargetColumn, TargetRef};
use transload_core::{Error, Result};

use crate::convert::converted;

/// Table that keeps the records of committed loads, in the dataset of the target.
pub(crate) const LOADS_TABLE: &str = "_transload_loads";
/// Column of a merge's staging table that holds the order in which rows were written.
pub(crate) const ORDER_COLUMN: &str = "written";

/// Quotes one part of a name. Every name in every statement goes through here.
pub(crate) fn quote(name: &str) -> String {
    format!("`{}`", escape(name))
}

/// A string literal. Every value in every statement goes through here.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", escape(text))
}

/// Quoted names and string literals share one set of escapes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '`' | '"' => {
                escaped.push('\\');
                escaped.push(c);
            }
            // Line ends would end a literal; the others could be changed on their way.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// The quoted path of a table.
pub(crate) fn path(project: &str, dataset: &str, table: &str) -> String {
    format!("{}.{}.{}", quote(project), quote(dataset), quote(table))
}

/// Refuses dataset names that BigQuery would refuse, before they become part of a request's path.
pub(crate) fn check_dataset(name: &str) -> Result<()> {
    let fine =
        (1..=1024).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if fine {
        return Ok(());
    }
    Err(Error::config("this cannot be the name of a BigQuery dataset")
        .with("dataset", name)
        .hint("datasets have letters, digits and underscores; the project is an option of the connection"))
}

/// Refuses table names that BigQuery would refuse, and those that the connector keeps for itself.
pub(crate) fn check_target(target: &TargetRef) -> Result<()> {
    check_dataset(&target.dataset)?;
    let name = &target.table;
    let fine = (1..=1024).contains(&name.len())
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '));
    if !fine || name == LOADS_TABLE {
        return Err(Error::config("this cannot be the name of a BigQuery table that rows are loaded into")
            .with("target", target)
            .hint("tables have letters, digits, underscores, dashes and spaces"));
    }
    Ok(())
}

/// Name of the staging column of the target's column at `index`.
///
/// Staging columns have neutral names, so that no name of the target must survive Parquet.
pub(crate) fn stage_name(index: usize) -> String {
    format!("c{index}")
}

/// What the rows of the staging table do to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apply<'a> {
    /// They are added.
    Append,
    /// They take the place of all rows.
    Replace,
    /// They take the place of rows with the same key.
    Merge { key: &'a [usize], order_by: Option<usize> },
}

/// Everything that the commit script depends on.
#[derive(Debug)]
pub(crate) struct Commit<'a> {
    /// Quoted path of the target.
    pub(crate) target: &'a str,
    /// Quoted path of the load records.
    pub(crate) loads: &'a str,
    /// Quoted path of the staging table; `None` for a load without rows.
    pub(crate) staging: Option<&'a str>,
    pub(crate) columns: &'a [TargetColumn],
    pub(crate) apply: Apply<'a>,
    pub(crate) record: RecordRow<'a>,
}

/// The load record as a row.
#[derive(Debug)]
pub(crate) struct RecordRow<'a> {
    pub(crate) load_id: &'a str,
    pub(crate) table: &'a str,
    /// When the target was created, milliseconds since 1970. Older records belong to a dropped table.
    pub(crate) table_created: i64,
    pub(crate) job: &'a str,
    pub(crate) job_name: &'a str,
    pub(crate) sequence: u64,
    pub(crate) json: &'a str,
}

/// Condition for the records of a target as it is now.
pub(crate) fn records_of(table: &str, created: i64) -> String {
    format!("target_table = {} AND committed_at >= TIMESTAMP_MILLIS({created})", literal(table))
}

/// The script that makes rows and record visible in one transaction. Its result is one row: state (0
/// committed, 1 committed before, 2 another load of the job came first), distinct keys, rows updated,
/// rows inserted.
pub(crate) fn commit_script(commit: &Commit<'_>) -> String {
    let record = &commit.record;
    let records = records_of(record.table, record.table_created);
    let mut body = String::new();
    apply(&mut body, commit);
    format!(
        "DECLARE state INT64 DEFAULT 0;\n\
         DECLARE distinct_rows INT64 DEFAULT 0;\n\
         DECLARE updated_rows INT64 DEFAULT 0;\n\
         DECLARE inserted_rows INT64 DEFAULT 0;\n\
         BEGIN TRANSACTION;\n\
         IF EXISTS(SELECT 1 FROM {loads} WHERE load_id = {load_id} AND {records}) THEN\n\
         SET state = 1;\n\
         ELSEIF EXISTS(SELECT 1 FROM {loads} WHERE job = {job} AND sequence >= {sequence} AND {records}) THEN\n\
         SET state = 2;\n\
         END IF;\n\
         IF state > 0 THEN\n\
         ROLLBACK TRANSACTION;\n\
         ELSE\n\
         {body}\
         INSERT INTO {loads} (load_id, target_table, job, job_name, sequence, record, committed_at) \
         VALUES ({load_id}, {table}, {job}, {job_name}, {sequence}, {json}, CURRENT_TIMESTAMP());\n\
         COMMIT TRANSACTION;\n\
         END IF;\n\
         SELECT state, distinct_rows, updated_rows, inserted_rows;\n",
        loads = commit.loads,
        load_id = literal(record.load_id),
        table = literal(record.table),
        job = literal(record.job),
        job_name = literal(record.job_name),
        sequence = record.sequence,
        json = literal(record.json),
    )
}

fn apply(body: &mut String, commit: &Commit<'_>) {
    let target = commit.target;
    if commit.apply == Apply::Replace {
        let _ = writeln!(body, "DELETE FROM {target} WHERE TRUE;");
    }
    let Some(staging) = commit.staging else { return };
    if let Apply::Merge { key, order_by } = commit.apply {
        merge(body, commit, staging, key, order_by);
        return;
    }
    let _ = writeln!(
        body,
        "INSERT INTO {target} ({names}) SELECT {values} FROM {staging} AS s;\n\
         SET inserted_rows = @@row_count;",
        names = names(commit.columns),
        values = values(commit.columns),
    );
}

/// `UPDATE` and `INSERT` rather than `MERGE`: it counts both kinds of rows without a look at child jobs.
/// Both run in one transaction on the same de-duplicated rows.
fn merge(body: &mut String, commit: &Commit<'_>, staging: &str, key: &[usize], order_by: Option<usize>) {
    let (target, columns) = (commit.target, commit.columns);
    let staged_key: Vec<String> = key.iter().map(|i| stage_name(*i)).collect();
    let order = order_by.map(|i| format!("{} DESC, ", stage_name(i))).unwrap_or_default();
    let matches: Vec<String> = key
        .iter()
        .map(|i| (&columns[*i], format!("s.{}", stage_name(*i))))
        .map(|(column, staged)| format!("t.{} = {}", quote(&column.name), converted(column, &staged)))
        .collect();
    let matches = matches.join(" AND ");
    let sets: Vec<String> = columns
        .iter()
        .enumerate()
        .filter(|(i, _)| !key.contains(i))
        .map(|(i, c)| format!("{} = {}", quote(&c.name), converted(c, &format!("s.{}", stage_name(i)))))
        .collect();
    let _ = writeln!(
        body,
        "CREATE TEMP TABLE _tl_fresh AS SELECT * FROM {staging} \
         QUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {order}{ORDER_COLUMN} DESC) = 1;\n\
         SET distinct_rows = (SELECT COUNT(*) FROM _tl_fresh);",
        keys = staged_key.join(", "),
    );
    if !sets.is_empty() {
        let _ = writeln!(
            body,
            "UPDATE {target} AS t SET {} FROM _tl_fresh AS s WHERE {matches};\n\
             SET updated_rows = @@row_count;",
            sets.join(", "),
        );
    }
    let _ = writeln!(
        body,
        "INSERT INTO {target} ({names}) SELECT {values} FROM _tl_fresh AS s \
         WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {matches});\n\
         SET inserted_rows = @@row_count;",
        names = names(columns),
        values = values(columns),
    );
}

fn names(columns: &[TargetColumn]) -> String {
    columns.iter().map(|column| quote(&column.name)).collect::<Vec<_>>().join(", ")
}

fn values(columns: &[TargetColumn]) -> String {
    let value = |(i, column)| converted(column, &format!("s.{}", stage_name(i)));
    columns.iter().enumerate().map(value).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng as _, SeedableRng as _};
    use transload_core::schema::{BigQueryType, Mode};

    fn column(name: &str, data_type: BigQueryType, mode: Mode) -> TargetColumn {
        TargetColumn { name: name.to_owned(), data_type, mode, description: None }
    }

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
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        for _ in 0..20_000 {
            let length = random.random_range(0..12);
            let text: String =
                (0..length).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect();
            assert_eq!(unescape(&literal(&text), '\''), text);
            assert_eq!(unescape(&quote(&text), '`'), text);
        }
    }

    #[test]
    fn an_empty_load_needs_no_staging() {
        let columns = [column("id", BigQueryType::Int64, Mode::Required)];
        let record = || RecordRow {
            load_id: "l'1",
            table: "t",
            table_created: 5,
            job: "j",
            job_name: "n",
            sequence: 3,
            json: "{}",
        };
        let script = |apply| {
            commit_script(&Commit {
                target: "`p`.`d`.`t`",
                loads: "`p`.`d`.`l`",
                staging: None,
                columns: &columns,
                apply,
                record: record(),
            })
        };
        assert!(script(Apply::Replace).contains("DELETE FROM `p`.`d`.`t` WHERE TRUE"));
        let append = script(Apply::Append);
        assert!(!append.contains("`p`.`d`.`t`") && append.contains("load_id = 'l\\'1'"), "{append}");
    }

    #[test]
    fn names_that_would_leave_their_path_are_refused() {
        for name in ["", "a.b", "a/b", "..", "a`b", "a-b", "ü"] {
            assert!(check_dataset(name).is_err(), "{name}");
        }
        for name in ["", "a/b", "../x", "a.b", "a$20260101", "a`b", LOADS_TABLE, "a?b", "a\nb"] {
            assert!(check_target(&TargetRef::new("d", name)).is_err(), "{name}");
        }
        for name in ["orders", "Größe 2026-x", "_x"] {
            check_target(&TargetRef::new("d", name)).unwrap();
        }
    }
}
