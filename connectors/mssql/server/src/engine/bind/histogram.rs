//! `sys.dm_db_stats_histogram`: how the values of an index's first column are spread, in 200 steps at most.

use super::{Binder, Bound, ScopeColumn};
use crate::error::{Result, SqlError};
use crate::settings::Flavour;
use crate::sql::ast::{Expr, From, Join, Literal};
use crate::types::{Kind, SqlType};

const NAME: &str = "dm_db_stats_histogram";

/// The object that a condition names, so that not every table has to be counted.
fn object_of(filter: &Expr) -> Option<i64> {
    match filter {
        Expr::And(a, b) => object_of(a).or_else(|| object_of(b)),
        Expr::Compare("=", column, value) => match (&**column, &**value) {
            (Expr::Column(name), Expr::Literal(Literal::Number(number)))
                if name.last().is_some_and(|last| super::same(last, "object_id")) =>
            {
                number.parse().ok()
            }
            _ => None,
        },
        _ => None,
    }
}

impl Binder<'_> {
    /// CROSS APPLY, which is known of this function alone.
    pub(super) fn apply(&mut self, left: &From, right: &From) -> Result<String> {
        let From::Function { name, arguments, alias } = right else {
            return Err(SqlError::unsupported("APPLY"));
        };
        let known = name.last().is_some_and(|last| super::same(last, NAME));
        if !known || self.shared.settings.flavour == Flavour::Synapse {
            return Err(SqlError::object(&name.join(".")));
        }
        let left = self.from(left)?;
        let [object, statistics] = arguments.as_slice() else {
            return Err(SqlError::new(
                313,
                16,
                format!("An insufficient number of arguments were supplied for {NAME}."),
            ));
        };
        let (object, statistics) = (self.expression(object)?, self.expression(statistics)?);
        let place = self.fresh("q");
        let columns = [
            ("object_id", Kind::Int),
            ("stats_id", Kind::Int),
            ("step_number", Kind::Int),
            ("range_high_key", Kind::Variant),
            ("range_rows", Kind::Real),
            ("equal_rows", Kind::Real),
        ];
        let columns = columns.into_iter().map(|(name, kind)| ScopeColumn {
            name: name.to_owned(),
            bound: Bound::new(format!("{place}.{name}"), SqlType::of(kind)),
            hidden: false,
        });
        self.add_table(&alias.clone().unwrap_or_else(|| NAME.to_owned()), columns.collect());
        Ok(format!(
            "{left} JOIN ({}) AS {place} ON {place}.object_id = {} AND {place}.stats_id = {}",
            self.steps()?,
            object.sql,
            statistics.sql
        ))
    }

    /// Remembers what a query's condition says, for [`Self::steps`].
    pub(super) fn remember_object(&mut self, from: &[From], filter: Option<&Expr>) {
        let applies = from.iter().any(|from| matches!(from, From::Join { kind: Join::Apply, .. }));
        self.counted = filter.filter(|_| applies).and_then(object_of);
    }

    fn steps(&self) -> Result<String> {
        let mut statement = self.connection.prepare(
            "SELECT i.object_id, i.index_id, k.column_id, c.code FROM \"~indexes\" i JOIN \"~index_columns\" k \
             ON k.object_id = i.object_id AND k.index_id = i.index_id AND k.key_ordinal = 1 \
             JOIN \"~columns\" c ON c.object_id = k.object_id AND c.column_id = k.column_id \
             WHERE c.computed IS NULL AND (?1 IS NULL OR i.object_id = ?1)",
        )?;
        let rows = statement.query_map([self.counted], |row| {
            let (object, index, column, code): (i64, i64, i64, i64) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(format!(
                "SELECT {object} AS object_id, {index} AS stats_id, step AS step_number, \
                 t_cast(high, {code}, {}, 0) AS range_high_key, count - 1.0 AS range_rows, 1.0 AS equal_rows \
                 FROM (SELECT step, max(c) AS high, count(*) AS count FROM (SELECT c{column} AS c, \
                 ntile(200) OVER (ORDER BY c{column}) AS step FROM t{object} WHERE c{column} IS NOT NULL) GROUP BY step)",
                SqlType::of(Kind::Variant).code()
            ))
        })?;
        let parts: Vec<String> = rows.collect::<rusqlite::Result<_>>()?;
        if parts.is_empty() {
            let columns =
                "0 AS object_id, 0 AS stats_id, 0 AS step_number, NULL AS range_high_key, 0.0 AS range_rows";
            return Ok(format!("SELECT {columns}, 0.0 AS equal_rows WHERE 0"));
        }
        Ok(parts.join(" UNION ALL "))
    }
}
