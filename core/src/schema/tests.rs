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

#[test]
fn a_mapping_is_read_back_from_its_json() {
    let added = AddedColumn { value: AddedValue::LoadId, data_type: None, description: None };
    let values = StringArray::from((0..100).map(|n| Some((n + 7).to_string())).collect::<Vec<_>>());
    let fields = vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)];
    let described = table(vec![text("n"), ColumnSchema::new("r", "record", DataType::Struct(fields.into()))]);
    let records = arrow_array::new_null_array(described.columns[1].to_field().data_type(), 100);
    let batch = RecordBatch::try_new(described.arrow_schema(), vec![Arc::new(values), records]).unwrap();
    let mapping = SchemaMapper::default()
        .with_added(AddedColumns::from([("_load_id".to_owned(), added)]))
        .map(&described, Some(&batch))
        .unwrap();
    let document = mapping.to_json();
    let back = TableMapping::from_json(&document).unwrap();
    assert_eq!(back, mapping);
    back.check_approved(&mapping.hash()).unwrap();
    let error = back.check_approved("0").unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::SchemaChanged);
    // A document that somebody edited is not what was approved.
    let mut edited = document;
    edited["columns"][0]["bigquery_type"] = "STRING".into();
    assert!(TableMapping::from_json(&edited).unwrap_err().to_string().contains("says hash"));
    edited["columns"][0]["bigquery_type"] = "VARCHAR".into();
    assert!(TableMapping::from_json(&edited).unwrap_err().to_string().contains("not a BigQuery type"));
}

/// The changes of one column from one type and mode to another, as text.
fn change(from: &str, to: &str) -> String {
    let mapping = |spec: &str| {
        let (data_type, mode) = spec.split_once(' ').unwrap_or((spec, "NULLABLE"));
        let mut mapping = SchemaMapper::default().map(&table(vec![text("c")]), None).unwrap();
        mapping.columns[0].bigquery_type = data_type.parse().unwrap();
        mapping.columns[0].mode = serde_json::from_value(mode.into()).unwrap();
        mapping
    };
    let diff = mapping(to).diff(&mapping(from), &TargetRef::new("d", "t"));
    assert_eq!(diff.in_place, diff.rebuild.is_none() && diff.changes.iter().all(|change| change.in_place));
    match diff.changes.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.ddl.clone().unwrap_or_else(|| if one.in_place { "api".into() } else { "no".into() }),
        more => format!("{more:?}"),
    }
}

#[test]
fn the_changes_that_bigquery_applies_in_place() {
    let set = |to: &str| format!("ALTER TABLE `d`.`t` ALTER COLUMN `c` SET DATA TYPE {to};");
    for (from, to) in [
        ("INT64", "NUMERIC"),
        ("INT64", "BIGNUMERIC"),
        ("INT64", "FLOAT64"),
        ("INT64", "NUMERIC(19)"),
        ("NUMERIC", "BIGNUMERIC"),
        ("NUMERIC", "FLOAT64"),
        ("NUMERIC(10,2)", "NUMERIC(12,2)"),
        ("NUMERIC(10,2)", "NUMERIC(12,4)"),
        ("NUMERIC(10,2)", "NUMERIC"),
        ("NUMERIC(38,9)", "BIGNUMERIC(38,9)"),
        ("BIGNUMERIC(38,10)", "BIGNUMERIC"),
    ] {
        assert_eq!(change(from, to), set(to), "{from} {to}");
    }
    for (from, to) in [
        ("INT64", "NUMERIC(18)"),
        ("INT64", "STRING"),
        ("DATE", "TIMESTAMP"),
        ("DATETIME", "TIMESTAMP"),
        ("FLOAT64", "NUMERIC"),
        ("BOOL", "INT64"),
        ("NUMERIC", "NUMERIC(10,2)"),
        ("NUMERIC(10,2)", "NUMERIC(10,3)"),
        ("NUMERIC(10,2)", "INT64"),
        ("STRING", "STRING REPEATED"),
        ("INT64 REPEATED", "NUMERIC REPEATED"),
        ("STRING", "STRING REQUIRED"),
    ] {
        assert_eq!(change(from, to), "no", "{from} {to}");
    }
    assert_eq!(change("STRING REQUIRED", "STRING"), "ALTER TABLE `d`.`t` ALTER COLUMN `c` DROP NOT NULL;");
    assert_eq!(change("STRING", "STRING"), "nothing");
    let record = |spec: &str| {
        let mapping = |inner: &str| {
            let mut mapping = SchemaMapper::default().map(&table(vec![text("c")]), None).unwrap();
            mapping.columns[0].bigquery_type = format!("RECORD<{inner}>").parse().unwrap();
            mapping
        };
        let diff = mapping(spec).diff(&mapping("a INT64"), &TargetRef::new("d", "t"));
        (diff.in_place, diff.changes.len())
    };
    assert_eq!(record("a INT64, b STRING"), (true, 1));
    assert_eq!(record("a NUMERIC"), (false, 1));
    assert_eq!(record("a INT64, b STRING REQUIRED"), (false, 1));
}

#[test]
fn a_diff_names_every_change_with_its_statement() {
    let before = table(vec![
        ColumnSchema::new("id", "int", DataType::Int32).required(),
        ColumnSchema::new("old", "text", DataType::Utf8).required(),
        text("same"),
        text("note"),
    ]);
    let mut after = before.clone();
    after.columns.remove(1);
    after.columns[0].data_type = DataType::Int64;
    after.columns.push(ColumnSchema::new("it's", "date", DataType::Date32).required());
    let named = ColumnOverride {
        name: Some("remark".to_owned()),
        description: Some("a \"note\"".to_owned()),
        ..ColumnOverride::default()
    };
    let before = SchemaMapper::default().map(&before, None).unwrap();
    let after = with("note", named).map(&after, None).unwrap();
    let diff = after.diff(&before, &TargetRef::new("sales", "orders"));
    assert!(diff.in_place && diff.rebuild.is_none());
    assert_eq!((diff.from_hash.as_str(), diff.to_hash.as_str()), (&*before.hash(), &*after.hash()));
    assert_eq!(
        diff.to_text(),
        "\
id: reading as it is from Int32 -> as it is from Int64 (in place): rows that are there keep their values
remark: renamed note -> remark (in place): not for columns of keys, partitions and clusters
    ALTER TABLE `sales`.`orders` RENAME COLUMN `note` TO `remark`;
remark: description  -> a \"note\" (in place): for people only
    ALTER TABLE `sales`.`orders` ALTER COLUMN `remark` SET OPTIONS (description='a \\\"note\\\"');
it_s: added DATE (in place): added as NULLABLE: rows that are there have no value for it
    ALTER TABLE `sales`.`orders` ADD COLUMN `it_s` DATE OPTIONS (description='source column: it\\'s');
old: removed STRING (in place): the column stays with the values it has; new rows get NULL
    ALTER TABLE `sales`.`orders` ALTER COLUMN `old` DROP NOT NULL;
"
    );
    assert!(before.diff(&before, &TargetRef::new("d", "t")).is_empty());
}

#[test]
fn a_table_that_cannot_follow_gets_a_statement_that_rewrites_it() {
    let columns = vec![
        ColumnSchema::new("id", "int", DataType::Int32).required(),
        ColumnSchema::new("day", "date", DataType::Date32),
        ColumnSchema::new("amount", "numeric(10,2)", DataType::Decimal128(10, 2)),
    ];
    let described = table(columns);
    let before = SchemaMapper::default().map(&described, None).unwrap();
    let target = TargetRef::new("d", "t");
    let after = with("day", to_type("STRING")).map(&described, None).unwrap();
    let diff = after.diff(&before, &target);
    assert!(!diff.in_place);
    assert_eq!(
        diff.rebuild.as_deref(),
        Some(
            "\
CREATE OR REPLACE TABLE `d`.`t` (
  `id` INT64 NOT NULL,
  `day` STRING,
  `amount` NUMERIC(10,2)
)
AS SELECT
  `id` AS `id`,
  CAST(`day` AS STRING) AS `day`,
  `amount` AS `amount`
FROM `d`.`t`;"
        )
    );
    // A cast would round.
    let after = with("amount", to_type("INT64")).map(&described, None).unwrap();
    assert_eq!(after.diff(&before, &target).rebuild, None);
}

#[test]
fn the_statement_that_creates_a_table() {
    let fields = vec![
        Field::new("a", DataType::Int32, true),
        Field::new("b", DataType::new_list(DataType::Utf8, true), true),
    ];
    let mut described = table(vec![
        ColumnSchema::new("id", "int", DataType::Int32).required(),
        ColumnSchema::new("created_on", "timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ColumnSchema::new("r", "record", DataType::Struct(fields.into())),
        ColumnSchema::new("l", "numeric[]", DataType::new_list(DataType::Decimal128(5, 1), true)),
    ]);
    described.comment = Some("Orders\nof `today`".to_owned());
    let mut mapping = SchemaMapper::default().map(&described, None).unwrap();
    mapping.advice.partitioning = Some(PartitionAdvice {
        partitioning: Partitioning { column: "created_on".to_owned(), granularity: Granularity::Month },
        partitions: 12,
        reason: String::new(),
        warnings: Vec::new(),
    });
    mapping.advice.clustering = vec![ClusterAdvice { column: "id".to_owned(), reason: String::new() }];
    let target = TargetRef::new("d", "t");
    assert_eq!(
        mapping.to_ddl(&target, true),
        "\
CREATE TABLE IF NOT EXISTS `d`.`t` (
  `id` INT64 NOT NULL,
  `created_on` DATETIME,
  `r` STRUCT<`a` INT64, `b` ARRAY<STRING>>,
  `l` ARRAY<NUMERIC(5,1)>
)
PARTITION BY DATETIME_TRUNC(`created_on`, MONTH)
CLUSTER BY `id`
OPTIONS (description='Orders\\u000aof \\`today\\`');"
    );
    assert!(!mapping.to_ddl(&target, false).contains("PARTITION"));
}

#[test]
fn a_column_that_may_get_null_is_not_required() {
    let described =
        table(vec![ColumnSchema::new("id", "bigint", DataType::Int64).required(), text("n").required()]);
    let modes = |on_reject| {
        let options = MapperOptions { on_reject, ..MapperOptions::default() };
        let overrides = Overrides::from([("n".to_owned(), to_type("INT64"))]);
        let mapping = SchemaMapper::new(options).with_overrides(overrides).map(&described, None).unwrap();
        mapping.columns.iter().map(|column| column.mode).collect::<Vec<_>>()
    };
    assert_eq!(modes(RejectPolicy::Null), [Mode::Required, Mode::Nullable]);
    // Empty texts become NULL under any policy.
    assert_eq!(modes(RejectPolicy::Fail), [Mode::Required, Mode::Nullable]);
    let conditional = |on_reject| {
        let mut column = ColumnSchema::new("at", "timestamp", DataType::Date32).required();
        column.note.lossless = Lossless::Conditional;
        let options = MapperOptions { on_reject, ..MapperOptions::default() };
        SchemaMapper::new(options).map(&table(vec![column]), None).unwrap().columns[0].mode
    };
    assert_eq!(
        (conditional(RejectPolicy::Quarantine), conditional(RejectPolicy::Fail)),
        (Mode::Nullable, Mode::Required)
    );
}

#[test]
fn values_are_shown_or_not() {
    let described = table(vec![text("n")]);
    let values: Vec<String> = (0..99).map(|n| format!("4711{n}")).chain(["secret".to_owned()]).collect();
    let array = StringArray::from_iter_values(values);
    let batch = RecordBatch::try_new(described.arrow_schema(), vec![Arc::new(array)]).unwrap();
    let shown = |show_values| {
        let options = MapperOptions { show_values, ..MapperOptions::default() };
        SchemaMapper::new(options).map(&described, Some(&batch)).unwrap().to_json().to_string()
    };
    assert!(shown(true).contains("secret") && shown(true).contains("4711"));
    assert!(!shown(false).contains("secret") && !shown(false).contains("4711"));
}

#[test]
fn the_name_decides_what_0_and_1_are() {
    let mapped = |name: &str| {
        let described = table(vec![text(name)]);
        let values = StringArray::from_iter_values((0..400).map(|n| if n % 3 == 0 { "0" } else { "1" }));
        let batch = RecordBatch::try_new(described.arrow_schema(), vec![Arc::new(values)]).unwrap();
        let mapping = SchemaMapper::default().map(&described, Some(&batch)).unwrap();
        mapping.columns[0].bigquery_type.to_string()
    };
    assert_eq!([mapped("is_active"), mapped("c")], ["BOOL", "INT64"]);
}

#[test]
fn what_every_array_document_and_geography_implies_is_said_once() {
    let codes = |system: &str, source_type: &str| -> Vec<String> {
        let mapping = SchemaMapper::for_type(system, source_type).unwrap();
        mapping.warnings.into_iter().map(|warning| warning.code).collect()
    };
    assert_eq!(codes("cassandra", "list<int>"), ["W_ARRAY_NULL"]);
    assert_eq!(codes("mysql", "vector(3)"), ["W_ARRAY_NULL"]);
    assert_eq!(codes("postgresql", "jsonb"), ["W_JSON_NUM", "W_JSON_PARQUET"]);
    assert_eq!(codes("oracle", "VARRAY"), ["W_OPAQUE", "W_JSON_NUM"]);
    assert_eq!(codes("snowflake", "GEOGRAPHY"), ["W_GEO_DIM", "W_GEO_PLANAR"]);
}
