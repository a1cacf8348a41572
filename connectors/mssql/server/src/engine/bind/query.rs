//! SELECT as SQLite takes it.

use super::{Binder, Bound, BoundQuery, Common, OutColumn, cast, collated, common};
use crate::error::{Result, SqlError};
use crate::sql::ast::{Body, Cte, Expr, From, Item, Join, Literal, Order, Query, Select};
use crate::types::{Kind, SqlType};

impl Binder<'_> {
    pub(in crate::engine) fn query(&mut self, query: &Query) -> Result<BoundQuery> {
        let commons = self.commons.len();
        let bound = self.with_commons(query);
        self.commons.truncate(commons);
        bound
    }

    /// A query inside of another statement, where an order without a limit means nothing.
    pub(super) fn nested(&mut self, query: &Query) -> Result<BoundQuery> {
        let limited = match &query.body {
            Body::Select(select) => select.top.is_some(),
            _ => false,
        };
        if !query.order.is_empty() && !limited && query.offset.is_none() {
            let text = "The ORDER BY clause is invalid in views, inline functions, derived tables, subqueries, and \
                        common table expressions, unless TOP, OFFSET or FOR XML is also specified.";
            return Err(SqlError::new(1033, 15, text));
        }
        self.query(query)
    }

    fn with_commons(&mut self, query: &Query) -> Result<BoundQuery> {
        let mut with = Vec::new();
        for cte in &query.with {
            with.push(self.common_query(cte)?);
        }
        let mut bound = match &query.body {
            Body::Select(select) => self.select(select, query)?,
            body => self.set(body, query)?,
        };
        if !with.is_empty() {
            bound.sql = format!("WITH RECURSIVE {} {}", with.join(", "), bound.sql);
        }
        Ok(bound)
    }

    /// A query of WITH. One that names itself is bound with the columns of its first part.
    fn common_query(&mut self, cte: &Cte) -> Result<String> {
        let sql = self.fresh("w");
        let rename = |columns: Vec<OutColumn>| {
            let mut columns = columns;
            for (column, name) in columns.iter_mut().zip(&cte.columns) {
                column.name.clone_from(name);
            }
            columns
        };
        let mut bound = None;
        if let Body::Set("UNION ALL", first, further) = &cte.query.body {
            let first = self.body(first)?;
            let columns = rename(first.columns.clone());
            self.commons.push(Common { name: cte.name.clone(), sql: sql.clone(), columns });
            let further = self.body(further);
            self.commons.pop();
            // SQLite wants the part that names the whole as it is, not in a query around it.
            if let Ok(further) = further
                && further.sql.contains(&format!("{sql} AS "))
            {
                bound = Some(BoundQuery { sql: format!("{} UNION ALL {}", first.sql, further.sql), ..first });
            }
        }
        let bound = match bound {
            Some(bound) => bound,
            // What was bound above leaves values that nothing names.
            None => self.nested(&cte.query)?,
        };
        check_names(&cte.name, &rename(bound.columns.clone()))?;
        let names: Vec<String> = (1..=bound.columns.len()).map(|number| format!("o{number}")).collect();
        let text = format!("{sql}({}) AS ({})", names.join(", "), bound.sql);
        self.commons.push(Common { name: cte.name.clone(), sql, columns: rename(bound.columns) });
        Ok(text)
    }

    fn select(&mut self, select: &Select, query: &Query) -> Result<BoundQuery> {
        self.scopes.push(Vec::new());
        let bound = self.select_in_scope(select, query);
        self.scopes.pop();
        bound
    }

    fn select_in_scope(&mut self, select: &Select, query: &Query) -> Result<BoundQuery> {
        self.remember_object(&select.from, select.filter.as_ref());
        let mut from = Vec::new();
        for table in &select.from {
            from.push(self.from(table)?);
        }
        let filter = select.filter.as_ref().map(|filter| self.predicate(filter)).transpose()?;
        let (items, names) = self.items(select)?;
        let mut sql = String::from(if select.distinct { "SELECT DISTINCT " } else { "SELECT " });
        let list: Vec<String> = items
            .iter()
            .zip(1..)
            .map(|(item, number)| {
                let value = if select.distinct { collated(item, &item.sql) } else { item.sql.clone() };
                format!("{value} AS o{number}")
            })
            .collect();
        sql += &list.join(", ");
        if !from.is_empty() {
            sql += &format!(" FROM {}", from.join(", "));
        }
        if let Some(filter) = filter {
            sql += &format!(" WHERE {filter}");
        }
        let mut group = Vec::new();
        for expr in &select.group {
            let bound = self.expression(expr)?;
            group.push(collated(&bound, &bound.sql));
        }
        if !group.is_empty() {
            sql += &format!(" GROUP BY {}", group.join(", "));
        }
        if let Some(having) = &select.having {
            sql += &format!(" HAVING {}", self.predicate(having)?);
        }
        let mut order = Vec::new();
        for by in &query.order {
            order.push(self.order(by, &items, &names)?);
        }
        if !order.is_empty() {
            let list: Vec<&str> = order.iter().map(|(sql, _)| sql.as_str()).collect();
            sql += &format!(" ORDER BY {}", list.join(", "));
        }
        sql += &self.limits(select.top.as_ref(), query)?;
        let columns = items.into_iter().zip(names).map(|(item, name)| out(item, name)).collect();
        let order: Option<Vec<u16>> = order.into_iter().map(|(_, column)| column).collect();
        Ok(BoundQuery { sql, columns, order: order.unwrap_or_default() })
    }

    fn items(&mut self, select: &Select) -> Result<(Vec<Bound>, Vec<String>)> {
        let (mut items, mut names) = (Vec::new(), Vec::new());
        for item in &select.items {
            match item {
                Item::All(table) => {
                    let scope = self.scopes.last().cloned().unwrap_or_default();
                    let before = items.len();
                    for known in scope {
                        if table.as_ref().is_some_and(|table| !super::names::same(&known.alias, table)) {
                            continue;
                        }
                        for column in known.columns.into_iter().filter(|column| !column.hidden) {
                            items.push(column.bound);
                            names.push(column.name);
                        }
                    }
                    if items.len() == before {
                        return Err(SqlError::new(263, 16, "Must specify table to select from."));
                    }
                }
                Item::Value { value, alias } => {
                    let bound = self.expression(value)?;
                    if bound.ty.kind == Kind::Boolean {
                        return Err(SqlError::syntax("="));
                    }
                    items.push(bound);
                    names.push(alias.clone().unwrap_or_else(|| match value {
                        Expr::Column(name) => name.last().cloned().unwrap_or_default(),
                        _ => String::new(),
                    }));
                }
                Item::Assign { value, .. } => {
                    items.push(self.expression(value)?);
                    names.push(String::new());
                }
            }
        }
        Ok((items, names))
    }

    /// What to order by, and the column's number if it is one of the result.
    fn order(&mut self, by: &Order, items: &[Bound], names: &[String]) -> Result<(String, Option<u16>)> {
        let direction = if by.descending { " DESC" } else { "" };
        let number = match &by.by {
            Expr::Literal(Literal::Number(text)) => text.parse().ok(),
            Expr::Column(name) if name.len() == 1 => {
                let place = names.iter().position(|known| super::names::same(known, &name[0]));
                place.map(|place| place + 1)
            }
            _ => None,
        };
        let numbered =
            number.and_then(|number: usize| Some((items.get(number.checked_sub(1)?)?.clone(), number)));
        let (bound, number) = match numbered {
            Some((bound, number)) => (bound, u16::try_from(number).ok()),
            None => (self.expression(&by.by)?, None),
        };
        let number = number.or_else(|| {
            let place = items.iter().position(|item| item.sql == bound.sql)?;
            u16::try_from(place + 1).ok()
        });
        Ok((format!("{}{direction}", collated(&bound, &bound.sql)), number))
    }

    fn limits(&mut self, top: Option<&Expr>, query: &Query) -> Result<String> {
        let bigint = SqlType::of(Kind::BigInt);
        let limit = |this: &mut Self, expr: &Expr| -> Result<String> {
            let bound = this.expression(expr)?;
            Ok(cast(&bound, &bigint, 0))
        };
        let count = match (top, &query.fetch) {
            (Some(count), _) | (None, Some(count)) => Some(limit(self, count)?),
            (None, None) => None,
        };
        let offset = query.offset.as_ref().map(|offset| limit(self, offset)).transpose()?;
        Ok(match (count, offset) {
            (None, None) => String::new(),
            (count, offset) => {
                format!(
                    " LIMIT {} OFFSET {}",
                    count.as_deref().unwrap_or("-1"),
                    offset.as_deref().unwrap_or("0")
                )
            }
        })
    }

    /// UNION and its like: every part gives the types that all come together in.
    fn set(&mut self, body: &Body, query: &Query) -> Result<BoundQuery> {
        let mut bound = self.body(body)?;
        let names: Vec<String> = bound.columns.iter().map(|column| column.name.clone()).collect();
        let items: Vec<Bound> = bound
            .columns
            .iter()
            .zip(1..)
            .map(|(column, number)| Bound::new(format!("o{number}"), column.ty))
            .collect();
        let mut order = Vec::new();
        for by in &query.order {
            let (sql, number) = self.order(by, &items, &names)?;
            order.push(sql);
            bound.order.extend(number);
        }
        let limits = self.limits(None, query)?;
        if !order.is_empty() || !limits.is_empty() {
            let order =
                if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
            bound.sql = format!("SELECT * FROM ({}){order}{limits}", bound.sql);
        }
        Ok(bound)
    }

    fn body(&mut self, body: &Body) -> Result<BoundQuery> {
        match body {
            Body::Select(select) => {
                let mut bound = self.select(select, &empty())?;
                if select.top.is_some() {
                    bound.sql = format!("SELECT * FROM ({})", bound.sql);
                }
                Ok(bound)
            }
            Body::Query(query) => {
                let mut bound = self.query(query)?;
                bound.sql = format!("SELECT * FROM ({})", bound.sql);
                Ok(bound)
            }
            Body::Set(operator, left, right) => {
                let (left, right) = (self.body(left)?, self.body(right)?);
                if left.columns.len() != right.columns.len() {
                    let text = "All queries combined using a UNION, INTERSECT or EXCEPT operator must have an equal \
                                number of expressions in their target lists.";
                    return Err(SqlError::new(205, 16, text));
                }
                let mut columns = Vec::new();
                let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
                for ((a, b), number) in left.columns.iter().zip(&right.columns).zip(1..) {
                    let name = format!("o{number}");
                    let side = |column: &OutColumn| Bound {
                        nullable: column.nullable,
                        ..Bound::new(name.clone(), column.ty)
                    };
                    let (bound_a, bound_b) = (side(a), side(b));
                    let ty = common(&[&bound_a, &bound_b]);
                    let part = |bound: &Bound| {
                        let value = cast(bound, &ty, 0);
                        let typed = Bound::new(value.clone(), ty);
                        format!(
                            "{} AS {name}",
                            if *operator == "UNION ALL" { value } else { collated(&typed, &value) }
                        )
                    };
                    of_left.push(part(&bound_a));
                    of_right.push(part(&bound_b));
                    columns.push(OutColumn {
                        name: a.name.clone(),
                        ty,
                        nullable: a.nullable || b.nullable,
                        origin: None,
                    });
                }
                let sql = format!(
                    "SELECT {} FROM ({}) {operator} SELECT {} FROM ({})",
                    of_left.join(", "),
                    left.sql,
                    of_right.join(", "),
                    right.sql
                );
                Ok(BoundQuery { sql, columns, order: Vec::new() })
            }
        }
    }

    pub(super) fn from(&mut self, from: &From) -> Result<String> {
        match from {
            From::Table { name, alias, hints } => self.table(name, alias.as_ref(), hints),
            From::Function { name, .. } => Err(SqlError::object(&name.join("."))),
            From::Query { query, alias, columns } => {
                // A derived table does not see the tables beside it.
                let beside = self.scopes.pop();
                let bound = self.nested(query);
                self.scopes.extend(beside);
                let mut bound = bound?;
                for (column, name) in bound.columns.iter_mut().zip(columns) {
                    column.name.clone_from(name);
                }
                check_names(alias, &bound.columns)?;
                let place = self.fresh("q");
                self.add_columns(alias, &place, &bound.columns);
                Ok(format!("({}) AS {place}", bound.sql))
            }
            From::Values { rows, alias, columns } => self.rows(rows, alias, columns),
            From::Join { kind, left, right, on } => self.join(*kind, left, right, on.as_ref()),
        }
    }

    fn rows(&mut self, rows: &[Vec<Expr>], alias: &str, names: &[String]) -> Result<String> {
        let mut bound = Vec::new();
        for row in rows {
            bound.push(row.iter().map(|value| self.expression(value)).collect::<Result<Vec<_>>>()?);
        }
        let width = bound.first().map_or(0, Vec::len);
        let mut columns = Vec::new();
        for at in 0..width {
            let values: Vec<&Bound> = bound.iter().filter_map(|row| row.get(at)).collect();
            let nullable = values.iter().any(|value| value.nullable);
            let name = names.get(at).cloned().unwrap_or_default();
            columns.push(OutColumn { name, ty: common(&values), nullable, origin: None });
        }
        let text: Vec<String> = bound
            .iter()
            .map(|row| {
                let values: Vec<String> = row
                    .iter()
                    .zip(columns.iter().zip(1..))
                    .map(|(value, (column, number))| format!("{} AS o{number}", cast(value, &column.ty, 0)))
                    .collect();
                format!("SELECT {}", values.join(", "))
            })
            .collect();
        let place = self.fresh("q");
        self.add_columns(alias, &place, &columns);
        Ok(format!("({}) AS {place}", text.join(" UNION ALL ")))
    }

    fn join(&mut self, kind: Join, left: &From, right: &From, on: Option<&Expr>) -> Result<String> {
        if kind == Join::Apply {
            return self.apply(left, right);
        }
        let before = self.scopes.last().map_or(0, Vec::len);
        let left = self.from(left)?;
        let between = self.scopes.last().map_or(0, Vec::len);
        let right = self.from(right)?;
        let on = on.map(|on| self.predicate(on)).transpose()?;
        if let Some(scope) = self.scopes.last_mut() {
            for (at, table) in scope.iter_mut().enumerate().skip(before) {
                let filled = match kind {
                    Join::Left => at >= between,
                    Join::Right => at < between,
                    Join::Full => true,
                    _ => false,
                };
                if filled {
                    table.columns.iter_mut().for_each(|column| column.bound.nullable = true);
                }
            }
        }
        let word = match kind {
            Join::Inner => "JOIN",
            Join::Left => "LEFT JOIN",
            Join::Right => "RIGHT JOIN",
            Join::Full => "FULL JOIN",
            Join::Cross => "CROSS JOIN",
            Join::Apply | Join::OuterApply => return Err(SqlError::unsupported("OUTER APPLY")),
        };
        let on = on.map(|on| format!(" ON {on}")).unwrap_or_default();
        Ok(format!("{left} {word} {right}{on}"))
    }
}

/// Columns of derived tables have names, each its own.
fn check_names(table: &str, columns: &[OutColumn]) -> Result<()> {
    for (at, column) in columns.iter().enumerate() {
        if column.name.is_empty() {
            let text = format!("No column name was specified for column {} of '{table}'.", at + 1);
            return Err(SqlError::new(8155, 16, text));
        }
        if columns[..at].iter().any(|before| super::same(&before.name, &column.name)) {
            let text = format!("The column '{}' was specified multiple times for '{table}'.", column.name);
            return Err(SqlError::new(8156, 16, text));
        }
    }
    Ok(())
}

fn empty() -> Query {
    Query {
        with: Vec::new(),
        body: Body::Select(Box::default()),
        order: Vec::new(),
        offset: None,
        fetch: None,
    }
}

fn out(bound: Bound, name: String) -> OutColumn {
    OutColumn { name, ty: bound.ty, nullable: bound.nullable, origin: bound.origin }
}
