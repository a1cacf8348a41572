//! Texts as SQLite keeps them: UTF-8, in which unpaired surrogates of UTF-16 stand as three bytes too (WTF-8).

/// The code points of a text, surrogates among them. Bytes that are no code point are U+FFFD.
pub(crate) fn characters(text: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let &first = rest.first()?;
        let (length, bits) = match first {
            0..0x80 => (1, u32::from(first)),
            0xC0..0xE0 => (2, u32::from(first & 0x1F)),
            0xE0..0xF0 => (3, u32::from(first & 0x0F)),
            0xF0..0xF8 => (4, u32::from(first & 0x07)),
            _ => (1, 0xFFFD),
        };
        let Some(tail) = rest.get(1..length) else {
            at = text.len();
            return Some(0xFFFD);
        };
        at += length;
        Some(tail.iter().fold(bits, |code, byte| code << 6 | u32::from(byte & 0x3F)))
    })
}

/// Appends a code point, which may be a surrogate.
pub(crate) fn push(text: &mut Vec<u8>, code: u32) {
    if let Some(character) = char::from_u32(code) {
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        return;
    }
    let low = |shift: u32| u8::try_from(code >> shift & 0x3F).unwrap_or(0) | 0x80;
    text.extend([0xE0 | u8::try_from(code >> 12 & 0x0F).unwrap_or(0), low(6), low(0)]);
}

/// The units of UTF-16.
pub(crate) fn units(text: &[u8]) -> Vec<u16> {
    let mut units = Vec::with_capacity(text.len());
    for code in characters(text) {
        match char::from_u32(code) {
            Some(character) => units.extend_from_slice(character.encode_utf16(&mut [0; 2])),
            None => units.push(u16::try_from(code).unwrap_or(0xFFFD)),
        }
    }
    units
}

pub(crate) fn of_units(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut text = Vec::new();
    for unit in char::decode_utf16(units) {
        match unit {
            Ok(character) => push(&mut text, u32::from(character)),
            Err(error) => push(&mut text, u32::from(error.unpaired_surrogate())),
        }
    }
    text
}

/// UTF-16LE, as it travels.
pub(crate) fn to_utf16(text: &[u8]) -> Vec<u8> {
    units(text).into_iter().flat_map(u16::to_le_bytes).collect()
}

pub(crate) fn of_utf16(bytes: &[u8]) -> Vec<u8> {
    of_units(bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_with_their_unpaired_surrogates() {
        let pairs: [&[u16]; 5] = [&[], &[0x61, 0xE9], &[0xD83D, 0xDE00], &[0xD83D], &[0xDE00, 0xD83D, 0x61]];
        for units_of in pairs {
            assert_eq!(units(&of_units(units_of.iter().copied())), units_of);
        }
        assert_eq!(of_units("naïve 😀".encode_utf16()), "naïve 😀".as_bytes());
    }
}
