//! Expressions and predicates, from the loosest operator to the tightest.

use super::ast::{Expr, Literal, Order, Over};
use super::lexer::Word;
use super::parser::{Parser, is_reserved};
use crate::error::Result;
use crate::types::Kind;

fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}

impl Parser {
    pub(crate) fn expression(&mut self) -> Result<Expr> {
        self.deeper(Self::either)
    }

    fn either(&mut self) -> Result<Expr> {
        let mut left = self.both()?;
        while self.keywords("OR") {
            left = Expr::Or(boxed(left), boxed(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Expr> {
        let mut left = self.negation()?;
        while self.keywords("AND") {
            left = Expr::And(boxed(left), boxed(self.negation()?));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expr> {
        if self.keywords("NOT") {
            return self.deeper(Self::negation).map(|inner| Expr::Not(boxed(inner)));
        }
        self.predicate()
    }

    fn predicate(&mut self) -> Result<Expr> {
        let left = self.sum()?;
        for sign in ["=", "<>", "!=", "<=", ">=", "<", ">", "!<", "!>"] {
            if self.sign(sign) {
                let sign = match sign {
                    "!=" => "<>",
                    "!<" => ">=",
                    "!>" => "<=",
                    other => other,
                };
                return Ok(Expr::Compare(sign, boxed(left), boxed(self.sum()?)));
            }
        }
        if self.keywords("IS") {
            let negated = self.keywords("NOT");
            self.expect_keywords("NULL")?;
            return Ok(negate(Expr::IsNull(boxed(left)), negated));
        }
        let negated = self.is("NOT") && ["IN", "LIKE", "BETWEEN"].iter().any(|word| self.is_ahead(1, word));
        if negated {
            self.next();
        }
        if self.keywords("IN") {
            return self.membership(left).map(|found| negate(found, negated));
        }
        if self.keywords("BETWEEN") {
            let low = self.sum()?;
            self.expect_keywords("AND")?;
            return Ok(negate(Expr::Between(boxed(left), boxed(low), boxed(self.sum()?)), negated));
        }
        if self.keywords("LIKE") {
            let pattern = boxed(self.sum()?);
            let escape = if self.keywords("ESCAPE") { Some(boxed(self.sum()?)) } else { None };
            return Ok(negate(Expr::Like { value: boxed(left), pattern, escape }, negated));
        }
        Ok(left)
    }

    fn membership(&mut self, left: Expr) -> Result<Expr> {
        self.expect("(")?;
        if self.begins_query() {
            let query = self.query()?;
            self.expect(")")?;
            return Ok(Expr::InQuery(boxed(left), Box::new(query)));
        }
        let mut values = vec![self.expression()?];
        while self.sign(",") {
            values.push(self.expression()?);
        }
        self.expect(")")?;
        Ok(Expr::In(boxed(left), values))
    }

    /// `+`, `-`, `&`, `|` and `^` rank equally.
    fn sum(&mut self) -> Result<Expr> {
        let mut left = self.product()?;
        'next: loop {
            for sign in ["+", "-", "&", "|", "^"] {
                if self.sign(sign) {
                    left = Expr::Arithmetic(sign, boxed(left), boxed(self.product()?));
                    continue 'next;
                }
            }
            return Ok(left);
        }
    }

    fn product(&mut self) -> Result<Expr> {
        let mut left = self.signed()?;
        'next: loop {
            for sign in ["*", "/", "%"] {
                if self.sign(sign) {
                    left = Expr::Arithmetic(sign, boxed(left), boxed(self.signed()?));
                    continue 'next;
                }
            }
            return Ok(left);
        }
    }

    fn signed(&mut self) -> Result<Expr> {
        for sign in ["-", "+", "~"] {
            if self.sign(sign) {
                return self.deeper(Self::signed).map(|inner| Expr::Sign(sign, boxed(inner)));
            }
        }
        self.suffixed()
    }

    /// A value with COLLATE, AT TIME ZONE and methods behind it.
    fn suffixed(&mut self) -> Result<Expr> {
        let mut value = self.value()?;
        loop {
            if self.keywords("COLLATE") {
                value = Expr::Collate(boxed(value), self.name()?);
            } else if self.keywords("AT TIME ZONE") {
                value = Expr::AtTimeZone(boxed(value), boxed(self.value()?));
            } else if matches!(self.peek(), Word::Sign(".")) {
                self.next();
                let name = self.name()?;
                let arguments =
                    if matches!(self.peek(), Word::Sign("(")) { self.arguments()? } else { Vec::new() };
                value = Expr::Method { value: boxed(value), name, arguments };
            } else {
                return Ok(value);
            }
        }
    }

    fn value(&mut self) -> Result<Expr> {
        match self.peek().clone() {
            Word::Number(text) => {
                self.next();
                Ok(Expr::Literal(Literal::Number(text)))
            }
            Word::Text { value, national } => {
                self.next();
                Ok(Expr::Literal(Literal::Text { value, national }))
            }
            Word::Binary(bytes) => {
                self.next();
                Ok(Expr::Literal(Literal::Binary(bytes)))
            }
            Word::Variable(name) => {
                self.next();
                Ok(Expr::Variable(name))
            }
            Word::Sign("(") => self.parenthesis(),
            Word::Sign("*") => {
                self.next();
                Ok(Expr::Star)
            }
            Word::Sign("$") => {
                self.next();
                let error = self.unexpected();
                match self.next() {
                    Word::Number(text) => Ok(Expr::Literal(Literal::Money(text))),
                    _ => Err(error),
                }
            }
            Word::Quoted(_) => self.named(),
            Word::Plain(word) => self.plain(&word),
            Word::Sign(_) | Word::End => Err(self.unexpected()),
        }
    }

    fn parenthesis(&mut self) -> Result<Expr> {
        self.expect("(")?;
        let inner =
            if self.begins_query() { Expr::Subquery(Box::new(self.query()?)) } else { self.expression()? };
        self.expect(")")?;
        Ok(inner)
    }

    fn plain(&mut self, word: &str) -> Result<Expr> {
        match word.to_ascii_uppercase().as_str() {
            "NULL" => {
                self.next();
                Ok(Expr::Literal(Literal::Null))
            }
            "DEFAULT" => {
                self.next();
                Ok(Expr::Literal(Literal::Default))
            }
            "CASE" => self.case(),
            "EXISTS" => {
                self.next();
                self.expect("(")?;
                let query = self.query()?;
                self.expect(")")?;
                Ok(Expr::Exists(Box::new(query)))
            }
            "CAST" | "TRY_CAST" if matches!(self.ahead(1), Word::Sign("(")) => self.cast(),
            "CONVERT" | "TRY_CONVERT" if matches!(self.ahead(1), Word::Sign("(")) => self.convert(),
            // Functions whose names are reserved words.
            "LEFT" | "RIGHT" | "COALESCE" | "NULLIF" if matches!(self.ahead(1), Word::Sign("(")) => {
                self.next();
                let arguments = self.arguments()?;
                Ok(Expr::Call { name: vec![word.to_owned()], arguments, distinct: false, over: None })
            }
            "CURRENT_TIMESTAMP" | "CURRENT_USER" | "SESSION_USER" | "SYSTEM_USER" | "USER" => {
                self.next();
                let name = vec![word.to_owned()];
                Ok(Expr::Call { name, arguments: Vec::new(), distinct: false, over: None })
            }
            _ if is_reserved(word) => Err(self.unexpected()),
            _ => self.named(),
        }
    }

    /// Columns, functions and static methods.
    fn named(&mut self) -> Result<Expr> {
        let mut name = vec![self.name()?];
        loop {
            if self.sign("::") {
                let method = self.name()?;
                let arguments = self.arguments()?;
                let ty = name.pop().unwrap_or_default();
                return Ok(Expr::Static { ty, name: method, arguments });
            }
            if matches!(self.peek(), Word::Sign("(")) {
                return self.call(name);
            }
            if !self.sign(".") {
                return Ok(Expr::Column(name));
            }
            name.push(if matches!(self.peek(), Word::Sign(".")) { String::new() } else { self.name()? });
        }
    }

    fn call(&mut self, name: Vec<String>) -> Result<Expr> {
        // DATEADD and its like take the name of a part: it comes as a column without a table.
        self.expect("(")?;
        let distinct = self.keywords("DISTINCT");
        self.keywords("ALL");
        let mut arguments = Vec::new();
        if !self.sign(")") {
            loop {
                arguments.push(self.expression()?);
                if !self.sign(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        if self.keywords("WITHIN GROUP") {
            self.expect("(")?;
            self.order()?;
            self.expect(")")?;
        }
        let over = if self.keywords("OVER") { Some(Box::new(self.over()?)) } else { None };
        Ok(Expr::Call { name, arguments, distinct, over })
    }

    fn arguments(&mut self) -> Result<Vec<Expr>> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        if self.sign(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if !self.sign(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(arguments)
    }

    fn over(&mut self) -> Result<Over> {
        let mut over = Over::default();
        self.expect("(")?;
        if self.keywords("PARTITION BY") {
            over.partition.push(self.expression()?);
            while self.sign(",") {
                over.partition.push(self.expression()?);
            }
        }
        over.order = self.order()?;
        self.expect(")")?;
        Ok(over)
    }

    /// `ORDER BY`, if it comes next.
    pub(super) fn order(&mut self) -> Result<Vec<Order>> {
        let mut order = Vec::new();
        if !self.keywords("ORDER BY") {
            return Ok(order);
        }
        loop {
            let by = self.expression()?;
            let descending = self.keywords("DESC");
            if !descending {
                self.keywords("ASC");
            }
            order.push(Order { by, descending });
            if !self.sign(",") {
                return Ok(order);
            }
        }
    }

    fn case(&mut self) -> Result<Expr> {
        self.next();
        let operand = if self.is("WHEN") { None } else { Some(boxed(self.expression()?)) };
        let mut whens = Vec::new();
        while self.keywords("WHEN") {
            let when = self.expression()?;
            self.expect_keywords("THEN")?;
            whens.push((when, self.expression()?));
        }
        let otherwise = if self.keywords("ELSE") { Some(boxed(self.expression()?)) } else { None };
        self.expect_keywords("END")?;
        Ok(Expr::Case { operand, whens, otherwise })
    }

    fn cast(&mut self) -> Result<Expr> {
        let tries = self.is("TRY_CAST");
        self.next();
        self.expect("(")?;
        let value = boxed(self.expression()?);
        self.expect_keywords("AS")?;
        let ty = self.cast_type()?;
        self.expect(")")?;
        Ok(Expr::Cast { value, ty, style: None, tries })
    }

    fn convert(&mut self) -> Result<Expr> {
        let tries = self.is("TRY_CONVERT");
        self.next();
        self.expect("(")?;
        let ty = self.cast_type()?;
        self.expect(",")?;
        let value = boxed(self.expression()?);
        let style = if self.sign(",") { Some(boxed(self.expression()?)) } else { None };
        self.expect(")")?;
        Ok(Expr::Cast { value, ty, style, tries })
    }

    /// Texts and binaries without a length have 30.
    fn cast_type(&mut self) -> Result<super::ast::TypeName> {
        let mut ty = self.type_name()?;
        let sized = matches!(
            ty.ty.kind,
            Kind::Char | Kind::VarChar | Kind::NChar | Kind::NVarChar | Kind::Binary | Kind::VarBinary
        );
        if sized && !ty.has_length {
            ty.ty.length = 30;
        }
        Ok(ty)
    }
}

fn negate(expr: Expr, negated: bool) -> Expr {
    if negated { Expr::Not(boxed(expr)) } else { expr }
}
