//! Operators and functions over values.

use super::{scalar_text, scalar_time};
use crate::error::{Result, SqlError};
use crate::types::convert::{convert, integer};
use crate::types::datum::Datum;
use crate::types::{Kind, SqlType, numbers, spatial, text};

/// A value with its type.
pub(super) type Typed = (SqlType, Datum);

/// Calls a function by its name in upper case, or an operator by its sign.
pub(super) fn call(name: &str, result: &SqlType, arguments: &[Typed]) -> Result<Datum> {
    match (name, arguments) {
        ("+" | "-" | "*" | "/" | "%" | "&" | "|" | "^", [a, b]) => operate(name, result, a, b),
        ("NEGATIVE", [(_, value)]) => negative(result, value),
        ("~", [(ty, Datum::Int(value))]) => Ok(Datum::Int(match ty.kind {
            Kind::Bit => 1 - value,
            Kind::TinyInt => !value & 255,
            _ => !value,
        })),
        ("CONCAT", values) => concat(result, values),
        ("SQL_VARIANT_PROPERTY", [(_, Datum::Variant(base, value)), (_, Datum::Text(property))]) => {
            Ok(variant_property(base, value, &String::from_utf8_lossy(property)))
        }
        // All others are NULL as soon as an argument is.
        _ if arguments.iter().any(|(_, value)| value.is_null()) => Ok(Datum::Null),
        _ => of_values(name, result, arguments),
    }
}

fn of_values(name: &str, result: &SqlType, arguments: &[Typed]) -> Result<Datum> {
    if let Some(found) = scalar_text::call(name, arguments)? {
        return Ok(found);
    }
    if let Some(found) = scalar_time::call(name, result, arguments)? {
        return Ok(found);
    }
    if let Some(found) = shapes(name, arguments) {
        return Ok(found);
    }
    match (name, arguments) {
        ("HASHBYTES", [(_, Datum::Text(algorithm)), value]) => {
            hash(&String::from_utf8_lossy(algorithm), value)
        }
        ("ABS" | "CEILING" | "FLOOR" | "SIGN" | "ROUND" | "POWER" | "SQRT", _) => {
            math(name, result, arguments)
        }
        ("SHAPE", [(_, Datum::Text(shape)), (_, Datum::Int(srid))]) => shape_of(result, shape, *srid),
        ("POINT", [x, y, (_, Datum::Int(srid))]) => {
            let number = |typed: &Typed| convert(&typed.1, &typed.0, &SqlType::of(Kind::Float), 0);
            let (Datum::Float(x), Datum::Float(y)) = (number(x)?, number(y)?) else { return Ok(Datum::Null) };
            // A geography's point has its latitude first, WKT never.
            let (x, y) = if result.kind == Kind::Geography { (y, x) } else { (x, y) };
            shape_of(result, format!("POINT ({x} {y})").as_bytes(), *srid)
        }
        ("ISJSON", [(_, Datum::Text(value))]) => {
            let valid =
                serde_json::from_slice::<serde_json::Value>(value).is_ok_and(|value| !value.is_number());
            Ok(Datum::Int(i64::from(valid)))
        }
        _ => {
            Err(SqlError::unsupported(format_args!("{name} of {} arguments of these types", arguments.len())))
        }
    }
}

fn operate(sign: &str, result: &SqlType, a: &Typed, b: &Typed) -> Result<Datum> {
    if a.1.is_null() || b.1.is_null() {
        return Ok(Datum::Null);
    }
    if result.kind.is_text() && sign == "+" {
        return concat(result, &[a.clone(), b.clone()]);
    }
    if let (Datum::Bytes(a), Datum::Bytes(b), "+") = (&a.1, &b.1, sign) {
        return Ok(Datum::Bytes([a.as_slice(), b].concat()));
    }
    if result.kind.is_temporal() {
        return scalar_time::shift(sign, result, a, b);
    }
    if result.kind.is_float() { operate_floats(sign, a, b) } else { operate_exactly(sign, result, a, b) }
}

fn by_zero() -> SqlError {
    SqlError::new(8134, 16, "Divide by zero error encountered.")
}

fn operate_floats(sign: &str, a: &Typed, b: &Typed) -> Result<Datum> {
    let float = SqlType::of(Kind::Float);
    let overflow = || SqlError::overflow("float");
    let (Datum::Float(a), Datum::Float(b)) =
        (convert(&a.1, &a.0, &float, 0)?, convert(&b.1, &b.0, &float, 0)?)
    else {
        return Err(overflow());
    };
    let value = match sign {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" if b == 0.0 => return Err(by_zero()),
        "/" => a / b,
        _ => {
            let text = format!("The data types float and float are incompatible in the {sign} operator.");
            return Err(SqlError::new(402, 16, text));
        }
    };
    if value.is_finite() { Ok(Datum::Float(value)) } else { Err(overflow()) }
}

fn operate_exactly(sign: &str, result: &SqlType, a: &Typed, b: &Typed) -> Result<Datum> {
    let overflow = || SqlError::overflow(result.kind.name());
    let (x, x_scale) = exact(a).ok_or_else(overflow)?;
    let (y, y_scale) = exact(b).ok_or_else(overflow)?;
    let common = x_scale.max(y_scale);
    let aligned = || Some((numbers::rescale(x, x_scale, common)?, numbers::rescale(y, y_scale, common)?));
    let (value, scale) = match sign {
        "+" => (aligned().and_then(|(x, y)| x.checked_add(y)), common),
        "-" => (aligned().and_then(|(x, y)| x.checked_sub(y)), common),
        "*" => (x.checked_mul(y), x_scale + y_scale),
        "/" | "%" if y == 0 => return Err(by_zero()),
        "%" => (aligned().and_then(|(x, y)| x.checked_rem(y)), common),
        "/" if result.kind.is_integer() => (x.checked_div(y), 0),
        "/" => {
            // As many digits as the result has, and cut off there.
            let up = i32::from(result.scale) + i32::from(y_scale) - i32::from(x_scale);
            let raised = match u32::try_from(up) {
                Ok(up) => 10_i128.checked_pow(up).and_then(|factor| x.checked_mul(factor)),
                Err(_) => numbers::rescale(x, x_scale, result.scale + y_scale),
            };
            (raised.and_then(|x| x.checked_div(y)), result.scale)
        }
        "&" => (Some(x & y), 0),
        "|" => (Some(x | y), 0),
        _ => (Some(x ^ y), 0),
    };
    let value = value.ok_or_else(overflow)?;
    if result.kind.is_integer() {
        return integer(value, result);
    }
    let value = numbers::rescale(value, scale, result.scale).ok_or_else(overflow)?;
    if numbers::fits(value, result.precision) { Ok(Datum::Scaled(value)) } else { Err(overflow()) }
}

/// An integer, a decimal or a text that is one, without its point, and its scale.
fn exact((ty, value): &Typed) -> Option<(i128, u8)> {
    match value {
        Datum::Int(value) => Some((i128::from(*value), 0)),
        Datum::Scaled(value) => Some((*value, ty.scale)),
        Datum::Text(value) => numbers::parse(&String::from_utf8_lossy(value)),
        Datum::Bytes(bytes) => Some((bytes.iter().fold(0, |value, byte| value << 8 | i128::from(*byte)), 0)),
        _ => None,
    }
}

fn negative(result: &SqlType, value: &Datum) -> Result<Datum> {
    match value {
        Datum::Null => Ok(Datum::Null),
        Datum::Int(value) => integer(-i128::from(*value), result),
        Datum::Scaled(value) => Ok(Datum::Scaled(-value)),
        Datum::Float(value) => Ok(Datum::Float(-value)),
        _ => Err(SqlError::new(8117, 16, "Operand data type is invalid for minus operator.")),
    }
}

/// CONCAT takes NULL for an empty text; `+` does not get that far with one.
fn concat(result: &SqlType, values: &[Typed]) -> Result<Datum> {
    let mut units = Vec::new();
    for (ty, value) in values {
        if let Datum::Text(part) = convert(value, ty, &SqlType { length: crate::types::MAX, ..*result }, 0)? {
            units.extend(text::units(&part));
        }
    }
    Ok(Datum::Text(text::of_units(units)))
}

fn variant_property(base: &SqlType, value: &Datum, property: &str) -> Datum {
    match property.to_ascii_lowercase().as_str() {
        "basetype" => Datum::Text(base.kind.name().as_bytes().to_vec()),
        "precision" => Datum::Text(base.catalog_precision().to_string().into_bytes()),
        "scale" => Datum::Text(base.catalog_scale().to_string().into_bytes()),
        "maxlength" => Datum::Text(base.catalog_length().to_string().into_bytes()),
        "collation" if matches!(value, Datum::Text(_)) => {
            Datum::Text(base.collation.name().as_bytes().to_vec())
        }
        _ => Datum::Null,
    }
}

pub(super) fn int(value: &Typed) -> i64 {
    match value.1 {
        Datum::Int(value) => value,
        _ => 0,
    }
}

fn hash(algorithm: &str, (ty, value): &Typed) -> Result<Datum> {
    let binary = SqlType::with_length(Kind::VarBinary, crate::types::MAX);
    let Datum::Bytes(bytes) = convert(value, ty, &binary, 0)? else { return Ok(Datum::Null) };
    let digest = |algorithm| ring::digest::digest(algorithm, &bytes).as_ref().to_vec();
    Ok(match algorithm.to_ascii_uppercase().as_str() {
        "MD5" => Datum::Bytes(<md5::Md5 as md5::Digest>::digest(&bytes).to_vec()),
        "SHA" | "SHA1" => Datum::Bytes(digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY)),
        "SHA2_256" => Datum::Bytes(digest(&ring::digest::SHA256)),
        "SHA2_512" => Datum::Bytes(digest(&ring::digest::SHA512)),
        _ => Datum::Null,
    })
}

fn math(name: &str, result: &SqlType, arguments: &[Typed]) -> Result<Datum> {
    let Some((ty, first)) = arguments.first() else { return Ok(Datum::Null) };
    let float = SqlType::of(Kind::Float);
    Ok(match (name, first) {
        ("ABS", Datum::Int(value)) => integer(i128::from(*value).abs(), result)?,
        ("ABS", Datum::Scaled(value)) => Datum::Scaled(value.abs()),
        ("ABS", Datum::Float(value)) => Datum::Float(value.abs()),
        ("SIGN", Datum::Int(value)) => Datum::Int(value.signum()),
        ("CEILING" | "FLOOR" | "ROUND", Datum::Int(value)) => Datum::Int(*value),
        ("CEILING", Datum::Float(value)) => Datum::Float(value.ceil()),
        ("FLOOR", Datum::Float(value)) => Datum::Float(value.floor()),
        ("FLOOR" | "CEILING", Datum::Scaled(value)) => {
            let unit = numbers::power(ty.scale);
            let floor = value.div_euclid(unit);
            let exact = value.rem_euclid(unit) == 0;
            let whole = if name == "FLOOR" || exact { floor } else { floor + 1 };
            Datum::Scaled(numbers::rescale(whole, 0, result.scale).unwrap_or(0))
        }
        ("ROUND", Datum::Scaled(value)) => {
            let digits = u8::try_from(arguments.get(1).map_or(0, int)).unwrap_or(0).min(ty.scale);
            // A third argument other than 0 cuts in place of rounding.
            let rounded = match arguments.get(2).map_or(0, int) {
                0 => numbers::rescale(*value, ty.scale, digits).unwrap_or(0),
                _ => numbers::whole(*value, ty.scale - digits),
            };
            Datum::Scaled(numbers::rescale(rounded, digits, ty.scale).unwrap_or(0))
        }
        ("ROUND", Datum::Float(value)) => {
            let factor = 10_f64.powi(i32::try_from(arguments.get(1).map_or(0, int)).unwrap_or(0));
            Datum::Float((value * factor).round() / factor)
        }
        ("SQRT" | "POWER", _) => {
            let number = |typed: &Typed| match convert(&typed.1, &typed.0, &float, 0) {
                Ok(Datum::Float(value)) => value,
                _ => f64::NAN,
            };
            let base = number(&arguments[0]);
            let value =
                if name == "SQRT" { base.sqrt() } else { base.powf(arguments.get(1).map_or(1.0, number)) };
            convert(&Datum::Float(value), &float, result, 0)?
        }
        _ => return Err(SqlError::unsupported(format_args!("{name} of this type"))),
    })
}

fn shape_of(ty: &SqlType, shape: &[u8], srid: i64) -> Result<Datum> {
    let shape = spatial::normalised(&String::from_utf8_lossy(shape)).ok_or_else(|| {
        let text = "A .NET Framework error occurred during execution of user-defined routine or aggregate";
        SqlError::new(6522, 16, format!("{text} \"{}\": the text is no well-known text.", ty.kind.name()))
    })?;
    Ok(Datum::Text(format!("{srid};{shape}").into_bytes()))
}

/// Methods of CLR types.
fn shapes(name: &str, arguments: &[Typed]) -> Option<Datum> {
    let (ty, Datum::Text(value)) = arguments.first()? else { return None };
    let kept = String::from_utf8_lossy(value);
    let of_string = |text: String| Some(Datum::Text(text.into_bytes()));
    if ty.kind == Kind::HierarchyId {
        let labels =
            i64::try_from(kept.trim_matches('/').split('/').filter(|label| !label.is_empty()).count());
        return match name {
            "TOSTRING" => of_string(kept.into_owned()),
            "GETLEVEL" => labels.ok().map(Datum::Int),
            _ => None,
        };
    }
    if !ty.kind.is_udt() {
        return None;
    }
    let (srid, wkt) = spatial::parts(&kept)?;
    match name {
        "TOSTRING" | "ASTEXTZM" => of_string(wkt.to_owned()),
        "STASTEXT" => spatial::flat(wkt).and_then(of_string),
        "STASBINARY" => spatial::wkb(wkt, false).map(Datum::Bytes),
        "ASBINARYZM" => spatial::wkb(wkt, true).map(Datum::Bytes),
        "STSRID" => Some(Datum::Int(i64::from(srid))),
        "STGEOMETRYTYPE" => spatial::kind_of(wkt).map(|kind| Datum::Text(kind.as_bytes().to_vec())),
        "STISVALID" => Some(Datum::Int(1)),
        "STISEMPTY" => Some(Datum::Int(i64::from(wkt.ends_with("EMPTY")))),
        _ => None,
    }
}

/// LIKE: `%`, `_`, `[a-z]`, `[^a]` and an escape.
pub(super) fn is_like(value: &[char], pattern: &[char], escape: Option<char>) -> bool {
    match pattern {
        [] => value.iter().all(|&c| c == ' '),
        [sign, literal, rest @ ..] if Some(*sign) == escape => {
            value.first() == Some(literal) && is_like(&value[1..], rest, escape)
        }
        ['%', rest @ ..] => (0..=value.len()).any(|from| is_like(&value[from..], rest, escape)),
        ['_', rest @ ..] => !value.is_empty() && is_like(&value[1..], rest, escape),
        ['[', rest @ ..] => {
            let Some(end) = rest.iter().skip(1).position(|&c| c == ']').map(|at| at + 1) else {
                return false;
            };
            let (set, after) = (&rest[..end], &rest[end + 1..]);
            let (negated, set) = if set.first() == Some(&'^') { (true, &set[1..]) } else { (false, set) };
            value.first().is_some_and(|&c| in_set(c, set) != negated) && is_like(&value[1..], after, escape)
        }
        [literal, rest @ ..] => value.first() == Some(literal) && is_like(&value[1..], rest, escape),
    }
}

fn in_set(c: char, set: &[char]) -> bool {
    match set {
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&c) || in_set(c, rest),
        [one, rest @ ..] => *one == c || in_set(c, rest),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Typed {
        let (value, scale) = numbers::parse(text).unwrap();
        (SqlType::decimal(numbers::digits(value).max(scale + 1), scale), Datum::Scaled(value))
    }

    #[test]
    fn decimals_are_calculated_exactly() {
        let of = |sign, a, b, scale| {
            let result = SqlType::decimal(38, scale);
            match call(sign, &result, &[decimal(a), decimal(b)]) {
                Ok(Datum::Scaled(value)) => numbers::format(value, scale),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(of("+", "0.1", "0.25", 2), "0.35");
        assert_eq!(of("*", "1.5", "-1.5", 2), "-2.25");
        assert_eq!(of("/", "1", "3.0", 6), "0.333333");
        assert_eq!(of("%", "7.5", "2", 1), "1.5");
        let failed = call(
            "/",
            &SqlType::of(Kind::Int),
            &[(SqlType::of(Kind::Int), Datum::Int(1)), (SqlType::of(Kind::Int), Datum::Int(0))],
        );
        assert_eq!(failed.unwrap_err().number, 8134);
    }

    #[test]
    fn patterns_match_as_t_sql_says() {
        let is = |value: &str, pattern: &str| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            is_like(&chars(value), &chars(pattern), Some('!'))
        };
        assert!(
            is("abc", "a%")
                && is("abc", "_b_")
                && is("abc", "[a-c]b[^x]")
                && is("a%c", "a!%c")
                && is("a  ", "a")
        );
        assert!(!is("abc", "a!%") && !is("abc", "ab") && !is("abc", "[^a]%"));
    }
}
