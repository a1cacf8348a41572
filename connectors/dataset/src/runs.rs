//! Indices and levels as Parquet stores them: runs of one value, and packed bits.

/// Values that are packed together; runs of packed bits are multiples of it.
const GROUP: usize = 8;
/// A run of one value is written as such if it would take more packed bits than this.
const WORTH: usize = 64;

/// Appends indices below `2^width`, a byte with the width before them.
pub(crate) fn indices(values: &[u16], width: u8, out: &mut Vec<u8>) {
    out.push(width);
    let (mut packed, mut at) = (0, 0);
    while let Some(group) = values.get(at..at + GROUP) {
        let first = group[0];
        let mut end = at + GROUP;
        if group.iter().all(|value| *value == first) {
            end += values[end..].iter().take_while(|value| **value == first).count();
            if (end - at) * usize::from(width) > WORTH {
                pack(&values[packed..at], width, out);
                run(end - at, &first.to_le_bytes()[..usize::from(width).div_ceil(8)], out);
                packed = end;
            } else {
                // What is packed has to stay a multiple of a group until the next run.
                end -= (end - at) % GROUP;
            }
        }
        at = end;
    }
    pack(&values[packed..], width, out);
}

/// Appends levels of 0 and 1 as data pages of the first version have them: their length, then one run.
pub(crate) fn levels(present: &[u8], rows: usize, nulls: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; 4]);
    match nulls {
        0 => run(rows, &[1], out),
        all if all == rows => run(rows, &[0], out),
        _ => {
            varint((present.len() << 1) | 1, out);
            out.extend_from_slice(present);
        }
    }
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Bits that an index needs in a dictionary of so many values. Never none: not every reader takes that.
pub(crate) fn width(values: usize) -> u8 {
    let bits = usize::BITS - values.saturating_sub(1).leading_zeros();
    u8::try_from(bits).unwrap_or(u8::MAX).max(1)
}

fn run(length: usize, value: &[u8], out: &mut Vec<u8>) {
    varint(length << 1, out);
    out.extend_from_slice(value);
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn pack(values: &[u16], width: u8, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(GROUP);
    varint((groups << 1) | 1, out);
    out.reserve(groups * usize::from(width));
    // The width as a constant lets the compiler unroll the shifts.
    macro_rules! widths {
        ($($width:literal)*) => {
            match width {
                $($width => pack_groups::<$width>(values, out),)*
                _ => pack_groups::<16>(values, out),
            }
        };
    }
    widths!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

fn pack_groups<const WIDTH: usize>(values: &[u16], out: &mut Vec<u8>) {
    let (groups, rest) = values.as_chunks::<GROUP>();
    for group in groups {
        out.extend_from_slice(&pack_group::<WIDTH>(group)[..WIDTH]);
    }
    if !rest.is_empty() {
        let mut last = [0; GROUP];
        last[..rest.len()].copy_from_slice(rest);
        out.extend_from_slice(&pack_group::<WIDTH>(&last)[..WIDTH]);
    }
}

fn pack_group<const WIDTH: usize>(group: &[u16; GROUP]) -> [u8; 16] {
    let half =
        |values: &[u16]| values.iter().rev().fold(0_u64, |bits, value| (bits << WIDTH) | u64::from(*value));
    let (low, high) = group.split_at(GROUP / 2);
    (u128::from(half(low)) | (u128::from(half(high)) << (4 * WIDTH))).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what [`indices`] wrote, from the words of the specification.
    fn read(bytes: &[u8], count: usize) -> Vec<u16> {
        let (width, mut rest) = (usize::from(bytes[0]), &bytes[1..]);
        let mut values = Vec::new();
        while values.len() < count {
            let (mut header, mut shift) = (0, 0);
            loop {
                let byte = rest[0];
                rest = &rest[1..];
                header |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let wide = width.div_ceil(8);
                let value = rest[..wide].iter().rev().fold(0, |value, byte| value << 8 | u16::from(*byte));
                values.extend(std::iter::repeat_n(value, header >> 1));
                rest = &rest[wide..];
            } else {
                let bytes = (header >> 1) * width;
                let bit = |at: usize| u16::from(rest[at / 8] >> (at % 8) & 1);
                values.extend(
                    (0..(header >> 1) * 8)
                        .map(|n| (0..width).fold(0, |value, b| value | bit(n * width + b) << b)),
                );
                rest = &rest[bytes..];
            }
        }
        assert!(rest.is_empty(), "{} bytes too many", rest.len());
        assert!(values.len() - count < 8);
        values.truncate(count);
        values
    }

    #[test]
    fn every_width_and_mix_of_runs_comes_back() {
        for bits in 1..=16_u32 {
            let most = u16::try_from((1_u32 << bits) - 1).unwrap();
            for run in [1, 3, 7, 8, 9, 20, 64, 65, 200] {
                for count in [0, 1, 7, 8, 9, 100, 1000] {
                    let values: Vec<u16> = (0..count)
                        .map(|n: usize| {
                            let mixed = n / run * 40_503 + (n % 97) / 90;
                            u16::try_from(mixed % (usize::from(most) + 1)).unwrap()
                        })
                        .collect();
                    let mut out = Vec::new();
                    indices(&values, u8::try_from(bits).unwrap(), &mut out);
                    assert_eq!(read(&out, count), values, "{bits} bits, runs of {run}");
                }
            }
        }
    }

    #[test]
    fn one_value_is_one_run() {
        let mut out = Vec::new();
        indices(&[1; 30_000], 1, &mut out);
        assert_eq!(out, [1, 0xe0, 0xd4, 0x03, 1]);
        assert_eq!([0, 1, 2, 3, 256, 257, 65_536].map(width), [1, 1, 1, 2, 8, 9, 16]);
    }
}
