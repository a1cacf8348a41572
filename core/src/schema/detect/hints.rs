//! What a column's name hints at. Weak evidence: it shifts a score, it never decides.

/// Hints of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Hints {
    /// A date or a time.
    pub(super) date: bool,
    /// Yes or no.
    pub(super) boolean: bool,
    /// A key or code: digits that nobody adds up.
    pub(super) identifier: bool,
    /// Money, quantities.
    pub(super) amount: bool,
    /// A version number.
    pub(super) version: bool,
    /// A year, quarter or month: a number, never a date.
    pub(super) period: bool,
}

const DATES: [&str; 11] = [
    "date",
    "timestamp",
    "datetime",
    "dob",
    "created",
    "updated",
    "modified",
    "deleted",
    "expires",
    "birthday",
    "day",
];
const DATE_ENDS: [&str; 5] = ["at", "on", "ts", "time", "dt"];
const BOOLEAN_STARTS: [&str; 9] = ["is", "has", "can", "should", "was", "did", "allow", "enable", "use"];
const BOOLEAN_ENDS: [&str; 6] = ["flag", "ind", "yn", "enabled", "active", "deleted"];
const IDENTIFIERS: [&str; 41] = [
    "zip",
    "postal",
    "postcode",
    "phone",
    "tel",
    "fax",
    "mobile",
    "ssn",
    "sku",
    "ean",
    "gtin",
    "upc",
    "isbn",
    "iban",
    "account",
    "acct",
    "card",
    "code",
    "id",
    "uuid",
    "guid",
    "ref",
    "number",
    "no",
    "nr",
    "version",
    "ver",
    "barcode",
    "vat",
    "tin",
    "nif",
    "siret",
    "cpf",
    "cnpj",
    "fips",
    "naics",
    "hs",
    "hts",
    "icd",
    "telephone",
    "zipcode",
];
const AMOUNTS: [&str; 10] =
    ["amount", "price", "cost", "total", "balance", "tax", "fee", "rate", "salary", "qty"];
const PERIODS: [&str; 6] = ["year", "yr", "fy", "month", "quarter", "period"];

impl Hints {
    pub(super) fn of(name: &str) -> Self {
        let words = words(name);
        let any = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
        let (first, last) = match words.as_slice() {
            [first, .., last] => (Some(first.as_str()), Some(last.as_str())),
            [only] => (None, Some(only.as_str())),
            [] => (None, None),
        };
        let two = words.len() > 1;
        let joined = words.concat();
        let ends_with_date = joined.ends_with("date") && !joined.ends_with("candidate");
        Self {
            date: any(&DATES)
                || ends_with_date
                || joined.ends_with("validfrom")
                || joined.ends_with("validto")
                || (two && last.is_some_and(|word| DATE_ENDS.contains(&word))),
            boolean: first.is_some_and(|word| BOOLEAN_STARTS.contains(&word))
                || last.is_some_and(|word| BOOLEAN_ENDS.contains(&word) && (two || word.len() > 4)),
            identifier: any(&IDENTIFIERS),
            amount: any(&AMOUNTS),
            version: any(&["version", "ver"]),
            period: any(&PERIODS),
        }
    }
}

/// The words of a name in snake, kebab or camel case, in lower case.
fn words(name: &str) -> Vec<String> {
    let characters: Vec<char> = name.chars().collect();
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for (i, &character) in characters.iter().enumerate() {
        if !character.is_alphanumeric() {
            words.push(std::mem::take(&mut word));
            continue;
        }
        let before = i.checked_sub(1).and_then(|i| characters.get(i));
        let after = characters.get(i + 1);
        // `orderId` and the `C` of `ZIPCode` begin words.
        let begins = character.is_uppercase()
            && (before.is_some_and(|c| c.is_lowercase() || c.is_numeric())
                || (before.is_some_and(|c| c.is_uppercase()) && after.is_some_and(|c| c.is_lowercase())));
        if begins {
            words.push(std::mem::take(&mut word));
        }
        word.extend(character.to_lowercase());
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_case() {
        assert_eq!(words("order_id"), ["order", "id"]);
        assert_eq!(words("orderID"), ["order", "id"]);
        assert_eq!(words("ZIPCode-2"), ["zip", "code", "2"]);
        assert_eq!(words("Ship Date"), ["ship", "date"]);
    }

    #[test]
    fn names() {
        for name in [
            "date",
            "created_at",
            "orderDate",
            "birthdate",
            "valid_from",
            "UPDATED",
            "event_ts",
            "publish_date",
        ] {
            assert!(Hints::of(name).date, "{name}");
        }
        for name in ["candidate", "at", "category", "format", "c"] {
            assert!(!Hints::of(name).date, "{name}");
        }
        for name in ["is_open", "hasChildren", "deleted_flag", "active", "newsletter_yn"] {
            assert!(Hints::of(name).boolean, "{name}");
        }
        for name in ["island", "c", "flag"] {
            assert!(!Hints::of(name).boolean, "{name}");
        }
        for name in ["zip", "customer_id", "cardNumber", "order no"] {
            assert!(Hints::of(name).identifier, "{name}");
        }
        assert!(!Hints::of("idea").identifier);
        assert!(Hints::of("unit_price").amount);
        assert!(Hints::of("fy").period);
    }
}
