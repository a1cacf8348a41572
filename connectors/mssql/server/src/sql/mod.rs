//! T-SQL: as much of it as the connector and its tests write.

pub(crate) mod ast;
mod definition;
mod expression;
pub(crate) mod lexer;
pub(crate) mod parser;
mod query;
mod statement;
