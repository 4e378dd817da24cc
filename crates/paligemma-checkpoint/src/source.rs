//! Tensors in files: memory-mapped safetensors, in one file or in shards with an index.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use burn::tensor::DType;
use bytes::Bytes;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::json::UniqueMap;

pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// Why a checkpoint's files could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file cannot be opened or mapped.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A folder without weights.
    #[error("{} has neither {WEIGHTS} nor {INDEX}", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// The file's header lies, or the file was cut short.
    #[error("{} is not a sound safetensors file: {source}; fetch it again", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with the header.
        source: SafeTensorError,
    },
    /// The header of a file, or an index, names a thing twice or is not what it should be.
    #[error("cannot read the names in {}: {source}", path.display())]
    Names {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A tensor of a type that is no published weight's.
    #[error("`{tensor}` in {} is {dtype}; weights must be F32, F16 or BF16", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor, as the file calls it.
        tensor: String,
        /// The type found.
        dtype: Dtype,
    },
    /// An index that names a file outside its own folder.
    #[error("{} names the shard `{shard}`, which is not a file name", index.display())]
    ShardName {
        /// The index.
        index: PathBuf,
        /// The shard it names.
        shard: String,
    },
    /// A shard that the index names is absent.
    #[error("the shard {} is missing, named by {INDEX}; fetch it again", shard.display())]
    MissingShard {
        /// Where the shard should be.
        shard: PathBuf,
    },
    /// A shard lies in the folder, unknown to the index.
    #[error("the shard {} is not in {INDEX}; remove it or fetch the index again", shard.display())]
    ShardNotInIndex {
        /// The shard.
        shard: PathBuf,
    },
    /// A tensor is not in the shard that the index gives for it.
    #[error("`{tensor}` is not in {}, where {INDEX} places it", shard.display())]
    MissingFromShard {
        /// The shard.
        shard: PathBuf,
        /// The tensor, as the index calls it.
        tensor: String,
    },
    /// A shard holds a tensor that the index does not place there.
    #[error("`{tensor}` is in {}, where {INDEX} does not place it", shard.display())]
    NotInIndex {
        /// The shard.
        shard: PathBuf,
        /// The tensor, as the shard calls it.
        tensor: String,
    },
}

/// One tensor as a file holds it.
#[derive(Clone, Debug)]
pub(crate) struct SourceTensor {
    /// The file's own name for the tensor.
    pub(crate) name: String,
    /// The file, for messages.
    pub(crate) path: PathBuf,
    /// `F32`, `F16` or `BF16`.
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    /// The elements, little endian, row by row: a view into the mapped file.
    pub(crate) data: Bytes,
}

#[derive(Deserialize)]
struct Index {
    weight_map: UniqueMap<String>,
}

/// All tensors of a folder, of a safetensors file, or of the shards of an index.
pub(crate) fn open(path: &Path) -> Result<Vec<SourceTensor>, SourceError> {
    if !path.is_dir() {
        return open_file(path);
    }
    let candidates = [WEIGHTS, INDEX].map(|name| path.join(name));
    let found = candidates.iter().find(|candidate| candidate.exists());
    open_file(found.ok_or_else(|| SourceError::NoWeights { folder: path.to_owned() })?)
}

/// The tensors of a safetensors file held in memory; `path` is what errors call it.
pub(crate) fn parse(path: &Path, file: &Bytes) -> Result<Vec<SourceTensor>, SourceError> {
    let header = |source| SourceError::Header { path: path.to_owned(), source };
    let (header_length, metadata) = SafeTensors::read_metadata(file).map_err(header)?;
    let start = size_of::<u64>() + header_length;
    // The parser keeps the last of two tensors with one name.
    let _: UniqueMap<IgnoredAny> = serde_json::from_slice(&file[size_of::<u64>()..start])
        .map_err(|source| SourceError::Names { path: path.to_owned(), source })?;

    let mut tensors = Vec::new();
    for (name, info) in metadata.tensors() {
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            dtype => {
                return Err(SourceError::Dtype { path: path.to_owned(), tensor: name, dtype });
            }
        };
        let (begin, end) = info.data_offsets;
        let data = file.slice(start + begin..start + end);
        let shape = info.shape.clone();
        tensors.push(SourceTensor { name, path: path.to_owned(), dtype, shape, data });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

fn open_file(path: &Path) -> Result<Vec<SourceTensor>, SourceError> {
    if path.extension().is_some_and(|extension| extension == "json") {
        open_shards(path)
    } else {
        parse(path, &map(path)?)
    }
}

fn open_shards(index: &Path) -> Result<Vec<SourceTensor>, SourceError> {
    let folder = index.parent().unwrap_or(Path::new("."));
    let placed = read_index(index)?;
    let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, shard) in &placed {
        expected.entry(shard).or_default().push(tensor);
    }
    if let Some(shard) = expected.keys().find(|shard| !folder.join(shard).is_file()) {
        return Err(SourceError::MissingShard { shard: folder.join(shard) });
    }
    refuse_stray_shards(folder, &placed)?;

    let mut tensors = Vec::with_capacity(placed.len());
    for (shard, names) in expected {
        let shard = folder.join(shard);
        let found = parse(&shard, &map(&shard)?)?;
        let holds = |name: &str| found.binary_search_by(|tensor| tensor.name.as_str().cmp(name));
        if let Some(tensor) = names.iter().find(|name| holds(name).is_err()) {
            return Err(SourceError::MissingFromShard { shard, tensor: (*tensor).to_owned() });
        }
        if let Some(tensor) = found.iter().find(|t| names.binary_search(&t.name.as_str()).is_err())
        {
            return Err(SourceError::NotInIndex { shard, tensor: tensor.name.clone() });
        }
        tensors.extend(found);
    }
    Ok(tensors)
}

/// The tensors that an index lists, each with the file name of its shard.
pub(crate) fn read_index(index: &Path) -> Result<BTreeMap<String, String>, SourceError> {
    let text =
        fs::read(index).map_err(|source| SourceError::Read { path: index.to_owned(), source })?;
    let Index { weight_map: UniqueMap(placed) } = serde_json::from_slice(&text)
        .map_err(|source| SourceError::Names { path: index.to_owned(), source })?;
    // A name with separators could reach any file of the machine.
    if let Some(shard) = placed.values().find(|shard| !is_file_name(shard)) {
        return Err(SourceError::ShardName { index: index.to_owned(), shard: shard.clone() });
    }
    Ok(placed)
}

fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let only = (components.next(), components.next());
    matches!(only, (Some(Component::Normal(part)), None) if part == name)
        && !name.contains(['/', '\\'])
}

/// A shard that no index names is half of another checkpoint: its tensors would be lost unseen.
fn refuse_stray_shards(
    folder: &Path,
    placed: &BTreeMap<String, String>,
) -> Result<(), SourceError> {
    let failed = |source| SourceError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_shard = name.starts_with("model-") && name.ends_with(".safetensors");
        if is_shard && !placed.values().any(|shard| shard == name) {
            return Err(SourceError::ShardNotInIndex { shard: folder.join(name) });
        }
    }
    Ok(())
}

fn map(path: &Path) -> Result<Bytes, SourceError> {
    let failed = |source| SourceError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    #[expect(
        unsafe_code,
        reason = "a mapped file must not change while it is in use: this crate \
        never writes in place, and replaces files by renaming"
    )]
    let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
    Ok(Bytes::from_owner(map))
}
