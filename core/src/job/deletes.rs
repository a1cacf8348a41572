//! What a `merge` does about rows that the source deleted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::{LoadDocument, StrategyName, invalid, refuse};
use super::{EtlJob, JobDocument};
use crate::error::Result;
use crate::schema::{AddedColumn, AddedColumns, AddedValue, DeletedWhen};

/// The column that marks deleted rows, unless the job names another one.
const MARK_COLUMN: &str = "_deleted_at";

/// What becomes of rows of the target that the source has no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeletePolicy {
    /// They are removed.
    Remove,
    /// They stay, and `load.mark_column` has the time at which a run found them deleted. The mark goes when the key
    /// comes back.
    Mark,
}

/// What becomes of rows that say of themselves that they are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SoftDeletePolicy {
    /// They are loaded like others, and counted.
    Keep,
    /// They are not loaded, and the row of the target with their key is removed.
    Remove,
    /// They are loaded, and `load.mark_column` has the time of the load.
    Mark,
}

/// Rows that are gone at the source are found by their keys: every run reads the key columns of the whole source table,
/// in the snapshot of its rows, and compares them with those of the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectDeletesDocument {
    /// `remove` or `mark`.
    pub policy: DeletePolicy,
    /// Stop, and change nothing, when more than this share (0 to 1) of the target's rows would go. Default: 0.5 for a
    /// target of 1,000 rows or more, and no limit for a smaller one. 1 switches the check off; a source without any
    /// row is refused all the same unless `load.allow_empty` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ratio: Option<f64>,
}

/// The source keeps deleted rows, and a column says which they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SoftDeleteDocument {
    /// The column, by its name at the source. It must be loaded.
    pub column: String,
    /// What it says of a deleted row: `not_null` (default) any value, `true` the value true of a BOOL.
    #[serde(default)]
    pub deleted_when: DeletedWhen,
    /// `keep`, `remove` or `mark`.
    pub policy: SoftDeletePolicy,
}

impl LoadDocument {
    /// What only a merge gives a meaning.
    pub(super) fn refuse_deletes(&self) -> Result<()> {
        refuse(self.detect_deletes.is_some(), "detect_deletes")?;
        refuse(self.soft_delete.is_some(), "soft_delete")?;
        refuse(self.mark_column.is_some(), "mark_column")
    }

    /// The column that marks deleted rows, if the job marks any.
    fn mark_column(&self) -> Option<&str> {
        let detects = self.detect_deletes.as_ref().is_some_and(|d| d.policy == DeletePolicy::Mark);
        let told = self.soft_delete.as_ref().is_some_and(|s| s.policy == SoftDeletePolicy::Mark);
        (detects || told).then(|| self.mark_column.as_deref().unwrap_or(MARK_COLUMN))
    }
}

impl JobDocument {
    /// Refuses what has no meaning. Other strategies than `merge` have refused all of these fields.
    pub(super) fn check_deletes(&self) -> Result<()> {
        let load = &self.load;
        if let Some(detect) = &load.detect_deletes {
            if detect.max_ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
                return Err(invalid("`load.detect_deletes.max_ratio` is not a number from 0 to 1")
                    .hint("0.2 stops a run that finds more than 20 % of the target's rows deleted"));
            }
            if self.row_limit.is_some() {
                return Err(invalid("`row_limit` and `load.detect_deletes` are both given").hint(
                    "a trial reads some rows, and tells nothing of the others: leave one of the two out",
                ));
            }
        } else if load.allow_empty && load.strategy == StrategyName::Merge {
            return Err(invalid("`load.allow_empty` of a `merge` belongs to `load.detect_deletes`")
                .hint("drop the field: a merge without `detect_deletes` takes no row away"));
        }
        if load.soft_delete.as_ref().is_some_and(|soft| soft.column.trim().is_empty()) {
            return Err(invalid("`load.soft_delete.column` is empty")
                .hint("name the column that says which rows are deleted"));
        }
        if load.soft_delete.as_ref().is_some_and(|soft| load.key.iter().flatten().any(|k| *k == soft.column))
        {
            return Err(invalid("`load.soft_delete.column` is a column of the key")
                .hint("name the column that says which rows are deleted"));
        }
        if load.mark_column.is_some() && load.mark_column().is_none() {
            return Err(invalid("`load.mark_column` is named, but no row is marked").hint(
                "set the `policy` of `load.detect_deletes` or `load.soft_delete` to \"mark\", or leave `mark_column` out",
            ));
        }
        let add = &self.mapping.add;
        if let Some((name, _)) = add.iter().find(|(_, column)| column.value == AddedValue::DeletedAt) {
            return Err(invalid(format!("`mapping.add.{name}` cannot be `deleted_at`"))
                .hint("mark rows by `load.detect_deletes` or `load.soft_delete`; `load.mark_column` names the column"));
        }
        let clash = |mark: &str| add.keys().any(|name| name.eq_ignore_ascii_case(mark));
        if let Some(mark) = load.mark_column().filter(|mark| clash(mark)) {
            return Err(invalid(format!(
                "`mapping.add.{mark}` has the name of the column that marks deleted rows"
            ))
            .hint("name another column in `load.mark_column`"));
        }
        Ok(())
    }
}

impl EtlJob {
    /// How rows are found that the source has no longer, if they are looked for.
    #[must_use]
    pub fn detect_deletes(&self) -> Option<&DetectDeletesDocument> {
        self.document.load.detect_deletes.as_ref()
    }

    /// How rows say that they are deleted, if they do.
    #[must_use]
    pub fn soft_delete(&self) -> Option<&SoftDeleteDocument> {
        self.document.load.soft_delete.as_ref()
    }

    /// The column of the target that marks deleted rows, if the job marks any.
    #[must_use]
    pub fn mark_column(&self) -> Option<&str> {
        self.document.load.mark_column()
    }

    /// Whether a source without rows may take those of the target with it.
    #[must_use]
    pub fn allows_empty(&self) -> bool {
        self.document.load.allow_empty
    }

    /// Columns that the load adds, by their name at the destination: those that the job names, and the one that marks
    /// deleted rows.
    #[must_use]
    pub fn added(&self) -> AddedColumns {
        let mut added = self.document.mapping.add.clone();
        if let Some(mark) = self.mark_column() {
            let description = Some("when a load found the row deleted at the source; NULL while it is there");
            added.insert(
                mark.to_owned(),
                AddedColumn {
                    value: AddedValue::DeletedAt,
                    data_type: None,
                    description: description.map(str::to_owned),
                },
            );
        }
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use serde_json::{Value, json};

    fn job(load: Value, rest: Value) -> Result<EtlJob> {
        let mut document = json!({
            "name": "j",
            "source": {"connection": "a", "table": "orders"},
            "destination": {"connection": "b", "dataset": "raw", "table": "orders"},
            "load": {"strategy": "merge", "key": ["id"], "cursor": "at"},
        });
        let merge = |into: &mut Value, from: Value| {
            for (name, value) in from.as_object().unwrap() {
                into[name] = value.clone();
            }
        };
        merge(&mut document["load"], load);
        merge(&mut document, rest);
        EtlJob::from_json(document)
    }

    #[test]
    fn the_mark_column_is_added_only_if_rows_are_marked() {
        let plain = job(json!({"detect_deletes": {"policy": "remove"}}), json!({})).unwrap();
        assert_eq!((plain.mark_column(), plain.added().len()), (None, 0));
        let marks = job(json!({"detect_deletes": {"policy": "mark", "max_ratio": 1}}), json!({})).unwrap();
        assert_eq!(marks.mark_column(), Some("_deleted_at"));
        assert_eq!(marks.added()["_deleted_at"].value, AddedValue::DeletedAt);
        assert_eq!(EtlJob::from_json(marks.to_json().unwrap()).unwrap(), marks);
        let told = json!({"soft_delete": {"column": "gone", "policy": "mark"}, "mark_column": "gone_at"});
        let told = job(told, json!({})).unwrap();
        assert_eq!(
            (told.mark_column(), told.soft_delete().unwrap().deleted_when),
            (Some("gone_at"), DeletedWhen::NotNull)
        );
        assert_eq!(plain.identity(), marks.identity(), "deletes may be looked for later");
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let detect = || json!({"detect_deletes": {"policy": "remove"}});
        let soft = |column: &str| json!({"soft_delete": {"column": column, "policy": "remove"}});
        let none = || json!({});
        for (load, rest, says) in [
            (json!({"detect_deletes": {}}), none(), "policy"),
            (json!({"detect_deletes": {"policy": "drop"}}), none(), "remove"),
            (json!({"detect_deletes": {"policy": "remove", "max_ratio": 1.5}}), none(), "max_ratio"),
            (detect(), json!({"row_limit": 5}), "`row_limit`"),
            (json!({"allow_empty": true}), none(), "`load.allow_empty`"),
            (json!({"mark_column": "x"}), none(), "no row is marked"),
            (json!({"mark_column": "x", "detect_deletes": {"policy": "remove"}}), none(), "no row is marked"),
            (soft(" "), none(), "is empty"),
            (soft("id"), none(), "of the key"),
            (
                soft("gone"),
                json!({"source": {"connection": "a", "table": "t", "columns": ["id", "at"]}}),
                "`gone`",
            ),
            (soft("gone"), json!({"mapping": {"overrides": {"gone": {"drop": true}}}}), "`gone`"),
            (
                soft("gone"),
                json!({"mapping": {"overrides": {"gone": {"on_reject": "null"}}}}),
                "cannot become NULL",
            ),
            (detect(), json!({"mapping": {"add": {"d": {"value": "deleted_at"}}}}), "cannot be `deleted_at`"),
            (
                json!({"detect_deletes": {"policy": "mark"}}),
                json!({"mapping": {"add": {"_Deleted_at": {"value": "loaded_at"}}}}),
                "marks deleted rows",
            ),
            (
                detect(),
                json!({"load": {"strategy": "append", "cursor": "at", "detect_deletes": {"policy": "remove"}}}),
                "`load.detect_deletes` does not belong",
            ),
            (
                detect(),
                json!({"load": {"strategy": "replace", "soft_delete": {"column": "a", "policy": "keep"}}}),
                "`load.soft_delete` does not belong",
            ),
        ] {
            let error = job(load.clone(), rest.clone()).unwrap_err();
            assert!(error.to_string().contains(says), "{load} {rest}: {error}");
            assert_eq!(error.kind(), ErrorKind::Config);
        }
    }
}
