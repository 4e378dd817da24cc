//! Softmax attention over grouped heads.

use burn::tensor::{Bool, Tensor};

use crate::NnBackend;
use crate::Scoring;
use crate::composed::{primitive, tensor};

/// Writes `values` into the slots of `buffer` from `start` on, in place where the buffer has no
/// other owner and the backend can.
///
/// # Shapes
/// - `buffer`: `[B, S, K, C]`
/// - `values`: `[B, L, K, C]`, `start + L` at most `S`
/// - output: `[B, S, K, C]`
///
/// # Panics
/// If the values do not fit.
pub fn write_slots<B: NnBackend>(
    buffer: Tensor<B, 4>,
    start: usize,
    values: Tensor<B, 4>,
) -> Tensor<B, 4> {
    tensor(B::write_slots(primitive(buffer), start, primitive(values)))
}

/// How exactly activations are multiplied with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As their type has them.
    Full,
    /// Where it is quicker, rounded to bfloat16, with sums in f32.
    Bf16,
}

/// `softmax(score(q k^T)) v` per head, scale, soft cap and softmax in f32. What is masked is so after
/// its score is made.
///
/// Query head `h` reads key-value head `h * K / H`; keys and values are not repeated.
/// `masked` is true where a query must not attend (see [`crate::PrefixMask`]). With
/// [`Precision::Bf16`], a device may round the operands of both products to bfloat16.
///
/// # Shapes
/// - `query`: `[B, L, H, C]`
/// - `key`, `value`: `[B, S, K, C]`, `H` a multiple of `K`
/// - `masked`: `[B, L, S]`
/// - output: `[B, L, H, C]`
pub fn attention<B: NnBackend>(
    query: Tensor<B, 4>,
    key: Tensor<B, 4>,
    value: Tensor<B, 4>,
    masked: Option<Tensor<B, 3, Bool>>,
    scoring: Scoring,
    precision: Precision,
) -> Tensor<B, 4> {
    tensor(B::grouped_attention(
        primitive(query),
        primitive(key),
        primitive(value),
        masked.map(Tensor::into_primitive),
        scoring,
        precision,
    ))
}
