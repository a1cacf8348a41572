//! How an existing table compares with the wanted one, column by column, for people and control planes.

use serde::Serialize;
use serde_json::{Value, json};

use super::ddl;
use super::evolve::{ColumnChange, Evolvable, LayoutChange, Widening, column_changes, widening};
use super::target::{TargetColumn, TargetRef, TargetTable};
use crate::error::Error;

/// How one thing of the existing table compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fit {
    /// It is as wanted, or holds everything that comes.
    Matches,
    /// The table does not exist: it is made with it.
    New,
    /// It differs and can be changed in place.
    InPlace,
    /// It differs and cannot be changed in place.
    Impossible,
    /// Only the existing table has it. It stays as it is; new rows get NULL.
    NotLoaded,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ColumnCheck {
    /// Its name at the destination.
    pub column: String,
    /// How it compares.
    pub fit: Fit,
    /// Type and mode that it has.
    pub existing: Option<String>,
    /// Type and mode that the mapping wants.
    pub wanted: Option<String>,
    /// What must change, or why it cannot.
    pub reason: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Statements that make the changes, where DDL can.
    pub ddl: Vec<String>,
}

/// One thing of the table's layout or descriptions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OptionCheck {
    /// The field of a job's `destination` that it comes from.
    pub option: String,
    /// How it compares: [`Fit::InPlace`] or [`Fit::Impossible`].
    pub fit: Fit,
    /// What must change, or why it cannot.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
    /// The statement that makes the change, where DDL can.
    pub ddl: Option<String>,
}

/// How an existing table compares with the wanted one; what differs in nothing is not listed among the options.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableCheck {
    /// The table.
    pub target: TargetRef,
    /// Whether it exists.
    pub exists: bool,
    /// Its columns: the wanted ones in their order, then those that are only there.
    pub columns: Vec<ColumnCheck>,
    /// Differences of layout and descriptions.
    pub options: Vec<OptionCheck>,
    /// Why the wanted table could not be made at all: limits and names, as texts with their hints.
    pub problems: Vec<String>,
}

impl TableCheck {
    /// Whether rows can be loaded without any change.
    #[must_use]
    pub fn fits(&self) -> bool {
        let columns = self.columns.iter().map(|column| column.fit);
        self.exists
            && self.problems.is_empty()
            && columns
                .chain(self.options.iter().map(|option| option.fit))
                .all(|fit| matches!(fit, Fit::Matches | Fit::NotLoaded))
    }

    /// Whether the table can be made, or changed in place, so that it is as wanted.
    #[must_use]
    pub fn in_place(&self) -> bool {
        let columns = self.columns.iter().map(|column| column.fit);
        self.problems.is_empty()
            && columns.chain(self.options.iter().map(|option| option.fit)).all(|fit| fit != Fit::Impossible)
    }

    /// Adds a problem of the wanted table itself.
    pub fn add_problem(&mut self, problem: &Error) {
        let hint = problem.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
        self.problems.push(format!("{}{hint}", problem.message()));
    }

    /// Marks a column as impossible to load into, because it is of a type that has no name here.
    pub fn refuse_column(&mut self, name: &str, existing: &str) {
        for check in self.columns.iter_mut().filter(|check| check.column.eq_ignore_ascii_case(name)) {
            let wanted = check.wanted.clone().unwrap_or_default();
            check.fit = Fit::Impossible;
            check.reason = Some(format!("it is {existing} and the job brings {wanted}"));
            check.hint = Some("load it under another name, or drop it".to_owned());
            check.existing = Some(existing.to_owned());
            check.ddl.clear();
        }
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "target": self.target.to_string(),
            "exists": self.exists,
            "fits": self.fits(),
            "in_place": self.in_place(),
            "columns": self.columns,
            "options": self.options,
            "problems": self.problems,
        })
    }
}

impl TargetTable {
    /// Compares the table that is there, if one is, with this one. `can` says what the destination can change.
    #[must_use]
    pub fn check_against(&self, existing: Option<&Self>, can: Evolvable) -> TableCheck {
        let mut check = TableCheck {
            target: self.target.clone(),
            exists: existing.is_some(),
            columns: Vec::new(),
            options: Vec::new(),
            problems: Vec::new(),
        };
        let Some(existing) = existing else {
            check.columns = self.columns.iter().map(|wanted| plain(Fit::New, None, Some(wanted))).collect();
            return check;
        };
        check.columns = self.columns.iter().map(|wanted| self.column_check(wanted, existing, can)).collect();
        for there in existing.columns.iter().filter(|there| self.column(&there.name).is_none()) {
            let mut column = plain(Fit::NotLoaded, Some(there), None);
            if there.mode == super::bigquery::Mode::Required {
                let change = ColumnChange::Relax(there.name.clone());
                column.fit = Fit::InPlace;
                column.reason = Some(change.text());
                column.ddl.extend(ddl::change_column(&self.target, &change));
            }
            check.columns.push(column);
        }
        check.options =
            self.layout_changes(existing).iter().map(|change| self.option_check(change)).collect();
        check
    }

    fn column_check(&self, wanted: &TargetColumn, existing: &Self, can: Evolvable) -> ColumnCheck {
        let changes = column_changes(wanted, existing, can);
        let fit = match changes.as_slice() {
            [] => Fit::Matches,
            some if some.iter().any(|change| matches!(change, ColumnChange::Impossible(..))) => {
                Fit::Impossible
            }
            _ => Fit::InPlace,
        };
        let there = existing.column(&wanted.name);
        let mut check = plain(fit, there, Some(wanted));
        if !changes.is_empty() {
            check.reason = Some(changes.iter().map(ColumnChange::text).collect::<Vec<_>>().join("; "));
            check.ddl =
                changes.iter().filter_map(|change| ddl::change_column(&self.target, change)).collect();
        }
        let rounds = |change: &ColumnChange| match change {
            ColumnChange::Widen { from, to, .. } => widening(from, to) == Widening::Rounds,
            _ => false,
        };
        if changes.iter().any(rounds) {
            check.hint = Some("FLOAT64 rounds numbers of more than 53 bits: a run changes the type only if no value that is there would change".to_owned());
        }
        if let (Fit::Impossible, Some(there)) = (fit, there) {
            check.hint = Some(format!(
                "override the type of this column to {} if its values fit, give the column another name, or \
                 load into a new table",
                there.data_type
            ));
        }
        check
    }

    fn option_check(&self, change: &LayoutChange) -> OptionCheck {
        let (option, fit, hint) = match change {
            LayoutChange::Clustering(_) => {
                ("cluster_by", Fit::InPlace, Some("rows that are there are not sorted again".to_owned()))
            }
            LayoutChange::RequirePartitionFilter(_) => ("require_partition_filter", Fit::InPlace, None),
            LayoutChange::Label(..) => ("labels", Fit::InPlace, None),
            LayoutChange::Describe(_) | LayoutChange::DescribeColumn(..) => {
                ("description", Fit::InPlace, None)
            }
            LayoutChange::Impossible(option, _) => (
                *option,
                Fit::Impossible,
                Some(format!(
                    "leave `{option}` out to load into the table as it is, or load into a new table"
                )),
            ),
        };
        OptionCheck {
            option: option.to_owned(),
            fit,
            reason: change.text(),
            hint,
            ddl: ddl::change_layout(&self.target, change),
        }
    }
}

fn plain(fit: Fit, existing: Option<&TargetColumn>, wanted: Option<&TargetColumn>) -> ColumnCheck {
    let text = |column: &TargetColumn| format!("{} {}", column.data_type, column.mode.as_str());
    ColumnCheck {
        column: existing.or(wanted).map(|column| column.name.clone()).unwrap_or_default(),
        fit,
        existing: existing.map(text),
        wanted: wanted.map(text),
        reason: None,
        hint: None,
        ddl: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::OnSchemaChange;
    use crate::error::ErrorKind;
    use crate::schema::{LayoutDocument, Mode, TableLayout};

    fn table(columns: &str) -> TargetTable {
        let column = |text: &str| {
            let (name, rest) = text.trim().split_once(' ').unwrap();
            let (data_type, mode) = match rest.rsplit_once(' ') {
                Some((data_type, "REQUIRED")) => (data_type, Mode::Required),
                Some((data_type, "REPEATED")) => (data_type, Mode::Repeated),
                _ => (rest, Mode::Nullable),
            };
            TargetColumn {
                name: name.to_owned(),
                data_type: data_type.parse().unwrap(),
                mode,
                description: None,
            }
        };
        TargetTable::new(TargetRef::new("d", "t"), columns.split(';').map(column).collect())
    }

    fn layout(value: Value) -> TableLayout {
        serde_json::from_value::<LayoutDocument>(value).unwrap().resolve(None).unwrap()
    }

    /// Fit, reason and statements of the first column.
    fn first(there: &str, wanted: &str) -> (Fit, String, Vec<String>) {
        let check = table(wanted).check_against(Some(&table(there)), Evolvable::ALL);
        let column = &check.columns[0];
        (column.fit, column.reason.clone().unwrap_or_default(), column.ddl.clone())
    }

    #[test]
    fn exactly_the_widenings_that_bigquery_has() {
        let types = [
            "INT64",
            "FLOAT64",
            "NUMERIC",
            "NUMERIC(10,2)",
            "BIGNUMERIC",
            "STRING",
            "BYTES",
            "BOOL",
            "DATE",
            "DATETIME",
            "TIME",
            "TIMESTAMP",
            "JSON",
            "GEOGRAPHY",
        ];
        // (there, wanted) -> the type it becomes.
        let widened = [
            ("INT64", "NUMERIC", "NUMERIC"),
            ("INT64", "NUMERIC(10,2)", "NUMERIC(21,2)"),
            ("INT64", "BIGNUMERIC", "BIGNUMERIC"),
            ("INT64", "FLOAT64", "FLOAT64"),
            ("NUMERIC", "BIGNUMERIC", "BIGNUMERIC"),
            ("NUMERIC", "FLOAT64", "FLOAT64"),
            ("NUMERIC(10,2)", "NUMERIC", "NUMERIC"),
            ("NUMERIC(10,2)", "BIGNUMERIC", "BIGNUMERIC"),
            ("NUMERIC(10,2)", "FLOAT64", "FLOAT64"),
        ];
        for there in types {
            for wanted in types {
                let (fit, reason, ddl) = first(&format!("x {there}"), &format!("x {wanted}"));
                let to = widened.iter().find(|(a, b, _)| (*a, *b) == (there, wanted)).map(|(_, _, to)| *to);
                let same = there == wanted || (there, wanted) == ("NUMERIC", "NUMERIC(10,2)");
                match to {
                    Some(to) => {
                        assert_eq!(fit, Fit::InPlace, "{there} -> {wanted}: {reason}");
                        assert_eq!(
                            ddl,
                            [format!("ALTER TABLE `d`.`t` ALTER COLUMN `x` SET DATA TYPE {to};")]
                        );
                    }
                    None if same => assert_eq!(fit, Fit::Matches, "{there} -> {wanted}"),
                    None => {
                        assert_eq!((fit, ddl.len()), (Fit::Impossible, 0), "{there} -> {wanted}");
                        assert!(reason.contains(there), "{reason}");
                    }
                }
            }
        }
    }

    #[test]
    fn decimals_grow_so_that_old_and_new_values_fit() {
        for (there, wanted, to) in [
            ("NUMERIC(12,2)", "NUMERIC(12,4)", "NUMERIC(14,4)"),
            ("NUMERIC(30,2)", "NUMERIC(12,9)", "NUMERIC(37,9)"),
            ("NUMERIC", "BIGNUMERIC(40,20)", "BIGNUMERIC(49,20)"),
            ("BIGNUMERIC(40,20)", "BIGNUMERIC(45,20)", "BIGNUMERIC(45,20)"),
            ("INT64", "BIGNUMERIC(10,2)", "BIGNUMERIC(21,2)"),
        ] {
            let (fit, reason, ddl) = first(&format!("x {there}"), &format!("x {wanted}"));
            assert_eq!(fit, Fit::InPlace, "{there} -> {wanted}: {reason}");
            assert!(ddl[0].ends_with(&format!("SET DATA TYPE {to};")), "{ddl:?}");
        }
        assert_eq!(first("x NUMERIC(12,4)", "x NUMERIC(12,2)").0, Fit::InPlace);
        assert_eq!(first("x NUMERIC(14,4)", "x NUMERIC(12,2)").0, Fit::Matches);
        // NUMERIC with 29 digits before the point and 10 after it is none.
        assert!(first("x NUMERIC", "x NUMERIC(10,2)").2.is_empty());
    }

    #[test]
    fn columns_are_added_and_relaxed_but_never_tightened() {
        let check = table("a INT64; b STRING REQUIRED; c DATE").check_against(
            Some(&table("A INT64 REQUIRED; c DATE; old STRING; must STRING REQUIRED")),
            Evolvable::ALL,
        );
        let seen: Vec<(&str, Fit, usize)> =
            check.columns.iter().map(|c| (c.column.as_str(), c.fit, c.ddl.len())).collect();
        assert_eq!(
            seen,
            [
                ("A", Fit::InPlace, 1),
                ("b", Fit::InPlace, 1),
                ("c", Fit::Matches, 0),
                ("old", Fit::NotLoaded, 0),
                ("must", Fit::InPlace, 1)
            ]
        );
        assert_eq!(check.columns[0].ddl, ["ALTER TABLE `d`.`t` ALTER COLUMN `A` DROP NOT NULL;"]);
        assert_eq!(check.columns[1].ddl, ["ALTER TABLE `d`.`t` ADD COLUMN `b` STRING;"]);
        assert!(check.in_place() && !check.fits());
        assert_eq!(first("x STRING", "x STRING REQUIRED").0, Fit::Matches);
        assert_eq!(first("x STRING", "x STRING REPEATED").0, Fit::Impossible);
        assert_eq!(first("x INT64 REPEATED", "x NUMERIC REPEATED").0, Fit::Impossible);
    }

    #[test]
    fn fields_are_added_at_the_end_of_their_record_only() {
        let there = "r RECORD<a INT64 REQUIRED, s RECORD<x STRING>>";
        let (fit, reason, ddl) =
            first(there, "r RECORD<a INT64 NULLABLE, s RECORD<x STRING, y DATE REQUIRED>, n STRING>");
        assert_eq!((fit, ddl.len()), (Fit::InPlace, 0), "{reason}");
        for part in ["`r.a` is REQUIRED", "record `r.s` lacks field `y`", "record `r` lacks field `n`"] {
            assert!(reason.contains(part), "{reason}");
        }
        for wanted in [
            "r RECORD<s RECORD<x STRING>, a INT64 REQUIRED>",
            "r RECORD<a INT64 REQUIRED>",
            "r RECORD<a INT64 REQUIRED, n STRING, s RECORD<x STRING>>",
            "r RECORD<a NUMERIC REQUIRED, s RECORD<x STRING>>",
        ] {
            assert_eq!(first(there, wanted).0, Fit::Impossible, "{wanted}");
        }
        // Destinations that cannot change records say so.
        let changes = table("r RECORD<a INT64, b INT64>").changes_from(&table("r RECORD<a INT64>"));
        assert!(matches!(changes.as_slice(), [ColumnChange::Impossible(..)]), "{changes:?}");
    }

    #[test]
    fn layouts_are_compared_only_where_somebody_wishes_something() {
        let mut there = table("id INT64; day DATE; what STRING");
        there.layout =
            layout(json!({"partition_by": {"column": "day"}, "cluster_by": ["what"], "labels": {"a": "b"}}));
        let mut wanted = table("id INT64; day DATE; what STRING");
        assert!(wanted.check_against(Some(&there), Evolvable::ALL).fits());
        wanted.layout = layout(json!({
            "partition_by": {"column": "DAY", "granularity": "DAY"}, "cluster_by": ["WHAT"],
            "labels": {"a": "b"}, "expires_after": "9d", "require_partition_filter": false,
        }));
        assert!(wanted.check_against(Some(&there), Evolvable::ALL).fits());
        wanted.layout = layout(json!({
            "partition_by": {"column": "day", "granularity": "MONTH"}, "cluster_by": ["id"],
            "labels": {"a": "c"}, "require_partition_filter": true,
        }));
        let check = wanted.check_against(Some(&there), Evolvable::ALL);
        let seen: Vec<(&str, Fit)> = check.options.iter().map(|o| (o.option.as_str(), o.fit)).collect();
        assert_eq!(
            seen,
            [("partition_by", Fit::Impossible), ("cluster_by", Fit::InPlace), ("labels", Fit::InPlace)]
        );
        assert!(check.options.iter().all(|option| !option.reason.is_empty()));
        let changes = wanted.layout_changes(&there);
        for (policy, refused) in [
            (OnSchemaChange::Freeze, true),
            (OnSchemaChange::Evolve, true),
            (OnSchemaChange::EvolveColumnsOnly, false),
        ] {
            let outcome = wanted.check_allowed(&[], &changes, policy);
            assert_eq!(outcome.is_err(), refused, "{policy:?}");
            if let Err(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::SchemaChanged);
                assert!(error.hint_text().is_some());
            }
        }
        wanted.layout = layout(json!({"labels": {"x": "y"}}));
        wanted.check_allowed(&[], &wanted.layout_changes(&there), OnSchemaChange::Freeze).unwrap();
        wanted.layout = layout(json!({"cluster_by": []}));
        let clustering = wanted.layout_changes(&there);
        assert!(wanted.check_allowed(&[], &clustering, OnSchemaChange::Freeze).is_err());
        wanted.check_allowed(&[], &clustering, OnSchemaChange::Evolve).unwrap();
    }

    #[test]
    fn columns_of_partitions_and_clusters_keep_their_types() {
        let mut there = table("id INT64; n INT64");
        there.layout = layout(json!({"cluster_by": ["ID"]}));
        let check = table("id NUMERIC; n NUMERIC").check_against(Some(&there), Evolvable::ALL);
        assert_eq!((check.columns[0].fit, check.columns[1].fit), (Fit::Impossible, Fit::InPlace));
        assert!(check.columns[0].reason.as_deref().unwrap().contains("clustered by"));
    }

    #[test]
    fn descriptions_fill_gaps_and_replace_nothing() {
        let mut there = table("a INT64; b INT64; c INT64");
        there.columns[1].description = Some("by a person".into());
        let mut wanted = table("a INT64; b INT64; c INT64");
        wanted.description = Some("orders".into());
        wanted.columns[0].description = Some("number".into());
        wanted.columns[1].description = Some("by the source".into());
        assert_eq!(
            wanted.layout_changes(&there),
            [
                LayoutChange::Describe("orders".into()),
                LayoutChange::DescribeColumn("a".into(), "number".into())
            ]
        );
    }

    #[test]
    fn a_missing_table_is_all_new() {
        let check = table("a INT64; b STRING").check_against(None, Evolvable::ALL);
        assert!(!check.exists && check.in_place() && !check.fits());
        let json = check.to_json();
        assert_eq!(
            json["columns"][1],
            json!({"column": "b", "fit": "new", "existing": null,
            "wanted": "STRING NULLABLE", "reason": null, "hint": null, "ddl": []})
        );
        let mut check = check;
        check.add_problem(&Error::unsupported("too wide").hint("drop columns"));
        assert!(!check.in_place());
        assert_eq!(check.to_json()["problems"], json!(["too wide; drop columns"]));
    }
}
