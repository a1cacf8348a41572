//! What texts are that stay text: addresses, keys, hashes. A tag for people; it changes no type.

use super::column::Column;

/// A name and whether a text has the form.
type Form = (&'static str, fn(&str) -> bool);

/// The forms, the more specific first.
const FORMS: [Form; 10] = [
    ("uuid", is_uuid),
    ("email", is_email),
    ("url", is_url),
    ("ip", is_ip),
    ("mac", is_mac),
    ("iban", is_iban),
    ("hash", is_hash),
    ("phone", is_phone),
    ("wkt", is_wkt),
    ("xml", is_xml),
];

/// The form that nearly all values have.
pub(super) fn of(column: &Column<'_>) -> Option<&'static str> {
    if column.values.is_empty() {
        return None;
    }
    let allowed = column.values.len() / 20;
    let found = FORMS.iter().find(|(_, fits)| {
        // Ends at the first value too many.
        column.values.iter().filter(|value| !fits(value.text)).nth(allowed).is_none()
    });
    found.map(|(name, _)| *name)
}

fn hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `8-4-4-4-12`, in braces or as a URN.
pub(super) fn is_uuid(text: &str) -> bool {
    let text = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let bytes = text.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// 32 (UUID, MD5), 40 (SHA-1), 56, 64, 96 or 128 hexadecimal digits, and a letter among them.
fn is_hash(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 56 | 64 | 96 | 128) && hex(text) && !digits(text)
}

fn is_email(text: &str) -> bool {
    let Some((user, host)) = text.split_once('@') else { return false };
    !user.is_empty()
        && host.contains('.')
        && !host.starts_with('.')
        && !host.ends_with('.')
        && !text.contains(char::is_whitespace)
        && !host.contains('@')
}

fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    !rest.is_empty()
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && !rest.contains(char::is_whitespace)
}

/// An address, with or without the length of its network.
fn is_ip(text: &str) -> bool {
    let (address, length) = text.split_once('/').unwrap_or((text, "0"));
    digits(length) && length.len() <= 3 && address.parse::<std::net::IpAddr>().is_ok()
}

fn is_mac(text: &str) -> bool {
    let pairs = |by: char| {
        let parts = || text.split(by);
        parts().count() == 6 && parts().all(|part| part.len() == 2 && hex(part))
    };
    let dotted = || text.len() == 14 && text.split('.').all(|part| part.len() == 4 && hex(part));
    (text.len() == 17 && (pairs(':') || pairs('-'))) || dotted()
}

/// A country, two check digits and the account, by ISO 7064.
fn is_iban(text: &str) -> bool {
    let plain: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let Some((head, account)) = plain.split_at_checked(4) else { return false };
    let form = matches!(head, [a, b, c, d]
        if a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_digit() && d.is_ascii_digit());
    if !form || !(11..=30).contains(&account.len()) {
        return false;
    }
    let rest = account.iter().chain(head).try_fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => Some((rest * 10 + u32::from(byte - b'0')) % 97),
        b'A'..=b'Z' => Some((rest * 100 + u32::from(byte - b'A') + 10) % 97),
        _ => None,
    });
    rest == Some(1)
}

/// Seven to fifteen digits with the marks of telephone numbers: `+`, parentheses, blanks, hyphens, points.
fn is_phone(text: &str) -> bool {
    let count = text.bytes().filter(u8::is_ascii_digit).count();
    let marks = text.bytes().any(|byte| matches!(byte, b'+' | b'(' | b' ' | b'-'));
    (7..=15).contains(&count)
        && (marks || text.starts_with('0'))
        && text.len() <= 22
        && text.bytes().enumerate().all(|(i, byte)| {
            byte.is_ascii_digit()
                || matches!(byte, b'(' | b')' | b' ' | b'-' | b'.' | b'/')
                || (i == 0 && byte == b'+')
        })
}

fn is_wkt(text: &str) -> bool {
    const SHAPES: [&str; 7] = [
        "POINT",
        "LINESTRING",
        "POLYGON",
        "MULTIPOINT",
        "MULTILINESTRING",
        "MULTIPOLYGON",
        "GEOMETRYCOLLECTION",
    ];
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (shape, rest) = text.split_at(letters);
    SHAPES.iter().any(|known| known.eq_ignore_ascii_case(shape))
        && (rest.trim_start().eq_ignore_ascii_case("empty") || (rest.contains('(') && rest.ends_with(')')))
}

fn is_xml(text: &str) -> bool {
    text.len() >= 4
        && text.starts_with('<')
        && text.ends_with('>')
        && text.as_bytes().get(1).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let tag = |text: &str| FORMS.iter().find(|(_, fits)| fits(text)).map(|(name, _)| *name);
        for (text, expected) in [
            ("123e4567-e89b-12d3-a456-426614174000", Some("uuid")),
            ("{123E4567-E89B-12D3-A456-426614174001}", Some("uuid")),
            ("urn:uuid:123e4567-e89b-12d3-a456-426614174000", Some("uuid")),
            ("ann@example.com", Some("email")),
            ("@example.com", None),
            ("https://example.com/a?b=c", Some("url")),
            ("192.168.0.1", Some("ip")),
            ("10.0.0.0/8", Some("ip")),
            ("2001:db8::1", Some("ip")),
            ("192.168.0.256", None),
            ("00:1A:2b:3c:4d:5e", Some("mac")),
            ("001a.2b3c.4d5e", Some("mac")),
            ("DE89 3704 0044 0532 0130 00", Some("iban")),
            ("DE88370400440532013000", None),
            ("d41d8cd98f00b204e9800998ecf8427e", Some("hash")),
            ("+41 44 668 18 00", Some("phone")),
            ("(415) 555-0123", Some("phone")),
            ("0446681800", Some("phone")),
            ("POINT (30 10)", Some("wkt")),
            ("<a>1</a>", Some("xml")),
            ("hello", None),
            ("", None),
        ] {
            assert_eq!(tag(text), expected, "{text}");
        }
    }
}
