//! Published checkpoints into packed ones, which map straight into use.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use burn::tensor::{Bytes, DType};
use paligemma_files::is_unfinished;
use paligemma_nn::{NnBackend, Projections};
use paligemma_packed::PackedFormat;
use safetensors::Dtype;

use crate::checkpoint::Checkpoint;
use crate::held::{Held, held_parameters};
use crate::layout::published_name;
use crate::load::{Progress, check_module};
use crate::masks::MASK_FILES;
use crate::packed::Packing;
use crate::save::SaveError;
use crate::source::{INDEX_ENDING, SourceError, SourceTensor};
use crate::write::{Pending, write_checkpoint};

/// Writes `checkpoint` into `folder` with its matrices packed, and `others`, the files beside the
/// weights, as they are.
///
/// `module` is a whole PaliGemma or ColPali of the checkpoint's configuration; nothing of it is
/// allocated. What is not packed becomes f32. Memory holds one tensor at a time, and files appear under their
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

    // All closures hold this; they are called one after the other.
    let state = RefCell::new((0, &mut progress));
    let taken = &|source: &SourceTensor| {
        let (done, progress) = &mut *state.borrow_mut();
        *done += source.data.len();
        progress(Progress { tensor: &source.name, done: *done, total });
    };
    let part = |held: Held| {
        let source = checkpoint.tensors.get(&held.path);
        let source = source.ok_or_else(|| SaveError::Name { path: held.path.clone() })?;
        let packed = held.packed;
        let read = move || {
            let bytes = match packed {
                Some(layout) => source.packed(layout.bytes())?,
                None => source.float(DType::F32)?.bytes,
            };
            taken(source);
            Ok(bytes)
        };
        Ok(PackedPart { held, read: Box::new(read) })
    };
    let parts = held_parameters::<B, M>(module, Some(format)).into_iter().map(part);
    write_packed(folder, format, parts.collect::<Result<_, SaveError>>()?, others)
}

/// A parameter of a packed file, whose bytes are read when it is its turn.
pub struct PackedPart<'a> {
    /// What it is.
    pub held: Held,
    /// Its bytes: packed if it is held so, and f32 otherwise.
    pub read: Box<dyn FnOnce() -> Result<Bytes, SaveError> + 'a>,
}

impl fmt::Debug for PackedPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedPart").field("held", &self.held).finish_non_exhaustive()
    }
}

/// Writes a packed checkpoint of these parameters, all of a model's that was packed in `format`,
/// with `others` beside it. Memory holds one of them at a time.
///
/// # Errors
///
/// If a parameter has no published name or cannot be read, or a file cannot be written.
pub fn write_packed(
    folder: &Path,
    format: PackedFormat,
    parts: Vec<PackedPart<'_>>,
    others: &[(String, Vec<u8>)],
) -> Result<(), SaveError> {
    let (mut shapes, mut tensors) = (BTreeMap::new(), Vec::with_capacity(parts.len()));
    for PackedPart { held: Held { path, shape, packed }, read } in parts {
        let name = published_name(&path).ok_or(SaveError::Name { path })?;
        let (shape, dtype) = match packed {
            Some(layout) => {
                shapes.insert(name.clone(), [layout.outputs, layout.inputs]);
                (vec![layout.bytes()], Dtype::U8)
            }
            None => (shape, Dtype::F32),
        };
        tensors.push(Pending { name, shape, dtype, read });
    }
    // Every packed matrix is as long as a multiple of the alignment, so all of them are aligned.
    tensors.sort_by(|a, b| (a.dtype != Dtype::U8, &a.name).cmp(&(b.dtype != Dtype::U8, &b.name)));
    let metadata = BTreeMap::from([Packing::entry(format, shapes)?]);
    write_checkpoint(folder, tensors, metadata, others)
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
        let belongs = is_json && !name.ends_with(INDEX_ENDING) || MASK_FILES.contains(&&*name);
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
