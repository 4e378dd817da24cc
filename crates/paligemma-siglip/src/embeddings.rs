//! Pixels to patch vectors with their positions.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use paligemma_nn::parameter::{constant, normal};
use paligemma_nn::{NnBackend, linear};

use crate::SiglipConfig;

/// A convolution whose stride is its kernel: one projection per patch.
#[derive(Module, Debug)]
pub struct PatchEmbedding<B: NnBackend> {
    weight: Param<Tensor<B, 4>>,
    bias: Param<Tensor<B, 1>>,
}

/// One learned vector per patch position.
#[derive(Module, Debug)]
pub struct PositionEmbedding<B: NnBackend> {
    weight: Param<Tensor<B, 2>>,
}

/// Patch vectors plus their positions.
#[derive(Module, Debug)]
pub struct Embeddings<B: NnBackend> {
    patch_embedding: PatchEmbedding<B>,
    position_embedding: PositionEmbedding<B>,
}

impl<B: NnBackend> PatchEmbedding<B> {
    fn new(config: &SiglipConfig, device: &B::Device) -> Self {
        let (width, patch) = (config.hidden_size, config.patch_size);
        let inputs = config.num_channels * patch * patch;
        let shape = [width, config.num_channels, patch, patch];
        Self {
            weight: normal(shape, (inputs as f64).sqrt().recip(), device),
            bias: constant([width], 0.0, device),
        }
    }

    /// Projects every patch, row by row of the picture.
    ///
    /// # Shapes
    /// - `pixels`: `[B, 3, H, W]`, `H` and `W` multiples of the patch size
    /// - output: `[B, N, D]`
    pub fn forward(&self, pixels: Tensor<B, 4>) -> Tensor<B, 3> {
        let weight = self.weight.val();
        let [width, channels, patch, _] = weight.dims();
        let [batch, _, height, columns] = pixels.dims();
        let (rows, columns) = (height / patch, columns / patch);
        let inputs = channels * patch * patch;
        let patches = pixels
            .reshape([batch, channels, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch * rows * columns, inputs]);
        linear(patches, weight.reshape([width, inputs]), Some(self.bias.val())).reshape([
            batch,
            rows * columns,
            width,
        ])
    }
}

impl<B: NnBackend> Embeddings<B> {
    pub(crate) fn new(config: &SiglipConfig, device: &B::Device) -> Self {
        let deviation = (config.hidden_size as f64).sqrt().recip();
        let positions = [config.num_patches(), config.hidden_size];
        Self {
            patch_embedding: PatchEmbedding::new(config, device),
            position_embedding: PositionEmbedding { weight: normal(positions, deviation, device) },
        }
    }

    /// Patches of a picture.
    pub fn patches(&self) -> usize {
        self.position_embedding.weight.lazy_shape()[0]
    }

    /// Patch vectors with their positions added.
    ///
    /// # Shapes
    /// - `pixels`: `[B, 3, H, W]`
    /// - output: `[B, N, D]`
    ///
    /// # Panics
    /// If the picture has another number of patches than the tower has positions.
    pub fn forward(&self, pixels: Tensor<B, 4>) -> Tensor<B, 3> {
        let patches = self.patch_embedding.forward(pixels);
        patches + self.position_embedding.weight.val().unsqueeze()
    }
}
