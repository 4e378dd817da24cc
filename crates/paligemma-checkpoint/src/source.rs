//! Tensors in files: memory-mapped, in one file of any format or in shards with an index.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use burn::tensor::FloatDType;
use bytes::Bytes;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensorError};
use serde::Deserialize;
use zip::result::ZipError;

use crate::checkpoint::Elements;
use crate::formats::{self, BURNPACK, PickleProblem, TORCH_WEIGHTS, TensorProblem};
use crate::json::UniqueMap;
use crate::layout::Layout;
use crate::masks::MASK_FILES;
use crate::order::Order;

pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// What the name of an index adds to that of the file that its shards stand for.
pub(crate) const INDEX_ENDING: &str = ".index.json";

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
    /// An archive that is none, or was cut short.
    #[error("{} is not a sound archive: {source}; fetch it again", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with the archive.
        source: ZipError,
    },
    /// A tensor that cannot be taken.
    #[error("`{tensor}` in {} {problem}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor, as the file calls it.
        tensor: String,
        /// What is wrong with it.
        problem: TensorProblem,
    },
    /// Two tensors of one name, or that are the same one of the model.
    #[error("`{tensor}` is in {} twice: which of them is meant?", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The tensor, as the file calls it.
        tensor: String,
    },
    /// The description of tensors in a file of `torch.save` that cannot be taken.
    #[error("the pickle in {} {problem}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: PickleProblem,
    },
    /// A file of `torch.save` that holds something else than tensors by their names.
    #[error("{} is no dictionary of tensors: save the model's state_dict", path.display())]
    NoTensors {
        /// The file.
        path: PathBuf,
    },
    /// A file of `torch.save` in the form from before version 1.6.
    #[error(
        "{} has the form of PyTorch before 1.6: load it there, and save it again",
        path.display()
    )]
    OldTorch {
        /// The file.
        path: PathBuf,
    },
    /// A burnpack file of another version, or whose description cannot be read.
    #[error("{} is not a sound burnpack file of version 1; fetch it again", path.display())]
    Burnpack {
        /// The file.
        path: PathBuf,
    },
    /// A folder with several files that may be the weights.
    #[error("{} has several npz files, {first} and {second}: leave one", folder.display())]
    Ambiguous {
        /// The folder.
        folder: PathBuf,
        /// One of the files.
        first: String,
        /// Another.
        second: String,
    },
    /// A format in which no PaliGemma is published.
    #[error(
        "{} is a GGUF file, and no layout of PaliGemma in GGUF is published: use the original \
        safetensors checkpoint",
        path.display()
    )]
    Gguf {
        /// The file.
        path: PathBuf,
    },
    /// A folder without weights.
    #[error(
        "{} has no weights: no {WEIGHTS}, {INDEX}, {TORCH_WEIGHTS}, {BURNPACK} or npz of big_vision",
        folder.display()
    )]
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
    /// Packed weights of another version of the layout, or in a format that is not known.
    #[error(
        "{} holds weights packed as {found}, this program reads {expected}: convert the original \
        checkpoint again",
        path.display()
    )]
    Packing {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: String,
        /// What can be read.
        expected: String,
    },
    /// A packed tensor that is not as long as its shape demands.
    #[error(
        "`{tensor}` in {} does not fit its packed shape: convert the original checkpoint again",
        path.display()
    )]
    PackedShape {
        /// The file.
        path: PathBuf,
        /// The tensor, as the file calls it.
        tensor: String,
    },
    /// A position table that is no square, or is packed, cannot be brought to another resolution.
    #[error("`{tensor}` in {} is no square grid of positions: {shape:?}", path.display())]
    Positions {
        /// The file.
        path: PathBuf,
        /// The tensor, as the file calls it.
        tensor: String,
        /// The shape found.
        shape: Vec<usize>,
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
    #[error("the shard {} is missing, named by the index; fetch it again", shard.display())]
    MissingShard {
        /// Where the shard should be.
        shard: PathBuf,
    },
    /// A shard lies in the folder, unknown to the index.
    #[error("the shard {} is not in the index; remove it or fetch the index again", shard.display())]
    ShardNotInIndex {
        /// The shard.
        shard: PathBuf,
    },
    /// A tensor is not in the shard that the index gives for it.
    #[error("`{tensor}` is not in {}, where the index places it", shard.display())]
    MissingFromShard {
        /// The shard.
        shard: PathBuf,
        /// The tensor, as the index calls it.
        tensor: String,
    },
    /// A shard holds a tensor that the index does not place there.
    #[error("`{tensor}` is in {}, where the index does not place it", shard.display())]
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
    /// The layout and the path in the modules, if the format tells them and no spelling of names.
    pub(crate) known: Option<(&'static Layout, String)>,
    pub(crate) elements: Elements,
    /// The published shape, also of a packed matrix.
    pub(crate) shape: Vec<usize>,
    /// The elements, little endian, row by row or packed: a view into the mapped file.
    pub(crate) data: Bytes,
    /// How the elements lie, if not as the tensor has them.
    pub(crate) order: Option<Order>,
    /// The mapped file; none if it is in memory for other reasons.
    pub(crate) map: Option<Map>,
}

/// A mapped file, shared by the tensors in it.
#[derive(Clone, Debug)]
pub(crate) struct Map(Arc<Mmap>);

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl SourceTensor {
    /// A tensor of f32 in a file at `path`.
    pub(crate) fn new(name: String, path: &Path, shape: Vec<usize>, data: Bytes) -> Self {
        let elements = Elements::Float(FloatDType::F32);
        let (known, order, map) = (None, None, None);
        Self { name, path: path.to_owned(), known, elements, shape, data, order, map }
    }

    /// The elements as the tensor has them: the file's own bytes, or a copy in order.
    pub(crate) fn contents(&self) -> Bytes {
        match &self.order {
            None => self.data.clone(),
            Some(order) => order.sorted(&self.data, self.element()).into(),
        }
    }

    /// Whether the elements can be used where they lie.
    pub(crate) fn is_in_place(&self) -> bool {
        let address = self.data.as_ptr() as usize;
        self.order.is_none() && address.is_multiple_of(self.element())
    }

    /// Lets go of the memory that holds the tensor's part of the file, which was read and is not
    /// needed soon. The system reads it again if it is.
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        if let Some(Map(map)) = &self.map {
            let offset = self.data.as_ptr() as usize - map.as_ptr() as usize;
            let advice = memmap2::UncheckedAdvice::DontNeed;
            #[expect(unsafe_code, reason = "on memory that is no file's, this would lose data")]
            // SAFETY: the map is a file's and never written to, so what is dropped is read again.
            let released = unsafe { map.unchecked_advise_range(advice, offset, self.data.len()) };
            // Where the system does not follow the advice, nothing but memory is lost.
            drop(released);
        }
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: UniqueMap<String>,
}

/// All tensors of a folder, of a file, or of the shards of an index.
pub(crate) fn open(path: &Path) -> Result<Vec<SourceTensor>, SourceError> {
    if !path.is_dir() {
        return open_file(path);
    }
    let torch_index = format!("{TORCH_WEIGHTS}{INDEX_ENDING}");
    let names = [WEIGHTS, INDEX, TORCH_WEIGHTS, &torch_index, BURNPACK];
    let candidates = names.map(|name| path.join(name));
    match candidates.iter().find(|candidate| candidate.exists()) {
        Some(found) => open_file(found),
        None => open_file(&any_other(path)?),
    }
}

/// The npz file with weights in a folder that has no file of a known name.
fn any_other(folder: &Path) -> Result<PathBuf, SourceError> {
    let failed = |source| SourceError::Read { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort();
    let ends = |name: &str, ending: &str| {
        Path::new(name).extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
    };
    let is_weights = |name: &&String| ends(name, "npz") && !MASK_FILES.contains(&name.as_str());
    let found: Vec<&String> = names.iter().filter(is_weights).collect();
    match found[..] {
        [name] => Ok(folder.join(name)),
        [first, second, ..] => Err(SourceError::Ambiguous {
            folder: folder.to_owned(),
            first: first.clone(),
            second: second.clone(),
        }),
        [] => Err(match names.iter().find(|name| ends(name, "gguf")) {
            Some(name) => SourceError::Gguf { path: folder.join(name) },
            None => SourceError::NoWeights { folder: folder.to_owned() },
        }),
    }
}

fn open_file(path: &Path) -> Result<Vec<SourceTensor>, SourceError> {
    if path.extension().is_some_and(|extension| extension == "json") {
        open_shards(path)
    } else {
        parse_mapped(path)
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
    refuse_stray_shards(index, &placed)?;

    let mut tensors = Vec::with_capacity(placed.len());
    for (shard, names) in expected {
        let shard = folder.join(shard);
        let found = parse_mapped(&shard)?;
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
fn refuse_stray_shards(index: &Path, placed: &BTreeMap<String, String>) -> Result<(), SourceError> {
    let folder = index.parent().unwrap_or(Path::new("."));
    let failed = |source| SourceError::Read { path: folder.to_owned(), source };
    // Shards are called as the whole would be: `model-00001-of-00003.safetensors`.
    let whole = index.file_name().unwrap_or_default().to_string_lossy();
    let whole = whole.strip_suffix(INDEX_ENDING).unwrap_or(&whole);
    let Some((start, ending)) = whole.rsplit_once('.') else { return Ok(()) };
    let is_shard = |name: &str| {
        let number = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(ending));
        number.is_some_and(|number| number.starts_with('-') && number.ends_with('.'))
    };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        if is_shard(name) && !placed.values().any(|shard| shard == name) {
            return Err(SourceError::ShardNotInIndex { shard: folder.join(name) });
        }
    }
    Ok(())
}

/// The tensors of a file held in memory, by their names; `path` is what errors call it.
pub(crate) fn read(path: &Path, file: &Bytes) -> Result<Vec<SourceTensor>, SourceError> {
    let mut tensors = formats::parse(path, file)?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

/// The tensors of a file, which know that it is mapped.
fn parse_mapped(path: &Path) -> Result<Vec<SourceTensor>, SourceError> {
    let map = map(path)?;
    let mut tensors = read(path, &Bytes::from_owner(map.clone()))?;
    for tensor in &mut tensors {
        // What was compressed in the file is elsewhere in memory.
        let is_mapped = map.as_ref().as_ptr_range().contains(&tensor.data.as_ptr());
        tensor.map = is_mapped.then(|| map.clone());
    }
    Ok(tensors)
}

fn map(path: &Path) -> Result<Map, SourceError> {
    let failed = |source| SourceError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    #[expect(
        unsafe_code,
        reason = "a mapped file must not change while it is in use: this crate \
        never writes in place, and replaces files by renaming"
    )]
    let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
    Ok(Map(Arc::new(map)))
}
