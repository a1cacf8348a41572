//! What a destination remembers of committed loads.

use std::collections::BTreeMap;
use std::sync::Arc;

use transload_core::connector::{BoundaryRows, CursorInterval, LoadRecord, WriteMode};
use transload_core::schema::{ColumnOverride, CursorValue, Nanos};

use super::{Loading, record, rows};
use crate::check::equal;
use crate::fixture::Done;
use crate::suite::{Cases, Ctx};

pub(super) fn add(cases: &mut Cases) {
    if !cases.subject().capability().append {
        return;
    }
    cases.add("destination::record_round_trip", round_trip);
    cases.add("destination::last_load_by_job", by_job);
    cases.add("destination::last_loads_by_name", by_name);
    if cases.subject().capability().durable {
        cases.add("destination::record_is_durable", durable);
    }
}

fn full(sequence: u64, watermark: CursorValue) -> LoadRecord {
    let mut pinned = transload_core::schema::Overrides::new();
    pinned.insert(
        "some \"odd\" column".to_owned(),
        ColumnOverride {
            data_type: Some("NUMERIC(12,2)".to_owned()),
            format: Some("%Y-%m-%d '\\ 表".to_owned()),
            ..ColumnOverride::default()
        },
    );
    let hashes: BTreeMap<String, u64> = (0..200_u64).map(|n| (format!("{n:032x}"), n + 1)).collect();
    LoadRecord {
        job_name: "täglich; \"orders\" 'x' \\ \n表".to_owned(),
        cursor: Some("updated at".to_owned()),
        window_lo: Some(CursorValue::Text(String::new())),
        covered: vec![
            CursorInterval { lo: None, hi: watermark.clone(), hi_open: true },
            CursorInterval { lo: Some(watermark.clone()), hi: watermark.clone(), hi_open: false },
        ],
        watermark: Some(watermark),
        boundary: BoundaryRows {
            columns: vec!["id".to_owned(), "a, b".to_owned()],
            nulls: hashes.iter().take(3).map(|(hash, count)| (hash.clone(), *count)).collect(),
            hashes,
        },
        key: vec!["id".to_owned(), "a 'quoted' one".to_owned()],
        source: "shop: public.orders".to_owned(),
        mapping_hash: "0123456789abcdef".to_owned(),
        pinned,
        ..record("full", sequence, 1)
    }
}

async fn round_trip(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let values = [
        CursorValue::Int(i64::MIN),
        CursorValue::UInt(u64::MAX),
        CursorValue::Decimal("-12345678901234567890".to_owned(), 9),
        CursorValue::Date(-719_162),
        CursorValue::DateTime(Nanos(253_402_300_799_999_999_999)),
        CursorValue::Timestamp(Nanos(-1)),
        CursorValue::Binary(vec![0, 255, 1, 39, 92, 0, 0, 7]),
        CursorValue::Text("quote ' \" \\ \n 表 🦀".to_owned()),
    ];
    for (sequence, value) in (1..).zip(values) {
        let record = full(sequence, value);
        loading.load(WriteMode::Append, &rows(&[(1, "a", 1)]), record.clone()).await?;
        let last = loading.destination.last_load(&loading.table.target, "full").await?;
        equal("the record", &last, &Some(record))?;
    }
    Ok(())
}

async fn by_job(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let row = rows(&[(1, "a", 1)]);
    for (job, sequence) in [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2)] {
        loading.load(WriteMode::Append, &row, record(job, sequence, 1)).await?;
    }
    for (job, expected) in [("a", Some(3)), ("b", Some(2)), ("c", None)] {
        let last = loading.destination.last_load(&loading.table.target, job).await?;
        equal(&format!("last load of job {job}"), &last.map(|last| last.sequence), &expected)?;
    }
    loading.holds("five loads", &vec![row; 5].concat()).await?;
    let mut other = loading.table.target.clone();
    other.table = "another".to_owned();
    equal("last load into another table", &loading.destination.last_load(&other, "a").await?, &None)
}

async fn by_name(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let row = rows(&[(1, "a", 1)]);
    let name = "daily; 'orders' \\ \"x\"";
    for (job, sequence, job_name) in
        [("a", 1, name), ("b", 2, name), ("a", 3, name), ("c", 9, "another"), ("b", 4, name)]
    {
        let record = LoadRecord { job_name: job_name.to_owned(), ..record(job, sequence, 1) };
        loading.load(WriteMode::Append, &row, record).await?;
    }
    let target = &loading.table.target;
    let mut found = loading.destination.last_loads(target, name).await?;
    found.sort_by_key(|load| load.sequence);
    let found: Vec<_> = found.iter().map(|load| (load.job.as_str(), load.sequence)).collect();
    equal("the newest load of each job", &found, &vec![("a", 3), ("b", 4)])?;
    equal("loads of nobody", &loading.destination.last_loads(target, "nobody").await?, &Vec::new())
}

async fn durable(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let some = rows(&[(1, "a", 1)]);
    let record = full(1, CursorValue::Int(7));
    loading.load(WriteMode::Append, &some, record.clone()).await?;
    let table = loading.table.clone();
    drop(loading);
    let again = Loading::prepare(&ctx, table).await?;
    let last = again.destination.last_load(&again.table.target, "full").await?;
    equal("the record, read by another", &last, &Some(record))?;
    again.holds("rows, read by another", &some).await
}
