//! Archives of arrays, as `NumPy` saves them: each is read where it lies, if it is not compressed.
//!
//! Format: `numpy.lib.format` and `numpy.savez`; an archive is a zip file of `NAME.npy`.

use std::path::Path;

use burn::tensor::{DType, FloatDType};
use bytes::Bytes;

use super::archive::Archive;
use super::{MOST_AXES, TensorProblem};
use crate::checkpoint::Elements;
use crate::source::{SourceError, SourceTensor};

const ENDING: &str = ".npy";
/// The header of an array, with all before it, is as long as a multiple of this.
const ALIGNMENT: usize = 64;

/// The arrays of an archive; `path` is what errors call it.
pub(crate) fn parse(
    path: &Path,
    mut archive: Archive<'_>,
) -> Result<Vec<SourceTensor>, SourceError> {
    let mut tensors = Vec::with_capacity(archive.entries.len());
    for entry in std::mem::take(&mut archive.entries) {
        let name = entry.name.strip_suffix(ENDING).unwrap_or(&entry.name).to_owned();
        let array = archive.contents(&entry).and_then(|bytes| array(&bytes));
        let Array { elements, shape, data } = array.map_err(|problem| SourceError::Tensor {
            path: path.to_owned(),
            tensor: name.clone(),
            problem,
        })?;
        tensors.push(SourceTensor { elements, ..SourceTensor::new(name, path, shape, data) });
    }
    Ok(tensors)
}

/// One array, its elements a view into its file.
#[derive(Debug)]
struct Array {
    elements: Elements,
    shape: Vec<usize>,
    data: Bytes,
}

// What NumPy calls the types of weights. It has no bfloat16; JAX's arrays of it are saved as two bytes
// of nothing known.
const F32: &str = "<f4";
const F16: &str = "<f2";
const BF16: &str = "|V2";

/// Splits an `.npy` file: a magic word, a version, the length of a header, the header, the
/// elements.
fn array(file: &Bytes) -> Result<Array, TensorProblem> {
    let (length, start) = match file.get(..12) {
        Some([b'\x93', b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..]) => {
            (usize::from(u16::from_le_bytes([*a, *b])), 10)
        }
        Some([b'\x93', b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d]) => {
            (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12)
        }
        _ => return Err(TensorProblem::Header),
    };
    let header = file.get(start..start + length).and_then(|bytes| str::from_utf8(bytes).ok());
    let header = header.and_then(Header::parse).ok_or(TensorProblem::Header)?;
    let dtype = match header.dtype {
        F32 => FloatDType::F32,
        F16 => FloatDType::F16,
        BF16 | "<V2" => FloatDType::BF16,
        other => return Err(TensorProblem::Dtype(other.to_owned())),
    };
    if header.shape.len() > MOST_AXES {
        return Err(TensorProblem::Header);
    }
    if header.column_order && header.shape.len() > 1 {
        return Err(TensorProblem::ColumnOrder);
    }
    let data = file.slice(start + length..);
    let count = header.shape.iter().try_fold(1, |count: usize, &axis| count.checked_mul(axis));
    let expected = count.and_then(|count| count.checked_mul(DType::from(dtype).size()));
    let expected = expected.unwrap_or(usize::MAX);
    if data.len() != expected {
        return Err(TensorProblem::Length { expected, found: data.len() });
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

/// All of an `.npy` file that comes before its elements.
pub(crate) fn header(dtype: safetensors::Dtype, shape: &[usize]) -> Vec<u8> {
    let dtype = match dtype {
        safetensors::Dtype::F16 => F16,
        safetensors::Dtype::BF16 => BF16,
        _ => F32,
    };
    // A comma follows every length, also that of a single one.
    let lengths = shape.iter().fold(String::new(), |text, length| text + &format!("{length}, "));
    let mut header =
        format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({lengths}), }}");
    let before = 10;
    let length = (before + header.len() + 1).next_multiple_of(ALIGNMENT) - before;
    header.extend(std::iter::repeat_n(' ', length - header.len() - 1));
    header.push('\n');
    // Axes are few: two bytes hold the length of any header.
    [b"\x93NUMPY\x01\x00", &(length as u16).to_le_bytes()[..], header.as_bytes()].concat()
}
