//! Collations: their names, the five bytes that stand for them on the wire, their code pages, and how they compare.

use std::borrow::Cow;
use std::cmp::Ordering;

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GBK, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252,
    WINDOWS_1253, WINDOWS_1254, WINDOWS_1255, WINDOWS_1256, WINDOWS_1257, WINDOWS_1258,
};

/// How texts are compared. SQL Server has a table of weights per language; here it is code points, of lower-case letters
/// where case is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    IgnoreCase,
    Case,
    Binary,
}

struct Row {
    name: &'static str,
    lcid: u32,
    /// Bits 20 to 27 of the number on the wire: ignores case, accent, kana, width; binary, binary2, UTF-8.
    flags: u8,
    version: u8,
    sort_id: u8,
    code_page: &'static Encoding,
}

const CI: u8 = 0x0D;
const CI_AI: u8 = 0x0F;
const CS: u8 = 0x0C;
const BIN: u8 = 0x10;
const BIN2: u8 = 0x20;
const UTF8: u8 = 0x40;

const fn row(
    name: &'static str,
    lcid: u32,
    flags: u8,
    version: u8,
    sort_id: u8,
    code_page: &'static Encoding,
) -> Row {
    Row { name, lcid, flags, version, sort_id, code_page }
}

static TABLE: [Row; 28] = [
    row("SQL_Latin1_General_CP1_CI_AS", 0x0409, CI, 0, 0x34, WINDOWS_1252),
    row("SQL_Latin1_General_CP1_CS_AS", 0x0409, CS, 0, 0x33, WINDOWS_1252),
    row("Latin1_General_CI_AS", 0x0409, CI, 0, 0, WINDOWS_1252),
    row("Latin1_General_CI_AI", 0x0409, CI_AI, 0, 0, WINDOWS_1252),
    row("Latin1_General_CS_AS", 0x0409, CS, 0, 0, WINDOWS_1252),
    row("Latin1_General_BIN", 0x0409, BIN, 0, 0, WINDOWS_1252),
    row("Latin1_General_BIN2", 0x0409, BIN2, 0, 0, WINDOWS_1252),
    row("Latin1_General_100_CI_AS", 0x0409, CI, 2, 0, WINDOWS_1252),
    row("Latin1_General_100_BIN2", 0x0409, BIN2, 2, 0, WINDOWS_1252),
    row("Latin1_General_100_BIN2_UTF8", 0x0409, BIN2 | UTF8, 2, 0, UTF_8),
    row("Latin1_General_100_CI_AS_SC_UTF8", 0x0409, CI | UTF8, 2, 0, UTF_8),
    row("Latin1_General_100_CS_AS_SC_UTF8", 0x0409, CS | UTF8, 2, 0, UTF_8),
    row("Japanese_CI_AS", 0x0411, CI, 0, 0, SHIFT_JIS),
    row("Japanese_XJIS_100_CI_AS", 0x0411, CI, 2, 0, SHIFT_JIS),
    row("Cyrillic_General_CI_AS", 0x0419, CI, 0, 0, WINDOWS_1251),
    row("Chinese_PRC_CI_AS", 0x0804, CI, 0, 0, GBK),
    row("Chinese_Taiwan_Stroke_CI_AS", 0x0404, CI, 0, 0, BIG5),
    row("Korean_Wansung_CI_AS", 0x0412, CI, 0, 0, EUC_KR),
    row("Greek_CI_AS", 0x0408, CI, 0, 0, WINDOWS_1253),
    row("Turkish_CI_AS", 0x041F, CI, 0, 0, WINDOWS_1254),
    row("Hebrew_CI_AS", 0x040D, CI, 0, 0, WINDOWS_1255),
    row("Arabic_CI_AS", 0x0401, CI, 0, 0, WINDOWS_1256),
    row("Vietnamese_CI_AS", 0x042A, CI, 0, 0, WINDOWS_1258),
    row("Thai_CI_AS", 0x041E, CI, 0, 0, WINDOWS_874),
    row("Polish_CI_AS", 0x0415, CI, 0, 0, WINDOWS_1250),
    row("Czech_CI_AS", 0x0405, CI, 0, 0, WINDOWS_1250),
    row("Lithuanian_CI_AS", 0x0427, CI, 0, 0, WINDOWS_1257),
    row("SQL_Latin1_General_CP1251_CI_AS", 0x0419, CI, 0, 106, WINDOWS_1251),
];

/// A collation. The default one is that of new servers in the United States, SQL_Latin1_General_CP1_CI_AS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Collation(u8);

impl Collation {
    /// Latin1_General_100_BIN2: what `BIN2` casts compare by.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("database_default") {
            return Some(Self::default());
        }
        TABLE
            .iter()
            .zip(0..)
            .find(|(row, _)| row.name.eq_ignore_ascii_case(name))
            .map(|(_, number)| Self(number))
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().zip(0..).map(|(_, number)| Self(number))
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        (usize::from(number) < TABLE.len()).then_some(Self(number))
    }

    fn row(self) -> &'static Row {
        TABLE.get(usize::from(self.0)).unwrap_or(&TABLE[0])
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    /// As it stands in meta data [2.2.5.1.2].
    pub(crate) fn to_bytes(self) -> [u8; 5] {
        let row = self.row();
        let number = row.lcid | u32::from(row.flags) << 20 | u32::from(row.version) << 28;
        let [a, b, c, d] = number.to_le_bytes();
        [a, b, c, d, row.sort_id]
    }

    pub(crate) fn of_bytes(bytes: [u8; 5]) -> Option<Self> {
        Self::all().find(|collation| collation.to_bytes() == bytes)
    }

    pub(crate) fn is_utf8(self) -> bool {
        self.row().code_page == UTF_8
    }

    fn order(self) -> Order {
        let flags = self.row().flags;
        match flags & (BIN | BIN2) {
            0 if flags & 1 != 0 => Order::IgnoreCase,
            0 => Order::Case,
            _ => Order::Binary,
        }
    }

    /// The name under which SQLite knows how this one compares.
    pub(crate) fn sqlite_name(self) -> &'static str {
        match self.order() {
            Order::IgnoreCase => "TSQL_CI",
            Order::Case => "TSQL_CS",
            Order::Binary => "TSQL_BIN",
        }
    }

    pub(crate) fn ignores_case(self) -> bool {
        self.order() == Order::IgnoreCase
    }

    /// The bytes of a text in this code page. Characters that it does not have become `?`; bytes that were no
    /// characters (see [`Self::decode`]) are themselves again.
    pub(crate) fn encode(self, text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len());
        for character in super::text::characters(text) {
            match character {
                0xDC80..=0xDCFF => bytes.push(u8::try_from(character - 0xDC00).unwrap_or(b'?')),
                other => match char::from_u32(other) {
                    None if self.is_utf8() => bytes.extend("\u{FFFD}".bytes()),
                    None => bytes.push(b'?'),
                    Some(character) => {
                        let mut room = [0; 4];
                        match self.row().code_page.encode(character.encode_utf8(&mut room)) {
                            (_, _, true) => bytes.push(b'?'),
                            (encoded, ..) => bytes.extend_from_slice(&encoded),
                        }
                    }
                },
            }
        }
        bytes
    }

    /// Bytes of this code page as a text. A byte that is no character becomes the unpaired surrogate U+DC80 to U+DCFF,
    /// so that it is not lost.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<u8> {
        let code_page = self.row().code_page;
        if let Some(text) = code_page.decode_without_bom_handling_and_without_replacement(bytes) {
            return text.into_owned().into_bytes();
        }
        let mut text = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let fits = (1..=rest.len().min(4)).find_map(|count| {
                let decoded = code_page.decode_without_bom_handling_and_without_replacement(&rest[..count]);
                decoded.filter(|text: &Cow<'_, str>| !text.is_empty()).map(|text| (count, text.into_owned()))
            });
            match fits {
                Some((count, decoded)) => {
                    text.extend(decoded.bytes());
                    rest = &rest[count..];
                }
                None => {
                    super::text::push(&mut text, 0xDC00 + u32::from(rest[0]));
                    rest = &rest[1..];
                }
            }
        }
        text
    }
}

/// A way to compare, with its name.
type Comparison = (&'static std::ffi::CStr, fn(&str, &str) -> Ordering);

/// The ways to compare that SQLite is taught.
pub(crate) fn comparisons() -> [Comparison; 3] {
    [
        (c"TSQL_CI", ignoring_case),
        (c"TSQL_CS", |a, b| padded(a).cmp(padded(b))),
        (c"TSQL_BIN", |a, b| padded(a).cmp(padded(b))),
    ]
}

/// Blanks at the end do not count when texts are compared.
fn padded(text: &str) -> &str {
    text.trim_end_matches(' ')
}

fn ignoring_case(a: &str, b: &str) -> Ordering {
    let lower = |text| str::chars(text).flat_map(char::to_lowercase);
    lower(padded(a)).cmp(lower(padded(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_collations_have_the_bytes_that_servers_send() {
        let known = [
            ("SQL_Latin1_General_CP1_CI_AS", [0x09, 0x04, 0xD0, 0x00, 0x34]),
            ("Latin1_General_CI_AS", [0x09, 0x04, 0xD0, 0x00, 0x00]),
            ("Latin1_General_100_CI_AS_SC_UTF8", [0x09, 0x04, 0xD0, 0x24, 0x00]),
        ];
        for (name, bytes) in known {
            assert_eq!(Collation::parse(name).unwrap().to_bytes(), bytes, "{name}");
        }
        for collation in Collation::all() {
            assert_eq!(Collation::parse(collation.name()), Some(collation));
            assert_eq!(Collation::of_bytes(collation.to_bytes()), Some(collation));
        }
    }

    #[test]
    fn every_byte_survives_in_every_code_page() {
        for collation in Collation::all() {
            // Pairs of bytes are left out: code page 932 has characters twice.
            let all: Vec<u8> = (0..=255).collect();
            for bytes in all.chunks(1).chain([&[0x83, 0x65, 0xFF][..], &[0xC3], &[0xFF, 0x41]]) {
                assert_eq!(collation.encode(&collation.decode(bytes)), bytes, "{}", collation.name());
            }
        }
    }
}
