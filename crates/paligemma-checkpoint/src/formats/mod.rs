//! Formats of weights: which a file has, and how a whole checkpoint is written in one.

pub(crate) mod archive;
mod big_vision;
mod burnpack;
mod npz;
mod pickle;
mod pytorch;
mod safetensors;
mod zip_writer;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use bytes::Bytes;
use paligemma_files::WholeFile;

pub use pickle::PickleProblem;

use crate::config::PaliGemmaConfig;
use crate::layout::{LAYOUTS, published_name};
use crate::save::SaveError;
use crate::source::{SourceError, SourceTensor, WEIGHTS};
use crate::write::Pending;

/// The first bytes of a GGUF file.
const GGUF: &[u8] = b"GGUF";
/// Those of what `torch.save` wrote before version 1.6: a pickle by itself.
const OLD_TORCH: &[u8] = b"\x80\x02\x8a\x0a";

/// The most axes that a tensor has: a hostile file may repeat a long shape any number of times.
const MOST_AXES: usize = 8;

/// A format in which whole checkpoints are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The published form: `model.safetensors`, under the published names.
    #[default]
    Safetensors,
    /// big_vision's: `paligemma.npz`, arrays over all layers.
    BigVision,
    /// `torch.save`'s: `pytorch_model.bin`, under the published names.
    PyTorch,
    /// burn's: `model.bpk`, tensors called by their paths in the modules.
    Burnpack,
}

/// The file that each of [`Format`]'s is looked for in; any other `.npz` is one of big_vision too.
pub(crate) const TORCH_WEIGHTS: &str = "pytorch_model.bin";
pub(crate) const BURNPACK: &str = "model.bpk";
const BIG_VISION: &str = "paligemma.npz";

/// Why a tensor of a file cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorProblem {
    /// It is no array, or its header cannot be read.
    Header,
    /// A type that is no weight's, as the file names it.
    Dtype(String),
    /// Columns follow each other instead of rows.
    ColumnOrder,
    /// More or fewer bytes than its shape demands.
    Length {
        /// Bytes that the shape demands.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The compressed bytes are damaged, or compressed in a way that is not known.
    Compression,
    /// It would unpack to far more than weights do.
    Inflation,
    /// Not the axes of big_vision's array of this name.
    Axes {
        /// Their lengths.
        found: Vec<usize>,
    },
    /// Something else than a tensor.
    NotATensor,
    /// A tensor that is a view of another, with steps between its elements.
    Strides,
    /// The archive lacks the tensor's elements.
    Storage,
    /// Numbers whose first byte is the highest.
    ByteOrder,
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("is not an array of numpy: save it with numpy.savez"),
            Self::Dtype(found) => write!(
                f,
                "has the type {found}; weights must be f32, f16 or bf16 (in numpy <f4, <f2 or |V2)"
            ),
            Self::ColumnOrder => {
                f.write_str("is in Fortran's order: save it after numpy.ascontiguousarray")
            }
            Self::Length { expected, found } => {
                write!(f, "has {found} bytes where its shape demands {expected}; fetch it again")
            }
            Self::Compression => f.write_str("cannot be unpacked; fetch the file again"),
            Self::Inflation => f.write_str(
                "would unpack to more than weights do: save it with numpy.savez, uncompressed",
            ),
            Self::Axes { found } => {
                write!(f, "has shape {found:?}, which is not that of a PaliGemma of big_vision")
            }
            Self::NotATensor => f.write_str("is no plain tensor: save the state_dict alone"),
            Self::Strides => {
                f.write_str("is a view of another tensor: save it after .contiguous()")
            }
            Self::ByteOrder => {
                f.write_str("is not little: save the file on a little-endian machine")
            }
            Self::Storage => f.write_str("has no elements in the file; fetch it again"),
        }
    }
}

/// The tensors of a file held in memory, of whatever format; `path` is what errors call it.
pub(crate) fn parse(path: &Path, file: &Bytes) -> Result<Vec<SourceTensor>, SourceError> {
    // As the length of a safetensors header, any of these would be more than any file.
    if file.starts_with(GGUF) {
        return Err(SourceError::Gguf { path: path.to_owned() });
    }
    if file.starts_with(OLD_TORCH) {
        return Err(SourceError::OldTorch { path: path.to_owned() });
    }
    if file.starts_with(burnpack::MAGIC) {
        return burnpack::parse(path, file);
    }
    if !file.starts_with(archive::MAGIC) {
        return safetensors::parse(path, file);
    }
    let archive = archive::Archive::open(path, file)?;
    if let Some(description) = pytorch::description(&archive) {
        return pytorch::parse(path, &archive, &description);
    }
    let arrays = npz::parse(path, archive)?;
    if big_vision::fits(&arrays) { big_vision::take_apart(arrays) } else { Ok(arrays) }
}

impl Format {
    /// The name of the file.
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Self::Safetensors => WEIGHTS,
            Self::BigVision => BIG_VISION,
            Self::PyTorch => TORCH_WEIGHTS,
            Self::Burnpack => BURNPACK,
        }
    }

    /// What a tensor is called when it is given to [`writer`](Self::writer).
    pub(crate) fn name_of(self, module_path: &str) -> Result<String, SaveError> {
        let path = module_path.to_owned();
        match self {
            Self::Safetensors | Self::PyTorch => {
                published_name(module_path).ok_or(SaveError::Name { path })
            }
            Self::BigVision if LAYOUTS[0].file_name(module_path).is_none() => {
                Err(SaveError::NoArray { path })
            }
            Self::BigVision | Self::Burnpack => Ok(path),
        }
    }

    /// What writes a whole model's tensors into a file. That the format can hold them is found out
    /// before there is one.
    pub(crate) fn writer<'a>(
        self,
        tensors: Vec<Pending<'a>>,
        config: &PaliGemmaConfig,
    ) -> Result<impl FnOnce(&mut WholeFile) -> Result<(), SaveError> + use<'a>, SaveError> {
        type Write<'a> = Box<dyn FnOnce(&mut BufWriter<&mut WholeFile>, &Failed) -> Outcome + 'a>;
        type Outcome = Result<(), SaveError>;
        let write: Write<'a> = match self {
            Self::Safetensors => {
                Box::new(|out, failed| safetensors::write(out, tensors, BTreeMap::new(), failed))
            }
            Self::BigVision => {
                let arrays = big_vision::stacked(tensors, config)?;
                Box::new(|out, failed| big_vision::write(out, arrays, failed))
            }
            Self::PyTorch => Box::new(|out, failed| pytorch::write(out, tensors, failed)),
            Self::Burnpack => Box::new(|out, failed| burnpack::write(out, tensors, failed)),
        };
        Ok(|file: &mut WholeFile| {
            let failed = failure(file);
            let mut out = BufWriter::new(file);
            write(&mut out, &*failed)?;
            out.flush().map_err(failed)
        })
    }
}

/// What makes an error of a failure to write.
type Failed = dyn Fn(io::Error) -> SaveError;

/// Writes a safetensors file with `metadata` in its header.
pub(crate) fn write_safetensors(
    file: &mut WholeFile,
    tensors: Vec<Pending<'_>>,
    metadata: BTreeMap<String, String>,
) -> Result<(), SaveError> {
    let failed = failure(file);
    let mut out = BufWriter::new(file);
    safetensors::write(&mut out, tensors, metadata, &*failed)?;
    out.flush().map_err(failed)
}

fn failure(file: &WholeFile) -> Box<Failed> {
    let path = file.path().to_owned();
    Box::new(move |source| SaveError::Write { path: path.clone(), source })
}
