//! Words of a batch.

use crate::error::{Result, SqlError};
use crate::types::datum::parse_hex;

/// One word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Word {
    /// A keyword or a name without quotes, as it is written.
    Plain(String),
    /// `[name]` or `"name"`.
    Quoted(String),
    /// `@name` and `@@name`, with the signs.
    Variable(String),
    Text {
        value: String,
        /// `N'...'`
        national: bool,
    },
    Binary(Vec<u8>),
    Number(String),
    /// Signs: `<=` and the like are one.
    Sign(&'static str),
    End,
}

/// A word and the line that it stands in, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) word: Word,
    pub(crate) line: u32,
    /// Where it begins and ends in the batch, in characters.
    pub(crate) span: (usize, usize),
}

const SIGNS: [&str; 30] = [
    "::", "<=", ">=", "<>", "!=", "!<", "!>", "+=", "-=", "*=", "/=", "(", ")", ",", ";", ".", "=", "<", ">",
    "+", "-", "*", "/", "%", "&", "|", "^", "~", ":", "$",
];

/// The words of a batch, and an [`Word::End`].
pub(crate) fn words(batch: &[char]) -> Result<Vec<Token>> {
    let mut lexer = Lexer { batch, at: 0, line: 1 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let begin = lexer.at;
        let line = lexer.line;
        let word = lexer.word()?;
        let end = word == Word::End;
        tokens.push(Token { word, line, span: (begin, lexer.at) });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    batch: &'a [char],
    at: usize,
    line: u32,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.batch.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek(0)?;
        self.at += 1;
        if next == '\n' {
            self.line += 1;
        }
        Some(next)
    }

    fn skip_blanks(&mut self) -> Result<()> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('-'), Some('-')) => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.next();
                    }
                }
                (Some('/'), Some('*')) => self.skip_comment()?,
                (Some(c), _) if c.is_whitespace() || c == '\u{FEFF}' => {
                    self.next();
                }
                _ => return Ok(()),
            }
        }
    }

    /// Comments may stand in comments.
    fn skip_comment(&mut self) -> Result<()> {
        let mut depth = 0;
        loop {
            match (self.next(), self.peek(0)) {
                (Some('/'), Some('*')) => {
                    self.next();
                    depth += 1;
                }
                (Some('*'), Some('/')) => {
                    self.next();
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                (None, _) => return Err(SqlError::new(113, 15, "Missing end comment mark '*/'.")),
                _ => {}
            }
        }
    }

    fn word(&mut self) -> Result<Word> {
        let Some(first) = self.peek(0) else { return Ok(Word::End) };
        match (first, self.peek(1)) {
            ('\'', _) => Ok(Word::Text { value: self.quoted('\'')?, national: false }),
            ('N' | 'n', Some('\'')) => {
                self.next();
                Ok(Word::Text { value: self.quoted('\'')?, national: true })
            }
            ('[', _) => self.quoted(']').map(Word::Quoted),
            ('"', _) => self.quoted('"').map(Word::Quoted),
            ('0', Some('x' | 'X')) => {
                self.at += 2;
                let digits = self.run(|c| c.is_ascii_hexdigit());
                // An odd number of digits has a zero before it.
                let digits = if digits.len().is_multiple_of(2) { digits } else { format!("0{digits}") };
                parse_hex(&digits).map(Word::Binary).ok_or_else(|| SqlError::syntax(&digits))
            }
            ('@', _) => {
                let signs = self.run(|c| c == '@');
                Ok(Word::Variable(signs + &self.run(is_name)))
            }
            ('0'..='9', _) | ('.', Some('0'..='9')) => Ok(Word::Number(self.number())),
            (c, _) if is_name(c) => Ok(Word::Plain(self.run(is_name))),
            _ => self.sign(),
        }
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek(0).filter(|&c| belongs(c)) {
            text.push(c);
            self.at += 1;
        }
        text
    }

    /// What stands between two quotes; the closing one doubled stands for itself.
    fn quoted(&mut self, end: char) -> Result<String> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some(c) if c == end && self.peek(0) == Some(end) => {
                    self.next();
                    text.push(end);
                }
                Some(c) if c == end => return Ok(text),
                Some(c) => text.push(c),
                None => {
                    let text = format!("Unclosed quotation mark after the character string '{text}'.");
                    return Err(SqlError::new(105, 15, text));
                }
            }
        }
    }

    fn number(&mut self) -> String {
        let mut text = self.run(|c| c.is_ascii_digit());
        if self.peek(0) == Some('.') {
            self.next();
            text.push('.');
            text += &self.run(|c| c.is_ascii_digit());
        }
        let exponent = match (self.peek(0), self.peek(1), self.peek(2)) {
            (Some('e' | 'E'), Some('0'..='9'), _) => 1,
            (Some('e' | 'E'), Some('+' | '-'), Some('0'..='9')) => 2,
            _ => return text,
        };
        text.extend(&self.batch[self.at..self.at + exponent]);
        self.at += exponent;
        text + &self.run(|c| c.is_ascii_digit())
    }

    fn sign(&mut self) -> Result<Word> {
        for sign in SIGNS {
            if sign.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c)) {
                self.at += sign.chars().count();
                return Ok(Word::Sign(sign));
            }
        }
        let near = self.next().map(String::from).unwrap_or_default();
        Err(SqlError::syntax(&near))
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '#' | '$')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(batch: &str) -> Vec<Word> {
        let batch: Vec<char> = batch.chars().collect();
        words(&batch).unwrap().into_iter().map(|token| token.word).collect()
    }

    #[test]
    fn batches_become_words() {
        let text = |value: &str, national| Word::Text { value: value.into(), national };
        assert_eq!(
            of("SELECT [a]]b], N'it''s' /* x /* y */ */ -- z\n <= 0xAB 1.5e-3 @x @@SPID \"q\""),
            [
                Word::Plain("SELECT".into()),
                Word::Quoted("a]b".into()),
                Word::Sign(","),
                text("it's", true),
                Word::Sign("<="),
                Word::Binary(vec![0xAB]),
                Word::Number("1.5e-3".into()),
                Word::Variable("@x".into()),
                Word::Variable("@@SPID".into()),
                Word::Quoted("q".into()),
                Word::End,
            ]
        );
        let open: Vec<char> = "'x".chars().collect();
        assert_eq!(words(&open).unwrap_err().number, 105);
    }
}
