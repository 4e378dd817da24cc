//! The tanh form of GELU, alone and as a gate, and the soft cap.

use burn::tensor::Tensor;
use burn_backend::Backend;

use crate::NnBackend;
use crate::composed::{primitive, tensor};

fn rows<B: NnBackend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, 2> {
    let width = x.dims()[D - 1];
    x.reshape([-1, width as i64])
}

/// `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, computed in f32.
///
/// Source: `gelu_pytorch_tanh`, which both the published configurations and
/// big_vision (`flax.nn.gelu`) mean, whatever the legacy `hidden_act` says.
///
/// # Shapes
/// - `x`: `[.., D]`
/// - output: `[.., D]`
pub fn gelu<B: NnBackend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let shape = x.shape();
    let output = B::tanh_gelu(primitive(rows(x)));
    tensor::<B, 2>(output).reshape(shape)
}

/// `gelu(gate) * up`, computed in f32 in one pass.
///
/// # Shapes
/// - `gate`, `up`: `[.., D]`
/// - output: `[.., D]`
pub fn gated_gelu<B: NnBackend, const D: usize>(
    gate: Tensor<B, D>,
    up: Tensor<B, D>,
) -> Tensor<B, D> {
    let shape = gate.shape();
    let output = B::gated_gelu(primitive(rows(gate)), primitive(rows(up)));
    tensor::<B, 2>(output).reshape(shape)
}

/// `cap * tanh(x / cap)`: about `x` where that is small, and never as large as `cap`.
///
/// # Shapes
/// - output: as `x`
pub fn softcap<B: Backend, const D: usize>(x: Tensor<B, D>, cap: f64) -> Tensor<B, D> {
    x.div_scalar(cap).tanh().mul_scalar(cap)
}
