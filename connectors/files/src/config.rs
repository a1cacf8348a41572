//! The options of a `files` connection.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use transload_core::{Error, Result};

/// What the files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// By the ending of each file: `.csv`, `.tsv`, `.txt` (fixed width, or delimited if `delimiter` is
    /// given), `.parquet`.
    #[default]
    Auto,
    /// Comma-separated text (RFC 4180), or with another `delimiter`.
    Csv,
    /// Tab-separated text.
    Tsv,
    /// Text whose fields stand at fixed positions of a line.
    FixedWidth,
    /// Apache Parquet.
    Parquet,
}

/// One column of a fixed-width text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedColumn {
    /// Name of the column.
    pub name: String,
    /// Position of its first character in the line, from 0.
    pub start: usize,
    /// Number of characters, at least 1.
    pub width: usize,
}

/// Options of a `files` connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    /// A directory, or one file.
    pub path: String,
    /// What the files hold. Default: `auto`.
    #[serde(default)]
    pub format: Format,
    /// Separator of fields in delimited text: one ASCII character, or `\t`. Default: a comma (`csv`), a
    /// tab (`tsv`).
    #[serde(default)]
    pub delimiter: Option<String>,
    /// Quote character of delimited text: one ASCII character, or an empty text for none. Without quotes a
    /// large file can be read by several readers at once. Default: `"`.
    #[serde(default)]
    pub quote: Option<String>,
    /// Whether the first line holds the column names. Default: true, except for fixed width with
    /// `columns`.
    #[serde(default)]
    pub header: Option<bool>,
    /// Texts that mean NULL where they stand unquoted, besides the empty field. Default: none.
    #[serde(default)]
    pub null_values: Vec<String>,
    /// Encoding of text. Only `utf-8` is supported; a byte order mark is removed. Default: `utf-8`.
    #[serde(default)]
    pub encoding: Option<String>,
    /// Lines to leave out before the header. Default: 0.
    #[serde(default)]
    pub skip_rows: usize,
    /// Columns of fixed-width text. Default: derived from the positions that are blank in every line.
    #[serde(default)]
    pub columns: Vec<FixedColumn>,
    /// Lines that start with this text are left out. Default: none.
    #[serde(default)]
    pub comment: Option<String>,
}

impl FilesConfig {
    /// Checks everything that can be checked without I/O.
    ///
    /// # Errors
    /// `config`, naming the option.
    pub fn validate(&self) -> Result<()> {
        if self.path.is_empty() {
            return Err(option("path", "it is empty").hint("name a directory or a file"));
        }
        if let Some(encoding) = &self.encoding
            && !["utf-8", "utf8"].contains(&encoding.to_ascii_lowercase().as_str())
        {
            return Err(option("encoding", format!("`{encoding}` is not supported"))
                .hint("convert the file to UTF-8 first, for example with iconv"));
        }
        if self.comment.as_deref() == Some("") {
            return Err(option("comment", "it is empty").hint("leave it out for no comments"));
        }
        self.validate_columns()?;
        let delimiter = self.delimiter_byte()?.unwrap_or(b',');
        if self.quote_byte()? == Some(delimiter) {
            return Err(option("quote", "it is the same character as `delimiter`"));
        }
        Ok(())
    }

    fn validate_columns(&self) -> Result<()> {
        for (i, column) in self.columns.iter().enumerate() {
            if column.name.trim().is_empty() {
                return Err(option("columns", format!("column {} has no name", i + 1)));
            }
            if column.width == 0 || column.start.checked_add(column.width).is_none() {
                return Err(option("columns", format!("column `{}` has an impossible width", column.name)));
            }
            if self.columns[..i].iter().any(|other| other.name == column.name) {
                return Err(option("columns", format!("column `{}` is there twice", column.name)));
            }
        }
        Ok(())
    }

    /// The delimiter, if one is set.
    ///
    /// # Errors
    /// `config` unless it is one ASCII character other than a line break.
    pub fn delimiter_byte(&self) -> Result<Option<u8>> {
        match self.delimiter.as_deref() {
            None => Ok(None),
            Some("\\t" | "tab") => Ok(Some(b'\t')),
            Some(text) => single("delimiter", text).map(Some),
        }
    }

    /// The quote character; `None` if quotes mean nothing.
    ///
    /// # Errors
    /// `config` unless it is empty or one ASCII character other than a line break.
    pub fn quote_byte(&self) -> Result<Option<u8>> {
        match self.quote.as_deref() {
            None => Ok(Some(b'"')),
            Some("" | "none") => Ok(None),
            Some(text) => single("quote", text).map(Some),
        }
    }
}

fn single(name: &'static str, text: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(*byte),
        _ => Err(option(name, format!("`{}` is not one ASCII character", text.escape_debug()))
            .hint("use one character, for example `;`; write a tab as `\\t`")),
    }
}

fn option(name: &'static str, problem: impl Into<String>) -> Error {
    Error::config(format!("option `{name}` of the files connection: {}", problem.into())).with("option", name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use transload_core::Connection;

    fn config(fields: serde_json::Value) -> Result<FilesConfig> {
        let mut document = json!({"type": "files", "path": "x"});
        document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let config: FilesConfig = Connection::from_json(document)?.config()?;
        config.validate().map(|()| config)
    }

    #[test]
    fn defaults_and_good_values() {
        let plain = config(json!({})).unwrap();
        assert_eq!(plain.format, Format::Auto);
        assert_eq!((plain.delimiter_byte().unwrap(), plain.quote_byte().unwrap()), (None, Some(b'"')));
        let set =
            config(json!({"delimiter": "\\t", "quote": "", "header": "false", "skip_rows": "2"})).unwrap();
        assert_eq!((set.delimiter_byte().unwrap(), set.quote_byte().unwrap()), (Some(b'\t'), None));
        assert_eq!((set.header, set.skip_rows), (Some(false), 2));
    }

    #[test]
    fn bad_values_name_their_option() {
        for (fields, word) in [
            (json!({"delimiter": "||"}), "delimiter"),
            (json!({"delimiter": "é"}), "delimiter"),
            (json!({"delimiter": "\n"}), "delimiter"),
            (json!({"quote": ","}), "quote"),
            (json!({"encoding": "latin-1"}), "encoding"),
            (json!({"comment": ""}), "comment"),
            (json!({"columns": [{"name": "a", "start": 0, "width": 0}]}), "columns"),
            (
                json!({"columns": [{"name": "a", "start": 0, "width": 1}, {"name": "a", "start": 1, "width": 1}]}),
                "twice",
            ),
            (json!({"headr": true}), "header"),
            (json!({"path": ""}), "path"),
            (json!({"format": "xlsx"}), "xlsx"),
        ] {
            let error = config(fields).unwrap_err();
            assert_eq!(error.kind(), transload_core::ErrorKind::Config);
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
