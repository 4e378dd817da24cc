//! Modules into files: the published names and format, whole or not at all.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::{Backend, ExecutionError};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use paligemma_packed::PackedFormat;
use safetensors::{Dtype, SafeTensorError};

use crate::adapter::{AdapterError, is_factor};
use crate::config::PaliGemmaConfig;
use crate::layout::{LAYOUTS, Layout};
use crate::load::LoadError;
use crate::names::ModulePath;
use crate::write::{Pending, write_checkpoint};

/// Why a checkpoint could not be written. The folder is then as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The module has a parameter that published checkpoints have no name for.
    #[error("the parameter `{path}` has no published name; save a whole PaliGemma")]
    Name {
        /// Its path in the module.
        path: String,
    },
    /// The module is no PaliGemma alone, and big_vision has nothing else.
    #[error(
        "big_vision's npz has no array for `{path}`: it holds a PaliGemma alone, choose another format"
    )]
    NoArray {
        /// The tensor's path in the module.
        path: String,
    },
    /// The module has an adapter, which published checkpoints have no place for.
    #[error("`{path}` is an adapter's: save the adapter by itself, or merge it first")]
    Adapter {
        /// The adapter's tensor.
        path: String,
    },
    /// The module has no adapter.
    #[error("the model has no adapter to save")]
    NoAdapter,
    /// An adapter that does not fit the checkpoint.
    #[error(transparent)]
    Adapted(#[from] AdapterError),
    /// A type that published checkpoints do not use.
    #[error("`{tensor}` is {dtype:?}; weights are saved as F32, F16 or BF16")]
    Dtype {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: DType,
    },
    /// The device did not hand out a tensor.
    #[error("cannot read `{tensor}` from its device: {source}")]
    Device {
        /// The tensor.
        tensor: String,
        /// What the backend answered.
        source: ExecutionError,
    },
    /// The checkpoint to convert does not fit its configuration, or cannot be packed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The checkpoint to convert or export is packed.
    #[error("the checkpoint is packed as {format} already: use the original")]
    Packed {
        /// Its format.
        format: PackedFormat,
    },
    /// Tensors of several types that would be one array.
    #[error("`{tensor}` is of another type than its like in other layers: name a dtype for all")]
    Mixed {
        /// The tensor.
        tensor: String,
    },
    /// The folder to write is the one that is read.
    #[error("{} holds the checkpoint itself: name another folder", folder.display())]
    OwnFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder to write holds something else.
    #[error(
        "{} holds other files: name a new folder, or one that was converted before",
        folder.display()
    )]
    Occupied {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder to write holds something.
    #[error("{} holds files: name a new folder", folder.display())]
    NotNew {
        /// The folder.
        folder: PathBuf,
    },
    /// The header cannot be formed.
    #[error("cannot describe the tensors: {0}")]
    Header(#[from] SafeTensorError),
    /// The header cannot be written as JSON.
    #[error("cannot write the header: {0}")]
    Json(#[from] serde_json::Error),
}

/// Writes `model.safetensors` and `config.json` into `folder`, made if need be.
///
/// `module` is a whole PaliGemma. Weights become `dtype`, or keep theirs if that is none. Tensors
/// are read from the device one by one. Files appear under their names when complete, so a
/// checkpoint that is being replaced can be in use.
///
/// # Errors
///
/// If a file cannot be written, a parameter has no published name or no published type, or the
/// device fails.
pub fn save_module<B: Backend, M: Module<B>>(
    module: &M,
    folder: impl AsRef<Path>,
    config: &PaliGemmaConfig,
    dtype: Option<FloatDType>,
) -> Result<(), SaveError> {
    let tensors = collect::<B, M>(module, dtype.map(DType::from), LAYOUTS[0].names())?;
    let config = ("config.json".to_owned(), config.to_json().into_bytes());
    write_checkpoint(folder.as_ref(), tensors, BTreeMap::new(), &[config])
}

impl Layout {
    /// What [`collect`] calls the tensors of a file of this layout.
    pub(crate) fn names(&self) -> impl Fn(&str) -> Result<Option<String>, SaveError> {
        |path| {
            let path = path.to_owned();
            if is_factor(&path) {
                return Err(SaveError::Adapter { path });
            }
            self.file_name(&path).map(Some).ok_or(SaveError::Name { path })
        }
    }
}

/// The parameters of `module` that `name` has a name for.
pub(crate) fn collect<B: Backend, M: Module<B>>(
    module: &M,
    dtype: Option<DType>,
    name: impl Fn(&str) -> Result<Option<String>, SaveError>,
) -> Result<Vec<Pending<'static>>, SaveError> {
    let mut collector = Collector { path: ModulePath::default(), dtype, tensors: Vec::new() };
    module.visit(&mut collector);
    let pending = collector
        .tensors
        .into_iter()
        .filter_map(|found| name(&found.path).transpose().map(|name| found.pending(name?)));
    let mut tensors = pending.collect::<Result<Vec<_>, _>>()?;
    // Wider types first, so that every tensor is aligned to its elements when mapped.
    tensors.sort_by(|a, b| {
        b.dtype.bitsize().cmp(&a.dtype.bitsize()).then_with(|| a.name.cmp(&b.name))
    });
    Ok(tensors)
}

/// A parameter to be written, still on its device.
struct Found {
    path: String,
    shape: Vec<usize>,
    dtype: DType,
    read: Box<dyn FnOnce() -> Result<TensorData, ExecutionError>>,
}

impl Found {
    fn pending(self, name: String) -> Result<Pending<'static>, SaveError> {
        let Self { shape, dtype, read, .. } = self;
        let written = match dtype {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            dtype => return Err(SaveError::Dtype { tensor: name, dtype }),
        };
        let tensor = name.clone();
        let read = move || match read() {
            Ok(data) => Ok(data.convert_dtype(dtype).bytes),
            Err(source) => Err(SaveError::Device { tensor, source }),
        };
        Ok(Pending { name, shape, dtype: written, read: Box::new(read) })
    }
}

struct Collector {
    path: ModulePath,
    dtype: Option<DType>,
    tensors: Vec<Found>,
}

impl<B: Backend> ModuleVisitor<B> for Collector {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.path.exit(name, container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let tensor = param.val();
        self.tensors.push(Found {
            path: self.path.joined(),
            shape: tensor.dims().to_vec(),
            dtype: self.dtype.unwrap_or(tensor.dtype()),
            read: Box::new(move || tensor.try_into_data()),
        });
    }
}
