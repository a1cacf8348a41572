//! What BigQuery says about its datasets and tables.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use google_cloud_bigquery_v2::model::{ListFormatTable, Table, TableFieldSchema};
use transload_core::connector::{SchemaInfo, TableInfo, TableKind};
use transload_core::schema::{BigQueryType, ColumnSchema, Mode, TableRef, TableSchema};
use transload_core::{Error, ErrorKind, Result};

use crate::connect::Client;
use crate::{error, sql, types};

/// Datasets whose tables are listed at the same time.
const LISTINGS: usize = 8;
const PAGE: u32 = 1000;

/// Where a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) project: String,
    pub(crate) dataset: String,
    pub(crate) table: String,
}

impl Place {
    /// The place that a table reference names. The dataset may be one of another project: `project.dataset`.
    pub(crate) fn new(client: &Client, table: &TableRef) -> Result<Self> {
        let Some(schema) = &table.schema else {
            return Err(missing(table).hint("name its dataset as the schema"));
        };
        let (project, dataset) = schema.rsplit_once('.').unwrap_or((&client.project, schema));
        Ok(Self { project: project.to_owned(), dataset: dataset.to_owned(), table: table.name.clone() })
    }

    /// The quoted path, for SQL.
    pub(crate) fn path(&self) -> String {
        sql::path(&self.project, &self.dataset, &self.table)
    }

    /// The name that the Storage API wants.
    pub(crate) fn resource(&self) -> String {
        format!("projects/{}/datasets/{}/tables/{}", self.project, self.dataset, self.table)
    }
}

/// A table as it is described, and what reading it needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) schema: TableSchema,
    pub(crate) kind: TableKind,
    /// Where its jobs must run.
    pub(crate) location: String,
    /// Whether earlier states of it can be read.
    pub(crate) travels: bool,
}

impl Described {
    /// Whether the Storage API reads it; views and external tables take a query.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.kind, TableKind::Table | TableKind::Partitioned)
    }
}

fn missing(table: &TableRef) -> Error {
    Error::new(ErrorKind::NotFound, format!("table {table} does not exist"))
        .with("table", table)
        .hint("check dataset and name, or list the tables with tables()")
}

impl Client {
    /// Lists the datasets of the project.
    pub(crate) async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let request = self
                .datasets
                .list_datasets()
                .set_project_id(&self.project)
                .set_max_results(PAGE)
                .set_page_token(&token);
            let page = Box::pin(request.send()).await.map_err(|error| {
                error::of_client("cannot list the datasets of the project", error)
                    .with("project", &self.project)
            })?;
            for dataset in page.datasets {
                let Some(reference) = dataset.dataset_reference else { continue };
                let comment = dataset.friendly_name.filter(|name| !name.is_empty());
                found.push(SchemaInfo { name: reference.dataset_id, comment });
            }
            token = page.next_page_token;
            if token.is_empty() {
                found.sort_by(|a, b| a.name.cmp(&b.name));
                return Ok(found);
            }
        }
    }

    /// Lists the tables of a dataset, or of all, by dataset and name.
    pub(crate) async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>> {
        let schemas = match schema {
            Some(schema) => vec![schema.to_owned()],
            None => self.schemas().await?.into_iter().map(|schema| schema.name).collect(),
        };
        let listings = stream::iter(schemas).map(|name| async move {
            match self.tables_of(&name).await {
                // One of all datasets that went away meanwhile has no tables.
                Err(error) if error.kind() == ErrorKind::NotFound && schema.is_none() => Ok(Vec::new()),
                outcome => outcome,
            }
        });
        let listings: Vec<Vec<TableInfo>> = listings.buffered(LISTINGS).try_collect().await?;
        let mut tables = listings.concat();
        tables.sort_by(|a, b| a.table.cmp(&b.table));
        Ok(tables)
    }

    async fn tables_of(&self, schema: &str) -> Result<Vec<TableInfo>> {
        let (project, dataset) = schema.rsplit_once('.').unwrap_or((&self.project, schema));
        let (mut tables, mut token) = (Vec::new(), String::new());
        loop {
            let request = self
                .tables
                .list_tables()
                .set_project_id(project)
                .set_dataset_id(dataset)
                .set_max_results(PAGE)
                .set_page_token(&token);
            let page = Box::pin(request.send()).await.map_err(|error| {
                error::of_client("cannot list the tables of the dataset", error)
                    .with("schema", schema)
                    .hint("check the name, or list the datasets with schemas()")
            })?;
            tables.extend(page.tables.iter().filter_map(|table| listed(schema, table)));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        self.add_sizes(project, dataset, &mut tables).await;
        Ok(tables)
    }

    /// Rows, bytes and last change, which lists of tables lack. One small query a dataset; whoever may not run
    /// queries gets the list without them.
    async fn add_sizes(&self, project: &str, dataset: &str, tables: &mut [TableInfo]) {
        if tables.is_empty() {
            return;
        }
        let query = format!(
            "SELECT table_id, row_count, size_bytes, last_modified_time FROM {}",
            sql::path(project, dataset, "__TABLES__")
        );
        let rows = match self.select("", &query).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(dataset, %error, "the tables are listed without their sizes");
                return;
            }
        };
        let number = |cell: Option<&Option<String>>| cell?.as_ref()?.parse::<u64>().ok();
        let sizes: HashMap<String, _> = rows
            .into_iter()
            .filter_map(|row| {
                let numbers = (number(row.get(1)), number(row.get(2)), number(row.get(3)));
                Some((row.into_iter().next()??, numbers))
            })
            .collect();
        for info in tables.iter_mut() {
            let stored = matches!(info.kind, TableKind::Table | TableKind::Partitioned);
            if let Some((rows, bytes, changed)) = sizes.get(&info.table.name).filter(|_| stored) {
                (info.rows_estimate, info.bytes) = (*rows, *bytes);
                info.last_change = changed.and_then(moment);
            }
        }
    }

    /// Describes one table.
    pub(crate) async fn describe(&self, table: &TableRef, place: &Place) -> Result<Described> {
        let request = self
            .tables
            .get_table()
            .set_project_id(&place.project)
            .set_dataset_id(&place.dataset)
            .set_table_id(&place.table);
        match Box::pin(request.send()).await {
            Ok(found) => described(table, &found),
            Err(error) if error.http_status_code() == Some(404) => Err(missing(table)),
            Err(error) => Err(error::of_client("cannot describe the table", error).with("table", table)),
        }
    }
}

/// Milliseconds since 1970 as RFC 3339 text.
fn moment(millis: u64) -> Option<String> {
    let millis = i64::try_from(millis).ok().filter(|millis| *millis > 0)?;
    jiff::Timestamp::from_millisecond(millis).ok().map(|moment| moment.to_string())
}

fn kind(text: &str, partitioned: bool) -> TableKind {
    match text {
        "VIEW" => TableKind::View,
        "MATERIALIZED_VIEW" => TableKind::MaterializedView,
        "EXTERNAL" => TableKind::Foreign,
        _ if partitioned => TableKind::Partitioned,
        // Snapshots and clones are read like tables.
        _ => TableKind::Table,
    }
}

fn listed(schema: &str, table: &ListFormatTable) -> Option<TableInfo> {
    let name = &table.table_reference.as_ref()?.table_id;
    let partitioned = table.time_partitioning.is_some() || table.range_partitioning.is_some();
    Some(TableInfo::new(TableRef::new(schema, name), kind(&table.r#type, partitioned)))
}

fn described(reference: &TableRef, table: &Table) -> Result<Described> {
    let fields = table.schema.as_ref().map(|schema| schema.fields.as_slice()).unwrap_or_default();
    let (mut columns, mut unknown) = (Vec::with_capacity(fields.len()), Vec::new());
    for field in fields {
        match types::data_type(field) {
            Some(data_type) => columns.push(column(field, data_type, table)),
            None => unknown.push(format!("{} {}", field.name, types::type_text(field))),
        }
    }
    if columns.is_empty() {
        return Err(Error::unsupported(format!("table {reference} has no columns that can be read"))
            .with("table", reference)
            .with("columns", unknown.join(", "))
            .hint("read it through a view that casts its columns"));
    }
    if !unknown.is_empty() {
        tracing::warn!(table = %reference, columns = unknown.join(", "), "columns of types that transload does not know are left out");
    }
    let partitioned = table.time_partitioning.is_some() || table.range_partitioning.is_some();
    let kind = kind(&table.r#type, partitioned);
    let mut schema = TableSchema::new(reference.clone(), columns);
    let constraints = table.table_constraints.as_ref();
    let key = constraints.and_then(|constraints| constraints.primary_key.as_ref());
    schema.primary_key = key.map(|key| key.columns.clone()).unwrap_or_default();
    schema.comment = table.description.clone().filter(|text| !text.is_empty());
    if matches!(kind, TableKind::Table | TableKind::Partitioned) {
        schema.rows_estimate = table.num_rows;
    }
    // A snapshot never changes, and has no past to go to.
    let travels = matches!(table.r#type.as_str(), "" | "TABLE" | "CLONE");
    Ok(Described { schema, kind, location: table.location.clone(), travels })
}

fn column(field: &TableFieldSchema, data_type: BigQueryType, table: &Table) -> ColumnSchema {
    let mode = types::mode(&field.mode);
    let as_column = transload_core::schema::RecordField { name: field.name.clone(), data_type, mode };
    let arrow = as_column.to_field();
    let mut column = ColumnSchema::new(&field.name, types::type_text(field), arrow.data_type().clone());
    column.extension = as_column.data_type.extension().filter(|_| mode != Mode::Repeated);
    // An array is never NULL.
    column.nullable = mode == Mode::Nullable;
    column.comment = field.description.clone().filter(|text| !text.is_empty());
    column.default = field.default_value_expression.clone().filter(|text| !text.is_empty());
    column.generated = field.generated_column.is_some();
    column.indexed = is_pruned(&field.name, table);
    column.bigquery_type = Some(as_column.data_type);
    column
}

/// Whether a range of the column's values is read without the rest of the table: its partitions, or the blocks
/// of the first column that it is clustered by.
fn is_pruned(name: &str, table: &Table) -> bool {
    let by_time = table.time_partitioning.as_ref().and_then(|by| by.field.as_deref());
    let by_range = table.range_partitioning.as_ref().map(|by| by.field.as_str());
    let clustered = table.clustering.as_ref().and_then(|by| by.fields.first()).map(String::as_str);
    [by_time, by_range, clustered].into_iter().flatten().any(|column| column.eq_ignore_ascii_case(name))
}
