//! The two norms and their gradients in burn's operations.

use burn::tensor::Tensor;
use burn::tensor::ops::FloatTensor;
use burn_backend::Backend;

use super::{cast, primitive, upcast};

fn row<B: Backend>(weight: FloatTensor<B>) -> Tensor<B, 2> {
    upcast::<B, 1>(weight).0.unsqueeze()
}

fn inverse_rms<B: Backend>(x: Tensor<B, 2>, epsilon: f64) -> Tensor<B, 2> {
    let rms = x.powi_scalar(2).mean_dim(1).add_scalar(epsilon).sqrt();
    // Not `recip`: burn-ndarray takes the processor's estimate for it, right to 12 or 14 bits.
    rms.ones_like() / rms
}

/// See [`crate::NnBackend::rms_norm`].
pub(crate) fn rms_norm<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let (x, dtype) = upcast::<B, 2>(x);
    let normed = x.clone() * inverse_rms(x, epsilon);
    primitive(cast(normed * row::<B>(weight).add_scalar(1.0), dtype))
}

/// See [`crate::NnBackend::rms_norm_backward`].
pub(crate) fn rms_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    epsilon: f64,
    grad: FloatTensor<B>,
) -> [FloatTensor<B>; 2] {
    let (x, dtype) = upcast::<B, 2>(x);
    let (grad, _) = upcast::<B, 2>(grad);
    let inverse = inverse_rms(x.clone(), epsilon);
    let normed = x * inverse.clone();
    let weight_grad = (grad.clone() * normed.clone()).sum_dim(0).squeeze_dim::<1>(0);
    let scaled = grad * row::<B>(weight).add_scalar(1.0);
    let along = (scaled.clone() * normed.clone()).mean_dim(1);
    let x_grad = (scaled - normed * along) * inverse;
    [primitive(cast(x_grad, dtype)), primitive(cast(weight_grad, dtype))]
}

fn standardise<B: Backend>(x: Tensor<B, 2>, epsilon: f64) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let centred = x.clone() - x.mean_dim(1);
    let inverse = inverse_rms(centred.clone(), epsilon);
    (centred * inverse.clone(), inverse)
}

/// See [`crate::NnBackend::affine_norm`].
pub(crate) fn layer_norm<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let (x, dtype) = upcast::<B, 2>(x);
    let (normed, _) = standardise(x, epsilon);
    primitive(cast(normed * row::<B>(weight) + row::<B>(bias), dtype))
}

/// See [`crate::NnBackend::affine_norm_backward`].
pub(crate) fn layer_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    epsilon: f64,
    grad: FloatTensor<B>,
) -> [FloatTensor<B>; 3] {
    let (x, dtype) = upcast::<B, 2>(x);
    let (grad, _) = upcast::<B, 2>(grad);
    let (normed, inverse) = standardise(x, epsilon);
    let weight_grad = (grad.clone() * normed.clone()).sum_dim(0).squeeze_dim::<1>(0);
    let bias_grad = grad.clone().sum_dim(0).squeeze_dim::<1>(0);
    let scaled = grad * row::<B>(weight);
    let along = (scaled.clone() * normed.clone()).mean_dim(1);
    let x_grad = (scaled.clone() - scaled.mean_dim(1) - normed * along) * inverse;
    let back = |t: Tensor<B, 1>| primitive(cast(t, dtype));
    [primitive(cast(x_grad, dtype)), back(weight_grad), back(bias_grad)]
}
