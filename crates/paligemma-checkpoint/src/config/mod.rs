//! `PaliGemmaConfig`: what `config.json` says, checked, with every omitted default supplied.

mod colpali;
mod file;
mod limits;
mod recognise;

use std::path::{Path, PathBuf};

use paligemma_gemma::GemmaConfig;
use paligemma_siglip::SiglipConfig;

use crate::source::SourceError;

pub use colpali::ColPaliConfig;
pub(crate) use limits::MAX_COUNT;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// There is no file, and the weights of big_vision that would do instead cannot be read.
    #[error("there is no config.json, and the weights cannot tell what it would say: {0}")]
    Weights(#[from] SourceError),
    /// The file was read, but its contents cannot be used.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ConfigError>,
    },
    /// Not JSON, or a field is missing or of the wrong type.
    #[error("not a PaliGemma configuration: {0}")]
    Json(#[from] serde_json::Error),
    /// A model of another family.
    #[error("{field} is `{found}`, expected `{expected}`")]
    ModelType {
        /// The field, with its section.
        field: &'static str,
        /// The value found.
        found: String,
        /// The only value that is supported.
        expected: &'static str,
    },
    /// A quantised checkpoint.
    #[error("the weights are quantised ({method}); use the original f32, f16 or bf16 checkpoint")]
    Quantized {
        /// The method named by the file.
        method: String,
    },
    /// A value that the model cannot have, or that this implementation does not compute.
    #[error("{field} is {found}, but must be {expected}")]
    Value {
        /// The field, with its section.
        field: &'static str,
        /// The value found.
        found: String,
        /// What it has to be.
        expected: String,
    },
}

/// Rows of the published embedding tables: 257152 tokens, `<image>`, and what pads them.
const PUBLISHED_VOCABULARY: usize = 257_216;

/// The sizes and constants of a PaliGemma model, of either generation.
#[derive(Clone, Debug, PartialEq)]
pub struct PaliGemmaConfig {
    /// The decoder.
    pub text: GemmaConfig,
    /// The vision tower.
    pub vision: SiglipConfig,
    /// Width of the projector's output; equals the width of the decoder.
    pub projection_dim: usize,
    /// The token that image features replace.
    pub image_token_index: u32,
    /// The token that begins a prompt.
    pub bos_token_id: u32,
    /// The token that ends an answer.
    pub eos_token_id: u32,
    /// The token that fills a batch.
    pub pad_token_id: u32,
}

impl PaliGemmaConfig {
    /// Reads `config.json` from `path`, the file itself or its folder. A folder that has none may
    /// hold an npz of big_vision with the sizes of a published model: its configuration is known.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or as [`from_json`](Self::from_json).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let path = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
        match std::fs::read_to_string(&path) {
            Err(source) => recognise::beside(&path)?.ok_or(ConfigError::Read { path, source }),
            Ok(json) => Self::from_json(&json)
                .map_err(|source| ConfigError::InFile { path, source: Box::new(source) }),
        }
    }

    /// Reads the text of a `config.json`. Published files leave out what equals the defaults of
    /// the reference implementation; the same defaults are supplied.
    ///
    /// # Errors
    ///
    /// If the text is no PaliGemma configuration, if its sizes contradict each other or are
    /// absurd, or if it asks for what this implementation does not compute.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let config = file::parse(json)?;
        limits::check(&config)?;
        Ok(config)
    }

    /// The same model for pictures of `image_size` pixels a side, whose position table is
    /// resampled ([`Checkpoint::with_positions`](crate::Checkpoint::with_positions)).
    ///
    /// # Errors
    ///
    /// If that is not a multiple of the patch size, or absurd.
    pub fn at_resolution(mut self, image_size: usize) -> Result<Self, ConfigError> {
        self.vision.image_size = image_size;
        limits::check(&self)?;
        Ok(self)
    }

    /// The text of a `config.json` that any PaliGemma implementation reads.
    pub fn to_json(&self) -> String {
        file::write(self)
    }

    /// The configuration of the published 3B checkpoints at an `image_size` of 224, 448 or 896
    /// pixels.
    pub fn published_3b(image_size: usize) -> Self {
        Self::published(GemmaConfig::gemma_2b(PUBLISHED_VOCABULARY), image_size)
    }

    /// The configurations of the published PaliGemma 2 checkpoints (3B, 10B and 28B) at an
    /// `image_size` of 224, 448 or 896 pixels.
    pub fn published_2(image_size: usize) -> [Self; 3] {
        [GemmaConfig::gemma2_2b, GemmaConfig::gemma2_9b, GemmaConfig::gemma2_27b]
            .map(|text| Self::published(text(PUBLISHED_VOCABULARY), image_size))
    }

    fn published(text: GemmaConfig, image_size: usize) -> Self {
        Self {
            projection_dim: text.hidden_size,
            text,
            vision: SiglipConfig::so400m(image_size),
            image_token_index: 257_152,
            bos_token_id: file::BOS,
            eos_token_id: file::EOS,
            pad_token_id: file::PAD,
        }
    }
}
