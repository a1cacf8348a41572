//! Figures of a table as SQL computes them; see `transload_core::proof`.

use transload_core::proof::{
    Checksum, ColumnFigures, SQUARE_MODULUS, SUM_MODULUS, TEXT_CHARACTERS, float_text,
};
use transload_core::{Error, Result};

/// What differs between systems.
#[derive(Debug, Clone, Copy)]
pub struct FigureDialect {
    /// An aggregate as text; NULL stays NULL.
    pub text: fn(&str) -> String,
    /// The remainder of a division, with the sign of the dividend.
    pub modulus: fn(&str, i64) -> String,
    /// The first characters of a text.
    pub left: fn(&str, usize) -> String,
}

/// One column as a query measures it. All parts are SQL expressions over the table's columns.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// NULL exactly where the column is; `None` where the system does not know NULL here.
    pub value: Option<String>,
    /// The code of the checksum; see `Measure`.
    pub code: Option<String>,
    /// What the lowest and the highest value are taken of.
    pub order: Option<Order>,
}

/// What the lowest and the highest value are taken of.
#[derive(Debug, Clone)]
pub enum Order {
    /// Of the code.
    Code,
    /// Of a float.
    Float(String),
    /// Of a text, compared by its bytes.
    Text(String),
}

/// Most columns of one query: systems limit how many values a select list may have.
pub const COLUMNS_PER_QUERY: usize = 200;

/// The select list of the inner query, which computes every expression once a row: `v0`, `k0`, `m0` and so on.
/// Where nothing but rows is counted it is a constant, since a list may not be empty.
#[must_use]
pub fn inner_list(columns: &[Measured]) -> Vec<String> {
    let mut list = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let ordered = match &column.order {
            Some(Order::Float(order) | Order::Text(order)) => Some(order),
            Some(Order::Code) | None => None,
        };
        for (name, expression) in [("v", column.value.as_ref()), ("k", column.code.as_ref()), ("m", ordered)]
        {
            list.extend(expression.map(|expression| format!("{expression} AS {name}{index}")));
        }
    }
    if list.is_empty() {
        list.push("1 AS one".to_owned());
    }
    list
}

/// The select list of the outer query: the count of rows, then what each column has, all of them texts.
#[must_use]
pub fn outer_list(dialect: FigureDialect, columns: &[Measured]) -> Vec<String> {
    let FigureDialect { text, modulus, left } = dialect;
    let mut list = vec![text("count(*)")];
    for (i, column) in columns.iter().enumerate() {
        if column.value.is_some() {
            list.push(text(&format!("count(v{i})")));
        }
        if column.code.is_some() {
            let code = format!("k{i}");
            let square = modulus(&code, SQUARE_MODULUS);
            list.push(text(&format!("sum({})", modulus(&code, SUM_MODULUS))));
            list.push(text(&format!("sum(({square}) * ({square}))")));
        }
        for function in ["min", "max"] {
            match &column.order {
                None => {}
                Some(Order::Code) => list.push(text(&format!("{function}(k{i})"))),
                Some(Order::Float(_)) => list.push(text(&format!("{function}(m{i})"))),
                Some(Order::Text(_)) => list.push(left(&format!("{function}(m{i})"), TEXT_CHARACTERS)),
            }
        }
    }
    list
}

/// The answer to a query with [`outer_list`]: rows and columns.
///
/// # Errors
/// `internal` for an answer of another form.
pub fn parse(answer: &[Option<String>], columns: &[Measured]) -> Result<(u64, Vec<ColumnFigures>)> {
    let mut answer = answer.iter();
    let mut next = || answer.next().ok_or_else(|| Error::internal("an answer with too few figures"));
    let rows = number(next()?.as_deref())?;
    let mut figures = Vec::with_capacity(columns.len());
    for column in columns {
        let mut of = ColumnFigures::default();
        if column.value.is_some() {
            of.values = Some(number(next()?.as_deref())?);
        }
        if column.code.is_some() {
            let sum = number(next()?.as_deref())?;
            of.checksum = Some(Checksum { sum, squares: number(next()?.as_deref())? });
        }
        if let Some(order) = &column.order {
            (of.min, of.max) = (extreme(order, next()?), extreme(order, next()?));
        }
        figures.push(of);
    }
    Ok((rows, figures))
}

/// A number that may be printed with a point and zeros; the sum of nothing is NULL.
fn number<T: std::str::FromStr + Default>(text: Option<&str>) -> Result<T> {
    let Some(text) = text else { return Ok(T::default()) };
    let digits = text.split_once('.').map_or(text, |(digits, _)| digits);
    digits.parse().map_err(|_| Error::internal(format!("a figure is no number: `{text}`")))
}

fn extreme(order: &Order, text: &Option<String>) -> Option<String> {
    let text = text.as_deref()?;
    match order {
        Order::Code => Some(text.split_once('.').map_or(text, |(digits, _)| digits).to_owned()),
        Order::Float(_) => text.parse().ok().filter(|float: &f64| !float.is_nan()).map(float_text),
        Order::Text(_) => Some(text.to_owned()),
    }
}
