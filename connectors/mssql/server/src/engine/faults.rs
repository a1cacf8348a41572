//! Faults that a test orders with `EXEC tds_test '...'`, on the next reads of a table, whoever reads it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Result, SqlError};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Fail(SqlError),
    /// The connection ends, without an error.
    Close,
    /// Nothing more comes, until the client gives up.
    Hang,
}

/// What is to happen in one result.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    /// After how many rows, and what.
    at: Option<(u64, Action)>,
    /// How long every row takes.
    pub(super) pause: Option<Duration>,
}

impl Plan {
    pub(super) fn action_at(&self, rows: u64) -> Option<&Action> {
        self.at.as_ref().filter(|(after, _)| *after <= rows).map(|(_, action)| action)
    }
}

#[derive(Debug)]
struct Ordered {
    database: u16,
    table: i64,
    plan: Plan,
    /// How many results it meets; rows stay slow until `clear`.
    times: u32,
}

/// The faults of a server.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Ordered>>);

impl Faults {
    /// The plan for a result that reads these tables.
    pub(super) fn next(&self, database: u16, tables: impl Iterator<Item = i64> + Clone) -> Plan {
        let mut ordered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut plan = Plan::default();
        for fault in ordered.iter_mut() {
            if fault.times == 0
                || fault.database != database
                || !tables.clone().any(|table| table == fault.table)
            {
                continue;
            }
            if fault.plan.at.is_some() && plan.at.is_none() {
                plan.at.clone_from(&fault.plan.at);
                fault.times -= 1;
            }
            plan.pause = plan.pause.or(fault.plan.pause);
        }
        ordered.retain(|fault| fault.times > 0);
        plan
    }

    /// Orders a fault: `fail 1205 after 10`, `close after 10`, `hang after 10`, `slow 5` (milliseconds
    /// per row), each with `times 3` behind it if it is to happen so often; `clear` takes back those of the table.
    pub(super) fn order(&self, database: u16, table: i64, session: u16, text: &str) -> Result<()> {
        let unknown = || SqlError::unsupported(format_args!("the fault '{text}'"));
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |word: &str| {
            let at = words.iter().position(|known| *known == word)?;
            words.get(at + 1)?.parse::<u32>().ok()
        };
        let after = u64::from(number("after").unwrap_or(0));
        let mut ordered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let action = match words.first().copied().unwrap_or_default() {
            "clear" => {
                ordered.retain(|fault| fault.table != table || fault.database != database);
                return Ok(());
            }
            "slow" => {
                let pause = Some(Duration::from_millis(u64::from(number("slow").ok_or_else(unknown)?)));
                ordered.push(Ordered { database, table, plan: Plan { at: None, pause }, times: u32::MAX });
                return Ok(());
            }
            "fail" => Action::Fail(numbered(number("fail").ok_or_else(unknown)?, session)),
            "close" => Action::Close,
            "hang" => Action::Hang,
            _ => return Err(unknown()),
        };
        let plan = Plan { at: Some((after, action)), pause: None };
        ordered.push(Ordered { database, table, plan, times: number("times").unwrap_or(1) });
        Ok(())
    }
}

/// An error by its number, with the class and words that SQL Server has for it.
pub(super) fn numbered(number: u32, session: u16) -> SqlError {
    let of = |class: u8, text: &str| SqlError::new(number, class, text);
    match number {
        1205 => SqlError::deadlock(session),
        1222 => SqlError::lock_timeout(),
        3960 => of(16, "Snapshot isolation transaction aborted due to update conflict."),
        40501 => of(
            20,
            "The service is currently busy. Retry the request after 10 seconds. Incident ID: 00000000. Code: 0.",
        ),
        40613 => of(
            20,
            "Database 'shop' on server 'TDSTEST' is not currently available. Please retry the connection later.",
        ),
        40197 => of(
            20,
            "The service has encountered an error processing your request. Please try again. Error code 4221.",
        ),
        49918 => of(
            16,
            "Cannot process request. Not enough resources to process request. Please retry your request later.",
        ),
        10928 => of(16, "Resource ID : 1. The request limit for the database is 60 and has been reached."),
        10929 => of(
            16,
            "Resource ID: 1. The request minimum guarantee is 0, maximum limit is 60. Please try again later.",
        ),
        701 => of(17, "There is insufficient system memory in resource pool 'default' to run this query."),
        824 => of(24, "SQL Server detected a logical consistency-based I/O error."),
        601 => of(12, "Could not continue scan with NOLOCK due to data movement."),
        number => SqlError::new(number, 16, format!("Error {number}, as a test asked for it.")),
    }
}
