//! Files into modules: every tensor of both is found, fits and is accounted for, or nothing is
//! loaded.

use std::path::PathBuf;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Int, Tensor, TensorData};
use paligemma_nn::{NnBackend, Projections};
use paligemma_packed::{PackError, PackedFormat};

use crate::checkpoint::{Checkpoint, Elements};
use crate::names::{ModulePath, parameter_shapes};
use crate::report::{Ignored, LoadReport};
use crate::source::SourceTensor;

const HEAD: &str = "language_model.lm_head.weight";
const EMBEDDING: &str = "language_model.embed_tokens.weight";

/// Why a checkpoint does not fit a module. Tensors are called as the files spell them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The module has a tensor that the files lack.
    #[error("the checkpoint lacks `{tensor}`{}{}", others(*more), nearest_in_file(nearest.as_ref()))]
    Missing {
        /// The tensor.
        tensor: String,
        /// How many others are missing.
        more: usize,
        /// The most similar name among those that nothing uses.
        nearest: Option<String>,
    },
    /// The files have a tensor that the module lacks.
    #[error(
        "`{tensor}` in {} is no part of this model{}; the nearest expected name is `{nearest}`",
        path.display(), others(*more)
    )]
    Unknown {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// How many others are unknown.
        more: usize,
        /// The most similar name of the model.
        nearest: String,
    },
    /// A tensor's shape is not the module's.
    #[error(
        "`{tensor}` in {} has shape {found:?}, expected {expected:?}; do the configuration and \
        these weights belong together?",
        path.display()
    )]
    Shape {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// The shape the configuration leads to.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A separate output head, which PaliGemma does not have.
    #[error(
        "`{tensor}` in {} differs from the token embedding, but PaliGemma's head is tied to it",
        path.display()
    )]
    UntiedHead {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
    },
    /// A packed tensor where floats, or another format, are needed.
    #[error(
        "`{tensor}` in {} is packed as {format}: use it on the device flex, with the dtype auto",
        path.display()
    )]
    Packed {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// Its format.
        format: PackedFormat,
    },
    /// A matrix that cannot be packed.
    #[error("cannot pack `{tensor}` in {}: {source}", path.display())]
    Pack {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: PackError,
    },
    /// The device cannot compute in the requested type, or in the files' if none was requested.
    #[error("the device does not compute in {dtype:?}; load the weights as another type")]
    Dtype {
        /// The type.
        dtype: FloatDType,
    },
}

pub(crate) fn others(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more)") }
}

fn nearest_in_file(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!("; the nearest name it has is `{name}`"))
}

/// Fills `module` from `checkpoint`, each parameter on the device it was made for.
///
/// `prefix` is where the module stands in a whole PaliGemma: `vision_tower`,
/// `multi_modal_projector`, `language_model`, or nothing for the whole. Weights become `dtype`,
/// or keep the type of the file if that is none. Where types are equal and the backend allows
/// it, they stay in the mapped file. Parameters are not initialised first, and keep whether they
/// require gradients.
///
/// # Errors
///
/// If a tensor of the module is missing or of another shape, if the checkpoint has a tensor under
/// `prefix` that the module lacks, or if the device does not compute in the type.
pub fn load_module<B: Backend, M: Module<B>>(
    module: M,
    checkpoint: &Checkpoint,
    prefix: &str,
    dtype: Option<FloatDType>,
) -> Result<(M, LoadReport), LoadError> {
    let report = check_module::<B, M>(&module, checkpoint, prefix)?;
    let dtype = dtype.map(DType::from);
    fill::<B, M>(module, checkpoint, prefix, dtype, &mut |_| ()).map(|module| (module, report))
}

/// How far the loading or writing of weights is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The tensor that was last taken from the files, as they spell it.
    pub tensor: &'a str,
    /// Bytes of the files that were taken.
    pub done: usize,
    /// Bytes that will be.
    pub total: usize,
}

/// Fills `module`, as [`load_module`] does, with its matrices packed.
///
/// Matrices that are packed in the files stay there; others are packed on all threads, and what
/// was read of the files is let go of. All else becomes f32. `progress` is told of every tensor.
///
/// # Errors
///
/// As [`load_module`]; and if a matrix is packed in another format, or cannot be packed.
pub fn load_packed<B: NnBackend, M: Projections<B>>(
    module: M,
    checkpoint: &Checkpoint,
    prefix: &str,
    format: PackedFormat,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<(M, LoadReport), LoadError> {
    let report = check_module::<B, M>(&module, checkpoint, prefix)?;
    let total = report.bytes;
    let mut done = 0;
    let mut count = |tensor: &SourceTensor| {
        done += tensor.data.len();
        progress(Progress { tensor: &tensor.name, done, total });
    };
    let packed = module.packed(format);
    fill::<B, M>(packed, checkpoint, prefix, Some(DType::F32), &mut count)
        .map(|module| (module, report))
}

fn fill<B: Backend, M: Module<B>>(
    module: M,
    checkpoint: &Checkpoint,
    prefix: &str,
    dtype: Option<DType>,
    taken: &mut dyn FnMut(&SourceTensor),
) -> Result<M, LoadError> {
    let path = ModulePath::below(prefix);
    let mut loader = Loader { checkpoint, path, dtype, taken, failed: None };
    let module = module.map(&mut loader);
    loader.failed.map_or(Ok(module), Err)
}

/// Says what [`load_module`] would load, without loading it.
///
/// # Errors
///
/// As [`load_module`], but for the device's types.
pub fn check_module<B: Backend, M: Module<B>>(
    module: &M,
    checkpoint: &Checkpoint,
    prefix: &str,
) -> Result<LoadReport, LoadError> {
    let below = ModulePath::below(prefix).joined();
    let absolute = |path: String| if below.is_empty() { path } else { format!("{below}.{path}") };
    let expected: Vec<_> = parameter_shapes::<B, M>(module)
        .into_iter()
        .map(|(path, shape)| (absolute(path), shape))
        .collect();
    account(&expected, checkpoint, prefix)
}

/// Holds the tensors a module expects against those of the files under `prefix`.
fn account(
    expected: &[(String, Vec<usize>)],
    checkpoint: &Checkpoint,
    prefix: &str,
) -> Result<LoadReport, LoadError> {
    let mut report = LoadReport { layout: checkpoint.layout.name, ..LoadReport::default() };
    let mut missing = Vec::new();
    for (path, shape) in expected {
        match checkpoint.tensors.get(path) {
            Some(tensor) if tensor.shape == *shape => report.count(tensor),
            Some(tensor) => {
                return Err(LoadError::Shape {
                    tensor: tensor.name.clone(),
                    path: tensor.path.clone(),
                    expected: shape.clone(),
                    found: tensor.shape.clone(),
                });
            }
            None => missing.push(file_name(checkpoint, path)),
        }
    }
    let mut unused = unused(expected, checkpoint, prefix);
    if let Some(at) = unused.iter().position(|tensor| is_head(checkpoint, tensor)) {
        report.ignored.push(tied_head(checkpoint, unused.swap_remove(at))?);
    }
    if let [tensor, others @ ..] = missing.as_slice() {
        let nearest = nearest(tensor, unused.iter().map(|tensor| tensor.name.as_str()));
        return Err(LoadError::Missing { tensor: tensor.clone(), more: others.len(), nearest });
    }
    if let [tensor, others @ ..] = unused.as_slice() {
        let names: Vec<_> = expected.iter().map(|(path, _)| file_name(checkpoint, path)).collect();
        return Err(LoadError::Unknown {
            tensor: tensor.name.clone(),
            path: tensor.path.clone(),
            more: others.len(),
            nearest: nearest(&tensor.name, names.iter().map(String::as_str)).unwrap_or_default(),
        });
    }
    Ok(report)
}

/// The tensors under `prefix` that are not expected; those that belong nowhere are under none.
fn unused<'a>(
    expected: &[(String, Vec<usize>)],
    checkpoint: &'a Checkpoint,
    prefix: &str,
) -> Vec<&'a SourceTensor> {
    let used: std::collections::BTreeSet<_> = expected.iter().map(|(path, _)| path).collect();
    let is_below = |path: &str| {
        prefix.is_empty() || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))
    };
    let known = checkpoint
        .tensors
        .iter()
        .filter(|(path, _)| is_below(path) && !used.contains(path))
        .map(|(_, tensor)| tensor);
    known.chain(checkpoint.strays.iter().filter(|_| prefix.is_empty())).collect()
}

fn is_head(checkpoint: &Checkpoint, tensor: &SourceTensor) -> bool {
    checkpoint.layout.module_path(&tensor.name).as_deref() == Some(HEAD)
}

/// A copy of the embedding as output head says nothing new; another matrix would be lost.
fn tied_head(checkpoint: &Checkpoint, head: &SourceTensor) -> Result<Ignored, LoadError> {
    let same = |embedding: &SourceTensor| {
        (embedding.elements, &embedding.shape, embedding.contents())
            == (head.elements, &head.shape, head.contents())
    };
    if checkpoint.tensors.get(EMBEDDING).is_some_and(same) {
        return Ok(Ignored { file_name: head.name.clone(), reason: "equals the token embedding" });
    }
    Err(LoadError::UntiedHead { tensor: head.name.clone(), path: head.path.clone() })
}

fn file_name(checkpoint: &Checkpoint, module_path: &str) -> String {
    checkpoint.layout.file_name(module_path).unwrap_or_else(|| module_path.to_owned())
}

/// The most similar of some names.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let similarity = |candidate: &str| strsim::jaro_winkler(name, candidate);
    candidates.max_by(|a, b| similarity(a).total_cmp(&similarity(b))).map(str::to_owned)
}

/// Replaces the parameters of a module that [`check_module`] accepted.
struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    path: ModulePath,
    /// The type of floats; none is that of the files.
    dtype: Option<DType>,
    taken: &'a mut dyn FnMut(&SourceTensor),
    /// After the first failure nothing more is loaded.
    failed: Option<LoadError>,
}

impl Loader<'_> {
    fn source(&self) -> Option<&SourceTensor> {
        let source = self.checkpoint.tensors.get(&self.path.joined());
        source.filter(|_| self.failed.is_none())
    }

    fn load_float<B: Backend, const D: usize>(
        &self,
        source: &SourceTensor,
        device: &B::Device,
    ) -> Result<Tensor<B, D>, LoadError> {
        let from = match source.elements {
            Elements::Float(from) => from.into(),
            Elements::Packed(format) => return Err(source.is_packed(format)),
        };
        let dtype = self.dtype.unwrap_or(from);
        if !B::supports_dtype(device, dtype) {
            return Err(LoadError::Dtype { dtype: dtype.into() });
        }
        let data = source.float(dtype)?;
        // Weights live as long as the model: outside the pools that activations come from.
        Ok(B::memory_persistent_allocations(device, data, |data| {
            Tensor::from_data(data, (device, dtype))
        }))
    }
}

impl<B: Backend> ModuleMapper<B> for Loader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.path.exit(name, container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(source) = self.source().cloned() else { return param };
        match self.load_float::<B, D>(&source, &param.lazy_device()) {
            Ok(tensor) => {
                (self.taken)(&source);
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.failed = Some(error);
                param
            }
        }
    }

    fn map_int<const D: usize>(
        &mut self,
        param: Param<Tensor<B, D, Int>>,
    ) -> Param<Tensor<B, D, Int>> {
        let Some(source) = self.source().cloned() else { return param };
        match source.packed(param.lazy_shape().num_elements()) {
            Ok(bytes) => {
                (self.taken)(&source);
                let data = TensorData::from_bytes(bytes, param.lazy_shape(), DType::U8);
                let tensor = Tensor::from_data(data, (&param.lazy_device(), DType::U8));
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.failed = Some(error);
                param
            }
        }
    }
}
