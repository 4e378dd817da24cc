//! Lazy parameters: a shape now, values when first read, and none at all if they are loaded.

use burn::module::{Param, ParamId};
use burn::tensor::{Distribution, Shape, Tensor};

use crate::NnBackend;

/// A parameter that is filled with `value` when it is first read, and never if it is loaded.
pub fn constant<B: NnBackend, const D: usize>(
    shape: [usize; D],
    value: f32,
    device: &B::Device,
) -> Param<Tensor<B, D>> {
    lazy(shape, device, move |device| Tensor::full(shape, value, device))
}

/// A parameter drawn from a normal distribution of standard deviation `deviation` when it is
/// first read, and never if it is loaded.
pub fn normal<B: NnBackend, const D: usize>(
    shape: [usize; D],
    deviation: f64,
    device: &B::Device,
) -> Param<Tensor<B, D>> {
    lazy(shape, device, move |device| {
        Tensor::random(shape, Distribution::Normal(0.0, deviation), device)
    })
}

fn lazy<B: NnBackend, const D: usize>(
    shape: [usize; D],
    device: &B::Device,
    fill: impl Fn(&B::Device) -> Tensor<B, D> + Send + Sync + 'static,
) -> Param<Tensor<B, D>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, require_grad| {
            let value = fill(device);
            if require_grad { value.require_grad() } else { value }
        },
        device.clone(),
        true,
        Shape::from(shape),
    )
}
