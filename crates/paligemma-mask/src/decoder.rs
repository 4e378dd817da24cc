//! Vectors on the grid of codes to masks.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use paligemma_nn::NnBackend;

use crate::MaskConfig;
use crate::config::RESIDUALS;
use crate::convolution::{Convolution, POINTWISE, Residual, Transposed};

/// A projection, two residual blocks, four doubling convolutions and a projection.
#[derive(Module, Debug)]
pub struct Decoder<B: NnBackend> {
    input: Convolution<B>,
    residuals: Vec<Residual<B>>,
    doublings: Vec<Transposed<B>>,
    output: Convolution<B>,
}

impl<B: NnBackend> Decoder<B> {
    pub(crate) fn new(config: &MaskConfig, device: &B::Device) -> Self {
        let [width, outputs @ ..] = config.decoder;
        let [.., last] = outputs;
        let doublings = config.decoder.into_iter().zip(outputs);
        Self {
            input: Convolution::new(config.latent, width, POINTWISE, device),
            residuals: (0..RESIDUALS).map(|_| Residual::new(width, device)).collect(),
            doublings: doublings
                .map(|(input, output)| Transposed::new(input, output, device))
                .collect(),
            output: Convolution::new(last, 1, POINTWISE, device),
        }
    }

    /// Masks, positive where the thing is.
    ///
    /// # Shapes
    /// - `latents`: `[B, D, 4, 4]`
    /// - output: `[B, 1, 64, 64]`, about -1..1
    pub fn forward(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        let x = relu(self.input.forward(latents));
        let x = self.residuals.iter().fold(x, |x, residual| residual.forward(x));
        let x = self.doublings.iter().fold(x, |x, doubling| relu(doubling.forward(x)));
        self.output.forward(x)
    }
}
