//! Modules into files: the published names and format, whole or not at all.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::{Backend, ExecutionError};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};
use tempfile::NamedTempFile;

use crate::config::PaliGemmaConfig;
use crate::layout::LAYOUTS;
use crate::names::ModulePath;
use crate::source::WEIGHTS;

/// Why a module could not be saved. The folder is then as it was.
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
    let folder = folder.as_ref();
    let failed = |source| SaveError::Write { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let tensors = collect::<B, M>(module, dtype.map(DType::from))?;

    let weights = NamedTempFile::new_in(folder).map_err(failed)?;
    write_weights(&weights, tensors, &folder.join(WEIGHTS))?;
    let text = NamedTempFile::new_in(folder).map_err(failed)?;
    text.as_file().write_all(config.to_json().as_bytes()).map_err(failed)?;
    for (file, name) in [(weights, WEIGHTS), (text, "config.json")] {
        let path = folder.join(name);
        let keep = || {
            share(file.as_file())?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)
        };
        keep().map_err(|source| SaveError::Write { path: path.clone(), source })?;
    }
    Ok(())
}

/// Temporary files are private to their owner; a checkpoint is as readable as any other file.
#[cfg(unix)]
fn share(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn share(_file: &std::fs::File) -> io::Result<()> {
    Ok(())
}

/// A tensor to be written, still on its device.
struct Pending {
    name: String,
    shape: Vec<usize>,
    dtype: DType,
    read: Box<dyn FnOnce() -> Result<TensorData, ExecutionError>>,
}

fn collect<B: Backend, M: Module<B>>(
    module: &M,
    dtype: Option<DType>,
) -> Result<Vec<Pending>, SaveError> {
    let mut collector = Collector { path: ModulePath::default(), dtype, tensors: Vec::new() };
    module.visit(&mut collector);
    let mut tensors = collector.tensors;
    for tensor in &mut tensors {
        tensor.name = LAYOUTS[0]
            .file_name(&tensor.name)
            .ok_or_else(|| SaveError::Name { path: tensor.name.clone() })?;
    }
    // Wider types first, so that every tensor is aligned to its elements when mapped.
    tensors.sort_by(|a, b| b.dtype.size().cmp(&a.dtype.size()).then_with(|| a.name.cmp(&b.name)));
    Ok(tensors)
}

fn write_weights(
    file: &NamedTempFile,
    tensors: Vec<Pending>,
    path: &Path,
) -> Result<(), SaveError> {
    let failed = |source| SaveError::Write { path: path.to_owned(), source };
    let header = header(&tensors)?;
    let mut writer = BufWriter::new(file.as_file());
    writer.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    writer.write_all(&header).map_err(failed)?;
    for Pending { name, dtype, read, .. } in tensors {
        let data = read().map_err(|source| SaveError::Device { tensor: name, source })?;
        writer.write_all(&data.convert_dtype(dtype).bytes).map_err(failed)?;
    }
    writer.flush().map_err(failed)
}

fn header(tensors: &[Pending]) -> Result<Vec<u8>, SaveError> {
    let mut offset = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for Pending { name, shape, dtype, .. } in tensors {
        let start = offset;
        offset += shape.iter().product::<usize>() * dtype.size();
        let dtype = match dtype {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            &dtype => return Err(SaveError::Dtype { tensor: name.clone(), dtype }),
        };
        let info = TensorInfo { dtype, shape: shape.clone(), data_offsets: (start, offset) };
        infos.push((name.clone(), info));
    }
    // Other readers refuse a file that does not say which framework laid the tensors out.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut header = serde_json::to_vec(&Metadata::new(Some(format), infos)?)?;
    header.resize(header.len().next_multiple_of(size_of::<u64>()), b' ');
    Ok(header)
}

struct Collector {
    path: ModulePath,
    dtype: Option<DType>,
    tensors: Vec<Pending>,
}

impl<B: Backend> ModuleVisitor<B> for Collector {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let tensor = param.val();
        self.tensors.push(Pending {
            name: self.path.joined(),
            shape: tensor.dims().to_vec(),
            dtype: self.dtype.unwrap_or(tensor.dtype()),
            read: Box::new(move || tensor.try_into_data()),
        });
    }
}
