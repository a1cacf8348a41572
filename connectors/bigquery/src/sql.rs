//! SQL text: names and the statements of a commit. Quoting is that of `transload_core::schema::ddl`. No I/O.

use transload_core::schema::TargetRef;
pub(crate) use transload_core::schema::ddl::{name as quote, text as literal};
use transload_core::{Error, Result};

/// Table that keeps the records of committed loads, in the dataset of the target.
pub(crate) const LOADS_TABLE: &str = "_transload_loads";
/// Column of a merge's staging table that holds the order in which rows were written.
pub(crate) const ORDER_COLUMN: &str = "written";

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

#[cfg(test)]
mod tests {
    use super::*;

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
