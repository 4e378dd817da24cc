//! The SigLIP vision tower of PaliGemma, generic over burn's backends.
//!
//! A picture becomes one feature vector per patch. Field names are those of the published files,
//! weights keep their published layout, and nothing here reads a file.
//!
//! ```
//! use burn::tensor::Tensor;
//! use burn_flex::{Flex, FlexDevice};
//! use paligemma_siglip::{Siglip, SiglipConfig};
//!
//! let config = SiglipConfig {
//!     hidden_size: 32,
//!     intermediate_size: 64,
//!     num_hidden_layers: 2,
//!     num_attention_heads: 4,
//!     image_size: 56,
//!     ..SiglipConfig::so400m(56)
//! };
//! let tower = Siglip::<Flex>::new(&config, &FlexDevice);
//! let pixels = Tensor::zeros([1, 3, 56, 56], &FlexDevice);
//! assert_eq!(tower.forward(pixels).dims(), [1, config.num_patches(), 32]);
//! ```

mod config;
mod embeddings;
mod layer;
mod resample;
mod tower;

pub use config::SiglipConfig;
pub use embeddings::{Embeddings, PatchEmbedding, PositionEmbedding};
pub use layer::{Attention, EncoderLayer, Mlp};
pub use resample::{PositionFilter, resample_positions};
pub use tower::{Encoder, Siglip};
