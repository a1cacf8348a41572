//! What the emulator does not do by itself: a proxy answers in its place, or loses what it answered. The answers
//! have the form that BigQuery's documentation gives; that the real service gives them at these moments is not
//! proven here.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::Shop;
use serde_json::{Value, json};
use transload_bigquery::BigQuery;
use transload_core::connector::ReadPlan;
use transload_core::schema::TableRef;
use transload_core::{Connection, ErrorKind, Registry, Secret};
use transload_testkit::http::{FaultProxy, Harm, HttpServer, Reply, Request};
use transload_testkit::{Done, Failure};

async fn proxy() -> Done<FaultProxy> {
    transload_google::install_crypto_provider();
    Ok(FaultProxy::new(common::address()?).await?)
}

fn through(proxy: &FaultProxy) -> Done<Connection> {
    Ok(common::warehouse(&proxy.url())?.option("retry_seconds", 120))
}

fn is_upload(request: &Request) -> bool {
    request.path().starts_with("/upload/")
}

/// The job that a submission names.
fn job_of(request: &Request) -> String {
    let text = String::from_utf8_lossy(&request.body);
    let id = text.split("\"jobId\":\"").nth(1).and_then(|rest| rest.split('"').next());
    id.unwrap_or_default().to_owned()
}

fn is_commit(request: &Request) -> bool {
    request.method == "POST" && request.path().ends_with("/jobs") && job_of(request).starts_with("tl_commit")
}

/// The job that a request asks for.
fn asked(request: &Request) -> Option<&str> {
    let path = request.path();
    (request.method == "GET").then(|| path.split("/jobs/").nth(1)).flatten()
}

fn job(id: &str, status: &Value, statistics: &Value) -> Reply {
    let reference = json!({"projectId": "p", "jobId": id, "location": "US"});
    Reply::json(
        200,
        &json!({"kind": "bigquery#job", "jobReference": reference, "status": status,
        "statistics": statistics}),
    )
}

/// Harm for the first request that `which` picks.
fn once(
    which: impl Fn(&Request) -> bool + Send + 'static,
    harm: Harm,
) -> impl FnMut(&Request) -> Harm + Send {
    let mut harm = Some(harm);
    move |request| if which(request) { harm.take().unwrap_or(Harm::None) } else { Harm::None }
}

fn replace() -> Value {
    json!({"strategy": "replace"})
}

fn failed(report: transload_core::RunReport) -> Done<transload_core::Error> {
    report.into_result().err().ok_or_else(|| Failure::new("the run succeeded"))
}

#[tokio::test]
async fn lost_replies_do_not_repeat_what_was_done() -> Done {
    let proxy = proxy().await?;
    for (name, which) in [("upload", is_upload as fn(&Request) -> bool), ("commit", is_commit)] {
        for harm in [Harm::LoseReply, Harm::ResetAfter, Harm::ResetBefore] {
            let shop = Shop::new("lost", 500)?;
            let before = proxy.harmed();
            proxy.script(once(which, harm.clone()));
            let report = shop.load(through(&proxy)?, json!({"strategy": "append", "cursor": "id"})).await?;
            let report = report.into_result()?;
            assert_eq!(proxy.harmed(), before + 1, "{name} {harm:?}");
            assert_eq!(report.rows.inserted, 500, "{name} {harm:?}");
            assert!(!report.warnings.iter().any(|(_, w)| w.code == "W_ALREADY_COMMITTED"), "{name} {harm:?}");
            shop.same().await?;
            shop.end().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_load_job_that_was_throttled_runs_again_under_another_id() -> Done {
    let proxy = proxy().await?;
    let shop = Shop::new("throttled", 300)?;
    let ids = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ids);
    proxy.script(move |request| {
        let limited = json!({"reason": "rateLimitExceeded", "message": "Exceeded rate limits: too many table update \
            operations for this table"});
        let done = json!({"state": "DONE", "errorResult": limited, "errors": [limited]});
        if is_upload(request) {
            seen.lock().unwrap().push(job_of(request));
            if job_of(request).ends_with("_a1") {
                return Harm::ReplyBefore(job(&job_of(request), &json!({"state": "RUNNING"}), &json!({})));
            }
        }
        match asked(request) {
            Some(id) if id.starts_with("tl_0") && id.ends_with("_a1") => {
                Harm::ReplyBefore(job(id, &done, &json!({})))
            }
            _ => Harm::None,
        }
    });
    shop.load(through(&proxy)?, replace()).await?.into_result()?;
    let ids = ids.lock().unwrap().clone();
    assert_eq!(ids.len(), 2, "{ids:?}");
    let stem = ids[0].strip_suffix("_a1").ok_or_else(|| Failure::new(ids[0].clone()))?;
    assert_eq!(ids[1], format!("{stem}_a2"));
    shop.same().await?;
    shop.end().await
}

#[tokio::test]
async fn a_job_that_never_ends_is_cancelled_and_reported() -> Done {
    let proxy = proxy().await?;
    let shop = Shop::new("stuck", 100)?;
    let cancelled = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&cancelled);
    proxy.script(move |request| {
        if request.path().ends_with("/cancel") {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        match asked(request) {
            Some(id) if id.starts_with("tl_0") => {
                Harm::ReplyBefore(job(id, &json!({"state": "RUNNING"}), &json!({})))
            }
            _ => Harm::None,
        }
    });
    let error = failed(shop.load(through(&proxy)?.option("job_seconds", 1), replace()).await?)?;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true), "{error}");
    assert!(error.context_value("job_id").is_some() && cancelled.load(Ordering::Relaxed) > 0, "{error}");
    proxy.pass();
    shop.load(through(&proxy)?, replace()).await?.into_result()?;
    shop.same().await?;
    shop.end().await
}

#[tokio::test]
async fn a_wrong_number_of_loaded_rows_stops_the_load() -> Done {
    let proxy = proxy().await?;
    let shop = Shop::new("counted", 100)?;
    proxy.script(|request| match asked(request) {
        Some(id) if id.starts_with("tl_0") => {
            let statistics = json!({"load": {"outputRows": "99"}});
            Harm::ReplyAfter(job(id, &json!({"state": "DONE"}), &statistics))
        }
        _ => Harm::None,
    });
    let error = failed(shop.load(through(&proxy)?, replace()).await?)?;
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    let rows = common::query(&format!("SELECT * FROM `{}`.`orders`", shop.dataset)).await?;
    assert_eq!(rows, Some(Vec::new()));
    shop.end().await
}

#[tokio::test]
async fn errors_of_a_load_job_name_the_column_of_the_target() -> Done {
    let proxy = proxy().await?;
    let shop = Shop::new("named", 10)?;
    proxy.script(|request| match asked(request) {
        Some(id) if id.starts_with("tl_0") => {
            let wrong = json!({"reason": "invalid", "message": "Error while reading data, error message: Invalid \
                value '2026-13-01' for column 'c1' at row 7"});
            Harm::ReplyAfter(job(id, &json!({"state": "DONE", "errorResult": wrong, "errors": [wrong]}), &json!({})))
        }
        _ => Harm::None,
    });
    let error = failed(shop.load(through(&proxy)?, replace()).await?)?;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Data, false), "{error}");
    assert_eq!(error.context_value("column"), Some("day"), "{error}");
    assert!(error.to_string().contains("2026-13-01"), "{error}");
    // No row of the file holds that value, so none is shown.
    assert_eq!(
        (error.context_value("value"), error.context_value("row")),
        (Some("2026-13-01"), None),
        "{error}"
    );
    shop.end().await
}

#[tokio::test]
async fn errors_of_a_load_job_show_the_row_and_say_what_to_do() -> Done {
    let proxy = proxy().await?;
    let shop = Shop::new("excerpt", 40)?;
    // 2026-01-08 as the file holds it: the day of ids 7 and 37.
    proxy.script(|request| match asked(request) {
        Some(id) if id.starts_with("tl_0") => {
            let wrong = json!({"reason": "invalid", "location": "load-source-0", "message": "Error while reading data, error \
                message: Invalid datetime value 20461 for field 'c1' of type 'INT32': generic::out_of_range: Cannot return \
                an invalid date"});
            Harm::ReplyAfter(job(id, &json!({"state": "DONE", "errorResult": wrong, "errors": [wrong]}), &json!({})))
        }
        _ => Harm::None,
    });
    let error = failed(shop.load(through(&proxy)?, replace()).await?)?;
    assert_eq!(error.context_value("column"), Some("day"), "{error}");
    assert_eq!(error.context_value("location"), Some("load-source-0"), "{error}");
    let row = error.context_value("row").unwrap_or_default();
    assert!(row.starts_with("id=7, day=2026-01-08, what="), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("years 1 to 9999")), "{error}");
    shop.end().await
}

#[tokio::test]
async fn quota_and_permission_differ() -> Done {
    let proxy = proxy().await?;
    let shop = Shop::new("refused", 10)?;
    let asked = Arc::new(AtomicU64::new(0));
    for (reason, kind, retryable, most) in [
        ("accessDenied", ErrorKind::Permission, false, 1),
        ("quotaExceeded", ErrorKind::RateLimited, true, 100),
    ] {
        let counter = Arc::clone(&asked);
        counter.store(0, Ordering::Relaxed);
        proxy.script(move |request| {
            if !is_commit(request) {
                return Harm::None;
            }
            counter.fetch_add(1, Ordering::Relaxed);
            Harm::ReplyBefore(Reply::google_error(403, reason, "no"))
        });
        let connection = through(&proxy)?.option("retry_seconds", 10);
        let error = failed(shop.load(connection, replace()).await?)?;
        assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{error}");
        let requests = asked.load(Ordering::Relaxed);
        assert!(requests <= most && (!retryable || requests > 1), "{reason}: {requests} requests");
    }
    common::drop_dataset(&shop.dataset).await
}

#[tokio::test]
async fn retry_after_is_heeded() -> Done {
    let proxy = proxy().await?;
    let shop = Shop::new("later", 10)?;
    let told = Reply::google_error(429, "rateLimitExceeded", "slow down").header("retry-after", "2");
    proxy.script(once(is_commit, Harm::ReplyBefore(told)));
    let began = Instant::now();
    shop.load(through(&proxy)?, replace()).await?.into_result()?;
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    shop.same().await?;
    shop.end().await
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() -> Done {
    let proxy = proxy().await?;
    let shop = Shop::new("token", 10)?;
    let given = Arc::new(AtomicU64::new(0));
    let tokens = token_server(&given).await?;
    let used = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&used);
    proxy.script(move |request| {
        let token = request.header("authorization").unwrap_or_default().to_owned();
        seen.lock().unwrap().insert(token.clone());
        // The first token dies in the middle of the load.
        if token == "Bearer token-0" && is_upload(request) {
            return Harm::ReplyBefore(Reply::google_error(401, "authError", "Invalid Credentials"));
        }
        Harm::None
    });
    let connection = through(&proxy)?.password(login(&tokens));
    shop.load(connection, replace()).await?.into_result()?;
    let used = used.lock().unwrap().clone();
    assert!(used.contains("Bearer token-0") && used.contains("Bearer token-1"), "{used:?}");
    assert_eq!(given.load(Ordering::Relaxed), 2);
    shop.same().await?;
    shop.end().await
}

#[tokio::test]
async fn a_token_refused_in_the_middle_of_an_upload_is_replaced() -> Done {
    let proxy = proxy().await?;
    // 40 random bytes a row: more than the 1 MiB that goes in one request with so little memory.
    let shop = Shop::new("session", 60_000)?;
    let given = Arc::new(AtomicU64::new(0));
    let tokens = token_server(&given).await?;
    let chunks = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&chunks);
    proxy.script(move |request| {
        let first = request.header("authorization") == Some("Bearer token-0");
        if request.method == "PUT" && counter.fetch_add(1, Ordering::Relaxed) > 0 && first {
            return Harm::ReplyBefore(Reply::google_error(401, "authError", "Invalid Credentials"));
        }
        Harm::None
    });
    let connection = through(&proxy)?.password(login(&tokens));
    shop.load(connection, replace()).await?.into_result()?;
    assert_eq!(given.load(Ordering::Relaxed), 2);
    assert!(chunks.load(Ordering::Relaxed) > 2 && proxy.harmed() > 0);
    shop.same().await?;
    shop.end().await
}

/// The Storage API refuses the first token, which the rest of BigQuery takes.
#[tokio::test]
async fn a_token_that_the_storage_api_refuses_is_replaced() -> Done {
    transload_google::install_crypto_provider();
    let shop = Shop::new("grpc", 3_000)?;
    let given = Arc::new(AtomicU64::new(0));
    let tokens = tokens_after("refused", &given).await?;
    let warehouse = common::connection("warehouse")?.password(login(&tokens));
    let written = warehouse.clone().option("load_method", "storage_write");
    shop.load(written, replace()).await?.into_result()?;
    assert_eq!(given.load(Ordering::Relaxed), 2);
    shop.same().await?;
    // The same for a session that is opened, and for the streams of one that is.
    for refused in ["refused", "refused for rows"] {
        let given = Arc::new(AtomicU64::new(0));
        let tokens = tokens_after(refused, &given).await?;
        let warehouse = common::connection("warehouse")?.password(login(&tokens));
        let table = TableRef::new(&shop.dataset, "orders");
        let registry = Registry::new().with(BigQuery);
        let mut stream = registry.read(&warehouse, &table, &ReadPlan::default()).await?;
        let mut rows = 0;
        while let Some(batch) = stream.next().await? {
            rows += batch.num_rows();
        }
        assert_eq!((rows, given.load(Ordering::Relaxed)), (3_000, 2), "{refused}");
    }
    shop.end().await
}

/// Gives tokens `token-0`, `token-1` and so on.
async fn token_server(given: &Arc<AtomicU64>) -> Done<HttpServer> {
    tokens_after("token-0", given).await
}

/// Gives this token first, then `token-1`, `token-2` and so on.
async fn tokens_after(first: &'static str, given: &Arc<AtomicU64>) -> Done<HttpServer> {
    let counter = Arc::clone(given);
    let server = HttpServer::start(move |_| {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        let token = if number == 0 { first.to_owned() } else { format!("token-{number}") };
        let token = json!({"access_token": token, "expires_in": 3600, "token_type": "Bearer"});
        Box::pin(async move { Reply::json(200, &token).into() })
    });
    Ok(server.await?)
}

fn login(tokens: &HttpServer) -> Secret {
    let login = json!({"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
        "token_uri": tokens.url()});
    Secret::new(login.to_string())
}

#[tokio::test]
async fn a_change_of_a_table_that_is_refused_is_made_again_where_that_helps() -> Done {
    let proxy = proxy().await?;
    let shop = Shop::new("patched", 10)?;
    shop.load(through(&proxy)?, replace()).await?.into_result()?;
    let refused = |status, reason| Harm::ReplyBefore(Reply::google_error(status, reason, "no"));
    let cases = [
        // What passes is tried again; who comes too late reads the table again.
        (refused(503, "backendError"), None),
        (refused(429, "rateLimitExceeded"), None),
        (refused(403, "rateLimitExceeded"), None),
        (refused(500, "internalError"), None),
        (refused(412, "conditionNotMet"), None),
        (refused(409, "duplicate"), None),
        (Harm::ResetBefore, None),
        // The change was made, and the second try finds another etag.
        (Harm::LoseReply, None),
        (Harm::ReplyAfter(Reply::google_error(503, "backendError", "no")), None),
        // What does not pass is said at once.
        (refused(403, "accessDenied"), Some(ErrorKind::Permission)),
        (refused(400, "invalid"), Some(ErrorKind::Data)),
    ];
    for (number, (harm, expected)) in cases.into_iter().enumerate() {
        shop.run(&format!("ALTER TABLE orders ADD COLUMN extra_{number} TEXT DEFAULT 'x'"))?;
        let patches = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&patches);
        let mut first = once(|request| request.method == "PATCH", harm.clone());
        proxy.script(move |request| {
            counter.fetch_add(u64::from(request.method == "PATCH"), Ordering::Relaxed);
            first(request)
        });
        let report = shop.load(through(&proxy)?, replace()).await?;
        let sent = patches.load(Ordering::Relaxed);
        match expected {
            Some(kind) => {
                let error = failed(report)?;
                assert_eq!((error.kind(), sent), (kind, 1), "{harm:?}: {error}");
                shop.run(&format!("ALTER TABLE orders DROP COLUMN extra_{number}"))?;
            }
            None => {
                report.into_result()?;
                assert!(sent >= 1 && proxy.harmed() > 0, "{harm:?}: {sent} requests");
                let sql =
                    format!("SELECT COUNT(*) FROM `{}`.`orders` WHERE extra_{number} = 'x'", shop.dataset);
                assert_eq!(common::query(&sql).await?, Some(vec![vec![Some("10".to_owned())]]), "{harm:?}");
            }
        }
    }
    shop.same().await?;
    shop.end().await
}

#[tokio::test]
async fn a_transaction_that_lost_runs_again_under_another_id() -> Done {
    let proxy = proxy().await?;
    let shop = Shop::new("raced", 50)?;
    let lost = json!({"reason": "invalidQuery", "location": "query", "message": "Query error: Transaction is aborted \
        due to concurrent update against table p:d.orders. Transaction ID: 61e30eea at [24:9]"});
    proxy.script(move |request| {
        let done = json!({"state": "DONE", "errorResult": lost, "errors": [lost]});
        match asked(request) {
            Some(id) if id.starts_with("tl_commit") && id.ends_with("_a1") => {
                Harm::ReplyBefore(job(id, &done, &json!({})))
            }
            _ if is_commit(request) && job_of(request).ends_with("_a1") => {
                Harm::ReplyBefore(job(&job_of(request), &json!({"state": "RUNNING"}), &json!({})))
            }
            _ => Harm::None,
        }
    });
    let report = shop.load(through(&proxy)?, replace()).await?.into_result()?;
    assert_eq!(report.rows.inserted, 50);
    shop.same().await?;
    shop.end().await
}

/// The emulator takes `t$20260101` for the name of another table, so nothing may ever address a partition that way.
#[tokio::test]
async fn no_request_names_a_partition_by_a_decorator() -> Done {
    let proxy = proxy().await?;
    let shop = Shop::new("decorated", 60)?;
    let named = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&named);
    proxy.script(move |request| {
        let body = String::from_utf8_lossy(&request.body);
        if request.path().contains('$') || request.path().contains("%24") || body.contains("orders$") {
            seen.lock().unwrap().push(request.target.clone());
        }
        Harm::None
    });
    let mut job = shop.job(replace())?.to_json()?;
    job["destination"]["partition_by"] = json!({"column": "day", "granularity": "DAY"});
    for load in [replace(), json!({"strategy": "merge", "key": ["id", "day"], "restart": true})] {
        job["load"] = load;
        shop.run_job(through(&proxy)?, &job).await?.into_result()?;
        shop.same().await?;
    }
    job["destination"]["table"] = json!("orders$20260101");
    let error = failed(shop.run_job(through(&proxy)?, &job).await?)?;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(*named.lock().unwrap(), Vec::<String>::new());
    shop.end().await
}

/// Runs that died before their record was there leave ids behind, more of them than a run makes attempts.
#[tokio::test]
async fn ids_of_commits_that_left_no_record_are_passed_over() -> Done {
    const TAKEN: u32 = 30;
    let proxy = proxy().await?;
    let shop = Shop::new("taken", 50)?;
    let number = |id: &str| id.rsplit("_a").next().and_then(|text| text.parse().ok()).unwrap_or(0_u32);
    let taken = move |id: &str| id.starts_with("tl_commit") && number(id) <= TAKEN;
    let last = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&last);
    proxy.script(move |request| {
        let exists = json!({"error": {"code": 409, "message": "Already Exists: Job", "status": "ALREADY_EXISTS",
            "errors": [{"reason": "duplicate", "message": "Already Exists: Job"}]}});
        let failed = json!({"reason": "invalidQuery", "location": "query", "message": "Table not found"});
        if is_commit(request) {
            seen.lock().unwrap().clone_from(&job_of(request));
            if taken(&job_of(request)) {
                return Harm::ReplyBefore(Reply::json(409, &exists));
            }
        }
        match asked(request).filter(|id| taken(id)) {
            Some(id) if number(id) % 2 == 0 => {
                let done = json!({"state": "DONE", "errorResult": failed, "errors": [failed]});
                Harm::ReplyBefore(job(id, &done, &json!({})))
            }
            Some(id) => Harm::ReplyBefore(job(id, &json!({"state": "DONE"}), &json!({}))),
            None => Harm::None,
        }
    });
    let report = shop.load(through(&proxy)?, replace()).await?.into_result()?;
    assert_eq!((report.rows.inserted, number(&last.lock().unwrap())), (50, TAKEN + 1));
    shop.same().await?;
    shop.end().await
}
