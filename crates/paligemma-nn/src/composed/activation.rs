//! GELU and gated GELU, and their gradients, in burn's operations.

use burn::tensor::Tensor;
use burn::tensor::ops::FloatTensor;
use burn_backend::Backend;
use paligemma_packed::math::{GELU_CUBIC, GELU_SCALE};

use super::{cast, primitive, tensor, upcast};

/// `0.5 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`, so that `gelu(x) = x * gate(x)`.
fn gate<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let cubic = x.clone().powi_scalar(2).mul_scalar(GELU_CUBIC).add_scalar(1.0) * x;
    cubic.mul_scalar(GELU_SCALE).tanh().add_scalar(1.0).mul_scalar(0.5)
}

/// Derivative of `x * gate(x)`: `gate + x * 2 * gate * (1 - gate) * inner'`.
fn derivative<B: Backend>(x: Tensor<B, 2>, gate: Tensor<B, 2>) -> Tensor<B, 2> {
    let inner = x
        .clone()
        .powi_scalar(2)
        .mul_scalar(3.0 * GELU_CUBIC)
        .add_scalar(1.0)
        .mul_scalar(GELU_SCALE);
    let slope = gate.clone() * gate.clone().neg().add_scalar(1.0);
    gate + x * slope.mul_scalar(2.0) * inner
}

/// See [`crate::NnBackend::tanh_gelu`].
pub(crate) fn gelu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let (x, dtype) = upcast::<B, 2>(x);
    primitive(cast(x.clone() * gate(x), dtype))
}

/// See [`crate::NnBackend::tanh_gelu_backward`].
pub(crate) fn gelu_backward<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let (x, dtype) = upcast::<B, 2>(x);
    let (grad, _) = upcast::<B, 2>(grad);
    let gate = gate(x.clone());
    primitive(cast(derivative(x, gate) * grad, dtype))
}

/// See [`crate::NnBackend::gated_gelu`].
pub(crate) fn gated_gelu<B: Backend>(x: FloatTensor<B>, up: FloatTensor<B>) -> FloatTensor<B> {
    let (x, dtype) = upcast::<B, 2>(x);
    let (up, _) = upcast::<B, 2>(up);
    primitive(cast(x.clone() * gate(x) * up, dtype))
}

/// See [`crate::NnBackend::gated_gelu_backward`].
pub(crate) fn gated_gelu_backward<B: Backend>(
    x: FloatTensor<B>,
    up: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> [FloatTensor<B>; 2] {
    let dtype = tensor::<B, 2>(x.clone()).dtype();
    let (x, _) = upcast::<B, 2>(x);
    let (up, _) = upcast::<B, 2>(up);
    let (grad, _) = upcast::<B, 2>(grad);
    let gate = gate(x.clone());
    let up_grad = x.clone() * gate.clone() * grad.clone();
    let gate_grad = derivative(x, gate) * up * grad;
    [primitive(cast(gate_grad, dtype)), primitive(cast(up_grad, dtype))]
}
