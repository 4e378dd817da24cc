//! Checkpoints in published form, or in another, with an adapter added to their weights.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use burn::tensor::{Bytes, DType, FloatDType, Tensor};
use paligemma_nn::{NnBackend, Projections};
use safetensors::Dtype;
use serde_json::{Map, Value};

use crate::adapter::AdapterFile;
use crate::checkpoint::{Checkpoint, Elements};
use crate::config::PaliGemmaConfig;
use crate::formats::Format;
use crate::load::{Progress, check_module};
use crate::names::parameter_shapes;
use crate::save::SaveError;
use crate::source::SourceTensor;
use crate::write::{Pending, write_named};

const CONFIG: &str = "config.json";

/// What is exported besides a checkpoint, and how.
#[derive(Clone, Copy, Debug)]
pub struct Export<'a> {
    /// What is added to the weights.
    pub adapter: Option<&'a AdapterFile>,
    /// What weights become; none is the type of the file. Sums are f32 before that.
    pub dtype: Option<FloatDType>,
    /// The format of the file.
    pub format: Format,
    /// The configuration of the PaliGemma.
    pub config: &'a PaliGemmaConfig,
    /// The files beside the weights, names and contents.
    pub others: &'a [(String, Vec<u8>)],
}

/// Writes `checkpoint` into the new `folder`, under the names of the format.
///
/// `module` is a whole PaliGemma or ColPali of the checkpoint's configuration; nothing of it is
/// allocated. Memory holds one tensor at a time, and files appear under their names when all are complete.
/// `progress` is told of every tensor.
///
/// # Errors
///
/// If the checkpoint does not fit the module, or the adapter the checkpoint; if the checkpoint is
/// packed; if `folder` holds files; if a file cannot be written.
pub fn export<B: NnBackend, M: Projections<B>>(
    module: M,
    checkpoint: &Checkpoint,
    Export { adapter, dtype, format, config, others }: Export<'_>,
    folder: &Path,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<(), SaveError> {
    let total = check_module::<B, M>(&module, checkpoint, "")?.bytes;
    if let Some(format) = checkpoint.packed_format() {
        return Err(SaveError::Packed { format });
    }
    check_new(folder)?;
    let paths = parameter_shapes::<B, M>(&module).into_iter().map(|(path, _)| path);
    let mut tensors: Vec<_> = paths
        .filter_map(|path| checkpoint.tensors.get(&path).map(|source| (path, source)))
        .collect();
    let written = |source: &SourceTensor| dtype.map_or_else(|| source.dtype(), DType::from);
    // Wider types first, so that every tensor is aligned to its elements when mapped.
    tensors.sort_by_key(|(path, source)| (usize::MAX - written(source).size(), path.clone()));
    let devices = devices(module, adapter)?;
    let others = with_dtype(others, dtype)?;

    // All closures hold this; they are called one after the other.
    let state = RefCell::new((0, &mut progress));
    let taken = &|source: &SourceTensor| {
        let (done, progress) = &mut *state.borrow_mut();
        *done += source.data.len();
        progress(Progress { tensor: &source.name, done: *done, total });
    };
    let devices = &devices;
    let pending = tensors.into_iter().map(|(path, source)| {
        let name = format.name_of(&path)?;
        let dtype = written(source);
        let read = move || {
            let bytes = sum::<B>(&path, source, adapter, devices, dtype)?;
            taken(source);
            Ok(bytes)
        };
        let shape = source.shape.clone();
        Ok(Pending { name, shape, dtype: file_type(dtype), read: Box::new(read) })
    });
    let pending = pending.collect::<Result<_, SaveError>>()?;
    let write = format.writer(pending, config)?;
    write_named(folder, format.file_name(), write, &others)
}

/// The devices of the projections by their paths, if the adapter is for them.
fn devices<B: NnBackend, M: Projections<B>>(
    module: M,
    adapter: Option<&AdapterFile>,
) -> Result<BTreeMap<String, B::Device>, SaveError> {
    let (mut known, mut devices) = (BTreeMap::new(), BTreeMap::new());
    drop(module.each_projection(|path, projection| {
        known.insert(path.to_owned(), projection.dims());
        devices.insert(path.to_owned(), projection.device());
        projection
    }));
    adapter.map_or(Ok(()), |adapter| adapter.check(&known))?;
    Ok(devices)
}

/// The elements of a tensor with what the adapter adds to it.
fn sum<B: NnBackend>(
    path: &str,
    source: &SourceTensor,
    adapter: Option<&AdapterFile>,
    devices: &BTreeMap<String, B::Device>,
    dtype: DType,
) -> Result<Bytes, SaveError> {
    let projection = path.strip_suffix(".weight").unwrap_or_default();
    let added = adapter
        .zip(devices.get(projection))
        .and_then(|(adapter, device)| adapter.adapter::<B>(projection, device));
    let Some(added) = added else { return Ok(source.float(dtype)?.bytes) };
    let added = added?.delta();
    let weight = source.float(DType::F32)?;
    let weight = Tensor::<B, 2>::from_data(weight, (&added.device(), DType::F32));
    let sum = (weight + added).try_into_data();
    let sum = sum.map_err(|cause| SaveError::Device { tensor: source.name.clone(), source: cause });
    Ok(sum?.convert_dtype(dtype).bytes)
}

/// Refuses a folder with files, which would be lost or mixed with others.
pub(crate) fn check_new(folder: &Path) -> Result<(), SaveError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SaveError::Write { path: folder.to_owned(), source }),
    };
    // What an interrupted run leaves behind stands in nobody's way.
    let mut names = entries.flatten().map(|entry| entry.file_name());
    if names.all(|name| paligemma_files::is_unfinished(&name)) {
        return Ok(());
    }
    Err(SaveError::NotNew { folder: folder.to_owned() })
}

/// The files with a configuration that names the type of the weights, where it names one.
fn with_dtype(
    others: &[(String, Vec<u8>)],
    dtype: Option<FloatDType>,
) -> Result<Vec<(String, Vec<u8>)>, SaveError> {
    let mut others = others.to_vec();
    let config = others.iter_mut().find(|(name, _)| name == CONFIG);
    if let Some(((_, config), dtype)) = config.zip(dtype) {
        let mut fields: Map<String, Value> = serde_json::from_slice(config)?;
        for field in ["torch_dtype", "dtype"] {
            if let Some(value) = fields.get_mut(field) {
                *value = torch_name(dtype).into();
            }
        }
        *config = serde_json::to_vec_pretty(&fields)?;
    }
    Ok(others)
}

fn torch_name(dtype: FloatDType) -> &'static str {
    match dtype {
        FloatDType::F16 => "float16",
        FloatDType::BF16 => "bfloat16",
        _ => "float32",
    }
}

fn file_type(dtype: DType) -> Dtype {
    match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        _ => Dtype::F32,
    }
}

impl SourceTensor {
    /// The type of the elements; that of a packed matrix when it is unpacked.
    fn dtype(&self) -> DType {
        match self.elements {
            Elements::Float(dtype) => dtype.into(),
            Elements::Packed(_) => DType::F32,
        }
    }
}
