//! The ways that rows take into BigQuery: files with their load jobs, files in Cloud Storage, the Storage Write API.
//! Against the emulator; Cloud Storage is `transload_testkit::gcs`, whose folder the emulator reads.

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use common::{GRPC, Shop, emulator};
use serde_json::json;
use transload_core::{ErrorKind, RunStatus};
use transload_testkit::gcs::Gcs;
use transload_testkit::http::{FaultProxy, Harm};
use transload_testkit::proxy::{Break, Proxy, after_bytes};
use transload_testkit::{Done, Failure, need_env};

const ROOT: &str = "TRANSLOAD_TEST_BIGQUERY_GCS_ROOT";

#[tokio::test]
async fn files_are_uploaded_in_sessions_while_rows_come() -> Done {
    let shop = Shop::new("files", 60_000)?;
    let report =
        shop.load(emulator()?.option("file_mib", 2), json!({"strategy": "replace"})).await?.into_result()?;
    assert_eq!((report.rows.written, report.rows.inserted), (60_000, 60_000));
    // Several files: 40 random bytes a row do not compress. They are larger than a request in 16 MiB of memory.
    assert!(report.bytes_written > 2 << 20, "{}", report.bytes_written);
    shop.same().await?;
    shop.end().await
}

#[tokio::test]
async fn files_wait_in_cloud_storage_and_are_deleted() -> Done {
    let shop = Shop::new("gcs", 60_000)?;
    let root = PathBuf::from(need_env(ROOT)?);
    let gcs = Gcs::start(&root).await?;
    gcs.keep_of_each_chunk(512 << 10);
    // What a dead run of this target left, and what belongs to somebody else.
    let bucket = format!("bucket-{}", shop.dataset.replace('_', "-"));
    let warehouse = emulator()?
        .option("file_mib", 2)
        .option("gcs_staging", format!("gs://{bucket}/some/where"))
        .option("gcs_endpoint", gcs.url());
    shop.load(warehouse.clone(), json!({"strategy": "replace"})).await?.into_result()?;
    shop.same().await?;
    let folder = root.join(&bucket).join("some/where");
    let staging: Vec<_> = gcs.requests().iter().filter(|r| r.starts_with("DELETE")).cloned().collect();
    assert!(!staging.is_empty(), "no object was deleted");
    assert!(gcs.short_answers() > 0, "no chunk was kept in part");
    let name = staging[0].rsplit("%2F").nth(1).unwrap_or_default().to_owned();
    let orphan = folder.join(format!("{}_dead", &name[..21])).join("part-1.parquet");
    let foreign = folder.join("theirs.parquet");
    for file in [&orphan, &foreign] {
        std::fs::create_dir_all(file.parent().unwrap())?;
        std::fs::write(file, b"x")?;
    }
    shop.load(warehouse, json!({"strategy": "replace"})).await?.into_result()?;
    assert!(!orphan.exists() && foreign.exists(), "{}", orphan.display());
    shop.same().await?;
    std::fs::remove_dir_all(root.join(&bucket))?;
    shop.end().await
}

#[tokio::test]
async fn rows_go_through_the_storage_write_api() -> Done {
    let shop = Shop::new("write", 3_000)?;
    let proxy = Proxy::new(need_env(GRPC)?.trim_start_matches("http://").parse()?).await?;
    let warehouse = emulator()?
        .option("load_method", "storage_write")
        .option("storage_endpoint", format!("http://127.0.0.1:{}", proxy.port()));
    let report = shop.load(warehouse.clone(), json!({"strategy": "replace"})).await?.into_result()?;
    assert_eq!((report.rows.written, report.rows.inserted), (3_000, 3_000));
    shop.same().await?;
    // The connection breaks in the middle of the answers, again and again: appends are repeated at their offsets.
    let lengths = AtomicUsize::new(60);
    proxy.script(move || after_bytes(lengths.fetch_add(90, Ordering::Relaxed), Break::Reset));
    shop.run("UPDATE orders SET what = 'again' WHERE id % 7 = 0")?;
    let load = json!({"strategy": "merge", "key": ["id"], "restart": true});
    let report = shop.load(warehouse, load).await?.into_result()?;
    assert!(proxy.broken() > 0, "no connection was broken");
    assert_eq!((report.rows.inserted, report.rows.updated), (0, 3_000));
    shop.same().await?;
    shop.end().await
}

#[tokio::test]
async fn a_merge_reads_only_the_partitions_that_it_meets() -> Done {
    let shop = Shop::new("pruned", 300)?;
    // The emulator refuses statements without a filter on `day`, as BigQuery does: an unpruned merge would fail.
    common::query(&format!("CREATE SCHEMA `{}`", shop.dataset)).await?;
    let ddl = format!(
        "CREATE TABLE `{}`.`orders` (id INT64 NOT NULL, day DATE NOT NULL, what STRING) PARTITION BY day \
         OPTIONS (require_partition_filter = TRUE)",
        shop.dataset
    );
    common::query(&ddl).await?;
    let load = json!({"strategy": "merge", "key": ["id", "day"]});
    let report = shop.load(emulator()?, load.clone()).await?.into_result()?;
    assert_eq!((report.rows.inserted, report.rows.updated), (300, 0));
    assert!(report.bytes_billed.is_some());
    shop.run(
        "UPDATE orders SET what = 'new' WHERE id < 10; INSERT INTO orders VALUES (1000, '2026-03-01', 'x')",
    )?;
    let report = shop.load(emulator()?, load).await?.into_result()?;
    assert_eq!((report.rows.inserted, report.rows.updated), (1, 300));
    common::query(&format!(
        "ALTER TABLE `{}`.`orders` SET OPTIONS (require_partition_filter = FALSE)",
        shop.dataset
    ))
    .await?;
    shop.same().await?;
    shop.end().await
}

#[tokio::test]
async fn rows_that_say_so_are_removed_from_the_partitions_that_the_load_meets() -> Done {
    let shop = Shop::new("told", 300)?;
    shop.run("ALTER TABLE orders ADD COLUMN gone TEXT")?;
    common::query(&format!("CREATE SCHEMA `{}`", shop.dataset)).await?;
    // As above: the emulator refuses statements without a filter on `day`. It takes one in a subquery for a filter, too;
    // that it stands outside is a test of the statement's text (`src/commit.rs`).
    let ddl = format!(
        "CREATE TABLE `{}`.`orders` (id INT64 NOT NULL, day DATE NOT NULL, what STRING, gone STRING) PARTITION BY day \
         OPTIONS (require_partition_filter = TRUE)",
        shop.dataset
    );
    common::query(&ddl).await?;
    let load = json!({"strategy": "merge", "key": ["id", "day"], "soft_delete": {"column": "gone", "policy": "remove"}});
    let report = shop.load(emulator()?, load.clone()).await?.into_result()?;
    assert_eq!((report.rows.inserted, report.rows.deleted), (300, 0));
    shop.run("UPDATE orders SET gone = 'yes' WHERE id < 10")?;
    let report = shop.load(emulator()?, load).await?.into_result()?;
    assert_eq!((report.rows.inserted, report.rows.updated, report.rows.deleted), (0, 291, 9));
    common::query(&format!(
        "ALTER TABLE `{}`.`orders` SET OPTIONS (require_partition_filter = FALSE)",
        shop.dataset
    ))
    .await?;
    shop.run("DELETE FROM orders WHERE gone IS NOT NULL")?;
    shop.same().await?;
    shop.end().await
}

#[tokio::test]
async fn a_comparison_of_keys_is_billed_even_if_nothing_is_committed() -> Done {
    let shop = Shop::new("compared", 50)?;
    let load =
        json!({"strategy": "merge", "key": ["id"], "cursor": "id", "detect_deletes": {"policy": "remove"}});
    shop.load(emulator()?, load.clone()).await?.into_result()?;
    let report = shop.load(emulator()?, load).await?;
    assert_eq!((report.status, report.committed, report.rows.keys), (RunStatus::Succeeded, false, 50));
    assert!(report.bytes_billed.is_some(), "{report:?}");
    shop.end().await
}

#[tokio::test]
async fn an_empty_window_changes_nothing() -> Done {
    let shop = Shop::new("empty", 50)?;
    let load = json!({"strategy": "append", "cursor": "id"});
    shop.load(emulator()?, load.clone()).await?.into_result()?;
    let report = shop.load(emulator()?, load).await?;
    assert_eq!((report.status, report.committed, report.rows.written), (RunStatus::Succeeded, false, 0));
    shop.same().await?;
    shop.end().await
}

#[tokio::test]
async fn a_value_that_the_table_refuses_names_its_column() -> Done {
    let shop = Shop::new("refused", 20)?;
    shop.run("INSERT INTO orders VALUES (99, '2026-01-05', NULL)")?;
    common::query(&format!("CREATE SCHEMA `{}`", shop.dataset)).await?;
    let ddl = format!("CREATE TABLE `{}`.`orders` (id INT64, day DATE, what INT64)", shop.dataset);
    common::query(&ddl).await?;
    let report = shop.load(emulator()?, json!({"strategy": "replace"})).await?;
    let error = report.into_result().err().ok_or_else(|| Failure::new("text was loaded into INT64"))?;
    assert_eq!(error.kind(), ErrorKind::SchemaChanged, "{error}");
    assert!(error.to_string().contains("what"), "{error}");
    common::drop_dataset(&shop.dataset).await
}

#[tokio::test]
async fn a_job_chooses_its_way_in_over_the_connection() -> Done {
    let shop = Shop::new("chosen", 500)?;
    let root = PathBuf::from(need_env(ROOT)?);
    let gcs = Gcs::start(&root).await?;
    let bucket = format!("bucket-{}", shop.dataset.replace('_', "-"));
    let place = format!("gs://{bucket}/some/where");
    let proxy = FaultProxy::new(common::address()?).await?;
    let uploads = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&uploads);
    proxy.script(move |request| {
        counter.fetch_add(u64::from(request.path().starts_with("/upload/")), Ordering::Relaxed);
        Harm::None
    });
    let mut job = shop.job(json!({"strategy": "replace"}))?.to_json()?;
    // What the connection says, what the job says, and whether files are uploaded to BigQuery and to the bucket.
    for (method, prefix, options, uploaded, stored) in [
        ("file", None, json!({}), true, false),
        ("file", None, json!({"load_method": "storage_write"}), false, false),
        ("file", None, json!({"staging_prefix": place}), false, true),
        ("storage_write", None, json!({"load_method": "file"}), true, false),
        ("storage_write", Some(&place), json!({"load_method": "file"}), false, true),
        ("file", Some(&place), json!({"staging_prefix": "none"}), true, false),
    ] {
        let warehouse = emulator()?
            .option("endpoint", proxy.url())
            .option("gcs_endpoint", gcs.url())
            .option("load_method", method);
        let warehouse = match prefix {
            Some(prefix) => warehouse.option("gcs_staging", prefix.as_str()),
            None => warehouse,
        };
        uploads.store(0, Ordering::Relaxed);
        let before = gcs.requests().len();
        job["destination"]["options"] = options.clone();
        shop.run_job(warehouse, &job).await?.into_result()?;
        let put = gcs.requests().iter().skip(before).any(|request| request.starts_with("POST"));
        let seen = (uploads.load(Ordering::Relaxed) > 0, put);
        assert_eq!(seen, (uploaded, stored), "{method} {prefix:?} {options}");
        shop.same().await?;
    }
    std::fs::remove_dir_all(root.join(&bucket))?;
    shop.end().await
}

#[tokio::test]
async fn options_that_do_not_exist_are_refused_before_anything_is_made() -> Done {
    let shop = Shop::new("options", 5)?;
    let mut job = shop.job(json!({"strategy": "replace"}))?.to_json()?;
    job["destination"]["options"] = json!({"load_methd": "file"});
    let report = shop.run_job(emulator()?, &job).await?;
    let error = report.into_result().err().ok_or_else(|| Failure::new("it ran"))?;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("load_method"), "{error}");
    assert_eq!(common::tables(&shop.dataset).await?, Vec::<String>::new());
    Ok(())
}

/// Between staging and commit somebody else takes rows away, as a second run of the same table might.
#[tokio::test]
async fn a_staging_table_that_somebody_changed_is_not_committed() -> Done {
    for (name, load) in [
        ("append", json!({"strategy": "append", "cursor": "id"})),
        ("replace", json!({"strategy": "replace"})),
        ("merge", json!({"strategy": "merge", "key": ["id"], "cursor": "id"})),
    ] {
        let shop = Shop::new(&format!("thief_{name}"), 300)?;
        shop.load(emulator()?, load.clone()).await?.into_result()?;
        shop.run("UPDATE orders SET what = 'new'; INSERT INTO orders VALUES (1000, '2026-01-05', 'new')")?;
        let proxy = FaultProxy::new(common::address()?).await?;
        let dataset = shop.dataset.clone();
        proxy.script(move |request| {
            if String::from_utf8_lossy(&request.body).contains("BEGIN TRANSACTION") {
                // The proxy asks before it passes the request on: the rows are gone before the commit begins.
                let dataset = dataset.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.unwrap().block_on(steal(&dataset)).unwrap();
                })
                .join()
                .unwrap();
            }
            Harm::None
        });
        let report = shop.load(common::warehouse(&proxy.url())?, load.clone()).await?;
        let error = report.into_result().err().ok_or_else(|| Failure::new("it was committed"))?;
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{name}: {error}");
        assert!(error.message().contains("staged rows are not those that were written"), "{name}: {error}");
        // Nothing of it is there, and the next run brings it all.
        let changed = format!("SELECT COUNT(*) FROM `{}`.`orders` WHERE what = 'new'", shop.dataset);
        let found = common::query(&changed).await?.unwrap_or_default();
        assert_eq!(found, [[Some("0".to_owned())]], "{name}");
        shop.load(emulator()?, load).await?.into_result()?;
        if name == "replace" {
            shop.same().await?;
        }
        shop.end().await?;
    }
    Ok(())
}

/// Deletes the rows of the staging table of a dataset.
async fn steal(dataset: &str) -> Done {
    let tables = common::tables(dataset).await?;
    let staging = tables.iter().find(|name| name.starts_with("_tl_"));
    let staging = staging.ok_or_else(|| Failure::new(format!("no staging table among {tables:?}")))?;
    common::query(&format!("DELETE FROM `{dataset}`.`{staging}` WHERE TRUE")).await?;
    Ok(())
}
