//! A step of AdamW on tensors.

use burn::tensor::Tensor;

use crate::composed::{primitive, tensor};
use crate::{AdamWStep, NnBackend};

/// The parameter and its two moments after a step, in one pass over all of them; without moments
/// it is the first step.
///
/// # Shapes
/// - all of one shape
pub fn adamw<B: NnBackend, const D: usize>(
    parameter: Tensor<B, D>,
    gradient: Tensor<B, D>,
    moments: Option<[Tensor<B, D>; 2]>,
    step: AdamWStep,
) -> [Tensor<B, D>; 3] {
    let moments = moments.map(|moments| moments.map(primitive));
    B::adamw(primitive(parameter), primitive(gradient), moments, step).map(tensor)
}
