//! What is to be done, and how another run knows that it is the same.

use std::fs;
use std::io;
use std::path::{Path, absolute};

use paligemma::{Options, Sampling};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Image, Row};

/// Rows to answer, and by what.
#[derive(Clone, Debug)]
pub struct Job {
    /// The rows.
    pub rows: Vec<Row>,
    /// What tells the model from others, such as its fingerprint; nothing is opened by it.
    pub model: String,
    /// How each answer is made. Every row begins with the same seed, so that it does not matter
    /// which rows were answered before it.
    pub options: Options,
}

/// What must be equal for results to be gone on with.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Identity {
    model: String,
    max_new_tokens: usize,
    num_beams: usize,
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    seed: u64,
    rows: usize,
    rows_sha256: String,
}

impl Identity {
    pub(crate) fn of(job: &Job) -> Self {
        let (temperature, top_k, top_p) = match job.options.sampling {
            Sampling::Greedy => (None, None, None),
            Sampling::Random { temperature, top_k, top_p } => (Some(temperature), top_k, top_p),
        };
        Self {
            model: job.model.clone(),
            max_new_tokens: job.options.max_new_tokens,
            num_beams: job.options.num_beams,
            temperature,
            top_k,
            top_p,
            seed: job.options.seed,
            rows: job.rows.len(),
            rows_sha256: digest(&job.rows),
        }
    }

    /// What another identity has otherwise, if anything.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        if self == other {
            None
        } else if self.model != other.model {
            Some("weights (another --model or --dtype)")
        } else if (self.rows, &self.rows_sha256) != (other.rows, &other.rows_sha256) {
            Some("rows (other pictures, prompts or --shard)")
        } else {
            Some("options (another number of tokens or beams, sampling or seed)")
        }
    }

    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// Writes it whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        paligemma_files::write(path, &text)
    }
}

/// A digest of all that rows say, and of where their pictures are: names may be of other files in
/// another folder. Lengths keep apart what would run together.
fn digest(rows: &[Row]) -> String {
    let mut hash = Sha256::new();
    let mut put = |text: &[u8]| {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    };
    for Row { id, images, prompt } in rows {
        put(id.as_bytes());
        put(prompt.as_bytes());
        put(images.len().to_string().as_bytes());
        for Image { name, path } in images {
            put(name.as_bytes());
            // Only of an empty path there is none.
            put(absolute(path).unwrap_or_default().as_os_str().as_encoded_bytes());
        }
    }
    format!("{:x}", hash.finalize())
}
