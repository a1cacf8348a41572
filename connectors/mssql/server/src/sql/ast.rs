//! What a batch says, once it is parsed.

use crate::types::SqlType;

/// `server.database.schema.object`, from the left; parts that are left out are empty.
pub(crate) type Name = Vec<String>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    /// Integers and decimals as they are written; floats have an exponent.
    Number(String),
    Text {
        value: String,
        national: bool,
    },
    Binary(Vec<u8>),
    /// `$1.5`
    Money(String),
    /// What `DEFAULT` stands for in VALUES.
    Default,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    Literal(Literal),
    Column(Name),
    Variable(String),
    /// `-`, `+` and `~`.
    Sign(&'static str, Box<Expr>),
    Arithmetic(&'static str, Box<Expr>, Box<Expr>),
    Compare(&'static str, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    IsNull(Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    InQuery(Box<Expr>, Box<Query>),
    Between(Box<Expr>, Box<Expr>, Box<Expr>),
    Like {
        value: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<Box<Expr>>,
    },
    Exists(Box<Query>),
    Case {
        operand: Option<Box<Expr>>,
        whens: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Cast {
        value: Box<Expr>,
        ty: TypeName,
        style: Option<Box<Expr>>,
        /// TRY_CAST: NULL in place of an error.
        tries: bool,
    },
    /// Functions, aggregates and methods (`t.c.ToString()`).
    Call {
        name: Name,
        arguments: Vec<Expr>,
        distinct: bool,
        over: Option<Box<Over>>,
    },
    /// `geography::STGeomFromText(...)`
    Static {
        ty: String,
        name: String,
        arguments: Vec<Expr>,
    },
    /// A method of what is no name: `CAST(x AS hierarchyid).ToString()`.
    Method {
        value: Box<Expr>,
        name: String,
        arguments: Vec<Expr>,
    },
    Subquery(Box<Query>),
    Collate(Box<Expr>, String),
    AtTimeZone(Box<Expr>, Box<Expr>),
    /// The `*` of COUNT.
    Star,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Over {
    pub(crate) partition: Vec<Expr>,
    pub(crate) order: Vec<Order>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) by: Expr,
    pub(crate) descending: bool,
}

/// A type, and the name it was asked for by (`sysname` and `json` are none of their own).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TypeName {
    pub(crate) ty: SqlType,
    pub(crate) name: String,
    /// Whether a length stood there: CAST takes 30 without one, columns 1.
    pub(crate) has_length: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) with: Vec<Cte>,
    pub(crate) body: Body,
    pub(crate) order: Vec<Order>,
    pub(crate) offset: Option<Expr>,
    pub(crate) fetch: Option<Expr>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cte {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) query: Query,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Select(Box<Select>),
    /// `UNION`, `UNION ALL`, `EXCEPT`, `INTERSECT`.
    Set(&'static str, Box<Body>, Box<Body>),
    /// A query in parentheses.
    Query(Box<Query>),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Select {
    pub(crate) distinct: bool,
    pub(crate) top: Option<Expr>,
    pub(crate) items: Vec<Item>,
    pub(crate) into: Option<Name>,
    pub(crate) from: Vec<From>,
    pub(crate) filter: Option<Expr>,
    pub(crate) group: Vec<Expr>,
    pub(crate) having: Option<Expr>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// `*` and `t.*`
    All(Option<String>),
    Value {
        value: Expr,
        alias: Option<String>,
    },
    Assign {
        variable: String,
        value: Expr,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum From {
    Table {
        name: Name,
        alias: Option<String>,
        /// Upper case.
        hints: Vec<String>,
    },
    Function {
        name: Name,
        arguments: Vec<Expr>,
        alias: Option<String>,
    },
    Query {
        query: Box<Query>,
        alias: String,
        columns: Vec<String>,
    },
    Values {
        rows: Vec<Vec<Expr>>,
        alias: String,
        columns: Vec<String>,
    },
    Join {
        kind: Join,
        left: Box<From>,
        right: Box<From>,
        on: Option<Expr>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    Inner,
    Left,
    Right,
    Full,
    Cross,
    Apply,
    OuterApply,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    Values(Vec<Vec<Expr>>),
    Query(Box<Query>),
    Default,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ColumnDefinition {
    pub(crate) name: String,
    pub(crate) ty: Option<TypeName>,
    pub(crate) nullable: Option<bool>,
    pub(crate) identity: Option<(i64, i64)>,
    pub(crate) default: Option<(Expr, String)>,
    pub(crate) computed: Option<(Expr, String)>,
    pub(crate) persisted: bool,
    pub(crate) sparse: bool,
    pub(crate) column_set: bool,
    pub(crate) hidden: bool,
    /// 1 for the start of a row's period, 2 for its end.
    pub(crate) period: u8,
    pub(crate) collation: Option<String>,
    pub(crate) primary: bool,
    pub(crate) unique: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) name: Option<String>,
    pub(crate) primary: bool,
    pub(crate) unique: bool,
    pub(crate) clustered: Option<bool>,
    pub(crate) columns: Vec<(String, bool)>,
    pub(crate) included: Vec<String>,
    pub(crate) filter: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TableDefinition {
    pub(crate) name: Name,
    pub(crate) columns: Vec<ColumnDefinition>,
    pub(crate) keys: Vec<Key>,
    pub(crate) period: Option<(String, String)>,
    pub(crate) versioned: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Alter {
    Add(Vec<ColumnDefinition>, Vec<Key>),
    DropColumn(Vec<String>),
    DropConstraint(Vec<String>),
    Column(Box<ColumnDefinition>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delay(pub(crate) Expr);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Statement {
    Query(Box<Query>),
    Insert {
        table: Name,
        columns: Vec<String>,
        source: Source,
    },
    Update {
        table: Name,
        sets: Vec<(String, Expr)>,
        filter: Option<Expr>,
    },
    Delete {
        table: Name,
        filter: Option<Expr>,
    },
    Truncate(Name),
    CreateTable(Box<TableDefinition>),
    CreateSchema(String),
    CreateDatabase(String),
    CreateIndex {
        table: Name,
        key: Key,
    },
    /// The definition as it is written, for `sys.sql_modules`.
    CreateView {
        name: Name,
        columns: Vec<String>,
        query: Box<Query>,
        text: String,
    },
    AlterTable {
        table: Name,
        change: Alter,
    },
    AlterDatabase {
        name: Option<String>,
        option: String,
        on: bool,
    },
    /// What is dropped: `TABLE`, `VIEW`, `SCHEMA`, `INDEX`, `DATABASE`.
    Drop {
        what: &'static str,
        names: Vec<Name>,
        if_exists: bool,
        on: Option<Name>,
    },
    Begin,
    Commit,
    Rollback,
    /// `SET` of an option: its name in upper case, and the rest.
    Set {
        option: String,
        value: String,
    },
    Isolation(String),
    Declare(Vec<(String, TypeName, Option<Expr>)>),
    Assign {
        variable: String,
        value: Expr,
    },
    If {
        condition: Expr,
        then: Vec<Statement>,
        otherwise: Vec<Statement>,
    },
    While {
        condition: Expr,
        body: Vec<Statement>,
    },
    Use(String),
    WaitFor(Delay),
    Print(Expr),
    RaisError {
        message: Expr,
        severity: Expr,
        state: Expr,
        arguments: Vec<Expr>,
    },
    Throw {
        number: Expr,
        message: Expr,
        state: Expr,
    },
    Kill(u16),
    /// A procedure, its arguments with their names.
    Exec {
        name: Name,
        arguments: Vec<(Option<String>, Expr)>,
    },
    /// `EXEC ('text')`
    ExecText(Expr),
    Grant {
        verb: &'static str,
        permission: String,
        object: Option<Name>,
        user: String,
    },
    /// Statements that change nothing here, such as `UPDATE STATISTICS`.
    Nothing,
}

/// A statement, and the line that it begins in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed {
    pub(crate) statement: Statement,
    pub(crate) line: u32,
}
