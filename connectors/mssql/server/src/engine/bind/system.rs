//! Variables, and functions that tell of the server, the session and the catalog.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Binder, Bound, cast};
use crate::error::{Result, SqlError};
use crate::settings::Flavour;
use crate::sql::ast::Expr;
use crate::types::datum::Datum;
use crate::types::temporal::{self, DAY};
use crate::types::{Kind, MAX, SqlType};

impl Binder<'_> {
    pub(super) fn variable(&mut self, name: &str) -> Result<Bound> {
        let int = SqlType::of(Kind::Int);
        let text =
            |name: &str| (SqlType::with_length(Kind::NVarChar, 300), Datum::Text(name.as_bytes().to_vec()));
        let (ty, datum) = match name.to_ascii_uppercase().as_str() {
            "@@SPID" => (SqlType::of(Kind::SmallInt), Datum::Int(i64::from(self.session.number))),
            "@@TRANCOUNT" => (int, Datum::Int(i64::from(self.session.transactions))),
            "@@ROWCOUNT" => (int, Datum::Int(self.session.row_count)),
            "@@ERROR" => (int, Datum::Int(i64::from(self.session.last_error))),
            "@@LOCK_TIMEOUT" => (int, Datum::Int(self.session.lock_timeout)),
            "@@VERSION" => text(&self.shared.product().banner),
            "@@SERVERNAME" => text("TDSTEST"),
            "@@LANGUAGE" => text("us_english"),
            "@@MAX_PRECISION" => (SqlType::of(Kind::TinyInt), Datum::Int(38)),
            "@@IDENTITY" => (SqlType::decimal(38, 0), self.identity()),
            "@@DBTS" => {
                let version = self.database.row_version().to_be_bytes().to_vec();
                (SqlType::with_length(Kind::VarBinary, 8), Datum::Bytes(version))
            }
            _ => match self.session.variables.get(&name.to_lowercase()) {
                Some((ty, datum)) => (*ty, datum.clone()),
                None => {
                    return Err(SqlError::new(
                        137,
                        15,
                        format!("Must declare the scalar variable \"{name}\"."),
                    ));
                }
            },
        };
        let bound = self.constant(ty, datum);
        Ok(Bound { literal: false, null: false, ..bound })
    }

    fn identity(&self) -> Datum {
        let last = self.database.last_identity(self.session.number);
        last.map_or(Datum::Null, |value| Datum::Scaled(i128::from(value)))
    }

    pub(super) fn system_function(&mut self, name: &str, arguments: &[Expr]) -> Result<Option<Bound>> {
        let sysname = SqlType::with_length(Kind::NVarChar, 128);
        Ok(Some(match (name, arguments) {
            ("SERVERPROPERTY", [property]) => return self.server_property(property).map(Some),
            ("DB_NAME", []) => self.text_constant(&self.database.name.clone()),
            ("DB_ID", []) => {
                self.constant(SqlType::of(Kind::SmallInt), Datum::Int(i64::from(self.database.number)))
            }
            ("SCHEMA_NAME", []) => self.text_constant("dbo"),
            ("USER_NAME" | "CURRENT_USER" | "SESSION_USER" | "USER", []) => {
                let user =
                    if self.session.login == "sa" { "dbo".to_owned() } else { self.session.login.clone() };
                self.text_constant(&user)
            }
            ("SUSER_SNAME" | "SUSER_NAME" | "ORIGINAL_LOGIN" | "SYSTEM_USER", []) => {
                self.text_constant(&self.session.login.clone())
            }
            ("HOST_NAME", []) => self.text_constant("client"),
            ("APP_NAME", []) => self.text_constant(&self.session.application.clone()),
            ("SCOPE_IDENTITY", []) => {
                let identity = self.identity();
                self.constant(SqlType::decimal(38, 0), identity)
            }
            ("XACT_STATE", []) => {
                let state = i64::from(self.session.transactions.min(1));
                self.constant(SqlType::of(Kind::SmallInt), Datum::Int(state))
            }
            ("MIN_ACTIVE_ROWVERSION", []) => {
                let version = self.database.lowest_active().to_be_bytes().to_vec();
                self.constant(SqlType::with_length(Kind::VarBinary, 8), Datum::Bytes(version))
            }
            ("DATABASEPROPERTYEX", [_, Expr::Literal(crate::sql::ast::Literal::Text { value, .. })]) => {
                let versioned = self.database.versioned.load(Ordering::Relaxed);
                match value.to_ascii_lowercase().as_str() {
                    "isreadcommittedsnapshoton" => {
                        self.constant(SqlType::of(Kind::Int), Datum::Int(i64::from(versioned)))
                    }
                    "updateability" => self.text_constant("READ_WRITE"),
                    "collation" => self.text_constant(SqlType::of(Kind::VarChar).collation.name()),
                    _ => self.constant(sysname, Datum::Null),
                }
            }
            ("GETDATE" | "CURRENT_TIMESTAMP" | "GETUTCDATE", []) => self.now(SqlType::of(Kind::DateTime))?,
            ("SYSDATETIME" | "SYSUTCDATETIME", []) => self.now(SqlType::with_scale(Kind::DateTime2, 7))?,
            ("SYSDATETIMEOFFSET", []) => self.now(SqlType::with_scale(Kind::DateTimeOffset, 7))?,
            _ => return self.catalog_function(name, arguments),
        }))
    }

    /// Functions that look into the catalog.
    fn catalog_function(&mut self, name: &str, arguments: &[Expr]) -> Result<Option<Bound>> {
        Ok(Some(match (name, arguments) {
            ("OBJECT_ID", [name, ..]) => {
                let text = self.constant_text(name)?;
                let parsed = crate::sql::parser::parse_expression(&text).ok();
                let found = match parsed {
                    Some(Expr::Column(name)) => self.object(&name).ok().map(|object| object.id),
                    _ => None,
                };
                self.constant(SqlType::of(Kind::Int), found.map_or(Datum::Null, Datum::Int))
            }
            ("SCHEMA_ID", [name]) => {
                let name = self.expression(name)?;
                self.looked_up("SELECT schema_id FROM \"~schemas\" WHERE name =", &name, Kind::Int)
            }
            ("SCHEMA_NAME", [number]) => {
                let number = self.expression(number)?;
                self.looked_up("SELECT name FROM \"~schemas\" WHERE schema_id =", &number, Kind::NVarChar)
            }
            ("OBJECT_NAME", [number, ..]) => {
                let number = self.expression(number)?;
                self.looked_up("SELECT name FROM \"~objects\" WHERE object_id =", &number, Kind::NVarChar)
            }
            ("OBJECT_SCHEMA_NAME", [number, ..]) => {
                let number = self.expression(number)?;
                let sql = "SELECT s.name FROM \"~objects\" o JOIN \"~schemas\" s ON s.schema_id = o.schema_id \
                           WHERE o.object_id =";
                self.looked_up(sql, &number, Kind::NVarChar)
            }
            ("HAS_PERMS_BY_NAME", [name, ..]) => self.permission(name)?,
            _ => return Ok(None),
        }))
    }

    fn looked_up(&mut self, sql: &str, value: &Bound, kind: Kind) -> Bound {
        let ty = if kind == Kind::NVarChar { SqlType::with_length(kind, 128) } else { SqlType::of(kind) };
        Bound::new(format!("({sql} {})", value.sql), ty)
    }

    /// 1 if the user may read the object of this quoted name, 0 if that was denied.
    fn permission(&mut self, name: &Expr) -> Result<Bound> {
        let name = self.expression(name)?;
        let user = self.value(Datum::Text(self.session.login.clone().into_bytes()));
        let sql = format!(
            "(NOT EXISTS (SELECT 1 FROM \"~denied\" d JOIN \"~objects\" o ON o.object_id = d.object_id \
             JOIN \"~schemas\" s ON s.schema_id = o.schema_id WHERE d.user = {user} AND \
             '[' || replace(s.name, ']', ']]') || '].[' || replace(o.name, ']', ']]') || ']' = {} COLLATE TSQL_CI))",
            name.sql
        );
        Ok(Bound::new(sql, SqlType::of(Kind::Int)))
    }

    fn server_property(&mut self, property: &Expr) -> Result<Bound> {
        let product = self.shared.product();
        let property = self.constant_text(property)?;
        let text = |text: &str| {
            let base = SqlType::with_length(Kind::NVarChar, 128);
            Datum::Variant(base, Box::new(Datum::Text(text.as_bytes().to_vec())))
        };
        let int = |value: i64| Datum::Variant(SqlType::of(Kind::Int), Box::new(Datum::Int(value)));
        let edition = match self.shared.settings.flavour {
            Flavour::SqlServer => 3,
            Flavour::AzureSql => 5,
            Flavour::Synapse => 6,
        };
        let datum = match property.to_ascii_lowercase().as_str() {
            "productversion" => text(&product.version),
            "productlevel" => text("RTM"),
            "edition" => text(product.edition),
            "engineedition" => int(edition),
            "servername" | "machinename" => text("TDSTEST"),
            "collation" => text(SqlType::of(Kind::VarChar).collation.name()),
            "ishadrenabled" | "isclustered" => int(0),
            _ => Datum::Null,
        };
        let bound = self.constant(SqlType::of(Kind::Variant), datum);
        Ok(Bound { null: false, ..bound })
    }

    /// The text of an argument that no row decides.
    fn constant_text(&mut self, expr: &Expr) -> Result<String> {
        let bound = self.expression(expr)?;
        let text = cast(&bound, &SqlType::with_length(Kind::NVarChar, MAX), 0);
        let mut statement = self.connection.prepare(&format!("SELECT {text}"))?;
        super::super::execute::bind(&mut statement, &self.values)?;
        let mut rows = statement.raw_query();
        let text: Option<String> = match rows.next()? {
            Some(row) => row.get(0)?,
            None => None,
        };
        Ok(text.unwrap_or_default())
    }

    fn now(&mut self, ty: SqlType) -> Result<Bound> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let units = i64::try_from(since.as_nanos() / 100).unwrap_or(0);
        let epoch = temporal::days(1970, 1, 1).unwrap_or(0) * DAY;
        let moment = SqlType::with_scale(Kind::DateTime2, 7);
        let datum = crate::types::convert::convert(&Datum::Time(epoch + units), &moment, &ty, 0)?;
        let bound = self.constant(ty, datum);
        Ok(Bound { literal: false, ..bound })
    }
}
