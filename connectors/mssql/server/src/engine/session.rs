//! What a session keeps from batch to batch.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::Connection;

use super::bind::Object;
use crate::error::{Result, SqlError};
use crate::types::SqlType;
use crate::types::datum::Datum;
use crate::types::encode::Pieces;

/// Isolation levels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Isolation {
    ReadUncommitted,
    #[default]
    ReadCommitted,
    /// REPEATABLE READ and SERIALIZABLE: what was read is locked as a whole table.
    Locking,
    Snapshot,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: u16,
    pub(super) login: String,
    pub(super) application: String,
    /// By name in lower case.
    pub(super) variables: HashMap<String, (SqlType, Datum)>,
    /// `@@TRANCOUNT`
    pub(super) transactions: u32,
    pub(super) isolation: Isolation,
    pub(super) row_count: i64,
    pub(super) last_error: u32,
    /// Milliseconds; -1 waits for ever.
    pub(super) lock_timeout: i64,
    /// `SET NOCOUNT ON`
    pub(super) no_count: bool,
    /// `SET XACT_ABORT ON`
    pub(super) aborts: bool,
    /// `SET ROWCOUNT`; 0 is no limit.
    pub(super) row_limit: u64,
    /// The table that `SET IDENTITY_INSERT` names.
    pub(super) identity_insert: Option<i64>,
    pub(super) pieces: Pieces,
}

impl Session {
    pub(super) fn new(number: u16, login: &str, application: &str) -> Self {
        Self {
            number,
            login: login.to_owned(),
            application: application.to_owned(),
            variables: HashMap::new(),
            transactions: 0,
            isolation: Isolation::default(),
            row_count: 0,
            last_error: 0,
            lock_timeout: -1,
            no_count: false,
            aborts: false,
            row_limit: 0,
            identity_insert: None,
            pieces: Pieces::default(),
        }
    }

    pub(super) fn lock_limit(&self) -> Option<Duration> {
        u64::try_from(self.lock_timeout).ok().map(Duration::from_millis)
    }

    fn may_write(&self) -> bool {
        self.login == "sa"
    }

    pub(super) fn check_read(&self, connection: &Connection, object: &Object, database: &str) -> Result<()> {
        if self.may_write() {
            return Ok(());
        }
        let denied: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM \"~denied\" WHERE user = ?1 AND object_id = ?2)",
            (&self.login, object.id),
            |row| row.get(0),
        )?;
        if denied {
            Err(SqlError::permission("SELECT", &object.name, database, &object.schema))
        } else {
            Ok(())
        }
    }

    /// `INSERT` and its like.
    pub(super) fn check_write(&self, permission: &str, object: &Object, database: &str) -> Result<()> {
        if self.may_write() {
            return Ok(());
        }
        Err(SqlError::permission(permission, &object.name, database, &object.schema))
    }

    /// `CREATE TABLE` and its like.
    pub(super) fn check_define(&self, statement: &str, database: &str) -> Result<()> {
        if self.may_write() {
            return Ok(());
        }
        let text = format!("{statement} permission denied in database '{database}'.");
        Err(SqlError::new(262, 14, text))
    }
}
