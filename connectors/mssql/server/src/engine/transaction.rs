//! Transactions: T-SQL's counter over SQLite's transactions, and the locks that go with them.

use std::sync::atomic::Ordering;

use super::Engine;
use super::bind::Access;
use super::locks::Mode;
use super::session::Isolation;
use crate::error::{Result, SqlError};

impl Engine {
    pub(super) fn begin(&mut self) {
        self.session.transactions += 1;
        if self.session.transactions == 1 {
            self.descriptor = self.shared.next_descriptor();
            let descriptor = self.descriptor.to_le_bytes();
            self.outbox.tokens().environment_bytes(8, &descriptor, &[]);
        }
    }

    pub(super) fn commit(&mut self) -> Result<()> {
        match self.session.transactions {
            0 => {
                let text = "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.";
                Err(SqlError::new(3902, 16, text))
            }
            1 => {
                if !self.connection.is_autocommit() {
                    self.connection.execute_batch("COMMIT")?;
                }
                self.end(9);
                Ok(())
            }
            _ => {
                self.session.transactions -= 1;
                Ok(())
            }
        }
    }

    pub(super) fn roll_back_asked(&mut self) -> Result<()> {
        if self.session.transactions == 0 {
            let text = "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.";
            return Err(SqlError::new(3903, 16, text));
        }
        self.roll_back();
        Ok(())
    }

    /// Gives up what is open, if anything is.
    pub(super) fn roll_back(&mut self) {
        if !self.connection.is_autocommit() {
            // What fails here is a transaction that SQLite rolled back by itself.
            let _rolled_back = self.connection.execute_batch("ROLLBACK");
        }
        self.end(10);
    }

    /// The transaction is over, in one way (9) or the other (10).
    fn end(&mut self, how: u8) {
        if self.session.transactions > 0 {
            let descriptor = self.descriptor.to_le_bytes();
            self.outbox.tokens().environment_bytes(how, &[], &descriptor);
        }
        self.session.transactions = 0;
        self.descriptor = 0;
        self.release();
    }

    fn release(&self) {
        self.database.settle(self.session.number);
        self.shared.locks.release(self.session.number);
    }

    /// After a statement outside of transactions.
    pub(super) fn release_alone(&self) {
        if self.session.transactions == 0 {
            self.release();
        }
    }

    /// Before rows are read: the snapshot begins, or locks are waited for.
    pub(super) fn before_read(&mut self, accesses: &[Access]) -> Result<()> {
        if accesses.is_empty() {
            return Ok(());
        }
        let snapshot = self.session.isolation == Isolation::Snapshot;
        if snapshot && self.session.transactions > 0 {
            if !self.database.snapshot.load(Ordering::Relaxed) {
                let text = format!(
                    "Snapshot isolation transaction failed accessing database '{}' because snapshot isolation is not \
                     allowed in this database. Use ALTER DATABASE to allow snapshot isolation.",
                    self.database.name
                );
                return Err(SqlError::new(3952, 16, text));
            }
            if self.connection.is_autocommit() {
                self.connection.execute_batch("BEGIN")?;
            }
        }
        for access in accesses {
            if let Some(mode) = self.mode(access) {
                self.lock(access.table, mode)?;
            }
        }
        Ok(())
    }

    /// Which lock reading a table takes.
    fn mode(&self, access: &Access) -> Option<Mode> {
        let has = |hint: &str| access.hints.iter().any(|known| known == hint);
        if has("NOLOCK") || has("READUNCOMMITTED") {
            return None;
        }
        if has("TABLOCKX") || has("XLOCK") {
            return Some(Mode::Write);
        }
        if ["HOLDLOCK", "SERIALIZABLE", "REPEATABLEREAD", "UPDLOCK"].iter().any(|hint| has(hint)) {
            return Some(Mode::Share);
        }
        match self.session.isolation {
            Isolation::Locking => Some(Mode::Share),
            _ if has("TABLOCK") || has("READCOMMITTEDLOCK") => Some(Mode::Look),
            Isolation::ReadCommitted if !self.database.versioned.load(Ordering::Relaxed) => Some(Mode::Look),
            _ => None,
        }
    }

    fn lock(&self, table: i64, mode: Mode) -> Result<()> {
        let target = (self.database.number, table);
        self.shared.locks.take(target, mode, self.session.number, self.session.lock_limit(), &self.signals)
    }

    /// Does what writes, in a transaction of its own if none is open.
    pub(super) fn writing<T>(
        &mut self,
        tables: &[i64],
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let begun = self.begin_write(tables);
        if let Err(error) = begun {
            self.release_alone();
            return Err(error);
        }
        let done = work(self);
        if self.session.transactions > 0 {
            return done;
        }
        let ended = self.connection.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" });
        self.release();
        let value = done?;
        ended?;
        Ok(value)
    }

    fn begin_write(&mut self, tables: &[i64]) -> Result<()> {
        // Tables first: whoever waits for a table must not keep all other writers waiting.
        for &table in tables {
            self.lock(table, Mode::Write)?;
        }
        self.lock(0, Mode::Write)?;
        if self.connection.is_autocommit() {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        Ok(())
    }
}
