//! The linear layer, its weight in the published layout.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::NnBackend;
use crate::parameter::{constant, normal};

/// `x W^T + b`, with `W` as published: `[out, in]`.
#[derive(Module, Debug)]
pub struct Projection<B: NnBackend> {
    weight: Param<Tensor<B, 2>>,
    bias: Option<Param<Tensor<B, 1>>>,
}

impl<B: NnBackend> Projection<B> {
    /// A projection from `input` to `output` channels without a bias.
    pub fn new(input: usize, output: usize, device: &B::Device) -> Self {
        let deviation = (input as f64).sqrt().recip();
        Self { weight: normal([output, input], deviation, device), bias: None }
    }

    /// A projection from `input` to `output` channels with a bias.
    pub fn with_bias(input: usize, output: usize, device: &B::Device) -> Self {
        Self { bias: Some(constant([output], 0.0, device)), ..Self::new(input, output, device) }
    }

    /// Projects the last axis.
    ///
    /// # Shapes
    /// - `x`: `[.., in]`
    /// - output: `[.., out]`
    pub fn forward<const R: usize>(&self, x: Tensor<B, R>) -> Tensor<B, R> {
        let mut shape = x.shape();
        // One flat product: a batched one would repeat the weight's gradient per row of the batch.
        let rows = x.reshape([-1, shape[R - 1] as i64]);
        let mut output = rows.matmul(self.weight.val().transpose());
        if let Some(bias) = &self.bias {
            output = output + bias.val().unsqueeze();
        }
        shape[R - 1] = output.dims()[1];
        output.reshape(shape)
    }
}
