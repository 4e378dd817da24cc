//! Zip archives: where in the file each entry lies, and what those contain that are compressed.

use std::io::{Cursor, Read};
use std::path::Path;

use bytes::Bytes;
use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::TensorProblem;
use crate::source::SourceError;

/// The first bytes of an archive.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// Compressed entries may unpack to this many bytes for each of the archive, and this many besides:
/// the numbers of weights hardly compress, and zeros are only few.
const INFLATION: u64 = 16;
const SMALL: u64 = 16 << 20;

/// The entries of an archive.
pub(crate) struct Archive<'a> {
    file: &'a Bytes,
    /// In the order of the archive.
    pub(crate) entries: Vec<Entry>,
    /// Bytes that what is compressed may still unpack to.
    room: u64,
}

/// Where an entry lies; a hostile archive may say anything.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    start: usize,
    length: usize,
    unpacked: u64,
    method: CompressionMethod,
}

impl<'a> Archive<'a> {
    /// Reads the directory of the archive `file`; `path` is what errors call it.
    pub(crate) fn open(path: &Path, file: &'a Bytes) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Archive { path: path.to_owned(), source };
        let mut archive = ZipArchive::new(Cursor::new(file)).map_err(failed)?;
        let mut entries = Vec::with_capacity(archive.len());
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(failed)?;
            let start = entry.data_start().unwrap_or(u64::MAX);
            entries.push(Entry {
                name: entry.name().to_owned(),
                start: usize::try_from(start).unwrap_or(usize::MAX),
                length: usize::try_from(entry.compressed_size()).unwrap_or(usize::MAX),
                unpacked: entry.size(),
                method: entry.compression(),
            });
        }
        let room = SMALL + INFLATION * file.len() as u64;
        Ok(Self { file, entries, room })
    }

    /// The contents of an entry that is stored as it is.
    pub(crate) fn stored(&self, entry: &Entry) -> Result<Bytes, TensorProblem> {
        let end = entry.start.checked_add(entry.length).filter(|&end| end <= self.file.len());
        match end {
            Some(end) if entry.method == CompressionMethod::Stored => {
                Ok(self.file.slice(entry.start..end))
            }
            _ => Err(TensorProblem::Compression),
        }
    }

    /// The contents of an entry: a part of the file if they are stored as they are.
    pub(crate) fn contents(&mut self, entry: &Entry) -> Result<Bytes, TensorProblem> {
        if entry.method == CompressionMethod::Stored {
            return self.stored(entry);
        }
        let end = entry.start.checked_add(entry.length).filter(|&end| end <= self.file.len());
        let bytes = self.file.slice(entry.start..end.ok_or(TensorProblem::Compression)?);
        if entry.method != CompressionMethod::DEFLATE {
            return Err(TensorProblem::Compression);
        }
        self.room = self.room.checked_sub(entry.unpacked).ok_or(TensorProblem::Inflation)?;
        let mut unpacked = Vec::new();
        let mut reader = DeflateDecoder::new(&*bytes).take(entry.unpacked);
        reader.read_to_end(&mut unpacked).map_err(|_| TensorProblem::Compression)?;
        Ok(unpacked.into())
    }
}
