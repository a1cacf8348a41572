//! The types of every system that we know, as data: what each becomes, when, and how sure that is.
//!
//! The rows are those of `core/data/type_mapping.csv`; `core/data/type_spellings.csv` holds other spellings
//! of the same types. Connectors have type tables of their own, which decide for their tables; this
//! reference answers for systems without a connector and for people who only have the name of a type.

mod arrow;
mod condition;
mod rows;
mod spelling;
mod warnings;

#[cfg(test)]
mod tests;

pub use rows::TypeRow;
pub use warnings::WARNING_CODES;
pub(super) use warnings::meaning;

use rows::{ROWS, SPELLINGS};
use spelling::Spelling;

use crate::error::{Error, ErrorKind, Result};
use crate::schema::table::ColumnSchema;

/// Every row of the reference, in its order: by system, then by type; of one type, the first row whose
/// condition holds wins.
pub fn type_rows() -> impl Iterator<Item = &'static TypeRow> {
    ROWS.iter()
}

/// The systems of the reference, in its order.
#[must_use]
pub fn type_systems() -> Vec<&'static str> {
    let mut systems: Vec<&str> = type_rows().map(|row| row.system.as_str()).collect();
    systems.dedup();
    systems
}

/// What the reference says of a type as a catalog or a person spells it.
#[derive(Debug, Clone)]
pub struct TypeAnswer {
    /// The row that holds; where none does without proof, the best advice.
    pub row: &'static TypeRow,
    /// Whether the row holds. If not, the type is read as text, which keeps every value.
    pub holds: bool,
    /// Rows that would hold if the values, the catalog or the person said so, best first.
    pub advice: Vec<&'static TypeRow>,
    asked: Spelling,
    text: String,
    /// Answered by the rows of the system that this one descends from.
    dialect: bool,
}

impl TypeAnswer {
    /// A nullable column of the type.
    ///
    /// # Errors
    /// `type_mapping` where the type's text says too little, for example `composite` without its fields.
    pub fn column(&self, name: &str) -> Result<ColumnSchema> {
        arrow::chosen(self, name)
    }

    /// The same column as another row would have it.
    pub(super) fn column_by(&self, row: &'static TypeRow, name: &str) -> Result<ColumnSchema> {
        arrow::column(self, row, name)
    }
}

/// Looks a type up by its text: `look_up_type("oracle", "NUMBER(10,2)")`.
///
/// Case and blanks do not matter. Nested types name their elements: `map<text, list<int>>`,
/// `struct<a:int,b:string>`, `integer[]`.
///
/// # Errors
/// `not_found` for a system or a type that the reference does not have.
pub fn look_up_type(system: &str, text: &str) -> Result<TypeAnswer> {
    let known = type_systems();
    if !known.contains(&system) {
        let error = Error::new(ErrorKind::NotFound, format!("no type table for system `{system}`"));
        return Err(error.with("system", system).hint(format!("known: {}", known.join(", "))));
    }
    let mut asked = Spelling::of_text(text);
    let mut fitting = rows_of(system, text, &asked);
    if fitting.is_empty() && system == "sqlite" {
        asked = Spelling::of_row(sqlite_affinity(text));
        fitting = rows_of(system, text, &asked);
    }
    let (chosen, open) = first_that_holds(&fitting);
    let advice = advice(&fitting, chosen.as_ref().map(|(row, _)| *row));
    let answer = |row, holds, asked, advice| TypeAnswer {
        row,
        holds,
        advice,
        asked,
        text: text.to_owned(),
        dialect: false,
    };
    if let Some((row, asked)) = chosen {
        return match arrow::parent(row) {
            Some(parent) => Ok(TypeAnswer { dialect: true, ..look_up_type(parent, text)? }),
            None => Ok(answer(row, true, asked, advice)),
        };
    }
    let shared = type_rows().find(|row| row.system == system && arrow::is_shared(row));
    if let Some(parent) = shared.and_then(arrow::parent)
        && let Ok(answer) = look_up_type(parent, text)
    {
        return Ok(TypeAnswer { dialect: true, ..answer });
    }
    if let Some(row) = open {
        let text = format!("type `{text}` of {system} does not say its precision");
        return Err(Error::new(ErrorKind::TypeMapping, text).hint(format!("write {}", row.source_type)));
    }
    match advice.first() {
        Some(first) => Ok(answer(first, false, asked, advice.clone())),
        None => Err(unknown(system, text)),
    }
}

type Fitting = (&'static TypeRow, Spelling);

/// The row that holds, and a row before it that lacks digits to decide.
fn first_that_holds(fitting: &[Fitting]) -> (Option<Fitting>, Option<&'static TypeRow>) {
    let mut open: Option<&TypeRow> = None;
    for (row, spelling) in fitting {
        let Some(values) = arrow::values(row, spelling) else { continue };
        match row.when.holds(&values) {
            // "Otherwise" says nothing while the rows before it are undecided.
            Some(true) if open.is_some_and(|open| open.spelling == row.spelling) => {}
            Some(true) => return (Some((row, spelling.clone())), open),
            Some(false) => {}
            None => open = Some(row),
        }
    }
    (None, open)
}

/// The rows that need proof, up to the last one of the chosen type.
fn advice(fitting: &[Fitting], chosen: Option<&TypeRow>) -> Vec<&'static TypeRow> {
    let last = chosen
        .and_then(|chosen| fitting.iter().rposition(|(row, _)| row.spelling == chosen.spelling))
        .unwrap_or(usize::MAX);
    let mut advice: Vec<&TypeRow> = Vec::new();
    for (row, _) in fitting.iter().take(last.saturating_add(1)).filter(|(row, _)| row.is_advice()) {
        if !advice.contains(row) {
            advice.push(row);
        }
    }
    advice
}

/// Rows that fit, best first: the row's very text, the type's own spelling, other spellings, and rows that
/// leave the arguments open.
fn rows_of(system: &str, text: &str, asked: &Spelling) -> Vec<Fitting> {
    let mut spellings = vec![asked.clone()];
    let mut index = 0;
    while let Some(spelling) = spellings.get(index) {
        for other in other_spellings(system, spelling) {
            if !spellings.contains(&other) {
                spellings.push(other);
            }
        }
        index += 1;
    }
    let mut fitting = Vec::new();
    for (tier, spelling) in spellings.iter().enumerate() {
        for row in type_rows().filter(|row| row.system == system) {
            if row.source_type.eq_ignore_ascii_case(text) && tier == 0 {
                fitting.push((0, 0, row, spelling.clone()));
            } else if let Some(fit) = row.spelling.fit(spelling) {
                let tier = if fit == 1 { usize::MAX } else { tier + 1 };
                fitting.push((tier, usize::MAX - fit, row, spelling.clone()));
            }
        }
    }
    // Stable: rows keep their order within a type.
    fitting.sort_by_key(|(tier, fit, row, _)| (*tier, *fit, !row.special));
    fitting.into_iter().map(|(_, _, row, spelling)| (row, spelling)).collect()
}

/// Arguments that were given stay; the other spelling's own are defaults.
fn other_spellings(system: &str, asked: &Spelling) -> Vec<Spelling> {
    let mut found = Vec::new();
    for [_, spelling, means] in SPELLINGS.iter().filter(|[of, ..]| of == system) {
        let own = Spelling::of_row(spelling);
        let fits = own.name == asked.name && (own.arguments.is_empty() || own.fit(asked).is_some());
        if fits {
            let mut means = Spelling::of_row(means);
            if own.arguments.is_empty() && !asked.arguments.is_empty() {
                means.arguments.clone_from(&asked.arguments);
            }
            found.push(means);
        }
    }
    found
}

/// The rule of SQLite's manual, which asks for words in this order.
fn sqlite_affinity(declared: &str) -> &'static str {
    let upper = declared.to_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| upper.contains(word));
    if has(&["INT"]) {
        "declared type contains INT"
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        "declared type contains CHAR, CLOB or TEXT"
    } else if has(&["BLOB"]) || upper.trim().is_empty() {
        "declared type contains BLOB or no type"
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        "declared type contains REAL, FLOA or DOUB"
    } else {
        "otherwise (NUMERIC, DECIMAL(p,s), BOOLEAN, DATE, DATETIME)"
    }
}

fn unknown(system: &str, text: &str) -> Error {
    let error = Error::new(ErrorKind::NotFound, format!("{system} has no type `{text}` that we know"))
        .with("system", system)
        .with("type", text);
    let names: Vec<&str> =
        type_rows().filter(|row| row.system == system).map(|row| row.spelling.name.as_str()).collect();
    let asked = Spelling::of_text(text).name;
    match crate::document::nearest(&asked, names.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("see docs/types/{system}.md")),
    }
}
