//! Small checks that say what was expected.

use std::fmt::Debug;

use arrow_array::RecordBatch;
use futures::StreamExt as _;
use transload_core::connector::{ReadPlan, ReadSession, Split};
use transload_core::{BatchStream, Error, ErrorKind, Result};

use crate::cell::Row;
use crate::fixture::{Done, Failure};

/// Fails with `what` unless both are equal.
///
/// # Errors
/// They differ.
pub fn equal<T: PartialEq + Debug>(what: &str, actual: &T, expected: &T) -> Done {
    if actual == expected {
        return Ok(());
    }
    Err(Failure::new(format!("{what}: got {actual:?}, expected {expected:?}")))
}

/// Fails with `what` unless it holds.
///
/// # Errors
/// It does not.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Done {
    if holds { Ok(()) } else { Err(Failure::new(what())) }
}

/// The error of a result that must be one of these kinds.
///
/// # Errors
/// It succeeded, or the error is of another kind.
pub fn error_of<T>(what: &str, result: Result<T>, kinds: &[ErrorKind]) -> Done<Error> {
    match result {
        Ok(_) => Err(Failure::new(format!("{what}: it succeeded, an error of kind {kinds:?} was expected"))),
        Err(error) if kinds.contains(&error.kind()) => Ok(error),
        Err(error) => {
            Err(Failure::new(format!("{what}: kind {} where {kinds:?} was expected: {error}", error.kind())))
        }
    }
}

/// As [`error_of`], and the error tells what to do.
///
/// # Errors
/// As [`error_of`], or there is no hint.
pub fn error_with_hint<T>(what: &str, result: Result<T>, kinds: &[ErrorKind]) -> Done<Error> {
    let error = error_of(what, result, kinds)?;
    ensure(error.hint_text().is_some_and(|hint| !hint.is_empty()), || {
        format!("{what}: the error does not say what to do: {error}")
    })?;
    Ok(error)
}

/// All batches of a stream.
///
/// # Errors
/// Those of the stream.
pub async fn drain(mut batches: BatchStream) -> Done<Vec<RecordBatch>> {
    let mut all = Vec::new();
    while let Some(batch) = batches.next().await {
        all.push(batch?);
    }
    Ok(all)
}

/// The rows of a split. Checks that every batch has the schema that the contract promises.
///
/// # Errors
/// Those of the session, or a wrong schema.
pub async fn read_split(session: &dyn ReadSession, split: &Split) -> Done<Vec<Row>> {
    let promised = session.table().arrow_schema_of(&split.plan.columns)?;
    let mut rows = Vec::new();
    for batch in drain(session.read(split).await?).await? {
        equal("schema of a batch", &batch.schema(), &promised)?;
        for column in batch.columns() {
            // Kernels trust arrays; a wrong one would be undefined behaviour of what comes after.
            column.to_data().validate_full()?;
        }
        rows.extend(crate::arrow::rows(&batch)?);
    }
    Ok(rows)
}

/// The rows of a plan, split by split.
///
/// # Errors
/// Those of the session.
pub async fn read_plan(session: &dyn ReadSession, plan: &ReadPlan) -> Done<Vec<Row>> {
    let mut rows = Vec::new();
    for split in session.splits(plan).await? {
        rows.extend(read_split(session, &split).await?);
    }
    Ok(rows)
}
