//! Functions, aggregates and methods.

use super::{Binder, Bound, cast, collated, common};
use crate::error::{Result, SqlError};
use crate::sql::ast::{Expr, Literal, Name, Over};
use crate::types::datum::Datum;
use crate::types::{Kind, MAX, SqlType};

impl Binder<'_> {
    pub(super) fn call(
        &mut self,
        name: &Name,
        arguments: &[Expr],
        distinct: bool,
        over: Option<&Over>,
    ) -> Result<Bound> {
        // `t.c.ToString()` and `c.ToString()`.
        if let [before @ .., method] = name.as_slice()
            && !before.is_empty()
            && let Ok(value) = self.column(&before.to_vec())
        {
            return self.method(&value, method, arguments);
        }
        let upper = name.last().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
        if let Some(bound) = self.aggregate(&upper, arguments, distinct, over)? {
            return Ok(bound);
        }
        if let Some(bound) = self.conditional(&upper, arguments)? {
            return Ok(bound);
        }
        if let Some(bound) = self.system_function(&upper, arguments)? {
            return Ok(bound);
        }
        let mut bound = Vec::new();
        for (at, argument) in arguments.iter().enumerate() {
            bound.push(match (at, argument, upper.as_str()) {
                // The part of a date is a word, not a column.
                (
                    0,
                    Expr::Column(part),
                    "DATEADD" | "DATEDIFF" | "DATEDIFF_BIG" | "DATEPART" | "DATENAME",
                ) => self.text_constant(&part.concat()),
                _ => self.expression(argument)?,
            });
        }
        self.function(&upper, &bound)
    }

    fn aggregate(
        &mut self,
        name: &str,
        arguments: &[Expr],
        distinct: bool,
        over: Option<&Over>,
    ) -> Result<Option<Bound>> {
        let window = match over {
            Some(over) => self.window(over)?,
            None => String::new(),
        };
        let distinct = if distinct { "DISTINCT " } else { "" };
        let count = SqlType::of(if name == "COUNT" { Kind::Int } else { Kind::BigInt });
        Ok(Some(match (name, arguments) {
            ("COUNT" | "COUNT_BIG", [Expr::Star]) => {
                Bound::new(format!("count(*){window}"), count).required()
            }
            ("COUNT" | "COUNT_BIG", [value]) => {
                let value = self.expression(value)?;
                Bound::new(format!("count({distinct}{}){window}", collated(&value, &value.sql)), count)
                    .required()
            }
            ("MIN" | "MAX", [value]) => {
                let value = self.expression(value)?;
                if matches!(value.ty.kind, Kind::Bit | Kind::Text | Kind::NText | Kind::Image | Kind::Xml) {
                    let text = format!(
                        "Operand data type {} is invalid for {} operator.",
                        value.ty.kind.name(),
                        name.to_lowercase()
                    );
                    return Err(SqlError::new(8117, 16, text));
                }
                let function = name.to_ascii_lowercase();
                Bound::new(format!("{function}({}){window}", collated(&value, &value.sql)), value.ty)
            }
            ("SUM" | "AVG", [value]) => {
                if over.is_some() {
                    return Err(SqlError::unsupported("SUM and AVG over a window"));
                }
                let value = self.expression(value)?;
                let ty = summed(name, &value.ty)?;
                let function = if name == "SUM" { "t_sum" } else { "t_avg" };
                if !distinct.is_empty() {
                    return Err(SqlError::unsupported("SUM and AVG of distinct values"));
                }
                Bound::new(format!("{function}({}, {}, {})", ty.code(), value.sql, value.ty.code()), ty)
            }
            _ if over.is_some() => return self.ranked(name, arguments, &window),
            _ => return Ok(None),
        }))
    }

    /// Functions that want a window.
    fn ranked(&mut self, name: &str, arguments: &[Expr], window: &str) -> Result<Option<Bound>> {
        Ok(Some(match (name, arguments) {
            ("ROW_NUMBER" | "RANK" | "DENSE_RANK", []) => {
                let function = name.to_ascii_lowercase();
                Bound::new(format!("{function}(){window}"), SqlType::of(Kind::BigInt))
            }
            ("NTILE", [count]) => {
                let count = self.expression(count)?;
                Bound::new(format!("ntile({}){window}", count.sql), SqlType::of(Kind::BigInt))
            }
            ("LAG" | "LEAD" | "FIRST_VALUE" | "LAST_VALUE", [value, ..]) => {
                let value = self.expression(value)?;
                let function = name.to_ascii_lowercase();
                let further = match arguments.get(1) {
                    Some(offset) => format!(", {}", self.expression(offset)?.sql),
                    None => String::new(),
                };
                Bound::new(format!("{function}({}{further}){window}", value.sql), value.ty)
            }
            _ => return Ok(None),
        }))
    }

    fn window(&mut self, over: &Over) -> Result<String> {
        let mut parts = Vec::new();
        let mut partition = Vec::new();
        for expr in &over.partition {
            let bound = self.expression(expr)?;
            partition.push(collated(&bound, &bound.sql));
        }
        if !partition.is_empty() {
            parts.push(format!("PARTITION BY {}", partition.join(", ")));
        }
        let mut order = Vec::new();
        for by in &over.order {
            let bound = self.expression(&by.by)?;
            order.push(format!(
                "{}{}",
                collated(&bound, &bound.sql),
                if by.descending { " DESC" } else { "" }
            ));
        }
        if !order.is_empty() {
            parts.push(format!("ORDER BY {}", order.join(", ")));
        }
        Ok(format!(" OVER ({})", parts.join(" ")))
    }

    fn conditional(&mut self, name: &str, arguments: &[Expr]) -> Result<Option<Bound>> {
        Ok(Some(match (name, arguments) {
            ("ISNULL", [value, other]) => {
                let (value, other) = (self.expression(value)?, self.expression(other)?);
                let ty = if value.null { other.ty } else { value.ty };
                let sql = format!("coalesce({}, {})", value.sql, cast(&other, &ty, 0));
                Bound { nullable: value.nullable && other.nullable, ..Bound::new(sql, ty) }
            }
            ("COALESCE", [_, _, ..]) => {
                let values =
                    arguments.iter().map(|value| self.expression(value)).collect::<Result<Vec<_>>>()?;
                let all: Vec<&Bound> = values.iter().collect();
                let ty = common(&all);
                let list: Vec<String> = values.iter().map(|value| cast(value, &ty, 0)).collect();
                let nullable = values.iter().all(|value| value.nullable);
                Bound { nullable, ..Bound::new(format!("coalesce({})", list.join(", ")), ty) }
            }
            ("NULLIF", [a, b]) => {
                let same = Expr::Compare("=", Box::new(a.clone()), Box::new(b.clone()));
                let case = Expr::Case {
                    operand: None,
                    whens: vec![(same, Expr::Literal(Literal::Null))],
                    otherwise: Some(Box::new(a.clone())),
                };
                self.expression(&case)?
            }
            ("IIF", [condition, then, otherwise]) => {
                let case = Expr::Case {
                    operand: None,
                    whens: vec![(condition.clone(), then.clone())],
                    otherwise: Some(Box::new(otherwise.clone())),
                };
                self.expression(&case)?
            }
            ("NEWID", []) => Bound::new("randomblob(16)", SqlType::of(Kind::UniqueIdentifier)).required(),
            _ => return Ok(None),
        }))
    }

    /// A function over values: what it gives, and its call.
    fn function(&mut self, name: &str, arguments: &[Bound]) -> Result<Bound> {
        let unknown =
            || SqlError::new(195, 15, format!("'{name}' is not a recognized built-in function name."));
        let ty = result_of(name, arguments).ok_or_else(unknown)?;
        // Dates may be said as texts.
        let mut arguments = arguments.to_vec();
        let dates: &[usize] = match name {
            "DATEADD" | "DATEDIFF" | "DATEDIFF_BIG" => &[1, 2],
            "DATEPART" => &[1],
            "YEAR" | "MONTH" | "DAY" | "EOMONTH" => &[0],
            _ => &[],
        };
        for &at in dates {
            if let Some(date) = arguments.get_mut(at).filter(|date| date.ty.kind.is_text()) {
                let moment = SqlType::with_scale(Kind::DateTimeOffset, 7);
                *date = Bound { sql: cast(date, &moment, 0), ty: moment, ..date.clone() };
            }
        }
        Ok(called(name, ty, &arguments))
    }

    pub(super) fn method(&mut self, value: &Bound, name: &str, arguments: &[Expr]) -> Result<Bound> {
        let upper = name.to_ascii_uppercase();
        let max = |kind| SqlType::with_length(kind, MAX);
        let ty = match (value.ty.kind, upper.as_str()) {
            (Kind::HierarchyId, "TOSTRING") => SqlType::with_length(Kind::NVarChar, 4000),
            (Kind::HierarchyId, "GETLEVEL") => SqlType::of(Kind::SmallInt),
            (Kind::Geography | Kind::Geometry, "TOSTRING" | "ASTEXTZM" | "STASTEXT") => max(Kind::NVarChar),
            (Kind::Geography | Kind::Geometry, "STASBINARY" | "ASBINARYZM") => max(Kind::VarBinary),
            (Kind::Geography | Kind::Geometry, "STSRID") => SqlType::of(Kind::Int),
            (Kind::Geography | Kind::Geometry, "STGEOMETRYTYPE") => {
                SqlType::with_length(Kind::NVarChar, 4000)
            }
            (Kind::Geography | Kind::Geometry, "STISVALID" | "STISEMPTY") => SqlType::of(Kind::Bit),
            (kind, _) => {
                let text = format!(
                    "Could not find method '{name}' for type '{}' or {} is ambiguous.",
                    kind.name(),
                    name
                );
                return Err(SqlError::new(6506, 16, text));
            }
        };
        let mut all = vec![value.clone()];
        for argument in arguments {
            all.push(self.expression(argument)?);
        }
        Ok(called(&upper, ty, &all))
    }

    pub(super) fn static_call(&mut self, ty: &str, name: &str, arguments: &[Expr]) -> Result<Bound> {
        let kind = Kind::parse(ty).filter(|kind| kind.is_udt());
        let kind =
            kind.ok_or_else(|| SqlError::new(243, 16, format!("Type {ty} is not a defined system type.")))?;
        let result = SqlType::of(kind);
        let mut bound = Vec::new();
        for argument in arguments {
            bound.push(self.expression(argument)?);
        }
        let text = SqlType::with_length(Kind::NVarChar, MAX);
        let upper = name.to_ascii_uppercase();
        match (upper.as_str(), bound.as_slice()) {
            ("PARSE", [value]) => Ok(Bound::new(cast(value, &result, 0), result)),
            ("GETROOT", []) => Ok(self.constant(result, Datum::Text(b"/".to_vec()))),
            ("POINT", [_, _, _]) => Ok(called("POINT", result, &bound)),
            (method, [shape, srid]) if method.starts_with("ST") && method.ends_with("FROMTEXT") => {
                let shape = Bound { sql: cast(shape, &text, 0), ty: text, ..shape.clone() };
                Ok(called("SHAPE", result, &[shape, srid.clone()]))
            }
            _ => {
                let text = format!("Could not find method '{name}' for type '{ty}'.");
                Err(SqlError::new(6506, 16, text))
            }
        }
    }
}

fn called(name: &str, ty: SqlType, arguments: &[Bound]) -> Bound {
    let mut sql = format!("t_call('{name}', {}", ty.code());
    for argument in arguments {
        sql += &format!(", {}, {}", argument.sql, argument.ty.code());
    }
    let nullable = name != "CONCAT" && arguments.iter().any(|argument| argument.nullable);
    let collated = arguments.iter().any(|argument| argument.collated);
    Bound { nullable, collated, ..Bound::new(sql + ")", ty) }
}

/// The type of SUM and AVG.
fn summed(name: &str, ty: &SqlType) -> Result<SqlType> {
    Ok(match ty.kind {
        Kind::TinyInt | Kind::SmallInt | Kind::Int => SqlType::of(Kind::Int),
        Kind::BigInt => SqlType::of(Kind::BigInt),
        Kind::Real | Kind::Float => SqlType::of(Kind::Float),
        Kind::Money | Kind::SmallMoney => SqlType::of(Kind::Money),
        Kind::Decimal | Kind::Numeric => {
            let scale = if name == "AVG" { ty.scale.max(6) } else { ty.scale };
            SqlType { precision: 38, scale, ..*ty }
        }
        kind => {
            let text =
                format!("Operand data type {} is invalid for {} operator.", kind.name(), name.to_lowercase());
            return Err(SqlError::new(8117, 16, text));
        }
    })
}

/// What a function gives; `None` if there is none of this name.
fn result_of(name: &str, arguments: &[Bound]) -> Option<SqlType> {
    let first = arguments.first().map(|argument| argument.ty);
    let max = |kind| SqlType::with_length(kind, MAX);
    // A text of the argument's width.
    let like = |length: Option<u16>| {
        let ty = first.unwrap_or(max(Kind::VarChar));
        let kind = match ty.kind {
            kind if kind.is_wide() || kind == Kind::Xml => Kind::NVarChar,
            kind if kind.is_binary() => Kind::VarBinary,
            _ => Kind::VarChar,
        };
        let own = if ty.kind.is_text() || ty.kind.is_binary() { ty.length } else { 50 };
        let most = if kind == Kind::NVarChar { 4000 } else { 8000 };
        let length = if own == MAX { MAX } else { length.unwrap_or(own).min(most) };
        SqlType { kind, length, ..ty }
    };
    Some(match name {
        "LEN" | "DATALENGTH" | "CHARINDEX" if first?.is_max() => SqlType::of(Kind::BigInt),
        "LEN" | "DATALENGTH" | "CHARINDEX" | "ASCII" | "UNICODE" | "YEAR" | "MONTH" | "DAY" | "DATEPART"
        | "DATEDIFF" | "ISJSON" => SqlType::of(Kind::Int),
        "DATEDIFF_BIG" => SqlType::of(Kind::BigInt),
        "UPPER" | "LOWER" | "LTRIM" | "RTRIM" | "TRIM" | "REVERSE" | "SUBSTRING" | "LEFT" | "RIGHT" => {
            like(None)
        }
        "REPLACE" | "REPLICATE" | "STUFF" => like(Some(8000)),
        "SPACE" => SqlType::with_length(Kind::VarChar, 8000),
        "CONCAT" => {
            let wide = arguments.iter().any(|argument| argument.ty.kind.is_wide());
            let long = arguments.iter().any(|argument| argument.ty.kind.is_text() && argument.ty.is_max());
            let (kind, length) = if wide { (Kind::NVarChar, 4000) } else { (Kind::VarChar, 8000) };
            SqlType::with_length(kind, if long { MAX } else { length })
        }
        "QUOTENAME" => SqlType::with_length(Kind::NVarChar, 258),
        "CHAR" => SqlType::with_length(Kind::Char, 1),
        "NCHAR" => SqlType::with_length(Kind::NChar, 1),
        "HASHBYTES" => SqlType::with_length(Kind::VarBinary, 8000),
        "ABS" | "ROUND" | "SIGN" => first?,
        "CEILING" | "FLOOR" if first?.kind.is_scaled() => SqlType { scale: 0, ..first? },
        "CEILING" | "FLOOR" => first?,
        "SQRT" | "POWER" => SqlType::of(Kind::Float),
        "DATEADD" => match arguments.get(2)?.ty {
            ty if ty.kind.is_temporal() => ty,
            _ => SqlType::of(Kind::DateTime),
        },
        "EOMONTH" | "DATEFROMPARTS" => SqlType::of(Kind::Date),
        "SWITCHOFFSET" => first?,
        "TODATETIMEOFFSET" => {
            let scale = if first?.kind == Kind::DateTime2 { first?.scale } else { 7 };
            SqlType::with_scale(Kind::DateTimeOffset, scale)
        }
        "SQL_VARIANT_PROPERTY" => SqlType::with_length(Kind::NVarChar, 128),
        _ => return None,
    })
}
