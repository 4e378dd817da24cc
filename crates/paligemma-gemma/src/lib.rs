//! The Gemma and Gemma 2 decoders of PaliGemma, generic over burn's backends.
//!
//! It takes embeddings, not ids, so that picture features can stand among them. Field names are
//! those of the published files, weights keep their published layout, and nothing here reads a
//! file. The cache belongs to the caller.
//!
//! ```
//! use burn::tensor::{Int, Tensor};
//! use burn_flex::{Flex, FlexDevice};
//! use paligemma_gemma::{Gemma, GemmaConfig};
//! use paligemma_nn::{PrefixMask, TokenKind};
//!
//! let config = GemmaConfig {
//!     vocab_size: 320,
//!     hidden_size: 48,
//!     intermediate_size: 96,
//!     num_hidden_layers: 2,
//!     num_attention_heads: 4,
//!     head_dim: 16,
//!     ..GemmaConfig::gemma_2b(320)
//! };
//! let gemma = Gemma::<Flex>::new(&config, &FlexDevice);
//!
//! // A prompt of four tokens, then two more, greedily.
//! let mut mask = PrefixMask::prefixes(&[4]);
//! let mut cache = gemma.cache(1, 6);
//! let ids = Tensor::<Flex, 2, Int>::from_ints([[2, 21, 57, 10]], &FlexDevice);
//! let mut hidden = gemma.forward(gemma.embed(ids), &mask, Some(&mut cache));
//! for _ in 0..2 {
//!     let last = hidden.dims()[1] - 1;
//!     let logits = gemma.logits(hidden.slice([0..1, last..last + 1]));
//!     let next = logits.argmax(2).reshape([1, 1]);
//!     mask.push(TokenKind::Suffix);
//!     hidden = gemma.forward(gemma.embed(next), &mask, Some(&mut cache));
//! }
//! assert_eq!(cache.len(), 6);
//! ```

mod cache;
mod config;
mod decoder;
mod layer;

pub use cache::{KvCache, LayerCache};
pub use config::GemmaConfig;
pub use decoder::Gemma;
pub use layer::{Attention, DecoderLayer, Mlp, Pass};
