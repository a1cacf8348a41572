//! Datasets and tables as BigQuery's API describes them, beyond their columns. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use google_cloud_bigquery_v2::model::{Clustering, Dataset, RangePartitioning, Table, TimePartitioning};
use serde_json::{Value, json};
use transload_core::Result;
use transload_core::schema::{
    DatasetOptions, Granularity, IntegerRange, PartitionBy, Partitioning, TableLayout, TargetTable,
};

use crate::jobs::from_json;
use crate::types;

/// The body of a request that creates a table with everything it wants.
pub(crate) fn body(target: &TargetTable) -> Result<Table> {
    let mut table = types::table_body(target)?;
    let layout = &target.layout;
    match &layout.partition_by {
        None => {}
        Some(PartitionBy::Range(column, IntegerRange { start, end, interval })) => {
            let range = json!({
                "start": start.to_string(), "end": end.to_string(), "interval": interval.to_string(),
            });
            let partitioning: RangePartitioning = from_json(json!({"field": column, "range": range}))?;
            table = table.set_range_partitioning(partitioning);
        }
        Some(by) => {
            let (granularity, field) = match by {
                PartitionBy::Time(Partitioning { column, granularity }) => (granularity, Some(column)),
                PartitionBy::IngestionTime(granularity) => (granularity, None),
                other => return Err(unknown_partitions(other)),
            };
            let mut partitioning = TimePartitioning::new().set_type(granularity.as_str());
            if let Some(field) = field {
                partitioning = partitioning.set_field(field);
            }
            if let Some(life) = layout.partition_expires_after {
                let millis = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
                partitioning = partitioning.set_expiration_ms(millis);
            }
            table = table.set_time_partitioning(partitioning);
        }
    }
    if let Some(columns) = layout.cluster_by.as_ref().filter(|columns| !columns.is_empty()) {
        table = table.set_clustering(Clustering::new().set_fields(columns));
    }
    if let Some(required) = layout.require_partition_filter {
        table = table.set_require_partition_filter(required);
    }
    if let Some(life) = layout.expires_after {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let end = now + Duration::try_from(life).unwrap_or_default();
        table = table.set_expiration_time(i64::try_from(end.as_millis()).unwrap_or(i64::MAX));
    }
    if !layout.labels.is_empty() {
        table = table.set_labels(layout.labels.clone());
    }
    Ok(table)
}

fn unknown_partitions(by: &PartitionBy) -> transload_core::Error {
    transload_core::Error::unsupported(format!("BigQuery has no partitions by {by}"))
}

/// How a table is laid out.
pub(crate) fn layout(table: &Table) -> TableLayout {
    TableLayout {
        partition_by: partition_by(table),
        cluster_by: table.clustering.as_ref().map(|clustering| clustering.fields.clone()),
        require_partition_filter: table.require_partition_filter,
        partition_expires_after: table
            .time_partitioning
            .as_ref()
            .and_then(|partitioning| partitioning.expiration_ms)
            .filter(|millis| *millis > 0)
            .map(jiff_millis),
        expires_after: table
            .expiration_time
            .filter(|end| *end > 0)
            .map(|end| jiff_millis(end.saturating_sub(table.creation_time))),
        labels: table.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

fn jiff_millis(millis: i64) -> transload_core::schema::SignedDuration {
    transload_core::schema::SignedDuration::from_millis(millis)
}

fn partition_by(table: &Table) -> Option<PartitionBy> {
    if let Some(RangePartitioning { field, range: Some(range), .. }) = &table.range_partitioning {
        let number = |text: &str| text.parse::<i64>().ok();
        let range = IntegerRange {
            start: number(&range.start)?,
            end: number(&range.end)?,
            interval: number(&range.interval)?,
        };
        return Some(PartitionBy::Range(field.clone(), range));
    }
    let partitioning = table.time_partitioning.as_ref()?;
    let granularity = match partitioning.r#type.as_str() {
        "HOUR" => Granularity::Hour,
        "MONTH" => Granularity::Month,
        "YEAR" => Granularity::Year,
        _ => Granularity::Day,
    };
    Some(match partitioning.field.as_deref().filter(|field| !field.is_empty()) {
        Some(column) => PartitionBy::Time(Partitioning { column: column.to_owned(), granularity }),
        None => PartitionBy::IngestionTime(granularity),
    })
}

/// The body of a request that creates a dataset.
pub(crate) fn dataset_body(project: &str, name: &str, with: &DatasetOptions) -> Result<Dataset> {
    let mut body = json!({"datasetReference": {"projectId": project, "datasetId": name}});
    let mut set = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[field] = value;
        }
    };
    set("location", with.location.clone().map(Value::from));
    set("description", with.description.clone().map(Value::from));
    set("defaultTableExpirationMs", with.tables_expire_after.map(|life| life.as_millis().to_string().into()));
    set("labels", (!with.labels.is_empty()).then(|| json!(with.labels)));
    from_json(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_core::schema::{LayoutDocument, Mode, TargetColumn, TargetRef};

    fn table(layout: Value) -> TargetTable {
        let column = |(name, data_type): &(&str, &str)| TargetColumn {
            name: (*name).to_owned(),
            data_type: data_type.parse().unwrap(),
            mode: Mode::Nullable,
            description: None,
        };
        let columns = [("id", "INT64"), ("at", "TIMESTAMP"), ("what", "STRING")].iter().map(column).collect();
        let mut table = TargetTable::new(TargetRef::new("d", "t"), columns);
        let document: LayoutDocument = serde_json::from_value(layout).unwrap();
        table.layout = document.resolve(None).unwrap();
        table.layout.check(&table).unwrap();
        table
    }

    #[test]
    fn layouts_survive_the_api_form() {
        for wanted in [
            json!({}),
            json!({"partition_by": {"column": "at", "granularity": "HOUR"}, "partition_expires_after": "9d",
                   "require_partition_filter": true, "cluster_by": ["what", "id"], "labels": {"a": "b"}}),
            json!({"partition_by": {"ingestion_time": "MONTH"}}),
            json!({"partition_by": {"column": "id", "range": {"start": -10, "end": 1000, "interval": 7}},
                   "require_partition_filter": false}),
        ] {
            let wanted = table(wanted);
            let sent = serde_json::to_value(body(&wanted).unwrap()).unwrap();
            let back: Table = from_json(sent).unwrap();
            assert_eq!(layout(&back), wanted.layout);
        }
        let end = body(&table(json!({"expires_after": "2h"}))).unwrap().expiration_time.unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        assert!((i128::from(end) - i128::try_from(now).unwrap() - 7_200_000).abs() < 60_000);
    }

    #[test]
    fn datasets_get_what_they_are_given() {
        let options = DatasetOptions {
            location: Some("EU".into()),
            description: Some("raw".into()),
            tables_expire_after: Some(transload_core::schema::SignedDuration::from_hours(1)),
            labels: [("team".to_owned(), "x".to_owned())].into(),
        };
        let body = serde_json::to_value(dataset_body("p", "d", &options).unwrap()).unwrap();
        assert_eq!(body["defaultTableExpirationMs"], "3600000");
        assert_eq!((&body["location"], &body["labels"]["team"]), (&json!("EU"), &json!("x")));
        let bare = serde_json::to_value(dataset_body("p", "d", &DatasetOptions::default()).unwrap()).unwrap();
        assert_eq!(bare, json!({"datasetReference": {"projectId": "p", "datasetId": "d"}}));
    }
}
