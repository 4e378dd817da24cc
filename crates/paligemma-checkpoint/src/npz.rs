//! Archives of arrays, as `NumPy` saves them: each is read where it lies, if it is not compressed.
//!
//! Format: `numpy.lib.format` and `numpy.savez`; an archive is a zip file of `NAME.npy`.

use std::fmt;
use std::io::{Cursor, Read};
use std::path::Path;

use burn::tensor::{DType, FloatDType};
use bytes::Bytes;
use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use crate::checkpoint::Elements;
use crate::source::{SourceError, SourceTensor};

/// The first bytes of an archive.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// Compressed arrays may unpack to this many bytes for each of the archive, and this many besides:
/// the numbers of weights hardly compress, and zeros are only few.
const INFLATION: u64 = 16;
const SMALL: u64 = 16 << 20;

/// Why an array of an archive cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArrayProblem {
    /// It is no array, or its header cannot be read.
    Header,
    /// A type that is no weight's, as `NumPy` writes it.
    Dtype(String),
    /// Columns follow each other instead of rows.
    ColumnOrder,
    /// More or fewer bytes than its shape demands.
    Length {
        /// Bytes that the shape demands.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The compressed bytes are damaged, or compressed in a way that `NumPy` does not use.
    Compression,
    /// It would unpack to far more than weights do.
    Inflation,
}

impl fmt::Display for ArrayProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("is not an array of numpy: save it with numpy.savez"),
            Self::Dtype(found) => {
                write!(f, "has the type {found}; weights must be <f4, <f2 or, for bfloat16, |V2")
            }
            Self::ColumnOrder => {
                f.write_str("is in Fortran's order: save it after numpy.ascontiguousarray")
            }
            Self::Length { expected, found } => {
                write!(f, "has {found} bytes where its shape demands {expected}; fetch it again")
            }
            Self::Compression => f.write_str("cannot be unpacked; fetch the file again"),
            Self::Inflation => f.write_str(
                "would unpack to more than weights do: save it with numpy.savez, uncompressed",
            ),
        }
    }
}

/// The arrays of an archive held in memory; `path` is what errors call it.
pub(crate) fn parse(path: &Path, file: &Bytes) -> Result<Vec<SourceTensor>, SourceError> {
    let failed = |source| SourceError::Archive { path: path.to_owned(), source };
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(failed)?;
    let mut tensors = Vec::with_capacity(archive.len());
    let mut room = SMALL + INFLATION * file.len() as u64;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(failed)?;
        let name = entry.name().strip_suffix(".npy").unwrap_or(entry.name()).to_owned();
        let start = entry.data_start().unwrap_or(u64::MAX);
        let stored = Stored {
            start: usize::try_from(start).unwrap_or(usize::MAX),
            length: usize::try_from(entry.compressed_size()).unwrap_or(usize::MAX),
            unpacked: entry.size(),
            method: entry.compression(),
        };
        let array = stored.bytes(file, &mut room).and_then(|bytes| array(&bytes));
        let Array { elements, shape, data } = array.map_err(|problem| SourceError::Array {
            path: path.to_owned(),
            tensor: name.clone(),
            problem,
        })?;
        tensors.push(SourceTensor {
            name,
            path: path.to_owned(),
            elements,
            shape,
            data,
            map: None,
        });
    }
    Ok(tensors)
}

/// Where in the archive an array lies; a hostile archive may say anything.
struct Stored {
    start: usize,
    length: usize,
    unpacked: u64,
    method: CompressionMethod,
}

impl Stored {
    /// The array's file; what is unpacked is taken from `room`, the bytes that all may take.
    fn bytes(&self, file: &Bytes, room: &mut u64) -> Result<Bytes, ArrayProblem> {
        let end = self.start.checked_add(self.length).filter(|&end| end <= file.len());
        let bytes = file.slice(self.start..end.ok_or(ArrayProblem::Compression)?);
        if self.method == CompressionMethod::Stored {
            return Ok(bytes);
        }
        if self.method != CompressionMethod::DEFLATE {
            return Err(ArrayProblem::Compression);
        }
        *room = room.checked_sub(self.unpacked).ok_or(ArrayProblem::Inflation)?;
        let mut unpacked = Vec::new();
        let mut reader = DeflateDecoder::new(&*bytes).take(self.unpacked);
        reader.read_to_end(&mut unpacked).map_err(|_| ArrayProblem::Compression)?;
        Ok(unpacked.into())
    }
}

/// One array, its elements a view into its file.
#[derive(Debug)]
struct Array {
    elements: Elements,
    shape: Vec<usize>,
    data: Bytes,
}

/// Splits an `.npy` file: a magic word, a version, the length of a header, the header, the
/// elements.
fn array(file: &Bytes) -> Result<Array, ArrayProblem> {
    let (length, start) = match file.get(..12) {
        Some([b'\x93', b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..]) => {
            (usize::from(u16::from_le_bytes([*a, *b])), 10)
        }
        Some([b'\x93', b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d]) => {
            (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12)
        }
        _ => return Err(ArrayProblem::Header),
    };
    let header = file.get(start..start + length).and_then(|bytes| str::from_utf8(bytes).ok());
    let header = header.and_then(Header::parse).ok_or(ArrayProblem::Header)?;
    let dtype = match header.dtype {
        "<f4" => FloatDType::F32,
        "<f2" => FloatDType::F16,
        // NumPy has no bfloat16; JAX's arrays of it are saved as two bytes of nothing known.
        "|V2" | "<V2" => FloatDType::BF16,
        other => return Err(ArrayProblem::Dtype(other.to_owned())),
    };
    if header.column_order && header.shape.len() > 1 {
        return Err(ArrayProblem::ColumnOrder);
    }
    let data = file.slice(start + length..);
    let count = header.shape.iter().try_fold(1, |count: usize, &axis| count.checked_mul(axis));
    let expected = count.and_then(|count| count.checked_mul(DType::from(dtype).size()));
    let expected = expected.unwrap_or(usize::MAX);
    if data.len() != expected {
        return Err(ArrayProblem::Length { expected, found: data.len() });
    }
    Ok(Array { elements: Elements::Float(dtype), shape: header.shape, data })
}

/// What the header of an `.npy` file says.
#[derive(Debug, PartialEq, Eq)]
struct Header<'a> {
    dtype: &'a str,
    column_order: bool,
    shape: Vec<usize>,
}

impl<'a> Header<'a> {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
    fn parse(text: &'a str) -> Option<Self> {
        let value = |key: &str| Some(text.split_once(key)?.1.trim_start());
        let column_order = value("'fortran_order':")?;
        let shape = value("'shape':")?.strip_prefix('(')?.split_once(')')?.0.trim();
        // A comma follows every length but the last, and also that of a single one.
        let lengths = shape.strip_suffix(',').unwrap_or(shape).split(',').map(str::trim);
        let lengths = lengths.filter(|_| !shape.is_empty()).map(|length| length.parse().ok());
        Some(Self {
            dtype: value("'descr':")?.strip_prefix('\'')?.split_once('\'')?.0,
            column_order: match column_order {
                text if text.starts_with("True") => true,
                text if text.starts_with("False") => false,
                _ => return None,
            },
            shape: lengths.collect::<Option<_>>()?,
        })
    }
}
