//! JSON values to Python objects and back.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde_json::{Map, Number, Value};
use transload::Error;

use crate::error::OrRaise as _;

/// Documents are not deep; a limit turns a dict that holds itself into an error.
const MOST_LEVELS: usize = 64;

/// A JSON value as Python's own types.
pub(crate) fn to_py<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(flag) => Ok(PyBool::new(py, *flag).to_owned().into_any()),
        Value::String(text) => Ok(PyString::new(py, text).into_any()),
        Value::Number(number) => number_to_py(py, number),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(to_py(py, item)?)?;
            }
            Ok(list.into_any())
        }
        Value::Object(fields) => {
            let dict = PyDict::new(py);
            for (key, field) in fields {
                dict.set_item(key, to_py(py, field)?)?;
            }
            Ok(dict.into_any())
        }
    }
}

fn number_to_py<'py>(py: Python<'py>, number: &Number) -> PyResult<Bound<'py, PyAny>> {
    if let Some(integer) = number.as_i64() {
        return Ok(integer.into_pyobject(py)?.into_any());
    }
    if let Some(integer) = number.as_u64() {
        return Ok(integer.into_pyobject(py)?.into_any());
    }
    Ok(number.as_f64().into_pyobject(py)?.into_any())
}

/// Python's own types, and paths, as a JSON value. `what` names the document in errors.
pub(crate) fn from_py(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    nested(what, object, 0)
}

fn nested(what: &str, object: &Bound<'_, PyAny>, level: usize) -> PyResult<Value> {
    let py = object.py();
    if level > MOST_LEVELS {
        return Err(Error::config(format!("{what}: nested deeper than {MOST_LEVELS} levels"))).or_raise(py);
    }
    if object.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = object.cast::<PyBool>() {
        return Ok(Value::Bool(flag.is_true()));
    }
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(Value::String(text.to_str()?.to_owned()));
    }
    if object.cast::<PyInt>().is_ok() {
        let number =
            object.extract::<i64>().map(Value::from).or_else(|_| object.extract::<u64>().map(Value::from));
        return number
            .map_err(|_| Error::config(format!("{what}: an integer does not fit 64 bits")))
            .or_raise(py);
    }
    if let Ok(float) = object.cast::<PyFloat>() {
        return Number::from_f64(float.value())
            .map(Value::Number)
            .ok_or_else(|| Error::config(format!("{what}: a number is not finite")))
            .or_raise(py);
    }
    if let Ok(dict) = object.cast::<PyDict>() {
        return dict_from_py(what, dict, level).map(Value::Object);
    }
    if object.cast::<PyList>().is_ok() || object.cast::<PyTuple>().is_ok() {
        let items = object.try_iter()?.map(|item| nested(what, &item?, level + 1));
        return items.collect::<PyResult<_>>().map(Value::Array);
    }
    if object.hasattr("__fspath__")? {
        return nested(what, &object.call_method0("__fspath__")?, level + 1);
    }
    // Never the value itself, which may be a secret.
    Err(PyTypeError::new_err(format!(
        "{what}: a value of type {} has no JSON form",
        object.get_type().name()?
    )))
}

fn dict_from_py(what: &str, dict: &Bound<'_, PyDict>, level: usize) -> PyResult<Map<String, Value>> {
    let mut fields = Map::new();
    for (key, value) in dict {
        let key = key
            .cast::<PyString>()
            .map_err(|_| PyTypeError::new_err(format!("{what}: every key must be a str")))?
            .to_str()?
            .to_owned();
        fields.insert(key, nested(what, &value, level + 1)?);
    }
    Ok(fields)
}
