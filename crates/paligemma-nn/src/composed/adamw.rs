//! A step of AdamW in burn's operations.

use burn::tensor::Tensor;
use burn::tensor::ops::FloatTensor;
use burn_backend::{Backend, TensorMetadata};

use super::{primitive, tensor};
use crate::AdamWStep;

/// See [`crate::NnBackend::adamw`].
pub(crate) fn step<B: Backend>(
    parameter: FloatTensor<B>,
    gradient: FloatTensor<B>,
    moments: Option<[FloatTensor<B>; 2]>,
    step: AdamWStep,
) -> [FloatTensor<B>; 3] {
    let shape = parameter.shape();
    let flat =
        |x: FloatTensor<B>| tensor::<B, 1>(B::float_reshape(x, [shape.num_elements()].into()));
    let [parameter, gradient] = [parameter, gradient].map(flat);
    let [first, second] = match moments {
        Some(moments) => moments.map(flat),
        None => [gradient.zeros_like(), gradient.zeros_like()],
    };
    let AdamWStep { beta_1, beta_2, epsilon, .. } = step;
    let first = first.mul_scalar(beta_1) + gradient.clone().mul_scalar(1.0 - beta_1);
    let second = second.mul_scalar(beta_2) + gradient.square().mul_scalar(1.0 - beta_2);
    let [first_scale, second_scale] = step.corrections();
    let deviation = second.clone().mul_scalar(second_scale).sqrt().add_scalar(epsilon);
    let update = first.clone().mul_scalar(first_scale) / deviation;
    let parameter = parameter.mul_scalar(step.kept()) - update.mul_scalar(step.rate);
    let back = |x: Tensor<B, 1>| B::float_reshape(primitive(x), shape.clone());
    [parameter, first, second].map(back)
}
