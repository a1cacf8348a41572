//! CLR types: `hierarchyid`, `geography` and `geometry`, which are kept as text (`srid;WKT` the latter two).

use super::Kind;

/// A shape read from WKT: its kind's number in WKB, and what it consists of.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// Also the empty point, without coordinates.
    Point(Vec<f64>),
    Line(Vec<Vec<f64>>),
    Polygon(Vec<Vec<Vec<f64>>>),
    Many(u32, Vec<Shape>),
}

/// The SRID and the WKT of a kept value.
pub(crate) fn parts(kept: &str) -> Option<(i32, &str)> {
    let (srid, text) = kept.split_once(';')?;
    Some((srid.parse().ok()?, text))
}

/// WKT as SQL Server prints it: upper case, `KIND (x y, x y)`. `None` if it is none.
pub(crate) fn normalised(text: &str) -> Option<String> {
    let (shape, rest) = shape(text)?;
    rest.trim().is_empty().then(|| print(&shape))
}

/// WKT without the third and the fourth coordinate.
pub(crate) fn flat(text: &str) -> Option<String> {
    let (mut shape, _) = shape(text)?;
    flatten(&mut shape);
    Some(print(&shape))
}

/// OGC WKB, two coordinates; with `zm` the third and the fourth too (their kinds count 1000 to 3000 higher).
pub(crate) fn wkb(text: &str, zm: bool) -> Option<Vec<u8>> {
    let (mut shape, _) = shape(text)?;
    if !zm {
        flatten(&mut shape);
    }
    let mut bytes = Vec::new();
    write(&shape, &mut bytes);
    Some(bytes)
}

/// The kind of a shape, as `STGeometryType` gives it.
pub(crate) fn kind_of(text: &str) -> Option<&'static str> {
    Some(match shape(text)?.0 {
        Shape::Point(_) => "Point",
        Shape::Line(_) => "LineString",
        Shape::Polygon(_) => "Polygon",
        Shape::Many(4, _) => "MultiPoint",
        Shape::Many(5, _) => "MultiLineString",
        Shape::Many(6, _) => "MultiPolygon",
        Shape::Many(..) => "GeometryCollection",
    })
}

fn shape(text: &str) -> Option<(Shape, &str)> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let name = name.to_ascii_uppercase();
    let rest = rest.trim_start();
    let (empty, rest) = match rest.get(..5) {
        Some(word) if word.eq_ignore_ascii_case("empty") => (true, &rest[5..]),
        _ => (false, rest),
    };
    let many = |number, one: fn(&str) -> Option<(Shape, &str)>| {
        if empty {
            return Some((Shape::Many(number, Vec::new()), rest));
        }
        let (shapes, rest) = list(rest, one)?;
        Some((Shape::Many(number, shapes), rest))
    };
    match name.as_str() {
        "POINT" if empty => Some((Shape::Point(Vec::new()), rest)),
        "LINESTRING" if empty => Some((Shape::Line(Vec::new()), rest)),
        "POLYGON" if empty => Some((Shape::Polygon(Vec::new()), rest)),
        "POINT" => point(rest),
        "LINESTRING" => line(rest),
        "POLYGON" => polygon(rest),
        "MULTIPOINT" => many(4, point),
        "MULTILINESTRING" => many(5, line),
        "MULTIPOLYGON" => many(6, polygon),
        "GEOMETRYCOLLECTION" => many(7, shape),
        _ => None,
    }
}

/// What stands in parentheses, divided by commas.
fn list<T>(text: &str, one: fn(&str) -> Option<(T, &str)>) -> Option<(Vec<T>, &str)> {
    let mut rest = text.trim_start().strip_prefix('(')?;
    let mut items = Vec::new();
    loop {
        let (item, after) = one(rest)?;
        items.push(item);
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Some((items, after.strip_prefix(')')?)),
        }
    }
}

fn coordinates(text: &str) -> Option<(Vec<f64>, &str)> {
    let end = text.find([',', ')']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let numbers: Option<Vec<f64>> = numbers.split_whitespace().map(|number| number.parse().ok()).collect();
    numbers.filter(|numbers| (2..=4).contains(&numbers.len())).map(|numbers| (numbers, rest))
}

fn point(text: &str) -> Option<(Shape, &str)> {
    // MULTIPOINT may leave out the parentheses of its points.
    if !text.trim_start().starts_with('(') {
        return coordinates(text).map(|(point, rest)| (Shape::Point(point), rest));
    }
    let (points, rest) = list(text, coordinates)?;
    Some((Shape::Point(points.into_iter().next()?), rest))
}

fn line(text: &str) -> Option<(Shape, &str)> {
    list(text, coordinates).map(|(points, rest)| (Shape::Line(points), rest))
}

fn polygon(text: &str) -> Option<(Shape, &str)> {
    list(text, |ring| list(ring, coordinates)).map(|(rings, rest)| (Shape::Polygon(rings), rest))
}

fn flatten(shape: &mut Shape) {
    match shape {
        Shape::Point(point) => point.truncate(2),
        Shape::Line(points) => points.iter_mut().for_each(|point| point.truncate(2)),
        Shape::Polygon(rings) => rings.iter_mut().flatten().for_each(|point| point.truncate(2)),
        Shape::Many(_, shapes) => shapes.iter_mut().for_each(flatten),
    }
}

fn print(shape: &Shape) -> String {
    let (name, body) = match shape {
        Shape::Point(_) => ("POINT", body(shape)),
        Shape::Line(_) => ("LINESTRING", body(shape)),
        Shape::Polygon(_) => ("POLYGON", body(shape)),
        Shape::Many(4, _) => ("MULTIPOINT", body(shape)),
        Shape::Many(5, _) => ("MULTILINESTRING", body(shape)),
        Shape::Many(6, _) => ("MULTIPOLYGON", body(shape)),
        Shape::Many(..) => ("GEOMETRYCOLLECTION", body(shape)),
    };
    match body {
        Some(body) => format!("{name} ({body})"),
        None => format!("{name} EMPTY"),
    }
}

fn body(shape: &Shape) -> Option<String> {
    let joined = |points: &[Vec<f64>]| {
        let points: Vec<String> = points
            .iter()
            .map(|point| point.iter().map(f64::to_string).collect::<Vec<_>>().join(" "))
            .collect();
        points.join(", ")
    };
    let text = match shape {
        Shape::Point(point) => joined(std::slice::from_ref(point)),
        Shape::Line(points) => joined(points),
        Shape::Polygon(rings) => {
            rings.iter().map(|ring| format!("({})", joined(ring))).collect::<Vec<_>>().join(", ")
        }
        Shape::Many(7, shapes) => shapes.iter().map(print).collect::<Vec<_>>().join(", "),
        Shape::Many(_, shapes) => shapes
            .iter()
            .map(|shape| format!("({})", body(shape).unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(", "),
    };
    (!text.is_empty()).then_some(text)
}

fn dimensions(shape: &Shape) -> usize {
    match shape {
        Shape::Point(point) => point.len(),
        Shape::Line(points) => points.first().map_or(2, Vec::len),
        Shape::Polygon(rings) => rings.first().and_then(|ring| ring.first()).map_or(2, Vec::len),
        Shape::Many(_, shapes) => shapes.first().map_or(2, dimensions),
    }
}

fn write(shape: &Shape, to: &mut Vec<u8>) {
    let count = |number: usize| u32::try_from(number).unwrap_or(0).to_le_bytes();
    let higher = match dimensions(shape) {
        3 => 1000,
        4 => 3000,
        _ => 0,
    };
    let kind: u32 = match shape {
        Shape::Point(_) => 1,
        Shape::Line(_) => 2,
        Shape::Polygon(_) => 3,
        Shape::Many(kind, _) => *kind,
    };
    to.push(1);
    to.extend((kind + higher).to_le_bytes());
    let points = |to: &mut Vec<u8>, points: &[Vec<f64>]| {
        to.extend(points.iter().flatten().flat_map(|number| number.to_le_bytes()));
    };
    match shape {
        Shape::Point(point) if point.is_empty() => {
            to.extend([f64::NAN; 2].iter().flat_map(|nan| nan.to_le_bytes()))
        }
        Shape::Point(point) => points(to, std::slice::from_ref(point)),
        Shape::Line(line) => {
            to.extend(count(line.len()));
            points(to, line);
        }
        Shape::Polygon(rings) => {
            to.extend(count(rings.len()));
            for ring in rings {
                to.extend(count(ring.len()));
                points(to, ring);
            }
        }
        Shape::Many(_, shapes) => {
            to.extend(count(shapes.len()));
            shapes.iter().for_each(|shape| write(shape, to));
        }
    }
}

/// The bytes that a CLR type travels in when a query selects the column itself: for points as [MS-SSCLRT] says; for
/// what it does not cover the text, which no client of ours reads.
pub(crate) fn native(kind: Kind, kept: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(kept);
    match (kind, parts(&text)) {
        (Kind::Geography | Kind::Geometry, Some((srid, wkt))) => match shape(wkt) {
            Some((Shape::Point(point), _)) if point.len() == 2 => {
                let mut bytes = srid.to_le_bytes().to_vec();
                // Version 1; valid, and a single point.
                bytes.extend([1, 0x0C]);
                // A geography has its latitude first.
                let order = if kind == Kind::Geography { [1, 0] } else { [0, 1] };
                bytes.extend(order.iter().flat_map(|&at| point[at].to_le_bytes()));
                bytes
            }
            _ => text.into_owned().into_bytes(),
        },
        _ => hierarchy(&text).unwrap_or_else(|| text.into_owned().into_bytes()),
    }
}

/// A `hierarchyid` whose labels are 0 to 15.
fn hierarchy(path: &str) -> Option<Vec<u8>> {
    let mut bits = String::new();
    for label in path.trim_matches('/').split('/').filter(|label| !label.is_empty()) {
        let number: u8 = label.parse().ok()?;
        bits.push_str(&match number {
            0..=3 => format!("01{number:02b}1"),
            4..=7 => format!("100{:02b}1", number - 4),
            8..=15 => format!("101{:03b}1", number - 8),
            _ => return None,
        });
    }
    let padded = bits.len().div_ceil(8) * 8;
    let bits = format!("{bits:0<padded$}");
    bits.as_bytes()
        .chunks(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).ok()?, 2).ok())
        .collect()
}

/// `/1/2.1/` in its canonical form; `None` if it is no path.
pub(crate) fn hierarchy_path(text: &str) -> Option<String> {
    let path = text.trim();
    let inner = path.strip_prefix('/')?;
    if inner.is_empty() {
        return Some("/".to_owned());
    }
    let labels = inner.strip_suffix('/')?.split('/');
    let valid = |label: &str| {
        label.split('.').all(|part| part.strip_prefix('-').unwrap_or(part).parse::<u64>().is_ok())
    };
    labels.clone().all(valid).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_printed_as_they_are_read() {
        for text in [
            "POINT (1 2.5)",
            "POINT (1 2 3)",
            "POINT EMPTY",
            "LINESTRING (0 0, 1 1)",
            "POLYGON ((0 0, 1 0, 1 1, 0 0), (0.1 0.1, 0.2 0.1, 0.2 0.2, 0.1 0.1))",
            "MULTIPOINT ((1 2), (3 4))",
            "GEOMETRYCOLLECTION (POINT (1 2), LINESTRING (0 0, 1 1))",
        ] {
            assert_eq!(normalised(text).as_deref(), Some(text));
        }
        assert_eq!((normalised("POINT (1"), normalised("CIRCLE (1 2)")), (None, None));
        assert_eq!(flat("POINT (1 2 3)").unwrap(), "POINT (1 2)");
    }

    #[test]
    fn binary_forms_are_those_of_the_standards() {
        assert_eq!(wkb("POINT (1 2)", false).unwrap()[..5], [1, 1, 0, 0, 0]);
        assert_eq!(wkb("POINT (1 2 3)", true).unwrap()[..5], [1, 0xE9, 3, 0, 0]);
        // /1/1/ is 0x5AC0: what SQL Server prints for hierarchyid::Parse('/1/1/').
        assert_eq!(native(Kind::HierarchyId, b"/1/1/"), [0x5A, 0xC0]);
        assert_eq!(native(Kind::HierarchyId, b"/1/"), [0x58]);
    }
}
