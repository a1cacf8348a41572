//! Values as texts: answers of the catalog, bounds of cursors, and what `sql_variant` holds.

use crate::collation::{CodePage, append_utf16};
use crate::temporal::{date, datetime, datetime2, datetimeoffset, put_date, put_time, smalldatetime, time};
use crate::wire::{Shape, WireType, ty};
use transload_sql::wire::Decoded;

const CUT: &str = "a value that is cut";

/// A value as a text with all of its digits. Answers of the catalog are ours, so what is no text in them is replaced.
pub(crate) fn text_of(ty: &WireType, bytes: &[u8]) -> Decoded<String> {
    let mut text = Vec::new();
    put_text(ty, bytes, &mut text, true)?;
    String::from_utf8(text).map_err(|_| "text that is not UTF-8")
}

/// Appends the same.
pub(crate) fn put_text(ty: &WireType, bytes: &[u8], to: &mut Vec<u8>, replace: bool) -> Decoded<()> {
    let number =
        |to: &mut Vec<u8>, number: &dyn ToString| to.extend_from_slice(number.to_string().as_bytes());
    match ty.kind {
        ty::INT_N | ty::INT1 | ty::INT2 | ty::INT4 | ty::INT8 | ty::BIT | ty::BIT_N => {
            number(to, &integer(bytes)?);
        }
        ty::REAL | ty::FLOAT | ty::FLOAT_N => match (bytes.try_into(), bytes.try_into()) {
            (Ok(single), _) => number(to, &f32::from_le_bytes(single)),
            (_, Ok(double)) => number(to, &f64::from_le_bytes(double)),
            _ => return Err(CUT),
        },
        ty::DECIMAL_N | ty::NUMERIC_N => put_decimal(to, decimal(bytes)?, ty.scale),
        ty::MONEY | ty::SMALLMONEY | ty::MONEY_N => put_decimal(to, money(bytes)?, 4),
        ty::GUID => put_guid(to, bytes)?,
        ty::DATE => put_date(to, date(bytes)?.into()),
        ty::TIME => put_time(to, time(bytes, ty.scale)?, ty.scale),
        ty::DATETIME2 => put_datetime2(to, bytes, ty.scale)?,
        ty::DATETIMEOFFSET => put_datetimeoffset(to, bytes, ty.scale)?,
        ty::DATETIME | ty::SMALLDATETIME | ty::DATETIME_N => {
            let (day, ticks, digits) = match bytes.len() {
                8 => datetime(bytes).map(|(day, millis)| (day, millis * 10_000, 3))?,
                _ => smalldatetime(bytes).map(|(day, minutes)| (day, minutes * 600_000_000, 0))?,
            };
            put_date(to, day);
            to.push(b' ');
            put_time(to, ticks, digits);
        }
        ty::VARCHAR | ty::CHAR | ty::TEXT => CodePage::of(ty.collation).append(bytes, to, replace)?,
        ty::NVARCHAR | ty::NCHAR | ty::NTEXT | ty::XML => append_utf16(bytes, to, replace)?,
        ty::VARIANT => {
            let (of, value) = variant(bytes)?;
            put_text(&of, value, to, replace)?;
        }
        _ => put_hex(to, bytes),
    }
    Ok(())
}

/// `0x00ff`
fn put_hex(to: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    to.extend_from_slice(b"0x");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            to.extend(DIGITS.get(usize::from(digit)));
        }
    }
}

fn integer(bytes: &[u8]) -> Decoded<i64> {
    Ok(match *bytes {
        [byte] => byte.into(),
        [a, b] => i16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => return Err(CUT),
    })
}

/// A sign and up to 128 bits.
#[inline]
pub(crate) fn decimal(bytes: &[u8]) -> Decoded<i128> {
    let Some((sign, digits)) = bytes.split_first() else { return Err(CUT) };
    let magnitude = if let Ok(eight) = digits.try_into() {
        u128::from(u64::from_le_bytes(eight))
    } else if let Ok(four) = digits.try_into() {
        u128::from(u32::from_le_bytes(four))
    } else if let [a, b, c, d, e, f, g, h, i, j, k, l] = *digits {
        u128::from_le_bytes([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0])
    } else if let Ok(sixteen) = digits.try_into() {
        u128::from_le_bytes(sixteen)
    } else {
        return Err(CUT);
    };
    let number = i128::try_from(magnitude).map_err(|_| "a decimal beyond its declared precision")?;
    Ok(if *sign == 0 { -number } else { number })
}

/// Ten-thousandths: of eight bytes the upper four come first.
#[inline]
pub(crate) fn money(bytes: &[u8]) -> Decoded<i128> {
    Ok(match *bytes {
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        [e, f, g, h, a, b, c, d] => i64::from_le_bytes([a, b, c, d, e, f, g, h]).into(),
        _ => return Err(CUT),
    })
}

fn put_decimal(to: &mut Vec<u8>, number: i128, scale: u8) {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    if number < 0 {
        to.push(b'-');
    }
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    to.extend_from_slice(whole.as_bytes());
    if scale > 0 {
        to.push(b'.');
        to.extend_from_slice(fraction.as_bytes());
    }
}

/// `0e984725-c51c-4bf4-9960-e1c80e27aba0`: the first three groups are little-endian.
#[inline]
pub(crate) fn put_guid(to: &mut Vec<u8>, bytes: &[u8]) -> Decoded<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let bytes: &[u8; 16] = bytes.try_into().map_err(|_| CUT)?;
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, place) in ORDER.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        let byte = bytes.get(*place).copied().unwrap_or_default();
        for digit in [byte >> 4, byte & 15] {
            if let (Some(to), Some(digit)) = (text.get_mut(at), DIGITS.get(usize::from(digit))) {
                *to = *digit;
            }
            at += 1;
        }
    }
    to.extend_from_slice(&text);
    Ok(())
}

/// `2024-01-31 10:00:00.1234567`
pub(crate) fn put_datetime2(to: &mut Vec<u8>, bytes: &[u8], scale: u8) -> Decoded<()> {
    let (day, ticks) = datetime2(bytes, scale)?;
    put_date(to, day.into());
    to.push(b' ');
    put_time(to, ticks, scale);
    Ok(())
}

/// `2024-01-31 10:00:00.1234567 +01:00`
fn put_datetimeoffset(to: &mut Vec<u8>, bytes: &[u8], scale: u8) -> Decoded<()> {
    const DAY: i64 = 864_000_000_000;
    let (day, ticks, offset) = datetimeoffset(bytes, scale)?;
    let local = ticks + i64::from(offset) * 600_000_000;
    put_date(to, i64::from(day) + local.div_euclid(DAY));
    to.push(b' ');
    put_time(to, local.rem_euclid(DAY), scale);
    let (sign, minutes) =
        if offset < 0 { ('-', offset.unsigned_abs()) } else { ('+', offset.unsigned_abs()) };
    to.extend_from_slice(format!(" {sign}{:02}:{:02}", minutes / 60, minutes % 60).as_bytes());
    Ok(())
}

/// What a `sql_variant` holds: its own type, and the bytes of the value.
pub(crate) fn variant(bytes: &[u8]) -> Decoded<(WireType, &[u8])> {
    let [kind, count, rest @ ..] = bytes else { return Err(CUT) };
    let (properties, value) = rest.split_at_checked(usize::from(*count)).ok_or(CUT)?;
    let mut of = WireType::new(*kind, Shape::Fixed(value.len()), value.len());
    match (*kind, properties) {
        (ty::DECIMAL_N | ty::NUMERIC_N, [precision, scale]) if scale <= precision && *precision <= 38 => {
            (of.precision, of.scale) = (*precision, *scale);
        }
        (ty::TIME | ty::DATETIME2 | ty::DATETIMEOFFSET, [scale]) if *scale <= 7 => of.scale = *scale,
        (ty::VARCHAR | ty::CHAR | ty::NVARCHAR | ty::NCHAR, [a, b, c, d, e, _, _]) => {
            of.collation = [*a, *b, *c, *d, *e];
        }
        (ty::VARBINARY | ty::BINARY, [_, _]) => {}
        (_, []) if variant_name(*kind).is_some() => {}
        _ => return Err("a sql_variant of unknown type"),
    }
    Ok((of, value))
}

/// What `SQL_VARIANT_PROPERTY(..., 'BaseType')` calls a type.
pub(crate) fn variant_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        ty::INT1 => "tinyint",
        ty::BIT => "bit",
        ty::INT2 => "smallint",
        ty::INT4 => "int",
        ty::INT8 => "bigint",
        ty::REAL => "real",
        ty::FLOAT => "float",
        ty::MONEY => "money",
        ty::SMALLMONEY => "smallmoney",
        ty::DATETIME => "datetime",
        ty::SMALLDATETIME => "smalldatetime",
        ty::GUID => "uniqueidentifier",
        ty::DATE => "date",
        ty::TIME => "time",
        ty::DATETIME2 => "datetime2",
        ty::DATETIMEOFFSET => "datetimeoffset",
        ty::DECIMAL_N => "decimal",
        ty::NUMERIC_N => "numeric",
        ty::VARBINARY => "varbinary",
        ty::BINARY => "binary",
        ty::VARCHAR => "varchar",
        ty::CHAR => "char",
        ty::NVARCHAR => "nvarchar",
        ty::NCHAR => "nchar",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: u8, scale: u8, bytes: &[u8]) -> String {
        let ty = WireType { scale, ..WireType::new(kind, Shape::Counted8, 0) };
        text_of(&ty, bytes).unwrap()
    }

    #[test]
    fn values_have_texts() {
        assert_eq!(text(ty::INT_N, 0, &[255]), "255");
        assert_eq!(text(ty::INT_N, 0, &i64::MIN.to_le_bytes()), i64::MIN.to_string());
        assert_eq!(text(ty::DECIMAL_N, 2, &[0, 5, 0, 0, 0]), "-0.05");
        assert_eq!(
            text(ty::DECIMAL_N, 0, &[1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            ((1_u128 << 88) + 5).to_string()
        );
        let least = i64::MIN.to_le_bytes();
        assert_eq!(text(ty::MONEY, 0, &[&least[4..], &least[..4]].concat()), "-922337203685477.5808");
        assert_eq!(text(ty::SMALLMONEY, 0, &i32::MAX.to_le_bytes()), "214748.3647");
        let guid: Vec<u8> = (0..16).collect();
        assert_eq!(text(ty::GUID, 0, &guid), "03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_eq!(text(ty::VARBINARY, 0, &[0, 255]), "0x00ff");
        // Noon in UTC on 1970-01-01, which is half past five in the afternoon in India.
        let noon = [
            &432_000_000_000_u64.to_le_bytes()[..5],
            &719_162_u32.to_le_bytes()[..3],
            &330_i16.to_le_bytes(),
        ];
        assert_eq!(text(ty::DATETIMEOFFSET, 7, &noon.concat()), "1970-01-01 17:30:00.0000000 +05:30");
        assert_eq!(text(ty::DATETIME, 0, &[0, 0, 0, 0, 1, 0, 0, 0]), "1900-01-01 00:00:00.003");
        for (kind, bytes) in
            [(ty::INT_N, 3), (ty::GUID, 15), (ty::DECIMAL_N, 4), (ty::MONEY, 5), (ty::FLOAT, 2)]
        {
            let ty = WireType::new(kind, Shape::Counted8, 0);
            assert!(text_of(&ty, &vec![1; bytes]).is_err(), "{kind:#x}");
        }
    }

    #[test]
    fn variants_say_what_they_hold() {
        let (of, value) = variant(&[ty::DECIMAL_N, 2, 10, 2, 1, 5, 0, 0, 0]).unwrap();
        assert_eq!(
            (variant_name(of.kind), text_of(&of, value).unwrap()),
            (Some("decimal"), "0.05".to_owned())
        );
        let (of, value) = variant(&[ty::VARCHAR, 7, 9, 4, 0xd0, 0, 0, 20, 0, 0xe9]).unwrap();
        assert_eq!(text_of(&of, value).unwrap(), "\u{e9}");
        for bytes in [&[][..], &[ty::INT4], &[0xf1, 0], &[ty::DECIMAL_N, 2, 2, 3, 1], &[ty::TIME, 1, 9]] {
            assert!(variant(bytes).is_err());
        }
    }
}
