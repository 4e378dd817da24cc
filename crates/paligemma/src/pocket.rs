//! The files of the embedded model.

/// `config.json`.
pub(crate) const CONFIG: &str = include_str!("../pocket/config.json");
/// `tokenizer.json`.
pub(crate) const TOKENIZER: &[u8] = include_bytes!("../pocket/tokenizer.json");
/// `model.safetensors`.
pub(crate) const WEIGHTS: &[u8] = include_bytes!("../pocket/model.safetensors");
