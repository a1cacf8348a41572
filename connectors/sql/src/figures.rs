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
    /// For decimals whose code passes the numbers of the system: `code` is only what stands before the point, and
    /// this what stands behind it, as an integer of so many digits. Both have the sign of the decimal.
    pub fraction: Option<(String, u8)>,
    /// What the lowest and the highest value are taken of.
    pub order: Option<Order>,
}

/// What the lowest and the highest value are taken of.
#[derive(Debug, Clone)]
pub enum Order {
    /// Of the code.
    Code,
    /// Of a decimal with so many digits behind the point.
    Decimal(String, u8),
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
            Some(Order::Decimal(order, _) | Order::Float(order) | Order::Text(order)) => Some(order),
            Some(Order::Code) | None => None,
        };
        let fraction = column.fraction.as_ref().map(|(fraction, _)| fraction);
        let parts =
            [("v", column.value.as_ref()), ("k", column.code.as_ref()), ("f", fraction), ("m", ordered)];
        for (name, expression) in parts {
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
            let rest = |of: i64| {
                let rest = modulus(&format!("k{i}"), of);
                let Some((_, digits)) = &column.fraction else { return rest };
                // Exact, and never past 2^63: both factors are below 2^31.
                let power = 10_i64.saturating_pow(u32::from(*digits)) % of;
                modulus(&format!("({rest} * {power} + f{i})"), of)
            };
            let square = rest(SQUARE_MODULUS);
            list.push(text(&format!("sum({})", rest(SUM_MODULUS))));
            list.push(text(&format!("sum(({square}) * ({square}))")));
        }
        for function in ["min", "max"] {
            match &column.order {
                None => {}
                Some(Order::Code) => list.push(text(&format!("{function}(k{i})"))),
                Some(Order::Decimal(..) | Order::Float(_)) => list.push(text(&format!("{function}(m{i})"))),
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
        Order::Decimal(_, digits) => Some(unscaled(text, usize::from(*digits))),
        Order::Float(_) => text.parse().ok().filter(|float: &f64| !float.is_nan()).map(float_text),
        Order::Text(_) => Some(text.to_owned()),
    }
}

/// `-1.5` with two digits behind the point is `-150`.
fn unscaled(text: &str, digits: usize) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number = format!("{whole}{fraction:0<digits$.digits$}");
    match number.trim_start_matches('0') {
        "" => "0".to_owned(),
        number => format!("{sign}{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_integers() {
        for (text, digits, number) in [
            ("-1.5", 2, "-150"),
            ("0", 9, "0"),
            ("0.00", 2, "0"),
            ("-0.01", 2, "-1"),
            ("12345.670000000", 2, "1234567"),
            ("7", 0, "7"),
        ] {
            assert_eq!(unscaled(text, digits), number, "{text}");
        }
    }

    #[test]
    fn lists_and_answers_agree() {
        let dialect = FigureDialect {
            text: str::to_owned,
            modulus: |code, modulus| format!("{code} % {modulus}"),
            left: |text, characters| format!("left({text}, {characters})"),
        };
        let columns = [
            Measured { value: Some("a".into()), ..Measured::default() },
            Measured {
                value: Some("b".into()),
                code: Some("trunc(b)".into()),
                fraction: Some(("rest(b)".into(), 2)),
                order: Some(Order::Decimal("b".into(), 2)),
            },
        ];
        assert_eq!(
            inner_list(&columns),
            ["a AS v0", "b AS v1", "trunc(b) AS k1", "rest(b) AS f1", "b AS m1"]
        );
        let outer = outer_list(dialect, &columns);
        assert_eq!(outer[3], "sum((k1 % 2147483647 * 100 + f1) % 2147483647)");
        let answer = ["3", "2", "1", "9.000", "81", "-0.50", "1"].map(|text| Some(text.to_owned()));
        let (rows, figures) = parse(&answer, &columns).unwrap();
        assert_eq!((rows, figures[0].values, figures[1].values), (3, Some(2), Some(1)));
        assert_eq!(figures[1].checksum, Some(Checksum { sum: 9, squares: 81 }));
        assert_eq!((figures[1].min.as_deref(), figures[1].max.as_deref()), (Some("-50"), Some("100")));
        assert!(parse(&answer[..3], &columns).is_err());
    }
}
