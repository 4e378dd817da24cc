//! Masks to vectors on the grid of codes.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use paligemma_nn::NnBackend;

use crate::MaskConfig;
use crate::config::RESIDUALS;
use crate::convolution::{Convolution, POINTWISE, Residual, SCALING};

/// Four halving convolutions, two residual blocks and a projection.
#[derive(Module, Debug)]
pub struct Encoder<B: NnBackend> {
    halvings: Vec<Convolution<B>>,
    residuals: Vec<Residual<B>>,
    output: Convolution<B>,
}

impl<B: NnBackend> Encoder<B> {
    pub(crate) fn new(config: &MaskConfig, device: &B::Device) -> Self {
        let inputs = [1].into_iter().chain(config.encoder);
        let halvings = inputs.zip(config.encoder);
        let [.., width] = config.encoder;
        Self {
            halvings: halvings
                .map(|(input, output)| Convolution::new(input, output, SCALING, device))
                .collect(),
            residuals: (0..RESIDUALS).map(|_| Residual::new(width, device)).collect(),
            output: Convolution::new(width, config.latent, POINTWISE, device),
        }
    }

    /// A vector for each place of the grid, before it is replaced by the nearest code's.
    ///
    /// # Shapes
    /// - `masks`: `[B, 1, 64, 64]` in 0..1
    /// - output: `[B, D, 4, 4]`
    pub fn forward(&self, masks: Tensor<B, 4>) -> Tensor<B, 4> {
        let x = (masks - 0.5) * 2.0;
        let x = self.halvings.iter().fold(x, |x, halving| relu(halving.forward(x)));
        let x = self.residuals.iter().fold(x, |x, residual| residual.forward(x));
        self.output.forward(x)
    }
}
