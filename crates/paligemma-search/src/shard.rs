//! One file of an index: a few pictures, each with what is known of it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::f16;
use memmap2::Mmap;
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::SearchError;

/// The version of the layout.
const VERSION: u32 = 1;
/// The key of the header in the file's metadata.
const HEADER: &str = "paligemma-index";
const EMBEDDINGS: &str = "embeddings";
const FEATURES: &str = "features";
/// The largest number of an embedding, whose length is 1, with room for rounding.
const LARGEST: f32 = 1.01;

/// What a file says about itself.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Header {
    version: u32,
    /// The fingerprint of the model.
    pub(crate) model: String,
    /// The folder of the pictures, as an absolute path.
    pub(crate) folder: String,
    pub(crate) rows: Vec<Row>,
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) file: FileState,
    /// Pixels across and down.
    pub(crate) size: (u32, u32),
    pub(crate) caption: String,
}

/// A picture file as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct FileState {
    /// Its path in the folder, with `/` between names.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub(crate) modified: u64,
}

/// A picture to be written: its row, its embedding in f32 and its features in f16, both as bytes.
pub(crate) struct Entry {
    pub(crate) row: Row,
    pub(crate) embedding: Vec<u8>,
    pub(crate) features: Vec<u8>,
}

/// A file that was read and found sound; numbers stay in the mapped file.
pub(crate) struct Shard {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    /// Embedding width, image tokens, and their width.
    pub(crate) shape: [usize; 3],
    map: Mmap,
    embeddings: Range<usize>,
    features: Range<usize>,
}

/// What a file's metadata says, and where its numbers are.
struct Contents {
    header: Header,
    shape: [usize; 3],
    embeddings: Range<usize>,
    features: Range<usize>,
}

impl Header {
    pub(crate) fn new(model: &str, folder: &str) -> Self {
        let (model, folder) = (model.to_owned(), folder.to_owned());
        Self { version: VERSION, model, folder, rows: Vec::new() }
    }
}

impl Entry {
    /// Takes numbers in; none if a feature is beyond the range of f16.
    pub(crate) fn new(row: Row, embedding: &[f32], features: &[f32]) -> Option<Self> {
        let halves: Vec<f16> = features.iter().map(|&value| f16::from_f32(value)).collect();
        let embedding = embedding.iter().flat_map(|value| value.to_le_bytes()).collect();
        halves.iter().all(|value| value.is_finite()).then(|| {
            let features = halves.iter().flat_map(|value| value.to_le_bytes()).collect();
            Self { row, embedding, features }
        })
    }
}

impl Shard {
    /// Opens a file and checks everything but the numbers themselves.
    pub(crate) fn open(path: PathBuf) -> Result<Self, SearchError> {
        let map = match map(&path) {
            Ok(map) => map,
            Err(source) => return Err(SearchError::Read { path, source }),
        };
        let parsed = SafeTensors::read_metadata(&map).map_err(|error| error.to_string());
        let parsed = parsed.and_then(|(header, metadata)| {
            let data = size_of::<u64>() + header;
            parse(&metadata, data).map_err(str::to_owned)
        });
        match parsed {
            Ok(Contents { header, shape, embeddings, features }) => {
                Ok(Self { path, header, shape, map, embeddings, features })
            }
            Err(what) => Err(SearchError::Damaged { path, what }),
        }
    }

    /// The embedding of a picture, whose distance to another is always finite.
    pub(crate) fn embedding(&self, row: usize) -> Result<Vec<f32>, SearchError> {
        let (values, _) = self.embedding_bytes(row).as_chunks();
        let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        self.checked(values, |value| value.abs() <= LARGEST)
    }

    /// The features of a picture, row by row.
    pub(crate) fn features(&self, row: usize) -> Result<Vec<f32>, SearchError> {
        let (values, _) = self.feature_bytes(row).as_chunks();
        let values = values.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect();
        self.checked(values, f32::is_finite)
    }

    /// A picture as it is to be written to another file.
    pub(crate) fn entry(&self, row: usize) -> Entry {
        Entry {
            row: self.header.rows[row].clone(),
            embedding: self.embedding_bytes(row).to_vec(),
            features: self.feature_bytes(row).to_vec(),
        }
    }

    /// What is wrong, about this file.
    pub(crate) fn damaged(&self, what: &str) -> SearchError {
        SearchError::Damaged { path: self.path.clone(), what: what.to_owned() }
    }

    fn embedding_bytes(&self, row: usize) -> &[u8] {
        part(&self.map[self.embeddings.clone()], row, self.header.rows.len())
    }

    fn feature_bytes(&self, row: usize) -> &[u8] {
        part(&self.map[self.features.clone()], row, self.header.rows.len())
    }

    /// Numbers that the model can have made.
    fn checked(
        &self,
        values: Vec<f32>,
        is_sound: impl Fn(f32) -> bool,
    ) -> Result<Vec<f32>, SearchError> {
        if values.iter().all(|&value| is_sound(value)) {
            Ok(values)
        } else {
            Err(self.damaged("it has numbers that no model makes"))
        }
    }
}

/// One of `count` equal parts.
fn part(all: &[u8], index: usize, count: usize) -> &[u8] {
    let length = all.len() / count;
    &all[index * length..(index + 1) * length]
}

/// Reads a file's metadata; its numbers begin at `data`.
fn parse(metadata: &Metadata, data: usize) -> Result<Contents, &'static str> {
    let text = metadata.metadata().as_ref().and_then(|texts| texts.get(HEADER));
    let text = text.ok_or("it is no file of an index")?;
    let header: Header = serde_json::from_str(text).map_err(|_| "its rows cannot be read")?;
    if header.version != VERSION {
        return Err("it has a layout that this program does not know");
    }
    if header.rows.is_empty() || !header.rows.iter().all(Row::is_sound) {
        return Err("its rows are not what was written");
    }
    let tensor = |name, dtype| {
        let info = metadata.info(name).filter(|info| info.dtype == dtype)?;
        let (begin, end) = info.data_offsets;
        Some((info.shape.as_slice(), data + begin..data + end))
    };
    let rows = header.rows.len();
    match (tensor(EMBEDDINGS, Dtype::F32), tensor(FEATURES, Dtype::F16)) {
        (Some((&[a, width], embeddings)), Some((&[b, tokens, depth], features)))
            if a == rows && b == rows =>
        {
            Ok(Contents { header, shape: [width, tokens, depth], embeddings, features })
        }
        _ => Err("its numbers do not fit its rows"),
    }
}

impl Row {
    /// Whether its words can be shown: a control character could write over a terminal.
    fn is_sound(&self) -> bool {
        is_plain(&self.file.path) && is_plain(&self.caption)
    }
}

/// Whether no character of the text is a command to a terminal.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    #[expect(
        unsafe_code,
        reason = "a mapped file must not change while it is in use: this crate \
        never writes in place, and replaces files by renaming"
    )]
    unsafe {
        Mmap::map(&file)
    }
}

/// Writes a file beside its place and moves it there when it is complete.
pub(crate) fn write(
    path: &Path,
    header: &Header,
    entries: &[Entry],
    shape: [usize; 3],
) -> Result<(), SearchError> {
    let failed = |source| SearchError::Write { path: path.to_owned(), source };
    let bytes = serialize(header, entries, shape).map_err(failed)?;
    paligemma_files::write(path, &bytes).map_err(failed)
}

fn serialize(header: &Header, entries: &[Entry], shape: [usize; 3]) -> io::Result<Vec<u8>> {
    let rows = entries.iter().map(|entry| entry.row.clone()).collect();
    let header = serde_json::to_string(&Header { rows, ..header.clone() })?;
    let metadata = HashMap::from([(HEADER.to_owned(), header)]);
    let embeddings: Vec<u8> = entries.iter().flat_map(|e| &e.embedding).copied().collect();
    let features: Vec<u8> = entries.iter().flat_map(|e| &e.features).copied().collect();
    let ([width, tokens, depth], count) = (shape, entries.len());
    let embeddings = TensorView::new(Dtype::F32, vec![count, width], &embeddings);
    let features = TensorView::new(Dtype::F16, vec![count, tokens, depth], &features);
    let tensors = [(EMBEDDINGS, embeddings), (FEATURES, features)];
    let tensors = tensors.into_iter().map(|(name, view)| Ok((name, view?)));
    let tensors: Result<Vec<_>, SafeTensorError> = tensors.collect();
    let tensors = tensors.map_err(io::Error::other)?;
    safetensors::serialize(tensors, Some(metadata)).map_err(io::Error::other)
}
