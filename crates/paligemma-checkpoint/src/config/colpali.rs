//! `ColPaliConfig`: what the `config.json` of a ColPali says.

use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, PaliGemmaConfig};

/// The sizes of a `PaliGemma` with a head that embeds pages and queries.
#[derive(Clone, Debug, PartialEq)]
pub struct ColPaliConfig {
    /// The model below the head.
    pub vlm: PaliGemmaConfig,
    /// Width of an embedding.
    pub embedding_dim: usize,
}

const COLPALI: &str = "colpali";
/// Width of an embedding where the file does not say (transformers `configuration_colpali.py`).
const EMBEDDING_DIM: usize = 128;
const MAX_WIDTH: usize = 1 << 16;

#[derive(Deserialize)]
struct File {
    model_type: String,
    vlm_config: Option<Value>,
    embedding_dim: Option<usize>,
}

impl ColPaliConfig {
    /// Whether the text of a `config.json` says that it is a `ColPali`'s.
    pub fn is_of(json: &[u8]) -> bool {
        serde_json::from_slice::<File>(json).is_ok_and(|file| file.model_type == COLPALI)
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// If it is no `ColPali`'s, or as [`PaliGemmaConfig::from_json`] of the section `vlm_config`.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let File { model_type, vlm_config, embedding_dim } = serde_json::from_str(json)?;
        if model_type != COLPALI {
            let (field, expected) = ("model_type", COLPALI);
            return Err(ConfigError::ModelType { field, found: model_type, expected });
        }
        let embedding_dim = embedding_dim.unwrap_or(EMBEDDING_DIM);
        if !(1..=MAX_WIDTH).contains(&embedding_dim) {
            return Err(ConfigError::Value {
                field: "embedding_dim",
                found: embedding_dim.to_string(),
                expected: format!("between 1 and {MAX_WIDTH}"),
            });
        }
        let vlm = PaliGemmaConfig::from_json(&vlm_config.unwrap_or_default().to_string())?;
        Ok(Self { vlm, embedding_dim })
    }
}
