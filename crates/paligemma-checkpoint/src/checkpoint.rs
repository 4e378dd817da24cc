//! `Checkpoint`: the tensors of a model's files under the paths of its modules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{AllocationProperty, Bytes as TensorBytes, DType, FloatDType, TensorData};
use bytes::Bytes;

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

/// What is known of a tensor without reading its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the file.
    pub file_name: String,
    /// The path in the modules; none if this is no tensor of PaliGemma.
    pub module_path: Option<String>,
    /// The file that holds it.
    pub file: PathBuf,
    /// The type of its elements.
    pub dtype: FloatDType,
    /// The length of each axis.
    pub shape: Vec<usize>,
}

impl Checkpoint {
    /// Opens a folder (with `model.safetensors`, or with shards and their index), a safetensors
    /// file, or an index of shards. Files are mapped into memory, not read.
    ///
    /// # Errors
    ///
    /// If a file is missing, unreadable, cut short or lies about its contents; if shards and
    /// index disagree; if a tensor is not `F32`, `F16` or `BF16`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        source::open(path.as_ref()).map(Self::new)
    }

    /// Reads a safetensors file held in memory.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_bytes(file: Vec<u8>) -> Result<Self, SourceError> {
        Self::from_shared(&file.into())
    }

    /// Reads a safetensors file that is part of the program (`include_bytes!`), without a copy.
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

    /// Every tensor of the files: those of PaliGemma by their module path, then the others.
    pub fn tensors(&self) -> impl Iterator<Item = TensorInfo> {
        let known = self.tensors.iter().map(|(path, tensor)| tensor.info(Some(path.clone())));
        known.chain(self.strays.iter().map(|tensor| tensor.info(None)))
    }

    fn from_shared(file: &Bytes) -> Result<Self, SourceError> {
        source::parse(Path::new("(memory)"), file).map(Self::new)
    }

    fn new(tensors: Vec<SourceTensor>) -> Self {
        let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let layout = Layout::detect(&names);
        let mut checkpoint = Self { layout, tensors: BTreeMap::new(), strays: Vec::new() };
        for tensor in tensors {
            // No two names of one layout share a path: each rule only replaces a beginning.
            match layout.module_path(&tensor.name) {
                Some(path) => drop(checkpoint.tensors.insert(path, tensor)),
                None => checkpoint.strays.push(tensor),
            }
        }
        checkpoint
    }
}

impl SourceTensor {
    fn info(&self, module_path: Option<String>) -> TensorInfo {
        TensorInfo {
            file_name: self.name.clone(),
            module_path,
            file: self.path.clone(),
            dtype: self.dtype.into(),
            shape: self.shape.clone(),
        }
    }

    /// The elements as `dtype`: the mapped bytes themselves where the type is the file's, and
    /// otherwise one converted copy.
    pub(crate) fn data(&self, dtype: DType) -> TensorData {
        let aligned = (self.data.as_ptr() as usize).is_multiple_of(self.dtype.size());
        let bytes = if aligned {
            // `Native`, although the memory is a file's: burn-ndarray then takes its own copy
            // once, where it would copy a borrowed weight at every operation.
            TensorBytes::from_shared(self.data.clone(), AllocationProperty::Native)
        } else {
            TensorBytes::from_bytes_vec(self.data.to_vec())
        };
        TensorData::from_bytes(bytes, self.shape.clone(), self.dtype).convert_dtype(dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_the_files_type_stay_in_the_file() {
        let data = Bytes::from(vec![0_u8; 64]);
        let tensor = SourceTensor {
            name: "weight".to_owned(),
            path: "file".into(),
            dtype: DType::BF16,
            shape: vec![4, 8],
            data: data.clone(),
        };
        assert_eq!(tensor.data(DType::BF16).bytes.as_ptr(), data.as_ptr());
        assert_ne!(tensor.data(DType::F32).bytes.as_ptr(), data.as_ptr());
    }
}
