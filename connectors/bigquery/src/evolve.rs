//! Making an existing table fit: what has to change, in one guarded request, and types by DDL.

use std::collections::{HashMap, VecDeque};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use google_cloud_bigquery_v2::model::{Table, TableFieldSchema};
use serde_json::{Map, Value, json};
use transload_core::connector::{OnSchemaChange, PrepareOutcome};
use transload_core::schema::{
    BigQueryType, ColumnChange, Evolvable, LayoutChange, Mode, PartitionBy, RecordField, TableCheck,
    TargetColumn, TargetRef, TargetTable, Widening, ddl, widening,
};
use transload_core::{Error, ErrorKind, Result};

use crate::connect::Client;
use crate::jobs::failure;
use crate::{limits, sql, table, types};

/// BigQuery takes so many metadata updates of a table in [`PERIOD`].
const UPDATES: usize = 5;
const PERIOD: Duration = Duration::from_secs(10);

/// When tables were last updated, by their full names.
static UPDATED: LazyLock<Mutex<HashMap<String, VecDeque<Instant>>>> = LazyLock::new(Mutex::default);

/// Waits until one more metadata update of a table is within its rate.
pub(crate) async fn take_turn(place: &str) {
    loop {
        let wait = {
            let mut updated = UPDATED.lock().unwrap_or_else(PoisonError::into_inner);
            updated.retain(|_, turns| turns.back().is_some_and(|last| last.elapsed() < PERIOD));
            try_turn(updated.entry(place.to_owned()).or_default(), Instant::now())
        };
        match wait {
            None => return,
            Some(wait) => tokio::time::sleep(wait).await,
        }
    }
}

/// Takes a turn, or says how long to wait before trying again.
fn try_turn(turns: &mut VecDeque<Instant>, now: Instant) -> Option<Duration> {
    while turns.front().is_some_and(|first| now.duration_since(*first) >= PERIOD) {
        turns.pop_front();
    }
    match turns.front() {
        Some(first) if turns.len() >= UPDATES => Some(PERIOD.saturating_sub(now.duration_since(*first))),
        _ => {
            turns.push_back(now);
            None
        }
    }
}

/// The changes that make a table fit.
#[derive(Debug, Default)]
struct Plan {
    columns: Vec<ColumnChange>,
    layout: Vec<LayoutChange>,
}

impl Plan {
    /// What must change and may, under the policy.
    fn of(target: &TargetTable, existing: &Table, policy: OnSchemaChange) -> Result<Self> {
        check_kind(&target.target, existing)?;
        let (found, foreign) = types::target_table(&target.target, existing);
        let mut columns = target.changes_within(&found, Evolvable::ALL);
        for column in &foreign {
            let Some(wanted) = target.column(&column.name) else { continue };
            columns.retain(|change| !matches!(change, ColumnChange::Add(added) if added.name == wanted.name));
            let why = format!("it is {} and the job brings {}", column.data_type, wanted.data_type);
            columns.push(ColumnChange::Impossible(wanted.name.clone(), why));
        }
        let layout = target.layout_changes(&found);
        target.check_allowed(&columns, &layout, policy)?;
        let layout = if policy == OnSchemaChange::Evolve { layout } else { Vec::new() };
        Ok(Self { columns, layout })
    }

    fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.layout.is_empty()
    }

    fn widened(&self) -> impl Iterator<Item = (&String, &BigQueryType, &BigQueryType)> {
        self.columns.iter().filter_map(|change| match change {
            ColumnChange::Widen { column, from, to } => Some((column, from, to)),
            _ => None,
        })
    }

    /// All changes that the API makes, as the body of one request; `None` if there are none. The whole schema
    /// is sent as it was read, so that what transload does not know of its fields stays.
    fn patch(&self, existing: &Table) -> Result<Option<Value>> {
        let mut fields = existing.schema.clone().unwrap_or_default().fields;
        let mut schema_changed = false;
        let mut body = Map::new();
        for change in &self.columns {
            schema_changed |= change_fields(&mut fields, change)?;
        }
        for change in &self.layout {
            match change {
                LayoutChange::Clustering(columns) if columns.is_empty() => {
                    body.insert("clustering".into(), Value::Null);
                }
                LayoutChange::Clustering(columns) => {
                    body.insert("clustering".into(), json!({"fields": columns}));
                }
                LayoutChange::RequirePartitionFilter(required) => {
                    body.insert("requirePartitionFilter".into(), (*required).into());
                }
                // Labels that the body does not name stay.
                LayoutChange::Label(name, value) => {
                    body.entry("labels").or_insert_with(|| json!({}))[name] = value.as_str().into();
                }
                LayoutChange::Describe(text) => {
                    body.insert("description".into(), text.as_str().into());
                }
                LayoutChange::DescribeColumn(name, text) => {
                    for field in fields.iter_mut().filter(|field| field.name.eq_ignore_ascii_case(name)) {
                        field.description = Some(text.clone());
                        schema_changed = true;
                    }
                }
                other => return Err(unforeseen(&other.text())),
            }
        }
        if schema_changed {
            let fields = serde_json::to_value(&fields).map_err(|error| {
                Error::internal("a request for BigQuery could not be built").source_error(error)
            })?;
            body.insert("schema".into(), json!({"fields": fields}));
        }
        Ok((!body.is_empty()).then_some(Value::Object(body)))
    }

    fn outcome(self) -> PrepareOutcome {
        let mut outcome = PrepareOutcome::default();
        for change in self.columns {
            match change {
                ColumnChange::Add(column) => outcome.added.push(column.name),
                ColumnChange::AddField(record, field) => {
                    outcome.added.push(format!("{record}.{}", field.name))
                }
                ColumnChange::Relax(path) => outcome.relaxed.push(path),
                ColumnChange::Widen { column, .. } => outcome.widened.push(column),
                _ => {}
            }
        }
        outcome.options = self.layout.iter().map(LayoutChange::text).collect();
        outcome
    }
}

fn unforeseen(what: &str) -> Error {
    Error::internal(format!("a change that is not known was to be made: {what}"))
}

/// Makes one change in a schema; whether there was something to do.
fn change_fields(fields: &mut Vec<TableFieldSchema>, change: &ColumnChange) -> Result<bool> {
    match change {
        ColumnChange::Add(column) => fields.push(types::field(column)?),
        ColumnChange::AddField(record, RecordField { name, data_type, mode }) => {
            let (name, data_type) = (name.clone(), data_type.clone());
            let column = TargetColumn { name, data_type, mode: *mode, description: None };
            let added = types::field(&column)?;
            at(fields, record).ok_or_else(|| unforeseen(record))?.fields.push(added);
        }
        ColumnChange::Relax(path) => {
            at(fields, path).ok_or_else(|| unforeseen(path))?.mode = Mode::Nullable.as_str().to_owned();
        }
        // The API refuses other types; DDL makes them.
        ColumnChange::Widen { .. } => return Ok(false),
        other => return Err(unforeseen(&other.text())),
    }
    Ok(true)
}

/// The field at a path with dots.
fn at<'a>(fields: &'a mut [TableFieldSchema], path: &str) -> Option<&'a mut TableFieldSchema> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let field = fields.iter_mut().find(|field| field.name.eq_ignore_ascii_case(first))?;
    match rest {
        None => Some(field),
        Some(rest) => at(&mut field.fields, rest),
    }
}

/// Views, external tables and snapshots take no rows.
fn check_kind(target: &TargetRef, existing: &Table) -> Result<()> {
    if matches!(existing.r#type.as_str(), "" | "TABLE") {
        return Ok(());
    }
    let kind = existing.r#type.to_lowercase().replace('_', " ");
    Err(Error::config(format!("{target} is not a table that rows can be loaded into but a {kind}"))
        .with("target", target)
        .hint("load into another name"))
}

/// Creates the table, or makes the one that is there fit.
pub(crate) async fn prepare(
    client: &Client,
    target: &TargetTable,
    policy: OnSchemaChange,
) -> Result<PrepareOutcome> {
    limits::check_table(target)?;
    let TargetRef { dataset, table } = &target.target;
    let place = client.place_of(dataset, table);
    let mut tries = client.retry.begin();
    loop {
        let Some(existing) = client.table(dataset, table).await? else {
            if client.create_table(dataset, table, table::body(target)?).await?.is_some() {
                return Ok(PrepareOutcome { created: true, ..PrepareOutcome::default() });
            }
            tries.again(contested(&target.target)).await?;
            continue;
        };
        let plan = Plan::of(target, &existing, policy)?;
        if plan.is_empty() {
            return Ok(PrepareOutcome::default());
        }
        check_rounding(client, &target.target, &existing, &plan).await?;
        if let Some(body) = plan.patch(&existing)? {
            take_turn(&place).await;
            match client.patch_table(dataset, table, &existing.etag, &body).await {
                Ok(true) => {}
                // Somebody else changed it since it was read: look again.
                Ok(false) => {
                    tries.again(contested(&target.target)).await?;
                    continue;
                }
                // The other change may also be the reason of a refusal.
                Err(error) => {
                    if client.table(dataset, table).await?.is_some_and(|now| now.etag == existing.etag) {
                        return Err(error);
                    }
                    tries.again(error).await?;
                    continue;
                }
            }
        }
        for (column, _, to) in plan.widened() {
            take_turn(&place).await;
            let statement = ddl::set_data_type(&sql::path(&client.project, dataset, table), column, to);
            statement_job(client, &existing.location, &statement, "cannot widen the type of a column")
                .await
                .map_err(|error| error.with("target", &target.target).with("column", column))?;
        }
        return Ok(plan.outcome());
    }
}

/// What is said when the time for tries is up.
fn contested(target: &TargetRef) -> Error {
    Error::new(ErrorKind::Conflict, "the table was changed by others at every try")
        .with("target", target)
        .retryable(true)
        .hint("let other jobs that change this table end first")
}

/// Runs a statement as a job of its own.
async fn statement_job(client: &Client, location: &str, statement: &str, what: &str) -> Result<()> {
    let id = format!("tl_ddl_{:016x}", rand::random::<u64>());
    client.submit_query(&id, location, statement).await?;
    let done = client.wait(&id, location).await?;
    failure(&done, what, &id).map_or(Ok(()), Err)
}

/// BigQuery turns numbers into FLOAT64 by rounding. That is only done where no value changes.
async fn check_rounding(client: &Client, target: &TargetRef, existing: &Table, plan: &Plan) -> Result<()> {
    for (column, from, to) in plan.widened() {
        if widening(from, to) != Widening::Rounds {
            continue;
        }
        let query =
            rounded_rows(&sql::path(&client.project, &target.dataset, &target.table), column, from, existing);
        let rows = client.select(&existing.location, &query).await?;
        let count = rows.into_iter().flatten().next().flatten().unwrap_or_default();
        if count != "0" {
            return Err(Error::new(
                ErrorKind::SchemaChanged,
                format!("column `{column}` cannot become FLOAT64: {count} of its values would be rounded"),
            )
            .with("target", target)
            .with("column", column)
            .hint("override the type of this column to BIGNUMERIC, or give it another name"));
        }
    }
    Ok(())
}

/// Counts the values of a column that FLOAT64 does not hold.
fn rounded_rows(path: &str, column: &str, from: &BigQueryType, existing: &Table) -> String {
    let (name, exact) = (sql::quote(column), from.name());
    let filter = every_partition(existing, "").map(|filter| format!(" AND {filter}")).unwrap_or_default();
    format!(
        "SELECT COUNT(*) FROM {path} WHERE {name} IS NOT NULL AND \
         SAFE_CAST(CAST({name} AS FLOAT64) AS {exact}) IS DISTINCT FROM {name}{filter}"
    )
}

/// A condition that holds for every row, for tables whose queries must name partitions; `None` for others. `alias`
/// stands before the column.
pub(crate) fn every_partition(existing: &Table, alias: &str) -> Option<String> {
    existing.require_partition_filter.filter(|required| *required)?;
    let column = match table::layout(existing).partition_by? {
        PartitionBy::IngestionTime(_) => format!("{alias}_PARTITIONTIME"),
        by => format!("{alias}{}", sql::quote(by.column()?)),
    };
    Some(format!("({column} IS NULL OR {column} IS NOT NULL)"))
}

/// Compares the table that is there with the wanted one.
pub(crate) async fn validate(client: &Client, target: &TargetTable) -> Result<TableCheck> {
    let existing = client.table(&target.target.dataset, &target.target.table).await?;
    let (found, foreign) = match &existing {
        Some(existing) => {
            let (found, foreign) = types::target_table(&target.target, existing);
            (Some(found), foreign)
        }
        None => (None, Vec::new()),
    };
    let mut check = target.check_against(found.as_ref(), Evolvable::ALL);
    for column in &foreign {
        check.refuse_column(&column.name, &column.data_type);
    }
    let kind = existing.as_ref().map_or(Ok(()), |existing| check_kind(&target.target, existing));
    for problem in [limits::check_table(target), kind].into_iter().filter_map(Result::err) {
        check.add_problem(&problem);
    }
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::from_json;

    fn existing(extra: Value) -> Table {
        let mut table = json!({"etag": "e", "schema": {"fields": [
            {"name": "r", "type": "RECORD", "mode": "NULLABLE", "policyTags": {"names": ["secret"]}, "fields": [
                {"name": "a", "type": "INTEGER", "mode": "REQUIRED"},
                {"name": "S", "type": "RECORD", "fields": [{"name": "x", "type": "STRING", "maxLength": "9"}]},
            ]},
            {"name": "span", "type": "RANGE", "rangeElementType": {"type": "DATE"}},
            {"name": "n", "type": "INTEGER", "roundingMode": "ROUND_HALF_EVEN"},
        ]}});
        for (name, value) in extra.as_object().unwrap() {
            table[name] = value.clone();
        }
        from_json(table).unwrap()
    }

    fn wanted(columns: &[(&str, &str)]) -> TargetTable {
        let column = |(name, data_type): &(&str, &str)| TargetColumn {
            name: (*name).to_owned(),
            data_type: data_type.parse().unwrap(),
            mode: Mode::Nullable,
            description: None,
        };
        TargetTable::new(TargetRef::new("d", "t"), columns.iter().map(column).collect())
    }

    /// The emulator adds no fields to records, so the request is what is tested.
    #[test]
    fn nested_changes_keep_what_is_not_known_here() {
        let table = existing(json!({}));
        let target = wanted(&[
            ("r", "RECORD<a INT64, s RECORD<x STRING, y DATE>, b BOOL REQUIRED>"),
            ("new", "NUMERIC(10,2)"),
        ]);
        let plan = Plan::of(&target, &table, OnSchemaChange::EvolveColumnsOnly).unwrap();
        let body = plan.patch(&table).unwrap().unwrap();
        let mut expected = serde_json::to_value(&table.schema).unwrap();
        let record = &mut expected["fields"][0]["fields"];
        record[0]["mode"] = "NULLABLE".into();
        record[1]["fields"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "y", "type": "DATE", "mode": "NULLABLE"}));
        record.as_array_mut().unwrap().push(json!({"name": "b", "type": "BOOL", "mode": "NULLABLE"}));
        expected["fields"].as_array_mut().unwrap().push(json!({
            "name": "new", "type": "NUMERIC", "mode": "NULLABLE", "precision": "10", "scale": "2",
        }));
        assert_eq!(body, json!({"schema": expected}));
        assert_eq!(body["schema"]["fields"][0]["policyTags"]["names"][0], "secret");
        assert_eq!(plan.outcome().added, ["r.S.y", "r.b", "new"]);
    }

    #[test]
    fn types_change_by_ddl_and_not_in_the_request() {
        let table = existing(json!({}));
        let plan = Plan::of(&wanted(&[("N", "NUMERIC")]), &table, OnSchemaChange::Evolve).unwrap();
        assert_eq!(plan.patch(&table).unwrap(), None);
        assert_eq!(plan.widened().count(), 1);
        let query = rounded_rows("`d`.`t`", "n", &BigQueryType::Int64, &table);
        assert!(query.contains("SAFE_CAST(CAST(`n` AS FLOAT64) AS INT64) IS DISTINCT FROM `n`"), "{query}");
        let filtered = existing(json!({"requirePartitionFilter": true, "timePartitioning": {"type": "DAY"}}));
        let query = rounded_rows("`d`.`t`", "n", &BigQueryType::Int64, &filtered);
        assert!(query.ends_with("AND (_PARTITIONTIME IS NULL OR _PARTITIONTIME IS NOT NULL)"), "{query}");
    }

    #[test]
    fn refusals_name_the_column() {
        let table = existing(json!({}));
        for (column, part) in [
            (("n", "STRING"), "it is INT64 and the job brings STRING"),
            (("span", "STRING"), "the job brings STRING"),
            (("r", "RECORD<b INT64>"), "fields of a record can be added at its end"),
        ] {
            let error = Plan::of(&wanted(&[column]), &table, OnSchemaChange::Evolve).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SchemaChanged);
            assert!(error.to_string().contains(part), "{error}");
        }
        let view = existing(json!({"type": "MATERIALIZED_VIEW"}));
        let error = Plan::of(&wanted(&[("n", "INT64")]), &view, OnSchemaChange::Evolve).unwrap_err();
        assert!(error.to_string().contains("but a materialized view"), "{error}");
    }

    #[test]
    fn updates_keep_to_their_rate() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut turns = VecDeque::new();
        for second in 0..5 {
            assert_eq!(try_turn(&mut turns, at(second)), None);
        }
        assert_eq!(try_turn(&mut turns, at(4)), Some(Duration::from_secs(6)));
        assert_eq!(try_turn(&mut turns, at(10)), None);
        assert_eq!(try_turn(&mut turns, at(10)), Some(Duration::from_secs(1)));
        assert_eq!(try_turn(&mut turns, at(60)), None);
        assert_eq!(turns.len(), 1);
    }
}
