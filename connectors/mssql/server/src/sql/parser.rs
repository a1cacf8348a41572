//! The parser: what the other files of this folder build on.

use super::ast::{Name, Placed, TypeName};
use super::lexer::{Token, Word, words};
use crate::error::{Result, SqlError};
use crate::types::{Kind, MAX, SqlType};

/// The statements of a batch.
pub(crate) fn parse(batch: &str) -> Result<Vec<Placed>> {
    let batch: Vec<char> = batch.chars().collect();
    let tokens = words(&batch)?;
    let mut parser = Parser { batch, tokens, at: 0, depth: 0 };
    let mut statements = Vec::new();
    loop {
        while parser.sign(";") {}
        if *parser.peek() == Word::End {
            return Ok(statements);
        }
        let line = parser.line();
        let statement = parser.statement()?;
        statements.push(Placed { statement, line });
    }
}

/// One expression: computed columns and defaults are kept as text.
pub(crate) fn parse_expression(text: &str) -> Result<super::ast::Expr> {
    let batch: Vec<char> = text.chars().collect();
    let tokens = words(&batch)?;
    let mut parser = Parser { batch, tokens, at: 0, depth: 0 };
    parser.expression()
}

/// The words that T-SQL reserves: as names they stand in brackets.
#[rustfmt::skip]
const RESERVED: [&str; 181] = [
    "ADD", "ALL", "ALTER", "AND", "ANY", "AS", "ASC", "AUTHORIZATION", "BACKUP", "BEGIN", "BETWEEN",
    "BREAK", "BROWSE", "BULK", "BY", "CASCADE", "CASE", "CHECK", "CHECKPOINT", "CLOSE", "CLUSTERED",
    "COALESCE", "COLLATE", "COLUMN", "COMMIT", "COMPUTE", "CONSTRAINT", "CONTAINS", "CONTAINSTABLE",
    "CONTINUE", "CONVERT", "CREATE", "CROSS", "CURRENT", "CURRENT_DATE", "CURRENT_TIME",
    "CURRENT_TIMESTAMP", "CURRENT_USER", "CURSOR", "DATABASE", "DBCC", "DEALLOCATE", "DECLARE", "DEFAULT",
    "DELETE", "DENY", "DESC", "DISK", "DISTINCT", "DISTRIBUTED", "DOUBLE", "DROP", "DUMP", "ELSE", "END",
    "ERRLVL", "ESCAPE", "EXCEPT", "EXEC", "EXECUTE", "EXISTS", "EXIT", "EXTERNAL", "FETCH", "FILE",
    "FILLFACTOR", "FOR", "FOREIGN", "FREETEXT", "FREETEXTTABLE", "FROM", "FULL", "FUNCTION", "GOTO",
    "GRANT", "GROUP", "HAVING", "HOLDLOCK", "IDENTITY", "IDENTITYCOL", "IDENTITY_INSERT", "IF", "IN",
    "INDEX", "INNER", "INSERT", "INTERSECT", "INTO", "IS", "JOIN", "KEY", "KILL", "LEFT", "LIKE", "LINENO",
    "LOAD", "MERGE", "NATIONAL", "NOCHECK", "NONCLUSTERED", "NOT", "NULL", "NULLIF", "OF", "OFF", "OFFSETS",
    "ON", "OPEN", "OPENDATASOURCE", "OPENQUERY", "OPENROWSET", "OPENXML", "OPTION", "OR", "ORDER", "OUTER",
    "OVER", "PERCENT", "PIVOT", "PLAN", "PRECISION", "PRIMARY", "PRINT", "PROC", "PROCEDURE", "PUBLIC",
    "RAISERROR", "READ", "READTEXT", "RECONFIGURE", "REFERENCES", "REPLICATION", "RESTORE", "RESTRICT",
    "RETURN", "REVERT", "REVOKE", "RIGHT", "ROLLBACK", "ROWCOUNT", "ROWGUIDCOL", "RULE", "SAVE", "SCHEMA",
    "SECURITYAUDIT", "SELECT", "SESSION_USER", "SET", "SETUSER", "SHUTDOWN", "SOME", "STATISTICS",
    "SYSTEM_USER", "TABLE", "TABLESAMPLE", "TEXTSIZE", "THEN", "TO", "TOP", "TRAN", "TRANSACTION",
    "TRIGGER", "TRUNCATE", "TRY_CONVERT", "TSEQUAL", "UNION", "UNIQUE", "UNPIVOT", "UPDATE", "UPDATETEXT",
    "USE", "USER", "VALUES", "VARYING", "VIEW", "WAITFOR", "WHEN", "WHERE", "WHILE", "WITH", "WRITETEXT",
];

/// How deep expressions and queries may stand in each other.
const DEEPEST: usize = 200;

#[derive(Debug)]
pub(crate) struct Parser {
    pub(super) batch: Vec<char>,
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
    pub(super) depth: usize,
}

impl Parser {
    pub(super) fn peek(&self) -> &Word {
        self.ahead(0)
    }

    pub(super) fn ahead(&self, count: usize) -> &Word {
        self.tokens.get(self.at + count).map_or(&Word::End, |token| &token.word)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens.get(self.at).map_or(1, |token| token.line)
    }

    pub(super) fn next(&mut self) -> Word {
        let word = self.peek().clone();
        self.at += 1;
        word
    }

    /// Takes the sign if it comes next.
    pub(super) fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Word::Sign(next) if *next == sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<()> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn is(&self, keyword: &str) -> bool {
        self.is_ahead(0, keyword)
    }

    pub(super) fn is_ahead(&self, count: usize, keyword: &str) -> bool {
        matches!(self.ahead(count), Word::Plain(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Takes the keywords if they come next, all of them or none.
    pub(super) fn keywords(&mut self, keywords: &str) -> bool {
        let count = keywords.split(' ').count();
        let found = keywords.split(' ').enumerate().all(|(at, keyword)| self.is_ahead(at, keyword));
        self.at += if found { count } else { 0 };
        found
    }

    pub(super) fn expect_keywords(&mut self, keywords: &str) -> Result<()> {
        if self.keywords(keywords) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The error of the word that comes next.
    pub(super) fn unexpected(&self) -> SqlError {
        match self.peek() {
            Word::Plain(word) if is_reserved(word) => SqlError::keyword(&word.to_ascii_uppercase()),
            Word::Plain(word) | Word::Quoted(word) | Word::Variable(word) | Word::Number(word) => {
                SqlError::syntax(word)
            }
            Word::Text { value, .. } => SqlError::syntax(value),
            Word::Binary(_) => SqlError::syntax("0x"),
            Word::Sign(sign) => SqlError::syntax(sign),
            Word::End => {
                let last = self.tokens.iter().rev().find_map(|token| match &token.word {
                    Word::Plain(word) | Word::Quoted(word) => Some(word.clone()),
                    Word::Sign(sign) => Some((*sign).to_owned()),
                    _ => None,
                });
                SqlError::syntax(&last.unwrap_or_default())
            }
        }
    }

    /// A name without dots.
    pub(super) fn name(&mut self) -> Result<String> {
        match self.peek() {
            Word::Quoted(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            Word::Plain(name) if !is_reserved(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A word where no name stands, so that reserved ones are welcome.
    pub(super) fn any_word(&mut self) -> Result<String> {
        match self.peek().clone() {
            Word::Plain(word) | Word::Quoted(word) => {
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// `a.b.c`; parts may be left out in the middle.
    pub(super) fn dotted(&mut self) -> Result<Name> {
        let mut parts = vec![self.name()?];
        while self.sign(".") {
            if matches!(self.peek(), Word::Sign(".")) {
                parts.push(String::new());
            } else {
                parts.push(self.name()?);
            }
        }
        Ok(parts)
    }

    pub(super) fn names(&mut self) -> Result<Vec<String>> {
        self.expect("(")?;
        let mut names = vec![self.name()?];
        while self.sign(",") {
            names.push(self.name()?);
        }
        self.expect(")")?;
        Ok(names)
    }

    /// Guards against batches that would end the thread's stack.
    pub(super) fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= DEEPEST {
            let text = "Some part of your SQL statement is nested too deeply. Rewrite the query or break it up into \
                        smaller queries.";
            return Err(SqlError::new(191, 15, text));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// What stands from a word on to the one that comes next.
    pub(super) fn text_since(&self, from: usize) -> String {
        let begin = self.tokens.get(from).map_or(0, |token| token.span.0);
        let end = self.tokens.get(self.at.saturating_sub(1)).map_or(begin, |token| token.span.1);
        self.batch.get(begin..end.max(begin)).unwrap_or_default().iter().collect()
    }

    pub(super) fn number(&mut self) -> Result<i64> {
        let negative = self.sign("-");
        let error = self.unexpected();
        match self.next() {
            Word::Number(text) => {
                text.parse().map(|number: i64| if negative { -number } else { number }).map_err(|_| error)
            }
            _ => Err(error),
        }
    }

    pub(super) fn type_name(&mut self) -> Result<TypeName> {
        let mut name = self.dotted()?.pop().unwrap_or_default().to_ascii_lowercase();
        if self.is("VARYING") && matches!(name.as_str(), "char" | "character" | "binary") {
            self.next();
            name = if name == "binary" { "varbinary" } else { "varchar" }.to_owned();
        }
        if name == "double" && self.keywords("PRECISION") {
            name = "float".to_owned();
        }
        let unknown = SqlError::new(243, 16, format!("Type {name} is not a defined system type."));
        let kind = Kind::parse(&name).ok_or(unknown)?;
        let mut ty = SqlType::of(kind);
        if matches!(name.as_str(), "json" | "vector") {
            ty.length = MAX;
        }
        if name == "sysname" {
            ty.length = 128;
        }
        let mut has_length = false;
        if self.sign("(") {
            has_length = true;
            if self.keywords("MAX") {
                ty.length = MAX;
            } else if kind == Kind::Xml {
                self.name()?;
            } else {
                let first = self.number()?;
                let second = if self.sign(",") { Some(self.number()?) } else { None };
                if name != "vector" {
                    sized(&mut ty, first, second)?;
                }
            }
            self.expect(")")?;
        }
        Ok(TypeName { ty, name, has_length: has_length || name_has_length(kind, ty) })
    }
}

fn name_has_length(kind: Kind, ty: SqlType) -> bool {
    ty.length != 1
        || !matches!(
            kind,
            Kind::Char | Kind::VarChar | Kind::NChar | Kind::NVarChar | Kind::Binary | Kind::VarBinary
        )
}

/// The numbers in the parentheses of a type.
fn sized(ty: &mut SqlType, first: i64, second: Option<i64>) -> Result<()> {
    let wrong =
        || SqlError::new(1001, 15, format!("Line 1: Length or precision specification {first} is invalid."));
    let small =
        |number: i64, most: u8| u8::try_from(number).ok().filter(|&number| number <= most).ok_or_else(wrong);
    match ty.kind {
        Kind::Decimal | Kind::Numeric => {
            ty.precision =
                small(first, 38).and_then(|digits| if digits == 0 { Err(wrong()) } else { Ok(digits) })?;
            ty.scale = small(second.unwrap_or(0), ty.precision)?;
        }
        Kind::Time | Kind::DateTime2 | Kind::DateTimeOffset => ty.scale = small(first, 7)?,
        Kind::Float | Kind::Real => {
            let bits = small(first, 53)?;
            *ty = SqlType::of(if bits <= 24 { Kind::Real } else { Kind::Float });
        }
        Kind::Char | Kind::VarChar | Kind::NChar | Kind::NVarChar | Kind::Binary | Kind::VarBinary => {
            let most = if ty.kind.is_wide() { 4000 } else { 8000 };
            ty.length =
                u16::try_from(first).ok().filter(|length| (1..=most).contains(length)).ok_or_else(|| {
                    let text = format!(
                        "The size ({first}) given to the type '{}' exceeds the maximum allowed ({most}).",
                        ty.kind.name()
                    );
                    SqlError::new(131, 15, text)
                })?;
        }
        _ => {
            let text = format!(
                "Column, parameter, or variable: Cannot specify a column width on data type {}.",
                ty.kind.name()
            );
            return Err(SqlError::new(2716, 16, text));
        }
    }
    Ok(())
}

pub(super) fn is_reserved(word: &str) -> bool {
    let upper = word.to_ascii_uppercase();
    RESERVED.binary_search(&upper.as_str()).is_ok()
}
