//! Files of a checkpoint: written tensor by tensor, under their names when complete.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use burn::tensor::Bytes;
use paligemma_files::WholeFile;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::merge::check_new;
use crate::save::SaveError;
use crate::source::WEIGHTS;

/// Data begin at a multiple of this in the file, and so in memory when it is mapped: a line of the
/// processor's cache.
const ALIGNMENT: usize = 64;

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
    fn bytes(&self) -> usize {
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
    write_named(folder, WEIGHTS, tensors, metadata, others)
}

/// The same with weights of another file name.
pub(crate) fn write_named(
    folder: &Path,
    weights_name: &str,
    tensors: Vec<Pending<'_>>,
    metadata: BTreeMap<String, String>,
    others: &[(String, Vec<u8>)],
) -> Result<(), SaveError> {
    let failed = |source| SaveError::Write { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut weights = WholeFile::at(folder.join(weights_name)).map_err(failed)?;
    write_weights(&mut weights, tensors, metadata)?;
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
    write_weights(&mut file, tensors, BTreeMap::new())?;
    appear(file)
}

fn appear(file: WholeFile) -> Result<(), SaveError> {
    let path = file.path().to_owned();
    file.appear().map(drop).map_err(|source| SaveError::Write { path, source })
}

fn write_weights(
    file: &mut WholeFile,
    tensors: Vec<Pending<'_>>,
    metadata: BTreeMap<String, String>,
) -> Result<(), SaveError> {
    let path = file.path().to_owned();
    let failed = |source| SaveError::Write { path: path.clone(), source };
    let header = header(&tensors, metadata)?;
    let mut writer = BufWriter::new(file);
    writer.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    writer.write_all(&header).map_err(failed)?;
    for tensor in tensors {
        writer.write_all(&(tensor.read)()?).map_err(failed)?;
    }
    writer.flush().map_err(failed)
}

fn header(
    tensors: &[Pending<'_>],
    mut metadata: BTreeMap<String, String>,
) -> Result<Vec<u8>, SaveError> {
    // Other readers refuse a file that does not say which framework laid the tensors out.
    metadata.insert("format".to_owned(), "pt".to_owned());
    let mut offset = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let start = offset;
        offset += tensor.bytes();
        let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
        let info = TensorInfo { dtype, shape, data_offsets: (start, offset) };
        infos.push((tensor.name.clone(), info));
    }
    // Its own metadata would be written in a random order.
    let names = serde_json::to_string(&Metadata::new(None, infos)?)?;
    let metadata = serde_json::to_string(&metadata)?;
    let names = names.trim_start_matches('{');
    let comma = if names == "}" { "" } else { "," };
    let mut header = format!("{{\"__metadata__\":{metadata}{comma}{names}").into_bytes();
    let length = size_of::<u64>();
    header.resize((length + header.len()).next_multiple_of(ALIGNMENT) - length, b' ');
    Ok(header)
}
