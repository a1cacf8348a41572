//! Mappings as a whole: names, overrides, added columns, the hash.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, TimeUnit};

use super::*;

fn table(columns: Vec<ColumnSchema>) -> TableSchema {
    TableSchema::new(TableRef::new("public", "t"), columns)
}

fn text(name: &str) -> ColumnSchema {
    ColumnSchema::new(name, "text", DataType::Utf8)
}

fn with(name: &str, wanted: ColumnOverride) -> SchemaMapper {
    SchemaMapper::default().with_overrides(Overrides::from([(name.to_owned(), wanted)]))
}

fn to_type(data_type: &str) -> ColumnOverride {
    ColumnOverride { data_type: Some(data_type.to_owned()), ..ColumnOverride::default() }
}

#[test]
fn names_of_the_reference_become_names_that_bigquery_takes() {
    let long = "x".repeat(301);
    let names = [
        "Order ID",
        "order.id",
        "2nd",
        "_PARTITIONTIME",
        "_table_x",
        "ID",
        "id",
        "\u{e9}",
        "e\u{301}",
        &long,
        "",
        "!/?",
        "select",
    ];
    let mapping = SchemaMapper::default().map(&table(names.map(text).into()), None).unwrap();
    let got: Vec<&str> = mapping.columns.iter().map(|column| column.target_name.as_str()).collect();
    let cut = "x".repeat(300);
    assert_eq!(
        got,
        [
            "Order_ID",
            "order_id_2",
            "_2nd",
            "c_PARTITIONTIME",
            "c_table_x",
            "ID",
            "id_2",
            "\u{e9}",
            "\u{e9}_2",
            &cut,
            "column",
            "column_2",
            "select",
        ]
    );
    let renamed = mapping.column("order.id").unwrap();
    assert_eq!(renamed.description.as_deref(), Some("source column: order.id"));
    assert!(renamed.warnings.iter().any(|warning| warning.code == "W_NAME"));
    assert_eq!(mapping.column("select").unwrap().description, None);
}

#[test]
fn impossible_overrides_are_refused_with_what_is_possible() {
    let amount = table(vec![ColumnSchema::new("d", "date", DataType::Date32), text("b")]);
    let refuse = |wanted| with("d", wanted).map(&amount, None).unwrap_err().to_string();
    for data_type in ["INT64", "BOOL", "GEOGRAPHY", "RECORD<a INT64>", "RANGE<DATE>", "INTERVAL"] {
        let error = refuse(to_type(data_type));
        assert!(error.contains("DATE, DATETIME, STRING"), "{data_type}: {error}");
    }
    assert!(refuse(to_type("VARCHAR(10)")).contains("not a BigQuery type"));
    let named = |name: &str| ColumnOverride { name: Some(name.to_owned()), ..ColumnOverride::default() };
    assert!(refuse(named("order id")).contains("`order_id`"));
    let repeated = ColumnOverride { mode: Some(Mode::Repeated), ..ColumnOverride::default() };
    assert!(refuse(repeated).contains("NULLABLE or REQUIRED"));
    let described = ColumnOverride { description: Some("x".repeat(1025)), ..ColumnOverride::default() };
    assert!(refuse(described).contains("1024"));
    let error = with("e", ColumnOverride::default()).map(&amount, None).unwrap_err().to_string();
    assert!(error.contains("no column `e`"), "{error}");
    // A given name is kept; the column that has it by itself makes room.
    let mapping = with("d", named("b")).map(&amount, None).unwrap();
    let names: Vec<&str> = mapping.columns.iter().map(|column| column.target_name.as_str()).collect();
    assert_eq!(names, ["b", "b_2"]);
}

#[test]
fn an_override_says_whether_values_may_be_lost() {
    let described = table(vec![ColumnSchema::new("i", "int", DataType::Int32)]);
    for (data_type, lossless) in [
        ("NUMERIC", Lossless::Yes),
        ("STRING", Lossless::Yes),
        ("NUMERIC(4,2)", Lossless::Conditional),
        ("FLOAT64", Lossless::Conditional),
        ("BOOL", Lossless::Conditional),
    ] {
        let mapping = with("i", to_type(data_type)).map(&described, None).unwrap();
        assert_eq!(mapping.columns[0].lossless, lossless, "{data_type}");
    }
}

#[test]
fn catalog_types_offer_wider_ones() {
    let fields = vec![Field::new("a b", DataType::Int32, true), Field::new("A_B", DataType::Utf8, true)];
    let columns = vec![
        ColumnSchema::new("i", "int", DataType::Int32),
        ColumnSchema::new("n", "numeric(10,2)", DataType::Decimal128(10, 2)),
        ColumnSchema::new("u", "uuid", DataType::FixedSizeBinary(16)).extension(Extension::Uuid),
        ColumnSchema::new("r", "record", DataType::Struct(fields.into())),
        ColumnSchema::new("e", "record", DataType::Struct(Vec::<Field>::new().into())),
        ColumnSchema::new("l", "int[]", DataType::new_list(DataType::Int32, true)),
        ColumnSchema::new(
            "ll",
            "int[][]",
            DataType::new_list(DataType::new_list(DataType::Int32, true), true),
        ),
    ];
    let described = table(columns);
    let mapping = SchemaMapper::default().map(&described, None).unwrap();
    let offers: Vec<String> = mapping
        .columns
        .iter()
        .map(|column| {
            let offers: Vec<String> =
                column.alternatives.iter().map(|offer| offer.bigquery_type.to_string()).collect();
            format!(
                "{} {} {}: {}",
                column.source_name,
                column.bigquery_type,
                column.mode.as_str(),
                offers.join(" ")
            )
        })
        .collect();
    assert_eq!(
        offers,
        [
            "i INT64 NULLABLE: NUMERIC STRING",
            "n NUMERIC(10,2) NULLABLE: BIGNUMERIC STRING",
            "u STRING NULLABLE: BYTES",
            "r RECORD<a_b INT64 NULLABLE, A_B_2 STRING NULLABLE> NULLABLE: JSON STRING",
            "e JSON NULLABLE: STRING",
            "l INT64 REPEATED: JSON",
            "ll JSON NULLABLE: STRING",
        ]
    );
    // What is offered can be asked for, and what is mapped can be cast.
    for column in &mapping.columns {
        for offer in &column.alternatives {
            let wanted = to_type(&offer.bigquery_type.to_string());
            let mapping = with(&column.source_name, wanted).map(&described, None).unwrap();
            Caster::new(&mapping, &described.arrow_schema(), RejectPolicy::Fail).unwrap();
        }
    }
}

#[test]
fn added_columns_are_filled() {
    let described = table(vec![ColumnSchema::new("id", "int", DataType::Int32)]);
    let document = serde_json::json!({
        "_loaded_at": {"value": "loaded_at"},
        "_load_id": {"value": "load_id", "description": "which load"},
        "region": {"value": {"constant": "7"}, "type": "INT64"},
    });
    let added: AddedColumns = serde_json::from_value(document).unwrap();
    let mapping = SchemaMapper::default().with_added(added).map(&described, None).unwrap();
    let target = mapping.target_table(TargetRef::new("d", "t"));
    let columns: Vec<String> = target.columns.iter().map(|c| format!("{} {}", c.name, c.data_type)).collect();
    assert_eq!(columns, ["id INT64", "_load_id STRING", "_loaded_at TIMESTAMP", "region INT64"]);

    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let batch = RecordBatch::try_new(described.arrow_schema(), vec![ids]).unwrap();
    let caster = Caster::new(&mapping, &batch.schema(), RejectPolicy::Fail).unwrap();
    assert!(caster.cast(&batch).unwrap_err().to_string().contains("for_load"));
    let caster = caster.for_load("000001-a", "2026-01-02T03:04:05Z".parse().unwrap());
    let (cast, _) = caster.cast(&batch).unwrap();
    assert_eq!(cast.schema(), target.arrow_schema());
    assert_eq!(cast.column(1).as_string::<i32>().value(1), "000001-a");
    assert_eq!(cast.column(2).as_primitive::<TimestampMicrosecondType>().value(0), 1_767_323_045_000_000);
    assert_eq!(cast.column(3).as_primitive::<Int64Type>().value(1), 7);
    assert_eq!(caster.cast(&batch.slice(0, 0)).unwrap().0.num_rows(), 0);
}

#[test]
fn impossible_added_columns_are_refused() {
    let described = table(vec![text("id")]);
    let refuse = |name: &str, column: serde_json::Value| {
        let added = AddedColumns::from([(name.to_owned(), serde_json::from_value(column).unwrap())]);
        SchemaMapper::default().with_added(added).map(&described, None).unwrap_err().to_string()
    };
    let constant =
        |text: &str, data_type: &str| serde_json::json!({"value": {"constant": text}, "type": data_type});
    assert!(refuse("n", constant("x", "INT64")).contains("constant `x` does not fit INT64"));
    assert!(refuse("n", constant("", "DATE")).contains("does not fit"));
    assert!(refuse("ID", constant("x", "STRING")).contains("has the name of another column"));
    assert!(refuse("a b", constant("x", "STRING")).contains("`a_b`"));
    assert!(
        refuse("t", serde_json::json!({"value": "loaded_at", "type": "DATE"})).contains("always TIMESTAMP")
    );
}

/// The mapping whose hash must never change.
fn hashed() -> TableMapping {
    let columns = vec![
        ColumnSchema::new("id", "bigint", DataType::Int64).required(),
        ColumnSchema::new("total", "numeric(12,2)", DataType::Decimal128(12, 2)),
        ColumnSchema::new("at", "timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ColumnSchema::new(
            "zoned",
            "timestamptz",
            DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        ),
        ColumnSchema::new("tags", "text[]", DataType::new_list(DataType::Utf8, true)),
        text("flag"),
    ];
    let flag = ColumnOverride { format: Some("Y/N".to_owned()), ..to_type("BOOL") };
    with("flag", flag).map(&table(columns), None).unwrap()
}

#[test]
fn the_hash_is_the_same_in_every_release() {
    let mapping = hashed();
    assert_eq!(mapping.hash(), "ae2abf6b678a68e658e13212638f1262");
    // The order of columns does not decide what a row means.
    let mut turned = mapping.clone();
    turned.columns.reverse();
    assert_eq!(turned.hash(), mapping.hash());
    // Neither does what is said about a column.
    let mut said = mapping.clone();
    said.columns[0].reason = "because".to_owned();
    said.columns[0].score = 0.1;
    said.columns[0].warnings.push(Warning::new("W_X", "x"));
    assert_eq!(said.hash(), mapping.hash());
}

#[test]
fn the_hash_tells_mappings_apart() {
    let mapping = hashed();
    let changes: [fn(&mut TableMapping); 7] = [
        |m| m.columns[0].target_name = "key".to_owned(),
        |m| m.columns[0].bigquery_type = BigQueryType::String,
        |m| m.columns[0].mode = Mode::Nullable,
        |m| m.columns[5].recipe = Recipe::ParseBool { yes: "Y".to_owned(), no: "X".to_owned() },
        |m| m.columns[0].arrow_type = "Int32".to_owned(),
        |m| drop(m.columns.pop()),
        |m| {
            m.added.push(AddedMapping {
                target_name: "c".to_owned(),
                bigquery_type: BigQueryType::String,
                value: AddedValue::Constant("a".to_owned()),
                description: None,
            });
        },
    ];
    let mut hashes = vec![mapping.hash()];
    for change in changes {
        let mut changed = mapping.clone();
        change(&mut changed);
        assert!(!hashes.contains(&changed.hash()), "{}", changed.to_text());
        hashes.push(changed.hash());
    }
}

#[test]
fn the_kind_of_a_recipe_is_its_name_in_json() {
    for recipe in [Recipe::Direct, Recipe::ParseTimestamp { format: "%s".to_owned() }, Recipe::EpochMillis] {
        assert_eq!(serde_json::to_value(&recipe).unwrap()["kind"], recipe.kind());
    }
}

#[test]
fn a_sampled_text_is_still_offered_what_it_reads_as() {
    let described = table(vec![text("n")]);
    let values = StringArray::from((0..100).map(|n| Some((n + 7).to_string())).collect::<Vec<_>>());
    let batch = RecordBatch::try_new(described.arrow_schema(), vec![Arc::new(values)]).unwrap();
    let mapping = SchemaMapper::default().map(&described, Some(&batch)).unwrap();
    assert_eq!(mapping.columns[0].bigquery_type, BigQueryType::Int64);
}
