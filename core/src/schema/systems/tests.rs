//! Walks the reference: every row is found by a text, and what the mapper makes of it is what the row says.

use std::collections::BTreeMap;

use super::condition::Condition;
use super::*;
use crate::schema::bigquery::{BigQueryType, Mode};
use crate::schema::{ColumnMapping, SchemaMapper};

/// Digits to try, so that each branch of each decimal rule is met.
const PRECISIONS: [i64; 14] = [10, 5, 1, 18, 19, 20, 29, 30, 32, 38, 50, 65, 76, 100];
const SCALES: [i64; 15] = [2, 0, 5, 1, 7, 9, 10, 20, 30, 38, 40, -2, -5, -10, -30];

/// A type text that a row speaks of, for digits `p` and `s`.
fn text(row: &TypeRow, p: i64, s: i64) -> String {
    let spelling = &row.spelling;
    let element = match row.system.as_str() {
        "bigquery" => "INT64",
        "snowflake" => "BOOLEAN",
        "avro" | "parquet" | "orc" => "boolean",
        "json_ndjson" => "true",
        "arrow" => "Int64",
        _ => "int",
    };
    if spelling.arguments.is_empty() {
        // As its manual writes it; a row without brackets may still be about digits or elements.
        return if matches!(row.when, Condition::Digits(_)) || row.condition == "wider" {
            format!("{}({p},{s})", spelling.name)
        } else if row.arrow_type.contains("List<T>") {
            format!("{}<{element}>", spelling.name)
        } else {
            row.source_type.clone()
        };
    }
    let arguments = spelling.arguments.iter().enumerate().map(|(index, argument)| {
        match argument.to_lowercase().as_str() {
            "p" | "m" | "n" | "b" | "f" | "fsp" if index == 0 => p.to_string(),
            "s" | "d" if index > 0 => s.to_string(),
            "-s" => s.to_string(),
            "t" | "k" | "v" => element.to_owned(),
            "..." if row.system == "snowflake" => "a BOOLEAN, b VARCHAR(10)".to_owned(),
            "..." if row.bigquery_type.starts_with("STRUCT") => match row.system.as_str() {
                "bigquery" => "a INT64, b ARRAY<STRING>".to_owned(),
                _ => "int, text".to_owned(),
            },
            range if range.contains("..") && range.len() > 3 => {
                range.split("..").next().unwrap_or_default().to_owned()
            }
            _ => argument.clone(),
        }
    });
    let arguments = arguments.collect::<Vec<_>>().join(",");
    match spelling.name.as_str() {
        "[]" => format!("{arguments}[]"),
        "domain" => format!("domain over {arguments}"),
        name => format!("{name}<{arguments}>"),
    }
}

/// The first text for which the reference answers with this row, and its digits.
fn found(row: &TypeRow) -> Option<(String, i64, i64, TypeAnswer)> {
    for p in PRECISIONS {
        for s in SCALES {
            let text = text(row, p, s);
            let Ok(answer) = look_up_type(&row.system, &text) else { continue };
            let wanted = |other: &TypeRow| std::ptr::eq(other, row);
            if wanted(answer.row) || answer.advice.iter().any(|other| wanted(other)) {
                let s = if text.contains(',') { s } else { 0 };
                return Some((text, p, s, answer));
            }
        }
    }
    None
}

#[test]
fn every_row_is_found_by_a_text() {
    let rows: Vec<&TypeRow> = type_rows().collect();
    let mut missing = Vec::new();
    for row in &rows {
        let by_parent = arrow::parent(row).is_some();
        match found(row) {
            Some((text, .., answer)) if row.is_advice() => {
                assert!(answer.advice.contains(row), "{row:?} for {text}");
            }
            Some((text, .., answer)) => assert!(std::ptr::eq(answer.row, *row), "{row:?} for {text}"),
            None if by_parent => {}
            None => missing.push(format!("{} {} [{}]", row.system, row.source_type, row.condition)),
        }
    }
    assert!(missing.is_empty(), "{} of {}:\n{}", missing.len(), rows.len(), missing.join("\n"));
}

/// Rows that we do not follow; docs/rfcs/0008-type-table-differences.md says why.
const DIFFERENCES: [(&str, &str, &str); 1] = [("arrow", "Decimal256(p,s)", "s>=0, s<=38, p-s<=38")];

/// BigQuery types of the reference that depend on more than the type's text, and how many rows say so.
const OPEN: [(&str, usize); 25] = [
    ("ARRAY<STRUCT<item ARRAY<T>>>", 1),
    ("ARRAY<STRUCT<key K, value V>>", 1),
    ("ARRAY<STRUCT<key STRING, value T>>", 1),
    ("ARRAY<STRUCT<key,value>>", 4),
    ("JSON via staging", 1),
    ("NULL", 9),
    ("RANGE<T>", 1),
    ("STRUCT", 3),
    ("STRUCT<...>", 14),
    ("STRUCT<f0,f1,...>", 1),
    ("STRUCT<key_value ARRAY<STRUCT<key,value>>>", 1),
    ("STRUCT<one field per branch>", 1),
    ("TIMESTAMP(12)", 1),
    ("as T", 2),
    ("as V", 1),
    ("as cached value", 1),
    ("as type", 5),
    ("as value type", 1),
    ("digit rule", 1),
    ("ignored", 1),
    ("mode REQUIRED", 3),
    ("one row per sample: TIMESTAMP, FLOAT64", 1),
    ("per resolved type", 1),
    ("per source type", 1),
    ("per storage type", 1),
];

/// The type that a row's text means for these digits; `None` where it depends on more than the text.
fn expected(row: &TypeRow, p: i64, s: i64) -> Option<(String, Mode)> {
    let text = row.bigquery_type.split(" (").next()?;
    if let Some(item) = text.strip_prefix("ARRAY<").and_then(|rest| rest.strip_suffix('>')) {
        let item = match item {
            "T" if matches!(
                row.system.as_str(),
                "snowflake" | "avro" | "parquet" | "orc" | "json_ndjson"
            ) =>
            {
                "BOOL"
            }
            "T" => "INT64",
            item => item,
        };
        return Some((item.parse::<BigQueryType>().ok()?.to_string(), Mode::Repeated));
    }
    let digits = |letter: &str| match letter {
        "p" | "m" => Some(p.max(s)),
        "s" => Some(s),
        "p+1" => Some(p + 1),
        "s+1" => Some(s + 1),
        "d" if text.ends_with("(d,0)") => Some(p + s.abs()),
        "d" => Some(s),
        number => number.parse().ok(),
    };
    if let Some((name, inner)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let (precision, scale) = inner.split_once(',')?;
        let (precision, scale) = (digits(precision)?, digits(scale)?);
        // REST wants a digit before the point.
        let precision = if precision == scale { precision + 1 } else { precision };
        return Some((
            format!("{name}({precision},{scale})").parse::<BigQueryType>().ok()?.to_string(),
            Mode::Nullable,
        ));
    }
    Some((text.parse::<BigQueryType>().ok()?.to_string(), Mode::Nullable))
}

fn without_digits(text: &str) -> &str {
    text.split('(').next().unwrap_or(text)
}

#[test]
fn the_mapper_makes_of_every_row_what_the_row_says() {
    let mut wrong = Vec::new();
    let mut open = BTreeMap::<&str, usize>::new();
    let mut compared = 0;
    for row in type_rows() {
        let Some((text, p, s, answer)) = found(row) else { continue };
        let Some((bigquery_type, mode)) = expected(row, p, s) else {
            *open.entry(row.bigquery_type.as_str()).or_default() += 1;
            continue;
        };
        if DIFFERENCES.contains(&(&row.system, &row.source_type, &row.condition)) {
            continue;
        }
        compared += 1;
        // A decimal without digits in the row takes those of the Arrow type.
        let same = |got: &BigQueryType| {
            let got = got.to_string();
            got == bigquery_type || !bigquery_type.contains('(') && without_digits(&got) == bigquery_type
        };
        let mapping = if row.is_advice() {
            let column = answer.column_by(row, "value");
            column.and_then(|column| crate::schema::catalog::by_catalog(&column, "value".to_owned()))
        } else {
            SchemaMapper::for_type(&row.system, &text)
        };
        let said = match mapping {
            Err(error) => error.to_string(),
            // Previews are named by the lookup, not by the column.
            Ok(_)
                if row.is_advice()
                    && ["INTERVAL", "RANGE"].iter().any(|name| bigquery_type.starts_with(name)) =>
            {
                continue;
            }
            Ok(ColumnMapping { bigquery_type, mode: got, lossless, confidence, warnings, .. })
                if same(&bigquery_type)
                    && got == mode
                    && lossless == row.lossless
                    && confidence == row.confidence
                    && row.warnings.iter().all(|warning| warnings.contains(warning)) =>
            {
                continue;
            }
            Ok(mapping) => format!("{} {:?} {:?}", mapping.bigquery_type, mapping.mode, mapping.lossless),
        };
        wrong
            .push(format!("{} {text} [{}]: {said}, not {bigquery_type} {mode:?}", row.system, row.condition));
    }
    assert!(wrong.is_empty(), "{} wrong of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(open.into_iter().collect::<Vec<_>>(), OPEN, "compared: {compared}");
}

#[test]
fn the_comparisons_of_the_rows_agree_with_the_one_decimal_rule() {
    let types = [
        ("postgresql", "numeric", 1000, -84..=127),
        ("oracle", "NUMBER", 38, -84..=127),
        ("mysql", "decimal", 65, 0..=30),
        ("sqlserver", "decimal", 38, 0..=38),
        ("snowflake", "NUMBER", 38, 0..=37),
        ("avro", "decimal", 100, 0..=100),
        ("teradata", "DECIMAL", 38, 0..=38),
    ];
    for (system, name, max_precision, scales) in types {
        for precision in 1..=max_precision.min(100_i64) {
            for scale in scales.clone() {
                if !matches!(system, "postgresql" | "oracle") && scale > precision {
                    continue;
                }
                let text = format!("{name}({precision},{scale})");
                let answer = look_up_type(system, &text).unwrap();
                let rule =
                    BigQueryType::decimal(u8::try_from(precision).unwrap(), i8::try_from(scale).unwrap());
                let said = without_digits(&answer.row.bigquery_type);
                // INT64 where 18 digits suffice, for two systems that have no other integers.
                let integer = said == "INT64" && matches!(system, "oracle" | "snowflake");
                assert!(said == rule.name() || integer, "{system} {text}: {said}, the rule says {rule}");
            }
        }
    }
}

#[test]
fn spellings_of_catalogs() {
    let cases = [
        ("postgresql", "character varying(20)", "STRING"),
        ("postgresql", "numeric(12,2)", "NUMERIC(12,2)"),
        ("postgresql", "timestamp(3) with time zone", "TIMESTAMP"),
        ("postgresql", "timestamptz", "TIMESTAMP"),
        ("postgresql", "int4", "INT64"),
        ("postgresql", "integer[]", "JSON"),
        ("postgresql", "domain over numeric(5,1)", "NUMERIC(5,1)"),
        ("postgresql", "tstzmultirange", "STRING"),
        (
            "postgresql",
            "int8range",
            "RECORD<lower INT64 NULLABLE, upper INT64 NULLABLE, lower_inc BOOL NULLABLE, upper_inc BOOL NULLABLE, \
             empty BOOL NULLABLE>",
        ),
        ("mysql", "bigint(20) unsigned", "NUMERIC(20)"),
        ("mysql", "int(10) unsigned zerofill", "INT64"),
        ("mysql", "decimal(65,30)", "BIGNUMERIC(65,30)"),
        ("mysql", "decimal", "NUMERIC(10)"),
        ("mysql", "bit(8)", "INT64"),
        ("mysql", "bit", "BOOL"),
        ("mysql", "enum('x','y','z')", "STRING"),
        ("mysql", "point", "BYTES"),
        ("mariadb", "int(11)", "INT64"),
        ("mariadb", "decimal(65,38)", "BIGNUMERIC(65,38)"),
        ("sqlserver", "datetime2", "DATETIME"),
        ("sqlserver", "decimal", "NUMERIC(18)"),
        ("sqlserver", "nvarchar(max)", "STRING"),
        ("sqlserver", "timestamp", "BYTES"),
        ("azure_synapse", "int", "INT64"),
        ("oracle", "NUMBER", "STRING"),
        ("oracle", "NUMBER(10)", "INT64"),
        ("oracle", "NUMBER(10,2)", "NUMERIC(10,2)"),
        ("oracle", "NUMBER(5,-2)", "INT64"),
        ("oracle", "NUMBER(3,5)", "NUMERIC(6,5)"),
        ("oracle", "INTEGER", "BIGNUMERIC(38)"),
        ("oracle", "TIMESTAMP(6) WITH LOCAL TIME ZONE", "TIMESTAMP"),
        ("oracle", "INTERVAL DAY(2) TO SECOND(6)", "STRING"),
        ("oracle", "VARCHAR2(20 CHAR)", "STRING"),
        ("oracle", "FLOAT(126)", "STRING"),
        ("snowflake", "NUMBER(38,0)", "BIGNUMERIC(38)"),
        ("snowflake", "BIGINT", "BIGNUMERIC(38)"),
        ("snowflake", "NUMBER(12,2)", "NUMERIC(12,2)"),
        ("snowflake", "TIMESTAMP_NTZ", "DATETIME"),
        ("redshift", "character varying(256)", "STRING"),
        ("redshift", "numeric(18,2)", "NUMERIC(18,2)"),
        ("db2", "NUMERIC(31,2)", "NUMERIC(31,2)"),
        ("db2", "NUMERIC(31,0)", "BIGNUMERIC(31)"),
        ("teradata", "NUMBER", "STRING"),
        ("teradata", "PERIOD(DATE)", "RANGE<DATE>"),
        ("bigquery", "STRUCT<a INT64, b ARRAY<STRING>>", "RECORD<a INT64 NULLABLE, b STRING REPEATED>"),
        ("bigquery", "RANGE<DATETIME>", "RANGE<DATETIME>"),
        ("sqlite", "UNSIGNED BIG INT", "INT64"),
        ("sqlite", "NVARCHAR(100)", "STRING"),
        ("cassandra", "map<text, frozen<list<int>>>", "RECORD<key STRING NULLABLE, value INT64 REPEATED>"),
        ("cassandra", "list<frozen<list<int>>>", "JSON"),
        ("orc", "struct<a:int,b:decimal(10,2)>", "RECORD<a INT64 NULLABLE, b NUMERIC(10,2) NULLABLE>"),
        ("orc", "array<string>", "STRING"),
        ("orc", "decimal(38,2)", "BIGNUMERIC(38,2)"),
        ("orc", "map<string,int>", "RECORD<key STRING NULLABLE, value INT64 NULLABLE>"),
        ("avro", "map<long>", "RECORD<key STRING NULLABLE, value INT64 NULLABLE>"),
        ("snowflake", "MAP(VARCHAR, NUMBER(10,0))", "RECORD<key STRING NULLABLE, value INT64 NULLABLE>"),
        ("cassandra", "tuple<int, text>", "RECORD<f0 INT64 NULLABLE, f1 STRING NULLABLE>"),
        ("cassandra", "frozen<set<uuid>>", "STRING"),
        ("arrow", "Dictionary(Int32, Utf8)", "STRING"),
        ("avro", "null", "STRING"),
        ("mongodb", "decimal128", "STRING"),
        ("dynamodb", "SS", "STRING"),
    ];
    for (system, text, expected) in cases {
        let mapping =
            SchemaMapper::for_type(system, text).unwrap_or_else(|error| panic!("{system} {text}: {error}"));
        assert_eq!(mapping.bigquery_type.to_string(), expected, "{system} {text}");
    }
}

#[test]
fn what_is_unknown_or_says_too_little_is_refused() {
    let hint = |system, text| {
        let error = SchemaMapper::for_type(system, text).unwrap_err();
        format!("{:?}: {error}", error.kind())
    };
    assert!(hint("oracel", "NUMBER").contains("oracle"), "{}", hint("oracel", "NUMBER"));
    assert!(hint("oracle", "VARCHAR3").contains("varchar"), "{}", hint("oracle", "VARCHAR3"));
    assert!(
        hint("postgresql", "composite").starts_with("TypeMapping"),
        "{}",
        hint("postgresql", "composite")
    );
    assert!(hint("avro", "decimal").contains("precision"), "{}", hint("avro", "decimal"));
}
