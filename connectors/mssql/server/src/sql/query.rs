//! SELECT.

use super::ast::{Body, Cte, Expr, From, Item, Join, Query, Select};
use super::lexer::Word;
use super::parser::{Parser, is_reserved};
use crate::error::Result;

impl Parser {
    /// Whether a query begins here, maybe in parentheses.
    pub(super) fn begins_query(&self) -> bool {
        let mut ahead = 0;
        while matches!(self.ahead(ahead), Word::Sign("(")) {
            ahead += 1;
        }
        self.is_ahead(ahead, "SELECT") || self.is_ahead(ahead, "WITH")
    }

    pub(crate) fn query(&mut self) -> Result<Query> {
        self.deeper(Self::whole_query)
    }

    fn whole_query(&mut self) -> Result<Query> {
        let with = self.with()?;
        self.query_after(with)
    }

    /// The queries of `WITH`, if that comes next.
    pub(super) fn with(&mut self) -> Result<Vec<Cte>> {
        let mut with = Vec::new();
        if !self.keywords("WITH") {
            return Ok(with);
        }
        loop {
            let name = self.name()?;
            let columns = if matches!(self.peek(), Word::Sign("(")) { self.names()? } else { Vec::new() };
            self.expect_keywords("AS")?;
            self.expect("(")?;
            let query = self.query()?;
            self.expect(")")?;
            with.push(Cte { name, columns, query });
            if !self.sign(",") {
                return Ok(with);
            }
        }
    }

    /// What stands behind `WITH`.
    pub(super) fn query_after(&mut self, with: Vec<Cte>) -> Result<Query> {
        let body = self.body()?;
        let order = self.order()?;
        let (mut offset, mut fetch) = (None, None);
        if !order.is_empty() && self.keywords("OFFSET") {
            offset = Some(self.expression()?);
            if !self.keywords("ROWS") {
                self.expect_keywords("ROW")?;
            }
            if self.keywords("FETCH") {
                if !self.keywords("NEXT") {
                    self.expect_keywords("FIRST")?;
                }
                fetch = Some(self.expression()?);
                if !self.keywords("ROWS") {
                    self.expect_keywords("ROW")?;
                }
                self.expect_keywords("ONLY")?;
            }
        }
        self.query_options()?;
        Ok(Query { with, body, order, offset, fetch })
    }

    /// `OPTION (...)`: hints, which change no result.
    fn query_options(&mut self) -> Result<()> {
        if self.keywords("OPTION") {
            self.balanced()?;
        }
        Ok(())
    }

    /// Skips a pair of parentheses with all that it holds; its words in upper case.
    pub(super) fn balanced(&mut self) -> Result<Vec<String>> {
        self.expect("(")?;
        let (mut depth, mut words) = (1, Vec::new());
        while depth > 0 {
            match self.peek() {
                Word::End => return Err(self.unexpected()),
                Word::Sign("(") => depth += 1,
                Word::Sign(")") => depth -= 1,
                Word::Plain(word) => words.push(word.to_ascii_uppercase()),
                _ => {}
            }
            self.next();
        }
        Ok(words)
    }

    fn body(&mut self) -> Result<Body> {
        let mut left = self.term()?;
        loop {
            let set = if self.keywords("UNION ALL") {
                "UNION ALL"
            } else if self.keywords("UNION") {
                "UNION"
            } else if self.keywords("EXCEPT") {
                "EXCEPT"
            } else if self.keywords("INTERSECT") {
                "INTERSECT"
            } else {
                return Ok(left);
            };
            left = Body::Set(set, Box::new(left), Box::new(self.term()?));
        }
    }

    fn term(&mut self) -> Result<Body> {
        if self.sign("(") {
            let query = self.query()?;
            self.expect(")")?;
            return Ok(Body::Query(Box::new(query)));
        }
        self.expect_keywords("SELECT")?;
        let mut select = Select { distinct: self.keywords("DISTINCT"), ..Select::default() };
        self.keywords("ALL");
        if self.keywords("TOP") {
            select.top = Some(self.top()?);
        }
        select.items.push(self.item()?);
        while self.sign(",") {
            select.items.push(self.item()?);
        }
        if self.keywords("INTO") {
            select.into = Some(self.dotted()?);
        }
        if self.keywords("FROM") {
            select.from.push(self.from()?);
            while self.sign(",") {
                select.from.push(self.from()?);
            }
        }
        if self.keywords("WHERE") {
            select.filter = Some(self.expression()?);
        }
        if self.keywords("GROUP BY") {
            select.group.push(self.expression()?);
            while self.sign(",") {
                select.group.push(self.expression()?);
            }
        }
        if self.keywords("HAVING") {
            select.having = Some(self.expression()?);
        }
        Ok(Body::Select(Box::new(select)))
    }

    fn top(&mut self) -> Result<Expr> {
        if self.sign("(") {
            let count = self.expression()?;
            self.expect(")")?;
            return Ok(count);
        }
        let count = self.number()?;
        Ok(Expr::Literal(super::ast::Literal::Number(count.to_string())))
    }

    fn item(&mut self) -> Result<Item> {
        if self.sign("*") {
            return Ok(Item::All(None));
        }
        // `t.*`
        if let (Word::Plain(name) | Word::Quoted(name), Word::Sign("."), Word::Sign("*")) =
            (self.peek().clone(), self.ahead(1), self.ahead(2))
        {
            self.at += 3;
            return Ok(Item::All(Some(name)));
        }
        if let (Word::Variable(variable), Word::Sign("=")) = (self.peek().clone(), self.ahead(1)) {
            self.at += 2;
            return Ok(Item::Assign { variable, value: self.expression()? });
        }
        // `alias = value`
        if let (Word::Plain(name) | Word::Quoted(name), Word::Sign("=")) =
            (self.peek().clone(), self.ahead(1))
        {
            self.at += 2;
            return Ok(Item::Value { value: self.expression()?, alias: Some(name) });
        }
        let value = self.expression()?;
        let alias = self.alias()?;
        Ok(Item::Value { value, alias })
    }

    /// A name behind a value or a table, with or without AS.
    fn alias(&mut self) -> Result<Option<String>> {
        if self.keywords("AS") {
            if let Word::Text { value, .. } = self.peek().clone() {
                self.next();
                return Ok(Some(value));
            }
            return self.name().map(Some);
        }
        match self.peek() {
            Word::Quoted(_) => self.name().map(Some),
            Word::Plain(word) if !is_reserved(word) && !self.begins_statement(word) => self.name().map(Some),
            _ => Ok(None),
        }
    }

    /// Words that are not reserved, and yet begin a statement where no semicolon stands before them.
    fn begins_statement(&self, word: &str) -> bool {
        ["THROW", "RAISERROR", "WAITFOR", "SAVE", "WHILE", "DENY"]
            .contains(&word.to_ascii_uppercase().as_str())
    }

    fn from(&mut self) -> Result<From> {
        let mut left = self.table()?;
        loop {
            let kind = if self.keywords("CROSS JOIN") {
                Join::Cross
            } else if self.keywords("CROSS APPLY") {
                Join::Apply
            } else if self.keywords("OUTER APPLY") {
                Join::OuterApply
            } else if self.keywords("INNER JOIN") || self.keywords("JOIN") {
                Join::Inner
            } else if self.keywords("LEFT JOIN") || self.keywords("LEFT OUTER JOIN") {
                Join::Left
            } else if self.keywords("RIGHT JOIN") || self.keywords("RIGHT OUTER JOIN") {
                Join::Right
            } else if self.keywords("FULL JOIN") || self.keywords("FULL OUTER JOIN") {
                Join::Full
            } else {
                return Ok(left);
            };
            let right = self.table()?;
            let on = match kind {
                Join::Cross | Join::Apply | Join::OuterApply => None,
                _ => {
                    self.expect_keywords("ON")?;
                    Some(self.expression()?)
                }
            };
            left = From::Join { kind, left: Box::new(left), right: Box::new(right), on };
        }
    }

    fn table(&mut self) -> Result<From> {
        if matches!(self.peek(), Word::Sign("(")) {
            return self.parenthesised();
        }
        let name = self.dotted()?;
        if matches!(self.peek(), Word::Sign("(")) && !name.is_empty() {
            let mut arguments = Vec::new();
            self.expect("(")?;
            while !self.sign(")") {
                arguments.push(self.expression()?);
                self.sign(",");
            }
            let alias = self.alias()?;
            return Ok(From::Function { name, arguments, alias });
        }
        let mut alias = None;
        // Temporal tables: `FOR SYSTEM_TIME ALL` reads the history too, which here is empty.
        if self.keywords("FOR SYSTEM_TIME") {
            self.expect_keywords("ALL")?;
        }
        if !self.is("WITH") {
            alias = self.alias()?;
        }
        let hints = if self.is("WITH") && matches!(self.ahead(1), Word::Sign("(")) {
            self.next();
            self.balanced()?
        } else {
            Vec::new()
        };
        if alias.is_none() {
            alias = self.alias()?;
        }
        Ok(From::Table { name, alias, hints })
    }

    fn parenthesised(&mut self) -> Result<From> {
        self.expect("(")?;
        if self.is("VALUES") {
            let rows = self.rows()?;
            self.expect(")")?;
            let (alias, columns) = self.derived_name()?;
            return Ok(From::Values { rows, alias, columns });
        }
        if self.begins_query() {
            let query = Box::new(self.query()?);
            self.expect(")")?;
            let (alias, columns) = self.derived_name()?;
            return Ok(From::Query { query, alias, columns });
        }
        let inner = self.from()?;
        self.expect(")")?;
        Ok(inner)
    }

    fn derived_name(&mut self) -> Result<(String, Vec<String>)> {
        let alias = self.alias()?.ok_or_else(|| self.unexpected())?;
        let columns = if matches!(self.peek(), Word::Sign("(")) { self.names()? } else { Vec::new() };
        Ok((alias, columns))
    }

    /// `VALUES (...), (...)`
    pub(super) fn rows(&mut self) -> Result<Vec<Vec<Expr>>> {
        self.expect_keywords("VALUES")?;
        let mut rows = Vec::new();
        loop {
            self.expect("(")?;
            let mut row = vec![self.expression()?];
            while self.sign(",") {
                row.push(self.expression()?);
            }
            self.expect(")")?;
            rows.push(row);
            if !self.sign(",") {
                return Ok(rows);
            }
        }
    }
}
