//! Compression of pages.

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};

/// Bytes of the output buffer that are kept; the page of one huge value is no reason to keep more.
const KEPT: usize = 4 * 1024 * 1024;

/// A compressor that keeps its tables and its output buffer from page to page.
pub(crate) struct Compressor {
    codec: Compression,
    way: Way,
    out: Vec<u8>,
}

enum Way {
    None,
    Snappy(Box<snap::raw::Encoder>),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    pub(crate) fn new(codec: Compression) -> Result<Self> {
        let way = match codec {
            Compression::UNCOMPRESSED => Way::None,
            Compression::SNAPPY => Way::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::ZSTD(level) => Way::Zstd(zstd::bulk::Compressor::new(level.compression_level())?),
            other => return Err(ParquetError::NYI(format!("pages compressed with {other}"))),
        };
        Ok(Self { codec, way, out: Vec::new() })
    }

    pub(crate) fn codec(&self) -> Compression {
        self.codec
    }

    pub(crate) fn compress(&mut self, page: &[u8]) -> Result<Bytes> {
        let bound = match &self.way {
            Way::None => return Ok(Bytes::copy_from_slice(page)),
            Way::Snappy(_) => snap::raw::max_compress_len(page.len()),
            Way::Zstd(_) => zstd::zstd_safe::compress_bound(page.len()),
        };
        if self.out.len() < bound {
            self.out.resize(bound, 0);
        }
        let length = match &mut self.way {
            Way::None => 0,
            Way::Snappy(encoder) => encoder.compress(page, &mut self.out)?,
            Way::Zstd(encoder) => encoder.compress_to_buffer(page, self.out.as_mut_slice())?,
        };
        let page = Bytes::copy_from_slice(&self.out[..length]);
        if self.out.len() > KEPT {
            self.out = Vec::new();
        }
        Ok(page)
    }
}
