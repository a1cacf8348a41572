//! Up to where a time is settled: below the oldest transaction that is still open. See
//! `docs/rfcs/0007-cursor-bounds.md` for what that guarantees and what it cannot.

use std::time::Duration;

use arrow_schema::DataType;
use transload_core::connector::{OpenTransaction, Settled};
use transload_core::schema::{ColumnSchema, CursorValue, Nanos, TableRef};
use transload_core::{Error, ErrorKind, Result};
use transload_sql::quote_literal;

use crate::catalog::quoted;
use crate::connect::{optional, text};

type Row = tokio_postgres::SimpleQueryRow;

/// A server process takes the time of a transaction when its first statement arrives and shows it a moment
/// later. Times this close to our own look are not trusted, and clocks may be set back by as much.
const MARGIN_MICROS: i64 = 1_000_000;

const LAG: &str = "set `load.lag` above the longest transaction instead of `load.cursor_bound`";

/// Five statements to be run **before** the snapshot is taken, in this order.
///
/// A transaction leaves the set of running ones first and clears its line in `pg_stat_activity` after that. So
/// whatever has no line here is either over, and then the later snapshot sees it, or not yet begun, and then
/// its start is not before the time that the first statement gives (less a margin). After the snapshot it would
/// not do: what commits in between would be neither in the snapshot nor in the list.
///
/// Prepared transactions come after the list, because preparing shows a transaction there before it takes its
/// line away here. Processes without a user (autovacuum) write no rows, and are left out.
pub(crate) fn notes_sql(table: &TableRef) -> Result<String> {
    let name = quote_literal(&quoted(table)?)?;
    Ok(format!(
        "SELECT pg_is_in_recovery() AS standby, floor(extract(epoch FROM statement_timestamp()) * 1000000)::pg_catalog.int8 AS noted;
         SELECT floor(extract(epoch FROM xact_start) * 1000000)::pg_catalog.int8 AS since, pid, usename, application_name, state
         FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
            AND usesysid IS NOT NULL ORDER BY xact_start LIMIT 1;
         SELECT count(*) FILTER (WHERE NOT pg_has_role('pg_read_all_stats', 'USAGE') AND NOT pg_has_role(usesysid, 'USAGE'))
            AS hidden, count(*) FILTER (WHERE state = 'disabled') AS untracked, current_user AS me
         FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL;
         SELECT count(*) AS prepared FROM pg_prepared_xacts WHERE database = current_database();
         WITH RECURSIVE tree(oid) AS (SELECT to_regclass({name})::pg_catalog.oid
            UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid)
         SELECT coalesce(bool_or(relkind = 'f'), false) AS elsewhere, coalesce(bool_or(relkind = 'm'), false) AS refreshed
         FROM tree JOIN pg_class USING (oid)"
    ))
}

/// Up to where `column` is settled, from the answers of [`notes_sql`].
pub(crate) fn settled(column: &ColumnSchema, results: &[Vec<Row>]) -> Result<Settled> {
    let mut rows = results.iter().map(|rows| rows.first());
    let mut next = || rows.next().ok_or_else(|| Error::internal("the server gave too few results"));
    let (clock, oldest) = (some(next()?)?, next()?);
    let (sessions, prepared, tree) = (some(next()?)?, some(next()?)?, some(next()?)?);
    refuse_unseen(clock, sessions, prepared, tree)?;
    let unit = unit_micros(column)?;
    let noted = number(clock, "noted")?;
    let trusted = noted - MARGIN_MICROS;
    let since = oldest.map(|row| number(row, "since")).transpose()?.filter(|since| *since < trusted);
    // A column of less precision rounds what it gets, down at most to its own unit.
    let upto = since.unwrap_or(trusted).div_euclid(unit) * unit - 1;
    let nanos = Nanos(i128::from(upto) * 1000);
    let upto = match column.data_type {
        DataType::Timestamp(_, None) => CursorValue::DateTime(nanos),
        _ => CursorValue::Timestamp(nanos),
    };
    let waits_for = match (since, oldest) {
        (Some(since), Some(row)) => {
            let age = Duration::from_micros(u64::try_from(noted - since).unwrap_or(0));
            Some(OpenTransaction { age, who: who(row)? })
        }
        _ => None,
    };
    Ok(Settled { upto, waits_for })
}

/// Refuses what would make the answer a guess.
fn refuse_unseen(clock: &Row, sessions: &Row, prepared: &Row, tree: &Row) -> Result<()> {
    if text(clock, "standby")? == "t" {
        return Err(Error::unsupported("a standby does not show which transactions are open at its primary")
            .hint(format!("read from the primary, or {LAG}")));
    }
    if text(tree, "elsewhere")? == "t" {
        return Err(Error::unsupported("open transactions behind a foreign table cannot be seen").hint(LAG));
    }
    if text(tree, "refreshed")? == "t" {
        return Err(Error::unsupported(
            "a refresh of a materialised view may bring rows of any age, whatever is open now",
        )
        .hint("read the tables behind it"));
    }
    if number(sessions, "untracked")? > 0 {
        return Err(Error::unsupported("sessions do not show their transactions: track_activities is off")
            .hint("set track_activities = on at the server"));
    }
    let hidden = number(sessions, "hidden")?;
    if hidden > 0 {
        let me = text(sessions, "me")?;
        return Err(Error::new(
            ErrorKind::Permission,
            format!("the transactions of {hidden} sessions of other users are hidden from user {me}"),
        )
        .hint(format!("grant pg_read_all_stats to {me}, or {LAG}")));
    }
    if number(prepared, "prepared")? > 0 {
        return Err(Error::new(
            ErrorKind::Conflict,
            "a prepared transaction is open, and the server does not tell when it began",
        )
        .retryable(true)
        .hint(format!("commit it or roll it back (pg_prepared_xacts), or {LAG}")));
    }
    Ok(())
}

/// The unit that a column's values are rounded to, in microseconds.
fn unit_micros(column: &ColumnSchema) -> Result<i64> {
    let refused = |why: &str| {
        let what = format!("open transactions give no bound for column `{}`: {why}", column.name);
        Error::unsupported(what).with("column", &column.name).hint(LAG)
    };
    match &column.data_type {
        DataType::Timestamp(_, Some(_)) => {}
        DataType::Timestamp(_, None) if column.default.as_deref().is_some_and(is_utc_clock) => {}
        DataType::Timestamp(_, None) => {
            return Err(refused(
                "it has no time zone, and its default is not `(now() AT TIME ZONE 'utc')`, so that its values \
                 depend on the zone of the session that wrote them",
            ));
        }
        DataType::Date32 => {
            return Err(refused("a day depends on the time zone of the session that wrote it"));
        }
        _ => return Err(refused("its values are no times")),
    }
    let precision = column.source_type.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let precision = precision.and_then(|(digits, _)| digits.parse::<u32>().ok()).unwrap_or(6);
    Ok(10_i64.pow(6_u32.saturating_sub(precision)))
}

/// Whether a default, as the catalog prints it, is a clock of the server in UTC.
fn is_utc_clock(default: &str) -> bool {
    let default = default.to_lowercase();
    let clocks = [
        "now()",
        "current_timestamp",
        "transaction_timestamp()",
        "statement_timestamp()",
        "clock_timestamp()",
    ];
    let zones = ["utc", "etc/utc"];
    clocks.iter().any(|clock| {
        zones.iter().any(|zone| {
            default == format!("({clock} at time zone '{zone}'::text)")
                || default == format!("timezone('{zone}'::text, {clock})")
        })
    })
}

fn who(row: &Row) -> Result<String> {
    let mut who = format!("process {}", text(row, "pid")?);
    for (label, column) in [("user ", "usename"), ("application ", "application_name"), ("", "state")] {
        if let Some(value) = optional(row, column)?.filter(|value| !value.is_empty()) {
            who.push_str(&format!(", {label}{value}"));
        }
    }
    Ok(who)
}

fn some(row: Option<&Row>) -> Result<&Row> {
    row.ok_or_else(|| Error::internal("the server gave no answer"))
}

fn number(row: &Row, column: &str) -> Result<i64> {
    let number = text(row, column)?;
    number.parse().map_err(|error| Error::internal(format!("{column} is no number")).source_error(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::TimeUnit;

    fn column(source_type: &str, zone: bool, default: Option<&str>) -> ColumnSchema {
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone.then(|| "UTC".into()));
        let mut column = ColumnSchema::new("at", source_type, data_type);
        column.default = default.map(str::to_owned);
        column
    }

    #[test]
    fn units_are_those_of_the_column() {
        for (source_type, unit) in [
            ("timestamp with time zone", 1),
            ("timestamp(6) with time zone", 1),
            ("timestamp(3) with time zone", 1000),
            ("timestamp(0) with time zone", 1_000_000),
        ] {
            assert_eq!(unit_micros(&column(source_type, true, None)).unwrap(), unit, "{source_type}");
        }
    }

    #[test]
    fn times_without_a_zone_must_be_utc() {
        let plain = |default| unit_micros(&column("timestamp without time zone", false, default));
        for default in ["timezone('utc'::text, now())", "(now() AT TIME ZONE 'UTC'::text)"] {
            assert_eq!(plain(Some(default)).unwrap(), 1, "{default}");
        }
        for default in
            [None, Some("now()"), Some("(now() AT TIME ZONE 'Europe/Berlin'::text)"), Some("LOCALTIMESTAMP")]
        {
            assert_eq!(plain(default).unwrap_err().kind(), ErrorKind::Unsupported, "{default:?}");
        }
        for data_type in [DataType::Int64, DataType::Date32, DataType::Utf8] {
            let error = unit_micros(&ColumnSchema::new("at", "x", data_type)).unwrap_err();
            assert!(error.to_string().contains("`load.lag`"), "{error}");
        }
    }
}
