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
        let typed = wanted.data_type.is_some() || wanted.format.is_some();
        let is_text = mapped.bigquery_type == BigQueryType::String && mapped.mode != Mode::Repeated;
        let of_column = wanted.on_reject.is_some();
        if typed && !is_text && (of_column || conditional) {
            return Err(cannot_stay_text(mapped));
        }
        if !is_text && (of_column || mapped.lossless == Lossless::Conditional) {
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
