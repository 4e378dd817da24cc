//! `Checkpoint`: the tensors of a model's files under the paths of its modules.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use burn::tensor::{AllocationProperty, Bytes as TensorBytes, DType, FloatDType, TensorData};
use bytes::Bytes;
use paligemma_packed::PackedFormat;

use crate::layout::Layout;
use crate::source::{self, SourceError, SourceTensor};

/// The weights of a model: names, types and shapes read, elements left in the mapped files.
#[derive(Debug)]
pub struct Checkpoint {
    pub(crate) layout: &'static Layout,
    /// By the path in the modules.
    pub(crate) tensors: BTreeMap<String, SourceTensor>,
    /// Tensors whose names are no tensor's of PaliGemma.
    pub(crate) strays: Vec<SourceTensor>,
}

/// How the numbers of a tensor are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elements {
    /// One after the other.
    Float(FloatDType),
    /// As a packed matrix.
    Packed(PackedFormat),
}

impl fmt::Display for Elements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(dtype) => write!(f, "{dtype:?}"),
            Self::Packed(format) => write!(f, "packed {}", format.to_string().to_uppercase()),
        }
    }
}

/// What is known of a tensor without reading its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the file.
    pub file_name: String,
    /// The path in the modules; none if this is no tensor of PaliGemma.
    pub module_path: Option<String>,
    /// The file that holds it.
    pub file: PathBuf,
    /// How its elements are written.
    pub elements: Elements,
    /// Whether the file has them as they are used, so that they need no copy.
    pub in_place: bool,
    /// The length of each axis; of a packed matrix that of the matrix.
    pub shape: Vec<usize>,
}

impl Checkpoint {
    /// Opens a folder, a file of weights, or an index of shards. In a folder that is
    /// `model.safetensors`, `pytorch_model.bin`, or shards of either with their index, `model.bpk`,
    /// or an npz of big_vision. Files are mapped into memory, not read; what is compressed in an
    /// archive is unpacked.
    ///
    /// # Errors
    ///
    /// If a file is missing, unreadable, cut short or lies about its contents; if shards and
    /// index disagree; if a tensor is not `F32`, `F16` or `BF16`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        source::open(path.as_ref()).and_then(Self::new)
    }

    /// Reads a file of weights held in memory, of any format.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_bytes(file: Vec<u8>) -> Result<Self, SourceError> {
        Self::from_shared(&file.into())
    }

    /// Reads a file of weights that is part of the program (`include_bytes!`), without a copy.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_static(file: &'static [u8]) -> Result<Self, SourceError> {
        Self::from_shared(&Bytes::from_static(file))
    }

    /// The spelling of the tensor names in the files.
    pub fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// The format of the packed matrices, if there are any, and the smallest if there are several:
    /// it is the one that was asked for.
    pub fn packed_format(&self) -> Option<PackedFormat> {
        let has = |format: &PackedFormat| {
            let packed = Elements::Packed(*format);
            self.tensors.values().any(|tensor| tensor.elements == packed)
        };
        [PackedFormat::Int4, PackedFormat::Int8, PackedFormat::Bf16].into_iter().find(has)
    }

    /// Every tensor of the files: those of PaliGemma by their module path, then the others.
    pub fn tensors(&self) -> impl Iterator<Item = TensorInfo> {
        let known = self.tensors.iter().map(|(path, tensor)| tensor.info(Some(path.clone())));
        known.chain(self.strays.iter().map(|tensor| tensor.info(None)))
    }

    fn from_shared(file: &Bytes) -> Result<Self, SourceError> {
        source::read(Path::new("(memory)"), file).and_then(Self::new)
    }

    fn new(tensors: Vec<SourceTensor>) -> Result<Self, SourceError> {
        let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let told = tensors.iter().find_map(|tensor| tensor.known.as_ref());
        let layout = told.map_or_else(|| Layout::detect(&names), |(layout, _)| layout);
        let mut checkpoint = Self { layout, tensors: BTreeMap::new(), strays: Vec::new() };
        for tensor in tensors {
            let known = tensor.known.as_ref().map(|(_, path)| path.clone());
            let Some(path) = known.or_else(|| layout.module_path(&tensor.name)) else {
                checkpoint.strays.push(tensor);
                continue;
            };
            if let Some(SourceTensor { path, name, .. }) = checkpoint.tensors.insert(path, tensor) {
                return Err(SourceError::Twice { path, tensor: name });
            }
        }
        Ok(checkpoint)
    }
}

impl SourceTensor {
    fn info(&self, module_path: Option<String>) -> TensorInfo {
        TensorInfo {
            file_name: self.name.clone(),
            module_path,
            file: self.path.clone(),
            elements: self.elements,
            in_place: self.is_in_place(),
            shape: self.shape.clone(),
        }
    }

    /// Elements of type `from` as `dtype`: the mapped bytes themselves where the types are equal,
    /// and otherwise one converted copy.
    pub(crate) fn data(&self, from: FloatDType, dtype: DType) -> TensorData {
        let from = DType::from(from);
        let contents = self.contents();
        let aligned = (contents.as_ptr() as usize).is_multiple_of(from.size());
        let bytes = if aligned {
            // `Native`, although the memory is a file's: burn-ndarray then takes its own copy
            // once, where it would copy a borrowed weight at every operation.
            TensorBytes::from_shared(contents, AllocationProperty::Native)
        } else {
            TensorBytes::from_bytes_vec(contents.to_vec())
        };
        TensorData::from_bytes(bytes, self.shape.clone(), from).convert_dtype(dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_the_files_type_stay_in_the_file() {
        let data = Bytes::from(vec![0_u8; 64]);
        let elements = Elements::Float(FloatDType::BF16);
        let weight = SourceTensor::new("weight".into(), "file".as_ref(), vec![4, 8], data.clone());
        let tensor = SourceTensor { elements, ..weight };
        assert_eq!(tensor.data(FloatDType::BF16, DType::BF16).bytes.as_ptr(), data.as_ptr());
        assert_ne!(tensor.data(FloatDType::BF16, DType::F32).bytes.as_ptr(), data.as_ptr());
    }
}
