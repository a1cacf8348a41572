//! The table manager on the BigQuery emulator: every option there and back, evolution under each policy, drift,
//! and others who change a table at the same time. The emulator's own REST interface tells what is there.
//!
//! What the emulator accepts and BigQuery refuses (other types by PATCH, REQUIRED columns added, partitions by a
//! column that cannot have them) proves nothing here; those refusals are ours and are tested without a server, in
//! `core/src/schema/check.rs` and `src/limits.rs`. Nor does it add fields to records or give decimals more digits:
//! the requests for those are tested in `src/evolve.rs`.

mod common;

use std::sync::Arc;

use arrow_array::{Date32Array, Int64Array, RecordBatch};
use serde_json::{Value, json};
use transload_bigquery::BigQuery;
use transload_core::connector::{
    Connector as _, Credentialed, Deletes, Destination, LoadPlan, LoadRecord, LoadRequest, OnSchemaChange,
    PrepareOutcome, WriteMode,
};
use transload_core::schema::{Fit, LayoutDocument, Mode, TargetColumn, TargetRef, TargetTable};
use transload_core::{Connection, ErrorKind};

/// A dataset of its own for one test.
struct Place {
    dataset: String,
    destination: Arc<dyn Destination>,
    http: reqwest::Client,
}

fn connection() -> Connection {
    common::connection("w").unwrap()
}

async fn open(connection: Connection) -> Arc<dyn Destination> {
    BigQuery.destination(Credentialed { connection, secret: common::token() }).await.unwrap()
}

impl Place {
    async fn new(name: &str) -> Self {
        Self::with(name, connection()).await
    }

    async fn with(name: &str, connection: Connection) -> Self {
        let dataset = format!("table_{name}_{}", std::process::id());
        let destination = open(connection).await;
        let place = Self { dataset, destination, http: reqwest::Client::new() };
        common::drop_dataset(&place.dataset).await.unwrap();
        place.destination.ensure_dataset(&place.dataset).await.unwrap();
        place
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/datasets/{}{rest}", common::base().unwrap(), self.dataset)
    }

    async fn raw(&self, rest: &str) -> Value {
        common::answer(self.http.get(self.url(rest))).await.unwrap().1
    }

    async fn patch(&self, table: &str, body: Value) {
        let request = self.http.patch(self.url(&format!("/tables/{table}"))).json(&body);
        let (status, answer) = common::answer(request).await.unwrap();
        assert!(status < 300, "{answer}");
    }

    async fn query(&self, sql: &str) -> Value {
        let sql = sql.replace("{t}", &format!("`{}`.`t`", self.dataset));
        let url = format!("{}/queries", common::base().unwrap());
        let body = json!({"query": sql, "useLegacySql": false, "timeoutMs": 100_000});
        let (_, page) = common::answer(self.http.post(url).json(&body)).await.unwrap();
        assert_eq!(page["jobComplete"], true, "{sql}: {page}");
        page["rows"].clone()
    }

    /// Table `t` with columns as `name TYPE MODE` and a layout.
    fn table(&self, columns: &str, layout: Value) -> TargetTable {
        let column = |text: &str| {
            let (name, rest) = text.trim().split_once(' ').unwrap();
            let (data_type, mode) = match rest.rsplit_once(' ') {
                Some((data_type, "REQUIRED")) => (data_type, Mode::Required),
                Some((data_type, "REPEATED")) => (data_type, Mode::Repeated),
                _ => (rest, Mode::Nullable),
            };
            TargetColumn {
                name: name.to_owned(),
                data_type: data_type.parse().unwrap(),
                mode,
                description: None,
            }
        };
        let columns = columns.split(';').map(column).collect();
        let mut table = TargetTable::new(TargetRef::new(&self.dataset, "t"), columns);
        let document: LayoutDocument = serde_json::from_value(layout).unwrap();
        table.layout = document.resolve(None).unwrap();
        table.description = document.description;
        table
    }

    async fn prepare(&self, table: &TargetTable, policy: OnSchemaChange) -> PrepareOutcome {
        self.destination.prepare(table, policy).await.unwrap()
    }

    async fn refused(&self, table: &TargetTable, policy: OnSchemaChange) -> String {
        let before = self.raw("/tables/t").await;
        let error = self.destination.prepare(table, policy).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChanged, "{error}");
        assert!(error.hint_text().is_some());
        let after = self.raw("/tables/t").await;
        assert_eq!(
            (&before["schema"], &before["etag"]),
            (&after["schema"], &after["etag"]),
            "nothing may change"
        );
        error.to_string()
    }

    /// Names, types and modes of the columns, as the server tells them.
    async fn columns(&self) -> Vec<String> {
        let table = self.raw("/tables/t").await;
        let fields = table["schema"]["fields"].as_array().unwrap().clone();
        let text = |field: &Value| {
            let word = |name: &str| field[name].as_str().unwrap_or("NULLABLE").to_owned();
            format!("{} {} {}", word("name"), word("type"), word("mode"))
        };
        fields.iter().map(text).collect()
    }

    async fn drop(self) {
        common::drop_dataset(&self.dataset).await.unwrap();
    }
}

#[tokio::test]
async fn every_option_comes_back() {
    let place = Place::new("options").await;
    for (name, layout) in [
        ("day", json!({"partition_by": {"column": "at"}, "cluster_by": ["what", "id"]})),
        (
            "hour",
            json!({"partition_by": {"column": "at", "granularity": "HOUR"}, "partition_expires_after": "36h",
                   "require_partition_filter": true}),
        ),
        ("month", json!({"partition_by": {"column": "day", "granularity": "MONTH"}})),
        ("year", json!({"partition_by": {"column": "local", "granularity": "YEAR"}})),
        ("arrival", json!({"partition_by": {"ingestion_time": "DAY"}})),
        (
            "range",
            json!({"partition_by": {"column": "id", "range": {"start": -5, "end": 1000, "interval": 10}}}),
        ),
        ("labels", json!({"labels": {"team": "data", "tier": ""}, "description": "all 'the' orders\n`x`"})),
        ("plain", json!({"cluster_by": []})),
    ] {
        let mut table = place.table(
            "id INT64 REQUIRED; at TIMESTAMP; day DATE; local DATETIME; what STRING; tags STRING REPEATED; \
             price NUMERIC(12,2); r RECORD<a INT64 REQUIRED, b RECORD<c DATE REPEATED>> REPEATED",
            layout.clone(),
        );
        table.target.table = name.to_owned();
        table.columns[0].description = Some("the \"number\"".to_owned());
        let outcome = place.prepare(&table, OnSchemaChange::Evolve).await;
        assert!(outcome.created);
        let there = place.destination.table(&table.target).await.unwrap().unwrap();
        assert_eq!(there.columns, table.columns, "{layout}");
        assert_eq!(there.description, table.description, "{layout}");
        let mut expected = table.layout.clone();
        // No wish is answered with what is there.
        expected.cluster_by = expected.cluster_by.filter(|columns| !columns.is_empty());
        let mut seen = there.layout.clone();
        seen.require_partition_filter = seen.require_partition_filter.filter(|required| *required);
        assert_eq!(seen, expected, "{layout}");
        // The same table wants nothing under any policy.
        for policy in [OnSchemaChange::Freeze, OnSchemaChange::Evolve, OnSchemaChange::EvolveColumnsOnly] {
            assert_eq!(place.prepare(&table, policy).await, PrepareOutcome::default(), "{layout}");
        }
        assert!(place.destination.validate(&table).await.unwrap().fits(), "{layout}");
    }
    place.drop().await;
}

#[tokio::test]
async fn a_life_ends_at_its_time() {
    let place = Place::new("life").await;
    let table = place.table("id INT64", json!({"expires_after": "48h"}));
    place.prepare(&table, OnSchemaChange::Evolve).await;
    let there = place.raw("/tables/t").await;
    let millis = |field: &str| there[field].as_str().unwrap().parse::<i64>().unwrap();
    let life = millis("expirationTime") - millis("creationTime");
    assert!((life - 48 * 3_600_000).abs() < 60_000, "{life}");
    // A life is given when a table is made and is no difference afterwards.
    let longer = place.table("id INT64", json!({"expires_after": "96h"}));
    assert_eq!(place.prepare(&longer, OnSchemaChange::Freeze).await, PrepareOutcome::default());
    place.drop().await;
}

#[tokio::test]
async fn datasets_are_made_with_their_options() {
    let options = connection()
        .option("location", "EU")
        .option("dataset_labels", json!({"team": "data"}))
        .option("tables_expire_after", "72h");
    let place = Place::with("dataset", options).await;
    let dataset = place.raw("").await;
    assert_eq!(dataset["location"], "EU", "{dataset}");
    assert_eq!(dataset["labels"]["team"], "data", "{dataset}");
    assert_eq!(dataset["defaultTableExpirationMs"], "259200000", "{dataset}");
    place.destination.ensure_dataset(&place.dataset).await.unwrap();
    place.drop().await;
}

#[tokio::test]
async fn columns_evolve_in_place_and_rows_stay() {
    let place = Place::new("evolve").await;
    let first = place.table("id INT64 REQUIRED; n INT64; what STRING", json!({}));
    place.prepare(&first, OnSchemaChange::Evolve).await;
    place.query("INSERT INTO {t} (id, n, what) VALUES (1, 7, 'a')").await;
    let wanted =
        place.table("id INT64; n NUMERIC; what STRING; added DATE REQUIRED; tags STRING REPEATED", json!({}));
    assert!(
        place.refused(&wanted, OnSchemaChange::Freeze).await.contains("column `n` is INT64 and must become")
    );
    let check = place.destination.validate(&wanted).await.unwrap();
    assert!(check.in_place() && !check.fits());
    let fits: Vec<Fit> = check.columns.iter().map(|column| column.fit).collect();
    assert_eq!(fits, [Fit::InPlace, Fit::InPlace, Fit::Matches, Fit::InPlace, Fit::InPlace]);
    let outcome = place.prepare(&wanted, OnSchemaChange::EvolveColumnsOnly).await;
    assert_eq!(outcome.added, ["added", "tags"]);
    assert_eq!(outcome.relaxed, ["id"]);
    assert_eq!(outcome.widened, ["n"]);
    assert_eq!(
        place.columns().await,
        [
            "id INTEGER NULLABLE",
            "n NUMERIC NULLABLE",
            "what STRING NULLABLE",
            "added DATE NULLABLE",
            "tags STRING REPEATED"
        ]
    );
    place.query("INSERT INTO {t} (id, n) VALUES (NULL, 7.5)").await;
    let rows = place.query("SELECT CAST(n AS STRING) FROM {t} ORDER BY n").await;
    let cell = |row: usize| rows[row]["f"][0]["v"].as_str().unwrap().parse::<f64>().unwrap();
    assert_eq!((cell(0), cell(1)), (7.0, 7.5));
    assert!(place.destination.validate(&wanted).await.unwrap().fits());
    assert_eq!(place.prepare(&wanted, OnSchemaChange::Evolve).await, PrepareOutcome::default());
    place.drop().await;
}

#[tokio::test]
async fn offered_statements_do_what_evolving_does() {
    let place = Place::new("ddl").await;
    let first =
        place.table("id INT64 REQUIRED; n INT64; day DATE", json!({"partition_by": {"column": "day"}}));
    place.query(&transload_core::schema::ddl::create_table(&first)).await;
    assert!(place.destination.validate(&first).await.unwrap().fits(), "the statement makes the table");
    let wanted =
        place.table("id INT64; n BIGNUMERIC; day DATE; added STRING", json!({"description": "it's"}));
    let check = place.destination.validate(&wanted).await.unwrap();
    let columns = check.columns.iter().flat_map(|column| column.ddl.clone());
    for statement in columns.chain(check.options.iter().filter_map(|option| option.ddl.clone())) {
        place.query(&statement).await;
    }
    let check = place.destination.validate(&wanted).await.unwrap();
    assert!(check.fits(), "{}", check.to_json());
    place.drop().await;
}

#[tokio::test]
async fn doubles_are_made_only_where_no_value_changes() {
    let place = Place::new("doubles").await;
    place.prepare(&place.table("id INT64; n INT64", json!({})), OnSchemaChange::Evolve).await;
    place
        .query("INSERT INTO {t} (id, n) VALUES (1, 9007199254740992), (2, NULL), (3, 9007199254740993)")
        .await;
    let wanted = place.table("id INT64; n FLOAT64; more STRING", json!({}));
    let text = place.refused(&wanted, OnSchemaChange::Evolve).await;
    assert!(text.contains("1 of its values would be rounded"), "{text}");
    place.query("DELETE FROM {t} WHERE id = 3").await;
    let outcome = place.prepare(&wanted, OnSchemaChange::Evolve).await;
    assert_eq!((outcome.widened, outcome.added), (vec!["n".to_owned()], vec!["more".to_owned()]));
    assert_eq!(place.columns().await[1], "n FLOAT NULLABLE");
    place.drop().await;
}

#[tokio::test]
async fn options_follow_the_job_as_its_policy_lets_them() {
    let place = Place::new("policy").await;
    let first = place.table(
        "id INT64; day DATE; what STRING",
        json!({"partition_by": {"column": "day"}, "cluster_by": ["id"], "labels": {"team": "old", "other": "x"}}),
    );
    place.prepare(&first, OnSchemaChange::Evolve).await;
    let mut wanted = place.table(
        "id INT64; day DATE; what STRING; more INT64",
        json!({"partition_by": {"column": "day"}, "cluster_by": ["what", "id"], "labels": {"team": "new"},
               "require_partition_filter": true, "description": "orders"}),
    );
    wanted.columns[2].description = Some("what it is".to_owned());
    let text = place.refused(&wanted, OnSchemaChange::Freeze).await;
    assert!(text.contains("clustered by what, id") && !text.contains("label"), "{text}");

    let outcome = place.prepare(&wanted, OnSchemaChange::EvolveColumnsOnly).await;
    assert_eq!((outcome.added, outcome.options), (vec!["more".to_owned()], Vec::<String>::new()));
    let there = place.raw("/tables/t").await;
    assert_eq!((&there["labels"]["team"], &there["clustering"]["fields"]), (&json!("old"), &json!(["id"])));

    let outcome = place.prepare(&wanted, OnSchemaChange::Evolve).await;
    assert_eq!(outcome.options.len(), 5, "{:?}", outcome.options);
    let there = place.raw("/tables/t").await;
    assert_eq!(there["labels"], json!({"team": "new", "other": "x"}));
    assert_eq!(there["clustering"]["fields"], json!(["what", "id"]));
    assert_eq!((&there["requirePartitionFilter"], &there["description"]), (&json!(true), &json!("orders")));
    assert_eq!(there["schema"]["fields"][2]["description"], "what it is");

    // What cannot be changed in place is refused, or left alone where the policy is about columns.
    let moved =
        place.table("id INT64; day DATE", json!({"partition_by": {"column": "day", "granularity": "MONTH"}}));
    let text = place.refused(&moved, OnSchemaChange::Evolve).await;
    assert!(text.contains("partitioned by day by DAY"), "{text}");
    assert_eq!(place.prepare(&moved, OnSchemaChange::EvolveColumnsOnly).await, PrepareOutcome::default());
    let bare = place.table("id INT64; day DATE", json!({"cluster_by": []}));
    place.prepare(&bare, OnSchemaChange::Evolve).await;
    assert_eq!(place.raw("/tables/t").await["clustering"], Value::Null);
    place.drop().await;
}

#[tokio::test]
async fn drift_is_seen_and_left_alone() {
    let place = Place::new("drift").await;
    let table = place.table("id INT64; what STRING", json!({}));
    place.prepare(&table, OnSchemaChange::Evolve).await;
    // A person adds a column, a description and a label.
    place.query("ALTER TABLE {t} ADD COLUMN by_hand STRING").await;
    place.patch("t", json!({"description": "mine", "labels": {"mine": "yes"}})).await;
    let mut again = table.clone();
    again.description = Some("from the source".to_owned());
    let check = place.destination.validate(&again).await.unwrap();
    assert!(check.fits(), "{}", check.to_json());
    assert_eq!(check.columns[2].fit, Fit::NotLoaded);
    assert_eq!(place.prepare(&again, OnSchemaChange::Evolve).await, PrepareOutcome::default());
    // A person drops a column: it comes back.
    place.query("ALTER TABLE {t} DROP COLUMN what").await;
    assert!(place.refused(&table, OnSchemaChange::Freeze).await.contains("`what` is missing"));
    assert_eq!(place.prepare(&table, OnSchemaChange::Evolve).await.added, ["what"]);
    // A person changes its type: nothing to be done in place.
    place.query("ALTER TABLE {t} DROP COLUMN what").await;
    place.query("ALTER TABLE {t} ADD COLUMN what DATE").await;
    let text = place.refused(&table, OnSchemaChange::Evolve).await;
    assert!(text.contains("it is DATE and the job brings STRING"), "{text}");
    place.drop().await;
}

#[tokio::test]
async fn two_who_evolve_at_once_both_get_their_columns() {
    let place = Place::new("two").await;
    place.prepare(&place.table("id INT64", json!({})), OnSchemaChange::Evolve).await;
    let tables: Vec<TargetTable> = (0..4)
        .map(|i| place.table(&format!("id INT64; c{i} STRING"), json!({"labels": {format!("l{i}"): "x"}})))
        .collect();
    let all = futures::future::join_all(
        tables.iter().map(|table| place.destination.prepare(table, OnSchemaChange::Evolve)),
    );
    for outcome in all.await {
        assert_eq!(outcome.unwrap().added.len(), 1);
    }
    let mut columns = place.columns().await;
    columns.sort();
    assert_eq!(
        columns,
        [
            "c0 STRING NULLABLE",
            "c1 STRING NULLABLE",
            "c2 STRING NULLABLE",
            "c3 STRING NULLABLE",
            "id INTEGER NULLABLE"
        ]
    );
    assert_eq!(place.raw("/tables/t").await["labels"].as_object().unwrap().len(), 4);
    place.drop().await;
}

/// Tasks may load one table for different jobs at once: a run cleans up after its own job only.
#[tokio::test]
async fn what_another_job_staged_is_left_alone() {
    let place = Place::new("staged").await;
    let table = place.table("id INT64; day DATE", json!({}));
    place.destination.prepare(&table, OnSchemaChange::Freeze).await.unwrap();
    let begin = |job: &str, sequence: u64| {
        place.destination.begin_load(LoadRequest {
            target: table.clone(),
            mode: WriteMode::Append,
            deletes: Deletes::default(),
            load_id: format!("{sequence:06}-{job}"),
            job: job.to_owned(),
            memory_budget: 32 << 20,
            options: serde_json::Map::new(),
        })
    };
    let ids = || {
        let (ids, days) = (Int64Array::from_iter_values([1, 2]), Date32Array::from_iter_values([0, 0]));
        RecordBatch::try_new(table.arrow_schema(), vec![Arc::new(ids), Arc::new(days)]).unwrap()
    };
    let staged = || async {
        let tables = common::tables(&place.dataset).await.unwrap();
        tables.into_iter().filter(|name| name.starts_with("_tl_")).collect::<Vec<_>>()
    };
    let writer = begin("other", 1).await.unwrap();
    writer.write(ids()).await.unwrap();
    writer.seal().await.unwrap();
    let left = staged().await;
    writer.abort().await.unwrap();
    assert_eq!((left.len(), staged().await.len()), (1, 0));
    // The same table, as if the process had died, or went on elsewhere: this one may not have two writers of a table.
    let mut leftover = table.clone();
    leftover.target.table.clone_from(&left[0]);
    place.destination.prepare(&leftover, OnSchemaChange::Freeze).await.unwrap();
    assert_eq!(loaded(&place, &table, WriteMode::Append, 1, &[(3, 0)]).await.len(), 1);
    assert_eq!(staged().await, left);
    begin("other", 2).await.unwrap().abort().await.unwrap();
    assert_eq!(staged().await.len(), 0);
    place.drop().await;
}

/// Loads rows `(id, day)` and gives all that are there, as `id@day`.
async fn loaded(
    place: &Place,
    table: &TargetTable,
    mode: WriteMode,
    sequence: u64,
    rows: &[(i64, i32)],
) -> Vec<String> {
    let load_id = format!("{sequence:06}-x");
    let request = LoadRequest {
        target: table.clone(),
        mode,
        deletes: Deletes::default(),
        load_id: load_id.clone(),
        job: "j".to_owned(),
        memory_budget: 32 << 20,
        options: serde_json::Map::new(),
    };
    let writer = place.destination.begin_load(request).await.unwrap();
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let days = Date32Array::from_iter_values(rows.iter().map(|row| row.1));
    let batch = RecordBatch::try_new(table.arrow_schema(), vec![Arc::new(ids), Arc::new(days)]).unwrap();
    writer.write(batch).await.unwrap();
    let record = LoadRecord {
        load_id,
        job: "j".to_owned(),
        sequence,
        rows: u64::try_from(rows.len()).unwrap(),
        ..LoadRecord::default()
    };
    writer.commit(record).await.unwrap();
    let filter = "day >= '1970-01-01' OR day IS NULL";
    let rows =
        place.query(&format!("SELECT id, CAST(day AS STRING) FROM {{t}} WHERE {filter} ORDER BY id")).await;
    let text = |row: &Value| {
        format!("{}@{}", row["f"][0]["v"].as_str().unwrap(), row["f"][1]["v"].as_str().unwrap())
    };
    rows.as_array().unwrap().iter().map(text).collect()
}

#[tokio::test]
async fn loads_name_partitions_where_they_must() {
    let place = Place::new("filter").await;
    let layout = json!({"partition_by": {"column": "day"}, "require_partition_filter": true});
    let table = place.table("id INT64; day DATE", layout);
    place.prepare(&table, OnSchemaChange::Evolve).await;
    let first = loaded(&place, &table, WriteMode::Append, 1, &[(1, 0), (2, 1)]).await;
    assert_eq!(first, ["1@1970-01-01", "2@1970-01-02"]);
    let key = WriteMode::Merge { key: vec!["id".to_owned()], order_by: None };
    let merged = loaded(&place, &table, key, 2, &[(2, 9), (3, 3)]).await;
    assert_eq!(merged, ["1@1970-01-01", "2@1970-01-10", "3@1970-01-04"]);
    let replaced = loaded(&place, &table, WriteMode::Replace, 3, &[(7, 7)]).await;
    assert_eq!(replaced, ["7@1970-01-08"]);
    place.drop().await;
}

#[tokio::test]
async fn views_take_no_rows() {
    let place = Place::new("views").await;
    let view = format!("CREATE VIEW `{}`.`t` AS SELECT 1 AS id", place.dataset);
    place.query(&view).await;
    let table = place.table("id INT64", json!({}));
    let error = place.destination.prepare(&table, OnSchemaChange::Evolve).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let check = place.destination.validate(&table).await.unwrap();
    assert!(!check.in_place() && check.problems[0].contains("but a view"), "{}", check.to_json());
    place.drop().await;
}

#[tokio::test]
async fn loads_leave_the_layout_of_a_table_as_it_is() {
    let place = Place::new("layout").await;
    let layout = json!({"partition_by": {"column": "day"}, "cluster_by": ["id"], "labels": {"team": "sales"},
        "partition_expires_after": "90000d", "description": "days"});
    let table = place.table("id INT64; day DATE", layout);
    place.prepare(&table, OnSchemaChange::Evolve).await;
    let told = |raw: &Value| {
        let fields = ["timePartitioning", "clustering", "labels", "description", "schema", "creationTime"];
        fields.map(|field| raw[field].clone())
    };
    let before = told(&place.raw("/tables/t").await);
    assert!(before.iter().all(|part| !part.is_null()), "{before:?}");
    // No copy job and no new table: rows are changed in place.
    loaded(&place, &table, WriteMode::Replace, 1, &[(1, 0), (2, 1)]).await;
    let key = WriteMode::Merge { key: vec!["id".to_owned(), "day".to_owned()], order_by: None };
    loaded(&place, &table, key, 2, &[(2, 1), (3, 3)]).await;
    let rows = loaded(&place, &table, WriteMode::Replace, 3, &[(7, 7)]).await;
    assert_eq!(rows, ["7@1970-01-08"]);
    assert_eq!(told(&place.raw("/tables/t").await), before);
    place.drop().await;
}

#[tokio::test]
async fn many_loads_in_a_day_are_warned_of_before_reading() {
    let place = Place::new("often").await;
    let table = place.table("id INT64; day DATE", json!({}));
    place.prepare(&table, OnSchemaChange::Evolve).await;
    loaded(&place, &table, WriteMode::Append, 1, &[(1, 0)]).await;
    let warnings = async || {
        let last = place.destination.last_load(&table.target, "j").await.unwrap().unwrap();
        let plan = LoadPlan { target: &table, partitions: None };
        (last.sequence, place.destination.plan_load(plan).await.unwrap())
    };
    assert_eq!(warnings().await, (1, Vec::new()));
    // Those of another job and of the day before count for the rate as they should.
    for (count, hours, into) in [(1_300, 25, "t"), (1_100, 1, "t"), (150, 1, "u")] {
        let values = format!(
            "SELECT CAST(i AS STRING), '{into}', 'other', 'other', i, '{{}}', \
             TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {hours} HOUR) FROM UNNEST(GENERATE_ARRAY(1, {count})) AS i"
        );
        place.query(&format!("INSERT INTO `{}`.`_transload_loads` {values}", place.dataset)).await;
    }
    let (sequence, warned) = warnings().await;
    assert_eq!((sequence, warned.len(), warned[0].code.as_str()), (1, 1, "W_MANY_LOADS"));
    assert!(warned[0].text.starts_with("1251 loads were committed into"), "{}", warned[0]);
    place.drop().await;
}
