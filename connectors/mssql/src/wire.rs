//! Columns of results: types on the wire and the layout of their values.

use transload_core::Result;

use crate::protocol::{Parser, broken};

/// First bytes of types.
pub(crate) mod ty {
    pub(crate) const NULL: u8 = 0x1f;
    pub(crate) const IMAGE: u8 = 0x22;
    pub(crate) const TEXT: u8 = 0x23;
    pub(crate) const GUID: u8 = 0x24;
    pub(crate) const INT_N: u8 = 0x26;
    pub(crate) const DATE: u8 = 0x28;
    pub(crate) const TIME: u8 = 0x29;
    pub(crate) const DATETIME2: u8 = 0x2a;
    pub(crate) const DATETIMEOFFSET: u8 = 0x2b;
    pub(crate) const INT1: u8 = 0x30;
    pub(crate) const BIT: u8 = 0x32;
    pub(crate) const INT2: u8 = 0x34;
    pub(crate) const INT4: u8 = 0x38;
    pub(crate) const SMALLDATETIME: u8 = 0x3a;
    pub(crate) const REAL: u8 = 0x3b;
    pub(crate) const MONEY: u8 = 0x3c;
    pub(crate) const DATETIME: u8 = 0x3d;
    pub(crate) const FLOAT: u8 = 0x3e;
    pub(crate) const VARIANT: u8 = 0x62;
    pub(crate) const NTEXT: u8 = 0x63;
    pub(crate) const BIT_N: u8 = 0x68;
    pub(crate) const DECIMAL_N: u8 = 0x6a;
    pub(crate) const NUMERIC_N: u8 = 0x6c;
    pub(crate) const FLOAT_N: u8 = 0x6d;
    pub(crate) const MONEY_N: u8 = 0x6e;
    pub(crate) const DATETIME_N: u8 = 0x6f;
    pub(crate) const SMALLMONEY: u8 = 0x7a;
    pub(crate) const INT8: u8 = 0x7f;
    pub(crate) const VARBINARY: u8 = 0xa5;
    pub(crate) const VARCHAR: u8 = 0xa7;
    pub(crate) const BINARY: u8 = 0xad;
    pub(crate) const CHAR: u8 = 0xaf;
    pub(crate) const NVARCHAR: u8 = 0xe7;
    pub(crate) const NCHAR: u8 = 0xef;
    pub(crate) const UDT: u8 = 0xf0;
    pub(crate) const XML: u8 = 0xf1;
}

/// What stands for NULL in place of a length of two bytes, and for "any length" in place of a column's.
const NONE16: u16 = 0xffff;

/// The layout of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// So many bytes.
    Fixed(usize),
    /// A length in one byte, 0 for NULL.
    Counted8,
    /// A length in two bytes, 65535 for NULL.
    Counted16,
    /// A length in four bytes, 0 for NULL.
    Counted32,
    /// A text pointer and a timestamp ahead of a length in four bytes; no pointer for NULL.
    Pointed,
    /// Pieces, each with its length, up to an empty one.
    Pieces,
}

/// A type as a result describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WireType {
    pub(crate) kind: u8,
    /// Most bytes of a value; 0 where the type does not say.
    pub(crate) size: usize,
    pub(crate) precision: u8,
    pub(crate) scale: u8,
    pub(crate) collation: [u8; 5],
    pub(crate) shape: Shape,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) ty: WireType,
}

impl WireType {
    pub(crate) const fn new(kind: u8, shape: Shape, size: usize) -> Self {
        Self { kind, size, precision: 0, scale: 0, collation: [0; 5], shape }
    }

    /// The length of a type that always has the same.
    pub(crate) fn fixed_size(kind: u8) -> Option<usize> {
        Some(match kind {
            ty::NULL => 0,
            ty::INT1 | ty::BIT => 1,
            ty::INT2 => 2,
            ty::INT4 | ty::SMALLDATETIME | ty::REAL | ty::SMALLMONEY => 4,
            ty::MONEY | ty::DATETIME | ty::FLOAT | ty::INT8 => 8,
            _ => return None,
        })
    }

    /// The description of a type; `None` if it is cut.
    fn parse(parser: &mut Parser<'_>) -> Result<Option<Self>> {
        let Some(kind) = parser.u8() else { return Ok(None) };
        if let Some(size) = Self::fixed_size(kind) {
            return Ok(Some(Self::new(kind, Shape::Fixed(size), size)));
        }
        let parsed = match kind {
            ty::GUID
            | ty::INT_N
            | ty::BIT_N
            | ty::FLOAT_N
            | ty::MONEY_N
            | ty::DATETIME_N
            | ty::DECIMAL_N
            | ty::NUMERIC_N
            | ty::DATE
            | ty::TIME
            | ty::DATETIME2
            | ty::DATETIMEOFFSET => Self::parse_small(kind, parser),
            ty::VARBINARY | ty::BINARY | ty::VARCHAR | ty::CHAR | ty::NVARCHAR | ty::NCHAR => {
                Self::parse_variable(kind, parser)
            }
            ty::TEXT | ty::NTEXT | ty::IMAGE | ty::VARIANT => Self::parse_large(kind, parser),
            ty::XML | ty::UDT => Self::parse_object(kind, parser),
            other => return Err(broken(&format!("a column of unknown type 0x{other:02x}"))),
        };
        let Some(found) = parsed else { return Ok(None) };
        let sizes: &[usize] = match kind {
            ty::INT_N => &[1, 2, 4, 8],
            ty::FLOAT_N | ty::MONEY_N | ty::DATETIME_N => &[4, 8],
            ty::BIT_N => &[1],
            ty::GUID => &[16],
            _ => return Ok(Some(found)).and_then(Self::checked),
        };
        if sizes.contains(&found.size) {
            Ok(Some(found))
        } else {
            Err(broken("a column of an impossible size"))
        }
    }

    fn checked(found: Option<Self>) -> Result<Option<Self>> {
        let Some(ty) = found else { return Ok(None) };
        let decimal = matches!(ty.kind, ty::DECIMAL_N | ty::NUMERIC_N);
        let timed = matches!(ty.kind, ty::TIME | ty::DATETIME2 | ty::DATETIMEOFFSET);
        if (decimal && (ty.precision == 0 || ty.precision > 38 || ty.scale > ty.precision))
            || (timed && ty.scale > 7)
        {
            return Err(broken("a column of an impossible precision"));
        }
        Ok(found)
    }

    fn parse_small(kind: u8, parser: &mut Parser<'_>) -> Option<Self> {
        let mut found = Self::new(kind, Shape::Counted8, 0);
        match kind {
            ty::DATE => {}
            ty::TIME | ty::DATETIME2 | ty::DATETIMEOFFSET => found.scale = parser.u8()?,
            ty::DECIMAL_N | ty::NUMERIC_N => {
                let [size, precision, scale] = parser.fixed()?;
                (found.size, found.precision, found.scale) = (size.into(), precision, scale);
            }
            _ => found.size = parser.u8()?.into(),
        }
        Some(found)
    }

    fn parse_variable(kind: u8, parser: &mut Parser<'_>) -> Option<Self> {
        let size = parser.u16()?;
        let shape = if size == NONE16 { Shape::Pieces } else { Shape::Counted16 };
        let mut found = Self::new(kind, shape, size.into());
        if !matches!(kind, ty::VARBINARY | ty::BINARY) {
            found.collation = parser.fixed()?;
        }
        Some(found)
    }

    fn parse_large(kind: u8, parser: &mut Parser<'_>) -> Option<Self> {
        let size = parser.length()?;
        let mut found = Self::new(kind, Shape::Pointed, size);
        match kind {
            ty::VARIANT => {
                found.shape = Shape::Counted32;
                return Some(found);
            }
            ty::TEXT | ty::NTEXT => found.collation = parser.fixed()?,
            _ => {}
        }
        // The table that the pointers are of, in parts.
        for _ in 0..parser.u8()? {
            parser.long_text()?;
        }
        Some(found)
    }

    fn parse_object(kind: u8, parser: &mut Parser<'_>) -> Option<Self> {
        if kind == ty::UDT {
            parser.u16()?; // most bytes
            for _ in 0..3 {
                parser.short_text()?; // database, schema, type
            }
            parser.long_text()?; // assembly
        } else if parser.u8()? != 0 {
            parser.short_text()?; // database and schema of a collection of XML schemas, and its name
            parser.short_text()?;
            parser.long_text()?;
        }
        Some(Self::new(kind, Shape::Pieces, 0))
    }
}

impl Column {
    /// The columns of a result, behind the token's first byte; `None` if they are cut.
    pub(crate) fn parse_all(parser: &mut Parser<'_>) -> Result<Option<Vec<Self>>> {
        let Some(count) = parser.u16() else { return Ok(None) };
        let mut columns = Vec::new();
        for _ in 0..if count == NONE16 { 0 } else { count } {
            // User type and flags.
            let Some(_) = parser.take(6) else { return Ok(None) };
            let Some(ty) = WireType::parse(parser)? else { return Ok(None) };
            let Some(name) = parser.short_text() else { return Ok(None) };
            columns.push(Self { name, ty });
        }
        Ok(Some(columns))
    }
}

/// Where a value stands in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Located {
    /// NULL; the next value begins here.
    Null(usize),
    /// Its bytes: where they begin, where they end, and where the next value begins.
    At(usize, usize, usize),
    /// Its pieces begin here; the next value begins where they end.
    InPieces(usize, usize),
    /// It needs this many bytes, from the beginning of all bytes.
    More(usize),
}

const NULL_PIECES: u64 = u64::MAX;

/// Finds the value at a place, which must be of this shape; and where the next one begins.
#[inline]
pub(crate) fn locate(bytes: &[u8], at: usize, shape: Shape) -> Result<Located> {
    let rest = bytes.get(at..).unwrap_or_default();
    let (head, length) = match shape {
        Shape::Fixed(length) => (0, length),
        Shape::Counted8 => match rest.first() {
            None => return Ok(Located::More(at + 1)),
            Some(0) => return Ok(Located::Null(at + 1)),
            Some(length) => (1, usize::from(*length)),
        },
        Shape::Counted16 => match rest.first_chunk().map(|length| u16::from_le_bytes(*length)) {
            None => return Ok(Located::More(at + 2)),
            Some(NONE16) => return Ok(Located::Null(at + 2)),
            Some(length) => (2, usize::from(length)),
        },
        Shape::Counted32 => match rest.first_chunk().map(|length| u32::from_le_bytes(*length)) {
            None => return Ok(Located::More(at + 4)),
            Some(0) => return Ok(Located::Null(at + 4)),
            Some(length) => (4, usize::try_from(length).unwrap_or(usize::MAX)),
        },
        Shape::Pointed => return pointed(rest, at),
        Shape::Pieces => return pieces(rest, at),
    };
    let start = at + head;
    match start.checked_add(length) {
        Some(end) if end <= bytes.len() => Ok(Located::At(start, end, end)),
        Some(end) => Ok(Located::More(end)),
        None => Err(broken("a value without an end")),
    }
}

fn pointed(rest: &[u8], at: usize) -> Result<Located> {
    let Some(pointer) = rest.first() else { return Ok(Located::More(at + 1)) };
    if *pointer == 0 {
        return Ok(Located::Null(at + 1));
    }
    let head = 1 + usize::from(*pointer) + 8;
    let Some(length) = rest.get(head..).and_then(<[u8]>::first_chunk) else {
        return Ok(Located::More(at + head + 4));
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let start = at + head + 4;
    match start.checked_add(length) {
        Some(end) if end <= at + rest.len() => Ok(Located::At(start, end, end)),
        Some(end) => Ok(Located::More(end)),
        None => Err(broken("a value without an end")),
    }
}

fn pieces(rest: &[u8], at: usize) -> Result<Located> {
    let Some(total) = rest.first_chunk().map(|total| u64::from_le_bytes(*total)) else {
        return Ok(Located::More(at + 8));
    };
    if total == NULL_PIECES {
        return Ok(Located::Null(at + 8));
    }
    let (mut place, mut count, mut sum) = (8_usize, 0, 0_u64);
    loop {
        let Some(length) = rest.get(place..).and_then(<[u8]>::first_chunk) else {
            return Ok(Located::More(at + place + 4));
        };
        let length = u32::from_le_bytes(*length);
        place += 4;
        if length == 0 {
            break;
        }
        sum += u64::from(length);
        count += 1;
        place = usize::try_from(length)
            .ok()
            .and_then(|length| place.checked_add(length))
            .ok_or_else(|| broken("a value without an end"))?;
        if place > rest.len() {
            return Ok(Located::More(at + place + 4));
        }
    }
    // The total is not said ahead, or it is what the pieces sum up to.
    if total != NULL_PIECES - 1 && total != sum {
        return Err(broken("a value that is shorter or longer than it says"));
    }
    let end = at + place;
    Ok(match count {
        0 => Located::At(end, end, end),
        // One piece is as good as a value without pieces.
        1 => Located::At(at + 12, end - 4, end),
        _ => Located::InPieces(at + 8, end),
    })
}

/// The pieces of a value.
pub(crate) fn pieces_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut parser = Parser(bytes);
    std::iter::from_fn(move || {
        let length = parser.length().filter(|length| *length > 0)?;
        parser.take(length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_or_waited_for() {
        let mut long = 5_u64.to_le_bytes().to_vec();
        for piece in [&b"ab"[..], b"cde", b""] {
            long.extend(u32::try_from(piece.len()).unwrap().to_le_bytes());
            long.extend(piece);
        }
        let mut image = vec![2, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8];
        image.extend(3_u32.to_le_bytes());
        image.extend(b"abc");
        for (shape, bytes, value) in [
            (Shape::Fixed(4), &[1, 2, 3, 4][..], &[1, 2, 3, 4][..]),
            (Shape::Counted8, &[2, 7, 8], &[7, 8]),
            (Shape::Counted16, &[1, 0, 9], &[9]),
            (Shape::Counted32, &[1, 0, 0, 0, 9], &[9]),
            (Shape::Pointed, &image, b"abc"),
            (Shape::Pieces, &long, b"abcde"),
        ] {
            for cut in 0..bytes.len() {
                let Located::More(wanted) = locate(&bytes[..cut], 0, shape).unwrap() else {
                    panic!("{shape:?}")
                };
                assert!(wanted > cut && wanted <= bytes.len(), "{shape:?} {cut} {wanted}");
            }
            let found = match locate(bytes, 0, shape).unwrap() {
                Located::At(start, end, _) => bytes[start..end].to_vec(),
                Located::InPieces(start, end) => pieces_of(&bytes[start..end]).collect::<Vec<_>>().concat(),
                other => panic!("{other:?}"),
            };
            assert_eq!(found, value, "{shape:?}");
        }
        long[0] = 6;
        assert!(locate(&long, 0, Shape::Pieces).is_err());
    }

    #[test]
    fn nulls_take_their_bytes() {
        for (shape, bytes) in [
            (Shape::Counted8, &[0][..]),
            (Shape::Counted16, &[0xff, 0xff]),
            (Shape::Counted32, &[0; 4]),
            (Shape::Pointed, &[0]),
            (Shape::Pieces, &[0xff; 8]),
        ] {
            assert_eq!(locate(bytes, 0, shape).unwrap(), Located::Null(bytes.len()));
        }
    }
}
