//! A table being read: an Arrow stream that pulls on demand.

use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_schema::{ArrowError, FieldRef, SchemaRef};
use futures::StreamExt as _;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use pyo3_arrow::ffi::{ArrayReader, to_schema_pycapsule, to_stream_pycapsule};
use transload::batch::BatchStream;
use transload::{Error, Result, TableStream};

use crate::arrow::{PyBatch, column_names, row_field};
use crate::error::OrRaise as _;
use crate::runtime::{Engine, block_on, is_under_us, under_us};

/// A table being read.
#[pyclass(name = "RecordBatchReader", module = "transload", frozen)]
#[derive(Debug)]
pub(crate) struct PyReader {
    schema: SchemaRef,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Open(Pull),
    /// A thread is waiting for a batch.
    Busy,
    /// Read to its end, or closed.
    Over,
    /// A batch could not be read, or what a signal handler raised ended the wait for it.
    Failed,
    /// Another library has the stream.
    HandedOver,
}

impl PyReader {
    pub(crate) fn new(py: Python<'_>, stream: TableStream) -> PyResult<Self> {
        let schema = stream.schema().clone();
        let pull = Pull { batches: Some(stream.into_batches()), engine: Engine::get(py)? };
        Ok(Self { schema, state: Mutex::new(State::Open(pull)) })
    }

    /// Sets the state and gives the old one. The lock is never held while something waits.
    fn replace(&self, state: State) -> State {
        std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state)
    }

    /// The stream, if nobody else has it; `next` becomes the state. `None` if there is nothing more to read.
    fn take(&self, next: State) -> PyResult<Option<Pull>> {
        let used = match self.replace(next) {
            State::Open(pull) => return Ok(Some(pull)),
            State::Over => {
                self.replace(State::Over);
                return Ok(None);
            }
            // An end would say that these were all rows.
            State::Failed => {
                self.replace(State::Failed);
                "reading this table failed before its end; read the table again"
            }
            State::Busy => {
                self.replace(State::Busy);
                "another thread is reading this table"
            }
            State::HandedOver => {
                self.replace(State::HandedOver);
                "the stream was handed over to another library already; read the table again"
            }
        };
        Err(PyRuntimeError::new_err(used))
    }
}

#[pymethods]
impl PyReader {
    #[getter]
    fn column_names(&self) -> Vec<String> {
        column_names(&self.schema)
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyBatch>> {
        let Some(mut pull) = self.take(State::Busy)? else { return Ok(None) };
        let next = pull.next_batch(py).and_then(|next| next.transpose().or_raise(py));
        let then = match &next {
            Ok(Some(_)) => State::Open(pull),
            Ok(None) => State::Over,
            Err(_) => State::Failed,
        };
        // `close` in the meantime wins.
        if let State::Busy = self.replace(State::Over) {
            self.replace(then);
        }
        Ok(next?.map(PyBatch))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        Ok(to_schema_pycapsule(py, self.schema.as_ref())?)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let pull = self.take(State::HandedOver)?;
        let stream =
            Stream { pull, failed: None, field: row_field(&self.schema), python: thread::current().id() };
        Ok(to_stream_pycapsule(py, Box::new(stream), requested_schema)?)
    }

    fn close(&self) {
        match self.replace(State::Over) {
            State::HandedOver => drop(self.replace(State::HandedOver)),
            closed => drop(closed),
        }
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyAny>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        format!("RecordBatchReader({})", column_names(&self.schema).join(", "))
    }
}

/// The batches, and the runtime that they arrive on.
struct Pull {
    batches: Option<BatchStream>,
    engine: Engine,
}

impl Pull {
    fn batches(&mut self) -> Result<&mut BatchStream> {
        match &mut self.batches {
            Some(batches) if self.engine.is_here() => Ok(batches),
            _ => Err(Error::unsupported("this table is being read by the process that was forked")
                .hint("begin to read after the fork")),
        }
    }

    fn next_batch(&mut self, py: Python<'_>) -> PyResult<Option<Result<RecordBatch>>> {
        // A library that pulls in a loop may run no Python code for long, and each wait may be short.
        under_us(|| py.check_signals())?;
        match self.batches() {
            Ok(batches) => block_on(py, batches.next()),
            Err(error) => Ok(Some(Err(error))),
        }
    }
}

impl std::fmt::Debug for Pull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pull")
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        if let Some(batches) = self.batches.take() {
            self.engine.drop_inside(batches);
        }
    }
}

/// What another library pulls from, through the C stream interface.
struct Stream {
    pull: Option<Pull>,
    /// Why it failed. Whoever pulls again hears it again: an end would say that these were all rows.
    failed: Option<String>,
    field: FieldRef,
    /// The thread that asked for the stream.
    python: ThreadId,
}

impl Stream {
    /// On the thread that asked for the stream the GIL is released and Ctrl-C noticed. Other threads may be
    /// the library's own, waited for by a thread that holds the GIL, so they never touch it; nor does Python
    /// code that we called, where nobody knows who holds it.
    fn next_batch(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        if let Some(text) = &self.failed {
            return Some(Err(ArrowError::ExternalError(text.as_str().into())));
        }
        let pull = self.pull.as_mut()?;
        let next = if thread::current().id() == self.python && !is_under_us() {
            match Python::try_attach(|py| {
                pull.next_batch(py).map_err(|interrupt| interrupted(py, &interrupt))
            }) {
                Some(Ok(next)) => next,
                Some(Err(error)) => Some(Err(error)),
                None => Some(Err(Error::cancelled().hint("the interpreter is shutting down"))),
            }
        } else {
            match pull.batches() {
                Ok(_) => {
                    let engine = pull.engine.clone();
                    pull.batches.as_mut().and_then(|batches| engine.wait_outside(batches.next()))
                }
                Err(error) => Some(Err(error)),
            }
        };
        if !matches!(next, Some(Ok(_))) {
            self.pull = None;
        }
        next.map(|next| {
            next.map_err(|error| {
                // The C interface carries errors as texts that end at a NUL.
                let text = error.to_string().replace('\0', " ");
                self.failed = Some(text.clone());
                ArrowError::ExternalError(text.into())
            })
        })
    }
}

/// The C interface cannot carry an exception. Python is told of the interrupt again and raises it with the
/// next code that it runs, so that nobody takes it for an error of the library.
fn interrupted(py: Python<'_>, exception: &PyErr) -> Error {
    if !exception.is_instance_of::<PyKeyboardInterrupt>(py) {
        return Error::cancelled().with("signal", exception);
    }
    // The last that is done with Python: whatever runs after it would meet the interrupt in our stead.
    match py.import("_thread").and_then(|module| module.call_method0("interrupt_main")) {
        Ok(_) => Error::cancelled(),
        Err(error) => Error::internal("an interrupt could not be handed on").source_error(error),
    }
}

impl Iterator for Stream {
    type Item = Result<ArrayRef, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_batch()?;
        Some(next.map(|batch| std::sync::Arc::new(StructArray::from(batch)) as ArrayRef))
    }
}

impl ArrayReader for Stream {
    fn field(&self) -> FieldRef {
        self.field.clone()
    }
}
