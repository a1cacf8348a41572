//! What the policy for values that do not fit means for the mapping of a column.

use super::bigquery::{BigQueryType, Mode};
use super::cast::{RejectPolicy, may_reject, recipe_for};
use super::mapping::{ColumnMapping, ColumnOverride, Lossless};
use super::table::ColumnSchema;
use crate::error::{Error, ErrorKind, Result};

/// Applies the policy of the column, or else that of the job, to a mapping whose type and mode are settled.
///
/// # Errors
/// `type_mapping` where the policy and what else the job says of the column contradict each other.
pub(super) fn apply(
    mapped: &mut ColumnMapping,
    column: &ColumnSchema,
    wanted: &ColumnOverride,
    of_job: RejectPolicy,
) -> Result<()> {
    let mut policy = wanted.on_reject.unwrap_or(of_job);
    let conditional = may_reject(column, mapped);
    if policy == RejectPolicy::Text {
        let typed = wanted.data_type.is_some() || wanted.format.is_some() || !wanted.null_tokens.is_empty();
        let inferred = mapped.warnings.iter().any(|warning| warning.code == "W_INFERRED");
        let is_text = mapped.bigquery_type == BigQueryType::String && mapped.mode != Mode::Repeated;
        let of_column = wanted.on_reject.is_some();
        if typed && !is_text && (of_column || conditional) {
            return Err(cannot_stay_text(mapped));
        }
        if !is_text && (of_column || inferred || mapped.lossless == Lossless::Conditional) {
            keep_text(mapped, column)?;
        } else if conditional {
            // The source's type promises that its values fit. One that breaks the promise ends the run.
            policy = RejectPolicy::Fail;
        }
    }
    if policy.makes_null() && conditional && mapped.mode == Mode::Required {
        if wanted.mode == Some(Mode::Required) {
            return Err(Error::new(
                ErrorKind::TypeMapping,
                format!(
                    "column `{}` is to be REQUIRED, and on_reject \"{policy}\" makes a value NULL that does not \
                     fit",
                    mapped.source_name
                ),
            )
            .hint("make it NULLABLE, or set its on_reject to \"fail\""));
        }
        mapped.mode = Mode::Nullable;
    }
    let chosen = wanted.on_reject.is_some() || of_job != RejectPolicy::Fail;
    mapped.on_reject = chosen.then_some(policy);
    Ok(())
}

fn keep_text(mapped: &mut ColumnMapping, column: &ColumnSchema) -> Result<()> {
    mapped.recipe = recipe_for(&column.data_type, &BigQueryType::String, None)?;
    mapped.bigquery_type = BigQueryType::String;
    if mapped.mode == Mode::Repeated {
        mapped.mode = Mode::Nullable;
    }
    mapped.lossless = Lossless::Yes;
    mapped.null_tokens.clear();
    "text, which takes every value, as on_reject asks".clone_into(&mut mapped.reason);
    mapped.alternatives.retain(|offer| offer.bigquery_type != BigQueryType::String);
    mapped.warnings.retain(|warning| warning.code != "W_INFERRED");
    Ok(())
}

fn cannot_stay_text(mapped: &ColumnMapping) -> Error {
    let text = format!(
        "column `{}` is to be {}, and on_reject \"text\" keeps values in a STRING",
        mapped.source_name, mapped.bigquery_type
    );
    Error::new(ErrorKind::TypeMapping, text).with("column", &mapped.source_name).hint(
        "leave out the type of the column, or set its on_reject to \"fail\", \"null\" or \"quarantine\"",
    )
}

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;

    use super::*;
    use crate::schema::mapper::{MapperOptions, SchemaMapper};
    use crate::schema::mapping::{Overrides, TableMapping};
    use crate::schema::table::{TableRef, TableSchema};

    fn columns() -> Vec<ColumnSchema> {
        let mut at = ColumnSchema::new("at", "timestamp", DataType::Date32).required();
        let mut price = ColumnSchema::new("price", "numeric", DataType::Utf8);
        price.note.lossless = Lossless::Conditional;
        at.note.lossless = Lossless::Conditional;
        vec![
            ColumnSchema::new("id", "bigint", DataType::Int64).required(),
            at,
            ColumnSchema::new("day", "date", DataType::Date32).required(),
            price,
        ]
    }

    fn map(on_reject: RejectPolicy, overrides: &[(&str, ColumnOverride)]) -> Result<TableMapping> {
        let table = TableSchema::new(TableRef::unqualified("t"), columns());
        let options = MapperOptions { on_reject, ..MapperOptions::default() };
        let overrides: Overrides =
            overrides.iter().map(|(name, wanted)| ((*name).to_owned(), wanted.clone())).collect();
        SchemaMapper::new(options).with_overrides(overrides).map(&table, None)
    }

    fn of(policy: RejectPolicy) -> ColumnOverride {
        ColumnOverride { on_reject: Some(policy), ..ColumnOverride::default() }
    }

    fn types(mapping: &TableMapping) -> Vec<String> {
        mapping
            .columns
            .iter()
            .map(|column| format!("{} {}", column.bigquery_type, column.mode.as_str()))
            .collect()
    }

    #[test]
    fn only_columns_that_may_reject_are_relaxed() {
        let fail = map(RejectPolicy::Fail, &[]).unwrap();
        assert_eq!(types(&fail), ["INT64 REQUIRED", "DATE REQUIRED", "DATE REQUIRED", "STRING NULLABLE"]);
        let quarantine = map(RejectPolicy::Quarantine, &[]).unwrap();
        assert_eq!(
            types(&quarantine),
            ["INT64 REQUIRED", "DATE NULLABLE", "DATE NULLABLE", "STRING NULLABLE"]
        );
        assert_ne!(fail.hash(), quarantine.hash());
        let one = map(RejectPolicy::Null, &[("day", of(RejectPolicy::Fail))]).unwrap();
        assert_eq!(types(&one)[1..3], ["DATE NULLABLE", "DATE REQUIRED"]);
        let mode = Some(Mode::Required);
        let wanted = ColumnOverride { mode, ..of(RejectPolicy::Null) };
        let error = map(RejectPolicy::Fail, &[("day", wanted.clone())]).unwrap_err();
        assert!(error.to_string().contains("`day` is to be REQUIRED"), "{error}");
        // No value of an integer column is ever rejected.
        assert_eq!(types(&map(RejectPolicy::Fail, &[("id", wanted)]).unwrap())[0], "INT64 REQUIRED");
    }

    #[test]
    fn text_keeps_values_as_they_are() {
        let text = map(RejectPolicy::Text, &[]).unwrap();
        assert_eq!(types(&text), ["INT64 REQUIRED", "STRING REQUIRED", "DATE REQUIRED", "STRING NULLABLE"]);
        // The type promises that values fit; one that does not ends the run.
        assert_eq!(text.columns[2].on_reject, Some(RejectPolicy::Fail));
        let one = map(RejectPolicy::Fail, &[("id", of(RejectPolicy::Text))]).unwrap();
        assert_eq!(types(&one)[0], "STRING REQUIRED");
        assert_eq!(one.columns[0].lossless, Lossless::Yes);
        let typed = ColumnOverride { data_type: Some("INT64".to_owned()), ..of(RejectPolicy::Text) };
        for (policy, wanted) in [
            (RejectPolicy::Fail, typed.clone()),
            (RejectPolicy::Text, ColumnOverride { on_reject: None, ..typed }),
        ] {
            let error = map(policy, &[("price", wanted)]).unwrap_err();
            assert!(error.to_string().contains("`price` is to be INT64"), "{error}");
            assert!(error.hint_text().is_some());
        }
        let string = ColumnOverride { data_type: Some("STRING".to_owned()), ..of(RejectPolicy::Text) };
        assert_eq!(types(&map(RejectPolicy::Fail, &[("at", string)]).unwrap())[1], "STRING NULLABLE");
    }
}
