//! `embed`: a vector for each picture, in a file or as text.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::args::{JsonArgs, ModelArgs};
use crate::error::Error;
use crate::vectors::OutFile;
use crate::{output, pictures, wire};

/// Pictures that go through the vision tower together.
const AT_ONCE: usize = 8;

/// Pictures to compare.
#[derive(Args, Debug)]
pub(crate) struct Embed {
    /// The pictures
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Write the vectors into a file (.npy or .safetensors) and not to the standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl Embed {
    /// The file is written before anything is printed.
    pub(crate) fn run(self) -> Result<(), Error> {
        let out = self.out.map(OutFile::new).transpose()?;
        let model = pictures::open_model(&self.images, &self.model)?;
        let mut vectors = Vec::with_capacity(self.images.len());
        for paths in self.images.chunks(AT_ONCE) {
            let read = paths.iter().map(|path| pictures::read(path));
            vectors.extend(model.embed(&read.collect::<Result<Vec<_>, _>>()?)?);
        }
        let names: Vec<String> = self.images.iter().map(|path| pictures::name(path)).collect();
        if let Some(out) = &out {
            out.write(&names, &vectors)?;
        }
        if self.json.json {
            return output::json(&wire::Embeddings::new(&names, &vectors));
        }
        if out.is_none() { show(&vectors) } else { Ok(()) }
    }
}

/// A picture a line, in the order given.
fn show(vectors: &[Vec<f32>]) -> Result<(), Error> {
    let mut lines = String::new();
    for vector in vectors {
        for (i, value) in vector.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(lines, "{}{value}", if i == 0 { "" } else { " " });
        }
        lines.push('\n');
    }
    output::text(&lines)
}
