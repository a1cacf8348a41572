//! Listing and describing.

use std::sync::Arc;

use transload_core::ErrorKind;
use transload_core::schema::TableRef;

use super::numbered;
use crate::check::{ensure, equal, error_with_hint};
use crate::fixture::{Done, Failure};
use crate::generate::{Seeded, all_kinds};
use crate::suite::{Cases, Ctx};

pub(super) fn add(cases: &mut Cases) {
    cases.add("source::check", check);
    cases.add("source::lists_tables", lists_tables);
    cases.add("source::describe", describe);
    cases.add("source::missing_table", missing_table);
    if cases.subject().capability().schemas {
        cases.add("source::missing_schema", missing_schema);
    } else {
        cases.add("source::has_no_schemas", has_no_schemas);
    }
}

async fn check(ctx: Arc<Ctx>) -> Done {
    let info = ctx.open_source().await?.check().await?;
    ensure(!info.version.trim().is_empty(), || "the version is empty".to_owned())?;
    let status = ctx.subject.registry().test(&ctx.connection()?, std::time::Duration::from_secs(20)).await;
    equal("status of the connection test", &status.to_json()["status"].as_str(), &Some("ok"))
}

async fn lists_tables(ctx: Arc<Ctx>) -> Done {
    let made = ctx.create(&numbered(&ctx, "listed", 3)?).await?;
    let source = ctx.open_source().await?;
    let tables = source.tables(made.schema.as_deref()).await?;
    let found = tables.iter().find(|info| info.table.name == made.name);
    let found = found.ok_or_else(|| Failure::new(format!("{made} is not among the tables: {tables:?}")))?;
    equal("kind of the table", &found.kind, &ctx.tables()?.facts().table_kind)?;
    let all = source.tables(None).await?;
    ensure(all.iter().any(|info| info.table == found.table), || {
        format!("{made} is not among the tables of all schemas")
    })?;
    let names: Vec<_> = all.iter().map(|info| info.table.clone()).collect();
    let mut sorted = names.clone();
    sorted.sort();
    equal("order of tables", &names, &sorted)?;
    if ctx.subject.capability().schemas {
        let schemas = source.schemas().await?;
        ensure(schemas.iter().any(|schema| Some(&schema.name) == made.schema.as_ref()), || {
            format!("schema {:?} is not listed: {schemas:?}", made.schema)
        })?;
    }
    Ok(())
}

async fn describe(ctx: Arc<Ctx>) -> Done {
    let mut seeded = Seeded::from_env();
    let fixture = ctx.tables()?;
    let table = all_kinds(&ctx.name("described"), fixture.as_ref(), &mut seeded, 0);
    let made = ctx.create(&table).await?;
    let source = ctx.open_source().await?;
    let described = source.describe(&made).await?;
    let names: Vec<_> = described.columns.iter().map(|column| column.name.as_str()).collect();
    let expected: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    equal("column names", &names, &expected)?;
    for (column, expected) in described.columns.iter().zip(&table.columns) {
        ensure(!column.source_type.is_empty(), || format!("column {} has no type text", column.name))?;
        ensure(column.nullable || !expected.nullable, || format!("column {} must be nullable", column.name))?;
        if fixture.facts().not_null {
            equal(&format!("nullable of {}", column.name), &column.nullable, &expected.nullable)?;
        }
    }
    if fixture.facts().primary_keys {
        equal("primary key", &described.primary_key, &table.key)?;
    }
    let session = source.begin(&made).await?;
    equal("table of a session", session.table(), &described)?;
    session.close().await?;
    Ok(())
}

async fn missing_table(ctx: Arc<Ctx>) -> Done {
    let made = ctx.create(&numbered(&ctx, "there", 1)?).await?;
    let source = ctx.open_source().await?;
    let missing = TableRef { schema: made.schema.clone(), name: ctx.name("missing") };
    let kinds = [ErrorKind::NotFound];
    let error = error_with_hint("describe", source.describe(&missing).await, &kinds)?;
    ensure(error.to_string().contains(&missing.name), || format!("the table is not named: {error}"))?;
    error_with_hint("sample", source.sample(&missing, 1).await, &kinds)?;
    error_with_hint("begin", source.begin(&missing).await, &kinds)?;
    Ok(())
}

async fn missing_schema(ctx: Arc<Ctx>) -> Done {
    let source = ctx.open_source().await?;
    let missing = ctx.name("no_schema");
    error_with_hint("tables", source.tables(Some(&missing)).await, &[ErrorKind::NotFound])?;
    let table = TableRef::new(&missing, "t");
    error_with_hint("describe", source.describe(&table).await, &[ErrorKind::NotFound]).map(|_| ())
}

async fn has_no_schemas(ctx: Arc<Ctx>) -> Done {
    let schemas = ctx.open_source().await?.schemas().await?;
    ensure(schemas.is_empty(), || format!("a source without schemas lists {schemas:?}"))
}
