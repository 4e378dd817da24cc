//! Packed matrices of files: what a header says of them, and published matrices into them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::{AllocationProperty, Bytes as TensorBytes, DType, FloatDType, TensorData};
use bytes::Bytes;
use half::{bf16, f16};
use paligemma_packed::{MOST_INPUTS, PackedFormat, PackedLayout, VERSION};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Elements;
use crate::load::LoadError;
use crate::source::{SourceError, SourceTensor};

/// The name of the header's entry about packed matrices.
const ENTRY: &str = "packed";

/// What the header of a file says of its packed matrices.
#[derive(Debug)]
pub(crate) struct Packing {
    /// The published shape of every packed tensor, by its name in the file.
    shapes: BTreeMap<String, [usize; 2]>,
}

#[derive(Deserialize, Serialize)]
struct Wire {
    format: String,
    version: u32,
    #[serde(default)]
    shapes: BTreeMap<String, [usize; 2]>,
}

impl Packing {
    /// What the `metadata` of the file at `path` says; nothing of a file without packed matrices.
    pub(crate) fn read(
        path: &Path,
        metadata: Option<&HashMap<String, String>>,
    ) -> Result<Option<Self>, SourceError> {
        let Some(text) = metadata.and_then(|metadata| metadata.get(ENTRY)) else { return Ok(None) };
        let Wire { format, version, shapes } = serde_json::from_str(text)
            .map_err(|source| SourceError::Names { path: path.to_owned(), source })?;
        if version != VERSION || format.parse::<PackedFormat>().is_err() {
            return Err(SourceError::Packing {
                path: path.to_owned(),
                found: format!("{format} version {version}"),
                expected: format!("bf16, int8 or int4 version {VERSION}"),
            });
        }
        Ok(Some(Self { shapes }))
    }

    /// The published shape and the format of a packed tensor of `bytes`; none if no format has
    /// this length.
    pub(crate) fn matrix(&self, name: &str, bytes: usize) -> Option<([usize; 2], PackedFormat)> {
        let &[outputs, inputs] = self.shapes.get(name)?;
        // Two numbers of a file may overflow when they are multiplied: no weight is below 4 bits.
        let possible = outputs.checked_mul(inputs).is_some_and(|numbers| numbers / 2 <= bytes)
            && outputs.max(inputs) <= bytes
            && inputs <= MOST_INPUTS;
        if !possible {
            return None;
        }
        format_of([outputs, inputs], bytes).map(|format| ([outputs, inputs], format))
    }

    /// The header's entry, name and text, about tensors of these names and shapes.
    pub(crate) fn entry(
        format: PackedFormat,
        shapes: BTreeMap<String, [usize; 2]>,
    ) -> Result<(String, String), serde_json::Error> {
        let wire = Wire { format: format.to_string(), version: VERSION, shapes };
        Ok((ENTRY.to_owned(), serde_json::to_string(&wire)?))
    }
}

/// The format in which a matrix of this shape has `bytes`: no two formats are equally long.
pub(crate) fn format_of([outputs, inputs]: [usize; 2], bytes: usize) -> Option<PackedFormat> {
    let fits = |&format: &PackedFormat| PackedLayout { format, outputs, inputs }.bytes() == bytes;
    [PackedFormat::Bf16, PackedFormat::Int8, PackedFormat::Int4].into_iter().find(fits)
}

impl SourceTensor {
    /// A matrix packed to a length of `bytes`: the mapped bytes themselves if it is, or packed now,
    /// after which the file's own are let go of.
    pub(crate) fn packed(&self, bytes: usize) -> Result<TensorBytes, LoadError> {
        let format = format_of(self.matrix(), bytes).ok_or_else(|| LoadError::Shape {
            tensor: self.name.clone(),
            path: self.path.clone(),
            expected: vec![bytes],
            found: self.shape.clone(),
        })?;
        let dtype = match self.elements {
            Elements::Packed(found) if found == format => {
                return Ok(shared(self.data.clone()));
            }
            Elements::Packed(found) => return Err(self.is_packed(found)),
            Elements::Float(dtype) => dtype,
        };
        let [outputs, inputs] = self.matrix();
        let layout = PackedLayout { format, outputs, inputs };
        let row_bytes = inputs * DType::from(dtype).size();
        let contents = self.contents();
        let row = |row: usize, out: &mut [f32]| {
            read(dtype, &contents[row * row_bytes..][..row_bytes], out);
        };
        let packed = layout.pack(row).map_err(|source| LoadError::Pack {
            tensor: self.name.clone(),
            path: self.path.clone(),
            source,
        })?;
        self.release();
        Ok(shared(Bytes::from_owner(packed)))
    }

    /// Numbers that are not packed, as `dtype`; if they had to be converted, the file's own are let
    /// go of.
    pub(crate) fn float(&self, dtype: DType) -> Result<TensorData, LoadError> {
        let from = match self.elements {
            Elements::Float(from) => from,
            Elements::Packed(format) => return Err(self.is_packed(format)),
        };
        let data = self.data(from, dtype);
        if dtype != DType::from(from) || self.order.is_some() {
            self.release();
        }
        Ok(data)
    }

    /// The shape of a matrix.
    pub(crate) fn matrix(&self) -> [usize; 2] {
        [self.shape[0], self.shape[1]]
    }

    /// The error of a use that the format does not serve.
    pub(crate) fn is_packed(&self, format: PackedFormat) -> LoadError {
        LoadError::Packed { tensor: self.name.clone(), path: self.path.clone(), format }
    }
}

fn shared(bytes: Bytes) -> TensorBytes {
    TensorBytes::from_shared(bytes, AllocationProperty::Native)
}

/// Numbers of a file, at any address, as f32.
fn read(dtype: FloatDType, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        FloatDType::F16 => each(bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
        FloatDType::BF16 => each(bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        // No other type is taken from a file.
        _ => each(bytes, out, f32::from_le_bytes),
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    for (bytes, out) in bytes.as_chunks::<N>().0.iter().zip(out) {
        *out = number(*bytes);
    }
}
