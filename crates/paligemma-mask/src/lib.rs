//! The mask VQ-VAE of PaliGemma: masks of 64 x 64 pixels to 16 codes and back.
//!
//! PaliGemma answers `segment cat` with a box and 16 tokens `<seg000>` to `<seg127>`: codes of a
//! mask within the box. The decoder makes the mask of them, the encoder makes the codes of a mask,
//! to train with. Nothing here reads a file; weights keep their published layout.
//!
//! ```
//! use burn::tensor::Tensor;
//! use burn_flex::{Flex, FlexDevice};
//! use paligemma_mask::{MaskConfig, MaskVqVae};
//!
//! let config =
//!     MaskConfig { codes: 12, latent: 8, encoder: [2, 3, 4, 5], decoder: [7, 6, 5, 4, 3] };
//! let vae = MaskVqVae::<Flex>::new(&config, &FlexDevice);
//! let codes = vae.codes(Tensor::zeros([1, 1, 64, 64], &FlexDevice));
//! assert_eq!(codes.dims(), [1, 16]);
//! assert_eq!(vae.decode(codes).dims(), [1, 1, 64, 64]);
//! ```

mod config;
mod convolution;
mod decoder;
mod encoder;
mod vqvae;

pub use config::{CODES_PER_MASK, GRID, MaskConfig, SIDE};
pub use convolution::{Convolution, Residual, Transposed};
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use vqvae::MaskVqVae;
