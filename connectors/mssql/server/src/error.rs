//! Errors as SQL Server numbers them.

use std::fmt;

/// What a statement fails with. Texts are those of SQL Server, shortened here and there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlError {
    pub(crate) number: u32,
    /// 11 to 16 are the client's faults, 17 to 19 those of resources; from 20 on the connection ends.
    pub(crate) class: u8,
    pub(crate) state: u8,
    pub(crate) text: String,
}

pub(crate) type Result<T> = std::result::Result<T, SqlError>;

impl SqlError {
    pub(crate) fn new(number: u32, class: u8, text: impl Into<String>) -> Self {
        Self { number, class, state: 1, text: text.into() }
    }

    pub(crate) fn syntax(near: &str) -> Self {
        Self::new(102, 15, format!("Incorrect syntax near '{near}'."))
    }

    pub(crate) fn keyword(word: &str) -> Self {
        Self::new(156, 15, format!("Incorrect syntax near the keyword '{word}'."))
    }

    pub(crate) fn column(name: &str) -> Self {
        Self::new(207, 16, format!("Invalid column name '{name}'."))
    }

    pub(crate) fn object(name: &str) -> Self {
        Self::new(208, 16, format!("Invalid object name '{name}'."))
    }

    pub(crate) fn overflow(ty: &str) -> Self {
        Self::new(8115, 16, format!("Arithmetic overflow error converting expression to data type {ty}."))
    }

    /// What the server has no words for: its own limits.
    pub(crate) fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(40000, 16, format!("The test server does not know {what}."))
    }

    /// As text, for the way through SQLite, which carries errors of functions as nothing else.
    fn packed(&self) -> String {
        format!("\u{1}{}\u{1}{}\u{1}{}\u{1}{}", self.number, self.class, self.state, self.text)
    }

    fn unpacked(text: &str) -> Option<Self> {
        let mut parts = text.split_once('\u{1}')?.1.splitn(4, '\u{1}');
        Some(Self {
            number: parts.next()?.parse().ok()?,
            class: parts.next()?.parse().ok()?,
            state: parts.next()?.parse().ok()?,
            text: parts.next()?.to_owned(),
        })
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.packed())
    }
}

impl std::error::Error for SqlError {}

impl From<SqlError> for rusqlite::Error {
    fn from(error: SqlError) -> Self {
        Self::UserFunctionError(Box::new(error))
    }
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi;
        if let rusqlite::Error::UserFunctionError(inner) = &error
            && let Some(inner) = inner.downcast_ref::<Self>()
        {
            return inner.clone();
        }
        let text = error.to_string();
        if let Some(unpacked) = Self::unpacked(&text) {
            return unpacked;
        }
        let code = error.sqlite_error().map_or(0, |error| error.extended_code);
        match code {
            ffi::SQLITE_BUSY_SNAPSHOT => Self::new(
                3960,
                16,
                "Snapshot isolation transaction aborted due to update conflict. Retry the transaction or change the \
                 isolation level for the update/delete statement.",
            ),
            ffi::SQLITE_CONSTRAINT_UNIQUE
            | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            | ffi::SQLITE_CONSTRAINT_ROWID => Self::new(
                2627,
                14,
                format!("Violation of UNIQUE KEY constraint. Cannot insert duplicate key ({text})."),
            ),
            ffi::SQLITE_CONSTRAINT_NOTNULL => Self::new(
                515,
                16,
                format!("Cannot insert the value NULL into a column; it does not allow nulls ({text})."),
            ),
            ffi::SQLITE_CONSTRAINT_CHECK => {
                Self::new(547, 16, format!("The statement conflicted with a CHECK constraint ({text})."))
            }
            _ if code & 0xFF == ffi::SQLITE_BUSY || code & 0xFF == ffi::SQLITE_LOCKED => Self::lock_timeout(),
            _ => Self::new(50000, 16, format!("The test server's SQLite: {text}")),
        }
    }
}

impl SqlError {
    pub(crate) fn lock_timeout() -> Self {
        Self { state: 51, ..Self::new(1222, 16, "Lock request time out period exceeded.") }
    }

    pub(crate) fn deadlock(session: u16) -> Self {
        let text = format!(
            "Transaction (Process ID {session}) was deadlocked on lock resources with another process and has been \
             chosen as the deadlock victim. Rerun the transaction."
        );
        Self { state: 51, ..Self::new(1205, 13, text) }
    }

    pub(crate) fn permission(permission: &str, object: &str, database: &str, schema: &str) -> Self {
        let text = format!(
            "The {permission} permission was denied on the object '{object}', database '{database}', schema '{schema}'."
        );
        Self { state: 5, ..Self::new(229, 14, text) }
    }
}
