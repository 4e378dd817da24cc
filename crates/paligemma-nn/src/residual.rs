//! The residual stream.

use burn::tensor::Tensor;

use crate::NnBackend;
use crate::composed::{primitive, tensor};

/// The stream and what a block adds to it.
///
/// # Shapes
/// - `stream`, `branch`: one shape
/// - output: the same
pub fn residual<B: NnBackend, const D: usize>(
    stream: Tensor<B, D>,
    branch: Tensor<B, D>,
) -> Tensor<B, D> {
    tensor(B::residual(primitive(stream), primitive(branch)))
}
