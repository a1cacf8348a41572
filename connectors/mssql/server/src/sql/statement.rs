//! Statements other than SELECT.

use super::ast::{Delay, Expr, Source, Statement};
use super::lexer::Word;
use super::parser::Parser;
use crate::error::{Result, SqlError};

impl Parser {
    pub(crate) fn statement(&mut self) -> Result<Statement> {
        self.deeper(Self::any_statement)
    }

    fn any_statement(&mut self) -> Result<Statement> {
        if self.begins_query() {
            let with = self.with()?;
            if !self.is("INSERT") {
                return Ok(Statement::Query(Box::new(self.query_after(with)?)));
            }
            return match self.insert()? {
                Statement::Insert { table, columns, source: Source::Query(mut query) } => {
                    query.with.splice(0..0, with);
                    Ok(Statement::Insert { table, columns, source: Source::Query(query) })
                }
                other => Ok(other),
            };
        }
        let Word::Plain(word) = self.peek().clone() else { return Err(self.unexpected()) };
        match word.to_ascii_uppercase().as_str() {
            "INSERT" => self.insert(),
            "UPDATE" => self.update(),
            "DELETE" => self.delete(),
            "TRUNCATE" => {
                self.expect_keywords("TRUNCATE TABLE")?;
                self.dotted().map(Statement::Truncate)
            }
            "CREATE" => self.create(),
            "ALTER" => self.alter(),
            "DROP" => self.drop_object(),
            "BEGIN" => self.begin(),
            "COMMIT" | "ROLLBACK" | "SAVE" => self.end_transaction(),
            "GRANT" | "DENY" | "REVOKE" => self.grant(),
            other => self.control(other),
        }
    }

    /// Statements that neither read nor define anything.
    fn control(&mut self, word: &str) -> Result<Statement> {
        match word {
            "SET" => self.set(),
            "DECLARE" => self.declare(),
            "IF" => self.branch(),
            "WHILE" => {
                self.next();
                let condition = self.expression()?;
                Ok(Statement::While { condition, body: self.block()? })
            }
            "USE" => {
                self.next();
                self.name().map(Statement::Use)
            }
            "WAITFOR" => {
                self.expect_keywords("WAITFOR DELAY")?;
                self.expression().map(|delay| Statement::WaitFor(Delay(delay)))
            }
            "PRINT" => {
                self.next();
                self.expression().map(Statement::Print)
            }
            "RAISERROR" => self.raise(),
            "THROW" => self.throw(),
            "KILL" => {
                self.next();
                let session = self.number()?;
                u16::try_from(session)
                    .map(Statement::Kill)
                    .map_err(|_| SqlError::new(6106, 16, "Not a session."))
            }
            "EXEC" | "EXECUTE" => self.exec(),
            "CHECKPOINT" => {
                self.next();
                Ok(Statement::Nothing)
            }
            _ if self.at == 0
                && matches!(self.ahead(1), Word::End | Word::Text { .. } | Word::Variable(_)) =>
            {
                // A batch may begin with a procedure's name alone.
                self.exec_named()
            }
            _ => Err(self.unexpected()),
        }
    }

    fn insert(&mut self) -> Result<Statement> {
        self.next();
        self.keywords("INTO");
        let table = self.dotted()?;
        if self.keywords("WITH") {
            self.balanced()?;
        }
        let has_columns = matches!(self.peek(), Word::Sign("(")) && !self.begins_query();
        let columns = if has_columns { self.names()? } else { Vec::new() };
        let source = if self.keywords("DEFAULT VALUES") {
            Source::Default
        } else if self.is("VALUES") {
            Source::Values(self.rows()?)
        } else {
            Source::Query(Box::new(self.query()?))
        };
        Ok(Statement::Insert { table, columns, source })
    }

    fn update(&mut self) -> Result<Statement> {
        self.next();
        if self.keywords("STATISTICS") {
            self.dotted()?;
            while !matches!(self.peek(), Word::End | Word::Sign(";")) {
                self.next();
            }
            return Ok(Statement::Nothing);
        }
        let table = self.dotted()?;
        self.expect_keywords("SET")?;
        let mut sets = Vec::new();
        loop {
            let column = self.dotted()?.pop().unwrap_or_default();
            self.expect("=")?;
            sets.push((column, self.expression()?));
            if !self.sign(",") {
                break;
            }
        }
        Ok(Statement::Update { table, sets, filter: self.filter()? })
    }

    fn delete(&mut self) -> Result<Statement> {
        self.next();
        self.keywords("FROM");
        let table = self.dotted()?;
        Ok(Statement::Delete { table, filter: self.filter()? })
    }

    pub(super) fn filter(&mut self) -> Result<Option<Expr>> {
        if self.keywords("WHERE") { self.expression().map(Some) } else { Ok(None) }
    }

    fn begin(&mut self) -> Result<Statement> {
        if self.keywords("BEGIN TRANSACTION") || self.keywords("BEGIN TRAN") {
            if matches!(self.peek(), Word::Quoted(_)) {
                self.next();
            }
            return Ok(Statement::Begin);
        }
        // A block by itself is a condition that holds.
        let truth = Expr::Compare("=", Box::new(one()), Box::new(one()));
        Ok(Statement::If { condition: truth, then: self.block()?, otherwise: Vec::new() })
    }

    fn end_transaction(&mut self) -> Result<Statement> {
        let statement = if self.is("COMMIT") { Statement::Commit } else { Statement::Rollback };
        if self.keywords("SAVE") {
            return Err(SqlError::unsupported("save points"));
        }
        self.next();
        if !self.keywords("TRANSACTION") && !self.keywords("TRAN") {
            self.keywords("WORK");
        }
        Ok(statement)
    }

    /// `BEGIN ... END`, or one statement.
    fn block(&mut self) -> Result<Vec<Statement>> {
        if !self.is("BEGIN") || self.is_ahead(1, "TRAN") || self.is_ahead(1, "TRANSACTION") {
            return Ok(vec![self.statement()?]);
        }
        self.next();
        let mut statements = Vec::new();
        loop {
            while self.sign(";") {}
            if self.keywords("END") {
                return Ok(statements);
            }
            statements.push(self.statement()?);
        }
    }

    fn branch(&mut self) -> Result<Statement> {
        self.next();
        let condition = self.expression()?;
        let then = self.block()?;
        let before = self.at;
        while self.sign(";") {}
        if self.keywords("ELSE") {
            return Ok(Statement::If { condition, then, otherwise: self.block()? });
        }
        self.at = before;
        Ok(Statement::If { condition, then, otherwise: Vec::new() })
    }

    fn set(&mut self) -> Result<Statement> {
        self.next();
        if let Word::Variable(variable) = self.peek().clone() {
            self.next();
            self.expect("=")?;
            return Ok(Statement::Assign { variable, value: self.expression()? });
        }
        if self.keywords("TRANSACTION ISOLATION LEVEL") {
            let level = [
                ("READ UNCOMMITTED", "READ UNCOMMITTED"),
                ("READ COMMITTED", "READ COMMITTED"),
                ("REPEATABLE READ", "REPEATABLE READ"),
                ("SERIALIZABLE", "SERIALIZABLE"),
                ("SNAPSHOT", "SNAPSHOT"),
            ];
            for (words, level) in level {
                if self.keywords(words) {
                    return Ok(Statement::Isolation(level.to_owned()));
                }
            }
            return Err(self.unexpected());
        }
        let mut option = self.any_word()?.to_ascii_uppercase();
        if option == "IDENTITY_INSERT" {
            let table = self.dotted()?.join(".");
            option = format!("{option} {table}");
        }
        // `SET ANSI_NULLS, QUOTED_IDENTIFIER ON`
        while self.sign(",") {
            self.any_word()?;
        }
        let negative = self.sign("-");
        let value = match self.next() {
            Word::Plain(word) | Word::Quoted(word) => word.to_ascii_uppercase(),
            Word::Number(number) | Word::Variable(number) => number,
            Word::Text { value, .. } => value,
            _ => {
                self.at -= 1;
                return Err(self.unexpected());
            }
        };
        Ok(Statement::Set { option, value: if negative { format!("-{value}") } else { value } })
    }

    fn declare(&mut self) -> Result<Statement> {
        self.next();
        let mut variables = Vec::new();
        loop {
            let Word::Variable(name) = self.next() else {
                self.at -= 1;
                return Err(self.unexpected());
            };
            self.keywords("AS");
            let ty = self.type_name()?;
            let value = if self.sign("=") { Some(self.expression()?) } else { None };
            variables.push((name, ty, value));
            if !self.sign(",") {
                return Ok(Statement::Declare(variables));
            }
        }
    }

    fn raise(&mut self) -> Result<Statement> {
        self.next();
        self.expect("(")?;
        let message = self.expression()?;
        self.expect(",")?;
        let severity = self.expression()?;
        self.expect(",")?;
        let state = self.expression()?;
        let mut arguments = Vec::new();
        while self.sign(",") {
            arguments.push(self.expression()?);
        }
        self.expect(")")?;
        if self.keywords("WITH") {
            self.name()?;
        }
        Ok(Statement::RaisError { message, severity, state, arguments })
    }

    fn throw(&mut self) -> Result<Statement> {
        self.next();
        let number = self.expression()?;
        self.expect(",")?;
        let message = self.expression()?;
        self.expect(",")?;
        Ok(Statement::Throw { number, message, state: self.expression()? })
    }

    fn exec(&mut self) -> Result<Statement> {
        self.next();
        if self.sign("(") {
            let text = self.expression()?;
            self.expect(")")?;
            return Ok(Statement::ExecText(text));
        }
        // `EXEC @status = procedure`
        if matches!((self.peek(), self.ahead(1)), (Word::Variable(_), Word::Sign("="))) {
            self.at += 2;
        }
        self.exec_named()
    }

    fn exec_named(&mut self) -> Result<Statement> {
        let name = self.dotted()?;
        let mut arguments = Vec::new();
        loop {
            let named = match (self.peek().clone(), self.ahead(1)) {
                (Word::Variable(name), Word::Sign("=")) => {
                    self.at += 2;
                    Some(name)
                }
                (Word::End | Word::Sign(";"), _) if arguments.is_empty() => break,
                _ => None,
            };
            // A bare word is a text: `EXEC p @level0type = SCHEMA`.
            let value = match (self.peek().clone(), self.ahead(1)) {
                (Word::Plain(word), Word::End | Word::Sign("," | ";")) => {
                    self.next();
                    let null = word.eq_ignore_ascii_case("NULL");
                    let text = super::ast::Literal::Text { value: word, national: true };
                    Expr::Literal(if null { super::ast::Literal::Null } else { text })
                }
                _ => self.expression()?,
            };
            if !self.keywords("OUTPUT") {
                self.keywords("OUT");
            }
            arguments.push((named, value));
            if !self.sign(",") {
                break;
            }
        }
        Ok(Statement::Exec { name, arguments })
    }

    fn grant(&mut self) -> Result<Statement> {
        let verb = if self.is("GRANT") {
            "GRANT"
        } else if self.is("DENY") {
            "DENY"
        } else {
            "REVOKE"
        };
        self.next();
        let Word::Plain(permission) = self.next() else {
            self.at -= 1;
            return Err(self.unexpected());
        };
        let object = if self.keywords("ON") {
            if self.keywords("SCHEMA") || self.keywords("OBJECT") {
                self.expect("::")?;
            }
            Some(self.dotted()?)
        } else {
            None
        };
        if !self.keywords("TO") {
            self.expect_keywords("FROM")?;
        }
        let user = self.any_word()?;
        Ok(Statement::Grant { verb, permission: permission.to_ascii_uppercase(), object, user })
    }
}

fn one() -> Expr {
    Expr::Literal(super::ast::Literal::Number("1".to_owned()))
}
