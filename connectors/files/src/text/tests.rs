//! Text through real files, in blocks of every small size, against a plain reference parser.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, RecordBatch, cast::AsArray as _};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use transload_core::schema::TableRef;
use transload_core::{Error, ErrorKind, Result};

use super::*;

type Rows = Vec<Vec<Option<String>>>;

struct TestFile {
    _dir: tempfile::TempDir,
    path: PathBuf,
    bytes: u64,
}

fn file(text: impl AsRef<[u8]>) -> TestFile {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.txt");
    std::fs::write(&path, text.as_ref()).unwrap();
    TestFile { _dir: dir, path, bytes: text.as_ref().len() as u64 }
}

fn rows_of(batches: &[RecordBatch]) -> Rows {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let value = |column: &arrow_array::ArrayRef| {
                let texts = column.as_string::<i32>();
                texts.is_valid(row).then(|| texts.value(row).to_owned())
            };
            rows.push(batch.columns().iter().map(value).collect());
        }
    }
    rows
}

fn read_in(file: &TestFile, table: &TextTable, block: usize) -> Result<Rows> {
    let schema = table.schema(TableRef::unqualified("t")).arrow_schema();
    let fields: Vec<usize> = (0..table.names.len()).collect();
    let range = table.data_start..file.bytes;
    let reader =
        TextReader::open(&file.path, range.clone(), Arc::new(table.clone()), &fields, schema, 1 << 20)?;
    let batches = reader.with_sizes(&file.path, range, block, 3).collect::<Result<Vec<_>>>()?;
    Ok(rows_of(&batches))
}

/// Reads in blocks of many sizes; all must agree.
fn read_with(text: impl AsRef<[u8]>, dialect: &Dialect) -> Result<(Vec<String>, Rows)> {
    let file = file(text);
    let table = TextTable::delimited(&file.path, file.bytes, dialect.clone())?;
    let whole = read_in(&file, &table, BLOCK);
    for block in (1..40).chain([64, 100]) {
        match (&whole, read_in(&file, &table, block)) {
            (Ok(whole), Ok(rows)) => assert_eq!(whole, &rows, "block of {block}"),
            // Which of two errors comes first may depend on the block, whether there is one may not.
            (Err(_), Err(_)) => {}
            (whole, rows) => panic!("block of {block}: {whole:?} but {rows:?}"),
        }
    }
    Ok((table.names, whole?))
}

fn read(text: impl AsRef<[u8]>) -> Result<(Vec<String>, Rows)> {
    read_with(text, &Dialect::new(b','))
}

fn row(fields: &[Option<&str>]) -> Vec<Option<String>> {
    fields.iter().map(|field| field.map(str::to_owned)).collect()
}

fn line(error: &Error) -> &str {
    error.context_value("line").unwrap_or("none")
}

#[test]
fn plain_text() {
    let (names, rows) = read("a, b ,c\n1,2,3\n,\"\",x\n").unwrap();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(rows, [row(&[Some("1"), Some("2"), Some("3")]), row(&[None, Some(""), Some("x")])]);
}

#[test]
fn line_ends_bom_and_no_final_break() {
    for text in [
        "a,b\r\n1,2\r\n3,\r\n",
        "\u{feff}a,b\n1,2\n3,",
        "a,b\r\n1,2\r\n3,",
        "\u{feff}\"a\",b\r\n\r\n1,2\n\n3,\n\n",
    ] {
        let (names, rows) = read(text).unwrap();
        assert_eq!(names, ["a", "b"], "{text:?}");
        assert_eq!(rows, [row(&[Some("1"), Some("2")]), row(&[Some("3"), None])], "{text:?}");
    }
}

#[test]
fn quotes() {
    let (names, rows) = read(
        "\"x,1\",\"y\"\"z\"\n\"a\nb\",\"\"\"\"\n\"\r\n\",\"q\"\r\n5\" disk,it\"s\n\"\",,\n"
            .replace(",,", ","),
    )
    .unwrap();
    assert_eq!(names, ["x,1", "y\"z"]);
    assert_eq!(
        rows,
        [
            row(&[Some("a\nb"), Some("\"")]),
            row(&[Some("\r\n"), Some("q")]),
            row(&[Some("5\" disk"), Some("it\"s")]),
            row(&[Some(""), None]),
        ]
    );
}

#[test]
fn no_quotes_means_quotes_are_text() {
    let dialect = Dialect { quote: None, ..Dialect::new(b';') };
    let (_, rows) = read_with("a;b\n\"x;y\"\n", &dialect).unwrap();
    assert_eq!(rows, [row(&[Some("\"x"), Some("y\"")])]);
}

#[test]
fn comments_skipped_rows_and_null_values() {
    let dialect = Dialect {
        comment: Some(b"#".to_vec()),
        skip_rows: 2,
        null_values: vec![b"NA".to_vec(), b"\\N".to_vec()],
        ..Dialect::new(b'\t')
    };
    let text = "report \"of\nyesterday\n# names\na\tb\n#x\tNA\tz\n1\tNA\n\"NA\"\t\\N\n2\t# no comment\n";
    let (names, rows) = read_with(text, &dialect).unwrap();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        rows,
        [row(&[Some("1"), None]), row(&[Some("NA"), None]), row(&[Some("2"), Some("# no comment")])]
    );
}

#[test]
fn without_header() {
    let dialect = Dialect { header: false, ..Dialect::new(b',') };
    let (names, rows) = read_with("1,2\n3,4", &dialect).unwrap();
    assert_eq!(names, ["column_1", "column_2"]);
    assert_eq!(rows.len(), 2);
}

#[test]
fn one_column_keeps_blank_lines_as_null() {
    let (_, rows) = read("a\n1\n\n\"\"\n").unwrap();
    assert_eq!(rows, [row(&[Some("1")]), row(&[None]), row(&[Some("")])]);
}

#[test]
fn header_only_and_empty() {
    assert_eq!(read("a,b").unwrap().1.len(), 0);
    assert_eq!(read("a,b\n\n").unwrap().1.len(), 0);
    for text in ["", "\u{feff}", "\n\n"] {
        let error = read(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.message().contains("empty"), "{error}");
    }
}

#[test]
fn broken_text_names_its_line() {
    for (text, wanted, word) in [
        ("a,b\n1,2\n1,2,3\n", "3", "3 fields, expected 2"),
        ("a,b\n1\n", "2", "1 fields, expected 2"),
        ("a,b\n\"x\ny\",2\n1,2,3,4\n", "4", "4 fields"),
        ("a,b\n1,\"x\"y\n", "2", "closing quote"),
        ("a,b\n1,2\n1,\"x\n\n", "3", "inside a quoted field"),
    ] {
        let error = read(text).unwrap_err();
        assert_eq!((error.kind(), line(&error)), (ErrorKind::Data, wanted), "{error}");
        assert!(error.message().contains(word) && error.hint_text().is_some(), "{error}");
    }
    for (text, wanted) in [
        (&b"a,b\n1,2\n1,\xff\n"[..], "3"),
        (b"a,\xc3\n", "1"),
        (b"a,b\n1,\"\xe9\"\n", "2"),
        // Two halves of one character in two fields are no characters.
        (b"a,b\n\xc3,\xa9\n", "2"),
    ] {
        let error = read(text).unwrap_err();
        assert_eq!((error.kind(), line(&error)), (ErrorKind::Data, wanted), "{error}");
        assert!(error.message().contains("UTF-8"), "{error}");
    }
}

#[test]
fn broken_headers() {
    for (text, word) in [("a,,b\n", "column 2 has no name"), ("a,b,a\n", "`a` twice"), ("a, a\n", "twice")] {
        let error = read(text).unwrap_err();
        assert!(error.kind() == ErrorKind::Data && error.message().contains(word), "{error}");
    }
}

/// Byte by byte, without any of the tricks: fields of every record, or `None` if the text is broken.
fn reference(text: &str, width: usize) -> Option<Rows> {
    let mut text = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let chars: Vec<char> = text.chars().collect();
    let (mut rows, mut fields, mut at) = (Rows::new(), Vec::new(), 0);
    while at < chars.len() {
        let mut value = String::new();
        let quoted = chars[at] == '"';
        if quoted {
            at += 1;
            loop {
                match (chars.get(at)?, chars.get(at + 1)) {
                    ('"', Some('"')) => {
                        value.push('"');
                        at += 2;
                    }
                    ('"', _) => break,
                    (c, _) => {
                        value.push(*c);
                        at += 1;
                    }
                }
            }
            at += 1;
            if chars.get(at) == Some(&'\r') && chars.get(at + 1) == Some(&'\n') {
                at += 1;
            }
        } else {
            while !matches!(chars[at], ',' | '\n') {
                value.push(chars[at]);
                at += 1;
            }
            if chars[at] == '\n' && value.ends_with('\r') && fields.len() + 1 >= width {
                value.pop();
            }
        }
        let separator = *chars.get(at)?;
        at += 1;
        let blank = fields.is_empty() && !quoted && matches!(value.as_str(), "" | "\r");
        fields.push((quoted || !value.is_empty()).then_some(value));
        match separator {
            ',' => {}
            '\n' if blank && width != 1 => fields.clear(),
            '\n' if fields.len() == width => rows.push(std::mem::take(&mut fields)),
            _ => return None,
        }
    }
    Some(rows)
}

#[test]
fn random_text_agrees_with_the_reference() {
    let mut random = StdRng::seed_from_u64(7);
    let alphabet = ['a', 'b', ',', ',', '\n', '"', '"', '\r', 'é', '0'];
    let (mut good, mut bad) = (0, 0);
    for _ in 0..1500 {
        let width = random.random_range(1..4);
        let mut text: String = ["c1", "c2", "c3"][..width].join(",") + "\n";
        let head = text.len();
        // Half of the texts have the right shape, so that not nearly all of them are broken.
        if random.random_bool(0.5) {
            for _ in 0..random.random_range(0..6) {
                let fields: Vec<&str> = (0..width)
                    .map(|_| {
                        ["", "a", "\"\"", "\"x,\ny\"", "\"\"\"\"", "é", "some longer text than most"]
                            [random.random_range(0..7)]
                    })
                    .collect();
                text += &fields.join(",");
                text += ["\n", "\r\n"][random.random_range(0..2)];
            }
        } else {
            (0..random.random_range(0..12)).for_each(|_| text.push(alphabet[random.random_range(0..10)]));
        }
        let expected = reference(&text[head..], width);
        match (read(&text), expected) {
            (Ok((_, rows)), Some(expected)) => {
                assert_eq!(rows, expected, "{text:?}");
                good += 1;
            }
            (Err(_), None) => bad += 1,
            (got, expected) => panic!("{text:?}: {got:?} but {expected:?}"),
        }
    }
    assert!(good > 250 && bad > 250, "{good} good and {bad} bad");
}

#[test]
fn ranges_cover_every_record_once() {
    let mut text = String::from("id,v\n");
    (0..500).for_each(|i| text += &format!("{i},{}\n", "x".repeat(i % 9)));
    let file = file(&text);
    let dialect = Dialect { quote: None, ..Dialect::new(b',') };
    let table = Arc::new(TextTable::delimited(&file.path, file.bytes, dialect).unwrap());
    let schema = table.schema(TableRef::unqualified("t")).arrow_schema();
    for step in [1, 7, 100, 1000] {
        let (mut start, mut rows) = (table.data_start, Rows::new());
        while start < file.bytes {
            let end = block::line_start(&file.path, start + step, file.bytes).unwrap();
            let reader = TextReader::open(
                &file.path,
                start..end,
                Arc::clone(&table),
                &[0, 1],
                Arc::clone(&schema),
                1 << 20,
            );
            rows.extend(rows_of(&reader.unwrap().collect::<Result<Vec<_>>>().unwrap()));
            start = end;
        }
        let ids: Vec<usize> = rows.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
        assert_eq!(ids, (0..500).collect::<Vec<_>>());
    }
}

#[test]
fn samples_are_spread_and_hold_no_row_twice() {
    let mut text = String::from("id,v\n");
    (0..300_000).for_each(|i| text += &format!("{i},something\n"));
    let file = file(&text);
    let table = Arc::new(TextTable::delimited(&file.path, file.bytes, Dialect::new(b',')).unwrap());
    let schema = table.schema(TableRef::unqualified("t")).arrow_schema();
    let ids = |rows| -> Vec<usize> {
        let batches = sample(&file.path, file.bytes, &table, &schema, rows).unwrap();
        rows_of(&batches).iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect()
    };
    let some = ids(300);
    assert_eq!(some.len(), 300);
    assert!(some.is_sorted_by(|a, b| a < b));
    assert!(some.iter().any(|id| (140_000..180_000).contains(id)) && some[299] == 299_999, "{some:?}");
    assert_eq!(ids(1_000_000).len(), 300_000);
    assert_eq!(ids(1), [0]);
    let estimate = rows_estimate(&file.path, file.bytes, table.data_start).unwrap();
    assert!((250_000..350_000).contains(&estimate), "{estimate}");
}

fn fixed(text: &str, columns: &[FixedColumn]) -> Result<(Vec<String>, Rows)> {
    let file = file(text);
    let dialect = Dialect { header: columns.is_empty(), ..Dialect::new(b' ') };
    let table = TextTable::fixed(&file.path, file.bytes, dialect, columns)?;
    let whole = read_in(&file, &table, BLOCK);
    for size in 1..30 {
        match (&whole, read_in(&file, &table, size)) {
            (Ok(whole), Ok(rows)) => assert_eq!(whole, &rows),
            (Err(_), Err(_)) => {}
            (whole, rows) => panic!("{whole:?} but {rows:?}"),
        }
    }
    Ok((table.names, whole?))
}

#[test]
fn fixed_width_columns_are_derived() {
    let text = " customer_id  date number_of_cds  dollar_value\r\n 00001 19970101  1   11.77\r\n\r\n 00002 19970112 12 1112.00\r\n 00003           1    0.00";
    let (names, rows) = fixed(text, &[]).unwrap();
    assert_eq!(names, ["customer_id", "date", "number_of_cds", "dollar_value"]);
    assert_eq!(
        rows,
        [
            row(&[Some("00001"), Some("19970101"), Some("1"), Some("11.77")]),
            row(&[Some("00002"), Some("19970112"), Some("12"), Some("1112.00")]),
            row(&[Some("00003"), None, Some("1"), Some("0.00")]),
        ]
    );
    assert_eq!(fixed("a b\n", &[]).unwrap(), (vec!["a".into(), "b".into()], Vec::new()));
    assert_eq!(fixed("a\né\nxy\n", &[]).unwrap().1, [row(&[Some("é")]), row(&[Some("xy")])]);
}

#[test]
fn fixed_width_at_given_positions() {
    let column = |name: &str, start, width| FixedColumn { name: name.into(), start, width };
    let columns = [column("id", 0, 3), column("name", 5, 4), column("end", 9, 2)];
    let (_, rows) = fixed("001--Ann xy\n002--Zoé yz rest\n3\n\n", &columns).unwrap();
    assert_eq!(
        rows,
        [
            row(&[Some("001"), Some("Ann"), Some("xy")]),
            row(&[Some("002"), Some("Zoé"), Some("yz")]),
            row(&[Some("3"), None, None]),
        ]
    );
}

#[test]
fn fixed_width_errors() {
    let error = fixed("one two three\n1 2\n", &[]).unwrap_err();
    assert!(error.kind() == ErrorKind::Data && error.to_string().contains("`columns`"), "{error}");
    assert_eq!(fixed("", &[]).unwrap_err().kind(), ErrorKind::Data);
}

/// Lines behind the part that the columns were derived from must still fit them.
#[test]
fn fixed_width_lines_are_checked_against_the_layout() {
    let lines = |later: &str| format!("a b\n{}{later}\n", "11 22\n".repeat(3));
    for (later, wanted) in [("11x22", "5"), ("11 22 3", "5"), ("11 223", "ok"), ("1  2", "ok")] {
        let file = file(lines(later));
        let dialect = Dialect::new(b' ');
        let known = self::file(lines("11 22"));
        let table = TextTable::fixed(&known.path, known.bytes, dialect, &[]).unwrap();
        match read_in(&file, &table, BLOCK) {
            Ok(rows) => assert!(wanted == "ok" && rows.len() == 4),
            Err(error) => assert_eq!((error.kind(), line(&error)), (ErrorKind::Data, wanted), "{error}"),
        }
    }
}

#[test]
fn mutated_files_never_panic() {
    let mut random = StdRng::seed_from_u64(11);
    let seeds: [&[u8]; 3] =
        [b"a,b\n1,\"x\"\"y\"\n\"p\nq\",\r\n", b"\xef\xbb\xbfa b\n 1 2\n 3 4\r\n", "é,ü\nß,ø\n".as_bytes()];
    for _ in 0..1000 {
        let mut text = seeds[random.random_range(0..seeds.len())].to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..text.len());
            match random.random_range(0..3) {
                0 => text[at] = random.random(),
                1 => text.insert(at, random.random()),
                _ => text.truncate(at.max(1)),
            }
        }
        let file = file(&text);
        for table in [
            TextTable::delimited(&file.path, file.bytes, Dialect::new(b',')),
            TextTable::fixed(&file.path, file.bytes, Dialect::new(b' '), &[]),
        ]
        .into_iter()
        .flatten()
        {
            for block in [1, 5, BLOCK] {
                let _ = read_in(&file, &table, block);
            }
        }
    }
}

/// The file of the demo, where it is.
#[test]
fn the_demo_file_reads_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/cdnow_master.txt");
    let bytes = std::fs::metadata(&path).unwrap().len();
    let table = TextTable::fixed(&path, bytes, Dialect::new(b' '), &[]).unwrap();
    assert_eq!(table.names, ["customer_id", "date", "number_of_cds", "dollar_value"]);
    let lines = std::fs::read_to_string(&path).unwrap();
    let expected: Rows = lines
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().map(|word| Some(word.to_owned())).collect())
        .collect();
    let schema = table.schema(TableRef::unqualified("t")).arrow_schema();
    let reader =
        TextReader::open(&path, table.data_start..bytes, Arc::new(table), &[0, 1, 2, 3], schema, 1 << 24)
            .unwrap();
    assert!(rows_of(&reader.collect::<Result<Vec<_>>>().unwrap()) == expected);
}
