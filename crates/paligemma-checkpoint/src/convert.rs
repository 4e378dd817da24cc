//! Published checkpoints into packed ones, which map straight into use.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor};
use paligemma_files::is_unfinished;
use paligemma_nn::{NnBackend, Projections};
use paligemma_packed::PackedFormat;
use safetensors::Dtype;

use crate::checkpoint::Checkpoint;
use crate::layout::LAYOUTS;
use crate::load::{Progress, check_module};
use crate::masks::MASK_FILES;
use crate::names::ModulePath;
use crate::packed::Packing;
use crate::save::SaveError;
use crate::source::{INDEX, SourceError, SourceTensor};
use crate::write::{Pending, write_checkpoint};

/// Writes `checkpoint` into `folder` with its matrices packed, and `others`, the files beside the
/// weights, as they are.
///
/// `module` is a whole PaliGemma of the checkpoint's configuration; nothing of it is allocated.
/// What is not packed becomes f32. Memory holds one tensor at a time, and files appear under their
/// names when all are complete. `progress` is told of every tensor.
///
/// # Errors
///
/// If the checkpoint does not fit the module, is packed already or cannot be packed; if `folder`
/// is the checkpoint's own, or holds files but no packed checkpoint; if a file cannot be written.
pub fn convert<B: NnBackend, M: Projections<B>>(
    module: M,
    checkpoint: &Checkpoint,
    format: PackedFormat,
    others: &[(String, Vec<u8>)],
    folder: &Path,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<(), SaveError> {
    let total = check_module::<B, M>(&module, checkpoint, "")?.bytes;
    if let Some(format) = checkpoint.packed_format() {
        return Err(SaveError::Packed { format });
    }
    check_folder(folder, checkpoint)?;
    let mut tensors = collect::<B, M>(&module.packed(format), checkpoint)?;
    // Every packed matrix is as long as a multiple of the alignment, so all of them are aligned.
    tensors.sort_by(|a, b| (a.packed.is_none(), &a.name).cmp(&(b.packed.is_none(), &b.name)));
    let matrices = tensors.iter().filter(|tensor| tensor.packed.is_some());
    let shapes = matrices.map(|tensor| (tensor.name.clone(), tensor.source.matrix())).collect();
    let metadata = BTreeMap::from([Packing::entry(format, shapes)?]);

    // All closures hold this; they are called one after the other.
    let state = RefCell::new((0, &mut progress));
    let taken = &|source: &SourceTensor| {
        let (done, progress) = &mut *state.borrow_mut();
        *done += source.data.len();
        progress(Progress { tensor: &source.name, done: *done, total });
    };
    let pending = tensors.into_iter().map(|Collected { name, source, packed }| Pending {
        name,
        shape: packed.map_or_else(|| source.shape.clone(), |bytes| vec![bytes]),
        dtype: if packed.is_some() { Dtype::U8 } else { Dtype::F32 },
        read: Box::new(move || {
            let bytes = match packed {
                Some(bytes) => source.packed(bytes)?,
                None => source.float(DType::F32)?.bytes,
            };
            taken(source);
            Ok(bytes)
        }),
    });
    write_checkpoint(folder, pending.collect(), metadata, others)
}

/// The files beside the weights of the checkpoint in `folder`: its configuration, its tokenizer,
/// whatever other JSON there is, and its mask VQ-VAE ([`MASK_FILES`]).
///
/// # Errors
///
/// If the folder or one of the files cannot be read.
pub fn other_files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
    let failed = |source| SourceError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let belongs = is_json && name != INDEX || MASK_FILES.contains(&&*name);
        if belongs && path.is_file() {
            let contents = fs::read(&path).map_err(|source| SourceError::Read { path, source })?;
            files.push((name, contents));
        }
    }
    files.sort();
    Ok(files)
}

/// Refuses a folder whose files would be lost or mixed with others.
fn check_folder(folder: &Path, checkpoint: &Checkpoint) -> Result<(), SaveError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SaveError::Write { path: folder.to_owned(), source }),
    };
    let real = |path: &Path| fs::canonicalize(path).ok();
    let sources = checkpoint.tensors.values().filter_map(|tensor| tensor.path.parent());
    if sources.map(real).any(|source| source.is_some() && source == real(folder)) {
        return Err(SaveError::OwnFolder { folder: folder.to_owned() });
    }
    // What an interrupted run leaves behind stands in nobody's way.
    let mut names = entries.flatten().map(|entry| entry.file_name());
    if names.all(|name| is_unfinished(&name)) || is_converted(folder) {
        return Ok(());
    }
    Err(SaveError::Occupied { folder: folder.to_owned() })
}

/// Whether a folder holds what an earlier conversion wrote, if only in another version.
fn is_converted(folder: &Path) -> bool {
    match Checkpoint::open(folder) {
        Ok(checkpoint) => checkpoint.packed_format().is_some(),
        Err(error) => matches!(error, SourceError::Packing { .. }),
    }
}

/// A tensor of the file to be written, and where it comes from.
struct Collected<'a> {
    /// The name in the file.
    name: String,
    source: &'a SourceTensor,
    /// The length of a matrix when it is packed.
    packed: Option<usize>,
}

fn collect<'a, B: Backend, M: Module<B>>(
    module: &M,
    checkpoint: &'a Checkpoint,
) -> Result<Vec<Collected<'a>>, SaveError> {
    let mut collector = Collector { path: ModulePath::default(), found: Vec::new() };
    module.visit(&mut collector);
    let resolve = |(path, packed): (String, Option<usize>)| {
        let name = LAYOUTS[0].file_name(&path);
        match name.zip(checkpoint.tensors.get(&path)) {
            Some((name, source)) => Ok(Collected { name, source, packed }),
            None => Err(SaveError::Name { path }),
        }
    };
    collector.found.into_iter().map(resolve).collect()
}

/// The paths of a module's parameters, and the lengths of those that are packed.
struct Collector {
    path: ModulePath,
    found: Vec<(String, Option<usize>)>,
}

impl<B: Backend> ModuleVisitor<B> for Collector {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.path.exit(name, container);
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<B, D>>) {
        self.found.push((self.path.joined(), None));
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        self.found.push((self.path.joined(), Some(param.lazy_shape().num_elements())));
    }
}
