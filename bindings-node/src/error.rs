//! transload's errors on their way to JavaScript.
//!
//! A napi error carries only a text. It is the JSON of the error under the key `transload`, and
//! `lib/errors.js` makes a `TransloadError` of it, in one place.

use serde_json::{Value, json};

/// The JSON form of an error with its one-line text added as `text`.
pub(crate) fn error_json(error: &transload::Error) -> Value {
    let mut value = error.to_json();
    if let Value::Object(fields) = &mut value {
        fields.insert("text".to_owned(), error.to_string().into());
    }
    value
}

/// Hands the error of a result on to JavaScript.
pub(crate) trait Throw<T> {
    /// The value, or the error as one that `lib/errors.js` understands.
    fn or_throw(self) -> napi::Result<T>;
}

impl<T> Throw<T> for transload::Result<T> {
    fn or_throw(self) -> napi::Result<T> {
        self.map_err(|error| napi::Error::from_reason(json!({"transload": error_json(&error)}).to_string()))
    }
}
