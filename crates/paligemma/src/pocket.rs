//! The files of the embedded model, in the form that published checkpoints have.

/// `config.json`.
pub static CONFIG: &str = include_str!("../pocket/config.json");
/// `tokenizer.json`.
pub static TOKENIZER: &[u8] = include_bytes!("../pocket/tokenizer.json");
/// `model.safetensors`.
pub static WEIGHTS: &[u8] = include_bytes!("../pocket/model.safetensors");
/// `masks.safetensors`: the mask VQ-VAE.
pub static MASKS: &[u8] = include_bytes!("../pocket/masks.safetensors");
