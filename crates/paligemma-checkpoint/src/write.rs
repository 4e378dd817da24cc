//! Files of a checkpoint: written tensor by tensor, under their names when complete.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use burn::tensor::Bytes;
use paligemma_files::WholeFile;
use safetensors::Dtype;

use crate::formats::write_safetensors;
use crate::merge::check_new;
use crate::save::SaveError;
use crate::source::WEIGHTS;

/// A tensor to be written, whose elements are read when it is its turn.
pub struct Pending<'a> {
    /// Its name in the file.
    pub name: String,
    /// Its shape in the file.
    pub shape: Vec<usize>,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its elements, row-major and little-endian.
    pub read: Box<dyn FnOnce() -> Result<Bytes, SaveError> + 'a>,
}

impl fmt::Debug for Pending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Pending");
        fields.field("name", &self.name).field("shape", &self.shape).field("dtype", &self.dtype);
        fields.finish_non_exhaustive()
    }
}

impl Pending<'_> {
    /// The length of its elements.
    pub(crate) fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Writes the weights, in this order, and the other files of a checkpoint into `folder`, made if
/// need be. All of them appear when all are complete.
///
/// # Errors
/// If a file cannot be written, a tensor cannot be read, or their sizes do not fit a file.
pub fn write_checkpoint(
    folder: &Path,
    tensors: Vec<Pending<'_>>,
    metadata: BTreeMap<String, String>,
    others: &[(String, Vec<u8>)],
) -> Result<(), SaveError> {
    let write = |file: &mut WholeFile| write_safetensors(file, tensors, metadata);
    write_named(folder, WEIGHTS, write, others)
}

/// The same with what `write` makes of a file of the name `weights_name`.
pub(crate) fn write_named(
    folder: &Path,
    weights_name: &str,
    write: impl FnOnce(&mut WholeFile) -> Result<(), SaveError>,
    others: &[(String, Vec<u8>)],
) -> Result<(), SaveError> {
    let failed = |source| SaveError::Write { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut weights = WholeFile::at(folder.join(weights_name)).map_err(failed)?;
    write(&mut weights)?;
    // What can fail for lack of room fails before anything appears.
    weights.as_file().sync_all().map_err(failed)?;
    let mut files = write_all(folder, others)?;
    // Weights last: a folder is known by them.
    files.push(weights);
    files.into_iter().try_for_each(appear)
}

/// Copies files into the new `folder`: all of them appear when all are complete.
///
/// # Errors
/// If the folder holds files, or a file cannot be written.
pub fn write_files(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), SaveError> {
    check_new(folder)?;
    let failed = |source| SaveError::Write { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    write_all(folder, files)?.into_iter().try_for_each(appear)
}

/// Files that are complete, but not yet under their names.
fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<Vec<WholeFile>, SaveError> {
    let failed = |source| SaveError::Write { path: folder.to_owned(), source };
    let write = |(name, contents): &(String, Vec<u8>)| {
        let mut file = WholeFile::at(folder.join(name))?;
        file.write_all(contents)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    files.iter().map(write).collect::<io::Result<_>>().map_err(failed)
}

/// Writes a safetensors file of its own; it appears when it is complete.
pub(crate) fn write_file(path: &Path, tensors: Vec<Pending<'_>>) -> Result<(), SaveError> {
    let failed = |source| SaveError::Write { path: path.to_owned(), source };
    let mut file = WholeFile::at(path).map_err(failed)?;
    write_safetensors(&mut file, tensors, BTreeMap::new())?;
    appear(file)
}

fn appear(file: WholeFile) -> Result<(), SaveError> {
    let path = file.path().to_owned();
    file.appear().map(drop).map_err(|source| SaveError::Write { path, source })
}
