//! The norms of the two towers.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::NnBackend;
use crate::composed::{primitive, tensor};
use crate::parameter::constant;

/// `x / sqrt(mean(x^2) + epsilon) * (1 + weight)`, in f32 whatever the dtype of `x`.
///
/// The weight is stored around zero, as the published files do
/// (transformers 5.23.0 `modeling_gemma.py`, `GemmaRMSNorm`).
#[derive(Module, Debug)]
pub struct RmsNorm<B: NnBackend> {
    weight: Param<Tensor<B, 1>>,
    epsilon: f64,
}

impl<B: NnBackend> RmsNorm<B> {
    /// A norm over `width` channels that begins as the plain root-mean-square norm.
    pub fn new(width: usize, epsilon: f64, device: &B::Device) -> Self {
        Self { weight: constant([width], 0.0, device), epsilon }
    }

    /// Normalises the last axis.
    ///
    /// # Shapes
    /// - `x`: `[.., D]`
    /// - output: `[.., D]`
    pub fn forward<const R: usize>(&self, x: Tensor<B, R>) -> Tensor<B, R> {
        let shape = x.shape();
        let rows = x.reshape([-1, shape[R - 1] as i64]);
        let output =
            B::rms_norm(primitive::<B, 2>(rows), primitive(self.weight.val()), self.epsilon);
        tensor::<B, 2>(output).reshape(shape)
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, in f32 whatever the dtype of `x`.
#[derive(Module, Debug)]
pub struct LayerNorm<B: NnBackend> {
    weight: Param<Tensor<B, 1>>,
    bias: Param<Tensor<B, 1>>,
    epsilon: f64,
}

impl<B: NnBackend> LayerNorm<B> {
    /// A norm over `width` channels that begins with weight one and bias zero.
    pub fn new(width: usize, epsilon: f64, device: &B::Device) -> Self {
        Self {
            weight: constant([width], 1.0, device),
            bias: constant([width], 0.0, device),
            epsilon,
        }
    }

    /// Normalises the last axis.
    ///
    /// # Shapes
    /// - `x`: `[.., D]`
    /// - output: `[.., D]`
    pub fn forward<const R: usize>(&self, x: Tensor<B, R>) -> Tensor<B, R> {
        let shape = x.shape();
        let rows = x.reshape([-1, shape[R - 1] as i64]);
        let output = B::affine_norm(
            primitive::<B, 2>(rows),
            primitive(self.weight.val()),
            primitive(self.bias.val()),
            self.epsilon,
        );
        tensor::<B, 2>(output).reshape(shape)
    }
}
