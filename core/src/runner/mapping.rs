//! The mapping of a run: overrides of the job, pins of earlier loads, what a sample shows.

use arrow_schema::DataType;

use super::demotion::Demotions;
use crate::connector::{Destination, LoadRecord, ReadSession};
use crate::error::{Result, ResultExt as _};
use crate::job::{EtlJob, LoadStrategy};
use crate::schema::{
    ColumnOverride, MapperOptions, Overrides, RejectPolicy, SchemaMapper, TableMapping, TableSchema,
};

/// Whether the job leaves the layout to advice and the table is still to be made.
pub(super) async fn wants_advice(job: &EtlJob, destination: &dyn Destination) -> Result<bool> {
    Ok(job.layout().wants_advice()
        && destination.table(&job.target()).await.operation("read table")?.is_none())
}

/// How much of the source is looked at before the mapping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampling {
    /// Rows at most.
    pub(super) rows: usize,
    /// The layout follows what the values look like.
    pub(super) advise: bool,
}

/// Proposes the mapping of the job's columns; samples the source where text columns are undecided, and where
/// the layout follows what the values look like.
pub(super) async fn map(
    session: &dyn ReadSession,
    job: &EtlJob,
    last: Option<&LoadRecord>,
    sampling: Sampling,
    demotions: &mut Demotions,
) -> Result<TableMapping> {
    let chosen = session.table().project(job.columns())?;
    let mut overrides: Overrides = last.map(|last| last.pinned.clone()).unwrap_or_default();
    // Columns that are gone need no pin, and what the job says wins over a pin.
    overrides.retain(|name, _| chosen.column(name).is_ok() && !job.overrides().contains_key(name));
    let pinned: Vec<String> = overrides.keys().cloned().collect();
    for (name, wanted) in job.overrides() {
        let pin = last.and_then(|last| last.pinned.get(name));
        overrides.insert(name.clone(), with_pin(wanted, pin, job.on_reject()));
    }
    if job.on_reject() == RejectPolicy::Text {
        overrides.retain(|name, _| job.overrides().contains_key(name));
    }
    keep_needed_columns(&mut overrides, job, &chosen);
    overrides.extend(demotions.overrides());
    let undecided = chosen.columns.iter().any(|column| {
        let settled = overrides.get(&column.name).is_some_and(|o| o.drop || o.data_type.is_some());
        column.data_type == DataType::Utf8 && column.extension.is_none() && !settled
    });
    // A later load keeps the types of the first one, so it needs no sample.
    let detect_types = job.detects_types() && undecided && last.is_none();
    let sample = if detect_types || sampling.advise {
        Some(session.sample(sampling.rows).await.operation("sample")?)
    } else {
        None
    };
    let (on_reject, on_round) = (job.on_reject(), job.on_round());
    let options = MapperOptions { detect_types, on_reject, on_round, ..MapperOptions::default() };
    let mapper = SchemaMapper::new(options).with_overrides(overrides).with_added(job.added());
    let mut mapping = mapper.map(&chosen, sample.as_ref()).operation("map")?;
    for column in mapping.columns.iter_mut().filter(|column| pinned.contains(&column.source_name)) {
        "as in earlier loads of this job".clone_into(&mut column.reason);
    }
    demotions.mark(&mut mapping);
    Ok(mapping)
}

/// What the job says of a column, and the type that earlier loads found where the job gives none.
fn with_pin(wanted: &ColumnOverride, pin: Option<&ColumnOverride>, of_job: RejectPolicy) -> ColumnOverride {
    let mut wanted = wanted.clone();
    let text = wanted.on_reject.unwrap_or(of_job) == RejectPolicy::Text;
    if let Some(pin) = pin.filter(|_| wanted.data_type.is_none() && wanted.format.is_none() && !text) {
        wanted.data_type.clone_from(&pin.data_type);
        wanted.format.clone_from(&pin.format);
        if wanted.null_tokens.is_empty() {
            wanted.null_tokens.clone_from(&pin.null_tokens);
        }
    }
    wanted
}

/// Values by which rows are found again cannot become NULL.
fn keep_needed_columns(overrides: &mut Overrides, job: &EtlJob, table: &TableSchema) {
    if !job.on_reject().makes_null() {
        return;
    }
    let strategy = job.strategy();
    let told = job.soft_delete().map(|soft| soft.column.as_str());
    for name in strategy.key().iter().map(String::as_str).chain(strategy.cursor()).chain(told) {
        if table.column(name).is_ok() {
            overrides.entry(name.to_owned()).or_default().on_reject.get_or_insert(RejectPolicy::Fail);
        }
    }
}

/// The columns by which people find a row at the source.
pub(super) fn row_key<'a>(job: &'a EtlJob, table: &'a TableSchema) -> &'a [String] {
    match job.strategy() {
        LoadStrategy::Merge { key, .. } => key,
        _ if !table.primary_key.is_empty() => &table.primary_key,
        LoadStrategy::Append { cursor, .. } => std::slice::from_ref(cursor),
        LoadStrategy::Replace { .. } => &[],
    }
}
