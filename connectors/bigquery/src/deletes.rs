//! Rows that the source deleted: its keys in a staging table of their own, compared with the target.

use std::sync::Mutex;

use transload_core::connector::{Deletes, KeyComparison};
use transload_core::schema::{DeletedWhen, TargetColumn, Tombstone};
use transload_core::{Error, Result};

use crate::convert::converted;
use crate::error::may_pass;
use crate::jobs::{ATTEMPTS, Row, failure};
use crate::load::{Load, Totals, safe_id};
use crate::sql::{quote, stage_name};
use crate::stage::Stage;

/// The keys that the source has.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) stage: Stage,
    /// What they say, once they were compared.
    pub(crate) compared: Mutex<Option<Compared>>,
}

/// What the keys say of the target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compared {
    pub(crate) keys: Totals,
    pub(crate) found: KeyComparison,
}

/// The parts of statements that find rows by the keys of the source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeySql<'a> {
    /// Quoted path of the target, and a condition for every row of it, there called `t`.
    pub(crate) target: &'a str,
    pub(crate) every_partition: Option<&'a str>,
    /// Quoted path of the table of keys; `None` where the source has no key.
    pub(crate) keys: Option<&'a str>,
    /// The key columns of the target.
    pub(crate) columns: &'a [TargetColumn],
    pub(crate) deletes: &'a Deletes,
}

/// Whether a row says that it is deleted; never NULL.
pub(crate) fn dead(tombstone: &Tombstone, column: &str) -> String {
    match tombstone.when {
        DeletedWhen::True => format!("IFNULL({column}, FALSE)"),
        _ => format!("{column} IS NOT NULL"),
    }
}

impl KeySql<'_> {
    /// Rows with a key, of the partitions that must be named. The table's columns may be NULLABLE where those of the
    /// load are REQUIRED.
    fn rows(&self) -> String {
        let mut conditions: Vec<String> =
            self.columns.iter().map(|column| format!("t.{} IS NOT NULL", quote(&column.name))).collect();
        conditions.extend(self.every_partition.map(|every| format!("({every})")));
        conditions.join(" AND ")
    }

    fn mark(&self) -> Option<String> {
        self.deletes.mark().map(|(column, _)| format!("t.{}", quote(column)))
    }

    fn unmarked(&self) -> String {
        self.mark().map_or_else(|| "TRUE".to_owned(), |mark| format!("{mark} IS NULL"))
    }

    /// Marked rows that do not say of themselves that they are deleted.
    fn may_come_back(&self) -> String {
        let Some(mark) = self.mark() else { return "FALSE".to_owned() };
        match &self.deletes.tombstone {
            Some(tombstone) => {
                let dead = dead(tombstone, &format!("t.{}", quote(&tombstone.column)));
                format!("{mark} IS NOT NULL AND NOT ({dead})")
            }
            None => format!("{mark} IS NOT NULL"),
        }
    }

    /// Whether the source has the key of a row.
    fn there(&self) -> String {
        let Some(keys) = self.keys else { return "FALSE".to_owned() };
        let equal = self.columns.iter().enumerate().map(|(i, column)| {
            format!("t.{} = {}", quote(&column.name), converted(column, &format!("s.{}", stage_name(i))))
        });
        format!("EXISTS (SELECT 1 FROM {keys} AS s WHERE {})", equal.collect::<Vec<_>>().join(" AND "))
    }

    /// Counts the rows that are not marked, those of them that are gone, and the marked ones that are back. A join, since
    /// not every subquery with a reference to the row outside of it may be counted over.
    pub(crate) fn compare(&self) -> String {
        let (unmarked, back) = (self.unmarked(), self.may_come_back());
        let (join, there) = match self.keys {
            None => (String::new(), "FALSE".to_owned()),
            Some(keys) => {
                let values = self.columns.iter().enumerate();
                let values =
                    values.map(|(i, column)| format!("{} AS k{i}", converted(column, &stage_name(i))));
                let equal = self.columns.iter().enumerate();
                let equal = equal.map(|(i, column)| format!("t.{} = s.k{i}", quote(&column.name)));
                let join = format!(
                    " LEFT JOIN (SELECT DISTINCT {} FROM {keys}) AS s ON {}",
                    values.collect::<Vec<_>>().join(", "),
                    equal.collect::<Vec<_>>().join(" AND "),
                );
                (join, "s.k0 IS NOT NULL".to_owned())
            }
        };
        format!(
            "SELECT COUNTIF({unmarked}), COUNTIF({unmarked} AND NOT ({there})), COUNTIF({back} AND {there}) \
             FROM {target} AS t{join} WHERE {rows}",
            target = self.target,
            rows = self.rows(),
        )
    }

    /// Removes the rows that are gone.
    pub(crate) fn remove(&self) -> String {
        format!(
            "DELETE FROM {target} AS t WHERE {rows} AND NOT {there};",
            target = self.target,
            rows = self.rows(),
            there = self.there(),
        )
    }

    /// Marks the rows that are gone; nothing where rows are not marked.
    pub(crate) fn set_marks(&self) -> Option<String> {
        let (column, at) = self.deletes.mark()?;
        Some(format!(
            "UPDATE {target} AS t SET {column} = TIMESTAMP_MICROS({at}) WHERE {unmarked} AND {rows} AND NOT {there};",
            target = self.target,
            column = quote(column),
            at = at.as_microsecond(),
            unmarked = self.unmarked(),
            rows = self.rows(),
            there = self.there(),
        ))
    }

    /// Takes the marks of rows that are back.
    pub(crate) fn take_marks(&self) -> Option<String> {
        let (column, _) = self.deletes.mark()?;
        Some(format!(
            "UPDATE {target} AS t SET {column} = NULL WHERE {back} AND {rows} AND {there};",
            target = self.target,
            column = quote(column),
            back = self.may_come_back(),
            rows = self.rows(),
            there = self.there(),
        ))
    }
}

impl Keys {
    /// Stages the last keys and compares them.
    pub(crate) async fn compare(&self, sql: impl FnOnce(Option<&str>) -> String) -> Result<KeyComparison> {
        let keys = self.stage.rest().await?;
        let path = self.stage.load.staging_path();
        let sql = sql((keys.rows > 0).then_some(path.as_str()));
        let (rows, bytes_billed) = Box::pin(query(&self.stage.load, "compare", &sql)).await?;
        let count =
            |index: usize| rows.first().and_then(|row| row.get(index)?.as_deref()?.parse::<u64>().ok());
        let (Some(rows), Some(gone), Some(back)) = (count(0), count(1), count(2)) else {
            return Err(Error::internal("a comparison of keys gave no counts")
                .with("target", &self.stage.load.target));
        };
        let found = KeyComparison { rows, gone, back, bytes_billed };
        let compared = Compared { keys, found };
        *self.compared.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(compared);
        Ok(found)
    }
}

/// Runs a query as a job, which tells what it costs.
async fn query(load: &Load, name: &str, sql: &str) -> Result<(Vec<Row>, Option<u64>)> {
    let (client, location) = (&load.client, &load.location);
    let mut tries = client.retry.begin();
    let mut attempt = 1;
    loop {
        let id = format!("tl_{}_{}_{name}_a{attempt}", safe_id(&load.load_id), load.nonce);
        client.submit_query(&id, location, sql).await?;
        let done = client.wait(&id, location).await?;
        let Some(error) = failure(&done, "cannot compare keys", &id) else {
            let statistics = done.statistics.as_ref().and_then(|statistics| statistics.query.as_ref());
            let billed = statistics.and_then(|query| query.total_bytes_billed);
            let billed = billed.and_then(|bytes| u64::try_from(bytes).ok());
            return Ok((client.rows(&id, location).await?, billed));
        };
        let error = load.explained(error);
        if !may_pass(&error) || attempt >= ATTEMPTS {
            return Err(error);
        }
        tracing::warn!(job = id, %error, "a query failed and runs again");
        tries.again(error).await?;
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_core::connector::Missing;
    use transload_core::schema::{BigQueryType, Mode};

    fn column(name: &str, data_type: BigQueryType, mode: Mode) -> TargetColumn {
        TargetColumn { name: name.to_owned(), data_type, mode, description: None }
    }

    #[test]
    fn statements_name_key_mark_and_partitions() {
        let columns = [
            column("id", BigQueryType::Int64, Mode::Required),
            column("big", BigQueryType::BigNumeric(None), Mode::Nullable),
        ];
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let tombstone = Some(Tombstone { column: "gone".to_owned(), when: DeletedWhen::True });
        let missing = Some(Missing::Mark { column: "_deleted_at".to_owned(), at });
        let deletes = Deletes { missing, tombstone, remove_tombstones: false };
        let sql = KeySql {
            target: "`t`",
            every_partition: Some("t.`day` IS NOT NULL OR t.`day` IS NULL"),
            keys: Some("`k`"),
            columns: &columns,
            deletes: &deletes,
        };
        let there =
            "EXISTS (SELECT 1 FROM `k` AS s WHERE t.`id` = s.c0 AND t.`big` = CAST(s.c1 AS BIGNUMERIC))";
        let rows = "t.`id` IS NOT NULL AND t.`big` IS NOT NULL AND (t.`day` IS NOT NULL OR t.`day` IS NULL)";
        assert_eq!(sql.remove(), format!("DELETE FROM `t` AS t WHERE {rows} AND NOT {there};"));
        let marks = sql.set_marks().unwrap();
        assert!(marks.contains("SET `_deleted_at` = TIMESTAMP_MICROS(1767323045000000)"), "{marks}");
        assert!(marks.contains(&format!("t.`_deleted_at` IS NULL AND {rows} AND NOT {there}")), "{marks}");
        let back = sql.take_marks().unwrap();
        assert!(back.contains("t.`_deleted_at` IS NOT NULL AND NOT (IFNULL(t.`gone`, FALSE))"), "{back}");
        assert!(sql.compare().contains("SELECT DISTINCT c0 AS k0, CAST(c1 AS BIGNUMERIC) AS k1 FROM `k`"));
        let none = KeySql { keys: None, every_partition: None, columns: &columns[..1], ..sql };
        assert_eq!(none.remove(), "DELETE FROM `t` AS t WHERE t.`id` IS NOT NULL AND NOT FALSE;");
        assert!(!none.compare().contains("JOIN"), "{}", none.compare());
        let removes = Deletes { missing: Some(Missing::Remove), ..Deletes::default() };
        assert_eq!(KeySql { deletes: &removes, ..sql }.set_marks(), None);
    }
}
