//! The files of the embedded model, in the form that published checkpoints have.

/// `config.json`.
pub static CONFIG: &str = include_str!("../pocket/config.json");
/// `tokenizer.json`.
pub static TOKENIZER: &[u8] = include_bytes!("../pocket/tokenizer.json");
/// `model.safetensors`.
pub static WEIGHTS: &[u8] = {
    // Numbers are used where they lie only if their address is a multiple of their size.
    const FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("../pocket/model.safetensors"));
    &FILE.0
};
/// `masks.safetensors`: the mask VQ-VAE.
pub static MASKS: &[u8] = include_bytes!("../pocket/masks.safetensors");

/// A file at the beginning of a line of the processor's cache.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);
