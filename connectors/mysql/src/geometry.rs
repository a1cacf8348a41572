//! Geometries as servers keep them: four bytes of SRID, then well-known binary.

use transload_sql::wire::Decoded;

/// Nested collections deeper than this are refused.
const DEPTH: u8 = 32;

/// PostGIS's flag for a SRID that follows the type.
const HAS_SRID: u32 = 0x2000_0000;

const CUT: &str = "a geometry that is cut";

/// Appends extended well-known binary; without a SRID it is the well-known binary itself.
pub(crate) fn extended(field: &[u8], to: &mut Vec<u8>) -> Decoded<()> {
    let (srid, binary) = field.split_first_chunk::<4>().ok_or(CUT)?;
    if *srid == [0; 4] {
        to.extend_from_slice(binary);
        return Ok(());
    }
    let (head, rest) = binary.split_first_chunk::<5>().ok_or(CUT)?;
    let [1, a, b, c, d] = *head else { return Err("a geometry that is not little-endian") };
    to.push(1);
    to.extend((u32::from_le_bytes([a, b, c, d]) | HAS_SRID).to_le_bytes());
    to.extend_from_slice(srid);
    to.extend_from_slice(rest);
    Ok(())
}

/// Appends well-known text with every digit of the coordinates, which are longitude and latitude: servers keep them in
/// this order, whatever order they print. A column declared with SRID 4326 may hold values without any in MariaDB.
pub(crate) fn well_known_text(field: &[u8], to: &mut Vec<u8>) -> Decoded<()> {
    let (srid, binary) = field.split_first_chunk::<4>().ok_or(CUT)?;
    if !matches!(u32::from_le_bytes(*srid), 0 | 4326) {
        return Err("a geometry of another SRID than its column's 4326");
    }
    let mut reader = Reader { rest: binary, to };
    reader.geometry(DEPTH)?;
    if reader.rest.is_empty() { Ok(()) } else { Err("bytes after a geometry") }
}

struct Reader<'a, 'b> {
    rest: &'a [u8],
    to: &'b mut Vec<u8>,
}

impl Reader<'_, '_> {
    fn take<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Decoded<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn kind(&mut self) -> Decoded<u32> {
        match self.take()? {
            [1] => self.number(),
            _ => Err("a geometry that is not little-endian"),
        }
    }

    fn put(&mut self, text: &str) {
        self.to.extend_from_slice(text.as_bytes());
    }

    fn geometry(&mut self, depth: u8) -> Decoded<()> {
        let depth = depth.checked_sub(1).ok_or("a geometry that is nested too deeply")?;
        match self.kind()? {
            1 => {
                self.put("POINT(");
                self.position()?;
                self.put(")");
                Ok(())
            }
            2 => self.named("LINESTRING", |this| this.position()),
            3 => self.named("POLYGON", Self::ring),
            4 => self.named("MULTIPOINT", |this| this.member(1, |this| this.position())),
            5 => self.named("MULTILINESTRING", |this| this.member(2, Self::ring)),
            6 => self.named("MULTIPOLYGON", |this| this.member(3, |this| this.list(Self::ring))),
            7 => self.named("GEOMETRYCOLLECTION", |this| this.geometry(depth)),
            _ => Err("a geometry of an unknown type"),
        }
    }

    fn named(&mut self, name: &str, each: impl Fn(&mut Self) -> Decoded<()>) -> Decoded<()> {
        self.put(name);
        if self.rest.starts_with(&[0; 4]) {
            self.put(" EMPTY");
            return self.number().map(|_| ());
        }
        self.list(each)
    }

    fn list(&mut self, each: impl Fn(&mut Self) -> Decoded<()>) -> Decoded<()> {
        self.put("(");
        for index in 0..self.number()? {
            if index > 0 {
                self.put(", ");
            }
            each(self)?;
        }
        self.put(")");
        Ok(())
    }

    fn ring(&mut self) -> Decoded<()> {
        self.list(|this| this.position())
    }

    /// A part with a head of its own.
    fn member(&mut self, kind: u32, each: impl Fn(&mut Self) -> Decoded<()>) -> Decoded<()> {
        if self.kind()? != kind {
            return Err("a geometry with parts of another type");
        }
        each(self)
    }

    fn position(&mut self) -> Decoded<()> {
        let (x, y) = (f64::from_le_bytes(self.take()?), f64::from_le_bytes(self.take()?));
        if !x.is_finite() || !y.is_finite() {
            return Err("a geometry with a coordinate that is no number");
        }
        self.put(&format!("{x} {y}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, y: f64) -> Vec<u8> {
        [&[1, 1, 0, 0, 0], x.to_le_bytes().as_slice(), &y.to_le_bytes()].concat()
    }

    fn text(srid: u32, binary: &[u8]) -> Decoded<String> {
        let mut text = Vec::new();
        well_known_text(&[srid.to_le_bytes().as_slice(), binary].concat(), &mut text)?;
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn texts_keep_every_digit() {
        assert_eq!(text(4326, &point(0.1 + 0.2, -1e-7)).unwrap(), "POINT(0.30000000000000004 -0.0000001)");
        let two = [&[1, 7, 0, 0, 0, 2, 0, 0, 0], point(1.0, 2.0).as_slice(), &point(3.0, 4.0)].concat();
        assert_eq!(text(0, &two).unwrap(), "GEOMETRYCOLLECTION(POINT(1 2), POINT(3 4))");
        assert_eq!(text(0, &[1, 7, 0, 0, 0, 0, 0, 0, 0]).unwrap(), "GEOMETRYCOLLECTION EMPTY");
        assert!(text(3857, &point(1.0, 2.0)).is_err() && text(4326, &point(f64::NAN, 2.0)).is_err());
    }

    #[test]
    fn extended_binary_has_the_srid() {
        let mut bytes = Vec::new();
        extended(&[&[0xe6, 0x10, 0, 0], point(1.0, 2.0).as_slice()].concat(), &mut bytes).unwrap();
        assert_eq!(bytes[..9], [1, 1, 0, 0, 0x20, 0xe6, 0x10, 0, 0]);
        let mut bytes = Vec::new();
        extended(&[&[0; 4], point(1.0, 2.0).as_slice()].concat(), &mut bytes).unwrap();
        assert_eq!(bytes, point(1.0, 2.0));
    }

    #[test]
    fn garbage_never_panics() {
        use rand::{Rng as _, SeedableRng as _};
        let mut random = rand::rngs::StdRng::seed_from_u64(6);
        let mut deep = vec![0; 4];
        deep.extend([1, 7, 0, 0, 0, 1, 0, 0, 0].repeat(100));
        assert!(well_known_text(&deep, &mut Vec::new()).is_err());
        for _ in 0..50_000 {
            let mut field: Vec<u8> =
                (0..random.random_range(0..60)).map(|_| random.random_range(0..8)).collect();
            field.iter_mut().take(4).for_each(|byte| *byte = 0);
            let _ = well_known_text(&field, &mut Vec::new());
            let _ = extended(&field, &mut Vec::new());
        }
    }
}
