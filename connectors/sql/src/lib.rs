//! What the SQL connectors of transload share: quoting, the figures of a proof, ranges of keys, encryption, and what
//! readers of a server's own protocol are made of.
//!
//! Names and values come from users and from foreign catalogs, so every one of them passes through here.

pub mod figures;
pub mod ranges;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "wire")]
pub mod wire;

use transload_core::{Error, Result};

/// An identifier in double quotes, as standard SQL, PostgreSQL and SQLite take it.
///
/// # Errors
/// `config` for a name with a NUL character, which no SQL system can hold.
///
/// ```
/// assert_eq!(transload_sql::quote_identifier("my \"table\"")?, "\"my \"\"table\"\"\"");
/// # Ok::<(), transload_core::Error>(())
/// ```
pub fn quote_identifier(name: &str) -> Result<String> {
    refuse_nul("name", name)?;
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// A text literal in single quotes for systems where a backslash may escape: PostgreSQL's `E''` form, which
/// means the same whatever `standard_conforming_strings` says.
///
/// # Errors
/// `config` for a text with a NUL character.
///
/// ```
/// assert_eq!(transload_sql::quote_literal("it's \\ here")?, "E'it''s \\\\ here'");
/// # Ok::<(), transload_core::Error>(())
/// ```
pub fn quote_literal(text: &str) -> Result<String> {
    refuse_nul("value", text)?;
    Ok(format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")))
}

/// An identifier in backquotes, as MySQL and MariaDB take it whatever their `sql_mode` is.
///
/// # Errors
/// `config` for a name with a NUL character.
///
/// ```
/// assert_eq!(transload_sql::quote_backquoted("my `table`")?, "`my ``table```");
/// # Ok::<(), transload_core::Error>(())
/// ```
pub fn quote_backquoted(name: &str) -> Result<String> {
    refuse_nul("name", name)?;
    Ok(format!("`{}`", name.replace('`', "``")))
}

/// An identifier in brackets, as SQL Server takes it whatever its settings are.
///
/// # Errors
/// `config` for a name with a NUL character.
///
/// ```
/// assert_eq!(transload_sql::quote_bracketed("my [table]")?, "[my [table]]]");
/// # Ok::<(), transload_core::Error>(())
/// ```
pub fn quote_bracketed(name: &str) -> Result<String> {
    refuse_nul("name", name)?;
    Ok(format!("[{}]", name.replace(']', "]]")))
}

/// A text of SQL Server in Unicode, where a backslash at the end of a line would join it with the next one.
///
/// # Errors
/// `config` for a text with a NUL character.
///
/// ```
/// assert_eq!(transload_sql::quote_national("it's")?, "N'it''s'");
/// assert_eq!(transload_sql::quote_national("a\\\nb")?, "N'a\\' + N'\nb'");
/// # Ok::<(), transload_core::Error>(())
/// ```
pub fn quote_national(text: &str) -> Result<String> {
    refuse_nul("value", text)?;
    let quoted = text.replace('\'', "''").replace("\\\n", "\\' + N'\n").replace("\\\r", "\\' + N'\r");
    Ok(format!("N'{quoted}'"))
}

/// Bytes as a hexadecimal literal (`X'6974'`), which no setting of a server and no escape can change.
///
/// ```
/// assert_eq!(transload_sql::hex_literal(b"it's"), "X'69742773'");
/// ```
#[must_use]
pub fn hex_literal(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("X'{digits}'")
}

/// A text for systems without `E''` of which nobody documents whether a backslash escapes in `''`, such as Redshift:
/// backslashes go in as `chr(92)`.
///
/// # Errors
/// `config` for a text with a NUL character.
///
/// ```
/// assert_eq!(transload_sql::quote_literal_without_escapes("it's")?, "'it''s'");
/// assert_eq!(transload_sql::quote_literal_without_escapes("a\\b")?, "('a' || chr(92) || 'b')");
/// # Ok::<(), transload_core::Error>(())
/// ```
pub fn quote_literal_without_escapes(text: &str) -> Result<String> {
    refuse_nul("value", text)?;
    let parts: Vec<_> = text.split('\\').map(|part| format!("'{}'", part.replace('\'', "''"))).collect();
    Ok(match parts.as_slice() {
        [only] => only.clone(),
        parts => format!("({})", parts.join(" || chr(92) || ")),
    })
}

fn refuse_nul(what: &str, text: &str) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::config(format!("a {what} holds a NUL character")).hint("remove the character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_stay_inside_their_quotes() {
        for name in ["a\"b; DROP TABLE x; --", "\"", "\"\"", "naïve", "a b", "select", "\\", "'"] {
            let quoted = quote_identifier(name).unwrap();
            let inner = &quoted[1..quoted.len() - 1];
            assert_eq!(inner.replace("\"\"", ""), name.replace('"', ""), "only doubled quotes are left");
            let literal = quote_literal(name).unwrap();
            let inner = &literal[2..literal.len() - 1];
            assert_eq!(inner.replace("''", "'").replace("\\\\", "\\"), name);
        }
        assert!(quote_literal_without_escapes("a\0b").is_err());
        assert_eq!(quote_literal_without_escapes("\\'; --").unwrap(), "('' || chr(92) || '''; --')");
        assert!(quote_identifier("a\0b").is_err());
        assert!(quote_literal("a\0b").is_err());
    }
}
