//! Layers that PaliGemma needs and burn lacks, generic over burn's backends.
//!
//! Everything here is mathematics on tensors: no file, no environment, no model. The vision
//! tower (`paligemma-siglip`) and the decoder (`paligemma-gemma`) are written with these layers.
//!
//! Shapes are written with one alphabet: `B` batch, `L` query positions, `S` key positions,
//! `D` width, `H` heads, `K` key-value heads, `C` head width, `V` vocabulary.
//!
//! ```
//! use burn::tensor::Tensor;
//! use burn_flex::{Flex, FlexDevice};
//! use paligemma_nn::RmsNorm;
//!
//! let device = FlexDevice;
//! let norm = RmsNorm::<Flex>::new(4, 1e-6, &device);
//! let x = Tensor::<Flex, 2>::from_floats([[3.0, -3.0, 3.0, -3.0]], &device);
//! let y = norm.forward(x).into_data().to_vec::<f32>().unwrap();
//! assert!(y.iter().zip([1.0, -1.0, 1.0, -1.0]).all(|(a, b)| (a - b).abs() < 1e-6));
//! ```

mod activation;
mod adamw;
mod adapter;
mod attention;
mod autodiff;
mod backend;
mod composed;
#[cfg(feature = "cuda")]
mod cube;
mod dropout;
#[cfg(feature = "flex")]
mod flex;
pub mod mask;
mod norm;
pub mod parameter;
mod projection;
mod projections;
mod residual;
mod rope;

pub use activation::{gated_gelu, gelu, softcap};
pub use adamw::adamw;
pub use adapter::Adapter;
pub use attention::{Precision, attention, write_slots};
pub use backend::{AdamWStep, AttentionGradients, NnBackend};
pub use composed::product::{exact_product, matmul};
pub use dropout::Dropout;
pub use mask::{PrefixMask, TokenKind};
pub use norm::{LayerNorm, RmsNorm};
pub use paligemma_packed::math::{log_sum_exp, maximum};
pub use paligemma_packed::{
    Isa, PackedFormat, PackedLayout, Scoring, compute_here, keep_freed_memory,
};
pub use projection::{PackedWeight, Projection, Weight, linear};
pub use projections::{Projections, Walk};
pub use residual::residual;
pub use rope::RotaryTable;
