//! What files hold in place of types that Parquet cannot be given.
//!
//! | Table | Files |
//! |---|---|
//! | INTERVAL | text, an ISO 8601 duration such as `P1Y2M3DT4H5M6.7S`: Parquet's own type has milliseconds and no signs |
//!
//! Also inside arrays and records. The table's description (`_schema.json`) keeps the type.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, ListArray, StructArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use transload_core::Result;
use transload_core::schema::{BigQueryType, TargetTable, Warning, canonical_texts};

/// Arrow schema of the files of a table.
pub(crate) fn schema(table: &TargetTable) -> SchemaRef {
    let of_table = table.arrow_schema();
    let fields: Vec<Field> = of_table.fields().iter().map(|field| stored_field(field)).collect();
    Arc::new(Schema::new_with_metadata(fields, of_table.metadata().clone()))
}

fn stored_field(field: &Field) -> Field {
    field.clone().with_data_type(stored_type(field.data_type()))
}

/// The type that files hold for a type of the table.
pub(crate) fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Interval(_) => DataType::Utf8,
        DataType::List(item) => DataType::List(Arc::new(stored_field(item))),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| stored_field(field)).collect())
        }
        other => other.clone(),
    }
}

/// An array of a table's type as files hold it.
pub(crate) fn stored(array: &ArrayRef) -> Result<ArrayRef> {
    let to = stored_type(array.data_type());
    match (array.data_type(), &to) {
        (from, to) if from == to => Ok(Arc::clone(array)),
        (DataType::Interval(_), _) => Ok(Arc::new(canonical_texts(array)?)),
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, stored(list.values())?, nulls)?))
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let record = array.as_struct();
            let columns = record.columns().iter().map(stored).collect::<Result<_>>()?;
            let nulls = record.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, array.len())?))
        }
        _ => Ok(Arc::clone(array)),
    }
}

/// Tells which columns are not stored as what they are.
pub(crate) fn warnings(table: &TargetTable) -> Vec<Warning> {
    fn holds_interval(data_type: &BigQueryType) -> bool {
        match data_type {
            BigQueryType::Interval => true,
            BigQueryType::Record(fields) => fields.iter().any(|field| holds_interval(&field.data_type)),
            _ => false,
        }
    }
    let names = table.columns.iter().filter(|column| holds_interval(&column.data_type));
    let names: Vec<&str> = names.map(|column| column.name.as_str()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![Warning::new(
        "W_INTERVAL_TEXT",
        format!(
            "INTERVALs are ISO 8601 texts in Parquet files, which have no such type: {}",
            names.join(", ")
        ),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::IntervalMonthDayNano;
    use arrow_array::{Int64Array, IntervalMonthDayNanoArray, StringArray};
    use arrow_buffer::OffsetBuffer;
    use transload_core::schema::{Mode, TargetColumn, TargetRef};

    fn intervals() -> ArrayRef {
        let value = |months, days, nanos| Some(IntervalMonthDayNano::new(months, days, nanos));
        Arc::new(IntervalMonthDayNanoArray::from(vec![
            value(14, 3, 14_706_700_000_000),
            value(-1, 0, -1_000),
            value(0, 0, 0),
            None,
        ]))
    }

    const TEXTS: [Option<&str>; 4] = [Some("P1Y2M3DT4H5M6.7S"), Some("P-1MT-0.000001S"), Some("PT0S"), None];

    #[test]
    fn intervals_are_texts_wherever_they_are() {
        let texts: ArrayRef = Arc::new(StringArray::from(TEXTS.to_vec()));
        assert_eq!(&stored(&intervals()).unwrap(), &texts);
        let item = Arc::new(Field::new("item", intervals().data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths([3, 0, 1]);
        let list: ArrayRef = Arc::new(ListArray::try_new(item, offsets, intervals(), None).unwrap());
        let inner = stored(&list).unwrap();
        assert_eq!(inner.as_list::<i32>().values(), &texts);
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        let fields = vec![
            (Arc::new(Field::new("id", DataType::Int64, false)), Arc::clone(&ids)),
            (Arc::new(Field::new("v", intervals().data_type().clone(), true)), intervals()),
        ];
        let record: ArrayRef = Arc::new(StructArray::from(fields));
        let inner = stored(&record).unwrap();
        assert_eq!(inner.as_struct().columns(), [Arc::clone(&ids), texts]);
        assert_eq!(stored(&ids).unwrap().data_type(), &DataType::Int64);
    }

    #[test]
    fn files_have_the_tables_columns() {
        let column = |name: &str, data_type: &str, mode| TargetColumn {
            name: name.to_owned(),
            data_type: data_type.parse().unwrap(),
            mode,
            description: None,
        };
        let table = TargetTable::new(
            TargetRef::new("d", "t"),
            vec![
                column("id", "INT64", Mode::Required),
                column("v", "INTERVAL", Mode::Nullable),
                column("vs", "INTERVAL", Mode::Repeated),
                column("r", "RECORD<a INT64, v INTERVAL>", Mode::Nullable),
                column("n", "NUMERIC(9,2)", Mode::Nullable),
            ],
        );
        let types: Vec<String> = schema(&table).fields().iter().map(|f| f.data_type().to_string()).collect();
        assert!(types.iter().all(|text| !text.contains("Interval")), "{types:?}");
        assert_eq!((types[1].as_str(), types[4].as_str()), ("Utf8", "Decimal128(9, 2)"));
        let warned = warnings(&table);
        assert_eq!((warned.len(), warned[0].code.as_str()), (1, "W_INTERVAL_TEXT"));
        assert!(warned[0].text.ends_with("v, vs, r"), "{}", warned[0]);
        assert_eq!(warnings(&TargetTable::new(TargetRef::new("d", "t"), Vec::new())), []);
    }
}
