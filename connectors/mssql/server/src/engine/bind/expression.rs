//! Expressions and predicates.

use super::{Binder, Bound, cast, collated, common, exact_result, incompatible, is_kept_alike, wider};
use crate::error::{Result, SqlError};
use crate::sql::ast::{Expr, Literal};
use crate::types::collation::Collation;
use crate::types::datum::Datum;
use crate::types::{Kind, MAX, SqlType, numbers};

impl Binder<'_> {
    pub(in crate::engine) fn expression(&mut self, expr: &Expr) -> Result<Bound> {
        match expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Column(name) => self.column_or_property(name),
            Expr::Variable(name) => self.variable(name),
            Expr::Sign(sign, inner) => self.signed(sign, inner),
            Expr::Arithmetic(sign, a, b) => {
                let (a, b) = (self.expression(a)?, self.expression(b)?);
                self.arithmetic(sign, &a, &b)
            }
            Expr::Case { operand, whens, otherwise } => {
                self.case(operand.as_deref(), whens, otherwise.as_deref())
            }
            Expr::Cast { value, ty, style, tries } => self.cast(value, &ty.ty, style.as_deref(), *tries),
            Expr::Call { name, arguments, distinct, over } => {
                self.call(name, arguments, *distinct, over.as_deref())
            }
            Expr::Static { ty, name, arguments } => self.static_call(ty, name, arguments),
            Expr::Method { value, name, arguments } => {
                let value = self.expression(value)?;
                self.method(&value, name, arguments)
            }
            Expr::Subquery(query) => {
                let bound = self.nested(query)?;
                let [column] = bound.columns.as_slice() else {
                    let text = "Only one expression can be specified in the select list when the subquery is not \
                                introduced with EXISTS.";
                    return Err(SqlError::new(116, 16, text));
                };
                Ok(Bound::new(format!("({})", bound.sql), column.ty))
            }
            Expr::Collate(inner, name) => {
                let bound = self.expression(inner)?;
                let collation = Collation::parse(name)
                    .ok_or_else(|| SqlError::new(448, 16, format!("Invalid collation '{name}'.")))?;
                let ty = bound.ty.collated(collation);
                // What the code page of the collation does not have is lost here.
                let sql = if bound.ty.kind.is_narrow() { cast(&bound, &ty, 0) } else { bound.sql.clone() };
                Ok(Bound { ty, sql, collated: true, origin: None, ..bound })
            }
            Expr::AtTimeZone(..) => Err(SqlError::unsupported("AT TIME ZONE")),
            Expr::Star => Err(SqlError::syntax("*")),
            predicate => {
                let sql = self.predicate(predicate)?;
                Ok(Bound::new(sql, SqlType::of(Kind::Boolean)))
            }
        }
    }

    fn literal(&mut self, literal: &Literal) -> Result<Bound> {
        let text_type = |value: &str, national: bool| {
            let length = u16::try_from(value.encode_utf16().count()).unwrap_or(MAX).max(1);
            let (kind, most) = if national { (Kind::NVarChar, 4000) } else { (Kind::VarChar, 8000) };
            SqlType::with_length(kind, if length > most { MAX } else { length })
        };
        Ok(match literal {
            Literal::Null | Literal::Default => self.constant(SqlType::of(Kind::Int), Datum::Null),
            Literal::Text { value, national } => {
                let ty = text_type(value, *national);
                let text = value.as_bytes().to_vec();
                // Without the N, characters that the code page does not have are lost.
                let text = if *national { text } else { ty.collation.decode(&ty.collation.encode(&text)) };
                self.constant(ty, Datum::Text(text))
            }
            Literal::Binary(bytes) => {
                let length = u16::try_from(bytes.len()).unwrap_or(MAX).max(1);
                let ty = SqlType::with_length(Kind::VarBinary, if length > 8000 { MAX } else { length });
                self.constant(ty, Datum::Bytes(bytes.clone()))
            }
            Literal::Money(text) => {
                let wrong = || SqlError::syntax(text);
                let (value, scale) = numbers::parse(text).ok_or_else(wrong)?;
                let value = numbers::rescale(value, scale, 4).ok_or_else(wrong)?;
                self.constant(SqlType::of(Kind::Money), Datum::Scaled(value))
            }
            Literal::Number(text) => self.number(text)?,
        })
    }

    fn number(&mut self, text: &str) -> Result<Bound> {
        if text.contains(['e', 'E']) {
            let value = text.parse().map_err(|_| SqlError::syntax(text))?;
            return Ok(self.constant(SqlType::of(Kind::Float), Datum::Float(value)));
        }
        if !text.contains('.')
            && let Ok(value) = text.parse::<i32>()
        {
            let digits = Some(numbers::digits(i128::from(value)));
            return Ok(Bound {
                digits,
                ..self.constant(SqlType::of(Kind::Int), Datum::Int(i64::from(value)))
            });
        }
        let too_long = || {
            let text = format!(
                "The number '{text}' is out of the range for numeric representation (maximum precision 38)."
            );
            SqlError::new(1007, 15, text)
        };
        let (value, scale) = numbers::parse(text).ok_or_else(too_long)?;
        let precision = numbers::digits(value).max(scale).max(1);
        if precision > 38 {
            return Err(too_long());
        }
        let ty = SqlType { kind: Kind::Numeric, ..SqlType::decimal(precision, scale) };
        Ok(self.constant(ty, Datum::Scaled(value)))
    }

    fn column_or_property(&mut self, name: &[String]) -> Result<Bound> {
        let found = self.column(&name.to_vec());
        // `shape.STSrid` looks like a column of a table.
        if let (Err(error), [before @ .., property]) = (&found, name)
            && !before.is_empty()
        {
            let Ok(value) = self.column(&before.to_vec()) else { return Err(error.clone()) };
            return self.method(&value, property, &[]);
        }
        found
    }

    fn signed(&mut self, sign: &str, inner: &Expr) -> Result<Bound> {
        // -2147483648 is an int, though 2147483648 is none; so with bigint.
        if let (Expr::Literal(Literal::Number(text)), "-") = (inner, sign)
            && let Ok(value) = format!("-{text}").parse::<i32>()
        {
            let digits = Some(numbers::digits(i128::from(value)));
            return Ok(Bound {
                digits,
                ..self.constant(SqlType::of(Kind::Int), Datum::Int(i64::from(value)))
            });
        }
        let bound = self.expression(inner)?;
        let code = bound.ty.code();
        Ok(match sign {
            "+" => bound,
            "-" => Bound {
                origin: None,
                ..Bound::new(format!("t_call('NEGATIVE', {code}, {}, {code})", bound.sql), bound.ty)
            },
            _ => Bound::new(format!("t_call('~', {code}, {}, {code})", bound.sql), bound.ty),
        })
    }

    fn arithmetic(&mut self, sign: &str, a: &Bound, b: &Bound) -> Result<Bound> {
        let result = match (a.ty.kind, b.ty.kind) {
            _ if a.null => b.ty,
            _ if b.null => a.ty,
            (x, y) if sign == "+" && x.is_text() && y.is_text() => concatenated(&a.ty, &b.ty),
            (x, y) if sign == "+" && x.is_binary() && y.is_binary() => {
                let length = a.ty.length.saturating_add(b.ty.length);
                SqlType::with_length(Kind::VarBinary, if length > 8000 { MAX } else { length })
            }
            (x, y) if x.is_float() && y.is_number() || x.is_number() && y.is_float() => {
                SqlType::of(Kind::Float)
            }
            (x, y) if x.is_integer() && y.is_integer() => wider(&a.ty, &b.ty),
            (x, y) if is_money(x) && (is_money(y) || y.is_integer()) || x.is_integer() && is_money(y) => {
                SqlType::of(Kind::Money)
            }
            (x, y) if exact(x) && exact(y) => {
                exact_result(sign, &digits_of_literal(a), &digits_of_literal(b))
            }
            (x, y) if x.is_temporal() && y.is_number() => a.ty,
            (x, y) if x.is_number() && y.is_temporal() => b.ty,
            (x, y) if x.is_text() && y.is_number() => {
                let number = Bound { sql: cast(a, &b.ty, 0), ty: b.ty, ..a.clone() };
                return self.arithmetic(sign, &number, b);
            }
            (x, y) if x.is_number() && y.is_text() => {
                let number = Bound { sql: cast(b, &a.ty, 0), ty: a.ty, ..b.clone() };
                return self.arithmetic(sign, a, &number);
            }
            (x, y) if x.is_integer() && y.is_binary() => a.ty,
            (x, y) if x.is_binary() && y.is_integer() => b.ty,
            _ => return Err(incompatible(&a.ty, &b.ty, sign)),
        };
        let call = format!(
            "t_call('{sign}', {}, {}, {}, {}, {})",
            result.code(),
            a.sql,
            a.ty.code(),
            b.sql,
            b.ty.code()
        );
        Ok(Bound {
            nullable: a.nullable || b.nullable,
            collated: a.collated || b.collated,
            ..Bound::new(call, result)
        })
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        whens: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
    ) -> Result<Bound> {
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        for (when, then) in whens {
            let condition = match operand {
                Some(operand) => {
                    self.predicate(&Expr::Compare("=", Box::new(operand.clone()), Box::new(when.clone())))?
                }
                None => self.predicate(when)?,
            };
            conditions.push(condition);
            values.push(self.expression(then)?);
        }
        let otherwise = match otherwise {
            Some(otherwise) => self.expression(otherwise)?,
            None => self.literal(&Literal::Null)?,
        };
        let all: Vec<&Bound> = values.iter().chain([&otherwise]).collect();
        let ty = common(&all);
        let nullable = all.iter().any(|value| value.nullable);
        let mut sql = String::from("CASE");
        for (condition, value) in conditions.iter().zip(&values) {
            sql += &format!(" WHEN {condition} THEN {}", cast(value, &ty, 0));
        }
        sql += &format!(" ELSE {} END", cast(&otherwise, &ty, 0));
        Ok(Bound { nullable, ..Bound::new(format!("({sql})"), ty) })
    }

    fn cast(&mut self, value: &Expr, to: &SqlType, style: Option<&Expr>, tries: bool) -> Result<Bound> {
        let bound = self.expression(value)?;
        let to = &match bound.ty.kind {
            // A cast to a narrow text keeps the collation.
            kind if to.kind.is_text() && kind.is_text() => to.collated(bound.ty.collation),
            _ => *to,
        };
        let style = match style {
            None => 0,
            Some(Expr::Literal(Literal::Number(text))) => text.parse().unwrap_or(0),
            Some(_) => return Err(SqlError::unsupported("styles that are no literals")),
        };
        let sql = if tries {
            format!("t_try_cast({}, {}, {}, {style})", bound.sql, bound.ty.code(), to.code())
        } else {
            cast(&bound, to, style)
        };
        Ok(Bound { nullable: bound.nullable || tries, collated: bound.collated, ..Bound::new(sql, *to) })
    }

    /// A condition.
    pub(in crate::engine) fn predicate(&mut self, expr: &Expr) -> Result<String> {
        match expr {
            Expr::And(a, b) => Ok(format!("({} AND {})", self.predicate(a)?, self.predicate(b)?)),
            Expr::Or(a, b) => Ok(format!("({} OR {})", self.predicate(a)?, self.predicate(b)?)),
            Expr::Not(inner) => Ok(format!("(NOT {})", self.predicate(inner)?)),
            Expr::IsNull(inner) => Ok(format!("({} IS NULL)", self.expression(inner)?.sql)),
            Expr::Compare(sign, a, b) => {
                let (a, b) = (self.expression(a)?, self.expression(b)?);
                compare(sign, &a, &b)
            }
            Expr::Between(value, low, high) => {
                let value = self.expression(value)?;
                let (low, high) = (self.expression(low)?, self.expression(high)?);
                Ok(format!("({} AND {})", compare(">=", &value, &low)?, compare("<=", &value, &high)?))
            }
            Expr::In(value, list) => {
                let value = self.expression(value)?;
                let mut parts = Vec::new();
                for item in list {
                    let item = self.expression(item)?;
                    parts.push(compare("=", &value, &item)?);
                }
                Ok(format!("({})", parts.join(" OR ")))
            }
            Expr::InQuery(value, query) => {
                let value = self.expression(value)?;
                let bound = self.nested(query)?;
                let Some(column) = bound.columns.first() else { return Err(SqlError::syntax("IN")) };
                let found = Bound::new("o1", column.ty);
                let ty = common(&[&value, &found]);
                let (left, right) = (comparable(&value, &ty), comparable(&found, &ty));
                Ok(format!("({left} IN (SELECT {right} FROM ({})))", bound.sql))
            }
            Expr::Exists(query) => Ok(format!("EXISTS ({})", self.nested(query)?.sql)),
            Expr::Like { value, pattern, escape } => {
                let text = SqlType::with_length(Kind::NVarChar, MAX);
                let (value, pattern) = (self.expression(value)?, self.expression(pattern)?);
                let folds = value.ty.collation.ignores_case() || !value.ty.kind.is_text();
                let escape = match escape {
                    Some(escape) => self.expression(escape)?.sql,
                    None => "NULL".to_owned(),
                };
                let (value, pattern) = (cast(&value, &text, 0), cast(&pattern, &text, 0));
                Ok(format!("t_like({value}, {pattern}, {escape}, {})", u8::from(folds)))
            }
            other => {
                let bound = self.expression(other)?;
                if bound.ty.kind != Kind::Boolean {
                    let text = "An expression of non-boolean type specified in a context where a condition is expected.";
                    return Err(SqlError::new(4145, 15, text));
                }
                Ok(bound.sql)
            }
        }
    }
}

fn is_money(kind: Kind) -> bool {
    matches!(kind, Kind::Money | Kind::SmallMoney)
}

fn exact(kind: Kind) -> bool {
    kind.is_integer() || kind.is_scaled()
}

/// An integer literal joins decimals with just the digits that it has.
fn digits_of_literal(bound: &Bound) -> Bound {
    let mut bound = bound.clone();
    if let Some(digits) = bound.digits {
        bound.ty.precision = digits;
    }
    bound
}

fn concatenated(a: &SqlType, b: &SqlType) -> SqlType {
    let wide = a.kind.is_wide() || b.kind.is_wide();
    let length = if a.is_max() || b.is_max() { MAX } else { a.length.saturating_add(b.length) };
    let most = if wide { 4000 } else { 8000 };
    // Two texts of limited length stay limited.
    let length = if length == MAX { MAX } else { length.min(most) };
    let kind = if wide { Kind::NVarChar } else { Kind::VarChar };
    SqlType::with_length(kind, length).collated(a.collation)
}

/// Both sides in their common type, and in a form whose order is that of the values.
fn compare(sign: &str, a: &Bound, b: &Bound) -> Result<String> {
    for bound in [a, b] {
        let long = matches!(bound.ty.kind, Kind::Text | Kind::NText | Kind::Image | Kind::Xml);
        if long || matches!(bound.ty.kind, Kind::Boolean | Kind::Geography | Kind::Geometry) {
            let text = format!(
                "The data types {} and {} are incompatible in the {sign} operator.",
                a.ty.kind.name(),
                b.ty.kind.name()
            );
            return Err(SqlError::new(402, 16, text));
        }
    }
    let mut ty = if is_kept_alike(&a.ty, &b.ty) { b.ty } else { common(&[a, b]) };
    if ty.kind.is_text() {
        // COLLATE wins over columns, columns win over literals.
        let weight = |bound: &Bound| (bound.collated, !bound.literal && bound.ty.kind.is_text());
        ty.collation = if weight(b) > weight(a) { b.ty.collation } else { a.ty.collation };
    }
    Ok(format!("({} {sign} {})", comparable(a, &ty), comparable(b, &ty)))
}

fn comparable(bound: &Bound, ty: &SqlType) -> String {
    match ty.kind {
        // Offsets do not count.
        Kind::DateTimeOffset => format!("substr({}, 1, 8)", cast(bound, ty, 0)),
        // Texts are compared whole, whatever length the common type has.
        kind if kind.is_text() && bound.ty.kind.is_text() => {
            let typed = Bound { ty: bound.ty.collated(ty.collation), ..bound.clone() };
            collated(&typed, &bound.sql)
        }
        kind if kind.is_text() => {
            let text = cast(bound, &SqlType { length: MAX, ..*ty }, 0);
            format!("{text} COLLATE {}", ty.collation.sqlite_name())
        }
        kind if kind.is_binary() && bound.ty.kind.is_binary() => bound.sql.clone(),
        _ => cast(bound, ty, 0),
    }
}
