//! SQL text: names and the statements of a commit. Quoting is that of `transload_core::schema::ddl`. No I/O.

pub(crate) use transload_core::schema::ddl::{name as quote, text as literal};
use transload_core::schema::{BigQueryType, Mode, TargetColumn, TargetRef};
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

/// The type that a column has in the staging table: Parquet cannot carry JSON and GEOGRAPHY.
pub(crate) fn stage_type(data_type: &BigQueryType) -> BigQueryType {
    match data_type {
        BigQueryType::Json | BigQueryType::Geography => BigQueryType::String,
        other => other.clone(),
    }
}

/// The expression that turns the staged column into the target's.
pub(crate) fn converted(column: &TargetColumn, staged: &str) -> String {
    let convert = |value: &str| match column.data_type {
        BigQueryType::Json => Some(format!("PARSE_JSON({value}, wide_number_mode=>'exact')")),
        BigQueryType::Geography => Some(format!("ST_GEOGFROMTEXT({value})")),
        _ => None,
    };
    if column.mode != Mode::Repeated {
        return convert(staged).unwrap_or_else(|| staged.to_owned());
    }
    match convert("x") {
        Some(value) => {
            format!("ARRAY(SELECT {value} FROM UNNEST({staged}) AS x WITH OFFSET AS o ORDER BY o)")
        }
        None => staged.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, data_type: BigQueryType, mode: Mode) -> TargetColumn {
        TargetColumn { name: name.to_owned(), data_type, mode, description: None }
    }

    #[test]
    fn json_and_geography_are_converted() {
        let json = column("j", BigQueryType::Json, Mode::Nullable);
        assert_eq!(converted(&json, "s.c0"), "PARSE_JSON(s.c0, wide_number_mode=>'exact')");
        let list = column("j", BigQueryType::Geography, Mode::Repeated);
        assert!(converted(&list, "s.c1").starts_with("ARRAY(SELECT ST_GEOGFROMTEXT(x) FROM UNNEST(s.c1)"));
        let plain = column("t", BigQueryType::String, Mode::Repeated);
        assert_eq!(converted(&plain, "s.c2"), "s.c2");
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
