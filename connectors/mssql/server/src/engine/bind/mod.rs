//! From T-SQL to SQLite: names become columns of the registry, every expression gets its type, and conversions that
//! T-SQL makes without being asked are written down.

mod call;
mod expression;
mod histogram;
mod names;
mod query;
mod system;

pub(in crate::engine) use names::{Object, RegisteredColumn, same, schema_and_name};

use std::sync::Arc;

use rusqlite::Connection;

use super::session::Session;
use super::storage::Database;
use crate::error::SqlError;
use crate::server::Shared;
use crate::types::datum::{Datum, Stored};
use crate::types::{Kind, SqlType};

/// An expression as SQLite takes it.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Bound {
    pub(in crate::engine) sql: String,
    pub(in crate::engine) ty: SqlType,
    pub(in crate::engine) nullable: bool,
    /// Whether it is the word NULL, which takes every type.
    null: bool,
    /// Whether COLLATE stood behind it, which wins over columns'.
    collated: bool,
    literal: bool,
    /// How many digits an integer literal has: beside decimals it is one of just these.
    digits: Option<u8>,
    /// Of a column as it is: what the meta data of a result say of it.
    origin: Option<Origin>,
}

/// Which column a result shows.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Origin {
    pub(in crate::engine) identity: bool,
    pub(in crate::engine) computed: bool,
    pub(in crate::engine) table: String,
}

impl Bound {
    fn new(sql: impl Into<String>, ty: SqlType) -> Self {
        Self {
            sql: sql.into(),
            ty,
            nullable: true,
            null: false,
            collated: false,
            literal: false,
            digits: None,
            origin: None,
        }
    }

    fn required(self) -> Self {
        Self { nullable: false, ..self }
    }
}

/// A column of a table in FROM.
#[derive(Debug, Clone)]
struct ScopeColumn {
    name: String,
    bound: Bound,
    /// Left out of `*`: hidden columns of a period.
    hidden: bool,
}

/// A table in FROM.
#[derive(Debug, Clone)]
struct ScopeTable {
    alias: String,
    columns: Vec<ScopeColumn>,
}

/// A query of WITH.
#[derive(Debug, Clone)]
struct Common {
    name: String,
    /// What SQLite calls it.
    sql: String,
    columns: Vec<OutColumn>,
}

/// A column that a query gives; its name in SQL is `o1`, `o2` and so on.
#[derive(Debug, Clone)]
pub(in crate::engine) struct OutColumn {
    pub(in crate::engine) name: String,
    pub(in crate::engine) ty: SqlType,
    pub(in crate::engine) nullable: bool,
    pub(in crate::engine) origin: Option<Origin>,
}

impl OutColumn {
    /// The column, as whoever selects from the query sees it.
    pub(in crate::engine) fn bound(&self, number: usize) -> Bound {
        Bound { nullable: self.nullable, ..Bound::new(format!("o{number}"), self.ty) }
    }
}

/// A query as SQLite takes it.
#[derive(Debug, Clone)]
pub(in crate::engine) struct BoundQuery {
    pub(in crate::engine) sql: String,
    pub(in crate::engine) columns: Vec<OutColumn>,
    /// Columns, counted from 1, that it is ordered by.
    pub(in crate::engine) order: Vec<u16>,
}

/// A table that a statement reads, and the hints that stand behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Access {
    pub(in crate::engine) table: i64,
    pub(in crate::engine) hints: Vec<String>,
}

/// Binds one statement.
pub(in crate::engine) struct Binder<'a> {
    pub(in crate::engine) connection: &'a Connection,
    pub(in crate::engine) database: &'a Arc<Database>,
    pub(in crate::engine) shared: &'a Shared,
    pub(in crate::engine) session: &'a Session,
    /// Values of `?1`, `?2` and so on.
    pub(in crate::engine) values: Vec<Stored>,
    pub(in crate::engine) accesses: Vec<Access>,
    scopes: Vec<Vec<ScopeTable>>,
    commons: Vec<Common>,
    named: usize,
    depth: usize,
    /// The object whose histograms a query asks for.
    counted: Option<i64>,
}

impl<'a> Binder<'a> {
    pub(in crate::engine) fn new(
        connection: &'a Connection,
        database: &'a Arc<Database>,
        shared: &'a Shared,
        session: &'a Session,
    ) -> Self {
        Self {
            connection,
            database,
            shared,
            session,
            values: Vec::new(),
            accesses: Vec::new(),
            scopes: Vec::new(),
            commons: Vec::new(),
            named: 0,
            depth: 0,
            counted: None,
        }
    }

    /// A name that SQLite does not know yet.
    fn fresh(&mut self, prefix: &str) -> String {
        self.named += 1;
        format!("{prefix}{}", self.named)
    }

    /// A value as a parameter.
    pub(in crate::engine) fn value(&mut self, datum: Datum) -> String {
        self.values.push(datum.stored());
        format!("?{}", self.values.len())
    }

    fn constant(&mut self, ty: SqlType, datum: Datum) -> Bound {
        let (null, nullable) = (datum.is_null(), datum.is_null());
        let sql = self.value(datum);
        Bound { nullable, null, literal: true, ..Bound::new(sql, ty) }
    }

    fn text_constant(&mut self, text: &str) -> Bound {
        let ty = SqlType::with_length(Kind::NVarChar, 128);
        self.constant(ty, Datum::Text(text.as_bytes().to_vec()))
    }
}

/// Whether values of one type are kept as the other keeps them, and none of them is too long for it.
fn is_kept_alike(from: &SqlType, to: &SqlType) -> bool {
    let (a, b) = (from.kind, to.kind);
    let is_variable = matches!(b, Kind::VarChar | Kind::NVarChar | Kind::Text | Kind::NText | Kind::Xml);
    match (a, b) {
        _ if a.is_integer() && b.is_integer() => b != Kind::Bit && a.rank() <= b.rank() || a == b,
        _ if a.is_scaled() && b.is_scaled() => from.scale == to.scale && from.precision <= to.precision,
        (Kind::Real, Kind::Float) => true,
        _ if a.is_text() && is_variable && a != Kind::Xml => {
            let narrow = !b.is_narrow() || a.is_narrow() && from.collation == to.collation;
            narrow && (to.is_max() || from.length <= to.length)
        }
        _ if a.is_binary() && matches!(b, Kind::VarBinary | Kind::Image) => {
            to.is_max() || from.length <= to.length
        }
        _ if a == b && a.is_temporal() => from.scale == to.scale,
        _ => {
            a == b
                && (a.is_float()
                    || a.is_udt()
                    || matches!(a, Kind::UniqueIdentifier | Kind::Variant | Kind::Boolean))
        }
    }
}

/// The value as another type; `style` is CONVERT's.
fn cast(bound: &Bound, to: &SqlType, style: i64) -> String {
    if bound.null || style == 0 && is_kept_alike(&bound.ty, to) {
        return bound.sql.clone();
    }
    format!("t_cast({}, {}, {}, {style})", bound.sql, bound.ty.code(), to.code())
}

/// The value as a column takes it.
pub(in crate::engine) fn assigned(bound: &Bound, to: &SqlType, column: &str) -> String {
    if bound.null || is_kept_alike(&bound.ty, to) {
        return bound.sql.clone();
    }
    let column = super::catalog::text(column);
    format!("t_assign({}, {}, {}, {column})", bound.sql, bound.ty.code(), to.code())
}

/// The text with the way to compare that its collation has.
fn collated(bound: &Bound, sql: &str) -> String {
    if bound.ty.kind.is_text() {
        format!("{sql} COLLATE {}", bound.ty.collation.sqlite_name())
    } else {
        sql.to_owned()
    }
}

/// The type that several values come together in.
fn common(values: &[&Bound]) -> SqlType {
    let mut types = values.iter().filter(|bound| !bound.null).map(|bound| bound.ty);
    let Some(first) = types.next() else { return SqlType::of(Kind::Int) };
    types.fold(first, |a, b| wider(&a, &b))
}

fn wider(a: &SqlType, b: &SqlType) -> SqlType {
    let (high, low) = if a.kind.rank() >= b.kind.rank() { (a, b) } else { (b, a) };
    let mut ty = *high;
    let length = |ty: &SqlType| match ty.kind {
        kind if kind.is_text() || kind.is_binary() => ty.length,
        Kind::UniqueIdentifier => 36,
        _ => 50,
    };
    if high.kind.is_text() || high.kind.is_binary() {
        ty.length = length(high).max(length(low));
        // Texts of a fixed length stay so only with their equals.
        if high.kind != low.kind {
            ty.kind = match high.kind {
                Kind::Char => Kind::VarChar,
                Kind::NChar => Kind::NVarChar,
                other => other,
            };
        }
        // A wide text of what was narrow keeps the collation of the column.
        if high.kind.is_wide() && !ty.is_max() {
            ty.length = ty.length.min(4000);
        }
    }
    if matches!(high.kind, Kind::Decimal | Kind::Numeric) && (low.kind.is_scaled() || low.kind.is_integer()) {
        let scale = high.scale.max(low.scale);
        let whole = (high.precision - high.scale).max(low.precision - low.scale);
        ty.precision = (whole + scale).min(38);
        ty.scale = scale.min(38 - whole.min(38));
    }
    if matches!(high.kind, Kind::Time | Kind::DateTime2 | Kind::DateTimeOffset) && low.kind.is_temporal() {
        ty.scale = match low.kind {
            Kind::Time | Kind::DateTime2 | Kind::DateTimeOffset => high.scale.max(low.scale),
            Kind::DateTime => high.scale.max(3),
            _ => high.scale,
        };
    }
    ty
}

/// The result type of an operator over decimals and integers.
fn exact_result(sign: &str, a: &Bound, b: &Bound) -> SqlType {
    let digits = |bound: &Bound| (i32::from(bound.ty.precision), i32::from(bound.ty.scale));
    let ((p1, s1), (p2, s2)) = (digits(a), digits(b));
    let (precision, scale) = match sign {
        "*" => (p1 + p2 + 1, s1 + s2),
        "/" => {
            let scale = 6.max(s1 + p2 + 1);
            (p1 - s1 + s2 + scale, scale)
        }
        "%" => ((p1 - s1).min(p2 - s2) + s1.max(s2), s1.max(s2)),
        _ => ((p1 - s1).max(p2 - s2) + s1.max(s2) + 1, s1.max(s2)),
    };
    let (precision, scale) = if precision > 38 {
        // Digits after the point make room for those before it, down to six.
        (38, (38 - (precision - scale)).max(scale.min(6)).min(scale))
    } else {
        (precision, scale)
    };
    let small = |number: i32| u8::try_from(number.clamp(0, 38)).unwrap_or(38);
    SqlType { kind: Kind::Numeric, ..SqlType::decimal(small(precision), small(scale)) }
}

/// The error of operators over types that they do not have.
fn incompatible(a: &SqlType, b: &SqlType, sign: &str) -> SqlError {
    let (a, b) = (a.kind.name(), b.kind.name());
    SqlError::new(402, 16, format!("The data types {a} and {b} are incompatible in the {sign} operator."))
}
