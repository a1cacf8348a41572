//! The statements of a commit. No I/O.

use std::fmt::Write as _;

use transload_core::connector::KeyComparison;
use transload_core::schema::{TargetColumn, Tombstone};

use crate::convert::converted;
use crate::deletes::{KeySql, dead};
use crate::prune::Bounds;
use crate::sql::{ORDER_COLUMN, literal, quote, stage_name};

/// Column of a merge's fresh rows: how many staged rows had the key. Together they are all that were read.
const COPIES_COLUMN: &str = "copies";

/// What the rows of the staging table do to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apply<'a> {
    /// They are added.
    Append,
    /// They take the place of all rows.
    Replace,
    /// They take the place of rows with the same key.
    Merge {
        key: &'a [usize],
        order_by: Option<usize>,
        /// The lowest and highest staged values of key columns that the target is partitioned or clustered by.
        within: &'a [Bounds],
        /// Rows that say that they are deleted, by this column of the load: they take rows away and are not added.
        removed: Option<(usize, &'a Tombstone)>,
    },
}

/// What becomes of rows that the source has no longer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delete<'a> {
    pub(crate) by: KeySql<'a>,
    /// Rows of the table of keys.
    pub(crate) keys: u64,
    /// What was found when the keys were compared.
    pub(crate) found: KeyComparison,
}

/// Everything that the commit script depends on.
#[derive(Debug)]
pub(crate) struct Commit<'a> {
    /// Quoted path of the target.
    pub(crate) target: &'a str,
    /// Quoted path of the load records.
    pub(crate) loads: &'a str,
    /// Quoted path of the staging table and its rows; `None` for a load without rows.
    pub(crate) staging: Option<(&'a str, u64)>,
    pub(crate) columns: &'a [TargetColumn],
    pub(crate) apply: Apply<'a>,
    pub(crate) delete: Option<Delete<'a>>,
    pub(crate) record: RecordRow<'a>,
    /// A condition for every row of the target, there called `t`, where its queries must name partitions.
    pub(crate) every_partition: Option<&'a str>,
    /// Tells this run's commit from another run's commit of the same load.
    pub(crate) nonce: &'a str,
}

/// The load record as a row.
#[derive(Debug, Clone, Copy)]
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

/// What a commit script did, as the first column of its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Committed,
    /// A load of this id was committed before.
    Repeated,
    /// Another load of the job came first.
    Overtaken,
    /// The staging table does not hold the rows that were written.
    Incomplete,
    /// The target is no longer what keys were compared with.
    Changed,
}

impl State {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "0" => Self::Committed,
            "1" => Self::Repeated,
            "2" => Self::Overtaken,
            "3" => Self::Incomplete,
            "4" => Self::Changed,
            _ => return None,
        })
    }
}

/// Whether the load, and whether it or a later one of its job, has a record.
pub(crate) fn lookup(loads: &str, record: &RecordRow<'_>) -> String {
    format!(
        "SELECT COUNTIF(load_id = {load_id}), COUNT(*) FROM {loads} \
         WHERE (load_id = {load_id} OR (job = {job} AND sequence >= {sequence})) AND {records}",
        load_id = literal(record.load_id),
        job = literal(record.job),
        sequence = record.sequence,
        records = records_of(record.table, record.table_created),
    )
}

/// The script that makes rows and record visible in one transaction. Its result is one row: state, distinct
/// keys, rows inserted, nonce, and rows that were deleted, marked and unmarked, and distinct keys of rows that say that
/// they are deleted.
pub(crate) fn commit_script(commit: &Commit<'_>) -> String {
    let record = &commit.record;
    let records = records_of(record.table, record.table_created);
    // A block may not be empty.
    let mut body = String::from("SET inserted_rows = 0;\n");
    if let Some(delete) = &commit.delete {
        remove(&mut body, delete);
    }
    apply(&mut body, commit);
    if let Some(delete) = &commit.delete {
        mark(&mut body, delete);
    }
    // Counting rows reads nothing.
    let mut complete = commit.staging.map_or_else(String::new, |(staging, rows)| {
        format!("ELSEIF (SELECT COUNT(*) FROM {staging}) != {rows} THEN\nSET state = 3;\n")
    });
    if let Some(Delete { by: KeySql { keys: Some(keys), .. }, keys: rows, .. }) = &commit.delete {
        let _ = write!(complete, "ELSEIF (SELECT COUNT(*) FROM {keys}) != {rows} THEN\nSET state = 3;\n");
    }
    format!(
        "DECLARE state INT64 DEFAULT 0;\n\
         DECLARE distinct_rows INT64 DEFAULT 0;\n\
         DECLARE inserted_rows INT64 DEFAULT 0;\n\
         DECLARE deleted_rows INT64 DEFAULT 0;\n\
         DECLARE marked_rows INT64 DEFAULT 0;\n\
         DECLARE unmarked_rows INT64 DEFAULT 0;\n\
         DECLARE dead_rows INT64 DEFAULT 0;\n\
         BEGIN TRANSACTION;\n\
         IF EXISTS(SELECT 1 FROM {loads} WHERE load_id = {load_id} AND {records}) THEN\n\
         SET state = 1;\n\
         ELSEIF EXISTS(SELECT 1 FROM {loads} WHERE job = {job} AND sequence >= {sequence} AND {records}) THEN\n\
         SET state = 2;\n\
         {complete}\
         END IF;\n\
         IF state = 0 THEN\n\
         {body}\
         END IF;\n\
         IF state > 0 THEN\n\
         ROLLBACK TRANSACTION;\n\
         ELSE\n\
         INSERT INTO {loads} (load_id, target_table, job, job_name, sequence, record, committed_at) \
         VALUES ({load_id}, {table}, {job}, {job_name}, {sequence}, {json}, CURRENT_TIMESTAMP());\n\
         COMMIT TRANSACTION;\n\
         END IF;\n\
         SELECT state, distinct_rows, inserted_rows, {nonce}, deleted_rows, marked_rows, unmarked_rows, dead_rows;\n",
        loads = commit.loads,
        load_id = literal(record.load_id),
        table = literal(record.table),
        job = literal(record.job),
        job_name = literal(record.job_name),
        sequence = record.sequence,
        json = json(commit),
        nonce = literal(commit.nonce),
    )
}

/// The record, with what only the script can count.
fn json(commit: &Commit<'_>) -> String {
    let deletes = commit.delete.is_some() || matches!(commit.apply, Apply::Merge { removed: Some(_), .. });
    match commit.record.json.strip_suffix('}') {
        Some(open) if deletes => format!(
            "CONCAT({}, CAST(deleted_rows AS STRING), ',\"marked\":', CAST(marked_rows AS STRING), '}}')",
            literal(&format!("{open},\"deleted\":")),
        ),
        _ => literal(commit.record.json),
    }
}

/// Takes what is gone away before rows are added, and not another number of rows than was found and agreed to.
fn remove(body: &mut String, delete: &Delete<'_>) {
    let gone = delete.found.gone;
    if gone == 0 || delete.by.deletes.mark().is_some() {
        return;
    }
    let _ = writeln!(
        body,
        "{}\nSET deleted_rows = @@row_count;\n\
         IF IFNULL(deleted_rows, -1) != {gone} THEN\nSET state = 4;\nEND IF;",
        delete.by.remove()
    );
}

/// Marks what is gone, and takes the marks of what is back, after rows were added: those have their marks already.
fn mark(body: &mut String, delete: &Delete<'_>) {
    let KeyComparison { gone, back, .. } = delete.found;
    if let Some(set) = delete.by.set_marks().filter(|_| gone > 0) {
        let _ = writeln!(
            body,
            "{set}\nSET marked_rows = @@row_count;\n\
             IF IFNULL(marked_rows, -1) != {gone} THEN\nSET state = 4;\nEND IF;"
        );
    }
    if let Some(take) = delete.by.take_marks().filter(|_| back > 0) {
        let _ = writeln!(body, "{take}\nSET unmarked_rows = @@row_count;");
    }
}

fn apply(body: &mut String, commit: &Commit<'_>) {
    let target = commit.target;
    if commit.apply == Apply::Replace {
        let _ = match commit.every_partition {
            // Free, unlike DELETE, and allowed in a transaction.
            None => writeln!(body, "TRUNCATE TABLE {target};"),
            Some(every) => writeln!(body, "DELETE FROM {target} AS t WHERE {every};"),
        };
    }
    let Some((staging, rows)) = commit.staging else { return };
    // Another run may drop the staging table between the count and here.
    if let Apply::Merge { key, order_by, within, removed } = commit.apply {
        merge(body, commit, &Merge { staging, key, order_by, within, removed });
        let _ = writeln!(
            body,
            "IF (SELECT IFNULL(SUM({COPIES_COLUMN}), 0) FROM _tl_fresh) != {rows} THEN\nSET state = 3;\nEND IF;"
        );
        return;
    }
    // A count that is not there is not the right one. A replaced table is looked at as well.
    let whole = match (commit.apply, commit.every_partition) {
        (Apply::Replace, None) => format!(" OR (SELECT COUNT(*) FROM {target}) != {rows}"),
        (Apply::Replace, Some(every)) => {
            format!(" OR (SELECT COUNT(*) FROM {target} AS t WHERE {every}) != {rows}")
        }
        _ => String::new(),
    };
    let _ = writeln!(
        body,
        "INSERT INTO {target} ({names}) SELECT {values} FROM {staging} AS s;\n\
         SET inserted_rows = @@row_count;\n\
         IF IFNULL(inserted_rows, -1) != {rows}{whole} THEN\nSET state = 3;\nEND IF;",
        names = names(commit.columns),
        values = values(commit.columns),
    );
}

/// What a merge goes by.
struct Merge<'a> {
    staging: &'a str,
    key: &'a [usize],
    order_by: Option<usize>,
    within: &'a [Bounds],
    removed: Option<(usize, &'a Tombstone)>,
}

/// `UPDATE` and `INSERT` rather than `MERGE`: it counts both kinds of rows without a look at child jobs, at the
/// price of reading the target's key columns a second time. Both run in one transaction on the same
/// de-duplicated rows.
fn merge(body: &mut String, commit: &Commit<'_>, by: &Merge<'_>) {
    let Merge { staging, key, order_by, within, removed } = *by;
    let (target, columns) = (commit.target, commit.columns);
    let staged_key: Vec<String> = key.iter().map(|i| stage_name(*i)).collect();
    // Staged values may have another type than the target's, and with it another order.
    let value = |i: usize, staged: &str| converted(&columns[i], staged);
    let order = order_by.map(|i| format!("{} DESC, ", value(i, &stage_name(i)))).unwrap_or_default();
    let staged = |i: usize| value(i, &format!("s.{}", stage_name(i)));
    let same_key: Vec<String> =
        key.iter().map(|i| format!("t.{} = {}", quote(&columns[*i].name), staged(*i))).collect();
    // Only constants prune partitions; the values of a join do not.
    let bounds = |Bounds { column, low, high }: &Bounds| {
        format!("t.{} BETWEEN {low} AND {high}", quote(&columns[*column].name))
    };
    let mut pruned: Vec<String> = within.iter().map(bounds).collect();
    pruned.extend(commit.every_partition.map(str::to_owned));
    let matches = [same_key.as_slice(), &pruned].concat().join(" AND ");
    let sets: Vec<String> = columns
        .iter()
        .enumerate()
        .filter(|(i, _)| !key.contains(i))
        .map(|(i, column)| format!("{} = {}", quote(&column.name), staged(i)))
        .collect();
    let _ = writeln!(
        body,
        "CREATE TEMP TABLE _tl_fresh AS \
         SELECT *, COUNT(*) OVER (PARTITION BY {keys}) AS {COPIES_COLUMN} FROM {staging} \
         QUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {order}{ORDER_COLUMN} DESC) = 1;\n\
         SET distinct_rows = (SELECT COUNT(*) FROM _tl_fresh);",
        keys = staged_key.join(", "),
    );
    let mut alive = String::new();
    if let Some((column, tombstone)) = removed {
        let dead = dead(tombstone, &staged(column));
        // What is known of `t` alone prunes only outside of the subquery.
        pruned.push(format!(
            "EXISTS (SELECT 1 FROM _tl_fresh AS s WHERE {} AND {dead})",
            same_key.join(" AND ")
        ));
        let _ = writeln!(
            body,
            "SET dead_rows = (SELECT COUNT(*) FROM _tl_fresh AS s WHERE {dead});\n\
             DELETE FROM {target} AS t WHERE {};\n\
             SET deleted_rows = deleted_rows + @@row_count;",
            pruned.join(" AND ")
        );
        alive = format!(" AND NOT ({dead})");
    }
    if !sets.is_empty() {
        let _ = writeln!(
            body,
            "UPDATE {target} AS t SET {} FROM _tl_fresh AS s WHERE {matches}{alive};",
            sets.join(", ")
        );
    }
    let _ = writeln!(
        body,
        "INSERT INTO {target} ({names}) SELECT {values} FROM _tl_fresh AS s \
         WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {matches}){alive};\n\
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
    use transload_core::schema::{BigQueryType, DeletedWhen, Mode};

    fn script(staging: Option<(&str, u64)>, apply: Apply<'_>) -> String {
        let column = |name: &str, data_type, mode| TargetColumn {
            name: name.to_owned(),
            data_type,
            mode,
            description: None,
        };
        let columns = [
            column("id", BigQueryType::Int64, Mode::Required),
            column("day", BigQueryType::Date, Mode::Required),
            column("v", BigQueryType::String, Mode::Nullable),
        ];
        let record = RecordRow {
            load_id: "l'1",
            table: "t",
            table_created: 5,
            job: "j",
            job_name: "n",
            sequence: 3,
            json: "{}",
        };
        commit_script(&Commit {
            target: "`p`.`d`.`t`",
            loads: "`p`.`d`.`l`",
            staging,
            columns: &columns,
            apply,
            delete: None,
            record,
            every_partition: None,
            nonce: "n1",
        })
    }

    #[test]
    fn an_empty_load_needs_no_staging() {
        assert!(script(None, Apply::Replace).contains("TRUNCATE TABLE `p`.`d`.`t`;"));
        let append = script(None, Apply::Append);
        assert!(!append.contains("`p`.`d`.`t`") && append.contains("load_id = 'l\\'1'"), "{append}");
    }

    #[test]
    fn staged_rows_are_counted_before_anything_is_changed() {
        let append = script(Some(("`s`", 7)), Apply::Append);
        let counted = append.find("(SELECT COUNT(*) FROM `s`) != 7").unwrap();
        assert!(counted < append.find("INSERT INTO `p`.`d`.`t`").unwrap(), "{append}");
    }

    #[test]
    fn what_was_read_is_compared_with_what_was_written() {
        let append = script(Some(("`s`", 7)), Apply::Append);
        assert!(append.contains("IF IFNULL(inserted_rows, -1) != 7 THEN\nSET state = 3;"), "{append}");
        let merge = script(
            Some(("`s`", 7)),
            Apply::Merge { key: &[0], order_by: Some(1), within: &[], removed: None },
        );
        let copies = "COUNT(*) OVER (PARTITION BY c0) AS copies FROM `s`";
        let compared = "IF (SELECT IFNULL(SUM(copies), 0) FROM _tl_fresh) != 7 THEN\nSET state = 3;";
        assert!(merge.contains(copies) && merge.contains(compared), "{merge}");
    }

    #[test]
    fn what_prunes_stands_outside_of_the_subquery_of_a_delete() {
        let tombstone = Tombstone { column: "v".to_owned(), when: DeletedWhen::NotNull };
        let bounds = |low: &str, high: &str| Bounds { column: 1, low: low.to_owned(), high: high.to_owned() };
        let within = [bounds("DATE '2026-01-01'", "DATE '2026-01-02'")];
        let removed = Some((2, &tombstone));
        let merge = Apply::Merge { key: &[0, 1], order_by: None, within: &within, removed };
        let script = script(Some(("`s`", 1)), merge);
        let delete = "DELETE FROM `p`.`d`.`t` AS t WHERE t.`day` BETWEEN DATE '2026-01-01' AND DATE '2026-01-02' AND \
                      EXISTS (SELECT 1 FROM _tl_fresh AS s WHERE t.`id` = s.c0 AND t.`day` = s.c1 AND s.c2 IS NOT NULL);";
        assert!(script.contains(delete), "{script}");
    }

    #[test]
    fn both_halves_of_a_merge_are_pruned() {
        let merge = |within| {
            script(Some(("`s`", 1)), Apply::Merge { key: &[0, 1], order_by: None, within, removed: None })
        };
        assert!(!merge(&[]).contains("BETWEEN"));
        let (low, high) = ("DATE '2026-01-01'".to_owned(), "DATE '2026-01-02'".to_owned());
        let pruned = merge(&[Bounds { column: 1, low, high }]);
        let range = "t.`day` BETWEEN DATE '2026-01-01' AND DATE '2026-01-02'";
        assert_eq!(pruned.matches(range).count(), 2, "{pruned}");
    }
}
