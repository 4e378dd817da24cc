//! burn's own format: a header in CBOR, then elements at multiples of 256 bytes. Tensors are called by
//! their paths in the modules.
//!
//! Format: `burnpack/base.rs` and `burnpack/writer.rs` of burn-store 0.21.0, version 1.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use burn::tensor::{DType, FloatDType};
use bytes::Bytes;
use ciborium::Value;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use super::TensorProblem;
use crate::checkpoint::Elements;
use crate::json::UniqueMap;
use crate::layout::MODULE_PATHS;
use crate::save::SaveError;
use crate::source::{SourceError, SourceTensor};
use crate::write::Pending;

/// The first bytes of a file.
pub(crate) const MAGIC: &[u8] = b"NRUB";
const VERSION: u16 = 1;
/// Magic, version, and the length of the description.
const HEADER: usize = 4 + 2 + 4;
/// Elements of every tensor, and the first of all, begin at multiples of this.
const ALIGNMENT: usize = 256;
/// Above what names and shapes of any model take.
const LONGEST: usize = 100 << 20;
/// A description is three levels deep.
const DEEPEST: usize = 16;

#[derive(Deserialize)]
struct Description {
    tensors: UniqueMap<Tensor>,
}

#[derive(Deserialize, Serialize)]
struct Tensor {
    /// The name of a type, or for types that no weight has something else.
    dtype: Value,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The tensors of a file held in memory; `path` is what errors call it.
pub(crate) fn parse(path: &Path, file: &Bytes) -> Result<Vec<SourceTensor>, SourceError> {
    let unsound = || SourceError::Burnpack { path: path.to_owned() };
    let version = file.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
    let length = file.get(6..HEADER).and_then(|bytes| bytes.try_into().ok());
    let length = length.map_or(usize::MAX, |bytes| u32::from_le_bytes(bytes) as usize);
    let end = HEADER.checked_add(length).filter(|end| length <= LONGEST && *end <= file.len());
    let (Some(VERSION), Some(end)) = (version, end) else { return Err(unsound()) };
    let description = &file[HEADER..end];
    let Description { tensors: UniqueMap(tensors) } =
        ciborium::de::from_reader_with_recursion_limit(description, DEEPEST)
            .map_err(|_| unsound())?;
    let data = file.slice(end.next_multiple_of(ALIGNMENT).min(file.len())..);
    let read = |(name, tensor): (String, Tensor)| {
        let failed =
            |problem| SourceError::Tensor { path: path.to_owned(), tensor: name.clone(), problem };
        let (shape, elements, data) = tensor.read(&data).map_err(failed)?;
        let known = Some((&MODULE_PATHS, name.clone()));
        Ok(SourceTensor { known, elements, ..SourceTensor::new(name, path, shape, data) })
    };
    tensors.into_iter().map(read).collect()
}

impl Tensor {
    fn read(self, data: &Bytes) -> Result<(Vec<usize>, Elements, Bytes), TensorProblem> {
        let dtype = match self.dtype.as_text() {
            Some("F32") => FloatDType::F32,
            Some("F16") => FloatDType::F16,
            Some("BF16") => FloatDType::BF16,
            Some(other) => return Err(TensorProblem::Dtype(other.to_owned())),
            None => return Err(TensorProblem::Dtype("quantised".to_owned())),
        };
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let shape: Vec<usize> = self.shape.into_iter().map(number).collect();
        let expected = shape
            .iter()
            .try_fold(DType::from(dtype).size(), |bytes, axis| bytes.checked_mul(*axis))
            .unwrap_or(usize::MAX);
        let (start, end) = (number(self.data_offsets.0), number(self.data_offsets.1));
        let found = end.min(data.len()).saturating_sub(start);
        if found != expected || start > end || end > data.len() {
            return Err(TensorProblem::Length { expected, found });
        }
        Ok((shape, Elements::Float(dtype), data.slice(start..end)))
    }
}

/// Writes tensors in this order.
pub(crate) fn write(
    out: &mut impl Write,
    tensors: Vec<Pending<'_>>,
    failed: &dyn Fn(io::Error) -> SaveError,
) -> Result<(), SaveError> {
    let mut described = BTreeMap::new();
    let mut end = 0_usize;
    for tensor in &tensors {
        let start = end.next_multiple_of(ALIGNMENT);
        end = start + tensor.bytes();
        let dtype = match tensor.dtype {
            Dtype::F16 => "F16",
            Dtype::BF16 => "BF16",
            _ => "F32",
        };
        let shape = tensor.shape.iter().map(|length| *length as u64).collect();
        let data_offsets = (start as u64, end as u64);
        let tensor_ = Tensor { dtype: Value::Text(dtype.to_owned()), shape, data_offsets };
        described.insert(tensor.name.clone(), tensor_);
    }
    let mut description = Vec::new();
    ciborium::into_writer(&BTreeMap::from([("tensors", described)]), &mut description)
        .map_err(|cause| failed(io::Error::other(cause.to_string())))?;
    let mut written = HEADER + description.len();
    let length = (description.len() as u32).to_le_bytes();
    let header = [MAGIC, &VERSION.to_le_bytes(), &length, &description].concat();
    out.write_all(&header).map_err(failed)?;
    for tensor in tensors {
        let padding = written.next_multiple_of(ALIGNMENT) - written;
        written += padding + tensor.bytes();
        out.write_all(&[0; ALIGNMENT][..padding]).map_err(failed)?;
        out.write_all(&(tensor.read)()?).map_err(failed)?;
    }
    Ok(())
}
