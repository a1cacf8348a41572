//! Python bindings of transload: the native half of the package `transload`.
//!
//! Each module wraps the engine's type of the same name: arguments are converted, errors mapped, the GIL
//! released; what the names mean is documented once, in `python/transload/_transload.pyi`.

mod arrow;
mod connection;
mod convert;
mod error;
mod job;
mod mapper;
mod reader;
mod runner;
mod runtime;
mod schedule;

use std::sync::LazyLock;

use pyo3::prelude::*;
use transload::memory::Memory;
use transload::{JobDocument, Registry};

use crate::error::OrRaise as _;

/// The tables of `memory:` connections: one store for the whole process.
static MEMORY: LazyLock<Memory> = LazyLock::new(Memory::default);

/// The connectors of this build.
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| transload::default_registry().with(MEMORY.clone()));

/// Descriptors of all connectors of this build.
#[pyfunction]
fn connectors(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let descriptors = serde_json::to_value(REGISTRY.descriptors()).map_err(|error| {
        transload::Error::internal("the descriptors could not be serialised").source_error(error)
    });
    convert::to_py(py, &descriptors.or_raise(py)?)
}

/// JSON Schema of job documents.
#[pyfunction]
fn schema_of_job(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    convert::to_py(py, &transload::document::schema_of::<JobDocument>().to_value())
}

/// The native half of the package `transload`.
#[pymodule]
fn _transload(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", transload::VERSION)?;
    module.add_class::<connection::PyConnection>()?;
    module.add_class::<mapper::PySchemaMapper>()?;
    module.add_class::<mapper::PyTableMapping>()?;
    module.add_class::<mapper::PyMappingDiff>()?;
    module.add_class::<job::PyEtlJob>()?;
    module.add_class::<schedule::PySchedule>()?;
    module.add_class::<runner::PyRunner>()?;
    module.add_class::<runner::PyCancelHandle>()?;
    module.add_class::<runner::PyRunReport>()?;
    module.add_class::<runner::PyBatchReport>()?;
    module.add_class::<arrow::PyBatch>()?;
    module.add_class::<reader::PyReader>()?;
    module.add_function(wrap_pyfunction!(connectors, module)?)?;
    module.add_function(wrap_pyfunction!(schema_of_job, module)?)?;
    module.add_function(wrap_pyfunction!(runner::set_memory_budget, module)?)
}
