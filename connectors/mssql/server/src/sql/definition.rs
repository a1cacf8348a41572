//! CREATE, ALTER and DROP.

use super::ast::{Alter, ColumnDefinition, Expr, Key, Name, Statement, TableDefinition};
use super::lexer::Word;
use super::parser::Parser;
use crate::error::Result;

impl Parser {
    pub(super) fn create(&mut self) -> Result<Statement> {
        self.next();
        if self.keywords("TABLE") {
            return self.create_table();
        }
        if self.keywords("SCHEMA") {
            let name = self.name()?;
            if self.keywords("AUTHORIZATION") {
                self.name()?;
            }
            return Ok(Statement::CreateSchema(name));
        }
        if self.keywords("DATABASE") {
            return self.name().map(Statement::CreateDatabase);
        }
        let from = self.at - 1;
        if self.keywords("OR ALTER VIEW") || self.keywords("VIEW") {
            let name = self.dotted()?;
            let columns = if matches!(self.peek(), Word::Sign("(")) { self.names()? } else { Vec::new() };
            if self.keywords("WITH") {
                self.name()?;
            }
            self.expect_keywords("AS")?;
            let query = Box::new(self.query()?);
            return Ok(Statement::CreateView { name, columns, query, text: self.text_since(from) });
        }
        if self.keywords("STATISTICS") {
            self.name()?;
            self.expect_keywords("ON")?;
            self.dotted()?;
            self.names()?;
            if self.keywords("WITH") {
                self.name()?;
            }
            return Ok(Statement::Nothing);
        }
        self.create_index()
    }

    fn create_index(&mut self) -> Result<Statement> {
        let unique = self.keywords("UNIQUE");
        let clustered = self.clustered();
        self.expect_keywords("INDEX")?;
        let name = Some(self.name()?);
        self.expect_keywords("ON")?;
        let table = self.dotted()?;
        let columns = self.key_columns()?;
        let included = if self.keywords("INCLUDE") { self.names()? } else { Vec::new() };
        let from = self.at;
        let filter = self.filter()?.map(|_| self.text_since(from + 1));
        if self.keywords("WITH") {
            self.balanced()?;
        }
        Ok(Statement::CreateIndex {
            table,
            key: Key { name, primary: false, unique, clustered, columns, included, filter },
        })
    }

    fn clustered(&mut self) -> Option<bool> {
        if self.keywords("CLUSTERED") {
            Some(true)
        } else if self.keywords("NONCLUSTERED") {
            Some(false)
        } else {
            None
        }
    }

    /// Columns of a key, and whether they descend.
    fn key_columns(&mut self) -> Result<Vec<(String, bool)>> {
        self.expect("(")?;
        let mut columns = Vec::new();
        loop {
            let name = self.name()?;
            let descending = self.keywords("DESC");
            if !descending {
                self.keywords("ASC");
            }
            columns.push((name, descending));
            if !self.sign(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(columns)
    }

    fn create_table(&mut self) -> Result<Statement> {
        let mut table = TableDefinition { name: self.dotted()?, ..TableDefinition::default() };
        self.expect("(")?;
        loop {
            if self.keywords("PERIOD FOR SYSTEM_TIME") {
                let mut names = self.names()?.into_iter();
                table.period = names.next().zip(names.next());
            } else if self.is_key() {
                table.keys.extend(self.key()?);
            } else {
                table.columns.push(self.column()?);
            }
            if !self.sign(",") || matches!(self.peek(), Word::Sign(")")) {
                break;
            }
        }
        self.expect(")")?;
        if self.keywords("ON") {
            self.name()?;
        }
        if self.keywords("WITH") {
            // Synapse writes its distribution here; SYSTEM_VERSIONING makes a temporal table.
            table.versioned = self.balanced()?.iter().any(|word| word == "SYSTEM_VERSIONING");
        }
        Ok(Statement::CreateTable(Box::new(table)))
    }

    fn is_key(&self) -> bool {
        ["CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "INDEX"].iter().any(|word| self.is(word))
    }

    /// A constraint of a table; `None` for those that are read and not kept (foreign keys, checks).
    fn key(&mut self) -> Result<Option<Key>> {
        let name = if self.keywords("CONSTRAINT") { Some(self.name()?) } else { None };
        if self.keywords("FOREIGN KEY") {
            self.names()?;
            self.references()?;
            return Ok(None);
        }
        if self.keywords("CHECK") {
            self.balanced()?;
            return Ok(None);
        }
        let (mut name, mut unique) = (name, true);
        let primary = self.keywords("PRIMARY KEY");
        if !primary && !self.keywords("UNIQUE") {
            self.expect_keywords("INDEX")?;
            name = Some(self.name()?);
            unique = self.keywords("UNIQUE");
        }
        let clustered = self.clustered();
        // Synapse has clustered columnstore indexes and keys that are not enforced.
        let columns = self.key_columns()?;
        self.keywords("NOT ENFORCED");
        if self.keywords("WITH") {
            self.balanced()?;
        }
        Ok(Some(Key { name, primary, unique, clustered, columns, included: Vec::new(), filter: None }))
    }

    fn references(&mut self) -> Result<()> {
        self.expect_keywords("REFERENCES")?;
        self.dotted()?;
        if matches!(self.peek(), Word::Sign("(")) {
            self.names()?;
        }
        while self.keywords("ON DELETE") || self.keywords("ON UPDATE") {
            self.keywords("SET");
            self.next();
        }
        Ok(())
    }

    fn column(&mut self) -> Result<ColumnDefinition> {
        let mut column = ColumnDefinition { name: self.name()?, ..ColumnDefinition::default() };
        if self.keywords("AS") {
            let from = self.at;
            let value = self.expression()?;
            column.computed = Some((value, self.text_since(from)));
        } else {
            let ty = self.type_name()?;
            if ty.name == "xml" && self.keywords("COLUMN_SET FOR ALL_SPARSE_COLUMNS") {
                column.column_set = true;
            }
            column.ty = Some(ty);
        }
        while self.column_option(&mut column)? {}
        Ok(column)
    }

    /// One more word of a column; `false` if none follows.
    fn column_option(&mut self, column: &mut ColumnDefinition) -> Result<bool> {
        if self.keywords("NOT NULL") {
            column.nullable = Some(false);
        } else if self.keywords("NULL") {
            column.nullable = Some(true);
        } else if self.keywords("IDENTITY") {
            column.identity = Some((1, 1));
            if self.sign("(") {
                let seed = self.number()?;
                self.expect(",")?;
                column.identity = Some((seed, self.number()?));
                self.expect(")")?;
            }
        } else if self.keywords("CONSTRAINT") {
            self.name()?;
        } else if self.keywords("DEFAULT") {
            let from = self.at;
            let value = self.default_value()?;
            column.default = Some((value, self.text_since(from)));
        } else if self.keywords("PRIMARY KEY") {
            (column.primary, column.nullable) = (true, Some(false));
            self.clustered();
            self.keywords("NOT ENFORCED");
        } else if self.keywords("UNIQUE") {
            column.unique = true;
            self.clustered();
        } else if self.keywords("COLLATE") {
            column.collation = Some(self.name()?);
        } else if self.keywords("SPARSE") {
            column.sparse = true;
        } else if self.keywords("PERSISTED") {
            column.persisted = true;
        } else if self.keywords("HIDDEN") {
            column.hidden = true;
        } else if self.keywords("ROWGUIDCOL") {
            // A mark without an effect.
        } else if self.keywords("GENERATED ALWAYS AS ROW START") {
            column.period = 1;
        } else if self.keywords("GENERATED ALWAYS AS ROW END") {
            column.period = 2;
        } else if self.keywords("CHECK") {
            self.balanced()?;
        } else if self.is("REFERENCES") {
            self.references()?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// A default is a literal, a call or something in parentheses: NULL and NOT NULL may follow it.
    fn default_value(&mut self) -> Result<Expr> {
        self.expression()
    }

    pub(super) fn alter(&mut self) -> Result<Statement> {
        self.next();
        if self.keywords("DATABASE") {
            let name = if self.keywords("CURRENT") { None } else { Some(self.name()?) };
            self.expect_keywords("SET")?;
            let option = self.any_word()?.to_ascii_uppercase();
            let on = self.keywords("ON");
            if !on && !matches!(self.peek(), Word::End | Word::Sign(";")) {
                self.next();
            }
            if self.keywords("WITH") {
                while !matches!(self.peek(), Word::End | Word::Sign(";")) {
                    self.next();
                }
            }
            return Ok(Statement::AlterDatabase { name, option, on });
        }
        self.expect_keywords("TABLE")?;
        let table = self.dotted()?;
        if self.keywords("DROP COLUMN") {
            return Ok(Statement::AlterTable { table, change: Alter::DropColumn(self.list_of_names()?) });
        }
        if self.keywords("DROP CONSTRAINT") {
            return Ok(Statement::AlterTable { table, change: Alter::DropConstraint(self.list_of_names()?) });
        }
        if self.keywords("ALTER COLUMN") {
            return Ok(Statement::AlterTable { table, change: Alter::Column(Box::new(self.column()?)) });
        }
        if self.keywords("SET") || self.keywords("REBUILD") {
            if matches!(self.peek(), Word::Sign("(")) {
                self.balanced()?;
            }
            return Ok(Statement::Nothing);
        }
        self.expect_keywords("ADD")?;
        let (mut columns, mut keys) = (Vec::new(), Vec::new());
        loop {
            if self.is_key() {
                keys.extend(self.key()?);
            } else {
                columns.push(self.column()?);
            }
            if !self.sign(",") {
                break;
            }
        }
        Ok(Statement::AlterTable { table, change: Alter::Add(columns, keys) })
    }

    fn list_of_names(&mut self) -> Result<Vec<String>> {
        self.keywords("IF EXISTS");
        let mut names = vec![self.name()?];
        while self.sign(",") {
            names.push(self.name()?);
        }
        Ok(names)
    }

    pub(super) fn drop_object(&mut self) -> Result<Statement> {
        self.next();
        let kinds = ["TABLE", "VIEW", "SCHEMA", "INDEX", "DATABASE"];
        let what = kinds.into_iter().find(|kind| self.is(kind)).ok_or_else(|| self.unexpected())?;
        self.next();
        let if_exists = self.keywords("IF EXISTS");
        let mut names: Vec<Name> = vec![self.dotted()?];
        while self.sign(",") {
            names.push(self.dotted()?);
        }
        let on = if what == "INDEX" && self.keywords("ON") { Some(self.dotted()?) } else { None };
        Ok(Statement::Drop { what, names, if_exists, on })
    }
}
