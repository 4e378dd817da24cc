//! The published format: a header in JSON, then all elements.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use burn::tensor::FloatDType;
use bytes::Bytes;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use serde::de::IgnoredAny;

use crate::checkpoint::Elements;
use crate::json::UniqueMap;
use crate::packed::Packing;
use crate::save::SaveError;
use crate::source::{SourceError, SourceTensor};
use crate::write::Pending;

/// Data begin at a multiple of this in the file, and so in memory when it is mapped: a line of the
/// processor's cache.
const ALIGNMENT: usize = 64;

/// The tensors of a file held in memory; `path` is what errors call it.
pub(crate) fn parse(path: &Path, file: &Bytes) -> Result<Vec<SourceTensor>, SourceError> {
    let header = |source| SourceError::Header { path: path.to_owned(), source };
    let (header_length, metadata) = SafeTensors::read_metadata(file).map_err(header)?;
    let start = size_of::<u64>() + header_length;
    // The parser keeps the last of two tensors with one name.
    let _: UniqueMap<IgnoredAny> = serde_json::from_slice(&file[size_of::<u64>()..start])
        .map_err(|source| SourceError::Names { path: path.to_owned(), source })?;

    let packing = Packing::read(path, metadata.metadata().as_ref())?;
    let mut tensors = Vec::new();
    for (name, info) in metadata.tensors() {
        let (begin, end) = info.data_offsets;
        let data = file.slice(start + begin..start + end);
        let (elements, shape) = match (info.dtype, packing.as_ref()) {
            (Dtype::F32, _) => (Elements::Float(FloatDType::F32), info.shape.clone()),
            (Dtype::F16, _) => (Elements::Float(FloatDType::F16), info.shape.clone()),
            (Dtype::BF16, _) => (Elements::Float(FloatDType::BF16), info.shape.clone()),
            (Dtype::U8, Some(packing)) => {
                let matrix = packing.matrix(&name, data.len());
                let (shape, format) = matrix.ok_or_else(|| SourceError::PackedShape {
                    path: path.to_owned(),
                    tensor: name.clone(),
                })?;
                (Elements::Packed(format), shape.to_vec())
            }
            (dtype, _) => {
                return Err(SourceError::Dtype { path: path.to_owned(), tensor: name, dtype });
            }
        };
        tensors.push(SourceTensor { elements, ..SourceTensor::new(name, path, shape, data) });
    }
    Ok(tensors)
}

/// Writes tensors in this order.
pub(crate) fn write(
    out: &mut impl Write,
    tensors: Vec<Pending<'_>>,
    metadata: BTreeMap<String, String>,
    failed: &dyn Fn(io::Error) -> SaveError,
) -> Result<(), SaveError> {
    let header = header(&tensors, metadata)?;
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    out.write_all(&header).map_err(failed)?;
    for tensor in tensors {
        out.write_all(&(tensor.read)()?).map_err(failed)?;
    }
    Ok(())
}

fn header(
    tensors: &[Pending<'_>],
    mut metadata: BTreeMap<String, String>,
) -> Result<Vec<u8>, SaveError> {
    // Other readers refuse a file that does not say which framework laid the tensors out.
    metadata.insert("format".to_owned(), "pt".to_owned());
    let mut offset = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let start = offset;
        offset += tensor.bytes();
        let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
        let info = TensorInfo { dtype, shape, data_offsets: (start, offset) };
        infos.push((tensor.name.clone(), info));
    }
    // Its own metadata would be written in a random order.
    let names = serde_json::to_string(&Metadata::new(None, infos)?)?;
    let metadata = serde_json::to_string(&metadata)?;
    let names = names.trim_start_matches('{');
    let comma = if names == "}" { "" } else { "," };
    let mut header = format!("{{\"__metadata__\":{metadata}{comma}{names}").into_bytes();
    let length = size_of::<u64>();
    header.resize((length + header.len()).next_multiple_of(ALIGNMENT) - length, b' ');
    Ok(header)
}
