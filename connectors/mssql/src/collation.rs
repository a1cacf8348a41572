//! Code pages of collations, in which `char`, `varchar` and `text` come. Pure.

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GBK, SHIFT_JIS, WINDOWS_874, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252,
    WINDOWS_1253, WINDOWS_1254, WINDOWS_1255, WINDOWS_1256, WINDOWS_1257, WINDOWS_1258,
};

use transload_sql::wire::Decoded;

const NO_CHARACTER: &str = "bytes that are no characters of its code page";

/// How bytes become characters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum CodePage {
    Utf8,
    Of(&'static Encoding),
    /// One byte a character; the upper half of them.
    Half(&'static str),
}

/// The upper half of code page 437.
const UPPER_437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The upper half of code page 850.
const UPPER_850: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";

/// Code pages by the number of a SQL collation's order: from, to, page.
const ORDERS: &[(u8, u8, u16)] = &[
    (30, 35, 437),
    (40, 49, 850),
    (50, 54, 1252),
    (55, 61, 850),
    (71, 72, 1252),
    (80, 98, 1250),
    (104, 108, 1251),
    (112, 124, 1253),
    (128, 130, 1254),
    (136, 138, 1255),
    (144, 146, 1256),
    (152, 160, 1257),
    (183, 186, 1252),
    (192, 193, 932),
    (194, 195, 949),
    (196, 197, 950),
    (198, 199, 936),
    (200, 200, 932),
    (201, 201, 949),
    (202, 202, 950),
    (203, 203, 936),
    (204, 206, 874),
    (210, 217, 1252),
];

/// Code pages by the language of a Windows collation; 1252 for what is not here.
const LANGUAGES: &[(u16, u16)] = &[
    (0x0402, 1251), // Bulgarian
    (0x0404, 950),  // Chinese, Taiwan
    (0x0405, 1250), // Czech
    (0x0408, 1253), // Greek
    (0x040d, 1255), // Hebrew
    (0x040e, 1250), // Hungarian
    (0x0411, 932),  // Japanese
    (0x0412, 949),  // Korean
    (0x0415, 1250), // Polish
    (0x0418, 1250), // Romanian
    (0x0419, 1251), // Russian
    (0x041a, 1250), // Croatian
    (0x041b, 1250), // Slovak
    (0x041c, 1250), // Albanian
    (0x041e, 874),  // Thai
    (0x041f, 1254), // Turkish
    (0x0420, 1256), // Urdu
    (0x0422, 1251), // Ukrainian
    (0x0423, 1251), // Belarusian
    (0x0424, 1250), // Slovenian
    (0x0425, 1257), // Estonian
    (0x0426, 1257), // Latvian
    (0x0427, 1257), // Lithuanian
    (0x0428, 1251), // Tajik
    (0x0429, 1256), // Persian
    (0x042a, 1258), // Vietnamese
    (0x042c, 1254), // Azeri, Latin
    (0x042f, 1251), // Macedonian
    (0x043f, 1251), // Kazakh
    (0x0440, 1251), // Kyrgyz
    (0x0442, 1250), // Turkmen
    (0x0443, 1254), // Uzbek, Latin
    (0x0444, 1251), // Tatar
    (0x0450, 1251), // Mongolian
    (0x046d, 1251), // Bashkir
    (0x0480, 1256), // Uighur
    (0x0485, 1251), // Yakut
    (0x048c, 1256), // Dari
    (0x0804, 936),  // Chinese, China
    (0x081a, 1250), // Serbian, Latin
    (0x0827, 1257), // Lithuanian, classic
    (0x082c, 1251), // Azeri, Cyrillic
    (0x0843, 1251), // Uzbek, Cyrillic
    (0x0c04, 950),  // Chinese, Hong Kong
    (0x0c1a, 1251), // Serbian, Cyrillic
    (0x1004, 936),  // Chinese, Singapore
    (0x101a, 1250), // Croatian, Bosnia
    (0x1404, 950),  // Chinese, Macau
    (0x141a, 1250), // Bosnian, Latin
    (0x1c1a, 1251), // Serbian, Cyrillic, Bosnia
    (0x201a, 1251), // Bosnian, Cyrillic
];

/// Arabic has a language for each country.
const ARABIC: u16 = 0x01;

/// The bit of a collation that says UTF-8.
const UTF8: u32 = 1 << 26;

/// The number of a collation's code page.
fn number(collation: [u8; 5]) -> u16 {
    let [a, b, c, d, order] = collation;
    let bits = u32::from_le_bytes([a, b, c, d]);
    if bits & UTF8 != 0 {
        return 65_001;
    }
    let by_order =
        ORDERS.iter().find(|(from, to, _)| (*from..=*to).contains(&order)).map(|(_, _, page)| *page);
    if let Some(page) = by_order {
        return page;
    }
    let language = u16::from_le_bytes([a, b]);
    if language & 0x3ff == ARABIC {
        return 1256;
    }
    LANGUAGES.iter().find(|(known, _)| *known == language).map_or(1252, |(_, page)| *page)
}

impl CodePage {
    /// Of the five bytes that describe a collation on the wire.
    pub(crate) fn of(collation: [u8; 5]) -> Self {
        match number(collation) {
            437 => Self::Half(UPPER_437),
            850 => Self::Half(UPPER_850),
            874 => Self::Of(WINDOWS_874),
            932 => Self::Of(SHIFT_JIS),
            936 => Self::Of(GBK),
            949 => Self::Of(EUC_KR),
            950 => Self::Of(BIG5),
            1250 => Self::Of(WINDOWS_1250),
            1251 => Self::Of(WINDOWS_1251),
            1253 => Self::Of(WINDOWS_1253),
            1254 => Self::Of(WINDOWS_1254),
            1255 => Self::Of(WINDOWS_1255),
            1256 => Self::Of(WINDOWS_1256),
            1257 => Self::Of(WINDOWS_1257),
            1258 => Self::Of(WINDOWS_1258),
            65_001 => Self::Utf8,
            _ => Self::Of(WINDOWS_1252),
        }
    }

    /// Appends a text as UTF-8.
    #[inline]
    pub(crate) fn append(self, bytes: &[u8], to: &mut Vec<u8>, replace: bool) -> Decoded<()> {
        if bytes.is_ascii() {
            to.extend_from_slice(bytes);
            return Ok(());
        }
        self.append_beyond_ascii(bytes, to, replace)
    }

    fn append_beyond_ascii(self, bytes: &[u8], to: &mut Vec<u8>, replace: bool) -> Decoded<()> {
        match self {
            Self::Utf8 => match std::str::from_utf8(bytes) {
                Ok(_) => to.extend_from_slice(bytes),
                Err(_) if replace => to.extend_from_slice(String::from_utf8_lossy(bytes).as_bytes()),
                Err(_) => return Err(NO_CHARACTER),
            },
            Self::Of(encoding) => match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
                Some(text) => to.extend_from_slice(text.as_bytes()),
                None if replace => {
                    to.extend_from_slice(encoding.decode_without_bom_handling(bytes).0.as_bytes());
                }
                None => return Err(NO_CHARACTER),
            },
            Self::Half(upper) => {
                let upper: Vec<char> = upper.chars().collect();
                let mut room = [0; 4];
                for byte in bytes {
                    let character = match byte.checked_sub(0x80) {
                        None => char::from(*byte),
                        Some(index) => upper.get(usize::from(index)).copied().ok_or(NO_CHARACTER)?,
                    };
                    to.extend_from_slice(character.encode_utf8(&mut room).as_bytes());
                }
            }
        }
        Ok(())
    }
}

/// Appends UTF-16 as UTF-8.
#[inline]
pub(crate) fn append_utf16(bytes: &[u8], to: &mut Vec<u8>, replace: bool) -> Decoded<()> {
    const HIGH: u64 = 0xff80_ff80_ff80_ff80;
    to.reserve(bytes.len() / 2);
    let (fours, mut rest) = bytes.as_chunks::<8>();
    for (index, four) in fours.iter().enumerate() {
        if u64::from_le_bytes(*four) & HIGH != 0 {
            return append_units(bytes.get(index * 8..).unwrap_or_default(), to, replace);
        }
        let [a, _, b, _, c, _, d, _] = *four;
        to.extend_from_slice(&[a, b, c, d]);
    }
    while let [low, high, more @ ..] = rest {
        if *high != 0 || *low >= 0x80 {
            break;
        }
        to.push(*low);
        rest = more;
    }
    if rest.is_empty() { Ok(()) } else { append_units(rest, to, replace) }
}

fn append_units(bytes: &[u8], to: &mut Vec<u8>, replace: bool) -> Decoded<()> {
    let (units, []) = bytes.as_chunks::<2>() else { return Err("a text of half a character") };
    let mut room = [0; 4];
    for unit in char::decode_utf16(units.iter().map(|unit| u16::from_le_bytes(*unit))) {
        let character = match unit {
            Ok(character) => character,
            Err(_) if replace => char::REPLACEMENT_CHARACTER,
            Err(_) => return Err("half a pair of surrogates, which is no character"),
        };
        to.extend_from_slice(character.encode_utf8(&mut room).as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: CodePage, bytes: &[u8], replace: bool) -> Decoded<String> {
        let mut to = Vec::new();
        page.append(bytes, &mut to, replace)?;
        Ok(String::from_utf8(to).unwrap())
    }

    #[test]
    fn collations_have_code_pages() {
        for (collation, page) in [
            ([0x09, 0x04, 0xd0, 0x00, 0x34], 1252), // SQL_Latin1_General_CP1_CI_AS
            ([0x09, 0x04, 0xd0, 0x00, 0x00], 1252), // Latin1_General_CI_AS
            ([0x09, 0x04, 0xd0, 0x00, 0x1e], 437),
            ([0x09, 0x04, 0xd0, 0x00, 0x28], 850),
            ([0x19, 0x04, 0xd0, 0x00, 0x00], 1251), // Cyrillic_General_CI_AS
            ([0x11, 0x04, 0xd0, 0x00, 0x00], 932),  // Japanese_CI_AS
            ([0x04, 0x08, 0xd0, 0x00, 0x00], 936),
            ([0x01, 0x0c, 0xd0, 0x00, 0x00], 1256),   // Arabic of Egypt
            ([0x09, 0x04, 0x00, 0x24, 0x00], 65_001), // Latin1_General_100_BIN2_UTF8
        ] {
            assert_eq!(number(collation), page, "{collation:?}");
        }
        assert!(ORDERS.windows(2).all(|pair| pair[0].1 < pair[1].0) && LANGUAGES.is_sorted());
        assert!(UPPER_437.chars().count() == 128 && UPPER_850.chars().count() == 128);
    }

    #[test]
    fn bytes_become_characters() {
        let page = |language: u16| {
            let [a, b] = language.to_le_bytes();
            CodePage::of([a, b, 0, 0, 0])
        };
        assert_eq!(text(page(0x0409), b"na\xefve \x80", false).unwrap(), "na\u{ef}ve \u{20ac}");
        // As Windows has it, what 1252 does not define is a control character.
        assert_eq!(text(page(0x0409), b"\x81", false).unwrap(), "\u{81}");
        assert_eq!(text(page(0x0419), b"\xcf\xf0\xe8", false).unwrap(), "\u{41f}\u{440}\u{438}");
        assert_eq!(text(page(0x0411), b"\x93\xfa\x96\x7b", false).unwrap(), "\u{65e5}\u{672c}");
        assert_eq!(text(CodePage::Half(UPPER_437), b"\x9b", false).unwrap(), "\u{a2}");
        assert_eq!(text(CodePage::Half(UPPER_850), b"\x9b", false).unwrap(), "\u{f8}");
        assert_eq!(text(CodePage::Utf8, "\u{e9}\u{1f600}".as_bytes(), false).unwrap(), "\u{e9}\u{1f600}");
        for (page, bytes) in [(CodePage::Utf8, &b"a\xff"[..]), (page(0x0411), b"\x93")] {
            assert!(text(page, bytes, false).is_err());
            assert!(text(page, bytes, true).unwrap().ends_with('\u{fffd}'));
        }
    }

    #[test]
    fn utf16_becomes_utf8() {
        for sample in ["", "a", "abcd", "abcdefghi", "abc\u{e9}", "abcd\u{1f600}e", "\u{fffd}\u{ffff}", "\0"]
        {
            let bytes: Vec<u8> = sample.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let mut to = b"x".to_vec();
            append_utf16(&bytes, &mut to, false).unwrap();
            assert_eq!(&to[1..], sample.as_bytes());
        }
        let lone = [b'a', 0, 0x3d, 0xd8, b'b', 0];
        assert!(append_utf16(&lone, &mut Vec::new(), false).is_err());
        let mut to = Vec::new();
        append_utf16(&lone, &mut to, true).unwrap();
        assert_eq!(to, "a\u{fffd}b".as_bytes());
        assert!(append_utf16(b"a", &mut Vec::new(), true).is_err());
    }
}
