//! `embed`: a vector for each picture, in a file or as text.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use paligemma::PaliGemma;
use paligemma::image::RgbImage;
use paligemma_processor::resize;

use crate::args::{JsonArgs, ModelArgs};
use crate::error::Error;
use crate::pictures::Outcome;
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
    /// The file is written before anything is printed. In it and on the lines, a picture that cannot
    /// be read keeps its place with numbers that are none.
    pub(crate) fn run(self) -> Result<(), Error> {
        let out = self.out.map(OutFile::new).transpose()?;
        let model = pictures::open_model(&self.images, &self.model)?;
        let mut all = Vec::with_capacity(self.images.len());
        for paths in self.images.chunks(AT_ONCE) {
            all.extend(embed(&model, paths)?);
        }
        if all.iter().any(|(_, vector)| vector.is_ok()) {
            let none = vec![f32::NAN; model.config().vision.hidden_size];
            let vector = |(_, vector): &Outcome<_>| vector.clone().unwrap_or_else(|_| none.clone());
            let vectors: Vec<Vec<f32>> = all.iter().map(vector).collect();
            if let Some(out) = out {
                let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
                out.write(&names, &vectors)?;
            } else if !self.json.json {
                show(&vectors)?;
            }
        }
        if self.json.json {
            output::json(&wire::Embeddings::new(&all))?;
        }
        pictures::conclude(&all)
    }
}

/// The vectors of some pictures, which go through the tower together. They are squashed as soon as
/// they are read: only the model's few pixels of each are held.
fn embed(model: &PaliGemma, paths: &[PathBuf]) -> Result<Vec<Outcome<Vec<f32>>>, Error> {
    let side = model.config().vision.image_size;
    let read = pictures::each(paths, |path| Ok(resize(&pictures::read(path)?, side)))?;
    let squares: Vec<RgbImage> =
        read.iter().filter_map(|(_, square)| square.as_ref().ok().cloned()).collect();
    let vectors = if squares.is_empty() { Vec::new() } else { model.embed(&squares)? };
    let mut vectors = vectors.into_iter();
    let outcome = |(name, square): Outcome<RgbImage>| match square {
        Ok(_) => vectors.next().map(|vector| (name, Ok(vector))),
        Err(error) => Some((name, Err(error))),
    };
    Ok(read.into_iter().filter_map(outcome).collect())
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
