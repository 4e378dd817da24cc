//! Vectors as files that other programs read: `.npy` and `.safetensors`.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use npyz::WriterBuilder;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::error::Error;
use crate::files::{check_folder, replace};

/// A file for vectors, whose format and folder are known to be good.
#[derive(Debug)]
pub(crate) struct OutFile {
    path: PathBuf,
    encode: Encode,
}

/// Names and vectors as the bytes of a file.
type Encode = fn(&[String], &[Vec<f32>]) -> io::Result<Vec<u8>>;

impl OutFile {
    /// Checks the name, of which the extension is the format.
    pub(crate) fn new(path: PathBuf) -> Result<Self, Error> {
        let encode: Encode = match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => npy,
            Some("safetensors") => safetensors,
            _ => return Err(Error::VectorsName { path }),
        };
        check_folder(&path)?;
        Ok(Self { path, encode })
    }

    /// Writes the vectors, all of one length, as a table with a row for each.
    pub(crate) fn write(&self, names: &[String], vectors: &[Vec<f32>]) -> Result<(), Error> {
        let written = (self.encode)(names, vectors).and_then(|bytes| replace(&self.path, &bytes));
        written.map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

/// Rows and columns.
fn shape(vectors: &[Vec<f32>]) -> [usize; 2] {
    [vectors.len(), vectors.first().map_or(0, Vec::len)]
}

fn npy(_names: &[String], vectors: &[Vec<f32>]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let shape = shape(vectors).map(|length| length as u64);
    let options = npyz::WriteOptions::<f32>::new().default_dtype().shape(&shape);
    let mut writer = options.writer(&mut bytes).begin_nd()?;
    writer.extend(vectors.iter().flatten().copied())?;
    writer.finish()?;
    Ok(bytes)
}

/// The names are kept as a JSON list, `pictures`, in the metadata.
fn safetensors(names: &[String], vectors: &[Vec<f32>]) -> io::Result<Vec<u8>> {
    let bytes: Vec<u8> = vectors.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, shape(vectors).to_vec(), &bytes);
    let tensors = [("embeddings", view.map_err(io::Error::other)?)];
    let metadata = HashMap::from([("pictures".to_owned(), serde_json::to_string(names)?)]);
    safetensors::serialize(tensors, Some(metadata)).map_err(io::Error::other)
}
