use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::DataType;

use super::*;
use crate::schema::{
    Ambiguity, Caster, ColumnOverride, ColumnSchema, Overrides, RejectPolicy, SchemaMapper, TableRef,
    TableSchema,
};

fn of(name: &str, values: &[&str]) -> Detection {
    detect(name, values.iter().map(|value| Some(*value)))
}

/// `values` in turn, `rows` in all.
fn cycle(name: &str, values: &[&str], rows: usize) -> Detection {
    detect(name, values.iter().cycle().take(rows).map(|value| Some(*value)))
}

fn owned(name: &str, values: &[String]) -> Detection {
    detect(name, values.iter().map(|value| Some(value.as_str())))
}

fn best(detection: &Detection) -> (String, f64) {
    match detection.candidates.first() {
        Some(best) => (best.bigquery_type.to_string(), best.score),
        None => ("STRING".to_owned(), 0.0),
    }
}

/// What would be applied by itself.
fn applied(detection: &Detection) -> String {
    match detection.candidates.first() {
        Some(best) if best.score >= 0.9 && best.evidence.matched == best.evidence.distinct => {
            best.bigquery_type.to_string()
        }
        _ => "STRING".to_owned(),
    }
}

fn codes(detection: &Detection) -> Vec<&str> {
    let warnings = detection.candidates.iter().flat_map(|candidate| &candidate.warnings);
    warnings.chain(&detection.vetoes).map(|warning| warning.code.as_str()).collect()
}

fn near(score: f64, expected: f64) {
    assert!((score - expected).abs() < 0.002, "{score} is not {expected}");
}

#[test]
fn the_worked_checks_of_the_score() {
    let (kind, score) = best(&cycle("c", &["TRUE", "FALSE"], 40));
    assert_eq!(kind, "BOOL");
    near(score, 0.912);
    let (kind, score) = best(&cycle("c", &["Y", "N"], 40));
    assert_eq!(kind, "BOOL");
    near(score, 0.885);
    let (kind, score) = best(&cycle("c", &["2024-01-25", "2023-12-01", "2022-06-30", "2021-02-28"], 40));
    assert_eq!(kind, "DATE");
    near(score, 0.85);
    let ambiguous: Vec<String> =
        (0..40).map(|i| format!("{:02}/{:02}/2024", i % 12 + 1, (i * 5) % 12 + 1)).collect();
    near(best(&owned("c", &ambiguous)).1, 0.60);
    assert_eq!(best(&cycle("zip", &["02134", "00501", "10001"], 40)).0, "STRING");
    near(best(&of("c", &["2024-01-25"])).1, 0.207);
    let cards: Vec<String> = (0..40).map(|i| format!("{}", 4_111_111_111_110_000_u64 + i % 7)).collect();
    let (kind, score) = best(&owned("card_number", &cards));
    assert_eq!(kind, "INT64");
    near(score, 0.433);
    let orders: Vec<String> = (0..40).map(|i| format!("1234567890123456780{}", i % 7)).collect();
    let (kind, score) = best(&owned("order_id", &orders));
    assert_eq!(kind, "NUMERIC");
    near(score, 0.26);
    let flags = cycle("c", &["0", "1"], 40);
    let scores: Vec<(String, f64)> =
        flags.candidates.iter().map(|c| (c.bigquery_type.to_string(), c.score)).collect();
    assert_eq!((scores[0].0.as_str(), scores[1].0.as_str()), ("INT64", "BOOL"));
    near(scores[0].1, 0.867);
    near(scores[1].1, 0.50);
    assert_eq!(best(&cycle("is_open", &["0", "1"], 40)).0, "BOOL");
}

#[test]
fn the_required_column_of_the_trap_table() {
    for (name, values, kind) in [
        ("zip", &["02134", "00501"][..], "STRING"),
        ("phone", &["0612345678", "0687654321"], "STRING"),
        ("gtin", &["0012345678905"], "STRING"),
        ("c", &["01", "02", "11", "12"], "STRING"),
        ("c", &["01/25/2024", "02/03/2024", "12/31/2023"], "DATE"),
        ("c", &["25/01/2024", "03/02/2024", "31/12/2023"], "DATE"),
        ("c", &["25.01.2024", "03.02.2024"], "DATE"),
        ("c", &["20240125", "20240126"], "INT64"),
        ("c", &["1700000000", "1700000001"], "INT64"),
        ("c", &["Y", "N"], "BOOL"),
        ("c", &["t", "f"], "BOOL"),
        ("c", &["yes", "no"], "BOOL"),
        ("c", &["on", "off"], "BOOL"),
        ("c", &["0", "1"], "INT64"),
        ("c", &["1.234,56", "12,50"], "STRING"),
        ("c", &["1.10", "1.9", "2.0", "1.100"], "STRING"),
        ("c", &["1234567890123456.78"], "NUMERIC"),
        ("c", &["12345678901234567890"], "NUMERIC"),
        ("c", &["1", "NA"], "INT64"),
        ("c", &["1", "-"], "INT64"),
        ("c", &["NaN", "inf"], "FLOAT64"),
        ("c", &["0x1F"], "STRING"),
        ("c", &["2024-01-25T10:00:00Z"], "TIMESTAMP"),
        ("c", &["2024-01-25T10:00:00+02:00", "2024-01-25T10:00:00-05:00"], "TIMESTAMP"),
        ("c", &["2024-01-25T10:00:00.123456789"], "STRING"),
        ("c", &["10:00", "24:00"], "STRING"),
        ("c", &["838:59:59", "-12:00:00"], "STRING"),
        ("c", &["2024-01-25", "0000-00-00"], "DATE"),
        ("c", &["2024-01-25", "2024-02-30"], "STRING"),
        ("c", &["{\"a\":1}"], "JSON"),
    ] {
        let detection = cycle(name, values, 40);
        assert_eq!(best(&detection).0, kind, "{values:?} {detection:#?}");
    }
    // What may be applied by itself is exactly this.
    let iso: Vec<String> =
        (1..=28).flat_map(|d| (1..=2).map(move |m| format!("2024-{m:02}-{d:02}"))).collect();
    assert_eq!(applied(&owned("c", &iso)), "DATE");
    let ambiguous = cycle("c", &["01/02/2024", "03/04/2024"], 40);
    assert_eq!(applied(&ambiguous), "STRING");
    assert_eq!(ambiguous.candidates.len(), 2);
    assert!(codes(&ambiguous).contains(&"W_AMBIG"));
    let short = cycle("c", &["01/25/24", "03/04/69", "03/04/70", "01/02/99", "12/31/00"], 1000);
    assert_eq!(applied(&short), "STRING");
    assert!(codes(&cycle("c", &["1,234", "1,234,567"], 40)).contains(&"W_LOCALE"));
    // Groups of three commas can be nothing else; one comma may be a decimal point.
    let visitors: Vec<String> = (1..80).map(|i| format!("{i},{:03},{:03}", i * 7, i * 11)).collect();
    let grouped = owned("visitors", &visitors);
    assert_eq!(best(&grouped).0, "NUMERIC");
    assert!((0.7..0.9).contains(&best(&grouped).1), "{grouped:#?}");
    assert_eq!(grouped.candidates[0].recipe.format().as_deref(), Some(",."));
    assert_eq!(best(&cycle("c", &["1,234", "5,678", "910"], 40)).0, "STRING");
    assert_eq!(best(&cycle("c", &["1.234,5", "5.678,25"], 40)).0, "STRING");
    let mixed = cycle("c", &["2024-01-25T10:00:00+02:00", "2024-01-25T10:00:00-05:00"], 40);
    assert!(codes(&mixed).contains(&"W_TZ_LOST"));
    assert_eq!(codes(&cycle("c", &["2024-01-25T10:00:00.123456789"], 40)), ["W_TS_NS"]);
    assert!(codes(&cycle("c", &["2024-01-25", "0000-00-00"], 40)).contains(&"W_ZERO_DATE"));
}

#[test]
fn a_late_surprise_changes_the_answer() {
    let mut values = vec!["01/02/2024"; 30_000];
    values.push("12/25/2024");
    let detection = of("c", &values);
    assert_eq!(detection.candidates[0].recipe, Recipe::ParseDate { format: "%m/%d/%Y".into() });
    let mut values: Vec<String> = (0..300).map(|i| i.to_string()).collect();
    values.push("1.5".into());
    let detection = owned("c", &values);
    assert_eq!(detection.candidates[0].bigquery_type.to_string(), "NUMERIC");
    assert!(detection.candidates[0].score > 0.9);
    assert!(!detection.candidates.iter().any(|c| c.bigquery_type == BigQueryType::Int64));
}

#[test]
fn eight_digits_in_a_date_column() {
    let days: Vec<String> =
        (1..=28).flat_map(|d| (1..=3).map(move |m| format!("1997{m:02}{d:02}"))).collect();
    let detection = owned("date", &days);
    let date = detection.candidates.iter().find(|c| c.bigquery_type == BigQueryType::Date).unwrap();
    assert_eq!(date.recipe, Recipe::ParseDate { format: "%Y%m%d".into() });
    assert!((0.70..=0.80).contains(&date.score), "{}", date.score);
    assert!(detection.candidates.iter().any(|c| c.bigquery_type == BigQueryType::Int64));
    assert!(!owned("c", &days).candidates.iter().any(|c| c.bigquery_type == BigQueryType::Date));
    assert!(codes(&owned("c", &days)).contains(&"W_AMBIG"));
    let mut damaged = days.clone();
    damaged.push("19970230".into());
    assert!(!owned("date", &damaged).candidates.iter().any(|c| c.bigquery_type == BigQueryType::Date));
}

#[test]
fn leading_zeros_are_codes() {
    let ids: Vec<String> = (1..=100).map(|i| format!("{i:05}")).collect();
    let detection = owned("id", &ids);
    assert!(detection.candidates.is_empty());
    assert_eq!(detection.vetoes.len(), 1);
    assert_eq!(detection.vetoes[0].code, "W_CODE");
    assert!(detection.vetoes[0].text.starts_with("leading zeros"));
    for values in [&["0", "0.5", "-0.25"][..], &["0", "10", "-3"]] {
        assert!(cycle("c", values, 50).vetoes.is_empty(), "{values:?}");
    }
}

#[test]
fn numbers() {
    let many = |f: fn(u64) -> String| -> Detection { owned("c", &(0..100).map(f).collect::<Vec<_>>()) };
    assert_eq!(applied(&many(|i| i.to_string())), "INT64");
    assert_eq!(applied(&many(|i| format!("-{}", i + 1))), "INT64");
    assert_eq!(applied(&many(|i| format!("{}.{:02}", i, i % 100))), "NUMERIC");
    assert_eq!(applied(&many(|i| format!("{i}.0"))), "NUMERIC");
    assert_eq!(applied(&many(|i| format!("90233720368547758{:02}", i))), "INT64");
    assert_eq!(applied(&many(|i| format!("922337203685477580{:02}", i))), "NUMERIC");
    assert_eq!(applied(&many(|i| format!("1{}{i:02}", "0".repeat(27)))), "BIGNUMERIC");
    assert_eq!(applied(&many(|i| format!("1{}{i:02}", "0".repeat(26)))), "NUMERIC");
    assert_eq!(applied(&many(|i| format!("1{}{i:02}", "0".repeat(35)))), "BIGNUMERIC");
    assert_eq!(best(&many(|i| format!("1{}{i:02}", "0".repeat(36)))).0, "STRING");
    assert_eq!(applied(&many(|i| format!("0.12345678{i:02}"))), "BIGNUMERIC");
    assert_eq!(best(&many(|i| format!("0.{}{i:02}", "1".repeat(37)))).0, "STRING");
    // Spelt in another way than a number is written: offered only.
    for f in
        [|i| format!("+{}", i + 1), |i| format!(".{}5", i + 1), |i| format!("{i}."), |i| format!("{i}e5")]
    {
        let detection = many(f);
        assert_eq!(applied(&detection), "STRING");
        assert!(best(&detection).1 >= 0.7, "{detection:?}");
    }
    for text in
        ["1_000", "1,5 %", "(5.00)", "5-", "$5", "5%", "\u{661}\u{662}", "\u{ff11}", "\u{2212}1", "1\u{a0}0x"]
    {
        assert_eq!(best(&cycle("c", &[text, "7"], 50)).0, "STRING", "{text}");
    }
    assert_eq!(best(&many(|i| format!("{}.{:03}", i + 1, i))).1, 0.60);
    assert_eq!(
        applied(&owned("customer_id", &(0..100).map(|i| i.to_string()).collect::<Vec<_>>())),
        "STRING"
    );
    let amounts: Vec<String> =
        (0..100).map(|i| if i % 2 == 0 { format!("{i}.5") } else { format!("{i}.50") }).collect();
    assert_eq!(best(&owned("amount", &amounts)).1, 0.85);
    // GTINs, whose last digit is a check digit.
    fn gtin_of(i: u64) -> String {
        let body = 400_638_133_000 + i * 7;
        let sum: u64 = (0..12).map(|k| body / 10_u64.pow(k) % 10 * if k % 2 == 0 { 3 } else { 1 }).sum();
        format!("{body}{}", (10 - sum % 10) % 10)
    }
    assert_eq!(codes(&many(gtin_of)), ["W_CODE"]);
}

#[test]
fn booleans() {
    assert_eq!(best(&cycle("c", &["yes", "maybe", "no"], 60)).0, "STRING");
    assert_eq!(best(&cycle("c", &["Y", "N", "U"], 60)).0, "STRING");
    assert_eq!(best(&cycle("c", &["NO", "SE", "DK"], 60)).0, "STRING");
    assert_eq!(best(&cycle("c", &["true", "no"], 60)).0, "STRING");
    let all_true = cycle("c", &["true"], 1000);
    assert_eq!(best(&all_true), ("BOOL".to_owned(), 0.60));
    let mixed = cycle("c", &["True", "TRUE", "false"], 60);
    assert_eq!(best(&mixed).1, 0.85);
    let upper = cycle("has_x", &["YES", "NO"], 1000);
    assert_eq!(upper.candidates[0].recipe, Recipe::ParseBool { yes: "YES".into(), no: "NO".into() });
    assert_eq!(applied(&upper), "BOOL");
    let mut digits = ["0", "1"].repeat(500);
    digits.push("2");
    assert!(of("is_x", &digits).candidates.iter().all(|c| c.bigquery_type != BigQueryType::Bool));
}

#[test]
fn dates_and_times() {
    let format = |values: &[&str]| {
        let detection = cycle("c", values, 60);
        detection.candidates.first().and_then(|best| best.recipe.format())
    };
    for (values, expected) in [
        (&["2024-02-29", "0001-01-01", "9999-12-31"][..], Some("%Y-%m-%d")),
        (&["2024/01/25", "2024/02/03"], Some("%Y/%m/%d")),
        (&["2024.1.25"], Some("%Y.%m.%d")),
        (&["25 Jan 2024", "1 Feb 2024"], Some("%d %b %Y")),
        (&["25 January 2024", "1 May 2024"], Some("%d %B %Y")),
        (&["Jan 25, 2024", "Feb 03, 2024"], Some("%b %d, %Y")),
        (&["August 01,2017"], Some("%B %d,%Y")),
        (&["25-JAN-24"], Some("%d-%b-%y")),
        (&["1992-Nov-02"], Some("%Y-%b-%d")),
        (&["10:00", "23:59"], Some("%H:%M")),
        (&["10:00:00", "23:59:59.5"], Some("%H:%M:%S%.f")),
        (&["1:04 P.M.", "12:00 A.M."], Some("%I:%M %p")),
        (&["2024-01-25 10:00:00", "2024-03-10 02:30:00"], Some("%Y-%m-%d %H:%M:%S%.f")),
        (&["2024-01-25T10:00", "2024-03-10T02:30"], Some("%Y-%m-%dT%H:%M")),
        (&["2024-01-25T10:00:00Z"], Some("%Y-%m-%dT%H:%M:%S%.f%:z")),
        (&["2024-01-25t10:00:00z"], Some("%Y-%m-%dT%H:%M:%S%.f%:z")),
        (&["2024-01-25 10:00:00 UTC"], Some("%Y-%m-%d %H:%M:%S%.f%:z")),
        (&["2024-01-25 10:00:00+14:00", "2024-01-25 10:00:00-1200"], Some("%Y-%m-%d %H:%M:%S%.f%:z")),
        (&["12 Jun 1998 - 14:30", "3 Jul 1998 - 09:05"], Some("%d %b %Y - %H:%M")),
        (&["8/29/04 0:00", "12/31/04 13:05"], Some("%m/%d/%y %H:%M")),
        (&["10000-01-01"], None),
        (&["-0044-03-15"], None),
        (&["2023-02-29"], None),
        (&["1900-02-29"], None),
        (&["2024-13-01"], None),
        (&["13/01/2024", "01/13/2024"], None),
        (&["2016-12-31T23:59:60Z"], None),
        (&["2024-01-25T10:00:00Z", "2024-01-25T10:00:00"], None),
        (&["2024-01-25T10:00:00,5", "2024-01-25T10:00:00,25"], Some("%Y-%m-%dT%H:%M:%S,%f")),
        (&["10:00AM", "1:30PM"], Some("%I:%M%p")),
        (&["5 Sept 2024", "25 Jan 2024"], Some("%d %b %Y")),
        (&["24:00:00"], None),
        (&["2024-W05-3"], None),
        (&["2024-035"], None),
        (&["2024Q1"], None),
        (&["2010-11"], None),
        (&["25 janvier 2024"], None),
        (&["01:48.8"], None),
    ] {
        assert_eq!(format(values).as_deref(), expected, "{values:?}");
    }
    assert!(codes(&cycle("c", &["13/01/2024", "01/13/2024"], 60)).contains(&"W_AMBIG"));
    assert_eq!(best(&cycle("c", &["12/12/2012"], 60)).1, 0.60);
    let epoch = |name: &str, scale: u64| {
        owned(name, &(0..50).map(|i| ((1_700_000_000 + i * 977) * scale).to_string()).collect::<Vec<_>>())
    };
    let found = epoch("created_at", 1);
    let instant = found.candidates.iter().find(|c| c.bigquery_type == BigQueryType::Timestamp).unwrap();
    assert_eq!((&instant.recipe, instant.score), (&Recipe::EpochSeconds, 0.80));
    let found = epoch("updated", 1000);
    assert!(found.candidates.iter().any(|c| c.recipe == Recipe::EpochMillis));
    assert_eq!(epoch("c", 1).candidates.len(), 1);
}

#[test]
fn null_tokens_become_null() {
    let mut values: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    values.extend(["NA".into(), "NA".into(), "".into(), "  ".into()]);
    let detection = owned("c", &values);
    assert_eq!(detection.null_tokens, [("".to_owned(), 2), ("NA".to_owned(), 2)]);
    assert_eq!(applied(&detection), "INT64");
    assert_eq!(detection.candidates[0].null_tokens(), ["NA"]);
    assert!(codes(&detection).contains(&"W_NULL_TOKEN"));
    values.truncate(200);
    values.push(String::new());
    let detection = owned("c", &values);
    assert_eq!(applied(&detection), "INT64");
    assert!(detection.candidates[0].null_tokens().is_empty() && !codes(&detection).contains(&"W_NULL_TOKEN"));
    // Tokens that may be data as well: a few are taken for none, many are for a person to decide.
    let with_vague = |share: usize| {
        let values: Vec<String> =
            (0..500).map(|i| if i % 100 < share { "-".into() } else { i.to_string() }).collect();
        best(&owned("c", &values)).1
    };
    assert!(with_vague(20) > 0.9 && with_vague(21) <= 0.85);
    // `unknown` may be an answer.
    let asked = |other: &str| applied(&cycle("c", &["yes", "no", "yes", "no", "yes", other], 600));
    assert_eq!((asked("unknown").as_str(), asked("NA").as_str()), ("STRING", "BOOL"));
    // A date of zeros is no missing number.
    assert_eq!(best(&cycle("c", &["12", "15", "0000-00-00"], 90)).0, "STRING");
    let dates: Vec<String> = (0..99)
        .map(|i| {
            if i % 9 == 0 { "0000-00-00".into() } else { format!("2024-{:02}-{:02}", i % 12 + 1, i % 28 + 1) }
        })
        .collect();
    assert_eq!(applied(&owned("c", &dates)), "DATE");

    let countries = cycle("country", &["NA", "DE", "NO", "Null"], 100);
    assert!(countries.candidates.is_empty() && countries.vetoes.is_empty());
    let nothing = detect("c", [None, None].into_iter());
    assert_eq!((nothing.nulls, nothing.values, nothing.candidates.len()), (2, 0, 0));
    let tokens = cycle("c", &["NULL", ""], 10);
    assert_eq!((tokens.distinct, tokens.candidates.len()), (0, 0));
    let vague = detect("c", (0..100).map(|i| Some(if i % 2 == 0 { "-" } else { ["1", "2"][i / 2 % 2] })));
    assert!(best(&vague).1 < 0.85);
    let nan = cycle("c", &["1.5", "2.25", "NaN"], 90);
    assert_eq!(best(&nan).0, "FLOAT64", "{nan:#?}");
    assert_eq!(best(&cycle("c", &["12", "#######"], 90)).0, "INT64");
}

#[test]
fn json_and_uuids() {
    let documents: Vec<String> = (0..50).map(|i| format!("{{\"a\": {i}}}")).collect();
    assert_eq!(applied(&owned("c", &documents)), "JSON");
    for bad in ["{\"a\":1,}", "{'a':1}", "{\"a\":NaN}", "text", "{\"a\":18446744073709551616}"] {
        let mut values = documents.clone();
        values.push(bad.into());
        assert_eq!(best(&owned("c", &values)).0, "STRING", "{bad}");
    }
    for values in [&["\"x\"", "\"y\""][..], &["\"x\"", "{\"a\""]] {
        assert_eq!(best(&cycle("c", values, 50)).0, "STRING", "{values:?}");
    }
    let uuids =
        cycle("c", &["123e4567-e89b-12d3-a456-426614174000", "{123E4567-E89B-12D3-A456-426614174001}"], 50);
    assert_eq!((uuids.candidates.len(), uuids.semantic), (0, Some("uuid")));
    // Masses of elements, those of unstable ones in brackets: numbers with remarks, all of them JSON.
    let masses: Vec<String> =
        (0..100).map(|i| if i % 5 == 0 { format!("[{}]", 200 + i) } else { format!("{}.5", i) }).collect();
    let (kind, score) = best(&owned("mass", &masses));
    assert_eq!((kind.as_str(), applied(&owned("mass", &masses)).as_str()), ("JSON", "STRING"));
    near(score, 0.60);
}

#[test]
fn statistics() {
    for (n, high) in [(1, false), (2, false), (8, false), (34, false), (35, true), (1000, true)] {
        let values: Vec<String> = (0..n).map(|i| (i * 37 + 10).to_string()).collect();
        assert_eq!(applied(&owned("c", &values)) == "INT64", high, "{n}");
    }
    // 95% of the values must fit.
    let share = |misses: usize| {
        let mut values: Vec<String> = (0..1000 - misses).map(|i| i.to_string()).collect();
        values.extend((0..misses).map(|i| format!("x{i}")));
        best(&owned("c", &values)).0
    };
    assert_eq!((share(50).as_str(), share(51).as_str()), ("INT64", "STRING"));
    let mut values: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
    values.push("x".into());
    assert_eq!(applied(&owned("c", &values)), "STRING");
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let columns: [Vec<String>; 4] = [
        (0..500).map(|i| format!("{}.{}", i, i % 30)).collect(),
        (0..500).map(|i| format!("{}/{}/2024", i % 12 + 1, i % 11 + 1)).collect(),
        (0..500).map(|i| if i % 9 == 0 { "NA".into() } else { i.to_string() }).collect(),
        (0..500).map(|i| if i % 70 == 0 { format!("x{i}") } else { i.to_string() }).collect(),
    ];
    for column in columns {
        let mut reversed = column.clone();
        reversed.reverse();
        let mut shuffled = column.clone();
        shuffled.sort_by_key(|text| blake3::hash(text.as_bytes()).to_hex().to_string());
        assert_eq!(owned("c", &column), owned("c", &reversed));
        assert_eq!(owned("c", &column), owned("c", &shuffled));
    }
}

/// What is found must load: every candidate with its own format, and exactly its counter-examples fail.
#[test]
fn what_is_detected_loads() {
    let sample = |f: fn(u32) -> String| -> Vec<String> { (0..120).map(f).collect() };
    let columns = [
        sample(|i| format!("{}", i64::from(i) * 76_861_433_640_456_465)),
        sample(|i| format!("1{i}{}", "0".repeat(26))),
        sample(|i| format!("{i}.{:02}", i % 100)),
        sample(|i| format!("{i}.{i}e-3")),
        sample(|i| format!("{i}.{}", "1".repeat(30))),
        sample(|i| if i % 2 == 0 { "ON".into() } else { "OFF".into() }),
        sample(|i| format!("{}/{}/2024", i % 28 + 1, i % 12 + 1)),
        sample(|i| format!("{} May 20{:02}", i % 28 + 1, i % 100)),
        sample(|i| format!("{:02}.{:02}.99", i % 28 + 1, i % 12 + 1)),
        sample(|i| format!("1997{:02}{:02}", i % 12 + 1, i % 28 + 1)),
        sample(|i| format!("{}", 1_700_000_000 + i)),
        sample(|i| format!("{}:{:02} pm", i % 12 + 1, i % 60)),
        sample(|i| format!("{:02}:{:02}:00.{}", i % 24, i % 60, i)),
        sample(|i| format!("2024-01-{:02} {}:{:02}", i % 28 + 1, i % 24, i % 60)),
        sample(|i| format!("2024-01-{:02}t{:02}:{:02}:00.5+0{}:30", i % 28 + 1, i % 24, i % 60, i % 9)),
        sample(|i| format!("2024-01-{:02}T{:02}:00:00 GMT", i % 28 + 1, i % 24)),
        sample(|i| format!("Jan {}, 2024 - {}:{:02}:09", i % 28 + 1, i % 24, i % 60)),
        sample(|i| format!("[{i}, {{\"a\": null}}]")),
        sample(|i| if i == 77 { "oops".into() } else { format!(" {i} ") }),
        sample(|i| if i % 40 == 7 { "n/a".into() } else { format!("2024-01-{:02}", i % 28 + 1) }),
    ];
    let mut checked = 0;
    for values in columns {
        let detection = owned("event_date", &values);
        assert!(!detection.candidates.is_empty(), "{:?}", &values[..2]);
        let table = TableSchema::new(
            TableRef::unqualified("t"),
            vec![ColumnSchema::new("c", "text", DataType::Utf8)],
        );
        let batch =
            RecordBatch::try_new(table.arrow_schema(), vec![Arc::new(StringArray::from(values.clone()))])
                .unwrap();
        for candidate in detection.candidates {
            let format = match candidate.recipe {
                Recipe::EpochSeconds => Some("s".to_owned()),
                ref recipe => recipe.format(),
            };
            let wanted = ColumnOverride {
                data_type: Some(candidate.bigquery_type.to_string()),
                format,
                ..ColumnOverride::default()
            };
            let mapper = SchemaMapper::default().with_overrides(Overrides::from([("c".to_owned(), wanted)]));
            let mapping = mapper.map(&table, None).unwrap();
            assert_eq!(mapping.columns[0].recipe, candidate.recipe);
            let caster = Caster::new(&mapping, &batch.schema(), RejectPolicy::Null).unwrap();
            let (result, ledger) = caster.cast(&batch).unwrap();
            let misfits = values.iter().filter(|v| ["oops", "n/a"].contains(&v.as_str())).count();
            let rejected = ledger.columns[0].0.rejected();
            assert_eq!(rejected, u64::try_from(misfits).unwrap(), "{candidate:?} {ledger:?}");
            assert_eq!(result.column(0).null_count(), misfits);
            checked += 1;
        }
    }
    assert!(checked >= 20);
}

#[test]
fn evidence_names_what_was_seen() {
    let values: Vec<String> =
        (0..100).map(|i| if i % 10 == 0 { format!(" {i} ") } else { i.to_string() }).collect();
    let texts = values.iter().map(|value| Some(value.as_str())).chain([None, Some("NA")]);
    let detection = detect("c", texts);
    let evidence = &detection.candidates[0].evidence;
    assert_eq!(
        (evidence.sampled, evidence.values, evidence.distinct, evidence.matched),
        (102, 100, 100, 100)
    );
    assert_eq!((evidence.padded, evidence.ambiguity, evidence.null_tokens[0].rows), (10, None, 1));
    near(evidence.share, 1.0);
    let ambiguity = |name: &str, values: &[&str]| cycle(name, values, 60).candidates[0].evidence.ambiguity;
    assert_eq!(ambiguity("c", &["01/02/2024", "03/04/2024"]), Some(Ambiguity::DateOrder));
    assert_eq!(ambiguity("c", &["13/02/99", "03/04/98"]), Some(Ambiguity::Century));
    assert_eq!(ambiguity("c", &["01-02-03", "03-04-05"]), Some(Ambiguity::DateOrder));
    assert_eq!(ambiguity("c", &["1.234", "5.678"]), Some(Ambiguity::Grouping));
    assert_eq!(ambiguity("c", &["20240125", "20240126"]), Some(Ambiguity::NumberOrTime));
    assert_eq!(ambiguity("is_x", &["0", "1"]), Some(Ambiguity::NumberOrBoolean));
    assert_eq!(ambiguity("c", &["yes"]), Some(Ambiguity::OnePolarity));
    assert_eq!(ambiguity("c", &["5"]), Some(Ambiguity::Constant));
}

#[test]
fn rows_count_as_far_as_the_distinct_values_are_known() {
    // Twenty values in 4,000 rows are all there are; twenty in twenty rows are not.
    let quantities: Vec<String> = (0..4000).map(|i| (i * 7 % 20).to_string()).collect();
    assert!(best(&owned("quantity", &quantities)).1 > 0.98);
    near(best(&owned("quantity", &quantities[..20])).1, 0.839);
    // One wrong value in each tenth row, however few distinct ones.
    let wrong: Vec<String> =
        (0..1000).map(|i| if i % 10 == 0 { "x".into() } else { i.to_string() }).collect();
    assert_eq!(best(&owned("c", &wrong)).0, "STRING");
}

#[test]
fn digits_that_are_no_numbers() {
    let many = |f: fn(u64) -> String| -> Detection { owned("c", &(0..100).map(f).collect::<Vec<_>>()) };
    for (f, code) in [
        ((|i| format!("+4144668{:04}", i * 97)) as fn(u64) -> String, "W_CODE"),
        (|i| format!("3.{}", i % 12 + 6), "W_CODE"),
        (|i| format!("0{i}e5"), "W_CODE"),
        (|i| format!("{}.01E+11", i % 5 + 1), "W_DAMAGED"),
        (|i| format!("{i}%"), "W_TEXT_NUM"),
        (|i| format!("${i}.00"), "W_TEXT_NUM"),
        (|i| format!("({i}.00)"), "W_TEXT_NUM"),
        (|i| format!("{i} EUR"), "W_TEXT_NUM"),
        (|i| format!("Thu, {:02} Jan 2024 10:00:00 +0000", i % 28 + 1), "W_DATE_FORM"),
        (|i| format!("2024-01-{:02} 10:00:00 Europe/Zurich", i % 28 + 1), "W_DATE_FORM"),
        (|i| format!("[{:02}/Jan/2024:10:00:00 +0000]", i % 28 + 1), "W_DATE_FORM"),
    ] {
        let detection = many(f);
        assert_eq!(best(&detection).0, "STRING", "{detection:?}");
        assert!(codes(&detection).contains(&code), "{} {detection:?}", f(7));
    }
    // A number of which each is multiplied by nothing in particular has no check digit.
    assert_eq!(applied(&many(|i| format!("{}", 10_000_019 + i * 7_919))), "INT64");
    let visits: Vec<String> =
        (0..400).map(|i| if i % 10 == 0 { "-1".into() } else { (i + 5).to_string() }).collect();
    assert!(codes(&owned("c", &visits)).contains(&"W_SENTINEL"));
    let ends: Vec<String> = (0..100)
        .map(|i| {
            if i % 9 == 0 { "9999-12-31".into() } else { format!("2024-{:02}-{:02}", i % 12 + 1, i % 28 + 1) }
        })
        .collect();
    assert_eq!(applied(&owned("c", &ends)), "DATE");
    assert!(codes(&owned("c", &ends)).contains(&"W_SENTINEL"));
}

#[test]
fn doubles_that_come_back_as_they_were() {
    let many = |f: fn(u64) -> String| -> Detection { owned("c", &(0..100).map(f).collect::<Vec<_>>()) };
    assert_eq!(applied(&many(|i| format!("{}.{:04}e-0{}", i % 9 + 1, i * 83, i % 9 + 1))), "FLOAT64");
    assert_eq!(applied(&many(|i| format!("{}.5e{}", i % 9 + 1, i % 7))), "FLOAT64");
    for f in [(|i| format!("{}e5", 10 + i)) as fn(u64) -> String, |i| format!("1.{i}E5")] {
        assert_eq!((applied(&many(f)).as_str(), best(&many(f)).1), ("STRING", 0.85));
    }
}

#[test]
fn booleans_of_other_languages_are_offered() {
    for (yes, no) in [("ja", "nein"), ("Oui", "Non"), ("S\u{ed}", "No"), ("SIM", "N\u{c3}O"), ("ja", "nej")] {
        let detection = cycle("c", &[yes, no], 400);
        assert_eq!((best(&detection).0.as_str(), applied(&detection).as_str()), ("BOOL", "STRING"), "{yes}");
    }
    assert_eq!(best(&cycle("country", &["SI", "NO"], 400)).1, 0.65);
}
