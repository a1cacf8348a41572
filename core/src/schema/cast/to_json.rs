//! Nested values to JSON text, column by column.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, StringArray};
use arrow_schema::{DataType, Field, UnionFields};

use super::to_text;
use crate::error::{Error, Result};
use crate::schema::table::{ColumnSchema, Extension};

const NULL: &str = "null";

/// The JSON texts of a column: numbers and booleans bare, all else as strings of its canonical text, NaN
/// and infinities too, since JSON has none. Maps with text keys become objects.
pub(super) fn column(array: &ArrayRef, extension: Option<Extension>) -> Result<StringArray> {
    match array.data_type() {
        DataType::Dictionary(_, value) => column(&arrow_cast::cast(array, value)?, extension),
        DataType::RunEndEncoded(_, value) => column(&arrow_cast::cast(array, value.data_type())?, extension),
        DataType::List(item) => list(array, item),
        DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => {
            list(&arrow_cast::cast(array, &DataType::List(Arc::clone(item)))?, item)
        }
        DataType::Union(branches, _) => union(array, branches),
        DataType::Struct(fields) => {
            let source = array.as_struct();
            let columns = fields
                .iter()
                .zip(source.columns())
                .map(|(field, column)| Ok((quoted(field.name())?, of_field(column, field)?)))
                .collect::<Result<Vec<_>>>()?;
            Ok(to_text::texts(array, |row, out| {
                out.push('{');
                for (i, (name, values)) in columns.iter().enumerate() {
                    member(i, name, values, row, out);
                }
                out.push('}');
            }))
        }
        DataType::Map(..) => map(array),
        data_type if data_type.is_integer() || data_type.is_decimal() || *data_type == DataType::Boolean => {
            to_text::column(array, extension)
        }
        data_type if data_type.is_floating() => {
            let values = to_text::column(array, None)?;
            Ok(to_text::texts(array, |row, out| match values.value(row) {
                special @ ("NaN" | "Infinity" | "-Infinity") => {
                    out.extend(['"']);
                    out.push_str(special);
                    out.push('"');
                }
                number => out.push_str(number),
            }))
        }
        DataType::Utf8 if extension == Some(Extension::Json) => to_text::column(array, None),
        DataType::Null => Ok(StringArray::new_null(array.len())),
        _ => {
            let values = to_text::column(array, extension)?;
            let quoted =
                values.iter().map(|value| value.map(quoted).transpose()).collect::<Result<Vec<_>>>()?;
            Ok(StringArray::from(quoted))
        }
    }
}

fn of_field(array: &ArrayRef, field: &Field) -> Result<StringArray> {
    column(array, ColumnSchema::from_field(field).extension)
}

fn quoted(text: &str) -> Result<String> {
    serde_json::to_string(text)
        .map_err(|error| Error::internal("text could not be written as JSON").source_error(error))
}

fn member(i: usize, name: &str, values: &StringArray, row: usize, out: &mut String) {
    if i > 0 {
        out.push(',');
    }
    out.push_str(name);
    out.push(':');
    out.push_str(if values.is_null(row) { NULL } else { values.value(row) });
}

fn range(start: i32, end: i32) -> std::ops::Range<usize> {
    let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
    place(start)..place(end)
}

fn list(array: &ArrayRef, item: &Field) -> Result<StringArray> {
    let source = array.as_list::<i32>();
    let values = of_field(source.values(), item)?;
    let offsets = source.value_offsets();
    Ok(to_text::texts(array, |row, out| {
        out.push('[');
        for (i, element) in range(offsets[row], offsets[row + 1]).enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(if values.is_null(element) { NULL } else { values.value(element) });
        }
        out.push(']');
    }))
}

/// Of each value, that of its branch.
fn union(array: &ArrayRef, branches: &UnionFields) -> Result<StringArray> {
    let source = array.as_union();
    let texts = branches
        .iter()
        .map(|(id, field)| Ok((id, of_field(source.child(id), field)?)))
        .collect::<Result<Vec<_>>>()?;
    let value = |row: usize| {
        let (_, values) = texts.iter().find(|(id, _)| *id == source.type_id(row))?;
        let place = source.value_offset(row);
        values.is_valid(place).then(|| values.value(place))
    };
    Ok((0..array.len()).map(value).collect())
}

fn map(array: &ArrayRef) -> Result<StringArray> {
    let source = array.as_map();
    let keys = to_text::column(source.keys(), None)?;
    let keys = keys.iter().map(|key| quoted(key.unwrap_or_default())).collect::<Result<Vec<_>>>()?;
    let value_field = match source.entries().fields().get(1) {
        Some(field) => Arc::clone(field),
        None => return Err(Error::internal("a map has no values")),
    };
    let values = of_field(source.values(), &value_field)?;
    let offsets = source.value_offsets();
    Ok(to_text::texts(array, |row, out| {
        out.push('{');
        for (i, entry) in range(offsets[row], offsets[row + 1]).enumerate() {
            member(i, &keys[entry], &values, entry, out);
        }
        out.push('}');
    }))
}
