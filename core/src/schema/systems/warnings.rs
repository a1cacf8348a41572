//! The stable warning codes and what they mean.

use crate::schema::mapping::Warning;

/// Every code that a mapping may carry, with the sentence that stands for it where nothing more exact is
/// known. Codes are never renamed.
pub const WARNING_CODES: [(&str, &str); 91] = [
    ("W_NUM_UNBOUNDED", "values may have more digits than any BigQuery number holds"),
    ("W_NUM_RANGE", "values may lie outside the range of BigQuery's decimals"),
    ("W_NUM_PARAM", "precision and scale need care at the destination"),
    ("W_NUM_NEGSCALE", "scale below zero or above the precision: normalised"),
    ("W_NUM_SPECIAL", "NaN and infinity have no place in a decimal"),
    ("W_NUM_77", "BIGNUMERIC's 77th digit is partial"),
    ("W_FLOAT_APPROX", "binary floating point: prints with other digits than the source"),
    ("W_FLOAT_NAME", "called float but stored as a decimal"),
    ("W_UNSIGNED", "unsigned: the upper half of the range needs a wider type"),
    ("W_NAN_ORDER", "NaN sorts differently in BigQuery"),
    ("W_LOCALE", "the text depends on the server's locale"),
    ("W_COUNTER", "a counter is not idempotent"),
    ("W_TS_NS", "digits below microseconds are cut off"),
    ("W_TS_PICO", "digits below microseconds need a preview type"),
    ("W_TS_RANGE", "years outside 1 to 9999 do not fit"),
    ("W_TS_INF", "infinity does not fit"),
    ("W_TS_TICK", "ticks of 1/300 second, shown rounded"),
    ("W_TZ_LOST", "the offset or the name of the zone is not kept"),
    ("W_TZ_ASSUMED", "the zone is an assumption"),
    ("W_TIME_24H", "24:00:00 does not fit"),
    ("W_TIME_RANGE", "times outside one day do not fit"),
    ("W_ZERO_DATE", "dates with zero parts do not fit"),
    ("W_DATE_HAS_TIME", "this DATE carries a time of day"),
    ("W_LEAP", "leap seconds do not fit"),
    ("W_INTERVAL_PREVIEW", "BigQuery's INTERVAL is a preview"),
    ("W_INTERVAL_RANGE", "intervals may exceed BigQuery's range"),
    ("W_UNIT", "the unit of the number is not part of its type"),
    ("W_EXCEL_1900", "the 1900 date system knows a 29th of February 1900"),
    ("W_EXCEL_1904", "the 1904 date system starts 1462 days later"),
    ("W_CHARSET", "the text may not be valid in its character set"),
    ("W_CHAR_PAD", "trailing blanks mean nothing at the source and something in BigQuery"),
    ("W_COLLATION", "comparisons become case-sensitive"),
    ("W_EMPTY_IS_NULL", "the source stores an empty text as NULL"),
    ("W_EMPTY", "a value may be empty without being NULL"),
    ("W_ENUM_ORDER", "the order of the labels is not kept"),
    ("W_SET", "a set becomes one text with commas"),
    ("W_SIZE", "values may exceed the largest row that BigQuery takes"),
    ("W_TEXT_FORM", "a text form; its order is not that of the values"),
    ("W_TEXT_NUM", "numbers that are stored as text stay text"),
    ("W_OPAQUE", "only the source's own tools read this form"),
    ("W_ENDIAN", "the order of the bytes differs between tools"),
    ("W_BINARY", "may hold bytes that are no text"),
    ("W_CODE", "a code, not a number"),
    ("W_EXTERNAL", "the value lies outside the database"),
    ("W_GEO_TEXT", "coordinates pass through decimal text"),
    ("W_ARRAY_NULL", "BigQuery stores a NULL array as an empty one and refuses NULL elements"),
    ("W_ARRAY_DIMS", "arrays of arrays have no direct form in BigQuery"),
    ("W_NESTED", "a NULL record and a record of NULLs look alike"),
    ("W_MAP", "the order of keys is not kept"),
    ("W_MIXED", "values of several types"),
    ("W_DYNAMIC", "the type belongs to each value, not to the column"),
    ("W_MISSING", "NULL and absent look alike"),
    ("W_UNORDERED", "a set has no order"),
    ("W_LIST_INFER", "lists need enableListInference when loaded from Parquet"),
    ("W_RANGE_KIND", "BigQuery's RANGE takes DATE, DATETIME and TIMESTAMP only"),
    ("W_RANGE_BOUNDS", "BigQuery's ranges include the start and exclude the end"),
    ("W_JSON_NUM", "integers beyond 64 bits and long decimals do not fit BigQuery's JSON"),
    ("W_JSON_ORDER", "white space, the order of keys and duplicate keys are not kept"),
    ("W_JSON_PARQUET", "a load from Parquet cannot fill a JSON column"),
    ("W_GEO_SRID", "only WGS 84 (SRID 4326) is a geography"),
    ("W_GEO_DIM", "only two dimensions fit"),
    ("W_GEO_PLANAR", "straight edges become geodesics"),
    ("W_GEO_AXIS", "the order of latitude and longitude differs between systems"),
    ("W_GEO_ORIENT", "the orientation of a ring decides what is inside"),
    ("W_INFERRED", "found in values, not in a catalog; every value is checked while loading"),
    ("W_AMBIG", "more than one reading fits"),
    ("W_BOOL_ASSUMED", "the source's type allows more than two values"),
    ("W_NULL_TOKEN", "some texts are read as NULL"),
    ("W_SENTINEL", "a value that often stands for none; it is kept"),
    ("W_DAMAGED", "a spreadsheet has written something else than the value"),
    ("W_DATE_FORM", "a form of dates or times that is read only if the job names it"),
    ("W_DEMOTED", "loaded as STRING, because a value did not fit the type that the sample suggested"),
    ("W_STALE", "a stored result may be out of date"),
    ("W_MERGED", "only one of the merged cells holds the value"),
    ("W_NAME", "the name changes or misleads"),
    ("W_HIDDEN", "the source hides this column or gives it special values"),
    ("W_GENERATED", "the value is copied, the expression is not"),
    ("W_REQUIRED", "REQUIRED can be relaxed later, never added"),
    ("W_CONSTRAINT", "constraints of the type are not enforced"),
    ("W_KEY_MUTABLE", "the value may change although it looks like a key"),
    ("W_ALIAS", "another name for a type that decides"),
    ("W_DIALECT", "mapped like the system that this one descends from"),
    ("W_PARAM", "parameters are not part of the Arrow type"),
    ("W_DEPRECATED", "the source has deprecated this type"),
    ("W_PREVIEW", "the type is a preview at the source"),
    ("W_UNSUPPORTED", "converted before the destination, which does not take the type itself"),
    ("W_LOGICAL_OFF", "without useAvroLogicalTypes the logical type is ignored"),
    ("W_AVRO", "an Avro export writes it differently"),
    ("W_PARTITIONS", "more partitions than one job may touch"),
    ("W_PARTITION_RANGE", "values that no partition of their own can hold"),
    ("W_DOC", "the documentation is silent on it"),
];

/// Reads a cell such as `W_TS_INF W_TS_RANGE; W_TZ_LOST: stored as UTC`.
pub(super) fn read(cell: &str) -> Vec<Warning> {
    let starts: Vec<usize> = cell.match_indices("W_").map(|(start, _)| start).collect();
    let mut warnings: Vec<Warning> = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(cell.len());
        let part = cell.get(*start..end).unwrap_or_default();
        let length = part.find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
        let (code, text) = part.split_at(length.unwrap_or(part.len()));
        let text = text.trim_matches([':', ';', ',', ' ']);
        if !warnings.iter().any(|warning| warning.code == code) {
            warnings.push(Warning::new(code, if text.is_empty() { meaning(code) } else { text }));
        }
    }
    warnings
}

/// What a code means where nothing more exact is known.
pub(in crate::schema) fn meaning(code: &str) -> &'static str {
    WARNING_CODES.iter().find(|(known, _)| *known == code).map_or("", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::systems::type_rows;

    #[test]
    fn cells_are_split_into_codes() {
        let warnings = read("W_TS_INF W_TS_RANGE; W_TZ_LOST: stored as UTC; no zone is lost");
        let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "W_TS_INF: infinity does not fit",
                "W_TS_RANGE: years outside 1 to 9999 do not fit",
                "W_TZ_LOST: stored as UTC; no zone is lost",
            ]
        );
        assert_eq!(read("W_TZ_ASSUMED if TIMESTAMP")[0].text, "if TIMESTAMP");
        assert!(read("").is_empty());
    }

    #[test]
    fn every_code_of_the_reference_is_known_and_used() {
        for (index, (code, text)) in WARNING_CODES.iter().enumerate() {
            assert!(!text.is_empty() && !WARNING_CODES[..index].iter().any(|(other, _)| other == code));
            // Those of advice, of detection and of runs.
            let elsewhere = ["W_SENTINEL", "W_DAMAGED", "W_DATE_FORM", "W_DEMOTED"];
            if code.starts_with("W_PARTITION") || elsewhere.contains(code) {
                continue;
            }
            let used = type_rows().any(|row| row.warnings.iter().any(|warning| warning.code == *code));
            assert!(used, "{code}");
        }
        for row in type_rows() {
            for warning in &row.warnings {
                assert!(!meaning(&warning.code).is_empty() && !warning.text.is_empty(), "{warning}");
            }
        }
    }
}
