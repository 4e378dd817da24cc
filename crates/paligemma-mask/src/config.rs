//! The sizes of a mask VQ-VAE.

/// Height and width of a mask in pixels.
pub const SIDE: usize = 64;

/// Height and width of the grid of codes: four halvings of [`SIDE`].
pub const GRID: usize = SIDE >> STAGES;

/// Codes of a mask, row by row of the grid.
pub const CODES_PER_MASK: usize = GRID * GRID;

/// Convolutions that halve the height and width, and transposed ones that double them.
pub(crate) const STAGES: usize = 4;

/// Residual blocks at the grid, in the encoder and in the decoder.
pub(crate) const RESIDUALS: usize = 2;

/// Sizes of a mask VQ-VAE; every one is the length of an axis in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskConfig {
    /// How many codes there are.
    pub codes: usize,
    /// Width of a code's vector.
    pub latent: usize,
    /// Channels after each halving convolution of the encoder.
    pub encoder: [usize; STAGES],
    /// Channels of the decoder at the grid, then after each doubling convolution.
    pub decoder: [usize; STAGES + 1],
}

impl MaskConfig {
    /// The sizes of the published `vae-oid.npz` (`big_vision`
    /// `evaluators/proj/paligemma/transfers/segmentation.py`).
    pub fn published() -> Self {
        Self {
            codes: 128,
            latent: 512,
            encoder: [16, 32, 64, 128],
            decoder: [128, 128, 64, 32, 16],
        }
    }
}
